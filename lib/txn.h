/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A transaction: changes staged in private memory, in the order of the calls. */
#ifndef STRATA_TXN_H
#define STRATA_TXN_H

#include <urcu/list.h>

#include "arena.h"
#include "store.h"

enum strata__op_kind {
	STRATA_OP_PUT,
	STRATA_OP_REPLACE, /* must exist */
	STRATA_OP_APPEND,
	STRATA_OP_REMOVE,
	STRATA_OP_REMOVE_DIMENSION,
	STRATA_OP_DESCRIBE,
};

/* Lives in the arena, as does what it points to (but for borrowed data). */
struct strata__op {
	struct cds_list_head node;
	enum strata__op_kind kind;
	uint32_t dimension, layer;
	/* put, replace, append */
	bool keep_attrs; /* replace: those of the old layer */
	double frequency;
	uint32_t depth;
	int32_t parent;
	uint32_t flags;
	const void *data;
	uint64_t size;
	const void *meta;
	uint32_t meta_size;
	uint32_t *ret_layer;
	uint32_t appended; /* the number an append got */
	/* describe */
	double frequency_min, frequency_max;
	const char *name;
};

struct strata_txn {
	struct strata_store *store;
	struct strata__arena *arena; /* in which it lives, too */
	struct cds_list_head ops;
	bool only_removes; /* may use the node reserve */
};

#endif
