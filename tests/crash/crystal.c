/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A dimension that tells its generation. */
#include "crystal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pattern.h"
#include "proc.h"
#include "region.h"

static const size_t sizes[] = {150000, 100, 300000, 64, 200000, 5000};
#define LAYERS_MAX (sizeof(sizes) / sizeof(*sizes))

static uint32_t
layers_of(uint64_t generation)
{
	return LAYERS_MAX - generation % 2;
}

static size_t
size_of(uint32_t layer, uint64_t generation)
{
	return sizes[layer] + generation % 7 * 16;
}

/* The caller's to free. */
static char *
content(uint32_t dimension, uint32_t layer, uint64_t generation)
{
	struct pattern pattern = {dimension, layer, generation,
				  layers_of(generation)};
	char *data = malloc(size_of(layer, generation));

	pattern_fill(data, size_of(layer, generation), &pattern);
	return data;
}

void
crystal_put(struct strata_store *store, uint32_t dimension, uint64_t generation)
{
	struct strata_txn *txn;
	int code;

	need(strata_txn_begin(store, &txn) == 0, "begin");
	code = crystal_see(store, dimension) != 0
		       ? strata_remove_dimension(txn, dimension)
		       : 0;
	need(code == 0, "remove");
	for (uint32_t i = 0; i < layers_of(generation); i++) {
		char *data = content(dimension, i, generation);

		need(strata_put(txn, dimension, i, NULL, data,
				size_of(i, generation), 0) == 0,
		     "put");
		free(data);
	}
	need(strata_txn_commit(txn, NULL) == 0, "commit");
}

void
crystal_pack(const char *directory, uint32_t dimension, uint64_t generation)
{
	struct strata_file_info info;
	struct strata_file *file;
	char path[256];
	char *data[LAYERS_MAX] = {NULL};

	memset(&info, 0, sizeof(info));
	info.dimension = dimension;
	need(strata_file_path(directory, dimension, path, sizeof(path)) == 0,
	     "path");
	need(strata_file_begin(path, 0600, &info, &file) == 0, "begin");
	for (uint32_t i = 0; i < layers_of(generation); i++) {
		data[i] = content(dimension, i, generation);
		need(strata_file_add(file, i, NULL, data[i],
				     size_of(i, generation)) == 0,
		     "add");
	}
	need(strata_file_commit(file) == 0, "commit");
	for (uint32_t i = 0; i < LAYERS_MAX; i++)
		free(data[i]);
}

/**** looking ****/

struct seen {
	struct strata_reader *reader;
	uint32_t dimension;
	uint64_t nr, generation;
};

/* One more layer, in the order of numbers. */
static void
see(struct seen *seen, uint32_t layer, const void *data, uint64_t size)
{
	struct pattern pattern;

	if (!pattern_check(data, size, &pattern) ||
	    pattern.dimension != seen->dimension || pattern.layer != layer ||
	    layer != seen->nr || layer >= layers_of(pattern.generation) ||
	    size != size_of(layer, pattern.generation) ||
	    (seen->nr != 0 && pattern.generation != seen->generation)) {
		seen->generation = CRYSTAL_BROKEN;
		return;
	}
	seen->generation = pattern.generation;
	seen->nr++;
}

static uint64_t
seen_all(const struct seen *seen)
{
	if (seen->generation == CRYSTAL_BROKEN ||
	    seen->nr != layers_of(seen->generation))
		return CRYSTAL_BROKEN;
	return seen->generation;
}

static int
see_entry(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct seen *seen = arg;

	see(seen, layer, strata_data(seen->reader, entry), entry->size);
	return seen->generation == CRYSTAL_BROKEN ? 1 : 0;
}

uint64_t
crystal_see(struct strata_store *store, uint32_t dimension)
{
	struct seen seen = {.dimension = dimension};
	int code;

	need(strata_reader_open(store, &seen.reader) == 0, "open");
	need(strata_read_lock(seen.reader) == 0, "lock");
	code = strata_foreach_layer(seen.reader, dimension, see_entry, &seen);
	need(strata_read_unlock(seen.reader) == 0, "unlock");
	need(strata_reader_close(seen.reader) == 0, "close");
	if (code == STRATA_ENODIM)
		return 0;
	return code != 0 ? CRYSTAL_BROKEN : seen_all(&seen);
}

/* Without the library's own checks: those are the store's. */
static uint64_t
see_image(const char *image, size_t size, uint32_t dimension)
{
	const struct strata__image_header *header =
		(const struct strata__image_header *)image;
	const struct strata__image_layer *layers;
	struct seen seen = {.dimension = dimension};

	if (size < sizeof(*header) || header->image_size != size ||
	    header->nr_layers > LAYERS_MAX ||
	    header->table_offset > size - LAYERS_MAX * sizeof(*layers))
		return CRYSTAL_BROKEN;
	layers = (const struct strata__image_layer *)(image +
						      header->table_offset);
	for (uint64_t i = 0; i < header->nr_layers; i++) {
		if (layers[i].content > size ||
		    layers[i].size > size - layers[i].content)
			return CRYSTAL_BROKEN;
		see(&seen, layers[i].layer, image + layers[i].content,
		    layers[i].size);
	}
	return seen_all(&seen);
}

uint64_t
crystal_read(const char *directory, uint32_t dimension)
{
	uint64_t generation;
	struct stat st;
	char path[256];
	char *image;
	int fd;

	need(strata_file_path(directory, dimension, path, sizeof(path)) == 0,
	     "path");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	need(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", path, strerror(errno));
	image = malloc((size_t)st.st_size + 1);
	need(read(fd, image, (size_t)st.st_size) == st.st_size, "read");
	close(fd);
	generation = see_image(image, (size_t)st.st_size, dimension);
	free(image);
	return generation;
}

unsigned
crystal_temporaries(const char *directory)
{
	DIR *dir = opendir(directory);
	const struct dirent *entry;
	unsigned nr = 0;

	need(dir != NULL, "opendir %s: %s", directory, strerror(errno));
	while ((entry = readdir(dir)) != NULL)
		nr += strstr(entry->d_name, ".tmp") != NULL;
	closedir(dir);
	return nr;
}
