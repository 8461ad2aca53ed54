/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Making a built region part of the store. */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "install.h"
#include "testpoint.h"

/*
 * Each process that reads the region for the first time pays for each page: 512
 * times less for large ones. They are made once, here, of pages that are filled:
 * /dev/shm gives large ones to begin with only where its mount says so.
 */
static int
make_large(struct strata_store *store, struct strata__built *built)
{
	uint32_t wish = store->space.geometry->huge_pages;
	uint64_t bytes;
	int err;

	built->building.large_pages = 0;
	if (wish == STRATA_HUGE_NEVER)
		return 0;
	err = strata__os_collapse(built->map, built->building.image_size,
				  &bytes);
	STRATA_TESTPOINT("install.collapsed");
	built->building.large_pages = (uint32_t)(bytes / STRATA_LARGE_PAGE);
	if (err == 0 || wish != STRATA_HUGE_REQUIRE)
		return 0;
	strata__fail(STRATA_ENOTSUP,
		     "store '%s' requires large pages, and the kernel gave "
		     "%llu of %llu bytes (%s): it needs Linux 6.1 and free "
		     "memory that hangs together; 'strata doctor' looks, or "
		     "create the store with --huge-pages=auto",
		     store->name, (unsigned long long)bytes,
		     (unsigned long long)(built->building.image_size &
					  ~(STRATA_LARGE_PAGE - 1)),
		     strerror(-err));
	strata__error()->sys_errno = -err;
	return STRATA_ENOTSUP;
}

int
strata__built_seal(struct strata_store *store, const char *what,
		   struct strata__progress *progress,
		   struct strata__built *built)
{
	uint64_t size = built->building.image_size;
	int ret;

	ret = strata__os_map_large(built->building.fd, size, &built->map);
	if (ret != 0)
		return strata__fail_errno(-ret, "cannot map a new region");
	ret = strata__image_check(built->map, size, what, /* quick= */ false,
				  strata__progress_checked, progress,
				  &built->image);
	if (ret == 0)
		ret = strata__progress_add(progress, 0);
	if (ret == 0)
		ret = strata__segtab_seal(&store->space, &built->building);
	return ret == 0 ? make_large(store, built) : ret;
}

void
strata__built_unmap(struct strata__built *built)
{
	if (built->map != NULL)
		strata__os_unmap(built->map, strata__round_up(built->building.image_size,
						    STRATA_PAGE));
	built->map = NULL;
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

static int
fill_once(struct strata_store *store, struct strata__built *built,
	  int (*fill)(struct strata__edit *edit, struct strata__built *built,
		      void *arg),
	  void *arg)
{
	int ret = strata__edit_begin(&store->edit);

	if (ret != 0)
		return ret;
	ret = fill(&store->edit, built, arg);
	if (ret != 0)
		strata__edit_abort(&store->edit);
	return ret;
}

int
strata__install(struct strata_store *store, struct strata__built *built,
		int (*fill)(struct strata__edit *edit,
			    struct strata__built *built, void *arg),
		void *arg, uint64_t *ret_version)
{
	uint64_t version;
	int ret = strata__write_begin(store);

	if (ret != 0)
		return ret;
	ret = fill_once(store, built, fill, arg);
	if (strata__is_shortage(ret) && strata__make_room(store, ret) != 0)
		ret = fill_once(store, built, fill, arg);
	if (strata__is_shortage(ret))
		strata__refuse(store, ret);
	if (ret == 0) {
		store->edit.published = &built->building;
		store->edit.nr_published = 1;
		version = strata__edit_commit(&store->edit);
		/* It may be retired and reclaimed from now on: our lock on it
		 * must not be in the way. */
		strata__building_close(&built->building);
		if (ret_version != NULL)
			*ret_version = version;
		/* What was replaced is large: do not wait for the mark. */
		(void)strata__reclaim(store, NULL);
	}
	strata__write_end(store);
	return ret;
}
