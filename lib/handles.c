/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Reader handles: pages that a fork wipes, opened, closed, revived. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "store.h"

/*
 * A handle that a child inherited would name the parent's slot, which the
 * parent's death or unlock frees. So handles lie on pages that the kernel wipes
 * in children: a child's first use finds zeroes and takes a slot of its own.
 * That costs the parent's read path nothing, and works for every kind of fork.
 */

static void
handle_fill(struct strata_store *store, struct strata_reader *reader,
	    struct strata__chunk *chunk, struct strata__slot *slot)
{
	memset(reader, 0, sizeof(*reader));
	reader->store = store;
	reader->window = store->space.window;
	reader->full_fence = store->rcu.full_fence;
	reader->chunk = chunk;
	reader->slot = slot;
	reader->hot = &store->space.catalog->hot;
	strata__reader_ways(reader);
}

/* The first page of handles was made at the attach. */
static void *
handles_take(struct strata_store *store)
{
	void *page = store->first_handles;

	store->first_handles = NULL;
	if (page == NULL && strata__os_map_wiped(STRATA_PAGE, &page) != 0)
		return NULL;
	return page;
}

static struct strata__reader_page *
page_create(struct strata_store *store)
{
	struct strata__reader_page *page = calloc(1, sizeof(*page));
	void *readers;

	if (page == NULL)
		return NULL;
	readers = handles_take(store);
	if (readers == NULL) {
		free(page);
		return NULL;
	}
	page->readers = readers;
	cds_list_add_tail(&page->node, &store->reader_pages);
	return page;
}

_Static_assert(STRATA_PAGE_READERS == 32, "strata__reader_page.used: a bit "
					  "each");

/* Under the store's mutex. */
static struct strata_reader *
handle_take(struct strata_store *store)
{
	struct strata__reader_page *page;
	unsigned i;

	cds_list_for_each_entry(page, &store->reader_pages, node)
		if (page->used != UINT32_MAX)
			goto found;
	page = page_create(store);
	if (page == NULL)
		return NULL;
found:
	i = (unsigned)__builtin_ctz(~page->used);
	page->used |= 1u << i;
	store->nr_readers++;
	return &page->readers[i];
}

/* Under the store's mutex. */
static void
handle_give(struct strata_store *store, struct strata_reader *reader)
{
	struct strata__reader_page *page;

	cds_list_for_each_entry(page, &store->reader_pages, node)
		if (reader >= page->readers &&
		    reader < page->readers + STRATA_PAGE_READERS) {
			page->used &= ~(1u << (reader - page->readers));
			memset(reader, 0, sizeof(*reader));
			store->nr_readers--;
			return;
		}
}

/* No slot is to be had; is there something else to do? */
static int
no_slot(int code)
{
	if (code == STRATA_EACCES || code == STRATA_EREADERS ||
	    code == -EROFS || code == -EOVERFLOW)
		strata__error_append("; strata_copy() needs no slot");
	return code;
}

int
strata_reader_open(struct strata_store *store, struct strata_reader **ret_reader)
{
	struct strata_reader *reader;
	struct strata__chunk *chunk;
	struct strata__slot *slot;
	int ret;

	if (store == NULL || ret_reader == NULL)
		return strata__fail(STRATA_EINVAL,
				    "no store, or no place for a reader");
	if (store->space.observing)
		return no_slot(strata__fail(STRATA_EACCES,
					    "store '%s' was attached for "
					    "observing, without readers",
					    store->name));
	ret = strata__slot_take(&store->rcu, &chunk, &slot);
	if (ret != 0)
		return no_slot(ret);
	pthread_mutex_lock(&store->mutex);
	reader = handle_take(store);
	if (reader != NULL)
		handle_fill(store, reader, chunk, slot);
	pthread_mutex_unlock(&store->mutex);
	if (reader == NULL) {
		strata__slot_give(&store->rcu, chunk, slot);
		return strata__fail(STRATA_ENOMEM, "no memory for a reader");
	}
	*ret_reader = reader;
	return 0;
}

/* Under the store's mutex. */
static bool
is_handle_of(struct strata_store *store, const struct strata_reader *reader,
	     bool *ret_used)
{
	struct strata__reader_page *page;

	cds_list_for_each_entry(page, &store->reader_pages, node)
		if (reader >= page->readers &&
		    reader < page->readers + STRATA_PAGE_READERS) {
			*ret_used = (page->used &
				     1u << (reader - page->readers)) != 0;
			return true;
		}
	return false;
}

/* The store and page of a handle; NULL when it is none of ours. Under the lock
 * of the stores. */
static struct strata_store *
handle_owner(const struct strata_reader *reader, bool *ret_used)
{
	struct strata_store *store;
	bool ours = false;

	cds_list_for_each_entry(store, &strata__stores, node)
	{
		pthread_mutex_lock(&store->mutex);
		ours = is_handle_of(store, reader, ret_used);
		pthread_mutex_unlock(&store->mutex);
		if (ours)
			return store;
	}
	return NULL;
}

int
strata__reader_revive(struct strata_reader *reader)
{
	struct strata_store *store;
	struct strata__chunk *chunk;
	struct strata__slot *slot;
	bool used = false;
	int ret;

	strata__stores_lock();
	store = handle_owner(reader, &used);
	if (store == NULL || !used)
		ret = strata__fail(STRATA_EINVAL, "the reader is closed");
	else
		ret = strata__slot_take(&store->rcu, &chunk, &slot);
	if (ret == 0)
		handle_fill(store, reader, chunk, slot);
	strata__stores_unlock();
	return ret;
}

int
strata_reader_close(struct strata_reader *reader)
{
	struct strata_store *store;
	bool used = false;

	if (reader == NULL)
		return 0;
	if (reader->pin != 0)
		return strata__fail(STRATA_EINVAL,
				    "the reader is inside a section: unlock "
				    "first");
	strata__stores_lock();
	store = handle_owner(reader, &used);
	if (store != NULL && used) {
		if (reader->slot != NULL)
			strata__slot_give(&store->rcu, reader->chunk,
					  reader->slot);
		pthread_mutex_lock(&store->mutex);
		handle_give(store, reader);
		pthread_mutex_unlock(&store->mutex);
	}
	strata__stores_unlock();
	if (store == NULL || !used)
		return strata__fail(STRATA_EINVAL, "the reader is closed");
	return 0;
}

void
strata__readers_close(struct strata_store *store)
{
	struct strata__reader_page *page, *next;

	cds_list_for_each_entry_safe(page, next, &store->reader_pages, node)
	{
		for (unsigned i = 0; i < STRATA_PAGE_READERS; i++)
			if (page->readers[i].slot != NULL)
				strata__slot_give(&store->rcu,
						  page->readers[i].chunk,
						  page->readers[i].slot);
		cds_list_del(&page->node);
		strata__os_unmap(page->readers, STRATA_PAGE);
		free(page);
	}
	store->nr_readers = 0;
}
