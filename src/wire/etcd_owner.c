/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner's key (R32) by compare-and-put. The key is bound to a lease: when its owner is gone, so is
 * the key after a while, and a lease that is given up takes it along at once. While the lease lives a call
 * is one keep-alive and no write. One thread.
 */
#include "etcd.pb-c.h"
#include "etcd_priv.h"

#define GRANT "/etcdserverpb.Lease/LeaseGrant"
#define KEEP_ALIVE "/etcdserverpb.Lease/LeaseKeepAlive"
#define REVOKE "/etcdserverpb.Lease/LeaseRevoke"
#define ANSWER_MAX ((size_t)1 << 16)

enum { TARGET_VERSION = 0, TARGET_MOD = 2 };

static ProtobufCBinaryData bytes_of(const char *s)
{
	return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

static void pack(struct buf *b, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	AUTO_FREE uint8_t *p = xmalloc(n + 1);

	protobuf_c_message_pack(m, p);
	buf_add(b, p, n);
}

/* --- leases --- */

/* LeaseGrant's and LeaseKeepAlive's answers have the same fields in the same places. */
static int take_lease(void *arg, const struct buf *reply)
{
	Etcdpb__LeaseKeepAliveResponse *ret = arg, *m;

	m = reply->len > ANSWER_MAX
		    ? NULL
		    : etcdpb__lease_keep_alive_response__unpack(NULL, reply->len, reply->data);
	if (!m)
		return -1;
	ret->id = m->id;
	ret->ttl = m->ttl;
	etcdpb__lease_keep_alive_response__free_unpacked(m, NULL);
	return 0;
}

static int grant(struct etcd *e, int ttl_s, int deadline_ms, int64_t *ret, struct err *err)
{
	Etcdpb__LeaseGrantRequest q = ETCDPB__LEASE_GRANT_REQUEST__INIT;
	Etcdpb__LeaseKeepAliveResponse a = ETCDPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
	int rc;

	q.ttl = ttl_s;
	pack(etcd_request(e), &q.base);
	if ((rc = etcd_call(e, GRANT, deadline_ms, take_lease, &a, err)) < 0)
		return rc;
	*ret = a.id;
	return 0;
}

/* 1: it lives on. 0: it is over. */
static int keep_alive(struct etcd *e, int64_t lease, int deadline_ms, struct err *err)
{
	Etcdpb__LeaseKeepAliveRequest q = ETCDPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
	Etcdpb__LeaseKeepAliveResponse a = ETCDPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
	int rc;

	q.id = lease;
	pack(etcd_request(e), &q.base);
	rc = etcd_call(e, KEEP_ALIVE, deadline_ms, take_lease, &a, err);
	return rc < 0 ? rc : a.ttl > 0;
}

/* --- the key --- */

struct put {
	struct arena *arena;
	bool succeeded;
	const char *value; /* of the key, when it did not */
	int64_t revision;
};

static int take_put(void *arg, const struct buf *reply)
{
	struct put *p = arg;
	struct arena_pb pb = arena_pb(p->arena);
	const Etcdpb__TxnResponse *m;

	m = reply->len > ANSWER_MAX
		    ? NULL
		    : etcdpb__txn_response__unpack((ProtobufCAllocator *)&pb, reply->len, reply->data);
	if (!m)
		return -1;
	p->succeeded = m->succeeded;
	for (size_t i = 0; i < m->n_responses; i++) {
		const Etcdpb__RangeResponse *r = m->responses[i]->response_range;

		if (r && r->n_kvs) {
			p->value = arena_strndup(p->arena, r->kvs[0]->value.data, r->kvs[0]->value.len);
			p->revision = r->kvs[0]->mod_revision;
		}
	}
	return 0;
}

/* Puts the key if it is as expected: absent (revision 0), or last changed at that revision. */
static int put_if(struct etcd *e, const char *key, const char *value, int64_t lease, int64_t revision,
		  int deadline_ms, struct put *ret, struct err *err)
{
	Etcdpb__Compare compare = ETCDPB__COMPARE__INIT, *compares[] = {&compare};
	Etcdpb__PutRequest put = ETCDPB__PUT_REQUEST__INIT;
	Etcdpb__RangeRequest range = ETCDPB__RANGE_REQUEST__INIT;
	Etcdpb__RequestOp then = ETCDPB__REQUEST_OP__INIT, or_else = ETCDPB__REQUEST_OP__INIT;
	Etcdpb__RequestOp *thens[] = {&then}, *or_elses[] = {&or_else};
	Etcdpb__TxnRequest txn = ETCDPB__TXN_REQUEST__INIT;

	compare.key = put.key = range.key = bytes_of(key);
	compare.target = revision ? TARGET_MOD : TARGET_VERSION;
	compare.target_union_case =
		revision ? ETCDPB__COMPARE__TARGET_UNION_MOD_REVISION : ETCDPB__COMPARE__TARGET_UNION_VERSION;
	if (revision)
		compare.mod_revision = revision;
	put.value = bytes_of(value);
	put.lease = lease;
	then.request_case = ETCDPB__REQUEST_OP__REQUEST_REQUEST_PUT;
	then.request_put = &put;
	or_else.request_case = ETCDPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
	or_else.request_range = &range;
	txn.n_compare = txn.n_success = txn.n_failure = 1;
	txn.compare = compares;
	txn.success = thens;
	txn.failure = or_elses;
	pack(etcd_request(e), &txn.base);
	return etcd_call(e, ETCD_TXN, deadline_ms, take_put, ret, err);
}

int etcd_own(struct etcd *e, struct etcd_owner *o, const char *key, const char *value, size_t same, int ttl_s,
	     int deadline_ms, struct arena *arena, const char **other, struct err *err)
{
	struct put p = {.arena = arena};
	int rc = 0;

	if (o->lease && (rc = keep_alive(e, o->lease, deadline_ms, err)) != 0)
		return rc < 0 ? rc : 0;
	o->lease = 0;
	if ((rc = grant(e, ttl_s, deadline_ms, &o->lease, err)) < 0)
		return rc;
	rc = put_if(e, key, value, o->lease, 0, deadline_ms, &p, err);
	if (rc == 0 && !p.succeeded && p.value && strncmp(p.value, value, same) == 0)
		rc = put_if(e, key, value, o->lease, p.revision, deadline_ms, &p, err);
	if (rc < 0 || !p.succeeded)
		o->lease = 0; /* it ends by itself */
	if (rc < 0 || p.succeeded)
		return rc;
	*other = p.value ? p.value : "";
	return 1;
}

int etcd_put(struct etcd *e, const char *key, const char *value, int deadline_ms, struct err *err)
{
	Etcdpb__PutRequest put = ETCDPB__PUT_REQUEST__INIT;
	Etcdpb__RequestOp then = ETCDPB__REQUEST_OP__INIT, *thens[] = {&then};
	Etcdpb__TxnRequest txn = ETCDPB__TXN_REQUEST__INIT;
	AUTO(arena_free) struct arena *arena = arena_new();
	struct put p = {.arena = arena};

	put.key = bytes_of(key);
	put.value = bytes_of(value);
	then.request_case = ETCDPB__REQUEST_OP__REQUEST_REQUEST_PUT;
	then.request_put = &put;
	txn.n_success = 1; /* without a comparison a transaction succeeds */
	txn.success = thens;
	pack(etcd_request(e), &txn.base);
	return etcd_call(e, ETCD_TXN, deadline_ms, take_put, &p, err);
}

static int take_nothing(void *arg, const struct buf *reply)
{
	(void)arg;
	(void)reply;
	return 0;
}

void etcd_disown(struct etcd *e, struct etcd_owner *o, int deadline_ms)
{
	Etcdpb__LeaseKeepAliveRequest q = ETCDPB__LEASE_KEEP_ALIVE_REQUEST__INIT; /* as LeaseRevoke's */
	struct err ignored;

	if (!o->lease)
		return;
	q.id = o->lease;
	pack(etcd_request(e), &q.base);
	etcd_call(e, REVOKE, deadline_ms, take_nothing, NULL, &ignored);
	o->lease = 0;
}
