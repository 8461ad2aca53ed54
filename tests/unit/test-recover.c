/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Writers that die half-way, and the next one that finds what they left. */
#include <signal.h>

#include "attached.h"

static unsigned nr_fixed; /* files besides regions */

static void
setup(void)
{
	store_setup();
	file_of("seven", 7, 2, 30000);
	file_of("eight", 8, 3, 30000);
	file_of("eight-new", 8, 1, 40000);
	put(1, 0, 'a', 5000);
	nr_fixed = folder_files(false);
}

TestSuite(recover, .init = setup, .fini = store_teardown, .timeout = 120);

/**** what is left of the dead ****/

/* The next commit recovers if there is something to recover; then all is as it
 * should be, to the last byte and file. */
static void
expect_history(const char *point)
{
	struct strata_stats stats = stats_now();
	uint64_t nr_in_use = 0;
	struct strata__blocks blocks;

	for (uint32_t i = 0; i < stats.nr_pools; i++) {
		strata__blocks_init(&blocks, &store->space, i);
		while (strata__blocks_next(&blocks))
			nr_in_use += blocks.state != STRATA_FREE;
		cr_expect_geq(stats.pools[i].peak_blocks,
			      stats.pools[i].live_blocks +
				      stats.pools[i].retired_blocks,
			      "%s", point);
	}
	cr_expect_eq(stats.allocations - stats.deallocations, nr_in_use, "%s",
		     point);
	cr_expect_eq(stats.commits, stats.version - 1, "%s", point);
}

static void
expect_recovery(const char *point)
{
	bool dirty = atomic_load(&store->space.lock->dirty) != 0;
	uint64_t before = stats_now().recoveries;
	struct strata_verify_report report;
	struct strata_stats stats;

	put(50, 0, 'r', 100);
	expect_history(point);
	cr_expect_eq(stats_now().recoveries, before + dirty, "%s", point);
	cr_expect_eq(atomic_load(&store->space.lock->dirty), 0);
	must(strata_verify(store, 0, NULL, NULL, &report));
	cr_expect_eq(report.errors, 0, "%s: %s", point, report.first);
	must(strata_gc(store, NULL));
	must(strata_verify(store, 0, NULL, NULL, &report));
	cr_expect_eq(report.errors, 0, "%s, gc: %s", point, report.first);
	stats = stats_now();
	cr_expect_eq(stats.retired, 0, "%s", point);
	cr_expect_eq(folder_files(false), nr_fixed + stats.nr_regions,
		     "%s leaves files", point);
	cr_expect(has(50, 0, 'r', 100), "%s", point);
}

/**** commits ****/

static void
change_three(void)
{
	struct strata_txn *txn = txn_begin();
	char data[5000];

	memset(data, 'n', sizeof(data));
	must(strata_put(txn, 1, 0, NULL, data, sizeof(data), 0));
	must(strata_put(txn, 2, 0, NULL, data, sizeof(data), 0));
	must(strata_remove(txn, 3, 0));
	(void)strata_txn_commit(txn, NULL);
}

static void
expect_all_or_nothing(const char *point)
{
	bool first = has(1, 0, 'n', 5000), second = has(2, 0, 'n', 5000);
	bool third = find_layer(3, 0) == STRATA_ENOLAYER;

	cr_expect_eq(first, second, "%s", point);
	cr_expect_eq(first, third, "%s", point);
	cr_expect(first || has(1, 0, 'a', 5000), "%s", point);
}

Test(recover, a_commit_that_died_is_all_there_or_not_at_all)
{
	static const char *const points[] = {
		"write.begin.dirty",	     "pool.take.popped",
		"commit.put.content-written", "edit.commit.root-stored",
		"edit.commit.version-stored", "edit.commit.counted",
		"pool.retire.listed",	     "edit.commit.retired",
		"write.end.clean",	     "wlock.acquire.taken",
		"wlock.release.freed",
	};

	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		put(1, 0, 'a', 5000);
		put(2, 0, 'b', 10);
		put(3, 0, 'c', 10);
		die_in(points[i], change_three);
		expect_all_or_nothing(points[i]);
		expect_recovery(points[i]);
		expect_all_or_nothing(points[i]);
	}
}

Test(recover, what_was_committed_is_committed)
{
	put(3, 0, 'c', 10);
	die_in("edit.commit.version-stored", change_three);
	cr_expect(has(1, 0, 'n', 5000));
	expect_recovery("edit.commit.version-stored");
	cr_expect(has(1, 0, 'n', 5000));
}

Test(recover, what_was_not_is_not)
{
	put(3, 0, 'c', 10);
	die_in("edit.commit.root-stored", change_three);
	cr_expect(has(1, 0, 'a', 5000));
	expect_recovery("edit.commit.root-stored");
	cr_expect(has(1, 0, 'a', 5000));
	cr_expect_eq(find_layer(2, 0), STRATA_ENODIM);
}

static void
put_large(void)
{
	put(4, 0, 'g', 250000);
}

static void
put_run(void)
{
	put(4, 0, 'g', 800000);
}

Test(recover, a_pool_that_grew_halfway)
{
	static const char *const points[] = {"pool.grow.charged",
					     "pool.grow.reserved",
					     "pool.take.popped"};

	for (unsigned i = 0; i < 3; i++) {
		die_in(points[i], put_large);
		expect_recovery(points[i]);
		die_in(points[i], put_run);
		expect_recovery(points[i]);
	}
	put_run();
	cr_expect(has(4, 0, 'g', 800000));
	expect_clean();
}

static void
abort_large(void)
{
	struct strata_txn *txn = txn_begin();

	must(strata_put(txn, 4, 0, NULL, "x", 1, 0));
	must(strata_remove(txn, 4, 77));
	(void)strata_txn_commit(txn, NULL);
}

Test(recover, an_abort_that_died)
{
	die_in("edit.abort.freed", abort_large);
	expect_recovery("edit.abort.freed");
	die_in("pool.free.poisoned", abort_large);
	expect_recovery("pool.free.poisoned");
	cr_expect_eq(find_layer(4, 0), STRATA_ENODIM);
}

static void
replace_and_gc(void)
{
	put(1, 0, 'x', 5000);
	put(1, 0, 'y', 5000);
	(void)strata_gc(store, NULL);
}

Test(recover, a_reclaim_that_died)
{
	static const char *const points[] = {"reclaim.scanned",
					     "pool.free.poisoned",
					     "pool.free.listed"};

	for (unsigned i = 0; i < 3; i++) {
		die_in(points[i], replace_and_gc);
		cr_expect(has(1, 0, 'y', 5000), "%s", points[i]);
		expect_recovery(points[i]);
	}
}

Test(recover, a_readers_version_is_kept)
{
	struct strata_reader *reader = reader_open(store);

	put(3, 0, 'c', 10);
	must(strata_read_lock(reader));
	die_in("edit.commit.version-stored", change_three);
	put(50, 0, 'r', 10);
	cr_expect(reads(reader, 1, 0, 'a', 5000));
	cr_expect(reads(reader, 3, 0, 'c', 10));
	must(strata_gc(store, NULL));
	cr_expect(reads(reader, 1, 0, 'a', 5000));
	must(strata_read_unlock(reader));
	expect_recovery("with a reader");
}

static void
change_one(void)
{
	struct strata_txn *txn = txn_begin();
	char data[5000];

	memset(data, 'n', sizeof(data));
	must(strata_put(txn, 1, 0, NULL, data, sizeof(data), 0));
	(void)strata_txn_commit(txn, NULL);
}

/* What a reader's version keeps, after a death at that point and the recovery. */
static void
expect_nothing_more_is_kept(const char *point, void (*work)(void))
{
	struct strata_reader *reader = reader_open(store);
	uint64_t kept;

	must(strata_read_lock(reader));
	put(3, 0, 'c', 10); /* the reader's is not the last one */
	must(strata_gc(store, NULL));
	kept = stats_now().retired;
	die_in(point, work);
	must(strata_gc(store, NULL)); /* recovers, too */
	cr_expect_eq(stats_now().retired, kept, "%s", point);
	must(strata_read_unlock(reader));
	must(strata_reader_close(reader));
	expect_recovery(point);
}

/* The life that a dead writer was about to begin is younger than any reader; by
 * the birth of the life before it would be kept for who has nothing of it. */
Test(recover, what_was_just_being_taken_is_kept_for_nobody)
{
	static const char *const points[] = {
		"pool.take.popped",   "pool.take.dated", "pool.take.measured",
		"pool.take.born",     "pool.take.allocated",
		"edit.commit.root-stored",
	};

	put(1, 0, 'b', 5000); /* so that blocks have had a life */
	must(strata_gc(store, NULL));
	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		expect_nothing_more_is_kept(points[i], change_one);
}

/**** regions ****/

static void
load(void)
{
	(void)strata_load(store, file_path("seven"), NULL);
}

static void
expect_loaded_or_not(const char *point)
{
	int code = find_layer(7, 0);

	cr_expect(code == 0 || code == STRATA_ENODIM, "%s", point);
	if (code != 0)
		return;
	cr_expect(has(7, 0, 'a', 30000) && has(7, 1, 'b', 30000), "%s", point);
	must(strata_unload(store, 7, 0));
}

Test(recover, a_load_that_died)
{
	static const char *const points[] = {
		"segtab.reserve.charged",     "segtab.reserve.named",
		"segtab.reserve.filled",      "segtab.reserve.entered",
		"load.reserved",	      "load.copied",
		"segtab.seal.written",	      "load.sealed",
		"segtab.publish.born",	      "segtab.publish.allocated",
		"edit.commit.epoch-raised",   "edit.commit.root-stored",
		"edit.commit.version-stored",
	};

	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		die_in(points[i], load);
		expect_recovery(points[i]);
		expect_loaded_or_not(points[i]);
	}
}

/* The same of regions. */
Test(recover, a_region_that_was_just_being_published_is_kept_for_nobody)
{
	expect_nothing_more_is_kept("segtab.publish.born", load);
	expect_nothing_more_is_kept("segtab.publish.allocated", load);
}

static void
reload(void)
{
	(void)strata_reload(store, 8, file_path("eight-new"));
}

static void
expect_one_of_two(const char *point)
{
	bool old = has(8, 0, 'a', 30000) && has(8, 2, 'c', 30000);
	bool new = has(8, 0, 'a', 40000) && find_layer(8, 2) != 0;

	cr_expect_neq(old, new, "%s", point);
}

Test(recover, a_reload_that_died)
{
	static const char *const points[] = {
		"edit.commit.version-stored", "segtab.retire.stamped",
		"segtab.retire.retired",      "segtab.retire.listed",
		"segtab.doom.dying",	      "segtab.bury.truncated",
		"segtab.bury.unlinked",	      "segtab.forget.freed",
	};

	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		must(strata_load(store, file_path("eight"), NULL));
		die_in(points[i], reload);
		expect_one_of_two(points[i]);
		expect_recovery(points[i]);
		expect_one_of_two(points[i]);
		must(strata_unload(store, 8, 0));
	}
}

static void
crystallize(void)
{
	(void)strata_crystallize(store, 1);
}

Test(recover, a_crystallise_that_died)
{
	static const char *const points[] = {
		"crystallize.reserved",	      "crystallize.emitted",
		"crystallize.sealed",	      "crystallize.durable",
		"segtab.publish.allocated",   "edit.commit.root-stored",
		"edit.commit.version-stored", "edit.commit.retired",
		"crystallize.swapped",
	};

	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		put(1, i, 'a', 5000);
		die_in(points[i], crystallize);
		expect_recovery(points[i]);
		for (uint32_t layer = 0; layer <= i; layer++)
			cr_expect(has(1, layer, 'a', 5000), "%s", points[i]);
	}
	must(strata_crystallize(store, 1));
	expect_clean();
}

/**** what is counted ****/

static void
unload(void)
{
	(void)strata_unload(store, 8, 0);
}

/* Loads, reloads, unloads and crystallizations, as one number each. */
static uint64_t
deeds_of(const struct strata_stats *stats, unsigned kind)
{
	const uint64_t deeds[] = {stats->loads, stats->reloads, stats->unloads,
				  stats->crystallizations};

	return deeds[kind];
}

static void
expect_counted(const char *point, unsigned kind, void (*work)(void))
{
	struct strata_stats before = stats_now(), after;
	uint64_t came;

	die_in(point, work);
	came = strata_version(store) - before.version;
	cr_assert_leq(came, 1, "%s", point);
	expect_recovery(point);
	after = stats_now();
	for (unsigned i = 0; i < 4; i++)
		cr_expect_eq(deeds_of(&after, i),
			     deeds_of(&before, i) + (i == kind ? came : 0),
			     "deed %u, counter %u, died at %s", kind, i, point);
}

Test(recover, what_the_dead_committed_is_counted)
{
	static void (*const works[])(void) = {load, reload, unload,
					      crystallize};
	static const char *const points[] = {
		"edit.deed.half-noted",	      "edit.deed.noted",
		"edit.commit.root-stored",    "edit.commit.version-stored",
		"edit.commit.counted",	      "edit.deed.counted",
		"edit.deed.erased",	      "edit.commit.retired",
	};

	must(strata_load(store, file_path("eight"), NULL));
	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		for (unsigned kind = 0; kind < 4; kind++) {
			put(1, i, 'a', 5000);
			expect_counted(points[i], kind, works[kind]);
			if (find_layer(7, 0) == 0)
				must(strata_unload(store, 7, 0));
			if (find_layer(8, 0) != 0)
				must(strata_load(store, file_path("eight"),
						 NULL));
		}
}

static void
collect_garbage(void)
{
	must(strata_gc(store, NULL));
}

Test(recover, each_grace_period_has_its_time)
{
	struct strata_stats before = stats_now(), after;
	uint64_t timed = 0;

	put(3, 0, 'c', 10);
	die_in("reclaim.timed", collect_garbage);
	put(3, 0, 'd', 10);
	after = stats_now();
	for (unsigned i = 0; i < STRATA_GRACE_BUCKETS; i++)
		timed += after.grace_durations[i];
	cr_expect_gt(after.grace_periods, before.grace_periods);
	cr_expect_eq(timed, after.grace_periods);
}

Test(recover, a_crystallise_that_has_nothing_to_do_is_not_counted)
{
	must(strata_crystallize(store, 1));
	must(strata_crystallize(store, 1));
	cr_expect_eq(stats_now().crystallizations, 1);
}

/**** recoveries that die ****/

static void
commit_one(void)
{
	put(60, 0, 'q', 10);
}

Test(recover, a_recovery_that_died_is_done_again)
{
	static const char *const points[] = {
		"recover.block.stamped", "recover.block.retired",
		"recover.mended",	 "recover.rebuilt",
		"reclaim.scanned",
	};

	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		put(1, 0, 'a', 5000);
		put(3, 0, 'c', 10);
		die_in("edit.commit.root-stored", change_three);
		die_in(points[i], commit_one);
		expect_recovery(points[i]);
		cr_expect(has(1, 0, 'a', 5000), "%s", points[i]);
		cr_expect_eq(find_layer(60, 0), STRATA_ENODIM);
	}
}

Test(recover, a_damaged_index_is_not_recovered_from)
{
	struct strata__hot *hot = &store->space.catalog->hot;
	struct strata_txn *txn = txn_begin();
	uint64_t version = strata_version(store);
	uint64_t root = atomic_load(&hot->roots[version & 1]);

	must(strata_put(txn, 1, 1, NULL, "x", 1, 0));
	atomic_store(&hot->roots[version & 1], root + 4096 * 1000);
	atomic_store(&store->space.lock->dirty, 1);
	expect_error(strata_txn_commit(txn, NULL), STRATA_ECORRUPT, "");
	cr_expect_eq(atomic_load(&store->space.lock->dirty), 1, "still");
	atomic_store(&hot->roots[version & 1], root);
	must(strata_txn_commit(txn, NULL));
	cr_expect_eq(stats_now().recoveries, 1);
	expect_clean();
}

Test(recover, an_entry_that_leads_nowhere_is_told)
{
	struct strata_entry *entry = entry_of(1, 0);
	struct strata_txn *txn = txn_begin();
	uint64_t content = entry->content;

	must(strata_put(txn, 1, 1, NULL, "x", 1, 0));
	entry->content = content + 64;
	atomic_store(&store->space.lock->dirty, 1);
	expect_error(strata_txn_commit(txn, NULL), STRATA_ECORRUPT,
		     "refers to no block");
	entry->content = content;
	must(strata_txn_commit(txn, NULL));
	expect_clean();
}

/**** hints and counters ****/

Test(recover, lists_and_counters_are_made_anew)
{
	struct strata__counters *counters = &store->space.catalog->counters;
	struct strata_stats before, after;
	struct strata_reader *reader;

	must(strata_load(store, file_path("eight"), NULL));
	reader = reader_open(store);
	must(strata_read_lock(reader));
	put(1, 0, 'b', 5000);
	must(strata_unload(store, 8, 0));
	before = stats_now();
	cr_assert_gt(before.retired, 0);
	atomic_store(&counters->nr_retired, 0);
	atomic_store(&counters->reserved, 12345);
	atomic_store(&counters->region_bytes, 1);
	atomic_store(&counters->region_retired_bytes, 2);
	atomic_store(&counters->segments_high, 0);
	atomic_store(&counters->classes[0].live, 9999);
	atomic_store(&counters->classes[1].retired, 7777);
	atomic_store(&store->space.lock->dirty, 1);
	must(strata_limit(store, 16 * MIB));
	after = stats_now();
	cr_expect_eq(after.recoveries, 1);
	cr_expect_eq(after.reserved, before.reserved);
	cr_expect_eq(after.region_bytes, before.region_bytes);
	cr_expect_eq(after.retired, before.retired);
	cr_expect_eq(after.pools[0].live_blocks, before.pools[0].live_blocks);
	cr_expect(reads(reader, 8, 2, 'c', 30000));
	must(strata_read_unlock(reader));
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().retired, 0);
	expect_clean();
}
