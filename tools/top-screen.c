/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata top on a terminal, by ncurses; without it, a sentence. */
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "top.h"

#ifdef HAVE_NCURSES

#include <curses.h>

/*
 * Signals are blocked and read from a descriptor, as keys are from another: so
 * nothing is done in a handler, and whatever ends the loop, the terminal is put
 * back in one place.
 */

struct screen {
	const char *store;
	struct top_view *view;
	struct top_model model;
	int signals; /* a signalfd */
};

static void
draw(const struct screen *screen)
{
	struct top_page page;
	int width, height;
	size_t i;

	getmaxyx(stdscr, height, width);
	erase();
	top_page_make(&page, (size_t)width, (size_t)height, screen->store,
		      &screen->model, screen->view);
	for (i = 0; i < page.nr; i++) {
		if (page.marked[i])
			attron(A_REVERSE);
		mvaddstr((int)i, 0, page.lines[i]);
		if (page.marked[i])
			attroff(A_REVERSE);
	}
	top_page_fini(&page);
	refresh();
}

static void
resized(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 &&
	    size.ws_col > 0)
		resizeterm(size.ws_row, size.ws_col);
	clear();
}

/* Whatever it is that is not a new size ends us. */
static void
signals_read(const struct screen *screen)
{
	struct signalfd_siginfo info;

	while (read(screen->signals, &info, sizeof(info)) ==
	       (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGWINCH)
			resized();
		else
			screen->view->quit = true;
	}
}

static void
keys_read(const struct screen *screen)
{
	int key;

	while ((key = getch()) != ERR) {
		if (key == KEY_BACKSPACE)
			key = TOP_KEY_BACKSPACE;
		if (key == KEY_ENTER)
			key = '\n';
		top_key(screen->view, key);
	}
}

static uint64_t
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Until the next look is due, or ours is over. */
static void
keys_wait(struct screen *screen, uint64_t due)
{
	struct pollfd polled[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = screen->signals, .events = POLLIN},
	};
	uint64_t now;

	while (!screen->view->quit && (now = monotonic_ms()) < due) {
		if (poll(polled, 2, (int)(due - now)) < 0 && errno != EINTR)
			screen->view->quit = true;
		if (polled[1].revents != 0)
			signals_read(screen);
		if (polled[0].revents != 0)
			keys_read(screen);
		/* The terminal is gone. */
		if ((polled[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
			screen->view->quit = true;
		draw(screen);
	}
}

static void
loop(struct screen *screen, void (*look)(void *arg, struct top_look *ret),
     void *arg)
{
	struct top_look taken;
	uint64_t begun;

	while (!screen->view->quit) {
		begun = monotonic_ms();
		if (!screen->view->paused) {
			memset(&taken, 0, sizeof(taken));
			look(arg, &taken);
			top_push(&screen->model, &taken);
		}
		draw(screen);
		keys_wait(screen, begun + screen->view->interval_ms);
	}
}

static int
signals_open(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

int
top_screen(const struct tool_args *args, struct top_view *view,
	   void (*look)(void *arg, struct top_look *ret), void *arg)
{
	struct screen screen = {.store = args->operands[0], .view = view};
	SCREEN *terminal;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return message_error(args, NULL,
				     "a terminal is needed; --once prints one "
				     "page anywhere");
	screen.signals = signals_open();
	if (screen.signals < 0)
		return message_error(args, NULL, "signals cannot be read: %s",
				     strerror(errno));
	setlocale(LC_CTYPE, "");
	terminal = newterm(NULL, stdout, stdin);
	if (terminal == NULL) {
		close(screen.signals);
		return message_error(args, NULL,
				     "the terminal is of a kind that is not "
				     "known here: see TERM");
	}
	set_escdelay(25);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	loop(&screen, look, arg);
	endwin();
	delscreen(terminal);
	top_fini(&screen.model);
	close(screen.signals);
	return TOOL_DONE;
}

#else

int
top_screen(const struct tool_args *args, struct top_view *view,
	   void (*look)(void *arg, struct top_look *ret), void *arg)
{
	(void)view;
	(void)look;
	(void)arg;
	return message_error(args, NULL,
			     "this strata was built without ncurses; --once "
			     "prints one page");
}

#endif
