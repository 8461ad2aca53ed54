/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Looking after a store: garbage and the limit. */
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "attached.h"

TestSuite(gc, .init = store_setup, .fini = store_teardown, .timeout = 60);
TestSuite(limit, .init = store_setup, .fini = store_teardown, .timeout = 60);

/**** gc ****/

Test(gc, gives_memory_back)
{
	struct strata_gc_report report;
	uint64_t before;

	for (uint32_t i = 0; i < 9; i++)
		put(1, i, 'a', 200000);
	for (uint32_t i = 0; i < 100; i++)
		put(2, i, 'a', 10000);
	before = bytes_of_files();
	for (uint32_t i = 1; i < 9; i++)
		remove_layer(1, i);
	for (uint32_t i = 0; i < 100; i++)
		remove_layer(2, i);
	must(strata_gc(store, &report));
	cr_expect_gt(report.given_back, MIB);
	cr_expect_eq(report.given_back, before - bytes_of_files());
	cr_expect_eq(report.retained, 0);
	cr_expect_eq(report.segments, 0);
	cr_expect_eq(stats_now().reserved, bytes_of_files());
	cr_expect(has(1, 0, 'a', 200000));
	expect_clean();
	must(strata_gc(store, NULL));
	put(1, 1, 'b', 200000);
	cr_expect(has(1, 1, 'b', 200000), "and takes it again");
	expect_clean();
}

Test(gc, tells_what_it_reclaimed_and_what_readers_keep)
{
	struct strata_reader *reader = reader_open(store);
	struct strata_gc_report report;

	put(1, 0, 'a', 200000);
	must(strata_gc(store, &report));
	must(strata_read_lock(reader));
	put(1, 0, 'b', 200000);
	must(strata_gc(store, &report));
	cr_expect_eq(report.reclaimed, 0);
	cr_expect_geq(report.retained, 200000);
	cr_expect(reads(reader, 1, 0, 'a', 200000));
	must(strata_read_unlock(reader));
	must(strata_gc(store, &report));
	cr_expect_geq(report.reclaimed, 200000);
	cr_expect_eq(report.retained, 0);
}

Test(gc, an_untouched_store_is_left_alone)
{
	struct strata_gc_report report;

	must(strata_gc(store, &report));
	cr_expect_eq(report.reclaimed, 0);
	cr_expect_eq(report.given_back, 0);
	cr_expect_eq(report.segments, 0);
	cr_expect_eq(strata_version(store), 1);
}

Test(gc, removes_regions_that_no_entry_names)
{
	struct strata_gc_report report;
	unsigned files = folder_files(false);

	close(open(region_path(999), O_CREAT | O_RDWR, 0600));
	close(open(region_path(1000), O_CREAT | O_RDWR, 0600));
	must(strata_gc(store, &report));
	cr_expect_eq(report.segments, 2);
	cr_expect_eq(folder_files(false), files);
}

static void
load_file(void)
{
	(void)strata_load(store, file_path("file"), NULL);
}

Test(gc, frees_what_a_dead_loader_was_building)
{
	struct strata_gc_report report;
	unsigned files;

	file_of("file", 7, 2, MIB);
	files = folder_files(false);
	die_in("load.copied", load_file);
	cr_expect_gt(stats_now().region_bytes, 2 * MIB);
	cr_expect_eq(folder_files(false), files + 1);
	must(strata_gc(store, &report));
	cr_expect_geq(report.given_back, 2 * MIB);
	cr_expect_eq(stats_now().region_bytes, 0);
	cr_expect_eq(folder_files(false), files);
	expect_clean();
}

static void
gc_in_the_middle(const char *point)
{
	if (!is_point(point, "load.copied"))
		return;
	strata__testpoint = NULL;
	must(strata_gc(store, NULL));
}

Test(gc, leaves_alone_what_a_living_loader_is_building)
{
	strata__testpoint = gc_in_the_middle;
	must(strata_load(store, file_of("file", 7, 2, MIB), NULL));
	cr_expect(has(7, 1, 'b', MIB));
	expect_clean();
}

Test(gc, needs_the_right_to_write)
{
	struct strata_store *other = store_attach(STRATA_READ);

	expect_error(strata_gc(other, NULL), STRATA_EACCES, "STRATA_WRITE");
	expect_error(strata_gc(NULL, NULL), STRATA_EINVAL, "no store");
	must(strata_detach(other));
}

/**** limit ****/

Test(limit, goes_up_and_down)
{
	must(strata_limit(store, 32 * MIB));
	cr_expect_eq(stats_now().limit, 32 * MIB);
	must(strata_limit(store, 64 * MIB));
	must(strata_limit(store, 8 * MIB));
	cr_expect_eq(stats_now().limit, 8 * MIB);
	put(1, 0, 'a', 10);
	expect_clean();
}

Test(limit, has_its_bounds)
{
	expect_error(strata_limit(store, 64 * MIB + 1), STRATA_EINVAL,
		     "can be 8388608 to 67108864 bytes");
	expect_error(strata_limit(store, 8 * MIB - 1), STRATA_EINVAL,
		     "not 8388607");
	expect_error(strata_limit(store, 0), STRATA_EINVAL, "");
	cr_expect_eq(stats_now().limit, 16 * MIB);
}

Test(limit, is_not_set_below_what_is_reserved)
{
	uint64_t reserved;

	must(strata_load(store, file_of("file", 7, 10, MIB), NULL));
	reserved = stats_now().reserved;
	expect_error(strata_limit(store, 10 * MIB), STRATA_ELIMIT,
		     "is less than the");
	cr_expect_eq(strata_last_error()->requested, 10 * MIB);
	cr_expect_eq(strata_last_error()->reserved, reserved);
	cr_expect_eq(strata_last_error()->limit, 16 * MIB);
	cr_expect_gt(strata_last_error()->used, 10 * MIB);
	must(strata_limit(store, reserved));
	cr_expect_eq(stats_now().limit, reserved);
	must(strata_unload(store, 7, 0));
	must(strata_limit(store, 10 * MIB));
	expect_clean();
}

/* Without descriptors; and then it can sweep nothing, either. */
Test(gc, says_why_nothing_was_reclaimed)
{
	struct rlimit before, limit;

	put(1, 0, 'a', 10000);
	put(1, 0, 'b', 10000);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = 3;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect_error(strata_gc(store, NULL), -EMFILE,
		     "cannot list the readers");
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	must(strata_gc(store, NULL));
}

Test(limit, more_of_it_makes_room)
{
	uint64_t before = stats_now().pools[3].max_blocks;

	must(strata_limit(store, 64 * MIB));
	cr_expect_geq(stats_now().pools[3].max_blocks, 4 * before);
	for (uint32_t i = 0; i < 3 * before; i++)
		put(1, i, 'a', 200000);
	expect_clean();
}

Test(limit, needs_the_right_to_write)
{
	struct strata_store *other = store_attach(STRATA_READ);

	expect_error(strata_limit(other, 16 * MIB), STRATA_EACCES, "WRITE");
	expect_error(strata_limit(NULL, 16 * MIB), STRATA_EINVAL, "");
	must(strata_detach(other));
}
