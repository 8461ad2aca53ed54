/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A writer killed at any test point: readers go on, the next writer mends. */
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc.h"
#include "trial.h"

/*
 * For each scenario a run without a kill tells which points it passes, and how
 * often. Then a writer is killed at each of them: at its first, second and last
 * passage. Another one, which recovers, must find the contents of before or
 * after, never a mixture, and every block and file accounted for.
 *
 * A word on the command line: only scenarios that have it in their names.
 */

#define WORKERS 3 /* they wait a part of the time */
#define PLAYS   200

struct play {
	const struct scenario *scenario;
	enum company company;
};

struct tally {
	_Atomic unsigned points, kills, missed, passed_over;
};

static struct play plays[PLAYS];
static unsigned nr_plays;
/* Shared by the workers. */
static struct common {
	_Atomic unsigned next;
	struct tally all;
} * common;
static uint64_t seed;

/* Who counts coverage writes a hundred files at each death. */
static bool
is_tried(uint64_t *random)
{
	bool all = test_length() != TEST_SHORT &&
		   getenv("STRATA_COVERAGE") == NULL;

	return all || test_random(random) % 8 == 0;
}

static void
trials_of_point(const struct play *play, const struct point *point,
		uint64_t *random, struct tally *tally)
{
	unsigned passages[] = {1, point->passages, 2};
	bool all = play->company == NOBODY || test_length() == TEST_LONG;
	unsigned nr = point->passages > 2 && all ? 3
		      : point->passages > 1      ? 2
						 : 1;

	tally->points++;
	for (unsigned i = 0; i < nr; i++) {
		struct kill kill = {play->scenario, play->company, point->name,
				    passages[i]};

		if (!is_tried(random))
			tally->passed_over++;
		else if (trial(&kill))
			tally->kills++;
		else
			tally->missed++;
	}
}

static bool
is_passed(const char *name, const struct points *points)
{
	for (unsigned i = 0; i < points->nr; i++)
		if (strcmp(points->points[i].name, name) == 0)
			return true;
	return false;
}

/* Readers that happen to pin something may send it another way; and whether it
 * meets its rivals is chance, on a busy machine a rare one. */
static void
count_points(const struct play *play, struct points *ret)
{
	struct kill count = {play->scenario, play->company, NULL, 0};
	const char *must = play->scenario->passes;
	struct test_run run = test_run_begin(0);
	bool passed;

	do {
		trial(&count);
		*ret = *trial_points();
		passed = must == NULL || is_passed(must, ret) ||
			 (play->company != NOBODY && play->company != RIVALS);
	} while (test_run_goes_on(&run, passed));
	need(passed, "'%s' does not pass '%s'", play->scenario->what, must);
}

static void
tell(const struct play *play, const struct tally *tally,
     const unsigned outcomes[NR_OUTCOMES], uint64_t wait_ns, uint64_t time_ns)
{
	static const char *const companies[NR_COMPANIES] = {
		"", ", writers wait", ", a reader pins", ", a reader dies", "",
	};
	char what[80];

	snprintf(what, sizeof(what), "%s%s", play->scenario->what,
		 companies[play->company]);
	printf("%-42s %3u points %4u kills (%u not reached, %u left out) %3u "
	       "old %3u new, wake %.0f ms, %.1f s\n",
	       what, tally->points, tally->kills, tally->missed,
	       tally->passed_over, outcomes[OLD], outcomes[NEW],
	       (double)wait_ns / 1e6, (double)time_ns / 1e9);
	fflush(stdout);
}

static void
play(unsigned number)
{
	const struct play *play = &plays[number];
	uint64_t start = test_now_ns(), wait_ns, random = seed + number;
	struct tally tally = {0, 0, 0, 0};
	unsigned outcomes[NR_OUTCOMES];
	struct points points;

	trials_begin(play->scenario);
	count_points(play, &points);
	for (unsigned i = 0; i < points.nr; i++)
		trials_of_point(play, &points.points[i], &random, &tally);
	trials_end(play->scenario, outcomes, &wait_ns);
	tell(play, &tally, outcomes, wait_ns, test_now_ns() - start);
	common->all.points += tally.points;
	common->all.kills += tally.kills;
	common->all.missed += tally.missed;
	common->all.passed_over += tally.passed_over;
}

static void
run_worker(struct proc *parent, void *arg)
{
	unsigned number;

	(void)parent;
	trials_init(arg);
	while ((number = atomic_fetch_add(&common->next, 1)) < nr_plays)
		play(number);
	trials_fini();
}

/**** which ****/

static void
add(const struct scenario *scenario, enum company company)
{
	need(nr_plays < PLAYS, "more than %u plays", PLAYS);
	plays[nr_plays++] = (struct play){scenario, company};
}

static void
add_all(const struct scenario *scenario)
{
	unsigned companies = scenario->companies;

	if (scenario->rivals[0] == NULL) {
		if (test_length() == TEST_LONG)
			companies = 1u << WAITING_WRITERS |
				    1u << PINNED_READER | 1u << KILLED_READER;
		companies |= 1u << NOBODY;
	}
	for (unsigned i = 0; i < NR_COMPANIES; i++)
		if ((companies & 1u << i) != 0)
			add(scenario, i);
}

static void
remove_folder(const char *folder)
{
	const struct dirent *entry;
	DIR *dir = opendir(folder);

	need(dir != NULL, "opendir");
	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(folder);
}

int
main(int argc, char **argv)
{
	static char folders[WORKERS][32];
	struct proc workers[WORKERS];
	unsigned failed = 0;
	struct tally *all;

	seed = test_seed();
	for (size_t i = 0; i < nr_scenarios; i++)
		if (argc < 2 || strstr(scenarios[i]->what, argv[1]) != NULL)
			add_all(scenarios[i]);
	common = proc_shared(sizeof(*common));
	for (unsigned i = 0; i < WORKERS; i++) {
		strcpy(folders[i], "/tmp/strata-killed-XXXXXX");
		need(mkdtemp(folders[i]) != NULL, "mkdtemp");
		proc_start(&workers[i], run_worker, folders[i]);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		if (proc_wait(&workers[i]) != 0) {
			/* The others clear away what they made. */
			atomic_store(&common->next, nr_plays);
			failed++;
		}
		remove_folder(folders[i]);
	}
	need(failed == 0, "%u violations", failed);
	all = &common->all;
	printf("%u points x scenarios, %u writers killed in %u scenarios (%u "
	       "passages not reached, %u left out), 0 violations: readers went "
	       "on and who waited was woken, the next writer recovered, verify "
	       "was clean, contents old or new, nothing leaked\n",
	       all->points, all->kills, nr_plays, all->missed,
	       all->passed_over);
	return 0;
}
