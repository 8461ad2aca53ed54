/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Destroying a store under whoever uses it. */
#include "destroy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "store.h"
#include "testpoint.h"

/*
 * One store under one name: whoever unlinks the name of a store holds that
 * store's writer lock, and has looked, holding it, that the name is still that
 * store's. The catalog goes after the others, since it knows their names, and
 * the lock last. So whoever finds a dead catalog can finish.
 */

struct destruction {
	struct strata__space space;
	struct strata__rcu rcu;
	struct strata__wlock wlock;
};

static bool
is_dead(const struct strata__space *space)
{
	return (atomic_load_explicit(&space->catalog->hot.version,
				     memory_order_acquire) &
		STRATA_VERSION_DEAD) != 0;
}

/**** what pinned sections still need ****/

static bool
anybody_pins(struct strata__scan *scan)
{
	for (size_t i = 0; i < scan->nr; i++)
		if (strata__scan_alive(scan, &scan->pins[i]))
			return true;
	return false;
}

/* Not under a loader that is at work in it, and has it mapped: it holds byte 0,
 * and learns at its swap that the store is gone. */
static void
truncate_file(const struct strata__space *space, const char *name)
{
	int fd = openat(space->folder.fd, name,
			O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return; /* gone already, or not ours: unlinking is enough */
	if (strata__os_lock_try(fd, 0, 1) == 0)
		(void)strata__os_truncate(fd, 0);
	close(fd);
}

static void
truncate_region(const struct strata__space *space, struct strata__scan *scan,
		struct strata__segment *segment)
{
	struct strata__record *record = &segment->record;
	uint32_t state =
		atomic_load_explicit(&record->state, memory_order_acquire);
	uint64_t retirement = UINT64_MAX;
	char name[STRATA_SEGMENT_NAME];

	if (state == STRATA_FREE)
		return;
	if (state == STRATA_RETIRED)
		retirement = atomic_load_explicit(&record->retirement,
						  memory_order_relaxed);
	if (strata__scan_needs(scan,
			       atomic_load_explicit(&record->birth,
						    memory_order_relaxed),
			       retirement))
		return;
	strata__segment_name_region(
		name, &space->id,
		atomic_load_explicit(&record->generation,
				     memory_order_relaxed));
	truncate_file(space, name);
}

/* Idle readers keep segments mapped for as long as they like: memory that no
 * section needs is given back by truncating, not by unlinking. */
static void
give_back(struct destruction *d)
{
	const struct strata__geometry *geometry = d->space.geometry;
	char name[STRATA_SEGMENT_NAME];
	struct strata__scan scan;

	if (strata__scan_take(&d->rcu, &scan) != 0)
		return; /* goes when the last process detaches */
	for (uint32_t i = 0; i < geometry->nr_segments; i++)
		truncate_region(&d->space, &scan,
				&strata__segments(&d->space)[i]);
	if (!anybody_pins(&scan))
		for (uint32_t i = 0; i < geometry->nr_classes; i++) {
			strata__segment_name_pool(name, &d->space.id, i);
			truncate_file(&d->space, name);
		}
	strata__scan_done(&scan);
}

/**** the names ****/

/* Everything that bears the store's id but the lock; pins, or all but pins. */
static int
unlink_parts(const struct strata__space *space, bool pins)
{
	char lock[STRATA_SEGMENT_NAME];
	struct dirent *entry;
	size_t length;
	DIR *dir;
	int fd;

	strata__segment_name_lock(lock, &space->id);
	length = strlen(lock) - strlen("lock");
	fd = openat(space->folder.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (dir == NULL) {
		int ret = strata__fail_errno(errno, "cannot list %s",
					     space->folder.path);

		if (fd >= 0)
			close(fd);
		return ret;
	}
	while ((entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, lock, length) == 0 &&
		    strcmp(entry->d_name, lock) != 0 &&
		    (strncmp(entry->d_name + length, "pins", 4) == 0) ==
			    pins) {
			/* Pins of other users in a sticky folder stay. */
			(void)unlinkat(space->folder.fd, entry->d_name, 0);
			STRATA_TESTPOINT("destroy.part-unlinked");
		}
	closedir(dir);
	return 0;
}

static int
unlink_all(const struct strata__space *space, const char *catalog)
{
	char lock[STRATA_SEGMENT_NAME];
	int ret;

	/* While there is anything that a section may read there are the pins
	 * that say so, for whoever has to finish. */
	ret = unlink_parts(space, /* pins= */ false);
	if (ret == 0)
		ret = unlink_parts(space, /* pins= */ true);
	if (ret != 0)
		return ret;
	/* Somebody may have removed it by hand meanwhile, and made another. */
	if (strata__space_has_name(space) &&
	    unlinkat(space->folder.fd, catalog, 0) != 0 && errno != ENOENT)
		return strata__fail_errno(errno, "cannot remove %s/%s",
					  space->folder.path, catalog);
	STRATA_TESTPOINT("destroy.catalog-unlinked");
	strata__segment_name_lock(lock, &space->id);
	(void)unlinkat(space->folder.fd, lock, 0);
	return 0;
}

/**** all of it ****/

static int
mark_dead(struct destruction *d, const char *name, bool finish_only)
{
	if (is_dead(&d->space))
		return 0;
	if (finish_only)
		return strata__fail(STRATA_EEXIST, "store '%s' exists", name);
	strata__space_mark_dead(&d->space);
	return 0;
}

static int
destroy_locked(struct destruction *d, const char *name, bool finish_only)
{
	char catalog[STRATA_SEGMENT_NAME];
	int ret;

	strata__segment_name_catalog(catalog, name);
	if (!strata__space_has_name(&d->space))
		return strata__fail(STRATA_ENOSTORE, "store '%s' is gone",
				    name);
	ret = mark_dead(d, name, finish_only);
	if (ret != 0)
		return ret;
	give_back(d);
	return unlink_all(&d->space, catalog);
}

static int
destroy_open(struct destruction *d, const char *name, bool finish_only)
{
	int ret;

	/* Without its lock segment nobody can write to it, or destroy it. */
	if (d->space.lock_fd < 0)
		return destroy_locked(d, name, finish_only);
	ret = strata__fork_handlers();
	if (ret != 0)
		return ret;
	strata__stores_lock(); /* no fork: see attach.c */
	ret = strata__wlock_attach(&d->wlock, &d->space);
	strata__stores_unlock();
	if (ret != 0)
		return ret;
	ret = strata__wlock_acquire(&d->wlock, STRATA_WLOCK_TIMEOUT_NS);
	if (ret == 0) {
		ret = destroy_locked(d, name, finish_only);
		strata__wlock_release(&d->wlock);
	}
	strata__wlock_detach(&d->wlock);
	return ret;
}

static int
destroy(const char *name, bool finish_only)
{
	unsigned flags = STRATA_WRITE | STRATA_SPACE_DEAD;
	struct destruction d;
	int ret;

	memset(&d, 0, sizeof(d));
	if (geteuid() == 0)
		flags |= STRATA_TRUST_OWNER; /* root may remove anything */
	ret = strata__space_open(name, flags, &d.space);
	if (ret != 0)
		return ret;
	ret = strata__rcu_init(&d.rcu, &d.space);
	if (ret == 0)
		ret = destroy_open(&d, name, finish_only);
	strata__rcu_fini(&d.rcu);
	strata__space_close(&d.space);
	return ret;
}

int
strata_destroy(const char *name)
{
	int ret;

	if (name == NULL)
		return strata__fail(STRATA_EINVAL, "no name");
	ret = strata__store_name_check(name);
	return ret != 0 ? ret : destroy(name, /* finish_only= */ false);
}

int
strata__destroy_finish(const char *name)
{
	return destroy(name, /* finish_only= */ true);
}
