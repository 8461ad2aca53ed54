/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Callbacks after a grace period of this process. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "flavor.h"

/*
 * One worker thread for each flavour, started with the first callback. It takes
 * note of how many are queued, waits for a grace period, and calls so many in
 * order, each without the mutex: a callback may queue others.
 *
 * A fork leaves the child without the worker. What was queued is the child's,
 * too, as all memory is, and the child starts a worker of its own. A callback
 * that was being called during the fork is not called again: of what it frees
 * the child may lose some, and frees nothing twice.
 */

/**** the queue; under the mutex ****/

static void
push(struct strata__calls *calls, struct rcu_head *head)
{
	head->next.next = NULL;
	if (calls->last != NULL)
		calls->last->next.next = &head->next;
	else
		calls->first = head;
	calls->last = head;
	calls->nr_queued++;
	pthread_cond_broadcast(&calls->changed);
}

static struct rcu_head *
pop(struct strata__calls *calls)
{
	struct rcu_head *head = calls->first;
	struct cds_wfcq_node *next = head->next.next;

	calls->first = next != NULL
			       ? caa_container_of(next, struct rcu_head, next)
			       : NULL;
	if (next == NULL)
		calls->last = NULL;
	return head;
}

/**** the worker ****/

static void
call_one(struct strata__calls *calls)
{
	struct rcu_head *head = pop(calls);

	calls->nr_ready--;
	pthread_mutex_unlock(&calls->mutex);
	head->func(head);
	pthread_mutex_lock(&calls->mutex);
	calls->nr_done++;
	pthread_cond_broadcast(&calls->changed);
}

static void
await_queued(struct strata__flavor *flavor)
{
	struct strata__calls *calls = &flavor->calls;
	uint64_t nr = calls->nr_queued;

	pthread_mutex_unlock(&calls->mutex);
	strata__flavor_synchronize(flavor);
	pthread_mutex_lock(&calls->mutex);
	calls->nr_ready = nr - calls->nr_done;
}

static void *
work(void *arg)
{
	struct strata__flavor *flavor = arg;
	struct strata__calls *calls = &flavor->calls;

	pthread_mutex_lock(&calls->mutex);
	for (;;) {
		if (calls->nr_ready > 0)
			call_one(calls);
		else if (calls->first != NULL)
			await_queued(flavor);
		else if (calls->stop)
			break;
		else
			pthread_cond_wait(&calls->changed, &calls->mutex);
	}
	pthread_mutex_unlock(&calls->mutex);
	return NULL;
}

/* Signals are the program's threads' business. */
static int
worker_start(struct strata__flavor *flavor)
{
	struct strata__calls *calls = &flavor->calls;
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&calls->worker, NULL, work, flavor);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	calls->has_worker = err == 0;
	return err;
}

/* When no thread can be had, what is queued waits for the next who tries. */
static void
worker_need(struct strata__flavor *flavor)
{
	if (!flavor->calls.has_worker)
		(void)worker_start(flavor);
}

/**** for the flavour ****/

void
strata__calls_init(struct strata__calls *calls)
{
	memset(calls, 0, sizeof(*calls));
	pthread_mutex_init(&calls->mutex, NULL);
	pthread_cond_init(&calls->changed, NULL);
}

void
strata__calls_add(struct strata__flavor *flavor, struct rcu_head *head,
		  void (*func)(struct rcu_head *head))
{
	struct strata__calls *calls = &flavor->calls;

	head->func = func;
	pthread_mutex_lock(&calls->mutex);
	push(calls, head);
	worker_need(flavor);
	pthread_mutex_unlock(&calls->mutex);
}

struct deferred {
	struct rcu_head head;
	void (*func)(void *arg);
	void *arg;
};

static void
deferred_call(struct rcu_head *head)
{
	struct deferred *deferred =
		caa_container_of(head, struct deferred, head);

	deferred->func(deferred->arg);
	free(deferred);
}

/* Without memory it waits, as liburcu's does when its queue is full. */
void
strata__calls_add_deferred(struct strata__flavor *flavor,
			   void (*func)(void *arg), void *arg)
{
	struct deferred *deferred = malloc(sizeof(*deferred));

	if (deferred == NULL) {
		strata__flavor_synchronize(flavor);
		func(arg);
		return;
	}
	deferred->func = func;
	deferred->arg = arg;
	strata__calls_add(flavor, &deferred->head, deferred_call);
}

/* Under the mutex: calls what is queued in this thread, for want of a worker.
 */
static void
call_all_here(struct strata__flavor *flavor)
{
	struct strata__calls *calls = &flavor->calls;

	while (calls->first != NULL) {
		if (calls->nr_ready == 0)
			await_queued(flavor);
		while (calls->nr_ready > 0)
			call_one(calls);
	}
}

void
strata__calls_barrier(struct strata__flavor *flavor)
{
	struct strata__calls *calls = &flavor->calls;
	uint64_t nr;

	pthread_mutex_lock(&calls->mutex);
	nr = calls->nr_queued;
	if (calls->first != NULL)
		worker_need(flavor);
	if (calls->has_worker)
		while (calls->nr_done < nr)
			pthread_cond_wait(&calls->changed, &calls->mutex);
	else
		call_all_here(flavor);
	pthread_mutex_unlock(&calls->mutex);
}

void
strata__calls_fini(struct strata__flavor *flavor)
{
	struct strata__calls *calls = &flavor->calls;

	strata__calls_barrier(flavor);
	pthread_mutex_lock(&calls->mutex);
	calls->stop = true;
	pthread_cond_broadcast(&calls->changed);
	pthread_mutex_unlock(&calls->mutex);
	if (calls->has_worker)
		pthread_join(calls->worker, NULL);
	pthread_cond_destroy(&calls->changed);
	pthread_mutex_destroy(&calls->mutex);
}

/**** forks ****/

void
strata__calls_before_fork(struct strata__calls *calls)
{
	pthread_mutex_lock(&calls->mutex);
}

void
strata__calls_after_fork_parent(struct strata__calls *calls)
{
	pthread_mutex_unlock(&calls->mutex);
}

void
strata__calls_after_fork_child(struct strata__flavor *flavor)
{
	struct strata__calls *calls = &flavor->calls;
	struct rcu_head *head = calls->first;

	pthread_mutex_init(&calls->mutex, NULL);
	pthread_cond_init(&calls->changed, NULL);
	calls->has_worker = false;
	/* One may have been called: it is not ours to call. */
	calls->nr_ready = 0;
	calls->nr_done = calls->nr_queued;
	for (; head != NULL;
	     head = head->next.next != NULL
			    ? caa_container_of(head->next.next, struct rcu_head,
					       next)
			    : NULL)
		calls->nr_done--;
}
