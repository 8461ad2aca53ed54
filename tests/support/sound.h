/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Is a store sound, and is nothing lost? For a test that has it for itself. */
#ifndef STRATA_TEST_SOUND_H
#define STRATA_TEST_SOUND_H

#include "strata/strata.h"

/* Attached for writing, in the folder of shm_begin(), the only store there. */

/* Verify, with all checksums and accounts, finds nothing. */
void sound_store(struct strata_store *store);
/* Collects garbage until no section is in the way of any of it; fails when that
 * does not come to an end. */
void sound_collect(struct strata_store *store);
/* Every byte of every file is one that the store counts. */
void sound_bytes(struct strata_store *store);
/* The same of a store whose writers were killed. It may count more until gc: a
 * region whose builder died before it had filled it, or whose burier did between
 * the file and the entry. */
void sound_bytes_at_most(struct strata_store *store);
/* The same, after sound_collect(): and nothing is left to be freed. */
void sound_memory(struct strata_store *store);

#endif
