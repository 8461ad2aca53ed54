/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Where everything of a store is: planned once, at creation, and checked. */

#include <inttypes.h>
#include <string.h>

#include "error.h"
#include "space.h"

#define MIB UINT64_C(0x100000)

/* The window's first part: reference 0 is its page of zeroes, the rest of it is
 * never mapped, so that small wrong references hit nothing. */
#define WINDOW_FRONT (2 * MIB)
/* Places of regions begin so that huge pages can be had. */
#define REGION_ALIGN (2 * MIB)
/* Far more than machines have; what is below it cannot overflow in the sums. */
#define MAX_LIMIT_MAX (UINT64_C(1) << 44)
/* Items of the retired list have 28 bits for an index. */
#define INDEX_END (UINT64_C(1) << 28)
#define BLOCK_MAX (16 * MIB)

#define READERS_DEFAULT 1024u
#define READERS_MAX     65536u
#define PINS_SIZE_MAX   (STRATA_PINS_SLOTS + \
			 READERS_MAX * sizeof(struct strata__slot))
#define SEGMENTS_MIN    UINT64_C(1024)
#define SEGMENTS_MAX    UINT64_C(32768)
/* One entry of the segment table for each so many bytes of the limit. */
#define SEGMENT_SHARE (UINT64_C(128) << 10)

/* Fewer blocks than these make no sense, however small the limit. */
#define NODES_MIN  (UINT64_C(64) + STRATA_NODE_RESERVE)
#define BLOCKS_MIN UINT64_C(8)

/* The default classes; their shares of the limit, in 280ths. */
static const struct {
	uint64_t block_size;
	uint64_t share;
} defaults[] = {
	{UINT64_C(4) << 10, 32},
	{UINT64_C(16) << 10, 128},
	{UINT64_C(64) << 10, 80},
	{UINT64_C(256) << 10, 40},
};
#define NR_DEFAULTS (sizeof(defaults) / sizeof(defaults[0]))
#define SHARES      280

/**** sizes ****/

static uint64_t
stride_of(uint64_t block_size)
{
	return block_size + (block_size < (UINT64_C(16) << 10)
				     ? STRATA_NODE_SLACK
				     : STRATA_BLOCK_SLACK);
}

static int
plan_limits(const struct strata_config *config, struct strata__geometry *g)
{
	uint64_t limit = config->limit;
	uint64_t max_limit = config->max_limit;

	if (limit == 0)
		limit = STRATA_LIMIT_DEFAULT;
	if (limit < STRATA_LIMIT_MIN || limit > MAX_LIMIT_MAX)
		return strata__fail(STRATA_EINVAL,
				    "a limit of %" PRIu64
				    " bytes: %" PRIu64 " MiB are the least, "
				    "%" PRIu64 " TiB the most",
				    limit, STRATA_LIMIT_MIN >> 20,
				    MAX_LIMIT_MAX >> 40);
	if (max_limit == 0)
		max_limit =
			limit < MAX_LIMIT_MAX / 4 ? 4 * limit : MAX_LIMIT_MAX;
	if (max_limit < limit || max_limit > MAX_LIMIT_MAX)
		return strata__fail(STRATA_EINVAL,
				    "a largest limit of %" PRIu64
				    " bytes: the limit itself, %" PRIu64
				    " bytes, is the least, %" PRIu64
				    " TiB the most",
				    max_limit, limit, MAX_LIMIT_MAX >> 40);
	g->first_limit = limit & ~(STRATA_PAGE - 1);
	g->max_limit = max_limit & ~(STRATA_PAGE - 1);
	return 0;
}

static int
plan_readers(const struct strata_config *config, struct strata__geometry *g)
{
	uint64_t readers = config->readers;

	if (readers == 0)
		readers = READERS_DEFAULT;
	if (readers > READERS_MAX)
		return strata__fail(STRATA_EINVAL,
				    "%" PRIu64 " reader slots are more than %u",
				    readers, READERS_MAX);
	g->readers = (uint32_t)strata__round_up(readers, STRATA_CHUNK_SLOTS);
	g->pins_size = strata__round_up(
		STRATA_PINS_SLOTS + g->readers * sizeof(struct strata__slot),
		STRATA_PAGE);
	return 0;
}

/**** classes ****/

static int
check_class(const struct strata_config *config, uint32_t i)
{
	const struct strata_pool_config *pool = &config->pools[i];
	uint64_t size = pool->block_size;
	uint64_t least = i == 0 ? NODES_MIN : 1;

	if (size < STRATA_PAGE || size > BLOCK_MAX || (size & (size - 1)) != 0)
		return strata__fail(STRATA_EINVAL,
				    "blocks of %" PRIu64 " bytes: a power of "
				    "two from 4096 to %" PRIu64 " is needed",
				    size, BLOCK_MAX);
	if (i == 0 && size != STRATA_NODE_SIZE)
		return strata__fail(STRATA_EINVAL,
				    "the first pool must have blocks of %u "
				    "bytes: the index lives there",
				    STRATA_NODE_SIZE);
	if (i > 0 && size <= config->pools[i - 1].block_size)
		return strata__fail(STRATA_EINVAL,
				    "the pools' block sizes must ascend");
	if (pool->max_size / stride_of(size) < least)
		return strata__fail(STRATA_EINVAL,
				    "a pool of %" PRIu64 " bytes is too small: "
				    "%" PRIu64 " blocks of %" PRIu64
				    " bytes are the least",
				    pool->max_size, least, stride_of(size));
	return 0;
}

/* Blocks at the first limit, and at the largest. */
static int
plan_class(struct strata__geometry *g, struct strata__class *class_,
	   uint64_t block_size, uint64_t max_size)
{
	uint64_t stride = stride_of(block_size);
	unsigned __int128 most;

	if (max_size > g->first_limit)
		max_size = g->first_limit;
	class_->block_size = block_size;
	class_->stride = stride;
	class_->max_size = max_size / stride * stride;
	/* Both factors are below 2^45. */
	most = (unsigned __int128)class_->max_size * g->max_limit /
	       g->first_limit / stride;
	if (most >= INDEX_END)
		return strata__fail(STRATA_EINVAL,
				    "%" PRIu64 " blocks of %" PRIu64
				    " bytes are more than a pool can have",
				    (uint64_t)most, block_size);
	if (most == 0)
		return strata__fail(
			STRATA_EINVAL,
			"blocks of %" PRIu64
			" bytes do not fit into the limit of %" PRIu64,
			block_size, g->first_limit);
	class_->nr_blocks = (uint64_t)most;
	class_->map_size = strata__round_up(
		STRATA_POOL_BLOCKS + class_->nr_blocks * stride, STRATA_PAGE);
	return 0;
}

static int
plan_default_classes(struct strata__geometry *g)
{
	uint32_t i;
	int code = 0;

	for (i = 0; i < NR_DEFAULTS && code == 0; i++) {
		uint64_t size = defaults[i].block_size;
		uint64_t least =
			stride_of(size) * (i == 0 ? NODES_MIN : BLOCKS_MIN);
		uint64_t max = g->first_limit / SHARES * defaults[i].share;

		code = plan_class(g, &g->classes[i], size,
				  max > least ? max : least);
	}
	g->nr_classes = NR_DEFAULTS;
	return code;
}

static int
plan_classes(const struct strata_config *config, struct strata__geometry *g)
{
	uint32_t i;
	int code = 0;

	if (config->nr_pools == 0)
		return plan_default_classes(g);
	if (config->nr_pools > STRATA_CLASSES_MAX)
		return strata__fail(STRATA_EINVAL,
				    "%" PRIu32 " pools are more than %d",
				    config->nr_pools, STRATA_CLASSES_MAX);
	for (i = 0; i < config->nr_pools && code == 0; i++) {
		code = check_class(config, i);
		if (code == 0)
			code = plan_class(g, &g->classes[i],
					  config->pools[i].block_size,
					  config->pools[i].max_size);
	}
	g->nr_classes = config->nr_pools;
	return code;
}

/**** places ****/

/* The next page-aligned thing of that many bytes; sums stay far below 2^63,
 * since blocks and segments are bounded. */
static uint64_t
append(uint64_t *end, uint64_t size)
{
	uint64_t at = *end;

	*end = strata__round_up(at + size, STRATA_PAGE);
	return at;
}

static void
place_records(struct strata__geometry *g)
{
	uint64_t end =
		strata__round_up(sizeof(struct strata__catalog), STRATA_PAGE);
	uint32_t i;

	g->segments =
		append(&end, g->nr_segments * sizeof(struct strata__segment));
	for (i = 0; i < g->nr_classes; i++)
		g->classes[i].records =
			append(&end, g->classes[i].nr_blocks *
					     sizeof(struct strata__record));
	g->catalog_size = end;
}

static void
place_hints(struct strata__geometry *g)
{
	uint64_t end =
		strata__round_up(sizeof(struct strata__lock), STRATA_PAGE);
	uint64_t items = g->nr_segments;
	uint32_t i;

	for (i = 0; i < g->nr_classes; i++) {
		g->classes[i].free_stack = append(
			&end, g->classes[i].nr_blocks * sizeof(uint32_t));
		items += g->classes[i].nr_blocks;
	}
	g->retired = append(&end, items * sizeof(uint32_t));
	g->lock_size = end;
}

/*
 * Pools lie at distances of odd numbers of pages: at powers of two, equal
 * blocks of all classes would fall into the same sets of the cache.
 * The region area is twice as large as all regions together may be, so that a
 * large one finds a place between small ones; addresses cost nothing.
 */
static void
place_window(struct strata__geometry *g)
{
	uint64_t at = WINDOW_FRONT;
	uint32_t i;

	for (i = 0; i < g->nr_classes; i++) {
		/* At least one page between them is never mapped. */
		uint64_t pages = g->classes[i].map_size / STRATA_PAGE + 1;

		g->classes[i].place = at;
		at += (pages | 1) * STRATA_PAGE;
	}
	g->region_base = strata__round_up(at, REGION_ALIGN);
	g->region_size = strata__round_up(2 * g->max_limit, REGION_ALIGN);
	g->window_size = g->region_base + g->region_size;
}

uint64_t
strata__geometry_least(const struct strata__geometry *g)
{
	return g->catalog_size + g->lock_size + g->pins_size +
	       g->nr_classes * STRATA_PAGE +
	       STRATA_NODE_RESERVE * g->classes[0].stride + STRATA_POOL_STEP;
}

static int
check_room(const struct strata__geometry *g)
{
	uint64_t least = strata__geometry_least(g);

	if (least <= g->first_limit)
		return 0;
	strata__fail(STRATA_ELIMIT,
		     "a limit of %" PRIu64 " bytes is too small: this store "
		     "needs %" PRIu64 " at least, of which %" PRIu64
		     " are tables for its largest limit of %" PRIu64,
		     g->first_limit, least, g->catalog_size + g->lock_size,
		     g->max_limit);
	strata__error()->requested = least;
	strata__error()->limit = g->first_limit;
	return STRATA_ELIMIT;
}

int
strata__geometry_plan(const struct strata_config *config,
		      struct strata__geometry *ret)
{
	struct strata__geometry g;
	uint64_t segments;
	int code;

	memset(&g, 0, sizeof(g));
	code = plan_limits(config, &g);
	if (code == 0)
		code = plan_readers(config, &g);
	if (code == 0)
		code = plan_classes(config, &g);
	if (code != 0)
		return code;
	segments = g.max_limit / SEGMENT_SHARE;
	if (segments < SEGMENTS_MIN)
		segments = SEGMENTS_MIN;
	if (segments > SEGMENTS_MAX)
		segments = SEGMENTS_MAX;
	g.nr_segments = (uint32_t)segments;
	g.huge_pages = (uint32_t)config->huge_pages;
	place_records(&g);
	place_hints(&g);
	place_window(&g);
	code = check_room(&g);
	if (code == 0)
		*ret = g;
	return code;
}

/**** checking ****/

/*
 * A geometry that was read is checked by bounds and not by planning it again: a
 * newer library may plan otherwise.
 */

/* nr things of size bytes at a page-aligned offset, in what has end bytes. */
static bool
fits(uint64_t at, uint64_t nr, uint64_t size, uint64_t end)
{
	uint64_t bytes;

	return at % STRATA_PAGE == 0 &&
	       !__builtin_mul_overflow(nr, size, &bytes) && at <= end &&
	       bytes <= end - at;
}

static const char *
check_sizes(const struct strata__geometry *g, uint64_t size)
{
	if (g->catalog_size != size || size < sizeof(struct strata__catalog))
		return "size of the catalog";
	if (g->lock_size < sizeof(struct strata__lock) ||
	    g->lock_size % STRATA_PAGE != 0)
		return "size of the lock segment";
	if (g->first_limit == 0 || g->first_limit > g->max_limit ||
	    g->max_limit > MAX_LIMIT_MAX)
		return "limits";
	if (g->readers == 0 || g->readers > READERS_MAX ||
	    g->readers % STRATA_CHUNK_SLOTS != 0 ||
	    !fits(STRATA_PINS_SLOTS, g->readers, sizeof(struct strata__slot),
		  g->pins_size) ||
	    g->pins_size > PINS_SIZE_MAX || g->pins_size % STRATA_PAGE != 0)
		return "reader slots";
	if (g->nr_classes == 0 || g->nr_classes > STRATA_CLASSES_MAX)
		return "number of pools";
	if (memchr(g->name, '\0', sizeof(g->name)) == NULL)
		return "name";
	return NULL;
}

static const char *
check_segments(const struct strata__geometry *g)
{
	uint64_t items = g->nr_segments;
	uint32_t i;

	if (g->nr_segments == 0 || g->nr_segments >= INDEX_END ||
	    g->segments < sizeof(struct strata__catalog) ||
	    !fits(g->segments, g->nr_segments, sizeof(struct strata__segment),
		  g->catalog_size))
		return "segment table";
	for (i = 0; i < g->nr_classes; i++)
		items += g->classes[i].nr_blocks;
	if (g->retired < sizeof(struct strata__lock) ||
	    !fits(g->retired, items, sizeof(uint32_t), g->lock_size))
		return "retired list";
	return NULL;
}

static const char *
check_blocks(const struct strata__geometry *g, const struct strata__class *c)
{
	uint64_t bytes;

	if (c->block_size < STRATA_PAGE || c->block_size > BLOCK_MAX ||
	    (c->block_size & (c->block_size - 1)) != 0 ||
	    c->stride < c->block_size || c->stride > 2 * c->block_size ||
	    c->stride % 64 != 0)
		return "block size";
	if (c->nr_blocks == 0 || c->nr_blocks >= INDEX_END ||
	    c->map_size % STRATA_PAGE != 0 ||
	    __builtin_mul_overflow(c->nr_blocks, c->stride, &bytes) ||
	    c->map_size < STRATA_POOL_BLOCKS ||
	    bytes > c->map_size - STRATA_POOL_BLOCKS)
		return "number of blocks";
	if (c->records < sizeof(struct strata__catalog) ||
	    !fits(c->records, c->nr_blocks, sizeof(struct strata__record),
		  g->catalog_size))
		return "state records";
	if (c->free_stack < sizeof(struct strata__lock) ||
	    !fits(c->free_stack, c->nr_blocks, sizeof(uint32_t), g->lock_size))
		return "free stack";
	return NULL;
}

/* Pools ascend and do not overlap; the regions come after them. */
static const char *
check_window(const struct strata__geometry *g)
{
	uint64_t end = STRATA_PAGE;
	uint32_t i;

	for (i = 0; i < g->nr_classes; i++) {
		const struct strata__class *c = &g->classes[i];

		if (c->place < end ||
		    !fits(c->place, 1, c->map_size, g->region_base))
			return "place of a pool";
		end = c->place + c->map_size;
	}
	if (g->region_base % REGION_ALIGN != 0 ||
	    g->region_size % STRATA_PAGE != 0 ||
	    !fits(g->region_base, 1, g->region_size, g->window_size) ||
	    g->window_size % STRATA_PAGE != 0 ||
	    g->window_size > MAX_LIMIT_MAX * 16)
		return "region area";
	return NULL;
}

int
strata__geometry_check(const struct strata__geometry *geometry, uint64_t size)
{
	const char *wrong = check_sizes(geometry, size);
	uint32_t i;

	if (wrong == NULL &&
	    geometry->classes[0].block_size != STRATA_NODE_SIZE)
		wrong = "first pool";
	for (i = 0; wrong == NULL && i < geometry->nr_classes; i++)
		wrong = check_blocks(geometry, &geometry->classes[i]);
	if (wrong == NULL)
		wrong = check_segments(geometry);
	if (wrong == NULL)
		wrong = check_window(geometry);
	if (wrong == NULL)
		return 0;
	strata__fail(STRATA_ECORRUPT, "the catalog is damaged: %s", wrong);
	strata__error()->size = size;
	return STRATA_ECORRUPT;
}
