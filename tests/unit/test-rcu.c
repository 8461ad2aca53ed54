/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Slots and pins: who has them, what they protect, and who waits for them. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "pinned.h"

TestSuite(rcu, .init = store_setup, .fini = store_teardown, .timeout = 60);

/**** slots ****/

Test(rcu, slots_come_in_chunks_that_the_kernel_vouches_for)
{
	struct strata__chunk *chunks[2 * STRATA_CHUNK_SLOTS];
	struct strata__slot *slots[2 * STRATA_CHUNK_SLOTS];
	char name[STRATA_SEGMENT_NAME];
	int fd;

	for (unsigned i = 0; i < 2 * STRATA_CHUNK_SLOTS; i++)
		must(strata__slot_take(&store->rcu, &chunks[i], &slots[i]));
	for (unsigned i = 0; i < STRATA_CHUNK_SLOTS; i++) {
		cr_expect_eq(chunks[i], chunks[0]);
		cr_expect_eq(slots[i], slots[0] + i);
		cr_expect_eq(chunks[STRATA_CHUNK_SLOTS + i],
			     chunks[STRATA_CHUNK_SLOTS]);
	}
	cr_expect_eq(chunks[0]->first, 0);
	cr_expect_eq(chunks[STRATA_CHUNK_SLOTS]->first, STRATA_CHUNK_SLOTS);
	strata__segment_name_pins(name, &store->space.id, geteuid(), 0);
	fd = open(file_path(name), O_RDONLY | O_CLOEXEC);
	cr_expect_eq(strata__os_is_locked(fd, STRATA_PINS_SLOTS, 1), 1);
	cr_expect_eq(strata__os_is_locked(
			     fd,
			     STRATA_PINS_SLOTS + 8 * sizeof(*slots[0]), 1),
		     0, "the third chunk is free");
	close(fd);
	strata__slot_give(&store->rcu, chunks[2], slots[2]);
	cr_expect_eq(take(), slots[2], "the lowest that is free");
}

Test(rcu, slots_say_whose_they_are)
{
	struct strata__slot *slot = take();
	uint64_t pid_namespace;
	char name[32];

	strata__os_self(name, sizeof(name), &pid_namespace);
	cr_expect_eq(slot->pid, (uint32_t)getpid());
	cr_expect_eq(slot->pid_namespace, pid_namespace);
	cr_expect_str_eq(slot->name, name);
	cr_expect_eq(atomic_load(&slot->in_use), 1);
	cr_expect_eq(atomic_load(&slot->pin), 0);
}

/* A process of the same number, in a pid namespace of its own, and without fork
 * handlers. */
static long
clone_as_first(void)
{
#ifdef __s390x__
	return syscall(SYS_clone, 0, CLONE_NEWPID | SIGCHLD, 0, 0, 0);
#else
	return syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
#endif
}

static void
clone_and_read(void)
{
	struct strata_store *mine;
	struct strata_reader *reader;
	int status;
	long pid;

	need(getpid() == 1, "pid %d", (int)getpid());
	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	pid = clone_as_first();
	if (pid == 0)
		_exit(getpid() != 1 || strata_read_lock(reader) != 0);
	need(pid > 0, "clone: %s", strerror(errno));
	need(waitpid((pid_t)pid, &status, 0) == pid, "wait");
	need(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d",
	     status);
	need(strata_detach(mine) == 0, "detach");
	_exit(0);
}

/* They leave by _exit(): LeakSanitizer can look at no threads in a namespace whose
 * /proc and first process are not there. */
static void
begin_namespace(struct proc *parent, void *arg)
{
	int status;
	pid_t pid;

	(void)parent;
	(void)arg;
	if (unshare(CLONE_NEWPID) != 0)
		_exit(77);
	pid = fork();
	if (pid == 0)
		clone_and_read();
	need(pid > 0 && waitpid(pid, &status, 0) == pid, "fork");
	_exit(status != 0);
}

Test(rcu, whose_slots_they_are_does_not_depend_on_pids)
{
	struct proc child;
	int status;

	proc_start(&child, begin_namespace, NULL);
	status = proc_wait(&child);
	if (status == 77)
		cr_skip("needs root");
	cr_expect_eq(status, 0);
}

/**** intervals ****/

Test(rcu, a_pin_protects_what_is_born_and_not_retired)
{
	pin(take(), 5);
	cr_expect(needs(5, 6), "born at it");
	cr_expect(needs(1, 6));
	cr_expect(needs(5, 100));
	cr_expect(needs(0, UINT64_MAX));
	cr_expect_not(needs(1, 5), "retired at it: it does not reach that");
	cr_expect_not(needs(6, 9), "born after it");
	cr_expect_not(needs(5, 5), "never reachable");
}

Test(rcu, pins_between_other_pins_are_found)
{
	static const uint64_t versions[] = {30, 10, 20, 20, 40};
	struct strata__scan scan;

	for (int i = 0; i < 5; i++)
		pin(take(), versions[i]);
	pin(take(), 0); /* outside of a section */
	must(strata__scan_take(&store->rcu, &scan));
	cr_assert_eq(scan.nr, 5);
	cr_expect_eq(scan.readers, 6);
	for (size_t i = 1; i < scan.nr; i++)
		cr_expect_leq(strata__pin_version(scan.pins[i - 1].word),
			      strata__pin_version(scan.pins[i].word));
	for (uint64_t birth = 1; birth < 45; birth++)
		for (uint64_t end = birth; end < 45; end++) {
			bool expected = false;

			for (int i = 0; i < 5; i++)
				expected |= birth <= versions[i] &&
					    versions[i] < end;
			cr_assert_eq(strata__scan_needs(&scan, birth, end),
				     expected, "%d to %d", (int)birth,
				     (int)end);
		}
	strata__scan_done(&scan);
}

Test(rcu, more_pins_than_a_first_guess_are_sorted)
{
	struct strata__scan scan;

	for (unsigned i = 0; i < 200; i++)
		pin(take(), 1 + i * 71 % 200);
	must(strata__scan_take(&store->rcu, &scan));
	cr_assert_eq(scan.nr, 200);
	for (size_t i = 0; i < scan.nr; i++)
		cr_expect_eq(strata__pin_version(scan.pins[i].word), i + 1);
	strata__scan_done(&scan);
}

Test(rcu, accounts_say_who_keeps_what_alone)
{
	struct strata__scan scan;

	pin(take(), 5);
	pin(take(), 7);
	must(strata__scan_take(&store->rcu, &scan));
	strata__scan_account(&scan, 1, 10, 1000);
	strata__scan_account(&scan, 5, 7, 100);
	strata__scan_account(&scan, 6, 8, 10);
	strata__scan_account(&scan, 6, 7, 1);
	strata__scan_account(&scan, 8, 20, 1);
	cr_assert_eq(scan.nr, 2);
	cr_expect_eq(scan.pins[0].retained, 1100);
	cr_expect_eq(scan.pins[0].retained_alone, 100);
	cr_expect_eq(scan.pins[1].retained, 1010);
	cr_expect_eq(scan.pins[1].retained_alone, 10);
	strata__scan_done(&scan);
}

Test(rcu, an_eager_reclaim_is_seen_by_the_tests)
{
	pin(take(), 5);
	strata__broken = STRATA_EAGER_RECLAIM;
	cr_expect_not(needs(5, 6));
	strata__broken = 0;
	cr_expect(needs(5, 6));
}

/**** the dead ****/

static void
pin_and_die(struct proc *parent, void *arg)
{
	struct strata_store *mine;
	struct strata_reader *reader;

	(void)arg;
	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	proc_say(parent, 'l');
	proc_hear(parent, 'd');
	test_exit(0);
}

Test(rcu, the_pin_of_a_dead_process_protects_nothing)
{
	uint64_t version = strata_version(store);
	struct proc child;

	proc_start(&child, pin_and_die, NULL);
	proc_hear(&child, 'l');
	cr_expect(needs(version, version + 1), "alive");
	proc_say(&child, 'd');
	cr_expect_eq(proc_wait(&child), 0);
	cr_expect_eq(nr_pins(), 1, "the word stands there still");
	cr_expect_not(needs(version, version + 1), "but its owner is dead");
	must(strata_synchronize(store, 0));
	(void)take();
	cr_expect_eq(nr_pins(), 0, "who takes the chunk clears it");
}

static void
open_many(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *mine;

	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	for (unsigned i = 0; i < *(const unsigned *)arg; i++)
		need(strata_reader_open(mine, &reader) == 0, "open");
	proc_say(parent, 'o');
	proc_hear(parent, 'd');
	test_exit(0);
}

/* Who came when there were many is seen when the many are gone; and is not when
 * he is gone, too, whatever his slot says. */
Test(rcu, a_pin_is_seen_wherever_it_is)
{
	static unsigned many[] = {1, 31, 32, 33, 127, 128, 129, 512, 1020};
	uint64_t version = strata_version(store);

	cr_assert_geq(store->space.geometry->readers, 1024);
	for (size_t i = 0; i < sizeof(many) / sizeof(*many); i++) {
		struct proc below, above;

		proc_start(&below, open_many, &many[i]);
		proc_hear(&below, 'o');
		proc_start(&above, pin_and_die, NULL);
		proc_hear(&above, 'l');
		cr_expect(needs(version, version + 1), "%u", many[i]);
		proc_say(&below, 'd');
		cr_expect_eq(proc_wait(&below), 0);
		cr_expect(needs(version, version + 1), "%u", many[i]);
		cr_expect_eq(nr_pins(), 1);
		proc_say(&above, 'd');
		cr_expect_eq(proc_wait(&above), 0);
		cr_expect_not(needs(version, version + 1), "%u", many[i]);
	}
}

Test(rcu, what_only_the_dead_pinned_is_reclaimed)
{
	struct proc child;

	put(1, 0, 'a', 10000);
	proc_start(&child, pin_and_die, NULL);
	proc_hear(&child, 'l');
	put(1, 0, 'b', 10000);
	must(strata_gc(store, NULL));
	cr_expect_gt(stats_now().retired, 0);
	proc_kill(&child);
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().retired, 0);
}

/**** grace periods ****/

Test(rcu, synchronize_without_readers_returns)
{
	must(strata_synchronize(store, -1));
	must(strata_synchronize(store, 0));
	expect_error(strata_synchronize(NULL, 0), STRATA_EINVAL, "no store");
}

Test(rcu, synchronize_does_not_wait_for_itself)
{
	struct strata_reader *reader = reader_open(store);

	must(strata_read_lock(reader));
	expect_error(strata_synchronize(store, -1), STRATA_EINVAL,
		     "wait for itself");
	must(strata_read_unlock(reader));
	must(strata_synchronize(store, -1));
}

static void
read_until_told(struct proc *parent, void *arg)
{
	struct strata_store *mine;
	struct strata_reader *reader;

	(void)arg;
	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	for (int i = 0; i < 2; i++) {
		need(strata_read_lock(reader) == 0, "lock");
		proc_say(parent, 'l');
		proc_hear(parent, 'u');
		need(strata_read_unlock(reader) == 0, "unlock");
	}
	need(strata_detach(mine) == 0, "detach");
}

struct waiting {
	pthread_t thread;
	atomic_int done;
	int code;
};

static void *
synchronize(void *arg)
{
	struct waiting *waiting = arg;

	waiting->code = strata_synchronize(store, -1);
	atomic_store(&waiting->done, 1);
	return NULL;
}

static atomic_int nr_scans;

static void
count_scans(const char *point)
{
	if (strcmp(point, "scan.taken") == 0)
		atomic_fetch_add(&nr_scans, 1);
}

Test(rcu, synchronize_waits_for_the_sections_that_are_open)
{
	struct waiting waiting = {.code = -1};
	struct proc child;
	char words[64];

	proc_start(&child, read_until_told, NULL);
	proc_hear(&child, 'l');
	snprintf(words, sizeof(words), "reader %d ('", (int)child.pid);
	expect_error(strata_synchronize(store, 50 * 1000 * 1000),
		     STRATA_ETIMEDOUT, words);
	cr_expect_not_null(strstr(strata_last_error()->sentence,
				  "section of version 1 in time"));
	strata__testpoint = count_scans;
	cr_assert_eq(pthread_create(&waiting.thread, NULL, synchronize,
				    &waiting),
		     0);
	expect_error(strata_synchronize(store, 20 * 1000 * 1000),
		     STRATA_ETIMEDOUT, words);
	/* The thread has seen the section, too. */
	while (atomic_load(&nr_scans) < 2)
		sched_yield();
	cr_expect_eq(atomic_load(&waiting.done), 0, "still waiting");
	proc_say(&child, 'u');
	/* It locks again at once: that is another section. */
	proc_hear(&child, 'l');
	pthread_join(waiting.thread, NULL);
	strata__testpoint = NULL;
	cr_expect_eq(waiting.code, 0);
	proc_say(&child, 'u');
	cr_expect_eq(proc_wait(&child), 0);
}

Test(rcu, synchronize_does_not_wait_for_the_dead)
{
	struct waiting waiting = {.code = -1};
	struct proc child;

	proc_start(&child, read_until_told, NULL);
	proc_hear(&child, 'l');
	cr_assert_eq(pthread_create(&waiting.thread, NULL, synchronize,
				    &waiting),
		     0);
	cr_expect_eq(strata_synchronize(store, 20 * 1000 * 1000),
		     STRATA_ETIMEDOUT);
	proc_kill(&child);
	pthread_join(waiting.thread, NULL);
	cr_expect_eq(waiting.code, 0);
}

static void *
lock_and_wait(void *arg)
{
	struct strata_reader *reader = arg;

	return (void *)(intptr_t)strata_read_lock(reader);
}

Test(rcu, synchronize_waits_for_other_threads)
{
	struct strata_reader *reader = reader_open(store);
	pthread_t thread;
	void *code;

	pthread_create(&thread, NULL, lock_and_wait, reader);
	pthread_join(thread, &code);
	cr_assert_eq((intptr_t)code, 0);
	/* The section is handed over: another thread's as long as it is not
	 * locked here. The sentence names this very process. */
	cr_expect_neq(strata_synchronize(store, 20 * 1000 * 1000), 0);
	must(strata_read_unlock(reader));
	must(strata_synchronize(store, -1));
}

/**** fences ****/

/* From here on this process may not call membarrier. */
static bool
forbid_membarrier(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

Test(rcu, the_heavy_fence_is_a_membarrier)
{
	cr_expect_eq(strata__heavy_fence(&store->rcu), 0);
	if (!store->space.geometry->membarrier || !forbid_membarrier())
		cr_skip("no membarrier here, or no seccomp");
	expect_error(strata__heavy_fence(&store->rcu), STRATA_ENOTSUP,
		     "may not call membarrier");
	strata__broken = STRATA_NO_HEAVY_FENCE;
	cr_expect_eq(strata__heavy_fence(&store->rcu), 0);
	strata__broken = 0;
}

Test(rcu, without_membarrier_nothing_is_reclaimed)
{
	struct strata_gc_report report;
	struct strata_reader *reader;

	if (!store->space.geometry->membarrier || !forbid_membarrier())
		cr_skip("no membarrier here, or no seccomp");
	put(1, 0, 'a', 5000);
	put(1, 0, 'b', 5000);
	expect_error(strata_gc(store, &report), STRATA_ENOTSUP, "membarrier");
	expect_error(strata_synchronize(store, 0), STRATA_ENOTSUP, "");
	cr_expect_gt(stats_now().retired, 0);
	must(strata_detach(store));
	store = store_attach(STRATA_WRITE);
	cr_expect(store->rcu.full_fence, "readers fence for themselves");
	reader = reader_open(store);
	must(strata_read_lock(reader));
	cr_expect(reads(reader, 1, 0, 'b', 5000));
	must(strata_read_unlock(reader));
	must(strata_detach(store));
	must(strata_destroy(STORE));
	store = NULL;
}

Test(rcu, a_store_made_without_membarrier_needs_none)
{
	const struct strata_config config = store_config(16 * MIB);

	if (!forbid_membarrier())
		cr_skip("no seccomp");
	store_again(&config);
	cr_expect_eq(store->space.geometry->membarrier, 0);
	put(1, 0, 'a', 5000);
	put(1, 0, 'b', 5000);
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().retired, 0);
	cr_expect(has(1, 0, 'b', 5000));
	must(strata_synchronize(store, 0));

	/* Nor does a writer that leaves leave anything to others. */
	put(1, 0, 'c', 5000);
	cr_expect_neq(stats_now().retired, 0);
	must(strata_detach(store));
	must(strata_attach(STORE, STRATA_READ, &store));
	cr_expect_eq(stats_now().retired, 0);
}
