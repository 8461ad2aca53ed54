/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The time of a commit that replaces one layer while readers read, and what it
 * leaves them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crew.h"
#include "peer.h"
#include "proc.h"

/*
 * Each commit replaces one of 14 x 20 layers, in random order; of those of 1
 * MiB one of 20. Readers look layers up without a pause; one of them has a CPU
 * of its own, ten share it, and with the writer if they are many. Commits come
 * at a rate, or as fast as they can, and each is timed by itself: the clock's
 * own time is in all columns.
 */

#define SAMPLES_MAX 400000
#define READERS     10
#define CELLS_MAX   16

enum pace { NO_WRITER, SLOW, FAST, CONTINUOUS, NR_PACES };
static const struct {
	const char *name;
	uint64_t interval_ns;
} paces[NR_PACES] = {{"none", 0},
		     {"1000/s", 1000000},
		     {"100000/s", 10000},
		     {"continuous", 0}};

/* A peer, and whether the lock is kept. */
struct cell {
	const struct peer *peer;
	const char *name;
	bool session;
	double p50[BENCH_REPETITIONS_MAX], p99[BENCH_REPETITIONS_MAX];
	double max[BENCH_REPETITIONS_MAX], rate[BENCH_REPETITIONS_MAX];
	double lookups[BENCH_REPETITIONS_MAX];
	/* Of what was measured without a writer, in the same repetition. */
	double left[BENCH_REPETITIONS_MAX];
	double alone[BENCH_REPETITIONS_MAX];
};

static const struct bench *run;
static struct contents contents;
static struct crew crew;
static struct cell cells[CELLS_MAX];
static unsigned nr_cells;
static char *data;
static double times[SAMPLES_MAX];

static struct cell *
cell_of(const struct peer *peer, bool session)
{
	for (unsigned i = 0; i < nr_cells; i++)
		if (cells[i].peer == peer && cells[i].session == session)
			return &cells[i];
	return NULL;
}

static void
cells_make(const struct peer **peers, unsigned nr)
{
	memset(cells, 0, sizeof(cells));
	nr_cells = 0;
	for (unsigned i = 0; i < nr; i++) {
		if (peers[i]->publish == NULL || peers[i]->threads_only)
			continue;
		cells[nr_cells].peer = peers[i];
		cells[nr_cells].session = true;
		cells[nr_cells++].name = peers[i] == &peer_strata
						 ? "strata, session"
						 : peers[i]->name;
		if (peers[i] != &peer_strata)
			continue;
		cells[nr_cells].peer = peers[i];
		cells[nr_cells++].name = "strata, lock per commit";
	}
}

/**** one measurement ****/

/* Until due; sleeps if that is long, so that the readers get the CPU. */
static void
wait_until(uint64_t due)
{
	struct timespec at = {(time_t)(due / 1000000000),
			      (long)(due % 1000000000)};

	if (due > bench_now_ns() + 200000)
		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at,
				      NULL);
	while (bench_now_ns() < due)
		;
}

static size_t
write_for(const struct cell *cell, enum pace pace, uint64_t duration)
{
	uint64_t start = bench_now_ns(), end = start, due = start;
	size_t nr = 0;

	while (end - start < duration && nr < SAMPLES_MAX) {
		uint32_t index =
			(uint32_t)contents.order[nr % contents.nr_replaced]
				.index;

		due += paces[pace].interval_ns;
		if (paces[pace].interval_ns > 0)
			wait_until(due);
		/* Something new each time, behind the link. */
		memcpy(data + sizeof(struct link), &nr, sizeof(nr));
		end = bench_now_ns();
		times[nr] = (double)end;
		cell->peer->publish(index, data, contents.sizes[index]);
		end = bench_now_ns();
		times[nr] = (double)end - times[nr];
		nr++;
	}
	return nr;
}

static void
cell_run(struct cell *cell, enum pace pace, unsigned nr_readers,
	 unsigned repetition)
{
	uint64_t duration = (run->quick ? 20 : 200) * UINT64_C(1000000);
	uint64_t before, start;
	size_t nr = 0;
	double ns;

	crew_go(&crew, cell->peer, nr_readers);
	if (pace != NO_WRITER && cell->peer->write_open != NULL)
		cell->peer->write_open(cell->session);
	before = crew_done(&crew, nr_readers);
	start = bench_now_ns();
	if (pace == NO_WRITER)
		bench_wait_ms((unsigned)(duration / 1000000));
	else
		nr = write_for(cell, pace, duration);
	ns = (double)(bench_now_ns() - start);
	cell->lookups[repetition] =
		(double)(crew_done(&crew, nr_readers) - before) * 1e3 / ns;
	if (pace != NO_WRITER && cell->peer->write_close != NULL)
		cell->peer->write_close();
	crew_halt(&crew, nr_readers);
	if (pace == NO_WRITER) {
		cell->alone[repetition] = cell->lookups[repetition];
		return;
	}
	cell->left[repetition] =
		cell->lookups[repetition] / cell->alone[repetition];
	cell->rate[repetition] = (double)nr * 1e9 / ns;
	cell->p50[repetition] = bench_quantile(times, nr, 0.50);
	cell->p99[repetition] = bench_quantile(times, nr, 0.99);
	cell->max[repetition] = bench_quantile(times, nr, 1.00);
}

/* rwlock with ten readers that always read: its writer waits for ever. */
static bool
is_hopeless(const struct cell *cell, unsigned nr_readers)
{
	return cell->peer == &peer_rwlock && nr_readers > 1;
}

/**** tables and targets ****/

static void
print(enum pace pace, unsigned nr_readers)
{
	const struct cell *strata = &cells[0];

	bench_table("what\tcommits/s\tp50 ns\tleast\tmost\tp99 ns\tmax ns\t"
		    "strata p50 / this\tleast ratio\tmost ratio\tlookups/us\t"
		    "left of the readers",
		    "commits of %s, %s, %u reader%s", contents.what,
		    paces[pace].name, nr_readers, nr_readers == 1 ? "" : "s");
	for (unsigned i = 0; i < nr_cells; i++) {
		const struct cell *cell = &cells[i];
		struct bench_figure p50, ratio;

		if (is_hopeless(cell, nr_readers))
			continue;
		p50 = bench_figure(cell->p50, run->repetitions);
		ratio = bench_quotient(run, strata->p50, cell->p50);
		bench_row("%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.3g\t%.3g\t"
			  "%.3g\t%.4g\t%.3g",
			  cell->name,
			  bench_figure(cell->rate, run->repetitions).median,
			  p50.median, p50.min, p50.max,
			  bench_figure(cell->p99, run->repetitions).median,
			  bench_figure(cell->max, run->repetitions).median,
			  ratio.median, ratio.min, ratio.max,
			  bench_figure(cell->lookups, run->repetitions).median,
			  bench_figure(cell->left, run->repetitions).median);
	}
}

static void
targets_one_reader(enum pace pace)
{
	const struct cell *session = cell_of(&peer_strata, true);
	const struct cell *locking = cell_of(&peer_strata, false);
	const struct cell *raw = cell_of(&peer_raw, true);
	const struct cell *lmdb = cell_of(&peer_lmdb, true);
	char what[100];

	if (pace == SLOW || pace == FAST) {
		snprintf(
			what, sizeof(what),
			"readers left under 16 KiB commits at %s / raw publish",
			paces[pace].name);
		bench_at_least(what,
			       bench_quotient(run, session->left, raw->left),
			       0.97);
	}
	if (pace != CONTINUOUS || lmdb == NULL)
		return;
	bench_at_least("lookups/s under continuous 16 KiB commits / LMDB",
		       bench_quotient(run, session->lookups, lmdb->lookups), 2);
	bench_at_most("16 KiB commit p50, session / LMDB nosync writemap",
		      bench_quotient(run, session->p50, lmdb->p50), 0.3);
	bench_at_most("16 KiB commit p50, lock per commit / LMDB nosync "
		      "writemap",
		      bench_quotient(run, locking->p50, lmdb->p50), 0.35);
}

static void
targets(enum pace pace, unsigned nr_readers)
{
	const struct cell *session = cell_of(&peer_strata, true);
	const struct cell *lmdb = cell_of(&peer_lmdb, true);

	if (contents.largest >= 1 << 20) {
		if (pace == CONTINUOUS)
			bench_at_least(
				nr_readers == 1
					? "replace 1 MiB, rate / raw publish"
					: "replace 1 MiB, 10 readers, rate / "
					  "raw publish",
				bench_quotient(run, session->rate,
					       cell_of(&peer_raw, true)->rate),
				0.95);
	} else if (nr_readers == 1) {
		targets_one_reader(pace);
	} else if (lmdb != NULL && pace == CONTINUOUS) {
		bench_at_most("16 KiB commit p99, 10 readers / LMDB nosync "
			      "writemap",
			      bench_quotient(run, session->p99, lmdb->p99),
			      0.15);
	}
}

/* The first repetition is not counted: it is run again as the second. */
static void
measure(enum pace pace, unsigned nr_readers)
{
	for (unsigned i = 0; i <= run->repetitions; i++)
		for (unsigned c = 0; c < nr_cells; c++) {
			unsigned repetition = i == 0 ? 0 : i - 1;

			if (is_hopeless(&cells[c], nr_readers))
				continue;
			cell_run(&cells[c], NO_WRITER, nr_readers, repetition);
			cell_run(&cells[c], pace, nr_readers, repetition);
		}
	print(pace, nr_readers);
	targets(pace, nr_readers);
}

static void
size_run(size_t size)
{
	const struct peer *peers[PEERS_MAX];
	unsigned nr;

	contents_init(&contents, run, size, true);
	nr = peers_setup(peers, &contents);
	data = malloc(contents.largest);
	need(data != NULL, "memory");
	memcpy(data, contents.data[0], contents.largest);
	cells_make(peers, nr);
	crew_start(&crew, READERS, 0, peers, nr);
	bench_pin(0);
	measure(CONTINUOUS, 1);
	if (!run->quick || size < 1 << 20) {
		measure(SLOW, 1);
		measure(CONTINUOUS, READERS);
	}
	/* 100 000/s of 1 MiB is more than memory can do. */
	if (size < 1 << 20)
		measure(FAST, 1);
	crew_end(&crew);
	free(data);
	peers_remove(peers, nr);
	contents_fini(&contents);
}

static double
clock_time(void)
{
	uint64_t start = bench_now_ns();

	for (unsigned i = 0; i < 100000; i++)
		bench_use(bench_now_ns());
	return (double)(bench_now_ns() - start) / 100000;
}

int
main(int argc, char **argv)
{
	struct bench bench;

	bench_begin(&bench, argc, argv,
		    "commit: begin, put, commit, beside readers");
	run = &bench;
	bench_note("%d dimensions of %d layers; writer and first readers "
		   "pinned; each time has %.0f ns of the clock in it",
		   PEER_DIMENSIONS, PEER_LAYERS, clock_time());
	size_run(16 << 10);
	size_run(1 << 20);
	bench_end();
	return 0;
}
