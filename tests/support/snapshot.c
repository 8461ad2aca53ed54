/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The board of a snapshot run, and how its store begins and ends. */
#include "snapshot.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proc.h"

#define MIB(n) (UINT64_C(n) << 20)

uint64_t
snapshot_length_ns(double short_s, double default_s, double long_s)
{
	switch (test_length()) {
	case TEST_SHORT:
		return (uint64_t)(short_s * 1e9);
	case TEST_LONG:
		return (uint64_t)(long_s * 1e9);
	case TEST_NORMAL:
		break;
	}
	return (uint64_t)(default_s * 1e9);
}

/**** the board ****/

struct snapshot_board *
snapshot_board_new(void)
{
	return proc_shared(sizeof(struct snapshot_board));
}

void
snapshot_board_free(struct snapshot_board *board)
{
	munmap(board, sizeof(*board));
}

static void __attribute__((format(printf, 3, 0)))
tell(struct snapshot_board *board, _Atomic uint64_t *counter,
     const char *format, va_list args)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
	if (atomic_exchange_explicit(&board->told, 1, memory_order_relaxed) ==
	    0)
		vsnprintf(board->first, sizeof(board->first), format, args);
	atomic_store_explicit(&board->stop, 1, memory_order_relaxed);
}

void
snapshot_violation(struct snapshot_board *board, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	tell(board, &board->violations, format, args);
	va_end(args);
}

void
snapshot_failure(struct snapshot_board *board, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	tell(board, &board->failures, format, args);
	va_end(args);
}

bool
snapshot_is_current(const struct snapshot_board *board, uint64_t version,
		    uint64_t number)
{
	uint64_t next =
		atomic_load_explicit(&board->next[number % SNAPSHOT_COMMITS],
				     memory_order_relaxed);

	return number <= version && (next == 0 || next > version);
}

static uint64_t
count(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void
print(const struct snapshot_board *board)
{
	printf("%" PRIu64 " reads in %" PRIu64 " sections, %" PRIu64
	       " versions seen of %" PRIu64 " committed\n",
	       count(&board->reads), count(&board->sections),
	       count(&board->versions), count(&board->commits));
	printf("%" PRIu64 " crystallised, %" PRIu64 " reloaded, %" PRIu64
	       " loaded, %" PRIu64 " unloaded, %" PRIu64 " gc, %" PRIu64
	       " refusals\n",
	       count(&board->crystallized), count(&board->reloaded),
	       count(&board->loaded), count(&board->unloaded),
	       count(&board->collected), count(&board->refusals));
	printf("%" PRIu64 " violations, %" PRIu64 " failures%s%s\n",
	       count(&board->violations), count(&board->failures),
	       board->first[0] != '\0' ? "; the first: " : "", board->first);
}

bool
snapshot_board_is_enough(const struct snapshot_board *board,
			 const struct snapshot_options *options)
{
	return count(&board->sections) != 0 && count(&board->versions) > 1 &&
	       (!options->regions || count(&board->crystallized) != 0);
}

bool
snapshot_board_judge(const struct snapshot_board *board,
		     const struct snapshot_options *options)
{
	print(board);
	if (count(&board->violations) != 0 || count(&board->failures) != 0)
		return false;
	if (snapshot_board_is_enough(board, options))
		return true;
	printf("too little happened to say anything\n");
	return false;
}

/**** the store ****/

/* A version has nine blocks of the largest class, six of the next. */
void
snapshot_create(const char *name)
{
	const struct strata_config config = {
		.struct_size = sizeof(config),
		.limit = MIB(64),
		.nr_pools = 4,
		.pools = {{4096, MIB(6)},
			  {16384, MIB(4)},
			  {65536, MIB(10)},
			  {262144, MIB(28)}},
	};

	need(strata_create(name, &config) == 0, "create");
}

static void
check_clean(struct strata_store *store)
{
	struct strata_verify_report report;

	need(strata_verify(store, /* quick= */ 0, NULL, NULL, &report) == 0,
	     "verify");
	need(report.errors == 0, "verify found %" PRIu64 " errors: %s",
	     report.errors, report.first);
}

static void
check_nothing_retired(struct strata_store *store)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};

	need(strata_gc(store, NULL) == 0, "gc");
	need(strata_stats(store, &stats) == 0, "stats");
	need(stats.retired == 0,
	     "%" PRIu64 " bytes are retired, expected 0: "
	     "nobody reads",
	     stats.retired);
}

static void
remove_file(const char *folder, uint32_t dimension)
{
	char path[256];

	need(strata_file_path(folder, dimension, path, sizeof(path)) == 0,
	     "path");
	(void)unlink(path); /* not every run makes each */
}

void
snapshot_destroy(const struct snapshot_options *options)
{
	struct strata_store *store;

	need(strata_attach(options->store, STRATA_WRITE, &store) == 0,
	     "attach");
	check_clean(store);
	check_nothing_retired(store);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(options->store) == 0, "destroy");
	for (uint32_t i = 0; i < SNAPSHOT_MAIN; i++)
		remove_file(options->folder, SNAPSHOT_MAIN_FIRST + i);
	remove_file(options->folder, SNAPSHOT_ASIDE);
}
