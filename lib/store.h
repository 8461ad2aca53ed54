/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The handle of an attached store, and what the upper rooms share. */
#ifndef STRATA_STORE_H
#define STRATA_STORE_H

#include "fence.h"
#include "rcu.h"
#include "spare.h"
#include "tree.h"
#include "wlock.h"

/*
 * The library's own read path is that of programs that inline it. But tests can
 * stop it, and leave things out of it.
 */
#define STRATA__INLINE_LIBRARY       1
#define STRATA__INLINE_POINT(name)   STRATA_TESTPOINT(name)
#define STRATA__INLINE_NO_VALIDATION STRATA_BROKEN(STRATA_NO_VALIDATION)

static inline void
strata__inline_light_fence(int full)
{
	strata__light_fence(full != 0);
}

static inline void
strata__inline_acquire_fence(void)
{
	strata__fence_acquire();
}

#include "strata/inline.h"

/*
 * Ranks of mutexes, taken in this order only: wlock's, the stores list's
 * (fork.c; dimension.c takes it under the writer lock), store's mutex, rcu's
 * scan_mutex, rcu's mutex, space's map_mutex. A fork takes all but the first.
 */
struct strata_store {
	struct cds_list_head node; /* list of this process's stores */
	char name[STRATA_STORE_NAME_MAX + 1];
	struct strata__space space;
	struct strata__rcu rcu;
	struct strata__wlock wlock;

	pthread_mutex_t mutex; /* pages of handles, counts below */
	/* A page that a fork wipes: 1 in who attached; and rcu.mine. */
	uint8_t *ours;
	void *first_handles; /* the page behind it, until it has handles */
	struct cds_list_head reader_pages;
	struct cds_list_head heirs; /* chunks made for the child of a fork */
	unsigned nr_readers;
	_Atomic unsigned nr_txns; /* open ones */
	_Atomic bool has_flavor;

	/* Writing; under the writer lock. */
	struct strata__edit edit;
	_Atomic(void *) session_thread; /* of the open session, or NULL */
	bool session_locked; /* it has the lock, and did not yield it */
	uint64_t last_look_ns; /* the tick in which the name was looked at */
	unsigned commits_since_reclaim;
	uint64_t retired_mark; /* retired bytes that the last reclaim left */
	uint64_t last_wake_ns;
	uint32_t last_woken; /* the commit counter that was told to waiters */
	/* Who is told of pressure (pressure.c); told: of which level. */
	void (*pressure_fn)(struct strata_store *store,
			    enum strata_pressure before,
			    enum strata_pressure now, void *arg);
	void *pressure_arg;
	enum strata_pressure pressure_told; /* of who looks */
	_Atomic unsigned pressure_looks;    /* wished for; 0: nobody looks */
	uint32_t *dying; /* indices of segments to be buried after unlock */
	size_t nr_dying, max_dying;
	struct strata__spare spare;
	bool wants_spare; /* the next reclaim may keep one */
};

/* A thread, as cheaply as can be told. */
static inline void *
strata__thread(void)
{
	return strata__inline_thread();
}

/**** readers (reader.c, handles.c, fork.c) ****/

/* The handle itself, and the usual way through it, are in strata/inline.h. */
enum strata__slow {
	STRATA_SLOW_UNMAPPED = 1 << 0, /* some regions are not mapped here */
	STRATA_SLOW_SAMPLED = 1 << 1,  /* a lookup is to be noted (heat.c) */
};
_Static_assert(sizeof(struct strata_reader) == 128, "two lines");
_Static_assert(offsetof(struct strata_reader, window) == 0 &&
		       offsetof(struct strata_reader, way) == 8,
	       "what programs look at, whatever they were compiled with");
#define handle_has(member, at) (offsetof(struct strata_reader, member) == (at))
_Static_assert(STRATA_INLINE_ABI == 1 && handle_has(idle_way, 12) &&
		       handle_has(hot, 16) && handle_has(slot, 24) &&
		       handle_has(pin, 32) && handle_has(top, 40) &&
		       handle_has(epoch, 48) && handle_has(sample_at, 56) &&
		       handle_has(thread, 64) &&
		       offsetof(struct strata_entry, flags) == 56,
	       "what programs of that number look at");
#undef handle_has

#define STRATA_PAGE_READERS (STRATA_PAGE / sizeof(struct strata_reader))

/* A page of handles, wiped in children, and what survives a fork beside it. */
struct strata__reader_page {
	struct cds_list_head node;
	struct strata_reader *readers; /* STRATA_PAGE_READERS of them */
	uint32_t used;                 /* bit per handle that is open */
	/* Sections that the child of a fork continues; see fork.c. */
	uint32_t inherited_mask;
	struct strata_reader inherited[STRATA_PAGE_READERS];
};

/* Tagged reference of the root that an open section has. */
static inline uint64_t
strata__reader_root(const struct strata_reader *reader)
{
	return (uintptr_t)reader->top - (uintptr_t)reader->window;
}

/* To be called when slow, nested or full_fence has changed, or a section has
 * begun or ended, but for the usual way in and out: what may be done without
 * looking at these, by us or by inlined code. */
static inline void
strata__reader_ways(struct strata_reader *reader)
{
	reader->idle_way = reader->full_fence || reader->slow != 0
		? STRATA__WAY_CALL
		: STRATA__WAY_LOCK;
	if (reader->pin == 0)
		reader->way = reader->idle_way;
	else
		reader->way = reader->nested == 0 && reader->slow == 0 &&
				(strata__reader_root(reader) &
				 STRATA_REF_TAG) == 0
			? STRATA__WAY_READ
			: STRATA__WAY_CALL;
}

/* After a fork: gives the handle a slot of this process. */
int strata__reader_revive(struct strata_reader *reader);
void strata__readers_close(struct strata_store *store);

/* Was the handle attached by the parent of this process? Also when the fork
 * handlers did not run, as after a plain clone. */
bool strata__is_forked(struct strata_store *store);
/* Is this thread inside of a section, by whichever handle? */
bool strata__is_inside(struct strata_store *store);

/* The process's list of stores and its fork handlers (fork.c). */
int strata__fork_handlers(void);
void strata__stores_add(struct strata_store *store);
void strata__stores_remove(struct strata_store *store);
void strata__stores_lock(void);
void strata__stores_unlock(void);
extern struct cds_list_head strata__stores;

/**** pressure (pressure.c) ****/

/* At the end of public functions, with no lock but a session's: has a threshold
 * been crossed? Then the watch is told. The last error stays. */
void strata__pressure_look(struct strata_store *store);

/**** writing (write.c, recover.c, reclaim.c) ****/

/* Is the handle attached for writing, by this process? Tells STRATA_EACCES,
 * STRATA_EFORK. */
int strata__check_writer(struct strata_store *store);
/* Was it destroyed? */
bool strata__is_dead(const struct strata_store *store);
/* Lets go of the lock that a session of this thread keeps, before waiting for
 * somebody who may need it. The session takes it again at its next commit. */
void strata__session_yield(struct strata_store *store);
/* Takes the writer lock (unless a session of this thread has it), recovers what
 * a dead writer left, sets dirty. Tells STRATA_EACCES, STRATA_EFORK,
 * STRATA_EGONE, STRATA_ETIMEDOUT, STRATA_ECORRUPT. */
int strata__write_begin(struct strata_store *store);
/* Clean, unlock; then wakes waiters of new versions and buries the dying. */
void strata__write_end(struct strata_store *store);
/* Does that in between; once more, if it was short of room while something was
 * dying, whose bytes come with the end of the first time. */
int strata__write_twice(struct strata_store *store,
			int (*what)(struct strata_store *store, void *arg),
			void *arg);
/* Makes a version so: of what apply does to an edit, which is aborted if that
 * fails. After a shortage room is made, and apply begins anew; if that does not
 * help, who keeps the room is told. Behind the commit, under the lock still,
 * committed reclaims as much as is due. */
struct strata__write {
	int (*apply)(struct strata__edit *edit, void *arg);
	void (*committed)(struct strata_store *store, void *arg);
};
int strata__write(struct strata_store *store, const struct strata__write *write,
		  void *arg, uint64_t *ret_version);

/* Under the writer lock, dirty. Makes consistent what a dead writer left. */
int strata__recover(struct strata_store *store);
/* Under the writer lock, dirty. Frees what no reader needs. Segments go to the
 * dying list of the handle. Returns bytes freed; what is kept is told by the
 * counters. STRATA_ENOTSUP: nothing was done. */
int strata__reclaim(struct strata_store *store, uint64_t *ret_freed);
/* The same state. A spare that was kept is doomed. */
void strata__spare_give_up(struct strata_store *store);
/* Under the writer lock, dirty: finishes what dead builders and buriers of
 * segments left, and gives up spares. At once, which takes milliseconds; and with
 * the end of the write, outside of the lock. */
void strata__sweep_segments(struct strata_store *store);
void strata__doom_leftovers(struct strata_store *store);
/* Under the writer lock, dirty, after that refusal for want of room, which stays
 * told: reclaims, dooms what is left over, shrinks the pools. Returns the bytes
 * that are free now; those of segments come with the end of the write. */
uint64_t strata__make_room(struct strata_store *store, int code);
/* The same state, when that refusal is the last word: gives back what the pools
 * have grown for it, and appends to the error which reader retains most, if any
 * does. */
void strata__refuse(struct strata_store *store, int code);
/* Is that error one that reclaiming may mend? */
static inline bool
strata__is_shortage(int code)
{
	return code == STRATA_ECLASS || code == STRATA_ELIMIT ||
	       code == STRATA_ESHM;
}

/* Unlinks what a dimension holds: protos' blocks, its region, its nodes. */
int strata__edit_drop_dimension(struct strata__edit *edit, uint32_t dimension);

/**** regions (dimension.c, load.c, crystallize.c) ****/

/* The lock of one dimension's load, reload, unload and crystallise. */
struct strata__dimension_lock {
	void *guard;
};
int strata__dimension_lock(struct strata_store *store, uint32_t dimension,
			   struct strata__dimension_lock *ret);
void strata__dimension_unlock(struct strata__dimension_lock *lock);

/* Reserves a segment for an image; reclaims and tries once more if need be. */
int strata__building_begin(struct strata_store *store, uint32_t dimension,
			   uint64_t image_size,
			   struct strata__building *ret);
void strata__building_abort(struct strata_store *store,
			    struct strata__building *building);

/* What a dimension looks like for the API. */
void strata__dimension_fill(const struct strata__dimnode *node,
			    struct strata_dimension *ret);

#endif
