/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Commands for whole stores: create, destroy, list, limit, gc. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/**** create ****/

static int
mode_option(const struct tool_args *args, uint32_t *ret)
{
	const char *text = args_value(args, KEY_MODE);

	if (text == NULL)
		return TOOL_DONE;
	if (strlen(text) < 3 || strlen(text) > 4 ||
	    strspn(text, "01234567") != strlen(text))
		return message_usage(args,
				     "--mode=%s: permission bits are "
				     "needed, such as 0640",
				     text);
	*ret = (uint32_t)strtoul(text, NULL, 8);
	/* The library takes 0 for its default. */
	if ((*ret & 0600) != 0600 || *ret > 0777)
		return message_usage(args,
				     "--mode=%s: the owner must be able "
				     "to read and write, as in 0640",
				     text);
	return TOOL_DONE;
}

/* One BLOCK:SIZE. */
static bool
pool_parse(char *text, struct strata_pool_config *pool)
{
	char *colon = strchr(text, ':');

	if (colon == NULL)
		return false;
	*colon = '\0';
	return parse_size(text, &pool->block_size) &&
	       parse_size(colon + 1, &pool->max_size);
}

static bool
pools_parse(char *text, struct strata_config *config)
{
	char *item;

	while ((item = strsep(&text, ",")) != NULL) {
		if (config->nr_pools == STRATA_CLASSES_MAX ||
		    !pool_parse(item, &config->pools[config->nr_pools]))
			return false;
		config->nr_pools++;
	}
	return true;
}

static int
pools_option(const struct tool_args *args, struct strata_config *config)
{
	const char *text = args_value(args, KEY_POOLS);
	char *copy;
	bool good;

	if (text == NULL)
		return TOOL_DONE;
	copy = x_dup(text);
	good = pools_parse(copy, config);
	free(copy);
	if (!good)
		return message_usage(args,
				     "--pools=%s: up to %d pairs are "
				     "needed, such as "
				     "4K:32M,16K:128M",
				     text, STRATA_CLASSES_MAX);
	return TOOL_DONE;
}

static int
huge_pages_option(const struct tool_args *args, enum strata_huge_pages *ret)
{
	static const char *const words[] = {
		[STRATA_HUGE_AUTO] = "auto",
		[STRATA_HUGE_NEVER] = "never",
		[STRATA_HUGE_REQUIRE] = "require",
	};
	const char *text = args_value(args, KEY_HUGE_PAGES);
	size_t i;

	if (text == NULL)
		return TOOL_DONE;
	for (i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*ret = (enum strata_huge_pages)i;
			return TOOL_DONE;
		}
	}
	return message_usage(args,
			     "--huge-pages=%s: auto, never or require is "
			     "needed",
			     text);
}

static int
create_options(const struct tool_args *args, struct strata_config *config)
{
	uint64_t readers = 0;
	int status;

	*config = (struct strata_config){
		.struct_size = sizeof(*config),
		.directory = args_value(args, KEY_DIR),
		.adopt = args_has(args, KEY_ADOPT),
		.group = args_value(args, KEY_GROUP),
	};
	if ((status = args_size(args, KEY_LIMIT, &config->limit)) != 0 ||
	    (status = args_size(args, KEY_MAX_LIMIT, &config->max_limit)) !=
		    0 ||
	    (status = args_number(args, KEY_READERS, UINT32_MAX, &readers)) !=
		    0 ||
	    (status = mode_option(args, &config->mode)) != 0 ||
	    (status = pools_option(args, config)) != 0 ||
	    (status = huge_pages_option(args, &config->huge_pages)) != 0)
		return status;
	if (readers == 0 && args_has(args, KEY_READERS))
		return message_usage(args, "--readers=0: at least one reader "
					   "slot is needed");
	if (config->adopt && config->directory == NULL)
		return message_usage(args, "--adopt goes with --dir");
	config->readers = (uint32_t)readers;
	return TOOL_DONE;
}

int
cmd_create(const struct tool_args *args)
{
	const char *name = args->operands[0];
	struct strata_config config;
	int status = create_options(args, &config);
	int code;

	if (status != TOOL_DONE)
		return status;
	code = strata_create(name, &config);
	if (code != 0)
		return message_refused(args, name, code);
	message_say(args, "%s: created with a limit of %s%s%s", name,
		    SIZE_TEXT(config.limit != 0 ? config.limit
						: STRATA_LIMIT_DEFAULT),
		    config.directory != NULL ? " and the directory " : "",
		    config.directory != NULL ? config.directory : "");
	return TOOL_DONE;
}

/**** destroy ****/

struct wanted {
	const char *name;
	struct strata_list_entry entry;
};

static int
wanted_match(const struct strata_list_entry *entry, void *arg)
{
	struct wanted *wanted = arg;

	if (strcmp(entry->name, wanted->name) != 0)
		return 0;
	wanted->entry = *entry;
	return 1;
}

int
cmd_destroy(const struct tool_args *args)
{
	const char *name = args->operands[0];
	/* For the message only: a store that nobody can attach to goes too. */
	struct wanted wanted = {.name = name};
	bool known = strata_list(wanted_match, &wanted) == 1 &&
		     wanted.entry.status == 0;
	int code = args_has(args, KEY_FORCE) ? strata_destroy_forced(name) :
					       strata_destroy(name);

	if (code != 0)
		return message_refused(args, name, code);
	if (known)
		message_say(args,
			    "%s: destroyed at version %llu; %s were reserved",
			    name, (unsigned long long)wanted.entry.version,
			    SIZE_TEXT(wanted.entry.reserved));
	else
		message_say(args, "%s: destroyed", name);
	return TOOL_DONE;
}

/**** list ****/

/* Collected before anything is printed. */
struct orphans {
	struct strata_orphan *list;
	size_t nr;
};

static int
orphan_collect(const struct strata_orphan *orphan, void *arg)
{
	struct orphans *orphans = arg;

	orphans->list = x_grow(orphans->list, orphans->nr, sizeof(*orphan));
	orphans->list[orphans->nr++] = *orphan;
	return 0;
}

static int
orphans_find(const struct tool_args *args, bool remove, struct orphans *ret)
{
	int code;

	*ret = (struct orphans){NULL, 0};
	code = strata_orphans(remove, orphan_collect, ret);
	if (code == 0)
		return TOOL_DONE;
	free(ret->list);
	return message_refused(args, NULL, code);
}

static json_t *
orphans_json(const struct orphans *orphans)
{
	json_t *array = json_array();

	for (size_t i = 0; i < orphans->nr; i++) {
		const struct strata_orphan *o = &orphans->list[i];

		json_array_append_new(
			array,
			json_pack("{s:s, s:I, s:I, s:I, s:b, s:o}", "id", o->id,
				  "owner", (json_int_t)o->owner, "files",
				  (json_int_t)o->files, "bytes",
				  (json_int_t)o->bytes, "removable",
				  o->status == 0, "what", json_text(o->why)));
	}
	return array;
}

/* A line for each, behind the table. */
static void
orphans_print(const struct orphans *orphans)
{
	if (orphans->nr != 0)
		print("\n");
	for (size_t i = 0; i < orphans->nr; i++) {
		const struct strata_orphan *o = &orphans->list[i];
		char *why = text_clean(o->why);

		if (o->status == 0)
			print("strata-%s-*: %s, %s; `strata gc` removes it\n",
			       o->id, why, SIZE_TEXT(o->bytes));
		else
			print("strata-%s-*: no store; %s\n", o->id, why);
		free(why);
	}
}

static const struct table_column list_columns[] = {
	{"STORE", false},   {"OWNER", false}, {"MODE", false},
	{"RESERVED", true}, {"LIMIT", true},  {"VERSION", true},
	{"STATUS", false},
};

static const char *
owner_text(uint32_t uid, char buffer[16])
{
	const struct passwd *user = getpwuid(uid);

	if (user != NULL)
		return user->pw_name;
	snprintf(buffer, 16, "%u", uid);
	return buffer;
}

static int
list_row(const struct strata_list_entry *entry, void *arg)
{
	struct table *table = arg;
	char number[16];
	bool known = entry->status == 0;

	table_add(table, "%s", entry->name);
	table_add(table, "%s", owner_text(entry->owner, number));
	table_add(table, "%04o", entry->mode & 07777);
	table_add(table, "%s", known ? SIZE_TEXT(entry->reserved) : "-");
	table_add(table, "%s", known ? SIZE_TEXT(entry->limit) : "-");
	if (known)
		table_add(table, "%llu", (unsigned long long)entry->version);
	else
		table_add(table, "-");
	/* The library lists no store that is not there: it is marked dead. */
	table_add(table, "%s",
		  known ? "ok" :
		  entry->status == STRATA_ENOSTORE ?
			  "half destroyed; destroy it once more" :
			  strata_strerror(entry->status));
	return 0;
}

static json_t *
known_json(uint64_t value, bool known)
{
	return known ? json_integer((json_int_t)value) : json_null();
}

static int
list_item(const struct strata_list_entry *entry, void *arg)
{
	bool known = entry->status == 0;
	char mode[16];
	json_t *item = json_object();

	snprintf(mode, sizeof(mode), "%04o", entry->mode & 07777);
	json_object_set_new(item, "name", json_text(entry->name));
	json_object_set_new(item, "owner", json_integer(entry->owner));
	json_object_set_new(item, "mode", json_string(mode));
	json_object_set_new(item, "reserved",
			    known_json(entry->reserved, known));
	json_object_set_new(item, "limit", known_json(entry->limit, known));
	json_object_set_new(item, "version", known_json(entry->version, known));
	json_object_set_new(item, "error",
			    known ? json_null()
				  : json_text(strata_strerror(entry->status)));
	json_array_append_new(arg, item);
	return 0;
}

static int
list_json(const struct tool_args *args)
{
	json_t *stores = json_array(), *orphaned;
	struct orphans orphans;
	int code = strata_list(list_item, stores);

	if (code != 0) {
		json_decref(stores);
		return message_refused(args, NULL, code);
	}
	if (orphans_find(args, /* remove= */ false, &orphans) != TOOL_DONE) {
		json_decref(stores);
		return TOOL_REFUSED;
	}
	orphaned = orphans_json(&orphans);
	free(orphans.list);
	return json_print(json_pack("{s:o, s:o}", "stores", stores, "orphans",
				    orphaned));
}

int
cmd_list(const struct tool_args *args)
{
	struct orphans orphans;
	struct table table;
	int code, status;

	if (args_has(args, KEY_JSON))
		return list_json(args);
	table_init(&table, list_columns,
		   sizeof(list_columns) / sizeof(*list_columns));
	code = strata_list(list_row, &table);
	if (code != 0)
		status = message_refused(args, NULL, code);
	else
		status = orphans_find(args, /* remove= */ false, &orphans);
	if (status == TOOL_DONE) {
		table_print(&table);
		orphans_print(&orphans);
		free(orphans.list);
	}
	table_fini(&table);
	return status;
}

/**** limit ****/

static int
limit_change(const struct tool_args *args, struct strata_store *store,
	     uint64_t limit)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	const char *name = strata_name(store);
	int code = strata_stats(store, &stats);

	if (code == 0)
		code = strata_limit(store, limit);
	if (code != 0)
		return message_refused(args, name, code);
	message_say(args, "%s: the limit is %s now, was %s; %s are reserved",
		    name, SIZE_TEXT(limit), SIZE_TEXT(stats.limit),
		    SIZE_TEXT(stats.reserved));
	return TOOL_DONE;
}

int
cmd_limit(const struct tool_args *args)
{
	struct strata_store *store;
	uint64_t limit;
	int status;

	if (!parse_size(args->operands[1], &limit))
		return message_usage(args,
				     "'%s' is no size; one is needed such "
				     "as 280M or 2G",
				     args->operands[1]);
	status = store_attach(args, args->operands[0], STRATA_WRITE, &store);
	if (status != TOOL_DONE)
		return status;
	status = limit_change(args, store, limit);
	return store_detach(args, store, status);
}

/**** gc ****/

static int
gc_print(const struct tool_args *args, const char *name,
	 const struct strata_gc_report *report)
{
	if (args_has(args, KEY_JSON))
		return json_print(json_pack(
			"{s:o, s:I, s:I, s:I, s:I}", "store", json_text(name),
			"reclaimed", (json_int_t)report->reclaimed,
			"given_back", (json_int_t)report->given_back,
			"retained", (json_int_t)report->retained, "segments",
			(json_int_t)report->segments));
	message_say(args,
		    "%s: reclaimed %s, gave back %s to the system, removed "
		    "%s; readers retain %s",
		    name, SIZE_TEXT(report->reclaimed),
		    SIZE_TEXT(report->given_back),
		    COUNT_TEXT(report->segments, "leftover segment"),
		    SIZE_TEXT(report->retained));
	return TOOL_DONE;
}

/* Without a store: what is left of those that are gone. */
static int
gc_orphans(const struct tool_args *args)
{
	struct orphans orphans;
	uint64_t files = 0, bytes = 0;
	json_t *orphaned;

	if (orphans_find(args, /* remove= */ true, &orphans) != TOOL_DONE)
		return TOOL_REFUSED;
	for (size_t i = 0; i < orphans.nr; i++) {
		const struct strata_orphan *o = &orphans.list[i];

		if (o->status != 0) {
			message_note(args, NULL, "left alone: %s", o->why);
			continue;
		}
		files += o->files;
		bytes += o->bytes;
	}
	orphaned = orphans_json(&orphans);
	free(orphans.list);
	if (args_has(args, KEY_JSON))
		return json_print(json_pack("{s:I, s:I, s:o}", "given_back",
					    (json_int_t)bytes, "segments",
					    (json_int_t)files, "orphans",
					    orphaned));
	json_decref(orphaned);
	message_say(args, "removed %s of stores that are gone, %s",
		    COUNT_TEXT(files, "leftover segment"), SIZE_TEXT(bytes));
	return TOOL_DONE;
}

static int
gc_store(const struct tool_args *args)
{
	struct strata_gc_report report = {.reclaimed = 0};
	const char *name = args->operands[0];
	struct strata_store *store;
	int status = store_attach(args, name, STRATA_WRITE, &store);
	int code;

	if (status != TOOL_DONE)
		return status;
	code = strata_gc(store, &report);
	if (code != 0)
		status = message_refused(args, name, code);
	else
		status = gc_print(args, name, &report);
	return store_detach(args, store, status);
}

int
cmd_gc(const struct tool_args *args)
{
	return args->nr_operands == 0 ? gc_orphans(args) : gc_store(args);
}
