/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What is left of stores that have no catalog: found, judged, removed. */
#ifndef STRATA_REMAINS_H
#define STRATA_REMAINS_H

#include "layout.h"
#include "segment.h"

/* All segments that bear one id, in the hands of somebody who may remove them:
 * no other process makes, uses or removes them. */
struct strata__remains {
	const struct strata__folder *folder;
	struct strata__id id;
	uint32_t owner; /* whose they are */
	bool force;     /* whatever they contain */
	int lock_fd;    /* of the lock segment, with STRATA_LOCK_MAKING; or -1 */
	uint32_t lock_mode, lock_group;
	bool known_layout; /* the lock segment is one that we can read */
	bool attached;     /* it had a writer once */
	bool pins;         /* the last that is made before the catalog */
	bool pools;        /* there is one; its mode and group: */
	uint32_t pool_mode, pool_group;
	uint64_t nr_files, bytes; /* what may be removed */
	uint64_t nr_parts;        /* of these, without the lock segment */
};

/*
 * Whose the segments of an id are: the owner of the lock segment, or of any of
 * them where there is none. -ENOENT, untold: there are none.
 */
int strata__remains_owner(const struct strata__folder *folder,
			  const struct strata__id *id, uint32_t *ret_owner);
/*
 * Takes them. Tells STRATA_EBUSY, and who has them; STRATA_EOWNER when they are
 * neither ours nor are we root; STRATA_ELAYOUT, STRATA_ECORRUPT, STRATA_EACCES
 * when it cannot be told whether anybody has. -ENOENT, untold: there is nothing.
 * With force only locks count, and who owns the files, not what is in them.
 * That no catalog names the id is to be asked afterwards.
 */
int strata__remains_take(const struct strata__folder *folder,
			 const struct strata__id *id, uint32_t owner,
			 bool force, struct strata__remains *ret);
/* Removes the names of what is ours, and counts it; the lock segment only with
 * strata__remains_end(), which follows in any case. */
void strata__remains_remove(struct strata__remains *remains);
void strata__remains_end(struct strata__remains *remains, bool remove_lock);
/* Does a catalog besides that file (NULL: any) bear the id of the remains? Tells
 * STRATA_ECORRUPT, STRATA_EACCES when there is one that may, but cannot be
 * read. 1, 0, or an error. */
int strata__remains_are_named(const struct strata__remains *remains,
			      const char *but);

/* Does nobody hold segments of that owner that no catalog names? Tells
 * STRATA_EBUSY, and who does. */
int strata__remains_check_unheld(const struct strata__folder *folder,
				 uint32_t owner);

/* What was removed; NULL: not of interest. */
struct strata__swept {
	uint64_t files, bytes;
};
/* Removes what nobody has of stores without a catalog, if it is ours. What
 * cannot be removed stays; the last error, too. */
void strata__remains_sweep(const struct strata__folder *folder,
			   struct strata__swept *ret);

#endif
