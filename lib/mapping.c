/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Which regions this process has mapped: as they come and go. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "fence.h"
#include "space.h"
#include "testpoint.h"

/*
 * The segment table is read without the writer lock, while writers change it: so
 * each entry is looked at before and after it was acted upon. One process mutex
 * is around all of it.
 */

/**** one region ****/

/* An entry of the segment table, as it was at one look. */
struct look {
	uint32_t index;
	uint32_t dimension;
	uint64_t generation;
	uint64_t place;
	uint64_t size;
};

/* Merely retired regions may be read by those who pinned them in time. */
static bool
is_readable(uint32_t state)
{
	return state == STRATA_ALLOCATED || state == STRATA_RETIRED;
}

/*
 * Letter S: pairs with the release of the state in the segment table's
 * publish. Orders the look at the state before that at the rest of the entry:
 * without it we may see the place of the life before.
 */
static bool
segment_look(const struct strata__segment *segment, uint32_t index,
	     struct look *ret)
{
	if (!is_readable(atomic_load_explicit(&segment->record.state,
					      memory_order_acquire)))
		return false;
	ret->index = index;
	ret->generation = atomic_load_explicit(&segment->record.generation,
					       memory_order_relaxed);
	ret->place =
		atomic_load_explicit(&segment->place, memory_order_relaxed);
	ret->size = atomic_load_explicit(&segment->size, memory_order_relaxed);
	ret->dimension =
		atomic_load_explicit(&segment->dimension, memory_order_relaxed);
	return true;
}

/* Is the life that we saw still there? The fence keeps the second look behind
 * what was done since the first. */
static bool
segment_still(const struct strata__segment *segment, const struct look *look)
{
	struct look now;

	strata__fence_acquire();
	return segment_look(segment, look->index, &now) &&
	       now.generation == look->generation &&
	       now.place == look->place && now.size == look->size;
}

/* Back to mere addresses. If that fails what is mapped there is a file that is
 * empty by now: harmless, and the next region at this place replaces it. */
static void
region_unmap(struct strata__space *space, uint64_t place, uint64_t size)
{
	(void)strata__os_map_nothing_at(space->window + place, size);
}

static int
region_check_place(const struct strata__geometry *g, const struct look *look)
{
	uint64_t at = look->place - g->region_base;

	if (look->place >= g->region_base && at <= g->region_size &&
	    look->size <= g->region_size - at && look->size >= STRATA_PAGE &&
	    look->place % STRATA_PAGE == 0 && look->size % STRATA_PAGE == 0)
		return 0;
	strata__fail(STRATA_ECORRUPT, "its place in the window is impossible");
	strata__error()->offset = look->place;
	strata__error()->size = look->size;
	return STRATA_ECORRUPT;
}

static int
region_check_head(const struct strata__space *space, const struct look *look,
		  const char *file, int fd)
{
	struct strata__head head;
	int code = strata__os_pread(fd, &head, sizeof(head),
				    look->size - STRATA_PAGE);

	if (code != 0)
		return strata__fail_errno(-code, "cannot read its last page");
	code = strata__head_check(&head, file, STRATA_KIND_REGION, &space->id,
				  look->generation, look->size);
	if (code == 0 && head.index != look->index)
		code = strata__fail(STRATA_ECORRUPT, "it has another index");
	return code;
}

static int
region_open(const struct strata__space *space, const struct look *look,
	    int *ret_fd)
{
	char file[STRATA_SEGMENT_NAME];
	uint64_t size;
	int code, fd;

	strata__segment_name_region(file, &space->id, look->generation);
	code = strata__segment_open(&space->folder, file, /* writable= */ false,
				    space->trusted_uid, space->geometry->group,
				    &fd, &size);
	if (code == -ENOENT)
		return strata__fail_errno(ENOENT, "%s/%s", space->folder.path,
					  file);
	if (code != 0)
		return code;
	if (size != look->size)
		code = strata__fail(STRATA_ECORRUPT,
				    "%s has not the size that the segment "
				    "table says",
				    file);
	if (code == 0)
		code = region_check_head(space, look, file, fd);
	if (code != 0) {
		close(fd);
		return code;
	}
	*ret_fd = fd;
	return 0;
}

static int
region_map(struct strata__space *space, const struct look *look)
{
	char *at = space->window + look->place;
	int code, fd = -1;

	code = region_check_place(space->geometry, look);
	if (code == 0)
		code = region_open(space, look, &fd);
	if (code != 0)
		return code;
	STRATA_TESTPOINT("space.region-opened");
	code = strata__os_map_at(at, look->size, fd, /* writable= */ false);
	if (code != 0)
		code = strata__fail_errno(-code, "mmap of %" PRIu64 " bytes",
					  look->size);
	else
		/* Not for the core dumps of those who only read it. */
		strata__os_no_dump(at, look->size);
	close(fd);
	return code;
}

/**** for observers, who map nothing ****/

static struct look
look_of(const struct strata__region_file *file)
{
	return (struct look){.index = file->index,
			     .dimension = file->dimension,
			     .generation = file->generation,
			     .place = file->place,
			     .size = file->size};
}

int
strata__space_open_region(const struct strata__space *space, uint32_t index,
			  uint64_t generation, struct strata__region_file *ret)
{
	const struct strata__segment *segment;
	struct look look;
	int code, fd = -1;

	if (index >= space->geometry->nr_segments)
		return -ESTALE;
	segment = &strata__segments(space)[index];
	if (!segment_look(segment, index, &look) ||
	    look.generation != generation)
		return -ESTALE;
	code = region_check_place(space->geometry, &look);
	if (code == 0)
		code = region_open(space, &look, &fd);
	if (code != 0)
		return segment_still(segment, &look) ? code : -ESTALE;
	*ret = (struct strata__region_file){.fd = fd,
					    .index = index,
					    .dimension = look.dimension,
					    .generation = look.generation,
					    .place = look.place,
					    .size = look.size};
	return 0;
}

bool
strata__space_region_still(const struct strata__space *space,
			   const struct strata__region_file *file)
{
	struct look look = look_of(file);

	return segment_still(&strata__segments(space)[file->index], &look);
}

/**** refresh ****/

/* What is gone makes room first: its place may be another's by now. */
static void
refresh_unmap(struct strata__space *space)
{
	struct strata__segment *segments = strata__segments(space);
	uint32_t i;

	for (i = 0; i < space->mapped_high; i++) {
		struct strata__mapping *m = &space->mapped[i];
		struct look look = {0};

		if (m->generation == 0)
			continue;
		if (segment_look(&segments[i], i, &look) &&
		    look.generation == m->generation)
			continue;
		region_unmap(space, m->place, m->size);
		m->generation = 0;
	}
}

/* What was mapped where this one is now is mapped no more: its region was
 * reclaimed, and its place given to this one, while we were at it. */
static void
forget_overlapped(struct strata__space *space, const struct look *look)
{
	for (uint32_t i = 0; i < space->mapped_high; i++) {
		struct strata__mapping *m = &space->mapped[i];

		if (m->place < look->place + look->size &&
		    look->place < m->place + m->size)
			m->generation = 0;
	}
}

/*
 * Maps one region if it is new. An entry that changed meanwhile is no error:
 * whoever can see the new life of it finds a newer segment epoch, too, and
 * looks again.
 */
static int
refresh_map(struct strata__space *space, uint32_t i)
{
	struct strata__segment *segment = &strata__segments(space)[i];
	struct strata__mapping *m = &space->mapped[i];
	struct look look;
	int code;

	if (!segment_look(segment, i, &look) ||
	    look.generation == m->generation)
		return 0;
	code = region_map(space, &look);
	if (code == 0)
		forget_overlapped(space, &look);
	if (!segment_still(segment, &look)) {
		if (code == 0)
			region_unmap(space, look.place, look.size);
		return 0;
	}
	if (code != 0) {
		strata__error()->dimension = look.dimension;
		return code;
	}
	m->generation = look.generation;
	m->place = look.place;
	m->size = look.size;
	if (space->mapped_high <= i)
		space->mapped_high = i + 1;
	return 0;
}

/* The first failure, in words, and how many there were. */
static int
fail_unmapped(const struct strata_error_info *first, uint32_t nr)
{
	strata__fail(STRATA_EMAP,
		     "the region of dimension %" PRIu32
		     " could not be mapped: %s",
		     first->dimension, first->sentence);
	if (nr > 1)
		strata__error_append(" (and %" PRIu32 " more regions)", nr - 1);
	strata__error()->dimension = first->dimension;
	strata__error()->sys_errno = first->sys_errno;
	strata__error()->offset = first->offset;
	strata__error()->size = first->size;
	return STRATA_EMAP;
}

static int
refresh_locked(struct strata__space *space)
{
	const struct strata__counters *counters = &space->catalog->counters;
	struct strata_error_info first;
	uint64_t epoch, high;
	uint32_t i, nr_failed = 0;

	/*
	 * Letter E: pairs with the release of the epoch by the commit that
	 * publishes a region. Orders it before the looks at the segment table:
	 * without it we may note an epoch whose region we did not see.
	 */
	epoch = atomic_load_explicit(&space->catalog->hot.segment_epoch,
				     memory_order_acquire);
	high = atomic_load_explicit(&counters->segments_high,
				    memory_order_relaxed);
	if (high > space->geometry->nr_segments)
		high = space->geometry->nr_segments;
	refresh_unmap(space);
	for (i = 0; i < high; i++)
		if (refresh_map(space, i) != 0 && nr_failed++ == 0)
			first = *strata__error();
	atomic_store_explicit(&space->nr_unmapped, nr_failed,
			      memory_order_relaxed);
	/* Letter R: pairs with the acquire in the read lock. Orders the
	 * mappings before it: a thread that sees this epoch may follow. */
	atomic_store_explicit(&space->mapped_epoch, epoch,
			      memory_order_release);
	return nr_failed > 0 ? fail_unmapped(&first, nr_failed) : 0;
}

static bool
is_stale(const struct strata__space *space, bool retry)
{
	uint64_t epoch = atomic_load_explicit(
		&space->catalog->hot.segment_epoch, memory_order_acquire);

	return epoch != atomic_load_explicit(&space->mapped_epoch,
					     memory_order_acquire) ||
	       (retry && atomic_load_explicit(&space->nr_unmapped,
					      memory_order_relaxed) != 0);
}

int
strata__space_refresh(struct strata__space *space, bool retry)
{
	int code = 0;

	pthread_mutex_lock(&space->map_mutex);
	if (is_stale(space, retry)) {
		code = strata__folder_mend(&space->folder);
		if (code == 0)
			code = refresh_locked(space);
	}
	pthread_mutex_unlock(&space->map_mutex);
	return code;
}

bool
strata__space_is_mapped(struct strata__space *space, uint64_t ref)
{
	bool found = false;
	uint32_t i;

	pthread_mutex_lock(&space->map_mutex);
	for (i = 0; i < space->mapped_high && !found; i++) {
		const struct strata__mapping *m = &space->mapped[i];

		found = m->generation != 0 && ref >= m->place &&
			ref - m->place < m->size;
	}
	pthread_mutex_unlock(&space->map_mutex);
	return found;
}

bool
strata__space_region(struct strata__space *space, uint32_t index,
		     uint64_t generation, uint64_t *ret_place,
		     uint64_t *ret_size)
{
	const struct strata__mapping *m = &space->mapped[index];
	bool found;

	pthread_mutex_lock(&space->map_mutex);
	found = generation != 0 && m->generation == generation;
	if (found) {
		*ret_place = m->place;
		*ret_size = m->size;
	}
	pthread_mutex_unlock(&space->map_mutex);
	return found;
}
