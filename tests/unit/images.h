/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Images of dimensions to try things on. */
#ifndef STRATA_TEST_IMAGES_H
#define STRATA_TEST_IMAGES_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "meta.h"
#include "region.h"

#define MAX_LAYERS 64

/* An image of layers 1, 4, 7, ...; their content is a pattern of its offset. */
struct sample {
	struct strata_file_info info;
	struct strata__image_source sources[MAX_LAYERS];
	size_t nr;
	struct strata__image_plan plan;
	char *bytes; /* aligned, exactly size */
	size_t size;
};

static inline void *
pattern(size_t size, uint32_t layer)
{
	unsigned char *data = malloc(size + 1);
	size_t i;

	cr_assert_not_null(data);
	for (i = 0; i < size; i++)
		data[i] = (unsigned char)(i * 7 + layer % 251 + i / 4096);
	return data;
}

static inline void
sample_add(struct sample *sample, uint32_t layer, size_t size,
	   const struct strata_attrs *attrs)
{
	struct strata__image_source *source = &sample->sources[sample->nr++];
	void *meta;

	memset(source, 0, sizeof(*source));
	source->layer.layer = layer;
	source->layer.parent = attrs != NULL ? attrs->parent : -1;
	source->layer.size = size;
	source->layer.meta_size = strata__meta_size(attrs);
	meta = malloc(source->layer.meta_size);
	strata__meta_encode(attrs, 1 + layer, meta);
	source->meta = meta;
	source->data = pattern(size, layer);
}

static inline void
sample_init(struct sample *sample, uint32_t dimension, const size_t *sizes,
	    size_t nr)
{
	static const char *const keywords[] = {"one", "two", "three"};
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	size_t i;

	memset(sample, 0, sizeof(*sample));
	sample->info.dimension = dimension;
	sample->info.frequency_min = 1;
	sample->info.frequency_max = 2;
	strcpy(sample->info.name, "sample");
	attrs.name = "layer";
	attrs.keywords = keywords;
	for (i = 0; i < nr; i++) {
		attrs.nr_keywords = i % 4;
		sample_add(sample, (uint32_t)(1 + 3 * i), sizes[i], &attrs);
	}
}

static inline void
sample_fini(struct sample *sample)
{
	size_t i;

	for (i = 0; i < sample->nr; i++) {
		free((void *)sample->sources[i].meta);
		free((void *)sample->sources[i].data);
	}
	free(sample->bytes);
}

static inline char *
aligned(size_t size)
{
	void *bytes = NULL;

	cr_assert_eq(posix_memalign(&bytes, 64, size != 0 ? size : 1), 0);
	return bytes;
}

static inline void
sample_plan(struct sample *sample)
{
	cr_assert_eq(strata__image_plan(&sample->info, sample->sources,
					sample->nr, &sample->plan),
		     0, "%s", strata_last_error()->sentence);
}

static inline int
new_file(void)
{
	int fd = memfd_create("test-region", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

/* Plans, writes, and reads back. */
static inline void
sample_build(struct sample *sample)
{
	int fd = new_file();

	sample_plan(sample);
	cr_assert_eq(strata__image_emit(&sample->plan, fd, /* in_shm= */ true),
		     0, "%s", strata_last_error()->sentence);
	sample->size = (size_t)lseek(fd, 0, SEEK_END);
	cr_assert_eq(sample->size, sample->plan.header.image_size);
	sample->bytes = aligned(sample->size);
	cr_assert_eq(pread(fd, sample->bytes, sample->size, 0),
		     (ssize_t)sample->size);
	close(fd);
}

static inline int
check(const char *bytes, size_t size, bool quick)
{
	struct strata__image image;

	return strata__image_check(bytes, size, "image", quick, NULL, NULL,
				   &image);
}

static inline char *
copy_of(const struct sample *sample)
{
	char *copy = aligned(sample->size);

	memcpy(copy, sample->bytes, sample->size);
	return copy;
}

static inline bool
little_endian(void)
{
	const uint16_t one = 1;

	return *(const char *)&one == 1;
}

#endif
