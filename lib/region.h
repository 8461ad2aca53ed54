/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Region images: one dimension as bytes, the same in memory and on disk. */
#ifndef STRATA_REGION_H
#define STRATA_REGION_H

#include "layout.h"
#include "progress.h"

/*
 * header (512 bytes), layer table (sorted by layer, one struct
 * strata__image_layer each), metadata blobs, contents. Contents are
 * 64-byte aligned; those of 16 KiB and more lie at distances of odd numbers of
 * pages and of lines, from a start that depends on the dimension, so that equal
 * shapes do not collide in the cache. Gaps are zero bytes. Numbers are in the
 * byte order of the machine that wrote them; the byte-order word tells which,
 * and an image of another order is refused: images are used in place.
 *
 * Where contents lie is the writer's choice within these rules (ascending,
 * aligned, zeroes between), so the colouring may improve without a new format
 * version; all else is fixed to the byte by docs/format.md.
 */
#define STRATA_IMAGE_MAGIC      UINT64_C(0x0a6e656772745301) /* "\1Strgen\n" */
#define STRATA_IMAGE_VERSION    1u
#define STRATA_IMAGE_BYTE_ORDER UINT32_C(0x01020304)
/* No image is larger; so sums of its sizes cannot wrap. */
#define STRATA_IMAGE_SIZE_MAX (UINT64_C(1) << 46)
/* Contents are aligned to lines; from this size on they are coloured. */
#define STRATA_IMAGE_LINE     UINT64_C(64)
#define STRATA_IMAGE_COLOURED (UINT64_C(16) << 10)

struct strata__image_header {
	uint64_t magic;
	uint32_t version;
	uint32_t byte_order;
	uint64_t image_size;
	uint64_t nr_layers;
	uint64_t content_bytes;
	uint64_t table_offset, table_size;
	uint64_t meta_offset, meta_size;
	uint64_t data_offset, data_size;
	double frequency_min, frequency_max;
	uint32_t dimension;
	uint32_t flags;          /* enum strata__dimension_flags */
	uint64_t table_checksum; /* XXH3 of the layer table */
	uint64_t meta_checksum;  /* XXH3 of the metadata */
	char name[STRATA_DIMENSION_NAME_MAX + 1];
	uint64_t unused[31];
	uint64_t header_checksum; /* XXH3 of all header bytes before it */
};
_Static_assert(sizeof(struct strata__image_header) == 512, "file format");

struct strata__image_layer {
	uint32_t layer;
	uint32_t depth;
	int32_t parent;
	uint32_t flags; /* STRATA_ENTRY_SIMULATED or 0 */
	double frequency;
	uint64_t content; /* offset in the image, 64-byte aligned */
	uint64_t size;
	uint64_t checksum;
	uint64_t meta; /* offset in the image, 8-byte aligned */
	uint32_t meta_size;
	uint32_t unused;
};
_Static_assert(sizeof(struct strata__image_layer) == 64, "file format");

/* A layer to be put into an image. */
struct strata__image_source {
	struct strata__image_layer layer; /* content, meta: by plan; checksum:
					     by emit */
	const void *data;                 /* content, or NULL: read from path */
	const char *path;
	const void *meta; /* encoded blob, meta_size bytes */
};

struct strata__image_plan {
	struct strata__image_header header;
	struct strata__image_source *sources; /* borrowed, sorted by plan */
	size_t nr_sources;
	struct strata__progress *progress; /* of emit, or NULL */
};

/* Sorts the sources and fixes all offsets and sizes; of sources[i].layer
 * content, meta, checksum and unused are set here, the rest is given and was
 * checked (strata__attrs_check()), as was info. Tells STRATA_EEXIST (a layer
 * twice), STRATA_ETOOBIG. The size is ret->header.image_size. */
int strata__image_plan(const struct strata_file_info *info,
		       struct strata__image_source *sources, size_t nr_sources,
		       struct strata__image_plan *ret);
/* Where an image goes: a file, and a mapping of it, through which the bytes
 * before mapped are stored, since each of their pages is there. Nobody else can
 * change what was stored. */
struct strata__image_target {
	int fd;
	bool in_shm; /* what is said when there is no room */
	char *map;   /* or NULL */
	uint64_t mapped;
};

/* Writes the image from offset 0 on: contents first, copied and checksummed in
 * 64 KiB pieces, then table and metadata, at last the header. Writes every byte,
 * gaps included: no holes. What is mapped is checksummed where it was put: so
 * these checksums need no second look. Tells STRATA_ESHM for ENOSPC when in_shm,
 * else -errno, STRATA_EFORMAT (a path's content changed its size),
 * STRATA_ECANCELED. Progress is told of each byte when it is written, and of
 * contents from memory when they are checksummed. */
int strata__image_emit_to(struct strata__image_plan *plan,
			  const struct strata__image_target *target);
/* The same, all of it with pwrite. */
int strata__image_emit(struct strata__image_plan *plan, int fd, bool in_shm);

/* An image that was checked. */
struct strata__image {
	const char *base;
	const struct strata__image_header *header;
	const struct strata__image_layer *layers;
};

/* Checks everything once: no byte is believed. size is what there is; base is
 * 64-byte aligned. quick leaves out the checksums of contents. progress (or
 * NULL) is told the bytes of each piece of content after it was checked. what:
 * the name for messages. Tells STRATA_EFORMAT with offset, size and reason. */
int strata__image_check(const void *base, uint64_t size, const char *what,
			bool quick, void (*progress)(uint64_t bytes, void *arg),
			void *arg, struct strata__image *ret);
/* The same for an image that is being put in its place meanwhile: before bytes
 * are looked at come() is called to have all up to an offset there, which is
 * higher each time, up to size if all is well. What it returns other than 0,
 * told, ends the check. Contents are looked at in pieces of 64 KiB, just after
 * they came. */
int strata__image_check_coming(const void *base, uint64_t size,
			       const char *what,
			       int (*come)(uint64_t end, void *arg),
			       void (*progress)(uint64_t bytes, void *arg),
			       void *arg, struct strata__image *ret);
/* The same for an image in a file, which is read in pieces: a file that shrinks
 * meanwhile is an error, not a signal. Tells -errno and STRATA_ENOMEM too. */
int strata__image_check_file(int fd, uint64_t size, const char *what,
			     bool quick,
			     void (*progress)(uint64_t bytes, void *arg),
			     void *arg, struct strata_file_info *ret);
void strata__image_info(const struct strata__image *image,
			struct strata_file_info *ret);

#endif
