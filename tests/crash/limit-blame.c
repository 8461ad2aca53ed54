/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Where readers are the reason, a refusal names the one that retains most. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pattern.h"
#include "proc.h"
#include "store.h"

#define SIZE (16 << 10)

static struct strata_store *store;
static uint64_t generation;

/**** writing ****/

static void
fill(char *data, size_t size, uint32_t dimension, uint32_t layer)
{
	struct pattern pattern = {dimension, layer, generation, 0};

	pattern_fill(data, size, &pattern);
}

/* A transaction over layers [from, to) of dimension 1, not yet committed. */
static struct strata_txn *
stage(uint32_t from, uint32_t to)
{
	struct strata_txn *txn;
	char data[SIZE];

	generation++;
	need(strata_txn_begin(store, &txn) == 0, "begin");
	for (uint32_t layer = from; layer < to; layer++) {
		fill(data, SIZE, 1, layer);
		need(strata_put(txn, 1, layer, NULL, data, SIZE, 0) == 0,
		     "put");
	}
	return txn;
}

static void
commit(uint32_t from, uint32_t to)
{
	need(strata_txn_commit(stage(from, to), NULL) == 0, "commit");
}

/**** readers ****/

/* Stays in one section; checks all of it whenever it is told to. */
static int
check_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct pattern pattern;

	need(pattern_check(strata_data(arg, entry), entry->size, &pattern) &&
		     pattern.layer == layer,
	     "layer %u is torn", layer);
	return 0;
}

static void
hold(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *mine;

	need(strata_attach(arg, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	for (;;) {
		need(strata_foreach_layer(reader, 1, check_layer, reader) == 0,
		     "walk");
		proc_say(parent, 'h');
		proc_hear(parent, 'c');
	}
}

static void
start_holder(struct proc *proc, char *name)
{
	proc_start(proc, hold, name);
	proc_hear(proc, 'h');
}

static void
still_right(struct proc *proc)
{
	proc_say(proc, 'c');
	proc_hear(proc, 'h');
}

/**** refusals ****/

static void
check_refusal(int code, int expected, const struct proc *guilty,
	      const struct proc *other)
{
	const struct strata_error_info *error = strata_last_error();
	char blamed[64], innocent[64];

	need(code == expected, "refused with %d, not %d", code, expected);
	snprintf(blamed, sizeof(blamed), "reader %d ", (int)guilty->pid);
	snprintf(innocent, sizeof(innocent), "reader %d ", (int)other->pid);
	need(strstr(error->sentence, blamed) != NULL,
	     "the refusal does not name %s", blamed);
	need(strstr(error->sentence, innocent) == NULL,
	     "the refusal names %s, which retains less", innocent);
	need(error->limit != 0 && error->used != 0 && error->reserved != 0 &&
		     error->requested != 0,
	     "numbers are missing in the refusal");
	printf("refused: %s\n", error->sentence);
}

static void
open_store(const char *name, const struct strata_config *config)
{
	need(strata_create(name, config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
}

static void
close_store(const char *name)
{
	struct strata_verify_report report;

	need(strata_verify(store, 0, NULL, NULL, &report) == 0, "verify");
	need(report.errors == 0, "%s", report.first);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

/*
 * The store has room for twice its layers. One reader keeps nine tenths of
 * them, then another one keeps one tenth; so what is left is not enough to
 * replace all once more. When the first is killed it is.
 */
static void
blame_in_commit(const struct strata_config *config, uint32_t nr_layers,
		int expected)
{
	uint32_t nr_most = nr_layers - nr_layers / 10;
	struct proc most, least;
	struct strata_txn *txn;
	char name[STRATA_STORE_NAME_MAX + 1];
	uint64_t version;
	int code;

	strcpy(name, store_name("blame"));
	open_store(name, config);
	commit(0, nr_layers);
	start_holder(&most, name);
	commit(0, nr_most);
	start_holder(&least, name);
	commit(nr_most, nr_layers);
	version = strata_version(store);
	txn = stage(0, nr_layers);
	code = strata_txn_commit(txn, NULL);
	check_refusal(code, expected, &most, &least);
	need(strata_version(store) == version, "a refusal changed something");
	still_right(&most);
	still_right(&least);
	proc_kill(&most);
	need(strata_txn_commit(txn, NULL) == 0,
	     "the reader is dead, but the commit is refused");
	still_right(&least);
	proc_kill(&least);
	commit(0, nr_layers);
	close_store(name);
}

/**** regions ****/

static void
make_file(const char *path, size_t size)
{
	struct strata_file_info info = {.dimension = 1};
	char *data = malloc(size);
	struct strata_file *file;

	need(data != NULL, "memory");
	generation++;
	fill(data, size, 1, 0);
	need(strata_file_begin(path, 0600, &info, &file) == 0, "file");
	need(strata_file_add(file, 0, NULL, data, size) == 0, "add");
	need(strata_file_commit(file) == 0, "file commit");
	free(data);
}

/* A limit of little more than three regions. Two readers keep one each. */
static void
blame_in_reload(void)
{
	struct strata_config config = {
		.limit = 32 << 20,
		.nr_pools = 2,
		.pools = {{4 << 10, 1 << 20}, {16 << 10, 1 << 20}},
	};
	char path[] = "/tmp/strata-blame-XXXXXX";
	char name[STRATA_STORE_NAME_MAX + 1];
	struct proc most, least;
	int fd = mkstemp(path);

	need(fd >= 0, "mkstemp");
	close(fd);
	strcpy(name, store_name("blame"));
	open_store(name, &config);
	make_file(path, 14 << 20);
	need(strata_load(store, path, NULL) == 0, "load");
	start_holder(&most, name);
	make_file(path, 6 << 20);
	need(strata_reload(store, 1, path) == 0, "reload");
	start_holder(&least, name);
	need(strata_reload(store, 1, path) == 0, "reload");
	check_refusal(strata_reload(store, 1, path), STRATA_ELIMIT, &most,
		      &least);
	still_right(&most);
	still_right(&least);
	proc_kill(&most);
	need(strata_reload(store, 1, path) == 0,
	     "the reader is dead, but the reload is refused");
	still_right(&least);
	proc_kill(&least);
	unlink(path);
	close_store(name);
}

int
main(void)
{
	/* Room for 256 blocks of 16 KiB, and nothing larger to spill to. */
	struct strata_config full_class = {
		.limit = 64 << 20,
		.nr_pools = 2,
		.pools = {{4 << 10, 8 << 20}, {16 << 10, 17 << 18}},
	};
	/* Pools that may grow to more than the limit, together. */
	struct strata_config full_store = {
		.limit = 32 << 20,
		.nr_pools = 2,
		.pools = {{4 << 10, 16 << 20}, {16 << 10, 32 << 20}},
	};

	shm_begin();
	blame_in_commit(&full_class, 120, STRATA_ECLASS);
	blame_in_commit(&full_store, 650, STRATA_ELIMIT);
	blame_in_reload();
	shm_end();
	return 0;
}
