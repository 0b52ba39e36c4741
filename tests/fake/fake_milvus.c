/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_milvus.h. One mutex over everything; answers are unpacked into the caller's arena. */
#ifdef FAKE_MILVUS
#include "fake_milvus.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct milvus {
	int unused;
};

struct fake_target fake;
static pthread_mutex_t fake_mutex = PTHREAD_MUTEX_INITIALIZER;

/* --- the store ----------------------------------------------------------------------------------- */

static void forget(struct fake_collection *c)
{
	if (c->request)
		mv__create_collection_request__free_unpacked(c->request, NULL);
	if (c->schema)
		mv__collection_schema__free_unpacked(c->schema, NULL);
	for (size_t i = 0; i < c->index_count; i++)
		mv__create_index_request__free_unpacked(c->indexes[i].request, NULL);
	for (size_t i = 0; c->id && i < FAKE_ALIASES; i++)
		if (fake.aliases[i].collection_id == c->id)
			fake.aliases[i] = (struct fake_alias){0};
	*c = (struct fake_collection){0};
}

void fake_reset(void)
{
	for (size_t i = 0; i < FAKE_COLLECTIONS; i++)
		forget(&fake.collections[i]);
	buf_free(&fake.log);
	buf_free(&fake.messages);
	buf_free(&fake.last);
	fake = (struct fake_target){.last_id = 9000, .pchannels = 4, .nodes = 1};
}

static const char *db_name(const char *db)
{
	return db && *db ? db : "default";
}

struct fake_collection *fake_find(const char *db, const char *name)
{
	for (size_t i = 0; i < FAKE_COLLECTIONS; i++) {
		struct fake_collection *c = &fake.collections[i];

		if (c->id && STREQ(c->db, db_name(db)) && STREQ(c->name, name))
			return c;
	}
	return NULL;
}

static struct fake_alias *alias_at(const char *db, const char *name)
{
	for (size_t i = 0; i < FAKE_ALIASES; i++) {
		struct fake_alias *a = &fake.aliases[i];

		if (a->collection_id && STREQ(a->db, db_name(db)) && STREQ(a->name, name))
			return a;
	}
	return NULL;
}

/* By its name or an alias, as most calls of the server find it. */
static struct fake_collection *behind(const char *db, const char *name)
{
	struct fake_alias *a = alias_at(db, name);

	for (size_t i = 0; a && i < FAKE_COLLECTIONS; i++)
		if (fake.collections[i].id == a->collection_id)
			return &fake.collections[i];
	return fake_find(db, name);
}

bool fake_has_db(const char *db)
{
	bool found = STREQ(db_name(db), "default");

	for (size_t i = 0; i < fake.db_count; i++)
		found = found || STREQ(fake.dbs[i], db);
	return found;
}

bool fake_index_is(const struct fake_collection *c, const char *field, const char *name)
{
	for (size_t i = 0; i < c->index_count; i++)
		if (STREQ(c->indexes[i].field, field) && STREQ(c->indexes[i].name, name))
			return true;
	return false;
}

size_t fake_count(const char *text)
{
	size_t n = 0;

	for (const char *line = (const char *)fake.log.data; line && *line; line = strchr(line, '\n') + 1)
		n += strncmp(line, text, strlen(text)) == 0;
	return n;
}

static int64_t partition_of(const struct fake_collection *c, const char *name, size_t *at)
{
	for (size_t i = 0; i < c->partition_count; i++)
		if (STREQ(c->partitions[i], name)) {
			*at = i;
			return c->partition_ids[i];
		}
	return 0;
}

static void add_partition(struct fake_collection *c, const char *name)
{
	snprintf(c->partitions[c->partition_count], sizeof(c->partitions[0]), "%s", name);
	c->released[c->partition_count] = c->by_partitions;
	c->partition_ids[c->partition_count++] = ++fake.last_id;
}

/* --- answers ------------------------------------------------------------------------------------- */

/* Begins a call: 1: do it, and then fail with *err; 0: do it; < 0: it failed and must not be done. */
static int begin(const char *rpc, struct milvus_status *st, struct err *err)
{
	if (st)
		*st = (struct milvus_status){0};
	if (++fake.calls != fake.fail_at)
		return 0;
	err_set(err, fake.fail_rc, "fake target: %s: scripted failure", rpc);
	return fake.fail_executed ? 1 : -fake.fail_rc;
}

static int answer(const char *rpc, int code, const char *reason, struct milvus_status *st, struct err *err)
{
	bool busy = strstr(reason, "key not found") != NULL;

	if (st) {
		st->code = code;
		snprintf(st->reason, sizeof(st->reason), "%s", reason);
	}
	return err_set(err, busy ? ERR_TARGET_BUSY : ERR_TARGET_REFUSED, "fake target: %s: code %d: %s", rpc,
		       code, reason);
}

static int done(int scripted, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int done(int scripted, const char *fmt, ...)
{
	char line[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_addf(&fake.log, "%s\n", line);
	fake.changes++;
	return scripted ? -fake.fail_rc : 0;
}

static void lock(void)
{
	pthread_mutex_lock(&fake_mutex);
}

static int unlock(int rc)
{
	pthread_mutex_unlock(&fake_mutex);
	return rc;
}

/* A message as the wire would bring it, into the arena. */
static void *travel(const ProtobufCMessage *msg, struct arena *arena)
{
	struct arena_pb alloc = arena_pb(arena);
	size_t n = protobuf_c_message_get_packed_size(msg);
	uint8_t *bytes = arena_alloc(arena, n);

	protobuf_c_message_pack(msg, bytes);
	return protobuf_c_message_unpack(msg->descriptor, (ProtobufCAllocator *)&alloc, n, bytes);
}

/* --- handles ------------------------------------------------------------------------------------- */

struct milvus *milvus_new(const struct target_conf *t, int request_timeout_ms, bool (*poll)(void *arg),
			  void *poll_arg)
{
	(void)t;
	(void)request_timeout_ms;
	(void)poll;
	(void)poll_arg;
	return xcalloc(1, sizeof(struct milvus));
}

void milvus_free(struct milvus *m)
{
	free(m);
}

int milvus_connect(struct milvus *m, struct err *err)
{
	(void)m;
	lock();
	if (begin("Connect", NULL, err))
		return unlock(-fake.fail_rc);
	return unlock(fake.no_login ? err_set(err, ERR_TARGET_AUTH, "fake target: no such login") : 0);
}

int milvus_version(struct milvus *m, char *ret, size_t n, struct err *err)
{
	(void)m;
	lock();
	if (begin("GetVersion", NULL, err))
		return unlock(-fake.fail_rc);
	snprintf(ret, n, "fake");
	return unlock(0);
}

/* --- collections --------------------------------------------------------------------------------- */

static struct fake_collection *add_collection(const Mv__CreateCollectionRequest *req)
{
	struct fake_collection *c = fake.collections;
	size_t n = mv__create_collection_request__get_packed_size(req);
	uint8_t *bytes = xmalloc(n);
	bool key = false;

	while (c->id)
		c++;
	mv__create_collection_request__pack(req, bytes);
	c->request = mv__create_collection_request__unpack(NULL, n, bytes);
	free(bytes);
	c->schema = mv__collection_schema__unpack(NULL, c->request->schema.len, c->request->schema.data);
	free(c->schema->name == protobuf_c_empty_string ? NULL : c->schema->name);
	c->schema->name = xstrdup(req->collection_name);
	c->id = ++fake.last_id;
	c->shards = req->shards_num;
	c->created = req->msg_base->replicate_info->msg_timestamp;
	c->first_channel = (int)(c->id % fake.pchannels);
	c->load_state = 1;
	snprintf(c->db, sizeof(c->db), "%s", db_name(req->db_name));
	snprintf(c->name, sizeof(c->name), "%s", req->collection_name);
	for (size_t i = 0; i < c->schema->n_fields; i++) { /* the server numbers them */
		c->schema->fields[i]->field_id = 100 + (int64_t)i;
		key = key || c->schema->fields[i]->is_partition_key;
	}
	for (int64_t i = 0; key && i < (req->num_partitions ? req->num_partitions : 64); i++) {
		char name[64];

		snprintf(name, sizeof(name), "_default_%" PRId64, i);
		add_partition(c, name);
	}
	if (!key)
		add_partition(c, "_default");
	return c;
}

static int same_request(const struct fake_collection *c, const Mv__CreateCollectionRequest *req)
{
	return c->request->schema.len == req->schema.len && c->request->shards_num == req->shards_num &&
	       memcmp(c->request->schema.data, req->schema.data, req->schema.len) == 0;
}

static int create_collection(const Mv__CreateCollectionRequest *req, struct milvus_status *st,
			     struct err *err)
{
	struct fake_collection *c = fake_find(req->db_name, req->collection_name);
	int scripted = begin("CreateCollection", st, err);

	if (scripted < 0)
		return scripted;
	if (!fake_has_db(req->db_name))
		return answer("CreateCollection", 65535, "database:x not found", st, err);
	if (alias_at(req->db_name, req->collection_name))
		return answer("CreateCollection", 65535,
			      "create duplicate collection with different parameters", st, err);
	if (c && !same_request(c, req))
		return answer("CreateCollection", 65535,
			      "create duplicate collection with different parameters", st, err);
	if (!c)
		add_collection(req);
	return done(scripted, "CreateCollection %s.%s", db_name(req->db_name), req->collection_name);
}

int milvus_create_collection(struct milvus *m, const char *db, const char *name,
			     const Mv__CollectionSchema *schema, int shards, int consistency,
			     Mv__KeyValuePair **props, size_t n_props, int64_t partitions, cdc_ts t,
			     struct milvus_status *st, struct err *err)
{
	AUTO_BUF struct buf packed = {0};
	Mv__CreateCollectionRequest req = MV__CREATE_COLLECTION_REQUEST__INIT;
	Mv__MsgBase base = MV__MSG_BASE__INIT;
	Mv__ReplicateInfo info = MV__REPLICATE_INFO__INIT;

	(void)m;
	buf_reserve(&packed, mv__collection_schema__get_packed_size(schema));
	packed.len = mv__collection_schema__pack(schema, packed.data);
	info.msg_timestamp = t;
	base.replicate_info = &info;
	req.msg_base = &base;
	req.db_name = (char *)db_name(db);
	req.collection_name = (char *)name;
	req.schema = (ProtobufCBinaryData){.len = packed.len, .data = packed.data};
	req.shards_num = shards;
	req.consistency_level = consistency;
	req.properties = props;
	req.n_properties = n_props;
	req.num_partitions = partitions;
	lock();
	return unlock(create_collection(&req, st, err));
}

int milvus_drop_collection(struct milvus *m, const char *db, const char *name, cdc_ts t,
			   struct milvus_status *st, struct err *err)
{
	struct fake_collection *c;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("DropCollection", st, err)) < 0)
		return unlock(scripted);
	if (alias_at(db, name))
		return unlock(
			answer("DropCollection", 65535, "cannot drop the collection via alias", st, err));
	if ((c = fake_find(db, name)))
		forget(c);
	return unlock(done(scripted, "DropCollection %s.%s", db_name(db), name));
}

static void describe_channels(const struct fake_collection *c, Mv__DescribeCollectionResponse *r,
			      struct arena *arena)
{
	size_t n = (size_t)c->shards;

	r->n_virtual_channel_names = r->n_physical_channel_names = n;
	r->virtual_channel_names = arena_alloc(arena, n * sizeof(char *));
	r->physical_channel_names = arena_alloc(arena, n * sizeof(char *));
	for (size_t i = 0; i < n; i++) {
		size_t at = fake.swap_shards ? n - 1 - i : i;
		int p = (c->first_channel + (int)i) % fake.pchannels;

		r->physical_channel_names[at] = arena_printf(arena, "fake-dml_%d", fake.lie ? p + 10 : p);
		r->virtual_channel_names[at] =
			arena_printf(arena, "fake-dml_%d_%" PRId64 "v%zu", p, c->id, i);
	}
}

int milvus_describe(struct milvus *m, const char *db, const char *name, struct arena *arena,
		    Mv__DescribeCollectionResponse **ret, struct err *err)
{
	Mv__DescribeCollectionResponse r = MV__DESCRIBE_COLLECTION_RESPONSE__INIT;
	struct fake_collection *c;
	char *aliases[FAKE_ALIASES];

	(void)m;
	lock();
	if (begin("DescribeCollection", NULL, err))
		return unlock(-fake.fail_rc);
	*ret = NULL;
	if (!(c = behind(db, name)))
		return unlock(0);
	r.aliases = aliases;
	for (size_t i = 0; i < FAKE_ALIASES; i++)
		if (fake.aliases[i].collection_id == c->id)
			aliases[r.n_aliases++] = fake.aliases[i].name;
	r.schema = c->schema;
	r.collection_id = c->id;
	r.created_timestamp = c->created;
	r.shards_num = c->shards;
	r.consistency_level = c->request->consistency_level;
	r.properties = c->request->properties;
	r.n_properties = c->request->n_properties;
	r.collection_name = (char *)name; /* as asked for: the schema has the real one */
	r.db_name = c->db;
	r.num_partitions = (int64_t)c->partition_count;
	describe_channels(c, &r, arena);
	*ret = travel(&r.base, arena);
	return unlock(0);
}

int milvus_show_collections(struct milvus *m, const char *db, struct arena *arena,
			    Mv__ShowCollectionsResponse **ret, struct err *err)
{
	char *names[FAKE_COLLECTIONS];
	int64_t ids[FAKE_COLLECTIONS];
	uint64_t created[FAKE_COLLECTIONS];
	Mv__ShowCollectionsResponse r = MV__SHOW_COLLECTIONS_RESPONSE__INIT;
	size_t n = 0;

	(void)m;
	lock();
	if (begin("ShowCollections", NULL, err))
		return unlock(-fake.fail_rc);
	if (!fake_has_db(db))
		return unlock(answer("ShowCollections", 800, "database not found", NULL, err));
	for (size_t i = 0; i < FAKE_COLLECTIONS; i++) {
		struct fake_collection *c = &fake.collections[i];

		if (!c->id || !STREQ(c->db, db_name(db)))
			continue;
		names[n] = c->name;
		ids[n] = c->id;
		created[n++] = c->created;
	}
	r.collection_names = names;
	r.collection_ids = ids;
	r.created_timestamps = created;
	r.n_collection_names = r.n_collection_ids = r.n_created_timestamps = n;
	*ret = travel(&r.base, arena);
	return unlock(0);
}

/* --- partitions ---------------------------------------------------------------------------------- */

int milvus_show_partitions(struct milvus *m, const char *db, const char *name, struct arena *arena,
			   Mv__ShowPartitionsResponse **ret, struct err *err)
{
	Mv__ShowPartitionsResponse r = MV__SHOW_PARTITIONS_RESPONSE__INIT;
	char *names[FAKE_PARTITIONS];
	struct fake_collection *c;

	(void)m;
	lock();
	if (begin("ShowPartitions", NULL, err))
		return unlock(-fake.fail_rc);
	if (!(c = fake_find(db, name)))
		return unlock(answer("ShowPartitions", 100, "collection not found", NULL, err));
	for (size_t i = 0; i < c->partition_count; i++)
		names[i] = c->partitions[i];
	r.partition_names = names;
	r.partition_ids = c->partition_ids;
	r.n_partition_names = r.n_partition_ids = c->partition_count;
	*ret = travel(&r.base, arena);
	return unlock(0);
}

int milvus_create_partition(struct milvus *m, const char *db, const char *coll, const char *part, cdc_ts t,
			    struct milvus_status *st, struct err *err)
{
	struct fake_collection *c;
	size_t at;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("CreatePartition", st, err)) < 0)
		return unlock(scripted);
	if (!(c = fake_find(db, coll)))
		return unlock(answer("CreatePartition", 100, "collection not found", st, err));
	if (fake.races > 0) {
		fake.races--;
		return unlock(
			answer("CreatePartition", 65535, "key not found: collection not found", st, err));
	}
	if (strncmp(c->partitions[0], "_default_", 9) == 0)
		return unlock(answer("CreatePartition", 65535, "disable create partition", st, err));
	if (!partition_of(c, part, &at))
		add_partition(c, part);
	return unlock(done(scripted, "CreatePartition %s.%s.%s", db_name(db), coll, part));
}

int milvus_drop_partition(struct milvus *m, const char *db, const char *coll, const char *part, cdc_ts t,
			  struct milvus_status *st, struct err *err)
{
	struct fake_collection *c;
	size_t at;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("DropPartition", st, err)) < 0)
		return unlock(scripted);
	if (!(c = fake_find(db, coll)))
		return unlock(answer("DropPartition", 100, "collection not found", st, err));
	if (fake_partition_loaded(c, part))
		return unlock(
			answer("DropPartition", 65535, "partition is loaded, release it first", st, err));
	if (partition_of(c, part, &at)) {
		c->partition_count--;
		memmove(c->released + at, c->released + at + 1,
			(c->partition_count - at) * sizeof(c->released[0]));
		memmove(c->partitions + at, c->partitions + at + 1,
			(c->partition_count - at) * sizeof(c->partitions[0]));
		memmove(c->partition_ids + at, c->partition_ids + at + 1,
			(c->partition_count - at) * sizeof(c->partition_ids[0]));
	}
	return unlock(done(scripted, "DropPartition %s.%s.%s", db_name(db), coll, part));
}

/* --- databases, rows ----------------------------------------------------------------------------- */

int milvus_create_database(struct milvus *m, const char *db, cdc_ts t, struct milvus_status *st,
			   struct err *err)
{
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("CreateDatabase", st, err)) < 0)
		return unlock(scripted);
	if (fake_has_db(db))
		return unlock(answer("CreateDatabase", 65535, "database already exist", st, err));
	snprintf(fake.dbs[fake.db_count++], sizeof(fake.dbs[0]), "%s", db);
	return unlock(done(scripted, "CreateDatabase %s", db));
}

int milvus_drop_database(struct milvus *m, const char *db, cdc_ts t, struct milvus_status *st,
			 struct err *err)
{
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin("DropDatabase", st, err)) < 0)
		return unlock(scripted);
	for (size_t i = 0; i < FAKE_COLLECTIONS; i++)
		if (fake.collections[i].id && STREQ(fake.collections[i].db, db))
			return unlock(answer("DropDatabase", 65535, "database not empty", st, err));
	for (size_t i = 0; i < fake.db_count; i++)
		if (STREQ(fake.dbs[i], db)) {
			memcpy(fake.dbs[i], fake.dbs[fake.db_count - 1], sizeof(fake.dbs[0]));
			fake.db_count--;
			break;
		}
	return unlock(done(scripted, "DropDatabase %s", db));
}

int milvus_list_databases(struct milvus *m, struct arena *arena, Mv__ListDatabasesResponse **ret,
			  struct err *err)
{
	Mv__ListDatabasesResponse r = MV__LIST_DATABASES_RESPONSE__INIT;
	char *names[ARRAY_LEN(fake.dbs) + 2];

	(void)m;
	lock();
	if (begin("ListDatabases", NULL, err))
		return unlock(-fake.fail_rc);
	names[r.n_db_names++] = (char *)"default";
	for (size_t i = 0; i < fake.db_count; i++)
		names[r.n_db_names++] = fake.dbs[i];
	if (fake.ghosts > 0) {
		names[r.n_db_names++] = (char *)"ghost";
		fake.ghosts--;
	}
	r.db_names = names;
	*ret = travel(&r.base, arena);
	return unlock(0);
}

int milvus_replicate(struct milvus *m, const char *pchannel, cdc_ts begin_ts, cdc_ts end_ts,
		     const struct pb_bytes *msgs, size_t n, struct milvus_status *st, struct err *err)
{
	int scripted;

	(void)m;
	(void)begin_ts;
	(void)end_ts;
	lock();
	if ((scripted = begin("ReplicateMessage", st, err)) < 0)
		return unlock(scripted);
	if (n == 0)
		return unlock(answer("ReplicateMessage", 65535, "empty msgs", st, err));
	for (size_t i = 0; i < n; i++) {
		buf_addf(&fake.messages, "%s %zu\n", pchannel, msgs[i].size);
		buf_reset(&fake.last);
		buf_add(&fake.last, msgs[i].data, msgs[i].size);
	}
	return unlock(done(scripted, "ReplicateMessage %s", pchannel));
}

#define FAKE_MILVUS_PARTS
#include "fake_milvus_index.c"
#include "fake_milvus_names.c"
#include "fake_milvus_access.c"
#endif
