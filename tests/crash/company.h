/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Who else uses the store when a writer is killed. */
#ifndef STRATA_TEST_COMPANY_H
#define STRATA_TEST_COMPANY_H

#include "proc.h"
#include "scenarios.h"

#define COMPANY_MAX 2

/* Of one trial. In the order of these functions: */
struct company_of {
	enum company kind;
	const struct scenario *scenario; /* NULL: the store is destroyed */
	const char *name; /* of the store */
	struct proc procs[COMPANY_MAX];
	unsigned nr;
	int go[2]; /* a pipe: a byte for each that may begin */
};

/* Before the writer is started, which inherits what it needs. */
void company_init(struct company_of *company);
/* When the writer has prepared: they attach, and pin if they are to. */
void company_begin(struct company_of *company);
/* In the writer, before it acts. */
void company_acts(struct company_of *company);
/* In the writer, where it is to die, or when it has acted: gets the writers to
 * wait for the lock, if this one has it; told by a handle of the store. */
void company_dying(struct company_of *company, struct strata_store *store);
/* The writer is dead. */
void company_after_death(struct company_of *company);
/* Another one has recovered. */
void company_after_recovery(struct company_of *company);

#endif
