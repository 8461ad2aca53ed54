/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Pins: who has them, what they protect, and what cannot fool a scan. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "attached.h"

TestSuite(rcu, .init = store_setup, .fini = store_teardown, .timeout = 60);

#define STRANGER 4242u

static struct strata__slot *
take(void)
{
	struct strata__chunk *chunk;
	struct strata__slot *slot = NULL;

	must(strata__slot_take(&store->rcu, &chunk, &slot));
	return slot;
}

static void
pin(struct strata__slot *slot, uint64_t version)
{
	/* With a section number above it, as a lock does. */
	atomic_store(&slot->pin, UINT64_C(7) << STRATA_VERSION_BITS | version);
}

static bool
needs(uint64_t birth, uint64_t retirement)
{
	struct strata__scan scan;
	bool is;

	must(strata__scan_take(&store->rcu, &scan));
	is = strata__scan_needs(&scan, birth, retirement);
	strata__scan_done(&scan);
	return is;
}

static size_t
nr_pins(void)
{
	struct strata__scan scan;
	size_t nr;

	must(strata__scan_take(&store->rcu, &scan));
	nr = scan.nr;
	strata__scan_done(&scan);
	return nr;
}

/**** slots ****/

Test(rcu, slots_come_in_chunks_that_the_kernel_vouches_for)
{
	struct strata__chunk *chunks[2 * STRATA_CHUNK_SLOTS];
	struct strata__slot *slots[2 * STRATA_CHUNK_SLOTS];
	char name[STRATA_SEGMENT_NAME];
	int fd;

	for (unsigned i = 0; i < 2 * STRATA_CHUNK_SLOTS; i++)
		must(strata__slot_take(&store->rcu, &chunks[i], &slots[i]));
	for (unsigned i = 0; i < STRATA_CHUNK_SLOTS; i++) {
		cr_expect_eq(chunks[i], chunks[0]);
		cr_expect_eq(slots[i], slots[0] + i);
		cr_expect_eq(chunks[STRATA_CHUNK_SLOTS + i],
			     chunks[STRATA_CHUNK_SLOTS]);
	}
	cr_expect_eq(chunks[0]->first, 0);
	cr_expect_eq(chunks[STRATA_CHUNK_SLOTS]->first, STRATA_CHUNK_SLOTS);
	strata__segment_name_pins(name, &store->space.id, geteuid(), 0);
	fd = open(file_path(name), O_RDONLY | O_CLOEXEC);
	cr_expect_eq(strata__os_is_locked(fd, STRATA_PINS_SLOTS, 1), 1);
	cr_expect_eq(strata__os_is_locked(
			     fd,
			     STRATA_PINS_SLOTS + 8 * sizeof(*slots[0]), 1),
		     0, "the third chunk is free");
	close(fd);
	strata__slot_give(&store->rcu, chunks[2], slots[2]);
	cr_expect_eq(take(), slots[2], "the lowest that is free");
}

Test(rcu, slots_say_whose_they_are)
{
	struct strata__slot *slot = take();
	uint64_t pid_namespace;
	char name[32];

	strata__os_self(name, sizeof(name), &pid_namespace);
	cr_expect_eq(slot->pid, (uint32_t)getpid());
	cr_expect_eq(slot->pid_namespace, pid_namespace);
	cr_expect_str_eq(slot->name, name);
	cr_expect_eq(atomic_load(&slot->in_use), 1);
	cr_expect_eq(atomic_load(&slot->pin), 0);
}

/**** sections that are handed over while somebody scans ****/

static const struct strata__slot *handed_over;
static struct strata__chunk *former;

/* Once: as a fork does that finds no slot for the child in the files that there
 * are, and whose parent leaves. */
static void
hand_over(const char *point)
{
	struct strata__slot *slot;

	if (handed_over != NULL || strcmp(point, "scan.listed") != 0)
		return;
	slot = take();
	handed_over = slot;
	pin(slot, 5);
	atomic_fetch_add(&former->head->handovers, 1);
	atomic_store(&former->slots[0].pin, 0);
}

static void
setup_of_one_chunk(void)
{
	struct strata_config config = store_config(16 * MIB);
	struct strata__slot *slot;

	config.readers = 1;
	store_setup_config(&config);
	must(strata__slot_take(&store->rcu, &former, &slot));
	pin(slot, 5);
	for (unsigned i = 1; i < STRATA_CHUNK_SLOTS; i++)
		(void)take();
}

static void
teardown_of_one_chunk(void)
{
	strata__testpoint = NULL;
	store_teardown();
}

TestSuite(rcu_chunk, .init = setup_of_one_chunk, .fini = teardown_of_one_chunk,
	  .timeout = 60);

/* The counter is noted when it was raised already, and the child's pin is in a
 * file that was not there when they were listed. */
Test(rcu_chunk, a_section_in_a_new_file_is_found)
{
	cr_assert(needs(5, 6));
	strata__testpoint = hand_over;
	cr_expect(needs(5, 6));
	strata__testpoint = NULL;
	cr_assert_neq(handed_over, NULL);
	cr_expect(needs(5, 6));
}

static unsigned nr_made;

/* A new file each time that they have been listed. */
static void
make_a_file(const char *point)
{
	struct strata__chunk *chunk;
	struct strata__slot *slot;
	char name[STRATA_SEGMENT_NAME];

	if (strcmp(point, "scan.noted") != 0)
		return;
	strata__segment_name_pins(name, &store->space.id, geteuid(), 1);
	(void)unlink(file_path(name));
	for (unsigned i = 0; i < STRATA_CHUNK_SLOTS; i++)
		must(strata__slot_take(&store->rcu, &chunk, &slot));
	nr_made++;
}

Test(rcu_chunk, who_makes_files_for_ever_is_not_waited_for)
{
	strata__testpoint = make_a_file;
	cr_expect(needs(5, 6));
	strata__testpoint = NULL;
	cr_expect_gt(nr_made, 1);
}

/* As two users who do it in turns. */
static void
make_a_file_unnoticed(const char *point)
{
	make_a_file(point);
	strata__pins_news_forget(&store->rcu);
}

Test(rcu_chunk, nor_are_many_who_do_it_in_turns)
{
	struct strata__scan scan;

	strata__testpoint = make_a_file_unnoticed;
	expect_error(strata__scan_take(&store->rcu, &scan), -EBUSY,
		     "come and go faster");
	strata__testpoint = NULL;
	cr_expect(needs(5, 6));
}

/**** intervals ****/

Test(rcu, a_pin_protects_what_is_born_and_not_retired)
{
	pin(take(), 5);
	cr_expect(needs(5, 6), "born at it");
	cr_expect(needs(1, 6));
	cr_expect(needs(5, 100));
	cr_expect(needs(0, UINT64_MAX));
	cr_expect_not(needs(1, 5), "retired at it: it does not reach that");
	cr_expect_not(needs(6, 9), "born after it");
	cr_expect_not(needs(5, 5), "never reachable");
}

Test(rcu, pins_between_other_pins_are_found)
{
	static const uint64_t versions[] = {30, 10, 20, 20, 40};
	struct strata__scan scan;

	for (int i = 0; i < 5; i++)
		pin(take(), versions[i]);
	pin(take(), 0); /* outside of a section */
	must(strata__scan_take(&store->rcu, &scan));
	cr_assert_eq(scan.nr, 5);
	cr_expect_eq(scan.readers, 6);
	for (size_t i = 1; i < scan.nr; i++)
		cr_expect_leq(strata__pin_version(scan.pins[i - 1].word),
			      strata__pin_version(scan.pins[i].word));
	for (uint64_t birth = 1; birth < 45; birth++)
		for (uint64_t end = birth; end < 45; end++) {
			bool expected = false;

			for (int i = 0; i < 5; i++)
				expected |= birth <= versions[i] &&
					    versions[i] < end;
			cr_assert_eq(strata__scan_needs(&scan, birth, end),
				     expected, "%d to %d", (int)birth,
				     (int)end);
		}
	strata__scan_done(&scan);
}

Test(rcu, more_pins_than_a_first_guess_are_sorted)
{
	struct strata__scan scan;

	for (unsigned i = 0; i < 200; i++)
		pin(take(), 1 + i * 71 % 200);
	must(strata__scan_take(&store->rcu, &scan));
	cr_assert_eq(scan.nr, 200);
	for (size_t i = 0; i < scan.nr; i++)
		cr_expect_eq(strata__pin_version(scan.pins[i].word), i + 1);
	strata__scan_done(&scan);
}

Test(rcu, accounts_say_who_keeps_what_alone)
{
	struct strata__scan scan;

	pin(take(), 5);
	pin(take(), 7);
	must(strata__scan_take(&store->rcu, &scan));
	strata__scan_account(&scan, 1, 10, 1000);
	strata__scan_account(&scan, 5, 7, 100);
	strata__scan_account(&scan, 6, 8, 10);
	strata__scan_account(&scan, 6, 7, 1);
	strata__scan_account(&scan, 8, 20, 1);
	cr_assert_eq(scan.nr, 2);
	cr_expect_eq(scan.pins[0].retained, 1100);
	cr_expect_eq(scan.pins[0].retained_alone, 100);
	cr_expect_eq(scan.pins[1].retained, 1010);
	cr_expect_eq(scan.pins[1].retained_alone, 10);
	strata__scan_done(&scan);
}

Test(rcu, an_eager_reclaim_is_seen_by_the_tests)
{
	pin(take(), 5);
	strata__broken = STRATA_EAGER_RECLAIM;
	cr_expect_not(needs(5, 6));
	strata__broken = 0;
	cr_expect(needs(5, 6));
}

/**** the dead ****/

static void
pin_and_die(struct proc *parent, void *arg)
{
	struct strata_store *mine;
	struct strata_reader *reader;

	(void)arg;
	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	proc_say(parent, 'l');
	proc_hear(parent, 'd');
	test_exit(0);
}

Test(rcu, the_pin_of_a_dead_process_protects_nothing)
{
	uint64_t version = strata_version(store);
	struct proc child;

	proc_start(&child, pin_and_die, NULL);
	proc_hear(&child, 'l');
	cr_expect(needs(version, version + 1), "alive");
	proc_say(&child, 'd');
	cr_expect_eq(proc_wait(&child), 0);
	cr_expect_eq(nr_pins(), 1, "the word stands there still");
	cr_expect_not(needs(version, version + 1), "but its owner is dead");
	must(strata_synchronize(store, 0));
	(void)take();
	cr_expect_eq(nr_pins(), 0, "who takes the chunk clears it");
}

static void
open_many(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *mine;

	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	for (unsigned i = 0; i < *(const unsigned *)arg; i++)
		need(strata_reader_open(mine, &reader) == 0, "open");
	proc_say(parent, 'o');
	proc_hear(parent, 'd');
	test_exit(0);
}

/* Who came when there were many is seen when the many are gone; and is not when
 * he is gone, too, whatever his slot says. */
Test(rcu, a_pin_is_seen_wherever_it_is)
{
	static unsigned many[] = {1, 31, 32, 33, 127, 128, 129, 512, 1020};
	uint64_t version = strata_version(store);

	cr_assert_geq(store->space.geometry->readers, 1024);
	for (size_t i = 0; i < sizeof(many) / sizeof(*many); i++) {
		struct proc below, above;

		proc_start(&below, open_many, &many[i]);
		proc_hear(&below, 'o');
		proc_start(&above, pin_and_die, NULL);
		proc_hear(&above, 'l');
		cr_expect(needs(version, version + 1), "%u", many[i]);
		proc_say(&below, 'd');
		cr_expect_eq(proc_wait(&below), 0);
		cr_expect(needs(version, version + 1), "%u", many[i]);
		cr_expect_eq(nr_pins(), 1);
		proc_say(&above, 'd');
		cr_expect_eq(proc_wait(&above), 0);
		cr_expect_not(needs(version, version + 1), "%u", many[i]);
	}
}

Test(rcu, what_only_the_dead_pinned_is_reclaimed)
{
	struct proc child;

	put(1, 0, 'a', 10000);
	proc_start(&child, pin_and_die, NULL);
	proc_hear(&child, 'l');
	put(1, 0, 'b', 10000);
	must(strata_gc(store, NULL));
	cr_expect_gt(stats_now().retired, 0);
	proc_kill(&child);
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().retired, 0);
}

/**** files that are not what they should be ****/

static const char *
pins_name(uint32_t uid, uint32_t suffix)
{
	static char name[STRATA_SEGMENT_NAME];

	strata__segment_name_pins(name, &store->space.id, uid, suffix);
	return name;
}

/* A pins file of a stranger, whose first slot pins a version. */
static int
stranger(uint64_t size, uint64_t version)
{
	int fd = openat(folder.fd, pins_name(STRANGER, 0),
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

Test(rcu, pins_of_whom_may_not_read_the_store_are_not_followed)
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

Test(rcu, names_that_are_not_quite_right_are_ignored)
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

Test(rcu, what_lies_in_our_place_is_gone_around)
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

Test(rcu, where_all_our_places_are_taken_there_is_no_slot)
{
	struct strata_reader *reader;

	unlinkat(folder.fd, pins_name(geteuid(), 0), 0);
	for (uint32_t i = 0; i < STRATA_PINS_SUFFIXES; i++)
		close(openat(folder.fd, pins_name(geteuid(), i),
			     O_CREAT | O_RDWR, 0600));
	expect_error(strata_reader_open(store, &reader), STRATA_EREADERS,
		     "no reader slot left");
}

/**** the listing ****/

/* Until a listing made now would be believed. */
static void
let_folder_settle(void)
{
	uint64_t begin = strata__os_monotonic_ns();

	while (strata__os_monotonic_ns() < begin + 30 * 1000 * 1000)
		sched_yield();
}

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

Test(rcu, a_scan_without_descriptors_says_so)
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

/**** grace periods ****/

Test(rcu, synchronize_without_readers_returns)
{
	must(strata_synchronize(store, -1));
	must(strata_synchronize(store, 0));
	expect_error(strata_synchronize(NULL, 0), STRATA_EINVAL, "no store");
}

Test(rcu, synchronize_does_not_wait_for_itself)
{
	struct strata_reader *reader = reader_open(store);

	must(strata_read_lock(reader));
	expect_error(strata_synchronize(store, -1), STRATA_EINVAL,
		     "wait for itself");
	must(strata_read_unlock(reader));
	must(strata_synchronize(store, -1));
}

static void
read_until_told(struct proc *parent, void *arg)
{
	struct strata_store *mine;
	struct strata_reader *reader;

	(void)arg;
	need(strata_attach(STORE, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	for (int i = 0; i < 2; i++) {
		need(strata_read_lock(reader) == 0, "lock");
		proc_say(parent, 'l');
		proc_hear(parent, 'u');
		need(strata_read_unlock(reader) == 0, "unlock");
	}
	need(strata_detach(mine) == 0, "detach");
}

struct waiting {
	pthread_t thread;
	atomic_int done;
	int code;
};

static void *
synchronize(void *arg)
{
	struct waiting *waiting = arg;

	waiting->code = strata_synchronize(store, -1);
	atomic_store(&waiting->done, 1);
	return NULL;
}

static atomic_int nr_scans;

static void
count_scans(const char *point)
{
	if (strcmp(point, "scan.taken") == 0)
		atomic_fetch_add(&nr_scans, 1);
}

Test(rcu, synchronize_waits_for_the_sections_that_are_open)
{
	struct waiting waiting = {.code = -1};
	struct proc child;
	char words[64];

	proc_start(&child, read_until_told, NULL);
	proc_hear(&child, 'l');
	snprintf(words, sizeof(words), "reader %d ('", (int)child.pid);
	expect_error(strata_synchronize(store, 50 * 1000 * 1000),
		     STRATA_ETIMEDOUT, words);
	cr_expect_not_null(strstr(strata_last_error()->sentence,
				  "section of version 1 in time"));
	strata__testpoint = count_scans;
	cr_assert_eq(pthread_create(&waiting.thread, NULL, synchronize,
				    &waiting),
		     0);
	expect_error(strata_synchronize(store, 20 * 1000 * 1000),
		     STRATA_ETIMEDOUT, words);
	/* The thread has seen the section, too. */
	while (atomic_load(&nr_scans) < 2)
		sched_yield();
	cr_expect_eq(atomic_load(&waiting.done), 0, "still waiting");
	proc_say(&child, 'u');
	/* It locks again at once: that is another section. */
	proc_hear(&child, 'l');
	pthread_join(waiting.thread, NULL);
	strata__testpoint = NULL;
	cr_expect_eq(waiting.code, 0);
	proc_say(&child, 'u');
	cr_expect_eq(proc_wait(&child), 0);
}

Test(rcu, synchronize_does_not_wait_for_the_dead)
{
	struct waiting waiting = {.code = -1};
	struct proc child;

	proc_start(&child, read_until_told, NULL);
	proc_hear(&child, 'l');
	cr_assert_eq(pthread_create(&waiting.thread, NULL, synchronize,
				    &waiting),
		     0);
	cr_expect_eq(strata_synchronize(store, 20 * 1000 * 1000),
		     STRATA_ETIMEDOUT);
	proc_kill(&child);
	pthread_join(waiting.thread, NULL);
	cr_expect_eq(waiting.code, 0);
}

static void *
lock_and_wait(void *arg)
{
	struct strata_reader *reader = arg;

	return (void *)(intptr_t)strata_read_lock(reader);
}

Test(rcu, synchronize_waits_for_other_threads)
{
	struct strata_reader *reader = reader_open(store);
	pthread_t thread;
	void *code;

	pthread_create(&thread, NULL, lock_and_wait, reader);
	pthread_join(thread, &code);
	cr_assert_eq((intptr_t)code, 0);
	/* The section is handed over: another thread's as long as it is not
	 * locked here. The sentence names this very process. */
	cr_expect_neq(strata_synchronize(store, 20 * 1000 * 1000), 0);
	must(strata_read_unlock(reader));
	must(strata_synchronize(store, -1));
}

/**** fences ****/

/* From here on this process may not call membarrier. */
static bool
forbid_membarrier(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

Test(rcu, the_heavy_fence_is_a_membarrier)
{
	cr_expect_eq(strata__heavy_fence(&store->rcu), 0);
	if (!store->space.geometry->membarrier || !forbid_membarrier())
		cr_skip("no membarrier here, or no seccomp");
	expect_error(strata__heavy_fence(&store->rcu), STRATA_ENOTSUP,
		     "may not call membarrier");
	strata__broken = STRATA_NO_HEAVY_FENCE;
	cr_expect_eq(strata__heavy_fence(&store->rcu), 0);
	strata__broken = 0;
}

Test(rcu, without_membarrier_nothing_is_reclaimed)
{
	struct strata_gc_report report;
	struct strata_reader *reader;

	if (!store->space.geometry->membarrier || !forbid_membarrier())
		cr_skip("no membarrier here, or no seccomp");
	put(1, 0, 'a', 5000);
	put(1, 0, 'b', 5000);
	expect_error(strata_gc(store, &report), STRATA_ENOTSUP, "membarrier");
	expect_error(strata_synchronize(store, 0), STRATA_ENOTSUP, "");
	cr_expect_gt(stats_now().retired, 0);
	must(strata_detach(store));
	store = store_attach(STRATA_WRITE);
	cr_expect(store->rcu.full_fence, "readers fence for themselves");
	reader = reader_open(store);
	must(strata_read_lock(reader));
	cr_expect(reads(reader, 1, 0, 'b', 5000));
	must(strata_read_unlock(reader));
	must(strata_detach(store));
	must(strata_destroy(STORE));
	store = NULL;
}

Test(rcu, a_store_made_without_membarrier_needs_none)
{
	const struct strata_config config = store_config(16 * MIB);

	if (!forbid_membarrier())
		cr_skip("no seccomp");
	store_again(&config);
	cr_expect_eq(store->space.geometry->membarrier, 0);
	put(1, 0, 'a', 5000);
	put(1, 0, 'b', 5000);
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().retired, 0);
	cr_expect(has(1, 0, 'b', 5000));
	must(strata_synchronize(store, 0));

	/* Nor does a writer that leaves leave anything to others. */
	put(1, 0, 'c', 5000);
	cr_expect_neq(stats_now().retired, 0);
	must(strata_detach(store));
	must(strata_attach(STORE, STRATA_READ, &store));
	cr_expect_eq(stats_now().retired, 0);
}
