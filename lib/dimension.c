/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Work on one whole dimension: its lock, and segments being built for it. */
#include <errno.h>
#include <unistd.h>

#include "error.h"
#include "store.h"

int
strata__dimension_lock(struct strata_store *store, uint32_t dimension,
		       struct strata__dimension_lock *ret)
{
	char name[STRATA_SEGMENT_NAME];
	uint64_t size;
	int fd, err;

	if (store == NULL || store->wlock.space == NULL)
		return strata__fail(STRATA_EACCES,
				    "the store is attached for reading: attach "
				    "with STRATA_WRITE");
	if (store->wlock.forked)
		return strata__fail(STRATA_EFORK,
				    "store '%s' was attached for writing by the "
				    "parent of this process: attach again",
				    store->name);
	if (dimension < 1 || dimension > STRATA_DIMENSION_MAX)
		return strata__fail(STRATA_EINVAL,
				    "%u is no dimension number: 1 to %u",
				    dimension, STRATA_DIMENSION_MAX);
	/* An open file of its own: threads exclude each other too. */
	strata__segment_name_lock(name, &store->space.id);
	err = strata__segment_open(&store->space.folder, name,
				   /* writable= */ true,
				   store->space.trusted_uid,
				   store->space.geometry->group, &fd, &size);
	if (err == -ENOENT)
		return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				    store->name);
	if (err != 0)
		return err;
	err = strata__os_lock_wait(fd, STRATA_LOCK_DIMENSION(dimension), 1,
				   STRATA_WLOCK_TIMEOUT_NS);
	if (err != 0) {
		close(fd);
		strata__fail(STRATA_EBUSY,
			     "dimension %u of store '%s' is being loaded, "
			     "unloaded or crystallised by another process; try "
			     "again when it is done",
			     dimension, store->name);
		strata__error()->dimension = dimension;
		return STRATA_EBUSY;
	}
	ret->fd = fd;
	return 0;
}

void
strata__dimension_unlock(struct strata__dimension_lock *lock)
{
	/* A child forked meanwhile has the descriptor, and so the lock, too. */
	strata__os_unlock(lock->fd, 0, 0);
	close(lock->fd);
	lock->fd = -1;
}

static int
reserve(struct strata_store *store, uint32_t dimension, uint64_t image_size,
	struct strata__building *ret)
{
	const struct strata__geometry *geometry = store->space.geometry;
	uint64_t freed;
	int err = strata__write_begin(store);

	if (err != 0)
		return err;
	err = strata__segtab_reserve(&store->space, dimension, image_size,
				     geometry->mode, geometry->group, ret);
	if (strata__is_shortage(err)) {
		struct strata_error_info kept = *strata__error();

		/* What this dooms is buried by write_end. */
		strata__sweep_segments(store);
		(void)strata__reclaim(store, &freed);
		(void)strata__pool_shrink(&store->space);
		*strata__error() = kept;
		strata__blame_readers(store);
	}
	strata__write_end(store);
	return err;
}

int
strata__building_begin(struct strata_store *store, uint32_t dimension,
		       uint64_t image_size, struct strata__building *ret)
{
	int err = reserve(store, dimension, image_size, ret);

	if (strata__is_shortage(err))
		err = reserve(store, dimension, image_size, ret);
	if (err != 0)
		strata__error()->dimension = dimension;
	return err;
}

void
strata__building_abort(struct strata_store *store,
		       struct strata__building *building)
{
	struct strata_error_info kept = *strata__error();

	if (strata__write_begin(store) == 0) {
		strata__segtab_abandon(&store->space, building);
		strata__write_end(store);
	}
	/* Else our lock on it goes with the descriptor, and the next writer
	 * that is short of room, or gc, sweeps it. */
	strata__building_close(building);
	*strata__error() = kept;
}
