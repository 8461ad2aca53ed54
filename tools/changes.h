/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What two looks at a store have different. */
#ifndef STRATA_CHANGES_H
#define STRATA_CHANGES_H

#include "tool.h"

/** A layer as it was when it was looked at. */
struct look_layer {
	uint32_t layer;
	uint64_t version, size;
};

struct look_dimension {
	struct strata_dimension facts;
	struct look_layer *layers; /**< ascending; NULL: those of the look
					before, to which they were moved on */
	size_t nr_layers;
};

/** A store at one version: a few words for each layer, no contents. */
struct look {
	uint64_t version;
	struct look_dimension *dimensions; /**< ascending */
	size_t nr_dimensions;
};

/**
 * Looks at a store.
 * @param view inside a section, or observed
 * @param before the last look, whose lists of what has not changed are taken
 * over; all zeroes at first
 * @param ret look_fini() by the caller in every case
 * @return 0, or a code of the library
 */
int look_take(struct view *view, struct look *before, struct look *ret);
void look_fini(struct look *look);

/** Layers that were shown as numbers; all are counted. */
#define CHANGE_LAYERS_SHOWN 16

/** What happened to some layers of a dimension. */
struct change_layers {
	uint64_t nr, bytes;
	uint32_t first[CHANGE_LAYERS_SHOWN];
};

enum change_kind { CHANGE_NEW, CHANGE_REMOVED, CHANGE_CHANGED };

struct change {
	enum change_kind kind;
	const struct strata_dimension *facts; /**< in the later look, or when
						   removed in the earlier */
	struct change_layers added, replaced, removed;
	bool crystallized; /**< its content moved into a region */
};

struct changes {
	struct change *list; /**< by dimension, ascending */
	size_t nr;
};

/** Compares; points into both looks. changes_fini() by the caller. */
void changes_find(const struct look *before, const struct look *after,
		  struct changes *ret);
void changes_fini(struct changes *changes);

/** A sentence without its full stop, to be freed. */
char *changes_text(const struct changes *changes);
json_t *changes_json(const struct changes *changes);

#endif /* STRATA_CHANGES_H */
