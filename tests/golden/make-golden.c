/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * Makes dimension-v1.strata, the file that fixes the format of dimension files:
 *     make-golden >tests/golden/dimension-v1.strata
 * It is written from docs/format.md, byte by byte, and shares nothing with the
 * library: so it tells when code and page part. Files that are in use have to
 * stay readable: a new version of the format gets a new golden file beside it.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#define HEADER   512
#define NR       4
#define TABLE    HEADER
#define META     (TABLE + NR * 64)
#define META_END (META + 24 + 48 + 24 + 32)
/* The next multiple of 64; nothing is large enough to be coloured. */
#define DATA 896
#define SIZE 1088

static unsigned char image[SIZE];

/* A little-endian number of so many bytes. */
static void
put(size_t at, int bytes, uint64_t value)
{
	int i;

	for (i = 0; i < bytes; i++)
		image[at + (size_t)i] = (unsigned char)(value >> 8 * i);
}

static void
put_double(size_t at, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	put(at, 8, bits);
}

static void
put_checksum(size_t at, size_t from, size_t size)
{
	put(at, 8, XXH3_64bits(image + from, size));
}

struct layer {
	uint32_t number, depth;
	int32_t parent;
	uint32_t flags;
	double frequency;
	size_t content, size, meta, meta_size;
	uint64_t created_ns;
	const char *strings; /* name and keywords, each with its NUL */
	int name_size, nr_keywords;
};

/* 16 bytes and the strings each; meta offsets are multiples of 8. */
static const struct layer layers[NR] = {
	{0, 0, -1, 0, 0.0, DATA, 0, META, 17, 1, "\0", 0, 0},
	{3, 2, 0, 0, 7.83, DATA, 100, META + 24, 16 + 31, 1700000000123456789u,
	 "premi\303\250re couche\0alpha\0gr\303\274n\0"
	 "x\0",
	 16, 3},
	{4, 0, -1, 0, 1e6, DATA + 128, 0, META + 72, 16 + 2, 2, "4\0", 1, 0},
	{2147483647, 4294967295u, 2147483647, 4, 40.5, DATA + 128, 64,
	 META + 96, 16 + 12, 3, "last\0\360\237\214\215!!\0", 4, 1},
};

static void
put_layer(const struct layer *layer, size_t at)
{
	size_t i;

	put(layer->meta, 8, layer->created_ns);
	put(layer->meta + 8, 2, (uint64_t)layer->name_size);
	put(layer->meta + 10, 2, (uint64_t)layer->nr_keywords);
	put(layer->meta + 12, 4, layer->meta_size);
	memcpy(image + layer->meta + 16, layer->strings, layer->meta_size - 16);
	for (i = 0; i < layer->size; i++)
		image[layer->content + i] =
			(unsigned char)(i * 7 + layer->number % 251);

	put(at, 4, layer->number);
	put(at + 4, 4, layer->depth);
	put(at + 8, 4, (uint32_t)layer->parent);
	put(at + 12, 4, layer->flags);
	put_double(at + 16, layer->frequency);
	put(at + 24, 8, layer->content);
	put(at + 32, 8, layer->size);
	put_checksum(at + 40, layer->content, layer->size);
	put(at + 48, 8, layer->meta);
	put(at + 56, 4, layer->meta_size);
}

static void
put_header(void)
{
	memcpy(image, "\1Strgen\n", 8);
	put(8, 4, 1);           /* version */
	put(12, 4, 0x01020304); /* byte order */
	put(16, 8, SIZE);
	put(24, 8, NR);
	put(32, 8, 164); /* bytes of contents */
	put(40, 8, TABLE);
	put(48, 8, NR * 64);
	put(56, 8, META);
	put(64, 8, META_END - META);
	put(72, 8, DATA);
	put(80, 8, 128 + 64); /* from the first content to the last's end */
	put_double(88, 0.5);
	put_double(96, 40.5);
	put(104, 4, 7); /* dimension */
	put(108, 4, 1); /* immutable */
	put_checksum(112, TABLE, NR * 64);
	put_checksum(120, META, META_END - META);
	strcpy((char *)image + 128, "\303\211motions");
	put_checksum(504, 0, 504);
}

int
main(void)
{
	int i;

	for (i = 0; i < NR; i++)
		put_layer(&layers[i], TABLE + (size_t)i * 64);
	put_header();
	return fwrite(image, SIZE, 1, stdout) == 1 && fflush(stdout) == 0 ? 0
									  : 1;
}
