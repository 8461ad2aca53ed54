/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A region that was replaced is kept for the next one, and given up at need. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "attached.h"

/* The pages may be small: what is tried here does not depend on it. */
static void
setup(void)
{
	struct strata_config config = store_config(64 * MIB);

	config.huge_pages = STRATA_HUGE_NEVER;
	store_setup_config(&config);
	file_of("a", 7, 5, MIB);
	file_of("b", 7, 6, MIB - 200000);
	file_of("small", 7, 4, MIB - 30000);
	file_of("tiny", 7, 2, MIB / 2);
	file_of("large", 7, 8, MIB);
	must(strata_load(store, file_path("a"), NULL));
}

TestSuite(spare, .init = setup, .fini = store_teardown, .timeout = 120);

static void
reload(const char *name)
{
	must(strata_reload(store, 7, file_path(name)));
}

/* Of regions. */
static unsigned
nr_files(void)
{
	return files_like("-region").nr;
}

static bool
has_all(uint32_t nr, size_t size)
{
	for (uint32_t i = 0; i < nr; i++)
		if (!has(7, i, (char)('a' + i), size))
			return false;
	return find_layer(7, nr) == STRATA_ENOLAYER;
}

static uint64_t
image_size(const char *name)
{
	struct stat st;

	cr_assert_eq(stat(file_path(name), &st), 0);
	return (uint64_t)st.st_size;
}

static uint64_t
segment_size(const char *name)
{
	return strata__segtab_segment_size(image_size(name));
}

/* Regions and spares have so many bytes, by the counter, and by what is in
 * memory. */
static void
expect_bytes(uint64_t bytes)
{
	cr_expect_eq(stats_now().region_bytes, bytes);
	cr_expect_eq(files_like("-region").bytes, bytes);
}

static uint64_t
inode_of(uint64_t generation)
{
	struct stat st;

	return stat(region_path(generation), &st) == 0 ? st.st_ino : 0;
}

/* Of the one region in use. */
static uint64_t
generation_now(void)
{
	struct strata__segment *segments = strata__segments(&store->space);
	uint64_t generation = 0;

	for (uint32_t i = 0; i < store->space.geometry->nr_segments; i++)
		if (atomic_load(&segments[i].record.state) == STRATA_ALLOCATED)
			generation =
				atomic_load(&segments[i].record.generation);
	return generation;
}

/**** kept, and used up ****/

Test(spare, is_the_file_of_the_region_before)
{
	uint64_t first = generation_now(), inode = inode_of(first);

	reload("a");
	cr_expect_eq(nr_files(), 2);
	cr_expect_eq(inode_of(first), 0, "under another name");
	expect_bytes(2 * segment_size("a"));
	expect_clean();
	for (int i = 0; i < 5; i++) {
		reload(i % 2 == 0 ? "b" : "a");
		cr_expect(i % 2 == 0 ? has_all(6, MIB - 200000)
				     : has_all(5, MIB));
		cr_expect_eq(nr_files(), 2);
		cr_expect_gt(generation_now(), first);
		if (i == 0)
			cr_expect_eq(inode_of(generation_now()), inode);
		expect_clean();
	}
}

Test(spare, is_cut_to_what_is_needed)
{
	struct strata_verify_report report;

	reload("a");
	reload("small");
	cr_expect(has_all(4, MIB - 30000));
	expect_bytes(segment_size("small") + segment_size("a"));
	must(strata_verify(store, 0, NULL, NULL, &report));
	cr_expect_eq(report.errors, 0, "%s", report.first);
	must(strata_gc(store, NULL));
	expect_bytes(segment_size("small"));
	expect_clean();
}

Test(spare, that_does_not_fit_is_given_back)
{
	reload("a");
	reload("large");
	cr_expect(has_all(8, MIB));
	/* That of before the last is gone; the last may fit the next. */
	expect_bytes(segment_size("large") + segment_size("a"));
	reload("tiny");
	cr_expect(has_all(2, MIB / 2));
	/* Nor is one used of which more than a quarter would be cut off. */
	expect_bytes(segment_size("tiny") + segment_size("large"));
	expect_clean();
}

Test(spare, serves_another_dimension_too)
{
	file_of("eight", 8, 4, MIB);
	reload("a");
	must(strata_load(store, file_path("eight"), NULL));
	cr_expect_eq(nr_files(), 2);
	cr_expect(has(8, 3, 'd', MIB) && has_all(5, MIB));
	expect_clean();
}

Test(spare, serves_a_crystallise)
{
	for (uint32_t i = 0; i < 6; i++) {
		put(7, 9, (char)('p' + i), 10);
		must(strata_crystallize(store, 7));
		cr_expect_eq(nr_files(), 2, "%u", i);
		cr_expect(has(7, 9, (char)('p' + i), 10));
		cr_expect(has(7, 4, 'e', MIB));
		expect_clean();
	}
}

Test(spare, may_be_of_large_pages)
{
	struct strata_config config = store_config(64 * MIB);
	uint64_t bytes;

	store_again(&config);
	must(strata_load(store, file_path("a"), NULL));
	reload("b");
	reload("a");
	bytes = stats_now().large_page_bytes;
	cr_expect(has_all(5, MIB));
	reload("small");
	cr_expect(has_all(4, MIB - 30000));
	if (bytes == 4 * MIB)
		cr_expect_eq(stats_now().large_page_bytes, 2 * MIB,
			     "of those that it has left");
	expect_clean();
}

/**** not kept, given up ****/

Test(spare, is_nothing_that_a_reader_needs)
{
	struct strata_reader *reader = reader_open(store);

	must(strata_read_lock(reader));
	reload("b");
	cr_expect(reads(reader, 7, 4, 'e', MIB));
	reload("b");
	cr_expect(reads(reader, 7, 4, 'e', MIB));
	reload("small");
	cr_expect(reads(reader, 7, 4, 'e', MIB));
	must(strata_read_unlock(reader));
	cr_expect(has_all(4, MIB - 30000));
	expect_clean();
}

Test(spare, is_small_beside_the_limit)
{
	must(strata_limit(store, stats_now().reserved * 2));
	reload("a");
	cr_expect_eq(nr_files(), 1, "a threshold would be passed for nothing");
	must(strata_limit(store, 64 * MIB));
	reload("a");
	cr_expect_eq(nr_files(), 2);
	put(50, 0, 'r', 100);
	must(strata_limit(store, stats_now().reserved * 3 / 2));
	must(strata_unload(store, 50, /* forget= */ 0));
	cr_expect_eq(nr_files(), 1, "what came since is more than half");
	expect_clean();
}

Test(spare, is_given_up_to_who_needs_the_room)
{
	uint64_t reserved;

	reload("a");
	reserved = stats_now().reserved;
	must(strata_limit(store, reserved - MIB));
	cr_expect_eq(nr_files(), 1);
	cr_expect_leq(stats_now().reserved, reserved - segment_size("a"));
	must(strata_limit(store, 64 * MIB));
	reload("a");
	cr_expect_eq(nr_files(), 2);
	expect_clean();
}

Test(spare, is_given_up_to_another_writer)
{
	struct strata_store *other = store_attach(STRATA_WRITE);

	reload("a");
	cr_expect_eq(nr_files(), 2);
	must(strata_gc(other, NULL));
	cr_expect_eq(nr_files(), 1);
	reload("b");
	cr_expect(has_all(6, MIB - 200000));
	cr_expect_eq(nr_files(), 2);
	must(strata_detach(other));
	expect_clean();
}

Test(spare, leaves_with_its_writer)
{
	reload("a");
	cr_expect_eq(nr_files(), 2);
	must(strata_detach(store));
	cr_expect_eq(nr_files(), 1);
	store = store_attach(STRATA_WRITE);
	expect_clean();
}

/* A reader may have a read lock on whatever it may read. */
Test(spare, that_somebody_has_locked_is_left_alone)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	int fd = open(region_path(generation_now()), O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	reload("a");
	reload("b");
	cr_expect(has_all(6, MIB - 200000));
	close(fd);
	expect_clean();
}

static int
refuse_write(const char *call)
{
	return strcmp(call, "write") == 0 ? ENOSPC : 0;
}

static void
refuse_at_end(const char *point)
{
	if (is_point(point, "spare.make.ended"))
		strata__refusal = refuse_write;
	if (is_point(point, "os.pwrite.written"))
		strata__refusal = NULL;
}

Test(spare, that_cannot_be_made_is_given_back)
{
	strata__testpoint = refuse_at_end;
	reload("a");
	strata__testpoint = NULL;
	strata__refusal = NULL;
	cr_expect_eq(nr_files(), 1);
	expect_clean();
}

/**** those who die, those who watch ****/

static void
reload_and_die(struct proc *parent, void *arg)
{
	(void)parent;
	need(strata_attach(STORE, STRATA_WRITE, &store) == 0, "attach");
	need(strata_reload(store, 7, file_path("a")) == 0, "reload");
	points_die_at(arg, 1);
	(void)strata_reload(store, 7, file_path("small"));
	need(false, "never came to %s", (const char *)arg);
}

Test(spare, of_a_dead_writer_is_nobodys)
{
	static const char *const points[] = {
		"spare.make.ended",
		"spare.make.renamed",
		"spare.make.birth",
		"spare.make.retirement",
		"spare.make.entered",
		"spare.take.cut",
		"spare.take.image-size",
		"spare.take.dimension",
		"load.reserved",
		"load.piece-read",
		"load.copied",
		"segtab.seal.written",
		"segtab.publish.allocated",
	};

	for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
		struct proc child;

		reload("a");
		proc_start(&child, reload_and_die, (void *)points[i]);
		cr_assert_eq(proc_wait(&child), 128 + SIGKILL, "%s", points[i]);
		cr_expect(has_all(5, MIB) || has_all(4, MIB - 30000), "%s",
			  points[i]);
		put(50, 0, 'r', 100);
		expect_clean();
		must(strata_gc(store, NULL));
		expect_clean();
		cr_expect_eq(nr_files(), 1, "%s", points[i]);
	}
}

/* Regions that are held open: what they take is seen when they have no name. */
#define HELD_MAX 8

struct held {
	int fds[HELD_MAX];
	unsigned nr;
};

static void
hold_regions(struct held *held)
{
	DIR *dir = opendir(folder_path);
	struct dirent *entry;

	held->nr = 0;
	while ((entry = readdir(dir)) != NULL) {
		if (strstr(entry->d_name, "-region") == NULL)
			continue;
		cr_assert_lt(held->nr, HELD_MAX);
		held->fds[held->nr++] = openat(dirfd(dir), entry->d_name,
					       O_RDONLY | O_CLOEXEC);
	}
	closedir(dir);
}

static uint64_t
bytes_let_go(struct held *held)
{
	uint64_t bytes = 0;
	struct stat st;

	for (unsigned i = 0; i < held->nr; i++) {
		cr_assert_eq(fstat(held->fds[i], &st), 0);
		bytes += (uint64_t)st.st_blocks * 512;
		close(held->fds[i]);
	}
	return bytes;
}

static void
reload_once(void)
{
	reload("a");
}

/* Under whoever reads, and has the former life mapped; also what died while it
 * was made a spare. */
Test(spare, is_given_back_by_a_destroy)
{
	static const char *const points[] = {
		NULL,
		"spare.make.ended",
		"spare.make.renamed",
		"spare.make.birth",
		"spare.make.retirement",
		"spare.make.entered",
	};
	struct strata_config config = store_config(64 * MIB);

	config.huge_pages = STRATA_HUGE_NEVER;
	for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
		struct strata_reader *reader = reader_open(store);
		struct held held;

		must(strata_read_lock(reader));
		cr_expect(reads(reader, 7, 4, 'e', MIB));
		must(strata_read_unlock(reader));
		if (points[i] != NULL)
			die_in(points[i], reload_once);
		else
			reload("a");
		must(strata_read_lock(reader));
		cr_expect(reads(reader, 7, 4, 'e', MIB));
		hold_regions(&held);
		cr_expect_eq(held.nr, 2);
		must(strata_destroy(STORE));
		cr_expect(reads(reader, 7, 4, 'e', MIB));
		cr_expect_eq(bytes_let_go(&held), segment_size("a"), "%s",
			     points[i]);
		must(strata_read_unlock(reader));
		must(strata_reader_close(reader));
		must(strata_detach(store));
		must(strata_create(STORE, &config));
		store = store_attach(STRATA_WRITE);
		must(strata_load(store, file_path("a"), NULL));
	}
}

/**** under the lock, and not ****/

static unsigned nr_under_lock, nr_truncated;

static void
see_truncations(const char *point)
{
	if (!is_point(point, "segtab.bury.truncated"))
		return;
	nr_truncated++;
	nr_under_lock += atomic_load(&store->space.lock->dirty) != 0;
}

static void
limit_lower(void)
{
	must(strata_limit(store, stats_now().reserved - MIB));
}

static void
collect_all(void)
{
	must(strata_gc(store, NULL));
}

/* What fits only where it was. */
static void
load_much(void)
{
	must(strata_limit(store, stats_now().reserved + 4 * MIB));
	must(strata_load(store, file_path("eight"), NULL));
}

Test(spare, is_truncated_when_others_may_write)
{
	static void (*const wishes[])(void) = {limit_lower, collect_all,
					       load_much};

	file_of("eight", 8, 8, MIB);
	for (size_t i = 0; i < sizeof(wishes) / sizeof(*wishes); i++) {
		must(strata_limit(store, 64 * MIB));
		reload("a");
		reload("a");
		cr_expect_eq(nr_files(), 2);
		nr_truncated = nr_under_lock = 0;
		strata__testpoint = see_truncations;
		wishes[i]();
		strata__testpoint = NULL;
		cr_expect_eq(nr_truncated, 1, "%zu", i);
		cr_expect_eq(nr_under_lock, 0, "%zu", i);
		expect_clean();
	}
}

Test(spare, is_not_given_up_for_a_class_at_its_maximum)
{
	static char data[60000];
	struct strata_config config = store_config(64 * MIB);
	struct strata_store *other;
	struct strata_txn *txn;

	config.huge_pages = STRATA_HUGE_NEVER;
	config.nr_pools = 2;
	config.pools[0] = (struct strata_pool_config){4 * KIB, 2 * MIB};
	config.pools[1] = (struct strata_pool_config){
		64 * KIB, 5 * (64 * KIB + STRATA_BLOCK_SLACK)};
	store_again(&config);
	must(strata_load(store, file_path("a"), NULL));
	reload("a");
	cr_expect_eq(nr_files(), 2);
	other = store_attach(STRATA_WRITE);
	must(strata_txn_begin(other, &txn));
	for (uint32_t layer = 0; layer < 6; layer++)
		must(strata_put(txn, 9, layer, NULL, data, sizeof(data), 0));
	expect_error(strata_txn_commit(txn, NULL), STRATA_ECLASS, "maximum");
	strata_txn_abort(txn);
	must(strata_detach(other));
	cr_expect_eq(nr_files(), 2);
	expect_clean();
}

static bool done;

static void
collect(const char *point)
{
	if (done || !is_point(point, "load.copied"))
		return;
	done = true;
	must(strata_gc(store, NULL));
}

/* By who works on it: nobody takes it for left over. */
Test(spare, is_held_while_it_is_filled)
{
	uint64_t inode = inode_of(generation_now());

	reload("a");
	done = false;
	strata__testpoint = collect;
	reload("b");
	strata__testpoint = NULL;
	cr_expect(done);
	cr_expect_eq(inode_of(generation_now()), inode);
	cr_expect(has_all(6, MIB - 200000));
	expect_clean();
}

/* Between an observer's copy and his look behind it. */
static void
use_up(const char *point)
{
	if (done || !is_point(point, "observe.copied"))
		return;
	done = true;
	reload("b");
	reload("b");
}

Test(spare, is_no_content_to_an_observer)
{
	struct strata_copy *copy;

	strata__testpoint = use_up;
	must(strata_copy(store, 7, 4, 0, &copy));
	strata__testpoint = NULL;
	cr_expect_eq(copy->entry.size, MIB - 200000);
	cr_expect_eq(((const char *)copy->data)[100], 'e');
	strata_copy_free(copy);
}
