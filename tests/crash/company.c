/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Who else uses the store when a writer is killed. */
#include "company.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "store.h"

#define PATIENCE_NS (UINT64_C(60) * 1000000000)

/* Shared by all processes of a worker. */
static _Atomic unsigned *about_to_commit;

void
company_init(struct company_of *company)
{
	if (about_to_commit == NULL)
		about_to_commit = proc_shared(sizeof(*about_to_commit));
	atomic_store(about_to_commit, 0);
	company->nr = 0;
	need(pipe2(company->go, O_CLOEXEC) == 0, "pipe");
}

/**** those that write ****/

static void
wait_for_go(const struct company_of *company)
{
	char word;

	need(read(company->go[0], &word, 1) == 1, "go");
}

/* The pipe has room for it, and nobody needs to be there. */
static void
say_go(const struct company_of *company)
{
	for (unsigned i = 0; i < COMPANY_MAX; i++)
		need(write(company->go[1], "g", 1) == 1, "go");
}

/* What a child of the company is told. */
struct role {
	const struct company_of *company;
	unsigned index;
};

static struct strata_store *
attach(const struct role *role, unsigned flags)
{
	struct strata_store *store;

	need(strata_attach(role->company->name, flags, &store) == 0, "attach");
	return store;
}

static void
run_waiter(struct proc *parent, void *arg)
{
	const struct role *role = arg;
	struct strata_store *store = attach(role, STRATA_WRITE);
	struct strata_txn *txn;
	int code;

	proc_say(parent, 'r');
	wait_for_go(role->company);
	need(strata_txn_begin(store, &txn) == 0, "begin");
	need(strata_put(txn, SCENARIO_WAITERS, role->index, NULL, "waited", 6,
			0) == 0,
	     "put");
	atomic_fetch_add(about_to_commit, 1);
	code = strata_txn_commit(txn, NULL);
	if (code == STRATA_EGONE && role->company->scenario == NULL)
		strata_txn_abort(txn);
	else
		need(code == 0, "commit of who waited: %d", code);
	need(strata_detach(store) == 0, "detach");
}

static void
run_rival(struct proc *parent, void *arg)
{
	const struct role *role = arg;
	struct strata_store *store = attach(role, STRATA_WRITE);

	scenario_attached(store);
	proc_say(parent, 'r');
	wait_for_go(role->company);
	role->company->scenario->rivals[role->index]();
	need(strata_detach(store) == 0, "detach");
}

/**** those that read ****/

/* One section, in which the same is seen in the beginning and at the end. */
static void
run_pinned(struct proc *parent, void *arg)
{
	struct strata_store *store = attach(arg, STRATA_READ);
	struct strata_reader *reader;
	uint64_t sight;

	need(strata_reader_open(store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	sight = scenario_sight(reader);
	proc_say(parent, 'r');
	proc_hear(parent, 'c');
	need(scenario_sight(reader) == sight,
	     "what a section sees has changed in it");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	need(strata_detach(store) == 0, "detach");
}

/**** a trial ****/

static void
add(struct company_of *company, void (*run)(struct proc *parent, void *arg))
{
	struct role role = {company, company->nr};
	struct proc *proc = &company->procs[company->nr++];

	proc_start(proc, run, &role);
	proc_hear(proc, 'r');
}

void
company_begin(struct company_of *company)
{
	switch (company->kind) {
	case WAITING_WRITERS:
		add(company, run_waiter);
		add(company, run_waiter);
		break;
	case RIVALS:
		add(company, run_rival);
		add(company, run_rival);
		break;
	case PINNED_READER:
	case KILLED_READER:
		add(company, run_pinned);
		break;
	case NOBODY:
	case NR_COMPANIES:
		break;
	}
}

void
company_acts(struct company_of *company)
{
	if (company->kind == RIVALS)
		say_go(company);
}

/* Has anybody the lock of whom nobody said yet that it waits for it? */
static bool
is_not_waited_for(struct strata_store *store)
{
	uint32_t word = atomic_load(&store->space.lock->word);

	return word != 0 && (word & STRATA_WLOCK_WAITERS) == 0;
}

void
company_dying(struct company_of *company, struct strata_store *store)
{
	uint64_t begin = test_now_ns();

	if (company->kind != WAITING_WRITERS)
		return;
	say_go(company);
	/* One that failed tells so when it is joined. */
	while ((atomic_load(about_to_commit) < COMPANY_MAX ||
		is_not_waited_for(store)) &&
	       test_now_ns() - begin < PATIENCE_NS)
		sched_yield();
}

static void
join_all(struct company_of *company)
{
	for (unsigned i = 0; i < company->nr; i++)
		proc_join(&company->procs[i]);
	company->nr = 0;
}

void
company_after_death(struct company_of *company)
{
	if (company->kind == KILLED_READER && company->nr != 0) {
		proc_kill(&company->procs[0]);
		company->nr = 0;
	}
	if (company->kind == WAITING_WRITERS || company->kind == RIVALS)
		join_all(company);
}

void
company_after_recovery(struct company_of *company)
{
	for (unsigned i = 0; i < company->nr; i++)
		proc_say(&company->procs[i], 'c');
	join_all(company);
	close(company->go[0]);
	close(company->go[1]);
}
