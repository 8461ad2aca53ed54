/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The RCU domain that spans processes: slots, pins, fences, scans, liveness. */
#ifndef STRATA_RCU_H
#define STRATA_RCU_H

#include <urcu/list.h>

#include "fence.h"
#include "space.h"

/*
 * A process takes its slots in chunks. What vouches for a chunk is an exclusive
 * OFD lock on its byte range of the pins segment, and what keeps the lock is
 * the mapping made through the locked descriptor: closefrom() cannot lose it,
 * children do not inherit it (MADV_DONTFORK), the kernel drops it at death.
 */
struct strata__chunk {
	struct cds_list_head node;
	struct strata__slot *slots; /* STRATA_CHUNK_SLOTS of them */
	void *map;                  /* the page they lie in */
	struct strata__pins_head *head; /* page 0, mapped likewise */
	uint64_t inode;             /* of the pins segment */
	uint32_t first;             /* which slot of it */
	uint32_t used;              /* bit per slot given out */
};

/* A pins segment of some user, as a scanning writer keeps it open. */
struct strata__pins_file {
	int fd; /* read-only: locks nothing; -1: this place is free */
	uint32_t owner; /* the kernel's word; a name may say another */
	uint64_t inode;
	bool listed; /* has its name still */
	bool lost;   /* the program closed the descriptor: not known to be gone */
	uint64_t life; /* another one whenever it is opened */
};

/* Segments of one owner that are followed at most, unlinked ones included. */
#define STRATA_PINS_FILES_PER_USER 16u

/* What a user has done while a scan was at it. */
struct strata__pins_tally {
	uint32_t owner;
	unsigned news;    /* segments that came or went */
	unsigned changes; /* passes behind which a counter had changed */
	bool has_changed; /* behind this pass */
};

/* So often a user is heard, of each of these: after that it is readers of his own
 * that he harms. */
#define STRATA_PINS_HEARD_MAX 64u

struct strata__rcu {
	struct strata__space *space;
	pthread_mutex_t mutex; /* chunks; rank: below the store's mutex */
	struct cds_list_head chunks;
	/* 0: the chunks are a parent's. In a page that every clone wipes: a pid
	 * may be the same in another namespace. NULL: there are no chunks. */
	unsigned char *mine;
	bool full_fence; /* readers of this process use a full barrier */
	bool can_fence;  /* the heavy fence can be had: who reclaims asks */

	/* Scanning side, under scan_mutex. */
	pthread_mutex_t scan_mutex;
	struct strata__pins_file *files;
	size_t nr_files;
	uint64_t lives; /* of files */
	struct strata__pins_tally *tallies; /* of this scan */
	size_t nr_tallies;
	bool no_tally; /* some are missing */
	int64_t listed_mtime_ns; /* of the folder at the last listing */
	bool listing_settled;    /* the listing was made well after that time */
	bool has_news;           /* a listing has found that one came or went */
	char *buffer;            /* one pins segment */
};

/* Brings rcu->files up to date, if the folder has changed. Under scan_mutex.
 * A file that came or went sets has_news, but for those of a user who goes on
 * with that. unreadable tells that the readers of a user cannot be looked at. */
int strata__pins_list(struct strata__rcu *rcu);
/* A scan begins with none. That of a user, or NULL: it is made for the other; NULL
 * there: no memory for it, and no_tally is set. Is what a user does for the n-th
 * time in a scan to be heard? */
void strata__pins_tallies_begin(struct strata__rcu *rcu);
const struct strata__pins_tally *
strata__pins_tally_of(const struct strata__rcu *rcu, uint32_t owner);
struct strata__pins_tally *strata__pins_tally(struct strata__rcu *rcu,
					      uint32_t owner);
bool strata__pins_is_heard(uint32_t owner, unsigned times);
int strata__pins_unreadable(uint32_t owner, int err);
/* Notes which descriptors the program has closed; is any lost now? */
bool strata__pins_mend(struct strata__rcu *rcu);
struct stat;
/* Does a scan follow that file? And would those of others follow ours? */
bool strata__pins_are_followed(const struct strata__geometry *geometry,
			       const struct stat *st);
bool strata__pins_will_be_followed(const struct strata__space *space,
				   const struct stat *st);

/* Has that file of the folder the name of a pins segment of the store? */
bool strata__pins_is_name(const struct strata__id *id, const char *file);
/*
 * For who finds no slot under the usual names of its user's segments: calls claim
 * with the names of others of its user, and if somebody else has one of the usual
 * ones and the user has less than its share of segments, with a new name. claim
 * returns 0, -EAGAIN (no slot is free in it), -EEXIST (it is none of ours), or
 * what it told; a segment that is not there it makes. Who may not wait does not
 * come again when others are at it. 0, -EAGAIN, or told.
 */
int strata__pins_elsewhere(struct strata__space *space, bool may_wait,
			   int (*claim)(const char *name, void *arg),
			   void *arg);

int strata__rcu_init(struct strata__rcu *rcu, struct strata__space *space);
void strata__rcu_fini(struct strata__rcu *rcu);

/* A slot for one reader; cleared, its display part filled in. Tells. */
int strata__slot_take(struct strata__rcu *rcu, struct strata__chunk **ret_chunk,
		      struct strata__slot **ret_slot);
void strata__slot_give(struct strata__rcu *rcu, struct strata__chunk *chunk,
		       struct strata__slot *slot);
/* A chunk that a fork's child is to inherit: mapped, and the mapping does
 * travel. The descriptor is closed already. */
int strata__chunk_claim(struct strata__rcu *rcu, bool inheritable,
			struct strata__chunk **ret_chunk);
void strata__chunk_drop(struct strata__chunk *chunk);
/* In a child: forgets the parent's chunks, whose mappings are not here. */
void strata__rcu_disown(struct strata__rcu *rcu);
/* Fills in the display part of a slot for this process. */
void strata__slot_sign(struct strata__slot *slot);

/* The heavy fence: every reader's CPU has passed a full barrier. 0, or
 * STRATA_ENOTSUP (told) when this process cannot. Letter B'. */
int strata__heavy_fence(struct strata__rcu *rcu);

static inline uint64_t
strata__pin_version(uint64_t pin)
{
	return pin & STRATA_VERSION_MAX;
}

/* A pin that a scan met. */
struct strata__pin {
	uint64_t word;
	uint64_t inode; /* of the file: its place may be another's later */
	uint32_t file, slot;
	int alive; /* -1: not asked yet */
	uint64_t retained_alone, retained; /* filled by who accounts */
};

/* All pins of the living, and some of the dead, sorted by version, as they were
 * after the heavy fence. Good for candidates that were fixed before it, and for
 * no others. Holds scan_mutex until done. */
struct strata__scan_file {
	uint64_t life;	    /* 0: nothing was followed there */
	uint64_t handovers; /* the counter, as the scan began */
	uint64_t asked_ns;  /* spent on asking who lives */
};

struct strata__scan {
	struct strata__rcu *rcu;
	struct strata__scan_file *files; /* as rcu->files, of those there then */
	size_t nr_files;
	struct strata__pin *pins;
	size_t nr, max;
	uint64_t readers; /* slots in use, by their own word */
	unsigned turns; /* notes that were made */
};
int strata__scan_take(struct strata__rcu *rcu, struct strata__scan *ret);
void strata__scan_done(struct strata__scan *scan);
/* Does a living reader's pin lie in [birth, retirement)? */
bool strata__scan_needs(struct strata__scan *scan, uint64_t birth,
			uint64_t retirement);
/* Adds bytes to the accounts of the living pins in [birth, retirement). */
void strata__scan_account(struct strata__scan *scan, uint64_t birth,
			  uint64_t retirement, uint64_t bytes);
bool strata__scan_alive(struct strata__scan *scan, struct strata__pin *pin);
/* What a pin's slot says of itself; 0 or -errno. */
int strata__scan_describe(struct strata__scan *scan,
			  const struct strata__pin *pin,
			  struct strata_reader_info *ret);
/* Reads all slots in use without a fence, for display: fn per slot. */
int strata__scan_each(struct strata__rcu *rcu,
		      int (*fn)(const struct strata__slot *slot,
				const struct strata__pin *pin,
				struct strata__scan *scan, void *arg),
		      void *arg);

/* Waits until every section open now has ended; see strata_synchronize(). */
int strata__rcu_synchronize(struct strata__rcu *rcu, int64_t timeout_ns);

#endif
