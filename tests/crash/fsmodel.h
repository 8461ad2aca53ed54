/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What a file system may have of a folder after the power was lost. */
#ifndef STRATA_TEST_FSMODEL_H
#define STRATA_TEST_FSMODEL_H

#include "fscalls.h"

/*
 * The model promises less than any file system does. Of a file: what was there
 * at its last sync, and of what was written since anything: all, nothing, a
 * first part, the length without the bytes, some blocks, the last write without
 * the others. Of the folder: the names at its last sync, and of what was done to
 * names since any part, in any order that a disk may give it; a rename is two of
 * those, a new entry and one that is gone.
 */
struct fs_state {
	unsigned nr_ops; /* of the record, that were done before the loss */
	unsigned nr;
	struct {
		char name[FS_NAME];
		char *data;
		size_t size;
	} files[FS_FILES_MAX];
};

/* Calls fn for each different state after each number of operations. Seed: for
 * the choices that are random. */
void fs_each_state(const struct fs_record *record, uint64_t seed,
		   void (*fn)(const struct fs_state *state, void *arg),
		   void *arg);
/* Does the folder look as the record, with nothing lost, says? */
bool fs_is_complete(const struct fs_record *record, const char *folder);
/* Makes the folder, which exists, look like that. */
void fs_write(const struct fs_state *state, const char *folder);
/* Removes all files in it. */
void fs_empty(const char *folder);

#endif
