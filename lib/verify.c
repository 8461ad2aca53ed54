/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Checking a store: structure, state records, accounting, checksums. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"
#include "fence.h"
#include "progress.h"
#include "hash.h"
#include "meta.h"
#include "store.h"

/*
 * One version is pinned and walked; nothing in it is believed. A writer also
 * holds the writer lock meanwhile, so that the records and counters stand still
 * and can be compared with what the walk reached, to the byte.
 */

struct verify {
	struct strata_store *store;
	struct strata_reader *reader;
	bool quick, exact;
	struct strata__progress progress;
	uint64_t *reached[STRATA_CLASSES_MAX];
	uint64_t *reached_segments;
	uint64_t live[STRATA_CLASSES_MAX], retired[STRATA_CLASSES_MAX];
	const struct strata__dimnode *dimension; /* being walked */
	/* Its image, in the window; without one, or if it is not mapped here,
	 * of no bytes. */
	uint64_t image, image_size;
	uint64_t layers, protos, bytes;          /* of it, so far */
	struct strata_verify_report report;
};

static void __attribute__((format(printf, 2, 3)))
wrong(struct verify *verify, const char *format, ...)
{
	va_list args;

	if (verify->report.errors++ != 0)
		return;
	va_start(args, format);
	vsnprintf(verify->report.first, sizeof(verify->report.first), format,
		  args);
	va_end(args);
}

/**** what the walk meets ****/

static bool
first_visit(uint64_t *bits, uint64_t i)
{
	bool first = (bits[i / 64] >> (i % 64) & 1) == 0;

	bits[i / 64] |= UINT64_C(1) << (i % 64);
	return first;
}

static void
reach(struct verify *verify, uint64_t ref, const char *what)
{
	struct strata__space *space = &verify->store->space;
	uint64_t version = strata_reader_version(verify->reader);
	struct strata__record *record;
	struct strata__block block;

	if (!strata__block_at(space, ref, &block)) {
		wrong(verify, "%s at %" PRIx64 " is no block", what, ref);
		return;
	}
	verify->report.blocks += block.run;
	if (!first_visit(verify->reached[block.class_], block.index))
		wrong(verify, "%s at %" PRIx64 " is reached twice", what, ref);
	record = strata__block_record(space, &block);
	if (atomic_load_explicit(&record->state, memory_order_acquire) ==
	    STRATA_FREE)
		wrong(verify, "%s at %" PRIx64 " is reached, but free", what,
		      ref);
	if (atomic_load_explicit(&record->birth, memory_order_relaxed) >
	    version)
		wrong(verify, "%s at %" PRIx64 " is of a later version", what,
		      ref);
}

static int
visit_node(uint64_t ref, void *arg)
{
	struct verify *verify = arg;

	verify->report.nodes++;
	reach(verify, ref & ~STRATA_REF_TAG, "the node");
	return 0;
}

static void
end_dimension(struct verify *verify)
{
	const struct strata__dimnode *node = verify->dimension;

	if (node == NULL)
		return;
	if (node->nr_layers != verify->layers ||
	    node->nr_protos != verify->protos ||
	    node->content_bytes != verify->bytes)
		wrong(verify,
		      "dimension %u says %" PRIu64 " layers, %" PRIu64
		      " protos, %" PRIu64 " bytes, but has %" PRIu64
		      ", %" PRIu64 ", %" PRIu64,
		      node->id, node->nr_layers, node->nr_protos,
		      node->content_bytes, verify->layers, verify->protos,
		      verify->bytes);
	verify->dimension = NULL;
}

/* Where its image is, as far as the mapping goes: the table may say anything. */
static void
find_image(struct verify *verify, const struct strata__dimnode *node)
{
	uint64_t place, size;

	verify->image = verify->image_size = 0;
	if (node->region == 0 ||
	    !strata__space_region(&verify->store->space, node->region - 1,
				  node->region_generation, &place, &size))
		return;
	verify->image = place;
	verify->image_size = node->region_bytes < size ? node->region_bytes :
							 size;
}

static void
visit_region(struct verify *verify, const struct strata__dimnode *node)
{
	struct strata__space *space = &verify->store->space;
	struct strata__segment *segment =
		&strata__segments(space)[node->region - 1];

	verify->report.regions++;
	/* Who looks through the table stops there. */
	if (node->region >
	    strata__count(&space->catalog->counters.segments_high))
		wrong(verify,
		      "region %u is behind the end that the store counts for "
		      "its regions",
		      node->region - 1);
	if (!first_visit(verify->reached_segments, node->region - 1))
		wrong(verify, "region %u is reached twice", node->region - 1);
	if (atomic_load_explicit(&segment->record.generation,
				 memory_order_acquire) !=
		    node->region_generation ||
	    strata__count(&segment->image_size) != node->region_bytes)
		wrong(verify, "the region of dimension %u is another one",
		      node->id);
}

static int
visit_dimension(uint32_t id, const struct strata__dimnode *node, void *arg)
{
	struct verify *verify = arg;

	(void)id;
	end_dimension(verify);
	verify->dimension = node;
	verify->layers = verify->protos = verify->bytes = 0;
	verify->report.dimensions++;
	find_image(verify, node);
	if (node->region != 0)
		visit_region(verify, node);
	return 0;
}

/* Do [ref, ref + size) lie in the image of the dimension's region? */
static bool
in_region(const struct verify *verify, uint64_t ref, uint64_t size)
{
	return ref >= verify->image && ref - verify->image <= verify->image_size &&
		size <= verify->image_size - (ref - verify->image);
}

/* A region that is there, but could not be mapped into this process. */
static bool
is_unmapped(const struct verify *verify, const struct strata_entry *entry)
{
	return (entry->flags & STRATA_ENTRY_REGION) != 0 &&
		verify->image_size == 0 && verify->dimension != NULL &&
		verify->dimension->region != 0;
}

/* Does [ref, ref + size) lie in the run that begins at content? */
static bool
in_block(const struct verify *verify, uint64_t content, uint64_t ref,
	 uint64_t size)
{
	struct strata__block block;
	uint64_t bytes;

	if (!strata__block_at(&verify->store->space, content, &block))
		return false;
	bytes = strata__block_bytes(&verify->store->space, &block);
	return ref >= content && ref - content <= bytes &&
		size <= bytes - (ref - content);
}

static bool
places_are_right(const struct verify *verify, const struct strata_entry *entry)
{
	if ((entry->flags & STRATA_ENTRY_REGION) != 0)
		return in_region(verify, entry->content, entry->size) &&
			in_region(verify, entry->meta, entry->meta_size);
	return in_block(verify, entry->content, entry->content, entry->size) &&
		in_block(verify, entry->content, entry->meta, entry->meta_size);
}

static void
check_bytes(struct verify *verify, uint32_t dimension, uint32_t layer,
	    const struct strata_entry *entry)
{
	struct strata__space *space = &verify->store->space;
	struct strata_meta meta;

	if (strata__meta_decode(strata__at(space, entry->meta),
				entry->meta_size, &meta) != 0)
		wrong(verify, "the metadata of layer %u/%u is damaged",
		      dimension, layer);
	if (!verify->quick && (entry->flags & STRATA_ENTRY_REGION) != 0 &&
	    strata__hash(strata__at(space, entry->content), entry->size) !=
		    entry->checksum)
		wrong(verify, "the content of layer %u/%u is damaged",
		      dimension, layer);
	verify->report.checked_bytes += entry->size;
	(void)strata__progress_add(&verify->progress, entry->size);
}

static int
visit_entry(uint32_t dimension, uint32_t layer, const struct strata_entry *entry,
	    void *arg)
{
	struct verify *verify = arg;
	bool proto = (entry->flags & STRATA_ENTRY_REGION) == 0;

	/* The rest is not looked at, and not reported. */
	if (verify->progress.code != 0)
		return 0;
	verify->report.layers++;
	verify->layers++;
	verify->protos += proto;
	verify->bytes += entry->size;
	if (proto)
		reach(verify, entry->content, "the content");
	if (is_unmapped(verify, entry))
		wrong(verify, "layer %u/%u cannot be mapped here", dimension,
		      layer);
	else if (!places_are_right(verify, entry))
		wrong(verify, "layer %u/%u lies outside of its place", dimension,
		      layer);
	else
		check_bytes(verify, dimension, layer, entry);
	return 0;
}

/**** records and counters, under the writer lock ****/

static void
check_class(struct verify *verify, uint32_t class_)
{
	struct strata__space *space = &verify->store->space;
	struct strata__class_counters *counters =
		&space->catalog->counters.classes[class_];
	uint64_t live = 0, retired = 0;
	struct strata__blocks blocks;

	strata__blocks_init(&blocks, space, class_);
	while (strata__blocks_next(&blocks)) {
		bool reached =
			!first_visit(verify->reached[class_], blocks.index);

		if (blocks.is_broken) {
			wrong(verify,
			      "block %u/%" PRIu64
			      " has a length that cannot be",
			      class_, blocks.index);
			return;
		}
		if (blocks.state != STRATA_FREE &&
		    blocks.state != STRATA_ALLOCATED &&
		    blocks.state != STRATA_RETIRED)
			wrong(verify,
			      "block %u/%" PRIu64 " has state %u, which cannot "
			      "be",
			      class_, blocks.index, blocks.state);
		live += blocks.state == STRATA_ALLOCATED ? blocks.run : 0;
		retired += blocks.state == STRATA_RETIRED ? blocks.run : 0;
		if (reached != (blocks.state == STRATA_ALLOCATED))
			wrong(verify,
			      "block %u/%" PRIu64 " is %sreached, but its state "
			      "is %u",
			      class_, blocks.index, reached ? "" : "not ",
			      blocks.state);
	}
	if (live != strata__count(&counters->live) ||
	    retired != strata__count(&counters->retired))
		wrong(verify,
		      "class %u counts %" PRIu64 " live and %" PRIu64
		      " retired blocks, but there are %" PRIu64 " and %" PRIu64,
		      class_, strata__count(&counters->live),
		      strata__count(&counters->retired), live, retired);
}

static uint64_t
check_segments(struct verify *verify)
{
	struct strata__space *space = &verify->store->space;
	struct strata__segment *segments = strata__segments(space);
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t next = strata__count(&counters->next_generation);
	uint64_t end = strata__count(&counters->segments_high);
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < space->geometry->nr_segments; i++) {
		uint32_t state = atomic_load_explicit(&segments[i].record.state,
						      memory_order_acquire);
		bool reached = !first_visit(verify->reached_segments, i);

		if (strata__count(&segments[i].record.generation) >= next)
			wrong(verify,
			      "region %u has generation %" PRIu64
			      ", which is to be given to the next",
			      i, strata__count(&segments[i].record.generation));
		if (state > STRATA_DYING)
			wrong(verify, "region %u has state %u, which cannot be",
			      i, state);
		if (state != STRATA_FREE)
			bytes += strata__count(&segments[i].size);
		if (reached != (state == STRATA_ALLOCATED))
			wrong(verify,
			      "region %u is %sreached, but its state is %u", i,
			      reached ? "" : "not ", state);
		if (state != STRATA_FREE && !reached && i >= end)
			wrong(verify,
			      "region %u is behind the end that the store "
			      "counts for its regions",
			      i);
	}
	return bytes;
}

static void
check_reserved(struct verify *verify, uint64_t region_bytes)
{
	struct strata__space *space = &verify->store->space;
	struct strata__counters *counters = &space->catalog->counters;
	uint64_t reserved = space->geometry->catalog_size +
		space->geometry->lock_size + space->geometry->pins_size +
		region_bytes + strata__pool_reserved(space);

	if (strata__count(&counters->region_bytes) != region_bytes)
		wrong(verify,
		      "the store counts %" PRIu64 " bytes of regions, but has "
		      "%" PRIu64,
		      strata__count(&counters->region_bytes), region_bytes);
	if (strata__count(&counters->reserved) != reserved)
		wrong(verify,
		      "the store counts %" PRIu64 " bytes reserved, but has "
		      "%" PRIu64,
		      strata__count(&counters->reserved), reserved);
	if (reserved > strata__count(&counters->limit))
		wrong(verify,
		      "%" PRIu64 " bytes are reserved, above the limit of "
		      "%" PRIu64,
		      reserved, strata__count(&counters->limit));
}

static void
check_accounts(struct verify *verify)
{
	uint64_t region_bytes;

	for (uint32_t i = 0; i < verify->store->space.geometry->nr_classes; i++)
		check_class(verify, i);
	region_bytes = check_segments(verify);
	check_reserved(verify, region_bytes);
}

/**** all of it ****/

static void
verify_fini(struct verify *verify)
{
	for (int i = 0; i < STRATA_CLASSES_MAX; i++)
		free(verify->reached[i]);
	free(verify->reached_segments);
}

static int
verify_init(struct verify *verify)
{
	const struct strata__geometry *geometry = verify->store->space.geometry;
	bool ok;

	verify->reached_segments =
		calloc(geometry->nr_segments / 64 + 1, sizeof(uint64_t));
	ok = verify->reached_segments != NULL;
	for (uint32_t i = 0; i < geometry->nr_classes; i++) {
		verify->reached[i] = calloc(
			geometry->classes[i].nr_blocks / 64 + 1,
			sizeof(uint64_t));
		ok = ok && verify->reached[i] != NULL;
	}
	if (ok)
		return 0;
	verify_fini(verify);
	return strata__fail(STRATA_ENOMEM, "no memory to verify a store");
}

/* How many blocks of a class have memory, by the size of its segment; UINT64_MAX
 * when that is not to be had. */
static uint64_t
nr_in_memory(const struct strata__space *space, uint32_t class_)
{
	char name[STRATA_SEGMENT_NAME];
	struct stat st;

	strata__segment_name_pool(name, &space->id, class_);
	if (space->pool_fd[class_] >= 0 ?
		    fstat(space->pool_fd[class_], &st) != 0 :
		    fstatat(space->folder.fd, name, &st, AT_SYMLINK_NOFOLLOW) !=
			    0)
		return UINT64_MAX;
	return strata__class_blocks(&space->geometry->classes[class_],
				    (uint64_t)st.st_size);
}

/*
 * Is there memory behind what is said to be grown? Else nothing may be followed.
 * Pools grow before it is said, and shrink after: what is read first, and has
 * not changed since, cannot be more.
 */
static bool
check_pools(struct verify *verify)
{
	struct strata__space *space = &verify->store->space;
	bool right = true;

	for (uint32_t i = 0; i < space->geometry->nr_classes; i++) {
		struct strata__class_counters *counters =
			&space->catalog->counters.classes[i];
		uint64_t grown, memory;

		do {
			grown = atomic_load_explicit(&counters->grown,
						     memory_order_acquire);
			memory = nr_in_memory(space, i);
			strata__fence_acquire();
		} while (strata__count(&counters->grown) != grown);
		if (grown <= memory)
			continue;
		wrong(verify,
		      "class %u has %" PRIu64 " blocks by its counter, but "
		      "memory for %" PRIu64,
		      i, grown, memory);
		right = false;
	}
	return right;
}

static void
verify_walk(struct verify *verify)
{
	struct strata__visitor visitor = {
		.node = visit_node,
		.dimension = visit_dimension,
		.entry = visit_entry,
		.arg = verify,
	};

	if (strata__tree_walk(&verify->store->space,
			      strata__reader_root(verify->reader),
			      &visitor) != 0)
		wrong(verify, "%s", strata_last_error()->sentence);
	end_dimension(verify);
}

static int
sum_dimension(uint32_t id, const struct strata__dimnode *node, void *arg)
{
	(void)id;
	*(uint64_t *)arg += node->content_bytes;
	return 0;
}

/* For the progress; what is wrong is told by the walk that follows. */
static void
sum_bytes(struct verify *verify)
{
	struct strata__visitor visitor = { .dimension = sum_dimension,
					   .arg = &verify->progress.total };

	if (verify->progress.fn != NULL)
		(void)strata__tree_walk(&verify->store->space,
					strata__reader_root(verify->reader),
					&visitor);
}

static int
verify_pinned(struct verify *verify)
{
	int ret = strata_read_lock(verify->reader);

	if (ret != 0)
		return ret;
	ret = verify_init(verify);
	if (ret == 0) {
		if (check_pools(verify)) {
			sum_bytes(verify);
			verify_walk(verify);
		}
		if (verify->exact && verify->progress.code == 0)
			check_accounts(verify);
		ret = strata__progress_finish(&verify->progress);
		verify_fini(verify);
	}
	if (ret != 0) {
		strata_read_unlock(verify->reader);
		return ret;
	}
	/* Without its pin it may have looked at what was no more. */
	return strata_read_unlock(verify->reader);
}

int
strata_verify(struct strata_store *store, int quick,
	      int (*progress)(uint64_t done, uint64_t total, void *arg),
	      void *arg, struct strata_verify_report *out)
{
	struct verify verify = { .store = store,
				 .quick = quick != 0,
				 .progress = { .fn = progress, .arg = arg } };
	int ret;

	if (store == NULL || out == NULL)
		return strata__fail(STRATA_EINVAL,
				    "verify: no store, or no report");
	verify.exact = store->wlock.space != NULL && !strata__is_forked(store);
	ret = strata_reader_open(store, &verify.reader);
	if (ret != 0)
		return ret;
	if (verify.exact)
		ret = strata__space_mend(&store->space);
	if (ret == 0 && verify.exact)
		ret = strata__write_begin(store);
	if (ret == 0) {
		ret = verify_pinned(&verify);
		if (verify.exact)
			strata__write_end(store);
	}
	strata_reader_close(verify.reader);
	if (ret == 0)
		*out = verify.report;
	return ret;
}
