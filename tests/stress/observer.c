/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Observers get on beside a writer that never stops, and see no torn content. */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "content.h"
#include "proc.h"
#include "snapshot.h"
#include "testpoint.h"

/*
 * The writer replaces everything in each commit, and reclaims after each: so
 * what an observer copies is given back, and used again, as soon as may be.
 * There is not one reader. The writer goes on until the observers have what they
 * came for; its time limit is for a run in which they never get it.
 *
 * The controls are the same with a writer that gets in between the copies of a
 * call, every other time. With the check behind the copies left out, each run
 * must show it.
 */
#define NR_OBSERVERS 3u
#define NR_RUNS      5u
#define LIMIT_NS     (UINT64_C(300) * 1000 * 1000 * 1000)

struct run {
	struct snapshot_board *board;
	struct snapshot_options options;
	uint64_t nr_copies;   /* of each observer */
	uint64_t nr_versions; /* of all together */
	unsigned index;
	unsigned broken;
	bool dawdles;
};

static struct strata_store *watched; /* for the hook */
static uint64_t hook_random;

/* Lets the writer commit: once, or some more times. */
static void
dawdle(const char *name)
{
	uint64_t random, version;

	if (strcmp(name, "observe.copied") != 0 || watched == NULL)
		return;
	random = test_random(&hook_random);
	version = strata_version(watched) + (random >> 8) % 4 + 1;
	for (unsigned i = 0;
	     random % 2 == 0 && i < 1000 && strata_version(watched) < version;
	     i++)
		sched_yield();
}

static void
observer_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	uint64_t seed = run->options.seed + 1 + run->index;

	(void)parent;
	need(strata_attach(run->options.store, STRATA_OBSERVE, &watched) == 0,
	     "attach");
	hook_random = seed;
	if (run->dawdles)
		strata__testpoint = dawdle;
	strata__broken = run->broken;
	/* What it saw is on the board. */
	(void)snapshot_observe(watched, run->board, &run->options, seed,
			       run->nr_copies, run->nr_versions);
	strata__testpoint = NULL;
	need(strata_detach(watched) == 0, "detach");
}

static void
writer_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	struct strata_store *store;

	(void)parent;
	need(strata_attach(run->options.store, STRATA_WRITE, &store) == 0,
	     "attach");
	need(snapshot_write(store, run->board, &run->options), "writer: %s",
	     run->board->first);
	need(strata_detach(store) == 0, "detach");
}

static void
run_all(struct run *run)
{
	struct proc observers[NR_OBSERVERS], writer;

	proc_start(&writer, writer_main, run);
	for (run->index = 0; run->index < NR_OBSERVERS; run->index++)
		proc_start(&observers[run->index], observer_main, run);
	for (unsigned i = 0; i < NR_OBSERVERS; i++)
		proc_join(&observers[i]);
	atomic_store_explicit(&run->board->stop, 1, memory_order_relaxed);
	proc_join(&writer);
}

static void
run_begin(struct run *run, const char *folder, uint64_t seed)
{
	memset(run, 0, sizeof(*run));
	run->board = snapshot_board_new();
	run->options.store = store_name("observer");
	run->options.folder = folder;
	run->options.seed = seed;
	run->options.length_ns = LIMIT_NS;
	run->options.nr_layers = CONTENT_LAYERS;
	run->options.gc_always = true;
	snapshot_create(run->options.store);
}

static void
run_end(struct run *run)
{
	snapshot_destroy(&run->options);
	snapshot_board_free(run->board);
}

static void
progress(const char *folder, uint64_t seed)
{
	struct run run;
	struct snapshot_board *board;

	run_begin(&run, folder, seed);
	board = run.board;
	run.options.regions = true;
	run.nr_copies = test_length() == TEST_LONG ? 200000 : 2000;
	run.nr_versions = test_length() == TEST_LONG  ? 2000 :
			  test_length() == TEST_SHORT ? 5 :
							20;
	run_all(&run);
	printf("%" PRIu64 " copies, %" PRIu64 " given up, of %" PRIu64
	       " versions; %" PRIu64 " commits meanwhile, %" PRIu64
	       " crystallised\n",
	       board->copies, board->busy, board->versions, board->commits,
	       board->crystallized);
	need(board->violations == 0 && board->failures == 0,
	     "%" PRIu64 " violations; the first: %s", board->violations,
	     board->first);
	need(board->copies >= NR_OBSERVERS * run.nr_copies &&
		     board->versions >= run.nr_versions,
	     "in %" PRIu64 " s expected %" PRIu64 " copies of %" PRIu64
	     " versions",
	     LIMIT_NS / 1000000000, NR_OBSERVERS * run.nr_copies,
	     run.nr_versions);
	need(board->busy <= board->copies / 4,
	     "observers gave up %" PRIu64 " times", board->busy);
	run_end(&run);
}

/* How many runs show something? */
static unsigned
control(const char *folder, uint64_t *seed, unsigned broken)
{
	struct run run;
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_RUNS; i++) {
		run_begin(&run, folder, test_random(seed));
		run.options.nr_layers = 4;
		run.nr_copies = broken == 0 ? 20 : 100000;
		run.broken = broken;
		run.dawdles = true;
		run_all(&run);
		need(run.board->failures == 0, "%s", run.board->first);
		nr += run.board->violations != 0;
		if (run.board->violations != 0)
			printf("\t%s\n", run.board->first);
		run_end(&run);
	}
	return nr;
}

int
main(void)
{
	const char *folder = shm_begin();
	uint64_t seed = test_seed();
	unsigned nr;

	progress(folder, seed);
	nr = control(folder, &seed, 0);
	need(nr == 0, "%u runs of a whole library show something", nr);
	nr = control(folder, &seed, STRATA_NO_RECHECK);
	need(nr == NR_RUNS,
	     "only %u of %u runs without the check show anything", nr, NR_RUNS);
	shm_end();
	return 0;
}
