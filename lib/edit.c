/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* One commit in the making: what it took, what it unlinked, the root it builds.
 */
#include "edit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "fence.h"
#include "lines.h"
#include "log.h"
#include "testpoint.h"

/*
 * That a block is the edit's own is written in its record: nothing else is
 * ALLOCATED with birth N, since nobody else writes. So a block that is taken
 * and unlinked by the same edit need not be searched in the vector of the
 * taken: abort asks the record of each, and finds it FREE, or taken once more.
 */

/* Rings of ages: one entry a so long, the newest of a burst is left out. */
#define AGE_FINE_NS   (UINT64_C(50) * 1000 * 1000)
#define AGE_COARSE_NS (UINT64_C(60) * 1000 * 1000 * 1000)

/**** vectors ****/

/* Room for one item more. */
static int
vector_room(void **items, size_t nr, size_t *max, size_t item_size)
{
	size_t want = *max != 0 ? 2 * *max : 64;
	void *more;

	if (nr < *max)
		return 0;
	more = reallocarray(*items, want, item_size);
	if (more == NULL)
		return strata__fail(STRATA_ENOMEM,
				    "no memory to note the %zu blocks that a "
				    "commit changes",
				    nr + 1);
	*items = more;
	*max = want;
	return 0;
}

static int
blocks_room(struct strata__block **items, size_t nr, size_t *max)
{
	void *moved = *items;
	int code = vector_room(&moved, nr, max, sizeof(**items));

	*items = moved;
	return code;
}

void
strata__edit_init(struct strata__edit *edit, struct strata__space *space)
{
	memset(edit, 0, sizeof(*edit));
	edit->space = space;
}

void
strata__edit_fini(struct strata__edit *edit)
{
	free(edit->taken);
	free(edit->unlinked);
	free(edit->unlinked_segments);
	strata__edit_init(edit, edit->space);
}

/**** editing ****/

static void
edit_empty(struct strata__edit *edit)
{
	edit->take_flags = 0;
	edit->nr_taken = 0;
	edit->nr_unlinked = 0;
	edit->nr_unlinked_segments = 0;
	edit->published = NULL;
	edit->nr_published = 0;
	edit->deed = STRATA_DEED_NONE;
	memset(edit->space->taken, 0, sizeof(edit->space->taken));
	memset(edit->space->slack, 0, sizeof(edit->space->slack));
}

/* Once: only the process that attached writes. */
static void
sign(struct strata__signature *signature)
{
	char name[sizeof(signature->name)];

	if (signature->pid != 0)
		return;
	memset(name, 0, sizeof(name));
	signature->uid = (uint32_t)geteuid();
	strata__os_self(name, sizeof(name), &signature->pid_namespace);
	memcpy(signature->name, name, sizeof(name));
	signature->pid = (uint32_t)getpid();
}

int
strata__edit_begin(struct strata__edit *edit)
{
	const struct strata__hot *hot = &edit->space->catalog->hot;
	uint64_t version;

	/* Only who holds the writer lock stores to these two, and its acquire
	 * orders the last holder's stores before our loads. */
	version = atomic_load_explicit(&hot->version, memory_order_relaxed);
	if (version >= STRATA_VERSION_MAX)
		return strata__fail(STRATA_EINVAL,
				    "version %" PRIu64 " is the last one that "
				    "a store can have, or it was destroyed",
				    version);
	edit_empty(edit);
	sign(&edit->signature);
	edit->version = version + 1;
	edit->root = atomic_load_explicit(&hot->roots[version & 1],
					  memory_order_relaxed);
	return 0;
}

int
strata__edit_take(struct strata__edit *edit, uint64_t size, unsigned flags,
		  struct strata__block *ret)
{
	int code;

	code = blocks_room(&edit->taken, edit->nr_taken, &edit->max_taken);
	if (code == 0)
		code = strata__pool_take(edit->space, size, edit->version,
					 flags | edit->take_flags, ret);
	if (code == 0)
		edit->taken[edit->nr_taken++] = *ret;
	return code;
}

static bool
is_own(const struct strata__edit *edit, const struct strata__block *block)
{
	const struct strata__record *record =
		strata__block_record(edit->space, block);

	return atomic_load_explicit(&record->state, memory_order_relaxed) ==
		       STRATA_ALLOCATED &&
	       atomic_load_explicit(&record->birth, memory_order_relaxed) ==
		       edit->version;
}

bool
strata__edit_owns_block(const struct strata__edit *edit,
			const struct strata__block *block)
{
	return is_own(edit, block);
}

int
strata__edit_find(const struct strata__edit *edit, uint64_t ref,
		  struct strata__block *ret)
{
	const struct strata__record *record;

	if (strata__block_at(edit->space, ref, ret)) {
		record = strata__block_record(edit->space, ret);
		if (atomic_load_explicit(&record->state,
					 memory_order_relaxed) ==
		    STRATA_ALLOCATED)
			return 0;
	}
	(void)strata__fail(STRATA_ECORRUPT,
			   "the index refers to offset %" PRIu64
			   ", where no block in use begins; run strata verify",
			   ref);
	strata__error()->offset = ref;
	return STRATA_ECORRUPT;
}

int
strata__edit_unlink_block(struct strata__edit *edit,
			  const struct strata__block *block)
{
	int code;

	if (is_own(edit, block)) {
		strata__pool_untake(edit->space, block);
		return 0;
	}
	code = blocks_room(&edit->unlinked, edit->nr_unlinked,
			   &edit->max_unlinked);
	if (code == 0)
		edit->unlinked[edit->nr_unlinked++] = *block;
	return code;
}

int
strata__edit_unlink(struct strata__edit *edit, uint64_t ref)
{
	struct strata__block block;
	int code = strata__edit_find(edit, ref, &block);

	return code == 0 ? strata__edit_unlink_block(edit, &block) : code;
}

static bool
is_live_segment(const struct strata__space *space, uint32_t index)
{
	return index < space->geometry->nr_segments &&
	       atomic_load_explicit(
		       &strata__segments(space)[index].record.state,
		       memory_order_relaxed) == STRATA_ALLOCATED;
}

int
strata__edit_unlink_segment(struct strata__edit *edit, uint32_t index)
{
	void *moved = edit->unlinked_segments;
	int code;

	if (!is_live_segment(edit->space, index))
		return strata__fail(STRATA_ECORRUPT,
				    "the index refers to segment %" PRIu32
				    ", which is not in use; run strata verify",
				    index);
	code = vector_room(&moved, edit->nr_unlinked_segments,
			   &edit->max_unlinked_segments, sizeof(index));
	edit->unlinked_segments = moved;
	if (code == 0)
		edit->unlinked_segments[edit->nr_unlinked_segments++] = index;
	return code;
}

/**** committing ****/

/* Letter E: pairs with the acquire of the epoch in epoch_now() (mapping.c).
 * Orders the entries of the segment table before it; and the version's release
 * orders it before the version: without it a reader could follow a reference
 * into a region that it does not know it must map. */
static void
publish_segments(struct strata__edit *edit)
{
	struct strata__hot *hot = &edit->space->catalog->hot;
	size_t i;

	if (edit->nr_published == 0)
		return;
	for (i = 0; i < edit->nr_published; i++)
		strata__segtab_publish(edit->space, &edit->published[i],
				       edit->version);
	atomic_store_explicit(&hot->segment_epoch,
			      atomic_load_explicit(&hot->segment_epoch,
						   memory_order_relaxed) +
				      1,
			      memory_order_release);
	STRATA_TESTPOINT("edit.commit.epoch-raised");
}

static void
publish_version(struct strata__edit *edit)
{
	struct strata__hot *hot = &edit->space->catalog->hot;

	/*
	 * Letter C: pairs with the acquire of the root in the read lock. Orders
	 * the nodes before the root that reaches them, and the version before
	 * it, N - 1, before this root, which takes the place of N - 2's: a
	 * reader that got it while it still believed in N - 2 must fail its
	 * validation.
	 */
	atomic_store_explicit(&hot->roots[edit->version & 1], edit->root,
			      memory_order_release);
	STRATA_TESTPOINT("edit.commit.root-stored");
	/*
	 * Letter A: pairs with the acquire of the version in the read lock and
	 * in recovery. Orders root, epoch and all birth records before it:
	 * without it version N could be followed from N - 2's root.
	 */
	atomic_store_explicit(&hot->version, edit->version,
			      memory_order_release); /* COMMIT */
	STRATA_TESTPOINT("edit.commit.version-stored");
	/* Only to wake who waits; who looks then looks at the version. */
	atomic_store_explicit(&hot->commit_counter,
			      atomic_load_explicit(&hot->commit_counter,
						   memory_order_relaxed) +
				      1,
			      memory_order_release);
	STRATA_TESTPOINT("edit.commit.counted");
}

static void
retire_unlinked(struct strata__edit *edit)
{
	size_t i;

	for (i = 0; i < edit->nr_unlinked; i++)
		strata__pool_retire(edit->space, &edit->unlinked[i],
				    edit->version);
	for (i = 0; i < edit->nr_unlinked_segments; i++)
		strata__segtab_retire(edit->space, edit->unlinked_segments[i],
				      edit->version);
	STRATA_TESTPOINT("edit.commit.retired");
}

/* Not sooner than interval after the newest; a clock that was set back counts
 * as long after. */
static void
note_age(struct strata__ages *ages, unsigned ring, uint64_t version,
	 uint64_t now, uint64_t interval)
{
	uint64_t nr = strata__count(&ages->nr[ring]);
	struct strata__age *newest =
		&ages->rings[ring][(nr + STRATA_AGES - 1) % STRATA_AGES];
	struct strata__age *next = &ages->rings[ring][nr % STRATA_AGES];

	if (nr > 0 && now - strata__count(&newest->realtime_ns) < interval)
		return;
	strata__count_set(&next->version, version);
	strata__count_set(&next->realtime_ns, now);
	atomic_store_explicit(&ages->nr[ring], nr + 1, memory_order_release);
	STRATA_TESTPOINT("edit.commit.aged");
}

/* Behind the commit: who dies before this leaves a version without an author,
 * and who dies in it an entry that says 0. */
static void
note_author(const struct strata__edit *edit, uint64_t now)
{
	struct strata__author *author =
		&edit->space->catalog->authors[edit->version % STRATA_AUTHORS];
	const struct strata__signature *signature = &edit->signature;

	atomic_store_explicit(&author->version, 0, memory_order_relaxed);
	STRATA_TESTPOINT("edit.commit.author-erased");
	/* Letter W: pairs with the acquire fence in strata_foreach_commit().
	 * Who sees any of what follows, then sees the 0, or a later version. */
	strata__fence_release();
	atomic_store_explicit(&author->realtime_ns, now, memory_order_relaxed);
	STRATA_TESTPOINT("edit.commit.author-timed");
	atomic_store_explicit(&author->uid, signature->uid,
			      memory_order_relaxed);
	STRATA_TESTPOINT("edit.commit.author-user");
	atomic_store_explicit(&author->pid, signature->pid,
			      memory_order_relaxed);
	STRATA_TESTPOINT("edit.commit.author-pid");
	atomic_store_explicit(&author->pid_namespace, signature->pid_namespace,
			      memory_order_relaxed);
	STRATA_TESTPOINT("edit.commit.author-namespace");
	for (int i = 0; i < 4; i++)
		atomic_store_explicit(&author->name[i], signature->name[i],
				      memory_order_relaxed);
	STRATA_TESTPOINT("edit.commit.author-noted");
	/* Letter W: what it says, before the version that says it is all. */
	atomic_store_explicit(&author->version, edit->version,
			      memory_order_release);
	STRATA_TESTPOINT("edit.commit.author-signed");
}

/**** what it is counted as ****/

static _Atomic uint64_t *
counter_of(struct strata__counters *counters, uint64_t kind)
{
	switch (kind) {
	case STRATA_DEED_LOAD:
		return &counters->loads;
	case STRATA_DEED_RELOAD:
		return &counters->reloads;
	case STRATA_DEED_UNLOAD:
		return &counters->unloads;
	case STRATA_DEED_CRYSTALLIZE:
		return &counters->crystallizations;
	default:
		return NULL;
	}
}

/* Before the version, by its release: who dies behind that has said what it
 * was; of who dies before it the note is of a version that never came. */
static void
note_deed(const struct strata__edit *edit)
{
	struct strata__catalog *catalog = edit->space->catalog;
	_Atomic uint64_t *counter = counter_of(&catalog->counters, edit->deed);

	if (counter == NULL)
		return;
	strata__count_set(&catalog->deed.kind, edit->deed);
	strata__count_set(&catalog->deed.after, strata__count(counter) + 1);
	STRATA_TESTPOINT("edit.deed.half-noted");
	strata__count_set(&catalog->deed.version, edit->version);
	STRATA_TESTPOINT("edit.deed.noted");
}

void
strata__deed_finish(struct strata__space *space, uint64_t version)
{
	struct strata__deed *deed = &space->catalog->deed;
	uint64_t noted = strata__count(&deed->version);
	_Atomic uint64_t *counter = counter_of(&space->catalog->counters,
					       strata__count(&deed->kind));

	if (noted == 0)
		return;
	/* One of another version was never committed, and whoever recovered
	 * did not know of it. */
	if (noted == version && counter != NULL)
		strata__count_max(counter, strata__count(&deed->after));
	STRATA_TESTPOINT("edit.deed.counted");
	/* Release, against the compiler: who dies in between has counted. */
	atomic_store_explicit(&deed->version, 0, memory_order_release);
	STRATA_TESTPOINT("edit.deed.erased");
}

static void
count_slack(struct strata__space *space)
{
	for (uint32_t i = 0; i < space->geometry->nr_classes; i++)
		strata__count_add(&strata__counters_of(space, i)->slack,
				  space->slack[i]);
}

/* Each store to a node goes with strata__lines_use(). One definition: tools that
 * add up lines of both builds know a function by its place. */
static void
check_lines(const struct strata__edit *edit)
{
#ifdef STRATA_TESTING
	for (size_t i = 0; i < edit->nr_taken; i++)
		if (is_own(edit, &edit->taken[i]) &&
		    !strata__lines_are_right(edit->space, &edit->taken[i]))
			abort();
#else
	(void)edit;
#endif
}

uint64_t
strata__edit_commit(struct strata__edit *edit)
{
	struct strata__catalog *catalog = edit->space->catalog;
	uint64_t now = strata__os_realtime_coarse_ns();

	check_lines(edit);
	note_deed(edit);
	publish_segments(edit);
	publish_version(edit);
	strata__deed_finish(edit->space, edit->version);
	retire_unlinked(edit);
	count_slack(edit->space);
	strata__count_add(&catalog->counters.commits, 1);
	note_age(&catalog->ages, 0, edit->version, now, AGE_FINE_NS);
	note_age(&catalog->ages, 1, edit->version, now, AGE_COARSE_NS);
	note_author(edit, now);
	STRATA_PROBE3(commit, edit->space->geometry->name, edit->version,
		      edit->nr_taken);
	STRATA_LOG(STRATA_LOG_DEBUG,
		   "store '%s': committed version %" PRIu64
		   ", %zu blocks taken, %zu retired",
		   edit->space->geometry->name, edit->version, edit->nr_taken,
		   edit->nr_unlinked);
	edit_empty(edit);
	return edit->version;
}

void
strata__edit_abort(struct strata__edit *edit)
{
	struct strata__block block;
	size_t i;

	for (i = 0; i < edit->nr_taken; i++)
		/* Its run may be another than when it was taken first. */
		if (strata__block_at(
			    edit->space,
			    strata__block_ref(edit->space, &edit->taken[i]),
			    &block) &&
		    is_own(edit, &block))
			strata__pool_untake(edit->space, &block);
	STRATA_TESTPOINT("edit.abort.freed");
	edit_empty(edit);
}
