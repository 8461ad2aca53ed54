/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What `strata doctor` looks at, and what it finds. */
#ifndef STRATA_DOCTOR_H
#define STRATA_DOCTOR_H

#include "tool.h"

enum finding_level {
	FINDING_OK,      /**< as it should be */
	FINDING_NOTE,    /**< works; could be better */
	FINDING_WARNING, /**< will hurt one day */
	FINDING_PROBLEM, /**< hurts now */
};

struct finding {
	enum finding_level level;
	const char *subject; /**< a word or two; not freed */
	char *text;          /**< one sentence, with numbers */
	char *mend;          /**< a command or setting; NULL: nothing to do */
};

/** The stores that strata_list() told of. */
struct doctor {
	const struct tool_args *args;
	const char *folder; /**< of the segments */
	const char *root;   /**< below which the system's files are: "" */
	struct strata_list_entry *stores;
	size_t nr_stores;
	struct finding *findings;
	size_t nr_findings;
};

/** Notes a finding. @param mend as printf() gives it, freed here; or NULL */
void finding_add(struct doctor *doctor, enum finding_level level,
		 const char *subject, char *mend, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/** The folder of the segments: what it is, its size, what is free. */
void doctor_memory(struct doctor *doctor);
/** What the kernel can: membarrier, file locks, unnamed files. */
void doctor_kernel(struct doctor *doctor);
/** Large pages: of the mount, by the kernel. */
void doctor_huge_pages(struct doctor *doctor);
/** Limits of this process, and of its control group. */
void doctor_limits(struct doctor *doctor);
/** Whether somebody removes the segments at logout. */
void doctor_remove_ipc(struct doctor *doctor);

#endif /* STRATA_DOCTOR_H */
