/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted server: a thread that accepts, and the frames of HTTP/2 written by hand. */
#include "h2_server.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, WINDOW_UPDATE = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

struct fake_server {
	pthread_t thread;
	pthread_mutex_t lock; /* below */
	bool stop;
	int fd, connections;
	/* read-only once started */
	int listener, port;
	fake_handler *handler;
	void *arg;
};

static int listen_any(int *ret_port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	assert(getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
	*ret_port = ntohs(addr.sin_port);
	return fd;
}

int fake_free_port(void)
{
	int port, fd = listen_any(&port);

	close(fd);
	return port;
}

static void *serve(void *arg)
{
	struct fake_server *s = arg;
	bool stop = false;

	while (!stop) {
		int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC), number, on = 1;

		if (fd < 0)
			break;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		pthread_mutex_lock(&s->lock);
		stop = s->stop;
		number = s->connections++;
		s->fd = fd;
		pthread_mutex_unlock(&s->lock);
		if (!stop)
			s->handler(fd, number, s->arg);
		pthread_mutex_lock(&s->lock);
		s->fd = -1;
		stop = s->stop;
		pthread_mutex_unlock(&s->lock);
		close(fd);
	}
	return NULL;
}

struct fake_server *fake_server_new(fake_handler *handler, void *arg)
{
	struct fake_server *s = xcalloc(1, sizeof(*s));

	s->handler = handler;
	s->arg = arg;
	s->fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	s->listener = listen_any(&s->port);
	assert(listen(s->listener, 16) == 0);
	assert(pthread_create(&s->thread, NULL, serve, s) == 0);
	return s;
}

int fake_server_port(const struct fake_server *s)
{
	return s->port;
}

int fake_server_connections(struct fake_server *s)
{
	int n;

	pthread_mutex_lock(&s->lock);
	n = s->connections;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void fake_server_free(struct fake_server *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	shutdown(s->listener, SHUT_RDWR);
	if (s->fd >= 0)
		shutdown(s->fd, SHUT_RDWR);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	close(s->listener);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static bool read_all(int fd, void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = read(fd, (char *)p + done, n - done);

		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

void fake_wait_close(int fd)
{
	char c[512];

	while (read(fd, c, sizeof(c)) > 0)
		;
}

void fake_write(int fd, const void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t put = send(fd, (const char *)p + done, n - done, MSG_NOSIGNAL);

		if (put <= 0)
			return;
		done += (size_t)put;
	}
}

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void frame(int fd, uint8_t type, uint8_t flags, uint32_t stream, const void *p, size_t n)
{
	AUTO_BUF struct buf b = {0};
	uint8_t head[9] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, type, flags};

	put32(head + 5, stream);
	buf_add(&b, head, sizeof(head));
	buf_add(&b, p, n);
	fake_write(fd, b.data, b.len);
}

bool h2_open(int fd)
{
	static const uint8_t settings[] = {0, 4, 0x40, 0, 0, 0}; /* INITIAL_WINDOW_SIZE = 1 GiB */
	static const uint8_t window[] = {0x40, 0, 0, 0};
	char preface[24];

	if (!read_all(fd, preface, sizeof(preface)) ||
	    memcmp(preface, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24) != 0)
		return false;
	frame(fd, SETTINGS, 0, 0, settings, sizeof(settings));
	frame(fd, WINDOW_UPDATE, 0, 0, window, sizeof(window));
	return true;
}

uint32_t h2_request(int fd, struct buf *body)
{
	AUTO_BUF struct buf payload = {0};
	uint8_t head[9];

	while (read_all(fd, head, sizeof(head))) {
		size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
		uint32_t stream = (uint32_t)(head[5] & 0x7f) << 24 | (uint32_t)head[6] << 16 |
				  (uint32_t)head[7] << 8 | head[8];

		buf_reset(&payload);
		buf_reserve(&payload, n);
		if (!read_all(fd, payload.data, n))
			return 0;
		if (head[3] == SETTINGS && !(head[4] & ACK))
			frame(fd, SETTINGS, ACK, 0, NULL, 0);
		else if (head[3] == PING && !(head[4] & ACK))
			frame(fd, PING, ACK, 0, payload.data, n);
		else if (head[3] == DATA && body)
			buf_add(body, payload.data, n);
		if ((head[3] == DATA || head[3] == HEADERS) && (head[4] & END_STREAM))
			return stream;
	}
	return 0;
}

/* HPACK string: length with a 7 bit prefix, no Huffman. */
static void put_text(struct buf *b, const char *s, size_t n)
{
	buf_addc(b, n < 127 ? (uint8_t)n : 127);
	if (n >= 127) {
		size_t rest = n - 127;

		for (; rest >= 128; rest >>= 7)
			buf_addc(b, (uint8_t)(rest | 128));
		buf_addc(b, (uint8_t)rest);
	}
	buf_add(b, s, n);
}

void h2_headers(int fd, uint32_t stream, bool end, const char *lines)
{
	AUTO_BUF struct buf b = {0};

	while (*lines) {
		const char *colon = strchr(lines + 1, ':'), *eol = strchrnul(lines, '\n');

		assert(colon && colon < eol && colon[1] == ' ');
		buf_addc(&b, 0); /* literal, new name, not indexed */
		put_text(&b, lines, (size_t)(colon - lines));
		put_text(&b, colon + 2, (size_t)(eol - colon - 2));
		lines = *eol ? eol + 1 : eol;
	}
	frame(fd, HEADERS, (uint8_t)(END_HEADERS | (end ? END_STREAM : 0)), stream, b.data, b.len);
}

void h2_data(int fd, uint32_t stream, bool end, const void *p, size_t n)
{
	const uint8_t *at = p;

	do {
		size_t part = n < 16384 ? n : 16384;

		frame(fd, DATA, end && part == n ? END_STREAM : 0, stream, at, part);
		at += part;
		n -= part;
	} while (n);
}

void h2_reset(int fd, uint32_t stream, uint32_t code)
{
	uint8_t p[4];

	put32(p, code);
	frame(fd, RST_STREAM, 0, stream, p, sizeof(p));
}

void h2_answer(int fd, uint32_t stream, const void *p, size_t n)
{
	AUTO_BUF struct buf b = {0};
	uint8_t head[5] = {0};

	put32(head + 1, (uint32_t)n);
	buf_add(&b, head, sizeof(head));
	buf_add(&b, p, n);
	h2_headers(fd, stream, false, ":status: 200\ncontent-type: application/grpc");
	h2_data(fd, stream, false, b.data, b.len);
	h2_headers(fd, stream, true, "grpc-status: 0");
}
