/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The time of a commit that replaces one layer, while readers read. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "peer-lmdb.h"
#include "proc.h"

/*
 * Each commit replaces one of 14 x 20 layers, in random order. The limit is a
 * memcpy into a block that nobody looks at and the store of a pointer to it
 * ("raw publish"): it protects no reader, whose block may be overwritten after
 * as many commits as there are spare blocks.
 *
 * Reader processes look layers up without a pause, in what is measured just
 * now. They are started once, and wait in read(2) for their turn.
 *
 * Each commit is timed by itself, so that there are quantiles; the clock's own
 * time is in all columns, and printed.
 */

#define DIMENSIONS  14
#define LAYERS      20
#define TOTAL       (DIMENSIONS * LAYERS)
#define SIZE        ((size_t)16 << 10)
#define LARGE       ((size_t)1 << 20)
#define NR_LARGE    20
#define SPARES      128
#define STRIDE      (SIZE + 5 * 64)
#define LIMIT       (UINT64_C(400) << 20)
#define READERS_MAX 2
/* Readers that lose their CPU inside a section make LMDB grow by much. */
#define LMDB_SIZE ((size_t)1 << 30)

enum peer { RAW, STRATA, STRATA_COPY, STRATA_LOCK, LMDB, NR_PEERS };
static const char *const peer_names[NR_PEERS] = {
	"raw publish", "strata, session, borrowed", "strata, session",
	"strata, lock per commit", "lmdb nosync writemap"};

/* In memory that all processes share. */
struct raw {
	_Atomic(const char *) places[TOTAL];
	char blocks[(TOTAL + SPARES) * STRIDE];
};
struct control {
	_Atomic int stop;
	_Atomic uint64_t lookups[READERS_MAX];
};

static struct raw *raw;
static struct control *control;
static char *spares[SPARES]; /* a ring: the oldest is taken */
static unsigned next_spare;
static struct strata_store *store;
static char store_named[STRATA_STORE_NAME_MAX + 1];
static struct lmdb *lmdb;
static char *data;
static uint32_t order[TOTAL];
static const struct bench *run;

static uint32_t
dimension_of(uint32_t index)
{
	return index / LAYERS + 1;
}

/**** one commit of each peer ****/

static void
commit_raw(uint32_t index)
{
	char *block = spares[next_spare];

	memcpy(block, data, SIZE);
	spares[next_spare] = (char *)(uintptr_t)atomic_load_explicit(
		&raw->places[index], memory_order_relaxed);
	atomic_store_explicit(&raw->places[index], block, memory_order_release);
	next_spare = (next_spare + 1) % SPARES;
}

static void
commit_strata(uint32_t dimension, uint32_t layer, size_t size, unsigned flags)
{
	struct strata_txn *txn;

	if (strata_txn_begin(store, &txn) != 0 ||
	    strata_put(txn, dimension, layer, NULL, data, size, flags) != 0 ||
	    strata_txn_commit(txn, NULL) != 0)
		need(false, "commit");
}

static void
commit(enum peer peer, uint32_t index)
{
	/* Something new each time. */
	memcpy(data, &index, sizeof(index));
	switch (peer) {
	case RAW:
		commit_raw(index);
		break;
	case STRATA:
	case STRATA_LOCK:
		commit_strata(dimension_of(index), index % LAYERS, SIZE,
			      STRATA_PUT_BORROW);
		break;
	case STRATA_COPY:
		commit_strata(dimension_of(index), index % LAYERS, SIZE,
			      STRATA_PUT_COPY);
		break;
	case LMDB:
		lmdb_put(lmdb, index, data, SIZE);
		break;
	case NR_PEERS:
		break;
	}
}

/**** readers ****/

struct reader {
	struct proc proc;
	unsigned nr;
};
static struct reader readers[READERS_MAX];
static struct strata_reader *strata_handle;

/* A look at the first bytes. */
static uint64_t
look(enum peer peer, uint32_t index)
{
	const struct strata_entry *entry;
	uint64_t first;

	switch (peer) {
	case RAW:
		memcpy(&first,
		       atomic_load_explicit(&raw->places[index],
					    memory_order_acquire),
		       sizeof(first));
		return first;
	case LMDB:
		lmdb_read_renew(lmdb);
		memcpy(&first, lmdb_read_get(lmdb, index), sizeof(first));
		lmdb_read_reset(lmdb);
		return first;
	default:
		if (strata_read_lock(strata_handle) != 0 ||
		    strata_find(strata_handle, dimension_of(index),
				index % LAYERS, &entry) != 0)
			need(false, "find");
		memcpy(&first, strata_data(strata_handle, entry),
		       sizeof(first));
		if (strata_read_unlock(strata_handle) != 0)
			need(false, "unlock");
		return first;
	}
}

static void
reader_turn(const struct reader *reader, enum peer peer)
{
	uint64_t sum = 0, lookups = 0;

	while (atomic_load_explicit(&control->stop, memory_order_relaxed) == 0)
		for (uint32_t i = 0; i < TOTAL; i++, lookups++)
			sum += look(peer, order[i]);
	bench_use(sum);
	atomic_store_explicit(&control->lookups[reader->nr], lookups,
			      memory_order_relaxed);
}

/* A letter is the peer of the next turn, or the end. */
static void
reader_run(struct proc *parent, void *arg)
{
	const struct reader *reader = arg;
	struct strata_store *attached;
	char word;

	bench_pin(1 + reader->nr);
	need(strata_attach(store_named, STRATA_READ, &attached) == 0, "attach");
	need(strata_reader_open(attached, &strata_handle) == 0, "reader");
	lmdb = lmdb_open(run->folder, LMDB_SIZE);
	if (lmdb != NULL)
		lmdb_read_begin(lmdb);
	proc_say(parent, 'r');
	while (read(parent->in, &word, 1) == 1 && word != 'e') {
		proc_say(parent, 'g');
		reader_turn(reader, (enum peer)(word - 'A'));
		proc_say(parent, 'd');
	}
	if (lmdb != NULL)
		lmdb_read_end(lmdb);
	lmdb_close(lmdb);
	need(strata_reader_close(strata_handle) == 0, "close");
	need(strata_detach(attached) == 0, "detach");
}

static void
readers_start(unsigned nr, enum peer peer)
{
	atomic_store_explicit(&control->stop, 0, memory_order_relaxed);
	for (unsigned i = 0; i < nr; i++) {
		proc_say(&readers[i].proc, (char)('A' + peer));
		proc_hear(&readers[i].proc, 'g');
	}
}

static void
readers_stop(unsigned nr)
{
	atomic_store_explicit(&control->stop, 1, memory_order_relaxed);
	for (unsigned i = 0; i < nr; i++)
		proc_hear(&readers[i].proc, 'd');
}

/**** 16 KiB ****/

#define ROUNDS_MAX 100

/* One cell of the table: a peer beside so many readers. */
struct cell {
	enum peer peer;
	unsigned nr_readers;
	double p50[BENCH_REPETITIONS_MAX], p99[BENCH_REPETITIONS_MAX];
	double max[BENCH_REPETITIONS_MAX];
	double lookups[BENCH_REPETITIONS_MAX]; /* of the readers, per us */
};

static void
cell_run(struct cell *cell, unsigned repetition, unsigned rounds)
{
	static double times[ROUNDS_MAX * TOTAL];
	bool session = cell->peer == STRATA || cell->peer == STRATA_COPY;
	struct strata_writer *writer;
	uint64_t start, end, before;
	uint64_t lookups = 0;
	size_t nr = 0;

	if (session)
		need(strata_writer_open(store, &writer) == 0, "session");
	readers_start(cell->nr_readers, cell->peer);
	before = end = bench_now_ns();
	for (unsigned round = 0; round < rounds; round++)
		for (uint32_t i = 0; i < TOTAL; i++) {
			start = bench_now_ns();
			commit(cell->peer, order[i]);
			end = bench_now_ns();
			times[nr++] = (double)(end - start);
		}
	readers_stop(cell->nr_readers);
	if (session)
		need(strata_writer_close(writer) == 0, "session");
	for (unsigned i = 0; i < cell->nr_readers; i++)
		lookups += atomic_load_explicit(&control->lookups[i],
						memory_order_relaxed);
	cell->p50[repetition] = bench_quantile(times, nr, 0.50);
	cell->p99[repetition] = bench_quantile(times, nr, 0.99);
	cell->max[repetition] = bench_quantile(times, nr, 1.00);
	cell->lookups[repetition] =
		(double)lookups * 1000 / (double)(end - before);
}

static void
cell_print(const struct cell *cell, const struct cell *to)
{
	double ratios[BENCH_REPETITIONS_MAX];
	struct bench_figure p50, p99, ratio;

	for (unsigned i = 0; i < run->repetitions; i++)
		ratios[i] = cell->p50[i] / to->p50[i];
	p50 = bench_figure(cell->p50, run->repetitions);
	p99 = bench_figure(cell->p99, run->repetitions);
	ratio = bench_figure(ratios, run->repetitions);
	printf("%s\t%u\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.1f\n",
	       peer_names[cell->peer], cell->nr_readers, p50.median, p50.min,
	       p50.max, p99.median,
	       bench_figure(cell->max, run->repetitions).median, ratio.median,
	       ratio.min, ratio.max,
	       bench_figure(cell->lookups, run->repetitions).median);
}

static void
small_print(struct cell cells[][NR_PEERS])
{
	printf("16 KiB\treaders\tp50 ns\tmin p50 ns\tmax p50 ns\tp99 ns\t"
	       "max ns\tp50 x raw\tmin x raw\tmax x raw\tlookups/us\n");
	for (unsigned nr = 0; nr <= READERS_MAX; nr++)
		for (unsigned peer = 0; peer < NR_PEERS; peer++)
			if (peer != LMDB || lmdb != NULL)
				cell_print(&cells[nr][peer], &cells[nr][RAW]);
	fflush(stdout);
}

static double
p50_ratio(const struct cell *a, const struct cell *b)
{
	double ratios[BENCH_REPETITIONS_MAX];

	for (unsigned i = 0; i < run->repetitions; i++)
		ratios[i] = a->p50[i] / b->p50[i];
	return bench_figure(ratios, run->repetitions).median;
}

/* The first repetition is not counted: it is run again as the second. */
static void
small(struct cell cells[][NR_PEERS])
{
	unsigned rounds = run->quick ? 20 : ROUNDS_MAX;

	for (unsigned i = 0; i <= run->repetitions; i++)
		for (unsigned nr = 0; nr <= READERS_MAX; nr++)
			for (unsigned peer = 0; peer < NR_PEERS; peer++) {
				cells[nr][peer].peer = (enum peer)peer;
				cells[nr][peer].nr_readers = nr;
				if (peer != LMDB || lmdb != NULL)
					cell_run(&cells[nr][peer],
						 i == 0 ? 0 : i - 1, rounds);
			}
	small_print(cells);
}

/**** 1 MiB ****/

static char *large_raw;
static unsigned large_next;

static double
large_memcpy(void *arg)
{
	uint64_t start = bench_now_ns();

	(void)arg;
	for (unsigned i = 0; i < NR_LARGE; i++) {
		memcpy(large_raw + large_next * (LARGE + 4096 + 64), data,
		       LARGE);
		large_next = (large_next + 1) % (2 * NR_LARGE);
	}
	return (double)(bench_now_ns() - start) / 1e3 / NR_LARGE;
}

static double
large_strata(void *arg)
{
	struct strata_writer *writer;
	uint64_t start;
	double time;

	(void)arg;
	need(strata_writer_open(store, &writer) == 0, "session");
	start = bench_now_ns();
	for (uint32_t i = 0; i < NR_LARGE; i++)
		commit_strata(DIMENSIONS + 1, i, LARGE, STRATA_PUT_BORROW);
	time = (double)(bench_now_ns() - start) / 1e3 / NR_LARGE;
	need(strata_writer_close(writer) == 0, "session");
	return time;
}

static struct bench_column large[] = {
	{"1 MiB memcpy", large_memcpy, NULL, {0}},
	{"1 MiB strata, session, borrowed", large_strata, NULL, {0}},
};

/**** all of it ****/

static void
setup(uint64_t *random)
{
	data = malloc(LARGE);
	need(data != NULL, "memory");
	for (size_t i = 0; i < LARGE; i++)
		data[i] = (char)bench_random(random);
	raw = proc_shared(sizeof(*raw));
	control = proc_shared(sizeof(*control));
	large_raw = proc_shared(2 * NR_LARGE * (LARGE + 4096 + 64));
	for (unsigned i = 0; i < SPARES; i++)
		spares[i] = raw->blocks + (TOTAL + i) * STRIDE;
	for (uint32_t i = 0; i < TOTAL; i++) {
		order[i] = i;
		atomic_store_explicit(&raw->places[i], raw->blocks + i * STRIDE,
				      memory_order_relaxed);
		commit(STRATA, i);
		if (lmdb != NULL)
			commit(LMDB, i);
	}
	bench_shuffle(order, TOTAL, random);
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
	static struct cell cells[READERS_MAX + 1][NR_PEERS];
	struct bench bench;
	uint64_t random;

	bench_begin(&bench, argc, argv, "commit: begin, put, commit");
	run = &bench;
	random = bench.seed;
	printf("# %d dimensions of %d layers of %zu KiB, writer and readers "
	       "pinned; each time has %.0f ns of the clock in it\n",
	       DIMENSIONS, LAYERS, SIZE / 1024, clock_time());
	store = bench_store("commit", LIMIT, 0);
	snprintf(store_named, sizeof(store_named), "%s", strata_name(store));
	lmdb = lmdb_open(bench.folder, LMDB_SIZE);
	setup(&random);
	for (unsigned i = 0; i < READERS_MAX; i++) {
		readers[i].nr = i;
		proc_start(&readers[i].proc, reader_run, &readers[i]);
		proc_hear(&readers[i].proc, 'r');
	}
	bench_pin(0);

	small(cells);
	for (unsigned i = 0; i < READERS_MAX; i++) {
		proc_say(&readers[i].proc, 'e');
		proc_join(&readers[i].proc);
	}
	bench_interleave(&bench, large, 2);
	bench_print(&bench, "us", large, 2);
	printf("ratios: 16 KiB p50 in a session/raw publish %.2f",
	       p50_ratio(&cells[0][STRATA], &cells[0][RAW]));
	if (lmdb != NULL)
		printf(", session/lmdb %.2f, lock per commit/lmdb %.2f",
		       p50_ratio(&cells[0][STRATA], &cells[0][LMDB]),
		       p50_ratio(&cells[0][STRATA_LOCK], &cells[0][LMDB]));
	printf(", 1 MiB/memcpy %.2f\n",
	       bench_ratio(&bench, &large[1], &large[0]).median);

	lmdb_close(lmdb);
	lmdb_remove(bench.folder);
	bench_store_end(store);
	bench_end();
	return 0;
}
