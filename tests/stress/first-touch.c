/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Threads that touch a region for the first time at the same moment, again and
 * again; for ThreadSanitizer, too. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pattern.h"
#include "proc.h"
#include "store.h"

#define NR_THREADS 4u
#define DIMENSIONS 3u
#define LAYERS     4u
#define SIZE       9000u

static char name[STRATA_STORE_NAME_MAX + 1];
static struct strata_store *attached; /* anew in each round */
static pthread_barrier_t barrier;
static unsigned nr_rounds;

static void
fill(struct strata_store *store)
{
	static char data[SIZE];
	struct strata_txn *txn;

	for (uint32_t d = 1; d <= DIMENSIONS; d++) {
		need(strata_txn_begin(store, &txn) == 0, "begin");
		for (uint32_t layer = 0; layer < LAYERS; layer++) {
			struct pattern pattern = {d, layer, 1, LAYERS};

			pattern_fill(data, SIZE, &pattern);
			need(strata_put(txn, d, layer, NULL, data, SIZE, 0) ==
				     0,
			     "put");
		}
		need(strata_txn_commit(txn, NULL) == 0, "commit");
		need(strata_crystallize(store, d) == 0, "crystallise");
	}
}

static void
check(const void *data, size_t size, uint32_t dimension, uint32_t layer)
{
	struct pattern pattern;

	need(data != NULL && size == SIZE, "%u/%u is not found", dimension,
	     layer);
	need(pattern_check(data, size, &pattern) &&
		     pattern.dimension == dimension && pattern.layer == layer,
	     "%u/%u is something else", dimension, layer);
}

/* In turns: that all meet one region, and that each meets another first. */
static void
touch(struct strata_reader *reader, unsigned thread, unsigned round)
{
	size_t size = 0;

	need(strata_read_lock(reader) == 0, "lock");
	for (uint32_t i = 0; i < DIMENSIONS; i++) {
		uint32_t d = 1 + (i + (round % 2) * thread) % DIMENSIONS;
		uint32_t layer = (thread + round) % LAYERS;
		const void *data = strata_get(reader, d, layer, &size);

		check(data, size, d, layer);
	}
	need(strata_read_unlock(reader) == 0, "unlock");
}

static void *
thread_main(void *arg)
{
	unsigned thread = (unsigned)(uintptr_t)arg;
	struct strata_reader *reader;

	for (unsigned round = 0; round < nr_rounds; round++) {
		pthread_barrier_wait(&barrier); /* it is attached */
		need(strata_reader_open(attached, &reader) == 0, "reader");
		pthread_barrier_wait(&barrier);
		touch(reader, thread, round);
		touch(reader, thread, round);
		need(strata_reader_close(reader) == 0, "close");
		pthread_barrier_wait(&barrier); /* all are done */
	}
	return NULL;
}

int
main(void)
{
	static const unsigned rounds[] = {100, 500, 10000};
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = 16 << 20};
	pthread_t threads[NR_THREADS];
	struct strata_store *store;

	nr_rounds = rounds[test_length()];
	shm_begin();
	snprintf(name, sizeof(name), "%s", store_name("first-touch"));
	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	fill(store);
	pthread_barrier_init(&barrier, NULL, NR_THREADS + 1);
	for (unsigned i = 0; i < NR_THREADS; i++)
		need(pthread_create(&threads[i], NULL, thread_main,
				    (void *)(uintptr_t)i) == 0,
		     "thread");
	for (unsigned round = 0; round < nr_rounds; round++) {
		need(strata_attach(name, STRATA_READ, &attached) == 0,
		     "attach");
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		need(strata_detach(attached) == 0, "detach");
	}
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
	shm_end();
	printf("%u rounds of %u threads\n", nr_rounds, NR_THREADS);
	return 0;
}
