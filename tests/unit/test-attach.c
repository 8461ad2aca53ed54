/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Attaching: what is a store, and what only looks like one. */
#include <errno.h>
#include <limits.h>
#include <sys/resource.h>

#include "attached.h"

TestSuite(attach, .init = store_setup, .fini = store_teardown, .timeout = 60);
TestSuite(attach_dir, .init = store_setup_dir, .fini = store_teardown,
	  .timeout = 60);

#define CATALOG "strata." STORE
#define NOBODY  65534

/**** what it tells ****/

Test(attach, tells_name_directory_and_version)
{
	struct strata_store *other = store_attach(STRATA_READ);

	cr_expect_str_eq(strata_name(other), STORE);
	cr_expect_null(strata_directory(other));
	cr_expect_eq(strata_version(other), 1, "the empty store is version 1");
	put(1, 0, 'x', 10);
	cr_expect_eq(strata_version(other), 2);
	cr_expect_str_eq(strata_version_string(), PACKAGE_VERSION);
	must(strata_detach(other));
}

Test(attach_dir, tells_the_directory)
{
	cr_expect_str_eq(strata_directory(store), dir_path);
}

Test(attach, refuses_bad_arguments)
{
	struct strata_store *other = store;
	char long_name[301];

	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	expect_error(strata_attach(NULL, 0, &other), STRATA_EINVAL, "attach");
	expect_error(strata_attach(STORE, 0, NULL), STRATA_EINVAL, "attach");
	expect_error(strata_attach(STORE, 1u << 7, &other), STRATA_EINVAL, "");
	expect_error(strata_attach(STORE, STRATA_SPACE_DEAD, &other),
		     STRATA_EINVAL, "");
	expect_error(strata_attach("", 0, &other), STRATA_ENAME, "");
	expect_error(strata_attach("..", 0, &other), STRATA_ENAME, "..");
	expect_error(strata_attach("a/b", 0, &other), STRATA_ENAME, "a/b");
	expect_error(strata_attach(long_name, 0, &other), STRATA_ENAME, "nnn");
	cr_expect_eq(other, store, "untouched on failure");
}

Test(attach, knows_no_store_of_that_name)
{
	struct strata_store *other;

	expect_error(strata_attach("nothing", 0, &other), STRATA_ENOSTORE,
		     "there is no store 'nothing'");
	expect_error(strata_attach("nothing", STRATA_WRITE, &other),
		     STRATA_ENOSTORE, "nothing");
}

/**** detach ****/

Test(attach, detach_of_nothing_is_fine)
{
	cr_expect_eq(strata_detach(NULL), 0);
}

Test(attach, detach_refuses_while_a_section_is_open)
{
	struct strata_reader *reader = reader_open(store);

	put(1, 0, 'x', 100);
	must(strata_read_lock(reader));
	expect_error(strata_detach(store), STRATA_EINVAL, "inside a section");
	cr_expect(reads(reader, 1, 0, 'x', 100), "nothing was done");
	must(strata_read_unlock(reader));
	must(strata_detach(store));
	store = NULL;
}

Test(attach, detach_refuses_while_a_transaction_is_open)
{
	struct strata_txn *txn = txn_begin(), *second = txn_begin();

	must(strata_put(txn, 1, 0, NULL, "x", 1, 0));
	expect_error(strata_detach(store), STRATA_EINVAL, "2 transactions");
	commit(txn);
	expect_error(strata_detach(store), STRATA_EINVAL, "1 transactions");
	strata_txn_abort(second);
	must(strata_detach(store));
	store = NULL;
}

Test(attach, detach_refuses_while_a_session_is_open)
{
	struct strata_writer *writer;

	must(strata_writer_open(store, &writer));
	expect_error(strata_detach(store), STRATA_EINVAL, "session");
	must(strata_writer_close(writer));
	must(strata_detach(store));
	store = NULL;
}

Test(attach, detach_closes_readers)
{
	struct strata_store *other = store_attach(STRATA_READ);

	for (int i = 0; i < 40; i++)
		(void)reader_open(other);
	cr_expect_eq(stats_now().readers, 40);
	must(strata_detach(other));
	cr_expect_eq(stats_now().readers, 0);
}

Test(attach, a_writer_reclaims_before_it_leaves)
{
	put(1, 0, 'x', 5000);
	put(1, 0, 'y', 5000);
	cr_expect_gt(stats_now().retired, 0);
	must(strata_detach(store));
	store = store_attach(STRATA_READ);
	cr_expect_eq(stats_now().retired, 0);
}

/**** refresh ****/

Test(attach, refresh_maps_what_is_new)
{
	struct strata_store *other = store_attach(STRATA_READ);

	must(strata_load(store, file_of("file", 3, 2, 5000), NULL));
	cr_expect_eq(other->space.mapped_high, 0);
	must(strata_refresh(other));
	cr_expect_eq(other->space.mapped_high, 1);
	must(strata_refresh(other));
	must(strata_detach(other));
	expect_error(strata_refresh(NULL), STRATA_EINVAL, "no store");
}

Test(attach, refresh_tells_that_the_store_is_gone)
{
	must(strata_destroy(STORE));
	expect_error(strata_refresh(store), STRATA_EGONE, "was destroyed");
}

/**** catalogs that are none ****/

static void
expect_refused(int code, const char *words)
{
	struct strata_store *other;

	expect_error(strata_attach(STORE, STRATA_READ, &other), code, words);
	expect_error(strata_attach(STORE, STRATA_WRITE, &other), code, words);
	expect_error(strata_attach(STORE, STRATA_OBSERVE, &other), code, words);
}

Test(attach, refuses_the_dead)
{
	const uint64_t dead = STRATA_VERSION_DEAD | 1;

	patch(CATALOG, offsetof(struct strata__catalog, hot.version), &dead, 8);
	expect_refused(STRATA_ENOSTORE, "was destroyed");
}

Test(attach, refuses_another_layout)
{
	const uint32_t major = STRATA_LAYOUT_MAJOR + 1, minor = 9;

	patch(CATALOG, offsetof(struct strata__head, layout_minor), &minor, 4);
	must(strata_detach(store_attach(STRATA_READ)));
	patch(CATALOG, offsetof(struct strata__head, layout_major), &major, 4);
	expect_refused(STRATA_ELAYOUT, "has layout 3.9");
}

Test(attach, refuses_another_boot)
{
	struct strata__id id;

	strata__os_boot_id(&id);
	id.bytes[3] ^= 1;
	patch(CATALOG, offsetof(struct strata__head, boot_id), &id, sizeof(id));
	expect_refused(STRATA_EBOOT, "another boot");
}

Test(attach, refuses_another_kind_of_segment)
{
	const uint32_t kind = STRATA_KIND_LOCK;

	patch(CATALOG, offsetof(struct strata__head, kind), &kind, 4);
	expect_refused(STRATA_ECORRUPT, "another kind");
}

Test(attach, refuses_what_does_not_begin_like_a_segment)
{
	patch(CATALOG, 0, "garbage", 8);
	expect_refused(STRATA_ECORRUPT, "does not begin like a segment");
}

Test(attach, refuses_a_truncated_catalog)
{
	uint64_t size = store->space.geometry->catalog_size;

	must(strata_detach(store));
	store = NULL;
	cr_assert_eq(truncate(file_path(CATALOG), (off_t)size / 2), 0);
	expect_refused(STRATA_ECORRUPT, "size");
	cr_assert_eq(truncate(file_path(CATALOG), 100), 0);
	expect_refused(STRATA_ECORRUPT, "too short");
	cr_expect_eq(strata_last_error()->size, 100);
}

Test(attach, refuses_an_impossible_geometry)
{
	const uint64_t size = UINT64_C(1) << 60;

	patch(CATALOG, offsetof(struct strata__catalog, geometry.window_size),
	      &size, 8);
	expect_refused(STRATA_ECORRUPT, "");
}

Test(attach, refuses_a_catalog_of_another_name)
{
	char other[160];

	snprintf(other, sizeof(other), "%s/strata.other", folder_path);
	cr_assert_eq(rename(file_path(CATALOG), other), 0);
	expect_error(strata_attach("other", 0, &store), STRATA_ECORRUPT,
		     "is the catalog of store 'unit'");
}

/**** owners and modes ****/

Test(attach, refuses_what_others_may_write)
{
	cr_assert_eq(chmod(file_path(CATALOG), 0602), 0);
	expect_refused(STRATA_EOWNER, "everybody may write");
	cr_assert_eq(chmod(file_path(CATALOG), 0660), 0);
	expect_refused(STRATA_EOWNER, "a group may write to its catalog");
}

Test(attach, refuses_a_file_of_two_names)
{
	char other[160];

	snprintf(other, sizeof(other), "%s/second", folder_path);
	cr_assert_eq(link(file_path(CATALOG), other), 0);
	expect_refused(STRATA_EOWNER, "more than one name");
}

Test(attach, refuses_what_is_no_file)
{
	char other[160];

	snprintf(other, sizeof(other), "%s/second", folder_path);
	cr_assert_eq(rename(file_path(CATALOG), other), 0);
	cr_assert_eq(symlink(other, file_path(CATALOG)), 0);
	expect_refused(STRATA_EOWNER, "symbolic link");
	unlink(file_path(CATALOG));
	cr_assert_eq(mkfifo(file_path(CATALOG), 0600), 0);
	expect_refused(STRATA_EOWNER, "no regular file");
	unlink(file_path(CATALOG));
	cr_assert_eq(mkdir(file_path(CATALOG), 0700), 0);
	expect_refused(STRATA_EOWNER, "no regular file");
	rmdir(file_path(CATALOG));
	cr_assert_eq(rename(other, file_path(CATALOG)), 0);
}

Test(attach, refuses_the_store_of_a_stranger_unless_told_to_trust)
{
	struct strata_store *other;

	if (geteuid() != 0)
		cr_skip("needs root");
	files_give_away(12345);
	expect_refused(STRATA_EOWNER, "belongs to user 12345");
	must(strata_attach(STORE, STRATA_READ | STRATA_TRUST_OWNER, &other));
	must(strata_detach(other));
	must(strata_attach(STORE, STRATA_WRITE | STRATA_TRUST_OWNER, &other));
	must(strata_detach(other));
}

static void
attach_as_nobody(struct proc *parent, void *arg)
{
	struct strata_store *other;

	(void)parent;
	(void)arg;
	need(setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid");
	need(strata_attach(STORE, STRATA_READ, &other) == STRATA_EACCES,
	     "a stranger attached to a private store");
	need(strata_attach(STORE, STRATA_WRITE, &other) == STRATA_EACCES,
	     "a stranger attached for writing");
}

Test(attach, refuses_whom_the_mode_refuses)
{
	struct proc child;

	if (geteuid() != 0)
		cr_skip("needs root");
	cr_assert_eq(chmod(folder_path, 01777), 0);
	proc_start(&child, attach_as_nobody, NULL);
	cr_expect_eq(proc_wait(&child), 0);
}

static void
read_as_nobody(struct proc *parent, void *arg)
{
	struct strata_store *other;
	struct strata_reader *reader;

	(void)arg;
	need(setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid");
	need(strata_attach(STORE, STRATA_READ, &other) == 0, "attach");
	need(strata_attach(STORE, STRATA_WRITE, &other) == STRATA_EACCES,
	     "a stranger attached for writing");
	need(strata_reader_open(other, &reader) == 0, "reader");
	need(strata_read_lock(reader) == 0, "lock");
	proc_say(parent, 'l');
	proc_hear(parent, 'u');
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_detach(other) == 0, "detach");
}

static int
count_nobody(const struct strata_reader_info *info, void *arg)
{
	*(unsigned *)arg += info->uid == NOBODY && info->alive &&
			    info->pin == 1;
	return 0;
}

Test(attach, readers_of_another_user_have_pins_of_their_own)
{
	struct strata_config config = store_config(16 * MIB);
	struct proc child;
	unsigned nr = 0;

	if (geteuid() != 0)
		cr_skip("needs root");
	config.mode = 0644;
	store_again(&config);
	cr_assert_eq(chmod(folder_path, 01777), 0);
	proc_start(&child, read_as_nobody, NULL);
	proc_hear(&child, 'l');
	must(strata_foreach_reader(store, count_nobody, &nr));
	cr_expect_eq(nr, 1);
	proc_say(&child, 'u');
	cr_expect_eq(proc_wait(&child), 0);
}

static void
fail_to_pin(struct proc *parent, void *arg)
{
	struct strata_store *other;
	struct strata_reader *reader;

	(void)parent;
	(void)arg;
	need(setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid");
	need(strata_attach(STORE, STRATA_READ, &other) == 0, "attach");
	need(strata_reader_open(other, &reader) == STRATA_EACCES,
	     "pins in a folder that may not be written to");
	need(strata_detach(other) == 0, "detach");
}

Test(attach, no_reader_without_the_right_to_make_pins)
{
	struct strata_config config = store_config(16 * MIB);
	struct proc child;

	if (geteuid() != 0)
		cr_skip("needs root");
	config.mode = 0644;
	store_again(&config);
	cr_assert_eq(chmod(folder_path, 0755), 0);
	proc_start(&child, fail_to_pin, NULL);
	cr_expect_eq(proc_wait(&child), 0);
}

/**** the other segments ****/

static char name_buffer[STRATA_SEGMENT_NAME];

static const char *
pool_name(uint32_t class_)
{
	strata__segment_name_pool(name_buffer, &store->space.id, class_);
	return name_buffer;
}

static const char *
lock_name(void)
{
	strata__segment_name_lock(name_buffer, &store->space.id);
	return name_buffer;
}

Test(attach, refuses_a_store_that_lacks_a_pool)
{
	cr_assert_eq(unlink(file_path(pool_name(1))), 0);
	expect_refused(STRATA_ECORRUPT, "pool1 is missing");
}

Test(attach, refuses_pools_in_each_others_place)
{
	const uint32_t index = 3;

	patch(pool_name(1), offsetof(struct strata__head, index), &index, 4);
	expect_refused(STRATA_ECORRUPT, "wrong index");
}

Test(attach, refuses_a_pool_of_another_store)
{
	const struct strata__id id = {{0}};

	patch(pool_name(2), offsetof(struct strata__head, store_id), &id, 16);
	expect_refused(STRATA_ECORRUPT, "another store's");
}

Test(attach, refuses_a_pool_that_was_truncated)
{
	struct strata_store *other;

	cr_assert_eq(ftruncate(store->space.pool_fd[2], 0), 0);
	expect_error(strata_attach(STORE, 0, &other), STRATA_ECORRUPT,
		     "is too short");
}

static void
destroy_now(const char *point)
{
	if (!is_point(point, "space.catalog-mapped"))
		return;
	strata__testpoint = NULL;
	must(strata_destroy(STORE));
}

Test(attach, tells_that_the_store_is_destroyed_meanwhile)
{
	struct strata_store *other;

	strata__testpoint = destroy_now;
	expect_error(strata_attach(STORE, 0, &other), STRATA_ENOSTORE,
		     "was destroyed");
}

static void
destroy_under_it(const char *point)
{
	if (is_point(point, "space.segment-opened")) {
		strata__testpoint = NULL;
		must(strata_destroy(STORE));
	}
}

/* A pool is truncated before it loses its name. */
Test(attach, tells_that_a_pool_is_truncated_meanwhile)
{
	struct strata_store *other;

	strata__testpoint = destroy_under_it;
	expect_error(strata_attach(STORE, 0, &other), STRATA_ENOSTORE,
		     "was destroyed");
}

Test(attach, refuses_a_pool_of_another_generation)
{
	const uint64_t generation = 2;
	struct strata_store *other;
	char name[STRATA_SEGMENT_NAME];

	strata__segment_name_pool(name, &store->space.id, 1);
	patch(name, offsetof(struct strata__head, generation), &generation, 8);
	expect_error(strata_attach(STORE, 0, &other), STRATA_ECORRUPT,
		     "is of another generation");
}

Test(attach, only_writers_need_the_lock_segment)
{
	struct strata_store *other;

	cr_assert_eq(unlink(file_path(lock_name())), 0);
	must(strata_detach(store_attach(STRATA_READ)));
	expect_error(strata_attach(STORE, STRATA_WRITE, &other),
		     STRATA_ECORRUPT, "lock is missing");
}

Test(attach, refuses_a_lock_segment_of_another_size)
{
	struct strata_store *other;
	const char *path = file_path(lock_name());
	uint64_t size = store->space.geometry->lock_size;

	must(strata_detach(store));
	store = NULL;
	cr_assert_eq(truncate(path, (off_t)size + 4096), 0);
	expect_error(strata_attach(STORE, STRATA_WRITE, &other),
		     STRATA_ECORRUPT, "size");
}

Test(attach, tells_when_all_writer_slots_are_taken)
{
	int fd = open(file_path(lock_name()), O_RDWR | O_CLOEXEC);
	struct strata_store *other;

	cr_assert_eq(strata__os_lock_try(fd, STRATA_LOCK_WRITER(1),
					 STRATA_WRITERS - 1),
		     0, "the first one is the setup's");
	expect_error(strata_attach(STORE, STRATA_WRITE, &other), STRATA_EBUSY,
		     "all 256 writer slots");
	close(fd);
	must(strata_detach(store_attach(STRATA_WRITE)));
}

/**** want of resources ****/

Test(attach, tells_that_no_descriptor_is_left)
{
	struct rlimit before, limit;
	struct strata_store *other;
	int fd = open("/", O_RDONLY), code;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	for (int left = 0; left < 8; left++) {
		limit.rlim_cur = (rlim_t)(fd + left);
		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		code = strata_attach(STORE, STRATA_WRITE, &other);
		if (code == 0)
			strata_detach(other);
		else
			cr_expect_eq(code, -EMFILE, "%s",
				     strata_last_error()->sentence);
	}
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	must(strata_detach(store_attach(STRATA_WRITE)));
	close(fd);
}

static void
attach_in_few_addresses(struct proc *parent, void *arg)
{
	struct strata_store *other;
	struct rlimit few;
	unsigned long pages;
	FILE *f = fopen("/proc/self/statm", "r");

	(void)parent;
	(void)arg;
	need(f != NULL && fscanf(f, "%lu", &pages) == 1, "statm");
	fclose(f);
	/* Room for the catalog, not for the window. */
	few.rlim_cur = few.rlim_max = pages * STRATA_PAGE + 16 * MIB;
	need(setrlimit(RLIMIT_AS, &few) == 0, "setrlimit");
	need(strata_attach(STORE, STRATA_READ, &other) == -ENOMEM, "attach");
	need(strstr(strata_last_error()->sentence, "addresses") != NULL, "why");
}

Test(attach, tells_that_no_addresses_are_left)
{
	struct proc child;

#if defined(__SANITIZE_ADDRESS__)
	cr_skip("the sanitizer needs all addresses");
#endif
	proc_start(&child, attach_in_few_addresses, NULL);
	cr_expect_eq(proc_wait(&child), 0);
}
