/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What two looks at a store have different. */
#include <stdlib.h>
#include <string.h>

#include "changes.h"

/*
 * The earlier version is not kept pinned: a watcher would retain what everybody
 * else has done with. So the numbers and versions of all layers are kept here,
 * and a dimension is walked again only when its version is another.
 */

/**** looking ****/

struct looking {
	struct look *before;
	struct look *look;
	struct look_dimension *dimension; /* whose layers come */
};

static struct look_dimension *
dimension_find(const struct look *look, uint32_t id)
{
	size_t low = 0, high = look->nr_dimensions, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (look->dimensions[middle].facts.id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < look->nr_dimensions && look->dimensions[low].facts.id == id
		       ? &look->dimensions[low]
		       : NULL;
}

static int
dimension_add(const struct strata_dimension *facts, void *arg)
{
	const struct looking *looking = arg;
	struct look *look = looking->look;

	look->dimensions = x_grow(look->dimensions, look->nr_dimensions,
				  sizeof(*look->dimensions));
	look->dimensions[look->nr_dimensions++] =
		(struct look_dimension){.facts = *facts};
	return 0;
}

static int
layer_add(uint32_t layer, const struct strata_entry *entry,
	  const struct strata_meta *meta, void *arg)
{
	const struct looking *looking = arg;
	struct look_dimension *dimension = looking->dimension;

	(void)meta;
	dimension->layers = x_grow(dimension->layers, dimension->nr_layers,
				   sizeof(*dimension->layers));
	dimension->layers[dimension->nr_layers++] =
		(struct look_layer){layer, entry->version, entry->size};
	return 0;
}

/* Of a dimension that is as it was, the list moves on. */
static bool
layers_inherit(struct look *before, struct look_dimension *dimension)
{
	struct look_dimension *old =
		dimension_find(before, dimension->facts.id);

	if (old == NULL || old->facts.version != dimension->facts.version)
		return false;
	dimension->layers = old->layers;
	dimension->nr_layers = old->nr_layers;
	old->layers = NULL;
	return true;
}

int
look_take(struct view *view, struct look *before, struct look *ret)
{
	struct looking looking = {before, ret, NULL};
	int code;
	size_t i;

	*ret = (struct look){.version = view->version};
	code = view_dimensions(view, dimension_add, &looking);
	ret->version = view->version;
	for (i = 0; code == 0 && i < ret->nr_dimensions; i++) {
		looking.dimension = &ret->dimensions[i];
		if (layers_inherit(before, looking.dimension))
			continue;
		code = view_layers(view, looking.dimension->facts.id, layer_add,
				   &looking);
		/* Of who observes, each copy is of a version of its own. */
		if (code == STRATA_ENODIM)
			code = 0;
	}
	return code;
}

void
look_fini(struct look *look)
{
	size_t i;

	for (i = 0; i < look->nr_dimensions; i++)
		free(look->dimensions[i].layers);
	free(look->dimensions);
	*look = (struct look){.version = 0};
}

/**** comparing ****/

static void
layers_count(struct change_layers *layers, const struct look_layer *layer)
{
	if (layers->nr < CHANGE_LAYERS_SHOWN)
		layers->first[layers->nr] = layer->layer;
	layers->nr++;
	layers->bytes += layer->size;
}

static const struct look_layer *
layer_at(const struct look_dimension *dimension, size_t i)
{
	return dimension != NULL && i < dimension->nr_layers
		       ? &dimension->layers[i]
		       : NULL;
}

/* Both lists are ascending; either dimension may be missing. */
static void
layers_compare(const struct look_dimension *before,
	       const struct look_dimension *after, struct change *change)
{
	const struct look_layer *old, *new;
	size_t i = 0, k = 0;

	for (;;) {
		old = layer_at(before, i);
		new = layer_at(after, k);
		if (old == NULL && new == NULL)
			return;
		if (new == NULL || (old != NULL && old->layer < new->layer)) {
			layers_count(&change->removed, old);
			i++;
		} else if (old == NULL || new->layer < old->layer) {
			layers_count(&change->added, new);
			k++;
		} else {
			if (old->version != new->version)
				layers_count(&change->replaced, new);
			i++;
			k++;
		}
	}
}

static void
change_add(struct changes *changes, const struct look_dimension *before,
	   const struct look_dimension *after)
{
	struct change *change;

	if (before != NULL && after != NULL &&
	    before->facts.version == after->facts.version)
		return;
	changes->list =
		x_grow(changes->list, changes->nr, sizeof(*changes->list));
	change = &changes->list[changes->nr++];
	memset(change, 0, sizeof(*change));
	change->facts = after != NULL ? &after->facts : &before->facts;
	change->kind = before == NULL  ? CHANGE_NEW
		       : after == NULL ? CHANGE_REMOVED
				       : CHANGE_CHANGED;
	layers_compare(before, after, change);
	change->crystallized =
		before != NULL && after != NULL &&
		after->facts.state == STRATA_DIMENSION_CRYSTALLIZED &&
		before->facts.state != STRATA_DIMENSION_CRYSTALLIZED;
}

void
changes_find(const struct look *before, const struct look *after,
	     struct changes *ret)
{
	const struct look_dimension *old, *new;
	size_t i = 0, k = 0;

	*ret = (struct changes){NULL, 0};
	while (i < before->nr_dimensions || k < after->nr_dimensions) {
		old = i < before->nr_dimensions ? &before->dimensions[i] : NULL;
		new = k < after->nr_dimensions ? &after->dimensions[k] : NULL;
		if (old != NULL && new != NULL && old->facts.id != new->facts.id)
			*(old->facts.id < new->facts.id ? &new : &old) = NULL;
		change_add(ret, old, new);
		i += old != NULL;
		k += new != NULL;
	}
}

void
changes_fini(struct changes *changes)
{
	free(changes->list);
	*changes = (struct changes){NULL, 0};
}

/**** telling ****/

/* Appends to a text of x_format(). */
#define TEXT_ADD(text, ...) text_add((text), x_format(__VA_ARGS__))
static char *
text_add(char *text, char *more)
{
	char *joined = x_format("%s%s", text, more);

	free(text);
	free(more);
	return joined;
}

static char *
layers_text(char *text, const struct change_layers *layers, const char *what)
{
	const char *comma = text[strlen(text) - 1] == ':' ? "" : ",";

	if (layers->nr == 1)
		return TEXT_ADD(text, "%s layer %u %s, %s", comma,
				layers->first[0], what,
				SIZE_TEXT(layers->bytes));
	if (layers->nr > 1)
		return TEXT_ADD(text, "%s %s %s, %s", comma,
				COUNT_TEXT(layers->nr, "layer"), what,
				SIZE_TEXT(layers->bytes));
	return text;
}

static char *
change_text(const struct change *change)
{
	const struct strata_dimension *facts = change->facts;
	char *text = x_format("dimension %u%s%s%s", facts->id,
			      facts->name[0] != '\0' ? " '" : "", facts->name,
			      facts->name[0] != '\0' ? "'" : "");
	size_t length;

	text = TEXT_ADD(text, "%s:",
			change->kind == CHANGE_NEW       ? " new"
			: change->kind == CHANGE_REMOVED ? " removed"
							 : "");
	length = strlen(text);
	text = layers_text(text, &change->added, "put");
	text = layers_text(text, &change->replaced, "replaced");
	text = layers_text(text, &change->removed, "removed");
	if (change->crystallized)
		text = TEXT_ADD(text, "%s crystallized",
				strlen(text) > length ? "," : "");
	if (strlen(text) == length)
		text = TEXT_ADD(text, " no layer changed");
	return text;
}

char *
changes_text(const struct changes *changes)
{
	char *text = x_dup("");
	size_t i;

	if (changes->nr == 0)
		return text_add(text, x_dup("nothing changed"));
	for (i = 0; i < changes->nr; i++) {
		if (i > 0)
			text = text_add(text, x_dup("; "));
		text = text_add(text, change_text(&changes->list[i]));
	}
	return text;
}

static json_t *
layers_json(const struct change_layers *layers)
{
	json_t *numbers = json_array();
	uint64_t i;

	for (i = 0; i < layers->nr && i < CHANGE_LAYERS_SHOWN; i++)
		json_array_append_new(numbers, json_integer(layers->first[i]));
	return json_pack("{s:I, s:I, s:o}", "count", (json_int_t)layers->nr,
			 "bytes", (json_int_t)layers->bytes, "first", numbers);
}

json_t *
changes_json(const struct changes *changes)
{
	static const char *const kinds[] = {"new", "removed", "changed"};
	json_t *items = json_array();
	size_t i;

	for (i = 0; i < changes->nr; i++) {
		const struct change *change = &changes->list[i];

		json_array_append_new(
			items,
			json_pack("{s:I, s:o, s:s, s:s, s:b, s:o, s:o, s:o}",
				  "id", (json_int_t)change->facts->id, "name",
				  json_text(change->facts->name), "change",
				  kinds[change->kind], "state",
				  state_text(change->facts->state),
				  "crystallized", change->crystallized, "put",
				  layers_json(&change->added), "replaced",
				  layers_json(&change->replaced), "removed",
				  layers_json(&change->removed)));
	}
	return items;
}
