/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The time of one lookup and of reading a whole value, beside all peers. */
#include <stdio.h>
#include <string.h>

#include "peer.h"
#include "proc.h"

/*
 * Latency: the first bytes of each content say which layer is next, so that a
 * lookup cannot begin before the one before it has ended; all layers form one
 * cycle. Throughput: the order is known beforehand, and what the CPU can do at
 * the same time it does. One section: entered once for all lookups. "strata"
 * calls the shared library, as every program can; "strata, inline" is compiled
 * with strata/inline.h. What is to be reached in latency, is by calls; in
 * throughput three calls in which nothing is done take longer than that.
 *
 * The limit of all zero-copy lookups is an array of pointers to contents that
 * spread over the sets of the cache: two loads.
 */

struct column {
	const struct peer *peer;
	uint64_t (*loop)(uint64_t steps);
	uint64_t steps;
	size_t bytes; /* of a step; 0: times are asked for, not GB/s */
};

static double
column_run(void *arg)
{
	const struct column *column = arg;
	uint64_t start, time;

	/* What the column before left in the caches is not this one's. */
	if (column->bytes == 0)
		bench_use(column->loop(column->steps / 20));
	start = bench_now_ns();
	bench_use(column->loop(column->steps));
	time = bench_now_ns() - start;
	if (column->bytes > 0)
		return (double)(column->bytes * column->steps) / (double)time;
	return (double)time / (double)column->steps;
}

/* What three calls of a shared library cost, in which nothing is done. */
static uint64_t
empty_calls(uint64_t steps)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < steps; i++) {
		sum += strata_reader_version(NULL);
		sum += strata_reader_version(NULL);
		sum += strata_reader_version(NULL);
	}
	return sum;
}

enum kind { CHAIN, CHAIN_SECTION, MANY, MANY_SECTION, WHOLE, NR_KINDS };
static const char *const kinds[NR_KINDS] = {
	"lookup latency", "lookup latency, one section", "lookup throughput",
	"lookup throughput, one section", "whole values"};

/* A peer without sections has no other loop than that for one lookup. */
static uint64_t (*loop_of(const struct peer *peer, enum kind kind))(uint64_t)
{
	switch (kind) {
	case CHAIN:
		return peer->chain;
	case CHAIN_SECTION:
		return peer->chain_section ? peer->chain_section : peer->chain;
	case MANY:
		return peer->many;
	case MANY_SECTION:
		return peer->many_section ? peer->many_section : peer->many;
	default:
		return peer->whole;
	}
}

static uint64_t
steps_of(const struct bench *bench, const struct contents *contents,
	 const struct peer *peer, enum kind kind)
{
	uint64_t steps = bench->quick ? 200000 : 1000000;
	size_t mean = contents->bytes / PEER_TOTAL;

	/* Whole values: about 20, or 280, MiB. */
	if (kind == WHOLE)
		steps = ((bench->quick ? UINT64_C(20) : 280) << 20) / mean;
	else
		steps /= peer->slowness;
	/* All bytes of a content go through the socket. */
	if (peer == &peer_redis)
		steps = (UINT64_C(1) << 20) * (bench->quick ? 4 : 40) /
			(mean + (1 << 16));
	return steps < 10 ? 10 : steps;
}

struct row {
	struct bench_column *strata, *inlined, *raw, *lmdb, *redis;
};

static void
measure(const struct bench *bench, const struct contents *contents,
	const struct peer **peers, unsigned nr_peers, enum kind kind,
	struct row *row)
{
	static struct bench_column store[NR_KINDS][PEERS_MAX + 1];
	static struct column columns[PEERS_MAX + 1];
	struct bench_column *shown = store[kind];
	unsigned nr = 0;
	char title[100];

	memset(row, 0, sizeof(*row));
	for (unsigned i = 0; i < nr_peers; i++, nr++) {
		columns[nr] = (struct column){
			peers[i], loop_of(peers[i], kind),
			steps_of(bench, contents, peers[i], kind),
			kind == WHOLE ? contents->bytes / PEER_TOTAL : 0};
		shown[nr] = (struct bench_column){.name = peers[i]->name,
						  .run = column_run,
						  .arg = &columns[nr]};
		if (peers[i] == &peer_strata)
			row->strata = &shown[nr];
		else if (peers[i] == &peer_strata_inline)
			row->inlined = &shown[nr];
		else if (peers[i] == &peer_raw)
			row->raw = &shown[nr];
		else if (peers[i] == &peer_lmdb)
			row->lmdb = &shown[nr];
		else if (peers[i] == &peer_redis)
			row->redis = &shown[nr];
	}
	if (kind == MANY) {
		columns[nr] = (struct column){
			NULL, empty_calls, bench->quick ? 200000 : 1000000, 0};
		shown[nr] = (struct bench_column){.name = "three empty calls",
						  .run = column_run,
						  .arg = &columns[nr]};
		nr++;
	}
	bench_interleave(bench, shown, nr);
	snprintf(title, sizeof(title), "%s, %s", kinds[kind], contents->what);
	bench_print(bench, title, kind == WHOLE ? "GB/s" : "ns", shown, nr, 0);
}

static void
targets_large(const struct bench *bench, const struct row *rows)
{
	const struct row *chain = &rows[CHAIN];

	bench_at_most("lookup latency, 280 layers of 1 MiB, by calls / raw",
		      bench_ratio(bench, chain->strata, chain->raw), 1.6);
	if (chain->lmdb != NULL)
		bench_at_least("lookup latency, LMDB / strata by calls",
			       bench_ratio(bench, chain->lmdb, chain->strata),
			       9.5);
	bench_at_most("lookup throughput, inlined / raw",
		      bench_ratio(bench, rows[MANY].inlined, rows[MANY].raw),
		      3);
	bench_at_most("lookup throughput, one section, inlined / raw",
		      bench_ratio(bench, rows[MANY_SECTION].inlined,
				  rows[MANY_SECTION].raw),
		      2.2);
}

/* One size of contents. */
static void
size_run(const struct bench *bench, size_t size)
{
	static struct contents contents;
	const struct peer *peers[PEERS_MAX];
	struct row rows[NR_KINDS];
	unsigned nr;

	contents_init(&contents, bench, size, false);
	nr = peers_setup(peers, &contents);
	for (unsigned i = 0; i < nr; i++)
		peers[i]->open();
	for (unsigned kind = 0; kind < NR_KINDS; kind++)
		measure(bench, &contents, peers, nr, (enum kind)kind,
			&rows[kind]);
	if (size == 1 << 20)
		targets_large(bench, rows);
	if (size == 1 << 10 && rows[CHAIN].redis != NULL)
		bench_at_least("lookup latency, Redis 1 KiB / strata",
			       bench_ratio(bench, rows[CHAIN].redis,
					   rows[CHAIN].strata),
			       1500);
	for (unsigned i = 0; i < nr; i++)
		peers[i]->close();
	peers_remove(peers, nr);
	contents_fini(&contents);
}

int
main(int argc, char **argv)
{
	struct bench bench;

	bench_begin(&bench, argc, argv,
		    "lookup: lock, get, touch 16 bytes, unlock; whole values");
	bench_note(
		"%d dimensions of %d layers, in regions; one process, pinned",
		PEER_DIMENSIONS, PEER_LAYERS);
	bench_pin(1);
	size_run(&bench, 1 << 10);
	if (!bench.quick) {
		size_run(&bench, 16 << 10);
		size_run(&bench, 64 << 10);
		size_run(&bench, 0);
	}
	size_run(&bench, 1 << 20);
	bench_end();
	return 0;
}
