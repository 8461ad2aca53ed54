/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Attaching to a store, and read sections, with their messages. */
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

int
view_enter(struct view *view, const struct tool_args *args,
	   struct strata_store *store)
{
	int code;

	*view = (struct view){args, strata_name(store), store, NULL};
	code = strata_reader_open(store, &view->reader);
	if (code != 0)
		return message_refused(args, view->name, code);
	code = strata_read_lock(view->reader);
	if (code != 0) {
		message_refused(args, view->name, code);
		strata_reader_close(view->reader);
		return TOOL_REFUSED;
	}
	return TOOL_DONE;
}

int
view_leave(struct view *view, int status)
{
	int code = strata_read_unlock(view->reader);

	if (code != 0 && status == TOOL_DONE)
		status = message_refused(view->args, view->name, code);
	strata_reader_close(view->reader);
	view->reader = NULL;
	return status;
}

int
view_open(struct view *view, const struct tool_args *args, const char *name)
{
	struct strata_store *store;
	int status = store_attach(args, name, STRATA_READ, &store);

	if (status != TOOL_DONE)
		return status;
	status = view_enter(view, args, store);
	if (status != TOOL_DONE)
		strata_detach(store);
	return status;
}

int
view_close(struct view *view, int status)
{
	status = view_leave(view, status);
	return store_detach(view->args, view->store, status);
}

int
view_dimension(struct view *view, uint32_t dimension,
	       struct strata_dimension *ret)
{
	int code = strata_dimension_get(view->reader, dimension, ret);

	if (code == STRATA_ENODIM)
		return message_error(view->args, view->name,
				     "there is no dimension %u; 'strata ls %s' "
				     "lists those that are there",
				     dimension, view->name);
	if (code != 0)
		return message_refused(view->args, view->name, code);
	return TOOL_DONE;
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
