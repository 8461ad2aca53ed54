/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Writing: the writer lock with what goes with it, and sessions that keep it. */
#include <limits.h>
#include <stdlib.h>

#include "error.h"
#include "store.h"
#include "testpoint.h"

/* At most one wake per tick of the coarse clock; strata_wait() knows. */

/**** the writer lock, with what must come before and after ****/

/*
 * Under the writer lock. Who removes or renames a catalog by hand ends the
 * store: another one may have the name already, and two under one name would be
 * two truths. Who takes the lock anew looks; a session that kept it looks once
 * in a tick of the coarse clock: the look is a system call, and was a third of the
 * time of a small commit.
 */
static int
check_alive(struct strata_store *store, bool anew)
{
	struct strata__catalog *catalog = store->space.catalog;
	uint64_t version = atomic_load_explicit(&catalog->hot.version,
						memory_order_relaxed);
	uint64_t now = strata__os_realtime_coarse_ns();

	if ((version & STRATA_VERSION_DEAD) != 0)
		return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				    store->name);
	if (!anew && now == store->last_look_ns)
		return 0;
	store->last_look_ns = now;
	if (strata__space_is_named(&store->space))
		return 0;
	strata__space_mark_dead(&store->space);
	return strata__fail(STRATA_EGONE,
			    "store '%s' is gone: somebody removed or renamed its "
			    "catalog, %s/strata.%s",
			    store->name, store->space.folder.path, store->name);
}

int
strata__check_writer(struct strata_store *store)
{
	if (store == NULL)
		return strata__fail(STRATA_EINVAL, "no store");
	if (store->wlock.space == NULL)
		return strata__fail(STRATA_EACCES,
				    "store '%s' is attached for reading: attach "
				    "with STRATA_WRITE",
				    store->name);
	if (strata__is_forked(store))
		return strata__fail(STRATA_EFORK,
				    "store '%s' was attached for writing by the "
				    "parent of this process: attach again",
				    store->name);
	return 0;
}

static int
make_dirty(struct strata_store *store)
{
	struct strata__lock *lock = store->space.lock;
	int ret = 0;

	/* Letter H orders it: the last owner's stores are before ours. */
	if (atomic_load_explicit(&lock->dirty, memory_order_relaxed) != 0) {
		ret = strata__recover(store);
	} else {
		atomic_store_explicit(&lock->dirty, 1, memory_order_release);
		/* A killed writer shows program order: dirty comes first. */
		atomic_signal_fence(memory_order_seq_cst);
	}
	STRATA_TESTPOINT("write.begin.dirty");
	return ret;
}

static bool
is_session_of_this_thread(struct strata_store *store)
{
	return atomic_load_explicit(&store->session_thread,
				    memory_order_relaxed) == strata__thread();
}

/* A session keeps the lock between its commits, unless it yielded it. */
static int
lock_take(struct strata_store *store, bool *ret_anew)
{
	bool session = is_session_of_this_thread(store);
	int ret;

	*ret_anew = !session || !store->session_locked;
	if (!*ret_anew)
		return 0;
	ret = strata__wlock_acquire(&store->wlock, STRATA_WLOCK_TIMEOUT_NS);
	if (ret == 0 && session)
		store->session_locked = true;
	return ret;
}

static void
lock_give(struct strata_store *store)
{
	bool session = is_session_of_this_thread(store);

	if (session && !strata__wlock_is_wanted(&store->wlock))
		return;
	if (session)
		store->session_locked = false;
	strata__wlock_release(&store->wlock);
	if (session)
		strata__wlock_stand_back(&store->wlock);
}

int
strata__write_begin(struct strata_store *store)
{
	int ret = strata__check_writer(store);
	bool anew;

	if (ret == 0)
		ret = lock_take(store, &anew);
	if (ret != 0)
		return ret;
	ret = check_alive(store, anew);
	if (ret == 0)
		ret = make_dirty(store);
	if (ret != 0)
		lock_give(store);
	return ret;
}

static void
wake_waiters(struct strata_store *store)
{
	struct strata__hot *hot = &store->space.catalog->hot;
	uint32_t counter = atomic_load_explicit(&hot->commit_counter,
						memory_order_relaxed);
	uint64_t now;

	if (counter == store->last_woken)
		return; /* nothing was committed */
	now = strata__os_realtime_coarse_ns();
	if (now == store->last_wake_ns)
		return;
	store->last_wake_ns = now;
	store->last_woken = counter;
	strata__os_futex_wake(&hot->commit_counter, INT_MAX);
}

void
strata__session_yield(struct strata_store *store)
{
	if (!is_session_of_this_thread(store) || !store->session_locked)
		return;
	store->session_locked = false;
	strata__wlock_release(&store->wlock);
}

/* Truncating a segment takes milliseconds: outside of the lock, which is taken
 * again to say that the bytes are free. */
static void
bury(struct strata_store *store, uint32_t *dying, size_t nr_dying)
{
	struct strata_error_info kept = *strata__error();
	size_t nr_buried = 0;

	for (size_t i = 0; i < nr_dying; i++)
		if (strata__segtab_bury(&store->space, dying[i]))
			dying[nr_buried++] = dying[i];
	if (nr_buried != 0 && strata__write_begin(store) == 0) {
		for (size_t i = 0; i < nr_buried; i++)
			strata__segtab_forget(&store->space, dying[i]);
		strata__write_end(store);
	}
	free(dying);
	*strata__error() = kept;
}

void
strata__write_end(struct strata_store *store)
{
	uint32_t *dying = store->dying;
	size_t nr_dying = store->nr_dying;

	store->dying = NULL;
	store->nr_dying = store->max_dying = 0;
	/* Letter F: all that this writer did is done before it is clean. */
	atomic_store_explicit(&store->space.lock->dirty, 0,
			      memory_order_release);
	STRATA_TESTPOINT("write.end.clean");
	wake_waiters(store);
	lock_give(store);
	if (nr_dying != 0)
		bury(store, dying, nr_dying);
	else
		free(dying); /* there was room for one that is a spare now */
}

/**** making a version ****/

int
strata__write_twice(struct strata_store *store,
		    int (*what)(struct strata_store *store, void *arg),
		    void *arg)
{
	int ret, tries = 2;
	bool is_dying;

	do {
		ret = strata__write_begin(store);
		if (ret != 0)
			return ret;
		ret = what(store, arg);
		is_dying = store->nr_dying != 0;
		strata__write_end(store);
	} while (strata__is_shortage(ret) && is_dying && --tries > 0);
	return ret;
}

struct writing {
	const struct strata__write *write;
	void *arg;
	unsigned turns;
	uint64_t version;
};

static int
apply_once(struct strata_store *store, const struct writing *writing)
{
	struct strata__edit *edit = &store->edit;
	int ret = strata__edit_begin(edit);

	if (ret != 0)
		return ret;
	ret = writing->write->apply(edit, writing->arg);
	if (ret != 0)
		strata__edit_abort(edit);
	return ret;
}

static int
write_locked(struct strata_store *store, void *arg)
{
	struct writing *writing = arg;
	int ret = apply_once(store, writing);

	writing->turns++;
	if (strata__is_shortage(ret) && strata__make_room(store, ret) != 0)
		ret = apply_once(store, writing);
	/* Where something is dying there is a second turn. */
	if (strata__is_shortage(ret) &&
	    (store->nr_dying == 0 || writing->turns == 2))
		strata__refuse(store, ret);
	if (ret != 0)
		return ret;
	writing->version = strata__edit_commit(&store->edit);
	writing->write->committed(store, writing->arg);
	return 0;
}

int
strata__write(struct strata_store *store, const struct strata__write *write,
	      void *arg, uint64_t *ret_version)
{
	struct writing writing = {.write = write, .arg = arg};
	int ret = strata__write_twice(store, write_locked, &writing);

	if (ret == 0 && ret_version != NULL)
		*ret_version = writing.version;
	return ret;
}

/**** sessions ****/

struct strata_writer {
	struct strata_store *store;
};

/* Under the lock, which the session of another thread may have yielded. */
static int
check_session(struct strata_store *store)
{
	if (atomic_load_explicit(&store->session_thread,
				 memory_order_acquire) != NULL)
		return strata__fail(STRATA_EBUSY,
				    "another thread has a writer session on this "
				    "handle: close it, or attach once more");
	return check_alive(store, /* anew= */ true);
}

int
strata_writer_open(struct strata_store *store, struct strata_writer **ret_writer)
{
	struct strata_writer *writer;
	int ret = strata__check_writer(store);

	if (ret == 0 && ret_writer == NULL)
		ret = strata__fail(STRATA_EINVAL,
				   "writer_open: no place for it");
	if (ret != 0)
		return ret;
	if (is_session_of_this_thread(store))
		return strata__fail(STRATA_EINVAL,
				    "this thread has a writer session already");
	writer = malloc(sizeof(*writer));
	if (writer == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory for a session");
	ret = strata__wlock_acquire(&store->wlock, STRATA_WLOCK_TIMEOUT_NS);
	if (ret == 0 && (ret = check_session(store)) != 0)
		strata__wlock_release(&store->wlock);
	if (ret != 0) {
		free(writer);
		return ret;
	}
	writer->store = store;
	store->session_locked = true;
	atomic_store_explicit(&store->session_thread, strata__thread(),
			      memory_order_relaxed);
	*ret_writer = writer;
	return 0;
}

int
strata_writer_close(struct strata_writer *writer)
{
	struct strata_store *store;
	bool locked;

	if (writer == NULL)
		return 0;
	store = writer->store;
	if (strata__is_forked(store)) {
		free(writer);
		return strata__fail(STRATA_EFORK,
				    "the session is the parent process's");
	}
	if (!is_session_of_this_thread(store))
		return strata__fail(STRATA_EINVAL,
				    "the session is another thread's");
	if (strata__write_begin(store) == 0) {
		(void)strata__reclaim(store, NULL);
		strata__write_end(store);
	}
	/* The next session may begin as soon as the thread is gone. */
	locked = store->session_locked;
	store->session_locked = false;
	atomic_store_explicit(&store->session_thread, NULL,
			      memory_order_release);
	if (locked)
		strata__wlock_release(&store->wlock);
	free(writer);
	return 0;
}
