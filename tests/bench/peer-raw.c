/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* An array of pointers, the limit of whatever does not copy; and publishing by
 * a memcpy and the store of a pointer. It protects no reader: a block that is
 * read may be overwritten after as many commits as there are spare blocks. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "peer.h"
#include "proc.h"

#define SPARES_MAX 128

struct shared {
	_Atomic(const char *) places[PEER_TOTAL];
};

static const struct contents *held;
static struct shared *shared;
static char *spare_memory;
static size_t spare_size;
static char *spares[SPARES_MAX]; /* a ring: the oldest is taken */
static unsigned nr_spares, next_spare;

static void
peer_begin(void)
{
}

static void
peer_end(void)
{
}

static inline const char *
place_of(const struct link *at)
{
	/* relaxed, with the release of publish(): what is read through the
	 * pointer depends on it, and acquire would keep the compiler from
	 * knowing where the array is. */
	return atomic_load_explicit(&shared->places[at->index],
				    memory_order_relaxed);
}

static inline const struct link *
peer_peek(const struct link *at)
{
	return (const struct link *)(const void *)place_of(at);
}

static inline const char *
peer_whole(const struct link *at, size_t *ret_size)
{
	*ret_size = held->sizes[at->index];
	return place_of(at);
}

#include "peer-loops.h"

static bool
setup(const struct contents *contents)
{
	size_t stride = contents->largest + 5 * 64;

	held = contents;
	shared = proc_shared(sizeof(*shared));
	for (uint32_t i = 0; i < PEER_TOTAL; i++)
		atomic_store_explicit(&shared->places[i], contents->data[i],
				      memory_order_relaxed);
	if (!contents->replaced)
		return true;
	nr_spares = contents->largest >= 1 << 20 ? 20 : SPARES_MAX;
	spare_size = nr_spares * stride;
	spare_memory = proc_shared(spare_size);
	for (unsigned i = 0; i < nr_spares; i++)
		spares[i] = spare_memory + i * stride;
	next_spare = 0;
	return true;
}

static void
remove_all(void)
{
	need(munmap(shared, sizeof(*shared)) == 0, "munmap");
	if (held->replaced)
		need(munmap(spare_memory, spare_size) == 0, "munmap");
}

static void
nothing(void)
{
}

static void
publish(uint32_t index, const void *data, size_t size)
{
	char *block = spares[next_spare];

	memcpy(block, data, size);
	spares[next_spare] = (char *)(uintptr_t)atomic_load_explicit(
		&shared->places[index], memory_order_relaxed);
	/* release: with the dependency in place_of() */
	atomic_store_explicit(&shared->places[index], block,
			      memory_order_release);
	next_spare = (next_spare + 1) % nr_spares;
}

const struct peer peer_raw = {
	.name = "raw",
	.slowness = 1,
	.setup = setup,
	.remove = remove_all,
	.open = nothing,
	.close = nothing,
	PEER_LOOPS,
	.publish = publish,
};
