/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A crystallise that the disk refuses leaves everything as it was. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crystal.h"
#include "fsmodel.h"
#include "proc.h"

static char base[] = "/tmp/strata-fails-XXXXXX";
static char directory[64], scratch[64];
static struct strata_store *store;
static uint64_t generation, seed;

/**** what must not change ****/

struct before {
	uint64_t version, region_bytes, file;
	struct strata_dimension dimension;
};

static struct strata_dimension
dimension_now(void)
{
	struct strata_dimension dimension;
	struct strata_reader *reader;

	need(strata_reader_open(store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	need(strata_dimension_get(reader, CRYSTAL, &dimension) == 0, "get");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	return dimension;
}

static void
take(struct before *ret)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};

	need(strata_gc(store, NULL) == 0 ||
		     strata_last_error()->code == STRATA_ENOTSUP,
	     "gc");
	need(strata_stats(store, &stats) == 0, "stats");
	memset(ret, 0, sizeof(*ret));
	ret->version = stats.version;
	ret->region_bytes = stats.region_bytes;
	ret->file = crystal_read(directory, CRYSTAL);
	ret->dimension = dimension_now();
}

static void
expect_as_before(const struct before *before, const char *when,
		 bool file_is_new)
{
	struct strata_verify_report report;
	struct before now;

	/* First: taking collects garbage. */
	need(crystal_temporaries(directory) == 0, "%s: a temporary file is left",
	     when);
	take(&now);
	need(now.version == before->version, "%s: a version was made", when);
	need(now.region_bytes == before->region_bytes,
	     "%s: %llu bytes of regions, there were %llu", when,
	     (unsigned long long)now.region_bytes,
	     (unsigned long long)before->region_bytes);
	need(now.dimension.state == before->dimension.state &&
		     now.dimension.version == before->dimension.version,
	     "%s: the dimension changed", when);
	need(now.file == before->file || (file_is_new && now.file == generation),
	     "%s: the file is of generation %lld", when, (long long)now.file);
	need(crystal_see(store, CRYSTAL) == generation, "%s: contents", when);
	need(strata_verify(store, 0, NULL, NULL, &report) == 0 &&
		     report.errors == 0,
	     "%s: %s", when, report.first);
}

static void
expect_crystallized(const char *when)
{
	struct stat st;
	char path[128];

	need(dimension_now().state == STRATA_DIMENSION_CRYSTALLIZED, "%s",
	     when);
	need(crystal_read(directory, CRYSTAL) == generation,
	     "%s: the file is another one", when);
	need(crystal_temporaries(directory) == 0, "%s: a temporary file is left",
	     when);
	need(strata_file_path(directory, CRYSTAL, path, sizeof(path)) == 0 &&
		     stat(path, &st) == 0,
	     "stat");
	need((st.st_mode & 07777) == 0640, "%s: mode 0%o", when, st.st_mode);
	need(geteuid() != 0 || st.st_gid == 54321, "%s: group %u", when,
	     st.st_gid);
}

/**** each call fails in turn ****/

static unsigned nr_states;

/* When all was done, nothing is lost any more. */
static void
expect_kept(const struct fs_state *state, void *arg)
{
	const struct fs_record *record = arg;
	char name[32];
	unsigned i;

	if (state->nr_ops != record->nr_ops)
		return;
	snprintf(name, sizeof(name), "D%02u.strata", CRYSTAL);
	for (i = 0; i < state->nr; i++)
		if (strcmp(state->files[i].name, name) == 0)
			break;
	need(i < state->nr, "what was acknowledged may be gone");
	fs_write(state, scratch);
	need(crystal_read(scratch, CRYSTAL) == generation,
	     "what was acknowledged may be lost");
	fs_empty(scratch);
	nr_states++;
}

static bool
says(const char *words)
{
	return strstr(strata_last_error()->sentence, words) != NULL;
}

static void
expect_told(int code, int err, const char *call, uint64_t size)
{
	bool in_place = strcmp(call, "sync of the folder") == 0;

	need(code == -err, "a failed %s gives %d, not %d", call, code, -err);
	need(strata_last_error()->dimension == CRYSTAL, "the dimension");
	need(in_place ? says("is in its place")
		      : says("D07.strata") || says(directory),
	     "a failed %s: it does not say of which file", call);
	/* No disk is too full to be looked at. */
	if (in_place || says("cannot open") || says("cannot read") ||
	    (err != ENOSPC && err != EDQUOT))
		return;
	need(strata_last_error()->requested >= size && says("free") &&
		     says("make room"),
	     "a failed %s: it does not say what to do", call);
}

/* False: there is no call with that number. */
static bool
one_failure(unsigned number, int err, unsigned *refused, unsigned *done)
{
	struct fs_record *record = calloc(1, sizeof(*record));
	struct before before;
	const char *call;
	char when[80];
	int code;

	crystal_put(store, CRYSTAL, ++generation);
	take(&before);
	fs_begin(directory, record);
	fs_fail(number, err);
	code = strata_crystallize(store, CRYSTAL);
	call = fs_failed();
	fs_end();
	snprintf(when, sizeof(when), "call %u, %s, fails with %d", number,
		 call != NULL ? call : "none", err);
	need(fs_is_complete(record, directory), "%s: the record", when);
	if (code == 0) {
		/* To try a second time is to be told that all is well. */
		need(call == NULL || err == EINTR || err == FS_SHORT,
		     "%s: it was done all the same", when);
		expect_crystallized(when);
		fs_each_state(record, seed, expect_kept, record);
		++*done;
	} else {
		need(call != NULL, "crystallise: %d", code);
		expect_told(code, err, call, before.dimension.content_bytes);
		expect_as_before(&before, when,
				 strcmp(call, "sync of the folder") == 0);
		need(strata_crystallize(store, CRYSTAL) == 0, "%s: again",
		     when);
		expect_crystallized(when);
		++*refused;
	}
	fs_free(record);
	free(record);
	return call != NULL;
}

static void
each_failure(int err, const char *what)
{
	unsigned refused = 0, done = 0, number = 1;

	while (one_failure(number, err, &refused, &done))
		number++;
	printf("%s at each of %u calls: refused %u times, done %u times\n",
	       what, number - 1, refused, done);
	need(number > 8, "there are more calls than that");
	need(err == FS_SHORT || refused > 0, "%s is not refused", what);
	need(err != FS_SHORT || refused == 0, "%s is refused", what);
}

/**** a disk that is full ****/

/* In a mount namespace of its own. */
static bool
disk_mount(void)
{
	if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
		return false;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("strata", directory, "tmpfs", 0, "size=1000k") == 0;
}

static void
create(const char *name, uint32_t mode, const char *group)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = 32 << 20,
				       .mode = mode,
				       .group = group,
				       .directory = directory};

	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
}

static void
finish(const char *name)
{
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

static void
full_disk(struct proc *parent, void *arg)
{
	struct before before;

	(void)arg;
	if (!disk_mount()) {
		proc_say(parent, 's');
		return;
	}
	create("full", 0640, NULL);
	generation = 1;
	crystal_put(store, CRYSTAL, generation);
	need(strata_crystallize(store, CRYSTAL) == 0, "there is room for one");
	crystal_put(store, CRYSTAL, ++generation);
	take(&before);
	need(strata_crystallize(store, CRYSTAL) == -ENOSPC, "a full disk");
	expect_told(-ENOSPC, ENOSPC, "write",
		    before.dimension.content_bytes);
	printf("a disk that is full: %s\n", strata_last_error()->sentence);
	expect_as_before(&before, "a full disk", false);
	need(mount("strata", directory, "tmpfs", MS_REMOUNT, "size=4m") == 0,
	     "remount: %s", strerror(errno));
	need(strata_crystallize(store, CRYSTAL) == 0, "there is room again");
	need(crystal_read(directory, CRYSTAL) == generation, "the file");
	finish("full");
	proc_say(parent, 'd');
}

static void
try_full_disk(void)
{
	struct proc child;
	char word = 0;

	proc_start(&child, full_disk, NULL);
	need(read(child.in, &word, 1) == 1, "the child has died");
	proc_join(&child);
	if (word == 's')
		printf("a disk that is full: not tried, no file system may be "
		       "mounted here (%s)\n",
		       strerror(errno));
}

int
main(void)
{
	shm_begin();
	seed = test_seed();
	need(mkdtemp(base) != NULL, "mkdtemp: %s", strerror(errno));
	snprintf(directory, sizeof(directory), "%s/directory", base);
	snprintf(scratch, sizeof(scratch), "%s/scratch", base);
	need(mkdir(directory, 0700) == 0 && mkdir(scratch, 0700) == 0,
	     "mkdir: %s", strerror(errno));
	umask(077);
	try_full_disk();
	generation = 0;
	create("fails", 0640, geteuid() == 0 ? "54321" : NULL);
	each_failure(ENOSPC, "a full disk");
	each_failure(EDQUOT, "a quota");
	each_failure(EIO, "a broken disk");
	each_failure(EINTR, "a signal");
	each_failure(FS_SHORT, "a short write");
	printf("%u states after what was done: nothing was lost\n", nr_states);
	finish("fails");
	fs_empty(directory);
	rmdir(directory);
	rmdir(scratch);
	need(rmdir(base) == 0, "rmdir %s: %s", base, strerror(errno));
	shm_end();
	return 0;
}
