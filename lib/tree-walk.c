/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Walks over the index: in order, trusting it; and whole, trusting nothing. */
#include <inttypes.h>
#include <stdlib.h>

#include "error.h"
#include "tree.h"

static const uint64_t *
slots_at(const char *window, uint64_t ref)
{
	return (const uint64_t *)(window + (ref & ~STRATA_REF_TAG));
}

static const struct strata_entry *
entries_at(const char *window, uint64_t ref)
{
	return ((const struct strata__leaf *)(window + ref))->entries;
}

static bool
is_present(const struct strata_entry *entry)
{
	return (entry->flags & STRATA_ENTRY_PRESENT) != 0;
}

/**** in order ****/

typedef int dimension_fn(uint32_t id, uint64_t slot, void *arg);
typedef int layer_fn(uint32_t layer, const struct strata_entry *entry,
		     void *arg);

static int
each_in_directory(const uint64_t *slots, uint32_t first, dimension_fn *fn,
		  void *arg)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; i < STRATA_NODE_SLOTS && rc == 0; i++)
		if (slots[i] != 0)
			rc = fn(first + i, slots[i], arg);
	return rc;
}

int
strata__tree_each_dimension(const char *window, uint64_t root, dimension_fn *fn,
			    void *arg)
{
	const uint64_t *slots = slots_at(window, root);
	uint32_t i;
	int rc = 0;

	if ((root & STRATA_REF_TAG) == 0)
		return each_in_directory(slots, 0, fn, arg);
	for (i = 0; i < STRATA_NODE_SLOTS && rc == 0; i++)
		if (slots[i] != 0)
			rc = each_in_directory(slots_at(window, slots[i]),
					       i * STRATA_NODE_SLOTS, fn, arg);
	return rc;
}

static int
each_entry(const struct strata_entry *entries, uint32_t nr, uint32_t first,
	   layer_fn *fn, void *arg)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; i < nr && rc == 0; i++)
		if (is_present(&entries[i]))
			rc = fn(first + i, &entries[i], arg);
	return rc;
}

/* The layers below nr references that stand in a node of that height (at least
 * 1); the first of them begins with layer first. */
static int
each_below(const char *window, const uint64_t *refs, uint32_t nr,
	   unsigned height, uint32_t first, layer_fn *fn, void *arg)
{
	uint32_t i, layer;
	int rc = 0;

	for (i = 0; i < nr && rc == 0; i++) {
		if (refs[i] == 0)
			continue;
		layer = first + (i << strata__tree_shift(height));
		if (height == 1)
			rc = each_entry(entries_at(window, refs[i]),
					STRATA_LEAF_ENTRIES, layer, fn, arg);
		else
			rc = each_below(window, slots_at(window, refs[i]),
					STRATA_NODE_SLOTS, height - 1, layer,
					fn, arg);
	}
	return rc;
}

int
strata__tree_each_layer(const char *window, uint64_t slot, layer_fn *fn,
			void *arg)
{
	const struct strata__dimnode *dimnode =
		strata__tree_dimnode(window, slot);
	unsigned height = slot & STRATA_REF_TAG;

	if (height == 0)
		return each_entry(dimnode->u.entries, STRATA_INLINE_ENTRIES, 0,
				  fn, arg);
	return each_below(window, dimnode->u.children,
			  STRATA_DIMENSION_CHILDREN, height, 0, fn, arg);
}

static int64_t
last_entry(const struct strata_entry *entries, uint32_t nr)
{
	while (nr-- > 0)
		if (is_present(&entries[nr]))
			return nr;
	return -1;
}

/* Counted from the layer that the first of the references begins with. */
static int64_t
last_below(const char *window, const uint64_t *refs, uint32_t nr,
	   unsigned height)
{
	int64_t last;

	while (nr-- > 0) {
		if (refs[nr] == 0)
			continue;
		if (height == 1)
			last = last_entry(entries_at(window, refs[nr]),
					  STRATA_LEAF_ENTRIES);
		else
			last = last_below(window, slots_at(window, refs[nr]),
					  STRATA_NODE_SLOTS, height - 1);
		if (last >= 0)
			return last +
			       ((int64_t)nr << strata__tree_shift(height));
	}
	return -1;
}

int64_t
strata__tree_last_layer(const char *window, uint64_t slot)
{
	const struct strata__dimnode *dimnode =
		strata__tree_dimnode(window, slot);
	unsigned height = slot & STRATA_REF_TAG;

	if (height == 0)
		return last_entry(dimnode->u.entries, STRATA_INLINE_ENTRIES);
	return last_below(window, dimnode->u.children,
			  STRATA_DIMENSION_CHILDREN, height);
}

/**** trusting nothing ****/

/*
 * Recovery walks what a dead writer left and verify what anybody may have
 * scribbled on; so nothing is followed before it is known to be a grown block
 * that is in use, and nothing twice: in a tree a node has one parent, and a
 * bitmap of the blocks met so far ends every cycle at its first repetition.
 * (Counting nodes up to the number of blocks would end it as well, but only
 * after the visitor was shown the same dimension a thousand times.)
 */
struct walk {
	const struct strata__space *space;
	const struct strata__visitor *visitor;
	uint64_t *seen;     /* a bit for each block of class 0 */
	uint32_t dimension; /* the one we are in; 0: none */
	/* What we found in it, to be compared with what its node says. */
	uint64_t nr_layers, nr_protos, content_bytes;
};

static int
corrupt(const struct walk *walk, uint64_t ref, const char *what)
{
	strata__fail(STRATA_ECORRUPT,
		     "the index is damaged: at offset %#" PRIx64
		     " of the window: %s",
		     ref, what);
	if (walk->dimension != 0)
		strata__error_append(" (dimension %" PRIu32 ")",
				     walk->dimension);
	strata__error()->offset = ref;
	strata__error()->dimension = walk->dimension;
	return STRATA_ECORRUPT;
}

/* Marks a block as met; false if it was. */
static bool
see(struct walk *walk, uint32_t index)
{
	uint64_t bit = UINT64_C(1) << (index % 64);

	if ((walk->seen[index / 64] & bit) != 0)
		return false;
	walk->seen[index / 64] |= bit;
	return true;
}

static bool
is_in_use(const struct strata__space *space, const struct strata__block *block)
{
	/* Relaxed: under the writer lock, or inside a section whose version
	 * keeps the state from leaving these two. */
	uint32_t state =
		atomic_load_explicit(&strata__block_record(space, block)->state,
				     memory_order_relaxed);

	return state == STRATA_ALLOCATED || state == STRATA_RETIRED;
}

/* A node may be read after this, and only after this. A tag is the caller's
 * to take off: where none belongs, it is damage. */
static int
enter(struct walk *walk, uint64_t ref)
{
	const struct strata__space *space = walk->space;
	struct strata__block block;

	if ((ref & STRATA_REF_TAG) != 0 ||
	    !strata__block_at(space, ref, &block) || block.class_ != 0 ||
	    block.index >= space->geometry->classes[0].nr_blocks)
		return corrupt(walk, ref, "no place of a node");
	if (!is_in_use(space, &block))
		return corrupt(walk, ref, "a node in a block that is free");
	if (block.run != 1)
		return corrupt(walk, ref, "a node in a run of blocks");
	if (!see(walk, block.index))
		return corrupt(walk, ref, "a node that has two parents");
	if (walk->visitor->node == NULL)
		return 0;
	return walk->visitor->node(ref, walk->visitor->arg);
}

static int
walk_entries(struct walk *walk, const struct strata_entry *entries, uint32_t nr,
	     uint32_t first)
{
	const struct strata__visitor *visitor = walk->visitor;
	uint32_t i;
	int rc = 0;

	for (i = 0; i < nr && rc == 0; i++) {
		if (!is_present(&entries[i]))
			continue;
		walk->nr_layers++;
		walk->nr_protos += !(entries[i].flags & STRATA_ENTRY_REGION);
		walk->content_bytes += entries[i].size;
		if (visitor->entry != NULL)
			rc = visitor->entry(walk->dimension, first + i,
					    &entries[i], visitor->arg);
	}
	return rc;
}

static int
walk_below(struct walk *walk, const uint64_t *refs, uint32_t nr,
	   unsigned height, uint64_t first)
{
	const char *window = walk->space->window;
	uint64_t layer;
	uint32_t i;
	int rc = 0;

	for (i = 0; i < nr && rc == 0; i++) {
		if (refs[i] == 0)
			continue;
		layer = first + ((uint64_t)i << strata__tree_shift(height));
		if (layer > STRATA_LAYER_MAX)
			return corrupt(walk, refs[i], "layers beyond the last");
		rc = enter(walk, refs[i]);
		if (rc != 0)
			break;
		if (height == 1)
			rc = walk_entries(walk, entries_at(window, refs[i]),
					  STRATA_LEAF_ENTRIES, layer);
		else
			rc = walk_below(walk, slots_at(window, refs[i]),
					STRATA_NODE_SLOTS, height - 1, layer);
	}
	return rc;
}

/* Whatever else reads the node may rely on. */
static int
check_dimnode(const struct walk *walk, uint64_t ref, unsigned height,
	      const struct strata__dimnode *dimnode)
{
	if (dimnode->magic != STRATA_DIMNODE_MAGIC)
		return corrupt(walk, ref, "not a dimension's node");
	if (dimnode->id != walk->dimension)
		return corrupt(walk, ref, "another dimension's node");
	if (dimnode->height != height || height > STRATA_DIMENSION_HEIGHT_MAX)
		return corrupt(walk, ref, "a height that is not its node's");
	if (dimnode->region > walk->space->geometry->nr_segments)
		return corrupt(walk, ref, "a region beyond the segment table");
	if (dimnode->name[STRATA_DIMENSION_NAME_MAX] != '\0')
		return corrupt(walk, ref, "a name that does not end");
	return 0;
}

static int
check_counts(const struct walk *walk, uint64_t ref,
	     const struct strata__dimnode *dimnode)
{
	if (dimnode->nr_layers != walk->nr_layers ||
	    dimnode->nr_protos != walk->nr_protos ||
	    dimnode->content_bytes != walk->content_bytes)
		return corrupt(walk, ref, "counts that are not its layers'");
	return 0;
}

/* What readers of contents believe is what the entries say. */
static int
check_places(const struct walk *walk, uint64_t ref,
	     const struct strata__dimnode *dimnode)
{
	uint32_t i;

	for (i = 0; i < STRATA_INLINE_ENTRIES; i++) {
		const struct strata_entry *entry = &dimnode->u.entries[i];
		const struct strata__place *place = &dimnode->u.places[i];
		bool present = is_present(entry);

		if (place->content != (present ? entry->content : 0) ||
		    place->size != (present ? entry->size : 0))
			return corrupt(walk, ref,
				       "a place that is not its entry's");
	}
	return 0;
}

static int
walk_layers(struct walk *walk, uint64_t ref,
	    const struct strata__dimnode *dimnode)
{
	int rc;

	walk->nr_layers = walk->nr_protos = walk->content_bytes = 0;
	if (dimnode->height == 0) {
		rc = walk_entries(walk, dimnode->u.entries,
				  STRATA_INLINE_ENTRIES, 0);
		return rc == 0 ? check_places(walk, ref, dimnode) : rc;
	}
	return walk_below(walk, dimnode->u.children, STRATA_DIMENSION_CHILDREN,
			  dimnode->height, 0);
}

static int
walk_dimension(struct walk *walk, uint32_t id, uint64_t slot)
{
	const struct strata__visitor *visitor = walk->visitor;
	const struct strata__dimnode *dimnode;
	uint64_t ref = slot & ~STRATA_REF_TAG;
	int rc;

	walk->dimension = id;
	if (id == 0)
		return corrupt(walk, ref, "a dimension of number 0");
	rc = enter(walk, ref);
	if (rc != 0)
		return rc;
	dimnode = strata__tree_dimnode(walk->space->window, slot);
	rc = check_dimnode(walk, ref, slot & STRATA_REF_TAG, dimnode);
	if (rc == 0 && visitor->dimension != NULL)
		rc = visitor->dimension(id, dimnode, visitor->arg);
	if (rc == 0)
		rc = walk_layers(walk, ref, dimnode);
	return rc == 0 ? check_counts(walk, ref, dimnode) : rc;
}

static int
walk_directory(struct walk *walk, uint64_t ref, uint32_t first)
{
	const uint64_t *slots;
	uint32_t i;
	int rc;

	rc = enter(walk, ref);
	if (rc != 0)
		return rc;
	slots = slots_at(walk->space->window, ref);
	for (i = 0; i < STRATA_NODE_SLOTS && rc == 0; i++)
		if (slots[i] != 0)
			rc = walk_dimension(walk, first + i, slots[i]);
	walk->dimension = 0;
	return rc;
}

static int
walk_directories(struct walk *walk, uint64_t ref)
{
	const uint64_t *slots;
	uint32_t i;
	int rc;

	rc = enter(walk, ref);
	if (rc != 0)
		return rc;
	slots = slots_at(walk->space->window, ref);
	for (i = 0; i < STRATA_NODE_SLOTS && rc == 0; i++)
		if (slots[i] != 0)
			rc = walk_directory(walk, slots[i],
					    i * STRATA_NODE_SLOTS);
	return rc;
}

static int
walk_root(struct walk *walk, uint64_t root)
{
	uint64_t ref = root & ~STRATA_REF_TAG;

	switch (root & STRATA_REF_TAG) {
	case 0:
		return walk_directory(walk, ref, 0);
	case 1:
		return walk_directories(walk, ref);
	default:
		return corrupt(walk, ref, "a root of unknown height");
	}
}

int
strata__tree_walk(const struct strata__space *space, uint64_t root,
		  const struct strata__visitor *visitor)
{
	uint64_t nr_blocks = space->geometry->classes[0].nr_blocks;
	struct walk walk = {.space = space, .visitor = visitor};
	int rc;

	if (root == 0)
		return 0;
	walk.seen = calloc(nr_blocks / 64 + 1, sizeof(walk.seen[0]));
	if (walk.seen == NULL)
		return strata__fail(STRATA_ENOMEM,
				    "no memory to walk an index of up to "
				    "%" PRIu64 " nodes",
				    nr_blocks);
	rc = walk_root(&walk, root);
	free(walk.seen);
	return rc;
}
