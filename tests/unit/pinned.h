/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Slots that are taken and pinned by hand, and what a scan says of them. */
#ifndef STRATA_TEST_PINNED_H
#define STRATA_TEST_PINNED_H

#include "attached.h"

static inline struct strata__slot *
take(void)
{
	struct strata__chunk *chunk;
	struct strata__slot *slot = NULL;

	must(strata__slot_take(&store->rcu, &chunk, &slot));
	return slot;
}

static inline void
pin(struct strata__slot *slot, uint64_t version)
{
	/* With a section number above it, as a lock does. */
	atomic_store(&slot->pin, UINT64_C(7) << STRATA_VERSION_BITS | version);
}

static inline bool
needs(uint64_t birth, uint64_t retirement)
{
	struct strata__scan scan;
	bool is;

	must(strata__scan_take(&store->rcu, &scan));
	is = strata__scan_needs(&scan, birth, retirement);
	strata__scan_done(&scan);
	return is;
}

static inline size_t
nr_pins(void)
{
	struct strata__scan scan;
	size_t nr;

	must(strata__scan_take(&store->rcu, &scan));
	nr = scan.nr;
	strata__scan_done(&scan);
	return nr;
}

#endif
