/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Reader processes that look up without a pause, in what they are told to. */
#include "crew.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* A letter is the peer of the next turn, 'z' the end. Nobody begins before all
 * have opened it: those that look up leave the others no CPU. */
static void
member_run(struct proc *parent, void *arg)
{
	const struct crew_member *member = arg;
	const struct crew *crew = member->crew;
	_Atomic uint64_t *done = &crew->shared->of[member->nr].done;
	char word;

	bench_pin(1 + member->nr);
	(void)setpriority(PRIO_PROCESS, 0, crew->niceness);
	while (read(parent->in, &word, 1) == 1 && word != 'z') {
		unsigned i = (unsigned)(word - 'A');

		crew->peers[i]->open();
		pthread_barrier_wait(&crew->shared->gate);
		crew->peers[i]->until(&crew->shared->stop, done);
		crew->peers[i]->close();
		proc_say(parent, 'd');
	}
}

void
crew_start(struct crew *crew, unsigned nr, int niceness,
	   const struct peer **peers, unsigned nr_peers)
{
	memset(crew, 0, sizeof(*crew));
	crew->nr = nr;
	crew->nr_peers = nr_peers;
	crew->niceness = niceness;
	memcpy(crew->peers, peers, nr_peers * sizeof(*peers));
	crew->shared = proc_shared(sizeof(*crew->shared));
	for (unsigned i = 0; i < nr; i++) {
		crew->members[i].crew = crew;
		crew->members[i].nr = i;
		proc_start(&crew->members[i].proc, member_run,
			   &crew->members[i]);
	}
}

void
crew_go(struct crew *crew, const struct peer *peer, unsigned nr)
{
	pthread_barrierattr_t attrs;
	char word = 'A';

	need(pthread_barrierattr_init(&attrs) == 0 &&
		     pthread_barrierattr_setpshared(
			     &attrs, PTHREAD_PROCESS_SHARED) == 0 &&
		     pthread_barrier_init(&crew->shared->gate, &attrs,
					  nr + 1) == 0,
	     "barrier");
	while (crew->peers[word - 'A'] != peer)
		word++;
	atomic_store_explicit(&crew->shared->stop, 0, memory_order_relaxed);
	for (unsigned i = 0; i < nr; i++) {
		atomic_store_explicit(&crew->shared->of[i].done, 0,
				      memory_order_relaxed);
		proc_say(&crew->members[i].proc, word);
	}
	pthread_barrier_wait(&crew->shared->gate);
}

uint64_t
crew_done(const struct crew *crew, unsigned nr)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < nr; i++)
		done += atomic_load_explicit(&crew->shared->of[i].done,
					     memory_order_relaxed);
	return done;
}

void
crew_halt(struct crew *crew, unsigned nr)
{
	atomic_store_explicit(&crew->shared->stop, 1, memory_order_relaxed);
	for (unsigned i = 0; i < nr; i++)
		proc_hear(&crew->members[i].proc, 'd');
	need(pthread_barrier_destroy(&crew->shared->gate) == 0, "barrier");
}

void
crew_end(struct crew *crew)
{
	for (unsigned i = 0; i < crew->nr; i++) {
		proc_say(&crew->members[i].proc, 'z');
		proc_join(&crew->members[i].proc);
	}
	need(munmap(crew->shared, sizeof(*crew->shared)) == 0, "munmap");
}
