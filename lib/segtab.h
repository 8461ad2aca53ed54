/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The segment table: which regions there are, where, and in which state. */
#ifndef STRATA_SEGTAB_H
#define STRATA_SEGTAB_H

#include "space.h"

/* A segment that its builder fills. The guard keeps an exclusive lock on byte 0
 * of the file: that the builder lives is the kernel's word, and a child that has
 * inherited the descriptor is not the builder. */
struct strata__building {
	uint32_t index;
	uint64_t generation;
	uint64_t place;
	uint64_t size; /* of the segment */
	uint64_t image_size;
	uint32_t large_pages; /* that it has */
	bool is_spare; /* its pages are there, with what was in them */
	int fd;
	void *guard;
};

/* Size of the segment that an image of that many bytes needs. */
uint64_t strata__segtab_segment_size(uint64_t image_size);

/*
 * Under the writer lock, dirty: picks the lowest free index and a place,
 * charges the bytes, makes the file (locked before it has its name), enters
 * BUILDING. Nothing is reserved in the file yet: the builder does that outside
 * the lock. Tells STRATA_ELIMIT, STRATA_ETOOBIG, STRATA_EBUSY (no entry or no
 * place is left).
 */
int strata__segtab_reserve(struct strata__space *space, uint32_t dimension,
			   uint64_t image_size, uint32_t mode, uint32_t group,
			   struct strata__building *ret);
/* Outside the lock: the trailer page, after the image was written. Refuses
 * (STRATA_ECORRUPT) a file of another size or with holes. */
int strata__segtab_seal(struct strata__space *space,
			const struct strata__building *building);
/* Under the lock, dirty: birth, then ALLOCATED (release). The edit then raises
 * the segment epoch before the version. */
void strata__segtab_publish(struct strata__space *space,
			    const struct strata__building *building,
			    uint64_t birth);
/* Under the lock, dirty: retirement, then RETIRED (release); on the retired
 * list. */
void strata__segtab_retire(struct strata__space *space, uint32_t index,
			   uint64_t version);

/*
 * Giving back. doom: under the lock, dirty: BUILDING or RETIRED becomes DYING.
 * bury: outside the lock: truncates and unlinks; false: it is not dying, or its
 * builder still has it, or we may not. A segment whose file is gone
 * is buried already. forget: under the lock, dirty: DYING becomes FREE, bytes
 * uncharged; nothing happens when the entry is another's by now, which is so
 * when its file is not buried.
 */
void strata__segtab_doom(struct strata__space *space, uint32_t index);
bool strata__segtab_bury(struct strata__space *space, uint32_t index);
void strata__segtab_forget(struct strata__space *space, uint32_t index);
/* Drops a BUILDING one wholly, by its builder, under the lock, dirty: what was
 * filled is truncated under it. Closes the descriptor. */
void strata__segtab_abandon(struct strata__space *space,
			    struct strata__building *building);
/* Closes the builder's descriptor (and with it the lock). */
void strata__building_close(struct strata__building *building);

/* Recovery: is the builder of a BUILDING (or burier of a DYING) entry alive? */
bool strata__segtab_is_held(struct strata__space *space, uint32_t index);
/* Recomputes region_bytes, region_retired_bytes, segments_high; raises
 * next_generation above all that the table has. */
void strata__segtab_recount(struct strata__space *space);
/* Removes files of this store's regions that no entry names and whose lock is
 * free; ret_nr (or NULL): how many. Under the writer lock. Tells -EMFILE, -ENFILE,
 * -ENOMEM: then there may be more. */
int strata__segtab_sweep(struct strata__space *space, uint64_t *ret_nr);

#endif
