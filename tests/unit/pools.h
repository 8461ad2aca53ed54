/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The pools of a store without the rest of it, and whether they are in order. */
#ifndef STRATA_TEST_POOLS_H
#define STRATA_TEST_POOLS_H

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../support/fixture.h"
#include "error.h"
#include "pool.h"
#include "testpoint.h"

#define KIB   UINT64_C(1024)
#define MIB   (1024 * KIB)
#define LIMIT (64 * MIB)

static struct strata__space *space;
static uint64_t elsewhere; /* bytes that leave_room() has reserved */

static inline void
setup(void)
{
	space = fixture_space(LIMIT);
}

static inline void
teardown(void)
{
	strata__testpoint = NULL;
	fixture_space_free(space);
}

/**** helpers ****/

static inline struct strata__class_counters *
counters(uint32_t class_)
{
	return &space->catalog->counters.classes[class_];
}

static inline uint64_t
stride(uint32_t class_)
{
	return space->geometry->classes[class_].stride;
}

static inline uint32_t
last_class(void)
{
	return space->geometry->nr_classes - 1;
}

static inline struct strata__block
take(uint64_t size, unsigned flags)
{
	struct strata__block block;

	cr_assert_eq(strata__pool_take(space, size, 1, flags, &block), 0,
		     "%" PRIu64 " bytes: %s", size,
		     strata_last_error()->sentence);
	return block;
}

static inline int
try_take(uint64_t size, unsigned flags)
{
	struct strata__block block;

	return strata__pool_take(space, size, 1, flags, &block);
}

static inline void
set_limit(uint64_t limit)
{
	strata__count_set(&space->catalog->counters.limit, limit);
}

/* Something else takes all but so many bytes. A lower limit would lower the
 * classes' maxima, too. */
static inline void
leave_room(uint64_t bytes)
{
	_Atomic uint64_t *reserved = &space->catalog->counters.reserved;

	strata__count_sub(reserved, elsewhere);
	elsewhere = LIMIT - bytes - strata__count(reserved);
	strata__count_add(reserved, elsewhere);
}

static inline uint32_t
state(const struct strata__block *block)
{
	return atomic_load(&strata__block_record(space, block)->state);
}

/* Takes a block off the list as a reclaiming writer does. */
static inline void
unlist(const struct strata__block *block)
{
	uint32_t item = STRATA_RETIRED_ITEM(block->class_, block->index);
	uint32_t *list = strata__retired_list(space);
	uint64_t nr = strata__count(&space->catalog->counters.nr_retired);
	uint64_t i = 0;

	while (i < nr && list[i] != item)
		i++;
	cr_assert_lt(i, nr, "a retired block is on the list");
	list[i] = list[nr - 1];
	strata__count_set(&space->catalog->counters.nr_retired, nr - 1);
}

static inline void
reclaim(const struct strata__block *block)
{
	strata__pool_reclaim(space, block);
	unlist(block);
}

static inline int
compare_index(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Do hints and counters of a class say what its records say? */
static inline void
check_class(uint32_t class_)
{
	const struct strata__record *records =
		strata__class_records(space, class_);
	uint64_t grown = strata__count(&counters(class_)->grown);
	uint64_t nr_free = strata__count(&counters(class_)->nr_free);
	uint64_t nr[STRATA_DYING + 1] = {0};
	uint32_t *stack = malloc((nr_free + 1) * sizeof(*stack));
	uint64_t i;
	uint32_t is, run;

	cr_assert_not_null(stack);
	memcpy(stack, strata__free_stack(space, class_),
	       nr_free * sizeof(*stack));
	qsort(stack, nr_free, sizeof(*stack), compare_index);
	for (i = 0; i < grown; i += run) {
		is = atomic_load(&records[i].state);
		run = is == STRATA_FREE ? 1 : atomic_load(&records[i].run);
		cr_assert(run >= 1 && run <= grown - i);
		if (is == STRATA_FREE)
			cr_assert(nr[is] < nr_free && stack[nr[is]] == i,
				  "free block %" PRIu64 " of class %" PRIu32
				  " is on the stack, once",
				  i, class_);
		nr[is] += run;
	}
	free(stack);
	cr_assert_eq(nr[STRATA_FREE], nr_free);
	cr_assert_eq(nr[STRATA_ALLOCATED],
		     strata__count(&counters(class_)->live));
	cr_assert_eq(nr[STRATA_RETIRED],
		     strata__count(&counters(class_)->retired));
	cr_assert_leq(nr[STRATA_ALLOCATED] + nr[STRATA_RETIRED],
		      strata__count(&counters(class_)->peak));
}

static inline void
check_reserved(void)
{
	cr_assert_eq(strata__count(&space->catalog->counters.reserved),
		     space->geometry->catalog_size +
			     space->geometry->lock_size + elsewhere +
			     strata__pool_reserved(space),
		     "what is charged is what the files have");
}

static inline void
check_all(void)
{
	uint32_t c;

	for (c = 0; c <= last_class(); c++)
		check_class(c);
	check_reserved();
}

#endif
