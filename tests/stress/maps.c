/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A reader maps every segment of a store read-only, but its own pins. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pattern.h"
#include "proc.h"
#include "store.h"

#define LAYERS 8
#define SIZE   (40 << 10)

static const char *folder;

/**** a store with a bit of everything ****/

static void
make_file(const char *path, uint32_t dimension)
{
	struct strata_file_info info = {.dimension = dimension};
	static char data[LAYERS][SIZE];
	struct strata_file *file;

	need(strata_file_begin(path, 0600, &info, &file) == 0, "file");
	for (uint32_t layer = 0; layer < LAYERS; layer++) {
		struct pattern pattern = {dimension, layer, 1, LAYERS};

		pattern_fill(data[layer], SIZE, &pattern);
		need(strata_file_add(file, layer, NULL, data[layer], SIZE) == 0,
		     "add");
	}
	need(strata_file_commit(file) == 0, "file commit");
}

static void
load(struct strata_store *store, uint32_t dimension)
{
	char path[] = "/tmp/strata-maps-XXXXXX";
	int fd = mkstemp(path);

	need(fd >= 0, "mkstemp");
	close(fd);
	make_file(path, dimension);
	need(strata_load(store, path, NULL) == 0, "load");
	unlink(path);
}

/* Of sizes that go to every class of the pools. */
static void
put_protos(struct strata_store *store, uint32_t dimension, size_t factor)
{
	static char data[400 << 10];
	struct strata_txn *txn;

	need(strata_txn_begin(store, &txn) == 0, "begin");
	for (uint32_t layer = 0; layer < LAYERS; layer++) {
		struct pattern pattern = {dimension, layer, 1, LAYERS};
		size_t size = (layer + 1) * factor;

		pattern_fill(data, size, &pattern);
		need(strata_put(txn, dimension, layer, NULL, data, size, 0) ==
			     0,
		     "put");
	}
	need(strata_txn_commit(txn, NULL) == 0, "commit");
}

/**** the reader ****/

static int
read_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct strata_reader *reader = arg;
	struct pattern pattern;

	need(pattern_check(strata_data(reader, entry), entry->size, &pattern) &&
		     pattern.layer == layer,
	     "layer %u is not what was put", layer);
	return 0;
}

static void
read_all(struct strata_reader *reader, uint32_t nr_dimensions)
{
	need(strata_read_lock(reader) == 0, "lock");
	for (uint32_t d = 1; d <= nr_dimensions; d++)
		need(strata_foreach_layer(reader, d, read_layer, reader) == 0,
		     "dimension %u", d);
	need(strata_read_unlock(reader) == 0, "unlock");
}

/* Not even by mprotect can a reader write: its descriptors were read-only. */
static void
try_to_write(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from;
	unsigned nr = 0;
	char line[512];

	need(maps != NULL, "maps");
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (strstr(line, folder) == NULL ||
		    strstr(line, " r--s ") == NULL ||
		    sscanf(line, "%lx", &from) != 1)
			continue;
		need(mprotect((void *)from, STRATA_PAGE,
			      PROT_READ | PROT_WRITE) != 0 &&
			     errno == EACCES,
		     "could be made writable: %s", line);
		nr++;
	}
	fclose(maps);
	need(nr > 0, "no segment is mapped");
}

static void
run_reader(struct proc *parent, void *arg)
{
	struct strata_reader *reader, *second;
	struct strata_store *store;

	proc_hear(parent, 'g');
	need(strata_attach(arg, STRATA_READ, &store) == 0, "attach");
	need(strata_reader_open(store, &reader) == 0, "open");
	need(strata_reader_open(store, &second) == 0, "open");
	read_all(reader, 4);
	proc_say(parent, 'r');
	proc_hear(parent, 'm'); /* more came */
	read_all(reader, 6);
	proc_say(parent, 'r');
	proc_hear(parent, 'w');
	try_to_write();
	proc_say(parent, 'w');
	proc_hear(parent, 'e');
}

/**** what the kernel says of it ****/

struct counts {
	unsigned catalogs, pools, regions, pins;
};

/* One line of maps: from-to perms offset device inode path. */
static void
check_line(const char *line, const char *name, struct counts *counts)
{
	char perms[8], own[32];

	need(sscanf(line, "%*s %7s", perms) == 1, "%s", line);
	if (strstr(name, "-pins") != NULL) {
		snprintf(own, sizeof(own), "-pins%u.", (unsigned)geteuid());
		need(strcmp(perms, "rw-s") == 0 && strstr(name, own) != NULL,
		     "pins that are not its own: %s", line);
		counts->pins++;
		return;
	}
	need(strcmp(perms, "r--s") == 0, "not read-only: %s", line);
	need(strstr(name, "-lock") == NULL, "a reader has the lock: %s", line);
	counts->pools += strstr(name, "-pool") != NULL;
	counts->regions += strstr(name, "-region") != NULL;
	counts->catalogs += strstr(name, "-pool") == NULL &&
			    strstr(name, "-region") == NULL;
}

static struct counts
check_maps(const struct proc *reader)
{
	struct counts counts = {0, 0, 0, 0};
	char path[64], line[512];
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)reader->pid);
	maps = fopen(path, "re");
	need(maps != NULL, "maps");
	while (fgets(line, sizeof(line), maps) != NULL) {
		const char *name = strstr(line, folder);

		if (name != NULL)
			check_line(line, name + strlen(folder), &counts);
	}
	fclose(maps);
	return counts;
}

static void
check_counts(struct counts counts, uint32_t nr_pools, unsigned nr_regions)
{
	need(counts.catalogs == 1 && counts.pools == nr_pools &&
		     counts.regions == nr_regions && counts.pins > 0,
	     "mapped are %u catalogs, %u pools, %u regions, %u pins",
	     counts.catalogs, counts.pools, counts.regions, counts.pins);
	printf("a reader maps 1 catalog, %u pools, %u regions r--s, and %u "
	       "pages of its pins rw-s\n",
	       counts.pools, counts.regions, counts.pins);
}

int
main(void)
{
	struct strata_config config = {.limit = 64 << 20};
	char name[STRATA_STORE_NAME_MAX + 1];
	struct strata_store *store;
	struct proc reader;

	folder = shm_begin();
	strcpy(name, store_name("maps"));
	/* Before we map anything: it would inherit that. */
	proc_start(&reader, run_reader, name);
	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	load(store, 1);
	load(store, 2);
	put_protos(store, 3, 1 << 10);
	put_protos(store, 4, 50 << 10);
	proc_say(&reader, 'g');
	proc_hear(&reader, 'r');
	check_counts(check_maps(&reader), store->space.geometry->nr_classes, 2);
	load(store, 5);
	put_protos(store, 6, 10 << 10);
	need(strata_crystallize(store, 4) == 0, "crystallise");
	proc_say(&reader, 'm');
	proc_hear(&reader, 'r');
	check_counts(check_maps(&reader), store->space.geometry->nr_classes, 4);
	proc_say(&reader, 'w');
	proc_hear(&reader, 'w');
	printf("none of them can be made writable\n");
	proc_say(&reader, 'e');
	proc_join(&reader);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
	shm_end();
	return 0;
}
