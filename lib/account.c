/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Bytes of a store: what is charged against its limit, used, and free. */
#include <inttypes.h>

#include "error.h"
#include "space.h"

/**** what is used, held, retired ****/

static uint64_t
regions_used(const struct strata__space *space)
{
	uint64_t high = strata__count(&space->catalog->counters.segments_high);
	struct strata__segment *segments = strata__segments(space);
	uint64_t bytes = 0, i;
	uint32_t state;

	for (i = 0; i < high && i < space->geometry->nr_segments; i++) {
		/* Letter S: the size is that of the life that we see. */
		state = atomic_load_explicit(&segments[i].record.state,
					     memory_order_acquire);
		if (state == STRATA_ALLOCATED || state == STRATA_RETIRED)
			bytes += strata__count(&segments[i].size);
	}
	return bytes;
}

uint64_t
strata__space_used(const struct strata__space *space)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t bytes = regions_used(space);
	uint32_t i;

	for (i = 0; i < space->geometry->nr_classes; i++) {
		struct strata__class_counters *c = &counters->classes[i];

		bytes +=
			(strata__count(&c->live) + strata__count(&c->retired)) *
			space->geometry->classes[i].stride;
	}
	return bytes;
}

uint64_t
strata__retired_bytes(const struct strata__space *space)
{
	const struct strata__geometry *geometry = space->geometry;
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t bytes = strata__count(&counters->region_retired_bytes);

	for (uint32_t i = 0; i < geometry->nr_classes; i++)
		bytes += strata__count(&counters->classes[i].retired) *
			geometry->classes[i].stride;
	return bytes;
}

/**** what was refused ****/

void
strata__count_refusal(struct strata__space *space, int code)
{
	struct strata__counters *counters = &space->catalog->counters;

	if (code == STRATA_ELIMIT)
		strata__count_add(&counters->failures_limit, 1);
	else if (code == STRATA_ESHM)
		strata__count_add(&counters->failures_shm, 1);
}

uint64_t
strata__space_held(const struct strata__space *space)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t held = strata__count(&counters->reserved);
	uint64_t bytes;
	uint32_t i;

	for (i = 0; i < space->geometry->nr_classes; i++) {
		bytes = strata__count(&counters->classes[i].nr_free) *
			space->geometry->classes[i].stride;
		held -= bytes < held ? bytes : held;
	}
	return held;
}

enum strata_pressure
strata__space_pressure(const struct strata__space *space)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t limit = strata__count(&counters->limit);
	uint64_t held = strata__space_held(space);

	if (held > limit / 100 * 95)
		return STRATA_PRESSURE_CRITICAL;
	if (held > limit / 100 * 85)
		return STRATA_PRESSURE_HIGH;
	if (held > limit / 100 * 75)
		return STRATA_PRESSURE_WARNING;
	return STRATA_PRESSURE_NONE;
}

/**** charging ****/

/* What the edit in the making has taken: it is being refused. */
static uint64_t
refused_bytes(const struct strata__space *space)
{
	uint64_t bytes = 0;
	uint32_t i;

	for (i = 0; i < space->geometry->nr_classes; i++)
		bytes += space->taken[i] * space->geometry->classes[i].stride;
	return bytes;
}

void
strata__space_numbers(const struct strata__space *space)
{
	struct strata__counters *counters = &space->catalog->counters;
	struct strata_error_info *error = strata__error();
	uint64_t used = strata__space_used(space);
	uint64_t refused = refused_bytes(space);

	error->used = used > refused ? used - refused : 0;
	error->reserved = strata__count(&counters->reserved);
	error->limit = strata__count(&counters->limit);
}

void
strata__space_error(const struct strata__space *space, uint64_t requested)
{
	strata__space_numbers(space);
	strata__error()->requested = requested;
}

/* Bytes of free blocks, but for those that are kept for removals. */
static uint64_t
spare_bytes(const struct strata__space *space)
{
	uint64_t bytes = 0, nr;
	uint32_t i;

	for (i = 0; i < space->geometry->nr_classes; i++) {
		nr = strata__count(&space->catalog->counters.classes[i].nr_free);
		if (i == 0)
			nr -= nr < STRATA_NODE_RESERVE ? nr
						       : STRATA_NODE_RESERVE;
		bytes += nr * space->geometry->classes[i].stride;
	}
	return bytes;
}

static int
fail_limit(const struct strata__space *space, uint64_t bytes)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t reserved = strata__count(&counters->reserved);
	uint64_t limit = strata__count(&counters->limit);

	strata__fail(STRATA_ELIMIT,
		     "%" PRIu64 " more bytes would pass the store's limit of "
		     "%" PRIu64 ": %" PRIu64 " are free; %" PRIu64
		     " that are retired and %" PRIu64 " in free blocks of the "
		     "pools could be freed at most; remove or unload something, "
		     "run strata gc, or raise the limit with strata limit",
		     bytes, limit, reserved < limit ? limit - reserved : 0,
		     strata__retired_bytes(space), spare_bytes(space));
	strata__space_error(space, bytes);
	return STRATA_ELIMIT;
}

int
strata__space_charge(struct strata__space *space, uint64_t bytes)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t reserved = strata__count(&counters->reserved);
	uint64_t limit = strata__count(&counters->limit);

	if (reserved <= limit && bytes <= limit - reserved) {
		strata__count_set(&counters->reserved, reserved + bytes);
		return 0;
	}
	return fail_limit(space, bytes);
}

void
strata__space_uncharge(struct strata__space *space, uint64_t bytes)
{
	strata__count_sub(&space->catalog->counters.reserved, bytes);
}
