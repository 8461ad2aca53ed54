/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A store's space without the rest of the store, in a folder of its own. */
#ifndef STRATA_TEST_FIXTURE_H
#define STRATA_TEST_FIXTURE_H

#include "edit.h"
#include "space.h"

/*
 * An empty store of the default pools: catalog, pools and lock segment are made
 * and mapped for writing, as if the writer lock were held; version 0, no root.
 * It lies in a new folder below /dev/shm, to which STRATA_SHM_DIR is set; such
 * folders of processes that are dead are removed first. What goes wrong ends
 * the program: a test without its store has nothing to say.
 */
struct strata__space *fixture_space(uint64_t limit);
/* The same with everything said; limit and pools as for strata_create(). */
struct strata__space *fixture_space_config(const struct strata_config *config);
/* Unmaps all of it and removes the folder. NULL is fine. */
void fixture_space_free(struct strata__space *space);

/* How the counters lie about the hints: overwrites all free stacks and their
 * heights, live, retired and grown with nonsense, as a crash might. */
void fixture_corrupt_hints(struct strata__space *space);

/* Is the block at ref, its tag ignored, one that the edit has taken? */
bool fixture_owns(const struct strata__edit *edit, uint64_t ref);

#endif
