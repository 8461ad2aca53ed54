/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The time from nothing to the first value, and of a first look at everything,
 * of a process that is new. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "peer.h"
#include "proc.h"

/*
 * Each measurement is made by a child that was forked for it and has opened
 * nothing. "Bare" is a file in /dev/shm that is opened and mapped, and its
 * first bytes looked at: the least that anything in shared memory can take.
 *
 * Page faults are the bill of the first look. The raw peer cannot be without
 * them either in a new process; in one that has looked before, everything is.
 */

#define SMALL (PEER_TOTAL * ((size_t)64 << 10)) /* the scan of about 20 MiB */

static struct contents contents;
static _Atomic double *answer;        /* of a child */
static struct strata_store *pages[2]; /* of 4 KiB, of 2 MiB if there are */
static char page_names[2][STRATA_STORE_NAME_MAX + 1];

enum what { ATTACH, FIRST_SCAN, WARM_SCAN };
struct column {
	enum what what;
	const struct peer *peer; /* NULL: bare */
	const char *store;       /* to be scanned, if no peer is */
};

/**** what the children do ****/

static void
bare(void)
{
	char path[256];
	const char *data;
	int fd;

	snprintf(path, sizeof(path), "%s/pread", contents.bench->folder);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	need(fd >= 0, "%s: %s", path, strerror(errno));
	data = mmap(NULL, contents.bytes, PROT_READ, MAP_SHARED, fd, 0);
	need(data != MAP_FAILED, "mmap: %s", strerror(errno));
	bench_use((uint64_t)data[0]);
	close(fd);
}

static uint64_t
scan_store(const char *name)
{
	struct strata_store *store;
	struct strata_reader *reader;
	uint64_t sum = 0;
	size_t size;

	need(strata_attach(name, STRATA_READ, &store) == 0, "attach");
	need(strata_reader_open(store, &reader) == 0, "reader");
	need(strata_read_lock(reader) == 0, "lock");
	for (uint32_t i = 0; i < PEER_TOTAL; i++) {
		const char *data = strata_get(reader, i / PEER_LAYERS + 1,
					      i % PEER_LAYERS, &size);

		need(data != NULL, "get %u", i);
		/* A byte of each page: faults, not memory, are what it costs.
		 */
		for (size_t at = 0; at < size; at += 4096)
			sum += (unsigned char)data[at];
	}
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	return sum;
}

static void
child_run(struct proc *parent, void *arg)
{
	const struct column *column = arg;
	uint64_t start = bench_now_ns(), end;

	(void)parent;
	if (column->store != NULL) {
		bench_use(scan_store(column->store));
	} else if (column->peer == NULL) {
		bare();
	} else {
		column->peer->open();
		if (column->what == ATTACH)
			bench_use(column->peer->chain(1));
		else
			bench_use(column->peer->whole(PEER_TOTAL));
	}
	end = bench_now_ns();
	if (column->what == WARM_SCAN) {
		start = bench_now_ns();
		bench_use(column->peer->whole(4 * PEER_TOTAL));
		end = bench_now_ns();
	}
	*answer = (double)(end - start) / 1000;
	if (column->peer != NULL)
		column->peer->close();
}

static double
column_run(void *arg)
{
	struct proc child;

	proc_start(&child, child_run, arg);
	proc_join(&child);
	return *answer;
}

/**** tables ****/

static void
attach_run(const struct bench *bench, size_t size)
{
	static struct bench_column shown[PEERS_MAX + 1];
	static struct column columns[PEERS_MAX + 1];
	const struct peer *peers[PEERS_MAX];
	const struct bench_column *lmdb = NULL;
	unsigned nr_peers, nr = 0;
	char title[100];

	contents_init(&contents, bench, size, false);
	nr_peers = peers_setup(peers, &contents);
	memset(shown, 0, sizeof(shown));
	for (unsigned i = 0; i < nr_peers; i++) {
		/* What is inherited or of one process is not attached to. */
		if (peers[i]->threads_only || peers[i] == &peer_raw ||
		    peers[i] == &peer_rwlock)
			continue;
		columns[nr] = (struct column){ATTACH, peers[i], NULL};
		shown[nr].name = peers[i]->name;
		if (peers[i] == &peer_lmdb)
			lmdb = &shown[nr];
		nr++;
	}
	columns[nr] = (struct column){ATTACH, NULL, NULL};
	shown[nr++].name = "bare open and mmap";
	for (unsigned i = 0; i < nr; i++) {
		shown[i].run = column_run;
		shown[i].arg = &columns[i];
	}
	bench_interleave(bench, shown, nr);
	snprintf(title, sizeof(title), "attach to first value, %s",
		 contents.what);
	bench_print(bench, title, "us", shown, nr, 0);
	if (lmdb != NULL)
		bench_at_most("attach to first value / LMDB",
			      bench_ratio(bench, &shown[0], lmdb), 0.7);
	peers_remove(peers, nr_peers);
	contents_fini(&contents);
}

/**** how much is in the store ****/

#define FLAT_CHILDREN 9u /* of which the median counts */
#define FLAT_SIZE     256u

struct flat {
	const char *what, *name_part;
	uint32_t nr_dimensions, nr_layers; /* layers of each */
	struct strata_store *store;
};

static struct flat flats[] = {
	{.what = "14 regions, 280 layers",
	 .name_part = "flat14",
	 .nr_dimensions = 14,
	 .nr_layers = 20},
	{.what = "14 regions, 10^4 layers",
	 .name_part = "flat14-many",
	 .nr_dimensions = 14,
	 .nr_layers = 715},
	{.what = "100 regions, 2000 layers",
	 .name_part = "flat100",
	 .nr_dimensions = 100,
	 .nr_layers = 20},
	{.what = "1000 regions, 2 * 10^4 layers",
	 .name_part = "flat1000",
	 .nr_dimensions = 1000,
	 .nr_layers = 20}};
#define NR_FLATS (sizeof(flats) / sizeof(*flats))

static void
flat_setup(const struct bench *bench, struct flat *flat)
{
	static char data[715 * FLAT_SIZE];

	flat->store = bench_store(flat->name_part, UINT64_C(100) << 20, 0);
	for (uint32_t d = 1; d <= flat->nr_dimensions; d++)
		bench_load(bench, flat->store, d, data, flat->nr_layers,
			   FLAT_SIZE);
}

/* To the first value, in the last region. */
static void
flat_child(struct proc *parent, void *arg)
{
	const struct flat *flat = arg;

	(void)parent;
	*answer = bench_attach_us(strata_name(flat->store), flat->nr_dimensions,
				  flat->nr_layers - 1);
}

static double
flat_column(void *arg)
{
	double times[FLAT_CHILDREN];

	for (unsigned i = 0; i < FLAT_CHILDREN; i++) {
		struct proc child;

		proc_start(&child, flat_child, arg);
		proc_join(&child);
		times[i] = *answer;
	}
	return bench_quantile(times, FLAT_CHILDREN, 0.5);
}

static void
flat_run(const struct bench *bench)
{
	static struct bench_column shown[NR_FLATS];

	for (unsigned i = 0; i < NR_FLATS; i++) {
		flat_setup(bench, &flats[i]);
		shown[i] = (struct bench_column){.name = flats[i].what,
						 .run = flat_column,
						 .arg = &flats[i]};
	}
	bench_interleave(bench, shown, NR_FLATS);
	bench_print(bench, "attach to first value, by what is in the store",
		    "us", shown, NR_FLATS, 0);
	bench_at_most("attach to first value, 10^4 layers / 280",
		      bench_ratio(bench, &shown[1], &shown[0]), 1.3);
	bench_at_most("attach to first value, 100 regions / 14",
		      bench_ratio(bench, &shown[2], &shown[0]), 1.3);
	bench_at_most("attach to first value, 1000 regions / 14",
		      bench_ratio(bench, &shown[3], &shown[0]), 1.3);
	for (unsigned i = 0; i < NR_FLATS; i++)
		bench_store_end(flats[i].store);
}

/* About 20 MiB, looked at before: nothing but the bytes is left. */
static void
warm_run(const struct bench *bench)
{
	static struct column columns[] = {{WARM_SCAN, &peer_strata, NULL},
					  {WARM_SCAN, &peer_raw, NULL}};
	static struct bench_column shown[] = {
		{"strata", column_run, &columns[0], {0}},
		{"raw", column_run, &columns[1], {0}}};

	contents_init(&contents, bench, SMALL / PEER_TOTAL, false);
	need(peer_strata.setup(&contents) && peer_raw.setup(&contents),
	     "set-up");
	bench_interleave(bench, shown, 2);
	bench_print(bench, "scan of 17.5 MiB, warm, four times", "us", shown, 2,
		    0);
	bench_at_least("scan of 20 MiB, warm, rate / raw",
		       bench_ratio(bench, &shown[1], &shown[0]), 0.97);
	peer_strata.remove();
	peer_raw.remove();
	contents_fini(&contents);
}

/* A store whose regions have pages of one kind; false when that is refused. */
static bool
pages_setup(const struct bench *bench, unsigned i, enum strata_huge_pages huge)
{
	struct strata_config config = {.struct_size = sizeof(config)};
	const size_t size = (size_t)1 << 20;
	char *data = calloc(PEER_LAYERS, size);
	bool done = true;

	need(data != NULL, "memory");
	config.limit = UINT64_C(400) << 20;
	config.huge_pages = huge;
	pages[i] = bench_store_config(i == 0 ? "small-pages" : "large-pages",
				      &config);
	snprintf(page_names[i], sizeof(page_names[i]), "%s",
		 strata_name(pages[i]));
	for (uint32_t d = 1; d <= PEER_DIMENSIONS && done; d++) {
		bench_file(bench, d, data, PEER_LAYERS, size);
		done = strata_load(pages[i], bench_file_path(bench, d), NULL) ==
		       0;
		if (!done)
			bench_note("no large pages: %s",
				   strata_last_error()->sentence);
		bench_file_remove(bench, d);
	}
	free(data);
	return done;
}

static void
pages_run(const struct bench *bench)
{
	static struct column columns[] = {{FIRST_SCAN, NULL, page_names[1]},
					  {FIRST_SCAN, NULL, page_names[0]}};
	static struct bench_column shown[] = {
		{"pages of 2 MiB", column_run, &columns[0], {0}},
		{"pages of 4 KiB", column_run, &columns[1], {0}}};
	bool done = pages_setup(bench, 0, STRATA_HUGE_NEVER);

	need(done, "load");
	if (pages_setup(bench, 1, STRATA_HUGE_REQUIRE)) {
		bench_interleave(bench, shown, 2);
		bench_print(bench, "first scan of 280 MiB by a new process",
			    "us", shown, 2, 0);
		bench_at_most("first scan of 280 MiB, pages of 2 MiB / 4 KiB",
			      bench_ratio(bench, &shown[0], &shown[1]), 0.25);
	}
	bench_store_end(pages[0]);
	bench_store_end(pages[1]);
}

int
main(int argc, char **argv)
{
	struct bench bench;

	bench_begin(&bench, argc, argv,
		    "attach: to the first value, to everything");
	bench_note("each by a process that was forked for it");
	answer = proc_shared(sizeof(*answer));
	attach_run(&bench, 16 << 10);
	flat_run(&bench);
	warm_run(&bench);
	pages_run(&bench);
	bench_end();
	return 0;
}
