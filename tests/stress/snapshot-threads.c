/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The snapshot test with threads of one process, for ThreadSanitizer; one of
 * them observes. */
#include <pthread.h>

#include "content.h"
#include "proc.h"
#include "snapshot.h"

#define NR_READERS 4u

/* All share one handle of the store. */
struct run {
	struct strata_store *store;
	struct snapshot_board *board;
	struct snapshot_options options;
};

struct reader {
	pthread_t thread;
	const struct run *run;
	uint64_t seed;
};

static void *
reader_main(void *arg)
{
	const struct reader *reader = arg;

	(void)snapshot_read(reader->run->store, reader->run->board,
			    &reader->run->options, reader->seed);
	return NULL;
}

static void *
observer_main(void *arg)
{
	const struct reader *reader = arg;

	(void)snapshot_observe(reader->run->store, reader->run->board,
			       &reader->run->options, reader->seed,
			       /* nr_copies= */ UINT64_MAX, /* nr_versions= */ 0);
	return NULL;
}

static void
run_all(struct run *run)
{
	struct reader readers[NR_READERS + 1];

	need(strata_attach(run->options.store, STRATA_WRITE, &run->store) == 0,
	     "attach");
	for (unsigned i = 0; i <= NR_READERS; i++) {
		readers[i].run = run;
		readers[i].seed = run->options.seed + 1 + i;
		need(pthread_create(&readers[i].thread, NULL,
				    i < NR_READERS ? reader_main : observer_main,
				    &readers[i]) == 0,
		     "thread");
	}
	(void)snapshot_write(run->store, run->board, &run->options);
	for (unsigned i = 0; i <= NR_READERS; i++)
		pthread_join(readers[i].thread, NULL);
	need(strata_detach(run->store) == 0, "detach");
}

int
main(void)
{
	struct run run = {
		.options = {.store = store_name("threads"),
			    .folder = shm_begin(),
			    .seed = test_seed(),
			    .length_ns = snapshot_length_ns(2, 6, 120),
			    .section_ns = 50 * 1000 * 1000,
			    .nr_layers = CONTENT_LAYERS,
			    .regions = true},
	};

	run.board = snapshot_board_new();
	snapshot_create(run.options.store);
	run_all(&run);
	need(snapshot_board_judge(run.board, &run.options), "see above");
	snapshot_destroy(&run.options);
	shm_end();
	snapshot_board_free(run.board);
	return 0;
}
