/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Segments that no catalog names: only what nobody has, and is ours, goes. */
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attached.h"

TestSuite(remains, .init = store_setup, .fini = store_teardown, .timeout = 60);

static const struct strata_config small = {.limit = 8 * MIB};

/**** what is found ****/

struct found {
	unsigned nr;
	struct strata_orphan last;
};

static int
find(const struct strata_orphan *orphan, void *arg)
{
	struct found *found = arg;

	found->nr++;
	found->last = *orphan;
	return 0;
}

static struct found
orphans(bool remove)
{
	struct found found = {.nr = 0};

	must(strata_orphans(remove, find, &found));
	return found;
}

static void
expect_left_alone(int status, const char *why)
{
	unsigned files = folder_files(false);
	struct found found = orphans(/* remove= */ true);

	cr_expect_eq(found.nr, 1);
	cr_expect_eq(found.last.status, status, "%d: %s", found.last.status,
		     found.last.why);
	cr_expect(strstr(found.last.why, why) != NULL, "'%s' is not in: %s",
		  why, found.last.why);
	cr_expect_eq(folder_files(false), files);
	must(strata_create("other", &small));
	must(strata_destroy("other"));
	cr_expect_eq(folder_files(false), files, "create sweeps no more");
}

/* All of it, and what list says before. */
static void
expect_removed(const char *why)
{
	struct found before = orphans(/* remove= */ false), after;

	cr_expect_eq(before.nr, 1);
	cr_expect_eq(before.last.status, 0, "%s", before.last.why);
	cr_expect(strstr(before.last.why, why) != NULL, "'%s' is not in: %s",
		  why, before.last.why);
	after = orphans(/* remove= */ true);
	cr_expect_eq(after.last.status, 0);
	cr_expect_eq(after.last.files, before.last.files);
	cr_expect_eq(after.last.bytes, before.last.bytes);
}

/**** a create that dies, or is stopped ****/

static const char *stop_at;
static int stop_signal;

static void
stop(const char *point)
{
	if (!is_point(point, stop_at))
		return;
	strata__testpoint = NULL;
	if (stop_signal == SIGKILL)
		proc_die();
	raise(stop_signal);
}

static void
run_create(struct proc *parent, void *arg)
{
	(void)parent;
	stop_at = arg;
	strata__testpoint = stop;
	need(strata_create("made", &small) == 0, "create");
}

static void
run_destroy(struct proc *parent, void *arg)
{
	(void)parent;
	stop_at = arg;
	strata__testpoint = stop;
	need(strata_destroy("made") == 0, "destroy");
}

static const char *const create_points[] = {
	"create.lock-published",
	"create.pools-published",
	"create.pins-published",
};

Test(remains, of_a_create_that_died_are_removed)
{
	unsigned files = folder_files(false);
	struct proc child;

	stop_signal = SIGKILL;
	for (size_t i = 0; i < 3; i++) {
		proc_start(&child, run_create, (void *)create_points[i]);
		cr_assert_eq(proc_wait(&child), 128 + SIGKILL);
		cr_expect_gt(folder_files(false), files);
		expect_removed("of a create that died");
		cr_expect_eq(folder_files(false), files);
	}
}

Test(remains, of_a_create_that_died_are_removed_by_the_next)
{
	unsigned files = folder_files(false);
	struct proc child;

	stop_signal = SIGKILL;
	proc_start(&child, run_create, (void *)create_points[2]);
	cr_assert_eq(proc_wait(&child), 128 + SIGKILL);
	must(strata_create("other", &small));
	must(strata_destroy("other"));
	cr_expect_eq(folder_files(false), files);
}

Test(remains, are_counted_by_gc)
{
	struct strata_gc_report report;
	struct proc child;
	unsigned files = folder_files(false);

	stop_signal = SIGKILL;
	proc_start(&child, run_create, (void *)create_points[1]);
	cr_assert_eq(proc_wait(&child), 128 + SIGKILL);
	must(strata_gc(store, &report));
	cr_expect_eq(folder_files(false), files);
	cr_expect_eq(report.segments, 5, "four pools, a lock segment");
	cr_expect_gt(report.given_back, 64 * STRATA_NODE_SIZE);
}

Test(remains, of_a_create_that_is_stopped_are_its_own)
{
	struct strata_store *made;
	struct proc child;

	stop_signal = SIGSTOP;
	for (size_t i = 0; i < 3; i++) {
		proc_start(&child, run_create, (void *)create_points[i]);
		proc_wait_stopped(&child);
		expect_left_alone(STRATA_EBUSY, "makes or removes");
		must(strata_gc(store, NULL));
		proc_continue(&child);
		cr_expect_eq(proc_wait(&child), 0);
		cr_expect_eq(orphans(true).nr, 0);
		must(strata_attach("made", STRATA_WRITE, &made));
		must(strata_detach(made));
		must(strata_destroy("made"));
	}
}

static void
sweep_now(const char *point)
{
	if (strncmp(point, "create.", 7) != 0)
		return;
	strata__testpoint = NULL;
	(void)orphans(/* remove= */ true);
	strata__testpoint = sweep_now;
}

Test(remains, of_a_create_of_this_process_are_its_own)
{
	struct strata_store *made;

	strata__testpoint = sweep_now;
	must(strata_create("made", &small));
	strata__testpoint = NULL;
	must(strata_attach("made", STRATA_WRITE, &made));
	must(strata_detach(made));
	must(strata_destroy("made"));
}

static struct proc *made_meanwhile;

static void
let_it_finish(const char *point)
{
	if (!is_point(point, "orphans.unnamed"))
		return;
	strata__testpoint = NULL;
	proc_continue(made_meanwhile);
	cr_assert_eq(proc_wait(made_meanwhile), 0);
}

/* It had no catalog when the sweep looked first. */
Test(remains, are_none_if_the_create_ends_during_the_sweep)
{
	struct strata_store *made;
	struct proc child;

	stop_signal = SIGSTOP;
	proc_start(&child, run_create, (void *)create_points[2]);
	proc_wait_stopped(&child);
	made_meanwhile = &child;
	strata__testpoint = let_it_finish;
	cr_expect_eq(orphans(/* remove= */ true).nr, 0);
	must(strata_attach("made", STRATA_WRITE, &made));
	must(strata_detach(made));
	must(strata_destroy("made"));
}

static struct proc *parent_of_child;

static void
fork_and_die(const char *point)
{
	if (!is_point(point, "create.pins-published"))
		return;
	if (fork() != 0)
		proc_die();
	proc_say(parent_of_child, 'f');
	proc_hear(parent_of_child, 'c');
	test_exit(0);
}

static void
run_create_and_fork(struct proc *parent, void *arg)
{
	(void)arg;
	parent_of_child = parent;
	strata__testpoint = fork_and_die;
	(void)strata_create("made", &small);
}

Test(remains, of_the_dead_are_not_kept_by_their_children)
{
	unsigned files = folder_files(false);
	struct proc child;

	proc_start(&child, run_create_and_fork, NULL);
	proc_hear(&child, 'f');
	while (proc_is_running(&child))
		sched_yield();
	expect_removed("of a create that died");
	cr_expect_eq(folder_files(false), files);
	proc_say(&child, 'c');
	cr_expect_eq(proc_wait(&child), 128 + SIGKILL);
}

/**** a destroy that is stopped, or dies ****/

Test(remains, of_a_destroy_that_is_stopped_are_its_own)
{
	unsigned files = folder_files(false);
	struct proc child;

	must(strata_create("made", &small));
	stop_signal = SIGSTOP;
	proc_start(&child, run_destroy, (void *)"destroy.catalog-unlinked");
	proc_wait_stopped(&child);
	expect_left_alone(STRATA_EBUSY, "is attached for writing");
	proc_kill(&child);
	expect_removed("of a destroy that died");
	cr_expect_eq(folder_files(false), files);
}

static void
run_sweep(struct proc *parent, void *arg)
{
	(void)parent;
	stop_at = arg;
	strata__testpoint = stop;
	(void)orphans(/* remove= */ true);
}

Test(remains, of_a_sweep_that_died_are_removed_by_the_next)
{
	struct proc child;

	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	must(strata_detach(store));
	store = NULL;
	stop_signal = SIGKILL;
	proc_start(&child, run_sweep, (void *)"remains.part-unlinked");
	cr_expect_eq(proc_wait(&child), 128 + SIGKILL);
	cr_expect_gt(folder_files(false), 1);
	expect_removed("");
	cr_expect_eq(folder_files(false), 0);
}

/**** a catalog that is removed by hand ****/

Test(remains, stay_while_a_writer_is_attached)
{
	char pid[32];

	snprintf(pid, sizeof(pid), "process %d (", (int)getpid());
	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	expect_left_alone(STRATA_EBUSY, pid);
	must(strata_detach(store));
	store = NULL;
	expect_removed("of a store whose catalog was removed");
	cr_expect_eq(folder_files(false), 0);
}

Test(remains, stay_while_a_reader_lives)
{
	struct strata_store *other;
	struct strata_reader *reader;

	put(1, 0, 'a', 50000);
	other = store_attach(STRATA_READ);
	reader = reader_open(other);
	must(strata_read_lock(reader));
	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	must(strata_detach(store));
	store = NULL;
	expect_left_alone(STRATA_EBUSY, "has a reader in it");
	cr_expect(reads(reader, 1, 0, 'a', 50000));
	must(strata_read_unlock(reader));
	must(strata_detach(other));
	expect_removed("");
	cr_expect_eq(folder_files(false), 0);
}

Test(remains, are_none_while_a_catalog_of_any_name_bears_the_id)
{
	unsigned files = folder_files(false);

	must(strata_detach(store));
	store = NULL;
	cr_assert_eq(renameat(folder.fd, "strata." STORE, folder.fd,
			      "strata.renamed"),
		     0);
	cr_expect_eq(orphans(true).nr, 0);
	cr_expect_eq(folder_files(false), files);
	cr_assert_eq(renameat(folder.fd, "strata.renamed", folder.fd,
			      "strata." STORE),
		     0);
	store = store_attach(STRATA_WRITE);
	expect_clean();
}

Test(remains, are_kept_for_a_catalog_that_is_damaged)
{
	must(strata_detach(store));
	store = NULL;
	patch("strata." STORE, 0, "garbage!", 8);
	expect_left_alone(STRATA_ECORRUPT, "is damaged");
	must(strata_destroy_forced(STORE));
	expect_removed("");
	cr_expect_eq(folder_files(false), 0);
}

/**** what is not ours, or not known ****/

/* As it is after rm of the catalog, with nobody in it; the prefix of names. */
static const char *
orphan_make(struct strata__id *ret_id)
{
	static char prefix[STRATA_SEGMENT_NAME];

	*ret_id = store->space.id;
	strata__segment_name_lock(prefix, ret_id);
	prefix[strlen(prefix) - strlen("lock")] = '\0';
	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	must(strata_detach(store));
	store = NULL;
	return prefix;
}

static const char *
part(const char *prefix, const char *tail)
{
	static char name[STRATA_SEGMENT_NAME];

	snprintf(name, sizeof(name), "%.60s%s", prefix, tail);
	return name;
}

static void
part_make(const char *name, const char *content)
{
	int fd = openat(folder.fd, name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, content, strlen(content)),
		     (ssize_t)strlen(content));
	close(fd);
}

Test(remains, are_segments_by_content_and_not_by_name)
{
	struct strata__id id;
	const char *prefix = orphan_make(&id);
	const uint64_t generation = 2;
	const uint32_t index = 2;

	cr_assert_eq(unlinkat(folder.fd, part(prefix, "pool0"), 0), 0);
	cr_assert_eq(mkfifoat(folder.fd, part(prefix, "pool0"), 0600), 0);
	cr_assert_eq(symlinkat("/etc/passwd", folder.fd,
			       part(prefix, "region1")),
		     0);
	cr_assert_eq(mkdirat(folder.fd, part(prefix, "region2"), 0700), 0);
	part_make(part(prefix, "notes"), "mine");
	part_make(part(prefix, "pool07"), "mine");
	part_make(part(prefix, "pool7"), "mine");
	part_make(part(prefix, "pins5.1"), "mine");
	/* Other segments than their names say. */
	patch(part(prefix, "pool1"), offsetof(struct strata__head, index),
	      &index, 4);
	patch(part(prefix, "pool2"), offsetof(struct strata__head, generation),
	      &generation, 8);
	patch(part(prefix, "pool3"), offsetof(struct strata__head, store_id),
	      "another", 7);
	expect_removed("");
	cr_expect_eq(folder_files(false), 10, "pins and lock went");
	cr_assert_eq(unlinkat(folder.fd, part(prefix, "region2"),
			      AT_REMOVEDIR),
		     0);
}

static void
expect_a_lock_that_is_none(size_t offset, const void *data, size_t size,
			   int status, const char *why)
{
	struct strata__id id;
	const char *prefix = orphan_make(&id);

	patch(part(prefix, "lock"), offset, data, size);
	expect_left_alone(status, why);
}

Test(remains, stay_if_the_lock_segment_is_damaged)
{
	expect_a_lock_that_is_none(0, "garbage!", 8, STRATA_ECORRUPT,
				   "is not the lock segment");
}

Test(remains, stay_if_the_lock_segment_is_of_another_store)
{
	expect_a_lock_that_is_none(offsetof(struct strata__head, store_id),
				   "another", 7, STRATA_ECORRUPT,
				   "is not the lock segment");
}

Test(remains, stay_if_the_lock_segment_is_of_another_generation)
{
	const uint64_t generation = 2;

	expect_a_lock_that_is_none(offsetof(struct strata__head, generation),
				   &generation, 8, STRATA_ECORRUPT,
				   "is not the lock segment");
}

Test(remains, of_another_layout_may_be_in_the_making)
{
	const uint32_t layout = STRATA_LAYOUT_MAJOR + 1;

	expect_a_lock_that_is_none(offsetof(struct strata__head, layout_major),
				   &layout, 4, STRATA_ELAYOUT, "has layout");
}

Test(remains, of_an_older_library_may_be_in_the_making)
{
	const uint32_t minor = 0;

	expect_a_lock_that_is_none(offsetof(struct strata__head, layout_minor),
				   &minor, 4, STRATA_ELAYOUT, "has layout");
}

Test(remains, stay_if_the_lock_segment_is_a_fifo)
{
	struct strata__id id;
	const char *prefix = orphan_make(&id);

	cr_assert_eq(unlinkat(folder.fd, part(prefix, "lock"), 0), 0);
	cr_assert_eq(mkfifoat(folder.fd, part(prefix, "lock"), 0600), 0);
	expect_left_alone(STRATA_EOWNER, "no regular file");
}

static const char *const parts[] = {
	"lock", "pool0", "pool1", "pool2", "pool3",
};

Test(remains, of_another_boot_and_layout_are_removed)
{
	const uint32_t layout = STRATA_LAYOUT_MAJOR + 1;
	struct strata__id id;
	const char *prefix = orphan_make(&id);

	for (size_t i = 0; i < 5; i++) {
		patch(part(prefix, parts[i]),
		      offsetof(struct strata__head, boot_id), "b", 1);
		patch(part(prefix, parts[i]),
		      offsetof(struct strata__head, layout_major), &layout, 4);
	}
	expect_removed("");
	cr_expect_eq(folder_files(false), 0);
}

Test(remains, of_another_boot_stay_if_somebody_lives)
{
	char name[STRATA_SEGMENT_NAME];

	strata__segment_name_lock(name, &store->space.id);
	patch(name, offsetof(struct strata__head, boot_id), "b", 1);
	cr_assert_eq(unlinkat(folder.fd, "strata." STORE, 0), 0);
	expect_left_alone(STRATA_EBUSY, "is attached for writing");
}

Test(remains, without_a_lock_segment_are_removed)
{
	struct strata__id id;
	const char *prefix = orphan_make(&id);

	cr_assert_eq(unlinkat(folder.fd, part(prefix, "lock"), 0), 0);
	part_make(part(prefix, "region7"), "not finished");
	expect_removed("without a lock segment");
	cr_expect_eq(folder_files(false), 1, "that might be anything");
}

Test(remains, regions_that_were_not_finished_go_too)
{
	struct strata__id id;
	const char *prefix = orphan_make(&id);

	part_make(part(prefix, "region7"), "not finished");
	part_make(part(prefix, "region8"), "");
	expect_removed("");
	cr_expect_eq(folder_files(false), 0);
}

/**** users ****/

static void
run_as_nobody(struct proc *parent, void *arg)
{
	unsigned *nr = arg;

	(void)parent;
	need(setgid(65534) == 0 && setuid(65534) == 0, "setuid");
	*nr = orphans(/* remove= */ true).nr;
}

Test(remains, of_others_are_theirs)
{
	unsigned *nr = proc_shared(sizeof(*nr)), files;
	struct strata__id id;
	struct proc child;

	if (geteuid() != 0)
		cr_skip("needs root");
	orphan_make(&id);
	files = folder_files(false);
	cr_assert_eq(chmod(folder_path, 0777), 0);
	proc_start(&child, run_as_nobody, nr);
	cr_expect_eq(proc_wait(&child), 0);
	cr_expect_eq(*nr, 0);
	cr_expect_eq(folder_files(false), files);
	expect_removed("");
}

static void
part_give(const char *name, uint32_t owner)
{
	cr_assert_eq(fchownat(folder.fd, name, owner, (gid_t)-1, 0), 0);
}

Test(remains, a_strangers_file_neither_goes_nor_keeps_the_rest)
{
	struct strata__id id;
	const char *prefix;
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	prefix = orphan_make(&id);
	part_make(part(prefix, "pins12345.0"), "taken");
	part_give(part(prefix, "pins12345.0"), 12345);
	part_give(part(prefix, "pool2"), 12345);
	/* He may not read the store, so this is no reader's lock. */
	fd = openat(folder.fd, part(prefix, "pins12345.0"), O_RDWR | O_CLOEXEC);
	cr_assert_eq(strata__os_lock_try(fd, 0, 0), 0);
	expect_removed("");
	cr_expect_eq(folder_files(false), 2);
	close(fd);
}

Test(remains, a_strangers_catalog_names_nothing)
{
	struct strata__id id;
	struct strata__head head = {.magic = STRATA_MAGIC};
	int fd;

	if (geteuid() != 0)
		cr_skip("needs root");
	orphan_make(&id);
	head.store_id = id;
	fd = openat(folder.fd, "strata.evil", O_CREAT | O_RDWR | O_CLOEXEC,
		    0600);
	cr_assert_eq(write(fd, &head, sizeof(head)), sizeof(head));
	cr_assert_eq(fchown(fd, 12345, (gid_t)-1), 0);
	close(fd);
	part_make("strata.junk", "junk");
	part_give("strata.junk", 12345);
	expect_removed("");
	cr_expect_eq(folder_files(false), 2);
}

Test(remains, need_a_function)
{
	expect_error(strata_orphans(0, NULL, NULL), STRATA_EINVAL, "function");
}
