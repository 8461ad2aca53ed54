/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A tree to try things on, in a small space. */
#ifndef STRATA_TEST_TREES_H
#define STRATA_TEST_TREES_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../support/fixture.h"
#include "error.h"
#include "tree.h"

#define LIMIT (UINT64_C(32) << 20)

static struct strata__space *space;
static struct strata__edit edit;

static inline void
setup(void)
{
	space = fixture_space(LIMIT);
	strata__edit_init(&edit, space);
}

static inline void
teardown(void)
{
	strata__edit_fini(&edit);
	fixture_space_free(space);
}

static inline uint64_t
current_root(void)
{
	const struct strata__hot *hot = &space->catalog->hot;

	return atomic_load(&hot->roots[atomic_load(&hot->version) & 1]);
}

static inline void
begin(void)
{
	cr_assert_eq(strata__edit_begin(&edit), 0);
}

static inline uint64_t
commit(void)
{
	return strata__edit_commit(&edit);
}

/* The entry of a proto whose size tells which one it is. */
static inline struct strata_entry
put_flags(uint32_t dimension, uint32_t layer, uint64_t size, uint32_t flags)
{
	struct strata_entry entry = {
		.size = size, .parent = -1, .flags = flags};
	struct strata_entry old = {0};

	cr_assert_eq(strata__tree_put(&edit, dimension, layer, &entry, &old), 0,
		     "%s", strata_last_error()->sentence);
	return old;
}

static inline struct strata_entry
put(uint32_t dimension, uint32_t layer, uint64_t size)
{
	return put_flags(dimension, layer, size, 0);
}

static inline int
try_remove(uint32_t dimension, uint32_t layer)
{
	struct strata_entry old;

	return strata__tree_remove(&edit, dimension, layer, &old);
}

static inline const struct strata_entry *
find(uint64_t root, uint32_t dimension, uint32_t layer)
{
	uint64_t slot = strata__tree_slot(space->window, root, dimension);

	return slot == 0 ? NULL
			 : strata__tree_entry(space->window, slot, layer);
}

/* The size of a layer as the edit has it, or -1. */
static inline int64_t
size_of(uint32_t dimension, uint32_t layer)
{
	const struct strata_entry *entry = find(edit.root, dimension, layer);

	return entry == NULL ? -1 : (int64_t)entry->size;
}

static inline struct strata__dimnode *
dimnode_of(uint32_t dimension)
{
	uint64_t slot = strata__tree_slot(space->window, edit.root, dimension);

	cr_assert_neq(slot, 0, "dimension %u", dimension);
	return strata__node_at(space, slot);
}

static inline uint64_t
live_nodes(void)
{
	return strata__count(&space->catalog->counters.classes[0].live);
}

static inline int
count_node(uint64_t ref, void *arg)
{
	(void)ref;
	++*(uint64_t *)arg;
	return 0;
}

/* How many nodes a root has; the walk must accept it. */
static inline uint64_t
nodes_of(uint64_t root)
{
	uint64_t nr = 0;
	struct strata__visitor visitor = {.node = count_node, .arg = &nr};

	cr_assert_eq(strata__tree_walk(space, root, &visitor), 0, "%s",
		     strata_last_error()->sentence);
	return nr;
}

#endif
