/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What lies where: layers, regions, retired blocks; whose commits were. */
#include <string.h>

#include "error.h"
#include "store.h"

_Static_assert(STRATA_SEGMENT_NAME_MAX + 1 == STRATA_SEGMENT_NAME,
	       "names of segments fit");

/**** places ****/

static void
block_location(const struct strata__space *space,
	       const struct strata__block *block, struct strata_location *ret)
{
	memset(ret, 0, sizeof(*ret));
	strata__segment_name_pool(ret->segment, &space->id, block->class_);
	ret->offset = strata__block_ref(space, block) -
		      strata__class_of(space, block->class_)->place;
	ret->bytes = strata__block_bytes(space, block);
	ret->pool = block->class_;
	ret->block = block->index;
	ret->nr_blocks = block->run;
}

/* Of a segment whose entry a section keeps from changing; of another one the
 * answer is of some moment. */
static bool
segment_holds(const struct strata__segment *segment, uint64_t ref,
	      uint64_t *ret_offset)
{
	uint32_t state = atomic_load_explicit(&segment->record.state,
					      memory_order_relaxed);
	uint64_t place =
		atomic_load_explicit(&segment->place, memory_order_relaxed);
	uint64_t size =
		atomic_load_explicit(&segment->size, memory_order_relaxed);

	*ret_offset = ref - place;
	return (state == STRATA_ALLOCATED || state == STRATA_RETIRED) &&
	       ref >= place && ref - place < size;
}

static int
region_location(const struct strata__space *space,
		const struct strata_entry *entry, struct strata_location *ret)
{
	uint64_t high = strata__count(&space->catalog->counters.segments_high);
	uint64_t offset, i;

	for (i = 0; i < high && i < space->geometry->nr_segments; i++) {
		const struct strata__segment *segment =
			&strata__segments(space)[i];

		if (!segment_holds(segment, entry->content, &offset))
			continue;
		memset(ret, 0, sizeof(*ret));
		strata__segment_name_region(
			ret->segment, &space->id,
			atomic_load_explicit(&segment->record.generation,
					     memory_order_relaxed));
		ret->offset = offset;
		ret->bytes = entry->size;
		ret->in_region = 1;
		return 0;
	}
	return STRATA_ECORRUPT;
}

static int
nowhere(const struct strata_entry *entry)
{
	strata__fail(STRATA_ECORRUPT,
		     "the content of a layer lies at no place of the store");
	strata__error()->offset = entry->content;
	return STRATA_ECORRUPT;
}

int
strata_locate(struct strata_reader *reader, const struct strata_entry *entry,
	      struct strata_location *ret_location)
{
	const struct strata__space *space;
	struct strata__block block;

	if (reader == NULL || reader->pin == 0 || entry == NULL ||
	    ret_location == NULL)
		return strata__fail(STRATA_EINVAL, "outside of a read section");
	space = &reader->store->space;
	if ((entry->flags & STRATA_ENTRY_REGION) != 0) {
		if (region_location(space, entry, ret_location) != 0)
			return nowhere(entry);
		return 0;
	}
	if (!strata__block_at(space, entry->content, &block))
		return nowhere(entry);
	block_location(space, &block, ret_location);
	return 0;
}

/**** regions ****/

static bool
region_info(const struct strata__space *space, uint64_t i,
	    struct strata_region_info *ret)
{
	const struct strata__segment *segment = &strata__segments(space)[i];
	const struct strata__record *record = &segment->record;
	/* Acquire: letter S, as whoever maps it. */
	uint32_t state =
		atomic_load_explicit(&record->state, memory_order_acquire);

	if (state < STRATA_BUILDING || state > STRATA_DYING)
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->life = (enum strata_life)state;
	strata__segment_name_region(ret->segment, &space->id,
				    atomic_load_explicit(&record->generation,
							 memory_order_relaxed));
	ret->dimension =
		atomic_load_explicit(&segment->dimension, memory_order_relaxed);
	ret->bytes = atomic_load_explicit(&segment->size, memory_order_relaxed);
	ret->image_bytes = atomic_load_explicit(&segment->image_size,
						memory_order_relaxed);
	if (state == STRATA_BUILDING)
		return true;
	ret->large_page_bytes =
		STRATA_LARGE_PAGE * atomic_load_explicit(&segment->large_pages,
							 memory_order_relaxed);
	ret->birth = atomic_load_explicit(&record->birth, memory_order_relaxed);
	if (state != STRATA_ALLOCATED)
		ret->retirement = atomic_load_explicit(&record->retirement,
						       memory_order_relaxed);
	return true;
}

int
strata_foreach_region(struct strata_store *store,
		      int (*fn)(const struct strata_region_info *info,
				void *arg),
		      void *arg)
{
	struct strata_region_info info;
	uint64_t high, i;
	int ret = 0;

	if (store == NULL || fn == NULL)
		return strata__fail(STRATA_EINVAL, "no store, or no function");
	high = strata__count(&store->space.catalog->counters.segments_high);
	if (high > store->space.geometry->nr_segments)
		high = store->space.geometry->nr_segments;
	for (i = 0; i < high && ret == 0; i++)
		if (region_info(&store->space, i, &info))
			ret = fn(&info, arg);
	return ret;
}

/**** retired blocks ****/

static int
foreach_retired(const struct strata__space *space, uint32_t class_,
		int (*fn)(const struct strata_retired_info *info, void *arg),
		void *arg)
{
	struct strata_retired_info info;
	struct strata__blocks blocks;
	int ret = 0;

	strata__blocks_init(&blocks, space, class_);
	while (ret == 0 && strata__blocks_next(&blocks)) {
		struct strata__block block = {.class_ = class_,
					      .index = (uint32_t)blocks.index,
					      .run = blocks.run};

		if (blocks.state != STRATA_RETIRED || blocks.is_broken)
			continue;
		block_location(space, &block, &info.location);
		info.birth = atomic_load_explicit(&blocks.record->birth,
						  memory_order_relaxed);
		info.retirement = atomic_load_explicit(
			&blocks.record->retirement, memory_order_relaxed);
		ret = fn(&info, arg);
	}
	return ret;
}

int
strata_foreach_retired(struct strata_store *store,
		       int (*fn)(const struct strata_retired_info *info,
				 void *arg),
		       void *arg)
{
	uint32_t i;
	int ret = 0;

	if (store == NULL || fn == NULL)
		return strata__fail(STRATA_EINVAL, "no store, or no function");
	for (i = 0; i < store->space.geometry->nr_classes && ret == 0; i++)
		ret = foreach_retired(&store->space, i, fn, arg);
	return ret;
}

/**** commits ****/

/* Whose a version is; a copy that is of one commit, or false. */
static bool
commit_info(const struct strata__space *space, uint64_t version,
	    struct strata_commit_info *ret)
{
	struct strata__author *author =
		&space->catalog->authors[version % STRATA_AUTHORS];
	uint64_t name[4];

	_Static_assert(sizeof(name) == sizeof(ret->name), "the same length");
	/* Letter W: pairs with the release of the version in edit.c. */
	if (atomic_load_explicit(&author->version, memory_order_acquire) !=
	    version)
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->version = version;
	ret->time_ns = strata__count(&author->realtime_ns);
	ret->uid = atomic_load_explicit(&author->uid, memory_order_relaxed);
	ret->pid = atomic_load_explicit(&author->pid, memory_order_relaxed);
	ret->pid_namespace = strata__count(&author->pid_namespace);
	for (int i = 0; i < 4; i++)
		name[i] = strata__count(&author->name[i]);
	memcpy(ret->name, name, sizeof(ret->name));
	ret->name[sizeof(ret->name) - 1] = '\0';
	/* Letter W: pairs with the release fence in edit.c. */
	strata__fence_acquire();
	return atomic_load_explicit(&author->version, memory_order_relaxed) ==
	       version;
}

int
strata_foreach_commit(struct strata_store *store, uint64_t after,
		      int (*fn)(const struct strata_commit_info *info,
				void *arg),
		      void *arg)
{
	uint64_t last, version;
	struct strata_commit_info info;
	int ret = 0;

	if (store == NULL || fn == NULL)
		return strata__fail(STRATA_EINVAL, "no store, or no function");
	last = strata_version(store);
	version = last > STRATA_AUTHORS ? last - STRATA_AUTHORS : 0;
	if (version < after)
		version = after;
	while (ret == 0 && version++ < last)
		if (commit_info(&store->space, version, &info))
			ret = fn(&info, arg);
	return ret;
}
