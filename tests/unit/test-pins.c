/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Files of pins: which are followed, whatever their owners do, and how long. */
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>

#include "pinned.h"

TestSuite(pins, .init = store_setup, .fini = store_teardown, .timeout = 60);

#define STRANGER 4242u

/**** files that are not what they should be ****/

static const char *
pins_name(uint32_t uid, uint32_t suffix)
{
	static char name[STRATA_SEGMENT_NAME];

	strata__segment_name_pins(name, &store->space.id, uid, suffix);
	return name;
}

/* A pins file of a stranger under the name of some user, whose first slot pins a
 * version. */
static int
stranger_as(uint32_t uid, uint64_t size, uint64_t version)
{
	int fd = openat(folder.fd, pins_name(uid, 0),
			O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	uint32_t one = 1;

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	cr_assert_eq(pwrite(fd, &version, 8, STRATA_PINS_SLOTS), 8);
	cr_assert_eq(pwrite(fd, &one, 4,
			    STRATA_PINS_SLOTS +
				    offsetof(struct strata__slot, in_use)),
		     4);
	if (geteuid() == 0)
		cr_assert_eq(fchown(fd, STRANGER, (gid_t)-1), 0);
	return fd;
}

static int
stranger(uint64_t size, uint64_t version)
{
	return stranger_as(STRANGER, size, version);
}

/* Does the scanning side keep the file of that inode open? */
static bool
is_followed(uint64_t inode)
{
	for (size_t i = 0; i < store->rcu.nr_files; i++)
		if (store->rcu.files[i].fd >= 0 &&
		    store->rcu.files[i].inode == inode)
			return true;
	return false;
}

static uint64_t
inode_of(const char *name)
{
	struct stat st;

	cr_assert_eq(fstatat(folder.fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_ino;
}

/* Until a listing made now would be believed. */
static void
let_folder_settle(void)
{
	uint64_t begin = strata__os_monotonic_ns();

	while (strata__os_monotonic_ns() < begin + 30 * 1000 * 1000)
		sched_yield();
}

/* Of a store that everybody may read. */
static void
setup_open(void)
{
	struct strata_config config = store_config(16 * MIB);

	config.mode = 0644;
	store_setup_config(&config);
}

TestSuite(strangers, .init = setup_open, .fini = store_teardown, .timeout = 60);

Test(strangers, pins_of_others_protect_as_long_as_their_lock_is_held)
{
	struct strata_reader_info info;
	struct strata__scan scan;
	int fd, lock;

	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(store->space.geometry->pins_size, 3);
	lock = openat(folder.fd, pins_name(STRANGER, 0), O_RDWR | O_CLOEXEC);
	cr_assert_eq(strata__os_lock_try(lock, STRATA_PINS_SLOTS, 1), 0);
	cr_expect(needs(3, 4));
	must(strata__scan_take(&store->rcu, &scan));
	cr_assert_eq(scan.nr, 1);
	must(strata__scan_describe(&scan, &scan.pins[0], &info));
	cr_expect_eq(info.uid, STRANGER);
	cr_expect_eq(info.pin, 3);
	strata__scan_done(&scan);
	close(lock);
	cr_expect_not(needs(3, 4));
	close(fd);
}

Test(strangers, a_read_lock_vouches_for_nothing)
{
	struct flock shared = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	int fd, lock;

	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(store->space.geometry->pins_size, 3);
	lock = openat(folder.fd, pins_name(STRANGER, 0), O_RDONLY | O_CLOEXEC);
	cr_assert_eq(fcntl(lock, F_OFD_SETLK, &shared), 0);
	cr_expect_not(needs(3, 4));
	close(lock);
	close(fd);
}

Test(strangers, a_file_that_is_truncated_meanwhile_is_not_followed)
{
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(store->space.geometry->pins_size, 3);
	cr_expect_eq(nr_pins(), 1);
	cr_assert_eq(ftruncate(fd, 100), 0);
	cr_expect_eq(nr_pins(), 0);
	close(fd);
}

Test(strangers, a_pin_in_a_truncated_file_is_waited_for_no_longer)
{
	struct strata_reader_info info;
	struct strata__scan scan;
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(store->space.geometry->pins_size, 3);
	must(strata__scan_take(&store->rcu, &scan));
	cr_assert_eq(scan.nr, 1);
	cr_assert_eq(ftruncate(fd, 100), 0);
	cr_expect_eq(strata__scan_describe(&scan, &scan.pins[0], &info),
		     -ENODATA);
	strata__scan_done(&scan);
	close(fd);
}

/* Its readers would not notice: their pins are as they left them. */
Test(strangers, a_file_of_another_size_is_read_as_far_as_it_goes)
{
	uint64_t size = store->space.geometry->pins_size;
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(size + 4096, 3);
	cr_expect_eq(nr_pins(), 1);
	cr_expect(is_followed(inode_of(pins_name(STRANGER, 0))));
	cr_assert_eq(ftruncate(fd, (off_t)STRATA_PINS_SLOTS + 128), 0);
	cr_expect_eq(nr_pins(), 1, "in front of the cut");
	cr_assert_eq(ftruncate(fd, (off_t)STRATA_PINS_SLOTS), 0);
	cr_expect_eq(nr_pins(), 0);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	cr_expect_eq(nr_pins(), 0, "the pin is not there any more");
	close(fd);
}

Test(pins, pins_of_whom_may_not_read_the_store_are_not_followed)
{
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(store->space.geometry->pins_size, 3);
	cr_expect_eq(nr_pins(), 0);
	cr_expect_not(is_followed(inode_of(pins_name(STRANGER, 0))));
	close(fd);
}

Test(strangers, traps_are_not_followed)
{
	cr_assert_eq(symlinkat("/etc/passwd", folder.fd, pins_name(7, 0)), 0);
	cr_assert_eq(mkfifoat(folder.fd, pins_name(8, 0), 0644), 0);
	cr_assert_eq(mkdirat(folder.fd, pins_name(9, 0), 0755), 0);
	cr_expect_eq(nr_pins(), 0);
	cr_expect_not(is_followed(inode_of(pins_name(7, 0))));
	cr_expect_not(is_followed(inode_of(pins_name(8, 0))));
	cr_expect_not(is_followed(inode_of(pins_name(9, 0))));
	unlinkat(folder.fd, pins_name(9, 0), AT_REMOVEDIR);
}

Test(strangers, a_file_that_lost_its_name_is_followed_while_it_is_locked)
{
	uint64_t inode;
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(store->space.geometry->pins_size, 3);
	inode = inode_of(pins_name(STRANGER, 0));
	cr_assert_eq(strata__os_lock_try(fd, STRATA_PINS_SLOTS, 1), 0);
	cr_expect(needs(3, 4));
	cr_assert_eq(unlinkat(folder.fd, pins_name(STRANGER, 0), 0), 0);
	cr_expect(needs(3, 4), "a reader lives in it");
	cr_expect(is_followed(inode));
	close(fd);
	/* Any change of the folder. */
	close(stranger(store->space.geometry->pins_size, 0));
	cr_expect_not(needs(3, 4));
	cr_expect_not(is_followed(inode));
}

Test(strangers, nobody_has_more_files_followed_than_his_share)
{
	char name[STRATA_SEGMENT_NAME];
	unsigned nr = 0;
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	for (uint32_t uid = 1; uid <= 3 * STRATA_PINS_FILES_PER_USER; uid++) {
		strcpy(name, pins_name(uid, 0));
		fd = stranger(store->space.geometry->pins_size, 3);
		close(fd);
		cr_assert_eq(renameat(folder.fd, pins_name(STRANGER, 0),
				      folder.fd, name),
			     0);
	}
	cr_expect_eq(nr_pins(), STRATA_PINS_FILES_PER_USER);
	for (size_t i = 0; i < store->rcu.nr_files; i++)
		nr += store->rcu.files[i].fd >= 0;
	cr_expect_eq(nr, STRATA_PINS_FILES_PER_USER + 1, "and the owner's");
}

Test(pins, names_that_are_not_quite_right_are_ignored)
{
	static const char *const tails[] = {"",	    "x",   "0",	    "0.",
					    "00.1", "0.4", "0.99",  "0.0.tmp",
					    "-1.0", "0.1 ", "+0.1", "0.01"};
	char name[STRATA_SEGMENT_NAME];
	size_t length;

	strcpy(name, pins_name(0, 0));
	length = strlen(name) - strlen("0.0");
	for (unsigned i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		strcpy(name + length, tails[i]);
		close(openat(folder.fd, name, O_CREAT | O_RDWR, 0600));
	}
	cr_expect_eq(nr_pins(), 0);
	cr_expect_eq(store->rcu.nr_files, 1);
	cr_expect(is_followed(inode_of(pins_name(geteuid(), 0))),
		  "the owner's");
}

Test(pins, what_lies_in_our_place_is_gone_around)
{
	struct strata__chunk *chunk;
	struct strata__slot *slot;

	/* Nothing of this process is in it yet. */
	cr_assert_eq(unlinkat(folder.fd, pins_name(geteuid(), 0), 0), 0);
	cr_assert_eq(mkdirat(folder.fd, pins_name(geteuid(), 0), 0755), 0);
	close(openat(folder.fd, pins_name(geteuid(), 1), O_CREAT | O_RDWR,
		     0666));
	must(strata__slot_take(&store->rcu, &chunk, &slot));
	cr_expect_eq(inode_of(pins_name(geteuid(), 2)), chunk->inode);
	pin(slot, 3);
	cr_expect(needs(3, 4));
	unlinkat(folder.fd, pins_name(geteuid(), 0), AT_REMOVEDIR);
}

Test(pins, where_all_our_places_are_taken_there_is_no_slot)
{
	struct strata_reader *reader;

	unlinkat(folder.fd, pins_name(geteuid(), 0), 0);
	for (uint32_t i = 0; i < STRATA_PINS_SUFFIXES; i++)
		close(openat(folder.fd, pins_name(geteuid(), i),
			     O_CREAT | O_RDWR, 0600));
	expect_error(strata_reader_open(store, &reader), STRATA_EREADERS,
		     "no reader slot left");
}

/* Hard links to what its group may write, for one. */
Test(strangers, what_others_can_write_to_takes_nothing_of_a_share)
{
	int fd, lock;

	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(store->space.geometry->pins_size, 3);
	lock = openat(folder.fd, pins_name(STRANGER, 0), O_RDWR | O_CLOEXEC);
	cr_assert_eq(strata__os_lock_try(lock, STRATA_PINS_SLOTS, 1), 0);
	cr_expect(needs(3, 4));
	for (uint32_t i = 0; i < STRATA_PINS_FILES_PER_USER; i++) {
		int other = stranger_as(1000 + i, 100, 0);

		cr_assert_eq(fchmod(other, i % 2 == 0 ? 0660 : 0606), 0);
		close(other);
	}
	cr_expect(needs(3, 4));
	cr_expect(needs(3, 4));
	for (uint32_t i = 0; i < STRATA_PINS_FILES_PER_USER; i++)
		cr_expect_not(is_followed(inode_of(pins_name(1000 + i, 0))));
	close(lock);
	close(fd);
}

/* While they are being listed, nobody knows which have lost their names. */
Test(strangers, no_file_with_a_name_makes_room_for_another)
{
	uint32_t many = STRATA_PINS_FILES_PER_USER;
	uint64_t lives;
	unsigned nr = 0;

	if (geteuid() != 0)
		cr_skip("needs root");
	for (uint32_t i = 0; i < many / 2; i++)
		close(stranger_as(1000 + i, store->space.geometry->pins_size,
				  3));
	cr_expect_eq(nr_pins(), many / 2);
	for (uint32_t i = many / 2; i < many; i++)
		close(stranger_as(1000 + i, store->space.geometry->pins_size,
				  3));
	cr_expect_eq(nr_pins(), many);
	for (uint32_t i = 0; i < many; i++)
		nr += is_followed(inode_of(pins_name(1000 + i, 0)));
	cr_expect_eq(nr, many);
	/* And there is an end. */
	lives = store->rcu.lives;
	for (uint32_t i = many; i < 4 * many; i++) {
		close(stranger_as(1000 + i, store->space.geometry->pins_size,
				  3));
		cr_expect_eq(nr_pins(), many);
	}
	for (uint32_t i = 0; i < many; i++)
		cr_expect(is_followed(inode_of(pins_name(1000 + i, 0))));
	cr_expect_eq(store->rcu.lives, lives, "all the time");
}

/* Where there are just enough of them. */
Test(strangers, those_that_are_gone_make_room_for_others)
{
	uint32_t many = STRATA_PINS_FILES_PER_USER;
	struct rlimit before, limit;
	int last = -1;

	if (geteuid() != 0)
		cr_skip("needs root");
	for (uint32_t i = 0; i < many; i++)
		close(stranger_as(1000 + i, store->space.geometry->pins_size,
				  3));
	cr_expect_eq(nr_pins(), many);
	for (uint32_t i = 0; i < many; i++) {
		cr_assert_eq(unlinkat(folder.fd, pins_name(1000 + i, 0), 0), 0);
		close(stranger_as(2000 + i, store->space.geometry->pins_size,
				  3));
	}
	for (size_t i = 0; i < store->rcu.nr_files; i++)
		if (store->rcu.files[i].fd > last)
			last = store->rcu.files[i].fd;
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = (rlim_t)last + 1;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	cr_expect_eq(nr_pins(), many);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static bool has_mounts;

/* What was opened before would lead past the mounts. */
static void
setup_mounts(void)
{
	has_mounts = unshare(CLONE_NEWNS) == 0 &&
		     mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	setup_open();
}

TestSuite(mounts, .init = setup_mounts, .fini = store_teardown, .timeout = 60);

/* To look at what a user has mounted for himself is refused to everybody else,
 * root included. */
Test(mounts, what_is_mounted_over_a_file_stops_no_scan)
{
	char options[100];
	const char *path;
	int fd;

	if (!has_mounts)
		cr_skip("needs root");
	path = file_path(pins_name(1000, 0));
	close(stranger_as(1000, store->space.geometry->pins_size, 3));
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=100644,user_id=%u,group_id=%u", fd, STRANGER,
		 STRANGER);
	if (fd < 0 || mount("x", path, "fuse", MS_NOSUID | MS_NODEV, options) != 0)
		cr_skip("no FUSE here");
	close(stranger_as(1001, store->space.geometry->pins_size, 3));
	cr_expect_eq(nr_pins(), 1);
	close(fd);
	close(stranger_as(1002, store->space.geometry->pins_size, 3));
	cr_expect_eq(nr_pins(), 2, "nor when nobody serves it");
	cr_assert_eq(umount2(file_path(pins_name(1000, 0)), MNT_DETACH), 0);
}

/* By a program that closed all descriptors once. */
Test(strangers, what_cannot_be_opened_again_stops_no_scan)
{
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(store->space.geometry->pins_size, 3);
	cr_expect_eq(nr_pins(), 1);
	for (size_t i = 0; i < store->rcu.nr_files; i++)
		if (store->rcu.files[i].fd >= 0)
			close(store->rcu.files[i].fd);
	cr_assert_eq(fchmod(fd, 0660), 0);
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(nr_pins(), 0);
		let_folder_settle();
	}
	close(fd);
}

Test(mounts, an_overlay_is_refused)
{
	struct strata_store *other = NULL;
	const char *names[] = {"low", "up", "work", "both"};
	char options[400], paths[4][100];
	bool mounted;

	if (!has_mounts)
		cr_skip("needs root");
	for (int i = 0; i < 4; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/%s", folder_path,
			 names[i]);
		cr_assert_eq(mkdir(paths[i], 0700), 0);
	}
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s",
		 paths[0], paths[1], paths[2]);
	mounted = mount("overlay", paths[3], "overlay", 0, options) == 0;
	if (mounted) {
		setenv("STRATA_SHM_DIR", paths[3], 1);
		expect_error(strata_create("other", NULL), STRATA_ENOTSUP,
			     "is on an overlay");
		expect_error(strata_attach("other", STRATA_READ, &other),
			     STRATA_ENOTSUP, "use a tmpfs");
		setenv("STRATA_SHM_DIR", folder_path, 1);
		cr_assert_eq(umount2(paths[3], MNT_DETACH), 0);
	}
	snprintf(options, sizeof(options), "%s/work", paths[2]);
	(void)rmdir(options);
	for (int i = 0; i < 4; i++)
		cr_expect_eq(rmdir(paths[i]), 0);
	if (!mounted)
		cr_skip("no overlayfs here");
}

/**** who changes things for ever ****/

static _Atomic uint64_t *raised[STRATA_PINS_FILES_PER_USER];
static unsigned nr_raised, nr_notes;

static _Atomic uint64_t *
counter_of(int fd)
{
	void *head;

	cr_assert_eq(strata__os_map(fd, 0, STRATA_PAGE, /* writable= */ true,
				    &head),
		     0);
	return &((struct strata__pins_head *)head)->handovers;
}

/* One file after the other, and each for as long as one is listened to. */
static void
raise_in_turns(const char *point)
{
	unsigned i = nr_notes / 64;

	if (strcmp(point, "scan.noted") != 0)
		return;
	nr_notes++;
	if (i < nr_raised)
		atomic_fetch_add(raised[i], 1);
}

Test(strangers, one_user_does_not_end_a_scan)
{
	int lock;

	if (geteuid() != 0)
		cr_skip("needs root");
	lock = stranger(store->space.geometry->pins_size, 3);
	cr_assert_eq(strata__os_lock_try(lock, STRATA_PINS_SLOTS, 1), 0);
	nr_raised = STRATA_PINS_FILES_PER_USER - 1;
	for (uint32_t i = 0; i < nr_raised; i++)
		raised[i] = counter_of(stranger_as(
			1000 + i, store->space.geometry->pins_size, 0));
	cr_expect(needs(3, 4));
	strata__testpoint = raise_in_turns;
	cr_expect(needs(3, 4));
	strata__testpoint = NULL;
	cr_expect_gt(nr_notes, 64);
	cr_expect_lt(nr_notes, 70, "his share is one for all");
	close(lock);
}

/* Another file each time, under names that are there already. */
static void
replace_one(const char *point)
{
	unsigned i = nr_notes / 60 % (STRATA_PINS_FILES_PER_USER - 1);

	if (strcmp(point, "scan.noted") != 0)
		return;
	nr_notes++;
	cr_assert_eq(unlinkat(folder.fd, pins_name(1000 + i, 0), 0), 0);
	close(stranger_as(1000 + i, store->space.geometry->pins_size, 0));
}

Test(strangers, nor_does_one_who_replaces_his_files)
{
	if (geteuid() != 0)
		cr_skip("needs root");
	for (uint32_t i = 0; i < STRATA_PINS_FILES_PER_USER - 1; i++)
		close(stranger_as(1000 + i, store->space.geometry->pins_size,
				  0));
	cr_expect_eq(nr_pins(), 0);
	strata__testpoint = replace_one;
	cr_expect_eq(nr_pins(), 0);
	strata__testpoint = NULL;
	cr_expect_leq(nr_notes, 64 + 64 + 2);
}

Test(strangers, pins_that_are_met_again_are_noted_once)
{
	uint32_t nr = store->space.geometry->readers;
	uint64_t version = 3;
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(store->space.geometry->pins_size, version);
	for (uint32_t i = 1; i < nr; i++)
		cr_assert_eq(pwrite(fd, &version, 8,
				    (off_t)(STRATA_PINS_SLOTS +
					    i * sizeof(struct strata__slot))),
			     8);
	cr_assert_eq(strata__os_lock_try(fd, STRATA_PINS_SLOTS,
					 nr * sizeof(struct strata__slot)),
		     0);
	raised[0] = counter_of(fd);
	nr_raised = 1;
	strata__testpoint = raise_in_turns;
	cr_expect_eq(nr_pins(), nr);
	strata__testpoint = NULL;
	cr_expect_gt(nr_notes, 64);
	close(fd);
}

static int first_file, second_file;

/* The one who was not listened to any more leaves his place to another. */
static void
replace_owner(const char *point)
{
	if (strcmp(point, "scan.noted") != 0)
		return;
	if (++nr_notes <= 64) {
		atomic_fetch_add(raised[0], 1);
	} else if (nr_notes == 65) {
		cr_assert_eq(unlinkat(folder.fd, pins_name(1000, 0), 0), 0);
	} else if (nr_notes == 66) {
		second_file = stranger_as(
			1001, store->space.geometry->pins_size, 0);
		cr_assert_eq(fchown(second_file, STRANGER + 1, (gid_t)-1), 0);
	}
}

Test(strangers, a_place_has_no_tally_of_whose_it_was)
{
	const struct strata__pins_tally *tally;
	struct strata__scan scan;

	if (geteuid() != 0)
		cr_skip("needs root");
	first_file = stranger_as(1000, store->space.geometry->pins_size, 0);
	raised[0] = counter_of(first_file);
	(void)nr_pins();
	strata__testpoint = replace_owner;
	must(strata__scan_take(&store->rcu, &scan));
	strata__testpoint = NULL;
	tally = strata__pins_tally_of(&store->rcu, STRANGER + 1);
	cr_assert_not_null(tally);
	cr_expect_eq(tally->changes, 0);
	cr_expect_eq(tally->news, 1);
	tally = strata__pins_tally_of(&store->rcu, STRANGER);
	cr_assert_not_null(tally);
	cr_expect_eq(tally->changes, 64);
	for (size_t i = 0; i < store->rcu.nr_files; i++)
		cr_expect_neq(store->rcu.files[i].owner, STRANGER,
			      "it was his");
	strata__scan_done(&scan);
	close(first_file);
	close(second_file);
}

/**** the listing ****/

Test(strangers, a_folder_is_listed_again_when_it_changed)
{
	int fd;

	cr_expect_eq(nr_pins(), 0);
	let_folder_settle();
	cr_expect_eq(nr_pins(), 0);
	cr_expect(store->rcu.listing_settled);
	cr_expect_eq(nr_pins(), 0);
	if (geteuid() != 0)
		cr_skip("needs root");
	fd = stranger(store->space.geometry->pins_size, 3);
	cr_expect_eq(nr_pins(), 1, "a new file is noticed");
	cr_expect_not(store->rcu.listing_settled);
	let_folder_settle();
	cr_expect_eq(nr_pins(), 1);
	cr_expect(store->rcu.listing_settled);
	close(fd);
}

/* Where times are whole seconds. */
static void
round_folder_time(void)
{
	struct timespec times[2];
	struct stat st;
	int fd = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(fstat(fd, &st), 0);
	times[0] = times[1] = (struct timespec){.tv_sec = st.st_mtim.tv_sec};
	cr_assert_eq(futimens(fd, times), 0);
	close(fd);
}

static long
nanoseconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_nsec;
}

Test(strangers, times_of_whole_seconds_are_believed_later)
{
	uint64_t begin;
	bool settled;
	size_t nr;
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	/* What follows is within one second, or says nothing. */
	while (nanoseconds_now() < 50 * 1000 * 1000 ||
	       nanoseconds_now() > 500 * 1000 * 1000)
		sched_yield();
	begin = strata__os_monotonic_ns();
	close(stranger_as(1000, store->space.geometry->pins_size, 0));
	round_folder_time();
	let_folder_settle();
	cr_expect_eq(nr_pins(), 0);
	settled = store->rcu.listing_settled;
	fd = stranger(store->space.geometry->pins_size, 3);
	round_folder_time();
	nr = nr_pins();
	close(fd);
	if (strata__os_monotonic_ns() - begin > 400 * 1000 * 1000)
		cr_skip("this machine is too slow now");
	cr_expect_not(settled);
	cr_expect_eq(nr, 1);
}

Test(pins, a_scan_without_descriptors_says_so)
{
	struct rlimit before, limit;
	struct strata__scan scan;
	int fd = dup(0);

	close(fd);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = (rlim_t)fd;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect_error(strata__scan_take(&store->rcu, &scan), -EMFILE,
		     "cannot list the readers");
	limit.rlim_cur = (rlim_t)fd + 1;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	cr_expect_neq(strata__scan_take(&store->rcu, &scan), 0);
	cr_expect_not_null(strstr(strata_last_error()->sentence,
				  "readers of user"));
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	cr_expect_eq(nr_pins(), 0);
}
