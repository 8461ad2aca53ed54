/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The time of one lookup, beside what a bare pointer array takes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "peer-lmdb.h"
#include "proc.h"

/*
 * Latency: the first bytes of each content say which layer is next, so that a
 * lookup cannot begin before the one before it has ended; all layers form one
 * cycle. Throughput: the order is known beforehand, and what the CPU can do at
 * the same time it does.
 *
 * The limit of all zero-copy lookups is an array of pointers to contents that
 * spread over the sets of the cache (coloured): two loads. "raw, store" is the
 * same over the addresses that the store gave the contents.
 */

#define DIMENSIONS 14
#define LAYERS     20
#define TOTAL      (DIMENSIONS * LAYERS)
#define SIZE       ((size_t)1 << 20)
#define LIMIT      (UINT64_C(600) << 20)
/* From one raw content to the next: a page and an odd number of lines more. */
#define RAW_STRIDE (SIZE + 4096 + 64)

/* The first bytes of each content. */
struct link {
	uint32_t dimension, layer;
	uint64_t index; /* the same, as the raw peers have it */
};

/* What all columns look at. */
static struct {
	uint64_t steps;
	struct strata_reader *reader;
	struct lmdb *lmdb;
	char *raw;
	const struct link *raw_places[TOTAL];
	const struct link *store_places[TOTAL];
	struct link order[TOTAL]; /* of the independent lookups */
} shared;

static uint32_t
dimension_of(uint32_t index)
{
	return index / LAYERS + 1;
}

static uint32_t
layer_of(uint32_t index)
{
	return index % LAYERS;
}

static double
per_step(uint64_t start, uint64_t steps)
{
	return (double)(bench_now_ns() - start) / (double)steps;
}

/**** set-up ****/

static void
fill(char *contents, uint32_t index, const uint32_t *next, uint64_t *random)
{
	struct link link = {dimension_of(next[index]), layer_of(next[index]),
			    next[index]};

	for (size_t i = 0; i < SIZE; i += sizeof(uint64_t))
		*(uint64_t *)(void *)(contents + i) = bench_random(random);
	memcpy(contents, &link, sizeof(link));
}

static void
raw_setup(void)
{
	shared.raw = mmap(NULL, TOTAL * RAW_STRIDE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(shared.raw != MAP_FAILED, "mmap");
}

static void
contents_setup(const struct bench *bench, struct strata_store *store)
{
	uint64_t random = bench->seed;
	char *contents = malloc(LAYERS * SIZE);
	uint32_t next[TOTAL];
	uint32_t index;

	need(contents != NULL, "memory");
	bench_cycle(next, TOTAL, &random);
	for (index = 0; index < TOTAL; index++) {
		char *content = contents + layer_of(index) * SIZE;
		char *raw = shared.raw + index * RAW_STRIDE;

		fill(content, index, next, &random);
		memcpy(raw, content, SIZE);
		shared.raw_places[index] = (const struct link *)(void *)raw;
		if (shared.lmdb != NULL)
			lmdb_put(shared.lmdb, index, content, SIZE);
		if (layer_of(index) == LAYERS - 1)
			bench_load(bench, store, dimension_of(index), contents,
				   LAYERS, SIZE);
	}
	free(contents);
	for (index = 0; index < TOTAL; index++)
		next[index] = index;
	bench_shuffle(next, TOTAL, &random);
	for (index = 0; index < TOTAL; index++)
		shared.order[index] =
			(struct link){dimension_of(next[index]),
				      layer_of(next[index]), next[index]};
}

static inline const struct link *
get(uint32_t dimension, uint32_t layer)
{
	size_t size;
	const void *data = strata_get(shared.reader, dimension, layer, &size);

	if (data == NULL)
		need(false, "get %" PRIu32 " %" PRIu32, dimension, layer);
	return data;
}

/* The same by the entry, for who wants more than the content. */
static inline const struct link *
find(uint32_t dimension, uint32_t layer)
{
	const struct strata_entry *entry;

	if (strata_find(shared.reader, dimension, layer, &entry) != 0)
		need(false, "find %" PRIu32 " %" PRIu32, dimension, layer);
	return strata_data(shared.reader, entry);
}

/* Regions stay where they are as long as nobody unloads them. */
static void
places_note(void)
{
	uint32_t index;

	need(strata_read_lock(shared.reader) == 0, "lock");
	for (index = 0; index < TOTAL; index++) {
		shared.store_places[index] =
			find(dimension_of(index), layer_of(index));
		need(memcmp(shared.store_places[index],
			    shared.raw_places[index], SIZE) == 0,
		     "the peers differ");
	}
	need(strata_read_unlock(shared.reader) == 0, "unlock");
}

/**** latency ****/

static double
chain_raw(void *arg)
{
	const struct link *const *places = arg;
	uint64_t index = 0, start = bench_now_ns();

	for (uint64_t i = 0; i < shared.steps; i++)
		index = places[index]->index;
	bench_use(index);
	return per_step(start, shared.steps);
}

static double
chain_strata(void *arg)
{
	uint64_t start = bench_now_ns();
	uint32_t dimension = 1, layer = 0;

	(void)arg;
	for (uint64_t i = 0; i < shared.steps; i++) {
		const struct link *link;

		if (strata_read_lock(shared.reader) != 0)
			need(false, "lock");
		link = get(dimension, layer);
		dimension = link->dimension;
		layer = link->layer;
		if (strata_read_unlock(shared.reader) != 0)
			need(false, "unlock");
	}
	bench_use(layer);
	return per_step(start, shared.steps);
}

static double
chain_strata_entry(void *arg)
{
	uint64_t start = bench_now_ns();
	uint32_t dimension = 1, layer = 0;

	(void)arg;
	for (uint64_t i = 0; i < shared.steps; i++) {
		const struct link *link;

		if (strata_read_lock(shared.reader) != 0)
			need(false, "lock");
		link = find(dimension, layer);
		dimension = link->dimension;
		layer = link->layer;
		if (strata_read_unlock(shared.reader) != 0)
			need(false, "unlock");
	}
	bench_use(layer);
	return per_step(start, shared.steps);
}

static double
chain_strata_section(void *arg)
{
	uint64_t start = bench_now_ns();
	uint32_t dimension = 1, layer = 0;

	(void)arg;
	need(strata_read_lock(shared.reader) == 0, "lock");
	for (uint64_t i = 0; i < shared.steps; i++) {
		const struct link *link = get(dimension, layer);

		dimension = link->dimension;
		layer = link->layer;
	}
	need(strata_read_unlock(shared.reader) == 0, "unlock");
	bench_use(layer);
	return per_step(start, shared.steps);
}

/* What three calls of a shared library cost, in which nothing is done. */
static double
empty_calls(void *arg)
{
	uint64_t sum = 0, start = bench_now_ns();

	(void)arg;
	for (uint64_t i = 0; i < shared.steps; i++) {
		sum += strata_reader_version(NULL);
		sum += strata_reader_version(NULL);
		sum += strata_reader_version(NULL);
	}
	bench_use(sum);
	return per_step(start, shared.steps);
}

/* Ten times slower: a tenth of the steps. */
static double
chain_lmdb(void *arg)
{
	uint64_t steps = shared.steps / 10;
	uint64_t index = 0, start = bench_now_ns();

	(void)arg;
	for (uint64_t i = 0; i < steps; i++) {
		lmdb_read_renew(shared.lmdb);
		index = ((const struct link *)lmdb_read_get(shared.lmdb, index))
				->index;
		lmdb_read_reset(shared.lmdb);
	}
	bench_use(index);
	return per_step(start, steps);
}

/**** throughput ****/

static double
many_raw(void *arg)
{
	const struct link *const *places = arg;
	uint64_t sum = 0, steps = 0, start = bench_now_ns();

	for (; steps < shared.steps; steps += TOTAL)
		for (uint32_t i = 0; i < TOTAL; i++)
			sum += places[shared.order[i].index]->index;
	bench_use(sum);
	return per_step(start, steps);
}

static double
many_strata(void *arg)
{
	uint64_t sum = 0, steps = 0, start = bench_now_ns();

	(void)arg;
	for (; steps < shared.steps; steps += TOTAL)
		for (uint32_t i = 0; i < TOTAL; i++) {
			const struct link *key = &shared.order[i];

			if (strata_read_lock(shared.reader) != 0)
				need(false, "lock");
			sum += get(key->dimension, key->layer)->index;
			if (strata_read_unlock(shared.reader) != 0)
				need(false, "unlock");
		}
	bench_use(sum);
	return per_step(start, steps);
}

static double
many_strata_section(void *arg)
{
	uint64_t sum = 0, steps = 0, start = bench_now_ns();

	(void)arg;
	for (; steps < shared.steps; steps += TOTAL) {
		need(strata_read_lock(shared.reader) == 0, "lock");
		for (uint32_t i = 0; i < TOTAL; i++) {
			const struct link *key = &shared.order[i];

			sum += get(key->dimension, key->layer)->index;
		}
		need(strata_read_unlock(shared.reader) == 0, "unlock");
	}
	bench_use(sum);
	return per_step(start, steps);
}

static double
many_lmdb(void *arg)
{
	uint64_t sum = 0, steps = 0, start = bench_now_ns();

	(void)arg;
	for (; steps < shared.steps / 10; steps += TOTAL)
		for (uint32_t i = 0; i < TOTAL; i++) {
			const struct link *link;

			lmdb_read_renew(shared.lmdb);
			link = lmdb_read_get(shared.lmdb,
					     shared.order[i].index);
			sum += link->index;
			lmdb_read_reset(shared.lmdb);
		}
	bench_use(sum);
	return per_step(start, steps);
}

/**** all of it ****/

enum {
	CHAIN_RAW,
	CHAIN_STORE,
	CHAIN_STRATA,
	CHAIN_ENTRY,
	CHAIN_SECTION,
	CHAIN_LMDB
};
enum {
	MANY_RAW,
	MANY_STORE,
	MANY_STRATA,
	MANY_SECTION,
	MANY_CALLS,
	MANY_LMDB
};

static void
measure(const struct bench *bench)
{
	static struct bench_column chain[] = {
		{"latency: raw", chain_raw, shared.raw_places, {0}},
		{"latency: raw, store", chain_raw, shared.store_places, {0}},
		{"latency: strata", chain_strata, NULL, {0}},
		{"latency: strata, by entry", chain_strata_entry, NULL, {0}},
		{"latency: strata, one section",
		 chain_strata_section,
		 NULL,
		 {0}},
		{"latency: lmdb", chain_lmdb, NULL, {0}},
	};
	static struct bench_column many[] = {
		{"throughput: raw", many_raw, shared.raw_places, {0}},
		{"throughput: raw, store", many_raw, shared.store_places, {0}},
		{"throughput: strata", many_strata, NULL, {0}},
		{"throughput: strata, one section",
		 many_strata_section,
		 NULL,
		 {0}},
		{"throughput: three empty calls", empty_calls, NULL, {0}},
		{"throughput: lmdb", many_lmdb, NULL, {0}},
	};
	size_t nr_chain = shared.lmdb != NULL ? CHAIN_LMDB + 1 : CHAIN_LMDB;
	size_t nr_many = shared.lmdb != NULL ? MANY_LMDB + 1 : MANY_LMDB;

	bench_interleave(bench, chain, nr_chain);
	bench_interleave(bench, many, nr_many);
	bench_print(bench, "ns", chain, nr_chain);
	bench_print(bench, "ns", many, nr_many);
	printf("ratios: latency/raw %.2f, throughput/raw %.2f, throughput in "
	       "one section/raw %.2f",
	       bench_ratio(bench, &chain[CHAIN_STRATA], &chain[CHAIN_RAW])
		       .median,
	       bench_ratio(bench, &many[MANY_STRATA], &many[MANY_RAW]).median,
	       bench_ratio(bench, &many[MANY_SECTION], &many[MANY_RAW]).median);
	if (shared.lmdb != NULL)
		printf(", lmdb/latency %.1f",
		       bench_ratio(bench, &chain[CHAIN_LMDB],
				   &chain[CHAIN_STRATA])
			       .median);
	printf("\n");
}

int
main(int argc, char **argv)
{
	struct strata_store *store;
	struct bench bench;

	bench_begin(&bench, argc, argv,
		    "lookup: lock, find, touch 8 bytes, unlock");
	printf("# %d dimensions of %d layers of %zu KiB, in regions; one "
	       "process, pinned\n",
	       DIMENSIONS, LAYERS, SIZE / 1024);
	bench_pin(1);
	shared.steps = bench.quick ? 300000 : 1000000;
	store = bench_store("lookup", LIMIT, 0);
	raw_setup();
	shared.lmdb = lmdb_open(bench.folder, (size_t)1 << 30);
	contents_setup(&bench, store);
	need(strata_reader_open(store, &shared.reader) == 0, "reader");
	places_note();
	if (shared.lmdb != NULL)
		lmdb_read_begin(shared.lmdb);

	measure(&bench);

	if (shared.lmdb != NULL)
		lmdb_read_end(shared.lmdb);
	lmdb_close(shared.lmdb);
	lmdb_remove(bench.folder);
	need(strata_reader_close(shared.reader) == 0, "close");
	bench_store_end(store);
	bench_end();
	return 0;
}
