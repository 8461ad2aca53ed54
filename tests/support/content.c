/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Contents that follow from dimension, layer and number, so anyone can check.
 */
#include "content.h"

#include <string.h>

/*
 * Word 0 is the number, word 1 the place; the others are a counter stream with
 * its halves folded, which compilers turn into vector code. No word of one
 * content is that of another at the same place, nor poison.
 */

static const size_t sizes[CONTENT_LAYERS] = {512,   3000,  4000,   12000,
					     30000, 65000, 150000, 300000};

static uint64_t
mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t
stream_of(uint32_t dimension, uint32_t layer, uint64_t number)
{
	return mix(mix(number + 1) ^ ((uint64_t)dimension << 32 | layer));
}

static uint64_t
word_at(uint64_t stream, size_t i)
{
	uint64_t word = stream + i * UINT64_C(0x9e3779b97f4a7c15);

	return word ^ word >> 32;
}

size_t
content_size_max(uint32_t layer)
{
	return sizes[layer % CONTENT_LAYERS];
}

size_t
content_size(uint32_t dimension, uint32_t layer, uint64_t number)
{
	size_t most = content_size_max(layer);

	return most - stream_of(dimension, layer, number) % (most / 16);
}

void
content_fill(void *buffer, uint32_t dimension, uint32_t layer, uint64_t number)
{
	uint64_t stream = stream_of(dimension, layer, number);
	size_t nr = content_size(dimension, layer, number) / 8 + 1;
	uint64_t *words = buffer;

	for (size_t i = 0; i < nr; i++)
		words[i] = word_at(stream, i);
	words[0] = number;
	words[1] = (uint64_t)dimension << 32 | layer;
}

bool
content_check(const void *data, size_t size, uint32_t dimension, uint32_t layer,
	      uint64_t *ret_number)
{
	const uint64_t *words = data;
	uint64_t stream, last, differs = 0;

	*ret_number = words[0];
	if (words[1] != ((uint64_t)dimension << 32 | layer) ||
	    size != content_size(dimension, layer, words[0]))
		return false;
	stream = stream_of(dimension, layer, words[0]);
	for (size_t i = 2; i < size / 8; i++)
		differs |= words[i] ^ word_at(stream, i);
	last = word_at(stream, size / 8);
	return differs == 0 &&
	       memcmp((const char *)data + size / 8 * 8, &last, size % 8) == 0;
}
