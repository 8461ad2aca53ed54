/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Long work tells how far it is, and may be cancelled. */
#include "progress.h"

#include <inttypes.h>
#include <string.h>

#include "error.h"

#define STEP (UINT64_C(4) << 20)

/* A larger struct is of a newer caller: it may wish nothing that we do not
 * know. */
int
strata__progress_init(struct strata__progress *progress,
		      const struct strata_work *work)
{
	const char *bytes = (const char *)work;

	memset(progress, 0, sizeof(*progress));
	if (work == NULL)
		return 0;
	if (work->struct_size < sizeof(*work))
		return strata__fail(STRATA_EINVAL,
				    "struct_size of the work is %zu: set it to "
				    "sizeof(struct strata_work)",
				    work->struct_size);
	for (size_t i = sizeof(*work); i < work->struct_size; i++)
		if (bytes[i] != 0)
			return strata__fail(STRATA_EINVAL,
					    "the work has a wish that this "
					    "version of the library does not "
					    "know");
	progress->fn = work->progress;
	progress->arg = work->arg;
	return 0;
}

static int
cancelled(const struct strata__progress *progress)
{
	return strata__fail(STRATA_ECANCELED,
			    "cancelled by the program after %" PRIu64
			    " of %" PRIu64 " bytes; nothing was changed",
			    progress->done, progress->total);
}

int
strata__progress_add(struct strata__progress *progress, uint64_t bytes)
{
	if (progress == NULL || progress->fn == NULL)
		return 0;
	if (progress->code != 0)
		return cancelled(progress);
	if (bytes > progress->total - progress->done)
		bytes = progress->total - progress->done;
	progress->done += bytes;
	if (progress->done - progress->told < STEP)
		return 0;
	progress->told = progress->done;
	if (progress->fn(progress->done, progress->total, progress->arg) == 0)
		return 0;
	progress->code = STRATA_ECANCELED;
	return cancelled(progress);
}

int
strata__progress_finish(struct strata__progress *progress)
{
	if (progress == NULL || progress->fn == NULL)
		return 0;
	if (progress->code == 0 && progress->told < progress->total) {
		progress->done = progress->told = progress->total;
		if (progress->fn(progress->done, progress->total,
				 progress->arg) != 0)
			progress->code = STRATA_ECANCELED;
	}
	return progress->code != 0 ? cancelled(progress) : 0;
}

void
strata__progress_checked(uint64_t bytes, void *progress)
{
	(void)strata__progress_add(progress, bytes);
}
