/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * A reader of the demonstration: until SIGTERM it goes through the dimensions,
 * computes what every byte must be, and compares.
 *
 *	demo-reader STORE NR-CORE NR-LAYERS PROTO
 *
 * In one section it reads the proto dimension, one core dimension, and the
 * proto dimension again. Torn is: a byte that is wrong; two layers of one
 * dimension that are not of one generation; a dimension that changes within a
 * section; one that goes back to what it was; a core layer that is not there.
 * At the end it prints one line, and leaves with 1 if anything was torn.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <strata/strata.h>

#include "content.h"

struct demo_reader {
	struct strata_store *store;
	struct strata_reader *reader;
	uint32_t nr_core, nr_layers, proto;
	uint64_t *generations; /* seen last, by dimension; 0 is the proto's */
	uint64_t version;      /* of the section before */
	uint64_t first_version;
	uint64_t sections, reads, bytes, versions, torn;
};

/* A walk over the layers of one dimension. */
struct walk {
	struct demo_reader *demo;
	uint32_t dimension;
	uint64_t generation; /* of the first layer */
	uint64_t nr_layers;
};

static volatile sig_atomic_t stop;

static void
on_signal(int number)
{
	(void)number;
	stop = 1;
}

static void
refused(const char *what, int code)
{
	fprintf(stderr, "demo-reader %d: %s: %s\n", (int)getpid(), what,
		strata_last_error()->code == code
			? strata_last_error()->sentence
			: strata_strerror(code));
	exit(1);
}

static void
torn(struct demo_reader *demo, uint32_t dimension, const char *what)
{
	demo->torn++;
	fprintf(stderr,
		"demo-reader %d: TORN: version %llu, dimension %u: %s\n",
		(int)getpid(),
		(unsigned long long)strata_reader_version(demo->reader),
		dimension, what);
}

static int
layer_check(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct walk *walk = arg;
	struct demo_reader *demo = walk->demo;
	uint64_t generation = 0;
	const char *wrong =
		content_check(strata_data(demo->reader, entry), entry->size,
			      walk->dimension, layer, &generation);

	demo->reads++;
	demo->bytes += entry->size;
	if (wrong != NULL)
		torn(demo, walk->dimension, wrong);
	else if (walk->nr_layers > 0 && generation != walk->generation)
		torn(demo, walk->dimension, "layers of two generations");
	walk->generation = generation;
	walk->nr_layers++;
	return 0;
}

/* Reads a whole dimension. 0: it is not there, which the proto's may be. */
static uint64_t
dimension_read(struct demo_reader *demo, uint32_t dimension)
{
	uint64_t *last =
		&demo->generations[dimension == demo->proto ? 0 : dimension];
	struct walk walk = {demo, dimension, 0, 0};
	int code = strata_foreach_layer(demo->reader, dimension, layer_check,
					&walk);

	if (code != 0 && code != STRATA_ENODIM)
		refused("a walk over layers", code);
	if (dimension != demo->proto && walk.nr_layers != demo->nr_layers)
		torn(demo, dimension, "it has not all its layers");
	if (walk.generation < *last)
		torn(demo, dimension, "it went back");
	*last = walk.generation;
	return walk.generation;
}

static void
section(struct demo_reader *demo, uint32_t dimension)
{
	int code = strata_read_lock(demo->reader);
	uint64_t version, generation;

	if (code != 0)
		refused("lock", code);
	version = strata_reader_version(demo->reader);
	if (version < demo->version)
		torn(demo, dimension, "the store went back");
	if (demo->first_version == 0)
		demo->first_version = version;
	demo->versions += version != demo->version;
	demo->version = version;
	demo->sections++;
	generation = dimension_read(demo, demo->proto);
	dimension_read(demo, dimension);
	if (dimension_read(demo, demo->proto) != generation)
		torn(demo, demo->proto, "it changed within a section");
	code = strata_read_unlock(demo->reader);
	if (code != 0)
		refused("unlock", code);
}

static void
report(const struct demo_reader *demo)
{
	printf("reader=%d sections=%llu reads=%llu bytes=%llu versions=%llu "
	       "first=%llu last=%llu torn=%llu\n",
	       (int)getpid(), (unsigned long long)demo->sections,
	       (unsigned long long)demo->reads, (unsigned long long)demo->bytes,
	       (unsigned long long)demo->versions,
	       (unsigned long long)demo->first_version,
	       (unsigned long long)demo->version,
	       (unsigned long long)demo->torn);
}

int
main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct demo_reader demo = {.store = NULL};
	uint32_t dimension;
	int code;

	if (argc != 5)
		return 2;
	demo.nr_core = (uint32_t)demo_number(argv[2], STRATA_DIMENSION_MAX);
	demo.nr_layers = (uint32_t)demo_number(argv[3], STRATA_LAYER_MAX);
	demo.proto = (uint32_t)demo_number(argv[4], STRATA_DIMENSION_MAX);
	demo.generations =
		calloc(demo.nr_core + (size_t)1, sizeof(*demo.generations));
	if (demo.generations == NULL)
		return 1;
	sigaction(SIGTERM, &action, NULL);
	code = strata_attach(argv[1], STRATA_READ, &demo.store);
	if (code != 0)
		refused("attach", code);
	code = strata_reader_open(demo.store, &demo.reader);
	if (code != 0)
		refused("open", code);
	/* Each begins elsewhere, so that they are not all at one place. */
	dimension = (uint32_t)getpid() % demo.nr_core;
	for (; !stop; dimension++)
		section(&demo, dimension % demo.nr_core + 1);
	report(&demo);
	strata_reader_close(demo.reader);
	strata_detach(demo.store);
	free(demo.generations);
	return demo.torn > 0;
}
