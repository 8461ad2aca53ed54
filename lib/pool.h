/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Pools: fixed-size blocks in size classes, for nodes and proto contents. */
#ifndef STRATA_POOL_H
#define STRATA_POOL_H

#include "block.h"

/*
 * All of this is called under the writer lock, between dirty and clean. State
 * records are the truth; the free stacks in the lock segment are hints, and
 * last in, first out, since a warm block beats a cold one. Only the largest
 * class gives runs (contiguous blocks); its stack holds indices too, and a run
 * is searched in the records.
 */

enum strata__take_flags {
	STRATA_TAKE_NODE = 1 << 0,    /* a tree node: class 0, never spilled */
	STRATA_TAKE_RESERVE = 1 << 1, /* may use the node reserve (removals) */
};

/**** the size of the pools (pool-size.c) ****/

/* Makes the pool segments of a new store; they are published by their names
 * right away. Class 0 is grown by a step, in which the node reserve is. Charges
 * what it makes: catalog (with its limit) and lock area must be mapped, window
 * and populated need not be. fds are left in space->pool_fd. Tells; on failure
 * nothing is left. */
int strata__pool_create(struct strata__space *space, uint32_t mode,
			uint32_t group);

/* Truncates free blocks at the end of each pool, in steps; returns the bytes
 * given back (uncharged). Never below the node reserve. */
uint64_t strata__pool_shrink(struct strata__space *space);
/* Bytes that the pool segments have by their size: what recovery counts as
 * their part of reserved. */
uint64_t strata__pool_reserved(const struct strata__space *space);
/* Blocks that class may have at the present limit. */
uint64_t strata__pool_max_blocks(const struct strata__space *space,
				 uint32_t class_);
/* Longest content that a store of this geometry can hold as a proto, bytes. */
uint64_t strata__pool_max_content(const struct strata__space *space);

/**** taking, retiring, giving back (pool.c) ****/

/*
 * Takes a block or run that holds size contiguous bytes; its record becomes
 * ALLOCATED with this birth (birth first, then state, release). Grows the pool
 * in steps when no block is free; spills to larger classes when its class is at
 * its maximum, or gets no memory and a larger block is free (counted). Unless
 * STRATA_TAKE_RESERVE is given, the node reserve is left in class 0, as free
 * blocks, and contents are refused (STRATA_ELIMIT) beyond 95 % of the limit.
 * Tells STRATA_ECLASS, STRATA_ELIMIT, STRATA_ESHM with numbers; STRATA_ETOOBIG
 * when no run could ever be that long; counts the failure.
 */
int strata__pool_take(struct strata__space *space, uint64_t size,
		      uint64_t birth, unsigned flags,
		      struct strata__block *ret);
/* An ALLOCATED block that no version reached becomes FREE (abort). This, retire
 * and reclaim do nothing to a block in another state. */
void strata__pool_untake(struct strata__space *space,
			 const struct strata__block *block);
/* Retirement, then RETIRED (release); added to the retired list. */
void strata__pool_retire(struct strata__space *space,
			 const struct strata__block *block, uint64_t version);
/* A RETIRED block becomes FREE (one store, release), and poisoned in test
 * builds. The caller takes it off the retired list. */
void strata__pool_reclaim(struct strata__space *space,
			  const struct strata__block *block);

/**** the retired list (pool-hints.c) ****/

/* Items of blocks and of segments (STRATA_RETIRED_ITEM): a hint where the
 * records are that say RETIRED, so each is believed as far as its record agrees.
 * Adds one; the record says RETIRED already. */
void strata__retired_push(struct strata__space *space, uint32_t item);
/* Is it one that the list may have: a record that is there and says RETIRED? */
bool strata__retired_is_sane(const struct strata__space *space, uint32_t item);
/* Makes the list anew if its height or any item is nonsense. */
void strata__retired_mend(struct strata__space *space);
/* Makes it anew from the records (recovery). */
void strata__retired_rebuild(struct strata__space *space);

/**** recovery (pool-hints.c) ****/

/* Rebuilds free stacks, and the counters live, retired, grown, nr_free from the
 * records and the sizes of the segments (recovery). Does not touch the retired
 * list. */
void strata__pool_rebuild(struct strata__space *space);

/* Under the writer lock, behind what takes memory: the log is told of each
 * threshold as it is passed, before anything is refused for it. */
void strata__pool_warn(struct strata__space *space);

#endif
