/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A small store in a folder of the test's own, attached for writing. */
#ifndef STRATA_TEST_ATTACHED_H
#define STRATA_TEST_ATTACHED_H

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "../support/points.h"
#include "../support/proc.h"
#include "folder.h"
#include "store.h"
#include "testpoint.h"

#define KIB   UINT64_C(1024)
#define MIB   (1024 * KIB)
#define STORE "unit"

static struct strata_store *store;
static char dir_path[96];

/* The call fails with that code, and the last error says so in these words. */
#define expect_error(call, expected, words)                                    \
	do {                                                                   \
		int code_ = (call);                                            \
		cr_expect_eq(code_, (expected), "%s gave %d: %s", #call,       \
			     code_, strata_last_error()->sentence);            \
		cr_expect_eq(strata_last_error()->code, (expected),            \
			     "what %s gave is told", #call);                   \
		cr_expect(strstr(strata_last_error()->sentence, (words)) !=    \
				  NULL,                                        \
			  "'%s' is not in: %s", (words),                       \
			  strata_last_error()->sentence);                      \
	} while (0)

/* The call succeeds; without it the test has nothing to say. */
#define must(call)                                                             \
	do {                                                                   \
		int code_ = (call);                                            \
		cr_assert_eq(code_, 0, "%s gave %d: %s", #call, code_,         \
			     strata_last_error()->sentence);                   \
	} while (0)

/**** the store ****/

static inline struct strata_config
store_config(uint64_t limit)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = limit};

	return config;
}

static inline struct strata_store *
store_attach(unsigned flags)
{
	struct strata_store *attached = NULL;

	must(strata_attach(STORE, flags, &attached));
	return attached;
}

static inline void
store_setup_config(const struct strata_config *config)
{
	folder_setup();
	snprintf(dir_path, sizeof(dir_path), "%s-dir", folder_path);
	must(strata_create(STORE, config));
	store = store_attach(STRATA_WRITE);
}

static inline void
store_setup(void)
{
	const struct strata_config config = store_config(16 * MIB);

	store_setup_config(&config);
}

static inline void
store_setup_dir(void)
{
	struct strata_config config = store_config(16 * MIB);
	char path[96];

	folder_setup();
	snprintf(path, sizeof(path), "%s-dir", folder_path);
	snprintf(dir_path, sizeof(dir_path), "%s", path);
	config.directory = path;
	must(strata_create(STORE, &config));
	store = store_attach(STRATA_WRITE);
}

/* Instead of the store of the setup. */
static inline void
store_again(const struct strata_config *config)
{
	must(strata_detach(store));
	must(strata_destroy(STORE));
	must(strata_create(STORE, config));
	store = store_attach(STRATA_WRITE);
}

static inline void
dir_remove(void)
{
	DIR *dir = opendir(dir_path);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(dir_path);
}

static inline void
store_teardown(void)
{
	strata__testpoint = NULL;
	if (store != NULL)
		(void)strata_detach(store);
	store = NULL;
	dir_remove();
	folder_teardown();
}

/**** what is in it ****/

static inline struct strata_txn *
txn_begin(void)
{
	struct strata_txn *txn = NULL;

	must(strata_txn_begin(store, &txn));
	return txn;
}

static inline uint64_t
commit(struct strata_txn *txn)
{
	uint64_t version = 0;

	must(strata_txn_commit(txn, &version));
	return version;
}

/* A content of size equal bytes, in a transaction of its own. */
static inline uint64_t
put(uint32_t dimension, uint32_t layer, char byte, size_t size)
{
	struct strata_txn *txn = txn_begin();
	char *data = malloc(size + 1);

	memset(data, byte, size);
	must(strata_put(txn, dimension, layer, NULL, data, size, 0));
	free(data);
	return commit(txn);
}

static inline void
remove_layer(uint32_t dimension, uint32_t layer)
{
	struct strata_txn *txn = txn_begin();

	must(strata_remove(txn, dimension, layer));
	commit(txn);
}

static inline struct strata_reader *
reader_open(struct strata_store *of)
{
	struct strata_reader *reader = NULL;

	must(strata_reader_open(of, &reader));
	return reader;
}

static inline bool
is_filled(const void *data, char byte, uint64_t size)
{
	const char *bytes = data;

	return size == 0 ||
	       (bytes[0] == byte && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Inside a section: does the layer have a content of size equal bytes? */
static inline bool
reads(struct strata_reader *reader, uint32_t dimension, uint32_t layer,
      char byte, uint64_t size)
{
	const struct strata_entry *entry;

	return strata_find(reader, dimension, layer, &entry) == 0 &&
	       entry->size == size &&
	       is_filled(strata_data(reader, entry), byte, size);
}

/* The same in a section of its own. */
static inline bool
has(uint32_t dimension, uint32_t layer, char byte, uint64_t size)
{
	struct strata_reader *reader = reader_open(store);
	bool is;

	must(strata_read_lock(reader));
	is = reads(reader, dimension, layer, byte, size);
	must(strata_read_unlock(reader));
	must(strata_reader_close(reader));
	return is;
}

/* Of the current version: 0, or the error. */
static inline int
find_layer(uint32_t dimension, uint32_t layer)
{
	struct strata_reader *reader = reader_open(store);
	const struct strata_entry *entry;
	int code;

	must(strata_read_lock(reader));
	code = strata_find(reader, dimension, layer, &entry);
	must(strata_read_unlock(reader));
	must(strata_reader_close(reader));
	return code;
}

/* To be damaged. */
static inline struct strata_entry *
entry_of(uint32_t dimension, uint32_t layer)
{
	struct strata_reader *reader = reader_open(store);
	const struct strata_entry *entry = NULL;

	must(strata_read_lock(reader));
	must(strata_find(reader, dimension, layer, &entry));
	must(strata_read_unlock(reader));
	must(strata_reader_close(reader));
	return (struct strata_entry *)entry;
}

static inline int
find_dimension(uint32_t dimension, struct strata_dimension *ret)
{
	struct strata_reader *reader = reader_open(store);
	int code;

	must(strata_read_lock(reader));
	code = strata_dimension_get(reader, dimension, ret);
	must(strata_read_unlock(reader));
	must(strata_reader_close(reader));
	return code;
}

static inline struct strata_stats
stats_now(void)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};

	must(strata_stats(store, &stats));
	return stats;
}

static inline void
expect_clean(void)
{
	struct strata_verify_report report;

	must(strata_verify(store, /* quick= */ 0, NULL, NULL, &report));
	cr_expect_eq(report.errors, 0, "%s", report.first);
}

/**** files ****/

/* A dimension file of layers 0 to nr - 1, each of size bytes 'a' + layer. */
static inline void
file_make(const char *path, const struct strata_file_info *info, uint32_t nr,
	  size_t size)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	struct strata_file *file;
	char *data = malloc(nr * size + 1);

	must(strata_file_begin(path, 0644, info, &file));
	for (uint32_t i = 0; i < nr; i++) {
		memset(data + i * size, (char)('a' + i), size);
		attrs.frequency = i + 0.5;
		attrs.depth = i;
		attrs.parent = (int32_t)i - 1;
		attrs.name = "layer";
		must(strata_file_add(file, i, &attrs, data + i * size, size));
	}
	must(strata_file_commit(file));
	free(data);
}

static inline const char *
file_path(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder_path, name);
	return path;
}

static inline const char *
region_path(uint64_t generation)
{
	char name[STRATA_SEGMENT_NAME];

	strata__segment_name_region(name, &store->space.id, generation);
	return file_path(name);
}

/* A dimension file, under a name, of a dimension with nothing special. */
static inline const char *
file_of(const char *name, uint32_t dimension, uint32_t nr, size_t size)
{
	struct strata_file_info info;

	memset(&info, 0, sizeof(info));
	info.dimension = dimension;
	info.frequency_max = 100;
	strcpy(info.name, "loaded");
	file_make(file_path(name), &info, nr, size);
	return file_path(name);
}

static inline void
patch_path(const char *path, uint64_t offset, const void *data, size_t size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(pwrite(fd, data, size, (off_t)offset), (ssize_t)size);
	close(fd);
}

/* Of a file in the folder. */
static inline void
patch(const char *name, uint64_t offset, const void *data, size_t size)
{
	patch_path(file_path(name), offset, data, size);
}

/* What another process of this user may do: the pins of all its readers are
 * another version's. */
static inline void
pins_overwrite(void)
{
	uint64_t pin = UINT64_C(7) << STRATA_VERSION_BITS | 1;
	char name[STRATA_SEGMENT_NAME];

	strata__segment_name_pins(name, &store->space.id, geteuid(), 0);
	for (uint32_t i = 0; i < store->space.geometry->readers; i++)
		patch(name,
		      STRATA_PINS_SLOTS + i * sizeof(struct strata__slot),
		      &pin, sizeof(pin));
}

/**** test points, and who dies at one ****/

static inline bool
is_point(const char *point, const char *wanted)
{
	return strcmp(point, wanted) == 0;
}

struct last_work {
	const char *point;
	void (*work)(void);
};

static inline void
work_and_die(struct proc *parent, void *arg)
{
	const struct last_work *last = arg;

	(void)parent;
	need(strata_attach(STORE, STRATA_WRITE, &store) == 0, "attach");
	points_die_at(last->point, 1);
	last->work();
	need(false, "never came to %s", last->point);
}

/* Another process attaches as the store, works, and dies at that point. */
static inline void
die_in(const char *point, void (*work)(void))
{
	struct last_work last = {point, work};
	struct proc child;

	proc_start(&child, work_and_die, &last);
	cr_assert_eq(proc_wait(&child), 128 + SIGKILL, "%s", point);
}

#endif
