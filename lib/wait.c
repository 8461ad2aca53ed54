/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Waiting: for a version, for a grace period. */
#include <errno.h>

#include "error.h"
#include "store.h"

/*
 * Writers wake at most once per tick of the coarse clock (write.c). A commit
 * that did not wake was made in the same tick as one that did, so only a waiter
 * that went to sleep in that very tick can miss it. So a slice is short unless
 * nothing at all was committed during the slice before. A wake can also be lost
 * to a writer's death: so no slice is long.
 */
#define SLICE_FIRST_NS (UINT64_C(10) * 1000 * 1000)
#define SLICE_NS UINT64_C(1000000000)

static int
gone(const struct strata_store *store)
{
	return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
			    store->name);
}

static uint64_t
min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int
strata_wait(struct strata_store *store, uint64_t version, int64_t timeout_ns)
{
	struct strata__hot *hot;
	uint64_t deadline, now, current;
	uint32_t counter, before = 0;
	bool slept = false; /* through a whole slice */

	if (store == NULL)
		return strata__fail(STRATA_EINVAL, "no store");
	hot = &store->space.catalog->hot;
	deadline = timeout_ns < 0 ?
		UINT64_MAX :
		strata__os_monotonic_ns() + (uint64_t)timeout_ns;
	for (;;) {
		strata__pressure_look(store);
		/* The counter first: a commit between the two loads changes it
		 * and the futex does not sleep. Letter J. */
		counter = atomic_load_explicit(&hot->commit_counter,
					       memory_order_acquire);
		current = atomic_load_explicit(&hot->version,
					       memory_order_acquire);
		if ((current & STRATA_VERSION_DEAD) != 0)
			return gone(store);
		if (current >= version)
			return 0;
		now = strata__os_monotonic_ns();
		if (now >= deadline)
			return strata__fail(STRATA_ETIMEDOUT,
					    "store '%s' did not reach version "
					    "%llu in time, it is at %llu",
					    store->name,
					    (unsigned long long)version,
					    (unsigned long long)current);
		/* Where nothing is committed there may be no writer that sees
		 * that the catalog was removed by hand. */
		if (slept && counter == before &&
		    strata__space_lost_name(&store->space))
			return gone(store);
		/* Or we kept from whom we wait for what he commits by. */
		strata__session_yield(store);
		slept = strata__os_futex_wait(
				&hot->commit_counter, counter,
				min(slept && counter == before ? SLICE_NS :
								 SLICE_FIRST_NS,
				    deadline - now)) == -ETIMEDOUT;
		before = counter;
	}
}

bool
strata__is_inside(struct strata_store *store)
{
	struct strata__reader_page *page;
	bool inside = false;

	pthread_mutex_lock(&store->mutex);
	cds_list_for_each_entry(page, &store->reader_pages, node)
		for (uint32_t left = page->used; left != 0; left &= left - 1) {
			struct strata_reader *reader =
				&page->readers[__builtin_ctz(left)];

			/* acquire: a section of another thread is not seen
			 * without its thread; see lock_handed_over(). */
			if (__atomic_load_n(&reader->pin, __ATOMIC_ACQUIRE) !=
				    0 &&
			    __atomic_load_n(&reader->thread,
					    __ATOMIC_RELAXED) ==
				    strata__thread())
				inside = true;
		}
	pthread_mutex_unlock(&store->mutex);
	return inside;
}

int
strata_synchronize(struct strata_store *store, int64_t timeout_ns)
{
	if (store == NULL)
		return strata__fail(STRATA_EINVAL, "no store");
	if (strata__is_inside(store))
		return strata__fail(STRATA_EINVAL,
				    "synchronize inside a read section of this "
				    "thread would wait for itself");
	/* A reader may wait for a commit before it ends its section. */
	strata__session_yield(store);
	return strata__rcu_synchronize(&store->rcu, timeout_ns);
}
