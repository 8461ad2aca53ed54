/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The writer lock. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "testpoint.h"
#include "wlock.h"

/*
 * An OFD lock taken at every commit would cost seventy times what this does; a
 * robust mutex believes in thread ids, which repeat across pid namespaces. So a
 * futex word says who, and the kernel's lock on the owner's byte, taken once at
 * attach, says whether that is still alive.
 */

/* How long a waiter sleeps before it looks again whether the owner lives. */
#define SLICE_NS (UINT64_C(50) * 1000 * 1000)

static uint32_t
word_slot(uint32_t word)
{
	return ((word & ~STRATA_WLOCK_WAITERS) >> 20) - 1;
}

/**** slots ****/

/*
 * The slot of a dead owner, whom the word still names, comes last: as long as we
 * have claimed it and not signed, that owner looks alive, and if we were stopped
 * there nobody could take over from it. Relaxed: a hint.
 */
static int
slot_claim(const struct strata__lock *lock, int fd, uint32_t *ret_slot)
{
	uint32_t named = word_slot(atomic_load_explicit(&lock->word,
							memory_order_relaxed));

	for (uint32_t i = 0; i < 2 * STRATA_WRITERS; i++) {
		uint32_t slot = i % STRATA_WRITERS;

		if ((slot == named) == (i < STRATA_WRITERS) ||
		    strata__os_lock_try(fd, STRATA_LOCK_WRITER(slot), 1) != 0)
			continue;
		*ret_slot = slot;
		return 0;
	}
	return strata__fail(STRATA_EBUSY,
			    "all %u writer slots of this store are taken",
			    STRATA_WRITERS);
}

/*
 * A dead owner of this slot may still be named by the word: with another
 * incarnation than the word's, whoever looks sees that it is dead.
 */
static int
slot_sign(struct strata__wlock *wlock)
{
	struct strata__lock *lock = wlock->space->lock;
	struct strata__writer_slot *writer = &lock->writers[wlock->slot];
	uint32_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);
	uint32_t incarnation;
	int ret;

	do {
		ret = strata__os_random(&incarnation, sizeof(incarnation));
		if (ret != 0)
			return strata__fail_errno(-ret, "no random number");
		incarnation &= STRATA_WLOCK_INCARNATION_MASK;
		wlock->mine = (wlock->slot + 1) << 20 | incarnation;
	} while (incarnation == 0 ||
		 wlock->mine == (word & ~STRATA_WLOCK_WAITERS));
	writer->pid = (uint32_t)getpid();
	STRATA_TESTPOINT("wlock.attach.numbered");
	strata__os_self(writer->name, sizeof(writer->name),
			&writer->pid_namespace);
	STRATA_TESTPOINT("wlock.attach.named");
	/* Letter G: pairs with owner_is_dead(). */
	atomic_store_explicit(&writer->incarnation, incarnation,
			      memory_order_release);
	STRATA_TESTPOINT("wlock.attach.signed");
	return 0;
}

static int
lock_map(struct strata__wlock *wlock, int fd)
{
	struct strata__space *space = wlock->space;
	uint64_t size = space->geometry->lock_size;
	void *map;
	int ret;

	ret = strata__os_map(fd, /* offset= */ 0, size, /* writable= */ true,
			     &map);
	if (ret != 0)
		return strata__fail_errno(-ret, "cannot map the lock segment");
	ret = strata__os_no_fork(map, size);
	if (ret != 0) {
		ret = strata__fail_errno(-ret, "cannot keep the lock segment "
					       "from children");
		strata__os_unmap(map, size);
		return ret;
	}
	ret = strata__head_check(map, "lock", STRATA_KIND_LOCK, &space->id, 1,
				 size);
	if (ret != 0) {
		strata__os_unmap(map, size);
		return ret;
	}
	space->lock = map;
	return 0;
}

static void
lock_unmap(struct strata__space *space)
{
	strata__os_unmap(space->lock, space->geometry->lock_size);
	STRATA_TESTPOINT("wlock.detach.unmapped");
	space->lock = NULL;
}

/* A descriptor of its own for the lock segment: what is locked through it lives
 * as long as its last reference. */
static int
lock_reopen(const struct strata__space *space)
{
	char name[STRATA_SEGMENT_NAME];
	uint64_t size;
	int fd, ret;

	strata__segment_name_lock(name, &space->id);
	ret = strata__segment_open(&space->folder, name, /* writable= */ true,
				   space->trusted_uid, space->geometry->group,
				   &fd, &size);
	if (ret == -ENOENT)
		return strata__fail(STRATA_EGONE,
				    "the lock segment of store '%s' is gone",
				    space->geometry->name);
	if (ret != 0)
		return ret;
	if (size != space->geometry->lock_size) {
		close(fd);
		return strata__fail(STRATA_ECORRUPT,
				    "the lock segment has a wrong size");
	}
	return fd;
}

int
strata__wlock_attach(struct strata__wlock *wlock, struct strata__space *space)
{
	int fd, ret;

	memset(wlock, 0, sizeof(*wlock));
	fd = lock_reopen(space);
	if (fd < 0)
		return fd;
	wlock->space = space;
	ret = lock_map(wlock, fd);
	if (ret == 0) {
		ret = slot_claim(space->lock, fd, &wlock->slot);
		if (ret == 0)
			ret = slot_sign(wlock);
		if (ret != 0)
			lock_unmap(space);
	}
	/* From here on the mapping is what keeps the lock of our byte. */
	close(fd);
	if (ret != 0) {
		wlock->space = NULL;
		return ret;
	}
	pthread_mutex_init(&wlock->mutex, NULL);
	return 0;
}

void
strata__wlock_detach(struct strata__wlock *wlock)
{
	struct strata__space *space = wlock->space;

	if (space == NULL)
		return;
	if (space->lock != NULL && !wlock->forked)
		lock_unmap(space);
	space->lock = NULL;
	pthread_mutex_destroy(&wlock->mutex);
	wlock->space = NULL;
}

/**** the word ****/

static bool
owner_is_dead(const struct strata__wlock *wlock, uint32_t word)
{
	struct strata__lock *lock = wlock->space->lock;
	uint32_t slot = word_slot(word);
	uint32_t incarnation = word & STRATA_WLOCK_INCARNATION_MASK;

	if (slot >= STRATA_WRITERS)
		return true; /* nobody writes such a word */
	/* Letter G: pairs with slot_sign(). */
	if (atomic_load_explicit(&lock->writers[slot].incarnation,
				 memory_order_acquire) != incarnation)
		return true;
	if (slot == wlock->slot)
		return false;
	/* Nothing is known by a descriptor that is not ours any more. */
	if (strata__space_mend(wlock->space) != 0)
		return false;
	return strata__os_is_locked(wlock->space->lock_fd,
				    STRATA_LOCK_WRITER(slot), 1) == 0;
}

/* One try; *word is what was seen when it fails. */
static bool
word_take(struct strata__wlock *wlock, uint32_t waiters, uint32_t *word)
{
	struct strata__lock *lock = wlock->space->lock;

	*word = 0;
	/* Letter H: pairs with the release of whoever had it before. */
	if (atomic_compare_exchange_strong_explicit(
		    &lock->word, word, wlock->mine | waiters,
		    memory_order_acquire, memory_order_relaxed))
		return true;
	if (!owner_is_dead(wlock, *word))
		return false;
	STRATA_TESTPOINT("wlock.acquire.dead-owner-seen");
	/* Only from the exact word that was judged: two waiters may have. */
	return atomic_compare_exchange_strong_explicit(
		&lock->word, word,
		wlock->mine | waiters | (*word & STRATA_WLOCK_WAITERS),
		memory_order_acquire, memory_order_relaxed);
}

static bool
is_this_process(const struct strata__writer_slot *writer)
{
	uint64_t pid_namespace;
	char name[sizeof(writer->name)];

	strata__os_self(name, sizeof(name), &pid_namespace);
	return writer->pid == (uint32_t)getpid() &&
		writer->pid_namespace == pid_namespace;
}

static int
timed_out(const struct strata__wlock *wlock, uint32_t word)
{
	struct strata__lock *lock = wlock->space->lock;
	const struct strata__writer_slot *writer;
	uint32_t slot = word_slot(word);
	uint64_t since = atomic_load_explicit(&lock->since_ns,
					      memory_order_relaxed);
	uint64_t now = strata__os_realtime_ns();

	if (word == 0 || slot >= STRATA_WRITERS)
		return strata__fail(STRATA_ETIMEDOUT,
				    "the writer lock of store '%s' could not "
				    "be had in time; try again",
				    wlock->space->geometry->name);
	writer = &lock->writers[slot];
	if (is_this_process(writer))
		return strata__fail(STRATA_ETIMEDOUT,
				    "the writer lock of store '%s' is held by "
				    "this very process, by another handle or "
				    "its writer session: close that first",
				    wlock->space->geometry->name);
	return strata__fail(STRATA_ETIMEDOUT,
			    "the writer lock of store '%s' is held by process "
			    "%u ('%.31s') since %.1f s; if it is stopped, "
			    "continue or kill it",
			    wlock->space->geometry->name, writer->pid,
			    writer->name,
			    now > since ? (double)(now - since) / 1e9 : 0.0);
}

static int
word_wait(struct strata__wlock *wlock, uint64_t deadline)
{
	struct strata__lock *lock = wlock->space->lock;
	uint32_t word;

	for (;;) {
		/* Who has waited cannot know that it was alone. */
		if (word_take(wlock, STRATA_WLOCK_WAITERS, &word))
			return 0;
		if (strata__os_monotonic_ns() >= deadline)
			return timed_out(wlock, word);
		if (word == 0)
			continue;
		if ((word & STRATA_WLOCK_WAITERS) == 0 &&
		    !atomic_compare_exchange_strong_explicit(
			    &lock->word, &word, word | STRATA_WLOCK_WAITERS,
			    memory_order_relaxed, memory_order_relaxed))
			continue;
		STRATA_TESTPOINT("wlock.wait.announced");
		strata__os_futex_wait(&lock->word, word | STRATA_WLOCK_WAITERS,
				      SLICE_NS);
		STRATA_TESTPOINT("wlock.wait.slept");
	}
}

static int
mutex_wait(struct strata__wlock *wlock, uint64_t timeout_ns)
{
	int ret;

	atomic_fetch_add_explicit(&wlock->nr_waiting, 1, memory_order_relaxed);
	ret = strata__os_mutex_wait(&wlock->mutex, timeout_ns);
	atomic_fetch_sub_explicit(&wlock->nr_waiting, 1, memory_order_relaxed);
	if (ret == 0)
		return 0;
	return strata__fail(STRATA_ETIMEDOUT,
			    "another thread of this process keeps the writer "
			    "lock of store '%s'",
			    wlock->space->geometry->name);
}

int
strata__wlock_acquire(struct strata__wlock *wlock, uint64_t timeout_ns)
{
	uint64_t begin = 0;
	uint32_t word;
	int ret = 0;

	/* The clock is asked only by those who wait. */
	if (pthread_mutex_trylock(&wlock->mutex) != 0) {
		begin = strata__os_monotonic_ns();
		ret = mutex_wait(wlock, timeout_ns);
	}
	if (ret != 0)
		return ret;
	if (!word_take(wlock, 0, &word)) {
		if (begin == 0)
			begin = strata__os_monotonic_ns();
		ret = word_wait(wlock, begin + timeout_ns);
	}
	if (ret != 0) {
		pthread_mutex_unlock(&wlock->mutex);
		return ret;
	}
	STRATA_TESTPOINT("wlock.acquire.word-taken");
	atomic_store_explicit(&wlock->space->lock->since_ns,
			      strata__os_realtime_coarse_ns(),
			      memory_order_relaxed);
	STRATA_TESTPOINT("wlock.acquire.taken");
	return 0;
}

void
strata__wlock_release(struct strata__wlock *wlock)
{
	struct strata__lock *lock = wlock->space->lock;
	uint32_t word;

	/* Letter H. */
	word = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
	STRATA_TESTPOINT("wlock.release.freed");
	if ((word & STRATA_WLOCK_WAITERS) != 0)
		strata__os_futex_wake(&lock->word, 1);
	pthread_mutex_unlock(&wlock->mutex);
}

bool
strata__wlock_is_wanted(struct strata__wlock *wlock)
{
	return (atomic_load_explicit(&wlock->space->lock->word,
				     memory_order_relaxed) &
		STRATA_WLOCK_WAITERS) != 0 ||
		atomic_load_explicit(&wlock->nr_waiting,
				     memory_order_relaxed) != 0;
}

void
strata__wlock_stand_back(struct strata__wlock *wlock)
{
	/* Bounded: who waits may be dead by now. */
	for (int i = 0; i < 100; i++) {
		if (atomic_load_explicit(&wlock->space->lock->word,
					 memory_order_relaxed) != 0)
			return;
		sched_yield();
	}
}
