/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A program that closes all its descriptors, and opens others: nothing is lost. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc.h"
#include "strata/strata.h"

/*
 * Daemons do that. A library that goes on by the numbers that it kept would then
 * reserve memory in somebody's log file, or take a living writer for dead.
 */

#define STORE "closed"
#define FILES 40

static void
must(int code, const char *what)
{
	if (code == 0)
		return;
	fprintf(stderr, "%s: %d: %s\n", what, code,
		strata_last_error()->sentence);
	exit(1);
}

static void
put(struct strata_store *store, uint32_t layer, size_t size)
{
	static char content[200000];
	struct strata_txn *txn;

	must(strata_txn_begin(store, &txn), "begin");
	must(strata_put(txn, 2, layer, NULL, content, size, 0), "put");
	must(strata_txn_commit(txn, NULL), "commit");
}

/* Files of the program under the numbers that the library had. */
static void
reuse_numbers(int *fds, const char *folder)
{
	char name[600];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%s/file-%d", folder, i);
		fds[i] = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
		if (fds[i] < 0)
			exit(1);
	}
}

static int
count_touched(const int *fds)
{
	int touched = 0;
	struct stat st;

	for (int i = 0; i < FILES; i++)
		touched += fstat(fds[i], &st) != 0 || st.st_size != 0 ||
			st.st_blocks != 0;
	return touched;
}

static void
work(struct strata_store *store, struct strata_reader *reader)
{
	const struct strata_entry *entry;
	struct strata_verify_report report;

	for (uint32_t i = 0; i < 2000; i++)
		put(store, i % 50, i % 7 == 0 ? 200000 : 20000);
	must(strata_crystallize(store, 2), "crystallize");
	must(strata_read_lock(reader), "lock");
	must(strata_find(reader, 2, 3, &entry), "find in a new region");
	must(strata_read_unlock(reader), "unlock");
	must(strata_gc(store, NULL), "gc");
	must(strata_verify(store, 0, NULL, NULL, &report), "verify");
	if (report.errors != 0) {
		fprintf(stderr, "verify: %s\n", report.first);
		exit(1);
	}
}

int
main(void)
{
	struct strata_config config = { .struct_size = sizeof(config),
					.limit = 64 << 20 };
	char folder[] = "/dev/shm/strata-closed-XXXXXX", command[64];
	struct strata_reader *reader;
	struct strata_store *store;
	int fds[FILES], touched;

	if (mkdtemp(folder) == NULL)
		return 1;
	setenv("STRATA_SHM_DIR", folder, 1);
	must(strata_create(STORE, &config), "create");
	must(strata_attach(STORE, STRATA_WRITE, &store), "attach");
	must(strata_reader_open(store, &reader), "open");
	for (uint32_t i = 0; i < 300; i++)
		put(store, i % 10, 5000); /* scans have opened their files */
	proc_close_from(3);
	reuse_numbers(fds, folder);
	work(store, reader);
	must(strata_detach(store), "detach");
	touched = count_touched(fds);
	must(strata_destroy(STORE), "destroy");
	snprintf(command, sizeof(command), "rm -r %s", folder);
	if (system(command) != 0)
		return 1;
	printf("2000 commits, a crystallise and a gc after closefrom(3): %d of "
	       "%d files of the program touched\n",
	       touched, FILES);
	return touched != 0;
}
