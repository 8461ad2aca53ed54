/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The segment table: which regions there are, where, and in which state. */
#include "segtab.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "pool.h"
#include "testpoint.h"

/*
 * A life of an entry: FREE, BUILDING, ALLOCATED, RETIRED, DYING, FREE; or from
 * BUILDING straight to DYING. A spare (spare.c) ends one from RETIRED, and begins
 * the next BUILDING, with another generation. What may last (filling, truncating)
 * is done outside of the writer lock; but a builder that gives up, recovery and gc
 * truncate under it. Who fills a file holds byte 0 of it, so that the
 * others can tell somebody at work from somebody dead.
 *
 * Outside of the lock an entry may become another's under our eyes. A
 * generation is never used twice and never comes back from DYING, so what was
 * once seen dying may be truncated by its name at any later time.
 */

/*
 * Places of regions that are as large as that, so that large pages can be had.
 * Smaller ones lie close together, or a store would run out of places long
 * before it runs out of entries, and at odd numbers of pages: at powers of two,
 * equal parts of all of them would fall into the same sets of the cache.
 */
#define PLACE_ALIGN (UINT64_C(2) << 20)

/**** entries ****/

static struct strata__segment *
entry_at(const struct strata__space *space, uint32_t index)
{
	return &strata__segments(space)[index];
}

static uint32_t
state_of(const struct strata__segment *entry)
{
	/* Letter F: pairs with the release in entry_state(). */
	return atomic_load_explicit(&entry->record.state, memory_order_acquire);
}

/*
 * Letters F and S. Each store is a release and the state comes last: a killed
 * writer exposes its stores in this order. Pairs with state_of() in recovery
 * and in bury, and (S) with the reader that maps a region after it has seen its
 * state: without it it could see the place of the life before.
 */
static void
entry_word(_Atomic uint64_t *word, uint64_t to)
{
	atomic_store_explicit(word, to, memory_order_release);
}

static void
entry_state(struct strata__segment *entry, enum strata__state state)
{
	atomic_store_explicit(&entry->record.state, state,
			      memory_order_release);
}

/* Entries in use are below it. */
static uint32_t
high(const struct strata__space *space)
{
	uint64_t nr = strata__count(&space->catalog->counters.segments_high);

	return nr < space->geometry->nr_segments ? (uint32_t)nr
						 : space->geometry->nr_segments;
}

uint64_t
strata__segtab_segment_size(uint64_t image_size)
{
	return strata__round_up(image_size, STRATA_PAGE) + STRATA_PAGE;
}

/**** choosing an index and a place ****/

struct extent {
	uint64_t place, end;
};

static int
extent_compare(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->place < y->place ? -1 : x->place > y->place;
}

/* What is in use, sorted by place. */
static size_t
collect_extents(const struct strata__space *space, struct extent *extents)
{
	const struct strata__segment *entry;
	uint32_t i, nr_entries = high(space);
	size_t nr = 0;

	for (i = 0; i < nr_entries; i++) {
		entry = entry_at(space, i);
		if (state_of(entry) == STRATA_FREE)
			continue;
		extents[nr].place = atomic_load_explicit(&entry->place,
							 memory_order_relaxed);
		extents[nr].end = extents[nr].place +
				  atomic_load_explicit(&entry->size,
						       memory_order_relaxed);
		nr++;
	}
	qsort(extents, nr, sizeof(*extents), extent_compare);
	return nr;
}

/* Entries in that state; all that are not free for STRATA_FREE. */
static uint32_t
nr_entries_in(const struct strata__space *space, enum strata__state state)
{
	uint32_t i, is, nr = 0, nr_entries = high(space);

	for (i = 0; i < nr_entries; i++) {
		is = state_of(entry_at(space, i));
		nr += state == STRATA_FREE ? is != STRATA_FREE : is == state;
	}
	return nr;
}

static int
tell_no_place(const struct strata__space *space, uint64_t size, uint64_t most)
{
	(void)strata__fail(STRATA_EBUSY,
			   "no %" PRIu64 " bytes of addresses in a row are "
			   "left for a region: at most %" PRIu64 " are, of %"
			   PRIu64 ", between %" PRIu32 " regions, of which %"
			   PRIu32 " are retired and wait for their readers; "
			   "unload a dimension, or end these readers (see "
			   "strata readers)",
			   size, most, space->geometry->region_size,
			   nr_entries_in(space, STRATA_FREE),
			   nr_entries_in(space, STRATA_RETIRED));
	strata__space_error(space, size);
	return STRATA_EBUSY;
}

/* Where a region of size bytes may begin, behind another one. */
static uint64_t
place_behind(const struct extent *extent, uint64_t size)
{
	uint64_t pages = (extent->end - extent->place) / STRATA_PAGE;

	return size < PLACE_ALIGN ? extent->place + (pages | 1) * STRATA_PAGE
				  : strata__round_up(extent->end, PLACE_ALIGN);
}

/* The lowest gap that is large enough; 0: the largest has only ret_most bytes. */
static uint64_t
find_gap(const struct strata__space *space, const struct extent *extents,
	 size_t nr, uint64_t size, uint64_t *ret_most)
{
	uint64_t at = space->geometry->region_base;
	uint64_t end = at + space->geometry->region_size;
	uint64_t gap_end;
	size_t i;

	*ret_most = 0;
	for (i = 0; i <= nr; i++) {
		gap_end = i < nr && extents[i].place < end ? extents[i].place
							   : end;
		if (gap_end > at && gap_end - at >= size)
			return at;
		if (gap_end > at && *ret_most < gap_end - at)
			*ret_most = gap_end - at;
		if (i < nr && at < extents[i].end)
			at = place_behind(&extents[i], size);
	}
	return 0;
}

static int
find_place(const struct strata__space *space, uint64_t size, uint64_t *ret)
{
	uint64_t place, most;
	struct extent *extents;

	extents = calloc(high(space) + 1, sizeof(*extents));
	if (extents == NULL)
		return strata__fail(STRATA_ENOMEM,
				    "no memory to find a place for a region");
	place = find_gap(space, extents, collect_extents(space, extents), size,
			 &most);
	free(extents);
	if (place == 0)
		return tell_no_place(space, size, most);
	*ret = place;
	return 0;
}

static int
find_index(const struct strata__space *space, uint32_t *ret)
{
	uint32_t i;

	for (i = 0; i < space->geometry->nr_segments; i++)
		if (state_of(entry_at(space, i)) == STRATA_FREE)
			break;
	if (i == space->geometry->nr_segments)
		return strata__fail(STRATA_EBUSY,
				    "all %" PRIu32 " entries of the segment "
				    "table are in use, %" PRIu32 " of them by "
				    "retired regions that wait for their "
				    "readers; unload some dimensions, or run "
				    "strata gc",
				    i, nr_entries_in(space, STRATA_RETIRED));
	*ret = i;
	return 0;
}

static int
check_size(const struct strata__space *space, uint64_t image_size)
{
	uint64_t most = space->geometry->region_size - PLACE_ALIGN;

	if (image_size <= most)
		return 0;
	(void)strata__fail(STRATA_ETOOBIG,
			   "an image of %" PRIu64 " bytes is more than this "
			   "store could ever hold",
			   image_size);
	strata__space_error(space, image_size);
	return STRATA_ETOOBIG;
}

/**** building ****/

/* Locked, then named, then opened once more to be filled: the first descriptor
 * is the lock's, which its mapping keeps. */
static int
make_named(struct strata__space *space, const char *name, int fd,
	   struct strata__building *building)
{
	uint64_t size;
	int code;

	code = strata__os_lock_try(fd, 0, 1);
	if (code == 0)
		code = strata__os_guard(fd, &building->guard);
	if (code != 0)
		return strata__fail_errno(-code, "cannot lock a new region");
	code = strata__segment_publish(&space->folder, fd, name);
	if (code == 0)
		code = strata__segment_open(&space->folder, name,
					    /* writable= */ true,
					    space->trusted_uid,
					    space->geometry->group,
					    &building->fd, &size);
	if (code != 0)
		strata__os_unguard(building->guard);
	if (code == -ENOENT)
		return strata__fail_errno(ENOENT, "a new region is gone");
	return code;
}

static int
make_file(struct strata__space *space, uint32_t mode, uint32_t group,
	  struct strata__building *building)
{
	char name[STRATA_SEGMENT_NAME];
	int code, fd = -1;

	code = strata__segment_build(&space->folder, /* size= */ 0, mode, group,
				     &fd);
	if (code != 0)
		return code;
	strata__segment_name_region(name, &space->id, building->generation);
	code = make_named(space, name, fd, building);
	if (code != 0) {
		strata__segment_discard(&space->folder, fd);
		return code;
	}
	close(fd);
	STRATA_TESTPOINT("segtab.reserve.named");
	return 0;
}

/* Generations can be foreseen, and anybody may take their names in a folder like
 * /dev/shm: then jump where nobody can follow. */
static int
make_new_file(struct strata__space *space, uint32_t mode, uint32_t group,
	      struct strata__building *building)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint32_t step = 0;
	int code = STRATA_EEXIST;

	for (int i = 0; code == STRATA_EEXIST && i < 8; i++) {
		building->generation =
			strata__count(&counters->next_generation) + step;
		strata__count_set(&counters->next_generation,
				  building->generation + 1);
		code = make_file(space, mode, group, building);
		if (strata__os_random(&step, sizeof(step)) != 0)
			step = 1;
	}
	if (code == STRATA_EEXIST)
		code = strata__fail(STRATA_EBUSY,
				    "somebody takes the names of new regions "
				    "in %s",
				    space->folder.path);
	return code;
}

static void
enter(struct strata__space *space, const struct strata__building *building,
      uint32_t dimension)
{
	struct strata__segment *entry = entry_at(space, building->index);
	struct strata__counters *counters = &space->catalog->counters;

	/* Recovery counts what is below it. */
	strata__count_max(&counters->segments_high, building->index + 1);
	entry_word(&entry->place, building->place);
	STRATA_TESTPOINT("segtab.enter.place");
	entry_word(&entry->size, building->size);
	STRATA_TESTPOINT("segtab.enter.size");
	entry_word(&entry->image_size, building->image_size);
	STRATA_TESTPOINT("segtab.enter.image-size");
	atomic_store_explicit(&entry->dimension, dimension,
			      memory_order_release);
	STRATA_TESTPOINT("segtab.enter.dimension");
	entry_word(&entry->record.birth, 0);
	STRATA_TESTPOINT("segtab.enter.birth");
	entry_word(&entry->record.retirement, 0);
	STRATA_TESTPOINT("segtab.enter.retirement");
	atomic_store_explicit(&entry->record.run, 1, memory_order_release);
	STRATA_TESTPOINT("segtab.enter.run");
	entry_word(&entry->record.generation, building->generation);
	STRATA_TESTPOINT("segtab.reserve.filled");
	entry_state(entry, STRATA_BUILDING);
	STRATA_TESTPOINT("segtab.reserve.entered");
	strata__count_add(&counters->region_bytes, building->size);
}

/* Its pages are taken as it is written, outside of the lock. That there is no
 * room for them is better known before. */
static int
check_folder(const struct strata__space *space, uint64_t size)
{
	if (strata__folder_free(&space->folder) >= size)
		return 0;
	return strata__segment_fail_full(&space->folder, size);
}

int
strata__segtab_reserve(struct strata__space *space, uint32_t dimension,
		       uint64_t image_size, uint32_t mode, uint32_t group,
		       struct strata__building *ret)
{
	struct strata__building building;
	int code;

	code = check_size(space, image_size);
	if (code != 0)
		return code;
	building.image_size = image_size;
	building.is_spare = false;
	building.size = strata__segtab_segment_size(image_size);
	code = find_index(space, &building.index);
	if (code == 0)
		code = find_place(space, building.size, &building.place);
	if (code == 0)
		code = strata__space_charge(space, building.size);
	if (code != 0)
		return code;
	STRATA_TESTPOINT("segtab.reserve.charged");
	code = check_folder(space, building.size);
	if (code == 0)
		code = make_new_file(space, mode, group, &building);
	if (code != 0) {
		strata__space_uncharge(space, building.size);
		if (code == STRATA_ESHM)
			strata__space_numbers(space);
		return code;
	}
	enter(space, &building, dimension);
	STRATA_LOG(STRATA_LOG_DEBUG,
		   "store '%s': reserved %" PRIu64 " bytes for a region of "
		   "dimension %" PRIu32,
		   space->geometry->name, building.size, dimension);
	strata__pool_warn(space);
	*ret = building;
	return 0;
}

/* No hole may lie in it: a reader would fill it, beyond the limit. */
static int
check_file(const struct strata__building *building)
{
	struct stat st;

	if (fstat(building->fd, &st) < 0)
		return strata__fail_errno(errno, "cannot look at a new region");
	if ((uint64_t)st.st_size == building->size &&
	    (uint64_t)st.st_blocks * 512 >= building->size)
		return 0;
	(void)strata__fail(STRATA_ECORRUPT,
			   "a new region of %" PRIu64 " bytes has %" PRIu64
			   " bytes, %" PRIu64 " of them in memory",
			   building->size, (uint64_t)st.st_size,
			   (uint64_t)st.st_blocks * 512);
	strata__error()->size = building->size;
	return STRATA_ECORRUPT;
}

int
strata__segtab_seal(struct strata__space *space,
		    const struct strata__building *building)
{
	_Alignas(8) char end[2 * STRATA_PAGE] = {0};
	char *page = end + STRATA_PAGE;
	/* Of the image's last page what is behind it: a spare has something else
	 * there. */
	uint64_t gap = building->size - STRATA_PAGE - building->image_size;
	int code;

	strata__head_stamp((struct strata__head *)page, STRATA_KIND_REGION,
			   building->index, &space->id, building->generation,
			   building->size);
	code = strata__segment_write(&space->folder, building->fd, page - gap,
				     STRATA_PAGE + gap, building->image_size);
	if (code != 0)
		return code;
	STRATA_TESTPOINT("segtab.seal.written");
	return check_file(building);
}

void
strata__building_close(struct strata__building *building)
{
	if (building->fd >= 0) {
		strata__os_unguard(building->guard);
		close(building->fd);
		STRATA_TESTPOINT("segtab.building.closed");
	}
	building->fd = -1;
}

/**** publishing and retiring ****/

void
strata__segtab_publish(struct strata__space *space,
		       const struct strata__building *building, uint64_t birth)
{
	struct strata__segment *entry = entry_at(space, building->index);

	atomic_store_explicit(&entry->large_pages, building->large_pages,
			      memory_order_relaxed);
	STRATA_TESTPOINT("segtab.publish.large-pages-told");
	entry_word(&entry->record.birth, birth);
	STRATA_TESTPOINT("segtab.publish.born");
	entry_state(entry, STRATA_ALLOCATED);
	STRATA_TESTPOINT("segtab.publish.allocated");
}

void
strata__segtab_retire(struct strata__space *space, uint32_t index,
		      uint64_t version)
{
	struct strata__segment *entry = entry_at(space, index);
	struct strata__counters *counters = &space->catalog->counters;

	if (state_of(entry) != STRATA_ALLOCATED)
		return;
	entry_word(&entry->record.retirement, version);
	STRATA_TESTPOINT("segtab.retire.stamped");
	entry_state(entry, STRATA_RETIRED);
	STRATA_TESTPOINT("segtab.retire.retired");
	strata__retired_push(space, STRATA_RETIRED_ITEM(STRATA_RETIRED_SEGMENT,
							index));
	strata__count_add(&counters->region_retired_bytes,
			  strata__count(&entry->size));
	STRATA_TESTPOINT("segtab.retire.listed");
}

/**** giving back ****/

void
strata__segtab_doom(struct strata__space *space, uint32_t index)
{
	struct strata__segment *entry = entry_at(space, index);
	uint32_t state = state_of(entry);

	if (state != STRATA_BUILDING && state != STRATA_RETIRED)
		return;
	entry_state(entry, STRATA_DYING);
	STRATA_TESTPOINT("segtab.doom.dying");
	if (state == STRATA_RETIRED)
		strata__count_sub(
			&space->catalog->counters.region_retired_bytes,
			strata__count(&entry->size));
}

/*
 * The generation of a dying entry; 0 when it is not dying (any more). It is
 * entered while the entry is FREE, or BUILDING for a spare, and so never while
 * it is DYING: when it is the same before and after, the state between belongs
 * to it.
 */
static uint64_t
dying_generation(const struct strata__segment *entry)
{
	uint64_t before, after;
	uint32_t state;

	before = atomic_load_explicit(&entry->record.generation,
				      memory_order_acquire);
	state = state_of(entry);
	after = atomic_load_explicit(&entry->record.generation,
				     memory_order_relaxed);
	return state == STRATA_DYING && before == after ? after : 0;
}

static int
open_region(const struct strata__space *space, uint64_t generation,
	    bool writable, int *ret_fd)
{
	char name[STRATA_SEGMENT_NAME];
	uint64_t size;

	strata__segment_name_region(name, &space->id, generation);
	return strata__segment_open(&space->folder, name, writable,
				    space->trusted_uid, space->geometry->group,
				    ret_fd, &size);
}

/*
 * Does its builder still have it? Asked, and not locked in turn: whoever may
 * read the store can have a read lock on it for as long as he likes, which would
 * be in our way. His kind of lock is not in the way of the question. Who asks
 * needs no lock of his own: a file that its builder has left is nobody's to fill
 * any more, and two who truncate it do no harm.
 */
static bool
is_at_work(int fd)
{
	return strata__os_is_locked(fd, 0, 1) != 0;
}

/* The file's memory goes; its name too, unless the folder is sticky and the
 * file another's. */
static bool
destroy_file(const struct strata__space *space, uint64_t generation, int fd)
{
	char name[STRATA_SEGMENT_NAME];

	if (strata__os_truncate(fd, 0) != 0)
		return false;
	STRATA_TESTPOINT("segtab.bury.truncated");
	strata__segment_name_region(name, &space->id, generation);
	(void)strata__segment_unlink(&space->folder, name);
	STRATA_TESTPOINT("segtab.bury.unlinked");
	return true;
}

bool
strata__segtab_bury(struct strata__space *space, uint32_t index)
{
	uint64_t generation = dying_generation(entry_at(space, index));
	bool buried = false;
	int code, fd;

	if (generation == 0)
		return false;
	code = open_region(space, generation, /* writable= */ true, &fd);
	if (code != 0)
		return code == -ENOENT;
	if (!is_at_work(fd))
		buried = destroy_file(space, generation, fd);
	close(fd);
	return buried;
}

/* Has its file no memory any more? */
static bool
is_buried(const struct strata__space *space, uint64_t generation)
{
	struct stat st;
	bool buried;
	int code, fd;

	/* What a stranger has put under its name is no memory of ours. */
	code = open_region(space, generation, /* writable= */ false, &fd);
	if (code != 0)
		return code == -ENOENT || code == STRATA_EOWNER;
	buried = fstat(fd, &st) == 0 && st.st_size == 0;
	close(fd);
	return buried;
}

static void
lower_high(struct strata__space *space)
{
	uint32_t nr = high(space);

	while (nr > 0 && state_of(entry_at(space, nr - 1)) == STRATA_FREE)
		nr--;
	strata__count_set(&space->catalog->counters.segments_high, nr);
}

void
strata__segtab_forget(struct strata__space *space, uint32_t index)
{
	struct strata__segment *entry = entry_at(space, index);
	uint64_t size = strata__count(&entry->size);

	/* Since it was buried somebody else may have forgotten it and somebody
	 * else used the entry: then it is theirs to bury. */
	if (state_of(entry) != STRATA_DYING ||
	    !is_buried(space, strata__count(&entry->record.generation)))
		return;
	entry_state(entry, STRATA_FREE);
	STRATA_TESTPOINT("segtab.forget.freed");
	strata__space_uncharge(space, size);
	strata__count_sub(&space->catalog->counters.region_bytes, size);
	lower_high(space);
	STRATA_LOG(STRATA_LOG_DEBUG,
		   "store '%s': gave back a region of %" PRIu64 " bytes",
		   space->geometry->name, size);
}

void
strata__segtab_abandon(struct strata__space *space,
		       struct strata__building *building)
{
	struct strata__segment *entry = entry_at(space, building->index);

	if (strata__count(&entry->record.generation) == building->generation &&
	    state_of(entry) == STRATA_BUILDING) {
		strata__segtab_doom(space, building->index);
		(void)destroy_file(space, building->generation, building->fd);
		strata__segtab_forget(space, building->index);
	}
	strata__building_close(building);
}

/**** recovery ****/

bool
strata__segtab_is_held(struct strata__space *space, uint32_t index)
{
	struct strata__segment *entry = entry_at(space, index);
	int code, fd;

	code = open_region(space, strata__count(&entry->record.generation),
			   /* writable= */ false, &fd);
	if (code != 0)
		return code != -ENOENT && code != STRATA_EOWNER;
	code = strata__os_is_locked(fd, 0, 1);
	close(fd);
	return code != 0;
}

void
strata__segtab_recount(struct strata__space *space)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t bytes = 0, retired = 0, nr_used = 0, generation = 0;
	const struct strata__record *record;
	uint32_t i, state;
	uint64_t size;

	for (i = 0; i < space->geometry->nr_segments; i++) {
		record = &entry_at(space, i)->record;
		state = state_of(entry_at(space, i));
		size = strata__count(&entry_at(space, i)->size);
		if (generation < atomic_load_explicit(&record->generation,
						      memory_order_relaxed))
			generation = atomic_load_explicit(&record->generation,
							  memory_order_relaxed);
		if (state == STRATA_FREE)
			continue;
		nr_used = i + 1;
		bytes += size;
		if (state == STRATA_RETIRED)
			retired += size;
	}
	strata__count_set(&counters->region_bytes, bytes);
	strata__count_set(&counters->region_retired_bytes, retired);
	strata__count_set(&counters->segments_high, nr_used);
	strata__count_max(&counters->next_generation, generation + 1);
}

/* Does an entry name that file? Any one: a destroy counts nothing anew before. */
static bool
is_entered(const struct strata__space *space, uint64_t generation)
{
	struct strata__segment *entry;
	uint32_t i;

	for (i = 0; i < space->geometry->nr_segments; i++) {
		entry = entry_at(space, i);
		if (state_of(entry) != STRATA_FREE &&
		    strata__count(&entry->record.generation) == generation)
			return true;
	}
	return false;
}

/* Is it the name of a region of this store? Only as we write it. */
static bool
parse_name(const struct strata__space *space, const char *file, uint64_t *ret)
{
	char name[STRATA_SEGMENT_NAME];
	size_t length;

	strata__segment_name_region(name, &space->id, 0);
	length = strlen(name) - strlen("0");
	if (strncmp(file, name, length) != 0)
		return false;
	errno = 0;
	*ret = strtoull(file + length, NULL, 10);
	strata__segment_name_region(name, &space->id, *ret);
	return errno == 0 && strcmp(file, name) == 0;
}

/* Is it we who cannot look, or is there nothing for us to see? */
static bool
is_our_want(int code)
{
	return code == -EMFILE || code == -ENFILE || code == -ENOMEM;
}

static int
sweep_file(struct strata__space *space, uint64_t generation, uint64_t *nr)
{
	int fd, code;

	if (is_entered(space, generation))
		return 0;
	code = open_region(space, generation, /* writable= */ true, &fd);
	if (code != 0)
		return is_our_want(code) ? code : 0;
	if (!is_at_work(fd))
		*nr += destroy_file(space, generation, fd);
	close(fd);
	return 0;
}

static int
sweep_folder(struct strata__space *space, DIR *dir, uint64_t *nr)
{
	const struct dirent *file;
	uint64_t generation;
	int code = 0;

	while (code == 0) {
		errno = 0;
		file = readdir(dir);
		if (file == NULL)
			return -errno;
		if (parse_name(space, file->d_name, &generation))
			code = sweep_file(space, generation, nr);
	}
	return code;
}

int
strata__segtab_sweep(struct strata__space *space, uint64_t *ret_nr)
{
	uint64_t nr = 0;
	DIR *dir = NULL;
	int fd, code;

	fd = openat(space->folder.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		dir = fdopendir(fd);
	code = dir != NULL ? sweep_folder(space, dir, &nr) : -errno;
	if (dir != NULL)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	if (ret_nr != NULL)
		*ret_nr = nr;
	if (!is_our_want(code))
		return 0;
	return strata__fail_errno(-code, "cannot look for what a dead writer "
					 "left in %s",
				  space->folder.path);
}
