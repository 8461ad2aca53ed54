/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Reading files, stdin, and folders of dimension files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

#define PIECE ((size_t)64 << 10)

static bool
is_stdin(const char *path)
{
	return strcmp(path, "-") == 0;
}

/* read(2) of up to size bytes; fewer only at the end. Negative: errno set. */
static ssize_t
read_full(int fd, char *buffer, size_t size)
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		n = read(fd, buffer + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/**** contents ****/

static int
too_large(const struct tool_args *args, const char *path, uint64_t max,
	  const char *whose)
{
	return message_error(args, path, "is larger than %s, %s", whose,
			     SIZE_TEXT(max));
}

static int
content_read_fd(const struct tool_args *args, const char *path, int fd,
		size_t room, uint64_t max, struct content *content)
{
	ssize_t n;

	for (;;) {
		content->bytes = x_check(realloc(content->bytes, room));
		n = read_full(fd, content->bytes + content->size,
			      room - content->size);
		if (n < 0)
			return message_error(args, path, "cannot be read: %s",
					     strerror(errno));
		content->size += (size_t)n;
		if (content->size < room || content->size > max)
			return TOOL_DONE;
		room = room > max / 2 ? (size_t)max + 1 : 2 * room;
	}
}

/* Bytes to begin with: one more than a file has, to see its end at once. */
static uint64_t
room_for(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size >= (off_t)PIECE)
		return (uint64_t)st.st_size + 1;
	return PIECE;
}

int
content_read(const struct tool_args *args, const char *path, uint64_t max,
	     const char *whose, struct content *ret)
{
	int fd = is_stdin(path) ? STDIN_FILENO
				: open(path, O_RDONLY | O_CLOEXEC);
	struct content content = {NULL, 0};
	uint64_t room;
	int status = TOOL_DONE;

	if (fd < 0)
		return message_error(args, path, "cannot be opened: %s",
				     strerror(errno));
	room = room_for(fd);
	if (room <= max + 1)
		status = content_read_fd(args, path, fd, (size_t)room, max,
					 &content);
	if (status == TOOL_DONE && (room > max + 1 || content.size > max))
		status = too_large(args, path, max, whose);
	if (fd != STDIN_FILENO)
		close(fd);
	if (status == TOOL_DONE)
		*ret = content;
	else
		content_fini(&content);
	return status;
}

void
content_fini(struct content *content)
{
	free(content->bytes);
	*content = (struct content){NULL, 0};
}

/**** files for the library ****/

/* The library wants a path of a file that it can seek in. */
static int
copy_stdin(const struct tool_args *args, int to)
{
	char *buffer = x_alloc(PIECE);
	int status = TOOL_DONE;
	ssize_t n, written;

	while ((n = read_full(STDIN_FILENO, buffer, PIECE)) > 0) {
		/* A memory file takes all of it, or refuses. */
		written = write(to, buffer, (size_t)n);
		if (written != n) {
			n = -1;
			break;
		}
	}
	if (n < 0)
		status = message_error(args, "-", "stdin cannot be copied: %s",
				       strerror(errno));
	free(buffer);
	return status;
}

int
input_open(const struct tool_args *args, const char *operand,
	   struct input *input)
{
	struct stat st;
	int status;

	*input = (struct input){.fd = -1, .path = operand};
	if (!is_stdin(operand))
		return TOOL_DONE;
	if (fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode)) {
		input->path = "/proc/self/fd/0";
		return TOOL_DONE;
	}
	input->fd = memfd_create("strata-stdin", MFD_CLOEXEC);
	if (input->fd < 0)
		return message_error(args, "-", "no room for stdin: %s",
				     strerror(errno));
	status = copy_stdin(args, input->fd);
	snprintf(input->buffer, sizeof(input->buffer), "/proc/self/fd/%d",
		 input->fd);
	input->path = input->buffer;
	if (status != TOOL_DONE)
		input_close(input);
	return status;
}

void
input_close(struct input *input)
{
	if (input->fd >= 0)
		close(input->fd);
	input->fd = -1;
}

/**** folders of dimension files ****/

static int
is_dimension_file(const struct dirent *entry)
{
	return fnmatch("D*.strata", entry->d_name, 0) == 0;
}

void
file_list_add(struct file_list *list, char *path)
{
	list->paths = x_grow(list->paths, list->nr, sizeof(*list->paths));
	list->paths[list->nr++] = path;
}

int
file_list_read(const struct tool_args *args, const char *folder,
	       struct file_list *list)
{
	struct dirent **entries;
	/* versionsort: D99 comes before D100. */
	int nr = scandir(folder, &entries, is_dimension_file, versionsort);
	int i;

	if (nr < 0)
		return message_error(args, folder, "cannot be listed: %s",
				     strerror(errno));
	for (i = 0; i < nr; i++) {
		file_list_add(list,
			      x_format("%s/%s", folder, entries[i]->d_name));
		free(entries[i]);
	}
	free(entries);
	if (nr == 0)
		return message_error(args, folder,
				     "has no file named D*.strata; 'strata "
				     "pack' makes them");
	return TOOL_DONE;
}

void
file_list_fini(struct file_list *list)
{
	size_t i;

	for (i = 0; i < list->nr; i++)
		free(list->paths[i]);
	free(list->paths);
	*list = (struct file_list){NULL, 0};
}
