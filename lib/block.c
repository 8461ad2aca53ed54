/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Blocks: where they are, how large, and what their records say. */
#include "block.h"

#include "fence.h"
#include "testpoint.h"

/**** classes ****/

uint64_t
strata__class_size(const struct strata__class *class_, uint64_t nr_blocks)
{
	return strata__round_up(STRATA_POOL_BLOCKS + nr_blocks * class_->stride,
				STRATA_PAGE);
}

uint64_t
strata__class_blocks(const struct strata__class *class_, uint64_t size)
{
	uint64_t nr;

	if (size <= STRATA_POOL_BLOCKS)
		return 0;
	nr = (size - STRATA_POOL_BLOCKS) / class_->stride;
	return nr < class_->nr_blocks ? nr : class_->nr_blocks;
}

/**** places ****/

static bool
class_block_at(const struct strata__space *space, uint32_t class_, uint64_t ref,
	       struct strata__block *ret)
{
	const struct strata__class *class = strata__class_of(space, class_);
	uint64_t grown =
		strata__count(&strata__counters_of(space, class_)->grown);
	uint64_t offset = ref - class->place - STRATA_POOL_BLOCKS;
	uint64_t index = offset / class->stride;
	const struct strata__record *record;
	uint32_t run;

	if (offset % class->stride != 0 || index >= grown ||
	    index >= class->nr_blocks)
		return false;
	record = &strata__class_records(space, class_)[index];
	run = strata__record_run(record, strata__record_state(record),
				 grown - index);
	if (run == 0)
		return false;
	ret->class_ = class_;
	ret->index = (uint32_t)index;
	ret->run = run;
	return true;
}

bool
strata__block_place(const struct strata__space *space, uint64_t ref,
		    struct strata__block *ret)
{
	const struct strata__class *class_;
	uint64_t offset;
	uint32_t c;

	for (c = 0; c <= strata__last_class(space); c++) {
		class_ = strata__class_of(space, c);
		offset = ref - class_->place - STRATA_POOL_BLOCKS;
		if (ref < class_->place + STRATA_POOL_BLOCKS ||
		    offset / class_->stride >= class_->nr_blocks)
			continue;
		ret->class_ = c;
		ret->index = (uint32_t)(offset / class_->stride);
		ret->run = 1;
		return offset % class_->stride == 0;
	}
	return false;
}

bool
strata__block_at(const struct strata__space *space, uint64_t ref,
		 struct strata__block *ret)
{
	const struct strata__class *class_;
	uint32_t c;

	ref &= ~STRATA_REF_TAG;
	for (c = 0; c <= strata__last_class(space); c++) {
		class_ = strata__class_of(space, c);
		if (ref >= class_->place + STRATA_POOL_BLOCKS &&
		    ref - class_->place < class_->map_size)
			return class_block_at(space, c, ref, ret);
	}
	return false;
}

/**** records ****/

/*
 * Letter F. A killed writer exposes its stores in the order of the program,
 * which only the compiler can break: so each is a release, and the state, which
 * decides, comes last. Pairs with strata__record_state() in recovery and in
 * observers, who copy without a pin and look at the record behind the copy.
 * Without it they could see ALLOCATED with the birth or the run of the life
 * before.
 */
static void
record_word(_Atomic uint64_t *word, uint64_t to)
{
	atomic_store_explicit(word, to, memory_order_release);
}

static void
record_set_state(struct strata__record *record, enum strata__state state)
{
	atomic_store_explicit(&record->state, state, memory_order_release);
}

void
strata__record_allocate(struct strata__record *record, uint32_t run,
			uint64_t birth)
{
	record_word(&record->birth, birth);
	STRATA_TESTPOINT("pool.take.dated");
	atomic_store_explicit(&record->run, run, memory_order_release);
	STRATA_TESTPOINT("pool.take.measured");
	record_word(&record->generation,
		    strata__count(&record->generation) + 1);
	STRATA_TESTPOINT("pool.take.born");
	record_set_state(record, STRATA_ALLOCATED);
	/* Letter L: pairs with the fence behind an observer's copy. Whoever
	 * reads a byte that is written to the block from here on, by any way,
	 * finds the birth above, or later. A release orders only what is before
	 * it. */
	strata__fence_release();
	STRATA_TESTPOINT("pool.take.allocated");
}

void
strata__record_retire(struct strata__record *record, uint64_t version)
{
	record_word(&record->retirement, version);
	STRATA_TESTPOINT("pool.retire.stamped");
	record_set_state(record, STRATA_RETIRED);
	STRATA_TESTPOINT("pool.retire.retired");
}

void
strata__record_free(struct strata__record *record)
{
	record_set_state(record, STRATA_FREE);
	STRATA_TESTPOINT("pool.free.freed");
}
