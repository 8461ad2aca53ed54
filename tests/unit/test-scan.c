/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Scans: sections that are handed over meanwhile, and descriptors that are lost. */
#include <errno.h>

#include "pinned.h"

TestSuite(scan, .init = store_setup, .fini = store_teardown, .timeout = 60);

/**** sections that are handed over while somebody scans ****/

static const struct strata__slot *handed_over;
static struct strata__chunk *former;

/* Once: as a fork does that finds no slot for the child in the files that there
 * are, and whose parent leaves. */
static void
hand_over(const char *point)
{
	struct strata__slot *slot;

	if (handed_over != NULL || strcmp(point, "scan.listed") != 0)
		return;
	slot = take();
	handed_over = slot;
	pin(slot, 5);
	atomic_fetch_add(&former->head->handovers, 1);
	atomic_store(&former->slots[0].pin, 0);
}

static void
setup_of_one_chunk(void)
{
	struct strata_config config = store_config(16 * MIB);
	struct strata__slot *slot;

	config.readers = 1;
	store_setup_config(&config);
	must(strata__slot_take(&store->rcu, &former, &slot));
	pin(slot, 5);
	for (unsigned i = 1; i < STRATA_CHUNK_SLOTS; i++)
		(void)take();
}

static void
teardown_of_one_chunk(void)
{
	strata__testpoint = NULL;
	store_teardown();
}

TestSuite(scan_chunk, .init = setup_of_one_chunk, .fini = teardown_of_one_chunk,
	  .timeout = 60);

/* The counter is noted when it was raised already, and the child's pin is in a
 * file that was not there when they were listed. */
Test(scan_chunk, a_section_in_a_new_file_is_found)
{
	cr_assert(needs(5, 6));
	strata__testpoint = hand_over;
	cr_expect(needs(5, 6));
	strata__testpoint = NULL;
	cr_assert_neq(handed_over, NULL);
	cr_assert_eq(store->rcu.nr_files, 2, "its file is a new one");
	cr_expect(needs(5, 6));
}

static unsigned nr_made;

/* A new file each time that they have been listed. */
static void
make_a_file(const char *point)
{
	struct strata__chunk *chunk;
	struct strata__slot *slot;
	char name[STRATA_SEGMENT_NAME];

	if (strcmp(point, "scan.noted") != 0)
		return;
	strata__segment_name_pins(name, &store->space.id, geteuid(), 1);
	(void)unlink(file_path(name));
	for (unsigned i = 0; i < STRATA_CHUNK_SLOTS; i++)
		must(strata__slot_take(&store->rcu, &chunk, &slot));
	nr_made++;
}

Test(scan_chunk, who_makes_files_for_ever_is_not_waited_for)
{
	strata__testpoint = make_a_file;
	cr_expect(needs(5, 6));
	strata__testpoint = NULL;
	cr_expect_gt(nr_made, 1);
}

/* As two users who do it in turns. */
static void
make_a_file_unnoticed(const char *point)
{
	make_a_file(point);
	strata__pins_tallies_begin(&store->rcu);
}

Test(scan_chunk, nor_are_many_who_do_it_in_turns)
{
	struct strata__scan scan;

	strata__testpoint = make_a_file_unnoticed;
	expect_error(strata__scan_take(&store->rcu, &scan), -EBUSY,
		     "change faster than they can be read");
	strata__testpoint = NULL;
	cr_expect(needs(5, 6));
}

/**** sections that are handed over late ****/

static struct strata__slot *original, *heir;
static unsigned nr_busy, nr_notes;
static bool has_left;

/* Forks a number of times while it is read; and once more, inside of its section,
 * which it leaves then, when all has been read. */
static void
fork_late(const char *point)
{
	if (strcmp(point, "scan.noted") == 0 && nr_notes < nr_busy) {
		nr_notes++;
		atomic_fetch_add(&former->head->handovers, 1);
	}
	if (strcmp(point, "scan.taken") == 0 && !has_left) {
		has_left = true;
		pin(heir, 5);
		atomic_fetch_add(&former->head->handovers, 1);
		atomic_store(&original->pin, 0);
	}
}

static void
synchronize_beside(unsigned nr)
{
	nr_busy = nr;
	must(strata__slot_take(&store->rcu, &former, &original));
	heir = take();
	pin(original, 5);
	strata__testpoint = fork_late;
	cr_expect_eq(strata_synchronize(store, 30 * 1000 * 1000),
		     STRATA_ETIMEDOUT, "the heir is in its section");
	strata__testpoint = NULL;
	cr_expect(has_left);
	cr_expect_eq(nr_notes, nr);
}

Test(scan, synchronize_waits_for_an_heir)
{
	synchronize_beside(0);
}

Test(scan, synchronize_waits_for_an_heir_of_who_forks_much)
{
	synchronize_beside(64);
}

/**** descriptors that are lost ****/

/* As closefrom() does, and others get the numbers. */
static void
lose_descriptors(const char *point)
{
	if (strcmp(point, "scan.asking") != 0)
		return;
	strata__testpoint = NULL;
	for (size_t i = 0; i < store->rcu.nr_files; i++) {
		int other = open("/dev/null", O_RDONLY | O_CLOEXEC);

		cr_assert_geq(other, 0);
		if (store->rcu.files[i].fd >= 0)
			cr_assert_geq(dup2(other, store->rcu.files[i].fd), 0);
		close(other);
	}
}

Test(scan, what_another_file_says_of_the_living_is_nothing)
{
	struct strata__scan scan;

	pin(take(), 5);
	cr_expect(needs(5, 6));
	must(strata__scan_take(&store->rcu, &scan));
	strata__testpoint = lose_descriptors;
	cr_expect(strata__scan_needs(&scan, 5, 6));
	cr_expect_null(strata__testpoint);
	strata__scan_done(&scan);
	cr_expect(needs(5, 6));
}

/* The parent forks, leaves and is read while it does; then descriptors are lost,
 * and the counter reads as one that was never raised. */
static void
fork_and_lose(const char *point)
{
	if (strcmp(point, "scan.loaded") == 0 && ++nr_notes == 1) {
		pin(heir, 5);
		atomic_fetch_add(&former->head->handovers, 1);
		atomic_store(&original->pin, 0);
	}
	if (strcmp(point, "scan.read") == 0) {
		strata__testpoint = lose_descriptors;
		lose_descriptors("scan.asking");
	}
}

Test(scan_chunk, a_lost_descriptor_hides_no_heir)
{
	struct strata__chunk *chunk = former;

	/* The heir in the file that is read first, the original in the second. */
	heir = &chunk->slots[0];
	atomic_store(&heir->pin, 0);
	cr_expect_not(needs(5, 6));
	must(strata__slot_take(&store->rcu, &former, &original));
	pin(original, 5);
	cr_expect(needs(5, 6));
	strata__testpoint = fork_and_lose;
	cr_expect(needs(5, 6));
	cr_expect_null(strata__testpoint);
	cr_expect(needs(5, 6));
}

/**** a claim in a file that loses its name ****/

static void
remove_the_name(const char *point)
{
	char name[STRATA_SEGMENT_NAME];

	if (strcmp(point, "rcu.claim.opened") != 0)
		return;
	strata__testpoint = NULL;
	strata__segment_name_pins(name, &store->space.id, geteuid(), 0);
	cr_assert_eq(unlink(file_path(name)), 0);
}

Test(scan, a_slot_is_in_a_file_that_is_found)
{
	strata__testpoint = remove_the_name;
	pin(take(), 5);
	cr_expect_null(strata__testpoint);
	cr_expect(needs(5, 6));
}
