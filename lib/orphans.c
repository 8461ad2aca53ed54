/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Stores without a catalog: which there are, and sweeping them. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "remains.h"
#include "testpoint.h"

/**** catalogs ****/

/* The head of a file that has a catalog's name. 1: read; 0: it is none, or gone;
 * -errno: it cannot be read. */
static int
catalog_head(const struct strata__folder *folder, const char *file,
	     struct strata__head *ret, uint32_t *ret_owner)
{
	struct stat st;
	int code, fd;

	if (fstatat(folder->fd, file, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode))
		return 0;
	*ret_owner = st.st_uid;
	fd = openat(folder->fd, file,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : -errno;
	code = strata__os_pread(fd, ret, sizeof(*ret), 0);
	close(fd);
	if (code == -ENODATA) {
		memset(ret, 0, sizeof(*ret));
		code = 0;
	}
	return code == 0 ? 1 : code;
}

struct naming {
	const struct strata__folder *folder;
	const struct strata__id *id;
	uint32_t owner;
	const char *but;
};

/* Only catalogs of whoever owns the segments, and of those whom attach trusts,
 * count: a stranger could name any id. */
static bool
counts(uint32_t catalog_owner, uint32_t owner)
{
	return catalog_owner == owner || catalog_owner == 0 ||
		catalog_owner == geteuid();
}

static bool
is_our_want(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOMEM;
}

static int
catalog_names(const char *file, void *arg)
{
	const struct naming *naming = arg;
	struct strata__head head;
	uint32_t owner = 0;
	int code;

	if (naming->but != NULL && strcmp(file, naming->but) == 0)
		return 0;
	code = catalog_head(naming->folder, file, &head, &owner);
	if (code == 0 || !counts(owner, naming->owner))
		return 0;
	if (code > 0 && head.magic == STRATA_MAGIC)
		return memcmp(&head.store_id, naming->id,
			      sizeof(head.store_id)) == 0;
	if (owner != naming->owner && !is_our_want(-code))
		return 0;
	if (code < 0)
		return strata__fail(STRATA_EACCES,
				    "it may be of the store whose catalog, %s, "
				    "cannot be read: %s",
				    file, strata_strerror(code));
	return strata__fail(STRATA_ECORRUPT,
			    "it may be of the store whose catalog, %s, is "
			    "damaged; `strata destroy --force` removes that",
			    file);
}

int
strata__remains_are_named(const struct strata__remains *remains,
			  const char *but)
{
	struct naming naming = {remains->folder, &remains->id, remains->owner,
				but};

	return strata__folder_walk(remains->folder, "strata.", catalog_names,
				   &naming);
}

/**** ids ****/

/* An id, and who owns the catalog that bears it. */
struct named {
	struct strata__id id;
	uint32_t owner;
};

struct ids {
	const struct strata__folder *folder;
	struct named *list;
	size_t nr, max;
};

static int
id_add(struct ids *ids, const struct strata__id *id, uint32_t owner)
{
	if (ids->nr == ids->max) {
		size_t max = ids->max > 0 ? 2 * ids->max : 16;
		void *list = reallocarray(ids->list, max, sizeof(*ids->list));

		if (list == NULL)
			return strata__fail(STRATA_ENOMEM,
					    "no memory for %zu ids", max);
		ids->list = list;
		ids->max = max;
	}
	ids->list[ids->nr].id = *id;
	ids->list[ids->nr++].owner = owner;
	return 0;
}

static int
id_of_segment(const char *file, void *arg)
{
	struct ids *ids = arg;
	struct strata__id id;

	if (!strata__segment_name_id(file, &id))
		return 0;
	for (size_t i = ids->nr; i-- > 0;)
		if (memcmp(&ids->list[i].id, &id, sizeof(id)) == 0)
			return 0;
	return id_add(ids, &id, 0);
}

static int
id_of_catalog(const char *file, void *arg)
{
	struct ids *ids = arg;
	struct strata__head head;
	uint32_t owner = 0;

	if (catalog_head(ids->folder, file, &head, &owner) != 1 ||
	    head.magic != STRATA_MAGIC)
		return 0;
	return id_add(ids, &head.store_id, owner);
}

/* It is a store, as most are. */
static bool
is_named(const struct ids *catalogs, const struct strata__id *id,
	 uint32_t owner)
{
	for (size_t i = 0; i < catalogs->nr; i++)
		if (memcmp(&catalogs->list[i].id, id, sizeof(*id)) == 0 &&
		    counts(catalogs->list[i].owner, owner))
			return true;
	return false;
}

/**** orphans ****/

static void
tell_why(const struct strata__remains *remains, struct strata_orphan *orphan)
{
	const char *why = "segments without a lock segment and a catalog";

	if (remains->attached && remains->nr_parts == 0)
		why = "leftover of a destroy that died";
	else if (remains->attached)
		why = "leftover of a store whose catalog was removed";
	else if (remains->lock_fd >= 0 && remains->pins)
		why = "leftover of a create that died, or of a store whose "
		      "catalog was removed";
	else if (remains->lock_fd >= 0)
		why = "leftover of a create that died";
	snprintf(orphan->why, sizeof(orphan->why), "%s", why);
}

static void
orphan_fill(const struct strata__remains *remains, int status,
	    struct strata_orphan *orphan)
{
	char name[STRATA_SEGMENT_NAME];

	memset(orphan, 0, sizeof(*orphan));
	strata__segment_name_lock(name, &remains->id);
	memcpy(orphan->id, name + strlen("strata-"), sizeof(orphan->id) - 1);
	orphan->status = status;
	orphan->owner = remains->owner;
	orphan->files = remains->nr_files;
	orphan->bytes = remains->bytes;
	if (status == 0)
		tell_why(remains, orphan);
	else
		memcpy(orphan->why, strata__error()->sentence,
		       sizeof(orphan->why));
}

/* Looks at the segments of one id; and removes them. 1: there is something to
 * tell; 0: it is a store, nothing, or a stranger's. */
static int
orphan_judge(const struct ids *catalogs, const struct strata__id *id,
	     bool remove, struct strata_orphan *ret)
{
	const struct strata__folder *folder = catalogs->folder;
	struct strata__remains remains = {.owner = 0};
	int code;

	if (strata__remains_owner(folder, id, &remains.owner) != 0 ||
	    (remains.owner != geteuid() && geteuid() != 0))
		return 0;
	if (is_named(catalogs, id, remains.owner))
		return 0;
	STRATA_TESTPOINT("orphans.unnamed");
	code = strata__remains_take(folder, id, remains.owner,
				    /* force= */ false, &remains);
	/* In a user namespace root may not look at what is others'. */
	if (code == -ENOENT ||
	    (code == STRATA_EACCES && remains.owner != geteuid()))
		return 0;
	/* Now that nobody is making it any more. */
	if (code == 0)
		code = strata__remains_are_named(&remains, NULL);
	if (code == 1) {
		strata__remains_end(&remains, /* remove_lock= */ false);
		return 0;
	}
	orphan_fill(&remains, code, ret);
	if (code == 0 && remove) {
		strata__remains_remove(&remains);
		strata__remains_end(&remains, /* remove_lock= */ true);
		ret->files = remains.nr_files;
		ret->bytes = remains.bytes;
	}
	strata__remains_end(&remains, /* remove_lock= */ false);
	return 1;
}

static int
orphans_walk(const struct strata__folder *folder, bool remove,
	     int (*fn)(const struct strata_orphan *orphan, void *arg),
	     void *arg)
{
	struct ids ids = {.folder = folder}, catalogs = {.folder = folder};
	struct strata_orphan orphan;
	int code = strata__folder_walk(folder, "strata-", id_of_segment, &ids);

	if (code == 0)
		code = strata__folder_walk(folder, "strata.", id_of_catalog,
					   &catalogs);
	for (size_t i = 0; code == 0 && i < ids.nr; i++)
		if (orphan_judge(&catalogs, &ids.list[i].id, remove, &orphan) ==
		    1)
			code = fn(&orphan, arg);
	free(ids.list);
	free(catalogs.list);
	return code;
}

int
strata_orphans(int remove,
	       int (*fn)(const struct strata_orphan *orphan, void *arg),
	       void *arg)
{
	struct strata__folder folder;
	int code;

	if (fn == NULL)
		return strata__fail(STRATA_EINVAL, "orphans: no function");
	code = strata__folder_open(&folder);
	if (code != 0)
		return code;
	code = orphans_walk(&folder, remove != 0, fn, arg);
	strata__folder_close(&folder);
	return code;
}

static int
count_swept(const struct strata_orphan *orphan, void *arg)
{
	struct strata__swept *swept = arg;

	if (orphan->status == 0 && swept != NULL) {
		swept->files += orphan->files;
		swept->bytes += orphan->bytes;
	}
	return 0;
}

void
strata__remains_sweep(const struct strata__folder *folder,
		      struct strata__swept *ret)
{
	struct strata_error_info error = *strata__error();

	if (ret != NULL)
		memset(ret, 0, sizeof(*ret));
	(void)orphans_walk(folder, /* remove= */ true, count_swept, ret);
	*strata__error() = error;
}

static int
stop_at_held(const struct strata_orphan *orphan, void *arg)
{
	const uint32_t *owner = arg;

	return orphan->status == STRATA_EBUSY && orphan->owner == *owner ?
		STRATA_EBUSY :
		0;
}

int
strata__remains_check_unheld(const struct strata__folder *folder,
			     uint32_t owner)
{
	return orphans_walk(folder, /* remove= */ false, stop_at_held, &owner);
}
