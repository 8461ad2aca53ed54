/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The library's test points: which are passed, and dying at one of them. */
#ifndef STRATA_TEST_POINTS_H
#define STRATA_TEST_POINTS_H

#include <stdbool.h>

/* One that was passed, and how often. */
struct point {
	const char *name; /* the same in all children of this process */
	unsigned passages;
};

#define POINTS_MAX 400

/* In memory that is shared with the child that counts. */
struct points {
	struct point points[POINTS_MAX];
	unsigned nr;
};

/* Counts passages from here on; NULL: not any more. */
void points_count(struct points *points);
/* Ends this process by SIGKILL at a passage, counted from 1 and from here;
 * NULL: of any point. */
void points_die_at(const char *name, unsigned passage);
/* What it does there before. */
void points_before_death(void (*wish)(void *arg), void *arg);
/* Nothing happens at points any more. */
void points_off(void);

#endif
