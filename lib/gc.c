/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Looking after a store: collecting garbage, changing the limit. */
#include <string.h>

#include "directory.h"
#include "error.h"
#include "newfile.h"
#include "remains.h"
#include "store.h"

/* What killed writers left half-written, also of dimensions that nobody will
 * write again. Slow, and no memory of the store's: outside of the lock. */
static void
sweep_directory(const struct strata_store *store)
{
	const char *directory = strata_directory(store);

	if (directory == NULL)
		return;
	strata__newfile_sweep(directory, "D[0-9]*.strata");
	strata__newfile_sweep(directory, STRATA_DIRECTORY_FILE);
}

int
strata_gc(struct strata_store *store, struct strata_gc_report *out)
{
	struct strata__counters *counters;
	struct strata_gc_report report;
	struct strata_error_info why;
	struct strata__swept swept;
	uint64_t reserved;
	int ret;

	memset(&report, 0, sizeof(report));
	ret = strata__write_begin(store);
	if (ret != 0)
		return ret;
	counters = &store->space.catalog->counters;
	reserved = strata__count(&counters->reserved);
	ret = strata__reclaim(store, &report.reclaimed);
	why = *strata__error();
	strata__doom_leftovers(store);
	(void)strata__segtab_sweep(&store->space, &report.segments);
	strata__pool_shrink(&store->space);
	/* Buries what was doomed; what it gives back counts. */
	strata__write_end(store);
	sweep_directory(store);
	strata__remains_sweep(&store->space.folder, &swept);
	report.segments += swept.files;
	report.retained = strata__retired_bytes(&store->space);
	if (reserved > strata__count(&counters->reserved))
		report.given_back =
			reserved - strata__count(&counters->reserved);
	report.given_back += swept.bytes;
	if (ret == 0 && out != NULL)
		*out = report;
	strata__pressure_look(store);
	/* What is said after it is of less weight. */
	if (ret != 0)
		*strata__error() = why;
	return ret;
}

static int
limit_set(struct strata_store *store, uint64_t limit)
{
	struct strata__counters *counters = &store->space.catalog->counters;
	uint64_t reserved = strata__count(&counters->reserved);

	if (limit < reserved) {
		/* Spares, for one. */
		strata__doom_leftovers(store);
		strata__fail(STRATA_ELIMIT,
			     "a limit of %llu bytes is less than the %llu that "
			     "store '%s' has reserved; run gc, or unload a "
			     "dimension first",
			     (unsigned long long)limit,
			     (unsigned long long)reserved, store->name);
		strata__space_error(&store->space, limit);
		return STRATA_ELIMIT;
	}
	strata__count_set(&counters->limit, limit);
	STRATA_TESTPOINT("limit.set");
	return 0;
}

static int
limit_check(const struct strata_store *store, uint64_t limit)
{
	if (limit >= STRATA_LIMIT_MIN &&
	    limit <= store->space.geometry->max_limit)
		return 0;
	return strata__fail(
		STRATA_EINVAL,
		"the limit of store '%s' can be %llu to %llu bytes (its "
		"--max-limit at creation), not %llu",
		store->name, (unsigned long long)STRATA_LIMIT_MIN,
		(unsigned long long)store->space.geometry->max_limit,
		(unsigned long long)limit);
}

static int
limit_locked(struct strata_store *store, void *arg)
{
	const uint64_t *limit = arg;
	int ret = limit_check(store, *limit);

	return ret == 0 ? limit_set(store, *limit) : ret;
}

int
strata_limit(struct strata_store *store, uint64_t limit)
{
	int ret = strata__write_twice(store, limit_locked, &limit);

	if (store != NULL)
		strata__pressure_look(store);
	return ret;
}
