/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The command pack: dimension files from a manifest or a tree. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan.h"

/**** writing ****/

static mode_t
file_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

/* What the library refuses of a layer; in a tree its file says more. */
static int
layer_refused(const struct plan *plan, const struct plan_dimension *dimension,
	      const struct plan_layer *layer, int code)
{
	if (dimension->folder != NULL)
		return message_error(plan->args, plan->source, "'%s': %s",
				     layer->path, refusal_text(code));
	return message_error(plan->args, plan->source, "layer %u/%u: %s",
			     dimension->info.dimension, layer->number,
			     refusal_text(code));
}

static int
dimension_refused(const struct plan *plan,
		  const struct plan_dimension *dimension, int code)
{
	if (dimension->folder != NULL)
		return message_error(plan->args, plan->source,
				     "folder '%s': %s", dimension->folder,
				     refusal_text(code));
	return message_error(plan->args, plan->source, "dimension %u: %s",
			     dimension->info.dimension, refusal_text(code));
}

static int
layer_stage(const struct plan *plan, const struct plan_dimension *dimension,
	    const struct plan_layer *layer, struct strata_file *file)
{
	int code;

	if (layer->path != NULL)
		code = strata_file_add_path(file, layer->number, &layer->attrs,
					    layer->path);
	else
		code = strata_file_add(file, layer->number, &layer->attrs,
				       layer->content, layer->size);
	if (code != 0)
		return layer_refused(plan, dimension, layer, code);
	return TOOL_DONE;
}

static int
dimension_stage(const struct plan *plan, const struct plan_dimension *dimension,
		const char *folder, struct strata_file **file)
{
	char path[PATH_MAX];
	size_t i;
	int code, status = TOOL_DONE;

	code = strata_file_path(folder, dimension->info.dimension, path,
				sizeof(path));
	if (code == 0)
		code = strata_file_begin(path, file_mode(), &dimension->info,
					 file);
	if (code != 0)
		return dimension_refused(plan, dimension, code);
	for (i = 0; i < dimension->nr_layers && status == TOOL_DONE; i++)
		status = layer_stage(plan, dimension, &dimension->layers[i],
				     *file);
	return status;
}

static int
files_commit(const struct plan *plan, struct strata_file **files)
{
	struct strata_file *file;
	size_t i;
	int code;

	for (i = 0; i < plan->nr_dimensions; i++) {
		progress_show(plan->args, i, plan->nr_dimensions,
			      plan->dimensions[i].info.name);
		file = files[i];
		files[i] = NULL; /* consumed in every case */
		code = strata_file_commit(file);
		if (code != 0)
			return message_error(plan->args, plan->source,
					     "dimension %u: %s (%zu of %zu "
					     "files were written before it)",
					     plan->dimensions[i].info.dimension,
					     refusal_text(code), i,
					     plan->nr_dimensions);
	}
	return TOOL_DONE;
}

/* The files are durable when they are written, and so must the folder be. A
 * parent that may not be read is left to the system. */
static int
folder_sync(const struct plan *plan, const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int parent = fd < 0 ? -1
			    : openat(fd, "..",
				     O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = parent >= 0 && fsync(parent) != 0 && errno != EINVAL ? errno
								       : 0;

	if (parent >= 0)
		close(parent);
	if (fd >= 0)
		close(fd);
	if (err == 0)
		return TOOL_DONE;
	return message_error(plan->args, plan->source,
			     "the folder '%s' was made, but cannot be synced: "
			     "%s",
			     folder, strerror(err));
}

static int
folder_make(const struct plan *plan, const char *folder)
{
	struct stat st;

	if (mkdir(folder, 0777) == 0)
		return folder_sync(plan, folder);
	if (errno != EEXIST)
		return message_error(plan->args, plan->source,
				     "the folder '%s' cannot be made: %s",
				     folder, strerror(errno));
	if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
		return message_error(plan->args, plan->source,
				     "'%s' is not a folder", folder);
	return TOOL_DONE;
}

/*
 * All files are begun, which checks what the library has to say of each layer,
 * before the first is written.
 */
static int
plan_write(const struct plan *plan, const char *folder)
{
	struct strata_file **files =
		x_alloc(plan->nr_dimensions * sizeof(*files));
	int status = TOOL_DONE;
	size_t i;

	for (i = 0; i < plan->nr_dimensions && status == TOOL_DONE; i++)
		status = dimension_stage(plan, &plan->dimensions[i], folder,
					 &files[i]);
	if (status == TOOL_DONE)
		status = folder_make(plan, folder);
	if (status == TOOL_DONE)
		status = files_commit(plan, files);
	for (i = 0; i < plan->nr_dimensions; i++)
		strata_file_abort(files[i]);
	free(files);
	return status;
}

/**** reporting ****/

static uint64_t
dimension_bytes(const struct plan_dimension *dimension)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < dimension->nr_layers; i++)
		bytes += dimension->layers[i].size;
	return bytes;
}

static uint64_t
plan_bytes(const struct plan *plan)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < plan->nr_dimensions; i++)
		bytes += dimension_bytes(&plan->dimensions[i]);
	return bytes;
}

static json_t *
planned_json(const struct plan_dimension *dimension, const char *folder)
{
	char path[PATH_MAX];

	if (strata_file_path(folder, dimension->info.dimension, path,
			     sizeof(path)) != 0)
		path[0] = '\0';
	return json_pack("{s:I, s:o, s:o, s:b, s:I, s:I}", "id",
			 (json_int_t)dimension->info.dimension, "name",
			 json_text(dimension->info.name), "file",
			 json_text(path), "immutable",
			 dimension->info.immutable, "layers",
			 (json_int_t)dimension->nr_layers, "bytes",
			 (json_int_t)dimension_bytes(dimension));
}

static int
plan_json(const struct plan *plan, const char *folder)
{
	json_t *dimensions = json_array();
	size_t i;

	for (i = 0; i < plan->nr_dimensions; i++)
		json_array_append_new(
			dimensions,
			planned_json(&plan->dimensions[i], folder));
	return json_print(json_pack("{s:o, s:o, s:o, s:I, s:I, s:I}", "source",
				    json_text(plan->source), "directory",
				    json_text(folder), "dimensions", dimensions,
				    "layers", (json_int_t)plan->nr_layers,
				    "simulated", (json_int_t)plan->nr_simulated,
				    "bytes", (json_int_t)plan_bytes(plan)));
}

static int
plan_report(const struct plan *plan, const char *folder)
{
	char simulated[48] = "";

	if (args_has(plan->args, KEY_JSON))
		return plan_json(plan, folder);
	if (plan->nr_simulated > 0)
		snprintf(simulated, sizeof(simulated), " (%llu simulated)",
			 (unsigned long long)plan->nr_simulated);
	message_say(plan->args, "%s: packed %s, %s%s, %s of content", folder,
		    COUNT_TEXT(plan->nr_dimensions, "dimension"),
		    COUNT_TEXT(plan->nr_layers, "layer"), simulated,
		    SIZE_TEXT(plan_bytes(plan)));
	return TOOL_DONE;
}

/**** the command ****/

static int
plan_read(struct plan *plan, const char *source, const char *folder)
{
	struct stat source_st, folder_st;
	bool exists = stat(folder, &folder_st) == 0;

	if (strcmp(source, "-") == 0)
		return manifest_read(plan, source);
	if (stat(source, &source_st) != 0)
		return message_error(plan->args, source, "cannot be read: %s",
				     strerror(errno));
	if (S_ISDIR(source_st.st_mode))
		return tree_read(plan, source, exists ? &folder_st : NULL);
	return manifest_read(plan, source);
}

int
cmd_pack(const struct tool_args *args)
{
	const char *source = args->operands[0];
	const char *folder = args->operands[1];
	struct plan plan;
	int status;

	plan_init(&plan, args, source);
	status = plan_read(&plan, source, folder);
	if (status == TOOL_DONE)
		status = plan_write(&plan, folder);
	if (status == TOOL_DONE)
		status = plan_report(&plan, folder);
	plan_fini(&plan);
	return status;
}
