/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Observing: copies of what one version has, without a pin. */
#ifndef STRATA_OBSERVE_H
#define STRATA_OBSERVE_H

#include "block.h"

/*
 * An observer says to nobody what it reads, so what it reads may be given back
 * and written to meanwhile. It copies by pread, and then asks the state record
 * whether the object still was there; if not the writer has overtaken it, and
 * it begins anew with the version that is current by then.
 */

/* One attempt, at one version. */
struct strata__look {
	const struct strata__space *space;
	uint64_t version;
	uint64_t root;
	/* Opened when first needed; kept from one attempt to the next. */
	int pool_fd[STRATA_CLASSES_MAX];
	struct strata__region_file region; /* the last one; fd -1: none */
};

/* What an attempt returns that was overtaken; not told. */
#define STRATA_OVERTAKEN 1
/* Attempts before the observer gives up. */
#define STRATA_LOOKS_MAX 100

/*
 * Makes attempts until one is not overtaken, and returns what that returned.
 * fn begins from nothing each time. Tells STRATA_EGONE, and STRATA_EBUSY after
 * STRATA_LOOKS_MAX attempts.
 */
int strata__observe(const struct strata__space *space,
		    int (*fn)(struct strata__look *look, void *arg), void *arg);

/*
 * Copies size bytes that begin offset bytes behind the start of the block at
 * ref (or of the run of blocks); of a region, by their place in the window.
 * With 0 the bytes are those that the look's version has there, given that ref
 * was found in that version. STRATA_OVERTAKEN, or told.
 */
int strata__look_block(struct strata__look *look, uint64_t ref, uint64_t offset,
		       void *buffer, uint64_t size);
int strata__look_region(struct strata__look *look, uint32_t index,
			uint64_t generation, uint64_t ref, void *buffer,
			uint64_t size);
/* What was read cannot be of this version: STRATA_OVERTAKEN if there is a newer
 * one, else told as STRATA_ECORRUPT. */
int strata__look_lost(const struct strata__look *look, uint64_t ref);

#endif
