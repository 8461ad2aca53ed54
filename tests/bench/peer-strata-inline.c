/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Strata once more: the same store, read by the inlined read path. */
#include <strata/inline.h>

#define PEER_CALL(call) strata_##call##_inline
#include "peer-strata-reads.h"

/* The store is that of peer_strata, which is set up before. */
static bool
setup(const struct contents *contents)
{
	held = contents;
	return true;
}

static void
remove_nothing(void)
{
}

/* It has no commits of its own. */
const struct peer peer_strata_inline = {
	.name = "strata, inline",
	.slowness = 1,
	.setup = setup,
	.remove = remove_nothing,
	.open = open_it,
	.close = close_it,
	PEER_SECTION_LOOPS,
};
