/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* LMDB as a peer of benches, where the machine has it. */
#ifndef STRATA_BENCH_PEER_LMDB_H
#define STRATA_BENCH_PEER_LMDB_H

#include <stddef.h>
#include <stdint.h>

/* An environment of one database, NOSYNC and WRITEMAP, with integer keys. A
 * process that forked opens its own. */
struct lmdb;

/* NULL, and a note in the output, when this machine has no LMDB (its header at
 * build time, its library at run time). */
struct lmdb *lmdb_open(const char *folder, size_t map_size);
/* NULL is fine. */
void lmdb_close(struct lmdb *lmdb);
/* Removes the files. */
void lmdb_remove(const char *folder);

/* A transaction with one put. */
void lmdb_put(struct lmdb *lmdb, size_t key, const void *data, size_t size);
/* A read transaction, and what it takes to use it again and again. */
void lmdb_read_begin(struct lmdb *lmdb);
void lmdb_read_renew(struct lmdb *lmdb);
const void *lmdb_read_get(struct lmdb *lmdb, size_t key);
void lmdb_read_reset(struct lmdb *lmdb);
void lmdb_read_end(struct lmdb *lmdb);

#endif
