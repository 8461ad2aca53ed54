/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Verify: clean stores are clean, and each kind of damage is found. */
#include <unistd.h>

#include "attached.h"

static struct strata_reader *reader;

/* Dimension 1 has protos, dimension 3 a region. */
static void
setup(void)
{
	store_setup();
	put(1, 0, 'a', 5000);
	put(1, 1, 'b', 20000);
	must(strata_load(store, file_of("file", 3, 3, 10000), NULL));
	must(strata_refresh(store));
	reader = reader_open(store);
}

TestSuite(verify, .init = setup, .fini = store_teardown, .timeout = 60);

static struct strata_verify_report
verify(struct strata_store *of, int quick)
{
	struct strata_verify_report report;

	must(strata_verify(of, quick, NULL, NULL, &report));
	return report;
}

static void
expect_found(const char *words)
{
	struct strata_verify_report report = verify(store, 0);

	cr_expect_gt(report.errors, 0, "nothing was found: %s", words);
	cr_expect_not_null(strstr(report.first, words), "'%s' is not in: %s",
			   words, report.first);
}

/**** what lies where ****/

static struct strata__dimnode *
node_of(uint32_t dimension)
{
	const char *window = store->space.window;
	uint64_t slot;

	must(strata_read_lock(reader));
	slot = strata__tree_slot(window, strata__reader_root(reader), dimension);
	must(strata_read_unlock(reader));
	return (struct strata__dimnode *)strata__tree_dimnode(window, slot);
}

static struct strata__record *
record_of(uint64_t ref)
{
	struct strata__block block;

	cr_assert(strata__block_at(&store->space, ref, &block));
	return strata__block_record(&store->space, &block);
}

static _Atomic uint64_t *
root_now(void)
{
	struct strata__hot *hot = &store->space.catalog->hot;

	return &hot->roots[atomic_load(&hot->version) & 1];
}

/* In the file of the region of dimension 3. */
static void
patch_region(uint64_t ref)
{
	struct strata__segment *segment = strata__segments(&store->space);

	patch_path(region_path(atomic_load(&segment->record.generation)),
		   ref - atomic_load(&segment->place), "\xee", 1);
}

/**** clean ****/

Test(verify, a_clean_store_is_clean)
{
	struct strata_verify_report report = verify(store, 0);

	cr_expect_eq(report.errors, 0, "%s", report.first);
	cr_expect_str_eq(report.first, "");
	cr_expect_eq(report.nodes, 3, "root and two dimensions");
	cr_expect_eq(report.dimensions, 2);
	cr_expect_eq(report.layers, 5);
	cr_expect_eq(report.regions, 1);
	cr_expect_eq(report.blocks, 5);
	cr_expect_eq(report.checked_bytes, 5000 + 20000 + 3 * 10000);
}

Test(verify, an_empty_store_is_clean)
{
	const struct strata_config config = store_config(8 * MIB);
	struct strata_verify_report report;

	must(strata_reader_close(reader));
	store_again(&config);
	report = verify(store, 0);
	cr_expect_eq(report.errors, 0, "%s", report.first);
	cr_expect_eq(report.nodes, 0);
	cr_expect_eq(report.checked_bytes, 0);
}

Test(verify, all_heights_and_states_are_clean)
{
	put(1, 70, 'a', 10);
	put(600, 100000, 'a', 10);
	put(STRATA_DIMENSION_MAX, STRATA_LAYER_MAX, 'a', 700000);
	put(3, 1, 'h', 10);
	must(strata_read_lock(reader));
	put(1, 0, 'r', 5000);
	expect_clean();
	must(strata_read_unlock(reader));
	must(strata_crystallize(store, 3));
	expect_clean();
	must(strata_gc(store, NULL));
	expect_clean();
}

Test(verify, a_store_attached_for_reading_can_be_verified)
{
	struct strata_store *other = store_attach(STRATA_READ);
	struct strata_verify_report report = verify(other, 0);

	cr_expect_eq(report.errors, 0, "%s", report.first);
	cr_expect_eq(report.layers, 5);
	must(strata_detach(other));
}

struct seen {
	unsigned nr;
	uint64_t done, total;
	int cancel;
};

static int
progress(uint64_t done, uint64_t total, void *arg)
{
	struct seen *seen = arg;

	seen->nr++;
	cr_expect_geq(done, seen->done);
	seen->done = done;
	seen->total = total;
	return seen->cancel;
}

Test(verify, progress_is_told)
{
	struct strata_verify_report report;
	struct seen seen = {0, 0, 0, 0};

	must(strata_load(store, file_of("large", 11, 3, 11 * MIB / 5), NULL));
	must(strata_verify(store, 0, progress, &seen, &report));
	cr_expect_eq(seen.nr, 2, "not for each layer, but %u times", seen.nr);
	cr_expect_eq(seen.done, report.checked_bytes);
	cr_expect_eq(seen.total, report.checked_bytes);
}

Test(verify, can_be_cancelled)
{
	struct strata_verify_report report = {.errors = 77};
	struct seen seen = {0, 0, 0, 1};

	expect_error(strata_verify(store, 0, progress, &seen, &report),
		     STRATA_ECANCELED, "cancelled by the program");
	cr_expect_eq(seen.nr, 1);
	cr_expect_eq(report.errors, 77);
	must(strata_load(store, file_of("large", 11, 3, 11 * MIB / 5), NULL));
	expect_error(strata_verify(store, 0, progress, &seen, &report),
		     STRATA_ECANCELED, "cancelled by the program");
	cr_expect_eq(seen.nr, 2, "it is not asked again");
	expect_clean();
}

static int
overwrite(uint64_t done, uint64_t total, void *arg)
{
	(void)done;
	(void)total;
	(void)arg;
	pins_overwrite();
	return 0;
}

Test(verify, says_nothing_of_what_it_read_without_its_pin)
{
	struct strata_verify_report report;

	expect_error(strata_verify(store, 0, overwrite, NULL, &report),
		     STRATA_EPIN, "overwritten");
	expect_clean();
}

Test(verify, needs_a_store_that_is_there)
{
	struct strata_store *other = store_attach(STRATA_READ);
	struct strata_verify_report report;

	expect_error(strata_verify(NULL, 0, NULL, NULL, &report),
		     STRATA_EINVAL, "");
	expect_error(strata_verify(store, 0, NULL, NULL, NULL), STRATA_EINVAL,
		     "");
	must(strata_destroy(STORE));
	expect_error(strata_verify(store, 0, NULL, NULL, &report),
		     STRATA_EGONE, "destroyed");
	expect_error(strata_verify(other, 0, NULL, NULL, &report),
		     STRATA_EGONE, "destroyed");
	must(strata_detach(other));
}

/**** contents and metadata ****/

Test(verify, finds_a_flipped_byte_of_a_region)
{
	patch_region(entry_of(3, 1)->content + 777);
	expect_found("the content of layer 3/1 is damaged");
	cr_expect_eq(verify(store, 0).errors, 1);
	cr_expect_eq(verify(store, 1).errors, 0, "not looked at when quick");
}

Test(verify, finds_damaged_metadata)
{
	struct strata_entry *entry = entry_of(1, 1);

	memset(strata__at(&store->space, entry->meta), 0xee, 16);
	expect_found("the metadata of layer 1/1 is damaged");
	cr_expect_eq(verify(store, 1).errors, 1, "quick or not");
}

Test(verify, finds_damaged_metadata_of_a_region)
{
	patch_region(entry_of(3, 2)->meta + 12);
	expect_found("the metadata of layer 3/2 is damaged");
}

Test(verify, finds_a_region_that_cannot_be_mapped)
{
	struct strata_verify_report report;
	struct strata_store *other;

	cr_assert_eq(unlink(region_path(1)), 0);
	other = store_attach(STRATA_READ);
	report = verify(other, 0);
	cr_expect_eq(report.errors, 3);
	cr_expect_not_null(strstr(report.first, "3/0 cannot be mapped here"),
			   "%s", report.first);
	must(strata_detach(other));
}

/**** places ****/

Test(verify, finds_an_entry_that_leads_to_no_block)
{
	entry_of(1, 0)->content += 64;
	expect_found("is no block");
}

Test(verify, finds_two_entries_of_one_block)
{
	entry_of(1, 0)->content = entry_of(1, 1)->content;
	entry_of(1, 0)->meta = entry_of(1, 1)->meta;
	expect_found("is reached twice");
}

Test(verify, finds_metadata_outside_of_the_block)
{
	entry_of(1, 0)->meta = entry_of(1, 1)->meta;
	expect_found("layer 1/0 lies outside of its place");
}

Test(verify, finds_a_place_that_is_not_its_entrys)
{
	struct strata__place *place = &node_of(1)->u.places[1];

	place->size++;
	expect_found("a place that is not its entry's (dimension 1)");
	place->size--;
	place[1].content = place->content;
	expect_found("a place that is not its entry's (dimension 1)");
	place[1].content = 0;
	cr_expect_eq(verify(store, 0).errors, 0);
}

Test(verify, finds_a_size_that_leaves_the_block)
{
	struct strata_entry *entry = entry_of(1, 1);

	node_of(1)->content_bytes += 1000000;
	entry->size += 1000000;
	expect_found("layer 1/1 lies outside of its place");
	entry->size = UINT64_MAX;
	node_of(1)->content_bytes = 5000 + UINT64_MAX;
	expect_found("layer 1/1 lies outside of its place");
}

Test(verify, finds_an_entry_outside_of_its_region)
{
	struct strata_entry *entry = entry_of(3, 1);
	uint64_t content = entry->content;

	entry->content -= MIB;
	expect_found("layer 3/1 lies outside of its place");
	entry->content = content + 100 * MIB;
	expect_found("layer 3/1 lies outside of its place");
	entry->content = content;
	entry->meta = content + MIB;
	expect_found("layer 3/1 lies outside of its place");
}

Test(verify, finds_a_region_entry_without_a_region)
{
	struct strata__dimnode *node = node_of(3);

	node->region = 0;
	node->region_bytes = 0;
	expect_found("layer 3/0 lies outside of its place");
}

/**** dimensions ****/

Test(verify, finds_counts_that_are_wrong)
{
	struct strata__dimnode *node = node_of(1);

	node->nr_layers++;
	expect_found("");
	node->nr_layers--;
	node->nr_protos--;
	expect_found("");
	node->nr_protos++;
	node->content_bytes += 8;
	expect_found("");
	node->content_bytes -= 8;
	expect_clean();
}

Test(verify, finds_a_region_that_is_another_one)
{
	struct strata__dimnode *node = node_of(3);

	node->region_generation++;
	expect_found("the region of dimension 3 is another one");
	node->region_generation--;
	node->region_bytes += 64;
	expect_found("the region of dimension 3 is another one");
}

Test(verify, finds_a_region_that_cannot_be)
{
	node_of(3)->region = store->space.geometry->nr_segments + 1;
	expect_found("a region beyond the segment table");
}

Test(verify, finds_two_dimensions_of_one_region)
{
	struct strata__dimnode *first = node_of(1), *second = node_of(3);

	first->region = second->region;
	first->region_generation = second->region_generation;
	first->region_bytes = second->region_bytes;
	expect_found("region 0 is reached twice");
}

Test(verify, finds_nodes_that_are_none)
{
	struct strata__dimnode *node = node_of(1);

	node->magic++;
	expect_found("not a dimension's node");
	node->magic--;
	node->id = 2;
	expect_found("another dimension's node");
	node->id = 1;
	node->height = 1;
	expect_found("a height that is not its node's");
	node->height = 0;
	expect_clean();
}

Test(verify, finds_a_root_that_is_none)
{
	uint64_t root = atomic_load(root_now());

	atomic_store(root_now(), root | 5);
	expect_found("a root of unknown height");
	atomic_store(root_now(), root + 1024 * 4096);
	expect_found("the index is damaged");
	atomic_store(root_now(), root);
	expect_clean();
}

/**** records ****/

Test(verify, finds_a_block_in_use_that_says_it_is_free)
{
	struct strata__record *record = record_of(entry_of(1, 0)->content);

	atomic_store(&record->state, STRATA_FREE);
	expect_found("the content at");
	atomic_store(&record->state, STRATA_RETIRED);
	expect_found("is reached, but its state is 3");
	atomic_store(&record->state, STRATA_ALLOCATED);
	expect_clean();
}

Test(verify, finds_a_block_that_nobody_reaches)
{
	struct strata__record *records =
		strata__class_records(&store->space, 1);

	atomic_store(&records[5].run, 1);
	atomic_store(&records[5].state, STRATA_ALLOCATED);
	expect_found("block 1/5 is not reached, but its state is 2");
	atomic_store(&records[5].state, STRATA_FREE);
	expect_clean();
}

Test(verify, finds_a_block_of_the_future)
{
	atomic_store(&record_of(entry_of(1, 0)->content)->birth, 1000);
	expect_found("is of a later version");
}

Test(verify, finds_a_length_that_cannot_be)
{
	struct strata__record *records =
		strata__class_records(&store->space, 1);

	atomic_store(&records[5].run, 1u << 30);
	atomic_store(&records[5].state, STRATA_RETIRED);
	expect_found("block 1/5 has a length that cannot be");
}

Test(verify, finds_a_region_of_a_wrong_state)
{
	struct strata__segment *segments = strata__segments(&store->space);

	atomic_store(&segments[0].record.state, STRATA_RETIRED);
	expect_found("region 0 is reached, but its state is 3");
	atomic_store(&segments[0].record.state, STRATA_ALLOCATED);
	atomic_store(&segments[7].record.state, STRATA_ALLOCATED);
	expect_found("region 7 is not reached, but its state is 2");
	atomic_store(&segments[7].record.state, STRATA_FREE);
	expect_clean();
}

/**** counters ****/

static void
expect_count_checked(_Atomic uint64_t *counter, uint64_t by, const char *words)
{
	atomic_fetch_add(counter, by);
	expect_found(words);
	atomic_fetch_sub(counter, by);
	expect_clean();
}

Test(verify, finds_counters_that_are_wrong)
{
	struct strata__counters *counters = &store->space.catalog->counters;

	expect_count_checked(&counters->classes[1].live, 1, "class 1 counts");
	expect_count_checked(&counters->classes[2].retired, 3,
			     "class 2 counts");
	expect_count_checked(&counters->region_bytes, 4096,
			     "bytes of regions, but has");
	expect_count_checked(&counters->reserved, 4096,
			     "bytes reserved, but has");
	expect_count_checked(&counters->segments_high, (uint64_t)0 - 1,
			     "behind the end");
	expect_count_checked(&counters->limit, (uint64_t)0 - 15 * MIB,
			     "above the limit");
}

Test(verify, the_first_error_is_told_and_all_are_counted)
{
	struct strata_verify_report report;

	patch_region(entry_of(3, 0)->content);
	patch_region(entry_of(3, 1)->content);
	patch_region(entry_of(3, 2)->content);
	report = verify(store, 0);
	cr_expect_eq(report.errors, 3);
	cr_expect_not_null(strstr(report.first, "3/0"), "%s", report.first);
}
