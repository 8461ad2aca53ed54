/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata ls --hot: what readers looked up last, by their own word. */
#include <stdlib.h>
#include <string.h>

#include "top.h"

/* Its layer that was met most. */
static int64_t
hottest_of(const struct top_heat *layers, size_t nr, uint32_t dimension)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (layers[i].dimension == dimension)
			return layers[i].layer;
	return -1;
}

static const struct table_column dimension_columns[] = {
	{"DIM", true},
	{"SAMPLES", true},
	{"HOTTEST LAYER", true},
	{"LAST ACCESS", false},
};

static const struct table_column layer_columns[] = {
	{"LAYER", true},
	{"SAMPLES", true},
	{"LAST ACCESS", false},
};

/* What is shown: dimensions, or the layers of one. */
struct hot {
	const struct top_heat *rows, *layers;
	size_t nr, nr_layers;
	bool by_dimension;
};

static void
table_show(const struct hot *hot)
{
	uint64_t now = now_ns();
	struct table table;
	size_t i;

	if (hot->by_dimension)
		table_init(&table, dimension_columns, 4);
	else
		table_init(&table, layer_columns, 3);
	for (i = 0; i < hot->nr; i++) {
		const struct top_heat *row = &hot->rows[i];

		table_add(&table, "%lld",
			  hot->by_dimension ? (long long)row->dimension
					    : (long long)row->layer);
		table_add(&table, "%.0f", row->heat);
		if (hot->by_dimension)
			table_add(&table, "%lld",
				  (long long)hottest_of(hot->layers,
							hot->nr_layers,
							row->dimension));
		if (row->last_ns <= now)
			table_add(&table, "%s ago",
				  AGE_TEXT(now - row->last_ns));
		else
			table_add(&table, "?");
	}
	table_print(&table);
	table_fini(&table);
}

static int
json_show(const struct hot *hot, const char *store)
{
	json_t *items = json_array();
	size_t i;

	for (i = 0; i < hot->nr_layers; i++) {
		const struct top_heat *row = &hot->layers[i];

		json_array_append_new(
			items,
			json_pack("{s:I, s:I, s:I, s:s}", "dimension",
				  (json_int_t)row->dimension, "layer",
				  (json_int_t)row->layer, "samples",
				  (json_int_t)row->heat, "last_access",
				  TIME_TEXT(row->last_ns)));
	}
	return json_print(json_pack("{s:o, s:o}", "store", json_text(store),
				    "hot", items));
}

static int
hot_show(const struct tool_args *args, const struct top_model *model,
	 bool by_dimension, const char *filter)
{
	struct top_view view = {.by_dimension = false};
	struct top_heat *layers, *rows;
	struct hot hot = {.by_dimension = by_dimension};
	int status = TOOL_DONE;

	snprintf(view.filter, sizeof(view.filter), "%s", filter);
	layers = top_hot(model, &view, &hot.nr_layers);
	view.by_dimension = by_dimension;
	rows = top_hot(model, &view, &hot.nr);
	hot.layers = layers;
	hot.rows = rows;
	if (args_has(args, KEY_JSON))
		status = json_show(&hot, args->operands[0]);
	else
		table_show(&hot);
	free(layers);
	free(rows);
	return status;
}

/* Refuses what ls refuses without --hot; a copy needs no reader slot. */
static int
dimension_check(const struct tool_args *args, struct strata_store *store,
		uint32_t id)
{
	struct view view = {.args = args,
			    .name = strata_name(store),
			    .store = store,
			    .reader = NULL};
	struct strata_dimension dimension;

	return view_dimension(&view, id, &dimension);
}

static int
samples_show(const struct tool_args *args, struct strata_store *store,
	     bool by_dimension, const char *filter)
{
	struct top_model model = {.nr_heat = 0};
	struct top_look look = {.why = NULL};
	int status = TOOL_DONE;
	int code = strata_foreach_sample(store, top_sample_add, &look);

	if (code != 0)
		status = message_refused(args, args->operands[0], code);
	top_push(&model, &look);
	if (status == TOOL_DONE)
		status = hot_show(args, &model, by_dimension, filter);
	top_fini(&model);
	return status;
}

int
hot_list(const struct tool_args *args)
{
	bool one = args->nr_operands == 2;
	struct strata_store *store;
	char filter[32] = "";
	int status = TOOL_DONE;
	uint32_t dimension;

	if (one)
		status = args_dimension(args, args->operands[1], &dimension);
	if (status == TOOL_DONE)
		status = store_attach(args, args->operands[0], STRATA_READ,
				      &store);
	if (status != TOOL_DONE)
		return status;
	if (one) {
		snprintf(filter, sizeof(filter), "%u/", dimension);
		status = dimension_check(args, store, dimension);
	}
	if (status == TOOL_DONE)
		status = samples_show(args, store, !one, filter);
	return store_detach(args, store, status);
}
