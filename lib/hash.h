/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Checksums: XXH3-64 by the fastest path this machine has. */
#ifndef STRATA_HASH_H
#define STRATA_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t strata__hash(const void *data, size_t size);

/* The same in pieces: init, update in any portions, digest. The state lives in
 * the caller's frame; one thread at a time. */
struct strata__hash_state {
	_Alignas(64) unsigned char opaque[576];
};
void strata__hash_init(struct strata__hash_state *state);
void strata__hash_update(struct strata__hash_state *state, const void *data,
			 size_t size);
uint64_t strata__hash_digest(const struct strata__hash_state *state);

#endif
