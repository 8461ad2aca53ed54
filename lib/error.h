/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A thread's last error: one code, one sentence, the numbers that explain it. */
#ifndef STRATA_ERROR_H
#define STRATA_ERROR_H

#include "strata/strata.h"

/*
 * Start a new error: forget the old details, keep the sentence, return code.
 * Each failure is told once, by the deepest function that knows the reason; the
 * callers pass the code on. strata__fail_errno() appends strerror(err) to the
 * sentence (": No space left on device") and returns -err.
 */
int strata__fail(int code, const char *format, ...)
	__attribute__((format(printf, 2, 3), cold));
int strata__fail_errno(int err, const char *format, ...)
	__attribute__((format(printf, 2, 3), cold));

/* The details of the error just told, to add numbers to; never NULL. */
struct strata_error_info *strata__error(void);

/*
 * STRATA_ESHM: the file system of the segments, which fd is in (the folder, or
 * the very file that found no room: what that has by then counts as free), has
 * no room for needed bytes. where it is and what they are for (or NULL) are for
 * the sentence, which says what to do, too.
 */
int strata__fail_shm(int fd, const char *where, const char *what,
		     uint64_t needed) __attribute__((cold));

/* Put text after the sentence; what is too long is cut off. */
void strata__error_append(const char *format, ...)
	__attribute__((format(printf, 1, 2), cold));

#endif
