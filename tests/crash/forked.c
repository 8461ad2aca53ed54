/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Sections and handles of a reader that forks, dies, closes its descriptors. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"
#include "proc.h"
#include "store.h"

#define DIMENSIONS 2
#define LAYERS     10
#define SIZE       (6 << 10)
/* Replacements of everything, so that each free block is used again. */
#define CHURN 60

/*
 * The main process writes. It starts a reader, before it attaches, and that
 * forks; all of them take turns by a number in shared memory, since descriptors
 * are closed and pipes would be shared.
 */
struct shared {
	pid_t writer;
	_Atomic unsigned turn;
	_Atomic pid_t child, grandchild;
	_Atomic uint64_t sections; /* that children have read */
	_Atomic bool stop;
};

static const struct pattern_set set = {DIMENSIONS, LAYERS, SIZE};
static struct shared *shared;
static char name[STRATA_STORE_NAME_MAX + 1];
static struct strata_store *store; /* of this process */
static struct strata_reader *reader;
static uint64_t generation;        /* that the writer put last */
static const struct proc *watched; /* by the writer: must live */

/* Nobody goes on alone: orphans, too, end with the test. */
static void
look_after(void)
{
	need(kill(shared->writer, 0) == 0, "the writer is gone");
	/* It may have said stop and ended since the caller looked. */
	need(watched == NULL || watched->pid == 0 || proc_is_running(watched) ||
		     atomic_load(&shared->stop),
	     "the reader has ended");
	sched_yield();
}

static void
await(unsigned turn)
{
	while (atomic_load(&shared->turn) < turn)
		look_after();
}

static void
give(unsigned turn)
{
	atomic_store(&shared->turn, turn);
}

/**** the writer ****/

static void
replace_all(void)
{
	pattern_commit(store, &set, ++generation);
}

/* Replaces and reclaims a lot; gives what readers still keep. */
static uint64_t
churn(void)
{
	struct strata_gc_report report;

	for (unsigned i = 0; i < CHURN; i++) {
		replace_all();
		need(strata_gc(store, NULL) == 0, "gc");
	}
	need(strata_gc(store, &report) == 0, "gc");
	return report.retained;
}

struct wanted {
	pid_t pid;
	unsigned nr, nr_pinned;
	uint64_t retained;
	uint64_t namespaces[2];
};

static int
note_reader(const struct strata_reader_info *info, void *arg)
{
	struct wanted *wanted = arg;

	if (info->pid != (uint32_t)wanted->pid || !info->alive)
		return 0;
	if (wanted->nr < 2)
		wanted->namespaces[wanted->nr] = info->pid_namespace;
	wanted->nr++;
	wanted->nr_pinned += info->pin != 0;
	wanted->retained += info->retained;
	return 0;
}

static struct wanted
look_at(pid_t pid)
{
	struct wanted wanted = {.pid = pid};

	need(strata_foreach_reader(store, note_reader, &wanted) == 0,
	     "readers");
	return wanted;
}

/**** reading ****/

static uint64_t
check(struct strata_reader *by)
{
	return pattern_look(by, &set);
}

static uint64_t
read_once(struct strata_reader *by)
{
	uint64_t seen;

	need(strata_read_lock(by) == 0, "lock");
	seen = check(by);
	need(strata_read_unlock(by) == 0, "unlock");
	return seen;
}

static void
read_until_stopped(void)
{
	do {
		look_after();
		read_once(reader);
		atomic_fetch_add(&shared->sections, 1);
	} while (!atomic_load(&shared->stop));
}

static void
open_reader(void)
{
	need(strata_attach(name, STRATA_READ, &store) == 0, "attach");
	need(strata_reader_open(store, &reader) == 0, "open");
}

static void
close_reader(void)
{
	need(strata_reader_close(reader) == 0, "close");
	need(strata_detach(store) == 0, "detach");
}

/**** the frame of every scenario ****/

struct scenario {
	const char *what;
	void (*read)(struct proc *parent, void *arg); /* begins at turn 1 */
	void (*write)(struct proc *reader);           /* begins at turn 1 */
};

static void
begin(void)
{
	struct strata_config config = {.limit = 16 << 20};

	memset(shared, 0, sizeof(*shared));
	shared->writer = getpid();
	generation = 0;
	strcpy(name, store_name("forked"));
	need(strata_create(name, &config) == 0, "create");
}

static void
end(void)
{
	struct strata_verify_report report;
	struct strata_gc_report gc;

	need(strata_gc(store, &gc) == 0 && gc.retained == 0,
	     "something is retained, but there is no reader");
	need(strata_verify(store, 0, NULL, NULL, &report) == 0, "verify");
	need(report.errors == 0, "%s", report.first);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

static void
play(const struct scenario *scenario)
{
	struct proc proc;

	begin();
	watched = NULL; /* in the reader */
	proc_start(&proc, scenario->read, NULL);
	watched = &proc;
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	replace_all();
	give(1);
	scenario->write(&proc);
	if (proc.pid != 0)
		proc_join(&proc);
	watched = NULL;
	end();
	printf("%s\n", scenario->what);
}

/* Both processes, outside of sections by now, read on under a writer. */
static void
write_for_readers(void)
{
	uint64_t from = atomic_load(&shared->sections);

	while (atomic_load(&shared->sections) < from + 200) {
		look_after();
		replace_all();
	}
	atomic_store(&shared->stop, true);
}

/**** outside of a section ****/

static void
outside_child(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
	atomic_store(&shared->child, getpid());
	read_once(reader);
	give(2);
	read_until_stopped();
	close_reader();
}

static void
outside_read(struct proc *parent, void *arg)
{
	struct proc child;

	(void)parent;
	(void)arg;
	await(1);
	open_reader();
	read_once(reader);
	proc_start(&child, outside_child, NULL);
	read_until_stopped();
	proc_join(&child);
	read_once(reader);
	close_reader();
}

static void
outside_write(struct proc *proc)
{
	await(2);
	need(look_at(proc->pid).nr == 1 &&
		     look_at(atomic_load(&shared->child)).nr == 1,
	     "parent and child have not one slot each");
	write_for_readers();
}

/**** inside, nested twice ****/

static void
inside_child(struct proc *parent, void *arg)
{
	uint64_t *seen = arg;
	uint64_t version = strata_reader_version(reader);

	(void)parent;
	atomic_store(&shared->child, getpid());
	need(version != 0 && check(reader) == *seen, "another version");
	await(3);
	need(check(reader) == *seen && strata_reader_version(reader) == version,
	     "the section is another one after the fork");
	need(strata_read_lock(reader) == 0 && check(reader) == *seen, "nest");
	for (int i = 0; i < 3; i++)
		need(strata_read_unlock(reader) == 0, "unlock %d", i);
	need(strata_read_unlock(reader) == STRATA_EINVAL, "one too many");
	need(read_once(reader) > *seen, "not the newest version");
	give(4);
	read_until_stopped();
	close_reader();
}

static void
inside_read(struct proc *parent, void *arg)
{
	struct proc child;
	uint64_t seen;

	(void)parent;
	(void)arg;
	await(1);
	open_reader();
	need(strata_read_lock(reader) == 0, "lock");
	need(strata_read_lock(reader) == 0, "lock again");
	seen = check(reader);
	proc_start(&child, inside_child, &seen);
	need(check(reader) == seen, "another version");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_read_unlock(reader) == 0, "unlock");
	give(2);
	await(4);
	read_until_stopped();
	proc_join(&child);
	close_reader();
}

static void
inside_write(struct proc *proc)
{
	struct wanted child;

	await(2);
	need(churn() >= DIMENSIONS * LAYERS * SIZE,
	     "the child's section keeps nothing");
	child = look_at(atomic_load(&shared->child));
	need(child.nr_pinned == 1 && child.retained > 0,
	     "the child is not seen in its section");
	need(look_at(proc->pid).nr_pinned == 0, "the parent has unlocked");
	give(3);
	await(4);
	write_for_readers();
}

/**** the parent dies, the child lives ****/

static void
orphan_child(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
	prctl(PR_SET_PDEATHSIG, 0);
	atomic_store(&shared->child, getpid());
	need(check(reader) == 1, "another version");
	need(strata_read_unlock(reader) == 0, "unlock");
	give(2);
	await(3);
	read_until_stopped();
	close_reader();
}

static void
orphan_read(struct proc *parent, void *arg)
{
	struct proc child;

	(void)arg;
	await(1);
	open_reader();
	need(strata_read_lock(reader) == 0 && check(reader) == 1, "lock");
	proc_start(&child, orphan_child, NULL);
	proc_hear(parent, 'n'); /* never said: killed in the section */
}

/* A child of a child of ours that has lost its parent. */
static void
join_orphan(pid_t pid)
{
	int status;

	need(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	need(status == 0, "the orphan ended with %x", status);
}

static void
orphan_write(struct proc *proc)
{
	pid_t child;

	await(2);
	child = atomic_load(&shared->child);
	need(churn() >= DIMENSIONS * LAYERS * SIZE,
	     "the parent's section keeps nothing");
	need(look_at(child).nr_pinned == 0, "the child has unlocked");
	proc_kill(proc);
	need(kill(child, 0) == 0, "the child died with its parent");
	need(churn() == 0, "a dead parent's section keeps something");
	need(look_at(child).nr == 1, "the child has lost its slot");
	give(3);
	write_for_readers();
	join_orphan(child);
}

/**** a child of a child ****/

static void
lineage_grandchild(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
	prctl(PR_SET_PDEATHSIG, 0);
	atomic_store(&shared->grandchild, getpid());
	give(2);
	await(3);
	need(check(reader) == 1, "another version");
	need(strata_read_unlock(reader) == 0, "unlock");
	give(4);
	await(5);
	read_until_stopped();
	close_reader();
}

/* Killed inside of its own section, which its child must not keep alive. */
static void
lineage_child(struct proc *parent, void *arg)
{
	struct proc child;

	(void)arg;
	atomic_store(&shared->child, getpid());
	need(check(reader) == 1, "another version");
	proc_start(&child, lineage_grandchild, NULL);
	proc_hear(parent, 'n');
}

static void
lineage_read(struct proc *parent, void *arg)
{
	struct proc child;

	(void)arg;
	await(1);
	open_reader();
	need(strata_read_lock(reader) == 0 && check(reader) == 1, "lock");
	proc_start(&child, lineage_child, NULL);
	await(2);
	need(strata_read_unlock(reader) == 0, "unlock");
	proc_say(parent, 'u');
	await(4);
	proc_kill(&child);
	proc_say(parent, 'k');
	await(5);
	read_until_stopped();
	close_reader();
}

static void
lineage_write(struct proc *proc)
{
	pid_t grandchild;

	proc_hear(proc, 'u');
	grandchild = atomic_load(&shared->grandchild);
	need(churn() >= DIMENSIONS * LAYERS * SIZE,
	     "the sections of child and grandchild keep nothing");
	need(look_at(grandchild).nr_pinned == 1 &&
		     look_at(atomic_load(&shared->child)).nr_pinned == 1,
	     "child and grandchild have not a slot each");
	give(3);
	proc_hear(proc, 'k');
	need(churn() == 0, "a dead child's section keeps something");
	need(look_at(grandchild).nr == 1, "the grandchild has lost its slot");
	give(5);
	write_for_readers();
	join_orphan(grandchild);
}

/**** all descriptors closed ****/

static void
closed_read(struct proc *parent, void *arg)
{
	const struct strata_entry *entry;
	uint64_t seen;
	int code;

	(void)parent;
	(void)arg;
	await(1);
	open_reader();
	need(strata_read_lock(reader) == 0, "lock");
	seen = check(reader);
	proc_close_from(3);
	give(2);
	await(3);
	need(check(reader) == seen, "the section is another one");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(read_once(reader) > seen, "not the newest version");
	give(4);
	await(5); /* a region came: mapped it can be by a descriptor only */
	need(strata_read_lock(reader) == 0, "lock");
	need(check(reader) > seen, "not the newest version");
	code = strata_find(reader, DIMENSIONS + 1, 0, &entry);
	need(code == 0 || code == STRATA_EMAP, "the new region: %d", code);
	printf("(a region that comes afterwards %s) ",
	       code == 0 ? "is found" : "is refused with STRATA_EMAP");
	need(strata_read_unlock(reader) == 0, "unlock");
	read_until_stopped();
}

static void
put_beside(void)
{
	struct strata_txn *txn;

	need(strata_txn_begin(store, &txn) == 0, "begin");
	need(strata_put(txn, DIMENSIONS + 1, 0, NULL, "new", 3, 0) == 0, "put");
	need(strata_txn_commit(txn, NULL) == 0, "commit");
	need(strata_crystallize(store, DIMENSIONS + 1) == 0, "crystallise");
}

static void
closed_write(struct proc *proc)
{
	await(2);
	need(churn() >= DIMENSIONS * LAYERS * SIZE,
	     "the section keeps nothing without descriptors");
	need(look_at(proc->pid).nr_pinned == 1, "the slot is lost");
	give(3);
	await(4);
	put_beside();
	give(5);
	write_for_readers();
}

/**** another thread's sections ****/

static _Atomic uint64_t thread_rounds;

static void *
thread_reads(void *arg)
{
	while (!atomic_load(&shared->stop)) {
		read_once(arg);
		atomic_fetch_add(&thread_rounds, 1);
	}
	return NULL;
}

/* The thread is not there any more; its reader is free to be used. If there is
 * a section of it, it is a whole one. */
static void
thread_child(struct proc *parent, void *arg)
{
	uint64_t *nr_inside = arg;

	(void)parent;
	if (strata_reader_version(reader) != 0) {
		check(reader);
		for (int i = 0; i < 20; i++)
			sched_yield();
		check(reader);
		need(strata_read_unlock(reader) == 0, "unlock");
		++*nr_inside;
	}
	read_once(reader);
	close_reader();
}

static void
thread_read(struct proc *parent, void *arg)
{
	unsigned forks = test_length() == TEST_LONG ? 5000 : 300;
	uint64_t *nr_inside = proc_shared(sizeof(*nr_inside));
	struct proc child;
	pthread_t thread;

	(void)parent;
	(void)arg;
	await(1);
	open_reader();
	need(pthread_create(&thread, NULL, thread_reads, reader) == 0,
	     "thread");
	for (unsigned i = 0; i < forks; i++) {
		proc_start(&child, thread_child, nr_inside);
		proc_join(&child);
	}
	atomic_store(&shared->stop, true);
	pthread_join(thread, NULL);
	printf("%u forks while a thread reads, its section inherited by %llu: ",
	       forks, (unsigned long long)*nr_inside);
	close_reader();
}

static void
thread_write(struct proc *proc)
{
	(void)proc;
	while (!atomic_load(&shared->stop)) {
		look_after();
		replace_all();
	}
}

/**** namespaces ****/

static void
space_reader(struct proc *parent, void *arg)
{
	(void)arg;
	open_reader();
	need(strata_read_lock(reader) == 0, "lock");
	for (;;) {
		check(reader);
		proc_say(parent, 'h');
		proc_hear(parent, 'c');
	}
}

/* A reader that is process 1 of a namespace of its own. */
static void
space_frame(struct proc *parent, void *arg)
{
	struct proc inner;

	(void)arg;
	proc_hear(parent, 'g');
	need(unshare(CLONE_NEWPID) == 0, "unshare: %s", strerror(errno));
	proc_start(&inner, space_reader, NULL);
	proc_hear(&inner, 'h');
	proc_say(parent, 'h');
	proc_hear(parent, 'c');
	proc_say(&inner, 'c');
	proc_hear(&inner, 'h'); /* its section is still right */
	proc_say(parent, 'h');
	proc_hear(parent, 'k');
	proc_kill(&inner);
	proc_say(parent, 'k');
}

static bool
may_unshare(void)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	need(pid >= 0, "fork");
	if (pid == 0)
		test_exit(unshare(CLONE_NEWPID) != 0);
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	return status == 0;
}

static void
space_check(struct proc *first, struct proc *second)
{
	struct wanted both;

	need(churn() >= 2 * DIMENSIONS * LAYERS * SIZE,
	     "two sections of two versions keep less");
	both = look_at(1);
	need(both.nr == 2 && both.nr_pinned == 2 &&
		     both.namespaces[0] != both.namespaces[1],
	     "not two readers with pid 1 in two namespaces");
	proc_say(first, 'c');
	proc_hear(first, 'h');
	proc_say(first, 'k');
	proc_hear(first, 'k');
	need(churn() >= DIMENSIONS * LAYERS * SIZE, "the living keeps nothing");
	both = look_at(1);
	need(both.nr == 1 && both.nr_pinned == 1,
	     "the dead one is taken for the living one, or the reverse");
	proc_say(second, 'c');
	proc_hear(second, 'h');
	proc_say(second, 'k');
	proc_hear(second, 'k');
	need(churn() == 0, "the dead keep something");
}

static void
equal_pids(void)
{
	struct proc first, second;

	if (!may_unshare()) {
		printf("skipped: two namespaces with equal pids; unshare says "
		       "that we may not\n");
		return;
	}
	begin();
	proc_start(&first, space_frame, NULL);
	proc_start(&second, space_frame, NULL);
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	replace_all();
	proc_say(&first, 'g');
	proc_hear(&first, 'h');
	replace_all();
	proc_say(&second, 'g');
	proc_hear(&second, 'h');
	space_check(&first, &second);
	proc_join(&first);
	proc_join(&second);
	end();
	printf("two namespaces whose readers have equal pids: the dead one is "
	       "not taken for the living one\n");
}

/**** all of them ****/

static const struct scenario scenarios[] = {
	{"a fork outside of a section: both read on under a writer",
	 outside_read, outside_write},
	{"a fork inside a nested section: the parent leaves, the child's "
	 "bytes stay",
	 inside_read, inside_write},
	{"the parent is killed in its section: it keeps nothing, though its "
	 "child lives",
	 orphan_read, orphan_write},
	{"a child of a child: a section each, and none keeps another's",
	 lineage_read, lineage_write},
	{"closefrom(3) inside a section loses nothing", closed_read,
	 closed_write},
	{"each child reads on", thread_read, thread_write},
};

int
main(void)
{
	shm_begin();
	shared = proc_shared(sizeof(*shared));
	/* Orphans are ours to wait for. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++)
		play(&scenarios[i]);
	equal_pids();
	shm_end();
	return 0;
}
