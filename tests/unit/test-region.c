/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "fuzz/fix-image.h"
#include "meta.h"

TestSuite(region, .timeout = 120);

/**** images to try things on ****/

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

static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void *
pattern(size_t size, uint32_t layer)
{
	unsigned char *data = malloc(size + 1);
	size_t i;

	cr_assert_not_null(data);
	for (i = 0; i < size; i++)
		data[i] = (unsigned char)(i * 7 + layer % 251 + i / 4096);
	return data;
}

static void
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

static void
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

static void
sample_fini(struct sample *sample)
{
	size_t i;

	for (i = 0; i < sample->nr; i++) {
		free((void *)sample->sources[i].meta);
		free((void *)sample->sources[i].data);
	}
	free(sample->bytes);
}

static char *
aligned(size_t size)
{
	void *bytes = NULL;

	cr_assert_eq(posix_memalign(&bytes, 64, size != 0 ? size : 1), 0);
	return bytes;
}

static void
sample_plan(struct sample *sample)
{
	cr_assert_eq(strata__image_plan(&sample->info, sample->sources,
					sample->nr, &sample->plan),
		     0, "%s", strata_last_error()->sentence);
}

static int
new_file(void)
{
	int fd = memfd_create("test-region", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

/* Plans, writes, and reads back. */
static void
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

static int
check(const char *bytes, size_t size, bool quick)
{
	struct strata__image image;

	return strata__image_check(bytes, size, "image", quick, NULL, NULL,
				   &image);
}

static char *
copy_of(const struct sample *sample)
{
	char *copy = aligned(sample->size);

	memcpy(copy, sample->bytes, sample->size);
	return copy;
}

/**** plan ****/

Test(region, large_contents_lie_an_odd_number_of_pages_and_lines_apart)
{
	struct sample sample;
	size_t sizes[MAX_LAYERS], i;
	uint64_t state = 88172645463325252u, distance, best;

	for (i = 0; i < MAX_LAYERS; i++)
		sizes[i] = 16384 + (i < 16 ? i * 65 - 1 + (i == 0)
					   : next_random(&state) % 100000);
	sizes[20] = 1 << 20;
	sizes[21] = 5 * 4096 + 63 * 64;
	sizes[22] = 5 * 4096 + 63 * 64 + 1;
	sizes[23] = 5 * 4096;
	sample_init(&sample, 9, sizes, MAX_LAYERS);
	sample_plan(&sample);
	for (i = 1; i < MAX_LAYERS; i++) {
		distance = sample.sources[i].layer.content -
			   sample.sources[i - 1].layer.content;
		/* The definition, tried out. */
		for (best = 0; best < sizes[i - 1] || best / 4096 % 2 == 0 ||
			       best % 4096 / 64 % 2 == 0;)
			best += 64;
		cr_assert_eq(distance, best,
			     "size %zu: %" PRIu64 ", not %" PRIu64,
			     sizes[i - 1], distance, best);
	}
	sample_fini(&sample);
}

Test(region, small_contents_are_packed_by_lines)
{
	static const size_t sizes[] = {100, 0, 64, 16383, 1, 65};
	static const uint64_t lines[] = {0, 2, 2, 3, 259, 260};
	struct sample sample;
	uint64_t front;
	size_t i;

	sample_init(&sample, 9, sizes, 6);
	sample_plan(&sample);
	front = sample.plan.header.meta_offset + sample.plan.header.meta_size;
	cr_expect_eq(sample.plan.header.data_offset, (front + 63) / 64 * 64,
		     "nothing is large: no colour at the start");
	for (i = 0; i < 6; i++)
		cr_expect_eq(sample.sources[i].layer.content,
			     sample.plan.header.data_offset + 64 * lines[i],
			     "content %zu", i);
	cr_expect_eq(sample.plan.header.data_size, 64 * 260 + 65);
	cr_expect_eq(sample.plan.header.content_bytes,
		     100 + 64 + 16383 + 1 + 65);
	cr_expect_eq(sample.plan.header.image_size,
		     sample.plan.header.data_offset + 64 * 262);
	sample_fini(&sample);
}

Test(region, the_first_large_content_is_coloured_by_the_dimension)
{
	static const size_t sizes[] = {10, 16384};
	struct sample sample;
	uint32_t dimension;
	uint64_t front;

	for (dimension = 1; dimension < 40; dimension++) {
		sample_init(&sample, dimension, sizes, 2);
		sample_plan(&sample);
		front = sample.plan.header.meta_offset +
			sample.plan.header.meta_size;
		cr_expect_eq(sample.plan.header.data_offset,
			     (front + 63) / 64 * 64 + dimension % 16 * 4096 +
				     dimension * 5 % 64 * 64,
			     "dimension %u", dimension);
		sample_fini(&sample);
	}
}

Test(region, layers_are_sorted_and_each_is_there_once)
{
	static const size_t sizes[] = {1, 2, 3};
	struct sample sample;

	sample_init(&sample, 9, sizes, 3);
	sample.sources[0].layer.layer = 8;
	sample_plan(&sample);
	cr_expect_eq(sample.sources[0].layer.size, 2);
	cr_expect_eq(sample.sources[2].layer.size, 1);
	sample.sources[0].layer.layer = 8;
	cr_expect_eq(strata__image_plan(&sample.info, sample.sources, 3,
					&sample.plan),
		     STRATA_EEXIST);
	cr_expect_eq(strata_last_error()->layer, 8);
	sample_fini(&sample);
}

Test(region, sizes_that_no_image_can_have_are_too_big)
{
	static const uint64_t huge[] = {
		UINT64_MAX, UINT64_MAX - 4096, UINT64_C(1) << 63,
		STRATA_IMAGE_SIZE_MAX, STRATA_IMAGE_SIZE_MAX - 1024};
	static const size_t sizes[] = {1, 2, 3};
	struct sample sample;
	size_t i, j;

	for (i = 0; i < sizeof(huge) / sizeof(*huge); i++)
		for (j = 0; j < 3; j++) {
			sample_init(&sample, 9, sizes, 3);
			sample.sources[j].layer.size = huge[i];
			cr_expect_eq(strata__image_plan(&sample.info,
							sample.sources, 3,
							&sample.plan),
				     STRATA_ETOOBIG, "%" PRIx64 " at %zu",
				     huge[i], j);
			sample_fini(&sample);
		}
}

/**** emit ****/

/* The golden file was made from docs/format.md, not by the library. */
static char *
golden(size_t *size)
{
	const char *top = getenv("top_srcdir");
	char path[4096];
	char *bytes;
	FILE *file;

	snprintf(path, sizeof(path), "%s/tests/golden/dimension-v1.strata",
		 top != NULL ? top : ".");
	file = fopen(path, "rb");
	cr_assert_not_null(file, "cannot open %s", path);
	bytes = aligned(4096);
	*size = fread(bytes, 1, 4096, file);
	fclose(file);
	return bytes;
}

static void
golden_sample(struct sample *sample)
{
	static const char *const keywords1[] = {"alpha", "gr\303\274n", "x"};
	static const char *const keywords3[] = {"\360\237\214\215!!"};
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	struct strata__image_source *sources = sample->sources;

	sample_init(sample, 7, NULL, 0);
	sample->info.immutable = 1;
	sample->info.frequency_min = 0.5;
	sample->info.frequency_max = 40.5;
	strcpy(sample->info.name, "\303\211motions");
	sample_add(sample, 0, 0, NULL);
	attrs.name = "premi\303\250re couche";
	attrs.parent = 0;
	attrs.keywords = keywords1;
	attrs.nr_keywords = 3;
	attrs.created_ns = 1700000000123456789;
	sample_add(sample, 3, 100, &attrs);
	sources[1].layer.depth = 2;
	sources[1].layer.frequency = 7.83;
	attrs = (struct strata_attrs)STRATA_ATTRS_INIT;
	attrs.name = "4";
	attrs.created_ns = 2;
	sample_add(sample, 4, 0, &attrs);
	sources[2].layer.frequency = 1e6;
	attrs.name = "last";
	attrs.parent = 2147483647;
	attrs.keywords = keywords3;
	attrs.nr_keywords = 1;
	attrs.created_ns = 3;
	sample_add(sample, STRATA_LAYER_MAX, 64, &attrs);
	sources[3].layer.depth = UINT32_MAX;
	sources[3].layer.flags = STRATA_ENTRY_SIMULATED;
	sources[3].layer.frequency = 40.5;
}

static bool
little_endian(void)
{
	const uint16_t one = 1;

	return *(const char *)&one == 1;
}

Test(region, the_golden_file_is_written_to_the_byte)
{
	struct sample sample;
	size_t size, i;
	char *bytes;

	if (!little_endian())
		cr_skip("the golden file is little-endian");
	bytes = golden(&size);
	golden_sample(&sample);
	sample_build(&sample);
	cr_assert_eq(sample.size, size, "%zu bytes, not %zu", sample.size,
		     size);
	for (i = 0; i < size; i++)
		cr_assert_eq(sample.bytes[i], bytes[i],
			     "byte %zu is 0x%02x, not 0x%02x", i,
			     (unsigned char)sample.bytes[i],
			     (unsigned char)bytes[i]);
	free(bytes);
	sample_fini(&sample);
}

/* The program beside it still makes the file that is kept. */
Test(region, the_golden_file_can_be_made_again)
{
	const char *top = getenv("top_builddir");
	char path[4096], made[4096];
	size_t size, n;
	char *bytes;
	FILE *pipe;

	snprintf(path, sizeof(path), "%s/tests/golden/make-golden",
		 top != NULL ? top : ".");
	if (access(path, X_OK) != 0)
		cr_skip("no %s", path);
	bytes = golden(&size);
	pipe = popen(path, "r");
	cr_assert_not_null(pipe);
	n = fread(made, 1, sizeof(made), pipe);
	cr_expect_eq(pclose(pipe), 0);
	cr_assert_eq(n, size);
	cr_expect_eq(memcmp(made, bytes, size), 0);
	free(bytes);
}

Test(region, the_golden_file_is_read)
{
	struct strata__image image;
	struct strata_file_info info;
	struct strata_meta meta;
	size_t size;
	char *bytes;

	bytes = golden(&size);
	if (!little_endian()) {
		cr_assert_eq(check(bytes, size, false), STRATA_EFORMAT);
		free(bytes);
		cr_skip("the golden file is little-endian");
	}
	cr_assert_eq(strata__image_check(bytes, size, "golden", false, NULL,
					 NULL, &image),
		     0, "%s", strata_last_error()->sentence);
	strata__image_info(&image, &info);
	cr_expect_eq(info.dimension, 7);
	cr_expect_eq(info.immutable, 1);
	cr_expect_str_eq(info.name, "\303\211motions");
	cr_expect_eq(info.frequency_min, 0.5);
	cr_expect_eq(info.frequency_max, 40.5);
	cr_expect_eq(info.nr_layers, 4);
	cr_expect_eq(info.content_bytes, 164);
	cr_expect_eq(info.file_bytes, size);
	cr_expect_eq(image.layers[3].layer, STRATA_LAYER_MAX);
	cr_assert_eq(strata__meta_decode(image.base + image.layers[3].meta,
					 image.layers[3].meta_size, &meta),
		     0);
	cr_expect_str_eq(meta.name, "last");
	free(bytes);
}

/* Offsets worked out by hand from docs/format.md. */
Test(region, coloured_contents_lie_where_the_format_says)
{
	static const size_t sizes[] = {16384, 1, 20000, 1 << 20, 24513};
	/* The front: 512 + 5 * 64 + blobs of 22, 26, 30, 36, 22 bytes, each
	 * padded to 8 (24 + 32 + 32 + 40 + 24 = 152): 984, up to 1024. */
	static const uint64_t first = 1024 + 21 % 16 * 4096 + 105 % 64 * 64;
	static const uint64_t distances[] = {5 * 4096 + 64, 64, 5 * 4096 + 64,
					     257 * 4096 + 64};
	struct sample sample;
	uint64_t at = first;
	size_t i;

	sample_init(&sample, 21, sizes, 5);
	sample_build(&sample);
	for (i = 0; i < 5; i++) {
		cr_expect_eq(sample.sources[i].layer.content, at,
			     "content %zu at %" PRIu64 ", not %" PRIu64, i,
			     sample.sources[i].layer.content, at);
		if (i < 4)
			at += distances[i];
	}
	cr_expect_eq(sample.size, (at + 24513 + 63) / 64 * 64);
	cr_expect_eq(check(sample.bytes, sample.size, false), 0, "%s",
		     strata_last_error()->sentence);
	sample_fini(&sample);
}

Test(region, contents_arrive_as_they_were)
{
	static const size_t sizes[] = {0,      1,      65535,   65536,
				       65537,  131072, 200,     300000,
				       262144, 16384,  1000000, 0};
	struct sample sample;
	size_t i;

	sample_init(&sample, 3, sizes, 12);
	sample_build(&sample);
	cr_assert_eq(check(sample.bytes, sample.size, false), 0, "%s",
		     strata_last_error()->sentence);
	for (i = 0; i < 12; i++)
		cr_expect_eq(
			memcmp(sample.bytes + sample.sources[i].layer.content,
			       sample.sources[i].data, sizes[i]),
			0, "content %zu", i);
	sample_fini(&sample);
}

/* A reader of a hole in shared memory would allocate its pages. */
Test(region, an_image_has_no_holes)
{
	static const size_t sizes[] = {20000, 100000, 20000};
	struct sample sample;
	int fd = new_file();

	sample_init(&sample, 15, sizes, 3);
	sample_plan(&sample);
	cr_assert_eq(strata__image_emit(&sample.plan, fd, true), 0);
	cr_expect_eq((uint64_t)lseek(fd, 0, SEEK_HOLE),
		     sample.plan.header.image_size);
	close(fd);
	sample_fini(&sample);
}

Test(region, an_empty_dimension_is_an_image_too)
{
	struct strata__image image;
	struct sample sample;

	sample_init(&sample, STRATA_DIMENSION_MAX, NULL, 0);
	sample_build(&sample);
	cr_expect_eq(sample.size, 512);
	cr_expect_eq(strata__image_check(sample.bytes, sample.size, "empty",
					 false, NULL, NULL, &image),
		     0, "%s", strata_last_error()->sentence);
	cr_expect_eq(image.header->nr_layers, 0);
	sample_fini(&sample);
}

Test(region, a_full_disk_and_full_shared_memory_are_told)
{
	static const size_t sizes[] = {100, 300000};
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct sample sample;

	if (fd < 0)
		cr_skip("no /dev/full");
	sample_init(&sample, 5, sizes, 2);
	sample_plan(&sample);
	cr_expect_eq(strata__image_emit(&sample.plan, fd, true), STRATA_ESHM);
	cr_expect_eq(strata_last_error()->requested,
		     sample.plan.header.image_size);
	cr_expect_eq(strata_last_error()->dimension, 5);
	cr_expect_eq(strata__image_emit(&sample.plan, fd, false), -ENOSPC);
	cr_expect_not_null(strstr(strata_last_error()->sentence, "needs"));
	close(fd);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cr_expect_eq(strata__image_emit(&sample.plan, fd, true), -EBADF);
	close(fd);
	sample_fini(&sample);
}

static char *
content_file(const void *data, size_t size)
{
	char *path = strdup("/tmp/test-region-XXXXXX");
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, data, size), (ssize_t)size);
	close(fd);
	return path;
}

Test(region, content_may_come_from_a_file)
{
	static const size_t sizes[] = {100, 300000, 0};
	struct sample sample, other;
	size_t i;

	sample_init(&sample, 5, sizes, 3);
	sample_init(&other, 5, sizes, 3);
	sample_build(&sample);
	for (i = 0; i < 3; i++)
		other.sources[i].path =
			content_file(other.sources[i].data, sizes[i]);
	sample_build(&other);
	cr_expect_eq(memcmp(sample.bytes, other.bytes, sample.size), 0);
	for (i = 0; i < 3; i++) {
		unlink(other.sources[i].path);
		free((void *)other.sources[i].path);
	}
	sample_fini(&sample);
	sample_fini(&other);
}

Test(region, a_content_file_that_is_not_as_planned_is_refused)
{
	static const size_t sizes[] = {100, 300};
	static const off_t others[] = {0, 299, 301, 100000};
	struct sample sample;
	int fd = new_file();
	char *path;
	size_t i;

	sample_init(&sample, 5, sizes, 2);
	sample_plan(&sample);
	path = content_file(sample.sources[1].data, 300);
	sample.sources[1].path = path;
	for (i = 0; i < 4; i++) {
		cr_assert_eq(truncate(path, others[i]), 0);
		cr_expect_eq(strata__image_emit(&sample.plan, fd, true),
			     STRATA_EFORMAT);
		cr_expect_eq(strata_last_error()->layer, 4);
	}
	unlink(path);
	cr_expect_eq(strata__image_emit(&sample.plan, fd, true), -ENOENT);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_expect_eq(strata__image_emit(&sample.plan, fd, true), STRATA_EFORMAT,
		     "a fifo neither blocks nor is read");
	unlink(path);
	free(path);
	close(fd);
	sample_fini(&sample);
}

/**** check ****/

static void
count_bytes(uint64_t bytes, void *arg)
{
	*(uint64_t *)arg += bytes;
}

Test(region, progress_counts_all_content)
{
	static const size_t sizes[] = {100, 3000000, 0, 1};
	struct strata__image image;
	struct sample sample;
	uint64_t bytes = 0;

	sample_init(&sample, 5, sizes, 4);
	sample_build(&sample);
	cr_assert_eq(strata__image_check(sample.bytes, sample.size, "image",
					 false, count_bytes, &bytes, &image),
		     0);
	cr_expect_eq(bytes, 3000101);
	sample_fini(&sample);
}

static const size_t small_sizes[] = {100, 0, 17000, 1, 70};

Test(region, each_flipped_bit_is_noticed)
{
	struct sample sample;
	size_t at, bit;

	sample_init(&sample, 1, small_sizes, 5);
	sample_build(&sample);
	/* Every bit of what is not a gap to the eye, one bit of the rest. */
	for (at = 0; at < sample.size; at++)
		for (bit = 0; bit < (at < 2048 ? 8 : 1); bit++) {
			sample.bytes[at] ^= (char)(1 << bit);
			cr_assert_eq(check(sample.bytes, sample.size, false),
				     STRATA_EFORMAT, "byte %zu, bit %zu", at,
				     bit);
			cr_assert_leq(strata_last_error()->offset, sample.size);
			sample.bytes[at] ^= (char)(1 << bit);
		}
	cr_expect_eq(check(sample.bytes, sample.size, false), 0);
	sample_fini(&sample);
}

Test(region, a_quick_check_leaves_out_the_contents_only)
{
	struct sample sample;
	uint64_t at;

	sample_init(&sample, 1, small_sizes, 5);
	sample_build(&sample);
	at = sample.sources[2].layer.content;
	sample.bytes[at] ^= 1;
	cr_expect_eq(check(sample.bytes, sample.size, true), 0);
	cr_expect_eq(check(sample.bytes, sample.size, false), STRATA_EFORMAT);
	cr_expect_eq(strata_last_error()->layer, 7);
	cr_expect_eq(strata_last_error()->offset, at);
	sample.bytes[at] ^= 1;
	/* The gap behind it. */
	sample.bytes[at + 17000] ^= 1;
	cr_expect_eq(check(sample.bytes, sample.size, true), STRATA_EFORMAT);
	sample_fini(&sample);
}

Test(region, an_image_that_is_cut_is_refused_at_any_length)
{
	struct sample sample;
	char *cut;
	size_t n;

	sample_init(&sample, 1, small_sizes, 2);
	sample_build(&sample);
	for (n = 0; n < sample.size; n++) {
		cut = aligned(n);
		memcpy(cut, sample.bytes, n);
		cr_assert_eq(check(cut, n, false), STRATA_EFORMAT, "%zu", n);
		/* And if it says that size itself. */
		if (n >= 24) {
			uint64_t size = n;

			memcpy(cut + 16, &size, 8);
			fix_image(cut, n);
			cr_assert_eq(check(cut, n, false), STRATA_EFORMAT,
				     "%zu", n);
		}
		free(cut);
	}
	sample_fini(&sample);
}

/* Values that arithmetic trips over. */
static const uint64_t extremes[] = {
	0,
	1,
	2,
	3,
	7,
	8,
	63,
	64,
	65,
	127,
	512,
	513,
	4096,
	INT32_MAX,
	(uint64_t)INT32_MAX + 1,
	UINT32_MAX,
	(uint64_t)UINT32_MAX + 1,
	STRATA_IMAGE_SIZE_MAX,
	INT64_MAX,
	(uint64_t)INT64_MAX + 1,
	UINT64_MAX - 4096,
	UINT64_MAX - 512,
	UINT64_MAX - 64,
	UINT64_MAX - 63,
	UINT64_MAX - 7,
	UINT64_MAX,
	UINT64_C(0x7ff0000000000000), /* infinity */
	UINT64_C(0x7ff8000000000000), /* NaN */
	UINT64_C(0xbff0000000000000), /* -1.0 */
};
#define NR_EXTREMES (sizeof(extremes) / sizeof(*extremes))

/* A field of size bytes at an offset gets each extreme value, and each beside
 * its own, with right checksums; accepted, expected those values only. */
static void
stress_field(const struct sample *sample, size_t at, size_t size,
	     bool (*allowed)(size_t at, uint64_t value))
{
	uint64_t old = 0, value;
	char *copy;
	size_t i;

	memcpy(&old, sample->bytes + at, size);
	for (i = 0; i < NR_EXTREMES + 6; i++) {
		value = i < NR_EXTREMES
				? extremes[i]
				: old + (uint64_t[]){1, -1, 8, -8, 64, -64}
						  [i - NR_EXTREMES];
		if (size == 4)
			value = (uint32_t)value;
		copy = copy_of(sample);
		memcpy(copy + at, &value, size);
		fix_image(copy, sample->size);
		if (check(copy, sample->size, false) == 0)
			cr_assert(value == old || allowed(at, value),
				  "offset %zu accepts %" PRIx64
				  " instead of %" PRIx64,
				  at, value, old);
		else
			cr_assert_eq(strata_last_error()->code, STRATA_EFORMAT);
		free(copy);
	}
}

static bool
nonnegative(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	return isfinite(value) && value >= 0;
}

/* Of the header, what says something about the dimension is free. */
static bool
header_allows(size_t at, uint64_t value)
{
	double number;

	memcpy(&number, &value, sizeof(number));
	switch (at) {
	case offsetof(struct strata__image_header, dimension):
		return value >= 1 && value <= STRATA_DIMENSION_MAX;
	case offsetof(struct strata__image_header, flags):
		return value <= 1;
	case offsetof(struct strata__image_header, frequency_min):
		return isfinite(number) && number <= 2;
	case offsetof(struct strata__image_header, frequency_max):
		return isfinite(number) && number >= 1;
	/* The fixing program has written another value over it. */
	case offsetof(struct strata__image_header, table_checksum):
	case offsetof(struct strata__image_header, meta_checksum):
	case offsetof(struct strata__image_header, header_checksum):
		return true;
	default:
		/* Bytes of the name, if they are text. */
		return at >= 128 && at < 256;
	}
}

Test(region, header_fields_are_checked_behind_the_checksum)
{
	struct sample sample;
	size_t at;

	if (!little_endian())
		cr_skip("fields are patched in their first bytes");
	sample_init(&sample, 1, small_sizes, 5);
	sample_build(&sample);
	for (at = 0; at < 512; at += 8) {
		if (at == 8 || at == 104) {
			stress_field(&sample, at, 4, header_allows);
			stress_field(&sample, at + 4, 4, header_allows);
		} else
			stress_field(&sample, at, 8, header_allows);
	}
	sample_fini(&sample);
}

static bool
row_allows(size_t at, uint64_t value)
{
	switch ((at - 512) % 64) {
	case offsetof(struct strata__image_layer, layer):
		/* Between its neighbours; they are three apart. */
		return true;
	case offsetof(struct strata__image_layer, depth):
	case offsetof(struct strata__image_layer, checksum):
		return true;
	case offsetof(struct strata__image_layer, parent):
		return (int32_t)value >= -1;
	case offsetof(struct strata__image_layer, flags):
		return value == STRATA_ENTRY_SIMULATED;
	case offsetof(struct strata__image_layer, frequency):
		return nonnegative(value);
	default:
		return false;
	}
}

Test(region, rows_of_the_table_are_checked_behind_the_checksum)
{
	static const size_t fields[] = {0,  4,  8,  12, 16, 24,
					32, 40, 48, 56, 60};
	struct sample sample;
	size_t row, i, size;

	if (!little_endian())
		cr_skip("fields are patched in their first bytes");
	sample_init(&sample, 1, small_sizes, 5);
	sample_build(&sample);
	for (row = 0; row < 5; row++)
		for (i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
			size = fields[i] < 16 || fields[i] >= 56 ? 4 : 8;
			stress_field(&sample, 512 + row * 64 + fields[i], size,
				     row_allows);
		}
	sample_fini(&sample);
}

Test(region, layers_have_to_ascend)
{
	static const uint32_t numbers[] = {
		0, 1, 3, 4, 5, 7, 8, UINT32_MAX, UINT32_C(1) << 31};
	struct sample sample;
	size_t i;
	int r;

	sample_init(&sample, 1, small_sizes, 3); /* 1, 4, 7 */
	sample_build(&sample);
	for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		memcpy(sample.bytes + 512 + 64, &numbers[i], 4);
		fix_image(sample.bytes, sample.size);
		r = check(sample.bytes, sample.size, false);
		cr_expect_eq(r == 0, numbers[i] > 1 && numbers[i] < 7,
			     "layer %u between 1 and 7: %d", numbers[i], r);
	}
	sample_fini(&sample);
}

/*
 * Lies in one field are caught by another field. These agree with each other,
 * so that a single check is left to notice.
 */
struct lie {
	struct strata__image_header *header;
	struct strata__image_layer *layers; /* of 100, 0, 17000, 1, 70 bytes */
	char *bytes;
};

static void
lie_wrapping_count(struct lie *lie)
{
	lie->header->nr_layers += UINT64_C(1) << 58;
}

static void
lie_table_outside(struct lie *lie)
{
	lie->header->nr_layers = UINT64_C(1) << 30;
	lie->header->table_size = UINT64_C(1) << 36;
}

static void
lie_contents_off_a_line(struct lie *lie)
{
	int i;

	lie->header->data_offset += 8;
	for (i = 0; i < 5; i++)
		lie->layers[i].content += 8;
	lie->header->data_size -= 8;
	lie->layers[4].size -= 8;
	lie->header->content_bytes -= 8;
}

static void
lie_first_content_later(struct lie *lie)
{
	lie->header->data_offset -= 64;
	lie->header->data_size += 64;
}

static void
lie_content_off_a_line(struct lie *lie)
{
	lie->layers[3].content -= 8;
	memset(lie->bytes + lie->layers[3].content, 0, 64);
}

static void
lie_contents_in_the_metadata(struct lie *lie)
{
	uint64_t by = lie->header->data_offset - 832;

	lie->header->data_offset -= by;
	lie->layers[0].content -= by;
	lie->header->data_size += by;
}

static void
lie_contents_outside(struct lie *lie)
{
	lie->layers[4].size += 4096;
	lie->header->data_size += 4096;
	lie->header->content_bytes += 4096;
}

static void
lie_contents_wrap(struct lie *lie)
{
	lie->layers[4].size = -(uint64_t)4096;
	lie->header->content_bytes += -(uint64_t)4096 - 70;
	lie->header->data_size += -(uint64_t)4096 - 70;
}

static void
lie_last_content_outside(struct lie *lie)
{
	lie->layers[4].size += 64;
	lie->header->content_bytes += 64;
}

static void
lie_content_in_another(struct lie *lie)
{
	lie->layers[3].content = lie->layers[2].content + 128;
}

static void
lie_content_after_a_later_one(struct lie *lie)
{
	lie->layers[1].content = lie->layers[4].content + 128;
}

static void
lie_name_without_end(struct lie *lie)
{
	memset(lie->header->name, 'x', sizeof(lie->header->name));
}

static void
lie_name_that_is_no_text(struct lie *lie)
{
	lie->header->name[1] = (char)0xff;
}

static void
lie_name_with_a_control_character(struct lie *lie)
{
	lie->header->name[1] = '\n';
}

static void
lie_name_with_more_behind(struct lie *lie)
{
	lie->header->name[127] = 0;
	lie->header->name[126] = 'x';
}

Test(region, lies_that_agree_with_each_other_are_refused)
{
	static const struct {
		const char *name;
		void (*tell)(struct lie *lie);
	} lies[] = {
		{"wrapping count", lie_wrapping_count},
		{"table outside", lie_table_outside},
		{"contents off a line", lie_contents_off_a_line},
		{"first content later", lie_first_content_later},
		{"content off a line", lie_content_off_a_line},
		{"contents in the metadata", lie_contents_in_the_metadata},
		{"contents outside", lie_contents_outside},
		{"contents wrap", lie_contents_wrap},
		{"last content outside", lie_last_content_outside},
		{"content in another", lie_content_in_another},
		{"content after a later one", lie_content_after_a_later_one},
		{"name without end", lie_name_without_end},
		{"name that is no text", lie_name_that_is_no_text},
		{"name with a control character",
		 lie_name_with_a_control_character},
		{"name with more behind", lie_name_with_more_behind},
	};
	struct sample sample;
	struct lie lie;
	size_t i;

	sample_init(&sample, 1, small_sizes, 5);
	sample_build(&sample);
	for (i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		lie.bytes = copy_of(&sample);
		lie.header = (void *)lie.bytes;
		lie.layers = (void *)(lie.bytes + sizeof(*lie.header));
		lies[i].tell(&lie);
		fix_image(lie.bytes, sample.size);
		cr_expect_eq(check(lie.bytes, sample.size, true),
			     STRATA_EFORMAT, "%s, quick", lies[i].name);
		cr_expect_eq(check(lie.bytes, sample.size, false),
			     STRATA_EFORMAT, "%s", lies[i].name);
		free(lie.bytes);
	}
	sample_fini(&sample);
}

/* No content, so only the bounds of the areas are left. */
Test(region, the_data_of_nothing_lie_inside_too)
{
	static const uint64_t offsets[] = {
		0, 64, 448, 513, 520, 576, 4096, -(uint64_t)64, -(uint64_t)512};
	struct strata__image_header *header;
	struct sample sample;
	size_t i;

	sample_init(&sample, 1, NULL, 0);
	sample_build(&sample);
	header = (void *)sample.bytes;
	for (i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		header->data_offset = offsets[i];
		fix_image(sample.bytes, sample.size);
		cr_expect_eq(check(sample.bytes, sample.size, false),
			     STRATA_EFORMAT, "offset %" PRIu64, offsets[i]);
	}
	sample_fini(&sample);
}

/* A file that was padded is not the file that was made. */
Test(region, sizes_are_whole_lines)
{
	static const size_t sizes[] = {64};
	struct strata__image_header *header;
	struct sample sample;
	size_t more;
	char *bytes;

	sample_init(&sample, 1, sizes, 1);
	sample_build(&sample);
	for (more = 1; more < 200; more++) {
		bytes = aligned(sample.size + more);
		memset(bytes, 0, sample.size + more);
		memcpy(bytes, sample.bytes, sample.size);
		header = (void *)bytes;
		header->image_size += more;
		fix_image(bytes, sample.size + more);
		cr_expect_eq(check(bytes, sample.size + more, false),
			     STRATA_EFORMAT, "%zu more", more);
		free(bytes);
	}
	sample_fini(&sample);
}

/* Zeroes are promised in all gaps, whatever the checksums say. */
Test(region, gaps_have_to_be_zero)
{
	struct sample sample;
	size_t at, i;
	char *copy, *used;

	sample_init(&sample, 1, small_sizes, 5);
	sample_build(&sample);
	used = calloc(1, sample.size);
	memset(used, 1, sample.plan.header.meta_offset);
	for (i = 0; i < sample.nr; i++) {
		const struct strata__image_layer *layer =
			&sample.sources[i].layer;

		memset(used + layer->meta, 1, layer->meta_size);
		memset(used + layer->content, 1, layer->size);
	}
	copy = copy_of(&sample);
	for (at = 0; at < sample.size; at++) {
		if (used[at])
			continue;
		copy[at] = 1;
		fix_image(copy, sample.size);
		cr_assert_eq(check(copy, sample.size, true), STRATA_EFORMAT,
			     "byte %zu", at);
		copy[at] = 0;
	}
	free(used);
	free(copy);
	sample_fini(&sample);
}

/* In memory and in a file, many bytes at once; a printed seed repeats it. */
Test(region, no_mutation_brings_the_checks_down_or_apart)
{
	const char *text = getenv("STRATA_TEST_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0)
				     : (uint64_t)getpid() << 32 | 1;
	uint64_t state = seed, offset;
	struct strata_file_info info;
	struct sample sample;
	int round, fd = new_file(), r;
	size_t n, at;
	char *copy;

	fprintf(stderr, "STRATA_TEST_SEED=%" PRIu64 "\n", seed);
	sample_init(&sample, 1, small_sizes, 5);
	sample_build(&sample);
	for (round = 0; round < 20000; round++) {
		copy = copy_of(&sample);
		for (n = next_random(&state) % 4 + 1; n > 0; n--) {
			at = next_random(&state) %
			     (next_random(&state) % 2 ? 1024 : sample.size);
			if (next_random(&state) % 2)
				copy[at] ^=
					(char)(1 << next_random(&state) % 8);
			else
				memcpy(copy + at / 8 * 8,
				       &extremes[next_random(&state) %
						 NR_EXTREMES],
				       8);
		}
		if (next_random(&state) % 8)
			fix_image(copy, sample.size);
		r = check(copy, sample.size, false);
		cr_assert(r == 0 || r == STRATA_EFORMAT);
		offset = strata_last_error()->offset;
		cr_assert_eq(pwrite(fd, copy, sample.size, 0),
			     (ssize_t)sample.size);
		cr_assert_eq(strata__image_check_file(fd, sample.size, "file",
						      false, NULL, NULL, &info),
			     r, "in memory %d, in a file: %s", r,
			     strata_last_error()->sentence);
		cr_assert(r == 0 || strata_last_error()->offset == offset);
		free(copy);
	}
	close(fd);
	sample_fini(&sample);
}

Test(region, a_file_that_ends_early_is_an_error_and_no_signal)
{
	struct strata_file_info info;
	struct sample sample;
	int fd = new_file();
	off_t size;

	sample_init(&sample, 1, small_sizes, 5);
	sample_build(&sample);
	cr_assert_eq(pwrite(fd, sample.bytes, sample.size, 0),
		     (ssize_t)sample.size);
	cr_expect_eq(strata__image_check_file(fd, sample.size, "file", false,
					      NULL, NULL, &info),
		     0);
	for (size = (off_t)sample.size - 1; size >= 0; size -= 97) {
		cr_assert_eq(ftruncate(fd, size), 0);
		cr_expect_eq(strata__image_check_file(fd, sample.size, "file",
						      size % 2 == 0, NULL, NULL,
						      &info),
			     STRATA_EFORMAT, "%jd", (intmax_t)size);
	}
	close(fd);
	sample_fini(&sample);
}

Test(region, another_byte_order_is_named)
{
	struct sample sample;
	uint64_t magic;
	char *copy;

	sample_init(&sample, 1, small_sizes, 1);
	sample_build(&sample);
	copy = copy_of(&sample);
	memcpy(&magic, copy, 8);
	magic = __builtin_bswap64(magic);
	memcpy(copy, &magic, 8);
	cr_expect_eq(check(copy, sample.size, false), STRATA_EFORMAT);
	cr_expect_not_null(strstr(strata_last_error()->sentence, "byte order"));
	free(copy);
	sample_fini(&sample);
}
