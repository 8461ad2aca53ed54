/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What a writer knows of the memory of node blocks: which lines of it are zero.
 */
#ifndef STRATA_LINES_H
#define STRATA_LINES_H

#include "block.h"

/*
 * Most of a node is zeroes: a root has a slot for each dimension that there
 * might be. Copying and clearing all of it, in blocks that are cold, was half
 * of the time of a small commit. So the process remembers which lines of 64
 * bytes it has left zero in the blocks of class 0 that it wrote to, and copies
 * only the others, and clears only what the block had there before.
 *
 * Nothing is believed of what others can write. What is remembered goes with
 * the generation of the block, which is raised before any byte of its next life
 * is written: whatever another writer did to it since, dead or alive, makes
 * what we know worthless, and then everything is copied. A bit that is missing
 * costs a line's copy; a bit too many would be a wrong node. So each store to a
 * node goes with strata__lines_use(), and builds for tests look at each commit
 * whether what is said to be zero is.
 *
 * The alternative, a mark in the node of how far it is used, would be in what
 * other processes write, and would have to be believed.
 */
#define STRATA_LINE       64u
#define STRATA_NODE_LINES (STRATA_NODE_SIZE / STRATA_LINE)
_Static_assert(STRATA_NODE_LINES == 64, "a bit each");

/* A block that was just taken, before it is written to. From here on all that
 * is written to it is told by use(). Of other classes nothing is known. */
void strata__lines_begin(const struct strata__space *space,
			 const struct strata__block *block);
/* What lies there, in a block that was begun in this life, may be other than
 * zero from now on. It ends where the block does, at most. */
void strata__lines_use(const struct strata__space *space, const void *place,
		       uint64_t size);

/* A node in a block that was begun: all zero, or as that of another block is.
 */
void strata__lines_clear(const struct strata__space *space,
			 const struct strata__block *block);
void strata__lines_copy(const struct strata__space *space,
			const struct strata__block *to,
			const struct strata__block *from);
/* Is all zero that is said to be, if anything is said of this life? */
bool strata__lines_are_right(const struct strata__space *space,
			     const struct strata__block *block);

#endif
