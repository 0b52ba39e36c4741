/* SPDX-License-Identifier: Apache-2.0 */
/* The gRPC client against a scripted server: messages, statuses, deadlines, and what is no answer. */
#include "grpc_kit.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

static void echo(int fd, int connection, void *arg)
{
	AUTO_BUF struct buf body = {0};
	uint32_t stream;

	(void)connection;
	(void)arg;
	if (!h2_open(fd))
		return;
	while ((stream = h2_request(fd, &body))) {
		/* the frame's head must announce exactly the rest */
		if (body.len >= 5 && body.data[0] == 0 &&
		    body.len - 5 == ((size_t)body.data[1] << 24 | (size_t)body.data[2] << 16 |
				     (size_t)body.data[3] << 8 | body.data[4]))
			h2_answer(fd, stream, body.data + 5, body.len - 5);
		else
			h2_headers(fd, stream, true, OK_HEADERS "\ngrpc-status: 3\ngrpc-message: bad frame");
		buf_reset(&body);
	}
}

TEST(call_returns_the_message_and_uses_one_connection_for_all)
{
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(echo, NULL);
	AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), "authorization: cm9vdDpNaWx2dXM=");
	AUTO_BUF struct buf reply = {0};

	for (int i = 0; i < 50; i++) {
		char text[32];
		int n = snprintf(text, sizeof(text), "message %d", i);
		struct result r = call(g, text, (size_t)n, 2000, &reply);

		CHECKF(r.rc == 0 && r.status == 0, "%s", r.err.text);
		CHECK_STR((char *)reply.data, text);
	}
	CHECK_INT(fake_server_connections(s), 1);
	CHECK(call(g, "", 0, 2000, &reply).rc == 0);
	CHECK_INT(reply.len, 0);
	CHECK(call(g, NULL, 0, 2000, &reply).rc == 0);
	CHECK(grpc_call(g, METHOD, "x", 1, 2000, &reply, NULL, NULL) == 0);
	CHECK_INT(fake_server_connections(s), 1);
}

TEST(large_messages_arrive_whole)
{
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(echo, NULL);
	AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), NULL);
	AUTO_BUF struct buf reply = {0};
	size_t sizes[] = {1, 16379, 16380, 65536, 262139, 262140, 1 << 20, 9 << 20};

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		AUTO_FREE uint8_t *p = xmalloc(sizes[i]);
		struct result r;

		for (size_t k = 0; k < sizes[i]; k++)
			p[k] = (uint8_t)(k * 2654435761u >> 13);
		r = call(g, p, sizes[i], 10000, &reply);
		CHECKF(r.rc == 0, "%s", r.err.text);
		CHECK(reply.len == sizes[i] && memcmp(reply.data, p, sizes[i]) == 0);
	}
	CHECK_INT(fake_server_connections(s), 1);
}

static void in_pieces(int fd, int connection, void *arg)
{
	static const uint8_t body[] = {0, 0, 0, 0, 6, 'p', 'i', 'e', 'c', 'e', 's'};
	uint32_t stream;

	(void)connection;
	(void)arg;
	if (!h2_open(fd) || !(stream = h2_request(fd, NULL)))
		return;
	h2_headers(fd, stream, false, ":status: 200\ncontent-type: application/grpc+proto\nx-more: 1");
	for (size_t i = 0; i < sizeof(body); i++)
		h2_data(fd, stream, false, body + i, 1);
	h2_headers(fd, stream, true, "grpc-status: 0\ngrpc-message: fine");
	fake_wait_close(fd);
}

TEST(answer_may_come_byte_by_byte)
{
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(in_pieces, NULL);
	AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), NULL);
	AUTO_BUF struct buf reply = {0};
	struct result r = call(g, "x", 1, 2000, &reply);

	CHECKF(r.rc == 0, "%s", r.err.text);
	CHECK_STR((char *)reply.data, "pieces");
}

/* Answers one request, and closes when it is told to; says when that is done. */
static void close_when_told(int fd, int connection, void *arg)
{
	int *told = arg, *done = (int *)arg + 2;
	uint32_t stream;
	char c;

	(void)connection;
	if (!h2_open(fd) || !(stream = h2_request(fd, NULL)))
		return;
	h2_answer(fd, stream, "bye", 3);
	if (read(told[0], &c, 1) != 1)
		return;
	shutdown(fd, SHUT_WR);
	if (write(done[1], "d", 1) == 1)
		fake_wait_close(fd);
}

TEST(idle_connection_that_the_server_closed_is_opened_again_unnoticed)
{
	int pipes[4];
	char c;

	CHECK(pipe(pipes) == 0 && pipe(pipes + 2) == 0);
	{
		AUTO(fake_server_free) struct fake_server *s = fake_server_new(close_when_told, pipes);
		AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), NULL);
		AUTO_BUF struct buf reply = {0};

		for (int i = 0; i < 10; i++) {
			struct result r = call(g, "x", 1, 2000, &reply);

			CHECKF(r.rc == 0, "%d: %s", i, r.err.text);
			CHECK_STR((char *)reply.data, "bye");
			CHECK(write(pipes[1], "t", 1) == 1 && read(pipes[2], &c, 1) == 1);
		}
		CHECK_INT(fake_server_connections(s), 10);
	}
	for (size_t i = 0; i < ARRAY_LEN(pipes); i++)
		close(pipes[i]);
}

/* Of our connections to that port: the greatest time that bytes may stay unacknowledged, 0: for ever. */
static unsigned int silence_limit(int port)
{
	unsigned int most = 0;

	for (int fd = 3; fd < 256; fd++) {
		struct sockaddr_in peer;
		socklen_t n = sizeof(peer), size = sizeof(unsigned int);
		unsigned int ms = 0;

		if (getpeername(fd, (struct sockaddr *)&peer, &n) == 0 && peer.sin_family == AF_INET &&
		    ntohs(peer.sin_port) == port &&
		    getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &size) == 0 && ms > most)
			most = ms;
	}
	return most;
}

TEST(idle_connection_that_a_cut_network_left_with_bytes_to_bring_is_given_up_in_5_s)
{
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(echo, NULL);
	AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), NULL);
	AUTO_BUF struct buf reply = {0};

	CHECK(call(g, "x", 1, 2000, &reply).rc == 0);
	CHECK_INT(silence_limit(fake_server_port(s)), 5000);
	CHECK(call(g, "x", 1, 2000, &reply).rc == 0);
	CHECK_INT(silence_limit(fake_server_port(s)), 5000);
	CHECK_INT(fake_server_connections(s), 1);
}

static void answer_and_close(int fd, int connection, void *arg)
{
	uint32_t stream;

	(void)arg;
	(void)connection;
	if (h2_open(fd) && (stream = h2_request(fd, NULL))) {
		h2_answer(fd, stream, "bye", 3);
		shutdown(fd, SHUT_WR);
		fake_wait_close(fd);
	}
}

/* libcurl 7.88 drops trailers that arrive together with the end of the connection. */
TEST(answer_without_its_trailers_is_not_taken_for_success)
{
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(answer_and_close, NULL);
	AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), NULL);
	AUTO_BUF struct buf reply = {0};

	for (int i = 0; i < 10; i++) {
		struct result r = call(g, "x", 1, 2000, &reply);

		CHECKF(r.rc == 0 ? r.status == 0 : r.rc == -LOST && r.status == -1, "%s", r.err.text);
		CHECK_STR(r.rc == 0 ? (char *)reply.data : "bye", "bye");
		CHECK(r.rc == 0 || reply.len == 0);
	}
}

/* First connection: answers one, takes the next request and closes. arg counts requests seen. */
static void die_with_request(int fd, int connection, void *arg)
{
	atomic_int *requests = arg;
	uint32_t stream;

	if (!h2_open(fd))
		return;
	while ((stream = h2_request(fd, NULL))) {
		atomic_fetch_add(requests, 1);
		if (connection == 0 && atomic_load(requests) == 2)
			return;
		h2_answer(fd, stream, "ok", 2);
	}
}

TEST(a_request_is_never_sent_twice_by_one_call)
{
	atomic_int requests = 0;
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(die_with_request, &requests);
	AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), NULL);
	AUTO_BUF struct buf reply = {0};
	struct result r;

	CHECK(call(g, "x", 1, 2000, &reply).rc == 0);
	r = call(g, "x", 1, 2000, &reply);
	CHECKF(r.rc == -LOST && r.status == -1, "%d %s", r.rc, r.err.text);
	CHECKF(strstr(r.err.text, "connection lost"), "%s", r.err.text);
	CHECK_INT(atomic_load(&requests), 2);
	CHECK(call(g, "x", 1, 2000, &reply).rc == 0);
	CHECK_INT(atomic_load(&requests), 3);
	CHECK_INT(fake_server_connections(s), 2);
}

TEST(grpc_status_becomes_lost_auth_or_foreign)
{
	static const struct {
		const char *headers;
		int status, code;
		const char *text;
	} t[] = {
		{OK_HEADERS "\ngrpc-status: 1\ngrpc-message: m", 1, LOST, "m (gRPC status 1, CANCELLED)"},
		{OK_HEADERS "\ngrpc-status: 2", 2, LOST, "UNKNOWN"},
		{OK_HEADERS "\ngrpc-status: 3\ngrpc-message: m", 3, LOST, "INVALID_ARGUMENT"},
		{OK_HEADERS "\ngrpc-status: 4\ngrpc-message: m", 4, LOST, "timed out after 1.5 s: m"},
		{OK_HEADERS "\ngrpc-status: 7\ngrpc-message: m", 7, AUTH, "PERMISSION_DENIED"},
		{OK_HEADERS "\ngrpc-status: 8\ngrpc-message: slow down", 8, LOST, "RESOURCE_EXHAUSTED"},
		{OK_HEADERS
		 "\ngrpc-status: 8\ngrpc-message: grpc: received message larger than max (9 vs. 4)",
		 8, ERR_TOO_LARGE, "larger than max (9 vs. 4)"},
		{OK_HEADERS "\ngrpc-status: 10\ngrpc-message: m", 10, LOST, "ABORTED"},
		{OK_HEADERS "\ngrpc-status: 12\ngrpc-message: unknown service", 12, FOREIGN, "right server"},
		{OK_HEADERS "\ngrpc-status: 13\ngrpc-message: m", 13, LOST, "INTERNAL"},
		{OK_HEADERS "\ngrpc-status: 14\ngrpc-message: m", 14, LOST, "UNAVAILABLE"},
		{OK_HEADERS "\ngrpc-status: 16\ngrpc-message: m", 16, AUTH, "check user, password or token"},
		{OK_HEADERS "\ngrpc-status: 77\ngrpc-message: m", 77, LOST, "unknown status"},
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		CHECK_INT(fails(trailers_only, t[i].headers, t[i].code, t[i].text).status, t[i].status);
}

TEST(a_refusal_by_status_keeps_the_connection)
{
	AUTO(fake_server_free)
	struct fake_server *s =
		fake_server_new(trailers_only, OK_HEADERS "\ngrpc-status: 14\ngrpc-message: later");
	AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), NULL);
	AUTO_BUF struct buf reply = {0};

	for (int i = 0; i < 5; i++)
		CHECK_INT(call(g, "x", 1, 2000, &reply).status, 14);
	CHECK_INT(fake_server_connections(s), 1);
}

TEST(grpc_message_is_percent_decoded_into_printable_utf8)
{
#define M OK_HEADERS "\ngrpc-status: 13\ngrpc-message: "
	fails(trailers_only, M "50%25 %E4%BD%A0%e5%a5%bd%21", LOST, "50% 你好!");
	fails(trailers_only, M "a%0Ab%1b[0m%00c%7fd", LOST, "a?b?[0m?c?d");
	fails(trailers_only, M "%ff%C0%80%ED%A0%80%E4%BD", LOST, "???????? (gRPC");
	fails(trailers_only, M "%F0%9F%98%80%F4%90%80%80", LOST, "\xf0\x9f\x98\x80????");
	fails(trailers_only, M "100% %4 %zz %", LOST, "100% %4 %zz %");
#undef M
}

TEST(a_long_grpc_message_is_cut_at_a_character)
{
	char headers[4096] = OK_HEADERS "\ngrpc-status: 13\ngrpc-message: x";
	struct result r;
	const char *end;

	for (int i = 0; i < 300; i++)
		strcat(headers, "%C3%A4");
	r = fails(trailers_only, headers, LOST, "xää");
	end = strstr(r.err.text, " (gRPC status 13");
	CHECK(end && memcmp(end - 2, "ä", 2) == 0);
	CHECK(end - r.err.text < 600);
}

TEST(metadata_is_not_shown_even_if_the_server_repeats_it)
{
	AUTO(fake_server_free)
	struct fake_server *s =
		fake_server_new(trailers_only, OK_HEADERS
				"\ngrpc-status: 16\ngrpc-message: bad token 'c2VjcmV0OnNlY3JldA%3D%3D'");
	AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), "authorization: c2VjcmV0OnNlY3JldA==");
	AUTO_BUF struct buf reply = {0};
	struct result r = call(g, "x", 1, 2000, &reply);

	CHECK_INT(r.rc, -AUTH);
	CHECKF(!strstr(r.err.text, "c2VjcmV0"), "%s", r.err.text);
	grpc_set_metadata(g, NULL);
	r = call(g, "x", 1, 2000, &reply);
	CHECK(strstr(r.err.text, "c2VjcmV0OnNlY3JldA=="));
	CHECK_INT(fake_server_connections(s), 1);
}

struct script {
	const char *headers, *trailers;
	const uint8_t *body;
	size_t size;
};

static void scripted(int fd, int connection, void *arg)
{
	const struct script *sc = arg;
	uint32_t stream;

	(void)connection;
	if (!h2_open(fd))
		return;
	while ((stream = h2_request(fd, NULL))) {
		h2_headers(fd, stream, false, sc->headers);
		h2_data(fd, stream, !sc->trailers, sc->body, sc->size);
		if (sc->trailers)
			h2_headers(fd, stream, true, sc->trailers);
	}
}

TEST(an_answer_must_be_one_whole_uncompressed_message)
{
	static const uint8_t b[] = {0, 0, 0, 0, 3, 'a', 'b', 'c', 'd'}, packed[] = {1, 0, 0, 0, 1, 'x'};
	static const uint8_t huge[] = {0, 0x10, 0, 0, 1, 'x'};
	struct script sc = {OK_HEADERS, "grpc-status: 0", b, 7};

	fails(scripted, &sc, LOST, "broke off"); /* too short */
	sc.size = 4;
	fails(scripted, &sc, LOST, "broke off"); /* not even a frame head */
	sc.size = 9;
	fails(scripted, &sc, FOREIGN, "not one uncompressed gRPC message");
	sc = (struct script){OK_HEADERS, "grpc-status: 0", packed, sizeof(packed)};
	fails(scripted, &sc, FOREIGN, "not one uncompressed gRPC message");
	sc = (struct script){OK_HEADERS, "grpc-status: 0", huge, sizeof(huge)};
	fails(scripted, &sc, FOREIGN, "268435457 bytes, more than our limit of 268435456");
	sc = (struct script){OK_HEADERS, NULL, b, 8};
	fails(scripted, &sc, LOST, "broke off"); /* no grpc-status */
	sc = (struct script){OK_HEADERS, "grpc-status: zero", b, 8};
	fails(scripted, &sc, FOREIGN, "headers that are not gRPC's");
	fails(trailers_only, OK_HEADERS "\ngrpc-status: 0", LOST, "broke off");
}

TEST(headers_are_limited)
{
	static const uint8_t body[] = {0, 0, 0, 0, 0};
	AUTO_BUF struct buf headers = {0}, trailers = {0};
	struct script sc;

	buf_adds(&headers, OK_HEADERS);
	for (int i = 0; i < 7; i++) {
		buf_addf(&headers, "\nx-%d: %01000d", i, i);
		buf_addf(&trailers, "x-%d: %01000d\n", i, i);
	}
	buf_adds(&trailers, "grpc-status: 14\ngrpc-message: fits");
	sc = (struct script){(char *)headers.data, (char *)trailers.data, body, sizeof(body)};
	CHECK_INT(fails(scripted, &sc, LOST, "fits").status, 14);
	for (int i = 0; i < 3; i++)
		buf_addf(&headers, "\ny-%d: %01000d", i, i);
	sc.headers = (char *)headers.data;
	fails(scripted, &sc, FOREIGN, "headers that are not gRPC's");
}

TEST(http2_without_grpc_is_judged_by_its_status)
{
	static const uint8_t page[] = "<html>";
	struct script sc = {":status: 404\ncontent-type: text/html", NULL, page, 6};

	fails(scripted, &sc, FOREIGN, "web server (HTTP/2 status 404)");
	sc.headers = ":status: 200\ncontent-type: text/html";
	fails(scripted, &sc, FOREIGN, "web server (HTTP/2 status 200)");
	sc.headers = ":status: 200\ncontent-type: application/grpc-web+proto";
	fails(scripted, &sc, FOREIGN, "web server");
	sc.headers = ":status: 503\ncontent-type: text/plain";
	fails(scripted, &sc, LOST, "HTTP status 503: the server behind it is not up");
	sc.headers = ":status: 401\ncontent-type: text/plain";
	fails(scripted, &sc, AUTH, "HTTP status 401");
}

static void silent(int fd, int connection, void *arg)
{
	(void)connection;
	(void)arg;
	fake_wait_close(fd);
}

static void silent_h2(int fd, int connection, void *arg)
{
	(void)connection;
	(void)arg;
	if (h2_open(fd))
		while (h2_request(fd, NULL))
			;
}

TEST(deadline_ends_a_call_that_gets_no_answer)
{
	fake_handler *handlers[] = {silent, silent_h2};

	for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
		AUTO(fake_server_free) struct fake_server *s = fake_server_new(handlers[i], NULL);
		AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), NULL);
		AUTO_BUF struct buf reply = {0};
		struct result r = call(g, "x", 1, 500, &reply);

		CHECK_INT(r.rc, -LOST);
		CHECK_INT(r.status, -1);
		CHECKF(strstr(r.err.text, "timed out after 0.5 s: connected, but no complete answer"), "%s",
		       r.err.text);
		CHECKF(r.ms >= 450 && r.ms < 800, "%lld ms", (long long)r.ms);
	}
}

static bool stop_from_the_second_time(void *arg)
{
	return ++*(int *)arg >= 2;
}

TEST(R33_poll_is_asked_and_ends_a_call_early)
{
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(silent_h2, NULL);
	static char host[] = "127.0.0.1";
	int asked = 0;
	struct grpc_conf c = {.host = host,
			      .port = fake_server_port(s),
			      .connect_timeout_ms = 2000,
			      .lost = LOST,
			      .auth = AUTH,
			      .foreign = FOREIGN,
			      .poll = stop_from_the_second_time,
			      .poll_arg = &asked};
	AUTO(grpc_free) struct grpc *g = grpc_new(&c);
	AUTO_BUF struct buf reply = {0};
	struct result r = call(g, "x", 1, 10000, &reply);

	CHECK_INT(r.rc, -ERR_STOPPED);
	CHECK_INT(r.status, -1);
	CHECK_INT(asked, 2);
	CHECKF(r.ms < 400, "%lld ms", (long long)r.ms);
	/* and the handle is usable afterwards */
	asked = -1000;
	r = call(g, "x", 1, 300, &reply);
	CHECK_INT(r.rc, -LOST);
	CHECK(asked > -1000);
}

/* Takes no more than the first bytes of a big request and resets it, as Go does with what is too large. */
static void reset_early(int fd, int connection, void *arg)
{
	uint8_t head[9 + 16384];

	(void)connection;
	(void)arg;
	if (!h2_open(fd) || read(fd, head, sizeof(head)) <= 0)
		return;
	h2_reset(fd, 1, 0);
	fake_wait_close(fd);
}

TEST(a_big_request_that_is_broken_off_is_too_large)
{
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(reset_early, NULL);
	AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), NULL);
	AUTO_BUF struct buf reply = {0};
	size_t n = 5 << 20;
	AUTO_FREE uint8_t *p = xcalloc(1, n);
	struct result r = call(g, p, n, 5000, &reply);

	CHECKF(r.rc == -ERR_TOO_LARGE, "%s", r.err.text);
	CHECKF(strstr(r.err.text, "5242880 bytes"), "%s", r.err.text);
	r = call(g, p, 1000, 5000, &reply);
	CHECKF(r.rc == -LOST, "%s", r.err.text);
}

TEST(freeing_nothing_is_fine)
{
	grpc_free(NULL);
	grpc_free(client(1, "a: b"));
}

TEST_MAIN()
