/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The time of a lookup and of a commit as the number of layers grows. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "proc.h"

/*
 * Stores of 280 to 1 000 000 layers of 64 bytes, in two shapes: 14 dimensions,
 * of more and more layers; and dimensions of 20 layers, more and more of them.
 * All are attached at the same time, so that their figures are interleaved.
 *
 * Looking at the same 280 layers in each says what the index costs when it
 * grows. Looking at random ones over all says what the caches cost, too; for
 * that, "raw" follows nothing but pointers to the very same entries, and from
 * them to the contents: three loads that miss as the store's miss.
 */

#define CORE      14
#define PER_SMALL 20
#define SAME      280
#define SIZE      64
#define LARGE     (16 << 10)
/* Of nodes there may be a ninth of it. */
#define LIMIT     (UINT64_C(1) << 30)
/* Each region takes 2 MiB of addresses at least, and their room is a multiple
 * of this. */
#define MAX_LIMIT (UINT64_C(8) << 30)
#define NR_TOTALS 5
#define SHAPES    2

static const uint32_t totals[NR_TOTALS] = {280, 1000, 10000, 100000, 1000000};
/* How many of them each shape has; more dimensions take minutes to load. */
static uint32_t nr_totals[SHAPES] = {NR_TOTALS, NR_TOTALS - 1};

struct link {
	uint32_t dimension, layer;
	uint64_t index;
	uint64_t filler[6];
};
_Static_assert(sizeof(struct link) == SIZE, "a content");

struct key {
	uint32_t dimension, layer;
};
_Static_assert(sizeof(struct key) == sizeof(uint64_t), "one load");

struct grown {
	uint32_t shape, total, per_dimension, nr_dimensions;
	struct strata_store *store;
	struct strata_reader *reader;
	const struct strata_entry **entries; /* of the raw peer */
	const struct link **places;          /* of the bare one */
	double metadata; /* bytes a layer, besides its content */
	const char *window;
	struct key same[SAME];
	uint32_t next_same;
};

static struct grown grown[SHAPES][NR_TOTALS];
static char content[LARGE];
static uint64_t steps, commits;

static struct key
key_of(const struct grown *g, uint32_t index)
{
	return (struct key){index / g->per_dimension + 1,
			    index % g->per_dimension};
}

/**** set-up ****/

/* The order of the random lookups is in the contents: one cycle. */
static void
load_all(const struct bench *bench, struct grown *g, uint64_t *random)
{
	uint32_t *next = malloc(g->total * sizeof(*next));
	struct link *links = calloc(g->per_dimension, sizeof(*links));
	uint32_t index, nr = 0;

	need(next != NULL && links != NULL, "memory");
	bench_cycle(next, g->total, random);
	for (index = 0; index < g->total; index++) {
		struct key key = key_of(g, index), to = key_of(g, next[index]);

		links[key.layer] = (struct link){.dimension = to.dimension,
						 .layer = to.layer,
						 .index = next[index]};
		nr = key.layer + 1;
		if (nr == g->per_dimension || index == g->total - 1)
			bench_load(bench, g->store, key.dimension, links, nr,
				   SIZE);
	}
	free(next);
	free(links);
}

/* Those that all stores have: 20 of each of the first 14 dimensions. */
static void
same_choose(struct grown *g, uint64_t *random)
{
	uint32_t order[SAME];

	for (uint32_t i = 0; i < SAME; i++)
		order[i] = i;
	bench_shuffle(order, SAME, random);
	for (uint32_t i = 0; i < SAME; i++)
		g->same[order[i]] =
			(struct key){i / PER_SMALL + 1, i % PER_SMALL};
}

static const struct strata_entry *
find(const struct grown *g, struct key key)
{
	const struct strata_entry *entry;

	if (strata_find(g->reader, key.dimension, key.layer, &entry) != 0)
		need(false, "find %" PRIu32 " %" PRIu32, key.dimension,
		     key.layer);
	return entry;
}

/* The raw peer runs before anything is committed, outside of any section: the
 * entries stay until then. */
static void
entries_note(struct grown *g)
{
	g->entries = malloc(g->total * sizeof(const struct strata_entry *));
	need(g->entries != NULL, "memory");
	need(strata_read_lock(g->reader) == 0, "lock");
	for (uint32_t i = 0; i < g->total; i++)
		g->entries[i] = find(g, key_of(g, i));
	g->places = malloc(g->total * sizeof(const struct link *));
	need(g->places != NULL, "memory");
	for (uint32_t i = 0; i < g->total; i++)
		g->places[i] = strata_data(g->reader, g->entries[i]);
	g->window = (const char *)strata_data(g->reader, g->entries[0]) -
		    g->entries[0]->content;
	need(strata_read_unlock(g->reader) == 0, "unlock");
}

static void
grown_setup(const struct bench *bench, uint32_t shape, uint32_t i,
	    uint64_t *random)
{
	struct grown *g = &grown[shape][i];
	char what[32];

	g->shape = shape;
	g->total = totals[i];
	g->per_dimension =
		shape == 0 ? (g->total + CORE - 1) / CORE : PER_SMALL;
	g->nr_dimensions = (g->total + g->per_dimension - 1) / g->per_dimension;
	snprintf(what, sizeof(what), "growth%" PRIu32 ".%" PRIu32, shape,
		 g->total);
	g->store = bench_store(what, LIMIT, MAX_LIMIT);
	load_all(bench, g, random);
	need(strata_reader_open(g->store, &g->reader) == 0, "reader");
	same_choose(g, random);
	entries_note(g);
	g->metadata = bench_metadata(g->store, g->total);
}

/**** what is measured ****/

static double
per_step(uint64_t start, uint64_t nr)
{
	return (double)(bench_now_ns() - start) / (double)nr;
}

/* What is found decides, by a bit that is always 0, what is looked for next. */
static double
lookup_same(void *arg)
{
	const struct grown *g = arg;
	uint64_t start = bench_now_ns();
	uint32_t i = 0;

	for (uint64_t step = 0; step < steps; step++) {
		const struct link *link;

		if (strata_read_lock(g->reader) != 0)
			need(false, "lock");
		link = strata_data(g->reader, find(g, g->same[i]));
		i = i + 1 + (uint32_t)link->filler[0];
		if (i == SAME)
			i = 0;
		if (strata_read_unlock(g->reader) != 0)
			need(false, "unlock");
	}
	return per_step(start, steps);
}

static double
lookup_random(void *arg)
{
	const struct grown *g = arg;
	uint64_t start = bench_now_ns();
	struct key key = {1, 0};
	uint64_t next;

	for (uint64_t step = 0; step < steps; step++) {
		const struct link *link;

		if (strata_read_lock(g->reader) != 0)
			need(false, "lock");
		link = strata_data(g->reader, find(g, key));
		/* By one load, as the raw peers' index is: see next_of() in
		 * peer-loops.h. */
		memcpy(&next, link, sizeof(next));
		__asm__("" : "+r"(next));
		memcpy(&key, &next, sizeof(key));
		if (strata_read_unlock(g->reader) != 0)
			need(false, "unlock");
	}
	bench_use(key.layer);
	return per_step(start, steps);
}

static double
lookup_raw(void *arg)
{
	const struct grown *g = arg;
	uint64_t start = bench_now_ns();
	uint64_t index = 0;

	for (uint64_t step = 0; step < steps; step++) {
		const struct strata_entry *entry = g->entries[index];

		index = ((const struct link *)(const void *)(g->window +
							     entry->content))
				->index;
	}
	bench_use(index);
	return per_step(start, steps);
}

/* Pointers to the contents themselves: nothing could be less. */
static double
lookup_bare(void *arg)
{
	const struct grown *g = arg;
	uint64_t start = bench_now_ns();
	uint64_t index = 0;

	for (uint64_t step = 0; step < steps; step++)
		index = g->places[index]->index;
	bench_use(index);
	return per_step(start, steps);
}

static double
attach(void *arg)
{
	const struct grown *g = arg;

	return bench_attach_us(strata_name(g->store), 1, 0);
}

static double
commit_same(struct grown *g, size_t size)
{
	struct strata_writer *writer;
	uint64_t start;
	double time;

	need(strata_writer_open(g->store, &writer) == 0, "session");
	start = bench_now_ns();
	for (uint64_t i = 0; i < commits; i++) {
		struct key key = g->same[g->next_same];

		g->next_same = (g->next_same + 1) % SAME;
		bench_put(g->store, key.dimension, key.layer, content, size);
	}
	time = per_step(start, commits);
	need(strata_writer_close(writer) == 0, "session");
	return time;
}

static double
commit_tiny(void *arg)
{
	return commit_same(arg, SIZE);
}

static double
commit_large(void *arg)
{
	return commit_same(arg, LARGE);
}

/**** all of it ****/

enum what {
	SAME_LOOKUP,
	RANDOM_LOOKUP,
	RANDOM_RAW,
	RANDOM_BARE,
	ATTACH,
	TINY,
	BIG,
	NR_WHATS
};
static double (*const whats[NR_WHATS])(void *arg) = {
	lookup_same, lookup_random, lookup_raw,  lookup_bare,
	attach,      commit_tiny,   commit_large};

static struct bench_column columns[NR_WHATS][SHAPES][NR_TOTALS];

static double
median(const struct bench *bench, enum what what, uint32_t shape, uint32_t i)
{
	return bench_figure(columns[what][shape][i].values, bench->repetitions)
		.median;
}

/* Relative to 280 layers, in the same repetitions. */
static double
growth(const struct bench *bench, enum what what, uint32_t shape, uint32_t i)
{
	return bench_ratio(bench, &columns[what][shape][i],
			   &columns[what][shape][0])
		.median;
}

/* Bytes of the cache lines that random lookups touch: entry and content of each
 * layer, and the references on the way. */
static double
working_set_kib(const struct grown *g)
{
	double lines = 2.0 * g->total + g->nr_dimensions / 8.0;

	if (g->per_dimension > 48)
		lines += g->total / 64.0 / 8.0;
	return lines * 64 / 1024;
}

static void
print(const struct bench *bench)
{
	bench_table("layers\tdimensions\tsame 280 ns\tsame 280 x\t"
		    "random lookup ns\traw, by entry ns\traw ns\tlines KiB\t"
		    "64 B commit ns\t64 B commit x\t16 KiB commit ns\t"
		    "16 KiB commit x\tattach us\tattach x\t"
		    "metadata B/layer",
		    "growth");
	for (uint32_t shape = 0; shape < SHAPES; shape++)
		for (uint32_t i = 0; i < nr_totals[shape]; i++) {
			const struct grown *g = &grown[shape][i];
			double random = median(bench, RANDOM_LOOKUP, shape, i);
			double raw = median(bench, RANDOM_RAW, shape, i);

			bench_row("%" PRIu32 "\t%" PRIu32 "\t%.1f\t%.2f\t%.1f\t"
				  "%.1f\t%.1f\t%.0f\t%.0f\t%.2f\t%.0f\t%.2f\t"
				  "%.0f\t%.2f\t%.0f",
				  g->total, g->nr_dimensions,
				  median(bench, SAME_LOOKUP, shape, i),
				  growth(bench, SAME_LOOKUP, shape, i), random,
				  raw, median(bench, RANDOM_BARE, shape, i),
				  working_set_kib(g),
				  median(bench, TINY, shape, i),
				  growth(bench, TINY, shape, i),
				  median(bench, BIG, shape, i),
				  growth(bench, BIG, shape, i),
				  median(bench, ATTACH, shape, i),
				  growth(bench, ATTACH, shape, i), g->metadata);
		}
	bench_note(
		"a commit copies the nodes on the way: root and dimension; a "
		"leaf more from layer 48 on, a node more from layer 16384 on, "
		"a directory node more above "
		"511 dimensions; each is 4 KiB, however many layers there "
		"are");
}

static void
targets(const struct bench *bench)
{
	const uint32_t ten_thousand = 2, most = nr_totals[0] - 1;
	double more[BENCH_REPETITIONS_MAX];
	char what[100];

	for (uint32_t shape = 0; shape < SHAPES; shape++) {
		snprintf(what, sizeof(what),
			 "lookup latency, 10^4 layers in %" PRIu32
			 " dimensions / raw",
			 grown[shape][ten_thousand].nr_dimensions);
		bench_at_most(
			what,
			bench_ratio(
				bench,
				&columns[RANDOM_LOOKUP][shape][ten_thousand],
				&columns[RANDOM_BARE][shape][ten_thousand]),
			2);
	}
	snprintf(what, sizeof(what), "16 KiB commit, %" PRIu32 " layers / 280",
		 totals[most]);
	bench_at_most(
		what,
		bench_ratio(bench, &columns[BIG][0][most], &columns[BIG][0][0]),
		1.2);
	for (unsigned i = 0; i < bench->repetitions; i++)
		more[i] = columns[TINY][0][most].values[i] -
			  columns[TINY][0][0].values[i];
	snprintf(what, sizeof(what),
		 "64 B commit, %" PRIu32 " layers, ns above 280", totals[most]);
	bench_at_most(what, bench_figure(more, bench->repetitions), 40);
	snprintf(what, sizeof(what), "attach, %" PRIu32 " layers / 280",
		 totals[most]);
	bench_at_most(what,
		      bench_ratio(bench, &columns[ATTACH][0][most],
				  &columns[ATTACH][0][0]),
		      1.2);
}

int
main(int argc, char **argv)
{
	struct bench bench;
	uint64_t random;
	struct grown *g;

	bench_begin(&bench, argc, argv,
		    "growth: lookups and commits in larger and larger stores");
	bench_note("layers of %d bytes, in regions; commits in a session, over "
		   "the same %d layers",
		   SIZE, SAME);
	bench_pin(1);
	steps = bench.quick ? 50000 : 150000;
	commits = bench.quick ? 1000 : 5000;
	if (bench.quick)
		nr_totals[0] = nr_totals[1] = 3;
	random = bench.seed;
	for (uint32_t shape = 0; shape < SHAPES; shape++)
		for (uint32_t i = 0; i < nr_totals[shape]; i++) {
			grown_setup(&bench, shape, i, &random);
			for (unsigned what = 0; what < NR_WHATS; what++) {
				columns[what][shape][i].run = whats[what];
				columns[what][shape][i].arg = &grown[shape][i];
			}
		}

	for (unsigned what = 0; what < NR_WHATS; what++)
		for (uint32_t shape = 0; shape < SHAPES; shape++)
			bench_interleave(&bench, columns[what][shape],
					 nr_totals[shape]);
	print(&bench);
	targets(&bench);

	for (uint32_t shape = 0; shape < SHAPES; shape++)
		for (uint32_t i = 0; i < nr_totals[shape]; i++) {
			g = &grown[shape][i];
			free(g->entries);
			free(g->places);
			need(strata_reader_close(g->reader) == 0, "close");
			bench_store_end(g->store);
		}
	bench_end();
	return 0;
}
