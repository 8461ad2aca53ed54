/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata metrics: the figures of stores, for Prometheus. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "metrics.h"

/*
 * The text format of Prometheus, version 0.0.4. All samples of a metric stand
 * together, so all stores are looked at first. Labels are few: the store, and
 * the size of a pool's blocks. Readers are summed up, since each would be a
 * series of its own.
 */

/* What readers do to a store. */
struct retention {
	uint64_t most_retained; /* bytes, by one reader */
	uint64_t oldest_ns;     /* age of the oldest version that is pinned */
	uint64_t pinned;        /* readers in a section */
};

struct sample {
	char *name;
	bool is_up;
	struct strata_stats stats;
	struct retention retention;
};

struct samples {
	struct sample *list;
	size_t nr;
};

/**** looking ****/

static int
retention_add(const struct strata_reader_info *info, void *arg)
{
	struct retention *retention = arg;

	if (!info->alive || info->pin == 0)
		return 0;
	retention->pinned++;
	if (info->retained > retention->most_retained)
		retention->most_retained = info->retained;
	if (info->age_ns > retention->oldest_ns)
		retention->oldest_ns = info->age_ns;
	return 0;
}

/* A store that cannot be looked at is down, which is a sample, too. */
static void
sample_take(struct sample *sample, unsigned flags)
{
	struct strata_store *store;

	sample->stats.struct_size = sizeof(sample->stats);
	if (strata_attach(sample->name, STRATA_READ | flags, &store) != 0)
		return;
	sample->is_up = strata_stats(store, &sample->stats) == 0 &&
			strata_foreach_reader(store, retention_add,
					      &sample->retention) == 0;
	strata_detach(store);
}

static struct sample *
samples_add(struct samples *samples, const char *name)
{
	struct sample *sample;

	samples->list =
		x_grow(samples->list, samples->nr, sizeof(*samples->list));
	sample = &samples->list[samples->nr++];
	memset(sample, 0, sizeof(*sample));
	sample->name = x_dup(name);
	return sample;
}

static int
listed_add(const struct strata_list_entry *entry, void *arg)
{
	(void)samples_add(arg, entry->name);
	return 0;
}

static bool
samples_have(const struct samples *samples, const char *name)
{
	for (size_t i = 0; i < samples->nr; i++)
		if (strcmp(samples->list[i].name, name) == 0)
			return true;
	return false;
}

static int
samples_take(struct samples *samples, const struct tool_args *args)
{
	unsigned flags =
		args_has(args, KEY_TRUST_OWNER) ? STRATA_TRUST_OWNER : 0;
	int code = 0;

	*samples = (struct samples){NULL, 0};
	/* A page that has a sample twice is refused as a whole. */
	for (int i = 0; i < args->nr_operands; i++)
		if (!samples_have(samples, args->operands[i]))
			(void)samples_add(samples, args->operands[i]);
	if (args->nr_operands == 0)
		code = strata_list(listed_add, samples);
	for (size_t i = 0; i < samples->nr; i++)
		sample_take(&samples->list[i], flags);
	return code;
}

static void
samples_fini(struct samples *samples)
{
	for (size_t i = 0; i < samples->nr; i++)
		free(samples->list[i].name);
	free(samples->list);
}

/**** writing ****/

static bool
is_counter(const char *metric)
{
	size_t length = strlen(metric);

	return length > 6 && strcmp(metric + length - 6, "_total") == 0;
}

static void
family(FILE *file, const char *metric, const char *meaning)
{
	fprintf(file, "# HELP %s %s\n# TYPE %s %s\n", metric, meaning, metric,
		is_counter(metric) ? "counter" : "gauge");
}

/* Store names have no characters that a label value would have to escape; of
 * operands that are no store names nobody knows, so they are left out. */
static bool
is_plain(const char *name)
{
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] ==
	       '\0';
}

static void
store_figure(FILE *file, const struct samples *samples,
	     const struct figure *figure)
{
	for (size_t i = 0; i < samples->nr; i++) {
		const struct sample *sample = &samples->list[i];

		if (!sample->is_up)
			continue;
		fprintf(file, "%s{store=\"%s\"%s%s} ", figure->metric,
			sample->name, figure->label != NULL ? "," : "",
			figure->label != NULL ? figure->label : "");
		if (figure->nr == FIGURE_REAL)
			fprintf(file, "%.17g\n",
				figure_real(figure, &sample->stats));
		else
			fprintf(file, "%llu\n",
				(unsigned long long)figure_value(
					figure, &sample->stats));
	}
}

/* Of each pool: its figures are at, size bytes apart, in the statistics. */
static void
each_pool(FILE *file, const struct samples *samples,
	  const struct figure *figure, size_t at, size_t size)
{
	for (size_t i = 0; i < samples->nr; i++) {
		const struct sample *sample = &samples->list[i];
		const struct strata_stats *stats = &sample->stats;

		for (uint32_t p = 0; sample->is_up && p < stats->nr_pools; p++)
			fprintf(file,
				"%s{store=\"%s\",block_size=\"%llu\"%s%s} "
				"%llu\n",
				figure->metric, sample->name,
				(unsigned long long)stats->pools[p].block_size,
				figure->label != NULL ? "," : "",
				figure->label != NULL ? figure->label : "",
				(unsigned long long)figure_value(
					figure,
					(const char *)stats + at + p * size));
	}
}

static void
pool_figure(FILE *file, const struct samples *samples,
	    const struct figure *figure)
{
	each_pool(file, samples, figure, offsetof(struct strata_stats, pools),
		  sizeof(struct strata_pool_stats));
}

static void
scatter_figure(FILE *file, const struct samples *samples,
	       const struct figure *figure)
{
	each_pool(file, samples, figure,
		  offsetof(struct strata_stats, fragmentation),
		  sizeof(struct strata_fragmentation));
}

/* Of the lengths that are counted, the shortest names each. */
static void
runs_write(FILE *file, const struct samples *samples)
{
	family(file, "strata_pool_free_runs",
	       "Runs of free blocks that are at least so long, and shorter than "
	       "twice that; the last ones are longer, too.");
	for (size_t i = 0; i < samples->nr; i++) {
		const struct sample *sample = &samples->list[i];
		const struct strata_stats *stats = &sample->stats;

		for (uint32_t p = 0; sample->is_up && p < stats->nr_pools; p++)
			for (unsigned n = 0; n < STRATA_FREE_RUNS; n++)
				fprintf(file,
					"strata_pool_free_runs{store=\"%s\","
					"block_size=\"%llu\",length=\"%u\"} "
					"%llu\n",
					sample->name,
					(unsigned long long)stats->pools[p]
						.block_size,
					1u << n,
					(unsigned long long)stats->spread[p]
						.free_runs[n]);
	}
}

/* A histogram: each bucket has those before it, too. */
static void
graces_write_one(FILE *file, const struct sample *sample)
{
	static const char *const bounds[STRATA_GRACE_BUCKETS] = {
		"1e-05", "0.0001", "0.001", "0.01", "0.1", "1", "+Inf"};
	static const char name[] = "strata_grace_period_seconds";
	const struct strata_stats *stats = &sample->stats;
	unsigned long long nr = 0;

	for (unsigned i = 0; i < STRATA_GRACE_BUCKETS; i++) {
		nr += stats->grace_durations[i];
		fprintf(file, "%s_bucket{store=\"%s\",le=\"%s\"} %llu\n", name,
			sample->name, bounds[i], nr);
	}
	fprintf(file, "%s_sum{store=\"%s\"} %.17g\n", name, sample->name,
		(double)stats->grace_total_ns / 1e9);
	fprintf(file, "%s_count{store=\"%s\"} %llu\n", name, sample->name, nr);
}

static void
graces_write(FILE *file, const struct samples *samples)
{
	fputs("# HELP strata_grace_period_seconds How long grace periods took, "
	      "from fence to freeing.\n"
	      "# TYPE strata_grace_period_seconds histogram\n",
	      file);
	for (size_t i = 0; i < samples->nr; i++)
		if (samples->list[i].is_up)
			graces_write_one(file, &samples->list[i]);
}

static void
figures_write(FILE *file, const struct samples *samples,
	      const struct figure *figures,
	      void (*write)(FILE *file, const struct samples *samples,
			    const struct figure *figure))
{
	const char *last = "";

	for (; figures->key != NULL; figures++) {
		if (figures->metric == NULL)
			continue;
		if (strcmp(figures->metric, last) != 0)
			family(file, figures->metric, figures->meaning);
		last = figures->metric;
		write(file, samples, figures);
	}
}

static void
gauge(FILE *file, const struct samples *samples, const char *metric,
      const char *meaning, double (*value)(const struct sample *sample))
{
	family(file, metric, meaning);
	for (size_t i = 0; i < samples->nr; i++)
		if (samples->list[i].is_up)
			fprintf(file, "%s{store=\"%s\"} %.17g\n", metric,
				samples->list[i].name,
				value(&samples->list[i]));
}

static double
value_version(const struct sample *sample)
{
	return (double)sample->stats.version;
}

static double
value_created(const struct sample *sample)
{
	return (double)sample->stats.created_ns / 1e9;
}

static double
value_pressure(const struct sample *sample)
{
	return sample->stats.pressure;
}

static double
value_pinned(const struct sample *sample)
{
	return (double)sample->retention.pinned;
}

static double
value_retained(const struct sample *sample)
{
	return (double)sample->retention.most_retained;
}

static double
value_oldest(const struct sample *sample)
{
	return (double)sample->retention.oldest_ns / 1e9;
}

static void
samples_write(FILE *file, const struct samples *samples)
{
	family(file, "strata_up", "Whether the store can be attached.");
	for (size_t i = 0; i < samples->nr; i++)
		if (is_plain(samples->list[i].name))
			fprintf(file, "strata_up{store=\"%s\"} %d\n",
				samples->list[i].name, samples->list[i].is_up);
	gauge(file, samples, "strata_version",
	      "The current version: commits since creation.", value_version);
	gauge(file, samples, "strata_created_timestamp_seconds",
	      "When the store was made.", value_created);
	gauge(file, samples, "strata_pressure",
	      "Threshold of the limit that is passed: 0 none, 1 75 %, 2 85 %, "
	      "3 95 %.",
	      value_pressure);
	gauge(file, samples, "strata_pinned_readers",
	      "Readers that are in a section.", value_pinned);
	gauge(file, samples, "strata_most_retained_bytes",
	      "Bytes that the one reader keeps that keeps most.",
	      value_retained);
	gauge(file, samples, "strata_oldest_pin_age_seconds",
	      "For how long at least the oldest pinned version is outdated.",
	      value_oldest);
	figures_write(file, samples, store_figures, store_figure);
	figures_write(file, samples, pool_figures, pool_figure);
	figures_write(file, samples, scatter_figures, scatter_figure);
	runs_write(file, samples);
	graces_write(file, samples);
}

int
metrics_write(const struct tool_args *args, FILE *file)
{
	struct samples samples;
	int code = samples_take(&samples, args);

	if (code == 0)
		samples_write(file, &samples);
	samples_fini(&samples);
	return code;
}

/**** the command ****/

int
cmd_metrics(const struct tool_args *args)
{
	const char *address = args_value(args, KEY_LISTEN);
	struct output output;
	int code, status;

	if (address != NULL && args_has(args, KEY_TEXTFILE))
		return message_usage(args, "--listen and --textfile: one of "
					   "them at a time");
	if (address != NULL)
		return metrics_serve(args, address);
	status = output_open(args, args_value(args, KEY_TEXTFILE), &output);
	if (status != TOOL_DONE)
		return status;
	code = metrics_write(args, output.file);
	if (code != 0) {
		output_abort(&output);
		return message_refused(args, NULL, code);
	}
	return output_commit(&output);
}
