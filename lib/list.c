/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Which stores there are. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "space.h"

#define PREFIX "strata."

struct names {
	char (*list)[STRATA_STORE_NAME_MAX + 1];
	size_t nr, max;
};

static bool
is_catalog(const char *file)
{
	struct strata_error_info error = *strata__error();
	bool is = strata__store_name_check(file + strlen(PREFIX)) == 0;

	*strata__error() = error; /* it is a question, not a failure */
	return is;
}

static int
names_add(const char *file, void *arg)
{
	struct names *names = arg;

	if (!is_catalog(file))
		return 0;
	if (names->nr == names->max) {
		size_t max = names->max > 0 ? 2 * names->max : 16;
		void *list =
			reallocarray(names->list, max, sizeof(names->list[0]));

		if (list == NULL)
			return strata__fail(STRATA_ENOMEM,
					    "no memory for the names of %zu "
					    "stores",
					    max);
		names->list = list;
		names->max = max;
	}
	strcpy(names->list[names->nr++], file + strlen(PREFIX));
	return 0;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* False when it is gone meanwhile. */
static bool
describe(const struct strata__folder *folder, const char *name,
	 struct strata_list_entry *ret)
{
	char file[STRATA_SEGMENT_NAME];
	struct strata__peek peek;
	struct stat st;

	memset(ret, 0, sizeof(*ret));
	strcpy(ret->name, name);
	strata__segment_name_catalog(file, name);
	if (fstatat(folder->fd, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return false;
	ret->owner = st.st_uid;
	ret->mode = st.st_mode & 07777;
	ret->status =
		strata__space_peek(folder, name, STRATA_TRUST_NOBODY, &peek);
	if (ret->status != 0)
		return true;
	if ((peek.version & STRATA_VERSION_DEAD) != 0) {
		ret->status = STRATA_ENOSTORE;
		return true;
	}
	ret->limit = peek.limit;
	ret->reserved = peek.reserved;
	ret->version = peek.version;
	return true;
}

int
strata_list(int (*fn)(const struct strata_list_entry *entry, void *arg),
	    void *arg)
{
	struct names names = {NULL, 0, 0};
	struct strata_list_entry entry;
	struct strata__folder folder;
	size_t i;
	int code;

	if (fn == NULL)
		return strata__fail(STRATA_EINVAL, "list: no function");
	code = strata__folder_open(&folder);
	if (code != 0)
		return code;
	code = strata__folder_walk(&folder, PREFIX, names_add, &names);
	if (names.nr > 1)
		qsort(names.list, names.nr, sizeof(names.list[0]), compare);
	for (i = 0; code == 0 && i < names.nr; i++)
		if (describe(&folder, names.list[i], &entry))
			code = fn(&entry, arg);
	free(names.list);
	strata__folder_close(&folder);
	return code;
}
