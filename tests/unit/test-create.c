/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Stores appear whole or not at all; the list of them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"
#include "folder.h"
#include "space.h"
#include "testpoint.h"

#define MIB UINT64_C(0x100000)

static char dir_path[96];

static void
setup(void)
{
	folder_setup();
	snprintf(dir_path, sizeof(dir_path), "%s-dir", folder_path);
}

static void
teardown(void)
{
	char file[128];

	snprintf(file, sizeof(file), "%s/store", dir_path);
	unlink(file);
	rmdir(dir_path);
	folder_teardown();
}

TestSuite(create, .init = setup, .fini = teardown, .timeout = 30);

static struct strata_config
small(void)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = 16 * MIB};

	return config;
}

static void
expect_created(const char *name, const struct strata_config *config)
{
	cr_assert_eq(strata_create(name, config), 0, "%s",
		     strata_last_error()->sentence);
}

Test(create, makes_an_empty_store)
{
	const struct strata_config config = small();
	struct strata__space space;
	struct strata__counters *counters;

	expect_created("unit", &config);
	cr_assert_eq(strata__space_open("unit", STRATA_WRITE, &space), 0, "%s",
		     strata_last_error()->sentence);
	counters = &space.catalog->counters;
	cr_expect_eq(atomic_load(&space.catalog->hot.version), 1);
	cr_expect_eq(atomic_load(&space.catalog->hot.roots[1]), 0);
	cr_expect_eq(strata__count(&counters->limit), 16 * MIB);
	cr_expect_eq(strata__count(&counters->next_generation), 1);
	cr_expect_eq(strata__count(&counters->reserved), bytes_of_files(),
		     "reserved is what is really taken");
	cr_expect_geq(strata__count(&counters->classes[0].grown),
		      STRATA_NODE_RESERVE);
	cr_expect_str_eq(space.catalog->directory, "");
	strata__space_close(&space);
}

Test(create, takes_defaults_for_everything)
{
	struct strata__space space;

	expect_created("unit", NULL);
	cr_assert_eq(strata__space_open("unit", STRATA_READ, &space), 0);
	cr_expect_eq(space.geometry->first_limit, STRATA_LIMIT_DEFAULT);
	cr_expect_eq(space.geometry->mode, 0600);
	cr_expect_eq(space.geometry->owner, geteuid());
	cr_expect_lt(bytes_of_files(), 8 * MIB, "a few MiB");
	strata__space_close(&space);
}

static uint32_t
mode_of(const char *file)
{
	struct stat st;

	cr_assert_eq(fstatat(folder.fd, file, &st, 0), 0, "%s", file);
	return st.st_mode & 07777;
}

Test(create, modes_are_those_that_are_wanted)
{
	struct strata_config config = small();
	char file[STRATA_SEGMENT_NAME];
	struct strata__space space;

	umask(077);
	config.mode = 0644;
	expect_created("unit", &config);
	cr_assert_eq(strata__space_open("unit", STRATA_READ, &space), 0);
	cr_expect_eq(mode_of("strata.unit"), 0644);
	strata__segment_name_pool(file, &space.id, 1);
	cr_expect_eq(mode_of(file), 0644);
	strata__segment_name_pins(file, &space.id, geteuid(), 0);
	cr_expect_eq(mode_of(file), 0644, "writers may look at it");
	strata__segment_name_lock(file, &space.id);
	cr_expect_eq(mode_of(file), 0600, "readers cannot open it");
	strata__space_close(&space);

	config.mode = 0660;
	expect_created("group", &config);
	cr_assert_eq(strata__space_open("group", STRATA_WRITE, &space), 0, "%s",
		     strata_last_error()->sentence);
	strata__segment_name_lock(file, &space.id);
	cr_expect_eq(mode_of(file), 0660);
	strata__segment_name_pins(file, &space.id, geteuid(), 0);
	cr_expect_eq(mode_of(file), 0640);
	strata__space_close(&space);
}

Test(create, refuses_what_makes_no_sense)
{
	struct strata_config config = small();

	cr_expect_eq(strata_create("a b", NULL), STRATA_ENAME);
	cr_expect_eq(strata_create(NULL, NULL), STRATA_ENAME);
	config.mode = 0666;
	cr_expect_eq(strata_create("unit", &config), STRATA_EINVAL);
	config.mode = 0400;
	cr_expect_eq(strata_create("unit", &config), STRATA_EINVAL);
	config.mode = 0700;
	cr_expect_eq(strata_create("unit", &config), STRATA_EINVAL);
	config = small();
	config.group = "no such group";
	cr_expect_eq(strata_create("unit", &config), STRATA_EINVAL);
	config.group = "-1";
	cr_expect_eq(strata_create("unit", &config), STRATA_EINVAL);
	config = small();
	config.huge_pages = (enum strata_huge_pages)7;
	cr_expect_eq(strata_create("unit", &config), STRATA_EINVAL);
	config = small();
	config.directory = "";
	cr_expect_eq(strata_create("unit", &config), STRATA_EINVAL);
	config = small();
	config.limit = 1;
	cr_expect_eq(strata_create("unit", &config), STRATA_EINVAL);
	cr_expect_eq(folder_files(false), 0);
}

Test(create, knows_older_and_newer_callers)
{
	struct {
		struct strata_config config;
		uint64_t newer;
	} larger = {.newer = 0};
	struct strata_config config = small();

	larger.config = small();
	larger.config.struct_size = sizeof(larger);
	expect_created("newer", &larger.config);
	larger.newer = 1;
	cr_expect_eq(strata_create("newest", &larger.config), STRATA_EINVAL);
	config.struct_size = offsetof(struct strata_config, readers);
	config.readers = UINT32_MAX; /* beyond its size: not looked at */
	expect_created("older", &config);
	config = small();
	config.struct_size = 0;
	expect_created("zero", &config);
}

Test(create, takes_a_group_by_name_or_number)
{
	struct strata_config config = small();
	struct stat st;

	if (geteuid() != 0)
		cr_skip("needs root");
	config.group = "daemon";
	config.mode = 0640;
	expect_created("name", &config);
	config.group = "54321";
	expect_created("number", &config);
	cr_assert_eq(fstatat(folder.fd, "strata.number", &st, 0), 0);
	cr_expect_eq(st.st_gid, 54321);
}

Test(create, leaves_an_existing_store_alone)
{
	const struct strata_config config = small();
	unsigned files;

	expect_created("unit", &config);
	files = folder_files(false);
	cr_expect_eq(strata_create("unit", &config), STRATA_EEXIST);
	cr_expect_eq(folder_files(false), files);
	expect_created("unit2", &config);
	cr_expect_eq(folder_files(false), 2 * files);
}

Test(create, does_not_touch_what_it_does_not_know)
{
	const struct strata_config config = small();

	close(openat(folder.fd, "strata.unit", O_CREAT | O_RDWR, 0600));
	cr_expect_eq(strata_create("unit", &config), STRATA_EEXIST);
	cr_expect_eq(folder_files(false), 1);
}

/* As a destroy leaves it that was killed somewhere. */
static void
expect_destruction_finished(const char *part)
{
	const struct strata_config config = small();
	char file[STRATA_SEGMENT_NAME], prefix[64];
	struct strata__space space;
	unsigned files;

	expect_created("unit", &config);
	files = folder_files(false);
	cr_assert_eq(strata__space_open("unit", STRATA_WRITE, &space), 0);
	atomic_fetch_or(&space.catalog->hot.version, STRATA_VERSION_DEAD);
	strata__segment_name_lock(prefix, &space.id);
	prefix[strlen(prefix) - 4] = '\0';
	snprintf(file, sizeof(file), "%s%s", prefix, part);
	strata__space_close(&space);
	if (*part != '\0')
		cr_assert_eq(unlinkat(folder.fd, file, 0), 0);
	expect_created("unit", &config);
	cr_expect_eq(folder_files(false), files, "nothing of the old is left");
	cr_assert_eq(strata__space_open("unit", STRATA_READ, &space), 0);
	strata__space_close(&space);
}

Test(create, finishes_the_destruction_of_a_dead_store)
{
	expect_destruction_finished("");
}

Test(create, finishes_a_destruction_that_was_half_done)
{
	expect_destruction_finished("pool1");
}

Test(create, finishes_a_destruction_without_a_lock)
{
	expect_destruction_finished("lock");
}

/**** failing half-way ****/

static const char *break_at;
static unsigned nr_broken;

/* Takes the name away, which only the last step can find out. */
static void
take_name(const char *point)
{
	if (strcmp(point, break_at) != 0)
		return;
	nr_broken++;
	close(openat(folder.fd, "strata.unit", O_CREAT | O_RDWR, 0600));
}

static void
expect_nothing_left(const struct strata_config *config)
{
	strata__testpoint = take_name;
	cr_expect_eq(strata_create("unit", config), STRATA_EEXIST);
	strata__testpoint = NULL;
	cr_expect_eq(nr_broken, 1);
	cr_expect_eq(folder_files(false), 1, "only what took the name");
}

Test(create, removes_everything_when_the_name_is_taken_meanwhile)
{
	const struct strata_config config = small();

	break_at = "create.pins-published";
	expect_nothing_left(&config);
}

Test(create, gives_a_directory_back)
{
	struct strata_config config = small();
	struct stat st;

	config.directory = dir_path;
	break_at = "directory.written";
	expect_nothing_left(&config);
	cr_expect_eq(stat(dir_path, &st), -1, "it was not there before");
}

static const char *
store_of_directory(void)
{
	static char text[100];
	char file[128];
	FILE *f;

	snprintf(file, sizeof(file), "%s/store", dir_path);
	f = fopen(file, "r");
	memset(text, 0, sizeof(text));
	if (f != NULL) {
		cr_assert_geq(fread(text, 1, sizeof(text) - 1, f), 1);
		fclose(f);
	}
	return text;
}

Test(create, gives_an_adopted_directory_back)
{
	struct strata_config config = small();

	struct stat before, after;
	char file[128];

	config.directory = dir_path;
	config.mode = 0640;
	expect_created("first", &config);
	config.mode = 0;
	folder_files(/* remove= */ true);
	snprintf(file, sizeof(file), "%s/store", dir_path);
	cr_assert_eq(stat(file, &before), 0);
	config.adopt = 1;
	break_at = "directory.written";
	nr_broken = 0;
	strata__testpoint = take_name;
	cr_expect_eq(strata_create("unit", &config), STRATA_EEXIST);
	strata__testpoint = NULL;
	cr_expect_str_eq(store_of_directory(), "first\n");
	cr_assert_eq(stat(file, &after), 0);
	cr_expect_eq(after.st_mode, before.st_mode);
	cr_expect_eq(after.st_gid, before.st_gid);
}

/**** directory ****/

Test(create, makes_the_directory)
{
	struct strata_config config = small();
	struct strata__space space;
	struct stat st;

	umask(077);
	config.directory = dir_path;
	config.mode = 0640;
	expect_created("unit", &config);
	cr_expect_str_eq(store_of_directory(), "unit\n");
	cr_assert_eq(stat(dir_path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0750);
	cr_assert_eq(strata__space_open("unit", STRATA_READ, &space), 0);
	cr_expect_str_eq(space.catalog->directory, dir_path);
	strata__space_close(&space);
}

Test(create, keeps_an_absolute_path)
{
	struct strata_config config = small();
	struct strata__space space;

	cr_assert_eq(chdir("/dev/shm"), 0);
	config.directory = strrchr(dir_path, '/') + 1;
	expect_created("unit", &config);
	cr_assert_eq(strata__space_open("unit", STRATA_READ, &space), 0);
	cr_expect_str_eq(space.catalog->directory, dir_path);
	strata__space_close(&space);
}

Test(create, takes_its_own_or_a_new_directory_only)
{
	struct strata_config config = small();
	char longest[STRATA_STORE_NAME_MAX + 1];

	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	cr_assert_eq(mkdir(dir_path, 0700), 0);
	config.directory = dir_path;
	expect_created(longest, &config);
	folder_files(/* remove= */ true);
	expect_created(longest, &config);
	folder_files(/* remove= */ true);
	cr_expect_eq(strata_create("unit", &config), STRATA_EDIR);
	cr_expect_not_null(strstr(strata_last_error()->sentence, longest));
	cr_expect_eq(folder_files(false), 0);
	config.adopt = 1;
	expect_created("unit", &config);
	cr_expect_str_eq(store_of_directory(), "unit\n");
}

Test(create, refuses_a_directory_that_is_none)
{
	struct strata_config config = small();

	config.directory = "/dev/null";
	cr_expect_eq(strata_create("unit", &config), STRATA_EDIR);
	config.directory = "/nowhere/at/all";
	cr_expect_eq(strata_create("unit", &config), -ENOENT);
	cr_expect_eq(folder_files(false), 0);
}

/**** list ****/

TestSuite(list, .init = setup, .fini = teardown, .timeout = 20);

struct found {
	unsigned nr;
	struct strata_list_entry entries[8];
};

static int
find(const struct strata_list_entry *entry, void *arg)
{
	struct found *found = arg;

	found->entries[found->nr++] = *entry;
	return found->nr == 5 ? 42 : 0;
}

Test(list, tells_stores_in_the_order_of_names)
{
	struct strata_config config = small();
	struct found found = {0};

	cr_expect_eq(strata_list(find, &found), 0);
	cr_expect_eq(found.nr, 0);
	config.mode = 0640;
	expect_created("b", &config);
	expect_created("a", &config);
	close(openat(folder.fd, "strata.junk", O_CREAT | O_RDWR, 0600));
	close(openat(folder.fd, "strata..hidden", O_CREAT | O_RDWR, 0600));
	cr_expect_eq(strata_list(find, &found), 0);
	cr_assert_eq(found.nr, 3);
	cr_expect_str_eq(found.entries[0].name, "a");
	cr_expect_str_eq(found.entries[1].name, "b");
	cr_expect_str_eq(found.entries[2].name, "junk");
	cr_expect_eq(found.entries[0].status, 0);
	cr_expect_eq(found.entries[0].limit, 16 * MIB);
	cr_expect_eq(found.entries[0].version, 1);
	cr_expect_gt(found.entries[0].reserved, 0);
	cr_expect_eq(found.entries[0].mode, 0640);
	cr_expect_eq(found.entries[0].owner, geteuid());
	cr_expect_eq(found.entries[2].status, STRATA_ECORRUPT);
	cr_expect_eq(found.entries[2].limit, 0);
}

Test(list, ends_when_it_is_told)
{
	const struct strata_config config = small();
	struct found found = {.nr = 3};

	expect_created("a", &config);
	expect_created("b", &config);
	expect_created("c", &config);
	cr_expect_eq(strata_list(find, &found), 42);
	cr_expect_eq(found.nr, 5);
	cr_expect_eq(strata_list(NULL, NULL), STRATA_EINVAL);
}

Test(list, tells_the_dead)
{
	const struct strata_config config = small();
	struct strata__space space;
	struct found found = {0};

	expect_created("a", &config);
	cr_assert_eq(strata__space_open("a", STRATA_WRITE, &space), 0);
	atomic_fetch_or(&space.catalog->hot.version, STRATA_VERSION_DEAD);
	strata__space_close(&space);
	cr_expect_eq(strata_list(find, &found), 0);
	cr_expect_eq(found.entries[0].status, STRATA_ENOSTORE);
}
