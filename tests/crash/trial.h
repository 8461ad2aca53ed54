/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* One store, and writers that are killed in it, one after the other. */
#ifndef STRATA_TEST_TRIAL_H
#define STRATA_TEST_TRIAL_H

#include "points.h"
#include "scenarios.h"

struct kill {
	const struct scenario *scenario;
	enum company company;
	const char
		*point; /* NULL: nobody is killed; what is passed is counted */
	unsigned passage;
};

/* Once in a process: where files may lie. */
void trials_init(const char *folder);
void trials_fini(void);
/* Makes the store of a scenario and starts the readers. */
void trials_begin(const struct scenario *scenario);
/* Was it killed? What is passed may differ from run to run: readers are where
 * they are. Whatever else is not as it should be ends the process. */
bool trial(const struct kill *kill);
/* What the last one that counted has passed. */
const struct points *trial_points(void);
void trials_end(const struct scenario *scenario, unsigned outcomes[NR_OUTCOMES],
		uint64_t *ret_longest_wait_ns);

#endif
