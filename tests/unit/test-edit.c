/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Edits: all of a commit or nothing, and in which order it is seen. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/fixture.h"
#include "../support/points.h"
#include "../support/proc.h"
#include "edit.h"
#include "error.h"
#include "testpoint.h"

#define KIB   UINT64_C(1024)
#define MIB   (1024 * KIB)
#define LIMIT (256 * MIB)

static struct strata__space *space;
static struct strata__edit edit;

static void
setup(void)
{
	space = fixture_space(LIMIT);
	strata__edit_init(&edit, space);
}

static void
teardown(void)
{
	strata__testpoint = NULL;
	strata__edit_fini(&edit);
	fixture_space_free(space);
}

TestSuite(edit, .init = setup, .fini = teardown, .timeout = 120);

/**** helpers ****/

static struct strata__hot *
hot(void)
{
	return &space->catalog->hot;
}

static uint64_t
version(void)
{
	return atomic_load(&hot()->version);
}

static uint64_t
take(uint64_t size)
{
	struct strata__block block;

	cr_assert_eq(strata__edit_take(&edit, size, 0, &block), 0, "%s",
		     strata_last_error()->sentence);
	return strata__block_ref(space, &block);
}

static struct strata__record *
record(uint64_t ref)
{
	struct strata__block block;

	cr_assert(strata__block_at(space, ref, &block));
	return strata__block_record(space, &block);
}

static uint32_t
state(uint64_t ref)
{
	return atomic_load(&record(ref)->state);
}

static void
begin(void)
{
	cr_assert_eq(strata__edit_begin(&edit), 0, "%s",
		     strata_last_error()->sentence);
}

static uint64_t
nr_live(void)
{
	uint64_t nr = 0;
	uint32_t c;

	for (c = 0; c < space->geometry->nr_classes; c++)
		nr += strata__count(&space->catalog->counters.classes[c].live);
	return nr;
}

static struct strata__building
build(void)
{
	struct strata__building building;

	cr_assert_eq(strata__segtab_reserve(space, 3, 100 * KIB, 0600,
					    (uint32_t)-1, &building),
		     0);
	cr_assert_eq(strata__os_reserve(building.fd, 0, 100 * KIB), 0);
	cr_assert_eq(strata__segtab_seal(space, &building), 0);
	return building;
}

/**** what a commit does ****/

Test(edit, a_commit_publishes_its_root_as_the_next_version)
{
	uint64_t ref, counter = atomic_load(&hot()->commit_counter);

	begin();
	cr_assert_eq(edit.version, 1);
	cr_assert_eq(edit.root, 0, "the store is empty");
	ref = take(4096);
	edit.root = ref;
	cr_assert_eq(strata__edit_commit(&edit), 1);
	cr_assert_eq(version(), 1);
	cr_assert_eq(atomic_load(&hot()->roots[1]), ref);
	cr_assert_neq(atomic_load(&hot()->commit_counter), counter);
	cr_assert_eq(atomic_load(&record(ref)->birth), 1);
	cr_assert_eq(strata__count(&space->catalog->counters.commits), 1);
	begin();
	cr_assert_eq(edit.version, 2);
	cr_assert_eq(edit.root, ref, "the next one goes on from there");
	strata__edit_abort(&edit);
}

Test(edit, what_is_unlinked_retires_at_the_new_version)
{
	uint64_t old, new;

	begin();
	edit.root = old = take(4096);
	(void)strata__edit_commit(&edit);
	begin();
	edit.root = new = take(4096);
	cr_assert_eq(strata__edit_unlink(&edit, old), 0);
	cr_assert_eq(state(old), STRATA_ALLOCATED, "not before the commit");
	(void)strata__edit_commit(&edit);
	cr_assert_eq(state(old), STRATA_RETIRED);
	cr_assert_eq(atomic_load(&record(old)->birth), 1);
	cr_assert_eq(atomic_load(&record(old)->retirement), 2);
	cr_assert_eq(state(new), STRATA_ALLOCATED);
	cr_assert_eq(strata__count(&space->catalog->counters.nr_retired), 1);
}

Test(edit, an_abort_leaves_no_trace)
{
	uint64_t old;
	int i;

	begin();
	edit.root = old = take(4096);
	(void)strata__edit_commit(&edit);
	begin();
	for (i = 0; i < 200; i++)
		(void)take((uint64_t)i * 300);
	(void)take(1 * MIB);
	cr_assert_eq(strata__edit_unlink(&edit, old), 0);
	strata__edit_abort(&edit);
	cr_assert_eq(nr_live(), 1);
	cr_assert_eq(state(old), STRATA_ALLOCATED);
	cr_assert_eq(version(), 1);
	cr_assert_eq(strata__count(&space->catalog->counters.nr_retired), 0);
	strata__edit_abort(&edit);
	cr_assert_eq(nr_live(), 1, "a second abort finds nothing");
}

/**** what is the edit's own ****/

Test(edit, it_owns_what_it_took_until_the_commit)
{
	uint64_t first, second;

	begin();
	edit.root = first = take(4096);
	cr_assert(fixture_owns(&edit, first));
	cr_assert(fixture_owns(&edit, first | 2), "tagged or not");
	cr_assert_not(fixture_owns(&edit, first + 64));
	cr_assert_not(fixture_owns(&edit, 0));
	(void)strata__edit_commit(&edit);
	begin();
	second = take(4096);
	cr_assert_not(fixture_owns(&edit, first));
	cr_assert(fixture_owns(&edit, second));
	cr_assert_eq(strata__edit_unlink(&edit, second), 0);
	cr_assert_not(fixture_owns(&edit, second));
	strata__edit_abort(&edit);
}

Test(edit, its_own_is_freed_at_once_and_only_once)
{
	struct strata__block block;
	uint64_t unit = space->geometry->classes[3].stride;
	uint64_t a, b, kept;

	begin();
	edit.root = kept = take(3 * unit);
	(void)strata__edit_commit(&edit);
	begin();
	a = take(3 * unit);
	cr_assert_eq(strata__edit_unlink(&edit, a), 0);
	cr_assert_eq(state(a), STRATA_FREE);
	/* The same place is taken again, in other pieces. */
	b = take(unit);
	cr_assert_eq(b, a);
	(void)take(unit);
	cr_assert_eq(strata__edit_unlink(&edit, b), 0);
	b = take(2 * unit);
	strata__edit_abort(&edit);
	cr_assert(strata__block_at(space, kept, &block));
	cr_assert_eq(nr_live(), 3);
	strata__pool_rebuild(space);
	cr_assert_eq(nr_live(), 3, "the records say so, too");
}

Test(edit, nonsense_is_told_and_not_unlinked)
{
	uint64_t ref;

	begin();
	edit.root = ref = take(4096);
	(void)strata__edit_commit(&edit);
	begin();
	cr_assert_eq(strata__edit_unlink(&edit, ref + 64), STRATA_ECORRUPT);
	cr_assert_eq(strata_last_error()->offset, ref + 64);
	cr_assert_eq(strata__edit_unlink(&edit, ref + 4096), STRATA_ECORRUPT,
		     "a free block is in nobody's tree");
	cr_assert_eq(strata__edit_unlink_segment(&edit, 0), STRATA_ECORRUPT);
	cr_assert_eq(strata__edit_unlink_segment(&edit, UINT32_MAX),
		     STRATA_ECORRUPT);
	/* A tree that has the same block twice. */
	cr_assert_eq(strata__edit_unlink(&edit, ref), 0);
	cr_assert_eq(strata__edit_unlink(&edit, ref), 0);
	edit.root = 0;
	(void)strata__edit_commit(&edit);
	cr_assert_eq(strata__count(&space->catalog->counters.nr_retired), 1);
	cr_assert_eq(
		strata__count(&space->catalog->counters.classes[0].retired), 1);
}

Test(edit, its_flags_go_with_every_take)
{
	struct strata__block block;
	int code;

	begin();
	strata__count_set(&space->catalog->counters.reserved, LIMIT);
	while ((code = strata__edit_take(&edit, 4096, STRATA_TAKE_NODE,
					 &block)) == 0)
		;
	cr_assert_eq(code, STRATA_ELIMIT);
	edit.take_flags = STRATA_TAKE_RESERVE;
	cr_assert_eq(strata__edit_take(&edit, 4096, STRATA_TAKE_NODE, &block),
		     0);
	strata__edit_abort(&edit);
	cr_assert_eq(nr_live(), 0);
	begin();
	cr_assert_eq(edit.take_flags, 0, "each edit says it anew");
}

/**** the last version ****/

Test(edit, there_is_a_last_version)
{
	atomic_store(&hot()->version, STRATA_VERSION_MAX - 1);
	begin();
	cr_assert_eq(strata__edit_commit(&edit), STRATA_VERSION_MAX);
	cr_assert_eq(strata__edit_begin(&edit), STRATA_EINVAL);
	atomic_store(&hot()->version, STRATA_VERSION_DEAD | 5);
	cr_assert_eq(strata__edit_begin(&edit), STRATA_EINVAL);
}

/**** segments ****/

Test(edit, a_region_is_published_with_the_version_that_has_it)
{
	struct strata__building building = build();
	uint64_t epoch = atomic_load(&hot()->segment_epoch);
	struct strata__segment *entry;

	entry = &strata__segments(space)[building.index];
	begin();
	edit.published = &building;
	edit.nr_published = 1;
	(void)strata__edit_commit(&edit);
	strata__building_close(&building);
	cr_assert_eq(atomic_load(&entry->record.state), STRATA_ALLOCATED);
	cr_assert_eq(atomic_load(&entry->record.birth), 1);
	cr_assert_gt(atomic_load(&hot()->segment_epoch), epoch);
	epoch = atomic_load(&hot()->segment_epoch);
	begin();
	cr_assert_eq(strata__edit_unlink_segment(&edit, building.index), 0);
	(void)strata__edit_commit(&edit);
	cr_assert_eq(atomic_load(&entry->record.state), STRATA_RETIRED);
	cr_assert_eq(atomic_load(&entry->record.retirement), 2);
	cr_assert_eq(atomic_load(&hot()->segment_epoch), epoch,
		     "no reader need look for what goes");
}

/**** ages ****/

static void
commit_empty(void)
{
	begin();
	(void)strata__edit_commit(&edit);
}

Test(edit, versions_are_dated_now_and_then)
{
	struct strata__ages *ages = &space->catalog->ages;
	uint64_t minute = UINT64_C(60) * 1000 * 1000 * 1000;
	int i;

	for (i = 0; i < 50; i++)
		commit_empty();
	cr_assert_leq(atomic_load(&ages->nr[0]), 5, "not each of a burst");
	cr_assert_eq(atomic_load(&ages->nr[1]), 1);
	cr_assert_eq(atomic_load(&ages->rings[1][0].version), 1);
	cr_assert_neq(atomic_load(&ages->rings[1][0].realtime_ns), 0);
	for (i = 0; i < 2 * STRATA_AGES; i++) {
		/* As if a minute had gone by. */
		strata__count_sub(
			&ages->rings[1][(atomic_load(&ages->nr[1]) - 1) %
					STRATA_AGES]
				 .realtime_ns,
			minute);
		commit_empty();
	}
	cr_assert_eq(atomic_load(&ages->nr[1]), 2 * STRATA_AGES + 1);
	cr_assert_eq(atomic_load(&ages->rings[1][0].version), version());
}

/**** the order that others see ****/

static uint64_t old_ref, new_ref;
static struct strata__building published;
static int nr_seen;

/* What holds at each point, and before and after it. */
static void
look(const char *name)
{
	struct strata__segment *entry =
		&strata__segments(space)[published.index];

	if (strcmp(name, "edit.commit.epoch-raised") == 0) {
		cr_assert_eq(version(), 1);
		cr_assert_eq(atomic_load(&entry->record.state),
			     STRATA_ALLOCATED);
		cr_assert_eq(atomic_load(&hot()->roots[1]), old_ref);
	} else if (strcmp(name, "edit.commit.root-stored") == 0) {
		cr_assert_eq(version(), 1);
		cr_assert_eq(atomic_load(&hot()->segment_epoch), 1);
		cr_assert_eq(atomic_load(&hot()->roots[1]), old_ref,
			     "version 1 keeps its root");
		cr_assert_eq(atomic_load(&hot()->roots[0]), new_ref);
	} else if (strcmp(name, "edit.commit.version-stored") == 0) {
		cr_assert_eq(version(), 2);
		cr_assert_eq(state(old_ref), STRATA_ALLOCATED);
	} else if (strcmp(name, "edit.commit.retired") == 0) {
		cr_assert_eq(state(old_ref), STRATA_RETIRED);
	} else {
		return;
	}
	nr_seen++;
}

Test(edit, a_commit_goes_by_the_book)
{
	begin();
	edit.root = old_ref = take(4096);
	(void)strata__edit_commit(&edit);
	published = build();
	begin();
	edit.root = new_ref = take(4096);
	cr_assert_eq(strata__edit_unlink(&edit, old_ref), 0);
	edit.published = &published;
	edit.nr_published = 1;
	strata__testpoint = look;
	(void)strata__edit_commit(&edit);
	strata__building_close(&published);
	cr_assert_eq(nr_seen, 4);
}

/**** dying anywhere ****/

/* Replaces three blocks by three others. */
static void
replace(const uint64_t *refs)
{
	struct strata__block block;
	int i;

	if (strata__edit_begin(&edit) != 0)
		_exit(1);
	for (i = 0; i < 3; i++)
		if (strata__edit_take(&edit, 4096, 0, &block) != 0 ||
		    strata__edit_unlink(&edit, refs[i]) != 0)
			_exit(1);
	edit.root = strata__block_ref(space, &block);
	(void)strata__edit_commit(&edit);
}

/* What the version says is what the records say, as far as they must. */
static void
check_killed(const uint64_t *refs)
{
	const struct strata__record *records = strata__class_records(space, 0);
	uint64_t grown, i, root;
	uint32_t is;

	cr_assert(version() == 1 || version() == 2);
	root = atomic_load(&hot()->roots[version() & 1]);
	cr_assert_eq(state(root), STRATA_ALLOCATED);
	cr_assert_eq(atomic_load(&record(root)->birth), version());
	for (i = 0; i < 3; i++)
		if (state(refs[i]) != STRATA_ALLOCATED) {
			cr_assert_eq(version(), 2, "nothing retires before");
			cr_assert_eq(state(refs[i]), STRATA_RETIRED);
			cr_assert_eq(atomic_load(&record(refs[i])->retirement),
				     2);
		}
	grown = strata__count(&space->catalog->counters.classes[0].grown);
	for (i = 0; i < grown; i++) {
		is = atomic_load(&records[i].state);
		cr_assert(is == STRATA_FREE ||
				  atomic_load(&records[i].birth) == 1 ||
				  atomic_load(&records[i].birth) == 2,
			  "who is allocated has a birth");
	}
}

Test(edit, whoever_is_killed_leaves_one_version_or_the_other)
{
	uint64_t refs[3];
	uint32_t nr, i;
	int status;
	pid_t pid;

	for (nr = 0;; nr++) {
		teardown();
		setup();
		begin();
		for (i = 0; i < 3; i++)
			edit.root = refs[i] = take(4096);
		(void)strata__edit_commit(&edit);
		pid = fork();
		if (pid == 0) {
			points_die_at(NULL, nr + 1);
			replace(refs);
			_exit(0);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		check_killed(refs);
		if (WIFEXITED(status))
			break;
	}
	cr_assert_eq(WEXITSTATUS(status), 0);
	cr_assert_eq(version(), 2);
	cr_assert_gt(nr, 15, "there are that many points");
}

/**** model ****/

#define LIVE_MAX 300

/* What the current version has, and what the edit would make of it. */
struct model {
	uint64_t random;
	uint64_t live[LIVE_MAX], next[LIVE_MAX];
	size_t nr_live, nr_next;
};

static uint64_t
pick(struct model *model, uint64_t nr)
{
	return test_random(&model->random) % nr;
}

static void
change(struct model *model)
{
	uint64_t birth, ref;
	size_t i;

	if (model->nr_next < LIVE_MAX && pick(model, 5) < 3) {
		ref = take(1 + pick(model,
				    pick(model, 50) == 0 ? 1 * MIB : 20 * KIB));
		model->next[model->nr_next++] = ref;
		cr_assert(fixture_owns(&edit, ref));
	} else if (model->nr_next > 0) {
		i = pick(model, model->nr_next);
		ref = model->next[i];
		birth = atomic_load(&record(ref)->birth);
		cr_assert_eq(fixture_owns(&edit, ref),
			     birth == edit.version);
		cr_assert_eq(strata__edit_unlink(&edit, ref), 0);
		model->next[i] = model->next[--model->nr_next];
	}
}

/* No readers: all that is retired may go. */
static void
reclaim_all(void)
{
	uint64_t nr = strata__count(&space->catalog->counters.nr_retired);
	struct strata__block block;
	uint32_t item;

	while (nr > 0) {
		item = strata__retired_list(space)[--nr];
		block.class_ = item >> 28;
		block.index = item & ((UINT32_C(1) << 28) - 1);
		block.run =
			atomic_load(&strata__block_record(space, &block)->run);
		strata__pool_reclaim(space, &block);
	}
	strata__count_set(&space->catalog->counters.nr_retired, 0);
}

static void
check_model(const struct model *model)
{
	struct strata__block block;
	uint64_t blocks = 0;
	size_t i;

	for (i = 0; i < model->nr_live; i++) {
		cr_assert(strata__block_at(space, model->live[i], &block));
		cr_assert_eq(state(model->live[i]), STRATA_ALLOCATED);
		blocks += block.run;
	}
	cr_assert_eq(nr_live(), blocks, "that and nothing else is allocated");
}

Test(edit, a_model_agrees)
{
	struct model *model = calloc(1, sizeof(*model));
	uint64_t at;
	int i, j;

	cr_assert_not_null(model);
	model->random = test_seed_of("edit");
	for (i = 0; i < 3000; i++) {
		memcpy(model->next, model->live, sizeof(model->live));
		model->nr_next = model->nr_live;
		at = version();
		begin();
		for (j = (int)pick(model, 20); j > 0; j--)
			change(model);
		if (pick(model, 4) == 0) {
			strata__edit_abort(&edit);
			cr_assert_eq(version(), at);
		} else {
			cr_assert_eq(strata__edit_commit(&edit), at + 1);
			memcpy(model->live, model->next, sizeof(model->live));
			model->nr_live = model->nr_next;
		}
		check_model(model);
		if (pick(model, 3) == 0)
			reclaim_all();
		if (pick(model, 50) == 0)
			strata__pool_rebuild(space);
	}
	free(model);
}
