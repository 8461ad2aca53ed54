/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What keys do in strata top: orders, filters. */
#include <stdlib.h>
#include <string.h>

#include "top.h"

#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS 60000

/**** keys ****/

static void
edit_key(struct top_view *view, int key)
{
	size_t length = strlen(view->filter);

	if (key == '\n' || key == '\r') {
		view->editing = false;
	} else if (key == 27) {
		view->filter[0] = '\0';
		view->editing = false;
	} else if (key == TOP_KEY_BACKSPACE || key == 127 || key == 8) {
		if (length > 0)
			view->filter[length - 1] = '\0';
	} else if (key > ' ' && key < 127 &&
		   length + 1 < sizeof(view->filter)) {
		view->filter[length] = (char)key;
		view->filter[length + 1] = '\0';
	}
}

static void
sort_next(struct top_view *view)
{
	if (view->focus == TOP_READERS)
		view->reader_sort = (view->reader_sort + 1) % (TOP_BY_PID + 1);
	else
		view->hot_sort = (view->hot_sort + 1) % (TOP_BY_NUMBER + 1);
}

void
top_key(struct top_view *view, int key)
{
	if (view->editing) {
		edit_key(view, key);
		return;
	}
	switch (key) {
	case 'q':
		view->quit = true;
		break;
	case '\t':
		view->focus = view->focus == TOP_READERS ? TOP_HOT
							 : TOP_READERS;
		break;
	case 's':
		sort_next(view);
		break;
	case 'd':
		view->by_dimension = !view->by_dimension;
		break;
	case 'p':
	case ' ':
		view->paused = !view->paused;
		break;
	case '/':
		view->editing = true;
		break;
	case 27:
		view->filter[0] = '\0';
		break;
	case '+':
		if (view->interval_ms <= INTERVAL_MAX_MS / 2)
			view->interval_ms *= 2;
		break;
	case '-':
		if (view->interval_ms >= INTERVAL_MIN_MS * 2)
			view->interval_ms /= 2;
		break;
	default:
		break;
	}
}

/**** readers ****/

/* For qsort(), which takes no argument. */
static const struct top_model *sorted;
static enum top_reader_sort reader_sort;
static enum top_hot_sort hot_sort;

static int
order(double a, double b)
{
	return a > b ? -1 : a < b;
}

/* Largest first; who is equal, by pid. */
static int
compare_readers(const void *one, const void *other)
{
	size_t i = *(const size_t *)one, k = *(const size_t *)other;
	const struct strata_reader_info *a = &sorted->now.readers[i];
	const struct strata_reader_info *b = &sorted->now.readers[k];
	int found = 0;

	if (reader_sort == TOP_BY_RETAINED)
		found = order((double)a->retained, (double)b->retained);
	else if (reader_sort == TOP_BY_READS)
		found = order(sorted->reads[i], sorted->reads[k]);
	else if (reader_sort == TOP_BY_AGE)
		found = order((double)a->age_ns, (double)b->age_ns);
	if (found == 0)
		found = order(b->pid, a->pid);
	return found != 0 ? found : order((double)k, (double)i);
}

static bool
reader_passes(const struct strata_reader_info *info, const char *filter)
{
	char *text = x_format("%u %u %.*s", info->uid, info->pid,
			      (int)sizeof(info->name), info->name);
	bool passes = strstr(text, filter) != NULL;

	free(text);
	return passes;
}

size_t *
top_readers(const struct top_model *model, const struct top_view *view,
	    size_t *ret_nr)
{
	const struct top_look *now = &model->now;
	size_t *rows = x_alloc((now->nr_readers + 1) * sizeof(*rows));
	size_t i, nr = 0;

	for (i = 0; i < now->nr_readers; i++)
		if (reader_passes(&now->readers[i], view->filter))
			rows[nr++] = i;
	sorted = model;
	reader_sort = view->reader_sort;
	qsort(rows, nr, sizeof(*rows), compare_readers);
	*ret_nr = nr;
	return rows;
}

/**** what is hot ****/

static int
compare_heat(const void *one, const void *other)
{
	const struct top_heat *a = one, *b = other;
	int found = 0;

	if (hot_sort == TOP_BY_HEAT)
		found = order(a->heat, b->heat);
	else if (hot_sort == TOP_BY_ACCESS)
		found = order((double)a->last_ns, (double)b->last_ns);
	if (found == 0)
		found = order(b->dimension, a->dimension);
	return found != 0 ? found : order((double)b->layer, (double)a->layer);
}

static bool
heat_passes(const struct top_heat *heat, const char *filter)
{
	char *text = x_format("%u/%lld", heat->dimension,
			      (long long)heat->layer);
	bool passes = strncmp(text, filter, strlen(filter)) == 0;

	free(text);
	return passes;
}

/* Sums up by dimension what is sorted by number. */
static size_t
heat_sum(struct top_heat *list, size_t nr)
{
	size_t i, kept = 0;

	for (i = 0; i < nr; i++) {
		if (kept == 0 || list[kept - 1].dimension != list[i].dimension) {
			list[kept] = list[i];
			list[kept++].layer = -1;
			continue;
		}
		list[kept - 1].heat += list[i].heat;
		if (list[kept - 1].last_ns < list[i].last_ns)
			list[kept - 1].last_ns = list[i].last_ns;
	}
	return kept;
}

struct top_heat *
top_hot(const struct top_model *model, const struct top_view *view,
	size_t *ret_nr)
{
	struct top_heat *list = x_alloc((model->nr_heat + 1) * sizeof(*list));
	size_t i, nr = 0;

	for (i = 0; i < model->nr_heat; i++)
		if (heat_passes(&model->heat[i], view->filter))
			list[nr++] = model->heat[i];
	hot_sort = TOP_BY_NUMBER;
	qsort(list, nr, sizeof(*list), compare_heat);
	if (view->by_dimension)
		nr = heat_sum(list, nr);
	hot_sort = view->hot_sort;
	qsort(list, nr, sizeof(*list), compare_heat);
	*ret_nr = nr;
	return list;
}
