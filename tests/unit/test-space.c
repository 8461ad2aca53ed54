/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Geometry, attaching memory, regions that come and go. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "error.h"
#include "folder.h"
#include "space.h"

#define MIB UINT64_C(0x100000)

/**** geometry ****/

TestSuite(geometry, .timeout = 20);

static struct strata__geometry
plan(uint64_t limit, uint64_t max_limit)
{
	struct strata_config config = {.limit = limit, .max_limit = max_limit};
	struct strata__geometry g;

	cr_assert_eq(strata__geometry_plan(&config, &g), 0, "%s",
		     strata_last_error()->sentence);
	return g;
}

Test(geometry, defaults_are_those_of_the_manual)
{
	static const uint64_t sizes[] = {4096, 16384, 65536, 262144};
	static const uint64_t shares[] = {32, 128, 80, 40};
	struct strata__geometry g = plan(0, 0);
	unsigned i;

	cr_expect_eq(g.first_limit, 280 * MIB);
	cr_expect_eq(g.max_limit, 4 * 280 * MIB);
	cr_expect_eq(g.readers, 1024);
	cr_expect_eq(g.nr_segments, 4 * 280 * 8);
	cr_assert_eq(g.nr_classes, 4);
	for (i = 0; i < 4; i++) {
		const struct strata__class *c = &g.classes[i];

		cr_expect_eq(c->block_size, sizes[i]);
		cr_expect_eq(c->stride, sizes[i] + (i > 0 ? 320 : 192));
		cr_expect_leq(c->max_size, shares[i] * MIB);
		cr_expect_gt(c->max_size, shares[i] * MIB - c->stride);
		cr_expect_eq(c->nr_blocks, 4 * c->max_size / c->stride);
	}
}

/* What must hold of every plan. */
static void
expect_sound(const struct strata__geometry *g)
{
	uint64_t end = 2 * MIB;
	unsigned i;

	cr_expect_eq(strata__geometry_check(g, g->catalog_size), 0, "%s",
		     strata_last_error()->sentence);
	cr_expect_eq(g->catalog_size % 4096, 0);
	cr_expect_eq(g->lock_size % 4096, 0);
	cr_expect_eq(g->pins_size,
		     4096 + (g->readers * 128 + 4095) / 4096 * 4096);
	cr_expect_eq(g->region_base % (2 * MIB), 0);
	cr_expect_geq(g->region_size, g->max_limit);
	for (i = 0; i < g->nr_classes; i++) {
		const struct strata__class *c = &g->classes[i];

		cr_expect_geq(c->place, end);
		if (i > 0)
			cr_expect_eq((c->place - g->classes[i - 1].place) /
					     4096 % 2,
				     1, "odd distances");
		end = c->place + c->map_size;
		cr_expect_eq(c->stride / 64 % 2 == 1 || c->stride <= 8192, 1,
			     "an odd number of lines");
	}
	cr_expect_leq(end, g->region_base);
}

Test(geometry, is_sound_for_many_limits)
{
	uint64_t limit;

	for (limit = STRATA_LIMIT_MIN; limit < UINT64_C(1) << 36;
	     limit = limit * 5 / 3 + 12345) {
		struct strata__geometry g = plan(limit, 0);

		expect_sound(&g);
		g = plan(limit, limit);
		expect_sound(&g);
	}
}

Test(geometry, small_stores_have_blocks_of_every_class)
{
	struct strata__geometry g = plan(STRATA_LIMIT_MIN, 0);
	unsigned i;

	cr_expect_geq(g.classes[0].max_size, 128 * 4096);
	for (i = 1; i < 4; i++)
		cr_expect_geq(g.classes[i].max_size, 8 * g.classes[i].stride);
}

static int
try(uint64_t limit, uint64_t max_limit, uint32_t readers, uint32_t nr_pools,
    const uint64_t *pools)
{
	struct strata_config config = {.limit = limit,
				       .max_limit = max_limit,
				       .readers = readers,
				       .nr_pools = nr_pools};
	struct strata__geometry g;
	unsigned i;
	int code;

	for (i = 0; pools != NULL && i < nr_pools; i++) {
		config.pools[i].block_size = pools[2 * i];
		config.pools[i].max_size = pools[2 * i + 1];
	}
	code = strata__geometry_plan(&config, &g);
	if (code == 0)
		expect_sound(&g);
	return code;
}

Test(geometry, limits_are_checked)
{
	cr_expect_eq(try(8 * MIB - 1, 0, 0, 0, NULL), STRATA_EINVAL);
	cr_expect_eq(try(16 * MIB, 16 * MIB - 1, 0, 0, NULL), STRATA_EINVAL);
	cr_expect_eq(try(UINT64_MAX, 0, 0, 0, NULL), STRATA_EINVAL);
	cr_expect_eq(try(16 * MIB, UINT64_MAX, 0, 0, NULL), STRATA_EINVAL);
	cr_expect_eq(try(16 * MIB, 0, UINT32_MAX, 0, NULL), STRATA_EINVAL);
	cr_expect_eq(try(8 * MIB, 0, 65536, 0, NULL), STRATA_ELIMIT);
	cr_expect_eq(try(16 * MIB, 0, 1, 0, NULL), 0);
	cr_expect_eq(try(UINT64_C(1) << 43, UINT64_C(1) << 44, 0, 0, NULL),
		     STRATA_EINVAL, "more blocks than 28 bits");
}

Test(geometry, a_limit_that_its_tables_fill_is_told)
{
	cr_expect_eq(try(8 * MIB, UINT64_C(1) << 38, 0, 0, NULL),
		     STRATA_ELIMIT);
	cr_expect_eq(strata_last_error()->limit, 8 * MIB);
	cr_expect_gt(strata_last_error()->requested, 8 * MIB);
}

Test(geometry, pools_are_checked)
{
	static const uint64_t one[] = {4096, 16 * MIB};
	static const uint64_t many[] = {4096,  MIB, 8192,     MIB,
					16384, MIB, 32768,    MIB,
					65536, MIB, 16 * MIB, 17 * MIB};
	static const uint64_t other_first[] = {8192, MIB};
	static const uint64_t down[] = {4096, MIB, 16384, MIB, 8192, MIB};
	static const uint64_t twice[] = {4096, MIB, 4096, MIB};
	static const uint64_t odd[] = {4096, MIB, 12288, MIB};
	static const uint64_t huge[] = {4096, MIB, 32 * MIB, 64 * MIB};
	static const uint64_t few[] = {4096, 127 * 4096};
	static const uint64_t none[] = {4096, MIB, 16384, 16384};
	static const uint64_t zero[] = {0, 0};

	cr_expect_eq(try(64 * MIB, 0, 0, 1, one), 0);
	cr_expect_eq(try(64 * MIB, 0, 0, 6, many), 0);
	cr_expect_eq(try(8 * MIB, 0, 0, 6, many), STRATA_EINVAL,
		     "a block larger than the limit");
	cr_expect_eq(try(64 * MIB, 0, 0, 9, NULL), STRATA_EINVAL);
	cr_expect_eq(try(64 * MIB, 0, 0, 1, other_first), STRATA_EINVAL);
	cr_expect_eq(try(64 * MIB, 0, 0, 3, down), STRATA_EINVAL);
	cr_expect_eq(try(64 * MIB, 0, 0, 2, twice), STRATA_EINVAL);
	cr_expect_eq(try(64 * MIB, 0, 0, 2, odd), STRATA_EINVAL);
	cr_expect_eq(try(64 * MIB, 0, 0, 2, huge), STRATA_EINVAL);
	cr_expect_eq(try(64 * MIB, 0, 0, 1, few), STRATA_EINVAL);
	cr_expect_eq(try(64 * MIB, 0, 0, 2, none), STRATA_EINVAL,
		     "not one block with its slack");
	cr_expect_eq(try(64 * MIB, 0, 0, 1, zero), STRATA_EINVAL);
}

/* Every number replaced by ones that would lead out of something. */
Test(geometry, damage_is_found)
{
	struct strata__geometry good = plan(0, 0), bad;
	struct {
		uint64_t *field;
		uint64_t values[4]; /* 0 ends them */
	} wild[] = {
		{&bad.catalog_size, {1, UINT64_MAX}},
		{&bad.lock_size, {1, 4096, 4095}},
		{&bad.pins_size, {1, 4096}},
		{&bad.max_limit, {1, UINT64_MAX}},
		{&bad.window_size, {1, 4096, UINT64_MAX - 4095}},
		{&bad.region_base, {4096, 2 * MIB, UINT64_MAX - 4095}},
		{&bad.region_size, {1, UINT64_MAX - 4095}},
		{&bad.segments, {4096, 4095, UINT64_MAX - 4095}},
		{&bad.retired, {4096, 4095, UINT64_MAX - 4095}},
		{&bad.classes[0].block_size, {8192}},
		{&bad.classes[1].block_size, {1, 12288, UINT64_MAX}},
		{&bad.classes[1].stride, {1, 16385, UINT64_MAX - 63}},
		{&bad.classes[1].nr_blocks,
		 {UINT64_C(1) << 27, UINT64_C(1) << 60, UINT64_MAX}},
		{&bad.classes[1].place, {1, 4096, UINT64_MAX - 4095}},
		{&bad.classes[1].map_size, {1, 4096, UINT64_MAX - 4095}},
		{&bad.classes[1].records, {1, 4096, UINT64_MAX - 4095}},
		{&bad.classes[1].free_stack, {1, 4096, UINT64_MAX - 4095}},
	};
	size_t i, j;

	for (i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
		for (j = 0; wild[i].values[j] != 0; j++) {
			bad = good;
			*wild[i].field = wild[i].values[j];
			cr_expect_eq(
				strata__geometry_check(&bad, good.catalog_size),
				STRATA_ECORRUPT, "field %zu, value %zu", i, j);
		}
	bad = good;
	bad.nr_segments = UINT32_MAX;
	cr_expect_eq(strata__geometry_check(&bad, good.catalog_size),
		     STRATA_ECORRUPT);
	bad = good;
	bad.nr_classes = 9;
	cr_expect_eq(strata__geometry_check(&bad, good.catalog_size),
		     STRATA_ECORRUPT);
	bad = good;
	memset(bad.name, 'x', sizeof(bad.name));
	cr_expect_eq(strata__geometry_check(&bad, good.catalog_size),
		     STRATA_ECORRUPT);
}

/**** attaching ****/

static struct strata__space writer, reader;

static void
setup(void)
{
	const struct strata_config config = {.limit = 16 * MIB};

	folder_setup();
	cr_assert_eq(strata_create("unit", &config), 0, "%s",
		     strata_last_error()->sentence);
	cr_assert_eq(strata__space_open("unit", STRATA_WRITE, &writer), 0, "%s",
		     strata_last_error()->sentence);
	cr_assert_eq(strata__space_open("unit", STRATA_READ, &reader), 0, "%s",
		     strata_last_error()->sentence);
}

static void
teardown(void)
{
	strata__space_close(&writer);
	strata__space_close(&reader);
	folder_teardown();
}

TestSuite(space, .init = setup, .fini = teardown, .timeout = 20);

/* Access rights of the page at an address, as the kernel tells them. */
static void
rights(const void *at, char *ret)
{
	FILE *file = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512];

	strcpy(ret, "----");
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "%lx-%lx %4s", &from, &to, ret) == 3 &&
		    from <= (uintptr_t)at && (uintptr_t)at < to)
			break;
	fclose(file);
}

static void
expect_rights(const void *at, const char *expected)
{
	char is[8];

	rights(at, is);
	cr_expect_str_eq(is, expected);
}

Test(space, readers_map_nothing_writable)
{
	expect_rights(reader.catalog, "r--s");
	expect_rights(strata__at(&reader, reader.geometry->classes[0].place),
		      "r--s");
	expect_rights(writer.catalog, "rw-s");
	expect_rights(strata__at(&writer, writer.geometry->classes[3].place),
		      "rw-s");
	expect_rights(reader.window, "r--p");
	expect_rights(reader.window + 4096, "---p");
	expect_rights(strata__at(&reader, reader.geometry->region_base),
		      "---p");
	cr_expect_eq(reader.lock_fd, -1);
	cr_expect_eq(reader.pool_fd[0], -1);
	cr_expect_eq(reader.catalog_fd, -1);
	cr_expect_geq(writer.lock_fd, 0);
	cr_expect_null(writer.lock, "the wlock room maps it");
}

Test(space, reference_zero_is_an_empty_node)
{
	const uint64_t *node = strata__at(&reader, 0);
	unsigned i;

	for (i = 0; i < 512; i++)
		cr_expect_eq(node[i], 0);
	cr_expect_eq((uintptr_t)reader.window % (2 * MIB), 0);
}

Test(space, pools_are_shared)
{
	uint64_t ref = writer.geometry->classes[0].place + 4096;

	memcpy(strata__at(&writer, ref), "hello", 6);
	cr_expect_str_eq(strata__at(&reader, ref), "hello");
}

Test(space, closing_a_store_leaves_nothing_open)
{
	int fd = dup(0), again;
	struct strata__space space;

	close(fd);
	cr_assert_eq(strata__space_open("unit", STRATA_WRITE, &space), 0);
	strata__space_close(&space);
	again = dup(0);
	cr_expect_eq(fd, again);
	close(again);
}

static int
try_open(unsigned flags)
{
	struct strata__space space;
	int code = strata__space_open("unit", flags, &space);

	if (code == 0)
		strata__space_close(&space);
	return code;
}

Test(space, a_store_that_is_not_there_is_told)
{
	struct strata__space space;

	cr_expect_eq(strata__space_open("none", 0, &space), STRATA_ENOSTORE);
	cr_expect_eq(strata__space_open("a/b", 0, &space), STRATA_ENAME);
}

Test(space, a_dead_store_is_not_opened)
{
	atomic_store(&writer.catalog->hot.version, 1 | STRATA_VERSION_DEAD);
	cr_expect_eq(try_open(0), STRATA_ENOSTORE);
	cr_expect_not_null(strstr(strata_last_error()->sentence, "destroyed"));
	cr_expect_eq(try_open(STRATA_SPACE_DEAD), 0);
}

Test(space, whoever_destroys_gets_through)
{
	char file[STRATA_SEGMENT_NAME];
	struct strata__space space;

	strata__segment_name_pool(file, &writer.id, 0);
	cr_assert_eq(unlinkat(folder.fd, file, 0), 0);
	cr_expect_eq(try_open(STRATA_WRITE), STRATA_ECORRUPT);
	cr_assert_eq(strata__space_open(
			     "unit", STRATA_WRITE | STRATA_SPACE_DEAD, &space),
		     0);
	cr_expect_geq(space.lock_fd, 0);
	cr_expect_geq(space.catalog_fd, 0);
	cr_expect_null(space.window);
	strata__space_close(&space);
	memset(&writer.catalog->head.store_id, 7, 16);
	cr_expect_eq(try_open(STRATA_WRITE | STRATA_SPACE_DEAD), 0,
		     "without a lock segment");
}

Test(space, a_damaged_store_is_not_opened)
{
	char file[STRATA_SEGMENT_NAME];

	writer.catalog->head.boot_id.bytes[3]++;
	cr_expect_eq(try_open(0), STRATA_EBOOT);
	writer.catalog->head.boot_id.bytes[3]--;
	writer.catalog->head.layout_major++;
	cr_expect_eq(try_open(0), STRATA_ELAYOUT);
	writer.catalog->head.layout_major--;
	writer.catalog->geometry.window_size = 0;
	cr_expect_eq(try_open(0), STRATA_ECORRUPT);
	writer.catalog->geometry.window_size = reader.geometry->window_size;
	writer.catalog->geometry.window_size =
		writer.geometry->region_base + writer.geometry->region_size;
	cr_expect_eq(try_open(0), 0);
	strcpy(writer.catalog->geometry.name, "other");
	cr_expect_eq(try_open(0), STRATA_ECORRUPT);
	strcpy(writer.catalog->geometry.name, "unit");

	strata__segment_name_pool(file, &writer.id, 2);
	cr_assert_eq(renameat(folder.fd, file, folder.fd, "strata.saved"), 0);
	cr_expect_eq(try_open(0), STRATA_ECORRUPT);
	cr_assert_eq(renameat(folder.fd, "strata.saved", folder.fd, file), 0);
	cr_expect_eq(try_open(STRATA_WRITE), 0);

	strata__segment_name_lock(file, &writer.id);
	cr_assert_eq(unlinkat(folder.fd, file, 0), 0);
	cr_expect_eq(try_open(0), 0, "readers do not need it");
	cr_expect_eq(try_open(STRATA_WRITE), STRATA_ECORRUPT);
}

Test(space, a_planted_store_is_refused)
{
	if (geteuid() != 0)
		cr_skip("needs root");
	cr_assert_eq(fchownat(folder.fd, "strata.unit", 12345, -1, 0), 0);
	cr_expect_eq(try_open(0), STRATA_EOWNER);
	cr_expect_eq(try_open(STRATA_TRUST_OWNER), 0);
	cr_assert_eq(fchownat(folder.fd, "strata.unit", 0, -1, 0), 0);
	cr_assert_eq(fchmodat(folder.fd, "strata.unit", 0660, 0), 0);
	cr_expect_eq(try_open(0), STRATA_EOWNER,
		     "the store does not say that its group writes");
}

Test(space, what_is_no_catalog_is_refused)
{
	int fd = openat(folder.fd, "strata.junk", O_CREAT | O_RDWR, 0600);
	struct strata__space space;

	cr_expect_eq(strata__space_open("junk", 0, &space), STRATA_ECORRUPT);
	cr_assert_eq(ftruncate(fd, MIB), 0);
	cr_expect_eq(strata__space_open("junk", 0, &space), STRATA_ECORRUPT);
	close(fd);
}

/**** regions ****/

#define REGION_SIZE (UINT64_C(5) * 4096)

/* A region as the segment table's room makes it, with text as its content. */
static void
region_add(uint32_t index, uint64_t generation, uint64_t place,
	   const char *text)
{
	struct strata__segment *segment = &strata__segments(&writer)[index];
	struct strata__counters *counters = &writer.catalog->counters;
	char file[STRATA_SEGMENT_NAME];
	struct strata__head head;
	int fd;

	cr_assert_eq(strata__segment_build(&folder, REGION_SIZE, 0600,
					   (uint32_t)-1, &fd),
		     0);
	memset(&head, 0, sizeof(head));
	strata__head_stamp(&head, STRATA_KIND_REGION, index, &writer.id,
			   generation, REGION_SIZE);
	cr_assert_eq(strata__os_pwrite(fd, text, strlen(text) + 1, 0), 0);
	cr_assert_eq(
		strata__os_pwrite(fd, &head, sizeof(head), REGION_SIZE - 4096),
		0);
	strata__segment_name_region(file, &writer.id, generation);
	cr_assert_eq(strata__segment_publish(&folder, fd, file), 0);
	close(fd);
	atomic_store(&segment->place, place);
	atomic_store(&segment->size, REGION_SIZE);
	atomic_store(&segment->dimension, index + 100);
	atomic_store(&segment->record.generation, generation);
	atomic_store(&segment->record.state, STRATA_ALLOCATED);
	strata__count_max(&counters->segments_high, index + 1);
	atomic_fetch_add(&writer.catalog->hot.segment_epoch, 1);
}

static void
region_state(uint32_t index, enum strata__state state)
{
	struct strata__segment *segment = &strata__segments(&writer)[index];
	char file[STRATA_SEGMENT_NAME];

	atomic_store(&segment->record.state, state);
	atomic_fetch_add(&writer.catalog->hot.segment_epoch, 1);
	if (state != STRATA_FREE)
		return;
	strata__segment_name_region(file, &writer.id,
				    atomic_load(&segment->record.generation));
	unlinkat(folder.fd, file, 0);
}

static uint64_t
place_of(unsigned i)
{
	return reader.geometry->region_base + i * 2 * MIB;
}

Test(space, regions_appear_at_the_refresh)
{
	cr_expect_eq(strata__space_refresh(&reader, false), 0);
	region_add(0, 1, place_of(0), "one");
	region_add(3, 2, place_of(1), "two");
	cr_expect_not(strata__space_is_mapped(&reader, place_of(0)));
	cr_expect_eq(strata__space_refresh(&reader, false), 0);
	cr_expect_str_eq(strata__at(&reader, place_of(0)), "one");
	cr_expect_str_eq(strata__at(&reader, place_of(1)), "two");
	expect_rights(strata__at(&reader, place_of(0)), "r--s");
	cr_expect(strata__space_is_mapped(&reader, place_of(0)));
	cr_expect(strata__space_is_mapped(&reader,
					  place_of(1) + REGION_SIZE - 1));
	cr_expect_not(
		strata__space_is_mapped(&reader, place_of(1) + REGION_SIZE));
	cr_expect_eq(atomic_load(&reader.mapped_epoch), 2);
	cr_expect_eq(strata__space_refresh(&writer, false), 0);
	expect_rights(strata__at(&writer, place_of(0)), "r--s");
}

Test(space, a_retired_region_stays_a_dead_one_goes)
{
	region_add(0, 1, place_of(0), "one");
	cr_assert_eq(strata__space_refresh(&reader, false), 0);
	region_state(0, STRATA_RETIRED);
	cr_assert_eq(strata__space_refresh(&reader, false), 0);
	cr_expect_str_eq(strata__at(&reader, place_of(0)), "one");
	region_state(0, STRATA_DYING);
	cr_assert_eq(strata__space_refresh(&reader, false), 0);
	expect_rights(strata__at(&reader, place_of(0)), "---p");
	cr_expect_not(strata__space_is_mapped(&reader, place_of(0)));
}

Test(space, an_index_and_a_place_are_used_again)
{
	region_add(0, 1, place_of(0), "one");
	region_add(1, 2, place_of(1), "two");
	cr_assert_eq(strata__space_refresh(&reader, false), 0);
	region_state(0, STRATA_FREE);
	region_state(1, STRATA_FREE);
	/* Crosswise: unmapping the old must not hit the new. */
	region_add(0, 3, place_of(1), "three");
	region_add(1, 4, place_of(0), "four");
	cr_assert_eq(strata__space_refresh(&reader, false), 0);
	cr_expect_str_eq(strata__at(&reader, place_of(1)), "three");
	cr_expect_str_eq(strata__at(&reader, place_of(0)), "four");
}

Test(space, a_region_that_cannot_be_mapped_is_told_the_others_are)
{
	struct strata__segment *segments = strata__segments(&writer);

	region_add(0, 1, place_of(0), "one");
	region_add(1, 2, place_of(1), "two");
	atomic_store(&segments[0].place, 4096);
	cr_expect_eq(strata__space_refresh(&reader, false), STRATA_EMAP);
	cr_expect_eq(strata_last_error()->dimension, 100);
	cr_expect_eq(atomic_load(&reader.nr_unmapped), 1);
	cr_expect_str_eq(strata__at(&reader, place_of(1)), "two");
	cr_expect_eq(strata__space_refresh(&reader, false), 0,
		     "nothing is new");
	cr_expect_eq(strata__space_refresh(&reader, true), STRATA_EMAP);
	atomic_store(&segments[0].place, place_of(0));
	cr_expect_eq(strata__space_refresh(&reader, true), 0);
	cr_expect_eq(atomic_load(&reader.nr_unmapped), 0);
	cr_expect_str_eq(strata__at(&reader, place_of(0)), "one");
}

Test(space, impossible_places_are_refused)
{
	const struct strata__geometry *g = reader.geometry;
	const uint64_t end = g->region_base + g->region_size;
	const uint64_t places[] = {0,
				   4096,
				   g->classes[0].place,
				   end,
				   end - 4096,
				   UINT64_MAX - 4095,
				   UINT64_C(1) << 63,
				   g->region_base - 4096,
				   g->region_base + 64};
	struct strata__segment *segment = &strata__segments(&writer)[0];
	size_t i;

	region_add(0, 1, place_of(0), "one");
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		atomic_store(&segment->place, places[i]);
		cr_expect_eq(strata__space_refresh(&reader, true), STRATA_EMAP,
			     "place %zu", i);
	}
	atomic_store(&segment->place, place_of(0));
	atomic_store(&segment->size, UINT64_MAX - 4095);
	cr_expect_eq(strata__space_refresh(&reader, true), STRATA_EMAP);
	atomic_store(&segment->size, 0);
	cr_expect_eq(strata__space_refresh(&reader, true), STRATA_EMAP);
	atomic_store(&segment->size, REGION_SIZE + 4096);
	cr_expect_eq(strata__space_refresh(&reader, true), STRATA_EMAP);
	atomic_store(&segment->size, REGION_SIZE);
	cr_expect_eq(strata__space_refresh(&reader, true), 0);
}

Test(space, too_few_descriptors_are_told)
{
	struct rlimit old, none;

	region_add(0, 1, place_of(0), "one");
	region_add(1, 2, place_of(1), "two");
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	cr_expect_eq(strata__space_refresh(&reader, false), STRATA_EMAP);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	cr_expect_eq(strata_last_error()->sys_errno, EMFILE);
	cr_expect_not_null(
		strstr(strata_last_error()->sentence, "1 more region"));
	cr_expect_eq(strata__space_refresh(&reader, true), 0);
}

Test(space, a_vanished_region_is_told_unless_it_is_freed)
{
	char file[STRATA_SEGMENT_NAME];

	region_add(0, 1, place_of(0), "one");
	strata__segment_name_region(file, &writer.id, 1);
	cr_assert_eq(unlinkat(folder.fd, file, 0), 0);
	cr_expect_eq(strata__space_refresh(&reader, false), STRATA_EMAP);
	cr_expect_eq(strata_last_error()->sys_errno, ENOENT);
	region_state(0, STRATA_DYING);
	cr_expect_eq(strata__space_refresh(&reader, false), 0);
	cr_expect_eq(atomic_load(&reader.nr_unmapped), 0);
}

#ifdef STRATA_TESTING
#include "testpoint.h"

static void
reuse_entry(const char *name)
{
	if (strcmp(name, "space.region-opened") != 0)
		return;
	strata__testpoint = NULL;
	region_state(0, STRATA_FREE);
	region_add(1, 2, place_of(0), "two");
}

Test(space, an_entry_that_changes_under_us_is_looked_at_again)
{
	region_add(0, 1, place_of(0), "one");
	strata__testpoint = reuse_entry;
	cr_expect_eq(strata__space_refresh(&reader, false), 0);
	cr_expect_not(strata__space_has(&reader, 0, 1));
	cr_expect_eq(strata__space_refresh(&reader, false), 0,
		     "the epoch is newer");
	cr_expect_str_eq(strata__at(&reader, place_of(0)), "two");
}
#endif

/**** accounting ****/

Test(space, the_limit_binds)
{
	struct strata__counters *counters = &writer.catalog->counters;
	uint64_t reserved = strata__count(&counters->reserved);
	uint64_t room = strata__count(&counters->limit) - reserved;

	cr_expect_eq(strata__space_charge(&writer, room + 1), STRATA_ELIMIT);
	cr_expect_eq(strata_last_error()->requested, room + 1);
	cr_expect_eq(strata_last_error()->limit, 16 * MIB);
	cr_expect_eq(strata_last_error()->reserved, reserved);
	cr_expect_eq(strata__space_charge(&writer, UINT64_MAX), STRATA_ELIMIT);
	cr_expect_eq(strata__count(&counters->reserved), reserved);
	cr_expect_eq(strata__space_charge(&writer, room), 0);
	cr_expect_eq(strata__space_charge(&writer, 1), STRATA_ELIMIT);
	strata__space_uncharge(&writer, room);
	cr_expect_eq(strata__count(&counters->reserved), reserved);
}

Test(space, used_counts_blocks_and_regions)
{
	struct strata__counters *counters = &writer.catalog->counters;

	cr_expect_eq(strata__space_used(&writer), 0);
	strata__count_set(&counters->classes[0].live, 3);
	strata__count_set(&counters->classes[1].retired, 2);
	region_add(0, 1, place_of(0), "one");
	cr_expect_eq(strata__space_used(&writer),
		     3 * (4096 + 192) + 2 * (16384 + 320) + REGION_SIZE);
	region_state(0, STRATA_DYING);
	cr_expect_eq(strata__space_used(&reader),
		     3 * (4096 + 192) + 2 * (16384 + 320));
}

Test(space, pressure_rises_in_steps)
{
	struct strata__counters *counters = &writer.catalog->counters;
	uint64_t limit = strata__count(&counters->limit);
	unsigned i;

	for (i = 0; i < STRATA_CLASSES_MAX; i++)
		strata__count_set(&counters->classes[i].nr_free, 0);
	strata__count_set(&counters->reserved, limit / 100 * 75);
	cr_expect_eq(strata__space_pressure(&writer), STRATA_PRESSURE_NONE);
	strata__count_set(&counters->reserved, limit / 100 * 76);
	cr_expect_eq(strata__space_pressure(&writer), STRATA_PRESSURE_WARNING);
	strata__count_set(&counters->reserved, limit / 100 * 86);
	cr_expect_eq(strata__space_pressure(&writer), STRATA_PRESSURE_HIGH);
	strata__count_set(&counters->reserved, limit / 100 * 96);
	cr_expect_eq(strata__space_pressure(&writer), STRATA_PRESSURE_CRITICAL);
	strata__count_set(&counters->classes[0].nr_free, 1000);
	cr_expect_eq(strata__space_pressure(&writer), STRATA_PRESSURE_NONE,
		     "free blocks are no pressure");
}
