/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The read path: one version of the store, whatever writers do. */
#include <math.h>
#include <sys/resource.h>
#include <unistd.h>

#include "attached.h"

static struct strata_reader *reader;

static void
setup(void)
{
	store_setup();
	reader = reader_open(store);
}

TestSuite(reader, .init = setup, .fini = store_teardown, .timeout = 60);

/**** sections ****/

Test(reader, nested_sections_read_one_version)
{
	put(1, 0, 'a', 100);
	cr_expect_eq(strata_reader_version(reader), 0);
	must(strata_read_lock(reader));
	cr_expect_eq(strata_reader_version(reader), 2);
	must(strata_read_lock(reader));
	put(1, 0, 'b', 100);
	cr_expect_eq(strata_reader_version(reader), 2);
	must(strata_read_unlock(reader));
	cr_expect(reads(reader, 1, 0, 'a', 100), "still inside");
	must(strata_read_unlock(reader));
	cr_expect_eq(strata_reader_version(reader), 0);
	must(strata_read_lock(reader));
	cr_expect_eq(strata_reader_version(reader), 3);
	cr_expect(reads(reader, 1, 0, 'b', 100));
	must(strata_read_unlock(reader));
}

Test(reader, unlock_outside_is_refused)
{
	expect_error(strata_read_unlock(reader), STRATA_EINVAL,
		     "outside of a section");
	expect_error(strata_read_unlock(NULL), STRATA_EINVAL, "outside");
	expect_error(strata_read_lock(NULL), STRATA_EINVAL, "no reader");
	cr_expect_eq(strata_reader_version(NULL), 0);
	must(strata_read_lock(reader));
	must(strata_read_unlock(reader));
	expect_error(strata_read_unlock(reader), STRATA_EINVAL, "outside");
}

Test(reader, nothing_is_found_outside_of_a_section)
{
	const struct strata_entry *entry = NULL;
	struct strata_dimension dimension;
	struct strata_meta meta;

	put(1, 0, 'a', 10);
	must(strata_read_lock(reader));
	must(strata_find(reader, 1, 0, &entry));
	must(strata_read_unlock(reader));
	expect_error(strata_find(reader, 1, 0, &entry), STRATA_EINVAL,
		     "outside of a read section");
	expect_error(strata_find(NULL, 1, 0, &entry), STRATA_EINVAL, "outside");
	expect_error(strata_meta(reader, entry, &meta), STRATA_EINVAL,
		     "outside");
	expect_error(strata_meta(NULL, entry, &meta), STRATA_EINVAL, "outside");
	expect_error(strata_dimension_get(reader, 1, &dimension),
		     STRATA_EINVAL, "outside");
	expect_error(strata_foreach_layer(reader, 1, NULL, NULL),
		     STRATA_EINVAL, "outside");
	expect_error(strata_foreach_dimension(reader, NULL, NULL),
		     STRATA_EINVAL, "outside");
}

/**** finding ****/

Test(reader, finds_what_was_put)
{
	static const char *const keywords[] = {"green", "blue"};
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	struct strata_txn *txn = txn_begin();
	const struct strata_entry *entry;
	struct strata_meta meta;

	attrs.frequency = 432.5;
	attrs.depth = 3;
	attrs.parent = 7;
	attrs.flags = STRATA_ENTRY_SIMULATED;
	attrs.name = "the name";
	attrs.keywords = keywords;
	attrs.nr_keywords = 2;
	attrs.created_ns = 12345;
	must(strata_put(txn, 9, 8, &attrs, "content", 7, 0));
	commit(txn);
	must(strata_read_lock(reader));
	must(strata_find(reader, 9, 8, &entry));
	cr_expect_eq(entry->size, 7);
	cr_expect_eq(entry->frequency, 432.5);
	cr_expect_eq(entry->depth, 3);
	cr_expect_eq(entry->parent, 7);
	cr_expect_eq(entry->flags,
		     STRATA_ENTRY_PRESENT | STRATA_ENTRY_SIMULATED);
	cr_expect_eq(entry->version, 2);
	cr_expect_eq(entry->checksum, 0, "a proto has none");
	cr_expect_arr_eq(strata_data(reader, entry), "content", 7);
	cr_expect_eq((uintptr_t)strata_data(reader, entry) % 64, 0);
	must(strata_meta(reader, entry, &meta));
	cr_expect_str_eq(meta.name, "the name");
	cr_expect_eq(meta.created_ns, 12345);
	cr_assert_eq(meta.nr_keywords, 2);
	cr_expect_str_eq(meta.keywords[0], "green");
	cr_expect_str_eq(meta.keywords[1], "blue");
	must(strata_read_unlock(reader));
}

Test(reader, no_such_is_an_answer)
{
	const struct strata_entry *entry = NULL;
	const struct strata_error_info *error = strata_last_error();
	struct strata_dimension dimension;

	put(1, 5, 'a', 10);
	put(2, 100, 'a', 10);
	must(strata_read_lock(reader));
	expect_error(strata_find(reader, 0, 0, &entry), STRATA_EINVAL,
		     "dimensions are 1 to 262143");
	cr_expect_eq(strata_find(reader, 3, 0, &entry), STRATA_ENODIM);
	cr_expect_eq(strata_find(reader, 5000, 0, &entry), STRATA_ENODIM);
	cr_expect_eq(strata_find(reader, 1, 4, &entry), STRATA_ENOLAYER);
	cr_expect_eq(strata_find(reader, 1, 60, &entry), STRATA_ENOLAYER);
	cr_expect_eq(strata_find(reader, 2, 5, &entry), STRATA_ENOLAYER);
	cr_expect_eq(strata_find(reader, 2, 99, &entry), STRATA_ENOLAYER);
	cr_expect_eq(strata_find(reader, 2, STRATA_LAYER_MAX, &entry),
		     STRATA_ENOLAYER);
	cr_expect_eq(strata_dimension_get(reader, 3, &dimension),
		     STRATA_ENODIM);
	cr_expect_eq(strata_foreach_layer(reader, 3, NULL, NULL),
		     STRATA_ENODIM);
	cr_expect_eq(error->code, STRATA_EINVAL, "no details of answers");
	cr_expect_null(entry);
	expect_error(strata_find(reader, STRATA_DIMENSION_MAX + 1, 0, &entry),
		     STRATA_EINVAL, "layers 0 to 2147483647");
	expect_error(strata_find(reader, 1, STRATA_LAYER_MAX + 1, &entry),
		     STRATA_EINVAL, "layers");
	expect_error(strata_dimension_get(reader, 0, &dimension),
		     STRATA_EINVAL, "dimensions");
	must(strata_read_unlock(reader));
}

/* Places (below 48) and entries of leaves (above), contents of regions too. */
Test(reader, contents_alone)
{
	static const uint32_t layers[] = {0, 47, 48, 100};
	const struct strata_entry *entry;
	const void *data = NULL;
	size_t size = 1, i;

	cr_expect_null(strata_get(reader, 1, 0, &size));
	expect_error(STRATA_EINVAL, STRATA_EINVAL, "outside");
	put(1, 0, 'a', 10);
	put(1, 47, 'b', 20);
	must(strata_read_lock(reader));
	data = strata_get(reader, 1, 47, &size);
	cr_expect_eq(size, 20);
	cr_expect_eq(*(const char *)data, 'b');
	must(strata_read_unlock(reader));
	put(1, 48, 'c', 30);
	put(1, 100, 'd', 40);
	put(2, 3, 'e', 0);
	must(strata_read_lock(reader));
	for (i = 0; i < 4; i++) {
		must(strata_find(reader, 1, layers[i], &entry));
		data = strata_get(reader, 1, layers[i], &size);
		cr_expect_eq(data, strata_data(reader, entry));
		cr_expect_eq(size, entry->size);
		cr_expect_eq(*(const char *)data, "abcd"[i]);
	}
	cr_expect_not_null(strata_get(reader, 2, 3, &size));
	cr_expect_eq(size, 0);
	size = 77;
	cr_expect_null(strata_get(reader, 3, 0, &size));
	cr_expect_null(strata_get(reader, 2, 4, &size));
	cr_expect_null(strata_get(reader, 2, 48, &size));
	cr_expect_null(strata_get(reader, 0, 0, &size));
	expect_error(STRATA_EINVAL, STRATA_EINVAL, "dimensions are 1");
	cr_expect_null(strata_get(NULL, 1, 0, &size));
	cr_expect_eq(size, 77);
	must(strata_read_unlock(reader));
}

static int
see_none(const struct strata_dimension *dimension, void *arg)
{
	(void)dimension;
	(void)arg;
	return 1;
}

Test(reader, an_empty_store_has_nothing)
{
	const struct strata_entry *entry;

	must(strata_read_lock(reader));
	cr_expect_eq(strata_reader_version(reader), 1);
	cr_expect_eq(strata_find(reader, 1, 0, &entry), STRATA_ENODIM);
	must(strata_foreach_dimension(reader, see_none, NULL));
	expect_error(strata_foreach_dimension(reader, NULL, NULL),
		     STRATA_EINVAL, "no function");
	must(strata_read_unlock(reader));
}

Test(reader, damaged_metadata_are_told)
{
	const struct strata_entry *entry;
	struct strata_meta meta;

	put(1, 0, 'a', 10);
	must(strata_read_lock(reader));
	must(strata_find(reader, 1, 0, &entry));
	memset(strata__at(&store->space, entry->meta), 0xff, entry->meta_size);
	expect_error(strata_meta(reader, entry, &meta), STRATA_ECORRUPT, "");
	expect_error(strata_meta(reader, NULL, &meta), STRATA_EINVAL, "");
	must(strata_read_unlock(reader));
}

/**** dimensions and walks ****/

Test(reader, tells_of_a_dimension_what_its_layers_are)
{
	struct strata_dimension dimension;
	struct strata_txn *txn;

	put(7, 1, 'a', 1000);
	put(7, 2, 'b', 500);
	txn = txn_begin();
	must(strata_describe(txn, 7, "seven", 1, 20));
	commit(txn);
	must(find_dimension(7, &dimension));
	cr_expect_eq(dimension.id, 7);
	cr_expect_str_eq(dimension.name, "seven");
	cr_expect_eq(dimension.frequency_min, 1);
	cr_expect_eq(dimension.frequency_max, 20);
	cr_expect_eq(dimension.nr_layers, 2);
	cr_expect_eq(dimension.nr_protos, 2);
	cr_expect_eq(dimension.content_bytes, 1500);
	cr_expect_eq(dimension.region_bytes, 0);
	cr_expect_eq(dimension.version, 4);
	cr_expect_eq(dimension.state, STRATA_DIMENSION_PROTO);
	cr_expect_eq(dimension.immutable, 0);
	must(strata_crystallize(store, 7));
	must(find_dimension(7, &dimension));
	cr_expect_eq(dimension.state, STRATA_DIMENSION_CRYSTALLIZED);
	cr_expect_eq(dimension.nr_protos, 0);
	cr_expect_gt(dimension.region_bytes, 1500);
	cr_expect_str_eq(dimension.name, "seven");
	put(7, 3, 'c', 1);
	must(find_dimension(7, &dimension));
	cr_expect_eq(dimension.state, STRATA_DIMENSION_HYBRID);
	cr_expect_eq(dimension.nr_protos, 1);
	cr_expect_eq(dimension.nr_layers, 3);
}

struct walk {
	unsigned nr, end;
	uint32_t ids[8];
};

static int
see_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct walk *walk = arg;

	cr_expect_eq(entry->size, 10);
	walk->ids[walk->nr++] = layer;
	return walk->nr == walk->end ? 42 : 0;
}

static int
see_dimension(const struct strata_dimension *dimension, void *arg)
{
	struct walk *walk = arg;

	walk->ids[walk->nr++] = dimension->id;
	return walk->nr == walk->end ? -42 : 0;
}

Test(reader, walks_layers_in_the_order_of_numbers)
{
	struct walk walk = {0, 0, {0}}, short_walk = {0, 2, {0}};

	put(1, 70000, 'a', 10);
	put(1, 3, 'a', 10);
	put(1, STRATA_LAYER_MAX, 'a', 10);
	put(1, 64, 'a', 10);
	must(strata_read_lock(reader));
	must(strata_foreach_layer(reader, 1, see_layer, &walk));
	cr_assert_eq(walk.nr, 4);
	cr_expect_eq(walk.ids[0], 3);
	cr_expect_eq(walk.ids[1], 64);
	cr_expect_eq(walk.ids[2], 70000);
	cr_expect_eq(walk.ids[3], STRATA_LAYER_MAX);
	cr_expect_eq(strata_foreach_layer(reader, 1, see_layer, &short_walk),
		     42);
	cr_expect_eq(short_walk.nr, 2);
	must(strata_read_unlock(reader));
}

Test(reader, walks_dimensions_in_the_order_of_numbers)
{
	struct walk walk = {0, 0, {0}}, short_walk = {0, 1, {0}};

	put(STRATA_DIMENSION_MAX, 0, 'a', 10);
	put(511, 0, 'a', 10);
	put(512, 0, 'a', 10);
	put(1, 0, 'a', 10);
	must(strata_read_lock(reader));
	must(strata_foreach_dimension(reader, see_dimension, &walk));
	cr_assert_eq(walk.nr, 4);
	cr_expect_eq(walk.ids[0], 1);
	cr_expect_eq(walk.ids[1], 511);
	cr_expect_eq(walk.ids[2], 512);
	cr_expect_eq(walk.ids[3], STRATA_DIMENSION_MAX);
	cr_expect_eq(strata_foreach_dimension(reader, see_dimension,
					      &short_walk),
		     -42);
	must(strata_read_unlock(reader));
}

/**** isolation ****/

Test(reader, a_section_keeps_its_contents_while_writers_replace)
{
	const struct strata_entry *entry;
	const void *data;

	put(1, 0, '0', 20000);
	must(strata_read_lock(reader));
	must(strata_find(reader, 1, 0, &entry));
	data = strata_data(reader, entry);
	for (int i = 0; i < 1000; i++)
		put(1, 0, (char)('a' + i % 26), 20000);
	cr_expect(is_filled(data, '0', 20000), "and not poisoned");
	cr_expect(reads(reader, 1, 0, '0', 20000));
	remove_layer(1, 0);
	cr_expect(reads(reader, 1, 0, '0', 20000));
	must(strata_read_unlock(reader));
	cr_expect_eq(find_layer(1, 0), STRATA_ENOLAYER);
}

Test(reader, a_section_keeps_a_region_that_was_unloaded)
{
	must(strata_load(store, file_of("file", 3, 2, 30000), NULL));
	must(strata_read_lock(reader));
	must(strata_unload(store, 3, 0));
	cr_expect(reads(reader, 3, 1, 'b', 30000));
	must(strata_gc(store, NULL));
	cr_expect(reads(reader, 3, 0, 'a', 30000));
	cr_expect_gt(stats_now().region_bytes, 0);
	must(strata_read_unlock(reader));
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().region_bytes, 0);
	cr_expect_eq(find_layer(3, 0), STRATA_ENODIM);
}

/**** the pin ****/

Test(reader, tells_that_its_pin_was_overwritten)
{
	must(strata_read_lock(reader));
	must(strata_read_lock(reader));
	atomic_store(&reader->slot->pin, 5);
	must(strata_read_unlock(reader));
	expect_error(strata_read_unlock(reader), STRATA_EPIN,
		     "throw away what was read");
	cr_expect_eq(strata_reader_version(reader), 0, "the section is over");
	cr_expect_eq(atomic_load(&reader->slot->pin), 0);
	must(strata_read_lock(reader));
	must(strata_read_unlock(reader));
}

Test(reader, sections_are_told_apart_by_number)
{
	uint64_t first;

	must(strata_read_lock(reader));
	first = atomic_load(&reader->slot->pin);
	must(strata_read_unlock(reader));
	must(strata_read_lock(reader));
	cr_expect_neq(atomic_load(&reader->slot->pin), first);
	cr_expect_eq(strata__pin_version(first), 1);
	cr_expect_eq(atomic_load(&reader->slot->sections), 2);
	must(strata_read_unlock(reader));
}

static unsigned nr_chased;

/* A commit just between the reader's look at the version and its pin. */
static void
chase(const char *point)
{
	if (!is_point(point, "reader.lock.version-read") || nr_chased == 5)
		return;
	nr_chased++;
	put(1, 0, 'z', 10);
}

Test(reader, lock_pins_the_version_that_it_reads)
{
	strata__testpoint = chase;
	must(strata_read_lock(reader));
	strata__testpoint = NULL;
	cr_expect_eq(nr_chased, 5);
	cr_expect_eq(strata_reader_version(reader), 6);
	cr_expect_eq(strata__pin_version(atomic_load(&reader->slot->pin)), 6);
	must(strata_read_unlock(reader));
}

/**** destruction ****/

Test(reader, a_section_survives_the_store)
{
	put(1, 0, 'a', 10000);
	must(strata_read_lock(reader));
	must(strata_destroy(STORE));
	cr_expect(reads(reader, 1, 0, 'a', 10000));
	must(strata_read_unlock(reader));
	expect_error(strata_read_lock(reader), STRATA_EGONE, "was destroyed");
	cr_expect_eq(atomic_load(&reader->slot->pin), 0);
	expect_error(strata_read_unlock(reader), STRATA_EINVAL, "outside");
}

/* Also while it is not yet marked as destroyed, or was only removed. */
Test(reader, none_opens_where_the_catalog_is_gone)
{
	struct strata_store *late = store_attach(STRATA_READ);
	struct strata_reader *none = NULL;

	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	expect_error(strata_reader_open(late, &none), STRATA_EGONE,
		     "was destroyed");
	cr_expect_null(none);
	must(strata_detach(late));
}

/**** regions that cannot be mapped ****/

/* Another handle, which has not mapped the region of dimension 3. */
static struct strata_store *other;
static struct strata_reader *far;

static void
load_behind(void)
{
	put(1, 0, 'p', 10);
	other = store_attach(STRATA_WRITE);
	far = reader_open(other);
	must(strata_load(store, file_of("file", 3, 2, 30000), NULL));
	must(strata_refresh(store));
}

static int
meta_of(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct strata_meta meta;

	(void)layer;
	(void)arg;
	return strata_meta(far, entry, &meta);
}

static void
expect_unmapped(void)
{
	const struct strata_entry *entry = NULL;

	must(strata_read_lock(far));
	cr_expect(reads(far, 1, 0, 'p', 10), "others are not touched");
	expect_error(strata_find(far, 3, 0, &entry), STRATA_EMAP,
		     "the region of dimension 3 could not be mapped");
	cr_expect_eq(strata_last_error()->dimension, 3);
	cr_expect_null(entry);
	expect_error(strata_foreach_layer(far, 3, meta_of, NULL), STRATA_EMAP,
		     "strata_refresh");
}

/* What could not be mapped can be, in this section already. */
static void
expect_mapped(void)
{
	must(strata_refresh(other));
	cr_expect(reads(far, 3, 1, 'b', 30000), "in the section that is open");
	must(strata_foreach_layer(far, 3, meta_of, NULL));
	must(strata_read_unlock(far));
	must(strata_read_lock(far));
	cr_expect(reads(far, 3, 0, 'a', 30000));
	must(strata_read_unlock(far));
	must(strata_detach(other));
}

Test(reader, a_region_whose_file_is_gone_is_an_error_of_its_layers)
{
	char away[256];

	load_behind();
	snprintf(away, sizeof(away), "%s/away", folder_path);
	cr_assert_eq(rename(region_path(1), away), 0);
	expect_unmapped();
	expect_error(strata_refresh(other), STRATA_EMAP, "No such file");
	must(strata_detach(store_attach(STRATA_READ)));
	cr_assert_eq(rename(away, region_path(1)), 0);
	expect_mapped();
}

Test(reader, a_region_for_which_no_descriptor_is_left)
{
	struct rlimit before, limit;
	int fd;

	load_behind();
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	fd = dup(0);
	close(fd);
	limit = before;
	limit.rlim_cur = (rlim_t)fd;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect_unmapped();
	expect_error(strata_refresh(other), STRATA_EMAP, "Too many open files");
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	expect_mapped();
}

Test(reader, a_region_of_a_wrong_size_is_not_mapped)
{
	struct stat st;

	load_behind();
	cr_assert_eq(stat(region_path(1), &st), 0);
	cr_assert_eq(truncate(region_path(1), st.st_size + 4096), 0);
	expect_unmapped();
	expect_error(strata_refresh(other), STRATA_EMAP, "has not the size");
	cr_assert_eq(truncate(region_path(1), st.st_size), 0);
	expect_mapped();
}

Test(reader, a_region_of_another_generation_is_not_mapped)
{
	const uint64_t wrong = 77, right = 1;
	struct stat st;
	uint64_t at;

	load_behind();
	cr_assert_eq(stat(region_path(1), &st), 0);
	at = (uint64_t)st.st_size - STRATA_PAGE +
	     offsetof(struct strata__head, generation);
	patch_path(region_path(1), at, &wrong, 8);
	expect_unmapped();
	expect_error(strata_refresh(other), STRATA_EMAP, "another generation");
	patch_path(region_path(1), at, &right, 8);
	expect_mapped();
}

Test(reader, what_is_not_mapped_is_not_crystallised)
{
	char away[256];

	load_behind();
	put(3, 9, 'h', 10);
	snprintf(away, sizeof(away), "%s/away", folder_path);
	cr_assert_eq(rename(region_path(1), away), 0);
	expect_error(strata_crystallize(other, 3), STRATA_EMAP,
		     "nothing was crystallised");
	cr_assert_eq(rename(away, region_path(1)), 0);
	must(strata_refresh(other));
	must(strata_crystallize(other, 3));
	cr_expect(has(3, 9, 'h', 10));
	cr_expect(has(3, 1, 'b', 30000));
	must(strata_detach(other));
}

Test(reader, attributes_in_a_region_that_is_not_mapped_cannot_be_kept)
{
	struct strata_txn *txn;
	char away[256];

	load_behind();
	snprintf(away, sizeof(away), "%s/away", folder_path);
	cr_assert_eq(rename(region_path(1), away), 0);
	must(strata_txn_begin(other, &txn));
	must(strata_replace(txn, 3, 0, NULL, "new", 3, 0));
	expect_error(strata_txn_commit(txn, NULL), STRATA_EMAP, "");
	cr_assert_eq(rename(away, region_path(1)), 0);
	must(strata_refresh(other));
	must(strata_txn_commit(txn, NULL));
	cr_expect_eq(find_layer(3, 0), 0);
	must(strata_detach(other));
}

/**** handles ****/

Test(reader, close_is_refused_inside_a_section)
{
	cr_expect_eq(strata_reader_close(NULL), 0);
	must(strata_read_lock(reader));
	expect_error(strata_reader_close(reader), STRATA_EINVAL,
		     "inside a section");
	must(strata_read_unlock(reader));
	must(strata_reader_close(reader));
}

Test(reader, a_closed_handle_is_of_no_use)
{
	const struct strata_entry *entry;

	must(strata_reader_close(reader));
	expect_error(strata_read_lock(reader), STRATA_EINVAL, "closed");
	expect_error(strata_read_unlock(reader), STRATA_EINVAL, "closed");
	expect_error(strata_reader_close(reader), STRATA_EINVAL, "closed");
	expect_error(strata_find(reader, 1, 0, &entry), STRATA_EINVAL, "");
	cr_expect_eq(strata_reader_version(reader), 0);
	cr_expect_eq(reader_open(store), reader, "its place is used again");
	must(strata_read_lock(reader));
	must(strata_read_unlock(reader));
}

Test(reader, open_needs_a_store)
{
	expect_error(strata_reader_open(NULL, &reader), STRATA_EINVAL, "");
	expect_error(strata_reader_open(store, NULL), STRATA_EINVAL, "");
}

#define MANY 100

Test(reader, many_readers_pin_many_versions)
{
	struct strata_reader *readers[MANY];

	for (int i = 0; i < MANY; i++) {
		readers[i] = reader_open(store);
		put(1, 0, (char)i, 100);
		must(strata_read_lock(readers[i]));
	}
	for (int i = 0; i < MANY; i++)
		for (int j = 0; j < i; j++)
			cr_expect_neq(readers[i]->slot, readers[j]->slot);
	put(1, 0, 'e', 100);
	for (int i = 0; i < MANY; i++)
		cr_expect(reads(readers[i], 1, 0, (char)i, 100), "%d", i);
	cr_expect_eq(stats_now().readers, MANY + 1);
	for (int i = 0; i < MANY; i++) {
		must(strata_read_unlock(readers[i]));
		must(strata_reader_close(readers[i]));
	}
	cr_expect_eq(stats_now().readers, 1);
}

Test(reader, tells_that_no_slot_is_left)
{
	struct strata_config config = store_config(16 * MIB);
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	struct strata_verify_report report;
	struct strata_reader *readers[16];

	config.readers = 3; /* rounded up to a chunk; four segments of them */
	must(strata_reader_close(reader));
	store_again(&config);
	for (int i = 0; i < 16; i++)
		readers[i] = reader_open(store);
	expect_error(strata_reader_open(store, &reader), STRATA_EREADERS,
		     "no reader slot left for user");
	cr_expect_not_null(strstr(strata_last_error()->sentence,
				  "4 segments of 4 slots"));
	must(strata_stats(store, &stats)); /* it observes */
	cr_expect_eq(stats.readers, 16);
	cr_expect_eq(strata_last_error()->code, STRATA_EREADERS,
		     "of the failure before");
	expect_error(strata_verify(store, 1, NULL, NULL, &report),
		     STRATA_EREADERS, "");
	expect_error(strata_crystallize(store, 1), STRATA_EREADERS, "");
	expect_error(strata_load(store, file_of("file", 3, 1, 10), NULL),
		     STRATA_EREADERS, "");
	must(strata_reader_close(readers[7]));
	readers[7] = reader_open(store);
	must(strata_reader_close(readers[0]));
	cr_expect_eq(stats_now().readers, 15);
}

/**** fork ****/

static void
child_continues(struct proc *parent, void *arg)
{
	struct strata_reader *idle = arg;
	const struct strata_entry *entry;

	proc_hear(parent, 'w');
	/* The section that was open goes on, nested sections included. */
	need(strata_reader_version(reader) == 2, "version");
	need(strata_find(reader, 1, 0, &entry) == 0, "find");
	need(is_filled(strata_data(reader, entry), 'a', 5000), "content");
	need(strata_read_lock(reader) == 0, "nested");
	need(strata_read_unlock(reader) == 0, "nested");
	need(strata_read_unlock(reader) == 0, "unlock");
	/* A handle outside of a section is wiped, and revived by its use. */
	need(strata_data(idle, entry) == NULL, "not of this process");
	need(strata_find(idle, 1, 0, &entry) == STRATA_EINVAL, "wiped");
	need(strata_read_lock(idle) == 0, "revived");
	need(strata_find(idle, 1, 0, &entry) == 0, "find");
	need(is_filled(strata_data(idle, entry), 'c', 5000), "content");
	need(strata_read_unlock(idle) == 0, "unlock");
	need(strata_reader_close(idle) == 0, "close");
	need(strata_reader_close(reader) == 0, "close");
	need(strata_read_lock(idle) == STRATA_EINVAL, "closed");
	need(strata_detach(store) == 0, "detach");
}

Test(reader, a_child_goes_on_reading)
{
	struct strata_reader *idle = reader_open(store);
	struct proc child;

	put(1, 0, 'a', 5000);
	must(strata_read_lock(reader));
	proc_start(&child, child_continues, idle);
	must(strata_read_unlock(reader));
	put(1, 0, 'b', 5000);
	must(strata_gc(store, NULL));
	put(1, 0, 'c', 5000);
	proc_say(&child, 'w');
	cr_expect_eq(proc_wait(&child), 0);
	must(strata_read_lock(reader));
	cr_expect(reads(reader, 1, 0, 'c', 5000));
	must(strata_read_unlock(reader));
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().retired, 0, "the child's pin is gone");
}

static void
child_has_no_section(struct proc *parent, void *arg)
{
	struct strata_reader *last = arg;

	(void)parent;
	need(strata_reader_version(last) == 0, "wiped");
	need(strata_read_unlock(last) == STRATA_EINVAL, "unlock");
	need(strstr(strata_last_error()->sentence, "fork") != NULL, "why");
	need(strata_read_lock(last) == STRATA_EREADERS, "no slot");
}

Test(reader, where_no_slot_is_left_a_childs_section_is_over)
{
	struct strata_config config = store_config(16 * MIB);
	struct strata_reader *last = NULL;
	struct proc child;

	config.readers = 4;
	must(strata_reader_close(reader));
	store_again(&config);
	for (int i = 0; i < 16; i++)
		last = reader_open(store);
	must(strata_read_lock(last));
	proc_start(&child, child_has_no_section, last);
	cr_expect_eq(proc_wait(&child), 0);
	must(strata_read_unlock(last));
}

static void
child_many(struct proc *parent, void *arg)
{
	struct strata_reader **readers = arg;

	(void)parent;
	for (int i = 0; i < 6; i++) {
		need(reads(readers[i], 1, 0, 'a', 100), "%d", i);
		need(strata_read_unlock(readers[i]) == 0, "%d", i);
	}
}

Test(reader, a_child_inherits_many_sections)
{
	struct strata_reader *readers[6];
	struct proc child;

	put(1, 0, 'a', 100);
	for (int i = 0; i < 6; i++) {
		readers[i] = reader_open(store);
		must(strata_read_lock(readers[i]));
	}
	proc_start(&child, child_many, readers);
	cr_expect_eq(proc_wait(&child), 0);
	for (int i = 0; i < 6; i++)
		must(strata_read_unlock(readers[i]));
}
