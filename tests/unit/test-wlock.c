/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The writer lock: one at a time, and none of the dead. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>

#include "attached.h"

TestSuite(wlock, .init = store_setup, .fini = store_teardown, .timeout = 60);

#define SECOND UINT64_C(1000000000)
#define SHORT  (SECOND / 20)

static uint32_t
word(void)
{
	return atomic_load(&store->space.lock->word);
}

static bool
is_waited_for(void)
{
	return (word() & STRATA_WLOCK_WAITERS) != 0;
}

/**** having it ****/

Test(wlock, the_word_names_its_owner)
{
	cr_expect_eq(word(), 0);
	must(strata__wlock_acquire(&store->wlock, SHORT));
	cr_expect_eq(word(), store->wlock.mine);
	cr_expect_eq((word() >> 20) - 1, store->wlock.slot);
	cr_expect_not(strata__wlock_is_wanted(&store->wlock));
	strata__wlock_release(&store->wlock);
	cr_expect_eq(word(), 0);
	strata__wlock_stand_back(&store->wlock);
}

Test(wlock, handles_of_one_process_exclude_each_other)
{
	struct strata_store *other = store_attach(STRATA_WRITE);

	cr_expect_neq(other->wlock.slot, store->wlock.slot);
	must(strata__wlock_acquire(&other->wlock, SHORT));
	expect_error(strata__wlock_acquire(&store->wlock, SHORT),
		     STRATA_ETIMEDOUT, "held by this very process");
	cr_expect_not_null(strstr(strata_last_error()->sentence,
				  "store 'unit'"));
	cr_expect(is_waited_for(), "who waited does not know it was alone");
	strata__wlock_release(&other->wlock);
	must(strata__wlock_acquire(&store->wlock, SHORT));
	strata__wlock_release(&store->wlock);
	must(strata_detach(other));
}

static void *
acquire_shortly(void *arg)
{
	int code = strata__wlock_acquire(&store->wlock, SHORT);

	memcpy(arg, strata_last_error(), sizeof(struct strata_error_info));
	if (code == 0)
		strata__wlock_release(&store->wlock);
	return (void *)(intptr_t)code;
}

Test(wlock, threads_of_one_handle_exclude_each_other)
{
	struct strata_error_info error;
	pthread_t thread;
	void *code;

	must(strata__wlock_acquire(&store->wlock, SHORT));
	pthread_create(&thread, NULL, acquire_shortly, &error);
	pthread_join(thread, &code);
	cr_expect_eq((intptr_t)code, STRATA_ETIMEDOUT);
	cr_expect_not_null(strstr(error.sentence,
				  "another thread of this process"));
	strata__wlock_release(&store->wlock);
	pthread_create(&thread, NULL, acquire_shortly, &error);
	pthread_join(thread, &code);
	cr_expect_eq((intptr_t)code, 0);
}

#define ROUNDS 2000

static void *
count_up(void *arg)
{
	volatile uint64_t *counter = arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (strata__wlock_acquire(&store->wlock, 30 * SECOND) != 0)
			return (void *)1;
		*counter = *counter + 1;
		strata__wlock_release(&store->wlock);
	}
	return NULL;
}

static void
count_up_in_child(struct proc *parent, void *arg)
{
	struct strata_store *mine;

	(void)parent;
	need(strata_attach(STORE, STRATA_WRITE, &mine) == 0, "attach");
	store = mine;
	need(count_up(arg) == NULL, "acquire");
	need(strata_detach(mine) == 0, "detach");
}

Test(wlock, excludes_threads_and_processes)
{
	uint64_t *counter = proc_shared(sizeof(*counter));
	struct proc children[3];
	pthread_t threads[3];
	void *failed;

	for (int i = 0; i < 3; i++)
		proc_start(&children[i], count_up_in_child, counter);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, count_up, counter);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &failed);
		cr_expect_null(failed);
		cr_expect_eq(proc_wait(&children[i]), 0);
	}
	cr_expect_eq(*counter, 6 * ROUNDS);
	cr_expect_eq(word() & ~STRATA_WLOCK_WAITERS, 0);
}

/**** the dead ****/

static void
acquire_and_wait(struct proc *parent, void *arg)
{
	struct strata_store *mine;

	(void)arg;
	need(strata_attach(STORE, STRATA_WRITE, &mine) == 0, "attach");
	need(strata__wlock_acquire(&mine->wlock, SECOND) == 0, "acquire");
	proc_say(parent, 'a');
	proc_hear(parent, 'r');
	strata__wlock_release(&mine->wlock);
	proc_hear(parent, 'e');
}

Test(wlock, is_taken_over_from_a_killed_owner)
{
	struct proc child;

	proc_start(&child, acquire_and_wait, NULL);
	proc_hear(&child, 'a');
	expect_error(strata__wlock_acquire(&store->wlock, SHORT),
		     STRATA_ETIMEDOUT, "is held by process");
	proc_kill(&child);
	must(strata__wlock_acquire(&store->wlock, 0));
	cr_expect_eq(word() & ~STRATA_WLOCK_WAITERS, store->wlock.mine);
	strata__wlock_release(&store->wlock);
}

/* All slots are taken, but that one and those that are: until the close. */
static int
slots_fill(uint32_t but)
{
	char name[STRATA_SEGMENT_NAME];
	int fd;

	strata__segment_name_lock(name, &store->space.id);
	fd = open(file_path(name), O_RDWR);
	cr_assert_geq(fd, 0);
	for (uint32_t slot = 0; slot < STRATA_WRITERS; slot++)
		if (slot != but)
			(void)strata__os_lock_try(fd, STRATA_LOCK_WRITER(slot),
						  1);
	return fd;
}

/* Who claimed it and is stopped before it signs would keep the dead alive. */
Test(wlock, the_slot_of_a_dead_owner_is_the_last_to_be_taken)
{
	struct strata_store *other;
	struct proc child;
	uint32_t dead;

	proc_start(&child, acquire_and_wait, NULL);
	proc_hear(&child, 'a');
	dead = word();
	proc_kill(&child);
	other = store_attach(STRATA_WRITE);
	cr_expect_neq(other->wlock.slot, (dead >> 20) - 1);
	must(strata_detach(other));
	must(strata__wlock_acquire(&store->wlock, 0));
	strata__wlock_release(&store->wlock);
	other = store_attach(STRATA_WRITE);
	cr_expect_eq(other->wlock.slot, (dead >> 20) - 1, "the lowest again");
	must(strata_detach(other));
}

Test(wlock, a_slot_that_is_used_again_does_not_revive_its_owner)
{
	struct strata_store *other;
	struct proc child;
	uint32_t dead;
	int others;

	proc_start(&child, acquire_and_wait, NULL);
	proc_hear(&child, 'a');
	dead = word();
	proc_kill(&child);
	others = slots_fill((dead >> 20) - 1);
	other = store_attach(STRATA_WRITE);
	close(others);
	cr_expect_eq(other->wlock.slot, (dead >> 20) - 1, "the same slot");
	cr_expect_neq(other->wlock.mine, dead, "another incarnation");
	cr_expect_eq(word(), dead, "an attach takes nothing over");
	must(strata__wlock_acquire(&store->wlock, 0));
	strata__wlock_release(&store->wlock);
	must(strata_detach(other));
}

Test(wlock, the_successor_in_a_dead_owners_slot_takes_over)
{
	struct strata_store *other;
	struct proc child;
	int others;

	proc_start(&child, acquire_and_wait, NULL);
	proc_hear(&child, 'a');
	others = slots_fill((word() >> 20) - 1);
	proc_kill(&child);
	other = store_attach(STRATA_WRITE);
	close(others);
	must(strata__wlock_acquire(&other->wlock, 0));
	cr_expect_eq(word(), other->wlock.mine);
	strata__wlock_release(&other->wlock);
	must(strata_detach(other));
}

Test(wlock, a_word_that_names_nobody_is_taken_over)
{
	atomic_store(&store->space.lock->word, (STRATA_WRITERS + 1) << 20 | 5);
	must(strata__wlock_acquire(&store->wlock, 0));
	strata__wlock_release(&store->wlock);
	atomic_store(&store->space.lock->word, STRATA_WLOCK_WAITERS);
	must(strata__wlock_acquire(&store->wlock, 0));
	strata__wlock_release(&store->wlock);
	cr_expect_eq(word(), 0);
}

static void
take_it_first(const char *point)
{
	if (!is_point(point, "wlock.acquire.dead-owner-seen"))
		return;
	/* Another who waits was faster, and is done already. */
	strata__testpoint = NULL;
	atomic_store(&store->space.lock->word, 0);
}

Test(wlock, is_taken_over_only_from_whom_was_judged)
{
	atomic_store(&store->space.lock->word, (STRATA_WRITERS + 1) << 20 | 5);
	strata__testpoint = take_it_first;
	must(strata__wlock_acquire(&store->wlock, SECOND));
	cr_expect_eq(word() & ~STRATA_WLOCK_WAITERS, store->wlock.mine);
	strata__wlock_release(&store->wlock);
}

/**** those who wait ****/

static void
wait_for_it(struct proc *parent, void *arg)
{
	struct strata_store *mine;

	(void)arg;
	need(strata_attach(STORE, STRATA_WRITE, &mine) == 0, "attach");
	proc_say(parent, 'w');
	need(strata__wlock_acquire(&mine->wlock, 30 * SECOND) == 0, "acquire");
	proc_say(parent, 'a');
	proc_hear(parent, 'r');
	strata__wlock_release(&mine->wlock);
}

static void
wait_until_waited_for(void)
{
	while (!is_waited_for())
		sched_yield();
}

Test(wlock, wakes_who_waits)
{
	struct proc child;

	must(strata__wlock_acquire(&store->wlock, SHORT));
	proc_start(&child, wait_for_it, NULL);
	proc_hear(&child, 'w');
	wait_until_waited_for();
	cr_expect(strata__wlock_is_wanted(&store->wlock));
	strata__wlock_release(&store->wlock);
	proc_hear(&child, 'a');
	proc_say(&child, 'r');
	cr_expect_eq(proc_wait(&child), 0);
}

Test(wlock, a_stopped_owner_is_named)
{
	struct proc child;
	char words[64];

	proc_start(&child, acquire_and_wait, NULL);
	proc_hear(&child, 'a');
	proc_stop(&child);
	snprintf(words, sizeof(words), "held by process %d ('", (int)child.pid);
	expect_error(strata__wlock_acquire(&store->wlock, SHORT),
		     STRATA_ETIMEDOUT, words);
	cr_expect_not_null(strstr(strata_last_error()->sentence,
				  "continue or kill it"));
	proc_continue(&child);
	proc_say(&child, 'r');
	must(strata__wlock_acquire(&store->wlock, 30 * SECOND));
	strata__wlock_release(&store->wlock);
	proc_say(&child, 'e');
	cr_expect_eq(proc_wait(&child), 0);
}

/**** sessions ****/

Test(wlock, a_session_keeps_the_lock_between_commits)
{
	struct strata_writer *writer, *second;

	must(strata_writer_open(store, &writer));
	cr_expect_eq(word(), store->wlock.mine);
	put(1, 0, 'a', 10);
	put(1, 1, 'b', 10);
	cr_expect_eq(word(), store->wlock.mine);
	expect_error(strata_writer_open(store, &second), STRATA_EINVAL,
		     "has a writer session already");
	must(strata_writer_close(writer));
	cr_expect_eq(word(), 0);
	cr_expect(has(1, 1, 'b', 10));
	must(strata_writer_open(store, &writer));
	must(strata_writer_close(writer));
	cr_expect_eq(strata_writer_close(NULL), 0);
}

static void
commit_once(struct proc *parent, void *arg)
{
	(void)arg;
	store = NULL;
	need(strata_attach(STORE, STRATA_WRITE, &store) == 0, "attach");
	proc_say(parent, 'w');
	put(2, 0, 'c', 10);
	proc_say(parent, 'd');
	proc_hear(parent, 'e');
	need(strata_detach(store) == 0, "detach");
}

Test(wlock, a_session_yields_to_others_between_commits)
{
	struct strata_writer *writer;
	struct proc child;

	must(strata_writer_open(store, &writer));
	proc_start(&child, commit_once, NULL);
	proc_hear(&child, 'w');
	wait_until_waited_for();
	put(1, 0, 'a', 10);
	proc_hear(&child, 'd');
	cr_expect(has(2, 0, 'c', 10), "while the session is open");
	put(1, 0, 'b', 10);
	cr_expect_eq(word() & ~STRATA_WLOCK_WAITERS, store->wlock.mine,
		     "it took the lock again");
	must(strata_writer_close(writer));
	proc_say(&child, 'e');
	cr_expect_eq(proc_wait(&child), 0);
	cr_expect(has(1, 0, 'b', 10));
}

struct helper {
	pthread_t thread;
	struct strata_writer *writer;
	int code;
};

static void *
close_foreign(void *arg)
{
	struct helper *helper = arg;

	helper->code = strata_writer_close(helper->writer);
	return NULL;
}

static void *
commit_in_thread(void *arg)
{
	struct helper *helper = arg;
	struct strata_txn *txn;

	helper->code = strata_txn_begin(store, &txn);
	if (helper->code == 0)
		helper->code = strata_put(txn, 3, 0, NULL, "x", 1, 0);
	if (helper->code == 0)
		helper->code = strata_txn_commit(txn, NULL);
	return NULL;
}

Test(wlock, a_session_is_its_threads)
{
	struct helper helper = {.code = 0};

	must(strata_writer_open(store, &helper.writer));
	pthread_create(&helper.thread, NULL, close_foreign, &helper);
	pthread_join(helper.thread, NULL);
	cr_expect_eq(helper.code, STRATA_EINVAL);
	must(strata_writer_close(helper.writer));
}

Test(wlock, a_session_yields_to_other_threads)
{
	struct helper helper = {.code = -1};
	struct strata_writer *writer;

	must(strata_writer_open(store, &writer));
	pthread_create(&helper.thread, NULL, commit_in_thread, &helper);
	while (!strata__wlock_is_wanted(&store->wlock))
		sched_yield();
	put(1, 0, 'a', 10);
	pthread_join(helper.thread, NULL);
	cr_expect_eq(helper.code, 0);
	cr_expect_eq(find_layer(3, 0), 0);
	must(strata_writer_close(writer));
}

Test(wlock, a_session_that_yielded_can_be_closed)
{
	struct strata_writer *writer;
	struct proc child;

	must(strata_writer_open(store, &writer));
	proc_start(&child, wait_for_it, NULL);
	proc_hear(&child, 'w');
	wait_until_waited_for();
	put(1, 0, 'a', 10);
	proc_hear(&child, 'a');
	proc_say(&child, 'r');
	cr_expect_eq(proc_wait(&child), 0);
	must(strata_writer_close(writer));
	cr_expect_eq(word() & ~STRATA_WLOCK_WAITERS, 0);
}

Test(wlock, a_session_needs_a_store_to_write_to)
{
	struct strata_store *other = store_attach(STRATA_READ);
	struct strata_writer *writer;

	expect_error(strata_writer_open(other, &writer), STRATA_EACCES,
		     "attach with STRATA_WRITE");
	expect_error(strata_writer_open(NULL, &writer), STRATA_EINVAL, "");
	expect_error(strata_writer_open(store, NULL), STRATA_EINVAL,
		     "no place for it");
	cr_expect_eq(word(), 0);
	must(strata_detach(other));
	must(strata_destroy(STORE));
	expect_error(strata_writer_open(store, &writer), STRATA_EGONE,
		     "was destroyed");
	cr_expect_eq(word(), 0, "and the lock is given back");
}

/**** fork ****/

struct inherited {
	struct strata_txn *txn, *empty;
	struct strata_writer *writer;
};

static void
write_in_child(struct proc *parent, void *arg)
{
	struct inherited *inherited = arg;
	struct strata_writer *writer;
	struct strata_txn *txn;
	struct strata_store *mine;

	(void)parent;
	need(strata_put(inherited->txn, 1, 0, NULL, "x", 1, 0) ==
		     STRATA_EFORK,
	     "put");
	need(strstr(strata_last_error()->sentence, "attach again") != NULL,
	     "what to do");
	need(strata_txn_commit(inherited->txn, NULL) == STRATA_EFORK, "commit");
	need(strata_txn_commit(inherited->empty, NULL) == STRATA_EFORK,
	     "an empty one");
	strata_txn_abort(inherited->empty);
	strata_txn_abort(inherited->txn);
	need(strata_txn_begin(store, &txn) == STRATA_EFORK, "begin");
	need(strata_writer_open(store, &writer) == STRATA_EFORK, "open");
	need(strata_writer_close(inherited->writer) == STRATA_EFORK, "close");
	need(strata_crystallize(store, 1) == STRATA_EFORK, "crystallise");
	need(strata_unload(store, 1, 0) == STRATA_EFORK, "unload");
	need(strata_gc(store, NULL) == STRATA_EFORK, "gc");
	need(strata_limit(store, 16 * MIB) == STRATA_EFORK, "limit");
	need(strata_detach(store) == 0, "detach");
	need(strata_attach(STORE, STRATA_WRITE, &mine) == 0, "attach again");
	need(strata_detach(mine) == 0, "detach");
}

Test(wlock, a_child_writes_only_after_an_attach_of_its_own)
{
	struct inherited inherited;
	struct proc child;

	inherited.txn = txn_begin();
	inherited.empty = txn_begin();
	must(strata_put(inherited.txn, 1, 0, NULL, "old", 3, 0));
	must(strata_writer_open(store, &inherited.writer));
	proc_start(&child, write_in_child, &inherited);
	cr_expect_eq(proc_wait(&child), 0);
	cr_expect_eq(word() & ~STRATA_WLOCK_WAITERS, store->wlock.mine,
		     "the parent's session goes on");
	must(strata_txn_commit(inherited.txn, NULL));
	must(strata_txn_commit(inherited.empty, NULL));
	must(strata_writer_close(inherited.writer));
	cr_expect_eq(find_layer(1, 0), 0);
}
