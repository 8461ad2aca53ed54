/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Fences, in a form that ThreadSanitizer understands where it is on. */
#ifndef STRATA_FENCE_H
#define STRATA_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "testpoint.h"

#if defined(__SANITIZE_THREAD__)
#define STRATA_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STRATA_TSAN 1
#endif
#endif

/*
 * ThreadSanitizer does not model fences, nor membarrier. In its build every
 * fence is a read-modify-write of one word, which it does model, and which is at
 * least as strong.
 */
#ifdef STRATA_TSAN

extern _Atomic unsigned strata__fence_word;

static inline void
strata__fence_seq_cst(void)
{
	atomic_fetch_add_explicit(&strata__fence_word, 1, memory_order_seq_cst);
}

static inline void
strata__fence_acquire(void)
{
	strata__fence_seq_cst();
}

static inline void
strata__fence_release(void)
{
	strata__fence_seq_cst();
}

#else

static inline void
strata__fence_seq_cst(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

static inline void
strata__fence_acquire(void)
{
	atomic_thread_fence(memory_order_acquire);
}

static inline void
strata__fence_release(void)
{
	atomic_thread_fence(memory_order_release);
}

#endif

/*
 * The light fence, after the store of the pin: where the heavy one is a
 * membarrier, the compiler is all that must be told. Letter B.
 */
static inline void
strata__light_fence(bool full)
{
	if (STRATA_BROKEN(STRATA_NO_LIGHT_FENCE))
		return;
	if (__builtin_expect(full, false))
		strata__fence_seq_cst();
	else
		atomic_signal_fence(memory_order_seq_cst);
}

#endif
