/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The figures of a store: what each is called, and what it means. */
#ifndef STRATA_FIGURES_H
#define STRATA_FIGURES_H

#include "tool.h"

#define FIGURE_REAL UINT32_MAX /* one, and a double */

/** A number in struct strata_stats, or in one of its arrays for pools. */
struct figure {
	const char *key;    /**< in JSON */
	size_t offset;      /**< of a uint64_t in the struct, or of a double */
	const char *metric; /**< for Prometheus; one that ends in _total is a
				 counter, others are gauges */
	const char *label;  /**< `name="value"`, or NULL */
	const char *meaning; /**< one sentence, with the unit */
	uint32_t nr;         /**< 0: one; FIGURE_REAL; a list of so many */
};

/** Both end with a NULL key. Rows of one metric follow each other. */
extern const struct figure store_figures[];
extern const struct figure pool_figures[];
extern const struct figure scatter_figures[]; /* of strata_fragmentation */
extern const struct figure spread_figures[];  /* of strata_pool_spread */

static inline uint64_t
figure_value(const struct figure *figure, const void *stats)
{
	return *(const uint64_t *)(const void *)((const char *)stats +
						 figure->offset);
}

static inline double
figure_real(const struct figure *figure, const void *stats)
{
	return *(const double *)(const void *)((const char *)stats +
					       figure->offset);
}

#endif /* STRATA_FIGURES_H */
