/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Eight workers read a dimension, and see a reload: prefork STORE DIM FILE */
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int code)
{
	if (code == 0)
		return;
	fprintf(stderr, "prefork: %s\n", strata_last_error()->sentence);
	_exit(1);
}

/* Reads layer 0, says so, and does it again when there is a new version. */
static void worker(const char *name, uint32_t dimension, int out)
{
	struct strata_store *store;
	struct strata_reader *reader;
	unsigned long long version = 0;
	size_t size;
	int round;

	check(strata_attach(name, STRATA_READ, &store)); /* behind the fork */
	check(strata_reader_open(store, &reader));
	for (round = 0; round < 2; round++) {
		check(strata_wait(store, version + 1, 60000000000));
		check(strata_read_lock(reader));
		version = strata_reader_version(reader);
		if (strata_get(reader, dimension, 0, &size) == NULL)
			_exit(1);
		dprintf(out, "version %llu, %zu bytes\n", version, size);
		check(strata_read_unlock(reader));
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct strata_store *store;
	char line[64];
	FILE *in;
	int i, out[2];

	if (argc != 4 || pipe(out) != 0 || (in = fdopen(out[0], "r")) == NULL)
		return 2;
	for (i = 0; i < 8; i++)
		if (fork() == 0)
			worker(argv[1], atoi(argv[2]), out[1]);
	close(out[1]);
	check(strata_attach(argv[1], STRATA_WRITE, &store));
	for (i = 0; i < 16 && fgets(line, sizeof(line), in) != NULL; i++) {
		fputs(line, stdout);
		if (i == 7) /* all have seen the old one */
			check(strata_reload(store, atoi(argv[2]), argv[3]));
	}
	while (wait(NULL) > 0)
		;
	return strata_detach(store) != 0 || i != 16;
}
