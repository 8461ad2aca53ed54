/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Grace periods over processes: no reader has what is older than one of them.
 */
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"
#include "snapshot.h"
#include "testpoint.h"

/*
 * In the manner of liburcu's rcutorture. One element is the current one. The
 * updater puts the next in its place, makes all others older by one, and waits
 * for a grace period; then it begins again. So an element that a reader got as
 * the current one is 0 or 1 old to the end of the reader's section: to become 2
 * it needs a grace period, which waits for that section. What differs from the
 * model: readers are processes, which nest, fork inside of their sections, are
 * stopped and killed; the updater is killed, too, and the one in its place
 * begins with a grace period. Others commit, so that pins are of many versions,
 * and wait for grace periods of their own.
 *
 * The control is the same with a strata_synchronize() that returns at once:
 * then older elements must be seen.
 */

#define NR_ELEMENTS 10u /* an element comes again when it is that old */
#define NR_AGES     (NR_ELEMENTS + 1) /* the last: that, or older */
#define NR_READERS  4u
#define NS_PER_MS   UINT64_C(1000000)
/* Whoever makes no progress for that long hangs. */
#define PATIENCE_NS (UINT64_C(120) * 1000 * NS_PER_MS)

struct element {
	_Alignas(128) _Atomic uint32_t age;
	_Atomic uint32_t whole; /* 0: being made */
};

/* Shared by all. */
struct board {
	struct element elements[NR_ELEMENTS];
	_Alignas(128) _Atomic uint32_t current;
	_Alignas(128) _Atomic uint32_t stop;
	_Atomic uint64_t seed;
	_Atomic uint64_t periods, others, commits;
	_Atomic uint64_t broken; /* elements that were seen being made */
	_Atomic uint64_t nested, twins, heirs;
	struct {
		_Alignas(128) _Atomic uint64_t sections;
		_Atomic uint64_t ages[NR_AGES];
	} readers[NR_READERS];
};

static struct board *board;
static char name[STRATA_STORE_NAME_MAX + 1];

static void
counted(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static uint64_t
count(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static bool
is_stopped(void)
{
	return atomic_load_explicit(&board->stop, memory_order_relaxed) != 0;
}

/* Another one for each process; the first of them is the run's. */
static uint64_t
next_seed(void)
{
	return atomic_fetch_add_explicit(&board->seed, 1, memory_order_relaxed);
}

static struct strata_store *
attached(unsigned flags)
{
	struct strata_store *store;

	need(strata_attach(name, flags, &store) == 0, "attach");
	return store;
}

/**** readers ****/

struct torturer {
	unsigned index;
	uint64_t random;
	/* Two handles, whose sections overlap now and then. */
	struct strata_reader *reader, *twin;
	pid_t heir; /* 0: none */
};

static struct element *
get_current(void)
{
	struct element *element;

	/* Acquire: the updater made it before. */
	element = &board->elements[atomic_load_explicit(&board->current,
							memory_order_acquire)];
	if (atomic_load_explicit(&element->whole, memory_order_relaxed) == 0)
		counted(&board->broken);
	return element;
}

/* Relaxed: it is inside of the section, and that is all that counts. */
static void
note_age(const struct torturer *self, const struct element *element)
{
	uint32_t age =
		atomic_load_explicit(&element->age, memory_order_relaxed);

	counted(&board->readers[self->index]
			 .ages[age < NR_AGES ? age : NR_AGES - 1]);
	if (atomic_load_explicit(&element->whole, memory_order_relaxed) == 0)
		counted(&board->broken);
}

/* Short as a rule. What is long is longer than a turn of the scheduler now and
 * then, so that grace periods do end in the meantime if they can. */
static void
dawdle(struct torturer *self)
{
	uint64_t random = test_random(&self->random), until;

	if (random % 4 == 0)
		sched_yield();
	if (random % 64 != 0)
		random %= 20000;
	else
		random %= 3 * NS_PER_MS;
	for (until = test_now_ns() + random; test_now_ns() < until;)
		;
}

static void
nest(struct torturer *self)
{
	struct element *element;

	need(strata_read_lock(self->reader) == 0, "nest");
	element = get_current();
	dawdle(self);
	note_age(self, element);
	need(strata_read_unlock(self->reader) == 0, "leave the inner one");
	/* The outer one goes on: it is still one section. */
	dawdle(self);
	note_age(self, element);
	counted(&board->nested);
}

/* A section that begins in this one and ends after it. */
static struct element *
begin_twin(struct torturer *self)
{
	need(strata_read_lock(self->twin) == 0, "lock the twin");
	return get_current();
}

static void
end_twin(struct torturer *self, struct element *element)
{
	dawdle(self);
	note_age(self, element);
	need(strata_read_unlock(self->twin) == 0, "unlock the twin");
	counted(&board->twins);
}

static void
reap_heir(struct torturer *self, int flags)
{
	int status;

	if (self->heir == 0 || waitpid(self->heir, &status, flags) == 0)
		return;
	need(status == 0, "a child left with status %x", (unsigned)status);
	self->heir = 0;
}

/* The child has the section, too: the element must not age there either,
 * however soon the parent leaves, or dies. */
static void
bequeath(struct torturer *self, struct element *element)
{
	reap_heir(self, 0);
	self->heir = fork();
	need(self->heir >= 0, "fork");
	if (self->heir != 0)
		return;
	self->random = next_seed();
	for (uint64_t i = test_random(&self->random) % 8; i != 0; i--)
		dawdle(self);
	dawdle(self);
	note_age(self, element);
	need(strata_read_unlock(self->reader) == 0, "unlock in a child");
	need(strata_read_lock(self->reader) == 0, "lock in a child");
	element = get_current();
	dawdle(self);
	note_age(self, element);
	need(strata_read_unlock(self->reader) == 0, "unlock in a child");
	counted(&board->heirs);
	test_exit(0);
}

static void
read_once(struct torturer *self)
{
	uint64_t random = test_random(&self->random);
	struct element *element, *other = NULL;

	need(strata_read_lock(self->reader) == 0, "lock");
	element = get_current();
	if (random % 32 == 0)
		nest(self);
	if (random % 64 == 1)
		bequeath(self, element);
	dawdle(self);
	if (random % 32 == 2)
		other = begin_twin(self);
	note_age(self, element);
	need(strata_read_unlock(self->reader) == 0, "unlock");
	if (other != NULL)
		end_twin(self, other);
	reap_heir(self, WNOHANG);
	counted(&board->readers[self->index].sections);
}

static void
reader_main(struct proc *parent, void *arg)
{
	struct torturer self = {.index = *(const unsigned *)arg,
				.random = next_seed()};
	struct strata_store *store = attached(STRATA_READ);

	(void)parent;
	need(strata_reader_open(store, &self.reader) == 0, "open");
	need(strata_reader_open(store, &self.twin) == 0, "open the twin");
	while (!is_stopped())
		read_once(&self);
	reap_heir(&self, 0);
	need(strata_detach(store) == 0, "detach");
}

/**** the updater, and others ****/

static void
grace_period(struct strata_store *store)
{
	need(strata_synchronize(store, -1) == 0, "synchronize");
}

/* The next one becomes the current one; all others grow older. */
static void
update(void)
{
	uint32_t i =
		(atomic_load_explicit(&board->current, memory_order_relaxed) +
		 1) %
		NR_ELEMENTS;
	struct element *element = &board->elements[i];

	atomic_store_explicit(&element->whole, 0, memory_order_relaxed);
	/* Whoever still has it is to see that it is not whole. */
	atomic_thread_fence(memory_order_seq_cst);
	atomic_store_explicit(&element->age, 0, memory_order_relaxed);
	atomic_store_explicit(&element->whole, 1, memory_order_relaxed);
	/* Release: whoever gets it finds it whole. */
	atomic_store_explicit(&board->current, i, memory_order_release);
	for (uint32_t k = 0; k < NR_ELEMENTS; k++)
		if (k != i)
			atomic_fetch_add_explicit(&board->elements[k].age, 1,
						  memory_order_relaxed);
}

/* One that was killed may have made the elements older already. */
static void
updater_main(struct proc *parent, void *arg)
{
	struct strata_store *store = attached(STRATA_READ);

	(void)parent;
	(void)arg;
	while (!is_stopped()) {
		grace_period(store);
		counted(&board->periods);
		update();
	}
	need(strata_detach(store) == 0, "detach");
}

static void
commit(struct strata_store *store, uint64_t number)
{
	struct strata_txn *txn;

	need(strata_txn_begin(store, &txn) == 0, "begin");
	need(strata_put(txn, 1, (uint32_t)(number % 8), NULL, &number,
			sizeof(number), 0) == 0,
	     "put");
	need(strata_txn_commit(txn, NULL) == 0, "commit");
	counted(&board->commits);
}

static void
committer_main(struct proc *parent, void *arg)
{
	struct strata_store *store = attached(STRATA_WRITE);
	uint64_t random = next_seed(), number;

	(void)parent;
	(void)arg;
	while (!is_stopped()) {
		number = test_random(&random);
		commit(store, number);
		if (number % 16 == 0) {
			grace_period(store);
			counted(&board->others);
		}
		if (number % 4 == 1)
			sched_yield();
		if (number % 64 == 2)
			need(strata_gc(store, NULL) == 0, "gc");
	}
	need(strata_detach(store) == 0, "detach");
}

/**** who starts, stops and kills them ****/

/* The readers, then the updater, then the committer. */
#define UPDATER   NR_READERS
#define COMMITTER (NR_READERS + 1)
#define NR_PROCS  (NR_READERS + 2)

struct cast {
	struct proc procs[NR_PROCS];
	unsigned indices[NR_READERS];
	uint64_t random;
	uint64_t kills, stops, orphans;
};

static void
start(struct cast *cast, unsigned who)
{
	if (who < NR_READERS) {
		cast->indices[who] = who;
		proc_start(&cast->procs[who], reader_main, &cast->indices[who]);
	} else {
		proc_start(&cast->procs[who],
			   who == UPDATER ? updater_main : committer_main,
			   NULL);
	}
}

/* Sections of all but one. */
static uint64_t
sections_but(unsigned who)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < NR_READERS; i++)
		sum += i != who ? count(&board->readers[i].sections) : 0;
	return sum;
}

static uint64_t
number_of(unsigned who, bool periods)
{
	return periods ? count(&board->periods) : sections_but(who);
}

/* Until there were some more grace periods, or sections of others. */
static void
let_them(struct cast *cast, unsigned who, bool periods, uint64_t more)
{
	uint64_t until = number_of(who, periods) + more;
	uint64_t deadline = test_now_ns() + PATIENCE_NS;

	while (number_of(who, periods) < until) {
		for (unsigned i = 0; i < NR_PROCS; i++)
			need(proc_is_running(&cast->procs[i]),
			     "process %u of the run has ended", i);
		need(test_now_ns() < deadline,
		     "no more than %" PRIu64 " %s after two minutes",
		     number_of(who, periods),
		     periods ? "grace periods" : "sections");
		sched_yield();
	}
}

/* Stopped in a section it is in the way of all grace periods, but of nothing
 * else. */
static void
stop_one(struct cast *cast, unsigned who)
{
	proc_stop(&cast->procs[who]);
	let_them(cast, who, /* periods= */ false,
		 test_random(&cast->random) % 64);
	proc_continue(&cast->procs[who]);
	cast->stops++;
}

static void
kill_one(struct cast *cast, unsigned who)
{
	if (test_random(&cast->random) % 4 == 0)
		proc_stop(&cast->procs[who]);
	proc_kill(&cast->procs[who]);
	start(cast, who);
	cast->kills++;
}

static void
trouble(struct cast *cast)
{
	uint64_t random = test_random(&cast->random);
	unsigned who = (unsigned)((random >> 8) % NR_PROCS);

	let_them(cast, NR_PROCS, /* periods= */ true, (random >> 16) % 64);
	if (random % 2 == 0)
		stop_one(cast, who);
	else
		kill_one(cast, who);
	cast->orphans += proc_reap_orphans(cast->procs, NR_PROCS);
}

static uint64_t
seen(unsigned first, unsigned end)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < NR_READERS; i++)
		for (unsigned age = first; age < end; age++)
			sum += count(&board->readers[i].ages[age]);
	return sum;
}

static bool
is_shown(void)
{
	return seen(2, NR_AGES) != 0 || count(&board->broken) != 0;
}

/* Without these the run says nothing, however long it took. */
static bool
is_enough(void)
{
	return seen(1, 2) != 0 && count(&board->nested) != 0 &&
	       count(&board->twins) != 0 && count(&board->heirs) != 0;
}

/**** runs ****/

static void
report(const struct cast *cast)
{
	printf("ages seen:");
	for (unsigned age = 0; age < NR_AGES; age++)
		printf(" %" PRIu64, seen(age, age + 1));
	printf("; %" PRIu64 " elements not whole\n", count(&board->broken));
	printf("%" PRIu64 " grace periods and %" PRIu64 " of others, %" PRIu64
	       " sections, %" PRIu64 " nested, %" PRIu64
	       " overlapping, %" PRIu64 " inherited, %" PRIu64
	       " commits; %" PRIu64 " processes killed, %" PRIu64
	       " stopped, %" PRIu64 " orphans\n",
	       count(&board->periods), count(&board->others),
	       sections_but(NR_READERS), count(&board->nested),
	       count(&board->twins), count(&board->heirs),
	       count(&board->commits), cast->kills, cast->stops, cast->orphans);
	fflush(stdout);
}

/* Until the time is over, or something is seen that must not be. */
static void
run(uint64_t seed, uint64_t length_ns, bool troubled)
{
	struct cast cast = {.random = seed};
	struct test_run span = test_run_begin(length_ns);

	memset(board, 0, sizeof(*board));
	for (uint32_t i = 0; i < NR_ELEMENTS; i++)
		atomic_store_explicit(&board->elements[i].whole, 1,
				      memory_order_relaxed);
	atomic_store_explicit(&board->seed, seed, memory_order_relaxed);
	need(strata_create(name, NULL) == 0, "create");
	for (unsigned i = 0; i < NR_PROCS; i++)
		start(&cast, i);
	/* Without trouble it is a control, which is to show something. */
	while (!is_shown() && test_run_goes_on(&span, troubled && is_enough()))
		if (troubled)
			trouble(&cast);
		else
			let_them(&cast, NR_PROCS, /* periods= */ true, 1);
	atomic_store_explicit(&board->stop, 1, memory_order_relaxed);
	for (unsigned i = 0; i < NR_PROCS; i++)
		proc_join(&cast.procs[i]);
	cast.orphans += proc_join_orphans();
	need(strata_destroy(name) == 0, "destroy");
	report(&cast);
}

static void
nothing_is_older_than_one(uint64_t seed)
{
	run(seed, snapshot_length_ns(2, 6, 1800), /* troubled= */ true);
	need(!is_shown(),
	     "%" PRIu64 " times an element outlived a grace period, %" PRIu64
	     " times it was made anew under a reader",
	     seen(2, NR_AGES), count(&board->broken));
	need(is_enough(), "too little happened");
}

/* The run above can fail. */
static void
no_grace_period_is_seen(uint64_t seed)
{
	strata__broken = STRATA_NO_GRACE;
	run(seed, 0, /* troubled= */ false);
	strata__broken = 0;
	need(is_shown(), "no reader noticed that there were no grace periods");
	printf("control: without grace periods readers notice\n");
}

int
main(void)
{
	uint64_t seed;

	shm_begin();
	seed = test_seed();
	proc_adopt_orphans();
	board = proc_shared(sizeof(*board));
	strcpy(name, store_name("torture"));
	nothing_is_older_than_one(seed);
	no_grace_period_is_seen(seed);
	shm_end();
	return 0;
}
