/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata dump: the whole state of a store, as JSON. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tool.h"

/*
 * All layers are of one version, read in one section. The document is written
 * piece by piece, a line for each layer, into a file that nobody sees until all
 * of it is there: what was read counts only once the section has ended well.
 * docs/dump.schema.json says what it has.
 */
struct dump {
	struct view view;
	uint64_t time_ns;   /* CLOCK_REALTIME, of the document */
	struct output output;
	bool is_first;      /* in the list that is being written */
	uint32_t dimension; /* whose layers are */
};

/**** writing ****/

static void
piece(struct dump *dump, json_t *value)
{
	json_dumpf(value, dump->output.file, JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(value);
}

static void
field(struct dump *dump, const char *name, json_t *value)
{
	fprintf(dump->output.file, "  \"%s\": ", name);
	piece(dump, value);
	fputs(",\n", dump->output.file);
}

static void
list_begin(struct dump *dump, const char *name)
{
	fprintf(dump->output.file, "  \"%s\": [", name);
	dump->is_first = true;
}

static void
list_item(struct dump *dump, json_t *value)
{
	fputs(dump->is_first ? "\n    " : ",\n    ", dump->output.file);
	dump->is_first = false;
	piece(dump, value);
}

static void
list_end(struct dump *dump, bool is_last)
{
	fprintf(dump->output.file, "%s]%s\n", dump->is_first ? "" : "\n  ",
		is_last ? "" : ",");
}

/**** what lies where ****/

static json_t *
location_json(const struct strata_location *location)
{
	json_t *item = json_object();

	json_object_set_new(
		item, "in",
		json_string(location->in_region ? "region" : "pool"));
	json_object_set_new(item, "segment", json_text(location->segment));
	json_object_set_new(item, "offset",
			    json_integer((json_int_t)location->offset));
	json_object_set_new(item, "bytes",
			    json_integer((json_int_t)location->bytes));
	if (location->in_region)
		return item;
	json_object_set_new(item, "pool", json_integer(location->pool));
	json_object_set_new(item, "block",
			    json_integer((json_int_t)location->block));
	json_object_set_new(item, "blocks", json_integer(location->nr_blocks));
	return item;
}

static int
layer_write(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct dump *dump = arg;
	struct strata_location location;
	struct strata_meta meta;
	json_t *item;
	int code = strata_meta(dump->view.reader, entry, &meta);

	if (code == 0)
		code = strata_locate(dump->view.reader, entry, &location);
	if (code != 0)
		return code;
	item = layer_json(layer, entry, &meta);
	json_object_set_new(item, "dimension", json_integer(dump->dimension));
	json_object_set_new(item, "location", location_json(&location));
	list_item(dump, item);
	return 0;
}

static int
dimension_layers_write(const struct strata_dimension *dimension, void *arg)
{
	struct dump *dump = arg;

	dump->dimension = dimension->id;
	return strata_foreach_layer(dump->view.reader, dimension->id,
				    layer_write, dump);
}

static int
dimension_write(const struct strata_dimension *dimension, void *arg)
{
	list_item(arg, dimension_json(dimension));
	return 0;
}

/**** regions ****/

static int
number_add(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	if ((entry->flags & STRATA_ENTRY_REGION) != 0)
		json_array_append_new(arg, json_integer(layer));
	return 0;
}

static const char *
life_text(enum strata_life life)
{
	switch (life) {
	case STRATA_LIFE_BUILDING:
		return "building";
	case STRATA_LIFE_LIVE:
		return "live";
	case STRATA_LIFE_RETIRED:
		return "retired";
	case STRATA_LIFE_DYING:
		return "dying";
	}
	return "?";
}

/* Is it the one that the section's version has of that dimension? */
static bool
is_of_version(const struct strata_region_info *info, uint64_t version)
{
	return info->life != STRATA_LIFE_BUILDING && info->birth <= version &&
	       (info->retirement == 0 || version < info->retirement);
}

static int
region_write(const struct strata_region_info *info, void *arg)
{
	struct dump *dump = arg;
	json_t *layers = json_array(), *item = json_object();
	int code = 0;

	if (is_of_version(info, strata_reader_version(dump->view.reader)))
		code = strata_foreach_layer(dump->view.reader, info->dimension,
					    number_add, layers);
	json_object_set_new(item, "segment", json_text(info->segment));
	json_object_set_new(item, "dimension", json_integer(info->dimension));
	json_object_set_new(item, "state", json_string(life_text(info->life)));
	json_object_set_new(item, "bytes",
			    json_integer((json_int_t)info->bytes));
	json_object_set_new(item, "image_bytes",
			    json_integer((json_int_t)info->image_bytes));
	json_object_set_new(item, "large_page_bytes",
			    json_integer((json_int_t)info->large_page_bytes));
	json_object_set_new(item, "birth",
			    json_integer((json_int_t)info->birth));
	json_object_set_new(item, "retirement",
			    info->retirement != 0
				    ? json_integer((json_int_t)info->retirement)
				    : json_null());
	json_object_set_new(item, "layers", layers);
	list_item(dump, item);
	return code == STRATA_ENODIM ? 0 : code;
}

/**** readers, retired blocks ****/

static int
reader_write(const struct strata_reader_info *info, void *arg)
{
	list_item(arg, reader_json(info));
	return 0;
}

static int
retired_write(const struct strata_retired_info *info, void *arg)
{
	json_t *item = location_json(&info->location);

	json_object_set_new(item, "birth",
			    json_integer((json_int_t)info->birth));
	json_object_set_new(item, "retirement",
			    json_integer((json_int_t)info->retirement));
	list_item(arg, item);
	return 0;
}

/**** the document ****/

static int
dimension_count(const struct strata_dimension *dimension, void *arg)
{
	struct strata_stats *stats = arg;

	stats->nr_dimensions++;
	stats->nr_layers += dimension->nr_layers;
	stats->content_bytes += dimension->content_bytes;
	stats->nr_regions += dimension->region_bytes != 0;
	stats->nr_proto += dimension->state == STRATA_DIMENSION_PROTO;
	stats->nr_crystallized +=
		dimension->state == STRATA_DIMENSION_CRYSTALLIZED;
	stats->nr_hybrid += dimension->state == STRATA_DIMENSION_HYBRID;
	return 0;
}

/* Statistics are of the moment; what they say of layers is to be what the lists
 * below have, which are of the section's version. */
static int
stats_take(struct dump *dump, struct strata_stats *stats)
{
	int code = strata_stats(dump->view.store, stats);

	if (code != 0)
		return code;
	stats->version = strata_reader_version(dump->view.reader);
	stats->nr_dimensions = stats->nr_layers = stats->content_bytes = 0;
	stats->nr_regions = stats->nr_proto = 0;
	stats->nr_crystallized = stats->nr_hybrid = 0;
	return strata_foreach_dimension(dump->view.reader, dimension_count,
					stats);
}

static int
head_write(struct dump *dump, struct strata_stats *stats)
{
	struct strata_store *store = dump->view.store;
	const char *directory = strata_directory(store);
	int code = stats_take(dump, stats);

	if (code != 0)
		return code;
	dump->time_ns = now_ns();
	fputs("{\n", dump->output.file);
	field(dump, "format", json_integer(1));
	field(dump, "timestamp", json_string(TIME_TEXT(dump->time_ns)));
	field(dump, "store", json_text(strata_name(store)));
	field(dump, "version",
	      json_integer(
		      (json_int_t)strata_reader_version(dump->view.reader)));
	field(dump, "statistics",
	      stat_json(strata_name(store), directory, stats));
	return 0;
}

static int
lists_write(struct dump *dump)
{
	struct strata_reader *reader = dump->view.reader;
	struct strata_store *store = dump->view.store;
	int code;

	list_begin(dump, "dimensions");
	code = strata_foreach_dimension(reader, dimension_write, dump);
	list_end(dump, false);
	if (code != 0)
		return code;
	list_begin(dump, "regions");
	code = strata_foreach_region(store, region_write, dump);
	list_end(dump, false);
	if (code != 0)
		return code;
	list_begin(dump, "layers");
	code = strata_foreach_dimension(reader, dimension_layers_write, dump);
	list_end(dump, false);
	if (code != 0)
		return code;
	list_begin(dump, "readers");
	code = strata_foreach_reader(store, reader_write, dump);
	list_end(dump, false);
	if (code != 0)
		return code;
	list_begin(dump, "retired");
	code = strata_foreach_retired(store, retired_write, dump);
	list_end(dump, true);
	fputs("}\n", dump->output.file);
	return code;
}

static int
dump_write(struct dump *dump, struct strata_stats *stats)
{
	int code = head_write(dump, stats);

	if (code == 0)
		code = lists_write(dump);
	if (code != 0)
		return message_refused(dump->view.args, dump->view.name, code);
	return TOOL_DONE;
}

/* Copies have no places, and those of many dimensions are of many versions: who
 * has no reader slot is refused. */
static int
dump_begin(struct dump *dump, const struct tool_args *args)
{
	struct strata_store *store;
	int status = store_attach(args, args->operands[0], STRATA_READ, &store);

	if (status != TOOL_DONE)
		return status;
	status = view_enter(&dump->view, args, store);
	if (status != TOOL_DONE)
		return store_detach(args, store, status);
	return TOOL_DONE;
}

int
cmd_dump(const struct tool_args *args)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	const char *path = args_value(args, KEY_OUTPUT);
	struct dump dump;
	int status = dump_begin(&dump, args);

	if (status != TOOL_DONE)
		return status;
	status = output_open(args, path, &dump.output);
	if (status == TOOL_DONE)
		status = dump_write(&dump, &stats);
	status = view_close(&dump.view, status);
	if (status != TOOL_DONE) {
		output_abort(&dump.output);
		return status;
	}
	status = output_commit(&dump.output);
	/* The document is in a file: who ran this wants to see something. */
	if (status == TOOL_DONE && path != NULL && !args_has(args, KEY_QUIET))
		summary_print(&stats, dump.time_ns);
	return status;
}
