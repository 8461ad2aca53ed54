/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What is left to do of a destruction that its author did not finish. */
#ifndef STRATA_DESTROY_H
#define STRATA_DESTROY_H

/* Removes all segments of a store that is marked dead, the catalog last, and
 * gives back what no reader needs. 0 also when somebody else did it meanwhile.
 * Tells what strata_destroy() tells. */
int strata__destroy_finish(const char *name);

#endif
