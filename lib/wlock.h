/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The writer lock: a futex word that is taken over from the dead. */
#ifndef STRATA_WLOCK_H
#define STRATA_WLOCK_H

#include "space.h"

/*
 * The word: 0, or waiters bit | (slot + 1) << 20 | incarnation. That the owner
 * lives is the kernel's word: its mapping of the lock segment keeps an OFD lock
 * on a byte of its slot. Dead is an owner whose byte is free, or whose slot
 * shows another incarnation. Whoever waits takes over by compare-and-swap from
 * the exact word that it saw.
 */
#define STRATA_WLOCK_WAITERS (UINT32_C(1) << 31)
#define STRATA_WLOCK_INCARNATION_MASK ((UINT32_C(1) << 20) - 1)

#define STRATA_WLOCK_TIMEOUT_NS (UINT64_C(30) * 1000000000)

struct strata__wlock {
	struct strata__space *space; /* NULL: not attached for writing */
	pthread_mutex_t mutex;       /* in front: one owner per process */
	_Atomic uint32_t nr_waiting; /* threads that wait for the mutex */
	uint32_t slot;
	uint32_t mine; /* the word when we own it, without waiters */
	bool forked;   /* this is the child: the slot is the parent's */
};

/* Claims a writer slot and maps the lock segment (space->lock). Tells
 * STRATA_EBUSY when all slots are taken. */
int strata__wlock_attach(struct strata__wlock *wlock,
			 struct strata__space *space);
void strata__wlock_detach(struct strata__wlock *wlock);
/* Tells STRATA_ETIMEDOUT, naming the holder. */
int strata__wlock_acquire(struct strata__wlock *wlock, uint64_t timeout_ns);
void strata__wlock_release(struct strata__wlock *wlock);
/* Does anybody wait for it? */
bool strata__wlock_is_wanted(struct strata__wlock *wlock);
/* After a release: gives whoever was woken the time to take it. */
void strata__wlock_stand_back(struct strata__wlock *wlock);

#endif
