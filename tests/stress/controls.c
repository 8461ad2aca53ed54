/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Shows that the snapshot test can fail: with a safeguard left out it must. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proc.h"
#include "snapshot.h"
#include "testpoint.h"

/*
 * All runs are the same but for what is left out: a small store whose writer
 * reclaims after every commit, and readers that often dawdle between reading
 * the version and pinning it. Left whole, no run may show anything; with either
 * safeguard left out each must, by a violation or by a reader's death, which
 * ends the run at once.
 */
#define NR_RUNS    10u
#define NR_READERS 3u
#define NR_LAYERS  4u
/* What is broken shows itself long before, and then the run is over. */
#define BROKEN_NS (UINT64_C(30) * 1000 * 1000 * 1000)

struct control {
	const char *name;
	unsigned broken;
	unsigned nr_expected; /* runs that show something */
};

static const struct control controls[] = {
	{"whole", 0, 0},
	{"reclaim one version too early", STRATA_EAGER_RECLAIM, NR_RUNS},
	{"no validation in the lock", STRATA_NO_VALIDATION, NR_RUNS},
};

struct run {
	struct snapshot_board *board;
	struct snapshot_options options;
	unsigned index;
};

static struct strata_store *watched; /* of this reader, for the hook */
static uint64_t hook_random;
static struct snapshot_board *board_of_fault;

/* Every other time, lets the writer commit: once, or some more times. */
static void
dawdle(const char *name)
{
	uint64_t random, version;

	if (strcmp(name, "reader.lock.version-read") != 0 || watched == NULL)
		return;
	random = test_random(&hook_random);
	version = strata_version(watched) + (random >> 8) % 4 + 1;
	for (unsigned i = 0;
	     random % 2 == 0 && i < 1000 && strata_version(watched) < version;
	     i++)
		sched_yield();
}

/* The rest need not go on; then the fault comes again, and is deadly. */
static void
fault(int number)
{
	(void)number;
	atomic_store_explicit(&board_of_fault->stop, 1, memory_order_relaxed);
}

/* A reader that follows poison may die of it, or go round for ever. */
static void
expect_death(const struct run *run)
{
	static const struct rlimit no_core = {0, 0};
	struct sigaction action = {.sa_handler = fault,
				   .sa_flags = (int)SA_RESETHAND};

	board_of_fault = run->board;
	setrlimit(RLIMIT_CORE, &no_core);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	/* Nothing follows poison where nothing is broken: then only a machine
	 * that is busy makes it last. */
	alarm((unsigned)(run->options.length_ns / 1000000000) +
	      (strata__broken == 0 ? 120 : 5));
}

static void
reader_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	uint64_t seed = run->options.seed + 1 + run->index;

	(void)parent;
	expect_death(run);
	need(strata_attach(run->options.store, STRATA_READ, &watched) == 0,
	     "attach");
	hook_random = seed;
	strata__testpoint = dawdle;
	/* What it saw is on the board. */
	(void)snapshot_read(watched, run->board, &run->options, seed);
}

static void
writer_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	struct strata_store *store;

	(void)parent;
	need(strata_attach(run->options.store, STRATA_WRITE, &store) == 0,
	     "attach");
	need(snapshot_write(store, run->board, &run->options), "%s",
	     run->board->first);
}

/* Of what following poison leads to, and of nothing else. */
static bool
is_death(int status)
{
	bool dead = status == 128 + SIGSEGV || status == 128 + SIGBUS ||
		    status == 128 + SIGALRM;

	need(dead || status == 0, "a reader left with %d", status);
	if (dead)
		printf("\ta reader died of signal %d\n", status - 128);
	return dead;
}

/* Did a reader see what it may not, or die of it? */
static bool
run_shows(struct run *run)
{
	struct proc readers[NR_READERS], writer;
	bool dead = false;
	int status;

	for (run->index = 0; run->index < NR_READERS; run->index++)
		proc_start(&readers[run->index], reader_main, run);
	proc_start(&writer, writer_main, run);
	proc_join(&writer);
	for (unsigned i = 0; i < NR_READERS; i++) {
		status = proc_wait(&readers[i]);
		dead |= is_death(status);
	}
	return dead || run->board->violations != 0;
}

static bool
run_once(const struct control *control, const char *folder, uint64_t seed)
{
	const struct strata_config config = {.struct_size = sizeof(config),
					     .limit = UINT64_C(16) << 20,
					     .readers = 16};
	struct run run = {
		.board = snapshot_board_new(),
		.options = {.store = store_name("controls"),
			    .folder = folder,
			    .seed = seed,
			    .length_ns = control->broken == 0 ?
				    snapshot_length_ns(0.5, 1, 10) :
				    BROKEN_NS,
			    .section_ns = 2 * 1000 * 1000,
			    .nr_layers = NR_LAYERS,
			    .gc_always = true,
			    .yields = true},
	};
	bool shows;

	need(strata_create(run.options.store, &config) == 0, "create");
	strata__broken = control->broken;
	shows = run_shows(&run);
	strata__broken = 0;
	need(strata_destroy(run.options.store) == 0, "destroy");
	if (shows)
		printf("\t%s: %s\n", control->name,
		       run.board->violations != 0 ? run.board->first
						  : "a reader died");
	snapshot_board_free(run.board);
	return shows;
}

static bool
holds(const struct control *control, const char *folder, uint64_t *seed)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_RUNS; i++)
		nr += run_once(control, folder, test_random(seed));
	printf("%-30s %2u of %u runs failed, %u expected: %s\n", control->name,
	       nr, NR_RUNS, control->nr_expected,
	       nr == control->nr_expected ? "right" : "WRONG");
	return nr == control->nr_expected;
}

int
main(void)
{
	const char *folder;
	bool right = true;
	uint64_t seed;

	if (test_is_sanitized()) {
		puts("skipped: a sanitizer would report what this breaks on "
		     "purpose; the plain build runs it");
		return 77;
	}
	folder = shm_begin();
	seed = test_seed();
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++)
		right &= holds(&controls[i], folder, &seed);
	shm_end();
	return right ? 0 : 1;
}
