/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A reader that is stopped anywhere costs one snapshot and stops no writer. */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "pattern.h"
#include "proc.h"
#include "store.h"

#define LIMIT   (UINT64_C(64) << 20)
#define SIZE    (16 << 10)
#define COMMITS 20000
#define BUFFERS 64
/* What may be retired before a writer reclaims: see RECLAIM_ in commit.c. */
#define MARK_COMMITS 128
#define MARK_BYTES   (LIMIT / 32)

/* What the reader tells, in memory shared with it. */
struct progress {
	_Atomic uint64_t sections;
	_Atomic uint64_t torn;
};

static struct progress *progress;
static struct strata_store *store;
static char buffers[BUFFERS][SIZE];
static uint64_t generation;

/**** the reader ****/

/* Looks twice, so that a section is mostly inside of a look at the content. */
static bool
section_is_right(struct strata_reader *reader)
{
	const struct strata_entry *entry;
	struct pattern first, second;
	bool right;

	need(strata_read_lock(reader) == 0, "lock");
	need(strata_find(reader, 1, 0, &entry) == 0, "find");
	right = entry->size == SIZE &&
		pattern_check(strata_data(reader, entry), SIZE, &first) &&
		pattern_check(strata_data(reader, entry), SIZE, &second) &&
		first.generation == second.generation && first.dimension == 1 &&
		first.layer == 0;
	need(strata_read_unlock(reader) == 0, "unlock");
	return right;
}

/* About as much time is spent outside of sections. */
static void
read_for_ever(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *mine;
	struct pattern pattern;

	need(strata_attach(arg, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	proc_say(parent, 'r');
	for (;;) {
		if (!section_is_right(reader))
			atomic_fetch_add(&progress->torn, 1);
		atomic_fetch_add(&progress->sections, 1);
		need(pattern_check(buffers[0], SIZE, &pattern) &&
			     pattern_check(buffers[1], SIZE, &pattern),
		     "a buffer of ours is torn");
	}
}

/* Until the reader, which runs, has ended sections that it began after now. */
static void
wait_for_sections(unsigned nr)
{
	uint64_t from = atomic_load(&progress->sections);
	uint64_t deadline = test_now_ns() + UINT64_C(60000000000);

	while (atomic_load(&progress->sections) < from + nr) {
		need(test_now_ns() < deadline, "the reader does not go on");
		sched_yield();
	}
}

/**** the writer ****/

static void
commit_one(void)
{
	char *data = buffers[generation % BUFFERS];
	struct strata_txn *txn;

	need(strata_txn_begin(store, &txn) == 0, "begin");
	need(strata_put(txn, 1, 0, NULL, data, SIZE, STRATA_PUT_BORROW) == 0,
	     "put");
	need(strata_txn_commit(txn, NULL) == 0, "a commit was refused");
	generation++;
}

static uint64_t
used(void)
{
	return strata__space_used(&store->space);
}

/* COMMITS replacements in one session; the most that was in use meanwhile. */
static uint64_t
replace_many(void)
{
	struct strata_writer *writer;
	uint64_t peak = 0;

	need(strata_writer_open(store, &writer) == 0, "session");
	for (unsigned i = 0; i < COMMITS; i++) {
		commit_one();
		if (used() > peak)
			peak = used();
	}
	need(strata_writer_close(writer) == 0, "close");
	return peak;
}

/**** what is said of the reader ****/

struct said {
	pid_t pid;
	unsigned found;
	struct strata_reader_info info;
};

static int
note_reader(const struct strata_reader_info *info, void *arg)
{
	struct said *said = arg;

	if (info->pid == (uint32_t)said->pid) {
		said->found++;
		said->info = *info;
	}
	return 0;
}

/* With nothing else retired, what is said must be true to the byte. */
static bool
check_said(const struct proc *reader, uint64_t before)
{
	struct said said = {.pid = reader->pid};
	struct strata_gc_report report;

	need(strata_gc(store, &report) == 0, "gc");
	need(strata_foreach_reader(store, note_reader, &said) == 0, "readers");
	need(said.found == 1 && said.info.alive, "%u readers have its pid",
	     said.found);
	need(said.info.retained == report.retained,
	     "the reader is said to retain %" PRIu64 " bytes, but %" PRIu64
	     " are retained",
	     said.info.retained, report.retained);
	need(used() == before + report.retained,
	     "%" PRIu64 " bytes are in use, not %" PRIu64 " and what is "
	     "retained",
	     used(), before);
	if (said.info.pin == 0) {
		need(report.retained == 0, "nobody retains bytes");
		return false;
	}
	need(said.info.lag == strata_version(store) - said.info.pin &&
		     said.info.lag >= COMMITS,
	     "lag %" PRIu64, said.info.lag);
	need(said.info.retained >= SIZE, "a pinned version retains nothing");
	return true;
}

/**** rounds ****/

struct result {
	unsigned rounds, inside;
	uint64_t worst;    /* growth of used */
	uint64_t snapshot; /* bytes that one commit replaces */
	uint64_t allowed;
};

/* Not a wait for anything: a random instant. */
static void
spin(uint64_t ns)
{
	uint64_t until = test_now_ns() + ns;

	while (test_now_ns() < until)
		sched_yield();
}

static void
one_round(const struct proc *reader, uint64_t *random, uint64_t before,
	  struct result *result)
{
	uint64_t peak;

	spin(test_random(random) % 200000);
	proc_stop(reader);
	peak = replace_many();
	if (peak - before > result->worst)
		result->worst = peak - before;
	need(peak - before <= result->allowed,
	     "in use are up to %" PRIu64 " bytes more than before, %" PRIu64
	     " are allowed",
	     peak - before, result->allowed);
	result->inside += check_said(reader, before);
	proc_continue(reader);
	wait_for_sections(2);
	need(atomic_load(&progress->torn) == 0, "%" PRIu64 " torn sections",
	     atomic_load(&progress->torn));
}

/* What one commit makes and replaces: content and nodes. */
static uint64_t
measure_snapshot(uint64_t before)
{
	need(strata_gc(store, NULL) == 0, "gc");
	commit_one();
	return used() - before;
}

/* The mark is looked at after each commit; so one commit more. */
static void
allow(struct result *result, uint64_t snapshot)
{
	uint64_t commits = MARK_COMMITS * snapshot;
	uint64_t mark = commits < MARK_BYTES ? commits : MARK_BYTES;

	result->snapshot = snapshot;
	result->allowed = mark + snapshot /* the commit that passes it */ +
			  snapshot /* what the reader pins */;
}

static void
make_store(const char *name)
{
	struct strata_config config = {.limit = LIMIT};

	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	for (unsigned i = 0; i < BUFFERS; i++) {
		struct pattern pattern = {1, 0, i, 1};

		pattern_fill(buffers[i], SIZE, &pattern);
	}
	commit_one();
}

static unsigned
nr_rounds(void)
{
	switch (test_length()) {
	case TEST_SHORT:
		return 20;
	case TEST_NORMAL:
	case TEST_LONG:
		break;
	}
	return 200;
}

static void
tell(const struct result *result, uint64_t ns)
{
	printf("%u stops, %u of them inside a section, %u replacements of "
	       "%u KiB in each: no refusal, 0 torn of %" PRIu64 " sections\n",
	       result->rounds, result->inside, COMMITS, SIZE >> 10,
	       atomic_load(&progress->sections));
	printf("used grew by at most %" PRIu64 " bytes; retire mark and one "
	       "snapshot of %" PRIu64 " allow %" PRIu64 "\n",
	       result->worst, result->snapshot, result->allowed);
	printf("%.1f us a commit\n",
	       (double)ns / 1000 / COMMITS / result->rounds);
}

int
main(void)
{
	char name[STRATA_STORE_NAME_MAX + 1];
	struct result result = {.rounds = nr_rounds()};
	uint64_t random = test_seed();
	uint64_t before, start;
	struct test_run run;
	struct proc reader;

	shm_begin();
	progress = proc_shared(sizeof(*progress));
	strcpy(name, store_name("stopped"));
	make_store(name);
	before = used();
	allow(&result, measure_snapshot(before));
	proc_start(&reader, read_for_ever, name);
	proc_hear(&reader, 'r');
	run = test_run_begin(0);
	start = test_now_ns();
	for (unsigned i = 0; i < result.rounds; i++)
		one_round(&reader, &random, before, &result);
	/* Where a stop falls is chance. */
	for (; test_run_goes_on(&run, result.inside != 0); result.rounds++)
		one_round(&reader, &random, before, &result);
	tell(&result, test_now_ns() - start);
	need(result.inside > 0, "no stop was inside a section");
	proc_kill(&reader);
	need(strata_gc(store, NULL) == 0 && used() == before, "leaked");
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
	shm_end();
	return 0;
}
