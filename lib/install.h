/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Making a built region part of the store: the swap. */
#ifndef STRATA_INSTALL_H
#define STRATA_INSTALL_H

#include "region.h"
#include "store.h"

/* A region's segment, mapped for its builder. */
struct strata__built {
	struct strata__building building;
	struct strata__image_target target; /* what it is filled through */
	struct strata__image image;	    /* once it was checked */
};

/* Maps a segment that was just begun, and gives it its large pages, where the
 * store wishes any: filling them is faster than filling small ones. what: for
 * messages. Tells STRATA_ESHM, STRATA_ENOTSUP (required, and not to be had). */
int strata__built_open(struct strata_store *store, const char *what,
		       struct strata__built *built);
/* After all of the image was filled in and checked: the trailer; from here on
 * not even the builder changes anything. */
int strata__built_seal(struct strata_store *store, struct strata__built *built);
void strata__built_unmap(struct strata__built *built);

/* An image's layer as an entry, its places in the window. */
void strata__entry_of_image(const struct strata__built *built,
			    const struct strata__image_layer *layer,
			    uint64_t version, struct strata_entry *ret);
/* What a dimension node says of its region, name and range. */
void strata__dimnode_of_image(const struct strata__built *built,
			      struct strata__dimnode *node);

/* Makes the edit that swaps a built region in. */
typedef int strata__fill_fn(struct strata__edit *edit,
			    struct strata__built *built, void *arg);
/*
 * Under a new writer lock: fill makes the edit; it is called again after a
 * reclaim when room was short. Then the edit commits, and with it the region is
 * published. On failure the store is as before and the building is still ours.
 */
int strata__install(struct strata_store *store, struct strata__built *built,
		    strata__fill_fn *fill, void *arg, uint64_t *ret_version);

#endif
