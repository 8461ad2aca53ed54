/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/**
 * @file
 * Looking after a store: its statistics, each figure with its meaning; what is
 * used most; where things lie, who retains memory, what was committed; and how
 * to check a store, to clean it, and to change its limit.
 *
 * A part of strata.h, which includes it and says what holds for all functions:
 * errors, threads, fork, units.
 */
#ifndef STRATA_ADMIN_H
#define STRATA_ADMIN_H

#include "strata.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One size class. Bytes count whole blocks. */
struct strata_pool_stats {
	/** Bytes that a block of this pool is made for. */
	uint64_t block_size;
	/** Blocks that the pool may grow to at the present limit. */
	uint64_t max_blocks;
	/** Blocks that have memory. */
	uint64_t grown_blocks;
	/** Blocks with memory by state: live ones are reached by the current
	 *  version. */
	uint64_t live_blocks;
	/** Blocks with memory by state: retired ones were replaced and may be
	 *  read. */
	uint64_t retired_blocks;
	/** Blocks with memory by state: free ones are in no use. */
	uint64_t free_blocks;
	/** Most blocks that were live or retired at one time. */
	uint64_t peak_blocks;
	/** Requests that this pool refused. */
	uint64_t failed;
	/** Requests that were served by a larger class, since this one was
	 *  full. */
	uint64_t spilled;
};

enum strata_pressure {
	STRATA_PRESSURE_NONE = 0,
	STRATA_PRESSURE_WARNING = 1,  /**< above 75 % */
	STRATA_PRESSURE_HIGH = 2,     /**< above 85 % */
	STRATA_PRESSURE_CRITICAL = 3  /**< above 95 %: new protos are refused */
};

/** How scattered a class is: what its free blocks are good for. */
struct strata_fragmentation {
	/** Free blocks with one in use behind them: they cannot be given back. */
	uint64_t trapped_blocks;
	/** Most free blocks in a row. */
	uint64_t longest_free;
	/** Bytes that the blocks of all commits had more than was asked for. */
	uint64_t slack;
};

/** Numbers of strata_pool_spread.free_runs and strata_stats.grace_durations. */
#define STRATA_FREE_RUNS 8
#define STRATA_GRACE_BUCKETS 7

/** How full a class is, and into what its free blocks are scattered. */
struct strata_pool_spread {
	/** Blocks live or retired, in percent of max_blocks. */
	double utilization_percent;
	/** Runs of free blocks by length: 1, 2 to 3, 4 to 7, and so on, 128 and
	 *  more. */
	uint64_t free_runs[STRATA_FREE_RUNS];
};

/**
 * Statistics of a store; counters since its creation. Every byte reserved is
 * for one thing: reserved is the sum of content, metadata, unused, retired,
 * spare, pins and catalog bytes, as long as no writer is at work.
 */
struct strata_stats {
	/** Set by the caller: sizeof. */
	size_t struct_size;
	/** The current version: 1 and the commits so far. */
	uint64_t version;
	/** Bytes of memory that the store may reserve; nothing ever passes it. */
	uint64_t limit;
	/** Bytes to which the limit can be raised while the store lives. */
	uint64_t max_limit;
	/** Bytes of memory that the store's segments have taken from the
	 *  system. */
	uint64_t reserved;
	/** Bytes of blocks and regions that are live or retired. */
	uint64_t used;
	/** Bytes that were replaced and are kept as long as a reader may read
	 *  them. */
	uint64_t retired;
	/** Bytes of the contents of all layers. */
	uint64_t content_bytes;
	/** Bytes of the catalog, the lock segment and the owner's pins. */
	uint64_t fixed_bytes;
	/** Bytes of the pools as they have grown, used or not. */
	uint64_t pool_bytes;
	/** Bytes of regions, from building to giving back, with one kept for
	 *  re-use. */
	uint64_t region_bytes;
	/** The threshold of the limit that is passed. */
	enum strata_pressure pressure;
	/** Size classes: so many of each array below are filled. */
	uint32_t nr_pools;
	struct strata_pool_stats pools[STRATA_CLASSES_MAX];
	/** Dimensions in the store. */
	uint64_t nr_dimensions;
	/** Layers in the store. */
	uint64_t nr_layers;
	/** Dimensions by state: proto is all in pools. */
	uint64_t nr_proto;
	/** Dimensions by state: crystallized is all in a region. */
	uint64_t nr_crystallized;
	/** Dimensions by state: hybrid has a region, and changes over it. */
	uint64_t nr_hybrid;
	/** Regions that dimensions have. */
	uint64_t nr_regions;
	/** Reader slots that living processes have. */
	uint64_t readers;
	/** Most reader slots in use that a scan ever saw. */
	uint64_t peak_readers;
	/** Blocks taken from the pools so far. */
	uint64_t allocations;
	/** Blocks given back to the pools so far. */
	uint64_t deallocations;
	/** Refused allocations by cause: class is a size class at its maximum. */
	uint64_t failures_class;
	/** Refused allocations by cause: limit is the store's hard limit. */
	uint64_t failures_limit;
	/** Refused allocations by cause: shm is a full /dev/shm. */
	uint64_t failures_shm;
	/** Commits so far, of all kinds: each made a version. */
	uint64_t commits;
	/** Dimension files loaded as new dimensions. */
	uint64_t loads;
	/** Dimensions replaced by a file. */
	uint64_t reloads;
	/** Dimensions taken out by an unload. */
	uint64_t unloads;
	/** Dimensions turned into regions. */
	uint64_t crystallizations;
	/** Times that a writer cleaned up after one that had died. */
	uint64_t recoveries;
	/** Scans of all pins, after each of which what nobody read was freed. */
	uint64_t grace_periods;
	/** Bytes freed after grace periods so far. */
	uint64_t reclaimed;
	/** When it was created, by CLOCK_REALTIME. */
	uint64_t created_ns;
	/** Bytes of regions that were in pages of 2 MiB when they were built. */
	uint64_t large_page_bytes;
	/** Bytes reserved, without free blocks: the pressure is their share. */
	uint64_t held;
	struct strata_fragmentation fragmentation[STRATA_CLASSES_MAX];
	/** Refused allocations of all causes. */
	uint64_t failures;
	/** Bytes of the index, and of names, keywords and tables of all layers. */
	uint64_t metadata_bytes;
	/** Bytes of live blocks and regions that are neither content nor
	 *  metadata. */
	uint64_t unused_bytes;
	/** Bytes reserved that nothing is in: free blocks, regions that come or
	 *  go. */
	uint64_t spare_bytes;
	/** Bytes of the segment in which the owner's readers have their slots. */
	uint64_t pins_bytes;
	/** Bytes of the catalog and of the lock segment. */
	uint64_t catalog_bytes;
	/** Internal fragmentation: the part of what is live that is unused, 0
	 *  to 1. */
	double fragmentation_ratio;
	/** Bytes reserved, in percent of the limit. */
	double utilization_percent;
	/** The limit in MiB, rounded down. */
	uint64_t total_limit_mb;
	/** Nanoseconds that all grace periods took, from fence to freeing. */
	uint64_t grace_total_ns;
	/** Nanoseconds that the longest grace period took. */
	uint64_t grace_longest_ns;
	/** Nanoseconds that the last grace period took. */
	uint64_t grace_last_ns;
	/** Grace periods of up to 10 us, 100 us, 1 ms, 10 ms, 100 ms, 1 s, and
	 *  longer. */
	uint64_t grace_durations[STRATA_GRACE_BUCKETS];
	struct strata_pool_spread spread[STRATA_CLASSES_MAX];
};

/**
 * How full a store is now: strata_stats() says the same, for more.
 * @param store an attached store
 * Cost: a few loads. Any thread, inside or outside of a section.
 * @return the level that it is at.
 */
STRATA_API enum strata_pressure
strata_pressure_now(const struct strata_store *store);

/**
 * Has fn called when the store has crossed one of the thresholds, up or down.
 * @param store an attached store; the watch is this handle's, and ends with its
 * detach
 * @param fn gets the level that it was told last (at first
 * STRATA_PRESSURE_NONE) and the one that the store is at, which always differ;
 * NULL: nobody is called any more
 * @param arg handed to fn
 *
 * There is no thread behind this: fn is called by the thread, and at the end, of
 * a call that uses the handle: strata_txn_commit(), strata_load(),
 * strata_reload(), strata_unload(), strata_crystallize(), strata_gc(),
 * strata_limit(), strata_refresh(), strata_stats(), this one itself, and
 * strata_wait() whenever it wakes; so a thread that waits for a version that
 * never comes is a watchman, in any process that may read the store. At that
 * time the library holds no lock, but for the writer lock if this thread has a
 * session; so fn may use the handle, to unload something for example. What fails
 * in fn does not change strata_last_error().
 * Each crossing is told once at most to a handle, whichever process made it. One
 * that is undone before anybody looks is not told; several that were passed at
 * once are told in one call. fn is never called by two threads at a time, nor
 * within itself: what changes meanwhile is told when it returns, by the same
 * thread. It must not detach the store. The child of a fork is told nothing.
 * Context: not while another thread is in a call on this handle.
 * @return 0; STRATA_EINVAL.
 */
STRATA_API int strata_pressure_watch(struct strata_store *store,
				     void (*fn)(struct strata_store *store,
						enum strata_pressure before,
						enum strata_pressure now,
						void *arg),
				     void *arg);

/**
 * Takes the statistics.
 * @param out struct_size set by the caller; that much of it is filled
 * Context: any attached process, outside or inside a section; takes no lock.
 * Counters that a writer is changing meanwhile may be one commit apart; those of
 * a writer that died are made right by the next one, but for what can only be
 * counted where it happens: a refusal or a wait in which it died, and bytes and
 * nanoseconds of the reclaim in which it died, may be missing. Who can have no
 * reader slot observes; readers is 0 for one that may not look at them.
 * Cost: looks at each layer's entry and each block's record, some ten ns each.
 * @return 0; STRATA_EINVAL; STRATA_EGONE; as strata_copy().
 */
STRATA_API int strata_stats(struct strata_store *store,
			    struct strata_stats *out);

/** A reader, as a writer sees it. What it says of itself is not believed. */
struct strata_reader_info {
	uint32_t uid;
	uint32_t pid;          /**< in its own namespace, by its own word */
	uint64_t pid_namespace; /**< inode number, by its own word */
	char name[32];         /**< of its program, by its own word */
	int alive;             /**< by the kernel's word */
	uint64_t pin;          /**< version; 0: outside of a section */
	uint64_t lag;          /**< commits since that version */
	uint64_t age_ns;       /**< the pinned version is outdated for at least
				    that long; 0: it is current */
	uint64_t retained;     /**< bytes that this pin alone keeps */
	uint64_t sections;     /**< entered so far, by its own word */
};

/**
 * Calls fn for each slot in use, of all users.
 * @param fn returns 0 to go on; anything else ends the walk and is returned
 * @return 0; what fn returned; STRATA_EGONE; STRATA_ENOMEM; -errno.
 */
STRATA_API int
strata_foreach_reader(struct strata_store *store,
		      int (*fn)(const struct strata_reader_info *info,
				void *arg),
		      void *arg);

/** A lookup that a reader made, by its own word. */
struct strata_sample {
	uint32_t dimension, layer;
	uint32_t pid;           /**< of the reader, in its own namespace */
	uint64_t pid_namespace; /**< inode number */
	uint64_t time_ns;       /**< CLOCK_REALTIME, to an eighth of a second */
};

/**
 * Calls fn for the lookups that readers noted last, strata_find() and
 * strata_get() that found something: what is hot. Each handle notes one in an
 * eighth of a second at most, chosen by chance among those that it makes, and
 * keeps six, as long as it is open. So one call shows what was looked up about
 * last; who wants shares, calls again and again. Noting costs a lookup nothing,
 * a section two instructions.
 * Nothing of this is to be trusted: a reader, or another process of its user,
 * can write what it likes there, a layer that is not there, a time to come.
 * @param fn returns 0 to go on; anything else ends the walk and is returned
 * @param arg handed to fn
 * Context: as strata_foreach_reader().
 * @return 0; what fn returned; STRATA_EGONE; STRATA_ENOMEM; STRATA_EINVAL;
 * -errno.
 */
STRATA_API int
strata_foreach_sample(struct strata_store *store,
		      int (*fn)(const struct strata_sample *sample, void *arg),
		      void *arg);

/** Longest file name of a segment, with its NUL. */
#define STRATA_SEGMENT_NAME_MAX 127

/** Where something lies. */
struct strata_location {
	char segment[STRATA_SEGMENT_NAME_MAX + 1]; /**< file name */
	uint64_t offset;     /**< in the segment */
	uint64_t bytes;      /**< taken: of blocks whole ones */
	int in_region;       /**< else in a pool: the next three */
	uint32_t pool;       /**< as in strata_stats */
	uint64_t block;      /**< number of the first */
	uint32_t nr_blocks;  /**< more than 1: a run */
};

/**
 * Says where the content of a layer lies.
 * @param reader the reader that found the entry, in the same section
 * @param entry what strata_find() gave
 * @return 0; STRATA_EINVAL outside of a section; STRATA_ECORRUPT when it is no
 * place of this store.
 */
STRATA_API int strata_locate(struct strata_reader *reader,
			     const struct strata_entry *entry,
			     struct strata_location *ret_location);

/** Whether something of the store is in use. */
enum strata_life {
	/** a region that somebody fills, or pages kept for the next one */
	STRATA_LIFE_BUILDING = 1,
	STRATA_LIFE_LIVE = 2,
	STRATA_LIFE_RETIRED = 3, /**< replaced; older versions may be read */
	STRATA_LIFE_DYING = 4    /**< a region that is being given back */
};

/** A region's segment. */
struct strata_region_info {
	char segment[STRATA_SEGMENT_NAME_MAX + 1];
	uint32_t dimension;
	enum strata_life life;
	uint64_t bytes;            /**< of the segment */
	uint64_t image_bytes;      /**< of the image at its front */
	uint64_t large_page_bytes; /**< of these, in pages of 2 MiB when built */
	uint64_t birth;            /**< first version that has it; 0: none yet */
	uint64_t retirement;       /**< first that has not; 0: live */
};

/**
 * Calls fn for each region, live or not.
 * @param fn returns 0 to go on; anything else ends the walk and is returned
 * Context: any attached process; takes no lock. What a writer changes meanwhile
 * is told as before or as after.
 * @return 0; what fn returned; STRATA_EINVAL.
 */
STRATA_API int
strata_foreach_region(struct strata_store *store,
		      int (*fn)(const struct strata_region_info *info,
				void *arg),
		      void *arg);

/** A block, or run of blocks, that is retired and not reclaimed yet. */
struct strata_retired_info {
	struct strata_location location;
	uint64_t birth, retirement; /**< versions from, and before, which it is
					 read */
};

/**
 * Calls fn for each retired block; retired regions are told by
 * strata_foreach_region().
 * @param fn returns 0 to go on; anything else ends the walk and is returned
 * Context: as there. Looks at every block's record: about 1 ns for each.
 * @return 0; what fn returned; STRATA_EINVAL.
 */
STRATA_API int
strata_foreach_retired(struct strata_store *store,
		       int (*fn)(const struct strata_retired_info *info,
				 void *arg),
		       void *arg);

/** Whose a commit was, by its own word. */
struct strata_commit_info {
	uint64_t version;       /**< that it made */
	uint64_t time_ns;       /**< CLOCK_REALTIME, to a few ms */
	uint32_t uid;
	uint32_t pid;           /**< in its own namespace */
	uint64_t pid_namespace; /**< inode number */
	char name[32];          /**< of its program */
};

/**
 * Calls fn for each of the last commits, in the order of versions, that is later
 * than a version: of 32 at most. One whose writer died before it had said so is
 * left out, as is one that a later commit is just overwriting.
 * @param after a version; 0: all that are known
 * @param fn returns 0 to go on; anything else ends the walk and is returned
 * @param arg handed to fn
 * Context: any attached process, inside or outside of a section; takes no lock.
 * Ordering: letter W.
 * @return 0; what fn returned; STRATA_EINVAL.
 */
STRATA_API int
strata_foreach_commit(struct strata_store *store, uint64_t after,
		      int (*fn)(const struct strata_commit_info *info,
				void *arg),
		      void *arg);

/** What strata_verify() found. */
struct strata_verify_report {
	uint64_t nodes, dimensions, layers, regions, blocks;
	uint64_t checked_bytes;
	uint64_t errors;
	char first[320]; /**< the first error, in words */
};

/**
 * Checks a store: structure, state records, accounting, checksums.
 * @param store attached; with STRATA_WRITE accounting is checked too, under
 * the writer lock
 * @param quick leave out the checksums of the contents
 * @param progress called with bytes done and to do, as that of struct
 * strata_work is; with STRATA_WRITE under the writer lock. Or NULL
 * @return 0 also when errors were found: look at the report; STRATA_EGONE;
 * STRATA_ECANCELED (the report is untouched); STRATA_ETIMEDOUT; STRATA_ENOMEM;
 * STRATA_EPIN as strata_read_unlock().
 */
STRATA_API int strata_verify(struct strata_store *store, int quick,
			     int (*progress)(uint64_t done, uint64_t total,
					     void *arg),
			     void *arg, struct strata_verify_report *out);

/** What strata_gc() did. */
struct strata_gc_report {
	uint64_t reclaimed;      /**< bytes of blocks and regions made free */
	uint64_t given_back;     /**< bytes of memory returned to the system,
				      with those of the leftover segments */
	uint64_t retained;       /**< bytes that readers still keep */
	uint64_t segments;       /**< leftover segments removed */
};

/**
 * Reclaims everything that no reader needs, shrinks the pools, and removes
 * segments of this store that a dead process left behind. In the store's
 * directory, temporary files of dead writers are removed (.D07.strata.*.tmp;
 * those of living ones are locked); they are not counted. And what
 * strata_orphans() finds of stores that are gone.
 * @return 0; STRATA_EACCES; STRATA_ETIMEDOUT; STRATA_EGONE; STRATA_ENOTSUP (no
 * membarrier: nothing can be reclaimed by this process); -errno (the readers
 * cannot be looked at: -EMFILE without descriptors, -EBUSY where users change
 * their segments of pins without end). All but the reclaiming is done even then.
 */
STRATA_API int strata_gc(struct strata_store *store,
			 struct strata_gc_report *out);

/**
 * Changes the hard limit.
 * @param limit bytes; at least what is reserved now, at most the store's
 * max_limit
 * @return 0; STRATA_ELIMIT; STRATA_EINVAL; STRATA_EACCES; STRATA_ETIMEDOUT;
 * STRATA_EGONE.
 */
STRATA_API int strata_limit(struct strata_store *store, uint64_t limit);

#ifdef __cplusplus
}
#endif

#endif /* STRATA_ADMIN_H */
