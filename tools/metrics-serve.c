/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Metrics over HTTP, by libmicrohttpd; without it, a sentence. */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "metrics.h"

#ifdef HAVE_MICROHTTPD

#include <microhttpd.h>

/**** pages ****/

static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned status, const char *type,
       char *text, size_t size)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		size, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (response == NULL) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result
answer_text(struct MHD_Connection *connection, unsigned status,
	    const char *sentence)
{
	char *text = x_format("%s\n", sentence);

	return answer(connection, status, "text/plain; charset=utf-8", text,
		      strlen(text));
}

static enum MHD_Result
answer_metrics(struct MHD_Connection *connection, const struct tool_args *args)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);
	int code = metrics_write(args, x_check(file));

	if (fclose(file) != 0 || code != 0) {
		free(text);
		return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
				   code != 0 ? refusal_text(code)
					     : "no memory");
	}
	return answer(connection, MHD_HTTP_OK,
		      "text/plain; version=0.0.4; charset=utf-8", text, size);
}

static enum MHD_Result
handle(void *arg, struct MHD_Connection *connection, const char *url,
       const char *method, const char *version, const char *upload,
       size_t *upload_size, void **state)
{
	(void)version;
	(void)upload;
	(void)state;
	*upload_size = 0;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				   "GET is what there is");
	if (strcmp(url, "/metrics") != 0)
		return answer_text(connection, MHD_HTTP_NOT_FOUND,
				   "the metrics are at /metrics");
	return answer_metrics(connection, arg);
}

/**** the server ****/

/* `HOST:PORT` or `[HOST]:PORT`; numbers only, so that nothing is asked of a
 * name server. */
static struct addrinfo *
address_parse(const char *address)
{
	const struct addrinfo hints = {.ai_flags =
					       AI_NUMERICHOST | AI_NUMERICSERV,
				       .ai_socktype = SOCK_STREAM};
	char *host = x_dup(address);
	char *colon = strrchr(host, ':'), *start = host;
	struct addrinfo *found = NULL;
	uint64_t port;
	size_t length;

	if (colon != NULL) {
		*colon = '\0';
		length = strlen(host);
		if (length > 1 && host[0] == '[' && host[length - 1] == ']') {
			host[length - 1] = '\0';
			start = host + 1;
		}
		/* getaddrinfo() takes ports modulo 65536. */
		if (!parse_number(colon + 1, UINT16_MAX, &port) ||
		    getaddrinfo(start, colon + 1, &hints, &found) != 0)
			found = NULL;
	}
	free(host);
	return found;
}

static unsigned
port_of(struct MHD_Daemon *daemon)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);

	return info != NULL ? info->port : 0;
}

static struct MHD_Daemon *
server_start(const struct tool_args *args, const struct addrinfo *address)
{
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO;

	if (address->ai_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	return MHD_start_daemon(flags, 0, NULL, NULL, handle, (void *)args,
				MHD_OPTION_SOCK_ADDR, address->ai_addr,
				MHD_OPTION_CONNECTION_LIMIT, 16u,
				MHD_OPTION_CONNECTION_TIMEOUT, 10u,
				MHD_OPTION_END);
}

int
metrics_serve(const struct tool_args *args, const char *text)
{
	struct addrinfo *address = address_parse(text);
	struct MHD_Daemon *daemon;
	sigset_t signals;
	int got;

	if (address == NULL)
		return message_usage(args,
				     "--listen=%s: a numeric address and a "
				     "port are needed, such as 127.0.0.1:9480",
				     text);
	/* Blocked before the server's thread is there, which inherits that. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	daemon = server_start(args, address);
	freeaddrinfo(address);
	if (daemon == NULL)
		return message_error(args, text, "cannot listen there: %s",
				     strerror(errno));
	message_say(args, "listening at port %u, page /metrics",
		    port_of(daemon));
	fflush(stdout);
	sigwait(&signals, &got);
	MHD_stop_daemon(daemon);
	return TOOL_DONE;
}

#else

int
metrics_serve(const struct tool_args *args, const char *text)
{
	return message_error(args, text,
			     "this strata was built without libmicrohttpd; "
			     "--textfile=PATH writes for the textfile "
			     "collector of node_exporter");
}

#endif
