/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The limit: what is refused and in which words, what works when all is full,
 * and who is told that it comes near. */
#include <errno.h>
#include <pthread.h>

#include "attached.h"

TestSuite(limit, .init = store_setup, .fini = store_teardown, .timeout = 60);

/**** helpers ****/

/* Two classes; the large one has so many blocks, and only 64 KiB ones run. */
static void
store_of(uint64_t limit, uint64_t nodes, uint64_t large)
{
	struct strata_config config = store_config(limit);

	config.max_limit = limit;
	config.nr_pools = 2;
	config.pools[0].block_size = 4 * KIB;
	config.pools[0].max_size = nodes;
	config.pools[1].block_size = 64 * KIB;
	config.pools[1].max_size = large;
	store_again(&config);
}

/* Layers [from, to) of a dimension in one transaction, not yet committed. */
static struct strata_txn *
stage(uint32_t dimension, uint32_t from, uint32_t to, size_t size)
{
	struct strata_txn *txn = txn_begin();
	char *data = malloc(size + 1);

	memset(data, 'x', size);
	for (uint32_t i = from; i < to; i++)
		must(strata_put(txn, dimension, i, NULL, data, size, 0));
	free(data);
	return txn;
}

/* Puts layers, from 0 on, until it is refused; how many there are then. */
static uint32_t
put_until_refused(uint32_t dimension, size_t size, int *ret_code)
{
	for (uint32_t nr = 0;; nr++) {
		struct strata_txn *txn = stage(dimension, nr, nr + 1, size);

		*ret_code = strata_txn_commit(txn, NULL);
		if (*ret_code == 0)
			continue;
		strata_txn_abort(txn);
		return nr;
	}
}

static void
remove_dimension(uint32_t dimension)
{
	struct strata_txn *txn = txn_begin();

	must(strata_remove_dimension(txn, dimension));
	commit(txn);
}

/* The number before these words in the last error. */
static uint64_t
number_before(const char *words)
{
	const char *sentence = strata_last_error()->sentence;
	const char *at = strstr(sentence, words);

	cr_assert_not_null(at, "'%s' is not in: %s", words, sentence);
	while (at > sentence && at[-1] >= '0' && at[-1] <= '9')
		at--;
	return strtoull(at, NULL, 10);
}

/**** words and numbers of refusals ****/

Test(limit, a_full_class_does_not_count_what_is_refused_as_live)
{
	struct strata_stats before;
	struct strata_txn *txn;

	store_of(16 * MIB, 2 * MIB, 5 * (64 * KIB + STRATA_BLOCK_SLACK));
	commit(stage(1, 0, 2, 60000));
	before = stats_now();
	txn = stage(2, 0, 4, 60000);
	expect_error(strata_txn_commit(txn, NULL), STRATA_ECLASS,
		     "maximum of 5 (2 live, 0 retired, 3 taken by what is "
		     "refused now)");
	cr_expect_eq(strata_last_error()->used, before.used);
	strata_txn_abort(txn);
	cr_expect_eq(stats_now().used, before.used);
	/* Nor once more, as what the one before has taken. */
	txn = stage(2, 0, 1, 200000);
	expect_error(strata_txn_commit(txn, NULL), STRATA_ECLASS,
		     "(2 live, 0 retired, 0 taken by");
	strata_txn_abort(txn);
	expect_clean();
}

Test(limit, a_full_store_says_what_is_free_and_what_to_do)
{
	struct strata_stats before;
	struct strata_txn *txn;

	store_of(8 * MIB, 8 * MIB, 8 * MIB);
	commit(stage(1, 0, 40, 60000));
	must(strata_gc(store, NULL));
	before = stats_now();
	txn = stage(2, 0, 130, 60000);
	expect_error(strata_txn_commit(txn, NULL), STRATA_ELIMIT,
		     "store's limit of 8388608");
	cr_expect_eq(strata_last_error()->used, before.used,
		     "what is refused is not used");
	cr_expect_lt(number_before(" are free"), number_before(" more bytes"));
	cr_expect_eq(number_before(" that are retired"), before.retired);
	(void)number_before(" in free blocks");
	cr_expect_not_null(strstr(strata_last_error()->sentence, "strata gc"));
	cr_expect_not_null(
		strstr(strata_last_error()->sentence, "strata limit"));
	strata_txn_abort(txn);
	cr_expect_leq(stats_now().reserved, before.reserved,
		      "what was grown for it is given back");
	expect_clean();
}

Test(limit, crystallising_and_reloading_say_what_could_be_freed)
{
	const char *path = file_of("file", 7, 8, 512 * KIB);
	struct strata_reader *reader = reader_open(store);
	struct strata_stats stats;

	must(strata_load(store, path, NULL));
	commit(stage(1, 0, 40, 60000));
	must(strata_read_lock(reader));
	commit(stage(1, 0, 40, 60000));
	must(strata_gc(store, NULL));
	must(strata_limit(store, stats_now().reserved));
	stats = stats_now();
	cr_assert_gt(stats.retired, 40 * 60000);
	expect_error(strata_reload(store, 7, path), STRATA_ELIMIT,
		     ": 0 are free");
	cr_expect_geq(number_before(" more bytes"), 4 * MIB);
	cr_expect_eq(number_before(" that are retired"), stats.retired);
	cr_expect_not_null(strstr(strata_last_error()->sentence, "; reader "));
	expect_error(strata_crystallize(store, 1), STRATA_ELIMIT,
		     ": 0 are free");
	cr_expect_geq(strata_last_error()->requested, 40 * 60000);
	cr_expect_eq(number_before(" that are retired"), stats.retired);
	cr_expect_eq(strata_last_error()->dimension, 1);
	must(strata_read_unlock(reader));
	expect_clean();
}

static int
no_memory(const char *call)
{
	return strcmp(call, "reserve") == 0 ? ENOSPC : 0;
}

Test(limit, class_store_and_file_system_are_three_errors)
{
	struct strata_stats stats;
	struct strata_txn *txn;

	store_of(8 * MIB, 2 * MIB, 2 * (64 * KIB + STRATA_BLOCK_SLACK));
	txn = stage(1, 0, 3, 60000);
	expect_error(strata_txn_commit(txn, NULL), STRATA_ECLASS, "maximum");
	strata_txn_abort(txn);
	stats = stats_now();
	cr_expect_gt(stats.failures_class, 0);
	cr_expect_eq(stats.failures_limit + stats.failures_shm, 0);

	store_of(8 * MIB, 2 * MIB, 8 * MIB);
	txn = stage(1, 0, 130, 60000);
	expect_error(strata_txn_commit(txn, NULL), STRATA_ELIMIT, "limit");
	strata_txn_abort(txn);
	stats = stats_now();
	cr_expect_gt(stats.failures_limit, 0);
	cr_expect_eq(stats.failures_class + stats.failures_shm, 0);

	store_of(8 * MIB, 2 * MIB, 8 * MIB);
	txn = stage(1, 0, 3, 60000);
	strata__refusal = no_memory;
	expect_error(strata_txn_commit(txn, NULL), STRATA_ESHM, "is full");
	strata__refusal = NULL;
	cr_expect_eq(strata_last_error()->limit, 8 * MIB);
	cr_expect_gt(strata_last_error()->reserved, 0);
	stats = stats_now();
	cr_expect_gt(stats.failures_shm, 0);
	cr_expect_eq(stats.failures_class + stats.failures_limit, 0);
	commit(txn);
	expect_clean();
}

/**** room that is there ****/

Test(limit, room_of_another_class_is_used)
{
	int code;

	store_of(8 * MIB, 8 * MIB, 8 * MIB);
	(void)put_until_refused(1, 3000, &code);
	cr_assert_eq(code, STRATA_ELIMIT);
	remove_dimension(1);
	/* The root may be at the very end; the next one is not. */
	must(strata_gc(store, NULL));
	put(3, 0, 'a', 10);
	/* All that there is are blocks of 4 KiB, and free. */
	commit(stage(2, 0, 60, 60000));
	expect_clean();
}

static void
count_refusals(enum strata_log_level level, const char *line, void *arg)
{
	unsigned *nr = arg;

	(void)level;
	*nr += strstr(line, "refused") != NULL;
}

/* And nobody hears of a refusal that is none. */
Test(limit, room_of_what_is_dying_is_waited_for)
{
	struct strata_reader *reader = reader_open(store);
	unsigned nr_refusals = 0;

	must(strata_load(store, file_of("file", 7, 8, MIB), NULL));
	must(strata_read_lock(reader));
	must(strata_unload(store, 7, 0));
	must(strata_limit(store, stats_now().reserved));
	must(strata_read_unlock(reader));
	strata_log(STRATA_LOG_WARNING, count_refusals, &nr_refusals);
	/* Of the region: nobody has noticed yet that it is not needed. */
	commit(stage(1, 0, 40, 60000));
	strata_log(STRATA_LOG_SILENT, NULL, NULL);
	cr_expect_eq(nr_refusals, 0);
	expect_clean();
}

/**** full to the last byte ****/

/* Protos, regions, and a limit of just what is reserved. */
static uint32_t
fill_wholly(void)
{
	uint32_t nr;
	int code;

	for (uint32_t d = 7; d < 10; d++) {
		char name[16];

		snprintf(name, sizeof(name), "file%u", d);
		must(strata_load(store, file_of(name, d, 3, 200 * KIB), NULL));
	}
	nr = put_until_refused(1, 3000, &code);
	cr_assert(code == STRATA_ELIMIT || code == STRATA_ECLASS);
	must(strata_gc(store, NULL));
	must(strata_limit(store, stats_now().reserved));
	cr_assert_eq(stats_now().reserved, stats_now().limit);
	return nr;
}

Test(limit, removing_works_in_a_store_that_is_full)
{
	uint32_t nr = fill_wholly();

	for (uint32_t i = 0; i < nr; i++)
		remove_layer(1, i);
	for (uint32_t d = 7; d < 10; d++)
		must(strata_unload(store, d, 0));
	cr_expect_eq(stats_now().nr_layers, 0);
	expect_clean();
	remove_dimension(1);
	must(strata_gc(store, NULL));
	cr_expect_leq(stats_now().used, 4 * KIB + STRATA_NODE_SLACK, "a root");
}

Test(limit, unloading_works_in_a_store_that_is_full)
{
	uint32_t nr = fill_wholly();

	for (uint32_t d = 7; d < 10; d++)
		must(strata_unload(store, d, 0));
	must(strata_unload(store, 1, 0));
	cr_expect_eq(stats_now().nr_layers, 0, "of %" PRIu32, nr);
	expect_clean();
}

Test(limit, a_reader_that_stands_still_does_not_stop_removals)
{
	struct strata_reader *reader = reader_open(store);
	uint32_t nr = fill_wholly();

	must(strata_read_lock(reader));
	for (uint32_t i = 0; i < nr; i++)
		remove_layer(1, i);
	must(strata_unload(store, 7, 0));
	cr_expect(reads(reader, 1, nr - 1, 'x', 3000));
	must(strata_read_unlock(reader));
	expect_clean();
}

Test(limit, a_removal_of_too_much_at_once_says_so)
{
	const uint32_t nr = 500 * STRATA_LEAF_ENTRIES;
	struct strata_txn *txn;
	uint32_t i;
	int code;

	store_of(8 * MIB, 8 * MIB, 8 * MIB);
	/* Many leaves, of two layers each; one of them stays. */
	for (i = 0; i < nr; i += STRATA_LEAF_ENTRIES)
		commit(stage(1, i, i + 2, 10));
	(void)put_until_refused(2, 10, &code);
	cr_assert_eq(code, STRATA_ELIMIT);
	txn = txn_begin();
	for (i = 0; i < nr; i += STRATA_LEAF_ENTRIES)
		must(strata_remove(txn, 1, i));
	expect_error(strata_txn_commit(txn, NULL), STRATA_ELIMIT,
		     "by this one (remove less at once)");
	strata_txn_abort(txn);
	for (i = 0; i < nr; i += STRATA_LEAF_ENTRIES)
		remove_layer(1, i);
	expect_clean();
}

/**** fragmentation ****/

Test(limit, fragmentation_is_counted)
{
	const struct strata_fragmentation *scattered;
	struct strata_stats stats;

	store_of(16 * MIB, 4 * MIB, 8 * MIB);
	commit(stage(1, 0, 8, 60000));
	stats = stats_now();
	scattered = &stats.fragmentation[1];
	cr_expect_eq(scattered->trapped_blocks, 0);
	cr_expect_eq(scattered->longest_free, stats.pools[1].free_blocks);
	cr_expect_leq(scattered->slack, 8 * (64 * KIB + STRATA_BLOCK_SLACK -
					     60000));
	cr_expect_gt(scattered->slack, 8 * (64 * KIB - 60000));
	remove_layer(1, 1);
	remove_layer(1, 3);
	remove_layer(1, 4);
	must(strata_gc(store, NULL));
	stats = stats_now();
	cr_expect_eq(scattered->trapped_blocks, 3);
	cr_expect_geq(scattered->longest_free, 2);
	cr_expect_eq(stats.held,
		     stats.reserved -
			     stats.pools[0].free_blocks *
				     (4 * KIB + STRATA_NODE_SLACK) -
			     stats.pools[1].free_blocks *
				     (64 * KIB + STRATA_BLOCK_SLACK));
}

/**** who is told ****/

struct told {
	unsigned nr;
	enum strata_pressure before, now;
	int (*then)(struct strata_store *store);
	unsigned depth;
};

static void
note(struct strata_store *of, enum strata_pressure before,
     enum strata_pressure now, void *arg)
{
	struct told *told = arg;

	cr_assert_eq(told->depth++, 0, "not within itself");
	cr_assert_neq(before, now);
	cr_assert_eq(before, told->now, "nothing is left out");
	told->nr++;
	told->before = before;
	told->now = now;
	if (told->then != NULL)
		(void)told->then(of);
	told->depth--;
}

/* The limit at which what is held now is so many per cent. */
static void
limit_for(unsigned percent)
{
	must(strata_limit(store, stats_now().held * 100 / percent));
}

static void
watch(struct strata_store *of, struct told *told)
{
	must(strata_pressure_watch(of, note, told));
}

/* Far more is held, in a region, than is free in blocks. */
static void
hold_much(void)
{
	struct strata_config config = store_config(128 * MIB);

	config.max_limit = 256 * MIB;
	store_again(&config);
	must(strata_load(store, file_of("file", 7, 10, 8 * MIB), NULL));
	must(strata_gc(store, NULL));
}

Test(limit, each_crossing_is_told_once)
{
	static const unsigned percents[] = {80, 88, 97, 88, 80, 60};
	static const enum strata_pressure levels[] = {
		STRATA_PRESSURE_WARNING,  STRATA_PRESSURE_HIGH,
		STRATA_PRESSURE_CRITICAL, STRATA_PRESSURE_HIGH,
		STRATA_PRESSURE_WARNING,  STRATA_PRESSURE_NONE,
	};
	struct told told = {.nr = 0};

	hold_much();
	limit_for(50);
	watch(store, &told);
	cr_expect_eq(told.nr, 0);
	for (unsigned i = 0; i < 6; i++) {
		limit_for(percents[i]);
		cr_expect_eq(told.nr, i + 1);
		cr_expect_eq(told.now, levels[i]);
		cr_expect_eq(strata_pressure_now(store), levels[i]);
		(void)stats_now();
		must(strata_refresh(store));
		cr_expect_eq(told.nr, i + 1, "once");
	}
	limit_for(97);
	cr_expect_eq(told.nr, 7, "of three, one call");
	cr_expect_eq(told.before, STRATA_PRESSURE_NONE);
	must(strata_pressure_watch(store, NULL, NULL));
	limit_for(50);
	cr_expect_eq(told.nr, 7);
	expect_error(strata_pressure_watch(NULL, note, &told), STRATA_EINVAL,
		     "no store");
}

Test(limit, what_is_so_already_is_told_at_once)
{
	struct told told = {.nr = 0};

	hold_much();
	limit_for(88);
	watch(store, &told);
	cr_expect_eq(told.nr, 1);
	cr_expect_eq(told.now, STRATA_PRESSURE_HIGH);
}

Test(limit, commits_loads_and_removals_tell)
{
	struct told told = {.nr = 0};
	int code;

	store_of(64 * MIB, 4 * MIB, 64 * MIB);
	watch(store, &told);
	(void)put_until_refused(1, 60000, &code);
	cr_expect_eq(code, STRATA_ELIMIT);
	cr_expect_geq(told.nr, 2);
	cr_expect_geq(told.now, STRATA_PRESSURE_HIGH);
	cr_expect_eq(strata_last_error()->code, STRATA_ELIMIT);
	remove_dimension(1);
	must(strata_gc(store, NULL));
	cr_expect_eq(told.now, STRATA_PRESSURE_NONE);
	must(strata_load(store, file_of("file", 7, 5, 11 * MIB), NULL));
	cr_expect_geq(told.now, STRATA_PRESSURE_WARNING);
	must(strata_unload(store, 7, 0));
	cr_expect_eq(told.now, STRATA_PRESSURE_NONE);
}

Test(limit, a_process_that_only_reads_is_told_when_it_looks)
{
	struct strata_store *reading;
	struct told told = {.nr = 0};

	hold_much();
	reading = store_attach(STRATA_READ);
	watch(reading, &told);
	limit_for(80);
	cr_expect_eq(told.nr, 0);
	must(strata_refresh(reading));
	cr_expect_eq(told.nr, 1);
	limit_for(90);
	cr_expect_eq(strata_wait(reading, strata_version(store) + 1, 1),
		     STRATA_ETIMEDOUT);
	cr_expect_eq(told.nr, 2);
	limit_for(50);
	limit_for(90);
	must(strata_refresh(reading));
	cr_expect_eq(told.nr, 2, "what came back is not told");
	must(strata_detach(reading));
}

Test(limit, one_that_is_refused_tells_what_others_crossed)
{
	struct strata_store *other;
	struct told told = {.nr = 0};

	hold_much();
	limit_for(50);
	other = store_attach(STRATA_WRITE);
	watch(other, &told);
	limit_for(80);
	cr_expect_eq(told.nr, 0);
	expect_error(strata_limit(other, STRATA_LIMIT_MIN), STRATA_ELIMIT,
		     "reserved");
	cr_expect_eq(told.nr, 1);
	expect_error(strata_limit(NULL, 64 * MIB), STRATA_EINVAL, "no store");
	must(strata_detach(other));
}

static int
unload_7(struct strata_store *of)
{
	return strata_unload(of, 7, 0);
}

Test(limit, who_is_told_may_make_room)
{
	struct told told = {.then = unload_7};

	hold_much();
	limit_for(50);
	watch(store, &told);
	limit_for(80);
	cr_expect_eq(told.nr, 2, "of the change that it made, when it was done");
	cr_expect_eq(told.now, STRATA_PRESSURE_NONE);
	cr_expect_eq(stats_now().nr_regions, 0);
	expect_clean();
}

static int
fail_at_something(struct strata_store *of)
{
	return strata_unload(of, 99, 0);
}

Test(limit, what_fails_in_it_is_not_told_as_ours)
{
	struct told told = {.then = fail_at_something};
	struct strata_txn *txn;
	int code;

	store_of(8 * MIB, 4 * MIB, 8 * MIB);
	watch(store, &told);
	txn = stage(1, 0, 130, 60000);
	expect_error(strata_txn_commit(txn, NULL), STRATA_ELIMIT, "limit");
	strata_txn_abort(txn);
	(void)put_until_refused(1, 60000, &code);
	cr_expect_eq(strata_last_error()->code, STRATA_ELIMIT);
	cr_expect_gt(told.nr, 0);
}

/* Writers that cross the thresholds up and down, in threads of one handle. */
static void *
cross(void *arg)
{
	const uint64_t *held = arg;

	for (int i = 0; i < 400; i++)
		(void)strata_limit(store, *held * 100 / (i % 2 != 0 ? 80 : 50));
	return NULL;
}

Test(limit, threads_tell_each_crossing_once)
{
	struct told told = {.nr = 0};
	uint64_t held;
	pthread_t threads[4];

	hold_much();
	limit_for(50);
	held = stats_now().held;
	watch(store, &told);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, cross, &held),
			     0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_expect_gt(told.nr, 0);
	cr_expect_leq(told.nr, 4 * 400);
	/* note() has looked at each of them. */
	cr_expect_eq(told.now, strata_pressure_now(store),
		     "the last change is told");
}

/**** what is free in a moment ****/

#define NR_MANY 60000u

static struct strata_reader *last_reader;

/* The image is there, and nothing more fits: but for what this reader has just
 * left, which has to be buried first. */
static void
leave_and_fill(const char *point)
{
	struct strata__counters *counters = &store->space.catalog->counters;

	if (!is_point(point, "segtab.seal.written"))
		return;
	strata__testpoint = NULL;
	must(strata_read_unlock(last_reader));
	strata__count_set(&counters->limit, strata__count(&counters->reserved));
}

Test(limit, finds_the_room_that_a_reader_has_just_left)
{
	struct strata_config config = store_config(64 * MIB);

	config.nr_pools = 1;
	config.pools[0] = (struct strata_pool_config){4 * KIB, 16 * MIB};
	store_again(&config);
	must(strata_load(store, file_of("old", 20, 8, MIB), NULL));
	last_reader = reader_open(store);
	must(strata_read_lock(last_reader));
	must(strata_unload(store, 20, /* forget= */ 0));
	cr_expect_gt(stats_now().retired, 8 * MIB);
	(void)file_of("many", 21, NR_MANY, 16);
	strata__testpoint = leave_and_fill;
	must(strata_load(store, file_path("many"), NULL));
	cr_expect(has(21, 0, 'a', 16));
	must(strata_reader_close(last_reader));
	expect_clean();
}
