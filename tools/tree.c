/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Reads a tree of folders and files as dimensions and layers. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"

/* What is left out, counted for one note a kind. */
enum omission {
	OMIT_TOP_FILE,
	OMIT_HIDDEN,
	OMIT_LINK,
	OMIT_SPECIAL,
	OMIT_OUTPUT,
	OMIT_KINDS,
};

struct omitted {
	uint64_t nr;
	char *first;
};

struct tree {
	struct plan *plan;
	const char *root;
	const struct stat *output; /* left out; or NULL */
	struct omitted omitted[OMIT_KINDS];
};

/* Names, collected and then put into order. */
struct names {
	char **text;
	size_t nr;
};

/**** names ****/

static void
names_add(struct names *names, char *text)
{
	names->text = x_grow(names->text, names->nr, sizeof(*names->text));
	names->text[names->nr++] = text;
}

static int
compare_names(const void *a, const void *b)
{
	/* By bytes, so that a tree packs alike in every locale. */
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
names_sort(struct names *names)
{
	if (names->nr > 0)
		qsort(names->text, names->nr, sizeof(*names->text),
		      compare_names);
}

static void
names_fini(struct names *names)
{
	size_t i;

	for (i = 0; i < names->nr; i++)
		free(names->text[i]);
	free(names->text);
}

/**** what is left out ****/

static void
omit(struct tree *tree, enum omission kind, const char *path)
{
	if (tree->omitted[kind].nr++ == 0)
		tree->omitted[kind].first = x_dup(path);
}

static void
omissions_note(const struct tree *tree)
{
	static const char *const kinds[OMIT_KINDS] = {
		[OMIT_TOP_FILE] = "files beside the folders",
		[OMIT_HIDDEN] = "names that begin with a dot",
		[OMIT_LINK] = "symbolic links",
		[OMIT_SPECIAL] = "things that are no file and no folder",
		[OMIT_OUTPUT] = "the folder that is written to",
	};
	const struct omitted *one;
	size_t i;

	for (i = 0; i < OMIT_KINDS; i++) {
		one = &tree->omitted[i];
		if (one->nr > 0)
			message_note(tree->plan->args, tree->plan->source,
				     "left out: %s (%llu; the first is '%s')",
				     kinds[i], (unsigned long long)one->nr,
				     one->first);
	}
}

/**** folders ****/

static int
failed(const struct tree *tree, const char *path, int error)
{
	return message_error(tree->plan->args, tree->plan->source,
			     "'%s' cannot be read: %s", path, strerror(error));
}

static bool
is_output(const struct tree *tree, const struct stat *st)
{
	return tree->output != NULL && st->st_dev == tree->output->st_dev &&
	       st->st_ino == tree->output->st_ino;
}

/*
 * Sorts what a name is: a folder, a file, or left out.
 * @param path relative to the root, for messages; the caller's
 */
static int
name_classify(struct tree *tree, int dir_fd, const char *name, const char *path,
	      mode_t *ret_mode)
{
	struct stat st;

	*ret_mode = 0;
	if (*name == '.') {
		omit(tree, OMIT_HIDDEN, path);
		return TOOL_DONE;
	}
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return failed(tree, path, errno);
	if (S_ISLNK(st.st_mode))
		omit(tree, OMIT_LINK, path);
	else if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		omit(tree, OMIT_SPECIAL, path);
	else if (is_output(tree, &st))
		omit(tree, OMIT_OUTPUT, path);
	else
		*ret_mode = st.st_mode & S_IFMT;
	return TOOL_DONE;
}

/* Reads the names in a folder, but for "." and "..". */
static int
folder_list(const struct tree *tree, int fd, const char *path,
	    struct names *names)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;

	if (dir == NULL) {
		close(fd);
		return failed(tree, path, errno);
	}
	errno = 0;
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			names_add(names, x_dup(entry->d_name));
	}
	if (errno != 0) {
		int error = errno;

		closedir(dir);
		return failed(tree, path, error);
	}
	closedir(dir);
	names_sort(names);
	return TOOL_DONE;
}

static int
folder_open(int dir_fd, const char *name)
{
	return openat(dir_fd, name,
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/**** layers ****/

/*
 * A layer's name is its path below the dimension's folder; checked here, since
 * only here can the message name the file.
 */
static int
file_check(const struct tree *tree, const char *folder, const char *name)
{
	if (strlen(name) > STRATA_NAME_MAX)
		return message_error(tree->plan->args, tree->plan->source,
				     "'%s/%s': the name of a layer has at most "
				     "%d bytes",
				     folder, name, STRATA_NAME_MAX);
	if (!text_is_utf8(name))
		return message_error(tree->plan->args, tree->plan->source,
				     "'%s/%s': the name of a layer must be "
				     "UTF-8",
				     folder, name);
	return TOOL_DONE;
}

static int files_collect(struct tree *tree, int fd, const char *folder,
			 const char *below, struct names *files);

static int
files_collect_one(struct tree *tree, int fd, const char *folder,
		  const char *relative, const char *name, struct names *files)
{
	char *path = x_format("%s/%s", folder, relative);
	mode_t mode;
	int sub, status = name_classify(tree, fd, name, path, &mode);

	if (status == TOOL_DONE && mode != 0)
		status = file_check(tree, folder, relative);
	if (status == TOOL_DONE && mode == S_IFREG)
		names_add(files, x_dup(relative));
	if (status == TOOL_DONE && mode == S_IFDIR) {
		sub = folder_open(fd, name);
		status = sub < 0 ? failed(tree, path, errno)
				 : files_collect(tree, sub, folder, relative,
						 files);
	}
	free(path);
	return status;
}

/*
 * Collects the files in and below a folder. The depth is bounded: a path longer
 * than a layer's name is refused.
 * @param fd of the folder; closed here
 * @param below its path below the dimension's folder, "" for that itself
 */
static int
files_collect(struct tree *tree, int fd, const char *folder, const char *below,
	      struct names *files)
{
	struct names names = {.nr = 0};
	int list_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int status = list_fd < 0 ? failed(tree, folder, errno)
				 : folder_list(tree, list_fd, folder, &names);
	size_t i;

	for (i = 0; i < names.nr && status == TOOL_DONE; i++) {
		char *relative =
			*below != '\0' ? x_format("%s/%s", below, names.text[i])
				       : x_dup(names.text[i]);

		status = files_collect_one(tree, fd, folder, relative,
					   names.text[i], files);
		free(relative);
	}
	names_fini(&names);
	close(fd);
	return status;
}

static int
layer_add(struct tree *tree, struct plan_dimension *dimension, char *name)
{
	struct plan_layer *layer = plan_add_layer(tree->plan, dimension);
	struct stat st;

	plan_keep(tree->plan, name);
	layer->number = (uint32_t)(dimension->nr_layers - 1);
	layer->attrs.name = name;
	layer->path = plan_keep(tree->plan, x_format("%s/%s/%s", tree->root,
						     dimension->folder, name));
	if (stat(layer->path, &st) != 0)
		return failed(tree, layer->path, errno);
	layer->size = (size_t)st.st_size;
	return TOOL_DONE;
}

static int
layers_read(struct tree *tree, struct plan_dimension *dimension)
{
	struct names files = {.nr = 0};
	char *path = x_format("%s/%s", tree->root, dimension->folder);
	int fd = folder_open(AT_FDCWD, path);
	int status =
		fd < 0 ? failed(tree, dimension->folder, errno)
		       : files_collect(tree, fd, dimension->folder, "", &files);
	size_t i;

	names_sort(&files);
	for (i = 0; i < files.nr && status == TOOL_DONE; i++) {
		status = layer_add(tree, dimension, files.text[i]);
		files.text[i] = NULL; /* the plan's now */
	}
	names_fini(&files);
	free(path);
	return status;
}

/**** dimensions ****/

/*
 * The number that a folder's name says: all of `D07` and `7`, the digits of
 * `7-colours`, of which the rest is the dimension's name.
 */
static bool
folder_number(const char *folder, uint64_t *ret_number, const char **ret_name)
{
	const char *digits = *folder == 'D' ? folder + 1 : folder;
	size_t length = strspn(digits, "0123456789");
	char *end;

	/* Eighteen digits fit 64 bits; none of more is a dimension. */
	if (length == 0 || length > 18)
		return false;
	*ret_number = strtoull(digits, &end, 10);
	*ret_name = folder;
	if (*end == '\0')
		return true;
	*ret_name = end + 1;
	return digits == folder && *end == '-' && end[1] != '\0';
}

static int
dimension_named(const struct tree *tree, struct plan_dimension *dimension,
		const char *name)
{
	if (strlen(name) > STRATA_DIMENSION_NAME_MAX || !text_is_utf8(name))
		return message_error(tree->plan->args, tree->plan->source,
				     "folder '%s': the name of a dimension "
				     "must be UTF-8 of at most %d bytes",
				     dimension->folder,
				     STRATA_DIMENSION_NAME_MAX);
	strcpy(dimension->info.name, name);
	return TOOL_DONE;
}

/* The folders in order of names; those without a number keep 0 for now. */
static int
dimension_add(struct tree *tree, const char *folder)
{
	struct plan *plan = tree->plan;
	struct plan_dimension *dimension = plan_add_dimension(plan);
	const char *name = folder;
	uint64_t number = 0;

	dimension->folder = plan_keep(plan, x_dup(folder));
	dimension->origin = plan->nr_dimensions - 1;
	if (folder_number(folder, &number, &name)) {
		if (number == 0 || number > STRATA_DIMENSION_MAX) {
			message_note(plan->args, plan->source,
				     "folder '%s': %llu is no dimension number "
				     "(1 to %u); it gets the next free one",
				     folder, (unsigned long long)number,
				     STRATA_DIMENSION_MAX);
			name = folder;
			number = 0;
		}
	} else {
		name = folder;
		number = 0;
	}
	dimension->info.dimension = (uint32_t)number;
	return dimension_named(tree, dimension, name);
}

static int
folders_read(struct tree *tree, int fd)
{
	struct names names = {.nr = 0};
	int list_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int status = list_fd < 0
			     ? failed(tree, tree->root, errno)
			     : folder_list(tree, list_fd, tree->root, &names);
	mode_t mode;
	size_t i;

	for (i = 0; i < names.nr && status == TOOL_DONE; i++) {
		status = name_classify(tree, fd, names.text[i], names.text[i],
				       &mode);
		if (status == TOOL_DONE && mode == S_IFREG)
			omit(tree, OMIT_TOP_FILE, names.text[i]);
		if (status == TOOL_DONE && mode == S_IFDIR)
			status = dimension_add(tree, names.text[i]);
	}
	names_fini(&names);
	return status;
}

static int
numbers_unique(const struct plan *plan)
{
	const struct plan_dimension *one;
	size_t i;

	for (i = 1; i < plan->nr_dimensions; i++) {
		one = &plan->dimensions[i];
		if (one->info.dimension != 0 &&
		    one->info.dimension == one[-1].info.dimension)
			return message_error(plan->args, plan->source,
					     "the folders '%s' and '%s' would "
					     "both be dimension %u; rename one",
					     one[-1].folder, one->folder,
					     one->info.dimension);
	}
	return TOOL_DONE;
}

/*
 * Gives the folders without a number, which sort first, the numbers that the
 * others leave free.
 */
static int
numbers_assign(struct plan *plan)
{
	size_t taken = 0, i;
	uint32_t number = 1;

	while (taken < plan->nr_dimensions &&
	       plan->dimensions[taken].info.dimension == 0)
		taken++;
	for (i = 0; plan->dimensions[i].info.dimension == 0; number++) {
		if (taken < plan->nr_dimensions &&
		    plan->dimensions[taken].info.dimension == number) {
			taken++;
			continue;
		}
		if (number > STRATA_DIMENSION_MAX)
			return message_error(plan->args, plan->source,
					     "there are more than %u folders",
					     STRATA_DIMENSION_MAX);
		plan->dimensions[i++].info.dimension = number;
		if (i == plan->nr_dimensions)
			break;
	}
	plan_sort_dimensions(plan);
	return TOOL_DONE;
}

static int
dimensions_read(struct tree *tree)
{
	struct plan *plan = tree->plan;
	int fd = open(tree->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int status;

	if (fd < 0)
		return failed(tree, tree->root, errno);
	status = folders_read(tree, fd);
	close(fd);
	if (status != TOOL_DONE)
		return status;
	if (plan->nr_dimensions == 0)
		return message_error(plan->args, plan->source,
				     "there is no folder in it; each folder "
				     "becomes a dimension");
	plan_sort_dimensions(plan);
	status = numbers_unique(plan);
	return status == TOOL_DONE ? numbers_assign(plan) : status;
}

int
tree_read(struct plan *plan, const char *path, const struct stat *output)
{
	struct tree tree = {.plan = plan, .root = path, .output = output};
	int status = dimensions_read(&tree);
	size_t i;

	for (i = 0; i < plan->nr_dimensions && status == TOOL_DONE; i++) {
		progress_show(plan->args, i, plan->nr_dimensions,
			      plan->dimensions[i].folder);
		status = layers_read(&tree, &plan->dimensions[i]);
	}
	if (status == TOOL_DONE)
		omissions_note(&tree);
	for (i = 0; i < OMIT_KINDS; i++)
		free(tree.omitted[i].first);
	return status;
}
