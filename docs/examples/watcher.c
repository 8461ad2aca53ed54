/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Tells which dimensions change, until the store is gone: watcher STORE */
#include <stdio.h>
#include <strata/strata.h>

/* The version up to which all has been told. */
static uint64_t told;

static int tell(const struct strata_dimension *dimension, void *arg)
{
	(void)arg;
	if (dimension->version > told)
		printf("version %llu: dimension %u, %llu layers\n",
		       (unsigned long long)dimension->version, dimension->id,
		       (unsigned long long)dimension->nr_layers);
	return 0;
}

static int look(struct strata_reader *reader)
{
	int code = strata_read_lock(reader);
	uint64_t version;

	if (code != 0)
		return code;
	version = strata_reader_version(reader);
	code = strata_foreach_dimension(reader, tell, NULL);
	told = version;
	strata_read_unlock(reader);
	fflush(stdout);
	return code;
}

int main(int argc, char **argv)
{
	struct strata_store *store;
	struct strata_reader *reader;
	int code;

	if (argc != 2)
		return 2;
	code = strata_attach(argv[1], STRATA_READ, &store);
	if (code == 0)
		code = strata_reader_open(store, &reader);
	while (code == 0) {
		code = look(reader);
		if (code == 0) /* commits that come together are told at once */
			code = strata_wait(store, told + 1, -1);
	}
	fprintf(stderr, "watcher: %s\n", strata_last_error()->sentence);
	return code != STRATA_EGONE;
}
