/* SPDX-License-Identifier: Apache-2.0 */
/* The gRPC client where there is no gRPC: nobody, a web server, another protocol, TLS, a hang-up. */
#include "grpc_kit.h"

#include <sys/socket.h>
#include <unistd.h>

/* arg: bytes to say after the first bytes of the client; then waits for it to go */
static void says(int fd, int connection, void *arg)
{
	char c[64];

	(void)connection;
	if (read(fd, c, sizeof(c)) <= 0)
		return;
	fake_write(fd, arg, strlen(arg));
	fake_wait_close(fd);
}

TEST(http1_server_is_foreign)
{
	fails(says, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", FOREIGN,
	      "a web server without HTTP/2, not gRPC");
	fails(says, "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n", FOREIGN,
	      "a web server without HTTP/2, not gRPC");
}

TEST(garbage_is_foreign)
{
	fails(says, "220 mail.example.com ESMTP ready, go ahead\r\n", FOREIGN, "no HTTP/2 server, not gRPC");
	fails(says, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13", FOREIGN,
	      "no HTTP/2 server, not gRPC");
}

/* A TLS server that is greeted in the clear: an alert, and it hangs up. */
static void tls_alert(int fd, int connection, void *arg)
{
	char c[64];

	(void)connection;
	(void)arg;
	if (read(fd, c, sizeof(c)) <= 0)
		return;
	fake_write(fd, "\x15\x03\x01\x00\x02\x02\x46", 7);
	shutdown(fd, SHUT_WR);
	fake_wait_close(fd);
}

TEST(server_that_wants_tls_is_told_so)
{
	fails(tls_alert, NULL, LOST, "the server wants TLS: use https://");
}

static void close_at_once(int fd, int connection, void *arg)
{
	(void)fd;
	(void)connection;
	(void)arg;
}

TEST(server_that_hangs_up_is_lost)
{
	fails(close_at_once, NULL, LOST, "connection lost");
}

static void reset_stream(int fd, int connection, void *arg)
{
	uint32_t stream;

	(void)connection;
	if (h2_open(fd) && (stream = h2_request(fd, NULL))) {
		h2_reset(fd, stream, (uint32_t)(uintptr_t)arg);
		fake_wait_close(fd);
	}
}

TEST(stream_reset_is_lost)
{
	fails(reset_stream, (void *)2, LOST, "connection lost"); /* INTERNAL_ERROR */
	fails(reset_stream, (void *)7, LOST,
	      "connection lost"); /* REFUSED_STREAM: libcurl would send again */
	fails(reset_stream, (void *)8, LOST, "connection lost"); /* CANCEL */
}

TEST(closed_port_is_refused_with_a_hint)
{
	AUTO(grpc_free) struct grpc *g = client(fake_free_port(), NULL);
	AUTO_BUF struct buf reply = {0};
	struct result r = call(g, "x", 1, 2000, &reply);

	CHECK_INT(r.rc, -LOST);
	CHECK_INT(r.status, -1);
	CHECKF(strstr(r.err.text, "connection refused; is the server running"), "%s", r.err.text);
	CHECKF(r.ms < 1000, "%lld ms", (long long)r.ms);
}

TEST(unknown_host_is_said_so)
{
	/* a label of 64 bytes: no name server is asked */
	char host[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.invalid";
	struct grpc_conf c = {.host = host,
			      .port = 1,
			      .connect_timeout_ms = 2000,
			      .lost = LOST,
			      .auth = AUTH,
			      .foreign = FOREIGN};
	AUTO(grpc_free) struct grpc *g = grpc_new(&c);
	AUTO_BUF struct buf reply = {0};
	struct result r = call(g, "x", 1, 2000, &reply);

	CHECK_INT(r.rc, -LOST);
	CHECKF(strstr(r.err.text, "no such host"), "%s", r.err.text);
}

TEST_MAIN()
