/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What happens to attached stores at a fork. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "store.h"

/*
 * The child starts with the handles wiped and without the mappings that vouch
 * for the parent's slots. Handles outside of a section are revived at their next
 * use. For sections that are open the parent, just before the fork, claims slots
 * whose mapping the child does inherit, and sets the same pins in them; there is
 * no moment at which the child's section is not pinned. Where no slot can be
 * had, the child's handle stays wiped and its next call says so. Sections of
 * other threads, which the child does not have, are not inherited.
 *
 * Writing is the parent's: its writer slot does not travel, so the child's
 * transactions and sessions are refused.
 */

CDS_LIST_HEAD(strata__stores);
static pthread_mutex_t stores_mutex = PTHREAD_MUTEX_INITIALIZER;
/* Of the thread that forks, as they were; under stores_mutex. Its handlers wait
 * until the mutexes are free: one may read, and meet a region to be mapped. */
static sigset_t signals_before;

void
strata__stores_lock(void)
{
	pthread_mutex_lock(&stores_mutex);
}

void
strata__stores_unlock(void)
{
	pthread_mutex_unlock(&stores_mutex);
}

bool
strata__is_forked(struct strata_store *store)
{
	if (*store->ours != 0)
		return false;
	/* The mapping, and with it the writer slot, stayed behind. */
	store->wlock.forked = true;
	store->space.lock = NULL;
	return true;
}

/**** before: in the parent ****/

static bool
heir_slot(struct strata_store *store, struct strata__chunk **ret_chunk,
	  struct strata__slot **ret_slot)
{
	struct strata__chunk *chunk;

	cds_list_for_each_entry(chunk, &store->heirs, node)
		for (uint32_t i = 0; i < STRATA_CHUNK_SLOTS; i++)
			if ((chunk->used & 1u << i) == 0) {
				chunk->used |= 1u << i;
				*ret_chunk = chunk;
				*ret_slot = &chunk->slots[i];
				return true;
			}
	if (strata__chunk_claim(&store->rcu, /* inheritable= */ true, &chunk) !=
	    0)
		return false;
	cds_list_add_tail(&chunk->node, &store->heirs);
	chunk->used = 1;
	*ret_chunk = chunk;
	*ret_slot = &chunk->slots[0];
	return true;
}

/*
 * The copy of a pin protects only if the original still stood when the copy was
 * visible. A scan that reads our slot after this section has ended may have read
 * the heir's before it was set: the counter tells it to look again.
 */
static bool
heir_pin(struct strata__slot *heir, const struct strata_reader *reader)
{
	uint64_t pin = reader->pin;

	/* Letter B: as in the read lock, but ordered by a fence of its own. */
	atomic_store_explicit(&heir->pin, pin, memory_order_relaxed);
	strata__fence_seq_cst();
	/* Letter K: the heir's pin is before the counter, and the counter
	 * before the end of our section, or of our life. */
	atomic_fetch_add_explicit(&reader->chunk->head->handovers, 1,
				  memory_order_seq_cst);
	if (atomic_load_explicit(&reader->slot->pin, memory_order_relaxed) ==
	    pin)
		return true;
	atomic_store_explicit(&heir->pin, 0, memory_order_release);
	return false;
}

static void
prepare_reader(struct strata_store *store, struct strata__reader_page *page,
	       unsigned i)
{
	struct strata_reader *reader = &page->readers[i];
	struct strata_reader *heir = &page->inherited[i];
	struct strata__chunk *chunk;
	struct strata__slot *slot;

	/* Other threads do not exist in the child, and nobody there would end
	 * their sections. acquire: a section of another thread is not seen
	 * without its thread; see lock_handed_over(). */
	if (__atomic_load_n(&reader->pin, __ATOMIC_ACQUIRE) == 0 ||
	    __atomic_load_n(&reader->thread, __ATOMIC_RELAXED) !=
		    strata__thread() ||
	    !heir_slot(store, &chunk, &slot))
		return;
	if (!heir_pin(slot, reader)) {
		chunk->used &= ~(1u << (slot - chunk->slots));
		return;
	}
	*heir = *reader;
	heir->chunk = chunk;
	heir->slot = slot;
	page->inherited_mask |= 1u << i;
}

static void
prepare_store(struct strata_store *store)
{
	struct strata__reader_page *page;

	pthread_mutex_lock(&store->mutex);
	pthread_mutex_lock(&store->rcu.scan_mutex);
	pthread_mutex_lock(&store->rcu.mutex);
	pthread_mutex_lock(&store->space.map_mutex);
	cds_list_for_each_entry(page, &store->reader_pages, node)
	{
		page->inherited_mask = 0;
		for (uint32_t left = page->used; left != 0; left &= left - 1)
			prepare_reader(store, page,
				       (unsigned)__builtin_ctz(left));
	}
}

static void
fork_prepare(void)
{
	struct strata_store *store;
	sigset_t before;

	strata__os_signals_block(&before);
	strata__stores_lock();
	signals_before = before;
	cds_list_for_each_entry(store, &strata__stores, node)
		prepare_store(store);
}

/**** after: in the parent ****/

static void
fork_parent(void)
{
	struct strata_store *store;
	struct strata__chunk *chunk, *next;
	sigset_t before;

	cds_list_for_each_entry(store, &strata__stores, node)
	{
		/* The child's mapping keeps the lock from here on. */
		cds_list_for_each_entry_safe(chunk, next, &store->heirs, node)
		{
			cds_list_del(&chunk->node);
			strata__chunk_drop(chunk);
		}
		pthread_mutex_unlock(&store->space.map_mutex);
		pthread_mutex_unlock(&store->rcu.mutex);
		pthread_mutex_unlock(&store->rcu.scan_mutex);
		pthread_mutex_unlock(&store->mutex);
	}
	before = signals_before;
	strata__stores_unlock();
	strata__os_signals_restore(&before);
}

/**** after: in the child ****/

static void
adopt_chunks(struct strata_store *store)
{
	struct strata__chunk *chunk, *next;

	strata__rcu_disown(&store->rcu);
	cds_list_for_each_entry_safe(chunk, next, &store->heirs, node)
	{
		cds_list_del(&chunk->node);
		/* A child of this child must not inherit it in its turn. When
		 * that cannot be had the slot outlives us in our children;
		 * what it pins then is retained longer, which is safe. */
		(void)strata__os_no_fork(chunk->map, STRATA_PAGE);
		(void)strata__os_no_fork(chunk->head, STRATA_PAGE);
		cds_list_add_tail(&chunk->node, &store->rcu.chunks);
	}
}

static void
adopt_sections(struct strata_store *store)
{
	struct strata__reader_page *page;

	cds_list_for_each_entry(page, &store->reader_pages, node)
		for (uint32_t left = page->inherited_mask; left != 0;
		     left &= left - 1) {
			unsigned i = (unsigned)__builtin_ctz(left);

			page->readers[i] = page->inherited[i];
			/* It counts its sections anew, in its slot. */
			page->readers[i].sample_at = 0;
			__atomic_store_n(&page->readers[i].thread,
					 strata__thread(), __ATOMIC_RELAXED);
			strata__slot_sign(page->readers[i].slot);
		}
}

static void
child_store(struct strata_store *store)
{
	pthread_mutex_init(&store->mutex, NULL);
	pthread_mutex_init(&store->rcu.scan_mutex, NULL);
	pthread_mutex_init(&store->rcu.mutex, NULL);
	pthread_mutex_init(&store->space.map_mutex, NULL);
	if (store->wlock.space != NULL) {
		/* The mapping, and with it the slot, stayed behind. */
		pthread_mutex_init(&store->wlock.mutex, NULL);
		store->wlock.forked = true;
		store->space.lock = NULL;
		atomic_store_explicit(&store->session_thread, NULL,
				      memory_order_relaxed);
	}
	adopt_chunks(store);
	adopt_sections(store);
}

static void
fork_child(void)
{
	struct strata_store *store;

	pthread_mutex_init(&stores_mutex, NULL);
	strata__os_forked();
	cds_list_for_each_entry(store, &strata__stores, node)
		child_store(store);
	strata__os_signals_restore(&signals_before);
}

/**** the list ****/

static int handlers_error;

static void
handlers_install(void)
{
	handlers_error = pthread_atfork(fork_prepare, fork_parent, fork_child);
}

int
strata__fork_handlers(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, handlers_install);
	if (handlers_error != 0)
		return strata__fail_errno(handlers_error,
					  "cannot install fork handlers");
	return 0;
}

void
strata__stores_add(struct strata_store *store)
{
	strata__stores_lock();
	cds_list_add_tail(&store->node, &strata__stores);
	strata__stores_unlock();
}

void
strata__stores_remove(struct strata_store *store)
{
	strata__stores_lock();
	cds_list_del(&store->node);
	strata__stores_unlock();
}
