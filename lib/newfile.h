/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Files that appear whole and durable, or not at all; copying of images. */
#ifndef STRATA_NEWFILE_H
#define STRATA_NEWFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "progress.h"

#define STRATA_NEWFILE_ANY_GROUP UINT32_MAX

struct strata__newfile_wish {
	uint32_t mode;  /* whatever the umask; 0600 until it is complete */
	uint32_t group; /* or STRATA_NEWFILE_ANY_GROUP: the system's choice */
	uint64_t size;  /* that it will have, to say when there is no room */
	/* Temporary files of living writers of this file are removed, too, so
	 * that none of them finishes after this one. */
	bool revoke;
};

/*
 * A file is written under a temporary name in the folder where it will be:
 * ".<name>.<16 hex digits>.tmp". Its writer holds the lock of the whole file,
 * so that what a killed writer left behind is told from what a living one is
 * at; whoever opens the next new file of the same name removes the former, as
 * does strata__newfile_sweep().
 */
struct strata__newfile {
	int fd;
	int dir_fd;
	struct strata__newfile_wish wish;
	char base[256];
	char temporary[288];
};

/* Makes the temporary file beside path. Tells -errno (of a full disk with the
 * numbers), STRATA_EINVAL (path names no file). */
int strata__newfile_open(const char *path,
			 const struct strata__newfile_wish *wish,
			 struct strata__newfile *ret);
/* Removes the temporary files of all writers of a file, so that none that has
 * begun finishes. Tells -errno. */
int strata__newfile_revoke(const char *path);
/* The folder of a path, synced: what was renamed or removed in it stays so. */
int strata__newfile_sync_folder(const char *path);
/* fsync, rename over path, fsync of the folder. On failure the temporary file
 * is gone and what was at path is untouched, unless only the last step failed
 * (the sentence says so). Tells -errno. The struct is done with in every case.
 */
int strata__newfile_finish(struct strata__newfile *file);
/* Removes the temporary file. */
void strata__newfile_discard(struct strata__newfile *file);

/* Has the file these bytes? If so they are durable afterwards, and so is its
 * name. 1, 0 (it has not, cannot be read or is not there), or what could not be
 * synced, told. */
int strata__newfile_is(const char *path, const void *bytes, uint64_t size);

/* Removes from a folder what killed writers left of all files whose names are
 * like a pattern (fnmatch(3)), as far as we may. Tells nothing. */
void strata__newfile_sweep(const char *folder, const char *pattern);

/* Copies size bytes from offset 0 of in to offset 0 of out, by read and write
 * through a buffer, so that a file that shrinks meanwhile is an error, not a
 * signal. Tells -errno, STRATA_EFORMAT (in is shorter), STRATA_ECANCELED. */
int strata__image_copy(int in, int out, uint64_t size, const char *what,
		       struct strata__progress *progress);

/* Tells of a write to fd that failed with err, a positive errno: STRATA_ESHM
 * when shared memory is full, else -err; with the bytes needed (all of the
 * file) and free when there is no room. what is being written, for the
 * sentence. */
int strata__write_fail(int err, int fd, bool in_shm, const char *what,
		       uint64_t offset, uint64_t needed) __attribute__((cold));

#endif
