/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A writer that changes everything at once, in every way there is. */
#include "snapshot.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "content.h"
#include "proc.h"

/* Commits between two operations on regions, and in one session, on average. */
#define BETWEEN_REGIONS 8
#define BETWEEN_TURNS   64
/* Readers leave their sections; so a shortage ends. */
#define SHORTAGE_NS (UINT64_C(20) * 1000 * 1000 * 1000)
/* A busy machine gets that much more time for enough to happen. */
#define PATIENCE_NS (UINT64_C(120) * 1000 * 1000 * 1000)

struct pen {
	struct strata_store *store;
	struct strata_writer *session; /* or NULL */
	struct snapshot_board *board;
	const struct snapshot_options *options;
	uint64_t random;
	uint64_t number; /* of the main dimensions' contents */
	bool aside;      /* is there */
	char *buffers[SNAPSHOT_MAIN][CONTENT_LAYERS];
};

static bool
failed(struct pen *pen, const char *what)
{
	snapshot_failure(pen->board, "writer: %s: %s", what,
			 strata_last_error()->sentence);
	return false;
}

static uint64_t
choose(struct pen *pen, uint64_t nr)
{
	return (test_random(&pen->random) >> 16) % nr;
}

static void
counted(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static bool
is_shortage(int ret)
{
	return ret == STRATA_ECLASS || ret == STRATA_ELIMIT ||
	       ret == STRATA_ESHM;
}

/* After a refusal: is it worth another try? */
static bool
again(struct pen *pen, int ret, uint64_t since)
{
	if (!is_shortage(ret) || test_now_ns() - since > SHORTAGE_NS)
		return false;
	counted(&pen->board->refusals);
	sched_yield();
	return true;
}

/**** a commit of everything ****/

static bool
stage_layer(struct pen *pen, struct strata_txn *txn, uint32_t dimension,
	    uint32_t layer, uint64_t number, bool exists)
{
	char *buffer = pen->buffers[dimension - SNAPSHOT_MAIN_FIRST][layer];
	size_t size = content_size(dimension, layer, number);
	unsigned flags = choose(pen, 2) != 0 ? STRATA_PUT_BORROW : 0;
	int ret;

	content_fill(buffer, dimension, layer, number);
	if (exists && choose(pen, 2) != 0)
		ret = strata_replace(txn, dimension, layer, NULL, buffer, size,
				     flags);
	else
		ret = strata_put(txn, dimension, layer, NULL, buffer, size,
				 flags);
	return ret == 0 || failed(pen, "put");
}

static bool
stage_all(struct pen *pen, struct strata_txn *txn, uint64_t number)
{
	for (uint32_t i = 0; i < SNAPSHOT_MAIN; i++) {
		uint32_t dimension = SNAPSHOT_MAIN_FIRST + i;
		bool exists = pen->number != 0;

		if (exists && choose(pen, 16) == 0) {
			if (strata_remove_dimension(txn, dimension) != 0)
				return failed(pen, "remove a dimension");
			exists = false;
		}
		for (uint32_t l = 0; l < pen->options->nr_layers; l++)
			if (!stage_layer(pen, txn, dimension, l, number,
					 exists))
				return false;
	}
	return true;
}

/* We are the only writer, so we know which version it will be. */
static bool
commit(struct pen *pen, struct strata_txn *txn, uint64_t number)
{
	uint64_t since = test_now_ns(), version = 0;
	int ret;

	atomic_store_explicit(&pen->board->next[number % SNAPSHOT_COMMITS], 0,
			      memory_order_relaxed);
	atomic_store_explicit(&pen->board->next[pen->number % SNAPSHOT_COMMITS],
			      number, memory_order_release);
	do
		ret = strata_txn_commit(txn, &version);
	while (ret != 0 && again(pen, ret, since));
	if (ret != 0) {
		strata_txn_abort(txn);
		return failed(pen, "commit");
	}
	if (version != number) {
		snapshot_failure(pen->board,
				 "a commit made version %" PRIu64
				 " after version %" PRIu64,
				 version, number - 1);
		return false;
	}
	pen->number = number;
	counted(&pen->board->commits);
	return true;
}

static bool
write_all(struct pen *pen)
{
	uint64_t number = strata_version(pen->store) + 1;
	struct strata_txn *txn;

	if (strata_txn_begin(pen->store, &txn) != 0)
		return failed(pen, "begin");
	if (!stage_all(pen, txn, number)) {
		strata_txn_abort(txn);
		return false;
	}
	return commit(pen, txn, number);
}

/**** regions ****/

/* A dimension file with contents of one number; its path is told. */
static bool
make_file(struct pen *pen, uint32_t dimension, uint32_t nr_layers,
	  uint64_t number, char *path, size_t size)
{
	struct strata_file_info info = {.dimension = dimension};
	struct strata_file *file;
	int ret;

	ret = strata_file_path(pen->options->folder, dimension, path, size);
	if (ret != 0 || strata_file_begin(path, 0600, &info, &file) != 0)
		return failed(pen, "begin a file");
	for (uint32_t l = 0; ret == 0 && l < nr_layers; l++) {
		content_fill(pen->buffers[0][l], dimension, l, number);
		ret = strata_file_add(file, l, NULL, pen->buffers[0][l],
				      content_size(dimension, l, number));
	}
	if (ret != 0) {
		strata_file_abort(file);
		return failed(pen, "add to a file");
	}
	return strata_file_commit(file) == 0 || failed(pen, "write a file");
}

/* An operation on a region; a lack of room for it is no failure. */
static bool
done(struct pen *pen, int ret, const char *what, _Atomic uint64_t *counter)
{
	if (ret == 0)
		counted(counter);
	else if (is_shortage(ret))
		counted(&pen->board->refusals);
	else
		return failed(pen, what);
	return true;
}

static bool
reload_main(struct pen *pen, uint32_t dimension)
{
	char path[256];

	if (!make_file(pen, dimension, pen->options->nr_layers, pen->number,
		       path, sizeof(path)))
		return false;
	return done(pen, strata_reload(pen->store, dimension, path), "reload",
		    &pen->board->reloaded);
}

static bool
change_aside(struct pen *pen)
{
	struct snapshot_board *board = pen->board;
	char path[256];
	int ret;

	if (pen->aside && choose(pen, 3) == 0) {
		pen->aside = false;
		return done(pen, strata_unload(pen->store, SNAPSHOT_ASIDE, 0),
			    "unload", &board->unloaded);
	}
	if (!make_file(pen, SNAPSHOT_ASIDE, SNAPSHOT_ASIDE_LAYERS,
		       choose(pen, UINT64_C(1) << 40) + 1, path, sizeof(path)))
		return false;
	if (pen->aside)
		return done(pen,
			    strata_reload(pen->store, SNAPSHOT_ASIDE, path),
			    "reload aside", &board->reloaded);
	ret = strata_load(pen->store, path, NULL);
	pen->aside = ret == 0;
	return done(pen, ret, "load", &board->loaded);
}

static bool
change_region(struct pen *pen)
{
	uint32_t dimension =
		SNAPSHOT_MAIN_FIRST + (uint32_t)choose(pen, SNAPSHOT_MAIN);

	switch (choose(pen, 4)) {
	case 0:
		return reload_main(pen, dimension);
	case 1:
		return change_aside(pen);
	default:
		return done(pen, strata_crystallize(pen->store, dimension),
			    "crystallize", &pen->board->crystallized);
	}
}

/**** the run ****/

static bool
collect(struct pen *pen)
{
	if (strata_gc(pen->store, NULL) != 0)
		return failed(pen, "gc");
	counted(&pen->board->collected);
	return true;
}

/* A part of the run is one session, the next is not. */
static bool
turn_session(struct pen *pen)
{
	int ret;

	if (pen->session != NULL) {
		ret = strata_writer_close(pen->session);
		pen->session = NULL;
	} else {
		ret = strata_writer_open(pen->store, &pen->session);
	}
	return ret == 0 || failed(pen, "session");
}

static bool
write_step(struct pen *pen)
{
	if (!write_all(pen))
		return false;
	if (pen->options->gc_always || choose(pen, 64) == 0)
		if (!collect(pen))
			return false;
	if (choose(pen, BETWEEN_TURNS) == 0 && !turn_session(pen))
		return false;
	return !pen->options->regions || choose(pen, BETWEEN_REGIONS) != 0 ||
	       change_region(pen);
}

static void
buffers_make(struct pen *pen)
{
	for (uint32_t d = 0; d < SNAPSHOT_MAIN; d++)
		for (uint32_t l = 0; l < CONTENT_LAYERS; l++) {
			pen->buffers[d][l] = malloc(content_size_max(l) + 8);
			need(pen->buffers[d][l] != NULL, "malloc");
		}
}

static void
buffers_free(struct pen *pen)
{
	for (uint32_t d = 0; d < SNAPSHOT_MAIN; d++)
		for (uint32_t l = 0; l < CONTENT_LAYERS; l++)
			free(pen->buffers[d][l]);
}

static bool
is_over(const struct pen *pen, uint64_t end)
{
	uint64_t now = test_now_ns();

	if (atomic_load_explicit(&pen->board->stop, memory_order_relaxed) != 0)
		return true;
	return now >= end &&
	       (snapshot_board_is_enough(pen->board, pen->options) ||
		now - end >= PATIENCE_NS);
}

static bool
write_run(struct pen *pen)
{
	uint64_t end = test_now_ns() + pen->options->length_ns;
	bool right = write_all(pen);

	atomic_store_explicit(&pen->board->ready, 1, memory_order_release);
	while (right && !is_over(pen, end))
		right = write_step(pen);
	if (pen->session != NULL && !turn_session(pen))
		right = false;
	atomic_store_explicit(&pen->board->stop, 1, memory_order_relaxed);
	return right;
}

bool
snapshot_write(struct strata_store *store, struct snapshot_board *board,
	       const struct snapshot_options *options)
{
	struct pen pen = {.store = store,
			  .board = board,
			  .options = options,
			  .random = options->seed};
	bool right;

	buffers_make(&pen);
	right = write_run(&pen);
	buffers_free(&pen);
	return right;
}
