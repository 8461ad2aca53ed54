/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Contents of scenarios: what they are, and changing them. */
#ifndef STRATA_TEST_CONTENTS_H
#define STRATA_TEST_CONTENTS_H

#include <stddef.h>

#include "strata/strata.h"

#define CONTENTS_PATH 256

/* The store of this process. */
extern struct strata_store *contents_store;
/* Shared: generation that the writer found, for its judge. */
extern uint64_t *contents_before;
extern const char *contents_directory;
/* The file of a dimension. */
extern char contents_path[CONTENTS_PATH];

/* How many layers a dimension has in a generation. */
uint32_t contents_layers(uint32_t dimension, uint64_t generation);
size_t contents_size(uint32_t dimension, uint32_t layer);
/* Valid until the next call. */
const char *contents_of(uint32_t dimension, uint32_t layer,
			uint64_t generation);
/* The generation of a whole dimension; 0 when it is not there. */
uint64_t contents_generation(uint32_t dimension);

struct strata_txn *contents_begin(void);
void contents_commit(struct strata_txn *txn);
void contents_put(struct strata_txn *txn, uint32_t dimension, uint32_t layer,
		  uint64_t generation);
void contents_put_all(struct strata_txn *txn, uint32_t dimension,
		      uint64_t generation);
/* The dimensions that change together, to the next generation; staged. */
struct strata_txn *contents_step(void);
/* Writes the file, of a dimension and generation. */
void contents_file(uint32_t dimension, uint64_t generation);

#endif
