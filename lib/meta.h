/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A layer's metadata as bytes: name, keywords, time; the same everywhere. */
#ifndef STRATA_META_H
#define STRATA_META_H

#include "strata/strata.h"

/*
 * The blob, 8-byte aligned wherever it lies (docs/format.md, "metadata"):
 *   u64 created_ns; u16 name_size; u16 nr_keywords; u32 blob_size;
 *   then the name and each keyword, each followed by a NUL. blob_size counts
 *   all of it, without the zero bytes that fill up to the next multiple of 8.
 * Its largest size is META_SIZE_MAX.
 */
#define STRATA_META_SIZE_MAX \
	(16 + (STRATA_NAME_MAX + 1) * (STRATA_KEYWORDS_MAX + 1))

/* Checks attrs (sizes, UTF-8, ranges) and tells what is wrong; NULL is fine. */
int strata__attrs_check(const struct strata_attrs *attrs);
/* Checks a text of at most max bytes: UTF-8, no control characters. */
int strata__text_check(const char *what, const char *text, size_t max);
/* Bytes that the blob of checked attrs takes; NULL: an empty blob. */
uint32_t strata__meta_size(const struct strata_attrs *attrs);
/* Writes the blob of checked attrs; created_ns where attrs say 0. */
void strata__meta_encode(const struct strata_attrs *attrs, uint64_t created_ns,
			 void *blob);
/* Decodes size untrusted bytes; STRATA_ECORRUPT when they are no blob. The
 * strings of ret_meta lie in the blob. */
int strata__meta_decode(const void *blob, uint32_t size,
			struct strata_meta *ret_meta);
/* The same for who tells the error in other words: NULL, or the reason (a
 * constant) why the bytes are no blob; ret_meta is filled in only with NULL. */
const char *strata__meta_fault(const void *blob, uint32_t size,
			       struct strata_meta *ret_meta);

#endif
