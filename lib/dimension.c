/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Work on one whole dimension: its lock, and segments being built for it. */
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "store.h"

static int
lock_open(struct strata_store *store, int *ret_fd)
{
	char name[STRATA_SEGMENT_NAME];
	uint64_t size;
	int err;

	err = strata__folder_mend(&store->space.folder);
	if (err != 0)
		return err;
	strata__segment_name_lock(name, &store->space.id);
	err = strata__segment_open(&store->space.folder, name,
				   /* writable= */ true,
				   store->space.trusted_uid,
				   store->space.geometry->group, ret_fd, &size);
	if (err == -ENOENT)
		return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				    store->name);
	return err;
}

/* Through an open file of its own: threads exclude each other, too. -EAGAIN,
 * untold, when somebody has it. No fork in between: see strata__os_guard(). */
static int
lock_try(struct strata_store *store, uint32_t dimension,
	 struct strata__dimension_lock *ret)
{
	int fd = -1, err;

	strata__stores_lock();
	err = lock_open(store, &fd);
	if (err == 0) {
		err = strata__os_lock_try(fd, STRATA_LOCK_DIMENSION(dimension),
					  1);
		if (err == 0)
			err = strata__os_guard(fd, &ret->guard);
		close(fd);
		if (err != 0 && err != -EAGAIN)
			err = strata__fail_errno(-err,
						 "cannot lock dimension %u",
						 dimension);
	}
	strata__stores_unlock();
	return err;
}

static void
nap(unsigned round)
{
	struct timespec time = { 0, 100000L << (round < 6 ? round : 6) };

	nanosleep(&time, NULL);
}

int
strata__dimension_lock(struct strata_store *store, uint32_t dimension,
		       struct strata__dimension_lock *ret)
{
	uint64_t begin;
	int err;

	err = strata__check_writer(store);
	if (err != 0)
		return err;
	if (dimension < 1 || dimension > STRATA_DIMENSION_MAX)
		return strata__fail(STRATA_EINVAL,
				    "%u is no dimension number: 1 to %u",
				    dimension, STRATA_DIMENSION_MAX);
	/* Who has the dimension may need the writer lock to be done with it. */
	strata__session_yield(store);
	begin = strata__os_monotonic_ns();
	for (unsigned round = 0;; round++) {
		err = lock_try(store, dimension, ret);
		if (err != -EAGAIN)
			return err;
		if (strata__os_monotonic_ns() - begin >
		    STRATA_WLOCK_TIMEOUT_NS)
			break;
		nap(round);
	}
	strata__fail(STRATA_EBUSY,
		     "dimension %u of store '%s' is being loaded, unloaded or "
		     "crystallised by another process; try again when it is "
		     "done",
		     dimension, store->name);
	strata__error()->dimension = dimension;
	return STRATA_EBUSY;
}

void
strata__dimension_unlock(struct strata__dimension_lock *lock)
{
	strata__os_unguard(lock->guard);
	lock->guard = NULL;
}

/* The pages of a region that was replaced, if they fit. */
static bool
reserve_spare(struct strata_store *store, uint32_t dimension,
	      uint64_t image_size, struct strata__building *ret)
{
	if (store->spare.generation == 0)
		return false;
	if (!strata__spare_take(&store->space, &store->spare, dimension,
				image_size, ret)) {
		strata__spare_give_up(store);
		return false;
	}
	store->spare.generation = 0;
	return true;
}

static int
reserve(struct strata_store *store, uint32_t dimension, uint64_t image_size,
	bool last, struct strata__building *ret)
{
	const struct strata__geometry *geometry = store->space.geometry;
	int err = strata__write_begin(store);

	if (err != 0)
		return err;
	strata__stores_lock(); /* no fork: see strata__os_guard() */
	if (!reserve_spare(store, dimension, image_size, ret))
		err = strata__segtab_reserve(&store->space, dimension,
					     image_size, geometry->mode,
					     geometry->group, ret);
	strata__stores_unlock();
	if (strata__is_shortage(err) || err == STRATA_EBUSY) {
		/* What this dooms is buried by write_end. */
		(void)strata__make_room(store, err);
		strata__refuse(store, err);
	}
	if (last)
		strata__count_refusal(&store->space, err);
	strata__write_end(store);
	return err;
}

int
strata__building_begin(struct strata_store *store, uint32_t dimension,
		       uint64_t image_size, struct strata__building *ret)
{
	int err = reserve(store, dimension, image_size, /* last= */ false, ret);

	if (strata__is_shortage(err) || err == STRATA_EBUSY)
		err = reserve(store, dimension, image_size, /* last= */ true,
			      ret);
	if (err != 0)
		strata__error()->dimension = dimension;
	/* It is filled outside of the lock. */
	strata__session_yield(store);
	return err;
}

void
strata__building_abort(struct strata_store *store,
		       struct strata__building *building)
{
	struct strata_error_info kept;

	if (strata__error()->code == STRATA_ESHM)
		strata__space_numbers(&store->space);
	kept = *strata__error();
	if (strata__write_begin(store) == 0) {
		strata__segtab_abandon(&store->space, building);
		strata__write_end(store);
	}
	/* Else its lock goes with the guard below, and the next writer that is
	 * short of room, or gc, sweeps it. */
	strata__building_close(building);
	*strata__error() = kept;
}
