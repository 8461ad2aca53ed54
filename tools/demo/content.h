/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Contents of the demonstration: bytes that anybody can compute and check. */
#ifndef STRATA_DEMO_CONTENT_H
#define STRATA_DEMO_CONTENT_H

#include <stddef.h>
#include <stdint.h>

/*
 * What a content says of itself, in its first bytes. Everything after that
 * follows from it, so whoever reads a content can compute all of it: a byte of
 * another layer or of another generation is seen wherever it is.
 */
struct content_label {
	uint64_t seed;
	uint32_t dimension, layer;
	uint64_t generation;
	uint64_t size; /* bytes, with the label */
};

/* Of a core layer and of one of the proto dimension, bytes; they differ from
 * layer to layer, and from generation to generation. */
size_t content_core_size(uint32_t dimension, uint32_t layer,
			 uint64_t generation);
size_t content_proto_size(uint32_t layer, uint64_t generation);
/* The largest of both. */
#define CONTENT_SIZE_MAX ((size_t)640 << 10)

/* Core layers are large, those of all other dimensions small. */
size_t content_size(uint32_t dimension, uint32_t layer, uint64_t generation);

/* Fills in size bytes, at least those of the label; buffer: 8-byte aligned. */
void content_make(void *buffer, uint32_t dimension, uint32_t layer,
		  uint64_t generation, size_t size);

/*
 * Checks every byte.
 * @return NULL and the generation, or what is wrong.
 */
const char *content_check(const void *bytes, uint64_t size, uint32_t dimension,
			  uint32_t layer, uint64_t *ret_generation);

/* One number of the command line; what is none ends the program. */
uint64_t demo_number(const char *text, uint64_t max);

#endif
