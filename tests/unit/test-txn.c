/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Transactions: all of it in one instant, or none of it. */
#include <math.h>

#include "attached.h"

TestSuite(txn, .init = store_setup, .fini = store_teardown, .timeout = 120);

/**** commit and abort ****/

Test(txn, many_changes_become_visible_in_one_instant)
{
	struct strata_reader *reader = reader_open(store);
	struct strata_txn *txn = txn_begin();
	uint64_t before = stats_now().commits;

	put(4, 0, 'o', 10);
	for (uint32_t d = 1; d <= 3; d++)
		for (uint32_t l = 0; l < 100; l++)
			must(strata_put(txn, d, l, NULL, "12345", 5, 0));
	must(strata_remove(txn, 4, 0));
	must(strata_describe(txn, 5, "five", 0, 1));
	must(strata_read_lock(reader));
	cr_expect_eq(strata_reader_version(reader), 2, "nothing of it so far");
	must(strata_read_unlock(reader));
	cr_expect_eq(commit(txn), 3);
	cr_expect_eq(stats_now().commits, before + 2);
	cr_expect_eq(stats_now().nr_layers, 300);
	cr_expect_eq(stats_now().nr_dimensions, 5);
	cr_expect_eq(find_layer(4, 0), STRATA_ENOLAYER);
	must(strata_read_lock(reader));
	cr_expect_eq(strata_reader_version(reader), 3);
	must(strata_read_unlock(reader));
	expect_clean();
}

Test(txn, abort_drops_everything)
{
	struct strata_txn *txn = txn_begin();

	put(1, 0, 'a', 10);
	must(strata_put(txn, 1, 0, NULL, "b", 1, 0));
	must(strata_put(txn, 2, 0, NULL, "b", 1, 0));
	strata_txn_abort(txn);
	strata_txn_abort(NULL);
	cr_expect_eq(strata_version(store), 2);
	cr_expect(has(1, 0, 'a', 10));
	cr_expect_eq(find_layer(2, 0), STRATA_ENODIM);
	expect_clean();
}

Test(txn, an_empty_commit_makes_no_version)
{
	struct strata_txn *txn = txn_begin();
	uint64_t version = 0;

	put(1, 0, 'a', 10);
	must(strata_txn_commit(txn, &version));
	cr_expect_eq(version, 2);
	cr_expect_eq(strata_version(store), 2);
	must(strata_txn_commit(txn_begin(), NULL));
	expect_error(strata_txn_commit(NULL, NULL), STRATA_EINVAL,
		     "no transaction");
	expect_error(strata_txn_begin(store, NULL), STRATA_EINVAL,
		     "no place for it");
}

Test(txn, an_empty_commit_needs_its_store)
{
	struct strata_txn *txn = txn_begin();
	struct strata_store *former = store;

	must(strata_destroy(STORE));
	expect_error(strata_txn_commit(txn, NULL), STRATA_EGONE, "destroyed");
	strata_txn_abort(txn);
	must(strata_detach(former));
	must(strata_create(STORE, NULL));
	store = store_attach(STRATA_WRITE);
}

Test(txn, the_last_of_several_changes_counts)
{
	struct strata_txn *txn = txn_begin();

	must(strata_put(txn, 1, 0, NULL, "aaa", 3, 0));
	must(strata_put(txn, 1, 0, NULL, "bb", 2, 0));
	must(strata_put(txn, 1, 1, NULL, "cc", 2, 0));
	must(strata_remove(txn, 1, 1));
	must(strata_put(txn, 2, 0, NULL, "dd", 2, 0));
	must(strata_remove_dimension(txn, 2));
	must(strata_put(txn, 3, 0, NULL, "x", 1, 0));
	must(strata_remove_dimension(txn, 3));
	must(strata_put(txn, 3, 9, NULL, "ee", 2, 0));
	must(strata_replace(txn, 3, 9, NULL, "ff", 2, 0));
	commit(txn);
	cr_expect(has(1, 0, 'b', 2));
	cr_expect_eq(find_layer(1, 1), STRATA_ENOLAYER);
	cr_expect_eq(find_layer(2, 0), STRATA_ENODIM);
	cr_expect_eq(find_layer(3, 0), STRATA_ENOLAYER);
	cr_expect(has(3, 9, 'f', 2));
	expect_clean();
}

Test(txn, the_last_commit_wins)
{
	struct strata_txn *first = txn_begin(), *second = txn_begin();

	must(strata_put(first, 1, 0, NULL, "1", 1, 0));
	must(strata_put(second, 1, 0, NULL, "2", 1, 0));
	commit(second);
	commit(first);
	cr_expect(has(1, 0, '1', 1));
}

/**** failing ****/

Test(txn, a_failed_commit_leaves_it_open_and_the_store_as_it_was)
{
	struct strata_txn *txn = txn_begin();
	uint64_t version = 77;

	must(strata_put(txn, 1, 0, NULL, "new", 3, 0));
	must(strata_replace(txn, 1, 9, NULL, "nn", 2, 0));
	expect_error(strata_txn_commit(txn, &version), STRATA_ENOLAYER,
		     "dimension 1 has no layer 9");
	cr_expect_eq(strata_last_error()->dimension, 1);
	cr_expect_eq(strata_last_error()->layer, 9);
	cr_expect_eq(version, 77, "untouched");
	cr_expect_eq(strata_version(store), 1);
	cr_expect_eq(find_layer(1, 0), STRATA_ENODIM);
	expect_clean();
	put(1, 9, 'o', 50);
	cr_expect_eq(commit(txn), 3, "retried");
	cr_expect(has(1, 9, 'n', 2));
	cr_expect_eq(find_layer(1, 0), 0);
	expect_clean();
}

static void
expect_commit_fails(struct strata_txn *txn, int code, const char *words,
		    int64_t layer)
{
	uint64_t version = strata_version(store);

	expect_error(strata_txn_commit(txn, NULL), code, words);
	cr_expect_eq(strata_last_error()->dimension, 5);
	cr_expect_eq(strata_last_error()->layer, layer);
	cr_expect_eq(strata_version(store), version);
	strata_txn_abort(txn);
}

Test(txn, what_is_to_be_changed_must_exist)
{
	struct strata_txn *txn = txn_begin();

	must(strata_replace(txn, 5, 2, NULL, "x", 1, 0));
	expect_commit_fails(txn, STRATA_ENODIM, "no dimension 5", -1);
	txn = txn_begin();
	must(strata_remove(txn, 5, 2));
	expect_commit_fails(txn, STRATA_ENODIM, "no dimension 5", -1);
	txn = txn_begin();
	must(strata_remove_dimension(txn, 5));
	expect_commit_fails(txn, STRATA_ENODIM, "no dimension 5", -1);
	put(5, 70, 'a', 1);
	txn = txn_begin();
	must(strata_replace(txn, 5, 2, NULL, "x", 1, 0));
	expect_commit_fails(txn, STRATA_ENOLAYER, "no layer 2", 2);
	txn = txn_begin();
	must(strata_remove(txn, 5, 2));
	expect_commit_fails(txn, STRATA_ENOLAYER, "no layer 2", 2);
	expect_clean();
}

Test(txn, a_destroyed_store_takes_no_commit)
{
	struct strata_txn *txn = txn_begin();

	must(strata_put(txn, 1, 0, NULL, "x", 1, 0));
	must(strata_destroy(STORE));
	expect_error(strata_txn_commit(txn, NULL), STRATA_EGONE,
		     "store 'unit' was destroyed");
	strata_txn_abort(txn);
}

Test(txn, needs_a_store_that_is_attached_for_writing)
{
	struct strata_store *other = store_attach(STRATA_READ);
	struct strata_txn *txn = NULL;

	expect_error(strata_txn_begin(other, &txn), STRATA_EACCES,
		     "attach with STRATA_WRITE");
	expect_error(strata_txn_begin(NULL, &txn), STRATA_EINVAL, "no store");
	cr_expect_null(txn);
	must(strata_detach(other));
}

/**** arguments ****/

static int
put_attrs(const struct strata_attrs *attrs)
{
	struct strata_txn *txn = txn_begin();
	int code = strata_put(txn, 1, 0, attrs, "x", 1, 0);

	strata_txn_abort(txn);
	return code;
}

Test(txn, numbers_out_of_range_are_refused)
{
	struct strata_txn *txn = txn_begin();

	expect_error(strata_put(txn, 0, 0, NULL, "x", 1, 0), STRATA_EINVAL,
		     "0 is no dimension number: 1 to 262143");
	expect_error(strata_put(txn, STRATA_DIMENSION_MAX + 1, 0, NULL, "x", 1,
				0),
		     STRATA_EINVAL, "262144 is no dimension number");
	expect_error(strata_replace(txn, 1, STRATA_LAYER_MAX + 1, NULL, "x", 1,
				    0),
		     STRATA_EINVAL, "2147483648 is no layer number");
	expect_error(strata_remove(txn, 1, UINT32_MAX), STRATA_EINVAL, "layer");
	expect_error(strata_remove_dimension(txn, 0), STRATA_EINVAL, "dim");
	expect_error(strata_append(txn, 0, NULL, "x", 1, 0, NULL),
		     STRATA_EINVAL, "dimension");
	expect_error(strata_describe(txn, 0, "", 0, 0), STRATA_EINVAL, "dim");
	expect_error(strata_put(NULL, 1, 0, NULL, "x", 1, 0), STRATA_EINVAL,
		     "no transaction");
	expect_error(strata_put(txn, 1, 0, NULL, NULL, 1, 0), STRATA_EINVAL,
		     "no data");
	expect_error(strata_put(txn, 1, 0, NULL, "x", 1, 1u << 5),
		     STRATA_EINVAL, "unknown flags");
	cr_expect_eq(commit(txn), 1, "nothing was staged");
}

Test(txn, attributes_out_of_range_are_refused)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	const char *keywords[STRATA_KEYWORDS_MAX + 1];
	char name[STRATA_NAME_MAX + 2];

	attrs.frequency = -1;
	expect_error(put_attrs(&attrs), STRATA_EINVAL, "");
	attrs.frequency = NAN;
	expect_error(put_attrs(&attrs), STRATA_EINVAL, "");
	attrs.frequency = INFINITY;
	expect_error(put_attrs(&attrs), STRATA_EINVAL, "");
	attrs.frequency = 1;
	attrs.parent = -2;
	expect_error(put_attrs(&attrs), STRATA_EINVAL, "");
	attrs.parent = -1;
	attrs.flags = STRATA_ENTRY_REGION;
	expect_error(put_attrs(&attrs), STRATA_EINVAL, "");
	attrs.flags = 0;
	memset(name, 'n', sizeof(name) - 1);
	name[STRATA_NAME_MAX + 1] = '\0';
	attrs.name = name;
	expect_error(put_attrs(&attrs), STRATA_EINVAL, "");
	name[STRATA_NAME_MAX] = '\0';
	must(put_attrs(&attrs));
	attrs.name = "\xff";
	expect_error(put_attrs(&attrs), STRATA_EINVAL, "");
	attrs.name = NULL;
	for (int i = 0; i <= STRATA_KEYWORDS_MAX; i++)
		keywords[i] = name;
	attrs.keywords = keywords;
	attrs.nr_keywords = STRATA_KEYWORDS_MAX + 1;
	expect_error(put_attrs(&attrs), STRATA_EINVAL, "");
	attrs.nr_keywords = STRATA_KEYWORDS_MAX;
	must(put_attrs(&attrs));
}

Test(txn, the_longest_metadata_are_kept)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	const char *keywords[STRATA_KEYWORDS_MAX];
	struct strata_reader *reader = reader_open(store);
	struct strata_txn *txn = txn_begin();
	const struct strata_entry *entry;
	char name[STRATA_NAME_MAX + 1];
	struct strata_meta meta;

	memset(name, 'n', sizeof(name) - 1);
	name[STRATA_NAME_MAX] = '\0';
	for (int i = 0; i < STRATA_KEYWORDS_MAX; i++)
		keywords[i] = name;
	attrs.name = name;
	attrs.keywords = keywords;
	attrs.nr_keywords = STRATA_KEYWORDS_MAX;
	must(strata_put(txn, 1, 0, &attrs, "x", 1, 0));
	commit(txn);
	must(strata_read_lock(reader));
	must(strata_find(reader, 1, 0, &entry));
	must(strata_meta(reader, entry, &meta));
	cr_expect_str_eq(meta.name, name);
	cr_assert_eq(meta.nr_keywords, STRATA_KEYWORDS_MAX);
	cr_expect_str_eq(meta.keywords[STRATA_KEYWORDS_MAX - 1], name);
	cr_expect_gt(meta.created_ns, 0);
	must(strata_read_unlock(reader));
	expect_clean();
}

Test(txn, the_ends_of_the_ranges_can_be_used)
{
	put(STRATA_DIMENSION_MAX, STRATA_LAYER_MAX, 'z', 100);
	put(STRATA_DIMENSION_MAX, 0, 'a', 100);
	put(1, STRATA_LAYER_MAX, 'y', 100);
	cr_expect(has(STRATA_DIMENSION_MAX, STRATA_LAYER_MAX, 'z', 100));
	cr_expect(has(STRATA_DIMENSION_MAX, 0, 'a', 100));
	cr_expect(has(1, STRATA_LAYER_MAX, 'y', 100));
	expect_clean();
	remove_layer(STRATA_DIMENSION_MAX, STRATA_LAYER_MAX);
	cr_expect_eq(find_layer(STRATA_DIMENSION_MAX, STRATA_LAYER_MAX),
		     STRATA_ENOLAYER);
	cr_expect(has(STRATA_DIMENSION_MAX, 0, 'a', 100));
	expect_clean();
}

Test(txn, a_layer_may_be_empty)
{
	struct strata_txn *txn = txn_begin();

	must(strata_put(txn, 1, 0, NULL, NULL, 0, 0));
	must(strata_put(txn, 1, 1, NULL, "ignored", 0, STRATA_PUT_BORROW));
	commit(txn);
	cr_expect(has(1, 0, 0, 0));
	cr_expect(has(1, 1, 0, 0));
	must(strata_crystallize(store, 1));
	cr_expect(has(1, 0, 0, 0));
	expect_clean();
}

/**** contents ****/

Test(txn, copies_unless_it_may_borrow)
{
	struct strata_txn *txn = txn_begin();
	char copied[8] = "before", borrowed[8] = "before";

	must(strata_put(txn, 1, 0, NULL, copied, 6, STRATA_PUT_COPY));
	must(strata_put(txn, 1, 1, NULL, borrowed, 6, STRATA_PUT_BORROW));
	memset(copied, 'x', 6);
	memset(borrowed, 'x', 6);
	commit(txn);
	cr_expect_not(has(1, 0, 'x', 6), "the copy is as it was");
	cr_expect(has(1, 1, 'x', 6), "what was borrowed is as it is");
}

Test(txn, contents_of_all_sizes_come_back)
{
	static const size_t sizes[] = {1,     7,      8,      4095,   4096,
				       4097,  16384,  16704,  16705,  65536,
				       65856, 262144, 262465, 600000, 1};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		put(1, i, (char)('a' + i), sizes[i]);
		cr_expect(has(1, i, (char)('a' + i), sizes[i]), "%zu",
			  sizes[i]);
	}
	expect_clean();
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		cr_expect(has(1, i, (char)('a' + i), sizes[i]), "%zu",
			  sizes[i]);
}

/**** append ****/

Test(txn, append_takes_the_number_after_the_last)
{
	uint32_t first = 99, second = 99, third = 99;
	struct strata_txn *txn = txn_begin();

	must(strata_append(txn, 1, NULL, "a", 1, 0, &first));
	cr_expect_eq(first, 99, "decided at the commit");
	commit(txn);
	cr_expect_eq(first, 0);
	put(1, 200, 'b', 1);
	txn = txn_begin();
	must(strata_append(txn, 1, NULL, "c", 1, 0, &second));
	must(strata_append(txn, 1, NULL, "d", 1, 0, NULL));
	must(strata_append(txn, 1, NULL, "e", 1, 0, &third));
	commit(txn);
	cr_expect_eq(second, 201);
	cr_expect_eq(third, 203);
	cr_expect(has(1, 202, 'd', 1));
}

Test(txn, nothing_is_appended_after_the_last_possible_layer)
{
	struct strata_txn *txn = txn_begin();
	uint32_t layer = 99;

	put(1, STRATA_LAYER_MAX, 'z', 1);
	must(strata_append(txn, 1, NULL, "a", 1, 0, &layer));
	expect_error(strata_txn_commit(txn, NULL), STRATA_EINVAL,
		     "nothing can be appended");
	cr_expect_eq(strata_last_error()->layer, STRATA_LAYER_MAX);
	cr_expect_eq(layer, 99);
	strata_txn_abort(txn);
}

/**** replace ****/

static struct strata_attrs
some_attrs(void)
{
	static const char *const keywords[] = {"one", "two"};
	struct strata_attrs attrs = STRATA_ATTRS_INIT;

	attrs.frequency = 7.5;
	attrs.depth = 3;
	attrs.parent = 1;
	attrs.flags = STRATA_ENTRY_SIMULATED;
	attrs.name = "kept";
	attrs.keywords = keywords;
	attrs.nr_keywords = 2;
	attrs.created_ns = 42;
	return attrs;
}

static void
expect_attrs_kept(void)
{
	struct strata_reader *reader = reader_open(store);
	const struct strata_entry *entry;
	struct strata_meta meta;

	must(strata_read_lock(reader));
	must(strata_find(reader, 1, 0, &entry));
	cr_expect(reads(reader, 1, 0, 'n', 4));
	cr_expect_eq(entry->frequency, 7.5);
	cr_expect_eq(entry->depth, 3);
	cr_expect_eq(entry->parent, 1);
	cr_expect_eq(entry->flags,
		     STRATA_ENTRY_PRESENT | STRATA_ENTRY_SIMULATED);
	must(strata_meta(reader, entry, &meta));
	cr_expect_str_eq(meta.name, "kept");
	cr_expect_eq(meta.created_ns, 42);
	cr_expect_eq(meta.nr_keywords, 2);
	must(strata_read_unlock(reader));
}

static void
replace(const struct strata_attrs *attrs)
{
	struct strata_txn *txn = txn_begin();

	must(strata_replace(txn, 1, 0, attrs, "nnnn", 4, 0));
	commit(txn);
}

Test(txn, replace_keeps_the_attributes_unless_it_says_others)
{
	const struct strata_attrs attrs = some_attrs();
	struct strata_attrs others = STRATA_ATTRS_INIT;
	struct strata_txn *txn = txn_begin();
	struct strata_reader *reader = reader_open(store);
	const struct strata_entry *entry;

	must(strata_put(txn, 1, 0, &attrs, "old", 3, 0));
	commit(txn);
	replace(NULL);
	expect_attrs_kept();
	others.frequency = 1;
	replace(&others);
	must(strata_read_lock(reader));
	must(strata_find(reader, 1, 0, &entry));
	cr_expect_eq(entry->frequency, 1);
	cr_expect_eq(entry->parent, -1);
	cr_expect_eq(entry->flags, STRATA_ENTRY_PRESENT);
	must(strata_read_unlock(reader));
	expect_clean();
}

Test(txn, replace_keeps_the_attributes_of_a_layer_in_a_region)
{
	const struct strata_attrs attrs = some_attrs();
	struct strata_txn *txn = txn_begin();

	must(strata_put(txn, 1, 0, &attrs, "old", 3, 0));
	must(strata_put(txn, 1, 1, NULL, "other", 5, 0));
	commit(txn);
	must(strata_crystallize(store, 1));
	/* Another handle has not mapped the region yet. */
	must(strata_detach(store));
	store = store_attach(STRATA_WRITE);
	replace(NULL);
	expect_attrs_kept();
	expect_clean();
}

/**** describe ****/

Test(txn, describe_says_name_and_range)
{
	char name[STRATA_DIMENSION_NAME_MAX + 2];
	struct strata_dimension dimension;
	struct strata_txn *txn = txn_begin();

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	expect_error(strata_describe(txn, 1, name, 0, 1), STRATA_EINVAL,
		     "name");
	name[STRATA_DIMENSION_NAME_MAX] = '\0';
	expect_error(strata_describe(txn, 1, name, 2, 1), STRATA_EINVAL,
		     "2 to 1 Hz is no frequency range");
	expect_error(strata_describe(txn, 1, name, NAN, 1), STRATA_EINVAL, "");
	expect_error(strata_describe(txn, 1, name, 0, INFINITY), STRATA_EINVAL,
		     "");
	expect_error(strata_describe(txn, 1, name, -2, -1), STRATA_EINVAL, "");
	expect_error(strata_describe(txn, 1, "\x80", 0, 1), STRATA_EINVAL, "");
	must(strata_describe(txn, 1, name, 0.5, 1));
	commit(txn);
	must(find_dimension(1, &dimension));
	cr_expect_str_eq(dimension.name, name);
	cr_expect_eq(dimension.frequency_min, 0.5);
	cr_expect_eq(dimension.frequency_max, 1);
	cr_expect_eq(dimension.nr_layers, 0);
	expect_clean();
}

/**** immutable dimensions ****/

static void
load_immutable(void)
{
	struct strata_file_info info;

	memset(&info, 0, sizeof(info));
	info.dimension = 5;
	info.immutable = 1;
	file_make(file_path("file"), &info, 3, 100);
	must(strata_load(store, file_path("file"), NULL));
}

Test(txn, an_immutable_dimension_is_not_changed)
{
	struct strata_dimension dimension;
	struct strata_txn *txn = NULL;

	load_immutable();
	for (int kind = 0; kind < 6; kind++) {
		txn = txn_begin();
		if (kind == 0)
			must(strata_put(txn, 5, 0, NULL, "x", 1, 0));
		if (kind == 1)
			must(strata_replace(txn, 5, 0, NULL, "x", 1, 0));
		if (kind == 2)
			must(strata_append(txn, 5, NULL, "x", 1, 0, NULL));
		if (kind == 3)
			must(strata_remove(txn, 5, 0));
		if (kind == 4)
			must(strata_remove_dimension(txn, 5));
		if (kind == 5)
			must(strata_describe(txn, 5, "x", 0, 1));
		expect_commit_fails(txn, STRATA_EIMMUTABLE,
				    "dimension 5 is immutable", -1);
	}
	must(find_dimension(5, &dimension));
	cr_expect(dimension.immutable);
	cr_expect_eq(dimension.nr_layers, 3);
	expect_clean();
}

/**** want of room ****/

Test(txn, what_could_never_fit_is_refused_when_it_is_staged)
{
	struct strata_txn *txn = txn_begin();
	uint64_t most = strata__pool_max_content(&store->space);

	expect_error(strata_put(txn, 1, 0, NULL, "", most + 1,
				STRATA_PUT_BORROW),
		     STRATA_ETOOBIG, "hold at most");
	cr_expect_eq(strata_last_error()->requested, most + 1);
	strata_txn_abort(txn);
}

Test(txn, more_than_the_store_can_hold_is_not_staged)
{
	struct strata_config config = store_config(8 * MIB);
	struct strata_txn *txn;
	char *data = calloc(1, MIB);
	int code = 0, nr = 0;

	config.max_limit = 8 * MIB;
	store_again(&config);
	txn = txn_begin();
	while (code == 0 && nr < 100) {
		code = strata_put(txn, 1, (uint32_t)nr, NULL, data, MIB, 0);
		nr += code == 0;
	}
	cr_expect_eq(code, STRATA_ENOMEM);
	cr_expect_geq(nr, 8);
	cr_expect_leq(nr, 16);
	cr_expect_eq(strata_last_error()->requested, MIB);
	strata_txn_abort(txn);
	free(data);
}

static struct strata_config
few_large_blocks(void)
{
	struct strata_config config = store_config(16 * MIB);

	config.max_limit = 16 * MIB;
	config.nr_pools = 2;
	config.pools[0].block_size = 4 * KIB;
	config.pools[0].max_size = 2 * MIB;
	config.pools[1].block_size = 16 * KIB;
	config.pools[1].max_size = 4 * (16 * KIB + STRATA_BLOCK_SLACK);
	return config;
}

Test(txn, a_class_that_is_full_is_told_with_numbers)
{
	const struct strata_config config = few_large_blocks();
	struct strata_stats stats;
	struct strata_txn *txn;
	char data[10000] = "";

	store_again(&config);
	for (uint32_t i = 0; i < 4; i++)
		put(1, i, 'a', sizeof(data));
	txn = txn_begin();
	must(strata_put(txn, 1, 7, NULL, data, sizeof(data), 0));
	expect_error(strata_txn_commit(txn, NULL), STRATA_ECLASS, "16");
	cr_expect_eq(strata_last_error()->dimension, 1);
	cr_expect_eq(strata_last_error()->layer, 7);
	cr_expect_geq(strata_last_error()->requested, sizeof(data));
	cr_expect_eq(strata_last_error()->limit, 16 * MIB);
	cr_expect_gt(strata_last_error()->used, 0);
	cr_expect_gt(strata_last_error()->reserved,
		     strata_last_error()->used);
	stats = stats_now();
	/* Once more after a reclaim, which freed nodes only. */
	cr_expect_eq(stats.failures_class, 2);
	cr_expect_eq(stats.pools[1].failed, 2);
	cr_expect_eq(stats.pools[1].live_blocks, 4);
	expect_clean();
	remove_layer(1, 0);
	commit(txn);
	cr_expect_eq(find_layer(1, 7), 0, "retired blocks were reclaimed");
	expect_clean();
}

Test(txn, a_full_class_names_the_reader_that_retains_most)
{
	const struct strata_config config = few_large_blocks();
	struct strata_reader *reader;
	struct strata_txn *txn;
	char data[10000] = "", words[64];

	store_again(&config);
	for (uint32_t i = 0; i < 4; i++)
		put(1, i, 'a', sizeof(data));
	reader = reader_open(store);
	must(strata_read_lock(reader));
	remove_layer(1, 0);
	txn = txn_begin();
	must(strata_put(txn, 1, 7, NULL, data, sizeof(data), 0));
	snprintf(words, sizeof(words), "; reader %d ('", (int)getpid());
	expect_error(strata_txn_commit(txn, NULL), STRATA_ECLASS, words);
	cr_expect_not_null(strstr(strata_last_error()->sentence,
				  "retains most"));
	cr_expect(reads(reader, 1, 0, 'a', sizeof(data)));
	must(strata_read_unlock(reader));
	commit(txn);
	expect_clean();
}

Test(txn, small_contents_spill_into_larger_classes)
{
	struct strata_config config = few_large_blocks();
	struct strata_txn *txn;
	struct strata_stats stats;
	char data[3000];

	/* A little more than the least. */
	config.pools[0].max_size = 2 * STRATA_NODE_RESERVE * (4 * KIB + 512);
	config.pools[1].max_size = MIB;
	store_again(&config);
	txn = txn_begin();
	memset(data, 's', sizeof(data));
	for (uint32_t i = 0; i < 100; i++)
		must(strata_put(txn, 1 + i / 50, i % 50, NULL, data,
				sizeof(data), 0));
	commit(txn);
	stats = stats_now();
	cr_expect_gt(stats.pools[1].live_blocks, 0);
	cr_expect_eq(stats.pools[0].spilled, stats.pools[1].live_blocks);
	cr_expect_geq(stats.pools[0].free_blocks, STRATA_NODE_RESERVE,
		      "what removals need is not given to contents");
	for (uint32_t i = 0; i < 100; i++)
		cr_expect(has(1 + i / 50, i % 50, 's', sizeof(data)));
	expect_clean();
	for (uint32_t i = 0; i < 100; i++)
		remove_layer(1 + i / 50, i % 50);
	expect_clean();
}

/* Pools that may all take the whole limit. */
static struct strata_config
whole_limit(void)
{
	struct strata_config config = store_config(8 * MIB);

	config.max_limit = 8 * MIB;
	config.nr_pools = 2;
	config.pools[0].block_size = 4 * KIB;
	config.pools[0].max_size = 8 * MIB;
	config.pools[1].block_size = 64 * KIB;
	config.pools[1].max_size = 8 * MIB;
	return config;
}

static int
put_one(uint32_t layer, size_t size)
{
	struct strata_txn *txn = txn_begin();
	char *data = calloc(1, size);
	int code;

	must(strata_put(txn, 1, layer, NULL, data, size, STRATA_PUT_BORROW));
	code = strata_txn_commit(txn, NULL);
	if (code != 0)
		strata_txn_abort(txn);
	free(data);
	return code;
}

Test(txn, new_protos_end_at_95_per_cent_and_removals_do_not)
{
	const struct strata_config config = whole_limit();
	struct strata_stats stats;
	uint32_t nr = 0;
	int code;

	store_again(&config);
	while ((code = put_one(nr, 60000)) == 0)
		nr++;
	cr_assert_eq(code, STRATA_ELIMIT);
	cr_expect_eq(strata_last_error()->limit, 8 * MIB);
	cr_expect_geq(strata_last_error()->requested, 60000);
	cr_expect_eq(strata_last_error()->layer, nr);
	while ((code = put_one(nr, 3000)) == 0)
		nr++;
	cr_assert_eq(code, STRATA_ELIMIT);
	cr_expect_not_null(strstr(strata_last_error()->sentence,
				  "more than 95 % full"));
	cr_expect_eq(strata_last_error()->limit, 8 * MIB);
	cr_expect_geq(strata_last_error()->requested, 3000);
	cr_expect_eq(strata_last_error()->layer, nr);
	stats = stats_now();
	cr_expect_gt(stats.failures_limit, 0);
	cr_expect_leq(stats.reserved, stats.limit);
	cr_expect_eq(stats.pressure, STRATA_PRESSURE_HIGH, "not above 95 %%");
	expect_clean();
	for (uint32_t i = 0; i < nr; i++)
		remove_layer(1, i);
	cr_expect_eq(stats_now().nr_layers, 0);
	must(put_one(0, 60000));
	expect_clean();
}

Test(txn, one_transaction_that_is_too_large_leaves_nothing)
{
	const struct strata_config config = whole_limit();
	struct strata_stats before, after;
	struct strata_txn *txn;
	char *data = calloc(1, 60000);

	store_again(&config);
	before = stats_now();
	txn = txn_begin();
	for (uint32_t i = 0; i < 130; i++)
		must(strata_put(txn, 1, i, NULL, data, 60000,
				STRATA_PUT_BORROW));
	expect_error(strata_txn_commit(txn, NULL), STRATA_ELIMIT,
		     "store's limit of 8388608");
	after = stats_now();
	cr_expect_eq(after.version, before.version);
	cr_expect_eq(after.used, before.used);
	expect_clean();
	strata_txn_abort(txn);
	free(data);
}

Test(txn, many_commits_leave_no_trace)
{
	for (int i = 0; i < 3000; i++)
		put(1 + i % 3, (uint32_t)i % 7, (char)i, 1 + i * 37 % 30000);
	for (uint32_t d = 1; d <= 3; d++) {
		struct strata_txn *txn = txn_begin();

		must(strata_remove_dimension(txn, d));
		commit(txn);
	}
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().content_bytes, 0);
	cr_expect_eq(stats_now().retired, 0);
	expect_clean();
}
