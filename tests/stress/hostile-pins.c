/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A process that means harm scribbles over its pins and locks what it can. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "layout.h"
#include "pattern.h"
#include "proc.h"
#include "scribble.h"
#include "snapshot.h"

/*
 * Two runs. In the first the scribbler is another user, who may read the store:
 * writers and the readers of everybody else must not notice. In the second it
 * is the user of the store: writers that only commit must not notice, and the
 * store stays whole; whoever has a slot of that user may die (docs/design.md,
 * Trust), and as long as it lives it is told when its pin was lost. A sanitizer
 * cannot tell what such a one reads from a fault of ours: there only the first
 * run, in which victims follow nothing.
 */
#define HOSTILE_UID 60101
#define GOOD_UID    60102

#define NR_WRITERS 2u
#define LAYERS     2u
#define DIMENSIONS 2u
#define REGION     9u /* the dimension that comes and goes as a region */

struct board {
	_Atomic uint32_t stop;
	_Atomic uint64_t commits[NR_WRITERS], longest_ns, regions;
	_Atomic uint64_t reads, lost, deaths, scribbles, locks;
};

struct run {
	struct board *board;
	const char *folder;
	char store[STRATA_STORE_NAME_MAX + 1];
	uint64_t seed;
	uint64_t length_ns;
	uid_t uid; /* who scribbles */
	unsigned index;
	uid_t as; /* who the next reader is */
};

static const struct pattern_set set = {DIMENSIONS, LAYERS, 1000};

static bool
is_over(const struct run *run)
{
	return atomic_load_explicit(&run->board->stop, memory_order_relaxed);
}

static void
count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void
become(uid_t uid)
{
	if (uid == 0)
		return;
	need(setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0 &&
		     setresuid(uid, uid, uid) == 0,
	     "become user %u: %s", (unsigned)uid, strerror(errno));
	/* A change of user forgets it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static struct strata_store *
attach(const struct run *run, unsigned flags)
{
	struct strata_store *store;

	need(strata_attach(run->store, flags | STRATA_TRUST_OWNER, &store) == 0,
	     "attach");
	return store;
}

/* Who may be slow beside others, by how the machine has the time for them, are
 * all that take part; so the writers go on until each had his share. */
#define SCRIBBLES 100u
#define COMMITS   10u
#define READS     10u
#define LOCKS     10u

static bool
is_enough(const struct run *run)
{
	const struct board *b = run->board;

	for (unsigned i = 0; i < NR_WRITERS; i++)
		if (b->commits[i] <= COMMITS)
			return false;
	return b->scribbles > SCRIBBLES && b->reads > READS && b->regions > 0 &&
	       /* only another user takes locks */
	       (run->uid == 0 || b->locks > LOCKS);
}

/**** writers ****/

/* A refusal is a failure: what the scribbler can retain by its slots fits. */
static void
writer_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	struct strata_store *store = attach(run, STRATA_WRITE);
	struct test_run span = test_run_begin(run->length_ns);
	uint64_t begin, time, generation = run->index;

	(void)parent;
	while (test_run_goes_on(&span, is_enough(run))) {
		begin = test_now_ns();
		generation += NR_WRITERS;
		pattern_commit(store, &set, generation);
		time = test_now_ns() - begin;
		if (time > atomic_load(&run->board->longest_ns))
			atomic_store(&run->board->longest_ns, time);
		count(&run->board->commits[run->index]);
		if (generation % 16 == run->index)
			need(strata_gc(store, NULL) == 0, "gc");
	}
	need(strata_detach(store) == 0, "detach");
}

static void
make_file(const char *path)
{
	struct strata_file_info info = {.dimension = REGION};
	struct strata_file *file;
	static char data[20000];

	need(strata_file_begin(path, 0644, &info, &file) == 0, "file");
	for (uint32_t layer = 0; layer < LAYERS; layer++)
		need(strata_file_add(file, layer, NULL, data, sizeof(data)) ==
			     0,
		     "add");
	need(strata_file_commit(file) == 0, "file commit");
}

/* Regions come and go. It has a slot for that, so it may lose its pin where the
 * scribbler is of its user. */
static void
keeper_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	struct strata_store *store = attach(run, STRATA_WRITE);
	char path[256];
	int ret = 0;

	(void)parent;
	snprintf(path, sizeof(path), "%s/file", run->folder);
	while (!is_over(run)) {
		ret = strata_reload(store, REGION, path);
		if (ret == 0)
			ret = strata_crystallize(store, 1);
		if (ret == 0)
			count(&run->board->regions);
		need(ret == 0 || (run->uid == geteuid() &&
				  (ret == STRATA_EPIN ||
				   ret == STRATA_EREADERS)),
		     "reload or crystallise gave %d", ret);
	}
	need(strata_detach(store) == 0, "detach");
}

/**** readers ****/

static void
good_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	struct strata_reader *reader;
	struct strata_store *store;

	(void)parent;
	become(run->as);
	store = attach(run, STRATA_READ);
	need(strata_reader_open(store, &reader) == 0, "reader");
	while (!is_over(run)) {
		need(strata_read_lock(reader) == 0, "lock");
		pattern_look(reader, &set);
		need(strata_read_unlock(reader) == 0, "unlock");
		count(&run->board->reads);
	}
	need(strata_detach(store) == 0, "detach");
}

/* Is all there, and of one generation? */
static bool
is_whole(struct strata_reader *reader)
{
	const struct strata_entry *entry;
	struct pattern pattern, first = {0};

	for (uint32_t d = 1; d <= DIMENSIONS; d++)
		for (uint32_t layer = 0; layer < LAYERS; layer++) {
			if (strata_find(reader, d, layer, &entry) != 0 ||
			    entry->size != set.size ||
			    !pattern_check(strata_data(reader, entry),
					   entry->size, &pattern))
				return false;
			if (first.generation == 0)
				first = pattern;
			if (pattern.generation != first.generation)
				return false;
		}
	return true;
}

/* Sections of a victim. Where the scribbler has taken away the names of all its
 * user's segments, and whoever lives in one stays, there would be none any more
 * to be harmed; the next victim makes one. */
#define STAY 2000u

/* Of the scribbler's user. What it read may be wrong only if it is told so; but
 * of modes and names (which are harmed in the first run) it is not told. */
static void
victim(const struct run *run)
{
	struct strata_store *store = attach(run, STRATA_READ);
	struct strata_reader *reader;
	bool whole;
	int ret = strata_reader_open(store, &reader);

	need(ret == 0 || ret == STRATA_EREADERS, "reader");
	for (unsigned i = 0;
	     i < STAY && ret != STRATA_EREADERS && !is_over(run); i++) {
		need(strata_read_lock(reader) == 0, "lock");
		/* Nothing is followed where what it leads to is reported. */
		whole = test_is_sanitized() || is_whole(reader);
		ret = strata_read_unlock(reader);
		need(ret == 0 || ret == STRATA_EPIN, "unlock gave %d", ret);
		need(whole || ret == STRATA_EPIN || run->uid != 0,
		     "it was not told that it lost its pin");
		if (ret == STRATA_EPIN)
			count(&run->board->lost);
	}
	(void)strata_detach(store);
}

/* Deaths that truncated segments, and trees that are no more, lead to. */
static void
expect_death(void)
{
	static const struct rlimit no_core = {0, 0};

	setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGBUS, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
}

static bool
is_death(int status)
{
	return WIFSIGNALED(status) &&
	       (WTERMSIG(status) == SIGBUS || WTERMSIG(status) == SIGSEGV);
}

/* Starts it again and again: it may die. */
static void
nurse(const struct run *run, void (*patient)(const struct run *run))
{
	int status;
	pid_t pid;

	while (!is_over(run)) {
		fflush(NULL);
		pid = fork();
		need(pid >= 0, "fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			expect_death();
			patient(run);
			test_exit(0);
		}
		need(waitpid(pid, &status, 0) == pid, "waitpid");
		need(status == 0 || is_death(status), "it ended with %#x",
		     status);
		if (status != 0)
			count(&run->board->deaths);
	}
}

static void
victim_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;

	(void)parent;
	become(run->uid);
	nurse(run, victim);
}

static void
keeper(const struct run *run)
{
	keeper_main(NULL, (void *)run);
}

static void
nursed_keeper_main(struct proc *parent, void *arg)
{
	(void)parent;
	nurse(arg, keeper);
}

/**** who means harm ****/

static struct scribbler
scribbler_of(const struct run *run)
{
	struct scribbler scribbler = {
		.folder = run->folder,
		.uid = run->uid,
		.store = attach(run, STRATA_READ),
		.random = run->seed,
		.fd = -1,
		.names = run->uid != 0,
		.size = STRATA_PINS_SLOTS + 64 * sizeof(struct strata__slot),
	};

	signal(SIGIO, SIG_IGN); /* of leases that are broken */
	signal(SIGXFSZ, SIG_IGN);
	return scribbler;
}

static void
scribbler_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	struct scribbler scribbler;
	struct strata_reader *reader;

	(void)parent;
	become(run->uid);
	scribbler = scribbler_of(run);
	/* Its chunk is vouched for: what it writes there counts. */
	need(strata_reader_open(scribbler.store, &reader) == 0, "reader");
	while (!is_over(run)) {
		if (scribble(&scribbler))
			count(&run->board->scribbles);
	}
	scribble_end(&scribbler);
	/* Its own slot may be gone: nothing of it is touched any more. */
}

static void
locker_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	uint64_t random = run->seed + 1;

	become(run->uid);
	signal(SIGIO, SIG_IGN);
	while (!is_over(run)) {
		uint64_t nr = take_locks(run->folder, &random);

		atomic_fetch_add_explicit(&run->board->locks, nr,
					  memory_order_relaxed);
	}
	/* Kept, until it was seen that they are in nobody's way. */
	proc_say(parent, 'k');
	proc_hear(parent, 'e');
}

/**** a reader is told, kind by kind ****/

static void
overwrite(int fd, uint64_t size)
{
	static const char zeroes[4096];

	for (uint64_t at = STRATA_PINS_SLOTS; at < size; at += sizeof(zeroes))
		need(pwrite(fd, zeroes, sizeof(zeroes), (off_t)at) ==
			     sizeof(zeroes),
		     "pwrite");
}

static void
cut_and_extend(int fd, uint64_t size)
{
	need(ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)size) == 0,
	     "ftruncate");
}

static void
cut_in_the_middle(int fd, uint64_t size)
{
	need(ftruncate(fd, STRATA_PINS_SLOTS + 4) == 0 &&
		     ftruncate(fd, (off_t)size) == 0,
	     "ftruncate");
}

static void
check_told(const struct run *run)
{
	static void (*const kinds[])(int fd, uint64_t size) = {
		overwrite, cut_and_extend, cut_in_the_middle};
	struct strata_store *store = attach(run, STRATA_READ);
	struct strata_reader *reader;
	char path[300];
	struct stat st;
	int fd;

	need(strata_reader_open(store, &reader) == 0, "reader");
	snprintf(path, sizeof(path),
		 "for f in '%s'/*-pins%u.0; do mv \"$f\" '%s/mine' && ln "
		 "'%s/mine' \"$f\"; done",
		 run->folder, (unsigned)geteuid(), run->folder, run->folder);
	need(system(path) == 0, "no pins segment");
	snprintf(path, sizeof(path), "%s/mine", run->folder);
	fd = open(path, O_RDWR | O_CLOEXEC);
	need(fd >= 0 && fstat(fd, &st) == 0, "open");
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		need(strata_read_lock(reader) == 0, "lock");
		kinds[i](fd, (uint64_t)st.st_size);
		need(strata_read_unlock(reader) == STRATA_EPIN,
		     "kind %u: the reader was not told", i);
		need(strata_read_lock(reader) == 0 && is_whole(reader) &&
			     strata_read_unlock(reader) == 0,
		     "kind %u: the next section is as always", i);
	}
	close(fd);
	unlink(path);
	need(strata_detach(store) == 0, "detach");
}

/**** both runs ****/

static void
create(const struct run *run)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = UINT64_C(96) << 20,
				       .readers = 64,
				       .mode = 0644,
				       .nr_pools = 2};
	struct strata_store *store;
	char path[256];

	config.pools[0].block_size = 4096;
	config.pools[0].max_size = UINT64_C(64) << 20;
	config.pools[1].block_size = 16384;
	config.pools[1].max_size = UINT64_C(16) << 20;
	need(strata_create(run->store, &config) == 0, "create");
	store = attach(run, STRATA_WRITE);
	snprintf(path, sizeof(path), "%s/file", run->folder);
	make_file(path);
	need(strata_load(store, path, NULL) == 0, "load");
	pattern_commit(store, &set, 1);
	check_told(run);
	need(strata_detach(store) == 0, "detach");
}

/* All is given back that nobody needs, though the locks are still held. */
static void
check_store(const struct run *run, bool regions)
{
	struct strata_verify_report report;
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	struct strata_store *store = attach(run, STRATA_WRITE);

	need(strata_gc(store, NULL) == 0, "gc");
	need(strata_verify(store, 0, NULL, NULL, &report) == 0, "verify");
	need(report.errors == 0, "%s", report.first);
	need(strata_stats(store, &stats) == 0, "stats");
	printf("\tretired %" PRIu64 ", regions %" PRIu64 " bytes\n",
	       stats.retired, stats.region_bytes);
	need(!regions || stats.region_bytes < 200000,
	     "regions were not given back: %" PRIu64 " bytes",
	     stats.region_bytes);
	need(strata_detach(store) == 0, "detach");
}

static void
report(const struct run *run, const char *what)
{
	struct board *b = run->board;

	printf("%s: %" PRIu64 " scribbles, %" PRIu64 " locks; %" PRIu64
	       " and %" PRIu64 " commits, the longest took %.3f s; %" PRIu64
	       " regions; %" PRIu64 " good sections; %" PRIu64
	       " told of a lost pin, %" PRIu64 " deaths\n",
	       what, b->scribbles, b->locks, b->commits[0], b->commits[1],
	       (double)b->longest_ns / 1e9, b->regions, b->reads, b->lost,
	       b->deaths);
	fflush(stdout);
	need(is_enough(run), "too little happened");
}

/* The writers end by themselves, and are waited for first. */
static void
wait_for_the_end(const struct run *run, struct proc writers[NR_WRITERS])
{
	for (unsigned i = 0; i < NR_WRITERS; i++)
		proc_join(&writers[i]);
	atomic_store_explicit(&run->board->stop, 1, memory_order_relaxed);
}

static void
clear_folder(const char *folder)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -rf '%s'/*", folder);
	need(system(command) == 0, "rm");
}

/* Of a user who scribbles over his own pins all four segments may be ruined:
 * his readers get no slot any more, which is his loss. What is asked here is
 * what became of the store, and who asks needs one. */
static void
clear_pins(const char *folder)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -f '%s'/*-pins*", folder);
	need(system(command) == 0, "rm");
}

static void
strangers(struct run *run)
{
	struct proc writers[NR_WRITERS], readers[2], keeper, patient, harm, locker;

	run->uid = HOSTILE_UID;
	create(run);
	for (run->index = 0; run->index < NR_WRITERS; run->index++)
		proc_start(&writers[run->index], writer_main, run);
	proc_start(&keeper, keeper_main, run);
	run->as = 0;
	proc_start(&readers[0], good_main, run);
	run->as = GOOD_UID;
	proc_start(&readers[1], good_main, run);
	proc_start(&patient, victim_main, run);
	proc_start(&harm, scribbler_main, run);
	proc_start(&locker, locker_main, run);
	wait_for_the_end(run, writers);
	proc_hear(&locker, 'k');
	proc_join(&keeper);
	proc_join(&readers[0]);
	proc_join(&readers[1]);
	proc_join(&patient);
	proc_join(&harm);
	report(run, "another user");
	check_store(run, /* regions= */ true);
	need(strata_destroy(run->store) == 0, "destroy");
	proc_say(&locker, 'e');
	proc_join(&locker);
	clear_folder(run->folder);
}

static void
own_user(struct run *run)
{
	struct proc writers[NR_WRITERS], reader, keeper, patient, harm;

	run->uid = 0;
	create(run);
	for (run->index = 0; run->index < NR_WRITERS; run->index++)
		proc_start(&writers[run->index], writer_main, run);
	proc_start(&keeper, nursed_keeper_main, run);
	run->as = GOOD_UID;
	proc_start(&reader, good_main, run);
	proc_start(&patient, victim_main, run);
	proc_start(&harm, scribbler_main, run);
	wait_for_the_end(run, writers);
	proc_join(&keeper);
	proc_join(&reader);
	proc_join(&patient);
	proc_join(&harm);
	report(run, "the same user");
	clear_pins(run->folder);
	check_store(run, /* regions= */ false);
	need(strata_destroy(run->store) == 0, "destroy");
	clear_folder(run->folder);
}

int
main(void)
{
	struct run run = {.length_ns = snapshot_length_ns(1, 2.5, 60)};

	if (geteuid() != 0) {
		puts("skipped: needs root, to be other users");
		return 77;
	}
	run.folder = shm_begin();
	need(chmod(run.folder, 01777) == 0, "chmod");
	run.seed = test_seed();
	strcpy(run.store, store_name("hostile"));
	if (test_is_sanitized())
		puts("readers that lose their pins read nothing: a sanitizer "
		     "would report it");
	for (int same = 0; same < (test_is_sanitized() ? 1 : 2); same++) {
		run.board = proc_shared(sizeof(*run.board));
		(same ? own_user : strangers)(&run);
	}
	shm_end();
	return 0;
}
