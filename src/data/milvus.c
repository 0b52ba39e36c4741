/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's RPCs: one exchange, what its answer means, and the calls that read or send rows; the
 * calls that change metadata are in milvus_ddl_calls.c. Every call is one attempt: who repeats it is
 * the caller's business, so the judgement "not now" or "never" is made here, once, from the answer.
 */
#include "milvus_priv.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SERVICE "/milvus.proto.milvus.MilvusService/"
#define KEEP_BUFFER ((size_t)8 << 20) /* bigger ones are given back after the call */

/* "authorization: base64(user:password)", as Milvus wants it. A secret: wiped by the caller. */
static char *metadata_of(const char *authorization)
{
	static const char key[] = "authorization: ";
	size_t n = strlen(authorization);
	char *s = xmalloc(sizeof(key) + 4 * ((n + 2) / 3) + 1);

	memcpy(s, key, sizeof(key));
	EVP_EncodeBlock((unsigned char *)s + sizeof(key) - 1, (const unsigned char *)authorization, (int)n);
	return s;
}

struct milvus *milvus_new_foreign(const struct target_conf *t, int request_timeout_ms, int foreign,
				  bool (*poll)(void *arg), void *poll_arg)
{
	struct milvus *m = xcalloc(1, sizeof(*m));
	char *metadata = t->authorization && *t->authorization ? metadata_of(t->authorization) : NULL;
	struct grpc_conf conf = {
		.host = t->host,
		.port = t->port,
		.tls = t->tls,
		.connect_timeout_ms = t->connect_timeout_ms,
		.metadata = metadata,
		.lost = ERR_TARGET_LOST,
		.auth = ERR_TARGET_AUTH,
		.foreign = foreign,
		.poll = poll,
		.poll_arg = poll_arg,
	};

	m->grpc = grpc_new(&conf);
	m->address = xasprintf(strchr(t->host, ':') ? "[%s]:%d" : "%s:%d", t->host, t->port);
	m->timeout_ms = request_timeout_ms;
	m->anonymous = metadata ? NULL : target_conf_copy(t);
	m->poll = poll;
	m->poll_arg = poll_arg;
	if (metadata)
		OPENSSL_cleanse(metadata, strlen(metadata));
	free(metadata);
	return m;
}

/* Once a task runs, a stranger at the address is a Milvus that is away (a proxy's page, a
 * certificate being exchanged): wait for it. */
struct milvus *milvus_new(const struct target_conf *t, int request_timeout_ms, bool (*poll)(void *arg),
			  void *poll_arg)
{
	return milvus_new_foreign(t, request_timeout_ms, ERR_TARGET_LOST, poll, poll_arg);
}

void milvus_free(struct milvus *m)
{
	if (!m)
		return;
	grpc_free(m->grpc);
	buf_free(&m->request);
	buf_free(&m->reply);
	target_conf_free(m->anonymous);
	free(m->address);
	free(m);
}

int milvus_exchange(struct milvus *m, const char *rpc, const ProtobufCMessageDescriptor *answer,
		    struct arena *arena, void *ret, struct err *err)
{
	struct arena_pb alloc = arena_pb(arena);
	ProtobufCMessage *msg = NULL;
	char method[128];
	int rc;

	snprintf(method, sizeof(method), SERVICE "%s", rpc);
	rc = grpc_call(m->grpc, method, m->request.data, m->request.len, m->timeout_ms, &m->reply,
		       &m->grpc_status, err);
	if (rc < 0 && rc != -ERR_STOPPED)
		err_prefix(err, "target");
	if (rc == -ERR_TOO_LARGE) { /* the same bytes will never pass: the caller splits or holds */
		if (err)
			err->code = ERR_TARGET_REFUSED;
		rc = -ERR_TARGET_REFUSED;
	}
	if (rc >= 0) {
		msg = protobuf_c_message_unpack(answer, (ProtobufCAllocator *)&alloc, m->reply.len,
						m->reply.data);
		if (!msg)
			rc = err_set(err, ERR_TARGET_LOST,
				     "target %s: %s: the answer (%zu bytes) cannot be read", m->address, rpc,
				     m->reply.len);
		else
			memcpy(ret, &msg, sizeof(msg));
	}
	if (m->request.cap > KEEP_BUFFER)
		buf_free(&m->request);
	if (m->reply.cap > KEEP_BUFFER)
		buf_free(&m->reply);
	return rc < 0 ? rc : 0;
}

int milvus_call(struct milvus *m, const char *rpc, const ProtobufCMessage *req,
		const ProtobufCMessageDescriptor *answer, struct arena *arena, void *ret, struct err *err)
{
	size_t n = protobuf_c_message_get_packed_size(req);

	buf_reset(&m->request);
	buf_reserve(&m->request, n);
	m->request.len = protobuf_c_message_pack(req, m->request.data);
	return milvus_exchange(m, rpc, answer, arena, ret, err);
}

void milvus_base_init(struct milvus_base *b, cdc_ts t)
{
	mv__msg_base__init(&b->base);
	mv__replicate_info__init(&b->info);
	b->info.is_replicate = true;
	b->info.msg_timestamp = t;
	if (t) /* 0: at the target's own time */
		b->base.replicate_info = &b->info;
}

/* --- what an answer means ------------------------------------------------------------------------ */

void milvus_read_status(const Mv__Status *s, struct milvus_status *ret)
{
	*ret = (struct milvus_status){0};
	if (!s || (s->code == 0 && s->error_code == 0))
		return;
	ret->code = s->code ? s->code : s->error_code;
	snprintf(ret->reason, sizeof(ret->reason), "%s", s->reason ? s->reason : "");
	for (char *c = ret->reason; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
}

/* The catch-all code says what it is only in words. All of these pass by themselves. */
static bool says_not_now(const char *reason)
{
	static const char *const words[] = {
		"key not found", /* metadata race right after CreateCollection, */
		"collection not found",
		"can't find collection", /* as the proxy or a coordinator words it */
		"not ready",
		"not healthy",
		"unhealthy",
		"initializing",
		"deadline exceeded",
		"context canceled",
		"context Done", /* the same, in the words of a 2.3 proxy that ran out of our time */
		"connection refused",
		"connection error",
		"Unavailable",
		"unavailable",
		"node offline",
		"node not found",
		"nodeID not match",
		"rate limit",
		"quota",
		"etcdserver:",
		"no available",
		"channel not found",
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strstr(reason, words[i]))
			return true;
	return false;
}

/* More shards than the target has pchannels, or than it allows: that does not pass, as another schema. */
static bool says_too_many_shards(const char *reason)
{
	return strstr(reason, "shard num (") && strstr(reason, ") exceeds ");
}

/* The enum that servers used before they had codes, and still send along with the catch-all. */
static bool legacy_not_now(int error_code)
{
	return error_code == 2 /* connect failed */ || error_code == 45 ||
	       error_code == 46 /* no shard leader */ ||
	       (error_code >= 48 && error_code <= 50) /* denied at the moment, rate limit, node changed */ ||
	       (error_code >= 52 && error_code <= 57) /* memory, disk, tick lag, not ready */ ||
	       error_code == 100 || error_code == 1000 /* coordinator away, DDL race */;
}

/* What a target says that is written to in the other mode: it was set otherwise after the task was made. */
#define DOOR_REPLICATE 1303
#define DOOR_ORDINARY 1900

static int classify(const Mv__Status *s, const struct milvus_status *st)
{
	if (s->code == 0 || s->code == 65535) {
		if (legacy_not_now(s->error_code) || says_not_now(st->reason))
			return ERR_TARGET_BUSY;
		if (says_too_many_shards(st->reason))
			return ERR_TARGET_SCHEMA;
		return s->error_code == 3 ? ERR_TARGET_AUTH : ERR_TARGET_REFUSED;
	}
	if ((s->code >= 1 && s->code <= 9) || (s->code >= 500 && s->code < 600) /* channels */ ||
	    (s->code >= 900 && s->code < 1000) /* nodes */ || s->code == 103 /* not fully loaded */ ||
	    s->code == 1001 /* storage I/O */)
		return ERR_TARGET_BUSY;
	if (s->code >= 1400 && s->code < 1500)
		return ERR_TARGET_AUTH;
	if (s->code == DOOR_REPLICATE || s->code == DOOR_ORDINARY)
		return ERR_TARGET_BUSY; /* not one collection's fault, and the target can be set back */
	return ERR_TARGET_REFUSED;
}

static const char *hint_of(int class, int code)
{
	if (class == ERR_TARGET_SCHEMA)
		return "; raise rootCoord.dmlChannelNum (or proxy.maxShardNum) on the target and restart it, "
		       "or make the collection with fewer shards";
	switch (code) {
	case DOOR_ORDINARY:
		return "; the target is an ordinary Milvus now, this task writes in mode 'replicate': set "
		       "common.ttMsgEnabled: false on the target and restart it, or delete the task and "
		       "create it again";
	case DOOR_REPLICATE:
		return "; the target takes replicated messages now, this task writes in mode 'upsert': set "
		       "common.ttMsgEnabled: true on the target and restart it, or delete the task and "
		       "create it again";
	case 1400:
	case 1401:
		return "; check the user and its privileges";
	default:
		return "";
	}
}

int milvus_check(struct milvus *m, const char *rpc, const char *what, const Mv__Status *status,
		 struct milvus_status *st, struct err *err)
{
	struct milvus_status own;
	int class;

	if (!st)
		st = &own;
	milvus_read_status(status, st);
	if (st->code == 0)
		return 0;
	class = classify(status, st);
	return err_set(err, class, "target %s: %s %s: code %d: %s%s", m->address, rpc, what, st->code,
		       st->reason[0] ? st->reason : "(no reason given)", hint_of(class, st->code));
}

/* --- calls that read ----------------------------------------------------------------------------- */

int milvus_connect(struct milvus *m, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	Mv__ConnectRequest req = MV__CONNECT_REQUEST__INIT;
	Mv__ClientInfo info = MV__CLIENT_INFO__INIT;
	Mv__ConnectResponse *answer;
	char host[256] = "", now[64] = "";
	time_t t = time(NULL);
	struct tm tm;
	int rc;

	gethostname(host, sizeof(host) - 1);
	if (gmtime_r(&t, &tm))
		strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &tm);
	info.sdk_type = (char *)"milvus-cdc";
	info.sdk_version = (char *)CDC_VERSION;
	info.local_time = now;
	info.host = host;
	req.client_info = &info;
	if ((rc = milvus_call(m, "Connect", &req.base, &mv__connect_response__descriptor, arena, &answer,
			      err)) < 0)
		return rc;
	return milvus_check(m, "Connect", "", answer->status, NULL, err);
}

int milvus_version(struct milvus *m, char *ret, size_t n, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	Mv__GetVersionRequest req = MV__GET_VERSION_REQUEST__INIT;
	Mv__GetVersionResponse *answer;
	int rc;

	rc = milvus_call(m, "GetVersion", &req.base, &mv__get_version_response__descriptor, arena, &answer,
			 err);
	if (rc < 0 || (rc = milvus_check(m, "GetVersion", "", answer->status, NULL, err)) < 0)
		return rc;
	snprintf(ret, n, "%s", answer->version);
	return 0;
}

static bool is_missing(const Mv__Status *s, int also)
{
	struct milvus_status st;

	milvus_read_status(s, &st);
	if (s && s->code == 0)
		return s->error_code == 4 || (also == 700 && s->error_code == 25);
	return st.code == 100 || st.code == 800 || st.code == also;
}

int milvus_describe(struct milvus *m, const char *db, const char *name, struct arena *arena,
		    Mv__DescribeCollectionResponse **ret, struct err *err)
{
	Mv__DescribeCollectionRequest req = MV__DESCRIBE_COLLECTION_REQUEST__INIT;
	Mv__DescribeCollectionResponse *answer;
	int rc;

	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)name;
	rc = milvus_call(m, "DescribeCollection", &req.base, &mv__describe_collection_response__descriptor,
			 arena, &answer, err);
	if (rc < 0)
		return rc;
	if (is_missing(answer->status, 100)) {
		*ret = NULL;
		return 0;
	}
	if ((rc = milvus_check(m, "DescribeCollection", name, answer->status, NULL, err)) < 0)
		return rc;
	if (!answer->schema || answer->n_virtual_channel_names != answer->n_physical_channel_names)
		return err_set(err, ERR_TARGET_REFUSED,
			       "target %s: DescribeCollection %s: the answer has no schema, or %zu "
			       "vchannels on %zu pchannels",
			       m->address, name, answer->n_virtual_channel_names,
			       answer->n_physical_channel_names);
	*ret = answer;
	return 0;
}

int milvus_show_collections(struct milvus *m, const char *db, struct arena *arena,
			    Mv__ShowCollectionsResponse **ret, struct err *err)
{
	Mv__ShowCollectionsRequest req = MV__SHOW_COLLECTIONS_REQUEST__INIT;
	Mv__ShowCollectionsResponse *answer;
	int rc;

	req.db_name = (char *)milvus_db(db);
	rc = milvus_call(m, "ShowCollections", &req.base, &mv__show_collections_response__descriptor, arena,
			 &answer, err);
	if (rc < 0 || (rc = milvus_check(m, "ShowCollections", milvus_db(db), answer->status, NULL, err)) < 0)
		return rc;
	*ret = answer;
	return 0;
}

int milvus_show_partitions(struct milvus *m, const char *db, const char *name, struct arena *arena,
			   Mv__ShowPartitionsResponse **ret, struct err *err)
{
	Mv__ShowPartitionsRequest req = MV__SHOW_PARTITIONS_REQUEST__INIT;
	Mv__ShowPartitionsResponse *answer;
	int rc;

	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)name;
	rc = milvus_call(m, "ShowPartitions", &req.base, &mv__show_partitions_response__descriptor, arena,
			 &answer, err);
	if (rc < 0 || (rc = milvus_check(m, "ShowPartitions", name, answer->status, NULL, err)) < 0)
		return rc;
	if (answer->n_partition_names != answer->n_partition_ids)
		return err_set(err, ERR_TARGET_REFUSED, "target %s: ShowPartitions %s: %zu names and %zu IDs",
			       m->address, name, answer->n_partition_names, answer->n_partition_ids);
	*ret = answer;
	return 0;
}

int milvus_describe_index(struct milvus *m, const char *db, const char *coll, struct arena *arena,
			  Mv__DescribeIndexResponse **ret, struct err *err)
{
	Mv__DescribeIndexRequest req = MV__DESCRIBE_INDEX_REQUEST__INIT;
	Mv__DescribeIndexResponse *answer;
	int rc;

	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	rc = milvus_call(m, "DescribeIndex", &req.base, &mv__describe_index_response__descriptor, arena,
			 &answer, err);
	if (rc < 0)
		return rc;
	if (is_missing(answer->status, 700))
		answer->n_index_descriptions = 0;
	else if ((rc = milvus_check(m, "DescribeIndex", coll, answer->status, NULL, err)) < 0)
		return rc;
	*ret = answer;
	return 0;
}

int milvus_load_state(struct milvus *m, const char *db, const char *coll, const char *const *parts, size_t n,
		      int *ret, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	Mv__GetLoadStateRequest req = MV__GET_LOAD_STATE_REQUEST__INIT;
	Mv__GetLoadStateResponse *answer;
	int rc;

	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	req.partition_names = (char **)parts;
	req.n_partition_names = n;
	rc = milvus_call(m, "GetLoadState", &req.base, &mv__get_load_state_response__descriptor, arena,
			 &answer, err);
	if (rc < 0)
		return rc;
	if (is_missing(answer->status, 200))
		answer->state = 0;
	else if ((rc = milvus_check(m, "GetLoadState", coll, answer->status, NULL, err)) < 0)
		return rc;
	*ret = answer->state;
	return 0;
}

int milvus_list_databases(struct milvus *m, struct arena *arena, Mv__ListDatabasesResponse **ret,
			  struct err *err)
{
	Mv__ListDatabasesRequest req = MV__LIST_DATABASES_REQUEST__INIT;
	Mv__ListDatabasesResponse *answer;
	int rc;

	rc = milvus_call(m, "ListDatabases", &req.base, &mv__list_databases_response__descriptor, arena,
			 &answer, err);
	if (rc < 0 || (rc = milvus_check(m, "ListDatabases", "", answer->status, NULL, err)) < 0)
		return rc;
	*ret = answer;
	return 0;
}

/* --- rows ---------------------------------------------------------------------------------------- */

/* Written by hand: the messages are copied once, into the buffer that is sent. */
int milvus_replicate(struct milvus *m, const char *pchannel, cdc_ts begin, cdc_ts end,
		     const struct pb_bytes *msgs, size_t n, struct milvus_status *st, struct err *err)
{
	static const uint8_t base[] = {7 << 3 | PB_BYTES, 2, 1 << 3 | PB_VARINT,
				       1}; /* replicate_info.is_replicate */
	AUTO(arena_free) struct arena *arena = arena_new();
	Mv__ReplicateMessageResponse *answer;
	size_t size = 256;
	int rc;

	if (st)
		*st = (struct milvus_status){0};
	for (size_t i = 0; i < n; i++)
		size += msgs[i].size + 16;
	buf_reset(&m->request);
	buf_reserve(&m->request, size);
	pb_put_bytes(&m->request, 1, base, sizeof(base));
	pb_put_string(&m->request, 2, pchannel);
	pb_put_uint(&m->request, 3, begin);
	pb_put_uint(&m->request, 4, end);
	for (size_t i = 0; i < n; i++)
		pb_put_bytes(&m->request, 5, msgs[i].data, msgs[i].size);
	rc = milvus_exchange(m, "ReplicateMessage", &mv__replicate_message_response__descriptor, arena,
			     &answer, err);
	if (rc < 0)
		return rc;
	return milvus_check(m, "ReplicateMessage", pchannel, answer->status, st, err);
}

int milvus_flush(struct milvus *m, const char *db, const char *const *colls, size_t n,
		 struct milvus_status *st, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	Mv__FlushRequest req = MV__FLUSH_REQUEST__INIT;
	Mv__StatusAnswer *answer;
	int rc;

	if (st)
		*st = (struct milvus_status){0};
	req.db_name = (char *)milvus_db(db);
	req.collection_names = (char **)colls;
	req.n_collection_names = n;
	rc = milvus_call(m, "Flush", &req.base, &mv__status_answer__descriptor, arena, &answer, err);
	if (rc < 0)
		return rc;
	return milvus_check(m, "Flush", n ? colls[0] : "", answer->status, st, err);
}
