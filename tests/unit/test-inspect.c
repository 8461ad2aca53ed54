/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What lies where is told as the files have it. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "attached.h"

static struct strata_reader *reader;

static void
setup(void)
{
	store_setup();
	reader = reader_open(store);
}

TestSuite(inspect, .init = setup, .fini = store_teardown, .timeout = 60);

/* The bytes of the segment at the place that was told. */
static bool
file_has(const struct strata_location *location, char byte, size_t size)
{
	int fd = open(file_path(location->segment), O_RDONLY);
	char *bytes = malloc(size);
	bool same;

	cr_assert_geq(fd, 0, "no segment %s", location->segment);
	cr_assert_eq(pread(fd, bytes, size, (off_t)location->offset),
		     (ssize_t)size);
	close(fd);
	same = bytes[0] == byte && memcmp(bytes, bytes + 1, size - 1) == 0;
	free(bytes);
	return same;
}

static void
expect_at(uint32_t dimension, uint32_t layer, char byte, size_t size,
	  struct strata_location *ret)
{
	const struct strata_entry *entry;

	must(strata_read_lock(reader));
	must(strata_find(reader, dimension, layer, &entry));
	must(strata_locate(reader, entry, ret));
	cr_expect(file_has(ret, byte, size), "%u/%u is not at %s + %llu",
		  dimension, layer, ret->segment,
		  (unsigned long long)ret->offset);
	must(strata_read_unlock(reader));
}

Test(inspect, layers_lie_where_it_is_told)
{
	struct strata_location location;

	put(1, 0, 'p', 5000);
	put(1, 1, 'r', 600000);
	must(strata_load(store, file_of("file", 3, 3, 10000), NULL));
	must(strata_refresh(store));
	expect_at(1, 0, 'p', 5000, &location);
	cr_expect_eq(location.in_region, 0);
	cr_expect_eq(location.pool, 1);
	cr_expect_eq(location.nr_blocks, 1);
	cr_expect_geq(location.bytes, 5000);
	expect_at(1, 1, 'r', 600000, &location);
	cr_expect_eq(location.pool, 3);
	cr_expect_gt(location.nr_blocks, 1);
	expect_at(3, 2, 'c', 10000, &location);
	cr_expect_eq(location.in_region, 1);
	cr_expect_eq(location.bytes, 10000);
}

Test(inspect, what_is_no_place_is_told)
{
	struct strata_entry nonsense = {.content = 12345, .size = 1};
	struct strata_location location;

	expect_error(strata_locate(reader, &nonsense, &location),
		     STRATA_EINVAL, "outside");
	must(strata_read_lock(reader));
	expect_error(strata_locate(reader, &nonsense, &location),
		     STRATA_ECORRUPT, "no place");
	nonsense.flags = STRATA_ENTRY_REGION;
	expect_error(strata_locate(reader, &nonsense, &location),
		     STRATA_ECORRUPT, "no place");
	expect_error(strata_locate(reader, NULL, &location), STRATA_EINVAL, "");
	must(strata_read_unlock(reader));
}

/**** regions and retired blocks ****/

struct seen {
	struct strata_region_info regions[8];
	struct strata_retired_info retired[64];
	size_t nr_regions, nr_retired;
	uint64_t retired_bytes;
};

static int
see_region(const struct strata_region_info *info, void *arg)
{
	struct seen *seen = arg;

	seen->regions[seen->nr_regions++] = *info;
	return 0;
}

static int
see_retired(const struct strata_retired_info *info, void *arg)
{
	struct seen *seen = arg;

	seen->retired[seen->nr_retired++] = *info;
	seen->retired_bytes += info->location.bytes;
	return 0;
}

static struct seen
see(void)
{
	struct seen seen = {.nr_regions = 0};

	must(strata_foreach_region(store, see_region, &seen));
	must(strata_foreach_retired(store, see_retired, &seen));
	return seen;
}

Test(inspect, regions_and_what_is_retired)
{
	struct seen seen;
	uint64_t version;

	must(strata_load(store, file_of("file", 3, 3, 10000), NULL));
	seen = see();
	cr_assert_eq(seen.nr_regions, 1);
	cr_expect_eq(seen.regions[0].dimension, 3);
	cr_expect_eq(seen.regions[0].life, STRATA_LIFE_LIVE);
	cr_expect_eq(seen.regions[0].birth, strata_version(store));
	cr_expect_eq(seen.regions[0].retirement, 0);
	cr_expect_eq(access(file_path(seen.regions[0].segment), F_OK), 0);

	/* A reader stays: all that is replaced now is kept for it. */
	put(1, 0, 'a', 5000);
	must(strata_refresh(store));
	must(strata_read_lock(reader));
	put(1, 0, 'b', 5000);
	version = strata_version(store);
	must(strata_unload(store, 3, /* forget= */ false));
	seen = see();
	cr_assert_eq(seen.nr_regions, 1);
	cr_expect_eq(seen.regions[0].life, STRATA_LIFE_RETIRED);
	cr_expect_eq(seen.regions[0].retirement, version + 1);
	cr_expect_gt(seen.nr_retired, 1);
	cr_expect_eq(seen.retired_bytes + seen.regions[0].bytes,
		     stats_now().retired);
	for (size_t i = 0; i < seen.nr_retired; i++)
		cr_expect_lt(seen.retired[i].birth, seen.retired[i].retirement);
	must(strata_read_unlock(reader));
	must(strata_gc(store, NULL));
	seen = see();
	cr_expect_eq(seen.nr_regions + seen.nr_retired, 0);
}

static int
stop(const struct strata_region_info *info, void *arg)
{
	(void)info;
	(void)arg;
	return 42;
}

Test(inspect, the_walk_ends_when_told)
{
	must(strata_load(store, file_of("file", 3, 3, 10000), NULL));
	cr_expect_eq(strata_foreach_region(store, stop, NULL), 42);
	expect_error(strata_foreach_region(NULL, stop, NULL), STRATA_EINVAL,
		     "");
	expect_error(strata_foreach_retired(NULL, NULL, NULL), STRATA_EINVAL,
		     "");
}

/**** whose commits were ****/

struct commits {
	struct strata_commit_info infos[2 * STRATA_AUTHORS];
	size_t nr;
};

static int
commits_add(const struct strata_commit_info *info, void *arg)
{
	struct commits *commits = arg;

	cr_assert_lt(commits->nr, 2 * STRATA_AUTHORS);
	commits->infos[commits->nr++] = *info;
	return 0;
}

static struct commits
commits_after(uint64_t version)
{
	struct commits commits = {.nr = 0};

	must(strata_foreach_commit(store, version, commits_add, &commits));
	return commits;
}

static int
commits_end(const struct strata_commit_info *info, void *arg)
{
	(void)arg;
	return info->version == 3 ? 77 : 0;
}

Test(inspect, commits_are_told_with_their_writer)
{
	struct commits commits = commits_after(0);
	uint64_t before = strata__os_realtime_ns();

	cr_expect_eq(commits.nr, 0, "what create made is nobody's commit");
	for (uint32_t i = 0; i < 4; i++)
		put(1, i, 'a', 100);
	commits = commits_after(0);
	cr_assert_eq(commits.nr, 4);
	for (size_t i = 0; i < 4; i++) {
		const struct strata_commit_info *info = &commits.infos[i];

		cr_expect_eq(info->version, 2 + i);
		cr_expect_eq(info->pid, (uint32_t)getpid());
		cr_expect_eq(info->uid, geteuid());
		cr_expect_neq(info->pid_namespace, 0);
		cr_expect_str_eq(info->name, program_invocation_short_name);
		cr_expect_geq(info->time_ns + UINT64_C(100000000), before);
	}
	commits = commits_after(4);
	cr_assert_eq(commits.nr, 1);
	cr_expect_eq(commits.infos[0].version, 5);
	cr_expect_eq(commits_after(5).nr, 0);
	cr_expect_eq(commits_after(UINT64_MAX).nr, 0);
	cr_expect_eq(strata_foreach_commit(store, 0, commits_end, NULL), 77);
	expect_error(strata_foreach_commit(NULL, 0, commits_end, NULL),
		     STRATA_EINVAL, "no store");
}

Test(inspect, of_many_commits_the_last_ones_are_told)
{
	struct commits commits;

	for (uint32_t i = 0; i < STRATA_AUTHORS + 9; i++)
		put(1, 0, 'a', 100);
	commits = commits_after(0);
	cr_assert_eq(commits.nr, STRATA_AUTHORS);
	for (size_t i = 0; i < STRATA_AUTHORS; i++)
		cr_expect_eq(commits.infos[i].version,
			     strata_version(store) - STRATA_AUTHORS + 1 + i);
}

/* What stands in the ring is anybody's word: names without an end, versions to
 * come, half an entry of a writer that died. */
Test(inspect, commits_that_nobody_vouches_for_are_left_out)
{
	uint64_t nothing = 0, later = 2 + STRATA_AUTHORS;
	struct commits commits;
	char name[32];
	uint64_t at = offsetof(struct strata__catalog, authors);
	uint64_t size = sizeof(struct strata__author);

	for (uint32_t i = 0; i < 3; i++)
		put(1, 0, 'a', 100);
	memset(name, 'x', sizeof(name));
	patch("strata." STORE, at + 2 * size, &later, sizeof(later));
	patch("strata." STORE, at + 3 * size, &nothing, sizeof(nothing));
	patch("strata." STORE,
	      at + 4 * size + offsetof(struct strata__author, name), name,
	      sizeof(name));
	commits = commits_after(0);
	cr_assert_eq(commits.nr, 1);
	cr_expect_eq(commits.infos[0].version, 4);
	cr_expect_eq(strlen(commits.infos[0].name), 31);
}
