/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Random operations by many processes, of which some are killed at random. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "random.h"
#include "testpoint.h"

/*
 * Writers do random operations, each written down before it is begun; readers
 * note what they see. Now and then some of them are killed, from outside at any
 * instruction or by themselves at a random test point, or stopped for a while.
 * After each kill of a writer the others stand still between two operations and
 * a judge compares the store, and all that was seen, with a model. The store
 * lives through many kills; then there is another one.
 *
 * STRATA_TEST_SEED repeats the choices, though not their moments.
 * STRATA_TEST_KILLS says how many processes are to be killed, in place of a
 * time. STRATA_TEST_BROKEN takes safeguards out (lib/testpoint.h, as a number):
 * then it must fail.
 */

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  (1000 * NS_PER_MS)
#define MIB(n)    (UINT64_C(n) << 20)
/* Of one store. */
#define KILLS_MAX 150u
/* Whoever makes no progress for that long hangs. */
#define PATIENCE_NS (180 * NS_PER_S)

/* Writers first. */
#define NR_PROCS (NR_WRITERS + NR_READERS)

struct cast {
	struct proc procs[NR_PROCS];
	unsigned stopped[NR_READERS]; /* for so many judgements more */
	uint64_t random;
	uint64_t kills, writers_killed, stops, judgements, orphans;
};

static uint64_t
chance(struct cast *cast, uint64_t of)
{
	return (test_random(&cast->random) >> 16) % of;
}

/**** starting and ending them ****/

static void
start(struct cast *cast, unsigned who)
{
	if (who < NR_WRITERS) {
		shared->dead[who] = false;
		shared->writers[who].attempt++;
		proc_start(&cast->procs[who], writer_main,
			   &shared->writers[who]);
		return;
	}
	shared->readers[who - NR_WRITERS].attempt++;
	cast->stopped[who - NR_WRITERS] = 0;
	proc_start(&cast->procs[who], reader_main,
		   &shared->readers[who - NR_WRITERS]);
}

static void
note_killed(struct cast *cast, unsigned who, int status)
{
	need(status == 128 + SIGKILL, "%s %u ended with %d",
	     who < NR_WRITERS ? "writer" : "reader", who, status);
	cast->kills++;
	if (who < NR_WRITERS) {
		shared->dead[who] = true;
		cast->writers_killed++;
	}
}

static bool
is_dead(const struct cast *cast, unsigned who)
{
	return cast->procs[who].pid == 0;
}

/* Notices who has killed itself, and whoever failed. */
static void
look_around(struct cast *cast)
{
	for (unsigned i = 0; i < NR_PROCS; i++)
		if (!is_dead(cast, i) && !proc_is_running(&cast->procs[i]))
			note_killed(cast, i, proc_wait(&cast->procs[i]));
	cast->orphans += proc_reap_orphans(cast->procs, NR_PROCS);
}

static void
kill_now(struct cast *cast, unsigned who)
{
	if (is_dead(cast, who))
		return;
	need(kill(cast->procs[who].pid, SIGKILL) == 0, "kill");
	note_killed(cast, who, proc_wait(&cast->procs[who]));
}

/* Lets a random time pass: not for anything to happen, but for it to be a
 * random moment. Ends early if somebody ends or speaks. */
static void
let_pass(struct cast *cast, uint64_t most_ns)
{
	uint64_t ns = chance(cast, most_ns);
	const struct timespec time = {0, (long)ns};
	struct pollfd fds[NR_PROCS];

	for (unsigned i = 0; i < NR_PROCS; i++)
		fds[i] = (struct pollfd){
			.fd = is_dead(cast, i) ? -1 : cast->procs[i].in,
			.events = POLLIN};
	(void)ppoll(fds, NR_PROCS, &time, NULL);
	look_around(cast);
}

/**** a judgement ****/

/* All that were stopped, but for readers that stay so. */
static void
let_go_on(struct cast *cast)
{
	for (unsigned i = 0; i < NR_PROCS; i++)
		if (!is_dead(cast, i) &&
		    (i < NR_WRITERS || cast->stopped[i - NR_WRITERS] == 0))
			proc_continue(&cast->procs[i]);
}

/* Has it said that it stands still, or is it dead? */
static bool
stands_still(struct cast *cast, unsigned who)
{
	struct pollfd fd = {.fd = cast->procs[who].in, .events = POLLIN};
	char word = 0;

	/* One that stops itself just now is seen at the next look. */
	let_go_on(cast);
	if (poll(&fd, 1, 20) == 0)
		return false;
	if (read(cast->procs[who].in, &word, 1) == 1) {
		need(word == 'p', "writer %u said '%c'", who, word);
		return true;
	}
	note_killed(cast, who, proc_wait(&cast->procs[who]));
	return true;
}

static void
halt_writers(struct cast *cast)
{
	uint64_t deadline = test_now_ns() + PATIENCE_NS;

	atomic_store_explicit(&shared->pause, 1, memory_order_release);
	let_go_on(cast);
	for (unsigned i = 0; i < NR_WRITERS; i++)
		while (!is_dead(cast, i) && !stands_still(cast, i))
			need(test_now_ns() < deadline,
			     "writer %u does not come to an end", i);
}

static void
resume_writers(struct cast *cast)
{
	atomic_store_explicit(&shared->pause, 0, memory_order_release);
	for (unsigned i = 0; i < NR_WRITERS; i++)
		if (!is_dead(cast, i))
			proc_say(&cast->procs[i], 'g');
}

static void
judge(struct cast *cast)
{
	struct proc proc;

	shared->retained = false;
	for (unsigned i = 0; i < NR_READERS; i++) {
		if (cast->stopped[i] != 0)
			cast->stopped[i]--;
		shared->retained |= cast->stopped[i] != 0;
	}
	halt_writers(cast);
	proc_start(&proc, judge_main, NULL);
	proc_join(&proc);
	cast->judgements++;
}

static void
judge_and_go_on(struct cast *cast)
{
	judge(cast);
	resume_writers(cast);
	for (unsigned i = 0; i < NR_PROCS; i++)
		if (is_dead(cast, i))
			start(cast, i);
}

/**** what befalls them ****/

static unsigned
any_writer(struct cast *cast)
{
	return (unsigned)chance(cast, NR_WRITERS);
}

static unsigned
any_mortal(struct cast *cast)
{
	return NR_WRITERS + NR_FAITHFUL +
	       (unsigned)chance(cast, NR_READERS - NR_FAITHFUL);
}

static void
stop_now(struct cast *cast, unsigned who)
{
	if (is_dead(cast, who))
		return;
	need(kill(cast->procs[who].pid, SIGSTOP) == 0, "stop");
	cast->stops++;
}

/* It stops or dies by itself, at a test point to come. */
static void
light_fuse(struct cast *cast, unsigned who, bool stops)
{
	shared->writers[who].fuse_stops = stops;
	atomic_store_explicit(&shared->writers[who].fuse,
			      1 + (uint32_t)chance(cast, 400),
			      memory_order_release);
	cast->stops += stops;
}

static void
stop_somebody(struct cast *cast)
{
	unsigned who = (unsigned)chance(cast, NR_PROCS);

	if (who < NR_WRITERS && chance(cast, 2) != 0) {
		light_fuse(cast, who, /* stops= */ true);
		let_pass(cast, 4 * NS_PER_MS);
	} else {
		stop_now(cast, who);
		if (who >= NR_WRITERS)
			cast->stopped[who - NR_WRITERS] =
				(unsigned)chance(cast, 4);
	}
	let_pass(cast, 8 * NS_PER_MS);
	/* It may have died meanwhile, and not be looked after. */
	let_go_on(cast);
}

static void
kill_writers(struct cast *cast)
{
	switch (chance(cast, 8)) {
	case 0: /* all, as a power cut would */
		for (unsigned i = 0; i < NR_WRITERS; i++)
			kill_now(cast, i);
		break;
	case 1: /* some time after it was stopped */
		stop_now(cast, 0);
		let_pass(cast, 4 * NS_PER_MS);
		kill_now(cast, 0);
		break;
	case 2:
	case 3:
	case 4:
		light_fuse(cast, any_writer(cast), /* stops= */ false);
		let_pass(cast, 20 * NS_PER_MS);
		break;
	case 5: /* two; the second may be the one that mends */
		kill_now(cast, any_writer(cast));
		let_pass(cast, 2 * NS_PER_MS);
		kill_now(cast, any_writer(cast));
		break;
	default:
		kill_now(cast, any_writer(cast));
		break;
	}
}

static void
kill_reader(struct cast *cast)
{
	unsigned who = any_mortal(cast);

	kill_now(cast, who);
	if (chance(cast, 2) != 0 && is_dead(cast, who))
		start(cast, who);
}

static void
befall(struct cast *cast)
{
	uint64_t what = chance(cast, 16);

	let_pass(cast, chance(cast, 8) == 0 ? 60 * NS_PER_MS : 6 * NS_PER_MS);
	if (what < 3)
		stop_somebody(cast);
	else if (what < 6)
		kill_reader(cast);
	else
		kill_writers(cast);
	/* Others may come first, and mend; or the judge does. */
	if (chance(cast, 2) != 0)
		let_pass(cast, 4 * NS_PER_MS);
	if (what >= 6)
		judge_and_go_on(cast);
}

/**** one store ****/

static uint64_t
figure_of(enum figure which)
{
	return atomic_load_explicit(&shared->figures[which],
				    memory_order_relaxed);
}

/* Without these the run says nothing, however long it took. */
static bool
is_enough(void)
{
	return figure_of(COMMITS) != 0 && figure_of(CRYSTALS) != 0 &&
	       figure_of(LOADS) + figure_of(RELOADS) != 0 &&
	       figure_of(UNCERTAIN) != 0 && figure_of(SIGHTS) != 0;
}

static bool
goes_on(const struct cast *cast, const struct test_run *run, uint64_t kills)
{
	bool enough = is_enough();

	return test_run_goes_on(run, enough) &&
	       (!enough || cast->kills < kills);
}

static void
create(struct cast *cast)
{
	struct strata_config config = {
		.struct_size = sizeof(config),
		/* Room for everything, or hardly for anything. */
		.limit = shared->tight ? MIB(10) : MIB(32),
		.max_limit = MIB(64),
		/* As many as are needed; so lost ones are missed. */
		.readers = 256,
		.huge_pages = chance(cast, 2) != 0 ? STRATA_HUGE_AUTO
						   : STRATA_HUGE_NEVER,
		.directory = shared->directory ? files : NULL,
		.adopt = 1,
	};

	/* Small classes fill, and spill into the next. */
	if (!shared->tight && chance(cast, 2) != 0) {
		config.nr_pools = 3;
		config.pools[0] = (struct strata_pool_config){4096, MIB(4)};
		config.pools[1] = (struct strata_pool_config){32768, MIB(4)};
		config.pools[2] = (struct strata_pool_config){131072, MIB(16)};
	}
	need(strata_create(store_is, &config) == 0, "create");
}

static void
clear_model(void)
{
	memset(&shared->model, 0, sizeof(shared->model));
	memset(shared->nr_pasts, 0, sizeof(shared->nr_pasts));
	memset(shared->dead, 0, sizeof(shared->dead));
	for (unsigned i = 0; i < NR_WRITERS; i++)
		memset(&shared->writers[i], 0,
		       sizeof(shared->writers[i]) -
			       sizeof(shared->writers[i].operations));
	for (unsigned i = 0; i < NR_READERS; i++)
		memset(&shared->readers[i], 0,
		       sizeof(shared->readers[i]) -
			       sizeof(shared->readers[i].sights));
	atomic_store_explicit(&shared->pause, 0, memory_order_relaxed);
	atomic_store_explicit(&shared->stop, 0, memory_order_relaxed);
}

static bool
has_read(unsigned reader)
{
	return atomic_load_explicit(&shared->readers[reader].sections,
				    memory_order_relaxed) != 0;
}

/* A store may end when its readers have hardly begun. */
static void
let_the_faithful_read(void)
{
	struct test_run run = test_run_begin(0);

	for (unsigned i = 0; i < NR_FAITHFUL; i++) {
		while (!has_read(i) &&
		       test_run_goes_on(&run, /* is_enough= */ false))
			sched_yield();
		need(has_read(i), "reader %u has read nothing", i);
	}
}

/* The faithful were attached from the first to the last version. */
static void
end_all(struct cast *cast)
{
	memset(cast->stopped, 0, sizeof(cast->stopped));
	judge_and_go_on(cast);
	let_the_faithful_read();
	judge(cast);
	atomic_store_explicit(&shared->stop, 1, memory_order_relaxed);
	resume_writers(cast);
	for (unsigned i = 0; i < NR_PROCS; i++)
		if (!is_dead(cast, i))
			proc_join(&cast->procs[i]);
	cast->orphans += proc_join_orphans();
	judge(cast);
	need(strata_destroy(store_is) == 0, "destroy");
}

static bool
is_full(void)
{
	for (uint32_t dim = 0; dim < NR_DIMS; dim++)
		if (shared->nr_pasts[dim] >
		    NR_PASTS - NR_WRITERS * NR_OPERATIONS)
			return true;
	return false;
}

static void
run_store(struct cast *cast, const struct test_run *run, uint64_t kills)
{
	uint64_t most = cast->kills + KILLS_MAX;

	clear_model();
	shared->seed = test_random(&cast->random);
	shared->directory = chance(cast, 2) != 0;
	shared->tight = chance(cast, 3) == 0;
	create(cast);
	for (unsigned i = 0; i < NR_PROCS; i++)
		start(cast, i);
	while (goes_on(cast, run, kills) && cast->kills < most && !is_full())
		befall(cast);
	end_all(cast);
}

/**** all of it ****/

static void
remove_files(void)
{
	const struct dirent *entry;
	DIR *dir = opendir(files);

	need(dir != NULL, "opendir");
	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

static void
report(const struct cast *cast, unsigned nr_stores)
{
	static const char *const names[NR_FIGURES] = {
		"commits",
		"aborted",
		"refused",
		"short of room",
		"loads",
		"reloads",
		"unloads",
		"crystallised",
		"gc",
		"limits",
		"waits",
		"verified",
		"nested",
		"inherited",
		"long sections",
		"died in an operation",
		"of which happened",
		"sights compared",
	};

	printf("%u stores, %" PRIu64 " processes killed, of them %" PRIu64
	       " writers, %" PRIu64 " stopped, %" PRIu64 " judgements, %" PRIu64
	       " orphans\n",
	       nr_stores, cast->kills, cast->writers_killed, cast->stops,
	       cast->judgements, cast->orphans);
	for (unsigned i = 0; i < NR_FIGURES; i++)
		printf("%s%s %" PRIu64, i == 0 ? "" : ", ", names[i],
		       figure_of(i));
	printf("\n");
	fflush(stdout);
}

static uint64_t
number_from(const char *variable, uint64_t otherwise)
{
	const char *given = getenv(variable);

	return given != NULL ? strtoull(given, NULL, 0) : otherwise;
}

static uint64_t
length_ns(void)
{
	if (getenv("STRATA_TEST_KILLS") != NULL)
		return UINT64_MAX / 2;
	switch (test_length()) {
	case TEST_SHORT:
		return 4 * NS_PER_S;
	case TEST_LONG:
		return 3600 * NS_PER_S;
	case TEST_NORMAL:
		break;
	}
	return 10 * NS_PER_S;
}

int
main(void)
{
	uint64_t kills = number_from("STRATA_TEST_KILLS", UINT64_MAX);
	struct test_run run = test_run_begin(length_ns());
	struct cast cast = {.kills = 0};
	unsigned nr_stores = 0;

	cast.random = test_seed();
	shm_begin();
	need(mkdtemp(files) != NULL, "mkdtemp: %s", strerror(errno));
	strcpy(store_is, store_name("random"));
	shared = proc_shared(sizeof(*shared));
	proc_adopt_orphans();
	strata__broken = (unsigned)number_from("STRATA_TEST_BROKEN", 0);
	for (; goes_on(&cast, &run, kills); nr_stores++) {
		run_store(&cast, &run, kills);
		remove_files();
	}
	report(&cast, nr_stores);
	need(is_enough(), "too little happened");
	rmdir(files);
	shm_end();
	return 0;
}
