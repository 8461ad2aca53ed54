/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Random transactions on the index, against a sorted list that cannot be wrong.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../support/fixture.h"
#include "../support/proc.h"
#include "error.h"
#include "tree.h"

/*
 * A few versions are kept, each with the list of what it has to hold. After
 * every transaction what they hold is compared, and the blocks: a version must
 * reach exactly the blocks that were born by then and not yet retired; nothing
 * else may be in use. STRATA_TEST_SEED repeats a run.
 */

TestSuite(model_tree, .timeout = 540);

#define MAX_LAYERS 1500u
#define MAX_KEPT   5u

static const uint32_t dimensions[] = {1,   2,   3,   14,   15,     80,
				      511, 512, 513, 1024, 100000, 262143};
#define NR_DIMENSIONS (sizeof(dimensions) / sizeof(dimensions[0]))

struct item {
	uint32_t dimension; /* index in dimensions[] */
	uint32_t layer;
	struct strata_entry entry;
};

/* What a version holds: items in order; version of each dimension, 0: none. */
struct shadow {
	uint64_t dimensions[NR_DIMENSIONS];
	uint32_t nr;
	struct item items[MAX_LAYERS];
};

struct kept {
	uint64_t version, root;
	struct shadow shadow;
};

struct model {
	struct strata__space *space;
	struct strata__edit edit;
	uint64_t random;
	struct kept kept[MAX_KEPT]; /* the last is the current version */
	uint32_t nr_kept;
	struct shadow work; /* of the open edit */
	bool failed;        /* the open edit is out of room */
	uint64_t nr_commits, nr_aborts, nr_failures;
};

static uint32_t
pick(struct model *model, uint32_t nr)
{
	return test_random(&model->random) % nr;
}

/**** the shadow ****/

/* Where an item is or would be. */
static uint32_t
shadow_place(const struct shadow *shadow, uint32_t dimension, uint32_t layer)
{
	uint32_t low = 0, high = shadow->nr;

	while (low < high) {
		uint32_t i = (low + high) / 2;
		const struct item *item = &shadow->items[i];

		if (item->dimension < dimension ||
		    (item->dimension == dimension && item->layer < layer))
			low = i + 1;
		else
			high = i;
	}
	return low;
}

static struct item *
shadow_find(struct shadow *shadow, uint32_t dimension, uint32_t layer)
{
	struct item *item =
		&shadow->items[shadow_place(shadow, dimension, layer)];

	if (item == &shadow->items[shadow->nr] ||
	    item->dimension != dimension || item->layer != layer)
		return NULL;
	return item;
}

static void
shadow_put(struct shadow *shadow, const struct item *new)
{
	struct item *item = shadow_find(shadow, new->dimension, new->layer);
	uint32_t i = shadow_place(shadow, new->dimension, new->layer);

	if (item == NULL) {
		item = &shadow->items[i];
		memmove(item + 1, item, (shadow->nr - i) * sizeof(*item));
		shadow->nr++;
	}
	*item = *new;
	item->entry.flags |= STRATA_ENTRY_PRESENT;
}

static void
shadow_cut(struct shadow *shadow, uint32_t from, uint32_t to)
{
	memmove(&shadow->items[from], &shadow->items[to],
		(shadow->nr - to) * sizeof(shadow->items[0]));
	shadow->nr -= to - from;
}

/**** comparing ****/

struct compare {
	const struct model *model;
	const struct shadow *shadow;
	uint64_t root;
	uint32_t item, dimension; /* next that is expected */
};

static int
compare_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct compare *compare = arg;
	const struct item *item = &compare->shadow->items[compare->item];
	const char *window = compare->model->space->window;
	uint64_t slot;

	cr_assert_lt(compare->item, compare->shadow->nr, "layer %u", layer);
	cr_assert_eq(item->dimension, compare->dimension);
	cr_assert_eq(item->layer, layer);
	cr_assert_eq(memcmp(&item->entry, entry, sizeof(*entry)), 0);
	slot = strata__tree_slot(window, compare->root,
				 dimensions[item->dimension]);
	cr_assert_eq(strata__tree_entry(window, slot, layer), entry);
	compare->item++;
	return 0;
}

/* The counts of a dimension whose items end before the next that is expected.
 */
static void
compare_counts(const struct compare *compare, uint32_t first, uint64_t slot)
{
	const struct strata__dimnode *dimnode =
		strata__tree_dimnode(compare->model->space->window, slot);
	uint64_t bytes = 0, protos = 0;
	uint32_t i;

	for (i = first; i < compare->item; i++) {
		const struct strata_entry *entry =
			&compare->shadow->items[i].entry;

		bytes += entry->size;
		protos += !(entry->flags & STRATA_ENTRY_REGION);
	}
	cr_assert_eq(dimnode->nr_layers, compare->item - first);
	cr_assert_eq(dimnode->nr_protos, protos);
	cr_assert_eq(dimnode->content_bytes, bytes);
	cr_assert_eq(dimnode->version,
		     compare->shadow->dimensions[compare->dimension]);
}

static void
skip_absent(struct compare *compare)
{
	while (compare->dimension < NR_DIMENSIONS &&
	       compare->shadow->dimensions[compare->dimension] == 0)
		compare->dimension++;
}

static int
compare_dimension(uint32_t id, uint64_t slot, void *arg)
{
	struct compare *compare = arg;
	const char *window = compare->model->space->window;
	uint32_t first = compare->item;
	int64_t last = -1;

	skip_absent(compare);
	cr_assert_lt(compare->dimension, NR_DIMENSIONS);
	cr_assert_eq(id, dimensions[compare->dimension]);
	strata__tree_each_layer(window, slot, compare_layer, compare);
	compare_counts(compare, first, slot);
	if (compare->item > first)
		last = compare->shadow->items[compare->item - 1].layer;
	cr_assert_eq(strata__tree_last_layer(window, slot), last);
	compare->dimension++;
	return 0;
}

static void
check_contents(const struct model *model, uint64_t root,
	       const struct shadow *shadow)
{
	struct compare compare = {model, shadow, root, 0, 0};

	strata__tree_each_dimension(model->space->window, root,
				    compare_dimension, &compare);
	skip_absent(&compare);
	cr_assert_eq(compare.dimension, NR_DIMENSIONS);
	cr_assert_eq(compare.item, shadow->nr);
}

/* Finds the way that readers do it, the absent too. */
static void
check_random_find(struct model *model, uint64_t root, struct shadow *shadow,
		  uint32_t dimension, uint32_t layer)
{
	const char *window = model->space->window;
	const struct item *item = shadow_find(shadow, dimension, layer);
	const struct strata_entry *entry = NULL;
	uint64_t slot = strata__tree_slot(window, root, dimensions[dimension]);

	cr_assert_eq(slot != 0, shadow->dimensions[dimension] != 0);
	if (slot != 0)
		entry = strata__tree_entry(window, slot, layer);
	cr_assert_eq(entry != NULL, item != NULL, "%u/%u",
		     dimensions[dimension], layer);
}

/**** blocks ****/

struct reached {
	const struct strata__space *space;
	uint64_t version;
	uint64_t nr_nodes;
};

static int
reach_node(uint64_t ref, void *arg)
{
	struct reached *reached = arg;
	const struct strata__record *record;
	struct strata__block block;

	cr_assert(strata__block_at(reached->space, ref, &block));
	record = strata__block_record(reached->space, &block);
	cr_assert_leq(atomic_load(&record->birth), reached->version,
		      "a version reaches what was born later");
	if (atomic_load(&record->state) == STRATA_RETIRED)
		cr_assert_gt(atomic_load(&record->retirement), reached->version,
			     "a version reaches what was retired by then");
	reached->nr_nodes++;
	return 0;
}

/* How many blocks the records say that a version reaches. */
static uint64_t
nr_alive_at(const struct model *model, uint64_t version)
{
	const struct strata__record *record =
		strata__class_records(model->space, 0);
	uint64_t i, nr = 0;

	for (i = 0; i < model->space->geometry->classes[0].nr_blocks; i++) {
		uint32_t state = atomic_load(&record[i].state);

		if (state != STRATA_FREE &&
		    atomic_load(&record[i].birth) <= version &&
		    (state != STRATA_RETIRED ||
		     atomic_load(&record[i].retirement) > version))
			nr++;
	}
	return nr;
}

static void
check_kept(struct model *model, const struct kept *kept)
{
	struct reached reached = {model->space, kept->version, 0};
	struct strata__visitor visitor = {.node = reach_node, .arg = &reached};

	check_contents(model, kept->root, &kept->shadow);
	cr_assert_eq(strata__tree_walk(model->space, kept->root, &visitor), 0,
		     "%s", strata_last_error()->sentence);
	cr_assert_eq(reached.nr_nodes, nr_alive_at(model, kept->version),
		     "every block of a version is met in it");
}

static bool
is_kept_for_somebody(const struct model *model,
		     const struct strata__record *record)
{
	uint32_t i;

	for (i = 0; i < model->nr_kept; i++)
		if (atomic_load(&record->birth) <= model->kept[i].version &&
		    atomic_load(&record->retirement) > model->kept[i].version)
			return true;
	return false;
}

/* What the reclaim room does, without readers. */
static void
reclaim(struct model *model)
{
	struct strata__counters *counters = &model->space->catalog->counters;
	uint32_t *list = strata__retired_list(model->space);
	uint64_t i, nr = strata__count(&counters->nr_retired), left = 0;

	for (i = 0; i < nr; i++) {
		struct strata__block block = {list[i] >> 28,
					      list[i] & 0x0fffffff, 1};

		if (is_kept_for_somebody(
			    model, strata__block_record(model->space, &block)))
			list[left++] = list[i];
		else
			strata__pool_reclaim(model->space, &block);
	}
	strata__count_set(&counters->nr_retired, left);
}

static void
check(struct model *model)
{
	const struct strata__class_counters *counters =
		&model->space->catalog->counters.classes[0];
	struct kept *current = &model->kept[model->nr_kept - 1];
	const struct strata__hot *hot = &model->space->catalog->hot;
	uint32_t i;

	cr_assert_eq(atomic_load(&hot->version), current->version);
	cr_assert_eq(atomic_load(&hot->roots[current->version & 1]),
		     current->root);
	for (i = 0; i < model->nr_kept; i++)
		check_kept(model, &model->kept[i]);
	cr_assert_eq(atomic_load(&counters->live),
		     nr_alive_at(model, current->version));
	for (i = 0; i < 20; i++)
		check_random_find(model, current->root, &current->shadow,
				  pick(model, NR_DIMENSIONS), pick(model, 100));
}

/**** transactions ****/

static uint32_t
random_layer(struct model *model)
{
	static const uint32_t ranges[] = {
		10, 60, 70, 300, 16400, 40000, 8400000, UINT32_C(1) << 31};
	const struct item *item;

	if (model->work.nr > 0 && pick(model, 3) == 0) {
		item = &model->work.items[pick(model, model->work.nr)];
		return item->layer ^ pick(model, 2);
	}
	return pick(model, ranges[pick(model, 8)]);
}

/* An error that is no lack of room is a failure of the test. */
static bool
is_done(struct model *model, int rc)
{
	if (rc == 0)
		return true;
	cr_assert(rc == STRATA_ECLASS || rc == STRATA_ELIMIT, "%s",
		  strata_last_error()->sentence);
	model->failed = true;
	return false;
}

static void
do_put(struct model *model, uint32_t dimension, uint32_t layer)
{
	struct item item = {
		.dimension = dimension,
		.layer = layer,
		.entry = {.content = test_random(&model->random),
			  .size = pick(model, 1 << 30),
			  .version = model->edit.version,
			  .parent = -1,
			  .flags = pick(model, 4) << 1},
	};
	const struct item *there;
	struct strata_entry old;

	if (model->work.nr == MAX_LAYERS ||
	    !is_done(model,
		     strata__tree_put(&model->edit, dimensions[dimension],
				      layer, &item.entry, &old)))
		return;
	there = shadow_find(&model->work, dimension, layer);
	if (there == NULL)
		cr_assert_eq(old.flags, 0);
	else
		cr_assert_eq(memcmp(&old, &there->entry, sizeof(old)), 0);
	shadow_put(&model->work, &item);
	model->work.dimensions[dimension] = model->edit.version;
}

static void
do_remove(struct model *model, uint32_t dimension, uint32_t layer)
{
	struct item *item = shadow_find(&model->work, dimension, layer);
	struct strata_entry old = {0};
	uint32_t i = item - model->work.items;
	int rc;

	rc = strata__tree_remove(&model->edit, dimensions[dimension], layer,
				 &old);
	if (item == NULL) {
		cr_assert_eq(rc, model->work.dimensions[dimension] == 0
					 ? STRATA_ENODIM
					 : STRATA_ENOLAYER);
		return;
	}
	if (!is_done(model, rc))
		return;
	cr_assert_eq(memcmp(&old, &item->entry, sizeof(old)), 0);
	shadow_cut(&model->work, i, i + 1);
	model->work.dimensions[dimension] = model->edit.version;
}

static void
do_remove_some(struct model *model)
{
	struct item item = {.dimension = pick(model, NR_DIMENSIONS),
			    .layer = random_layer(model)};

	if (model->work.nr > 0 && pick(model, 8) != 0)
		item = model->work.items[pick(model, model->work.nr)];
	do_remove(model, item.dimension, item.layer);
}

static void
do_remove_dimension(struct model *model, uint32_t dimension)
{
	struct shadow *work = &model->work;
	int rc = strata__tree_remove_dimension(&model->edit,
					       dimensions[dimension]);

	if (work->dimensions[dimension] == 0) {
		cr_assert_eq(rc, STRATA_ENODIM);
		return;
	}
	if (!is_done(model, rc))
		return;
	shadow_cut(work, shadow_place(work, dimension, 0),
		   shadow_place(work, dimension + 1, 0));
	work->dimensions[dimension] = 0;
}

static void
do_describe(struct model *model, uint32_t dimension)
{
	struct strata__dimnode *dimnode;
	bool create = pick(model, 2);
	int rc;

	rc = strata__tree_dimension(&model->edit, dimensions[dimension], create,
				    &dimnode);
	if (!create && model->work.dimensions[dimension] == 0) {
		cr_assert_eq(rc, STRATA_ENODIM);
		return;
	}
	if (is_done(model, rc))
		model->work.dimensions[dimension] = model->edit.version;
}

/* Puts and removals take turns in having the upper hand; what may use the
 * reserve only removes. */
static void
do_something(struct model *model)
{
	uint32_t puts = model->edit.take_flags != 0       ? 0
			: model->nr_commits / 64 % 2 != 0 ? 30
							  : 75;
	uint32_t chance = pick(model, 100);

	if (chance < puts)
		do_put(model, pick(model, NR_DIMENSIONS), random_layer(model));
	else if (chance < 96)
		do_remove_some(model);
	else if (chance < 98 && puts > 0)
		do_describe(model, pick(model, NR_DIMENSIONS));
	else
		do_remove_dimension(model, pick(model, NR_DIMENSIONS));
}

/* A random version but the current is let go. */
static void
forget_one(struct model *model)
{
	uint32_t i = pick(model, model->nr_kept - 1);

	model->nr_kept--;
	memmove(&model->kept[i], &model->kept[i + 1],
		(model->nr_kept - i) * sizeof(model->kept[0]));
}

static void
commit(struct model *model)
{
	struct kept *kept;

	if (model->nr_kept == MAX_KEPT)
		forget_one(model);
	kept = &model->kept[model->nr_kept++];
	kept->root = model->edit.root;
	kept->shadow = model->work;
	kept->version = strata__edit_commit(&model->edit);
	model->nr_commits++;
}

static void
transaction(struct model *model)
{
	uint32_t nr = 1 + pick(model, 1 << pick(model, 7));

	cr_assert_eq(strata__edit_begin(&model->edit), 0);
	model->work = model->kept[model->nr_kept - 1].shadow;
	/* A full store is helped by removals, for which there is a reserve. */
	model->edit.take_flags = model->failed ? STRATA_TAKE_RESERVE : 0;
	model->failed = false;
	while (nr-- > 0 && !model->failed)
		do_something(model);
	if (!model->failed)
		check_contents(model, model->edit.root, &model->work);
	if (model->failed || pick(model, 5) == 0) {
		strata__edit_abort(&model->edit);
		model->nr_aborts++;
		model->nr_failures += model->failed;
		/* Somebody has to go when the room is all kept. */
		if (model->failed && model->nr_kept > 1)
			forget_one(model);
	} else {
		commit(model);
	}
}

/* Nobody is left: what remains is the current version and nothing else. */
static void
check_end(struct model *model)
{
	while (model->nr_kept > 1)
		forget_one(model);
	reclaim(model);
	check(model);
	cr_assert_eq(
		strata__count(
			&model->space->catalog->counters.classes[0].retired),
		0);
}

static uint32_t
nr_transactions(void)
{
	const char *length = getenv("STRATA_TEST_LENGTH");

	if (length == NULL)
		return 3000;
	return strcmp(length, "long") == 0 ? 60000 : 500;
}

static void
run(const char *what, uint64_t limit, bool expect_failures)
{
	struct model *model = calloc(1, sizeof(*model));
	uint32_t i;

	cr_assert_not_null(model);
	model->random = test_seed_of(what);
	model->space = fixture_space(limit);
	strata__edit_init(&model->edit, model->space);
	model->nr_kept = 1; /* version 0, empty */
	for (i = nr_transactions(); i > 0; i--) {
		transaction(model);
		reclaim(model);
		check(model);
	}
	check_end(model);
	cr_assert_gt(model->nr_commits, 0);
	cr_assert_gt(model->nr_aborts, 0);
	cr_assert_eq(model->nr_failures > 0, expect_failures,
		     "%" PRIu64 " edits were out of room", model->nr_failures);
	strata__edit_fini(&model->edit);
	fixture_space_free(model->space);
	free(model);
}

Test(model_tree, every_version_holds_what_was_put)
{
	run("model_tree", UINT64_C(256) << 20, /* expect_failures= */ false);
}

/* Then nodes are made of what their blocks had before, as they are in what is
 * installed. */
Test(model_tree, so_does_it_where_nothing_is_poisoned)
{
	strata__broken = STRATA_NO_POISON;
	run("model_tree, no poison", UINT64_C(256) << 20,
	    /* expect_failures= */ false);
}

Test(model_tree, so_does_it_when_room_is_short)
{
	run("model_tree, short of room", STRATA_LIMIT_MIN,
	    /* expect_failures= */ true);
}
