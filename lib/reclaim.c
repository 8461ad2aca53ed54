/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Reclaiming: what no reader's version reaches becomes free. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "log.h"
#include "store.h"
#include "testpoint.h"

/*
 * The candidates are what is retired when the pass begins: they are fixed before
 * the heavy fence, under the writer lock, which keeps them fixed. A candidate
 * [birth, retirement) is free unless the pin of a living reader lies in it. So a
 * stopped reader keeps its own snapshot, and nothing that was born later.
 */

static void
item_block(const struct strata__space *space, uint32_t item,
	   struct strata__block *block)
{
	block->class_ = item >> 28;
	block->index = item & ((UINT32_C(1) << 28) - 1);
	block->run = atomic_load_explicit(
		&strata__block_record(space, block)->run, memory_order_relaxed);
}

static bool
item_is_segment(uint32_t item)
{
	return item >> 28 == STRATA_RETIRED_SEGMENT;
}

static struct strata__record *
item_record(const struct strata__space *space, uint32_t item)
{
	struct strata__block block;

	if (item_is_segment(item))
		return &strata__segments(space)[item & ((UINT32_C(1) << 28) - 1)]
				.record;
	item_block(space, item, &block);
	return strata__block_record(space, &block);
}

static uint64_t
item_bytes(const struct strata__space *space, uint32_t item)
{
	struct strata__block block;

	if (item_is_segment(item))
		return atomic_load_explicit(
			&strata__segments(
				 space)[item & ((UINT32_C(1) << 28) - 1)]
				 .size,
			memory_order_relaxed);
	item_block(space, item, &block);
	return strata__block_bytes(space, &block);
}

static void
interval(const struct strata__space *space, uint32_t item, uint64_t *ret_birth,
	 uint64_t *ret_retirement)
{
	struct strata__record *record = item_record(space, item);

	*ret_birth = atomic_load_explicit(&record->birth, memory_order_relaxed);
	*ret_retirement =
		atomic_load_explicit(&record->retirement, memory_order_relaxed);
}

/* Room on the list of the dying, so that freeing a segment cannot fail. */
static bool
dying_room(struct strata_store *store)
{
	size_t max = store->max_dying != 0 ? 2 * store->max_dying : 16;
	uint32_t *dying;

	if (store->nr_dying < store->max_dying)
		return true;
	dying = realloc(store->dying, max * sizeof(*dying));
	if (dying == NULL)
		return false;
	store->dying = dying;
	store->max_dying = max;
	return true;
}

static bool
item_free(struct strata_store *store, uint32_t item)
{
	uint32_t index = item & ((UINT32_C(1) << 28) - 1);
	struct strata__block block;

	if (!item_is_segment(item)) {
		item_block(&store->space, item, &block);
		strata__pool_reclaim(&store->space, &block);
		return true;
	}
	if (!dying_room(store))
		return false; /* later */
	if (store->wants_spare && store->spare.generation == 0 &&
	    strata__spare_make(&store->space, index, &store->spare))
		return true;
	strata__segtab_doom(&store->space, index);
	store->dying[store->nr_dying++] = index;
	return true;
}

/* Without memory for the list it stays, as if its writer had died. */
void
strata__spare_give_up(struct strata_store *store)
{
	if (store->spare.generation != 0 && dying_room(store) &&
	    strata__spare_drop(&store->space, &store->spare))
		store->dying[store->nr_dying++] = store->spare.index;
	store->spare.generation = 0;
}

/* Frees what may be freed; the rest closes ranks on the list. */
static uint64_t
free_unneeded(struct strata_store *store, struct strata__scan *scan)
{
	struct strata__space *space = &store->space;
	struct strata__counters *counters = &space->catalog->counters;
	uint32_t *list = strata__retired_list(space);
	uint64_t nr = strata__count(&counters->nr_retired);
	uint64_t kept = 0, freed = 0;

	for (uint64_t i = 0; i < nr; i++) {
		uint32_t item = list[i];
		uint64_t birth, retirement, bytes;

		interval(space, item, &birth, &retirement);
		if (strata__scan_needs(scan, birth, retirement)) {
			list[kept++] = item;
			continue;
		}
		bytes = item_bytes(space, item);
		if (item_free(store, item))
			freed += bytes;
		else
			list[kept++] = item;
	}
	STRATA_TESTPOINT("reclaim.closed-up");
	strata__count_set(&counters->nr_retired, kept);
	strata__count_add(&counters->reclaimed, freed);
	return freed;
}

static void
time_grace(struct strata__graces *graces, uint64_t ns)
{
	uint64_t bound = 10000;
	unsigned i = 0;

	while (i < STRATA_GRACE_BUCKETS - 1 && ns > bound) {
		bound *= 10;
		i++;
	}
	strata__count_add(&graces->nr[i], 1);
	strata__count_add(&graces->total_ns, ns);
	strata__count_max(&graces->longest_ns, ns);
	strata__count_set(&graces->last_ns, ns);
}

int
strata__reclaim(struct strata_store *store, uint64_t *ret_freed)
{
	struct strata__counters *counters = &store->space.catalog->counters;
	struct strata__scan scan;
	uint64_t freed, begin;
	int ret;

	if (ret_freed != NULL)
		*ret_freed = 0;
	if (!strata__spare_is_affordable(&store->space))
		strata__spare_give_up(store);
	strata__retired_mend(&store->space);
	if (strata__count(&counters->nr_retired) == 0) {
		store->commits_since_reclaim = 0;
		store->retired_mark = 0;
		return 0;
	}
	begin = strata__os_monotonic_ns();
	ret = strata__scan_take(&store->rcu, &scan);
	store->commits_since_reclaim = 0;
	store->retired_mark = strata__retired_bytes(&store->space);
	if (ret != 0)
		return ret;
	STRATA_TESTPOINT("reclaim.scanned");
	STRATA_PROBE2(grace_period, store->name, scan.readers);
	freed = free_unneeded(store, &scan);
	time_grace(&store->space.catalog->graces,
		   strata__os_monotonic_ns() - begin);
	STRATA_TESTPOINT("reclaim.timed");
	strata__count_add(&counters->grace_periods, 1);
	strata__count_max(&counters->peak_readers, scan.readers);
	strata__scan_done(&scan);
	store->retired_mark = strata__retired_bytes(&store->space);
	STRATA_PROBE3(reclaim, store->name, freed, store->retired_mark);
	STRATA_LOG(STRATA_LOG_INFO,
		   "store '%s': reclaimed %llu bytes, %llu are kept for readers",
		   store->name, (unsigned long long)freed,
		   (unsigned long long)store->retired_mark);
	if (ret_freed != NULL)
		*ret_freed = freed;
	return 0;
}

/**** who keeps what ****/

static void
account_all(struct strata_store *store, struct strata__scan *scan)
{
	struct strata__space *space = &store->space;
	uint32_t *list = strata__retired_list(space);
	uint64_t nr = strata__count(&space->catalog->counters.nr_retired);

	for (uint64_t i = 0; i < nr; i++) {
		uint64_t birth, retirement;

		interval(space, list[i], &birth, &retirement);
		strata__scan_account(scan, birth, retirement,
				     item_bytes(space, list[i]));
	}
}

static struct strata__pin *
worst_pin(struct strata__scan *scan)
{
	struct strata__pin *worst = NULL;

	for (size_t i = 0; i < scan->nr; i++)
		if (scan->pins[i].retained != 0 &&
		    (worst == NULL || scan->pins[i].retained > worst->retained))
			worst = &scan->pins[i];
	return worst;
}

static void
blame_readers(struct strata_store *store)
{
	struct strata_error_info kept = *strata__error();
	struct strata_reader_info info;
	struct strata__scan scan;
	struct strata__pin *worst;

	strata__retired_mend(&store->space);
	if (strata__count(&store->space.catalog->counters.nr_retired) == 0)
		return;
	if (strata__scan_take(&store->rcu, &scan) != 0) {
		*strata__error() = kept;
		return;
	}
	account_all(store, &scan);
	worst = worst_pin(&scan);
	*strata__error() = kept;
	if (worst != NULL && strata__scan_describe(&scan, worst, &info) == 0)
		strata__error_append(
			"; reader %u ('%s', user %u) retains most: %llu bytes, "
			"by its open section of version %llu",
			info.pid, info.name, info.uid,
			(unsigned long long)worst->retained,
			(unsigned long long)info.pin);
	strata__scan_done(&scan);
}

/**** segments whose builder or burier died, and spares ****/

static bool
is_left_over(struct strata__space *space, uint32_t index)
{
	struct strata__record *record = &strata__segments(space)[index].record;
	uint32_t state =
		atomic_load_explicit(&record->state, memory_order_relaxed);

	return (state == STRATA_BUILDING || state == STRATA_DYING) &&
	       !strata__segtab_is_held(space, index);
}

static uint32_t
segments_end(const struct strata__space *space)
{
	uint64_t high = strata__count(&space->catalog->counters.segments_high);

	return high < space->geometry->nr_segments
		       ? (uint32_t)high
		       : space->geometry->nr_segments;
}

void
strata__sweep_segments(struct strata_store *store)
{
	struct strata__space *space = &store->space;
	uint32_t end = segments_end(space);

	if (strata__folder_mend(&space->folder) != 0)
		return;
	for (uint32_t i = 0; i < end; i++) {
		if (!is_left_over(space, i))
			continue;
		strata__segtab_doom(space, i);
		if (strata__segtab_bury(space, i))
			strata__segtab_forget(space, i);
	}
}

static bool
is_noted(const struct strata_store *store, uint32_t index)
{
	for (size_t i = 0; i < store->nr_dying; i++)
		if (store->dying[i] == index)
			return true;
	return false;
}

void
strata__doom_leftovers(struct strata_store *store)
{
	struct strata__space *space = &store->space;
	uint32_t end = segments_end(space);

	if (strata__folder_mend(&space->folder) != 0)
		return;
	for (uint32_t i = 0; i < end; i++) {
		if (is_noted(store, i) || !is_left_over(space, i) ||
		    !dying_room(store))
			continue;
		strata__segtab_doom(space, i);
		store->dying[store->nr_dying++] = i;
	}
}

/**** want of room ****/

/* Bytes that can be had at once: of the limit, and in blocks. */
static uint64_t
room(const struct strata__space *space)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t limit = strata__count(&counters->limit);
	uint64_t reserved = strata__count(&counters->reserved);
	uint64_t bytes = limit > reserved ? limit - reserved : 0;

	for (uint32_t c = 0; c <= strata__last_class(space); c++)
		bytes += strata__count(&counters->classes[c].nr_free) *
			 strata__class_of(space, c)->stride;
	return bytes;
}

uint64_t
strata__make_room(struct strata_store *store, int code)
{
	struct strata_error_info kept = *strata__error();
	uint64_t before = room(&store->space), after, freed;

	(void)strata__reclaim(store, NULL);
	after = room(&store->space);
	freed = after > before ? after - before : 0;
	/* A class at its maximum gains nothing by these. */
	if (code != STRATA_ECLASS) {
		strata__doom_leftovers(store);
		freed += strata__pool_shrink(&store->space);
	}
	*strata__error() = kept;
	return freed;
}

void
strata__refuse(struct strata_store *store, int code)
{
	struct strata_error_info kept = *strata__error();

	if (code != STRATA_ECLASS)
		(void)strata__pool_shrink(&store->space);
	*strata__error() = kept;
	blame_readers(store);
	STRATA_LOG(STRATA_LOG_WARNING, "store '%s': refused: %s", store->name,
		   strata__error()->sentence);
}
