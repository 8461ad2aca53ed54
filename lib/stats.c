/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Statistics, and who reads. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "region.h"
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

/* A run of free blocks has ended. */
static void
run_add(struct strata_pool_spread *spread, uint64_t length)
{
	unsigned i = 0;

	if (length == 0)
		return;
	while (i < STRATA_FREE_RUNS - 1 && length >> (i + 1) != 0)
		i++;
	spread->free_runs[i]++;
}

/* By the records, which others may change meanwhile. */
static void
fill_fragmentation(const struct strata__space *space, uint32_t class_,
		   struct strata_fragmentation *ret,
		   struct strata_pool_spread *spread)
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
			run_add(spread, in_a_row);
			in_a_row = 0;
		}
		if (ret->longest_free < in_a_row)
			ret->longest_free = in_a_row;
	}
	run_add(spread, in_a_row);
	ret->slack =
		strata__count(&strata__counters_of(space, class_)->slack);
}

static double
percent(uint64_t part, uint64_t whole)
{
	return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static void
fill_spread(struct strata_stats *stats)
{
	for (uint32_t i = 0; i < stats->nr_pools; i++) {
		const struct strata_pool_stats *pool = &stats->pools[i];

		stats->spread[i].utilization_percent =
			percent(pool->live_blocks + pool->retired_blocks,
				pool->max_blocks);
	}
}

static void
fill_graces(const struct strata__space *space, struct strata_stats *stats)
{
	struct strata__graces *graces = &space->catalog->graces;

	stats->grace_total_ns = strata__count(&graces->total_ns);
	stats->grace_longest_ns = strata__count(&graces->longest_ns);
	stats->grace_last_ns = strata__count(&graces->last_ns);
	for (unsigned i = 0; i < STRATA_GRACE_BUCKETS; i++)
		stats->grace_durations[i] = strata__count(&graces->nr[i]);
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

/**** what memory is for ****/

/* What the layers of one version are made of. */
struct tally {
	const struct strata__space *space;
	struct strata_store *store;
	struct strata_stats *stats;
	uint64_t proto_bytes; /* of blocks that have contents */
	const char *window;   /* NULL: copies */
};

static int
tally_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct tally *tally = arg;
	struct strata__block block;

	(void)layer;
	tally->stats->metadata_bytes += entry->meta_size;
	if ((entry->flags & STRATA_ENTRY_REGION) != 0)
		tally->stats->metadata_bytes +=
			sizeof(struct strata__image_layer);
	else if (strata__block_at(tally->space, entry->content, &block))
		tally->proto_bytes += strata__block_bytes(tally->space, &block);
	return 0;
}

/*
 * Every byte that is reserved is for one thing. Nodes are what is live in the
 * pools and has no content, so that nobody has to count them. The figures are
 * of moments that a commit may lie between: then a part is cut off at 0.
 */
static void
fill_parts(const struct strata__space *space, const struct tally *tally,
	   struct strata_stats *stats)
{
	const struct strata__geometry *geometry = space->geometry;
	uint64_t live = 0, rest;

	for (uint32_t i = 0; i < stats->nr_pools; i++)
		live += stats->pools[i].live_blocks *
			geometry->classes[i].stride;
	if (live > tally->proto_bytes)
		stats->metadata_bytes += live - tally->proto_bytes;
	live = stats->used > stats->retired ? stats->used - stats->retired : 0;
	rest = stats->content_bytes + stats->metadata_bytes;
	stats->unused_bytes = live > rest ? live - rest : 0;
	stats->pins_bytes = geometry->pins_size;
	stats->catalog_bytes = geometry->catalog_size + geometry->lock_size;
	rest = stats->used + stats->fixed_bytes;
	stats->spare_bytes =
		stats->reserved > rest ? stats->reserved - rest : 0;
	stats->fragmentation_ratio = percent(stats->unused_bytes, live) / 100;
	stats->utilization_percent = percent(stats->reserved, stats->limit);
	stats->total_limit_mb = stats->limit >> 20;
	stats->failures = stats->failures_class + stats->failures_limit +
		stats->failures_shm;
}

static int
count_dimension(const struct strata_dimension *dimension, void *arg)
{
	struct strata_stats *stats = arg;

	stats->nr_dimensions++;
	stats->nr_layers += dimension->nr_layers;
	stats->content_bytes += dimension->content_bytes;
	stats->nr_regions += dimension->region_bytes != 0;
	if (dimension->region_bytes != 0)
		stats->metadata_bytes += sizeof(struct strata__image_header);
	stats->nr_proto += dimension->state == STRATA_DIMENSION_PROTO;
	stats->nr_crystallized +=
		dimension->state == STRATA_DIMENSION_CRYSTALLIZED;
	stats->nr_hybrid += dimension->state == STRATA_DIMENSION_HYBRID;
	return 0;
}

/* Entries lie in pools: it does not matter which regions are mapped here. */
static int
walk_dimension(uint32_t id, uint64_t slot, void *arg)
{
	const struct tally *tally = arg;
	struct strata_dimension dimension;

	(void)id;
	strata__dimension_fill(strata__tree_dimnode(tally->window, slot),
			       &dimension);
	(void)count_dimension(&dimension, tally->stats);
	return strata__tree_each_layer(tally->window, slot, tally_layer, arg);
}

static int
copied_layer(uint32_t layer, const struct strata_copy *copy, void *arg)
{
	return tally_layer(layer, &copy->entry, arg);
}

static int
copied_dimension(const struct strata_dimension *dimension, void *arg)
{
	const struct tally *tally = arg;
	int ret;

	(void)count_dimension(dimension, tally->stats);
	ret = strata_copy_layers(tally->store, dimension->id, copied_layer,
				 arg);
	return ret == STRATA_ENODIM ? 0 : ret; /* gone meanwhile */
}

static int
fill_pinned(struct strata_reader *reader, struct tally *tally)
{
	int ret = strata_read_lock(reader);

	if (ret == 0) {
		tally->stats->version = strata_reader_version(reader);
		tally->window = reader->window;
		ret = strata__tree_each_dimension(reader->window,
						  strata__reader_root(reader),
						  walk_dimension, tally);
		strata_read_unlock(reader);
	}
	strata_reader_close(reader);
	return ret;
}

/* What a walk of one version finds; of copies where no slot is to be had. */
static int
fill_tree(struct strata_store *store, struct tally *tally)
{
	struct strata_reader *reader;

	if (strata_reader_open(store, &reader) != 0)
		return strata_copy_dimensions(store, copied_dimension, tally,
					      &tally->stats->version);
	return fill_pinned(reader, tally);
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
	struct tally tally = {.store = store, .stats = &stats};
	size_t size;
	int ret;

	if (store == NULL || out == NULL || out->struct_size < sizeof(size_t) ||
	    out->struct_size > sizeof(stats))
		return strata__fail(STRATA_EINVAL,
				    "stats: struct_size is not set, or of a "
				    "newer library");
	size = out->struct_size;
	memset(&stats, 0, sizeof(stats));
	tally.space = &store->space;
	/* Readers before ours is opened: it is not a reader. Pins may be for
	 * others' eyes only. */
	ret = strata__scan_each(&store->rcu, count_slot, &stats);
	if (ret == -EACCES)
		stats.readers = 0;
	if (ret == 0 || ret == -EACCES)
		ret = fill_tree(store, &tally);
	if (ret != 0)
		return ret;
	fill_counters(&store->space, &stats);
	fill_pools(&store->space, &stats);
	for (uint32_t i = 0; i < stats.nr_pools; i++)
		fill_fragmentation(&store->space, i, &stats.fragmentation[i],
				   &stats.spread[i]);
	fill_spread(&stats);
	fill_graces(&store->space, &stats);
	fill_parts(&store->space, &tally, &stats);
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
