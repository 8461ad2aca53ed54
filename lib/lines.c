/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What a writer knows of the memory of node blocks: which lines of it are zero.
 */
#include "lines.h"

#include <stdlib.h>
#include <string.h>

/**** what is known ****/

static uint64_t
generation_of(const struct strata__space *space,
	      const struct strata__block *block)
{
	return strata__count(&strata__block_record(space, block)->generation);
}

static char *
memory_of(const struct strata__space *space, const struct strata__block *block)
{
	return strata__at(space, strata__block_ref(space, block));
}

/* Is anything known of its present life? */
static bool
is_known(const struct strata__space *space, const struct strata__block *block)
{
	return block->class_ == 0 && space->lines[block->index].generation ==
					     generation_of(space, block);
}

static bool
line_is_zero(const char *line)
{
	uint64_t words[STRATA_LINE / sizeof(uint64_t)];
	uint64_t any = 0;

	memcpy(words, line, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		any |= words[i];
	return any == 0;
}

static uint64_t
look(const char *node)
{
	uint64_t zero = 0;

	for (uint64_t i = 0; i < STRATA_NODE_LINES; i++)
		if (line_is_zero(node + i * STRATA_LINE))
			zero |= UINT64_C(1) << i;
	return zero;
}

void
strata__lines_begin(const struct strata__space *space,
		    const struct strata__block *block)
{
	struct strata__lines *lines;
	uint64_t generation;

	if (block->class_ != 0)
		return;
	lines = &space->lines[block->index];
	generation = generation_of(space, block);
	/* Else the life before this one was not ours, or not spoken of. Where
	 * there is but one class it has runs, which have one record: a block
	 * may have been behind the first of one, and nothing would show it. */
	if (lines->generation != generation - 1 ||
	    strata__last_class(space) == 0)
		lines->zero = 0;
#ifdef STRATA_TESTING
	/* Blocks are poisoned, by any process. Where they are not, what is
	 * known has to be right. */
	if (!STRATA_BROKEN(STRATA_NO_POISON))
		lines->zero &= look(memory_of(space, block));
	if ((lines->zero & ~look(memory_of(space, block))) != 0)
		abort();
#endif
	lines->generation = generation;
}

/* From line first to line last. */
static uint64_t
mask(uint64_t first, uint64_t last)
{
	return UINT64_MAX >> (STRATA_NODE_LINES - 1 - (last - first)) << first;
}

void
strata__lines_use(const struct strata__space *space, const void *place,
		  uint64_t size)
{
	const struct strata__class *class_ = strata__class_of(space, 0);
	uint64_t offset = (uint64_t)((const char *)place - space->window) -
			  class_->place - STRATA_POOL_BLOCKS;
	uint64_t index = offset / class_->stride;
	uint64_t first = offset % class_->stride / STRATA_LINE;
	uint64_t last = (offset % class_->stride + size - 1) / STRATA_LINE;

	/* Another class's; or behind what a node would have there. */
	if (index >= class_->nr_blocks || first >= STRATA_NODE_LINES ||
	    size == 0)
		return;
	if (last >= STRATA_NODE_LINES)
		last = STRATA_NODE_LINES - 1;
	space->lines[index].zero &= ~mask(first, last);
}

/**** what is done with it ****/

/* Takes the first row of lines out of *lines. */
static uint64_t
row_next(uint64_t *lines, uint64_t *ret_first)
{
	uint64_t first = (uint64_t)__builtin_ctzll(*lines);
	uint64_t behind = ~(*lines >> first); /* 0 only for all 64 */
	uint64_t nr = behind != 0 ? (uint64_t)__builtin_ctzll(behind)
				  : STRATA_NODE_LINES;

	*lines &= ~mask(first, first + nr - 1);
	*ret_first = first;
	return nr;
}

static void
clear_lines(char *to, uint64_t lines)
{
	uint64_t first, nr;

	while (lines != 0) {
		nr = row_next(&lines, &first);
		memset(to + first * STRATA_LINE, 0, nr * STRATA_LINE);
	}
}

static void
copy_lines(char *to, const char *from, uint64_t lines)
{
	uint64_t first, nr;

	while (lines != 0) {
		nr = row_next(&lines, &first);
		memcpy(to + first * STRATA_LINE, from + first * STRATA_LINE,
		       nr * STRATA_LINE);
	}
}

void
strata__lines_clear(const struct strata__space *space,
		    const struct strata__block *block)
{
	struct strata__lines *lines = &space->lines[block->index];

	clear_lines(memory_of(space, block), ~lines->zero);
	lines->zero = UINT64_MAX;
}

void
strata__lines_copy(const struct strata__space *space,
		   const struct strata__block *to,
		   const struct strata__block *from)
{
	struct strata__lines *lines = &space->lines[to->index];
	bool known = is_known(space, from);
	uint64_t zero = known ? space->lines[from->index].zero : 0;
	char *node = memory_of(space, to);

	copy_lines(node, memory_of(space, from), ~zero);
	clear_lines(node, zero & ~lines->zero);
	/* Another's node is looked at once, in the copy, which is warm. */
	lines->zero = known ? zero : look(node);
}

bool
strata__lines_are_right(const struct strata__space *space,
			const struct strata__block *block)
{
	return !is_known(space, block) || (space->lines[block->index].zero &
					   ~look(memory_of(space, block))) == 0;
}
