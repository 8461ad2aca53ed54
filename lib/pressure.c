/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* How full a store is, and who is told when that changes. */
#include "error.h"
#include "store.h"

/*
 * The counters are the store's, so whoever looks sees the crossings of all
 * processes. One thread of a handle looks at a time; another one, or the very
 * one from within the callback, wishes that it look again, and goes on: so none
 * waits, and no crossing is left that came before the last wish.
 */

/* A callback that changes the level at each call must not keep us for ever. */
#define ROUNDS 8

static void
look_once(struct strata_store *store)
{
	enum strata_pressure now = strata__space_pressure(&store->space);
	enum strata_pressure before = store->pressure_told;
	struct strata_error_info kept;

	if (now == before || store->pressure_fn == NULL)
		return;
	store->pressure_told = now;
	kept = *strata__error();
	store->pressure_fn(store, before, now, store->pressure_arg);
	*strata__error() = kept;
}

void
strata__pressure_look(struct strata_store *store)
{
	unsigned wishes, rounds = 0;

	if (store->pressure_fn == NULL || strata__is_forked(store))
		return;
	/*
	 * Letter P: pairs with the acquire of the exchange below. Orders what
	 * this thread knows of the counters before its wish: without it who
	 * looks could look again, see the old level, and leave.
	 */
	if (atomic_fetch_add_explicit(&store->pressure_looks, 1,
				      memory_order_acq_rel) != 0)
		return;
	wishes = 1;
	do {
		look_once(store);
		if (++rounds == ROUNDS) {
			atomic_store_explicit(&store->pressure_looks, 0,
					      memory_order_release);
			return;
		}
		/* Letter P: the acquire sees what they saw who wished
		 * meanwhile; the release hands pressure_told over. */
	} while (!atomic_compare_exchange_strong_explicit(
		&store->pressure_looks, &wishes, 0, memory_order_acq_rel,
		memory_order_acquire));
}

enum strata_pressure
strata_pressure_now(const struct strata_store *store)
{
	return store != NULL ? strata__space_pressure(&store->space)
			     : STRATA_PRESSURE_NONE;
}

int
strata_pressure_watch(struct strata_store *store,
		      void (*fn)(struct strata_store *store,
				 enum strata_pressure before,
				 enum strata_pressure now, void *arg),
		      void *arg)
{
	if (store == NULL)
		return strata__fail(STRATA_EINVAL, "no store");
	store->pressure_fn = fn;
	store->pressure_arg = arg;
	store->pressure_told = STRATA_PRESSURE_NONE;
	strata__pressure_look(store);
	return 0;
}
