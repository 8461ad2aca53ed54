/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What the rooms of the pools share: pool.c, pool-hints.c, pool-size.c. */
#ifndef STRATA_POOL_PRIVATE_H
#define STRATA_POOL_PRIVATE_H

#include <sys/stat.h>

#include "pool.h"

/* Bytes that a pool segment has. Only what is no pool at all has none: then
 * nothing can be grown. */
static inline uint64_t
strata__pool_file_size(const struct strata__space *space, uint32_t class_)
{
	struct stat st;

	return fstat(space->pool_fd[class_], &st) == 0 ? (uint64_t)st.st_size
						       : 0;
}

/**** free stacks (pool-hints.c) ****/

/* Grown from the size of the segment, stack and counters from the records. */
void strata__class_rebuild(struct strata__space *space, uint32_t class_);
/* Is the stack what it should be, as far as its height tells? */
bool strata__stack_is_sane(const struct strata__space *space, uint32_t class_);
/* The stack is not empty. False when its top is no free block. */
bool strata__stack_pop(struct strata__space *space, uint32_t class_,
		       uint32_t *ret);
/* Puts nr blocks from index on onto it, the lowest on top; their records are
 * FREE already. Paired with pop and remove. */
void strata__stack_push(struct strata__space *space, uint32_t class_,
			uint64_t index, uint64_t nr);
/* Takes the blocks from index on out of the stack; were they all there? */
bool strata__stack_remove(struct strata__space *space, uint32_t class_,
			  uint64_t index, uint64_t nr);

/**** growing (pool-size.c) ****/

/* New blocks on the stack: at least need. STRATA_ECLASS is not told. */
int strata__class_grow(struct strata__space *space, uint32_t class_,
		       uint64_t need);
/* Tells it: no block of class_, nor of a larger one unless it is for a node, is
 * left for size bytes. */
int strata__class_tell_full(const struct strata__space *space, uint32_t class_,
			    uint64_t size, bool is_node) __attribute__((cold));
/* Faults in the steps that a block lies in, once in a process. */
void strata__pool_populate(struct strata__space *space,
			   const struct strata__block *block);

#endif
