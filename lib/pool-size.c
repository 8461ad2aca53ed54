/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The size of the pools: making, growing and shrinking their segments. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "pool-private.h"
#include "testpoint.h"

/**** how large they may be ****/

uint64_t
strata__pool_max_blocks(const struct strata__space *space, uint32_t class_)
{
	const struct strata__class *class = strata__class_of(space, class_);
	uint64_t limit = strata__count(&space->catalog->counters.limit);
	unsigned __int128 bytes = class->max_size;
	unsigned __int128 nr;

	/* The product of two sizes may need more than 64 bits. */
	nr = bytes * limit / space->geometry->first_limit / class->stride;
	return nr < class->nr_blocks ? (uint64_t)nr : class->nr_blocks;
}

uint64_t
strata__pool_max_content(const struct strata__space *space)
{
	const struct strata__class *class_ =
		strata__class_of(space, strata__last_class(space));

	return class_->nr_blocks * class_->stride;
}

/**** pages that this process has faulted in ****/

/* Pages of these steps are new, or gone. */
static void
forget_populated(struct strata__space *space, uint32_t class_, uint64_t from,
		 uint64_t to)
{
	uint64_t step;

	if (space->populated[class_] == NULL)
		return;
	for (step = from / STRATA_POOL_STEP; step * STRATA_POOL_STEP < to;
	     step++)
		space->populated[class_][step / 64] &=
			~(UINT64_C(1) << step % 64);
}

static void
populate_step(struct strata__space *space, uint32_t class_, uint64_t step)
{
	const struct strata__class *class = strata__class_of(space, class_);
	uint64_t bit = UINT64_C(1) << step % 64;
	uint64_t from = step * STRATA_POOL_STEP, to;

	if ((space->populated[class_][step / 64] & bit) != 0)
		return;
	space->populated[class_][step / 64] |= bit;
	to = strata__class_size(
		class,
		strata__count(&strata__counters_of(space, class_)->grown));
	if (to > from + STRATA_POOL_STEP)
		to = from + STRATA_POOL_STEP;
	strata__os_populate(space->window + class->place + from, to - from);
}

/* The first write of this process to a page costs a fault, even where the page
 * exists: better all of a step at once. */
void
strata__pool_populate(struct strata__space *space,
		      const struct strata__block *block)
{
	const struct strata__class *class_ =
		strata__class_of(space, block->class_);
	uint64_t from = STRATA_POOL_BLOCKS + block->index * class_->stride;
	uint64_t to = from + strata__block_bytes(space, block);
	uint64_t step;

	if (space->populated[block->class_] == NULL || space->window == NULL)
		return;
	for (step = from / STRATA_POOL_STEP; step * STRATA_POOL_STEP < to;
	     step++)
		populate_step(space, block->class_, step);
}

/**** growing ****/

/* Charges and reserves; the segment is size bytes long until then. */
static int
segment_extend(struct strata__space *space, uint32_t class_, uint64_t size,
	       uint64_t bytes)
{
	uint64_t left;
	int code;

	code = strata__space_charge(space, bytes);
	if (code != 0)
		return code;
	STRATA_TESTPOINT("pool.grow.charged");
	code = strata__segment_reserve(&space->folder, space->pool_fd[class_],
				       size, bytes);
	if (code != 0) {
		/* What could not be cut off again is memory all the same. */
		left = strata__pool_file_size(space, class_);
		left = left > size ? left - size : 0;
		strata__space_uncharge(space, bytes - left);
		strata__space_numbers(space);
		return code;
	}
	STRATA_TESTPOINT("pool.grow.reserved");
	return 0;
}

/* What is left of the limit, in whole pages. */
static uint64_t
limit_room(const struct strata__space *space)
{
	uint64_t limit = strata__count(&space->catalog->counters.limit);
	uint64_t reserved = strata__count(&space->catalog->counters.reserved);

	return reserved < limit ? (limit - reserved) & ~(STRATA_PAGE - 1) : 0;
}

/* A segment of size bytes grows to at least least, better to wish. */
static int
segment_grow(struct strata__space *space, uint32_t class_, uint64_t size,
	     uint64_t least, uint64_t wish)
{
	uint64_t room = limit_room(space);
	int code;

	/* A step that the limit does not allow is not an error; half of one
	 * may do. Nor is one that /dev/shm has no room for. */
	if (wish - size > room)
		wish = size + room;
	if (wish < least)
		wish = least;
	code = segment_extend(space, class_, size, wish - size);
	if (code == STRATA_ESHM && wish > least) {
		wish = least;
		code = segment_extend(space, class_, size, wish - size);
	}
	if (code == 0)
		forget_populated(space, class_, size, wish);
	return code;
}

int
strata__class_grow(struct strata__space *space, uint32_t class_, uint64_t need)
{
	const struct strata__class *class = strata__class_of(space, class_);
	struct strata__class_counters *counters =
		strata__counters_of(space, class_);
	uint64_t grown = strata__count(&counters->grown);
	uint64_t max = strata__pool_max_blocks(space, class_);
	uint64_t size, least, wish;
	int code;

	if (need > max || grown > max - need)
		return STRATA_ECLASS;
	code = strata__space_mend(space);
	if (code != 0)
		return code;
	size = strata__pool_file_size(space, class_);
	if (size == 0)
		return strata__fail(STRATA_ECORRUPT,
				    "the pool of class %" PRIu32 " is empty",
				    class_);
	least = strata__class_size(class, grown + need);
	wish = strata__round_up(least, STRATA_POOL_STEP);
	if (wish > strata__class_size(class, max))
		wish = strata__class_size(class, max);
	/* After a crash the file may be longer than the counters say. */
	if (least > size) {
		code = segment_grow(space, class_, size, least, wish);
		if (code != 0)
			return code;
		size = strata__pool_file_size(space, class_);
	}
	strata__count_set(&counters->grown, strata__class_blocks(class, size));
	strata__stack_push(space, class_, grown,
			   strata__class_blocks(class, size) - grown);
	STRATA_TESTPOINT("pool.grow.counted");
	STRATA_LOG(STRATA_LOG_DEBUG,
		   "store '%s': pool of class %" PRIu32 " has grown to %" PRIu64
		   " bytes",
		   space->geometry->name, class_, size);
	return 0;
}

int
strata__class_tell_full(const struct strata__space *space, uint32_t class_,
			uint64_t size, bool is_node)
{
	struct strata__class_counters *counters =
		strata__counters_of(space, class_);
	uint64_t live = strata__count(&counters->live);
	uint64_t refused = space->taken[class_];
	bool has_larger = !is_node && class_ < strata__last_class(space);

	(void)strata__fail(
		STRATA_ECLASS,
		"no block for %" PRIu64 " bytes: the %" PRIu64
		" KiB blocks are at their maximum of %" PRIu64 " (%" PRIu64
		" live, %" PRIu64 " retired, %" PRIu64
		" taken by what is refused now)%s; remove something, "
		"crystallise a dimension, or run strata gc",
		size, strata__class_of(space, class_)->block_size / 1024,
		strata__pool_max_blocks(space, class_),
		live > refused ? live - refused : 0,
		strata__count(&counters->retired), refused,
		has_larger ? ", and so are all larger ones" : "");
	strata__space_error(space, size);
	return STRATA_ECLASS;
}

/**** shrinking ****/

/* One more than the last block that is not free. */
static uint64_t
class_used_end(const struct strata__space *space, uint32_t class_)
{
	struct strata__blocks blocks;
	uint64_t end = 0;

	strata__blocks_init(&blocks, space, class_);
	while (strata__blocks_next(&blocks)) {
		if (blocks.is_broken)
			return blocks.grown; /* touch nothing of it */
		if (blocks.state != STRATA_FREE)
			end = blocks.next;
	}
	return end;
}

/* Size that a pool segment can be cut to. */
static uint64_t
class_shrunk_size(const struct strata__space *space, uint32_t class_)
{
	struct strata__class_counters *counters =
		strata__counters_of(space, class_);
	uint64_t grown = strata__count(&counters->grown);
	uint64_t spare = strata__count(&counters->nr_free);
	uint64_t keep = class_used_end(space, class_);

	if (class_ == 0) {
		spare -= spare < STRATA_NODE_RESERVE ? spare
						     : STRATA_NODE_RESERVE;
		if (keep < grown - spare)
			keep = grown - spare;
	}
	if (keep == 0)
		return STRATA_POOL_BLOCKS;
	return strata__round_up(
		strata__class_size(strata__class_of(space, class_), keep),
		STRATA_POOL_STEP);
}

/* Is there more free than a step that one in use at the end keeps from being
 * given back? */
static bool
class_is_scattered(const struct strata__space *space, uint32_t class_)
{
	uint64_t spare =
		strata__count(&strata__counters_of(space, class_)->nr_free);

	if (class_ == 0)
		spare -= spare < STRATA_NODE_RESERVE ? spare
						     : STRATA_NODE_RESERVE;
	return spare * strata__class_of(space, class_)->stride >
	       STRATA_POOL_STEP;
}

static uint64_t
class_shrink(struct strata__space *space, uint32_t class_)
{
	struct strata__class_counters *counters =
		strata__counters_of(space, class_);
	uint64_t grown = strata__count(&counters->grown);
	uint64_t size, to, kept;

	if (!strata__stack_is_sane(space, class_))
		strata__class_rebuild(space, class_);
	to = class_shrunk_size(space, class_);
	size = strata__pool_file_size(space, class_);
	/* The lowest on top: what is taken from now on leaves the end. */
	if (to >= size && class_is_scattered(space, class_))
		strata__class_rebuild(space, class_);
	if (to >= size)
		return 0;
	kept = strata__class_blocks(strata__class_of(space, class_), to);
	if (!strata__stack_remove(space, class_, kept, grown - kept)) {
		strata__class_rebuild(space, class_);
		return 0; /* next time, by what is true */
	}
	strata__count_set(&counters->grown, kept);
	STRATA_TESTPOINT("pool.shrink.counted");
	if (strata__os_truncate(space->pool_fd[class_], to) != 0) {
		strata__class_rebuild(space, class_);
		return 0;
	}
	STRATA_TESTPOINT("pool.shrink.truncated");
	forget_populated(space, class_, to, size);
	strata__space_uncharge(space, size - to);
	return size - to;
}

uint64_t
strata__pool_shrink(struct strata__space *space)
{
	uint64_t bytes = 0;
	uint32_t c;

	if (strata__space_mend(space) != 0)
		return 0;
	for (c = 0; c <= strata__last_class(space); c++)
		bytes += class_shrink(space, c);
	return bytes;
}

uint64_t
strata__pool_reserved(const struct strata__space *space)
{
	uint64_t bytes = 0;
	uint32_t c;

	for (c = 0; c <= strata__last_class(space); c++)
		bytes += strata__pool_file_size(space, c);
	return bytes;
}

/**** creation ****/

static int
write_head(struct strata__space *space, uint32_t class_, int fd)
{
	struct strata__head head;

	memset(&head, 0, sizeof(head));
	strata__head_stamp(&head, STRATA_KIND_POOL, class_, &space->id,
			   /* generation= */ 1, STRATA_POOL_BLOCKS);
	return strata__segment_write(&space->folder, fd, &head, sizeof(head),
				     /* offset= */ 0);
}

/* A pool segment with nothing but its head, published. */
static int
class_create(struct strata__space *space, uint32_t class_, uint32_t mode,
	     uint32_t group)
{
	char name[STRATA_SEGMENT_NAME];
	int code, fd = -1;

	code = strata__space_charge(space, STRATA_POOL_BLOCKS);
	if (code != 0)
		return code;
	code = strata__segment_build(&space->folder, STRATA_POOL_BLOCKS, mode,
				     group, &fd);
	if (code != 0)
		goto uncharge;
	strata__segment_name_pool(name, &space->id, class_);
	code = write_head(space, class_, fd);
	if (code == 0)
		code = strata__segment_publish(&space->folder, fd, name);
	if (code != 0)
		goto discard;
	space->pool_fd[class_] = fd;
	return 0;

discard:
	strata__segment_discard(&space->folder, fd);
uncharge:
	strata__space_uncharge(space, STRATA_POOL_BLOCKS);
	return code;
}

/* Undoes class_create() and what was grown since. */
static void
class_destroy(struct strata__space *space, uint32_t class_)
{
	char name[STRATA_SEGMENT_NAME];

	strata__segment_name_pool(name, &space->id, class_);
	(void)strata__segment_unlink(&space->folder, name);
	strata__space_uncharge(space, strata__pool_file_size(space, class_));
	close(space->pool_fd[class_]);
	space->pool_fd[class_] = -1;
}

int
strata__pool_create(struct strata__space *space, uint32_t mode, uint32_t group)
{
	uint32_t c;
	int code = 0;

	for (c = 0; c <= strata__last_class(space) && code == 0; c++)
		code = class_create(space, c, mode, group);
	if (code != 0)
		c--; /* this one was not made */
	else
		code = strata__class_grow(space, 0, STRATA_NODE_RESERVE);
	if (code == STRATA_ECLASS)
		code = strata__class_tell_full(space, 0, STRATA_NODE_SIZE,
					       /* is_node= */ true);
	while (code != 0 && c-- > 0)
		class_destroy(space, c);
	return code;
}

/**** the log ****/

void
strata__pool_warn(struct strata__space *space)
{
	static const unsigned shares[] = {0, 75, 85, 95};
	enum strata_pressure now, before = space->warned;

	if (!strata__log_is_on(STRATA_LOG_WARNING))
		return;
	now = strata__space_pressure(space);
	space->warned = now;
	if (now <= before)
		return;
	strata__log(STRATA_LOG_WARNING,
		    "store '%s': %" PRIu64 " bytes are in use, more than %u %% "
		    "of its limit of %" PRIu64 "%s",
		    space->geometry->name, strata__space_held(space),
		    shares[now],
		    strata__count(&space->catalog->counters.limit),
		    now == STRATA_PRESSURE_CRITICAL
			    ? ": new protos are refused; unload something, "
			      "raise the limit, or see strata readers"
			    : "");
}
