/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Slots of the RCU domain: claimed in chunks, vouched for by the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "rcu.h"
#include "testpoint.h"

/*
 * Why not one table for all users: whoever may write to a segment may truncate
 * it, and wipe the pins of others. Why not pids: they mean nothing across
 * namespaces, and are reused. Why a lock kept by a mapping and not by a
 * descriptor: a program that closes all its descriptors (daemons do) would lose
 * its protection without noticing, and a child would keep its dead parent's.
 */

#ifdef STRATA_TSAN
_Atomic unsigned strata__fence_word;
#endif

#ifdef STRATA_TESTING
void (*strata__testpoint)(const char *name);
unsigned strata__broken;
#endif

int
strata__rcu_init(struct strata__rcu *rcu, struct strata__space *space)
{
	bool registered;

	memset(rcu, 0, sizeof(*rcu));
	rcu->space = space;
	CDS_INIT_LIST_HEAD(&rcu->chunks);
	pthread_mutex_init(&rcu->mutex, NULL);
	pthread_mutex_init(&rcu->scan_mutex, NULL);
	registered = strata__os_membarrier_register() == 0;
	rcu->can_fence = registered || !space->geometry->membarrier;
	rcu->full_fence = !registered || !space->geometry->membarrier;
#ifdef STRATA_TSAN
	/* ThreadSanitizer knows nothing of membarrier. */
	rcu->full_fence = true;
#endif
	return 0;
}

static void
pins_files_close(struct strata__rcu *rcu)
{
	(void)strata__pins_mend(rcu); /* not what is the program's by now */
	for (size_t i = 0; i < rcu->nr_files; i++)
		if (rcu->files[i].fd >= 0)
			close(rcu->files[i].fd);
	free(rcu->files);
	free(rcu->tallies);
	rcu->files = NULL;
	rcu->tallies = NULL;
	rcu->nr_files = rcu->nr_tallies = 0;
}

/* In a clone without fork handlers. */
static void
disown_parents(struct strata__rcu *rcu)
{
	if (rcu->mine != NULL && *rcu->mine == 0)
		strata__rcu_disown(rcu);
}

void
strata__rcu_fini(struct strata__rcu *rcu)
{
	struct strata__chunk *chunk, *next;

	if (rcu->space == NULL)
		return;
	disown_parents(rcu);
	cds_list_for_each_entry_safe(chunk, next, &rcu->chunks, node)
	{
		cds_list_del(&chunk->node);
		strata__chunk_drop(chunk);
	}
	pins_files_close(rcu);
	free(rcu->buffer);
	pthread_mutex_destroy(&rcu->mutex);
	pthread_mutex_destroy(&rcu->scan_mutex);
	rcu->space = NULL;
}

int
strata__heavy_fence(struct strata__rcu *rcu)
{
	if (STRATA_BROKEN(STRATA_NO_HEAVY_FENCE))
		return 0;
#ifdef STRATA_TSAN
	(void)rcu;
	strata__fence_seq_cst();
#else
	if (!rcu->space->geometry->membarrier) {
		/* Every reader of this store uses a full fence. */
		strata__fence_seq_cst();
		return 0;
	}
	if (strata__os_membarrier() != 0)
		return strata__fail(
			STRATA_ENOTSUP,
			"this process may not call membarrier, which "
			"reclaiming in this store needs: what was replaced "
			"stays until another writer reclaims it");
#endif
	return 0;
}

/**** pins segments of our own user ****/

/* Bits for us, and for the writers that must read: whoever may read the store,
 * and the store's group when the store is somebody else's. */
static uint32_t
pins_mode(const struct strata__geometry *geometry)
{
	uint32_t mode = 0600 | (geometry->mode & 0044);

	if (geometry->owner != geteuid())
		mode |= 0040;
	return mode;
}

static bool
is_dead(const struct strata__space *space)
{
	return (atomic_load_explicit(&space->catalog->hot.version,
				     memory_order_acquire) &
		STRATA_VERSION_DEAD) != 0;
}

static int
unfollowed(const struct strata__space *space)
{
	/* Without the catalog's file its owner cannot be asked for. */
	if (is_dead(space) || strata__space_lost_name(space))
		return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				    space->geometry->name);
	return strata__fail(STRATA_EACCES,
			    "by its owner, group and mode %04o no writer of "
			    "store '%s' would look at what user %u reads, and "
			    "what is read might be freed: open readers as its "
			    "owner or a member of its group, after dropping "
			    "privileges, in its user namespace",
			    (unsigned)space->geometry->mode,
			    space->geometry->name, (unsigned)geteuid());
}

/* Nobody follows it: then it does not appear. */
static int
check_followed(const struct strata__space *space, const struct stat *st)
{
	if (strata__pins_will_be_followed(space, st))
		return 0;
	/* Not by the owner and group of the catalog, if there is none. */
	if (strata__space_lost_name(space))
		return strata__fail(STRATA_EGONE,
				    "store '%s' was destroyed, or somebody "
				    "removed or renamed its catalog",
				    space->geometry->name);
	return unfollowed(space);
}

static int
pins_build(struct strata__space *space, const char *name)
{
	const struct strata__geometry *geometry = space->geometry;
	struct strata__head head;
	struct stat st;
	int fd, ret;

	ret = strata__segment_build(&space->folder, geometry->pins_size,
				    pins_mode(geometry), geometry->group, &fd);
	if (ret == -EPERM || ret == STRATA_EACCES || ret == -EINVAL)
		/* Not a member of the store's group: do without it. */
		ret = strata__segment_build(&space->folder, geometry->pins_size,
					    pins_mode(geometry), (uint32_t)-1,
					    &fd);
	if (ret != 0)
		return ret;
	if (fstat(fd, &st) != 0)
		ret = strata__fail_errno(errno, "cannot examine a pins segment");
	else
		ret = check_followed(space, &st);
	memset(&head, 0, sizeof(head));
	strata__head_stamp(&head, STRATA_KIND_PINS, geteuid(), &space->id, 1,
			   geometry->pins_size);
	if (ret == 0)
		ret = strata__segment_write(&space->folder, fd, &head,
					    sizeof(head), /* offset= */ 0);
	if (ret == 0)
		ret = strata__segment_publish(&space->folder, fd, name);
	if (ret == 0)
		close(fd);
	else
		strata__segment_discard(&space->folder, fd);
	return ret;
}

/* -EEXIST: there is something of that name which is not ours to use. */
static int
pins_open_ours(struct strata__space *space, const char *name, int *ret_fd,
	       uint64_t *ret_inode)
{
	struct strata__head head;
	struct stat st;
	int fd, ret;

	fd = openat(space->folder.fd, name,
		    O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : -EEXIST;
	fd = strata__os_above_stdio(fd);
	if (fd < 0)
		return strata__fail_errno(-fd, "cannot open a pins segment");
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_uid == geteuid() && (st.st_mode & 0022) == 0 &&
	    (uint64_t)st.st_size == space->geometry->pins_size &&
	    strata__os_pread(fd, &head, sizeof(head), 0) == 0 &&
	    strata__head_check(&head, name, STRATA_KIND_PINS, &space->id, 1,
			       space->geometry->pins_size) == 0) {
		ret = check_followed(space, &st);
		if (ret != 0) {
			close(fd);
			return ret;
		}
		*ret_fd = fd;
		*ret_inode = st.st_ino;
		return 0;
	}
	close(fd);
	return -EEXIST;
}

static int
pins_open(struct strata__space *space, const char *name, int *ret_fd,
	  uint64_t *ret_inode)
{
	int ret = pins_open_ours(space, name, ret_fd, ret_inode);

	if (ret != -ENOENT)
		return ret;
	ret = pins_build(space, name);
	if (ret != 0 && ret != STRATA_EEXIST)
		return ret;
	/* Nobody would remove what is made after the store was destroyed. */
	if (ret == 0 && is_dead(space)) {
		strata__segment_unlink(&space->folder, name);
		return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				    space->geometry->name);
	}
	ret = pins_open_ours(space, name, ret_fd, ret_inode);
	/* Gone already: somebody plays with this name. */
	return ret == -ENOENT ? -EEXIST : ret;
}

/**** chunks ****/

static uint64_t
slot_offset(uint32_t slot)
{
	return STRATA_PINS_SLOTS + (uint64_t)slot * sizeof(struct strata__slot);
}

#define CHUNK_BYTES (STRATA_CHUNK_SLOTS * sizeof(struct strata__slot))

/* The lowest chunk of the segment that nobody holds; locked through fd. */
static int
chunk_lock(const struct strata__geometry *geometry, int fd, uint32_t *ret_first)
{
	for (uint32_t first = 0; first + STRATA_CHUNK_SLOTS <= geometry->readers;
	     first += STRATA_CHUNK_SLOTS)
		if (strata__os_lock_try(fd, slot_offset(first), CHUNK_BYTES) ==
		    0) {
			*ret_first = first;
			return 0;
		}
	return -EAGAIN;
}

static int
pages_map(int fd, uint64_t offset, uint64_t size, bool inheritable,
	  void **ret_map)
{
	void *map;
	int err;

	err = strata__os_map(fd, offset, size, /* writable= */ true, &map);
	if (err != 0)
		return strata__fail_errno(-err, "cannot map a pins segment");
	if (!inheritable)
		err = strata__os_no_fork(map, size);
	if (err != 0) {
		strata__os_unmap(map, size);
		return strata__fail_errno(-err, "cannot keep a pins segment "
					       "from children");
	}
	*ret_map = map;
	return 0;
}

/* The first page, and that of the chunk: by one call if they are neighbours. */
static int
chunk_map(struct strata__chunk *chunk, int fd, bool inheritable)
{
	uint64_t offset = slot_offset(chunk->first);
	uint64_t page = offset & ~(STRATA_PAGE - 1);
	bool together = page == STRATA_PAGE;
	void *head;
	int ret;

	_Static_assert(STRATA_PAGE % CHUNK_BYTES == 0, "a chunk is in a page");
	ret = pages_map(fd, 0, together ? 2 * STRATA_PAGE : STRATA_PAGE,
			inheritable, &head);
	if (ret != 0)
		return ret;
	chunk->map = (char *)head + STRATA_PAGE;
	if (!together)
		ret = pages_map(fd, page, STRATA_PAGE, inheritable,
				&chunk->map);
	if (ret != 0) {
		strata__os_unmap(head, STRATA_PAGE);
		return ret;
	}
	chunk->head = head;
	chunk->slots = (struct strata__slot *)((char *)chunk->map +
					       (offset - page));
	return 0;
}

/* The owner before us may have died inside a section. Only who holds the lock
 * may clear: a finder of the dead would race with a new owner. */
static void
chunk_clear(struct strata__chunk *chunk)
{
	for (uint32_t i = 0; i < STRATA_CHUNK_SLOTS; i++) {
		struct strata__slot *slot = &chunk->slots[i];

		atomic_store_explicit(&slot->pin, 0, memory_order_release);
		atomic_store_explicit(&slot->in_use, 0, memory_order_relaxed);
	}
}

/* Writers find segments by their names, and forget one that has none and no lock
 * in it: so has it a name, now that the lock is there? */
static bool
has_name(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_nlink != 0;
}

struct claim {
	struct strata__rcu *rcu;
	struct strata__chunk *chunk;
	bool inheritable;
};

static int
chunk_claim_in(const char *name, void *arg)
{
	const struct claim *claim = arg;
	struct strata__rcu *rcu = claim->rcu;
	struct strata__chunk *chunk = claim->chunk;
	int fd, ret;

	ret = pins_open(rcu->space, name, &fd, &chunk->inode);
	if (ret != 0)
		return ret;
	STRATA_TESTPOINT("rcu.claim.opened");
	ret = chunk_lock(rcu->space->geometry, fd, &chunk->first);
	if (ret == 0 && !has_name(fd))
		ret = -EAGAIN; /* somebody tidies up */
	if (ret == 0)
		ret = chunk_map(chunk, fd, claim->inheritable);
	/* From here on the mapping is what keeps the lock. */
	close(fd);
	if (ret == 0)
		chunk_clear(chunk);
	return ret;
}

/* Under the usual names, so that the processes of a user find the same ones. */
static int
chunk_claim_usual(struct claim *claim)
{
	const struct strata__id *id = &claim->rcu->space->id;
	char name[STRATA_SEGMENT_NAME];
	int ret = -EAGAIN;

	for (uint32_t suffix = 0; suffix < STRATA_PINS_SUFFIXES &&
				  (ret == -EAGAIN || ret == -EEXIST);
	     suffix++) {
		strata__segment_name_pins(name, id, geteuid(), suffix);
		ret = chunk_claim_in(name, claim);
	}
	return ret;
}

int
strata__chunk_claim(struct strata__rcu *rcu, bool inheritable,
		    struct strata__chunk **ret_chunk)
{
	struct strata__chunk *chunk = calloc(1, sizeof(*chunk));
	struct claim claim = { rcu, chunk, inheritable };
	int ret = -EAGAIN;

	if (chunk == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory for a reader");
	ret = strata__folder_mend(&rcu->space->folder);
	if (ret == 0 && is_dead(rcu->space))
		ret = strata__fail(STRATA_EGONE, "store '%s' was destroyed",
				   rcu->space->geometry->name);
	if (ret != 0) {
		free(chunk);
		return ret;
	}
	ret = chunk_claim_usual(&claim);
	if (ret == -EAGAIN || ret == -EEXIST)
		/* One for a child is claimed in a fork, which all threads of
		 * this process wait for. */
		ret = strata__pins_elsewhere(rcu->space,
					     /* may_wait= */ !inheritable,
					     chunk_claim_in, &claim);
	if (ret == 0) {
		*ret_chunk = chunk;
		return 0;
	}
	free(chunk);
	if (ret == -EAGAIN)
		return strata__fail(
			STRATA_EREADERS,
			"store '%s' has no reader slot left for user %u: %u "
			"segments of %u slots are taken; create it with more "
			"--readers, or close readers",
			rcu->space->geometry->name, (unsigned)geteuid(),
			STRATA_PINS_SUFFIXES, rcu->space->geometry->readers);
	return ret;
}

void
strata__chunk_drop(struct strata__chunk *chunk)
{
	strata__os_unmap(chunk->map, STRATA_PAGE);
	strata__os_unmap(chunk->head, STRATA_PAGE);
	free(chunk);
}

void
strata__rcu_disown(struct strata__rcu *rcu)
{
	struct strata__chunk *chunk, *next;

	cds_list_for_each_entry_safe(chunk, next, &rcu->chunks, node)
		free(chunk);
	CDS_INIT_LIST_HEAD(&rcu->chunks);
	*rcu->mine = 1;
}

void
strata__slot_sign(struct strata__slot *slot)
{
	slot->pid = (uint32_t)getpid();
	strata__os_self(slot->name, sizeof(slot->name), &slot->pid_namespace);
	for (unsigned i = 0; i < STRATA_SLOT_SAMPLES; i++)
		strata__count_set(&slot->samples[i], 0);
	strata__count_set(&slot->sampled_ns, 0);
	atomic_store_explicit(&slot->sections, 0, memory_order_relaxed);
	atomic_store_explicit(&slot->in_use, 1, memory_order_relaxed);
}

static bool
chunk_give_out(struct strata__chunk *chunk, struct strata__slot **ret_slot)
{
	for (uint32_t i = 0; i < STRATA_CHUNK_SLOTS; i++)
		if ((chunk->used & 1u << i) == 0) {
			chunk->used |= 1u << i;
			*ret_slot = &chunk->slots[i];
			strata__slot_sign(*ret_slot);
			return true;
		}
	return false;
}

int
strata__slot_take(struct strata__rcu *rcu, struct strata__chunk **ret_chunk,
		  struct strata__slot **ret_slot)
{
	struct strata__chunk *chunk;
	int ret = 0;

	pthread_mutex_lock(&rcu->mutex);
	disown_parents(rcu);
	cds_list_for_each_entry(chunk, &rcu->chunks, node)
		if (chunk_give_out(chunk, ret_slot))
			goto out;
	ret = strata__chunk_claim(rcu, /* inheritable= */ false, &chunk);
	if (ret != 0)
		goto out;
	cds_list_add_tail(&chunk->node, &rcu->chunks);
	chunk_give_out(chunk, ret_slot);
out:
	if (ret == 0)
		*ret_chunk = chunk;
	pthread_mutex_unlock(&rcu->mutex);
	return ret;
}

void
strata__slot_give(struct strata__rcu *rcu, struct strata__chunk *chunk,
		  struct strata__slot *slot)
{
	pthread_mutex_lock(&rcu->mutex);
	atomic_store_explicit(&slot->pin, 0, memory_order_release);
	atomic_store_explicit(&slot->in_use, 0, memory_order_relaxed);
	chunk->used &= ~(1u << (slot - chunk->slots));
	/* The chunk stays: a process that opened one reader opens another. */
	pthread_mutex_unlock(&rcu->mutex);
}
