/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
#include <criterion/criterion.h>
#include <string.h>

#include "../support/fixture.h"
#include "../support/proc.h"
#include "lines.h"
#include "pool.h"

#define LIMIT (UINT64_C(32) << 20)

static struct strata__space *space;
static uint64_t birth;

static void
setup(void)
{
	space = fixture_space(LIMIT);
	/* What is known of a block is about what was left there. */
	strata__broken = STRATA_NO_POISON;
}

static void
teardown(void)
{
	fixture_space_free(space);
}

TestSuite(lines, .init = setup, .fini = teardown, .timeout = 60);

static struct strata__block
take(void)
{
	struct strata__block block;

	cr_assert_eq(strata__pool_take(space, STRATA_NODE_SIZE, ++birth,
				       STRATA_TAKE_NODE, &block),
		     0);
	return block;
}

/* The same block again, as it was left. */
static void
take_again(struct strata__block *block)
{
	uint32_t index = block->index;

	strata__pool_untake(space, block);
	*block = take();
	cr_assert_eq(block->index, index, "last in, first out");
}

static unsigned char *
memory(const struct strata__block *block)
{
	return strata__at(space, strata__block_ref(space, block));
}

static void
write_to(const struct strata__block *block, size_t at, size_t size)
{
	strata__lines_use(space, memory(block) + at, size);
	memset(memory(block) + at, 0xff, size);
}

static void
expect_clear(const struct strata__block *block)
{
	static const unsigned char zeroes[STRATA_NODE_SIZE];

	strata__lines_clear(space, block);
	cr_expect_eq(memcmp(memory(block), zeroes, sizeof(zeroes)), 0);
	cr_expect(strata__lines_are_right(space, block));
}

static void
expect_copy(const struct strata__block *to, const struct strata__block *from)
{
	strata__lines_copy(space, to, from);
	cr_expect_eq(memcmp(memory(to), memory(from), STRATA_NODE_SIZE), 0);
	cr_expect(strata__lines_are_right(space, to));
}

Test(lines, a_block_is_cleared_whatever_was_there)
{
	struct strata__block block = take();

	memset(memory(&block), 0xee, STRATA_NODE_SIZE);
	strata__lines_begin(space, &block);
	expect_clear(&block);
	write_to(&block, 63, 2);
	write_to(&block, 4095, 1);
	take_again(&block);
	strata__lines_begin(space, &block);
	expect_clear(&block);
}

Test(lines, only_what_is_known_to_be_used_is_cleared)
{
	struct strata__block block = take();

	strata__lines_begin(space, &block);
	strata__lines_clear(space, &block);
	write_to(&block, 128, 64);
	take_again(&block);
	strata__lines_begin(space, &block);
	/* Behind its back, to see what is touched. */
	memory(&block)[127] = 1;
	memory(&block)[192] = 1;
	strata__lines_clear(space, &block);
	cr_expect_eq(memory(&block)[127], 1, "line 1 was known to be zero");
	cr_expect_eq(memory(&block)[128], 0);
	cr_expect_eq(memory(&block)[192], 1, "line 3 was known to be zero");
	cr_expect_not(strata__lines_are_right(space, &block));
}

Test(lines, a_life_of_another_writer_makes_it_unknown)
{
	struct strata__block block = take();

	strata__lines_begin(space, &block);
	strata__lines_clear(space, &block);
	take_again(&block);
	/* One life that this process says nothing of. */
	memset(memory(&block), 0xee, STRATA_NODE_SIZE);
	take_again(&block);
	strata__lines_begin(space, &block);
	expect_clear(&block);
}

Test(lines, where_runs_may_have_been_nothing_is_known)
{
	struct strata__block block = take();
	uint32_t nr_classes = space->catalog->geometry.nr_classes;

	strata__lines_begin(space, &block);
	strata__lines_clear(space, &block);
	take_again(&block);
	/* By a run that began before it: its record does not tell. */
	memset(memory(&block), 0xee, STRATA_NODE_SIZE);
	space->catalog->geometry.nr_classes = 1;
	strata__lines_begin(space, &block);
	expect_clear(&block);
	space->catalog->geometry.nr_classes = nr_classes;
}

Test(lines, a_node_of_another_writer_is_copied_whole)
{
	struct strata__block from = take(), to = take();

	memset(memory(&from), 0xee, STRATA_NODE_SIZE);
	memset(memory(&from) + 1024, 0, 1024);
	memset(memory(&to), 0xdd, STRATA_NODE_SIZE);
	strata__lines_begin(space, &to);
	expect_copy(&to, &from);
	/* And so is the copy, of which it is known what is zero. */
	take_again(&from);
	strata__lines_begin(space, &from);
	expect_copy(&from, &to);
}

Test(lines, contents_of_other_classes_do_no_harm)
{
	struct strata__block block;

	cr_assert_eq(strata__pool_take(space, 16 << 10, ++birth, 0, &block), 0);
	cr_assert_neq(block.class_, 0);
	strata__lines_begin(space, &block);
	write_to(&block, 0, 16 << 10);
	cr_expect(strata__lines_are_right(space, &block));
}

Test(lines, any_life_after_any_life)
{
	struct strata__block blocks[4];
	uint64_t random = test_seed_of("lines");

	for (unsigned i = 0; i < 4; i++) {
		blocks[i] = take();
		memset(memory(&blocks[i]), 0xee, STRATA_NODE_SIZE);
	}
	for (unsigned round = 0; round < 20000; round++) {
		struct strata__block *block = &blocks[test_random(&random) % 4];
		const struct strata__block *from =
			&blocks[test_random(&random) % 4];
		size_t at = test_random(&random) % STRATA_NODE_SIZE;

		take_again(block);
		if (test_random(&random) % 16 == 0) {
			/* A content, which is not spoken of. */
			memset(memory(block) + at, 0xcc, STRATA_NODE_SIZE - at);
			continue;
		}
		strata__lines_begin(space, block);
		if (from == block || test_random(&random) % 4 == 0)
			expect_clear(block);
		else
			expect_copy(block, from);
		write_to(block, at,
			 1 + test_random(&random) % (STRATA_NODE_SIZE - at));
		cr_assert(strata__lines_are_right(space, block));
	}
}
