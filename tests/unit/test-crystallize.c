/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Crystallising: protos become a region, and nobody is disturbed. */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attached.h"
#include "hash.h"
#include "newfile.h"

TestSuite(crystallize, .init = store_setup, .fini = store_teardown,
	  .timeout = 60);
TestSuite(crystallize_dir, .init = store_setup_dir, .fini = store_teardown,
	  .timeout = 60);

static struct strata_dimension
dimension_now(uint32_t number)
{
	struct strata_dimension dimension;

	must(find_dimension(number, &dimension));
	return dimension;
}

/**** what it makes ****/

Test(crystallize, protos_become_a_region)
{
	struct strata_reader *reader = reader_open(store);
	const struct strata_entry *entry;
	struct strata_dimension before, after;
	uint64_t proto_version;

	put(9, 5, 'a', 20000);
	proto_version = strata_version(store);
	put(9, 100, 'b', 70);
	put(9, 0, 'c', 0);
	before = dimension_now(9);
	must(strata_crystallize(store, 9));
	after = dimension_now(9);
	cr_expect_eq(after.state, STRATA_DIMENSION_CRYSTALLIZED);
	cr_expect_eq(after.nr_layers, 3);
	cr_expect_eq(after.nr_protos, 0);
	cr_expect_eq(after.content_bytes, before.content_bytes);
	cr_expect(has(9, 5, 'a', 20000));
	cr_expect(has(9, 100, 'b', 70));
	cr_expect(has(9, 0, 'c', 0));
	must(strata_read_lock(reader));
	must(strata_find(reader, 9, 5, &entry));
	cr_expect(entry->flags & STRATA_ENTRY_REGION);
	cr_expect_eq(entry->checksum,
		     strata__hash(strata_data(reader, entry), 20000));
	cr_expect_eq(entry->version, proto_version,
		     "the content is that version's still");
	must(strata_read_unlock(reader));
	cr_expect_eq(stats_now().crystallizations, 1);
	cr_expect_eq(stats_now().nr_crystallized, 1);
	expect_clean();
}

Test(crystallize, attributes_are_kept)
{
	static const char *const keywords[] = {"k1", "k2", "k3"};
	struct strata_reader *reader = reader_open(store);
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	struct strata_txn *txn = txn_begin();
	const struct strata_entry *entry;
	struct strata_meta meta;

	attrs.frequency = 12.25;
	attrs.depth = 9;
	attrs.parent = 4;
	attrs.flags = STRATA_ENTRY_SIMULATED;
	attrs.name = "a name";
	attrs.keywords = keywords;
	attrs.nr_keywords = 3;
	attrs.created_ns = 99;
	must(strata_put(txn, 9, 1, &attrs, "x", 1, 0));
	must(strata_describe(txn, 9, "nine", 1, 2));
	commit(txn);
	must(strata_crystallize(store, 9));
	must(strata_read_lock(reader));
	must(strata_find(reader, 9, 1, &entry));
	cr_expect_eq(entry->frequency, 12.25);
	cr_expect_eq(entry->depth, 9);
	cr_expect_eq(entry->parent, 4);
	cr_expect(entry->flags & STRATA_ENTRY_SIMULATED);
	must(strata_meta(reader, entry, &meta));
	cr_expect_str_eq(meta.name, "a name");
	cr_expect_eq(meta.created_ns, 99);
	cr_assert_eq(meta.nr_keywords, 3);
	cr_expect_str_eq(meta.keywords[2], "k3");
	must(strata_read_unlock(reader));
	cr_expect_str_eq(dimension_now(9).name, "nine");
	cr_expect_eq(dimension_now(9).frequency_max, 2);
}

Test(crystallize, a_hybrid_becomes_a_region)
{
	must(strata_load(store, file_of("file", 9, 4, 3000), NULL));
	put(9, 0, 'N', 100);
	put(9, 7, 'P', 200);
	remove_layer(9, 1);
	cr_expect_eq(dimension_now(9).state, STRATA_DIMENSION_HYBRID);
	must(strata_crystallize(store, 9));
	cr_expect_eq(dimension_now(9).state, STRATA_DIMENSION_CRYSTALLIZED);
	cr_expect_eq(dimension_now(9).nr_layers, 4);
	cr_expect(has(9, 0, 'N', 100));
	cr_expect_eq(find_layer(9, 1), STRATA_ENOLAYER, "removed: not in it");
	cr_expect(has(9, 2, 'c', 3000));
	cr_expect(has(9, 3, 'd', 3000));
	cr_expect(has(9, 7, 'P', 200));
	must(strata_gc(store, NULL));
	cr_expect_eq(stats_now().nr_regions, 1, "the old one is gone");
	expect_clean();
}

Test(crystallize, a_region_with_removed_layers_is_made_smaller)
{
	uint64_t before;

	must(strata_load(store, file_of("file", 9, 2, MIB), NULL));
	before = dimension_now(9).region_bytes;
	remove_layer(9, 0);
	cr_expect_eq(dimension_now(9).state, STRATA_DIMENSION_HYBRID);
	must(strata_crystallize(store, 9));
	cr_expect_lt(dimension_now(9).region_bytes, before - MIB / 2);
	cr_expect(has(9, 1, 'b', MIB));
	expect_clean();
}

Test(crystallize, an_empty_dimension_becomes_an_empty_region)
{
	put(9, 0, 'a', 10);
	remove_layer(9, 0);
	must(strata_crystallize(store, 9));
	cr_expect_eq(dimension_now(9).nr_layers, 0);
	cr_expect_eq(dimension_now(9).state, STRATA_DIMENSION_CRYSTALLIZED);
	cr_expect_gt(dimension_now(9).region_bytes, 0);
	put(9, 0, 'b', 10);
	must(strata_crystallize(store, 9));
	cr_expect(has(9, 0, 'b', 10));
	expect_clean();
}

Test(crystallize, where_there_is_nothing_to_do_nothing_is_done)
{
	uint64_t version;

	put(9, 0, 'a', 10);
	must(strata_crystallize(store, 9));
	version = strata_version(store);
	must(strata_crystallize(store, 9));
	cr_expect_eq(strata_version(store), version);
}

Test(crystallize, many_layers_at_all_heights)
{
	struct strata_txn *txn = txn_begin();

	for (uint32_t i = 0; i < 100; i++)
		must(strata_put(txn, 9, i * 7919, NULL, &i, sizeof(i), 0));
	must(strata_put(txn, 9, STRATA_LAYER_MAX, NULL, "z", 1, 0));
	commit(txn);
	must(strata_crystallize(store, 9));
	cr_expect_eq(dimension_now(9).nr_layers, 101);
	cr_expect_eq(dimension_now(9).nr_protos, 0);
	cr_expect(has(9, STRATA_LAYER_MAX, 'z', 1));
	expect_clean();
}

Test(crystallize, readers_are_not_disturbed)
{
	struct strata_reader *reader = reader_open(store);

	put(9, 0, 'a', 5000);
	must(strata_read_lock(reader));
	must(strata_crystallize(store, 9));
	must(strata_unload(store, 9, 0));
	cr_expect(reads(reader, 9, 0, 'a', 5000), "the old proto");
	must(strata_read_unlock(reader));
}

/**** what it refuses ****/

Test(crystallize, needs_a_dimension_that_may_change)
{
	struct strata_store *other = store_attach(STRATA_READ);
	struct strata_file_info info;

	expect_error(strata_crystallize(store, 9), STRATA_ENODIM,
		     "there is no dimension 9");
	cr_expect_eq(strata_last_error()->dimension, 9);
	expect_error(strata_crystallize(store, 0), STRATA_EINVAL, "0 is no");
	expect_error(strata_crystallize(other, 9), STRATA_EACCES, "WRITE");
	expect_error(strata_crystallize(NULL, 9), STRATA_EINVAL, "no store");
	memset(&info, 0, sizeof(info));
	info.dimension = 9;
	info.immutable = 1;
	file_make(file_path("file"), &info, 1, 10);
	must(strata_load(store, file_path("file"), NULL));
	expect_error(strata_crystallize(store, 9), STRATA_EIMMUTABLE,
		     "dimension 9 is immutable");
	must(strata_detach(other));
}

Test(crystallize, without_room_everything_is_as_it_was)
{
	struct strata_stats before, after;
	const uint32_t nr = 9;

	for (uint32_t i = 0; i < nr; i++)
		put(9, i, (char)(i + 1), 200000);
	must(strata_load(store,
			 file_of("file", 1, 1,
				 16 * MIB - stats_now().reserved - 100 * KIB),
			 NULL));
	before = stats_now();
	expect_error(strata_crystallize(store, 9), STRATA_ELIMIT, "limit");
	cr_expect_eq(strata_last_error()->dimension, 9);
	cr_expect_geq(strata_last_error()->requested, nr * 200000);
	after = stats_now();
	cr_expect_eq(after.version, before.version);
	cr_expect_eq(after.crystallizations, 0);
	cr_expect_eq(after.region_bytes, before.region_bytes);
	for (uint32_t i = 0; i < nr; i++)
		cr_expect(has(9, i, (char)(i + 1), 200000), "layer %u", i);
	expect_clean();
	must(strata_limit(store, 40 * MIB));
	must(strata_crystallize(store, 9));
	expect_clean();
}

/**** changes meanwhile ****/

static void (*meanwhile)(void);
static const char *meanwhile_at = "crystallize.sealed";

static void
hook(const char *point)
{
	if (!is_point(point, meanwhile_at))
		return;
	strata__testpoint = NULL;
	meanwhile();
}

static void
crystallize_with(void (*change)(void))
{
	meanwhile = change;
	strata__testpoint = hook;
	must(strata_crystallize(store, 9));
	cr_assert_null(strata__testpoint, "it came there");
}

static void
three_layers(void)
{
	put(9, 0, 'a', 100);
	put(9, 1, 'b', 100);
	put(9, 2, 'c', 100);
}

static void
put_and_remove(void)
{
	put(9, 0, 'A', 100);
	remove_layer(9, 1);
	put(9, 77, 'N', 100);
}

Test(crystallize, what_is_put_or_removed_meanwhile_stays_so)
{
	three_layers();
	crystallize_with(put_and_remove);
	cr_expect(has(9, 0, 'A', 100));
	cr_expect_eq(find_layer(9, 1), STRATA_ENOLAYER);
	cr_expect(has(9, 2, 'c', 100));
	cr_expect(has(9, 77, 'N', 100));
	cr_expect_eq(dimension_now(9).state, STRATA_DIMENSION_HYBRID);
	cr_expect_eq(dimension_now(9).nr_protos, 2);
	cr_expect_eq(dimension_now(9).nr_layers, 3);
	expect_clean();
	must(strata_crystallize(store, 9));
	cr_expect_eq(dimension_now(9).state, STRATA_DIMENSION_CRYSTALLIZED);
	cr_expect(has(9, 0, 'A', 100));
	expect_clean();
}

static void
remove_and_put_again(void)
{
	remove_layer(9, 1);
	put(9, 1, 'B', 100);
}

Test(crystallize, what_was_removed_and_put_again_is_the_new_one)
{
	three_layers();
	crystallize_with(remove_and_put_again);
	cr_expect(has(9, 1, 'B', 100));
	cr_expect(has(9, 0, 'a', 100));
	expect_clean();
}

static void
describe(void)
{
	struct strata_txn *txn = txn_begin();

	must(strata_describe(txn, 9, "new name", 5, 6));
	commit(txn);
}

Test(crystallize, a_description_that_came_meanwhile_stays)
{
	struct strata_txn *txn = txn_begin();

	must(strata_describe(txn, 9, "old name", 1, 2));
	commit(txn);
	three_layers();
	crystallize_with(describe);
	cr_expect_str_eq(dimension_now(9).name, "new name");
	cr_expect_eq(dimension_now(9).frequency_min, 5);
	cr_expect_eq(dimension_now(9).frequency_max, 6);
	cr_expect_eq(dimension_now(9).state, STRATA_DIMENSION_CRYSTALLIZED);
}

static void
remove_all(void)
{
	struct strata_txn *txn = txn_begin();

	must(strata_remove_dimension(txn, 9));
	commit(txn);
}

Test(crystallize, a_dimension_that_went_meanwhile_stays_gone)
{
	three_layers();
	meanwhile = remove_all;
	strata__testpoint = hook;
	expect_error(strata_crystallize(store, 9), STRATA_ENODIM, "9");
	cr_expect_eq(find_layer(9, 0), STRATA_ENODIM);
	cr_expect_eq(stats_now().region_bytes, 0);
	expect_clean();
}

static void
make_anew(void)
{
	remove_all();
	put(9, 0, 'z', 50);
}

Test(crystallize, a_dimension_that_was_made_anew_meanwhile_is_the_new_one)
{
	three_layers();
	crystallize_with(make_anew);
	cr_expect(has(9, 0, 'z', 50));
	cr_expect_eq(find_layer(9, 1), STRATA_ENOLAYER);
	expect_clean();
}

/**** the directory ****/

static const char *
own_path(void)
{
	static char path[256];

	must(strata_file_path(dir_path, 9, path, sizeof(path)));
	return path;
}

static char *
bytes_of(const char *path, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *bytes;

	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(fstat(fd, &st), 0);
	bytes = malloc((size_t)st.st_size);
	cr_assert_eq(read(fd, bytes, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_size = (size_t)st.st_size;
	return bytes;
}

Test(crystallize_dir, what_lost_its_pin_is_neither_file_nor_region)
{
	three_layers();
	meanwhile = pins_overwrite;
	meanwhile_at = "crystallize.emitted";
	strata__testpoint = hook;
	expect_error(strata_crystallize(store, 9), STRATA_EPIN, "overwritten");
	cr_assert_null(strata__testpoint, "it came there");
	cr_expect_neq(access(own_path(), F_OK), 0, "no file");
	cr_expect_eq(dimension_now(9).state, STRATA_DIMENSION_PROTO);
	expect_clean();
	must(strata_crystallize(store, 9));
	expect_clean();
}

Test(crystallize_dir, the_file_is_the_region_byte_by_byte)
{
	size_t file_size, region_size;
	char *file, *region;

	three_layers();
	put(9, 3, 'd', 50000);
	must(strata_crystallize(store, 9));
	file = bytes_of(own_path(), &file_size);
	region = bytes_of(region_path(1), &region_size);
	cr_expect_eq(file_size, dimension_now(9).region_bytes);
	cr_expect_gt(region_size, file_size, "it has a trailer");
	cr_expect_eq(memcmp(file, region, file_size), 0);
	free(file);
	free(region);
	must(strata_file_verify(own_path(), 0, NULL));
	expect_clean();
}

static int
print_progress(uint64_t done, uint64_t total, void *arg)
{
	(void)done;
	(void)total;
	(void)arg;
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		(void)!write(fd, "almost done\n", 12);
	return 0;
}

/* A process that has closed stdin, stdout and stderr, as daemons do, and prints
 * all the same. */
static int
crystallize_and_print(void)
{
	const struct strata_work work = {.struct_size = sizeof(work),
					 .progress = print_progress};
	struct strata_store *own;

	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		close(fd);
	if (strata_attach(STORE, STRATA_WRITE, &own) != 0)
		return 1;
	if (strata_crystallize_with(own, 9, &work) != 0)
		return 2;
	return strata_detach(own) != 0 ? 3 : 0;
}

Test(crystallize_dir, what_is_printed_is_not_in_the_file)
{
	int status;
	pid_t child;

	three_layers();
	child = fork();
	if (child == 0)
		_exit(crystallize_and_print());
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0, "status %#x", (unsigned)status);
	must(strata_file_verify(own_path(), 0, NULL));
	expect_clean();
}

Test(crystallize_dir, the_file_outlives_the_store)
{
	struct strata_config config = store_config(16 * MIB);

	three_layers();
	must(strata_crystallize(store, 9));
	must(strata_detach(store));
	must(strata_destroy(STORE));
	config.directory = dir_path;
	must(strata_create(STORE, &config));
	store = store_attach(STRATA_WRITE);
	must(strata_load(store, own_path(), NULL));
	cr_expect(has(9, 2, 'c', 100));
}

Test(crystallize_dir, a_dimension_without_its_file_gets_one)
{
	must(strata_load(store, file_of("file", 9, 2, 1000), NULL));
	cr_expect_neq(access(own_path(), F_OK), 0);
	must(strata_crystallize(store, 9));
	cr_expect_eq(access(own_path(), F_OK), 0);
	cr_expect_eq(stats_now().nr_regions, 1);
	expect_clean();
}

Test(crystallize_dir, a_dimension_with_a_former_file_gets_its_own)
{
	put(9, 0, 'o', 1000);
	must(strata_crystallize(store, 9));
	must(strata_unload(store, 9, 0));
	must(strata_load(store, file_of("file", 9, 2, 1000), NULL));
	must(strata_crystallize(store, 9));
	must(strata_reload(store, 9, NULL));
	cr_expect(has(9, 0, 'a', 1000), "the file is of what was loaded");
	cr_expect(has(9, 1, 'b', 1000));
	/* And a damaged one is mended. */
	patch_path(own_path(), 700, "damaged", 7);
	must(strata_crystallize(store, 9));
	must(strata_file_verify(own_path(), 0, NULL));
	cr_expect_eq(stats_now().nr_regions, 1);
	expect_clean();
}

static unsigned
nr_in_dir(void)
{
	DIR *dir = opendir(dir_path);
	struct dirent *entry;
	unsigned nr = 0;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir)) != NULL)
		nr += strcmp(entry->d_name, ".") != 0 &&
		      strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return nr;
}

static void
write_owner(const char *name)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/store", dir_path);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	fprintf(file, "%s\n", name);
	fclose(file);
}

Test(crystallize_dir, a_directory_that_another_store_adopted_is_let_alone)
{
	three_layers();
	must(strata_crystallize(store, 9));
	put(9, 0, 'A', 100);
	write_owner("other");
	expect_error(strata_crystallize(store, 9), STRATA_EDIR,
		     "belongs to store 'other' now");
	cr_expect_eq(nr_in_dir(), 2, "no temporary file");
	expect_error(strata_unload(store, 9, /* forget= */ 1), STRATA_EDIR,
		     "belongs to store 'other' now");
	cr_expect_eq(access(own_path(), F_OK), 0);
	write_owner(STORE);
	must(strata_load(store, own_path(), NULL));
	cr_expect(has(9, 0, 'a', 100));
	expect_clean();
}

Test(crystallize_dir, a_file_has_the_mode_and_the_group_of_its_store)
{
	struct strata_config config = store_config(16 * MIB);
	struct stat st;

	config.directory = dir_path;
	config.mode = 0640;
	config.group = geteuid() == 0 ? "54321" : NULL;
	umask(0077);
	store_again(&config);
	three_layers();
	must(strata_crystallize(store, 9));
	cr_assert_eq(stat(own_path(), &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0640);
	cr_expect_eq(st.st_gid, geteuid() == 0 ? 54321 : getegid());
}

Test(crystallize_dir, a_file_that_cannot_be_written_fails_it)
{
	char away[128];

	three_layers();
	snprintf(away, sizeof(away), "%s-away", dir_path);
	cr_assert_eq(rename(dir_path, away), 0);
	expect_error(strata_crystallize(store, 9), -ENOENT, "");
	cr_expect_eq(dimension_now(9).state, STRATA_DIMENSION_PROTO);
	cr_expect_eq(stats_now().region_bytes, 0);
	expect_clean();
	cr_assert_eq(rename(away, dir_path), 0);
	cr_assert_eq(mkdir(own_path(), 0700), 0);
	expect_error(strata_crystallize(store, 9), -EISDIR, "");
	cr_expect_eq(stats_now().region_bytes, 0);
	rmdir(own_path());
	must(strata_crystallize(store, 9));
	cr_expect(has(9, 1, 'b', 100));
}

static unsigned revocations;

static void
revoke_file(const char *point)
{
	if (!is_point(point, "crystallize.file-written") || revocations == 0)
		return;
	revocations--;
	must(strata__newfile_revoke(own_path()));
}

/* By who believed that the directory was his; but not for ever. */
Test(crystallize_dir, a_file_that_is_revoked_is_written_again)
{
	three_layers();
	revocations = 3;
	strata__testpoint = revoke_file;
	must(strata_crystallize(store, 9));
	cr_expect_eq(revocations, 0);
	cr_expect_eq(access(own_path(), F_OK), 0);
	cr_assert_eq(unlink(own_path()), 0);
	put(9, 1, 'x', 100);
	revocations = 1000;
	expect_error(strata_crystallize(store, 9), -ENOENT, "newer writer");
	cr_expect_gt(revocations, 900, "it gave up");
	cr_expect_eq(access(own_path(), F_OK), -1);
	cr_expect_eq(dimension_now(9).state, STRATA_DIMENSION_HYBRID);
	strata__testpoint = NULL;
	must(strata_crystallize(store, 9));
	expect_clean();
}

/**** damage ****/

Test(crystallize, a_dimension_that_counts_wrong_is_refused)
{
	struct strata_reader *reader = reader_open(store);
	struct strata__dimnode *node;

	three_layers();
	must(strata_read_lock(reader));
	node = (struct strata__dimnode *)strata__tree_dimnode(
		store->space.window,
		strata__tree_slot(store->space.window, strata__reader_root(reader), 9));
	must(strata_read_unlock(reader));
	node->nr_layers = 2;
	expect_error(strata_crystallize(store, 9), STRATA_ECORRUPT,
		     "more layers than it says");
	node->nr_layers = 3;
	must(strata_crystallize(store, 9));
}

/* Its own pin does not keep what it replaces. */
Test(crystallize, leaves_nothing_retired_where_nobody_reads)
{
	for (uint32_t i = 0; i < 3; i++) {
		put(7, i, 'a', 30000);
		must(strata_crystallize(store, 7));
		cr_expect_eq(stats_now().retired, 0, "%u", i);
		cr_expect_eq(stats_now().nr_regions, 1);
	}
	cr_expect_lt(stats_now().region_bytes, 200000, "one region");
}
