/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The lives of blocks: the records alone tell it all, whoever dies when. */
#include <setjmp.h>
#include <stdio.h>

#include "../support/proc.h"
#include "pools.h"

TestSuite(pool_life, .init = setup, .fini = teardown, .timeout = 120);

/**** hints ****/

Test(pool_life, a_false_hint_is_noticed)
{
	struct strata__block a = take(100, 0), b, other;
	uint32_t *stack = strata__free_stack(space, 0);
	uint64_t top = strata__count(&counters(0)->nr_free) - 1;

	stack[top] = a.index; /* is in use */
	b = take(100, 0);
	cr_assert_neq(b.index, a.index);
	check_all();
	strata__count_set(&counters(0)->nr_free, UINT64_MAX);
	other = take(100, 0);
	cr_assert(other.index != a.index && other.index != b.index);
	check_all();
}

Test(pool_life, a_run_mends_a_stack_that_does_not_know_it)
{
	uint64_t unit = stride(last_class());
	uint32_t *stack;
	uint64_t top;

	(void)take(unit, 0);
	stack = strata__free_stack(space, last_class());
	top = strata__count(&counters(last_class())->nr_free) - 1;
	stack[top] = stack[0]; /* one is there twice, one is not */
	(void)take(3 * unit, 0);
	check_all();
}

Test(pool_life, rebuilding_needs_nothing_but_the_records)
{
	struct strata__counters before;
	struct strata__block block;
	uint32_t i, c;

	for (i = 0; i < 300; i++) {
		block = take(i * 1500 % (60 * KIB), 0);
		if (i % 3 == 0)
			strata__pool_retire(space, &block, 2);
		else if (i % 5 == 0)
			strata__pool_untake(space, &block);
	}
	check_all();
	memcpy(&before, &space->catalog->counters, sizeof(before));
	fixture_corrupt_hints(space);
	strata__pool_rebuild(space);
	for (c = 0; c <= last_class(); c++) {
		cr_assert_eq(strata__count(&counters(c)->grown),
			     strata__count(&before.classes[c].grown));
		cr_assert_eq(strata__count(&counters(c)->live),
			     strata__count(&before.classes[c].live));
		cr_assert_eq(strata__count(&counters(c)->retired),
			     strata__count(&before.classes[c].retired));
		cr_assert_eq(strata__count(&counters(c)->nr_free),
			     strata__count(&before.classes[c].nr_free));
	}
	check_all();
}

/**** shrinking ****/

Test(pool_life, what_is_free_at_the_end_is_given_back)
{
	struct strata__block blocks[300];
	uint64_t before, after;
	uint32_t i;

	for (i = 0; i < 300; i++)
		blocks[i] = take(16 * KIB, 0);
	for (i = 10; i < 300; i++)
		strata__pool_untake(space, &blocks[i]);
	before = strata__count(&space->catalog->counters.reserved);
	cr_assert_gt(strata__pool_shrink(space), 0);
	after = strata__count(&space->catalog->counters.reserved);
	cr_assert_lt(after, before);
	check_all();
	cr_assert_eq(strata__pool_shrink(space), 0);
	for (i = 10; i < 300; i++) {
		blocks[i] = take(16 * KIB, 0);
		memset(strata__at(space, strata__block_ref(space, &blocks[i])),
		       1, 16 * KIB);
	}
	check_all();
}

Test(pool_life, a_run_at_the_end_is_not_cut)
{
	struct strata__block low = take(6 * MIB, 0), high = take(1 * MIB, 0);
	char *at = strata__at(space, strata__block_ref(space, &high));

	strata__pool_untake(space, &low);
	(void)strata__pool_shrink(space);
	check_all();
	memset(at, 3, 1 * MIB);
	strata__pool_untake(space, &high);
	cr_assert_gt(strata__pool_shrink(space), 7 * MIB,
		     "an unused pool is its head");
	check_all();
}

Test(pool_life, the_node_reserve_is_not_given_back)
{
	struct strata__block blocks[1500];
	uint32_t i;

	for (i = 0; i < 1500; i++)
		blocks[i] = take(4096, STRATA_TAKE_NODE);
	for (i = 0; i < 1500; i++)
		strata__pool_untake(space, &blocks[i]);
	cr_assert_gt(strata__pool_shrink(space), 0);
	cr_assert_geq(strata__count(&counters(0)->nr_free),
		      STRATA_NODE_RESERVE);
	check_all();
	leave_room(0);
	for (i = 0; i < STRATA_NODE_RESERVE; i++)
		(void)take(4096, STRATA_TAKE_NODE | STRATA_TAKE_RESERVE);
}

/**** dying anywhere ****/

static jmp_buf killed;
static uint32_t points_left;

static void
kill_here(const char *name)
{
	(void)name;
	if (points_left-- == 0)
		longjmp(killed, 1);
}

/* Takes, retires, frees, grows and shrinks; block lives on. */
static void
live(struct strata__block *block)
{
	struct strata__block old;

	(void)strata__pool_take(space, 3 * MIB, 2, 0, &old);
	strata__pool_retire(space, &old, 3);
	strata__pool_reclaim(space, &old);
	(void)strata__pool_take(space, 16 * KIB, 4, 0, block);
	(void)strata__pool_take(space, 20 * KIB, 4, 0, &old);
	strata__pool_untake(space, &old);
	(void)strata__pool_shrink(space);
}

Test(pool_life, whoever_is_killed_leaves_records_that_can_be_believed)
{
	struct strata__block block;
	struct strata__record *record;
	volatile uint32_t nr;
	uint32_t c;

	for (nr = 0;; nr++) {
		teardown();
		setup();
		points_left = nr;
		strata__testpoint = kill_here;
		if (setjmp(killed) == 0) {
			live(&block);
			break;
		}
		strata__testpoint = NULL;
		strata__pool_rebuild(space);
		for (c = 0; c <= last_class(); c++)
			check_class(c);
		for (c = 0; c < 2; c++) {
			block = take(3 * MIB, 0);
			record = strata__block_record(space, &block);
			cr_assert_eq(atomic_load(&record->birth), 1);
		}
		for (c = 0; c <= last_class(); c++)
			check_class(c);
	}
	cr_assert_gt(nr, 20, "there are that many points");
}

/**** model ****/

/* A block as the model knows it; its first and last words are written. */
struct known {
	struct strata__block block;
	uint64_t birth, word;
	bool retired;
};

struct model {
	uint64_t random;
	struct known *known;
	size_t nr, max;
	char *owner[STRATA_CLASSES_MAX]; /* a byte for each block */
	uint64_t nr_refused;
};

static uint64_t
pick(struct model *model, uint64_t nr)
{
	return test_random(&model->random) % nr;
}

static uint64_t *
last_word(const struct strata__block *block)
{
	return (uint64_t *)((char *)strata__at(
				    space, strata__block_ref(space, block)) +
			    strata__block_bytes(space, block) -
			    sizeof(uint64_t));
}

static uint64_t *
first_word(const struct strata__block *block)
{
	return strata__at(space, strata__block_ref(space, block));
}

static void
own(struct model *model, const struct strata__block *block, char owned)
{
	uint32_t i;

	for (i = 0; i < block->run; i++) {
		cr_assert_neq(model->owner[block->class_][block->index + i],
			      owned, "a block has one owner");
		model->owner[block->class_][block->index + i] = owned;
	}
}

static uint64_t
pick_size(struct model *model)
{
	switch (pick(model, 6)) {
	case 0:
		return pick(model, 3 * MIB);
	case 1:
		return pick(model, 300 * KIB);
	case 2:
		return pick(model, 64 * KIB);
	case 3:
		return pick(model, 20 * KIB);
	default:
		return pick(model, 5 * KIB);
	}
}

static void
model_take(struct model *model)
{
	struct known *known = &model->known[model->nr];
	uint64_t size = pick_size(model);
	unsigned flags = 0;
	int code;

	if (size <= 4096 && pick(model, 2) == 0)
		flags = STRATA_TAKE_NODE;
	if (pick(model, 4) == 0)
		flags |= STRATA_TAKE_RESERVE;
	known->birth = model->random;
	code = strata__pool_take(space, size, known->birth, flags,
				 &known->block);
	if (code != 0) {
		cr_assert(code == STRATA_ELIMIT || code == STRATA_ECLASS);
		model->nr_refused++;
		return;
	}
	cr_assert_geq(strata__block_bytes(space, &known->block), size);
	own(model, &known->block, 1);
	known->retired = false;
	known->word = test_random(&model->random);
	*first_word(&known->block) = known->word;
	*last_word(&known->block) = known->word;
	model->nr++;
}

static void
model_end(struct model *model, size_t i)
{
	struct known *known = &model->known[i];

	cr_assert(*first_word(&known->block) == known->word &&
			  *last_word(&known->block) == known->word,
		  "nobody else wrote to it");
	cr_assert_eq(
		atomic_load(&strata__block_record(space, &known->block)->birth),
		known->birth);
	if (known->retired) {
		reclaim(&known->block);
	} else if (pick(model, 3) != 0) {
		strata__pool_retire(space, &known->block, 1);
		known->retired = true;
		return;
	} else {
		strata__pool_untake(space, &known->block);
	}
	own(model, &known->block, 0);
	*known = model->known[--model->nr];
}

static void
model_step(struct model *model)
{
	uint64_t dice = pick(model, 1000);

	if (dice < 3)
		(void)strata__pool_shrink(space);
	else if (dice < 6)
		strata__pool_rebuild(space);
	else if (dice < 9) {
		fixture_corrupt_hints(space);
		strata__pool_rebuild(space);
	} else if (dice < 500 && model->nr < model->max)
		model_take(model);
	else if (model->nr > 0)
		model_end(model, pick(model, model->nr));
}

static uint32_t
nr_steps(void)
{
	const char *length = getenv("STRATA_TEST_LENGTH");

	if (length == NULL)
		return 60000;
	return strcmp(length, "long") == 0 ? 2000000 : 10000;
}

static void
run_model(const char *what, uint64_t limit, size_t max)
{
	struct model model = {.random = test_seed_of(what), .max = max};
	uint32_t c, i;

	fixture_space_free(space);
	space = fixture_space(limit);
	model.known = calloc(max, sizeof(*model.known));
	for (c = 0; c <= last_class(); c++)
		model.owner[c] =
			calloc(space->geometry->classes[c].nr_blocks, 1);
	for (i = nr_steps(); i > 0; i--) {
		model_step(&model);
		if (i % 64 == 0)
			check_all();
	}
	while (model.nr > 0)
		model_end(&model, model.nr - 1);
	check_all();
	for (c = 0; c <= last_class(); c++) {
		cr_assert_eq(strata__count(&counters(c)->live), 0);
		free(model.owner[c]);
	}
	free(model.known);
	cr_assert(limit > 16 * MIB || model.nr_refused > 0);
}

Test(pool_life, a_model_agrees)
{
	run_model("pool, roomy", 256 * MIB, 400);
}

Test(pool_life, a_model_agrees_when_room_is_short)
{
	run_model("pool, short of room", 10 * MIB, 4000);
}
