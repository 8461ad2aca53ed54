/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Rounds of lock, find, use and unlock, for check-readpath.sh to look at. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <strata/inline.h>

/*
 * readpath ROUNDS calls|inline [write]
 *
 * With "write" a child commits all the while. Two marks are written to
 * /dev/null, which a trace of the system calls shows; between them are the
 * rounds, all in measured_rounds() or measured_inline().
 */

#define DIMENSIONS 4 /* the first two become regions */
#define LAYERS     20
#define SIZE       5000

static char name[STRATA_STORE_NAME_MAX + 1];

static void
need(int held, const char *what)
{
	if (held)
		return;
	fprintf(stderr, "readpath: %s: %s\n", what,
		strata_last_error()->sentence);
	strata_destroy(name);
	exit(1);
}

/**** writing ****/

static void
commit(struct strata_store *store, uint32_t dimension)
{
	static char data[SIZE];
	struct strata_txn *txn;

	need(strata_txn_begin(store, &txn) == 0, "begin");
	for (uint32_t layer = 0; layer < LAYERS; layer++)
		need(strata_put(txn, dimension, layer, NULL, data, SIZE,
				STRATA_PUT_BORROW) == 0,
		     "put");
	need(strata_txn_commit(txn, NULL) == 0, "commit");
}

static void
fill(void)
{
	struct strata_config config = {.limit = 16 << 20};
	struct strata_store *store;

	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	for (uint32_t d = 1; d <= DIMENSIONS; d++)
		commit(store, d);
	need(strata_crystallize(store, 1) == 0, "crystallise");
	need(strata_crystallize(store, 2) == 0, "crystallise");
	need(strata_detach(store) == 0, "detach");
}

/* Protos only: no region comes that would have to be mapped. */
static void
write_for_ever(int started)
{
	struct strata_store *store;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	commit(store, DIMENSIONS);
	need(write(started, "s", 1) == 1, "pipe");
	for (;;)
		commit(store, DIMENSIONS);
}

static pid_t
start_writer(void)
{
	int pipes[2];
	pid_t pid;
	char word;

	need(pipe(pipes) == 0, "pipe");
	pid = fork();
	need(pid >= 0, "fork");
	if (pid == 0) {
		close(pipes[0]);
		write_for_ever(pipes[1]);
	}
	close(pipes[1]);
	need(read(pipes[0], &word, 1) == 1, "the writer did not start");
	close(pipes[0]);
	return pid;
}

/**** reading ****/

/* Kept whole, so that what it calls can be counted by its name. */
__attribute__((noinline)) uint64_t measured_rounds(struct strata_reader *reader,
						   uint32_t nr);

uint64_t
measured_rounds(struct strata_reader *reader, uint32_t nr)
{
	const struct strata_entry *entry;
	uint64_t sum = 0, word;

	for (uint32_t i = 0; i < nr; i++) {
		if (strata_read_lock(reader) != 0 ||
		    strata_find(reader, 1 + i % DIMENSIONS, i % LAYERS,
				&entry) != 0)
			return UINT64_MAX;
		memcpy(&word, strata_data(reader, entry), sizeof(word));
		sum += word;
		if (strata_read_unlock(reader) != 0)
			return UINT64_MAX;
	}
	return sum;
}

/* The same, inlined; both finds and gets. */
__attribute__((noinline)) uint64_t measured_inline(struct strata_reader *reader,
						   uint32_t nr);

uint64_t
measured_inline(struct strata_reader *reader, uint32_t nr)
{
	const struct strata_entry *entry;
	uint64_t sum = 0, word;
	size_t size;

	for (uint32_t i = 0; i < nr; i++) {
		if (strata_read_lock_inline(reader) != 0 ||
		    strata_find_inline(reader, 1 + i % DIMENSIONS, i % LAYERS,
				       &entry) != 0 ||
		    strata_get_inline(reader, 1 + i % DIMENSIONS, i % LAYERS,
				      &size) != strata_data(reader, entry))
			return UINT64_MAX;
		memcpy(&word, strata_data(reader, entry), sizeof(word));
		sum += word;
		if (strata_read_unlock_inline(reader) != 0)
			return UINT64_MAX;
	}
	return sum;
}

/* Regions are mapped at the first touch of each. */
static void
touch_each(struct strata_reader *reader)
{
	const struct strata_entry *entry;

	need(strata_read_lock(reader) == 0, "lock");
	for (uint32_t d = 1; d <= DIMENSIONS; d++)
		need(strata_find(reader, d, 0, &entry) == 0, "find");
	need(strata_read_unlock(reader) == 0, "unlock");
}

static void
mark(int fd, const char *text)
{
	need(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "mark");
}

static void
read_between_marks(uint32_t nr, int inlined)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct strata_reader *reader;
	struct strata_store *store;

	need(fd >= 0, "/dev/null");
	need(strata_attach(name, STRATA_READ, &store) == 0, "attach");
	need(strata_reader_open(store, &reader) == 0, "open");
	touch_each(reader);
	mark(fd, "strata-mark-begin");
	need((inlined ? measured_inline(reader, nr)
		      : measured_rounds(reader, nr)) == 0,
	     "rounds");
	mark(fd, "strata-mark-end");
	close(fd);
	need(strata_reader_close(reader) == 0, "close");
	need(strata_detach(store) == 0, "detach");
}

int
main(int argc, char **argv)
{
	pid_t writer = 0;

	if (argc < 3) {
		fprintf(stderr, "readpath ROUNDS calls|inline [write]\n");
		return 2;
	}
	snprintf(name, sizeof(name), "test.readpath.%d", (int)getpid());
	fill();
	if (argc > 3)
		writer = start_writer();
	read_between_marks((uint32_t)strtoul(argv[1], NULL, 10),
			   strcmp(argv[2], "inline") == 0);
	if (writer != 0) {
		kill(writer, SIGKILL);
		waitpid(writer, NULL, 0);
	}
	need(strata_destroy(name) == 0, "destroy");
	return 0;
}
