/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What writers are killed in: contents that tell mixtures, and changes. */
#include "scenarios.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "layout.h"
#include "pattern.h"
#include "proc.h"
#include "scenarios-private.h"

static struct strata_store *store;
static uint64_t *before; /* generation that the writer found, for its judge */
static const char *directory;
static char file[256]; /* of dimension LOADED */

/* All of them. */
static const uint32_t dimensions[] = {1, 2, 3, LOADED, CRYSTAL, GROWN, TOUCHED};
#define NR_DIMENSIONS (sizeof(dimensions) / sizeof(*dimensions))

/**** contents ****/

/* Small, so that a trial is quick: one for each class of the pools, one that is
 * alone in a block of the largest, one that is a run. */
static const size_t sizes[] = {100, 5000, 9000, 12000, 15000, 40000, 64};
#define LARGEST 40000

static size_t
size_of(uint32_t dimension, uint32_t layer)
{
	if (dimension == GROWN)
		return sizes[5];
	/* The run in one dimension is enough. */
	return dimension != 2 && layer == 5 ? 3000 : sizes[layer];
}

/* How many layers a dimension has in a generation. */
static uint32_t
layers_of(uint32_t dimension, uint64_t generation)
{
	if (dimension == 2)
		return 6 + (generation & 1);
	if (dimension == 3)
		return 6 - (generation & 1);
	if (dimension == GROWN)
		return 64;
	return dimension == TOUCHED ? 1 : 6;
}

static const char *
content(uint32_t dimension, uint32_t layer, uint64_t generation)
{
	struct pattern pattern = {dimension, layer, generation,
				  layers_of(dimension, generation)};
	static char data[LARGEST];

	pattern_fill(data, size_of(dimension, layer), &pattern);
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
		     entry->size == size_of(seen->dimension, layer),
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

static uint64_t
generation_now(uint32_t dimension)
{
	struct strata_reader *reader;
	uint64_t generation;

	need(strata_reader_open(store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	generation = see(reader, dimension);
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	return generation;
}

static struct strata_txn *
begin(void)
{
	struct strata_txn *txn;

	need(strata_txn_begin(store, &txn) == 0, "begin");
	return txn;
}

static void
commit(struct strata_txn *txn)
{
	need(strata_txn_commit(txn, NULL) == 0, "commit");
}

static void
put(struct strata_txn *txn, uint32_t dimension, uint32_t layer,
    uint64_t generation)
{
	need(strata_put(txn, dimension, layer, NULL,
			content(dimension, layer, generation),
			size_of(dimension, layer), 0) == 0,
	     "put");
}

static void
put_all(struct strata_txn *txn, uint32_t dimension, uint64_t generation)
{
	for (uint32_t i = 0; i < layers_of(dimension, generation); i++)
		put(txn, dimension, i, generation);
}

/* From a generation to the next: replaces what stays, then makes the number of
 * layers right by append and remove. */
static void
step_dimension(struct strata_txn *txn, uint32_t dimension, uint64_t from)
{
	uint32_t old = layers_of(dimension, from);
	uint32_t new = layers_of(dimension, from + 1);

	for (uint32_t i = 0; i < old && i < new; i++)
		need(strata_replace(txn, dimension, i, NULL,
				    content(dimension, i, from + 1),
				    size_of(dimension, i), 0) == 0,
		     "replace");
	if (new > old)
		need(strata_append(txn, dimension, NULL,
				   content(dimension, old, from + 1),
				   size_of(dimension, old), 0, NULL) == 0,
		     "append");
	if (new < old)
		need(strata_remove(txn, dimension, new) == 0, "remove");
}

static struct strata_txn *
step_group(void)
{
	struct strata_txn *txn = begin();
	uint64_t from = generation_now(1);

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
	struct strata_txn *txn = begin();

	put(txn, TOUCHED, 0, generation_now(TOUCHED) + 1);
	commit(txn);
}

static void
make_file(uint64_t generation)
{
	struct strata_file_info info = {.dimension = LOADED};
	static char data[7][LARGEST];
	struct strata_file *out;

	need(strata_file_begin(file, 0600, &info, &out) == 0, "file");
	for (uint32_t i = 0; i < layers_of(LOADED, generation); i++) {
		memcpy(data[i], content(LOADED, i, generation),
		       size_of(LOADED, i));
		need(strata_file_add(out, i, NULL, data[i],
				     size_of(LOADED, i)) == 0,
		     "add");
	}
	need(strata_file_commit(out) == 0, "file commit");
}

/**** scenarios ****/

static enum outcome
judge_generation(uint32_t dimension)
{
	uint64_t now = generation_now(dimension);

	need(now == *before || now == *before + 1,
	     "generation %" PRIu64 " became %" PRIu64, *before, now);
	return now == *before ? OLD : NEW;
}

void
prepare_group(void)
{
	*before = generation_now(1);
}

void
act_commit(void)
{
	commit(step_group());
}

enum outcome
judge_group(void)
{
	return judge_generation(1);
}

/* Commits all of it but for the last, which cannot be done. */
void
act_refused(void)
{
	struct strata_txn *txn = step_group();

	need(strata_remove(txn, 1, 1000) == 0, "remove");
	need(strata_txn_commit(txn, NULL) == STRATA_ENOLAYER,
	     "the removal of no layer was not refused");
	strata_txn_abort(txn);
}

enum outcome
judge_unchanged(void)
{
	need(judge_generation(1) == OLD, "a refused transaction is visible");
	return OLD;
}

void
prepare_unloaded(void)
{
	if (generation_now(LOADED) != 0)
		need(strata_unload(store, LOADED, 0) == 0, "unload");
	make_file(1);
	*before = 0;
}

void
act_load(void)
{
	need(strata_load(store, file, NULL) == 0, "load");
}

void
prepare_loaded(void)
{
	if (generation_now(LOADED) == 0) {
		make_file(1);
		act_load();
	}
	*before = generation_now(LOADED);
	make_file(*before + 1);
}

void
act_reload(void)
{
	need(strata_reload(store, LOADED, file) == 0, "reload");
}

enum outcome
judge_loaded(void)
{
	return judge_generation(LOADED);
}

void
act_unload(void)
{
	need(strata_unload(store, LOADED, 0) == 0, "unload");
}

enum outcome
judge_unloaded(void)
{
	uint64_t now = generation_now(LOADED);

	need(now == 0 || now == *before, "another generation");
	return now == 0 ? NEW : OLD;
}

/* All in pool blocks; and its region, if it had one, is gone. */
void
prepare_protos(void)
{
	struct strata_txn *txn = begin();
	uint64_t generation = generation_now(CRYSTAL) + 1;

	if (generation > 1)
		need(strata_remove_dimension(txn, CRYSTAL) == 0, "remove");
	put_all(txn, CRYSTAL, generation);
	commit(txn);
	*before = generation;
}

void
act_crystallize(void)
{
	need(strata_crystallize(store, CRYSTAL) == 0, "crystallise");
}

/* A region, and changes over it. */
void
prepare_hybrid(void)
{
	struct strata_txn *txn;

	prepare_protos();
	act_crystallize();
	txn = begin();
	put(txn, CRYSTAL, 1, *before);
	put(txn, CRYSTAL, 4, *before);
	commit(txn);
}

enum outcome
judge_crystal(void)
{
	struct strata_dimension dimension;
	struct strata_reader *reader;

	need(generation_now(CRYSTAL) == *before,
	     "crystallising changed contents");
	need(strata_reader_open(store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	need(strata_dimension_get(reader, CRYSTAL, &dimension) == 0, "get");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	return dimension.state == STRATA_DIMENSION_CRYSTALLIZED ? NEW : OLD;
}

/* What is published is durable. */
enum outcome
judge_durable(void)
{
	enum outcome outcome = judge_crystal();
	char path[256];

	if (outcome == NEW) {
		need(strata_file_path(directory, CRYSTAL, path, sizeof(path)) ==
			     0,
		     "path");
		need(strata_file_verify(path, 0, NULL) == 0,
		     "published, but its file is damaged");
	}
	return outcome;
}

/* A dimension that is not there; and no blocks for it. */
void
prepare_small(void)
{
	struct strata_txn *txn = begin();

	if (generation_now(GROWN) != 0)
		need(strata_remove_dimension(txn, GROWN) == 0, "remove");
	commit(txn);
	need(strata_gc(store, NULL) == 0, "gc");
	*before = 0;
}

void
act_grow(void)
{
	struct strata_txn *txn = begin();

	put_all(txn, GROWN, 1);
	commit(txn);
}

enum outcome
judge_grown(void)
{
	return judge_generation(GROWN);
}

/* Grown for what is to be removed. */
void
prepare_large(void)
{
	prepare_small();
	act_grow();
	prepare_group();
}

void
act_shrink(void)
{
	struct strata_txn *txn = begin();

	need(strata_remove_dimension(txn, GROWN) == 0, "remove");
	commit(txn);
	need(strata_gc(store, NULL) == 0, "gc");
}

void
act_gc(void)
{
	need(strata_gc(store, NULL) == 0, "gc");
}

static uint64_t
limit_now(void)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};

	need(strata_stats(store, &stats) == 0, "stats");
	return stats.limit;
}

static uint64_t
other_limit(uint64_t limit)
{
	return SCENARIO_LIMIT + SCENARIO_LIMIT_MAX - limit;
}

void
prepare_limit(void)
{
	*before = limit_now();
}

void
act_limit(void)
{
	need(strata_limit(store, other_limit(*before)) == 0, "limit");
}

enum outcome
judge_limit(void)
{
	uint64_t now = limit_now();

	need(now == *before || now == other_limit(*before),
	     "the limit became %" PRIu64, now);
	return now == *before ? OLD : NEW;
}

void
act_session(void)
{
	struct strata_writer *writer;

	need(strata_writer_open(store, &writer) == 0, "session");
	act_commit();
	need(strata_writer_close(writer) == 0, "close");
}

/* So much garbage that the commit that comes reclaims it. */
void
prepare_due(void)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	uint64_t before_step = 0, step = 0;

	while (stats.retired + step + step / 20 <= stats.limit / 32) {
		before_step = stats.retired;
		commit(step_group());
		need(strata_stats(store, &stats) == 0, "stats");
		step = stats.retired - before_step;
	}
	prepare_group();
}

/* One dimension that loses its region and its protos. */
void
prepare_removable(void)
{
	prepare_hybrid();
	prepare_group();
}

void
act_remove_dimension(void)
{
	struct strata_txn *txn = begin();

	need(strata_remove_dimension(txn, CRYSTAL) == 0, "remove");
	commit(txn);
}

enum outcome
judge_removed(void)
{
	return generation_now(CRYSTAL) == 0 ? NEW : OLD;
}

/* Content over a region keeps the metadata that it has there. */
void
prepare_crystal(void)
{
	prepare_protos();
	act_crystallize();
}

void
act_replace(void)
{
	struct strata_txn *txn = begin();

	need(strata_replace(txn, CRYSTAL, 2, NULL, content(CRYSTAL, 2, *before),
			    size_of(CRYSTAL, 2), 0) == 0,
	     "replace");
	commit(txn);
}

/* The other way round: over a region is new, all in the region old. */
enum outcome
judge_replaced(void)
{
	return judge_crystal() == NEW ? OLD : NEW;
}

void
act_append(void)
{
	struct strata_txn *txn = begin();

	need(strata_append(txn, APPENDED, NULL, "one more", 8, 0, NULL) == 0,
	     "append");
	commit(txn);
}

static uint64_t
nr_appended(void)
{
	struct strata_dimension dimension = {.nr_layers = 0};
	struct strata_reader *reader;
	int code;

	need(strata_reader_open(store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	code = strata_dimension_get(reader, APPENDED, &dimension);
	need(code == 0 || code == STRATA_ENODIM, "get");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	return dimension.nr_layers;
}

/* As many as in a node of a dimension, so that the next makes it higher. */
void
prepare_appended(void)
{
	struct strata_txn *txn = begin();

	if (nr_appended() != 0)
		need(strata_remove_dimension(txn, APPENDED) == 0, "remove");
	for (unsigned i = 0; i < STRATA_INLINE_ENTRIES; i++)
		need(strata_append(txn, APPENDED, NULL, "one more", 8, 0,
				   NULL) == 0,
		     "append");
	commit(txn);
}

enum outcome
judge_appended(void)
{
	uint64_t nr = nr_appended();

	need(nr == STRATA_INLINE_ENTRIES || nr == STRATA_INLINE_ENTRIES + 1,
	     "%" PRIu64 " layers", nr);
	return nr == STRATA_INLINE_ENTRIES ? OLD : NEW;
}

/* Removed, and its file with it. */
void
act_forget(void)
{
	need(strata_unload(store, CRYSTAL, /* forget= */ 1) == 0, "forget");
}

enum outcome
judge_forgotten(void)
{
	char path[256];

	need(strata_file_path(directory, CRYSTAL, path, sizeof(path)) == 0,
	     "path");
	if (generation_now(CRYSTAL) != 0) {
		need(strata_file_verify(path, 0, NULL) == 0,
		     "the file is gone, the dimension is not");
		return OLD;
	}
	return NEW;
}

/* Loaded, with protos over it, and a file of the next generation. */
void
prepare_contended(void)
{
	struct strata_txn *txn;

	prepare_loaded();
	txn = begin();
	put(txn, LOADED, 1, *before);
	put(txn, LOADED, 4, *before);
	commit(txn);
}

static void
check_rival(int code)
{
	need(code == 0 || code == STRATA_EEXIST || code == STRATA_ENODIM,
	     "beside another: %d", code);
}

void
rival_load(void)
{
	check_rival(strata_load(store, file, NULL));
}

void
rival_reload(void)
{
	check_rival(strata_reload(store, LOADED, file));
}

void
rival_crystallize(void)
{
	check_rival(strata_crystallize(store, LOADED));
}

/* Keeps what the one before, who is dead, has said. */
void
prepare_nothing(void)
{
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

	for (uint32_t id = 1; id <= SCENARIO_WAITERS; id++) {
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
	directory = folder;
	snprintf(file, sizeof(file), "%s/loaded", directory);
	before = proc_shared(sizeof(*before));
}

void
scenario_attached(struct strata_store *mine)
{
	store = mine;
}

void
scenario_begin(void)
{
	struct strata_txn *txn = begin();

	for (uint32_t d = 1; d <= GROUP; d++)
		put_all(txn, d, 2);
	put_all(txn, TOUCHED, 1);
	commit(txn);
}
