/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What is hot: a few lookups of each reader, sampled into its own slot. */
#ifndef STRATA_HEAT_H
#define STRATA_HEAT_H

#include "store.h"

/* A sample: dimension (18 bits), layer (31), ticks of 2^27 ns (15). */
#define STRATA_SAMPLE_TICK 27u
#define STRATA_SAMPLE_TICKS ((UINT64_C(1) << 15) - 1)

static inline uint64_t
strata__sample_word(uint32_t dimension, uint32_t layer, uint64_t time_ns)
{
	return (uint64_t)dimension << 46 | (uint64_t)layer << 15 |
	       (time_ns >> STRATA_SAMPLE_TICK & STRATA_SAMPLE_TICKS);
}

/* In the read lock of each so-manieth section, by its number: how many are left out until the
 * next one, and whether a lookup is due to be noted. */
void strata__heat_section(struct strata_reader *reader, uint64_t sections);
/* In a lookup while STRATA_SLOW_SAMPLED is set. */
void strata__heat_lookup(struct strata_reader *reader, uint32_t dimension,
			 uint32_t layer);

#endif
