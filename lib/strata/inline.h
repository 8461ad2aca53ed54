/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/**
 * @file
 * The read path, compiled into the program that reads.
 *
 * A call of a shared library costs more than a lookup does. Who makes millions
 * of them a second may use, instead of strata_read_lock(), strata_get(),
 * strata_find() and strata_read_unlock(), the functions of the same names with
 * _inline behind them. They do the same and return the same; in one section one
 * may be used here and the other there. Nobody has to use this header.
 *
 * What is done here is the usual case. All else (the first use, nested
 * sections, another thread, a fork, a region that came or is not mapped, a
 * destroyed store, tall indices, every error) is done by the functions of the
 * library, which are called then. The library's own read path is this code,
 * too.
 *
 * OTHER VERSIONS. A program keeps what it was compiled with, and may meet
 * another library, or a store that another one made. So this code looks at one
 * word of the handle first, in the test that it makes in any case. In that word
 * a library says what code of *its* ABI number may do by itself. What has
 * another number than STRATA_INLINE_ABI, finds nothing of its own there, looks
 * at nothing else, and calls the library, which works with every program. A
 * library gives the number only to handles of stores whose layout is the one
 * meant here. The number stands for: the handle, the line of the catalog that
 * read locks look at, a reader's slot, root and dimension nodes, struct
 * strata_entry. Place and size of the word itself never change.
 *
 * COMPILERS. C99 or C++, by gcc or clang, without options. With others, and
 * with ThreadSanitizer, which understands neither fences nor other processes,
 * all of these functions are calls.
 *
 * Nothing here but the four functions whose names begin with strata_ and one
 * underscore, and STRATA_INLINE_ABI, is for the program's own use.
 */
#ifndef STRATA_INLINE_H
#define STRATA_INLINE_H

#include "strata.h"

/** What this header knows: changes with any of the layouts that it reads. 1 to
 *  2^16 - 1. */
#define STRATA_INLINE_ABI 1

#if defined(__SANITIZE_THREAD__)
#define STRATA__INLINE_CALLS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STRATA__INLINE_CALLS 1
#endif
#endif
#if !defined(__GNUC__)
#define STRATA__INLINE_CALLS 1
#endif

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <pthread.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**** the handle ****/

/* What may be done without a call: never anything that has another number. */
#define STRATA__WAY_CALL 0u /* nothing; also of a handle that a fork wiped */
#define STRATA__WAY_LOCK \
	(UINT32_C(0x53) << 24 | (uint32_t)STRATA_INLINE_ABI << 8 | 1u)
#define STRATA__WAY_READ \
	(UINT32_C(0x53) << 24 | (uint32_t)STRATA_INLINE_ABI << 8 | 2u)

struct strata__hot;   /* of the catalog */
struct strata__slot;  /* of the pins */
struct strata__chunk; /* the library's */

/* Written by the thread that has the handle. Fields that others read (fork, and
 * strata_synchronize()) are accessed by atomics here and there. */
struct strata_reader {
	const char *window; /* first: part of the ABI, see strata_data() */
	/* Second: part of the ABI, for ever. STRATA__WAY_LOCK outside of a
	 * section, STRATA__WAY_READ in one; or STRATA__WAY_CALL. */
	uint32_t way;
	uint32_t idle_way;             /* what way is outside of a section */
	const struct strata__hot *hot; /* NULL: wiped by a fork, or closed */
	struct strata__slot *slot;
	uint64_t pin;    /* as stored in the slot; 0 outside of a section */
	const char *top; /* window and root of the pinned version, in one */
	uint64_t epoch; /* segment epoch whose regions are mapped; 0: unknown */
	uint64_t sample_at; /* section that heat.c looks at next */
	void *thread;       /* that locked it last */
	uint32_t nested;    /* sections inside of the section */
	uint8_t full_fence;
	uint8_t slow;        /* why lookups must not take the usual way */
	uint8_t sample_skip; /* heat.c: lookups until one is noted */
	uint8_t filler;
	struct strata_store *store;
	struct strata__chunk *chunk;
	uint64_t sampled_ns;
	uint32_t sample_step, nr_samples;
	uint64_t marked_at; /* section in which heat.c wanted a lookup */
	uint64_t unused;
};

/*
 * What is read and written in shared memory, in words of 8 bytes, and in nodes
 * in bytes; reader.c asserts that lib/layout.h says the same. Words and not
 * structs, since those of the library have types that C++ has not.
 */
#define STRATA__HOT_VERSION       0 /* of struct strata__hot */
#define STRATA__HOT_ROOTS         1
#define STRATA__HOT_EPOCH         3
#define STRATA__SLOT_PIN          0 /* of struct strata__slot */
#define STRATA__SLOT_SECTIONS     1
#define STRATA__VERSION_DEAD_BIT  (UINT64_C(1) << 63)
#define STRATA__PIN_SECTION_SHIFT 48
#define STRATA__REF_HEIGHT        UINT64_C(63) /* low bits of a reference */
#define STRATA__ROOT_SLOTS        512u
#define STRATA__NEAR_LAYERS       48u  /* those in the dimension's node */
#define STRATA__NEAR_PLACES       256  /* where these begin, 16 bytes each */
#define STRATA__NEAR_ENTRIES      1024 /* and these, struct strata_entry */

#if !defined(STRATA__INLINE_CALLS) || defined(STRATA__INLINE_LIBRARY)

/*
 * The library's own build has tests in its read path, and fences that
 * ThreadSanitizer understands: there (store.h) these are something else.
 */
#ifndef STRATA__INLINE_LIBRARY
#define STRATA__INLINE_POINT(name)   ((void)0)
#define STRATA__INLINE_NO_VALIDATION 0

static inline void
strata__inline_light_fence(int full)
{
	if (full)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	else
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void
strata__inline_acquire_fence(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}
#endif

#define STRATA__LIKELY(x)   __builtin_expect(!!(x), 1)
#define STRATA__UNLIKELY(x) __builtin_expect(!!(x), 0)

/* A thread, as cheaply as can be told. Volatile: a fiber may be another thread's
 * behind any call, and compilers would keep what it was before. */
static inline void *
strata__inline_thread(void)
{
	void *self;

#if defined(__x86_64__)
	__asm__ volatile("mov %%fs:0, %0" : "=r"(self));
#elif defined(__aarch64__)
	__asm__ volatile("mrs %0, tpidr_el0" : "=r"(self));
#else
	self = (void *)pthread_self();
#endif
	return self;
}

/**** the way in ****/

static inline const uint64_t *
strata__inline_hot(const struct strata_reader *reader)
{
	return (const uint64_t *)(const void *)reader->hot;
}

static inline uint64_t *
strata__inline_slot(const struct strata_reader *reader)
{
	return (uint64_t *)(void *)reader->slot;
}

/* The number of the next section; the slot has the count. */
static inline uint64_t
strata__inline_number(const uint64_t *slot)
{
	return __atomic_load_n(&slot[STRATA__SLOT_SECTIONS], __ATOMIC_RELAXED) +
	       1;
}

/* Is the handle this thread's already, and nobody due to look at that section?
 */
static inline int
strata__inline_may_enter(const struct strata_reader *reader, uint64_t number)
{
	return __atomic_load_n(&reader->thread, __ATOMIC_RELAXED) ==
		       strata__inline_thread() &&
	       number < reader->sample_at;
}

/*
 * Pins the current version, for the section of that number; full: by a full
 * fence. Gives 0 when the store was destroyed; then a pin may be in the slot.
 */
static inline int
strata__inline_pin(const uint64_t *hot, uint64_t *slot, uint64_t number,
		   int full, uint64_t *ret_pin, uint64_t *ret_root)
{
	uint64_t version, pin, root;

	do {
		/* Letter A: pairs with COMMIT in edit.c. What that version
		 * reaches, and its segment epoch, are there. */
		version = __atomic_load_n(&hot[STRATA__HOT_VERSION],
					  __ATOMIC_ACQUIRE);
		if (STRATA__UNLIKELY((version & STRATA__VERSION_DEAD_BIT) != 0))
			return 0;
		STRATA__INLINE_POINT("reader.lock.version-read");
		__atomic_store_n(&slot[STRATA__SLOT_SECTIONS], number,
				 __ATOMIC_RELAXED);
		pin = number << STRATA__PIN_SECTION_SHIFT | version;
		/* Relaxed: the fence below and the heavy one order it. */
		__atomic_store_n(&slot[STRATA__SLOT_PIN], pin,
				 __ATOMIC_RELAXED);
		/* Letter B: the pin is visible to whoever fences heavily
		 * before the loads below, and all loads after, are done. */
		strata__inline_light_fence(full);
		/* Letter C: pairs with the store of the root in edit.c. */
		root = __atomic_load_n(&hot[STRATA__HOT_ROOTS + (version & 1)],
				       __ATOMIC_ACQUIRE);
		/* Orders the root before the validating load. */
		strata__inline_acquire_fence();
		if (STRATA__INLINE_NO_VALIDATION)
			break;
		/* Letter A again: a pin that a scan missed is of a version that
		 * was current after the fence, which reaches no candidate. */
	} while (
		STRATA__UNLIKELY(__atomic_load_n(&hot[STRATA__HOT_VERSION],
						 __ATOMIC_RELAXED) != version));
	*ret_pin = pin;
	*ret_root = root;
	return 1;
}

/* Of the version that was pinned, or a later one. */
static inline uint64_t
strata__inline_epoch(const uint64_t *hot)
{
	/* Letter E: the epoch was raised before the version was stored. */
	return __atomic_load_n(&hot[STRATA__HOT_EPOCH], __ATOMIC_RELAXED);
}

/* The handle is in that section, in which nothing is unusual but for a tall
 * index. */
static inline void
strata__inline_begin(struct strata_reader *reader, uint64_t pin, uint64_t root)
{
	/* Behind the thread, where that is another one (lock_handed_over in
	 * reader.c): a fork hands over the sections of its own thread. */
	__atomic_store_n(&reader->pin, pin, __ATOMIC_RELAXED);
	/* No atomics from here on: compilers forget what they know. By numbers:
	 * a damaged root may lead anywhere, and is looked at later. */
	reader->top = (const char *)((uintptr_t)reader->window +
				     (uintptr_t)root);
	reader->way = STRATA__LIKELY((root & STRATA__REF_HEIGHT) == 0)
			      ? STRATA__WAY_READ
			      : STRATA__WAY_CALL;
}

/**** the way out ****/

/* Was the pin of the section overwritten? */
static inline int
strata__inline_is_lost(const struct strata_reader *reader)
{
	return __atomic_load_n(&strata__inline_slot(reader)[STRATA__SLOT_PIN],
			       __ATOMIC_RELAXED) != reader->pin;
}

/* Leaves the outermost section. */
static inline void
strata__inline_leave(struct strata_reader *reader)
{
	uint64_t *slot = strata__inline_slot(reader);

	reader->way = reader->idle_way;
	/* Letter D: all that was read is read before the pin is gone. */
	__atomic_store_n(&slot[STRATA__SLOT_PIN], UINT64_C(0),
			 __ATOMIC_RELEASE);
	__atomic_store_n(&reader->pin, UINT64_C(0), __ATOMIC_RELAXED);
}

/**** finding ****/

/*
 * Where the node of a dimension is, in the window, in a section of
 * STRATA__WAY_READ. 0 when it is not in the root, or has not that layer in
 * itself. The load is plain: a published node never changes, and the acquire of
 * the root (letter C) orders it. Reference 0 is a page of zeroes: an absent
 * dimension has absent layers there, and so has dimension 0, whose slot is
 * never used.
 */
static inline int
strata__inline_near(const struct strata_reader *reader, uint32_t dimension,
		    uint32_t layer, uint64_t *ret_node)
{
	uint64_t slot;

	if (STRATA__UNLIKELY(dimension >= STRATA__ROOT_SLOTS ||
			     layer >= STRATA__NEAR_LAYERS))
		return 0;
	slot = ((const uint64_t *)(const void *)reader->top)[dimension];
	*ret_node = slot;
	return STRATA__LIKELY((slot & STRATA__REF_HEIGHT) == 0) ? 1 : 0;
}

/*
 * Each load of a lookup waits for the one before it, and the next lookup may
 * wait for what this one finds. So all that can be added beforehand is, and the
 * rest is a part of the loads. Compilers have an order of their own, in which
 * additions stand between the loads; an empty assembly hides from them what a
 * word is made of.
 */
static inline const char *
strata__inline_hidden(const char *address)
{
	__asm__("" : "+r"(address));
	return address;
}

/* The content of a layer; NULL: ask the library. */
static inline const void *
strata__inline_content(const struct strata_reader *reader, uint32_t dimension,
		       uint32_t layer, size_t *ret_size)
{
	const char *row =
		strata__inline_hidden(reader->window + (size_t)layer * 16);
	const char *place;
	uint64_t node, content;

	if (!strata__inline_near(reader, dimension, layer, &node))
		return NULL;
	content = *(const uint64_t *)(const void *)(row + node +
						    STRATA__NEAR_PLACES);
	if (STRATA__UNLIKELY(content == 0))
		return NULL;
	place = strata__inline_hidden(row) + node + STRATA__NEAR_PLACES;
	*ret_size = (size_t) * (const uint64_t *)(const void *)(place + 8);
	return reader->window + content;
}

/* The entry of a layer; NULL: ask the library. */
static inline const struct strata_entry *
strata__inline_entry(const struct strata_reader *reader, uint32_t dimension,
		     uint32_t layer)
{
	const char *row = strata__inline_hidden(
		reader->window + (size_t)layer * sizeof(struct strata_entry));
	const struct strata_entry *entry;
	uint64_t node;

	if (!strata__inline_near(reader, dimension, layer, &node))
		return NULL;
	entry = (const struct strata_entry
			 *)(const void *)(row + node + STRATA__NEAR_ENTRIES);
	return STRATA__LIKELY((entry->flags & STRATA_ENTRY_PRESENT) != 0)
		       ? entry
		       : NULL;
}

#endif /* code at all */

/**** what is for the program ****/

/**
 * strata_read_lock(), the usual case of it without a call.
 * @param reader an open reader, not NULL
 * Ordering: letters A, B and C of ordering.md, as there.
 * @return as strata_read_lock().
 */
static inline int
strata_read_lock_inline(struct strata_reader *reader)
{
#ifndef STRATA__INLINE_CALLS
	if (STRATA__LIKELY(reader->way == STRATA__WAY_LOCK)) {
		const uint64_t *hot = strata__inline_hot(reader);
		uint64_t *slot = strata__inline_slot(reader);
		uint64_t number = strata__inline_number(slot);
		uint64_t pin = 0, root = 0;

		/* Else the library pins anew, over what is in the slot. */
		if (STRATA__LIKELY(
			    strata__inline_may_enter(reader, number) &&
			    strata__inline_pin(hot, slot, number,
					       /* full= */ 0, &pin, &root) &&
			    strata__inline_epoch(hot) == reader->epoch)) {
			strata__inline_begin(reader, pin, root);
			return 0;
		}
	}
#endif
	return strata_read_lock(reader);
}

/**
 * strata_read_unlock(), the usual case of it without a call.
 * @param reader a reader, not NULL
 * Ordering: letter D of ordering.md, as there.
 * @return as strata_read_unlock().
 */
static inline int
strata_read_unlock_inline(struct strata_reader *reader)
{
#ifndef STRATA__INLINE_CALLS
	if (STRATA__LIKELY(reader->way == STRATA__WAY_READ &&
			   !strata__inline_is_lost(reader))) {
		strata__inline_leave(reader);
		return 0;
	}
#endif
	return strata_read_unlock(reader);
}

/**
 * strata_get(), the usual case of it without a call.
 * @param reader a reader, not NULL
 * @param dimension 1 to STRATA_DIMENSION_MAX
 * @param layer 0 to STRATA_LAYER_MAX
 * @param ret_size its bytes; untouched when there are none
 * @return as strata_get().
 */
static inline const void *
strata_get_inline(struct strata_reader *reader, uint32_t dimension,
		  uint32_t layer, size_t *ret_size)
{
#ifndef STRATA__INLINE_CALLS
	const void *content;

	if (STRATA__LIKELY(reader->way == STRATA__WAY_READ)) {
		content = strata__inline_content(reader, dimension, layer,
						 ret_size);
		if (STRATA__LIKELY(content != NULL))
			return content;
	}
#endif
	return strata_get(reader, dimension, layer, ret_size);
}

/**
 * strata_find(), the usual case of it without a call.
 * @param reader a reader, not NULL
 * @param dimension 1 to STRATA_DIMENSION_MAX
 * @param layer 0 to STRATA_LAYER_MAX
 * @param ret_entry the entry in place; dies at the unlock
 * @return as strata_find().
 */
static inline int
strata_find_inline(struct strata_reader *reader, uint32_t dimension,
		   uint32_t layer, const struct strata_entry **ret_entry)
{
#ifndef STRATA__INLINE_CALLS
	const struct strata_entry *entry;

	if (STRATA__LIKELY(reader->way == STRATA__WAY_READ)) {
		entry = strata__inline_entry(reader, dimension, layer);
		if (STRATA__LIKELY(entry != NULL)) {
			*ret_entry = entry;
			return 0;
		}
	}
#endif
	return strata_find(reader, dimension, layer, ret_entry);
}

#ifdef __cplusplus
}
#endif

#endif /* STRATA_INLINE_H */
