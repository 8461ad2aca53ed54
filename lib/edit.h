/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* One commit in the making: what it took, what it unlinked, the root it builds.
 */
#ifndef STRATA_EDIT_H
#define STRATA_EDIT_H

#include "pool.h"
#include "segtab.h"

/*
 * Under the writer lock, dirty. begin fixes the version N = current + 1, which
 * is the birth of all that is taken and the retirement of all that is unlinked.
 * commit publishes: root, epoch, version, then retires; it cannot fail. abort
 * frees what was taken; nobody saw anything.
 * The vectors are private memory, grown in take and unlink, before anything is
 * changed, so that commit cannot run out.
 */
struct strata__edit {
	struct strata__space *space;
	uint64_t version; /* N */
	uint64_t root;    /* tagged; that of N in the making; 0: empty store */
	unsigned take_flags; /* added to every take: STRATA_TAKE_RESERVE */
	struct strata__block *taken;
	size_t nr_taken, max_taken;
	struct strata__block *unlinked;
	size_t nr_unlinked, max_unlinked;
	uint32_t *unlinked_segments;
	size_t nr_unlinked_segments, max_unlinked_segments;
	struct strata__building *published; /* borrowed; NULL: none */
	size_t nr_published;
	enum strata__deed_kind deed; /* what it is counted as, besides */
	/* What commits say of this process; pid 0: not asked yet. */
	struct strata__signature {
		uint32_t uid, pid;
		uint64_t pid_namespace;
		uint64_t name[4];
	} signature;
};

/* An edit struct may be reused for many commits; its vectors stay. init zeroes,
 * fini frees the vectors. */
void strata__edit_init(struct strata__edit *edit, struct strata__space *space);
void strata__edit_fini(struct strata__edit *edit);
/* Empties the edit: take_flags, published and deed are set after it.
 * STRATA_EINVAL (told) at the last version, 2^48 - 1, and in a store that was destroyed. */
int strata__edit_begin(struct strata__edit *edit);
/* As strata__pool_take(), remembered. */
int strata__edit_take(struct strata__edit *edit, uint64_t size, unsigned flags,
		      struct strata__block *ret);
/* N does not reach it any more. A block taken by this very edit is freed at
 * once. STRATA_ENOMEM, STRATA_ECORRUPT (no block or segment in use there). */
int strata__edit_unlink(struct strata__edit *edit, uint64_t ref);
/* The same of a block that strata__edit_find() gave. */
int strata__edit_unlink_block(struct strata__edit *edit,
			      const struct strata__block *block);
int strata__edit_unlink_segment(struct strata__edit *edit, uint32_t index);
/* The block at ref (its tag is ignored), if it is ALLOCATED; STRATA_ECORRUPT,
 * told. */
int strata__edit_find(const struct strata__edit *edit, uint64_t ref,
		      struct strata__block *ret);
/* Was the block at ref taken by this edit, so that it may be changed? */
bool strata__edit_owns_block(const struct strata__edit *edit,
			     const struct strata__block *block);
/* Returns N. Waking who waits for it is the caller's. */
uint64_t strata__edit_commit(struct strata__edit *edit);
void strata__edit_abort(struct strata__edit *edit);
/* Counts what was noted before a commit up to that version, and erases the note:
 * behind each commit, and in recovery. May be done twice. */
void strata__deed_finish(struct strata__space *space, uint64_t version);

#endif
