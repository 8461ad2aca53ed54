/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Opening what a manifest names without leaving the manifest's folder. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "plan.h"

/*
 * A manifest may come from anybody, and what it names becomes readable to all
 * who read the store: it must not name /etc/shadow, nor do so through a link
 * that came along in the same archive.
 */

/* A named pipe must not block us; it is refused when it is seen. */
#define FILE_FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

/* The part of a path from at to the next slash, in buffer. */
static const char *
component_next(const char *at, char buffer[NAME_MAX + 1])
{
	size_t length = strcspn(at, "/");

	if (length > NAME_MAX)
		return NULL;
	memcpy(buffer, at, length);
	buffer[length] = '\0';
	return at + length + strspn(at + length, "/");
}

static bool
has_dot_dot(const char *path)
{
	char component[NAME_MAX + 1];

	while (path != NULL && *path != '\0') {
		path = component_next(path, component);
		if (path != NULL && strcmp(component, "..") == 0)
			return true;
	}
	return false;
}

/*
 * Where the kernel has no openat2(), or a sandbox hides it: component by
 * component, and without any symbolic link, since we could not tell whether it
 * leads out.
 */
static int
walk_beneath(int folder_fd, const char *path)
{
	char component[NAME_MAX + 1];
	int fd = fcntl(folder_fd, F_DUPFD_CLOEXEC, 0);
	int next, error;
	bool last;

	while (fd >= 0 && *path != '\0') {
		path = component_next(path, component);
		if (path == NULL) {
			next = -1;
			error = ENAMETOOLONG;
		} else {
			/* What a slash follows is a folder, or refused. */
			last = *path == '\0' && path[-1] != '/';
			next = openat(fd, component,
				      FILE_FLAGS | O_NOFOLLOW |
					      (last ? 0 : O_DIRECTORY));
			error = errno;
		}
		close(fd);
		fd = next;
		if (fd < 0) {
			errno = error;
			return -1;
		}
	}
	return fd;
}

static int
open_beneath(int folder_fd, const char *path)
{
	struct open_how how = {
		.flags = FILE_FLAGS,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, folder_fd, path, &how, sizeof(how));

	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = walk_beneath(folder_fd, path);
	return fd;
}

static const char *
reason_of(int error)
{
	switch (error) {
	case EXDEV:
		return "leads out of the manifest's folder by a symbolic link";
	case ELOOP:
		return "leads through a symbolic link";
	default:
		return strerror(error);
	}
}

bool
beneath_check(int folder_fd, const char *path, uint64_t *ret_size,
	      const char **ret_reason)
{
	struct stat st;
	int fd;

	if (*path == '\0' || *path == '/' || has_dot_dot(path)) {
		*ret_reason = "must be a path inside the manifest's folder, "
			      "without a leading slash and without '..'";
		return false;
	}
	fd = open_beneath(folder_fd, path);
	if (fd < 0) {
		*ret_reason = reason_of(errno);
		return false;
	}
	if (fstat(fd, &st) != 0) {
		*ret_reason = strerror(errno);
	} else if (!S_ISREG(st.st_mode)) {
		*ret_reason = "is not a regular file";
	} else {
		*ret_reason = NULL;
		*ret_size = (uint64_t)st.st_size;
	}
	close(fd);
	return *ret_reason == NULL;
}
