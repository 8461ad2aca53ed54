/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A folder of segments of a test's own, instead of /dev/shm itself. */
#ifndef STRATA_TEST_FOLDER_H
#define STRATA_TEST_FOLDER_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "segment.h"

static char folder_path[64];
static struct strata__folder folder;
static pid_t folder_owner;

static void folder_at_exit(void);

static void
folder_setup(void)
{
	snprintf(folder_path, sizeof(folder_path), "/dev/shm/unit-XXXXXX");
	cr_assert_not_null(mkdtemp(folder_path));
	folder_owner = getpid();
	cr_assert_eq(atexit(folder_at_exit), 0);
	setenv("STRATA_SHM_DIR", folder_path, 1);
	cr_assert_eq(strata__folder_open(&folder), 0);
}

/* Number of files in it; removes them when told to. */
static unsigned
folder_files(bool remove)
{
	DIR *dir = opendir(folder_path);
	struct dirent *entry;
	unsigned nr = 0;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' &&
		    strncmp(entry->d_name, ".strata", 7) != 0)
			continue;
		nr++;
		if (remove)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
	return nr;
}

struct files {
	unsigned nr;
	uint64_t bytes; /* of memory that they really take */
};

/* The files in it that have such a part in their names. */
static inline struct files
files_like(const char *part)
{
	DIR *dir = opendir(folder_path);
	struct files files = {0};
	struct dirent *entry;
	struct stat st;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (strstr(entry->d_name, part) == NULL ||
		    fstatat(dirfd(dir), entry->d_name, &st, 0) != 0)
			continue;
		files.nr++;
		files.bytes += (uint64_t)st.st_blocks * 512;
	}
	closedir(dir);
	return files;
}

/* Of the segments; not what others have put there. */
static inline uint64_t
bytes_of_files(void)
{
	return files_like("strata").bytes;
}

/* The segments belong to another user from here on. */
static inline void
files_give_away(uid_t uid)
{
	DIR *dir = opendir(folder_path);
	struct dirent *entry;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, "strata", 6) == 0)
			cr_assert_eq(fchownat(dirfd(dir), entry->d_name, uid,
					      (gid_t)-1, 0),
				     0);
	closedir(dir);
}

/* Of this process, and what the count itself takes. */
static inline unsigned
nr_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned nr = 0;

	cr_assert_not_null(dir);
	while (readdir(dir) != NULL)
		nr++;
	closedir(dir);
	return nr;
}

static void
folder_teardown(void)
{
	folder_files(/* remove= */ true);
	rmdir(folder_path);
	strata__folder_close(&folder);
}

/* A test that is skipped has no teardown. */
static void
folder_at_exit(void)
{
	if (folder_owner != getpid() || access(folder_path, F_OK) != 0)
		return;
	folder_files(/* remove= */ true);
	rmdir(folder_path);
}

#endif
