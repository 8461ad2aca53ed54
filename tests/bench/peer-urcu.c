/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* liburcu's memb flavour over an array of pointers: threads of one process. */
#include <string.h>

#include "peer.h"
#include "proc.h"

#ifdef HAVE_URCU_MEMB

/* The read side as its users get it when they care: inlined. */
#define _LGPL_SOURCE
#include <urcu/urcu-memb.h>

static const struct contents *held;

static inline void
peer_begin(void)
{
	urcu_memb_read_lock();
}

static inline void
peer_end(void)
{
	urcu_memb_read_unlock();
}

static inline const char *
place_of(const struct link *at)
{
	return rcu_dereference(((char *const *)held->data)[at->index]);
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
	held = contents;
	return true;
}

static void
nothing(void)
{
}

static void
enter(void)
{
	urcu_memb_register_thread();
}

static void
leave(void)
{
	urcu_memb_unregister_thread();
}

const struct peer peer_urcu = {
	.name = "liburcu memb",
	.slowness = 1,
	.threads_only = true,
	.setup = setup,
	.remove = nothing,
	.open = enter,
	.close = leave,
	PEER_SECTION_LOOPS,
};

#else

static bool
setup(const struct contents *contents)
{
	(void)contents;
	bench_note("built without liburcu-memb: liburcu is left out");
	return false;
}

const struct peer peer_urcu = {.name = "liburcu memb", .setup = setup};

#endif
