/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Segments: unseen until published, refused when not to be trusted. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "error.h"
#include "folder.h"

TestSuite(segment, .init = folder_setup, .fini = folder_teardown,
	  .timeout = 20);

#define SIZE (UINT64_C(3) << 20)

static int
build(uint64_t size, uint32_t mode)
{
	int fd = -1;

	cr_assert_eq(
		strata__segment_build(&folder, size, mode, (uint32_t)-1, &fd),
		0, "%s", strata_last_error()->sentence);
	return fd;
}

static void
publish(const char *name, uint32_t mode)
{
	int fd = build(4096, mode);

	cr_assert_eq(strata__segment_publish(&folder, fd, name), 0, "%s",
		     strata_last_error()->sentence);
	close(fd);
}

static int
reopen(const char *name, uint32_t trusted_uid, uint32_t group)
{
	uint64_t size;
	int fd = -1;
	int code = strata__segment_open(&folder, name, /* writable= */ false,
					trusted_uid, group, &fd, &size);

	if (code == 0)
		close(fd);
	return code;
}

static int
reopen_trusting_nobody(const char *name)
{
	return reopen(name, STRATA_TRUST_NOBODY, STRATA_GROUP_NONE);
}

/* A program that closed stdout may print all the same. */
Test(segment, none_gets_a_number_of_stdio)
{
	uint64_t size = 0;
	int kept, built = -1, opened = -1;

	kept = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 100);
	cr_assert_geq(kept, 100);
	close(STDIN_FILENO);
	cr_expect_eq(strata__segment_build(&folder, 4096, 0600, (uint32_t)-1,
					   &built),
		     0);
	cr_expect_gt(built, STDERR_FILENO);
	cr_expect_eq(strata__segment_publish(&folder, built, "stdio"), 0);
	cr_expect_eq(strata__segment_open(&folder, "stdio", true,
					  STRATA_TRUST_NOBODY, STRATA_GROUP_ANY,
					  &opened, &size),
		     0);
	cr_expect_gt(opened, STDERR_FILENO);
	dup2(kept, STDIN_FILENO);
	close(kept);
	close(built);
	close(opened);
}

static struct folder_race {
	pthread_barrier_t start;
	struct strata__folder *folder;
} folder_race;

static void *
mend(void *arg)
{
	(void)arg;
	(void)pthread_barrier_wait(&folder_race.start);
	return strata__folder_mend(folder_race.folder) == 0 ? arg : NULL;
}

/* A program has closed what it does not know. */
Test(segment, threads_that_open_the_folder_again_leave_one_descriptor)
{
	unsigned before = nr_descriptors();
	pthread_t threads[2];

	folder_race.folder = &folder;
	cr_assert_eq(pthread_barrier_init(&folder_race.start, NULL, 2), 0);
	for (int i = 0; i < 300; i++) {
		close(folder.fd);
		/* Else both would get this number again. */
		(void)fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, folder.fd);
		for (int j = 0; j < 2; j++)
			cr_assert_eq(pthread_create(&threads[j], NULL, mend,
						    &folder_race),
				     0);
		for (int j = 0; j < 2; j++) {
			void *ret;

			cr_assert_eq(pthread_join(threads[j], &ret), 0);
			cr_assert_not_null(ret);
		}
		cr_assert(strata__os_is_file(folder.fd, &folder.id));
	}
	pthread_barrier_destroy(&folder_race.start);
	cr_expect_eq(nr_descriptors(), before + 300, "those of this test");
}

Test(segment, names_are_as_documented)
{
	struct strata__id id = {{0x00, 0x01, 0xab}};
	char buf[STRATA_SEGMENT_NAME];

	strata__segment_name_catalog(buf, "core");
	cr_expect_str_eq(buf, "strata.core");
	strata__segment_name_pool(buf, &id, 3);
	cr_expect_str_eq(buf, "strata-0001ab00000000000000000000000000-pool3");
	strata__segment_name_lock(buf, &id);
	cr_expect_str_eq(buf, "strata-0001ab00000000000000000000000000-lock");
	strata__segment_name_region(buf, &id, UINT64_MAX);
	cr_expect_str_eq(buf, "strata-0001ab00000000000000000000000000-"
			      "region18446744073709551615");
	strata__segment_name_pins(buf, &id, UINT32_MAX, 3);
	cr_expect_str_eq(
		buf,
		"strata-0001ab00000000000000000000000000-pins4294967295.3");
}

Test(segment, store_names_are_checked)
{
	char longest[STRATA_STORE_NAME_MAX + 2];
	const char *bad[] = {"",         ".x",  "a/b", "a b", "..",
			     "\xc3\xa9", "a\n", "a*",  ".",   NULL};
	size_t i;

	memset(longest, 'a', sizeof(longest));
	longest[STRATA_STORE_NAME_MAX + 1] = '\0';
	cr_expect_eq(strata__store_name_check(longest), STRATA_ENAME);
	longest[STRATA_STORE_NAME_MAX] = '\0';
	cr_expect_eq(strata__store_name_check(longest), 0);
	cr_expect_eq(strata__store_name_check("Core-1.x_y"), 0);
	cr_expect_eq(strata__store_name_check("-"), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(strata__store_name_check(bad[i]), STRATA_ENAME,
			     "%s", bad[i] != NULL ? bad[i] : "NULL");
}

Test(segment, is_unseen_until_published)
{
	int fd = build(SIZE, 0640);
	struct stat st;

	cr_expect_eq(folder_files(false), 0);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_expect_eq(st.st_size, SIZE);
	cr_expect_geq((uint64_t)st.st_blocks * 512, SIZE, "no holes");
	cr_expect_eq(st.st_mode & 07777, 0640, "whatever the umask");
	cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	cr_expect_eq(strata__segment_publish(&folder, fd, "a"), 0);
	cr_expect_eq(folder_files(false), 1);
	close(fd);
	cr_expect_eq(reopen_trusting_nobody("a"), 0);
}

Test(segment, umask_does_not_interfere)
{
	struct stat st;
	int fd;

	umask(0777);
	fd = build(0, 0664);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0664);
	cr_expect_eq(st.st_size, 0);
}

Test(segment, a_name_that_is_taken_stays_with_its_owner)
{
	struct stat before, after;
	int fd = build(4096, 0600);

	publish("a", 0600);
	cr_assert_eq(fstatat(folder.fd, "a", &before, 0), 0);
	cr_expect_eq(strata__segment_publish(&folder, fd, "a"), STRATA_EEXIST);
	cr_expect_eq(strata_last_error()->code, STRATA_EEXIST);
	cr_assert_eq(fstatat(folder.fd, "a", &after, 0), 0);
	cr_expect_eq(before.st_ino, after.st_ino);
	strata__segment_discard(&folder, fd);
	cr_expect_eq(folder_files(false), 1);
}

Test(segment, one_that_is_not_there_is_untold)
{
	strata__fail(STRATA_EBUSY, "old");
	cr_expect_eq(reopen_trusting_nobody("a"), -ENOENT);
	cr_expect_eq(strata__segment_unlink(&folder, "a"), -ENOENT);
	cr_expect_str_eq(strata_last_error()->sentence, "old");
}

Test(segment, strange_files_are_refused)
{
	publish("a", 0600);
	cr_assert_eq(symlinkat("a", folder.fd, "link"), 0);
	cr_assert_eq(mkfifoat(folder.fd, "fifo", 0600), 0);
	cr_assert_eq(mkdirat(folder.fd, "dir", 0700), 0);
	cr_expect_eq(reopen_trusting_nobody("link"), STRATA_EOWNER);
	cr_expect_eq(reopen_trusting_nobody("fifo"), STRATA_EOWNER);
	cr_expect_eq(reopen_trusting_nobody("dir"), STRATA_EOWNER);
	cr_assert_eq(linkat(folder.fd, "a", folder.fd, "b", 0), 0);
	cr_expect_eq(reopen_trusting_nobody("a"), STRATA_EOWNER,
		     "two names: somebody may keep it for later");
	unlinkat(folder.fd, "dir", AT_REMOVEDIR);
}

Test(segment, writable_by_others_is_refused)
{
	publish("a", 0602);
	cr_expect_eq(reopen_trusting_nobody("a"), STRATA_EOWNER);
	publish("b", 0660);
	cr_expect_eq(reopen_trusting_nobody("b"), STRATA_EOWNER);
	cr_expect_eq(reopen("b", STRATA_TRUST_NOBODY, getegid()), 0);
	cr_expect_eq(reopen("b", STRATA_TRUST_NOBODY, getegid() + 1),
		     STRATA_EOWNER);
	cr_expect_eq(reopen("b", STRATA_TRUST_NOBODY, STRATA_GROUP_ANY), 0);
}

Test(segment, owners_have_to_be_trusted)
{
	if (geteuid() != 0)
		cr_skip("needs root");
	publish("a", 0640);
	cr_assert_eq(fchownat(folder.fd, "a", 12345, 23456, 0), 0);
	cr_expect_eq(reopen_trusting_nobody("a"), STRATA_EOWNER);
	cr_expect_neq(strstr(strata_last_error()->sentence, "12345"), NULL);
	cr_expect_eq(reopen("a", 12346, 23456), STRATA_EOWNER);
	cr_expect_eq(reopen("a", 12345, STRATA_GROUP_NONE), 0);
	cr_expect_eq(reopen("a", STRATA_TRUST_NOBODY, 23456), STRATA_EOWNER);
	cr_expect_eq(reopen("a", STRATA_TRUST_GROUP, 23456), 0);
	cr_expect_eq(reopen("a", STRATA_TRUST_GROUP, 23457), STRATA_EOWNER);
	cr_expect_eq(reopen("a", STRATA_TRUST_GROUP, STRATA_GROUP_NONE),
		     STRATA_EOWNER);
}

/* A tmpfs of its own, as small as it takes. */
static bool
small_folder(const char *options)
{
	if (geteuid() != 0)
		return false;
	strata__folder_close(&folder);
	if (mount("unit", folder_path, "tmpfs", 0, options) != 0)
		return false;
	return strata__folder_open(&folder) == 0;
}

/* Before folder_teardown(). */
static void
small_folder_end(void)
{
	strata__folder_close(&folder);
	umount2(folder_path, MNT_DETACH);
}

Test(segment, a_full_folder_is_told_in_numbers, .fini = small_folder_end)
{
	struct stat st;
	int fd = -1;

	if (!small_folder("size=4m"))
		cr_skip("cannot mount");
	cr_expect_eq(strata__folder_free(&folder), UINT64_C(4) << 20);
	cr_expect_eq(strata__segment_build(&folder, UINT64_C(5) << 20, 0600,
					   (uint32_t)-1, &fd),
		     STRATA_ESHM);
	cr_expect_eq(fd, -1);
	cr_expect_eq(strata_last_error()->requested, UINT64_C(5) << 20);
	cr_expect_eq(strata_last_error()->sys_errno, ENOSPC);
	cr_expect_eq(strata__folder_free(&folder), UINT64_C(4) << 20);
	cr_expect_null(strstr(strata_last_error()->sentence, "--shm-size"));

	fd = build(UINT64_C(3) << 20, 0600);
	cr_expect_eq(strata__segment_reserve(&folder, fd, UINT64_C(3) << 20,
					     UINT64_C(3) << 20),
		     STRATA_ESHM);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_expect_eq(st.st_size, 3 << 20, "it has its old size");
	cr_expect_eq(strata__segment_reserve(&folder, fd, UINT64_C(3) << 20,
					     UINT64_C(1) << 20),
		     0);
	close(fd);
}

Test(segment, the_default_of_containers_is_recognised, .fini = small_folder_end)
{
	int fd;

	if (!small_folder("size=64m"))
		cr_skip("cannot mount");
	cr_expect_eq(strata__segment_build(&folder, UINT64_C(65) << 20, 0600,
					   (uint32_t)-1, &fd),
		     STRATA_ESHM);
	cr_expect_not_null(strstr(strata_last_error()->sentence, "--shm-size"));
	cr_expect_not_null(strstr(strata_last_error()->sentence, "emptyDir"));
}

/* Every file system here has O_TMPFILE: the library's calls meet this instead.
 */
static bool no_tmpfile;

int
openat(int dir_fd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	if ((flags & O_TMPFILE) == O_TMPFILE && no_tmpfile) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
}

Test(segment, works_without_unnamed_files)
{
	int fd, other;

	no_tmpfile = true;
	fd = build(4096, 0600);
	other = build(0, 0600);
	cr_expect_eq(folder_files(false), 2, "hidden, but there");
	cr_expect_eq(strata__segment_publish(&folder, fd, "a"), 0);
	cr_expect_eq(strata__segment_publish(&folder, other, "a"),
		     STRATA_EEXIST);
	cr_expect_eq(reopen_trusting_nobody("a"), 0);
	strata__segment_discard(&folder, other);
	cr_expect_eq(folder_files(false), 1);
	close(fd);
}

Test(segment, a_folder_that_is_none_is_refused)
{
	struct strata__folder other;

	setenv("STRATA_SHM_DIR", "/dev/null", 1);
	cr_expect_eq(strata__folder_open(&other), -ENOTDIR);
	setenv("STRATA_SHM_DIR", "/nowhere/at/all", 1);
	cr_expect_eq(strata__folder_open(&other), -ENOENT);
	cr_expect_not_null(
		strstr(strata_last_error()->sentence, "/nowhere/at/all"));
	unsetenv("STRATA_SHM_DIR");
	cr_assert_eq(strata__folder_open(&other), 0);
	cr_expect_str_eq(other.path, "/dev/shm");
	strata__folder_close(&other);
}

/**** heads ****/

static struct strata__head
head_new(enum strata__kind kind)
{
	struct strata__id id = {{1, 2, 3}};
	struct strata__head head;

	memset(&head, 0, sizeof(head));
	strata__head_stamp(&head, kind, 4, &id, 7, 8192);
	return head;
}

static int
check(const struct strata__head *head)
{
	struct strata__id id = {{1, 2, 3}};

	return strata__head_check(head, "x", STRATA_KIND_REGION, &id, 7, 8192);
}

Test(segment, a_head_that_was_stamped_is_accepted)
{
	struct strata__head head = head_new(STRATA_KIND_REGION);

	cr_expect_eq(head.index, 4);
	cr_expect_eq(check(&head), 0);
	cr_expect_eq(
		strata__head_check(&head, "x", STRATA_KIND_REGION, NULL, 0, 0),
		0);
}

Test(segment, a_head_of_something_else_is_refused)
{
	struct strata__head good = head_new(STRATA_KIND_REGION), head = good;

	head.magic++;
	cr_expect_eq(check(&head), STRATA_ECORRUPT);
	head = good;
	head.layout_minor++;
	cr_expect_eq(check(&head), 0, "a newer minor is fine");
	head.layout_major++;
	cr_expect_eq(check(&head), STRATA_ELAYOUT);
	head = good;
	head.kind = STRATA_KIND_LOCK;
	cr_expect_eq(check(&head), STRATA_ECORRUPT);
	head = good;
	head.store_id.bytes[15]++;
	cr_expect_eq(check(&head), STRATA_ECORRUPT);
	head = good;
	head.generation++;
	cr_expect_eq(check(&head), STRATA_ECORRUPT);
	head = good;
	head.size = 4096;
	cr_expect_eq(check(&head), STRATA_ECORRUPT);
	head = good;
	head.boot_id.bytes[0]++;
	cr_expect_eq(check(&head), STRATA_EBOOT);
	memset(&head.boot_id, 0, sizeof(head.boot_id));
	cr_expect_eq(check(&head), 0, "made where there was no /proc");
}

Test(segment, a_pool_may_have_grown)
{
	struct strata__head head = head_new(STRATA_KIND_POOL);

	cr_expect_eq(strata__head_check(&head, "x", STRATA_KIND_POOL, NULL, 0,
					81920),
		     0);
	cr_expect_eq(
		strata__head_check(&head, "x", STRATA_KIND_POOL, NULL, 0, 4096),
		STRATA_ECORRUPT);
}
