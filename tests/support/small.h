/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A /dev/shm of the test's own, as small as it wants. */
#ifndef STRATA_TEST_SMALL_H
#define STRATA_TEST_SMALL_H

#include <stdbool.h>
#include <stdint.h>

/* Mounts a tmpfs of that many bytes over the folder that shm_begin() gave: in a
 * mount namespace of this process, which the children started later share.
 * False where that is not allowed. test_fail() undoes it, too. */
bool small_begin(const char *folder, uint64_t bytes);
/* Makes it larger or smaller; not smaller than what is in it. */
void small_resize(uint64_t bytes);
/* Bytes that are taken in it, of files without names, too. */
uint64_t small_used(void);
/* Unmounts it, with what is left in it. */
void small_end(void);

#endif
