/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What is mapped, and how. */

#include <errno.h>
#include <sys/mman.h>

#include "os.h"

/**** large pages ****/

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1, newer than the headers */
#endif

int
strata__os_map_large(int fd, uint64_t size, void **ret_map)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint64_t whole = strata__round_up(size, STRATA_PAGE), front;
	char *room, *map;

	room = mmap(NULL, whole + STRATA_LARGE_PAGE, PROT_NONE, flags, -1, 0);
	if (room == MAP_FAILED)
		return -errno;
	front = -(uintptr_t)room & (STRATA_LARGE_PAGE - 1);
	map = mmap(room + front, whole, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
		   0);
	if (map == MAP_FAILED) {
		int err = errno;

		munmap(room, whole + STRATA_LARGE_PAGE);
		return -err;
	}
	if (front > 0)
		munmap(room, front);
	munmap(map + whole, STRATA_LARGE_PAGE - front);
	*ret_map = map;
	return 0;
}

/* All at once is much faster, since the kernel then waits once for all CPUs to
 * let go of their lists; page by page says how many it got. */
int
strata__os_collapse(void *map, uint64_t size, uint64_t *ret_bytes)
{
	uint64_t whole = size & ~(STRATA_LARGE_PAGE - 1), at;
	int err = 0;

	*ret_bytes = 0;
	if (whole == 0)
		return 0;
	if (madvise(map, whole, MADV_COLLAPSE) == 0) {
		*ret_bytes = whole;
		return 0;
	}
	for (at = 0; at < whole; at += STRATA_LARGE_PAGE) {
		if (madvise((char *)map + at, STRATA_LARGE_PAGE,
			    MADV_COLLAPSE) == 0)
			*ret_bytes += STRATA_LARGE_PAGE;
		else
			err = -errno;
		/* Not in this kernel, or not for such files: ever. */
		if (err == -EINVAL && *ret_bytes == 0)
			break;
	}
	return err;
}
