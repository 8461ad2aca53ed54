/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What writers are killed in: contents that tell mixtures, and changes. */
#ifndef STRATA_TEST_SCENARIOS_H
#define STRATA_TEST_SCENARIOS_H

#include <stdbool.h>
#include <stddef.h>

#include "strata/strata.h"

/* The store's, and what it is changed to. */
#define SCENARIO_LIMIT     (UINT64_C(24) << 20)
#define SCENARIO_LIMIT_MAX (UINT64_C(26) << 20)

/* A dimension whose layers are for who waits for the lock. */
#define SCENARIO_WAITERS 9

enum outcome { OLD, NEW, NR_OUTCOMES };

/* Who else is there when the writer is killed: besides the readers that read
 * all the time, in each scenario. */
enum company {
	NOBODY,
	WAITING_WRITERS, /* two, for the lock, if the writer has it then */
	PINNED_READER, /* in the version before, until another has recovered */
	KILLED_READER, /* in the version before; killed after the writer */
	RIVALS,        /* two that work on the same dimension */
	NR_COMPANIES
};

struct scenario {
	const char *what;
	void (*prepare)(void); /* says what is there before */
	void (*act)(void);     /* is killed in it */
	enum outcome (*judge)(void);
	/* The writer that is killed before this one, so that it recovers. */
	const struct scenario *first;
	const char *first_point;
	void (*rivals[2])(void);
	/* Without this point it is not what it is meant to be. */
	const char *passes;
	bool directory;     /* the store has one */
	unsigned companies; /* bits, besides NOBODY, that it is tried in */
};

extern const struct scenario *const scenarios[];
extern const size_t nr_scenarios;

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
/* The same, as a number. */
uint64_t scenario_sight(struct strata_reader *reader);
/* A number for how much there is of what, and where. */
uint64_t scenario_shape(struct strata_reader *reader);

#endif
