/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What strata top shows, without a terminal. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "top.h"

#define SECOND UINT64_C(1000000000)

static struct top_model model;
static struct top_view view;

static void
setup(void)
{
	memset(&model, 0, sizeof(model));
	view = (struct top_view){.interval_ms = 1000};
}

static void
teardown(void)
{
	top_fini(&model);
}

TestSuite(top, .init = setup, .fini = teardown, .timeout = 60);

/**** looks that are made up ****/

static struct top_look
look_at(uint64_t seconds, uint64_t commits)
{
	struct top_look look = {.time_ns = seconds * SECOND};

	look.stats.version = 1 + commits;
	look.stats.commits = commits;
	look.stats.created_ns = 77;
	look.stats.limit = 100 << 20;
	look.stats.reserved = 60 << 20;
	look.stats.held = 50 << 20;
	look.stats.retired = 10 << 20;
	look.stats.nr_pools = 1;
	look.stats.pools[0] = (struct strata_pool_stats){
		.block_size = 4096, .max_blocks = 100, .live_blocks = 50,
		.retired_blocks = 25, .free_blocks = 25};
	return look;
}

static void
reader_add(struct top_look *look, uint32_t pid, uint64_t sections,
	   uint64_t retained)
{
	struct strata_reader_info *info;

	look->readers = x_grow(look->readers, look->nr_readers, sizeof(*info));
	info = &look->readers[look->nr_readers++];
	memset(info, 0, sizeof(*info));
	info->pid = pid;
	info->alive = 1;
	info->sections = sections;
	info->retained = retained;
	snprintf(info->name, sizeof(info->name), "reader-%u", pid);
}

static void
sample_add(struct top_look *look, uint32_t dimension, uint32_t layer,
	   uint64_t time_ns)
{
	look->samples = x_grow(look->samples, look->nr_samples,
			       sizeof(*look->samples));
	look->samples[look->nr_samples++] = (struct strata_sample){
		.dimension = dimension, .layer = layer, .time_ns = time_ns};
}

static bool
page_has(const struct top_page *page, const char *text)
{
	for (size_t i = 0; i < page->nr; i++)
		if (strstr(page->lines[i], text) != NULL)
			return true;
	return false;
}

/**** rates ****/

Test(top, one_look_has_no_rates)
{
	struct top_look look = look_at(10, 5);

	reader_add(&look, 1, 100, 0);
	top_push(&model, &look);
	cr_expect_lt(model.rates.commits, 0);
	cr_expect_lt(model.rates.reads, 0);
	cr_expect_lt(model.reads[0], 0);
}

Test(top, rates_are_between_two_looks)
{
	struct top_look look = look_at(10, 5);

	reader_add(&look, 1, 100, 0);
	reader_add(&look, 1, 50, 0);
	reader_add(&look, 2, 1000, 0);
	top_push(&model, &look);
	look = look_at(12, 25);
	reader_add(&look, 1, 120, 0);
	reader_add(&look, 1, 70, 0);
	reader_add(&look, 2, 500, 0); /* a handle was closed */
	reader_add(&look, 3, 30, 0);  /* came meanwhile */
	top_push(&model, &look);
	cr_expect_float_eq(model.rates.commits, 10, 1e-9);
	cr_expect_float_eq(model.reads[0], 20, 1e-9, "of the whole process");
	cr_expect_float_eq(model.reads[1], 20, 1e-9);
	cr_expect_float_eq(model.reads[2], 0, 1e-9);
	cr_expect_float_eq(model.rates.reads, 20 + 15, 1e-9);
}

Test(top, another_store_of_that_name_has_no_rates_and_no_heat)
{
	struct top_look look = look_at(10, 5);

	sample_add(&look, 7, 1, SECOND);
	top_push(&model, &look);
	cr_expect_eq(model.nr_heat, 1);
	look = look_at(11, 50);
	look.stats.created_ns = 78;
	top_push(&model, &look);
	cr_expect_lt(model.rates.commits, 0);
	cr_expect_eq(model.nr_heat, 0);
	look = look_at(12, 0);
	look.why = x_dup("gone");
	top_push(&model, &look);
	cr_expect_lt(model.rates.commits, 0);
}

/**** heat ****/

Test(top, a_sample_counts_once)
{
	struct top_look look = look_at(10, 0);

	sample_add(&look, 7, 1, 5 * SECOND);
	sample_add(&look, 7, 2, 6 * SECOND);
	top_push(&model, &look);
	look = look_at(10, 0);
	look.time_ns += 1; /* nothing cools */
	sample_add(&look, 7, 3, 7 * SECOND);
	sample_add(&look, 7, 2, 6 * SECOND);
	sample_add(&look, 7, 2, 7 * SECOND);
	top_push(&model, &look);
	cr_expect_float_eq(model.total_heat, 4, 1e-6);
	cr_assert_eq(model.nr_heat, 3);
	for (size_t i = 0; i < 3; i++)
		cr_expect_float_eq(model.heat[i].heat,
				   model.heat[i].layer == 2 ? 2 : 1, 1e-6);
}

Test(top, heat_cools)
{
	struct top_look look = look_at(10, 0);
	uint64_t long_ago = 5 * SECOND;

	sample_add(&look, 7, 1, long_ago);
	top_push(&model, &look);
	look = look_at(20, 0);
	sample_add(&look, 7, 1, long_ago);
	top_push(&model, &look);
	cr_expect_float_eq(model.heat[0].heat, 0.5, 1e-6);
	look = look_at(2000, 0);
	top_push(&model, &look);
	cr_expect_eq(model.nr_heat, 0, "long forgotten");
}

static void
expect_hot(const struct top_heat *heat, uint32_t dimension, int64_t layer)
{
	cr_expect_eq(heat->dimension, dimension);
	cr_expect_eq(heat->layer, layer);
}

Test(top, what_is_hot_is_sorted_summed_and_filtered)
{
	struct top_look look = look_at(10, 0);
	struct top_heat *list;
	size_t nr;

	for (int i = 0; i < 3; i++)
		sample_add(&look, 7, 1, (unsigned)(10 + i) * SECOND);
	for (int i = 0; i < 2; i++)
		sample_add(&look, 8, 1, (unsigned)(30 + i) * SECOND);
	for (int i = 0; i < 2; i++)
		sample_add(&look, 8, 20, (unsigned)(20 + i) * SECOND);
	top_push(&model, &look);
	list = top_hot(&model, &view, &nr);
	cr_assert_eq(nr, 3);
	expect_hot(&list[0], 7, 1);
	expect_hot(&list[1], 8, 1);
	expect_hot(&list[2], 8, 20);
	free(list);
	view.hot_sort = TOP_BY_ACCESS;
	list = top_hot(&model, &view, &nr);
	expect_hot(&list[0], 8, 1);
	expect_hot(&list[2], 7, 1);
	free(list);
	view.by_dimension = true;
	view.hot_sort = TOP_BY_HEAT;
	list = top_hot(&model, &view, &nr);
	cr_assert_eq(nr, 2);
	expect_hot(&list[0], 8, -1);
	cr_expect_float_eq(list[0].heat, 4, 1e-6);
	cr_expect_eq(list[0].last_ns, 31 * SECOND);
	free(list);
	view.by_dimension = false;
	strcpy(view.filter, "8/2");
	list = top_hot(&model, &view, &nr);
	cr_assert_eq(nr, 1);
	expect_hot(&list[0], 8, 20);
	free(list);
}

/**** readers ****/

Test(top, readers_are_sorted_and_filtered)
{
	struct top_look look = look_at(10, 0);
	size_t nr, *rows;

	reader_add(&look, 30, 0, 5);
	reader_add(&look, 10, 0, 9);
	reader_add(&look, 20, 0, 5);
	top_push(&model, &look);
	rows = top_readers(&model, &view, &nr);
	cr_assert_eq(nr, 3);
	cr_expect(rows[0] == 1 && rows[1] == 2 && rows[2] == 0);
	free(rows);
	view.reader_sort = TOP_BY_PID;
	rows = top_readers(&model, &view, &nr);
	cr_expect(rows[0] == 1 && rows[1] == 2 && rows[2] == 0);
	free(rows);
	strcpy(view.filter, "reader-3");
	rows = top_readers(&model, &view, &nr);
	cr_expect(nr == 1 && rows[0] == 0);
	free(rows);
}

/**** keys ****/

static void
keys(const char *text)
{
	for (; *text != '\0'; text++)
		top_key(&view, *text);
}

Test(top, keys_do_what_the_foot_says)
{
	keys("s");
	cr_expect_eq(view.reader_sort, TOP_BY_READS);
	keys("sss");
	cr_expect_eq(view.reader_sort, TOP_BY_RETAINED, "around");
	keys("\ts");
	cr_expect_eq(view.hot_sort, TOP_BY_ACCESS);
	keys("dp+");
	cr_expect(view.by_dimension && view.paused);
	cr_expect_eq(view.interval_ms, 2000);
	keys("------------");
	cr_expect_geq(view.interval_ms, 100);
	keys("+++++++++++++++++++");
	cr_expect_leq(view.interval_ms, 60000);
	keys("/q7");
	cr_expect(!view.quit && strcmp(view.filter, "q7") == 0);
	top_key(&view, TOP_KEY_BACKSPACE);
	for (int i = 0; i < 100; i++)
		keys("x");
	cr_expect_eq(strlen(view.filter), sizeof(view.filter) - 1);
	keys("\r\033");
	cr_expect_eq(view.filter[0], '\0');
	top_key(&view, 0x1ff);
	keys("q");
	cr_expect(view.quit);
}

/**** pages ****/

Test(top, a_page_fits_whatever_size_it_has)
{
	struct top_look look = look_at(10, 0);
	struct top_page page;

	for (uint32_t i = 0; i < 100; i++) {
		reader_add(&look, 1000000 + i, i, i);
		sample_add(&look, 200000 + i, 2000000000 + i, SECOND);
	}
	top_push(&model, &look);
	for (size_t width = 1; width < 200; width += 13)
		for (size_t height = 1; height < 60; height++) {
			top_page_make(&page, width, height, "store", &model,
				      &view);
			cr_expect_eq(page.nr, height, "%zu x %zu", width,
				     height);
			for (size_t i = 0; i < page.nr; i++)
				cr_expect_leq(strlen(page.lines[i]), width);
			top_page_fini(&page);
		}
}

Test(top, a_page_shows_both_panes_and_the_maps)
{
	struct top_look look = look_at(10, 0);
	struct top_page page;

	for (uint32_t i = 0; i < 100; i++) {
		reader_add(&look, 1000 + i, i, i);
		sample_add(&look, 7, i, SECOND);
	}
	look.regions = x_grow(NULL, 0, sizeof(*look.regions));
	memset(look.regions, 0, sizeof(*look.regions));
	look.regions[0].dimension = 13;
	look.regions[0].life = STRATA_LIFE_LIVE;
	look.regions[0].bytes = 50 << 20;
	look.nr_regions = 1;
	top_push(&model, &look);
	top_page_make(&page, 80, 24, "store", &model, &view);
	cr_expect(page_has(&page, "[#############+++...     |  |  | ]"));
	cr_expect(page_has(&page, "[################++++++++........]"));
	cr_expect(page_has(&page, "[3333333333333333                ]"));
	cr_expect(page_has(&page, "reader-1099"), "who retains most");
	cr_expect(page_has(&page, "7/0 "));
	top_page_fini(&page);
}

/* What is inside counts as a reader, too. */
static void
expect_figures(struct top_look *look, size_t nr_readers, const char *pool,
	       const char *rates)
{
	struct top_page page;

	for (size_t i = 0; i < nr_readers; i++)
		reader_add(look, 1000 + (uint32_t)i, 0, 0);
	for (size_t i = 0; i < nr_readers; i++)
		look->readers[i].pin = 1;
	top_push(&model, look);
	/* One look has none. */
	model.rates = (struct top_rates){123400, 4567800, 99999.4};
	top_page_make(&page, 80, 24, "store", &model, &view);
	cr_expect(page_has(&page, pool), "%s", pool);
	cr_expect(page_has(&page, rates), "%s", rates);
	for (size_t i = 0; i < page.nr; i++)
		cr_expect_eq(strchr(page.lines[i], '>'), NULL, "cut: %s",
			     page.lines[i]);
	top_page_fini(&page);
}

Test(top, no_figure_is_cut_at_80_columns)
{
	struct top_look look = look_at(10, 0);

	look.stats.pools[0].max_blocks = 1048576;
	look.stats.pools[0].live_blocks = 1048576;
	look.stats.pools[0].retired_blocks = 1234;
	expect_figures(&look, 256, "] 1.0 M live 1234 retired of 1.0 M",
		       "a second  123 k commits, 4.6 M sections, 99999 blocks; "
		       "256 readers, 256 inside");
}

/* Four segments of slots; a store of 4 TiB. */
Test(top, not_even_the_largest)
{
	struct top_look look = look_at(10, 0);

	look.stats.pools[0].max_blocks = UINT64_C(1) << 30;
	look.stats.pools[0].live_blocks = 99999;
	look.stats.pools[0].retired_blocks = 999499999;
	expect_figures(&look, 4096, "] 99999 live 999 M retired of 1.1 G",
		       "a second  123 k commits, 4.6 M sections, 99999 blocks; "
		       "4096 readers, 4096 inside");
}

Test(top, what_is_cut_has_a_sign)
{
	struct top_look look = look_at(10, 0);
	struct top_page page;

	top_push(&model, &look);
	top_page_make(&page, 44, 24, "store", &model, &view);
	cr_expect(page_has(&page, "[######+++...] 50 live 25 retired>"));
	top_page_fini(&page);
	top_page_make(&page, 51, 24, "store", &model, &view);
	cr_expect(page_has(&page, "] 50 live 25 retired of 100"));
	top_page_fini(&page);
}

/* Names are others' words. */
Test(top, nothing_reaches_the_terminal_but_text)
{
	struct top_look look = look_at(10, 0);
	struct top_page page;

	reader_add(&look, 1, 0, 0);
	memset(look.readers[0].name, '\033', sizeof(look.readers[0].name));
	sample_add(&look, 7, 1, UINT64_MAX);
	top_push(&model, &look);
	top_page_make(&page, 80, 24, "store", &model, &view);
	for (size_t i = 0; i < page.nr; i++)
		cr_expect_eq(strchr(page.lines[i], '\033'), NULL);
	cr_expect(page_has(&page, "????????????"));
	top_page_fini(&page);
}
