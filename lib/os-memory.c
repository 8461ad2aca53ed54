/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What is mapped, and how. */

#include <errno.h>
#include <sys/mman.h>

#include "os.h"
#include "testpoint.h"

/**** shared with others ****/

static int
map_file(void *at, uint64_t size, int fd, uint64_t offset, bool writable,
	 void **ret_map)
{
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);
	int flags = MAP_SHARED | (at != NULL ? MAP_FIXED : 0);
	void *map = mmap(at, size, prot, flags, fd, (off_t)offset);

	if (map == MAP_FAILED)
		return -errno;
	*ret_map = map;
	return 0;
}

int
strata__os_map(int fd, uint64_t offset, uint64_t size, bool writable,
	       void **ret_map)
{
	return map_file(NULL, size, fd, offset, writable, ret_map);
}

int
strata__os_map_at(void *at, uint64_t size, int fd, bool writable)
{
	void *map;

	return map_file(at, size, fd, /* offset= */ 0, writable, &map);
}

void
strata__os_unmap(void *map, uint64_t size)
{
	munmap(map, size);
}

/**** addresses ****/

#define ADDRESSES (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

/* Newer kernels give such addresses by themselves where they are for large
 * pages. Else more is asked for, and what is before and behind it given back. */
int
strata__os_map_nothing(uint64_t size, uint64_t align, void **ret_map)
{
	uint64_t front;
	char *p = mmap(NULL, size, PROT_NONE, ADDRESSES, -1, 0);

	if (p != MAP_FAILED && ((uintptr_t)p & (align - 1)) == 0) {
		*ret_map = p;
		return 0;
	}
	if (p != MAP_FAILED)
		munmap(p, size);
	p = mmap(NULL, size + align, PROT_NONE, ADDRESSES, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	front = -(uintptr_t)p & (align - 1);
	if (front > 0)
		munmap(p, front);
	munmap(p + front + size, align - front);
	*ret_map = p + front;
	return 0;
}

int
strata__os_map_table(uint64_t size, void **ret_map)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, ADDRESSES, -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	*ret_map = map;
	return 0;
}

int
strata__os_map_nothing_at(void *at, uint64_t size)
{
	return mmap(at, size, PROT_NONE, ADDRESSES | MAP_FIXED, -1, 0) ==
			       MAP_FAILED
		       ? -errno
		       : 0;
}

int
strata__os_map_zeroes_at(void *at, uint64_t size)
{
	return mmap(at, size, PROT_READ,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		    0) == MAP_FAILED
		       ? -errno
		       : 0;
}

/**** forks, dumps, faults ****/

int
strata__os_map_wiped(uint64_t size, void **ret_map)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	if (madvise(map, size, MADV_WIPEONFORK) != 0) {
		int err = errno;

		munmap(map, size);
		return -err;
	}
	*ret_map = map;
	return 0;
}

int
strata__os_no_fork(void *map, uint64_t size)
{
	return madvise(map, size, MADV_DONTFORK) == 0 ? 0 : -errno;
}

/* Only a matter of size: no error. */
void
strata__os_no_dump(void *map, uint64_t size)
{
	(void)madvise(map, size, MADV_DONTDUMP);
}

/* Only a matter of speed: an old kernel may refuse. */
void
strata__os_populate(void *map, uint64_t size)
{
#ifdef MADV_POPULATE_WRITE
	(void)madvise(map, size, MADV_POPULATE_WRITE);
#else
	(void)map;
	(void)size;
#endif
}

/**** large pages ****/

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1, newer than the headers */
#endif

int
strata__os_map_large(int fd, uint64_t size, bool writable, void **ret_map)
{
	uint64_t whole = strata__round_up(size, STRATA_PAGE);
	void *map;
	int err = strata__os_map_nothing(whole, STRATA_LARGE_PAGE, &map);

	if (err != 0)
		return err;
	err = strata__os_map_at(map, whole, fd, writable);
	if (err != 0) {
		munmap(map, whole);
		return err;
	}
	*ret_map = map;
	return 0;
}

static int
collapse(void *map, uint64_t size)
{
	int err = STRATA_REFUSAL("collapse");

	if (err == 0 && madvise(map, size, MADV_COLLAPSE) != 0)
		err = errno;
	STRATA_TESTPOINT("os.collapse.made");
	return -err;
}

/* All at once is much faster, since the kernel then waits once for all CPUs to
 * let go of their lists; page by page says how many it got. */
int
strata__os_collapse(void *map, uint64_t size, uint64_t *ret_bytes)
{
	uint64_t whole = size & ~(STRATA_LARGE_PAGE - 1), at;
	int err = 0, code;

	*ret_bytes = 0;
	if (whole == 0)
		return 0;
	if (collapse(map, whole) == 0) {
		*ret_bytes = whole;
		return 0;
	}
	for (at = 0; at < whole; at += STRATA_LARGE_PAGE) {
		code = collapse((char *)map + at, STRATA_LARGE_PAGE);
		if (code == 0)
			*ret_bytes += STRATA_LARGE_PAGE;
		else
			err = code;
		/* Not in this kernel, or not for such files: ever. */
		if (err == -EINVAL && *ret_bytes == 0)
			break;
	}
	return err;
}

int
strata__os_freeze(void *map, uint64_t size)
{
	return mprotect(map, size, PROT_READ) == 0 ? 0 : -errno;
}
