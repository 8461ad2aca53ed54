/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Blocks: what is taken is nobody else's; what is refused, and why. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pools.h"

TestSuite(pool, .init = setup, .fini = teardown, .timeout = 120);

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
