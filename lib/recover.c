/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Recovery: making consistent what a writer left that died while dirty. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "log.h"
#include "store.h"

/*
 * The version is the truth: walk from its root. What is neither reached nor free
 * becomes retired at the current version, with earlier stamps kept; nothing is
 * freed here, since a reader may hold an older version. Lists and counters are
 * rebuilt from the same walk. All of it can be done twice: the recovering writer
 * may die anywhere, and dirty stays set until its own work is done.
 */

struct recovery {
	struct strata__space *space;
	uint64_t version;
	uint64_t *reached[STRATA_CLASSES_MAX]; /* a bit per block */
	uint64_t *reached_segments;
	uint64_t nr_in_use; /* blocks and runs, allocated or retired */
};

static bool
bit_test(const uint64_t *bits, uint64_t i)
{
	return (bits[i / 64] >> (i % 64) & 1) != 0;
}

static void
bit_set(uint64_t *bits, uint64_t i)
{
	bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static void
recovery_fini(struct recovery *recovery)
{
	for (uint32_t i = 0; i < recovery->space->geometry->nr_classes; i++)
		free(recovery->reached[i]);
	free(recovery->reached_segments);
}

static int
recovery_init(struct recovery *recovery, struct strata__space *space)
{
	const struct strata__geometry *geometry = space->geometry;
	bool ok;

	memset(recovery, 0, sizeof(*recovery));
	recovery->space = space;
	recovery->version = atomic_load_explicit(&space->catalog->hot.version,
						 memory_order_acquire);
	recovery->reached_segments =
		calloc(geometry->nr_segments / 64 + 1, sizeof(uint64_t));
	ok = recovery->reached_segments != NULL;
	for (uint32_t i = 0; i < geometry->nr_classes; i++) {
		recovery->reached[i] = calloc(
			geometry->classes[i].nr_blocks / 64 + 1,
			sizeof(uint64_t));
		ok = ok && recovery->reached[i] != NULL;
	}
	if (ok)
		return 0;
	recovery_fini(recovery);
	return strata__fail(STRATA_ENOMEM,
			    "no memory to recover store '%s' after a dead "
			    "writer",
			    geometry->name);
}

/**** the walk ****/

static int
reach(struct recovery *recovery, uint64_t ref)
{
	struct strata__block block;

	if (!strata__block_at(recovery->space, ref, &block))
		return strata__fail(STRATA_ECORRUPT,
				    "store '%s': version %llu refers to no "
				    "block at %llx",
				    recovery->space->geometry->name,
				    (unsigned long long)recovery->version,
				    (unsigned long long)ref);
	bit_set(recovery->reached[block.class_], block.index);
	return 0;
}

static int
reach_node(uint64_t ref, void *arg)
{
	return reach(arg, ref);
}

static int
reach_dimension(uint32_t id, const struct strata__dimnode *node, void *arg)
{
	struct recovery *recovery = arg;

	if (node->region == 0)
		return 0;
	if (node->region > recovery->space->geometry->nr_segments)
		return strata__fail(STRATA_ECORRUPT,
				    "store '%s': dimension %u has no region %u",
				    recovery->space->geometry->name, id,
				    node->region);
	bit_set(recovery->reached_segments, node->region - 1);
	return 0;
}

static int
reach_entry(uint32_t dimension, uint32_t layer, const struct strata_entry *entry,
	    void *arg)
{
	(void)dimension;
	(void)layer;
	if ((entry->flags & STRATA_ENTRY_REGION) != 0)
		return 0;
	return reach(arg, entry->content);
}

static int
walk(struct recovery *recovery)
{
	struct strata__visitor visitor = {
		.node = reach_node,
		.dimension = reach_dimension,
		.entry = reach_entry,
		.arg = recovery,
	};
	struct strata__hot *hot = &recovery->space->catalog->hot;
	uint64_t root = atomic_load_explicit(&hot->roots[recovery->version & 1],
					     memory_order_acquire);

	return strata__tree_walk(recovery->space, root, &visitor);
}

/**** the records ****/

static void
retire_record(const struct recovery *recovery, struct strata__record *record)
{
	atomic_store_explicit(&record->retirement, recovery->version,
			      memory_order_release);
	STRATA_TESTPOINT("recover.block.stamped");
	atomic_store_explicit(&record->state, STRATA_RETIRED,
			      memory_order_release);
	STRATA_TESTPOINT("recover.block.retired");
}

static void
mend_block(const struct recovery *recovery, struct strata__record *record,
	   bool reached)
{
	uint32_t state =
		atomic_load_explicit(&record->state, memory_order_acquire);

	if (!reached && state == STRATA_ALLOCATED)
		retire_record(recovery, record);
}

static void
mend_class(struct recovery *recovery, uint32_t class_)
{
	struct strata__blocks blocks;

	strata__blocks_init(&blocks, recovery->space, class_);
	while (strata__blocks_next(&blocks)) {
		mend_block(recovery, blocks.record,
			   bit_test(recovery->reached[class_], blocks.index));
		recovery->nr_in_use += blocks.state == STRATA_ALLOCATED ||
			blocks.state == STRATA_RETIRED;
	}
}

static void
mend_segments(struct recovery *recovery)
{
	struct strata__segment *segments = strata__segments(recovery->space);

	for (uint32_t i = 0; i < recovery->space->geometry->nr_segments; i++)
		mend_block(recovery, &segments[i].record,
			   bit_test(recovery->reached_segments, i));
}

/**** lists and counters ****/

static void
reserved_recount(struct strata__space *space)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t bytes = space->geometry->catalog_size +
		space->geometry->lock_size + space->geometry->pins_size +
		strata__count(&counters->region_bytes) +
		strata__pool_reserved(space);

	strata__count_set(&counters->reserved, bytes);
}

/* What decides nothing, and is to be right all the same: who died between a deed
 * and its counter left the latter behind. They only grow. */
static void
history_mend(const struct recovery *recovery)
{
	struct strata__space *space = recovery->space;
	struct strata__counters *counters = &space->catalog->counters;
	struct strata__class_counters *class_;
	uint64_t timed = 0;
	uint64_t taken = strata__count(&counters->allocations);
	uint64_t given = strata__count(&counters->deallocations);

	strata__deed_finish(space, recovery->version);
	strata__count_max(&counters->commits, recovery->version - 1);
	if (taken < given + recovery->nr_in_use)
		strata__count_set(&counters->allocations,
				  given + recovery->nr_in_use);
	else
		strata__count_set(&counters->deallocations,
				  taken - recovery->nr_in_use);
	for (unsigned i = 0; i < STRATA_GRACE_BUCKETS; i++)
		timed += strata__count(&space->catalog->graces.nr[i]);
	strata__count_max(&counters->grace_periods, timed);
	for (uint32_t i = 0; i < space->geometry->nr_classes; i++) {
		class_ = &counters->classes[i];
		strata__count_max(&class_->peak,
				  strata__count(&class_->live) +
					  strata__count(&class_->retired));
	}
}

int
strata__recover(struct strata_store *store)
{
	struct strata__space *space = &store->space;
	struct recovery recovery;
	int ret;

	ret = strata__space_mend(space);
	if (ret == 0)
		ret = recovery_init(&recovery, space);
	if (ret != 0)
		return ret;
	/* The sizes of the pools first: they bound what a block is. */
	strata__pool_rebuild(space);
	ret = walk(&recovery);
	if (ret == 0) {
		for (uint32_t i = 0; i < space->geometry->nr_classes; i++)
			mend_class(&recovery, i);
		mend_segments(&recovery);
		STRATA_TESTPOINT("recover.mended");
		strata__pool_rebuild(space);
		strata__retired_rebuild(space);
		strata__segtab_recount(space);
		strata__sweep_segments(store);
		/* What has a name and no entry would be in memory, uncounted:
		 * who cannot look for it leaves that to the next. */
		ret = strata__segtab_sweep(space, NULL);
		strata__segtab_recount(space);
		reserved_recount(space);
		history_mend(&recovery);
		if (ret == 0)
			strata__count_add(
				&space->catalog->counters.recoveries, 1);
		STRATA_TESTPOINT("recover.rebuilt");
	}
	recovery_fini(&recovery);
	STRATA_LOG(STRATA_LOG_WARNING,
		   "store '%s': a writer died; what it left is %s", store->name,
		   ret == 0 ? "mended" : "not to be mended");
	/* First free what the dead kept: the store may be full of it. */
	if (ret == 0 && store->rcu.can_fence)
		(void)strata__reclaim(store, NULL);
	return ret;
}
