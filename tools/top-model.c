/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What strata top knows: the last two looks, rates between them, heat. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "top.h"

/* Of what was met so long ago, half counts. */
#define HALF_LIFE_S 10.0
/* What counts less than that, and is that old, is forgotten. */
#define HEAT_MIN    0.01
#define HEAT_OLD_NS (UINT64_C(3600) * 1000000000)

void
top_look_fini(struct top_look *look)
{
	free(look->why);
	free(look->readers);
	free(look->regions);
	free(look->samples);
	memset(look, 0, sizeof(*look));
}

int
top_sample_add(const struct strata_sample *sample, void *arg)
{
	struct top_look *look = arg;

	look->samples = x_grow(look->samples, look->nr_samples,
			       sizeof(*look->samples));
	look->samples[look->nr_samples++] = *sample;
	return 0;
}

void
top_fini(struct top_model *model)
{
	top_look_fini(&model->now);
	top_look_fini(&model->before);
	free(model->reads);
	free(model->heat);
	memset(model, 0, sizeof(*model));
}

/**** rates ****/

/* Two looks at one and the same store? */
static bool
is_comparable(const struct top_look *before, const struct top_look *now)
{
	return before->why == NULL && now->why == NULL &&
	       before->stats.version != 0 &&
	       before->stats.created_ns == now->stats.created_ns &&
	       before->stats.version <= now->stats.version &&
	       before->time_ns < now->time_ns;
}

static double
rate(uint64_t before, uint64_t now, double seconds)
{
	return now > before ? (double)(now - before) / seconds : 0;
}

static bool
is_of(const struct strata_reader_info *a, const struct strata_reader_info *b)
{
	return a->pid == b->pid && a->pid_namespace == b->pid_namespace &&
	       a->uid == b->uid;
}

/* Sections of all living handles of a process; a handle cannot be told from
 * another one of it. */
static uint64_t
sections_of(const struct top_look *look, const struct strata_reader_info *of)
{
	uint64_t sections = 0;
	size_t i;

	for (i = 0; i < look->nr_readers; i++)
		if (look->readers[i].alive && is_of(&look->readers[i], of))
			sections += look->readers[i].sections;
	return sections;
}

static bool
is_first_of(const struct top_look *look, size_t index)
{
	size_t i;

	for (i = 0; i < index; i++)
		if (is_of(&look->readers[i], &look->readers[index]))
			return false;
	return true;
}

/* Processes that came meanwhile count from their first section on. */
static void
reads_find(struct top_model *model, double seconds)
{
	const struct top_look *now = &model->now;
	size_t i;

	model->reads = x_alloc((now->nr_readers + 1) * sizeof(*model->reads));
	for (i = 0; i < now->nr_readers; i++) {
		model->reads[i] =
			seconds > 0 ? rate(sections_of(&model->before,
						       &now->readers[i]),
					   sections_of(now, &now->readers[i]),
					   seconds)
				    : -1;
		if (seconds > 0 && is_first_of(now, i))
			model->rates.reads += model->reads[i];
	}
}

static void
rates_find(struct top_model *model)
{
	const struct top_look *before = &model->before, *now = &model->now;
	double seconds;

	free(model->reads);
	model->reads = NULL;
	if (!is_comparable(before, now)) {
		model->rates = (struct top_rates){-1, -1, -1};
		reads_find(model, 0);
		return;
	}
	seconds = (double)(now->time_ns - before->time_ns) / 1e9;
	model->rates = (struct top_rates){
		rate(before->stats.commits, now->stats.commits, seconds), 0,
		rate(before->stats.allocations, now->stats.allocations,
		     seconds)};
	reads_find(model, seconds);
}

/**** heat ****/

static int
compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int
compare_samples(const void *one, const void *other)
{
	const struct strata_sample *a = one, *b = other;
	int order = compare_u64(a->time_ns, b->time_ns);

	if (order == 0)
		order = compare_u64(a->dimension, b->dimension);
	if (order == 0)
		order = compare_u64(a->layer, b->layer);
	if (order == 0)
		order = compare_u64(a->pid, b->pid);
	if (order == 0)
		order = compare_u64(a->pid_namespace, b->pid_namespace);
	return order;
}

static void
heat_cool(struct top_model *model, double seconds, uint64_t newest_ns)
{
	double factor = exp2(-seconds / HALF_LIFE_S);
	size_t i, kept = 0;

	for (i = 0; i < model->nr_heat; i++) {
		struct top_heat *heat = &model->heat[i];

		heat->heat *= factor;
		if (heat->heat >= HEAT_MIN || newest_ns < heat->last_ns ||
		    newest_ns - heat->last_ns < HEAT_OLD_NS)
			model->heat[kept++] = *heat;
	}
	/* x_grow() counts on its row of sizes, so there is a new list. */
	if (kept != model->nr_heat) {
		struct top_heat *list = NULL;

		for (i = 0; i < kept; i++) {
			list = x_grow(list, i, sizeof(*list));
			list[i] = model->heat[i];
		}
		free(model->heat);
		model->heat = list;
		model->nr_heat = kept;
	}
	model->total_heat *= factor;
}

static void
heat_add(struct top_model *model, const struct strata_sample *sample)
{
	struct top_heat *heat;
	size_t i;

	for (i = 0; i < model->nr_heat; i++)
		if (model->heat[i].dimension == sample->dimension &&
		    model->heat[i].layer == sample->layer)
			break;
	if (i == model->nr_heat) {
		model->heat = x_grow(model->heat, model->nr_heat,
				     sizeof(*model->heat));
		model->heat[model->nr_heat++] = (struct top_heat){
			sample->dimension, sample->layer, 0, 0};
	}
	heat = &model->heat[i];
	heat->heat += 1;
	model->total_heat += 1;
	if (heat->last_ns < sample->time_ns)
		heat->last_ns = sample->time_ns;
}

/* A sample that was there at the last look was counted then. */
static void
heat_find(struct top_model *model)
{
	struct top_look *now = &model->now;
	const struct top_look *before = &model->before;
	bool same = is_comparable(before, now);
	size_t i, k = 0;

	if (now->nr_samples > 0)
		qsort(now->samples, now->nr_samples, sizeof(*now->samples),
		      compare_samples);
	if (same) {
		heat_cool(model, (double)(now->time_ns - before->time_ns) / 1e9,
			  now_ns());
	} else if (now->why == NULL) {
		free(model->heat);
		model->heat = NULL;
		model->nr_heat = 0;
		model->total_heat = 0;
	}
	for (i = 0; i < now->nr_samples; i++) {
		while (same && k < before->nr_samples &&
		       compare_samples(&before->samples[k], &now->samples[i]) <
			       0)
			k++;
		if (same && k < before->nr_samples &&
		    compare_samples(&before->samples[k], &now->samples[i]) == 0)
			k++;
		else
			heat_add(model, &now->samples[i]);
	}
}

void
top_push(struct top_model *model, struct top_look *look)
{
	top_look_fini(&model->before);
	model->before = model->now;
	model->now = *look;
	memset(look, 0, sizeof(*look));
	rates_find(model);
	heat_find(model);
}
