/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* One name, raced for: never two stores under it, and nothing is left. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pattern.h"
#include "points.h"
#include "proc.h"

/*
 * Racers create, write, read, destroy, sweep, and remove the catalog by hand, in
 * an order that chance gives; most are killed at a random passage of one of the
 * library's points, and replaced. Nobody commits into a store after its name was
 * taken away; sections see the same from beginning to end; and when all racers
 * have ended, destroy and a sweep leave nothing.
 */

#define RACERS	   5
#define DIMENSIONS 2
#define LAYERS	   4
#define SIZE	   2000

static const struct pattern_set set = {DIMENSIONS, LAYERS, SIZE};
static char name[STRATA_STORE_NAME_MAX + 1];
static char catalog[256];
static uint64_t seed;

struct board {
	struct points points; /* that racers pass */
	_Atomic uint64_t numbers; /* given out, one for each commit */
	_Atomic uint64_t created, destroyed, removed, commits, sections, gone;
	_Atomic uint64_t swept;
};
static struct board *board;

/* What the library may say to a racer. */
static bool
is_expected(int code)
{
	return code == 0 || code == STRATA_EEXIST || code == STRATA_ENOSTORE ||
		code == STRATA_EGONE;
}

static void
expect(int code, const char *what)
{
	need(is_expected(code), "%s: %d", what, code);
}

/**** what racers do ****/

static void
race_create(void)
{
	struct strata_config config = {.limit = 8 << 20};
	int code = strata_create(name, &config);

	expect(code, "create");
	if (code == 0)
		atomic_fetch_add(&board->created, 1);
}

static void
race_destroy(void)
{
	int code = strata_destroy(name);

	expect(code, "destroy");
	if (code == 0)
		atomic_fetch_add(&board->destroyed, 1);
}

static void
race_remove(void)
{
	if (unlink(catalog) == 0)
		atomic_fetch_add(&board->removed, 1);
	else
		need(errno == ENOENT, "unlink: %s", strerror(errno));
}

static int
count_swept(const struct strata_orphan *orphan, void *arg)
{
	(void)arg;
	need(orphan->status == 0 || orphan->status == STRATA_EBUSY,
	     "an orphan with %d: %s", orphan->status, orphan->why);
	if (orphan->status == 0)
		atomic_fetch_add(&board->swept, 1);
	return 0;
}

static void
race_sweep(void)
{
	need(strata_orphans(/* remove= */ 1, count_swept, NULL) == 0, "sweep");
}

/* A section sees all of one commit, or the store before its first one. Then the
 * same once more, after whatever happened to the store meanwhile. */
static void
look(struct strata_reader *reader)
{
	uint64_t first, again;

	if (strata_reader_version(reader) < 2)
		return;
	first = pattern_look(reader, &set);
	race_sweep();
	again = pattern_look(reader, &set);
	need(first == again, "a section saw %" PRIu64 ", then %" PRIu64, first,
	     again);
	atomic_fetch_add(&board->sections, 1);
}

static void
race_read(uint64_t *random)
{
	struct strata_reader *reader;
	struct strata_store *store;
	int code = strata_attach(name, STRATA_READ, &store);

	expect(code, "attach");
	if (code != 0)
		return;
	code = strata_reader_open(store, &reader);
	expect(code, "open");
	for (unsigned i = 0; code == 0 && i < 4; i++) {
		code = strata_read_lock(reader);
		expect(code, "lock");
		if (code != 0)
			break;
		if (test_random(random) % 4 == 0)
			race_remove();
		look(reader);
		need(strata_read_unlock(reader) == 0, "unlock");
	}
	if (code == STRATA_EGONE)
		atomic_fetch_add(&board->gone, 1);
	need(strata_detach(store) == 0, "detach");
}

static int
commit(struct strata_store *store, uint64_t number)
{
	struct pattern pattern = {0, 0, number, LAYERS};
	char data[SIZE];
	struct strata_txn *txn;
	int code = strata_txn_begin(store, &txn);

	expect(code, "begin");
	if (code != 0)
		return code;
	for (pattern.dimension = 1; pattern.dimension <= DIMENSIONS;
	     pattern.dimension++)
		for (pattern.layer = 0; pattern.layer < LAYERS;
		     pattern.layer++) {
			pattern_fill(data, SIZE, &pattern);
			need(strata_put(txn, pattern.dimension, pattern.layer,
					NULL, data, SIZE, 0) == 0,
			     "put");
		}
	code = strata_txn_commit(txn, NULL);
	expect(code, "commit");
	if (code != 0)
		strata_txn_abort(txn);
	else
		atomic_fetch_add(&board->commits, 1);
	return code;
}

/* Commits until the store is gone; which it is once the name was taken away,
 * whosever it was by then. */
static void
race_write(uint64_t *random)
{
	struct strata_store *store;
	bool removed = false;
	int code = strata_attach(name, STRATA_WRITE, &store);

	expect(code, "attach for writing");
	if (code != 0)
		return;
	for (unsigned i = 0; code == 0 && i < 4; i++) {
		if (test_random(random) % 4 == 0) {
			race_remove();
			if (test_random(random) % 2 == 0)
				race_create();
			removed = true;
		}
		code = commit(store, atomic_fetch_add(&board->numbers, 1) + 1);
		need(code != 0 || !removed,
		     "a commit into a store whose catalog was removed before");
	}
	if (code == STRATA_EGONE)
		atomic_fetch_add(&board->gone, 1);
	need(strata_detach(store) == 0, "detach");
}

static void
race_step(uint64_t *random)
{
	switch (test_random(random) % 8) {
	case 0:
	case 1:
		race_create();
		break;
	case 2:
		race_destroy();
		break;
	case 3:
		race_remove();
		break;
	case 4:
	case 5:
		race_read(random);
		break;
	case 6:
		race_write(random);
		break;
	default:
		race_sweep();
	}
}

struct racer {
	uint64_t random;
	const char *point; /* to die at; NULL: none */
	unsigned passage, steps;
};

static void
run_racer(struct proc *parent, void *arg)
{
	struct racer *racer = arg;

	(void)parent;
	if (racer->point != NULL)
		points_die_at(racer->point, racer->passage);
	for (unsigned i = 0; i < racer->steps; i++)
		race_step(&racer->random);
}

/**** all of them ****/

/* The points that one racer passes who is alone. */
static void
run_counted(struct proc *parent, void *arg)
{
	points_count(&board->points);
	run_racer(parent, arg);
}

static void
racer_start(struct proc *proc, uint64_t *random)
{
	struct racer racer = {.random = test_random(random), .steps = 12};
	const struct point *point;

	if (test_random(random) % 4 != 0) {
		point = &board->points.points[test_random(random) %
					      board->points.nr];
		racer.point = point->name;
		racer.passage = 1 + (unsigned)(test_random(random) % 4);
	}
	proc_start(proc, run_racer, &racer);
}

static void
racer_end(struct proc *proc, unsigned *nr_killed)
{
	int status = proc_wait(proc);

	need(status == 0 || status == 128 + SIGKILL, "a racer ended with %d",
	     status);
	*nr_killed += status != 0;
}

/* Nobody is left: whatever is in the folder, destroy and gc remove. */
static void
expect_nothing_left(void)
{
	unsigned nr;

	expect(strata_destroy(name), "last destroy");
	race_sweep();
	(void)shm_bytes(&nr);
	need(nr == 0, "%u files are left", nr);
}

/* Several at a time, each replaced when it ends; then they all end. */
static unsigned
race(unsigned nr_rounds)
{
	struct proc procs[RACERS];
	unsigned nr_killed = 0;
	uint64_t random = seed;

	for (unsigned round = 0; round < nr_rounds; round++) {
		for (unsigned i = 0; i < RACERS; i++)
			racer_start(&procs[i], &random);
		for (unsigned i = 0; i < 2 * RACERS; i++) {
			racer_end(&procs[i % RACERS], &nr_killed);
			racer_start(&procs[i % RACERS], &random);
		}
		for (unsigned i = 0; i < RACERS; i++)
			racer_end(&procs[i], &nr_killed);
		expect_nothing_left();
	}
	return nr_killed;
}

/* Was it killed? */
static bool
one_point(const char *point)
{
	struct racer racer = {.random = seed,
			      .point = point,
			      .passage = 1,
			      .steps = 150};
	struct proc proc;
	int status;

	proc_start(&proc, run_racer, &racer);
	status = proc_wait(&proc);
	need(status == 0 || status == 128 + SIGKILL, "at '%s': ended with %d",
	     point, status);
	expect_nothing_left();
	return status != 0;
}

/* Killed at each point in turn, with nobody else there. Some few are passed only
 * when the clock has gone on since the last time. */
static unsigned
each_point(void)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < board->points.nr; i++)
		nr += one_point(board->points.points[i].name);
	need(nr > 0 && board->points.nr - nr <= board->points.nr / 20,
	     "killed at %u of %u points", nr, board->points.nr);
	return nr;
}

int
main(void)
{
	static const unsigned lengths[] = {3, 30, 1000};
	struct racer counted = {.steps = 150};
	struct proc proc;
	unsigned nr;

	setbuf(stdout, NULL);
	snprintf(catalog, sizeof(catalog), "%s/", shm_begin());
	strcpy(name, store_name("names"));
	snprintf(catalog + strlen(catalog), sizeof(catalog) - strlen(catalog),
		 "strata.%s", name);
	board = proc_shared(sizeof(*board));
	seed = test_seed();
	counted.random = seed;
	proc_start(&proc, run_counted, &counted);
	proc_join(&proc);
	expect_nothing_left();
	nr = each_point();
	printf("killed at each of %u points: destroy and gc left nothing\n",
	       nr);
	nr = race(lengths[test_length()]);
	printf("%u racers for one name, %u of them killed: %" PRIu64
	       " stores made, %" PRIu64 " destroyed, %" PRIu64
	       " removed by hand, %" PRIu64 " swept, %" PRIu64
	       " commits, %" PRIu64 " sections, %" PRIu64
	       " times gone; nothing left\n",
	       3 * RACERS * lengths[test_length()], nr, board->created, board->destroyed,
	       board->removed, board->swept, board->commits, board->sections,
	       board->gone);
	shm_end();
	return 0;
}
