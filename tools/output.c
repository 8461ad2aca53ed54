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
	if (path == NULL) {
		output->file = tmpfile();
		if (output->file == NULL)
			return output_failed(output,
					     "cannot make a temporary file");
		return TOOL_DONE;
	}
	output->temporary = beside(path);
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
}

/* stdout is checked by main(), as for all commands. */
static int
to_stdout(struct output *output)
{
	char buffer[65536];
	size_t n;

	rewind(output->file);
	while ((n = fread(buffer, 1, sizeof(buffer), output->file)) > 0)
		if (fwrite(buffer, 1, n, stdout) != n)
			break;
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
	if (fchmod(fileno(output->file), usual_mode()) != 0 ||
	    fsync(fileno(output->file)) != 0 ||
	    rename(output->temporary, output->path) != 0)
		return output_failed(output, "cannot be written");
	free(output->temporary);
	output->temporary = NULL;
	output_abort(output);
	return TOOL_DONE;
}
