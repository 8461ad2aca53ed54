/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What lies in shared memory, to the byte; docs/format.md is its prose. */
#ifndef STRATA_LAYOUT_H
#define STRATA_LAYOUT_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "os.h"
#include "strata/strata.h"

/*
 * Atomics here are shared between processes: they must be lock-free, and have
 * the layout of the plain types. Each names its order where it is used; the
 * letters are in docs/ordering.md.
 */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "32-bit atomics must be lock-free");
_Static_assert(sizeof(_Atomic uint64_t) == 8, "atomics are as large as plain");

#define STRATA_LAYOUT_MAJOR 2
/* 1: whoever makes a store holds STRATA_LOCK_MAKING.
 * 2: commits say whose they are (struct strata__author).
 * 3: the number in a name of pins need not be their user's (pins-own.c).
 * 4: loads and their like are counted by their commits (struct strata__deed),
 * and grace periods are timed (struct strata__graces). */
#define STRATA_LAYOUT_MINOR 4

#define STRATA_MAGIC UINT64_C(0x0a61746172745301) /* "\1Strata\n" */

enum strata__kind {
	STRATA_KIND_CATALOG = 1,
	STRATA_KIND_POOL = 2,
	STRATA_KIND_REGION = 3,
	STRATA_KIND_PINS = 4,
	STRATA_KIND_LOCK = 5,
};

/* First bytes of every segment; of a region, first bytes of its last page. */
struct strata__head {
	uint64_t magic; /* stamped last */
	uint32_t layout_major, layout_minor;
	uint32_t kind;  /* enum strata__kind */
	uint32_t index; /* class of a pool, index of a region, uid of pins */
	struct strata__id store_id;
	struct strata__id boot_id;
	uint64_t generation; /* of a region: as in the segment table; else 1 */
	uint64_t size;       /* of the segment when made, bytes */
};
_Static_assert(sizeof(struct strata__head) == 72, "shared layout");

/**** catalog ****/

/* One size class; fixed at creation. */
struct strata__class {
	uint64_t block_size; /* what the user asked for */
	uint64_t stride;     /* distance of blocks: size, coloured */
	uint64_t max_size;   /* bytes of blocks at the first limit */
	uint64_t nr_blocks;  /* state records: blocks at the largest limit */
	uint64_t place;      /* of the segment in the window */
	uint64_t map_size;   /* of the segment at its largest */
	uint64_t records;    /* offset in the catalog: struct strata__record[] */
	uint64_t free_stack; /* offset in the lock segment: uint32_t[] */
};

/* Page 0 of the catalog, after the head; never changes after creation. */
struct strata__geometry {
	uint64_t catalog_size, lock_size, pins_size;
	uint64_t first_limit, max_limit;
	uint64_t window_size;
	uint64_t region_base, region_size; /* where regions have their places */
	uint64_t segments;   /* offset in the catalog: struct strata__segment[] */
	uint64_t retired;    /* offset in the lock segment: uint32_t[] */
	uint64_t created_ns; /* CLOCK_REALTIME */
	uint32_t nr_segments;
	uint32_t nr_classes;
	uint32_t readers;    /* slots of one pins segment */
	uint32_t membarrier; /* 0: readers use full barriers instead */
	uint32_t huge_pages; /* enum strata_huge_pages */
	uint32_t owner, group, mode;
	struct strata__class classes[STRATA_CLASSES_MAX];
	char name[STRATA_STORE_NAME_MAX + 1];
};

/* What every read lock looks at: one cache line, written by commits only. */
struct strata__hot {
	/* Number of commits, STRATA_VERSION_DEAD once destroyed. The store of
	 * a new version is the commit point. Letters A, C. */
	alignas(64) _Atomic uint64_t version;
	/* Tagged reference of the root of version v in roots[v & 1]. */
	_Atomic uint64_t roots[2];
	/* Raised before the version of a commit that publishes a region. */
	_Atomic uint64_t segment_epoch;
	/* Futex of strata_wait(): changes with every commit. */
	_Atomic uint32_t commit_counter;
	uint32_t unused[7];
};
_Static_assert(sizeof(struct strata__hot) == 64, "one cache line");

#define STRATA_VERSION_DEAD (UINT64_C(1) << 63)
/* Versions have 48 bits: a pin is a version and 16 bits of section number. */
#define STRATA_VERSION_BITS 48
#define STRATA_VERSION_MAX ((UINT64_C(1) << STRATA_VERSION_BITS) - 1)

/* Written under the writer lock, relaxed; read by anybody for display. Those of
 * the first group are truth for the writers' decisions and recomputed at
 * recovery. */
struct strata__class_counters {
	_Atomic uint64_t grown;   /* blocks with memory behind them */
	_Atomic uint64_t live;    /* blocks allocated */
	_Atomic uint64_t retired; /* blocks retired, not yet reclaimed */
	_Atomic uint64_t peak;    /* most of live + retired */
	_Atomic uint64_t failed, spilled;
	_Atomic uint64_t nr_free; /* height of the free stack */
	_Atomic uint64_t slack;   /* bytes that blocks committed had too many */
};

struct strata__counters {
	_Atomic uint64_t limit;
	_Atomic uint64_t reserved;     /* never above limit */
	_Atomic uint64_t region_bytes; /* segments: building to dying */
	_Atomic uint64_t region_retired_bytes;
	_Atomic uint64_t nr_retired;   /* height of the retired list */
	_Atomic uint64_t next_generation;
	_Atomic uint64_t segments_high; /* no used index is at or above it */
	_Atomic uint64_t allocations, deallocations;
	_Atomic uint64_t failures_class, failures_limit, failures_shm;
	_Atomic uint64_t commits, loads, reloads, unloads, crystallizations;
	_Atomic uint64_t recoveries, grace_periods, reclaimed;
	_Atomic uint64_t peak_readers;
	struct strata__class_counters classes[STRATA_CLASSES_MAX];
};

/* When versions came: two rings, a fine and a coarse one, so that the age of an
 * old pin can be told without a clock in the read lock. */
#define STRATA_AGES 128
struct strata__age {
	_Atomic uint64_t version;
	_Atomic uint64_t realtime_ns;
};
struct strata__ages {
	_Atomic uint64_t nr[2]; /* ever written; the newest is at (nr - 1) % AGES */
	struct strata__age rings[2][STRATA_AGES];
};

/* Whose a commit was, by the word of its writer; a ring, for display. Of
 * version v it is that of v % AUTHORS, if that says v. A writer of minor layout 1
 * leaves it as it is, one that dies between a commit and its note likewise. */
#define STRATA_AUTHORS 32
struct strata__author {
	alignas(64) _Atomic uint64_t version; /* 0: being written. Letter W */
	_Atomic uint64_t realtime_ns;
	_Atomic uint32_t uid, pid;
	_Atomic uint64_t pid_namespace;
	_Atomic uint64_t name[4]; /* a text, then zeroes */
};
_Static_assert(sizeof(struct strata__author) == 64, "one cache line");

/* What a commit is, besides a commit: noted before it, counted and erased behind
 * it, so that recovery counts what a dead writer committed. */
enum strata__deed_kind {
	STRATA_DEED_NONE = 0,
	STRATA_DEED_LOAD = 1,
	STRATA_DEED_RELOAD = 2,
	STRATA_DEED_UNLOAD = 3,
	STRATA_DEED_CRYSTALLIZE = 4,
};
struct strata__deed {
	_Atomic uint64_t version; /* of the commit; 0: nothing is noted */
	_Atomic uint64_t kind;    /* enum strata__deed_kind */
	_Atomic uint64_t after;   /* its counter, once it is counted */
};
_Static_assert(sizeof(struct strata__deed) == 24, "shared layout");

/* How long grace periods were, for display. The bounds are powers of ten, from
 * 10 us on; the last number is of those above all bounds. */
struct strata__graces {
	_Atomic uint64_t total_ns, longest_ns, last_ns;
	_Atomic uint64_t nr[STRATA_GRACE_BUCKETS];
};

/* States of blocks and segments. */
enum strata__state {
	STRATA_FREE = 0,
	STRATA_BUILDING = 1,  /* segments: somebody fills it under its lock, or it
				 is left over */
	STRATA_ALLOCATED = 2, /* reachable, or being made so by a commit */
	STRATA_RETIRED = 3,   /* older versions may reach it */
	STRATA_DYING = 4,     /* segments: nobody reaches it, being truncated */
};

/*
 * State of one block (or run of blocks: the record of the first speaks for all,
 * those behind it are not looked at) or of one segment: the only truth.
 * Written under the writer lock, in the order that docs/design.md gives:
 * birth before ALLOCATED; retirement before RETIRED; freeing is the one store
 * of the state.
 */
struct strata__record {
	_Atomic uint64_t birth;      /* first version that reaches it */
	_Atomic uint64_t retirement; /* first that does not, if RETIRED */
	_Atomic uint32_t state;      /* enum strata__state */
	_Atomic uint32_t run;        /* blocks; 1 for segments */
	_Atomic uint64_t generation; /* counts its lives */
};
_Static_assert(sizeof(struct strata__record) == 32, "shared layout");

/* A region's segment. */
struct strata__segment {
	struct strata__record record;
	_Atomic uint64_t place;      /* in the window */
	_Atomic uint64_t size;       /* bytes, whole pages, with the trailer */
	_Atomic uint64_t image_size; /* bytes of the image at its front */
	_Atomic uint32_t dimension;
	_Atomic uint32_t large_pages; /* of 2 MiB, when it was built */
};
_Static_assert(sizeof(struct strata__segment) == 64, "one cache line");

struct strata__catalog {
	struct strata__head head;
	struct strata__geometry geometry;
	alignas(4096) char directory[4096]; /* absolute path, "" for none */
	alignas(4096) struct strata__hot hot;
	/* Not on the line that is fetched along with the hot one. */
	alignas(128) struct strata__counters counters;
	struct strata__ages ages;
	struct strata__author authors[STRATA_AUTHORS];
	struct strata__deed deed;
	struct strata__graces graces;
	/* then, at the offsets that geometry gives: segments, records */
};
_Static_assert(sizeof(struct strata__catalog) == 16384,
	       "minor layouts are as large as the first");
_Static_assert(sizeof(struct strata__head) + sizeof(struct strata__geometry) <=
		       4096,
	       "head and geometry share page 0");

/**** pools ****/

/* Blocks begin after the first page of a pool segment, which has the head. */
#define STRATA_POOL_BLOCKS STRATA_PAGE
#define STRATA_POOL_STEP (UINT64_C(2) << 20)
/* Blocks of 16 KiB and more are this much longer than their size: an odd number
 * of lines, so that they spread over the cache; room for usual metadata. */
#define STRATA_BLOCK_SLACK (5 * 64)
/* Nodes, too, are an odd number of lines apart: what lookups touch in them lies
 * at the same offsets, and would share a few sets of the cache. */
#define STRATA_NODE_SLACK (3 * 64)
/* Node blocks that only removals may take, so that space can be freed. */
#define STRATA_NODE_RESERVE 64

/**** pins ****/

#define STRATA_SLOT_SAMPLES 6u

/* A reader's slot. Line 0 is written at every lock and unlock. */
struct strata__slot {
	/* Version and section number; 0 outside of a section. Letters B, D. */
	alignas(128) _Atomic uint64_t pin;
	_Atomic uint64_t sections; /* entered so far */
	/* A ring of lookups, for display (heat.h); 0: none. */
	_Atomic uint64_t samples[STRATA_SLOT_SAMPLES];
	/* For display only, written when the slot is taken. */
	_Atomic uint32_t in_use;
	uint32_t pid;
	uint64_t pid_namespace;
	char name[32];
	_Atomic uint64_t sampled_ns; /* CLOCK_REALTIME of the newest sample */
	uint64_t unused;
};
_Static_assert(sizeof(struct strata__slot) == 128, "two lines");

/* Page 0 of a pins segment. */
struct strata__pins_head {
	struct strata__head head;
	/* Raised by a process of this user that hands sections over to a child,
	 * when the child's pins are set and the parent's still stand: a scan
	 * during which it changed may have missed both. Letter K. */
	alignas(128) _Atomic uint64_t handovers;
};

#define STRATA_PINS_SLOTS STRATA_PAGE /* offset of slot 0 in a pins segment */
#define STRATA_CHUNK_SLOTS 4u         /* slots that one lock vouches for */
#define STRATA_PINS_SUFFIXES 4u       /* pins segments of one uid at most */

/**** lock ****/

#define STRATA_WRITERS 256u

/* A writing process; it lives as long as the lock on its byte is held. */
struct strata__writer_slot {
	alignas(128) _Atomic uint32_t incarnation;
	uint32_t pid;
	uint64_t pid_namespace;
	char name[32];
};
_Static_assert(sizeof(struct strata__writer_slot) == 128, "two lines");

struct strata__lock {
	struct strata__head head;
	/* Futex: 0 free; else waiters bit, slot number + 1, incarnation. */
	alignas(64) _Atomic uint32_t word;
	/* 1 between dirty and clean: recovery is needed if its setter dies. */
	_Atomic uint32_t dirty;
	_Atomic uint64_t since_ns; /* CLOCK_REALTIME of the acquisition */
	alignas(4096) struct strata__writer_slot writers[STRATA_WRITERS];
	/* then, at the offsets that geometry and its classes give: retired list,
	 * free stacks. Hints: rebuilt from the records at recovery. */
};

/* Bytes far behind the end of the lock segment that carry locks only. */
#define STRATA_LOCK_WRITER(slot) ((UINT64_C(1) << 40) + (slot))
#define STRATA_LOCK_DIMENSION(id) ((UINT64_C(1) << 41) + (id))
/* Held by whoever makes the store until it has its catalog, or removes what is
 * left of one that has none. */
#define STRATA_LOCK_MAKING (UINT64_C(1) << 42)

/* An item of the retired list: a block (its class) or a segment. */
#define STRATA_RETIRED_SEGMENT 15u
#define STRATA_RETIRED_ITEM(class_, index) ((uint32_t)(class_) << 28 | (index))

/**** tree ****/

/*
 * References are offsets in the window. Those in the roots and in directory
 * nodes carry the height of what they point to in their low 6 bits.
 *
 * root (a node of 512 references): height 0: slot = dimension number
 *                                  height 1: slots are directory nodes
 * dimension node, height 0: places and entries of layers 0 to 47
 *                 height 1: leaves of 64 entries, 256 of them
 *                 height 2, 3: one, two levels of 512 references between
 */
#define STRATA_NODE_SIZE 4096u
#define STRATA_NODE_SLOTS 512u
#define STRATA_LEAF_ENTRIES 64u
#define STRATA_INLINE_ENTRIES 48u
#define STRATA_DIMENSION_CHILDREN 256u
#define STRATA_DIMENSION_HEIGHT_MAX 3u
#define STRATA_REF_TAG UINT64_C(63)

struct strata__node {
	_Atomic uint64_t slots[STRATA_NODE_SLOTS];
};

struct strata__leaf {
	struct strata_entry entries[STRATA_LEAF_ENTRIES];
};

#define STRATA_DIMNODE_MAGIC UINT32_C(0x446e6f64)
enum strata__dimension_flags {
	STRATA_DIMENSION_IMMUTABLE = 1u << 0,
};

/* Where the content of an entry is, apart from it: four to a line. */
struct strata__place {
	uint64_t content; /* reference; 0: no such layer */
	uint64_t size;    /* bytes */
};

struct strata__dimnode {
	uint32_t magic;
	uint32_t id;
	uint32_t height;
	uint32_t flags; /* enum strata__dimension_flags */
	uint64_t nr_layers;
	uint64_t nr_protos;
	uint64_t content_bytes;
	uint64_t version; /* of the commit that changed it last */
	double frequency_min, frequency_max;
	uint64_t region_generation;
	uint64_t region_bytes;  /* size of the image */
	uint32_t region;        /* 1 + index in the segment table; 0: none */
	uint32_t region_layers; /* layers that the image has */
	char name[STRATA_DIMENSION_NAME_MAX + 1];
	uint64_t unused[5];
	union {
		struct {
			/* Says the same as the entries, which are four times
			 * as large: whoever wants contents only, touches a
			 * quarter of the lines. */
			struct strata__place places[STRATA_INLINE_ENTRIES];
			struct strata_entry entries[STRATA_INLINE_ENTRIES];
		};
		uint64_t children[STRATA_DIMENSION_CHILDREN];
	} u;
};
_Static_assert(sizeof(struct strata_entry) == 64, "one cache line");
_Static_assert(sizeof(struct strata__leaf) == STRATA_NODE_SIZE, "one block");
_Static_assert(sizeof(struct strata__node) == STRATA_NODE_SIZE, "one block");
_Static_assert(offsetof(struct strata__dimnode, u) == 256, "four lines");
_Static_assert(offsetof(struct strata__dimnode, u.entries) == 1024, "sixteen");
_Static_assert(sizeof(struct strata__dimnode) == STRATA_NODE_SIZE, "one block");

#endif
