/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The limit holds at every instant, as somebody sees it who knows nothing of
 * the library. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"
#include "small.h"
#include "store.h"
#include "testpoint.h"

/*
 * Writers put, replace, remove, load, reload, unload, crystallise and collect
 * at random in a store that is too small for all that; some of them die in the
 * midst of it. One reader has all that it maps locked in memory, one touches all
 * that it has mapped, whether it may or not: where a file had a hole they would
 * fill it. Meanwhile another program (shm-watch) sums up what the files have.
 */

#define KIB	   UINT64_C(1024)
#define MIB	   (KIB * 1024)
#define LIMIT	   (24 * MIB)
#define LARGEST	   (300 * 1000)
#define NR_WRITERS 3

static char name[STRATA_STORE_NAME_MAX + 1];
static char folder[96];

/* What happened, in memory that all share. */
static struct counts {
	_Atomic uint64_t done, refused, regions, deaths, walks, touched;
	_Atomic uint64_t full; /* operations after which little was left */
	_Atomic uint32_t stop;
} *counts;

static void
count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/**** writers ****/

struct writer {
	struct strata_store *store;
	uint64_t random;
	uint32_t first; /* of its dimensions; the second is loaded */
	char file[128];
};

static uint64_t
draw(struct writer *writer, uint64_t below)
{
	return test_random(&writer->random) % below;
}

static int
put_some(struct writer *writer, unsigned nr)
{
	static char data[LARGEST];
	struct strata_txn *txn;
	int code;

	need(strata_txn_begin(writer->store, &txn) == 0, "begin");
	for (unsigned i = 0; i < nr; i++)
		need(strata_put(txn, writer->first, (uint32_t)draw(writer, 100),
				NULL, data, 1 + draw(writer, LARGEST - 1),
				STRATA_PUT_BORROW) == 0,
		     "put");
	code = strata_txn_commit(txn, NULL);
	if (code != 0)
		strata_txn_abort(txn);
	return code;
}

static int
remove_some(struct writer *writer, bool all)
{
	struct strata_txn *txn;
	int code;

	need(strata_txn_begin(writer->store, &txn) == 0, "begin");
	if (all)
		(void)strata_remove_dimension(txn, writer->first);
	else
		(void)strata_remove(txn, writer->first,
				    (uint32_t)draw(writer, 100));
	code = strata_txn_commit(txn, NULL);
	if (code != 0)
		strata_txn_abort(txn);
	return code;
}

static int
region_some(struct writer *writer)
{
	count(&counts->regions);
	switch (draw(writer, 4)) {
	case 0:
		return strata_load(writer->store, writer->file, NULL);
	case 1:
		return strata_reload(writer->store, writer->first + 1,
				     writer->file);
	case 2:
		return strata_unload(writer->store, writer->first + 1, 0);
	default:
		return strata_crystallize(writer->store, writer->first);
	}
}

static int
do_something(struct writer *writer)
{
	uint64_t what = draw(writer, 100);

	if (what < 60)
		return put_some(writer, 1);
	if (what < 66)
		return put_some(writer, 20);
	if (what < 75)
		return remove_some(writer, /* all= */ false);
	if (what < 77)
		return remove_some(writer, /* all= */ true);
	if (what < 80)
		return strata_gc(writer->store, NULL);
	return region_some(writer);
}

/* Of want of room, and of what is or is not there. */
static bool
is_answer(int code)
{
	return code == 0 || strata__is_shortage(code) ||
	       code == STRATA_ENODIM || code == STRATA_ENOLAYER ||
	       code == STRATA_EEXIST;
}

static uint64_t points_left;

static void
die_here(const char *point)
{
	(void)point;
	if (points_left-- == 0)
		proc_die();
}

/* A few hundred operations; half of the writers do not live to see the end. */
static void
write_round(struct proc *parent, void *arg)
{
	struct writer *writer = arg;
	int code;

	(void)parent;
	need(strata_attach(name, STRATA_WRITE, &writer->store) == 0, "attach");
	if (draw(writer, 2) == 0) {
		points_left = draw(writer, 20000);
		strata__testpoint = die_here;
	}
	for (int i = 0; i < 300; i++) {
		if (atomic_load_explicit(&counts->stop, memory_order_relaxed))
			break;
		code = do_something(writer);
		need(is_answer(code), "an operation gave %d", code);
		count(strata__is_shortage(code) ? &counts->refused
						: &counts->done);
		if (strata__count(&writer->store->space.catalog->counters
					   .reserved) > LIMIT / 100 * 95)
			count(&counts->full);
		if (strata__is_shortage(code) && draw(writer, 3) == 0)
			(void)remove_some(writer, draw(writer, 8) == 0);
	}
	need(strata_detach(writer->store) == 0, "detach");
}

static void
make_file(struct writer *writer)
{
	struct strata_file_info info = {.dimension = writer->first + 1};
	static char data[3000000];
	struct strata_file *file;

	need(strata_file_begin(writer->file, 0600, &info, &file) == 0, "file");
	need(strata_file_add(file, 0, NULL, data, sizeof(data)) == 0, "add");
	need(strata_file_commit(file) == 0, "commit");
}

/**** readers ****/

static int
sum_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	(void)layer;
	need(entry->size <= 3000000, "a layer of %" PRIu64 " bytes",
	     entry->size);
	(void)*(const volatile char *)strata_data(arg, entry);
	return 0;
}

static int
sum_dimension(const struct strata_dimension *dimension, void *arg)
{
	int code = strata_foreach_layer(arg, dimension->id, sum_layer, arg);

	return code == STRATA_EMAP ? 0 : code;
}

static void
walk(struct strata_reader *reader)
{
	need(strata_read_lock(reader) == 0, "lock");
	need(strata_foreach_dimension(reader, sum_dimension, reader) == 0,
	     "walk");
	need(strata_read_unlock(reader) == 0, "unlock");
	count(&counts->walks);
}

static struct strata_reader *
start_reading(struct strata_store **ret_store)
{
	struct strata_reader *reader;

	need(strata_attach(name, STRATA_READ, ret_store) == 0, "attach");
	need(strata_reader_open(*ret_store, &reader) == 0, "open");
	return reader;
}

static void
read_locked_in_memory(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *store;

	(void)arg;
	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		printf("mlockall: %s\n", strerror(errno));
	reader = start_reading(&store);
	proc_say(parent, 'r');
	while (!atomic_load_explicit(&counts->stop, memory_order_relaxed))
		walk(reader);
	need(strata_detach(store) == 0, "detach");
}

static sigjmp_buf beyond;

static void
bus_error(int number)
{
	(void)number;
	siglongjmp(beyond, 1);
}

/* Each page of a mapping, up to the end of its file. */
static void
touch(const char *from, const char *to)
{
	for (; from < to; from += STRATA_PAGE) {
		(void)*(const volatile char *)from;
		count(&counts->touched);
	}
}

static void
touch_all(void)
{
	char line[512], access[8];
	unsigned long from, to;
	FILE *maps = fopen("/proc/self/maps", "re");

	need(maps != NULL, "maps");
	while (fgets(line, sizeof(line), maps) != NULL)
		if (strstr(line, folder) != NULL &&
		    sscanf(line, "%lx-%lx %7s", &from, &to, access) == 3 &&
		    access[0] == 'r' && sigsetjmp(beyond, 1) == 0)
			touch((const char *)from, (const char *)to);
	fclose(maps);
}

static void
read_touching_all(struct proc *parent, void *arg)
{
	struct sigaction action = {.sa_handler = bus_error};
	struct strata_reader *reader;
	struct strata_store *store;

	(void)arg;
	sigaction(SIGBUS, &action, NULL);
	reader = start_reading(&store);
	proc_say(parent, 'r');
	while (!atomic_load_explicit(&counts->stop, memory_order_relaxed)) {
		walk(reader);
		touch_all();
	}
	need(strata_detach(store) == 0, "detach");
}

/**** who watches ****/

struct watch {
	pid_t pid;
	int in, out;
};

struct seen {
	uint64_t samples, most, violations;
};

/* others: bytes in the file system that are not the store's; NULL: it is not
 * only ours, and is not asked. */
static void
watch_start(struct watch *watch, uint64_t limit, const char *others)
{
	const char *build = getenv("top_builddir");
	int down[2], up[2];
	char program[512], number[32];

	snprintf(program, sizeof(program), "%s/tests/support/shm-watch",
		 build != NULL ? build : ".");
	snprintf(number, sizeof(number), "%" PRIu64, limit);
	need(pipe2(down, O_CLOEXEC) == 0 && pipe2(up, O_CLOEXEC) == 0, "pipe");
	watch->pid = fork();
	need(watch->pid >= 0, "fork");
	if (watch->pid == 0) {
		dup2(down[0], STDIN_FILENO);
		dup2(up[1], STDOUT_FILENO);
		execl(program, program, folder, number, others, (char *)NULL);
		perror(program);
		_exit(127);
	}
	close(down[0]);
	close(up[1]);
	watch->in = down[1];
	watch->out = up[0];
}

static struct seen
watch_end(struct watch *watch)
{
	struct seen seen;
	char line[200] = "";
	int status;

	close(watch->in);
	need(read(watch->out, line, sizeof(line) - 1) > 0, "nothing was seen");
	close(watch->out);
	need(waitpid(watch->pid, &status, 0) == watch->pid && status == 0,
	     "shm-watch left with %x", (unsigned)status);
	need(sscanf(line,
		    "samples %" SCNu64 " most %" SCNu64 " violations %" SCNu64,
		    &seen.samples, &seen.most, &seen.violations) == 3,
	     "shm-watch said %s", line);
	printf("limit %" PRIu64 ": %s", LIMIT, line);
	return seen;
}

/**** all ****/

static uint64_t
length_ns(void)
{
	switch (test_length()) {
	case TEST_SHORT:
		return UINT64_C(1000000000);
	case TEST_LONG:
		return UINT64_C(120000000000);
	default:
		return UINT64_C(4000000000);
	}
}

static void
init_writers(struct writer *writers)
{
	for (uint32_t i = 0; i < NR_WRITERS; i++) {
		writers[i].first = 1 + 2 * i;
		snprintf(writers[i].file, sizeof(writers[i].file), "%s/file%u",
			 folder, i);
		make_file(&writers[i]);
	}
}

/* How much was taken at most is the watch's to say, at the end; it looks every
 * now and then, so the store is to have been full some times. */
static bool
is_enough(void)
{
	return counts->refused > 0 && counts->regions > 0 &&
	       counts->walks > 0 && counts->full > 100;
}

/* One after the other in each place, until the time is over. */
static void
run_writers(struct writer *writers, uint64_t seed)
{
	struct test_run run = test_run_begin(length_ns());
	struct proc procs[NR_WRITERS];
	int status;

	while (test_run_goes_on(&run, is_enough())) {
		for (int i = 0; i < NR_WRITERS; i++) {
			writers[i].random = test_random(&seed);
			proc_start(&procs[i], write_round, &writers[i]);
		}
		for (int i = 0; i < NR_WRITERS; i++) {
			status = proc_wait(&procs[i]);
			need(status == 0 || status == 128 + SIGKILL,
			     "a writer left with %d", status);
			if (status != 0)
				count(&counts->deaths);
		}
	}
}

static void
look_at_the_end(void)
{
	struct strata_verify_report report;
	struct strata_store *store;

	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	need(strata_gc(store, NULL) == 0, "gc");
	need(strata_verify(store, 0, NULL, NULL, &report) == 0, "verify");
	need(report.errors == 0, "%s", report.first);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

int
main(void)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = LIMIT,
				       .max_limit = LIMIT};
	struct writer writers[NR_WRITERS];
	struct proc locked, touching;
	struct watch watch;
	struct seen seen;
	char others[32] = "";
	uint64_t seed;
	bool is_small;

	snprintf(folder, sizeof(folder), "%s", shm_begin());
	seed = test_seed();
	counts = proc_shared(sizeof(*counts));
	is_small = small_begin(folder, 8 * LIMIT);
	/* These are in the folder, too, and do not count. */
	init_writers(writers);
	if (is_small)
		snprintf(others, sizeof(others), "%" PRIu64, small_used());
	strcpy(name, store_name("outside"));
	need(strata_create(name, &config) == 0, "create");
	proc_start(&locked, read_locked_in_memory, NULL);
	proc_start(&touching, read_touching_all, NULL);
	proc_hear(&locked, 'r');
	proc_hear(&touching, 'r');
	watch_start(&watch, LIMIT, is_small ? others : NULL);
	run_writers(writers, seed);
	atomic_store_explicit(&counts->stop, 1, memory_order_relaxed);
	seen = watch_end(&watch);
	/* Does it notice at all? */
	watch_start(&watch, STRATA_PAGE, /* others= */ NULL);
	need(watch_end(&watch).violations > 0, "the watch is blind");
	proc_join(&locked);
	proc_join(&touching);
	printf("%" PRIu64 " operations, %" PRIu64 " refused, %" PRIu64
	       " with regions, %" PRIu64 " deaths, %" PRIu64 " walks, %" PRIu64
	       " pages touched\n",
	       counts->done, counts->refused, counts->regions, counts->deaths,
	       counts->walks, counts->touched);
	need(seen.violations == 0, "the limit did not hold");
	need(seen.samples > 10 && seen.most > LIMIT / 10 * 9,
	     "nothing was at stake");
	need(is_enough(), "nothing happened");
	look_at_the_end();
	for (int i = 0; i < NR_WRITERS; i++)
		unlink(writers[i].file);
	if (is_small)
		small_end();
	shm_end();
	return 0;
}
