/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scripted gRPC for tests of the target's RPCs: what goes out, what an answer means. The gRPC client is
 * replaced by the functions below; the real one has tests of its own. Included once a program.
 */
#ifndef GRPC_SCRIPT_H
#define GRPC_SCRIPT_H

#include "../../src/data/milvus.h"
#include "../t.h"

#include <cdc/wire.h>

#define STEPS 16

struct grpc {
	struct grpc_conf conf;
	char metadata[256];
};
static struct {
	struct {
		struct buf body; /* the answer */
		int fail;        /* ERR_* or FAIL_*: the call fails so; 0: it does not */
		int grpc_status; /* of a failure; 0: none came */
	} steps[STEPS];
	size_t count, at;
	char methods[STEPS][128];
	struct buf request; /* of the last call */
	int deadline_ms;
	char metadata[256];
	int live;  /* handles */
	bool etcd; /* answers etcd's Status */
} net;

enum { FAIL_LOST = 1001, FAIL_AUTH, FAIL_FOREIGN }; /* as the handle's conf names them */

struct grpc *grpc_new(const struct grpc_conf *conf)
{
	struct grpc *g = xcalloc(1, sizeof(*g));

	g->conf = *conf;
	snprintf(net.metadata, sizeof(net.metadata), "%s", conf->metadata ? conf->metadata : "");
	net.live++;
	return g;
}

void grpc_free(struct grpc *g)
{
	net.live -= g != NULL;
	free(g);
}

int grpc_call(struct grpc *g, const char *method, const void *req, size_t n, int deadline_ms,
	      struct buf *reply, int *status, struct err *err)
{
	int fail;

	if (status)
		*status = -1;
	buf_reset(reply);
	if (strstr(method, "etcdserverpb")) {
		if (!net.etcd)
			return err_set(err, g->conf.foreign, "no etcd");
		*status = 0;
		return 0;
	}
	CHECKF(net.at < net.count, "unexpected call of %s", method);
	snprintf(net.methods[net.at], sizeof(net.methods[0]), "%s", method);
	buf_reset(&net.request);
	buf_add(&net.request, req, n);
	net.deadline_ms = deadline_ms;
	fail = net.steps[net.at].fail;
	if (fail == 0) {
		buf_add(reply, net.steps[net.at].body.data, net.steps[net.at].body.len);
		net.at++;
		return 0;
	}
	if (status && net.steps[net.at].grpc_status)
		*status = net.steps[net.at].grpc_status;
	net.at++;
	fail = fail == FAIL_LOST      ? g->conf.lost
	       : fail == FAIL_AUTH    ? g->conf.auth
	       : fail == FAIL_FOREIGN ? g->conf.foreign
				      : fail;
	return err_set(err, fail, "10.0.0.1:19530: %s: scripted", method);
}

static inline void net_reset(void)
{
	for (size_t i = 0; i < STEPS; i++)
		buf_free(&net.steps[i].body);
	buf_free(&net.request);
	memset(&net, 0, sizeof(net));
}

static inline void will_fail(int code)
{
	net.steps[net.count++].fail = code;
}

static inline void will_fail_with(int code, int grpc_status)
{
	net.steps[net.count].grpc_status = grpc_status;
	will_fail(code);
}

static inline void will_answer(const ProtobufCMessage *msg)
{
	struct buf *b = &net.steps[net.count++].body;

	buf_reserve(b, protobuf_c_message_get_packed_size(msg));
	b->len = protobuf_c_message_pack(msg, b->data);
}

static inline Mv__Status *status_of(int code, int error_code, const char *reason)
{
	static Mv__Status s[4];
	static int i;
	Mv__Status *p = &s[i++ % 4];

	mv__status__init(p);
	p->code = code;
	p->error_code = error_code;
	p->reason = (char *)reason;
	return p;
}

static inline void will_say(int code, int error_code, const char *reason)
{
	will_answer(&status_of(code, error_code, reason)->base);
}

static inline struct target_conf conf(const char *authorization)
{
	return (struct target_conf){.host = (char *)"10.0.0.1",
				    .port = 19530,
				    .authorization = (char *)authorization,
				    .connect_timeout_ms = 2000};
}

static inline struct milvus *fresh(const char *authorization)
{
	struct target_conf t = conf(authorization);

	net_reset();
	return milvus_new(&t, 5000, NULL, NULL);
}

static inline void done_with(struct milvus *m)
{
	milvus_free(m);
	CHECK_INT(net.live, 0);
	CHECK_INT(net.at, net.count);
	net_reset();
}

#endif
