/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What the library says while it works, if anybody wants to hear it; probes. */
#ifndef STRATA_LOG_H
#define STRATA_LOG_H

#include <stdatomic.h>
#include <stdbool.h>

#include "strata/strata.h"

/* Off, a log is one load and one branch. Not on the read path. */
extern _Atomic int strata__log_level;

static inline bool
strata__log_is_on(enum strata_log_level level)
{
	/* Relaxed: who wants to hear says so before others work. */
	return __builtin_expect(atomic_load_explicit(&strata__log_level,
						     memory_order_relaxed) >=
					(int)level,
				false);
}

/* Leaves errno and the last error as they are. */
void strata__log(enum strata_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3), cold));

#define STRATA_LOG(level, ...)                                                 \
	do {                                                                   \
		if (strata__log_is_on(level))                                  \
			strata__log((level), __VA_ARGS__);                     \
	} while (0)

/*
 * Static probes, for bpftrace, perf and systemtap: a no-op instruction each, and
 * a note in the ELF file that says where it is and where its arguments are. Their
 * names and arguments are told in docs/guide.md. The tests' library has none.
 */
#if defined(HAVE_SYS_SDT_H) && !defined(STRATA_TESTING)
#include <sys/sdt.h>
#define STRATA_PROBE2(name, a, b)    DTRACE_PROBE2(strata, name, a, b)
#define STRATA_PROBE3(name, a, b, c) DTRACE_PROBE3(strata, name, a, b, c)
#else
#define STRATA_PROBE2(name, a, b)                                              \
	do {                                                                   \
		(void)(a);                                                     \
		(void)(b);                                                     \
	} while (0)
#define STRATA_PROBE3(name, a, b, c)                                           \
	do {                                                                   \
		(void)(a);                                                     \
		(void)(b);                                                     \
		(void)(c);                                                     \
	} while (0)
#endif

#endif
