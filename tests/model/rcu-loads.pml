/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The RCU domain, where readers' loads are done in any order that is allowed. */

/*
 * What the CPU and the compiler may do to strata__inline_pin() and
 * strata_read_unlock() on a machine that reorders whatever C11 allows. The
 * operations of a section, in the order of the program:
 *
 *	VERSION   load of the version                  acquire
 *	PIN       store of the pin                     relaxed
 *	          light fence
 *	ROOT      load of the root                     acquire, and a fence
 *	VALIDATE  load of the version                  relaxed
 *	FOLLOW    loads of the tree                    plain
 *	UNLOCK    store of 0 to the pin                release
 *
 * Each is done at some moment of its own, by one memory for all. The orders that
 * bind these moments:
 *
 *	VERSION before all others, ROOT before all behind it: acquire. The
 *		fence says the same of ROOT once more: each of the two would do.
 *	UNLOCK after all others: release.
 *	VALIDATE before the next VERSION, PIN before UNLOCK before the next PIN:
 *		one location each.
 *
 * So FOLLOW may be done before VALIDATE, and what it found is thrown away with
 * the section that does not validate; PIN may arrive at any time; and all loads
 * of the next section but for these may be done while FOLLOW and UNLOCK of this
 * one still wait: a WINDOW of 2.
 *
 * The heavy fence falls between two instructions of the program: what is before
 * it has been done, what is behind it has not, not even early. The light fence
 * fixes for the compiler that PIN, and all of the sections before, are before
 * ROOT. What else C11 lets the compiler move is not fixed: so the heavy fence
 * may fall between FOLLOW and VALIDATE, in either order.
 *
 * PIN goes into the store buffer before ROOT, and arrives when it likes. If it
 * went there later nobody could tell, but for the heavy fence, which would have
 * to wait for it. Without the compiler barrier it goes there at any time.
 *
 * FOLLOW is one step, that looks at root and leaf at once. A reader that looks
 * at the root first has seen at that time what this one could have seen.
 */

#ifndef READERS
#define READERS 2
#endif
#ifndef WINDOW
#define WINDOW 1
#endif

#define NOTHING 255
byte waits[READERS] = NOTHING; /* the store that waits, as in rcu.pml */

typedef section {
	bit version_done, pin_done, root_done, validated, followed, unlocked;
	bit is_valid; /* what VALIDATE found */
	bit is_good;  /* what FOLLOW found */
	byte version, root;
#ifdef VERSION_RELAXED
	bit guess;
#endif
}
section sections[READERS * WINDOW];

#define this(r) sections[(r) * WINDOW]
#if WINDOW > 1
#define after(r) sections[(r) * WINDOW + 1]
#endif

#ifdef NO_COMPILER_BARRIER
#define is_pinned(r) (true)
#else
#define is_pinned(r) (this(r).pin_done)
#endif
#if WINDOW > 1
#define fence_ready(r) \
	((!this(r).root_done || is_pinned(r)) && !after(r).root_done)
#else
#define fence_ready(r) (true)
#endif
inline fence(r)
{
	if
	:: waits[r] != NOTHING -> pin[r] = waits[r]; waits[r] = NOTHING
	:: else
	fi
}

#include "rcu-writer.pml"

inline store_pin(word)
{
	waits[self] = (pin[self] == (word) -> NOTHING : (word));
	printf("reader %d: stores pin %d\n", self, word)
}

inline store_arrives(r)
{
	waits[r] != NOTHING ->
	pin[r] = waits[r];
	waits[r] = NOTHING;
	printf("memory: pin of reader %d is %d\n", r, pin[r])
}

proctype Memory()
{
end:	do
	:: atomic { store_arrives(0) }
#if READERS > 1
	:: atomic { store_arrives(1) }
#endif
	od
}

inline clear(x)
{
	x.version_done = 0;
	x.pin_done = 0;
	x.root_done = 0;
	x.validated = 0;
	x.followed = 0;
	x.unlocked = 0;
	x.is_valid = 0;
	x.is_good = 0;
#ifdef VERSION_RELAXED
	x.guess = 0;
#endif
	x.version = 0;
	x.root = 0
}

inline load_version(x)
{
	x.version_done = 1;
	x.version = version;
	printf("reader %d: version is %d\n", self, x.version)
}

inline load_root(x, i)
{
	x.root_done = 1;
	x.root = ROOT(i);
	printf("reader %d: root is block %d\n", self, x.root)
}

inline validate(x)
{
	x.validated = 1;
	x.is_valid = (version == x.version);
	printf("reader %d: version %d is %d still\n", self, x.version, version);
	judge(x)
}

inline follow(x)
{
	x.followed = 1;
	x.is_good = is_intact(x.version, x.root);
	printf("reader %d: follows block %d\n", self, x.root);
	judge(x)
}

/* Only what was both validated and followed matters; and what does not matter
 * any more is forgotten, to have fewer states. */
inline judge(x)
{
	assert(!(x.validated && x.is_valid && x.followed) || x.is_good);
	if
	:: x.validated && !x.is_valid ->
		x.followed = 0;
		x.is_good = 0;
		x.root = 0
	:: x.followed && !(x.validated && !x.is_valid) ->
		x.root = 0
	:: else
	fi;
	if
	:: x.validated && x.pin_done && (x.followed || !x.is_valid) ->
		x.version = 0
	:: else
	fi
}

#ifdef ROOT_RELAXED
#define may_validate(x) (x.version_done && !x.validated)
#else
#define may_validate(x) (x.version_done && x.root_done && !x.validated)
#endif
#define may_follow(x) \
	(x.version_done && x.root_done && !x.followed && \
	 !(x.validated && !x.is_valid))
#ifdef UNLOCK_RELAXED
#define may_unlock(x) \
	(x.pin_done && x.validated && x.is_valid && !x.unlocked)
#else
#define may_unlock(x) \
	(x.pin_done && x.validated && x.is_valid && !x.unlocked && x.followed)
#endif

/* Without acquire the CPU may guess which root will be wanted. */
#ifdef VERSION_RELAXED
#define fits_guess (!me.root_done || me.guess == version % 2)
#else
#define fits_guess (true)
#endif

#define me this(self)
#define next_one after(self)

/* What was not valid is done once more. */
inline try_again()
{
	if
	:: me.pin_done && me.root_done && me.validated && !me.is_valid ->
		clear(me);
		printf("reader %d: again\n", self)
	:: else
	fi
}

/* To the next section, of which some may have been done early. */
inline go_on()
{
	if
	:: me.unlocked && me.followed ->
		clear(me);
#if WINDOW > 1
		me.version_done = next_one.version_done;
		me.root_done = next_one.root_done;
		me.validated = next_one.validated;
		me.followed = next_one.followed;
		me.is_valid = next_one.is_valid;
		me.is_good = next_one.is_good;
		me.version = next_one.version;
		me.root = next_one.root;
		clear(next_one)
#endif
	:: else
	fi
}

/* One slot: the processes that have it, one after the other. */
proctype Reader(byte self)
{
free:	atomic { alive[self] = 1; printf("reader %d: takes its slot\n", self) };
	atomic { store_pin(0) };

	do
	:: atomic { !me.version_done && fits_guess -> load_version(me) }
	:: atomic { me.version_done && !me.pin_done ->
		me.pin_done = 1;
		store_pin(me.version);
		judge(me);
		try_again() }
	:: atomic { me.version_done && is_pinned(self) && !me.root_done ->
		load_root(me, me.version) }
#ifdef VERSION_RELAXED
	:: atomic { !me.version_done && !me.root_done -> load_root(me, 0) }
	:: atomic { !me.version_done && !me.root_done ->
		me.guess = 1;
		load_root(me, 1) }
#endif
	:: atomic { may_validate(me) -> validate(me); try_again() }
	:: atomic { may_follow(me) -> follow(me); go_on() }
	:: atomic { may_unlock(me) -> me.unlocked = 1; store_pin(0); go_on() }
#if WINDOW > 1
	:: atomic { me.validated && me.is_valid && !next_one.version_done ->
		load_version(next_one) }
	:: atomic { next_one.version_done && !next_one.root_done ->
		load_root(next_one, next_one.version) }
	:: atomic { may_validate(next_one) -> validate(next_one) }
	:: atomic { may_follow(next_one) -> follow(next_one) }
#endif
	:: goto dies
	od;

dies:	/* What it has stored is in memory when the kernel gives its lock away. */
	skip;
	d_step {
		if
		:: waits[self] != NOTHING ->
			pin[self] = waits[self];
			waits[self] = NOTHING
		:: else
		fi;
		alive[self] = 0;
		clear(me);
#if WINDOW > 1
		clear(next_one);
#endif
		printf("reader %d: dies, leaving pin %d\n", self, pin[self])
	};
	goto free
}

init {
	atomic {
		first_version();
		run Writer();
		run Memory();
		run Reader(0);
#if READERS > 1
		run Reader(1);
#endif
	}
}
