/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What there is before, what is done, and what may have become of it. */
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "contents.h"
#include "layout.h"
#include "proc.h"
#include "scenarios-private.h"

static enum outcome
judge_generation(uint32_t dimension)
{
	uint64_t now = contents_generation(dimension);

	need(now == *contents_before || now == *contents_before + 1,
	     "generation %" PRIu64 " became %" PRIu64, *contents_before, now);
	return now == *contents_before ? OLD : NEW;
}

static enum outcome
judge_crystallized(uint32_t id)
{
	struct strata_dimension dimension;
	struct strata_reader *reader;

	need(contents_generation(id) == *contents_before,
	     "crystallising changed contents");
	need(strata_reader_open(contents_store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	need(strata_dimension_get(reader, id, &dimension) == 0, "get");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	return dimension.state == STRATA_DIMENSION_CRYSTALLIZED ? NEW : OLD;
}

void
prepare_group(void)
{
	*contents_before = contents_generation(1);
}

void
act_commit(void)
{
	contents_commit(contents_step());
}

enum outcome
judge_group(void)
{
	return judge_generation(1);
}

/* Commits all of it but for the last, which cannot be done. */
void
act_refused(void)
{
	struct strata_txn *txn = contents_step();

	need(strata_remove(txn, 1, 1000) == 0, "remove");
	need(strata_txn_commit(txn, NULL) == STRATA_ENOLAYER,
	     "the removal of no layer was not refused");
	strata_txn_abort(txn);
}

enum outcome
judge_unchanged(void)
{
	need(judge_generation(1) == OLD, "a refused transaction is visible");
	return OLD;
}

void
prepare_unloaded(void)
{
	if (contents_generation(LOADED) != 0)
		need(strata_unload(contents_store, LOADED, 0) == 0, "unload");
	contents_file(LOADED, 1);
	*contents_before = 0;
}

void
act_load(void)
{
	need(strata_load(contents_store, contents_path, NULL) == 0, "load");
}

void
prepare_loaded(void)
{
	if (contents_generation(LOADED) == 0) {
		contents_file(LOADED, 1);
		act_load();
	}
	*contents_before = contents_generation(LOADED);
	contents_file(LOADED, *contents_before + 1);
}

void
act_reload(void)
{
	need(strata_reload(contents_store, LOADED, contents_path) == 0,
	     "reload");
}

enum outcome
judge_loaded(void)
{
	return judge_generation(LOADED);
}

void
act_unload(void)
{
	need(strata_unload(contents_store, LOADED, 0) == 0, "unload");
}

enum outcome
judge_unloaded(void)
{
	uint64_t now = contents_generation(LOADED);

	need(now == 0 || now == *contents_before, "another generation");
	return now == 0 ? NEW : OLD;
}

/* Regions that have large pages, where these can be had. */
void
prepare_large_file(void)
{
	*contents_before = contents_generation(LARGE);
	if (*contents_before == 0) {
		contents_file(LARGE, 1);
		act_load();
		*contents_before = 1;
	}
	contents_file(LARGE, *contents_before + 1);
}

/* The region of before is kept for the one that comes. */
void
prepare_spare(void)
{
	prepare_large_file();
	contents_file(LARGE, *contents_before);
	act_reload_large();
	contents_file(LARGE, *contents_before + 1);
}

void
act_reload_large(void)
{
	need(strata_reload(contents_store, LARGE, contents_path) == 0,
	     "reload");
}

enum outcome
judge_large(void)
{
	return judge_generation(LARGE);
}

void
prepare_large_hybrid(void)
{
	struct strata_txn *txn;

	prepare_large_file();
	txn = contents_begin();
	contents_put(txn, LARGE, 1, *contents_before);
	contents_commit(txn);
}

void
act_crystallize_large(void)
{
	need(strata_crystallize(contents_store, LARGE) == 0, "crystallise");
}

enum outcome
judge_large_crystal(void)
{
	return judge_crystallized(LARGE);
}

/* All in pool blocks; and its region, if it had one, is gone. */
void
prepare_protos(void)
{
	struct strata_txn *txn = contents_begin();
	uint64_t generation = contents_generation(CRYSTAL) + 1;

	if (generation > 1)
		need(strata_remove_dimension(txn, CRYSTAL) == 0, "remove");
	contents_put_all(txn, CRYSTAL, generation);
	contents_commit(txn);
	*contents_before = generation;
}

void
act_crystallize(void)
{
	need(strata_crystallize(contents_store, CRYSTAL) == 0, "crystallise");
}

/* A region, and changes over it. */
void
prepare_hybrid(void)
{
	struct strata_txn *txn;

	prepare_protos();
	act_crystallize();
	txn = contents_begin();
	contents_put(txn, CRYSTAL, 1, *contents_before);
	contents_put(txn, CRYSTAL, 4, *contents_before);
	contents_commit(txn);
}

enum outcome
judge_crystal(void)
{
	return judge_crystallized(CRYSTAL);
}

/* What is published is durable. */
enum outcome
judge_durable(void)
{
	enum outcome outcome = judge_crystal();
	char path[256];

	if (outcome == NEW) {
		need(strata_file_path(contents_directory, CRYSTAL, path,
				      sizeof(path)) == 0,
		     "path");
		need(strata_file_verify(path, 0, NULL) == 0,
		     "published, but its file is damaged");
	}
	return outcome;
}

/* A dimension that is not there; and no blocks for it. */
void
prepare_small(void)
{
	struct strata_txn *txn = contents_begin();

	if (contents_generation(GROWN) != 0)
		need(strata_remove_dimension(txn, GROWN) == 0, "remove");
	contents_commit(txn);
	need(strata_gc(contents_store, NULL) == 0, "gc");
	*contents_before = 0;
}

void
act_grow(void)
{
	struct strata_txn *txn = contents_begin();

	contents_put_all(txn, GROWN, 1);
	contents_commit(txn);
}

enum outcome
judge_grown(void)
{
	return judge_generation(GROWN);
}

/* Grown for what is to be removed. */
void
prepare_large(void)
{
	prepare_small();
	act_grow();
	prepare_group();
}

void
act_shrink(void)
{
	struct strata_txn *txn = contents_begin();

	need(strata_remove_dimension(txn, GROWN) == 0, "remove");
	contents_commit(txn);
	need(strata_gc(contents_store, NULL) == 0, "gc");
}

void
act_gc(void)
{
	need(strata_gc(contents_store, NULL) == 0, "gc");
}

static uint64_t
limit_now(void)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};

	need(strata_stats(contents_store, &stats) == 0, "stats");
	return stats.limit;
}

static uint64_t
other_limit(uint64_t limit)
{
	return SCENARIO_LIMIT + SCENARIO_LIMIT_MAX - limit;
}

void
prepare_limit(void)
{
	*contents_before = limit_now();
}

void
act_limit(void)
{
	need(strata_limit(contents_store, other_limit(*contents_before)) == 0,
	     "limit");
}

enum outcome
judge_limit(void)
{
	uint64_t now = limit_now();

	need(now == *contents_before || now == other_limit(*contents_before),
	     "the limit became %" PRIu64, now);
	return now == *contents_before ? OLD : NEW;
}

void
act_session(void)
{
	struct strata_writer *writer;

	need(strata_writer_open(contents_store, &writer) == 0, "session");
	act_commit();
	need(strata_writer_close(writer) == 0, "close");
}

/* So much garbage that the commit that comes reclaims it. */
void
prepare_due(void)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	uint64_t before_step = 0, step = 0;

	while (stats.retired + step + step / 20 <= stats.limit / 32) {
		before_step = stats.retired;
		contents_commit(contents_step());
		need(strata_stats(contents_store, &stats) == 0, "stats");
		step = stats.retired - before_step;
	}
	prepare_group();
}

/* One dimension that loses its region and its protos. */
void
prepare_removable(void)
{
	prepare_hybrid();
	prepare_group();
}

void
act_remove_dimension(void)
{
	struct strata_txn *txn = contents_begin();

	need(strata_remove_dimension(txn, CRYSTAL) == 0, "remove");
	contents_commit(txn);
}

enum outcome
judge_removed(void)
{
	return contents_generation(CRYSTAL) == 0 ? NEW : OLD;
}

/* Content over a region keeps the metadata that it has there. */
void
prepare_crystal(void)
{
	prepare_protos();
	act_crystallize();
}

void
act_replace(void)
{
	struct strata_txn *txn = contents_begin();

	need(strata_replace(txn, CRYSTAL, 2, NULL,
			    contents_of(CRYSTAL, 2, *contents_before),
			    contents_size(CRYSTAL, 2), 0) == 0,
	     "replace");
	contents_commit(txn);
}

/* The other way round: over a region is new, all in the region old. */
enum outcome
judge_replaced(void)
{
	return judge_crystal() == NEW ? OLD : NEW;
}

void
act_append(void)
{
	struct strata_txn *txn = contents_begin();

	need(strata_append(txn, APPENDED, NULL, "one more", 8, 0, NULL) == 0,
	     "append");
	contents_commit(txn);
}

static uint64_t
nr_appended(void)
{
	struct strata_dimension dimension = {.nr_layers = 0};
	struct strata_reader *reader;
	int code;

	need(strata_reader_open(contents_store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	code = strata_dimension_get(reader, APPENDED, &dimension);
	need(code == 0 || code == STRATA_ENODIM, "get");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	return dimension.nr_layers;
}

/* As many as in a node of a dimension, so that the next makes it higher. */
void
prepare_appended(void)
{
	struct strata_txn *txn = contents_begin();

	if (nr_appended() != 0)
		need(strata_remove_dimension(txn, APPENDED) == 0, "remove");
	for (unsigned i = 0; i < STRATA_INLINE_ENTRIES; i++)
		need(strata_append(txn, APPENDED, NULL, "one more", 8, 0,
				   NULL) == 0,
		     "append");
	contents_commit(txn);
}

enum outcome
judge_appended(void)
{
	uint64_t nr = nr_appended();

	need(nr == STRATA_INLINE_ENTRIES || nr == STRATA_INLINE_ENTRIES + 1,
	     "%" PRIu64 " layers", nr);
	return nr == STRATA_INLINE_ENTRIES ? OLD : NEW;
}

/* One more is in a leaf, and two. */
void
prepare_leaf(void)
{
	prepare_appended();
	act_append();
	act_append();
}

void
act_remove_in_leaf(void)
{
	struct strata_txn *txn = contents_begin();

	need(strata_remove(txn, APPENDED, 5) == 0, "remove");
	contents_commit(txn);
}

enum outcome
judge_leaf(void)
{
	uint64_t nr = nr_appended();

	need(nr == STRATA_INLINE_ENTRIES + 1 || nr == STRATA_INLINE_ENTRIES + 2,
	     "%" PRIu64 " layers", nr);
	return nr == STRATA_INLINE_ENTRIES + 2 ? OLD : NEW;
}

/* More than the largest pool may have. */
void
act_overfill(void)
{
	struct strata_txn *txn = contents_begin();
	int code = 0;

	for (uint32_t i = 0; i < 250; i++)
		need(strata_put(txn, GROWN, i, NULL, contents_of(GROWN, i, 1),
				contents_size(GROWN, i), 0) == 0,
		     "put");
	code = strata_txn_commit(txn, NULL);
	need(code == STRATA_ECLASS || code == STRATA_ELIMIT,
	     "too much for the pools: %d", code);
	strata_txn_abort(txn);
}

/* The file that is loaded next is damaged in its last content. */
void
prepare_damaged(void)
{
	int fd;

	prepare_loaded();
	fd = open(contents_path, O_WRONLY | O_CLOEXEC);
	need(fd >= 0 && lseek(fd, -70, SEEK_END) > 0 &&
		     write(fd, "damaged", 7) == 7 && close(fd) == 0,
	     "cannot damage a file");
}

void
act_reload_damaged(void)
{
	need(strata_reload(contents_store, LOADED, contents_path) ==
		     STRATA_EFORMAT,
	     "a damaged file was not refused");
}

enum outcome
judge_not_loaded(void)
{
	need(judge_generation(LOADED) == OLD, "a damaged file was loaded");
	return OLD;
}

/* Commits, and leaves. */
void
act_leave(void)
{
	act_commit();
	need(strata_detach(contents_store) == 0, "detach");
}

/* Removed, and its file with it. */
void
act_forget(void)
{
	need(strata_unload(contents_store, CRYSTAL, /* forget= */ 1) == 0,
	     "forget");
}

enum outcome
judge_forgotten(void)
{
	char path[256];

	need(strata_file_path(contents_directory, CRYSTAL, path,
			      sizeof(path)) == 0,
	     "path");
	if (contents_generation(CRYSTAL) != 0) {
		need(strata_file_verify(path, 0, NULL) == 0,
		     "the file is gone, the dimension is not");
		return OLD;
	}
	return NEW;
}

/* Loaded, with protos over it, and a file of the next generation. */
void
prepare_contended(void)
{
	struct strata_txn *txn;

	prepare_loaded();
	txn = contents_begin();
	contents_put(txn, LOADED, 1, *contents_before);
	contents_put(txn, LOADED, 4, *contents_before);
	contents_commit(txn);
}

static void
check_rival(int code)
{
	need(code == 0 || code == STRATA_EEXIST || code == STRATA_ENODIM,
	     "beside another: %d", code);
}

void
rival_load(void)
{
	check_rival(strata_load(contents_store, contents_path, NULL));
}

void
rival_reload(void)
{
	check_rival(strata_reload(contents_store, LOADED, contents_path));
}

/* Has the lock most of the time. */
void
rival_commit(void)
{
	for (unsigned i = 0; i < 30; i++)
		scenario_touch();
}

void
rival_crystallize(void)
{
	check_rival(strata_crystallize(contents_store, LOADED));
}

/* Keeps what the one before, who is dead, has said. */
void
prepare_nothing(void)
{
}
