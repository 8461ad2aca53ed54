/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Blocks: what is taken is nobody else's, and the records alone tell it all. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/fixture.h"
#include "error.h"
#include "pool.h"
#include "testpoint.h"

#define KIB   UINT64_C(1024)
#define MIB   (1024 * KIB)
#define LIMIT (64 * MIB)

static struct strata__space *space;
static uint64_t elsewhere; /* bytes that leave_room() has reserved */

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

TestSuite(pool, .init = setup, .fini = teardown, .timeout = 120);

/**** helpers ****/

static struct strata__class_counters *
counters(uint32_t class_)
{
	return &space->catalog->counters.classes[class_];
}

static uint64_t
stride(uint32_t class_)
{
	return space->geometry->classes[class_].stride;
}

static uint32_t
last_class(void)
{
	return space->geometry->nr_classes - 1;
}

static struct strata__block
take(uint64_t size, unsigned flags)
{
	struct strata__block block;

	cr_assert_eq(strata__pool_take(space, size, 1, flags, &block), 0,
		     "%" PRIu64 " bytes: %s", size,
		     strata_last_error()->sentence);
	return block;
}

static int
try_take(uint64_t size, unsigned flags)
{
	struct strata__block block;

	return strata__pool_take(space, size, 1, flags, &block);
}

static void
set_limit(uint64_t limit)
{
	strata__count_set(&space->catalog->counters.limit, limit);
}

/* Something else takes all but so many bytes. A lower limit would lower the
 * classes' maxima, too. */
static void
leave_room(uint64_t bytes)
{
	_Atomic uint64_t *reserved = &space->catalog->counters.reserved;

	strata__count_sub(reserved, elsewhere);
	elsewhere = LIMIT - bytes - strata__count(reserved);
	strata__count_add(reserved, elsewhere);
}

static uint32_t
state(const struct strata__block *block)
{
	return atomic_load(&strata__block_record(space, block)->state);
}

/* Takes a block off the list as a reclaiming writer does. */
static void
unlist(const struct strata__block *block)
{
	uint32_t item = STRATA_RETIRED_ITEM(block->class_, block->index);
	uint32_t *list = strata__retired_list(space);
	uint64_t nr = strata__count(&space->catalog->counters.nr_retired);
	uint64_t i = 0;

	while (i < nr && list[i] != item)
		i++;
	cr_assert_lt(i, nr, "a retired block is on the list");
	list[i] = list[nr - 1];
	strata__count_set(&space->catalog->counters.nr_retired, nr - 1);
}

static void
reclaim(const struct strata__block *block)
{
	strata__pool_reclaim(space, block);
	unlist(block);
}

static int
compare_index(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Do hints and counters of a class say what its records say? */
static void
check_class(uint32_t class_)
{
	const struct strata__record *records =
		strata__class_records(space, class_);
	uint64_t grown = strata__count(&counters(class_)->grown);
	uint64_t nr_free = strata__count(&counters(class_)->nr_free);
	uint64_t nr[STRATA_DYING + 1] = {0};
	uint32_t *stack = malloc((nr_free + 1) * sizeof(*stack));
	uint64_t i;
	uint32_t is, run;

	cr_assert_not_null(stack);
	memcpy(stack, strata__free_stack(space, class_),
	       nr_free * sizeof(*stack));
	qsort(stack, nr_free, sizeof(*stack), compare_index);
	for (i = 0; i < grown; i += run) {
		is = atomic_load(&records[i].state);
		run = is == STRATA_FREE ? 1 : atomic_load(&records[i].run);
		cr_assert(run >= 1 && run <= grown - i);
		if (is == STRATA_FREE)
			cr_assert(nr[is] < nr_free && stack[nr[is]] == i,
				  "free block %" PRIu64 " of class %" PRIu32
				  " is on the stack, once",
				  i, class_);
		nr[is] += run;
	}
	free(stack);
	cr_assert_eq(nr[STRATA_FREE], nr_free);
	cr_assert_eq(nr[STRATA_ALLOCATED],
		     strata__count(&counters(class_)->live));
	cr_assert_eq(nr[STRATA_RETIRED],
		     strata__count(&counters(class_)->retired));
	cr_assert_leq(nr[STRATA_ALLOCATED] + nr[STRATA_RETIRED],
		      strata__count(&counters(class_)->peak));
}

static void
check_reserved(void)
{
	cr_assert_eq(strata__count(&space->catalog->counters.reserved),
		     space->geometry->catalog_size +
			     space->geometry->lock_size + elsewhere +
			     strata__pool_reserved(space),
		     "what is charged is what the files have");
}

static void
check_all(void)
{
	uint32_t c;

	for (c = 0; c <= last_class(); c++)
		check_class(c);
	check_reserved();
}

/**** places ****/

Test(pool, a_new_store_has_the_node_reserve_and_nothing_else)
{
	uint32_t c;

	cr_assert_geq(strata__count(&counters(0)->nr_free),
		      STRATA_NODE_RESERVE);
	for (c = 1; c <= last_class(); c++)
		cr_assert_eq(strata__count(&counters(c)->grown), 0);
	check_all();
}

Test(pool, a_reference_leads_back_to_its_block)
{
	struct strata__block block, found;
	uint64_t ref;
	uint32_t c;

	for (c = 0; c <= last_class(); c++) {
		block = take(stride(c), 0);
		cr_assert_eq(block.class_, c, "a stride fits its own class");
		ref = strata__block_ref(space, &block);
		cr_assert(strata__block_at(space, ref, &found));
		cr_assert(found.class_ == c && found.index == block.index &&
			  found.run == 1);
		cr_assert(strata__block_at(space, ref | 5, &found),
			  "the tag is no part of the place");
		cr_assert_not(strata__block_at(space, ref + 64, &found));
		memset(strata__at(space, ref), 0x5a,
		       strata__block_bytes(space, &block));
	}
	cr_assert_not(strata__block_at(space, 0, &found));
	cr_assert_not(strata__block_at(space, ~UINT64_C(0), &found));
	cr_assert_not(
		strata__block_at(space, space->geometry->region_base, &found));
}

Test(pool, no_reference_leads_beyond_what_is_grown)
{
	const struct strata__class *class_ = &space->geometry->classes[1];
	struct strata__block block = take(16 * KIB, 0), found;
	uint64_t grown = strata__count(&counters(1)->grown);

	cr_assert_eq(block.class_, 1);
	cr_assert(strata__block_at(space,
				   class_->place + STRATA_POOL_BLOCKS +
					   (grown - 1) * class_->stride,
				   &found));
	cr_assert_not(strata__block_at(space,
				       class_->place + STRATA_POOL_BLOCKS +
					       grown * class_->stride,
				       &found));
}

Test(pool, a_run_that_the_record_makes_too_long_is_no_block)
{
	struct strata__block block = take(4 * stride(last_class()), 0), found;
	struct strata__record *record = strata__block_record(space, &block);
	uint64_t ref = strata__block_ref(space, &block);

	cr_assert(strata__block_at(space, ref, &found) && found.run == 4);
	atomic_store(&record->run, UINT32_MAX);
	cr_assert_not(strata__block_at(space, ref, &found));
	atomic_store(&record->run, 0);
	cr_assert_not(strata__block_at(space, ref, &found));
}

/**** taking ****/

Test(pool, a_record_tells_the_life_of_its_block)
{
	struct strata__block block, again;
	struct strata__record *record;

	cr_assert_eq(strata__pool_take(space, 100, 7, 0, &block), 0);
	record = strata__block_record(space, &block);
	cr_assert_eq(atomic_load(&record->birth), 7);
	cr_assert_eq(atomic_load(&record->state), STRATA_ALLOCATED);
	cr_assert_eq(atomic_load(&record->run), 1);
	cr_assert_eq(atomic_load(&record->generation), 1);
	strata__pool_retire(space, &block, 9);
	cr_assert_eq(atomic_load(&record->retirement), 9);
	cr_assert_eq(atomic_load(&record->state), STRATA_RETIRED);
	check_all();
	reclaim(&block);
	cr_assert_eq(atomic_load(&record->state), STRATA_FREE);
	cr_assert_eq(strata__pool_take(space, 100, 10, 0, &again), 0);
	cr_assert_eq(again.index, block.index, "the warmest block comes first");
	cr_assert_eq(atomic_load(&record->generation), 2);
	check_all();
}

Test(pool, what_is_in_another_state_is_left_alone)
{
	struct strata__block block = take(100, 0);

	strata__pool_reclaim(space, &block);
	cr_assert_eq(state(&block), STRATA_ALLOCATED);
	strata__pool_retire(space, &block, 2);
	strata__pool_retire(space, &block, 3);
	strata__pool_untake(space, &block);
	cr_assert_eq(state(&block), STRATA_RETIRED);
	cr_assert_eq(strata__count(&space->catalog->counters.nr_retired), 1);
	reclaim(&block);
	strata__pool_reclaim(space, &block);
	strata__pool_untake(space, &block);
	check_all();
}

Test(pool, a_freed_block_is_poisoned)
{
	struct strata__block block = take(100, 0);
	const unsigned char *at =
		strata__at(space, strata__block_ref(space, &block));

	memset(strata__at(space, strata__block_ref(space, &block)), 0, 4096);
	strata__pool_untake(space, &block);
	cr_assert(at[0] == 0xdb && at[4095] == 0xdb);
}

Test(pool, growth_goes_by_steps)
{
	uint64_t size;
	struct stat st;
	uint32_t i;

	for (i = 0; i < 500; i++)
		(void)take(16 * KIB, 0);
	cr_assert_eq(fstat(space->pool_fd[1], &st), 0);
	size = (uint64_t)st.st_size;
	cr_assert_eq(size % STRATA_POOL_STEP, 0);
	cr_assert_eq(size,
		     strata__round_up(STRATA_POOL_BLOCKS + 500 * stride(1),
				      STRATA_POOL_STEP));
	cr_assert_geq((uint64_t)st.st_blocks * 512, size, "no holes");
	check_all();
}

Test(pool, a_short_limit_makes_a_short_step)
{
	uint64_t reserved;

	leave_room(40 * KIB + 100);
	cr_assert_eq(try_take(16 * KIB, STRATA_TAKE_RESERVE), 0);
	check_all();
	reserved = strata__count(&space->catalog->counters.reserved);
	cr_assert_leq(reserved, strata__count(&space->catalog->counters.limit));
	cr_assert_eq(strata__count(&counters(1)->grown), 2);
}

/**** runs ****/

Test(pool, a_run_is_contiguous_and_fills_the_lowest_gap)
{
	uint64_t unit = stride(last_class());
	struct strata__block a = take(3 * unit, 0), b = take(5 * unit, 0);
	struct strata__block c = take(2 * unit - 1, 0), d = take(unit, 0), e;

	cr_assert(a.index == 0 && b.index == 3 && c.index == 8);
	cr_assert(a.run == 3 && b.run == 5 && c.run == 2 && d.run == 1);
	memset(strata__at(space, strata__block_ref(space, &b)), 0x11,
	       strata__block_bytes(space, &b));
	strata__pool_untake(space, &b);
	check_all();
	e = take(4 * unit, 0);
	cr_assert_eq(e.index, 3);
	e = take(2 * unit, 0);
	cr_assert_gt(e.index, 9, "one block is no room for two");
	check_all();
}

Test(pool, a_run_may_be_longer_than_a_step)
{
	struct strata__block block = take(5 * MIB, 0);

	memset(strata__at(space, strata__block_ref(space, &block)), 1, 5 * MIB);
	check_all();
	strata__pool_retire(space, &block, 2);
	check_all();
	reclaim(&block);
	check_all();
}

Test(pool, what_could_never_be_held_is_too_big)
{
	uint64_t most = strata__pool_max_content(space);

	cr_assert_eq(try_take(most + 1, 0), STRATA_ETOOBIG);
	cr_assert_eq(try_take(UINT64_MAX, 0), STRATA_ETOOBIG);
	cr_assert_eq(strata_last_error()->requested, UINT64_MAX);
	cr_assert_eq(try_take(most, 0), STRATA_ECLASS,
		     "what a raised limit would allow is another matter");
	check_all();
}

/**** refusals ****/

/* Fills class 1 until it spills; returns how many blocks it had. */
static uint64_t
fill_class_1(void)
{
	uint64_t nr = 0;

	while (take(16 * KIB, 0).class_ == 1)
		nr++;
	return nr;
}

/* A store whose classes are full long before its limit is. */
static void
make_narrow(void)
{
	struct strata_config config = {
		.struct_size = sizeof(config),
		.limit = LIMIT,
		.nr_pools = 3,
		.pools = {{4 * KIB, 2 * MIB},
			  {16 * KIB, 1 * MIB},
			  {64 * KIB, 1 * MIB}},
	};

	fixture_space_free(space);
	space = fixture_space_config(&config);
}

Test(pool, a_full_class_spills_upwards_and_is_counted)
{
	uint64_t nr;
	int code;

	make_narrow();
	nr = fill_class_1();
	cr_assert_eq(nr, strata__pool_max_blocks(space, 1));
	cr_assert_eq(strata__count(&counters(1)->spilled), 1);
	while ((code = try_take(16 * KIB, 0)) == 0)
		nr++;
	cr_assert_eq(code, STRATA_ECLASS);
	cr_assert_eq(strata__count(&counters(1)->spilled),
		     strata__pool_max_blocks(space, 2));
	cr_assert_eq(strata__count(&counters(1)->failed), 1);
	cr_assert_eq(strata__count(&space->catalog->counters.failures_class),
		     1);
	cr_assert_eq(strata_last_error()->requested, 16 * KIB);
	cr_assert_gt(strata_last_error()->limit, 0);
	cr_assert_eq(try_take(4096, 0), 0, "smaller ones are not concerned");
	check_all();
}

Test(pool, a_raised_limit_raises_the_maxima)
{
	uint64_t before;

	make_narrow();
	before = strata__pool_max_blocks(space, 1);
	(void)fill_class_1();
	set_limit(2 * LIMIT);
	cr_assert_geq(strata__pool_max_blocks(space, 1), 2 * before);
	cr_assert_eq(take(16 * KIB, 0).class_, 1);
	set_limit(64 * LIMIT);
	cr_assert_eq(strata__pool_max_blocks(space, 1),
		     space->geometry->classes[1].nr_blocks,
		     "there are no more records than that");
}

Test(pool, nodes_do_not_spill)
{
	int code;

	make_narrow();
	while ((code = try_take(4096, STRATA_TAKE_NODE)) == 0)
		;
	cr_assert_eq(code, STRATA_ECLASS);
	cr_assert_eq(strata__count(&counters(0)->nr_free), STRATA_NODE_RESERVE);
	cr_assert_eq(strata__count(&counters(0)->spilled), 0);
	check_all();
}

Test(pool, contents_leave_the_node_reserve_too)
{
	make_narrow();
	while (take(4096, 0).class_ == 0)
		;
	/* And a few more, so that nodes can be had for the larger classes. */
	cr_assert_eq(strata__count(&counters(0)->nr_free),
		     STRATA_NODE_RESERVE +
			     strata__pool_max_blocks(space, 0) / 64);
}

Test(pool, removals_may_use_the_reserve_to_its_end)
{
	uint32_t i;
	int code;

	leave_room(0);
	while ((code = try_take(4096, STRATA_TAKE_NODE)) == 0)
		;
	cr_assert_eq(code, STRATA_ELIMIT);
	for (i = 0; i < STRATA_NODE_RESERVE; i++)
		(void)take(4096, STRATA_TAKE_NODE | STRATA_TAKE_RESERVE);
	cr_assert_eq(try_take(4096, STRATA_TAKE_NODE | STRATA_TAKE_RESERVE),
		     STRATA_ELIMIT);
	cr_assert_not_null(strstr(strata_last_error()->sentence, "readers"),
			   "it names who may hold them: %s",
			   strata_last_error()->sentence);
	check_all();
	/* With room again, it is the reserve that is filled first. */
	leave_room(32 * KIB);
	cr_assert_eq(try_take(4096, STRATA_TAKE_NODE), STRATA_ELIMIT);
	leave_room(strata__round_up((STRATA_NODE_RESERVE + 1) *
					    space->geometry->classes[0].stride,
				    STRATA_PAGE));
	cr_assert_eq(try_take(4096, STRATA_TAKE_NODE), 0);
	/* Room comes in pages, which may hold one node more. */
	cr_assert_geq(strata__count(&counters(0)->nr_free),
		      STRATA_NODE_RESERVE);
	cr_assert_leq(strata__count(&counters(0)->nr_free),
		      STRATA_NODE_RESERVE + 1);
	check_all();
}

Test(pool, new_protos_end_at_95_per_cent)
{
	struct strata_error_info error;
	uint64_t held;

	while (try_take(256 * KIB, 0) == 0)
		;
	while (try_take(64 * KIB, 0) == 0)
		;
	while (try_take(16 * KIB, 0) == 0)
		;
	while (try_take(4 * KIB, 0) == 0)
		;
	error = *strata_last_error();
	cr_assert_eq(error.code, STRATA_ELIMIT);
	cr_assert_eq(error.requested, 4 * KIB);
	cr_assert_eq(error.limit, LIMIT);
	cr_assert_not_null(strstr(error.sentence, "strata gc"));
	held = error.reserved;
	for (uint32_t c = 0; c <= last_class(); c++)
		held -= strata__count(&counters(c)->nr_free) * stride(c);
	cr_assert(held <= LIMIT / 100 * 95 && held > LIMIT / 100 * 95 - 8 * KIB,
		  "up to the mark and not beyond");
	cr_assert_gt(strata__count(&space->catalog->counters.failures_limit),
		     0);
	cr_assert_eq(try_take(4096, STRATA_TAKE_NODE), 0,
		     "removals and crystallising go on");
	check_all();
}

Test(pool, a_full_store_takes_a_larger_block_that_is_free)
{
	struct strata__block large = take(64 * KIB, 0);

	strata__pool_untake(space, &large);
	set_limit(strata__count(&space->catalog->counters.reserved));
	cr_assert_eq(take(16 * KIB, 0).class_, 2);
	cr_assert_eq(strata__count(&counters(1)->spilled), 1);
	check_all();
}

/* A file that has a head and 1 MiB of room at most; -1 where we may not. */
static int
open_in_small_folder(void)
{
	char path[sizeof(space->folder.path) + 16];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/small", space->folder.path);
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mkdir(path, 0700) < 0)
		return -1;
	fd = mount("none", path, "tmpfs", 0, "size=1m") < 0
		     ? -1
		     : open(path, O_TMPFILE | O_RDWR, 0600);
	(void)umount2(path, MNT_DETACH);
	(void)rmdir(path);
	if (fd >= 0)
		cr_assert_eq(ftruncate(fd, STRATA_POOL_BLOCKS), 0);
	return fd;
}

Test(pool, a_full_file_system_is_an_error_of_its_own)
{
	int code, kept = space->pool_fd[1], fd = open_in_small_folder();
	uint64_t nr;

	if (fd < 0)
		cr_skip_test("mounting needs privileges");
	space->pool_fd[1] = fd;
	for (nr = 0;; nr++) {
		code = try_take(16 * KIB, 0);
		if (code != 0)
			break;
		check_all();
	}
	cr_assert_eq(code, STRATA_ESHM, "%s", strata_last_error()->sentence);
	cr_assert(nr >= 60 && nr <= 64,
		  "%" PRIu64 " found room, in steps "
		  "of what there was",
		  nr);
	cr_assert_eq(strata__count(&space->catalog->counters.failures_shm), 1);
	check_all();
	cr_assert_eq(take(64 * KIB, 0).class_, 2);
	space->pool_fd[1] = kept;
	close(fd);
}

Test(pool, growth_that_the_system_refuses_changes_nothing)
{
	uint64_t reserved = strata__count(&space->catalog->counters.reserved);
	int fd = space->pool_fd[1];

	space->pool_fd[1] = open("/dev/shm", O_RDONLY | O_DIRECTORY);
	cr_assert_neq(try_take(16 * KIB, STRATA_TAKE_RESERVE), STRATA_ELIMIT);
	close(space->pool_fd[1]);
	space->pool_fd[1] = fd;
	strata__pool_rebuild(space);
	cr_assert_leq(strata__count(&space->catalog->counters.reserved) -
			      reserved,
		      STRATA_POOL_STEP, "of another class");
	check_all();
}

/**** hints ****/

Test(pool, a_false_hint_is_noticed)
{
	struct strata__block a = take(100, 0), b, other;
	uint32_t *stack = strata__free_stack(space, 0);
	uint64_t top = strata__count(&counters(0)->nr_free) - 1;

	stack[top] = a.index; /* is in use */
	b = take(100, 0);
	cr_assert_neq(b.index, a.index);
	check_all();
	strata__count_set(&counters(0)->nr_free, UINT64_MAX);
	other = take(100, 0);
	cr_assert(other.index != a.index && other.index != b.index);
	check_all();
}

Test(pool, a_run_mends_a_stack_that_does_not_know_it)
{
	uint64_t unit = stride(last_class());
	uint32_t *stack;
	uint64_t top;

	(void)take(unit, 0);
	stack = strata__free_stack(space, last_class());
	top = strata__count(&counters(last_class())->nr_free) - 1;
	stack[top] = stack[0]; /* one is there twice, one is not */
	(void)take(3 * unit, 0);
	check_all();
}

Test(pool, rebuilding_needs_nothing_but_the_records)
{
	struct strata__counters before;
	struct strata__block block;
	uint32_t i, c;

	for (i = 0; i < 300; i++) {
		block = take(i * 1500 % (60 * KIB), 0);
		if (i % 3 == 0)
			strata__pool_retire(space, &block, 2);
		else if (i % 5 == 0)
			strata__pool_untake(space, &block);
	}
	check_all();
	memcpy(&before, &space->catalog->counters, sizeof(before));
	fixture_corrupt_hints(space);
	strata__pool_rebuild(space);
	for (c = 0; c <= last_class(); c++) {
		cr_assert_eq(strata__count(&counters(c)->grown),
			     strata__count(&before.classes[c].grown));
		cr_assert_eq(strata__count(&counters(c)->live),
			     strata__count(&before.classes[c].live));
		cr_assert_eq(strata__count(&counters(c)->retired),
			     strata__count(&before.classes[c].retired));
		cr_assert_eq(strata__count(&counters(c)->nr_free),
			     strata__count(&before.classes[c].nr_free));
	}
	check_all();
}

/**** shrinking ****/

Test(pool, what_is_free_at_the_end_is_given_back)
{
	struct strata__block blocks[300];
	uint64_t before, after;
	uint32_t i;

	for (i = 0; i < 300; i++)
		blocks[i] = take(16 * KIB, 0);
	for (i = 10; i < 300; i++)
		strata__pool_untake(space, &blocks[i]);
	before = strata__count(&space->catalog->counters.reserved);
	cr_assert_gt(strata__pool_shrink(space), 0);
	after = strata__count(&space->catalog->counters.reserved);
	cr_assert_lt(after, before);
	check_all();
	cr_assert_eq(strata__pool_shrink(space), 0);
	for (i = 10; i < 300; i++) {
		blocks[i] = take(16 * KIB, 0);
		memset(strata__at(space, strata__block_ref(space, &blocks[i])),
		       1, 16 * KIB);
	}
	check_all();
}

Test(pool, a_run_at_the_end_is_not_cut)
{
	struct strata__block low = take(6 * MIB, 0), high = take(1 * MIB, 0);
	char *at = strata__at(space, strata__block_ref(space, &high));

	strata__pool_untake(space, &low);
	(void)strata__pool_shrink(space);
	check_all();
	memset(at, 3, 1 * MIB);
	strata__pool_untake(space, &high);
	cr_assert_gt(strata__pool_shrink(space), 7 * MIB,
		     "an unused pool is its head");
	check_all();
}

Test(pool, the_node_reserve_is_not_given_back)
{
	struct strata__block blocks[1500];
	uint32_t i;

	for (i = 0; i < 1500; i++)
		blocks[i] = take(4096, STRATA_TAKE_NODE);
	for (i = 0; i < 1500; i++)
		strata__pool_untake(space, &blocks[i]);
	cr_assert_gt(strata__pool_shrink(space), 0);
	cr_assert_geq(strata__count(&counters(0)->nr_free),
		      STRATA_NODE_RESERVE);
	check_all();
	leave_room(0);
	for (i = 0; i < STRATA_NODE_RESERVE; i++)
		(void)take(4096, STRATA_TAKE_NODE | STRATA_TAKE_RESERVE);
}

/**** dying anywhere ****/

static jmp_buf killed;
static uint32_t points_left;

static void
kill_here(const char *name)
{
	(void)name;
	if (points_left-- == 0)
		longjmp(killed, 1);
}

/* Takes, retires, frees, grows and shrinks; block lives on. */
static void
live(struct strata__block *block)
{
	struct strata__block old;

	(void)strata__pool_take(space, 3 * MIB, 2, 0, &old);
	strata__pool_retire(space, &old, 3);
	strata__pool_reclaim(space, &old);
	(void)strata__pool_take(space, 16 * KIB, 4, 0, block);
	(void)strata__pool_take(space, 20 * KIB, 4, 0, &old);
	strata__pool_untake(space, &old);
	(void)strata__pool_shrink(space);
}

Test(pool, whoever_is_killed_leaves_records_that_can_be_believed)
{
	struct strata__block block;
	struct strata__record *record;
	volatile uint32_t nr;
	uint32_t c;

	for (nr = 0;; nr++) {
		teardown();
		setup();
		points_left = nr;
		strata__testpoint = kill_here;
		if (setjmp(killed) == 0) {
			live(&block);
			break;
		}
		strata__testpoint = NULL;
		strata__pool_rebuild(space);
		for (c = 0; c <= last_class(); c++)
			check_class(c);
		for (c = 0; c < 2; c++) {
			block = take(3 * MIB, 0);
			record = strata__block_record(space, &block);
			cr_assert_eq(atomic_load(&record->birth), 1);
		}
		for (c = 0; c <= last_class(); c++)
			check_class(c);
	}
	cr_assert_gt(nr, 20, "there are that many points");
}

/**** model ****/

/* A block as the model knows it; its first and last words are written. */
struct known {
	struct strata__block block;
	uint64_t birth, word;
	bool retired;
};

struct model {
	uint64_t random;
	struct known *known;
	size_t nr, max;
	char *owner[STRATA_CLASSES_MAX]; /* a byte for each block */
	uint64_t nr_refused;
};

static uint64_t
pick(struct model *model, uint64_t nr)
{
	return fixture_random(&model->random) % nr;
}

static uint64_t *
last_word(const struct strata__block *block)
{
	return (uint64_t *)((char *)strata__at(
				    space, strata__block_ref(space, block)) +
			    strata__block_bytes(space, block) -
			    sizeof(uint64_t));
}

static uint64_t *
first_word(const struct strata__block *block)
{
	return strata__at(space, strata__block_ref(space, block));
}

static void
own(struct model *model, const struct strata__block *block, char owned)
{
	uint32_t i;

	for (i = 0; i < block->run; i++) {
		cr_assert_neq(model->owner[block->class_][block->index + i],
			      owned, "a block has one owner");
		model->owner[block->class_][block->index + i] = owned;
	}
}

static uint64_t
pick_size(struct model *model)
{
	switch (pick(model, 6)) {
	case 0:
		return pick(model, 3 * MIB);
	case 1:
		return pick(model, 300 * KIB);
	case 2:
		return pick(model, 64 * KIB);
	case 3:
		return pick(model, 20 * KIB);
	default:
		return pick(model, 5 * KIB);
	}
}

static void
model_take(struct model *model)
{
	struct known *known = &model->known[model->nr];
	uint64_t size = pick_size(model);
	unsigned flags = 0;
	int code;

	if (size <= 4096 && pick(model, 2) == 0)
		flags = STRATA_TAKE_NODE;
	if (pick(model, 4) == 0)
		flags |= STRATA_TAKE_RESERVE;
	known->birth = model->random;
	code = strata__pool_take(space, size, known->birth, flags,
				 &known->block);
	if (code != 0) {
		cr_assert(code == STRATA_ELIMIT || code == STRATA_ECLASS);
		model->nr_refused++;
		return;
	}
	cr_assert_geq(strata__block_bytes(space, &known->block), size);
	own(model, &known->block, 1);
	known->retired = false;
	known->word = fixture_random(&model->random);
	*first_word(&known->block) = known->word;
	*last_word(&known->block) = known->word;
	model->nr++;
}

static void
model_end(struct model *model, size_t i)
{
	struct known *known = &model->known[i];

	cr_assert(*first_word(&known->block) == known->word &&
			  *last_word(&known->block) == known->word,
		  "nobody else wrote to it");
	cr_assert_eq(
		atomic_load(&strata__block_record(space, &known->block)->birth),
		known->birth);
	if (known->retired) {
		reclaim(&known->block);
	} else if (pick(model, 3) != 0) {
		strata__pool_retire(space, &known->block, 1);
		known->retired = true;
		return;
	} else {
		strata__pool_untake(space, &known->block);
	}
	own(model, &known->block, 0);
	*known = model->known[--model->nr];
}

static void
model_step(struct model *model)
{
	uint64_t dice = pick(model, 1000);

	if (dice < 3)
		(void)strata__pool_shrink(space);
	else if (dice < 6)
		strata__pool_rebuild(space);
	else if (dice < 9) {
		fixture_corrupt_hints(space);
		strata__pool_rebuild(space);
	} else if (dice < 500 && model->nr < model->max)
		model_take(model);
	else if (model->nr > 0)
		model_end(model, pick(model, model->nr));
}

static uint32_t
nr_steps(void)
{
	const char *length = getenv("STRATA_TEST_LENGTH");

	if (length == NULL)
		return 60000;
	return strcmp(length, "long") == 0 ? 2000000 : 10000;
}

static void
run_model(const char *what, uint64_t limit, size_t max)
{
	struct model model = {.random = fixture_seed(what), .max = max};
	uint32_t c, i;

	fixture_space_free(space);
	space = fixture_space(limit);
	model.known = calloc(max, sizeof(*model.known));
	for (c = 0; c <= last_class(); c++)
		model.owner[c] =
			calloc(space->geometry->classes[c].nr_blocks, 1);
	for (i = nr_steps(); i > 0; i--) {
		model_step(&model);
		if (i % 64 == 0)
			check_all();
	}
	while (model.nr > 0)
		model_end(&model, model.nr - 1);
	check_all();
	for (c = 0; c <= last_class(); c++) {
		cr_assert_eq(strata__count(&counters(c)->live), 0);
		free(model.owner[c]);
	}
	free(model.known);
	cr_assert(limit > 16 * MIB || model.nr_refused > 0);
}

Test(pool, a_model_agrees)
{
	run_model("pool, roomy", 256 * MIB, 400);
}

Test(pool, a_model_agrees_when_room_is_short)
{
	run_model("pool, short of room", 10 * MIB, 4000);
}
