/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The store's flavour over a list of the test's own, for ThreadSanitizer. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define _LGPL_SOURCE
#include <urcu/call-rcu.h>
#include <urcu/flavor.h>

#include <strata/strata.h>

#include "proc.h"

/*
 * flavor.c has liburcu's hash table, the code of which ThreadSanitizer does not
 * see. Here all is compiled with it: readers walk a list and read members that
 * are not atomic, updaters replace nodes of it, and free the old ones behind a
 * grace period in each of the ways that a flavour offers. That the walk comes
 * before the poison and the free is for ThreadSanitizer to say, which knows no
 * order but that of the library's atomics; in other builds the poison must not
 * be met. A thread that ends without a word, now and then, is a member, too.
 */

#define NR_NODES    16u
#define NR_READERS  3u
#define NR_UPDATERS 2u
#define ALIVE       UINT64_C(0x6c6976696e67)

struct node {
	_Atomic(struct node *) next;
	struct rcu_head head;
	uint64_t alive;
	uint64_t number; /* its place in the list */
};

static struct {
	struct strata_store *store;
	const struct rcu_flavor_struct *flavor;
	pthread_mutex_t mutex; /* of updaters */
	_Atomic(struct node *) first;
	uint64_t seed;
	struct test_run run;
	_Atomic uint64_t walks, called, waited, deferred, freed, violations;
} shared = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void
node_free(struct node *node)
{
	memset(&node->alive, 0xdb, sizeof(node->alive));
	free(node);
	atomic_fetch_add_explicit(&shared.freed, 1, memory_order_relaxed);
}

static void
node_called(struct rcu_head *head)
{
	node_free(caa_container_of(head, struct node, head));
}

static void
node_deferred(void *node)
{
	node_free(node);
}

static uint64_t
count(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static bool
is_enough(void)
{
	return count(&shared.walks) != 0 && count(&shared.called) != 0 &&
	       count(&shared.deferred) != 0 && count(&shared.waited) != 0;
}

static bool
goes_on(void)
{
	return count(&shared.violations) == 0 &&
	       test_run_goes_on(&shared.run, is_enough());
}

/**** readers ****/

static void
walk(unsigned stay)
{
	const struct node *node;
	uint64_t number = 0;

	shared.flavor->read_lock();
	/* Pairs with the release in replace(): a node is whole. */
	for (node = atomic_load_explicit(&shared.first, memory_order_acquire);
	     node != NULL;
	     node = atomic_load_explicit(&node->next, memory_order_acquire)) {
		for (unsigned i = 0; i <= stay; i++)
			if (*(const volatile uint64_t *)&node->alive != ALIVE)
				break;
		if (node->alive != ALIVE || node->number != number++) {
			atomic_fetch_add_explicit(&shared.violations, 1,
						  memory_order_relaxed);
			break;
		}
	}
	shared.flavor->read_unlock();
	atomic_fetch_add_explicit(&shared.walks, 1, memory_order_relaxed);
}

static void *
reader_main(void *arg)
{
	uint64_t random = shared.seed + (uintptr_t)arg;

	shared.flavor->register_thread();
	while (goes_on())
		walk((unsigned)(test_random(&random) % 100));
	shared.flavor->unregister_thread();
	return NULL;
}

/* Does not register, and does not say goodbye. */
static void *
passer_by(void *arg)
{
	(void)arg;
	walk(0);
	return NULL;
}

/**** updaters ****/

static struct node *
node_new(uint64_t number, struct node *next)
{
	struct node *node = calloc(1, sizeof(*node));

	need(node != NULL, "memory");
	node->alive = ALIVE;
	node->number = number;
	atomic_store_explicit(&node->next, next, memory_order_relaxed);
	return node;
}

/* @return the node of that number, which nobody finds any more */
static struct node *
replace(uint64_t number)
{
	_Atomic(struct node *) *link = &shared.first;
	struct node *old, *next;

	pthread_mutex_lock(&shared.mutex);
	while ((old = atomic_load_explicit(link, memory_order_relaxed)),
	       old->number != number)
		link = &old->next;
	next = atomic_load_explicit(&old->next, memory_order_relaxed);
	/* Pairs with the acquire in walk(). */
	atomic_store_explicit(link, node_new(number, next),
			      memory_order_release);
	pthread_mutex_unlock(&shared.mutex);
	return old;
}

static void
update(uint64_t random)
{
	struct node *old = replace(random % NR_NODES);

	if ((random >> 8) % 8 == 0) {
		shared.flavor->update_synchronize_rcu();
		node_free(old);
		atomic_fetch_add_explicit(&shared.waited, 1,
					  memory_order_relaxed);
	} else if ((random >> 8) % 8 == 1) {
		shared.flavor->update_defer_rcu(node_deferred, old);
		atomic_fetch_add_explicit(&shared.deferred, 1,
					  memory_order_relaxed);
	} else {
		shared.flavor->update_call_rcu(&old->head, node_called);
		atomic_fetch_add_explicit(&shared.called, 1,
					  memory_order_relaxed);
	}
	if ((random >> 16) % 64 == 0)
		shared.flavor->barrier();
}

static void *
updater_main(void *arg)
{
	uint64_t random = shared.seed + 100 + (uintptr_t)arg;

	shared.flavor->register_thread();
	while (goes_on())
		update(test_random(&random));
	shared.flavor->unregister_thread();
	return NULL;
}

/**** all of it ****/

static void
begin(void)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = UINT64_C(8) << 20};
	const char *name = store_name("flavor-threads");
	struct node *first = NULL;

	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &shared.store) == 0, "attach");
	need(strata_urcu_flavor(shared.store, &shared.flavor) == 0, "flavour");
	for (uint64_t number = NR_NODES; number-- > 0;)
		first = node_new(number, first);
	atomic_store_explicit(&shared.first, first, memory_order_relaxed);
}

static void
run(void)
{
	static const uint64_t lengths[] = {1, 2, 60};
	pthread_t threads[NR_READERS + NR_UPDATERS], passing;
	uintptr_t i;

	shared.run =
		test_run_begin(lengths[test_length()] * 1000 * 1000 * 1000);
	for (i = 0; i < NR_READERS + NR_UPDATERS; i++)
		need(pthread_create(&threads[i], NULL,
				    i < NR_READERS ? reader_main : updater_main,
				    (void *)i) == 0,
		     "thread");
	while (goes_on()) {
		need(pthread_create(&passing, NULL, passer_by, NULL) == 0,
		     "thread");
		pthread_join(passing, NULL);
	}
	for (i = 0; i < NR_READERS + NR_UPDATERS; i++)
		pthread_join(threads[i], NULL);
}

static void
end(void)
{
	struct node *node, *next;
	uint64_t called = atomic_load(&shared.called),
		 deferred = atomic_load(&shared.deferred),
		 waited = atomic_load(&shared.waited);

	shared.flavor->barrier();
	printf("%" PRIu64 " walks; freed by callbacks: %" PRIu64 " + %" PRIu64
	       ", behind a wait: %" PRIu64 "\n",
	       atomic_load(&shared.walks), called, deferred, waited);
	need(atomic_load(&shared.violations) == 0,
	     "a node was freed under a reader");
	need(atomic_load(&shared.freed) == called + deferred + waited,
	     "%" PRIu64 " nodes were freed", atomic_load(&shared.freed));
	need(is_enough(), "each at least once");
	for (node = atomic_load(&shared.first); node != NULL; node = next) {
		next = atomic_load(&node->next);
		free(node);
	}
	need(strata_urcu_flavor_close(shared.store) == 0, "close");
	need(strata_detach(shared.store) == 0, "detach");
	need(strata_destroy(store_name("flavor-threads")) == 0, "destroy");
}

int
main(void)
{
	(void)shm_begin();
	shared.seed = test_seed();
	begin();
	run();
	end();
	shm_end();
	return 0;
}
