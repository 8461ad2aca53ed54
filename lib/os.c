/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Random bytes, clocks, futexes, fences, file locks, whole transfers. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_FUTEX
#include <linux/futex.h>
#endif
#ifdef HAVE_MEMBARRIER
#include <linux/membarrier.h>
#endif

#include "os.h"
#include "testpoint.h"

#ifdef STRATA_TESTING
int (*strata__refusal)(const char *call);
#endif

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/**** who and when ****/

int
strata__os_random(void *buffer, size_t size)
{
	char *p = buffer;

	while (size > 0) {
		ssize_t n = getrandom(p, size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static struct strata__id boot_id;

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" to 16 bytes; all or nothing. */
static void
boot_id_parse(const char *text)
{
	struct strata__id id;
	size_t i;
	int n;

	for (i = 0; i < sizeof(id.bytes); i++) {
		unsigned byte;

		text += *text == '-';
		if (!isxdigit((unsigned char)text[0]) ||
		    sscanf(text, "%2x%n", &byte, &n) != 1 || n != 2)
			return;
		id.bytes[i] = (uint8_t)byte;
		text += 2;
	}
	boot_id = id;
}

static void
boot_id_read(void)
{
	char text[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0)
		boot_id_parse(text);
	close(fd);
}

/* Read once: every segment that is mapped asks for it, and after a chroot /proc
 * may be gone. */
void
strata__os_boot_id(struct strata__id *ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, boot_id_read);
	*ret = boot_id;
}

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t
strata__os_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t
strata__os_realtime_coarse_ns(void)
{
	return clock_ns(CLOCK_REALTIME_COARSE);
}

uint64_t
strata__os_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* The name will be shown on terminals, so it is plain ASCII. */
void
strata__os_self(char *name, size_t size, uint64_t *ret_pid_namespace)
{
	const char *self = program_invocation_short_name;
	struct stat st;
	size_t i;

	if (self == NULL || *self == '\0')
		self = "?";
	for (i = 0; i + 1 < size && self[i] != '\0'; i++)
		name[i] = self[i] > ' ' && self[i] < 127 ? self[i] : '?';
	memset(name + i, 0, size - i);
	*ret_pid_namespace = 0;
	if (stat("/proc/self/ns/pid", &st) == 0)
		*ret_pid_namespace = st.st_ino;
}

/* "0 0 4294967295" in one line: all ids, to themselves. */
static bool
is_whole_map(const char *path)
{
	unsigned long inside, outside, nr;
	char text[128];
	ssize_t size;
	int end = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) /* a kernel without user namespaces has no such file */
		return errno == ENOENT && access("/proc/self/maps", F_OK) == 0;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[size > 0 ? size : 0] = '\0';
	return sscanf(text, "%lu %lu %lu %n", &inside, &outside, &nr, &end) ==
		       3 &&
	       text[end] == '\0' && inside == 0 && outside == 0 &&
	       nr >= UINT32_MAX;
}

bool
strata__os_ids_are_global(void)
{
	return is_whole_map("/proc/self/uid_map") &&
	       is_whole_map("/proc/self/gid_map");
}

/**** futexes and fences ****/

#ifdef HAVE_FUTEX

/*
 * Not the PRIVATE operations: the word is shared between processes, each of
 * which has it at another address. The wait works on a read-only mapping.
 */
int
strata__os_futex_wait(const void *word, uint32_t expected, uint64_t timeout_ns)
{
	struct timespec ts;

	ts.tv_sec = (time_t)(timeout_ns / NS_PER_S);
	ts.tv_nsec = (long)(timeout_ns % NS_PER_S);
	if (syscall(SYS_futex, word, FUTEX_WAIT, expected, &ts, NULL, 0) == 0 ||
	    errno == EINTR)
		return 0;
	return -errno;
}

void
strata__os_futex_wake(const void *word, int nr)
{
	syscall(SYS_futex, word, FUTEX_WAKE, nr, NULL, NULL, 0);
	STRATA_TESTPOINT("os.futex.woken");
}

#else

#define POLL_FIRST_NS (NS_PER_MS / 20)
#define POLL_MAX_NS   (2 * NS_PER_MS)

/*
 * Looks again and again, less often the longer it takes. Nobody is woken: a
 * change is seen at most POLL_MAX_NS late, whoever made it, and the answer 0
 * tells of it. A word that changes and changes back in between is missed, as a
 * futex would not; for the callers that is one that has not changed.
 */
int
strata__os_futex_wait(const void *word, uint32_t expected, uint64_t timeout_ns)
{
	uint64_t begin = strata__os_monotonic_ns(), pause = POLL_FIRST_NS;

	if (__atomic_load_n((const uint32_t *)word, __ATOMIC_RELAXED) !=
	    expected)
		return -EAGAIN;
	for (;;) {
		uint64_t passed = strata__os_monotonic_ns() - begin, now;
		struct timespec ts = {0};

		if (passed >= timeout_ns)
			return -ETIMEDOUT;
		now = timeout_ns - passed < pause ? timeout_ns - passed : pause;
		ts.tv_nsec = (long)now;
		if (nanosleep(&ts, NULL) != 0 ||
		    __atomic_load_n((const uint32_t *)word, __ATOMIC_RELAXED) !=
			    expected)
			return 0;
		pause = pause * 2 < POLL_MAX_NS ? pause * 2 : POLL_MAX_NS;
	}
}

void
strata__os_futex_wake(const void *word, int nr)
{
	(void)word;
	(void)nr;
}

#endif

#ifdef HAVE_MEMBARRIER

static int
membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0) == 0 ? 0 : -errno;
}

int
strata__os_membarrier_register(void)
{
	return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

int
strata__os_membarrier(void)
{
	int err = membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);

	STRATA_TESTPOINT("os.membarrier.made");
	return err;
}

#else

int
strata__os_membarrier_register(void)
{
	return -ENOSYS;
}

int
strata__os_membarrier(void)
{
	return -ENOSYS;
}

#endif

/**** file locks ****/

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

int
strata__os_guard(int fd, void **ret_guard)
{
	void *map = mmap(NULL, STRATA_PAGE, PROT_READ, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	if (madvise(map, STRATA_PAGE, MADV_DONTFORK) != 0) {
		int err = errno;

		munmap(map, STRATA_PAGE);
		return -err;
	}
	*ret_guard = map;
	STRATA_TESTPOINT("os.guard.mapped");
	return 0;
}

void
strata__os_unguard(void *guard)
{
	if (guard != NULL)
		munmap(guard, STRATA_PAGE);
	STRATA_TESTPOINT("os.guard.unmapped");
}

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

/**** files ****/

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
