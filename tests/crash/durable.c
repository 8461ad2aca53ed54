/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Wherever the power goes, a dimension's file is the old or the new one, whole;
 * and what was acknowledged is the new one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crystal.h"
#include "fsmodel.h"
#include "proc.h"
#include "testpoint.h"

/*
 * The system calls of a crystallise are recorded. After each of them the power
 * is lost: each state that a file system may have then is written to a folder,
 * and loaded from there as `load --core` does; some also by the tool itself.
 */

#define OTHER 3 /* a dimension that nothing is done to */

static char base[] = "/tmp/strata-durable-XXXXXX";
static char directory[64], scratch[64], sample[64];
static struct strata_store *store;
static uint64_t seed;

/**** scenarios ****/

/* Generations: 1 is the old one, 2 the new one; 0: no dimension. */
struct scenario {
	const char *name;
	void (*prepare)(void);
	void (*run)(void); /* recorded; leaves when it is acknowledged */
	uint64_t old, new;
};

static void
crystallize(void)
{
	need(strata_crystallize(store, CRYSTAL) == 0, "crystallise");
}

static void
put_new(void)
{
	crystal_put(store, CRYSTAL, 2);
}

static void
make_old(void)
{
	crystal_put(store, CRYSTAL, 1);
	crystallize();
	put_new();
}

/* Also what a killed writer left. */
static void
make_leftover(void)
{
	char path[128];
	int fd;

	make_old();
	snprintf(path, sizeof(path),
		 "%s/.D%02u.strata.0123456789abcdef.tmp", directory, CRYSTAL);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	need(fd >= 0 && write(fd, "half", 4) == 4, "%s", path);
	close(fd);
}

/* The region is of the new generation, the file of the old one. */
static void
load_elsewhere(void)
{
	char path[128], away[128];

	make_old();
	crystallize();
	need(strata_file_path(directory, CRYSTAL, path, sizeof(path)) == 0,
	     "path");
	snprintf(away, sizeof(away), "%s/away", base);
	need(rename(path, away) == 0, "rename");
	need(strata_unload(store, CRYSTAL, 0) == 0, "unload");
	crystal_put(store, CRYSTAL, 1);
	crystallize();
	need(strata_reload(store, CRYSTAL, away) == 0, "reload");
	need(unlink(away) == 0, "unlink");
}

/* The folder cannot be synced the first time: that is no success, and the second
 * time there is nothing to build. */
static void
crystallize_twice(void)
{
	fs_fail_call("sync of the folder", 1, EIO);
	need(strata_crystallize(store, CRYSTAL) == -EIO, "acknowledged");
	need(fs_failed() != NULL, "the folder was not synced");
	fs_fail(0, 0);
	crystallize();
}

static void
unload(void)
{
	need(strata_unload(store, CRYSTAL, /* forget= */ 1) == 0, "unload");
}

/* As pack does, over a file that is there. */
static void
pack(void)
{
	crystal_pack(directory, CRYSTAL, 2);
}

static const struct scenario scenarios[] = {
	{"a first crystallise", put_new, crystallize, 0, 2},
	{"a second crystallise", make_old, crystallize, 1, 2},
	{"one after a killed one", make_leftover, crystallize, 1, 2},
	{"one of what was loaded from elsewhere", load_elsewhere, crystallize,
	 1, 2},
	{"one after a folder that could not be synced", load_elsewhere,
	 crystallize_twice, 1, 2},
	{"unload --forget", make_old, unload, 1, 0},
	{"a file that is packed", make_old, pack, 1, 2},
};
#define NR_SCENARIOS (sizeof(scenarios) / sizeof(*scenarios))

/**** the judge ****/

struct judge {
	const struct scenario *scenario;
	struct strata_store *scratch;
	unsigned nr_ops;
	unsigned states, olds, news, violations, samples;
	char first[400]; /* violation */
};

/* What `load --core` finds of a dimension: its generation, 0: nothing; or what
 * is wrong, as CRYSTAL_BROKEN. */
static uint64_t
load(struct strata_store *into, uint32_t dimension)
{
	uint64_t generation;
	char path[128];
	int code;

	need(strata_file_path(scratch, dimension, path, sizeof(path)) == 0,
	     "path");
	if (access(path, F_OK) != 0)
		return 0;
	code = strata_load(into, path, NULL);
	if (code != 0)
		return CRYSTAL_BROKEN;
	generation = crystal_see(into, dimension);
	need(strata_unload(into, dimension, 0) == 0, "unload");
	return generation;
}

static int
run_tool(const char *arguments)
{
	const char *builddir = getenv("top_builddir");
	char command[1024];

	snprintf(command, sizeof(command),
		 "LD_LIBRARY_PATH='%s/lib/.libs' '%s/tools/.libs/strata' %s "
		 ">'%s/out' 2>&1",
		 builddir, builddir, arguments, base);
	return system(command);
}

static bool
have_tool(void)
{
	const char *builddir = getenv("top_builddir");
	char path[512];

	if (builddir == NULL)
		return false;
	snprintf(path, sizeof(path), "%s/tools/.libs/strata", builddir);
	return access(path, X_OK) == 0;
}

/* The whole way: a new store, and `strata load --core` from that folder. What
 * was half-written is cleared away by the next crystallise. */
static void
try_tool(const struct fs_state *state, uint64_t expected)
{
	char arguments[256];
	struct strata_store *loaded;

	fs_write(state, sample);
	snprintf(arguments, sizeof(arguments),
		 "create sample --limit=24M --adopt --dir='%s'", sample);
	need(run_tool(arguments) == 0, "strata %s", arguments);
	need(run_tool("load sample --core") == 0, "strata load sample --core");
	need(run_tool("verify sample") == 0, "strata verify sample");
	need(strata_attach("sample", STRATA_WRITE, &loaded) == 0, "attach");
	need(crystal_see(loaded, CRYSTAL) == expected,
	     "the tool finds another generation");
	need(crystal_see(loaded, OTHER) == 1, "the tool does not find %d",
	     OTHER);
	crystal_put(loaded, CRYSTAL, 3);
	need(strata_crystallize(loaded, CRYSTAL) == 0, "crystallise");
	need(crystal_temporaries(sample) == 0, "a temporary file is left");
	need(strata_detach(loaded) == 0, "detach");
	need(run_tool("destroy sample") == 0, "strata destroy sample");
	fs_empty(sample);
}

static void
violation(struct judge *judge, const struct fs_state *state, uint64_t found)
{
	if (judge->violations++ != 0)
		return;
	snprintf(judge->first, sizeof(judge->first),
		 "after %u of %u operations generation %lld of the dimension "
		 "may be found, not %llu%s",
		 state->nr_ops, judge->nr_ops, (long long)found,
		 (unsigned long long)judge->scenario->new,
		 state->nr_ops < judge->nr_ops ? " nor the old one" : "");
}

static void
judge_state(const struct fs_state *state, void *arg)
{
	struct judge *judge = arg;
	const struct scenario *scenario = judge->scenario;
	bool acknowledged = state->nr_ops == judge->nr_ops;
	uint64_t found;

	judge->states++;
	fs_write(state, scratch);
	need(load(judge->scratch, OTHER) == 1, "dimension %d is lost", OTHER);
	found = load(judge->scratch, CRYSTAL);
	if (found == scenario->new)
		judge->news++;
	else if (found == scenario->old && !acknowledged)
		judge->olds++;
	else
		violation(judge, state, found);
	if (judge->violations == 0 && have_tool() &&
	    (judge->states % 61 == 1 || (acknowledged && judge->samples < 4))) {
		judge->samples++;
		try_tool(state, found);
	}
}

/**** the test ****/

static uint64_t version;

/* Until the last of what is done to files, nobody sees the new region. */
static void
expect_unpublished(const char *point)
{
	need(strncmp(point, "newfile.", 8) != 0 ||
		     strata_version(store) == version,
	     "%s: it is published already", point);
}

static void
record(const struct scenario *scenario, struct fs_record *ret)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = 24 << 20,
				       .directory = directory};
	unsigned broken = strata__broken;

	strata__broken = 0;
	need(strata_create("recorded", &config) == 0, "create");
	need(strata_attach("recorded", STRATA_WRITE, &store) == 0, "attach");
	crystal_put(store, OTHER, 1);
	need(strata_crystallize(store, OTHER) == 0, "crystallise");
	scenario->prepare();
	strata__broken = broken;
	version = strata_version(store);
	strata__testpoint = expect_unpublished;
	fs_begin(directory, ret);
	scenario->run();
	fs_end();
	strata__testpoint = NULL;
	need(fs_is_complete(ret, directory),
	     "%s: the record misses something that was done", scenario->name);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy("recorded") == 0, "destroy");
	fs_empty(directory);
}

static void
examine(const struct scenario *scenario, struct judge *judge)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = 24 << 20};
	struct fs_record *ops = calloc(1, sizeof(*ops));

	memset(judge, 0, sizeof(*judge));
	judge->scenario = scenario;
	record(scenario, ops);
	judge->nr_ops = ops->nr_ops;
	need(strata_create("scratch", &config) == 0, "create");
	need(strata_attach("scratch", STRATA_WRITE, &judge->scratch) == 0,
	     "attach");
	fs_each_state(ops, seed, judge_state, judge);
	need(strata_detach(judge->scratch) == 0, "detach");
	need(strata_destroy("scratch") == 0, "destroy");
	fs_empty(scratch);
	fs_free(ops);
	free(ops);
}

static void
expect_durable(const struct scenario *scenario)
{
	struct judge judge;

	examine(scenario, &judge);
	printf("%s: %u operations, %u states: %u old, %u new, %u tried by the "
	       "tool\n",
	       scenario->name, judge.nr_ops, judge.states, judge.olds,
	       judge.news, judge.samples);
	need(judge.violations == 0, "%s: %u states are wrong; the first: %s",
	     scenario->name, judge.violations, judge.first);
	need(judge.news > 0, "%s: it never becomes the new one",
	     scenario->name);
	need(judge.olds > 0, "%s: it never is the old one", scenario->name);
}

/* Without a safeguard the judge finds something. */
static void
expect_noticed(const char *what, unsigned broken)
{
	struct judge judge;

	strata__broken = broken;
	examine(&scenarios[1], &judge);
	strata__broken = 0;
	printf("without %s: %u of %u states are wrong; the first: %s\n", what,
	       judge.violations, judge.states, judge.first);
	need(judge.violations > 0, "nobody notices that there is no %s", what);
}

static void
folder_make(char *path, const char *name)
{
	snprintf(path, 64, "%s/%s", base, name);
	need(mkdir(path, 0700) == 0, "mkdir %s: %s", path, strerror(errno));
}

int
main(void)
{
	shm_begin();
	seed = test_seed();
	need(mkdtemp(base) != NULL, "mkdtemp: %s", strerror(errno));
	folder_make(directory, "directory");
	folder_make(scratch, "scratch");
	folder_make(sample, "sample");
	if (!have_tool())
		printf("the tool is not there: the library alone is tried\n");
	for (unsigned i = 0; i < NR_SCENARIOS; i++)
		expect_durable(&scenarios[i]);
	expect_noticed("the sync of the file", STRATA_NO_FILE_SYNC);
	expect_noticed("the sync of the folder", STRATA_NO_FOLDER_SYNC);
	rmdir(directory);
	rmdir(scratch);
	rmdir(sample);
	fs_empty(base);
	need(rmdir(base) == 0, "rmdir %s: %s", base, strerror(errno));
	shm_end();
	return 0;
}
