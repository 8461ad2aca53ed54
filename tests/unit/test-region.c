/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Images: where contents lie, and what is written. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/proc.h"
#include "images.h"

TestSuite(region, .timeout = 120);

/**** plan ****/

Test(region, large_contents_lie_an_odd_number_of_pages_and_lines_apart)
{
	struct sample sample;
	size_t sizes[MAX_LAYERS], i;
	uint64_t state = 88172645463325252u, distance, best;

	for (i = 0; i < MAX_LAYERS; i++)
		sizes[i] = 16384 + (i < 16 ? i * 65 - 1 + (i == 0)
					   : test_random(&state) % 100000);
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

/* Through a mapping, as far as there is one. */
Test(region, an_image_is_the_same_however_it_was_put)
{
	static const size_t sizes[] = {0,     1,      63,    65536, 65537,
				       20000, 131072, 30000, 200,   300000};
	uint64_t ends[] = {0, 100, 4096, 70000, 140001, 200000, 0};
	struct strata__image_target target = {.in_shm = true};
	struct sample sample;

	sample_init(&sample, 3, sizes, 10);
	sample_build(&sample);
	ends[6] = sample.size;
	target.map = aligned(sample.size);
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		target.fd = new_file();
		target.mapped = ends[i];
		memset(target.map, 0xdb, sample.size);
		for (size_t j = 0; j < sample.nr; j++)
			sample.sources[j].layer.checksum = 0;
		cr_assert_eq(strata__image_emit_to(&sample.plan, &target), 0);
		cr_assert_eq(pread(target.fd, target.map + ends[i],
				   sample.size - ends[i], (off_t)ends[i]),
			     (ssize_t)(sample.size - ends[i]));
		cr_expect_eq(memcmp(target.map, sample.bytes, sample.size), 0,
			     "%zu", i);
		close(target.fd);
	}
	free(target.map);
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
