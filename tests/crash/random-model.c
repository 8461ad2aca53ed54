/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The random driver's model: what operations do, and what a section sees. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "random.h"

struct shared *shared;
char store_is[STRATA_STORE_NAME_MAX + 1];
char files[] = "/tmp/strata-random-XXXXXX";

void
figure(enum figure which)
{
	atomic_fetch_add_explicit(&shared->figures[which], 1,
				  memory_order_relaxed);
}

uint64_t
seed_of(uint64_t who, uint64_t attempt)
{
	uint64_t state = shared->seed ^ who << 48 ^ attempt << 24;

	return test_random(&state);
}

/* Near and far: in the root's node, and below the directory's. */
static const uint32_t numbers[NR_DIMS] = {1,   2,   14,   600,   20, 21,    22,
					  300, 511, 5000, 70000, 23, 262143};

uint32_t
dim_number(uint32_t dim)
{
	return numbers[dim];
}

uint32_t
dim_of_number(uint32_t number)
{
	uint32_t dim = 0;

	while (dim < NR_DIMS && numbers[dim] != number)
		dim++;
	return dim;
}

/**** what changes do ****/

struct layer *
dim_find(struct dim *dim, uint32_t layer)
{
	for (uint32_t i = 0; i < dim->nr; i++)
		if (dim->layers[i].layer == layer)
			return &dim->layers[i];
	return NULL;
}

static uint32_t
next_layer(const struct dim *dim)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < dim->nr; i++)
		if (dim->layers[i].layer >= next)
			next = dim->layers[i].layer + 1;
	return next;
}

static const char *
put(struct dim *dim, uint32_t number, bool keeps, const struct change *change)
{
	struct layer *layer = dim_find(dim, number);

	if (layer == NULL && dim->nr == NR_LAYERS)
		return "the model is too small";
	if (layer == NULL) {
		layer = &dim->layers[dim->nr++];
		layer->meta = 0;
	}
	dim->present = true;
	layer->layer = number;
	layer->number = change->number;
	if (change->attrs)
		layer->meta = change->number;
	else if (!keeps)
		layer->meta = 0;
	return NULL;
}

static const char *
take_away(struct dim *dim, uint32_t number)
{
	struct layer *layer = dim_find(dim, number);

	if (layer == NULL)
		return "there is no such layer";
	*layer = dim->layers[--dim->nr];
	return NULL;
}

static void
load(struct dim *dim, const struct change *change)
{
	memset(dim, 0, sizeof(*dim));
	dim->present = true;
	dim->immutable = change->immutable;
	dim->name = change->number;
	for (dim->nr = 0; dim->nr < change->layer; dim->nr++)
		dim->layers[dim->nr] =
			(struct layer){dim->nr, change->number, change->number};
}

const char *
model_apply(struct model *model, const struct change *change)
{
	struct dim *dim = &model->dims[change->dim];

	if (dim->immutable && change->kind != LOAD && change->kind != UNLOAD)
		return "the dimension is immutable";
	switch (change->kind) {
	case PUT:
		return put(dim, change->layer, /* keeps= */ false, change);
	case APPEND:
		return put(dim, next_layer(dim), /* keeps= */ false, change);
	case REPLACE:
		if (dim_find(dim, change->layer) == NULL)
			return "there is no such layer";
		return put(dim, change->layer, /* keeps= */ true, change);
	case REMOVE:
		return take_away(dim, change->layer);
	case DESCRIBE:
		dim->present = true;
		dim->name = change->number;
		return NULL;
	case LOAD:
		load(dim, change);
		return NULL;
	case DROP:
	case UNLOAD:
		if (!dim->present)
			return "there is no such dimension";
		memset(dim, 0, sizeof(*dim));
		return NULL;
	}
	return "no change at all";
}

/**** prints ****/

static uint64_t
mix(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t state = a * UINT64_C(0x9e3779b97f4a7c15);

	state = test_random(&state) ^ b * UINT64_C(0xd6e8feb86659fd93);
	state = test_random(&state) ^ c * UINT64_C(0xa0761d6478bd642f);
	return test_random(&state);
}

static uint64_t
print_head(bool immutable, uint64_t name)
{
	return mix(1, name, immutable);
}

static uint64_t
print_layer(const struct layer *layer)
{
	return mix(layer->layer + UINT64_C(2), layer->number, layer->meta);
}

uint64_t
dim_print(const struct dim *dim)
{
	uint64_t print;

	if (!dim->present)
		return 0;
	print = print_head(dim->immutable, dim->name);
	for (uint32_t i = 0; i < dim->nr; i++)
		print += print_layer(&dim->layers[i]);
	return print;
}

/**** looking ****/

struct look {
	struct strata_reader *reader;
	uint64_t version;
	uint32_t number; /* of the dimension */
	uint64_t nr, bytes, print;
};

/* Name and frequency are of the change that said them. */
static uint64_t
look_at_meta(const struct look *look, uint32_t layer,
	     const struct strata_entry *entry)
{
	struct strata_meta meta;
	uint64_t number;

	need(strata_meta(look->reader, entry, &meta) == 0,
	     "version %" PRIu64 ": metadata of layer %u/%u", look->version,
	     look->number, layer);
	number = strtoull(meta.name, NULL, 16);
	need(entry->frequency >= 0 && (uint64_t)entry->frequency == number,
	     "version %" PRIu64 ": layer %u/%u has the name of change %" PRIx64
	     " and the frequency of %" PRIx64,
	     look->version, look->number, layer, number,
	     (uint64_t)entry->frequency);
	return number;
}

/* Who appends does not know the number: such a content tells a number that no
 * layer has. */
static uint32_t
layer_told(const struct look *look, uint32_t layer,
	   const struct strata_entry *entry)
{
	const uint64_t *words = strata_data(look->reader, entry);
	uint32_t told;

	need(entry->size >= 16,
	     "version %" PRIu64 ": layer %u/%u has %" PRIu64 " bytes",
	     look->version, look->number, layer, entry->size);
	told = (uint32_t)words[1];
	return (told & APPENDED) != 0 ? told : layer;
}

static int
look_at_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct look *look = arg;
	struct layer seen = {.layer = layer};
	const struct strata_entry *found;
	size_t size = 0;
	uint32_t told;

	need(strata_find(look->reader, look->number, layer, &found) == 0 &&
		     found == entry &&
		     strata_get(look->reader, look->number, layer, &size) ==
			     strata_data(look->reader, entry) &&
		     size == entry->size,
	     "version %" PRIu64 ": layer %u/%u is found elsewhere",
	     look->version, look->number, layer);
	need(entry->version <= look->version,
	     "version %" PRIu64 ": layer %u/%u is of version %" PRIu64,
	     look->version, look->number, layer, entry->version);
	told = layer_told(look, layer, entry);
	need(entry->size <= content_size_max(told) &&
		     content_check(strata_data(look->reader, entry),
				   entry->size, look->number, told,
				   &seen.number),
	     "version %" PRIu64 ": layer %u/%u (%" PRIu64 " bytes) is torn",
	     look->version, look->number, layer, entry->size);
	seen.meta = look_at_meta(look, layer, entry);
	look->print += print_layer(&seen);
	look->bytes += entry->size;
	look->nr++;
	return 0;
}

static uint64_t
look_at_dimension(struct strata_reader *reader,
		  const struct strata_dimension *dimension)
{
	struct look look = {.reader = reader,
			    .version = strata_reader_version(reader),
			    .number = dimension->id};

	look.print = print_head(dimension->immutable != 0,
				strtoull(dimension->name, NULL, 16));
	need(strata_foreach_layer(reader, dimension->id, look_at_layer,
				  &look) == 0,
	     "version %" PRIu64 ": dimension %u", look.version, look.number);
	need(look.nr == dimension->nr_layers &&
		     look.bytes == dimension->content_bytes,
	     "version %" PRIu64 ": dimension %u has %" PRIu64
	     " layers of %" PRIu64 " bytes, but says %" PRIu64 " of %" PRIu64,
	     look.version, look.number, look.nr, look.bytes,
	     dimension->nr_layers, dimension->content_bytes);
	return look.print;
}

struct sighting {
	struct strata_reader *reader;
	struct sight *sight;
};

static int
sight_dimension(const struct strata_dimension *dimension, void *arg)
{
	struct sighting *sighting = arg;
	uint32_t dim = dim_of_number(dimension->id);

	need(dim < NR_DIMS, "nobody made dimension %u", dimension->id);
	sighting->sight->prints[dim] =
		look_at_dimension(sighting->reader, dimension);
	return 0;
}

void
sight_take(struct strata_reader *reader, struct sight *ret)
{
	struct sighting sighting = {reader, ret};

	memset(ret, 0, sizeof(*ret));
	ret->version = strata_reader_version(reader);
	need(strata_foreach_dimension(reader, sight_dimension, &sighting) == 0,
	     "dimensions of version %" PRIu64, ret->version);
}

uint64_t
sight_of(struct strata_reader *reader, uint32_t dim)
{
	struct strata_dimension dimension;
	int ret = strata_dimension_get(reader, dim_number(dim), &dimension);

	if (ret == STRATA_ENODIM)
		return 0;
	need(ret == 0, "dimension %u", dim_number(dim));
	return look_at_dimension(reader, &dimension);
}
