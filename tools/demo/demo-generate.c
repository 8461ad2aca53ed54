/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * Makes the contents of the demonstration.
 *
 *	demo-generate DIM/LAYER GENERATION              on stdout
 *	demo-generate FOLDER FIRST LAST LAYERS GENERATION
 *
 * The second makes FOLDER/07/L05 and so on, for dimensions FIRST to LAST.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <strata/strata.h>

#include "content.h"

static uint64_t buffer[CONTENT_SIZE_MAX / sizeof(uint64_t)];

static void
fail(const char *path)
{
	fprintf(stderr, "demo-generate: %s: %s\n", path, strerror(errno));
	exit(1);
}

static size_t
write_content(FILE *out, const char *path, uint32_t dimension, uint32_t layer,
	      uint64_t generation)
{
	size_t size = content_size(dimension, layer, generation);

	content_make(buffer, dimension, layer, generation, size);
	if (fwrite(buffer, 1, size, out) != size || fclose(out) != 0)
		fail(path);
	return size;
}

static uint64_t
write_dimension(const char *folder, uint32_t dimension, uint32_t nr_layers,
		uint64_t generation)
{
	uint64_t bytes = 0;
	char path[4096];
	uint32_t layer;
	FILE *out;

	snprintf(path, sizeof(path), "%s/%02u", folder, dimension);
	if (mkdir(path, 0777) != 0 && errno != EEXIST)
		fail(path);
	for (layer = 0; layer < nr_layers; layer++) {
		snprintf(path, sizeof(path), "%s/%02u/L%02u", folder, dimension,
			 layer);
		out = fopen(path, "w");
		if (out == NULL)
			fail(path);
		bytes += write_content(out, path, dimension, layer, generation);
	}
	return bytes;
}

static int
write_one(const char *place, const char *generation)
{
	const char *slash = strchr(place, '/');
	char dimension[16] = "";

	if (slash == NULL || (size_t)(slash - place) >= sizeof(dimension))
		return 2;
	memcpy(dimension, place, (size_t)(slash - place));
	write_content(stdout, "stdout",
		      (uint32_t)demo_number(dimension, STRATA_DIMENSION_MAX),
		      (uint32_t)demo_number(slash + 1, STRATA_LAYER_MAX),
		      demo_number(generation, UINT64_MAX));
	return 0;
}

int
main(int argc, char **argv)
{
	uint64_t dimension, last, nr_layers, generation, bytes = 0;

	if (argc == 3)
		return write_one(argv[1], argv[2]);
	if (argc != 6)
		return 2;
	dimension = demo_number(argv[2], STRATA_DIMENSION_MAX);
	last = demo_number(argv[3], STRATA_DIMENSION_MAX);
	nr_layers = demo_number(argv[4], STRATA_LAYER_MAX);
	generation = demo_number(argv[5], UINT64_MAX);
	for (; dimension <= last; dimension++)
		bytes += write_dimension(argv[1], (uint32_t)dimension,
					 (uint32_t)nr_layers, generation);
	printf("%llu\n", (unsigned long long)bytes);
	return 0;
}
