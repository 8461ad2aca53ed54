/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The strata command: finds the command, gives help, ends the process. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

/**** help ****/

static void
synopsis_print(const struct tool_command *command)
{
	const char *line = command->synopsis;
	const char *lead = "Usage: ";
	size_t length;

	for (;;) {
		length = strcspn(line, "\n");
		print("%sstrata %s%s%.*s [OPTION]...\n", lead, command->name,
		      length > 0 ? " " : "", (int)length, line);
		if (line[length] == '\0')
			return;
		line += length + 1;
		lead = "       ";
	}
}

static char *
option_text(const struct tool_option *option)
{
	char letter[5] = "    ";

	if (option->key <= UINT8_MAX)
		snprintf(letter, sizeof(letter), "-%c, ", option->key);
	return x_format("%s--%s%s%s", letter, option->name,
			option->argument != NULL ? "=" : "",
			option->argument != NULL ? option->argument : "");
}

static void
options_print(const struct tool_command *command)
{
	const struct tool_option *option;
	size_t i;

	print("\nOptions:\n");
	for (i = 0; (option = command_option(command, i)) != NULL; i++) {
		char *text = option_text(option);

		if (strlen(text) <= 25)
			print("  %-25s  %s\n", text, option->help);
		else
			print("  %s\n  %-25s  %s\n", text, "", option->help);
		free(text);
	}
}

static void
example_print(const struct tool_command *command)
{
	const char *line = command->example;
	size_t length;

	print("\nExample:\n");
	for (;;) {
		length = strcspn(line, "\n");
		print("  %.*s\n", (int)length, line);
		if (line[length] == '\0')
			return;
		line += length + 1;
	}
}

static int
command_help(const struct tool_command *command)
{
	synopsis_print(command);
	print("\nTo %s.\n", command->summary);
	if (command->details != NULL)
		print("%s\n", command->details);
	options_print(command);
	example_print(command);
	return TOOL_DONE;
}

static int
help_all(void)
{
	const struct tool_command *command;

	print("Usage: strata COMMAND [OPERAND|OPTION]...\n"
	      "\n"
	      "Looks after Strata stores: shared memory in which many "
	      "processes read layers\n"
	      "in place while others change them.\n"
	      "\n"
	      "Commands:\n");
	for (command = tool_commands; command->name != NULL; command++)
		print("  %-12s %s\n", command->name, command->summary);
	print("  %-12s %s\n", "help", "tell how a command is used");
	print("\n"
	      "DIM is a number from 1 to %u (7 or D07), LAYER one from 0 to "
	      "%u.\n"
	      "A SIZE may end in K, M or G. Where a FILE is read, - is "
	      "stdin.\n"
	      "Exit codes: 0 done, 1 refused (stderr says why), 2 wrong "
	      "usage.\n"
	      "\n"
	      "Example:\n"
	      "  strata create core --limit=400M && strata load core core.d\n",
	      STRATA_DIMENSION_MAX, STRATA_LAYER_MAX);
	return TOOL_DONE;
}

/**** the log ****/

static void
log_print(enum strata_log_level level, const char *sentence, void *arg)
{
	static const char *const levels[] = {"", "warning", "info", "debug"};
	char *clean = text_clean(sentence);

	(void)arg;
	progress_clear();
	fprintf(stderr, "strata: %s: %s\n", levels[level], clean);
	free(clean);
}

/* -v: what is done; -vv: each allocation. */
static void
log_begin(const struct tool_args *args)
{
	size_t i, nr = 0;

	for (i = 0; i < args->nr_given; i++)
		nr += args->given[i].key == KEY_VERBOSE;
	if (nr > 0)
		strata_log(nr > 1 ? STRATA_LOG_DEBUG : STRATA_LOG_INFO,
			   log_print, NULL);
}

/**** dispatch ****/

static const struct tool_command *
command_find(const char *name)
{
	const struct tool_command *command;

	for (command = tool_commands; command->name != NULL; command++) {
		if (strcmp(command->name, name) == 0)
			return command;
	}
	return NULL;
}

static int
help(const char *name)
{
	const struct tool_command *command;

	if (name == NULL)
		return help_all();
	command = command_find(name);
	if (command == NULL)
		return message_usage(NULL, "there is no command '%s'", name);
	return command_help(command);
}

/*
 * From another folder the same words would be another place, where stores are
 * not found, or are made a second time.
 */
static int
folder_check(const struct tool_args *args)
{
	const char *folder = secure_getenv("STRATA_SHM_DIR");

	if (folder == NULL || *folder == '\0' || *folder == '/')
		return TOOL_DONE;
	return message_error(args, folder,
			     "STRATA_SHM_DIR is no absolute path: one that "
			     "begins with / is needed, or none for /dev/shm");
}

static int
args_run(const struct tool_args *args)
{
	int status = folder_check(args);

	return status == TOOL_DONE ? args->command->run(args) : status;
}

static int
command_run(const struct tool_command *command, int argc, char **argv)
{
	struct tool_args args;
	int status = args_parse(&args, command, argc, argv);

	if (status == TOOL_DONE) {
		log_begin(&args);
		if (args_has(&args, KEY_HELP))
			status = command_help(command);
		else
			status = args_run(&args);
	}
	progress_clear();
	args_fini(&args);
	return status;
}

static int
dispatch(int argc, char **argv)
{
	const struct tool_command *command;

	if (argc < 2)
		return message_usage(NULL, "a command is needed");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help(NULL);
	if (strcmp(argv[1], "help") == 0)
		return help(argc > 2 ? argv[2] : NULL);
	if (strcmp(argv[1], "--version") == 0) {
		print("strata %s\n", strata_version_string());
		return TOOL_DONE;
	}
	command = command_find(argv[1]);
	if (command == NULL)
		return message_usage(NULL, "there is no command '%s'", argv[1]);
	return command_run(command, argc - 1, argv + 1);
}

/*
 * Output that did not arrive is a failure, also when the last of it was still
 * in stdio's buffer. Who closed the pipe knows that; everybody else is told.
 */
static int
output_finish(int status)
{
	int error;

	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	error = print_errno != 0 ? print_errno : errno;
	if (error != EPIPE)
		fprintf(stderr, "strata: the output cannot be written: %s\n",
			strerror(error != 0 ? error : EIO));
	return status != TOOL_DONE ? status : TOOL_REFUSED;
}

/*
 * A number of 0 to 2 that is closed would be given to the next file that is
 * opened: a segment of a store, say, and all that we print would go into it.
 * What takes the place cannot be used in the direction that the number is for.
 */
static void
descriptors_fill(void)
{
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null",
				    fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int
main(int argc, char **argv)
{
	descriptors_fill();
	/* A closed pipe is a write error like others: sections are left. */
	signal(SIGPIPE, SIG_IGN);
	return output_finish(dispatch(argc, argv));
}
