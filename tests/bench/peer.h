/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What the benches compare: the peers, and the contents that all of them hold.
 */
#ifndef STRATA_BENCH_PEER_H
#define STRATA_BENCH_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench.h"

#define PEER_DIMENSIONS 14
#define PEER_LAYERS     20
#define PEER_TOTAL      (PEER_DIMENSIONS * PEER_LAYERS)

/* The first bytes of each content: which one is next, in one cycle of all. */
struct link {
	uint32_t dimension, layer;
	uint64_t index; /* the same, for peers that count from 0 */
};

/*
 * The same for all peers. In memory that children share, and spread over the
 * sets of the cache, since peers without a store of their own (the raw ones)
 * read it where it is.
 */
struct contents {
	const struct bench *bench;
	const char *what; /* e.g. "16 KiB" */
	size_t bytes;     /* of all */
	size_t largest;
	size_t sizes[PEER_TOTAL];
	char *data[PEER_TOTAL];
	struct link order[PEER_TOTAL]; /* of lookups that do not depend */
	bool replaced; /* publish() will be called; all sizes are alike */
	uint32_t nr_replaced; /* of the order's first so many */
	char *memory;
	size_t memory_size;
};

/* size 0: a mix of 1, 16, 64 and 1024 KiB. */
void contents_init(struct contents *contents, const struct bench *bench,
		   size_t size, bool replaced);
void contents_fini(struct contents *contents);

/*
 * A peer. All that is measured is a loop of the peer's own, so that no peer
 * pays for being called through a pointer (peer-loops.h has the loops). What
 * the loops give keeps the compiler from leaving anything out.
 */
struct peer {
	const char *name;
	unsigned slowness; /* so many times fewer steps take the same time */
	bool threads_only; /* its readers are threads of one process */
	bool copies;       /* a lookup copies the content */

	/* In the parent, before anybody reads; false when this machine has not
	 * what it takes, which was said. And the opposite. */
	bool (*setup)(const struct contents *contents);
	void (*remove)(void);
	/* In the process that reads. */
	void (*open)(void);
	void (*close)(void);

	uint64_t (*chain)(uint64_t steps);         /* each looks at its link */
	uint64_t (*chain_section)(uint64_t steps); /* in one section; or NULL */
	uint64_t (*many)(uint64_t steps);          /* order is known */
	uint64_t (*many_section)(uint64_t steps);  /* or NULL */
	uint64_t (*whole)(uint64_t steps);         /* looks at all bytes */
	/* Looks up until stop is set; *done is how many so far. */
	void (*until)(const _Atomic int *stop, _Atomic uint64_t *done);
	bool (*same)(void); /* has the bytes that it was given */

	/* In the parent; NULL when nothing can be replaced. */
	void (*write_open)(bool session); /* or NULL */
	void (*write_close)(void);
	void (*publish)(uint32_t index, const void *data, size_t size);
};

extern const struct peer peer_strata, peer_strata_inline, peer_raw,
	peer_rwlock, peer_urcu, peer_lmdb, peer_lmdb_default, peer_redis,
	peer_pread;

#define PEERS_MAX 9
/* All of them, Strata first; sets up those that are there, and checks that all
 * give the same bytes. Gives how many. */
unsigned peers_setup(const struct peer **peers,
		     const struct contents *contents);
void peers_remove(const struct peer **peers, unsigned nr);

/* The store of peer_strata, attached for writing in the parent, and the reader
 * that its open() opened. */
struct strata_store *peer_strata_store(void);
struct strata_reader *peer_strata_reader(void);

#endif
