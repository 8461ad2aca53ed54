/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * Any bytes as a dimension file. Each input is checked as it is and once more
 * with right checksums, in memory and in a file; what is accepted is used.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver.h"
#include "fuzz/fix-image.h"
#include "meta.h"

const char fuzz_corpus[] = "corpus-image";
const unsigned fuzz_nr_changes = 20000;

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
