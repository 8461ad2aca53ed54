/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A region that nobody needs is kept for the next one. */
#ifndef STRATA_SPARE_H
#define STRATA_SPARE_H

#include "segtab.h"

/* The writer's that made it, by its word only: what the entry says decides. */
struct strata__spare {
	uint32_t index;
	uint64_t generation; /* of its entry; 0: none */
};

/* Is so little reserved that a spare can be afforded? Under the writer lock. */
bool strata__spare_is_affordable(struct strata__space *space);
/* Under the writer lock, dirty, as strata__segtab_doom(): a RETIRED one that no
 * reader needs becomes a spare. False: it did not, and is to be doomed. The
 * last error stays. */
bool strata__spare_make(struct strata__space *space, uint32_t index,
			struct strata__spare *ret);
/* The same state, as strata__segtab_reserve(): makes a building of it. False:
 * it is somebody else's by now, or does not fit. Tells nothing. */
bool strata__spare_take(struct strata__space *space,
			const struct strata__spare *spare, uint32_t dimension,
			uint64_t image_size, struct strata__building *ret);
/* The same state. True: it is dying, and to be buried. */
bool strata__spare_drop(struct strata__space *space,
			const struct strata__spare *spare);

#endif
