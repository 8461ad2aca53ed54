/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The domain as a flavour of liburcu: what its two files share. */
#ifndef STRATA_FLAVOR_H
#define STRATA_FLAVOR_H

#define _LGPL_SOURCE /* inline what is small; our licence allows it */
#include <urcu/call-rcu.h>
#include <urcu/flavor.h>

#include "store.h"

/* Functions of a flavour have no argument, so each flavour has its own set of
 * them, compiled. */
#define STRATA_FLAVORS 4u

/* Callbacks, in the order in which they came, and the thread that calls them;
 * under the mutex. */
struct strata__calls {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct rcu_head *first, *last; /* NULL: there is none */
	/* Ever: queued, taken from the queue, and called. Those up to the
	 * number nr_ready have had their grace period. */
	uint64_t nr_queued, nr_taken, nr_done, nr_ready;
	bool is_served; /* a thread is at it */
	bool has_worker, stop;
	pthread_t worker;
};

struct strata__flavor {
	struct strata_store *store; /* NULL: free */
	unsigned users;             /* opened so often */
	bool is_closing;
	pthread_t closer;      /* who is at it */
	pthread_mutex_t mutex; /* members */
	struct cds_list_head members;
	struct strata__calls calls;
	/* Of liburcu's hash tables, or NULL; under the mutex. */
	struct urcu_atfork *atfork;
	unsigned atfork_users;
	/* The one that was called before the fork that is going on, or NULL. */
	struct urcu_atfork *atfork_called;
};

/* Waits until every section of this process that is open now has ended. */
void strata__flavor_synchronize(struct strata__flavor *flavor);

void strata__calls_init(struct strata__calls *calls);
/* All that was queued is called; then the worker is gone. */
void strata__calls_end(struct strata__flavor *flavor);
void strata__calls_fini(struct strata__calls *calls);
/* Is this thread calling callbacks of the flavour, is it its worker? */
bool strata__calls_are_served_here(const struct strata__flavor *flavor);
bool strata__calls_is_worker(const struct strata__flavor *flavor);
void strata__calls_add(struct strata__flavor *flavor, struct rcu_head *head,
		       void (*func)(struct rcu_head *head));
void strata__calls_add_deferred(struct strata__flavor *flavor,
				void (*func)(void *arg), void *arg);
/* Waits until all that was queued before has been called. */
void strata__calls_barrier(struct strata__flavor *flavor);
/* Around a fork: the lists stay as they are. */
void strata__calls_before_fork(struct strata__calls *calls);
void strata__calls_after_fork_parent(struct strata__calls *calls);
/* A new worker is started when there is something to do. */
void strata__calls_after_fork_child(struct strata__flavor *flavor);

#endif
