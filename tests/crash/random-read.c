/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The random driver's readers: what each section sees is noted for the judge.
 */
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "random.h"
#include "testpoint.h"

#define NR_HEIRS 2u

struct eye {
	struct reader *me;
	uint64_t random;
	struct strata_store *store;
	struct strata_reader *reader, *twin;
	uint64_t newest; /* version that was seen, by either */
	pid_t heirs[NR_HEIRS];
};

static uint64_t
chance(struct eye *eye, uint64_t of)
{
	return (test_random(&eye->random) >> 16) % of;
}

/**** sections ****/

/* Where the judge is behind it is not noted. */
static void
note(struct eye *eye, const struct sight *sight)
{
	struct reader *me = eye->me;
	uint64_t nr = atomic_load_explicit(&me->nr, memory_order_relaxed);

	/* Acquire: the judge has read what was there. */
	if (nr - atomic_load_explicit(&me->judged, memory_order_acquire) ==
	    NR_SIGHTS)
		return;
	me->sights[nr % NR_SIGHTS] = *sight;
	/* Release: the judge finds it whole, though we be killed. */
	atomic_store_explicit(&me->nr, nr + 1, memory_order_release);
}

static void
lock(struct eye *eye, struct strata_reader *reader)
{
	uint64_t at_least = strata_version(eye->store), version;

	need(strata_read_lock(reader) == 0, "lock");
	version = strata_reader_version(reader);
	need(version >= at_least && version >= eye->newest,
	     "a section of version %" PRIu64 " after one of %" PRIu64
	     ", in a store of version %" PRIu64,
	     version, eye->newest, at_least);
	eye->newest = version;
}

static void
unlock(struct strata_reader *reader)
{
	need(strata_read_unlock(reader) == 0, "unlock");
}

static void
must_see(struct strata_reader *reader, const struct sight *expected)
{
	struct sight again;

	sight_take(reader, &again);
	need(memcmp(&again, expected, sizeof(again)) == 0,
	     "what a section of version %" PRIu64 " saw has changed",
	     expected->version);
}

/* A whole section of the other handle, in the one that is open. */
static void
look_with_twin(struct eye *eye)
{
	struct sight sight;

	lock(eye, eye->twin);
	sight_take(eye->twin, &sight);
	note(eye, &sight);
	unlock(eye->twin);
}

static void
nest(struct eye *eye, const struct sight *sight)
{
	need(strata_read_lock(eye->reader) == 0, "nest");
	must_see(eye->reader, sight);
	unlock(eye->reader);
	figure(NESTS);
}

/**** children ****/

static void
heir_main(struct eye *eye, const struct proc *parent, const struct sight *sight)
{
	close(parent->in);
	close(parent->out);
	for (uint64_t i = chance(eye, 4); i != 0; i--)
		sched_yield();
	must_see(eye->reader, sight);
	unlock(eye->reader);
	lock(eye, eye->reader);
	sight_take(eye->reader, &(struct sight){0});
	unlock(eye->reader);
	figure(HEIRS);
	test_exit(0);
}

static bool
reap(pid_t *heir, int flags)
{
	int status;

	if (*heir == 0 || waitpid(*heir, &status, flags) == 0)
		return *heir == 0;
	need(status == 0, "a child left with status %x", (unsigned)status);
	*heir = 0;
	return true;
}

static void
bequeath(struct eye *eye, const struct proc *parent, const struct sight *sight)
{
	for (unsigned i = 0; i < NR_HEIRS; i++) {
		if (!reap(&eye->heirs[i], WNOHANG))
			continue;
		eye->random++;
		eye->heirs[i] = fork();
		need(eye->heirs[i] >= 0, "fork");
		if (eye->heirs[i] == 0)
			heir_main(eye, parent, sight);
		return;
	}
}

/**** where a reader is slow ****/

static struct strata_store *watched;
static uint64_t slowness;

/* Between the look at the version and the pin: then commits go by, and what was
 * looked at may be gone. */
static void
at_point(const char *point)
{
	uint64_t random, version;

	if (strcmp(point, "reader.lock.version-read") != 0 || watched == NULL)
		return;
	random = test_random(&slowness);
	if (random % 8 != 0)
		return;
	version = strata_version(watched) + 1 + (random >> 8) % 4;
	for (unsigned i = 0; i < 200 && strata_version(watched) < version; i++)
		sched_yield();
}

/**** a turn ****/

static void
dawdle(struct eye *eye, const struct sight *sight)
{
	for (uint64_t i = chance(eye, 8); i != 0; i--)
		sched_yield();
	must_see(eye->reader, sight);
	figure(LONG);
}

static void
section(struct eye *eye, const struct proc *parent)
{
	struct sight sight;

	lock(eye, eye->reader);
	sight_take(eye->reader, &sight);
	if (chance(eye, 8) == 0)
		nest(eye, &sight);
	if (chance(eye, 16) == 0)
		bequeath(eye, parent, &sight);
	if (chance(eye, 8) == 0)
		look_with_twin(eye);
	if (chance(eye, 4) == 0)
		dawdle(eye, &sight);
	unlock(eye->reader);
	note(eye, &sight);
	atomic_fetch_add_explicit(&eye->me->sections, 1, memory_order_relaxed);
}

static void
open_readers(struct eye *eye)
{
	need(strata_reader_open(eye->store, &eye->reader) == 0, "open");
	need(strata_reader_open(eye->store, &eye->twin) == 0, "open the twin");
}

static void
close_readers(struct eye *eye)
{
	need(strata_reader_close(eye->reader) == 0, "close");
	need(strata_reader_close(eye->twin) == 0, "close the twin");
}

static void
attach(struct eye *eye)
{
	need(strata_attach(store_is, STRATA_READ, &eye->store) == 0, "attach");
	watched = eye->store;
	open_readers(eye);
}

static int
ignore_reader(const struct strata_reader_info *info, void *arg)
{
	(void)info;
	(void)arg;
	return 0;
}

static void
wait_somehow(struct eye *eye)
{
	int ret;

	if (chance(eye, 2) == 0)
		ret = strata_wait(eye->store, strata_version(eye->store) + 1,
				  1000000);
	else
		ret = strata_synchronize(eye->store, 5000000);
	need(ret == 0 || ret == STRATA_ETIMEDOUT, "wait: %d", ret);
	figure(WAITS);
}

/* Readers that only read would take the processors from the writers. */
static void
let_others(struct eye *eye)
{
	if (chance(eye, 4) == 0)
		return;
	(void)strata_wait(eye->store, strata_version(eye->store) + 1, 2000000);
}

/* Between two sections; faithful ones stay attached. */
static void
between(struct eye *eye)
{
	bool faithful = eye->me < &shared->readers[NR_FAITHFUL];

	let_others(eye);
	switch (chance(eye, 64)) {
	case 0:
		close_readers(eye);
		open_readers(eye);
		break;
	case 1:
		if (faithful)
			break;
		watched = NULL;
		need(strata_detach(eye->store) == 0, "detach");
		attach(eye);
		break;
	case 2:
		need(strata_foreach_reader(eye->store, ignore_reader, NULL) ==
			     0,
		     "readers");
		break;
	case 3:
		need(strata_refresh(eye->store) == 0, "refresh");
		break;
	case 4:
	case 5:
		wait_somehow(eye);
		break;
	default:
		break;
	}
}

void
reader_main(struct proc *parent, void *arg)
{
	struct eye eye = {.me = arg};

	eye.random = seed_of((uint64_t)(eye.me - shared->readers) + 32,
			     eye.me->attempt);
	slowness = ~eye.random;
	strata__testpoint = at_point;
	attach(&eye);
	while (atomic_load_explicit(&shared->stop, memory_order_relaxed) == 0) {
		section(&eye, parent);
		between(&eye);
	}
	for (unsigned i = 0; i < NR_HEIRS; i++)
		(void)reap(&eye.heirs[i], 0);
	need(strata_detach(eye.store) == 0, "detach");
}
