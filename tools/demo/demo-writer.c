/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * The writer of the demonstration: replaces all layers of a dimension, in one
 * transaction for each generation, and reads back what it put; so many times,
 * and then until SIGTERM.
 *
 *	demo-writer STORE DIM NR-LAYERS FIRST-GENERATION TIMES
 *
 * At the end it prints one line.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <strata/strata.h>

#include "content.h"

#define LAYERS_MAX 64

/* Between two commits: readers are to see many of them, not just the last. */
#define PAUSE_NS 500000

struct demo_writer {
	struct strata_store *store;
	struct strata_reader *reader;
	uint32_t dimension, nr_layers;
	uint64_t bytes, version;
};

static volatile sig_atomic_t stop;

static void
on_signal(int number)
{
	(void)number;
	stop = 1;
}

static uint64_t buffers[LAYERS_MAX][((size_t)20 << 10) / sizeof(uint64_t)];

static void
check(const char *what, int code)
{
	if (code == 0)
		return;
	fprintf(stderr, "demo-writer: %s: %s\n", what,
		strata_last_error()->code == code
			? strata_last_error()->sentence
			: strata_strerror(code));
	exit(1);
}

/* All of a generation becomes visible in one instant. */
static void
generation_put(struct demo_writer *demo, uint64_t generation)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	const char *const keywords[] = {"demo", "proto"};
	struct strata_txn *txn;
	uint32_t layer;
	size_t size;

	attrs.keywords = keywords;
	attrs.nr_keywords = 2;
	check("begin", strata_txn_begin(demo->store, &txn));
	for (layer = 0; layer < demo->nr_layers; layer++) {
		size = content_size(demo->dimension, layer, generation);
		content_make(buffers[layer], demo->dimension, layer, generation,
			     size);
		attrs.frequency = 1.0 + layer;
		check("put",
		      strata_put(txn, demo->dimension, layer, &attrs,
				 buffers[layer], size, STRATA_PUT_BORROW));
		demo->bytes += size;
	}
	check("commit", strata_txn_commit(txn, &demo->version));
}

/* The writer is the only one who puts here: it must find what it put. */
static void
generation_check(struct demo_writer *demo, uint64_t generation)
{
	uint32_t layer = (uint32_t)(generation % demo->nr_layers);
	const struct strata_entry *entry;
	uint64_t found = 0;
	const char *wrong;

	check("lock", strata_read_lock(demo->reader));
	check("find",
	      strata_find(demo->reader, demo->dimension, layer, &entry));
	wrong = content_check(strata_data(demo->reader, entry), entry->size,
			      demo->dimension, layer, &found);
	if (wrong != NULL || found != generation) {
		fprintf(stderr,
			"demo-writer: layer %u/%u of generation %llu: %s\n",
			demo->dimension, layer, (unsigned long long)generation,
			wrong != NULL ? wrong : "is of another generation");
		exit(1);
	}
	check("unlock", strata_read_unlock(demo->reader));
}

int
main(int argc, char **argv)
{
	struct demo_writer demo = {.store = NULL};
	struct sigaction action = {.sa_handler = on_signal};
	struct timespec pause = {0, PAUSE_NS};
	uint64_t times, commits, generation;

	if (argc != 6)
		return 2;
	demo.dimension = (uint32_t)demo_number(argv[2], STRATA_DIMENSION_MAX);
	demo.nr_layers = (uint32_t)demo_number(argv[3], LAYERS_MAX);
	generation = demo_number(argv[4], UINT64_MAX);
	times = demo_number(argv[5], UINT64_MAX);
	if (demo.dimension <= STRATA_DIMENSION_CORE_MAX || demo.nr_layers == 0)
		return 2;
	sigaction(SIGTERM, &action, NULL);
	check("attach", strata_attach(argv[1], STRATA_WRITE, &demo.store));
	check("open", strata_reader_open(demo.store, &demo.reader));
	for (commits = 0; commits < times || !stop; commits++) {
		generation_put(&demo, generation);
		generation_check(&demo, generation++);
		nanosleep(&pause, NULL);
	}
	printf("commits=%llu bytes=%llu generation=%llu version=%llu\n",
	       (unsigned long long)commits, (unsigned long long)demo.bytes,
	       (unsigned long long)(generation - 1),
	       (unsigned long long)demo.version);
	strata_reader_close(demo.reader);
	strata_detach(demo.store);
	return 0;
}
