/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Making a built region part of the store. */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "install.h"
#include "newfile.h"
#include "testpoint.h"

/*
 * Large pages first. A process that reads a region for the first time pays for
 * each page, 512 times less for large ones, and so does who fills it: to make one
 * page present in each 2 MiB, to have the kernel make a large one of that, which
 * it clears at once, and to fill this through a mapping takes two thirds of the
 * time that write(2) takes to fill small ones. To collect them afterwards, the
 * way that lost, took as much again. /dev/shm gives large pages to begin with
 * only where its mount says so.
 *
 * What the mapping takes is reserved then, as is all that is ever touched: that
 * finds every page there, or is an error where a store would be a SIGBUS. What
 * is behind the last large page, or all of it where not all could be had, is
 * written with pwrite.
 */
static int
seed_large(struct strata__built *built, const char *what, uint64_t whole)
{
	const struct strata__building *building = &built->building;
	int err = strata__os_truncate(building->fd, building->size);

	for (uint64_t at = 0; err == 0 && at < whole; at += STRATA_LARGE_PAGE)
		err = strata__os_pwrite(building->fd, "", 1, at);
	STRATA_TESTPOINT("install.seeded");
	return err == 0 ? 0
			: strata__write_fail(-err, building->fd,
					     /* in_shm= */ true, what, 0,
					     building->size);
}

static int
refuse_small(const struct strata_store *store, uint64_t bytes, uint64_t whole,
	     int err)
{
	strata__fail(STRATA_ENOTSUP,
		     "store '%s' requires large pages, and the kernel gave "
		     "%llu of %llu bytes (%s): it needs Linux 6.1 and free "
		     "memory that hangs together; 'strata doctor' looks, or "
		     "create the store with --huge-pages=auto",
		     store->name, (unsigned long long)bytes,
		     (unsigned long long)whole, strerror(-err));
	strata__error()->sys_errno = -err;
	return STRATA_ENOTSUP;
}

/* Of a file that is new, and has no pages. */
static int
ask_large(struct strata_store *store, const char *what,
	  struct strata__built *built, uint64_t whole)
{
	uint32_t wish = store->space.geometry->huge_pages;
	uint64_t bytes;
	int err;

	built->building.large_pages = 0;
	if (wish == STRATA_HUGE_NEVER || whole == 0)
		return 0;
	err = seed_large(built, what, whole);
	if (err != 0)
		return err;
	err = strata__os_collapse(built->target.map, whole, &bytes);
	STRATA_TESTPOINT("install.collapsed");
	built->building.large_pages = (uint32_t)(bytes / STRATA_LARGE_PAGE);
	return err != 0 && wish == STRATA_HUGE_REQUIRE
		       ? refuse_small(store, bytes, whole, err)
		       : 0;
}

/* A spare was cut at its end at most. */
static void
keep_large(struct strata__built *built, uint64_t whole)
{
	if (built->building.large_pages > whole / STRATA_LARGE_PAGE)
		built->building.large_pages =
			(uint32_t)(whole / STRATA_LARGE_PAGE);
}

static int
make_large(struct strata_store *store, const char *what,
	   struct strata__built *built)
{
	uint64_t whole = built->building.image_size & ~(STRATA_LARGE_PAGE - 1);
	int err = 0;

	if (built->building.is_spare)
		keep_large(built, whole);
	else
		err = ask_large(store, what, built, whole);
	if (err != 0 || whole == 0 ||
	    built->building.large_pages != whole / STRATA_LARGE_PAGE)
		return err;
	err = strata__os_reserve(built->building.fd, 0, whole);
	if (err != 0)
		return strata__write_fail(-err, built->building.fd,
					  /* in_shm= */ true, what, 0,
					  built->building.size);
	built->target.mapped = whole;
	return 0;
}

static uint64_t
map_size(const struct strata__built *built)
{
	return strata__round_up(built->building.image_size, STRATA_PAGE);
}

int
strata__built_open(struct strata_store *store, const char *what,
		   struct strata__built *built)
{
	void *map;
	int err;

	built->target = (struct strata__image_target){
		.fd = built->building.fd, .in_shm = true};
	/* A child of a fork would keep the mapping, and by it a stray store
	 * could write to what is published later: so no fork in between. */
	strata__stores_lock();
	err = strata__os_map_large(built->building.fd,
				   built->building.image_size,
				   /* writable= */ true, &map);
	if (err != 0) {
		strata__stores_unlock();
		return strata__fail_errno(-err, "cannot map a new region");
	}
	built->target.map = map;
	err = strata__os_no_fork(map, map_size(built));
	strata__stores_unlock();
	if (err != 0)
		return strata__fail_errno(-err, "cannot keep a new region from "
						"children");
	strata__os_no_dump(map, map_size(built));
	return make_large(store, what, built);
}

int
strata__built_seal(struct strata_store *store, struct strata__built *built)
{
	int err = strata__os_freeze(built->target.map, map_size(built));

	if (err != 0)
		return strata__fail_errno(-err, "cannot protect a new region");
	return strata__segtab_seal(&store->space, &built->building);
}

void
strata__built_unmap(struct strata__built *built)
{
	if (built->target.map != NULL)
		strata__os_unmap(built->target.map, map_size(built));
	built->target.map = NULL;
}

void
strata__entry_of_image(const struct strata__built *built,
		       const struct strata__image_layer *layer,
		       uint64_t version, struct strata_entry *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->content = built->building.place + layer->content;
	ret->size = layer->size;
	ret->frequency = layer->frequency;
	ret->meta = built->building.place + layer->meta;
	ret->meta_size = layer->meta_size;
	ret->checksum = layer->checksum;
	ret->version = version;
	ret->depth = layer->depth;
	ret->parent = layer->parent;
	ret->flags = STRATA_ENTRY_PRESENT | STRATA_ENTRY_REGION |
		(layer->flags & STRATA_ENTRY_SIMULATED);
}

void
strata__dimnode_of_image(const struct strata__built *built,
			 struct strata__dimnode *node)
{
	const struct strata__image_header *header = built->image.header;

	memcpy(node->name, header->name, sizeof(node->name));
	node->flags = header->flags;
	node->frequency_min = header->frequency_min;
	node->frequency_max = header->frequency_max;
	node->region = built->building.index + 1;
	node->region_generation = built->building.generation;
	node->region_bytes = built->building.image_size;
	node->region_layers = (uint32_t)header->nr_layers;
	STRATA_TESTPOINT("install.described");
}

struct installing {
	struct strata__built *built;
	strata__fill_fn *fill;
	void *arg;
};

static int
install_apply(struct strata__edit *edit, void *arg)
{
	const struct installing *installing = arg;
	struct strata__built *built = installing->built;
	int ret = installing->fill(edit, built, installing->arg);

	if (ret != 0)
		return ret;
	edit->published = &built->building;
	edit->nr_published = 1;
	return 0;
}

static void
install_committed(struct strata_store *store, void *arg)
{
	const struct installing *installing = arg;

	/* It may be retired and reclaimed from now on: our lock on it must not
	 * be in the way. */
	strata__building_close(&installing->built->building);
	/* What was replaced is large: do not wait for the mark. The next region
	 * may have its pages. */
	store->wants_spare = true;
	(void)strata__reclaim(store, NULL);
	store->wants_spare = false;
}

int
strata__install(struct strata_store *store, struct strata__built *built,
		strata__fill_fn *fill, void *arg, uint64_t *ret_version)
{
	static const struct strata__write write = {install_apply,
						   install_committed};
	struct installing installing = {built, fill, arg};

	return strata__write(store, &write, &installing, ret_version);
}
