/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind milvus.h share: one call, and the judgement of its answer. */
#ifndef CDC_DATA_MILVUS_PRIV_H
#define CDC_DATA_MILVUS_PRIV_H

#include "milvus.h"

#include <cdc/wire.h>

struct milvus {
	struct grpc *grpc;
	char *address; /* for errors */
	int timeout_ms;
	int grpc_status; /* of the last call; -1: there was none */
	/* How to reach it without credentials; NULL: there are some. */
	struct target_conf *anonymous;
	bool (*poll)(void *arg);
	void *poll_arg;
	struct buf request, reply;
};

/* milvus_new with the error for "something answers, but no Milvus": TARGET_BAD for a probe. */
struct milvus *milvus_new_foreign(const struct target_conf *t, int request_timeout_ms, int foreign,
				  bool (*poll)(void *arg), void *poll_arg);

/* One call with what is in m->request; the answer, unpacked into the arena. Errors of transport only. */
int milvus_exchange(struct milvus *m, const char *rpc, const ProtobufCMessageDescriptor *answer,
		    struct arena *arena, void *ret, struct err *err);
/* The same with a message as the request. */
int milvus_call(struct milvus *m, const char *rpc, const ProtobufCMessage *req,
		const ProtobufCMessageDescriptor *answer, struct arena *arena, void *ret, struct err *err);
/* A call whose answer is a bare status. what: as in milvus_check. */
int milvus_change(struct milvus *m, const char *rpc, const ProtobufCMessage *req, struct milvus_status *st,
		  struct err *err, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* 0, or the error that the answer's status stands for. what: the object, for people. st may be NULL. */
int milvus_check(struct milvus *m, const char *rpc, const char *what, const Mv__Status *status,
		 struct milvus_status *st, struct err *err);
/* The status of an answer alone; s may be NULL (0). */
void milvus_read_status(const Mv__Status *s, struct milvus_status *ret);

/* The database's name as a request and an error show it. */
static inline const char *milvus_db(const char *db)
{
	return db && *db ? db : "default";
}

/* base of a request that repeats an operation of the source at t. */
struct milvus_base {
	Mv__MsgBase base;
	Mv__ReplicateInfo info;
};
void milvus_base_init(struct milvus_base *b, cdc_ts t);

#endif
