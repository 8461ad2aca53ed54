/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What the benches compare: the contents, and the list of peers. */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proc.h"

/* From one content to the next: a page and an odd number of lines more. */
#define COLOUR (4096 + 64)

static size_t
size_of(size_t size, uint32_t index)
{
	static const size_t mix[] = {1 << 10, 16 << 10, 64 << 10, 1 << 20};

	return size != 0 ? size : mix[index % 4];
}

static const char *
name_of(size_t size)
{
	static char name[32];

	if (size == 0)
		return "1 KiB to 1 MiB";
	if (size >= 1 << 20)
		snprintf(name, sizeof(name), "%zu MiB", size >> 20);
	else
		snprintf(name, sizeof(name), "%zu KiB", size >> 10);
	return name;
}

static void
fill(char *data, size_t size, struct link link, uint64_t *random)
{
	uint64_t word;

	for (size_t i = 0; i < size; i += sizeof(word)) {
		word = bench_random(random);
		memcpy(data + i, &word, sizeof(word));
	}
	memcpy(data, &link, sizeof(link));
}

static struct link
link_of(uint32_t index)
{
	return (struct link){index / PEER_LAYERS + 1, index % PEER_LAYERS,
			     index};
}

void
contents_init(struct contents *contents, const struct bench *bench, size_t size,
	      bool replaced)
{
	uint64_t random = bench->seed;
	uint32_t next[PEER_TOTAL];
	char *place;

	memset(contents, 0, sizeof(*contents));
	contents->bench = bench;
	contents->what = name_of(size);
	contents->replaced = replaced;
	/* A megabyte each is enough to see what copying costs. */
	contents->nr_replaced = size >= 1 << 20 ? PEER_LAYERS : PEER_TOTAL;
	for (uint32_t i = 0; i < PEER_TOTAL; i++) {
		contents->sizes[i] = size_of(size, i);
		contents->bytes += contents->sizes[i];
		if (contents->sizes[i] > contents->largest)
			contents->largest = contents->sizes[i];
	}
	contents->memory_size = contents->bytes + (size_t)PEER_TOTAL * COLOUR;
	contents->memory = proc_shared(contents->memory_size);
	bench_cycle(next, PEER_TOTAL, &random);
	place = contents->memory;
	for (uint32_t i = 0; i < PEER_TOTAL; i++) {
		contents->data[i] = place;
		fill(place, contents->sizes[i], link_of(next[i]), &random);
		place += contents->sizes[i] + COLOUR;
	}
	for (uint32_t i = 0; i < PEER_TOTAL; i++)
		next[i] = i;
	bench_shuffle(next, PEER_TOTAL, &random);
	for (uint32_t i = 0; i < PEER_TOTAL; i++)
		contents->order[i] = link_of(next[i]);
}

void
contents_fini(struct contents *contents)
{
	need(munmap(contents->memory, contents->memory_size) == 0, "munmap");
}

unsigned
peers_setup(const struct peer **peers, const struct contents *contents)
{
	static const struct peer *const all[PEERS_MAX] = {
		&peer_strata, &peer_strata_inline, &peer_raw,
		&peer_rwlock, &peer_urcu,          &peer_lmdb,
		&peer_lmdb_default, &peer_redis,   &peer_pread};
	unsigned nr = 0;

	for (unsigned i = 0; i < PEERS_MAX; i++) {
		if (!all[i]->setup(contents))
			continue;
		all[i]->open();
		need(all[i]->same(), "%s has other bytes than it was given",
		     all[i]->name);
		all[i]->close();
		peers[nr++] = all[i];
	}
	bench_note("%s: all %u peers have the same %zu bytes", contents->what,
		   nr, contents->bytes);
	return nr;
}

void
peers_remove(const struct peer **peers, unsigned nr)
{
	while (nr > 0)
		peers[--nr]->remove();
}
