/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Statistics, and who reads. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "store.h"

/**** statistics ****/

static void
fill_pools(const struct strata__space *space, struct strata_stats *stats)
{
	const struct strata__geometry *geometry = space->geometry;

	stats->nr_pools = geometry->nr_classes;
	for (uint32_t i = 0; i < geometry->nr_classes; i++) {
		struct strata__class_counters *counters =
			&space->catalog->counters.classes[i];
		struct strata_pool_stats *pool = &stats->pools[i];

		pool->block_size = geometry->classes[i].block_size;
		pool->max_blocks = strata__pool_max_blocks(space, i);
		pool->grown_blocks = strata__count(&counters->grown);
		pool->live_blocks = strata__count(&counters->live);
		pool->retired_blocks = strata__count(&counters->retired);
		/* A writer may be between two of them. */
		pool->free_blocks = pool->grown_blocks > pool->live_blocks +
					pool->retired_blocks ?
			pool->grown_blocks - pool->live_blocks -
				pool->retired_blocks :
			0;
		pool->peak_blocks = strata__count(&counters->peak);
		pool->failed = strata__count(&counters->failed);
		pool->spilled = strata__count(&counters->spilled);
		stats->pool_bytes +=
			pool->grown_blocks * geometry->classes[i].stride;
	}
}

/* A region that comes or goes meanwhile is counted or not. */
static uint64_t
large_page_bytes(const struct strata__space *space)
{
	const struct strata__segment *segments = strata__segments(space);
	uint64_t high = strata__count(&space->catalog->counters.segments_high);
	uint64_t pages = 0, i;
	uint32_t state;

	for (i = 0; i < high && i < space->geometry->nr_segments; i++) {
		state = atomic_load_explicit(&segments[i].record.state,
					     memory_order_relaxed);
		if (state == STRATA_ALLOCATED || state == STRATA_RETIRED)
			pages += atomic_load_explicit(&segments[i].large_pages,
						      memory_order_relaxed);
	}
	return pages * STRATA_LARGE_PAGE;
}

/* By the records, which others may change meanwhile. */
static void
fill_fragmentation(const struct strata__space *space, uint32_t class_,
		   struct strata_fragmentation *ret)
{
	uint64_t in_a_row = 0, nr_free = 0;
	struct strata__blocks blocks;

	strata__blocks_init(&blocks, space, class_);
	while (strata__blocks_next(&blocks)) {
		if (blocks.state == STRATA_FREE) {
			nr_free++;
			in_a_row++;
		} else {
			ret->trapped_blocks = nr_free;
			in_a_row = 0;
		}
		if (ret->longest_free < in_a_row)
			ret->longest_free = in_a_row;
	}
	ret->slack =
		strata__count(&strata__counters_of(space, class_)->slack);
}

static void
fill_counters(const struct strata__space *space, struct strata_stats *stats)
{
	const struct strata__geometry *geometry = space->geometry;
	struct strata__counters *counters = &space->catalog->counters;

	stats->limit = strata__count(&counters->limit);
	stats->max_limit = geometry->max_limit;
	stats->reserved = strata__count(&counters->reserved);
	stats->used = strata__space_used(space);
	stats->retired = strata__retired_bytes(space);
	stats->fixed_bytes = geometry->catalog_size + geometry->lock_size +
		geometry->pins_size;
	stats->region_bytes = strata__count(&counters->region_bytes);
	stats->pressure = strata__space_pressure(space);
	stats->peak_readers = strata__count(&counters->peak_readers);
	stats->allocations = strata__count(&counters->allocations);
	stats->deallocations = strata__count(&counters->deallocations);
	stats->failures_class = strata__count(&counters->failures_class);
	stats->failures_limit = strata__count(&counters->failures_limit);
	stats->failures_shm = strata__count(&counters->failures_shm);
	stats->commits = strata__count(&counters->commits);
	stats->loads = strata__count(&counters->loads);
	stats->reloads = strata__count(&counters->reloads);
	stats->unloads = strata__count(&counters->unloads);
	stats->crystallizations = strata__count(&counters->crystallizations);
	stats->recoveries = strata__count(&counters->recoveries);
	stats->grace_periods = strata__count(&counters->grace_periods);
	stats->reclaimed = strata__count(&counters->reclaimed);
	stats->created_ns = geometry->created_ns;
	stats->large_page_bytes = large_page_bytes(space);
	stats->held = strata__space_held(space);
}

static int
count_dimension(const struct strata_dimension *dimension, void *arg)
{
	struct strata_stats *stats = arg;

	stats->nr_dimensions++;
	stats->nr_layers += dimension->nr_layers;
	stats->content_bytes += dimension->content_bytes;
	stats->nr_regions += dimension->region_bytes != 0;
	stats->nr_proto += dimension->state == STRATA_DIMENSION_PROTO;
	stats->nr_crystallized +=
		dimension->state == STRATA_DIMENSION_CRYSTALLIZED;
	stats->nr_hybrid += dimension->state == STRATA_DIMENSION_HYBRID;
	return 0;
}

static int
fill_pinned(struct strata_reader *reader, struct strata_stats *stats)
{
	int ret = strata_read_lock(reader);

	if (ret == 0) {
		stats->version = strata_reader_version(reader);
		ret = strata_foreach_dimension(reader, count_dimension, stats);
		strata_read_unlock(reader);
	}
	strata_reader_close(reader);
	return ret;
}

/* What a walk of one version finds; of a copy where no slot is to be had. */
static int
fill_tree(struct strata_store *store, struct strata_stats *stats)
{
	struct strata_reader *reader;

	if (strata_reader_open(store, &reader) != 0)
		return strata_copy_dimensions(store, count_dimension, stats,
					      &stats->version);
	return fill_pinned(reader, stats);
}

static int
count_slot(const struct strata__slot *slot, const struct strata__pin *pin,
	   struct strata__scan *scan, void *arg)
{
	struct strata_stats *stats = arg;
	struct strata__pin copy = *pin;

	(void)slot;
	stats->readers += strata__scan_alive(scan, &copy);
	return 0;
}

int
strata_stats(struct strata_store *store, struct strata_stats *out)
{
	struct strata_error_info kept = *strata__error();
	struct strata_stats stats;
	size_t size;
	int ret;

	if (store == NULL || out == NULL || out->struct_size < sizeof(size_t) ||
	    out->struct_size > sizeof(stats))
		return strata__fail(STRATA_EINVAL,
				    "stats: struct_size is not set, or of a "
				    "newer library");
	size = out->struct_size;
	memset(&stats, 0, sizeof(stats));
	/* Readers before ours is opened: it is not a reader. Pins may be for
	 * others' eyes only. */
	ret = strata__scan_each(&store->rcu, count_slot, &stats);
	if (ret == -EACCES)
		stats.readers = 0;
	if (ret == 0 || ret == -EACCES)
		ret = fill_tree(store, &stats);
	if (ret != 0)
		return ret;
	fill_counters(&store->space, &stats);
	fill_pools(&store->space, &stats);
	for (uint32_t i = 0; i < stats.nr_pools; i++)
		fill_fragmentation(&store->space, i, &stats.fragmentation[i]);
	if (stats.peak_readers < stats.readers)
		stats.peak_readers = stats.readers;
	stats.struct_size = size;
	memcpy(out, &stats, size);
	*strata__error() = kept; /* what failed was made up for */
	strata__pressure_look(store);
	return 0;
}

/**** readers ****/

/* When the version after this one came, at the earliest; 0: it is current. */
static uint64_t
outdated_since(const struct strata__space *space, uint64_t version)
{
	struct strata__ages *ages = &space->catalog->ages;
	uint64_t since = 0, after = UINT64_MAX;

	for (int ring = 0; ring < 2; ring++)
		for (int i = 0; i < STRATA_AGES; i++) {
			uint64_t v = strata__count(&ages->rings[ring][i].version);

			if (v <= version || v >= after)
				continue;
			after = v;
			since = strata__count(
				&ages->rings[ring][i].realtime_ns);
		}
	return since;
}

struct each_reader {
	struct strata_store *store;
	struct strata_reader_info *infos;
	struct strata__pin *pins;
	size_t nr, max;
};

static int
each_room(struct each_reader *each)
{
	size_t max = each->max != 0 ? 2 * each->max : 64;
	struct strata_reader_info *infos;
	struct strata__pin *pins;

	if (each->nr < each->max)
		return 0;
	infos = realloc(each->infos, max * sizeof(*infos));
	if (infos != NULL)
		each->infos = infos;
	pins = realloc(each->pins, max * sizeof(*pins));
	if (pins != NULL)
		each->pins = pins;
	if (infos == NULL || pins == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory for a list of "
						   "readers");
	each->max = max;
	return 0;
}

static int
gather(const struct strata__slot *slot, const struct strata__pin *pin,
       struct strata__scan *scan, void *arg)
{
	struct each_reader *each = arg;
	struct strata__pin copy = *pin;
	int ret = each_room(each);

	if (ret != 0)
		return ret;
	(void)slot;
	if (strata__scan_describe(scan, pin, &each->infos[each->nr]) != 0)
		return 0;
	each->infos[each->nr].alive = strata__scan_alive(scan, &copy);
	each->pins[each->nr++] = copy;
	return 0;
}

/*
 * What each pin alone keeps. The records are read without the writer lock: each
 * is truth, and one that changes meanwhile is counted or not.
 */
static void
account_record(struct each_reader *each, struct strata__record *record,
	       uint64_t bytes)
{
	uint64_t birth, retirement;
	size_t holders = 0, only = 0;

	if (atomic_load_explicit(&record->state, memory_order_acquire) !=
	    STRATA_RETIRED)
		return;
	birth = atomic_load_explicit(&record->birth, memory_order_relaxed);
	retirement =
		atomic_load_explicit(&record->retirement, memory_order_relaxed);
	for (size_t i = 0; i < each->nr; i++) {
		uint64_t pin = each->infos[i].pin;

		if (pin != 0 && each->infos[i].alive && birth <= pin &&
		    pin < retirement) {
			only = i;
			holders++;
		}
	}
	if (holders == 1)
		each->infos[only].retained += bytes;
}

static void
account_class(struct each_reader *each, uint32_t class_)
{
	struct strata__space *space = &each->store->space;
	struct strata__record *records = strata__class_records(space, class_);
	uint64_t grown = strata__count(
		&space->catalog->counters.classes[class_].grown);

	for (uint64_t i = 0;
	     i < grown && i < space->geometry->classes[class_].nr_blocks; i++)
		account_record(each, &records[i],
			       space->geometry->classes[class_].stride *
				       atomic_load_explicit(
					       &records[i].run,
					       memory_order_relaxed));
}

static void
account_all(struct each_reader *each)
{
	struct strata__space *space = &each->store->space;
	struct strata__segment *segments = strata__segments(space);
	uint64_t high = strata__count(&space->catalog->counters.segments_high);

	for (uint32_t i = 0; i < space->geometry->nr_classes; i++)
		account_class(each, i);
	for (uint64_t i = 0; i < high && i < space->geometry->nr_segments; i++)
		account_record(each, &segments[i].record,
			       atomic_load_explicit(&segments[i].size,
						    memory_order_relaxed));
}

static void
age(struct each_reader *each, struct strata_reader_info *info)
{
	uint64_t version = strata_version(each->store);
	uint64_t now = strata__os_realtime_ns();
	uint64_t since;

	if (info->pin == 0 || info->pin >= version)
		return;
	info->lag = version - info->pin;
	since = outdated_since(&each->store->space, info->pin);
	info->age_ns = since != 0 && now > since ? now - since : 0;
}

int
strata_foreach_reader(struct strata_store *store,
		      int (*fn)(const struct strata_reader_info *info,
				void *arg),
		      void *arg)
{
	struct each_reader each = { .store = store };
	int ret;

	if (store == NULL || fn == NULL)
		return strata__fail(STRATA_EINVAL, "no store");
	ret = strata__scan_each(&store->rcu, gather, &each);
	if (ret == 0)
		account_all(&each);
	for (size_t i = 0; ret == 0 && i < each.nr; i++) {
		age(&each, &each.infos[i]);
		ret = fn(&each.infos[i], arg);
	}
	free(each.infos);
	free(each.pins);
	return ret;
}
