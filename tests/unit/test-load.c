/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Dimension files into the store: load, reload, unload. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attached.h"
#include "hash.h"
#include "region.h"

TestSuite(load, .init = store_setup, .fini = store_teardown, .timeout = 60);
TestSuite(load_dir, .init = store_setup_dir, .fini = store_teardown,
	  .timeout = 60);

#define NR   3u
#define SIZE 20000u

static const char *
make(void)
{
	return file_of("file", 7, NR, SIZE);
}

static void
expect_loaded(void)
{
	for (uint32_t i = 0; i < NR; i++)
		cr_expect(has(7, i, (char)('a' + i), SIZE), "layer %u", i);
	cr_expect_eq(find_layer(7, NR), STRATA_ENOLAYER);
}

/* Nothing of a failed load is in the store, or beside it. */
static void
expect_nothing(unsigned files)
{
	struct strata_stats stats = stats_now();

	cr_expect_eq(stats.nr_dimensions, 0);
	cr_expect_eq(stats.region_bytes, 0);
	cr_expect_eq(stats.loads, 0);
	cr_expect_eq(strata_version(store), 1);
	cr_expect_eq(folder_files(false), files);
	expect_clean();
}

/**** load ****/

Test(load, brings_a_dimension_as_its_file_says)
{
	struct strata_dimension dimension;
	struct strata_stats stats;
	struct stat st;
	uint32_t number = 0;

	must(strata_load(store, make(), &number));
	cr_expect_eq(number, 7);
	expect_loaded();
	must(find_dimension(7, &dimension));
	cr_expect_str_eq(dimension.name, "loaded");
	cr_expect_eq(dimension.frequency_max, 100);
	cr_expect_eq(dimension.state, STRATA_DIMENSION_CRYSTALLIZED);
	cr_expect_eq(dimension.nr_layers, NR);
	cr_expect_eq(dimension.nr_protos, 0);
	cr_expect_eq(dimension.content_bytes, NR * SIZE);
	cr_assert_eq(stat(file_path("file"), &st), 0);
	cr_expect_eq(dimension.region_bytes, (uint64_t)st.st_size);
	stats = stats_now();
	cr_expect_eq(stats.loads, 1);
	cr_expect_eq(stats.nr_regions, 1);
	cr_expect_eq(stats.nr_crystallized, 1);
	cr_expect_geq(stats.region_bytes, (uint64_t)st.st_size);
	cr_expect_eq(stats.version, 2, "one commit");
	expect_clean();
}

Test(load, entries_say_what_the_file_says)
{
	struct strata_reader *reader = reader_open(store);
	const struct strata_entry *entry;
	struct strata_meta meta;

	must(strata_load(store, make(), NULL));
	must(strata_read_lock(reader));
	must(strata_find(reader, 7, 2, &entry));
	cr_expect_eq(entry->frequency, 2.5);
	cr_expect_eq(entry->depth, 2);
	cr_expect_eq(entry->parent, 1);
	cr_expect_eq(entry->flags,
		     STRATA_ENTRY_PRESENT | STRATA_ENTRY_REGION);
	cr_expect_eq(entry->version, 2);
	cr_expect_eq(entry->checksum,
		     strata__hash(strata_data(reader, entry), SIZE));
	must(strata_meta(reader, entry, &meta));
	cr_expect_str_eq(meta.name, "layer");
	cr_expect_gt(meta.created_ns, 0);
	must(strata_read_unlock(reader));
}

Test(load, refuses_a_dimension_that_is_there)
{
	must(strata_load(store, make(), NULL));
	expect_error(strata_load(store, make(), NULL), STRATA_EEXIST,
		     "dimension 7 is in the store already");
	cr_expect_eq(strata_last_error()->dimension, 7);
	must(strata_unload(store, 7, 0));
	put(7, 0, 'p', 10);
	expect_error(strata_load(store, make(), NULL), STRATA_EEXIST, "reload");
	cr_expect(has(7, 0, 'p', 10));
	expect_clean();
}

static void
put_seven(const char *point)
{
	if (!is_point(point, "load.sealed"))
		return;
	strata__testpoint = NULL;
	put(7, 0, 'p', 10);
}

Test(load, refuses_a_dimension_that_came_meanwhile)
{
	strata__testpoint = put_seven;
	expect_error(strata_load(store, make(), NULL), STRATA_EEXIST, "7");
	cr_expect(has(7, 0, 'p', 10));
	cr_expect_eq(stats_now().region_bytes, 0);
	expect_clean();
}

Test(load, needs_arguments_and_the_right_to_write)
{
	struct strata_store *other = store_attach(STRATA_READ);

	expect_error(strata_load(NULL, make(), NULL), STRATA_EINVAL, "");
	expect_error(strata_load(store, NULL, NULL), STRATA_EINVAL, "");
	expect_error(strata_load(other, make(), NULL), STRATA_EACCES,
		     "STRATA_WRITE");
	expect_error(strata_reload(NULL, 7, make()), STRATA_EINVAL, "");
	expect_error(strata_reload(other, 7, make()), STRATA_EACCES, "");
	expect_error(strata_unload(other, 7, 0), STRATA_EACCES, "");
	expect_error(strata_unload(NULL, 7, 0), STRATA_EINVAL, "no store");
	must(strata_detach(other));
}

Test(load, a_store_that_is_gone_takes_nothing)
{
	must(strata_destroy(STORE));
	expect_error(strata_load(store, make(), NULL), STRATA_EGONE,
		     "was destroyed");
	expect_error(strata_unload(store, 7, 0), STRATA_EGONE, "destroyed");
}

/**** files that are none ****/

Test(load, refuses_a_file_that_is_missing)
{
	expect_error(strata_load(store, file_path("none"), NULL), -ENOENT,
		     "none");
	expect_nothing(folder_files(false));
}

Test(load, refuses_what_is_no_file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s", file_path("trap"));
	cr_assert_eq(mkfifo(path, 0600), 0);
	expect_error(strata_load(store, path, NULL), STRATA_EFORMAT,
		     "not a regular file");
	unlink(path);
	cr_assert_eq(mkdir(path, 0700), 0);
	expect_error(strata_load(store, path, NULL), STRATA_EFORMAT,
		     "not a regular file");
	rmdir(path);
	expect_error(strata_load(store, "/dev/zero", NULL), STRATA_EFORMAT,
		     "not a regular file");
	expect_nothing(folder_files(false));
}

/* Loads the file after it was damaged. */
static void
expect_refused(const char *words)
{
	unsigned files = folder_files(false);

	expect_error(strata_load(store, file_path("file"), NULL),
		     STRATA_EFORMAT, words);
	expect_nothing(files);
}

static uint64_t
file_size(const char *path)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

Test(load, refuses_a_truncated_file)
{
	uint64_t size = file_size(make());

	cr_assert_eq(truncate(file_path("file"), (off_t)size - 64), 0);
	expect_refused("its size is not what its header says");
	cr_expect_eq(strata_last_error()->size, size - 64);
	cr_assert_eq(truncate(file_path("file"), 100), 0);
	expect_refused("shorter than a header");
	cr_expect_eq(strata_last_error()->size, 100);
	cr_assert_eq(truncate(file_path("file"), 0), 0);
	expect_refused("shorter than a header");
}

Test(load, refuses_an_oversized_file)
{
	uint64_t size = file_size(make());

	cr_assert_eq(truncate(file_path("file"), (off_t)size + 64), 0);
	expect_refused("its size is not what its header says");
}

Test(load, refuses_what_does_not_begin_like_one)
{
	make();
	patch("file", 0, "garbage!", 8);
	expect_refused("does not begin as one");
	cr_expect_eq(strata_last_error()->offset, 0);
}

Test(load, refuses_the_other_byte_order)
{
	const uint64_t magic = __builtin_bswap64(STRATA_IMAGE_MAGIC);
	const uint32_t order = __builtin_bswap32(STRATA_IMAGE_BYTE_ORDER);

	make();
	patch("file", offsetof(struct strata__image_header, byte_order), &order,
	      4);
	expect_refused("byte order");
	patch("file", 0, &magic, 8);
	expect_refused("byte order");
}

Test(load, refuses_a_number_out_of_range)
{
	const uint32_t number = STRATA_DIMENSION_MAX + 1;

	make();
	patch("file", offsetof(struct strata__image_header, dimension), &number,
	      4);
	expect_refused("dimension number is out of range");
}

Test(load, refuses_a_damaged_header)
{
	make();
	patch("file", offsetof(struct strata__image_header, name), "X", 1);
	expect_refused("checksum of the header is wrong");
}

Test(load, refuses_damaged_content)
{
	uint64_t size = file_size(make());

	patch("file", size - 100, "X", 1);
	expect_refused("layer 2");
	cr_expect_eq(strata_last_error()->dimension, 7);
	cr_expect_eq(strata_last_error()->layer, 2);
	cr_expect_eq(strata_last_error()->size, size);
	cr_expect_gt(strata_last_error()->offset, 0);
}

static void
change_number(const char *point)
{
	const uint32_t number = 8;

	if (!is_point(point, "load.reserved"))
		return;
	strata__testpoint = NULL;
	patch("file", offsetof(struct strata__image_header, dimension), &number,
	      4);
}

Test(load, refuses_a_file_that_changes_meanwhile)
{
	make();
	strata__testpoint = change_number;
	expect_refused("");
}

static void
become_eight(const char *point)
{
	char path[256];

	if (!is_point(point, "load.reserved"))
		return;
	strata__testpoint = NULL;
	/* The same length, another dimension, and all of it right. */
	file_of("eight", 8, NR, 100);
	snprintf(path, sizeof(path), "cat %s/eight > %s/file", folder_path,
		 folder_path);
	cr_assert_eq(system(path), 0);
}

Test(load, refuses_a_file_that_becomes_another_dimensions)
{
	char *path = strdup(file_of("file", 7, NR, 100));
	unsigned files = folder_files(false);

	strata__testpoint = become_eight;
	expect_error(strata_load(store, path, NULL), STRATA_EFORMAT,
		     "changed while it was read");
	free(path);
	expect_nothing(files + 1);
}

static void
cut_file(const char *point)
{
	if (!is_point(point, "load.reserved"))
		return;
	strata__testpoint = NULL;
	cr_assert_eq(truncate(file_path("file"), 1000), 0);
}

Test(load, refuses_a_file_that_shrinks_meanwhile)
{
	make();
	strata__testpoint = cut_file;
	expect_refused("file");
}

/**** want of room ****/

Test(load, a_file_beyond_the_limit_leaves_nothing)
{
	unsigned files;

	file_of("file", 7, 20, MIB);
	files = folder_files(false);
	expect_error(strata_load(store, file_path("file"), NULL),
		     STRATA_ELIMIT, "limit");
	cr_expect_eq(strata_last_error()->dimension, 7);
	cr_expect_geq(strata_last_error()->requested, 20 * MIB);
	cr_expect_eq(strata_last_error()->limit, 16 * MIB);
	cr_expect_eq(stats_now().failures_limit, 1);
	expect_nothing(files);
	must(strata_limit(store, 32 * MIB));
	must(strata_load(store, file_path("file"), NULL));
	cr_expect(has(7, 19, 'a' + 19, MIB));
	expect_clean();
}

Test(load, names_the_reader_that_retains_most)
{
	struct strata_reader *reader = reader_open(store);
	char words[64];

	must(strata_load(store, file_of("file", 7, 8, MIB), NULL));
	must(strata_read_lock(reader));
	must(strata_unload(store, 7, 0));
	snprintf(words, sizeof(words), "; reader %d ('", (int)getpid());
	expect_error(strata_load(store, file_path("file"), NULL),
		     STRATA_ELIMIT, words);
	cr_expect_not_null(strstr(strata_last_error()->sentence,
				  "retains most"));
	must(strata_read_unlock(reader));
	must(strata_load(store, file_path("file"), NULL));
	cr_expect(has(7, 7, 'h', MIB), "what it retained was reclaimed");
	expect_clean();
}

static void
load_file(void)
{
	(void)strata_load(store, file_path("file"), NULL);
}

Test(load, room_that_a_dead_loader_holds_is_had_at_need)
{
	file_of("file", 7, 8, MIB);
	die_in("load.copied", load_file);
	cr_expect_gt(stats_now().region_bytes, 8 * MIB);
	must(strata_load(store, file_path("file"), NULL));
	cr_expect(has(7, 7, 'h', MIB));
	expect_clean();
}

/**** somebody else is at it ****/

Test(load, the_lock_of_a_dimension_dies_with_its_holder)
{
	make();
	die_in("load.copied", load_file);
	must(strata_load(store, make(), NULL));
	must(strata_gc(store, NULL));
	expect_loaded();
	expect_clean();
}

/**** reload ****/

Test(load, reload_replaces_everything_in_one_instant)
{
	struct strata_reader *reader = reader_open(store);
	uint64_t version;

	put(7, 0, 'p', 10);
	put(7, 99, 'q', 10);
	must(strata_read_lock(reader));
	version = strata_version(store);
	must(strata_reload(store, 7, make()));
	cr_expect_eq(strata_version(store), version + 1);
	expect_loaded();
	cr_expect_eq(find_layer(7, 99), STRATA_ENOLAYER, "protos are dropped");
	cr_expect(reads(reader, 7, 99, 'q', 10), "the section goes on");
	must(strata_read_unlock(reader));
	put(7, 50, 'r', 10);
	must(strata_reload(store, 7, file_of("file", 7, 1, 30)));
	cr_expect(has(7, 0, 'a', 30));
	cr_expect_eq(find_layer(7, 50), STRATA_ENOLAYER);
	cr_expect_eq(find_layer(7, 1), STRATA_ENOLAYER);
	cr_expect_eq(stats_now().reloads, 2);
	cr_expect_eq(stats_now().nr_regions, 1);
	must(strata_gc(store, NULL));
	expect_clean();
}

Test(load, reload_needs_the_dimension)
{
	expect_error(strata_reload(store, 7, make()), STRATA_ENODIM,
		     "there is no dimension 7");
	cr_expect_eq(strata_last_error()->dimension, 7);
	expect_error(strata_reload(store, 6, make()), STRATA_EINVAL,
		     "is of dimension 7, not 6");
	expect_error(strata_reload(store, 7, NULL), STRATA_EDIR,
		     "has no directory");
	expect_error(strata_reload(store, 7, file_path("none")), -ENOENT, "");
	cr_expect_eq(stats_now().reloads, 0);
}

static void
unload_seven(const char *point)
{
	struct strata_txn *txn;

	if (!is_point(point, "load.sealed"))
		return;
	strata__testpoint = NULL;
	txn = txn_begin();
	must(strata_remove_dimension(txn, 7));
	commit(txn);
}

Test(load, reload_finds_out_that_the_dimension_went_meanwhile)
{
	put(7, 0, 'p', 10);
	strata__testpoint = unload_seven;
	expect_error(strata_reload(store, 7, make()), STRATA_ENODIM, "7");
	cr_expect_eq(stats_now().region_bytes, 0);
	expect_clean();
}

Test(load_dir, reload_takes_the_file_of_the_directory)
{
	char path[256];

	must(strata_file_path(dir_path, 7, path, sizeof(path)));
	put(7, 0, 'p', 10);
	must(strata_crystallize(store, 7));
	put(7, 0, 'q', 10);
	put(7, 1, 'r', 10);
	must(strata_reload(store, 7, NULL));
	cr_expect(has(7, 0, 'p', 10));
	cr_expect_eq(find_layer(7, 1), STRATA_ENOLAYER);
	cr_assert_eq(unlink(path), 0);
	expect_error(strata_reload(store, 7, NULL), -ENOENT, "D07.strata");
	expect_error(strata_reload(store, 0, NULL), STRATA_EINVAL, "");
}

static void *
reload_seven(void *arg)
{
	*(int *)arg = strata_reload(store, 7, NULL);
	return NULL;
}

static pthread_t reloader;
static int reloaded = -1;

/* Begins a reload while a crystallise has the dimension. Whether it has come to
 * its wait is not known; it may only not have opened the file then. */
static void
reload_meanwhile(const char *point)
{
	if (!is_point(point, "crystallize.sealed"))
		return;
	strata__testpoint = NULL;
	cr_assert_eq(pthread_create(&reloader, NULL, reload_seven, &reloaded),
		     0);
	for (int i = 0; i < 2000; i++)
		sched_yield();
}

Test(load_dir, reload_takes_what_a_crystallise_under_way_is_writing)
{
	put(7, 0, 'p', 10);
	must(strata_crystallize(store, 7));
	put(7, 0, 'q', 10);
	strata__testpoint = reload_meanwhile;
	must(strata_crystallize(store, 7));
	cr_assert_eq(pthread_join(reloader, NULL), 0);
	cr_expect_eq(reloaded, 0);
	cr_expect(has(7, 0, 'q', 10));
	expect_clean();
}

Test(load, reload_changes_an_immutable_dimension)
{
	struct strata_file_info info;
	struct strata_dimension dimension;

	memset(&info, 0, sizeof(info));
	info.dimension = 7;
	info.immutable = 1;
	file_make(file_path("first"), &info, 1, 100);
	must(strata_load(store, file_path("first"), NULL));
	must(find_dimension(7, &dimension));
	cr_expect(dimension.immutable);
	must(strata_reload(store, 7, make()));
	must(find_dimension(7, &dimension));
	cr_expect_not(dimension.immutable);
	expect_loaded();
	must(strata_unload(store, 7, 0));
}

/**** unload ****/

Test(load, unload_takes_a_dimension_out)
{
	struct strata_stats stats;

	must(strata_load(store, make(), NULL));
	put(7, 9, 'p', 10);
	must(strata_unload(store, 7, 0));
	stats = stats_now();
	cr_expect_eq(stats.nr_dimensions, 0);
	cr_expect_eq(stats.region_bytes, 0);
	cr_expect_eq(stats.unloads, 1);
	cr_expect_eq(find_layer(7, 0), STRATA_ENODIM);
	expect_error(strata_unload(store, 7, 0), STRATA_ENODIM,
		     "no dimension 7");
	cr_expect_eq(strata_last_error()->dimension, 7);
	expect_error(strata_unload(store, 0, 0), STRATA_EINVAL, "number");
	expect_error(strata_unload(store, STRATA_DIMENSION_MAX + 1, 0),
		     STRATA_EINVAL, "262144");
	expect_clean();
}

Test(load, forget_needs_a_directory)
{
	must(strata_load(store, make(), NULL));
	expect_error(strata_unload(store, 7, 1), STRATA_EDIR, "no directory");
	expect_loaded();
}

Test(load_dir, forget_removes_the_file)
{
	char path[256];

	must(strata_file_path(dir_path, 7, path, sizeof(path)));
	put(7, 0, 'p', 10);
	must(strata_crystallize(store, 7));
	cr_expect_eq(access(path, F_OK), 0);
	must(strata_unload(store, 7, 0));
	cr_expect_eq(access(path, F_OK), 0, "kept unless told");
	must(strata_load(store, path, NULL));
	must(strata_unload(store, 7, 1));
	cr_expect_neq(access(path, F_OK), 0);
	put(7, 0, 'p', 10);
	must(strata_unload(store, 7, 1));
	cr_assert_eq(mkdir(path, 0700), 0);
	put(7, 0, 'p', 10);
	expect_error(strata_unload(store, 7, 1), -EISDIR, "cannot remove");
	rmdir(path);
}

Test(load, a_full_store_can_be_unloaded)
{
	int code = 0;
	uint32_t nr = 0;

	must(strata_load(store, file_of("file", 7, 8, MIB), NULL));
	while (code == 0) {
		struct strata_txn *txn = txn_begin();
		char *data = calloc(1, 10000);

		must(strata_put(txn, 8, nr++, NULL, data, 10000, 0));
		code = strata_txn_commit(txn, NULL);
		if (code != 0)
			strata_txn_abort(txn);
		free(data);
	}
	must(strata_unload(store, 8, 0));
	must(strata_unload(store, 7, 0));
	cr_expect_eq(stats_now().content_bytes, 0);
	expect_clean();
}

/**** many ****/

Test(load, fourteen_dimensions_of_twenty_layers)
{
	char name[32];

	for (uint32_t d = 1; d <= 14; d++) {
		snprintf(name, sizeof(name), "file%u", d);
		must(strata_load(store, file_of(name, d, 20, 5000), NULL));
	}
	cr_expect_eq(stats_now().nr_layers, 280);
	for (uint32_t d = 1; d <= 14; d++)
		cr_expect(has(d, 19, 'a' + 19, 5000), "%u", d);
	expect_clean();
	for (uint32_t d = 14; d >= 1; d--)
		must(strata_unload(store, d, 0));
	cr_expect_eq(stats_now().region_bytes, 0);
	expect_clean();
}

/**** large pages ****/

/* Does the kernel give any, to a file as regions are? */
static bool
large_pages_can_be_had(void)
{
	char path[160];
	uint64_t bytes = 0;
	void *map;
	int fd;

	snprintf(path, sizeof(path), "%s/trial", folder_path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	cr_assert_geq(fd, 0);
	must(unlink(path));
	must(strata__os_reserve(fd, 0, 4 * MIB));
	must(strata__os_map_large(fd, 4 * MIB, /* writable= */ false, &map));
	cr_assert_eq((uintptr_t)map % STRATA_LARGE_PAGE, 0);
	(void)strata__os_collapse(map, 4 * MIB, &bytes);
	munmap(map, 4 * MIB);
	close(fd);
	return bytes == 4 * MIB;
}

static int
load_large(enum strata_huge_pages wish, uint64_t *ret_bytes)
{
	struct strata_config config = store_config(32 * MIB);
	int code;

	config.huge_pages = wish;
	store_again(&config);
	code = strata_load(store, file_of("large", 7, 5, MIB), NULL);
	*ret_bytes = stats_now().large_page_bytes;
	expect_clean();
	return code;
}

Test(load, regions_get_large_pages_where_they_can_be_had)
{
	bool can = large_pages_can_be_had();
	uint64_t bytes, none;

	must(load_large(STRATA_HUGE_NEVER, &none));
	cr_expect_eq(none, 0);
	/* Not at each moment, on a machine that is busy. */
	for (int i = 0; i < 50; i++) {
		must(load_large(STRATA_HUGE_AUTO, &bytes));
		if (!can || bytes == 4 * MIB)
			break;
	}
	if (can)
		cr_expect_eq(bytes, 4 * MIB, "the tail is of small pages");
	for (uint32_t i = 0; i < 5; i++)
		cr_expect(has(7, i, (char)('a' + i), MIB), "layer %u", i);
	must(strata_unload(store, 7, /* forget= */ false));
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().large_page_bytes, 0);
}

Test(load, required_large_pages_are_there_or_it_is_refused)
{
	uint64_t bytes;
	int code = load_large(STRATA_HUGE_REQUIRE, &bytes);

	/* Memory may hang together at one moment and not at the next: what was
	 * tried before says nothing of now. */
	if (code == 0) {
		cr_expect_eq(bytes, 4 * MIB);
		return;
	}
	cr_expect_eq(code, STRATA_ENOTSUP);
	expect_nothing(folder_files(false));
}

static int
no_large_page(const char *call)
{
	return strcmp(call, "collapse") == 0 ? ENOMEM : 0;
}

/* What was to be in large pages has holes then, until it is filled. */
Test(load, goes_on_in_small_pages_where_no_large_one_is_to_be_had)
{
	uint64_t bytes;
	int code;

	strata__refusal = no_large_page;
	must(load_large(STRATA_HUGE_AUTO, &bytes));
	cr_expect_eq(bytes, 0);
	for (uint32_t i = 0; i < 5; i++)
		cr_expect(has(7, i, (char)('a' + i), MIB), "layer %u", i);
	must(strata_crystallize(store, 7));
	put(7, 9, 'z', 10);
	must(strata_crystallize(store, 7));
	cr_expect(has(7, 4, 'e', MIB));
	cr_expect_eq(stats_now().large_page_bytes, 0);
	expect_clean();
	code = load_large(STRATA_HUGE_REQUIRE, &bytes);
	cr_expect_eq(code, STRATA_ENOTSUP);
	cr_expect_eq(strata_last_error()->sys_errno, ENOMEM);
	strata__refusal = NULL;
	expect_nothing(folder_files(false));
}

static int
no_room(const char *call)
{
	return strcmp(call, "reserve") == 0 ? ENOSPC : 0;
}

/* Large pages are reserved before anything is stored to them. */
Test(load, of_large_pages_that_cannot_be_reserved_is_refused)
{
	struct strata_config config = store_config(32 * MIB);
	unsigned files;

	if (!large_pages_can_be_had())
		cr_skip("no large pages here");
	store_again(&config);
	file_of("large", 7, 5, MIB);
	files = folder_files(false);
	strata__refusal = no_room;
	expect_error(strata_load(store, file_path("large"), NULL), STRATA_ESHM,
		     "is full");
	strata__refusal = NULL;
	expect_nothing(files);
}
