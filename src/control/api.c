/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP side: socket, limits, paths and methods; what a request means is api_task.c's. A
 * connection has a thread of its own (libmicrohttpd's), so a create that waits for its target holds
 * up nobody. A body that is too large is read and thrown away up to a second limit, so that the
 * caller gets the answer instead of a broken connection.
 */
#include <cdc/log.h>

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api.h"
#include "api_priv.h"

#define BODY_MAX ((size_t)1 << 20)
#define DISCARD_MAX ((size_t)64 << 20)
#define CONNECTIONS_MAX 64
#define IDLE_TIMEOUT_S 30
#define SILENT_MS 10000 /* as the watchdog's limit in supervisor.c */

struct api {
	const struct conf *conf;
	struct tasks *tasks;
	struct MHD_Daemon *daemon;
	int port;
	struct api_counters counters;
};

/* One request while its body comes in. */
struct upload {
	struct buf body;
	size_t seen;
};

static const struct path {
	const char *url, *allow;
	enum { PATH_CDC, PATH_HEALTH, PATH_METRICS } what;
} paths[] = {
	{"/cdc", "POST", PATH_CDC},
	{"/healthz", "GET, HEAD", PATH_HEALTH},
	{"/metrics", "GET, HEAD", PATH_METRICS},
	{"/cdc/metrics", "GET, HEAD", PATH_METRICS}, /* where the peer has it */
};

static enum MHD_Result send_text(struct MHD_Connection *c, int status, const char *type, const char *allow,
				 const void *text, size_t n)
{
	struct MHD_Response *resp = MHD_create_response_from_buffer(n, (void *)text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result rc;

	if (!resp)
		return MHD_NO;
	MHD_add_response_header(resp, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(resp, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(resp, "X-Content-Type-Options", "nosniff");
	if (allow)
		MHD_add_response_header(resp, MHD_HTTP_HEADER_ALLOW, allow);
	rc = MHD_queue_response(c, (unsigned)status, resp);
	MHD_destroy_response(resp);
	return rc;
}

/* Takes the reference. */
static enum MHD_Result send_json(struct MHD_Connection *c, int status, const char *allow, json_t *o)
{
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT), *line = NULL;

	json_decref(o);
	line = xasprintf("%s\n", text ? text : "{\"code\":500}");
	return send_text(c, text ? status : 500, "application/json", allow, line, strlen(line));
}

static enum MHD_Result send_error(struct api *a, struct MHD_Connection *c, int code, const char *allow,
				  const char *message)
{
	json_t *o = json_object();

	atomic_fetch_add(&a->counters.requests[REQUEST_unknown][code], 1);
	json_object_set_new(o, "code", json_integer(err_http_status(code)));
	json_object_set_new(o, "error", json_string(err_name(code)));
	json_object_set_new(o, "message", json_text(message));
	return send_json(c, err_http_status(code), allow, o);
}

/* Healthy is a process that works; a task whose source is away is not cured by a restart. */
static enum MHD_Result send_health(struct api *a, struct MHD_Connection *c)
{
	struct tasks_summary s;
	json_t *o = json_object();
	int status;

	tasks_summary(a->tasks, &s);
	status = s.stopping || s.silent_ms >= SILENT_MS ? 503 : 200;
	json_object_set_new(o, "code", json_integer(status));
	json_object_set_new(o, "status",
			    json_string(s.stopping      ? "stopping"
					: status == 503 ? "stuck"
							: "ok"));
	json_object_set_new(o, "source_configured", json_boolean(s.source));
	json_object_set_new(o, "tasks", json_integer(s.total));
	json_object_set_new(o, "retrying", json_integer(s.retrying));
	json_object_set_new(o, "held", json_integer(s.held));
	return send_json(c, status, NULL, o);
}

static enum MHD_Result send_metrics(struct api *a, struct MHD_Connection *c)
{
	AUTO_BUF struct buf b = {0};

	metrics_write(&b, a->tasks, &a->counters);
	return send_text(c, 200, "text/plain; version=0.0.4", NULL, b.data, b.len);
}

static enum MHD_Result send_answer(struct api *a, struct MHD_Connection *c, const struct upload *u)
{
	json_t *answer = NULL;
	int status;

	if (u->seen > BODY_MAX)
		return send_error(a, c, ERR_TOO_LARGE, NULL, "request body: larger than 1 MiB");
	/* a create may take longer than an idle connection may live */
	MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	status = api_handle(a->conf, a->tasks, &a->counters, u->body.data ? (const char *)u->body.data : "",
			    u->body.len, &answer);
	MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S);
	return send_json(c, status, NULL, answer);
}

static enum MHD_Result take_upload(struct upload *u, const char *data, size_t *n)
{
	u->seen += *n;
	if (u->seen <= BODY_MAX)
		buf_add(&u->body, data, *n);
	*n = 0;
	return u->seen > DISCARD_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *upload_data, size_t *upload_size,
				  void **state)
{
	struct upload *u = *state;
	struct api *a = cls;
	const struct path *p = NULL;
	bool get = STREQ(method, "GET") || STREQ(method, "HEAD");

	(void)version;
	if (!u) { /* headers only; the body follows */
		*state = xcalloc(1, sizeof(*u));
		return MHD_YES;
	}
	if (*upload_size)
		return take_upload(u, upload_data, upload_size);
	for (size_t i = 0; i < ARRAY_LEN(paths) && !p; i++)
		if (STREQ(paths[i].url, url))
			p = &paths[i];
	if (!p)
		return send_error(a, c, ERR_NOT_FOUND, NULL,
				  "no such path; known are POST /cdc, GET /healthz, GET /metrics");
	if (p->what == PATH_CDC ? !STREQ(method, "POST") : !get) {
		AUTO_FREE char *text = xasprintf("method not allowed; %s takes %s", p->url, p->allow);

		return send_error(a, c, ERR_METHOD, p->allow, text);
	}
	if (p->what == PATH_HEALTH)
		return send_health(a, c);
	return p->what == PATH_METRICS ? send_metrics(a, c) : send_answer(a, c, u);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **state,
			 enum MHD_RequestTerminationCode how)
{
	struct upload *u = *state;

	(void)cls;
	(void)c;
	(void)how;
	if (!u)
		return;
	if (u->body.data) /* a password may have been in it */
		explicit_bzero(u->body.data, u->body.cap);
	buf_free(&u->body);
	free(u);
	*state = NULL;
}

static bool is_loopback(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return (ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr) >> 24) == 127;
	return sa->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

static int bind_one(const struct addrinfo *ai)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, 128) < 0) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static int listen_on(const char *address, int *ret_port, struct err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage any;
	} bound = {0};
	AUTO_FREE char *host = NULL;
	socklen_t len = sizeof(bound);
	char service[16];
	int port, rc, fd = -1;

	if (!conf_host_port(address, &host, &port))
		return err_set(err, ERR_CONFIG, "address: %s is not host:port", address);
	snprintf(service, sizeof(service), "%d", port);
	if ((rc = getaddrinfo(host, service, &hints, &list)) != 0)
		return err_set(err, ERR_CONFIG, "address: %s cannot be resolved: %s", host, gai_strerror(rc));
	for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
		fd = bind_one(ai);
	rc = errno;
	freeaddrinfo(list);
	if (fd < 0)
		return err_system(
			err_set(err, ERR_STATE_IO, "address: cannot listen on %s: %s", address, strerror(rc)),
			err, rc);
	getsockname(fd, &bound.sa, &len);
	*ret_port = ntohs(bound.sa.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
	if (!is_loopback(&bound.sa))
		log_event(API_OPEN,
			  "the API listens on %s without authentication: everyone who can reach it "
			  "controls the tasks",
			  address);
	return fd;
}

int api_open(struct api **ret, const struct conf *conf, struct tasks *ts, struct err *err)
{
	AUTO(api_close) struct api *a = xcalloc(1, sizeof(*a));
	int fd;

	a->conf = conf;
	a->tasks = ts;
	if ((fd = listen_on(conf->address, &a->port, err)) < 0)
		return fd;
	a->daemon = MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0, NULL, NULL,
		on_request, a, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
	if (!a->daemon) {
		close(fd);
		return err_set(err, ERR_STATE_IO, "the HTTP server cannot be started on %s", conf->address);
	}
	*ret = TAKE(a);
	return 0;
}

int api_port(const struct api *a)
{
	return a->port;
}

void api_close(struct api *a)
{
	if (!a)
		return;
	if (a->daemon)
		MHD_stop_daemon(a->daemon);
	free(a);
}
