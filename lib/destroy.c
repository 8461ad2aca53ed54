/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Destroying a store under whoever uses it. */
#include "destroy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "remains.h"
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
 * and learns at its swap that the store is gone. Asked and not locked: a read
 * lock, which any reader can have, is not in the way (see segtab.c). */
static void
truncate_file(const struct strata__space *space, const char *name)
{
	int fd = openat(space->folder.fd, name,
			O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return; /* gone already, or not ours: unlinking is enough */
	if (strata__os_is_locked(fd, 0, 1) == 0)
		(void)strata__os_truncate(fd, 0);
	close(fd);
}

/* No version reaches what is being built, spare or dying. */
static bool
is_needed(struct strata__scan *scan, struct strata__record *record,
	  uint32_t state)
{
	uint64_t birth =
		atomic_load_explicit(&record->birth, memory_order_relaxed);

	if (state == STRATA_ALLOCATED)
		return strata__scan_needs(scan, birth, UINT64_MAX);
	return state == STRATA_RETIRED &&
	       strata__scan_needs(
		       scan, birth,
		       atomic_load_explicit(&record->retirement,
					    memory_order_relaxed));
}

static void
truncate_region(const struct strata__space *space, struct strata__scan *scan,
		struct strata__segment *segment)
{
	struct strata__record *record = &segment->record;
	uint32_t state =
		atomic_load_explicit(&record->state, memory_order_acquire);
	char name[STRATA_SEGMENT_NAME];

	if (state == STRATA_FREE || is_needed(scan, record, state))
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
	/* What died while it had two names, so that no entry knows its file. */
	(void)strata__segtab_sweep(&d->space, NULL);
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

struct unlinking {
	const struct strata__space *space;
	size_t length; /* of what the names have in common */
	bool pins;
};

static int
unlink_part(const char *file, void *arg)
{
	const struct unlinking *unlinking = arg;
	const char *part = file + unlinking->length;

	if (strcmp(part, "lock") == 0 ||
	    (strncmp(part, "pins", 4) == 0) != unlinking->pins)
		return 0;
	/* Pins of other users in a sticky folder stay. */
	(void)unlinkat(unlinking->space->folder.fd, file, 0);
	STRATA_TESTPOINT("destroy.part-unlinked");
	return 0;
}

/* Everything that bears the store's id but the lock; pins, or all but pins. */
static int
unlink_parts(const struct strata__space *space, bool pins)
{
	char prefix[STRATA_SEGMENT_NAME];
	struct unlinking unlinking = {space, 0, pins};

	strata__segment_name_lock(prefix, &space->id);
	unlinking.length = strlen(prefix) - strlen("lock");
	prefix[unlinking.length] = '\0';
	return strata__folder_walk(&space->folder, prefix, unlink_part,
				   &unlinking);
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
	STRATA_TESTPOINT("destroy.lock-unlinked");
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

/**** what cannot be destroyed in that way ****/

/* Of another layout or boot, or damaged: only its head is looked at, and the
 * kernel's locks. */
struct ruin {
	struct strata__folder folder;
	char file[STRATA_SEGMENT_NAME]; /* the catalog */
	struct stat st;
	int fd;
	bool has_id;
	struct strata__head head;
};

static int
ruin_open(struct ruin *ruin, const char *name)
{
	int ret;

	strata__segment_name_catalog(ruin->file, name);
	if (fstatat(ruin->folder.fd, ruin->file, &ruin->st,
		    AT_SYMLINK_NOFOLLOW) != 0)
		return strata__fail(STRATA_ENOSTORE, "there is no store '%s'",
				    name);
	if (!S_ISREG(ruin->st.st_mode) ||
	    (ruin->st.st_uid != geteuid() && geteuid() != 0))
		return strata__fail(STRATA_EOWNER,
				    "%s/%s is no regular file of yours, so it is "
				    "not removed",
				    ruin->folder.path, ruin->file);
	ruin->fd = openat(ruin->folder.fd, ruin->file,
			  O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (ruin->fd < 0 || fstat(ruin->fd, &ruin->st) != 0)
		return strata__fail_errno(errno, "cannot open %s/%s",
					  ruin->folder.path, ruin->file);
	ret = strata__os_pread(ruin->fd, &ruin->head, sizeof(ruin->head), 0);
	ruin->has_id = ret == 0 && ruin->head.magic == STRATA_MAGIC;
	STRATA_TESTPOINT("destroy.ruin-opened");
	return 0;
}

/* The kernel looks at the word through the mapping, and refuses where there is
 * nothing; this process does not look. */
static void
ruin_wake(const struct ruin *ruin, uint64_t at)
{
	uint64_t page = at & ~(uint64_t)(STRATA_PAGE - 1);
	void *map;

	if (strata__os_map(ruin->fd, page, STRATA_PAGE, /* writable= */ false,
			   &map) != 0)
		return;
	strata__os_futex_wake((char *)map + (at - page), INT_MAX);
	strata__os_unmap(map, STRATA_PAGE);
}

/*
 * Whoever is idle in it learns that it is gone. As strata__space_mark_dead()
 * does it, but by reads and writes of the file: its owner may cut it off at any
 * time, and where it is mapped that is the end of whoever touches it, root, say.
 * Nobody changes the words meanwhile, as it was asked that nobody has it for
 * writing. A write behind the end makes a hole in a file that goes anyhow.
 */
static void
ruin_mark_dead(const struct ruin *ruin)
{
	const uint64_t at = offsetof(struct strata__catalog, hot);
	const uint64_t counter_at =
		at + offsetof(struct strata__hot, commit_counter);
	uint64_t version;
	uint32_t counter;

	if (!ruin->has_id || ruin->head.kind != STRATA_KIND_CATALOG ||
	    ruin->head.layout_major != STRATA_LAYOUT_MAJOR ||
	    strata__os_pread(ruin->fd, &version, sizeof(version),
			     at + offsetof(struct strata__hot, version)) != 0 ||
	    strata__os_pread(ruin->fd, &counter, sizeof(counter), counter_at) !=
		    0)
		return;
	version |= STRATA_VERSION_DEAD;
	counter++;
	(void)strata__os_pwrite(ruin->fd, &version, sizeof(version),
				at + offsetof(struct strata__hot, version));
	STRATA_TESTPOINT("destroy.ruin-marked");
	(void)strata__os_pwrite(ruin->fd, &counter, sizeof(counter),
				counter_at);
	STRATA_TESTPOINT("destroy.ruin-counted");
	ruin_wake(ruin, counter_at);
}

static int
ruin_unlink(const struct ruin *ruin)
{
	struct stat st;
	int err;

	if (fstatat(ruin->folder.fd, ruin->file, &st, AT_SYMLINK_NOFOLLOW) !=
		    0 ||
	    st.st_dev != ruin->st.st_dev || st.st_ino != ruin->st.st_ino)
		return 0; /* gone, and perhaps another one is there */
	err = unlinkat(ruin->folder.fd, ruin->file, 0) == 0 ? 0 : errno;
	STRATA_TESTPOINT("destroy.ruin-unlinked");
	if (err == 0 || err == ENOENT)
		return 0;
	return strata__fail_errno(err, "cannot remove %s/%s",
				  ruin->folder.path, ruin->file);
}

/* Its catalog does not say whose segments are its; so none may be in use. */
static int
ruin_remove_nameless(const struct ruin *ruin)
{
	int ret = strata__remains_check_unheld(&ruin->folder, ruin->st.st_uid);

	return ret != 0 ? ret : ruin_unlink(ruin);
}

static int
ruin_remove(const struct ruin *ruin)
{
	struct strata__remains remains;
	int ret, named;

	if (!ruin->has_id)
		return ruin_remove_nameless(ruin);
	ret = strata__remains_take(&ruin->folder, &ruin->head.store_id,
				   ruin->st.st_uid, /* force= */ true,
				   &remains);
	if (ret == -ENOENT)
		return ruin_unlink(ruin);
	if (ret != 0)
		return ret;
	/* A damaged one may bear the id of a store that is sound. */
	named = strata__remains_are_named(&remains, ruin->file);
	if (named == 0) {
		ruin_mark_dead(ruin);
		strata__remains_remove(&remains);
	}
	ret = named < 0 ? named : ruin_unlink(ruin);
	strata__remains_end(&remains, /* remove_lock= */ ret == 0 && named == 0);
	return ret;
}

int
strata_destroy_forced(const char *name)
{
	struct ruin ruin;
	int ret = strata_destroy(name);

	if (ret != STRATA_ELAYOUT && ret != STRATA_EBOOT &&
	    ret != STRATA_ECORRUPT && ret != STRATA_EOWNER)
		return ret;
	memset(&ruin, 0, sizeof(ruin));
	ruin.fd = -1;
	ret = strata__folder_open(&ruin.folder);
	if (ret != 0)
		return ret;
	ret = ruin_open(&ruin, name);
	if (ret == 0)
		ret = ruin_remove(&ruin);
	if (ruin.fd >= 0)
		close(ruin.fd);
	strata__folder_close(&ruin.folder);
	return ret;
}

int
strata__destroy_finish(const char *name)
{
	return destroy(name, /* finish_only= */ true);
}
