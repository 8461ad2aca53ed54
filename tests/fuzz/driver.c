/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What runs a fuzz target: its corpus, changes of that, or a fuzzer. */
#include "driver.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc.h"

static void
corpus_path(char *path, size_t size)
{
	const char *top = getenv("top_srcdir");

	snprintf(path, size, "%s/tests/fuzz/%s", top != NULL ? top : ".",
		 fuzz_corpus);
}

#ifdef STRATA_LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* What it finds new goes to a folder of its own: the corpus is kept small. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char corpus[4096], found[] = "/tmp/strata-fuzz-XXXXXX";
	static char runs[] = "-runs=0", minute[] = "-max_total_time=60";
	static char timeout[] = "-timeout=60";
	static char *args[6];

	if (*argc > 1)
		return 0;
	corpus_path(corpus, sizeof(corpus));
	args[0] = (*argv)[0];
	args[1] = timeout;
	if (test_length() == TEST_LONG && mkdtemp(found) != NULL) {
		fprintf(stderr, "new inputs: %s\n", found);
		args[2] = minute;
		args[3] = found;
		args[4] = corpus;
		*argc = 5;
	} else {
		args[2] = runs;
		args[3] = corpus;
		*argc = 4;
	}
	*argv = args;
	return 0;
}

#else

/**** one input ****/

/* No input may hang; a loaded machine is slow. */
#define INPUT_SECONDS 120

#define INPUT_MAX (64u << 10)

struct input {
	size_t size;
	uint8_t *bytes;
};

static struct input *corpus;
static size_t nr_corpus, nr_inputs;

/* The last input stands in a file, should the target die of it. */
static int last_fd = -1;
static char last_path[4096];

static void
last_open(void)
{
	snprintf(last_path, sizeof(last_path), "%s.last-%d", fuzz_corpus,
		 (int)getpid());
	last_fd = open(last_path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
	printf("if it dies, the input is in %s\n", last_path);
	fflush(stdout);
}

static void
run_bytes(const uint8_t *bytes, size_t size)
{
	if (last_fd >= 0 && (ftruncate(last_fd, 0) != 0 ||
			     pwrite(last_fd, bytes, size, 0) < 0))
		last_fd = -1;
	alarm(INPUT_SECONDS);
	(void)LLVMFuzzerTestOneInput(bytes, size);
	alarm(0);
	nr_inputs++;
}

/**** files and folders ****/

static int load(const char *path);

static int
load_folder(const char *path)
{
	struct dirent **entries;
	char name[4096];
	int i, n, r = 0;

	n = scandir(path, &entries, NULL, alphasort);
	if (n < 0)
		return -1;
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && load(name) != 0)
			r = -1;
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int
load_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	struct input input = {size, malloc(size + 1)};
	int r = -1;

	if (file != NULL && input.bytes != NULL &&
	    fread(input.bytes, 1, size, file) == size)
		r = 0;
	if (file != NULL)
		fclose(file);
	corpus = reallocarray(corpus, nr_corpus + 1, sizeof(*corpus));
	if (r == 0 && corpus != NULL)
		corpus[nr_corpus++] = input;
	return r;
}

static int
load(const char *path)
{
	struct stat st;
	int r;

	r = stat(path, &st);
	if (r == 0 && S_ISDIR(st.st_mode))
		return load_folder(path);
	if (r == 0)
		r = load_file(path, (size_t)st.st_size);
	if (r != 0)
		fprintf(stderr, "cannot read '%s'\n", path);
	return r;
}

/**** changes ****/

static uint64_t
interesting(uint64_t random)
{
	static const uint64_t values[] = {0,	     1,	  2,	 3,
					  7,	     63,  64,	 127,
					  128,	     255, 256,	 4095,
					  4096,	     1 << 16, INT32_MAX,
					  UINT32_MAX};
	uint64_t value = values[random % 16];

	random >>= 4;
	if (random % 4 == 0)
		value = -value;
	if (random % 4 == 1)
		value <<= random / 4 % 64;
	return value;
}

static void
put_value(uint8_t *bytes, size_t size, uint64_t *random)
{
	uint64_t value = interesting(test_random(random));
	size_t width = (size_t)1 << test_random(random) % 4;
	size_t at = test_random(random) % size;

	if (width > size - at)
		width = 1;
	memcpy(bytes + at, &value, width);
}

/* Takes a part out, or puts a part of an input in; returns the new size. */
static size_t
cut_or_paste(uint8_t *bytes, size_t size, uint64_t *random)
{
	const struct input *other = &corpus[test_random(random) % nr_corpus];
	size_t at = test_random(random) % (size + 1);
	size_t length, from;

	if (test_random(random) % 2 == 0 || other->size == 0) {
		length = test_random(random) % (size - at + 1);
		memmove(bytes + at, bytes + at + length, size - at - length);
		return size - length;
	}
	from = test_random(random) % other->size;
	length = test_random(random) % (other->size - from) + 1;
	if (length > INPUT_MAX - size)
		return size;
	memmove(bytes + at + length, bytes + at, size - at);
	memcpy(bytes + at, other->bytes + from, length);
	return size + length;
}

static size_t
change(uint8_t *bytes, size_t size, uint64_t *random)
{
	switch (test_random(random) % 4) {
	case 0:
		if (size != 0)
			bytes[test_random(random) % size] ^=
				(uint8_t)(1u << test_random(random) % 8);
		return size;
	case 1:
		if (size != 0)
			bytes[test_random(random) % size] =
				(uint8_t)test_random(random);
		return size;
	case 2:
		if (size != 0)
			put_value(bytes, size, random);
		return size;
	default:
		return cut_or_paste(bytes, size, random);
	}
}

static void
run_changed(uint64_t *random)
{
	static uint8_t bytes[INPUT_MAX];
	const struct input *input = &corpus[test_random(random) % nr_corpus];
	size_t size = input->size < INPUT_MAX ? input->size : INPUT_MAX;
	uint64_t nr = test_random(random) % 6 + 1;

	memcpy(bytes, input->bytes, size);
	while (nr-- > 0)
		size = change(bytes, size, random);
	run_bytes(bytes, size);
}

static void
run_changes(void)
{
	uint64_t random = test_seed();
	uint64_t end = test_now_ns() + UINT64_C(60) * 1000000000;

	if (test_length() == TEST_LONG)
		while (test_now_ns() < end)
			run_changed(&random);
	else
		/* A slow machine or a sanitizer need not do all. */
		for (unsigned i = 0; i < fuzz_nr_changes &&
				     test_now_ns() < end - UINT64_C(50000000000);
		     i++)
			run_changed(&random);
}

int
main(int argc, char **argv)
{
	char path[4096];
	int i, r = 0;

	corpus_path(path, sizeof(path));
	if (argc < 2)
		r = load(path);
	for (i = 1; i < argc; i++)
		if (load(argv[i]) != 0)
			r = -1;
	if (r != 0 || nr_corpus == 0)
		return 1;
	if (argc < 2)
		last_open();
	for (size_t input = 0; input < nr_corpus; input++)
		run_bytes(corpus[input].bytes, corpus[input].size);
	if (argc < 2)
		run_changes();
	for (size_t input = 0; input < nr_corpus; input++)
		free(corpus[input].bytes);
	free(corpus);
	printf("%zu inputs\n", nr_inputs);
	unlink(last_path);
	return 0;
}

#endif
