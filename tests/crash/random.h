/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The random driver: what its processes share, and the model. */
#ifndef STRATA_TEST_RANDOM_H
#define STRATA_TEST_RANDOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proc.h"
#include "strata/strata.h"

#define NR_WRITERS  3u
#define NR_READERS  4u
#define NR_FAITHFUL 2u /* readers that are stopped, but never killed */

/*
 * One dimension has a layer for each writer, which each transaction of that
 * writer puts: so one that was killed tells, by that layer, whether it happened
 * and in which version. Some dimensions are changed by all, by transactions
 * only. The others have an owner each, which alone changes them, in all ways.
 */
#define MARKS      0u
#define FIRST_OPEN 1u
#define NR_OPEN    3u
#define FIRST_OWN  (FIRST_OPEN + NR_OPEN)
#define NR_OWN     3u
#define NR_DIMS    (FIRST_OWN + NR_WRITERS * NR_OWN)
#define NR_LAYERS  64u /* of a dimension, at most */

/* Of the layer that a content tells: it was appended under whatever number. */
#define APPENDED (UINT32_C(1) << 31)

/**** the model ****/

/* Numbers tell contents apart: no two changes have the same, and 0 is none. */
struct layer {
	uint32_t layer;
	uint64_t number; /* of the content */
	uint64_t meta;   /* of the change that brought name and frequency */
};

struct dim {
	bool present, immutable;
	uint64_t name; /* the number that its name tells */
	uint32_t nr;
	struct layer layers[NR_LAYERS]; /* in no order */
};

struct model {
	struct dim dims[NR_DIMS];
};

enum change_kind {
	PUT,
	APPEND,
	REPLACE,
	REMOVE,
	DROP,
	DESCRIBE,
	LOAD, /* as many layers as it says, in place of all */
	UNLOAD
};

struct change {
	enum change_kind kind;
	uint32_t dim;
	uint32_t layer; /* LOAD: how many */
	bool attrs;     /* the layer's name and frequency are said, too */
	bool immutable; /* LOAD */
	uint64_t number;
};

#define NR_CHANGES 8u

enum fate { PLANNED, HAPPENED, NOTHING };

/* An operation that changes contents. Its changes are written before it is
 * begun; then its fate is one store. */
struct operation {
	_Atomic uint32_t fate;
	bool exact; /* a transaction: it is version high that it made */
	/* Made in a version above low, and not above high. */
	uint64_t low, high;
	uint32_t nr;
	struct change changes[NR_CHANGES];
};

/* Number of a dimension of the model, and the other way round (or NR_DIMS). */
uint32_t dim_number(uint32_t dim);
uint32_t dim_of_number(uint32_t number);
struct layer *dim_find(struct dim *dim, uint32_t layer);
/* Does it; or gives what is wrong with it, in words. */
const char *model_apply(struct model *model, const struct change *change);

/* What is in a dimension, as one number; 0: it is not there. */
uint64_t dim_print(const struct dim *dim);

/* What a section saw. */
struct sight {
	uint64_t version;
	uint64_t prints[NR_DIMS];
};

/* Looks at all of the store, checks each byte of it, and each entry. */
void sight_take(struct strata_reader *reader, struct sight *ret);
/* The same of one dimension. */
uint64_t sight_of(struct strata_reader *reader, uint32_t dim);

/**** what all share ****/

#define NR_OPERATIONS 4096u /* of a writer, between two judgements */
#define NR_SIGHTS     2048u
#define NR_PASTS      (1u << 17)

struct writer {
	uint64_t serial;  /* of its operations; goes on when it is replaced */
	uint64_t attempt; /* how often it was started */
	_Atomic uint32_t fuse; /* test points that it lives, or runs; 0: all */
	bool fuse_stops;       /* it stops, and does not die */
	_Atomic uint32_t nr;
	struct operation operations[NR_OPERATIONS];
};

/* A ring: the reader adds, the judge takes. */
struct reader {
	uint64_t attempt;
	_Atomic uint64_t nr, judged;
	_Atomic uint64_t sections;
	struct sight sights[NR_SIGHTS];
};

/* What a dimension became, by an operation that happened. */
struct past {
	uint64_t low, high, print;
};

/* Figures for the report. */
enum figure {
	COMMITS,
	ABORTS,
	REFUSED, /* on purpose, or by what another writer did */
	SHORT,   /* of room */
	LOADS,
	RELOADS,
	UNLOADS,
	CRYSTALS,
	GCS,
	LIMITS,
	WAITS,
	VERIFIES,
	NESTS,
	HEIRS,
	LONG,      /* sections that looked twice */
	UNCERTAIN, /* operations whose writer died in them */
	OF_THESE_HAPPENED,
	SIGHTS, /* compared with the model */
	NR_FIGURES
};

struct shared {
	uint64_t seed; /* of the store at hand */
	bool directory;
	bool tight; /* hardly any room: most is refused */
	_Atomic uint32_t pause, stop;
	bool dead[NR_WRITERS]; /* for the judge */
	bool last;             /* judgement of this store: nobody reads */
	bool retained;         /* a stopped reader may keep something */
	struct model model;    /* as of the last judgement */
	uint32_t nr_pasts[NR_DIMS];
	struct past pasts[NR_DIMS][NR_PASTS];
	struct writer writers[NR_WRITERS];
	struct reader readers[NR_READERS];
	_Atomic uint64_t figures[NR_FIGURES];
};

extern struct shared *shared;
extern char store_is[STRATA_STORE_NAME_MAX + 1];
extern char files[]; /* folder of dimension files; the store's, if it has one */

void figure(enum figure which);
/* Seed of a process, which depends on the run's. */
uint64_t seed_of(uint64_t who, uint64_t attempt);

/**** processes ****/

/* Both never end of themselves, unless shared->stop is set. */
void writer_main(struct proc *parent, void *arg); /* arg: its struct writer */
void reader_main(struct proc *parent, void *arg); /* arg: its struct reader */
/* After a writer was killed, while the others stand still. */
void judge_main(struct proc *parent, void *arg);

#endif
