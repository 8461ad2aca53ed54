/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Strata once more: the same store, read by the inlined read path. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <strata/inline.h>

#include "peer.h"
#include "proc.h"

static const struct contents *held;
static struct strata_store *attached;
static struct strata_reader *reader;

static inline void
peer_begin(void)
{
	if (strata_read_lock_inline(reader) != 0)
		need(false, "lock");
}

static inline void
peer_end(void)
{
	if (strata_read_unlock_inline(reader) != 0)
		need(false, "unlock");
}

static inline const char *
peer_whole(const struct link *at, size_t *ret_size)
{
	const void *data =
		strata_get_inline(reader, at->dimension, at->layer, ret_size);

	if (data == NULL)
		need(false, "get %" PRIu32 " %" PRIu32, at->dimension,
		     at->layer);
	return data;
}

static inline const struct link *
peer_peek(const struct link *at)
{
	size_t size;

	return (const struct link *)(const void *)peer_whole(at, &size);
}

#include "peer-loops.h"

/* The store is that of peer_strata, which is set up before. */
static bool
setup(const struct contents *contents)
{
	held = contents;
	return true;
}

static void
remove_nothing(void)
{
}

static void
open_it(void)
{
	need(strata_attach(strata_name(peer_strata_store()), STRATA_READ,
			   &attached) == 0,
	     "attach");
	need(strata_reader_open(attached, &reader) == 0, "reader");
}

static void
close_it(void)
{
	need(strata_reader_close(reader) == 0, "close");
	need(strata_detach(attached) == 0, "detach");
}

/* It has no commits of its own. */
const struct peer peer_strata_inline = {
	.name = "strata, inline",
	.slowness = 1,
	.setup = setup,
	.remove = remove_nothing,
	.open = open_it,
	.close = close_it,
	PEER_SECTION_LOOPS,
};
