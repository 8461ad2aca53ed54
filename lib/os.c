/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Who and when, waiting for each other, fences between processes. */

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
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

static bool
hex_digit(char c, uint8_t *value)
{
	if (c >= '0' && c <= '9')
		*value = (uint8_t)(c - '0');
	else if (c >= 'a' && c <= 'f')
		*value = (uint8_t)(c - 'a' + 10);
	else
		return false;
	return true;
}

bool
strata__hex_byte(const char *text, uint8_t *ret)
{
	uint8_t high, low;

	if (!hex_digit(text[0], &high) || !hex_digit(text[1], &low))
		return false;
	*ret = (uint8_t)(high << 4 | low);
	return true;
}

static struct strata__id boot_id;

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" to 16 bytes; all or nothing. */
static void
boot_id_parse(const char *text)
{
	struct strata__id id;
	size_t i;

	for (i = 0; i < sizeof(id.bytes); i++) {
		text += *text == '-';
		if (!strata__hex_byte(text, &id.bytes[i]))
			return;
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

/*
 * File systems give times by the tick of the coarse clock, of which two pass in 20
 * ms; some by the second, and vfat by two of them: what is a whole second may be
 * of these.
 */
bool
strata__os_is_settled(const struct timespec *time, uint64_t now)
{
	int64_t at = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
	int64_t age = time->tv_nsec == 0 ? 2020 : 20;

	return (int64_t)now - at > age * 1000 * 1000;
}

uint64_t
strata__os_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/*
 * Looking it up in /proc takes longer than the rest of an attach, and a process
 * keeps its own. A child has its parent's, unless it is the first of a new one,
 * or born into one: then it does not see its parent.
 */
static _Atomic uint64_t own_pid_namespace;
static _Atomic int32_t pid_of_own; /* who found it out; 0: nobody. Letter V */

void
strata__os_forked(void)
{
	int32_t parent = atomic_load_explicit(&pid_of_own, memory_order_relaxed);

	atomic_store_explicit(&pid_of_own,
			      parent != 0 && getppid() == parent ? getpid() : 0,
			      memory_order_relaxed);
}

static uint64_t
pid_namespace(void)
{
	int32_t pid = getpid();
	struct stat st;

	/* Letter V: pairs with the release below. */
	if (atomic_load_explicit(&pid_of_own, memory_order_acquire) == pid)
		return atomic_load_explicit(&own_pid_namespace,
					    memory_order_relaxed);
	if (stat("/proc/self/ns/pid", &st) != 0)
		return 0;
	atomic_store_explicit(&own_pid_namespace, st.st_ino,
			      memory_order_relaxed);
	/* Letter V: the namespace before whose it is. */
	atomic_store_explicit(&pid_of_own, pid, memory_order_release);
	return st.st_ino;
}

/* The name will be shown on terminals, so it is plain ASCII. */
void
strata__os_self(char *name, size_t size, uint64_t *ret_pid_namespace)
{
	const char *self = program_invocation_short_name;
	size_t i;

	if (self == NULL || *self == '\0')
		self = "?";
	for (i = 0; i + 1 < size && self[i] != '\0'; i++)
		name[i] = self[i] > ' ' && self[i] < 127 ? self[i] : '?';
	memset(name + i, 0, size - i);
	*ret_pid_namespace = pid_namespace();
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

/**** waiting, fences ****/

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

int
strata__os_mutex_wait(pthread_mutex_t *mutex, uint64_t timeout_ns)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(timeout_ns / NS_PER_S);
	until.tv_nsec += (long)(timeout_ns % NS_PER_S);
	if (until.tv_nsec >= (long)NS_PER_S) {
		until.tv_sec++;
		until.tv_nsec -= (long)NS_PER_S;
	}
	return -pthread_mutex_timedlock(mutex, &until);
}

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

/**** signals ****/

void
strata__os_signals_block(sigset_t *ret_before)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_BLOCK, &all, ret_before);
}

void
strata__os_signals_restore(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}
