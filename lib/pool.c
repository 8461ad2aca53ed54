/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Pools: fixed-size blocks in size classes, for nodes and proto contents. */
#include "pool.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "testpoint.h"

/*
 * What is free is written down twice. The records say it, in shared memory that
 * survives any writer; the stacks say where to find it without a search. A
 * stack is believed only as far as the record of what it offers agrees: when it
 * does not, the class is rebuilt from its records, as at recovery.
 *
 * Runs are found by a search of the records of the largest class, from the
 * lowest: that packs what is used at the front, where it is warm, and leaves a
 * tail that can be given back. The search reads 32 bytes for a block of 256 KiB
 * and the run's content is copied anyway, so a better structure (a tree of
 * gaps) would be one more thing to repair and nothing to gain. The indices of a
 * run are then taken out of the stack, which so has each free block exactly
 * once, in this class as in the others.
 *
 * Records behind the first one of a run stay FREE all the time: one store of
 * the first record's state frees them all. So whoever scans the records starts
 * at 0 and steps over runs.
 */

/**** places ****/

static const struct strata__class *
class_of(const struct strata__space *space, uint32_t class_)
{
	return &space->geometry->classes[class_];
}

static struct strata__class_counters *
counters_of(const struct strata__space *space, uint32_t class_)
{
	return &space->catalog->counters.classes[class_];
}

static uint32_t
last_class(const struct strata__space *space)
{
	return space->geometry->nr_classes - 1;
}

/* Where a pool segment ends that holds so many blocks. */
static uint64_t
size_of_blocks(const struct strata__class *class_, uint64_t nr_blocks)
{
	return strata__round_up(STRATA_POOL_BLOCKS + nr_blocks * class_->stride,
				STRATA_PAGE);
}

/* Blocks that lie wholly in a pool segment of that size. */
static uint64_t
blocks_of_size(const struct strata__class *class_, uint64_t size)
{
	uint64_t nr;

	if (size <= STRATA_POOL_BLOCKS)
		return 0;
	nr = (size - STRATA_POOL_BLOCKS) / class_->stride;
	return nr < class_->nr_blocks ? nr : class_->nr_blocks;
}

uint64_t
strata__block_ref(const struct strata__space *space,
		  const struct strata__block *block)
{
	const struct strata__class *class_ = class_of(space, block->class_);

	return class_->place + STRATA_POOL_BLOCKS +
	       block->index * class_->stride;
}

struct strata__record *
strata__block_record(const struct strata__space *space,
		     const struct strata__block *block)
{
	return &strata__class_records(space, block->class_)[block->index];
}

uint64_t
strata__block_bytes(const struct strata__space *space,
		    const struct strata__block *block)
{
	return block->run * class_of(space, block->class_)->stride;
}

static uint32_t
state_of(const struct strata__record *record)
{
	/* Letter F: pairs with the release in record_state(). */
	return atomic_load_explicit(&record->state, memory_order_acquire);
}

/* Blocks from a record to the next one that speaks for itself; 0 when the
 * record says nonsense. */
static uint32_t
run_of(const struct strata__record *record, uint64_t room)
{
	uint32_t run;

	if (state_of(record) == STRATA_FREE)
		return 1;
	run = atomic_load_explicit(&record->run, memory_order_relaxed);
	return run <= room ? run : 0;
}

static bool
class_block_at(const struct strata__space *space, uint32_t class_, uint64_t ref,
	       struct strata__block *ret)
{
	uint64_t stride = class_of(space, class_)->stride;
	uint64_t grown = strata__count(&counters_of(space, class_)->grown);
	uint64_t offset, index;
	uint32_t run;

	offset = ref - class_of(space, class_)->place - STRATA_POOL_BLOCKS;
	index = offset / stride;
	if (offset % stride != 0 || index >= grown ||
	    index >= class_of(space, class_)->nr_blocks)
		return false;
	run = run_of(&strata__class_records(space, class_)[index],
		     grown - index);
	if (run == 0)
		return false;
	ret->class_ = class_;
	ret->index = (uint32_t)index;
	ret->run = run;
	return true;
}

bool
strata__block_at(const struct strata__space *space, uint64_t ref,
		 struct strata__block *ret)
{
	const struct strata__class *class_;
	uint32_t c;

	ref &= ~STRATA_REF_TAG;
	for (c = 0; c <= last_class(space); c++) {
		class_ = class_of(space, c);
		if (ref >= class_->place + STRATA_POOL_BLOCKS &&
		    ref - class_->place < class_->map_size)
			return class_block_at(space, c, ref, ret);
	}
	return false;
}

uint64_t
strata__pool_max_blocks(const struct strata__space *space, uint32_t class_)
{
	const struct strata__class *class = class_of(space, class_);
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
	const struct strata__class *class_ = class_of(space, last_class(space));

	return class_->nr_blocks * class_->stride;
}

/**** records ****/

/*
 * Letter F. A killed writer exposes its stores in the order of the program,
 * which only the compiler can break: so each is a release, and the state, which
 * decides, comes last. Pairs with state_of() in recovery and in observers, who
 * copy without a pin and look at the record before and after. Without it they
 * could see ALLOCATED with the birth or the run of the life before.
 */
static void
record_word(_Atomic uint64_t *word, uint64_t to)
{
	atomic_store_explicit(word, to, memory_order_release);
}

static void
record_state(struct strata__record *record, enum strata__state state)
{
	atomic_store_explicit(&record->state, state, memory_order_release);
}

static void
record_allocate(struct strata__record *record, uint32_t run, uint64_t birth)
{
	record_word(&record->birth, birth);
	atomic_store_explicit(&record->run, run, memory_order_release);
	record_word(&record->generation,
		    strata__count(&record->generation) + 1);
	STRATA_TESTPOINT("pool.take.born");
	record_state(record, STRATA_ALLOCATED);
	STRATA_TESTPOINT("pool.take.allocated");
}

/**** hints: free stacks ****/

static void
reverse(uint32_t *items, uint64_t nr)
{
	uint64_t i;
	uint32_t item;

	for (i = 0; i < nr / 2; i++) {
		item = items[i];
		items[i] = items[nr - 1 - i];
		items[nr - 1 - i] = item;
	}
}

/* Stack and counters of one class, from its records. */
static void
class_recount(struct strata__space *space, uint32_t class_)
{
	const struct strata__record *records =
		strata__class_records(space, class_);
	struct strata__class_counters *counters = counters_of(space, class_);
	uint64_t grown = strata__count(&counters->grown);
	uint32_t *stack = strata__free_stack(space, class_);
	uint64_t nr[STRATA_DYING + 1] = {0};
	uint64_t i;
	uint32_t run, state;

	for (i = 0; i < grown; i += run) {
		state = state_of(&records[i]);
		run = run_of(&records[i], grown - i);
		if (run == 0)
			run = 1; /* verify tells; here it is a used block */
		if (state == STRATA_FREE)
			stack[nr[STRATA_FREE]] = (uint32_t)i;
		if (state != STRATA_FREE && state != STRATA_RETIRED)
			state = STRATA_ALLOCATED;
		nr[state] += run;
	}
	/* The lowest on top. */
	reverse(stack, nr[STRATA_FREE]);
	strata__count_set(&counters->nr_free, nr[STRATA_FREE]);
	strata__count_set(&counters->live, nr[STRATA_ALLOCATED]);
	strata__count_set(&counters->retired, nr[STRATA_RETIRED]);
	strata__count_max(&counters->peak,
			  nr[STRATA_ALLOCATED] + nr[STRATA_RETIRED]);
}

/* Only what is no pool at all has no size: then nothing can be grown. */
static uint64_t
pool_file_size(const struct strata__space *space, uint32_t class_)
{
	struct stat st;

	return fstat(space->pool_fd[class_], &st) == 0 ? (uint64_t)st.st_size
						       : 0;
}

static void
class_rebuild(struct strata__space *space, uint32_t class_)
{
	uint64_t size = pool_file_size(space, class_);

	strata__count_set(&counters_of(space, class_)->grown,
			  blocks_of_size(class_of(space, class_), size));
	class_recount(space, class_);
}

void
strata__pool_rebuild(struct strata__space *space)
{
	uint32_t c;

	for (c = 0; c <= last_class(space); c++)
		class_rebuild(space, c);
}

/* Is the stack what it should be, as far as its height tells? */
static bool
stack_is_sane(const struct strata__space *space, uint32_t class_)
{
	struct strata__class_counters *counters = counters_of(space, class_);

	return strata__count(&counters->nr_free) <=
		       strata__count(&counters->grown) &&
	       strata__count(&counters->grown) <=
		       class_of(space, class_)->nr_blocks;
}

/* The stack is not empty. False when its top is no free block. */
static bool
stack_pop(struct strata__space *space, uint32_t class_, uint32_t *ret)
{
	struct strata__class_counters *counters = counters_of(space, class_);
	uint64_t top = strata__count(&counters->nr_free) - 1;
	uint32_t index = strata__free_stack(space, class_)[top];

	if (index >= strata__count(&counters->grown) ||
	    state_of(&strata__class_records(space, class_)[index]) !=
		    STRATA_FREE)
		return false;
	strata__count_set(&counters->nr_free, top);
	*ret = index;
	return true;
}

/* The lowest on top. Paired with stack_pop() and stack_remove(). */
static void
stack_push(struct strata__space *space, uint32_t class_, uint64_t index,
	   uint64_t nr)
{
	struct strata__class_counters *counters = counters_of(space, class_);
	uint64_t top = strata__count(&counters->nr_free);
	uint32_t *stack = strata__free_stack(space, class_);

	if (top + nr > class_of(space, class_)->nr_blocks) {
		/* It was nonsense; the records have these blocks already. */
		class_rebuild(space, class_);
		return;
	}
	while (nr-- > 0)
		stack[top++] = (uint32_t)(index + nr);
	strata__count_set(&counters->nr_free, top);
}

/* Takes the blocks from index on out of the stack; were they all there? */
static bool
stack_remove(struct strata__space *space, uint32_t class_, uint64_t index,
	     uint64_t nr)
{
	struct strata__class_counters *counters = counters_of(space, class_);
	uint64_t nr_free = strata__count(&counters->nr_free);
	uint32_t *stack = strata__free_stack(space, class_);
	uint64_t i, kept = 0;

	for (i = 0; i < nr_free; i++)
		if (stack[i] < index || stack[i] - index >= nr)
			stack[kept++] = stack[i];
	strata__count_set(&counters->nr_free, kept);
	return nr_free - kept == nr;
}

/**** growing ****/

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
	const struct strata__class *class = class_of(space, class_);
	uint64_t bit = UINT64_C(1) << step % 64;
	uint64_t from = step * STRATA_POOL_STEP, to;

	if ((space->populated[class_][step / 64] & bit) != 0)
		return;
	space->populated[class_][step / 64] |= bit;
	to = size_of_blocks(class,
			    strata__count(&counters_of(space, class_)->grown));
	if (to > from + STRATA_POOL_STEP)
		to = from + STRATA_POOL_STEP;
#ifdef MADV_POPULATE_WRITE
	/* Only a matter of speed: an old kernel may refuse. */
	(void)madvise(space->window + class->place + from, to - from,
		      MADV_POPULATE_WRITE);
#endif
}

/* The first write of this process to a page costs a fault, even where the page
 * exists: better all of a step at once. */
static void
populate(struct strata__space *space, const struct strata__block *block)
{
	const struct strata__class *class_ = class_of(space, block->class_);
	uint64_t from = STRATA_POOL_BLOCKS + block->index * class_->stride;
	uint64_t to = from + strata__block_bytes(space, block);
	uint64_t step;

	if (space->populated[block->class_] == NULL || space->window == NULL)
		return;
	for (step = from / STRATA_POOL_STEP; step * STRATA_POOL_STEP < to;
	     step++)
		populate_step(space, block->class_, step);
}

/* Charges and reserves; the segment is size bytes long until then. */
static int
segment_extend(struct strata__space *space, uint32_t class_, uint64_t size,
	       uint64_t bytes)
{
	int code;

	code = strata__space_charge(space, bytes);
	if (code != 0)
		return code;
	STRATA_TESTPOINT("pool.grow.charged");
	code = strata__segment_reserve(&space->folder, space->pool_fd[class_],
				       size, bytes);
	if (code != 0) {
		strata__space_uncharge(space, bytes);
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

/* New blocks on the stack: at least need. STRATA_ECLASS is not told. */
static int
class_grow(struct strata__space *space, uint32_t class_, uint64_t need)
{
	const struct strata__class *class = class_of(space, class_);
	struct strata__class_counters *counters = counters_of(space, class_);
	uint64_t grown = strata__count(&counters->grown);
	uint64_t max = strata__pool_max_blocks(space, class_);
	uint64_t size, least, wish;
	int code;

	if (need > max || grown > max - need)
		return STRATA_ECLASS;
	size = pool_file_size(space, class_);
	if (size == 0)
		return strata__fail(STRATA_ECORRUPT,
				    "the pool of class %" PRIu32 " is empty",
				    class_);
	least = size_of_blocks(class, grown + need);
	wish = strata__round_up(least, STRATA_POOL_STEP);
	if (wish > size_of_blocks(class, max))
		wish = size_of_blocks(class, max);
	/* After a crash the file may be longer than the counters say. */
	if (least > size) {
		code = segment_grow(space, class_, size, least, wish);
		if (code != 0)
			return code;
		size = pool_file_size(space, class_);
	}
	strata__count_set(&counters->grown, blocks_of_size(class, size));
	stack_push(space, class_, grown, blocks_of_size(class, size) - grown);
	STRATA_TESTPOINT("pool.grow.counted");
	return 0;
}

/**** taking ****/

/* Finds so many free blocks in a row, from the lowest on. False: there are
 * only ret_tail ones at the end. */
static bool
run_find(const struct strata__space *space, uint32_t class_, uint64_t nr,
	 uint64_t *ret_first, uint64_t *ret_tail)
{
	const struct strata__record *records =
		strata__class_records(space, class_);
	uint64_t grown = strata__count(&counters_of(space, class_)->grown);
	uint64_t i, found = 0;
	uint32_t run;

	for (i = 0; i < grown && found < nr; i += run) {
		run = run_of(&records[i], grown - i);
		if (run == 0)
			run = 1;
		found = state_of(&records[i]) == STRATA_FREE ? found + 1 : 0;
	}
	*ret_tail = found;
	*ret_first = i - found;
	return found >= nr;
}

/* False: so many blocks must be added before it can be had. */
static bool
run_pop(struct strata__space *space, uint32_t class_, uint64_t nr,
	uint32_t *ret, uint64_t *ret_missing)
{
	uint64_t first, tail;

	if (!run_find(space, class_, nr, &first, &tail)) {
		*ret_missing = nr - tail;
		return false;
	}
	if (!stack_remove(space, class_, first, nr)) {
		class_rebuild(space, class_);
		(void)stack_remove(space, class_, first, nr);
	}
	*ret = (uint32_t)first;
	return true;
}

/* What a request asks of one class. */
struct want {
	uint64_t run;
	uint64_t keep; /* free blocks that must be left */
	bool may_grow;
};

/* STRATA_ECLASS is not told. */
static int
class_pop(struct strata__space *space, uint32_t class_, const struct want *want,
	  uint32_t *ret)
{
	struct strata__class_counters *counters = counters_of(space, class_);
	uint64_t nr_free, missing;
	int code;

	for (;;) {
		if (!stack_is_sane(space, class_))
			class_rebuild(space, class_);
		nr_free = strata__count(&counters->nr_free);
		if (nr_free < want->keep + want->run) {
			missing = want->keep + want->run - nr_free;
		} else if (want->run > 1) {
			if (run_pop(space, class_, want->run, ret, &missing))
				return 0;
		} else {
			if (stack_pop(space, class_, ret))
				return 0;
			class_rebuild(space, class_);
			continue;
		}
		if (!want->may_grow)
			return STRATA_ECLASS;
		code = class_grow(space, class_, missing);
		if (code != 0)
			return code;
	}
}

/* Bytes that are reserved and hold something. */
static uint64_t
bytes_held(const struct strata__space *space)
{
	uint64_t held = strata__count(&space->catalog->counters.reserved);
	uint64_t bytes;
	uint32_t c;

	for (c = 0; c <= last_class(space); c++) {
		bytes = strata__count(&counters_of(space, c)->nr_free) *
			class_of(space, c)->stride;
		held -= bytes < held ? bytes : held;
	}
	return held;
}

/* New protos end before the store is full, so that there is room to remove,
 * to crystallise and to reload. */
static bool
is_critical(const struct strata__space *space, uint64_t bytes)
{
	uint64_t limit = strata__count(&space->catalog->counters.limit);
	uint64_t held = bytes_held(space);

	limit = limit / 100 * 95; /* as strata__space_pressure() */
	return held > limit || bytes > limit - held;
}

/* The smallest class that holds size bytes in one block; else the last. */
static uint32_t
class_for(const struct strata__space *space, uint64_t size)
{
	uint32_t c;

	for (c = 0; c < last_class(space); c++)
		if (size <= class_of(space, c)->stride)
			break;
	return c;
}

/* Blocks of a class that size bytes need; more than one only of the last. */
static uint64_t
run_for(const struct strata__space *space, uint32_t class_, uint64_t size)
{
	uint64_t stride = class_of(space, class_)->stride;

	return size > stride ? (size + stride - 1) / stride : 1;
}

static int
tell_critical(const struct strata__space *space, uint64_t bytes)
{
	(void)strata__fail(STRATA_ELIMIT,
			   "no room for a new proto: with its %" PRIu64
			   " bytes the store would be more than 95 %% full; "
			   "remove or unload something, run strata gc, or "
			   "raise the limit with strata limit",
			   bytes);
	strata__space_error(space, bytes);
	return STRATA_ELIMIT;
}

static int
tell_class_full(const struct strata__space *space, uint32_t class_,
		uint64_t size)
{
	struct strata__class_counters *counters = counters_of(space, class_);

	(void)strata__fail(
		STRATA_ECLASS,
		"no block for %" PRIu64 " bytes: the %" PRIu64
		" KiB blocks are at their maximum of %" PRIu64 " (%" PRIu64
		" live, %" PRIu64 " retired)%s; remove something, crystallise "
		"a dimension, or run strata gc",
		size, class_of(space, class_)->block_size / 1024,
		strata__pool_max_blocks(space, class_),
		strata__count(&counters->live),
		strata__count(&counters->retired),
		class_ < last_class(space) ? ", and so are all larger ones"
					   : "");
	strata__space_error(space, size);
	return STRATA_ECLASS;
}

static int
tell_too_big(const struct strata__space *space, uint64_t size)
{
	(void)strata__fail(STRATA_ETOOBIG,
			   "%" PRIu64 " bytes are more than the largest pool "
			   "of this store could ever hold (%" PRIu64
			   "); load it as a dimension file",
			   size, strata__pool_max_content(space));
	strata__space_error(space, size);
	return STRATA_ETOOBIG;
}

static int
count_failure(struct strata__space *space, uint32_t class_, int code)
{
	struct strata__counters *counters = &space->catalog->counters;

	strata__count_add(&counters->classes[class_].failed, 1);
	if (code == STRATA_ELIMIT)
		strata__count_add(&counters->failures_limit, 1);
	else if (code == STRATA_ESHM)
		strata__count_add(&counters->failures_shm, 1);
	else
		strata__count_add(&counters->failures_class, 1);
	return code;
}

/* Removals have a reserve; somebody who stands still can use it up. */
static int
tell_reserve_gone(const struct strata__space *space, int code)
{
	strata__error_append(
		"; the node blocks kept for removals are used up, and %" PRIu64
		" retired ones wait for their readers (see strata readers)",
		strata__count(&counters_of(space, 0)->retired));
	return code;
}

/*
 * The class of the request, then those above it. After a refusal of memory,
 * which has been told, a larger class may still have a block that is free.
 */
static int
serve(struct strata__space *space, uint32_t first, uint64_t size,
      unsigned flags, struct strata__block *ret)
{
	bool is_node = (flags & STRATA_TAKE_NODE) != 0;
	bool is_removal = (flags & STRATA_TAKE_RESERVE) != 0;
	uint32_t last = is_node ? first : last_class(space);
	struct want want;
	uint32_t class_;
	int code, told = 0;

	for (class_ = first; class_ <= last; class_++) {
		want.run = run_for(space, class_, size);
		want.keep =
			class_ == 0 && !is_removal ? STRATA_NODE_RESERVE : 0;
		want.may_grow = told == 0;
		if (!is_node && !is_removal &&
		    is_critical(space,
				want.run * class_of(space, class_)->stride))
			break;
		code = class_pop(space, class_, &want, &ret->index);
		if (code == 0) {
			ret->class_ = class_;
			ret->run = (uint32_t)want.run;
			return 0;
		}
		if (code != STRATA_ECLASS)
			told = code;
	}
	if (told == 0)
		told = class_ <= last ? tell_critical(space, size)
				      : tell_class_full(space, first, size);
	return is_removal ? tell_reserve_gone(space, told) : told;
}

int
strata__pool_take(struct strata__space *space, uint64_t size, uint64_t birth,
		  unsigned flags, struct strata__block *ret)
{
	struct strata__counters *counters = &space->catalog->counters;
	uint32_t first = class_for(space, size);
	struct strata__block block;
	struct strata__class_counters *class_;
	int code;

	if (size > strata__pool_max_content(space))
		return count_failure(space, first, tell_too_big(space, size));
	code = serve(space, first, size, flags, &block);
	if (code != 0)
		return count_failure(space, first, code);
	STRATA_TESTPOINT("pool.take.popped");
	record_allocate(strata__block_record(space, &block), block.run, birth);
	class_ = &counters->classes[block.class_];
	strata__count_add(&class_->live, block.run);
	strata__count_max(&class_->peak,
			  strata__count(&class_->live) +
				  strata__count(&class_->retired));
	strata__count_add(&counters->allocations, 1);
	if (block.class_ != first)
		strata__count_add(&counters->classes[first].spilled, 1);
	populate(space, &block);
	*ret = block;
	return 0;
}

/**** giving back ****/

static bool
block_is(const struct strata__space *space, const struct strata__block *block,
	 enum strata__state state)
{
	return state_of(strata__block_record(space, block)) == state;
}

static void
block_free(struct strata__space *space, const struct strata__block *block)
{
	STRATA_POISON(strata__at(space, strata__block_ref(space, block)),
		      strata__block_bytes(space, block));
	STRATA_TESTPOINT("pool.free.poisoned");
	record_state(strata__block_record(space, block), STRATA_FREE);
	STRATA_TESTPOINT("pool.free.freed");
	stack_push(space, block->class_, block->index, block->run);
	strata__count_add(&space->catalog->counters.deallocations, 1);
	STRATA_TESTPOINT("pool.free.listed");
}

void
strata__pool_untake(struct strata__space *space,
		    const struct strata__block *block)
{
	if (!block_is(space, block, STRATA_ALLOCATED))
		return;
	strata__count_sub(&counters_of(space, block->class_)->live, block->run);
	block_free(space, block);
}

void
strata__pool_retire(struct strata__space *space,
		    const struct strata__block *block, uint64_t version)
{
	struct strata__record *record = strata__block_record(space, block);
	struct strata__counters *counters = &space->catalog->counters;
	struct strata__class_counters *class_;
	uint64_t height = strata__count(&counters->nr_retired);

	if (!block_is(space, block, STRATA_ALLOCATED))
		return;
	record_word(&record->retirement, version);
	STRATA_TESTPOINT("pool.retire.stamped");
	record_state(record, STRATA_RETIRED);
	STRATA_TESTPOINT("pool.retire.retired");
	strata__retired_list(space)[height] =
		STRATA_RETIRED_ITEM(block->class_, block->index);
	strata__count_set(&counters->nr_retired, height + 1);
	class_ = &counters->classes[block->class_];
	strata__count_sub(&class_->live, block->run);
	strata__count_add(&class_->retired, block->run);
	STRATA_TESTPOINT("pool.retire.listed");
}

void
strata__pool_reclaim(struct strata__space *space,
		     const struct strata__block *block)
{
	if (!block_is(space, block, STRATA_RETIRED))
		return;
	strata__count_sub(&counters_of(space, block->class_)->retired,
			  block->run);
	block_free(space, block);
}

/**** shrinking ****/

/* One more than the last block that is not free. */
static uint64_t
class_used_end(const struct strata__space *space, uint32_t class_)
{
	const struct strata__record *records =
		strata__class_records(space, class_);
	uint64_t grown = strata__count(&counters_of(space, class_)->grown);
	uint64_t i, end = 0;
	uint32_t run;

	for (i = 0; i < grown; i += run) {
		run = run_of(&records[i], grown - i);
		if (run == 0)
			return grown; /* touch nothing of what is broken */
		if (state_of(&records[i]) != STRATA_FREE)
			end = i + run;
	}
	return end;
}

/* Size that a pool segment can be cut to. */
static uint64_t
class_shrunk_size(const struct strata__space *space, uint32_t class_)
{
	struct strata__class_counters *counters = counters_of(space, class_);
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
	return strata__round_up(size_of_blocks(class_of(space, class_), keep),
				STRATA_POOL_STEP);
}

static uint64_t
class_shrink(struct strata__space *space, uint32_t class_)
{
	struct strata__class_counters *counters = counters_of(space, class_);
	uint64_t grown = strata__count(&counters->grown);
	uint64_t size, to, kept;

	if (!stack_is_sane(space, class_))
		class_rebuild(space, class_);
	to = class_shrunk_size(space, class_);
	size = pool_file_size(space, class_);
	if (to >= size)
		return 0;
	kept = blocks_of_size(class_of(space, class_), to);
	if (!stack_remove(space, class_, kept, grown - kept)) {
		class_rebuild(space, class_);
		return 0; /* next time, by what is true */
	}
	strata__count_set(&counters->grown, kept);
	STRATA_TESTPOINT("pool.shrink.counted");
	if (ftruncate(space->pool_fd[class_], (off_t)to) < 0) {
		class_rebuild(space, class_);
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

	for (c = 0; c <= last_class(space); c++)
		bytes += class_shrink(space, c);
	return bytes;
}

uint64_t
strata__pool_reserved(const struct strata__space *space)
{
	uint64_t bytes = 0;
	uint32_t c;

	for (c = 0; c <= last_class(space); c++)
		bytes += pool_file_size(space, c);
	return bytes;
}

/**** creation ****/

static int
write_head(struct strata__space *space, uint32_t class_, int fd)
{
	struct strata__head head;
	int code;

	memset(&head, 0, sizeof(head));
	strata__head_stamp(&head, STRATA_KIND_POOL, class_, &space->id,
			   /* generation= */ 1, STRATA_POOL_BLOCKS);
	code = strata__os_pwrite(fd, &head, sizeof(head), /* offset= */ 0);
	if (code != 0)
		return strata__fail_errno(
			-code, "cannot write the pool of class %u", class_);
	return 0;
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
	strata__space_uncharge(space, pool_file_size(space, class_));
	close(space->pool_fd[class_]);
	space->pool_fd[class_] = -1;
}

int
strata__pool_create(struct strata__space *space, uint32_t mode, uint32_t group)
{
	uint32_t c;
	int code = 0;

	for (c = 0; c <= last_class(space) && code == 0; c++)
		code = class_create(space, c, mode, group);
	if (code != 0)
		c--; /* this one was not made */
	else
		code = class_grow(space, 0, STRATA_NODE_RESERVE);
	if (code == STRATA_ECLASS)
		code = tell_class_full(space, 0, STRATA_NODE_SIZE);
	while (code != 0 && c-- > 0)
		class_destroy(space, c);
	return code;
}
