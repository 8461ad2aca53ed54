/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * Any bytes as a dimension file. As a libFuzzer target:
 *     clang -DSTRATA_LIBFUZZER -fsanitize=fuzzer,address,undefined ...
 *     ./fuzz-image -max_len=65536 CORPUS tests/fuzz/corpus-image
 * Without that macro a plain program, which runs the files and folders that it
 * is given, or the corpus. Each input is checked as it is and once more with
 * right checksums, in memory and in a file; what is accepted is used.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/fix-image.h"
#include "meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a reader does with an image that was accepted. */
static void
use(const struct strata__image *image)
{
	const struct strata__image_layer *layer;
	struct strata_file_info info;
	struct strata_meta meta;
	uint64_t i, bytes = 0;

	strata__image_info(image, &info);
	for (i = 0; i < info.nr_layers; i++) {
		layer = &image->layers[i];
		bytes += layer->size;
		if (layer->checksum !=
		    strata__hash(image->base + layer->content, layer->size))
			abort();
		if (strata__meta_decode(image->base + layer->meta,
					layer->meta_size, &meta) != 0)
			abort();
	}
	if (bytes != info.content_bytes)
		abort();
}

/* The two ways to check have to agree, on the place too. */
static void
check_file(const char *bytes, size_t size, int expected)
{
	static int fd = -1;
	uint64_t offset = strata_last_error()->offset;
	struct strata_file_info info;
	int r;

	if (fd < 0)
		fd = memfd_create("fuzz-image", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) != 0 ||
	    pwrite(fd, bytes, size, 0) != (ssize_t)size)
		return;
	r = strata__image_check_file(fd, size, "file", /* quick= */ false, NULL,
				     NULL, &info);
	if (r != expected || (r != 0 && strata_last_error()->offset != offset))
		abort();
}

static void
check(const char *bytes, size_t size)
{
	struct strata__image image;
	int r;

	r = strata__image_check(bytes, size, "input", /* quick= */ true, NULL,
				NULL, &image);
	if (r != 0 && r != STRATA_EFORMAT)
		abort();
	r = strata__image_check(bytes, size, "input", /* quick= */ false, NULL,
				NULL, &image);
	if (r != 0 && r != STRATA_EFORMAT)
		abort();
	if (r == 0)
		use(&image);
	check_file(bytes, size, r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *copy;

	/* Exactly as large as the input, so that a byte too far is noticed. */
	if (posix_memalign(&copy, 64, size != 0 ? size : 1) != 0)
		return 0;
	if (size != 0)
		memcpy(copy, data, size);
	check(copy, size);
	fix_image(copy, size);
	check(copy, size);
	free(copy);
	return 0;
}

#ifndef STRATA_LIBFUZZER

static int run(const char *path);

static int
run_folder(const char *path)
{
	struct dirent **entries;
	char name[4096];
	int i, n, r = 0;

	n = scandir(path, &entries, NULL, alphasort);
	if (n < 0)
		return -1;
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && run(name) != 0)
			r = -1;
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int
run_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = malloc(size + 1);
	int r = -1;

	if (file != NULL && bytes != NULL &&
	    fread(bytes, 1, size, file) == size)
		r = LLVMFuzzerTestOneInput(bytes, size);
	if (file != NULL)
		fclose(file);
	free(bytes);
	return r;
}

static int nr_inputs;

static int
run(const char *path)
{
	struct stat st;
	int r;

	r = stat(path, &st);
	if (r == 0 && S_ISDIR(st.st_mode))
		return run_folder(path);
	if (r == 0)
		r = run_file(path, (size_t)st.st_size);
	if (r != 0)
		fprintf(stderr, "cannot read '%s'\n", path);
	nr_inputs++;
	return r;
}

int
main(int argc, char **argv)
{
	const char *top = getenv("top_srcdir");
	char corpus[4096];
	int i, r = 0;

	if (argc < 2) {
		snprintf(corpus, sizeof(corpus), "%s/tests/fuzz/corpus-image",
			 top != NULL ? top : ".");
		r = run(corpus);
	}
	for (i = 1; i < argc; i++)
		if (run(argv[i]) != 0)
			r = -1;
	printf("%d inputs\n", nr_inputs);
	return r != 0 || nr_inputs == 0;
}

#endif
