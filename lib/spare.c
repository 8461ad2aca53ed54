/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A region that nobody needs is kept for the next one. */
#include "spare.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "fence.h"
#include "log.h"
#include "testpoint.h"

/*
 * Fresh pages have to be found and cleared before they can be filled, which
 * takes as long as filling them. So a writer that has replaced a region keeps
 * the old one, once no reader needs it, and fills it anew for the next image
 * that fits.
 *
 * A spare is what a builder leaves that was killed: an entry BUILDING whose
 * file nobody holds. So the table has no state more, and all who look for such
 * leftovers (who is short of room, gc, recovery) give it up, whether its writer
 * lives or not; that one remembers which it was, and sees under the lock
 * whether it still is. Its bytes stay charged all the time.
 *
 * Its generation is a new one, and so is its file's name, before anything is
 * written to it: whoever has the former life open or mapped finds that gone, as
 * if another file lay there. It was not DYING in between, so that nobody
 * truncates it by its name.
 */

static struct strata__segment *
entry_at(const struct strata__space *space, uint32_t index)
{
	return &strata__segments(space)[index];
}

static uint32_t
state_of(struct strata__segment *entry)
{
	return atomic_load_explicit(&entry->record.state, memory_order_acquire);
}

/* Letter S, as entry_word() of the segment table. */
static void
entry_word(_Atomic uint64_t *word, uint64_t to)
{
	atomic_store_explicit(word, to, memory_order_release);
}

static int
open_file(const struct strata__space *space, uint64_t generation, int *ret_fd)
{
	char name[STRATA_SEGMENT_NAME];
	uint64_t size;

	strata__segment_name_region(name, &space->id, generation);
	return strata__segment_open(&space->folder, name, /* writable= */ true,
				    space->trusted_uid, space->geometry->group,
				    ret_fd, &size);
}

/* Ours to rename where the folder is sticky, and all of it in memory: a store
 * to what is not there would be a SIGBUS when there is no room for it. */
static bool
is_usable(int fd, uint64_t size)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
	       (uint64_t)st.st_size == size &&
	       (uint64_t)st.st_blocks * 512 >= size;
}

/**** making one ****/

/* Far from the thresholds: a spare is never why one is passed. */
bool
strata__spare_is_affordable(struct strata__space *space)
{
	struct strata__counters *counters = &space->catalog->counters;

	return strata__count(&counters->reserved) <=
	       strata__count(&counters->limit) / 2;
}

/* A small one is not worth it, nor is one in small pages where the store wishes
 * large ones. */
static bool
is_wanted(struct strata__space *space, struct strata__segment *entry)
{
	uint64_t pages = strata__count(&entry->image_size) / STRATA_LARGE_PAGE;

	if (pages == 0 || !strata__spare_is_affordable(space))
		return false;
	return space->geometry->huge_pages == STRATA_HUGE_NEVER ||
	       atomic_load_explicit(&entry->large_pages,
				    memory_order_relaxed) == pages;
}

/* The life that was ends here, for who looks at the entry. */
static void
end_life(struct strata__space *space, struct strata__segment *entry)
{
	/* Letter L: pairs with the fence behind an observer's copy. Whoever
	 * reads a byte that is written to the file from here on finds that the
	 * life of what he read is over. A release orders only what is before
	 * it. */
	atomic_store_explicit(&entry->record.state, STRATA_BUILDING,
			      memory_order_release);
	strata__fence_release();
	STRATA_TESTPOINT("spare.make.ended");
	strata__count_sub(&space->catalog->counters.region_retired_bytes,
			  strata__count(&entry->size));
}

/* Killed between the two, the file has a name that no entry knows: recovery
 * sweeps it. */
static int
rename_file(struct strata__space *space, struct strata__segment *entry)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t generation = strata__count(&counters->next_generation);
	char from[STRATA_SEGMENT_NAME], to[STRATA_SEGMENT_NAME];
	int err;

	strata__count_set(&counters->next_generation, generation + 1);
	strata__segment_name_region(from, &space->id,
				    strata__count(&entry->record.generation));
	strata__segment_name_region(to, &space->id, generation);
	err = strata__os_rename_new(space->folder.fd, from, to);
	STRATA_TESTPOINT("spare.make.renamed");
	if (err != 0)
		return err;
	entry_word(&entry->record.birth, 0);
	STRATA_TESTPOINT("spare.make.birth");
	entry_word(&entry->record.retirement, 0);
	STRATA_TESTPOINT("spare.make.retirement");
	entry_word(&entry->record.generation, generation);
	STRATA_TESTPOINT("spare.make.entered");
	return 0;
}

static bool
make(struct strata__space *space, struct strata__segment *entry)
{
	static const char zeroes[STRATA_PAGE];
	uint64_t size = strata__count(&entry->size);
	int fd, err = -1;

	if (strata__folder_mend(&space->folder) != 0 ||
	    open_file(space, strata__count(&entry->record.generation), &fd) !=
		    0)
		return false;
	if (is_usable(fd, size)) {
		end_life(space, entry);
		err = strata__os_pwrite(fd, zeroes, sizeof(zeroes),
					size - sizeof(zeroes));
		if (err == 0)
			err = rename_file(space, entry);
	}
	close(fd);
	return err == 0;
}

bool
strata__spare_make(struct strata__space *space, uint32_t index,
		   struct strata__spare *ret)
{
	struct strata__segment *entry = entry_at(space, index);
	struct strata_error_info kept = *strata__error();
	bool made = false;

	if (state_of(entry) == STRATA_RETIRED && is_wanted(space, entry))
		made = make(space, entry);
	*strata__error() = kept;
	if (!made)
		return false;
	ret->index = index;
	ret->generation = strata__count(&entry->record.generation);
	STRATA_LOG(STRATA_LOG_DEBUG,
		   "store '%s': keeps %llu bytes for the next region",
		   space->geometry->name,
		   (unsigned long long)strata__count(&entry->size));
	return true;
}

/**** using it up ****/

static bool
is_spare(const struct strata__space *space, const struct strata__spare *spare)
{
	struct strata__segment *entry = entry_at(space, spare->index);

	return spare->generation != 0 && state_of(entry) == STRATA_BUILDING &&
	       strata__count(&entry->record.generation) == spare->generation;
}

/* By two descriptors, as make_named() of the segment table does it: the first
 * is the lock's, which its mapping keeps. */
static int
hold(struct strata__space *space, struct strata__building *building)
{
	uint64_t size = strata__count(&entry_at(space, building->index)->size);
	int fd, err = open_file(space, building->generation, &fd);

	if (err != 0)
		return err;
	if (!is_usable(fd, size))
		err = -1;
	if (err == 0)
		err = strata__os_lock_try(fd, 0, 1);
	if (err == 0)
		err = strata__os_guard(fd, &building->guard);
	close(fd);
	if (err != 0)
		return err;
	err = open_file(space, building->generation, &building->fd);
	if (err != 0)
		strata__os_unguard(building->guard);
	return err;
}

/* Where the end is inside a large page the kernel has to split that; it cannot
 * while anybody has a reference to a part of it, and then keeps all. */
static bool
is_within(int fd, uint64_t size)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (uint64_t)st.st_blocks * 512 <= size;
}

/* It becomes as long as its image needs. The file first: it is never larger
 * than what is charged for it. */
static int
cut(struct strata__space *space, struct strata__segment *entry,
    const struct strata__building *building)
{
	static const char zeroes[STRATA_PAGE];
	uint64_t more = strata__count(&entry->size) - building->size;
	int err;

	if (more == 0)
		return 0;
	err = strata__os_truncate(building->fd, building->size);
	if (err == 0 && !is_within(building->fd, building->size))
		err = -EBUSY;
	/* Where its last page will be is something that anybody has put. */
	if (err == 0)
		err = strata__os_pwrite(building->fd, zeroes, sizeof(zeroes),
					building->size - sizeof(zeroes));
	if (err != 0)
		return err;
	entry_word(&entry->size, building->size);
	STRATA_TESTPOINT("spare.take.cut");
	strata__space_uncharge(space, more);
	strata__count_sub(&space->catalog->counters.region_bytes, more);
	return 0;
}

static bool
take(struct strata__space *space, struct strata__building *building,
     uint32_t dimension)
{
	struct strata__segment *entry = entry_at(space, building->index);

	if (strata__folder_mend(&space->folder) != 0 ||
	    hold(space, building) != 0)
		return false;
	if (cut(space, entry, building) != 0) {
		strata__building_close(building);
		return false;
	}
	entry_word(&entry->image_size, building->image_size);
	STRATA_TESTPOINT("spare.take.image-size");
	atomic_store_explicit(&entry->dimension, dimension,
			      memory_order_release);
	STRATA_TESTPOINT("spare.take.dimension");
	return true;
}

bool
strata__spare_take(struct strata__space *space,
		   const struct strata__spare *spare, uint32_t dimension,
		   uint64_t image_size, struct strata__building *ret)
{
	struct strata__segment *entry = entry_at(space, spare->index);
	struct strata__building building = {.index = spare->index,
					    .generation = spare->generation,
					    .image_size = image_size,
					    .is_spare = true,
					    .fd = -1};
	struct strata_error_info kept = *strata__error();
	uint64_t size = strata__count(&entry->size);
	bool taken;

	/* Cutting is done under the writer lock: not much of it. */
	if (!is_spare(space, spare) || image_size > size ||
	    strata__segtab_segment_size(image_size) > size ||
	    strata__segtab_segment_size(image_size) < size - size / 4)
		return false;
	if (space->geometry->huge_pages != STRATA_HUGE_NEVER &&
	    image_size / STRATA_LARGE_PAGE >
		    atomic_load_explicit(&entry->large_pages,
					 memory_order_relaxed))
		return false;
	building.size = strata__segtab_segment_size(image_size);
	building.place = strata__count(&entry->place);
	building.large_pages =
		atomic_load_explicit(&entry->large_pages, memory_order_relaxed);
	taken = take(space, &building, dimension);
	*strata__error() = kept;
	if (taken)
		*ret = building;
	return taken;
}

bool
strata__spare_drop(struct strata__space *space,
		   const struct strata__spare *spare)
{
	if (!is_spare(space, spare))
		return false;
	strata__segtab_doom(space, spare->index);
	return true;
}
