/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The command verify: stores and dimension files. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tool.h"

/* All operands are checked; what they gave is gathered here for --json. */
struct verify {
	const struct tool_args *args;
	json_t *checked; /* NULL: text */
	uint64_t errors;
};

static int
verify_progress(uint64_t done, uint64_t total, void *arg)
{
	const struct verify *verify = arg;

	progress_show(verify->args, done, total, "checked");
	return 0;
}

/**** stores ****/

/*
 * Accounting can only be checked by who may write; without that permission the
 * rest still can.
 */
static int
verify_attach(const struct tool_args *args, const char *name,
	      struct strata_store **ret_store, bool *ret_accounting)
{
	unsigned flags =
		args_has(args, KEY_TRUST_OWNER) ? STRATA_TRUST_OWNER : 0;

	*ret_accounting =
		strata_attach(name, flags | STRATA_WRITE, ret_store) == 0;
	if (*ret_accounting)
		return TOOL_DONE;
	return store_attach(args, name, STRATA_READ, ret_store);
}

static void
store_item(struct verify *verify, const char *name, bool accounting,
	   const struct strata_verify_report *report)
{
	json_t *item = json_object();

	json_object_set_new(item, "store", json_text(name));
	json_object_set_new(item, "errors",
			    json_integer((json_int_t)report->errors));
	json_object_set_new(item, "first",
			    report->errors > 0 ? json_text(report->first)
					       : json_null());
	json_object_set_new(item, "accounting", json_boolean(accounting));
	json_object_set_new(item, "dimensions",
			    json_integer((json_int_t)report->dimensions));
	json_object_set_new(item, "layers",
			    json_integer((json_int_t)report->layers));
	json_object_set_new(item, "regions",
			    json_integer((json_int_t)report->regions));
	json_object_set_new(item, "nodes",
			    json_integer((json_int_t)report->nodes));
	json_object_set_new(item, "blocks",
			    json_integer((json_int_t)report->blocks));
	json_object_set_new(item, "checked_bytes",
			    json_integer((json_int_t)report->checked_bytes));
	json_array_append_new(verify->checked, item);
}

static void
store_say(const struct verify *verify, const char *name, bool accounting,
	  const struct strata_verify_report *report)
{
	message_say(verify->args, "%s: good: %s, %s, %s, %s, %s, %s checked%s",
		    name, COUNT_TEXT(report->dimensions, "dimension"),
		    COUNT_TEXT(report->layers, "layer"),
		    COUNT_TEXT(report->regions, "region"),
		    COUNT_TEXT(report->nodes, "node"),
		    COUNT_TEXT(report->blocks, "block"),
		    SIZE_TEXT(report->checked_bytes),
		    accounting ? ""
			       : " (without the accounting: we may not write)");
}

/* A store that cannot be checked counts as one that is wrong. */
static void
store_failed(struct verify *verify, const char *name, const char *error)
{
	verify->errors++;
	if (verify->checked != NULL)
		json_array_append_new(verify->checked,
				      json_pack("{s:o, s:i, s:o}", "store",
						json_text(name), "errors", 1,
						"first", json_text(error)));
}

static int
store_verify(struct verify *verify, const char *name,
	     struct strata_store *store, bool accounting)
{
	const struct tool_args *args = verify->args;
	struct strata_verify_report report = {.errors = 0};
	int code = strata_verify(store, args_has(args, KEY_QUICK),
				 verify_progress, verify, &report);

	if (code != 0) {
		store_failed(verify, name, refusal_text(code));
		return message_refused(args, name, code);
	}
	verify->errors += report.errors;
	if (verify->checked != NULL)
		store_item(verify, name, accounting, &report);
	if (report.errors > 0)
		return message_error(args, name, "%s; the first: %s",
				     COUNT_TEXT(report.errors, "error"),
				     report.first);
	if (verify->checked == NULL)
		store_say(verify, name, accounting, &report);
	return TOOL_DONE;
}

static int
verify_store(struct verify *verify, const char *name)
{
	struct strata_store *store;
	bool accounting;
	int status = verify_attach(verify->args, name, &store, &accounting);

	if (status != TOOL_DONE) {
		store_failed(verify, name, strata_last_error()->sentence);
		return status;
	}
	status = store_verify(verify, name, store, accounting);
	return store_detach(verify->args, store, status);
}

/**** files ****/

static void
file_item(struct verify *verify, const char *file, const char *error,
	  const struct strata_file_info *info)
{
	json_t *item =
		json_pack("{s:o, s:i, s:o}", "file", json_text(file), "errors",
			  error != NULL, "first",
			  error != NULL ? json_text(error) : json_null());

	if (error == NULL) {
		json_object_set_new(item, "dimension",
				    json_integer(info->dimension));
		json_object_set_new(item, "name", json_text(info->name));
		json_object_set_new(item, "immutable",
				    json_boolean(info->immutable));
		json_object_set_new(item, "layers",
				    json_integer((json_int_t)info->nr_layers));
		json_object_set_new(
			item, "bytes",
			json_integer((json_int_t)info->content_bytes));
		json_object_set_new(item, "file_bytes",
				    json_integer((json_int_t)info->file_bytes));
	}
	json_array_append_new(verify->checked, item);
}

/* What the library says begins with the path, which the message has already. */
static const char *
without_path(const char *sentence, const char *path)
{
	size_t length = strlen(path);

	if (strncmp(sentence, path, length) == 0 &&
	    strncmp(sentence + length, ": ", 2) == 0)
		return sentence + length + 2;
	return sentence;
}

/* A file that cannot be read counts as one that is wrong. */
static int
file_verify(struct verify *verify, const char *file, const char *path)
{
	const struct tool_args *args = verify->args;
	struct strata_file_info info = {.dimension = 0};
	int code = strata_file_verify(path, args_has(args, KEY_QUICK), &info);
	const char *error =
		code != 0 ? without_path(refusal_text(code), path) : NULL;

	if (verify->checked != NULL)
		file_item(verify, file, error, &info);
	if (error != NULL) {
		verify->errors++;
		return message_error(args, file, "%s", error);
	}
	if (verify->checked == NULL)
		message_say(args, "%s: good: dimension %u '%s', %s, %s", file,
			    info.dimension, info.name,
			    COUNT_TEXT(info.nr_layers, "layer"),
			    SIZE_TEXT(info.content_bytes));
	return TOOL_DONE;
}

static void
file_failed(struct verify *verify, const char *file, const char *error)
{
	verify->errors++;
	if (verify->checked != NULL)
		file_item(verify, file, error, /* info= */ NULL);
}

static int
verify_file(struct verify *verify, const char *file)
{
	struct input input;
	int status = input_open(verify->args, file, &input);

	if (status != TOOL_DONE) {
		/* Of stdin: what is wrong with a path is told below. */
		file_failed(verify, file, "stdin cannot be copied");
		return status;
	}
	status = file_verify(verify, file, input.path);
	input_close(&input);
	return status;
}

/**** the command ****/

static bool
is_file(const char *operand)
{
	struct stat st;

	return strcmp(operand, "-") == 0 || strchr(operand, '/') != NULL ||
	       (stat(operand, &st) == 0 && S_ISREG(st.st_mode));
}

int
cmd_verify(const struct tool_args *args)
{
	struct verify verify = {.args = args};
	int i, one, status = TOOL_DONE;

	if (args_has(args, KEY_JSON))
		verify.checked = json_array();
	for (i = 0; i < args->nr_operands; i++) {
		const char *operand = args->operands[i];

		one = is_file(operand) ? verify_file(&verify, operand)
				       : verify_store(&verify, operand);
		status = one != TOOL_DONE ? one : status;
	}
	if (verify.checked != NULL)
		json_print(json_pack("{s:I, s:o}", "errors",
				     (json_int_t)verify.errors, "checked",
				     verify.checked));
	return status;
}
