/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Reader processes that look up without a pause, in what they are told to. */
#ifndef STRATA_BENCH_CREW_H
#define STRATA_BENCH_CREW_H

#include <pthread.h>

#include "peer.h"
#include "proc.h"

#define CREW_MAX 200

/* In memory that all share; a line for each, since each counts. */
struct crew_shared {
	pthread_barrier_t gate; /* of those that go, and the parent */
	_Alignas(64) _Atomic int stop;
	struct {
		_Alignas(64) _Atomic uint64_t done;
	} of[CREW_MAX];
};

struct crew {
	unsigned nr, nr_peers;
	int niceness;
	const struct peer *peers[PEERS_MAX];
	struct crew_shared *shared;
	struct crew_member {
		struct proc proc;
		struct crew *crew;
		unsigned nr;
	} members[CREW_MAX];
};

/* Starts nr processes; they wait. The first is pinned to CPU 1, the next to 2;
 * where there is none, the system chooses. */
void crew_start(struct crew *crew, unsigned nr, int niceness,
		const struct peer **peers, unsigned nr_peers);
/* The first nr of them look up; returns when all have begun. */
void crew_go(struct crew *crew, const struct peer *peer, unsigned nr);
/* Lookups so far, since they were started. */
uint64_t crew_done(const struct crew *crew, unsigned nr);
void crew_halt(struct crew *crew, unsigned nr);
void crew_end(struct crew *crew);

#endif
