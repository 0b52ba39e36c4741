/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unary gRPC over libcurl. One handle is one connection and belongs to one thread at a time.
 *
 * Invariants:
 *  1. A request is put on the wire at most once per grpc_call(). libcurl would send it again by
 *     itself when a connection that it uses again turns out to be dead; open_socket() forbids that
 *     once bytes may be out. The caller decides about repeating.
 *  2. Without TLS a new connection is always opened with "prior knowledge" of HTTP/2, and a call on
 *     an existing one never is: libcurl 7.88 breaks the second call on a connection if it is, and
 *     would open a new connection as HTTP/1.1 if it is not. So a call is made in one of two modes,
 *     and a call in the second mode that finds no connection changes to the first.
 *  3. After a failed transfer the connection is closed. An answer with a grpc-status other than 0 is
 *     no failed transfer.
 */
#include "grpc_priv.h"

#include <cdc/worker.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define POLL_MS 100            /* between two questions to conf.poll */
#define MAX_HEADERS (16 << 10) /* bytes of all header lines of one answer */
#define UPLOAD_BUFFER 262144L  /* libcurl's 64 KiB costs a quarter of the throughput */
#define RESERVE_MAX (1 << 20)  /* of a reply, before its bytes are there */
#define UNACKED_MS 5000        /* that bytes on a connection in use may stay without the other side's word */

void wire_init(void)
{
	/* OpenSSL writes to sockets without MSG_NOSIGNAL */
	signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Callbacks. */

static size_t read_request(char *to, size_t size, size_t count, void *arg)
{
	struct grpc_exchange *x = arg;
	size_t room = size * count, done = 0, n;

	if (x->sent < FRAME_HEAD) {
		n = FRAME_HEAD - x->sent < room ? FRAME_HEAD - x->sent : room;
		memcpy(to, x->head + x->sent, n);
		x->sent += n;
		done = n;
	}
	if (x->sent >= FRAME_HEAD) {
		size_t at = x->sent - FRAME_HEAD;

		n = x->req_size - at < room - done ? x->req_size - at : room - done;
		if (n)
			memcpy(to + done, x->req + at, n);
		x->sent += n;
		done += n;
	}
	return done;
}

/* Rewinding means sending a second time (invariant 1); nothing else seeks. */
static int seek_request(void *arg, curl_off_t offset, int origin)
{
	struct grpc_exchange *x = arg;

	if (origin != SEEK_SET || offset != 0 || x->sent)
		return CURL_SEEKFUNC_FAIL;
	return CURL_SEEKFUNC_OK;
}

static size_t end_transfer(struct grpc_exchange *x, enum grpc_end why)
{
	x->end = why;
	return 0;
}

static size_t write_reply(char *from, size_t size, size_t count, void *arg)
{
	struct grpc_exchange *x = arg;
	size_t total = size * count, n;
	const uint8_t *p = (const uint8_t *)from;

	if (x->http_status != 200 || !x->grpc_content)
		return total; /* somebody's error page */
	n = FRAME_HEAD - x->frame_size < total ? FRAME_HEAD - x->frame_size : total;
	if (n) {
		memcpy(x->frame + x->frame_size, p, n);
		x->frame_size += n;
		if (x->frame_size < FRAME_HEAD)
			return total;
		if (x->frame[0] != 0)
			return end_transfer(x, END_BAD_FRAME);
		x->want = (size_t)x->frame[1] << 24 | (size_t)x->frame[2] << 16 | (size_t)x->frame[3] << 8 |
			  x->frame[4];
		if (x->want > GRPC_MAX_REPLY)
			return end_transfer(x, END_TOO_BIG);
		buf_reserve(x->reply, x->want < RESERVE_MAX ? x->want : RESERVE_MAX);
	}
	if (total - n > x->want - x->reply->len)
		return end_transfer(x, END_BAD_FRAME); /* more than the one message of a unary answer */
	buf_add(x->reply, p + n, total - n);
	return total;
}

/* "name: value" with the name in any case: the value without blanks around it, or NULL. */
static const char *header_value(const char *line, size_t n, const char *name, size_t *ret_size)
{
	size_t len = strlen(name);

	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return NULL;
	line += len + 1;
	n -= len + 1;
	while (n && (*line == ' ' || *line == '\t')) {
		line++;
		n--;
	}
	while (n && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
		n--;
	*ret_size = n;
	return line;
}

static void status_line(struct grpc_exchange *x, const char *line, size_t n)
{
	char text[32];

	n = n < sizeof(text) - 1 ? n : sizeof(text) - 1;
	memcpy(text, line, n);
	text[n] = 0;
	x->http_major = x->http_status = 0;
	x->grpc_content = false;
	x->grpc_status = -1;
	x->message[0] = 0;
	if (sscanf(text, "HTTP/%1d%*[.0-9] %3d", &x->http_major, &x->http_status) != 2)
		sscanf(text, "HTTP/%1d %3d", &x->http_major, &x->http_status);
}

/* Headers, and trailers the same way: an answer without a message has its status in the headers. */
static size_t read_header(char *line, size_t size, size_t count, void *arg)
{
	struct grpc_exchange *x = arg;
	size_t n = size * count, len;
	const char *value;

	x->header_bytes += n;
	if (x->header_bytes > MAX_HEADERS)
		return end_transfer(x, END_BAD_HEADERS);
	if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		status_line(x, line, n);
	} else if ((value = header_value(line, n, "content-type", &len))) {
		x->grpc_content = len >= 16 && strncasecmp(value, "application/grpc", 16) == 0 &&
				  (len == 16 || value[16] == '+' || value[16] == ';');
	} else if ((value = header_value(line, n, "grpc-status", &len))) {
		int status = 0;

		for (size_t i = 0; i < len && status >= 0; i++)
			status = value[i] >= '0' && value[i] <= '9' && status < 1000
					 ? status * 10 + value[i] - '0'
					 : -1;
		if (len == 0 || status < 0)
			return end_transfer(x, END_BAD_HEADERS);
		x->grpc_status = status;
	} else if ((value = header_value(line, n, "grpc-message", &len))) {
		grpc_decode_message(value, len, x->message, sizeof(x->message));
	}
	return n;
}

/* Refusing the socket is how a new connection is prevented: invariants 1 and 2. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
	struct grpc_exchange *x = arg;

	(void)purpose;
	if (x->reuse || x->started) {
		x->stale = true;
		return CURL_SOCKET_BAD;
	}
	return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

static int before_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct grpc_exchange *x = arg;

	(void)ip;
	(void)local_ip;
	(void)port;
	(void)local_port;
	if (x->started)
		return CURL_PREREQFUNC_ABORT;
	x->started = true;
	return CURL_PREREQFUNC_OK;
}

/* The handle. */

static void copy_conf(struct grpc *g, const struct grpc_conf *conf)
{
	g->c = *conf;
	g->c.host = xstrdup(conf->host);
	g->c.metadata = xstrdup(conf->metadata);
	g->c.tls.ca_path = xstrdup(conf->tls.ca_path);
	g->c.tls.cert_path = xstrdup(conf->tls.cert_path);
	g->c.tls.key_path = xstrdup(conf->tls.key_path);
	g->c.tls.server_name = xstrdup(conf->tls.server_name);
}

static void set_names(struct grpc *g)
{
	const char *host = g->c.host, *name = g->c.tls.enable ? g->c.tls.server_name : NULL;
	bool v6 = strchr(host, ':') != NULL;
	AUTO_FREE char *bracketed = v6 ? xasprintf("[%s]", host) : xstrdup(host);

	g->where = xasprintf("%s:%d", bracketed, g->c.port);
	g->base_url = xasprintf("%s://%s:%d", g->c.tls.enable ? "https" : "http", name ? name : bracketed,
				g->c.port);
	if (name) {
		/* the certificate is for another name: ask for that name at the real address */
		AUTO_FREE char *map = xasprintf("%s:%d:%s:%d", name, g->c.port, bracketed, g->c.port);

		g->connect_to = curl_slist_append(NULL, map);
	}
}

static void new_multi(struct grpc *g)
{
	g->multi = curl_multi_init();
	if (!g->multi)
		abort(); /* out of memory */
	curl_multi_setopt(g->multi, CURLMOPT_MAXCONNECTS, 1L);
	g->opened = false;
}

static void drop_connection(struct grpc *g)
{
	curl_multi_cleanup(g->multi);
	new_multi(g);
}

static void set_tls(struct grpc *g)
{
	const struct conf_tls *tls = &g->c.tls;

	curl_easy_setopt(g->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(g->easy, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* a renewed CA file counts at once */
	if (tls->ca_path) {
		curl_easy_setopt(g->easy, CURLOPT_CAINFO, tls->ca_path);
		curl_easy_setopt(g->easy, CURLOPT_CAPATH, NULL);
	}
	if (tls->cert_path)
		curl_easy_setopt(g->easy, CURLOPT_SSLCERT, tls->cert_path);
	if (tls->key_path)
		curl_easy_setopt(g->easy, CURLOPT_SSLKEY, tls->key_path);
}

struct grpc *grpc_new(const struct grpc_conf *conf)
{
	struct grpc *g = xcalloc(1, sizeof(*g));

	copy_conf(g, conf);
	set_names(g);
	new_multi(g);
	g->easy = curl_easy_init();
	if (!g->easy)
		abort(); /* out of memory */
	curl_easy_setopt(g->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(g->easy, CURLOPT_QUICK_EXIT, 1L); /* a deadline does not wait for a name server */
	curl_easy_setopt(g->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(g->easy, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(g->easy, CURLOPT_USERAGENT, "milvus-cdc/" CDC_VERSION);
	curl_easy_setopt(g->easy, CURLOPT_TCP_NODELAY, 1L);
	/* a connection that the other side has forgotten is found by the next probe, long before a deadline
	 */
	curl_easy_setopt(g->easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(g->easy, CURLOPT_TCP_KEEPIDLE, 1L);
	curl_easy_setopt(g->easy, CURLOPT_TCP_KEEPINTVL, 1L);
	curl_easy_setopt(g->easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
	curl_easy_setopt(g->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(g->easy, CURLOPT_READFUNCTION, read_request);
	curl_easy_setopt(g->easy, CURLOPT_SEEKFUNCTION, seek_request);
	curl_easy_setopt(g->easy, CURLOPT_WRITEFUNCTION, write_reply);
	curl_easy_setopt(g->easy, CURLOPT_HEADERFUNCTION, read_header);
	curl_easy_setopt(g->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(g->easy, CURLOPT_PREREQFUNCTION, before_request);
	if (g->connect_to)
		curl_easy_setopt(g->easy, CURLOPT_CONNECT_TO, g->connect_to);
	if (g->c.tls.enable)
		set_tls(g);
	return g;
}

static void free_secret(const char *s)
{
	if (s)
		explicit_bzero((char *)(uintptr_t)s, strlen(s));
	free((char *)(uintptr_t)s);
}

void grpc_free(struct grpc *g)
{
	if (!g)
		return;
	curl_multi_cleanup(g->multi);
	curl_easy_cleanup(g->easy);
	curl_slist_free_all(g->connect_to);
	free(g->where);
	free(g->base_url);
	free((char *)(uintptr_t)g->c.host);
	free_secret(g->c.metadata);
	free(g->c.tls.ca_path);
	free(g->c.tls.cert_path);
	free(g->c.tls.key_path);
	free(g->c.tls.server_name);
	free(g);
}

void grpc_set_metadata(struct grpc *g, const char *metadata)
{
	free_secret(g->c.metadata);
	g->c.metadata = xstrdup(metadata);
}

/* One exchange. */

static struct curl_slist *request_headers(const struct grpc_exchange *x)
{
	/* the server gives up a little before us, so that its answer, not our timeout, ends the call */
	int server_ms = x->timeout_ms - (x->timeout_ms < 2000 ? x->timeout_ms / 10 : 200);
	struct curl_slist *list = NULL;
	char timeout[48];

	snprintf(timeout, sizeof(timeout), "grpc-timeout: %dm", server_ms > 0 ? server_ms : 1);
	list = curl_slist_append(list, "content-type: application/grpc");
	list = curl_slist_append(list, "te: trailers");
	list = curl_slist_append(list, "accept:");
	list = curl_slist_append(list, "expect:");
	list = curl_slist_append(list, timeout);
	if (x->g->c.metadata)
		list = curl_slist_append(list, x->g->c.metadata);
	return list;
}

static long http_version(const struct grpc_exchange *x)
{
	if (x->g->c.tls.enable)
		return CURL_HTTP_VERSION_2TLS;
	return x->reuse ? CURL_HTTP_VERSION_NONE : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
}

static void set_request(struct grpc_exchange *x, const char *url, struct curl_slist *headers)
{
	CURL *easy = x->g->easy;
	int connect_ms = x->g->c.connect_timeout_ms;

	if (connect_ms <= 0 || connect_ms > x->timeout_ms)
		connect_ms = x->timeout_ms;
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, http_version(x));
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(x->req_size + FRAME_HEAD));
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)x->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	curl_easy_setopt(easy, CURLOPT_READDATA, x);
	curl_easy_setopt(easy, CURLOPT_SEEKDATA, x);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, x);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, x);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->curl_text);
}

/* Runs the transfer to its end, asking conf.poll meanwhile. */
static CURLcode run(struct grpc_exchange *x)
{
	struct grpc *g = x->g;
	int64_t poll_ms = clock_mono_ms(), now;
	int running = 1, left;

	if (curl_multi_add_handle(g->multi, g->easy) != CURLM_OK)
		return CURLE_FAILED_INIT;
	for (;;) {
		if (curl_multi_perform(g->multi, &running) != CURLM_OK)
			return CURLE_FAILED_INIT;
		if (!running)
			break;
		now = clock_mono_ms();
		if (now - poll_ms >= POLL_MS) {
			poll_ms = now;
			if (g->c.poll && g->c.poll(g->c.poll_arg)) {
				x->end = END_STOPPED;
				return CURLE_ABORTED_BY_CALLBACK;
			}
		}
		/* libcurl's own deadline: but what it does not get to see must not hold us, either */
		if (now - x->begin_ms > x->timeout_ms + POLL_MS)
			return CURLE_OPERATION_TIMEDOUT;
		curl_multi_poll(g->multi, NULL, 0, POLL_MS, NULL);
	}
	for (CURLMsg *m; (m = curl_multi_info_read(g->multi, &left));)
		if (m->msg == CURLMSG_DONE)
			return m->data.result;
	return CURLE_FAILED_INIT;
}

/*
 * A connection that lies idle while the network is cut and still has a few bytes to bring (an acknowledgment
 * of HTTP/2 is enough) is not probed by keep-alive but sends them again, at ever longer intervals; the next
 * call would wait for that. With this it is dead by then, and a new one is made. Only the multi handle knows
 * the socket.
 */
static void limit_silence(const struct grpc *g)
{
	unsigned int ms = UNACKED_MS;
	curl_socket_t fd;

	if (curl_easy_getinfo(g->easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK && fd != CURL_SOCKET_BAD)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

static CURLcode exchange(struct grpc_exchange *x)
{
	struct grpc *g = x->g;
	AUTO_FREE char *url = xasprintf("%s%s", g->base_url, x->method);
	struct curl_slist *headers = request_headers(x);
	CURLcode rc;

	set_request(x, url, headers);
	rc = run(x);
	if (rc == CURLE_OK && !x->reuse)
		limit_silence(g);
	curl_multi_remove_handle(g->multi, g->easy);
	curl_easy_setopt(g->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(g->easy, CURLOPT_ERRORBUFFER, NULL);
	curl_slist_free_all(headers);
	return rc;
}

static void begin(struct grpc_exchange *x, bool reuse)
{
	x->reuse = reuse;
	x->sent = x->frame_size = x->want = x->header_bytes = 0;
	x->stale = x->started = false;
	x->http_major = x->http_status = 0;
	x->grpc_content = false;
	x->grpc_status = -1;
	x->message[0] = x->curl_text[0] = 0;
	x->end = END_NONE;
	buf_reset(x->reply);
}

/* Nothing came back that libcurl takes for HTTP/2, or for TLS: what is it? */
static bool worth_a_probe(const struct grpc_exchange *x, CURLcode rc)
{
	if (x->end != END_NONE || clock_mono_ms() - x->begin_ms > x->timeout_ms - PROBE_MS)
		return false;
	if (x->g->c.tls.enable)
		return rc == CURLE_SSL_CONNECT_ERROR && !grpc_is_certificate_alert(x->curl_text);
	return rc != CURLE_OK && rc != CURLE_OPERATION_TIMEDOUT && x->started && !x->reuse &&
	       x->http_status == 0;
}

/* The connection was there, and ended without a word: who we are may be why. */
static bool lost_an_alert(const struct grpc_exchange *x, CURLcode rc)
{
	if (!x->g->c.tls.enable || x->end != END_NONE || x->http_status != 0 ||
	    grpc_is_certificate_alert(x->curl_text))
		return false;
	return (rc == CURLE_SEND_ERROR || rc == CURLE_RECV_ERROR || rc == CURLE_HTTP2 ||
		rc == CURLE_HTTP2_STREAM || rc == CURLE_GOT_NOTHING) &&
	       clock_mono_ms() - x->begin_ms <= x->timeout_ms - PROBE_MS;
}

int grpc_call(struct grpc *g, const char *method, const void *req, size_t n, int deadline_ms,
	      struct buf *reply, int *status, struct err *err)
{
	struct grpc_exchange x = {.g = g, .method = method, .timeout_ms = deadline_ms > 0 ? deadline_ms : 1};
	CURLcode rc;
	int ret;

	if (status)
		*status = -1;
	buf_reset(reply);
	if (n > UINT32_MAX)
		return err_set(err, ERR_TOO_LARGE,
			       "%s: %s: a message of %zu bytes is over gRPC's limit of 4 GiB", g->where,
			       method, n);
	x.begin_ms = clock_mono_ms();
	x.req = req;
	x.req_size = n;
	x.reply = reply;
	for (int i = 1; i < FRAME_HEAD; i++)
		x.head[i] = (uint8_t)(n >> (8 * (FRAME_HEAD - 1 - i)));
	begin(&x, g->opened && !g->c.tls.enable);
	rc = exchange(&x);
	if (x.reuse && x.stale && !x.started) {
		/* the server closed the idle connection; nothing was sent */
		drop_connection(g);
		begin(&x, false);
		rc = exchange(&x);
	}
	if (rc == CURLE_OK && x.http_major == 2)
		g->opened = true;
	else
		drop_connection(g);
	if (status)
		*status = x.grpc_status;
	if (grpc_answered(&x))
		return 0;
	if (worth_a_probe(&x, rc))
		x.peer = grpc_probe(g);
	else if (lost_an_alert(&x, rc))
		grpc_probe_alert(g, x.curl_text);
	ret = grpc_fail(&x, rc, err);
	buf_reset(reply);
	return ret;
}
