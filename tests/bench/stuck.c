/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What a reader that was killed, or stopped, inside of a section costs those
 * who commit: memory, and time. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "proc.h"

/*
 * Commits of 16 KiB over all layers, in rounds of three: with no reader, with
 * one that was killed in its section, with one that was stopped in it. The
 * snapshot is what the stopped one holds: all that there was when it began. What
 * only waits for the next reclaim depends on where in its round the last commit
 * was: the most at any time is told, and what a reader keeps is what a gc leaves.
 */

#define SIZE ((size_t)16 << 10)

enum what { ALONE, KILLED, STOPPED, NR_WHATS };
static const char *const names[NR_WHATS] = {"no reader", "killed reader",
					    "stopped reader"};

static struct contents contents;
static struct strata_store *store;
static char *data;
static double *times;
static unsigned nr_commits;

static double p50[NR_WHATS][BENCH_REPETITIONS_MAX];
static double p99[NR_WHATS][BENCH_REPETITIONS_MAX];
static double longest[NR_WHATS][BENCH_REPETITIONS_MAX];
static double grown[NR_WHATS][BENCH_REPETITIONS_MAX]; /* MiB, after a gc */
static double highest[NR_WHATS][BENCH_REPETITIONS_MAX]; /* MiB, at any time */

static void
reader_run(struct proc *parent, void *arg)
{
	(void)arg;
	peer_strata.open();
	need(strata_read_lock(peer_strata_reader()) == 0, "lock");
	proc_say(parent, 'l');
	proc_hear(parent, 'u');
	need(strata_read_unlock(peer_strata_reader()) == 0, "unlock");
	peer_strata.close();
}

static double
used_mib(void)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};

	need(strata_stats(store, &stats) == 0, "stats");
	return (double)stats.used / (1 << 20);
}

/* What a gc leaves. */
static double
kept_mib(void)
{
	need(strata_gc(store, &(struct strata_gc_report){0}) == 0, "gc");
	return used_mib();
}

static void
commits(unsigned what, unsigned repetition)
{
	struct strata_writer *writer;
	double before = kept_mib(), most = 0;

	need(strata_writer_open(store, &writer) == 0, "session");
	for (unsigned i = 0; i < nr_commits; i++) {
		uint32_t index = (uint32_t)contents.order[i % PEER_TOTAL].index;
		uint64_t start = bench_now_ns();

		memcpy(data, &i, sizeof(i));
		bench_put(store, index / PEER_LAYERS + 1, index % PEER_LAYERS,
			  data, SIZE);
		times[i] = (double)(bench_now_ns() - start);
		/* Sees all phases of a round, and is seldom. */
		if (i % 61 == 0 && used_mib() > most)
			most = used_mib();
	}
	highest[what][repetition] = most - before;
	need(strata_writer_close(writer) == 0, "session");
	grown[what][repetition] = kept_mib() - before;
	p50[what][repetition] = bench_quantile(times, nr_commits, 0.50);
	p99[what][repetition] = bench_quantile(times, nr_commits, 0.99);
	longest[what][repetition] = bench_quantile(times, nr_commits, 1.00);
}

static void
one(unsigned what, unsigned repetition)
{
	struct proc reader;

	if (what != ALONE) {
		proc_start(&reader, reader_run, NULL);
		proc_hear(&reader, 'l');
	}
	if (what == KILLED)
		proc_kill(&reader);
	else if (what == STOPPED)
		proc_stop(&reader);
	commits(what, repetition);
	if (what != STOPPED)
		return;
	proc_continue(&reader);
	proc_say(&reader, 'u');
	proc_join(&reader);
}

static void
print(const struct bench *bench)
{
	double snapshot = (double)contents.bytes / (1 << 20);

	bench_table("what\tp50 ns\tleast\tmost\tp50 / no reader\tp99 ns\t"
		    "max ns\tused grows by MiB\tmost MiB\tat any time MiB\t"
		    "snapshot MiB",
		    "%u commits of 16 KiB beside a stuck reader", nr_commits);
	for (unsigned what = 0; what < NR_WHATS; what++) {
		unsigned nr = bench->repetitions;
		struct bench_figure half = bench_figure(p50[what], nr);
		struct bench_figure more = bench_figure(grown[what], nr);

		bench_row("%s\t%.0f\t%.0f\t%.0f\t%.3g\t%.0f\t%.0f\t%.2f\t%.2f\t"
			  "%.2f\t%.2f",
			  names[what], half.median, half.min, half.max,
			  bench_quotient(bench, p50[what], p50[ALONE]).median,
			  bench_figure(p99[what], nr).median,
			  bench_figure(longest[what], nr).median, more.median,
			  more.max, bench_figure(highest[what], nr).max,
			  what == STOPPED ? snapshot : 0);
	}
	for (unsigned what = KILLED; what < NR_WHATS; what++) {
		struct bench_figure more =
			bench_figure(grown[what], bench->repetitions);
		double kept = what == STOPPED ? snapshot : 0;
		char text[80];

		snprintf(text, sizeof(text), "%s: used above the snapshot, MiB",
			 names[what]);
		/* The most counts here, not the median. */
		more.median = more.max - kept;
		more.min -= kept;
		more.max -= kept;
		bench_at_most(text, more, 1);
		snprintf(text, sizeof(text), "%s: commit p50 / no reader",
			 names[what]);
		bench_at_most(text,
			      bench_quotient(bench, p50[what], p50[ALONE]),
			      1.2);
	}
}

int
main(int argc, char **argv)
{
	struct bench bench;

	bench_begin(&bench, argc, argv,
		    "stuck: killed and stopped readers beside a writer");
	if (!bench.quick && bench.repetitions > 11)
		bench.repetitions = 11;
	nr_commits = bench.quick ? 10000 : 100000;
	bench_note(
		"LMDB is left out: beside such a reader it grows until it is "
		"full");
	contents_init(&contents, &bench, SIZE, true);
	data = malloc(SIZE);
	times = calloc(nr_commits, sizeof(*times));
	need(data != NULL && times != NULL, "memory");
	memset(data, 's', SIZE);
	need(peer_strata.setup(&contents), "set-up");
	store = peer_strata_store();
	bench_pin(0);
	one(ALONE, 0);
	for (unsigned i = 0; i < bench.repetitions; i++)
		for (unsigned what = 0; what < NR_WHATS; what++)
			one(what, i);
	print(&bench);
	free(data);
	free(times);
	peer_strata.remove();
	contents_fini(&contents);
	bench_end();
	return 0;
}
