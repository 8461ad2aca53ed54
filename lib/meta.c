/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A layer's metadata: checked, encoded, decoded. */
#include "meta.h"

#include <math.h>
#include <string.h>

#include "error.h"

/* The fixed part of a blob. Blobs are only known to be 8-byte aligned where
 * they come from a store; fuzzers and files may have them anywhere: copied out.
 */
struct head {
	uint64_t created_ns;
	uint16_t name_size;
	uint16_t nr_keywords;
	uint32_t blob_size;
};
_Static_assert(sizeof(struct head) == 16, "file format");

/**** text ****/

/*
 * Size of the UTF-8 sequence at the start of left > 0 bytes; 0 when there is
 * none: a stray or missing continuation, an overlong form, a surrogate, or more
 * than U+10FFFF. All but the first two show in the range of the second byte.
 */
static size_t
sequence_size(const unsigned char *s, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t size, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	size = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (left < size || s[1] < low || s[1] > high)
		return 0;
	for (i = 2; i < size; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

/* NULL, or what is wrong with the text at *ret_at. */
static const char *
text_fault(const char *text, size_t size, size_t *ret_at)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t at = 0, n;

	while (at < size) {
		*ret_at = at;
		if (s[at] < 0x20 || s[at] == 0x7f)
			return "control character";
		n = sequence_size(s + at, size - at);
		if (n == 0)
			return "no UTF-8";
		at += n;
	}
	return NULL;
}

int
strata__text_check(const char *what, const char *text, size_t max)
{
	const char *fault;
	size_t size, at = 0;

	if (text == NULL)
		return strata__fail(STRATA_EINVAL, "%s: missing", what);
	size = strnlen(text, max + 1);
	if (size > max)
		return strata__fail(STRATA_EINVAL, "%s: longer than %zu bytes",
				    what, max);
	fault = text_fault(text, size, &at);
	if (fault != NULL)
		return strata__fail(STRATA_EINVAL, "%s: %s at byte %zu", what,
				    fault, at);
	return 0;
}

/**** attributes ****/

/* An empty keyword would find nothing and be shown as nothing: a mistake. */
static int
keyword_check(const struct strata_attrs *attrs, uint32_t i)
{
	int r = strata__text_check("keyword", attrs->keywords[i],
				   STRATA_NAME_MAX);

	if (r == 0 && attrs->keywords[i][0] == '\0')
		r = strata__fail(STRATA_EINVAL, "keyword: empty");
	if (r != 0)
		strata__error_append(" (keyword %u of %u)", i + 1,
				     attrs->nr_keywords);
	return r;
}

static int
keywords_check(const struct strata_attrs *attrs)
{
	uint32_t i;
	int r = 0;

	if (attrs->nr_keywords > STRATA_KEYWORDS_MAX)
		return strata__fail(STRATA_EINVAL,
				    "%u keywords; a layer has %d at most",
				    attrs->nr_keywords, STRATA_KEYWORDS_MAX);
	if (attrs->nr_keywords != 0 && attrs->keywords == NULL)
		return strata__fail(STRATA_EINVAL, "keywords: missing");
	for (i = 0; r == 0 && i < attrs->nr_keywords; i++)
		r = keyword_check(attrs, i);
	return r;
}

int
strata__attrs_check(const struct strata_attrs *attrs)
{
	int r;

	if (attrs == NULL)
		return 0;
	if (attrs->struct_size != sizeof(*attrs))
		return strata__fail(STRATA_EINVAL,
				    "attributes: struct_size is %zu, not %zu; "
				    "use STRATA_ATTRS_INIT",
				    attrs->struct_size, sizeof(*attrs));
	if (!isfinite(attrs->frequency) || attrs->frequency < 0)
		return strata__fail(STRATA_EINVAL,
				    "frequency %g: not a number of hertz",
				    attrs->frequency);
	if (attrs->parent < -1)
		return strata__fail(STRATA_EINVAL,
				    "parent %d: neither a layer nor -1",
				    attrs->parent);
	if ((attrs->flags & ~(uint32_t)STRATA_ENTRY_SIMULATED) != 0)
		return strata__fail(STRATA_EINVAL, "attributes: flags 0x%x",
				    attrs->flags);
	if (attrs->name != NULL) {
		r = strata__text_check("layer name", attrs->name,
				       STRATA_NAME_MAX);
		if (r != 0)
			return r;
	}
	return keywords_check(attrs);
}

/**** the blob ****/

uint32_t
strata__meta_size(const struct strata_attrs *attrs)
{
	size_t size = sizeof(struct head) + 1;
	uint32_t i;

	if (attrs == NULL)
		return (uint32_t)size;
	if (attrs->name != NULL)
		size += strlen(attrs->name);
	for (i = 0; i < attrs->nr_keywords; i++)
		size += strlen(attrs->keywords[i]) + 1;
	return (uint32_t)size;
}

void
strata__meta_encode(const struct strata_attrs *attrs, uint64_t created_ns,
		    void *blob)
{
	struct head head = {.created_ns = created_ns};
	const char *name = "";
	char *to = (char *)blob + sizeof(head);
	uint32_t i;

	head.blob_size = strata__meta_size(attrs);
	if (attrs != NULL) {
		if (attrs->created_ns != 0)
			head.created_ns = attrs->created_ns;
		if (attrs->name != NULL)
			name = attrs->name;
		head.nr_keywords = (uint16_t)attrs->nr_keywords;
	}
	head.name_size = (uint16_t)strlen(name);
	memcpy(blob, &head, sizeof(head));
	to = stpcpy(to, name) + 1;
	for (i = 0; i < head.nr_keywords; i++)
		to = stpcpy(to, attrs->keywords[i]) + 1;
}

/* Takes the next string, of *left bytes at *at, off a blob. */
static const char *
string_fault(const char **at, size_t *left, size_t *ret_size)
{
	const char *fault, *end = memchr(*at, '\0', *left);
	size_t size, where = 0;

	if (end == NULL)
		return "a string without an end";
	size = (size_t)(end - *at);
	if (size > STRATA_NAME_MAX)
		return "a string too long";
	fault = text_fault(*at, size, &where);
	if (fault != NULL)
		return fault;
	*left -= size + 1;
	*at = end + 1;
	*ret_size = size;
	return NULL;
}

/* The strings of a blob, which begin at at; all left bytes must be theirs. */
static const char *
strings_fault(const struct head *head, const char *at, size_t left,
	      struct strata_meta *meta)
{
	const char *fault;
	size_t size = 0;
	uint32_t i;

	meta->name = at;
	fault = string_fault(&at, &left, &size);
	if (fault != NULL)
		return fault;
	if (size != head->name_size)
		return "the name has another size";
	for (i = 0; i < head->nr_keywords; i++) {
		meta->keywords[i] = at;
		fault = string_fault(&at, &left, &size);
		if (fault != NULL)
			return fault;
		if (size == 0)
			return "an empty keyword";
	}
	return left == 0 ? NULL : "bytes after the last string";
}

const char *
strata__meta_fault(const void *blob, uint32_t size,
		   struct strata_meta *ret_meta)
{
	struct strata_meta meta = {0};
	const char *fault;
	struct head head;

	if (size < sizeof(head) + 1)
		return "too short";
	memcpy(&head, blob, sizeof(head));
	if (head.blob_size != size)
		return "its size field says otherwise";
	if (head.nr_keywords > STRATA_KEYWORDS_MAX)
		return "too many keywords";
	fault = strings_fault(&head, (const char *)blob + sizeof(head),
			      size - sizeof(head), &meta);
	if (fault != NULL)
		return fault;
	meta.created_ns = head.created_ns;
	meta.nr_keywords = head.nr_keywords;
	*ret_meta = meta;
	return NULL;
}

int
strata__meta_decode(const void *blob, uint32_t size,
		    struct strata_meta *ret_meta)
{
	const char *fault = strata__meta_fault(blob, size, ret_meta);

	if (fault == NULL)
		return 0;
	return strata__fail(STRATA_ECORRUPT, "metadata of %u bytes: %s", size,
			    fault);
}
