/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* pread(2) of one file in memory (tmpfs) that has all contents, by descriptors
 * that stay open. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peer.h"
#include "proc.h"

static const struct contents *held;
static off_t offsets[PEER_TOTAL];
static char path[256];
static char *buffer;
static int fd;

static void
peer_begin(void)
{
}

static void
peer_end(void)
{
}

static inline const char *
read_some(uint64_t index, size_t size)
{
	if (pread(fd, buffer, size, offsets[index]) != (ssize_t)size)
		need(false, "pread: %s", strerror(errno));
	return buffer;
}

static inline const struct link *
peer_peek(const struct link *at)
{
	return (const struct link *)(const void *)read_some(
		at->index, sizeof(struct link));
}

static inline const char *
peer_whole(const struct link *at, size_t *ret_size)
{
	*ret_size = held->sizes[at->index];
	return read_some(at->index, *ret_size);
}

#include "peer-loops.h"

static bool
setup(const struct contents *contents)
{
	off_t offset = 0;

	held = contents;
	snprintf(path, sizeof(path), "%s/pread", contents->bench->folder);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	need(fd >= 0, "%s: %s", path, strerror(errno));
	for (uint32_t i = 0; i < PEER_TOTAL; i++) {
		need(write(fd, contents->data[i], contents->sizes[i]) ==
			     (ssize_t)contents->sizes[i],
		     "write %s: %s", path, strerror(errno));
		offsets[i] = offset;
		offset += (off_t)contents->sizes[i];
	}
	need(close(fd) == 0, "close");
	return true;
}

static void
remove_all(void)
{
	need(unlink(path) == 0, "unlink %s: %s", path, strerror(errno));
}

static void
open_it(void)
{
	fd = open(path, O_RDONLY | O_CLOEXEC);
	need(fd >= 0, "%s: %s", path, strerror(errno));
	buffer = malloc(held->largest);
	need(buffer != NULL, "memory");
}

static void
close_it(void)
{
	free(buffer);
	need(close(fd) == 0, "close");
}

/* In place: a reader may see half of it. */
static void
write_open(bool session)
{
	(void)session;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	need(fd >= 0, "%s: %s", path, strerror(errno));
}

static void
write_close(void)
{
	need(close(fd) == 0, "close");
}

static void
publish(uint32_t index, const void *data, size_t size)
{
	if (pwrite(fd, data, size, offsets[index]) != (ssize_t)size)
		need(false, "pwrite: %s", strerror(errno));
}

const struct peer peer_pread = {
	.name = "pread",
	.slowness = 40,
	.copies = true,
	.setup = setup,
	.remove = remove_all,
	.open = open_it,
	.close = close_it,
	PEER_LOOPS,
	.write_open = write_open,
	.write_close = write_close,
	.publish = publish,
};
