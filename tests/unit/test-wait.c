/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Waiting for a version. */
#include <pthread.h>
#include <sched.h>

#include "attached.h"

TestSuite(wait, .init = store_setup, .fini = store_teardown, .timeout = 60);

#define MS 1000000

static uint64_t
now(void)
{
	return strata__os_monotonic_ns();
}

Test(wait, returns_at_once_when_the_version_is_there)
{
	put(1, 0, 'a', 10);
	must(strata_wait(store, 0, 0));
	must(strata_wait(store, 1, 0));
	must(strata_wait(store, 2, -1));
	expect_error(strata_wait(NULL, 1, 0), STRATA_EINVAL, "no store");
}

Test(wait, gives_up_after_its_time)
{
	uint64_t begin = now();

	expect_error(strata_wait(store, 2, 0), STRATA_ETIMEDOUT,
		     "did not reach version 2 in time, it is at 1");
	expect_error(strata_wait(store, 99, 50 * MS), STRATA_ETIMEDOUT,
		     "version 99");
	cr_expect_geq(now() - begin, 50 * MS);
}

struct waiter {
	pthread_t thread;
	uint64_t version;
	int64_t timeout_ns;
	int code;
};

static void *
wait_for(void *arg)
{
	struct waiter *waiter = arg;

	waiter->code = strata_wait(store, waiter->version, waiter->timeout_ns);
	return NULL;
}

Test(wait, is_woken_by_commits)
{
	struct waiter waiters[3] = {{.version = 2, .timeout_ns = -1},
				    {.version = 5, .timeout_ns = -1},
				    {.version = 9, .timeout_ns = 5000L * MS}};

	for (int i = 0; i < 3; i++)
		pthread_create(&waiters[i].thread, NULL, wait_for, &waiters[i]);
	for (int i = 0; i < 8; i++)
		put(1, 0, 'a', 10);
	for (int i = 0; i < 3; i++) {
		pthread_join(waiters[i].thread, NULL);
		cr_expect_eq(waiters[i].code, 0);
	}
}

/* Not by the end of its slice, which is long when nothing was committed during
 * the one before. A busy machine is not late every time. */
Test(wait, is_woken_out_of_a_long_slice)
{
	unsigned nr_late = 0;

	for (unsigned round = 0; round < 5; round++) {
		struct waiter waiter = {.version = strata_version(store) + 1,
					.timeout_ns = -1};
		uint64_t begin;

		pthread_create(&waiter.thread, NULL, wait_for, &waiter);
		expect_error(strata_wait(store, waiter.version, 50L * MS),
			     STRATA_ETIMEDOUT, "");
		begin = now();
		put(1, 0, 'a', 10);
		pthread_join(waiter.thread, NULL);
		cr_expect_eq(waiter.code, 0);
		nr_late += now() - begin > 400L * MS;
	}
	cr_expect_lt(nr_late, 5);
}

static void
play(struct proc *parent, void *arg)
{
	store = NULL;
	(void)arg;
	need(strata_attach(STORE, STRATA_WRITE, &store) == 0, "attach");
	proc_say(parent, 'a');
	for (uint64_t version = 2; version < 200; version += 2) {
		need(strata_wait(store, version, 20000L * MS) == 0, "%d",
		     (int)version);
		put(2, 0, 'c', 10);
	}
	need(strata_detach(store) == 0, "detach");
}

Test(wait, processes_take_turns)
{
	uint64_t begin = now();
	struct proc child;

	proc_start(&child, play, NULL);
	proc_hear(&child, 'a');
	for (uint64_t version = 1; version < 200; version += 2) {
		must(strata_wait(store, version, 20000L * MS));
		put(1, 0, 'p', 10);
	}
	cr_expect_eq(proc_wait(&child), 0);
	cr_expect_eq(strata_version(store), 200);
	/* In a burst a wake may come 10 ms late, not a second. */
	cr_expect_lt(now() - begin, 20000L * MS);
}

Test(wait, ends_with_the_store)
{
	struct waiter waiter = {.version = 99, .timeout_ns = -1};

	pthread_create(&waiter.thread, NULL, wait_for, &waiter);
	must(strata_destroy(STORE));
	pthread_join(waiter.thread, NULL);
	cr_expect_eq(waiter.code, STRATA_EGONE);
	expect_error(strata_wait(store, 1, -1), STRATA_EGONE, "destroyed");
}

/**** in a session ****/

/* By a handle of its own, as another process would. */
static void *
commit_by_another(void *arg)
{
	struct strata_store *other = arg;
	struct strata_txn *txn;

	if (strata_txn_begin(other, &txn) != 0)
		return other;
	if (strata_put(txn, 1, 0, NULL, "x", 1, 0) != 0 ||
	    strata_txn_commit(txn, NULL) != 0) {
		strata_txn_abort(txn);
		return other;
	}
	return NULL;
}

static atomic_int is_inside;

/* Its section lasts until it has committed. */
static void *
read_and_commit(void *arg)
{
	struct strata_store *other = arg;
	struct strata_reader *reader;
	void *failed;

	if (strata_reader_open(other, &reader) != 0 ||
	    strata_read_lock(reader) != 0)
		return other;
	atomic_store(&is_inside, 1);
	failed = commit_by_another(other);
	return strata_read_unlock(reader) == 0 &&
			       strata_reader_close(reader) == 0
		       ? failed
		       : other;
}

static int
wait_for_commit(void)
{
	return strata_wait(store, strata_version(store) + 1, 20000L * MS);
}

static int
wait_for_section(void)
{
	while (atomic_load(&is_inside) == 0)
		sched_yield();
	return strata_synchronize(store, 20000L * MS);
}

/* In a session, for what a thread does that needs its lock. */
static void
expect_yielded(void *(*what)(void *other), int (*wait)(void))
{
	struct strata_store *other = store_attach(STRATA_WRITE);
	struct strata_writer *writer;
	pthread_t thread;
	void *failed;

	must(strata_writer_open(store, &writer));
	put(1, 0, 'a', 10);
	pthread_create(&thread, NULL, what, other);
	must(wait());
	pthread_join(thread, &failed);
	cr_expect_null(failed);
	put(1, 0, 'b', 10);
	must(strata_writer_close(writer));
	must(strata_detach(other));
}

Test(wait, a_session_lets_others_make_the_version)
{
	expect_yielded(commit_by_another, wait_for_commit);
}

Test(wait, a_session_lets_others_end_their_sections)
{
	expect_yielded(read_and_commit, wait_for_section);
}
