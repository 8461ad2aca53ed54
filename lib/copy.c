/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Copying out of the current version, for those who have no reader. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "meta.h"
#include "observe.h"
#include "store.h"

/*
 * The ways through the index are those of tree.h and tree-walk.c. They are gone
 * again here because each node is a copy: a reference in it is no address, and
 * may turn out to be overtaken.
 */

#define ALIGN UINT64_C(64)

/**** the index ****/

static uint64_t
untagged(uint64_t ref)
{
	return ref & ~STRATA_REF_TAG;
}

/* A whole node: of any kind, all are as large. */
static int
node_copy(struct strata__look *look, uint64_t ref, void *node)
{
	return strata__look_block(look, untagged(ref), 0, node,
				  STRATA_NODE_SIZE);
}

/* One reference of a node; 0 where there is no node. */
static int
slot_copy(struct strata__look *look, uint64_t ref, uint32_t i,
	  uint64_t *ret_slot)
{
	if (ref != 0)
		return strata__look_block(look, untagged(ref),
					  i * sizeof(*ret_slot), ret_slot,
					  sizeof(*ret_slot));
	*ret_slot = 0;
	return 0;
}

/* The slot of a dimension; 0: there is none. */
static int
slot_find(struct strata__look *look, uint32_t dimension, uint64_t *ret_slot)
{
	uint32_t top = dimension / STRATA_NODE_SLOTS;
	uint64_t ref = look->root;
	int ret;

	if ((ref & STRATA_REF_TAG) == 0) {
		if (top == 0)
			return slot_copy(look, ref, dimension, ret_slot);
		*ret_slot = 0;
		return 0;
	}
	ret = slot_copy(look, ref, top, &ref);
	if (ret != 0)
		return ret;
	return slot_copy(look, ref, dimension % STRATA_NODE_SLOTS, ret_slot);
}

static int
dimnode_copy(struct strata__look *look, uint32_t dimension, uint64_t slot,
	     struct strata__dimnode *node)
{
	int ret = node_copy(look, slot, node);

	if (ret == 0 &&
	    (node->magic != STRATA_DIMNODE_MAGIC || node->id != dimension ||
	     node->height != (slot & STRATA_REF_TAG) ||
	     node->height > STRATA_DIMENSION_HEIGHT_MAX))
		ret = strata__look_lost(look, slot);
	return ret;
}

static int
dimension_copy(struct strata__look *look, uint32_t dimension,
	       struct strata__dimnode *node)
{
	uint64_t slot;
	int ret = slot_find(look, dimension, &slot);

	if (ret != 0)
		return ret;
	return slot != 0 ? dimnode_copy(look, dimension, slot, node) :
			   STRATA_ENODIM;
}

/* The leaf of a layer, or 0, of a dimension that has any. */
static int
leaf_find(struct strata__look *look, const struct strata__dimnode *node,
	  uint32_t layer, uint64_t *ret_ref)
{
	unsigned height = node->height;
	uint32_t i = layer >> strata__tree_shift(height);
	uint64_t ref = i < STRATA_DIMENSION_CHILDREN ? node->u.children[i] : 0;
	int ret = 0;

	while (ret == 0 && ref != 0 && --height > 0)
		ret = slot_copy(look, ref,
				layer >> strata__tree_shift(height) &
					(STRATA_NODE_SLOTS - 1),
				&ref);
	*ret_ref = ref;
	return ret;
}

static bool
is_present(const struct strata_entry *entry)
{
	return (entry->flags & STRATA_ENTRY_PRESENT) != 0;
}

static int
entry_copy(struct strata__look *look, const struct strata__dimnode *node,
	   uint32_t layer, struct strata_entry *entry)
{
	uint64_t leaf = 0;
	int ret = 0;

	entry->flags = 0;
	if (node->height == 0) {
		if (layer < STRATA_INLINE_ENTRIES)
			*entry = node->u.entries[layer];
	} else {
		ret = leaf_find(look, node, layer, &leaf);
		if (ret == 0 && leaf != 0)
			ret = strata__look_block(
				look, leaf,
				layer % STRATA_LEAF_ENTRIES * sizeof(*entry),
				entry, sizeof(*entry));
	}
	if (ret == 0 && !is_present(entry))
		ret = STRATA_ENOLAYER;
	return ret;
}

/**** content and metadata ****/

/* Bytes that belong to an entry: in its block, or in its dimension's region. */
static int
bytes_copy(struct strata__look *look, const struct strata__dimnode *node,
	   const struct strata_entry *entry, uint64_t ref, void *buffer,
	   uint64_t size)
{
	if ((entry->flags & STRATA_ENTRY_REGION) == 0)
		return strata__look_block(look, entry->content,
					  ref - entry->content, buffer, size);
	if (node->region == 0)
		return strata__look_lost(look, ref);
	return strata__look_region(look, node->region - 1,
				   node->region_generation, ref, buffer, size);
}

/* Sizes are bounded before anything is allocated for them. */
static bool
is_possible(const struct strata__look *look, const struct strata_entry *entry)
{
	return entry->size <= look->space->geometry->window_size &&
	       entry->meta_size <= STRATA_META_SIZE_MAX;
}

struct copying {
	uint32_t dimension, layer;
	unsigned flags;
	struct strata_copy *copy; /* grows from attempt to attempt */
	uint64_t size;
};

static int
copy_room(struct copying *copying, uint64_t size)
{
	if (size <= copying->size)
		return 0;
	free(copying->copy);
	copying->size = 0;
	copying->copy = aligned_alloc(ALIGN, size);
	if (copying->copy == NULL) {
		strata__fail(STRATA_ENOMEM, "no memory for a copy of a layer");
		strata__error()->requested = size;
		return STRATA_ENOMEM;
	}
	copying->size = size;
	return 0;
}

/* The struct, then the content, then the metadata. */
static int
copy_fill(struct strata__look *look, struct copying *copying,
	  const struct strata__dimnode *node, const struct strata_entry *entry)
{
	bool whole = (copying->flags & STRATA_COPY_META) == 0;
	uint64_t at = strata__round_up(sizeof(struct strata_copy), ALIGN);
	uint64_t size = whole ? strata__round_up(entry->size, ALIGN) : 0;
	struct strata_copy *copy;
	char *data, *meta;
	int ret;

	ret = copy_room(copying,
			strata__round_up(at + size + entry->meta_size, ALIGN));
	if (ret != 0)
		return ret;
	copy = copying->copy;
	data = (char *)copy + at;
	meta = data + size;
	copy->version = look->version;
	copy->entry = *entry;
	copy->data = whole ? data : NULL;
	ret = bytes_copy(look, node, entry, entry->meta, meta,
			 entry->meta_size);
	if (ret == 0 && whole)
		ret = bytes_copy(look, node, entry, entry->content, data,
				 entry->size);
	if (ret == 0)
		ret = strata__meta_decode(meta, entry->meta_size, &copy->meta);
	return ret;
}

static int
copy_layer(struct strata__look *look, void *arg)
{
	struct copying *copying = arg;
	struct strata__dimnode node;
	struct strata_entry entry;
	int ret;

	ret = dimension_copy(look, copying->dimension, &node);
	if (ret == 0)
		ret = entry_copy(look, &node, copying->layer, &entry);
	if (ret == 0 && !is_possible(look, &entry))
		ret = strata__look_lost(look, entry.content);
	if (ret == 0)
		ret = copy_fill(look, copying, &node, &entry);
	return ret;
}

/* Files are opened by name, so the folder must be the one it was. */
static int
begin(struct strata_store *store, uint32_t dimension, uint32_t layer)
{
	if (store == NULL)
		return strata__fail(STRATA_EINVAL, "no store");
	if (dimension - 1 >= STRATA_DIMENSION_MAX || layer > STRATA_LAYER_MAX)
		return strata__fail(STRATA_EINVAL,
				    "dimensions are 1 to %u, layers 0 to %u",
				    STRATA_DIMENSION_MAX, STRATA_LAYER_MAX);
	return strata__space_mend_folder(&store->space);
}

int
strata_copy(struct strata_store *store, uint32_t dimension, uint32_t layer,
	    unsigned flags, struct strata_copy **ret_copy)
{
	struct copying copying = {dimension, layer, flags, NULL, 0};
	int ret;

	if (ret_copy == NULL)
		return strata__fail(STRATA_EINVAL, "copy: no place for it");
	if ((flags & ~(unsigned)STRATA_COPY_META) != 0)
		return strata__fail(STRATA_EINVAL, "copy: unknown flags");
	ret = begin(store, dimension, layer);
	if (ret == 0)
		ret = strata__observe(&store->space, copy_layer, &copying);
	if (ret != 0) {
		free(copying.copy);
		return ret;
	}
	*ret_copy = copying.copy;
	return 0;
}

void
strata_copy_free(struct strata_copy *copy)
{
	free(copy);
}

/**** what is gathered before fn is called ****/

struct gathered {
	uint64_t version;
	uint32_t dimension;
	char *bytes;
	size_t size, max;
};

/* Room for one item more; NULL, told. Offsets stay, addresses do not. */
static void *
gather(struct gathered *gathered, size_t size)
{
	size_t max = gathered->max != 0 ? 2 * gathered->max : 4096;
	char *bytes;

	while (max - gathered->size < size)
		max *= 2;
	if (gathered->max - gathered->size < size) {
		bytes = realloc(gathered->bytes, max);
		if (bytes == NULL) {
			strata__fail(STRATA_ENOMEM, "no memory for a list");
			return NULL;
		}
		gathered->bytes = bytes;
		gathered->max = max;
	}
	gathered->size += size;
	return gathered->bytes + gathered->size - size;
}

/**** dimensions ****/

struct one_dimension {
	uint32_t id;
	struct strata_dimension dimension;
	uint64_t version;
};

static int
copy_dimension(struct strata__look *look, void *arg)
{
	struct one_dimension *one = arg;
	struct strata__dimnode node;
	int ret = dimension_copy(look, one->id, &node);

	if (ret == 0)
		strata__dimension_fill(&node, &one->dimension);
	one->version = look->version;
	return ret;
}

int
strata_copy_dimension(struct strata_store *store, uint32_t dimension,
		      struct strata_dimension *ret_dimension,
		      uint64_t *ret_version)
{
	struct one_dimension one = {.id = dimension};
	int ret = begin(store, dimension, /* layer= */ 0);

	if (ret == 0 && ret_dimension == NULL)
		ret = strata__fail(STRATA_EINVAL, "copy: no place for it");
	if (ret == 0)
		ret = strata__observe(&store->space, copy_dimension, &one);
	if (ret != 0)
		return ret;
	*ret_dimension = one.dimension;
	if (ret_version != NULL)
		*ret_version = one.version;
	return 0;
}

static int
gather_dimension(struct strata__look *look, struct gathered *gathered,
		 uint32_t id, uint64_t slot)
{
	struct strata_dimension *dimension;
	struct strata__dimnode node;
	int ret = dimnode_copy(look, id, slot, &node);

	if (ret != 0)
		return ret;
	dimension = gather(gathered, sizeof(*dimension));
	if (dimension == NULL)
		return STRATA_ENOMEM;
	strata__dimension_fill(&node, dimension);
	return 0;
}

/* Those whose slots are in the node at ref, which is the first one's. */
static int
gather_directory(struct strata__look *look, struct gathered *gathered,
		 uint64_t ref, uint32_t first)
{
	uint64_t slots[STRATA_NODE_SLOTS];
	int ret = node_copy(look, ref, slots);

	for (uint32_t i = 0; ret == 0 && i < STRATA_NODE_SLOTS; i++)
		if (slots[i] != 0)
			ret = gather_dimension(look, gathered, first + i,
					       slots[i]);
	return ret;
}

static int
copy_dimensions(struct strata__look *look, void *arg)
{
	struct gathered *gathered = arg;
	uint64_t slots[STRATA_NODE_SLOTS];
	int ret;

	gathered->version = look->version;
	gathered->size = 0;
	if (look->root == 0)
		return 0;
	if ((look->root & STRATA_REF_TAG) == 0)
		return gather_directory(look, gathered, look->root, 0);
	ret = node_copy(look, look->root, slots);
	for (uint32_t i = 0; ret == 0 && i < STRATA_NODE_SLOTS; i++)
		if (slots[i] != 0)
			ret = gather_directory(look, gathered, slots[i],
					       i * STRATA_NODE_SLOTS);
	return ret;
}

int
strata_copy_dimensions(struct strata_store *store,
		       int (*fn)(const struct strata_dimension *dimension,
				 void *arg),
		       void *arg, uint64_t *ret_version)
{
	struct gathered gathered = {0};
	int ret = begin(store, /* dimension= */ 1, /* layer= */ 0);

	if (ret == 0)
		ret = strata__observe(&store->space, copy_dimensions,
				      &gathered);
	if (ret == 0 && fn == NULL)
		ret = strata__fail(STRATA_EINVAL, "copy: no function");
	if (ret == 0 && ret_version != NULL)
		*ret_version = gathered.version;
	for (size_t at = 0; ret == 0 && fn != NULL && at < gathered.size;
	     at += sizeof(struct strata_dimension))
		ret = fn((const void *)(gathered.bytes + at), arg);
	free(gathered.bytes);
	return ret;
}

/**** layers ****/

/* A layer as it is gathered; its metadata follow, filled up to 8 bytes. */
struct item {
	struct strata_entry entry;
	uint64_t layer;
};

struct layers {
	struct strata__look *look;
	struct gathered *gathered;
	const struct strata__dimnode *node;
};

static int
gather_layer(struct layers *layers, uint32_t layer,
	     const struct strata_entry *entry)
{
	struct item *item;

	if (!is_possible(layers->look, entry))
		return strata__look_lost(layers->look, entry->content);
	item = gather(layers->gathered,
		      sizeof(*item) + strata__round_up(entry->meta_size, 8));
	if (item == NULL)
		return STRATA_ENOMEM;
	item->entry = *entry;
	item->layer = layer;
	return bytes_copy(layers->look, layers->node, entry, entry->meta,
			  item + 1, entry->meta_size);
}

static int
gather_entries(struct layers *layers, const struct strata_entry *entries,
	       uint32_t nr, uint32_t first)
{
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < nr; i++)
		if (is_present(&entries[i]))
			ret = gather_layer(layers, first + i, &entries[i]);
	return ret;
}

/* What is below a reference, of which the first layer is known; height 0: a
 * leaf. */
static int
gather_below(struct layers *layers, uint64_t ref, unsigned height,
	     uint32_t first)
{
	union {
		struct strata__leaf leaf;
		uint64_t slots[STRATA_NODE_SLOTS];
	} node;
	int ret = node_copy(layers->look, ref, &node);

	if (ret == 0 && height == 0)
		return gather_entries(layers, node.leaf.entries,
				      STRATA_LEAF_ENTRIES, first);
	for (uint32_t i = 0; ret == 0 && i < STRATA_NODE_SLOTS; i++)
		if (node.slots[i] != 0)
			ret = gather_below(
				layers, node.slots[i], height - 1,
				first + (i << strata__tree_shift(height)));
	return ret;
}

static int
copy_layers(struct strata__look *look, void *arg)
{
	struct gathered *gathered = arg;
	struct strata__dimnode node;
	struct layers layers = {look, gathered, &node};
	int ret = dimension_copy(look, gathered->dimension, &node);

	gathered->version = look->version;
	gathered->size = 0;
	if (ret == 0 && node.height == 0)
		return gather_entries(&layers, node.u.entries,
				      STRATA_INLINE_ENTRIES, 0);
	for (uint32_t i = 0; ret == 0 && i < STRATA_DIMENSION_CHILDREN; i++)
		if (node.u.children[i] != 0)
			ret = gather_below(
				&layers, node.u.children[i], node.height - 1,
				i << strata__tree_shift(node.height));
	return ret;
}

static int
each_gathered(const struct gathered *gathered,
	      int (*fn)(uint32_t layer, const struct strata_copy *copy,
			void *arg),
	      void *arg)
{
	struct strata_copy copy = {.version = gathered->version};
	const struct item *item;
	int ret = 0;

	for (size_t at = 0; ret == 0 && at < gathered->size;
	     at += sizeof(*item) + strata__round_up(item->entry.meta_size, 8)) {
		item = (const void *)(gathered->bytes + at);
		copy.entry = item->entry;
		ret = strata__meta_decode(item + 1, item->entry.meta_size,
					  &copy.meta);
		if (ret == 0)
			ret = fn((uint32_t)item->layer, &copy, arg);
	}
	return ret;
}

int
strata_copy_layers(struct strata_store *store, uint32_t dimension,
		   int (*fn)(uint32_t layer, const struct strata_copy *copy,
			     void *arg),
		   void *arg)
{
	struct gathered gathered = {.dimension = dimension};
	int ret = begin(store, dimension, /* layer= */ 0);

	if (ret == 0)
		ret = strata__observe(&store->space, copy_layers, &gathered);
	if (ret == 0 && fn == NULL)
		ret = strata__fail(STRATA_EINVAL, "copy: no function");
	if (ret == 0)
		ret = each_gathered(&gathered, fn, arg);
	free(gathered.bytes);
	return ret;
}
