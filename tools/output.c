/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Output that appears whole or not at all: in a file, or on stdout. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

/*
 * What is renamed to a path takes the place of what is there: of a link, whose
 * file would stay as it was, and of a device or a fifo. So a link is followed,
 * and what is no file is written into.
 * @return the file that is to be replaced; NULL: none
 */
static char *
target_find(const char *path)
{
	struct stat found;

	if (stat(path, &found) != 0)
		return x_dup(path);
	/* Of a file without a name, such as /dev/stdout may be, NULL, too. */
	return S_ISREG(found.st_mode) ? realpath(path, NULL) : NULL;
}

/* ".NAME.XXXXXX" beside the path. */
static char *
beside(const char *path)
{
	const char *slash = strrchr(path, '/');
	int folder = slash != NULL ? (int)(slash + 1 - path) : 0;

	return x_format("%.*s.%s.XXXXXX", folder, path, path + folder);
}

static int
output_failed(struct output *output, const char *what)
{
	int err = errno;

	output_abort(output);
	return message_error(output->args, output->path, "%s: %s", what,
			     strerror(err));
}

int
output_open(const struct tool_args *args, const char *path,
	    struct output *output)
{
	int fd;

	*output = (struct output){.args = args, .path = path};
	output->target = path != NULL ? target_find(path) : NULL;
	if (output->target == NULL) {
		output->file = tmpfile();
		if (output->file == NULL)
			return output_failed(output,
					     "cannot make a temporary file");
		return TOOL_DONE;
	}
	output->temporary = beside(output->target);
	fd = mkostemp(output->temporary, O_CLOEXEC);
	if (fd < 0) {
		free(output->temporary);
		output->temporary = NULL;
		return output_failed(output, "cannot be written");
	}
	output->file = x_check(fdopen(fd, "w"));
	return TOOL_DONE;
}

void
output_abort(struct output *output)
{
	if (output->file != NULL)
		fclose(output->file);
	output->file = NULL;
	if (output->temporary != NULL) {
		unlink(output->temporary);
		free(output->temporary);
	}
	output->temporary = NULL;
	free(output->target);
	output->target = NULL;
}

/* @return whether all that could be read is written; if not, errno says why. */
static bool
copy(FILE *from, FILE *to)
{
	char buffer[65536];
	size_t n;

	rewind(from);
	while ((n = fread(buffer, 1, sizeof(buffer), from)) > 0)
		if (fwrite(buffer, 1, n, to) != n)
			return false;
	return true;
}

/* stdout is checked by main(), as for all commands. */
static int
to_stdout(struct output *output)
{
	if (!copy(output->file, stdout))
		print_errno = errno;
	if (ferror(output->file))
		return output_failed(output, "cannot read it back");
	output_abort(output);
	return TOOL_DONE;
}

/* Opened only now: a fifo that nobody reads would have held up a section. */
static int
to_path(struct output *output)
{
	FILE *to = fopen(output->path, "we");
	int err;

	if (to == NULL)
		return output_failed(output, "cannot be written");
	if (!copy(output->file, to) || fflush(to) != 0) {
		err = errno;
		fclose(to);
		errno = err;
		return output_failed(output, "cannot be written");
	}
	fclose(to);
	if (ferror(output->file))
		return output_failed(output, "cannot read it back");
	output_abort(output);
	return TOOL_DONE;
}

/* As the file would have been made without the detour. */
static mode_t
usual_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

int
output_commit(struct output *output)
{
	if (fflush(output->file) != 0 || ferror(output->file))
		return output_failed(output, "cannot be written");
	if (output->path == NULL)
		return to_stdout(output);
	if (output->target == NULL)
		return to_path(output);
	if (fchmod(fileno(output->file), usual_mode()) != 0 ||
	    fsync(fileno(output->file)) != 0 ||
	    rename(output->temporary, output->target) != 0)
		return output_failed(output, "cannot be written");
	free(output->temporary);
	output->temporary = NULL;
	output_abort(output);
	return TOOL_DONE;
}
