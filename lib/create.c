/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Making a store: everything first, the catalog, which is the store, last. */

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "destroy.h"
#include "directory.h"
#include "error.h"
#include "pool.h"
#include "remains.h"
#include "store.h"
#include "testpoint.h"

#define MODE_DEFAULT 0600u
/* Times that a store of this name may come and go while we are at it. */
#define TRIES 8

/**** wishes ****/

/*
 * The caller's config, as long as its header said it is. Size 0 means the first
 * that was published, so that all bytes zero are valid. What a newer caller
 * says beyond what we know must be zero: it would be silently ignored.
 */
static int
config_copy(const struct strata_config *config, struct strata_config *ret)
{
	size_t size, i;

	memset(ret, 0, sizeof(*ret));
	if (config == NULL)
		return 0;
	size = config->struct_size != 0 ? config->struct_size : sizeof(*ret);
	for (i = sizeof(*ret); i < size; i++)
		if (((const char *)config)[i] != 0)
			return strata__fail(STRATA_EINVAL,
					    "the config asks for what this "
					    "library does not know");
	memcpy(ret, config, size < sizeof(*ret) ? size : sizeof(*ret));
	return 0;
}

static int
config_check(struct strata_config *config)
{
	if (config->mode == 0)
		config->mode = MODE_DEFAULT;
	if ((config->mode & ~0664u) != 0 || (config->mode & 0600) != 0600)
		return strata__fail(STRATA_EINVAL,
				    "mode %04" PRIo32
				    ": the owner must read and write, others "
				    "must not write, nobody executes",
				    config->mode);
	if ((unsigned)config->huge_pages > STRATA_HUGE_REQUIRE)
		return strata__fail(STRATA_EINVAL, "huge_pages is %d",
				    (int)config->huge_pages);
	if (config->directory != NULL && config->directory[0] == '\0')
		return strata__fail(STRATA_EINVAL, "the directory is empty");
	return 0;
}

/* A group by its name, or by its number where no group has such a name. */
static int
group_find(const char *name, uint32_t *ret)
{
	char buffer[16384];
	struct group group, *found = NULL;
	unsigned long number;
	char *end;
	int err;

	if (name == NULL) {
		*ret = getegid();
		return 0;
	}
	err = getgrnam_r(name, &group, buffer, sizeof(buffer), &found);
	if (found != NULL) {
		*ret = found->gr_gid;
		return 0;
	}
	errno = 0;
	number = strtoul(name, &end, 10);
	if (errno == 0 && end != name && *end == '\0' && name[0] != '-' &&
	    number < STRATA_GROUP_ANY) {
		*ret = (uint32_t)number;
		return 0;
	}
	if (err != 0 && err != ENOENT && err != ESRCH)
		return strata__fail_errno(err, "cannot look up group '%s'",
					  name);
	return strata__fail(STRATA_EINVAL, "there is no group '%s'", name);
}

/* Everything that depends on nothing but the wishes and this process. */
static int
plan(const char *name, const struct strata_config *wishes,
     struct strata_config *config, struct strata__geometry *ret)
{
	int code = config_copy(wishes, config);

	if (code == 0)
		code = config_check(config);
	if (code == 0)
		code = strata__geometry_plan(config, ret);
	if (code == 0)
		code = group_find(config->group, &ret->group);
	if (code != 0)
		return code;
	strcpy(ret->name, name);
	ret->owner = geteuid();
	ret->mode = config->mode;
	ret->membarrier = strata__os_membarrier_register() == 0;
	ret->created_ns = strata__os_realtime_ns();
	return 0;
}

/**** making ****/

/* A store in the making; what is named has to be removed if it fails. */
struct making {
	struct strata__space space;
	struct strata__directory directory;
	bool pools, lock, pins;
};

static void *
map_all(int fd, uint64_t size)
{
	void *p;
	int err = strata__os_map(fd, /* offset= */ 0, size,
				 /* writable= */ true, &p);

	if (err == 0)
		return p;
	strata__fail_errno(-err, "cannot map %" PRIu64 " bytes", size);
	return NULL;
}

/* The catalog, mapped, without name and magic. */
static int
catalog_build(struct strata__space *space, const struct strata__geometry *g)
{
	struct strata__counters *counters;
	int code;

	code = strata__segment_build(&space->folder, g->catalog_size, g->mode,
				     g->group, &space->catalog_fd);
	if (code != 0)
		return code;
	space->catalog = map_all(space->catalog_fd, g->catalog_size);
	if (space->catalog == NULL)
		return strata__error()->code;
	space->catalog->geometry = *g;
	space->geometry = &space->catalog->geometry;
	counters = &space->catalog->counters;
	strata__count_set(&counters->limit, g->first_limit);
	strata__count_set(&counters->reserved,
			  g->catalog_size + g->lock_size + g->pins_size);
	strata__count_set(&counters->next_generation, 1);
	return 0;
}

/*
 * Only those who may write get at the lock segment: on a file that others can
 * open, their read locks would stop all writers.
 */
static uint32_t
lock_mode(uint32_t mode)
{
	return 0600 | ((mode & 0020) != 0 ? 0060 : 0);
}

/* Locked before it has a name: see remains.c. Children do not inherit the
 * mapping, which keeps the lock. */
static int
lock_fill(struct strata__space *space, int fd)
{
	const struct strata__geometry *g = space->geometry;
	char file[STRATA_SEGMENT_NAME];
	int code;

	code = strata__os_lock_try(fd, STRATA_LOCK_MAKING, 1);
	if (code != 0)
		return strata__fail_errno(-code, "cannot lock a new segment");
	space->lock = map_all(fd, g->lock_size);
	if (space->lock == NULL)
		return strata__error()->code;
	code = strata__os_no_fork(space->lock, g->lock_size);
	if (code != 0)
		return strata__fail_errno(-code, "cannot keep the lock segment "
						 "from children");
	strata__head_stamp(&space->lock->head, STRATA_KIND_LOCK, /* index= */ 0,
			   &space->id, /* generation= */ 1, g->lock_size);
	strata__segment_name_lock(file, &space->id);
	return strata__segment_publish(&space->folder, fd, file);
}

static int
lock_build(struct making *making)
{
	struct strata__space *space = &making->space;
	const struct strata__geometry *g = space->geometry;
	int code, fd;

	code = strata__fork_handlers();
	if (code != 0)
		return code;
	/* A child that had the descriptor would keep the lock. */
	strata__stores_lock();
	code = strata__segment_build(&space->folder, g->lock_size,
				     lock_mode(g->mode), g->group, &fd);
	if (code == 0) {
		code = lock_fill(space, fd);
		if (code == 0)
			close(fd);
		else
			strata__segment_discard(&space->folder, fd);
	}
	strata__stores_unlock();
	making->lock = code == 0;
	STRATA_TESTPOINT("create.lock-published");
	return code;
}

/* The owner's pins, so that a store that exists can be read by its owner even
 * when the memory is full by then. */
static int
pins_build(struct making *making)
{
	const struct strata__space *space = &making->space;
	const struct strata__geometry *g = space->geometry;
	char file[STRATA_SEGMENT_NAME];
	struct strata__head head;
	int code, fd;

	code = strata__segment_build(&space->folder, g->pins_size,
				     0600 | (g->mode & 0044), g->group, &fd);
	if (code != 0)
		return code;
	memset(&head, 0, sizeof(head));
	strata__head_stamp(&head, STRATA_KIND_PINS, g->owner, &space->id,
			   /* generation= */ 1, g->pins_size);
	code = strata__segment_write(&space->folder, fd, &head, sizeof(head),
				     /* offset= */ 0);
	strata__segment_name_pins(file, &space->id, g->owner, /* suffix= */ 0);
	if (code == 0)
		code = strata__segment_publish(&space->folder, fd, file);
	making->pins = code == 0;
	if (code == 0)
		close(fd);
	else
		strata__segment_discard(&space->folder, fd);
	STRATA_TESTPOINT("create.pins-published");
	return code;
}

static int
pools_build(struct making *making)
{
	const struct strata__geometry *g = making->space.geometry;
	int code = strata__pool_create(&making->space, g->mode, g->group);

	making->pools = code == 0;
	STRATA_TESTPOINT("create.pools-published");
	return code;
}

/* Version 1 is the empty store: no root. */
static void
first_version(struct strata__catalog *catalog)
{
	uint64_t now = catalog->geometry.created_ns;
	unsigned ring;

	for (ring = 0; ring < 2; ring++) {
		struct strata__age *age = &catalog->ages.rings[ring][0];

		strata__count_set(&age->version, 1);
		strata__count_set(&age->realtime_ns, now);
		strata__count_set(&catalog->ages.nr[ring], 1);
	}
	atomic_store_explicit(&catalog->hot.version, 1, memory_order_release);
}

/* From here on the store exists. */
static int
catalog_publish(struct making *making)
{
	struct strata__space *space = &making->space;
	struct strata__catalog *catalog = space->catalog;
	char file[STRATA_SEGMENT_NAME];
	int code;

	strcpy(catalog->directory, making->directory.path);
	first_version(catalog);
	strata__head_stamp(&catalog->head, STRATA_KIND_CATALOG, /* index= */ 0,
			   &space->id, /* generation= */ 1,
			   catalog->geometry.catalog_size);
	strata__segment_name_catalog(file, catalog->geometry.name);
	code = strata__segment_publish(&space->folder, space->catalog_fd, file);
	STRATA_TESTPOINT("create.published");
	return code;
}

static int
make_parts(struct making *making, const struct strata_config *config,
	   const struct strata__geometry *g)
{
	int code = catalog_build(&making->space, g);

	if (code == 0)
		code = lock_build(making);
	if (code == 0)
		code = pools_build(making);
	if (code == 0)
		code = pins_build(making);
	if (code == 0)
		code = strata__directory_take(config->directory, g->name,
					      config->adopt != 0, g->mode,
					      g->group, &making->directory);
	if (code == 0)
		code = catalog_publish(making);
	if (code != -EPERM)
		return code;
	/* Of a group that we are no member of. */
	strata__error()->code = STRATA_EACCES;
	return STRATA_EACCES;
}

/**** unmaking ****/

/* Removes the names; the last error stays. */
static void
unmake(struct making *making)
{
	struct strata__space *space = &making->space;
	struct strata_error_info error = *strata__error();
	char file[STRATA_SEGMENT_NAME];
	uint32_t i;

	strata__directory_undo(&making->directory);
	for (i = 0; making->pools && i < space->geometry->nr_classes; i++) {
		strata__segment_name_pool(file, &space->id, i);
		strata__segment_unlink(&space->folder, file);
	}
	strata__segment_name_pins(file, &space->id, geteuid(), 0);
	if (making->pins)
		strata__segment_unlink(&space->folder, file);
	strata__segment_name_lock(file, &space->id);
	if (making->lock)
		strata__segment_unlink(&space->folder, file);
	if (space->catalog_fd >= 0) {
		strata__segment_discard(&space->folder, space->catalog_fd);
		space->catalog_fd = -1;
	}
	*strata__error() = error;
}

static int
make(const struct strata__folder *folder, const struct strata_config *config,
     const struct strata__geometry *g)
{
	struct making making;
	int code;

	memset(&making, 0, sizeof(making));
	making.directory.fd = -1;
	strata__space_init(&making.space, STRATA_WRITE);
	making.space.folder = *folder;
	code = strata__os_random(&making.space.id, sizeof(making.space.id));
	if (code != 0)
		strata__fail_errno(-code, "no random numbers for an id");
	else
		code = make_parts(&making, config, g);
	if (code == 0)
		strata__directory_keep(&making.directory);
	else
		unmake(&making);
	/* Its lock goes with it: the store exists, or nothing is left of it. */
	if (making.space.lock != NULL)
		strata__os_unmap(making.space.lock, g->lock_size);
	making.space.folder.fd = -1; /* the caller's */
	strata__space_close(&making.space);
	return code;
}

/**** the name ****/

static int
fail_exists(const char *name, int code)
{
	char why[sizeof(strata__error()->sentence)];

	if (code == 0)
		return strata__fail(STRATA_EEXIST,
				    "a store '%s' exists already", name);
	memcpy(why, strata__error()->sentence, sizeof(why));
	return strata__fail(STRATA_EEXIST,
			    "a store '%s' exists already, though one that "
			    "cannot be attached to: %s",
			    name, why);
}

/* Is the name free? A store that is half destroyed is cleared away. */
static int
clear_name(const struct strata__folder *folder, const char *name)
{
	struct strata__peek peek;
	unsigned tries;
	int code;

	for (tries = 0; tries < TRIES; tries++) {
		code = strata__space_peek(folder, name, STRATA_TRUST_NOBODY,
					  &peek);
		if (code == STRATA_ENOSTORE)
			return 0;
		if (code != 0 || (peek.version & STRATA_VERSION_DEAD) == 0)
			return fail_exists(name, code);
		code = strata__destroy_finish(name);
		if (code != 0 && code != STRATA_ENOSTORE)
			return code;
	}
	return fail_exists(name, /* code= */ 0);
}

static int
check_folder(const struct strata__folder *folder,
	     const struct strata__geometry *g)
{
	uint64_t least = strata__geometry_least(g);

	if (strata__folder_free(folder) >= least)
		return 0;
	return strata__segment_fail_full(folder, least);
}

int
strata_create(const char *name, const struct strata_config *config)
{
	struct strata__geometry geometry;
	struct strata_config copy;
	struct strata__folder folder;
	unsigned tries;
	int code = strata__store_name_check(name);

	if (code == 0)
		code = plan(name, config, &copy, &geometry);
	if (code == 0)
		code = strata__folder_open(&folder);
	if (code != 0)
		return code;
	strata__remains_sweep(&folder, NULL);
	for (tries = 0; tries < TRIES; tries++) {
		code = clear_name(&folder, name);
		if (code == 0)
			code = check_folder(&folder, &geometry);
		if (code == 0)
			code = make(&folder, &copy, &geometry);
		/* Somebody was faster; perhaps it is dead already. */
		if (code != STRATA_EEXIST ||
		    strata__error()->sys_errno != EEXIST)
			break;
	}
	strata__folder_close(&folder);
	return code;
}
