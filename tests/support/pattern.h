/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Contents that say what they are, and that nothing else looks like. */
#ifndef STRATA_TEST_PATTERN_H
#define STRATA_TEST_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "strata/strata.h"

/* What the first bytes of a content say of it; all others follow from this. */
struct pattern {
	uint32_t dimension, layer;
	uint64_t generation; /* of all that is changed together */
	uint64_t nr_layers;  /* of the dimension, in this generation */
};

/* Fills size bytes, sizeof(struct pattern) at least. */
void pattern_fill(void *data, size_t size, const struct pattern *pattern);
/* Are these bytes what their first ones say? Those are copied out. */
bool pattern_check(const void *data, size_t size, struct pattern *ret);

/* Layers 0 to nr_layers - 1 of dimensions 1 to nr_dimensions, of one size. */
struct pattern_set {
	uint32_t nr_dimensions, nr_layers;
	size_t size;
};

/* Puts all of them, of one generation, in one transaction. */
void pattern_commit(struct strata_store *store, const struct pattern_set *set,
		    uint64_t generation);
/* The generation that an open section sees; it must be one of a whole set. */
uint64_t pattern_look(struct strata_reader *reader,
		      const struct pattern_set *set);

#endif
