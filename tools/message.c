/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What the tool says, the progress line, and running out of memory. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

/**** sentences ****/

/*
 * Names of files and layers, and what readers say of themselves, were written
 * by others: everything is cleaned before it can reach a terminal.
 */
static void
print_line(FILE *out, const char *prefix, const char *format, va_list values)
{
	char *raw = NULL;
	char *clean;

	if (vasprintf(&raw, format, values) < 0)
		return;
	clean = text_clean(raw);
	progress_clear();
	if (fprintf(out, "%s%s\n", prefix, clean) < 0 && out == stdout)
		print_errno = errno;
	free(clean);
	free(raw);
}

static char *
prefix_make(const struct tool_args *args, const char *object, const char *kind)
{
	char *raw = object != NULL ? x_format("strata: %s '%s': %s",
					      args->command->name, object, kind)
				   : x_format("strata: %s: %s",
					      args->command->name, kind);
	char *clean = text_clean(raw);

	free(raw);
	return clean;
}

int
message_error(const struct tool_args *args, const char *object,
	      const char *format, ...)
{
	char *prefix = prefix_make(args, object, "");
	va_list values;

	va_start(values, format);
	print_line(stderr, prefix, format, values);
	va_end(values);
	free(prefix);
	return TOOL_REFUSED;
}

const char *
refusal_text(int code)
{
	const struct strata_error_info *info = strata_last_error();

	/* Answers such as "no such layer" leave no details behind. */
	if (info->code == code && info->sentence[0] != '\0')
		return info->sentence;
	return strata_strerror(code);
}

int
message_refused(const struct tool_args *args, const char *object, int code)
{
	return message_error(args, object, "%s", refusal_text(code));
}

void
message_note(const struct tool_args *args, const char *object,
	     const char *format, ...)
{
	char *prefix;
	va_list values;

	if (args_has(args, KEY_QUIET))
		return;
	prefix = prefix_make(args, object, "note: ");
	va_start(values, format);
	print_line(stderr, prefix, format, values);
	va_end(values);
	free(prefix);
}

void
message_say(const struct tool_args *args, const char *format, ...)
{
	va_list values;

	if (args_has(args, KEY_QUIET))
		return;
	va_start(values, format);
	print_line(stdout, "", format, values);
	va_end(values);
}

int
message_usage(const struct tool_args *args, const char *format, ...)
{
	const char *name = args != NULL ? args->command->name : NULL;
	char *prefix = name != NULL ? x_format("strata: %s: ", name)
				    : x_dup("strata: ");
	va_list values;

	va_start(values, format);
	print_line(stderr, prefix, format, values);
	va_end(values);
	fprintf(stderr, "'strata %s%s' tells how it is used.\n",
		name != NULL ? "help " : "--help", name != NULL ? name : "");
	free(prefix);
	return TOOL_USAGE;
}

/**** progress ****/

static bool progress_visible;

/* Ten lines a second are enough for an eye. */
static bool
progress_due(void)
{
	static struct timespec last;
	struct timespec now;
	int64_t elapsed_ms;

	clock_gettime(CLOCK_MONOTONIC, &now);
	elapsed_ms = (int64_t)(now.tv_sec - last.tv_sec) * 1000 +
		     (now.tv_nsec - last.tv_nsec) / 1000000;
	if (progress_visible && elapsed_ms < 100)
		return false;
	last = now;
	return true;
}

void
progress_show(const struct tool_args *args, uint64_t done, uint64_t total,
	      const char *what)
{
	static int on_terminal = -1;
	char *clean;

	if (on_terminal < 0)
		on_terminal = isatty(STDERR_FILENO);
	if (!on_terminal || args_has(args, KEY_QUIET) || !progress_due())
		return;
	clean = text_clean(what);
	fprintf(stderr, "\r\033[K%s: %3.0f %% %.60s", args->command->name,
		total > 0 ? 100.0 * (double)done / (double)total : 0.0, clean);
	fflush(stderr);
	free(clean);
	progress_visible = true;
}

void
progress_clear(void)
{
	if (!progress_visible)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	progress_visible = false;
}

/**** memory ****/

/*
 * A tool that holds nothing but what it is about to print has nothing to save:
 * it says so and goes. What it had begun in a store is undone by the next
 * writer.
 */
void *
x_check(void *block)
{
	if (block == NULL) {
		fputs("strata: out of memory\n", stderr);
		exit(TOOL_REFUSED);
	}
	return block;
}

void *
x_alloc(size_t size)
{
	return x_check(calloc(1, size > 0 ? size : 1));
}

void *
x_grow(void *block, size_t nr, size_t size)
{
	size_t room;

	/* Doubles at powers of two, so that callers can add one by one. */
	if ((nr & (nr - 1)) != 0)
		return block;
	room = nr > 0 ? 2 * nr : 1;
	return x_check(reallocarray(block, room, size));
}

char *
x_dup(const char *text)
{
	return x_check(strdup(text));
}

char *
x_format(const char *format, ...)
{
	char *text = NULL;
	va_list values;
	int length;

	va_start(values, format);
	length = vasprintf(&text, format, values);
	va_end(values);
	return x_check(length < 0 ? NULL : text);
}
