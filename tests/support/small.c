/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A /dev/shm of the test's own, as small as it wants. */
#include "small.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"

static char place[96];

static bool
write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 &&
		  write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Without privileges there may be a user namespace to be had, in which we stay
 * who we are. */
static bool
enter_namespace(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char users[32], groups[32];

	if (unshare(CLONE_NEWNS) == 0)
		return true;
	snprintf(users, sizeof(users), "%u %u 1", uid, uid);
	snprintf(groups, sizeof(groups), "%u %u 1", gid, gid);
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
	       write_text("/proc/self/setgroups", "deny") &&
	       write_text("/proc/self/uid_map", users) &&
	       write_text("/proc/self/gid_map", groups);
}

static bool
mount_over(const char *folder, const char *options)
{
	return enter_namespace() &&
	       mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", folder, "tmpfs", 0, options) == 0;
}

/* A child tries it first: who gets half of the way is nobody afterwards. */
static bool
is_allowed(const char *folder, const char *options)
{
	pid_t pid = fork();
	int status;

	need(pid >= 0, "fork");
	if (pid == 0)
		_exit(mount_over(folder, options) ? 0 : 1);
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	return status == 0;
}

bool
small_begin(const char *folder, uint64_t bytes)
{
	char options[64];

	snprintf(options, sizeof(options), "mode=0700,size=%" PRIu64, bytes);
	if (!is_allowed(folder, options) || !mount_over(folder, options))
		return false;
	snprintf(place, sizeof(place), "%s", folder);
	return true;
}

void
small_resize(uint64_t bytes)
{
	char options[64];

	snprintf(options, sizeof(options), "size=%" PRIu64, bytes);
	need(mount("none", place, NULL, MS_REMOUNT, options) == 0,
	     "remount with %s: %s", options, strerror(errno));
}

uint64_t
small_used(void)
{
	struct statvfs st;

	need(statvfs(place, &st) == 0, "statvfs: %s", strerror(errno));
	return (uint64_t)(st.f_blocks - st.f_bfree) * st.f_frsize;
}

void
small_end(void)
{
	need(umount2(place, MNT_DETACH) == 0, "umount: %s", strerror(errno));
	place[0] = '\0';
}
