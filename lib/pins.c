/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Which pins segments a scan reads: found by name, judged by owner and mode. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "rcu.h"

/*
 * Anybody may make files in a folder like /dev/shm. So a name is no proof: a
 * segment is followed if its owner may read the store, whatever its size; an
 * owner has a quota; and what its owner does to keep us from reading it is his
 * readers' loss. Only what we ourselves lack (descriptors, memory, the
 * store's group) stops the scan: to go on would free under living readers.
 */

/* Is it "<uid>.<suffix>", behind the common part of the names? Whose it really
 * is the kernel says: in a user namespace ids are others, and where somebody had
 * taken a user's names the number is any (pins-own.c). */
static bool
is_pins_name(const char *tail)
{
	unsigned uid, suffix;
	char canonical[32];

	if (sscanf(tail, "%u.%u", &uid, &suffix) != 2 ||
	    suffix >= STRATA_PINS_SUFFIXES)
		return false;
	snprintf(canonical, sizeof(canonical), "%u.%u", uid, suffix);
	return strcmp(canonical, tail) == 0;
}

bool
strata__pins_is_name(const struct strata__id *id, const char *file)
{
	char pattern[STRATA_SEGMENT_NAME];
	size_t length;

	strata__segment_name_pins(pattern, id, 0, 0);
	length = strlen(pattern) - strlen("0.0");
	return strncmp(file, pattern, length) == 0 &&
		is_pins_name(file + length);
}

/* Whoever may not read the store has no readers in it, whatever files he makes.
 */
bool
strata__pins_are_followed(const struct strata__geometry *geometry,
			  const struct stat *st)
{
	return st->st_uid == geometry->owner || st->st_uid == 0 ||
		(geometry->mode & 0004) != 0 ||
		((geometry->mode & 0040) != 0 && st->st_gid == geometry->group);
}

/* By the kernel's word, and not by numbers: two files that have the same owner
 * have it for everybody. Ids that are not mapped here all look alike, and are
 * equal to none. */
static bool
is_like_catalog(const struct strata__geometry *geometry, const struct stat *st,
		const struct stat *catalog)
{
	if (st->st_uid == catalog->st_uid && st->st_uid != STRATA_UNMAPPED_ID)
		return true;
	return (geometry->mode & 0040) != 0 && st->st_gid == catalog->st_gid &&
	       st->st_gid != STRATA_UNMAPPED_ID;
}

/*
 * What a reader asks of its own file: will writers see it as it does? Where ids
 * are everybody's, those of the store's creator among them, as a scan of its own
 * would. In a user namespace numbers say nothing of what others see, not even
 * that root is root: there the file has to be like the catalog.
 */
bool
strata__pins_will_be_followed(const struct strata__space *space,
			      const struct stat *st)
{
	const struct strata__geometry *geometry = space->geometry;
	char file[STRATA_SEGMENT_NAME];
	struct stat catalog;
	bool like, followed;

	if ((geometry->mode & 0004) != 0)
		return true;
	strata__segment_name_catalog(file, geometry->name);
	if (fstatat(space->folder.fd, file, &catalog, AT_SYMLINK_NOFOLLOW) != 0)
		return false; /* destroyed */
	like = is_like_catalog(geometry, st, &catalog);
	followed = catalog.st_uid == geometry->owner &&
		   strata__pins_are_followed(geometry, st);
	/* Whose numbers these are has to be asked of /proc, which takes longer
	 * than all the rest; mostly it makes no difference. */
	if (like == followed)
		return like;
	return strata__os_ids_are_global() ? followed : like;
}

/* Has it the mode and group that rcu.c gives it, for writers of that group? Then
 * it is we who lack the group, and not its owner who plays tricks. */
static bool
is_meant_for_us(const struct strata__geometry *geometry, const struct stat *st)
{
	uint32_t mode = 0600 | (geometry->mode & 0044);

	if (st->st_uid != geometry->owner)
		mode |= 0040;
	return (st->st_mode & 07777) == mode && st->st_gid == geometry->group;
}

int
strata__pins_unreadable(uint32_t owner, int err)
{
	return strata__fail_errno(err,
				  "cannot look at the readers of user %u, so "
				  "nothing can be reclaimed",
				  owner);
}

/* Is it our want that keeps us from opening it? Then to go on would free under
 * living readers. All else is its owner's doing, and harm. */
static bool
is_our_fault(const struct strata__rcu *rcu, const struct stat *st, int err)
{
	return err == EMFILE || err == ENFILE || err == ENOMEM || err == EIO ||
		(err == EACCES && is_meant_for_us(rcu->space->geometry, st));
}

/* Also those that the program closed, until it is known that they are gone. */
static unsigned
nr_followed_of(const struct strata__rcu *rcu, uint32_t owner)
{
	unsigned nr = 0;

	for (size_t i = 0; i < rcu->nr_files; i++)
		nr += (rcu->files[i].fd >= 0 || rcu->files[i].lost) &&
			rcu->files[i].owner == owner;
	return nr;
}

/* Where ids are not everybody's all users that have none here look like one: none
 * of them may be overlooked for what another does. */
static bool
is_crowd(uint32_t owner)
{
	return owner == STRATA_UNMAPPED_ID && !strata__os_ids_are_global();
}

/*
 * Could that be a segment of pins that its owner made? Nobody else can write to
 * those (pins_mode() in rcu.c); and where links are protected, to link a file of
 * another user to a name of the folder takes that one may write to it. So such a
 * link takes nothing of its owner's share. What is mounted there is none.
 */
static bool
is_candidate(const struct strata__space *space, const struct stat *st)
{
	return S_ISREG(st->st_mode) && (st->st_mode & 0022) == 0 &&
		st->st_dev == space->folder.id.device &&
		strata__pins_are_followed(space->geometry, st);
}

/* 1: there is a candidate; 0: there is none. */
static int
pins_file_look(struct strata__rcu *rcu, const char *name, struct stat *st)
{
	int folder = rcu->space->folder.fd, err;

	if (fstatat(folder, name, st, AT_SYMLINK_NOFOLLOW) == 0)
		return is_candidate(rcu->space, st);
	err = errno;
	if (err == ENOENT || strata__os_is_elsewhere(folder, name))
		return 0;
	return strata__fail_errno(err,
				  "cannot look at %s, so nothing can be "
				  "reclaimed",
				  name);
}

/* 1: opened; 0: vandalised or gone, not to be followed. */
static int
pins_file_open(struct strata__rcu *rcu, const char *name, struct stat *st,
	       int *ret_fd)
{
	int fd = openat(rcu->space->folder.fd, name,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return is_our_fault(rcu, st, errno) ?
			strata__pins_unreadable(st->st_uid, errno) :
			0;
	if (fstat(fd, st) != 0 || !is_candidate(rcu->space, st)) {
		close(fd); /* another one by now */
		return 0;
	}
	*ret_fd = fd;
	return 1;
}

static struct strata__pins_file *
pins_file_find(struct strata__rcu *rcu, uint64_t inode)
{
	for (size_t i = 0; i < rcu->nr_files; i++)
		if ((rcu->files[i].fd >= 0 || rcu->files[i].lost) &&
		    rcu->files[i].inode == inode)
			return &rcu->files[i];
	return NULL;
}

/**** who makes segments for sport ****/

void
strata__pins_tallies_begin(struct strata__rcu *rcu)
{
	rcu->nr_tallies = 0;
	rcu->no_tally = false;
}

const struct strata__pins_tally *
strata__pins_tally_of(const struct strata__rcu *rcu, uint32_t owner)
{
	for (size_t i = 0; i < rcu->nr_tallies; i++)
		if (rcu->tallies[i].owner == owner)
			return &rcu->tallies[i];
	return NULL;
}

struct strata__pins_tally *
strata__pins_tally(struct strata__rcu *rcu, uint32_t owner)
{
	const struct strata__pins_tally *tally =
		strata__pins_tally_of(rcu, owner);
	struct strata__pins_tally *tallies;

	if (tally != NULL)
		return &rcu->tallies[tally - rcu->tallies];
	tallies = realloc(rcu->tallies,
			  (rcu->nr_tallies + 1) * sizeof(*tallies));
	if (tallies == NULL) {
		rcu->no_tally = true;
		return NULL;
	}
	rcu->tallies = tallies;
	tallies[rcu->nr_tallies] =
		(struct strata__pins_tally){.owner = owner};
	return &tallies[rcu->nr_tallies++];
}

bool
strata__pins_is_heard(uint32_t owner, unsigned times)
{
	return times <= STRATA_PINS_HEARD_MAX || is_crowd(owner);
}

static void
news_add(struct strata__rcu *rcu, uint32_t owner)
{
	struct strata__pins_tally *tally = strata__pins_tally(rcu, owner);

	if (tally == NULL || strata__pins_is_heard(owner, ++tally->news))
		rcu->has_news = true;
}

/**** the table ****/

static void
pins_file_drop(struct strata__rcu *rcu, struct strata__pins_file *file)
{
	close(file->fd);
	file->fd = -1;
	news_add(rcu, file->owner);
}

/* Room in its owner's share, for one that has a name. What has none any more gives
 * way: its readers are his own. 0: there is none. */
static int
pins_file_room(struct strata__rcu *rcu, uint32_t owner)
{
	if (nr_followed_of(rcu, owner) < STRATA_PINS_FILES_PER_USER)
		return 1;
	if (is_crowd(owner))
		return strata__fail_errno(
			EOVERFLOW,
			"users that have no id here have more than %u pins "
			"segments, so nothing can be reclaimed: write outside "
			"of the user namespace",
			STRATA_PINS_FILES_PER_USER);
	for (size_t i = 0; i < rcu->nr_files; i++) {
		struct strata__pins_file *file = &rcu->files[i];

		if (file->fd < 0 || file->listed || file->owner != owner)
			continue;
		pins_file_drop(rcu, file);
		return 1;
	}
	return 0;
}

/* A place in the table: places are not moved while anybody naps over them. */
static struct strata__pins_file *
pins_file_place(struct strata__rcu *rcu)
{
	struct strata__pins_file *files;

	for (size_t i = 0; i < rcu->nr_files; i++)
		if (rcu->files[i].fd < 0 && !rcu->files[i].lost)
			return &rcu->files[i];
	files = realloc(rcu->files, (rcu->nr_files + 1) * sizeof(*files));
	if (files == NULL)
		return NULL;
	rcu->files = files;
	return &files[rcu->nr_files++];
}

/* Opened again, or another name of one that is open. */
static void
pins_file_found(struct strata__rcu *rcu, struct strata__pins_file *file, int fd,
		uint32_t owner)
{
	file->listed = true;
	if (!file->lost) {
		close(fd);
		return;
	}
	file->fd = fd;
	file->owner = owner; /* the inode may be of a file that is new */
	file->life = ++rcu->lives;
	file->lost = false;
	/* What was noted by the closed descriptor is nothing, or another's. Who
	 * does that is this program: no tally. */
	rcu->has_news = true;
}

static int
pins_file_new(struct strata__rcu *rcu, const struct stat *st, int fd)
{
	struct strata__pins_file *file;
	int room = pins_file_room(rcu, st->st_uid);

	if (room > 0 && (file = pins_file_place(rcu)) != NULL) {
		*file = (struct strata__pins_file){ .fd = fd,
						    .owner = st->st_uid,
						    .inode = st->st_ino,
						    .life = ++rcu->lives,
						    .listed = true };
		news_add(rcu, st->st_uid);
		return 0;
	}
	close(fd);
	return room > 0 ? strata__pins_unreadable(st->st_uid, ENOMEM) : room;
}

/* One more than its owner's share is not even opened: there may be thousands. */
static int
pins_file_add(struct strata__rcu *rcu, const char *name, uint64_t inode)
{
	struct strata__pins_file *file = pins_file_find(rcu, inode);
	struct stat st;
	int fd = -1, ret;

	if (file != NULL && !file->lost)
		return 0;
	ret = pins_file_look(rcu, name, &st);
	if (ret > 0 && file == NULL)
		ret = pins_file_room(rcu, st.st_uid);
	if (ret > 0)
		ret = pins_file_open(rcu, name, &st, &fd);
	if (ret == 0 && file != NULL) {
		/* It cannot be had again, and that is its owner's doing. */
		file->lost = false;
		rcu->has_news = true;
	}
	if (ret <= 0)
		return ret;
	/* The name may have been another's when it was listed. */
	file = pins_file_find(rcu, st.st_ino);
	if (file == NULL)
		return pins_file_new(rcu, &st, fd);
	pins_file_found(rcu, file, fd, st.st_uid);
	return 0;
}

static int
pins_file_mark(struct strata__rcu *rcu, const char *name, uint64_t inode)
{
	struct strata__pins_file *file = pins_file_find(rcu, inode);

	(void)name;
	if (file != NULL)
		file->listed = true;
	return 0;
}

/* A segment that lost its name is followed for as long as a reader lives in
 * it. */
static void
pins_files_weed(struct strata__rcu *rcu)
{
	uint64_t size = rcu->space->geometry->pins_size;

	for (size_t i = 0; i < rcu->nr_files; i++) {
		struct strata__pins_file *file = &rcu->files[i];

		/* Closed under us, and its name is gone, too. */
		if (!file->listed)
			file->lost = false;
		if (file->fd >= 0 && !file->listed &&
		    strata__os_is_locked(file->fd, 0, size) == 0)
			pins_file_drop(rcu, file);
	}
}

/**** the listing ****/

static int
cannot_list(const struct strata__rcu *rcu, int err)
{
	return strata__fail_errno(err, "cannot list the readers in %s",
				  rcu->space->folder.path);
}

static int
pins_walk(struct strata__rcu *rcu, DIR *dir,
	  int (*fn)(struct strata__rcu *rcu, const char *name, uint64_t inode))
{
	char pattern[STRATA_SEGMENT_NAME];
	struct dirent *entry;
	size_t length;
	int ret = 0;

	strata__segment_name_pins(pattern, &rcu->space->id, 0, 0);
	length = strlen(pattern) - strlen("0.0");
	rewinddir(dir);
	while (errno = 0, ret == 0 && (entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, pattern, length) == 0 &&
		    is_pins_name(entry->d_name + length))
			ret = fn(rcu, entry->d_name, entry->d_ino);
	return ret == 0 && errno != 0 ? cannot_list(rcu, errno) : ret;
}

/*
 * First it is seen which of those that are followed have their names: before that
 * nobody knows which may give way to others. Those that are gone are closed before
 * others are opened, and also where these cannot be.
 */
static int
pins_list(struct strata__rcu *rcu)
{
	int fd = openat(rcu->space->folder.fd, ".",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	int ret;

	if (dir == NULL) {
		ret = cannot_list(rcu, errno);
		if (fd >= 0)
			close(fd);
		return ret;
	}
	for (size_t i = 0; i < rcu->nr_files; i++)
		rcu->files[i].listed = false;
	ret = pins_walk(rcu, dir, pins_file_mark);
	if (ret == 0) {
		pins_files_weed(rcu);
		ret = pins_walk(rcu, dir, pins_file_add);
	}
	closedir(dir);
	return ret;
}

/* A program that closed all its descriptors closed those of the segments, too.
 * Their places are kept until the listing finds them again. */
bool
strata__pins_mend(struct strata__rcu *rcu)
{
	struct strata__file_id id = { .device = rcu->space->folder.id.device };
	bool lost = false;

	for (size_t i = 0; i < rcu->nr_files; i++) {
		struct strata__pins_file *file = &rcu->files[i];

		id.inode = file->inode;
		if (file->fd >= 0 && !strata__os_is_file(file->fd, &id)) {
			file->fd = -1;
			file->lost = true;
			rcu->listing_settled = false;
		}
		lost |= file->lost;
	}
	return lost;
}

/*
 * Listing the folder at every scan would cost more than the scan. A folder whose
 * time of modification is as it was at a listing that was made long enough after
 * that time has the same names. By the clock of these times, which may stand
 * still for a while.
 */
int
strata__pins_list(struct strata__rcu *rcu)
{
	struct stat st;
	int64_t mtime;
	uint64_t now = strata__os_realtime_coarse_ns();
	int ret = strata__folder_mend(&rcu->space->folder);

	if (ret != 0)
		return ret;
	(void)strata__pins_mend(rcu);
	if (fstat(rcu->space->folder.fd, &st) != 0)
		return strata__fail_errno(errno, "cannot look at %s",
					  rcu->space->folder.path);
	mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	if (rcu->listing_settled && mtime == rcu->listed_mtime_ns)
		return 0;
	ret = pins_list(rcu);
	if (ret != 0)
		return ret;
	rcu->listed_mtime_ns = mtime;
	rcu->listing_settled = strata__os_is_settled(&st.st_mtim, now);
	return 0;
}
