/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Attaching to a store, read sections, observing, with their messages. */
#include "tool.h"

int
store_attach(const struct tool_args *args, const char *name, unsigned flags,
	     struct strata_store **ret_store)
{
	int code;

	if (args_has(args, KEY_TRUST_OWNER))
		flags |= STRATA_TRUST_OWNER;
	code = strata_attach(name, flags, ret_store);
	if (code == STRATA_EOWNER)
		return message_error(args, name,
				     "%s (--trust-owner accepts "
				     "it)",
				     refusal_text(code));
	if (code != 0)
		return message_refused(args, name, code);
	return TOOL_DONE;
}

int
store_detach(const struct tool_args *args, struct strata_store *store,
	     int status)
{
	int code = strata_detach(store);

	if (code != 0 && status == TOOL_DONE)
		return message_refused(args, NULL, code);
	return status;
}

static void
view_init(struct view *view, const struct tool_args *args,
	  struct strata_store *store)
{
	*view = (struct view){args, strata_name(store), store, NULL, 0};
}

static int
section_enter(struct view *view)
{
	int code = strata_read_lock(view->reader);

	if (code != 0) {
		message_refused(view->args, view->name, code);
		strata_reader_close(view->reader);
		view->reader = NULL;
		return TOOL_REFUSED;
	}
	view->version = strata_reader_version(view->reader);
	return TOOL_DONE;
}

int
view_enter(struct view *view, const struct tool_args *args,
	   struct strata_store *store)
{
	int code;

	view_init(view, args, store);
	code = strata_reader_open(store, &view->reader);
	if (code != 0)
		return message_refused(args, view->name, code);
	return section_enter(view);
}

int
view_begin(struct view *view)
{
	return view->reader != NULL ? section_enter(view) : TOOL_DONE;
}

int
view_end(struct view *view, int status)
{
	int code;

	if (view->reader == NULL)
		return status;
	code = strata_read_unlock(view->reader);
	if (code != 0 && status == TOOL_DONE)
		status = message_refused(view->args, view->name, code);
	return status;
}

static int
view_leave(struct view *view, int status)
{
	status = view_end(view, status);
	strata_reader_close(view->reader);
	view->reader = NULL;
	return status;
}

/* What is wrong with the store, or with this process, is so for copies, too. */
static bool
is_want_of_slot(int code)
{
	return code != STRATA_EGONE && code != STRATA_ENOMEM &&
	       code != STRATA_EINVAL;
}

/* @return tool_status; the view has a reader, or is to be observed */
static int
reader_try(struct view *view)
{
	int code = strata_reader_open(view->store, &view->reader);

	if (code == 0)
		return TOOL_DONE;
	view->reader = NULL;
	if (!is_want_of_slot(code))
		return message_refused(view->args, view->name, code);
	message_note(view->args, view->name,
		     "observed, without a reader slot: %s", refusal_text(code));
	return TOOL_DONE;
}

void
view_note_observed(const struct tool_args *args, struct strata_store *store)
{
	struct view view;

	view_init(&view, args, store);
	if (reader_try(&view) == TOOL_DONE)
		strata_reader_close(view.reader);
}

int
view_attach(struct view *view, const struct tool_args *args, const char *name)
{
	struct strata_store *store;
	int status = store_attach(args, name, STRATA_READ, &store);

	if (status != TOOL_DONE)
		return status;
	view_init(view, args, store);
	status = reader_try(view);
	if (status != TOOL_DONE)
		strata_detach(store);
	return status;
}

int
view_detach(struct view *view, int status)
{
	strata_reader_close(view->reader);
	view->reader = NULL;
	return store_detach(view->args, view->store, status);
}

int
view_open(struct view *view, const struct tool_args *args, const char *name)
{
	int status = view_attach(view, args, name);

	if (status != TOOL_DONE)
		return status;
	status = view_begin(view);
	if (status != TOOL_DONE)
		strata_detach(view->store);
	return status;
}

int
view_close(struct view *view, int status)
{
	status = view_leave(view, status);
	return store_detach(view->args, view->store, status);
}

static int
no_dimension(const struct view *view, uint32_t dimension)
{
	return message_error(view->args, view->name,
			     "there is no dimension %u; 'strata ls %s' lists "
			     "those that are there",
			     dimension, view->name);
}

int
view_dimension(struct view *view, uint32_t dimension,
	       struct strata_dimension *ret)
{
	int code = view->reader != NULL ?
			   strata_dimension_get(view->reader, dimension, ret) :
			   strata_copy_dimension(view->store, dimension, ret,
						 &view->version);

	if (code == STRATA_ENODIM)
		return no_dimension(view, dimension);
	if (code != 0)
		return message_refused(view->args, view->name, code);
	return TOOL_DONE;
}

int
view_dimensions(struct view *view,
		int (*fn)(const struct strata_dimension *dimension, void *arg),
		void *arg)
{
	if (view->reader != NULL)
		return strata_foreach_dimension(view->reader, fn, arg);
	return strata_copy_dimensions(view->store, fn, arg, &view->version);
}

/**** layers ****/

struct each {
	struct view *view;
	int (*fn)(uint32_t layer, const struct strata_entry *entry,
		  const struct strata_meta *meta, void *arg);
	void *arg;
};

static int
each_found(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	const struct each *each = arg;
	struct strata_meta meta;
	int code = strata_meta(each->view->reader, entry, &meta);

	return code != 0 ? code : each->fn(layer, entry, &meta, each->arg);
}

static int
each_copied(uint32_t layer, const struct strata_copy *copy, void *arg)
{
	const struct each *each = arg;

	each->view->version = copy->version;
	return each->fn(layer, &copy->entry, &copy->meta, each->arg);
}

int
view_layers(struct view *view, uint32_t dimension,
	    int (*fn)(uint32_t layer, const struct strata_entry *entry,
		      const struct strata_meta *meta, void *arg),
	    void *arg)
{
	struct each each = {view, fn, arg};

	if (view->reader != NULL)
		return strata_foreach_layer(view->reader, dimension, each_found,
					    &each);
	return strata_copy_layers(view->store, dimension, each_copied, &each);
}

static int
layer_found(struct view *view, uint32_t dimension, uint32_t layer,
	    bool with_meta, struct view_layer *ret)
{
	int code = strata_find(view->reader, dimension, layer, &ret->entry);

	if (code == 0 && with_meta)
		return strata_meta(view->reader, ret->entry, &ret->meta);
	if (code == 0)
		ret->data = strata_data(view->reader, ret->entry);
	return code;
}

static int
layer_copied(struct view *view, uint32_t dimension, uint32_t layer,
	     bool with_meta, struct view_layer *ret)
{
	int code = strata_copy(view->store, dimension, layer,
			       with_meta ? STRATA_COPY_META : STRATA_COPY_ALL,
			       &ret->copy);

	if (code != 0)
		return code;
	ret->entry = &ret->copy->entry;
	ret->data = ret->copy->data;
	ret->meta = ret->copy->meta;
	view->version = ret->copy->version;
	return 0;
}

int
view_layer(struct view *view, uint32_t dimension, uint32_t layer,
	   bool with_meta, struct view_layer *ret)
{
	int code;

	*ret = (struct view_layer){.entry = NULL};
	code = view->reader != NULL ?
		       layer_found(view, dimension, layer, with_meta, ret) :
		       layer_copied(view, dimension, layer, with_meta, ret);
	if (code == STRATA_ENODIM)
		return no_dimension(view, dimension);
	if (code == STRATA_ENOLAYER)
		return message_error(view->args, view->name,
				     "dimension %u has no layer %u; 'strata ls "
				     "%s %u' lists those that are there",
				     dimension, layer, view->name, dimension);
	if (code != 0)
		return message_refused(view->args, view->name, code);
	return TOOL_DONE;
}

void
view_layer_fini(struct view_layer *layer)
{
	strata_copy_free(layer->copy);
}

/*
 * For messages about what is done already: a full reader table, say, must not
 * turn a success into a failure, so nothing is said when it fails.
 */
bool
store_dimension(struct strata_store *store, uint32_t dimension,
		struct strata_dimension *ret)
{
	struct strata_reader *reader;
	bool found = false;

	if (strata_reader_open(store, &reader) != 0)
		return false;
	if (strata_read_lock(reader) == 0) {
		found = strata_dimension_get(reader, dimension, ret) == 0;
		found = strata_read_unlock(reader) == 0 && found;
	}
	strata_reader_close(reader);
	return found;
}

const char *
state_text(enum strata_dimension_state state)
{
	switch (state) {
	case STRATA_DIMENSION_PROTO:
		return "proto";
	case STRATA_DIMENSION_CRYSTALLIZED:
		return "crystallized";
	case STRATA_DIMENSION_HYBRID:
		return "hybrid";
	}
	return "?";
}
