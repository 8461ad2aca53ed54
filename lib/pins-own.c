/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Pins segments of our own user where others have taken the usual names. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "rcu.h"
#include "testpoint.h"

/*
 * The usual names of a user's segments are few and known, so that its processes
 * find the same ones; and so anybody can be there first, in a folder like
 * /dev/shm. Then a segment gets a name that nobody can foresee, and others of
 * the user find it by its owner, as writers do, who look at all such names and
 * ask whose the files are (pins.c).
 *
 * Writers follow so many files of an owner and no more; who is in another one
 * is not seen. So those of a user that want to make one, and cannot see each
 * other's choice in a name, take turns. No lock is in a place that all know and
 * others cannot have. Each makes a file of its own instead, under a name that
 * cannot be foreseen, and locked before it has that; then it looks who else has
 * one. Of two the one that was later finds the other: so it is its turn when it
 * finds nobody. Whose name is the lowest waits, the others go away and come
 * again. The kernel says who lives, and whose a file is: what others make is
 * not looked at.
 */

#define TURN_LOOKS 20u /* of the lowest, a nap apart */
/* Somebody may be stopped when it is his turn. */
#define PATIENCE_NS (UINT64_C(3) * 1000 * 1000 * 1000)

static void
nap(void)
{
	struct timespec time = {0, 0};
	uint32_t random;

	if (strata__os_random(&random, sizeof(random)) != 0)
		random = (uint32_t)getpid() * 2654435761u;
	time.tv_nsec = 200000 + (long)(random % 4000000);
	nanosleep(&time, NULL);
}

/**** turns ****/

struct turn {
	struct strata__space *space;
	int fd; /* has the lock; rcu.mutex is held, so nobody forks */
	char name[STRATA_SEGMENT_NAME];
	bool rivals, lower; /* others that live; one that goes first */
};

static void
turn_give(struct turn *turn)
{
	strata__segment_unlink(&turn->space->folder, turn->name);
	close(turn->fd);
}

/* With a head, so that what the dead leave is known for what it is. */
static int
turn_publish(struct turn *turn)
{
	const struct strata__folder *folder = &turn->space->folder;
	struct strata__head head;
	uint64_t random;
	int ret = strata__os_random(&random, sizeof(random));

	if (ret != 0)
		return strata__fail_errno(-ret, "no random numbers");
	strata__segment_name_turn(turn->name, &turn->space->id, geteuid(),
				  random);
	ret = strata__segment_build(folder, STRATA_PAGE, 0600, (uint32_t)-1,
				    &turn->fd);
	if (ret != 0)
		return ret;
	memset(&head, 0, sizeof(head));
	strata__head_stamp(&head, STRATA_KIND_PINS, geteuid(), &turn->space->id,
			   1, STRATA_PAGE);
	ret = strata__segment_write(folder, turn->fd, &head, sizeof(head), 0);
	if (ret == 0 && strata__os_lock_try(turn->fd, 0, 1) != 0)
		ret = strata__fail(STRATA_EREADERS, "no file locks in %s",
				   folder->path);
	if (ret == 0)
		ret = strata__segment_publish(folder, turn->fd, turn->name);
	if (ret != 0)
		strata__segment_discard(folder, turn->fd);
	return ret;
}

static int
see_rival(const char *file, void *arg)
{
	struct turn *turn = arg;
	int folder = turn->space->folder.fd, locked, fd;
	struct stat st;

	if (strcmp(file, turn->name) == 0 ||
	    fstatat(folder, file, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return 0;
	fd = openat(folder, file,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0
				       : strata__fail_errno(
						 errno, "cannot open %s", file);
	/* What cannot be asked counts as alive. The dead leave no more than a
	 * name, which is not given twice. */
	locked = strata__os_is_locked(fd, 0, 1);
	close(fd);
	if (locked == 0) {
		(void)unlinkat(folder, file, 0);
		return 0;
	}
	turn->rivals = true;
	turn->lower |= strcmp(file, turn->name) < 0;
	return 0;
}

/* -EBUSY: it is another one's turn. */
static int
turn_take(struct strata__space *space, struct turn *turn, bool may_wait)
{
	char prefix[STRATA_SEGMENT_NAME];
	int ret;

	*turn = (struct turn){.space = space, .fd = -1};
	ret = turn_publish(turn);
	if (ret != 0)
		return ret;
	STRATA_TESTPOINT("pins.turn.published");
	strata__segment_name_turn(prefix, &space->id, 0, 0);
	prefix[strlen(prefix) - strlen("0.0")] = '\0';
	for (unsigned i = 0; ret == 0; i++) {
		turn->rivals = turn->lower = false;
		ret = strata__folder_walk(&space->folder, prefix, see_rival,
					  turn);
		if (ret != 0 || !turn->rivals)
			break;
		if (turn->lower || !may_wait || i == TURN_LOOKS)
			ret = -EBUSY;
		else
			nap();
	}
	if (ret != 0)
		turn_give(turn);
	return ret;
}

/**** segments of ours ****/

struct search {
	struct strata__space *space;
	int (*claim)(const char *name, void *arg);
	void *arg;
	uint64_t inodes[STRATA_PINS_SUFFIXES]; /* of files of ours, ruined or
						  not */
	unsigned nr;
	bool strangers; /* have a usual name */
	int ret;        /* of the last claim; -EAGAIN */
};

static bool
is_usual(const struct strata__space *space, const char *file)
{
	char name[STRATA_SEGMENT_NAME];
	uint32_t suffix = 0;

	do
		strata__segment_name_pins(name, &space->id, geteuid(), suffix);
	while (strcmp(name, file) != 0 && ++suffix < STRATA_PINS_SUFFIXES);
	return suffix < STRATA_PINS_SUFFIXES;
}

/* A file with two names is one. */
static void
note_ours(struct search *search, uint64_t inode)
{
	for (unsigned i = 0; i < search->nr; i++)
		if (search->inodes[i] == inode)
			return;
	if (search->nr < STRATA_PINS_SUFFIXES)
		search->inodes[search->nr++] = inode;
}

static bool
is_no_slot(int ret)
{
	return ret == -EAGAIN || ret == -EEXIST;
}

static int
see_segment(const char *file, void *arg)
{
	struct search *search = arg;
	struct stat st;
	bool usual;

	if (!strata__pins_is_name(&search->space->id, file) ||
	    fstatat(search->space->folder.fd, file, &st, AT_SYMLINK_NOFOLLOW) !=
		    0)
		return 0;
	usual = is_usual(search->space, file);
	if (st.st_uid != geteuid()) {
		search->strangers |= usual;
		return 0;
	}
	/* Not ours, whoever put it there: see is_candidate() in pins.c. */
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0022) != 0)
		return 0;
	note_ours(search, st.st_ino);
	if (usual)
		return 0; /* was tried */
	search->ret = search->claim(file, search->arg);
	return is_no_slot(search->ret) ? 0 : 1;
}

static int
search_ours(struct search *search)
{
	char prefix[STRATA_SEGMENT_NAME];
	int ret;

	search->nr = 0;
	search->strangers = false;
	search->ret = -EAGAIN;
	strata__segment_name_pins(prefix, &search->space->id, 0, 0);
	prefix[strlen(prefix) - strlen("0.0")] = '\0';
	ret = strata__folder_walk(&search->space->folder, prefix, see_segment,
				  search);
	if (ret < 0)
		return ret;
	return is_no_slot(search->ret) ? -EAGAIN : search->ret;
}

/* Of the usual form, with a user that there is not, as far as anybody knows:
 * so writers of all versions look whose it is. */
static int
claim_new(struct search *search)
{
	char name[STRATA_SEGMENT_NAME];
	uint32_t random;
	int ret = strata__os_random(&random, sizeof(random));

	if (ret != 0)
		return strata__fail_errno(-ret, "no random numbers");
	strata__segment_name_pins(name, &search->space->id,
				  random | UINT32_C(1) << 31,
				  STRATA_PINS_SUFFIXES - 1);
	return search->claim(name, search->arg);
}

/* -EBUSY: once more. */
static int
claim_in_turn(struct search *search, bool may_wait)
{
	struct turn turn;
	int ret = turn_take(search->space, &turn, may_wait);

	if (ret != 0)
		return ret;
	STRATA_TESTPOINT("pins.turn.taken");
	/* Whose turn it was before may have made one. */
	ret = search_ours(search);
	if (ret == -EAGAIN && search->nr < STRATA_PINS_SUFFIXES)
		ret = claim_new(search);
	turn_give(&turn);
	return is_no_slot(ret) ? -EBUSY : ret;
}

int
strata__pins_elsewhere(struct strata__space *space, bool may_wait,
		       int (*claim)(const char *name, void *arg), void *arg)
{
	struct search search = {.space = space, .claim = claim, .arg = arg};
	uint64_t begin = strata__os_monotonic_ns();
	int ret;

	for (;;) {
		ret = search_ours(&search);
		if (ret != -EAGAIN || !search.strangers ||
		    search.nr >= STRATA_PINS_SUFFIXES)
			return ret;
		ret = claim_in_turn(&search, may_wait);
		if (ret != -EBUSY)
			return ret;
		if (!may_wait ||
		    strata__os_monotonic_ns() - begin > PATIENCE_NS)
			return -EAGAIN;
		nap();
	}
}
