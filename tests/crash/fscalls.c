/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The system calls on files, in place of those of the C library. */
#undef _FORTIFY_SOURCE
#include "fscalls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.h"

/*
 * Why not ptrace, or a filter: neither is allowed everywhere, and both see all
 * processes' calls as numbers. That nothing is missed is checked by who uses
 * this: the record, replayed, must give the folder as it is.
 */

static struct {
	struct fs_record *record; /* NULL: everything is as without us */
	struct stat st;
	char path[200];
} folder;

static unsigned calls, fail_at;
static int fail_with;
static const char *fail_call; /* NULL: any */
static const char *failed;

/**** which calls are of the folder ****/

static bool
is_folder(int fd)
{
	struct stat st;

	return folder.record != NULL && fd >= 0 && fstat(fd, &st) == 0 &&
	       st.st_dev == folder.st.st_dev && st.st_ino == folder.st.st_ino;
}

/* The name of a file in the folder, or NULL. */
static const char *
name_at(int dir_fd, const char *path)
{
	size_t length = strlen(folder.path);

	if (folder.record == NULL)
		return NULL;
	if (strncmp(path, folder.path, length) == 0 && path[length] == '/')
		path += length + 1;
	else if (path[0] == '/' || !is_folder(dir_fd))
		return NULL;
	return strchr(path, '/') == NULL && strcmp(path, ".") != 0 ? path
								   : NULL;
}

/* The file behind a descriptor in the record's table; the last one that had the
 * inode. -1: none. */
static int
file_of(int fd)
{
	struct stat st;

	if (folder.record == NULL || fstat(fd, &st) != 0 ||
	    st.st_dev != folder.st.st_dev)
		return -1;
	for (unsigned i = folder.record->nr_files; i-- > 0;)
		if (folder.record->files[i].inode == st.st_ino)
			return (int)i;
	return -1;
}

static bool
is_ours(int fd)
{
	return is_folder(fd) || file_of(fd) >= 0;
}

/**** failing ****/

void
fs_fail(unsigned number, int err)
{
	calls = 0;
	fail_at = number;
	fail_with = err;
	fail_call = NULL;
	failed = NULL;
}

void
fs_fail_call(const char *call, unsigned number, int err)
{
	fs_fail(number, err);
	fail_call = call;
}

unsigned
fs_calls(void)
{
	return calls;
}

const char *
fs_failed(void)
{
	return failed;
}

/* Is it now? Sets errno. */
static bool
fails(const char *call)
{
	if (fail_call != NULL && strcmp(call, fail_call) != 0)
		return false;
	if (++calls != fail_at)
		return false;
	failed = call;
	if (fail_with == FS_SHORT)
		return false;
	errno = fail_with;
	return true;
}

/**** recording ****/

static struct fs_op *
op_new(enum fs_kind kind)
{
	struct fs_record *record = folder.record;
	struct fs_op *op;

	need(record->nr_ops < FS_OPS_MAX, "more than %d operations",
	     FS_OPS_MAX);
	op = &record->ops[record->nr_ops++];
	memset(op, 0, sizeof(*op));
	op->kind = kind;
	return op;
}

static unsigned
file_new(int fd, int dir_fd, const char *name)
{
	struct fs_record *record = folder.record;
	struct stat st;

	need(record->nr_files < FS_FILES_MAX, "more than %d files",
	     FS_FILES_MAX);
	need(fd >= 0 ? fstat(fd, &st) == 0
		     : fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0,
	     "stat %s: %s", name, strerror(errno));
	record->files[record->nr_files].inode = st.st_ino;
	return record->nr_files++;
}

static void
file_read(struct fs_file *file, int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	need(fd >= 0 && fstat(fd, &st) == 0, "open %s: %s", name,
	     strerror(errno));
	file->size = (size_t)st.st_size;
	file->data = malloc(file->size + 1);
	need(read(fd, file->data, file->size) == st.st_size, "read %s", name);
	close(fd);
}

void
fs_begin(const char *path, struct fs_record *record)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	struct fs_name *name;

	need(dir != NULL && stat(path, &folder.st) == 0, "%s: %s", path,
	     strerror(errno));
	need(strlen(path) < sizeof(folder.path), "a long path");
	fs_fail(0, 0);
	strcpy(folder.path, path);
	folder.record = record;
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		name = &record->names[record->nr_names++];
		strcpy(name->name, entry->d_name);
		name->file = file_new(-1, dirfd(dir), entry->d_name);
		file_read(&record->files[name->file], dirfd(dir),
			  entry->d_name);
	}
	closedir(dir);
}

void
fs_end(void)
{
	folder.record = NULL;
}

void
fs_free(struct fs_record *record)
{
	for (unsigned i = 0; i < record->nr_files; i++)
		free(record->files[i].data);
	for (unsigned i = 0; i < record->nr_ops; i++)
		free(record->ops[i].data);
	memset(record, 0, sizeof(*record));
}

/**** the calls ****/

static int
do_open(int dir_fd, const char *path, int flags, mode_t mode)
{
	const char *name = name_at(dir_fd, path);
	struct stat st;
	bool is_new;
	int fd;

	if (name == NULL && !(folder.record != NULL &&
			      ((strcmp(path, ".") == 0 && is_folder(dir_fd)) ||
			       strcmp(path, folder.path) == 0)))
		return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
	if (fails("open"))
		return -1;
	is_new = name != NULL && (flags & O_CREAT) != 0 &&
		fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0;
	fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
	if (fd >= 0 && is_new) {
		struct fs_op *op = op_new(FS_CREATE);

		strcpy(op->name, name);
		op->file = file_new(fd, -1, name);
	} else if (fd >= 0 && name != NULL && (flags & O_TRUNC) != 0 &&
		   file_of(fd) >= 0) {
		op_new(FS_TRUNCATE)->file = (unsigned)file_of(fd);
	}
	return fd;
}

#define MODE_OF(last)                                 \
	do {                                          \
		va_list args;                         \
                                                      \
		va_start(args, last);                 \
		if (((last) & (O_CREAT | O_TMPFILE))) \
			mode = va_arg(args, mode_t);  \
		va_end(args);                         \
	} while (0)

int
open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags);
	return do_open(AT_FDCWD, path, flags, mode);
}

int
openat(int dir_fd, const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags);
	return do_open(dir_fd, path, flags, mode);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
	int file = file_of(fd);
	struct fs_op *op;
	ssize_t n;

	if (file < 0)
		return syscall(SYS_pwrite64, fd, data, size, offset);
	if (fails("write"))
		return -1;
	/* It is this one. */
	if (calls == fail_at && fail_with == FS_SHORT && size > 1)
		size /= 2;
	n = syscall(SYS_pwrite64, fd, data, size, offset);
	if (n > 0) {
		op = op_new(FS_WRITE);
		op->file = (unsigned)file;
		op->offset = (uint64_t)offset;
		op->size = (size_t)n;
		op->data = malloc((size_t)n);
		memcpy(op->data, data, (size_t)n);
	}
	return n;
}

int
ftruncate(int fd, off_t size)
{
	int file = file_of(fd);
	int r;

	if (file < 0)
		return (int)syscall(SYS_ftruncate, fd, size);
	if (fails("truncate"))
		return -1;
	r = (int)syscall(SYS_ftruncate, fd, size);
	if (r == 0) {
		struct fs_op *op = op_new(FS_TRUNCATE);

		op->file = (unsigned)file;
		op->offset = (uint64_t)size;
	}
	return r;
}

static int
do_sync(int fd, long number)
{
	bool is_dir = is_folder(fd);
	int file = file_of(fd);
	int r;

	if (!is_dir && file < 0)
		return (int)syscall(number, fd);
	if (fails(is_dir ? "sync of the folder" : "sync"))
		return -1;
	r = (int)syscall(number, fd);
	if (r == 0)
		op_new(is_dir ? FS_SYNC_FOLDER : FS_SYNC)->file =
			is_dir ? 0 : (unsigned)file;
	return r;
}

int
fsync(int fd)
{
	return do_sync(fd, SYS_fsync);
}

int
fdatasync(int fd)
{
	return do_sync(fd, SYS_fdatasync);
}

int
renameat(int old_fd, const char *old, int new_fd, const char *new)
{
	const char *from = name_at(old_fd, old), *to = name_at(new_fd, new);
	struct fs_op *op;
	int r;

	if (from == NULL || to == NULL)
		return (int)syscall(SYS_renameat2, old_fd, old, new_fd, new, 0);
	if (fails("rename"))
		return -1;
	r = (int)syscall(SYS_renameat2, old_fd, old, new_fd, new, 0);
	if (r == 0) {
		op = op_new(FS_RENAME);
		strcpy(op->name, from);
		strcpy(op->to, to);
	}
	return r;
}

int
unlinkat(int dir_fd, const char *path, int flags)
{
	const char *name = name_at(dir_fd, path);
	int r;

	if (name == NULL)
		return (int)syscall(SYS_unlinkat, dir_fd, path, flags);
	if (fails("unlink"))
		return -1;
	r = (int)syscall(SYS_unlinkat, dir_fd, path, flags);
	if (r == 0)
		strcpy(op_new(FS_UNLINK)->name, name);
	return r;
}

int
unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int
fchmod(int fd, mode_t mode)
{
	if (is_ours(fd) && fails("chmod"))
		return -1;
	return (int)syscall(SYS_fchmod, fd, mode);
}

int
fchown(int fd, uid_t uid, gid_t gid)
{
	if (is_ours(fd) && fails("chown"))
		return -1;
	return (int)syscall(SYS_fchown, fd, uid, gid);
}
