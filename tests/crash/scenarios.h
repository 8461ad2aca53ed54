/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What writers are killed in: contents that tell mixtures, and changes. */
#ifndef STRATA_TEST_SCENARIOS_H
#define STRATA_TEST_SCENARIOS_H

#include <stdbool.h>

#include "strata/strata.h"

enum outcome { OLD, NEW, NR_OUTCOMES };

struct scenario {
	const char *what;
	bool directory; /* the store has one */
	/* The writer that is killed before this one, so that it recovers. */
	const struct scenario *first;
	const char *first_point;
	void (*prepare)(void); /* says what is there before */
	void (*act)(void);     /* is killed in it */
	enum outcome (*judge)(void);
};

extern const struct scenario *const scenarios[];
extern const size_t nr_scenarios;
/* All places in these are to be tried. */
extern const struct scenario commit_scenario, load_scenario, hybrid_scenario;

/* Once, before children are started: where files may lie. */
void scenarios_init(const char *folder);
/* In the process that is to prepare, act or judge: its store. */
void scenario_attached(struct strata_store *mine);
/* The first contents of a new store. */
void scenario_begin(void);
/* A small commit beside everything. */
void scenario_touch(void);
/* All that an open section sees must be whole: dimensions, and those together
 * that change together. */
void scenario_see(struct strata_reader *reader);

#endif
