/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the gRPC client share: a client of a server on this machine, one call, and the
 * check of a failing one. Codes are distinct, so that a test sees which of lost, auth and foreign
 * was meant. Included by one file of a program.
 */
#ifndef GRPC_KIT_H
#define GRPC_KIT_H

#include <cdc/wire.h>
#include <cdc/worker.h>

#include "../fake/h2_server.h"
#include "../t.h"

enum { LOST = ERR_TARGET_LOST, AUTH = ERR_TARGET_AUTH, FOREIGN = ERR_TARGET_BAD };
#define METHOD "/test.Service/Method"
#define OK_HEADERS ":status: 200\ncontent-type: application/grpc"

static struct grpc *client(int port, const char *metadata)
{
	static char host[] = "127.0.0.1";
	struct grpc_conf c = {.host = host,
			      .port = port,
			      .connect_timeout_ms = 2000,
			      .metadata = metadata,
			      .lost = LOST,
			      .auth = AUTH,
			      .foreign = FOREIGN};

	return grpc_new(&c);
}

struct result {
	int rc, status;
	int64_t ms;
	struct err err;
};

static struct result call(struct grpc *g, const void *req, size_t n, int deadline_ms, struct buf *reply)
{
	struct result r = {.status = -2};
	int64_t begin = clock_mono_ms();

	r.rc = grpc_call(g, METHOD, req, n, deadline_ms, reply, &r.status, &r.err);
	r.ms = clock_mono_ms() - begin;
	return r;
}

/* One call to a server that does `handler`; err must have code, say text, and the reply be empty. */
static struct result fails(fake_handler *handler, const void *arg, int code, const char *text)
{
	AUTO(fake_server_free) struct fake_server *s = fake_server_new(handler, (void *)(uintptr_t)arg);
	AUTO(grpc_free) struct grpc *g = client(fake_server_port(s), NULL);
	AUTO_BUF struct buf reply = {0};
	struct result r;
	char where[64];

	buf_adds(&reply, "old");
	r = call(g, "req", 3, 1500, &reply);
	CHECKF(r.rc == -code && r.err.code == code, "%d (%s), want %s", r.rc, r.err.text, err_name(code));
	CHECKF(strstr(r.err.text, text), "'%s' does not say '%s'", r.err.text, text);
	snprintf(where, sizeof(where), "127.0.0.1:%d: " METHOD ": ", fake_server_port(s));
	CHECKF(strncmp(r.err.text, where, strlen(where)) == 0, "%s", r.err.text);
	CHECK_INT(reply.len, 0);
	printf("# %s\n", r.err.text);
	return r;
}

/* arg: the headers of a trailers-only answer */
static __attribute__((unused)) void trailers_only(int fd, int connection, void *arg)
{
	uint32_t stream;

	(void)connection;
	if (h2_open(fd))
		while ((stream = h2_request(fd, NULL)))
			h2_headers(fd, stream, true, arg);
}

__attribute__((constructor)) static void grpc_kit_init(void)
{
	wire_init();
}

#endif
