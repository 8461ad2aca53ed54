/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The library's test points: which are passed, and dying at one of them. */
#include "points.h"

#include <stddef.h>
#include <string.h>

#include "proc.h"
#include "testpoint.h"

static struct points *counted;
static const char *fatal;
static unsigned passages_left;
static void (*last_wish)(void *arg);
static void *wish_arg;

static void
count(const char *name)
{
	unsigned i;

	for (i = 0; i < counted->nr; i++)
		if (strcmp(counted->points[i].name, name) == 0)
			break;
	need(i < POINTS_MAX, "more than %d points", POINTS_MAX);
	if (i == counted->nr)
		counted->points[counted->nr++].name = name;
	counted->points[i].passages++;
}

static void
die(const char *name)
{
	if ((fatal != NULL && strcmp(name, fatal) != 0) || --passages_left != 0)
		return;
	if (last_wish != NULL)
		last_wish(wish_arg);
	proc_die();
}

void
points_count(struct points *points)
{
	counted = points;
	strata__testpoint = points != NULL ? count : NULL;
}

void
points_die_at(const char *name, unsigned passage)
{
	fatal = name;
	passages_left = passage;
	strata__testpoint = die;
}

void
points_before_death(void (*wish)(void *arg), void *arg)
{
	last_wish = wish;
	wish_arg = arg;
}

void
points_off(void)
{
	strata__testpoint = NULL;
}
