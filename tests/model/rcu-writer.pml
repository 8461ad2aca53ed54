/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The writers of the RCU domain; included by the models of its readers. */

/*
 * One process plays all writers, one after the other: whoever comes next knows
 * nothing but what is in shared memory, for the locals that are not shared are
 * forgotten at "died". That there is one at a time is what wlock.pml shows.
 * A writer may die after each store that another can see; dying between two of
 * them is dying after the first.
 *
 * The records (state, birth, retirement) and dirty are shared memory, too, but
 * of writers only. So they are locals of the process that plays the writers,
 * which tells spin that no reader can see a step that is done to them.
 *
 * A tree is a root block that names a leaf block. A commit replaces the root,
 * and the leaf or not: so there are blocks of one version and blocks of many.
 * More blocks, or more levels, would have the same intervals again. A block
 * says in which version it was written ("is"); a freed one says 0, as if the
 * bytes were overwritten at once. So what was reached once need not be taken
 * again: to who still follows it, it makes no difference what overwrites it.
 * And since blocks are alike, what the edit of version v takes are blocks
 * 2 (v - 1), the root, and 2 (v - 1) + 1, the leaf; what a dead writer took, and
 * nobody ever reached, is renamed to a block from LOST on. Lists and stacks of
 * blocks are hints, made anew from the records, and are left out: a candidate is
 * what is RETIRED.
 *
 * The writer's own store buffer is left out: between a store of a writer and
 * its next load of what readers store there always is the heavy fence, so a
 * store that waits is a writer that is slow.
 *
 * Who includes this gives READERS, fence_ready(r), fence(r): that a full barrier
 * can fall here in the program of reader r, and does.
 */

#ifndef VMAX
#define VMAX 3 /* versions, the first among them */
#endif
#ifndef DEATHS
#define DEATHS 1 /* of writers */
#endif
#define BLOCKS (2 * (VMAX + DEATHS))
#define LOST (2 * VMAX) /* from here on: what the dead took */

#define FREE 0
#define ALLOCATED 1
#define RETIRED 2

/**** what readers see ****/

byte version = 1;
byte roots[2] = 0; /* block 0 is the root of version 1, block 1 its leaf */

typedef content {
	byte is;      /* the version that wrote it; 0: overwritten */
	byte leaf;    /* of a root: which block */
	byte leaf_is; /* of a root: what is to be read there */
}
content blocks[BLOCKS];

/**** what readers say ****/

byte pin[READERS];   /* the version of it; section numbers are for sync.pml */
bit alive[READERS];  /* the kernel's lock on the slot is held */

#ifdef ONE_ROOT
#define ROOT(v) roots[0]
#else
#define ROOT(v) roots[(v) & 1]
#endif

/* That follows a root under the pin of v, and its leaf. */
#define is_intact(v, root) \
	(blocks[root].is == (v) && \
	 blocks[blocks[root].leaf].is == blocks[root].leaf_is)

#ifdef RETIRE_SMALL
#define RETIREMENT(v) ((v) - 1)
#else
#define RETIREMENT(v) (v)
#endif

/* Steps that no reader can see are joined by atomic{}; each way of dying between
 * them is there all the same. */
#define MAY_DIE \
	if \
	:: skip \
	:: deaths < DEATHS -> \
		deaths++; \
		printf("writer: dies\n"); \
		goto died \
	fi

#define root_of(v) (2 * ((v) - 1))
#define leaf_of(v) (2 * ((v) - 1) + 1)

inline take(block)
{
	birth[block] = next;
	MAY_DIE;
	state[block] = ALLOCATED;
	MAY_DIE
}

inline untake(block)
{
	state[block] = FREE;
	birth[block] = 0;
	blocks[block].is = 0;
	blocks[block].leaf = 0;
	blocks[block].leaf_is = 0;
	MAY_DIE
}

inline retire(block, at)
{
#ifdef STAMP_LATE
	state[block] = RETIRED;
	MAY_DIE;
	retirement[block] = RETIREMENT(at);
#else
	retirement[block] = RETIREMENT(at);
	MAY_DIE;
	state[block] = RETIRED;
#endif
	printf("writer: block %d is retired, [%d, %d)\n", block, birth[block],
	       retirement[block]);
	MAY_DIE
}

inline set_free(block)
{
	state[block] = FREE;
	birth[block] = 0;
	retirement[block] = 0;
	last[block] = 0;
	blocks[block].is = 0;
	blocks[block].leaf = 0;
	blocks[block].leaf_is = 0
}

#if READERS == 1
#define all_fenced (fenced[0])
#elif READERS == 2
#define all_fenced (fenced[0] && fenced[1])
#else
#define all_fenced (fenced[0] && fenced[1] && fenced[2])
#endif

/* One CPU after the other, in any order. */
inline heavy_fence()
{
#ifdef NO_HEAVY_FENCE
	skip
#else
	do
	:: atomic { !fenced[0] && fence_ready(0) -> fence(0); fenced[0] = 1 }
#if READERS > 1
	:: atomic { !fenced[1] && fence_ready(1) -> fence(1); fenced[1] = 1 }
#endif
#if READERS > 2
	:: atomic { !fenced[2] && fence_ready(2) -> fence(2); fenced[2] = 1 }
#endif
	:: atomic {
		all_fenced ->
		r = 0;
		do
		:: r < READERS -> fenced[r] = 0; r++
		:: else -> break
		od;
		r = 0;
		printf("writer: heavy fence\n");
		break
	}
	od
#endif
}

/* The horizon is there for comparison: nothing is freed that was retired after
 * the oldest pin. */
#ifdef HORIZON
#define lies_in(p, block) ((p) != 0 && (p) < retirement[block])
#else
#define lies_in(p, block) \
	((p) != 0 && birth[block] <= (p) && (p) < retirement[block])
#endif
/* By what is true, and not by what the record says. */
#define is_reached(v, block) \
	((block) < LOST && (v) >= (block) / 2 + 1 && (v) < last[block])

/* Forgets what lies in no candidate's interval, to have fewer states. */
inline look_at_pin()
{
	seen[r] = pin[r];
	printf("writer: reads pin %d of reader %d\n", seen[r], r);
	i = 0;
	do
	:: i < BLOCKS && !(state[i] == RETIRED && lies_in(seen[r], i)) -> i++
	:: else -> break
	od;
	if
	:: i == BLOCKS -> seen[r] = 0
	:: else
	fi;
	i = 0
}

/* The next candidate, if i is not one yet; r: a pin in its interval whose owner
 * has not been asked for, or is known to live; READERS: none. */
inline next_candidate()
{
	do
	:: i < BLOCKS && state[i] != RETIRED -> i++
	:: else -> break
	od;
	r = 0;
	do
	:: i < BLOCKS && r < READERS && !(lies_in(seen[r], i) && asked[r]) ->
		r++
	:: else -> break
	od;
	if
	:: i < BLOCKS && r == READERS ->
		r = 0;
		do
		:: r < READERS && !lies_in(seen[r], i) -> r++
		:: else -> break
		od
	:: else
	fi
}

/* The dead one's block i, which nobody has reached, becomes another one. */
inline rename_lost()
{
	if
	:: DEATHS > 0 && state[i] == ALLOCATED ->
		r = LOST;
		do
		:: state[r] != FREE -> r++
		:: else -> break
		od;
		state[r] = ALLOCATED;
		birth[r] = birth[i]
	:: else
	fi;
	set_free(i)
}

proctype Writer()
{
	/* Shared by writers. */
	byte state[BLOCKS];
	byte birth[BLOCKS];
	byte retirement[BLOCKS];
	bit dirty;
	/* Ghosts: the first version that did not reach a block any more; how
	 * many writers have died. */
	byte last[BLOCKS];
	byte deaths;
	/* Of one writer. */
	byte next, leaf, old_root, old_leaf;
	byte i, r;
	byte seen[READERS];
	bit asked[READERS];
	bit fenced[READERS];
#ifdef LATE_CANDIDATES
	bit has_fenced;
#endif
#ifdef OLD_LIVENESS
	bit was_alive[READERS];
#endif

	d_step {
		state[0] = ALLOCATED;
		birth[0] = 1;
		state[1] = ALLOCATED;
		birth[1] = 1
	};

begin:	/* The lock is had. Dirty stays if it was: this one's own work, too, is
	 * done before it is clean. */
#ifdef OLD_LIVENESS
	/* Asked once, before the commit that brings candidates. */
	atomic {
		r = 0;
		do
		:: r < READERS -> was_alive[r] = alive[r]; r++
		:: else -> break
		od;
		r = 0
	};
#endif
	atomic {
		if
		:: !dirty ->
			dirty = 1;
			MAY_DIE
		:: dirty ->
			printf("writer: recovers, version is %d\n", version);
			old_root = ROOT(version);
			old_leaf = blocks[old_root].leaf;
			i = 0;
#ifdef CLEAN_EARLY
			dirty = 0;
			MAY_DIE;
#endif
			do
			:: i < BLOCKS && state[i] == ALLOCATED &&
			   i != old_root && i != old_leaf ->
#ifdef RECOVERY_FREES
				printf("writer: recovery frees block %d\n", i);
				set_free(i);
				MAY_DIE;
#else
				retire(i, version);
#endif
				i++
			:: i < BLOCKS && (state[i] != ALLOCATED ||
			   i == old_root || i == old_leaf) -> i++
			:: i == BLOCKS -> break
			od;
			i = 0;
			old_root = 0;
			old_leaf = 0;
#ifdef RECLAIM_FIRST
			/* As lib/recover.c does, unless it cannot: for fewer
			 * states than where it may also be left out. */
			goto reclaim
#endif
		fi
	};
	if
	:: version < VMAX -> goto edit
	:: goto reclaim
	:: goto finish
	fi;

	/**** a commit ****/
edit:
#ifdef LATE_CANDIDATES
	/* One fence, and then the commit that brings the candidates. */
	heavy_fence();
	has_fenced = 1;
#endif
	atomic {
		next = version + 1;
		old_root = ROOT(version);
		old_leaf = blocks[old_root].leaf;
		take(root_of(next));
		if
		:: leaf = old_leaf /* stays */
		:: leaf = leaf_of(next);
			take(leaf);
			blocks[leaf].is = next
		fi;
		blocks[root_of(next)].is = next;
		blocks[root_of(next)].leaf = leaf;
		blocks[root_of(next)].leaf_is = blocks[leaf].is;
		MAY_DIE;
		if
		:: skip
		:: /* given up: nobody saw what was taken */
			if
			:: leaf != old_leaf -> untake(leaf)
			:: else
			fi;
			untake(root_of(next));
			goto changed
		fi;
#ifdef RETIRE_EARLY
		retire(old_root, next)
#endif
	};
#ifdef VERSION_FIRST
	atomic {
		version = next;
		printf("writer: version = %d\n", next);
		MAY_DIE
	};
#endif
	atomic {
		ROOT(next) = root_of(next);
		printf("writer: root of %d is block %d, its leaf block %d\n",
		       next, root_of(next), leaf);
		MAY_DIE
	};
	atomic {
#ifndef VERSION_FIRST
		version = next; /* COMMIT */
		printf("writer: version = %d\n", next);
#endif
		last[old_root] = next;
		if
		:: leaf != old_leaf -> last[old_leaf] = next
		:: else
		fi;
		MAY_DIE;
#ifdef BIRTH_RAISED
		/* As if the leaf were born in each version that has it. */
		if
		:: leaf == old_leaf -> birth[leaf] = next
		:: else
		fi;
#endif
#ifndef RETIRE_EARLY
		retire(old_root, next);
#endif
		if
		:: leaf != old_leaf -> retire(old_leaf, next)
		:: else
		fi
	};
changed:
	atomic {
		next = 0;
		leaf = 0;
		old_root = 0;
		old_leaf = 0
	};
	if
	:: goto reclaim
	:: goto finish
	fi;

	/**** a reclaim; the candidates are what is RETIRED now ****/
reclaim:
#ifdef LATE_CANDIDATES
	if
	:: !has_fenced -> heavy_fence()
	:: else
	fi;
#else
	heavy_fence();
#endif
	do
	:: atomic { r < READERS -> look_at_pin(); r++ }
	:: atomic { r == READERS -> next_candidate(); break }
	od;
	do
	:: atomic {
		/* First the pin was read, now the kernel is asked. */
		i < BLOCKS && r < READERS && !asked[r] ->
		asked[r] = 1;
		if
#ifdef OLD_LIVENESS
		:: was_alive[r]
		:: !was_alive[r] ->
#else
		:: alive[r]
		:: !alive[r] ->
#endif
			seen[r] = 0;
			printf("writer: reader %d is dead\n", r);
#ifdef FINDER_CLEARS
			goto clear
#endif
		fi;
		next_candidate()
	   }
	:: atomic {
		i < BLOCKS && r < READERS && asked[r] ->
		/* What is kept is kept for a version that reached it. */
		r = 0;
		do
		:: r < READERS && !is_reached(seen[r], i) -> r++
		:: else -> break
		od;
		assert(r < READERS);
		i++;
		next_candidate()
	   }
	:: atomic {
		i < BLOCKS && r == READERS ->
		/* Nothing that the current root reaches. */
		assert(i != ROOT(version) && i != blocks[ROOT(version)].leaf);
		printf("writer: frees block %d\n", i);
		set_free(i);
		MAY_DIE;
		next_candidate()
	   }
#ifdef FINDER_CLEARS
	:: false ->
clear:		atomic {
			pin[r] = 0;
			printf("writer: clears the pin of reader %d\n", r);
			next_candidate()
		}
#endif
	:: i == BLOCKS -> break
	od;

	/**** the end ****/
finish:	/* What the current version does not reach is on its way to be free. */
	atomic {
		i = 0;
		do
		:: i < BLOCKS ->
			assert((state[i] == ALLOCATED) ==
			       (i == ROOT(version) ||
				i == blocks[ROOT(version)].leaf));
			i++
		:: else -> break
		od;
		dirty = 0
	};
died:	/* or gave back the lock: what was not shared is forgotten */
	atomic {
		next = 0;
		leaf = 0;
		old_root = 0;
		old_leaf = 0;
		i = 0;
		do
		:: i < LOST && (i < root_of(version + 1) ||
				i > leaf_of(version + 1)) -> i++
		:: i < LOST && i >= root_of(version + 1) &&
		   i <= leaf_of(version + 1) ->
			rename_lost();
			i++
		:: i == LOST -> break
		od;
		i = 0;
		r = 0;
		do
		:: r < READERS ->
			seen[r] = 0;
			asked[r] = 0;
			fenced[r] = 0;
#ifdef OLD_LIVENESS
			was_alive[r] = 0;
#endif
			r++
		:: else -> break
		od;
#ifdef LATE_CANDIDATES
		has_fenced = 0;
#endif
		r = 0
	};
	goto begin
}

inline first_version()
{
	d_step {
		blocks[0].is = 1;
		blocks[0].leaf = 1;
		blocks[0].leaf_is = 1;
		blocks[1].is = 1
	}
}
