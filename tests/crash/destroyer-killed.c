/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Killed while a store is destroyed or made: it can be done once more. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "company.h"
#include "pattern.h"
#include "points.h"
#include "proc.h"

static const struct pattern_set set = {2, 12, 30 << 10};
static char name[STRATA_STORE_NAME_MAX + 1];
static char folder[] = "/tmp/strata-destroyed-XXXXXX";
static const char *directory; /* of the store, or NULL */
static struct points *points;
static struct company_of company;
static unsigned nr_points, nr_kills, nr_missed;

/**** steps, each in a process of its own ****/

static void
make(void)
{
	struct strata_config config = {
		.limit = 16 << 20, .directory = directory, .adopt = 1};
	struct strata_store *store;

	need(strata_create(name, &config) == 0, "create");
	/* What comes then is the same as without, but for what disks cost. */
	if (directory != NULL)
		points_off();
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	pattern_commit(store, &set, 1);
	if (directory == NULL)
		need(strata_crystallize(store, 2) == 0, "crystallise");
	need(strata_detach(store) == 0, "detach");
}

static void
run_make(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
	make();
}

static void
run_use(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *store;

	(void)parent;
	(void)arg;
	need(strata_attach(name, STRATA_READ, &store) == 0, "attach");
	need(strata_reader_open(store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	need(pattern_look(reader, &set) == 1, "other contents");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	need(strata_detach(store) == 0, "detach");
}

static void
run_destroy(struct proc *parent, void *arg)
{
	int code = strata_destroy(name);

	(void)parent;
	(void)arg;
	need(code == 0 || code == STRATA_ENOSTORE, "destroy: %d", code);
}

struct kill {
	const char *point; /* NULL: count them */
	unsigned passage;
	bool create;
	enum company company;
};

/* To see when the lock is waited for. */
static struct strata_store *watched;

static void
last_wish(void *arg)
{
	company_dying(arg, watched);
}

static void
run_killed(struct proc *parent, void *arg)
{
	const struct kill *kill = arg;

	(void)parent;
	if (kill->company == WAITING_WRITERS)
		need(strata_attach(name, STRATA_WRITE, &watched) == 0,
		     "attach");
	points_before_death(last_wish, &company);
	if (kill->point == NULL)
		points_count(points);
	else
		points_die_at(kill->point, kill->passage);
	if (kill->create)
		make();
	else
		need(strata_destroy(name) == 0, "destroy");
	points_off();
	last_wish(&company);
}

static int
run(void (*step)(struct proc *parent, void *arg), void *arg)
{
	struct proc proc;

	proc_start(&proc, step, arg);
	return proc_wait(&proc);
}

/**** a section that outlives its store ****/

static void
hold(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *store;

	(void)arg;
	need(strata_attach(name, STRATA_READ, &store) == 0, "attach");
	/* A region that was not met before the store goes is lost. */
	need(strata_refresh(store) == 0, "refresh");
	need(strata_reader_open(store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	proc_say(parent, 'h');
	proc_hear(parent, 'c'); /* destroyed, for a part */
	need(pattern_look(reader, &set) == 1, "other contents");
	proc_say(parent, 'h');
	proc_hear(parent, 'c'); /* destroyed */
	need(pattern_look(reader, &set) == 1, "other contents");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_read_lock(reader) == STRATA_EGONE, "not gone");
}

/* Wakes when the store is marked dead, also if the destroyer died before it
 * could wake anybody. */
static void
sleep_until_gone(struct proc *parent, void *arg)
{
	struct strata_store *store;

	(void)arg;
	need(strata_attach(name, STRATA_READ, &store) == 0, "attach");
	proc_say(parent, 'h');
	need(strata_wait(store, strata_version(store) + 1000,
			 /* timeout_ns= */ -1) == STRATA_EGONE,
	     "not gone");
}

/**** trials ****/

/* What is passed depends on the clock, and on where readers are. */
static void
run_and_kill(struct kill *kill)
{
	int status = run(run_killed, kill);
	bool killed = kill->point != NULL && status == 128 + SIGKILL;

	need(killed || status == 0, "at '%s', passage %u: ended with %d",
	     kill->point != NULL ? kill->point : "(nowhere)", kill->passage,
	     status);
	nr_kills += killed;
	nr_missed += !killed && kill->point != NULL;
}

/* Files that neither a second destroy nor a store of the same name, the making
 * of which sweeps, removes. */
static unsigned
nr_left(const struct kill *kill)
{
	unsigned nr;

	need(run(run_destroy, NULL) == 0, "destroy once more");
	need(run(run_make, NULL) == 0 && run(run_use, NULL) == 0,
	     "after '%s' the name cannot be used", kill->point);
	need(run(run_destroy, NULL) == 0, "destroy the new one");
	(void)shm_bytes(&nr);
	return nr;
}

static unsigned
trial_destroy(struct kill *kill)
{
	struct proc holder, sleeper;
	unsigned nr;

	need(run(run_make, NULL) == 0, "make");
	proc_start(&holder, hold, NULL);
	proc_hear(&holder, 'h');
	proc_start(&sleeper, sleep_until_gone, NULL);
	proc_hear(&sleeper, 'h');
	company = (struct company_of){.kind = kill->company, .name = name};
	company_init(&company);
	if (kill->company == WAITING_WRITERS)
		company_begin(&company);
	run_and_kill(kill);
	company_after_death(&company);
	company_after_recovery(&company);
	if (kill->company == KILLED_READER) {
		proc_kill(&holder);
		nr = nr_left(kill);
		proc_join(&sleeper);
		return nr;
	}
	proc_say(&holder, 'c');
	proc_hear(&holder, 'h');
	nr = nr_left(kill);
	proc_join(&sleeper);
	proc_say(&holder, 'c');
	proc_join(&holder);
	return nr;
}

static unsigned
trial(struct kill *kill)
{
	if (!kill->create)
		return trial_destroy(kill);
	company.kind = NOBODY;
	run_and_kill(kill);
	return nr_left(kill);
}

static void
remove_directory(void)
{
	const struct dirent *entry;
	DIR *dir = directory != NULL ? opendir(directory) : NULL;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	need(rmdir(directory) == 0, "rmdir %s", directory);
}

static void
point_trial(struct kill *kill)
{
	need(trial(kill) == 0,
	     "killed at '%s', passage %u: something is left, which nothing "
	     "removes",
	     kill->point, kill->passage);
	remove_directory();
}

/* At its first, second and last passage. */
static void
point_trials(struct kill *kill, const struct point *point)
{
	unsigned passages[] = {1, point->passages, 2};
	unsigned nr = point->passages < 3 ? point->passages : 3;

	kill->point = point->name;
	for (unsigned i = 0; i < nr; i++) {
		kill->passage = passages[i];
		point_trial(kill);
	}
}

static void
all_points(bool create, enum company beside)
{
	struct kill kill = {NULL, 0, create, beside};

	memset(points, 0, sizeof(*points));
	need(trial(&kill) == 0, "something is left without a kill");
	remove_directory();
	for (unsigned i = 0; i < points->nr; i++)
		point_trials(&kill, &points->points[i]);
	nr_points += points->nr;
}

int
main(void)
{
	static char path[sizeof(folder) + 8];
	unsigned destroyed;

	need(mkdtemp(folder) != NULL, "mkdtemp");
	shm_begin();
	points = proc_shared(sizeof(*points));
	strcpy(name, store_name("destroy"));
	all_points(/* create= */ false, PINNED_READER);
	all_points(/* create= */ false, KILLED_READER);
	all_points(/* create= */ false, WAITING_WRITERS);
	printf("%u processes killed while they destroyed a store: sections "
	       "went on, who waited learned of it, destroying it again and "
	       "making a new one worked\n",
	       nr_kills);
	destroyed = nr_kills;
	all_points(/* create= */ true, NOBODY);
	directory = strcat(strcpy(path, folder), "/made");
	all_points(/* create= */ true, NOBODY);
	printf("%u processes killed while they made and filled one, also with "
	       "a directory: making and destroying one of that name worked\n",
	       nr_kills - destroyed);
	need(rmdir(folder) == 0, "rmdir %s", folder);
	printf("%u points x scenarios, %u killed (%u passages not reached), 0 "
	       "violations\n",
	       nr_points, nr_kills, nr_missed);
	shm_end();
	return 0;
}
