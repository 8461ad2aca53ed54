/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The writer lock: its word, and how it is taken over from the dead. */

/*
 * Processes that attach for writing, take the lock, give it back, take it again,
 * and die anywhere; whoever has died comes again as another process, which takes
 * the first slot that is free. The word is as in lib/wlock.h: slot, incarnation,
 * the bit of the waiters. The operations of word_take(), word_wait() and
 * strata__wlock_release() are a step each, and owner_is_dead() is two: first the
 * incarnation is read, then the kernel is asked.
 *
 * An incarnation does not come twice: in lib/wlock.c it is a random number of 20
 * bits that is not the word's. What happens where one does come again, while
 * somebody still sleeps over its judgement of the last, is the broken variant
 * INCARNATION_REPEATS; docs/ordering.md, letter G, says how likely that is.
 *
 * A waiter that would find the same again does nothing here until something has
 * changed: it looks again each 50 ms, and to look in vain is to stand still. So
 * a lock that nobody could ever take shows as a deadlock. Left out: the futex,
 * which makes waiting cheap; the process mutex in front, which there is one of
 * for each process here; weak memory: all that is ordered here is ordered by a
 * compare-and-swap of one word, by letter G, or by the kernel.
 */

#ifndef WRITERS
#define WRITERS 3 /* processes at a time */
#endif
#ifndef SLOTS
#define SLOTS WRITERS
#endif
#ifndef DEATHS
#define DEATHS 3
#endif
#define INCARNATIONS (WRITERS + DEATHS)

#define NOBODY 255

/* The word: 0 where nobody has it. */
typedef word_t {
	byte slot; /* and 1 */
	byte incarnation;
	bit waiters;
}
word_t word;

byte incarnation[SLOTS];       /* what the slots show */
byte locked_by[SLOTS] = NOBODY; /* the kernel's locks on their bytes */

/* Ghosts. */
byte owners;      /* who live and believe that they have the lock */
byte nr_deaths;
byte nr_incarnations;

#define kernel_says_dead(slot) (locked_by[slot] == NOBODY)
#define is_word(w) \
	(word.slot == w.slot && word.incarnation == w.incarnation && \
	 word.waiters == w.waiters)

#define MAY_DIE \
	if \
	:: skip \
	:: nr_deaths < DEATHS -> goto dies \
	fi

inline look(w)
{
	w.slot = word.slot;
	w.incarnation = word.incarnation;
	w.waiters = word.waiters
}

inline forget(w)
{
	w.slot = 0;
	w.incarnation = 0;
	w.waiters = 0
}

/* The word becomes ours. */
inline have(with_waiters)
{
	word.slot = slot + 1;
	word.incarnation = mine;
	word.waiters = with_waiters;
	owners++;
	printf("writer %d: has the lock by slot %d, incarnation %d\n", self,
	       slot, mine);
	assert(owners == 1)
}

#ifdef NO_INCARNATION
/* The word names a slot and no more. Who finds its own there, and does not have
 * the lock, knows that it was left by the dead. */
#define shows_another(w) (false)
#define is_mine(w) (false)
#define says_dead(w) (w.slot == slot + 1 || kernel_says_dead(w.slot - 1))
#else
#define shows_another(w) (incarnation[w.slot - 1] != w.incarnation)
#define is_mine(w) (w.slot == slot + 1)
#define says_dead(w) kernel_says_dead(w.slot - 1)
#endif

proctype Writer(byte self)
{
	byte slot = NOBODY;
	byte mine;
	bit has, waited;
	word_t seen; /* the word that was judged */

attach:
	atomic {
		/* The lowest byte that nobody has locked. */
		slot = 0;
		do
		:: slot < SLOTS && locked_by[slot] != NOBODY -> slot++
		:: else -> break
		od;
		assert(slot < SLOTS);
		locked_by[slot] = self;
		printf("writer %d: attaches to slot %d\n", self, slot);
		MAY_DIE
	};
	atomic {
#ifdef NO_INCARNATION
		mine = 0;
#else
#ifdef INCARNATION_REPEATS
		/* Any but that of the word. */
		mine = (word.slot == slot + 1 && word.incarnation == 1 -> 2 : 1);
#else
		nr_incarnations++;
		mine = nr_incarnations;
#endif
#endif
		incarnation[slot] = mine;
		printf("writer %d: is incarnation %d\n", self, mine);
		MAY_DIE
	};

outside:
	waited = 0;
	if
	:: skip
	:: nr_deaths < DEATHS -> goto dies
	:: goto detach
	fi;

try:	/* word_take(): a compare-and-swap from 0, or what is there instead */
	if
	:: atomic { word.slot == 0 && word.waiters == 0 ->
		has = 1;
		have(waited);
		MAY_DIE;
		goto critical }
	:: atomic { !(word.slot == 0 && word.waiters == 0) -> look(seen) }
	fi;
	/* owner_is_dead() */
	if
	:: atomic { shows_another(seen) ->
		printf("writer %d: slot %d shows another\n", self, seen.slot - 1);
		goto take_over }
	:: atomic { !shows_another(seen) && is_mine(seen) -> assert(false) }
	:: atomic { !shows_another(seen) && !is_mine(seen) -> skip }
	fi;
	if
	:: atomic { says_dead(seen) ->
		printf("writer %d: slot %d is dead\n", self, seen.slot - 1);
		goto take_over }
	:: atomic { !says_dead(seen) -> skip }
	fi;

	/* word_wait(): says that somebody waits, and does */
	waited = 1;
	if
	:: seen.waiters
	:: atomic { !seen.waiters && is_word(seen) ->
		word.waiters = 1;
		seen.waiters = 1;
		MAY_DIE }
	:: atomic { !seen.waiters && !is_word(seen) ->
		forget(seen);
		goto try }
	fi;
	if
	:: atomic { !is_word(seen) || shows_another(seen) || says_dead(seen) ->
		forget(seen) }
	:: nr_deaths < DEATHS -> goto dies
	fi;
	goto try;

take_over: /* only from the word that was judged */
	if
#ifdef PLAIN_TAKE_OVER
	:: atomic { true ->
#else
	:: atomic { is_word(seen) ->
#endif
		has = 1;
		have(waited || seen.waiters);
		MAY_DIE;
		forget(seen);
		goto critical }
#ifndef PLAIN_TAKE_OVER
	:: atomic { !is_word(seen) -> forget(seen); goto try }
#endif
	:: nr_deaths < DEATHS -> goto dies
	fi;

critical: /* may be stopped here for as long as it likes */
	forget(seen);
	if
	:: skip
	:: nr_deaths < DEATHS -> goto dies
	fi;
	atomic {
		has = 0;
		owners--;
		word.slot = 0;
		word.incarnation = 0;
		word.waiters = 0;
		printf("writer %d: gives it back\n", self)
	};
	goto outside;

dies:	/* The kernel gives the byte away. */
	atomic {
		nr_deaths++;
		printf("writer %d: dies%c", self, 10);
		goto gone
	};
detach:
	skip;
gone:
	atomic {
		locked_by[slot] = NOBODY;
		owners = owners - has;
		has = 0;
		waited = 0;
		slot = NOBODY;
		mine = 0;
		forget(seen)
	};
end:	if
	:: nr_incarnations < INCARNATIONS -> goto attach
	fi
}

init {
	atomic {
		run Writer(0);
		run Writer(1);
#if WRITERS > 2
		run Writer(2)
#endif
	}
}
