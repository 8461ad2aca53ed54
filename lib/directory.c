/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Giving a directory to a store, or giving it back. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "directory.h"
#include "error.h"
#include "newfile.h"
#include "os.h"
#include "testpoint.h"

_Static_assert(sizeof(((struct strata__directory *)0)->path) >= PATH_MAX,
	       "realpath() fits");

static int
fail(int err, const char *what, const char *path)
{
	strata__fail_errno(err, "cannot %s the directory %s", what, path);
	if (err == EACCES || err == EPERM || err == EROFS)
		strata__error()->code = STRATA_EACCES;
	else if (err == ENOTDIR)
		strata__error()->code = STRATA_EDIR;
	return strata__error()->code;
}

/* Who may read the store may read its directory. */
static int
directory_make(struct strata__directory *d, const char *path, uint32_t mode,
	       uint32_t group)
{
	uint32_t dir_mode = mode | (mode & 0444) >> 2;
	bool ours;

	if (mkdir(path, 0700) != 0)
		return errno == EEXIST ? 0 : fail(errno, "make", path);
	d->made = true;
	STRATA_TESTPOINT("directory.made");
	ours = chown(path, (uid_t)-1, group) == 0;
	STRATA_TESTPOINT("directory.owned");
	ours = ours && chmod(path, dir_mode) == 0;
	STRATA_TESTPOINT("directory.opened-up");
	if (!ours) {
		fail(errno, "set owner and mode of", path);
		rmdir(path);
		STRATA_TESTPOINT("directory.unmade");
		d->made = false;
		return strata__error()->code;
	}
	return 0;
}

/* What is durable in the directory is lost with it. Whoever made it, perhaps
 * nobody has synced the folder that it is in. One that may not be read is synced
 * with all that is on its file system. */
static int
directory_sync_name(const struct strata__directory *d)
{
	struct strata_error_info kept = *strata__error();
	int err = strata__newfile_sync_folder(d->path);

	if (err == -EACCES && strata__os_sync_all(d->fd) == 0)
		err = -EROFS;
	/* Where nothing can be written there is nothing to sync. */
	if (err == -EROFS) {
		*strata__error() = kept;
		return 0;
	}
	return err;
}

static int
directory_open(struct strata__directory *d, const char *path)
{
	int err;

	if (realpath(path, d->path) == NULL)
		return fail(errno, "find", path);
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0)
		return fail(errno, "open", path);
	err = strata__os_lock_whole(d->fd);
	STRATA_TESTPOINT("directory.locked");
	if (err == 0)
		return directory_sync_name(d);
	if (err != -EAGAIN)
		return fail(-err, "lock", path);
	return strata__fail(STRATA_EDIR,
			    "directory %s is just being given to another store",
			    d->path);
}

/* The name that the file says; "" when there is no such file, "?" when it says
 * none. */
static int
read_name(struct strata__directory *d, char *name, size_t size)
{
	struct stat st;
	char *end;
	ssize_t n;
	int fd;

	name[0] = '\0';
	fd = openat(d->fd, STRATA_DIRECTORY_FILE,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : fail(errno, "read", d->path);
	n = read(fd, name, size);
	if (n < 0 || fstat(fd, &st) != 0) {
		fail(errno, "read", d->path);
		close(fd);
		return strata__error()->code;
	}
	close(fd);
	d->previous_mode = st.st_mode & 0777;
	d->previous_group = st.st_gid;
	end = memchr(name, '\n', (size_t)n);
	if (end == NULL || end == name)
		strcpy(name, "?");
	else
		*end = '\0';
	return 0;
}

static int
write_name(const struct strata__directory *d, const char *name, uint32_t mode,
	   uint32_t group)
{
	char path[PATH_MAX + sizeof(STRATA_DIRECTORY_FILE) + 1];
	char line[STRATA_STORE_NAME_MAX + 2];
	struct strata__newfile_wish wish = {.mode = mode, .group = group};
	struct strata__newfile file;
	int code, length;

	snprintf(path, sizeof(path), "%s/%s", d->path, STRATA_DIRECTORY_FILE);
	length = snprintf(line, sizeof(line), "%s\n", name);
	wish.size = (uint64_t)length;
	code = strata__newfile_open(path, &wish, &file);
	if (code != 0)
		return code;
	code = strata__os_pwrite(file.fd, line, (size_t)length, 0);
	if (code == 0)
		return strata__newfile_finish(&file);
	code = strata__write_fail(-code, file.fd, /* in_shm= */ false, path, 0,
				  wish.size);
	strata__newfile_discard(&file);
	return code;
}

static int
directory_claim(struct strata__directory *d, const char *store, bool adopt,
		uint32_t mode, uint32_t group)
{
	/* With room for the newline of the longest name. */
	char previous[STRATA_STORE_NAME_MAX + 2];
	int code = read_name(d, previous, sizeof(previous));

	if (code != 0 || strcmp(previous, store) == 0)
		return code;
	if (previous[0] != '\0' && !adopt)
		return strata__fail(STRATA_EDIR,
				    "directory %s belongs to store '%.64s'; "
				    "adopt it, or take another",
				    d->path, previous);
	code = write_name(d, store, 0600 | (mode & 0044), group);
	if (code != 0)
		return code;
	d->written = true;
	snprintf(d->previous, sizeof(d->previous), "%.64s", previous);
	STRATA_TESTPOINT("directory.written");
	return 0;
}

int
strata__directory_take(const char *path, const char *store, bool adopt,
		       uint32_t mode, uint32_t group,
		       struct strata__directory *ret)
{
	int code;

	memset(ret, 0, sizeof(*ret));
	ret->fd = -1;
	if (path == NULL)
		return 0;
	code = directory_make(ret, path, mode, group);
	if (code == 0)
		code = directory_open(ret, path);
	if (code == 0)
		code = directory_claim(ret, store, adopt, mode, group);
	if (code == 0)
		return 0;
	strata__directory_undo(ret);
	if (ret->made) /* and could not be opened */
		rmdir(path);
	STRATA_TESTPOINT("directory.take.unmade");
	return code;
}

int
strata__directory_check(const char *path, const char *store)
{
	char name[STRATA_STORE_NAME_MAX + 2];
	struct strata__directory d = {.fd = -1};
	int code;

	d.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d.fd < 0)
		return fail(errno, "open", path);
	snprintf(d.path, sizeof(d.path), "%s", path);
	code = read_name(&d, name, sizeof(name));
	close(d.fd);
	/* A group may write to the store, and may not read this: no matter. */
	if (code != 0)
		return code == STRATA_EACCES ? 0 : code;
	if (name[0] == '\0' || strcmp(name, store) == 0)
		return 0;
	return strata__fail(STRATA_EDIR,
			    "directory %.200s belongs to store '%.64s' now: "
			    "nothing was written there for store '%.64s'",
			    path, name, store);
}

void
strata__directory_keep(struct strata__directory *directory)
{
	if (directory->fd >= 0)
		close(directory->fd);
	directory->fd = -1;
}

void
strata__directory_undo(struct strata__directory *directory)
{
	struct strata_error_info error = *strata__error();

	if (directory->written && directory->previous[0] == '\0') {
		unlinkat(directory->fd, STRATA_DIRECTORY_FILE, 0);
		STRATA_TESTPOINT("directory.undo.unnamed");
		(void)strata__os_sync(directory->fd);
		STRATA_TESTPOINT("directory.undo.synced");
	} else if (directory->written) {
		write_name(directory, directory->previous,
			   directory->previous_mode,
			   directory->previous_group);
	}
	if (directory->made && directory->fd >= 0)
		rmdir(directory->path);
	STRATA_TESTPOINT("directory.undo.unmade");
	if (directory->fd >= 0)
		directory->made = false;
	directory->written = false;
	strata__directory_keep(directory);
	*strata__error() = error;
}
