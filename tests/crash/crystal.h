/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A dimension that tells its generation, for tests of what lasts. */
#ifndef STRATA_TEST_CRYSTAL_H
#define STRATA_TEST_CRYSTAL_H

#include <stdint.h>

#include "strata/strata.h"

#define CRYSTAL 7u
/* A generation that cannot be told: a layer is missing, torn or of another. */
#define CRYSTAL_BROKEN UINT64_MAX

/* Puts all layers of a dimension in one commit. How many there are, and how
 * large, depends on the generation; the whole is some 650 KiB. */
void crystal_put(struct strata_store *store, uint32_t dimension,
		 uint64_t generation);
/* The same as a file. */
void crystal_pack(const char *directory, uint32_t dimension,
		  uint64_t generation);
/* The generation that is in the store; 0: there is no such dimension. */
uint64_t crystal_see(struct strata_store *store, uint32_t dimension);
/* The generation of the dimension's file in a directory; 0: there is none.
 * Every byte of it is checked. May be replaced meanwhile. */
uint64_t crystal_read(const char *directory, uint32_t dimension);
/* How many temporary files are in a directory. */
unsigned crystal_temporaries(const char *directory);

#endif
