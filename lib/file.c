/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Dimension files: made and checked without a store. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "meta.h"
#include "newfile.h"
#include "region.h"

/*
 * The layers added so far, in a growing array that plan sorts; and their
 * numbers in a hash set, so that a number given twice is told at once, to
 * whoever gave it, and not at the end of a long job.
 */
struct strata_file {
	char *path;
	uint32_t mode;
	struct strata_file_info info;
	struct strata__image_source *sources; /* their meta and path are ours */
	size_t nr_sources, max_sources;
	uint64_t *numbers; /* layer + 1, 0: empty; at most half full */
	size_t nr_slots;   /* a power of two, or 0 */
};

static int
no_memory(void)
{
	return strata__fail(STRATA_ENOMEM,
			    "no memory to describe a dimension file");
}

/**** the numbers ****/

/* The slot of a number: where it is, or where it would be. */
static size_t
slot_of(const uint64_t *numbers, size_t nr_slots, uint64_t number)
{
	size_t slot = number * UINT64_C(0x9e3779b97f4a7c15) >> 32;

	while (numbers[slot & (nr_slots - 1)] != 0 &&
	       numbers[slot & (nr_slots - 1)] != number)
		slot++;
	return slot & (nr_slots - 1);
}

static int
numbers_grow(struct strata_file *file)
{
	size_t i, nr_slots = file->nr_slots != 0 ? 2 * file->nr_slots : 64;
	uint64_t *numbers = calloc(nr_slots, sizeof(*numbers));

	if (numbers == NULL)
		return no_memory();
	for (i = 0; i < file->nr_slots; i++)
		if (file->numbers[i] != 0)
			numbers[slot_of(numbers, nr_slots, file->numbers[i])] =
				file->numbers[i];
	free(file->numbers);
	file->numbers = numbers;
	file->nr_slots = nr_slots;
	return 0;
}

/* Makes room for one layer more. */
static int
file_grow(struct strata_file *file)
{
	size_t max = file->max_sources != 0 ? 2 * file->max_sources : 32;
	struct strata__image_source *sources;

	if (2 * (file->nr_sources + 1) > file->nr_slots &&
	    numbers_grow(file) != 0)
		return STRATA_ENOMEM;
	if (file->nr_sources < file->max_sources)
		return 0;
	sources = reallocarray(file->sources, max, sizeof(*sources));
	if (sources == NULL)
		return no_memory();
	file->sources = sources;
	file->max_sources = max;
	return 0;
}

static bool
has_number(const struct strata_file *file, uint32_t layer)
{
	uint64_t number = (uint64_t)layer + 1;

	return file->numbers[slot_of(file->numbers, file->nr_slots, number)] ==
	       number;
}

/**** begin, abort ****/

static int
info_check(const struct strata_file_info *info)
{
	if (info == NULL)
		return strata__fail(STRATA_EINVAL, "no description of the "
						   "dimension was given");
	if (info->dimension == 0 || info->dimension > STRATA_DIMENSION_MAX)
		return strata__fail(STRATA_EINVAL,
				    "%u is no dimension number "
				    "(1 to %u)",
				    info->dimension, STRATA_DIMENSION_MAX);
	if (!isfinite(info->frequency_min) || !isfinite(info->frequency_max) ||
	    info->frequency_min > info->frequency_max)
		return strata__fail(STRATA_EINVAL,
				    "frequencies %g to %g are "
				    "no range",
				    info->frequency_min, info->frequency_max);
	return strata__text_check("dimension name", info->name,
				  STRATA_DIMENSION_NAME_MAX);
}

int
strata_file_begin(const char *path, uint32_t mode,
		  const struct strata_file_info *info,
		  struct strata_file **ret_file)
{
	struct strata_file *file;
	int r;

	if (path == NULL || path[0] == '\0')
		return strata__fail(STRATA_EINVAL, "no path was given");
	if (ret_file == NULL)
		return strata__fail(STRATA_EINVAL, "no place for a file");
	if ((mode & ~(uint32_t)0777) != 0)
		return strata__fail(STRATA_EINVAL,
				    "mode 0%o has more than permission bits",
				    mode);
	r = info_check(info);
	if (r != 0)
		return r;
	file = calloc(1, sizeof(*file));
	if (file == NULL)
		return no_memory();
	file->path = strdup(path);
	if (file->path == NULL) {
		free(file);
		return no_memory();
	}
	file->mode = mode;
	file->info = *info;
	*ret_file = file;
	return 0;
}

static void
source_free(struct strata__image_source *source)
{
	free((void *)source->meta);
	free((void *)source->path);
}

void
strata_file_abort(struct strata_file *file)
{
	size_t i;

	if (file == NULL)
		return;
	for (i = 0; i < file->nr_sources; i++)
		source_free(&file->sources[i]);
	free(file->sources);
	free(file->numbers);
	free(file->path);
	free(file);
}

/**** add ****/

static int
add_check(const struct strata_file *file, uint32_t layer,
	  const struct strata_attrs *attrs)
{
	if (file == NULL)
		return strata__fail(STRATA_EINVAL, "no dimension file");
	if (layer > STRATA_LAYER_MAX)
		return strata__fail(STRATA_EINVAL,
				    "%u is no layer number (0 to %u)", layer,
				    STRATA_LAYER_MAX);
	return strata__attrs_check(attrs);
}

static int
already_there(const struct strata_file *file, uint32_t layer)
{
	strata__fail(STRATA_EEXIST, "layer %u was added to '%.300s' already",
		     layer, file->path);
	strata__error()->dimension = file->info.dimension;
	strata__error()->layer = layer;
	return STRATA_EEXIST;
}

/* The layer's row but for its content; takes path over. */
static int
source_make(uint32_t layer, const struct strata_attrs *attrs, const char *path,
	    struct strata__image_source *ret)
{
	struct strata__image_source source = {.path = path};
	void *meta;

	source.layer.layer = layer;
	source.layer.parent = -1;
	if (attrs != NULL) {
		source.layer.depth = attrs->depth;
		source.layer.parent = attrs->parent;
		source.layer.flags = attrs->flags;
		source.layer.frequency = attrs->frequency;
	}
	source.layer.meta_size = strata__meta_size(attrs);
	meta = malloc(source.layer.meta_size);
	if (meta == NULL)
		return no_memory();
	strata__meta_encode(attrs, strata__os_realtime_ns(), meta);
	source.meta = meta;
	*ret = source;
	return 0;
}

/* After the checks. path is taken over, on success. */
static int
add(struct strata_file *file, uint32_t layer, const struct strata_attrs *attrs,
    const void *data, const char *path, uint64_t size)
{
	struct strata__image_source source;
	uint64_t number = (uint64_t)layer + 1;
	int r;

	r = file_grow(file);
	if (r != 0)
		return r;
	if (has_number(file, layer))
		return already_there(file, layer);
	r = source_make(layer, attrs, path, &source);
	if (r != 0)
		return r;
	source.data = data;
	source.layer.size = size;
	file->sources[file->nr_sources++] = source;
	file->numbers[slot_of(file->numbers, file->nr_slots, number)] = number;
	return 0;
}

int
strata_file_add(struct strata_file *file, uint32_t layer,
		const struct strata_attrs *attrs, const void *data, size_t size)
{
	int r = add_check(file, layer, attrs);

	if (r != 0)
		return r;
	if (data == NULL && size != 0)
		return strata__fail(STRATA_EINVAL,
				    "layer %u: %zu bytes at no "
				    "address",
				    layer, size);
	return add(file, layer, attrs, data, NULL, size);
}

/* Size of a regular file that can be read. */
static int
content_size(const char *path, uint64_t *ret_size)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return strata__fail_errno(errno, "cannot look at '%.300s'",
					  path);
	if (!S_ISREG(st.st_mode))
		return strata__fail(STRATA_EINVAL,
				    "'%.300s' is not a regular file", path);
	/* Told now and not at the end of a long job. */
	if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0)
		return strata__fail_errno(errno, "cannot read '%.300s'", path);
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

int
strata_file_add_path(struct strata_file *file, uint32_t layer,
		     const struct strata_attrs *attrs, const char *path)
{
	uint64_t size = 0;
	char *copy;
	int r = add_check(file, layer, attrs);

	if (r != 0)
		return r;
	if (path == NULL)
		return strata__fail(STRATA_EINVAL, "layer %u: no path", layer);
	r = content_size(path, &size);
	if (r != 0)
		return r;
	copy = strdup(path);
	if (copy == NULL)
		return no_memory();
	r = add(file, layer, attrs, NULL, copy, size);
	if (r != 0)
		free(copy);
	return r;
}

/**** commit ****/

static int
file_write(struct strata_file *file)
{
	struct strata__newfile_wish wish = {.mode = file->mode,
					    .group = STRATA_NEWFILE_ANY_GROUP};
	struct strata__image_plan plan;
	struct strata__newfile new;
	int r;

	r = strata__image_plan(&file->info, file->sources, file->nr_sources,
			       &plan);
	if (r != 0)
		return r;
	wish.size = plan.header.image_size;
	r = strata__newfile_open(file->path, &wish, &new);
	if (r != 0)
		return r;
	r = strata__image_emit(&plan, new.fd, /* in_shm= */ false);
	if (r != 0) {
		strata__newfile_discard(&new);
		return r;
	}
	return strata__newfile_finish(&new);
}

int
strata_file_commit(struct strata_file *file)
{
	int r;

	if (file == NULL)
		return strata__fail(STRATA_EINVAL, "no dimension file");
	r = file_write(file);
	strata_file_abort(file);
	return r;
}

/**** verify, path ****/

static int
verify_open(const char *path, int *ret_fd, uint64_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0)
		return strata__fail_errno(errno, "cannot open '%.300s'", path);
	if (fstat(fd, &st) != 0) {
		r = strata__fail_errno(errno, "cannot look at '%.300s'", path);
		close(fd);
		return r;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return strata__fail(STRATA_EFORMAT,
				    "'%.300s' is not a regular file", path);
	}
	*ret_fd = fd;
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

int
strata_file_verify(const char *path, int quick,
		   struct strata_file_info *ret_info)
{
	struct strata_file_info info;
	uint64_t size = 0;
	int fd = -1, r;

	if (path == NULL)
		return strata__fail(STRATA_EINVAL, "no path was given");
	r = verify_open(path, &fd, &size);
	if (r != 0)
		return r;
	r = strata__image_check_file(fd, size, path, quick != 0, NULL, NULL,
				     &info);
	close(fd);
	if (r == 0 && ret_info != NULL)
		*ret_info = info;
	return r;
}

int
strata_file_path(const char *directory, uint32_t dimension, char *buffer,
		 size_t size)
{
	char path[4096];
	int n;

	if (directory == NULL || buffer == NULL)
		return strata__fail(STRATA_EINVAL,
				    "no directory was given, or no buffer");
	if (dimension == 0 || dimension > STRATA_DIMENSION_MAX)
		return strata__fail(STRATA_EINVAL,
				    "%u is no dimension number (1 to %u)",
				    dimension, STRATA_DIMENSION_MAX);
	/* Beside, so that the buffer is untouched on failure. */
	n = snprintf(path, sizeof(path), "%s/D%02u.strata", directory,
		     dimension);
	if (n < 0 || (size_t)n >= sizeof(path) || (size_t)n >= size)
		return strata__fail(STRATA_EINVAL,
				    "the path of dimension %u in '%.300s' is "
				    "longer than %zu bytes",
				    dimension, directory, size);
	memcpy(buffer, path, (size_t)n + 1);
	return 0;
}
