/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata watch: a line for each new version. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "changes.h"

/*
 * Each round sleeps on the futex of strata_wait() until the version has passed
 * the one that was told last, looks once, in a short section, and tells what is
 * different. Signals do what they usually do: the section of a process that is
 * killed is nobody's.
 */

/**** whose it was ****/

/* Writers of a row of versions, by the store's own notes. */
struct writer {
	struct strata_commit_info info; /* of its last commit */
	uint64_t nr;
};

struct writers {
	struct writer *list;
	size_t nr;
	uint64_t known, last; /* commits with a writer; the last version */
};

static bool
is_same(const struct strata_commit_info *a, const struct strata_commit_info *b)
{
	return a->pid == b->pid && a->pid_namespace == b->pid_namespace &&
	       a->uid == b->uid && strcmp(a->name, b->name) == 0;
}

static int
writer_add(const struct strata_commit_info *info, void *arg)
{
	struct writers *writers = arg;
	size_t i;

	if (info->version > writers->last)
		return 0; /* it came after the look */
	for (i = 0; i < writers->nr; i++)
		if (is_same(&writers->list[i].info, info))
			break;
	if (i == writers->nr) {
		writers->list = x_grow(writers->list, writers->nr,
				       sizeof(*writers->list));
		writers->list[writers->nr++] = (struct writer){*info, 0};
	}
	writers->list[i].nr++;
	writers->known++;
	return 0;
}

static char *
writers_text(const struct writers *writers)
{
	char *text = x_dup(""), *longer;
	size_t i;

	for (i = 0; i < writers->nr; i++) {
		const struct strata_commit_info *info = &writers->list[i].info;

		longer = x_format("%s%s%s (process %u)", text,
				  i > 0 ? ", " : "", info->name, info->pid);
		free(text);
		text = longer;
	}
	return text;
}

static json_t *
writers_json(const struct writers *writers)
{
	json_t *items = json_array();
	size_t i;

	for (i = 0; i < writers->nr; i++) {
		const struct writer *writer = &writers->list[i];

		json_array_append_new(
			items,
			json_pack("{s:I, s:I, s:I, s:o, s:I}", "uid",
				  (json_int_t)writer->info.uid, "pid",
				  (json_int_t)writer->info.pid, "namespace",
				  (json_int_t)writer->info.pid_namespace,
				  "name", json_text(writer->info.name),
				  "versions", (json_int_t)writer->nr));
	}
	return items;
}

/**** what is told ****/

struct watch {
	struct view view;
	struct look look;       /* the last one */
	uint64_t first;         /* of the versions that are told now */
	struct changes changes;
	struct writers writers;
};

/* "by strata (process 7)"; nothing of a writer that left no word. */
static char *
line_text(const struct watch *watch)
{
	uint64_t last = watch->look.version;
	char *changes = changes_text(&watch->changes);
	char *by = writers_text(&watch->writers);
	bool all = watch->writers.known == last - watch->first + 1;
	char *versions = watch->first == last
		? x_format("version %llu", (unsigned long long)last)
		: x_format("versions %llu-%llu",
			   (unsigned long long)watch->first,
			   (unsigned long long)last);
	char *line = x_format("%s %s: %s; by %s%s%s", TIME_TEXT(now_ns()),
			      versions, changes, by,
			      *by != '\0' && !all ? " and " : "",
			      all ? "" : "an unknown writer");

	free(versions);
	free(by);
	free(changes);
	return line;
}

static int
line_print(const struct watch *watch, const char *line)
{
	char *clean;

	if (args_has(watch->view.args, KEY_JSON))
		return json_print_line(json_pack(
			"{s:s, s:o, s:s, s:I, s:I, s:o, s:o, s:I}", "event",
			"change", "store", json_text(watch->view.name), "time",
			TIME_TEXT(now_ns()), "first", (json_int_t)watch->first,
			"version", (json_int_t)watch->look.version,
			"dimensions", changes_json(&watch->changes), "by",
			writers_json(&watch->writers), "unknown",
			(json_int_t)(watch->look.version - watch->first + 1 -
				     watch->writers.known)));
	clean = text_clean(line);
	print("%s\n", clean);
	free(clean);
	return line_print_now();
}

/**** the command of --exec ****/

static char *
dimensions_text(const struct changes *changes)
{
	char *text = x_dup(""), *longer;
	size_t i;

	for (i = 0; i < changes->nr; i++) {
		longer = x_format("%s%s%u", text, i > 0 ? " " : "",
				  changes->list[i].facts->id);
		free(text);
		text = longer;
	}
	return text;
}

/* Takes the value. */
static void
variable_set(const char *name, char *value)
{
	if (setenv(name, value, 1) != 0)
		x_check(NULL);
	free(value);
}

/* Linux takes no string of more than 32 pages; and not every system that is like
 * it says so before the command was to begin. Takes the value. */
static void
variable_set_or_cut(const char *name, char *value)
{
	size_t most = 32 * (size_t)sysconf(_SC_PAGESIZE);

	if (strlen(name) + strlen("=") + strlen(value) < most) {
		variable_set(name, value);
		return;
	}
	unsetenv(name);
	variable_set("STRATA_CUT", x_dup("1"));
	free(value);
}

static void
variables_set(const struct watch *watch, const char *line)
{
	unsetenv("STRATA_CUT");
	variable_set("STRATA_STORE", x_dup(watch->view.name));
	variable_set("STRATA_FIRST",
		     x_format("%llu", (unsigned long long)watch->first));
	variable_set("STRATA_VERSION",
		     x_format("%llu", (unsigned long long)watch->look.version));
	variable_set_or_cut("STRATA_DIMENSIONS",
			    dimensions_text(&watch->changes));
	variable_set_or_cut("STRATA_BY", writers_text(&watch->writers));
	variable_set_or_cut("STRATA_LINE", text_clean(line));
}

/* As the tool was started: it ignores SIGPIPE, which others need. And stdin is
 * ours. @return an errno, or 0 */
static int
command_start(const char *command, pid_t *ret_pid)
{
	char *const argv[] = {(char *)"sh", (char *)"-c", (char *)command,
			      NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t signals;
	int err;

	sigemptyset(&signals);
	sigaddset(&signals, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
					 O_RDONLY, 0);
	posix_spawnattr_setsigdefault(&attributes, &signals);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	err = posix_spawn(ret_pid, "/bin/sh", &actions, &attributes, argv,
			  environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return err;
}

/*
 * The system bounds what a command is given in all, too: what is longest is left
 * out, rather than the command. @return an errno, or 0
 */
static int
command_start_cut(const char *command, pid_t *ret_pid)
{
	static const char *const longest[] = {"STRATA_LINE",
					      "STRATA_DIMENSIONS"};
	int err = command_start(command, ret_pid);
	size_t i;

	for (i = 0; err == E2BIG && i < 2; i++) {
		unsetenv(longest[i]);
		variable_set("STRATA_CUT", x_dup("1"));
		err = command_start(command, ret_pid);
	}
	return err;
}

/* A command that fails ends nothing: the next version may suit it. */
static void
command_run(const struct watch *watch, const char *command, const char *line)
{
	const struct tool_args *args = watch->view.args;
	int err, status = 0;
	pid_t pid;

	variables_set(watch, line);
	err = command_start_cut(command, &pid);
	if (err != 0) {
		message_note(args, watch->view.name,
			     "the command cannot be started: %s",
			     strerror(err));
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		message_note(args, watch->view.name,
			     "version %llu: the command %s %d",
			     (unsigned long long)watch->look.version,
			     WIFEXITED(status) ? "left with"
					       : "was killed by signal",
			     WIFEXITED(status) ? WEXITSTATUS(status)
					       : WTERMSIG(status));
}

/**** rounds ****/

static int
watch_tell(struct watch *watch)
{
	const char *command = args_value(watch->view.args, KEY_EXEC);
	char *line = line_text(watch);
	int status = line_print(watch, line);

	if (status == TOOL_DONE && command != NULL)
		command_run(watch, command, line);
	free(line);
	return status;
}

/* Looks, in a section of its own. */
static int
watch_look(struct watch *watch, struct look *ret)
{
	int code, status = view_begin(&watch->view);

	*ret = (struct look){.version = 0};
	if (status != TOOL_DONE)
		return status;
	code = look_take(&watch->view, &watch->look, ret);
	if (code != 0)
		status = message_refused(watch->view.args, watch->view.name,
					 code);
	return view_end(&watch->view, status);
}

static int
watch_round(struct watch *watch)
{
	struct look before = watch->look, after;
	int status, code;

	code = strata_wait(watch->view.store, watch->look.version + 1, -1);
	if (code != 0)
		return message_refused(watch->view.args, watch->view.name,
				       code);
	status = watch_look(watch, &after);
	if (status != TOOL_DONE) {
		look_fini(&after);
		return status;
	}
	changes_find(&watch->look, &after, &watch->changes);
	watch->first = watch->look.version + 1;
	watch->writers = (struct writers){.last = after.version};
	(void)strata_foreach_commit(watch->view.store, watch->look.version,
				    writer_add, &watch->writers);
	watch->look = after; /* what is told points into both */
	status = watch_tell(watch);
	changes_fini(&watch->changes);
	free(watch->writers.list);
	look_fini(&before);
	return status;
}

/* The line from which on nothing is missed. */
static int
watch_announce(struct watch *watch)
{
	const struct tool_args *args = watch->view.args;

	if (args_has(args, KEY_JSON))
		return json_print_line(json_pack(
			"{s:s, s:o, s:s, s:I}", "event", "begin", "store",
			json_text(watch->view.name), "time",
			TIME_TEXT(now_ns()), "version",
			(json_int_t)watch->look.version));
	message_say(args, "%s: watched from version %llu on", watch->view.name,
		    (unsigned long long)watch->look.version);
	return line_print_now();
}

static int
watch_run(struct watch *watch, uint64_t count)
{
	struct look first;
	int status = watch_look(watch, &first);

	watch->look = first;
	if (status == TOOL_DONE)
		status = watch_announce(watch);
	/* 0: for ever */
	for (uint64_t i = 1; status == TOOL_DONE; i++) {
		status = watch_round(watch);
		if (i == count)
			break;
	}
	look_fini(&watch->look);
	return status;
}

int
cmd_watch(const struct tool_args *args)
{
	struct watch watch = {.first = 0};
	uint64_t count = 0;
	int status = args_number(args, KEY_COUNT, UINT32_MAX, &count);

	if (status == TOOL_DONE)
		status = view_attach(&watch.view, args, args->operands[0]);
	if (status != TOOL_DONE)
		return status;
	status = watch_run(&watch, count);
	return view_detach(&watch.view, status);
}
