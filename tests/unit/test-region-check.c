/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Images: what a check accepts, and what it notices. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "../support/proc.h"
#include "fuzz/fix-image.h"
#include "images.h"

TestSuite(region_check, .timeout = 120);

static void
count_bytes(uint64_t bytes, void *arg)
{
	*(uint64_t *)arg += bytes;
}

Test(region_check, progress_counts_all_content)
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

Test(region_check, each_flipped_bit_is_noticed)
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

Test(region_check, a_quick_check_leaves_out_the_contents_only)
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

Test(region_check, an_image_that_is_cut_is_refused_at_any_length)
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

Test(region_check, header_fields_are_checked_behind_the_checksum)
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

Test(region_check, rows_of_the_table_are_checked_behind_the_checksum)
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

Test(region_check, layers_have_to_ascend)
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

/* The next one begins behind where it wraps to, so the sums are right. */
static void
lie_content_wraps(struct lie *lie)
{
	lie->header->content_bytes += -(uint64_t)64 - lie->layers[2].size;
	lie->layers[2].size = -(uint64_t)64;
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

Test(region_check, lies_that_agree_with_each_other_are_refused)
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
		{"content wraps", lie_content_wraps},
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
Test(region_check, the_data_of_nothing_lie_inside_too)
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
Test(region_check, sizes_are_whole_lines)
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
Test(region_check, gaps_have_to_be_zero)
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
Test(region_check, no_mutation_brings_the_checks_down_or_apart)
{
	uint64_t state = test_seed_of("region-check"), offset;
	struct strata_file_info info;
	struct sample sample;
	int round, fd = new_file(), r;
	size_t n, at;
	char *copy;

	sample_init(&sample, 1, small_sizes, 5);
	sample_build(&sample);
	for (round = 0; round < 20000; round++) {
		copy = copy_of(&sample);
		for (n = test_random(&state) % 4 + 1; n > 0; n--) {
			at = test_random(&state) %
			     (test_random(&state) % 2 ? 1024 : sample.size);
			if (test_random(&state) % 2)
				copy[at] ^=
					(char)(1 << test_random(&state) % 8);
			else
				memcpy(copy + at / 8 * 8,
				       &extremes[test_random(&state) %
						 NR_EXTREMES],
				       8);
		}
		if (test_random(&state) % 8)
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

Test(region_check, a_file_that_ends_early_is_an_error_and_no_signal)
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

/**** images on their way ****/

struct arrival {
	const struct sample *sample;
	char *to;
	uint64_t at, checked;
	uint64_t stop; /* come fails from here on; 0: never */
};

static int
come(uint64_t end, void *arg)
{
	struct arrival *arrival = arg;

	cr_assert_gt(end, arrival->at, "it is asked for more each time");
	cr_assert_leq(end, arrival->sample->size);
	if (arrival->stop != 0 && end >= arrival->stop)
		return STRATA_ECANCELED;
	memcpy(arrival->to + arrival->at, arrival->sample->bytes + arrival->at,
	       end - arrival->at);
	arrival->at = end;
	return 0;
}

static void
note_checked(uint64_t bytes, void *arg)
{
	struct arrival *arrival = arg;

	arrival->checked += bytes;
}

static int
check_coming(struct arrival *arrival)
{
	struct strata__image image;

	arrival->at = arrival->checked = 0;
	/* What is looked at before it came is wrong. */
	memset(arrival->to, 0xdb, arrival->sample->size);
	return strata__image_check_coming(arrival->to, arrival->sample->size,
					  "image", come, note_checked, arrival,
					  &image);
}

Test(region_check, an_image_may_come_while_it_is_checked)
{
	static const size_t sizes[] = {100, 200000, 0, 65536, 20000, 3, 1500000};
	struct sample sample;
	struct arrival arrival = {.sample = &sample};
	uint64_t total = 0;

	sample_init(&sample, 1, sizes, 7);
	sample_build(&sample);
	for (size_t i = 0; i < 7; i++)
		total += sizes[i];
	arrival.to = aligned(sample.size);
	cr_expect_eq(check_coming(&arrival), 0, "%s",
		     strata_last_error()->sentence);
	cr_expect_eq(arrival.at, sample.size, "all of it is there");
	cr_expect_eq(arrival.checked, total);
	cr_expect_eq(memcmp(arrival.to, sample.bytes, sample.size), 0);
	for (arrival.stop = 1; arrival.stop <= sample.size;
	     arrival.stop += sample.size / 50)
		cr_expect_eq(check_coming(&arrival), STRATA_ECANCELED,
			     "the reason is passed on");
	arrival.stop = 0;
	for (size_t at = 3; at < sample.size; at += sample.size / 97) {
		sample.bytes[at] ^= 1;
		cr_expect_eq(check_coming(&arrival), STRATA_EFORMAT, "%zu", at);
		sample.bytes[at] ^= 1;
	}
	free(arrival.to);
	sample_fini(&sample);
}

Test(region_check, another_byte_order_is_named)
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
