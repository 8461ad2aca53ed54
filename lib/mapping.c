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
 *
 * A process that attaches has no region mapped: it would open, check and map all
 * of them to look at one. Each is mapped by the lookup that meets it first
 * (strata__space_map), and from then on found by a load of its generation.
 * Generations are never used twice, and who asks for one has pinned a version
 * that reaches it: as long as it asks, nobody unmaps what it was told is there.
 */

/**** the mutex ****/

/*
 * A signal handler that reads, by a reader of its own, may meet a region that is
 * not mapped. If it had interrupted who holds the mutex it would wait for ever.
 */
static void
map_lock(struct strata__space *space, sigset_t *ret_signals)
{
	strata__os_signals_block(ret_signals);
	pthread_mutex_lock(&space->map_mutex);
}

static void
map_unlock(struct strata__space *space, const sigset_t *signals)
{
	pthread_mutex_unlock(&space->map_mutex);
	strata__os_signals_restore(signals);
}

int
strata__space_mend_folder(struct strata__space *space)
{
	sigset_t signals;
	int ret;

	map_lock(space, &signals);
	ret = strata__folder_mend(&space->folder);
	map_unlock(space, &signals);
	return ret;
}

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
 * empty by now, or another life's: nobody follows it, and the next region at this
 * place replaces it. */
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

/* -ESTALE, untold: it is another one by now. */
static int
region_map(struct strata__space *space, const struct strata__segment *segment,
	   const struct look *look)
{
	int code, fd = -1;
	char *at;

	code = region_check_place(space->geometry, look);
	if (code == 0)
		code = region_open(space, look, &fd);
	if (code != 0)
		return code;
	at = space->window + look->place;
	STRATA_TESTPOINT("space.region-opened");
	/* The file says nothing of the place: a look that is half of the life
	 * before must not cover what another thread reads. */
	if (!segment_still(segment, look)) {
		close(fd);
		return -ESTALE;
	}
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

/**** what is mapped ****/

/* Under the mutex; others look without it. 0: not mapped. */
static uint64_t
mapped_generation(const struct strata__space *space, uint32_t index)
{
	const struct strata__mapping *m = strata__mapping_at(space, index);

	return m != NULL ? atomic_load_explicit(&m->generation,
						memory_order_relaxed)
			 : 0;
}

/* Nobody is left who would ask for that one, so nothing is ordered. */
static void
mapping_forget(struct strata__mapping *mapping)
{
	atomic_store_explicit(&mapping->generation, 0, memory_order_relaxed);
}

/* A table of all that there can be; pages of it that are not used cost
 * nothing. */
static size_t
mappings_bytes(const struct strata__space *space)
{
	return space->geometry->nr_segments * sizeof(struct strata__mapping);
}

static int
mappings_make(struct strata__space *space, uint32_t index)
{
	void *all;
	int err;

	if (strata__mapping_at(space, index) != NULL)
		return 0;
	err = strata__os_map_table(mappings_bytes(space), &all);
	if (err != 0)
		return strata__fail_errno(-err, "no memory for a table");
	/* Letter R: pairs with the acquire in strata__mapping_at(). Orders the
	 * table before its address: its entries read as 0. */
	atomic_store_explicit(&space->all_mapped, all, memory_order_release);
	return 0;
}

void
strata__mappings_fini(struct strata__space *space)
{
	void *all = atomic_load_explicit(&space->all_mapped,
					 memory_order_relaxed);

	if (all != NULL)
		strata__os_unmap(all, mappings_bytes(space));
	atomic_store_explicit(&space->all_mapped, NULL, memory_order_relaxed);
}

static void
mapping_set(struct strata__space *space, const struct look *look)
{
	struct strata__mapping *m = strata__mapping_at(space, look->index);

	m->place = look->place;
	m->size = look->size;
	/* Letter R: pairs with the acquire in strata__space_has(). Orders the
	 * mapping before it: a thread that sees this generation may follow. */
	atomic_store_explicit(&m->generation, look->generation,
			      memory_order_release);
	if (strata__mapped_high(space) <= look->index)
		atomic_store_explicit(&space->mapped_high, look->index + 1,
				      memory_order_release);
}

/* No used entry of the segment table is at or above it. */
static uint32_t
segments_end(const struct strata__space *space)
{
	uint64_t high =
		strata__count(&space->catalog->counters.segments_high);
	uint32_t nr = space->geometry->nr_segments;

	return high < nr ? (uint32_t)high : nr;
}

/* What is gone makes room first: its place may be another's by now. */
static void
refresh_unmap(struct strata__space *space)
{
	struct strata__segment *segments = strata__segments(space);
	uint32_t i, high = strata__mapped_high(space);

	for (i = 0; i < high; i++) {
		struct strata__mapping *m = strata__mapping_at(space, i);
		uint64_t generation = mapped_generation(space, i);
		struct look look = {0};

		if (generation == 0)
			continue;
		if (segment_look(&segments[i], i, &look) &&
		    look.generation == generation)
			continue;
		region_unmap(space, m->place, m->size);
		mapping_forget(m);
	}
}

/* What was mapped where this one is now is mapped no more: its region was
 * reclaimed, and its place given to this one, while we were at it. */
static void
forget_overlapped(struct strata__space *space, const struct look *look)
{
	uint32_t high = strata__mapped_high(space);

	for (uint32_t i = 0; i < high; i++) {
		struct strata__mapping *m = strata__mapping_at(space, i);

		if (m != NULL && m->place < look->place + look->size &&
		    look->place < m->place + m->size)
			mapping_forget(m);
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
	struct look look;
	int code;

	if (!segment_look(segment, i, &look) ||
	    look.generation == mapped_generation(space, i))
		return 0;
	code = mappings_make(space, i);
	if (code == 0)
		code = region_map(space, segment, &look);
	if (code == -ESTALE)
		return 0;
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
	mapping_set(space, &look);
	return 0;
}

/**** refresh ****/

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

/*
 * Letter E: pairs with the release of the epoch by the commit that publishes a
 * region. Orders it before the looks at the segment table: without it we may
 * note an epoch whose region we did not see.
 */
static uint64_t
epoch_now(const struct strata__space *space)
{
	return atomic_load_explicit(&space->catalog->hot.segment_epoch,
				    memory_order_acquire);
}

static void
note_mapped(struct strata__space *space, uint64_t epoch, uint32_t nr_failed)
{
	/* Letter R: both pair with the acquires in strata__space_is_whole().
	 * Order the mappings before them: a thread that sees this epoch, and
	 * that nothing is missing, may follow. */
	atomic_store_explicit(&space->nr_unmapped, nr_failed,
			      memory_order_release);
	atomic_store_explicit(&space->mapped_epoch, epoch,
			      memory_order_release);
}

static int
refresh_locked(struct strata__space *space)
{
	uint64_t epoch = epoch_now(space);
	uint32_t i, high = segments_end(space), nr_failed = 0;
	struct strata_error_info first;

	refresh_unmap(space);
	space->unmapped_epoch = epoch;
	for (i = 0; i < high; i++)
		if (refresh_map(space, i) != 0 && nr_failed++ == 0)
			first = *strata__error();
	note_mapped(space, epoch, nr_failed);
	return nr_failed > 0 ? fail_unmapped(&first, nr_failed) : 0;
}

static bool
is_stale(const struct strata__space *space, bool retry)
{
	return epoch_now(space) != strata__mapped_epoch(space) ||
	       (retry && atomic_load_explicit(&space->nr_unmapped,
					      memory_order_relaxed) != 0);
}

int
strata__space_refresh(struct strata__space *space, bool retry)
{
	sigset_t signals;
	int code = 0;

	map_lock(space, &signals);
	if (is_stale(space, retry)) {
		code = strata__folder_mend(&space->folder);
		if (code == 0)
			code = refresh_locked(space);
	}
	map_unlock(space, &signals);
	return code;
}

/**** at the first use ****/

int
strata__fail_unmapped(uint32_t dimension)
{
	struct strata_error_info why = *strata__error();

	strata__fail(STRATA_EMAP,
		     "the region of dimension %" PRIu32 " could not be mapped "
		     "into this process: %s; mend that, and look again or call "
		     "strata_refresh",
		     dimension, why.sentence);
	strata__error()->dimension = dimension;
	strata__error()->sys_errno = why.sys_errno;
	strata__error()->offset = why.offset;
	strata__error()->size = why.size;
	return STRATA_EMAP;
}

/* If nothing is left that is not mapped, lookups need not ask any more. */
static void
note_if_whole(struct strata__space *space)
{
	struct strata__segment *segments = strata__segments(space);
	uint64_t epoch = epoch_now(space);
	uint32_t i, high = segments_end(space);
	struct look look;

	for (i = 0; i < high; i++)
		if (segment_look(&segments[i], i, &look) &&
		    look.generation != mapped_generation(space, i))
			return;
	note_mapped(space, epoch, 0);
}

/* Nothing takes the place of what is gone without a new epoch. */
static void
unmap_if_new(struct strata__space *space)
{
	uint64_t epoch = epoch_now(space);

	if (epoch != space->unmapped_epoch)
		refresh_unmap(space);
	space->unmapped_epoch = epoch;
}

static int
map_one(struct strata__space *space, uint32_t index, uint64_t generation)
{
	int code;

	unmap_if_new(space);
	code = refresh_map(space, index);
	if (code != 0)
		return code;
	if (!strata__space_has(space, index, generation))
		return strata__fail(STRATA_ECORRUPT,
				    "the segment table has another one, or "
				    "none, in its place");
	note_if_whole(space);
	return 0;
}

int
strata__space_map(struct strata__space *space, uint32_t index,
		  uint64_t generation)
{
	sigset_t signals;
	int code;

	if (index >= space->geometry->nr_segments || generation == 0)
		return strata__fail(STRATA_ECORRUPT,
				    "the index of layers leads to no region");
	if (strata__space_has(space, index, generation))
		return 0;
	map_lock(space, &signals);
	code = strata__folder_mend(&space->folder);
	if (code == 0)
		code = map_one(space, index, generation);
	map_unlock(space, &signals);
	return code;
}

/* As many as are not felt in a lock. */
#define MORE_REGIONS 16

/* Failures are told by lookups. The last step looks at all of them, and at what
 * came meanwhile. */
void
strata__space_map_more(struct strata__space *space)
{
	sigset_t signals;
	uint32_t high, end;

	map_lock(space, &signals);
	if (strata__mapped_epoch(space) == 0 &&
	    strata__folder_mend(&space->folder) == 0) {
		unmap_if_new(space);
		high = segments_end(space);
		end = space->more_at + MORE_REGIONS;
		for (; space->more_at < high && space->more_at < end;
		     space->more_at++)
			(void)refresh_map(space, space->more_at);
		if (space->more_at >= high)
			(void)refresh_locked(space);
	}
	map_unlock(space, &signals);
}

/* The place is the table's word, not ours: ours may be that of a region which is
 * gone, under one that came since. */
static bool
is_in(const struct strata__segment *segment, uint32_t index, uint64_t ref,
      uint64_t *ret_generation)
{
	struct look look;

	if (!segment_look(segment, index, &look) || ref < look.place ||
	    ref - look.place >= look.size || !segment_still(segment, &look))
		return false;
	*ret_generation = look.generation;
	return true;
}

bool
strata__space_is_mapped(const struct strata__space *space, uint64_t ref)
{
	struct strata__segment *segments = strata__segments(space);
	uint32_t i, high = strata__mapped_high(space);
	uint64_t generation;

	for (i = 0; i < high; i++)
		if (mapped_generation(space, i) != 0 &&
		    is_in(&segments[i], i, ref, &generation))
			return strata__space_has(space, i, generation);
	return false;
}

int
strata__space_map_ref(struct strata__space *space, uint64_t ref)
{
	struct strata__segment *segments = strata__segments(space);
	uint32_t i, high = segments_end(space);
	uint64_t generation;

	if (strata__space_is_mapped(space, ref))
		return 0;
	for (i = 0; i < high; i++)
		if (is_in(&segments[i], i, ref, &generation))
			return strata__space_map(space, i, generation);
	return strata__fail(STRATA_ECORRUPT,
			    "the index of layers leads to no region");
}

bool
strata__space_region(struct strata__space *space, uint32_t index,
		     uint64_t generation, uint64_t *ret_place,
		     uint64_t *ret_size)
{
	sigset_t signals;
	bool found;

	if (strata__space_map(space, index, generation) != 0)
		return false;
	map_lock(space, &signals);
	found = strata__space_has(space, index, generation);
	if (found) {
		*ret_place = strata__mapping_at(space, index)->place;
		*ret_size = strata__mapping_at(space, index)->size;
	}
	map_unlock(space, &signals);
	return found;
}
