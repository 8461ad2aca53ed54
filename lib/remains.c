/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Whose the segments of one id are, whether anybody has them, removing them. */
#include "remains.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "testpoint.h"

/*
 * A store exists if its catalog does. Segments of an id that no catalog names
 * are what somebody left who died making or destroying a store, or what is left
 * of a store whose catalog was removed by hand; or somebody is just at it:
 *
 * - Who makes a store publishes the lock segment first, with the lock of its
 *   byte STRATA_LOCK_MAKING, which it keeps until the catalog is published.
 * - Who destroys one removes the lock segment last, and holds the byte of a
 *   writer until then.
 * - Who uses a store whose catalog is gone holds the byte of a writer, or the
 *   bytes of a chunk of pins.
 *
 * The kernel keeps these locks through a stop of any length, across pid
 * namespaces, and drops them at death; so nothing here asks for pids or ages.
 * Whoever finds all of them free, and has taken the first, asks for catalogs
 * then: a maker who let go of it has published by then.
 *
 * Nothing is truncated, so it does no harm to who has a segment mapped.
 * Segments without a lock segment are nobody's in the making, unless somebody
 * removed that by hand in the middle of it.
 */

/**** names ****/

/* A segment, as its name says. */
struct part {
	unsigned kind;   /* enum strata__kind; 0: none that we know */
	uint64_t number; /* of a pool, or of a region */
};

static struct part
part_of_name(const struct strata__id *id, const char *file)
{
	const char *tail = file + strlen("strata-") + 2 * sizeof(id->bytes) + 1;
	char canonical[STRATA_SEGMENT_NAME] = "";
	struct part part = {0, 0};
	unsigned uid, suffix;
	uint64_t number;

	if (strcmp(tail, "lock") == 0) {
		part.kind = STRATA_KIND_LOCK;
		return part;
	}
	if (sscanf(tail, "pool%" SCNu64, &part.number) == 1 &&
	    part.number < STRATA_CLASSES_MAX) {
		part.kind = STRATA_KIND_POOL;
		strata__segment_name_pool(canonical, id, (uint32_t)part.number);
	} else if (sscanf(tail, "region%" SCNu64, &part.number) == 1) {
		part.kind = STRATA_KIND_REGION;
		strata__segment_name_region(canonical, id, part.number);
	} else if (sscanf(tail, "pins%u.%u", &uid, &suffix) == 2) {
		part.kind = STRATA_KIND_PINS;
		strata__segment_name_pins(canonical, id, uid, suffix);
	} else if (sscanf(tail, "turn%u.%" SCNu64, &uid, &number) == 2) {
		/* Of somebody who makes pins, with their head. */
		part.kind = STRATA_KIND_PINS;
		strata__segment_name_turn(canonical, id, uid, number);
	}
	if (strcmp(canonical, file) != 0)
		part.kind = 0;
	return part;
}

/* Calls fn for each name that bears the id. */
static int
parts_walk(const struct strata__folder *folder, const struct strata__id *id,
	   int (*fn)(const char *file, void *arg), void *arg)
{
	char prefix[STRATA_SEGMENT_NAME];

	strata__segment_name_lock(prefix, id);
	prefix[strlen(prefix) - strlen("lock")] = '\0';
	return strata__folder_walk(folder, prefix, fn, arg);
}

/**** whose it is ****/

static bool
may_remove(uint32_t owner)
{
	return owner == geteuid() || geteuid() == 0;
}

static int
part_open(const struct strata__folder *folder, const char *file, int how)
{
	return openat(folder->fd, file,
		      how | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/* A regular file? errno says why not. */
static bool
part_stat(const struct strata__folder *folder, const char *file,
	  struct stat *ret)
{
	if (fstatat(folder->fd, file, ret, AT_SYMLINK_NOFOLLOW) != 0)
		return false;
	errno = EINVAL;
	return S_ISREG(ret->st_mode);
}

/* Does a head say what the name says? Of this layout, unless its users went
 * with another boot. */
static bool
head_fits(const struct strata__remains *remains, const struct part *part,
	  const struct strata__head *head)
{
	uint64_t generation = part->kind == STRATA_KIND_REGION ? part->number :
								 1;

	return head->magic == STRATA_MAGIC && head->kind == part->kind &&
		memcmp(&head->store_id, &remains->id, sizeof(remains->id)) ==
			0 &&
		head->generation == generation &&
		(part->kind != STRATA_KIND_POOL ||
		 head->index == part->number) &&
		(head->layout_major == STRATA_LAYOUT_MAJOR ||
		 strata__is_other_boot(&head->boot_id));
}

static bool
content_fits(const struct strata__remains *remains, const struct part *part,
	     const char *file, uint64_t size)
{
	bool region = part->kind == STRATA_KIND_REGION, fits = false;
	struct strata__head head;
	uint64_t at = 0;
	int fd;

	if (region && size >= STRATA_PAGE)
		at = size - STRATA_PAGE;
	fd = part_open(remains->folder, file, O_RDONLY);
	if (fd < 0)
		return false;
	memset(&head, 0, sizeof(head));
	if (strata__os_pread(fd, &head, sizeof(head), at) == 0)
		fits = head_fits(remains, part, &head);
	/* One that was not finished ends anyhow. */
	if (region && head.magic != STRATA_MAGIC)
		fits = remains->lock_fd >= 0;
	close(fd);
	return fits;
}

/* Members of a group that may write to the store make regions, too. */
static bool
is_a_writers(const struct strata__remains *remains, const struct stat *st)
{
	return st->st_uid == remains->owner ||
		(remains->lock_fd >= 0 && (remains->lock_mode & 0020) != 0 &&
		 st->st_gid == remains->lock_group);
}

/* Is it what we may remove? Its name is no proof: anybody may make that. */
static bool
part_is_ours(const struct strata__remains *remains, const struct part *part,
	     const char *file, const struct stat *st)
{
	if (remains->force)
		return st->st_uid == remains->owner;
	if (part->kind == 0 ||
	    (part->kind != STRATA_KIND_PINS && !is_a_writers(remains, st)))
		return false;
	if (st->st_size == 0) /* as a destroy leaves it before it unlinks */
		return st->st_uid == remains->owner;
	return content_fits(remains, part, file, (uint64_t)st->st_size);
}

struct owner_search {
	const struct strata__folder *folder;
	const struct strata__id *id;
	uint32_t owner;
};

static int
owner_found(const char *file, void *arg)
{
	struct owner_search *search = arg;
	struct stat st;

	if (part_of_name(search->id, file).kind == 0 ||
	    !part_stat(search->folder, file, &st) || !may_remove(st.st_uid))
		return 0;
	search->owner = st.st_uid;
	return 1;
}

int
strata__remains_owner(const struct strata__folder *folder,
		      const struct strata__id *id, uint32_t *ret_owner)
{
	struct owner_search search = {folder, id, 0};
	char lock[STRATA_SEGMENT_NAME];
	struct stat st;
	int code;

	strata__segment_name_lock(lock, id);
	if (fstatat(folder->fd, lock, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		*ret_owner = st.st_uid;
		return 0;
	}
	code = parts_walk(folder, id, owner_found, &search);
	if (code != 1)
		return code == 0 ? -ENOENT : code;
	*ret_owner = search.owner;
	return 0;
}

/**** does anybody have it? ****/

static int
fail_busy(const char *file, const char *what, uint32_t pid, const char *name)
{
	if (pid != 0)
		return strata__fail(STRATA_EBUSY,
				    "%s is in use: process %" PRIu32
				    " ('%.31s') %s",
				    file, pid, name, what);
	return strata__fail(STRATA_EBUSY, "%s is in use: somebody %s", file,
			    what);
}

static int
fail_writer(const struct strata__remains *remains, const char *file,
	    uint64_t at)
{
	const uint64_t first = STRATA_LOCK_WRITER(0);
	struct strata__writer_slot slot;
	uint64_t offset = offsetof(struct strata__lock, writers);

	if (at == STRATA_LOCK_MAKING)
		return fail_busy(file, "makes or removes this store", 0, NULL);
	if (at < first || at >= first + STRATA_WRITERS)
		return fail_busy(file, "holds a lock on it", 0, NULL);
	offset += (at - first) * sizeof(slot);
	if (!remains->known_layout ||
	    strata__os_pread(remains->lock_fd, &slot, sizeof(slot), offset) !=
		    0)
		return fail_busy(file, "is attached for writing", 0, NULL);
	return fail_busy(file, "is attached for writing", slot.pid, slot.name);
}

static int
fail_reader(const struct strata__remains *remains, const char *file, int fd,
	    uint64_t at)
{
	struct strata__slot slot;

	for (unsigned i = 0; remains->known_layout && at >= STRATA_PINS_SLOTS &&
	     i < STRATA_CHUNK_SLOTS;
	     i++)
		if (strata__os_pread(fd, &slot, sizeof(slot),
				     at + i * sizeof(slot)) == 0 &&
		    atomic_load_explicit(&slot.in_use, memory_order_relaxed) !=
			    0)
			return fail_busy(file, "has a reader in it", slot.pid,
					 slot.name);
	return fail_busy(file, "has readers in it", 0, NULL);
}

/* Whoever may not read the pools has no readers, whatever files he makes. */
static bool
has_readers(const struct strata__remains *remains, const struct stat *st)
{
	if (st->st_uid == remains->owner || st->st_uid == 0 ||
	    st->st_uid == geteuid())
		return true;
	return remains->pools &&
		((remains->pool_mode & 0004) != 0 ||
		 ((remains->pool_mode & 0040) != 0 &&
		  st->st_gid == remains->pool_group));
}

/* Pins of a living reader, or a region that is being filled? */
static int
part_check_free(const struct strata__remains *remains, const struct part *part,
		const char *file)
{
	uint64_t at, size = part->kind == STRATA_KIND_REGION ? 1 : 0;
	int code, fd = part_open(remains->folder, file, O_RDONLY);

	if (fd < 0)
		return errno == ENOENT ? 0 :
					 strata__fail(STRATA_EACCES,
						      "cannot see who uses %s: "
						      "%s",
						      file,
						      strata_strerror(-errno));
	code = strata__os_find_lock(fd, 0, size, &at);
	if (code < 0)
		strata__fail_errno(-code, "cannot see who uses %s", file);
	else if (code > 0 && size != 0)
		code = fail_busy(file, "fills it", 0, NULL);
	else if (code > 0)
		code = fail_reader(remains, file, fd, at);
	close(fd);
	return code;
}

static int
part_survey(const char *file, void *arg)
{
	struct strata__remains *remains = arg;
	struct part part = part_of_name(&remains->id, file);
	struct stat st;
	int code = 0;

	if (!part_stat(remains->folder, file, &st))
		return 0;
	if ((part.kind == STRATA_KIND_PINS && has_readers(remains, &st)) ||
	    (part.kind == STRATA_KIND_REGION && is_a_writers(remains, &st)))
		code = part_check_free(remains, &part, file);
	if (code != 0 || !part_is_ours(remains, &part, file, &st))
		return code;
	remains->nr_files++;
	remains->nr_parts += part.kind != STRATA_KIND_LOCK;
	remains->pins |= part.kind == STRATA_KIND_PINS;
	remains->bytes += (uint64_t)st.st_blocks * 512;
	return 0;
}

/**** the lock segment ****/

static int
lock_check_head(struct strata__remains *remains, const char *file,
		uint64_t size)
{
	const struct part part = {STRATA_KIND_LOCK, 0};
	struct strata__head head;
	int code = strata__os_pread(remains->lock_fd, &head, sizeof(head), 0);

	if (code == -ENODATA)
		memset(&head, 0, sizeof(head)); /* shorter than a head */
	else if (code != 0)
		return strata__fail_errno(-code, "cannot read %s", file);
	remains->known_layout = head.magic == STRATA_MAGIC &&
		head.layout_major == STRATA_LAYOUT_MAJOR && head.size == size;
	if (remains->force)
		return 0;
	/* What its makers lock is known of this layout only; but those of
	 * another boot are dead. */
	if (head.magic == STRATA_MAGIC &&
	    (head.layout_major != STRATA_LAYOUT_MAJOR ||
	     head.layout_minor < 1) &&
	    !strata__is_other_boot(&head.boot_id))
		return strata__fail(STRATA_ELAYOUT,
				    "%s has layout %" PRIu32 ".%" PRIu32
				    ", this library knows who uses %d.1 and "
				    "later: remove it by the library that made "
				    "it",
				    file, head.layout_major, head.layout_minor,
				    STRATA_LAYOUT_MAJOR);
	if (head_fits(remains, &part, &head))
		return 0;
	return strata__fail(STRATA_ECORRUPT,
			    "%s is not the lock segment that its name says",
			    file);
}

/* Has the store had a writer? Then it was complete. */
static bool
had_writers(const struct strata__remains *remains)
{
	uint64_t at = offsetof(struct strata__lock, writers);
	uint32_t incarnation = 0;

	for (uint32_t i = 0; remains->known_layout && incarnation == 0 &&
	     i < STRATA_WRITERS;
	     i++, at += sizeof(struct strata__writer_slot))
		if (strata__os_pread(remains->lock_fd, &incarnation,
				     sizeof(incarnation), at) != 0)
			return false;
	return incarnation != 0;
}

static int
lock_take(struct strata__remains *remains, const char *file)
{
	uint64_t at;
	int code = strata__os_lock_try(remains->lock_fd, STRATA_LOCK_MAKING, 1);

	if (code == -EAGAIN)
		return fail_writer(remains, file, STRATA_LOCK_MAKING);
	if (code == 0)
		code = strata__os_find_lock(remains->lock_fd, 0, 0, &at);
	if (code < 0)
		return strata__fail_errno(-code, "cannot see who uses %s",
					  file);
	return code > 0 ? fail_writer(remains, file, at) : 0;
}

/* 0 also when there is no lock segment. */
static int
lock_open(struct strata__remains *remains)
{
	char file[STRATA_SEGMENT_NAME];
	struct stat st;
	int code, fd;

	strata__segment_name_lock(file, &remains->id);
	if (!part_stat(remains->folder, file, &st))
		return errno == ENOENT ? 0 :
					 strata__fail(STRATA_EOWNER,
						      "%s is no regular file",
						      file);
	fd = part_open(remains->folder, file, O_RDWR);
	if (fd < 0)
		return errno == ENOENT ? 0 :
					 strata__fail(STRATA_EACCES,
						      "cannot open %s: %s",
						      file,
						      strata_strerror(-errno));
	remains->lock_fd = fd;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    st.st_uid != remains->owner)
		return strata__fail(STRATA_EOWNER, "%s is not user %" PRIu32
				    "'s", file, remains->owner);
	remains->lock_mode = st.st_mode;
	remains->lock_group = st.st_gid;
	code = lock_check_head(remains, file, (uint64_t)st.st_size);
	if (code == 0)
		code = lock_take(remains, file);
	/* Somebody else has removed it before we had it? */
	if (code == 0 && (fstat(fd, &st) != 0 || st.st_nlink == 0))
		code = -ENOENT;
	return code;
}

/**** all of it ****/

int
strata__remains_take(const struct strata__folder *folder,
		     const struct strata__id *id, uint32_t owner, bool force,
		     struct strata__remains *ret)
{
	char pool[STRATA_SEGMENT_NAME];
	struct stat st;
	int code;

	memset(ret, 0, sizeof(*ret));
	ret->folder = folder;
	ret->id = *id;
	ret->owner = owner;
	ret->force = force;
	ret->lock_fd = -1;
	if (!may_remove(owner))
		return strata__fail(STRATA_EOWNER,
				    "the segments belong to user %" PRIu32,
				    owner);
	code = lock_open(ret);
	strata__segment_name_pool(pool, id, 0);
	ret->pools = part_stat(folder, pool, &st);
	if (ret->pools) {
		ret->pool_mode = st.st_mode;
		ret->pool_group = st.st_gid;
	}
	if (code == 0)
		code = parts_walk(folder, id, part_survey, ret);
	if (code == 0 && ret->nr_files == 0)
		code = -ENOENT;
	if (code == 0)
		ret->attached = ret->lock_fd >= 0 && had_writers(ret);
	else
		strata__remains_end(ret, /* remove_lock= */ false);
	return code;
}

struct removal {
	struct strata__remains *remains;
	bool pins;
};

static int
part_remove(const char *file, void *arg)
{
	struct removal *removal = arg;
	struct strata__remains *remains = removal->remains;
	struct part part = part_of_name(&remains->id, file);
	struct stat st;

	if (part.kind == STRATA_KIND_LOCK ||
	    (part.kind == STRATA_KIND_PINS) != removal->pins ||
	    !part_stat(remains->folder, file, &st) ||
	    !part_is_ours(remains, &part, file, &st))
		return 0;
	/* Other users' in a sticky folder stay. */
	if (unlinkat(remains->folder->fd, file, 0) == 0) {
		remains->nr_files++;
		remains->bytes += (uint64_t)st.st_blocks * 512;
	}
	STRATA_TESTPOINT("remains.part-unlinked");
	return 0;
}

void
strata__remains_remove(struct strata__remains *remains)
{
	struct removal removal = {remains, /* pins= */ false};

	remains->nr_files = remains->bytes = 0;
	(void)parts_walk(remains->folder, &remains->id, part_remove, &removal);
	removal.pins = true;
	(void)parts_walk(remains->folder, &remains->id, part_remove, &removal);
}

void
strata__remains_end(struct strata__remains *remains, bool remove_lock)
{
	char file[STRATA_SEGMENT_NAME];
	struct stat st;

	if (remains->lock_fd < 0)
		return;
	strata__segment_name_lock(file, &remains->id);
	if (remove_lock && fstat(remains->lock_fd, &st) == 0 &&
	    unlinkat(remains->folder->fd, file, 0) == 0) {
		remains->nr_files++;
		remains->bytes += (uint64_t)st.st_blocks * 512;
	}
	STRATA_TESTPOINT("remains.lock-unlinked");
	strata__os_unlock(remains->lock_fd, STRATA_LOCK_MAKING, 1);
	close(remains->lock_fd);
	remains->lock_fd = -1;
}
