/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The domain as a flavour of liburcu. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define _LGPL_SOURCE
#include <urcu/call-rcu.h>
#include <urcu/flavor.h>

#include "attached.h"

static const struct rcu_flavor_struct *flavor;

static void
setup(void)
{
	store_setup();
	must(strata_urcu_flavor(store, &flavor));
}

static void
teardown(void)
{
	must(strata_urcu_flavor_close(store));
	store_teardown();
}

TestSuite(flavor, .init = setup, .fini = teardown, .timeout = 60);

/**** a thread that stays in a section until it is told ****/

struct sitter {
	pthread_t thread;
	int in[2], out[2]; /* pipes */
	bool by_handle;    /* a handle of its own, not the flavour's */
};

static void
tell(int fd)
{
	cr_assert_eq(write(fd, "x", 1), 1);
}

static void
hear(int fd)
{
	char byte;

	cr_assert_eq(read(fd, &byte, 1), 1);
}

static bool
heard(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	return poll(&poller, 1, 0) == 1;
}

static void *
sit(void *arg)
{
	struct sitter *sitter = arg;
	struct strata_reader *reader = NULL;

	if (sitter->by_handle) {
		must(strata_reader_open(store, &reader));
		must(strata_read_lock(reader));
	} else {
		flavor->register_thread();
		flavor->read_lock();
	}
	tell(sitter->in[1]);
	hear(sitter->out[0]);
	if (sitter->by_handle) {
		must(strata_read_unlock(reader));
		must(strata_reader_close(reader));
	} else {
		flavor->read_unlock();
		flavor->unregister_thread();
	}
	return NULL;
}

static void
sitter_start(struct sitter *sitter, bool by_handle)
{
	cr_assert_eq(pipe(sitter->in), 0);
	cr_assert_eq(pipe(sitter->out), 0);
	sitter->by_handle = by_handle;
	cr_assert_eq(pthread_create(&sitter->thread, NULL, sit, sitter), 0);
	hear(sitter->in[0]);
}

static void
sitter_end(struct sitter *sitter)
{
	tell(sitter->out[1]);
	pthread_join(sitter->thread, NULL);
}

/* A grace period in a thread of its own, which says when it is over. */
static void *
wait_for_grace(void *arg)
{
	flavor->update_synchronize_rcu();
	tell(*(int *)arg);
	return NULL;
}

/* It is waited for: the end of the grace period comes after that of the
 * section, with no commit at all. */
static void
expect_waited_for(bool by_handle)
{
	struct sitter sitter;
	pthread_t waiter;
	int over[2];

	cr_assert_eq(pipe(over), 0);
	sitter_start(&sitter, by_handle);
	cr_assert_eq(pthread_create(&waiter, NULL, wait_for_grace, &over[1]),
		     0);
	/* It has had the time for many looks. */
	for (int i = 0; i < 1000; i++) {
		cr_assert_not(heard(over[0]), "a grace period ended early");
		sched_yield();
	}
	sitter_end(&sitter);
	hear(over[0]);
	pthread_join(waiter, NULL);
}

Test(flavor, waits_for_its_own_sections)
{
	expect_waited_for(/* by_handle= */ false);
}

Test(flavor, waits_for_sections_of_other_handles)
{
	expect_waited_for(/* by_handle= */ true);
}

Test(flavor, waits_for_nobody_who_came_later)
{
	struct sitter sitter;

	flavor->update_synchronize_rcu();
	flavor->read_lock();
	flavor->read_unlock();
	sitter_start(&sitter, false);
	sitter_end(&sitter);
	flavor->update_synchronize_rcu();
}

/* Another process' reader is none of ours. */
Test(flavor, does_not_wait_for_other_processes)
{
	int in[2], out[2], status;
	pid_t child;

	cr_assert_eq(pipe(in), 0);
	cr_assert_eq(pipe(out), 0);
	child = fork();
	if (child == 0) {
		struct strata_reader *reader;
		char byte;

		if (strata_reader_open(store, &reader) != 0 ||
		    strata_read_lock(reader) != 0 || write(in[1], "x", 1) != 1)
			_exit(1);
		_exit(read(out[0], &byte, 1) != 1);
	}
	hear(in[0]);
	flavor->update_synchronize_rcu();
	tell(out[1]);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0);
}

Test(flavor, sections_nest_and_find)
{
	const struct strata_entry *entry;

	put(1, 0, 'a', 10);
	cr_expect_eq(flavor->read_ongoing(), 0);
	cr_expect_null(strata_urcu_reader(store));
	flavor->read_lock();
	flavor->read_lock();
	must(strata_find(strata_urcu_reader(store), 1, 0, &entry));
	cr_expect_eq(entry->size, 10);
	flavor->read_unlock();
	cr_expect_neq(flavor->read_ongoing(), 0);
	flavor->read_unlock();
	cr_expect_eq(flavor->read_ongoing(), 0);
	flavor->read_unlock();
	cr_expect_eq(flavor->read_ongoing(), 0);
	flavor->read_quiescent_state();
	flavor->thread_offline();
	flavor->thread_online();
	flavor->unregister_thread();
	flavor->unregister_thread();
}

/**** callbacks ****/

static int called[64];
static int nr_called;

struct item {
	struct rcu_head head;
	int number;
};

static void
item_call(struct rcu_head *head)
{
	called[nr_called++] = caa_container_of(head, struct item, head)->number;
}

static void
item_again(struct rcu_head *head)
{
	item_call(head);
	flavor->update_call_rcu(head, item_call);
}

static void
item_defer(void *arg)
{
	called[nr_called++] = *(int *)arg;
}

Test(flavor, callbacks_come_in_order_after_a_grace_period)
{
	static struct item items[16];
	struct sitter sitter;
	int number = 99;

	nr_called = 0;
	sitter_start(&sitter, false);
	for (int i = 0; i < 16; i++) {
		items[i].number = i;
		flavor->update_call_rcu(&items[i].head, item_call);
	}
	flavor->update_defer_rcu(item_defer, &number);
	for (int i = 0; i < 1000; i++) {
		cr_assert_eq(*(volatile int *)&nr_called, 0);
		sched_yield();
	}
	sitter_end(&sitter);
	flavor->barrier();
	cr_assert_eq(nr_called, 17);
	for (int i = 0; i < 16; i++)
		cr_expect_eq(called[i], i);
	cr_expect_eq(called[16], 99);
	flavor->barrier();
}

Test(flavor, a_callback_may_queue_another)
{
	static struct item item = {.number = 5};

	nr_called = 0;
	flavor->update_call_rcu(&item.head, item_again);
	flavor->barrier();
	flavor->barrier();
	cr_expect_eq(nr_called, 2);
}

static void
item_signals(struct rcu_head *head)
{
	sigset_t mask;

	(void)head;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	nr_called = sigismember(&mask, SIGUSR1) == 1 &&
		    sigismember(&mask, SIGTERM) == 1;
}

Test(flavor, the_worker_blocks_all_signals)
{
	static struct item item;

	flavor->update_call_rcu(&item.head, item_signals);
	flavor->barrier();
	cr_expect_eq(nr_called, 1);
}

/**** forks ****/

/* What was queued and not called is called in both. */
Test(flavor, the_child_of_a_fork_has_its_own_worker)
{
	static struct item items[3];
	struct sitter sitter;
	int status;
	pid_t child;

	nr_called = 0;
	sitter_start(&sitter, false);
	for (int i = 0; i < 3; i++)
		flavor->update_call_rcu(&items[i].head, item_call);
	child = fork();
	if (child == 0) {
		/* The sitter is not here. */
		flavor->barrier();
		flavor->read_lock();
		flavor->read_unlock();
		flavor->update_synchronize_rcu();
		_exit(nr_called == 3 ? 0 : 1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0);
	cr_expect_eq(nr_called, 0);
	sitter_end(&sitter);
	flavor->barrier();
	cr_expect_eq(nr_called, 3);
}

Test(flavor, a_section_goes_on_in_the_child)
{
	int status;
	pid_t child;

	put(1, 0, 'a', 10);
	flavor->read_lock();
	child = fork();
	if (child == 0) {
		const struct strata_entry *entry;
		int over[2];
		pthread_t waiter;

		if (flavor->read_ongoing() == 0 ||
		    strata_find(strata_urcu_reader(store), 1, 0, &entry) != 0 ||
		    pipe(over) != 0 ||
		    pthread_create(&waiter, NULL, wait_for_grace, &over[1]) !=
			    0)
			_exit(1);
		for (int i = 0; i < 1000; i++) {
			if (heard(over[0]))
				_exit(2);
			sched_yield();
		}
		flavor->read_unlock();
		pthread_join(waiter, NULL);
		_exit(0);
	}
	flavor->read_unlock();
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0, "status %#x", (unsigned)status);
}

static bool is_child;

static void
item_forks(struct rcu_head *head)
{
	struct item *item = caa_container_of(head, struct item, head);

	nr_called = 0;
	item->number = fork();
	is_child = item->number == 0;
	/* It blocks all other signals, if it hangs. */
	if (is_child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void
item_counts(struct rcu_head *head)
{
	(void)head;
	if (++nr_called == 3 && is_child)
		_exit(42);
}

/* What is queued behind it is called in both, in the child by the thread that
 * the callback returns to. */
Test(flavor, a_callback_may_fork)
{
	static struct item items[4];
	int status;

	flavor->read_lock();
	flavor->update_call_rcu(&items[0].head, item_forks);
	for (int i = 1; i < 4; i++)
		flavor->update_call_rcu(&items[i].head, item_counts);
	flavor->read_unlock();
	flavor->barrier();
	cr_expect_eq(nr_called, 3);
	cr_assert_gt(items[0].number, 0);
	cr_assert_eq(waitpid(items[0].number, &status, 0), items[0].number);
	cr_expect_eq(WEXITSTATUS(status), 42, "status %#x", (unsigned)status);
}

static int nr_paused, nr_resumed;

static void
atfork_pause(void *arg)
{
	(void)arg;
	nr_paused++;
}

static void
atfork_resume(void *arg)
{
	(void)arg;
	nr_resumed++;
}

static void
fork_and_wait(void)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0);
}

/* The worker of the hash tables is one for all of them. It may be waiting for
 * the very section that the fork is made in. */
Test(flavor, a_fork_waits_for_no_hash_table_inside_of_any_section)
{
	struct urcu_atfork atfork = {.before_fork = atfork_pause,
				     .after_fork_parent = atfork_resume,
				     .after_fork_child = atfork_resume};
	struct strata_store *other_store = store_attach(STRATA_READ);
	const struct rcu_flavor_struct *other;
	struct strata_reader *reader;

	must(strata_urcu_flavor(other_store, &other));
	must(strata_reader_open(store, &reader));
	flavor->register_rculfhash_atfork(&atfork);
	flavor->read_lock();
	fork_and_wait();
	flavor->read_unlock();
	must(strata_read_lock(reader));
	fork_and_wait();
	must(strata_read_unlock(reader));
	other->read_lock();
	fork_and_wait();
	other->read_unlock();
	cr_expect_eq(nr_paused, 0);
	fork_and_wait();
	cr_expect_eq(nr_paused, 1);
	cr_expect_eq(nr_resumed, 1);
	flavor->unregister_rculfhash_atfork(&atfork);
	fork_and_wait();
	cr_expect_eq(nr_paused, 1);
	must(strata_reader_close(reader));
	must(strata_urcu_flavor_close(other_store));
	must(strata_detach(other_store));
}

/**** forks where no slot is to be had ****/

static void
setup_few(void)
{
	struct strata_config config = store_config(16 * MIB);

	config.readers = 1;
	store_setup_config(&config);
	must(strata_urcu_flavor(store, &flavor));
}

TestSuite(few_slots, .init = setup_few, .fini = teardown, .timeout = 60);

/* The child's section has no pin. What its own threads free waits for it. */
Test(few_slots, a_section_goes_on_in_the_child)
{
	struct strata_reader *readers[256];
	int nr = 0, status;
	pid_t child;

	flavor->read_lock();
	while (nr < 256 && strata_reader_open(store, &readers[nr]) == 0)
		nr++;
	cr_assert_lt(nr, 256);
	child = fork();
	if (child == 0) {
		pthread_t waiter;
		int over[2];

		if (flavor->read_ongoing() == 0 ||
		    strata_urcu_reader(store) != NULL || pipe(over) != 0 ||
		    pthread_create(&waiter, NULL, wait_for_grace, &over[1]) !=
			    0)
			_exit(1);
		for (int i = 0; i < 1000; i++) {
			if (heard(over[0]))
				_exit(2);
			sched_yield();
		}
		flavor->read_unlock();
		pthread_join(waiter, NULL);
		_exit(0);
	}
	flavor->read_unlock();
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0, "status %#x", (unsigned)status);
	while (nr > 0)
		must(strata_reader_close(readers[--nr]));
}

/**** what is refused, what is survived ****/

Test(flavor, sections_protect_when_the_store_is_gone)
{
	struct strata_reader *none;

	must(strata_destroy(STORE));
	flavor->read_lock();
	none = strata_urcu_reader(store);
	cr_expect_null(none);
	cr_expect_neq(flavor->read_ongoing(), 0);
	flavor->read_unlock();
	expect_waited_for(/* by_handle= */ false);
	/* For the teardown. */
	must(strata_create(STORE, NULL));
}

Test(flavor, it_is_closed_by_the_last_before_detach)
{
	const struct rcu_flavor_struct *again;
	struct sitter sitter;

	must(strata_urcu_flavor(store, &again));
	cr_expect_eq(again, flavor);
	must(strata_urcu_flavor_close(store));
	expect_error(strata_detach(store), STRATA_EINVAL, "flavour is open");
	flavor->read_lock();
	expect_error(strata_urcu_flavor_close(store), STRATA_EINVAL,
		     "inside a section");
	flavor->read_unlock();
	sitter_start(&sitter, false);
	expect_error(strata_urcu_flavor_close(store), STRATA_EBUSY,
		     "1 other threads");
	sitter_end(&sitter);
	must(strata_urcu_flavor_close(store));
	expect_error(strata_urcu_flavor_close(store), STRATA_EINVAL,
		     "no flavour");
	must(strata_urcu_flavor(store, &flavor));
}

static int closed;

static void
item_closes(struct rcu_head *head)
{
	(void)head;
	closed = strata_urcu_flavor_close(store);
}

static void
item_reads(struct rcu_head *head)
{
	(void)head;
	flavor->read_lock();
	flavor->read_unlock();
}

/* Its thread is registered by that; it ends with the flavour. */
Test(flavor, it_is_closed_behind_a_callback_that_reads)
{
	static struct item item;

	flavor->update_call_rcu(&item.head, item_reads);
	flavor->barrier();
	must(strata_urcu_flavor_close(store));
	must(strata_urcu_flavor(store, &flavor));
}

Test(flavor, no_callback_closes_it)
{
	static struct item item;

	flavor->update_call_rcu(&item.head, item_closes);
	flavor->barrier();
	cr_expect_eq(closed, STRATA_EINVAL);
}

static void *
read_and_end(void *arg)
{
	(void)arg;
	flavor->read_lock();
	return NULL;
}

Test(flavor, a_thread_that_ends_is_not_waited_for)
{
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, read_and_end, NULL), 0);
	pthread_join(thread, NULL);
	flavor->update_synchronize_rcu();
}

Test(flavor, a_process_has_four)
{
	struct strata_store *others[4];
	const struct rcu_flavor_struct *one;

	for (int i = 0; i < 4; i++)
		others[i] = store_attach(STRATA_READ);
	for (int i = 0; i < 3; i++)
		must(strata_urcu_flavor(others[i], &one));
	expect_error(strata_urcu_flavor(others[3], &one), STRATA_EBUSY,
		     "4 stores");
	must(strata_urcu_flavor_close(others[0]));
	must(strata_urcu_flavor(others[3], &one));
	for (int i = 1; i < 4; i++)
		must(strata_urcu_flavor_close(others[i]));
	for (int i = 0; i < 4; i++)
		must(strata_detach(others[i]));
	expect_error(strata_urcu_flavor(NULL, &one), STRATA_EINVAL, "no store");
}
