/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* XXH3 by its run-time dispatch, without its after-effect. */

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#if defined(HAVE_XXH_DISPATCH) && defined(__x86_64__)
#define XXH_DISPATCH_DISABLE_REPLACE
#include <immintrin.h>
#include <xxh_x86dispatch.h>
#define DISPATCH 1
#else
#define DISPATCH 0
#endif

#include "hash.h"

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct strata__hash_state),
	       "the state fits");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(struct strata__hash_state),
	       "the state is aligned");

#if DISPATCH
/*
 * The AVX paths of xxHash 0.8.1 return with dirty upper halves of the vector
 * registers, and SSE code after that (all of ours) runs at a quarter of its
 * speed on some machines, until somebody cleans them.
 */
static __attribute__((target("avx"), noinline)) void
clean_vectors(void)
{
	_mm256_zeroupper();
}

/* Inputs up to this size never reach the vector code. */
#define SCALAR_MAX 240

static uint64_t
hash(const void *data, size_t size)
{
	uint64_t h = XXH3_64bits_dispatch(data, size);

	if (size > SCALAR_MAX && __builtin_cpu_supports("avx"))
		clean_vectors();
	return h;
}

static void
update(XXH3_state_t *state, const void *data, size_t size)
{
	XXH3_64bits_update_dispatch(state, data, size);
	if (__builtin_cpu_supports("avx"))
		clean_vectors();
}
#else
#define hash   XXH3_64bits
#define update XXH3_64bits_update
#endif

uint64_t
strata__hash(const void *data, size_t size)
{
	/* xxHash gets no null pointer, not even with size 0. */
	return hash(size > 0 ? data : "", size);
}

void
strata__hash_init(struct strata__hash_state *state)
{
	XXH3_64bits_reset((XXH3_state_t *)(void *)state);
}

void
strata__hash_update(struct strata__hash_state *state, const void *data,
		    size_t size)
{
	if (size > 0)
		update((XXH3_state_t *)(void *)state, data, size);
}

uint64_t
strata__hash_digest(const struct strata__hash_state *state)
{
	return XXH3_64bits_digest((const XXH3_state_t *)(const void *)state);
}
