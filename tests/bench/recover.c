/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What it takes the next writer when one was killed; and stores of very many
 * dimensions. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "proc.h"

/*
 * A writer that commits without a pause is killed. Whoever writes next finds the
 * store dirty, walks all that the current version reaches, and looks at the
 * record of every block: so its commit takes longer by the size of the store. A
 * process that was killed between two commits has left nothing to recover: that
 * is tried again.
 *
 * Layers of 64 bytes: in regions of 14 dimensions; and as protos of dimensions
 * of one layer each, of which 100 000 would be too many regions.
 */

#define CORE        14
#define SIZE        64
#define TRIES       1000u
#define PER_COMMIT  500u /* dimensions, while a store is made */
#define LIMIT       (UINT64_C(2) << 30)
#define MIB(n)      (UINT64_C(n) << 20)
#define NR_STORES   7

struct sized {
	uint32_t nr_layers, nr_dimensions;
	struct strata_store *store;
	struct strata_reader *reader;
	double metadata; /* bytes a layer, besides its content */
};

static struct sized sizes[NR_STORES] = {
	{.nr_layers = 280, .nr_dimensions = CORE},
	{.nr_layers = 10000, .nr_dimensions = CORE},
	{.nr_layers = 100000, .nr_dimensions = CORE},
	{.nr_layers = 1000000, .nr_dimensions = CORE},
	{.nr_layers = 14, .nr_dimensions = 14},
	{.nr_layers = 1000, .nr_dimensions = 1000},
	{.nr_layers = 100000, .nr_dimensions = 100000},
};

static char content[SIZE];
static uint64_t steps, nr_commits;

static bool
is_of_protos(const struct sized *sized)
{
	return sized->nr_layers == sized->nr_dimensions;
}

/**** set-up ****/

static struct strata_store *
store_make(const char *what)
{
	const struct strata_config config = {
		.struct_size = sizeof(config),
		.limit = LIMIT,
		.max_limit = LIMIT,
		.nr_pools = 3,
		.pools = {{4096, MIB(1200)},
			  {16384, MIB(4)},
			  {65536, MIB(4)}},
	};

	return bench_store_config(what, &config);
}

static void
fill_regions(const struct bench *bench, struct sized *sized)
{
	uint32_t nr = (sized->nr_layers + CORE - 1) / CORE;
	char *contents = calloc(nr, SIZE);

	need(contents != NULL, "memory");
	for (uint32_t d = 1; d <= CORE; d++)
		bench_load(bench, sized->store, d, contents, nr, SIZE);
	free(contents);
}

static void
fill_protos(struct sized *sized)
{
	struct strata_txn *txn = NULL;

	for (uint32_t d = 1; d <= sized->nr_dimensions; d++) {
		if (txn == NULL)
			need(strata_txn_begin(sized->store, &txn) == 0,
			     "begin");
		need(strata_put(txn, d, 0, NULL, content, SIZE, 0) == 0, "put");
		if (d % PER_COMMIT != 0 && d != sized->nr_dimensions)
			continue;
		need(strata_txn_commit(txn, NULL) == 0, "commit");
		txn = NULL;
	}
}

static void
store_fill(const struct bench *bench, struct sized *sized)
{
	char what[48];

	snprintf(what, sizeof(what), "recover.%" PRIu32 ".%" PRIu32,
		 sized->nr_dimensions, sized->nr_layers);
	sized->store = store_make(what);
	if (is_of_protos(sized))
		fill_protos(sized);
	else
		fill_regions(bench, sized);
	need(strata_reader_open(sized->store, &sized->reader) == 0, "reader");
	need(strata_gc(sized->store, NULL) == 0, "gc");
	sized->metadata = bench_metadata(sized->store, sized->nr_layers);
}

/**** the writer that dies ****/

static void
put_one(struct strata_store *store)
{
	bench_put(store, 1, 0, content, SIZE);
}

static void
victim(struct proc *parent, void *arg)
{
	const struct sized *sized = arg;
	struct strata_store *store;

	need(strata_attach(strata_name(sized->store), STRATA_WRITE, &store) ==
		     0,
	     "attach");
	put_one(store);
	proc_say(parent, 'w');
	for (;;)
		put_one(store);
}

static uint64_t
recoveries(const struct sized *sized)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};

	need(strata_stats(sized->store, &stats) == 0, "stats");
	return stats.recoveries;
}

/* The first commit after a writer's death, if that left anything behind. */
static double
recover(void *arg)
{
	struct sized *sized = arg;
	uint64_t before = recoveries(sized), start;
	struct proc writer;
	double ms;

	for (unsigned i = 0; i < TRIES; i++) {
		proc_start(&writer, victim, sized);
		proc_hear(&writer, 'w');
		proc_kill(&writer);
		start = bench_now_ns();
		put_one(sized->store);
		ms = (double)(bench_now_ns() - start) / 1e6;
		if (recoveries(sized) != before)
			return ms;
	}
	need(false, "none of %u writers died while it was writing", TRIES);
	return 0;
}

/**** the rest ****/

static double
per_step(uint64_t start, uint64_t nr)
{
	return (double)(bench_now_ns() - start) / (double)nr;
}

static double
commit(void *arg)
{
	const struct sized *sized = arg;
	struct strata_writer *writer;
	uint64_t start;
	double ns;

	need(strata_writer_open(sized->store, &writer) == 0, "session");
	start = bench_now_ns();
	for (uint64_t i = 0; i < nr_commits; i++)
		put_one(sized->store);
	ns = per_step(start, nr_commits);
	need(strata_writer_close(writer) == 0, "session");
	return ns;
}

/* Those that the smallest store has, too. */
static double
lookup(void *arg)
{
	const struct sized *sized = arg;
	uint64_t start = bench_now_ns(), sum = 0;
	size_t size;

	for (uint64_t i = 0; i < steps; i++) {
		uint32_t dimension = 1 + (uint32_t)(i + sum) % CORE;

		if (strata_read_lock(sized->reader) != 0)
			need(false, "lock");
		sum += *(const uint64_t *)strata_get(sized->reader, dimension,
						     0, &size);
		if (strata_read_unlock(sized->reader) != 0)
			need(false, "unlock");
	}
	bench_use(sum);
	return per_step(start, steps);
}

static double
attach(void *arg)
{
	const struct sized *sized = arg;

	return bench_attach_us(strata_name(sized->store), 1, 0);
}

enum what { LOOKUP, COMMIT, ATTACH, RECOVER, NR_WHATS };
static double (*const whats[NR_WHATS])(void *arg) = {lookup, commit, attach,
						     recover};

static struct bench_column columns[NR_WHATS][NR_STORES];

static double
median(const struct bench *bench, enum what what, unsigned i)
{
	return bench_figure(columns[what][i].values, bench->repetitions).median;
}

static void
print(const struct bench *bench, unsigned nr)
{
	bench_table("dimensions\tlayers\tof\tlookup ns\t64 B commit ns\t"
		    "attach us\tcommit after a death ms\tleast\tmost\t"
		    "metadata B/layer",
		    "recovery");
	for (unsigned i = 0; i < nr; i++) {
		struct bench_figure figure = bench_figure(
			columns[RECOVER][i].values, bench->repetitions);

		bench_row("%" PRIu32 "\t%" PRIu32
			  "\t%s\t%.1f\t%.0f\t%.0f\t%.3f\t%.3f\t%.3f\t%.0f",
			  sizes[i].nr_dimensions, sizes[i].nr_layers,
			  is_of_protos(&sizes[i]) ? "protos" : "regions",
			  median(bench, LOOKUP, i), median(bench, COMMIT, i),
			  median(bench, ATTACH, i), figure.median, figure.min,
			  figure.max, sizes[i].metadata);
	}
	bench_note("the dimension's node is 4 KiB, however few layers it has");
}

int
main(int argc, char **argv)
{
	struct bench bench;
	unsigned nr;

	bench_begin(&bench, argc, argv,
		    "recover: after a writer's death; many dimensions");
	nr = bench.quick ? 2 : NR_STORES;
	steps = bench.quick ? 50000 : 150000;
	nr_commits = bench.quick ? 1000 : 5000;
	for (unsigned i = 0; i < nr; i++) {
		store_fill(&bench, &sizes[i]);
		for (unsigned what = 0; what < NR_WHATS; what++) {
			columns[what][i].run = whats[what];
			columns[what][i].arg = &sizes[i];
		}
	}
	for (unsigned what = 0; what < NR_WHATS; what++)
		bench_interleave(&bench, columns[what], nr);
	print(&bench, nr);
	for (unsigned i = 0; i < nr; i++) {
		need(strata_reader_close(sizes[i].reader) == 0, "close");
		bench_store_end(sizes[i].store);
	}
	bench_end();
	return 0;
}
