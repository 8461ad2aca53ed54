/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Blocks: where they are, how large, and what their records say. */
#ifndef STRATA_BLOCK_H
#define STRATA_BLOCK_H

#include "space.h"

/* A block, or a run of blocks of the largest class. */
struct strata__block {
	uint32_t class_;
	uint32_t index;
	uint32_t run;
};

/**** classes ****/

static inline const struct strata__class *
strata__class_of(const struct strata__space *space, uint32_t class_)
{
	return &space->geometry->classes[class_];
}

static inline struct strata__class_counters *
strata__counters_of(const struct strata__space *space, uint32_t class_)
{
	return &space->catalog->counters.classes[class_];
}

/* The only one that gives runs. */
static inline uint32_t
strata__last_class(const struct strata__space *space)
{
	return space->geometry->nr_classes - 1;
}

/* Where a pool segment ends that holds so many blocks. */
uint64_t strata__class_size(const struct strata__class *class_,
			    uint64_t nr_blocks);
/* Blocks that lie wholly in a pool segment of that size. */
uint64_t strata__class_blocks(const struct strata__class *class_,
			      uint64_t size);

/**** places ****/

static inline uint64_t
strata__block_ref(const struct strata__space *space,
		  const struct strata__block *block)
{
	const struct strata__class *class_ =
		strata__class_of(space, block->class_);

	return class_->place + STRATA_POOL_BLOCKS +
	       block->index * class_->stride;
}

static inline struct strata__record *
strata__block_record(const struct strata__space *space,
		     const struct strata__block *block)
{
	return &strata__class_records(space, block->class_)[block->index];
}

/* Bytes of memory that it takes: stride times run. */
static inline uint64_t
strata__block_bytes(const struct strata__space *space,
		    const struct strata__block *block)
{
	return block->run * strata__class_of(space, block->class_)->stride;
}

/* The block that a reference (its tag is ignored) points to the start of, run
 * as its record says, 1 if that is FREE; false when it is no such place (not in
 * a pool, not aligned to a block, at or above what is grown, a run that is too
 * long). */
bool strata__block_at(const struct strata__space *space, uint64_t ref,
		      struct strata__block *ret);
/* The same by places only, whatever is grown and whatever its record says; run
 * is 1. For who reads the record at times of his own. */
bool strata__block_place(const struct strata__space *space, uint64_t ref,
			 struct strata__block *ret);

/**** records: reading ****/

static inline uint32_t
strata__record_state(const struct strata__record *record)
{
	/* Letter F: pairs with the releases in block.c. */
	return atomic_load_explicit(&record->state, memory_order_acquire);
}

/* Blocks from a record in that state to the next one that speaks for itself; 0
 * when the record says nonsense: more than the room there is, or none. */
static inline uint32_t
strata__record_run(const struct strata__record *record, uint32_t state,
		   uint64_t room)
{
	uint32_t run;

	if (state == STRATA_FREE)
		return 1;
	run = atomic_load_explicit(&record->run, memory_order_relaxed);
	return run <= room ? run : 0;
}

/*
 * A walk over the records of a class, block by block:
 *
 *	strata__blocks_init(&blocks, space, class_);
 *	while (strata__blocks_next(&blocks))
 *		... blocks.index, blocks.state, blocks.run ...
 *
 * Records behind the first one of a run stay FREE all the time: one store of
 * the first record's state frees them all. So whoever looks at records starts
 * at 0 and steps over runs, as this does.
 */
struct strata__blocks {
	struct strata__record *records;
	uint64_t grown; /* where the walk ends */
	uint64_t next;  /* index of the block that comes next */
	/* The block that the walk is at. */
	struct strata__record *record;
	uint64_t index;
	uint32_t state;
	uint32_t run;   /* blocks that it is long; 1 when broken */
	bool is_broken; /* its record says a run that cannot be */
};

static inline void
strata__blocks_init(struct strata__blocks *blocks,
		    const struct strata__space *space, uint32_t class_)
{
	uint64_t grown =
		strata__count(&strata__counters_of(space, class_)->grown);
	uint64_t most = strata__class_of(space, class_)->nr_blocks;

	*blocks = (struct strata__blocks){
		.records = strata__class_records(space, class_),
		.grown = grown < most ? grown : most,
	};
}

static inline bool
strata__blocks_next(struct strata__blocks *blocks)
{
	if (blocks->next >= blocks->grown)
		return false;
	blocks->index = blocks->next;
	blocks->record = &blocks->records[blocks->index];
	blocks->state = strata__record_state(blocks->record);
	blocks->run = strata__record_run(blocks->record, blocks->state,
					 blocks->grown - blocks->index);
	blocks->is_broken = blocks->run == 0;
	if (blocks->is_broken)
		blocks->run = 1;
	blocks->next += blocks->run;
	return true;
}

/**** records: writing, under the writer lock ****/

/* Run, birth, and a new generation; then ALLOCATED. */
void strata__record_allocate(struct strata__record *record, uint32_t run,
			     uint64_t birth);
/* Retirement, then RETIRED. */
void strata__record_retire(struct strata__record *record, uint64_t version);
/* FREE, in one store. */
void strata__record_free(struct strata__record *record);

#endif
