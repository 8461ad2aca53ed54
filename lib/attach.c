/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Attaching to a store, refreshing, detaching. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "log.h"
#include "store.h"

static void
store_init(struct strata_store *store, const char *name)
{
	pthread_mutex_init(&store->mutex, NULL);
	CDS_INIT_LIST_HEAD(&store->reader_pages);
	CDS_INIT_LIST_HEAD(&store->heirs);
	strncpy(store->name, name, sizeof(store->name) - 1);
}

static void
store_free(struct strata_store *store)
{
	/* In a child the parent's other threads may have been at the edit. */
	if (!store->wlock.forked) {
		strata__edit_fini(&store->edit);
		free(store->dying);
	}
	strata__wlock_detach(&store->wlock);
	strata__rcu_fini(&store->rcu);
	strata__space_close(&store->space);
	if (store->ours != NULL)
		strata__os_unmap(store->ours, STRATA_PAGE);
	if (store->first_handles != NULL)
		strata__os_unmap(store->first_handles, STRATA_PAGE);
	pthread_mutex_destroy(&store->mutex);
	free(store);
}

static int
attach_rooms(struct strata_store *store, unsigned flags)
{
	void *ours;
	int ret;

	ret = strata__fork_handlers();
	if (strata__os_map_wiped(2 * STRATA_PAGE, &ours) != 0)
		return strata__fail(STRATA_ENOMEM, "no memory for a handle");
	store->ours = ours;
	*store->ours = 1;
	store->first_handles = store->ours + STRATA_PAGE;
	if (ret == 0)
		ret = strata__rcu_init(&store->rcu, &store->space);
	store->rcu.mine = store->ours + 1;
	*store->rcu.mine = 1;
	if (ret == 0 && (flags & STRATA_WRITE) != 0) {
		strata__edit_init(&store->edit, &store->space);
		/* No fork between the claim of the slot and the close of the
		 * descriptor: a child would keep our lock. */
		strata__stores_lock();
		ret = strata__wlock_attach(&store->wlock, &store->space);
		strata__stores_unlock();
	}
	if (ret == 0)
		strata__stores_add(store);
	return ret;
}

int
strata_attach(const char *name, unsigned flags, struct strata_store **ret_store)
{
	const unsigned known = STRATA_WRITE | STRATA_TRUST_OWNER | STRATA_OBSERVE;
	struct strata_store *store;
	int ret;

	if (name == NULL || ret_store == NULL)
		return strata__fail(STRATA_EINVAL,
				    "attach: no name, or no place for a store");
	if ((flags & ~known) != 0)
		return strata__fail(STRATA_EINVAL, "attach: unknown flags");
	if ((flags & STRATA_OBSERVE) != 0 && (flags & STRATA_WRITE) != 0)
		return strata__fail(STRATA_EINVAL,
				    "attach: who observes does not write");
	ret = strata__store_name_check(name);
	if (ret != 0)
		return ret;
	store = calloc(1, sizeof(*store));
	if (store == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory for a handle");
	ret = strata__space_open(name, flags, &store->space);
	if (ret != 0) {
		free(store);
		return ret;
	}
	store_init(store, name);
	ret = attach_rooms(store, flags);
	if (ret != 0) {
		store_free(store);
		return ret;
	}
	STRATA_PROBE2(attach, store->name, flags);
	STRATA_LOG(STRATA_LOG_INFO, "store '%s': attached for %s at version %llu",
		   store->name,
		   (flags & STRATA_WRITE) != 0     ? "writing"
		   : (flags & STRATA_OBSERVE) != 0 ? "observing"
						   : "reading",
		   (unsigned long long)strata_version(store));
	*ret_store = store;
	return 0;
}

/* Is something open that would be left hanging? */
static int
check_idle(struct strata_store *store)
{
	struct strata__reader_page *page;
	unsigned nr_txns = atomic_load_explicit(&store->nr_txns,
						memory_order_relaxed);

	/* Of a parent's other threads the child has neither. */
	if (nr_txns != 0 && !strata__is_forked(store))
		return strata__fail(STRATA_EINVAL,
				    "%u transactions are open: commit or abort "
				    "them before detaching",
				    nr_txns);
	if (atomic_load_explicit(&store->session_thread,
				 memory_order_relaxed) != NULL &&
	    !strata__is_forked(store))
		return strata__fail(STRATA_EINVAL,
				    "a writer session is open: close it before "
				    "detaching");
	if (atomic_load_explicit(&store->has_flavor, memory_order_relaxed))
		return strata__fail(STRATA_EINVAL,
				    "its flavour is open: strata_urcu_flavor_close() "
				    "first");
	cds_list_for_each_entry(page, &store->reader_pages, node)
		for (unsigned i = 0; i < STRATA_PAGE_READERS; i++)
			if (page->readers[i].pin != 0)
				return strata__fail(
					STRATA_EINVAL,
					"a reader is inside a section: unlock "
					"before detaching");
	return 0;
}

/* A writer leaves nothing for others to reclaim that it can reclaim itself, and
 * nothing that it keeps for itself. */
static void
reclaim_before_leaving(struct strata_store *store)
{
	if (store->wlock.space == NULL || strata__is_forked(store) ||
	    !store->rcu.can_fence ||
	    (strata__count(&store->space.catalog->counters.nr_retired) == 0 &&
	     store->spare.generation == 0))
		return;
	if (strata__write_begin(store) != 0)
		return;
	(void)strata__reclaim(store, NULL);
	strata__spare_give_up(store);
	strata__write_end(store);
}

int
strata_detach(struct strata_store *store)
{
	int ret;

	if (store == NULL)
		return 0;
	pthread_mutex_lock(&store->mutex);
	ret = check_idle(store);
	pthread_mutex_unlock(&store->mutex);
	if (ret != 0)
		return ret;
	reclaim_before_leaving(store);
	strata__stores_remove(store);
	strata__readers_close(store);
	store_free(store);
	return 0;
}

bool
strata__is_dead(const struct strata_store *store)
{
	return (atomic_load_explicit(&store->space.catalog->hot.version,
				     memory_order_acquire) &
		STRATA_VERSION_DEAD) != 0;
}

int
strata_refresh(struct strata_store *store)
{
	int ret;

	if (store == NULL)
		return strata__fail(STRATA_EINVAL, "no store");
	if (strata__is_dead(store) || strata__space_lost_name(&store->space))
		return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				    store->name);
	/* Who observes has nothing mapped. */
	ret = store->space.observing ?
		0 :
		strata__space_refresh(&store->space, /* retry= */ true);
	strata__pressure_look(store);
	return ret;
}

const char *
strata_name(const struct strata_store *store)
{
	return store->name;
}

const char *
strata_directory(const struct strata_store *store)
{
	const char *directory = store->space.catalog->directory;

	return directory[0] != '\0' ? directory : NULL;
}

uint64_t
strata_version(const struct strata_store *store)
{
	return atomic_load_explicit(&store->space.catalog->hot.version,
				    memory_order_acquire) &
		STRATA_VERSION_MAX;
}

const char *
strata_version_string(void)
{
	return PACKAGE_VERSION;
}
