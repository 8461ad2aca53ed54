/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What a killed reader had pinned is reclaimed by ordinary commits. */
#include <stdio.h>
#include <string.h>

#include "pattern.h"
#include "proc.h"
#include "store.h"

#define DIMENSIONS 3
#define LAYERS     24
#define SIZE       (20 << 10)
/* Commits between two reclaims of a writer, at most; see commit.c. */
#define RECLAIM_COMMITS 128

static const struct pattern_set set = {DIMENSIONS, LAYERS, SIZE};
static struct strata_store *store;
static uint64_t generation;

/**** writing ****/

static void
commit_all(void)
{
	pattern_commit(store, &set, ++generation);
}

static void
commit_one(void)
{
	struct pattern pattern = {1, 0, generation, LAYERS};
	struct strata_txn *txn;
	char data[SIZE];

	pattern_fill(data, SIZE, &pattern);
	need(strata_txn_begin(store, &txn) == 0, "begin");
	need(strata_put(txn, 1, 0, NULL, data, SIZE, 0) == 0, "put");
	need(strata_txn_commit(txn, NULL) == 0, "commit");
}

/**** what is in use ****/

struct usage {
	uint64_t used;
	uint64_t live[STRATA_CLASSES_MAX];
	uint64_t free[STRATA_CLASSES_MAX], grown[STRATA_CLASSES_MAX];
};

static uint64_t
retired(void)
{
	return strata__retired_bytes(&store->space);
}

static void
usage_take(struct usage *ret)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};

	memset(ret, 0, sizeof(*ret));
	need(strata_stats(store, &stats) == 0, "stats");
	ret->used = stats.used;
	for (uint32_t i = 0; i < stats.nr_pools; i++) {
		ret->live[i] = stats.pools[i].live_blocks;
		ret->free[i] = stats.pools[i].free_blocks;
		ret->grown[i] = stats.pools[i].grown_blocks;
	}
}

/* Everything that was taken meanwhile is free again. */
static void
usage_compare(const struct usage *before, const struct usage *now)
{
	need(now->used == before->used, "used was %llu, is %llu",
	     (unsigned long long)before->used, (unsigned long long)now->used);
	for (uint32_t i = 0; i < STRATA_CLASSES_MAX; i++) {
		need(now->live[i] == before->live[i],
		     "class %u had %llu live blocks, has %llu", i,
		     (unsigned long long)before->live[i],
		     (unsigned long long)now->live[i]);
		need(now->free[i] ==
			     before->free[i] + now->grown[i] - before->grown[i],
		     "class %u: %llu blocks are free, %llu grew, %llu were", i,
		     (unsigned long long)now->free[i],
		     (unsigned long long)(now->grown[i] - before->grown[i]),
		     (unsigned long long)before->free[i]);
	}
}

/**** the reader ****/

/* Three sections of two versions, one of them nested; checks them when it is
 * told to, until it is killed in them. */
static void
read_until_killed(struct proc *parent, void *arg)
{
	struct strata_reader *readers[3];
	struct strata_store *mine;

	need(strata_attach(arg, STRATA_READ, &mine) == 0, "attach");
	for (int i = 0; i < 3; i++)
		need(strata_reader_open(mine, &readers[i]) == 0, "open");
	need(strata_read_lock(readers[0]) == 0, "lock");
	need(strata_read_lock(readers[1]) == 0, "lock");
	need(strata_read_lock(readers[1]) == 0, "lock again");
	proc_say(parent, 'a');
	proc_hear(parent, 'b');
	need(strata_read_lock(readers[2]) == 0, "lock");
	for (;;) {
		for (int i = 0; i < 3; i++)
			pattern_look(readers[i], &set);
		proc_say(parent, 'v');
		proc_hear(parent, 'v');
	}
}

/**** the test ****/

/* Commits of one layer, until one has reclaimed all that is retired. */
static unsigned
commit_until_clean(void)
{
	for (unsigned i = 1; i <= 2 * RECLAIM_COMMITS; i++) {
		commit_one();
		if (retired() == 0)
			return i;
	}
	return 0;
}

static void
one_round(const char *name, unsigned round)
{
	uint64_t snapshot = (uint64_t)DIMENSIONS * LAYERS * SIZE;
	struct strata_gc_report report;
	struct usage before, after;
	struct proc reader;
	unsigned commits;

	need(strata_gc(store, &report) == 0 && report.retained == 0, "gc");
	usage_take(&before);
	proc_start(&reader, read_until_killed, (void *)name);
	proc_hear(&reader, 'a');
	commit_all();
	proc_say(&reader, 'b');
	proc_hear(&reader, 'v');
	commit_all();
	for (unsigned i = 0; i < 2 * RECLAIM_COMMITS; i++)
		commit_one();
	proc_say(&reader, 'v');
	proc_hear(&reader, 'v');
	need(retired() >= 2 * snapshot,
	     "two pinned snapshots of %llu bytes keep only %llu",
	     (unsigned long long)snapshot, (unsigned long long)retired());
	proc_kill(&reader);
	commits = commit_until_clean();
	need(commits != 0,
	     "%d commits reclaimed not all a dead reader kept: "
	     "%llu bytes are left",
	     2 * RECLAIM_COMMITS, (unsigned long long)retired());
	usage_take(&after);
	usage_compare(&before, &after);
	if (round == 0)
		printf("a reader killed in three sections of two versions: all "
		       "that it kept was reclaimed by commit %u after its "
		       "death; %llu bytes are in use, as before\n",
		       commits, (unsigned long long)after.used);
}

int
main(void)
{
	struct strata_config config = {.limit = 64 << 20};
	unsigned rounds = test_length() == TEST_LONG ? 200 : 5;
	struct strata_verify_report report;
	char name[STRATA_STORE_NAME_MAX + 1];

	shm_begin();
	strcpy(name, store_name("killed"));
	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	commit_all();
	for (unsigned round = 0; round < rounds; round++)
		one_round(name, round);
	need(strata_verify(store, 0, NULL, NULL, &report) == 0, "verify");
	need(report.errors == 0, "%s", report.first);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
	shm_end();
	printf("%u readers killed; verify found nothing wrong\n", rounds);
	return 0;
}
