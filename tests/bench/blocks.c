/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What a single block of the pools costs: to take, to give back, to retire and
 * to reclaim. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "pool.h"
#include "proc.h"
#include "store.h"

/*
 * A commit takes and retires blocks along with much else, so this bench is
 * linked with the rooms themselves, and does what a commit does between dirty
 * and clean. Blocks are taken in batches, which is what a writer has that
 * reclaims every 128 to 256 commits. malloc() of the same sizes stands beside it:
 * it leaves no record that survives its process.
 */

#define BATCH   256u
#define CLASSES 4u

static const struct bench *run;
static struct strata_store *store;
static struct strata__block blocks[BATCH];
static void *chunks[BATCH];

/* As long as what it takes. */
static uint64_t
content_size(const void *arg)
{
	uint32_t class_ = *(const uint32_t *)arg;

	return store->space.geometry->classes[class_].block_size;
}

static double
per_block(uint64_t start)
{
	return (double)(bench_now_ns() - start) / BATCH;
}

static void
take_all(const void *arg)
{
	uint64_t size = content_size(arg);

	for (unsigned i = 0; i < BATCH; i++)
		if (strata__pool_take(&store->space, size, 1, 0, &blocks[i]) !=
		    0)
			need(false, "take");
}

static void
untake_all(void)
{
	for (unsigned i = BATCH; i-- > 0;)
		strata__pool_untake(&store->space, &blocks[i]);
}

static void
retire_all(void)
{
	for (unsigned i = 0; i < BATCH; i++)
		strata__pool_retire(&store->space, &blocks[i], 1);
}

static double
take(void *arg)
{
	uint64_t start = bench_now_ns();
	double ns;

	take_all(arg);
	ns = per_block(start);
	untake_all();
	return ns;
}

static double
untake(void *arg)
{
	uint64_t start;

	take_all(arg);
	start = bench_now_ns();
	untake_all();
	return per_block(start);
}

static double
retire(void *arg)
{
	uint64_t start;
	double ns;

	take_all(arg);
	start = bench_now_ns();
	retire_all();
	ns = per_block(start);
	need(strata__reclaim(store, NULL) == 0, "reclaim");
	return ns;
}

/* With the fence and the look at all pins, which are the same for any number of
 * blocks. */
static double
reclaim(void *arg)
{
	uint64_t start, freed;

	take_all(arg);
	retire_all();
	start = bench_now_ns();
	need(strata__reclaim(store, &freed) == 0, "reclaim");
	need(freed >= BATCH * content_size(arg), "%" PRIu64 " bytes freed",
	     freed);
	return per_block(start);
}

static double
with_malloc(void *arg)
{
	uint64_t size = content_size(arg), start = bench_now_ns();

	for (unsigned i = 0; i < BATCH; i++) {
		chunks[i] = malloc(size);
		need(chunks[i] != NULL, "malloc");
		*(volatile char *)chunks[i] = 1;
	}
	for (unsigned i = BATCH; i-- > 0;)
		free(chunks[i]);
	return per_block(start);
}

static void
class_run(uint32_t class_)
{
	struct bench_column columns[] = {
		{"take", take, &class_, {0}},
		{"give back, by an abort", untake, &class_, {0}},
		{"retire", retire, &class_, {0}},
		{"reclaim", reclaim, &class_, {0}},
		{"malloc, touch, free", with_malloc, &class_, {0}},
	};
	char title[80];

	snprintf(title, sizeof(title), "one of %u blocks of %" PRIu64 " KiB",
		 BATCH, content_size(&class_) >> 10);
	bench_interleave(run, columns, 5);
	bench_print(run, title, "ns", columns, 5, 0);
}

int
main(int argc, char **argv)
{
	struct bench bench;

	bench_begin(&bench, argc, argv,
		    "blocks: taking, retiring, reclaiming them");
	run = &bench;
	bench_pin(1);
	store = bench_store("blocks", UINT64_C(1) << 30, 0);
	need(strata__write_begin(store) == 0, "the writer lock");
	for (uint32_t class_ = 0; class_ < CLASSES; class_++)
		class_run(class_);
	strata__write_end(store);
	bench_store_end(store);
	bench_end();
	return 0;
}
