/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Readers whose pins' names somebody else has taken. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "attached.h"

#define STRANGER 4242u
#define NR_CROWD 12u

static struct strata_config
config_for(uint32_t readers)
{
	struct strata_config config = store_config(16 * MIB);

	config.mode = 0644;
	config.readers = readers;
	return config;
}

static void
setup(void)
{
	/* A segment is one process's. */
	const struct strata_config config = config_for(STRATA_CHUNK_SLOTS);

	store_setup_config(&config);
}

TestSuite(pins_own, .init = setup, .fini = store_teardown, .timeout = 120);

static const char *
usual(uint32_t suffix)
{
	static char name[STRATA_SEGMENT_NAME];

	strata__segment_name_pins(name, &store->space.id, geteuid(), suffix);
	return name;
}

/* All names of this user from that one on are files of another user. */
static void
squat(uint32_t first)
{
	(void)unlinkat(folder.fd, usual(0), 0);
	for (uint32_t i = first; i < STRATA_PINS_SUFFIXES; i++) {
		close(openat(folder.fd, usual(i), O_CREAT | O_RDWR | O_CLOEXEC,
			     0644));
		cr_assert_eq(fchownat(folder.fd, usual(i), STRANGER, STRANGER,
				      AT_SYMLINK_NOFOLLOW),
			     0);
	}
}

/* Files of this user that have such a part in their names. */
static unsigned
nr_ours(const char *part)
{
	DIR *dir = opendir(folder_path);
	const struct dirent *entry;
	struct stat st;
	unsigned nr = 0;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir)) != NULL)
		nr += strstr(entry->d_name, part) != NULL &&
		      fstatat(folder.fd, entry->d_name, &st, 0) == 0 &&
		      st.st_uid == geteuid();
	closedir(dir);
	return nr;
}

/**** one after the other ****/

static void
read_until_told(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *mine;

	(void)arg;
	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	proc_say(parent, 'l');
	proc_hear(parent, 'e');
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_detach(mine) == 0, "detach");
}

Test(pins_own, who_takes_all_names_keeps_nobody_out)
{
	const struct strata_config config = config_for(64);
	struct strata_reader *reader = NULL;
	struct proc child;

	if (geteuid() != 0)
		cr_skip("needs root");
	store_again(&config);
	put(1, 0, 'a', 5000);
	squat(0);
	proc_start(&child, read_until_told, NULL);
	proc_hear(&child, 'l');
	cr_expect_eq(nr_ours("-pins"), 1);
	cr_expect_eq(nr_ours("-turn"), 0);
	/* It is seen: what it reads is kept. */
	put(1, 0, 'b', 5000);
	must(strata_gc(store, NULL));
	cr_expect_gt(stats_now().retired, 0);
	proc_say(&child, 'e');
	proc_join(&child);
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().retired, 0);
	/* The next one has the same segment. */
	must(strata_reader_open(store, &reader));
	cr_expect_eq(nr_ours("-pins"), 1);
	must(strata_read_lock(reader));
	cr_expect(reads(reader, 1, 0, 'b', 5000));
	must(strata_read_unlock(reader));
	must(strata_reader_close(reader));
}

/* Where they are ours, but full or ruined, there is no more than our share. */
Test(pins_own, a_share_is_a_share)
{
	struct proc children[STRATA_PINS_SUFFIXES];
	struct strata_reader *reader = NULL;

	if (geteuid() != 0)
		cr_skip("needs root");
	squat(2);
	for (unsigned i = 0; i < STRATA_PINS_SUFFIXES; i++) {
		proc_start(&children[i], read_until_told, NULL);
		proc_hear(&children[i], 'l');
		cr_expect_eq(nr_ours("-pins"), i + 1);
	}
	expect_error(strata_reader_open(store, &reader), STRATA_EREADERS,
		     "no reader slot left");
	cr_expect_eq(nr_ours("-pins"), STRATA_PINS_SUFFIXES);
	for (unsigned i = 0; i < STRATA_PINS_SUFFIXES; i++) {
		proc_say(&children[i], 'e');
		proc_join(&children[i]);
	}
	must(strata_reader_open(store, &reader));
	must(strata_reader_close(reader));
}

/**** all at once ****/

static struct crowd {
	_Atomic unsigned ready, in, out;
	_Atomic unsigned go, end;
} *crowd;

static void
press(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *mine;
	int code;

	(void)parent;
	(void)arg;
	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	atomic_fetch_add(&crowd->ready, 1);
	while (atomic_load(&crowd->go) == 0)
		sched_yield();
	code = strata_reader_open(mine, &reader);
	need(code == 0 || code == STRATA_EREADERS, "open gave %d", code);
	atomic_fetch_add(code == 0 ? &crowd->in : &crowd->out, 1);
	while (atomic_load(&crowd->end) == 0)
		sched_yield();
	need(strata_detach(mine) == 0, "detach");
}

/* Writers follow the segments that a user may have, and none of a crowd is in
 * one more. */
Test(pins_own, a_crowd_makes_no_more_than_its_share)
{
	struct proc children[NR_CROWD];

	if (geteuid() != 0)
		cr_skip("needs root");
	squat(0);
	crowd = proc_shared(sizeof(*crowd));
	for (unsigned i = 0; i < NR_CROWD; i++)
		proc_start(&children[i], press, NULL);
	while (atomic_load(&crowd->ready) < NR_CROWD)
		sched_yield();
	atomic_store(&crowd->go, 1);
	while (atomic_load(&crowd->in) + atomic_load(&crowd->out) < NR_CROWD)
		sched_yield();
	cr_expect_eq(nr_ours("-pins"), STRATA_PINS_SUFFIXES);
	cr_expect_eq(atomic_load(&crowd->in), STRATA_PINS_SUFFIXES);
	cr_expect_eq(nr_ours("-turn"), 0);
	atomic_store(&crowd->end, 1);
	for (unsigned i = 0; i < NR_CROWD; i++)
		proc_join(&children[i]);
}

/**** who dies, and who is stopped, in his turn ****/

static void
die_in_turn(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *mine;

	(void)parent;
	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	points_die_at(arg, 1);
	(void)strata_reader_open(mine, &reader);
	need(false, "never came to %s", (const char *)arg);
}

Test(pins_own, who_died_in_his_turn_is_in_nobodys_way)
{
	static char points[][32] = {"pins.turn.published", "pins.turn.taken"};
	struct strata_reader *reader = NULL;
	struct proc child;

	if (geteuid() != 0)
		cr_skip("needs root");
	squat(0);
	for (unsigned i = 0; i < 2; i++) {
		proc_start(&child, die_in_turn, points[i]);
		cr_assert_eq(proc_wait(&child), 128 + SIGKILL);
	}
	cr_expect_eq(nr_ours("-turn"), 1, "the second removed the first's");
	must(strata_reader_open(store, &reader));
	cr_expect_eq(nr_ours("-turn"), 0);
	cr_expect_eq(nr_ours("-pins"), 1);
	must(strata_reader_close(reader));
}

static struct proc *stopped_parent;

static void
stop(const char *point)
{
	if (!is_point(point, "pins.turn.taken"))
		return;
	strata__testpoint = NULL;
	proc_say(stopped_parent, 't');
	proc_hear(stopped_parent, 'g');
}

static void
stop_in_turn(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *mine;

	(void)arg;
	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	stopped_parent = parent;
	strata__testpoint = stop;
	need(strata_reader_open(mine, &reader) == 0, "open");
	need(strata_detach(mine) == 0, "detach");
}

/* Of the same user. It is waited for, but not for ever. */
Test(pins_own, who_is_stopped_in_his_turn_has_it)
{
	struct strata_reader *reader = NULL;
	struct proc child;

	if (geteuid() != 0)
		cr_skip("needs root");
	squat(0);
	proc_start(&child, stop_in_turn, NULL);
	proc_hear(&child, 't');
	expect_error(strata_reader_open(store, &reader), STRATA_EREADERS,
		     "no reader slot left");
	cr_expect_eq(nr_ours("-pins"), 0);
	cr_expect_eq(nr_ours("-turn"), 1, "his");
	proc_say(&child, 'g');
	proc_join(&child);
	must(strata_reader_open(store, &reader));
	cr_expect_eq(nr_ours("-pins"), 1);
	must(strata_reader_close(reader));
}

static unsigned nr_published;

static void
count_turns(const char *point)
{
	nr_published += is_point(point, "pins.turn.published");
}

/* All threads of a process wait for its fork: it does not wait for a turn. */
Test(pins_own, a_fork_does_not_wait_for_who_is_stopped)
{
	struct strata_reader *reader = NULL;
	struct proc child;
	pid_t pid;

	if (geteuid() != 0)
		cr_skip("needs root");
	squat(1);
	must(strata_reader_open(store, &reader));
	must(strata_read_lock(reader));
	proc_start(&child, stop_in_turn, NULL);
	proc_hear(&child, 't');
	strata__testpoint = count_turns;
	pid = fork();
	if (pid == 0)
		_exit(strata_read_unlock(reader) == 0);
	cr_assert_gt(pid, 0);
	cr_expect_eq(nr_published, 1, "asks once");
	cr_expect_eq(waitpid(pid, &(int){0}, 0), pid);
	must(strata_read_unlock(reader));
	proc_say(&child, 'g');
	proc_join(&child);
	must(strata_reader_close(reader));
}

/* What others make with such names does not matter. */
Test(pins_own, turns_of_strangers_are_no_turns)
{
	struct strata_reader *reader = NULL;
	char name[STRATA_SEGMENT_NAME];
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	squat(0);
	strata__segment_name_turn(name, &store->space.id, geteuid(), 0);
	fd = openat(folder.fd, name, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
	cr_assert_eq(strata__os_lock_try(fd, 0, 0), 0);
	cr_assert_eq(fchown(fd, STRANGER, STRANGER), 0);
	must(strata_reader_open(store, &reader));
	must(strata_reader_close(reader));
	close(fd);
	cr_expect_eq(faccessat(folder.fd, name, F_OK, 0), 0);
}

/* Nobody attaches any more who would see it. */
Test(pins_own, the_turn_of_somebody_who_died_goes_with_the_store)
{
	static char point[] = "pins.turn.published";
	struct proc child;

	if (geteuid() != 0)
		cr_skip("needs root");
	squat(0);
	proc_start(&child, die_in_turn, point);
	cr_assert_eq(proc_wait(&child), 128 + SIGKILL);
	must(strata_detach(store));
	store = NULL;
	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	must(strata_create("another", NULL));
	cr_expect_eq(nr_ours("-turn"), 0, "swept with the orphans");
	must(strata_destroy("another"));
}
