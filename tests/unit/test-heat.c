/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What is hot: readers note some of their lookups, others are told. */
#include "heat.h"

#include "attached.h"

static struct strata_reader *reader;

static void
setup(void)
{
	store_setup();
	for (uint32_t i = 0; i < 20; i++)
		put(7, i, 'a', 100);
	put(600, STRATA_LAYER_MAX, 'b', 100);
	reader = reader_open(store);
}

TestSuite(heat, .init = setup, .fini = store_teardown, .timeout = 60);

static struct strata_sample samples[64];
static size_t nr_samples;

static int
sample_add(const struct strata_sample *sample, void *arg)
{
	(void)arg;
	cr_assert_lt(nr_samples, 64);
	samples[nr_samples++] = *sample;
	return 0;
}

static void
samples_take(void)
{
	nr_samples = 0;
	must(strata_foreach_sample(store, sample_add, NULL));
}

/* The clock says that a period is over. */
static void
let_time_pass(uint64_t ns)
{
	reader->sampled_ns -= ns;
	reader->sample_at = 0;
}

static void
look_up(uint32_t dimension, uint32_t layer, bool get)
{
	const struct strata_entry *entry;
	size_t size = 0;

	must(strata_read_lock(reader));
	if (get)
		cr_expect_neq(strata_get(reader, dimension, layer, &size), NULL);
	else
		must(strata_find(reader, dimension, layer, &entry));
	must(strata_read_unlock(reader));
}

/* One lookup is noted, whatever number of them are let pass before it. */
static void
look_up_until_noted(uint32_t dimension, uint32_t layer, bool get)
{
	uint32_t before = reader->nr_samples;

	let_time_pass(UINT64_C(1000000000));
	for (int i = 0; i < 17 && reader->nr_samples == before; i++)
		look_up(dimension, layer, get);
	cr_expect_eq(reader->nr_samples, before + 1);
	cr_expect_eq(reader->slow, 0, "the usual way again");
}

Test(heat, nothing_is_hot_before_anything_is_read)
{
	samples_take();
	cr_expect_eq(nr_samples, 0);
}

Test(heat, a_lookup_is_noted_with_its_time)
{
	uint64_t before = strata__os_realtime_ns();

	look_up_until_noted(600, STRATA_LAYER_MAX, false);
	samples_take();
	cr_assert_eq(nr_samples, 1);
	cr_expect_eq(samples[0].dimension, 600);
	cr_expect_eq(samples[0].layer, STRATA_LAYER_MAX);
	cr_expect_eq(samples[0].pid, (uint32_t)getpid());
	cr_expect_geq(samples[0].time_ns + UINT64_C(200000000), before);
	cr_expect_leq(samples[0].time_ns, strata__os_realtime_ns());
}

Test(heat, the_last_six_are_kept)
{
	for (uint32_t i = 0; i < 10; i++)
		look_up_until_noted(7, i, i % 2 == 0);
	samples_take();
	cr_assert_eq(nr_samples, STRATA_SLOT_SAMPLES);
	for (size_t i = 0; i < nr_samples; i++) {
		cr_expect_eq(samples[i].dimension, 7);
		cr_expect_geq(samples[i].layer, 4);
		cr_expect_leq(samples[i].layer, 9);
	}
}

/* In a burst the clock is looked at seldom, and hardly anything is noted. */
Test(heat, a_burst_is_looked_at_seldom)
{
	uint32_t looks = 0;
	uint64_t at;

	for (int i = 0; i < 4096; i++)
		look_up(7, 1, false);
	for (int i = 0; i < 10240; i++) {
		at = reader->sample_at;
		reader->sampled_ns = strata__os_realtime_coarse_ns();
		look_up(7, 1, false);
		looks += at != reader->sample_at;
	}
	cr_expect_leq(looks, 11, "%u looks at the clock", looks);
	cr_expect_geq(looks, 9);
}

Test(heat, who_becomes_slow_is_looked_at_again_and_again)
{
	reader->sample_step = 1024;
	let_time_pass(UINT64_C(1000000000) * 3600);
	look_up(7, 1, false);
	cr_expect_eq(reader->sample_step, 1);
}

/* Over the lookups of sections that are all alike, not the first ones only. */
Test(heat, who_looks_nothing_up_goes_the_usual_way_again)
{
	let_time_pass(UINT64_C(1) << 40);
	must(strata_read_lock(reader));
	must(strata_read_unlock(reader));
	cr_expect_neq(reader->slow & STRATA_SLOW_SAMPLED, 0);
	for (unsigned i = 0; i < 3000; i++) {
		reader->sampled_ns = strata__os_realtime_coarse_ns();
		must(strata_read_lock(reader));
		must(strata_read_unlock(reader));
	}
	cr_expect_eq(reader->slow & STRATA_SLOW_SAMPLED, 0);
	cr_expect_eq(reader->way, STRATA__WAY_LOCK);
}

Test(heat, chance_picks_the_lookup)
{
	const struct strata_entry *entry;
	bool seen[20] = {false};
	int nr_seen = 0;

	for (int round = 0; round < 400; round++) {
		let_time_pass(UINT64_C(1000000000));
		must(strata_read_lock(reader));
		for (uint32_t i = 0; i < 20; i++)
			must(strata_find(reader, 7, i, &entry));
		must(strata_read_unlock(reader));
	}
	for (int round = 0; round < 40; round++) {
		let_time_pass(UINT64_C(1000000000));
		must(strata_read_lock(reader));
		for (uint32_t i = 0; i < 20; i++)
			must(strata_find(reader, 7, i, &entry));
		must(strata_read_unlock(reader));
		samples_take();
		for (size_t i = 0; i < nr_samples; i++)
			seen[samples[i].layer] = true;
	}
	for (int i = 0; i < 20; i++)
		nr_seen += seen[i];
	cr_expect_geq(nr_seen, 8, "only %d of 16 layers", nr_seen);
}

Test(heat, what_is_not_found_is_not_hot)
{
	const struct strata_entry *entry;

	let_time_pass(UINT64_C(1000000000));
	must(strata_read_lock(reader));
	for (uint32_t i = 0; i < 40; i++)
		cr_expect_eq(strata_find(reader, 7, 30, &entry),
			     STRATA_ENOLAYER);
	must(strata_read_unlock(reader));
	samples_take();
	cr_expect_eq(nr_samples, 0);
}

/* A clock that was set back, or long ago: no age that nobody can tell. */
Test(heat, old_samples_are_forgotten)
{
	struct strata__slot *slot = reader->slot;

	look_up_until_noted(7, 1, false);
	strata__count_set(&slot->sampled_ns, strata__os_realtime_ns() -
						     UINT64_C(2400000000000));
	look_up_until_noted(7, 2, false);
	samples_take();
	cr_assert_eq(nr_samples, 1);
	cr_expect_eq(samples[0].layer, 2);
	strata__count_set(&slot->sampled_ns, UINT64_MAX);
	look_up_until_noted(7, 3, false);
	strata__count_set(&slot->sampled_ns, 1);
	samples_take();
	cr_expect_eq(nr_samples, 1 + (strata__count(&slot->samples[1]) != 0));
}

Test(heat, a_closed_reader_leaves_nothing)
{
	look_up_until_noted(7, 1, false);
	must(strata_reader_close(reader));
	reader = reader_open(store);
	samples_take();
	cr_expect_eq(nr_samples, 0);
}

/* A slot has what its user wrote there. */
Test(heat, nonsense_is_told_as_it_stands)
{
	for (unsigned i = 0; i < STRATA_SLOT_SAMPLES; i++)
		strata__count_set(&reader->slot->samples[i], UINT64_MAX);
	samples_take();
	cr_assert_eq(nr_samples, STRATA_SLOT_SAMPLES);
	cr_expect_eq(samples[0].dimension, STRATA_DIMENSION_MAX);
	cr_expect_eq(samples[0].layer, STRATA_LAYER_MAX);
	expect_error(strata_foreach_sample(NULL, sample_add, NULL),
		     STRATA_EINVAL, "no store");
}
