/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The RCU domain, with the readers' store buffers. */

/*
 * strata__inline_pin() and strata__inline_leave() of lib/strata/inline.h on a
 * machine like x86: loads and stores are done in the order of the program, but stores wait in
 * a buffer for as long as they like. The compiler barrier is what keeps the
 * store of the pin where it is written; the heavy fence empties the buffer of
 * one CPU after the other, between any two steps of its reader.
 *
 * A buffer is one store, and a later one takes its place. That is as good as a
 * buffer of any length: readers store to nothing but their pin, a scan reads
 * each pin once after its fence, and that fence has emptied the buffers. So all
 * that a longer one could do is to show, at that one look, a store that others
 * have followed; here it has left in time, and what is behind it waits.
 *
 * A reader is a slot, and the processes that have it one after the other: each
 * may die anywhere, with its pin left behind, and the next may take the slot at
 * any time, also while a scan is under way. Nobody is stopped in so many words:
 * to be stopped for ever is to make no step any more, and that is among what
 * may happen. A section is followed again and again, at each moment of its life.
 *
 * Left out: section numbers (sync.pml), what a user who overwrites his own pins
 * can do to himself, the listing of segments (one that is made after the listing
 * is of readers whose pins come after the fence, as is a slot that is taken
 * behind the scan), forks (fork.pml).
 *
 * FULL_FENCE is the store that was made without membarrier: each reader has a
 * full fence after its pin, and the writer's empties no buffer but its own.
 * Where both kinds of readers are, those with the full fence do what the others
 * may do.
 */

#ifndef READERS
#define READERS 2
#endif

#define NOTHING 255
byte waits[READERS] = NOTHING; /* the store in the buffer */
/* Ghost: between the claim and the clearing of a slot, in a section, or on the
 * way into one, by the program and not by what is in memory. */
bit busy[READERS];

inline arrive(r)
{
	pin[r] = waits[r];
	waits[r] = NOTHING
}

#define fence_ready(r) (true)
inline fence(r)
{
#ifdef FULL_FENCE
	skip
#else
	if
	:: waits[r] != NOTHING -> arrive(r)
	:: else
	fi;
	/* Who is in no section holds nothing back. */
	assert(busy[r] || !alive[r] || pin[r] == 0)
#endif
}

#include "rcu-writer.pml"

/* What is there already need not wait. */
inline store_pin(word)
{
	waits[self] = (pin[self] == (word) -> NOTHING : (word));
	printf("reader %d: stores pin %d\n", self, word)
}

inline store_arrives(r)
{
	waits[r] != NOTHING ->
	arrive(r);
	printf("memory: pin of reader %d is %d\n", r, pin[r])
}

/* Stores leave the buffers when they like. */
proctype Memory()
{
end:	do
	:: atomic { store_arrives(0) }
#if READERS > 1
	:: atomic { store_arrives(1) }
#endif
#if READERS > 2
	:: atomic { store_arrives(2) }
#endif
	od
}

proctype Reader(byte self)
{
	byte v, root;
	bit nested;

free:	/* Nobody has the slot's lock. */
	atomic {
		alive[self] = 1;
		busy[self] = 1;
		printf("reader %d: takes its slot\n", self)
	};
	/* Whoever had it before may have died inside. */
	atomic {
#ifndef NO_CLEAR
		store_pin(0);
#endif
		busy[self] = 0
	};

outside:
	if
	:: goto dies
	:: atomic {
		v = version;
		busy[self] = 1;
		printf("reader %d: version is %d\n", self, v)
	   }
	fi;
again:
#ifndef NO_COMPILER_BARRIER
	atomic { store_pin(v) };
#ifdef FULL_FENCE
	waits[self] == NOTHING;
#endif
#endif
	root = ROOT(v);
#ifndef NO_VALIDATION
	if
	:: atomic { version == v -> skip }
	:: atomic {
		version != v ->
		v = version;
		root = 0;
		printf("reader %d: again, version is %d\n", self, v);
		goto again
	   }
	fi;
#endif
	printf("reader %d: follows version %d, block %d\n", self, v, root);
#ifdef NO_COMPILER_BARRIER
	atomic { store_pin(v) };
#endif

	do
	:: !is_intact(v, root) -> assert(is_intact(v, root))
	:: !nested -> nested = 1 /* sections nest, in the handle alone */
	:: nested -> nested = 0
	:: atomic {
		!nested ->
		store_pin(0);
		busy[self] = 0;
		v = 0;
		root = 0;
		goto outside
	   }
	:: goto dies
	od;

dies:	/* What it has stored is in memory when the kernel gives its lock away. */
	skip;
	d_step {
		if
		:: waits[self] != NOTHING -> arrive(self)
		:: else
		fi;
		alive[self] = 0;
		busy[self] = 0;
		v = 0;
		root = 0;
		nested = 0;
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
#if READERS > 2
		run Reader(2);
#endif
	}
}
