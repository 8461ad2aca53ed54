/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Files: which one, by what name, how long, whole transfers. */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os.h"
#include "testpoint.h"

/**** which file ****/

int
strata__os_above_stdio(int fd)
{
	int above, err;

	if (fd > STDERR_FILENO)
		return fd;
	above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	err = errno;
	close(fd);
	return above >= 0 ? above : -err;
}

int
strata__os_file_id(int fd, struct strata__file_id *ret)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	ret->device = st.st_dev;
	ret->inode = st.st_ino;
	return 0;
}

bool
strata__os_is_file(int fd, const struct strata__file_id *id)
{
	struct strata__file_id now;

	return fd >= 0 && id->inode != 0 && strata__os_file_id(fd, &now) == 0 &&
		now.device == id->device && now.inode == id->inode;
}

/**** folders ****/

const char *
strata__os_shm_folder(void)
{
	const char *path = secure_getenv("STRATA_SHM_DIR");

	return path != NULL && *path != '\0' ? path : "/dev/shm";
}

int
strata__os_open_folder(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

int
strata__os_another(int fd)
{
	int other = fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);

	return other >= 0 ? other : -errno;
}

/**** names ****/

int
strata__os_open_unnamed(int folder)
{
	int fd = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	return errno == EISDIR || errno == EINVAL ? -EOPNOTSUPP : -errno;
}

int
strata__os_link_unnamed(int fd, int folder, const char *name)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, folder, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	/* Without /proc (chroot): newer kernels allow this to everybody. */
	if (errno == ENOENT && linkat(fd, "", folder, name, AT_EMPTY_PATH) == 0)
		return 0;
	return -errno;
}

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* By its number: musl has no renameat2() before 1.2.5. */
int
strata__os_rename_new(int folder, const char *from, const char *to)
{
	return syscall(SYS_renameat2, folder, from, folder, to,
		       RENAME_NOREPLACE) == 0
		       ? 0
		       : -errno;
}

/**** durable ****/

int
strata__os_sync(int fd)
{
	int r;

	do
		r = fsync(fd);
	while (r != 0 && errno == EINTR);
	return r == 0 ? 0 : -errno;
}

int
strata__os_sync_all(int fd)
{
	return syncfs(fd) == 0 ? 0 : -errno;
}

/**** room ****/

#define RESERVE_STEP (UINT64_C(2) << 20)
#define RESERVE_MIN  (UINT64_C(64) << 10)

/*
 * On tmpfs an interrupted step undoes itself. Steps that were interrupted
 * shrink, so that a program with a fast timer gets through, too.
 */
int
strata__os_reserve(int fd, uint64_t offset, uint64_t size)
{
	uint64_t step = RESERVE_STEP;

	while (size > 0) {
		uint64_t now = size < step ? size : step;
		int err = STRATA_REFUSAL("reserve");

		if (err == 0)
			err = posix_fallocate(fd, (off_t)offset, (off_t)now);
		STRATA_TESTPOINT("os.reserve.step");
		if (err == EINTR) {
			if (step > RESERVE_MIN)
				step /= 2;
			continue;
		}
		if (err != 0)
			return -err;
		offset += now;
		size -= now;
	}
	return 0;
}

int
strata__os_truncate(int fd, uint64_t size)
{
	int err;

	do {
		err = STRATA_REFUSAL("truncate");
		if (err == 0 && ftruncate(fd, (off_t)size) != 0)
			err = errno;
	} while (err == EINTR);
	STRATA_TESTPOINT("os.truncate.cut");
	return -err;
}

void
strata__os_room(int fd, uint64_t *ret_free, uint64_t *ret_total)
{
	struct statvfs st;

	*ret_free = *ret_total = UINT64_MAX;
	if (fstatvfs(fd, &st) != 0 || st.f_blocks == 0)
		return;
	*ret_free = (uint64_t)st.f_bavail * st.f_frsize;
	*ret_total = (uint64_t)st.f_blocks * st.f_frsize;
}

/**** transfers ****/

int
strata__os_pread(int fd, void *buffer, size_t size, uint64_t offset)
{
	char *p = buffer;

	while (size > 0) {
		ssize_t n = pread(fd, p, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		p += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int
strata__os_pwrite(int fd, const void *buffer, size_t size, uint64_t offset)
{
	const char *p = buffer;

	while (size > 0) {
		int err = STRATA_REFUSAL("write");
		ssize_t n = -1;

		if (err == 0) {
			n = pwrite(fd, p, size, (off_t)offset);
			err = n < 0 ? errno : 0;
		}
		STRATA_TESTPOINT("os.pwrite.written");
		if (err == EINTR)
			continue;
		if (n <= 0)
			return err != 0 ? -err : -EIO;
		p += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

/* statfs() is answered where stat() is not: what somebody has mounted there for
 * himself is of another type. */
bool
strata__os_is_elsewhere(int folder, const char *name)
{
	struct statfs here, there;
	int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	bool is = fd >= 0 && fstatfs(folder, &here) == 0 &&
		fstatfs(fd, &there) == 0 && there.f_type != here.f_type;

	if (fd >= 0)
		close(fd);
	return is;
}

bool
strata__os_is_overlay(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC;
}
