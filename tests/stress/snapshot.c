/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Eight reading processes see one version a section, whatever a writer does. */
#include <unistd.h>

#include "content.h"
#include "proc.h"
#include "snapshot.h"

#define NR_READERS 8u

struct run {
	struct snapshot_board *board;
	struct snapshot_options options;
	unsigned index; /* of the reader to be started */
};

/* In a child: nothing of the store is inherited. */
static void
reader_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	struct strata_store *store;

	(void)parent;
	need(strata_attach(run->options.store, STRATA_READ, &store) == 0,
	     "attach");
	need(snapshot_read(store, run->board, &run->options,
			   run->options.seed + 1 + run->index),
	     "reader %u", run->index);
	need(strata_detach(store) == 0, "detach");
}

static void
writer_main(struct proc *parent, void *arg)
{
	const struct run *run = arg;
	struct strata_store *store;

	(void)parent;
	need(strata_attach(run->options.store, STRATA_WRITE, &store) == 0,
	     "attach");
	need(snapshot_write(store, run->board, &run->options), "writer");
	need(strata_detach(store) == 0, "detach");
}

/* Returns how many ended badly. The writer ends by itself, and is waited for
 * first: the readers end when they are told. */
static unsigned
run_all(struct run *run)
{
	struct proc readers[NR_READERS], writer;
	unsigned nr_bad;

	for (run->index = 0; run->index < NR_READERS; run->index++)
		proc_start(&readers[run->index], reader_main, run);
	proc_start(&writer, writer_main, run);
	nr_bad = proc_wait(&writer) != 0;
	atomic_store_explicit(&run->board->stop, 1, memory_order_relaxed);
	for (unsigned i = 0; i < NR_READERS; i++)
		nr_bad += proc_wait(&readers[i]) != 0;
	return nr_bad;
}

int
main(void)
{
	struct run run = {
		.options = {.store = store_name("snapshot"),
			    .folder = shm_begin(),
			    .seed = test_seed(),
			    .length_ns = snapshot_length_ns(3, 20, 600),
			    .section_ns = 50 * 1000 * 1000,
			    .nr_layers = CONTENT_LAYERS,
			    .regions = true},
	};
	unsigned nr_bad;
	bool right;

	run.board = snapshot_board_new();
	snapshot_create(run.options.store);
	nr_bad = run_all(&run);
	right = snapshot_board_judge(run.board, &run.options);
	need(right && nr_bad == 0, "%u processes ended badly", nr_bad);
	snapshot_destroy(&run.options);
	shm_end();
	snapshot_board_free(run.board);
	return 0;
}
