/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata top as lines of text, for a terminal of any size. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "top.h"

/**** lines ****/

/* What is behind so many characters. */
static char *
behind(char *text, size_t width)
{
	for (; *text != '\0'; text++) {
		if (((unsigned char)*text & 0xc0) == 0x80)
			continue;
		if (width-- == 0)
			break;
	}
	return text;
}

static void
cut(char *text, size_t width)
{
	*behind(text, width) = '\0';
}

/*
 * A figure without its last digits is another figure: what is cut ends with a
 * sign, as in less -S.
 */
static void
line_cut(char *line, size_t width)
{
	if (*behind(line, width) == '\0')
		return;
	cut(line, width);
	if (width > 0)
		strcpy(behind(line, width - 1), ">");
}

/* What readers say of themselves is cleaned here, with all else. */
static void __attribute__((format(printf, 3, 4)))
line_add(struct top_page *page, bool marked, const char *format, ...)
{
	char *raw = NULL;
	va_list values;
	int length;

	if (page->nr >= page->height)
		return;
	va_start(values, format);
	length = vasprintf(&raw, format, values);
	va_end(values);
	x_check(length < 0 ? NULL : raw);
	page->lines[page->nr] = text_clean(raw);
	free(raw);
	line_cut(page->lines[page->nr], page->width);
	page->marked[page->nr++] = marked;
}

void
top_page_fini(struct top_page *page)
{
	size_t i;

	for (i = 0; i < page->nr; i++)
		free(page->lines[i]);
	free(page->lines);
	free(page->marked);
	memset(page, 0, sizeof(*page));
}

/**** bars ****/

struct part {
	char mark;
	uint64_t amount;
};

/* Whole cells of the sum so far, so that no rounding adds up. */
static char *
bar(size_t width, uint64_t whole, const struct part *parts, size_t nr)
{
	char *text = x_alloc(width + 1);
	double sum = 0;
	size_t i, at = 0, end;

	memset(text, ' ', width);
	for (i = 0; i < nr && whole > 0; i++) {
		sum += (double)parts[i].amount;
		end = (size_t)(sum / (double)whole * (double)width + 0.5);
		/* What is there, is seen. */
		if (parts[i].amount > 0 && end <= at)
			end = at + 1;
		for (; at < end && at < width; at++)
			text[at] = parts[i].mark;
	}
	return text;
}

static size_t
bar_width(const struct top_page *page)
{
	return page->width > 60 ? page->width - 48 : 12;
}

static double
percent(uint64_t part, uint64_t whole)
{
	return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

/**** figures ****/

/*
 * Five characters at most, or 80 columns are too few for a line: "98500", since
 * "98.5 k" are six; "100 k", "9.9 M", "10 M".
 */
static const char *
figure_text(double value, int decimals, char buffer[24])
{
	static const char units[] = "kMGTPE";
	size_t unit = 0;

	if (value < 999.95)
		snprintf(buffer, 24, "%.*f", decimals, value);
	else if (value < 99999.5)
		snprintf(buffer, 24, "%.0f", value);
	else {
		value /= 1e3;
		for (; value >= 999.5 && units[unit + 1] != '\0'; unit++)
			value /= 1e3;
		snprintf(buffer, 24, "%.*f %c", value < 9.95 ? 1 : 0, value,
			 units[unit]);
	}
	return buffer;
}

#define NUMBER_TEXT(number) figure_text((double)(number), 0, (char[24]){0})

/* "-" where two looks are not there yet. */
#define RATE_TEXT(rate) rate_text((rate), (char[24]){0})
static const char *
rate_text(double rate, char buffer[24])
{
	return rate < 0 ? "-" : figure_text(rate, 1, buffer);
}

/**** above ****/

static const char *
pressure_text(enum strata_pressure pressure)
{
	static const char *const texts[] = {"none", "warning", "high",
					    "critical"};

	return (unsigned)pressure < 4 ? texts[pressure] : "?";
}

static void
memory_lines(struct top_page *page, const struct strata_stats *stats)
{
	static const unsigned thresholds[] = {75, 85, 95};
	const struct part parts[] = {
		{'#', stats->held > stats->retired
			      ? stats->held - stats->retired
			      : 0},
		{'+', stats->retired},
		{'.', stats->reserved > stats->held
			      ? stats->reserved - stats->held
			      : 0},
	};
	size_t width = bar_width(page), i, at;
	char *text = bar(width, stats->limit, parts, 3);

	for (i = 0; i < 3; i++) {
		at = width * thresholds[i] / 100;
		if (at < width && text[at] == ' ')
			text[at] = '|';
	}
	line_add(page, false, "memory    [%s] %s of %s", text,
		 SIZE_TEXT(stats->reserved), SIZE_TEXT(stats->limit));
	free(text);
	line_add(page, false,
		 "pressure  %s: %.1f %% held (thresholds 75, 85, 95 %%); "
		 "retired %s",
		 pressure_text(stats->pressure),
		 percent(stats->held, stats->limit), SIZE_TEXT(stats->retired));
}

static void
rates_line(struct top_page *page, const struct top_model *model)
{
	size_t i, inside = 0;

	for (i = 0; i < model->now.nr_readers; i++)
		inside += model->now.readers[i].pin != 0;
	line_add(page, false,
		 "a second  %s commits, %s sections, %s blocks; %s readers, "
		 "%s inside",
		 RATE_TEXT(model->rates.commits), RATE_TEXT(model->rates.reads),
		 RATE_TEXT(model->rates.allocations),
		 NUMBER_TEXT(model->now.nr_readers), NUMBER_TEXT(inside));
}

static void
pool_lines(struct top_page *page, const struct strata_stats *stats)
{
	uint32_t i;

	for (i = 0; i < stats->nr_pools && i < STRATA_CLASSES_MAX; i++) {
		const struct strata_pool_stats *pool = &stats->pools[i];
		const struct part parts[] = {
			{'#', pool->live_blocks},
			{'+', pool->retired_blocks},
			{'.', pool->free_blocks},
		};
		char *text = bar(bar_width(page), pool->max_blocks, parts, 3);

		line_add(page, false, "%9s [%s] %s live %s retired of %s",
			 SIZE_TEXT(pool->block_size), text,
			 NUMBER_TEXT(pool->live_blocks),
			 NUMBER_TEXT(pool->retired_blocks),
			 NUMBER_TEXT(pool->max_blocks));
		free(text);
	}
}

/* A live region is the last digit of its dimension. */
static char
region_mark(const struct strata_region_info *region)
{
	switch (region->life) {
	case STRATA_LIFE_BUILDING:
		return 'b';
	case STRATA_LIFE_RETIRED:
		return '+';
	case STRATA_LIFE_DYING:
		return 'x';
	case STRATA_LIFE_LIVE:
		break;
	}
	return (char)('0' + region->dimension % 10);
}

static void
region_line(struct top_page *page, const struct top_look *look)
{
	struct part *parts = x_alloc((look->nr_regions + 1) * sizeof(*parts));
	char *text;
	size_t i;

	for (i = 0; i < look->nr_regions; i++)
		parts[i] = (struct part){region_mark(&look->regions[i]),
					 look->regions[i].bytes};
	text = bar(bar_width(page), look->stats.limit, parts, look->nr_regions);
	line_add(page, false, "regions   [%s] %zu, %s", text, look->nr_regions,
		 SIZE_TEXT(look->stats.region_bytes));
	free(text);
	free(parts);
}

/**** below ****/

static const char *
sort_text(const struct top_view *view, enum top_focus focus)
{
	static const char *const readers[] = {"retained", "sections", "age",
					      "pid"};
	static const char *const hot[] = {"heat", "last access", "number"};

	return focus == TOP_READERS ? readers[view->reader_sort]
				    : hot[view->hot_sort];
}

static void
reader_lines(struct top_page *page, const struct top_model *model,
	     const struct top_view *view, size_t end)
{
	size_t nr, i, *rows = top_readers(model, view, &nr);

	line_add(page, view->focus == TOP_READERS,
		 "%7s %8s %-12s %8s %8s %10s %8s  by %s", "UID", "PID", "NAME",
		 "PIN", "AGE", "RETAINED", "SECT/S",
		 sort_text(view, TOP_READERS));
	for (i = 0; i < nr && page->nr < end; i++) {
		const struct strata_reader_info *info =
			&model->now.readers[rows[i]];
		char *name = x_format("%.*s", (int)sizeof(info->name),
				      info->name);
		char *pin = info->pin != 0
			? x_format("%llu", (unsigned long long)info->pin)
			: x_dup("-");

		cut(name, 12);
		line_add(page, false, "%7u %8u %-12s %8s %8s %10s %8s%s",
			 info->uid, info->pid, name, pin,
			 info->age_ns != 0 ? AGE_TEXT(info->age_ns) : "-",
			 SIZE_TEXT(info->retained),
			 RATE_TEXT(model->reads[rows[i]]),
			 info->alive ? "" : "  dead");
		free(name);
		free(pin);
	}
	free(rows);
}

/* "3.2 s ago"; a reader may say that it was tomorrow. */
static char *
access_text(uint64_t last_ns, uint64_t now)
{
	return last_ns <= now ? x_format("%s ago", AGE_TEXT(now - last_ns))
			      : x_dup("?");
}

static void
hot_lines(struct top_page *page, const struct top_model *model,
	  const struct top_view *view, size_t end)
{
	size_t nr, i;
	struct top_heat *list = top_hot(model, view, &nr);
	uint64_t now = now_ns();

	line_add(page, view->focus == TOP_HOT,
		 "%16s %7s  %-14s of %.0f samples, by %s",
		 view->by_dimension ? "DIMENSION" : "LAYER", "SHARE",
		 "LAST ACCESS", model->total_heat, sort_text(view, TOP_HOT));
	for (i = 0; i < nr && page->nr < end; i++) {
		char *access = access_text(list[i].last_ns, now);
		char *name = list[i].layer < 0
			? x_format("%u", list[i].dimension)
			: x_format("%u/%lld", list[i].dimension,
				   (long long)list[i].layer);

		line_add(page, false, "%16s %5.1f %%  %s", name,
			 model->total_heat > 0
				 ? 100 * list[i].heat / model->total_heat
				 : 0,
			 access);
		free(name);
		free(access);
	}
	free(list);
}

/* The focus gets two thirds of the lines; what one does not need, both have. */
static void
panes(struct top_page *page, const struct top_model *model,
      const struct top_view *view)
{
	size_t left = page->height > page->nr + 1 ? page->height - page->nr - 1
						  : 0;
	size_t share = view->focus == TOP_READERS ? left * 2 / 3 : left / 3;
	size_t nr_hot, needed = model->now.nr_readers + 1;
	size_t end;

	free(top_hot(model, view, &nr_hot));
	if (needed < share)
		share = needed;
	else if (left > nr_hot + 1 && left - nr_hot - 1 > share)
		share = left - nr_hot - 1;
	end = page->nr + share;
	reader_lines(page, model, view, end);
	hot_lines(page, model, view, page->height - 1);
}

static void
foot(struct top_page *page, const struct top_view *view)
{
	while (page->nr + 1 < page->height)
		line_add(page, false, "%s", "");
	if (view->editing || view->filter[0] != '\0')
		line_add(page, true, "filter: %s%s", view->filter,
			 view->editing ? "_  (enter: done, esc: none)"
				       : "  (esc: none)");
	else
		line_add(page, true,
			 "q quit  tab pane  s sort  / filter  d dimensions  p "
			 "pause  + - slower, faster");
}

void
top_page_make(struct top_page *page, size_t width, size_t height,
	      const char *store, const struct top_model *model,
	      const struct top_view *view)
{
	const struct top_look *now = &model->now;

	*page = (struct top_page){.width = width, .height = height};
	page->lines = x_alloc((height + 1) * sizeof(*page->lines));
	page->marked = x_alloc((height + 1) * sizeof(*page->marked));
	line_add(page, true, "strata top: %s  version %llu  %s  every %.1f s%s",
		 store, (unsigned long long)now->stats.version,
		 TIME_TEXT(now_ns()), view->interval_ms / 1e3,
		 view->paused ? "  PAUSED" : "");
	if (now->why != NULL) {
		line_add(page, false, "%s", "");
		line_add(page, false, "It cannot be looked at now:");
		line_add(page, false, "%s", now->why);
		line_add(page, false, "When it can be, it is shown again.");
	} else {
		memory_lines(page, &now->stats);
		rates_line(page, model);
		pool_lines(page, &now->stats);
		region_line(page, now);
		panes(page, model, view);
	}
	foot(page, view);
}
