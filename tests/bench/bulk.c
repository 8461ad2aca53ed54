/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Putting, appending, crystallising and loading, beside memcpy and write(2) of
 * the same bytes; and making a store. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "proc.h"

/*
 * 20 layers of 1 MiB. memcpy is into memory that has its pages, as pools have;
 * write(2) is into a new file of tmpfs, whose pages are small unless the mount
 * says otherwise, as the regions of a load into a new store are new. All stores
 * are without a directory, and as they are by default: with large pages where
 * the kernel gives them. A load without these is shown, too.
 */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1, newer than the headers */
#endif

#define LAYERS 20
#define MANY   14 /* dimensions of the large load */
#define SIZE   ((size_t)1 << 20)

static const struct bench *run;
static struct strata_store *store;
static char *from, *to, *targets[2];

static double
since_ms(uint64_t start)
{
	return (double)(bench_now_ns() - start) / 1e6;
}

/**** memory ****/

static double
copy_once(void *arg)
{
	uint64_t start = bench_now_ns();

	(void)arg;
	for (unsigned i = 0; i < LAYERS; i++)
		memcpy(to + i * SIZE, from + i * SIZE, SIZE);
	bench_use((uint64_t)to[SIZE]);
	return since_ms(start);
}

static double
copy_warm_twice(void *arg)
{
	return copy_once(arg) + copy_once(arg);
}

/* What was appended goes again. */
static void
dimension_clear(uint32_t dimension)
{
	struct strata_txn *txn;

	need(strata_txn_begin(store, &txn) == 0, "begin");
	need(strata_remove_dimension(txn, dimension) == 0, "remove");
	need(strata_txn_commit(txn, NULL) == 0, "commit");
}

static double
put_all(void *arg) /* NULL: put, else append */
{
	bool append = arg != NULL;
	uint64_t start = bench_now_ns();
	struct strata_txn *txn;

	for (uint32_t i = 0; i < LAYERS; i++) {
		const char *data = from + i * SIZE;

		need(strata_txn_begin(store, &txn) == 0, "begin");
		if (append)
			need(strata_append(txn, 2, NULL, data, SIZE,
					   STRATA_PUT_BORROW, NULL) == 0,
			     "append");
		else
			need(strata_put(txn, 1, i, NULL, data, SIZE,
					STRATA_PUT_BORROW) == 0,
			     "put");
		need(strata_txn_commit(txn, NULL) == 0, "commit");
	}
	return since_ms(start);
}

static double
append_all(void *arg)
{
	double ms;

	(void)arg;
	ms = put_all(from);
	dimension_clear(2);
	return ms;
}

/* All layers are protos again before each. */
static double
crystallize(void *arg)
{
	uint64_t start;

	(void)put_all(arg);
	start = bench_now_ns();
	need(strata_crystallize(store, 1) == 0, "crystallise");
	return since_ms(start);
}

/* The contents that crystallise reads, put as long ago; to two places, in pages
 * like those of regions. */
static double
copy_twice(void *arg)
{
	struct strata_reader *reader;
	uint64_t start;
	size_t size;
	double ms;

	(void)put_all(arg);
	need(strata_reader_open(store, &reader) == 0, "reader");
	need(strata_read_lock(reader) == 0, "lock");
	start = bench_now_ns();
	for (uint32_t i = 0; i < LAYERS; i++) {
		const char *data = strata_get(reader, 1, i, &size);

		need(data != NULL, "get %u", i);
		for (unsigned k = 0; k < 2; k++)
			memcpy(targets[k] + i * SIZE, data, SIZE);
	}
	ms = since_ms(start);
	bench_use((uint64_t)targets[0][SIZE] + (uint64_t)targets[1][SIZE]);
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	return ms;
}

/* Memory that has its pages, large ones where the kernel gives them. */
static char *
large_memory(size_t size)
{
	uintptr_t large = (uintptr_t)2 << 20;
	char *memory = proc_shared(size + large);

	memory += -(uintptr_t)memory & (large - 1);
	memset(memory, 1, size);
	(void)madvise(memory, size, MADV_COLLAPSE);
	return memory;
}

static void
memory_run(void)
{
	static struct bench_column shown[] = {
		{"strata, put", put_all, NULL, {0}},
		{"strata, append", append_all, NULL, {0}},
		{"memcpy", copy_once, NULL, {0}},
	};
	static struct bench_column crystal[] = {
		{"strata, crystallise", crystallize, NULL, {0}},
		{"two memcpys", copy_twice, NULL, {0}},
		{"two memcpys, warm", copy_warm_twice, NULL, {0}},
	};

	store = bench_store("bulk", UINT64_C(300) << 20, 0);
	bench_interleave(run, shown, 3);
	bench_print(run, "20 layers of 1 MiB, each a commit", "ms", shown, 3,
		    0);
	/* From the third on there is a region of before, whose pages it gets. */
	for (unsigned i = 0; i < 2; i++)
		(void)crystallize(NULL);
	bench_interleave(run, crystal, 3);
	bench_print(run, "crystallise 20 layers of 1 MiB, third and later",
		    "ms", crystal, 3, 0);
	bench_at_least("crystallise 20 x 1 MiB, speed / two memcpys",
		       bench_ratio(run, &crystal[1], &crystal[0]), 1.2);
	bench_store_end(store);
}

/**** load ****/

/* Into a store that was made for it; made and destroyed outside of the time. */
static double
load_by(uint32_t nr, enum strata_huge_pages huge_pages)
{
	struct strata_config config = {.struct_size = sizeof(config)};
	struct strata_store *fresh;
	uint64_t start;
	double ms;

	config.limit = UINT64_C(400) << 20;
	config.huge_pages = huge_pages;
	fresh = bench_store_config("load", &config);
	start = bench_now_ns();
	for (uint32_t d = 1; d <= nr; d++)
		need(strata_load(fresh, bench_file_path(run, d), NULL) == 0,
		     "load");
	ms = since_ms(start);
	bench_store_end(fresh);
	return ms;
}

static double
load(void *arg)
{
	return load_by(*(const uint32_t *)arg, STRATA_HUGE_AUTO);
}

static double
load_small(void *arg)
{
	return load_by(*(const uint32_t *)arg, STRATA_HUGE_NEVER);
}

/* As many files as load() makes regions. */
static double
write_files(void *arg)
{
	uint32_t nr = *(const uint32_t *)arg;
	uint64_t start = bench_now_ns();
	char path[256];
	double ms;
	int fd;

	for (uint32_t d = 1; d <= nr; d++) {
		snprintf(path, sizeof(path), "%s/written%" PRIu32, run->folder,
			 d);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		need(fd >= 0, "%s: %s", path, strerror(errno));
		for (uint32_t i = 0; i < LAYERS; i++)
			need(write(fd, from + i * SIZE, SIZE) == (ssize_t)SIZE,
			     "write: %s", strerror(errno));
		need(close(fd) == 0, "close");
	}
	ms = since_ms(start);
	for (uint32_t d = 1; d <= nr; d++) {
		snprintf(path, sizeof(path), "%s/written%" PRIu32, run->folder,
			 d);
		need(unlink(path) == 0, "unlink");
	}
	return ms;
}

static void
load_run(uint32_t nr)
{
	struct bench_column shown[] = {
		{"strata, load", load, &nr, {0}},
		{"load, pages of 4 KiB", load_small, &nr, {0}},
		{"write(2), new files", write_files, &nr, {0}},
	};
	char title[80];

	snprintf(title, sizeof(title), "load of %u MiB into a new store",
		 (unsigned)(nr * LAYERS));
	bench_interleave(run, shown, 3);
	bench_print(run, title, "ms", shown, 3, 0);
	if (nr == MANY)
		bench_at_least("load of 280 MiB, rate / write(2)",
			       bench_ratio(run, &shown[2], &shown[0]), 0.9);
}

/**** create ****/

static double
create(void *arg)
{
	char name[STRATA_STORE_NAME_MAX + 1];
	uint64_t start;
	double us;

	(void)arg;
	snprintf(name, sizeof(name), "%s", store_name("create"));
	start = bench_now_ns();
	need(strata_create(name, NULL) == 0, "create");
	us = since_ms(start) * 1000;
	need(strata_destroy(name) == 0, "destroy");
	return us;
}

int
main(int argc, char **argv)
{
	static struct bench_column creating[] = {
		{"strata, create", create, NULL, {0}}};
	struct bench bench;

	bench_begin(&bench, argc, argv,
		    "bulk: put, append, crystallise, load, create");
	run = &bench;
	bench_pin(1);
	from = proc_shared(LAYERS * SIZE);
	to = proc_shared(LAYERS * SIZE);
	for (unsigned i = 0; i < 2; i++)
		targets[i] = large_memory(LAYERS * SIZE);
	for (size_t i = 0; i < LAYERS * SIZE; i++)
		from[i] = (char)(i * 7 / 3);
	memory_run();
	for (uint32_t d = 1; d <= MANY; d++)
		bench_file(run, d, from, LAYERS, SIZE);
	load_run(1);
	load_run(MANY);
	for (uint32_t d = 1; d <= MANY; d++)
		bench_file_remove(run, d);
	bench_interleave(run, creating, 1);
	bench_print(run, "create a store of 280 MiB", "us", creating, 1, 0);
	bench_end();
	return 0;
}
