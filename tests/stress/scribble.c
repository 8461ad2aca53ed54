/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What a process can do that means harm: to its pins, and with file locks. */
#include "scribble.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc.h"

/**** which file ****/

static void
forget(struct scribbler *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* Is it the name of a pins segment of that user? */
static bool
is_of(const char *name, uid_t uid)
{
	char part[32];

	snprintf(part, sizeof(part), "-pins%u.", (unsigned)uid);
	return strstr(name, part) != NULL;
}

/* One of the user's segments, whatever it looks like by now. */
static bool
choose(struct scribbler *s)
{
	DIR *dir = opendir(s->folder);
	const struct dirent *entry;
	unsigned nr = 0;

	forget(s);
	if (dir == NULL)
		return false;
	while ((entry = readdir(dir)) != NULL)
		if (is_of(entry->d_name, s->uid) &&
		    test_random(&s->random) % ++nr == 0)
			snprintf(s->name, sizeof(s->name), "%.100s",
				 entry->d_name);
	if (nr != 0)
		s->fd = openat(dirfd(dir), s->name,
			       O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	closedir(dir);
	memset(&s->head, 0, sizeof(s->head));
	if (s->fd >= 0)
		(void)!pread(s->fd, &s->head, sizeof(s->head), 0);
	return s->fd >= 0;
}

static void
path_of(const struct scribbler *s, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", s->folder, s->name);
}

/**** bytes ****/

/* A version that may be somebody's, or might be waited for. */
static void
write_pin(struct scribbler *s)
{
	uint64_t nr_slots = (s->size - STRATA_PINS_SLOTS) / 128;
	uint64_t slot = test_random(&s->random) % nr_slots;
	uint64_t version = strata_version(s->store);
	uint64_t pin = test_random(&s->random) << STRATA_VERSION_BITS;

	pin |= (version - test_random(&s->random) % 4) & STRATA_VERSION_MAX;
	(void)!pwrite(s->fd, &pin, sizeof(pin),
		      (off_t)(STRATA_PINS_SLOTS + slot * 128));
}

static void
write_noise(struct scribbler *s)
{
	uint64_t noise[64];
	uint64_t at = STRATA_PINS_SLOTS +
		      test_random(&s->random) % (s->size - STRATA_PINS_SLOTS);

	for (unsigned i = 0; i < 64; i++)
		noise[i] = test_random(&s->random);
	(void)!pwrite(s->fd, noise, test_random(&s->random) % sizeof(noise),
		      (off_t)at);
}

/* Says that sections are handed over to a child, again and again. */
static void
write_handovers(struct scribbler *s)
{
	uint64_t nr = test_random(&s->random);

	for (unsigned i = 0; i < 100; i++, nr++)
		(void)!pwrite(s->fd, &nr, sizeof(nr),
			      offsetof(struct strata__pins_head, handovers));
}

/**** sizes ****/

/* With its head, or nobody would get a slot in it any more. */
static void
put_right(struct scribbler *s)
{
	/* A copy: gcc 12 with sanitizers takes s->head for its first word. */
	const struct strata__head head = s->head;

	(void)!ftruncate(s->fd, (off_t)s->size);
	if (head.magic == STRATA_MAGIC)
		(void)!pwrite(s->fd, &head, sizeof(head), 0);
}

static void
cut(struct scribbler *s)
{
	uint64_t random = test_random(&s->random);

	(void)!ftruncate(s->fd,
			 random % 2 == 0 ? (off_t)STRATA_PINS_SLOTS :
					   (off_t)((random >> 8) % s->size));
}

static void
extend(struct scribbler *s)
{
	uint64_t random = test_random(&s->random) % 40;

	(void)!ftruncate(s->fd, (off_t)(s->size + (UINT64_C(1) << random)));
}

/**** locks ****/

static bool
lock_range(int fd, int command, short type, uint64_t at, uint64_t size)
{
	struct flock lock = {.l_type = type,
			     .l_whence = SEEK_SET,
			     .l_start = (off_t)at,
			     .l_len = (off_t)size};

	return fcntl(fd, command, &lock) == 0;
}

static void
lock_all(struct scribbler *s)
{
	(void)lock_range(s->fd, F_OFD_SETLK, F_WRLCK, 0, 0);
}

/* What is asked of the kernel is searched for among these. */
static void
lock_much(struct scribbler *s)
{
	for (uint64_t at = 0; at < 300; at++)
		(void)lock_range(s->fd, F_OFD_SETLK, F_WRLCK, 2 * at, 1);
}

static void
lease(struct scribbler *s)
{
	(void)fcntl(s->fd, F_SETLEASE,
		    test_random(&s->random) % 2 == 0 ? F_WRLCK : F_RDLCK);
}

/**** names and modes ****/

static void
change_mode(struct scribbler *s)
{
	static const mode_t modes[] = {0, 0600, 0644, 0666, 0200};

	(void)!fchmod(s->fd, modes[test_random(&s->random) % 5]);
}

/* Something else stands where the segment was. */
static void
replace(struct scribbler *s)
{
	char path[256];

	path_of(s, path, sizeof(path));
	if (unlink(path) != 0)
		return;
	switch (test_random(&s->random) % 5) {
	case 0:
		(void)!mkfifo(path, 0644);
		break;
	case 1:
		(void)!mkdir(path, 0755);
		break;
	case 2:
		(void)!symlink("/etc/passwd", path);
		break;
	case 3:
		close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644));
		break;
	}
}

/* Not by truncate(2) and open(2) as they are: these wait, for 45 s, until whoever
 * has a lease on the file gives it up, and that is the scribbler itself, by
 * another of its things. */
static void
make_sized(const char *path, uint64_t size)
{
	int fd = open(path, O_CREAT | O_RDWR | O_NONBLOCK | O_CLOEXEC, 0644);

	if (fd < 0)
		return;
	(void)!ftruncate(fd, (off_t)size);
	close(fd);
}

/* More names than anybody needs, of users that there are not. */
#define MANY 4000u

static void
make_many(struct scribbler *s)
{
	char own[256], path[256];
	unsigned uid;

	path_of(s, own, sizeof(own));
	strcpy(path, own);
	for (unsigned i = 0; i < 20; i++) {
		uid = 1000000 + (unsigned)(test_random(&s->random) % MANY);
		sprintf(strstr(path, "-pins"), "-pins%u.0", uid);
		if (i == 0)
			(void)!link(own, path); /* fails if it is there */
		make_sized(path, s->size);
		if (i % 4 == 1)
			unlink(path);
	}
}

static void
give_names_back(struct scribbler *s)
{
	char path[256];

	path_of(s, path, sizeof(path));
	if (unlink(path) != 0)
		rmdir(path);
}

/**** all of it ****/

bool
scribble(struct scribbler *s)
{
	static void (*const things[])(struct scribbler *) = {
		write_pin,   write_pin,	  write_pin,	   write_pin,
		write_noise, write_noise, write_handovers, cut,
		extend,	     put_right,	  put_right,	   put_right,
		lock_all,    lock_much,
		/* those of names */
		lease,	     change_mode, replace,	   make_many,
	};
	unsigned nr = sizeof(things) / sizeof(things[0]);

	if (!s->names)
		nr -= 4;

	if (test_random(&s->random) % 16 == 0 || s->fd < 0)
		if (!choose(s)) {
			if (s->name[0] != '\0')
				give_names_back(s);
			return false;
		}
	things[test_random(&s->random) % nr](s);
	return true;
}

void
scribble_end(struct scribbler *s)
{
	DIR *dir = opendir(s->folder);
	const struct dirent *entry;

	forget(s);
	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		struct stat st;

		if (strstr(entry->d_name, "-pins") == NULL ||
		    fstatat(dirfd(dir), entry->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) != 0 ||
		    st.st_uid != geteuid())
			continue;
		if (S_ISDIR(st.st_mode))
			unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
		else if (!is_of(entry->d_name, s->uid) || !S_ISREG(st.st_mode))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
}

/**** locks on everything ****/

static uint64_t
lock_file(int fd, bool writable, uint64_t *random)
{
	short type = writable ? F_WRLCK : F_RDLCK;
	uint64_t nr = 0;

	nr += lock_range(fd, F_OFD_SETLK, type, 0, 0);
	nr += lock_range(fd, F_OFD_SETLK, F_RDLCK, 0, 1);
	nr += lock_range(fd, F_SETLK, F_RDLCK, test_random(random) % 4096, 0);
	nr += flock(fd, LOCK_EX | LOCK_NB) == 0;
	nr += fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
	return nr;
}

/* Descriptors that are kept: of segments that are gone, too. */
#define KEPT_MAX 500

uint64_t
take_locks(const char *folder, uint64_t *random)
{
	static int kept[KEPT_MAX];
	static unsigned next, nr_kept;
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	uint64_t nr = 0;
	bool writable;
	int fd;

	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		writable = true;
		fd = openat(dirfd(dir), entry->d_name,
			    O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0) {
			writable = false;
			fd = openat(dirfd(dir), entry->d_name,
				    O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
					    O_CLOEXEC);
		}
		if (fd < 0)
			continue;
		nr += lock_file(fd, writable, random);
		if (nr_kept == KEPT_MAX)
			close(kept[next]);
		else
			nr_kept++;
		kept[next] = fd;
		next = (next + 1) % KEPT_MAX;
	}
	closedir(dir);
	return nr;
}
