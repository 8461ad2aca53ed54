/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "meta.h"

TestSuite(meta, .timeout = 30);

static struct strata_attrs
attrs_init(void)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;

	return attrs;
}

/* A blob in memory of exactly its size; the caller frees it. */
static unsigned char *
encode(const struct strata_attrs *attrs, uint64_t created_ns, uint32_t *size)
{
	unsigned char *blob;

	*size = strata__meta_size(attrs);
	blob = malloc(*size);
	cr_assert_not_null(blob);
	strata__meta_encode(attrs, created_ns, blob);
	return blob;
}

/**** text ****/

Test(meta, text_that_is_utf8_is_accepted)
{
	static const char *const texts[] = {
		"",
		"a",
		"\x7e",
		"\xc2\x80",
		"\xdf\xbf",
		"\xe0\xa0\x80",
		"\xed\x9f\xbf",
		"\xee\x80\x80",
		"\xef\xbf\xbf",
		"\xf0\x90\x80\x80",
		"\xf4\x8f\xbf\xbf",
		"gr\xc3\xbcn \xe2\x82\xac",
	};
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		cr_expect_eq(strata__text_check("text", texts[i], 255), 0,
			     "text %zu: %s", i, strata_last_error()->sentence);
}

Test(meta, text_that_is_not_utf8_is_refused)
{
	static const char *const texts[] = {
		"\x80",
		"a\xbf",
		"\xc0\x80",
		"\xc1\xbf",
		"\xc2",
		"\xc2\x41",
		"\xe0\x9f\xbf",
		"\xe1\x80",
		"\xe1\x80\x41",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xf1\x80\x80",
		"\xf1\x80\x80\xc0",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xff",
		"\xfe",
	};
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		cr_expect_eq(strata__text_check("text", texts[i], 255),
			     STRATA_EINVAL, "text %zu was accepted", i);
}

Test(meta, control_characters_are_refused)
{
	char text[] = "ab?c";
	int c;

	for (c = 1; c < 0x80; c++) {
		text[2] = (char)c;
		cr_expect_eq(strata__text_check("text", text, 255),
			     c < 0x20 || c == 0x7f ? STRATA_EINVAL : 0,
			     "character %d", c);
	}
	text[2] = '\n';
	strata__text_check("layer name", text, 255);
	cr_expect_str_eq(strata_last_error()->sentence,
			 "layer name: control character at byte 2");
}

Test(meta, text_may_be_as_long_as_its_maximum)
{
	char text[300];

	memset(text, 'x', sizeof(text));
	text[255] = '\0';
	cr_expect_eq(strata__text_check("text", text, 255), 0);
	cr_expect_eq(strata__text_check("text", text, 254), STRATA_EINVAL);
	cr_expect_eq(strata__text_check("text", NULL, 255), STRATA_EINVAL);
}

/**** attributes ****/

Test(meta, no_attributes_and_initial_ones_are_fine)
{
	struct strata_attrs attrs = attrs_init();

	cr_expect_eq(strata__attrs_check(NULL), 0);
	cr_expect_eq(strata__attrs_check(&attrs), 0);
}

Test(meta, attributes_out_of_range_are_refused)
{
	struct strata_attrs attrs[8];
	size_t i;

	for (i = 0; i < 8; i++)
		attrs[i] = attrs_init();
	attrs[0].struct_size--;
	attrs[1].frequency = NAN;
	attrs[2].frequency = INFINITY;
	attrs[3].frequency = -0.5;
	attrs[4].parent = -2;
	attrs[5].flags = STRATA_ENTRY_PRESENT;
	attrs[6].name = "\xff";
	attrs[7].nr_keywords = 1;
	for (i = 0; i < 8; i++)
		cr_expect_eq(strata__attrs_check(&attrs[i]), STRATA_EINVAL,
			     "attributes %zu were accepted", i);
}

Test(meta, keywords_are_checked_one_by_one)
{
	const char *keywords[STRATA_KEYWORDS_MAX + 1];
	struct strata_attrs attrs = attrs_init();
	size_t i;

	for (i = 0; i <= STRATA_KEYWORDS_MAX; i++)
		keywords[i] = "keyword";
	attrs.keywords = keywords;
	attrs.nr_keywords = STRATA_KEYWORDS_MAX;
	cr_expect_eq(strata__attrs_check(&attrs), 0);
	attrs.nr_keywords = STRATA_KEYWORDS_MAX + 1;
	cr_expect_eq(strata__attrs_check(&attrs), STRATA_EINVAL);
	attrs.nr_keywords = 3;
	keywords[2] = "";
	cr_expect_eq(strata__attrs_check(&attrs), STRATA_EINVAL);
	cr_expect_str_eq(strata_last_error()->sentence,
			 "keyword: empty (keyword 3 of 3)");
	keywords[2] = "\x1b";
	cr_expect_eq(strata__attrs_check(&attrs), STRATA_EINVAL);
	keywords[2] = NULL;
	cr_expect_eq(strata__attrs_check(&attrs), STRATA_EINVAL);
}

/**** the blob ****/

Test(meta, no_attributes_make_an_empty_blob)
{
	struct strata_meta meta;
	unsigned char *blob;
	uint32_t size;

	blob = encode(NULL, 12, &size);
	cr_assert_eq(size, 17);
	cr_assert_eq(strata__meta_decode(blob, size, &meta), 0);
	cr_expect_str_eq(meta.name, "");
	cr_expect_eq(meta.created_ns, 12);
	cr_expect_eq(meta.nr_keywords, 0);
	free(blob);
}

Test(meta, what_was_encoded_is_decoded)
{
	const char *const keywords[] = {"alpha", "gr\xc3\xbcn", "x"};
	struct strata_attrs attrs = attrs_init();
	struct strata_meta meta;
	unsigned char *blob;
	uint32_t size;

	attrs.name = "premi\xc3\xa8re";
	attrs.keywords = keywords;
	attrs.nr_keywords = 3;
	attrs.created_ns = 99;
	blob = encode(&attrs, 12, &size);
	cr_assert_eq(size, 16 + 10 + 6 + 6 + 2);
	cr_assert_eq(strata__meta_decode(blob, size, &meta), 0);
	cr_expect_str_eq(meta.name, attrs.name);
	cr_expect_eq(meta.created_ns, 99);
	cr_assert_eq(meta.nr_keywords, 3);
	cr_expect_str_eq(meta.keywords[0], keywords[0]);
	cr_expect_str_eq(meta.keywords[1], keywords[1]);
	cr_expect_str_eq(meta.keywords[2], keywords[2]);
	free(blob);
}

Test(meta, the_largest_blob_has_the_size_that_is_promised)
{
	const char *keywords[STRATA_KEYWORDS_MAX];
	struct strata_attrs attrs = attrs_init();
	char text[STRATA_NAME_MAX + 1];
	struct strata_meta meta;
	unsigned char *blob;
	uint32_t size;
	size_t i;

	memset(text, 'x', STRATA_NAME_MAX);
	text[STRATA_NAME_MAX] = '\0';
	for (i = 0; i < STRATA_KEYWORDS_MAX; i++)
		keywords[i] = text;
	attrs.name = text;
	attrs.keywords = keywords;
	attrs.nr_keywords = STRATA_KEYWORDS_MAX;
	cr_assert_eq(strata__attrs_check(&attrs), 0);
	blob = encode(&attrs, 0, &size);
	cr_expect_eq(size, STRATA_META_SIZE_MAX);
	cr_expect_eq(strata__meta_decode(blob, size, &meta), 0);
	cr_expect_str_eq(meta.keywords[STRATA_KEYWORDS_MAX - 1], text);
	free(blob);
}

/* Only the time and characters may change; a blob that is accepted has all its
 * strings inside of it. Run under ASan to be of most use. */
Test(meta, no_mutation_of_a_blob_is_followed_outside)
{
	const char *const keywords[] = {"alpha", "gr\xc3\xbcn", "x"};
	struct strata_attrs attrs = attrs_init();
	struct strata_meta meta;
	unsigned char *blob;
	uint32_t size, at, i;
	unsigned value;

	attrs.name = "name";
	attrs.keywords = keywords;
	attrs.nr_keywords = 3;
	blob = encode(&attrs, 12, &size);
	for (at = 0; at < size; at++) {
		unsigned char old = blob[at];

		for (value = 0; value < 256; value++) {
			blob[at] = (unsigned char)value;
			if (strata__meta_decode(blob, size, &meta) != 0)
				continue;
			cr_assert(at < 8 || at >= 16 || value == old,
				  "field at %u accepted %u", at, value);
			cr_assert_eq(strlen(meta.name), 4);
			for (i = 0; i < meta.nr_keywords; i++)
				cr_assert_lt(
					(const unsigned char *)meta.keywords[i],
					blob + size);
		}
		blob[at] = old;
	}
	free(blob);
}

Test(meta, a_blob_of_another_size_is_refused)
{
	const char *const keywords[] = {"alpha"};
	struct strata_attrs attrs = attrs_init();
	struct strata_meta meta;
	unsigned char *blob, *cut;
	uint32_t size, n;

	attrs.keywords = keywords;
	attrs.nr_keywords = 1;
	blob = encode(&attrs, 12, &size);
	for (n = 0; n < size; n++) {
		cut = malloc(n + 1);
		memcpy(cut, blob, n);
		cr_expect_eq(strata__meta_decode(cut, n, &meta),
			     STRATA_ECORRUPT, "%u of %u bytes", n, size);
		/* Even if it says so itself. */
		if (n >= 16) {
			memcpy(cut + 12, &n, 4);
			cr_expect_eq(strata__meta_decode(cut, n, &meta),
				     STRATA_ECORRUPT, "%u of %u bytes", n,
				     size);
		}
		free(cut);
	}
	free(blob);
}
