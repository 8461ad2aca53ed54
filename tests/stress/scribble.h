/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What a process can do that means harm: to its pins, and with file locks. */
#ifndef STRATA_TEST_SCRIBBLE_H
#define STRATA_TEST_SCRIBBLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "layout.h"

/* Harms the pins segments of one user; one for a process. */
struct scribbler {
	const char *folder;
	uid_t uid;    /* whose pins; the process must be allowed to */
	struct strata_store *store; /* attached: versions are taken from it */
	uint64_t random; /* state of the random numbers */
	int fd;          /* of the segment that is harmed at the moment */
	char name[128];  /* of it, in the folder */
	struct strata__head head; /* that it had */
	uint64_t size;   /* that it should have */
	bool names;      /* modes, leases and names are harmed, too */
};

/* One harmful thing, chosen at random. False: there was nothing to do it to. */
bool scribble(struct scribbler *scribbler);
/* Puts the sizes of all its segments right, and removes what is none. */
void scribble_end(struct scribbler *scribbler);

/* Takes all kinds of locks on all files of the folder that can be opened, and
 * keeps them; returns how many it got. To be called again for new files. */
uint64_t take_locks(const char *folder, uint64_t *random);

#endif
