/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * Any bytes in the segments of a store. An input is a list of changes of a small
 * valid store: see struct change. What is promised (docs/design.md, Trust):
 * attach, verify, the list of readers and destroy end with an error that says
 * something, or well, whatever stands there; a store that verify finds clean can
 * be read, written and collected, and is clean after that.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver.h"
#include "store.h"

const char fuzz_corpus[] = "corpus-attach";
const unsigned fuzz_nr_changes = 1500;

#define STORE      "fuzz"
#define FILES_MAX  16
#define AREAS_MAX  64
#define CHANGES_MAX 32

/* As it is in an input, of which anything may be missing at the end. */
struct change {
	uint8_t area;	  /* of areas, modulo */
	uint8_t how;	  /* 2 bits: width; 2 bits: what is done; size if 0xff */
	uint16_t at;	  /* in the area, modulo */
	uint32_t unused;
	uint64_t value;
};
_Static_assert(sizeof(struct change) == 16, "no holes");

/**** the store, as files and in memory ****/

struct file {
	char name[STRATA_SEGMENT_NAME];
	uint64_t size;
	char *bytes;
};

/* Where it matters what stands: most of a segment is zeroes. */
struct area {
	unsigned file;
	uint64_t offset, size;
};

static char folder[] = "/dev/shm/strata-fuzz-XXXXXX";
static struct file files[FILES_MAX];
static unsigned nr_files;
static struct area areas[AREAS_MAX];
static unsigned nr_areas;

static void
must(int code, const char *what)
{
	fuzz_need(code == 0, "%s gave %d: %s", what, code,
		  strata_last_error()->sentence);
}

/* A refusal says what it is. */
static int
told(int code)
{
	fuzz_need(code <= 0, "a code of %d", code);
	fuzz_need(code == 0 || strata_last_error()->sentence[0] != '\0',
		  "%d without a word", code);
	return code;
}

static void
put(struct strata_store *store, uint32_t dimension, uint32_t layer, size_t size)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	static char data[400000];
	struct strata_txn *txn;

	memset(data, (int)layer, size);
	attrs.name = "a name";
	must(strata_txn_begin(store, &txn), "begin");
	must(strata_put(txn, dimension, layer, &attrs, data, size, 0), "put");
	must(strata_txn_commit(txn, NULL), "commit");
}

static void
load_region(struct strata_store *store)
{
	struct strata_file_info info = {.dimension = 3, .name = "region"};
	struct strata_file *file;
	char path[64];

	snprintf(path, sizeof(path), "%s/file", folder);
	must(strata_file_begin(path, 0600, &info, &file), "file");
	for (uint32_t layer = 0; layer < 3; layer++)
		must(strata_file_add(file, layer, NULL, path, 40), "add");
	must(strata_file_commit(file), "file commit");
	must(strata_load(store, path, NULL), "load");
	unlink(path);
}

/* A bit of everything, and something retired. */
static void
fill(struct strata_store *store)
{
	struct strata_reader *reader;

	put(store, 1, 0, 100);
	put(store, 1, 1, 6000);
	put(store, 2, 0, 100);
	put(store, 2, 70, 30000);
	put(store, 600, 40000, 400000);
	load_region(store);
	must(strata_reader_open(store, &reader), "reader");
	must(strata_read_lock(reader), "lock");
	put(store, 1, 0, 200);
	must(strata_crystallize(store, 1), "crystallize");
	put(store, 1, 1, 7000);
	must(strata_gc(store, NULL), "gc");
	must(strata_read_unlock(reader), "unlock");
	must(strata_reader_close(reader), "close");
}

static unsigned
file_of(const char *part)
{
	for (unsigned i = 0; i < nr_files; i++)
		if (strstr(files[i].name, part) != NULL)
			return i;
	abort();
}

static void
add_area(const char *file, uint64_t offset, uint64_t size)
{
	fuzz_need(nr_areas < AREAS_MAX, "too many areas");
	areas[nr_areas++] = (struct area){file_of(file), offset, size};
}

static int
add_node(uint64_t ref, void *arg)
{
	const struct strata__space *space = arg;

	add_area("-pool0", ref - space->geometry->classes[0].place, 1024);
	return 0;
}

static int
add_entry(uint32_t dimension, uint32_t layer, const struct strata_entry *entry,
	  void *arg)
{
	const struct strata__space *space = arg;

	(void)dimension;
	(void)layer;
	if (entry->meta > space->geometry->classes[0].place &&
	    entry->meta < space->geometry->classes[1].place)
		add_area("-pool0",
			 entry->meta - space->geometry->classes[0].place, 64);
	return 0;
}

static void
find_areas(struct strata_store *store)
{
	struct strata__space *space = &store->space;
	const struct strata__geometry *g = space->geometry;
	struct strata__hot *hot = &space->catalog->hot;
	struct strata__visitor visitor = {
		.node = add_node, .entry = add_entry, .arg = space};
	uint64_t version = atomic_load(&hot->version);

	add_area("strata." STORE, 0, sizeof(struct strata__head));
	add_area("strata." STORE, sizeof(struct strata__head), sizeof(*g));
	add_area("strata." STORE, offsetof(struct strata__catalog, hot), 64);
	add_area("strata." STORE, offsetof(struct strata__catalog, counters),
		 sizeof(struct strata__counters));
	add_area("strata." STORE, g->segments, 4 * 64);
	for (uint32_t i = 0; i < g->nr_classes; i++) {
		add_area("strata." STORE, g->classes[i].records, 20 * 32);
		add_area("-lock", g->classes[i].free_stack, 32);
	}
	add_area("-lock", 0, 192);
	add_area("-lock", STRATA_PAGE, 256);
	add_area("-lock", g->retired, 64);
	add_area("-pool0", 0, 72);
	add_area("-region1", 0, 512);
	add_area("-region1", files[file_of("-region1")].size - STRATA_PAGE, 72);
	add_area("-pins", 0, 192);
	add_area("-pins", STRATA_PINS_SLOTS, 512);
	must(strata__tree_walk(space, atomic_load(&hot->roots[version & 1]),
			       &visitor),
	     "walk");
}

/**** taking it down and putting it up ****/

static void
keep_file(const char *name)
{
	struct file *file = &files[nr_files++];
	char path[512];
	struct stat st;
	int fd;

	fuzz_need(nr_files <= FILES_MAX, "too many files");
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	snprintf(file->name, sizeof(file->name), "%.100s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	fuzz_need(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
	file->size = (uint64_t)st.st_size;
	file->bytes = malloc(file->size);
	must(strata__os_pread(fd, file->bytes, file->size, 0), "pread");
	close(fd);
}

static void
each_name(void (*fn)(const char *name))
{
	struct dirent **entries;
	int n = scandir(folder, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.')
			fn(entries[i]->d_name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

static void
remove_file(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	unlink(path);
}

static void
clean_up(void)
{
	each_name(remove_file);
	rmdir(folder);
}

static void
make_store(void)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = STRATA_LIMIT_MIN,
				       .readers = 8};
	struct strata_store *store;

	fuzz_need(mkdtemp(folder) != NULL, "mkdtemp");
	setenv("STRATA_SHM_DIR", folder, 1);
	atexit(clean_up);
	must(strata_create(STORE, &config), "create");
	must(strata_attach(STORE, STRATA_WRITE, &store), "attach");
	fill(store);
	each_name(keep_file);
	find_areas(store);
	must(strata_detach(store), "detach");
	must(strata_destroy(STORE), "destroy");
	each_name(remove_file);
}

static bool
is_zero(const char *page, size_t size)
{
	return page[0] == 0 && memcmp(page, page + 1, size - 1) == 0;
}

/* Pages of zeroes are left out, to be fast. */
static void
restore(const struct file *file)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, file->name);
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	fuzz_need(fd >= 0 && ftruncate(fd, (off_t)file->size) == 0, "%s", path);
	for (uint64_t at = 0; at < file->size; at += STRATA_PAGE) {
		size_t size = file->size - at < STRATA_PAGE ? file->size - at :
							      STRATA_PAGE;

		if (!is_zero(file->bytes + at, size))
			must(strata__os_pwrite(fd, file->bytes + at, size, at),
			     "pwrite");
	}
	close(fd);
}

/**** changing it ****/

static void
change_value(int fd, const struct change *change, uint64_t at)
{
	size_t width = (size_t)1 << (change->how & 3);
	uint64_t old = 0, value = change->value;

	(void)!pread(fd, &old, width, (off_t)at);
	if ((change->how >> 2 & 3) == 1)
		value ^= old;
	else if ((change->how >> 2 & 3) == 2)
		value += old;
	(void)!pwrite(fd, &value, width, (off_t)at);
}

static void
apply(const struct change *change)
{
	const struct area *area = &areas[change->area % nr_areas];
	const struct file *file = &files[area->file];
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, file->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (change->how == 0xff)
		(void)!ftruncate(fd, (off_t)(change->value %
					     (2 * file->size + 1)));
	else if (change->how == 0xfe)
		unlink(path);
	else
		change_value(fd, change, area->offset + change->at % area->size);
	close(fd);
}

/**** using it ****/

static volatile unsigned char sink;

static int
read_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct strata_reader *reader = arg;
	const char *data = strata_data(reader, entry);
	struct strata_meta meta;

	(void)layer;
	for (uint64_t i = 0; i < entry->size; i += 64)
		sink = sink + (unsigned char)data[i];
	return strata_meta(reader, entry, &meta);
}

static int
read_dimension(const struct strata_dimension *dimension, void *arg)
{
	return strata_foreach_layer(arg, dimension->id, read_layer, arg);
}

/* Of a store that verify has found clean. */
static void
read_all(struct strata_store *store)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	struct strata_reader *reader;
	int code = told(strata_reader_open(store, &reader));

	if (code != 0)
		return;
	must(strata_read_lock(reader), "lock");
	must(strata_foreach_dimension(reader, read_dimension, reader), "read");
	must(strata_read_unlock(reader), "unlock");
	must(strata_reader_close(reader), "close");
	must(strata_stats(store, &stats), "stats");
}

static int
each_reader(const struct strata_reader_info *info, void *arg)
{
	(void)arg;
	sink = sink + (unsigned char)info->name[0];
	return 0;
}

static bool
is_clean(struct strata_store *store)
{
	struct strata_verify_report report;

	told(strata_foreach_reader(store, each_reader, NULL));
	if (told(strata_verify(store, /* quick= */ 0, NULL, NULL, &report)) !=
	    0)
		return false;
	fuzz_need(report.errors == 0 || report.first[0] != '\0',
		  "errors without a word");
	return report.errors == 0;
}

static void
as_reader(void)
{
	struct strata_store *store;

	if (told(strata_attach(STORE, STRATA_READ, &store)) != 0)
		return;
	if (is_clean(store))
		read_all(store);
	must(strata_detach(store), "detach");
}

/* Refusals are fine (the limit may have been changed), damage is not. */
static void
write_some(struct strata_store *store)
{
	struct strata_verify_report report;
	struct strata_txn *txn;
	int code = told(strata_txn_begin(store, &txn));

	if (code != 0)
		return;
	must(strata_put(txn, 2, 5, NULL, folder, 10, 0), "put");
	must(strata_put(txn, 700, 70000, NULL, folder, 10, 0), "put");
	must(strata_remove(txn, 2, 5), "remove");
	if (told(strata_txn_commit(txn, NULL)) != 0)
		strata_txn_abort(txn);
	told(strata_crystallize(store, 2));
	told(strata_unload(store, 3, 0));
	told(strata_gc(store, NULL));
	must(strata_verify(store, 0, NULL, NULL, &report), "verify");
	fuzz_need(report.errors == 0, "not clean any more: %s", report.first);
	read_all(store);
}

static void
as_writer(void)
{
	struct strata_store *store;

	if (told(strata_attach(STORE, STRATA_WRITE, &store)) != 0)
		return;
	if (is_clean(store)) {
		read_all(store);
		write_some(store);
	}
	must(strata_detach(store), "detach");
}

static int
each_store(const struct strata_list_entry *entry, void *arg)
{
	(void)arg;
	sink = sink + (unsigned char)entry->name[0];
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct change change;

	if (nr_files == 0)
		make_store();
	for (unsigned i = 0; i < nr_files; i++)
		restore(&files[i]);
	for (unsigned i = 0; i < CHANGES_MAX && size > 0; i++) {
		size_t length = size < sizeof(change) ? size : sizeof(change);

		memset(&change, 0, sizeof(change));
		memcpy(&change, data, length);
		apply(&change);
		data += length;
		size -= length;
	}
	must(strata_list(each_store, NULL), "list");
	as_reader();
	as_writer();
	told(strata_destroy(STORE));
	each_name(remove_file);
	return 0;
}
