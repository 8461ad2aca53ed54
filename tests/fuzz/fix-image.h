/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Gives a broken image right checksums, so that the checks behind them run. */
#ifndef STRATA_FIX_IMAGE_H
#define STRATA_FIX_IMAGE_H

#include <string.h>

#include "hash.h"
#include "region.h"

static inline bool
fix_is_inside(uint64_t offset, uint64_t length, size_t size)
{
	return offset <= size && length <= size - offset;
}

static inline void
fix_contents(char *image, size_t size,
	     const struct strata__image_header *header)
{
	uint64_t i, at = header->table_offset;
	struct strata__image_layer layer;

	for (i = 0; i < header->table_size / sizeof(layer); i++) {
		memcpy(&layer, image + at, sizeof(layer));
		if (fix_is_inside(layer.content, layer.size, size))
			layer.checksum =
				strata__hash(image + layer.content, layer.size);
		memcpy(image + at, &layer, sizeof(layer));
		at += sizeof(layer);
	}
}

/* From the back to the front, as far as places make sense. */
static inline void
fix_image(char *image, size_t size)
{
	struct strata__image_header header;

	if (size < sizeof(header))
		return;
	memcpy(&header, image, sizeof(header));
	if (fix_is_inside(header.table_offset, header.table_size, size) &&
	    header.table_offset >= sizeof(header)) {
		fix_contents(image, size, &header);
		header.table_checksum = strata__hash(
			image + header.table_offset, header.table_size);
	}
	if (fix_is_inside(header.meta_offset, header.meta_size, size))
		header.meta_checksum = strata__hash(image + header.meta_offset,
						    header.meta_size);
	header.header_checksum =
		strata__hash(&header, offsetof(struct strata__image_header,
					       header_checksum));
	memcpy(image, &header, sizeof(header));
}

#endif
