/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Pools: taking blocks, retiring them, giving them back. */
#include <inttypes.h>
#include <string.h>

#include "error.h"
#include "fence.h"
#include "log.h"
#include "pool-private.h"
#include "testpoint.h"

/*
 * Runs are found by a search of the records of the largest class, from the
 * lowest: that packs what is used at the front, where it is warm, and leaves a
 * tail that can be given back. The search reads 32 bytes for a block of 256 KiB
 * and the run's content is copied anyway, so a better structure (a tree of
 * gaps) would be one more thing to repair and nothing to gain. The indices of a
 * run are then taken out of the stack, which so has each free block exactly
 * once, in this class as in the others.
 */

/**** taking ****/

/* Finds so many free blocks in a row, from the lowest on. False: there are
 * only ret_tail ones at the end. */
static bool
run_find(const struct strata__space *space, uint32_t class_, uint64_t nr,
	 uint64_t *ret_first, uint64_t *ret_tail)
{
	struct strata__blocks blocks;
	uint64_t found = 0;

	strata__blocks_init(&blocks, space, class_);
	while (found < nr && strata__blocks_next(&blocks))
		found = blocks.state == STRATA_FREE ? found + 1 : 0;
	*ret_tail = found;
	*ret_first = blocks.next - found;
	return found >= nr;
}

/* False: so many blocks must be added before it can be had. */
static bool
run_pop(struct strata__space *space, uint32_t class_, uint64_t nr,
	uint32_t *ret, uint64_t *ret_missing)
{
	uint64_t first, tail;

	if (!run_find(space, class_, nr, &first, &tail)) {
		*ret_missing = nr - tail;
		return false;
	}
	if (!strata__stack_remove(space, class_, first, nr)) {
		strata__class_rebuild(space, class_);
		(void)strata__stack_remove(space, class_, first, nr);
	}
	*ret = (uint32_t)first;
	return true;
}

/* What a request asks of one class. */
struct want {
	uint64_t run;
	uint64_t keep; /* free blocks that must be left */
	bool may_grow;
};

/* STRATA_ECLASS is not told. */
static int
class_pop(struct strata__space *space, uint32_t class_, const struct want *want,
	  uint32_t *ret)
{
	struct strata__class_counters *counters =
		strata__counters_of(space, class_);
	uint64_t nr_free, missing;
	int code;

	for (;;) {
		if (!strata__stack_is_sane(space, class_))
			strata__class_rebuild(space, class_);
		nr_free = strata__count(&counters->nr_free);
		if (nr_free < want->keep + want->run) {
			missing = want->keep + want->run - nr_free;
		} else if (want->run > 1) {
			if (run_pop(space, class_, want->run, ret, &missing))
				return 0;
		} else {
			if (strata__stack_pop(space, class_, ret))
				return 0;
			strata__class_rebuild(space, class_);
			continue;
		}
		if (!want->may_grow)
			return STRATA_ECLASS;
		code = strata__class_grow(space, class_, missing);
		if (code != 0)
			return code;
	}
}

/* New protos end before the store is full, so that there is room to remove,
 * to crystallise and to reload. */
static bool
is_critical(const struct strata__space *space, uint64_t bytes)
{
	uint64_t limit = strata__count(&space->catalog->counters.limit);
	uint64_t held = strata__space_held(space);

	limit = limit / 100 * 95; /* as strata__space_pressure() */
	return held > limit || bytes > limit - held;
}

/* The smallest class that holds size bytes in one block; else the last. */
static uint32_t
class_for(const struct strata__space *space, uint64_t size)
{
	uint32_t c;

	for (c = 0; c < strata__last_class(space); c++)
		if (size <= strata__class_of(space, c)->stride)
			break;
	return c;
}

/* Blocks of a class that size bytes need; more than one only of the last. */
static uint64_t
run_for(const struct strata__space *space, uint32_t class_, uint64_t size)
{
	uint64_t stride = strata__class_of(space, class_)->stride;

	return size > stride ? (size + stride - 1) / stride : 1;
}

static int
tell_critical(const struct strata__space *space, uint64_t bytes)
{
	(void)strata__fail(
		STRATA_ELIMIT,
		"no room for a new proto: with its %" PRIu64 " bytes the store "
		"would be more than 95 %% full (%" PRIu64 " of %" PRIu64
		" are held, of which %" PRIu64 " are retired); remove or unload "
		"something, run strata gc, or raise the limit with strata "
		"limit",
		bytes, strata__space_held(space),
		strata__count(&space->catalog->counters.limit),
		strata__retired_bytes(space));
	strata__space_error(space, bytes);
	return STRATA_ELIMIT;
}

static int
tell_too_big(const struct strata__space *space, uint64_t size)
{
	(void)strata__fail(STRATA_ETOOBIG,
			   "%" PRIu64 " bytes are more than the largest pool "
			   "of this store could ever hold (%" PRIu64
			   "); load it as a dimension file",
			   size, strata__pool_max_content(space));
	strata__space_error(space, size);
	return STRATA_ETOOBIG;
}

static int
count_failure(struct strata__space *space, uint32_t class_, int code)
{
	struct strata__counters *counters = &space->catalog->counters;

	strata__count_add(&counters->classes[class_].failed, 1);
	if (code == STRATA_ELIMIT || code == STRATA_ESHM)
		strata__count_refusal(space, code);
	else
		strata__count_add(&counters->failures_class, 1);
	return code;
}

/* Removals have a reserve; somebody who stands still can use it up, and so can
 * a transaction that removes from very many nodes at once. */
static int
tell_reserve_gone(const struct strata__space *space, int code)
{
	strata__error_append(
		"; the node blocks kept for removals are used up: %" PRIu64
		" by this one (remove less at once), %" PRIu64
		" retired ones wait for their readers (see strata readers)",
		space->taken[0],
		strata__count(&strata__counters_of(space, 0)->retired));
	return code;
}

/* Blocks of class 0 that are not for this request. Contents leave some to nodes,
 * without which nothing could be put into the larger classes either. */
static uint64_t
kept_back(const struct strata__space *space, bool is_node, bool is_removal)
{
	uint64_t for_nodes;

	if (is_removal)
		return 0;
	if (is_node)
		return STRATA_NODE_RESERVE;
	for_nodes = strata__pool_max_blocks(space, 0) / 64;
	if (for_nodes > STRATA_NODE_RESERVE)
		for_nodes = STRATA_NODE_RESERVE;
	return STRATA_NODE_RESERVE + for_nodes;
}

/*
 * The class of the request, then those above it. After a refusal of memory,
 * which has been told, a larger class may still have a block that is free.
 */
static int
serve(struct strata__space *space, uint32_t first, uint64_t size,
      unsigned flags, struct strata__block *ret)
{
	bool is_node = (flags & STRATA_TAKE_NODE) != 0;
	bool is_removal = (flags & STRATA_TAKE_RESERVE) != 0;
	uint32_t last = is_node ? first : strata__last_class(space);
	struct want want;
	uint32_t class_;
	int code, told = 0;

	for (class_ = first; class_ <= last; class_++) {
		want.run = run_for(space, class_, size);
		want.keep = class_ == 0 ?
			kept_back(space, is_node, is_removal) :
			0;
		want.may_grow = told == 0;
		if (!is_node && !is_removal &&
		    is_critical(
			    space,
			    want.run * strata__class_of(space, class_)->stride))
			break;
		code = class_pop(space, class_, &want, &ret->index);
		if (code == 0) {
			ret->class_ = class_;
			ret->run = (uint32_t)want.run;
			return 0;
		}
		if (code != STRATA_ECLASS)
			told = code;
	}
	if (told == 0)
		told = class_ <= last
			       ? tell_critical(space, size)
			       : strata__class_tell_full(space, first, size,
							 is_node);
	return is_removal ? tell_reserve_gone(space, told) : told;
}

int
strata__pool_take(struct strata__space *space, uint64_t size, uint64_t birth,
		  unsigned flags, struct strata__block *ret)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint32_t first = class_for(space, size);
	struct strata__block block;
	struct strata__class_counters *class_;
	int code;

	if (size > strata__pool_max_content(space))
		return count_failure(space, first, tell_too_big(space, size));
	code = serve(space, first, size, flags, &block);
	if (code != 0)
		return count_failure(space, first, code);
	STRATA_TESTPOINT("pool.take.popped");
	strata__record_allocate(strata__block_record(space, &block), block.run,
				birth);
	class_ = &counters->classes[block.class_];
	strata__count_add(&class_->live, block.run);
	space->taken[block.class_] += block.run;
	strata__count_max(&class_->peak,
			  strata__count(&class_->live) +
				  strata__count(&class_->retired));
	strata__count_add(&counters->allocations, 1);
	if (block.class_ != first)
		strata__count_add(&counters->classes[first].spilled, 1);
	space->slack[block.class_] += strata__block_bytes(space, &block) - size;
	strata__pool_populate(space, &block);
	STRATA_LOG(STRATA_LOG_DEBUG,
		   "store '%s': took block %" PRIu64 " of class %u, %u in a row, "
		   "for %" PRIu64 " bytes",
		   space->geometry->name, (uint64_t)block.index,
		   (unsigned)block.class_, (unsigned)block.run, size);
	strata__pool_warn(space);
	*ret = block;
	return 0;
}

/**** giving back ****/

static bool
block_is(const struct strata__space *space, const struct strata__block *block,
	 enum strata__state state)
{
	return strata__record_state(strata__block_record(space, block)) ==
	       state;
}

static void
block_free(struct strata__space *space, const struct strata__block *block)
{
	strata__record_free(strata__block_record(space, block));
#ifdef STRATA_TESTING
	/* Letter L: as if somebody had taken it. */
	strata__fence_release();
#endif
	if (!STRATA_BROKEN(STRATA_NO_POISON))
		STRATA_POISON(strata__at(space,
					 strata__block_ref(space, block)),
			      strata__block_bytes(space, block));
	STRATA_TESTPOINT("pool.free.poisoned");
	strata__stack_push(space, block->class_, block->index, block->run);
	strata__count_add(&space->catalog->counters.deallocations, 1);
	STRATA_TESTPOINT("pool.free.listed");
	STRATA_LOG(STRATA_LOG_DEBUG,
		   "store '%s': freed block %" PRIu64 " of class %u, %u in a row",
		   space->geometry->name, (uint64_t)block->index,
		   (unsigned)block->class_, (unsigned)block->run);
}

void
strata__pool_untake(struct strata__space *space,
		    const struct strata__block *block)
{
	if (!block_is(space, block, STRATA_ALLOCATED))
		return;
	strata__count_sub(&strata__counters_of(space, block->class_)->live,
			  block->run);
	space->taken[block->class_] -= space->taken[block->class_] < block->run
					       ? space->taken[block->class_]
					       : block->run;
	block_free(space, block);
}

void
strata__pool_retire(struct strata__space *space,
		    const struct strata__block *block, uint64_t version)
{
	struct strata__counters *counters = &space->catalog->counters;
	struct strata__class_counters *class_;

	if (!block_is(space, block, STRATA_ALLOCATED))
		return;
	strata__record_retire(strata__block_record(space, block), version);
	strata__retired_push(space,
			     STRATA_RETIRED_ITEM(block->class_, block->index));
	class_ = &counters->classes[block->class_];
	strata__count_sub(&class_->live, block->run);
	strata__count_add(&class_->retired, block->run);
	STRATA_TESTPOINT("pool.retire.listed");
	STRATA_LOG(STRATA_LOG_DEBUG,
		   "store '%s': retired block %" PRIu64 " of class %u at version "
		   "%" PRIu64,
		   space->geometry->name, (uint64_t)block->index,
		   (unsigned)block->class_, version);
}

void
strata__pool_reclaim(struct strata__space *space,
		     const struct strata__block *block)
{
	if (!block_is(space, block, STRATA_RETIRED))
		return;
	strata__count_sub(&strata__counters_of(space, block->class_)->retired,
			  block->run);
	block_free(space, block);
}
