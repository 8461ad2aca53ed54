/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A store's memory as this process has it mapped: catalog, window, lock area. */
#ifndef STRATA_SPACE_H
#define STRATA_SPACE_H

#include <pthread.h>

#include "segment.h"
#include "testpoint.h"

/* A region as this process has it mapped. The place is remembered, since the
 * entry in the table may be another's by the time it is unmapped. */
struct strata__mapping {
	_Atomic uint64_t generation; /* 0: none. Letter R */
	uint64_t place, size; /* under map_mutex */
};

/* What this process knows of the memory of a block of class 0 (lines.h). */
struct strata__lines {
	uint64_t generation; /* of the life that is spoken of; 0: of none */
	uint64_t zero;       /* bit i: line i of a node's size is all zero */
};

/* As many regions of a store are found without a table of their own, for which
 * an attach would have to ask the system. */
#define STRATA_FEW_REGIONS 32u

/*
 * The window is one reserved range of addresses; pool and region segments are
 * mapped at their places in it, so that resolving a reference is an addition.
 * A writer maps catalog and pools read-write, regions always read-only. The
 * first page of the window is private zeroes: reference 0 is an empty node.
 */
struct strata__space {
	struct strata__folder folder;
	struct strata__id id;
	bool writable;
	/* Nothing but the catalog is mapped: no window, no pools, no regions. */
	bool observing;
	/* For strata__segment_open() of all segments but the catalog. */
	uint32_t trusted_uid;
	struct strata__catalog *catalog; /* read-only mapping unless writable */
	/* As it was when it was checked: own_geometry, not the catalog's. */
	const struct strata__geometry *geometry;
	struct strata__geometry own_geometry;
	char *window;
	/* Writers; else -1. Its link count tells whether the store still bears
	 * its name. */
	int catalog_fd;
	int pool_fd[STRATA_CLASSES_MAX]; /* writers; else -1 */
	struct strata__file_id pool_id[STRATA_CLASSES_MAX];
	/* Blocks of each class that the edit in the making has taken: live, but
	 * not any more when it is refused. Under the writer lock. */
	uint64_t taken[STRATA_CLASSES_MAX];
	/* Bytes that these have more than was asked for: counted at the commit. */
	uint64_t slack[STRATA_CLASSES_MAX];
	/* Steps of each pool that this process has faulted in (writers). */
	uint64_t *populated[STRATA_CLASSES_MAX];
	/* For each block of class 0; writers, else NULL. Private memory, under
	 * the writer lock. */
	struct strata__lines *lines;
	/* Lock segment: writers only, else NULL. The mapping keeps the lock of
	 * our writer slot; it is not inherited by children. */
	struct strata__lock *lock;
	int lock_fd; /* read-write, locks nothing; for probes; else -1 */
	struct strata__file_id lock_id, catalog_id;
	/* When the catalog's inode last changed, as of a look at its name that
	 * was made well after that; 0: no such look. Under the writer lock. */
	int64_t named_ctime_ns;

	/* Which regions this process has mapped; written under map_mutex. */
	pthread_mutex_t map_mutex;
	/* By index: those that every store has, and all, once there are more. */
	struct strata__mapping few_mapped[STRATA_FEW_REGIONS];
	_Atomic(struct strata__mapping *) all_mapped; /* nr_segments, or NULL */
	_Atomic uint32_t mapped_high; /* none is mapped at or above it */
	/* Segment epoch up to which we looked at all; stored last (release). 0:
	 * not yet, regions are mapped as they are met. */
	_Atomic uint64_t mapped_epoch;
	uint64_t unmapped_epoch; /* at which what is gone was unmapped */
	uint32_t more_at; /* index at which strata__space_map_more() goes on */
	enum strata_pressure warned; /* of which level the log was told */
	_Atomic uint32_t nr_unmapped; /* regions that could not be mapped */
};

/**** places ****/

static inline void *
strata__at(const struct strata__space *space, uint64_t ref)
{
	return space->window + ref;
}

/* Of a node, whose reference may bear its height as a tag. */
static inline void *
strata__node_at(const struct strata__space *space, uint64_t ref)
{
	return space->window + (ref & ~STRATA_REF_TAG);
}

static inline struct strata__record *
strata__class_records(const struct strata__space *space, uint32_t class_)
{
	return (struct strata__record *)((char *)space->catalog +
		space->geometry->classes[class_].records);
}

static inline struct strata__segment *
strata__segments(const struct strata__space *space)
{
	return (struct strata__segment *)((char *)space->catalog +
					  space->geometry->segments);
}

static inline uint32_t *
strata__free_stack(const struct strata__space *space, uint32_t class_)
{
	return (uint32_t *)((char *)space->lock +
			    space->geometry->classes[class_].free_stack);
}

static inline uint32_t *
strata__retired_list(const struct strata__space *space)
{
	return (uint32_t *)((char *)space->lock + space->geometry->retired);
}

/* Plain arithmetic on counters that only the holder of the writer lock writes;
 * atomic so that others may look. */
static inline uint64_t
strata__count(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline void
strata__count_add(_Atomic uint64_t *counter, uint64_t by)
{
	atomic_store_explicit(counter, strata__count(counter) + by,
			      memory_order_relaxed);
}

static inline void
strata__count_sub(_Atomic uint64_t *counter, uint64_t by)
{
	strata__count_add(counter, -by);
}

static inline void
strata__count_set(_Atomic uint64_t *counter, uint64_t to)
{
	atomic_store_explicit(counter, to, memory_order_relaxed);
}

static inline void
strata__count_max(_Atomic uint64_t *counter, uint64_t to)
{
	if (strata__count(counter) < to)
		strata__count_set(counter, to);
}

#ifdef STRATA_TESTING
/* Each place that changes a counter is a test point, without a line there. */
#define strata__count_add(counter, by)         \
	(strata__count_add((counter), (by)),   \
	 STRATA_TESTPOINT_HERE("add " #counter))
#define strata__count_sub(counter, by)         \
	(strata__count_sub((counter), (by)),   \
	 STRATA_TESTPOINT_HERE("sub " #counter))
#define strata__count_set(counter, to)         \
	(strata__count_set((counter), (to)),   \
	 STRATA_TESTPOINT_HERE("set " #counter))
#define strata__count_max(counter, to)         \
	(strata__count_max((counter), (to)),   \
	 STRATA_TESTPOINT_HERE("max " #counter))
#endif

/**** geometry ****/

/* Computes where everything is from the user's wishes; checks every size. Tells
 * STRATA_EINVAL or STRATA_ELIMIT. name, owner, group, membarrier are filled in
 * by create. */
int strata__geometry_plan(const struct strata_config *config,
			  struct strata__geometry *ret);
/* Memory that a store of this geometry cannot do without: the fixed segments,
 * the node reserve, one step of a pool. */
uint64_t strata__geometry_least(const struct strata__geometry *geometry);
/* Checks a geometry found in a catalog of size bytes: STRATA_ECORRUPT. */
int strata__geometry_check(const struct strata__geometry *geometry,
			   uint64_t size);

/**** attaching ****/

/* A flag for strata__space_open(), besides those of attach, for destroy: a store
 * that is marked dead is opened, too; nothing but the catalog is mapped; a lock
 * segment that is missing or damaged is no error (lock_fd is -1). */
#define STRATA_SPACE_DEAD (1u << 16)

/* Opens and maps the catalog, reserves the window, maps the pools; writers also
 * open (not map) the lock segment. Tells; STRATA_ENOSTORE also when the store is
 * marked dead. */
int strata__space_open(const char *name, unsigned flags,
		       struct strata__space *ret);
/* Opens once more what the program has closed under us, as daemons do: folder,
 * pools, lock segment. Before they are used after a while. Tells. */
int strata__space_mend(struct strata__space *space);
/* Does the store's name lead to this catalog? Or is it known that it does not?
 * Neither, where it cannot be told. */
bool strata__space_has_name(const struct strata__space *space);
bool strata__space_lost_name(const struct strata__space *space);
/* The first, cheaper, for a writer that asks often: it is not looked up
 * again while the catalog's inode shows that it was neither renamed nor
 * removed. Under the writer lock. True where it cannot be told. */
bool strata__space_is_named(struct strata__space *space);
/* Nobody enters the store any more; sleepers wake. For writers. */
void strata__space_mark_dead(struct strata__space *space);
/* Accepts a half-opened one. The lock segment is not its to unmap. */
void strata__space_close(struct strata__space *space);
/* An empty one, with nothing open (create fills it by hand). */
void strata__space_init(struct strata__space *space, unsigned flags);

/* What can be told of a store without attaching. */
struct strata__peek {
	struct strata__head head;
	struct strata__geometry geometry;
	uint64_t version;  /* with STRATA_VERSION_DEAD */
	uint64_t limit, reserved;
};
/* Reads the catalog of a store; told as attach tells it, but a store that is
 * dead is no error. */
int strata__space_peek(const struct strata__folder *folder, const char *name,
		       uint32_t trusted_uid, struct strata__peek *ret);

/* Maps the regions that are new since mapped_epoch, unmaps what is gone. What
 * cannot be mapped is counted in nr_unmapped, told, and STRATA_EMAP returned;
 * the others are mapped. Thread-safe. Does nothing when nothing is new, unless
 * some could not be mapped before and retry is set. */
int strata__space_refresh(struct strata__space *space, bool retry);
/* strata__folder_mend(), for threads that have no other lock. */
int strata__space_mend_folder(struct strata__space *space);
/* For who maps regions as they are met: some of those that were not met yet; all
 * that could be mapped are when mapped_epoch is not 0 any more. Thread-safe. */
void strata__space_map_more(struct strata__space *space);
/* Maps that life of a region, if it is not mapped yet: 0, or why it cannot be
 * (told). For who has pinned a version that reaches it; believes neither number.
 * Thread-safe; takes map_mutex only if it is not mapped. */
int strata__space_map(struct strata__space *space, uint32_t index,
		      uint64_t generation);
/* The same of the region that a reference leads into, for who knows no more:
 * looks through the segment table. */
int strata__space_map_ref(struct strata__space *space, uint64_t ref);
/* After one of the two has failed: tells STRATA_EMAP, with its reason. */
int strata__fail_unmapped(uint32_t dimension);
/* When all is unmapped. */
void strata__mappings_fini(struct strata__space *space);
/* Whether a reference into the region area can be followed here: its region is
 * mapped. */
bool strata__space_is_mapped(const struct strata__space *space, uint64_t ref);
/* The part of the window in which this process has that life of a region mapped,
 * now if not before; false when it cannot be. For who believes nothing (verify).
 */
bool strata__space_region(struct strata__space *space, uint32_t index,
			  uint64_t generation, uint64_t *ret_place,
			  uint64_t *ret_size);

/* Where it is noted for that index (below nr_segments); NULL: nowhere yet, so
 * it is not mapped. */
static inline struct strata__mapping *
strata__mapping_at(const struct strata__space *space, uint32_t index)
{
	struct strata__mapping *all;

	if (index < STRATA_FEW_REGIONS)
		return (struct strata__mapping *)&space->few_mapped[index];
	/* Letter R: pairs with the release in mappings_make(). */
	all = atomic_load_explicit(&space->all_mapped, memory_order_acquire);
	return all != NULL ? &all[index] : NULL;
}

/* Whether that life of a region is mapped here. */
static inline bool
strata__space_has(const struct strata__space *space, uint32_t index,
		  uint64_t generation)
{
	const struct strata__mapping *m = strata__mapping_at(space, index);

	/* Letter R: pairs with the release in mapping_set(). The pages are
	 * there before they are followed. */
	return m != NULL &&
	       atomic_load_explicit(&m->generation, memory_order_acquire) ==
		       generation;
}

static inline uint32_t
strata__mapped_high(const struct strata__space *space)
{
	return atomic_load_explicit(&space->mapped_high, memory_order_acquire);
}

static inline uint64_t
strata__mapped_epoch(const struct strata__space *space)
{
	/* Letter R: what was mapped up to that epoch is mapped. */
	return atomic_load_explicit(&space->mapped_epoch, memory_order_acquire);
}

/* Is everything mapped that was published up to that epoch? Then nobody who
 * found it in a read lock needs to ask. Letter R: acquires both, since a later
 * look at the same epoch may have mapped what was missing. */
static inline bool
strata__space_is_whole(const struct strata__space *space, uint64_t epoch)
{
	return strata__mapped_epoch(space) >= epoch &&
	       atomic_load_explicit(&space->nr_unmapped,
				    memory_order_acquire) == 0;
}

/**** files to copy from ****/

/* Of a pool, read-only, the caller's. Tells; STRATA_ENOSTORE when the store was
 * destroyed. */
int strata__space_open_pool(const struct strata__space *space, uint32_t class_,
			    int *ret_fd);

/* Of a region, and where it is, as one look at its entry told. */
struct strata__region_file {
	int fd;
	uint32_t index, dimension;
	uint64_t generation;
	uint64_t place, size; /* as in the segment table */
};
/* fd is the caller's. Tells, but for -ESTALE: there is no such region any more.
 */
int strata__space_open_region(const struct strata__space *space, uint32_t index,
			      uint64_t generation,
			      struct strata__region_file *ret);
/* Behind a copy: is it there still, so that what was copied is its? */
bool strata__space_region_still(const struct strata__space *space,
				const struct strata__region_file *file);

/**** accounts (account.c) ****/

/* Adds used, reserved and limit to the error just told. What is refused does not
 * count as used. */
void strata__space_numbers(const struct strata__space *space);
/* The same, and what was asked for. */
void strata__space_error(const struct strata__space *space, uint64_t requested);
/* Counts what the limit or the file system refused; under the writer lock. */
void strata__count_refusal(struct strata__space *space, int code);
/* Bytes of live and retired things. */
uint64_t strata__space_used(const struct strata__space *space);
/* Bytes that are retired and not yet reclaimed. */
uint64_t strata__retired_bytes(const struct strata__space *space);
/* Bytes that are reserved and hold something: all but the free blocks. */
uint64_t strata__space_held(const struct strata__space *space);
/* Takes bytes of the hard limit, or gives them back; under the writer lock.
 * Tells STRATA_ELIMIT, with what is free and what could be freed. */
int strata__space_charge(struct strata__space *space, uint64_t bytes);
void strata__space_uncharge(struct strata__space *space, uint64_t bytes);
/* The thresholds: 75, 85, 95 % of the limit. */
enum strata_pressure strata__space_pressure(const struct strata__space *space);

#endif
