/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scripted TCP server in a thread of the test: connections one after another, each given to a
 * handler that says what to read and what to write, byte for byte. With just enough HTTP/2 to act
 * as a gRPC server that misbehaves in every way. It speaks when the script says so and not before.
 */
#ifndef FAKE_H2_SERVER_H
#define FAKE_H2_SERVER_H

#include <cdc/mem.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_server;
/* connection counts from 0. The server closes fd after it. */
typedef void fake_handler(int fd, int connection, void *arg);
struct fake_server *fake_server_new(fake_handler *handler, void *arg); /* listens on 127.0.0.1 */
int fake_server_port(const struct fake_server *s);
int fake_server_connections(struct fake_server *s); /* accepted so far */
void fake_server_free(struct fake_server *s);       /* ends the handler's reads, joins */
DEFINE_AUTO(struct fake_server, fake_server_free)

/* A port of 127.0.0.1 that nobody listens on at this moment. */
int fake_free_port(void);

/* Blocks until the peer closes or the server is freed. */
void fake_wait_close(int fd);
void fake_write(int fd, const void *p, size_t n);

/* HTTP/2. All return false, or 0, when the connection is gone. */
bool h2_open(int fd); /* reads the preface, sends SETTINGS with huge windows */
/* Next request: its stream, the body in *body (may be NULL); 0: no more. */
uint32_t h2_request(int fd, struct buf *body);
/* lines: "name: value\n..." in lower case; ":status: 200" first. */
void h2_headers(int fd, uint32_t stream, bool end, const char *lines);
void h2_data(int fd, uint32_t stream, bool end, const void *p, size_t n);
void h2_reset(int fd, uint32_t stream, uint32_t code);
/* The usual answer: headers, one gRPC message, trailers with status 0. */
void h2_answer(int fd, uint32_t stream, const void *p, size_t n);

#endif
