/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Region images: where everything goes, and how it gets there. */
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "hash.h"
#include "newfile.h"
#include "testpoint.h"

/* A piece is hashed and then written while it is still in the cache. What is
 * smaller than a piece is gathered in a buffer. */
#define PIECE_SIZE  ((size_t)64 << 10)
#define BUFFER_SIZE ((size_t)256 << 10)

/**** plan ****/

/*
 * Colouring. A cache's sets are chosen by some bits of the address; contents at
 * distances of a power of two compete for the same few sets, and readers that
 * look at the first bytes of many layers (which is what lookups do) miss all
 * the time: 19 ns instead of 6 for layers of 1 MiB. So successive large
 * contents lie an odd number of pages (spreads the outer caches and the TLB)
 * plus an odd number of lines (spreads the innermost) apart. The cost is half
 * of two pages a content on average, which is why small ones are packed
 * instead: they spread by themselves.
 */

/* Distance to the next content. */
static uint64_t
distance_of(uint64_t size)
{
	uint64_t pages, lines = 1;

	if (size < STRATA_IMAGE_COLOURED)
		return strata__round_up(size, STRATA_IMAGE_LINE);
	/* The fewest pages, an odd number, that with 63 lines hold it. */
	pages = ((size + STRATA_IMAGE_LINE - 1) / STRATA_PAGE) | 1;
	if (size > pages * STRATA_PAGE)
		lines = (size - pages * STRATA_PAGE + STRATA_IMAGE_LINE - 1) /
				STRATA_IMAGE_LINE |
			1;
	return pages * STRATA_PAGE + lines * STRATA_IMAGE_LINE;
}

/* How far behind the metadata the first content lies: dimensions of equal shape
 * differ, since their regions all begin at the start of a page. */
static uint64_t
start_of(const struct strata__image_plan *plan)
{
	uint32_t dimension = plan->header.dimension;
	size_t i;

	for (i = 0; i < plan->nr_sources; i++)
		if (plan->sources[i].layer.size >= STRATA_IMAGE_COLOURED)
			return dimension % 16 * STRATA_PAGE +
			       dimension * 5 % 64 * STRATA_IMAGE_LINE;
	return 0;
}

static int
by_layer(const void *a, const void *b)
{
	const struct strata__image_source *x = a, *y = b;

	return (x->layer.layer > y->layer.layer) -
	       (x->layer.layer < y->layer.layer);
}

/* Mostly sorted already, and then qsort() would only copy. */
static void
sources_sort(struct strata__image_source *sources, size_t nr)
{
	size_t i;

	for (i = 1; i < nr; i++)
		if (by_layer(&sources[i - 1], &sources[i]) > 0) {
			qsort(sources, nr, sizeof(*sources), by_layer);
			return;
		}
}

static int
sources_check(const struct strata__image_source *sources, size_t nr,
	      uint32_t dimension)
{
	size_t i;

	for (i = 1; i < nr; i++) {
		if (sources[i].layer.layer != sources[i - 1].layer.layer)
			continue;
		strata__fail(STRATA_EEXIST, "dimension %u has layer %u twice",
			     dimension, sources[i].layer.layer);
		strata__error()->dimension = dimension;
		strata__error()->layer = sources[i].layer.layer;
		return STRATA_EEXIST;
	}
	return 0;
}

static int
plan_too_big(const struct strata__image_plan *plan, uint64_t size)
{
	strata__fail(STRATA_ETOOBIG,
		     "dimension %u is larger than any image may "
		     "be, %" PRIu64 " bytes",
		     plan->header.dimension, (uint64_t)STRATA_IMAGE_SIZE_MAX);
	strata__error()->dimension = plan->header.dimension;
	strata__error()->requested = size;
	strata__error()->limit = STRATA_IMAGE_SIZE_MAX;
	return STRATA_ETOOBIG;
}

static void
plan_metas(struct strata__image_plan *plan)
{
	struct strata__image_header *header = &plan->header;
	struct strata__image_layer *layer;
	uint64_t at = header->meta_offset;
	size_t i;

	for (i = 0; i < plan->nr_sources; i++) {
		layer = &plan->sources[i].layer;
		layer->meta = at;
		layer->unused = 0;
		at += strata__round_up(layer->meta_size, 8);
	}
	header->meta_size = at - header->meta_offset;
}

static int
plan_contents(struct strata__image_plan *plan)
{
	struct strata__image_header *header = &plan->header;
	struct strata__image_layer *layer;
	uint64_t at, end;
	size_t i;

	at = strata__round_up(header->meta_offset + header->meta_size,
			      STRATA_IMAGE_LINE) +
	     start_of(plan);
	header->data_offset = end = at;
	for (i = 0; i < plan->nr_sources; i++) {
		layer = &plan->sources[i].layer;
		if (at > STRATA_IMAGE_SIZE_MAX ||
		    layer->size > STRATA_IMAGE_SIZE_MAX - at)
			return plan_too_big(plan, layer->size);
		layer->content = at;
		end = at + layer->size;
		at += distance_of(layer->size);
		header->content_bytes += layer->size;
	}
	header->data_size = end - header->data_offset;
	header->image_size = strata__round_up(end, STRATA_IMAGE_LINE);
	if (header->image_size > STRATA_IMAGE_SIZE_MAX)
		return plan_too_big(plan, header->image_size);
	return 0;
}

static void
plan_header(struct strata__image_header *header,
	    const struct strata_file_info *info, uint64_t nr_layers)
{
	memset(header, 0, sizeof(*header));
	header->magic = STRATA_IMAGE_MAGIC;
	header->version = STRATA_IMAGE_VERSION;
	header->byte_order = STRATA_IMAGE_BYTE_ORDER;
	header->nr_layers = nr_layers;
	header->table_offset = sizeof(*header);
	header->table_size = nr_layers * sizeof(struct strata__image_layer);
	header->meta_offset = header->table_offset + header->table_size;
	header->frequency_min = info->frequency_min;
	header->frequency_max = info->frequency_max;
	header->dimension = info->dimension;
	header->flags = info->immutable ? STRATA_DIMENSION_IMMUTABLE : 0;
	/* No byte behind the end of the name may slip in. */
	memcpy(header->name, info->name,
	       strnlen(info->name, sizeof(header->name) - 1));
}

int
strata__image_plan(const struct strata_file_info *info,
		   struct strata__image_source *sources, size_t nr_sources,
		   struct strata__image_plan *ret)
{
	struct strata__image_plan plan = {.sources = sources,
					  .nr_sources = nr_sources};
	int r;

	sources_sort(sources, nr_sources);
	r = sources_check(sources, nr_sources, info->dimension);
	if (r != 0)
		return r;
	plan_header(&plan.header, info, nr_sources);
	plan_metas(&plan);
	r = plan_contents(&plan);
	if (r == 0)
		*ret = plan;
	return r;
}

/**** emit ****/

/*
 * Where the next byte goes: fill bytes of buffer belong at at. Nothing that fits
 * into the mapping goes through the buffer, so nothing is in it then.
 */
struct emitter {
	struct strata__image_target target;
	uint64_t image_size;
	char what[32]; /* for messages */
	uint64_t at;
	size_t fill;
	char *buffer;
	struct strata__progress *progress;
};

/* Would so many bytes, put next, be stored through the mapping? */
static bool
is_mapped(const struct emitter *out, size_t size)
{
	return size <= out->target.mapped &&
		out->at + out->fill <= out->target.mapped - size;
}

/* The part that the mapping takes. */
static size_t
store(struct emitter *out, const void *data, size_t size)
{
	size_t n = size;

	if (out->at >= out->target.mapped)
		return 0;
	if (n > out->target.mapped - out->at)
		n = (size_t)(out->target.mapped - out->at);
	if (n != 0)
		memcpy(out->target.map + out->at, data, n);
	STRATA_TESTPOINT("region.emit.stored");
	return n;
}

static int
write_through(struct emitter *out, const void *data, size_t size)
{
	const struct strata__image_target *target = &out->target;
	size_t stored = store(out, data, size);
	int r = 0;

	if (stored < size)
		r = strata__os_pwrite(target->fd, (const char *)data + stored,
				      size - stored, out->at + stored);
	if (r != 0)
		return strata__write_fail(-r, target->fd, target->in_shm,
					  out->what, out->at, out->image_size);
	out->at += size;
	return strata__progress_add(out->progress, size);
}

static int
flush(struct emitter *out)
{
	size_t fill = out->fill;

	out->fill = 0;
	return fill == 0 ? 0 : write_through(out, out->buffer, fill);
}

/* Room for up to a piece in the buffer. */
static int
make_room(struct emitter *out, size_t size)
{
	return size <= BUFFER_SIZE - out->fill ? 0 : flush(out);
}

static int
seek(struct emitter *out, uint64_t to)
{
	int r = flush(out);

	out->at = to;
	return r;
}

/* size is a piece at most. Whole pieces are not worth gathering, nor is what
 * needs no call to be written. */
static int
put(struct emitter *out, const void *data, size_t size)
{
	int r;

	if (size == PIECE_SIZE || is_mapped(out, size)) {
		r = flush(out);
		return r != 0 ? r : write_through(out, data, size);
	}
	r = make_room(out, size);
	if (r != 0)
		return r;
	if (size != 0)
		memcpy(out->buffer + out->fill, data, size);
	out->fill += size;
	return 0;
}

static int
put_zeroes(struct emitter *out, size_t size)
{
	int r;

	if (is_mapped(out, size)) {
		memset(out->target.map + out->at, 0, size);
		out->at += size;
		return strata__progress_add(out->progress, size);
	}
	r = make_room(out, size);
	if (r != 0)
		return r;
	memset(out->buffer + out->fill, 0, size);
	out->fill += size;
	return 0;
}

/* Zero bytes up to an offset. */
static int
put_gap(struct emitter *out, uint64_t to)
{
	uint64_t left = to - (out->at + out->fill);
	size_t n;
	int r;

	for (; left != 0; left -= n) {
		n = left < PIECE_SIZE ? left : PIECE_SIZE;
		r = put_zeroes(out, n);
		if (r != 0)
			return r;
	}
	return 0;
}

/* Puts a piece, and gives where it is now, for its checksum: in the mapping, if
 * it went there whole. */
static int
put_piece(struct emitter *out, const char *data, size_t size,
	  const char **ret_now)
{
	*ret_now = is_mapped(out, size) ? out->target.map + out->at : data;
	return put(out, data, size);
}

static int
put_memory(struct emitter *out, struct strata__image_source *source)
{
	uint64_t at, size = source->layer.size;
	const char *data = source->data, *now;
	struct strata__hash_state hash;
	size_t n;
	int r;

	if (size <= PIECE_SIZE) {
		r = put_piece(out, data, size, &now);
		source->layer.checksum = strata__hash(now, size);
		return r != 0 ? r : strata__progress_add(out->progress, size);
	}
	strata__hash_init(&hash);
	for (at = 0; at < size; at += n) {
		n = size - at < PIECE_SIZE ? size - at : PIECE_SIZE;
		r = put_piece(out, data + at, n, &now);
		if (r != 0)
			return r;
		strata__hash_update(&hash, now, n);
		r = strata__progress_add(out->progress, n);
		if (r != 0)
			return r;
	}
	source->layer.checksum = strata__hash_digest(&hash);
	return 0;
}

static int
file_changed(const struct strata__image_source *source)
{
	strata__fail(STRATA_EFORMAT,
		     "'%.300s' was changed while it was to be "
		     "layer %u: it is not the %" PRIu64 " bytes any more",
		     source->path, source->layer.layer, source->layer.size);
	strata__error()->layer = source->layer.layer;
	strata__error()->size = source->layer.size;
	return STRATA_EFORMAT;
}

static int
file_check(int fd, const struct strata__image_source *source)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return strata__fail_errno(errno, "cannot look at '%.300s'",
					  source->path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != source->layer.size)
		return file_changed(source);
	return 0;
}

/* Reads straight into the buffer. */
static int
put_descriptor(struct emitter *out, struct strata__image_source *source, int fd)
{
	uint64_t at, size = source->layer.size;
	struct strata__hash_state hash;
	size_t n;
	int r;

	strata__hash_init(&hash);
	for (at = 0; at < size; at += n) {
		n = size - at < PIECE_SIZE ? size - at : PIECE_SIZE;
		r = make_room(out, n);
		if (r != 0)
			return r;
		r = strata__os_pread(fd, out->buffer + out->fill, n, at);
		if (r == -ENODATA)
			return file_changed(source);
		if (r != 0)
			return strata__fail_errno(-r, "cannot read '%.300s'",
						  source->path);
		strata__hash_update(&hash, out->buffer + out->fill, n);
		out->fill += n;
	}
	source->layer.checksum = strata__hash_digest(&hash);
	/* It may have grown. */
	return file_check(fd, source);
}

/* O_NONBLOCK: the open of a fifo would wait for its other end. */
static int
put_file(struct emitter *out, struct strata__image_source *source)
{
	int r, fd = open(source->path,
			 O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return strata__fail_errno(errno, "cannot open '%.300s'",
					  source->path);
	r = file_check(fd, source);
	if (r == 0)
		r = put_descriptor(out, source, fd);
	close(fd);
	return r;
}

static int
emit_contents(struct emitter *out, struct strata__image_plan *plan)
{
	struct strata__image_source *source;
	size_t i;
	int r;

	r = seek(out, plan->header.meta_offset + plan->header.meta_size);
	for (i = 0; r == 0 && i < plan->nr_sources; i++) {
		source = &plan->sources[i];
		r = put_gap(out, source->layer.content);
		if (r != 0)
			break;
		r = source->path != NULL ? put_file(out, source)
					 : put_memory(out, source);
	}
	if (r == 0)
		r = put_gap(out, plan->header.image_size);
	return r != 0 ? r : flush(out);
}

static int
emit_table(struct emitter *out, struct strata__image_plan *plan)
{
	const struct strata__image_layer *layer;
	struct strata__hash_state hash;
	size_t i;
	int r;

	strata__hash_init(&hash);
	r = seek(out, plan->header.table_offset);
	for (i = 0; r == 0 && i < plan->nr_sources; i++) {
		layer = &plan->sources[i].layer;
		strata__hash_update(&hash, layer, sizeof(*layer));
		r = put(out, layer, sizeof(*layer));
	}
	plan->header.table_checksum = strata__hash_digest(&hash);
	return r;
}

/* Goes on where the table ended. */
static int
emit_metas(struct emitter *out, struct strata__image_plan *plan)
{
	static const char zeroes[8];
	const struct strata__image_source *source;
	struct strata__hash_state hash;
	size_t i, padding;
	int r = 0;

	strata__hash_init(&hash);
	for (i = 0; r == 0 && i < plan->nr_sources; i++) {
		source = &plan->sources[i];
		padding = -(size_t)source->layer.meta_size & 7;
		strata__hash_update(&hash, source->meta,
				    source->layer.meta_size);
		strata__hash_update(&hash, zeroes, padding);
		r = put(out, source->meta, source->layer.meta_size);
		if (r == 0)
			r = put(out, zeroes, padding);
	}
	plan->header.meta_checksum = strata__hash_digest(&hash);
	return r != 0 ? r : flush(out);
}

static int
emit_header(struct emitter *out, struct strata__image_plan *plan)
{
	struct strata__image_header *header = &plan->header;

	header->header_checksum = strata__hash(
		header, offsetof(struct strata__image_header, header_checksum));
	seek(out, 0);
	return write_through(out, header, sizeof(*header));
}

static int
emit_all(struct emitter *out, struct strata__image_plan *plan)
{
	int r = emit_contents(out, plan);

	STRATA_TESTPOINT("region.emit.contents");
	if (r == 0)
		r = emit_table(out, plan);
	if (r == 0)
		r = emit_metas(out, plan);
	STRATA_TESTPOINT("region.emit.table");
	if (r == 0)
		r = emit_header(out, plan);
	STRATA_TESTPOINT("region.emit.header");
	return r;
}

int
strata__image_emit_to(struct strata__image_plan *plan,
		      const struct strata__image_target *target)
{
	struct emitter out = {.target = *target,
			      .progress = plan->progress,
			      .image_size = plan->header.image_size};
	int r;

	snprintf(out.what, sizeof(out.what), "dimension %u",
		 plan->header.dimension);
	out.buffer = malloc(BUFFER_SIZE);
	if (out.buffer == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory to write %s",
				    out.what);
	r = emit_all(&out, plan);
	if (r != 0)
		strata__error()->dimension = plan->header.dimension;
	free(out.buffer);
	return r;
}

int
strata__image_emit(struct strata__image_plan *plan, int fd, bool in_shm)
{
	const struct strata__image_target target = {.fd = fd, .in_shm = in_shm};

	return strata__image_emit_to(plan, &target);
}
