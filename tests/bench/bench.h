/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What all benches share: options, clock, chance, interleaving, tables. */
#ifndef STRATA_BENCH_H
#define STRATA_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proc.h"
#include "strata/strata.h"

/*
 * A figure of a bench says something only beside the figure of a peer from the
 * same run. So peers are columns of one table: each repetition runs all of them
 * one after the other, ratios are taken within a repetition, and what is
 * printed is the median of the repetitions with the least and the most. A
 * machine that is busy with other things then disturbs all columns alike, or
 * shows itself in the distance of least and most.
 */

#define BENCH_REPETITIONS_MAX 101

struct bench {
	bool quick;
	bool json;
	uint64_t seed;
	unsigned repetitions; /* odd */
	const char *folder;   /* of the segments; for other files, too */
};

/* Reads --quick, --json, --seed=N and --repetitions=N; prints the head of the
 * output: what is measured, machine, kernel, seed. Makes the folder of the
 * segments. */
void bench_begin(struct bench *bench, int argc, char **argv, const char *what);
/* The folder must be empty again. */
void bench_end(void);

uint64_t bench_now_ns(void);
/* Best effort: the machine may forbid it. A CPU that is not there: any. */
void bench_pin(unsigned cpu);
/* Lets time pass while others are measured. */
void bench_wait_ms(unsigned ms);
/* Keeps the compiler from leaving out what gave this value. */
void bench_use(uint64_t value);
/* Looks at all bytes, eight at a time. */
uint64_t bench_sum(const void *data, size_t size);

/* Random numbers that a seed repeats. */
uint64_t bench_random(uint64_t *state);
/* A random order of 0 to nr - 1 that is one cycle: next[i] follows i
 * (Sattolo's algorithm). */
void bench_cycle(uint32_t *next, uint32_t nr, uint64_t *state);
void bench_shuffle(uint32_t *items, uint32_t nr, uint64_t *state);

/**** figures ****/

struct bench_figure {
	double median, min, max;
};

struct bench_column {
	const char *name;
	double (*run)(void *arg); /* once; gives its value */
	void *arg;
	double values[BENCH_REPETITIONS_MAX]; /* of the repetitions */
};

/* Runs all columns, once without counting, then repetitions times. */
void bench_interleave(const struct bench *bench, struct bench_column *columns,
		      size_t nr);
struct bench_figure bench_figure(const double *values, unsigned nr);
/* Of one column to another. */
struct bench_figure bench_ratio(const struct bench *bench,
				const struct bench_column *column,
				const struct bench_column *to);
/* The values of one repetition, divided: two arrays of repetitions. */
struct bench_figure bench_quotient(const struct bench *bench, const double *a,
				   const double *b);
/* A table: a line for each column, its figure, and what columns[reference] is
 * relative to it. */
void bench_print(const struct bench *bench, const char *table, const char *unit,
		 const struct bench_column *columns, size_t nr,
		 size_t reference);
/* The share (0 to 1) of values that is not above what this gives; sorts them.
 */
double bench_quantile(double *values, size_t nr, double share);

/**** output ****/

/*
 * Text is lines of fields with tabs in between: "# ..." says something about
 * the run, "# table: ..." begins a table, whose first line is its heading. With
 * --json each line is an object instead, whose keys are the heading's.
 */

void bench_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The heading's fields have tabs between them. */
void bench_table(const char *heading, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A line of the table, with tabs between its fields. */
void bench_row(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What is to be reached; bounds are ratios within one run. */
void bench_at_most(const char *what, struct bench_figure figure, double bound);
void bench_at_least(const char *what, struct bench_figure figure, double bound);

/**** stores ****/

/* A store of the given limits, with a name of its own, attached for writing.
 * max_limit 0: the default. */
struct strata_store *bench_store(const char *what, uint64_t limit,
				 uint64_t max_limit);
/* The same with everything said. */
struct strata_store *bench_store_config(const char *what,
					const struct strata_config *config);
/* Detaches and destroys it. */
void bench_store_end(struct strata_store *store);
/* Bytes of its memory for each of so many layers, besides their contents. */
double bench_metadata(struct strata_store *store, uint32_t nr_layers);
/* Attaches, by name, to the first value: looks at a layer. Gives the us that
 * this took; that it goes away again is not in them. */
double bench_attach_us(const char *name, uint32_t dimension, uint32_t layer);

/* Commits one layer. Inlined, as it would stand in a user's loop. */
static inline void
bench_put(struct strata_store *store, uint32_t dimension, uint32_t layer,
	  const void *data, size_t size)
{
	struct strata_txn *txn;

	if (strata_txn_begin(store, &txn) != 0 ||
	    strata_put(txn, dimension, layer, NULL, data, size,
		       STRATA_PUT_BORROW) != 0 ||
	    strata_txn_commit(txn, NULL) != 0)
		need(false, "commit");
}

/**** files ****/

/* Where the file of a dimension is; valid until the next call. */
const char *bench_file_path(const struct bench *bench, uint32_t dimension);
/* Writes it, layers 0 to nr - 1, of one size and one after the other. */
void bench_file(const struct bench *bench, uint32_t dimension,
		const void *contents, uint32_t nr, size_t size);
void bench_file_remove(const struct bench *bench, uint32_t dimension);
/* Loads a dimension as a region, layers 0 to nr - 1, by a file. */
void bench_load_each(const struct bench *bench, struct strata_store *store,
		     uint32_t dimension, const void *const *contents,
		     const size_t *sizes, uint32_t nr);
/* The same for contents of one size, one after the other. */
void bench_load(const struct bench *bench, struct strata_store *store,
		uint32_t dimension, const void *contents, uint32_t nr,
		size_t size);

#endif
