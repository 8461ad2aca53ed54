/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Contents that say what they are, and that nothing else looks like. */
#include "pattern.h"

#include <stdlib.h>
#include <string.h>

#include "proc.h"

/* Odd, so that no two words of a content are the same. */
#define STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t
first_word(const struct pattern *pattern)
{
	uint64_t z = (uint64_t)pattern->dimension << 32 | pattern->layer;

	z = (z ^ pattern->generation * STEP) * UINT64_C(0xbf58476d1ce4e5b9);
	z ^= z >> 29;
	return (z + pattern->nr_layers) * UINT64_C(0x94d049bb133111eb);
}

void
pattern_fill(void *data, size_t size, const struct pattern *pattern)
{
	char *bytes = data;
	uint64_t word = first_word(pattern);
	size_t at = sizeof(*pattern);

	memcpy(bytes, pattern, sizeof(*pattern));
	for (; size - at >= sizeof(word); at += sizeof(word), word += STEP)
		memcpy(bytes + at, &word, sizeof(word));
	memcpy(bytes + at, &word, size - at);
}

bool
pattern_check(const void *data, size_t size, struct pattern *ret)
{
	const char *bytes = data;
	size_t at = sizeof(*ret);
	uint64_t word, found, wrong = 0;

	if (size < sizeof(*ret))
		return false;
	memcpy(ret, bytes, sizeof(*ret));
	word = first_word(ret);
	for (; size - at >= sizeof(word); at += sizeof(word), word += STEP) {
		memcpy(&found, bytes + at, sizeof(found));
		wrong |= found ^ word;
	}
	return wrong == 0 && memcmp(bytes + at, &word, size - at) == 0;
}

/**** sets of layers ****/

void
pattern_commit(struct strata_store *store, const struct pattern_set *set,
	       uint64_t generation)
{
	char *data = malloc(set->size);
	struct strata_txn *txn;

	need(data != NULL, "memory");
	need(strata_txn_begin(store, &txn) == 0, "begin");
	for (uint32_t d = 1; d <= set->nr_dimensions; d++)
		for (uint32_t layer = 0; layer < set->nr_layers; layer++) {
			struct pattern pattern = {d, layer, generation,
						  set->nr_layers};

			pattern_fill(data, set->size, &pattern);
			need(strata_put(txn, d, layer, NULL, data, set->size,
					0) == 0,
			     "put");
		}
	need(strata_txn_commit(txn, NULL) == 0, "commit");
	free(data);
}

static uint64_t
look_at_one(struct strata_reader *reader, uint32_t dimension, uint32_t layer,
	    size_t size)
{
	const struct strata_entry *entry;
	struct pattern pattern;

	need(strata_find(reader, dimension, layer, &entry) == 0, "find %u/%u",
	     dimension, layer);
	need(entry->size == size &&
		     pattern_check(strata_data(reader, entry), size, &pattern),
	     "layer %u/%u is torn", dimension, layer);
	need(pattern.dimension == dimension && pattern.layer == layer,
	     "layer %u/%u is another one", dimension, layer);
	return pattern.generation;
}

uint64_t
pattern_look(struct strata_reader *reader, const struct pattern_set *set)
{
	uint64_t first = look_at_one(reader, 1, 0, set->size);

	for (uint32_t d = 1; d <= set->nr_dimensions; d++)
		for (uint32_t layer = 0; layer < set->nr_layers; layer++)
			need(look_at_one(reader, d, layer, set->size) == first,
			     "two generations in one section");
	return first;
}
