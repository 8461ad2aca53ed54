/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Is a store sound, and is nothing lost? For a test that has it for itself. */
#include "sound.h"

#include <inttypes.h>
#include <stdbool.h>

#include "proc.h"

/* Nothing takes that long; but who waits for ever should say for what. */
#define PATIENCE_NS (UINT64_C(300) * 1000000000)

void
sound_store(struct strata_store *store)
{
	struct strata_verify_report report;

	need(strata_verify(store, 0, NULL, NULL, &report) == 0, "verify");
	need(report.errors == 0, "%" PRIu64 " errors: %s", report.errors,
	     report.first);
}

void
sound_collect(struct strata_store *store)
{
	uint64_t begin = test_now_ns();
	struct strata_gc_report report;

	do {
		need(strata_gc(store, &report) == 0, "gc");
		need(test_now_ns() - begin < PATIENCE_NS,
		     "%" PRIu64 " bytes cannot be reclaimed", report.retained);
	} while (report.retained != 0);
}

static unsigned
check_bytes(struct strata_store *store, bool may_be_less,
	    struct strata_stats *stats)
{
	unsigned nr_files;
	uint64_t bytes = shm_bytes(&nr_files);

	stats->struct_size = sizeof(*stats);
	need(strata_stats(store, stats) == 0, "stats");
	need(bytes == stats->reserved ||
		     (may_be_less && bytes < stats->reserved),
	     "%" PRIu64 " bytes are reserved, but files have %" PRIu64,
	     stats->reserved, bytes);
	need(stats->reserved <= stats->limit,
	     "%" PRIu64 " bytes are reserved, the limit is %" PRIu64,
	     stats->reserved, stats->limit);
	return nr_files;
}

void
sound_bytes(struct strata_store *store)
{
	struct strata_stats stats;

	(void)check_bytes(store, /* may_be_less= */ false, &stats);
}

void
sound_bytes_at_most(struct strata_store *store)
{
	struct strata_stats stats;

	(void)check_bytes(store, /* may_be_less= */ true, &stats);
}

void
sound_memory(struct strata_store *store)
{
	struct strata_stats stats;
	unsigned nr_files =
		check_bytes(store, /* may_be_less= */ false, &stats);

	need(stats.retired == 0, "%" PRIu64 " bytes are retired",
	     stats.retired);
	/* Catalog, lock, the pins of our user; a pool or region each. */
	need(nr_files == 3 + stats.nr_pools + stats.nr_regions,
	     "%u files; %u pools and %" PRIu64 " regions need three more",
	     nr_files, stats.nr_pools, stats.nr_regions);
}
