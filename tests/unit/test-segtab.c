/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The segment table: every region has a place, a file and bytes of its own. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/fixture.h"
#include "../support/points.h"
#include "../support/proc.h"
#include "error.h"
#include "pool.h"
#include "segtab.h"
#include "testpoint.h"

#define KIB   UINT64_C(1024)
#define MIB   (1024 * KIB)
#define LIMIT (64 * MIB)

static struct strata__space *space;

static void
setup(void)
{
	space = fixture_space(LIMIT);
}

static void
teardown(void)
{
	strata__testpoint = NULL;
	fixture_space_free(space);
}

TestSuite(segtab, .init = setup, .fini = teardown, .timeout = 120);

/**** helpers ****/

static struct strata__counters *
counters(void)
{
	return &space->catalog->counters;
}

static struct strata__segment *
entry(uint32_t index)
{
	return &strata__segments(space)[index];
}

static uint32_t
state(uint32_t index)
{
	return atomic_load(&entry(index)->record.state);
}

static int
try_reserve(uint64_t image_size, struct strata__building *ret)
{
	return strata__segtab_reserve(space, 7, image_size, 0600, (uint32_t)-1,
				      ret);
}

static struct strata__building
reserve(uint64_t image_size)
{
	struct strata__building building;

	cr_assert_eq(try_reserve(image_size, &building), 0, "%s",
		     strata_last_error()->sentence);
	return building;
}

static void
fill(const struct strata__building *building, int byte)
{
	char *image = malloc(building->image_size);

	cr_assert_not_null(image);
	memset(image, byte, building->image_size);
	cr_assert_eq(strata__os_reserve(building->fd, 0,
					building->size - STRATA_PAGE),
		     0);
	cr_assert_eq(
		strata__os_pwrite(building->fd, image, building->image_size, 0),
		0);
	free(image);
}

/* A region that version birth has. */
static struct strata__building
make(uint64_t image_size, uint64_t birth)
{
	struct strata__building building = reserve(image_size);

	fill(&building, (int)birth);
	cr_assert_eq(strata__segtab_seal(space, &building), 0, "%s",
		     strata_last_error()->sentence);
	strata__segtab_publish(space, &building, birth);
	strata__building_close(&building);
	return building;
}

/* Retired, given back, forgotten: as a reclaiming writer does. */
static void
give_back(uint32_t index)
{
	strata__segtab_retire(space, index, 99);
	strata__count_sub(&counters()->nr_retired, 1);
	strata__segtab_doom(space, index);
	cr_assert(strata__segtab_bury(space, index));
	strata__segtab_forget(space, index);
	cr_assert_eq(state(index), STRATA_FREE);
}

static bool
has_file(uint64_t generation)
{
	char name[STRATA_SEGMENT_NAME];

	strata__segment_name_region(name, &space->id, generation);
	return faccessat(space->folder.fd, name, F_OK, 0) == 0;
}

static uint32_t
nr_region_files(void)
{
	DIR *dir = opendir(space->folder.path);
	const struct dirent *file;
	uint32_t nr = 0;

	cr_assert_not_null(dir);
	while ((file = readdir(dir)) != NULL)
		nr += strstr(file->d_name, "-region") != NULL;
	closedir(dir);
	return nr;
}

/* Do the counters say what the table says? */
static void
check_all(void)
{
	uint64_t bytes = 0, retired = 0;
	uint32_t i, j, is;

	for (i = 0; i < space->geometry->nr_segments; i++) {
		is = state(i);
		if (is == STRATA_FREE)
			continue;
		cr_assert_lt(i, strata__count(&counters()->segments_high));
		bytes += strata__count(&entry(i)->size);
		if (is == STRATA_RETIRED)
			retired += strata__count(&entry(i)->size);
		cr_assert_eq(strata__count(&entry(i)->place) %
				     (strata__count(&entry(i)->size) < 2 * MIB
					      ? STRATA_PAGE
					      : 2 * MIB),
			     0);
		cr_assert_leq(space->geometry->region_base,
			      strata__count(&entry(i)->place));
		for (j = 0; j < i; j++)
			cr_assert(
				state(j) == STRATA_FREE ||
					strata__count(&entry(j)->place) +
							strata__count(
								&entry(j)->size) <=
						strata__count(
							&entry(i)->place) ||
					strata__count(&entry(i)->place) +
							strata__count(
								&entry(i)->size) <=
						strata__count(&entry(j)->place),
				"regions do not overlap");
	}
	cr_assert_eq(bytes, strata__count(&counters()->region_bytes));
	cr_assert_eq(retired, strata__count(&counters()->region_retired_bytes));
	cr_assert_eq(strata__count(&counters()->reserved),
		     space->geometry->catalog_size +
			     space->geometry->lock_size +
			     strata__pool_reserved(space) + bytes);
}

/**** building ****/

static uint64_t
swept(void)
{
	uint64_t nr;

	cr_assert_eq(strata__segtab_sweep(space, &nr), 0);
	return nr;
}

Test(segtab, a_reserved_segment_is_charged_named_and_held)
{
	struct strata__building building = reserve(100 * KIB + 1);

	cr_assert_eq(building.index, 0);
	cr_assert_eq(building.place, space->geometry->region_base);
	cr_assert_eq(building.size, 108 * KIB, "whole pages and a trailer");
	cr_assert_eq(state(0), STRATA_BUILDING);
	cr_assert_eq(atomic_load(&entry(0)->dimension), 7);
	cr_assert_eq(atomic_load(&entry(0)->record.generation),
		     building.generation);
	cr_assert(has_file(building.generation));
	cr_assert(strata__segtab_is_held(space, 0));
	check_all();
	strata__building_close(&building);
	cr_assert_eq(building.fd, -1);
	strata__building_close(&building);
	cr_assert_not(strata__segtab_is_held(space, 0));
}

Test(segtab, what_was_sealed_and_published_can_be_mapped)
{
	struct strata__building a = make(3 * MIB, 3), b = make(5000, 5);

	atomic_fetch_add(&space->catalog->hot.segment_epoch, 1);
	cr_assert_eq(strata__space_refresh(space, false), 0, "%s",
		     strata_last_error()->sentence);
	cr_assert_eq(space->window[a.place], 3);
	cr_assert_eq(space->window[a.place + 3 * MIB - 1], 3);
	cr_assert_eq(space->window[b.place + 4999], 5);
	cr_assert_eq(atomic_load(&entry(a.index)->record.birth), 3);
	cr_assert_eq(state(b.index), STRATA_ALLOCATED);
	check_all();
}

Test(segtab, a_segment_with_a_hole_is_not_sealed)
{
	struct strata__building building = reserve(100 * KIB);

	cr_assert_eq(strata__segtab_seal(space, &building), STRATA_ECORRUPT);
	fill(&building, 1);
	cr_assert_eq(strata__segtab_seal(space, &building), 0);
	cr_assert_eq(ftruncate(building.fd, (off_t)building.size + 1), 0);
	cr_assert_eq(strata__segtab_seal(space, &building), STRATA_ECORRUPT,
		     "nor one of another size");
}

Test(segtab, an_abandoned_segment_leaves_nothing)
{
	struct strata__building building = reserve(1 * MIB);

	fill(&building, 1);
	strata__segtab_abandon(space, &building);
	cr_assert_eq(building.fd, -1);
	cr_assert_eq(state(0), STRATA_FREE);
	cr_assert_eq(nr_region_files(), 0);
	cr_assert_eq(strata__count(&counters()->segments_high), 0);
	check_all();
}

/**** places and indices ****/

Test(segtab, the_lowest_index_and_place_are_used_again)
{
	const uint64_t size = 2 * MIB - STRATA_PAGE; /* and a trailer */
	struct strata__building a = make(size, 1), b = make(5 * MIB, 1);
	struct strata__building c = make(size, 1), d;

	cr_assert_eq(b.place, a.place + 2 * MIB);
	cr_assert_eq(c.place, b.place + 6 * MIB);
	give_back(b.index);
	check_all();
	d = make(7 * MIB, 2);
	cr_assert_eq(d.index, b.index);
	cr_assert_eq(d.place, c.place + 2 * MIB, "it is too large for the gap");
	cr_assert_gt(d.generation, c.generation);
	d = make(3 * MIB, 2);
	cr_assert_eq(d.place, b.place);
	check_all();
}

Test(segtab, small_regions_lie_close_together_at_odd_distances)
{
	struct strata__building before = reserve(8 * KIB), small, large;
	uint64_t end;

	/* Far more than there are places for large pages. */
	for (int i = 0; i < 200; i++) {
		small = reserve((uint64_t)(1 + i % 5) * 4 * KIB);
		cr_assert_eq((small.place - before.place) / STRATA_PAGE % 2, 1);
		cr_assert_leq(small.place - before.place,
			      before.size + STRATA_PAGE);
		strata__building_close(&before);
		before = small;
	}
	end = small.place + small.size;
	large = reserve(3 * MIB);
	cr_assert_eq(large.place % (2 * MIB), 0);
	cr_assert_lt(large.place - end, 2 * MIB);
	small = reserve(4 * KIB);
	cr_assert_lt(small.place, large.place, "what is between is not lost");
	check_all();
}

/* Every entry of the table finds a place, whatever its regions' sizes. */
Test(segtab, no_place_is_wanting_before_the_entries_are)
{
	const uint64_t share =
		space->geometry->max_limit / space->geometry->nr_segments;
	struct strata__building building;
	uint32_t i, nr = space->geometry->nr_segments;

	/* Entered by hand: files are not what this is about. */
	for (i = 0; i + 1 < nr; i++) {
		atomic_store(&entry(i)->place,
			     space->geometry->region_base +
				     i * (share + STRATA_PAGE));
		atomic_store(&entry(i)->size, share);
		atomic_store(&entry(i)->record.state, STRATA_ALLOCATED);
	}
	strata__count_set(&counters()->segments_high, nr - 1);
	building = reserve(share - STRATA_PAGE);
	cr_assert_eq(building.index, nr - 1);
	cr_assert_eq(try_reserve(1, &building), STRATA_EBUSY);
	cr_assert_not_null(strstr(strata_last_error()->sentence, "all "));
}

Test(segtab, no_more_than_the_table_holds)
{
	struct strata__building building;
	uint32_t i;

	for (i = 0; i < space->geometry->nr_segments; i++)
		atomic_store(&entry(i)->record.state, STRATA_RETIRED);
	cr_assert_eq(try_reserve(1, &building), STRATA_EBUSY);
	cr_assert_eq(nr_region_files(), 0);
}

Test(segtab, no_more_than_there_are_addresses_in_a_row)
{
	struct strata__building building;

	atomic_store(&entry(0)->place, space->geometry->region_base + 10 * MIB);
	atomic_store(&entry(0)->size, space->geometry->region_size - 20 * MIB);
	atomic_store(&entry(0)->record.state, STRATA_ALLOCATED);
	strata__count_set(&counters()->segments_high, 1);
	cr_assert_eq(try_reserve(10 * MIB, &building), STRATA_EBUSY);
	building = reserve(10 * MIB - STRATA_PAGE);
	cr_assert_eq(building.place, space->geometry->region_base);
	building = reserve(10 * MIB - STRATA_PAGE);
	cr_assert_eq(building.place, space->geometry->region_base +
					     space->geometry->region_size -
					     10 * MIB);
	cr_assert_eq(try_reserve(1, &building), STRATA_EBUSY);
	cr_assert_not_null(strstr(strata_last_error()->sentence,
				  "between 3 regions, of which 0 are retired"),
			   "%s", strata_last_error()->sentence);
}

Test(segtab, the_limit_holds)
{
	struct strata__building building;
	uint64_t before = strata__count(&counters()->reserved);

	cr_assert_eq(try_reserve(LIMIT, &building), STRATA_ELIMIT);
	cr_assert_eq(strata_last_error()->limit, LIMIT);
	cr_assert_eq(try_reserve(UINT64_MAX, &building), STRATA_ETOOBIG);
	cr_assert_eq(try_reserve(space->geometry->region_size, &building),
		     STRATA_ETOOBIG);
	cr_assert_eq(strata__count(&counters()->reserved), before);
	cr_assert_eq(nr_region_files(), 0);
	check_all();
}

/**** giving back ****/

Test(segtab, retired_regions_are_listed_and_counted)
{
	struct strata__building a = make(1 * MIB, 1);

	strata__segtab_retire(space, a.index, 9);
	strata__segtab_retire(space, a.index, 10);
	cr_assert_eq(strata__count(&counters()->nr_retired), 1);
	cr_assert_eq(strata__retired_list(space)[0],
		     STRATA_RETIRED_ITEM(STRATA_RETIRED_SEGMENT, a.index));
	cr_assert_eq(atomic_load(&entry(a.index)->record.retirement), 9);
	check_all();
	strata__segtab_doom(space, a.index);
	cr_assert_eq(state(a.index), STRATA_DYING);
	check_all();
}

Test(segtab, only_the_dying_are_buried)
{
	struct strata__building a = make(1 * MIB, 1);

	cr_assert_not(strata__segtab_bury(space, a.index));
	strata__segtab_doom(space, a.index);
	cr_assert_eq(state(a.index), STRATA_ALLOCATED);
	strata__segtab_retire(space, a.index, 2);
	cr_assert_not(strata__segtab_bury(space, a.index));
	cr_assert(has_file(a.generation));
}

Test(segtab, who_is_at_it_is_left_to_it)
{
	struct strata__building building = reserve(1 * MIB);

	strata__segtab_doom(space, building.index);
	cr_assert_not(strata__segtab_bury(space, building.index));
	cr_assert(has_file(building.generation));
	strata__building_close(&building);
	cr_assert(strata__segtab_bury(space, building.index));
	cr_assert(strata__segtab_bury(space, building.index),
		  "what has no file is buried");
	cr_assert_not(strata__segtab_is_held(space, building.index));
	strata__segtab_forget(space, building.index);
	check_all();
}

/* Who may read the store can lock all of it, as readers lock. */
static int
lock_as_reader(uint64_t generation)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	char name[STRATA_SEGMENT_NAME];
	int fd;

	strata__segment_name_region(name, &space->id, generation);
	fd = openat(space->folder.fd, name, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	return fd;
}

Test(segtab, read_locks_keep_nobody_from_burying)
{
	struct strata__building a = make(1 * MIB, 1);
	struct strata__building lost = make(1 * MIB, 1);
	int fd = lock_as_reader(a.generation);
	int lost_fd = lock_as_reader(lost.generation);

	give_back(a.index);
	cr_assert_not(has_file(a.generation));
	atomic_store(&entry(lost.index)->record.state, STRATA_FREE);
	cr_assert_eq(swept(), 1);
	cr_assert_not(has_file(lost.generation));
	close(lost_fd);
	close(fd);
}

Test(segtab, nothing_is_forgotten_before_it_is_buried)
{
	struct strata__building a = make(1 * MIB, 1);

	strata__segtab_retire(space, a.index, 2);
	strata__segtab_forget(space, a.index);
	cr_assert_eq(state(a.index), STRATA_RETIRED);
	strata__segtab_doom(space, a.index);
	/* As if another writer had buried, forgotten and used it again. */
	strata__segtab_forget(space, a.index);
	cr_assert_eq(state(a.index), STRATA_DYING);
	check_all();
}

Test(segtab, a_sweep_removes_what_no_entry_names)
{
	struct strata__building kept = make(1 * MIB, 1);
	struct strata__building held = reserve(1 * MIB);
	struct strata__building lost = reserve(1 * MIB);
	char name[STRATA_SEGMENT_NAME];

	strata__building_close(&lost);
	atomic_store(&entry(held.index)->record.state, STRATA_FREE);
	atomic_store(&entry(lost.index)->record.state, STRATA_FREE);
	/* Not of this store, or not as we write names. */
	strata__segment_name_region(name, &space->id, 12345);
	strcat(name, "x");
	close(openat(space->folder.fd, name, O_CREAT | O_RDWR, 0600));
	name[strlen("strata-")] ^= 1;
	close(openat(space->folder.fd, name, O_CREAT | O_RDWR, 0600));
	cr_assert_eq(swept(), 1);
	cr_assert(has_file(kept.generation) && has_file(held.generation));
	cr_assert_not(has_file(lost.generation));
	cr_assert_eq(nr_region_files(), 4);
	strata__building_close(&held);
	cr_assert_eq(swept(), 1);
}

Test(segtab, a_recount_needs_nothing_but_the_table)
{
	struct strata__counters before;

	(void)make(1 * MIB, 1);
	(void)reserve(2 * MIB);
	(void)make(3 * MIB, 1);
	strata__segtab_retire(space, 2, 5);
	(void)make(3 * MIB, 1);
	give_back(3);
	memcpy(&before, counters(), sizeof(before));
	strata__count_set(&counters()->region_bytes, 1);
	strata__count_set(&counters()->region_retired_bytes, 2);
	strata__count_set(&counters()->segments_high, 0);
	strata__count_set(&counters()->next_generation, 0);
	strata__segtab_recount(space);
	cr_assert_eq(memcmp(&before, counters(), sizeof(before)), 0);
	check_all();
}

/**** dying anywhere ****/

/* A region's whole life. */
static void
live(void)
{
	struct strata__building building;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		if (strata__segtab_reserve(space, 7, 1 * MIB, 0600,
					   (uint32_t)-1, &building) != 0 ||
		    strata__os_reserve(building.fd, 0, 1 * MIB) != 0 ||
		    strata__segtab_seal(space, &building) != 0)
			_exit(1);
		if (i == 0)
			strata__segtab_abandon(space, &building);
	}
	strata__segtab_publish(space, &building, 1);
	strata__building_close(&building);
	strata__segtab_retire(space, building.index, 2);
	strata__segtab_doom(space, building.index);
	(void)strata__segtab_bury(space, building.index);
	strata__segtab_forget(space, building.index);
}

/* What recovery and gc do with what nobody reaches. */
static void
clean_up(void)
{
	uint32_t i;

	for (i = 0; i < space->geometry->nr_segments; i++) {
		if (state(i) == STRATA_FREE)
			continue;
		if (state(i) == STRATA_ALLOCATED)
			strata__segtab_retire(space, i, 1);
		cr_assert_not(strata__segtab_is_held(space, i),
			      "the dead hold nothing");
		strata__segtab_doom(space, i);
		cr_assert(strata__segtab_bury(space, i));
		strata__segtab_forget(space, i);
	}
	(void)strata__segtab_sweep(space, NULL);
	strata__segtab_recount(space);
	strata__count_set(&counters()->nr_retired, 0);
	strata__count_set(&counters()->reserved,
			  space->geometry->catalog_size +
				  space->geometry->lock_size +
				  strata__pool_reserved(space));
}

Test(segtab, whoever_is_killed_leaves_what_can_be_cleaned_up)
{
	uint32_t nr;
	int status;
	pid_t pid;

	for (nr = 0;; nr++) {
		pid = fork();
		if (pid == 0) {
			points_die_at(NULL, nr + 1);
			live();
			_exit(0);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		clean_up();
		check_all();
		cr_assert_eq(nr_region_files(), 0);
		cr_assert_eq(strata__count(&counters()->region_bytes), 0);
		if (WIFEXITED(status))
			break;
	}
	cr_assert_eq(WEXITSTATUS(status), 0);
	cr_assert_gt(nr, 15, "there are that many points");
}

/**** model ****/

#define KNOWN 12

/* Of each entry the model knows how far its life has gone. */
struct known {
	struct strata__building building;
	uint32_t state;
};

static void
model_step(struct known *known, uint64_t dice)
{
	struct strata__building *building = &known->building;

	switch (known->state) {
	case STRATA_FREE:
		if (try_reserve(dice % (9 * MIB), building) == 0)
			known->state = STRATA_BUILDING;
		break;
	case STRATA_BUILDING:
		if (dice % 4 == 0) {
			strata__segtab_abandon(space, building);
			known->state = STRATA_FREE;
			break;
		}
		strata__segtab_publish(space, building, dice);
		strata__building_close(building);
		known->state = STRATA_ALLOCATED;
		break;
	case STRATA_ALLOCATED:
		strata__segtab_retire(space, building->index, dice);
		strata__count_sub(&counters()->nr_retired, 1);
		known->state = STRATA_RETIRED;
		break;
	case STRATA_RETIRED:
		strata__segtab_doom(space, building->index);
		known->state = STRATA_DYING;
		break;
	default:
		cr_assert(strata__segtab_bury(space, building->index));
		strata__segtab_forget(space, building->index);
		known->state = STRATA_FREE;
	}
}

static void
check_known(const struct known *known)
{
	const struct strata__building *building = &known->building;

	if (known->state == STRATA_FREE)
		return;
	cr_assert_eq(state(building->index), known->state);
	cr_assert_eq(strata__count(&entry(building->index)->record.generation),
		     building->generation);
	cr_assert_eq(strata__count(&entry(building->index)->place),
		     building->place);
	cr_assert_eq(strata__segtab_is_held(space, building->index),
		     known->state == STRATA_BUILDING);
}

Test(segtab, a_model_agrees)
{
	uint64_t random = test_seed_of("segtab");
	struct known known[KNOWN] = {0};
	uint32_t i, j;

	for (i = 0; i < 2000; i++) {
		j = (uint32_t)(test_random(&random) % KNOWN);
		model_step(&known[j], test_random(&random) >> 8);
		check_all();
		for (j = 0; j < KNOWN; j++)
			check_known(&known[j]);
		if (i % 100 == 0) {
			cr_assert_eq(swept(), 0);
			strata__segtab_recount(space);
		}
	}
}
