/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A writer killed at any test point: readers go on, the next writer mends. */
#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "points.h"
#include "proc.h"
#include "scenarios.h"
#include "sound.h"

/*
 * For each scenario a run without a kill tells which points it passes. Then,
 * for each of these, a child is killed there, and another one, which recovers,
 * must find the contents of before or after, never a mixture, and every block
 * and file accounted for. Two readers check all contents all the time. The
 * store lives through all trials of a scenario: what leaks adds up.
 */

#define READERS 2

/* Shared by all processes of a scenario. */
struct shared {
	_Atomic uint64_t sections[READERS];
	unsigned outcomes[NR_OUTCOMES];
	struct points points;
};

static struct shared *shared;
static char name[STRATA_STORE_NAME_MAX + 1];
static char directory[] = "/tmp/strata-killed-XXXXXX";
static struct strata_store *store; /* of the child that writes */

/**** readers ****/

static void
read_for_ever(struct proc *parent, void *arg)
{
	_Atomic uint64_t *sections = arg;
	struct strata_reader *reader;
	struct strata_store *mine;

	need(strata_attach(name, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	proc_say(parent, 'r');
	for (;;) {
		need(strata_read_lock(reader) == 0, "lock");
		scenario_see(reader);
		need(strata_read_unlock(reader) == 0, "unlock");
		atomic_fetch_add(sections, 1);
	}
}

/* Each reader ends a section that it began after now. */
static void
readers_go_on(const struct proc *readers)
{
	uint64_t from[READERS];

	for (unsigned i = 0; i < READERS; i++)
		from[i] = atomic_load(&shared->sections[i]);
	for (unsigned i = 0; i < READERS; i++)
		while (atomic_load(&shared->sections[i]) < from[i] + 2) {
			need(proc_is_running(&readers[i]), "a reader failed");
			sched_yield();
		}
}

/**** the writer that is killed, and the one that recovers ****/

struct kill {
	const struct scenario *scenario;
	const char *point; /* NULL: count them */
	unsigned passage;
};

static void
attach(void)
{
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	scenario_attached(store);
}

static void
run_writer(struct proc *parent, void *arg)
{
	const struct kill *kill = arg;

	(void)parent;
	if (kill->scenario->first == NULL) {
		attach();
		kill->scenario->prepare();
	}
	if (kill->point == NULL)
		points_count(&shared->points);
	else
		points_die_at(kill->point, kill->passage);
	if (kill->scenario->first != NULL)
		attach();
	kill->scenario->act();
	points_off();
}

static void
run_recovery(struct proc *parent, void *arg)
{
	const struct scenario *scenario = arg;
	enum outcome outcome;

	(void)parent;
	attach();
	scenario_touch();
	sound_store(store);
	outcome = scenario->judge();
	shared->outcomes[outcome]++;
	sound_collect(store);
	sound_memory(store);
	sound_store(store);
	need(strata_detach(store) == 0, "detach");
}

/**** trials ****/

struct tally {
	unsigned points, kills, missed, passed_over;
};

static uint64_t random_state;

/* All places in commit, load and crystallise are tried; of the others a share,
 * which the seed decides, unless the test may be long. */
static bool
is_tried(const struct scenario *scenario)
{
	uint64_t one_of = test_length() == TEST_SHORT ? 8 : 2;

	return test_length() == TEST_LONG || scenario == &commit_scenario ||
	       scenario == &load_scenario || scenario == &hybrid_scenario ||
	       test_random(&random_state) % one_of == 0;
}

static void
describe(const struct kill *kill, const char *who, int status)
{
	fflush(stdout);
	fprintf(stderr,
		"%s ended with %d; scenario '%s', killed at '%s', passage %u\n",
		who, status, kill->scenario->what,
		kill->point != NULL ? kill->point : "(nowhere)", kill->passage);
}

static int
start_and_wait(void (*run)(struct proc *parent, void *arg), const void *arg)
{
	struct proc proc;

	proc_start(&proc, run, (void *)arg);
	return proc_wait(&proc);
}

static void
kill_first(const struct scenario *scenario)
{
	struct kill kill = {scenario->first, scenario->first_point, 1};

	need(start_and_wait(run_writer, &kill) == 128 + SIGKILL,
	     "'%s' was not killed at '%s'", kill.scenario->what, kill.point);
}

/* Temporary files in the directory, which killed writers left. */
static unsigned
left_over(void)
{
	const struct dirent *entry;
	DIR *dir = opendir(directory);
	unsigned nr = 0;

	need(dir != NULL, "opendir");
	while ((entry = readdir(dir)) != NULL)
		nr += strstr(entry->d_name, ".tmp") != NULL;
	closedir(dir);
	return nr;
}

/* Was it killed? What is passed may differ from run to run: readers are where
 * they are. */
static bool
trial(const struct kill *kill, const struct proc *readers)
{
	const struct scenario *scenario = kill->scenario;
	int status;
	bool killed;

	if (scenario->first != NULL)
		kill_first(scenario);
	status = start_and_wait(run_writer, kill);
	killed = kill->point != NULL && status == 128 + SIGKILL;
	if (!killed && status != 0) {
		describe(kill, "the writer", status);
		need(false, "the writer failed");
	}
	readers_go_on(readers);
	status = start_and_wait(run_recovery, scenario);
	if (status != 0) {
		describe(kill, "the recovery", status);
		need(false, "the recovery failed");
	}
	need(left_over() == 0, "a temporary file outlived gc");
	readers_go_on(readers);
	return killed;
}

static void
trials_of_point(const struct scenario *scenario, const struct point *point,
		const struct proc *readers, struct tally *tally)
{
	unsigned passages[] = {1, point->passages, point->passages / 2};
	unsigned nr = point->passages > 2 && test_length() == TEST_LONG ? 3
		      : point->passages > 1                             ? 2
									: 1;

	tally->points++;
	for (unsigned i = 0; i < nr; i++) {
		struct kill kill = {scenario, point->name, passages[i]};

		if (!is_tried(scenario))
			tally->passed_over++;
		else if (trial(&kill, readers))
			tally->kills++;
		else
			tally->missed++;
	}
}

/**** a scenario ****/

static void
make_store(const struct scenario *scenario)
{
	struct strata_config config = {
		.limit = 48 << 20,
		.directory = scenario->directory ? directory : NULL,
		.adopt = 1,
	};

	need(strata_create(name, &config) == 0, "create");
	attach();
	scenario_begin();
	need(strata_detach(store) == 0, "detach");
}

static void
run_make(struct proc *parent, void *arg)
{
	(void)parent;
	make_store(arg);
}

static void
run_last(struct proc *parent, void *arg)
{
	const struct scenario *scenario = arg;

	(void)parent;
	attach();
	if (scenario->first == NULL) {
		scenario->prepare();
		scenario->act();
	}
	need(strata_gc(store, NULL) == 0, "gc");
	sound_memory(store);
	sound_store(store);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

static struct tally
play(const struct scenario *scenario)
{
	struct kill count = {.scenario = scenario};
	struct tally tally = {0, 0, 0, 0};
	struct proc readers[READERS];
	uint64_t start = test_now_ns();

	memset(shared, 0, sizeof(*shared));
	need(start_and_wait(run_make, scenario) == 0, "make");
	for (unsigned i = 0; i < READERS; i++) {
		proc_start(&readers[i], read_for_ever, &shared->sections[i]);
		proc_hear(&readers[i], 'r');
	}
	trial(&count, readers);
	for (unsigned i = 0; i < shared->points.nr; i++)
		trials_of_point(scenario, &shared->points.points[i], readers,
				&tally);
	for (unsigned i = 0; i < READERS; i++)
		proc_kill(&readers[i]);
	need(start_and_wait(run_last, scenario) == 0, "the end of '%s'",
	     scenario->what);
	printf("%-28s %3u points, %3u kills (%u passages not reached, %u not "
	       "tried), %3u old %3u new, %.1f s\n",
	       scenario->what, tally.points, tally.kills, tally.missed,
	       tally.passed_over, shared->outcomes[OLD], shared->outcomes[NEW],
	       (double)(test_now_ns() - start) / 1e9);
	fflush(stdout);
	return tally;
}

static void
remove_directory(void)
{
	const struct dirent *entry;
	DIR *dir = opendir(directory);

	need(dir != NULL, "opendir");
	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(directory);
}

int
main(void)
{
	struct tally all = {0, 0, 0, 0};

	random_state = test_seed();
	shm_begin();
	shared = proc_shared(sizeof(*shared));
	strcpy(name, store_name("killed"));
	need(mkdtemp(directory) != NULL, "mkdtemp");
	scenarios_init(directory);
	for (size_t i = 0; i < nr_scenarios; i++) {
		struct tally tally = play(scenarios[i]);

		all.points += tally.points;
		all.kills += tally.kills;
	}
	printf("%zu scenarios, %u points in them, %u writers killed: readers "
	       "went on, verify was clean, nothing leaked\n",
	       nr_scenarios, all.points, all.kills);
	remove_directory();
	shm_end();
	return 0;
}
