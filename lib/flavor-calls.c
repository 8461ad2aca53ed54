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
 * order, each without the mutex: a callback may queue others. Where no thread is
 * to be had, who waits at a barrier does the worker's work. Only one thread does
 * it at a time, so that callbacks keep their order.
 *
 * A fork leaves the child without the worker. What was queued is the child's,
 * too, as all memory is, and the child starts a worker of its own. A callback
 * that was being called during the fork is not called again: of what it frees
 * the child may lose some, and frees nothing twice. Unless it is the callback
 * that forks: then its thread is the child's, and goes on calling there.
 */

static __thread const struct strata__flavor *worker_of;
/* Whose callbacks this thread is calling. */
static __thread const struct strata__flavor *serving;

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
	calls->nr_taken++;
	return head;
}

/**** calling ****/

static void
call_one(struct strata__calls *calls)
{
	struct rcu_head *head = pop(calls);

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
	calls->nr_ready = nr;
}

/* Under the mutex: calls what is queued, until so many have been called. */
static void
serve(struct strata__flavor *flavor, uint64_t nr)
{
	struct strata__calls *calls = &flavor->calls;
	const struct strata__flavor *outer = serving;

	calls->is_served = true;
	serving = flavor;
	while (calls->first != NULL && calls->nr_done < nr)
		if (calls->nr_taken < calls->nr_ready)
			call_one(calls);
		else
			await_queued(flavor);
	serving = outer;
	calls->is_served = false;
	pthread_cond_broadcast(&calls->changed);
}

bool
strata__calls_are_served_here(const struct strata__flavor *flavor)
{
	return serving == flavor;
}

/**** the worker ****/

static void *
work(void *arg)
{
	struct strata__flavor *flavor = arg;
	struct strata__calls *calls = &flavor->calls;

	worker_of = flavor;
	pthread_mutex_lock(&calls->mutex);
	for (;;) {
		if (calls->first != NULL && !calls->is_served)
			serve(flavor, UINT64_MAX);
		else if (calls->first == NULL && calls->stop)
			break;
		else
			pthread_cond_wait(&calls->changed, &calls->mutex);
	}
	pthread_mutex_unlock(&calls->mutex);
	return NULL;
}

bool
strata__calls_is_worker(const struct strata__flavor *flavor)
{
	return worker_of == flavor;
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

void
strata__calls_barrier(struct strata__flavor *flavor)
{
	struct strata__calls *calls = &flavor->calls;
	uint64_t nr;

	pthread_mutex_lock(&calls->mutex);
	nr = calls->nr_queued;
	if (calls->first != NULL)
		worker_need(flavor);
	while (calls->nr_done < nr)
		if (calls->has_worker || calls->is_served)
			pthread_cond_wait(&calls->changed, &calls->mutex);
		else
			serve(flavor, nr);
	pthread_mutex_unlock(&calls->mutex);
}

/* A callback may have queued others. */
static void
call_all(struct strata__flavor *flavor)
{
	struct strata__calls *calls = &flavor->calls;
	bool more;

	do {
		strata__calls_barrier(flavor);
		pthread_mutex_lock(&calls->mutex);
		more = calls->first != NULL && !calls->has_worker;
		pthread_mutex_unlock(&calls->mutex);
	} while (more);
}

void
strata__calls_end(struct strata__flavor *flavor)
{
	struct strata__calls *calls = &flavor->calls;
	bool has_worker;

	call_all(flavor);
	pthread_mutex_lock(&calls->mutex);
	calls->stop = true;
	has_worker = calls->has_worker;
	pthread_cond_broadcast(&calls->changed);
	pthread_mutex_unlock(&calls->mutex);
	if (has_worker)
		pthread_join(calls->worker, NULL);
	pthread_mutex_lock(&calls->mutex);
	calls->has_worker = false;
	pthread_mutex_unlock(&calls->mutex);
}

void
strata__calls_fini(struct strata__calls *calls)
{
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

	pthread_mutex_init(&calls->mutex, NULL);
	pthread_cond_init(&calls->changed, NULL);
	calls->stop = false;
	calls->has_worker = calls->has_worker && worker_of == flavor;
	if (serving == flavor)
		return;
	calls->is_served = false;
	/* One may have been called: it is not ours to call. */
	calls->nr_done = calls->nr_taken;
}
