/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Commands that look at a store: stat, readers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "figures.h"

/**** stat: text ****/

static const char *
pressure_text(enum strata_pressure pressure)
{
	switch (pressure) {
	case STRATA_PRESSURE_NONE:
		return "none";
	case STRATA_PRESSURE_WARNING:
		return "warning";
	case STRATA_PRESSURE_HIGH:
		return "high";
	case STRATA_PRESSURE_CRITICAL:
		return "critical";
	}
	return "?";
}

/* As people say it: the nearest whole MiB. */
static unsigned long long
megabytes(uint64_t bytes)
{
	return (bytes + (UINT64_C(1) << 19)) >> 20;
}

static double
percent(uint64_t part, uint64_t whole)
{
	return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

/* Four lines whose form is fixed: programs may have learnt to read them. */
void
summary_print(const struct strata_stats *stats, uint64_t time_ns)
{
	print("Memory State Dump @ %s\n", TIME_TEXT(time_ns));
	print("Regions: %llu | Layers: %llu | Pools: %u\n",
	       (unsigned long long)stats->nr_regions,
	       (unsigned long long)stats->nr_layers, stats->nr_pools);
	print("Memory: %llu/%llu MB (%.1f%%)\n", megabytes(stats->reserved),
	       megabytes(stats->limit), percent(stats->reserved, stats->limit));
	print("Allocations: %llu | Failures: %llu | Peak Readers: %llu\n",
	       (unsigned long long)stats->allocations,
	       (unsigned long long)stats->failures,
	       (unsigned long long)stats->peak_readers);
}

static void
memory_rows(struct table *table, const struct strata_stats *stats)
{
	table_field(table, "limit", "%s (at most %s)", SIZE_TEXT(stats->limit),
		    SIZE_TEXT(stats->max_limit));
	table_field(table, "reserved", "%s (%.1f%%)",
		    SIZE_TEXT(stats->reserved),
		    percent(stats->reserved, stats->limit));
	table_field(table, "used", "%s, of which retired %s",
		    SIZE_TEXT(stats->used), SIZE_TEXT(stats->retired));
	table_field(table, "live", "%s content, %s metadata, %s unused (%.1f%%)",
		    SIZE_TEXT(stats->content_bytes),
		    SIZE_TEXT(stats->metadata_bytes),
		    SIZE_TEXT(stats->unused_bytes),
		    100 * stats->fragmentation_ratio);
	table_field(table, "beside it", "%s spare, %s readers, %s catalog",
		    SIZE_TEXT(stats->spare_bytes),
		    SIZE_TEXT(stats->pins_bytes),
		    SIZE_TEXT(stats->catalog_bytes));
	table_field(table, "made of", "%s pools, %s regions, %s fixed",
		    SIZE_TEXT(stats->pool_bytes),
		    SIZE_TEXT(stats->region_bytes),
		    SIZE_TEXT(stats->fixed_bytes));
	table_field(table, "large pages", "%s of the regions",
		    SIZE_TEXT(stats->large_page_bytes));
	table_field(table, "pressure", "%s (%s held, %.1f%%)",
		    pressure_text(stats->pressure), SIZE_TEXT(stats->held),
		    percent(stats->held, stats->limit));
}

static void
count_rows(struct table *table, const struct strata_stats *stats)
{
	table_field(table, "dimensions",
		    "%llu (%llu proto, %llu crystallized, %llu hybrid)",
		    (unsigned long long)stats->nr_dimensions,
		    (unsigned long long)stats->nr_proto,
		    (unsigned long long)stats->nr_crystallized,
		    (unsigned long long)stats->nr_hybrid);
	table_field(table, "layers", "%llu",
		    (unsigned long long)stats->nr_layers);
	table_field(table, "regions", "%llu",
		    (unsigned long long)stats->nr_regions);
	table_field(table, "readers", "%llu (peak %llu)",
		    (unsigned long long)stats->readers,
		    (unsigned long long)stats->peak_readers);
}

static void
history_rows(struct table *table, const struct strata_stats *stats)
{
	table_field(table, "commits",
		    "%llu (%llu loads, %llu reloads, %llu unloads, %llu "
		    "crystallizations)",
		    (unsigned long long)stats->commits,
		    (unsigned long long)stats->loads,
		    (unsigned long long)stats->reloads,
		    (unsigned long long)stats->unloads,
		    (unsigned long long)stats->crystallizations);
	table_field(table, "allocations", "%llu, deallocations %llu",
		    (unsigned long long)stats->allocations,
		    (unsigned long long)stats->deallocations);
	table_field(table, "failures",
		    "%llu class full, %llu limit, %llu shared memory full",
		    (unsigned long long)stats->failures_class,
		    (unsigned long long)stats->failures_limit,
		    (unsigned long long)stats->failures_shm);
	table_field(table, "reclaimed",
		    "%s in all, %llu recoveries", SIZE_TEXT(stats->reclaimed),
		    (unsigned long long)stats->recoveries);
	table_field(table, "grace periods", "%llu, %.3f ms last, %.3f ms longest",
		    (unsigned long long)stats->grace_periods,
		    (double)stats->grace_last_ns / 1e6,
		    (double)stats->grace_longest_ns / 1e6);
}

static const struct table_column pool_columns[] = {
	{"POOL", true}, {"BLOCKS MAX", true}, {"GROWN", true},
	{"LIVE", true}, {"RETIRED", true},    {"FREE", true},
	{"PEAK", true}, {"FAILED", true},     {"SPILLED", true},
	{"USED", true},
};

static void
pool_row(struct table *table, const struct strata_stats *stats, uint32_t i)
{
	const struct strata_pool_stats *pool = &stats->pools[i];
	const uint64_t numbers[] = {
		pool->max_blocks,     pool->grown_blocks, pool->live_blocks,
		pool->retired_blocks, pool->free_blocks,  pool->peak_blocks,
		pool->failed,	      pool->spilled,
	};

	table_add(table, "%s", SIZE_TEXT(pool->block_size));
	for (size_t n = 0; n < sizeof(numbers) / sizeof(*numbers); n++)
		table_add(table, "%llu", (unsigned long long)numbers[n]);
	table_add(table, "%.1f%%", stats->spread[i].utilization_percent);
}

static void
pools_print(const struct strata_stats *stats)
{
	struct table table;

	table_init(&table, pool_columns,
		   sizeof(pool_columns) / sizeof(*pool_columns));
	for (uint32_t i = 0; i < stats->nr_pools; i++)
		pool_row(&table, stats, i);
	table_print(&table);
	table_fini(&table);
}

/* Those in the middle count runs of free blocks of a length. */
static const struct table_column spread_columns[] = {
	{"FREE RUNS OF", true}, {"1", true},	  {"2", true},
	{"4", true},		{"8", true},	  {"16", true},
	{"32", true},		{"64", true},	  {"128+", true},
	{"LONGEST", true},	{"TRAPPED", true},
	{"SLACK SO FAR", true},
};
_Static_assert(sizeof(spread_columns) / sizeof(*spread_columns) ==
		       4 + STRATA_FREE_RUNS,
	       "a column for each length");

static void
spread_print(const struct strata_stats *stats)
{
	const struct strata_fragmentation *scattered;
	struct table table;

	table_init(&table, spread_columns,
		   sizeof(spread_columns) / sizeof(*spread_columns));
	for (uint32_t i = 0; i < stats->nr_pools; i++) {
		scattered = &stats->fragmentation[i];
		table_add(&table, "%s", SIZE_TEXT(stats->pools[i].block_size));
		for (unsigned n = 0; n < STRATA_FREE_RUNS; n++)
			table_add(&table, "%llu",
				  (unsigned long long)
					  stats->spread[i].free_runs[n]);
		table_add(&table, "%llu",
			  (unsigned long long)scattered->longest_free);
		table_add(&table, "%llu",
			  (unsigned long long)scattered->trapped_blocks);
		table_add(&table, "%s", SIZE_TEXT(scattered->slack));
	}
	table_print(&table);
	table_fini(&table);
}

static void
stat_print(const char *name, const char *directory,
	   const struct strata_stats *stats)
{
	struct table table;

	table_init(&table, table_fields, 2);
	table_field(&table, "store", "%s", name);
	table_field(&table, "directory", "%s",
		    directory != NULL ? directory : "none");
	table_field(&table, "created", "%s", TIME_TEXT(stats->created_ns));
	table_field(&table, "version", "%llu",
		    (unsigned long long)stats->version);
	memory_rows(&table, stats);
	count_rows(&table, stats);
	history_rows(&table, stats);
	table_print(&table);
	table_fini(&table);
	putchar('\n');
	pools_print(stats);
	putchar('\n');
	spread_print(stats);
	putchar('\n');
	summary_print(stats, now_ns());
}

/**** stat: JSON ****/

static void
number_set(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *
list_json(const struct figure *figure, const void *stats)
{
	const uint64_t *list =
		(const void *)((const char *)stats + figure->offset);
	json_t *items = json_array();

	for (uint32_t i = 0; i < figure->nr; i++)
		json_array_append_new(items,
				      json_integer((json_int_t)list[i]));
	return items;
}

/* To what a person wants to know of a share. */
static json_t *
real_json(double value)
{
	return json_real((double)(int64_t)(value * 1e4 + 0.5) / 1e4);
}

static void
figures_set(json_t *object, const struct figure *figures, const void *stats)
{
	for (; figures->key != NULL; figures++)
		if (figures->nr == FIGURE_REAL)
			json_object_set_new(
				object, figures->key,
				real_json(figure_real(figures, stats)));
		else if (figures->nr != 0)
			json_object_set_new(object, figures->key,
					    list_json(figures, stats));
		else
			number_set(object, figures->key,
				   figure_value(figures, stats));
}

static json_t *
pool_json(const struct strata_stats *stats, uint32_t i)
{
	json_t *item = json_object();

	figures_set(item, pool_figures, &stats->pools[i]);
	figures_set(item, scatter_figures, &stats->fragmentation[i]);
	figures_set(item, spread_figures, &stats->spread[i]);
	return item;
}

static json_t *
pools_json(const struct strata_stats *stats)
{
	json_t *pools = json_array();
	uint32_t i;

	for (i = 0; i < stats->nr_pools; i++)
		json_array_append_new(pools, pool_json(stats, i));
	return pools;
}

json_t *
stat_json(const char *name, const char *directory,
	  const struct strata_stats *stats)
{
	json_t *object = json_object();

	json_object_set_new(object, "store", json_text(name));
	number_set(object, "version", stats->version);
	json_object_set_new(object, "directory",
			    directory != NULL ? json_text(directory)
					      : json_null());
	json_object_set_new(object, "created",
			    json_string(TIME_TEXT(stats->created_ns)));
	json_object_set_new(object, "time", json_string(TIME_TEXT(now_ns())));
	figures_set(object, store_figures, stats);
	json_object_set_new(object, "pressure",
			    json_string(pressure_text(stats->pressure)));
	json_object_set_new(object, "pools", pools_json(stats));
	return object;
}

static void
stat_output(const struct tool_args *args, struct strata_store *store,
	    const struct strata_stats *stats)
{
	const char *name = strata_name(store);
	const char *directory = strata_directory(store);

	if (args_has(args, KEY_JSON))
		json_print(stat_json(name, directory, stats));
	else if (args_has(args, KEY_SUMMARY))
		summary_print(stats, now_ns());
	else
		stat_print(name, directory, stats);
}

/* Text that is wider than a line is broken between words. */
static void
wrap(const char *text, int indent)
{
	size_t room = 78 - (size_t)indent;

	while (strlen(text) > room) {
		size_t end = room;

		while (end > 0 && text[end] != ' ')
			end--;
		if (end == 0)
			break;
		print("%.*s\n%*s", (int)end, text, indent, "");
		text += end + 1;
	}
	print("%s\n", text);
}

static void
figures_explain(const struct figure *figures, const char *prefix)
{
	for (; figures->key != NULL; figures++) {
		char *key = x_format("%s%s", prefix, figures->key);

		print("%-25s  ", key);
		wrap(figures->meaning, 27);
		free(key);
	}
}

/* Of any store: the operand is not needed, and not looked at. */
static int
stat_explain(void)
{
	figures_explain(store_figures, "");
	figures_explain(pool_figures, "pools.");
	figures_explain(scatter_figures, "pools.");
	figures_explain(spread_figures, "pools.");
	return TOOL_DONE;
}

int
cmd_stat(const struct tool_args *args)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	struct strata_store *store;
	int code, status;

	if (args_has(args, KEY_EXPLAIN) && args_has(args, KEY_JSON))
		return message_usage(args, "--explain prints text: --json does "
					   "not go with it");
	if (args_has(args, KEY_EXPLAIN))
		return stat_explain();
	if (args->nr_operands == 0)
		return message_usage(args, "a store is needed, or --explain");
	status = store_attach(args, args->operands[0], STRATA_READ, &store);
	if (status != TOOL_DONE)
		return status;
	code = strata_stats(store, &stats);
	if (code != 0) {
		status = message_refused(args, args->operands[0], code);
	} else {
		view_note_observed(args, store);
		stat_output(args, store, &stats);
	}
	return store_detach(args, store, status);
}

/**** readers ****/

static const struct table_column reader_columns[] = {
	{"UID", true},       {"PID", true},    {"NAME", false},
	{"NAMESPACE", true}, {"ALIVE", false}, {"PIN", true},
	{"LAG", true},       {"AGE", true},    {"RETAINED", true},
	{"SECTIONS", true},
};

static int
reader_row(const struct strata_reader_info *info, void *arg)
{
	struct table *table = arg;

	table_add(table, "%u", info->uid);
	table_add(table, "%u", info->pid);
	table_add(table, "%.*s", (int)sizeof(info->name), info->name);
	table_add(table, "%llu", (unsigned long long)info->pid_namespace);
	table_add(table, "%s", info->alive ? "yes" : "no");
	if (info->pin != 0)
		table_add(table, "%llu", (unsigned long long)info->pin);
	else
		table_add(table, "-");
	table_add(table, "%llu", (unsigned long long)info->lag);
	table_add(table, "%s",
		  info->age_ns != 0 ? AGE_TEXT(info->age_ns) : "-");
	table_add(table, "%s", SIZE_TEXT(info->retained));
	table_add(table, "%llu", (unsigned long long)info->sections);
	return 0;
}

json_t *
reader_json(const struct strata_reader_info *info)
{
	json_t *item = json_object();
	char *name = x_format("%.*s", (int)sizeof(info->name), info->name);

	number_set(item, "uid", info->uid);
	number_set(item, "pid", info->pid);
	json_object_set_new(item, "name", json_text(name));
	number_set(item, "namespace", info->pid_namespace);
	json_object_set_new(item, "alive", json_boolean(info->alive));
	number_set(item, "pin", info->pin);
	number_set(item, "lag", info->lag);
	number_set(item, "age_ns", info->age_ns);
	number_set(item, "retained", info->retained);
	number_set(item, "sections", info->sections);
	free(name);
	return item;
}

static int
reader_item(const struct strata_reader_info *info, void *arg)
{
	json_array_append_new(arg, reader_json(info));
	return 0;
}

static int
readers_json(const struct tool_args *args, struct strata_store *store)
{
	json_t *items = json_array();
	uint64_t version = strata_version(store);
	int code = strata_foreach_reader(store, reader_item, items);

	if (code != 0) {
		json_decref(items);
		return message_refused(args, strata_name(store), code);
	}
	return json_print(json_pack("{s:o, s:I, s:o}", "store",
				    json_text(strata_name(store)), "version",
				    (json_int_t)version, "readers", items));
}

static int
readers_list(const struct tool_args *args, struct strata_store *store)
{
	struct table table;
	int code, status = TOOL_DONE;

	table_init(&table, reader_columns,
		   sizeof(reader_columns) / sizeof(*reader_columns));
	code = strata_foreach_reader(store, reader_row, &table);
	if (code != 0)
		status = message_refused(args, strata_name(store), code);
	else
		table_print(&table);
	table_fini(&table);
	return status;
}

int
cmd_readers(const struct tool_args *args)
{
	struct strata_store *store;
	int status;

	status = store_attach(args, args->operands[0], STRATA_READ, &store);
	if (status != TOOL_DONE)
		return status;
	status = args_has(args, KEY_JSON) ? readers_json(args, store)
					  : readers_list(args, store);
	return store_detach(args, store, status);
}
