/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Sections that a fork hands over, and the scan that must not miss them. */

/*
 * fork_prepare() to fork_child() of lib/fork.c, with heir_pin() in between,
 * beside strata__scan_take() and strata__scan_needs() of lib/scan.c, and
 * strata__pins_list() of lib/pins.c: docs/ordering.md, letter K. Readers lock,
 * unlock, fork inside of their sections, and die anywhere; so do their
 * children, and the children of these, without end: who comes into a place or a
 * slot of the dead is another one. The writer commits once, and scans until it
 * has freed what version 1 had. One block is enough, for each is judged for
 * itself; and so is one pin, of version 1: one of version 2 says to this scan
 * what none says, and is 0 here. Who is in a section of version 2 hands it over
 * all the same, and raises the counter.
 *
 * A file is a pins segment. One is there from the beginning; others are made at
 * any time, empty, as if by whoever claims a slot there next, or died before
 * that. A slot is what is claimed at once, a chunk in lib/, in any file that
 * has one.
 *
 * Two stores of a reader wait in a buffer for as long as they like, in any
 * order: the 0 of its unlock, and the pin of its heir. Two need not wait. The
 * pin of a section of version 1 is in memory at once: no scan reads before its
 * heavy fence, which is behind the last of them. What the dead have left in a
 * slot is cleared at once: if it stood for longer it could but hold something
 * back. That pins are locked and cleared as they should be is for rcu.pml, and
 * so are the deaths of writers, each of whom scans anew.
 *
 * Loads of the writer that have no fence between them are done in any order:
 * the counters in the notes, the names in a list, the pins in a pass, the
 * counters when they are compared. Any slot that nobody has locked may be left
 * unread, as if it lay behind what scan_extent() finds worth reading.
 *
 * A counter is compared with its note and with nothing else, and does not come
 * again: so it is one bit, whether it is as it was noted. Of the folder's time
 * one bit matters, too: the list is from two ticks behind it, and it is still
 * the same. Ticks pass when they like: any list may be found to be so late.
 *
 * With SYNCHRONIZE the writer calls strata__rcu_synchronize() instead, as
 * version 2 begins: what is inside then is to be over at the end.
 *
 * Left out: files that go, and places that others take; users and their shares;
 * the bounds STRATA_PINS_HEARD_MAX and TURNS_MAX, behind which a scan fails
 * or believes; descriptors that a program closes under the library; a fork for
 * which there is no slot, which hands over nothing; more than one section in a
 * process: each is handed over by itself.
 */

#ifndef READERS
#define READERS 2 /* processes at a time */
#endif
#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef PER_FILE
#define PER_FILE 2 /* slots in each file but the last */
#endif
#define FILES ((SLOTS + PER_FILE - 1) / PER_FILE)
#define file_of(s) ((s) / PER_FILE)

#define NONE 255
#define bit_of(i) (1 << (i))

byte version = 1;

/**** the files ****/

bit exists[FILES];
bit pin[SLOTS];      /* there is one of version 1 */
byte locks[SLOTS];   /* how many processes keep the kernel's lock on it */
bit as_noted[FILES]; /* nothing was handed over there since the note */
bit is_settled;      /* by the folder's time: its names are those listed */

/**** the readers ****/

byte slot[READERS] = NONE; /* NONE: no process is there */
byte heir[READERS] = NONE; /* the slot for a child to be */
bit pin_waits[READERS];    /* in the buffer: 0 for the own pin */
bit heir_waits[READERS];   /* and 1 for the heir's */
/* Ghosts: in a section of version 1, by the program and not by the pin; nothing
 * has happened since the scan began; nothing is left to be seen. */
bit inside[READERS];
bit still;
bit is_over;

#if READERS > 2
#define is_followed (inside[0] || inside[1] || inside[2])
#else
#define is_followed (inside[0] || inside[1])
#endif

inline arrive(r)
{
	pin[slot[r]] = 0;
	pin_waits[r] = 0;
	still = 0
}

inline heir_arrive(r)
{
	pin[heir[r]] = 1;
	heir_waits[r] = 0;
	still = 0
}

inline empty_buffer(r)
{
	if
	:: pin_waits[r] -> arrive(r)
	:: else
	fi;
	if
	:: heir_waits[r] -> heir_arrive(r)
	:: else
	fi
}

/* A file gets its name, and the folder the time of now. */
inline publish(f)
{
	exists[f] = 1;
	still = 0;
#ifdef ALWAYS_SETTLED
	if
	:: is_settled = 0
	:: skip /* the same tick */
	fi;
#else
	is_settled = 0;
#endif
	printf("memory: file %d is made\n", f)
}

inline pin_arrives(r)
{
	pin_waits[r] ->
	arrive(r);
	printf("memory: pin in slot %d is 0\n", slot[r])
}

inline heir_pin_arrives(r)
{
	heir_waits[r] ->
	heir_arrive(r);
	printf("memory: pin in slot %d is 1\n", heir[r])
}

/* What comes to pass when it likes. */
proctype Memory() provided (!is_over)
{
end:	do
	:: atomic { pin_arrives(0) }
	:: atomic { pin_arrives(1) }
	:: atomic { heir_pin_arrives(0) }
	:: atomic { heir_pin_arrives(1) }
#if READERS > 2
	:: atomic { pin_arrives(2) }
	:: atomic { heir_pin_arrives(2) }
#endif
	:: atomic { !exists[1] -> publish(1) }
#if FILES > 2
	:: atomic { !exists[2] -> publish(2) }
#endif
	od
}

#define is_free(s) (exists[file_of(s)] && locks[s] == 0)

#if SLOTS > 3
#define is_any_free (is_free(0) || is_free(1) || is_free(2) || is_free(3))
#elif SLOTS > 2
#define is_any_free (is_free(0) || is_free(1) || is_free(2))
#else
#define is_any_free (is_free(0) || is_free(1))
#endif

/* strata__chunk_claim(): chunk_lock(), chunk_clear() */
inline claim(s)
{
	if
	:: is_free(0) -> s = 0
	:: is_free(1) -> s = 1
#if SLOTS > 2
	:: is_free(2) -> s = 2
#endif
#if SLOTS > 3
	:: is_free(3) -> s = 3
#endif
	fi;
	locks[s] = 1;
	pin[s] = 0;
	still = 0
}

inline drop(s)
{
	locks[s]--;
	s = NONE;
	still = 0
}

#ifdef COUNTER_OF_HEIR
#define raised_by heir[self]
#else
#define raised_by slot[self]
#endif

inline raise()
{
#ifndef NO_COUNTER
	as_noted[file_of(raised_by)] = 0;
	still = 0;
	printf("reader %d: raises the counter of file %d\n", self,
	       file_of(raised_by))
#else
	skip
#endif
}

inline set_heir()
{
	heir_waits[self] = inside[self];
	still = 0;
	printf("reader %d: stores pin %d for its heir\n", self, inside[self])
}

/* The child has what the parent had when it forked, but for its slot. */
inline begin_child(c)
{
	slot[c] = heir[self];
	inside[c] = inside[self];
#ifndef LOCK_NOT_INHERITED
	locks[heir[self]]++;
#endif
	still = 0;
	printf("reader %d: forks, its child is reader %d in slot %d\n", self, c,
	       slot[c])
}

#ifdef NOTHING_NEW
#define may_begin (version == 1)
#else
#define may_begin (true)
#endif

#define MAY_DIE \
	if \
	:: skip \
	:: goto dies \
	fi

#ifdef CHILD_PINS
#define is_pinned_late (slot[self] != NONE && inside[self] && !pin[slot[self]])
#endif

proctype Reader(byte self) provided (!is_over)
{
section: /* or nobody is there */
	if
	:: atomic {
		slot[self] == NONE && is_any_free && may_begin ->
		claim(slot[self]);
		printf("reader %d: takes slot %d\n", self, slot[self])
	   }
	:: atomic {
		/* strata_read_unlock() */
		slot[self] != NONE ->
		pin_waits[self] = pin[slot[self]];
		inside[self] = 0;
		still = 0;
		printf("reader %d: unlocks\n", self)
	   }
	:: atomic {
		/* fork_prepare(): heir_slot() */
		slot[self] != NONE && heir[self] == NONE && is_any_free ->
		claim(heir[self]);
		printf("reader %d: forks, takes slot %d for its heir\n", self,
		       heir[self]);
		MAY_DIE
	   };
	   goto forks
#ifdef CHILD_PINS
	:: atomic {
		/* fork_child() */
		is_pinned_late ->
		pin[slot[self]] = 1;
		printf("reader %d: stores pin 1\n", self);
		goto section
	   }
#endif
	:: atomic { slot[self] != NONE -> goto dies }
	fi;

outside:
	if
	:: atomic {
		/* strata_read_lock() */
		may_begin ->
		inside[self] = (version == 1);
		if
		:: inside[self] ->
			pin[slot[self]] = 1;
			pin_waits[self] = 0
		:: else
		fi;
		printf("reader %d: is in a section of version %d\n", self,
		       version);
		goto section
	   }
	:: goto dies
	fi;

forks:	/* heir_pin() */
#ifdef COUNTER_FIRST
	atomic { raise(); MAY_DIE };
#endif
#ifndef CHILD_PINS
	atomic { set_heir(); MAY_DIE };
#endif
#if !defined(COUNTER_FIRST) && !defined(COUNTER_LATE)
	atomic {
#ifndef NO_HEIR_FENCE
		!pin_waits[self] && !heir_waits[self] ->
#endif
		raise();
		MAY_DIE
	};
#endif
	/* fork() */
	atomic {
		!pin_waits[self] && !heir_waits[self] ->
		if
		:: slot[0] == NONE -> begin_child(0)
		:: slot[0] != NONE && slot[1] == NONE -> begin_child(1)
#if READERS > 2
		:: slot[0] != NONE && slot[1] != NONE && slot[2] == NONE ->
			begin_child(2)
#endif
		:: else -> printf("reader %d: cannot fork\n", self)
		fi;
		MAY_DIE
	};
	/* fork_parent(): strata__chunk_drop() */
#ifdef COUNTER_LATE
	atomic { raise(); MAY_DIE };
#endif
#ifndef HEIR_NOT_DROPPED
	atomic { drop(heir[self]) };
#endif
	goto section;

dies:	/* What it has stored is in memory when the kernel gives its locks
	 * away. */
	atomic {
		empty_buffer(self);
		printf("reader %d: dies, leaving pin %d in slot %d\n", self,
		       pin[slot[self]], slot[self]);
		if
		:: heir[self] != NONE -> drop(heir[self])
		:: else
		fi;
		drop(slot[self]);
		inside[self] = 0
	};
	goto section
}

#define ALL_FILES (bit_of(FILES) - 1)
#define ALL_SLOTS (bit_of(SLOTS) - 1)

#if FILES > 2
#define ALL_LISTED (listed[1] && listed[2])
#define UNLISTED_FILES ((listed[1] -> 0 : 2) | (listed[2] -> 0 : 4))
#else
#define ALL_LISTED listed[1]
#define UNLISTED_FILES (listed[1] -> 0 : 2)
#endif
#define unless_listed(s) (listed[file_of(s)] -> 0 : bit_of(s))
#if SLOTS > 3
#define UNLISTED_SLOTS (unless_listed(1) | unless_listed(2) | unless_listed(3))
#elif SLOTS > 2
#define UNLISTED_SLOTS (unless_listed(1) | unless_listed(2))
#else
#define UNLISTED_SLOTS unless_listed(1)
#endif

#define is_done(i) ((done & bit_of(i)) != 0)

/* At once: what a reader does while others are fenced may as well be after. */
inline heavy_fence()
{
	empty_buffer(0);
	empty_buffer(1)
#if READERS > 2
	;
	empty_buffer(2)
#endif
}

inline look_at_name(f)
{
	!is_done(f) ->
	done = done | bit_of(f);
	if
	:: exists[f] && !listed[f] ->
		listed[f] = 1;
		has_news = 1;
		printf("writer: finds file %d\n", f)
	:: !exists[f] -> printf("writer: finds no file %d\n", f)
	:: exists[f] && listed[f]
	fi
}

/* strata__pins_list(). When no files are to come there is nothing to find. */
inline list()
{
	if
	:: is_settled || ALL_LISTED ->
		printf("writer: lists nothing anew\n")
	:: atomic {
		!(is_settled || ALL_LISTED) ->
#ifndef TIME_LATE
		look_at_time();
#endif
		done = 1 /* file 0 is known */
	   };
	   do
	   :: atomic { look_at_name(1) }
#if FILES > 2
	   :: atomic { look_at_name(2) }
#endif
	   :: atomic {
		done == ALL_FILES ->
		done = 0;
		if
		:: ALL_LISTED -> is_settled = 0 /* not asked for any more */
		:: else
		fi;
		printf("writer: has listed the files\n");
		break
	      }
	   od;
#ifdef TIME_LATE
	   atomic { look_at_time() }
#endif
	fi
}

inline look_at_time()
{
	if
	:: is_settled = 1
	:: skip
	fi
}

inline note_file(f)
{
	!is_done(f) ->
	done = done | bit_of(f);
	as_noted[f] = 1;
#ifdef NOTED_ONCE
	noted = noted | bit_of(f);
#endif
	printf("writer: notes the counter of file %d\n", f)
}

/* handovers_note() */
inline note()
{
	done = UNLISTED_FILES;
	do
	:: atomic { note_file(0) }
	:: atomic { note_file(1) }
#if FILES > 2
	:: atomic { note_file(2) }
#endif
	:: atomic { done == ALL_FILES -> done = 0; break }
	od
}

/* files_note() */
inline list_and_note()
{
	list();
#if defined(ONE_LISTING)
	note();
#elif defined(NOTED_ONCE)
	noted = 0;
	note();
	list();
#elif !defined(NOTES_LATE)
	do
	:: has_news = 0;
		note();
		list();
		if
		:: has_news
		:: else -> break
		fi
	od;
#endif
	has_news = 0
}

inline look_at_slot(s)
{
	!is_done(s) ->
	done = done | bit_of(s);
	if
	:: pin[s] && locks[s] == 0 -> /* scan_extent() */
		printf("writer: does not read slot %d\n", s)
	:: true ->
		printf("writer: reads pin %d in slot %d\n", pin[s], s);
		if
		:: pin[s] -> seen = seen | bit_of(s)
		:: else
		fi
	fi
}

/* scan_file(), of all files */
inline read_pins()
{
	done = UNLISTED_SLOTS | seen;
	do
	:: atomic { look_at_slot(0) }
	:: atomic { look_at_slot(1) }
#if SLOTS > 2
	:: atomic { look_at_slot(2) }
#endif
#if SLOTS > 3
	:: atomic { look_at_slot(3) }
#endif
	:: atomic { done == ALL_SLOTS -> done = 0; break }
	od
}

/* has_changed(). If one has, the others are not looked at. */
inline compare_file(f)
{
	!is_done(f) ->
	done = done | bit_of(f);
	if
	:: !as_noted[f] ->
		changed = 1;
		done = ALL_FILES;
		printf("writer: counter of file %d has changed\n", f)
	:: else
	fi
}

#ifdef NOTED_ONCE
#define NOT_COMPARED (ALL_FILES & ~noted)
#else
#define NOT_COMPARED UNLISTED_FILES
#endif

/* handovers_changed(), owner_handed_over() */
inline compare()
{
	done = NOT_COMPARED;
	do
	:: atomic { compare_file(0) }
	:: atomic { compare_file(1) }
#if FILES > 2
	:: atomic { compare_file(2) }
#endif
	:: atomic { done == ALL_FILES -> done = 0; break }
	od
}

/* ask_if_alive() */
inline ask(s)
{
	(seen & bit_of(s)) != 0 ->
	seen = seen & ~bit_of(s);
	if
	:: locks[s] > 0 ->
		printf("writer: who has slot %d lives\n", s);
		goto kept
	:: else -> printf("writer: who had slot %d is dead\n", s)
	fi
}

/* pin_wait(): until pin_is_over() */
inline wait(s)
{
	(seen & bit_of(s)) != 0 && (!pin[s] || locks[s] == 0) ->
	seen = seen & ~bit_of(s);
	printf("writer: what was in slot %d is over\n", s)
}

proctype Writer()
{
	bit listed[FILES];
	bit has_news, changed;
	byte seen; /* slots in which there was a pin of version 1 */
	byte done; /* what of a set was done already */
#ifdef NOTED_ONCE
	byte noted;
#endif

	listed[0] = 1;
	atomic {
		version = 2;
		printf("writer: version = 2, the block of 1 is retired\n")
	};

	/**** strata__scan_take() ****/
scan:	skip;
	d_step {
		heavy_fence();
		still = 1;
		printf("writer: heavy fence\n")
	};
pass:	/* scan_read(): pins of earlier passes are kept */
#ifdef FORGETFUL
	seen = 0;
#endif
	list_and_note();
	read_pins();
#ifdef NOTES_LATE
	note();
#endif
#ifndef ONE_PASS
	compare();
	if
	:: changed -> changed = 0; goto pass
	:: else
	fi;
#endif

#ifdef SYNCHRONIZE
	/**** synchronize_once() ****/
	do
	:: atomic { wait(0) }
	:: atomic { wait(1) }
#if SLOTS > 2
	:: atomic { wait(2) }
#endif
#if SLOTS > 3
	:: atomic { wait(3) }
#endif
	:: seen == 0 -> break
	od;
#ifndef NO_LAST_LOOK
	compare();
	if
	:: changed -> changed = 0; goto scan
	:: else
	fi;
#endif
	atomic {
		printf("writer: synchronize is over\n");
		assert(!is_followed);
		goto over
	};
#endif

	/**** strata__scan_needs() ****/
	do
	:: atomic { ask(0) }; goto compared
	:: atomic { ask(1) }; goto compared
#if SLOTS > 2
	:: atomic { ask(2) }; goto compared
#endif
#if SLOTS > 3
	:: atomic { ask(3) }; goto compared
#endif
	:: seen == 0 -> break
	:: false ->
compared:
#ifndef DEAD_AT_ONCE
		compare();
		if
		:: changed -> goto kept
		:: else
		fi
#else
		skip
#endif
	od;
	atomic {
		printf("writer: frees the block of version 1\n");
		assert(!is_followed);
		goto over
	};

kept:	/* With nobody at work what is kept is kept for a section. */
	atomic {
		printf("writer: keeps the block of version 1\n");
		assert(!still || is_followed);
		still = 0;
		changed = 0;
		seen = 0;
		goto scan
	};
over:	/* Nobody else does a step from here on, to have fewer states. */
	is_over = 1;
	do
	:: is_over
	od
}

init {
	atomic {
		exists[0] = 1;
		run Writer();
		run Memory();
		run Reader(0);
		run Reader(1);
#if READERS > 2
		run Reader(2);
#endif
	}
}
