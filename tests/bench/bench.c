/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What all benches share: options, clock, chance, interleaving, tables. */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "proc.h"

static bool json; /* of the one struct bench */
static void targets_print(void);

/**** the head ****/

static void
usage(const char *self)
{
	fprintf(stderr,
		"usage: %s [--quick] [--json] [--seed=N] [--repetitions=N]\n"
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
		else if (strcmp(argv[i], "--json") == 0)
			bench->json = true;
		else if (!option_number(argv[i], "--seed", &bench->seed) &&
			 !option_number(argv[i], "--repetitions", &repetitions))
			usage(argv[0]);
	}
	if (repetitions == 0)
		repetitions = bench->quick ? 3 : 31;
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

/* What a file of the system says, without its end of line; "" if nothing. */
static void
read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");

	if (file == NULL || fgets(line, (int)size, file) == NULL)
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (file != NULL)
		fclose(file);
}

/* Of the first CPU, e.g. "32K, 1024K, 32768K". sysconf() knows them too, but is
 * wrong about the third level of some processors. */
static void
cache_sizes(char *text, size_t size)
{
	char path[96], kind[32], amount[32];
	size_t length = 0;

	snprintf(text, size, "unknown");
	for (unsigned i = 0; i < 8 && length + 32 < size; i++) {
		static const char folder[] =
			"/sys/devices/system/cpu/cpu0/cache";

		snprintf(path, sizeof(path), "%s/index%u/type", folder, i);
		read_line(path, kind, sizeof(kind));
		snprintf(path, sizeof(path), "%s/index%u/size", folder, i);
		read_line(path, amount, sizeof(amount));
		if (amount[0] == '\0' || strcmp(kind, "Instruction") == 0)
			continue;
		length += (size_t)snprintf(text + length, size - length, "%s%s",
					   length > 0 ? ", " : "", amount);
	}
}

void
bench_begin(struct bench *bench, int argc, char **argv, const char *what)
{
	char model[128], caches[128], date[32];
	struct utsname system;
	time_t now = time(NULL);

	memset(bench, 0, sizeof(*bench));
	options_read(bench, argc, argv);
	json = bench->json;
	bench->folder = shm_begin();
	cpu_model(model, sizeof(model));
	cache_sizes(caches, sizeof(caches));
	need(uname(&system) == 0, "uname: %s", strerror(errno));
	strftime(date, sizeof(date), "%Y-%m-%d", gmtime(&now));
	bench_note("bench: %s", what);
	bench_note("machine: %s, %ld CPUs, data caches %s; %s %s; %s", model,
		   sysconf(_SC_NPROCESSORS_ONLN), caches, system.sysname,
		   system.release, date);
	bench_note("run: strata %s; seed %" PRIu64 "; %u repetitions, "
		   "interleaved%s",
		   strata_version_string(), bench->seed, bench->repetitions,
		   bench->quick ? "; quick" : "");
}

void
bench_end(void)
{
	targets_print();
	shm_end();
	fflush(stdout);
}

/**** clock, CPU, chance ****/

uint64_t
bench_now_ns(void)
{
	return test_now_ns();
}

void
bench_pin(unsigned cpu)
{
	long nr = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	if ((long)cpu < nr)
		CPU_SET(cpu, &set);
	for (long any = 0; (long)cpu >= nr && any < nr; any++)
		CPU_SET((unsigned)any, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

void
bench_wait_ms(unsigned ms)
{
	(void)poll(NULL, 0, (int)ms);
}

void
bench_use(uint64_t value)
{
	__asm__ volatile("" : : "r"(value) : "memory");
}

uint64_t
bench_sum(const void *data, size_t size)
{
	const char *at = data;
	uint64_t sums[8] = {0}, words[8];

	/* Eight sums, so that memory is waited for and not an addition. */
	for (; size >= sizeof(words); size -= sizeof(words)) {
		memcpy(words, at, sizeof(words));
		for (unsigned i = 0; i < 8; i++)
			sums[i] += words[i];
		at += sizeof(words);
	}
	return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] +
	       sums[6] + sums[7];
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
bench_quotient(const struct bench *bench, const double *a, const double *b)
{
	double ratios[BENCH_REPETITIONS_MAX];
	unsigned i;

	for (i = 0; i < bench->repetitions; i++)
		ratios[i] = a[i] / b[i];
	return bench_figure(ratios, bench->repetitions);
}

struct bench_figure
bench_ratio(const struct bench *bench, const struct bench_column *column,
	    const struct bench_column *to)
{
	return bench_quotient(bench, column->values, to->values);
}

void
bench_print(const struct bench *bench, const char *table, const char *unit,
	    const struct bench_column *columns, size_t nr, size_t reference)
{
	struct bench_figure figure, ratio;
	char heading[200];
	size_t i;

	snprintf(heading, sizeof(heading),
		 "what\tmedian %s\tleast\tmost\t%s / this\tleast ratio\tmost "
		 "ratio",
		 unit, columns[reference].name);
	bench_table(heading, "%s", table);
	for (i = 0; i < nr; i++) {
		figure = bench_figure(columns[i].values, bench->repetitions);
		ratio = bench_ratio(bench, &columns[reference], &columns[i]);
		bench_row("%s\t%.4g\t%.4g\t%.4g\t%.3g\t%.3g\t%.3g",
			  columns[i].name, figure.median, figure.min,
			  figure.max, ratio.median, ratio.min, ratio.max);
	}
}

double
bench_quantile(double *values, size_t nr, double share)
{
	size_t i = (size_t)(share * (double)(nr - 1) + 0.5);

	qsort(values, nr, sizeof(*values), double_compare);
	return values[i];
}

/**** output ****/

static char table[200], heading[400];

static void
json_string(const char *text, size_t length)
{
	putchar('"');
	for (; length > 0; length--, text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar((unsigned char)*text < ' ' ? ' ' : *text);
	}
	putchar('"');
}

/* A number as it is, anything else as a string. */
static void
json_value(const char *text, size_t length)
{
	char copy[64], *end;

	if (length > 0 && length < sizeof(copy)) {
		memcpy(copy, text, length);
		copy[length] = '\0';
		(void)strtod(copy, &end);
		if (*end == '\0' && strpbrk(copy, "nNxX") == NULL) {
			fputs(copy, stdout);
			return;
		}
	}
	json_string(text, length);
}

static void
json_row(const char *fields)
{
	const char *key = heading;
	size_t key_length, length;

	fputs("{\"table\": ", stdout);
	json_string(table, strlen(table));
	while (*key != '\0') {
		key_length = strcspn(key, "\t");
		length = strcspn(fields, "\t");
		fputs(", ", stdout);
		json_string(key, key_length);
		fputs(": ", stdout);
		json_value(fields, length);
		key += key_length + (key[key_length] == '\t');
		fields += length + (fields[length] == '\t');
	}
	puts("}");
}

void
bench_note(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (json) {
		fputs("{\"note\": ", stdout);
		json_string(text, strlen(text));
		puts("}");
	} else {
		printf("# %s\n", text);
	}
	fflush(stdout);
}

void
bench_table(const char *fields, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(table, sizeof(table), format, args);
	va_end(args);
	snprintf(heading, sizeof(heading), "%s", fields);
	if (!json)
		printf("# table: %s\n%s\n", table, heading);
}

void
bench_row(const char *format, ...)
{
	char fields[512];
	va_list args;

	va_start(args, format);
	vsnprintf(fields, sizeof(fields), format, args);
	va_end(args);
	if (json)
		json_row(fields);
	else
		puts(fields);
	fflush(stdout);
}

/* Shown together, when all is measured. */
#define TARGETS_MAX 64
static char targets[TARGETS_MAX][200];
static unsigned nr_targets;

static void
target(const char *what, struct bench_figure figure, const char *sense,
       double bound, bool reached)
{
	need(nr_targets < TARGETS_MAX, "more than %d targets", TARGETS_MAX);
	snprintf(targets[nr_targets++], sizeof(*targets),
		 "%s\t%.3g\t%.3g\t%.3g\t%s %g\t%s", what, figure.median,
		 figure.min, figure.max, sense, bound,
		 reached ? "reached" : "not reached");
}

static void
targets_print(void)
{
	unsigned i;

	if (nr_targets == 0)
		return;
	bench_table("what\tmedian\tleast\tmost\tto be reached\treached",
		    "targets");
	for (i = 0; i < nr_targets; i++)
		bench_row("%s", targets[i]);
}

void
bench_at_most(const char *what, struct bench_figure figure, double bound)
{
	target(what, figure, "at most", bound, figure.median <= bound);
}

void
bench_at_least(const char *what, struct bench_figure figure, double bound)
{
	target(what, figure, "at least", bound, figure.median >= bound);
}

/**** stores ****/

struct strata_store *
bench_store(const char *what, uint64_t limit, uint64_t max_limit)
{
	const struct strata_config config = {.struct_size = sizeof(config),
					     .limit = limit,
					     .max_limit = max_limit};

	return bench_store_config(what, &config);
}

struct strata_store *
bench_store_config(const char *what, const struct strata_config *config)
{
	const char *name = store_name(what);
	struct strata_store *store;

	need(strata_create(name, config) == 0, "create %s", name);
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

double
bench_metadata(struct strata_store *store, uint32_t nr_layers)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};

	need(strata_stats(store, &stats) == 0, "stats");
	return (double)(stats.used - stats.content_bytes) / nr_layers;
}

double
bench_attach_us(const char *name, uint32_t dimension, uint32_t layer)
{
	struct strata_store *store;
	struct strata_reader *reader;
	uint64_t start = bench_now_ns();
	const uint64_t *data;
	size_t size;
	double us;

	need(strata_attach(name, STRATA_READ, &store) == 0, "attach");
	need(strata_reader_open(store, &reader) == 0, "reader");
	need(strata_read_lock(reader) == 0, "lock");
	data = strata_get(reader, dimension, layer, &size);
	need(data != NULL, "get");
	bench_use(*data);
	us = (double)(bench_now_ns() - start) / 1000;
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_reader_close(reader) == 0, "close");
	need(strata_detach(store) == 0, "detach");
	return us;
}

/**** files ****/

const char *
bench_file_path(const struct bench *bench, uint32_t dimension)
{
	static char path[256];

	need(strata_file_path(bench->folder, dimension, path, sizeof(path)) ==
		     0,
	     "path");
	return path;
}

static void
file_write(const struct bench *bench, uint32_t dimension,
	   const void *const *contents, const size_t *sizes, uint32_t nr)
{
	const char *path = bench_file_path(bench, dimension);
	struct strata_file_info info = {.dimension = dimension};
	struct strata_file *file;
	uint32_t i;

	need(strata_file_begin(path, 0600, &info, &file) == 0, "file");
	for (i = 0; i < nr; i++)
		need(strata_file_add(file, i, NULL, contents[i], sizes[i]) == 0,
		     "layer %" PRIu32, i);
	need(strata_file_commit(file) == 0, "write %s", path);
}

void
bench_file(const struct bench *bench, uint32_t dimension, const void *contents,
	   uint32_t nr, size_t size)
{
	const void **each = malloc(nr * sizeof(*each));
	size_t *sizes = malloc(nr * sizeof(*sizes));
	uint32_t i;

	need(each != NULL && sizes != NULL, "memory");
	for (i = 0; i < nr; i++) {
		each[i] = (const char *)contents + i * size;
		sizes[i] = size;
	}
	file_write(bench, dimension, each, sizes, nr);
	free(each);
	free(sizes);
}

void
bench_file_remove(const struct bench *bench, uint32_t dimension)
{
	need(unlink(bench_file_path(bench, dimension)) == 0, "unlink: %s",
	     strerror(errno));
}

static void
file_load(const struct bench *bench, struct strata_store *store,
	  uint32_t dimension)
{
	need(strata_load(store, bench_file_path(bench, dimension), NULL) == 0,
	     "load of %" PRIu32, dimension);
	bench_file_remove(bench, dimension);
}

void
bench_load_each(const struct bench *bench, struct strata_store *store,
		uint32_t dimension, const void *const *contents,
		const size_t *sizes, uint32_t nr)
{
	file_write(bench, dimension, contents, sizes, nr);
	file_load(bench, store, dimension);
}

void
bench_load(const struct bench *bench, struct strata_store *store,
	   uint32_t dimension, const void *contents, uint32_t nr, size_t size)
{
	bench_file(bench, dimension, contents, nr, size);
	file_load(bench, store, dimension);
}
