/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* LMDB as a peer of benches, where the machine has it. */
#include "peer-lmdb.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proc.h"

#ifdef __has_include
#if __has_include(<lmdb.h>)
#define HAVE_LMDB 1
#endif
#endif

static void
path_of(char *path, size_t size, const char *folder, const char *suffix)
{
	snprintf(path, size, "%s/lmdb%s", folder, suffix);
}

void
lmdb_remove(const char *folder)
{
	char path[256];

	path_of(path, sizeof(path), folder, "");
	(void)unlink(path);
	path_of(path, sizeof(path), folder, "-lock");
	(void)unlink(path);
}

#ifdef HAVE_LMDB

#include <lmdb.h>

/* Found at run time, so that no build depends on it. */
struct calls {
	int (*env_create)(MDB_env **env);
	int (*env_set_mapsize)(MDB_env *env, size_t size);
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

struct lmdb {
	struct calls calls;
	void *library;
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *reading;
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

struct lmdb *
lmdb_open(const char *folder, size_t map_size)
{
	void *library = dlopen("liblmdb.so.0", RTLD_NOW | RTLD_LOCAL);
	struct lmdb *lmdb;
	char path[256];
	MDB_txn *txn;

	if (library == NULL) {
		printf("# no liblmdb.so.0 on this machine: LMDB is left out\n");
		return NULL;
	}
	lmdb = calloc(1, sizeof(*lmdb));
	need(lmdb != NULL, "memory");
	lmdb->library = library;
	calls_find(&lmdb->calls, library);
	path_of(path, sizeof(path), folder, "");
	need(lmdb->calls.env_create(&lmdb->env) == 0, "LMDB");
	need(lmdb->calls.env_set_mapsize(lmdb->env, map_size) == 0, "LMDB");
	need(lmdb->calls.env_open(lmdb->env, path,
				  MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP,
				  0600) == 0,
	     "LMDB: %s", path);
	need(lmdb->calls.txn_begin(lmdb->env, NULL, 0, &txn) == 0, "LMDB");
	need(lmdb->calls.dbi_open(txn, NULL, MDB_INTEGERKEY, &lmdb->dbi) == 0,
	     "LMDB");
	need(lmdb->calls.txn_commit(txn) == 0, "LMDB");
	return lmdb;
}

void
lmdb_close(struct lmdb *lmdb)
{
	if (lmdb == NULL)
		return;
	lmdb->calls.env_close(lmdb->env);
	dlclose(lmdb->library);
	free(lmdb);
}

void
lmdb_put(struct lmdb *lmdb, size_t key, const void *data, size_t size)
{
	MDB_val name = {sizeof(key), &key};
	MDB_val value = {size, (void *)(uintptr_t)data};
	MDB_txn *txn;

	if (lmdb->calls.txn_begin(lmdb->env, NULL, 0, &txn) != 0 ||
	    lmdb->calls.put(txn, lmdb->dbi, &name, &value, 0) != 0 ||
	    lmdb->calls.txn_commit(txn) != 0)
		need(false, "LMDB put");
}

void
lmdb_read_begin(struct lmdb *lmdb)
{
	need(lmdb->calls.txn_begin(lmdb->env, NULL, MDB_RDONLY,
				   &lmdb->reading) == 0,
	     "LMDB read");
	lmdb->calls.txn_reset(lmdb->reading);
}

void
lmdb_read_renew(struct lmdb *lmdb)
{
	if (lmdb->calls.txn_renew(lmdb->reading) != 0)
		need(false, "LMDB renew");
}

const void *
lmdb_read_get(struct lmdb *lmdb, size_t key)
{
	MDB_val name = {sizeof(key), &key};
	MDB_val value;

	if (lmdb->calls.get(lmdb->reading, lmdb->dbi, &name, &value) != 0)
		need(false, "LMDB get");
	return value.mv_data;
}

void
lmdb_read_reset(struct lmdb *lmdb)
{
	lmdb->calls.txn_reset(lmdb->reading);
}

void
lmdb_read_end(struct lmdb *lmdb)
{
	lmdb->calls.txn_abort(lmdb->reading);
}

#else

struct lmdb *
lmdb_open(const char *folder, size_t map_size)
{
	(void)folder;
	(void)map_size;
	printf("# built without lmdb.h: LMDB is left out\n");
	return NULL;
}

void
lmdb_close(struct lmdb *lmdb)
{
	(void)lmdb;
}

void
lmdb_put(struct lmdb *lmdb, size_t key, const void *data, size_t size)
{
	(void)lmdb;
	(void)key;
	(void)data;
	(void)size;
}

void
lmdb_read_begin(struct lmdb *lmdb)
{
	(void)lmdb;
}

void
lmdb_read_renew(struct lmdb *lmdb)
{
	(void)lmdb;
}

const void *
lmdb_read_get(struct lmdb *lmdb, size_t key)
{
	(void)lmdb;
	(void)key;
	return NULL;
}

void
lmdb_read_reset(struct lmdb *lmdb)
{
	(void)lmdb;
}

void
lmdb_read_end(struct lmdb *lmdb)
{
	(void)lmdb;
}

#endif
