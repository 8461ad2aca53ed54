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

/*
 * Why living writers can be revoked: the one who holds the lock of a dimension
 * is alone in its store, but a store that was destroyed, or whose segments were
 * removed by hand, may have left somebody at work who stopped in the middle of a
 * crystallise. A new store with the same directory must not be overtaken by
 * him. Locks in the directory could be held by whoever may read it; a name that
 * is gone cannot be renamed.
 */

/* Removes a temporary file. -errno. */
static int
revoke_one(int dir_fd, const char *name)
{
	if (unlinkat(dir_fd, name, 0) != 0 && errno != ENOENT)
		return -errno;
	STRATA_TESTPOINT("newfile.revoke.unlinked");
	return 0;
}

/* Removes a temporary file if its writer is dead, which is so when its lock can
 * be had. Where locks are not supported nothing is ever removed. Failing is
 * harmless. */
static int
sweep_one(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name,
			O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    strata__os_lock_try(fd, 0, 0) == 0 &&
	    unlinkat(dir_fd, name, 0) == 0)
		STRATA_TESTPOINT("newfile.sweep.unlinked");
	close(fd);
	return 0;
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

/* Calls fn for each temporary file of the wanted files. -errno of the listing,
 * or the first that fn gave. */
static int
each_temporary(int dir_fd, const char *wanted,
	       bool (*is_wanted)(const char *base, const char *wanted),
	       int (*fn)(int dir_fd, const char *name))
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct dirent *entry;
	char base[NAME_SIZE];
	int r = 0;
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (dir == NULL) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		if (temporary_parse(entry->d_name, base) &&
		    is_wanted(base, wanted))
			r = fn(dir_fd, entry->d_name);
	if (r == 0 && entry == NULL)
		r = -errno;
	closedir(dir);
	return r;
}

void
strata__newfile_sweep(const char *folder, const char *pattern)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)each_temporary(fd, pattern, is_like, sweep_one);
	close(fd);
}

/* Those of a file whose folder is open. */
static int
clear(int dir_fd, const char *base, bool revoke)
{
	char wanted[NAME_SIZE];
	int r;

	temporary_base(base, wanted);
	r = each_temporary(dir_fd, wanted, is_same,
			   revoke ? revoke_one : sweep_one);
	return revoke ? r : 0;
}

static int
folder_fail(const char *path)
{
	return strata__fail_errno(errno, "cannot open the folder of '%s'",
				  path);
}

int
strata__newfile_revoke(const char *path)
{
	const char *base = base_of(path);
	int fd, r;

	if (base == NULL)
		return strata__fail(STRATA_EINVAL, "'%s' names no file", path);
	fd = folder_open(path, base);
	if (fd < 0)
		return folder_fail(path);
	r = clear(fd, base, /* revoke= */ true);
	close(fd);
	if (r != 0)
		return strata__fail_errno(-r,
					  "cannot remove what others are "
					  "writing beside '%s'",
					  path);
	return 0;
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
		return errno == EEXIST || errno == EINTR ? -EAGAIN : -errno;
	STRATA_TESTPOINT("newfile.open.created");
	fd = strata__os_above_stdio(fd);
	r = fd < 0 ? fd : claim(fd);
	if (r != 0) {
		if (r != -EAGAIN)
			unlinkat(file->dir_fd, file->temporary, 0);
		STRATA_TESTPOINT("newfile.open.unlinked");
		if (fd >= 0)
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
	int tries, r;

	r = clear(file->dir_fd, file->base, file->wish.revoke);
	if (r != 0)
		return r;
	temporary_base(file->base, base);
	r = -EAGAIN;
	for (tries = 0; r == -EAGAIN && tries < NEWFILE_TRIES; tries++)
		r = temporary_try(file, base);
	return r;
}

/* What the system refused of a new file; a full disk with the numbers. */
static int
newfile_fail(const struct strata__newfile *file, const char *what, int err,
	     const char *verb)
{
	if (err == ENOSPC || err == EDQUOT)
		return strata__write_fail(err, file->dir_fd,
					  /* in_shm= */ false, what, 0,
					  file->wish.size);
	return strata__fail_errno(err, "cannot %s '%s'", verb, what);
}

int
strata__newfile_open(const char *path, const struct strata__newfile_wish *wish,
		     struct strata__newfile *ret)
{
	struct strata__newfile file = {.fd = -1, .dir_fd = -1, .wish = *wish};
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
		return folder_fail(path);
	r = temporary_make(&file);
	if (r != 0) {
		r = newfile_fail(&file, path, -r, "make a file beside");
		close(file.dir_fd);
		return r;
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
	int r = strata__os_sync(dir_fd);

	return r == -EINVAL ? 0 : r;
}

int
strata__newfile_sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	int fd, err;

	fd = folder_open(path, slash != NULL ? slash + 1 : path);
	if (fd < 0)
		return folder_fail(path);
	err = folder_sync(fd);
	close(fd);
	if (err != 0)
		return strata__fail_errno(-err, "cannot sync the folder of "
						"'%s'",
					  path);
	return 0;
}

/* Who may do what with it. A group that cannot be set matters where the mode
 * gives it something. chown clears bits of the mode, so it goes first. */
static int
set_access(const struct strata__newfile *file)
{
	const struct strata__newfile_wish *wish = &file->wish;
	struct stat st;
	int r;

	if (fstat(file->fd, &st) != 0)
		return -errno;
	if (wish->group != STRATA_NEWFILE_ANY_GROUP &&
	    wish->group != st.st_gid &&
	    fchown(file->fd, (uid_t)-1, wish->group) != 0 &&
	    (wish->mode & 0070) != 0)
		return -errno;
	STRATA_TESTPOINT("newfile.finish.owned");
	r = fchmod(file->fd, wish->mode) == 0 ? 0 : -errno;
	STRATA_TESTPOINT("newfile.finish.opened-up");
	return r;
}

/* From here on the name is of this file, or of the one before. */
static int
replace(struct strata__newfile *file)
{
	int r = set_access(file);

	if (r != 0)
		return newfile_fail(file, file->base, -r,
				    "set group and mode of");
	/* Where blocks are allocated late, a full disk shows here. */
	r = STRATA_BROKEN(STRATA_NO_FILE_SYNC) ? 0 : strata__os_sync(file->fd);
	if (r != 0)
		return newfile_fail(file, file->base, -r, "sync");
	STRATA_TESTPOINT("newfile.finish.synced");
	if (renameat(file->dir_fd, file->temporary, file->dir_fd,
		     file->base) == 0) {
		STRATA_TESTPOINT("newfile.finish.renamed");
		return 0;
	}
	if (errno == ENOENT)
		return strata__fail_errno(ENOENT,
					  "'%s' is as it was: a newer writer "
					  "of it removed the temporary file of "
					  "this one",
					  file->base);
	return newfile_fail(file, file->base, errno, "rename a file to");
}

int
strata__newfile_finish(struct strata__newfile *file)
{
	int r = replace(file);

	if (r != 0) {
		strata__newfile_discard(file);
		return r;
	}
	r = STRATA_BROKEN(STRATA_NO_FOLDER_SYNC) ? 0
						 : folder_sync(file->dir_fd);
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

/**** what is there already ****/

static bool
has_bytes(int fd, const char *bytes, uint64_t size)
{
	char *buffer = malloc(COPY_SIZE);
	bool same = buffer != NULL;
	uint64_t at;
	size_t n;

	for (at = 0; same && at < size; at += n) {
		n = size - at < COPY_SIZE ? size - at : COPY_SIZE;
		same = strata__os_pread(fd, buffer, n, at) == 0 &&
			memcmp(buffer, bytes + at, n) == 0;
	}
	free(buffer);
	return same;
}

int
strata__newfile_is(const char *path, const void *bytes, uint64_t size)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	bool same;
	int r = 0;

	if (fd < 0)
		return 0;
	same = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		(uint64_t)st.st_size == size && has_bytes(fd, bytes, size);
	/* Who renamed it may have died before he synced the folder. */
	if (same) {
		r = strata__os_sync(fd);
		if (r != 0)
			r = strata__fail_errno(-r, "cannot sync '%s'", path);
		else
			r = strata__newfile_sync_folder(path);
	}
	close(fd);
	return r != 0 ? r : same;
}

/**** writing ****/

int
strata__write_fail(int err, int fd, bool in_shm, const char *what,
		   uint64_t offset, uint64_t needed)
{
	uint64_t room, total;
	int r;

	if ((err == ENOSPC || err == EDQUOT) && in_shm)
		return strata__fail_shm(fd, "shared memory", what, needed);
	strata__os_room(fd, &room, &total);
	if (err == ENOSPC || err == EDQUOT)
		r = strata__fail_errno(err,
				       "%s: '%.160s' needs %" PRIu64
				       " bytes, %" PRIu64
				       " are free; nothing was changed: make "
				       "room there and do it again",
				       err == ENOSPC ? "the disk is full"
						     : "the disk quota is used "
						       "up",
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
copy(int in, int out, uint64_t size, const char *what,
     struct strata__progress *progress, void *buffer)
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
			return strata__write_fail(-r, out, /* in_shm= */ false,
						  what, at, size);
		r = strata__progress_add(progress, n);
		if (r != 0)
			return r;
	}
	STRATA_TESTPOINT("newfile.copy.written");
	return 0;
}

int
strata__image_copy(int in, int out, uint64_t size, const char *what,
		   struct strata__progress *progress)
{
	void *buffer = malloc(COPY_SIZE);
	int r;

	if (buffer == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory to copy '%.200s'",
				    what);
	r = copy(in, out, size, what, progress, buffer);
	free(buffer);
	return r;
}
