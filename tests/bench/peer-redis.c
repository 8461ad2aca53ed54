/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * Redis over a unix socket of its own, without persistence.
 *
 * GET and SET are spoken here by hand: it takes less than finding a client
 * library at run time would, and copies once less than such a library does.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "proc.h"

#define LINE_MAX_BYTES 64

static const struct contents *held;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static pid_t server;
static int connection, writing = -1;
static char *buffer; /* of an answer: its line, a content, its end */

/**** protocol ****/

static int
connect_it(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	need(fd >= 0, "socket: %s", strerror(errno));
	need(connect(fd, (const struct sockaddr *)&address, sizeof(address)) ==
		     0,
	     "connect to redis: %s", strerror(errno));
	return fd;
}

static void
send_all(int fd, const char *data, size_t size)
{
	ssize_t nr;

	for (; size > 0; data += nr, size -= (size_t)nr) {
		nr = write(fd, data, size);
		if (nr <= 0)
			need(false, "write to redis: %s", strerror(errno));
	}
}

/* The bytes of a bulk string, behind its line. */
static const char *
answer(int fd, size_t *ret_size)
{
	size_t have = 0, size, line;
	const char *end = NULL;
	ssize_t nr;

	/* What is asked for is known to fit. */
	do {
		nr = read(fd, buffer + have,
			  held->largest + LINE_MAX_BYTES - have);
		if (nr <= 0)
			need(false, "read from redis: %s", strerror(errno));
		have += (size_t)nr;
		end = memchr(buffer, '\n', have);
	} while (end == NULL);
	need(buffer[0] == '$', "redis answers %.40s", buffer);
	size = strtoul(buffer + 1, NULL, 10);
	line = (size_t)(end + 1 - buffer);
	need(line + size + 2 <= held->largest + LINE_MAX_BYTES,
	     "redis has %zu bytes", size);
	while (have < line + size + 2) {
		nr = read(fd, buffer + have, line + size + 2 - have);
		if (nr <= 0)
			need(false, "read from redis: %s", strerror(errno));
		have += (size_t)nr;
	}
	*ret_size = size;
	return buffer + line;
}

static const char *
get(uint64_t index, size_t *ret_size)
{
	char command[LINE_MAX_BYTES];
	int length =
		snprintf(command, sizeof(command),
			 "*2\r\n$3\r\nGET\r\n$4\r\n%04" PRIu64 "\r\n", index);

	send_all(connection, command, (size_t)length);
	return answer(connection, ret_size);
}

static void
set(uint32_t index, const void *data, size_t size)
{
	char command[LINE_MAX_BYTES], ok[5];
	int length =
		snprintf(command, sizeof(command),
			 "*3\r\n$3\r\nSET\r\n$4\r\n%04" PRIu32 "\r\n$%zu\r\n",
			 index, size);
	ssize_t nr, have;

	send_all(writing, command, (size_t)length);
	send_all(writing, data, size);
	send_all(writing, "\r\n", 2);
	for (have = 0; have < (ssize_t)sizeof(ok); have += nr) {
		nr = read(writing, ok + have, sizeof(ok) - (size_t)have);
		if (nr <= 0)
			need(false, "read from redis: %s", strerror(errno));
	}
	if (memcmp(ok, "+OK\r\n", sizeof(ok)) != 0)
		need(false, "redis refuses SET: %.5s", ok);
}

/**** the loops ****/

static void
peer_begin(void)
{
}

static void
peer_end(void)
{
}

static const char *
peer_whole(const struct link *at, size_t *ret_size)
{
	return get(at->index, ret_size);
}

static const struct link *
peer_peek(const struct link *at)
{
	static struct link link; /* the answer's bytes are not aligned */
	size_t size;

	memcpy(&link, get(at->index, &size), sizeof(link));
	return &link;
}

#include "peer-loops.h"

/**** the server ****/

static void
server_run(int out)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execlp("redis-server", "redis-server", "-", (char *)NULL);
	_exit(127);
}

/* Reads what it says until it is ready; false when it never is. */
static bool
server_ready(int in)
{
	char said[8192];
	size_t have = 0;
	ssize_t nr;

	while (have < sizeof(said) - 1) {
		nr = read(in, said + have, sizeof(said) - 1 - have);
		if (nr <= 0)
			return false;
		have += (size_t)nr;
		said[have] = '\0';
		if (strstr(said, "eady to accept connections") != NULL)
			return true;
	}
	return false;
}

/* Its configuration comes by standard input, so nothing of it can be a file's
 * of this machine. */
static void
configure(int in)
{
	char text[1024];
	int length = snprintf(text, sizeof(text),
			      "port 0\nunixsocket %s\nunixsocketperm 700\n"
			      "save \"\"\nappendonly no\ndir %s\n"
			      "daemonize no\nmaxclients 4000\n",
			      address.sun_path, held->bench->folder);

	send_all(in, text, (size_t)length);
}

static bool
server_start(void)
{
	int in[2], out[2];
	bool ready;

	need(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "pipe");
	server = fork();
	need(server >= 0, "fork: %s", strerror(errno));
	if (server == 0) {
		dup2(in[0], STDIN_FILENO);
		server_run(out[1]);
	}
	close(in[0]);
	close(out[1]);
	configure(in[1]);
	close(in[1]);
	ready = server_ready(out[0]);
	/* What it says later is thrown away, by a full pipe if need be: it
	 * says next to nothing. */
	if (!ready) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
		close(out[0]);
	}
	return ready;
}

static bool
setup(const struct contents *contents)
{
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	bool started;

	held = contents;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/redis",
		 contents->bench->folder);
	started = access("/usr/bin/redis-server", X_OK) == 0 ||
		  access("/usr/local/bin/redis-server", X_OK) == 0;
	started = started && server_start();
	signal(SIGPIPE, before);
	if (!started) {
		bench_note(
			"no redis-server on this machine: Redis is left out");
		return false;
	}
	buffer = malloc(contents->largest + LINE_MAX_BYTES);
	need(buffer != NULL, "memory");
	writing = connect_it();
	for (uint32_t i = 0; i < PEER_TOTAL; i++)
		set(i, contents->data[i], contents->sizes[i]);
	close(writing);
	return true;
}

static void
remove_all(void)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	need(unlink(address.sun_path) == 0, "unlink %s: %s", address.sun_path,
	     strerror(errno));
	free(buffer);
}

static void
open_it(void)
{
	connection = connect_it();
}

static void
close_it(void)
{
	close(connection);
}

static void
write_open(bool session)
{
	(void)session;
	writing = connect_it();
}

static void
write_close(void)
{
	close(writing);
}

const struct peer peer_redis = {
	.name = "redis",
	.slowness = 2000,
	.copies = true,
	.setup = setup,
	.remove = remove_all,
	.open = open_it,
	.close = close_it,
	PEER_LOOPS,
	.write_open = write_open,
	.write_close = write_close,
	.publish = set,
};
