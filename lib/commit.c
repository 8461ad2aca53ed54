/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Committing: what a transaction has staged becomes a version. */
#include <string.h>

#include "error.h"
#include "lines.h"
#include "txn.h"

/* A reclaim pass costs a membarrier and a look at all pins; so it serves many
 * commits. Re-using warm blocks matters more than saving passes, though. */
#define RECLAIM_COMMITS 128
#define RECLAIM_SHARE 32 /* of the limit, in bytes retired since */

/**** one change at a time ****/

static int
told(int code, uint32_t dimension, int64_t layer)
{
	strata__error()->dimension = dimension;
	strata__error()->layer = layer;
	return code;
}

static int
no_layer(uint32_t dimension, uint32_t layer, bool dimension_exists)
{
	if (!dimension_exists)
		return told(strata__fail(STRATA_ENODIM,
					 "there is no dimension %u", dimension),
			    dimension, -1);
	return told(strata__fail(STRATA_ENOLAYER,
				 "dimension %u has no layer %u", dimension,
				 layer),
		    dimension, layer);
}

static int
check_mutable(const struct strata__edit *edit, uint64_t slot,
	      uint32_t dimension)
{
	const struct strata__dimnode *node;

	if (slot == 0)
		return 0;
	node = strata__tree_dimnode(edit->space->window, slot);
	if ((node->flags & STRATA_DIMENSION_IMMUTABLE) == 0)
		return 0;
	return told(strata__fail(STRATA_EIMMUTABLE,
				 "dimension %u is immutable: only load, reload "
				 "and unload change it",
				 dimension),
		    dimension, -1);
}

/* Content that no version from N on reaches. A region's is its region's. */
static int
unlink_content(struct strata__edit *edit, const struct strata_entry *old)
{
	if ((old->flags & STRATA_ENTRY_PRESENT) == 0 ||
	    (old->flags & STRATA_ENTRY_REGION) != 0)
		return 0;
	return strata__edit_unlink(edit, old->content);
}

/* What is staged, as an entry of this version. */
static void
entry_fill(const struct strata__op *op, const struct strata_entry *old,
	   uint64_t version, struct strata_entry *entry)
{
	memset(entry, 0, sizeof(*entry));
	entry->size = op->size;
	entry->version = version;
	if (op->keep_attrs) {
		entry->frequency = old->frequency;
		entry->depth = old->depth;
		entry->parent = old->parent;
		entry->flags = old->flags & STRATA_ENTRY_SIMULATED;
		entry->meta_size = old->meta_size;
	} else {
		entry->frequency = op->frequency;
		entry->depth = op->depth;
		entry->parent = op->parent;
		entry->flags = op->flags;
		entry->meta_size = op->meta_size;
	}
}

static int
write_content(struct strata__edit *edit, const struct strata__op *op,
	      const void *meta, struct strata_entry *entry)
{
	uint64_t meta_offset = strata__round_up(op->size, 8);
	struct strata__block block;
	char *place;
	int ret;

	ret = strata__edit_take(edit, meta_offset + entry->meta_size, 0, &block);
	if (ret != 0)
		return told(ret, op->dimension, op->layer);
	entry->content = strata__block_ref(edit->space, &block);
	entry->meta = entry->content + meta_offset;
	place = strata__at(edit->space, entry->content);
	/* It may be a node's block later. */
	strata__lines_begin(edit->space, &block);
	strata__lines_use(edit->space, place, meta_offset + entry->meta_size);
	if (op->size != 0)
		memcpy(place, op->data, op->size);
	memset(place + op->size, 0, meta_offset - op->size);
	memcpy(place + meta_offset, meta, entry->meta_size);
	STRATA_TESTPOINT("commit.put.content-written");
	return 0;
}

/* A writer maps a region only when it reads from it. */
static int
existing_meta(struct strata__edit *edit, uint32_t dimension,
	      const struct strata_entry *existing, const void **ret_meta)
{
	const char *window = edit->space->window;
	const struct strata__dimnode *node = strata__tree_dimnode(
		window, strata__tree_slot(window, edit->root, dimension));

	*ret_meta = strata__at(edit->space, existing->meta);
	if ((existing->flags & STRATA_ENTRY_REGION) == 0 ||
	    strata__space_map(edit->space, node->region - 1,
			      node->region_generation) == 0)
		return 0;
	return strata__fail_unmapped(dimension);
}

static int
apply_put(struct strata__edit *edit, struct strata__op *op, uint32_t layer,
	  const struct strata_entry *existing)
{
	struct strata_entry entry, old;
	const void *meta = op->meta;
	int ret = 0;

	entry_fill(op, existing, edit->version, &entry);
	if (op->keep_attrs)
		ret = existing_meta(edit, op->dimension, existing, &meta);
	if (ret == 0)
		ret = write_content(edit, op, meta, &entry);
	if (ret == 0)
		ret = strata__tree_put(edit, op->dimension, layer, &entry,
				       &old);
	if (ret == 0)
		ret = unlink_content(edit, &old);
	return ret;
}

static int
append_layer(const struct strata__edit *edit, uint64_t slot, uint32_t dimension,
	     uint32_t *ret_layer)
{
	int64_t last = slot == 0 ? -1 :
				   strata__tree_last_layer(edit->space->window,
							   slot);

	if (last >= (int64_t)STRATA_LAYER_MAX)
		return told(strata__fail(STRATA_EINVAL,
					 "dimension %u has the last possible "
					 "layer: nothing can be appended",
					 dimension),
			    dimension, last);
	*ret_layer = (uint32_t)(last + 1);
	return 0;
}

static int
apply_content(struct strata__edit *edit, struct strata__op *op)
{
	const char *window = edit->space->window;
	uint64_t slot = strata__tree_slot(window, edit->root, op->dimension);
	const struct strata_entry *existing = NULL;
	struct strata_entry copy;
	uint32_t layer = op->layer;
	int ret;

	ret = check_mutable(edit, slot, op->dimension);
	if (ret == 0 && op->kind == STRATA_OP_APPEND) {
		ret = append_layer(edit, slot, op->dimension, &layer);
		op->appended = layer;
	}
	if (ret == 0 && op->kind == STRATA_OP_REPLACE) {
		if (slot != 0)
			existing = strata__tree_entry(window, slot, layer);
		if (existing == NULL)
			return no_layer(op->dimension, layer, slot != 0);
		copy = *existing; /* its node may be recycled by the put */
		existing = &copy;
	}
	if (ret == 0)
		ret = apply_put(edit, op, layer, existing);
	return ret;
}

static int
apply_remove(struct strata__edit *edit, const struct strata__op *op)
{
	uint64_t slot = strata__tree_slot(edit->space->window, edit->root,
					  op->dimension);
	struct strata_entry old;
	int ret;

	ret = check_mutable(edit, slot, op->dimension);
	if (ret == 0)
		ret = strata__tree_remove(edit, op->dimension, op->layer, &old);
	if (ret == 0)
		ret = unlink_content(edit, &old);
	return ret;
}

static int
unlink_one(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	(void)layer;
	return unlink_content(arg, entry);
}

int
strata__edit_drop_dimension(struct strata__edit *edit, uint32_t dimension)
{
	const char *window = edit->space->window;
	uint64_t slot = strata__tree_slot(window, edit->root, dimension);
	const struct strata__dimnode *node;
	int ret;

	if (slot == 0)
		return no_layer(dimension, 0, false);
	ret = strata__tree_each_layer(window, slot, unlink_one, edit);
	node = strata__tree_dimnode(window, slot);
	if (ret == 0 && node->region != 0)
		ret = strata__edit_unlink_segment(edit, node->region - 1);
	if (ret == 0)
		ret = strata__tree_remove_dimension(edit, dimension);
	return ret;
}

static int
apply_remove_dimension(struct strata__edit *edit, const struct strata__op *op)
{
	uint64_t slot = strata__tree_slot(edit->space->window, edit->root,
					  op->dimension);
	int ret = check_mutable(edit, slot, op->dimension);

	return ret != 0 ? ret :
			  strata__edit_drop_dimension(edit, op->dimension);
}

static int
apply_describe(struct strata__edit *edit, const struct strata__op *op)
{
	uint64_t slot = strata__tree_slot(edit->space->window, edit->root,
					  op->dimension);
	struct strata__dimnode *node;
	int ret;

	ret = check_mutable(edit, slot, op->dimension);
	if (ret == 0)
		ret = strata__tree_dimension(edit, op->dimension,
					     /* create= */ true, &node);
	if (ret != 0)
		return ret;
	memcpy(node->name, op->name, sizeof(node->name));
	node->frequency_min = op->frequency_min;
	node->frequency_max = op->frequency_max;
	node->version = edit->version;
	STRATA_TESTPOINT("commit.describe.written");
	return 0;
}

static int
apply(struct strata__edit *edit, struct strata__op *op)
{
	switch (op->kind) {
	case STRATA_OP_PUT:
	case STRATA_OP_REPLACE:
	case STRATA_OP_APPEND:
		return apply_content(edit, op);
	case STRATA_OP_REMOVE:
		return apply_remove(edit, op);
	case STRATA_OP_REMOVE_DIMENSION:
		return apply_remove_dimension(edit, op);
	case STRATA_OP_DESCRIBE:
		return apply_describe(edit, op);
	}
	return STRATA_EINVAL;
}

/**** all of them ****/

static void
tell_appended(struct strata_txn *txn)
{
	struct strata__op *op;

	cds_list_for_each_entry(op, &txn->ops, node)
		if (op->kind == STRATA_OP_APPEND && op->ret_layer != NULL)
			*op->ret_layer = op->appended;
}

static int
apply_all(struct strata__edit *edit, void *arg)
{
	struct strata_txn *txn = arg;
	struct strata__op *op;
	int ret;

	edit->take_flags = txn->only_removes ? STRATA_TAKE_RESERVE : 0;
	cds_list_for_each_entry(op, &txn->ops, node)
	{
		ret = apply(edit, op);
		if (ret != 0)
			return ret;
	}
	/* Nothing can fail between here and the commit. Before it: who sees the
	 * version may ask a thread of this process for the number. */
	tell_appended(txn);
	return 0;
}

static void
reclaim_if_due(struct strata_store *store, void *arg)
{
	struct strata__counters *counters = &store->space.catalog->counters;
	uint64_t retired = strata__retired_bytes(&store->space);

	(void)arg;
	if (++store->commits_since_reclaim < RECLAIM_COMMITS &&
	    retired < store->retired_mark +
			    strata__count(&counters->limit) / RECLAIM_SHARE)
		return;
	(void)strata__reclaim(store, NULL);
}

/* What may not be committed may not be so when it is empty. */
static int
commit_nothing(struct strata_store *store, uint64_t *ret_version)
{
	int ret = strata__check_writer(store);

	if (ret != 0)
		return ret;
	if (strata__is_dead(store))
		return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				    store->name);
	*ret_version = strata_version(store);
	return 0;
}

int
strata_txn_commit(struct strata_txn *txn, uint64_t *ret_version)
{
	static const struct strata__write write = {apply_all, reclaim_if_due};
	struct strata_store *store;
	uint64_t version;
	int ret;

	if (txn == NULL)
		return strata__fail(STRATA_EINVAL, "no transaction");
	store = txn->store;
	if (cds_list_empty(&txn->ops))
		ret = commit_nothing(store, &version);
	else
		ret = strata__write(store, &write, txn, &version);
	if (ret == 0) {
		if (ret_version != NULL)
			*ret_version = version;
		strata_txn_abort(txn);
	}
	strata__pressure_look(store);
	return ret;
}
