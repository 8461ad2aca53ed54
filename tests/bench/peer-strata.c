/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Strata as a peer: regions; where contents are replaced, small ones are protos
 * from the beginning. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "proc.h"

static const struct contents *held;
static char name[STRATA_STORE_NAME_MAX + 1];
static struct strata_store *store, *attached;
static struct strata_reader *reader;
static struct strata_writer *writer;

struct strata_store *
peer_strata_store(void)
{
	return store;
}

struct strata_reader *
peer_strata_reader(void)
{
	return reader;
}

static inline void
peer_begin(void)
{
	if (strata_read_lock(reader) != 0)
		need(false, "lock");
}

static inline void
peer_end(void)
{
	if (strata_read_unlock(reader) != 0)
		need(false, "unlock");
}

static inline const char *
peer_whole(const struct link *at, size_t *ret_size)
{
	const void *data =
		strata_get(reader, at->dimension, at->layer, ret_size);

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

static void
put(uint32_t index, const void *data, size_t size)
{
	struct strata_txn *txn;

	if (strata_txn_begin(store, &txn) != 0 ||
	    strata_put(txn, index / PEER_LAYERS + 1, index % PEER_LAYERS, NULL,
		       data, size, STRATA_PUT_BORROW) != 0 ||
	    strata_txn_commit(txn, NULL) != 0)
		need(false, "commit");
}

static void
load(const struct contents *contents)
{
	const void *data[PEER_LAYERS];

	for (uint32_t d = 0; d < PEER_DIMENSIONS; d++) {
		for (uint32_t i = 0; i < PEER_LAYERS; i++)
			data[i] = contents->data[d * PEER_LAYERS + i];
		bench_load_each(contents->bench, store, d + 1, data,
				&contents->sizes[d * PEER_LAYERS], PEER_LAYERS);
	}
}

static bool
setup(const struct contents *contents)
{
	uint64_t limit = contents->bytes * 5 / 4 + (UINT64_C(240) << 20);

	held = contents;
	store = bench_store("peer", limit, 0);
	snprintf(name, sizeof(name), "%s", strata_name(store));
	if (!contents->replaced || contents->largest >= 1 << 20)
		load(contents);
	else
		for (uint32_t i = 0; i < PEER_TOTAL; i++)
			put(i, contents->data[i], contents->sizes[i]);
	return true;
}

static void
remove_all(void)
{
	bench_store_end(store);
}

static void
open_it(void)
{
	need(strata_attach(name, STRATA_READ, &attached) == 0, "attach");
	need(strata_reader_open(attached, &reader) == 0, "reader");
}

static void
close_it(void)
{
	need(strata_reader_close(reader) == 0, "close");
	need(strata_detach(attached) == 0, "detach");
}

static void
write_open(bool session)
{
	writer = NULL;
	if (session)
		need(strata_writer_open(store, &writer) == 0, "session");
}

static void
write_close(void)
{
	if (writer != NULL)
		need(strata_writer_close(writer) == 0, "session");
}

const struct peer peer_strata = {
	.name = "strata",
	.slowness = 1,
	.setup = setup,
	.remove = remove_all,
	.open = open_it,
	.close = close_it,
	PEER_SECTION_LOOPS,
	.write_open = write_open,
	.write_close = write_close,
	.publish = put,
};
