/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Long work tells how far it is, and may be cancelled. */
#ifndef STRATA_PROGRESS_H
#define STRATA_PROGRESS_H

#include "strata/strata.h"

/* Of one piece of work and one thread. All zero: nobody asks. */
struct strata__progress {
	int (*fn)(uint64_t done, uint64_t total, void *arg);
	void *arg;
	uint64_t done, total; /* bytes */
	uint64_t told;        /* of done, when fn was called last */
	int code;             /* STRATA_ECANCELED once fn wished it */
};

/* Takes a caller's wishes, or NULL. Tells STRATA_EINVAL. */
int strata__progress_init(struct strata__progress *progress,
			  const struct strata_work *work);
/* So many bytes more are done; calls fn when it is some MiB since it was called.
 * Tells STRATA_ECANCELED, from then on each time. NULL is fine. */
int strata__progress_add(struct strata__progress *progress, uint64_t bytes);
/* All is done but what cannot be cancelled any more. */
int strata__progress_finish(struct strata__progress *progress);
/* As a callback of strata__image_check(), which does not end by it: ask for the
 * code afterwards. */
void strata__progress_checked(uint64_t bytes, void *progress);

#endif
