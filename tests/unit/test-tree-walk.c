/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The walk through the index that trusts nothing: what it refuses. */
#include "trees.h"

TestSuite(tree_walk, .init = setup, .fini = teardown, .timeout = 60);

/* A tree of all heights: dimensions 1 (height 0), 2 (2), 600 (3). */
static void
make_tree(void)
{
	begin();
	put(1, 1, 1);
	put(2, 1, 1);
	put(2, 100, 1);
	put(2, 20000, 1);
	put(600, 1, 1);
	put(600, STRATA_LAYER_MAX, 1);
	commit();
}

static uint64_t *
slots_of(uint64_t ref)
{
	return strata__node_at(space, ref);
}

static uint64_t *
directory_of(uint32_t dimension)
{
	return slots_of(slots_of(edit.root)[dimension >> 9]);
}

static void
expect_corrupt(uint64_t root, const char *what)
{
	struct strata__visitor visitor = {.node = NULL};

	cr_assert_eq(strata__tree_walk(space, root, &visitor), STRATA_ECORRUPT,
		     "%s", what);
	cr_assert_not_null(strstr(strata_last_error()->sentence, what),
			   "'%s' in '%s'", what, strata_last_error()->sentence);
}

struct met {
	unsigned nodes, dimensions, entries;
	unsigned stop_at;
};

static int
meet_node(uint64_t ref, void *arg)
{
	struct met *met = arg;
	struct strata__block block;

	cr_assert(strata__block_at(space, ref, &block));
	return ++met->nodes == met->stop_at ? 77 : 0;
}

static int
meet_dimension(uint32_t id, const struct strata__dimnode *node, void *arg)
{
	struct met *met = arg;

	cr_assert_eq(node->id, id);
	met->dimensions++;
	return met->stop_at == 101 ? 78 : 0;
}

static int
meet_entry(uint32_t dimension, uint32_t layer, const struct strata_entry *entry,
	   void *arg)
{
	struct met *met = arg;

	cr_assert_eq(find(edit.root, dimension, layer), entry);
	met->entries++;
	return met->stop_at == 102 ? 79 : 0;
}

static int
meet(struct met *met)
{
	struct strata__visitor visitor = {
		.node = meet_node,
		.dimension = meet_dimension,
		.entry = meet_entry,
		.arg = met,
	};

	return strata__tree_walk(space, edit.root, &visitor);
}

Test(tree_walk, meets_everything_once)
{
	struct met met = {.nodes = 0};

	make_tree();
	cr_assert_eq(meet(&met), 0, "%s", strata_last_error()->sentence);
	cr_assert_eq(met.nodes, live_nodes());
	cr_assert_eq(met.dimensions, 3);
	cr_assert_eq(met.entries, 6);
}

Test(tree_walk, ends_when_the_visitor_says_so)
{
	unsigned nr;

	make_tree();
	for (nr = 1; nr <= live_nodes(); nr++) {
		struct met met = {.stop_at = nr};

		cr_assert_eq(meet(&met), 77);
		cr_assert_eq(met.nodes, nr);
	}
	cr_assert_eq(meet(&(struct met){.stop_at = 101}), 78);
	cr_assert_eq(meet(&(struct met){.stop_at = 102}), 79);
}

Test(tree_walk, accepts_a_version_whose_nodes_are_retired)
{
	uint64_t before;

	make_tree();
	before = current_root();
	begin();
	put(1, 1, 2);
	put(600, 1, 2);
	commit();
	nodes_of(before);
}

Test(tree_walk, refuses_references_to_no_node)
{
	uint64_t *slot, good;

	make_tree();
	slot = &directory_of(1)[1];
	good = *slot;
	*slot = good + 64;
	expect_corrupt(edit.root, "no place of a node");
	cr_assert_eq(strata_last_error()->offset, good + 64);
	*slot = good;
	dimnode_of(2)->u.children[0] |= 2;
	expect_corrupt(edit.root, "no place of a node");
	dimnode_of(2)->u.children[0] &= ~UINT64_C(2);
	*slot = 4096;
	expect_corrupt(edit.root, "no place of a node");
	*slot = UINT64_MAX & ~UINT64_C(4095);
	expect_corrupt(edit.root, "no place of a node");
	*slot = space->geometry->window_size & ~UINT64_C(4095);
	expect_corrupt(edit.root, "no place of a node");
}

Test(tree_walk, refuses_nodes_in_free_blocks)
{
	struct strata__block block;
	uint64_t *slot;

	make_tree();
	slot = &directory_of(2)[2];
	cr_assert(strata__block_at(space, *slot & ~STRATA_REF_TAG, &block));
	atomic_store(&strata__block_record(space, &block)->state, STRATA_FREE);
	expect_corrupt(edit.root, "free");
	cr_assert_eq(strata_last_error()->dimension, 2);
}

Test(tree_walk, refuses_nodes_in_runs)
{
	struct strata__block block;

	make_tree();
	cr_assert(strata__block_at(space, edit.root & ~STRATA_REF_TAG, &block));
	atomic_store(&strata__block_record(space, &block)->run, 2);
	expect_corrupt(edit.root, "run");
}

Test(tree_walk, refuses_a_node_with_two_parents)
{
	struct strata__dimnode *dimnode;

	make_tree();
	dimnode = dimnode_of(2);
	dimnode->u.children[7] = dimnode->u.children[0];
	expect_corrupt(edit.root, "two parents");
}

Test(tree_walk, refuses_a_cycle)
{
	struct strata__dimnode *dimnode;

	make_tree();
	dimnode = dimnode_of(600);
	slots_of(dimnode->u.children[0])[3] = dimnode->u.children[0];
	expect_corrupt(edit.root, "two parents");
	slots_of(dimnode->u.children[0])[3] = edit.root & ~STRATA_REF_TAG;
	expect_corrupt(edit.root, "two parents");
}

Test(tree_walk, refuses_wrong_heights)
{
	uint64_t *slot;

	make_tree();
	slot = &directory_of(2)[2];
	*slot ^= 1;
	expect_corrupt(edit.root, "a height");
	*slot ^= 1;
	dimnode_of(2)->height = 7;
	*slot |= 7;
	expect_corrupt(edit.root, "a height");
	expect_corrupt((edit.root & ~STRATA_REF_TAG) | 2, "unknown height");
}

Test(tree_walk, refuses_wrong_dimension_nodes)
{
	struct strata__dimnode *dimnode;
	uint64_t *slots;

	make_tree();
	dimnode = dimnode_of(2);
	dimnode->magic++;
	expect_corrupt(edit.root, "not a dimension's node");
	dimnode->magic--;
	dimnode->id = 3;
	expect_corrupt(edit.root, "another dimension's node");
	dimnode->id = 2;
	dimnode->region = space->geometry->nr_segments + 1;
	expect_corrupt(edit.root, "region");
	dimnode->region = 0;
	memset(dimnode->name, 'x', sizeof(dimnode->name));
	expect_corrupt(edit.root, "a name");
	memset(dimnode->name, 0, sizeof(dimnode->name));
	slots = directory_of(1);
	slots[0] = slots[1];
	slots[1] = 0;
	expect_corrupt(edit.root, "number 0");
}

Test(tree_walk, refuses_wrong_counts)
{
	struct strata__dimnode *dimnode;

	make_tree();
	dimnode = dimnode_of(2);
	dimnode->nr_layers++;
	expect_corrupt(edit.root, "counts");
	dimnode->nr_layers--;
	dimnode->nr_protos = 0;
	expect_corrupt(edit.root, "counts");
	dimnode->nr_protos = dimnode->nr_layers;
	dimnode->content_bytes--;
	expect_corrupt(edit.root, "counts");
}

Test(tree_walk, refuses_layers_beyond_the_last)
{
	struct strata__dimnode *dimnode;

	make_tree();
	dimnode = dimnode_of(600);
	dimnode->u.children[128] = dimnode->u.children[127];
	dimnode->u.children[127] = 0;
	expect_corrupt(edit.root, "beyond the last");
}

static int
save_node(uint64_t ref, void *arg)
{
	uint64_t **next = arg;

	*(*next)++ = ref;
	return 0;
}

/* Any word of any node replaced by something plausible: an answer, no crash. */
Test(tree_walk, survives_any_damage, .timeout = 120)
{
	uint64_t refs[64], *end = refs;
	struct strata__visitor visitor = {.node = save_node, .arg = &end};
	struct strata__visitor nobody = {.node = NULL};
	uint64_t *word, saved;
	uint32_t i;
	int rc;

	make_tree();
	cr_assert_eq(strata__tree_walk(space, edit.root, &visitor), 0);
	srandom(1);
	for (i = 0; i < 200000; i++) {
		word = slots_of(refs[random() % (end - refs)]);
		word += random() % (random() % 2 ? 40 : 512);
		saved = *word;
		*word = refs[random() % (end - refs)] + random() % 5;
		if (random() % 4 == 0)
			*word = (uint64_t)random() << random() % 40;
		rc = strata__tree_walk(space, edit.root, &nobody);
		cr_assert(rc == 0 || rc == STRATA_ECORRUPT, "%d", rc);
		*word = saved;
	}
}
