/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata top: what is shown, apart from where; no terminal is needed for it. */
#ifndef STRATA_TOP_H
#define STRATA_TOP_H

#include "tool.h"

/**** what is known: top-model.c ****/

/** One look at a store. */
struct top_look {
	char *why;        /**< NULL; or why the store cannot be looked at */
	uint64_t time_ns; /**< CLOCK_MONOTONIC */
	struct strata_stats stats;
	struct strata_reader_info *readers;
	size_t nr_readers;
	struct strata_region_info *regions;
	size_t nr_regions;
	struct strata_sample *samples;
	size_t nr_samples;
};

void top_look_fini(struct top_look *look);
/** For strata_foreach_sample(); arg: a look. */
int top_sample_add(const struct strata_sample *sample, void *arg);

struct top_rates {
	double commits, reads, allocations; /**< a second; negative: not known */
};

/** How often a layer was met among the samples; old ones count less. */
struct top_heat {
	uint32_t dimension;
	int64_t layer; /**< -1: all of the dimension */
	double heat;
	uint64_t last_ns; /**< CLOCK_REALTIME */
};

struct top_model {
	struct top_look now, before;
	struct top_rates rates;
	double *reads; /**< a second, of the process of each reader in now */
	struct top_heat *heat;
	size_t nr_heat;
	double total_heat;
};

/** Takes the look, which becomes the last one. */
void top_push(struct top_model *model, struct top_look *look);
void top_fini(struct top_model *model);

/**** how it is shown: top-view.c ****/

enum top_focus { TOP_READERS, TOP_HOT };
enum top_reader_sort { TOP_BY_RETAINED, TOP_BY_READS, TOP_BY_AGE, TOP_BY_PID };
enum top_hot_sort { TOP_BY_HEAT, TOP_BY_ACCESS, TOP_BY_NUMBER };

/** What keys change. */
struct top_view {
	enum top_focus focus;
	enum top_reader_sort reader_sort;
	enum top_hot_sort hot_sort;
	bool by_dimension;
	bool paused;
	bool editing;    /**< keys are text of the filter */
	bool quit;
	char filter[32]; /**< rows without it are left out */
	unsigned interval_ms;
};

#define TOP_KEY_BACKSPACE 0x100 /**< keys that are no characters */

void top_key(struct top_view *view, int key);

/** The row numbers of the readers, or a list of what is hot, in the order and by
 * the filter of the view; to be freed. */
size_t *top_readers(const struct top_model *model, const struct top_view *view,
		    size_t *ret_nr);
struct top_heat *top_hot(const struct top_model *model,
			 const struct top_view *view, size_t *ret_nr);

/**** lines: top-page.c ****/

struct top_page {
	size_t width, height; /**< columns and lines at most */
	char **lines;         /**< UTF-8, no control characters */
	bool *marked;         /**< headings, by line */
	size_t nr;
};

/** Makes the lines. top_page_fini() by the caller. */
void top_page_make(struct top_page *page, size_t width, size_t height,
		   const char *store, const struct top_model *model,
		   const struct top_view *view);
void top_page_fini(struct top_page *page);

/**** ls --hot: hot.c ****/

int hot_list(const struct tool_args *args);

/**** the terminal: top-screen.c ****/

/** Shows look after look until the user or a signal ends it. @return
 * tool_status */
int top_screen(const struct tool_args *args, struct top_view *view,
	       void (*look)(void *arg, struct top_look *ret), void *arg);

#endif /* STRATA_TOP_H */
