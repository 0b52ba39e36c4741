/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd's KV service over gRPC. One read is one KV/Txn with a range each, so all ranges have one
 * revision, and the transaction is linearizable because no range in it is marked serializable.
 *
 * The handle stays on the endpoint that works and goes to the next one when it fails; the time
 * that is left is shared among the endpoints still to be tried. With authentication a token is
 * fetched before the first read and, once per read, when etcd does not like it any more (tokens
 * expire, and a restarted etcd has forgotten them). One thread at a time.
 */
#include <cdc/pb.h>
#include <cdc/wire.h>
#include <cdc/worker.h>

#include "etcd.pb-c.h"
#include "etcd_priv.h"

#include <assert.h>
#include <stdlib.h>

#define CONNECT_MS 3000
#define LEAST_MS 500               /* an endpoint's share of the time, at least */
#define MAX_TOKEN 8192             /* a JWT has some hundred bytes */
#define MAX_KEYS ((size_t)4 << 20) /* of one read: 200 MB of struct etcd_kv */

#define AUTHENTICATE "/etcdserverpb.Auth/Authenticate"

enum { STATUS_INVALID_ARGUMENT = 3, STATUS_FAILED_PRECONDITION = 9, STATUS_UNAUTHENTICATED = 16 };

struct endpoint {
	struct grpc *grpc; /* NULL: the address is unusable, and bad says why */
	struct err bad;
	bool has_token; /* or we know that none is needed */
	bool up;        /* the last read worked */
};

struct etcd {
	const struct conf_etcd *conf;
	struct endpoint *endpoints;
	size_t count, current;
	struct buf request, reply;
};

static void endpoint_init(struct endpoint *ep, const struct conf_etcd *conf, const char *address,
			  bool (*poll)(void *arg), void *poll_arg)
{
	AUTO_FREE char *host = NULL;
	struct grpc_conf g = {.tls = conf->tls, .connect_timeout_ms = CONNECT_MS};
	bool tls;

	if (wire_parse_address(address, &host, &g.port, &tls, &ep->bad) < 0) {
		err_prefix(&ep->bad, "sourceConfig.etcd.address");
		ep->bad.code = ERR_SOURCE_FOREIGN;
		return;
	}
	g.host = host;
	g.tls.enable = tls || conf->tls.enable;
	g.lost = ERR_SOURCE_LOST;
	g.auth = ERR_SOURCE_AUTH;
	g.foreign = ERR_SOURCE_FOREIGN;
	g.poll = poll;
	g.poll_arg = poll_arg;
	ep->grpc = grpc_new(&g);
}

struct etcd *etcd_new(const struct conf_etcd *conf, bool (*poll)(void *arg), void *poll_arg)
{
	struct etcd *e = xcalloc(1, sizeof(*e));

	e->conf = conf;
	while (conf->address && conf->address[e->count])
		e->count++;
	e->endpoints = xcalloc(e->count, sizeof(*e->endpoints));
	for (size_t i = 0; i < e->count; i++)
		endpoint_init(&e->endpoints[i], conf, conf->address[i], poll, poll_arg);
	return e;
}

void etcd_free(struct etcd *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->count; i++)
		grpc_free(e->endpoints[i].grpc);
	free(e->endpoints);
	buf_free(&e->request);
	buf_free(&e->reply);
	free(e);
}

/* The request. */

/* The first key after all that start with key, in out (size n + 1); "\0" means "to the end". */
static size_t prefix_end(const char *key, size_t n, uint8_t *out)
{
	memcpy(out, key, n);
	while (n && out[n - 1] == 0xff)
		n--;
	if (n == 0) {
		out[0] = 0;
		return 1;
	}
	out[n - 1]++;
	return n;
}

static void put_range(struct buf *txn, const struct etcd_range *range)
{
	static uint8_t first[] = {0}; /* the least key there is: etcd refuses an empty one */
	size_t n = strlen(range->key);
	AUTO_FREE uint8_t *end = xmalloc(n + 1);
	AUTO_FREE uint8_t *bytes = NULL;
	Etcdpb__RangeRequest r = ETCDPB__RANGE_REQUEST__INIT;
	Etcdpb__RequestOp op = ETCDPB__REQUEST_OP__INIT;
	Etcdpb__RequestOp *ops[] = {&op};
	Etcdpb__TxnRequest one = ETCDPB__TXN_REQUEST__INIT;
	size_t size;

	r.key.data = n ? (uint8_t *)(uintptr_t)range->key : first;
	r.key.len = n ? n : 1;
	if (range->prefix) {
		r.range_end.data = end;
		r.range_end.len = prefix_end(range->key, n, end);
	}
	r.keys_only = range->keys_only;
	r.min_mod_revision = range->min_mod_revision;
	op.request_case = ETCDPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
	op.request_range = &r;
	one.n_success = 1;
	one.success = ops;
	/* a message with one element after the other is the message with all of them */
	size = etcdpb__txn_request__get_packed_size(&one);
	bytes = xmalloc(size);
	etcdpb__txn_request__pack(&one, bytes);
	buf_add(txn, bytes, size);
}

/* The answer. It is walked: unpacking would cost a peer 2 bytes for 100 of ours. */

struct header {
	uint64_t cluster_id;
	int64_t revision;
};

static int read_header(const struct pb_field *f, struct header *ret)
{
	struct pb_reader r = pb_reader(f->data, f->size);
	struct pb_field g;
	int rc;

	if (f->type != PB_BYTES)
		return -1;
	while ((rc = pb_next(&r, &g)) > 0) {
		if (g.type == PB_VARINT && g.number == 1)
			ret->cluster_id = g.value;
		else if (g.type == PB_VARINT && g.number == 3)
			ret->revision = (int64_t)g.value;
	}
	return rc;
}

/* Was this key asked for? Those who ask rely on it: they step over the prefix. */
static bool in_range(const struct etcd_range *range, struct pb_bytes key)
{
	size_t n = strlen(range->key);

	return (range->prefix ? key.size >= n : key.size == n) && memcmp(key.data, range->key, n) == 0;
}

static int read_kv(const struct pb_field *f, const struct etcd_range *range, struct etcd_kv *kv,
		   struct arena *arena)
{
	struct pb_reader r = pb_reader(f->data, f->size);
	struct pb_bytes key = {0}, value = {0};
	struct pb_field g;
	int rc;

	while ((rc = pb_next(&r, &g)) > 0) {
		if (g.type == PB_BYTES && g.number == 1)
			key = (struct pb_bytes){g.data, g.size};
		else if (g.type == PB_BYTES && g.number == 5)
			value = (struct pb_bytes){g.data, g.size};
		else if (g.type == PB_VARINT && g.number == 2)
			kv->create_revision = (int64_t)g.value;
		else if (g.type == PB_VARINT && g.number == 3)
			kv->mod_revision = (int64_t)g.value;
	}
	if (rc < 0 || key.size == 0 || !in_range(range, key))
		return -1;
	kv->key = arena_strndup(arena, key.data, key.size);
	kv->value = arena_dup(arena, value.data, value.size);
	kv->size = value.size;
	return strlen(kv->key) == key.size;
}

/* One RangeResponse into range; *budget: how many keys may still come. */
static int read_range(struct pb_bytes bytes, struct etcd_range *range, size_t *budget, struct arena *arena)
{
	struct pb_reader r = pb_reader(bytes.data, bytes.size);
	struct pb_field f;
	size_t count = 0;
	int rc;

	while ((rc = pb_next(&r, &f)) > 0)
		count += f.number == 2 && f.type == PB_BYTES;
	if (rc < 0 || count > *budget)
		return -1;
	*budget -= count;
	range->kvs = arena_alloc(arena, count * sizeof(*range->kvs));
	range->kv_count = 0;
	range->total = 0;
	r = pb_reader(bytes.data, bytes.size);
	while (pb_next(&r, &f) > 0) {
		if (f.number == 2 && f.type == PB_BYTES) {
			if ((rc = read_kv(&f, range, &range->kvs[range->kv_count], arena)) < 0)
				return -1;
			/* a key with a NUL in it is nobody's who uses C strings: it counts only in total */
			range->kv_count += (size_t)rc;
		} else if (f.number == 4 && f.type == PB_VARINT) {
			range->total = (int64_t)f.value;
		}
	}
	return 0;
}

/* A ResponseOp that holds a RangeResponse. */
static int read_op(const struct pb_field *f, struct etcd_range *range, size_t *budget, struct arena *arena)
{
	struct pb_reader r = pb_reader(f->data, f->size);
	struct pb_field g;
	int rc;

	if (f->type != PB_BYTES)
		return -1;
	while ((rc = pb_next(&r, &g)) > 0)
		if (g.number == 1 && g.type == PB_BYTES)
			return read_range((struct pb_bytes){g.data, g.size}, range, budget, arena);
	return -1;
}

/* found: n copies of the caller's ranges, filled here. */
static int read_answer(const struct buf *reply, struct etcd_range *found, size_t n, struct arena *arena,
		       struct etcd_answer *ret)
{
	struct pb_reader r = pb_reader(reply->data, reply->len);
	struct header header = {0};
	struct pb_field f;
	size_t seen = 0, budget = MAX_KEYS;
	int rc;

	while ((rc = pb_next(&r, &f)) > 0) {
		if (f.number == 1 && read_header(&f, &header) < 0)
			return -1;
		if (f.number == 3) {
			if (seen == n || read_op(&f, &found[seen], &budget, arena) < 0)
				return -1;
			seen++;
		}
	}
	if (rc < 0 || seen != n || header.cluster_id == 0 || header.revision <= 0)
		return -1;
	ret->cluster_id = header.cluster_id;
	ret->revision = header.revision;
	return 0;
}

/* Authentication. */

static bool token_ok(const char *token)
{
	size_t n = strlen(token);

	for (size_t i = 0; i < n; i++)
		if (token[i] <= ' ' || token[i] > '~')
			return false;
	return n > 0 && n <= MAX_TOKEN;
}

static int use_token(struct endpoint *ep, const struct buf *reply, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct arena_pb alloc = arena_pb(arena);
	Etcdpb__AuthenticateResponse *answer =
		reply->len > 4 * MAX_TOKEN ? NULL
					   : etcdpb__authenticate_response__unpack(
						     (ProtobufCAllocator *)&alloc, reply->len, reply->data);
	AUTO_FREE char *metadata = NULL;

	if (!answer || !token_ok(answer->token))
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "the answer to " AUTHENTICATE " has no usable token; is this an etcd?");
	metadata = xasprintf("token: %s", answer->token);
	grpc_set_metadata(ep->grpc, metadata);
	explicit_bzero(metadata, strlen(metadata));
	ep->has_token = true;
	return 0;
}

static int log_in(struct etcd *e, struct endpoint *ep, int deadline_ms, struct err *err)
{
	Etcdpb__AuthenticateRequest a = ETCDPB__AUTHENTICATE_REQUEST__INIT;
	AUTO_FREE uint8_t *bytes = NULL;
	AUTO_BUF struct buf reply = {0};
	size_t size;
	int status, rc;

	a.name = e->conf->username ? e->conf->username : (char *)(uintptr_t) "";
	a.password = e->conf->password ? e->conf->password : (char *)(uintptr_t) "";
	size = etcdpb__authenticate_request__get_packed_size(&a);
	bytes = xmalloc(size);
	etcdpb__authenticate_request__pack(&a, bytes);
	grpc_set_metadata(ep->grpc, NULL);
	ep->has_token = false;
	rc = grpc_call(ep->grpc, AUTHENTICATE, bytes, size, deadline_ms, &reply, &status, err);
	explicit_bzero(bytes, size);
	if (rc == 0)
		rc = use_token(ep, &reply, err);
	else if (status == STATUS_FAILED_PRECONDITION) {
		ep->has_token =
			true; /* etcd's authentication is off: it asks for none, until it is turned on */
		rc = 0;
	} else if (status == STATUS_INVALID_ARGUMENT) {
		err->code = ERR_SOURCE_AUTH;
		err_prefix(err, "user '%.100s' is refused, check sourceConfig.etcd.username and password",
			   a.name);
		rc = -err->code;
	}
	if (reply.data)
		explicit_bzero(reply.data, reply.cap);
	return rc;
}

/* One endpoint, once. */

/* What etcd itself says about who we are comes as INVALID_ARGUMENT: say what to do. */
static int explain(int status, struct err *err)
{
	if (strstr(err->text, "user name is empty")) {
		err->code = ERR_SOURCE_AUTH;
		err_prefix(err,
			   "etcd asks for a user: set sourceConfig.etcd.enableAuth, username and password");
	} else if (status == STATUS_INVALID_ARGUMENT && strstr(err->text, "auth")) {
		err->code = ERR_SOURCE_AUTH;
		err_prefix(err, "etcd");
	} else if (err->code == ERR_SOURCE_FOREIGN) {
		err_prefix(err, "not an etcd, or not as configured (sourceConfig.etcd)");
	} else {
		err_prefix(err, "etcd");
	}
	return -err->code;
}

static int ask(struct etcd *e, struct endpoint *ep, const char *method, int deadline_ms, struct err *err)
{
	int64_t until = clock_mono_ms() + deadline_ms;
	bool logged_in = false;
	int status = -1, rc;

	if (!ep->grpc) {
		*err = ep->bad;
		return -err->code;
	}
	for (;;) {
		int left = (int)(until - clock_mono_ms());

		if (e->conf->enable_auth && !ep->has_token) {
			logged_in = true;
			if ((rc = log_in(e, ep, left, err)) < 0)
				break;
			left = (int)(until - clock_mono_ms());
		}
		rc = grpc_call(ep->grpc, method, e->request.data, e->request.len, left, &e->reply, &status,
			       err);
		if (rc == 0)
			return 0;
		if (!e->conf->enable_auth || logged_in ||
		    (status != STATUS_UNAUTHENTICATED && status != STATUS_INVALID_ARGUMENT))
			break;
		ep->has_token = false; /* expired, or etcd was restarted, or its users have changed */
	}
	return rc == -ERR_STOPPED ? rc : explain(status, err);
}

static int attempt(struct etcd *e, struct endpoint *ep, const char *method, int deadline_ms, etcd_take *take,
		   void *arg, struct err *err)
{
	bool was_up = ep->up;
	int64_t until = clock_mono_ms() + deadline_ms;
	int rc;

	ep->up = false;
	rc = ask(e, ep, method, deadline_ms, err);
	/* the connection may have died while nobody used it: that says nothing about the endpoint */
	if (rc == -ERR_SOURCE_LOST && was_up && until - clock_mono_ms() >= LEAST_MS)
		rc = ask(e, ep, method, (int)(until - clock_mono_ms()), err);
	if (rc < 0)
		return rc;
	if (take(arg, &e->reply) < 0)
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "the answer to %s is not an etcd's, or has over %zu keys; check "
			       "sourceConfig.etcd.address",
			       method, MAX_KEYS);
	ep->up = true;
	return 0;
}

/* Of two failures the one to tell: what may heal by itself wins, because it will be tried again. */
static void add_failure(struct err *all, const struct err *one, size_t i)
{
	struct err old = *all;

	if (i == 0)
		*all = *one;
	else
		err_set(all,
			one->code == ERR_SOURCE_LOST || old.code == ERR_SOURCE_FOREIGN ? one->code : old.code,
			"%.500s; %.500s", old.text, one->text);
}

struct buf *etcd_request(struct etcd *e)
{
	buf_reset(&e->request);
	return &e->request;
}

int etcd_call(struct etcd *e, const char *method, int deadline_ms, etcd_take *take, void *arg,
	      struct err *err)
{
	int64_t until = clock_mono_ms() + deadline_ms;
	struct err all = {0};

	if (e->count == 0)
		return err_set(err, ERR_NO_SOURCE, "sourceConfig.etcd.address is empty");
	for (size_t i = 0; i < e->count; i++) {
		int64_t left = until - clock_mono_ms();
		int64_t share = left / (int64_t)(e->count - i);
		struct err one = {0};
		int rc;

		share = share < LEAST_MS ? LEAST_MS : share;
		if (left <= 0 && i)
			break;
		rc = attempt(e, &e->endpoints[e->current], method, (int)(share < left ? share : left), take,
			     arg, &one);
		if (rc == 0)
			return 0;
		if (rc == -ERR_STOPPED) {
			all = one;
			break;
		}
		add_failure(&all, &one, i);
		e->current = (e->current + 1) % e->count;
	}
	return err_set(err, all.code, "%s", all.text);
}

struct read {
	struct etcd_range *found; /* n copies of the caller's ranges */
	size_t n;
	struct arena *arena;
	struct etcd_answer *answer;
};

static int take_read(void *arg, const struct buf *reply)
{
	const struct read *r = arg;

	return read_answer(reply, r->found, r->n, r->arena, r->answer);
}

int etcd_read(struct etcd *e, struct etcd_range *ranges, size_t n, int deadline_ms, struct arena *arena,
	      struct etcd_answer *ret, struct err *err)
{
	AUTO_FREE struct etcd_range *found = xcalloc(n, sizeof(*found));
	struct read r = {.found = found, .n = n, .arena = arena, .answer = ret};
	struct buf *request = etcd_request(e);
	int rc;

	assert(n <= ETCD_MAX_RANGES);
	for (size_t i = 0; i < n; i++) {
		found[i] = ranges[i];
		put_range(request, &ranges[i]);
	}
	if ((rc = etcd_call(e, ETCD_TXN, deadline_ms, take_read, &r, err)) < 0)
		return rc;
	if (n)
		memcpy(ranges, found, n * sizeof(*ranges));
	return 0;
}
