/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Contents that follow from dimension, layer and number, so anyone can check.
 */
#ifndef STRATA_TEST_CONTENT_H
#define STRATA_TEST_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Layers 0 to this differ in size: 0.5 KiB to 300 KiB, so that every size class
 * and runs of the largest are used. */
#define CONTENT_LAYERS 8u

/* Bytes of a layer; depends on the number, too. */
size_t content_size(uint32_t dimension, uint32_t layer, uint64_t number);
/* No content of that layer is larger. */
size_t content_size_max(uint32_t layer);
/* Writes all of it; the buffer has room for content_size_max() + 8 bytes. */
void content_fill(void *buffer, uint32_t dimension, uint32_t layer,
		  uint64_t number);
/* Is it, to the byte, a content of that layer? Which, is told in any case. */
bool content_check(const void *data, size_t size, uint32_t dimension,
		   uint32_t layer, uint64_t *ret_number);

#endif
