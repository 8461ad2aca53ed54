/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "newfile.h"
#include "os.h"
#include "strata/strata.h"

/**** a folder of the test's own ****/

static char folder[64];
static char path[128];

static void
make_folder(void)
{
	strcpy(folder, "/tmp/test-file-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/D07.strata", folder);
}

/* Files in the folder, hidden ones included. */
static int
nr_files(void)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int nr = 0;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir)) != NULL)
		nr += strcmp(entry->d_name, ".") != 0 &&
		      strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return nr;
}

static void
remove_folder(void)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir != NULL)
		closedir(dir);
	rmdir(folder);
}

TestSuite(file, .timeout = 60, .init = make_folder, .fini = remove_folder);

static struct strata_file_info
seven(void)
{
	struct strata_file_info info = {
		.dimension = 7, .frequency_min = 0.5, .frequency_max = 40};

	strcpy(info.name, "Emotions");
	return info;
}

static struct strata_file *
begin(void)
{
	struct strata_file_info info = seven();
	struct strata_file *file;

	cr_assert_eq(strata_file_begin(path, 0644, &info, &file), 0, "%s",
		     strata_last_error()->sentence);
	return file;
}

/* A file with one layer of some size at path. */
static void
write_one(size_t size)
{
	struct strata_file *file = begin();
	char *data = calloc(1, size + 1);

	cr_assert_eq(strata_file_add(file, 1, NULL, data, size), 0);
	cr_assert_eq(strata_file_commit(file), 0, "%s",
		     strata_last_error()->sentence);
	free(data);
}

static uint64_t
content_bytes(void)
{
	struct strata_file_info info;

	cr_assert_eq(strata_file_verify(path, 0, &info), 0, "%s",
		     strata_last_error()->sentence);
	return info.content_bytes;
}

static void
write_text(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	cr_assert_not_null(file);
	fputs(text, file);
	fclose(file);
}

/**** making ****/

Test(file, what_was_written_is_verified)
{
	const char *const keywords[] = {"calm", "warm"};
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	struct strata_file *file = begin();
	struct strata_file_info info;
	struct stat st;

	attrs.name = "base";
	attrs.frequency = 7.83;
	attrs.keywords = keywords;
	attrs.nr_keywords = 2;
	cr_assert_eq(strata_file_add(file, 5, &attrs, "hello", 5), 0);
	cr_assert_eq(strata_file_add(file, 2, NULL, NULL, 0), 0);
	cr_assert_eq(strata_file_commit(file), 0, "%s",
		     strata_last_error()->sentence);
	cr_assert_eq(strata_file_verify(path, 0, &info), 0, "%s",
		     strata_last_error()->sentence);
	cr_assert_eq(strata_file_verify(path, 1, NULL), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(info.dimension, 7);
	cr_expect_eq(info.immutable, 0);
	cr_expect_str_eq(info.name, "Emotions");
	cr_expect_eq(info.frequency_max, 40);
	cr_expect_eq(info.nr_layers, 2);
	cr_expect_eq(info.content_bytes, 5);
	cr_expect_eq(info.file_bytes, (uint64_t)st.st_size);
	cr_expect_eq(nr_files(), 1);
}

Test(file, the_mode_is_as_given_whatever_the_umask)
{
	struct strata_file_info info = seven();
	mode_t old = umask(077);
	struct strata_file *file;
	struct stat st;

	cr_assert_eq(strata_file_begin(path, 0664, &info, &file), 0);
	cr_assert_eq(strata_file_commit(file), 0);
	umask(old);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0664);
}

Test(file, nothing_is_there_before_the_commit_nor_after_an_abort)
{
	struct strata_file *file = begin();

	cr_assert_eq(strata_file_add(file, 5, NULL, "hello", 5), 0);
	cr_expect_eq(nr_files(), 0);
	strata_file_abort(file);
	strata_file_abort(NULL);
	cr_expect_eq(nr_files(), 0);
}

Test(file, a_layer_is_added_once)
{
	struct strata_file *file = begin();
	uint32_t i, layer;

	for (i = 0; i < 100000; i++) {
		layer = i * 21001 % 100003;
		cr_assert_eq(strata_file_add(file, layer, NULL, "", 1), 0);
		cr_assert_eq(strata_file_add(file, layer, NULL, "", 1),
			     STRATA_EEXIST);
	}
	cr_expect_eq(strata_last_error()->layer, layer);
	cr_expect_eq(strata_last_error()->dimension, 7);
	cr_assert_eq(strata_file_add(file, STRATA_LAYER_MAX, NULL, "", 1), 0);
	cr_assert_eq(strata_file_add(file, STRATA_LAYER_MAX, NULL, "", 1),
		     STRATA_EEXIST);
	cr_assert_eq(strata_file_commit(file), 0);
	cr_expect_eq(content_bytes(), 100001);
}

Test(file, nonsense_is_refused)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	struct strata_file_info info = seven();
	struct strata_file *file = NULL, *good = begin();

	cr_expect_eq(strata_file_begin(NULL, 0644, &info, &file),
		     STRATA_EINVAL);
	cr_expect_eq(strata_file_begin("", 0644, &info, &file), STRATA_EINVAL);
	cr_expect_eq(strata_file_begin(path, 010644, &info, &file),
		     STRATA_EINVAL);
	cr_expect_eq(strata_file_begin(path, 0644, NULL, &file), STRATA_EINVAL);
	info.dimension = 0;
	cr_expect_eq(strata_file_begin(path, 0644, &info, &file),
		     STRATA_EINVAL);
	info.dimension = STRATA_DIMENSION_MAX + 1;
	cr_expect_eq(strata_file_begin(path, 0644, &info, &file),
		     STRATA_EINVAL);
	info = seven();
	info.frequency_min = 41;
	cr_expect_eq(strata_file_begin(path, 0644, &info, &file),
		     STRATA_EINVAL);
	info.frequency_min = NAN;
	cr_expect_eq(strata_file_begin(path, 0644, &info, &file),
		     STRATA_EINVAL);
	info = seven();
	memset(info.name, 'x', sizeof(info.name));
	cr_expect_eq(strata_file_begin(path, 0644, &info, &file),
		     STRATA_EINVAL);
	cr_expect_null(file);

	attrs.frequency = INFINITY;
	cr_expect_eq(strata_file_add(good, 1, &attrs, "x", 1), STRATA_EINVAL);
	cr_expect_eq(strata_file_add(good, STRATA_LAYER_MAX + 1, NULL, "x", 1),
		     STRATA_EINVAL);
	cr_expect_eq(strata_file_add(good, 1, NULL, NULL, 1), STRATA_EINVAL);
	cr_expect_eq(strata_file_add(NULL, 1, NULL, "x", 1), STRATA_EINVAL);
	cr_expect_eq(strata_file_add_path(good, 1, NULL, NULL), STRATA_EINVAL);
	cr_expect_eq(strata_file_add_path(good, 1, NULL, folder),
		     STRATA_EINVAL);
	cr_expect_eq(strata_file_add_path(good, 1, NULL, "/nowhere/at/all"),
		     -ENOENT);
	/* And none of it left a trace. */
	cr_expect_eq(strata_file_add(good, 1, NULL, "x", 1), 0);
	cr_expect_eq(strata_file_commit(good), 0);
	cr_expect_eq(content_bytes(), 1);
	cr_expect_eq(strata_file_commit(NULL), STRATA_EINVAL);
}

Test(file, content_is_read_from_a_path)
{
	struct strata_file *file = begin();
	char source[160], link_[160];

	snprintf(source, sizeof(source), "%s/source", folder);
	snprintf(link_, sizeof(link_), "%s/link", folder);
	write_text(source, "hello");
	cr_assert_eq(symlink(source, link_), 0);
	cr_assert_eq(strata_file_add_path(file, 1, NULL, source), 0);
	cr_assert_eq(strata_file_add_path(file, 2, NULL, link_), 0);
	cr_assert_eq(strata_file_add_path(file, 2, NULL, link_), STRATA_EEXIST);
	cr_assert_eq(strata_file_commit(file), 0);
	cr_expect_eq(content_bytes(), 10);
}

Test(file, a_failure_leaves_the_old_file_and_no_other)
{
	struct strata_file *file;
	char source[160];

	write_one(11);
	file = begin();
	snprintf(source, sizeof(source), "%s/source", folder);
	write_text(source, "hello");
	cr_assert_eq(strata_file_add_path(file, 1, NULL, source), 0);
	write_text(source, "hello, world");
	cr_expect_eq(strata_file_commit(file), STRATA_EFORMAT);
	cr_expect_eq(nr_files(), 2);
	cr_expect_eq(content_bytes(), 11);
}

Test(file, a_disk_that_takes_no_more_is_an_error)
{
	struct rlimit limit = {300000, 300000};
	struct strata_file *file = begin();
	char *data = calloc(1, 400000);

	cr_assert_eq(strata_file_add(file, 1, NULL, data, 400000), 0);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_expect_eq(strata_file_commit(file), -EFBIG);
	cr_expect_eq(nr_files(), 0);
	free(data);
}

Test(file, a_commit_replaces_what_is_there)
{
	char other[160];
	struct stat st;

	write_one(11);
	write_one(12);
	cr_expect_eq(content_bytes(), 12);
	/* A link is replaced, what it points to is not. */
	snprintf(other, sizeof(other), "%s/other", folder);
	cr_assert_eq(rename(path, other), 0);
	cr_assert_eq(symlink(other, path), 0);
	write_one(13);
	cr_assert_eq(lstat(path, &st), 0);
	cr_expect(S_ISREG(st.st_mode));
	cr_expect_eq(strata_file_verify(other, 0, NULL), 0);
	cr_expect_eq(nr_files(), 2);
}

Test(file, a_path_that_names_no_file_is_refused)
{
	static const char *const bad[] = {"/tmp/", ".", "..", "/", "/tmp/.."};
	struct strata_file_info info = seven();
	struct strata_file *file;
	char name[400];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cr_assert_eq(strata_file_begin(bad[i], 0644, &info, &file), 0);
		cr_expect_eq(strata_file_commit(file), STRATA_EINVAL, "%s",
			     bad[i]);
	}
	cr_assert_eq(strata_file_begin("/nowhere/x", 0644, &info, &file), 0);
	cr_expect_eq(strata_file_commit(file), -ENOENT);
	cr_assert_eq(strata_file_begin(folder, 0644, &info, &file), 0);
	cr_expect_eq(strata_file_commit(file), -EISDIR, "%s",
		     strata_last_error()->sentence);
	i = (size_t)snprintf(name, sizeof(name), "%s/", folder);
	memset(name + i, 'x', 256);
	name[i + 256] = '\0';
	cr_assert_eq(strata_file_begin(name, 0644, &info, &file), 0);
	cr_expect_eq(strata_file_commit(file), -ENAMETOOLONG);
	name[i + 255] = '\0';
	cr_assert_eq(strata_file_begin(name, 0644, &info, &file), 0);
	cr_expect_eq(strata_file_commit(file), 0, "%s",
		     strata_last_error()->sentence);
	cr_expect_eq(nr_files(), 1);
}

/**** what killed writers leave ****/

Test(file, the_next_writer_clears_away_what_a_dead_one_left)
{
	char name[4][200];
	int i, fd;

	snprintf(name[0], 200, "%s/.D07.strata.0123456789abcdef.tmp", folder);
	snprintf(name[1], 200, "%s/.D07.strata.fedcba9876543210.tmp", folder);
	snprintf(name[2], 200, "%s/.D08.strata.0123456789abcdef.tmp", folder);
	snprintf(name[3], 200, "%s/.D07.strata.0123456789abcde.tmp", folder);
	for (i = 0; i < 4; i++)
		write_text(name[i], "half");
	/* One of them lives. */
	fd = open(name[1], O_RDWR | O_CLOEXEC);
	cr_assert_eq(strata__os_lock_try(fd, 0, 0), 0);
	write_one(5);
	cr_expect_eq(access(name[0], F_OK), -1, "its writer is dead");
	cr_expect_eq(access(name[1], F_OK), 0, "its writer lives");
	cr_expect_eq(access(name[2], F_OK), 0, "another file's");
	cr_expect_eq(access(name[3], F_OK), 0, "no name of ours");
	close(fd);
	write_one(5);
	cr_expect_eq(access(name[1], F_OK), -1, "its writer is dead now");
}

/* A temporary file in the folder, that nobody is at. */
static void
leave(char ret[200], const char *name)
{
	snprintf(ret, 200, "%s/%s", folder, name);
	write_text(ret, "half");
}

Test(file, a_sweep_clears_away_what_dead_writers_of_many_files_left)
{
	static const char *const gone[] = {
		".D07.strata.0123456789abcdef.tmp",
		".D123.strata.fedcba9876543210.tmp",
	};
	static const char *const kept[] = {
		".Dx.strata.0123456789abcdef.tmp", /* another's */
		".D07.strata.0123456789abcdeg.tmp",
		".D07.strata.00123456789abcdef.tmp",
		".D07.strata.0123456789abcdef.tmp2",
		"xD07.strata.0123456789abcdef.tmp",
		".0123456789abcdef.tmp",
		"..0123456789abcdef.tmp",
		"D07.strata",
	};
	char name[200];
	size_t i;
	int fd;

	for (i = 0; i < sizeof(gone) / sizeof(*gone); i++)
		leave(name, gone[i]);
	for (i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		leave(name, kept[i]);
	leave(name, ".D08.strata.0123456789abcdef.tmp");
	fd = open(name, O_RDWR | O_CLOEXEC);
	cr_assert_eq(strata__os_lock_try(fd, 0, 0), 0);
	strata__newfile_sweep(folder, "D[0-9]*.strata");
	cr_expect_eq(access(name, F_OK), 0, "its writer lives");
	for (i = 0; i < sizeof(gone) / sizeof(*gone); i++) {
		snprintf(name, sizeof(name), "%s/%s", folder, gone[i]);
		cr_expect_eq(access(name, F_OK), -1, "%s", gone[i]);
	}
	for (i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		snprintf(name, sizeof(name), "%s/%s", folder, kept[i]);
		cr_expect_eq(access(name, F_OK), 0, "%s", kept[i]);
	}
	close(fd);
	strata__newfile_sweep("/nowhere", "*");
}

Test(file, gc_sweeps_the_directory_of_its_store)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .directory = folder};
	char left[3][200], shm[100];
	struct strata_store *store;

	strcpy(shm, "/dev/shm/test-file-XXXXXX");
	cr_assert_not_null(mkdtemp(shm));
	setenv("STRATA_SHM_DIR", shm, 1);
	cr_assert_eq(strata_create("sweep", &config), 0, "%s",
		     strata_last_error()->sentence);
	leave(left[0], ".D40.strata.0123456789abcdef.tmp");
	leave(left[1], ".store.0123456789abcdef.tmp");
	leave(left[2], ".mine.0123456789abcdef.tmp");
	cr_assert_eq(strata_attach("sweep", STRATA_WRITE, &store), 0);
	(void)strata_gc(store, NULL); /* not everywhere is there a membarrier */
	cr_expect_eq(access(left[0], F_OK), -1);
	cr_expect_eq(access(left[1], F_OK), -1);
	cr_expect_eq(access(left[2], F_OK), 0, "no name of ours");
	strata_detach(store);
	cr_expect_eq(strata_destroy("sweep"), 0);
	cr_expect_eq(rmdir(shm), 0, "the store left something");
}

static const struct strata__newfile_wish plain = {
	.mode = 0600, .group = STRATA_NEWFILE_ANY_GROUP, .size = 3};
static const struct strata__newfile_wish alone = {
	.mode = 0600, .group = STRATA_NEWFILE_ANY_GROUP, .revoke = true};

Test(file, two_writers_of_one_file_do_not_meet)
{
	struct strata__newfile one, two;

	cr_assert_eq(strata__newfile_open(path, &plain, &one), 0);
	cr_assert_eq(strata__newfile_open(path, &plain, &two), 0);
	cr_expect_eq(nr_files(), 2);
	cr_assert_eq(write(one.fd, "one", 3), 3);
	cr_expect_eq(strata__newfile_finish(&one), 0);
	strata__newfile_discard(&two);
	cr_expect_eq(nr_files(), 1);
	cr_expect_eq(access(path, F_OK), 0);
}

Test(file, a_writer_that_is_revoked_finishes_nothing)
{
	struct strata__newfile one, two;

	write_one(11);
	cr_assert_eq(strata__newfile_open(path, &plain, &one), 0);
	cr_assert_eq(write(one.fd, "one", 3), 3);
	cr_assert_eq(strata__newfile_open(path, &alone, &two), 0);
	cr_expect_eq(nr_files(), 2, "the file and the newer writer's");
	cr_expect_eq(strata__newfile_finish(&one), -ENOENT);
	cr_expect_not_null(strstr(strata_last_error()->sentence, "newer"),
			   "%s", strata_last_error()->sentence);
	cr_expect_eq(content_bytes(), 11);
	cr_expect_eq(strata__newfile_revoke(path), 0);
	cr_expect_eq(strata__newfile_finish(&two), -ENOENT);
	cr_expect_eq(content_bytes(), 11);
	cr_expect_eq(nr_files(), 1);
	cr_expect_eq(strata__newfile_revoke("/nowhere/x"), -ENOENT);
	cr_expect_eq(strata__newfile_revoke("/"), STRATA_EINVAL);
}

Test(file, group_and_mode_are_as_wished_or_it_is_refused)
{
	struct strata__newfile_wish wish = {.mode = 0640, .group = 54321};
	struct strata__newfile file;
	struct stat st;

	umask(077);
	if (geteuid() != 0) {
		cr_assert_eq(strata__newfile_open(path, &wish, &file), 0);
		cr_expect_eq(strata__newfile_finish(&file), -EPERM);
		cr_expect_eq(nr_files(), 0);
		/* Nothing is given to the group. */
		wish.mode = 0604;
	}
	cr_assert_eq(strata__newfile_open(path, &wish, &file), 0);
	cr_assert_eq(strata__newfile_finish(&file), 0, "%s",
		     strata_last_error()->sentence);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, wish.mode);
	if (geteuid() == 0)
		cr_expect_eq(st.st_gid, 54321);
}

Test(file, is_told_from_others_byte_by_byte)
{
	static const char bytes[] = "0123456789";
	char link_[160];

	write_text(path, bytes);
	cr_expect_eq(strata__newfile_is(path, bytes, 10), 1);
	cr_expect_eq(strata__newfile_is(path, bytes, 9), 0, "it is longer");
	cr_expect_eq(strata__newfile_is(path, bytes, 11), 0, "it is shorter");
	cr_expect_eq(strata__newfile_is(path, "0123456780", 10), 0);
	snprintf(link_, sizeof(link_), "%s/link", folder);
	cr_assert_eq(symlink(path, link_), 0);
	cr_expect_eq(strata__newfile_is(link_, bytes, 10), 0,
		     "what a link names may change");
	cr_expect_eq(strata__newfile_is(folder, bytes, 10), 0);
	cr_expect_eq(strata__newfile_is("/nowhere/x", bytes, 10), 0);
}

/**** copying ****/

Test(file, an_image_is_copied_whole_or_refused)
{
	char other[160];
	int in, out;
	struct stat st;

	write_one(600000);
	snprintf(other, sizeof(other), "%s/other", folder);
	in = open(path, O_RDONLY | O_CLOEXEC);
	out = open(other, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(fstat(in, &st), 0);
	cr_expect_eq(strata__image_copy(in, out, (uint64_t)st.st_size, path,
					NULL),
		     0);
	cr_expect_eq(strata_file_verify(other, 0, NULL), 0);
	cr_expect_eq(strata__image_copy(in, out, (uint64_t)st.st_size + 1, path,
					NULL),
		     STRATA_EFORMAT, "it is shorter than that");
	close(out);
	out = open("/dev/full", O_WRONLY | O_CLOEXEC);
	cr_expect_eq(strata__image_copy(in, out, 1000, path, NULL), -ENOSPC);
	cr_expect_eq(strata_last_error()->requested, 1000);
	cr_expect_not_null(strstr(strata_last_error()->sentence,
				  "are free; nothing was changed: make room"),
			   "%s", strata_last_error()->sentence);
	cr_expect_eq(strata__image_copy(out, in, 1000, path, NULL), -EBADF);
	close(in);
	close(out);
}

/**** verify, path ****/

Test(file, what_is_no_dimension_file_is_refused)
{
	char other[160];

	cr_expect_eq(strata_file_verify(NULL, 0, NULL), STRATA_EINVAL);
	cr_expect_eq(strata_file_verify(path, 0, NULL), -ENOENT);
	cr_expect_eq(strata_file_verify(folder, 0, NULL), STRATA_EFORMAT);
	cr_expect_eq(strata_file_verify("/dev/zero", 0, NULL), STRATA_EFORMAT);
	snprintf(other, sizeof(other), "%s/fifo", folder);
	cr_assert_eq(mkfifo(other, 0600), 0);
	cr_expect_eq(strata_file_verify(other, 0, NULL), STRATA_EFORMAT);
	write_text(path, "");
	cr_expect_eq(strata_file_verify(path, 0, NULL), STRATA_EFORMAT);
	write_text(path, "hello");
	cr_expect_eq(strata_file_verify(path, 0, NULL), STRATA_EFORMAT);
	write_one(100);
	cr_assert_eq(truncate(path, 512), 0);
	cr_expect_eq(strata_file_verify(path, 0, NULL), STRATA_EFORMAT);
	cr_expect_eq(strata_last_error()->size, 512);
}

Test(file, the_path_of_a_dimension_has_two_digits_or_more)
{
	char buffer[40] = "untouched";

	cr_expect_eq(strata_file_path("DIR", 7, buffer, sizeof(buffer)), 0);
	cr_expect_str_eq(buffer, "DIR/D07.strata");
	cr_expect_eq(strata_file_path("DIR", 262143, buffer, 19), 0);
	cr_expect_str_eq(buffer, "DIR/D262143.strata");
	strcpy(buffer, "untouched");
	cr_expect_eq(strata_file_path("DIR", 262143, buffer, 18),
		     STRATA_EINVAL);
	cr_expect_eq(strata_file_path("DIR", 0, buffer, 40), STRATA_EINVAL);
	cr_expect_eq(strata_file_path("DIR", 262144, buffer, 40),
		     STRATA_EINVAL);
	cr_expect_eq(strata_file_path(NULL, 1, buffer, 40), STRATA_EINVAL);
	cr_expect_str_eq(buffer, "untouched");
}
