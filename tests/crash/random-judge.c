/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The random driver's judge: does the store agree with the model? */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "sound.h"

/*
 * All writers stand still, or are dead. What a dead one was at happened or did
 * not: the store is asked which. Then all that happened is done again in the
 * model, in the order of versions; what each dimension became, and when, is
 * remembered. Each sight must agree with that: in a version that it was seen
 * in, a dimension is what the last operation up to that version made of it. Of
 * operations other than transactions the version is known to lie in a range
 * only: in there a sight may be of before or after, but not of after and then
 * of before.
 */

#define NR_ALL  (NR_WRITERS * NR_OPERATIONS)
#define NR_SEEN (NR_READERS * NR_SIGHTS + 1)

struct judge {
	struct strata_store *store;
	struct strata_reader *reader;
	struct sight now; /* what the judge sees */
	const struct operation *happened[NR_ALL];
	size_t nr_happened;
	const struct sight *seen[NR_SEEN];
	size_t nr_seen;
	uint64_t taken[NR_READERS]; /* sights of each */
};

static struct judge judge;

/**** what the dead were at ****/

/* The operation in which a writer died; NULL: none. */
static struct operation *
uncertain(struct writer *writer)
{
	uint32_t nr = atomic_load_explicit(&writer->nr, memory_order_acquire);
	struct operation *last = &writer->operations[nr - 1];

	if (nr == 0 ||
	    atomic_load_explicit(&last->fate, memory_order_acquire) != PLANNED)
		return NULL;
	return last;
}

static void
settle(struct operation *operation, bool happened, uint64_t low, uint64_t high)
{
	operation->low = low;
	operation->high = high;
	atomic_store_explicit(&operation->fate, happened ? HAPPENED : NOTHING,
			      memory_order_relaxed);
	figure(UNCERTAIN);
	if (happened)
		figure(OF_THESE_HAPPENED);
}

/* Each transaction puts its writer's mark first. */
static void
settle_transaction(struct operation *operation)
{
	const struct change *mark = &operation->changes[0];
	const struct strata_entry *entry;
	const uint64_t *words;

	if (strata_find(judge.reader, dim_number(MARKS), mark->layer, &entry) !=
	    0) {
		settle(operation, false, 0, 0);
		return;
	}
	words = strata_data(judge.reader, entry);
	settle(operation, words[0] == mark->number, entry->version - 1,
	       entry->version);
}

/* Of one dimension, which nobody else changes. */
static void
settle_other(struct operation *operation)
{
	static struct model after;
	const struct change *change = &operation->changes[0];
	uint64_t print = judge.now.prints[change->dim];
	const char *wrong;

	after = shared->model;
	wrong = model_apply(&after, change);
	need(wrong == NULL, "the plan was wrong: %s", wrong);
	if (print == dim_print(&after.dims[change->dim])) {
		settle(operation, true, operation->low, judge.now.version);
		return;
	}
	need(print == dim_print(&shared->model.dims[change->dim]),
	     "a writer died while it changed dimension %u, which is neither "
	     "what it was before nor what it was to be",
	     dim_number(change->dim));
	settle(operation, false, 0, 0);
}

/* Transactions first: others are judged by the model, which needs these. */
static void
settle_dead(bool exact)
{
	for (unsigned i = 0; i < NR_WRITERS; i++) {
		struct operation *last = uncertain(&shared->writers[i]);

		if (last == NULL)
			continue;
		need(shared->dead[i], "writer %u lives, but is in an operation",
		     i);
		if (last->exact != exact)
			continue;
		if (exact)
			settle_transaction(last);
		else
			settle_other(last);
	}
}

/**** doing it again ****/

static void
remember(const struct operation *operation, uint32_t dim)
{
	uint32_t *nr = &shared->nr_pasts[dim];
	struct past *past = &shared->pasts[dim][*nr];

	/* A transaction may change it more than once. */
	if (*nr != 0 && operation->exact && past[-1].high == operation->high)
		past--;
	else
		(*nr)++;
	need(*nr <= NR_PASTS, "too many operations for one store");
	past->low = operation->low;
	past->high = operation->high;
	past->print = dim_print(&shared->model.dims[dim]);
}

static void
replay(const struct operation *operation)
{
	for (uint32_t i = 0; i < operation->nr; i++) {
		const struct change *change = &operation->changes[i];
		const char *wrong = model_apply(&shared->model, change);

		need(wrong == NULL,
		     "version %" PRIu64 " did what could not be done (change "
		     "%u, of kind %d, of layer %u/%u): %s",
		     operation->high, i, (int)change->kind,
		     dim_number(change->dim), change->layer, wrong);
	}
	for (uint32_t i = 0; i < operation->nr; i++)
		remember(operation, operation->changes[i].dim);
}

/* In the order of versions; what one writer did is in its order. */
static int
compare_operations(const void *a, const void *b)
{
	const struct operation *x = *(const struct operation *const *)a;
	const struct operation *y = *(const struct operation *const *)b;

	if (x->high != y->high)
		return x->high < y->high ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void
gather_happened(void)
{
	for (unsigned i = 0; i < NR_WRITERS; i++) {
		struct writer *writer = &shared->writers[i];
		uint32_t nr =
			atomic_load_explicit(&writer->nr, memory_order_acquire);

		for (uint32_t k = 0; k < nr; k++)
			if (atomic_load_explicit(&writer->operations[k].fate,
						 memory_order_relaxed) ==
			    HAPPENED)
				judge.happened[judge.nr_happened++] =
					&writer->operations[k];
	}
	qsort(judge.happened, judge.nr_happened, sizeof(judge.happened[0]),
	      compare_operations);
}

static void
replay_all(void)
{
	uint64_t last = 0;

	gather_happened();
	for (size_t i = 0; i < judge.nr_happened; i++) {
		const struct operation *operation = judge.happened[i];

		need(!operation->exact || operation->high != last,
		     "two transactions made version %" PRIu64, last);
		if (operation->exact)
			last = operation->high;
		replay(operation);
	}
}

/* Of the dead, that are known by the model only: each is the last of its
 * dimension. */
static void
replay_others(void)
{
	struct operation *lasts[NR_WRITERS];

	for (unsigned i = 0; i < NR_WRITERS; i++)
		lasts[i] = uncertain(&shared->writers[i]);
	settle_dead(/* exact= */ false);
	for (unsigned i = 0; i < NR_WRITERS; i++)
		if (lasts[i] != NULL &&
		    atomic_load_explicit(&lasts[i]->fate,
					 memory_order_relaxed) == HAPPENED)
			replay(lasts[i]);
}

/**** what was seen ****/

static int
compare_sights(const void *a, const void *b)
{
	const struct sight *x = *(const struct sight *const *)a;
	const struct sight *y = *(const struct sight *const *)b;

	return x->version < y->version ? -1 : x->version > y->version;
}

static void
gather_seen(void)
{
	for (unsigned i = 0; i < NR_READERS; i++) {
		struct reader *reader = &shared->readers[i];
		uint64_t k = atomic_load_explicit(&reader->judged,
						  memory_order_relaxed);

		judge.taken[i] =
			atomic_load_explicit(&reader->nr, memory_order_acquire);
		for (; k < judge.taken[i]; k++)
			judge.seen[judge.nr_seen++] =
				&reader->sights[k % NR_SIGHTS];
	}
	judge.seen[judge.nr_seen++] = &judge.now;
	qsort(judge.seen, judge.nr_seen, sizeof(judge.seen[0]), compare_sights);
}

/* The last one that is surely there in a version, plus one; 0: none. */
static uint32_t
surely(uint32_t dim, uint64_t version)
{
	uint32_t low = 0, high = shared->nr_pasts[dim];

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (shared->pasts[dim][mid].high <= version)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static uint64_t
print_after(uint32_t dim, uint32_t nr)
{
	return nr == 0 ? 0 : shared->pasts[dim][nr - 1].print;
}

/* Finds the earliest of the states that a sight can be of. */
static uint32_t
state_seen(const struct sight *sight, uint32_t dim, uint32_t at_least)
{
	uint32_t sure = surely(dim, sight->version);
	uint32_t nr = sure > at_least ? sure : at_least;

	for (;; nr++) {
		if (sight->prints[dim] == print_after(dim, nr))
			return nr;
		need(nr < shared->nr_pasts[dim] &&
			     shared->pasts[dim][nr].low < sight->version,
		     "a section of version %" PRIu64 " (now %" PRIu64
		     ") saw what dimension %u was not: it was changed %u times "
		     "by then, the last in version %" PRIu64,
		     sight->version, judge.now.version, dim_number(dim), sure,
		     sure == 0 ? 0 : shared->pasts[dim][sure - 1].high);
	}
}

static void
check_sights(uint32_t dim)
{
	uint32_t state = 0;

	for (size_t i = 0; i < judge.nr_seen; i++) {
		const struct sight *sight = judge.seen[i];

		need(i == 0 || sight->version != judge.seen[i - 1]->version ||
			     sight->prints[dim] ==
				     judge.seen[i - 1]->prints[dim],
		     "dimension %u is two things in version %" PRIu64,
		     dim_number(dim), sight->version);
		state = state_seen(sight, dim, state);
	}
}

static void
check_seen(void)
{
	gather_seen();
	for (uint32_t dim = 0; dim < NR_DIMS; dim++) {
		need(judge.now.prints[dim] ==
			     dim_print(&shared->model.dims[dim]),
		     "dimension %u is not what was made of it",
		     dim_number(dim));
		check_sights(dim);
	}
	atomic_fetch_add_explicit(&shared->figures[SIGHTS], judge.nr_seen,
				  memory_order_relaxed);
}

/**** the store as a whole ****/

static void
check_counts(void)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	uint64_t nr_dimensions = 0, nr_layers = 0;

	for (uint32_t dim = 0; dim < NR_DIMS; dim++) {
		nr_dimensions += shared->model.dims[dim].present;
		nr_layers += shared->model.dims[dim].nr;
	}
	need(strata_stats(judge.store, &stats) == 0, "stats");
	need(stats.nr_dimensions == nr_dimensions &&
		     stats.nr_layers == nr_layers,
	     "%" PRIu64 " dimensions with %" PRIu64
	     " layers, the model has %" PRIu64 " with %" PRIu64,
	     stats.nr_dimensions, stats.nr_layers, nr_dimensions, nr_layers);
}

/* What has a dimension's name is whole; what writers left half-written is gone.
 */
static void
check_files(void)
{
	const struct dirent *entry;
	DIR *dir = opendir(files);
	char path[600];

	need(dir != NULL, "opendir");
	while ((entry = readdir(dir)) != NULL) {
		need(strncmp(entry->d_name, ".D", 2) != 0, "'%s' outlived gc",
		     entry->d_name);
		if (entry->d_name[0] != 'D')
			continue;
		snprintf(path, sizeof(path), "%s/%s", files, entry->d_name);
		need(strata_file_verify(path, 0, NULL) == 0, "a file");
	}
	closedir(dir);
}

static void
check_store(void)
{
	sound_store(judge.store);
	if (shared->retained) {
		need(strata_gc(judge.store, NULL) == 0, "gc");
		sound_bytes(judge.store);
	} else {
		sound_collect(judge.store);
		sound_memory(judge.store);
	}
	check_counts();
	check_files();
	sound_store(judge.store);
}

static void
begin_again(void)
{
	for (unsigned i = 0; i < NR_WRITERS; i++)
		atomic_store_explicit(&shared->writers[i].nr, 0,
				      memory_order_release);
	for (unsigned i = 0; i < NR_READERS; i++)
		/* Release: they may overwrite what was read. */
		atomic_store_explicit(&shared->readers[i].judged,
				      judge.taken[i], memory_order_release);
}

void
judge_main(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
	need(strata_attach(store_is, STRATA_WRITE, &judge.store) == 0,
	     "attach");
	need(strata_reader_open(judge.store, &judge.reader) == 0, "open");
	need(strata_read_lock(judge.reader) == 0, "lock");
	sight_take(judge.reader, &judge.now);
	settle_dead(/* exact= */ true);
	need(strata_read_unlock(judge.reader) == 0, "unlock");
	replay_all();
	replay_others();
	check_seen();
	begin_again();
	check_store();
	need(strata_detach(judge.store) == 0, "detach");
}
