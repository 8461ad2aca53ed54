/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* LMDB as a peer of benches, where the machine has it (its header at build
 * time, its library at run time): as it is by default, and NOSYNC and WRITEMAP.
 * Integer keys; readers renew and reset one transaction. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peer.h"
#include "proc.h"

#ifdef __has_include
#if __has_include(<lmdb.h>)
#define HAVE_LMDB 1
#endif
#endif

#ifdef HAVE_LMDB

#include <lmdb.h>

/* Found at run time, so that no build depends on it. */
struct calls {
	int (*env_create)(MDB_env **env);
	int (*env_set_mapsize)(MDB_env *env, size_t size);
	int (*env_set_maxreaders)(MDB_env *env, unsigned readers);
	int (*env_open)(MDB_env *env, const char *path, unsigned flags,
			mdb_mode_t mode);
	void (*env_close)(MDB_env *env);
	int (*txn_begin)(MDB_env *env, MDB_txn *parent, unsigned flags,
			 MDB_txn **txn);
	int (*txn_commit)(MDB_txn *txn);
	int (*txn_renew)(MDB_txn *txn);
	void (*txn_reset)(MDB_txn *txn);
	void (*txn_abort)(MDB_txn *txn);
	int (*dbi_open)(MDB_txn *txn, const char *name, unsigned flags,
			MDB_dbi *dbi);
	int (*get)(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data);
	int (*put)(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data,
		   unsigned flags);
};

static void *
call(void *library, const char *name)
{
	void *found = dlsym(library, name);

	need(found != NULL, "liblmdb has no %s", name);
	return found;
}

static void
calls_find(struct calls *calls, void *library)
{
	*(void **)&calls->env_create = call(library, "mdb_env_create");
	*(void **)&calls->env_set_mapsize =
		call(library, "mdb_env_set_mapsize");
	*(void **)&calls->env_set_maxreaders =
		call(library, "mdb_env_set_maxreaders");
	*(void **)&calls->env_open = call(library, "mdb_env_open");
	*(void **)&calls->env_close = call(library, "mdb_env_close");
	*(void **)&calls->txn_begin = call(library, "mdb_txn_begin");
	*(void **)&calls->txn_commit = call(library, "mdb_txn_commit");
	*(void **)&calls->txn_renew = call(library, "mdb_txn_renew");
	*(void **)&calls->txn_reset = call(library, "mdb_txn_reset");
	*(void **)&calls->txn_abort = call(library, "mdb_txn_abort");
	*(void **)&calls->dbi_open = call(library, "mdb_dbi_open");
	*(void **)&calls->get = call(library, "mdb_get");
	*(void **)&calls->put = call(library, "mdb_put");
}

/* Readers that lose their CPU inside a section make it grow by much. */
#define MAP_SIZE(contents) (4 * (contents)->bytes + ((size_t)1 << 30))
#define READERS            512

static const struct contents *held;
static struct calls calls;
static void *library;

/* One of the two. A process that forked opens its own. */
struct lmdb {
	const char *suffix;
	unsigned flags;
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *reading;
};
static struct lmdb fast = {.suffix = "-fast",
			   .flags = MDB_NOSYNC | MDB_WRITEMAP};
static struct lmdb plain = {.suffix = "-default", .flags = 0};
static struct lmdb *now; /* what is read, of the two */

static void
path_of(char *path, size_t size, const struct lmdb *lmdb, const char *suffix)
{
	snprintf(path, size, "%s/lmdb%s%s", held->bench->folder, lmdb->suffix,
		 suffix);
}

/* more: MDB_RDONLY where nothing will be written. */
static void
env_open(struct lmdb *lmdb, unsigned more)
{
	char path[256];
	MDB_txn *txn;

	path_of(path, sizeof(path), lmdb, "");
	need(calls.env_create(&lmdb->env) == 0, "LMDB");
	need(calls.env_set_mapsize(lmdb->env, MAP_SIZE(held)) == 0, "LMDB");
	need(calls.env_set_maxreaders(lmdb->env, READERS) == 0, "LMDB");
	need(calls.env_open(lmdb->env, path, MDB_NOSUBDIR | lmdb->flags | more,
			    0600) == 0,
	     "LMDB: %s", path);
	need(calls.txn_begin(lmdb->env, NULL, more, &txn) == 0, "LMDB");
	need(calls.dbi_open(txn, NULL, MDB_INTEGERKEY, &lmdb->dbi) == 0,
	     "LMDB");
	if (more == 0) {
		need(calls.txn_commit(txn) == 0, "LMDB");
		return;
	}
	/* The main database stays open without a commit. */
	lmdb->reading = txn;
	calls.txn_reset(txn);
}

/**** the loops ****/

static inline void
peer_begin(void)
{
	if (calls.txn_renew(now->reading) != 0)
		need(false, "LMDB renew");
}

static inline void
peer_end(void)
{
	calls.txn_reset(now->reading);
}

static inline const char *
peer_whole(const struct link *at, size_t *ret_size)
{
	size_t key = at->index;
	MDB_val name = {sizeof(key), &key};
	MDB_val value;

	if (calls.get(now->reading, now->dbi, &name, &value) != 0)
		need(false, "LMDB get");
	*ret_size = value.mv_size;
	return value.mv_data;
}

/* What LMDB gives is aligned to two bytes. */
static inline const struct link *
peer_peek(const struct link *at)
{
	static struct link link;
	size_t size;

	memcpy(&link, peer_whole(at, &size), sizeof(link));
	return &link;
}

#include "peer-loops.h"

/**** the peers ****/

static void
put(struct lmdb *lmdb, size_t key, const void *data, size_t size)
{
	MDB_val name = {sizeof(key), &key};
	MDB_val value = {size, (void *)(uintptr_t)data};
	MDB_txn *txn;
	int err = calls.txn_begin(lmdb->env, NULL, 0, &txn);

	if (err == 0)
		err = calls.put(txn, lmdb->dbi, &name, &value, 0);
	if (err == 0)
		err = calls.txn_commit(txn);
	if (err != 0)
		need(false, "LMDB put: error %d", err);
}

static bool
setup(struct lmdb *lmdb, const struct contents *contents)
{
	held = contents;
	if (library == NULL) {
		library = dlopen("liblmdb.so.0", RTLD_NOW | RTLD_LOCAL);
		if (library == NULL) {
			bench_note("no liblmdb.so.0 on this machine: LMDB is "
				   "left out");
			return false;
		}
		calls_find(&calls, library);
	}
	env_open(lmdb, 0);
	for (uint32_t i = 0; i < PEER_TOTAL; i++)
		put(lmdb, i, contents->data[i], contents->sizes[i]);
	calls.env_close(lmdb->env);
	return true;
}

static void
remove_all(struct lmdb *lmdb)
{
	char path[256];

	path_of(path, sizeof(path), lmdb, "");
	need(unlink(path) == 0, "unlink %s", path);
	path_of(path, sizeof(path), lmdb, "-lock");
	need(unlink(path) == 0, "unlink %s", path);
}

static void
open_it(struct lmdb *lmdb)
{
	now = lmdb;
	env_open(lmdb, MDB_RDONLY);
}

static void
close_it(struct lmdb *lmdb)
{
	calls.txn_abort(lmdb->reading);
	calls.env_close(lmdb->env);
}

static bool
fast_setup(const struct contents *contents)
{
	return setup(&fast, contents);
}

static void
fast_remove(void)
{
	remove_all(&fast);
}

static void
fast_open(void)
{
	open_it(&fast);
}

static void
fast_close(void)
{
	close_it(&fast);
}

static void
fast_write_open(bool session)
{
	(void)session;
	env_open(&fast, 0);
}

static void
fast_write_close(void)
{
	calls.env_close(fast.env);
}

static void
fast_publish(uint32_t index, const void *data, size_t size)
{
	put(&fast, index, data, size);
}

static bool
plain_setup(const struct contents *contents)
{
	return setup(&plain, contents);
}

static void
plain_remove(void)
{
	remove_all(&plain);
}

static void
plain_open(void)
{
	open_it(&plain);
}

static void
plain_close(void)
{
	close_it(&plain);
}

static void
plain_write_open(bool session)
{
	(void)session;
	env_open(&plain, 0);
}

static void
plain_write_close(void)
{
	calls.env_close(plain.env);
}

static void
plain_publish(uint32_t index, const void *data, size_t size)
{
	put(&plain, index, data, size);
}

const struct peer peer_lmdb = {
	.name = "lmdb nosync writemap",
	.slowness = 15,
	.setup = fast_setup,
	.remove = fast_remove,
	.open = fast_open,
	.close = fast_close,
	PEER_SECTION_LOOPS,
	.write_open = fast_write_open,
	.write_close = fast_write_close,
	.publish = fast_publish,
};

const struct peer peer_lmdb_default = {
	.name = "lmdb default",
	.slowness = 15,
	.setup = plain_setup,
	.remove = plain_remove,
	.open = plain_open,
	.close = plain_close,
	PEER_SECTION_LOOPS,
	.write_open = plain_write_open,
	.write_close = plain_write_close,
	.publish = plain_publish,
};

#else

static bool
setup(const struct contents *contents)
{
	(void)contents;
	bench_note("built without lmdb.h: LMDB is left out");
	return false;
}

const struct peer peer_lmdb = {.name = "lmdb nosync writemap", .setup = setup};
const struct peer peer_lmdb_default = {.name = "lmdb default", .setup = setup};

#endif
