/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A thread's last error, and the words for the codes. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"
#include "os.h"

static _Thread_local struct strata_error_info last = {.layer = -1};

/*
 * The text is made aside first, since its arguments may be parts of the error
 * that it replaces.
 */
static void __attribute__((format(printf, 3, 0)))
tell(int code, int sys_errno, const char *format, va_list args)
{
	char sentence[sizeof(last.sentence)];

	vsnprintf(sentence, sizeof(sentence), format, args);
	memset(&last, 0, sizeof(last));
	last.code = code;
	last.sys_errno = sys_errno;
	last.layer = -1;
	memcpy(last.sentence, sentence, sizeof(sentence));
}

int
strata__fail(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	tell(code, 0, format, args);
	va_end(args);
	return code;
}

int
strata__fail_errno(int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	tell(-err, err, format, args);
	va_end(args);
	strata__error_append(": %s", strata_strerror(-err));
	return -err;
}

struct strata_error_info *
strata__error(void)
{
	return &last;
}

void
strata__error_append(const char *format, ...)
{
	char text[sizeof(last.sentence)];
	size_t length = strnlen(last.sentence, sizeof(last.sentence) - 1);
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(last.sentence + length, sizeof(last.sentence) - length, "%s",
		 text);
}

const struct strata_error_info *
strata_last_error(void)
{
	return &last;
}

/**** a full /dev/shm ****/

/* The size that container runtimes give /dev/shm when nobody asks. */
#define CONTAINER_DEFAULT (UINT64_C(64) << 20)

/* Bytes that a regular file has by now; 0 for anything else. */
static uint64_t
file_bytes(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
		       ? (uint64_t)st.st_blocks * 512
		       : 0;
}

int
strata__fail_shm(int fd, const char *where, const char *what, uint64_t needed)
{
	uint64_t nr_free, total;

	strata__os_room(fd, &nr_free, &total);
	strata__fail(STRATA_ESHM, "%.120s is full: %" PRIu64 " bytes are needed",
		     where, needed);
	if (what != NULL)
		strata__error_append(" for '%.100s'", what);
	if (nr_free != UINT64_MAX)
		strata__error_append(", %" PRIu64 " of %" PRIu64 " are free",
				     nr_free + file_bytes(fd), total);
	strata__error_append(total == CONTAINER_DEFAULT
				     ? "; in a container give it more: docker "
				       "run --shm-size=1g, or in Kubernetes an "
				       "emptyDir with medium: Memory mounted "
				       "there"
				     : "; unload something, or enlarge it "
				       "(mount -o remount,size=...)");
	last.sys_errno = ENOSPC;
	last.requested = needed;
	return STRATA_ESHM;
}

/**** words ****/

/* In the order of enum strata_error, from STRATA_EINVAL downwards. */
static const char *const words[] = {
	"invalid argument or order of calls",
	"not a store name",
	"no such store",
	"exists already",
	"no such dimension",
	"no such layer",
	"the store was destroyed",
	"the size class is full",
	"the store's memory limit is reached",
	"the shared-memory file system is full",
	"larger than this store could ever hold",
	"somebody else is at it",
	"the time limit passed",
	"the region could not be mapped",
	"handle of the parent process",
	"the reader's pin was overwritten",
	"no reader slot is left",
	"store of another layout",
	"leftover of another boot",
	"owner or mode is not to be trusted",
	"permission denied",
	"not a valid dimension file",
	"shared memory is corrupt",
	"the dimension is immutable",
	"out of memory",
	"not supported on this machine",
	"no directory, or that of another store",
	"cancelled",
};
_Static_assert(sizeof(words) / sizeof(words[0]) ==
		       STRATA_EINVAL - STRATA_ECANCELED + 1,
	       "a text for each code");

static const char *
system_words(int err)
{
#ifdef HAVE_STRERRORDESC_NP
	const char *text = strerrordesc_np(err);

	return text != NULL ? text : "unknown error";
#else
	/* glibc's may write to a buffer of the thread's; musl's does not. */
	return strerror(err);
#endif
}

const char *
strata_strerror(int code)
{
	if (code == 0)
		return "success";
	if (code < 0 && code > -1000)
		return system_words(-code);
	if (code <= STRATA_EINVAL && code >= STRATA_ECANCELED)
		return words[STRATA_EINVAL - code];
	return "unknown error";
}
