/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata top: looks at a store again and again. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "top.h"

#define INTERVAL_MS 1000

/* What looks. Stores come and go under it. */
struct looker {
	const struct tool_args *args;
	struct strata_store *store; /* NULL: none now */
};

/**** one look ****/

static int
reader_add(const struct strata_reader_info *info, void *arg)
{
	struct top_look *look = arg;

	look->readers = x_grow(look->readers, look->nr_readers,
			       sizeof(*look->readers));
	look->readers[look->nr_readers++] = *info;
	return 0;
}

static int
region_add(const struct strata_region_info *info, void *arg)
{
	struct top_look *look = arg;

	look->regions = x_grow(look->regions, look->nr_regions,
			       sizeof(*look->regions));
	look->regions[look->nr_regions++] = *info;
	return 0;
}

/* Readers' slots may be for others' eyes only. */
static int
unless_forbidden(int code)
{
	return code == -EACCES || code == STRATA_EACCES ? 0 : code;
}

/* A region that cannot be mapped is no reason to show nothing. */
static int
look_inside(struct strata_store *store, struct top_look *look)
{
	int code = strata_refresh(store);

	if (code == STRATA_EMAP)
		code = 0;
	look->stats.struct_size = sizeof(look->stats);
	if (code == 0)
		code = strata_stats(store, &look->stats);
	if (code == 0)
		code = unless_forbidden(
			strata_foreach_reader(store, reader_add, look));
	if (code == 0)
		code = strata_foreach_region(store, region_add, look);
	if (code == 0)
		code = unless_forbidden(
			strata_foreach_sample(store, top_sample_add, look));
	return code;
}

static int
looker_attach(struct looker *looker)
{
	unsigned flags = args_has(looker->args, KEY_TRUST_OWNER)
			       ? STRATA_TRUST_OWNER
			       : 0;

	if (looker->store != NULL)
		return 0;
	return strata_attach(looker->args->operands[0], STRATA_READ | flags,
			     &looker->store);
}

static void
looker_detach(struct looker *looker)
{
	if (looker->store != NULL)
		strata_detach(looker->store);
	looker->store = NULL;
}

static uint64_t
monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) +
	       (uint64_t)now.tv_nsec;
}

/* A store that is gone is looked for once more at once: another one may have
 * its name. */
static void
look(void *arg, struct top_look *ret)
{
	struct looker *looker = arg;
	int code = 0;

	for (int tries = 0; tries < 2; tries++) {
		code = looker_attach(looker);
		if (code == 0)
			code = look_inside(looker->store, ret);
		if (code == 0)
			break;
		top_look_fini(ret);
		ret->why = x_dup(refusal_text(code));
		looker_detach(looker);
		if (code != STRATA_EGONE)
			break;
	}
	if (code == 0) {
		free(ret->why);
		ret->why = NULL;
	}
	ret->time_ns = monotonic_ns();
}

/**** without a terminal ****/

/* One page, as soon as there are rates. */
static int
top_once(struct looker *looker, const struct top_view *view)
{
	struct top_model model = {.nr_heat = 0};
	struct top_page page;
	struct top_look taken;
	int status = TOOL_DONE;

	for (int i = 0; i < 2; i++) {
		if (i > 0)
			(void)poll(NULL, 0, (int)view->interval_ms);
		memset(&taken, 0, sizeof(taken));
		look(looker, &taken);
		top_push(&model, &taken);
	}
	if (model.now.why != NULL) {
		status = message_error(looker->args, looker->args->operands[0],
				       "%s", model.now.why);
	} else {
		top_page_make(&page, 80, 24, looker->args->operands[0], &model,
			      view);
		for (size_t i = 0; i + 1 < page.nr; i++)
			print("%s\n", page.lines[i]);
		top_page_fini(&page);
	}
	top_fini(&model);
	return status;
}

/**** the command ****/

static int
interval_parse(const struct tool_args *args, unsigned *ret_ms)
{
	const char *text = args_value(args, KEY_INTERVAL);
	double seconds;

	if (text == NULL)
		return TOOL_DONE;
	if (!parse_frequency(text, &seconds) || seconds < 0.1 || seconds > 60)
		return message_usage(args,
				     "--interval=%s: 0.1 to 60 seconds", text);
	*ret_ms = (unsigned)(seconds * 1000);
	return TOOL_DONE;
}

int
cmd_top(const struct tool_args *args)
{
	struct looker looker = {.args = args};
	struct top_view view = {.interval_ms = INTERVAL_MS};
	int status = interval_parse(args, &view.interval_ms);

	if (status != TOOL_DONE)
		return status;
	/* A name that no store has is said at once, not on a full screen. */
	status = store_attach(args, args->operands[0], STRATA_READ,
			      &looker.store);
	if (status != TOOL_DONE)
		return status;
	status = args_has(args, KEY_ONCE)
			 ? top_once(&looker, &view)
			 : top_screen(args, &view, look, &looker);
	looker_detach(&looker);
	return status;
}
