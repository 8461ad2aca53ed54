/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Locks of open files, and what keeps them. */

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "os.h"
#include "testpoint.h"

static struct flock
range(short type, uint64_t offset, uint64_t size)
{
	/* l_pid must be 0 for locks of open file descriptions. */
	return (struct flock){.l_type = type,
			      .l_whence = SEEK_SET,
			      .l_start = (off_t)offset,
			      .l_len = (off_t)size};
}

int
strata__os_lock_try(int fd, uint64_t offset, uint64_t size)
{
	struct flock lock = range(F_WRLCK, offset, size);

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
		STRATA_TESTPOINT("os.lock.taken");
		return 0;
	}
	return errno == EACCES ? -EAGAIN : -errno;
}

/* Asks whether a read lock would be possible: only write locks are in its way,
 * and those cannot be had through a descriptor that only reads. */
int
strata__os_find_lock(int fd, uint64_t offset, uint64_t size,
		     uint64_t *ret_offset)
{
	struct flock lock = range(F_RDLCK, offset, size);

	if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
		return -errno;
	if (lock.l_type == F_UNLCK)
		return 0;
	*ret_offset = (uint64_t)lock.l_start;
	return 1;
}

int
strata__os_is_locked(int fd, uint64_t offset, uint64_t size)
{
	uint64_t at;

	return strata__os_find_lock(fd, offset, size, &at);
}

void
strata__os_unlock(int fd, uint64_t offset, uint64_t size)
{
	struct flock lock = range(F_UNLCK, offset, size);

	(void)!fcntl(fd, F_OFD_SETLK, &lock);
	STRATA_TESTPOINT("os.unlock.freed");
}

/**** what keeps locks ****/

/* Not the locks above: those would take a descriptor that writes. */
int
strata__os_lock_whole(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

int
strata__os_guard(int fd, void **ret_guard)
{
	void *map;
	int err = strata__os_map(fd, /* offset= */ 0, STRATA_PAGE,
				 /* writable= */ false, &map);

	if (err != 0)
		return err;
	err = strata__os_no_fork(map, STRATA_PAGE);
	if (err != 0) {
		strata__os_unmap(map, STRATA_PAGE);
		return err;
	}
	*ret_guard = map;
	STRATA_TESTPOINT("os.guard.mapped");
	return 0;
}

void
strata__os_unguard(void *guard)
{
	if (guard != NULL)
		strata__os_unmap(guard, STRATA_PAGE);
	STRATA_TESTPOINT("os.guard.unmapped");
}
