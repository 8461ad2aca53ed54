/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Places where tests may stop, kill or break the library; free when off. */
#ifndef STRATA_TESTPOINT_H
#define STRATA_TESTPOINT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Two builds exist of the same sources. The one that is installed has neither
 * test points nor ways to be broken. The one for the torture programs
 * (STRATA_TESTING) calls a hook at every point, poisons what it frees, can leave
 * out one safeguard at a time, to show that the tests notice, and can have the
 * system refuse.
 *
 * A writer killed between two of its effects on what others can see differs
 * from one killed elsewhere between the same two in nothing: so one point
 * stands between any two effects, and that is before the one and after the
 * other. tests/check-testpoints.sh looks that none is missing.
 */
#ifdef STRATA_TESTING

enum strata__safeguard {
	STRATA_NO_VALIDATION = 1 << 0,  /* in the read lock */
	STRATA_NO_HEAVY_FENCE = 1 << 1, /* before the scan of the pins */
	STRATA_NO_LIGHT_FENCE = 1 << 2, /* after the store of the pin */
	STRATA_EAGER_RECLAIM = 1 << 3,  /* one version too early */
	STRATA_NO_GRACE = 1 << 4,       /* synchronize returns at once */
	STRATA_NO_FILE_SYNC = 1 << 5,   /* of a new file, before its rename */
	STRATA_NO_FOLDER_SYNC = 1 << 6, /* after the rename */
	STRATA_NO_FLAVOR_GRACE = 1 << 7, /* nor any for private structures */
	STRATA_NO_RECHECK = 1 << 8,     /* behind an observer's copy */
	STRATA_NO_POISON = 1 << 9, /* none: what is freed stays as it was */
};

extern void (*strata__testpoint)(const char *name);
extern unsigned strata__broken; /* of enum strata__safeguard */
/* Asked before each call of the system that may find no memory: "reserve",
 * "write", "truncate", "open", "link", "collapse". What it gives, an errno, is
 * what the call meets instead of being made; 0: it is made. */
extern int (*strata__refusal)(const char *call);

static inline void
strata__pass(const char *name)
{
	if (strata__testpoint != NULL)
		strata__testpoint(name);
}

#define STRATA_TESTPOINT(name) strata__pass(name)
/* One whose name is the place it stands at: for what is done in many. */
#ifdef __FILE_NAME__
#define STRATA_FILE __FILE_NAME__
#else
#define STRATA_FILE __FILE__
#endif
#define STRATA_STRING_(x)          #x
#define STRATA_STRING(x)           STRATA_STRING_(x)
#define STRATA_TESTPOINT_HERE(what)                                            \
	STRATA_TESTPOINT(STRATA_FILE ":" STRATA_STRING(__LINE__) " " what)
#define STRATA_BROKEN(safeguard) ((strata__broken & (safeguard)) != 0)
#define STRATA_REFUSAL(call)                                                   \
	(strata__refusal != NULL ? strata__refusal(call) : 0)
#define STRATA_POISON(p, size) memset((p), 0xdb, (size))

#else

#define STRATA_TESTPOINT(name)      ((void)0)
#define STRATA_TESTPOINT_HERE(what) ((void)0)
#define STRATA_BROKEN(safeguard) false
#define STRATA_REFUSAL(call) 0
#define STRATA_POISON(p, size) ((void)0)

#endif

#endif
