/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A reader that checks that each of its sections has one version. */
#include "snapshot.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <strata/inline.h>

#include "content.h"
#include "proc.h"

/* Layers of one or more dimensions that must all be of one number. */
struct view {
	uint32_t first, nr, nr_layers; /* dimensions, layers of each */
	bool absent;                   /* the whole dimension */
	uint64_t number;               /* 0: nothing was seen yet */
	/* Where the section found each, and what the entry said. */
	const struct strata_entry *entries[SNAPSHOT_MAIN * CONTENT_LAYERS];
	struct strata_entry copies[SNAPSHOT_MAIN * CONTENT_LAYERS];
};

struct eye {
	struct strata_reader *reader;
	struct snapshot_board *board;
	const struct snapshot_options *options;
	uint64_t random;
	uint64_t version; /* of the section */
	uint64_t reads;
	bool inlined; /* does not call for what can be done without */
	struct view main, aside;
};

/**** both ways ****/

static int
lock(const struct eye *eye)
{
	return eye->inlined ? strata_read_lock_inline(eye->reader)
			    : strata_read_lock(eye->reader);
}

static int
unlock(const struct eye *eye)
{
	return eye->inlined ? strata_read_unlock_inline(eye->reader)
			    : strata_read_unlock(eye->reader);
}

static int
find(const struct eye *eye, uint32_t dimension, uint32_t layer,
     const struct strata_entry **ret_entry)
{
	return eye->inlined ? strata_find_inline(eye->reader, dimension, layer,
						 ret_entry)
			    : strata_find(eye->reader, dimension, layer,
					  ret_entry);
}

static const void *
get(const struct eye *eye, uint32_t dimension, uint32_t layer, size_t *ret_size)
{
	return eye->inlined ? strata_get_inline(eye->reader, dimension, layer,
						ret_size)
			    : strata_get(eye->reader, dimension, layer,
					 ret_size);
}

/**** one layer ****/

static void
violation(struct eye *eye, uint32_t dimension, uint32_t layer, const char *what,
	  uint64_t got, uint64_t expected)
{
	snapshot_violation(eye->board,
			   "section of version %" PRIu64
			   ", dimension %u, layer %u: %s (%" PRIu64
			   " for %" PRIu64 ")",
			   eye->version, dimension, layer, what, got, expected);
}

static bool
is_main(const struct eye *eye, const struct view *view)
{
	return view == &eye->main;
}

static bool
check_number(struct eye *eye, struct view *view, uint32_t dimension,
	     uint32_t layer, uint64_t number)
{
	if (view->number == 0) {
		view->number = number;
		if (is_main(eye, view) &&
		    !snapshot_is_current(eye->board, eye->version, number)) {
			violation(eye, dimension, layer,
				  "content of another version", number,
				  eye->version);
			return false;
		}
	}
	if (number == view->number)
		return true;
	violation(eye, dimension, layer, "layers disagree", number,
		  view->number);
	return false;
}

/* A proto is from the commit that its number names; a region may have been
 * reloaded since. */
static bool
check_entry(struct eye *eye, const struct view *view, uint32_t dimension,
	    uint32_t layer, const struct strata_entry *entry)
{
	bool exact =
		is_main(eye, view) && (entry->flags & STRATA_ENTRY_REGION) == 0;

	if (entry->version <= eye->version &&
	    (!is_main(eye, view) || entry->version >= view->number) &&
	    (!exact || entry->version == view->number))
		return true;
	violation(eye, dimension, layer, "version of the entry", entry->version,
		  view->number);
	return false;
}

static bool
check_layer(struct eye *eye, struct view *view, uint32_t dimension,
	    uint32_t layer, const struct strata_entry *entry)
{
	uint64_t number;

	eye->reads++;
	if (entry->size < 16 || entry->size > content_size_max(layer)) {
		violation(eye, dimension, layer, "size", entry->size,
			  content_size_max(layer));
		return false;
	}
	if (!content_check(strata_data(eye->reader, entry), entry->size,
			   dimension, layer, &number)) {
		violation(eye, dimension, layer, "torn content", number,
			  view->number);
		return false;
	}
	return check_number(eye, view, dimension, layer, number) &&
	       check_entry(eye, view, dimension, layer, entry);
}

/**** a view ****/

static void
view_reset(struct view *view, uint32_t first, uint32_t nr, uint32_t nr_layers)
{
	view->first = first;
	view->nr = nr;
	view->nr_layers = nr_layers;
	view->absent = false;
	view->number = 0;
	memset(view->entries, 0, sizeof(view->entries));
}

/* What was found first must be found again, at the same place, unchanged. */
static bool
check_again(struct eye *eye, struct view *view, uint32_t i, uint32_t dimension,
	    uint32_t layer, const struct strata_entry *entry)
{
	if (view->entries[i] == NULL) {
		view->entries[i] = entry;
		view->copies[i] = *entry;
		return true;
	}
	if (view->entries[i] == entry &&
	    memcmp(&view->copies[i], entry, sizeof(*entry)) == 0)
		return true;
	violation(eye, dimension, layer, "the entry changed", entry->version,
		  view->copies[i].version);
	return false;
}

/* The short way to a content leads where the long one does. */
static bool
check_short_way(struct eye *eye, uint32_t dimension, uint32_t layer,
		const struct strata_entry *entry)
{
	size_t size = 0;
	const void *data = get(eye, dimension, layer, &size);

	if (data == strata_data(eye->reader, entry) && size == entry->size)
		return true;
	violation(eye, dimension, layer, "what get gives", size, entry->size);
	return false;
}

/* Index i of the view, found and checked. */
static bool
look_at(struct eye *eye, struct view *view, uint32_t i)
{
	uint32_t dimension = view->first + i / view->nr_layers;
	uint32_t layer = i % view->nr_layers;
	const struct strata_entry *entry = NULL;
	int ret = find(eye, dimension, layer, &entry);

	if (ret == STRATA_ENODIM && !is_main(eye, view) &&
	    (view->absent || view->number == 0)) {
		view->absent = true;
		return true;
	}
	if (ret != 0 || view->absent) {
		violation(eye, dimension, layer, "found", (uint64_t)-ret,
			  view->absent);
		return false;
	}
	return check_again(eye, view, i, dimension, layer, entry) &&
	       check_short_way(eye, dimension, layer, entry) &&
	       check_layer(eye, view, dimension, layer, entry);
}

static bool
look_at_all(struct eye *eye, struct view *view)
{
	for (uint32_t i = 0; i < view->nr * view->nr_layers; i++)
		if (!look_at(eye, view, i))
			return false;
	return true;
}

/* Looks here and there, for a while. */
static bool
look_around(struct eye *eye, uint64_t until)
{
	while (test_now_ns() < until) {
		uint64_t random = test_random(&eye->random);
		struct view *view = random % 8 == 0 ? &eye->aside : &eye->main;

		if (eye->options->yields && (random >> 4) % 4 == 0)
			sched_yield();
		if (!look_at(eye, view,
			     (uint32_t)((random >> 8) %
					(view->nr * view->nr_layers))))
			return false;
	}
	return true;
}

/**** a section ****/

/* Most sections are short, some have the full length. */
static uint64_t
random_length(struct eye *eye)
{
	double u = (double)(test_random(&eye->random) >> 11) /
		   (double)(UINT64_C(1) << 53);

	return (uint64_t)(u * u * u * (double)eye->options->section_ns);
}

static bool
look_twice(struct eye *eye)
{
	uint64_t until = test_now_ns() + random_length(eye);

	view_reset(&eye->main, SNAPSHOT_MAIN_FIRST, SNAPSHOT_MAIN,
		   eye->options->nr_layers);
	view_reset(&eye->aside, SNAPSHOT_ASIDE, 1, SNAPSHOT_ASIDE_LAYERS);
	if (!look_at_all(eye, &eye->main) || !look_at_all(eye, &eye->aside) ||
	    !look_around(eye, until) || !look_at_all(eye, &eye->main) ||
	    !look_at_all(eye, &eye->aside))
		return false;
	if (strata_reader_version(eye->reader) == eye->version)
		return true;
	snapshot_violation(eye->board, "the version of a section changed");
	return false;
}

static void
count_section(struct eye *eye)
{
	struct snapshot_board *board = eye->board;

	atomic_fetch_add_explicit(&board->sections, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&board->reads, eye->reads,
				  memory_order_relaxed);
	eye->reads = 0;
	if (atomic_exchange_explicit(
		    &board->seen[eye->main.number % SNAPSHOT_COMMITS], 1,
		    memory_order_relaxed) == 0)
		atomic_fetch_add_explicit(&board->versions, 1,
					  memory_order_relaxed);
}

static bool
read_section(struct eye *eye)
{
	bool right;
	int ret = lock(eye);

	if (ret != 0) {
		snapshot_violation(eye->board, "lock: %s",
				   strata_strerror(ret));
		return false;
	}
	eye->version = strata_reader_version(eye->reader);
	right = look_twice(eye);
	ret = unlock(eye);
	if (ret != 0)
		snapshot_violation(eye->board, "unlock: %s",
				   strata_strerror(ret));
	if (right && ret == 0)
		count_section(eye);
	return right && ret == 0;
}

bool
snapshot_read(struct strata_store *store, struct snapshot_board *board,
	      const struct snapshot_options *options, uint64_t seed)
{
	struct eye eye = {.board = board, .options = options, .random = seed};
	bool right = true;

	need(strata_reader_open(store, &eye.reader) == 0, "open");
	while (atomic_load_explicit(&board->ready, memory_order_acquire) == 0 &&
	       atomic_load_explicit(&board->stop, memory_order_relaxed) == 0)
		sched_yield();
	while (right &&
	       atomic_load_explicit(&board->stop, memory_order_relaxed) == 0) {
		/* Half of the sections, by chance. */
		eye.inlined = test_random(&eye.random) % 2 == 0;
		right = read_section(&eye);
	}
	need(strata_reader_close(eye.reader) == 0, "close");
	return right;
}
