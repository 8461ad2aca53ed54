/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Region images: nothing in them is believed. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "hash.h"
#include "meta.h"
#include "region.h"

/*
 * An image is checked from the front to the back, and each step uses only what
 * the steps before it have established: the header by its own checksum and
 * bounds; table and metadata by the bounds and checksums that the header gives;
 * each row of the table against its neighbours; each content by the bounds and
 * the checksum in its row. A checksum shows damage, not good will: who makes a
 * hostile image computes right ones, so all that the checksums cover is still
 * checked for sense.
 *
 * What is accepted is defined to the byte: what has no meaning is zero, areas
 * follow each other, sums agree. So a check that is forgotten elsewhere finds
 * no slack to be abused, and what is unused today can mean something tomorrow.
 */

#define PIECE_SIZE  ((uint64_t)1 << 20)
#define COMING_SIZE ((uint64_t)64 << 10) /* what came is in the cache still */
#define BUFFER_SIZE ((size_t)256 << 10)

struct checker {
	const char *what;
	uint64_t size; /* what there is */
	bool quick;
	void (*progress)(uint64_t bytes, void *arg);
	void *arg;

	/* Header, table and metadata are in memory, one behind the other; the
	 * latter two are looked at only after the areas were checked. */
	const struct strata__image_header *header;
	const struct strata__image_layer *layers;
	const char *metas;

	/* The rest is in memory too (base), all of it or, if it is still to
	 * come, what is before there; or is read through the buffer, which holds
	 * buffer_fill bytes from buffer_at on. */
	const char *base;
	int (*come)(uint64_t end, void *arg);
	uint64_t there;
	int fd;
	char *buffer;
	uint64_t buffer_at;
	size_t buffer_fill;

	/* For messages. */
	uint32_t dimension; /* 0: not known yet */
	int64_t layer;      /* -1: none */
};

/* Tells what is wrong at an offset. */
static int __attribute__((format(printf, 3, 4), cold))
refuse(const struct checker *c, uint64_t offset, const char *format, ...)
{
	struct strata_error_info *error;
	char reason[200];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	if (c->layer >= 0)
		strata__fail(STRATA_EFORMAT,
			     "%.200s: layer %" PRId64 ", offset %" PRIu64
			     ": %s",
			     c->what, c->layer, offset, reason);
	else
		strata__fail(STRATA_EFORMAT, "%.200s: offset %" PRIu64 ": %s",
			     c->what, offset, reason);
	error = strata__error();
	error->dimension = c->dimension;
	error->layer = c->layer;
	error->offset = offset;
	error->size = c->size;
	return STRATA_EFORMAT;
}

#define HEADER_AT(field) offsetof(struct strata__image_header, field)
#define LAYER_AT(field)  offsetof(struct strata__image_layer, field)

static bool
is_zero(const void *data, size_t size)
{
	const char *bytes = data;

	return size == 0 ||
	       (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/**** header ****/

/* What must be right before even the checksum means anything. */
static int
check_kind(const struct checker *c)
{
	const struct strata__image_header *header = c->header;

	if (header->magic == __builtin_bswap64(STRATA_IMAGE_MAGIC))
		return refuse(c, HEADER_AT(byte_order),
			      "written by a machine of the other byte order");
	if (header->magic != STRATA_IMAGE_MAGIC)
		return refuse(c, HEADER_AT(magic), "not a dimension file");
	if (header->byte_order != STRATA_IMAGE_BYTE_ORDER)
		return refuse(c, HEADER_AT(byte_order),
			      "byte order 0x%08x is unknown",
			      header->byte_order);
	if (header->version != STRATA_IMAGE_VERSION)
		return refuse(c, HEADER_AT(version),
			      "format version %u; this library reads %u",
			      header->version, STRATA_IMAGE_VERSION);
	if (header->header_checksum !=
	    strata__hash(header, HEADER_AT(header_checksum)))
		return refuse(c, HEADER_AT(header_checksum),
			      "checksum of the header is wrong");
	return 0;
}

static int
check_name(const struct checker *c)
{
	const char *name = c->header->name;
	size_t size = strnlen(name, sizeof(c->header->name));
	char reason[160];

	if (strata__text_check("dimension name", name,
			       STRATA_DIMENSION_NAME_MAX) != 0) {
		snprintf(reason, sizeof(reason), "%.150s",
			 strata__error()->sentence);
		return refuse(c, HEADER_AT(name), "%s", reason);
	}
	if (!is_zero(name + size, sizeof(c->header->name) - size))
		return refuse(c, HEADER_AT(name) + size,
			      "bytes behind the end of the name");
	return 0;
}

static int
check_dimension(const struct checker *c)
{
	const struct strata__image_header *header = c->header;

	if (header->dimension == 0 || header->dimension > STRATA_DIMENSION_MAX)
		return refuse(c, HEADER_AT(dimension),
			      "%u is no dimension number", header->dimension);
	if ((header->flags & ~(uint32_t)STRATA_DIMENSION_IMMUTABLE) != 0)
		return refuse(c, HEADER_AT(flags), "unknown flags 0x%x",
			      header->flags);
	if (!isfinite(header->frequency_min))
		return refuse(c, HEADER_AT(frequency_min),
			      "lowest frequency is not finite");
	if (!isfinite(header->frequency_max) ||
	    header->frequency_max < header->frequency_min)
		return refuse(c, HEADER_AT(frequency_max),
			      "highest frequency is not finite or below the "
			      "lowest");
	if (!is_zero(header->unused, sizeof(header->unused)))
		return refuse(c, HEADER_AT(unused), "unused bytes are not 0");
	return check_name(c);
}

/* Table and metadata follow the header without gaps. */
static int
check_front(const struct checker *c)
{
	const struct strata__image_header *header = c->header;
	uint64_t size = c->size, at = sizeof(*header);

	if (header->nr_layers > (uint64_t)STRATA_LAYER_MAX + 1)
		return refuse(c, HEADER_AT(nr_layers),
			      "%" PRIu64 " layers are too many",
			      header->nr_layers);
	if (header->table_offset != at)
		return refuse(c, HEADER_AT(table_offset),
			      "the table is not behind the header");
	if (header->table_size !=
		    header->nr_layers * sizeof(struct strata__image_layer) ||
	    header->table_size > size - at)
		return refuse(c, HEADER_AT(table_size),
			      "size of the table is not that of %" PRIu64
			      " layers, or leaves the image",
			      header->nr_layers);
	at += header->table_size;
	if (header->meta_offset != at)
		return refuse(c, HEADER_AT(meta_offset),
			      "the metadata are not behind the table");
	if (header->meta_size > size - at || header->meta_size % 8 != 0)
		return refuse(
			c, HEADER_AT(meta_size),
			"size of the metadata is odd or leaves the image");
	return 0;
}

static int
check_back(const struct checker *c)
{
	const struct strata__image_header *header = c->header;
	uint64_t size = c->size, at = header->meta_offset + header->meta_size;

	if (header->data_offset < at || header->data_offset > size ||
	    header->data_offset % STRATA_IMAGE_LINE != 0)
		return refuse(c, HEADER_AT(data_offset),
			      "contents begin in the metadata, off a line, or "
			      "behind the end");
	if (header->data_size > size - header->data_offset ||
	    size - header->data_offset - header->data_size >= STRATA_IMAGE_LINE)
		return refuse(c, HEADER_AT(data_size),
			      "contents do not end where the image does");
	return 0;
}

static int
check_header(struct checker *c)
{
	const struct strata__image_header *header = c->header;
	int r;

	r = check_kind(c);
	if (r != 0)
		return r;
	if (header->image_size != c->size)
		return refuse(c, HEADER_AT(image_size),
			      "there are %" PRIu64 " bytes and should be "
			      "%" PRIu64,
			      c->size, header->image_size);
	if (c->size % STRATA_IMAGE_LINE != 0 || c->size > STRATA_IMAGE_SIZE_MAX)
		return refuse(c, HEADER_AT(image_size),
			      "%" PRIu64 " bytes are no size of an image",
			      c->size);
	r = check_dimension(c);
	if (r == 0)
		r = check_front(c);
	if (r == 0)
		r = check_back(c);
	if (r == 0)
		c->dimension = header->dimension;
	return r;
}

/**** table and metadata ****/

/* Where what comes next must begin, and what came before. */
struct cursor {
	int64_t layer;
	uint64_t meta;
	uint64_t content;
	uint64_t content_bytes;
};

static int
check_numbers(const struct checker *c, const struct strata__image_layer *layer,
	      uint64_t at, const struct cursor *cursor)
{
	if (layer->layer > STRATA_LAYER_MAX ||
	    (int64_t)layer->layer <= cursor->layer)
		return refuse(c, at + LAYER_AT(layer),
			      "layer numbers do not ascend");
	if (layer->parent < -1)
		return refuse(c, at + LAYER_AT(parent), "parent %d",
			      layer->parent);
	if ((layer->flags & ~(uint32_t)STRATA_ENTRY_SIMULATED) != 0)
		return refuse(c, at + LAYER_AT(flags), "unknown flags 0x%x",
			      layer->flags);
	if (!isfinite(layer->frequency) || layer->frequency < 0)
		return refuse(c, at + LAYER_AT(frequency),
			      "frequency is not finite or negative");
	if (layer->unused != 0)
		return refuse(c, at + LAYER_AT(unused),
			      "unused bytes are not 0");
	return 0;
}

static int
check_meta(const struct checker *c, const struct strata__image_layer *layer,
	   uint64_t at, struct cursor *cursor)
{
	const struct strata__image_header *header = c->header;
	uint64_t left = header->meta_offset + header->meta_size - cursor->meta;
	struct strata_meta meta;
	const char *fault, *blob;
	uint64_t padded;

	if (layer->meta != cursor->meta)
		return refuse(c, at + LAYER_AT(meta),
			      "metadata at %" PRIu64 ", not %" PRIu64,
			      layer->meta, cursor->meta);
	padded = strata__round_up(layer->meta_size, 8);
	if (layer->meta_size > STRATA_META_SIZE_MAX || padded > left)
		return refuse(c, at + LAYER_AT(meta_size),
			      "metadata of %u bytes", layer->meta_size);
	blob = c->metas + (layer->meta - header->meta_offset);
	fault = strata__meta_fault(blob, layer->meta_size, &meta);
	if (fault != NULL)
		return refuse(c, layer->meta, "metadata: %s", fault);
	if (!is_zero(blob + layer->meta_size, padded - layer->meta_size))
		return refuse(c, layer->meta + layer->meta_size,
			      "bytes between metadata are not 0");
	cursor->meta += padded;
	return 0;
}

static int
check_place(const struct checker *c, const struct strata__image_layer *layer,
	    uint64_t at, struct cursor *cursor)
{
	const struct strata__image_header *header = c->header;
	uint64_t end = header->data_offset + header->data_size;

	if (layer == c->layers && layer->content != header->data_offset)
		return refuse(c, at + LAYER_AT(content),
			      "the first content is at %" PRIu64
			      ", not %" PRIu64,
			      layer->content, header->data_offset);
	if (layer->content < cursor->content || layer->content > end ||
	    layer->content % STRATA_IMAGE_LINE != 0)
		return refuse(c, at + LAYER_AT(content),
			      "content at %" PRIu64 " is in another one, off a "
			      "line, or behind the end",
			      layer->content);
	if (layer->size > end - layer->content)
		return refuse(c, at + LAYER_AT(size),
			      "content of %" PRIu64 " bytes leaves the image",
			      layer->size);
	cursor->content = layer->content + layer->size;
	cursor->content_bytes += layer->size;
	return 0;
}

static int
check_row(struct checker *c, uint64_t i, struct cursor *cursor)
{
	const struct strata__image_layer *layer = &c->layers[i];
	uint64_t at = c->header->table_offset + i * sizeof(*layer);
	int r;

	r = check_numbers(c, layer, at, cursor);
	if (r != 0)
		return r;
	c->layer = cursor->layer = layer->layer;
	r = check_meta(c, layer, at, cursor);
	if (r == 0)
		r = check_place(c, layer, at, cursor);
	c->layer = -1;
	return r;
}

/* The sums that the header gives, at the end of the table. */
static int
check_sums(const struct checker *c, const struct cursor *cursor)
{
	const struct strata__image_header *header = c->header;

	if (cursor->meta != header->meta_offset + header->meta_size)
		return refuse(c, HEADER_AT(meta_size),
			      "metadata end at %" PRIu64, cursor->meta);
	if (cursor->content != header->data_offset + header->data_size)
		return refuse(c, HEADER_AT(data_size),
			      "contents end at %" PRIu64, cursor->content);
	if (cursor->content_bytes != header->content_bytes)
		return refuse(c, HEADER_AT(content_bytes),
			      "contents have %" PRIu64 " bytes",
			      cursor->content_bytes);
	return 0;
}

static int
check_table(struct checker *c)
{
	const struct strata__image_header *header = c->header;
	struct cursor cursor = {.layer = -1,
				.meta = header->meta_offset,
				.content = header->data_offset};
	uint64_t i;
	int r;

	if (header->table_checksum !=
	    strata__hash(c->layers, header->table_size))
		return refuse(c, HEADER_AT(table_checksum),
			      "checksum of the layer table is wrong");
	if (header->meta_checksum != strata__hash(c->metas, header->meta_size))
		return refuse(c, HEADER_AT(meta_checksum),
			      "checksum of the metadata is wrong");
	for (i = 0; i < header->nr_layers; i++) {
		r = check_row(c, i, &cursor);
		if (r != 0)
			return r;
	}
	return check_sums(c, &cursor);
}

/**** contents ****/

static int
read_fail(const struct checker *c, int r, uint64_t offset)
{
	if (r == -ENODATA)
		return refuse(c, offset, "the file ends before it should");
	r = strata__fail_errno(-r, "%.200s: cannot read at %" PRIu64, c->what,
			       offset);
	strata__error()->offset = offset;
	strata__error()->size = c->size;
	return r;
}

/* Has all before end be there. */
static int
have(struct checker *c, uint64_t end)
{
	int r;

	if (c->come == NULL || end <= c->there)
		return 0;
	r = c->come(end, c->arg);
	if (r == 0)
		c->there = end;
	return r;
}

/*
 * Up to *size bytes at an offset inside the image; *size becomes what there is.
 * Contents are read in their order, so reading ahead pays, unless only the gaps
 * between them are wanted.
 */
static int
look(struct checker *c, uint64_t offset, uint64_t *size, const char **ret)
{
	uint64_t want;
	int r;

	if (c->base != NULL) {
		*ret = c->base + offset;
		return have(c, offset + *size);
	}
	if (offset < c->buffer_at || offset - c->buffer_at >= c->buffer_fill) {
		want = c->quick ? *size : c->size - offset;
		if (want > BUFFER_SIZE)
			want = BUFFER_SIZE;
		c->buffer_fill = 0;
		r = strata__os_pread(c->fd, c->buffer, want, offset);
		if (r != 0)
			return read_fail(c, r, offset);
		c->buffer_at = offset;
		c->buffer_fill = want;
	}
	want = c->buffer_at + c->buffer_fill - offset;
	if (*size > want)
		*size = want;
	*ret = c->buffer + (offset - c->buffer_at);
	return 0;
}

/* Calls look() for all of a range, a piece at a time. */
static int
check_gap(struct checker *c, uint64_t from, uint64_t to)
{
	const char *data;
	uint64_t n;
	int r;

	for (; from < to; from += n) {
		n = to - from < PIECE_SIZE ? to - from : PIECE_SIZE;
		r = look(c, from, &n, &data);
		if (r != 0)
			return r;
		if (!is_zero(data, n))
			return refuse(c, from,
				      "bytes between contents are not 0");
	}
	return 0;
}

static int
hash_content(struct checker *c, const struct strata__image_layer *layer,
	     uint64_t *ret_hash)
{
	uint64_t most = c->come != NULL ? COMING_SIZE : PIECE_SIZE;
	struct strata__hash_state hash;
	const char *data;
	uint64_t at, n;
	int r;

	strata__hash_init(&hash);
	for (at = 0; at < layer->size; at += n) {
		n = layer->size - at;
		if (n > most)
			n = most;
		r = look(c, layer->content + at, &n, &data);
		if (r != 0)
			return r;
		/* The usual case needs no state. */
		if (n == layer->size)
			*ret_hash = strata__hash(data, n);
		else
			strata__hash_update(&hash, data, n);
		if (c->progress != NULL)
			c->progress(n, c->arg);
		if (n == layer->size)
			return 0;
	}
	*ret_hash = strata__hash_digest(&hash);
	return 0;
}

static int
check_content(struct checker *c, const struct strata__image_layer *layer)
{
	uint64_t checksum;
	int r;

	if (c->quick)
		return 0;
	c->layer = layer->layer;
	r = hash_content(c, layer, &checksum);
	if (r == 0 && checksum != layer->checksum)
		r = refuse(c, layer->content,
			   "checksum of the content is wrong");
	c->layer = -1;
	return r;
}

static int
check_contents(struct checker *c)
{
	const struct strata__image_header *header = c->header;
	uint64_t i, at = header->meta_offset + header->meta_size;
	const struct strata__image_layer *layer;
	int r = 0;

	for (i = 0; r == 0 && i < header->nr_layers; i++) {
		layer = &c->layers[i];
		r = check_gap(c, at, layer->content);
		if (r == 0)
			r = check_content(c, layer);
		at = layer->content + layer->size;
	}
	return r != 0 ? r : check_gap(c, at, header->image_size);
}

/**** the whole ****/

/* Points at what lies behind a checked header. */
static void
set_front(struct checker *c, const char *front)
{
	c->header = (const void *)front;
	c->layers = (const void *)(front + c->header->table_offset);
	c->metas = front + c->header->meta_offset;
}

static int
check_size(const struct checker *c)
{
	if (c->size >= sizeof(struct strata__image_header))
		return 0;
	return refuse(c, 0, "%" PRIu64 " bytes are no dimension file", c->size);
}

static void
info_of(const struct strata__image_header *header, struct strata_file_info *ret)
{
	struct strata_file_info info = {
		.dimension = header->dimension,
		.immutable = (header->flags & STRATA_DIMENSION_IMMUTABLE) != 0,
		.frequency_min = header->frequency_min,
		.frequency_max = header->frequency_max,
		.nr_layers = header->nr_layers,
		.content_bytes = header->content_bytes,
		.file_bytes = header->image_size,
	};

	memcpy(info.name, header->name, sizeof(info.name));
	*ret = info;
}

void
strata__image_info(const struct strata__image *image,
		   struct strata_file_info *ret)
{
	info_of(image->header, ret);
}

/* In memory, or on its way there. */
static int
check_all(struct checker *c, struct strata__image *ret)
{
	int r;

	r = check_size(c);
	if (r == 0)
		r = have(c, sizeof(*c->header));
	if (r == 0)
		r = check_header(c);
	if (r == 0)
		r = have(c, c->header->meta_offset + c->header->meta_size);
	if (r != 0)
		return r;
	set_front(c, c->base);
	r = check_table(c);
	if (r == 0)
		r = check_contents(c);
	if (r == 0)
		*ret = (struct strata__image){.base = c->base,
					      .header = c->header,
					      .layers = c->layers};
	return r;
}

int
strata__image_check(const void *base, uint64_t size, const char *what,
		    bool quick, void (*progress)(uint64_t bytes, void *arg),
		    void *arg, struct strata__image *ret)
{
	struct checker c = {.what = what,
			    .size = size,
			    .quick = quick,
			    .progress = progress,
			    .arg = arg,
			    .header = base,
			    .base = base,
			    .fd = -1,
			    .layer = -1};

	return check_all(&c, ret);
}

int
strata__image_check_coming(const void *base, uint64_t size, const char *what,
			   int (*come)(uint64_t end, void *arg),
			   void (*progress)(uint64_t bytes, void *arg),
			   void *arg, struct strata__image *ret)
{
	struct checker c = {.what = what,
			    .size = size,
			    .progress = progress,
			    .arg = arg,
			    .header = base,
			    .base = base,
			    .come = come,
			    .fd = -1,
			    .layer = -1};

	return check_all(&c, ret);
}

/* Reads what lies between the header and the contents, behind a copy of the
 * header: what was checked is what is used, even if the file changes. */
static int
read_front(struct checker *c, char **ret_front)
{
	uint64_t at = sizeof(*c->header);
	uint64_t size = c->header->meta_offset + c->header->meta_size;
	char *front = malloc(size);
	int r;

	if (front == NULL)
		return strata__fail(STRATA_ENOMEM,
				    "%.200s: no memory for "
				    "the %" PRIu64 " bytes of its table",
				    c->what, size);
	memcpy(front, c->header, at);
	r = strata__os_pread(c->fd, front + at, size - at, at);
	if (r != 0) {
		free(front);
		return read_fail(c, r, at);
	}
	*ret_front = front;
	return 0;
}

/* Behind the header. */
static int
check_file_rest(struct checker *c)
{
	char *front = NULL;
	int r;

	r = read_front(c, &front);
	if (r != 0)
		return r;
	set_front(c, front);
	r = check_table(c);
	if (r == 0) {
		c->buffer = malloc(BUFFER_SIZE);
		r = c->buffer != NULL ? check_contents(c)
				      : strata__fail(STRATA_ENOMEM,
						     "%.200s: no memory to "
						     "read it",
						     c->what);
	}
	free(c->buffer);
	free(front);
	return r;
}

int
strata__image_check_file(int fd, uint64_t size, const char *what, bool quick,
			 void (*progress)(uint64_t bytes, void *arg), void *arg,
			 struct strata_file_info *ret)
{
	struct strata__image_header header;
	struct checker c = {.what = what,
			    .size = size,
			    .quick = quick,
			    .progress = progress,
			    .arg = arg,
			    .header = &header,
			    .fd = fd,
			    .layer = -1};
	int r;

	r = check_size(&c);
	if (r != 0)
		return r;
	r = strata__os_pread(fd, &header, sizeof(header), 0);
	if (r != 0)
		return read_fail(&c, r, 0);
	r = check_header(&c);
	if (r == 0)
		r = check_file_rest(&c);
	if (r == 0)
		info_of(&header, ret);
	return r;
}
