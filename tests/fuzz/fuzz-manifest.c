/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * Any bytes as a manifest of `strata pack`. The first byte says whether what has
 * no content is simulated, the rest is the manifest. It is refused with one
 * sentence, or makes a plan that is in order, and the library takes each layer
 * of it or says what is wrong with that.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver.h"
#include "plan.h"

const char fuzz_corpus[] = "corpus-manifest";
const unsigned fuzz_nr_changes = 4000;

/**** what the tool's other files would do ****/

static bool simulate;
static unsigned nr_errors;

bool
args_has(const struct tool_args *args, int key)
{
	(void)args;
	return key == KEY_SIMULATE && simulate;
}

static void
check_sentence(const char *format, va_list values)
{
	char *text = NULL;

	fuzz_need(vasprintf(&text, format, values) > 0, "no sentence");
	free(text);
}

int
message_error(const struct tool_args *args, const char *object,
	      const char *format, ...)
{
	va_list values;

	(void)args;
	(void)object;
	va_start(values, format);
	check_sentence(format, values);
	va_end(values);
	nr_errors++;
	return TOOL_REFUSED;
}

void
message_note(const struct tool_args *args, const char *object,
	     const char *format, ...)
{
	va_list values;

	(void)args;
	(void)object;
	va_start(values, format);
	check_sentence(format, values);
	va_end(values);
}

const char *
size_text(uint64_t bytes, char buffer[24])
{
	snprintf(buffer, 24, "%llu", (unsigned long long)bytes);
	return buffer;
}

void *
x_check(void *block)
{
	fuzz_need(block != NULL, "out of memory");
	return block;
}

void *
x_alloc(size_t size)
{
	return x_check(calloc(1, size > 0 ? size : 1));
}

void *
x_grow(void *block, size_t nr, size_t size)
{
	return x_check(reallocarray(block, nr + 1, size));
}

char *
x_dup(const char *text)
{
	return x_check(strdup(text));
}

char *
x_format(const char *format, ...)
{
	char *text = NULL;
	va_list values;

	va_start(values, format);
	fuzz_need(vasprintf(&text, format, values) >= 0, "out of memory");
	va_end(values);
	return text;
}

/**** a folder with what a manifest may name ****/

static char folder[] = "/dev/shm/strata-fuzz-XXXXXX";
static const char *const names[] = {"m.json", "text", "sub/text", "sub",
				    "link",   "pipe", "out.strata"};

static void
path_in(char *path, const char *name)
{
	sprintf(path, "%s/%s", folder, name);
}

static void
clean_up(void)
{
	char path[128];

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		path_in(path, names[i]);
		if (unlink(path) != 0)
			rmdir(path);
	}
	rmdir(folder);
}

static void
write_file(const char *name, const void *bytes, size_t size)
{
	char path[128];
	int fd;

	path_in(path, name);
	fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	fuzz_need(fd >= 0 && write(fd, bytes, size) == (ssize_t)size, "%s",
		  path);
	close(fd);
}

static void
make_folder(void)
{
	char path[128];

	fuzz_need(mkdtemp(folder) != NULL, "mkdtemp");
	atexit(clean_up);
	write_file("text", "text", 4);
	path_in(path, "sub");
	mkdir(path, 0700);
	write_file("sub/text", "text", 4);
	path_in(path, "link");
	(void)!symlink("/etc/passwd", path);
	path_in(path, "pipe");
	mkfifo(path, 0600);
}

/**** the plan ****/

static int
add_layer(struct strata_file *file, const struct plan_layer *layer)
{
	/* A file must be one that lies in the folder. */
	fuzz_need(layer->path == NULL ||
			  (strncmp(layer->path, folder, strlen(folder)) == 0 &&
			   layer->size == 4),
		  "a file of elsewhere: %s", layer->path);
	if (layer->path != NULL)
		return strata_file_add_path(file, layer->number, &layer->attrs,
					    layer->path);
	return strata_file_add(file, layer->number, &layer->attrs,
			       layer->content, layer->size);
}

static void
write_dimension(const struct plan_dimension *dimension)
{
	struct strata_file *file;
	char path[128];
	int code;

	path_in(path, "out.strata");
	code = strata_file_begin(path, 0600, &dimension->info, &file);
	if (code == 0) {
		for (size_t i = 0; i < dimension->nr_layers && code == 0; i++)
			code = add_layer(file, &dimension->layers[i]);
		if (code == 0)
			code = strata_file_commit(file);
		else
			strata_file_abort(file);
	}
	fuzz_need(code == 0 || strata_last_error()->sentence[0] != '\0',
		  "%d without a word", code);
	if (code == 0)
		fuzz_need(strata_file_verify(path, 0, NULL) == 0, "%s",
			  strata_last_error()->sentence);
}

static void
check_plan(const struct plan *plan)
{
	const struct plan_dimension *dimension;

	for (size_t d = 0; d < plan->nr_dimensions; d++) {
		dimension = &plan->dimensions[d];
		fuzz_need(dimension->info.dimension >= 1 &&
				  dimension->info.dimension <=
					  STRATA_DIMENSION_MAX,
			  "dimension %u", dimension->info.dimension);
		fuzz_need(d == 0 || dimension[-1].info.dimension <
					    dimension->info.dimension,
			  "dimensions out of order");
		for (size_t i = 1; i < dimension->nr_layers; i++)
			fuzz_need(dimension->layers[i - 1].number <
					  dimension->layers[i].number,
				  "layers out of order");
		write_dimension(dimension);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool made;
	struct tool_args args;
	struct plan plan;
	char path[128];
	int status;

	if (!made)
		make_folder();
	made = true;
	if (size == 0)
		return 0;
	simulate = (data[0] & 1) != 0;
	write_file("m.json", data + 1, size - 1);
	path_in(path, "m.json");
	memset(&args, 0, sizeof(args));
	nr_errors = 0;
	plan_init(&plan, &args, path);
	status = manifest_read(&plan, path);
	fuzz_need(nr_errors == (status == TOOL_DONE ? 0u : 1u),
		  "status %d with %u sentences", status, nr_errors);
	if (status == TOOL_DONE)
		check_plan(&plan);
	plan_fini(&plan);
	return 0;
}
