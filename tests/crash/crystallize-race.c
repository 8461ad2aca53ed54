/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Never an older file than the last acknowledgement: not by two that crystallise
 * and are killed, not by one that was stopped while its store went. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crystal.h"
#include "proc.h"
#include "testpoint.h"

#define STORE   "race"
#define WORKERS 2

static char base[] = "/tmp/strata-race-XXXXXX";
static char directory[64];

static void
create(void)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = 32 << 20,
				       .directory = directory};

	need(strata_create(STORE, &config) == 0, "create");
}

static struct strata_store *
attach(void)
{
	struct strata_store *store;

	need(strata_attach(STORE, STRATA_WRITE, &store) == 0, "attach");
	return store;
}

static void
load(struct strata_store *store)
{
	char path[128];

	need(strata_file_path(directory, CRYSTAL, path, sizeof(path)) == 0,
	     "path");
	need(strata_load(store, path, NULL) == 0, "load");
}

/* As at a reboot: the segments are gone, the directory is not. */
static void
expect_survives(void)
{
	uint64_t generation = crystal_read(directory, CRYSTAL);
	struct strata_store *store;

	shm_clear();
	create();
	store = attach();
	load(store);
	need(crystal_see(store, CRYSTAL) == generation,
	     "what was crystallised is not there after a reboot");
	need(strata_detach(store) == 0, "detach");
}

/**** two that crystallise, and are killed ****/

static struct {
	_Atomic uint64_t begun, acknowledged; /* generations, growing */
	_Atomic uint64_t crystallised;        /* how often */
} *shared;

static unsigned passages_left;

static void
die_some_time(const char *point)
{
	(void)point;
	if (--passages_left == 0)
		proc_die();
}

/* Generations grow with versions: both under the writer lock. */
static uint64_t
put_next(struct strata_store *store)
{
	struct strata_writer *session;
	uint64_t generation;

	need(strata_writer_open(store, &session) == 0, "session");
	generation = atomic_fetch_add_explicit(&shared->begun, 1,
					       memory_order_relaxed) +
		     1;
	crystal_put(store, CRYSTAL, generation);
	need(strata_writer_close(session) == 0, "close");
	return generation;
}

/* Release: who sees the acknowledgement may look at the file. */
static void
acknowledge(uint64_t generation)
{
	uint64_t old = atomic_load_explicit(&shared->acknowledged,
					    memory_order_relaxed);

	while (old < generation &&
	       !atomic_compare_exchange_weak_explicit(
		       &shared->acknowledged, &old, generation,
		       memory_order_release, memory_order_relaxed))
		;
	atomic_fetch_add_explicit(&shared->crystallised, 1,
				  memory_order_relaxed);
}

static void
work(struct proc *parent, void *arg)
{
	struct strata_store *store = attach();
	uint64_t generation;

	(void)parent;
	passages_left = *(unsigned *)arg;
	strata__testpoint = die_some_time;
	for (;;) {
		generation = put_next(store);
		need(strata_crystallize(store, CRYSTAL) == 0, "crystallise");
		acknowledge(generation);
	}
}

static void
look(void)
{
	uint64_t least = atomic_load_explicit(&shared->acknowledged,
					      memory_order_acquire);
	uint64_t found = crystal_read(directory, CRYSTAL);

	need(found != CRYSTAL_BROKEN, "the file is torn");
	need(found >= least,
	     "the file is of generation %" PRIu64 ", but %" PRIu64
	     " was acknowledged",
	     found, least);
}

static void
start(struct proc *worker, uint64_t *random)
{
	static unsigned passages;
	uint64_t chance = test_random(random);

	/* Most die in their first crystallise, some live for a few. */
	passages = 1 + (unsigned)((chance >> 8) % (600u << chance % 4));
	proc_start(worker, work, &passages);
}

static void
kill_many(unsigned nr_deaths, uint64_t *random)
{
	struct strata_verify_report report;
	struct proc workers[WORKERS];
	struct strata_store *store;
	unsigned deaths = 0, looks = 0;

	for (int i = 0; i < WORKERS; i++)
		start(&workers[i], random);
	for (; deaths < nr_deaths ||
	       atomic_load_explicit(&shared->crystallised,
				    memory_order_relaxed) == 0;
	     looks++) {
		look();
		for (int i = 0; i < WORKERS; i++) {
			if (proc_is_running(&workers[i]))
				continue;
			need(proc_wait(&workers[i]) == 128 + 9, "a worker");
			start(&workers[i], random);
			deaths++;
		}
	}
	for (int i = 0; i < WORKERS; i++)
		(void)kill(workers[i].pid, SIGKILL);
	for (int i = 0; i < WORKERS; i++)
		(void)proc_wait(&workers[i]);
	look();
	store = attach();
	need(strata_crystallize(store, CRYSTAL) == 0, "crystallise");
	look();
	need(crystal_see(store, CRYSTAL) == crystal_read(directory, CRYSTAL),
	     "store and file differ");
	need(crystal_temporaries(directory) == 0, "a temporary file is left");
	need(strata_verify(store, 0, NULL, NULL, &report) == 0 &&
		     report.errors == 0,
	     "%s", report.first);
	need(strata_detach(store) == 0, "detach");
	printf("%u writers killed, %" PRIu64 " generations acknowledged; %u "
	       "looks found none older\n",
	       deaths,
	       atomic_load_explicit(&shared->crystallised,
				    memory_order_relaxed),
	       looks);
	need(atomic_load_explicit(&shared->crystallised,
				  memory_order_relaxed) > 0,
	     "none ever came to its end");
}

/**** one that is stopped while its store goes ****/

struct stop {
	const char *point;
	bool by_hand; /* the segments are removed; else it is destroyed */
	bool forget;  /* the new store forgets the dimension */
};

static const struct stop *stop;
static struct proc *stopped_parent;

static void
stop_there(const char *point)
{
	if (strcmp(point, stop->point) != 0)
		return;
	strata__testpoint = NULL;
	proc_say(stopped_parent, 'a');
	proc_hear(stopped_parent, 'b');
}

static void
be_stopped(struct proc *parent, void *arg)
{
	struct strata_store *store = attach();
	bool too_late = strcmp(stop->point, "newfile.finish.renamed") == 0;
	int code;

	(void)arg;
	crystal_put(store, CRYSTAL, 2);
	stopped_parent = parent;
	strata__testpoint = stop_there;
	code = strata_crystallize(store, CRYSTAL);
	need(strata__testpoint == NULL, "it never came to %s", stop->point);
	need(code != 0 || (too_late && stop->by_hand),
	     "a crystallise was acknowledged in a store that is gone");
}

static void
one_stop(const struct stop *this)
{
	struct strata_store *store;
	struct proc child;
	uint64_t expected = this->forget ? 0 : 3;

	stop = this;
	create();
	store = attach();
	crystal_put(store, CRYSTAL, 1);
	need(strata_crystallize(store, CRYSTAL) == 0, "crystallise");
	need(strata_detach(store) == 0, "detach");
	proc_start(&child, be_stopped, NULL);
	proc_hear(&child, 'a');
	if (this->by_hand)
		shm_clear();
	else
		need(strata_destroy(STORE) == 0, "destroy");
	create();
	store = attach();
	load(store);
	crystal_put(store, CRYSTAL, 3);
	if (this->forget)
		need(strata_unload(store, CRYSTAL, 1) == 0, "forget");
	else
		need(strata_crystallize(store, CRYSTAL) == 0, "crystallise");
	need(crystal_read(directory, CRYSTAL) == expected, "its own file");
	proc_say(&child, 'b');
	proc_join(&child);
	need(crystal_read(directory, CRYSTAL) == expected,
	     "stopped at %s, %s: generation %" PRIu64
	     " is in the directory, %" PRIu64 " was acknowledged",
	     this->point,
	     this->by_hand ? "segments removed" : "store destroyed",
	     crystal_read(directory, CRYSTAL), expected);
	need(crystal_temporaries(directory) == 0, "a temporary file is left");
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(STORE) == 0, "destroy");
}

static void
stop_everywhere(void)
{
	static const char *const points[] = {
		"crystallize.sealed", "newfile.open.created",
		"crystallize.file-written", "newfile.finish.synced",
		"newfile.finish.renamed"};
	unsigned nr = 0;

	for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++)
		for (int way = 0; way < 4; way++, nr++) {
			struct stop this = {points[i], way & 1, way & 2};

			one_stop(&this);
		}
	printf("%u times stopped while its store went: the newer file stayed\n",
	       nr);
}

/**** one that was stopped, and goes on in the middle of the newer one ****/

static struct proc *former;

static void
let_former_go_on(const char *point)
{
	if (strcmp(point, "crystallize.file-written") != 0)
		return;
	strata__testpoint = NULL;
	proc_say(former, 'b');
	proc_join(former);
}

/* It may take away what the newer one is writing: then that one writes again. */
static void
one_overlap(const char *point, bool by_hand)
{
	const struct stop this = {point, by_hand, /* forget= */ false};
	struct strata_store *store;
	struct proc child;

	stop = &this;
	create();
	store = attach();
	crystal_put(store, CRYSTAL, 1);
	need(strata_detach(store) == 0, "detach");
	proc_start(&child, be_stopped, NULL);
	proc_hear(&child, 'a');
	if (by_hand)
		shm_clear();
	else
		need(strata_destroy(STORE) == 0, "destroy");
	create();
	store = attach();
	crystal_put(store, CRYSTAL, 3);
	former = &child;
	strata__testpoint = let_former_go_on;
	need(strata_crystallize(store, CRYSTAL) == 0,
	     "a former store's crystallise, which was stopped at %s, is in the "
	     "way of the newer one's",
	     point);
	strata__testpoint = NULL;
	need(crystal_read(directory, CRYSTAL) == 3, "its own file");
	need(crystal_temporaries(directory) == 0, "a temporary file is left");
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(STORE) == 0, "destroy");
}

static void
overlap(void)
{
	static const char *const points[] = {
		"crystallize.sealed", "crystallize.file-ours",
		"newfile.open.created", "crystallize.file-written",
		"newfile.finish.synced"};

	for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++)
		for (int by_hand = 0; by_hand < 2; by_hand++)
			one_overlap(points[i], by_hand != 0);
	printf("a former store's crystallise that goes on is in nobody's way\n");
}

int
main(void)
{
	unsigned deaths = test_length() == TEST_LONG	? 600
			  : test_length() == TEST_SHORT ? 15
							: 25;
	char path[128];
	uint64_t random;

	shm_begin();
	random = test_seed();
	shared = proc_shared(sizeof(*shared));
	need(mkdtemp(base) != NULL, "mkdtemp: %s", strerror(errno));
	snprintf(directory, sizeof(directory), "%s/directory", base);
	stop_everywhere();
	overlap();
	create();
	kill_many(deaths, &random);
	expect_survives();
	need(strata_destroy(STORE) == 0, "destroy");
	need(strata_file_path(directory, CRYSTAL, path, sizeof(path)) == 0 &&
		     unlink(path) == 0,
	     "unlink");
	snprintf(path, sizeof(path), "%s/store", directory);
	need(unlink(path) == 0 && rmdir(directory) == 0 && rmdir(base) == 0,
	     "rmdir: %s", strerror(errno));
	shm_end();
	return 0;
}
