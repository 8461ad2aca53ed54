/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Observing: copies of what one version has, without a pin. */
#include "observe.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "fence.h"
#include "testpoint.h"

/*
 * About pread. A mapping would end the process where a pool shrinks or a region
 * is given back (SIGBUS), and C11 has no word for bytes that a writer changes
 * under a memcpy. A read of a file is short instead, and what the kernel copies
 * is no access of the program. The files are opened for each call: nothing is
 * kept that the program could close, or a child inherit.
 *
 * About the check, letter L. It is behind the copy only. That a reference leads
 * to a block which its version reaches was found in a node of that version, so
 * the block's life at that time is known, and all that is asked is whether it
 * lasted until the copy was done: it did if the record is in use and was born
 * at or before the version, since the next life is born after it. A look before
 * the copy could only say sooner what this one says in any case.
 *
 * Each object is asked for itself. To ask whether the version is still current
 * would be simpler, and an observer would never get through beside a writer
 * that commits all the time.
 */

/**** attempts ****/

/* Nothing was read that a commit could have changed: the lock's way in, without
 * the pin. */
static int
look_begin(struct strata__look *look)
{
	const struct strata__hot *hot = &look->space->catalog->hot;
	uint64_t version;

	/* Letter A: pairs with COMMIT in edit.c. The records of all that this
	 * version reaches are seen as they were then, or later. */
	version = atomic_load_explicit(&hot->version, memory_order_acquire);
	if ((version & STRATA_VERSION_DEAD) != 0)
		return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				    look->space->geometry->name);
	/* Letter C: pairs with the store of the root in edit.c. */
	look->root = atomic_load_explicit(&hot->roots[version & 1],
					  memory_order_acquire);
	strata__fence_acquire();
	look->version = version;
	if (atomic_load_explicit(&hot->version, memory_order_relaxed) !=
	    version)
		return STRATA_OVERTAKEN;
	STRATA_TESTPOINT("observe.begun");
	return 0;
}

static void
region_close(struct strata__look *look)
{
	if (look->region.fd >= 0)
		close(look->region.fd);
	look->region.fd = -1;
}

static void
look_init(struct strata__look *look, const struct strata__space *space)
{
	memset(look, 0, sizeof(*look));
	look->space = space;
	look->region.fd = -1;
	for (uint32_t i = 0; i < STRATA_CLASSES_MAX; i++)
		look->pool_fd[i] = -1;
}

static void
look_fini(struct strata__look *look)
{
	region_close(look);
	for (uint32_t i = 0; i < STRATA_CLASSES_MAX; i++)
		if (look->pool_fd[i] >= 0)
			close(look->pool_fd[i]);
}

int
strata__observe(const struct strata__space *space,
		int (*fn)(struct strata__look *look, void *arg), void *arg)
{
	struct strata_error_info kept = *strata__error();
	int ret = STRATA_OVERTAKEN;
	struct strata__look look;

	look_init(&look, space);
	for (int i = 0; i < STRATA_LOOKS_MAX && ret == STRATA_OVERTAKEN; i++) {
		ret = look_begin(&look);
		if (ret == 0)
			ret = fn(&look, arg);
	}
	look_fini(&look);
	/* What an attempt told that was overtaken is nobody's failure. */
	if (ret == 0 || ret == STRATA_ENODIM || ret == STRATA_ENOLAYER)
		*strata__error() = kept;
	if (ret != STRATA_OVERTAKEN)
		return ret;
	return strata__fail(STRATA_EBUSY,
			    "%d times the writers of store '%s' replaced what "
			    "was being copied before it was copied; a reader "
			    "slot keeps them from it (strata_reader_open)",
			    STRATA_LOOKS_MAX, space->geometry->name);
}

int
strata__look_lost(const struct strata__look *look, uint64_t ref)
{
	/* Whatever was seen of a later version, here is that version. */
	strata__fence_acquire();
	if (atomic_load_explicit(&look->space->catalog->hot.version,
				 memory_order_acquire) != look->version)
		return STRATA_OVERTAKEN;
	strata__fail(STRATA_ECORRUPT,
		     "store '%s': version %" PRIu64 " is current, and refers "
		     "to offset %" PRIu64 ", where it has nothing; run strata "
		     "verify",
		     look->space->geometry->name, look->version, ref);
	strata__error()->offset = ref;
	return STRATA_ECORRUPT;
}

/* What a destroyed store held is given back without a word in the records. */
static bool
is_dead(const struct strata__look *look)
{
	return (atomic_load_explicit(&look->space->catalog->hot.version,
				     memory_order_relaxed) &
		STRATA_VERSION_DEAD) != 0;
}

/* A file could not be opened, or read: is it gone, or is it our want? */
static int
file_lost(const struct strata__look *look, uint64_t ref, int code)
{
	if (code == -ESTALE || code == -ENODATA || is_dead(look))
		return strata__look_lost(look, ref);
	return code;
}

static int
bytes_read(const struct strata__look *look, int fd, void *buffer, uint64_t size,
	   uint64_t offset, uint64_t ref)
{
	int code = strata__os_pread(fd, buffer, size, offset);

	STRATA_TESTPOINT("observe.copied");
	if (code == 0)
		return 0;
	strata__fail_errno(-code, "cannot read store '%s'",
			   look->space->geometry->name);
	return file_lost(look, ref, code);
}

/**** blocks ****/

/*
 * Letter L: pairs with the fence in strata__record_allocate(). Orders the copy
 * before the look at the record: whoever has copied a byte of a later life finds
 * it here. The state comes first: if it is of a later life, so is the birth.
 */
static bool
is_still(const struct strata__look *look, const struct strata__record *record)
{
	uint32_t state;

	if (STRATA_BROKEN(STRATA_NO_RECHECK))
		return true;
	strata__fence_acquire();
	state = strata__record_state(record);
	return (state == STRATA_ALLOCATED || state == STRATA_RETIRED) &&
	       atomic_load_explicit(&record->birth, memory_order_relaxed) <=
		       look->version &&
	       !is_dead(look);
}

static int
pool_file(struct strata__look *look, uint32_t class_, int *ret_fd)
{
	int code = 0;

	if (look->pool_fd[class_] < 0)
		code = strata__space_open_pool(look->space, class_,
					       &look->pool_fd[class_]);
	*ret_fd = look->pool_fd[class_];
	return code;
}

int
strata__look_block(struct strata__look *look, uint64_t ref, uint64_t offset,
		   void *buffer, uint64_t size)
{
	const struct strata__space *space = look->space;
	const struct strata__class *class_;
	const struct strata__record *record;
	struct strata__block block;
	uint64_t bytes;
	int code, fd;

	if (!strata__block_place(space, ref, &block))
		return strata__look_lost(look, ref);
	class_ = strata__class_of(space, block.class_);
	record = strata__block_record(space, &block);
	bytes = class_->stride *
		strata__record_run(record, strata__record_state(record),
				   class_->nr_blocks - block.index);
	if (offset > bytes || size > bytes - offset)
		return strata__look_lost(look, ref);
	code = pool_file(look, block.class_, &fd);
	if (code != 0)
		return file_lost(look, ref, code);
	STRATA_TESTPOINT("observe.placed");
	code = bytes_read(look, fd, buffer, size,
			  STRATA_POOL_BLOCKS + block.index * class_->stride +
				  offset,
			  ref);
	if (code == 0 && !is_still(look, record))
		code = strata__look_lost(look, ref);
	return code;
}

/**** regions ****/

static int
region_file(struct strata__look *look, uint32_t index, uint64_t generation)
{
	int code;

	if (look->region.fd >= 0 && look->region.index == index &&
	    look->region.generation == generation)
		return 0;
	region_close(look);
	code = strata__space_open_region(look->space, index, generation,
					 &look->region);
	if (code != 0)
		look->region.fd = -1;
	return code;
}

/* A generation is never used twice, and its file not filled again before the
 * entry says so (spare.c); so what was copied is right, or the entry says that it
 * was being given back. */
int
strata__look_region(struct strata__look *look, uint32_t index,
		    uint64_t generation, uint64_t ref, void *buffer,
		    uint64_t size)
{
	const struct strata__region_file *file = &look->region;
	uint64_t offset;
	int code = region_file(look, index, generation);

	if (code != 0)
		return file_lost(look, ref, code);
	offset = ref - file->place;
	if (ref < file->place || offset > file->size ||
	    size > file->size - offset)
		return strata__look_lost(look, ref);
	code = bytes_read(look, file->fd, buffer, size, offset, ref);
	/* Letters L and S: the fence is in it. */
	if (code == 0 && !STRATA_BROKEN(STRATA_NO_RECHECK) &&
	    (!strata__space_region_still(look->space, file) || is_dead(look)))
		code = strata__look_lost(look, ref);
	return code;
}
