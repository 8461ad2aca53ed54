/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The plan of a pack: memory, order, and lookup. */
#include <stdlib.h>

#include "plan.h"

void
plan_init(struct plan *plan, const struct tool_args *args, const char *source)
{
	*plan = (struct plan){.args = args, .source = source};
}

void
plan_fini(struct plan *plan)
{
	size_t i;

	for (i = 0; i < plan->nr_dimensions; i++)
		free(plan->dimensions[i].layers);
	for (i = 0; i < plan->nr_kept; i++)
		free(plan->kept[i]);
	free(plan->dimensions);
	free(plan->kept);
	json_decref(plan->document);
	*plan = (struct plan){.args = NULL};
}

void *
plan_keep(struct plan *plan, void *block)
{
	plan->kept = x_grow(plan->kept, plan->nr_kept, sizeof(*plan->kept));
	plan->kept[plan->nr_kept++] = block;
	return block;
}

struct plan_dimension *
plan_add_dimension(struct plan *plan)
{
	struct plan_dimension *dimension;

	plan->dimensions = x_grow(plan->dimensions, plan->nr_dimensions,
				  sizeof(*plan->dimensions));
	dimension = &plan->dimensions[plan->nr_dimensions++];
	*dimension = (struct plan_dimension){.layers = NULL};
	return dimension;
}

struct plan_layer *
plan_add_layer(struct plan *plan, struct plan_dimension *dimension)
{
	struct plan_layer *layer;

	dimension->layers = x_grow(dimension->layers, dimension->nr_layers,
				   sizeof(*dimension->layers));
	layer = &dimension->layers[dimension->nr_layers++];
	*layer = (struct plan_layer){.attrs = STRATA_ATTRS_INIT};
	plan->nr_layers++;
	return layer;
}

/* Equal numbers keep the order of the input, for the messages about them. */
static int
compare(uint64_t a, uint64_t b, size_t origin_a, size_t origin_b)
{
	if (a != b)
		return a < b ? -1 : 1;
	return origin_a < origin_b ? -1 : origin_a > origin_b;
}

static int
compare_dimensions(const void *a, const void *b)
{
	const struct plan_dimension *one = a, *other = b;

	return compare(one->info.dimension, other->info.dimension, one->origin,
		       other->origin);
}

static int
compare_layers(const void *a, const void *b)
{
	const struct plan_layer *one = a, *other = b;

	return compare(one->number, other->number, one->origin, other->origin);
}

void
plan_sort_dimensions(struct plan *plan)
{
	if (plan->nr_dimensions > 0)
		qsort(plan->dimensions, plan->nr_dimensions,
		      sizeof(*plan->dimensions), compare_dimensions);
}

void
plan_sort_layers(struct plan *plan)
{
	struct plan_dimension *dimension;
	size_t i;

	for (i = 0; i < plan->nr_dimensions; i++) {
		dimension = &plan->dimensions[i];
		if (dimension->nr_layers > 0)
			qsort(dimension->layers, dimension->nr_layers,
			      sizeof(*dimension->layers), compare_layers);
	}
}

struct plan_dimension *
plan_find(const struct plan *plan, uint32_t id)
{
	size_t low = 0, high = plan->nr_dimensions, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (plan->dimensions[middle].info.dimension == id)
			return &plan->dimensions[middle];
		if (plan->dimensions[middle].info.dimension < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
