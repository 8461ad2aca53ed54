/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What check-instructions.sh counts the instructions of. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "proc.h"

/*
 * instructions WHAT TIMES
 *
 * Does it so often, within measured(), which is what is counted. What is done
 * once falls out when the counts of two runs are subtracted, so there is no
 * need to keep it out of measured(). Nothing here depends on time or chance.
 */

#define DIMENSIONS 14
#define LAYERS     20
#define SIZE       ((size_t)16 << 10)
#define LIMIT      (UINT64_C(64) << 20)

static char name[STRATA_STORE_NAME_MAX + 1];
static struct strata_store *store;
static struct strata_reader *reader;

/* Has calls of its own between it and main(), so that it stays whole. */
__attribute__((noinline)) uint64_t measured(uint64_t (*what)(uint32_t i),
					    uint32_t nr);

uint64_t
measured(uint64_t (*what)(uint32_t i), uint32_t nr)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < nr; i++)
		sum += what(i);
	return sum;
}

/**** what is counted ****/

static uint64_t
lookup(uint32_t i)
{
	const void *data;
	uint64_t word;
	size_t size;

	if (strata_read_lock(reader) != 0)
		need(false, "lock");
	data = strata_get(reader, 1 + i % DIMENSIONS, i % LAYERS, &size);
	need(data != NULL, "get");
	memcpy(&word, data, sizeof(word));
	if (strata_read_unlock(reader) != 0)
		need(false, "unlock");
	return word;
}

static uint64_t
find(uint32_t i)
{
	const struct strata_entry *entry;
	uint64_t word;

	if (strata_read_lock(reader) != 0 ||
	    strata_find(reader, 1 + i % DIMENSIONS, i % LAYERS, &entry) != 0)
		need(false, "find");
	memcpy(&word, strata_data(reader, entry), sizeof(word));
	if (strata_read_unlock(reader) != 0)
		need(false, "unlock");
	return word;
}

/* A short content: what is counted is not memcpy. */
static uint64_t
commit(uint32_t i)
{
	static const char data[64];

	bench_put(store, 1 + i % DIMENSIONS, i % LAYERS, data, sizeof(data));
	return 0;
}

/* To the first value, and away again. */
static uint64_t
attach(uint32_t i)
{
	struct strata_store *attached;
	struct strata_reader *own;
	const void *data;
	uint64_t word;
	size_t size;

	need(strata_attach(name, STRATA_READ, &attached) == 0, "attach");
	need(strata_reader_open(attached, &own) == 0, "reader");
	need(strata_read_lock(own) == 0, "lock");
	data = strata_get(own, 1 + i % DIMENSIONS, i % LAYERS, &size);
	need(data != NULL, "get");
	memcpy(&word, data, sizeof(word));
	need(strata_read_unlock(own) == 0, "unlock");
	need(strata_reader_close(own) == 0, "close");
	need(strata_detach(attached) == 0, "detach");
	return word;
}

/**** all of it ****/

static void
fill(void)
{
	static char data[SIZE];
	struct strata_txn *txn;

	for (uint32_t dimension = 1; dimension <= DIMENSIONS; dimension++) {
		need(strata_txn_begin(store, &txn) == 0, "begin");
		for (uint32_t layer = 0; layer < LAYERS; layer++)
			need(strata_put(txn, dimension, layer, NULL, data, SIZE,
					STRATA_PUT_BORROW) == 0,
			     "put");
		need(strata_txn_commit(txn, NULL) == 0, "commit");
		/* Half of them regions. */
		if (dimension % 2 == 0)
			need(strata_crystallize(store, dimension) == 0,
			     "crystallise");
	}
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		uint64_t (*what)(uint32_t i);
		int session;
	} all[] = {{"lookup", lookup, 0},
		   {"find", find, 0},
		   {"commit", commit, 1},
		   {"commit-lock", commit, 0},
		   {"attach", attach, 0}};
	struct strata_writer *writer = NULL;
	size_t what = 0;

	while (argc == 3 && what < sizeof(all) / sizeof(*all) &&
	       strcmp(argv[1], all[what].name) != 0)
		what++;
	if (argc != 3 || what == sizeof(all) / sizeof(*all)) {
		fprintf(stderr, "usage: instructions lookup|find|commit|"
				"commit-lock|attach TIMES\n");
		return 2;
	}
	shm_begin();
	store = bench_store("instructions", LIMIT, 0);
	snprintf(name, sizeof(name), "%s", strata_name(store));
	fill();
	need(strata_reader_open(store, &reader) == 0, "reader");
	need(strata_refresh(store) == 0, "refresh");
	if (all[what].session)
		need(strata_writer_open(store, &writer) == 0, "session");
	bench_use(
		measured(all[what].what, (uint32_t)strtoul(argv[2], NULL, 10)));
	if (writer != NULL)
		need(strata_writer_close(writer) == 0, "session");
	need(strata_reader_close(reader) == 0, "close");
	bench_store_end(store);
	shm_end();
	return 0;
}
