/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * How both peers that are Strata read the store of peer_strata. Included by the
 * peer's own file, behind
 *
 *	#define PEER_CALL(call)     what this peer calls strata_<call>
 *
 * and with peer-loops.h at its end. No guard: this is not a header but text.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "proc.h"

static const struct contents *held;
static struct strata_store *attached;
static struct strata_reader *reader;

static inline void
peer_begin(void)
{
	if (PEER_CALL(read_lock)(reader) != 0)
		need(false, "lock");
}

static inline void
peer_end(void)
{
	if (PEER_CALL(read_unlock)(reader) != 0)
		need(false, "unlock");
}

static inline const char *
peer_whole(const struct link *at, size_t *ret_size)
{
	const void *data =
		PEER_CALL(get)(reader, at->dimension, at->layer, ret_size);

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

#include "peer-loops.h"
