/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <strata/strata.h>

#include "content.h"

#define SEED UINT64_C(20260101)

/* splitmix64: a good hash of 64 bits. */
static uint64_t
mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t
key_of(const struct content_label *label)
{
	uint64_t place = (uint64_t)label->dimension << 32 | label->layer;

	return mix(mix(mix(label->seed) ^ place) ^ label->generation) ^
	       label->size;
}

/*
 * Word i of a content: additions and shifts only, so that a reader checks
 * several bytes a cycle and not the arithmetic is what is measured.
 */
static inline uint64_t
word_at(uint64_t key, uint64_t i)
{
	uint64_t word = key + i * UINT64_C(0x9e3779b97f4a7c15);

	return word ^ word >> 29;
}

/**** sizes ****/

/* 0 to range - 1, odd numbers of bytes included. */
static size_t
vary(uint32_t dimension, uint32_t layer, uint64_t generation, size_t range)
{
	struct content_label label = {SEED, dimension, layer, generation, 0};

	return (size_t)(key_of(&label) % range);
}

/* 280 layers of at least 592 KiB are more than 160 MiB. */
size_t
content_core_size(uint32_t dimension, uint32_t layer, uint64_t generation)
{
	return ((size_t)592 << 10) +
	       vary(dimension, layer, generation, (size_t)32 << 10);
}

size_t
content_proto_size(uint32_t layer, uint64_t generation)
{
	return ((size_t)12 << 10) + vary(0, layer, generation, (size_t)8 << 10);
}

size_t
content_size(uint32_t dimension, uint32_t layer, uint64_t generation)
{
	if (dimension <= STRATA_DIMENSION_CORE_MAX)
		return content_core_size(dimension, layer, generation);
	return content_proto_size(layer, generation);
}

/**** contents ****/

void
content_make(void *buffer, uint32_t dimension, uint32_t layer,
	     uint64_t generation, size_t size)
{
	struct content_label label = {SEED, dimension, layer, generation, size};
	size_t begin = sizeof(label) / sizeof(uint64_t);
	size_t nr_words = size / sizeof(uint64_t);
	uint64_t key = key_of(&label), last;
	uint64_t *words = buffer;
	size_t i;

	memcpy(buffer, &label, sizeof(label));
	for (i = begin; i < nr_words; i++)
		words[i] = word_at(key, i);
	last = word_at(key, nr_words);
	memcpy((char *)buffer + nr_words * sizeof(uint64_t), &last,
	       size % sizeof(uint64_t));
}

static const char *
label_check(const struct content_label *label, uint64_t size,
	    uint32_t dimension, uint32_t layer)
{
	if (label->seed != SEED)
		return "was not made by the demonstration";
	if (label->dimension != dimension || label->layer != layer)
		return "is the content of another layer";
	if (label->size != size)
		return "has not the size that it says";
	return NULL;
}

const char *
content_check(const void *bytes, uint64_t size, uint32_t dimension,
	      uint32_t layer, uint64_t *ret_generation)
{
	const size_t begin = sizeof(struct content_label) / sizeof(uint64_t);
	size_t nr_words = size / sizeof(uint64_t), i;
	const uint64_t *words = bytes;
	struct content_label label;
	uint64_t key, last, wrong = 0;
	const char *what;

	if (size < sizeof(label))
		return "is too short";
	memcpy(&label, bytes, sizeof(label));
	what = label_check(&label, size, dimension, layer);
	if (what != NULL)
		return what;
	key = key_of(&label);
	/* No early exit: a loop that only collects is a fast one. */
	for (i = begin; i < nr_words; i++)
		wrong |= words[i] ^ word_at(key, i);
	last = word_at(key, nr_words);
	if (wrong != 0 ||
	    memcmp(words + nr_words, &last, size % sizeof(uint64_t)) != 0)
		return "has a wrong byte";
	*ret_generation = label.generation;
	return NULL;
}

/**** command lines ****/

uint64_t
demo_number(const char *text, uint64_t max)
{
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 ||
	    number > max) {
		fprintf(stderr, "'%s' is no number from 0 to %llu\n", text,
			(unsigned long long)max);
		exit(2);
	}
	return number;
}
