/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A pthread_rwlock_t that processes share, over an array of pointers; what is
 * replaced is overwritten in place. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "peer.h"
#include "proc.h"

struct shared {
	pthread_rwlock_t lock;
	_Alignas(64) char *places[PEER_TOTAL];
};

static const struct contents *held;
static struct shared *shared;
static char *own; /* where contents are replaced */

static inline void
peer_begin(void)
{
	if (pthread_rwlock_rdlock(&shared->lock) != 0)
		need(false, "rdlock");
}

static inline void
peer_end(void)
{
	if (pthread_rwlock_unlock(&shared->lock) != 0)
		need(false, "unlock");
}

static inline const struct link *
peer_peek(const struct link *at)
{
	return (const struct link *)(const void *)shared->places[at->index];
}

static inline const char *
peer_whole(const struct link *at, size_t *ret_size)
{
	*ret_size = held->sizes[at->index];
	return shared->places[at->index];
}

#include "peer-loops.h"

static bool
setup(const struct contents *contents)
{
	pthread_rwlockattr_t attrs;

	held = contents;
	shared = proc_shared(sizeof(*shared));
	need(pthread_rwlockattr_init(&attrs) == 0, "rwlock");
	need(pthread_rwlockattr_setpshared(&attrs, PTHREAD_PROCESS_SHARED) == 0,
	     "rwlock");
	need(pthread_rwlock_init(&shared->lock, &attrs) == 0, "rwlock");
	need(pthread_rwlockattr_destroy(&attrs) == 0, "rwlock");
	memcpy(shared->places, contents->data, sizeof(contents->data));
	if (!contents->replaced)
		return true;
	own = proc_shared(contents->memory_size);
	memcpy(own, contents->memory, contents->memory_size);
	for (uint32_t i = 0; i < PEER_TOTAL; i++)
		shared->places[i] =
			own + (contents->data[i] - contents->memory);
	return true;
}

static void
remove_all(void)
{
	need(munmap(shared, sizeof(*shared)) == 0, "munmap");
	if (held->replaced)
		need(munmap(own, held->memory_size) == 0, "munmap");
}

static void
nothing(void)
{
}

static void
publish(uint32_t index, const void *data, size_t size)
{
	need(pthread_rwlock_wrlock(&shared->lock) == 0, "wrlock");
	memcpy(shared->places[index], data, size);
	need(pthread_rwlock_unlock(&shared->lock) == 0, "unlock");
}

const struct peer peer_rwlock = {
	.name = "rwlock",
	.slowness = 3,
	.setup = setup,
	.remove = remove_all,
	.open = nothing,
	.close = nothing,
	PEER_SECTION_LOOPS,
	.publish = publish,
};
