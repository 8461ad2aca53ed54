/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata_synchronize(): what was open before has ended after. */

/*
 * Readers with store buffers, as in rcu.pml, whose pins have section numbers as
 * well; a writer that commits; and who synchronizes, again and again: heavy
 * fence, a look at each pin, and for each that is not 0 a wait until it is
 * another or its owner is dead. That a section has ended is asked of the program
 * and not of the pin: a ghost says when a reader is let in, and when it has done
 * all of its section and is about to unlock.
 *
 * A section number has 16 bits in lib/ and comes again after 65536 sections; here
 * it has SECTIONS values, so that it comes again soon. Whoever finds it again
 * takes another section for the one that it waits for, and waits for longer.
 *
 * Left out: blocks, and what versions are good for. Two that synchronize do not
 * meet, since they write nothing. Sections that a fork hands over are in
 * fork.pml.
 */

#ifndef READERS
#define READERS 2
#endif
#ifndef VMAX
#define VMAX 3
#endif
#ifndef SECTIONS
#define SECTIONS 2
#endif

#define NOTHING 255
#define WORD(v, s) ((v) * SECTIONS + (s)) /* not 0: versions begin at 1 */
#define VERSION_OF(word) ((word) / SECTIONS)

byte version = 1;
byte pin[READERS];
byte waits[READERS] = NOTHING; /* in the buffer; see rcu.pml */
bit alive[READERS];
/* Ghosts: in a section; and since before the call. */
bit is_inside[READERS];
bit is_awaited[READERS];

inline store_pin(word)
{
	waits[self] = (pin[self] == (word) -> NOTHING : (word));
	printf("reader %d: stores version %d, section %d\n", self,
	       VERSION_OF(word), (word) % SECTIONS)
}

inline arrive(r)
{
	pin[r] = waits[r];
	waits[r] = NOTHING;
	printf("memory: pin of reader %d is of version %d\n", r,
	       VERSION_OF(pin[r]))
}

proctype Memory()
{
end:	do
	:: atomic { waits[0] != NOTHING -> arrive(0) }
#if READERS > 1
	:: atomic { waits[1] != NOTHING -> arrive(1) }
#endif
#if READERS > 2
	:: atomic { waits[2] != NOTHING -> arrive(2) }
#endif
	od
}

proctype Committer()
{
end:	do
	:: atomic { version < VMAX -> version++; printf("writer: version = %d\n", version) }
	od
}

proctype Reader(byte self)
{
	byte v, number;
	bit nested;

free:	atomic { alive[self] = 1; printf("reader %d: takes its slot\n", self) };
	atomic { store_pin(0) };
outside:
	if
	:: goto dies
	:: atomic { true ->
		v = version;
		number = (number + 1) % SECTIONS }
	fi;
again:
	atomic { store_pin(WORD(v, number)) };
	if
	:: atomic { version == v ->
		is_inside[self] = 1;
		printf("reader %d: is inside\n", self) }
	:: atomic { version != v -> v = version; goto again }
	fi;
	do
	:: !nested -> nested = 1
	:: nested -> nested = 0
	:: atomic { !nested ->
		is_inside[self] = 0;
		is_awaited[self] = 0;
		printf("reader %d: is done\n", self);
		break }
	:: goto dies
	od;
	atomic { store_pin(0); v = 0 };
	goto outside;

dies:
	skip;
	d_step {
		if
		:: waits[self] != NOTHING ->
			pin[self] = waits[self];
			waits[self] = NOTHING
		:: else
		fi;
		alive[self] = 0;
		is_inside[self] = 0;
		is_awaited[self] = 0;
		v = 0;
		number = 0;
		nested = 0;
		printf("reader %d: dies, leaving its pin\n", self)
	};
	goto free
}

#ifdef OLDER_ONLY
/* The version is looked at before the pins, as if who is in the current one
 * needed no waiting for. */
#define counts(word) ((word) != 0 && VERSION_OF(word) < current)
#else
#define counts(word) ((word) != 0)
#endif

proctype Synchronizer()
{
	byte noted[READERS];
	byte r;
#ifdef OLDER_ONLY
	byte current;
#endif

	do
	:: /* the call */
		atomic {
			r = 0;
			do
			:: r < READERS -> is_awaited[r] = is_inside[r]; r++
			:: else -> break
			od;
			r = 0;
#ifdef OLDER_ONLY
			current = version;
#endif
			printf("synchronize: begins\n")
		};
#ifndef NO_HEAVY_FENCE
		do
		:: atomic { r < READERS ->
			if
			:: waits[r] != NOTHING -> arrive(r)
			:: else
			fi;
			r++ }
		:: r == READERS -> break
		od;
		r = 0;
#endif
		do
		:: atomic { r < READERS ->
			noted[r] = (counts(pin[r]) -> pin[r] : 0);
			printf("synchronize: notes version %d of reader %d\n",
			       VERSION_OF(noted[r]), r);
			r++ }
		:: r == READERS -> break
		od;
		r = 0;
		do
		:: atomic { r < READERS && (noted[r] == 0 || pin[r] != noted[r] ||
					    !alive[r]) ->
			noted[r] = 0;
			r++ }
		:: r == READERS -> break
		od;
		atomic {
			r = 0;
			printf("synchronize: is over\n");
			do
			:: r < READERS ->
				assert(!is_awaited[r]);
				r++
			:: else -> break
			od;
			r = 0;
#ifdef OLDER_ONLY
			current = 0
#endif
		}
	od
}

init {
	atomic {
		run Synchronizer();
		run Memory();
		run Committer();
		run Reader(0);
#if READERS > 1
		run Reader(1);
#endif
#if READERS > 2
		run Reader(2);
#endif
	}
}
