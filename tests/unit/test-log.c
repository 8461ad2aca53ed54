/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The log says what is done, and nothing to who does not ask. */
#include <errno.h>
#include <stdarg.h>

#include "attached.h"
#include "error.h"
#include "log.h"

static char said[65536];
static unsigned nr_said[4];

static void
listen(enum strata_log_level level, const char *sentence, void *arg)
{
	size_t length = strlen(said);

	cr_expect_eq(arg, &said);
	cr_assert(level > 0 && level < 4);
	nr_said[level]++;
	snprintf(said + length, sizeof(said) - length, "%s\n", sentence);
	errno = EXDEV;
	strata__error()->code = 99;
}

static void
forget(void)
{
	memset(nr_said, 0, sizeof(nr_said));
	said[0] = '\0';
}

static void
teardown(void)
{
	strata_log(STRATA_LOG_SILENT, NULL, NULL);
	store_teardown();
}

TestSuite(log, .init = store_setup, .fini = teardown, .timeout = 60);

Test(log, nothing_is_said_at_first)
{
	cr_expect_eq(strata__log_level, STRATA_LOG_SILENT);
	put(1, 0, 'a', 100);
	strata_log(STRATA_LOG_DEBUG, NULL, &said);
	put(1, 0, 'a', 100);
	cr_expect_eq(strata__log_level, STRATA_LOG_SILENT, "nobody listens");
}

Test(log, each_allocation_and_free_is_said)
{
	struct strata_stats before = stats_now(), after;
	unsigned took = 0, freed = 0;
	struct strata_gc_report report;
	char *at;

	strata_log(STRATA_LOG_DEBUG, listen, &said);
	put(1, 0, 'a', 5000);
	put(1, 0, 'b', 5000);
	must(strata_gc(store, &report));
	strata_log(STRATA_LOG_SILENT, NULL, NULL);
	after = stats_now();
	for (at = said; (at = strstr(at, ": took block ")) != NULL; at++)
		took++;
	for (at = said; (at = strstr(at, ": freed block ")) != NULL; at++)
		freed++;
	cr_expect_eq(took, after.allocations - before.allocations);
	cr_expect_eq(freed, after.deallocations - before.deallocations);
	cr_expect_gt(freed, 0);
	cr_expect(strstr(said, "committed version 3") != NULL);
	cr_expect(strstr(said, "store '" STORE "': reclaimed ") != NULL);
}

Test(log, less_is_said_at_a_lower_level)
{
	strata_log(STRATA_LOG_INFO, listen, &said);
	forget();
	put(1, 0, 'a', 100);
	cr_expect_eq(nr_said[STRATA_LOG_DEBUG], 0);
	must(strata_crystallize(store, 1));
	cr_expect(strstr(said, "dimension 1 is crystallised") != NULL);
}

/* Each threshold once, and all of them before the first refusal. */
Test(log, thresholds_are_said_before_anything_is_refused)
{
	const char *warning, *high, *critical, *refused;
	struct strata_config config = store_config(64 * MIB);
	struct strata_txn *txn;
	char *data = calloc(1, 256 * KIB);
	int code = 0;

	config.nr_pools = 2;
	config.pools[0] = (struct strata_pool_config){4 * KIB, 2 * MIB};
	config.pools[1] = (struct strata_pool_config){256 * KIB, 64 * MIB};
	store_again(&config);
	strata_log(STRATA_LOG_WARNING, listen, &said);
	forget();
	for (uint32_t i = 0; i < 400 && code == 0; i++) {
		txn = txn_begin();
		must(strata_put(txn, 1, i, NULL, data, 250 * KIB, 0));
		errno = 0;
		code = strata_txn_commit(txn, NULL);
		if (code == 0)
			cr_expect_neq(errno, EXDEV);
		else
			strata_txn_abort(txn);
	}
	free(data);
	cr_expect_eq(code, STRATA_ELIMIT);
	cr_expect_eq(strata_last_error()->code, code, "kept");
	warning = strstr(said, "more than 75 %");
	high = strstr(said, "more than 85 %");
	critical = strstr(said, "more than 95 %");
	refused = strstr(said, "refused: ");
	cr_assert(warning != NULL && high != NULL && critical != NULL &&
			  refused != NULL,
		  "%s", said);
	cr_expect(warning < high && high < critical && critical < refused);
	cr_expect_eq(strstr(warning + 1, "more than 75 %"), NULL, "once");
}
