/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Private staging memory of one transaction: grows, is destroyed whole. */
#ifndef STRATA_ARENA_H
#define STRATA_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct strata__arena;

/*
 * jemalloc's arena calls where this process has them (weak references to
 * mallctl, mallocx, dallocx: libstrata never links jemalloc), chunks of malloc
 * where not, and always in sanitizer builds. cap_bytes bounds what it may hold.
 */
struct strata__arena *strata__arena_create(uint64_t cap_bytes);
/* 16-byte aligned memory of the arena, or NULL at the cap or out of memory. */
void *strata__arena_alloc(struct strata__arena *arena, size_t size);
uint64_t strata__arena_bytes(const struct strata__arena *arena);
void strata__arena_destroy(struct strata__arena *arena);

#endif
