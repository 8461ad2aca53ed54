/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata_synchronize() over processes: waits for what is open, and only that.
 */
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proc.h"
#include "snapshot.h"

#define NR_READERS 4u
#define NS_PER_MS  UINT64_C(1000000)

/* Shared. A reader says which of its sections is open: it is so from before the
 * number is there until after it is gone. */
struct board {
	_Atomic uint32_t stop;
	struct {
		_Alignas(128) _Atomic uint64_t inside; /* 0: none */
	} readers[NR_READERS];
};

struct member {
	struct board *board;
	const char *store;
	unsigned index;
	uint64_t seed;
};

static uint64_t
inside(struct board *board, unsigned index)
{
	return atomic_load_explicit(&board->readers[index].inside,
				    memory_order_seq_cst);
}

static void
await_inside(struct board *board, unsigned index)
{
	while (inside(board, index) == 0)
		sched_yield();
}

/**** readers ****/

static struct strata_reader *
attached_reader(const char *name)
{
	struct strata_store *store;
	struct strata_reader *reader;

	need(strata_attach(name, STRATA_READ, &store) == 0, "attach");
	need(strata_reader_open(store, &reader) == 0, "reader");
	return reader;
}

static void
section(struct strata_reader *reader, _Atomic uint64_t *here, uint64_t number,
	uint64_t length_ns)
{
	uint64_t until;

	need(strata_read_lock(reader) == 0, "lock");
	atomic_store_explicit(here, number, memory_order_seq_cst);
	until = test_now_ns() + length_ns;
	while (test_now_ns() < until)
		;
	atomic_store_explicit(here, 0, memory_order_release);
	need(strata_read_unlock(reader) == 0, "unlock");
}

/* Short sections until the end. */
static void
reader_main(struct proc *parent, void *arg)
{
	const struct member *member = arg;
	struct board *board = member->board;
	struct strata_reader *reader = attached_reader(member->store);
	uint64_t random = member->seed + member->index, n = 1;

	(void)parent;
	while (atomic_load_explicit(&board->stop, memory_order_relaxed) == 0)
		section(reader, &board->readers[member->index].inside, n++,
			test_random(&random) % NS_PER_MS);
}

/* One section, until it is told to leave. */
static void
sitter_main(struct proc *parent, void *arg)
{
	struct strata_reader *reader = attached_reader(arg);

	need(strata_read_lock(reader) == 0, "lock");
	proc_say(parent, 'i');
	proc_hear(parent, 'o');
	need(strata_read_unlock(reader) == 0, "unlock");
}

/**** what must hold ****/

/* Sections that are open before the call have ended after it. Returns how many
 * those were. */
static unsigned
wait_for_open(struct strata_store *store, struct board *board)
{
	uint64_t open[NR_READERS];
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_READERS; i++) {
		open[i] = inside(board, i);
		nr += open[i] != 0;
	}
	need(strata_synchronize(store, -1) == 0, "synchronize");
	for (unsigned i = 0; i < NR_READERS; i++)
		need(open[i] == 0 || inside(board, i) != open[i],
		     "reader %u is still in section %" PRIu64, i, open[i]);
	return nr;
}

static void
sections_have_ended_after_it(struct strata_store *store, uint64_t seed)
{
	struct proc readers[NR_READERS];
	struct member member = {.board = proc_shared(sizeof(struct board)),
				.store = strata_name(store),
				.seed = seed};
	struct test_run run = test_run_begin(snapshot_length_ns(1, 3, 30));
	uint64_t nr = 0, nr_open = 0;

	for (; member.index < NR_READERS; member.index++)
		proc_start(&readers[member.index], reader_main, &member);
	for (unsigned i = 0; i < NR_READERS; i++)
		await_inside(member.board, i);
	for (; test_run_goes_on(&run, nr_open != 0); nr++)
		nr_open += wait_for_open(store, member.board);
	atomic_store_explicit(&member.board->stop, 1, memory_order_relaxed);
	for (unsigned i = 0; i < NR_READERS; i++)
		proc_join(&readers[i]);
	printf("%" PRIu64 " grace periods, which waited for %" PRIu64
	       " sections\n",
	       nr, nr_open);
	need(nr_open != 0, "no section was ever open");
}

static void
a_time_limit_ends_it(struct strata_store *store, pid_t sitter)
{
	uint64_t begin = test_now_ns();
	char name[32];
	int ret = strata_synchronize(store, 50 * (int64_t)NS_PER_MS);

	snprintf(name, sizeof(name), "reader %d ", (int)sitter);
	need(ret == STRATA_ETIMEDOUT, "got %d, expected a time-out", ret);
	need(strstr(strata_last_error()->sentence, name) != NULL,
	     "expected that '%s' is named", name);
	need(test_now_ns() - begin >= 50 * NS_PER_MS, "it gave up too early");
}

/* A time-out while it stays; then its unlock, or its death, ends the wait. */
static void
one_that_stays_is_named(struct strata_store *store, bool dies)
{
	struct proc sitter;

	proc_start(&sitter, sitter_main, (void *)(uintptr_t)strata_name(store));
	proc_hear(&sitter, 'i');
	a_time_limit_ends_it(store, sitter.pid);
	if (dies)
		proc_kill(&sitter);
	else
		proc_say(&sitter, 'o');
	need(strata_synchronize(store, -1) == 0, "synchronize");
	if (!dies)
		proc_join(&sitter);
	printf("a reader that stays is named; its %s ends the wait\n",
	       dies ? "death" : "unlock");
}

/* It would wait for itself. */
static void
own_sections_are_refused(struct strata_store *store)
{
	struct strata_reader *reader;

	need(strata_reader_open(store, &reader) == 0, "reader");
	need(strata_read_lock(reader) == 0, "lock");
	need(strata_synchronize(store, -1) == STRATA_EINVAL,
	     "expected STRATA_EINVAL inside of an own section");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
}

int
main(void)
{
	const char *name = store_name("grace");
	struct strata_store *store;

	shm_begin();
	need(strata_create(name, NULL) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	sections_have_ended_after_it(store, test_seed());
	one_that_stays_is_named(store, /* dies= */ false);
	one_that_stays_is_named(store, /* dies= */ true);
	own_sections_are_refused(store);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
	shm_end();
	return 0;
}
