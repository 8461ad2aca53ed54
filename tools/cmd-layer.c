/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Commands for layers: ls, cat, and their metadata. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "top.h"

/**** one layer ****/

static bool
is_simulated(const struct strata_entry *entry)
{
	return (entry->flags & STRATA_ENTRY_SIMULATED) != 0;
}

static const char *
location_text(const struct strata_entry *entry)
{
	return (entry->flags & STRATA_ENTRY_REGION) != 0 ? "region" : "pool";
}

static json_t *
keywords_json(const struct strata_meta *meta)
{
	json_t *array = json_array();
	uint32_t i;

	for (i = 0; i < meta->nr_keywords; i++)
		json_array_append_new(array, json_text(meta->keywords[i]));
	return array;
}

/* Keywords in one string, to be freed. */
static char *
keywords_join(const struct strata_meta *meta)
{
	char *joined = x_dup("");
	uint32_t i;

	for (i = 0; i < meta->nr_keywords; i++) {
		char *longer = x_format("%s%s%s", joined, i > 0 ? ", " : "",
					meta->keywords[i]);

		free(joined);
		joined = longer;
	}
	return joined;
}

json_t *
layer_json(uint32_t layer, const struct strata_entry *entry,
	   const struct strata_meta *meta)
{
	json_t *item = json_object();
	char checksum[17];

	snprintf(checksum, sizeof(checksum), "%016llx",
		 (unsigned long long)entry->checksum);
	json_object_set_new(item, "layer", json_integer(layer));
	json_object_set_new(item, "name", json_text(meta->name));
	json_object_set_new(item, "size",
			    json_integer((json_int_t)entry->size));
	json_object_set_new(item, "frequency", json_number(entry->frequency));
	json_object_set_new(item, "depth", json_integer(entry->depth));
	json_object_set_new(item, "parent",
			    entry->parent < 0 ? json_null()
					      : json_integer(entry->parent));
	json_object_set_new(item, "keywords", keywords_json(meta));
	json_object_set_new(item, "location",
			    json_string(location_text(entry)));
	json_object_set_new(item, "simulated",
			    json_boolean(is_simulated(entry)));
	json_object_set_new(item, "version",
			    json_integer((json_int_t)entry->version));
	json_object_set_new(item, "checksum",
			    entry->checksum != 0 ? json_string(checksum)
						 : json_null());
	json_object_set_new(item, "created",
			    json_string(TIME_TEXT(meta->created_ns)));
	return item;
}

/**** ls STORE ****/

static const struct table_column dimension_columns[] = {
	{"DIM", true},        {"NAME", false},   {"STATE", false},
	{"LAYERS", true},     {"PROTOS", true},  {"CONTENT", true},
	{"FREQUENCY", false}, {"VERSION", true},
};

static int
dimension_row(const struct strata_dimension *dimension, void *arg)
{
	struct table *table = arg;

	table_add(table, "%u", dimension->id);
	table_add(table, "%s", dimension->name);
	table_add(table, "%s%s", state_text(dimension->state),
		  dimension->immutable ? ", immutable" : "");
	table_add(table, "%llu", (unsigned long long)dimension->nr_layers);
	table_add(table, "%llu", (unsigned long long)dimension->nr_protos);
	table_add(table, "%s", SIZE_TEXT(dimension->content_bytes));
	table_add(table, "%g-%g Hz", dimension->frequency_min,
		  dimension->frequency_max);
	table_add(table, "%llu", (unsigned long long)dimension->version);
	return 0;
}

json_t *
dimension_json(const struct strata_dimension *dimension)
{
	return json_pack(
		"{s:I, s:o, s:s, s:b, s:I, s:I, s:I, s:I, s:o, s:o, s:I}", "id",
		(json_int_t)dimension->id, "name", json_text(dimension->name),
		"state", state_text(dimension->state), "immutable",
		dimension->immutable, "layers",
		(json_int_t)dimension->nr_layers, "bytes",
		(json_int_t)dimension->content_bytes, "protos",
		(json_int_t)dimension->nr_protos, "region_bytes",
		(json_int_t)dimension->region_bytes, "frequency_min",
		json_number(dimension->frequency_min), "frequency_max",
		json_number(dimension->frequency_max), "version",
		(json_int_t)dimension->version);
}

static int
dimension_item(const struct strata_dimension *dimension, void *arg)
{
	json_array_append_new(arg, dimension_json(dimension));
	return 0;
}

static int
dimensions_json(const struct tool_args *args)
{
	struct view view;
	json_t *items = json_array(), *object;
	int code, status = view_open(&view, args, args->operands[0]);

	if (status != TOOL_DONE) {
		json_decref(items);
		return status;
	}
	code = view_dimensions(&view, dimension_item, items);
	if (code != 0)
		status = message_refused(args, view.name, code);
	object = json_pack("{s:o, s:I, s:o}", "store", json_text(view.name),
			   "version", (json_int_t)view.version, "dimensions",
			   items);
	status = view_close(&view, status);
	if (status == TOOL_DONE)
		return json_print(object);
	json_decref(object);
	return status;
}

static int
dimensions_list(const struct tool_args *args)
{
	struct table table;
	struct view view;
	int code, status = view_open(&view, args, args->operands[0]);

	if (status != TOOL_DONE)
		return status;
	table_init(&table, dimension_columns,
		   sizeof(dimension_columns) / sizeof(*dimension_columns));
	code = view_dimensions(&view, dimension_row, &table);
	if (code != 0)
		status = message_refused(args, view.name, code);
	status = view_close(&view, status);
	if (status == TOOL_DONE)
		table_print(&table);
	table_fini(&table);
	return status;
}

/**** ls STORE DIM ****/

/* Where the layers of a dimension go: into a table or a JSON array. */
struct layer_list {
	struct view view;
	struct table table;
	json_t *items;
};

static const struct table_column layer_columns[] = {
	{"LAYER", true},     {"SIZE", true},       {"FREQUENCY", true},
	{"DEPTH", true},     {"PARENT", true},     {"VERSION", true},
	{"LOCATION", false}, {"SIMULATED", false}, {"NAME", false},
	{"KEYWORDS", false},
};

/* So that a table fits a screen; JSON and cat --meta have all of it. */
#define KEYWORDS_SHOWN 48

/* Shortens a text to whole characters. */
static void
shorten(char *text)
{
	size_t end = KEYWORDS_SHOWN - 3;

	if (strlen(text) <= KEYWORDS_SHOWN)
		return;
	while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
		end--;
	strcpy(text + end, "...");
}

static void
layer_row(struct table *table, uint32_t layer, const struct strata_entry *entry,
	  const struct strata_meta *meta)
{
	char *keywords = keywords_join(meta);

	table_add(table, "%u", layer);
	table_add(table, "%s", SIZE_TEXT(entry->size));
	table_add(table, "%g Hz", entry->frequency);
	table_add(table, "%u", entry->depth);
	if (entry->parent < 0)
		table_add(table, "-");
	else
		table_add(table, "%d", entry->parent);
	table_add(table, "%llu", (unsigned long long)entry->version);
	table_add(table, "%s", location_text(entry));
	table_add(table, "%s", is_simulated(entry) ? "yes" : "no");
	table_add(table, "%s", meta->name);
	shorten(keywords);
	table_add(table, "%s", keywords);
	free(keywords);
}

static int
layer_visit(uint32_t layer, const struct strata_entry *entry,
	    const struct strata_meta *meta, void *arg)
{
	struct layer_list *list = arg;

	if (list->items != NULL)
		json_array_append_new(list->items,
				      layer_json(layer, entry, meta));
	else
		layer_row(&list->table, layer, entry, meta);
	return 0;
}

static int
layers_collect(struct layer_list *list, uint32_t id,
	       struct strata_dimension *ret, uint64_t *ret_version)
{
	int status = view_dimension(&list->view, id, ret);
	int code;

	if (status != TOOL_DONE)
		return status;
	code = view_layers(&list->view, id, layer_visit, list);
	if (code != 0)
		return message_refused(list->view.args, list->view.name, code);
	*ret_version = list->view.version;
	return TOOL_DONE;
}

static int
layers_print(struct layer_list *list, const char *name,
	     const struct strata_dimension *dimension, uint64_t version)
{
	if (list->items == NULL) {
		table_print(&list->table);
		return TOOL_DONE;
	}
	return json_print(json_pack(
		"{s:o, s:I, s:I, s:o, s:s, s:b, s:O}", "store", json_text(name),
		"version", (json_int_t)version, "dimension",
		(json_int_t)dimension->id, "name", json_text(dimension->name),
		"state", state_text(dimension->state), "immutable",
		dimension->immutable, "layers", list->items));
}

static int
layers_list(const struct tool_args *args)
{
	struct layer_list list = {.items = NULL};
	struct strata_dimension dimension;
	uint64_t version = 0;
	uint32_t id;
	int status = args_dimension(args, args->operands[1], &id);

	if (status == TOOL_DONE)
		status = view_open(&list.view, args, args->operands[0]);
	if (status != TOOL_DONE)
		return status;
	table_init(&list.table, layer_columns,
		   sizeof(layer_columns) / sizeof(*layer_columns));
	if (args_has(args, KEY_JSON))
		list.items = json_array();
	status = layers_collect(&list, id, &dimension, &version);
	status = view_close(&list.view, status);
	if (status == TOOL_DONE)
		status = layers_print(&list, args->operands[0], &dimension,
				      version);
	json_decref(list.items);
	table_fini(&list.table);
	return status;
}

int
cmd_ls(const struct tool_args *args)
{
	if (args_has(args, KEY_HOT))
		return hot_list(args);
	if (args->nr_operands == 2)
		return layers_list(args);
	if (args_has(args, KEY_JSON))
		return dimensions_json(args);
	return dimensions_list(args);
}

/**** cat ****/

/* A layer that cat is asked for. */
struct found {
	struct view view;
	uint32_t dimension, layer;
	struct view_layer it;
};

/*
 * Straight from the store to stdout. A slow reader of the pipe keeps the
 * section open, which costs the store memory but nobody time.
 */
static int
content_write(const struct found *found)
{
	const char *bytes = found->it.data;
	uint64_t left = found->it.entry->size;
	ssize_t n;

	while (left > 0) {
		n = write(STDOUT_FILENO, bytes,
			  left < SSIZE_MAX ? left : SSIZE_MAX);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EPIPE)
			return TOOL_REFUSED; /* who left needs no message */
		if (n < 0)
			return message_error(found->view.args, found->view.name,
					     "the content cannot be written: "
					     "%s",
					     strerror(errno));
		bytes += n;
		left -= (uint64_t)n;
	}
	return TOOL_DONE;
}

static void
meta_rows(struct table *table, const struct found *found)
{
	const struct strata_entry *entry = found->it.entry;
	const struct strata_meta *meta = &found->it.meta;
	char *keywords = keywords_join(meta);

	table_field(table, "layer", "%u/%u", found->dimension, found->layer);
	table_field(table, "name", "%s", meta->name);
	table_field(table, "size", "%llu bytes",
		    (unsigned long long)entry->size);
	table_field(table, "frequency", "%g Hz", entry->frequency);
	table_field(table, "depth", "%u", entry->depth);
	if (entry->parent < 0)
		table_field(table, "parent", "none");
	else
		table_field(table, "parent", "%d", entry->parent);
	table_field(table, "keywords", "%s", keywords);
	table_field(table, "location", "%s", location_text(entry));
	table_field(table, "simulated", "%s",
		    is_simulated(entry) ? "yes" : "no");
	table_field(table, "version", "%llu",
		    (unsigned long long)entry->version);
	if (entry->checksum == 0)
		table_field(table, "checksum", "none, not in a region");
	else
		table_field(table, "checksum", "%016llx",
			    (unsigned long long)entry->checksum);
	table_field(table, "created", "%s", TIME_TEXT(meta->created_ns));
	free(keywords);
}

static json_t *
meta_json(const struct found *found)
{
	json_t *object =
		json_pack("{s:o, s:I}", "store", json_text(found->view.name),
			  "dimension", (json_int_t)found->dimension);
	json_t *layer =
		layer_json(found->layer, found->it.entry, &found->it.meta);

	json_object_update(object, layer);
	json_decref(layer);
	return object;
}

/* Makes what is to be printed after the section: one of the two. */
static int
cat_meta(struct found *found)
{
	bool in_json = args_has(found->view.args, KEY_JSON);
	struct table table;
	json_t *object = NULL;
	int status = view_layer(&found->view, found->dimension, found->layer,
				/* with_meta= */ true, &found->it);

	table_init(&table, table_fields, 2);
	if (status == TOOL_DONE && in_json)
		object = meta_json(found);
	else if (status == TOOL_DONE)
		meta_rows(&table, found);
	view_layer_fini(&found->it);
	status = view_close(&found->view, status);
	if (status != TOOL_DONE)
		json_decref(object);
	else if (object != NULL)
		json_print(object);
	else
		table_print(&table);
	table_fini(&table);
	return status;
}

static int
cat_content(struct found *found)
{
	int status = view_layer(&found->view, found->dimension, found->layer,
				/* with_meta= */ false, &found->it);

	if (status == TOOL_DONE)
		status = content_write(found);
	view_layer_fini(&found->it);
	return view_close(&found->view, status);
}

int
cmd_cat(const struct tool_args *args)
{
	struct found found = {.dimension = 0};
	int status;

	if (args_has(args, KEY_JSON) && !args_has(args, KEY_META))
		return message_usage(args, "--json goes with --meta: a content "
					   "is printed as it is");
	status = args_layer(args, args->operands[1], &found.dimension,
			    &found.layer);
	if (status == TOOL_DONE)
		status = view_open(&found.view, args, args->operands[0]);
	if (status != TOOL_DONE)
		return status;
	return args_has(args, KEY_META) ? cat_meta(&found)
					: cat_content(&found);
}
