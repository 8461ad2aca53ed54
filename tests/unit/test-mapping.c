/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Regions are mapped as they are met, one by one, whoever meets them. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "attached.h"

#define SIZE 30000

/* A handle that has mapped nothing of dimensions 3, 4 and 5, which are regions;
 * dimension 1 is of protos. */
static struct strata_store *other;
static struct strata_reader *far;

static void
setup(void)
{
	store_setup();
	put(1, 0, 'p', 10);
	for (uint32_t d = 3; d <= 5; d++)
		must(strata_load(store, file_of("file", d, 2, SIZE), NULL));
	other = store_attach(STRATA_READ);
	far = reader_open(other);
}

static void
teardown(void)
{
	must(strata_detach(other));
	store_teardown();
}

TestSuite(mapping, .init = setup, .fini = teardown, .timeout = 60);

/* Those of the regions that a handle has mapped, a bit each: as they were
 * loaded, they have indices 0 to 2 and generations 1 to 3. */
static unsigned
mapped(const struct strata_store *of)
{
	unsigned bits = 0;

	for (uint32_t i = 0; i < 3; i++)
		if (strata__space_has(&of->space, i, i + 1))
			bits |= 1u << i;
	return bits;
}

/**** one by one ****/

Test(mapping, each_region_is_mapped_when_it_is_met)
{
	size_t size;

	cr_expect_eq(mapped(other), 0, "attaching maps none");
	must(strata_read_lock(far));
	cr_expect_eq(mapped(other), 0, "locking maps none");
	cr_expect(reads(far, 1, 0, 'p', 10));
	cr_expect_eq(mapped(other), 0, "a proto is not in a region");
	cr_expect(reads(far, 4, 1, 'b', SIZE));
	cr_expect_eq(mapped(other), 2, "that of dimension 4, no other");
	cr_expect(reads(far, 4, 0, 'a', SIZE));
	cr_expect_not_null(strata_get(far, 3, 1, &size));
	cr_expect_eq(mapped(other), 3);
	cr_expect_neq(far->slow & STRATA_SLOW_UNMAPPED, 0);
	cr_expect(reads(far, 5, 1, 'b', SIZE));
	cr_expect_eq(mapped(other), 7);
	cr_expect_eq(far->slow & STRATA_SLOW_UNMAPPED, 0,
		     "nothing is left to ask for");
	must(strata_read_unlock(far));
	must(strata_read_lock(far));
	cr_expect_eq(far->slow & STRATA_SLOW_UNMAPPED, 0);
	must(strata_read_unlock(far));
}

static int
count_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	unsigned *nr = arg;

	(void)layer;
	*nr += is_filled(strata_data(far, entry), (char)('a' + layer), SIZE);
	return 0;
}

Test(mapping, a_walk_maps_what_it_meets)
{
	unsigned nr = 0;

	must(strata_read_lock(far));
	must(strata_foreach_layer(far, 5, count_layer, &nr));
	must(strata_read_unlock(far));
	cr_expect_eq(nr, 2);
	cr_expect_eq(mapped(other), 4);
}

/* Windows are of one shape, so an entry is good for any handle of the store. */
Test(mapping, metadata_are_mapped_for_who_found_the_entry_elsewhere)
{
	struct strata_reader *near = reader_open(store);
	const struct strata_entry *entry;
	struct strata_meta meta;

	must(strata_read_lock(near));
	must(strata_find(near, 4, 1, &entry));
	must(strata_read_lock(far));
	must(strata_meta(far, entry, &meta));
	cr_expect_str_eq(meta.name, "layer");
	cr_expect_eq(mapped(other), 2);
	must(strata_meta(far, entry, &meta));
	must(strata_read_unlock(far));
	must(strata_read_unlock(near));
}

Test(mapping, refresh_maps_all)
{
	must(strata_read_lock(far));
	cr_expect(reads(far, 4, 1, 'b', SIZE));
	must(strata_refresh(other));
	cr_expect_eq(mapped(other), 7);
	cr_expect(reads(far, 4, 1, 'b', SIZE));
	cr_expect_eq(far->slow & STRATA_SLOW_UNMAPPED, 0,
		     "in the section that is open");
	must(strata_read_unlock(far));
}

Test(mapping, who_has_mapped_all_maps_at_the_lock_what_is_new)
{
	must(strata_refresh(other));
	must(strata_load(store, file_of("file", 6, 2, SIZE), NULL));
	cr_expect_not(strata__space_has(&other->space, 3, 4));
	must(strata_read_lock(far));
	cr_expect(strata__space_has(&other->space, 3, 4));
	cr_expect(reads(far, 6, 1, 'b', SIZE));
	must(strata_read_unlock(far));
}

/* The first section maps what it meets; the next ones some of the rest. */
Test(mapping, who_goes_on_gets_the_rest)
{
	must(strata_read_lock(far));
	cr_assert(reads(far, 1, 0, 'p', 10));
	must(strata_read_unlock(far));
	cr_expect_eq(mapped(other), 0);
	must(strata_read_lock(far));
	cr_expect_eq(mapped(other), 7);
	cr_expect_eq(far->slow & STRATA_SLOW_UNMAPPED, 0);
	must(strata_read_unlock(far));
}

Test(mapping, many_regions_come_by_and_by)
{
	unsigned rounds = 0;

	for (uint32_t d = 100; d < 180; d++)
		must(strata_load(store, file_of("file", d, 1, 100), NULL));
	must(strata_read_lock(far));
	must(strata_read_unlock(far));
	do {
		must(strata_read_lock(far));
		cr_expect(reads(far, 179, 0, 'a', 100));
		must(strata_read_unlock(far));
	} while (rounds++ < 100 && (far->slow & STRATA_SLOW_UNMAPPED) != 0);
	cr_expect_gt(rounds, 3, "not at once");
	cr_expect_lt(rounds, 10);
	for (uint32_t i = 0; i < 83; i++)
		cr_expect(strata__mapping_at(&other->space, i)->generation != 0,
			  "region %u is mapped", i);
}

/**** what is retired, what is gone ****/

Test(mapping, a_section_maps_what_was_retired_since_it_began)
{
	must(strata_read_lock(far));
	put(3, 0, 'z', 100);
	must(strata_crystallize(store, 3));
	must(strata_unload(store, 4, 0));
	must(strata_gc(store, NULL));
	cr_expect_eq(mapped(other), 0);
	cr_expect(reads(far, 3, 1, 'b', SIZE), "not the new one");
	cr_expect(reads(far, 4, 1, 'b', SIZE));
	must(strata_read_unlock(far));
	must(strata_gc(store, NULL));
	must(strata_read_lock(far));
	cr_expect(reads(far, 3, 0, 'z', 100));
	must(strata_read_unlock(far));
	must(strata_load(store, file_of("file", 6, 2, SIZE), NULL));
	must(strata_read_lock(far));
	cr_expect(reads(far, 6, 1, 'b', SIZE));
	must(strata_read_unlock(far));
	cr_expect_not(strata__space_has(&other->space, 0, 1));
	cr_expect_not(strata__space_has(&other->space, 1, 2));
}

/* Places and indices are used again; what was mapped there is not. */
Test(mapping, the_next_region_in_the_same_place_is_another)
{
	for (unsigned round = 0; round < 5; round++) {
		size_t size = round % 2 == 0 ? SIZE : 3 * SIZE;

		must(strata_unload(store, 4, 0));
		must(strata_unload(store, 3, 0));
		must(strata_gc(store, NULL));
		must(strata_load(store, file_of("file", 3, 1, size), NULL));
		must(strata_load(store, file_of("file", 4, 2, size), NULL));
		must(strata_read_lock(far));
		cr_expect(reads(far, 4, 1, 'b', size), "round %u", round);
		cr_expect(reads(far, 3, 0, 'a', size), "round %u", round);
		must(strata_read_unlock(far));
	}
}

Test(mapping, what_leads_nowhere_is_refused)
{
	struct strata__space *space = &other->space;
	const uint64_t nowhere = space->geometry->region_base +
				 space->geometry->region_size - STRATA_PAGE;

	expect_error(strata__space_map(space, UINT32_MAX, 1), STRATA_ECORRUPT,
		     "leads to no region");
	expect_error(strata__space_map(space, space->geometry->nr_segments, 1),
		     STRATA_ECORRUPT, "leads to no region");
	expect_error(strata__space_map(space, 0, 0), STRATA_ECORRUPT,
		     "leads to no region");
	expect_error(strata__space_map(space, 0, 77), STRATA_ECORRUPT,
		     "another one");
	expect_error(strata__space_map(space, 7, 1), STRATA_ECORRUPT, "none");
	expect_error(strata__space_map_ref(space, nowhere), STRATA_ECORRUPT,
		     "leads to no region");
	cr_expect_not(strata__space_is_mapped(space, nowhere));
}

/**** what cannot be mapped ****/

Test(mapping, without_a_descriptor_at_the_first_use)
{
	struct rlimit before, limit;
	const struct strata_entry *entry = NULL;
	int fd = dup(0);

	close(fd);
	must(strata_read_lock(far));
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = (rlim_t)fd;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect_error(strata_find(far, 4, 0, &entry), STRATA_EMAP,
		     "Too many open files");
	cr_expect_eq(strata_last_error()->sys_errno, EMFILE);
	cr_expect_eq(strata_last_error()->dimension, 4);
	cr_expect_null(entry);
	cr_expect(reads(far, 1, 0, 'p', 10), "others are not touched");
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	cr_expect(reads(far, 4, 0, 'a', SIZE), "the next lookup tries again");
	must(strata_read_unlock(far));
}

/* That one is an error of its layers; the others are as they would be. */
Test(mapping, one_that_is_gone_does_not_keep_others_from_being_mapped)
{
	const struct strata_entry *entry;
	char away[256];

	snprintf(away, sizeof(away), "%s/away", folder_path);
	cr_assert_eq(rename(region_path(1), away), 0);
	must(strata_read_lock(far));
	expect_error(strata_find(far, 3, 0, &entry), STRATA_EMAP,
		     "dimension 3");
	cr_expect(reads(far, 4, 1, 'b', SIZE));
	expect_error(strata_refresh(other), STRATA_EMAP, "dimension 3");
	cr_expect_eq(mapped(other), 6);
	cr_assert_eq(rename(away, region_path(1)), 0);
	cr_expect(reads(far, 3, 1, 'b', SIZE), "without another refresh");
	cr_expect_eq(far->slow & STRATA_SLOW_UNMAPPED, 0);
	must(strata_read_unlock(far));
}

/* What it has met it keeps; the rest has lost its names. */
Test(mapping, a_section_that_outlives_the_store_has_what_it_met)
{
	const struct strata_entry *entry;

	must(strata_read_lock(far));
	cr_expect(reads(far, 4, 1, 'b', SIZE));
	must(strata_destroy(STORE));
	cr_expect(reads(far, 4, 0, 'a', SIZE));
	cr_expect(reads(far, 1, 0, 'p', 10));
	expect_error(strata_find(far, 3, 0, &entry), STRATA_EMAP,
		     "No such file");
	must(strata_read_unlock(far));
	expect_error(strata_read_lock(far), STRATA_EGONE, "destroyed");
}

/**** at the same time ****/

static struct strata_reader *handlers;
static volatile sig_atomic_t handled;

/* By a reader of its own; of a region that nobody has mapped. */
static void
handler(int sig)
{
	size_t size = 0;

	(void)sig;
	if (strata_read_lock(handlers) == 0) {
		handled = strata_get(handlers, 5, 1, &size) != NULL &&
			  size == SIZE;
		(void)strata_read_unlock(handlers);
	}
}

/* Who is here has the mutex. */
static void
raise_there(const char *name)
{
	if (strcmp(name, "space.region-opened") != 0)
		return;
	strata__testpoint = NULL;
	raise(SIGUSR1);
	cr_expect_eq(handled, 0, "the handler waits");
}

Test(mapping, a_signal_handler_does_not_wait_for_who_it_interrupted)
{
	handlers = reader_open(other);
	handled = 0;
	signal(SIGUSR1, handler);
	must(strata_read_lock(far));
	strata__testpoint = raise_there;
	cr_expect(reads(far, 4, 1, 'b', SIZE));
	must(strata_read_unlock(far));
	cr_expect_eq(handled, 1);
	cr_expect_eq(mapped(other), 6);
}

/* Who is here forks, and has all mutexes. */
static void
raise_in_fork(const char *name)
{
	if (strcmp(name, "os.lock.taken") != 0)
		return;
	strata__testpoint = NULL;
	raise(SIGUSR1);
	cr_expect_eq(handled, 0, "the handler waits");
}

static void
child_leaves(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
}

Test(mapping, a_signal_handler_does_not_wait_for_a_fork)
{
	struct proc child;

	handlers = reader_open(other);
	handled = 0;
	signal(SIGUSR1, handler);
	must(strata_read_lock(far)); /* so that the child needs a slot */
	strata__testpoint = raise_in_fork;
	proc_start(&child, child_leaves, NULL);
	cr_expect_eq(handled, 1);
	cr_expect_eq(proc_wait(&child), 0);
	must(strata_read_unlock(far));
}

static void
child_maps(struct proc *parent, void *arg)
{
	struct strata_reader *reader = arg;

	(void)parent;
	need(mapped(other) == 2, "inherited");
	need(reads(reader, 4, 1, 'b', SIZE), "that as well");
	need(reads(reader, 3, 1, 'b', SIZE), "retired, and mapped here only");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_read_lock(reader) == 0, "lock");
	need(reads(reader, 5, 0, 'a', SIZE), "another");
	need(strata_read_unlock(reader) == 0, "unlock");
}

Test(mapping, a_child_inherits_what_is_mapped_and_maps_the_rest)
{
	struct proc child;

	must(strata_read_lock(far));
	cr_expect(reads(far, 4, 1, 'b', SIZE));
	must(strata_unload(store, 3, 0));
	proc_start(&child, child_maps, far);
	must(strata_read_unlock(far));
	cr_expect_eq(proc_wait(&child), 0);
	cr_expect_eq(mapped(other), 2, "the child's are its own");
}
