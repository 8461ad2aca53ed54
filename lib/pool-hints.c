/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Hints: where to find free blocks without a search; made from the records. */
#include "pool-private.h"
#include "testpoint.h"

/*
 * What is free is written down twice. The records say it, in shared memory that
 * survives any writer; the stacks say where to find it without a search. A
 * stack is believed only as far as the record of what it offers agrees: when it
 * does not, the class is rebuilt from its records, as at recovery.
 */

/**** recounting ****/

static void
reverse(uint32_t *items, uint64_t nr)
{
	uint64_t i;
	uint32_t item;

	for (i = 0; i < nr / 2; i++) {
		item = items[i];
		items[i] = items[nr - 1 - i];
		items[nr - 1 - i] = item;
	}
}

/* Stack and counters of one class, from its records. */
static void
class_recount(struct strata__space *space, uint32_t class_)
{
	struct strata__class_counters *counters =
		strata__counters_of(space, class_);
	uint32_t *stack = strata__free_stack(space, class_);
	uint64_t nr[STRATA_DYING + 1] = {0};
	struct strata__blocks blocks;
	uint32_t state;

	strata__blocks_init(&blocks, space, class_);
	while (strata__blocks_next(&blocks)) {
		/* A broken one is a used block here; verify tells of it. */
		state = blocks.state;
		if (state == STRATA_FREE)
			stack[nr[STRATA_FREE]] = (uint32_t)blocks.index;
		if (state != STRATA_FREE && state != STRATA_RETIRED)
			state = STRATA_ALLOCATED;
		nr[state] += blocks.run;
	}
	STRATA_TESTPOINT("pool.recount.stacked");
	/* The lowest on top. */
	reverse(stack, nr[STRATA_FREE]);
	STRATA_TESTPOINT("pool.recount.turned");
	strata__count_set(&counters->nr_free, nr[STRATA_FREE]);
	strata__count_set(&counters->live, nr[STRATA_ALLOCATED]);
	strata__count_set(&counters->retired, nr[STRATA_RETIRED]);
	strata__count_max(&counters->peak,
			  nr[STRATA_ALLOCATED] + nr[STRATA_RETIRED]);
}

void
strata__class_rebuild(struct strata__space *space, uint32_t class_)
{
	uint64_t size = strata__pool_file_size(space, class_);

	strata__count_set(
		&strata__counters_of(space, class_)->grown,
		strata__class_blocks(strata__class_of(space, class_), size));
	class_recount(space, class_);
}

void
strata__pool_rebuild(struct strata__space *space)
{
	uint32_t c;

	for (c = 0; c <= strata__last_class(space); c++)
		strata__class_rebuild(space, c);
}

/**** retired list ****/

/* One item for each block and each segment is more than there can be. */
static uint64_t
retired_max(const struct strata__space *space)
{
	uint64_t max = space->geometry->nr_segments;
	uint32_t c;

	for (c = 0; c <= strata__last_class(space); c++)
		max += strata__class_of(space, c)->nr_blocks;
	return max;
}

void
strata__retired_push(struct strata__space *space, uint32_t item)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t height = strata__count(&counters->nr_retired);

	if (height >= retired_max(space)) {
		/* It was nonsense; the records have this one already. */
		strata__retired_rebuild(space);
		return;
	}
	strata__retired_list(space)[height] = item;
	STRATA_TESTPOINT("pool.retired.noted");
	strata__count_set(&counters->nr_retired, height + 1);
}

bool
strata__retired_is_sane(const struct strata__space *space, uint32_t item)
{
	uint32_t class_ = item >> 28;
	uint32_t index = item & ((UINT32_C(1) << 28) - 1);
	const struct strata__record *record;
	uint64_t grown;

	if (class_ == STRATA_RETIRED_SEGMENT)
		return index < space->geometry->nr_segments &&
		       strata__record_state(
			       &strata__segments(space)[index].record) ==
			       STRATA_RETIRED;
	if (class_ > strata__last_class(space) ||
	    index >= strata__class_of(space, class_)->nr_blocks)
		return false;
	grown = strata__count(&strata__counters_of(space, class_)->grown);
	record = &strata__class_records(space, class_)[index];
	return index < grown &&
	       strata__record_state(record) == STRATA_RETIRED &&
	       strata__record_run(record, STRATA_RETIRED, grown - index) != 0;
}

void
strata__retired_mend(struct strata__space *space)
{
	uint64_t nr = strata__count(&space->catalog->counters.nr_retired);
	const uint32_t *list = strata__retired_list(space);
	uint64_t i = 0;
	uint32_t c;

	/* No block is where the segment has no memory. */
	for (c = 0; c <= strata__last_class(space); c++)
		if (strata__count(&strata__counters_of(space, c)->grown) >
		    strata__class_blocks(strata__class_of(space, c),
					 strata__pool_file_size(space, c)))
			strata__class_rebuild(space, c);
	if (nr <= retired_max(space))
		while (i < nr && strata__retired_is_sane(space, list[i]))
			i++;
	if (i != nr)
		strata__retired_rebuild(space);
}

static void
list_class(struct strata__space *space, uint32_t class_)
{
	struct strata__blocks blocks;

	strata__blocks_init(&blocks, space, class_);
	while (strata__blocks_next(&blocks))
		if (blocks.state == STRATA_RETIRED && !blocks.is_broken)
			strata__retired_push(
				space,
				STRATA_RETIRED_ITEM(class_,
						    (uint32_t)blocks.index));
}

void
strata__retired_rebuild(struct strata__space *space)
{
	struct strata__segment *segments = strata__segments(space);
	uint32_t i;

	strata__count_set(&space->catalog->counters.nr_retired, 0);
	for (i = 0; i <= strata__last_class(space); i++)
		list_class(space, i);
	for (i = 0; i < space->geometry->nr_segments; i++)
		if (strata__record_state(&segments[i].record) ==
		    STRATA_RETIRED)
			strata__retired_push(
				space, STRATA_RETIRED_ITEM(
					       STRATA_RETIRED_SEGMENT, i));
}

/**** free stacks ****/

bool
strata__stack_is_sane(const struct strata__space *space, uint32_t class_)
{
	struct strata__class_counters *counters =
		strata__counters_of(space, class_);

	return strata__count(&counters->nr_free) <=
		       strata__count(&counters->grown) &&
	       strata__count(&counters->grown) <=
		       strata__class_of(space, class_)->nr_blocks;
}

bool
strata__stack_pop(struct strata__space *space, uint32_t class_, uint32_t *ret)
{
	struct strata__class_counters *counters =
		strata__counters_of(space, class_);
	uint64_t top = strata__count(&counters->nr_free) - 1;
	uint32_t index = strata__free_stack(space, class_)[top];

	if (index >= strata__count(&counters->grown) ||
	    strata__record_state(&strata__class_records(
		    space, class_)[index]) != STRATA_FREE)
		return false;
	strata__count_set(&counters->nr_free, top);
	*ret = index;
	return true;
}

void
strata__stack_push(struct strata__space *space, uint32_t class_, uint64_t index,
		   uint64_t nr)
{
	struct strata__class_counters *counters =
		strata__counters_of(space, class_);
	uint64_t top = strata__count(&counters->nr_free);
	uint32_t *stack = strata__free_stack(space, class_);

	if (top > strata__class_of(space, class_)->nr_blocks ||
	    nr > strata__class_of(space, class_)->nr_blocks - top) {
		/* It was nonsense; the records have these blocks already. */
		strata__class_rebuild(space, class_);
		return;
	}
	while (nr-- > 0)
		stack[top++] = (uint32_t)(index + nr);
	STRATA_TESTPOINT("pool.push.stacked");
	strata__count_set(&counters->nr_free, top);
}

bool
strata__stack_remove(struct strata__space *space, uint32_t class_,
		     uint64_t index, uint64_t nr)
{
	struct strata__class_counters *counters =
		strata__counters_of(space, class_);
	uint64_t nr_free = strata__count(&counters->nr_free);
	uint32_t *stack = strata__free_stack(space, class_);
	uint64_t i, kept = 0;

	if (!strata__stack_is_sane(space, class_))
		return false;
	for (i = 0; i < nr_free; i++)
		if (stack[i] < index || stack[i] - index >= nr)
			stack[kept++] = stack[i];
	STRATA_TESTPOINT("pool.remove.closed-up");
	strata__count_set(&counters->nr_free, kept);
	return nr_free - kept == nr;
}
