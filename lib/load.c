/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Dimension files into the store and out of it: load, reload, unload. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "directory.h"
#include "error.h"
#include "install.h"
#include "newfile.h"

/**** the file ****/

struct source {
	const char *path;
	int fd;
	uint64_t size;
	uint32_t dimension;
};

static int
bad_file(const struct source *source, uint64_t offset, const char *reason)
{
	strata__fail(STRATA_EFORMAT,
		     "'%s' is no dimension file: %s; pack it again",
		     source->path, reason);
	strata__error()->offset = offset;
	strata__error()->size = source->size;
	return STRATA_EFORMAT;
}

/* Only as much as is needed to know what to reserve: the whole is checked when
 * it is where nobody can change it. */
static int
source_peek(struct source *source)
{
	struct strata__image_header header;
	int ret;

	if (source->size < sizeof(header))
		return bad_file(source, 0, "it is shorter than a header");
	ret = strata__os_pread(source->fd, &header, sizeof(header), 0);
	if (ret != 0)
		return strata__fail_errno(-ret, "cannot read '%s'",
					  source->path);
	if (header.magic == __builtin_bswap64(STRATA_IMAGE_MAGIC))
		return bad_file(source, 0,
				"it was written by a machine of the other byte "
				"order");
	if (header.magic != STRATA_IMAGE_MAGIC)
		return bad_file(source, 0, "it does not begin as one");
	if (header.image_size != source->size)
		return bad_file(source,
				offsetof(struct strata__image_header,
					 image_size),
				"its size is not what its header says");
	if (header.dimension < 1 || header.dimension > STRATA_DIMENSION_MAX)
		return bad_file(source,
				offsetof(struct strata__image_header, dimension),
				"its dimension number is out of range");
	source->dimension = header.dimension;
	return 0;
}

static int
source_open(const char *path, struct source *ret)
{
	struct stat st;
	int err;

	ret->path = path;
	ret->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (ret->fd < 0)
		return strata__fail_errno(errno, "cannot open '%s'", path);
	if (fstat(ret->fd, &st) != 0) {
		err = strata__fail_errno(errno, "cannot look at '%s'", path);
	} else if (!S_ISREG(st.st_mode)) {
		err = strata__fail(STRATA_EFORMAT,
				   "'%s' is not a regular file", path);
	} else {
		ret->size = (uint64_t)st.st_size;
		err = source_peek(ret);
	}
	if (err != 0)
		close(ret->fd);
	return err;
}

/**** on its way into the region ****/

#define PIECE_SIZE ((uint64_t)64 << 10)

/* Each piece is read to its place, and checked there before the next one is
 * read: so each byte comes from memory once, and nothing is believed that anybody
 * else can still change. */
struct arrival {
	const struct source *source;
	struct strata__built *built;
	struct strata__progress *progress;
	char *buffer; /* for what goes to its place by pwrite */
	uint64_t at;
};

static int
read_fail(const struct source *source, int err)
{
	if (err == -ENODATA)
		return strata__fail(STRATA_EFORMAT,
				    "%.200s: shorter than its %" PRIu64
				    " bytes",
				    source->path, source->size);
	return strata__fail_errno(-err, "cannot read '%.200s'", source->path);
}

static int
arrive_piece(struct arrival *arrival)
{
	const struct strata__image_target *target = &arrival->built->target;
	const struct source *source = arrival->source;
	uint64_t at = arrival->at, size = source->size - at;
	bool is_mapped;
	int err;

	if (size > PIECE_SIZE)
		size = PIECE_SIZE;
	is_mapped = at < target->mapped && size <= target->mapped - at;
	err = strata__os_pread(source->fd,
			       is_mapped ? target->map + at : arrival->buffer,
			       size, at);
	STRATA_TESTPOINT("load.piece-read");
	if (err != 0)
		return read_fail(source, err);
	if (!is_mapped)
		err = strata__os_pwrite(target->fd, arrival->buffer, size, at);
	if (err != 0)
		return strata__write_fail(-err, target->fd, target->in_shm,
					  source->path, at, source->size);
	arrival->at += size;
	return strata__progress_add(arrival->progress, size);
}

static int
arrive(uint64_t end, void *arg)
{
	struct arrival *arrival = arg;
	int ret = 0;

	while (ret == 0 && arrival->at < end)
		ret = arrive_piece(arrival);
	return ret;
}

static void
count_checked(uint64_t bytes, void *arg)
{
	struct arrival *arrival = arg;

	strata__progress_checked(bytes, arrival->progress);
}

static int
bring(const struct source *source, struct strata__built *built,
      struct strata__progress *progress)
{
	struct arrival arrival = {.source = source,
				  .built = built,
				  .progress = progress,
				  .buffer = malloc(PIECE_SIZE)};
	int ret;

	if (arrival.buffer == NULL)
		return strata__fail(STRATA_ENOMEM,
				    "no memory to read '%.200s'", source->path);
	ret = strata__image_check_coming(built->target.map, source->size,
					 source->path, arrive, count_checked,
					 &arrival, &built->image);
	free(arrival.buffer);
	return ret != 0 ? ret : strata__progress_add(progress, 0);
}

/**** load and reload ****/

static int
fill(struct strata__edit *edit, struct strata__built *built, void *arg)
{
	const struct strata__image_header *header = built->image.header;
	struct strata__dimnode *node;
	struct strata_entry entry, old;
	int ret;

	(void)arg;
	ret = strata__tree_dimension(edit, header->dimension, /* create= */ true,
				     &node);
	if (ret != 0)
		return ret;
	strata__dimnode_of_image(built, node);
	for (uint64_t i = 0; ret == 0 && i < header->nr_layers; i++) {
		strata__entry_of_image(built, &built->image.layers[i],
				       edit->version, &entry);
		ret = strata__tree_put(edit, header->dimension,
				       built->image.layers[i].layer, &entry,
				       &old);
	}
	return ret;
}

static uint64_t
slot_now(const struct strata__edit *edit, uint32_t dimension)
{
	return strata__tree_slot(edit->space->window, edit->root, dimension);
}

static int
exists(uint32_t dimension)
{
	strata__fail(STRATA_EEXIST,
		     "dimension %u is in the store already: reload it, or "
		     "unload it first",
		     dimension);
	strata__error()->dimension = dimension;
	return STRATA_EEXIST;
}

static int
no_dimension(uint32_t dimension)
{
	strata__fail(STRATA_ENODIM, "there is no dimension %u", dimension);
	strata__error()->dimension = dimension;
	return STRATA_ENODIM;
}

static int
fill_new(struct strata__edit *edit, struct strata__built *built, void *arg)
{
	uint32_t dimension = built->image.header->dimension;

	if (slot_now(edit, dimension) != 0)
		return exists(dimension);
	edit->deed = STRATA_DEED_LOAD;
	return fill(edit, built, arg);
}

static int
fill_over(struct strata__edit *edit, struct strata__built *built, void *arg)
{
	uint32_t dimension = built->image.header->dimension;
	int ret;

	if (slot_now(edit, dimension) == 0)
		return no_dimension(dimension);
	edit->deed = STRATA_DEED_RELOAD;
	ret = strata__edit_drop_dimension(edit, dimension);
	return ret != 0 ? ret : fill(edit, built, arg);
}

static int
build_and_install(struct strata_store *store, const struct source *source,
		  bool over, struct strata__progress *progress)
{
	struct strata__built built = {.target.map = NULL};
	int ret;

	ret = strata__building_begin(store, source->dimension, source->size,
				     &built.building);
	if (ret != 0)
		return ret;
	STRATA_TESTPOINT("load.reserved");
	progress->total = 2 * source->size; /* read, and checked */
	ret = strata__built_open(store, source->path, &built);
	if (ret == 0)
		ret = bring(source, &built, progress);
	STRATA_TESTPOINT("load.copied");
	if (ret == 0)
		ret = strata__built_seal(store, &built);
	STRATA_TESTPOINT("load.sealed");
	if (ret == 0 && built.image.header->dimension != source->dimension)
		ret = bad_file(source, 0, "it changed while it was read");
	if (ret == 0)
		ret = strata__progress_finish(progress);
	if (ret == 0)
		ret = strata__install(store, &built, over ? fill_over : fill_new,
				      NULL, NULL);
	strata__built_unmap(&built);
	if (ret != 0)
		strata__building_abort(store, &built.building);
	else
		strata__building_close(&built.building);
	return ret;
}

/* Is the dimension there now? A wish that cannot be met is refused before
 * anything is read; the swap asks again. */
static int
check_presence(struct strata_store *store, uint32_t dimension, bool wanted)
{
	struct strata_reader *reader;
	struct strata_dimension info;
	int ret;

	ret = strata_reader_open(store, &reader);
	if (ret != 0)
		return ret;
	ret = strata_read_lock(reader);
	if (ret == 0) {
		ret = strata_dimension_get(reader, dimension, &info);
		strata_read_unlock(reader);
	}
	strata_reader_close(reader);
	if (ret == 0 && !wanted)
		return exists(dimension);
	if (ret == STRATA_ENODIM)
		return wanted ? no_dimension(dimension) : 0;
	return ret;
}

/* Under the lock of the dimension. */
static int
load_source(struct strata_store *store, const struct source *source, bool over,
	    struct strata__progress *progress)
{
	int ret = check_presence(store, source->dimension, over);

	return ret != 0 ? ret
			: build_and_install(store, source, over, progress);
}

int
strata_load(struct strata_store *store, const char *path,
	    uint32_t *ret_dimension)
{
	return strata_load_with(store, path, NULL, ret_dimension);
}

int
strata_load_with(struct strata_store *store, const char *path,
		 const struct strata_work *work, uint32_t *ret_dimension)
{
	struct strata__dimension_lock lock;
	struct strata__progress progress;
	struct source source;
	int ret;

	if (path == NULL)
		return strata__fail(STRATA_EINVAL, "load: no path was given");
	ret = strata__check_writer(store);
	if (ret == 0)
		ret = strata__progress_init(&progress, work);
	if (ret != 0)
		return ret;
	ret = source_open(path, &source);
	if (ret != 0)
		return ret;
	ret = strata__dimension_lock(store, source.dimension, &lock);
	if (ret == 0) {
		ret = load_source(store, &source, /* over= */ false, &progress);
		strata__dimension_unlock(&lock);
	}
	close(source.fd);
	if (ret == 0 && ret_dimension != NULL)
		*ret_dimension = source.dimension;
	strata__pressure_look(store);
	return ret;
}

static int
own_file(struct strata_store *store, uint32_t dimension, char *buffer,
	 size_t size)
{
	const char *directory = strata_directory(store);

	if (directory == NULL)
		return strata__fail(STRATA_EDIR,
				    "store '%s' has no directory: say which "
				    "file",
				    store->name);
	return strata_file_path(directory, dimension, buffer, size);
}

/* The file is opened under the lock of the dimension: a crystallise that is
 * under way may be about to replace it. */
static int
reload_locked(struct strata_store *store, uint32_t dimension, const char *path,
	      struct strata__progress *progress)
{
	struct source source;
	int ret = source_open(path, &source);

	if (ret != 0)
		return ret;
	if (source.dimension != dimension)
		ret = strata__fail(STRATA_EINVAL,
				   "'%s' is of dimension %u, not %u", path,
				   source.dimension, dimension);
	else
		ret = load_source(store, &source, /* over= */ true, progress);
	close(source.fd);
	return ret;
}

int
strata_reload(struct strata_store *store, uint32_t dimension, const char *path)
{
	return strata_reload_with(store, dimension, path, NULL);
}

int
strata_reload_with(struct strata_store *store, uint32_t dimension,
		   const char *path, const struct strata_work *work)
{
	struct strata__dimension_lock lock;
	struct strata__progress progress;
	char buffer[PATH_MAX];
	int ret;

	ret = strata__check_writer(store);
	if (ret == 0)
		ret = strata__progress_init(&progress, work);
	if (ret != 0)
		return ret;
	if (path == NULL) {
		ret = own_file(store, dimension, buffer, sizeof(buffer));
		if (ret != 0)
			return ret;
		path = buffer;
	}
	ret = strata__dimension_lock(store, dimension, &lock);
	if (ret != 0)
		return ret;
	ret = reload_locked(store, dimension, path, &progress);
	strata__dimension_unlock(&lock);
	strata__pressure_look(store);
	return ret;
}

/**** unload ****/

static int
forget_file(struct strata_store *store, uint32_t dimension, int if_absent)
{
	char path[PATH_MAX];
	int ret = own_file(store, dimension, path, sizeof(path));

	/* A crystallise of a former store must not bring it back. */
	if (ret == 0)
		ret = strata__newfile_revoke(path);
	if (ret == 0)
		ret = strata__directory_check(strata_directory(store),
					      store->name);
	if (ret != 0)
		return ret;
	if (unlink(path) == 0) {
		STRATA_TESTPOINT("load.forget.unlinked");
		return strata__newfile_sync_folder(path);
	}
	if (errno == ENOENT)
		return if_absent;
	return strata__fail_errno(errno, "cannot remove '%s'", path);
}

static int
drop_apply(struct strata__edit *edit, void *arg)
{
	const uint32_t *dimension = arg;

	/* Must work in a full store: it is how one is emptied. */
	edit->take_flags = STRATA_TAKE_RESERVE;
	edit->deed = STRATA_DEED_UNLOAD;
	return strata__edit_drop_dimension(edit, *dimension);
}

static void
drop_committed(struct strata_store *store, void *arg)
{
	(void)arg;
	(void)strata__reclaim(store, NULL);
}

static int
drop(struct strata_store *store, uint32_t dimension)
{
	static const struct strata__write write = {drop_apply, drop_committed};

	return strata__write(store, &write, &dimension, NULL);
}

int
strata_unload(struct strata_store *store, uint32_t dimension, int forget)
{
	struct strata__dimension_lock lock;
	int ret;

	ret = strata__dimension_lock(store, dimension, &lock);
	if (ret != 0)
		return ret;
	/* The file last: killed in between, nothing is lost that was not to
	 * be kept, and unload --forget can be said again. */
	if (forget && strata_directory(store) == NULL)
		ret = own_file(store, dimension, NULL, 0);
	if (ret == 0)
		ret = drop(store, dimension);
	/* Removed by a transaction before, it may still have its file. */
	if (forget && (ret == 0 || ret == STRATA_ENODIM))
		ret = forget_file(store, dimension, ret);
	strata__dimension_unlock(&lock);
	strata__pressure_look(store);
	return ret;
}
