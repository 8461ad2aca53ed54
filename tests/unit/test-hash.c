/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Checksums are XXH3-64, however they are computed. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <xxhash.h>

#include "hash.h"

TestSuite(hash, .timeout = 20);

#define SIZE 70000

static unsigned char *data;

static void
setup(void)
{
	size_t i;

	data = malloc(SIZE);
	for (i = 0; i < SIZE; i++)
		data[i] = (unsigned char)(i * 7 + (i >> 8) * 13);
}

static void
teardown(void)
{
	free(data);
}

Test(hash, of_nothing_is_the_published_value)
{
	cr_expect_eq(strata__hash(NULL, 0), UINT64_C(0x2d06800538d394c2));
}

/* All lengths around the borders of its algorithms, at odd addresses. */
Test(hash, is_xxh3_for_every_length, .init = setup, .fini = teardown)
{
	size_t size;

	for (size = 0; size < 1200; size++)
		cr_assert_eq(strata__hash(data + 1, size),
			     XXH3_64bits(data + 1, size), "%zu", size);
	for (size = 1200; size < SIZE; size += 977)
		cr_assert_eq(strata__hash(data, size), XXH3_64bits(data, size),
			     "%zu", size);
}

Test(hash, pieces_give_the_same_as_the_whole, .init = setup, .fini = teardown)
{
	size_t piece, at;

	for (piece = 1; piece < SIZE; piece = piece * 3 + 1) {
		struct strata__hash_state state;

		strata__hash_init(&state);
		for (at = 0; at < SIZE; at += piece)
			strata__hash_update(&state, data + at,
					    at + piece < SIZE ? piece
							      : SIZE - at);
		strata__hash_update(&state, NULL, 0);
		cr_assert_eq(strata__hash_digest(&state),
			     strata__hash(data, SIZE), "pieces of %zu", piece);
		cr_assert_eq(strata__hash_digest(&state),
			     strata__hash(data, SIZE),
			     "a digest changes nothing");
	}
}
