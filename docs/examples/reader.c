/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Prints a layer, in place: reader STORE DIMENSION LAYER */
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>

int main(int argc, char **argv)
{
	struct strata_store *store;
	struct strata_reader *reader;
	const struct strata_entry *entry;
	int code;

	if (argc != 4)
		return 2;
	if ((code = strata_attach(argv[1], STRATA_READ, &store)) != 0 ||
	    (code = strata_reader_open(store, &reader)) != 0 ||
	    (code = strata_read_lock(reader)) != 0) {
		fprintf(stderr, "reader: %s\n", strata_last_error()->sentence);
		return 1;
	}
	code = strata_find(reader, atoi(argv[2]), atoi(argv[3]), &entry);
	if (code == 0)
		fwrite(strata_data(reader, entry), 1, entry->size, stdout);
	else
		fprintf(stderr, "reader: %s\n", strata_strerror(code));
	code |= strata_read_unlock(reader); /* the pointers die here */
	return strata_reader_close(reader) || strata_detach(store) || code;
}
