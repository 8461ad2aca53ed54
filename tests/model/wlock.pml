/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The writer lock: its word, and how it is taken over from the dead. */

/*
 * Processes that attach for writing, take the lock, give it back, take it again,
 * and die anywhere, DEATHS times in all or as often as they like; whoever has died comes again as
 * another process, which takes the first slot that is free. To detach is to die
 * without the lock. The word is as in lib/wlock.h: slot, incarnation, the bit of
 * the waiters. The operations of word_take(), word_wait() and
 * strata__wlock_release() are a step each, and owner_is_dead() is two: first the
 * incarnation is read, then the kernel is asked.
 *
 * A new owner of a slot has the lowest incarnation that is neither in the word,
 * nor in the slot, nor in a word that somebody has judged and not yet forgotten:
 * numbers are compared for being equal, and only with those of the same slot; so
 * that is as good as one that never was before. In lib/wlock.c it is a random
 * number of 20 bits that is not the word's. What happens where one does come
 * again, while somebody still sleeps over its judgement of the last, is the
 * broken variant INCARNATION_REPEATS; docs/ordering.md, letter G, says how likely
 * that is.
 *
 * NO_WAITERS leaves out the bit of the waiters, for fewer states: it is one more
 * thing that must be the same for the take-over to happen.
 *
 * A waiter that would find the same again does nothing here until something has
 * changed: it looks again each 50 ms, and to look in vain is to stand still.
 * That it waits for good reason is asserted: somebody who lives has the lock, or
 * is about to sign the slot that the word names, or the next look will tell that
 * the slot was signed by another. Left out: the futex, which
 * makes waiting cheap; the process mutex in front, for there is one process to
 * each; weak memory: all that is ordered here is ordered by a compare-and-swap
 * of one word, by letter G, or by the kernel.
 */

#ifndef WRITERS
#define WRITERS 3 /* processes at a time */
#endif
#define SLOTS WRITERS

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

word_t judged[WRITERS];        /* the words that they are thinking about */
#define seen judged[self]

/* Ghosts. */
byte owners;        /* who live and believe that they have the lock */
bit unsigned_yet[SLOTS]; /* claimed, and still showing the last incarnation */

#define kernel_says_dead(slot) (locked_by[slot] == NOBODY)
#define is_word(w) \
	(word.slot == w.slot && word.incarnation == w.incarnation && \
	 word.waiters == w.waiters)

#ifdef DEATHS
byte nr_deaths;
#define may_die (nr_deaths < DEATHS)
#else
#define may_die (true)
#endif
#define MAY_DIE \
	if \
	:: skip \
	:: may_die -> goto dies \
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
	word.incarnation = incarnation[slot];
	word.waiters = with_waiters;
	owners++;
	printf("writer %d: has the lock by slot %d, incarnation %d\n", self,
	       slot, incarnation[slot]);
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

#define is_remembered(w, i) (w.slot == slot + 1 && w.incarnation == (i))

#if WRITERS > 2
#define is_in_use(i) \
	(incarnation[slot] == (i) || is_remembered(word, i) || \
	 is_remembered(judged[0], i) || is_remembered(judged[1], i) || \
	 is_remembered(judged[2], i))
#else
#define is_in_use(i) \
	(incarnation[slot] == (i) || is_remembered(word, i) || \
	 is_remembered(judged[0], i) || is_remembered(judged[1], i))
#endif

/* To wait is right while somebody has the lock, or is about to sign; or if the
 * next look will find out. */
#define waits_rightly \
	(owners == 1 || unsigned_yet[seen.slot - 1] || !is_word(seen) || \
	 shows_another(seen))

proctype Writer(byte self)
{
	byte slot = NOBODY;
	byte next;
	bit has, waited;

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
		unsigned_yet[slot] = 1;
		printf("writer %d: attaches to slot %d\n", self, slot);
		MAY_DIE
	};
	atomic {
#ifdef NO_INCARNATION
		next = 0;
#else
		next = 1;
		do
#ifdef INCARNATION_REPEATS
		:: is_remembered(word, next) -> next++
#else
		:: is_in_use(next) -> next++
#endif
		:: else -> break
		od;
#endif
		incarnation[slot] = next;
		next = 0;
		unsigned_yet[slot] = 0;
		printf("writer %d: is incarnation %d of slot %d\n", self,
		       incarnation[slot], slot);
		MAY_DIE
	};

outside:
	waited = 0;
	if
	:: skip
	:: may_die -> goto dies
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
	:: atomic { !says_dead(seen) -> assert(waits_rightly) }
	fi;

	/* word_wait(): says that somebody waits, and does */
#ifndef NO_WAITERS
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
#endif
	if
	:: atomic { !is_word(seen) || shows_another(seen) || says_dead(seen) ->
		forget(seen) }
	:: may_die -> goto dies
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
	:: may_die -> goto dies
	fi;

critical: /* may be stopped here for as long as it likes */
	forget(seen);
	if
	:: skip
	:: may_die -> goto dies
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
#ifdef DEATHS
		nr_deaths++;
#endif
		locked_by[slot] = NOBODY;
		unsigned_yet[slot] = 0;
		owners = owners - has;
		has = 0;
		waited = 0;
		slot = NOBODY;
		forget(seen);
		printf("writer %d: dies\n", self)
	};
	goto attach
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
