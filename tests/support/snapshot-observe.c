/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* An observer that checks that each of its copies is of one version. */
#include "snapshot.h"

#include <inttypes.h>
#include <sched.h>

#include "content.h"
#include "proc.h"

struct glass {
	struct strata_store *store;
	struct snapshot_board *board;
	const struct snapshot_options *options;
	uint64_t random;
	uint64_t version; /* of the last copy; they never go back */
	uint32_t dimension;
	uint64_t layers; /* seen in a list, a bit each */
};

static bool
violation(struct glass *glass, uint64_t version, uint32_t dimension,
	  uint32_t layer, const char *what, uint64_t got)
{
	snapshot_violation(glass->board,
			   "copy of version %" PRIu64
			   ", dimension %u, layer %u: %s (%" PRIu64 ")",
			   version, dimension, layer, what, got);
	return false;
}

/* Not an answer: is it a violation? */
static bool
refused(struct glass *glass, uint32_t dimension, uint32_t layer, int ret)
{
	if (ret == STRATA_EBUSY) {
		atomic_fetch_add_explicit(&glass->board->busy, 1,
					  memory_order_relaxed);
		return true;
	}
	if (dimension == SNAPSHOT_ASIDE && ret == STRATA_ENODIM)
		return true;
	snapshot_violation(glass->board, "copy of dimension %u, layer %u: %s",
			   dimension, layer,
			   ret == STRATA_ENODIM || ret == STRATA_ENOLAYER ?
				   strata_strerror(ret) :
				   strata_last_error()->sentence);
	return false;
}

/* Every copy is of the version that is current when it is begun, or later. */
static bool
check_version(struct glass *glass, uint32_t dimension, uint32_t layer,
	      uint64_t version)
{
	if (version < glass->version)
		return violation(glass, version, dimension, layer,
				 "older than the one before", glass->version);
	glass->version = version;
	return true;
}

static bool
check_entry(struct glass *glass, uint32_t dimension, uint32_t layer,
	    const struct strata_copy *copy)
{
	if (copy->entry.version > copy->version)
		return violation(glass, copy->version, dimension, layer,
				 "entry of the future", copy->entry.version);
	if (copy->entry.size < 16 ||
	    copy->entry.size > content_size_max(layer))
		return violation(glass, copy->version, dimension, layer,
				 "size", copy->entry.size);
	return true;
}

static bool
check_copy(struct glass *glass, uint32_t dimension, uint32_t layer,
	   const struct strata_copy *copy)
{
	uint64_t number = 0;

	if (!check_version(glass, dimension, layer, copy->version) ||
	    !check_entry(glass, dimension, layer, copy))
		return false;
	if (!content_check(copy->data, copy->entry.size, dimension, layer,
			   &number))
		return violation(glass, copy->version, dimension, layer,
				 "torn content", number);
	if (dimension != SNAPSHOT_ASIDE &&
	    !snapshot_is_current(glass->board, copy->version, number))
		return violation(glass, copy->version, dimension, layer,
				 "content of another version", number);
	if (dimension != SNAPSHOT_ASIDE &&
	    atomic_exchange_explicit(
		    &glass->board->seen[number % SNAPSHOT_COMMITS], 1,
		    memory_order_relaxed) == 0)
		atomic_fetch_add_explicit(&glass->board->versions, 1,
					  memory_order_relaxed);
	return true;
}

static bool
copy_layer(struct glass *glass, uint32_t dimension, uint32_t layer)
{
	struct strata_copy *copy;
	int ret = strata_copy(glass->store, dimension, layer, 0, &copy);
	bool right;

	if (ret != 0)
		return refused(glass, dimension, layer, ret);
	right = check_copy(glass, dimension, layer, copy);
	strata_copy_free(copy);
	return right;
}

static int
see_layer(uint32_t layer, const struct strata_copy *copy, void *arg)
{
	struct glass *glass = arg;

	glass->layers |= UINT64_C(1) << layer % 64;
	return check_version(glass, glass->dimension, layer, copy->version) &&
			       check_entry(glass, glass->dimension, layer,
					   copy) ?
		0 :
		1;
}

static bool
list_layers(struct glass *glass, uint32_t dimension)
{
	uint64_t all = (UINT64_C(1) << glass->options->nr_layers) - 1;
	int ret;

	glass->dimension = dimension;
	glass->layers = 0;
	ret = strata_copy_layers(glass->store, dimension, see_layer, glass);
	if (ret == 1)
		return false; /* told */
	if (ret != 0)
		return refused(glass, dimension, 0, ret);
	return glass->layers == all ||
	       violation(glass, glass->version, dimension, 0, "layers listed",
			 glass->layers);
}

static int
see_dimension(const struct strata_dimension *dimension, void *arg)
{
	*(unsigned *)arg += dimension->id != SNAPSHOT_ASIDE;
	return 0;
}

static bool
list_dimensions(struct glass *glass)
{
	unsigned nr = 0;
	uint64_t version;
	int ret = strata_copy_dimensions(glass->store, see_dimension, &nr,
					 &version);

	if (ret != 0)
		return refused(glass, 0, 0, ret);
	return check_version(glass, 0, 0, version) &&
	       (nr == SNAPSHOT_MAIN ||
		violation(glass, version, 0, 0, "dimensions listed", nr));
}

static bool
observe_once(struct glass *glass)
{
	uint64_t random = test_random(&glass->random);
	uint32_t dimension = SNAPSHOT_MAIN_FIRST +
			     (uint32_t)((random >> 8) % SNAPSHOT_MAIN);
	uint32_t layer =
		(uint32_t)((random >> 16) % glass->options->nr_layers);
	bool right;

	if (random % 32 == 0)
		right = list_dimensions(glass);
	else if (random % 32 < 4)
		right = list_layers(glass, dimension);
	else if (random % 32 < 8)
		right = copy_layer(glass, SNAPSHOT_ASIDE,
				   layer % SNAPSHOT_ASIDE_LAYERS);
	else
		right = copy_layer(glass, dimension, layer);
	if (right)
		atomic_fetch_add_explicit(&glass->board->copies, 1,
					  memory_order_relaxed);
	return right;
}

bool
snapshot_observe(struct strata_store *store, struct snapshot_board *board,
		 const struct snapshot_options *options, uint64_t seed,
		 uint64_t nr_copies, uint64_t nr_versions)
{
	struct glass glass = {.store = store,
			      .board = board,
			      .options = options,
			      .random = seed};
	bool right = true;

	while (atomic_load_explicit(&board->ready, memory_order_acquire) == 0 &&
	       atomic_load_explicit(&board->stop, memory_order_relaxed) == 0)
		sched_yield();
	for (uint64_t i = 0;
	     right &&
	     (i < nr_copies ||
	      atomic_load_explicit(&board->versions, memory_order_relaxed) <
		      nr_versions) &&
	     atomic_load_explicit(&board->stop, memory_order_relaxed) == 0;
	     i++)
		right = observe_once(&glass);
	return right;
}
