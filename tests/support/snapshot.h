/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Readers that must see one version of a store that a writer keeps changing. */
#ifndef STRATA_TEST_SNAPSHOT_H
#define STRATA_TEST_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "strata/strata.h"

/*
 * Every content commit puts all layers of the main dimensions at once, and the
 * content carries the number of the version that the commit makes. In between
 * the writer crystallises and reloads main dimensions (the number stays), and
 * loads, reloads and unloads another one, the aside, whose layers agree among
 * themselves only.
 */
#define SNAPSHOT_MAIN_FIRST   1u
#define SNAPSHOT_MAIN         3u
#define SNAPSHOT_ASIDE        40u
#define SNAPSHOT_ASIDE_LAYERS 4u

/* Commits that the board remembers; no section lasts that long. */
#define SNAPSHOT_COMMITS (UINT64_C(1) << 20)

struct snapshot_options {
	const char *store;
	const char *folder; /* where the writer makes dimension files */
	uint64_t seed;
	uint64_t length_ns;  /* of the run, at least */
	uint64_t section_ns; /* of the longest section */
	uint32_t nr_layers;  /* of each main dimension, up to CONTENT_LAYERS */
	bool regions;        /* crystallise, reload, load, unload */
	bool gc_always;      /* reclaim after every commit */
	bool yields;         /* readers yield between reads, now and then */
};

/* What all take part in; shared memory of the test. */
struct snapshot_board {
	_Atomic uint32_t ready; /* the first contents are there */
	_Atomic uint32_t stop;  /* the time is over, or something went wrong */
	_Atomic uint64_t reads, sections, versions, commits, refusals;
	_Atomic uint64_t crystallized, reloaded, loaded, unloaded, collected;
	_Atomic uint64_t copies, busy; /* of observers; given up */
	_Atomic uint64_t violations; /* what a reader may not see */
	_Atomic uint64_t failures;   /* of the writer */
	_Atomic uint32_t told;
	char first[600]; /* the first of either, in words */
	/* Of content number n: the one after it, set before its commit; so a
	 * section that is of that version or later may not see n any more. */
	_Atomic uint64_t next[SNAPSHOT_COMMITS];
	_Atomic uint8_t seen[SNAPSHOT_COMMITS];
};

struct snapshot_board *snapshot_board_new(void);
void snapshot_board_free(struct snapshot_board *board);
/* Did enough happen for a run without violations to say anything? */
bool snapshot_board_is_enough(const struct snapshot_board *board,
			      const struct snapshot_options *options);
/* Prints what was counted; did nothing go wrong, and did enough happen? */
bool snapshot_board_judge(const struct snapshot_board *board,
			  const struct snapshot_options *options);
/* Count it, keep the first one's words, and stop the run. */
void snapshot_violation(struct snapshot_board *board, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void snapshot_failure(struct snapshot_board *board, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Is a content of that number the one that a version has? The next number came
 * after it. */
bool snapshot_is_current(const struct snapshot_board *board, uint64_t version,
			 uint64_t number);

/* Copies out, without a reader, until it has so many copies, and so many
 * versions were seen by all, or the board says stop. False after a violation. */
bool snapshot_observe(struct strata_store *store, struct snapshot_board *board,
		      const struct snapshot_options *options, uint64_t seed,
		      uint64_t nr_copies, uint64_t nr_versions);
/* Reads until the board says stop; the seed should differ. False after a
 * violation. */
bool snapshot_read(struct strata_store *store, struct snapshot_board *board,
		   const struct snapshot_options *options, uint64_t seed);
/* Writes for the length of the run, and on a busy machine until enough has
 * happened, but not for ever; then says stop. False after a failure. */
bool snapshot_write(struct strata_store *store, struct snapshot_board *board,
		    const struct snapshot_options *options);

/* A store with room for the versions that eight readers and a writer may keep
 * apart, so that no commit need be refused. */
void snapshot_create(const char *name);
/* Destroys it after a last look: verify is clean, and nothing is retired any
 * more. Removes the writer's dimension files. */
void snapshot_destroy(const struct snapshot_options *options);

/* One of three, by STRATA_TEST_LENGTH. */
uint64_t snapshot_length_ns(double short_s, double default_s, double long_s);

#endif
