/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What the library says while it works, if anybody wants to hear it. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "error.h"

_Atomic int strata__log_level = STRATA_LOG_SILENT;

static void (*log_fn)(enum strata_log_level level, const char *sentence,
		      void *arg);
static void *log_arg;
static _Thread_local bool inside; /* of the program's function */

void
strata_log(enum strata_log_level level,
	   void (*fn)(enum strata_log_level level, const char *sentence,
		      void *arg),
	   void *arg)
{
	log_fn = fn;
	log_arg = arg;
	atomic_store_explicit(&strata__log_level,
			      fn != NULL ? (int)level : STRATA_LOG_SILENT,
			      memory_order_relaxed);
}

void
strata__log(enum strata_log_level level, const char *format, ...)
{
	struct strata_error_info kept = *strata__error();
	int kept_errno = errno;
	char sentence[512];
	va_list args;

	if (inside || log_fn == NULL)
		return;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	inside = true;
	log_fn(level, sentence, log_arg);
	inside = false;
	*strata__error() = kept;
	errno = kept_errno;
}
