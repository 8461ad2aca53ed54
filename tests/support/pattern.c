/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Contents that say what they are, and that nothing else looks like. */
#include "pattern.h"

#include <string.h>

/* Odd, so that no two words of a content are the same. */
#define STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t
first_word(const struct pattern *pattern)
{
	uint64_t z = (uint64_t)pattern->dimension << 32 | pattern->layer;

	z = (z ^ pattern->generation * STEP) * UINT64_C(0xbf58476d1ce4e5b9);
	z ^= z >> 29;
	return (z + pattern->nr_layers) * UINT64_C(0x94d049bb133111eb);
}

void
pattern_fill(void *data, size_t size, const struct pattern *pattern)
{
	char *bytes = data;
	uint64_t word = first_word(pattern);
	size_t at = sizeof(*pattern);

	memcpy(bytes, pattern, sizeof(*pattern));
	for (; size - at >= sizeof(word); at += sizeof(word), word += STEP)
		memcpy(bytes + at, &word, sizeof(word));
	memcpy(bytes + at, &word, size - at);
}

bool
pattern_check(const void *data, size_t size, struct pattern *ret)
{
	const char *bytes = data;
	size_t at = sizeof(*ret);
	uint64_t word, found, wrong = 0;

	if (size < sizeof(*ret))
		return false;
	memcpy(ret, bytes, sizeof(*ret));
	word = first_word(ret);
	for (; size - at >= sizeof(word); at += sizeof(word), word += STEP) {
		memcpy(&found, bytes + at, sizeof(found));
		wrong |= found ^ word;
	}
	return wrong == 0 && memcmp(bytes + at, &word, size - at) == 0;
}
