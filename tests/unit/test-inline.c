/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The inlined read path does what the calls do: all tests of these once more,
 * and when it calls. */
#include <pthread.h>

#include "attached.h"

/**** in place of the calls ****/

/* Inlined code is not made for NULL. */
static int
inlined_lock(struct strata_reader *reader)
{
	return reader != NULL ? strata_read_lock_inline(reader)
			      : strata_read_lock(reader);
}

static int
inlined_unlock(struct strata_reader *reader)
{
	return reader != NULL ? strata_read_unlock_inline(reader)
			      : strata_read_unlock(reader);
}

static int
inlined_find(struct strata_reader *reader, uint32_t dimension, uint32_t layer,
	     const struct strata_entry **ret_entry)
{
	return reader != NULL
		       ? strata_find_inline(reader, dimension, layer, ret_entry)
		       : strata_find(reader, dimension, layer, ret_entry);
}

static const void *
inlined_get(struct strata_reader *reader, uint32_t dimension, uint32_t layer,
	    size_t *ret_size)
{
	return reader != NULL
		       ? strata_get_inline(reader, dimension, layer, ret_size)
		       : strata_get(reader, dimension, layer, ret_size);
}

#define strata_read_lock   inlined_lock
#define strata_read_unlock inlined_unlock
#define strata_find        inlined_find
#define strata_get         inlined_get
#include "test-reader.c"
#undef strata_read_lock
#undef strata_read_unlock
#undef strata_find
#undef strata_get

/**** when it calls ****/

/* By the linker's --wrap every call from here comes through these. */
int __real_strata_read_lock(struct strata_reader *of);
int __real_strata_read_unlock(struct strata_reader *of);
int __real_strata_find(struct strata_reader *of, uint32_t dimension,
		       uint32_t layer, const struct strata_entry **ret_entry);
const void *__real_strata_get(struct strata_reader *of, uint32_t dimension,
			      uint32_t layer, size_t *ret_size);
int __wrap_strata_read_lock(struct strata_reader *of);
int __wrap_strata_read_unlock(struct strata_reader *of);
int __wrap_strata_find(struct strata_reader *of, uint32_t dimension,
		       uint32_t layer, const struct strata_entry **ret_entry);
const void *__wrap_strata_get(struct strata_reader *of, uint32_t dimension,
			      uint32_t layer, size_t *ret_size);

static unsigned nr_locks, nr_unlocks, nr_finds, nr_gets;

int
__wrap_strata_read_lock(struct strata_reader *of)
{
	nr_locks++;
	return __real_strata_read_lock(of);
}

int
__wrap_strata_read_unlock(struct strata_reader *of)
{
	nr_unlocks++;
	return __real_strata_read_unlock(of);
}

int
__wrap_strata_find(struct strata_reader *of, uint32_t dimension, uint32_t layer,
		   const struct strata_entry **ret_entry)
{
	nr_finds++;
	return __real_strata_find(of, dimension, layer, ret_entry);
}

const void *
__wrap_strata_get(struct strata_reader *of, uint32_t dimension, uint32_t layer,
		  size_t *ret_size)
{
	nr_gets++;
	return __real_strata_get(of, dimension, layer, ret_size);
}

/* The handle's first use, and the sample that is due at the very first. */
static void
warm_up(struct strata_reader *of)
{
	const struct strata_entry *entry;

	for (int i = 0; i < 100 && (of->way != STRATA__WAY_LOCK || i < 20);
	     i++) {
		must(strata_read_lock_inline(of));
		(void)strata_find_inline(of, 1, 0, &entry);
		must(strata_read_unlock_inline(of));
	}
	cr_assert_eq(of->way, STRATA__WAY_LOCK);
	of->sample_at = UINT64_MAX; /* no look at the clock any more */
}

static void
expect_calls(unsigned locks, unsigned finds, unsigned gets, unsigned unlocks)
{
	cr_expect_eq(nr_locks, locks, "%u locks", nr_locks);
	cr_expect_eq(nr_finds, finds, "%u finds", nr_finds);
	cr_expect_eq(nr_gets, gets, "%u gets", nr_gets);
	cr_expect_eq(nr_unlocks, unlocks, "%u unlocks", nr_unlocks);
	nr_locks = nr_finds = nr_gets = nr_unlocks = 0;
}

/* In a section: finds that layer, by both ways. */
static void
expect_both(uint32_t dimension, uint32_t layer, char byte, size_t size)
{
	const struct strata_entry *entry = NULL;
	size_t got = 0;
	const void *data = strata_get_inline(reader, dimension, layer, &got);

	must(strata_find_inline(reader, dimension, layer, &entry));
	cr_expect_eq(strata_data(reader, entry), data);
	cr_assert(got == size && entry->size == size);
	cr_expect(is_filled(data, byte, size));
}

static void
round_of_both(uint32_t dimension, uint32_t layer, char byte, size_t size)
{
	must(strata_read_lock_inline(reader));
	expect_both(dimension, layer, byte, size);
	must(strata_read_unlock_inline(reader));
}

Test(reader, the_usual_round_calls_nothing)
{
	put(1, 0, 'a', 5000);
	put(511, 47, 'b', 100);
	warm_up(reader);
	nr_locks = nr_finds = nr_gets = nr_unlocks = 0;
	round_of_both(1, 0, 'a', 5000);
	round_of_both(511, 47, 'b', 100);
	put(1, 0, 'c', 300);
	round_of_both(1, 0, 'c', 300);
	expect_calls(0, 0, 0, 0);
}

Test(reader, what_is_not_there_is_asked_of_the_library)
{
	const struct strata_entry *entry = NULL;
	size_t size = 7;

	put(1, 0, 'a', 10);
	warm_up(reader);
	nr_locks = nr_finds = nr_gets = nr_unlocks = 0;
	must(strata_read_lock_inline(reader));
	cr_expect_eq(strata_find_inline(reader, 1, 1, &entry), STRATA_ENOLAYER);
	cr_expect_eq(strata_find_inline(reader, 2, 0, &entry), STRATA_ENODIM);
	cr_expect_eq(strata_find_inline(reader, 0, 0, &entry), STRATA_EINVAL);
	cr_expect_eq(strata_find_inline(reader, UINT32_MAX, 0, &entry),
		     STRATA_EINVAL);
	cr_expect_eq(strata_find_inline(reader, 1, UINT32_MAX, &entry),
		     STRATA_EINVAL);
	cr_expect_null(strata_get_inline(reader, 0, 0, &size));
	cr_expect_null(strata_get_inline(reader, 1, 1, &size));
	cr_expect_eq(size, 7);
	cr_expect_null(entry);
	must(strata_read_unlock_inline(reader));
	expect_calls(0, 5, 2, 0);
}

Test(reader, tall_indices_are_the_librarys)
{
	put(1, 0, 'a', 10);
	put(2, 48, 'b', 10);
	warm_up(reader);
	nr_locks = nr_finds = nr_gets = nr_unlocks = 0;
	round_of_both(2, 48, 'b', 10);
	expect_calls(0, 1, 1, 0);
	put(512, 0, 'c', 10);
	round_of_both(512, 0, 'c', 10);
	round_of_both(1, 0, 'a', 10);
	expect_calls(0, 2, 2, 2);
	must(strata_read_lock_inline(reader));
	must(strata_read_lock_inline(reader));
	expect_both(2, 48, 'b', 10);
	must(strata_read_unlock_inline(reader));
	cr_expect_eq(reader->way, STRATA__WAY_CALL, "still tall");
	must(strata_read_unlock_inline(reader));
}

Test(reader, nested_sections_are_the_librarys)
{
	put(1, 0, 'a', 10);
	warm_up(reader);
	nr_locks = nr_finds = nr_gets = nr_unlocks = 0;
	must(strata_read_lock_inline(reader));
	must(strata_read_lock_inline(reader));
	must(strata_read_lock(reader));
	expect_both(1, 0, 'a', 10);
	must(strata_read_unlock_inline(reader));
	must(strata_read_unlock(reader));
	expect_calls(2, 1, 1, 2);
	expect_both(1, 0, 'a', 10);
	must(strata_read_unlock_inline(reader));
	expect_calls(0, 0, 0, 0);
	cr_expect_eq(strata_read_unlock_inline(reader), STRATA_EINVAL);
	cr_expect_eq(atomic_load(&reader->slot->pin), 0);
}

Test(reader, calls_and_inlined_code_share_a_section)
{
	put(1, 0, 'a', 10);
	warm_up(reader);
	must(strata_read_lock(reader));
	expect_both(1, 0, 'a', 10);
	must(strata_read_unlock_inline(reader));
	must(strata_read_lock_inline(reader));
	cr_expect(reads(reader, 1, 0, 'a', 10));
	cr_expect_eq(strata_reader_version(reader), 2);
	must(strata_read_unlock(reader));
	cr_expect_eq(strata_reader_version(reader), 0);
}

/* Without membarrier the fence of the lock is the library's. */
Test(reader, a_handle_with_full_fences_locks_by_a_call)
{
	put(1, 0, 'a', 10);
	warm_up(reader);
	reader->full_fence = 1;
	strata__reader_ways(reader);
	nr_locks = nr_finds = nr_gets = nr_unlocks = 0;
	round_of_both(1, 0, 'a', 10);
	round_of_both(1, 0, 'a', 10);
	expect_calls(2, 0, 0, 0);
}

Test(reader, a_lost_pin_is_the_librarys)
{
	put(1, 0, 'a', 10);
	warm_up(reader);
	must(strata_read_lock_inline(reader));
	atomic_store(&reader->slot->pin, 5);
	nr_unlocks = 0;
	expect_error(strata_read_unlock_inline(reader), STRATA_EPIN,
		     "throw away what was read");
	cr_expect_eq(nr_unlocks, 1);
	cr_expect_eq(atomic_load(&reader->slot->pin), 0);
	round_of_both(1, 0, 'a', 10);
}

/**** other numbers ****/

/* What a library of another number would say in place of ours. */
static uint32_t
foreign(uint32_t way)
{
	return (way & ~(UINT32_C(0xffff) << 8)) |
	       (uint32_t)(STRATA_INLINE_ABI + 1) << 8;
}

Test(reader, a_library_of_another_number_is_called)
{
	const struct strata_entry *entry;
	size_t size;

	cr_assert_eq(STRATA__WAY_READ >> 8 & 0xffff, STRATA_INLINE_ABI);
	cr_assert_eq(STRATA__WAY_LOCK >> 8 & 0xffff, STRATA_INLINE_ABI);
	put(1, 0, 'a', 10);
	warm_up(reader);
	nr_locks = nr_finds = nr_gets = nr_unlocks = 0;
	reader->way = foreign(STRATA__WAY_LOCK);
	must(strata_read_lock_inline(reader));
	reader->way = foreign(STRATA__WAY_READ);
	must(strata_find_inline(reader, 1, 0, &entry));
	cr_expect_not_null(strata_get_inline(reader, 1, 0, &size));
	must(strata_read_unlock_inline(reader));
	expect_calls(1, 1, 1, 1);
}

/**** threads ****/

static void *
lock_it(void *arg)
{
	return strata_read_lock_inline(arg) == 0 ? arg : NULL;
}

static void
child_has_not_got_it(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
	need(strata_reader_version(reader) == 0, "not of this thread");
}

/* The thread stays noted behind a section; a section of another one is not
 * mistaken for its own. */
Test(reader, a_handle_is_handed_to_another_thread)
{
	pthread_t thread;
	struct proc child;
	void *locked = NULL;

	put(1, 0, 'a', 10);
	warm_up(reader);
	nr_locks = nr_finds = nr_gets = nr_unlocks = 0;
	cr_assert_eq(pthread_create(&thread, NULL, lock_it, reader), 0);
	pthread_join(thread, &locked);
	cr_assert_eq(locked, reader);
	expect_calls(1, 0, 0, 0);
	cr_expect(!strata__is_inside(store));
	proc_start(&child, child_has_not_got_it, NULL);
	cr_expect_eq(proc_wait(&child), 0);
	expect_both(1, 0, 'a', 10);
	must(strata_read_unlock_inline(reader));
	round_of_both(1, 0, 'a', 10);
	expect_calls(1, 0, 0, 0);
}
