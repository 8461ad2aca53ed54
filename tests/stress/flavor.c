/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* liburcu's hash table over the store's flavour: objects parsed from layers. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define _LGPL_SOURCE
#include <urcu/call-rcu.h>
#include <urcu/flavor.h>
#include <urcu/rculfhash.h>

#include <strata/strata.h>

#include "proc.h"
#include "testpoint.h"

/*
 * Readers look up an object by layer, in the section in which they read the
 * layer, and compare: an object is never of a version that is newer than the
 * store's, and never freed memory. Updaters replace layer and object, and free
 * the old one by call_rcu(), which poisons it first. With the grace periods
 * taken out, in a child, it must fail (not where a sanitizer would report it).
 */

#define NR_LAYERS   64u
#define NR_READERS  3u
#define NR_UPDATERS 2u
#define ALIVE       UINT64_C(0x6c6976696e67)

struct object {
	struct cds_lfht_node node;
	struct rcu_head head;
	uint64_t alive;
	uint64_t layer;
};

static struct {
	struct strata_store *store;
	const struct rcu_flavor_struct *flavor;
	struct cds_lfht *table;
	uint64_t seed;
	struct test_run run;
	bool until_seen; /* a violation is what it runs for */
	_Atomic uint64_t reads, updates, freed, violations;
} shared;

static unsigned long
hash_of(uint64_t layer)
{
	return (unsigned long)(layer * UINT64_C(0x9e3779b97f4a7c15));
}

static int
is_layer(struct cds_lfht_node *node, const void *key)
{
	return caa_container_of(node, struct object, node)->layer ==
	       *(const uint64_t *)key;
}

static void
object_free(struct rcu_head *head)
{
	struct object *object = caa_container_of(head, struct object, head);

	memset(&object->alive, 0xdb, sizeof(object->alive));
	atomic_fetch_add(&shared.freed, 1);
	free(object);
}

/* Each layer was looked up, and replaced, some times over. */
#define ENOUGH UINT64_C(1000)

static bool
goes_on(void)
{
	bool is_enough = !shared.until_seen &&
			 atomic_load(&shared.reads) >= ENOUGH &&
			 atomic_load(&shared.updates) >= ENOUGH;

	return atomic_load(&shared.violations) == 0 &&
	       test_run_goes_on(&shared.run, is_enough);
}

/**** readers ****/

static void
look_up(uint64_t layer, unsigned stay)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;
	const struct object *object;
	size_t size;

	shared.flavor->read_lock();
	cds_lfht_lookup(shared.table, hash_of(layer), is_layer, &layer, &iter);
	node = cds_lfht_iter_get_node(&iter);
	if (node != NULL) {
		object = caa_container_of(node, struct object, node);
		for (unsigned i = 0; i <= stay; i++)
			if (*(const volatile uint64_t *)&object->alive !=
				    ALIVE ||
			    object->layer != layer)
				atomic_fetch_add(&shared.violations, 1);
		/* In the same section. */
		if (strata_get(strata_urcu_reader(shared.store), 1,
			       (uint32_t)layer, &size) == NULL)
			atomic_fetch_add(&shared.violations, 1);
	}
	shared.flavor->read_unlock();
	atomic_fetch_add(&shared.reads, 1);
}

static void *
reader_main(void *arg)
{
	uint64_t random = shared.seed + (uintptr_t)arg;

	shared.flavor->register_thread();
	while (goes_on())
		look_up(test_random(&random) % NR_LAYERS,
			(unsigned)(test_random(&random) % 2000));
	shared.flavor->unregister_thread();
	return NULL;
}

/**** updaters ****/

static void
put_layer(uint64_t layer, uint64_t number)
{
	struct strata_txn *txn;

	need(strata_txn_begin(shared.store, &txn) == 0 &&
		     strata_put(txn, 1, (uint32_t)layer, NULL, &number,
				sizeof(number), 0) == 0 &&
		     strata_txn_commit(txn, NULL) == 0,
	     "put");
}

static void
replace(uint64_t layer)
{
	struct object *object = calloc(1, sizeof(*object));
	struct cds_lfht_node *old;

	need(object != NULL, "memory");
	object->alive = ALIVE;
	object->layer = layer;
	shared.flavor->read_lock();
	old = cds_lfht_add_replace(shared.table, hash_of(layer), is_layer,
				   &layer, &object->node);
	shared.flavor->read_unlock();
	if (old != NULL)
		shared.flavor->update_call_rcu(
			&caa_container_of(old, struct object, node)->head,
			object_free);
	atomic_fetch_add(&shared.updates, 1);
}

static void *
updater_main(void *arg)
{
	uint64_t random = shared.seed + 100 + (uintptr_t)arg;

	shared.flavor->register_thread();
	while (goes_on()) {
		uint64_t layer = test_random(&random) % NR_LAYERS;

		/* Grace periods need no commits: most of them have none. */
		if (test_random(&random) % 64 == 0)
			put_layer(layer, test_random(&random));
		replace(layer);
	}
	shared.flavor->unregister_thread();
	return NULL;
}

/**** all of it ****/

static void
table_empty(void)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	shared.flavor->read_lock();
	cds_lfht_for_each(shared.table, &iter, node)
	{
		need(cds_lfht_del(shared.table, node) == 0, "del");
		shared.flavor->update_call_rcu(
			&caa_container_of(node, struct object, node)->head,
			object_free);
	}
	shared.flavor->read_unlock();
	need(cds_lfht_destroy(shared.table, NULL) == 0, "destroy the table");
	shared.flavor->barrier();
}

/* @return whether all was well */
static bool
run(uint64_t length_ns)
{
	pthread_t threads[NR_READERS + NR_UPDATERS];
	uintptr_t i;

	shared.run = test_run_begin(length_ns);
	for (i = 0; i < NR_READERS + NR_UPDATERS; i++)
		need(pthread_create(&threads[i], NULL,
				    i < NR_READERS ? reader_main : updater_main,
				    (void *)i) == 0,
		     "thread");
	for (i = 0; i < NR_READERS + NR_UPDATERS; i++)
		pthread_join(threads[i], NULL);
	return atomic_load(&shared.violations) == 0;
}

static void
begin(const char *name)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = UINT64_C(32) << 20};

	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &shared.store) == 0, "attach");
	need(strata_urcu_flavor(shared.store, &shared.flavor) == 0, "flavour");
	shared.table = cds_lfht_new_flavor(
		1, 1, 0, CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING,
		shared.flavor, NULL);
	need(shared.table != NULL, "table");
	for (uint64_t layer = 0; layer < NR_LAYERS; layer++) {
		put_layer(layer, layer);
		replace(layer);
	}
}

static void
end(const char *name)
{
	table_empty();
	need(atomic_load(&shared.freed) == atomic_load(&shared.updates),
	     "%llu objects made, %llu freed",
	     (unsigned long long)atomic_load(&shared.updates),
	     (unsigned long long)atomic_load(&shared.freed));
	need(strata_urcu_flavor_close(shared.store) == 0, "close");
	need(strata_detach(shared.store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

/* Whoever reads freed memory may also crash, or meet no end of the list; the
 * latter ends by the alarm. A run that saw nothing ends long before. */
#define CONTROL_GUARD_S 300u

static void
control(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
	begin(store_name("control"));
	strata__broken = STRATA_NO_FLAVOR_GRACE;
	shared.until_seen = true;
	alarm(CONTROL_GUARD_S);
	test_exit(run(0) ? 0 : 3);
}

int
main(void)
{
	static const uint64_t lengths[] = {1, 4, 60};
	struct proc proc;
	int status;

	shm_begin();
	shared.seed = test_seed();
	if (!test_is_sanitized()) {
		proc_start(&proc, control, NULL);
		status = proc_wait(&proc);
		need(status != 0, "nothing was seen without grace periods");
		printf("without grace periods: status %d\n", status);
		shm_clear();
	}

	begin(store_name("flavor"));
	need(run(lengths[test_length()] * 1000 * 1000 * 1000),
	     "an object was freed under a reader");
	need(atomic_load(&shared.reads) >= ENOUGH &&
		     atomic_load(&shared.updates) >= ENOUGH,
	     "too little happened");
	end(store_name("flavor"));
	printf("%llu lookups, %llu replacements, all freed after their grace "
	       "periods\n",
	       (unsigned long long)atomic_load(&shared.reads),
	       (unsigned long long)atomic_load(&shared.updates));
	shm_end();
	return 0;
}
