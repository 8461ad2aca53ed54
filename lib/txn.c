/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Staging: what a transaction is to do, checked and copied, touching nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "meta.h"
#include "txn.h"

int
strata_txn_begin(struct strata_store *store, struct strata_txn **ret_txn)
{
	struct strata__arena *arena;
	struct strata_txn *txn = NULL;
	int ret = strata__check_writer(store);

	if (ret == 0 && ret_txn == NULL)
		ret = strata__fail(STRATA_EINVAL, "txn_begin: no place for it");
	if (ret != 0)
		return ret;
	/* More than the store can hold need not be staged. */
	arena = strata__arena_create(2 * store->space.geometry->max_limit);
	if (arena != NULL)
		txn = strata__arena_alloc(arena, sizeof(*txn));
	if (txn == NULL) {
		strata__arena_destroy(arena);
		return strata__fail(STRATA_ENOMEM, "no memory to stage a "
						   "transaction");
	}
	txn->arena = arena;
	txn->store = store;
	txn->only_removes = true;
	CDS_INIT_LIST_HEAD(&txn->ops);
	atomic_fetch_add_explicit(&store->nr_txns, 1, memory_order_relaxed);
	*ret_txn = txn;
	return 0;
}

void
strata_txn_abort(struct strata_txn *txn)
{
	if (txn == NULL)
		return;
	atomic_fetch_sub_explicit(&txn->store->nr_txns, 1,
				  memory_order_relaxed);
	strata__arena_destroy(txn->arena); /* and itself */
}

/**** staging ****/

static int
no_memory(uint64_t size)
{
	strata__fail(STRATA_ENOMEM, "no memory to stage %llu bytes",
		     (unsigned long long)size);
	strata__error()->requested = size;
	return STRATA_ENOMEM;
}

static int
check_ids(uint32_t dimension, uint32_t layer)
{
	if (dimension < 1 || dimension > STRATA_DIMENSION_MAX)
		return strata__fail(STRATA_EINVAL,
				    "%u is no dimension number: 1 to %u",
				    dimension, STRATA_DIMENSION_MAX);
	if (layer > STRATA_LAYER_MAX)
		return strata__fail(STRATA_EINVAL,
				    "%u is no layer number: 0 to %u", layer,
				    STRATA_LAYER_MAX);
	return 0;
}

static int
op_create(struct strata_txn *txn, enum strata__op_kind kind, uint32_t dimension,
	  uint32_t layer, struct strata__op **ret_op)
{
	struct strata__op *op;
	int ret;

	if (txn == NULL)
		return strata__fail(STRATA_EINVAL, "no transaction");
	ret = strata__check_writer(txn->store);
	if (ret == 0)
		ret = check_ids(dimension, layer);
	if (ret != 0)
		return ret;
	op = strata__arena_alloc(txn->arena, sizeof(*op));
	if (op == NULL)
		return no_memory(sizeof(*op));
	memset(op, 0, sizeof(*op));
	op->kind = kind;
	op->dimension = dimension;
	op->layer = layer;
	*ret_op = op;
	return 0;
}

static void
op_add(struct strata_txn *txn, struct strata__op *op)
{
	if (op->kind != STRATA_OP_REMOVE &&
	    op->kind != STRATA_OP_REMOVE_DIMENSION)
		txn->only_removes = false;
	cds_list_add_tail(&op->node, &txn->ops);
}

static int
stage_data(struct strata_txn *txn, struct strata__op *op, const void *data,
	   size_t size, unsigned flags)
{
	uint64_t most = strata__pool_max_content(&txn->store->space);
	void *copy;

	if (data == NULL && size != 0)
		return strata__fail(STRATA_EINVAL, "put: no data of that size");
	if ((flags & ~(unsigned)STRATA_PUT_BORROW) != 0)
		return strata__fail(STRATA_EINVAL, "put: unknown flags");
	if (size > most) {
		strata__fail(STRATA_ETOOBIG,
			     "a layer of %llu bytes: the pools of store '%s' "
			     "hold at most %llu in one piece; load it from a "
			     "dimension file, or create the store with a larger "
			     "limit or --pools",
			     (unsigned long long)size, txn->store->name,
			     (unsigned long long)most);
		strata__error()->requested = size;
		return STRATA_ETOOBIG;
	}
	op->size = size;
	op->data = data;
	if ((flags & STRATA_PUT_BORROW) != 0 || size == 0)
		return 0;
	copy = strata__arena_alloc(txn->arena, size);
	if (copy == NULL)
		return no_memory(size);
	memcpy(copy, data, size);
	op->data = copy;
	return 0;
}

static int
stage_attrs(struct strata_txn *txn, struct strata__op *op,
	    const struct strata_attrs *attrs)
{
	void *meta;
	int ret;

	op->parent = -1;
	ret = strata__attrs_check(attrs);
	if (ret != 0)
		return ret;
	op->meta_size = strata__meta_size(attrs);
	meta = strata__arena_alloc(txn->arena, op->meta_size);
	if (meta == NULL)
		return no_memory(op->meta_size);
	strata__meta_encode(attrs, strata__os_realtime_coarse_ns(), meta);
	op->meta = meta;
	if (attrs != NULL) {
		op->frequency = attrs->frequency;
		op->depth = attrs->depth;
		op->parent = attrs->parent;
		op->flags = attrs->flags;
	}
	return 0;
}

static int
stage_content(struct strata_txn *txn, enum strata__op_kind kind,
	      uint32_t dimension, uint32_t layer,
	      const struct strata_attrs *attrs, const void *data, size_t size,
	      unsigned flags, uint32_t *ret_layer)
{
	struct strata__op *op;
	int ret;

	ret = op_create(txn, kind, dimension, layer, &op);
	if (ret != 0)
		return ret;
	op->ret_layer = ret_layer;
	op->keep_attrs = kind == STRATA_OP_REPLACE && attrs == NULL;
	if (!op->keep_attrs)
		ret = stage_attrs(txn, op, attrs);
	if (ret == 0)
		ret = stage_data(txn, op, data, size, flags);
	if (ret == 0)
		op_add(txn, op);
	return ret;
}

int
strata_put(struct strata_txn *txn, uint32_t dimension, uint32_t layer,
	   const struct strata_attrs *attrs, const void *data, size_t size,
	   unsigned flags)
{
	return stage_content(txn, STRATA_OP_PUT, dimension, layer, attrs, data,
			     size, flags, NULL);
}

int
strata_replace(struct strata_txn *txn, uint32_t dimension, uint32_t layer,
	       const struct strata_attrs *attrs, const void *data, size_t size,
	       unsigned flags)
{
	return stage_content(txn, STRATA_OP_REPLACE, dimension, layer, attrs,
			     data, size, flags, NULL);
}

int
strata_append(struct strata_txn *txn, uint32_t dimension,
	      const struct strata_attrs *attrs, const void *data, size_t size,
	      unsigned flags, uint32_t *ret_layer)
{
	return stage_content(txn, STRATA_OP_APPEND, dimension, 0, attrs, data,
			     size, flags, ret_layer);
}

int
strata_remove(struct strata_txn *txn, uint32_t dimension, uint32_t layer)
{
	struct strata__op *op;
	int ret = op_create(txn, STRATA_OP_REMOVE, dimension, layer, &op);

	if (ret == 0)
		op_add(txn, op);
	return ret;
}

int
strata_remove_dimension(struct strata_txn *txn, uint32_t dimension)
{
	struct strata__op *op;
	int ret = op_create(txn, STRATA_OP_REMOVE_DIMENSION, dimension, 0, &op);

	if (ret == 0)
		op_add(txn, op);
	return ret;
}

int
strata_describe(struct strata_txn *txn, uint32_t dimension, const char *name,
		double frequency_min, double frequency_max)
{
	struct strata__op *op;
	char *copy;
	int ret;

	ret = op_create(txn, STRATA_OP_DESCRIBE, dimension, 0, &op);
	if (ret == 0)
		ret = strata__text_check("the name of a dimension", name,
					 STRATA_DIMENSION_NAME_MAX);
	if (ret != 0)
		return ret;
	if (!isfinite(frequency_min) || !isfinite(frequency_max) ||
	    frequency_min < 0 || frequency_min > frequency_max)
		return strata__fail(STRATA_EINVAL,
				    "%g to %g Hz is no frequency range",
				    frequency_min, frequency_max);
	copy = strata__arena_alloc(txn->arena, STRATA_DIMENSION_NAME_MAX + 1);
	if (copy == NULL)
		return no_memory(STRATA_DIMENSION_NAME_MAX + 1);
	memset(copy, 0, STRATA_DIMENSION_NAME_MAX + 1);
	memcpy(copy, name, strlen(name));
	op->name = copy;
	op->frequency_min = frequency_min;
	op->frequency_max = frequency_max;
	op_add(txn, op);
	return 0;
}
