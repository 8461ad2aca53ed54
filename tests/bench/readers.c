/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* How many lookups 1 to 200 reader processes make together. */
#include <stdio.h>
#include <string.h>

#include "crew.h"
#include "peer.h"
#include "proc.h"

static const unsigned counts[] = {1, 2, 10, 100, 200};
#define NR_COUNTS (sizeof(counts) / sizeof(*counts))
#define TWO       1
#define MOST      (NR_COUNTS - 1)

struct column {
	const struct peer *peer;
	unsigned nr;
};

static const struct bench *run;
static struct crew crew;

/* Lookups of all in a while, per us. */
static double
column_run(void *arg)
{
	const struct column *column = arg;
	uint64_t before, start, done;
	double ns;

	crew_go(&crew, column->peer, column->nr);
	before = crew_done(&crew, column->nr);
	start = bench_now_ns();
	bench_wait_ms(run->quick ? 30 : 300);
	done = crew_done(&crew, column->nr) - before;
	ns = (double)(bench_now_ns() - start);
	crew_halt(&crew, column->nr);
	return (double)done * 1e3 / ns;
}

static void
measure(const struct peer **peers, unsigned nr_peers)
{
	static struct bench_column shown[NR_COUNTS][PEERS_MAX];
	static struct column columns[NR_COUNTS][PEERS_MAX];
	char title[80];

	for (unsigned c = 0; c < NR_COUNTS; c++) {
		for (unsigned i = 0; i < nr_peers; i++) {
			columns[c][i] = (struct column){peers[i], counts[c]};
			shown[c][i] =
				(struct bench_column){.name = peers[i]->name,
						      .run = column_run,
						      .arg = &columns[c][i]};
		}
	}
	/* All counts of a peer in one repetition: they are compared, too. */
	for (unsigned r = 0; r < run->repetitions; r++)
		for (unsigned c = 0; c < NR_COUNTS; c++)
			for (unsigned i = 0; i < nr_peers; i++)
				shown[c][i].values[r] =
					column_run(&columns[c][i]);
	for (unsigned c = 0; c < NR_COUNTS; c++) {
		snprintf(title, sizeof(title), "%u reader processes",
			 counts[c]);
		bench_print(run, title, "lookups/us", shown[c], nr_peers, 0);
	}
	bench_table("what\tmedian\tleast\tmost", "200 readers / 2 readers");
	for (unsigned i = 0; i < nr_peers; i++) {
		struct bench_figure figure =
			bench_ratio(run, &shown[MOST][i], &shown[TWO][i]);

		bench_row("%s\t%.3g\t%.3g\t%.3g", peers[i]->name, figure.median,
			  figure.min, figure.max);
	}
	bench_at_least("200 reader processes / 2, aggregate",
		       bench_ratio(run, &shown[MOST][0], &shown[TWO][0]), 0.97);
}

int
main(int argc, char **argv)
{
	static struct contents contents;
	const struct peer *peers[PEERS_MAX];
	unsigned nr, nr_left = 0;
	struct bench bench;

	bench_begin(&bench, argc, argv, "readers: 1 to 200 processes");
	run = &bench;
	bench_note("%d dimensions of %d layers of 16 KiB; the system chooses "
		   "the CPU of all but the first",
		   PEER_DIMENSIONS, PEER_LAYERS);
	contents_init(&contents, &bench, 16 << 10, false);
	nr = peers_setup(peers, &contents);
	for (unsigned i = 0; i < nr; i++)
		if (!peers[i]->threads_only)
			peers[nr_left++] = peers[i];
	if (nr_left < nr)
		bench_note("liburcu's readers are threads of one process: left "
			   "out");
	/* Else their parent, who says when, waits for the CPU behind them. */
	crew_start(&crew, CREW_MAX, 10, peers, nr_left);
	measure(peers, nr_left);
	crew_end(&crew);
	peers_remove(peers, nr_left);
	contents_fini(&contents);
	bench_end();
	return 0;
}
