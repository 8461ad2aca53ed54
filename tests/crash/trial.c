/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* One store, and writers that are killed in it, one after the other. */
#include "trial.h"

#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "company.h"
#include "proc.h"
#include "sound.h"

/*
 * Each trial: a process is killed, another one recovers and looks. Two readers
 * check all contents all the time, one of them whenever it is woken by a
 * commit. The store lives through all trials of a scenario, so what leaks adds
 * up; and for each shape of the contents it must use as much as the first time.
 */

enum { READER, WAITER, NR_READERS };
#define SHAPES 64
/* Nothing takes that long; but who waits for ever should say for what. */
#define PATIENCE_NS (UINT64_C(60) * 1000000000)
/* For each scenario. */
#define WAITS_NS (UINT64_C(700) * 1000000)

/* Shared by all processes of a worker. */
struct shared {
	_Atomic uint64_t sections[NR_READERS];
	_Atomic uint64_t versions[NR_READERS]; /* seen last */
	uint64_t recovered; /* version that the last recovery made */
	unsigned outcomes[NR_OUTCOMES];
	struct points points;
	struct {
		uint64_t shape, used;
	} shapes[SHAPES];
	unsigned nr_shapes;
};

static struct shared *shared;
static char name[STRATA_STORE_NAME_MAX + 1];
static const char *directory;
static struct proc readers[NR_READERS];
static struct strata_store *store; /* of the child that writes */
static struct company_of company;
static uint64_t waited_ns, longest_wait_ns;

/**** readers ****/

static void
see_all(struct strata_reader *reader, unsigned which)
{
	uint64_t version;

	need(strata_read_lock(reader) == 0, "lock");
	scenario_see(reader);
	version = strata_reader_version(reader);
	need(strata_read_unlock(reader) == 0, "unlock");
	atomic_store(&shared->versions[which], version);
	atomic_fetch_add(&shared->sections[which], 1);
}

/* The one looks all the time (or every 200 us, since a machine has other things
 * to do as well), the other at each commit. */
static void
read_for_ever(struct proc *parent, void *arg)
{
	unsigned which = *(const unsigned *)arg;
	int64_t timeout_ns = which == READER ? 200000 : -1;
	struct strata_reader *reader;
	struct strata_store *mine;
	int code;

	need(strata_attach(name, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	see_all(reader, which);
	proc_say(parent, 'r');
	for (;;) {
		code = strata_wait(mine,
				   atomic_load(&shared->versions[which]) + 1,
				   timeout_ns);
		need(code == 0 || (code == STRATA_ETIMEDOUT && which == READER),
		     "wait: %d", code);
		see_all(reader, which);
	}
}

static void
wait_until(_Atomic uint64_t *counter, uint64_t least, unsigned which)
{
	uint64_t begin = test_now_ns();

	while (atomic_load(counter) < least) {
		need(proc_is_running(&readers[which]), "a reader failed");
		need(test_now_ns() - begin < PATIENCE_NS, "%s",
		     which == READER ? "a reader stands still"
				     : "who waits for a version is not woken");
		sched_yield();
	}
}

/* A section of the reader ends that it began after now. */
static void
reader_goes_on(void)
{
	uint64_t from = atomic_load(&shared->sections[READER]);

	wait_until(&shared->sections[READER], from + 2, READER);
}

/* Nobody wakes it if the writer died before it could: then its slice ends. That
 * takes up to a second, so it is asked until so much was waited. */
static void
waiter_wakes_alone(void)
{
	uint64_t begin = test_now_ns();

	if (waited_ns > WAITS_NS)
		return;
	wait_until(&shared->versions[WAITER],
		   atomic_load(&shared->versions[READER]), WAITER);
	begin = test_now_ns() - begin;
	waited_ns += begin;
	if (longest_wait_ns < begin)
		longest_wait_ns = begin;
}

/**** the writer that is killed ****/

static void
attach(void)
{
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	scenario_attached(store);
}

/* A handle beside its own, which it may not have yet, or not any more. */
static struct strata_store *watched;

static void
last_wish(void *arg)
{
	company_dying(arg, watched);
}

static void
run_writer(struct proc *parent, void *arg)
{
	const struct kill *kill = arg;
	bool recovers = kill->scenario->first != NULL;

	if (!recovers) {
		attach();
		kill->scenario->prepare();
	}
	if (kill->company == WAITING_WRITERS)
		need(strata_attach(name, STRATA_WRITE, &watched) == 0,
		     "attach");
	proc_say(parent, 'p');
	proc_hear(parent, 'g');
	company_acts(&company);
	points_before_death(last_wish, &company);
	if (kill->point == NULL)
		points_count(&shared->points);
	else
		points_die_at(kill->point, kill->passage);
	if (recovers)
		attach();
	kill->scenario->act();
	points_off();
	last_wish(&company);
}

/* Without company, and with the one that is killed before it, if any. */
static void
run_first(struct proc *parent, void *arg)
{
	const struct kill *kill = arg;

	(void)parent;
	if (kill->scenario->first == NULL) {
		attach();
		kill->scenario->prepare();
	}
	points_die_at(kill->point, 1);
	if (kill->scenario->first != NULL)
		attach();
	kill->scenario->act();
	points_off();
	need(strata_detach(store) == 0, "detach");
}

static int
start_and_wait(void (*run)(struct proc *parent, void *arg), const void *arg)
{
	struct proc proc;

	proc_start(&proc, run, (void *)arg);
	return proc_wait(&proc);
}

/* Where a reader pins what is to be freed it goes another way: again, then. */
static void
kill_first(const struct scenario *scenario)
{
	struct kill kill = {scenario->first, NOBODY, scenario->first_point, 1};
	int status = 0;

	for (unsigned i = 0; status == 0 && i < 100; i++) {
		if (scenario->first->first != NULL)
			kill_first(scenario->first);
		status = start_and_wait(run_first, &kill);
	}
	need(status == 128 + SIGKILL, "'%s' was not killed at '%s'",
	     kill.scenario->what, kill.point);
}

/**** the one that recovers ****/

static uint64_t
shape_now(void)
{
	struct strata_reader *reader;
	uint64_t shape;

	need(strata_reader_open(store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	shape = scenario_shape(reader);
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	return shape;
}

/* What was used when the contents had that shape first. */
static uint64_t
used_before(uint64_t shape, uint64_t used_now)
{
	unsigned i;

	for (i = 0; i < shared->nr_shapes; i++)
		if (shared->shapes[i].shape == shape)
			return shared->shapes[i].used;
	need(i < SHAPES, "more than %u shapes", SHAPES);
	shared->nr_shapes++;
	shared->shapes[i].shape = shape;
	shared->shapes[i].used = used_now;
	return used_now;
}

/* Nothing is lost; and as much is free as was with the same contents before. */
static void
check_memory(void)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	uint64_t used;

	sound_collect(store);
	sound_memory(store);
	need(strata_stats(store, &stats) == 0, "stats");
	used = used_before(shape_now(), stats.used);
	need(stats.used == used,
	     "%" PRIu64 " bytes are used, %" PRIu64
	     " were for the same contents",
	     stats.used, used);
}

static void
run_recovery(struct proc *parent, void *arg)
{
	const struct scenario *scenario = arg;
	enum outcome outcome;

	(void)parent;
	attach();
	scenario_touch();
	shared->recovered = strata_version(store);
	sound_bytes_at_most(store);
	sound_store(store);
	outcome = scenario->judge();
	shared->outcomes[outcome]++;
	need(strata_detach(store) == 0, "detach");
}

static void
run_collection(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
	attach();
	check_memory();
	sound_store(store);
	need(strata_detach(store) == 0, "detach");
}

static void
run_both(struct proc *parent, void *arg)
{
	run_recovery(parent, arg);
	run_collection(parent, arg);
}

/**** a trial ****/

static const char *const companies[NR_COMPANIES] = {
	"nobody",          "two writers that wait",     "a pinned reader",
	"a killed reader", "two at the same dimension",
};

static void
check_status(const struct kill *kill, const char *who, int status)
{
	if (status == 0)
		return;
	fflush(stdout);
	fprintf(stderr,
		"%s ended with %d; scenario '%s' beside %s, killed at '%s', "
		"passage %u\n",
		who, status, kill->scenario->what, companies[kill->company],
		kill->point != NULL ? kill->point : "(nowhere)", kill->passage);
	need(false, "%s failed", who);
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

/* Gives its status. */
static int
run_with_company(const struct kill *kill)
{
	struct proc writer;
	int status;

	company = (struct company_of){
		.kind = kill->company,
		.scenario = kill->scenario,
		.name = name,
	};
	company_init(&company);
	proc_start(&writer, run_writer, (void *)kill);
	proc_hear(&writer, 'p');
	company_begin(&company);
	proc_say(&writer, 'g');
	status = proc_wait(&writer);
	company_after_death(&company);
	return status;
}

bool
trial(const struct kill *kill)
{
	const struct scenario *scenario = kill->scenario;
	int status;
	bool killed;

	if (scenario->first != NULL)
		kill_first(scenario);
	if (kill->point == NULL)
		memset(&shared->points, 0, sizeof(shared->points));
	status = run_with_company(kill);
	killed = kill->point != NULL && status == 128 + SIGKILL;
	check_status(kill, "the writer", killed ? 0 : status);
	reader_goes_on();
	waiter_wakes_alone();
	status = start_and_wait(kill->company == PINNED_READER ? run_recovery
							       : run_both,
				scenario);
	check_status(kill, "the recovery", status);
	company_after_recovery(&company);
	if (kill->company == PINNED_READER)
		check_status(kill, "the collection",
			     start_and_wait(run_collection, scenario));
	wait_until(&shared->versions[WAITER], shared->recovered, WAITER);
	need(left_over() == 0, "a temporary file outlived gc");
	return killed;
}

const struct points *
trial_points(void)
{
	return &shared->points;
}

/**** a scenario ****/

static void
run_make(struct proc *parent, void *arg)
{
	const struct scenario *scenario = arg;
	struct strata_config config = {
		.limit = SCENARIO_LIMIT,
		.max_limit = SCENARIO_LIMIT_MAX,
		.directory = scenario->directory ? directory : NULL,
		.adopt = 1,
		.readers = 64,
		.nr_pools = 3,
		.pools = {{4 << 10, 4 << 20},
			  {8 << 10, 4 << 20},
			  {16 << 10, 8 << 20}},
	};

	(void)parent;
	need(strata_create(name, &config) == 0, "create");
	attach();
	scenario_begin();
	need(strata_detach(store) == 0, "detach");
}

static void
run_last(struct proc *parent, void *arg)
{
	const struct scenario *scenario = arg;

	(void)parent;
	attach();
	if (scenario->first == NULL)
		scenario->prepare();
	check_memory();
	sound_store(store);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

void
trials_begin(const struct scenario *scenario)
{
	static const unsigned which[NR_READERS] = {READER, WAITER};

	memset(shared, 0, sizeof(*shared));
	waited_ns = longest_wait_ns = 0;
	need(start_and_wait(run_make, scenario) == 0, "make");
	for (unsigned i = 0; i < NR_READERS; i++) {
		proc_start(&readers[i], read_for_ever, (void *)&which[i]);
		proc_hear(&readers[i], 'r');
	}
}

void
trials_end(const struct scenario *scenario, unsigned outcomes[NR_OUTCOMES],
	   uint64_t *ret_longest_wait_ns)
{
	for (unsigned i = 0; i < NR_READERS; i++)
		proc_kill(&readers[i]);
	need(start_and_wait(run_last, scenario) == 0, "the end of '%s'",
	     scenario->what);
	memcpy(outcomes, shared->outcomes, sizeof(shared->outcomes));
	*ret_longest_wait_ns = longest_wait_ns;
}

void
trials_init(const char *folder)
{
	shm_begin();
	shared = proc_shared(sizeof(*shared));
	strcpy(name, store_name("killed"));
	directory = folder;
	scenarios_init(directory);
}

void
trials_fini(void)
{
	shm_end();
}
