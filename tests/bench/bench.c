/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What all benches share: options, clock, chance, interleaving, tables. */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "proc.h"

/**** the head ****/

static void
usage(const char *self)
{
	fprintf(stderr,
		"usage: %s [--quick] [--seed=N] [--repetitions=N]\n"
		"example: %s --quick --seed=1\n",
		self, self);
	exit(2);
}

/* The number behind an option's '='; false when it is another option. */
static bool
option_number(const char *arg, const char *name, uint64_t *ret)
{
	size_t length = strlen(name);
	char *end;

	if (strncmp(arg, name, length) != 0 || arg[length] != '=')
		return false;
	errno = 0;
	*ret = strtoull(arg + length + 1, &end, 0);
	return errno == 0 && end != arg + length + 1 && *end == '\0';
}

static void
options_read(struct bench *bench, int argc, char **argv)
{
	uint64_t repetitions = 0;
	int i;

	bench->seed = 1;
	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0)
			bench->quick = true;
		else if (!option_number(argv[i], "--seed", &bench->seed) &&
			 !option_number(argv[i], "--repetitions", &repetitions))
			usage(argv[0]);
	}
	if (repetitions == 0)
		repetitions = bench->quick ? 7 : 31;
	if (repetitions > BENCH_REPETITIONS_MAX)
		repetitions = BENCH_REPETITIONS_MAX;
	bench->repetitions = (unsigned)repetitions | 1;
}

/* The value of the first line of /proc/cpuinfo that tells the model. */
static void
cpu_model(char *model, size_t size)
{
	char line[256];
	const char *colon;
	FILE *file = fopen("/proc/cpuinfo", "re");

	snprintf(model, size, "unknown");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		colon = strchr(line, ':');
		if (strncmp(line, "model name", 10) != 0 || colon == NULL)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(model, size, "%.100s", colon + 2);
		break;
	}
	if (file != NULL)
		fclose(file);
}

/* Of data caches, KiB; 0 where the system does not tell. */
static long
cache_kib(int level)
{
	long bytes = 0;

#ifdef _SC_LEVEL1_DCACHE_SIZE
	bytes = sysconf(level == 1   ? _SC_LEVEL1_DCACHE_SIZE
			: level == 2 ? _SC_LEVEL2_CACHE_SIZE
				     : _SC_LEVEL3_CACHE_SIZE);
#else
	(void)level;
#endif
	return bytes > 0 ? bytes / 1024 : 0;
}

void
bench_begin(struct bench *bench, int argc, char **argv, const char *what)
{
	struct utsname system;
	char model[128];

	memset(bench, 0, sizeof(*bench));
	options_read(bench, argc, argv);
	bench->folder = shm_begin();
	cpu_model(model, sizeof(model));
	need(uname(&system) == 0, "uname: %s", strerror(errno));
	printf("# %s\n", what);
	printf("# machine: %s, %ld CPUs, caches %ld, %ld, %ld KiB; %s %s\n",
	       model, sysconf(_SC_NPROCESSORS_ONLN), cache_kib(1), cache_kib(2),
	       cache_kib(3), system.sysname, system.release);
	printf("# strata %s; seed %" PRIu64 "; %u repetitions, interleaved%s\n",
	       strata_version_string(), bench->seed, bench->repetitions,
	       bench->quick ? "; quick" : "");
	fflush(stdout);
}

void
bench_end(void)
{
	shm_end();
	fflush(stdout);
}

/**** clock, CPU, chance ****/

uint64_t
bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void
bench_pin(unsigned cpu)
{
	long nr = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(nr > 0 ? cpu % (unsigned)nr : 0, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

void
bench_use(uint64_t value)
{
	__asm__ volatile("" : : "r"(value) : "memory");
}

uint64_t
bench_random(uint64_t *state)
{
	return test_random(state);
}

void
bench_cycle(uint32_t *next, uint32_t nr, uint64_t *state)
{
	uint32_t i, j, item;

	for (i = 0; i < nr; i++)
		next[i] = i;
	for (i = nr - 1; i > 0; i--) {
		j = (uint32_t)(bench_random(state) % i); /* never i itself */
		item = next[i];
		next[i] = next[j];
		next[j] = item;
	}
}

void
bench_shuffle(uint32_t *items, uint32_t nr, uint64_t *state)
{
	uint32_t i, j, item;

	for (i = nr; i > 1; i--) {
		j = (uint32_t)(bench_random(state) % i);
		item = items[i - 1];
		items[i - 1] = items[j];
		items[j] = item;
	}
}

/**** figures ****/

void
bench_interleave(const struct bench *bench, struct bench_column *columns,
		 size_t nr)
{
	unsigned repetition;
	size_t i;

	for (i = 0; i < nr; i++)
		columns[i].run(columns[i].arg);
	for (repetition = 0; repetition < bench->repetitions; repetition++)
		for (i = 0; i < nr; i++)
			columns[i].values[repetition] =
				columns[i].run(columns[i].arg);
}

static int
double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

struct bench_figure
bench_figure(const double *values, unsigned nr)
{
	double sorted[BENCH_REPETITIONS_MAX];
	struct bench_figure figure;

	memcpy(sorted, values, nr * sizeof(*values));
	qsort(sorted, nr, sizeof(*sorted), double_compare);
	figure.median = sorted[nr / 2];
	figure.min = sorted[0];
	figure.max = sorted[nr - 1];
	return figure;
}

struct bench_figure
bench_ratio(const struct bench *bench, const struct bench_column *column,
	    const struct bench_column *to)
{
	double ratios[BENCH_REPETITIONS_MAX];
	unsigned i;

	for (i = 0; i < bench->repetitions; i++)
		ratios[i] = column->values[i] / to->values[i];
	return bench_figure(ratios, bench->repetitions);
}

void
bench_print(const struct bench *bench, const char *unit,
	    const struct bench_column *columns, size_t nr)
{
	struct bench_figure figure, ratio;
	size_t i;

	printf("what\tmedian %s\tmin %s\tmax %s\tmedian x first\tmin x first\t"
	       "max x first\n",
	       unit, unit, unit);
	for (i = 0; i < nr; i++) {
		figure = bench_figure(columns[i].values, bench->repetitions);
		ratio = bench_ratio(bench, &columns[i], &columns[0]);
		printf("%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\n",
		       columns[i].name, figure.median, figure.min, figure.max,
		       ratio.median, ratio.min, ratio.max);
	}
	fflush(stdout);
}

double
bench_quantile(double *values, size_t nr, double share)
{
	size_t i = (size_t)(share * (double)(nr - 1) + 0.5);

	qsort(values, nr, sizeof(*values), double_compare);
	return values[i];
}

/**** stores ****/

struct strata_store *
bench_store(const char *what, uint64_t limit, uint64_t max_limit)
{
	struct strata_config config = {.struct_size = sizeof(config)};
	const char *name = store_name(what);
	struct strata_store *store;

	config.limit = limit;
	config.max_limit = max_limit;
	need(strata_create(name, &config) == 0, "create %s", name);
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach %s", name);
	return store;
}

void
bench_store_end(struct strata_store *store)
{
	char name[STRATA_STORE_NAME_MAX + 1];

	snprintf(name, sizeof(name), "%s", strata_name(store));
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

void
bench_load(const struct bench *bench, struct strata_store *store,
	   uint32_t dimension, const void *contents, uint32_t nr, size_t size)
{
	struct strata_file_info info = {.dimension = dimension};
	struct strata_file *file;
	char path[256];
	uint32_t i;

	need(strata_file_path(bench->folder, dimension, path, sizeof(path)) ==
		     0,
	     "path");
	need(strata_file_begin(path, 0600, &info, &file) == 0, "file");
	for (i = 0; i < nr; i++)
		need(strata_file_add(file, i, NULL,
				     (const char *)contents + i * size,
				     size) == 0,
		     "layer %" PRIu32, i);
	need(strata_file_commit(file) == 0, "write %s", path);
	need(strata_load(store, path, NULL) == 0, "load %s", path);
	need(unlink(path) == 0, "unlink %s: %s", path, strerror(errno));
}
