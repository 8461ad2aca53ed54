/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Staging memory. */
#include <criterion/criterion.h>
#include <string.h>

#include "arena.h"

TestSuite(arena, .timeout = 20);

#define MIB ((uint64_t)1 << 20)

Test(arena, gives_aligned_memory_that_does_not_overlap)
{
	struct strata__arena *arena = strata__arena_create(16 * MIB);
	unsigned char *blocks[400];
	size_t sizes[400], i, j;

	for (i = 0; i < 400; i++) {
		sizes[i] = i * i % 40000;
		blocks[i] = strata__arena_alloc(arena, sizes[i]);
		cr_assert_not_null(blocks[i]);
		cr_assert_eq((uintptr_t)blocks[i] % 16, 0);
		memset(blocks[i], (int)i, sizes[i]);
	}
	for (i = 0; i < 400; i++)
		for (j = 0; j < sizes[i]; j++)
			cr_assert_eq(blocks[i][j], (unsigned char)i);
	strata__arena_destroy(arena);
}

Test(arena, holds_no_more_than_its_cap)
{
	struct strata__arena *arena = strata__arena_create(MIB);
	unsigned nr = 0;

	while (strata__arena_alloc(arena, 1000) != NULL)
		nr++;
	cr_expect(nr > 900 && nr <= 1048, "%u", nr);
	cr_expect_leq(strata__arena_bytes(arena), MIB);
	cr_expect_null(strata__arena_alloc(arena, MIB));
	strata__arena_destroy(arena);
}

Test(arena, refuses_impossible_sizes)
{
	struct strata__arena *arena = strata__arena_create(UINT64_MAX);

	cr_expect_null(strata__arena_alloc(arena, SIZE_MAX));
	cr_expect_null(strata__arena_alloc(arena, SIZE_MAX - 8));
	cr_expect_not_null(strata__arena_alloc(arena, 0));
	strata__arena_destroy(arena);
	strata__arena_destroy(NULL);
}

Test(arena, a_small_cap_is_used_to_its_end)
{
	struct strata__arena *arena = strata__arena_create(4096);

	cr_expect_not_null(strata__arena_alloc(arena, 1000));
	cr_expect_not_null(strata__arena_alloc(arena, 1000));
	cr_expect_null(strata__arena_alloc(arena, 4000));
	strata__arena_destroy(arena);
}

Test(arena, many_may_come_and_go)
{
	struct strata__arena *arenas[20];
	unsigned round, i;

	for (round = 0; round < 5; round++) {
		for (i = 0; i < 20; i++) {
			arenas[i] = strata__arena_create(MIB);
			memset(strata__arena_alloc(arenas[i], 50000), (int)i,
			       50000);
			cr_assert_geq(strata__arena_bytes(arenas[i]), 50000);
		}
		for (i = 0; i < 20; i++)
			strata__arena_destroy(arenas[i]);
	}
}
