/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What the library does to the files of a folder: recorded, or made to fail. */
#ifndef STRATA_TEST_FSCALLS_H
#define STRATA_TEST_FSCALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A program that is linked with this has its own open, openat, pwrite, fsync,
 * fdatasync, ftruncate, renameat, unlinkat, unlink, fchmod and fchown: they are
 * the system's but for one folder. Of one thread.
 */
enum fs_kind {
	FS_CREATE,      /* name: a new file */
	FS_WRITE,       /* file: size bytes of data at offset */
	FS_TRUNCATE,    /* file: to offset */
	FS_SYNC,        /* file */
	FS_SYNC_FOLDER, /* all that was done to names */
	FS_RENAME,      /* name to to */
	FS_UNLINK       /* name */
};

#define FS_NAME      264
#define FS_FILES_MAX 32
#define FS_OPS_MAX   256

struct fs_op {
	enum fs_kind kind;
	unsigned file; /* in the record's table */
	char name[FS_NAME], to[FS_NAME];
	uint64_t offset;
	size_t size;
	char *data;
};

struct fs_file {
	ino_t inode;
	char *data; /* before the first operation */
	size_t size;
};

struct fs_name {
	char name[FS_NAME];
	unsigned file;
};

/* What was there, and what was done to it, in order. What failed was not. */
struct fs_record {
	struct fs_file files[FS_FILES_MAX];
	unsigned nr_files;
	struct fs_name names[FS_FILES_MAX];
	unsigned nr_names;
	struct fs_op ops[FS_OPS_MAX];
	unsigned nr_ops;
};

/* From here on, of this folder, into a zeroed record; what is in it now counts
 * as durable. */
void fs_begin(const char *folder, struct fs_record *record);
void fs_end(void);
void fs_free(struct fs_record *record);

/* Between begin and end: the call with that number, from 1 and from here on,
 * fails with err; with FS_SHORT a write writes less than it is told to, and
 * other calls succeed. 0: none. */
#define FS_SHORT (-1)
void fs_fail(unsigned number, int err);
/* Of the calls with that name only: open, write, truncate, chmod, chown, sync,
 * sync of the folder, rename, unlink. */
void fs_fail_call(const char *call, unsigned number, int err);
/* How many calls were made since fs_fail(), and which it was that failed; NULL:
 * none. */
unsigned fs_calls(void);
const char *fs_failed(void);

#endif
