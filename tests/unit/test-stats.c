/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Statistics, and who reads: every figure after what is known to be done. */
#include <sched.h>

#include "attached.h"

TestSuite(stats, .init = store_setup, .fini = store_teardown, .timeout = 60);

/**** figures ****/

Test(stats, an_empty_store)
{
	struct strata_stats stats = stats_now();

	cr_expect_eq(stats.struct_size, sizeof(stats));
	cr_expect_eq(stats.version, 1);
	cr_expect_eq(stats.limit, 16 * MIB);
	cr_expect_eq(stats.max_limit, 64 * MIB);
	cr_expect_eq(stats.reserved, bytes_of_files());
	cr_expect_eq(stats.used, 0);
	cr_expect_eq(stats.retired, 0);
	cr_expect_eq(stats.content_bytes, 0);
	cr_expect_eq(stats.region_bytes, 0);
	cr_expect_eq(stats.pressure, STRATA_PRESSURE_NONE);
	cr_expect_eq(stats.nr_pools, 4);
	cr_expect_eq(stats.pools[0].block_size, 4 * KIB);
	cr_expect_eq(stats.pools[3].block_size, 256 * KIB);
	cr_expect_eq(stats.nr_dimensions, 0);
	cr_expect_eq(stats.readers, 0);
	cr_expect_eq(stats.commits, 0);
	cr_expect_leq(stats.fixed_bytes + stats.pool_bytes, stats.reserved);
	cr_expect_gt(stats.created_ns, UINT64_C(1600000000) * 1000000000);
	cr_expect_leq(stats.created_ns, strata__os_realtime_ns());
}

Test(stats, puts_replacements_and_removals)
{
	struct strata_stats stats;

	put(1, 0, 'a', 5000);
	put(1, 1, 'a', 200000);
	put(1, 2, 'a', 300000);
	stats = stats_now();
	cr_expect_eq(stats.version, 4);
	cr_expect_eq(stats.commits, 3);
	cr_expect_eq(stats.nr_dimensions, 1);
	cr_expect_eq(stats.nr_layers, 3);
	cr_expect_eq(stats.nr_proto, 1);
	cr_expect_eq(stats.content_bytes, 505000);
	cr_expect_eq(stats.pools[1].live_blocks, 1);
	cr_expect_eq(stats.pools[3].live_blocks, 3, "one, and a run of two");
	cr_expect_eq(stats.pools[0].live_blocks, 2, "root and dimension");
	cr_expect_eq(stats.pools[0].retired_blocks, 4, "of versions before");
	cr_expect_eq(stats.allocations, 9);
	cr_expect_eq(stats.deallocations, 0);
	cr_expect_eq(stats.reserved, bytes_of_files());
	remove_layer(1, 1);
	stats = stats_now();
	cr_expect_eq(stats.pools[3].live_blocks, 2);
	cr_expect_eq(stats.pools[3].retired_blocks, 1);
	cr_expect_eq(stats.pools[3].peak_blocks, 3);
	cr_expect_geq(stats.retired, 200000);
	cr_expect_geq(stats.used, stats.retired);
	must(strata_gc(store, NULL));
	stats = stats_now();
	cr_expect_eq(stats.retired, 0);
	cr_expect_geq(stats.reclaimed, 200000);
	cr_expect_geq(stats.grace_periods, 1);
	cr_expect_eq(stats.pools[3].retired_blocks, 0);
	cr_expect_eq(stats.pools[3].live_blocks, 2);
	cr_expect_gt(stats.deallocations, 0);
	for (uint32_t i = 0; i < stats.nr_pools; i++)
		cr_expect_eq(stats.pools[i].free_blocks +
				     stats.pools[i].live_blocks +
				     stats.pools[i].retired_blocks,
			     stats.pools[i].grown_blocks);
	cr_expect_eq(stats.reserved, bytes_of_files());
}

Test(stats, dimensions_of_each_state)
{
	struct strata_stats stats;

	put(1, 0, 'a', 100);
	put(2, 0, 'a', 100);
	must(strata_crystallize(store, 2));
	must(strata_load(store, file_of("file", 3, 2, 500), NULL));
	put(3, 5, 'h', 100);
	must(strata_load(store, file_of("file4", 4, 2, 500), NULL));
	must(strata_reload(store, 4, file_of("file4", 4, 3, 500)));
	must(strata_load(store, file_of("file5", 5, 2, 500), NULL));
	must(strata_unload(store, 5, 0));
	stats = stats_now();
	cr_expect_eq(stats.nr_dimensions, 4);
	cr_expect_eq(stats.nr_proto, 1);
	cr_expect_eq(stats.nr_crystallized, 2);
	cr_expect_eq(stats.nr_hybrid, 1);
	cr_expect_eq(stats.nr_regions, 3);
	cr_expect_eq(stats.nr_layers, 1 + 1 + 3 + 3);
	cr_expect_eq(stats.content_bytes, 100 + 100 + 1100 + 1500);
	cr_expect_eq(stats.loads, 3);
	cr_expect_eq(stats.reloads, 1);
	cr_expect_eq(stats.unloads, 1);
	cr_expect_eq(stats.crystallizations, 1);
	cr_expect_eq(stats.recoveries, 0);
	cr_expect_gt(stats.region_bytes, 0);
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().reserved, bytes_of_files());
}

Test(stats, pressure_rises_with_what_is_held)
{
	static const uint64_t shares[] = {70, 80, 90, 96};
	struct strata_config config = store_config(16 * MIB);

	/* Hardly any free blocks, which are reserved but not held. */
	config.nr_pools = 1;
	config.pools[0].block_size = 4 * KIB;
	config.pools[0].max_size = 2 * STRATA_NODE_RESERVE * (4 * KIB + 512);
	store_again(&config);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t want = 16 * MIB / 100 * shares[i];
		uint64_t held = strata__space_held(&store->space);
		char name[16];

		snprintf(name, sizeof(name), "file%u", i);
		file_of(name, 1 + i, 1, want - held - 16 * KIB);
		must(strata_load(store, file_path(name), NULL));
		cr_expect_eq((unsigned)stats_now().pressure, i, "at %d %%",
			     (int)shares[i]);
	}
	expect_clean();
}

Test(stats, readers_are_counted_with_their_peak)
{
	struct strata_reader *readers[9];
	struct strata_stats stats;

	for (int i = 0; i < 9; i++)
		readers[i] = reader_open(store);
	put(1, 0, 'a', 10);
	put(1, 0, 'a', 10);
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().readers, 9);
	for (int i = 0; i < 9; i++)
		must(strata_reader_close(readers[i]));
	stats = stats_now();
	cr_expect_eq(stats.readers, 0);
	cr_expect_eq(stats.peak_readers, 9);
}

/**** what memory is for ****/

static uint64_t
sum_of_parts(const struct strata_stats *stats)
{
	return stats->content_bytes + stats->metadata_bytes +
		stats->unused_bytes + stats->retired + stats->spare_bytes +
		stats->pins_bytes + stats->catalog_bytes;
}

Test(stats, every_byte_is_for_one_thing)
{
	const uint64_t node = 4 * KIB + STRATA_NODE_SLACK;
	struct strata_stats stats = stats_now();
	const struct strata_entry *entry;
	struct strata_reader *reader;
	uint64_t meta;

	cr_expect_eq(sum_of_parts(&stats), stats.reserved);
	cr_expect_eq(stats.fragmentation_ratio, 0, "nothing is live");
	put(1, 0, 'a', 5000);
	reader = reader_open(store);
	must(strata_read_lock(reader));
	must(strata_find(reader, 1, 0, &entry));
	meta = entry->meta_size;
	must(strata_read_unlock(reader));
	stats = stats_now();
	cr_expect_eq(stats.metadata_bytes, meta + 2 * node, "root, dimension");
	cr_expect_eq(stats.unused_bytes,
		     16 * KIB + STRATA_BLOCK_SLACK - 5000 - meta);
	cr_expect_float_eq(stats.fragmentation_ratio,
			   (double)stats.unused_bytes /
				   (double)(stats.used - stats.retired),
			   1e-9);
	cr_expect_eq(sum_of_parts(&stats), stats.reserved);
	/* Regions, one of which is partly replaced; what a reader retains. */
	must(strata_load(store, file_of("file", 3, 4, 30000), NULL));
	must(strata_read_lock(reader));
	put(3, 1, 'h', 700);
	put(4, 100000, 'd', 300000);
	put(1, 0, 'b', 6000);
	stats = stats_now();
	cr_expect_gt(stats.retired, 5000);
	cr_expect_geq(stats.unused_bytes, 30000, "in the region");
	cr_expect_eq(sum_of_parts(&stats), stats.reserved);
	must(strata_read_unlock(reader));
	must(strata_gc(store, NULL));
	stats = stats_now();
	cr_expect_eq(sum_of_parts(&stats), stats.reserved);
}

Test(stats, an_observer_finds_the_same_parts)
{
	struct strata_stats seen = {.struct_size = sizeof(seen)}, stats;
	struct strata_store *other;

	must(strata_load(store, file_of("file", 3, 4, 30000), NULL));
	put(3, 1, 'h', 700);
	put(1, 70, 'a', 5000);
	other = store_attach(STRATA_READ | STRATA_OBSERVE);
	must(strata_stats(other, &seen));
	stats = stats_now();
	cr_expect_eq(seen.metadata_bytes, stats.metadata_bytes);
	cr_expect_eq(seen.unused_bytes, stats.unused_bytes);
	cr_expect_eq(sum_of_parts(&seen), seen.reserved);
	must(strata_detach(other));
}

/* More than a class may have at the smallest limit. */
static int
put_large(void)
{
	struct strata_txn *txn = txn_begin();
	char *data = calloc(1, 200000);
	int code = 0;

	for (uint32_t i = 0; code == 0 && i < 100; i++)
		code = strata_put(txn, 2, i, NULL, data, 200000, 0);
	free(data);
	if (code == 0)
		return strata_txn_commit(txn, NULL);
	strata_txn_abort(txn);
	return code;
}

Test(stats, shares_and_sums)
{
	struct strata_stats stats;

	put(1, 0, 'a', 5000);
	put(1, 1, 'a', 5000);
	stats = stats_now();
	cr_expect_eq(stats.total_limit_mb, 16);
	cr_expect_float_eq(stats.utilization_percent,
			   100.0 * (double)stats.reserved / (16.0 * MIB), 1e-9);
	cr_expect_float_eq(stats.spread[1].utilization_percent,
			   200.0 / (double)stats.pools[1].max_blocks, 1e-9);
	cr_expect_eq(stats.failures, 0);
	must(strata_limit(store, 8 * MIB));
	expect_error(put_large(), STRATA_ECLASS, "at their maximum");
	stats = stats_now();
	cr_expect_eq(stats.failures, stats.failures_class +
					     stats.failures_limit +
					     stats.failures_shm);
	cr_expect_gt(stats.failures_class, 0);
}

Test(stats, runs_of_free_blocks_are_counted_by_length)
{
	struct strata_stats stats;
	const uint64_t *runs;
	uint64_t behind;

	for (uint32_t i = 0; i < 5; i++)
		put(1, i, 'a', 200000);
	remove_layer(1, 0);
	remove_layer(1, 2);
	remove_layer(1, 3);
	must(strata_gc(store, NULL));
	stats = stats_now();
	runs = stats.spread[3].free_runs;
	cr_expect_eq(stats.fragmentation[3].trapped_blocks, 3);
	behind = stats.pools[3].free_blocks - 3;
	cr_expect_leq(behind, 3, "memory comes in steps");
	cr_expect_eq(runs[0], 1 + (uint64_t)(behind == 1), "the first");
	cr_expect_eq(runs[1], 1 + (uint64_t)(behind > 1), "two in a row");
	cr_expect_eq(stats.fragmentation[3].longest_free,
		     behind > 2 ? behind : 2);
	cr_expect_eq(runs[2] + runs[3] + runs[4] + runs[5] + runs[6] + runs[7],
		     0);
}

Test(stats, grace_periods_are_timed)
{
	struct strata_stats stats = stats_now();
	uint64_t nr = 0;

	cr_expect_eq(stats.grace_total_ns, 0);
	for (int i = 0; i < 5; i++) {
		put(1, 0, 'a', 5000);
		must(strata_gc(store, NULL));
	}
	stats = stats_now();
	for (unsigned i = 0; i < STRATA_GRACE_BUCKETS; i++)
		nr += stats.grace_durations[i];
	cr_expect_geq(nr, 4);
	cr_expect_eq(nr, stats.grace_periods);
	cr_expect_gt(stats.grace_last_ns, 0);
	cr_expect_leq(stats.grace_last_ns, stats.grace_longest_ns);
	cr_expect_leq(stats.grace_longest_ns, stats.grace_total_ns);
	cr_expect_leq(stats.grace_total_ns, nr * stats.grace_longest_ns);
}

/**** arguments ****/

Test(stats, older_callers_get_what_they_know)
{
	struct strata_stats stats;

	memset(&stats, 0xee, sizeof(stats));
	stats.struct_size = offsetof(struct strata_stats, reserved);
	must(strata_stats(store, &stats));
	cr_expect_eq(stats.limit, 16 * MIB);
	cr_expect_eq(stats.reserved, UINT64_C(0xeeeeeeeeeeeeeeee));
	cr_expect_eq(stats.struct_size,
		     offsetof(struct strata_stats, reserved));
}

Test(stats, bad_arguments_are_refused)
{
	struct strata_stats stats = {.struct_size = 0};

	expect_error(strata_stats(store, &stats), STRATA_EINVAL,
		     "struct_size");
	stats.struct_size = sizeof(stats) + 8;
	expect_error(strata_stats(store, &stats), STRATA_EINVAL, "newer");
	expect_error(strata_stats(store, NULL), STRATA_EINVAL, "");
	expect_error(strata_stats(NULL, &stats), STRATA_EINVAL, "");
	expect_error(strata_foreach_reader(store, NULL, NULL), STRATA_EINVAL,
		     "");
	stats.struct_size = sizeof(stats);
	must(strata_destroy(STORE));
	expect_error(strata_stats(store, &stats), STRATA_EGONE, "destroyed");
}

/**** readers ****/

#define MOST 80

struct found {
	unsigned nr, end;
	struct strata_reader_info infos[MOST];
};

static int
find(const struct strata_reader_info *info, void *arg)
{
	struct found *found = arg;

	cr_assert_lt(found->nr, MOST);
	found->infos[found->nr++] = *info;
	return found->nr == found->end ? 42 : 0;
}

static struct found
readers_now(void)
{
	static struct found found;

	memset(&found, 0, sizeof(found));
	must(strata_foreach_reader(store, find, &found));
	return found;
}

Test(stats, a_reader_is_described)
{
	struct strata_reader *reader = reader_open(store);
	uint64_t pid_namespace;
	struct found found;
	char name[32];

	strata__os_self(name, sizeof(name), &pid_namespace);
	found = readers_now();
	cr_assert_eq(found.nr, 1);
	cr_expect_eq(found.infos[0].uid, geteuid());
	cr_expect_eq(found.infos[0].pid, (uint32_t)getpid());
	cr_expect_eq(found.infos[0].pid_namespace, pid_namespace);
	cr_expect_str_eq(found.infos[0].name, name);
	cr_expect_eq(found.infos[0].alive, 1);
	cr_expect_eq(found.infos[0].pin, 0);
	cr_expect_eq(found.infos[0].sections, 0);
	must(strata_read_lock(reader));
	found = readers_now();
	cr_expect_eq(found.infos[0].pin, 1);
	cr_expect_eq(found.infos[0].lag, 0);
	cr_expect_eq(found.infos[0].age_ns, 0, "its version is current");
	cr_expect_eq(found.infos[0].retained, 0);
	cr_expect_eq(found.infos[0].sections, 1);
	must(strata_read_unlock(reader));
}

Test(stats, an_outdated_pin_has_a_lag_and_an_age)
{
	struct strata_reader *reader = reader_open(store);
	uint64_t begin = strata__os_monotonic_ns();
	struct found found;

	put(1, 0, 'a', 100);
	must(strata_read_lock(reader));
	put(1, 0, 'b', 100);
	put(1, 0, 'c', 100);
	put(1, 0, 'd', 100);
	found = readers_now();
	cr_expect_eq(found.infos[0].pin, 2);
	cr_expect_eq(found.infos[0].lag, 3);
	/* It comes to be known within the rings' and the clock's ticks. */
	do {
		put(1, 0, 'e', 100);
		found = readers_now();
		sched_yield();
	} while (found.infos[0].age_ns < 100 * 1000 * 1000);
	cr_expect_geq(strata__os_monotonic_ns() - begin,
		      found.infos[0].age_ns - 20 * 1000 * 1000,
		      "not older than it is");
	must(strata_read_unlock(reader));
	cr_expect_eq(readers_now().infos[0].age_ns, 0);
}

Test(stats, what_a_pin_alone_keeps_is_told)
{
	struct strata_reader *first = reader_open(store);
	struct strata_reader *second = reader_open(store);
	uint64_t alone;
	struct found found;

	put(1, 0, 'a', 200000);
	must(strata_load(store, file_of("file", 3, 1, 100000), NULL));
	must(strata_read_lock(first));
	remove_layer(1, 0);
	must(strata_unload(store, 3, 0));
	found = readers_now();
	cr_assert_eq(found.nr, 2);
	cr_expect_geq(found.infos[0].retained, 300000);
	cr_expect_eq(found.infos[0].retained,
		     stats_now().retired, "it is all for this one");
	cr_expect_eq(found.infos[1].retained, 0);
	alone = found.infos[0].retained;
	must(strata_read_lock(second));
	cr_expect_leq(readers_now().infos[0].retained, alone);
	must(strata_read_unlock(second));
	must(strata_read_unlock(first));
	cr_expect_eq(readers_now().infos[0].retained, 0);
}

Test(stats, what_two_pins_keep_neither_keeps_alone)
{
	struct strata_reader *first = reader_open(store);
	struct strata_reader *second = reader_open(store);
	struct found found;

	put(1, 0, 'a', 200000);
	must(strata_read_lock(first));
	must(strata_read_lock(second));
	remove_layer(1, 0);
	found = readers_now();
	cr_expect_eq(found.infos[0].retained, 0);
	cr_expect_eq(found.infos[1].retained, 0);
	must(strata_read_unlock(first));
	cr_expect_geq(readers_now().infos[1].retained, 200000);
	must(strata_read_unlock(second));
}

static void
lock_and_stay(struct proc *parent, void *arg)
{
	struct strata_store *mine;
	struct strata_reader *reader;

	(void)arg;
	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	proc_say(parent, 'l');
	proc_hear(parent, 'e');
}

Test(stats, the_dead_are_shown_as_dead)
{
	struct strata_store *other;
	struct found found;
	struct proc child;
	uint32_t pid;

	put(1, 0, 'a', 50000);
	proc_start(&child, lock_and_stay, NULL);
	proc_hear(&child, 'l');
	pid = (uint32_t)child.pid;
	put(1, 0, 'b', 50000);
	found = readers_now();
	cr_assert_eq(found.nr, 1);
	cr_expect_eq(found.infos[0].pid, pid);
	cr_expect_eq(found.infos[0].alive, 1);
	cr_expect_geq(found.infos[0].retained, 50000);
	cr_expect_eq(stats_now().readers, 1);
	proc_kill(&child);
	found = readers_now();
	cr_assert_eq(found.nr, 1, "its slot still says so");
	cr_expect_eq(found.infos[0].pid, pid);
	cr_expect_eq(found.infos[0].alive, 0);
	cr_expect_eq(found.infos[0].retained, 0, "the dead keep nothing");
	cr_expect_eq(stats_now().readers, 0);
	other = store_attach(STRATA_READ);
	(void)reader_open(other);
	found = readers_now();
	cr_expect_eq(found.nr, 1, "who takes its chunk clears it");
	cr_expect_eq(found.infos[0].pid, (uint32_t)getpid());
	must(strata_detach(other));
}

Test(stats, many_readers_are_listed_until_told_to_stop)
{
	struct found found = {.end = 70};

	for (int i = 0; i < MOST - 1; i++)
		(void)reader_open(store);
	cr_expect_eq(readers_now().nr, MOST - 1);
	cr_expect_eq(strata_foreach_reader(store, find, &found), 42);
	cr_expect_eq(found.nr, 70);
}

Test(stats, names_are_made_harmless)
{
	struct strata_reader *reader = reader_open(store);

	strcpy(reader->slot->name, "a\033[2Jb\x7f\n");
	cr_expect_str_eq(readers_now().infos[0].name, "a?[2Jb??");
	memset(reader->slot->name, 'n', sizeof(reader->slot->name));
	cr_expect_eq(strlen(readers_now().infos[0].name),
		     sizeof(reader->slot->name) - 1);
}
