/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Transactions and sessions of a process are refused in its children. */
#include <stdio.h>
#include <string.h>

#include "pattern.h"
#include "proc.h"

static const struct pattern_set set = {2, 10, 6 << 10};
static char name[STRATA_STORE_NAME_MAX + 1];
static struct strata_store *store;
static struct strata_reader *reader;

/**** the child ****/

struct inherited {
	struct strata_txn *txn;
	struct strata_writer *session;
};

static void
refused(int code, const char *what)
{
	need(code == STRATA_EFORK, "%s in the child: %d, not STRATA_EFORK",
	     what, code);
}

static void
heir_write(struct proc *parent, void *arg)
{
	struct inherited *inherited = arg;
	struct strata_writer *session;
	struct strata_store *own;
	struct strata_txn *txn;

	refused(strata_put(inherited->txn, 1, 0, NULL, "x", 1, 0), "put");
	refused(strata_remove(inherited->txn, 1, 0), "remove");
	refused(strata_txn_commit(inherited->txn, NULL), "commit");
	strata_txn_abort(inherited->txn);
	refused(strata_txn_begin(store, &txn), "begin");
	refused(strata_writer_open(store, &session), "open session");
	refused(strata_writer_close(inherited->session), "close session");
	refused(strata_gc(store, NULL), "gc");
	refused(strata_limit(store, 20 << 20), "limit");
	refused(strata_crystallize(store, 1), "crystallise");
	refused(strata_unload(store, 1, 0), "unload");
	need(strata_read_lock(reader) == 0, "lock");
	pattern_look(reader, &set);
	need(strata_read_unlock(reader) == 0, "unlock");
	proc_say(parent, 'r');
	proc_hear(parent, 'c');
	need(strata_attach(name, STRATA_WRITE, &own) == 0, "attach again");
	need(strata_txn_begin(own, &txn) == 0, "begin");
	need(strata_put(txn, 9, 9, NULL, "own", 3, 0) == 0, "put");
	need(strata_txn_commit(txn, NULL) == 0, "commit of the child's own");
	need(strata_detach(own) == 0, "detach");
}

/**** the parent ****/

static void
begin(struct inherited *inherited)
{
	struct strata_config config = {.limit = 16 << 20};

	strcpy(name, store_name("forked"));
	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	need(strata_reader_open(store, &reader) == 0, "open");
	pattern_commit(store, &set, 1);
	need(strata_writer_open(store, &inherited->session) == 0, "session");
	need(strata_txn_begin(store, &inherited->txn) == 0, "begin");
	need(strata_put(inherited->txn, 9, 1, NULL, "mine", 4, 0) == 0, "put");
}

static void
end(void)
{
	struct strata_verify_report report;

	pattern_commit(store, &set, 3);
	need(strata_reader_close(reader) == 0, "close");
	need(strata_verify(store, 0, NULL, NULL, &report) == 0, "verify");
	need(report.errors == 0, "%s", report.first);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

int
main(void)
{
	struct inherited inherited;
	struct proc child;
	uint64_t version;

	shm_begin();
	begin(&inherited);
	version = strata_version(store);
	proc_start(&child, heir_write, &inherited);
	proc_hear(&child, 'r');
	need(strata_version(store) == version, "a refused child wrote");
	need(strata_txn_commit(inherited.txn, NULL) == 0, "commit");
	pattern_commit(store, &set, 2);
	need(strata_writer_close(inherited.session) == 0, "close session");
	proc_say(&child, 'c');
	proc_join(&child);
	end();
	shm_end();
	printf("transaction and session of the parent are refused in the "
	       "child, which attaches anew; the parent goes on\n");
	return 0;
}
