/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Killed while a store is destroyed or made: it can be done once more. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "pattern.h"
#include "points.h"
#include "proc.h"

static const struct pattern_set set = {2, 12, 30 << 10};
static char name[STRATA_STORE_NAME_MAX + 1];
static struct points *points;

/**** steps, each in a process of its own ****/

static void
make(void)
{
	struct strata_config config = {.limit = 16 << 20};
	struct strata_store *store;

	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	pattern_commit(store, &set, 1);
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
};

static void
run_killed(struct proc *parent, void *arg)
{
	const struct kill *kill = arg;

	(void)parent;
	if (kill->point == NULL)
		points_count(points);
	else
		points_die_at(kill->point, kill->passage);
	if (kill->create)
		make();
	else
		need(strata_destroy(name) == 0, "destroy");
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

/**** trials ****/

static void
killed(struct kill *kill)
{
	int status = run(run_killed, kill);

	need(status == (kill->point != NULL ? 128 + SIGKILL : 0),
	     "at '%s', passage %u: ended with %d",
	     kill->point != NULL ? kill->point : "(nowhere)", kill->passage,
	     status);
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
	struct proc holder;
	unsigned nr;

	need(run(run_make, NULL) == 0, "make");
	proc_start(&holder, hold, NULL);
	proc_hear(&holder, 'h');
	killed(kill);
	proc_say(&holder, 'c');
	proc_hear(&holder, 'h');
	nr = nr_left(kill);
	proc_say(&holder, 'c');
	proc_join(&holder);
	return nr;
}

static unsigned
trial(struct kill *kill)
{
	if (!kill->create)
		return trial_destroy(kill);
	killed(kill);
	return nr_left(kill);
}

static void
point_trial(struct kill *kill)
{
	need(trial(kill) == 0,
	     "killed at '%s', passage %u: something is left, which nothing "
	     "removes",
	     kill->point, kill->passage);
}

static unsigned
all_points(bool create)
{
	struct kill kill = {NULL, 0, create};
	unsigned nr_kills = 0;

	memset(points, 0, sizeof(*points));
	need(trial(&kill) == 0, "something is left without a kill");
	for (unsigned i = 0; i < points->nr; i++) {
		kill.point = points->points[i].name;
		kill.passage = 1;
		point_trial(&kill);
		nr_kills++;
		kill.passage = points->points[i].passages;
		if (kill.passage > 1 && nr_kills++)
			point_trial(&kill);
	}
	return nr_kills;
}

int
main(void)
{
	unsigned nr;

	shm_begin();
	points = proc_shared(sizeof(*points));
	strcpy(name, store_name("destroy"));
	nr = all_points(/* create= */ false);
	printf("%u processes killed while they destroyed a store: sections "
	       "went on, destroying it again and making a new one worked\n",
	       nr);
	nr = all_points(/* create= */ true);
	printf("%u processes killed while they made and filled one: making and "
	       "destroying one of that name worked\n",
	       nr);
	shm_end();
	return 0;
}
