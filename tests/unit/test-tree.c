/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The index: what edits do to it, and what readers find. */
#include "trees.h"

TestSuite(tree, .init = setup, .fini = teardown, .timeout = 60);

/**** finding what was put ****/

Test(tree, nothing_is_found_without_a_root)
{
	cr_assert_null(find(0, 1, 0));
	cr_assert_null(find(0, STRATA_DIMENSION_MAX, STRATA_LAYER_MAX));
	cr_assert_eq(nodes_of(0), 0);
}

Test(tree, put_then_find)
{
	begin();
	put(7, 5, 42);
	cr_assert_eq(size_of(7, 5), 42);
	cr_assert_eq(find(edit.root, 7, 5)->flags, STRATA_ENTRY_PRESENT,
		     "put marks the entry as present");
	cr_assert_eq(size_of(7, 4), -1);
	cr_assert_eq(size_of(8, 5), -1);
	cr_assert_eq(nodes_of(edit.root), 2, "a root and a dimension's node");
}

Test(tree, what_a_new_block_held_is_not_found)
{
	uint32_t layer;

	begin();
	for (layer = 0; layer < 48; layer++)
		put(1, layer, layer);
	strata__edit_abort(&edit);
	begin();
	put(1, 0, 9);
	for (layer = 1; layer < 48; layer++)
		cr_assert_eq(size_of(1, layer), -1, "layer %u", layer);
}

Test(tree, put_tells_what_was_there)
{
	struct strata_entry old;

	begin();
	old = put(1, 1, 10);
	cr_assert_eq(old.flags, 0, "nothing was");
	old = put_flags(1, 1, 20, STRATA_ENTRY_SIMULATED);
	cr_assert_eq(old.size, 10);
	cr_assert_eq(old.flags, STRATA_ENTRY_PRESENT);
	cr_assert_eq(find(edit.root, 1, 1)->flags,
		     STRATA_ENTRY_PRESENT | STRATA_ENTRY_SIMULATED);
}

Test(tree, put_takes_an_entry_that_lies_in_the_tree)
{
	struct strata_entry old;

	begin();
	put(1, 1, 10);
	commit();
	begin();
	cr_assert_eq(strata__tree_put(&edit, 1, 2, find(edit.root, 1, 1), &old),
		     0);
	cr_assert_eq(size_of(1, 2), 10);
}

/**** heights ****/

Test(tree, a_dimension_of_48_layers_is_one_node)
{
	uint32_t layer;

	begin();
	for (layer = 0; layer < 48; layer++)
		put(1, layer, 100 + layer);
	for (layer = 0; layer < 48; layer++)
		cr_assert_eq(size_of(1, layer), 100 + layer);
	cr_assert_eq(size_of(1, 48), -1);
	cr_assert_eq(nodes_of(edit.root), 2);
	cr_assert_eq(dimnode_of(1)->height, 0);
}

Test(tree, growing_keeps_the_layers)
{
	/* The last layer of each height, the first of the next. */
	static const uint32_t layers[] = {
		47, 48, 16383, 16384, 8388607, 8388608, STRATA_LAYER_MAX};
	static const unsigned heights[] = {0, 1, 1, 2, 2, 3, 3};
	int i, j;

	begin();
	for (i = 0; i < (int)(sizeof(layers) / sizeof(layers[0])); i++) {
		put(3, layers[i], i);
		cr_assert_eq(dimnode_of(3)->height, heights[i], "layer %u",
			     layers[i]);
		for (j = 0; j <= i; j++)
			cr_assert_eq(size_of(3, layers[j]), j,
				     "layer %u after %u", layers[j], layers[i]);
		nodes_of(edit.root);
	}
	cr_assert_eq(size_of(3, 0), -1);
	cr_assert_eq(size_of(3, 61), -1);
}

Test(tree, growing_of_an_empty_dimension_moves_nothing)
{
	begin();
	put(3, STRATA_LAYER_MAX, 1);
	cr_assert_eq(size_of(3, STRATA_LAYER_MAX), 1);
	cr_assert_eq(nodes_of(edit.root), 5, "root, node, two inner, leaf");
}

Test(tree, low_dimensions_see_a_higher_layer_as_absent)
{
	begin();
	put(1, 0, 1);
	cr_assert_eq(size_of(1, STRATA_LAYER_MAX), -1);
	put(1, 60, 1);
	cr_assert_eq(size_of(1, 16384), -1);
	cr_assert_eq(size_of(1, STRATA_LAYER_MAX), -1);
	put(1, 16384, 1);
	cr_assert_eq(size_of(1, 8388608), -1);
	cr_assert_eq(size_of(1, STRATA_LAYER_MAX), -1);
}

Test(tree, dimension_512_makes_the_root_higher)
{
	begin();
	put(511, 1, 511);
	put(1, 1, 1);
	cr_assert_eq(edit.root & STRATA_REF_TAG, 0);
	put(512, 1, 512);
	cr_assert_eq(edit.root & STRATA_REF_TAG, 1);
	put(STRATA_DIMENSION_MAX, 1, 9);
	cr_assert_eq(size_of(1, 1), 1);
	cr_assert_eq(size_of(511, 1), 511);
	cr_assert_eq(size_of(512, 1), 512);
	cr_assert_eq(size_of(STRATA_DIMENSION_MAX, 1), 9);
	cr_assert_eq(size_of(1024, 1), -1, "no directory is there");
	cr_assert_eq(nodes_of(edit.root), 1 + 3 + 4);
}

Test(tree, the_first_dimension_may_be_a_high_one)
{
	begin();
	put(STRATA_DIMENSION_MAX, 0, 1);
	cr_assert_eq(size_of(STRATA_DIMENSION_MAX, 0), 1);
	cr_assert_eq(size_of(1, 0), -1);
	cr_assert_eq(nodes_of(edit.root), 3);
}

/**** copy-on-write ****/

Test(tree, a_snapshot_stays_as_it_was)
{
	uint64_t before, nodes;

	begin();
	put(1, 100, 1);
	put(2, 1, 2);
	put(3, 1, 3);
	commit();
	before = current_root();
	nodes = nodes_of(before);
	begin();
	put(1, 100, 10);
	put(1, 70000, 11);
	put(600, 1, 12);
	cr_assert_eq(try_remove(2, 1), 0);
	cr_assert_eq(strata__tree_remove_dimension(&edit, 3), 0);
	commit();
	cr_assert_eq(find(before, 1, 100)->size, 1);
	cr_assert_null(find(before, 1, 70000));
	cr_assert_null(find(before, 600, 1));
	cr_assert_eq(find(before, 2, 1)->size, 2);
	cr_assert_eq(find(before, 3, 1)->size, 3);
	cr_assert_eq(nodes_of(before), nodes);
	cr_assert_eq(live_nodes(), nodes_of(current_root()));
}

Test(tree, an_edit_copies_a_node_once)
{
	uint32_t layer;

	begin();
	put(1, 20000, 1);
	put(1, 20001, 1);
	commit();
	begin();
	for (layer = 20000; layer < 20010; layer++)
		put(1, layer, 2);
	cr_assert_eq(edit.nr_taken, 4, "root, node, inner, leaf");
	cr_assert_eq(edit.nr_unlinked, 4, "the old ones of these");
	cr_assert_eq(try_remove(1, 20001), 0);
	cr_assert_eq(edit.nr_taken, 4);
}

Test(tree, nodes_beside_the_way_are_shared)
{
	uint64_t other;

	begin();
	put(1, 1, 1);
	put(2, 1, 2);
	commit();
	other = strata__tree_slot(space->window, edit.root, 2);
	begin();
	put(1, 1, 3);
	cr_assert_eq(strata__tree_slot(space->window, edit.root, 2), other);
}

Test(tree, abort_changes_nothing)
{
	uint64_t before, live;

	begin();
	put(1, 100, 1);
	commit();
	before = current_root();
	live = live_nodes();
	begin();
	put(1, 100, 2);
	put(1, STRATA_LAYER_MAX, 3);
	put(5000, 1, 3);
	cr_assert_eq(try_remove(1, 100), 0);
	strata__edit_abort(&edit);
	cr_assert_eq(current_root(), before);
	cr_assert_eq(live_nodes(), live);
	cr_assert_eq(find(before, 1, 100)->size, 1);
	cr_assert_eq(nodes_of(before), live);
}

Test(tree, an_edit_without_room_can_be_aborted)
{
	struct strata_entry entry = {.parent = -1}, old = {.size = 7};
	uint64_t before, live;
	uint32_t dimension;
	int rc;

	begin();
	put(1, 100, 1);
	commit();
	before = current_root();
	live = live_nodes();
	begin();
	for (dimension = 1; dimension <= STRATA_DIMENSION_MAX; dimension++) {
		old.size = 7;
		rc = strata__tree_put(&edit, dimension, 70000, &entry, &old);
		if (rc != 0)
			break;
	}
	cr_assert(rc == STRATA_ELIMIT || rc == STRATA_ECLASS, "%d", rc);
	cr_assert_eq(old.size, 7, "results are untouched on failure");
	strata__edit_abort(&edit);
	cr_assert_eq(current_root(), before);
	cr_assert_eq(live_nodes(), live);
	cr_assert_eq(nodes_of(before), live);
}

/* Takes what puts may take, but for a few blocks. */
static void
leave_room(unsigned nr_blocks)
{
	struct strata__block block;
	uint64_t refs[16];
	unsigned nr = 0;

	while (strata__edit_take(&edit, STRATA_NODE_SIZE, STRATA_TAKE_NODE,
				 &block) == 0)
		refs[nr++ % 16] = strata__block_ref(space, &block);
	cr_assert(nr >= nr_blocks && nr_blocks <= 16);
	while (nr_blocks-- > 0)
		cr_assert_eq(strata__edit_unlink(&edit, refs[--nr % 16]), 0);
}

static int
put_high(void)
{
	struct strata_entry entry = {.parent = -1}, old;

	return strata__tree_put(&edit, 1, STRATA_LAYER_MAX, &entry, &old);
}

static int
put_in_new_directory(void)
{
	struct strata_entry entry = {.parent = -1}, old;

	return strata__tree_put(&edit, 1024, 1, &entry, &old);
}

static int
remove_beside_others(void)
{
	return try_remove(1, 20000);
}

static int
remove_the_second(void)
{
	return strata__tree_remove_dimension(&edit, 2);
}

static int
describe_the_second(void)
{
	struct strata__dimnode *dimnode;

	return strata__tree_dimension(&edit, 2, true, &dimnode);
}

/* Lets a change fail at each of the blocks that it takes. */
static void
fail_at_each_block(int (*change)(void), unsigned nr_blocks)
{
	uint64_t before = current_root(), live = live_nodes();
	unsigned nr;
	int rc;

	for (nr = 0; nr <= nr_blocks; nr++) {
		begin();
		leave_room(nr);
		rc = change();
		if (nr == nr_blocks)
			cr_assert_eq(rc, 0, "%s",
				     strata_last_error()->sentence);
		else
			cr_assert(rc == STRATA_ECLASS || rc == STRATA_ELIMIT,
				  "%d with %u blocks", rc, nr);
		strata__edit_abort(&edit);
		cr_assert_eq(current_root(), before);
		cr_assert_eq(live_nodes(), live);
		cr_assert_eq(nodes_of(before), live);
	}
}

Test(tree, a_change_may_fail_at_each_of_its_blocks)
{
	begin();
	put(1, 1, 1);
	put(1, 20000, 1);
	put(1, 20001, 1);
	put(2, 1, 1);
	commit();
	/* root, dimension, inner above the old ones, two inner, leaf */
	fail_at_each_block(put_high, 6);
	/* a higher root, directory, dimension */
	fail_at_each_block(put_in_new_directory, 3);
	/* root, dimension, inner, leaf */
	fail_at_each_block(remove_beside_others, 4);
	fail_at_each_block(remove_the_second, 1);
	fail_at_each_block(describe_the_second, 2);
	begin();
	put(600, 1, 1);
	commit();
	fail_at_each_block(remove_the_second, 2);
}

Test(tree, removal_finds_room_when_puts_do_not)
{
	struct strata_entry entry = {.parent = -1}, old;
	uint32_t dimension = 1;

	for (;; dimension++) {
		begin();
		if (strata__tree_put(&edit, dimension, 70000, &entry, &old))
			break;
		commit();
	}
	strata__edit_abort(&edit);
	begin();
	edit.take_flags = STRATA_TAKE_RESERVE;
	cr_assert_eq(try_remove(1, 70000), 0, "%s",
		     strata_last_error()->sentence);
	cr_assert_eq(strata__tree_remove_dimension(&edit, 2), 0);
	commit();
	cr_assert_eq(live_nodes(), nodes_of(current_root()));
}

/**** bookkeeping ****/

static void
expect_counts(uint32_t dimension, uint64_t layers, uint64_t protos,
	      uint64_t bytes)
{
	const struct strata__dimnode *dimnode = dimnode_of(dimension);

	cr_assert_eq(dimnode->nr_layers, layers);
	cr_assert_eq(dimnode->nr_protos, protos);
	cr_assert_eq(dimnode->content_bytes, bytes);
	cr_assert_eq(dimnode->version, edit.version);
}

Test(tree, counts_follow_every_change)
{
	begin();
	put(1, 1, 10);
	expect_counts(1, 1, 1, 10);
	put_flags(1, 2, 20, STRATA_ENTRY_REGION);
	expect_counts(1, 2, 1, 30);
	put_flags(1, 1, 5, STRATA_ENTRY_REGION);
	expect_counts(1, 2, 0, 25);
	put(1, 2, 7);
	expect_counts(1, 2, 1, 12);
	commit();
	begin();
	cr_assert_eq(try_remove(1, 1), 0);
	expect_counts(1, 1, 1, 7);
	cr_assert_eq(try_remove(1, 2), 0);
	expect_counts(1, 0, 0, 0);
}

Test(tree, only_the_changed_dimension_is_of_this_version)
{
	uint64_t first;

	begin();
	put(1, 1, 1);
	put(2, 1, 1);
	first = commit();
	begin();
	put(2, 1, 1);
	cr_assert_eq(dimnode_of(1)->version, first);
	cr_assert_eq(dimnode_of(2)->version, first + 1);
}

Test(tree, dimension_gives_a_node_that_may_be_changed)
{
	struct strata__dimnode *dimnode = NULL;

	begin();
	cr_assert_eq(strata__tree_dimension(&edit, 9, true, &dimnode), 0);
	cr_assert_eq(dimnode, dimnode_of(9));
	cr_assert_eq(dimnode->id, 9);
	cr_assert_eq(dimnode->nr_layers, 0);
	dimnode->frequency_max = 40.0;
	commit();
	begin();
	cr_assert_eq(strata__tree_dimension(&edit, 9, false, &dimnode), 0);
	cr_assert_eq(dimnode->frequency_max, 40.0);
	cr_assert_eq(dimnode->version, edit.version);
	cr_assert(fixture_owns(
		&edit, (uint64_t)((char *)dimnode - space->window)));
}

Test(tree, dimension_without_create_refuses_what_is_not_there)
{
	struct strata__dimnode *dimnode = NULL;

	begin();
	cr_assert_eq(strata__tree_dimension(&edit, 9, false, &dimnode),
		     STRATA_ENODIM);
	cr_assert_null(dimnode);
	cr_assert_eq(edit.nr_taken, 0);
}

/**** removal ****/

Test(tree, remove_tells_what_was_there)
{
	struct strata_entry old;

	begin();
	put(1, 1, 10);
	put(1, 2, 20);
	cr_assert_eq(strata__tree_remove(&edit, 1, 1, &old), 0);
	cr_assert_eq(old.size, 10);
	cr_assert_eq(size_of(1, 1), -1);
	cr_assert_eq(size_of(1, 2), 20);
}

Test(tree, removal_of_what_is_not_there_changes_nothing)
{
	begin();
	put(1, 100, 1);
	commit();
	begin();
	cr_assert_eq(try_remove(2, 1), STRATA_ENODIM);
	cr_assert_eq(strata_last_error()->dimension, 2);
	cr_assert_eq(try_remove(1, 101), STRATA_ENOLAYER);
	cr_assert_eq(strata_last_error()->dimension, 1);
	cr_assert_eq(strata_last_error()->layer, 101);
	cr_assert_eq(try_remove(1, STRATA_LAYER_MAX), STRATA_ENOLAYER);
	cr_assert_eq(strata__tree_remove_dimension(&edit, 2), STRATA_ENODIM);
	cr_assert_eq(strata__tree_remove_dimension(&edit, 700), STRATA_ENODIM);
	cr_assert_eq(edit.nr_taken, 0);
	cr_assert_eq(edit.nr_unlinked, 0);
}

Test(tree, empty_leaves_and_inner_nodes_go)
{
	begin();
	put(1, 0, 1);
	put(1, 20000, 2);
	put(1, STRATA_LAYER_MAX, 3);
	commit();
	begin();
	cr_assert_eq(nodes_of(edit.root), 9);
	cr_assert_eq(try_remove(1, STRATA_LAYER_MAX), 0);
	cr_assert_eq(nodes_of(edit.root), 6, "two inner ones and a leaf went");
	cr_assert_eq(try_remove(1, 20000), 0);
	cr_assert_eq(nodes_of(edit.root), 5,
		     "a leaf; layer 0 shares its inner ones");
	cr_assert_eq(size_of(1, 0), 1);
	commit();
	cr_assert_eq(live_nodes(), nodes_of(current_root()));
}

Test(tree, a_leaf_that_becomes_empty_is_not_copied)
{
	begin();
	put(1, 0, 1);
	put(1, 100, 1);
	commit();
	begin();
	cr_assert_eq(try_remove(1, 100), 0);
	cr_assert_eq(edit.nr_taken, 2, "root and dimension");
}

Test(tree, a_dimension_without_layers_stays_and_is_low)
{
	begin();
	put(1, STRATA_LAYER_MAX, 1);
	commit();
	begin();
	cr_assert_eq(try_remove(1, STRATA_LAYER_MAX), 0);
	cr_assert_eq(dimnode_of(1)->nr_layers, 0);
	cr_assert_eq(dimnode_of(1)->height, 0);
	cr_assert_eq(nodes_of(edit.root), 2);
	put(1, 59, 5);
	cr_assert_eq(size_of(1, 59), 5);
	cr_assert_eq(size_of(1, 0), -1);
}

Test(tree, remove_dimension_unlinks_all_its_nodes)
{
	uint64_t live;

	begin();
	put(2, 1, 1);
	commit();
	live = live_nodes();
	begin();
	put(1, 1, 1);
	put(1, 1000, 1);
	put(1, 100000, 1);
	put(1, 100000000, 1);
	commit();
	begin();
	put(1, 1, 2); /* some nodes are the edit's own, some are not */
	cr_assert_eq(strata__tree_remove_dimension(&edit, 1), 0);
	cr_assert_eq(strata__tree_slot(space->window, edit.root, 1), 0);
	commit();
	cr_assert_eq(live_nodes(), live);
	cr_assert_eq(nodes_of(current_root()), live);
}

Test(tree, remove_dimension_makes_room_for_a_new_one)
{
	begin();
	put(600, 1000, 1);
	cr_assert_eq(strata__tree_remove_dimension(&edit, 600), 0);
	put(600, 3, 3);
	cr_assert_eq(size_of(600, 1000), -1);
	cr_assert_eq(size_of(600, 3), 3);
	cr_assert_eq(dimnode_of(600)->nr_layers, 1);
}

/**** in order ****/

struct list {
	uint32_t ids[16];
	unsigned nr, stop_at; /* stop_at 0: never */
};

static int
list_add(struct list *list, uint32_t id)
{
	list->ids[list->nr++] = id;
	return list->nr == list->stop_at ? 77 : 0;
}

static int
list_dimension(uint32_t id, uint64_t slot, void *arg)
{
	cr_assert_eq(strata__tree_dimnode(space->window, slot)->id, id);
	return list_add(arg, id);
}

static int
list_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	cr_assert_eq(entry->size, layer);
	return list_add(arg, layer);
}

static void
expect_list(const struct list *list, const uint32_t *ids, unsigned nr)
{
	cr_assert_eq(list->nr, nr);
	cr_assert_eq(memcmp(list->ids, ids, nr * sizeof(ids[0])), 0);
}

Test(tree, dimensions_come_in_order)
{
	static const uint32_t low[] = {1, 14, 511};
	static const uint32_t all[] = {1, 14, 511, 512, 1025, 262143};
	struct list list = {.nr = 0};
	size_t i;

	begin();
	for (i = 3; i-- > 0;)
		put(low[i], 0, 0);
	strata__tree_each_dimension(space->window, edit.root, list_dimension,
				    &list);
	expect_list(&list, low, 3);
	for (i = 6; i-- > 3;)
		put(all[i], 0, 0);
	list.nr = 0;
	cr_assert_eq(strata__tree_each_dimension(space->window, edit.root,
						 list_dimension, &list),
		     0);
	expect_list(&list, all, 6);
	list = (struct list){.stop_at = 5};
	cr_assert_eq(strata__tree_each_dimension(space->window, edit.root,
						 list_dimension, &list),
		     77, "what the function returns ends the walk");
	expect_list(&list, all, 5);
}

Test(tree, an_empty_store_has_no_dimensions)
{
	struct list list = {.nr = 0};

	cr_assert_eq(strata__tree_each_dimension(space->window, 0,
						 list_dimension, &list),
		     0);
	cr_assert_eq(list.nr, 0);
}

Test(tree, layers_come_in_order_at_every_height)
{
	static const uint32_t layers[] = {
		0,     59,      63,      64,      16383,
		16384, 8388607, 8388608, 1 << 30, STRATA_LAYER_MAX};
	struct list list;
	uint64_t slot;
	unsigned i;

	begin();
	for (i = 0; i < 10; i++) {
		put(1, layers[i], layers[i]);
		slot = strata__tree_slot(space->window, edit.root, 1);
		cr_assert_eq(strata__tree_last_layer(space->window, slot),
			     layers[i]);
		list = (struct list){.nr = 0};
		cr_assert_eq(strata__tree_each_layer(space->window, slot,
						     list_layer, &list),
			     0);
		expect_list(&list, layers, i + 1);
		list = (struct list){.stop_at = i + 1};
		cr_assert_eq(strata__tree_each_layer(space->window, slot,
						     list_layer, &list),
			     77);
	}
}

Test(tree, a_dimension_without_layers_has_no_last_one)
{
	struct strata__dimnode *dimnode;
	uint64_t slot;

	begin();
	cr_assert_eq(strata__tree_dimension(&edit, 1, true, &dimnode), 0);
	slot = strata__tree_slot(space->window, edit.root, 1);
	cr_assert_eq(strata__tree_last_layer(space->window, slot), -1);
}
