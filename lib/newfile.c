/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Files that appear whole and durable, or not at all. */
#include "newfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "error.h"
#include "os.h"
#include "testpoint.h"

#define NEWFILE_TRIES 16
#define COPY_SIZE     (256u << 10)
#define NAME_SIZE     256
#define TAIL_SIZE     (sizeof(".0123456789abcdef.tmp") - 1)

/*
 * Why a named temporary and not O_TMPFILE: linkat() does not replace, so that
 * the file would need a temporary name on its way to its own in any case; and
 * what a killed writer leaves behind is cleared away by the next one, see
 * sweep(), or by who looks after the folder.
 */

/**** names ****/

/* The last component of a path, or NULL when it is no name for a file. */
static const char *
base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash != NULL ? slash + 1 : path;

	if (base[0] == '\0' || strcmp(base, ".") == 0 ||
	    strcmp(base, "..") == 0)
		return NULL;
	return base;
}

/* Opens the folder of a path, to name files in it and to sync it. */
static int
folder_open(const char *path, const char *base)
{
	size_t size = (size_t)(base - path);
	char *folder;
	int fd;

	if (size == 0)
		return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	folder = strndup(path, size);
	if (folder == NULL) {
		errno = ENOMEM;
		return -1;
	}
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(folder);
	return fd;
}

/* What is between the dots of a temporary name: its base. One that is near the
 * limit of names itself is cut. */
static void
temporary_base(const char *base, char ret[NAME_SIZE])
{
	snprintf(ret, NAME_SIZE, "%.230s", base);
}

/* The other way round. False: it is no temporary name. */
static bool
temporary_parse(const char *name, char ret_base[NAME_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	size_t size = strlen(name);
	const char *tail;

	if (size <= 1 + TAIL_SIZE || size >= NAME_SIZE)
		return false;
	tail = name + size - TAIL_SIZE;
	if (name[0] != '.' || tail[0] != '.' ||
	    strspn(tail + 1, digits) != 16 || strcmp(tail + 17, ".tmp") != 0)
		return false;
	memcpy(ret_base, name + 1, size - 1 - TAIL_SIZE);
	ret_base[size - 1 - TAIL_SIZE] = '\0';
	return true;
}

/**** what killed writers left ****/

/* Removes a temporary file if its writer is dead, which is so when its lock can
 * be had. Where locks are not supported nothing is ever removed. */
static void
sweep_one(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name,
			O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    strata__os_lock_try(fd, 0, 0) == 0 &&
	    unlinkat(dir_fd, name, 0) == 0)
		STRATA_TESTPOINT("newfile.sweep.unlinked");
	close(fd);
}

static bool
is_same(const char *base, const char *wanted)
{
	return strcmp(base, wanted) == 0;
}

static bool
is_like(const char *base, const char *pattern)
{
	return fnmatch(pattern, base, 0) == 0;
}

/* Clears away what killed writers of the wanted files left. Failing is
 * harmless. */
static void
sweep(int dir_fd, const char *wanted,
      bool (*is_wanted)(const char *base, const char *wanted))
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct dirent *entry;
	char base[NAME_SIZE];
	DIR *dir;

	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (temporary_parse(entry->d_name, base) &&
		    is_wanted(base, wanted))
			sweep_one(dir_fd, entry->d_name);
	closedir(dir);
}

void
strata__newfile_sweep(const char *folder, const char *pattern)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	sweep(fd, pattern, is_like);
	close(fd);
}

/**** open ****/

/* Locks a file just made. -EAGAIN: between its making and now somebody took it
 * for a leftover. File systems without locks have no sweepers either. */
static int
claim(int fd)
{
	struct stat st;

	if (strata__os_lock_try(fd, 0, 0) == -EAGAIN)
		return -EAGAIN;
	if (fstat(fd, &st) != 0)
		return -errno;
	return st.st_nlink == 0 ? -EAGAIN : 0;
}

static int
temporary_try(struct strata__newfile *file, const char *base)
{
	uint64_t random;
	int fd, r;

	r = strata__os_random(&random, sizeof(random));
	if (r != 0)
		return r;
	snprintf(file->temporary, sizeof(file->temporary),
		 ".%s.%016" PRIx64 ".tmp", base, random);
	/* 0600 until it is complete, so that a sweeper of ours can open it. */
	fd = openat(file->dir_fd, file->temporary,
		    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EEXIST ? -EAGAIN : -errno;
	STRATA_TESTPOINT("newfile.open.created");
	r = claim(fd);
	if (r != 0) {
		if (r != -EAGAIN)
			unlinkat(file->dir_fd, file->temporary, 0);
		close(fd);
		return r;
	}
	file->fd = fd;
	return 0;
}

static int
temporary_make(struct strata__newfile *file)
{
	char base[NAME_SIZE];
	int tries, r = -EAGAIN;

	temporary_base(file->base, base);
	sweep(file->dir_fd, base, is_same);
	for (tries = 0; r == -EAGAIN && tries < NEWFILE_TRIES; tries++)
		r = temporary_try(file, base);
	return r;
}

int
strata__newfile_open(const char *path, uint32_t mode,
		     struct strata__newfile *ret)
{
	struct strata__newfile file = {.fd = -1, .dir_fd = -1, .mode = mode};
	const char *base = base_of(path);
	int r;

	if (base == NULL)
		return strata__fail(STRATA_EINVAL, "'%s' names no file", path);
	if (strlen(base) >= sizeof(file.base))
		return strata__fail_errno(ENAMETOOLONG, "cannot write '%s'",
					  path);
	strcpy(file.base, base);
	file.dir_fd = folder_open(path, base);
	if (file.dir_fd < 0)
		return strata__fail_errno(errno,
					  "cannot open the folder of "
					  "'%s'",
					  path);
	r = temporary_make(&file);
	if (r != 0) {
		close(file.dir_fd);
		return strata__fail_errno(-r, "cannot make a file beside '%s'",
					  path);
	}
	*ret = file;
	return 0;
}

/**** finish, discard ****/

static void
newfile_close(struct strata__newfile *file)
{
	close(file->fd);
	close(file->dir_fd);
	file->fd = file->dir_fd = -1;
}

void
strata__newfile_discard(struct strata__newfile *file)
{
	unlinkat(file->dir_fd, file->temporary, 0);
	STRATA_TESTPOINT("newfile.discard.unlinked");
	newfile_close(file);
}

/* Some file systems do not sync folders and say EINVAL; there is no other way
 * to ask them. */
static int
folder_sync(int dir_fd)
{
	return fsync(dir_fd) == 0 || errno == EINVAL ? 0 : -errno;
}

int
strata__newfile_sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	int fd, err;

	fd = folder_open(path, slash != NULL ? slash + 1 : path);
	if (fd < 0)
		return strata__fail_errno(errno, "cannot open the folder of "
						 "'%s'",
					  path);
	err = folder_sync(fd);
	close(fd);
	if (err != 0)
		return strata__fail_errno(-err, "cannot sync the folder of "
						"'%s'",
					  path);
	return 0;
}

static int
finish_fail(struct strata__newfile *file, int err, const char *verb)
{
	int r = strata__fail_errno(err, "cannot %s '%s'", verb, file->base);

	strata__newfile_discard(file);
	return r;
}

int
strata__newfile_finish(struct strata__newfile *file)
{
	struct stat st;
	int r;

	if (fchmod(file->fd, file->mode) != 0)
		return finish_fail(file, errno, "set the mode of");
	if (fsync(file->fd) != 0) {
		/* Where blocks are allocated late, a full disk shows here. */
		if (errno != ENOSPC && errno != EDQUOT)
			return finish_fail(file, errno, "sync");
		r = errno;
		if (fstat(file->fd, &st) != 0)
			st.st_size = 0;
		r = strata__write_fail(r, file->fd, /* in_shm= */ false,
				       file->base, 0, (uint64_t)st.st_size);
		strata__newfile_discard(file);
		return r;
	}
	STRATA_TESTPOINT("newfile.finish.synced");
	if (renameat(file->dir_fd, file->temporary, file->dir_fd, file->base) !=
	    0)
		return finish_fail(file, errno, "rename a file to");
	STRATA_TESTPOINT("newfile.finish.renamed");
	r = folder_sync(file->dir_fd);
	STRATA_TESTPOINT("newfile.finish.durable");
	if (r != 0)
		r = strata__fail_errno(-r,
				       "'%s' is in its place, but its "
				       "folder could not be synced, so that it "
				       "may be lost with the power",
				       file->base);
	newfile_close(file);
	return r;
}

/**** writing ****/

/* Free bytes of a file's file system; UINT64_MAX when it does not tell. */
static uint64_t
free_bytes(int fd)
{
	struct statvfs vfs;

	if (fstatvfs(fd, &vfs) != 0)
		return UINT64_MAX;
	return (uint64_t)vfs.f_bavail * vfs.f_frsize;
}

int
strata__write_fail(int err, int fd, bool in_shm, const char *what,
		   uint64_t offset, uint64_t needed)
{
	uint64_t room = free_bytes(fd);
	int r;

	if (err == ENOSPC && in_shm)
		r = strata__fail(STRATA_ESHM,
				 "shared memory is full: '%.160s' "
				 "needs %" PRIu64 " bytes, %" PRIu64
				 " are free; unload something, or enlarge "
				 "/dev/shm (mount -o remount,size=..., docker "
				 "run --shm-size=...)",
				 what, needed, room);
	else if (err == ENOSPC)
		r = strata__fail_errno(err,
				       "the disk is full: '%.160s' needs "
				       "%" PRIu64 " bytes, %" PRIu64
				       " are free",
				       what, needed, room);
	else
		r = strata__fail_errno(err,
				       "cannot write '%.160s' (%" PRIu64
				       " bytes) at %" PRIu64,
				       what, needed, offset);
	strata__error()->sys_errno = err;
	strata__error()->requested = needed;
	strata__error()->offset = offset;
	return r;
}

static int
copy(int in, int out, uint64_t size, bool out_in_shm, const char *what,
     void *buffer)
{
	uint64_t at;
	size_t n;
	int r;

	for (at = 0; at < size; at += n) {
		n = size - at < COPY_SIZE ? size - at : COPY_SIZE;
		r = strata__os_pread(in, buffer, n, at);
		if (r == -ENODATA)
			return strata__fail(STRATA_EFORMAT,
					    "%.200s: shorter "
					    "than its %" PRIu64 " bytes",
					    what, size);
		if (r != 0)
			return strata__fail_errno(-r, "cannot read '%.200s'",
						  what);
		r = strata__os_pwrite(out, buffer, n, at);
		if (r != 0)
			return strata__write_fail(-r, out, out_in_shm, what, at,
						  size);
	}
	STRATA_TESTPOINT("newfile.copy.written");
	return 0;
}

int
strata__image_copy(int in, int out, uint64_t size, bool out_in_shm,
		   const char *what)
{
	void *buffer = malloc(COPY_SIZE);
	int r;

	if (buffer == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory to copy '%.200s'",
				    what);
	r = copy(in, out, size, out_in_shm, what, buffer);
	free(buffer);
	return r;
}
