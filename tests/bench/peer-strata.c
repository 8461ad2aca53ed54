/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Strata as a peer: regions; where contents are replaced, small ones are protos
 * from the beginning. */
#define PEER_CALL(call) strata_##call
#include "peer-strata-reads.h"

static struct strata_store *store;
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

static void
put(uint32_t index, const void *data, size_t size)
{
	bench_put(store, index / PEER_LAYERS + 1, index % PEER_LAYERS, data,
		  size);
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
