/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Child processes that a test starts, talks to, stops and kills. */
#ifndef STRATA_TEST_PROC_H
#define STRATA_TEST_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/**** failing, leaving, lengths ****/

/* What must hold. Prints what did not, with strata_last_error(), and ends the
 * process with status 1; children of the test end with it. */
#define need(held, ...)                                             \
	do {                                                        \
		if (!(held))                                        \
			test_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
void test_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

/* _exit() for children: coverage counters are written first. */
void test_exit(int status) __attribute__((noreturn));

enum test_length { TEST_SHORT, TEST_NORMAL, TEST_LONG };
/* STRATA_TEST_LENGTH: short, long, or anything else. */
enum test_length test_length(void);
/* A sanitizer also reports what a test breaks on purpose, and where it ends. */
bool test_is_sanitized(void);

uint64_t test_now_ns(void);
/*
 * How long a run goes on: its length at least, and until enough happened to
 * judge by. How long that takes is the matter of a machine that may be busy with
 * other things; so the bound is a generous one, and who passes it fails by what
 * he wanted to see.
 */
struct test_run {
	uint64_t end_ns, deadline_ns;
};
struct test_run test_run_begin(uint64_t length_ns);
bool test_run_goes_on(const struct test_run *run, bool is_enough);
/* Random numbers that a seed repeats (splitmix64). */
uint64_t test_random(uint64_t *state);
/* STRATA_TEST_SEED or a new one; printed, so that a failure can be repeated. */
uint64_t test_seed(void);
/* The same for one of many tests of a program; what it is is printed, too. */
uint64_t test_seed_of(const char *what);

/**** the folder of the segments ****/

/* Makes a folder below /dev/shm and sets STRATA_SHM_DIR to it: what is left in
 * it is left by this test. Once, first thing in main(). Gives its path. */
const char *shm_begin(void);
/* Nothing is left in it; removes it. */
void shm_end(void);
/* Bytes of memory behind all files in it, and how many files there are. */
uint64_t shm_bytes(unsigned *ret_nr_files);
/* Removes all files in it. */
void shm_clear(void);
/* A name for a store, of this process only; valid until the next call. */
const char *store_name(const char *what);

/**** processes ****/

struct proc {
	pid_t pid;   /* of the other side; in a child 0 */
	int in, out; /* pipes from and to the other side */
};

/* Forks a child that runs and then leaves with 0; it is killed when its parent
 * dies. The child's struct proc is its side of the pipes. */
void proc_start(struct proc *proc, void (*run)(struct proc *parent, void *arg),
		void *arg);
/* One byte to the other side. */
void proc_say(const struct proc *proc, char word);
/* Waits for a byte from the other side, which must be that word. */
void proc_hear(const struct proc *proc, char word);
/* Waits for a child to end and closes the pipes; gives its exit status, or 128
 * and the signal. */
int proc_wait(struct proc *proc);
/* The same, and the status must be 0. */
void proc_join(struct proc *proc);
/* Has it not ended yet? */
bool proc_is_running(const struct proc *proc);
/* SIGKILL, and wait. */
void proc_kill(struct proc *proc);
/* SIGSTOP, and wait until it is stopped; and SIGCONT. */
void proc_stop(const struct proc *proc);
void proc_continue(const struct proc *proc);
/* Waits until a child has stopped itself. */
void proc_wait_stopped(const struct proc *proc);
/* closefrom(), which musl has not: the numbers that a test can have come to. */
void proc_close_from(int first);
/* Children of children whose parents die become children of this process. */
void proc_adopt_orphans(void);
/* Of these, the ones that have ended must have left with 0; those that are among
 * the given ones are left alone. Gives how many there were. */
unsigned proc_reap_orphans(const struct proc *known, unsigned nr_known);
/* Waits for all that are left, when no other child is. */
unsigned proc_join_orphans(void);
/* SIGKILL to this process; coverage counters are written first. */
void proc_die(void) __attribute__((noreturn));

/* Zeroed memory that this process shares with the children it will start. */
void *proc_shared(size_t size);

#endif
