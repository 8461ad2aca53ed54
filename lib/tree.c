/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Changes of the index: each copies the nodes on its way once per edit. */
#include <inttypes.h>
#include <string.h>

#include "error.h"
#include "lines.h"
#include "testpoint.h"
#include "tree.h"

/*
 * About copy-on-write. A published node never changes, so the way from the root
 * to a change is made of nodes that are the edit's own. Whether a node is so,
 * its block's record tells (born in the version in the making), not a mark in
 * the node itself: clearing that at the commit would be a store to what readers
 * are looking at.
 *
 * Everything goes from the root down: a node is owned only when its parent is,
 * so that the reference to its copy has a place. After each step the tree below
 * edit->root is a valid tree, apart perhaps from a leaf or an inner node that
 * is still empty. (Only a dimension whose removal failed is half gone.) An edit
 * that failed is for aborting all the same: what it did is not what was asked.
 *
 * Heights only grow, until the last layer goes. Shrinking when the high layers
 * go would move the low ones to and fro, for the sake of one load in a lookup.
 */

/**** nodes ****/

static uint64_t *
slots_at(const struct strata__edit *edit, uint64_t ref)
{
	return strata__node_at(edit->space, ref);
}

static struct strata__dimnode *
dimnode_at(const struct strata__edit *edit, uint64_t ref)
{
	return strata__node_at(edit->space, ref);
}

static struct strata__leaf *
leaf_at(const struct strata__edit *edit, uint64_t ref)
{
	return strata__node_at(edit->space, ref);
}

/* Where the way to a layer goes on in an inner node of that height. */
static uint64_t *
child_at(const struct strata__edit *edit, uint64_t ref, unsigned height,
	 uint32_t layer)
{
	uint32_t i = layer >> strata__tree_shift(height);

	return &slots_at(edit, ref)[i & (STRATA_NODE_SLOTS - 1)];
}

static bool
is_present(const struct strata_entry *entry)
{
	return (entry->flags & STRATA_ENTRY_PRESENT) != 0;
}

/* A node of the edit's own; its memory is as its last user left it. */
static int
node_take_raw(struct strata__edit *edit, struct strata__block *ret)
{
	int rc = strata__edit_take(edit, STRATA_NODE_SIZE, STRATA_TAKE_NODE,
				   ret);

	if (rc == 0)
		strata__lines_begin(edit->space, ret);
	return rc;
}

/* The same, all zero. */
static int
node_take(struct strata__edit *edit, uint64_t *ret_ref)
{
	struct strata__block block;
	int rc = node_take_raw(edit, &block);

	if (rc != 0)
		return rc;
	strata__lines_clear(edit->space, &block);
	STRATA_TESTPOINT("tree.take.cleared");
	*ret_ref = strata__block_ref(edit->space, &block);
	return 0;
}

/* To be called with whatever is about to be changed in a node of the edit's
 * own. */
static void
use(const struct strata__edit *edit, const void *place, size_t size)
{
	strata__lines_use(edit->space, place, size);
}

/* Makes the node that *ref refers to the edit's own; *ref lies in such a node
 * (or is the root), and keeps its tag. */
static int
own(struct strata__edit *edit, uint64_t *ref)
{
	struct strata__block old, copy;
	int rc;

	rc = strata__edit_find(edit, *ref, &old);
	if (rc != 0 || strata__edit_owns_block(edit, &old))
		return rc;
	rc = node_take_raw(edit, &copy);
	if (rc != 0)
		return rc;
	strata__lines_copy(edit->space, &copy, &old);
	STRATA_TESTPOINT("tree.own.copied");
	rc = strata__edit_unlink_block(edit, &old);
	if (rc != 0)
		return rc;
	*ref = strata__block_ref(edit->space, &copy) | (*ref & STRATA_REF_TAG);
	STRATA_TESTPOINT("tree.own.linked");
	return 0;
}

static int
own_or_take(struct strata__edit *edit, uint64_t *ref)
{
	return *ref != 0 ? own(edit, ref) : node_take(edit, ref);
}

static int
drop(struct strata__edit *edit, uint64_t *ref)
{
	int rc = strata__edit_unlink(edit, *ref & ~STRATA_REF_TAG);

	if (rc == 0)
		*ref = 0;
	STRATA_TESTPOINT("tree.drop.unlinked");
	return rc;
}

/**** root and directory ****/

/* Owns a root that is high enough. An old root that is not becomes, as it is,
 * the directory of the first dimensions. */
static int
own_root(struct strata__edit *edit, uint32_t dimension)
{
	unsigned height = dimension >= STRATA_NODE_SLOTS;
	uint64_t root;
	int rc;

	if (edit->root != 0 && (edit->root & STRATA_REF_TAG) >= height)
		return own(edit, &edit->root);
	rc = node_take(edit, &root);
	if (rc != 0)
		return rc;
	use(edit, slots_at(edit, root), sizeof(edit->root));
	slots_at(edit, root)[0] = edit->root;
	STRATA_TESTPOINT("tree.root.raised");
	edit->root = root | height;
	return 0;
}

static int
own_slot(struct strata__edit *edit, uint32_t dimension, uint64_t **ret_slot)
{
	uint64_t *directory;
	int rc;

	rc = own_root(edit, dimension);
	if (rc != 0)
		return rc;
	directory = &edit->root;
	if ((edit->root & STRATA_REF_TAG) != 0) {
		directory = &slots_at(edit, edit->root)[dimension >> 9];
		use(edit, directory, sizeof(*directory));
		rc = own_or_take(edit, directory);
		if (rc != 0)
			return rc;
	}
	*ret_slot = &slots_at(edit, *directory)[dimension & 511];
	use(edit, *ret_slot, sizeof(**ret_slot));
	return 0;
}

/**** dimensions ****/

static int
no_dimension(uint32_t dimension)
{
	strata__fail(STRATA_ENODIM, "there is no dimension %" PRIu32,
		     dimension);
	strata__error()->dimension = dimension;
	return STRATA_ENODIM;
}

static int
no_layer(uint32_t dimension, uint32_t layer)
{
	strata__fail(STRATA_ENOLAYER,
		     "dimension %" PRIu32 " has no layer %" PRIu32, dimension,
		     layer);
	strata__error()->dimension = dimension;
	strata__error()->layer = layer;
	return STRATA_ENOLAYER;
}

static uint64_t
find_slot(const struct strata__edit *edit, uint32_t dimension)
{
	assert(dimension >= 1 && dimension <= STRATA_DIMENSION_MAX);
	return strata__tree_slot(edit->space->window, edit->root, dimension);
}

static int
dimension_make(struct strata__edit *edit, uint32_t dimension, uint64_t *slot)
{
	struct strata__dimnode *dimnode;
	int rc;

	rc = node_take(edit, slot);
	if (rc != 0)
		return rc;
	dimnode = dimnode_at(edit, *slot);
	use(edit, dimnode, offsetof(struct strata__dimnode, u));
	dimnode->magic = STRATA_DIMNODE_MAGIC;
	dimnode->id = dimension;
	STRATA_TESTPOINT("tree.dimension.made");
	return 0;
}

/* Owns a dimension's node and says where the reference to it stands, since a
 * change of height changes its tag. */
static int
own_dimension(struct strata__edit *edit, uint32_t dimension, bool create,
	      uint64_t **ret_slot)
{
	uint64_t *slot;
	int rc;

	/* Asked first: a refusal should not have copied anything. */
	if (find_slot(edit, dimension) == 0 && !create)
		return no_dimension(dimension);
	rc = own_slot(edit, dimension, &slot);
	if (rc == 0)
		rc = *slot != 0 ? own(edit, slot)
				: dimension_make(edit, dimension, slot);
	if (rc != 0)
		return rc;
	/* All of it that is not layers: the caller may change any. */
	use(edit, dimnode_at(edit, *slot), offsetof(struct strata__dimnode, u));
	dimnode_at(edit, *slot)->version = edit->version;
	STRATA_TESTPOINT("tree.dimension.dated");
	*ret_slot = slot;
	return 0;
}

int
strata__tree_dimension(struct strata__edit *edit, uint32_t dimension,
		       bool create, struct strata__dimnode **ret)
{
	uint64_t *slot;
	int rc;

	rc = own_dimension(edit, dimension, create, &slot);
	if (rc == 0)
		*ret = dimnode_at(edit, *slot);
	return rc;
}

/* Children before parents: a block of the edit's own is free, and perhaps
 * poisoned, once it is unlinked. */
static int
unlink_below(struct strata__edit *edit, const uint64_t *refs, uint32_t nr,
	     unsigned height)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; i < nr && rc == 0; i++) {
		if (refs[i] == 0)
			continue;
		if (height > 1)
			rc = unlink_below(edit, slots_at(edit, refs[i]),
					  STRATA_NODE_SLOTS, height - 1);
		if (rc == 0)
			rc = strata__edit_unlink(edit, refs[i]);
	}
	return rc;
}

int
strata__tree_remove_dimension(struct strata__edit *edit, uint32_t dimension)
{
	const struct strata__dimnode *dimnode;
	uint64_t *slot;
	int rc;

	if (find_slot(edit, dimension) == 0)
		return no_dimension(dimension);
	rc = own_slot(edit, dimension, &slot);
	if (rc != 0)
		return rc;
	dimnode = dimnode_at(edit, *slot);
	if (dimnode->height > 0)
		rc = unlink_below(edit, dimnode->u.children,
				  STRATA_DIMENSION_CHILDREN, dimnode->height);
	return rc == 0 ? drop(edit, slot) : rc;
}

/**** layers ****/

/* Counts of a dimension, with (sign 1) or without (-1) an entry. */
static void
account(struct strata__dimnode *dimnode, const struct strata_entry *entry,
	int sign)
{
	if (!is_present(entry))
		return;
	dimnode->nr_layers += sign;
	if ((entry->flags & STRATA_ENTRY_REGION) == 0)
		dimnode->nr_protos += sign;
	dimnode->content_bytes += sign > 0 ? entry->size : -entry->size;
}

static bool
fits(unsigned height, uint32_t layer)
{
	if (height == 0)
		return layer < STRATA_INLINE_ENTRIES;
	return layer >> strata__tree_shift(height) < STRATA_DIMENSION_CHILDREN;
}

/* One higher: what the node holds goes, as it lies there, to the front of a new
 * leaf or inner node, its first child. */
static int
dimension_grow(struct strata__edit *edit, uint64_t *slot)
{
	struct strata__dimnode *dimnode = dimnode_at(edit, *slot);
	uint64_t child = 0;
	int rc;

	if (dimnode->nr_layers > 0) {
		rc = node_take(edit, &child);
		if (rc != 0)
			return rc;
		use(edit, leaf_at(edit, child), sizeof(dimnode->u.entries));
		if (dimnode->height == 0)
			memcpy(leaf_at(edit, child)->entries,
			       dimnode->u.entries, sizeof(dimnode->u.entries));
		else
			memcpy(slots_at(edit, child), dimnode->u.children,
			       sizeof(dimnode->u.children));
		STRATA_TESTPOINT("tree.grow.copied");
	}
	memset(&dimnode->u, 0, sizeof(dimnode->u));
	use(edit, &dimnode->u, sizeof(child));
	dimnode->u.children[0] = child;
	dimnode->height++;
	*slot += 1; /* the tag */
	STRATA_TESTPOINT("tree.grow.raised");
	return 0;
}

/* Where a layer's entry is or will be, below an owned dimension. */
static int
own_entry(struct strata__edit *edit, uint64_t *slot, uint32_t layer,
	  struct strata_entry **ret)
{
	struct strata__dimnode *dimnode = dimnode_at(edit, *slot);
	unsigned height;
	uint64_t *ref;
	int rc;

	while (!fits(dimnode->height, layer)) {
		rc = dimension_grow(edit, slot);
		if (rc != 0)
			return rc;
	}
	height = dimnode->height;
	if (height == 0) {
		*ret = &dimnode->u.entries[layer];
		use(edit, *ret, sizeof(**ret));
		return 0;
	}
	ref = &dimnode->u.children[layer >> strata__tree_shift(height)];
	for (;;) {
		use(edit, ref, sizeof(*ref));
		rc = own_or_take(edit, ref);
		if (rc != 0)
			return rc;
		if (--height == 0)
			break;
		ref = child_at(edit, *ref, height, layer);
	}
	*ret = &leaf_at(edit, *ref)->entries[layer & (STRATA_LEAF_ENTRIES - 1)];
	use(edit, *ret, sizeof(**ret));
	return 0;
}

int
strata__tree_put(struct strata__edit *edit, uint32_t dimension, uint32_t layer,
		 const struct strata_entry *entry, struct strata_entry *ret_old)
{
	/* By value: the caller's may lie in a node that is unlinked here. */
	struct strata_entry new = *entry;
	struct strata__dimnode *dimnode;
	struct strata_entry *place;
	uint64_t *slot;
	int rc;

	assert(layer <= STRATA_LAYER_MAX);
	rc = own_dimension(edit, dimension, /* create= */ true, &slot);
	if (rc == 0)
		rc = own_entry(edit, slot, layer, &place);
	if (rc != 0)
		return rc;
	new.flags |= STRATA_ENTRY_PRESENT;
	dimnode = dimnode_at(edit, *slot);
	account(dimnode, place, -1);
	account(dimnode, &new, 1);
	*ret_old = *place;
	*place = new;
	if (dimnode->height == 0) {
		use(edit, &dimnode->u.places[layer], sizeof(struct strata__place));
		dimnode->u.places[layer] =
			(struct strata__place){new.content, new.size};
	}
	STRATA_TESTPOINT("tree.put.entered");
	return 0;
}

/**** removal of layers ****/

static bool
node_is_empty(const uint64_t *slots)
{
	uint32_t i;

	for (i = 0; i < STRATA_NODE_SLOTS; i++)
		if (slots[i] != 0)
			return false;
	return true;
}

static bool
leaf_has_only(const struct strata__leaf *leaf, uint32_t index)
{
	uint32_t i;

	for (i = 0; i < STRATA_LEAF_ENTRIES; i++)
		if (i != index && is_present(&leaf->entries[i]))
			return false;
	return true;
}

/* Leaves have no count of their entries: one that is kept would have to be
 * believed, and looking costs less than the copy of the leaf. */
static int
clear_in_leaf(struct strata__edit *edit, uint64_t *ref, uint32_t layer)
{
	uint32_t index = layer & (STRATA_LEAF_ENTRIES - 1);
	struct strata_entry *entry;
	int rc;

	if (leaf_has_only(leaf_at(edit, *ref), index))
		return drop(edit, ref);
	rc = own(edit, ref);
	if (rc != 0)
		return rc;
	entry = &leaf_at(edit, *ref)->entries[index];
	memset(entry, 0, sizeof(*entry));
	STRATA_TESTPOINT("tree.remove.cleared-in-leaf");
	return 0;
}

/* Clears an entry that is there below *ref, which stands in an owned node of
 * that height; *ref becomes 0 when nothing is left below. */
static int
clear_below(struct strata__edit *edit, uint64_t *ref, unsigned height,
	    uint32_t layer)
{
	uint64_t *child;
	int rc;

	if (height == 1)
		return clear_in_leaf(edit, ref, layer);
	rc = own(edit, ref);
	if (rc != 0)
		return rc;
	child = child_at(edit, *ref, height - 1, layer);
	rc = clear_below(edit, child, height - 1, layer);
	if (rc == 0 && node_is_empty(slots_at(edit, *ref)))
		rc = drop(edit, ref);
	return rc;
}

static int
clear_entry(struct strata__edit *edit, struct strata__dimnode *dimnode,
	    uint32_t layer)
{
	unsigned shift = strata__tree_shift(dimnode->height);

	if (dimnode->height > 0)
		return clear_below(edit, &dimnode->u.children[layer >> shift],
				   dimnode->height, layer);
	memset(&dimnode->u.entries[layer], 0, sizeof(dimnode->u.entries[0]));
	memset(&dimnode->u.places[layer], 0, sizeof(dimnode->u.places[0]));
	STRATA_TESTPOINT("tree.remove.cleared");
	return 0;
}

int
strata__tree_remove(struct strata__edit *edit, uint32_t dimension,
		    uint32_t layer, struct strata_entry *ret_old)
{
	const struct strata_entry *entry;
	struct strata__dimnode *dimnode;
	struct strata_entry old;
	uint64_t *slot = NULL;
	uint64_t found;
	int rc;

	found = find_slot(edit, dimension);
	if (found == 0)
		return no_dimension(dimension);
	entry = strata__tree_entry(edit->space->window, found, layer);
	if (entry == NULL)
		return no_layer(dimension, layer);
	old = *entry;
	rc = own_dimension(edit, dimension, /* create= */ false, &slot);
	if (rc != 0)
		return rc;
	dimnode = dimnode_at(edit, *slot);
	rc = clear_entry(edit, dimnode, layer);
	if (rc != 0)
		return rc;
	account(dimnode, &old, -1);
	if (dimnode->nr_layers == 0) {
		/* No child is left, so the node is one of height 0 already. */
		dimnode->height = 0;
		*slot &= ~STRATA_REF_TAG;
	}
	STRATA_TESTPOINT("tree.remove.counted");
	*ret_old = old;
	return 0;
}
