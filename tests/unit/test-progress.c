/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Long work tells how far it is; cancelled, it has changed nothing. */
#include <unistd.h>

#include "attached.h"

#define SIZE (3 * MIB)

static struct strata_config
large(void)
{
	return store_config(200 * MIB);
}

static void
setup(void)
{
	struct strata_config config = large();

	store_setup_config(&config);
}

TestSuite(progress, .init = setup, .fini = store_teardown, .timeout = 60);

struct told {
	unsigned nr, cancel_at; /* 0: never */
	uint64_t done, total;
};

static int
tell(uint64_t done, uint64_t total, void *arg)
{
	struct told *told = arg;

	cr_expect_gt(done, told->done);
	cr_expect_leq(done, total);
	told->nr++;
	told->done = done;
	told->total = total;
	return told->nr == told->cancel_at ? 5 : 0;
}

static struct strata_work
work_of(struct told *told)
{
	return (struct strata_work){.struct_size = sizeof(struct strata_work),
				    .progress = tell,
				    .arg = told};
}

static void
expect_told(const struct told *told, uint64_t least)
{
	cr_expect_eq(told->done, told->total);
	cr_expect_geq(told->total, least);
	cr_expect_gt(told->nr, 1);
	cr_expect_leq(told->nr, told->total / (4 * MIB) + 1);
}

static void
with_directory(void)
{
	struct strata_config config = large();

	config.directory = dir_path;
	store_again(&config);
}

static void
four_layers(void)
{
	for (uint32_t i = 0; i < 4; i++)
		put(9, i, (char)('a' + i), SIZE);
}

static unsigned
nr_temporaries(void)
{
	DIR *dir = opendir(dir_path);
	struct dirent *entry;
	unsigned nr = 0;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir)) != NULL)
		nr += strstr(entry->d_name, ".tmp") != NULL;
	closedir(dir);
	return nr;
}

Test(progress, of_load_reload_and_crystallize_is_told)
{
	struct told told = {0};
	struct strata_work work = work_of(&told);
	const char *file = file_of("file", 7, 4, SIZE);

	must(strata_load_with(store, file, &work, NULL));
	expect_told(&told, 4 * SIZE);
	told = (struct told){0};
	must(strata_reload_with(store, 7, file, &work));
	expect_told(&told, 4 * SIZE);
	with_directory();
	four_layers();
	told = (struct told){0};
	must(strata_crystallize_with(store, 9, &work));
	expect_told(&told, 12 * SIZE);
	told = (struct told){0};
	must(strata_crystallize_with(store, 9, &work));
	cr_expect_eq(told.nr, 0, "there was nothing to do");
	expect_clean();
}

static int
expect_unlocked(uint64_t done, uint64_t total, void *arg)
{
	struct told *told = arg;

	(void)done;
	(void)total;
	cr_expect_eq(atomic_load(&store->space.lock->word), 0);
	told->nr++;
	return 0;
}

/* A session does not keep others from committing for as long as it takes. */
Test(progress, is_made_outside_of_the_writer_lock)
{
	const char *file = file_of("file", 7, 4, SIZE);
	struct told told = {0};
	struct strata_work work = work_of(&told);
	struct strata_writer *writer;

	work.progress = expect_unlocked;
	four_layers();
	must(strata_writer_open(store, &writer));
	must(strata_load_with(store, file, &work, NULL));
	must(strata_reload_with(store, 7, file, &work));
	must(strata_crystallize_with(store, 9, &work));
	cr_expect_gt(told.nr, 6);
	must(strata_writer_close(writer));
	expect_clean();
}

/* However late it is. */
Test(progress, of_load_that_is_cancelled_loads_nothing)
{
	const char *file = file_of("file", 7, 4, SIZE);
	struct strata_stats before = stats_now();

	for (unsigned at = 1;; at++) {
		struct told told = {.cancel_at = at};
		struct strata_work work = work_of(&told);

		if (strata_load_with(store, file, &work, NULL) == 0) {
			cr_expect_lt(told.nr, at);
			cr_expect_gt(at, 2);
			break;
		}
		cr_expect_eq(strata_last_error()->code, STRATA_ECANCELED, "%s",
			     strata_last_error()->sentence);
		cr_expect_eq(told.nr, at, "it is not asked again");
		cr_expect_eq(stats_now().version, before.version);
		cr_expect_eq(stats_now().region_bytes, before.region_bytes);
	}
	cr_expect(has(7, 3, 'd', SIZE));
	expect_clean();
}

Test(progress, of_crystallize_that_is_cancelled_writes_nothing)
{
	struct strata_stats before;
	char path[256];

	with_directory();
	four_layers();
	before = stats_now();
	must(strata_file_path(dir_path, 9, path, sizeof(path)));
	for (unsigned at = 1;; at++) {
		struct told told = {.cancel_at = at};
		struct strata_work work = work_of(&told);

		if (strata_crystallize_with(store, 9, &work) == 0) {
			cr_expect_gt(at, 6);
			break;
		}
		cr_expect_eq(strata_last_error()->code, STRATA_ECANCELED, "%s",
			     strata_last_error()->sentence);
		cr_expect_eq(told.nr, at);
		cr_expect_eq(stats_now().version, before.version);
		cr_expect_eq(stats_now().region_bytes, 0);
		cr_expect_eq(nr_temporaries(), 0);
		cr_expect_neq(access(path, F_OK), 0);
	}
	cr_expect_eq(access(path, F_OK), 0);
	expect_clean();
}

Test(progress, knows_older_and_newer_callers)
{
	struct {
		struct strata_work work;
		char more[16];
	} newer = {.work = {.struct_size = sizeof(newer)}};
	struct strata_work none = {.struct_size = 0};

	put(9, 0, 'a', 10);
	expect_error(strata_crystallize_with(store, 9, &none), STRATA_EINVAL,
		     "struct_size");
	expect_error(strata_load_with(store, "x", &none, NULL), STRATA_EINVAL,
		     "struct_size");
	expect_error(strata_reload_with(store, 9, "x", &none), STRATA_EINVAL,
		     "struct_size");
	newer.more[15] = 1;
	expect_error(strata_crystallize_with(store, 9, &newer.work),
		     STRATA_EINVAL, "does not know");
	newer.more[15] = 0;
	must(strata_crystallize_with(store, 9, &newer.work));
}
