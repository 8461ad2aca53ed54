/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A thread's last error. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "error.h"

TestSuite(error, .timeout = 10);

Test(error, there_is_none_before_the_first)
{
	const struct strata_error_info *info = strata_last_error();

	cr_assert_not_null(info);
	cr_expect_eq(info->code, 0);
	cr_expect_eq(info->layer, -1);
	cr_expect_str_eq(info->sentence, "");
}

Test(error, a_failure_is_told_with_its_code)
{
	cr_expect_eq(strata__fail(STRATA_EBUSY, "busy with %d", 7),
		     STRATA_EBUSY);
	cr_expect_eq(strata_last_error()->code, STRATA_EBUSY);
	cr_expect_str_eq(strata_last_error()->sentence, "busy with 7");
}

Test(error, a_new_one_forgets_the_details_of_the_last)
{
	strata__fail(STRATA_ELIMIT, "one");
	strata__error()->limit = 5;
	strata__error()->layer = 3;
	strata__fail(STRATA_EBUSY, "two");
	cr_expect_eq(strata_last_error()->limit, 0);
	cr_expect_eq(strata_last_error()->layer, -1);
}

Test(error, what_the_system_said_is_appended)
{
	cr_expect_eq(strata__fail_errno(ENOSPC, "cannot do %s", "it"), -ENOSPC);
	cr_expect_eq(strata_last_error()->sys_errno, ENOSPC);
	cr_expect_str_eq(strata_last_error()->sentence,
			 "cannot do it: No space left on device");
}

Test(error, the_old_sentence_may_be_part_of_the_new)
{
	strata__fail(STRATA_EBUSY, "inner");
	strata__fail(STRATA_EMAP, "outer: %s", strata_last_error()->sentence);
	cr_expect_str_eq(strata_last_error()->sentence, "outer: inner");
}

Test(error, long_sentences_are_cut)
{
	char text[2000];
	size_t size = sizeof(strata_last_error()->sentence);

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	strata__fail(STRATA_EBUSY, "%s", text);
	cr_expect_eq(strlen(strata_last_error()->sentence), size - 1);
	strata__error_append("%s", text);
	cr_expect_eq(strlen(strata_last_error()->sentence), size - 1);
	strata__fail(STRATA_EBUSY, "a");
	strata__error_append("%s", text);
	cr_expect_eq(strlen(strata_last_error()->sentence), size - 1);
}

static void *
fail_elsewhere(void *arg)
{
	strata__fail(STRATA_ENOMEM, "elsewhere");
	return arg;
}

Test(error, each_thread_has_its_own)
{
	pthread_t thread;

	strata__fail(STRATA_EBUSY, "here");
	cr_assert_eq(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
	pthread_join(thread, NULL);
	cr_expect_eq(strata_last_error()->code, STRATA_EBUSY);
	cr_expect_str_eq(strata_last_error()->sentence, "here");
}

Test(error, every_code_has_words_of_its_own)
{
	int code, other;

	for (code = STRATA_ECANCELED; code <= STRATA_EINVAL; code++)
		for (other = STRATA_ECANCELED; other < code; other++)
			cr_expect_str_neq(strata_strerror(code),
					  strata_strerror(other), "%d and %d",
					  code, other);
	cr_expect_str_eq(strata_strerror(0), "success");
	cr_expect_str_eq(strata_strerror(-ENOENT), "No such file or directory");
	cr_expect_str_eq(strata_strerror(STRATA_EGONE),
			 "the store was destroyed");
	cr_expect_str_eq(strata_strerror(STRATA_EDIR),
			 "no directory, or that of another store");
	cr_expect_str_eq(strata_strerror(-1000), "unknown error");
	cr_expect_str_eq(strata_strerror(STRATA_ECANCELED - 1), "unknown error");
	cr_expect_str_eq(strata_strerror(5), "unknown error");
	cr_expect_str_eq(strata_strerror(-999), "unknown error");
}
