/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The index: a copy-on-write radix tree from (dimension, layer) to an entry. */
#ifndef STRATA_TREE_H
#define STRATA_TREE_H

#include "edit.h"

/**** reading: trusts the tree, follows window offsets only ****/

/*
 * The slot of a dimension: the tagged reference of its node, 0 for none. The
 * loads are plain: a published node never changes, and the acquire of the root
 * (letter C) orders them.
 */
static inline uint64_t
strata__tree_slot(const char *window, uint64_t root, uint32_t dimension)
{
	const uint64_t *node =
		(const uint64_t *)(window + (root & ~STRATA_REF_TAG));
	uint32_t top = dimension >> 9;

	/* Reference 0 (no root, no directory node) is the page of zeroes at the
	 * window's start, so absence needs no branch. */
	if ((root & STRATA_REF_TAG) == 0)
		return top == 0 ? node[dimension] : 0;
	node = (const uint64_t *)(window + node[top]);
	return node[dimension & 511];
}

/* First layer bit that the children of a node of height h are told apart by. */
static inline unsigned
strata__tree_shift(unsigned height)
{
	return height == 0 ? 0 : 9 * height - 3; /* 6, 15, 24 */
}

/* The entry of a layer, below the slot of its dimension (not 0); NULL: none. */
static inline const struct strata_entry *
strata__tree_entry(const char *window, uint64_t slot, uint32_t layer)
{
	const struct strata__dimnode *dimnode =
		(const struct strata__dimnode *)(window + (slot & ~STRATA_REF_TAG));
	unsigned height = slot & STRATA_REF_TAG;
	const struct strata_entry *entry;
	uint64_t ref;

	if (height == 0) {
		if (layer >= STRATA_INLINE_ENTRIES)
			return NULL;
		entry = &dimnode->u.entries[layer];
	} else {
		if (layer >> strata__tree_shift(height) >=
		    STRATA_DIMENSION_CHILDREN)
			return NULL;
		ref = dimnode->u.children[layer >> strata__tree_shift(height)];
		while (ref != 0 && --height > 0)
			ref = ((const uint64_t *)(window + ref))
				[layer >> strata__tree_shift(height) & 511];
		if (ref == 0)
			return NULL;
		entry = &((const struct strata__leaf *)(window + ref))
				 ->entries[layer & (STRATA_LEAF_ENTRIES - 1)];
	}
	return (entry->flags & STRATA_ENTRY_PRESENT) != 0 ? entry : NULL;
}

static inline const struct strata__dimnode *
strata__tree_dimnode(const char *window, uint64_t slot)
{
	return (const struct strata__dimnode *)(window + (slot & ~STRATA_REF_TAG));
}

/* In the order of numbers; fn's answer other than 0 ends the walk. */
int strata__tree_each_dimension(const char *window, uint64_t root,
				int (*fn)(uint32_t id, uint64_t slot, void *arg),
				void *arg);
int strata__tree_each_layer(const char *window, uint64_t slot,
			    int (*fn)(uint32_t layer,
				      const struct strata_entry *entry,
				      void *arg),
			    void *arg);
/* The highest layer of a dimension, or -1. */
int64_t strata__tree_last_layer(const char *window, uint64_t slot);

/**** walking: trusts nothing (recovery, verify) ****/

/* What a walk meets; any may be NULL. Return other than 0 to end the walk.
 * node: every 4 KiB node (root, directory, dimension, inner, leaf). dimension:
 * its node, checked. entry: an entry that is present; its refs are not checked.
 */
struct strata__visitor {
	int (*node)(uint64_t ref, void *arg);
	int (*dimension)(uint32_t id, const struct strata__dimnode *node,
			 void *arg);
	int (*entry)(uint32_t dimension, uint32_t layer,
		     const struct strata_entry *entry, void *arg);
	void *arg;
};
/* Checks that each reference is the start of an ALLOCATED or RETIRED class-0
 * block, heights, magics, ids, counts, and that no node is met twice (no
 * cycles). Tells STRATA_ECORRUPT with the offset; STRATA_ENOMEM. */
int strata__tree_walk(const struct strata__space *space, uint64_t root,
		      const struct strata__visitor *visitor);

/**** editing: copies each node once per edit, on the way to the change ****/

/* All stamp the dimension's version. An edit in which one of them failed for
 * want of room or memory can only be aborted; ENODIM and ENOLAYER change
 * nothing. */

/* Sets an entry (flags get PRESENT). The dimension is made if need be. ret_old:
 * what was there, flags 0 if nothing. Keeps the dimension node's counts and
 * version. Content and metadata of the old entry are the caller's to unlink. */
int strata__tree_put(struct strata__edit *edit, uint32_t dimension,
		     uint32_t layer, const struct strata_entry *entry,
		     struct strata_entry *ret_old);
/* Clears an entry; STRATA_ENODIM, STRATA_ENOLAYER (told). Empty leaves and inner
 * nodes are unlinked; the dimension stays, with no layers (at height 0 then). */
int strata__tree_remove(struct strata__edit *edit, uint32_t dimension,
			uint32_t layer, struct strata_entry *ret_old);
/* The dimension's node, owned by the edit, to change name, range, flags and
 * region; made when create is set and it is absent. */
int strata__tree_dimension(struct strata__edit *edit, uint32_t dimension,
			   bool create, struct strata__dimnode **ret);
/* Unlinks all nodes of a dimension and clears its slot (contents are the
 * caller's, beforehand). The root and directory nodes stay. */
int strata__tree_remove_dimension(struct strata__edit *edit,
				  uint32_t dimension);

#endif
