/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Crystallising: protos, and the region below them, become a new region. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "directory.h"
#include "error.h"
#include "install.h"
#include "log.h"
#include "newfile.h"

/*
 * The image is built from one pinned version, outside of the writer lock. At the
 * swap each layer that still is what was built from becomes the region's; one
 * that was put or removed meanwhile stays as it is, over the new region. Where
 * the store has a directory the file is durable before the swap.
 */

struct crystal {
	struct strata_store *store;
	struct strata_reader *reader; /* pins the version built from */
	bool is_pinned;
	struct strata_dimension info;
	struct strata__image_source *sources;
	uint64_t *versions; /* of each source's entry, to know it again */
	size_t nr, max;
	struct strata__image_plan plan;
	struct strata__built built;
	struct strata__progress *progress;
};

/**** collecting ****/

static int
collect(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct crystal *crystal = arg;
	struct strata__image_source *source;

	if (crystal->nr == crystal->max)
		return strata__fail(STRATA_ECORRUPT,
				    "dimension %u has more layers than it says",
				    crystal->info.id);
	source = &crystal->sources[crystal->nr];
	memset(source, 0, sizeof(*source));
	source->layer.layer = layer;
	source->layer.depth = entry->depth;
	source->layer.parent = entry->parent;
	source->layer.flags = entry->flags & STRATA_ENTRY_SIMULATED;
	source->layer.frequency = entry->frequency;
	source->layer.size = entry->size;
	source->layer.meta_size = entry->meta_size;
	source->data = strata_data(crystal->reader, entry);
	source->meta = crystal->reader->window + entry->meta;
	crystal->versions[crystal->nr] = entry->version;
	crystal->nr++;
	return 0;
}

/* In a section of the crystal's reader, which is left by crystal_unpin(). */
static int
crystal_collect(struct crystal *crystal, uint32_t dimension)
{
	int ret;

	ret = strata_dimension_get(crystal->reader, dimension, &crystal->info);
	if (ret == STRATA_ENODIM) {
		strata__fail(ret, "there is no dimension %u", dimension);
		strata__error()->dimension = dimension;
	}
	if (ret != 0)
		return ret;
	if (crystal->info.immutable)
		return strata__fail(STRATA_EIMMUTABLE,
				    "dimension %u is immutable: only load, "
				    "reload and unload change it",
				    dimension);
	crystal->max = crystal->info.nr_layers;
	crystal->sources = calloc(crystal->max + 1, sizeof(*crystal->sources));
	crystal->versions = calloc(crystal->max + 1, sizeof(uint64_t));
	if (crystal->sources == NULL || crystal->versions == NULL)
		return strata__fail(STRATA_ENOMEM,
				    "no memory for a list of %llu layers",
				    (unsigned long long)crystal->max);
	ret = strata_foreach_layer(crystal->reader, dimension, collect,
				   crystal);
	if (ret == STRATA_EMAP)
		strata__error_append("; nothing was crystallised");
	return ret;
}

static int
crystal_init(struct crystal *crystal, struct strata_store *store,
	     struct strata__progress *progress)
{
	int ret;

	memset(crystal, 0, sizeof(*crystal));
	crystal->store = store;
	crystal->progress = progress;
	crystal->built.building.fd = -1;
	ret = strata_reader_open(store, &crystal->reader);
	if (ret != 0)
		return ret;
	ret = strata_read_lock(crystal->reader);
	if (ret != 0)
		strata_reader_close(crystal->reader);
	crystal->is_pinned = ret == 0;
	return ret;
}

/* From here on its sources are not looked at. */
static void
crystal_unpin(struct crystal *crystal)
{
	if (crystal->is_pinned)
		strata_read_unlock(crystal->reader);
	crystal->is_pinned = false;
}

static void
crystal_fini(struct crystal *crystal)
{
	crystal_unpin(crystal);
	strata_reader_close(crystal->reader);
	free(crystal->sources);
	free(crystal->versions);
}

/**** building ****/

static int
plan(struct crystal *crystal)
{
	struct strata_file_info info;

	memset(&info, 0, sizeof(info));
	info.dimension = crystal->info.id;
	memcpy(info.name, crystal->info.name, sizeof(info.name));
	info.frequency_min = crystal->info.frequency_min;
	info.frequency_max = crystal->info.frequency_max;
	return strata__image_plan(&info, crystal->sources, crystal->nr,
				  &crystal->plan);
}

/* Somebody may have destroyed the store meanwhile, or removed its segments, and
 * made another one with this directory, in which newer files are. */
static int
check_ours(struct strata_store *store, const char *directory)
{
	struct strata__space *space = &store->space;
	char name[STRATA_SEGMENT_NAME];
	struct stat st;
	int ret = strata__folder_mend(&space->folder);

	if (ret != 0)
		return ret;
	strata__segment_name_catalog(name, store->name);
	if ((atomic_load_explicit(&space->catalog->hot.version,
				  memory_order_acquire) &
	     STRATA_VERSION_DEAD) != 0 ||
	    fstatat(space->folder.fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    st.st_dev != space->catalog_id.device ||
	    st.st_ino != space->catalog_id.inode)
		return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				    store->name);
	return strata__directory_check(directory, store->name);
}

/*
 * The order matters: what others have begun is revoked, then ours is begun, then
 * we see that the store is ours. So a crystallise of a former store is revoked,
 * or sees that its store is gone, or was done before a newer one began. The look
 * before is a courtesy: who knows that his store is gone revokes nobody.
 */
static int
file_try(struct crystal *crystal, const char *directory, const char *path,
	 bool *ret_revoked)
{
	const struct strata__geometry *geometry =
		crystal->store->space.geometry;
	const struct strata__newfile_wish wish = {
		.mode = geometry->mode & 0666,
		.group = geometry->group,
		.size = crystal->built.building.image_size,
		.revoke = true,
	};
	struct strata__newfile file;
	int ret = check_ours(crystal->store, directory);

	STRATA_TESTPOINT("crystallize.file-ours");
	if (ret == 0)
		ret = strata__newfile_open(path, &wish, &file);
	if (ret != 0)
		return ret;
	ret = check_ours(crystal->store, directory);
	if (ret == 0)
		ret = strata__image_copy(crystal->built.building.fd, file.fd,
					 wish.size, path, crystal->progress);
	if (ret == 0)
		ret = strata__progress_finish(crystal->progress);
	if (ret != 0) {
		strata__newfile_discard(&file);
		return ret;
	}
	STRATA_TESTPOINT("crystallize.file-written");
	ret = strata__newfile_finish(&file);
	*ret_revoked = ret == -ENOENT;
	return ret;
}

/* Who was stopped in a former store between its look and what it revokes does so
 * once, and learns then that its store is gone; so that many of these would have
 * to be in the way of one file. */
#define FILE_TRIES 16

/* The store may be a former one, or another one has this directory by now: the
 * next attempt sees that before it does anything. If it is ours it was a former
 * one that revoked us, and we begin anew. */
static int
file_write(struct crystal *crystal, const char *directory, const char *path)
{
	bool revoked = true;
	int ret = 0;

	for (unsigned i = 0; i < FILE_TRIES && revoked; i++) {
		revoked = false;
		ret = file_try(crystal, directory, path, &revoked);
	}
	return ret;
}

/* Who lost its pin may have copied what was no more: such an image is neither
 * for the directory nor for the store. */
static int
check_pin(const struct crystal *crystal)
{
	const struct strata_reader *reader = crystal->reader;

	if (atomic_load_explicit(&reader->slot->pin, memory_order_relaxed) ==
	    reader->pin)
		return 0;
	return strata__fail(STRATA_EPIN,
			    "the pin of the version that dimension %u is built "
			    "from was overwritten by another process of this "
			    "user: nothing was crystallised",
			    crystal->info.id);
}

static int
make_durable(struct crystal *crystal)
{
	const char *directory = strata_directory(crystal->store);
	char path[PATH_MAX];
	int ret;

	if (directory == NULL)
		return strata__progress_finish(crystal->progress);
	ret = strata_file_path(directory, crystal->info.id, path, sizeof(path));
	if (ret == 0)
		ret = file_write(crystal, directory, path);
	if (ret != 0)
		strata__error()->dimension = crystal->info.id;
	return ret;
}

/* The contents' checksums were made of what is in its place, a moment ago, by
 * ourselves: looking again would find the same. Where everything is, the readers
 * will believe: so that is checked as if a stranger had written it. */
static int
check_emitted(struct crystal *crystal)
{
	return strata__image_check(crystal->built.target.map,
				   crystal->plan.header.image_size,
				   "the new region", /* quick= */ true, NULL,
				   NULL, &crystal->built.image);
}

static int
build(struct crystal *crystal)
{
	char what[32];
	int ret;

	ret = plan(crystal);
	if (ret == 0)
		ret = strata__building_begin(crystal->store, crystal->info.id,
					     crystal->plan.header.image_size,
					     &crystal->built.building);
	if (ret != 0)
		return ret;
	STRATA_TESTPOINT("crystallize.reserved");
	/* Written, checksummed, and copied where there is a directory. */
	crystal->progress->total =
		(strata_directory(crystal->store) != NULL ? 3 : 2) *
		crystal->plan.header.image_size;
	crystal->plan.progress = crystal->progress;
	snprintf(what, sizeof(what), "dimension %u", crystal->info.id);
	ret = strata__built_open(crystal->store, what, &crystal->built);
	if (ret == 0)
		ret = strata__image_emit_to(&crystal->plan,
					    &crystal->built.target);
	STRATA_TESTPOINT("crystallize.emitted");
	if (ret == 0)
		ret = check_emitted(crystal);
	if (ret == 0)
		ret = strata__built_seal(crystal->store, &crystal->built);
	STRATA_TESTPOINT("crystallize.sealed");
	if (check_pin(crystal) != 0)
		ret = STRATA_EPIN; /* whatever else was wrong came of it */
	if (ret == 0)
		ret = make_durable(crystal);
	STRATA_TESTPOINT("crystallize.durable");
	return ret;
}

/**** the swap ****/

/* The plan sorted the sources, which came sorted: the orders agree. */
static int
swap_layer(struct strata__edit *edit, struct crystal *crystal, size_t i)
{
	const struct strata__image_layer *layer =
		&crystal->built.image.layers[i];
	const char *window = edit->space->window;
	uint32_t dimension = crystal->info.id;
	const struct strata_entry *now;
	struct strata_entry entry, old;
	int ret;

	now = strata__tree_entry(
		window, strata__tree_slot(window, edit->root, dimension),
		layer->layer);
	if (now == NULL || now->version != crystal->versions[i])
		return 0;
	strata__entry_of_image(&crystal->built, layer, now->version, &entry);
	ret = strata__tree_put(edit, dimension, layer->layer, &entry, &old);
	if (ret == 0 && (old.flags & STRATA_ENTRY_REGION) == 0)
		ret = strata__edit_unlink(edit, old.content);
	return ret;
}

static int
swap(struct strata__edit *edit, struct strata__built *built, void *arg)
{
	struct crystal *crystal = arg;
	struct strata__dimnode *node;
	char name[sizeof(node->name)];
	double min, max;
	int ret;

	edit->deed = STRATA_DEED_CRYSTALLIZE;
	ret = strata__tree_dimension(edit, crystal->info.id, /* create= */ false,
				     &node);
	if (ret != 0)
		return ret;
	if (node->region != 0)
		ret = strata__edit_unlink_segment(edit, node->region - 1);
	if (ret != 0)
		return ret;
	/* A description that was committed meanwhile stays. */
	memcpy(name, node->name, sizeof(name));
	min = node->frequency_min;
	max = node->frequency_max;
	strata__dimnode_of_image(built, node);
	memcpy(node->name, name, sizeof(name));
	node->frequency_min = min;
	node->frequency_max = max;
	STRATA_TESTPOINT("crystallize.described");
	for (size_t i = 0; ret == 0 && i < crystal->nr; i++)
		ret = swap_layer(edit, crystal, i);
	return ret;
}

/**** both ****/

/* Nothing to build; but in a store with a directory the file may be missing, or
 * be another one, of a dimension that was loaded from elsewhere. 1, 0, or what
 * went wrong. */
static int
is_done(struct crystal *crystal)
{
	struct strata__space *space = &crystal->store->space;
	const char *directory = strata_directory(crystal->store);
	const struct strata__dimnode *node;
	char path[PATH_MAX];
	uint64_t place;
	int ret;

	if (crystal->info.state != STRATA_DIMENSION_CRYSTALLIZED)
		return 0;
	if (directory == NULL)
		return 1;
	node = strata__tree_dimnode(
		space->window,
		strata__tree_slot(space->window,
				  strata__reader_root(crystal->reader),
				  crystal->info.id));
	if (node->region == 0 || node->region > space->geometry->nr_segments)
		return 0;
	ret = strata_file_path(directory, crystal->info.id, path, sizeof(path));
	if (ret != 0)
		return ret;
	/* One without layers was not met by the walk. */
	if (strata__space_map(space, node->region - 1,
			      node->region_generation) != 0)
		return strata__fail_unmapped(node->id);
	place = strata__count(
		&strata__segments(space)[node->region - 1].place);
	return strata__newfile_is(path, space->window + place,
				  node->region_bytes);
}

static int
crystallize_locked(struct strata_store *store, uint32_t dimension,
		   struct strata__progress *progress)
{
	struct crystal crystal;
	int ret;

	ret = crystal_init(&crystal, store, progress);
	if (ret != 0)
		return ret;
	ret = crystal_collect(&crystal, dimension);
	if (ret == 0)
		ret = is_done(&crystal);
	if (ret != 0) {
		crystal_fini(&crystal);
		return ret > 0 ? 0 : ret;
	}
	ret = build(&crystal);
	/* Our own pin would keep what is replaced. */
	crystal_unpin(&crystal);
	if (ret == 0)
		ret = strata__install(store, &crystal.built, swap, &crystal,
				      NULL);
	STRATA_TESTPOINT("crystallize.swapped");
	STRATA_PROBE3(crystallize, store->name, dimension, ret);
	STRATA_LOG(STRATA_LOG_INFO, "store '%s': dimension %u %s", store->name,
		   dimension,
		   ret == 0 ? "is crystallised" : "was not crystallised");
	strata__built_unmap(&crystal.built);
	if (crystal.built.building.fd >= 0) {
		if (ret != 0)
			strata__building_abort(store, &crystal.built.building);
		else
			strata__building_close(&crystal.built.building);
	}
	crystal_fini(&crystal);
	return ret;
}

int
strata_crystallize(struct strata_store *store, uint32_t dimension)
{
	return strata_crystallize_with(store, dimension, NULL);
}

int
strata_crystallize_with(struct strata_store *store, uint32_t dimension,
			const struct strata_work *work)
{
	struct strata__dimension_lock lock;
	struct strata__progress progress;
	int ret = strata__progress_init(&progress, work);

	if (ret != 0)
		return ret;
	ret = strata__dimension_lock(store, dimension, &lock);
	if (ret != 0)
		return ret;
	ret = crystallize_locked(store, dimension, &progress);
	strata__dimension_unlock(&lock);
	strata__pressure_look(store);
	return ret;
}
