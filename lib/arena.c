/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A transaction's memory: chunks, handed out from the front, freed together. */

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "arena.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/*
 * Small things share chunks; what is larger than a quarter of one gets a chunk
 * of its own, so that little is wasted at the ends. Under sanitizers everything
 * gets its own, so that they see the bounds.
 */
#define CHUNK_SIZE ((size_t)64 << 10)
#define SHARED_MAX (SANITIZED ? (size_t)0 : CHUNK_SIZE / 4)
/* What a small transaction stages fits into the arena itself, whose size is one
 * that malloc has at hand. */
#define FIRST_SIZE (SANITIZED ? (size_t)16 : (size_t)768)
#define ALIGN      ((size_t)16)

struct chunk {
	struct chunk *next;
	size_t size; /* with this head */
};

#define CHUNK_HEAD ((sizeof(struct chunk) + ALIGN - 1) & ~(ALIGN - 1))

struct strata__arena {
	struct chunk *chunks;
	char *at, *end; /* what is left of the shared chunk */
	uint64_t cap, bytes;
	int source; /* jemalloc arena, or -1: malloc; taken with a chunk */
	bool source_taken, first_used;
	_Alignas(ALIGN) char first[FIRST_SIZE];
};

/**** jemalloc, if the process has it ****/

/*
 * Its non-standard calls, by the names it has in a program that links it. We
 * never do: a library does not choose the malloc of its host. The values of the
 * flags are part of its ABI.
 */
extern void *mallocx(size_t size, int flags) __attribute__((weak));
extern void dallocx(void *p, int flags) __attribute__((weak));
extern int mallctl(const char *name, void *old, size_t *old_size, void *new,
		   size_t new_size) __attribute__((weak));

#define TCACHE_NONE  (1 << 8)
#define IN_ARENA(nr) (((nr) + 1) << 20)
/* jemalloc has 12 bits for it. */
#define SOURCE_MAX 4000

/*
 * Making an arena costs far more than a small transaction, so a few that were
 * emptied are kept; they keep some of their pages, warm. Nobody waits for the
 * mutex: in the child of a fork it may stay locked for ever.
 */
#define IDLE_MAX 8
static pthread_mutex_t idle_mutex = PTHREAD_MUTEX_INITIALIZER;
static int idle[IDLE_MAX];
static unsigned nr_idle;

static int
source_take(void)
{
	unsigned nr = 0;
	size_t size = sizeof(nr);
	int source = -1;

	if (SANITIZED || mallocx == NULL || dallocx == NULL || mallctl == NULL)
		return -1;
	if (pthread_mutex_trylock(&idle_mutex) == 0) {
		if (nr_idle > 0)
			source = idle[--nr_idle];
		pthread_mutex_unlock(&idle_mutex);
	}
	if (source >= 0)
		return source;
	if (mallctl("arenas.create", &nr, &size, NULL, 0) != 0)
		return -1;
	return nr < SOURCE_MAX ? (int)nr : -1;
}

static bool
source_command(int source, const char *command)
{
	char name[40];

	snprintf(name, sizeof(name), "arena.%d.%s", source, command);
	return mallctl(name, NULL, NULL, NULL, 0) == 0;
}

/* Empties it, whole; paired with source_take(). */
static void
source_give(int source)
{
	bool kept = false;

	if (source_command(source, "reset") &&
	    pthread_mutex_trylock(&idle_mutex) == 0) {
		if (nr_idle < IDLE_MAX) {
			idle[nr_idle++] = source;
			kept = true;
		}
		pthread_mutex_unlock(&idle_mutex);
	}
	if (!kept)
		source_command(source, "destroy");
}

/**** chunks ****/

static void *
chunk_memory(int source, size_t size)
{
	if (source < 0)
		return malloc(size);
	return mallocx(size, TCACHE_NONE | IN_ARENA(source));
}

/* One with room for size bytes, or NULL; size is below half of SIZE_MAX. */
static struct chunk *
chunk_add(struct strata__arena *arena, size_t size)
{
	size_t whole = CHUNK_HEAD + size;
	struct chunk *chunk;

	if (whole > arena->cap - arena->bytes)
		return NULL;
	if (!arena->source_taken) {
		arena->source = source_take();
		arena->source_taken = true;
	}
	chunk = chunk_memory(arena->source, whole);
	if (chunk == NULL)
		return NULL;
	chunk->next = arena->chunks;
	chunk->size = whole;
	arena->chunks = chunk;
	arena->bytes += whole;
	return chunk;
}

struct strata__arena *
strata__arena_create(uint64_t cap_bytes)
{
	struct strata__arena *arena = malloc(sizeof(*arena));

	if (arena == NULL)
		return NULL;
	arena->chunks = NULL;
	arena->at = arena->end = NULL;
	arena->cap = cap_bytes;
	arena->bytes = 0;
	arena->source = -1;
	arena->source_taken = false;
	arena->first_used = SANITIZED;
	return arena;
}

/* A new shared chunk, smaller near the cap. */
static bool
chunk_share(struct strata__arena *arena, size_t least)
{
	struct chunk *chunk;

	if (!arena->first_used && least <= FIRST_SIZE &&
	    FIRST_SIZE <= arena->cap - arena->bytes) {
		arena->first_used = true;
		arena->bytes += FIRST_SIZE;
		arena->at = arena->first;
		arena->end = arena->first + FIRST_SIZE;
		return true;
	}
	chunk = chunk_add(arena, CHUNK_SIZE - CHUNK_HEAD);
	if (chunk == NULL)
		chunk = chunk_add(arena, least);
	if (chunk == NULL)
		return false;
	arena->at = (char *)chunk + CHUNK_HEAD;
	arena->end = (char *)chunk + chunk->size;
	return true;
}

void *
strata__arena_alloc(struct strata__arena *arena, size_t size)
{
	struct chunk *chunk;
	size_t rounded;
	char *p;

	if (size > SIZE_MAX / 2)
		return NULL;
	rounded = (size > 0 ? size + ALIGN - 1 : ALIGN) & ~(ALIGN - 1);
	if (rounded > SHARED_MAX) {
		chunk = chunk_add(arena, SANITIZED ? size : rounded);
		return chunk != NULL ? (char *)chunk + CHUNK_HEAD : NULL;
	}
	if ((size_t)(arena->end - arena->at) < rounded &&
	    !chunk_share(arena, rounded))
		return NULL;
	p = arena->at;
	arena->at += rounded;
	return p;
}

uint64_t
strata__arena_bytes(const struct strata__arena *arena)
{
	return arena->bytes;
}

void
strata__arena_destroy(struct strata__arena *arena)
{
	struct chunk *chunk, *next;

	if (arena == NULL)
		return;
	for (chunk = arena->source < 0 ? arena->chunks : NULL; chunk != NULL;
	     chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	if (arena->source >= 0)
		source_give(arena->source);
	free(arena);
}
