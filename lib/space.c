/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Attaching memory: catalog, window, pools, regions as they come and go. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "fence.h"
#include "space.h"
#include "testpoint.h"

#define WINDOW_ALIGN (UINT64_C(2) << 20)

/**** mapping ****/

static bool
is_dead(const struct strata__catalog *catalog)
{
	return (atomic_load_explicit(&catalog->hot.version,
				     memory_order_acquire) &
		STRATA_VERSION_DEAD) != 0;
}

static int
fail_no_store(const char *name)
{
	return strata__fail(STRATA_ENOSTORE, "there is no store '%s'", name);
}

static int
fail_dead(const char *name)
{
	return strata__fail(STRATA_ENOSTORE, "store '%s' was destroyed", name);
}

/**** catalog ****/

/* Who is trusted besides us and root: the owner, if we are told to. */
static uint32_t
catalog_owner(const struct strata__folder *folder, const char *file)
{
	struct stat st;

	if (fstatat(folder->fd, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return STRATA_TRUST_NOBODY;
	return st.st_uid;
}

static int
catalog_open(const struct strata__folder *folder, const char *name,
	     bool writable, uint32_t trusted_uid, int *ret_fd,
	     struct stat *ret_st)
{
	char file[STRATA_SEGMENT_NAME];
	int code;

	strata__segment_name_catalog(file, name);
	code = strata__segment_open_stat(folder, file, writable, trusted_uid,
					 STRATA_GROUP_ANY, ret_fd, ret_st);
	if (code == -ENOENT)
		return fail_no_store(name);
	if (code != 0 ||
	    (uint64_t)ret_st->st_size >= sizeof(struct strata__catalog))
		return code;
	close(*ret_fd);
	strata__fail(STRATA_ECORRUPT,
		     "%s/%s is too short for the catalog of a store",
		     folder->path, file);
	strata__error()->size = (uint64_t)ret_st->st_size;
	return STRATA_ECORRUPT;
}

/* The group may write to the catalog only if the store says so itself. */
static int
catalog_check_group(const struct strata__geometry *geometry, const char *name,
		    const struct stat *st)
{
	if ((st->st_mode & S_IWGRP) == 0 ||
	    ((geometry->mode & 0020) != 0 && st->st_gid == geometry->group))
		return 0;
	return strata__fail(STRATA_EOWNER,
			    "store '%s' is not to be trusted: a group may "
			    "write to its catalog that is not the store's",
			    name);
}

static int
catalog_check(const struct strata__head *head,
	      const struct strata__geometry *geometry, const char *name,
	      const struct stat *st)
{
	char file[STRATA_SEGMENT_NAME];
	uint64_t size = (uint64_t)st->st_size;
	int code;

	strata__segment_name_catalog(file, name);
	code = strata__head_check(head, file, STRATA_KIND_CATALOG, NULL,
				  /* generation= */ 0, size);
	if (code == 0)
		code = strata__geometry_check(geometry, size);
	if (code == 0)
		code = catalog_check_group(geometry, name, st);
	if (code == 0 && strcmp(geometry->name, name) != 0)
		code = strata__fail(STRATA_ECORRUPT,
				    "%s is the catalog of store '%s'", file,
				    geometry->name);
	return code;
}

int
strata__space_peek(const struct strata__folder *folder, const char *name,
		   uint32_t trusted_uid, struct strata__peek *ret)
{
	const size_t base = offsetof(struct strata__catalog, counters);
	struct strata__counters counters;
	struct strata__catalog *c = NULL;
	struct stat st;
	int code, fd;

	code = catalog_open(folder, name, /* writable= */ false, trusted_uid,
			    &fd, &st);
	if (code != 0)
		return code;
	code = strata__os_pread(fd, &ret->head, sizeof(ret->head), 0);
	if (code == 0)
		code = strata__os_pread(
			fd, &ret->geometry, sizeof(ret->geometry),
			offsetof(struct strata__catalog, geometry));
	if (code == 0)
		code = strata__os_pread(
			fd, &ret->version, sizeof(c->hot.version),
			offsetof(struct strata__catalog, hot.version));
	if (code == 0)
		code = strata__os_pread(fd, &counters, sizeof(counters), base);
	if (code != 0) {
		strata__fail_errno(-code, "cannot read the catalog of '%s'",
				   name);
	} else {
		ret->limit = strata__count(&counters.limit);
		ret->reserved = strata__count(&counters.reserved);
		code = catalog_check(&ret->head, &ret->geometry, name, &st);
	}
	close(fd);
	return code;
}

static int
catalog_map(struct strata__space *space, const char *name, int fd,
	    const struct stat *st, unsigned flags)
{
	uint64_t size = (uint64_t)st->st_size;
	struct strata__geometry geometry;
	struct strata__catalog *catalog;
	struct strata__head head;
	void *map;
	int code;

	code = strata__os_map(fd, /* offset= */ 0, size, space->writable,
			      &map);
	if (code != 0)
		return strata__fail_errno(
			-code, "cannot map the catalog of '%s'", name);
	catalog = map;
	/* Copied, then checked: what all sizes and places are taken from does
	 * not change under us, whoever may write there. */
	head = catalog->head;
	geometry = catalog->geometry;
	code = catalog_check(&head, &geometry, name, st);
	if (code == 0 && memchr(catalog->directory, '\0',
				sizeof(catalog->directory)) == NULL)
		code = strata__fail(STRATA_ECORRUPT,
				    "the catalog of store '%s' is damaged: its "
				    "directory does not end",
				    name);
	if (code == 0 && (flags & STRATA_SPACE_DEAD) == 0 && is_dead(catalog))
		code = fail_dead(name);
	if (code != 0) {
		strata__os_unmap(catalog, size);
		return code;
	}
	/* Others' memory is not for the core dumps of those who only read. */
	if (!space->writable)
		strata__os_no_dump(catalog, size);
	space->catalog = catalog;
	space->own_geometry = geometry;
	space->geometry = &space->own_geometry;
	space->id = head.store_id;
	return 0;
}

static int
space_open_catalog(struct strata__space *space, const char *name,
		   unsigned flags)
{
	char file[STRATA_SEGMENT_NAME];
	struct stat st;
	int code, fd;

	strata__segment_name_catalog(file, name);
	if ((flags & STRATA_TRUST_OWNER) != 0)
		space->trusted_uid = catalog_owner(&space->folder, file);
	code = catalog_open(&space->folder, name, space->writable,
			    space->trusted_uid, &fd, &st);
	if (code != 0)
		return code;
	code = catalog_map(space, name, fd, &st, flags);
	STRATA_TESTPOINT("space.catalog-mapped");
	space->catalog_id = (struct strata__file_id){.device = st.st_dev,
						     .inode = st.st_ino};
	if (code != 0 || !space->writable)
		close(fd);
	else
		space->catalog_fd = fd;
	if (code != 0)
		return code;
	/* All segments have the group, the owner's as well. */
	if ((space->geometry->mode & 0020) != 0)
		space->trusted_uid = STRATA_TRUST_GROUP;
	return 0;
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Not what the program has opened under a number that it closed. */
static void
close_ours(int *fd, const struct strata__file_id *id)
{
	if (id->inode == 0 || strata__os_is_file(*fd, id))
		close_fd(fd);
	*fd = -1;
}

/**** window ****/

/* Addresses only: no memory, no access. */
static int
window_reserve(struct strata__space *space)
{
	uint64_t size = space->geometry->window_size;
	void *window;
	int err = strata__os_map_nothing(size, WINDOW_ALIGN, &window);

	if (err != 0)
		return strata__fail_errno(-err,
					  "cannot reserve %" PRIu64
					  " bytes of addresses for the store",
					  size);
	space->window = window;
	/* Where reference 0 leads: an empty node. */
	err = strata__os_map_zeroes_at(space->window, STRATA_PAGE);
	if (err != 0)
		return strata__fail_errno(-err, "cannot map a page");
	return 0;
}

static int
fail_missing(const struct strata__space *space, const char *file)
{
	if (is_dead(space->catalog) || strata__space_lost_name(space))
		return fail_dead(space->geometry->name);
	return strata__fail(STRATA_ECORRUPT, "%s/%s is missing",
			    space->folder.path, file);
}

/* Who destroys a store truncates its pools before they lose their names. */
static int
fail_short(const struct strata__space *space, const char *file, uint64_t size)
{
	if (is_dead(space->catalog))
		return fail_dead(space->geometry->name);
	strata__fail(STRATA_ECORRUPT, "%s/%s is too short", space->folder.path,
		     file);
	strata__error()->size = size;
	return STRATA_ECORRUPT;
}

/* Opens a segment whose head is in its first page, and checks it. */
static int
space_open_segment(const struct strata__space *space, const char *file,
		   bool writable, enum strata__kind kind, uint32_t index,
		   int *ret_fd, uint64_t *ret_size)
{
	struct strata__head head;
	uint64_t size;
	int code, fd;

	code = strata__segment_open(&space->folder, file, writable,
				    space->trusted_uid, space->geometry->group,
				    &fd, &size);
	if (code == -ENOENT)
		return fail_missing(space, file);
	if (code != 0)
		return code;
	STRATA_TESTPOINT("space.segment-opened");
	code = strata__os_pread(fd, &head, sizeof(head), 0);
	if (code == -ENODATA)
		code = fail_short(space, file, size);
	else if (code != 0)
		strata__fail_errno(-code, "cannot read %s", file);
	else
		code = strata__head_check(&head, file, kind, &space->id,
					  /* generation= */ 1, size);
	if (code == 0 && head.index != index)
		code = strata__fail(STRATA_ECORRUPT,
				    "%s is damaged: wrong index", file);
	if (code != 0) {
		close(fd);
		return code;
	}
	*ret_fd = fd;
	*ret_size = size;
	return 0;
}

/* The bits of strata__space.populated, one for each step begun. */
static uint64_t *
populated_new(const struct strata__class *class_)
{
	uint64_t steps = class_->map_size / STRATA_POOL_STEP + 1;

	return calloc(steps / 64 + 1, sizeof(uint64_t));
}

/*
 * Maps a pool at its full length. What lies beyond the end of the file is never
 * touched, and needs no new mapping when the pool grows.
 */
static int
pool_map(struct strata__space *space, uint32_t class_, int fd)
{
	const struct strata__class *c = &space->geometry->classes[class_];
	char *at = space->window + c->place;
	int err = strata__os_map_at(at, c->map_size, fd, space->writable);

	if (err != 0)
		return strata__fail_errno(-err, "cannot map pool %" PRIu32,
					  class_);
	if (!space->writable)
		return 0;
	space->populated[class_] = populated_new(c);
	if (class_ == 0)
		/* Nothing is known. What is never used costs nothing. */
		space->lines = calloc(c->nr_blocks, sizeof(*space->lines));
	if (space->populated[class_] == NULL || space->lines == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory for a table");
	return 0;
}

static int
pool_open(const struct strata__space *space, uint32_t class_, bool writable,
	  int *ret_fd)
{
	char file[STRATA_SEGMENT_NAME];
	uint64_t size;

	strata__segment_name_pool(file, &space->id, class_);
	return space_open_segment(space, file, writable, STRATA_KIND_POOL,
				  class_, ret_fd, &size);
}

int
strata__space_open_pool(const struct strata__space *space, uint32_t class_,
			int *ret_fd)
{
	return pool_open(space, class_, /* writable= */ false, ret_fd);
}

/* Observers map no pool; but one that they may not open is told at once. */
static int
space_try_pool(const struct strata__space *space, uint32_t class_)
{
	int fd, code = strata__space_open_pool(space, class_, &fd);

	if (code == 0)
		close(fd);
	return code;
}

static int
space_open_pool(struct strata__space *space, uint32_t class_)
{
	int code, fd;

	code = pool_open(space, class_, space->writable, &fd);
	if (code != 0)
		return code;
	code = pool_map(space, class_, fd);
	if (code != 0 || !space->writable)
		close(fd);
	else
		space->pool_fd[class_] = fd;
	if (code == 0 && space->writable)
		(void)strata__os_file_id(fd, &space->pool_id[class_]);
	return code;
}

static int
space_open_lock(struct strata__space *space)
{
	char file[STRATA_SEGMENT_NAME];
	uint64_t size;
	int code, fd;

	strata__segment_name_lock(file, &space->id);
	code = space_open_segment(space, file, /* writable= */ true,
				  STRATA_KIND_LOCK, /* index= */ 0, &fd, &size);
	if (code != 0)
		return code;
	space->lock_fd = fd;
	(void)strata__os_file_id(fd, &space->lock_id);
	if (size == space->geometry->lock_size)
		return 0;
	return strata__fail(STRATA_ECORRUPT, "%s has a wrong size", file);
}

static int
space_open_parts(struct strata__space *space)
{
	uint32_t i;
	int code = 0;

	if (space->observing) {
		for (i = 0; i < space->geometry->nr_classes && code == 0; i++)
			code = space_try_pool(space, i);
		return code;
	}
	code = window_reserve(space);
	for (i = 0; i < space->geometry->nr_classes && code == 0; i++)
		code = space_open_pool(space, i);
	if (!space->writable && code == 0) /* all pools by one call */
		strata__os_no_dump(space->window, space->geometry->region_base);
	if (code == 0 && space->writable)
		code = space_open_lock(space);
	return code;
}

/* Who destroys must get through, whatever the last who tried has left: a lock
 * segment that is gone or damaged is one that nobody can hold. */
static int
space_open_dead(struct strata__space *space)
{
	int code = space->writable ? space_open_lock(space) : 0;

	if (code == STRATA_ECORRUPT || code == STRATA_ENOSTORE) {
		close_ours(&space->lock_fd, &space->lock_id);
		code = 0;
	}
	return code;
}

void
strata__space_init(struct strata__space *space, unsigned flags)
{
	uint32_t i;

	memset(space, 0, sizeof(*space));
	space->folder.fd = -1;
	space->catalog_fd = -1;
	space->lock_fd = -1;
	for (i = 0; i < STRATA_CLASSES_MAX; i++)
		space->pool_fd[i] = -1;
	space->writable = (flags & STRATA_WRITE) != 0;
	space->observing = (flags & STRATA_OBSERVE) != 0;
	space->trusted_uid = STRATA_TRUST_NOBODY;
	pthread_mutex_init(&space->map_mutex, NULL);
}

int
strata__space_open(const char *name, unsigned flags, struct strata__space *ret)
{
	int code = strata__store_name_check(name);

	if (code != 0)
		return code;
	strata__space_init(ret, flags);
	code = strata__folder_open(&ret->folder);
	if (code == 0)
		code = space_open_catalog(ret, name, flags);
	if (code == 0)
		code = (flags & STRATA_SPACE_DEAD) != 0 ? space_open_dead(ret)
							: space_open_parts(ret);
	if (code != 0)
		strata__space_close(ret);
	return code;
}

static int
mend_one(struct strata__space *space, const char *file,
	 const struct strata__file_id *id, int *fd)
{
	uint64_t size;
	int code, again;

	if (id->inode == 0 || strata__os_is_file(*fd, id))
		return 0;
	code = strata__segment_open(&space->folder, file, space->writable,
				    space->trusted_uid, space->geometry->group,
				    &again, &size);
	if (code == -ENOENT)
		return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				    space->geometry->name);
	if (code != 0)
		return code;
	if (!strata__os_is_file(again, id)) {
		close(again);
		return strata__fail(STRATA_EGONE,
				    "the descriptor of %s was closed, and it is "
				    "another file now",
				    file);
	}
	*fd = again; /* the number is somebody else's: it stays open */
	return 0;
}

int
strata__space_mend(struct strata__space *space)
{
	char file[STRATA_SEGMENT_NAME];
	int code = strata__folder_mend(&space->folder);

	for (uint32_t i = 0; code == 0 && i < space->geometry->nr_classes;
	     i++) {
		strata__segment_name_pool(file, &space->id, i);
		code = mend_one(space, file, &space->pool_id[i],
				&space->pool_fd[i]);
	}
	if (code != 0)
		return code;
	strata__segment_name_lock(file, &space->id);
	return mend_one(space, file, &space->lock_id, &space->lock_fd);
}

/**** the name ****/

/* 1: it leads to the catalog; 0: it does not; -errno: it cannot be told. */
static int
look_name_up(const struct strata__space *space)
{
	char file[STRATA_SEGMENT_NAME];
	struct stat st;

	/* Not in what the program has opened under a number that it closed. */
	if (!strata__os_is_file(space->folder.fd, &space->folder.id))
		return -EBADF;
	strata__segment_name_catalog(file, space->geometry->name);
	if (fstatat(space->folder.fd, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : -errno;
	return st.st_dev == space->catalog_id.device &&
		st.st_ino == space->catalog_id.inode;
}

bool
strata__space_has_name(const struct strata__space *space)
{
	return look_name_up(space) == 1;
}

bool
strata__space_lost_name(const struct strata__space *space)
{
	return look_name_up(space) == 0;
}

/*
 * Removing or renaming a file changes its inode's time of change, on tmpfs as
 * everywhere; what writers do to the mapping does not, on tmpfs. So the usual
 * case is one fstat. Elsewhere it is one look-up more.
 */
bool
strata__space_is_named(struct strata__space *space)
{
	uint64_t now = strata__os_realtime_coarse_ns();
	struct stat st = {0};
	int64_t ctime_ns = 0;
	int named;

	if (fstat(space->catalog_fd, &st) == 0 &&
	    st.st_ino == space->catalog_id.inode &&
	    st.st_dev == space->catalog_id.device) {
		if (st.st_nlink == 0)
			return false;
		ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 +
			st.st_ctim.tv_nsec;
		if (ctime_ns == space->named_ctime_ns)
			return true;
	}
	(void)strata__folder_mend(&space->folder);
	named = look_name_up(space);
	/* It says nothing of a change in the same tick. */
	if (named == 1 && strata__os_is_settled(&st.st_ctim, now))
		space->named_ctime_ns = ctime_ns;
	return named != 0;
}

void
strata__space_mark_dead(struct strata__space *space)
{
	struct strata__hot *hot = &space->catalog->hot;

	/* Letter A: every later read lock sees it. */
	atomic_fetch_or_explicit(&hot->version, STRATA_VERSION_DEAD,
				 memory_order_release);
	STRATA_TESTPOINT("destroy.marked");
	/* Letter J. */
	atomic_fetch_add_explicit(&hot->commit_counter, 1,
				  memory_order_release);
	STRATA_TESTPOINT("destroy.counted");
	strata__os_futex_wake(&hot->commit_counter, INT_MAX);
}

/* Accepts a half-opened one. The lock segment is the wlock room's to unmap. */
void
strata__space_close(struct strata__space *space)
{
	uint32_t i;

	if (space->window != NULL)
		strata__os_unmap(space->window, space->geometry->window_size);
	space->window = NULL;
	for (i = 0; i < STRATA_CLASSES_MAX; i++) {
		close_ours(&space->pool_fd[i], &space->pool_id[i]);
		free(space->populated[i]);
		space->populated[i] = NULL;
	}
	free(space->lines);
	space->lines = NULL;
	close_ours(&space->lock_fd, &space->lock_id);
	close_ours(&space->catalog_fd, &space->catalog_id);
	if (space->catalog != NULL)
		strata__os_unmap(space->catalog, space->geometry->catalog_size);
	space->catalog = NULL;
	strata__mappings_fini(space);
	space->geometry = NULL;
	strata__folder_close(&space->folder);
	pthread_mutex_destroy(&space->map_mutex);
}
