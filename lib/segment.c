/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Segments: build, reserve, publish, open with suspicion, check the head. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "segment.h"
#include "testpoint.h"

/**** folder ****/

int
strata__folder_open(struct strata__folder *ret)
{
	const char *path = strata__os_shm_folder();
	int fd;

	if (strlen(path) >= sizeof(ret->path))
		return strata__fail_errno(ENAMETOOLONG,
					  "cannot use STRATA_SHM_DIR");
	fd = strata__os_open_folder(path);
	if (fd < 0)
		return strata__fail_errno(
			-fd, "cannot open the folder of the segments, %s",
			path);
	if (strata__os_is_overlay(fd)) {
		close(fd);
		return strata__fail(STRATA_ENOTSUP,
				    "the folder of the segments, %s, is on an "
				    "overlay, where no mapping keeps its lock, so "
				    "no reader would be safe: use a tmpfs",
				    path);
	}
	ret->fd = fd;
	strcpy(ret->path, path);
	return strata__os_file_id(fd, &ret->id);
}

/* Threads may find it closed at the same time, each under a lock of its own: one
 * descriptor stays. Not under the number that was closed, if another can be had:
 * who sees that number then has not seen the new one. */
static void
folder_reopened(struct strata__folder *folder, int closed, int fd)
{
	int other;

	if (fd == closed && (other = strata__os_another(fd)) >= 0) {
		close(fd);
		fd = other;
	}
	if (!__atomic_compare_exchange_n(&folder->fd, &closed, fd,
					 /* weak= */ false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED) &&
	    closed != fd)
		close(fd);
}

int
strata__folder_mend(struct strata__folder *folder)
{
	int fd, closed = __atomic_load_n(&folder->fd, __ATOMIC_RELAXED);

	if (strata__os_is_file(closed, &folder->id))
		return 0;
	fd = strata__os_open_folder(folder->path);
	if (fd < 0)
		return strata__fail_errno(-fd,
					  "the descriptor of %s was closed, and "
					  "it cannot be opened again",
					  folder->path);
	if (!strata__os_is_file(fd, &folder->id)) {
		close(fd);
		return strata__fail(STRATA_EGONE,
				    "the descriptor of %s was closed, and the "
				    "folder is another one now",
				    folder->path);
	}
	folder_reopened(folder, closed, fd);
	return 0;
}

void
strata__folder_close(struct strata__folder *folder)
{
	if (strata__os_is_file(folder->fd, &folder->id))
		close(folder->fd);
	folder->fd = -1;
}

uint64_t
strata__folder_free(const struct strata__folder *folder)
{
	uint64_t nr_free, total;

	strata__os_room(folder->fd, &nr_free, &total);
	return nr_free;
}

int
strata__folder_walk(const struct strata__folder *folder, const char *prefix,
		    int (*fn)(const char *file, void *arg), void *arg)
{
	int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	int code = 0;

	if (dir == NULL) {
		code = strata__fail_errno(errno, "cannot read %s",
					  folder->path);
		if (fd >= 0)
			close(fd);
		return code;
	}
	while (code == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			code = fn(entry->d_name, arg);
	if (code == 0 && errno != 0)
		code = strata__fail_errno(errno, "cannot read %s",
					  folder->path);
	closedir(dir);
	return code;
}

int
strata__segment_fail_full(const struct strata__folder *folder, uint64_t size)
{
	return strata__fail_shm(folder->fd, folder->path, /* what= */ NULL,
				size);
}

/* What the system said about a segment, as one of our errors. name NULL: one
 * that has none. */
static int
fail(const struct strata__folder *folder, int err, uint64_t size,
     const char *what, const char *name)
{
	if ((err == ENOSPC || err == EDQUOT) && size == 0) {
		strata__fail(STRATA_ESHM,
			     "%s is full: it has no room for one file more "
			     "(inodes: see df -i); remove or unload something",
			     folder->path);
		strata__error()->sys_errno = err;
		return STRATA_ESHM;
	}
	if (err == ENOSPC || err == EDQUOT)
		return strata__segment_fail_full(folder, size);
	strata__fail_errno(err, "cannot %s %s%s%s", what, folder->path,
			   name != NULL ? "/" : "", name != NULL ? name : "");
	if (err != EACCES && err != EPERM)
		return -err;
	strata__error()->code = STRATA_EACCES;
	return STRATA_EACCES;
}

/**** names ****/

/* By hand: an attach makes a name for each segment. With sprintf() these were
 * most of its instructions, and a new process faults in sprintf()'s own pages. */
static char *
put_hex(char *p, const uint8_t *bytes, size_t nr)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < nr; i++) {
		*p++ = digits[bytes[i] >> 4];
		*p++ = digits[bytes[i] & 15];
	}
	*p = '\0';
	return p;
}

static char *
put_text(char *p, const char *text)
{
	size_t length = strlen(text);

	memcpy(p, text, length + 1);
	return p + length;
}

static char *
put_number(char *p, uint64_t number)
{
	char digits[20];
	size_t nr = 0;

	do
		digits[nr++] = (char)('0' + number % 10);
	while ((number /= 10) != 0);
	while (nr > 0)
		*p++ = digits[--nr];
	*p = '\0';
	return p;
}

/* Gives its end. */
static char *
name_part(char *buf, const struct strata__id *id, const char *part)
{
	char *p = put_text(buf, "strata-");

	p = put_hex(p, id->bytes, sizeof(id->bytes));
	p = put_text(p, "-");
	return put_text(p, part);
}

void
strata__segment_name_catalog(char *buf, const char *store)
{
	char *p = put_text(buf, "strata.");
	size_t room = (size_t)(buf + STRATA_SEGMENT_NAME - p);
	size_t length = strnlen(store, room - 1);

	memcpy(p, store, length);
	p[length] = '\0';
}

void
strata__segment_name_pool(char *buf, const struct strata__id *id,
			  uint32_t class_)
{
	put_number(name_part(buf, id, "pool"), class_);
}

void
strata__segment_name_lock(char *buf, const struct strata__id *id)
{
	name_part(buf, id, "lock");
}

void
strata__segment_name_region(char *buf, const struct strata__id *id,
			    uint64_t generation)
{
	put_number(name_part(buf, id, "region"), generation);
}

void
strata__segment_name_pins(char *buf, const struct strata__id *id, uint32_t uid,
			  uint32_t suffix)
{
	char *p = put_number(name_part(buf, id, "pins"), uid);

	put_number(put_text(p, "."), suffix);
}

void
strata__segment_name_turn(char *buf, const struct strata__id *id, uint32_t uid,
			  uint64_t number)
{
	char part[48];

	snprintf(part, sizeof(part), "turn%" PRIu32 ".%" PRIu64, uid, number);
	name_part(buf, id, part);
}

bool
strata__segment_name_id(const char *file, struct strata__id *ret)
{
	const size_t front = strlen("strata-");

	if (strncmp(file, "strata-", front) != 0)
		return false;
	file += front;
	for (size_t i = 0; i < sizeof(ret->bytes); i++)
		if (!strata__hex_byte(file + 2 * i, &ret->bytes[i]))
			return false;
	return file[2 * sizeof(ret->bytes)] == '-';
}

/* Not isalnum(): what a name is does not depend on the locale. */
static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

int
strata__store_name_check(const char *name)
{
	size_t length;

	if (name == NULL)
		return strata__fail(STRATA_ENAME, "the store's name is NULL");
	for (length = 0; is_name_char(name[length]); length++)
		if (length == STRATA_STORE_NAME_MAX)
			break;
	if (length > 0 && name[length] == '\0' && name[0] != '.')
		return 0;
	return strata__fail(STRATA_ENAME,
			    "'%.80s' is not a store name: 1 to %d letters, "
			    "digits, '.', '_' and '-', not starting with '.'",
			    name, STRATA_STORE_NAME_MAX);
}

/**** building ****/

/*
 * One without a name where there is such; else a hidden name made of the file's number,
 * which publish and discard find again by fstat(). That number is nobody else's
 * while the file exists. A builder that is killed leaves such a file behind.
 */
#define HIDDEN_NAME 64

static void
hidden_name(char *buf, const struct stat *st)
{
	snprintf(buf, HIDDEN_NAME, ".strata-new-%ju", (uintmax_t)st->st_ino);
}

static int
open_hidden(const struct strata__folder *folder, int *ret_fd)
{
	uint8_t random[16];
	char first[HIDDEN_NAME], second[HIDDEN_NAME];
	struct stat st;
	int err = strata__os_random(random, sizeof(random)), fd;
	char *p = first;

	if (err != 0)
		return err;
	p += sprintf(p, ".strata-new-r");
	put_hex(p, random, sizeof(random));
	fd = openat(folder->fd, first,
		    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	STRATA_TESTPOINT("segment.hidden.made");
	if (fstat(fd, &st) == 0) {
		hidden_name(second, &st);
		if (renameat(folder->fd, first, folder->fd, second) == 0) {
			STRATA_TESTPOINT("segment.hidden.named");
			*ret_fd = fd;
			return 0;
		}
	}
	err = -errno;
	unlinkat(folder->fd, first, 0);
	STRATA_TESTPOINT("segment.hidden.unlinked");
	close(fd);
	return err;
}

static int
open_unnamed(const struct strata__folder *folder, int *ret_fd)
{
	int fd, err = STRATA_REFUSAL("open");

	if (err != 0)
		return -err;
	fd = strata__os_open_unnamed(folder->fd);
	if (fd == -EOPNOTSUPP)
		return open_hidden(folder, ret_fd);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

/* chown clears bits of the mode, so it goes first. */
static int
set_access(int fd, uint32_t mode, uint32_t group)
{
	if (group != (uint32_t)-1 && fchown(fd, (uid_t)-1, group) != 0)
		return -errno;
	STRATA_TESTPOINT("segment.build.owned");
	return fchmod(fd, mode & 0777) == 0 ? 0 : -errno;
}

int
strata__segment_build(const struct strata__folder *folder, uint64_t size,
		      uint32_t mode, uint32_t group, int *ret_fd)
{
	int fd = -1;
	int err = open_unnamed(folder, &fd);

	if (err == 0) {
		fd = strata__os_above_stdio(fd);
		err = fd < 0 ? fd : 0;
	}
	if (err != 0)
		return fail(folder, -err, size, "make a segment in", NULL);
	STRATA_TESTPOINT("segment.build.made");
	err = set_access(fd, mode, group);
	STRATA_TESTPOINT("segment.build.opened-up");
	if (err != 0)
		strata__fail_errno(-err,
				   "cannot set group and mode of a segment in "
				   "%s",
				   folder->path);
	else if (size > 0)
		err = strata__segment_reserve(folder, fd, 0, size);
	if (err != 0) {
		strata__segment_discard(folder, fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int
strata__segment_reserve(const struct strata__folder *folder, int fd,
			uint64_t offset, uint64_t size)
{
	int err = strata__os_reserve(fd, offset, size), cut;

	if (err == 0)
		return 0;
	/* Steps that were taken are given back, before it is told what is free.
	 * Shrinking needs no memory. */
	cut = strata__os_truncate(fd, offset);
	fail(folder, -err, size, "reserve memory in", NULL);
	if (cut != 0)
		strata__error_append("; and it could not be cut back: %s",
				     strata_strerror(cut));
	return strata__error()->code;
}

int
strata__segment_write(const struct strata__folder *folder, int fd,
		      const void *data, size_t size, uint64_t offset)
{
	int err = strata__os_pwrite(fd, data, size, offset);

	return err == 0 ? 0 : fail(folder, -err, size, "write to a segment in",
				   NULL);
}

int
strata__segment_publish(const struct strata__folder *folder, int fd,
			const char *name)
{
	char hidden[HIDDEN_NAME];
	struct stat st;
	int err;

	if (fstat(fd, &st) != 0)
		return fail(folder, errno, 0, "publish", name);
	err = STRATA_REFUSAL("link");
	if (err != 0) {
		err = -err;
	} else if (st.st_nlink == 0) {
		err = strata__os_link_unnamed(fd, folder->fd, name);
	} else {
		hidden_name(hidden, &st);
		err = strata__os_rename_new(folder->fd, hidden, name);
	}
	STRATA_TESTPOINT("segment.publish.linked");
	if (err == -EEXIST) {
		strata__fail(STRATA_EEXIST, "%s/%s exists already",
			     folder->path, name);
		strata__error()->sys_errno = EEXIST;
		return STRATA_EEXIST;
	}
	return err == 0 ? 0 : fail(folder, -err, 0, "publish", name);
}

void
strata__segment_discard(const struct strata__folder *folder, int fd)
{
	char hidden[HIDDEN_NAME];
	int saved = errno;
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_nlink == 1) {
		hidden_name(hidden, &st);
		unlinkat(folder->fd, hidden, 0);
		STRATA_TESTPOINT("segment.discard.unlinked");
	}
	close(fd);
	errno = saved;
}

/**** opening ****/

static bool
is_trusted_owner(const struct stat *st, uint32_t trusted_uid, uint32_t group)
{
	if (st->st_uid == 0 || st->st_uid == geteuid())
		return true;
	if (trusted_uid == STRATA_TRUST_GROUP)
		return st->st_gid == group;
	return trusted_uid != STRATA_TRUST_NOBODY && st->st_uid == trusted_uid;
}

static int
fail_owner(const struct strata__folder *folder, const char *name,
	   const char *why)
{
	return strata__fail(STRATA_EOWNER, "%s/%s is not to be trusted: %s",
			    folder->path, name, why);
}

static int
check_access(const struct strata__folder *folder, const char *name,
	     const struct stat *st, uint32_t trusted_uid, uint32_t group)
{
	if (!S_ISREG(st->st_mode))
		return fail_owner(folder, name, "it is no regular file");
	if (st->st_nlink > 1)
		return fail_owner(folder, name, "it has more than one name");
	if ((st->st_mode & S_IWOTH) != 0)
		return fail_owner(folder, name, "everybody may write to it");
	if ((st->st_mode & S_IWGRP) != 0 && group != STRATA_GROUP_ANY &&
	    st->st_gid != group)
		return fail_owner(folder, name, "its group may write to it");
	if (!is_trusted_owner(st, trusted_uid, group))
		return strata__fail(STRATA_EOWNER,
				    "%s/%s belongs to user %" PRIu32
				    ", who is neither you nor root nor "
				    "trusted by a flag",
				    folder->path, name, (uint32_t)st->st_uid);
	return 0;
}

static int
fail_open(const struct strata__folder *folder, const char *name, int err)
{
	if (err == ENOENT)
		return -ENOENT;
	if (err == ELOOP)
		return fail_owner(folder, name, "it is a symbolic link");
	if (err == EISDIR || err == ENXIO)
		return fail_owner(folder, name, "it is no regular file");
	return fail(folder, err, 0, "open", name);
}

int
strata__segment_open_stat(const struct strata__folder *folder, const char *name,
			  bool writable, uint32_t trusted_uid, uint32_t group,
			  int *ret_fd, struct stat *ret_st)
{
	struct stat st;
	int err, fd;

	fd = openat(folder->fd, name,
		    (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK |
			    O_CLOEXEC);
	if (fd < 0)
		return fail_open(folder, name, errno);
	fd = strata__os_above_stdio(fd);
	if (fd < 0)
		return fail(folder, -fd, 0, "open", name);
	if (fstat(fd, &st) != 0)
		err = fail(folder, errno, 0, "examine", name);
	else if (S_ISREG(st.st_mode) && st.st_nlink == 0)
		err = -ENOENT;
	else
		err = check_access(folder, name, &st, trusted_uid, group);
	if (err != 0) {
		close(fd);
		return err;
	}
	*ret_fd = fd;
	*ret_st = st;
	return 0;
}

int
strata__segment_open(const struct strata__folder *folder, const char *name,
		     bool writable, uint32_t trusted_uid, uint32_t group,
		     int *ret_fd, uint64_t *ret_size)
{
	struct stat st;
	int code = strata__segment_open_stat(folder, name, writable,
					     trusted_uid, group, ret_fd, &st);

	if (code == 0)
		*ret_size = (uint64_t)st.st_size;
	return code;
}

int
strata__segment_unlink(const struct strata__folder *folder, const char *name)
{
	if (unlinkat(folder->fd, name, 0) == 0) {
		STRATA_TESTPOINT("segment.unlink.unlinked");
		return 0;
	}
	if (errno == ENOENT)
		return -ENOENT;
	return fail(folder, errno, 0, "remove", name);
}

/**** heads ****/

void
strata__head_stamp(struct strata__head *head, enum strata__kind kind,
		   uint32_t index, const struct strata__id *id,
		   uint64_t generation, uint64_t size)
{
	head->layout_major = STRATA_LAYOUT_MAJOR;
	head->layout_minor = STRATA_LAYOUT_MINOR;
	head->kind = kind;
	head->index = index;
	head->store_id = *id;
	strata__os_boot_id(&head->boot_id);
	head->generation = generation;
	head->size = size;
	STRATA_TESTPOINT("segment.head.filled");
	__atomic_store_n(&head->magic, STRATA_MAGIC, __ATOMIC_RELEASE);
	STRATA_TESTPOINT("segment.head.stamped");
}

static int
fail_corrupt(const char *name, const char *why, uint64_t size)
{
	strata__fail(STRATA_ECORRUPT, "%s is damaged: %s", name, why);
	strata__error()->size = size;
	return STRATA_ECORRUPT;
}

/* An id that the system did not tell, then or now, says nothing. */
bool
strata__is_other_boot(const struct strata__id *id)
{
	static const struct strata__id unknown;
	struct strata__id now;

	strata__os_boot_id(&now);
	return memcmp(id, &now, sizeof(now)) != 0 &&
	       memcmp(id, &unknown, sizeof(now)) != 0 &&
	       memcmp(&now, &unknown, sizeof(now)) != 0;
}

static bool
is_size_wrong(const struct strata__head *head, uint64_t size)
{
	if (size == 0)
		return false;
	return head->kind == STRATA_KIND_POOL ? head->size > size
					      : head->size != size;
}

int
strata__head_check(const struct strata__head *head, const char *name,
		   enum strata__kind kind, const struct strata__id *id,
		   uint64_t generation, uint64_t size)
{
	if (__atomic_load_n(&head->magic, __ATOMIC_ACQUIRE) != STRATA_MAGIC)
		return fail_corrupt(name, "it does not begin like a segment",
				    size);
	if (head->layout_major != STRATA_LAYOUT_MAJOR)
		return strata__fail(STRATA_ELAYOUT,
				    "%s has layout %" PRIu32 ".%" PRIu32
				    ", this library reads %d.x: use the "
				    "library that made it, or remove the store "
				    "by `strata destroy --force`",
				    name, head->layout_major,
				    head->layout_minor, STRATA_LAYOUT_MAJOR);
	if (head->kind != (uint32_t)kind)
		return fail_corrupt(name, "it is a segment of another kind",
				    size);
	if (strata__is_other_boot(&head->boot_id))
		return strata__fail(STRATA_EBOOT,
				    "%s is a leftover of another boot, nobody "
				    "can use it: `strata destroy --force` "
				    "removes the store",
				    name);
	if (id != NULL && memcmp(&head->store_id, id, sizeof(*id)) != 0)
		return fail_corrupt(name, "it is another store's", size);
	if (generation != 0 && head->generation != generation)
		return fail_corrupt(name, "it is of another generation", size);
	if (is_size_wrong(head, size))
		return fail_corrupt(
			name, "it has not the size it was made with", size);
	return 0;
}
