/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Commands that change single layers: put, rm. */
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/**** put: attributes ****/

/* Attributes, and the memory that their strings are in. */
struct attributes {
	struct strata_attrs attrs;
	char *name;
	char *keywords[STRATA_KEYWORDS_MAX];
};

static void
attributes_fini(struct attributes *attributes)
{
	size_t i;

	for (i = 0; i < STRATA_KEYWORDS_MAX; i++)
		free(attributes->keywords[i]);
	free(attributes->name);
}

static void
keywords_clear(struct attributes *attributes)
{
	while (attributes->attrs.nr_keywords > 0) {
		attributes->attrs.nr_keywords--;
		free(attributes->keywords[attributes->attrs.nr_keywords]);
		attributes->keywords[attributes->attrs.nr_keywords] = NULL;
	}
}

static void
name_set(struct attributes *attributes, const char *name)
{
	free(attributes->name);
	attributes->name = x_dup(name);
	attributes->attrs.name = attributes->name;
}

static void
attributes_take(struct attributes *attributes, const struct strata_copy *copy)
{
	struct strata_attrs *attrs = &attributes->attrs;

	attrs->frequency = copy->entry.frequency;
	attrs->depth = copy->entry.depth;
	attrs->parent = copy->entry.parent;
	name_set(attributes, copy->meta.name);
	for (; attrs->nr_keywords < copy->meta.nr_keywords;
	     attrs->nr_keywords++)
		attributes->keywords[attrs->nr_keywords] =
			x_dup(copy->meta.keywords[attrs->nr_keywords]);
}

/*
 * Starts from those of the layer that is there; a copy of them needs no reader
 * slot. It is not flagged simulated any more: its content is given now. When
 * somebody else puts the same layer meanwhile, the later commit wins with all
 * it says, as always.
 */
static int
attributes_inherit(struct attributes *attributes, const struct tool_args *args,
		   struct strata_store *store, uint32_t dimension,
		   uint32_t layer)
{
	struct strata_copy *copy;
	int code =
		strata_copy(store, dimension, layer, STRATA_COPY_META, &copy);

	if (code == STRATA_ENODIM || code == STRATA_ENOLAYER)
		return TOOL_DONE;
	if (code != 0)
		return message_refused(args, strata_name(store), code);
	attributes_take(attributes, copy);
	strata_copy_free(copy);
	return TOOL_DONE;
}

static int
keyword_option(const struct tool_args *args, struct attributes *attributes,
	       const char *keyword)
{
	struct strata_attrs *attrs = &attributes->attrs;

	if (*keyword == '\0')
		return TOOL_DONE;
	if (attrs->nr_keywords == STRATA_KEYWORDS_MAX)
		return message_usage(args, "a layer has at most %d keywords",
				     STRATA_KEYWORDS_MAX);
	attributes->keywords[attrs->nr_keywords++] = x_dup(keyword);
	return TOOL_DONE;
}

static int
keyword_options(const struct tool_args *args, struct attributes *attributes)
{
	int status = TOOL_DONE;
	size_t i;

	if (!args_has(args, KEY_KEYWORD))
		return TOOL_DONE;
	/* Given ones replace the old ones. */
	keywords_clear(attributes);
	for (i = 0; i < args->nr_given && status == TOOL_DONE; i++) {
		if (args->given[i].key == KEY_KEYWORD)
			status = keyword_option(args, attributes,
						args->given[i].value);
	}
	return status;
}

static int
parent_option(const struct tool_args *args, int32_t *ret)
{
	const char *text = args_value(args, KEY_PARENT);
	uint64_t parent = 0;
	int status;

	if (text == NULL)
		return TOOL_DONE;
	if (strcmp(text, "none") == 0) {
		*ret = -1;
		return TOOL_DONE;
	}
	status = args_number(args, KEY_PARENT, STRATA_LAYER_MAX, &parent);
	if (status == TOOL_DONE)
		*ret = (int32_t)parent;
	return status;
}

static int
attributes_options(const struct tool_args *args, struct attributes *attributes)
{
	struct strata_attrs *attrs = &attributes->attrs;
	const char *name = args_value(args, KEY_NAME);
	uint64_t depth = attrs->depth;
	int status = args_frequency(args, KEY_FREQUENCY, &attrs->frequency);

	if (status == TOOL_DONE)
		status = args_number(args, KEY_DEPTH, UINT32_MAX, &depth);
	if (status == TOOL_DONE)
		status = parent_option(args, &attrs->parent);
	if (status == TOOL_DONE)
		status = keyword_options(args, attributes);
	if (name != NULL)
		name_set(attributes, name);
	attrs->depth = (uint32_t)depth;
	attrs->keywords = (const char *const *)attributes->keywords;
	return status;
}

/**** put: the command ****/

/* What is put, and where. */
struct put {
	const struct tool_args *args;
	struct strata_store *store;
	uint32_t dimension, layer; /* layer: an output when appending */
	bool append;
	struct attributes attributes;
	struct content content;
	uint64_t version; /* output */
};

static int
put_place(struct put *put)
{
	const char *operand = put->args->operands[1];

	put->append = strchr(operand, '/') == NULL;
	if (put->append)
		return args_dimension(put->args, operand, &put->dimension);
	return args_layer(put->args, operand, &put->dimension, &put->layer);
}

/* What is wrong with the options is told before anything is attached. */
static int
put_options_check(const struct put *put)
{
	struct attributes scratch = {.attrs = STRATA_ATTRS_INIT};
	int status = attributes_options(put->args, &scratch);

	attributes_fini(&scratch);
	return status;
}

static int
put_attributes(struct put *put)
{
	int status = TOOL_DONE;

	if (!put->append)
		status = attributes_inherit(&put->attributes, put->args,
					    put->store, put->dimension,
					    put->layer);
	if (status != TOOL_DONE)
		return status;
	return attributes_options(put->args, &put->attributes);
}

static int
put_content(struct put *put)
{
	const char *path =
		put->args->nr_operands > 2 ? put->args->operands[2] : "-";
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	int code = strata_stats(put->store, &stats);

	if (code != 0)
		return message_refused(put->args, strata_name(put->store),
				       code);
	return content_read(put->args, path, stats.limit,
			    "the limit of the store", &put->content);
}

static int
put_stage(struct put *put, struct strata_txn *txn)
{
	const struct strata_attrs *attrs = &put->attributes.attrs;

	if (put->append)
		return strata_append(txn, put->dimension, attrs,
				     put->content.bytes, put->content.size,
				     STRATA_PUT_BORROW, &put->layer);
	return strata_put(txn, put->dimension, put->layer, attrs,
			  put->content.bytes, put->content.size,
			  STRATA_PUT_BORROW);
}

static int
put_commit(struct put *put)
{
	struct strata_txn *txn;
	int code = strata_txn_begin(put->store, &txn);

	if (code == 0) {
		code = put_stage(put, txn);
		if (code == 0)
			code = strata_txn_commit(txn, &put->version);
		/* The message comes first: the abort may not change it. */
		if (code != 0) {
			message_refused(put->args, strata_name(put->store),
					code);
			strata_txn_abort(txn);
			return TOOL_REFUSED;
		}
		return TOOL_DONE;
	}
	return message_refused(put->args, strata_name(put->store), code);
}

static int
put_report(const struct put *put)
{
	const char *name = strata_name(put->store);

	if (args_has(put->args, KEY_JSON))
		return json_print(json_pack(
			"{s:o, s:I, s:I, s:I, s:I}", "store", json_text(name),
			"dimension", (json_int_t)put->dimension, "layer",
			(json_int_t)put->layer, "size",
			(json_int_t)put->content.size, "version",
			(json_int_t)put->version));
	message_say(put->args, "%s: %s layer %u/%u: %s, version %llu", name,
		    put->append ? "appended" : "put", put->dimension,
		    put->layer, SIZE_TEXT(put->content.size),
		    (unsigned long long)put->version);
	return TOOL_DONE;
}

int
cmd_put(const struct tool_args *args)
{
	struct put put = {.args = args, .attributes.attrs = STRATA_ATTRS_INIT};
	int status = put_place(&put);

	if (status == TOOL_DONE)
		status = put_options_check(&put);
	if (status == TOOL_DONE)
		status = store_attach(args, args->operands[0], STRATA_WRITE,
				      &put.store);
	if (status != TOOL_DONE)
		return status;
	status = put_attributes(&put);
	if (status == TOOL_DONE)
		status = put_content(&put);
	if (status == TOOL_DONE)
		status = put_commit(&put);
	if (status == TOOL_DONE)
		status = put_report(&put);
	attributes_fini(&put.attributes);
	content_fini(&put.content);
	return store_detach(args, put.store, status);
}

/**** rm ****/

/* One operand, DIM or DIM/LAYER, into the transaction, or just checked. */
static int
remove_operand(const struct tool_args *args, const char *operand,
	       struct strata_txn *txn)
{
	bool whole = strchr(operand, '/') == NULL;
	uint32_t dimension = 0, layer = 0;
	int status = whole ? args_dimension(args, operand, &dimension)
			   : args_layer(args, operand, &dimension, &layer);
	int code;

	if (status != TOOL_DONE || txn == NULL)
		return status;
	code = whole ? strata_remove_dimension(txn, dimension)
		     : strata_remove(txn, dimension, layer);
	if (code != 0)
		return message_refused(args, args->operands[0], code);
	return TOOL_DONE;
}

static int
remove_operands(const struct tool_args *args, struct strata_txn *txn)
{
	int i, status = TOOL_DONE;

	for (i = 1; i < args->nr_operands && status == TOOL_DONE; i++)
		status = remove_operand(args, args->operands[i], txn);
	return status;
}

static void
remove_report(const struct tool_args *args, uint64_t version)
{
	uint64_t nr = (uint64_t)args->nr_operands - 1, nr_layers = 0;
	const char *name = args->operands[0];
	uint64_t i;

	for (i = 1; i <= nr; i++)
		nr_layers += strchr(args->operands[i], '/') != NULL;
	if (nr == 1)
		message_say(args, "%s: removed %s %s, version %llu", name,
			    nr_layers == 1 ? "layer" : "dimension",
			    args->operands[1], (unsigned long long)version);
	else
		message_say(args, "%s: removed %s and %s, version %llu", name,
			    COUNT_TEXT(nr_layers, "layer"),
			    COUNT_TEXT(nr - nr_layers, "dimension"),
			    (unsigned long long)version);
}

static int
remove_from(const struct tool_args *args, struct strata_store *store)
{
	struct strata_txn *txn;
	uint64_t version = 0;
	int status, code = strata_txn_begin(store, &txn);

	if (code != 0)
		return message_refused(args, args->operands[0], code);
	status = remove_operands(args, txn);
	if (status == TOOL_DONE) {
		code = strata_txn_commit(txn, &version);
		if (code == 0) {
			remove_report(args, version);
			return TOOL_DONE;
		}
		status = message_refused(args, args->operands[0], code);
	}
	strata_txn_abort(txn);
	return status;
}

int
cmd_rm(const struct tool_args *args)
{
	struct strata_store *store;
	int status = remove_operands(args, /* txn= */ NULL);

	if (status == TOOL_DONE)
		status = store_attach(args, args->operands[0], STRATA_WRITE,
				      &store);
	if (status != TOOL_DONE)
		return status;
	status = remove_from(args, store);
	return store_detach(args, store, status);
}
