/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Commands for whole dimensions: load, unload, reload, crystallize, describe.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

/* "core: loaded dimension 7 'Technical Level': 20 layers, 12.4 MiB, ..." */
static void
say_dimension(const struct tool_args *args, struct strata_store *store,
	      const char *did, uint32_t id)
{
	const char *name = strata_name(store);
	struct strata_dimension dimension;

	if (args_has(args, KEY_QUIET))
		return;
	if (!store_dimension(store, id, &dimension)) {
		message_say(args, "%s: %s dimension %u", name, did, id);
		return;
	}
	message_say(args, "%s: %s dimension %u%s%s%s: %s, %s, version %llu",
		    name, did, id, dimension.name[0] != '\0' ? " '" : "",
		    dimension.name, dimension.name[0] != '\0' ? "'" : "",
		    COUNT_TEXT(dimension.nr_layers, "layer"),
		    SIZE_TEXT(dimension.content_bytes),
		    (unsigned long long)dimension.version);
}

/**** progress ****/

struct shown {
	const struct tool_args *args;
	const char *what;
};

static int
show(uint64_t done, uint64_t total, void *arg)
{
	const struct shown *shown = arg;

	progress_show(shown->args, done, total, shown->what);
	return 0;
}

static struct strata_work
work_shown(struct shown *shown)
{
	return (struct strata_work){.struct_size = sizeof(struct strata_work),
				    .progress = show,
				    .arg = shown};
}

/**** refusals ****/

/* What the library says of an input, to be freed. It is handed stdin as a path,
 * which means nothing to anybody. */
static char *
input_refusal(const struct input *input, const char *operand, int code)
{
	const char *text = refusal_text(code);
	const char *at =
		input->path != operand ? strstr(text, input->path) : NULL;
	const char *end;

	if (at == NULL)
		return x_dup(text);
	end = at + strlen(input->path);
	if (at > text && at[-1] == '\'' && *end == '\'') {
		at--;
		end++;
	}
	return x_format("%.*sstdin%s", (int)(at - text), text, end);
}

/* Of many files, each sentence names its own; some of the library's do. */
static int
load_refused(const struct tool_args *args, const char *store,
	     const struct input *input, const char *operand, int code)
{
	const char *file = input->path == operand ? operand : "stdin";
	char *text = input_refusal(input, operand, code);

	if (strstr(text, file) != NULL)
		message_error(args, store, "%s", text);
	else
		message_error(args, store, "%s: %s", file, text);
	free(text);
	return TOOL_REFUSED;
}

/**** load ****/

static int
load_one(const struct tool_args *args, struct strata_store *store,
	 const char *file)
{
	const char *name = strata_name(store);
	struct shown shown = {args, file};
	const struct strata_work work = work_shown(&shown);
	struct input input;
	uint32_t id = 0;
	int status = input_open(args, file, &input);
	int code;

	if (status != TOOL_DONE)
		return status;
	code = strata_load_with(store, input.path, &work, &id);
	if (code == STRATA_EEXIST && args_has(args, KEY_CORE))
		/* What --core asks for is true already. */
		message_say(args, "%s: %s is loaded already", name, file);
	else if (code != 0)
		status = load_refused(args, name, &input, file, code);
	else
		say_dimension(args, store, "loaded", id);
	input_close(&input);
	return status;
}

static int
load_all(const struct tool_args *args, struct strata_store *store,
	 const struct file_list *files)
{
	int status = TOOL_DONE;
	size_t i;

	for (i = 0; i < files->nr; i++) {
		progress_show(args, i, files->nr, files->paths[i]);
		if (load_one(args, store, files->paths[i]) != TOOL_DONE)
			status = TOOL_REFUSED;
	}
	return status;
}

static int
core_files(const struct tool_args *args, struct strata_store *store,
	   struct file_list *files)
{
	const char *directory = strata_directory(store);

	if (directory == NULL)
		return message_error(args, strata_name(store),
				     "the store has no directory; name the "
				     "files, or create it with --dir");
	return file_list_read(args, directory, files);
}

/* All that the operands name; one that names nothing does not hide others. */
static int
operand_files(const struct tool_args *args, struct file_list *files)
{
	int status = TOOL_DONE;
	struct stat st;
	int i;

	for (i = 1; i < args->nr_operands; i++) {
		const char *operand = args->operands[i];

		if (stat(operand, &st) != 0 || !S_ISDIR(st.st_mode))
			file_list_add(files, x_dup(operand));
		else if (file_list_read(args, operand, files) != TOOL_DONE)
			status = TOOL_REFUSED;
	}
	return status;
}

static int
load_into(const struct tool_args *args, struct strata_store *store)
{
	struct file_list files = {NULL, 0};
	int status = args_has(args, KEY_CORE) ? core_files(args, store, &files)
					      : operand_files(args, &files);

	if (load_all(args, store, &files) != TOOL_DONE)
		status = TOOL_REFUSED;
	file_list_fini(&files);
	return status;
}

int
cmd_load(const struct tool_args *args)
{
	struct strata_store *store;
	int status;

	if (args_has(args, KEY_CORE) && args->nr_operands > 1)
		return message_usage(args, "--core takes no files");
	if (!args_has(args, KEY_CORE) && args->nr_operands < 2)
		return message_usage(args, "a file, a folder or --core is "
					   "needed");
	status = store_attach(args, args->operands[0], STRATA_WRITE, &store);
	if (status != TOOL_DONE)
		return status;
	status = load_into(args, store);
	return store_detach(args, store, status);
}

/**** one dimension ****/

/* Does it to that of the second operand. */
static int
with_dimension(const struct tool_args *args,
	       int (*what)(const struct tool_args *args,
			   struct strata_store *store, uint32_t id))
{
	struct strata_store *store;
	uint32_t id;
	int status = args_dimension(args, args->operands[1], &id);

	if (status == TOOL_DONE)
		status = store_attach(args, args->operands[0], STRATA_WRITE,
				      &store);
	if (status != TOOL_DONE)
		return status;
	status = what(args, store, id);
	return store_detach(args, store, status);
}

/**** unload ****/

/* For the message only: somebody else may make or remove it meanwhile. */
static bool
has_file(struct strata_store *store, uint32_t id)
{
	const char *directory = strata_directory(store);
	char path[PATH_MAX];

	return directory != NULL &&
	       strata_file_path(directory, id, path, sizeof(path)) == 0 &&
	       access(path, F_OK) == 0;
}

static int
unload(const struct tool_args *args, struct strata_store *store, uint32_t id)
{
	const char *name = strata_name(store);
	bool forget = args_has(args, KEY_FORGET);
	struct strata_dimension before;
	bool known = store_dimension(store, id, &before);
	bool forgets = forget && has_file(store, id);
	int code = strata_unload(store, id, forget);

	if (code != 0)
		return message_refused(args, name, code);
	if (known)
		message_say(args, "%s: unloaded dimension %u: %s, %s%s", name,
			    id, COUNT_TEXT(before.nr_layers, "layer"),
			    SIZE_TEXT(before.content_bytes),
			    forgets ? ", and forgot its file" : "");
	else
		message_say(args, "%s: unloaded dimension %u%s", name, id,
			    forgets ? ", and forgot its file" : "");
	return TOOL_DONE;
}

int
cmd_unload(const struct tool_args *args)
{
	return with_dimension(args, unload);
}

/**** reload ****/

static int
reload_refused(const struct tool_args *args, struct strata_store *store,
	       const struct input *input, const char *operand, int code)
{
	char *text = input_refusal(input, operand, code);

	message_error(args, strata_name(store), "%s", text);
	free(text);
	return TOOL_REFUSED;
}

static int
reload(const struct tool_args *args, struct strata_store *store, uint32_t id)
{
	struct shown shown = {args, args->operands[1]};
	const struct strata_work work = work_shown(&shown);
	const char *file = args->nr_operands > 2 ? args->operands[2] : NULL;
	struct input input = {.fd = -1, .path = NULL};
	int status = TOOL_DONE;
	int code;

	if (file != NULL)
		status = input_open(args, file, &input);
	if (status != TOOL_DONE)
		return status;
	code = strata_reload_with(store, id, input.path, &work);
	if (code != 0)
		status = reload_refused(args, store, &input, file, code);
	else
		say_dimension(args, store, "reloaded", id);
	input_close(&input);
	return status;
}

int
cmd_reload(const struct tool_args *args)
{
	return with_dimension(args, reload);
}

/**** crystallize ****/

static int
crystallize(const struct tool_args *args, struct strata_store *store,
	    uint32_t id)
{
	struct shown shown = {args, args->operands[1]};
	const struct strata_work work = work_shown(&shown);
	int code = strata_crystallize_with(store, id, &work);

	if (code != 0)
		return message_refused(args, args->operands[0], code);
	say_dimension(args, store, "crystallized", id);
	return TOOL_DONE;
}

int
cmd_crystallize(const struct tool_args *args)
{
	return with_dimension(args, crystallize);
}

/**** describe ****/

/*
 * Starts from what is there, so that one option changes one thing. A copy needs
 * no reader slot: a full table must not look like a dimension that nothing was
 * said of yet.
 */
static int
description_inherit(const struct tool_args *args, struct strata_store *store,
		    uint32_t id, struct strata_dimension *dimension)
{
	int code = strata_copy_dimension(store, id, dimension,
					 /* ret_version= */ NULL);

	dimension->id = id;
	if (code != 0 && code != STRATA_ENODIM)
		return message_refused(args, strata_name(store), code);
	return TOOL_DONE;
}

static int
description_read(const struct tool_args *args,
		 struct strata_dimension *dimension)
{
	const char *name = args_value(args, KEY_NAME);
	int status = args_frequency(args, KEY_FREQUENCY_MIN,
				    &dimension->frequency_min);

	if (status == TOOL_DONE)
		status = args_frequency(args, KEY_FREQUENCY_MAX,
					&dimension->frequency_max);
	if (status != TOOL_DONE || name == NULL)
		return status;
	if (strlen(name) > STRATA_DIMENSION_NAME_MAX)
		return message_usage(args,
				     "--name: a dimension's name has at most "
				     "%d bytes",
				     STRATA_DIMENSION_NAME_MAX);
	strcpy(dimension->name, name);
	return TOOL_DONE;
}

static int
description_commit(const struct tool_args *args, struct strata_store *store,
		   const struct strata_dimension *dimension)
{
	struct strata_txn *txn;
	int code = strata_txn_begin(store, &txn);

	if (code != 0)
		return message_refused(args, strata_name(store), code);
	code = strata_describe(txn, dimension->id, dimension->name,
			       dimension->frequency_min,
			       dimension->frequency_max);
	if (code == 0)
		code = strata_txn_commit(txn, NULL);
	if (code == 0)
		return TOOL_DONE;
	/* The message comes first: the abort may not change it. */
	message_refused(args, strata_name(store), code);
	strata_txn_abort(txn);
	return TOOL_REFUSED;
}

static int
describe(const struct tool_args *args, struct strata_store *store, uint32_t id)
{
	struct strata_dimension dimension = {.id = 0};
	int status = description_inherit(args, store, id, &dimension);

	if (status == TOOL_DONE)
		status = description_read(args, &dimension);
	if (status == TOOL_DONE)
		status = description_commit(args, store, &dimension);
	if (status == TOOL_DONE)
		say_dimension(args, store, "described", id);
	return status;
}

/* What is wrong with the options is told before anything is attached. */
int
cmd_describe(const struct tool_args *args)
{
	struct strata_dimension scratch = {.id = 0};
	uint32_t id;
	int status = args_dimension(args, args->operands[1], &id);

	if (status == TOOL_DONE && !args_has(args, KEY_NAME) &&
	    !args_has(args, KEY_FREQUENCY_MIN) &&
	    !args_has(args, KEY_FREQUENCY_MAX))
		status = message_usage(args, "--name, --frequency-min or "
					     "--frequency-max is needed");
	if (status == TOOL_DONE)
		status = description_read(args, &scratch);
	return status == TOOL_DONE ? with_dimension(args, describe) : status;
}
