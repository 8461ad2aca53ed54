/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A store's space without the rest of the store, in a folder of its own. */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "pool.h"

#define SHM    "/dev/shm"
#define FOLDER "strata-test-" /* then the process's number, and six letters */

static void
need(bool held, const char *what)
{
	if (held)
		return;
	fprintf(stderr, "fixture: %s: %s\n", what,
		strata_last_error()->sentence);
	abort();
}

/**** segments ****/

static void *
map_segment(struct strata__space *space, const char *name, uint64_t size,
	    int *ret_fd)
{
	void *at;
	int fd;

	need(strata__segment_build(&space->folder, size, 0600, (uint32_t)-1,
				   &fd) == 0,
	     "build");
	need(strata__segment_publish(&space->folder, fd, name) == 0, "publish");
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(at != MAP_FAILED, "map");
	*ret_fd = fd;
	return at;
}

static void
make_catalog(struct strata__space *space, struct strata__geometry *geometry)
{
	char name[STRATA_SEGMENT_NAME];
	struct strata__counters *counters;
	int fd;

	strata__segment_name_catalog(name, geometry->name);
	space->catalog = map_segment(space, name, geometry->catalog_size, &fd);
	space->catalog_fd = fd;
	space->catalog->geometry = *geometry;
	space->geometry = &space->catalog->geometry;
	counters = &space->catalog->counters;
	strata__count_set(&counters->limit, geometry->first_limit);
	strata__count_set(&counters->reserved,
			  geometry->catalog_size + geometry->lock_size);
	strata__count_set(&counters->next_generation, 1);
	strata__head_stamp(&space->catalog->head, STRATA_KIND_CATALOG, 0,
			   &space->id, 1, geometry->catalog_size);
}

static void
make_lock(struct strata__space *space)
{
	char name[STRATA_SEGMENT_NAME];
	uint64_t size = space->geometry->lock_size;

	strata__segment_name_lock(name, &space->id);
	space->lock = map_segment(space, name, size, &space->lock_fd);
	strata__head_stamp(&space->lock->head, STRATA_KIND_LOCK, 0, &space->id,
			   1, size);
}

static void
make_window(struct strata__space *space)
{
	space->window =
		mmap(NULL, space->geometry->window_size, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	need(space->window != MAP_FAILED, "window");
	need(mprotect(space->window, STRATA_PAGE, PROT_READ) == 0, "page 0");
}

static void
map_pools(struct strata__space *space)
{
	const struct strata__class *class_;
	uint32_t c;

	for (c = 0; c < space->geometry->nr_classes; c++) {
		class_ = &space->geometry->classes[c];
		need(mmap(space->window + class_->place, class_->map_size,
			  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			  space->pool_fd[c], 0) != MAP_FAILED,
		     "map pool");
		space->populated[c] =
			calloc(class_->map_size / STRATA_POOL_STEP / 64 + 1,
			       sizeof(uint64_t));
		need(space->populated[c] != NULL, "memory");
	}
	space->lines = calloc(space->geometry->classes[0].nr_blocks,
			      sizeof(*space->lines));
	need(space->lines != NULL, "memory");
}

/**** folders ****/

static void
remove_folder(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' ||
		    strlen(entry->d_name) > strlen(".."))
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(path);
}

/* The process that made a folder of that name; 0: it is none of ours. */
static pid_t
folder_maker(const char *name)
{
	int end = 0;
	pid_t pid = 0;

	if (sscanf(name, FOLDER "%d-%n", &pid, &end) != 1 || end == 0 ||
	    pid <= 0)
		return 0;
	return pid;
}

/* A test that fails leaves its folder, and with it some MiB of memory: the next
 * one to come removes it. */
static void
remove_folders_of_the_dead(void)
{
	DIR *dir = opendir(SHM);
	const struct dirent *entry;
	char path[300];
	pid_t maker;

	need(dir != NULL, "opendir " SHM);
	while ((entry = readdir(dir)) != NULL) {
		maker = folder_maker(entry->d_name);
		if (maker == 0 || kill(maker, 0) == 0 || errno != ESRCH)
			continue;
		snprintf(path, sizeof(path), SHM "/%s", entry->d_name);
		remove_folder(path);
	}
	closedir(dir);
}

static void
make_folder(struct strata__space *space)
{
	static bool swept;
	char path[64];

	if (!swept)
		remove_folders_of_the_dead();
	swept = true;
	snprintf(path, sizeof(path), SHM "/" FOLDER "%d-XXXXXX", (int)getpid());
	need(mkdtemp(path) != NULL, "mkdtemp");
	need(setenv("STRATA_SHM_DIR", path, 1) == 0, "setenv");
	need(strata__folder_open(&space->folder) == 0, "folder");
}

/**** the whole ****/

struct strata__space *
fixture_space_config(const struct strata_config *config)
{
	struct strata__space *space = calloc(1, sizeof(*space));
	struct strata__geometry geometry;
	uint32_t c;

	need(space != NULL, "memory");
	memset(&geometry, 0, sizeof(geometry));
	make_folder(space);
	need(strata__geometry_plan(config, &geometry) == 0, "geometry");
	strcpy(geometry.name, "fixture");
	geometry.owner = geteuid();
	geometry.group = (uint32_t)-1;
	geometry.mode = 0600;
	need(strata__os_random(&space->id, sizeof(space->id)) == 0, "random");
	space->writable = true;
	space->trusted_uid = STRATA_TRUST_NOBODY;
	for (c = 0; c < STRATA_CLASSES_MAX; c++)
		space->pool_fd[c] = -1;
	pthread_mutex_init(&space->map_mutex, NULL);
	make_catalog(space, &geometry);
	make_lock(space);
	make_window(space);
	need(strata__pool_create(space, 0600, (uint32_t)-1) == 0, "pools");
	map_pools(space);
	return space;
}

struct strata__space *
fixture_space(uint64_t limit)
{
	struct strata_config config;

	memset(&config, 0, sizeof(config));
	config.struct_size = sizeof(config);
	config.limit = limit;
	return fixture_space_config(&config);
}

void
fixture_space_free(struct strata__space *space)
{
	struct strata__geometry geometry;
	uint32_t c;

	if (space == NULL)
		return;
	geometry = *space->geometry;
	for (c = 0; c < geometry.nr_classes; c++) {
		close(space->pool_fd[c]);
		free(space->populated[c]);
	}
	free(space->lines);
	strata__mappings_fini(space);
	munmap(space->window, geometry.window_size);
	munmap(space->lock, geometry.lock_size);
	munmap(space->catalog, geometry.catalog_size);
	close(space->lock_fd);
	close(space->catalog_fd);
	pthread_mutex_destroy(&space->map_mutex);
	remove_folder(space->folder.path);
	strata__folder_close(&space->folder);
	free(space);
}

/**** what the tests of several rooms want ****/

void
fixture_corrupt_hints(struct strata__space *space)
{
	struct strata__class_counters *counters;
	uint32_t c;

	for (c = 0; c < space->geometry->nr_classes; c++) {
		memset(strata__free_stack(space, c), 0xa5,
		       space->geometry->classes[c].nr_blocks *
			       sizeof(uint32_t));
		counters = &space->catalog->counters.classes[c];
		strata__count_set(&counters->grown, UINT64_MAX);
		strata__count_set(&counters->live, 12345678);
		strata__count_set(&counters->retired, 87654321);
		strata__count_set(&counters->nr_free, UINT64_MAX / 2);
	}
}

bool
fixture_owns(const struct strata__edit *edit, uint64_t ref)
{
	struct strata__block block;

	return strata__block_at(edit->space, ref, &block) &&
	       strata__edit_owns_block(edit, &block);
}
