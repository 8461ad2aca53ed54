/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Watches from outside how much memory the files of a folder have; a program of
 * its own, which uses nothing of the library. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/*
 *	shm-watch FOLDER LIMIT [OTHERS]
 *
 * looks again and again until its input ends, and prints
 *
 *	samples N most M violations V
 *
 * Files are looked at one after the other, while others give memory back in one
 * and take it in the next. So two passes are made: at the instant between them
 * each file had the lesser of its two sizes at least, since it does nothing but
 * grow, or nothing but shrink, in so short a time. With OTHERS, the bytes of what
 * is not to be counted, the whole file system is asked, too, which knows of files
 * without names.
 */

#define FILES_MAX 4096

struct file {
	ino_t inode;
	uint64_t bytes;
};

struct pass {
	struct file files[FILES_MAX];
	size_t nr;
	uint64_t all; /* of the file system */
};

static struct pass before, after;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
look(DIR *dir, bool ask_all, struct pass *pass)
{
	const struct dirent *entry;
	struct statvfs vfs;
	struct stat st;

	pass->nr = 0;
	rewinddir(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (fstatat(dirfd(dir), entry->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) != 0 ||
		    !S_ISREG(st.st_mode) ||
		    strncmp(entry->d_name, "strata", 6) != 0)
			continue;
		if (pass->nr == FILES_MAX)
			die("too many files");
		pass->files[pass->nr].inode = st.st_ino;
		pass->files[pass->nr++].bytes = (uint64_t)st.st_blocks * 512;
	}
	pass->all = 0;
	if (!ask_all)
		return;
	if (fstatvfs(dirfd(dir), &vfs) != 0)
		die("fstatvfs");
	pass->all = (uint64_t)(vfs.f_blocks - vfs.f_bfree) * vfs.f_frsize;
}

/* What the files had at least, at the instant between the two passes. */
static uint64_t
least(void)
{
	uint64_t sum = 0;
	size_t i, j;

	for (i = 0; i < before.nr; i++)
		for (j = 0; j < after.nr; j++) {
			if (before.files[i].inode != after.files[j].inode)
				continue;
			sum += before.files[i].bytes < after.files[j].bytes
				       ? before.files[i].bytes
				       : after.files[j].bytes;
			break;
		}
	return sum;
}

static bool
input_ended(void)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&in, 1, 0) != 0;
}

int
main(int argc, char **argv)
{
	uint64_t limit, sum, all, most = 0, samples = 0, violations = 0;
	uint64_t others = 0;
	bool ask_all = argc == 4;
	DIR *dir;

	if (argc != 3 && argc != 4)
		return 2;
	dir = opendir(argv[1]);
	if (dir == NULL)
		die(argv[1]);
	limit = strtoull(argv[2], NULL, 10);
	if (ask_all)
		others = strtoull(argv[3], NULL, 10);
	do {
		look(dir, ask_all, &before);
		look(dir, ask_all, &after);
		sum = least();
		all = before.all < after.all ? before.all : after.all;
		if (all > others && sum < all - others)
			sum = all - others;
		samples++;
		violations += sum > limit;
		if (most < sum)
			most = sum;
		sched_yield();
	} while (!input_ended());
	printf("samples %" PRIu64 " most %" PRIu64 " violations %" PRIu64 "\n",
	       samples, most, violations);
	closedir(dir);
	return 0;
}
