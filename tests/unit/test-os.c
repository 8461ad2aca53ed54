/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Locks, futexes, transfers, reservations. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "folder.h"
#include "os.h"

TestSuite(os, .init = folder_setup, .fini = folder_teardown, .timeout = 20);

#define MS UINT64_C(1000000)

static int
file_new(const char *name)
{
	int fd = openat(folder.fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	return fd;
}

Test(os, random_bytes_differ)
{
	unsigned char a[300] = {0}, b[300] = {0};

	cr_expect_eq(strata__os_random(a, sizeof(a)), 0);
	cr_expect_eq(strata__os_random(b, sizeof(b)), 0);
	cr_expect_neq(memcmp(a, b, sizeof(a)), 0);
}

Test(os, boot_id_is_what_the_kernel_says)
{
	char text[64] = "", expected[64] = "";
	struct strata__id id;
	size_t i;
	char *p = text;
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");

	if (file == NULL)
		cr_skip("no boot id here");
	cr_assert_eq(fscanf(file, "%63s", expected), 1);
	fclose(file);
	strata__os_boot_id(&id);
	for (i = 0; i < sizeof(id.bytes); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += sprintf(p, "%02x", id.bytes[i]);
	}
	cr_expect_str_eq(text, expected);
}

Test(os, clocks_go_forward)
{
	uint64_t mono = strata__os_monotonic_ns();
	uint64_t real = strata__os_realtime_ns();

	cr_expect_geq(strata__os_monotonic_ns(), mono);
	cr_expect_gt(real, UINT64_C(1700000000) * 1000000000);
	cr_expect_lt(real - strata__os_realtime_coarse_ns() + 1000 * MS,
		     2000 * MS, "coarse and fine are of the same clock");
}

Test(os, own_name_fits_and_is_terminated)
{
	char name[32], tiny[4];
	uint64_t ns;
	struct stat st;

	strata__os_self(name, sizeof(name), &ns);
	cr_expect_eq(strncmp(name, program_invocation_short_name, 31), 0);
	strata__os_self(tiny, sizeof(tiny), &ns);
	cr_expect_eq(strlen(tiny), 3);
	cr_assert_eq(stat("/proc/self/ns/pid", &st), 0);
	cr_expect_eq(ns, st.st_ino);
}

Test(os, a_lock_is_seen_by_other_open_files_only)
{
	int a = file_new("lock");
	int b = openat(folder.fd, "lock", O_RDWR | O_CLOEXEC);
	int c = openat(folder.fd, "lock", O_RDONLY | O_CLOEXEC);
	const uint64_t far = UINT64_C(1) << 40;

	cr_expect_eq(strata__os_is_locked(b, far, 1), 0);
	cr_assert_eq(strata__os_lock_try(a, far, 1), 0);
	cr_expect_eq(strata__os_is_locked(b, far, 1), 1);
	cr_expect_eq(strata__os_is_locked(c, far, 1), 1,
		     "a descriptor that only reads may ask");
	cr_expect_eq(strata__os_is_locked(a, far, 1), 0);
	cr_expect_eq(strata__os_is_locked(b, far + 1, 1), 0);
	cr_expect_eq(strata__os_lock_try(b, far, 1), -EAGAIN);
	close(a);
	cr_expect_eq(strata__os_lock_try(b, far, 1), 0);
}

Test(os, read_locks_do_not_count)
{
	struct flock lock = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1};
	int a = file_new("lock");
	int c = openat(folder.fd, "lock", O_RDONLY | O_CLOEXEC);

	cr_assert_eq(fcntl(c, F_OFD_SETLK, &lock), 0);
	cr_expect_eq(strata__os_is_locked(a, 0, 1), 0,
		     "any reader could vouch for the dead");
}

Test(os, a_guard_keeps_a_lock_without_its_descriptor)
{
	int a = file_new("lock");
	int b = openat(folder.fd, "lock", O_RDWR | O_CLOEXEC);
	void *guard = NULL;

	cr_assert_eq(strata__os_lock_try(a, 0, 1), 0);
	cr_assert_eq(strata__os_guard(a, &guard), 0);
	close(a);
	cr_expect_eq(strata__os_is_locked(b, 0, 1), 1);
	strata__os_unguard(guard);
	cr_expect_eq(strata__os_is_locked(b, 0, 1), 0);
	strata__os_unguard(NULL);
}

/* The trap that liveness stands on: the mapping keeps the lock. */
Test(os, a_mapping_keeps_a_lock_until_it_goes)
{
	int a = file_new("lock");
	int b = openat(folder.fd, "lock", O_RDWR | O_CLOEXEC);
	void *map;

	cr_assert_eq(ftruncate(a, 4096), 0);
	cr_assert_eq(strata__os_lock_try(a, 0, 1), 0);
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, a, 0);
	cr_assert_neq(map, MAP_FAILED);
	close(a);
	cr_expect_eq(strata__os_is_locked(b, 0, 1), 1);
	munmap(map, 4096);
	cr_expect_eq(strata__os_is_locked(b, 0, 1), 0);
}

Test(os, futex_wait_says_why_it_ended)
{
	uint32_t word = 5;
	uint64_t start = strata__os_monotonic_ns();

	cr_expect_eq(strata__os_futex_wait(&word, 4, 1000 * MS), -EAGAIN);
	cr_expect_eq(strata__os_futex_wait(&word, 5, 20 * MS), -ETIMEDOUT);
	cr_expect_geq(strata__os_monotonic_ns() - start, 20 * MS);
}

struct shared {
	_Atomic uint32_t word;
	_Atomic int woken;
};

/* The word never changes: only a wake ends this. */
static void *
wait_for_wake(void *arg)
{
	struct shared *shared = arg;
	int ret = strata__os_futex_wait(&shared->word, 0, 60000 * MS);

	atomic_store(&shared->woken, ret == 0 ? 1 : -1);
	return NULL;
}

/* Two mappings of one file stand for two processes. */
Test(os, futex_wakes_through_another_mapping_read_only)
{
	int fd = file_new("word");
	struct shared *writer, *reader;
	pthread_t thread;

	cr_assert_eq(ftruncate(fd, 4096), 0);
	writer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	reader = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert_eq(pthread_create(&thread, NULL, wait_for_wake, reader), 0);
	/* Until it sleeps there is nobody to wake. */
	while (atomic_load(&writer->woken) == 0) {
		strata__os_futex_wake(&writer->word, 1);
		sched_yield();
	}
	pthread_join(thread, NULL);
	cr_expect_eq(atomic_load(&writer->woken), 1);

	reader = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	cr_expect_eq(strata__os_futex_wait(&reader->word, 0, 5 * MS),
		     -ETIMEDOUT, "a mapping that only reads can wait");
}

Test(os, membarrier_works_or_says_that_it_does_not)
{
	int registered = strata__os_membarrier_register();

	cr_expect_leq(registered, 0);
	if (registered == 0)
		cr_expect_eq(strata__os_membarrier(), 0);
}

static void
nothing(int signal)
{
	(void)signal;
}

/* On tmpfs every signal interrupts a reservation and undoes it. */
Test(os, reservation_survives_a_storm_of_signals)
{
	struct itimerval storm = {{0, 300}, {0, 300}}, calm = {0};
	struct sigaction action = {.sa_handler = nothing};
	int fd = file_new("big");
	const uint64_t size = UINT64_C(40) << 20;
	struct stat st;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &storm, NULL);
	cr_expect_eq(strata__os_reserve(fd, 4096, size), 0);
	setitimer(ITIMER_REAL, &calm, NULL);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_expect_eq(st.st_size, size + 4096);
	cr_expect_geq((uint64_t)st.st_blocks * 512, size);
}

Test(os, reading_past_the_end_is_an_error)
{
	int fd = file_new("file");
	char buffer[8];

	cr_expect_eq(strata__os_pwrite(fd, "12345", 5, 3), 0);
	cr_expect_eq(strata__os_pread(fd, buffer, 5, 3), 0);
	cr_expect_eq(memcmp(buffer, "12345", 5), 0);
	cr_expect_eq(strata__os_pread(fd, buffer, 6, 3), -ENODATA);
	cr_expect_eq(strata__os_pread(-1, buffer, 6, 3), -EBADF);
	cr_expect_eq(strata__os_pwrite(-1, buffer, 6, 3), -EBADF);
	cr_expect_eq(strata__os_pread(fd, buffer, 0, 1000), 0);
}
