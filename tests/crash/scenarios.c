/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What writers are killed in: contents that tell mixtures, and changes. */
#include "scenarios.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "contents.h"
#include "pattern.h"
#include "proc.h"
#include "scenarios-private.h"

struct strata_store *contents_store;
uint64_t *contents_before; /* generation that the writer found, for its judge */
const char *contents_directory;
char contents_path[CONTENTS_PATH];

/* All of them. */
static const uint32_t dimensions[] = {
	1, 2, 3, LOADED, CRYSTAL, GROWN, TOUCHED, LARGE};
#define NR_DIMENSIONS (sizeof(dimensions) / sizeof(*dimensions))

/**** contents ****/

/* Small, so that a trial is quick: one for each class of the pools, one that is
 * alone in a block of the largest, one that is a run. */
static const size_t sizes[] = {100, 5000, 9000, 12000, 15000, 40000, 64};
#define LARGEST ((size_t)2200000) /* of dimension LARGE */

size_t
contents_size(uint32_t dimension, uint32_t layer)
{
	if (dimension == GROWN)
		return sizes[5];
	if (dimension == LARGE)
		return layer == 0 ? LARGEST : sizes[0];
	/* The run in one dimension is enough. */
	return dimension != 2 && layer == 5 ? 3000 : sizes[layer];
}

/* How many layers a dimension has in a generation. */
uint32_t
contents_layers(uint32_t dimension, uint64_t generation)
{
	if (dimension == 2)
		return 6 + (generation & 1);
	if (dimension == 3)
		return 6 - (generation & 1);
	if (dimension == GROWN)
		return 64;
	if (dimension == LARGE)
		return 2;
	return dimension == TOUCHED ? 1 : 6;
}

const char *
contents_of(uint32_t dimension, uint32_t layer, uint64_t generation)
{
	struct pattern pattern = {dimension, layer, generation,
				  contents_layers(dimension, generation)};
	static char data[LARGEST];

	pattern_fill(data, contents_size(dimension, layer), &pattern);
	return data;
}

/* What a section sees of a dimension. */
struct seen {
	struct strata_reader *reader;
	uint32_t dimension;
	uint64_t nr, generation, nr_layers;
};

static int
see_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct seen *seen = arg;
	struct pattern pattern;

	need(pattern_check(strata_data(seen->reader, entry), entry->size,
			   &pattern),
	     "layer %u/%u is torn", seen->dimension, layer);
	need(pattern.dimension == seen->dimension && pattern.layer == layer &&
		     entry->size == contents_size(seen->dimension, layer),
	     "layer %u/%u is another one", seen->dimension, layer);
	need(seen->nr == 0 || pattern.generation == seen->generation,
	     "dimension %u is a mixture of generations %" PRIu64
	     " and %" PRIu64,
	     seen->dimension, pattern.generation, seen->generation);
	seen->generation = pattern.generation;
	seen->nr_layers = pattern.nr_layers;
	seen->nr++;
	return 0;
}

/* The generation of a whole dimension; 0 when it is not there. */
static uint64_t
see(struct strata_reader *reader, uint32_t dimension)
{
	struct seen seen = {.reader = reader, .dimension = dimension};
	int code = strata_foreach_layer(reader, dimension, see_layer, &seen);

	if (code == STRATA_ENODIM)
		return 0;
	need(code == 0, "dimension %u: %d", dimension, code);
	need(seen.nr == seen.nr_layers,
	     "dimension %u has %" PRIu64 " layers, generation %" PRIu64
	     " has %" PRIu64,
	     dimension, seen.nr, seen.generation, seen.nr_layers);
	return seen.generation;
}

void
scenario_see(struct strata_reader *reader)
{
	uint64_t group = see(reader, 1);

	need(see(reader, 2) == group && see(reader, 3) == group,
	     "dimensions that change together are of different generations");
	for (size_t i = GROUP; i < NR_DIMENSIONS; i++)
		see(reader, dimensions[i]);
}

/* What an open section sees, as one number: the same for as long as it is. */
uint64_t
scenario_sight(struct strata_reader *reader)
{
	uint64_t sight = 0;

	for (size_t i = 0; i < NR_DIMENSIONS; i++)
		sight = sight * 1000003 + see(reader, dimensions[i]);
	return sight;
}

/**** changes ****/

uint64_t
contents_generation(uint32_t dimension)
{
	struct strata_reader *reader;
	uint64_t generation;

	need(strata_reader_open(contents_store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	generation = see(reader, dimension);
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	return generation;
}

struct strata_txn *
contents_begin(void)
{
	struct strata_txn *txn;

	need(strata_txn_begin(contents_store, &txn) == 0, "begin");
	return txn;
}

void
contents_commit(struct strata_txn *txn)
{
	need(strata_txn_commit(txn, NULL) == 0, "commit");
}

void
contents_put(struct strata_txn *txn, uint32_t dimension, uint32_t layer,
	     uint64_t generation)
{
	need(strata_put(txn, dimension, layer, NULL,
			contents_of(dimension, layer, generation),
			contents_size(dimension, layer), 0) == 0,
	     "put");
}

void
contents_put_all(struct strata_txn *txn, uint32_t dimension,
		 uint64_t generation)
{
	for (uint32_t i = 0; i < contents_layers(dimension, generation); i++)
		contents_put(txn, dimension, i, generation);
}

/* From a generation to the next: replaces what stays, then makes the number of
 * layers right by append and remove. */
static void
step_dimension(struct strata_txn *txn, uint32_t dimension, uint64_t from)
{
	uint32_t old = contents_layers(dimension, from);
	uint32_t new = contents_layers(dimension, from + 1);

	for (uint32_t i = 0; i < old && i < new; i++)
		need(strata_replace(txn, dimension, i, NULL,
				    contents_of(dimension, i, from + 1),
				    contents_size(dimension, i), 0) == 0,
		     "replace");
	if (new > old)
		need(strata_append(txn, dimension, NULL,
				   contents_of(dimension, old, from + 1),
				   contents_size(dimension, old), 0, NULL) == 0,
		     "append");
	if (new < old)
		need(strata_remove(txn, dimension, new) == 0, "remove");
}

struct strata_txn *
contents_step(void)
{
	struct strata_txn *txn = contents_begin();
	uint64_t from = contents_generation(1);

	step_dimension(txn, 1, from);
	step_dimension(txn, 2, from);
	step_dimension(txn, 3, from);
	need(strata_describe(txn, 1, from & 1 ? "even" : "odd", 1, 2) == 0,
	     "describe");
	return txn;
}

void
scenario_touch(void)
{
	struct strata_txn *txn = contents_begin();

	contents_put(txn, TOUCHED, 0, contents_generation(TOUCHED) + 1);
	contents_commit(txn);
}

void
contents_file(uint32_t dimension, uint64_t generation)
{
	struct strata_file_info info = {.dimension = dimension};
	static char data[7][LARGEST];
	struct strata_file *out;

	need(strata_file_begin(contents_path, 0600, &info, &out) == 0, "file");
	for (uint32_t i = 0; i < contents_layers(dimension, generation); i++) {
		memcpy(data[i], contents_of(dimension, i, generation),
		       contents_size(dimension, i));
		need(strata_file_add(out, i, NULL, data[i],
				     contents_size(dimension, i)) == 0,
		     "add");
	}
	need(strata_file_commit(out) == 0, "file commit");
}

/**** for the frame ****/

static uint64_t
mix(uint64_t hash, uint64_t value)
{
	return (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Equal: the contents are of the same sizes, and lie in the same kinds of
 * places. */
uint64_t
scenario_shape(struct strata_reader *reader)
{
	struct strata_dimension info;
	uint64_t shape = 1;
	int code;

	for (uint32_t id = 1; id <= LARGE; id++) {
		code = strata_dimension_get(reader, id, &info);
		need(code == 0 || code == STRATA_ENODIM, "get");
		shape = mix(shape, id);
		if (code != 0)
			continue;
		shape = mix(shape, info.nr_layers << 32 | info.nr_protos);
		shape = mix(shape, info.region_bytes);
		shape = mix(shape, info.content_bytes);
	}
	return shape;
}

void
scenarios_init(const char *folder)
{
	contents_directory = folder;
	snprintf(contents_path, sizeof(contents_path), "%s/loaded",
		 contents_directory);
	contents_before = proc_shared(sizeof(*contents_before));
}

void
scenario_attached(struct strata_store *mine)
{
	contents_store = mine;
}

void
scenario_begin(void)
{
	struct strata_txn *txn = contents_begin();

	for (uint32_t d = 1; d <= GROUP; d++)
		contents_put_all(txn, d, 2);
	contents_put_all(txn, TOUCHED, 1);
	contents_commit(txn);
}
