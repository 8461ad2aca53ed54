/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Learns lines, makes them durable now and then: learner STORE DIM <LINES */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strata/strata.h>

/* Protos that are lost if the machine goes down. */
#define UNSAVED_MAX 100

static int learn(struct strata_store *store, uint32_t dimension,
		 const char *line)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	struct strata_txn *txn;
	uint32_t layer;
	int code = strata_txn_begin(store, &txn);

	if (code != 0)
		return code;
	attrs.name = "a line";
	code = strata_append(txn, dimension, &attrs, line, strlen(line),
			     STRATA_PUT_COPY, &layer);
	if (code == 0)
		code = strata_txn_commit(txn, NULL);
	if (code != 0)
		strata_txn_abort(txn); /* a commit that failed is still open */
	else
		printf("learnt %u/%u\n", dimension, layer);
	return code;
}

int main(int argc, char **argv)
{
	struct strata_store *store;
	char line[4096];
	int code, unsaved = 0;

	if (argc != 3)
		return 2;
	code = strata_attach(argv[1], STRATA_WRITE, &store);
	while (code == 0 && fgets(line, sizeof(line), stdin) != NULL) {
		code = learn(store, atoi(argv[2]), line);
		if (code == 0 && ++unsaved == UNSAVED_MAX) {
			code = strata_crystallize(store, atoi(argv[2]));
			unsaved = 0;
		}
	}
	if (code == 0 && unsaved > 0)
		code = strata_crystallize(store, atoi(argv[2]));
	if (code != 0)
		fprintf(stderr, "learner: %s\n", strata_last_error()->sentence);
	return code != 0 || strata_detach(store) != 0;
}
