/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Destroying a store under whoever uses it. */
#include <signal.h>
#include <unistd.h>

#include "attached.h"
#include "destroy.h"

static void
setup(void)
{
	store_setup();
	put(1, 0, 'a', 50000);
	must(strata_load(store, file_of("file", 3, 2, 400000), NULL));
	cr_assert_eq(unlink(file_path("file")), 0);
	must(strata_refresh(store));
}

TestSuite(destroy, .init = setup, .fini = store_teardown, .timeout = 60);
TestSuite(destroy_forced, .init = setup, .fini = store_teardown, .timeout = 60);

/**** memory, not names ****/

#define FILES_MAX 16

/* Its segments, held open: what they take is seen when they have no name. */
struct held {
	unsigned nr;
	int fds[FILES_MAX];
	char names[FILES_MAX][STRATA_SEGMENT_NAME];
};

static void
hold(struct held *held)
{
	DIR *dir = opendir(folder_path);
	struct dirent *entry;

	held->nr = 0;
	while ((entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, "strata", 6) != 0)
			continue;
		cr_assert_lt(held->nr, FILES_MAX);
		snprintf(held->names[held->nr], STRATA_SEGMENT_NAME, "%.100s",
			 entry->d_name);
		held->fds[held->nr++] =
			openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
	}
	closedir(dir);
}

static uint64_t
bytes_held(const struct held *held, const char *what)
{
	uint64_t bytes = 0;
	struct stat st;

	for (unsigned i = 0; i < held->nr; i++)
		if (strstr(held->names[i], what) != NULL &&
		    fstat(held->fds[i], &st) == 0)
			bytes += (uint64_t)st.st_blocks * 512;
	return bytes;
}

Test(destroy, gives_memory_back_under_idle_readers)
{
	struct strata_reader *reader = reader_open(store);
	struct held held;

	must(strata_read_lock(reader));
	must(strata_read_unlock(reader));
	hold(&held);
	cr_expect_gt(bytes_held(&held, "-pool"), 50000);
	cr_expect_gt(bytes_held(&held, "-region"), 800000);
	must(strata_destroy(STORE));
	cr_expect_eq(folder_files(false), 0, "no name is left");
	cr_expect_eq(bytes_held(&held, "-pool"), 0);
	cr_expect_eq(bytes_held(&held, "-region"), 0);
	expect_error(strata_read_lock(reader), STRATA_EGONE, "was destroyed");
	must(strata_reader_close(reader));
	must(strata_detach(store));
	store = NULL;
}

Test(destroy, gives_memory_back_under_read_locks)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	struct held held;

	hold(&held);
	for (unsigned i = 0; i < held.nr; i++)
		if (strstr(held.names[i], "-pool") != NULL ||
		    strstr(held.names[i], "-region") != NULL)
			cr_assert_eq(fcntl(held.fds[i], F_OFD_SETLK, &lock), 0);
	must(strata_detach(store));
	store = NULL;
	must(strata_destroy(STORE));
	cr_expect_eq(folder_files(false), 0, "no name is left");
	cr_expect_eq(bytes_held(&held, "-pool"), 0);
	cr_expect_eq(bytes_held(&held, "-region"), 0);
}

Test(destroy, keeps_what_a_section_reads)
{
	struct strata_reader *reader = reader_open(store);
	struct held held;

	must(strata_read_lock(reader));
	hold(&held);
	must(strata_destroy(STORE));
	cr_expect_eq(folder_files(false), 0);
	cr_expect(reads(reader, 1, 0, 'a', 50000));
	cr_expect(reads(reader, 3, 1, 'b', 400000));
	cr_expect_gt(bytes_held(&held, "-region"), 800000);
	must(strata_read_unlock(reader));
	expect_error(strata_read_lock(reader), STRATA_EGONE, "destroyed");
}

Test(destroy, gives_back_a_region_that_the_section_does_not_reach)
{
	struct strata_reader *reader = reader_open(store);
	struct held held;

	must(strata_read_lock(reader));
	must(strata_load(store, file_of("later", 4, 1, 300000), NULL));
	must(strata_reload(store, 3, file_of("new", 3, 1, 200000)));
	hold(&held);
	cr_expect_gt(bytes_held(&held, "-region1"), 800000);
	cr_expect_gt(bytes_held(&held, "-region2"), 300000);
	cr_expect_gt(bytes_held(&held, "-region3"), 200000);
	must(strata_destroy(STORE));
	cr_expect(reads(reader, 3, 1, 'b', 400000), "retired, but pinned");
	cr_expect_eq(bytes_held(&held, "-region2"), 0, "born later");
	cr_expect_eq(bytes_held(&held, "-region3"), 0, "born later");
	must(strata_read_unlock(reader));
}

/**** what is told ****/

Test(destroy, knows_no_store_of_that_name)
{
	expect_error(strata_destroy("nothing"), STRATA_ENOSTORE,
		     "there is no store 'nothing'");
	expect_error(strata_destroy("a/b"), STRATA_ENAME, "");
	expect_error(strata_destroy(NULL), STRATA_EINVAL, "no name");
	must(strata_destroy(STORE));
	expect_error(strata_destroy(STORE), STRATA_ENOSTORE, "no store");
}

Test(destroy, everything_else_says_that_the_store_is_gone)
{
	struct strata_verify_report report;
	struct strata_reader *reader;
	struct strata_store *other;
	struct strata_txn *txn = txn_begin();

	must(strata_put(txn, 1, 0, NULL, "x", 1, 0));
	must(strata_destroy(STORE));
	expect_error(strata_attach(STORE, 0, &other), STRATA_ENOSTORE, "");
	expect_error(strata_txn_commit(txn, NULL), STRATA_EGONE, "");
	expect_error(strata_gc(store, NULL), STRATA_EGONE, "");
	expect_error(strata_limit(store, 16 * MIB), STRATA_EGONE, "");
	expect_error(strata_crystallize(store, 1), STRATA_EGONE, "");
	expect_error(strata_verify(store, 1, NULL, NULL, &report),
		     STRATA_EGONE, "");
	expect_error(strata_wait(store, 100, 0), STRATA_EGONE, "");
	expect_error(strata_refresh(store), STRATA_EGONE, "");
	must(strata_reader_open(store, &reader));
	expect_error(strata_read_lock(reader), STRATA_EGONE, "");
	strata_txn_abort(txn);
	must(strata_detach(store));
	store = NULL;
}

Test(destroy, a_new_store_of_the_name_is_another_one)
{
	const struct strata_config config = store_config(8 * MIB);
	struct strata_store *old = store;

	must(strata_destroy(STORE));
	must(strata_create(STORE, &config));
	store = store_attach(STRATA_WRITE);
	cr_expect_eq(find_layer(1, 0), STRATA_ENODIM);
	put(1, 0, 'n', 10);
	expect_error(strata_gc(old, NULL), STRATA_EGONE, "");
	must(strata_detach(old));
	cr_expect(has(1, 0, 'n', 10));
	expect_clean();
}

Test(destroy, finishes_only_what_was_begun)
{
	expect_error(strata__destroy_finish(STORE), STRATA_EEXIST, "exists");
	cr_expect(has(1, 0, 'a', 50000));
	cr_expect_neq(strata__destroy_finish("nothing"), 0);
}

static void
become_nobody(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
	need(setgid(65534) == 0 && setuid(65534) == 0, "setuid");
	need(strata_destroy(STORE) == STRATA_EACCES, "destroyed by a stranger");
}

Test(destroy, is_not_for_strangers)
{
	struct proc child;

	if (geteuid() != 0)
		cr_skip("needs root");
	cr_assert_eq(chmod(folder_path, 01777), 0);
	proc_start(&child, become_nobody, NULL);
	cr_expect_eq(proc_wait(&child), 0);
	cr_expect(has(1, 0, 'a', 50000));
}

Test(destroy, root_may_destroy_the_store_of_a_stranger)
{
	if (geteuid() != 0)
		cr_skip("needs root");
	files_give_away(12345);
	must(strata_destroy(STORE));
	cr_expect_eq(folder_files(false), 0);
}

/**** half-way ****/

static void
destroy_and_die(struct proc *parent, void *arg)
{
	(void)parent;
	points_die_at(arg, 1);
	(void)strata_destroy(STORE);
	need(false, "never came to %s", (const char *)arg);
}

static void
die_in_destroy(const char *point)
{
	char copy[64];
	struct proc child;

	snprintf(copy, sizeof(copy), "%s", point);
	proc_start(&child, destroy_and_die, copy);
	cr_assert_eq(proc_wait(&child), 128 + SIGKILL, "%s", point);
}

Test(destroy, that_died_after_the_mark_is_finished_by_another)
{
	struct strata_reader *reader = reader_open(store);

	must(strata_read_lock(reader));
	die_in_destroy("destroy.marked");
	cr_expect(reads(reader, 3, 1, 'b', 400000));
	must(strata_read_unlock(reader));
	expect_error(strata_read_lock(reader), STRATA_EGONE, "destroyed");
	must(strata_destroy(STORE));
	cr_expect_eq(folder_files(false), 0);
}

Test(destroy, that_died_among_the_parts_is_finished_by_another)
{
	die_in_destroy("destroy.part-unlinked");
	cr_expect_gt(folder_files(false), 0);
	must(strata_destroy(STORE));
	cr_expect_eq(folder_files(false), 0);
}

Test(destroy, that_died_is_finished_by_a_create)
{
	const struct strata_config config = store_config(8 * MIB);
	struct strata_store *old = store;
	unsigned files;

	must(strata_create("second", &config));
	files = folder_files(false);
	must(strata_destroy("second"));
	files -= folder_files(false);
	die_in_destroy("destroy.part-unlinked");
	must(strata_create(STORE, &config));
	cr_expect_eq(folder_files(false), files, "nothing of the old is left");
	store = store_attach(STRATA_WRITE);
	put(1, 0, 'n', 10);
	cr_expect(has(1, 0, 'n', 10));
	must(strata_detach(old));
}

Test(destroy, that_died_behind_the_catalog_leaves_the_lock_only)
{
	const struct strata_config config = store_config(8 * MIB);

	must(strata_detach(store)); /* it has the lock segment still */
	store = NULL;
	die_in_destroy("destroy.catalog-unlinked");
	expect_error(strata_destroy(STORE), STRATA_ENOSTORE, "no store");
	cr_expect_leq(folder_files(false), 1);
	must(strata_create(STORE, &config));
	must(strata_destroy(STORE));
	cr_expect_eq(folder_files(false), 0, "the create has removed it");
}

Test(destroy, works_without_a_lock_segment)
{
	const uint64_t dead = STRATA_VERSION_DEAD | 3;
	char name[STRATA_SEGMENT_NAME];

	strata__segment_name_lock(name, &store->space.id);
	patch("strata." STORE, offsetof(struct strata__catalog, hot.version),
	      &dead, 8);
	cr_assert_eq(unlinkat(folder.fd, name, 0), 0);
	must(strata_destroy(STORE));
	cr_expect_eq(folder_files(false), 0);
}

Test(destroy, works_on_a_damaged_store)
{
	char name[STRATA_SEGMENT_NAME];

	strata__segment_name_pool(name, &store->space.id, 1);
	cr_assert_eq(unlinkat(folder.fd, name, 0), 0);
	strata__segment_name_lock(name, &store->space.id);
	patch(name, 0, "garbage!", 8);
	must(strata_destroy(STORE));
	cr_expect_eq(folder_files(false), 0);
}

static void
destroy_second(const char *point)
{
	if (!is_point(point, "wlock.acquire.taken"))
		return;
	strata__testpoint = NULL;
	/* Another was faster; its lock was waited for. */
	unlinkat(folder.fd, "strata." STORE, 0);
}

Test(destroy, of_two_only_one_destroys)
{
	strata__testpoint = destroy_second;
	expect_error(strata_destroy(STORE), STRATA_ENOSTORE, "is gone");
}

/**** a catalog that is removed by hand ****/

static void
expect_gone_under_all(void)
{
	struct strata_store *other = store_attach(STRATA_READ);
	struct strata_reader *idle = reader_open(other);
	struct strata_reader *reader = reader_open(store);
	struct strata_txn *txn = txn_begin();

	must(strata_put(txn, 1, 0, NULL, "x", 1, 0));
	must(strata_read_lock(reader));
	cr_assert_eq(renameat(folder.fd, "strata." STORE, folder.fd, "other"),
		     0);
	expect_error(strata_txn_commit(txn, NULL), STRATA_EGONE,
		     "removed or renamed its catalog");
	strata_txn_abort(txn);
	cr_expect(reads(reader, 1, 0, 'a', 50000), "pinned");
	cr_expect(reads(reader, 3, 1, 'b', 400000), "pinned");
	must(strata_read_unlock(reader));
	expect_error(strata_read_lock(reader), STRATA_EGONE, "");
	expect_error(strata_read_lock(idle), STRATA_EGONE, "");
	expect_error(strata_wait(other, 100, -1), STRATA_EGONE, "");
	expect_error(strata_gc(store, NULL), STRATA_EGONE, "destroyed");
	must(strata_detach(other));
}

Test(destroy, a_reader_that_comes_after_the_name_is_gone_is_told)
{
	struct strata_store *other = store_attach(STRATA_READ);
	struct strata_reader *reader;

	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	/* Its first reader: the one that makes or opens the pins. */
	expect_error(strata_reader_open(other, &reader), STRATA_EGONE,
		     "removed or renamed its catalog");
	must(strata_detach(other));
}

Test(destroy, a_catalog_that_is_renamed_is_the_end)
{
	expect_gone_under_all();
}

Test(destroy, a_catalog_that_is_renamed_after_a_while_is_the_end)
{
	/* Until the name is not looked up any more. */
	while (store->space.named_ctime_ns == 0)
		put(1, 0, 'a', 50000);
	expect_gone_under_all();
}

/* Who cannot ask whose the catalog is, is not told of permissions. */
Test(destroy, no_reader_is_opened_where_the_catalog_was_renamed)
{
	struct strata_store *other = store_attach(STRATA_READ);
	struct strata_reader *reader;

	cr_assert_eq(store->space.geometry->mode & 0004, 0);
	cr_assert_eq(renameat(folder.fd, "strata." STORE, folder.fd, "other"),
		     0);
	expect_error(strata_reader_open(other, &reader), STRATA_EGONE,
		     "was destroyed");
	must(strata_detach(other));
}

/* In one tick, so that both times of change are the same. */
Test(destroy, a_catalog_that_is_renamed_after_another_change_is_the_end)
{
	struct strata_txn *txn;

	for (unsigned i = 0; i < 20; i++) {
		txn = txn_begin();
		must(strata_put(txn, 1, 1, NULL, "x", 1, 0));
		cr_assert_eq(fchmod(store->space.catalog_fd, 0600), 0);
		put(1, 0, 'a', 10);
		cr_assert_eq(renameat(folder.fd, "strata." STORE, folder.fd,
				      "other"),
			     0);
		expect_error(strata_txn_commit(txn, NULL), STRATA_EGONE, "");
		strata_txn_abort(txn);
		cr_assert_eq(unlinkat(folder.fd, "other", 0), 0);
		must(strata_detach(store));
		must(strata_create(STORE,
				   &(struct strata_config){.limit = 8 * MIB}));
		store = store_attach(STRATA_WRITE);
	}
}

Test(destroy, a_catalog_that_is_removed_is_the_end)
{
	const struct strata_config config = store_config(8 * MIB);
	struct strata_store *old = store;
	struct strata_writer *session;
	struct strata_txn *txn = txn_begin();

	must(strata_put(txn, 1, 0, NULL, "x", 1, 0));
	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	must(strata_create(STORE, &config));
	expect_error(strata_txn_commit(txn, NULL), STRATA_EGONE, "removed");
	strata_txn_abort(txn);
	expect_error(strata_writer_open(old, &session), STRATA_EGONE, "");
	store = store_attach(STRATA_WRITE);
	cr_expect_eq(find_layer(1, 0), STRATA_ENODIM);
	put(1, 0, 'n', 10);
	must(strata_detach(old));
	cr_expect(has(1, 0, 'n', 10));
	expect_clean();
}

/* Which looks once in a tick of the clock. */
Test(destroy, a_session_learns_in_the_next_tick_that_its_catalog_is_removed)
{
	struct strata_writer *session;
	struct strata_txn *txn;
	uint64_t at_removal, before;
	int code;

	must(strata_writer_open(store, &session));
	put(1, 0, 'a', 10);
	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	at_removal = strata__os_realtime_coarse_ns();
	do {
		txn = txn_begin();
		must(strata_put(txn, 1, 0, NULL, "x", 1, 0));
		before = strata__os_realtime_coarse_ns();
		code = strata_txn_commit(txn, NULL);
	} while (code == 0 && before == at_removal);
	expect_error(code, STRATA_EGONE, "removed");
	strata_txn_abort(txn);
	must(strata_writer_close(session));
	expect_error(strata_writer_open(store, &session), STRATA_EGONE, "");
}

/* A few times: where a tick has passed it would look in any case. */
Test(destroy, a_session_that_yielded_learns_it_at_once)
{
	const struct strata_config config = store_config(8 * MIB);
	struct strata_writer *session;
	struct strata_txn *txn;

	for (unsigned i = 0; i < 5; i++) {
		must(strata_writer_open(store, &session));
		put(1, 0, 'a', 10);
		cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
		strata__session_yield(store);
		txn = txn_begin();
		must(strata_put(txn, 1, 0, NULL, "x", 1, 0));
		expect_error(strata_txn_commit(txn, NULL), STRATA_EGONE, "");
		strata_txn_abort(txn);
		must(strata_writer_close(session));
		must(strata_detach(store));
		must(strata_create(STORE, &config));
		store = store_attach(STRATA_WRITE);
	}
}

/* The file may be the new store's by now. */
Test(destroy, a_session_of_a_removed_catalog_forgets_no_file)
{
	struct strata_config config = store_config(8 * MIB);
	struct strata_writer *session;
	char path[200];

	config.directory = dir_path;
	for (unsigned i = 0; i < 5; i++) {
		store_again(&config);
		put(7, 0, 'a', 10);
		must(strata_crystallize(store, 7));
		must(strata_file_path(dir_path, 7, path, sizeof(path)));
		must(strata_writer_open(store, &session));
		put(1, 0, 'a', 10);
		cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
		must(strata_create(STORE, &config));
		expect_error(strata_unload(store, 7, /* forget= */ 1),
			     STRATA_EGONE, "");
		cr_expect_eq(access(path, F_OK), 0);
		must(strata_writer_close(session));
	}
}

Test(destroy, readers_without_a_writer_learn_it_when_they_wait)
{
	struct strata_store *reader = store_attach(STRATA_READ);

	must(strata_detach(store));
	store = NULL;
	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	expect_error(strata_wait(reader, 100, -1), STRATA_EGONE, "");
	expect_error(strata_refresh(reader), STRATA_EGONE, "");
	must(strata_detach(reader));
}

Test(destroy, a_link_more_is_not_the_end)
{
	cr_assert_eq(linkat(folder.fd, "strata." STORE, folder.fd, "link", 0),
		     0);
	put(1, 0, 'b', 10);
	cr_expect(has(1, 0, 'b', 10));
}

/**** by force ****/

static void
detach_store(void)
{
	must(strata_detach(store));
	store = NULL;
}

Test(destroy_forced, is_as_any_other_for_a_sound_store)
{
	struct strata_reader *reader = reader_open(store);

	must(strata_read_lock(reader));
	must(strata_destroy_forced(STORE));
	cr_expect_eq(folder_files(false), 0);
	cr_expect(reads(reader, 1, 0, 'a', 50000));
	must(strata_read_unlock(reader));
	expect_error(strata_destroy_forced(STORE), STRATA_ENOSTORE, "");
	expect_error(strata_destroy_forced("a/b"), STRATA_ENAME, "");
}

static void
patch_catalog(size_t offset, uint32_t value)
{
	patch("strata." STORE, offset, &value, sizeof(value));
}

static void
expect_forced(int refusal)
{
	cr_expect_eq(strata_destroy(STORE), refusal, "%s",
		     strata_last_error()->sentence);
	must(strata_destroy_forced(STORE));
	cr_expect_eq(folder_files(false), 0);
}

Test(destroy_forced, removes_a_store_of_another_layout)
{
	detach_store();
	patch_catalog(offsetof(struct strata__head, layout_major), 99);
	expect_forced(STRATA_ELAYOUT);
}

Test(destroy_forced, removes_a_store_of_another_boot)
{
	detach_store();
	patch_catalog(offsetof(struct strata__head, boot_id), 99);
	expect_forced(STRATA_EBOOT);
}

Test(destroy_forced, removes_a_damaged_store)
{
	char name[STRATA_SEGMENT_NAME];

	strata__segment_name_lock(name, &store->space.id);
	detach_store();
	patch(name, 0, "garbage!", 8);
	patch_catalog(offsetof(struct strata__catalog, geometry.nr_classes),
		      99);
	expect_forced(STRATA_ECORRUPT);
}

Test(destroy_forced, removes_what_everybody_may_write)
{
	detach_store();
	cr_assert_eq(fchmodat(folder.fd, "strata." STORE, 0666, 0), 0);
	expect_forced(STRATA_EOWNER);
}

Test(destroy_forced, says_who_has_it)
{
	struct strata_store *other = store_attach(STRATA_READ);
	struct strata_reader *reader = reader_open(other);
	unsigned files = folder_files(false);
	char pid[32];

	snprintf(pid, sizeof(pid), "process %d (", (int)getpid());
	patch_catalog(offsetof(struct strata__head, boot_id), 99);
	expect_error(strata_destroy_forced(STORE), STRATA_EBUSY, pid);
	expect_error(strata_destroy_forced(STORE), STRATA_EBUSY, "writing");
	detach_store();
	expect_error(strata_destroy_forced(STORE), STRATA_EBUSY, pid);
	expect_error(strata_destroy_forced(STORE), STRATA_EBUSY, "reader");
	cr_expect_eq(folder_files(false), files, "nothing was done");
	must(strata_reader_close(reader));
	must(strata_detach(other));
	expect_forced(STRATA_EBOOT);
}

Test(destroy_forced, tells_idle_readers)
{
	struct strata_store *idle = store_attach(STRATA_READ);

	detach_store();
	patch_catalog(offsetof(struct strata__head, boot_id), 99);
	must(strata_destroy_forced(STORE));
	expect_error(strata_refresh(idle), STRATA_EGONE, "");
	expect_error(strata_wait(idle, 100, 0), STRATA_EGONE, "");
	must(strata_detach(idle));
}

static const char *cut_at;

static void
cut_catalog(const char *name)
{
	int fd;

	if (cut_at == NULL || !is_point(name, cut_at))
		return;
	cut_at = NULL;
	fd = openat(folder.fd, "strata." STORE, O_RDWR | O_CLOEXEC);
	cr_assert(fd >= 0 && ftruncate(fd, 0) == 0);
	close(fd);
}

/* Root destroys what is another's by force, and that one cuts off what root
 * looks at: root does not die of it. */
Test(destroy_forced, does_not_need_the_catalog_to_stay_as_long_as_it_is)
{
	static const char *const points[] = {"destroy.ruin-opened",
					     "destroy.ruin-marked",
					     "destroy.ruin-counted"};

	const struct strata_config config = store_config(16 * MIB);

	for (unsigned i = 0; i < 3; i++) {
		if (i != 0) {
			must(strata_create(STORE, &config));
			store = store_attach(STRATA_WRITE);
		}
		detach_store();
		patch_catalog(offsetof(struct strata__head, boot_id), 99);
		cut_at = points[i];
		strata__testpoint = cut_catalog;
		must(strata_destroy_forced(STORE));
		strata__testpoint = NULL;
		cr_expect_null(cut_at, "%s", points[i]);
		cr_expect_eq(folder_files(false), 0);
	}
}

Test(destroy_forced, does_not_know_whose_segments_are_without_an_id)
{
	unsigned files = folder_files(false);

	patch_catalog(0, 99);
	expect_error(strata_destroy_forced(STORE), STRATA_EBUSY, "writing");
	cr_expect_eq(folder_files(false), files);
	detach_store();
	must(strata_destroy_forced(STORE));
	cr_expect_eq(folder_files(false), files - 1, "the catalog alone");
}

Test(destroy_forced, leaves_a_sound_store_whose_id_is_borne_twice)
{
	char head[72];
	int fd = openat(folder.fd, "strata." STORE, O_RDONLY | O_CLOEXEC);
	int copy = openat(folder.fd, "strata.copy", O_CREAT | O_RDWR, 0600);

	detach_store();
	cr_assert_eq(read(fd, head, sizeof(head)), sizeof(head));
	cr_assert_eq(write(copy, head, sizeof(head)), sizeof(head));
	close(fd);
	close(copy);
	must(strata_destroy_forced("copy"));
	store = store_attach(STRATA_WRITE);
	cr_expect(has(3, 1, 'b', 400000));
	expect_clean();
}

Test(destroy_forced, removes_files_of_the_caller_only)
{
	cr_assert_eq(symlinkat("nowhere", folder.fd, "strata.link"), 0);
	cr_assert_eq(mkfifoat(folder.fd, "strata.fifo", 0600), 0);
	expect_error(strata_destroy_forced("link"), STRATA_EOWNER,
		     "no regular file");
	expect_error(strata_destroy_forced("fifo"), STRATA_EOWNER,
		     "no regular file");
	cr_expect(has(1, 0, 'a', 50000));
}

/**** a writer in the middle ****/

static void
put_another(void)
{
	put(1, 1, 'x', 100);
}

Test(destroy, takes_the_lock_over_from_a_dead_writer)
{
	die_in("edit.commit.root-stored", put_another);
	must(strata_destroy(STORE));
	cr_expect_eq(folder_files(false), 0);
}
