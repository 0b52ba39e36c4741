/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small source for the catalog's tests: an etcd in memory filled as Milvus fills it, a catalog on
 * it, a journal of state rows, a clock, and cuts made as the reader makes them. A cut is told as text,
 * "create collection a#100@500, load a#100@1000", and checked for order and bounds.
 */
#ifndef CATALOG_WORLD_H
#define CATALOG_WORLD_H

#define FAKE_ETCD_REPLACES_ETCD
#include "../fake/fake_etcd.h"

#include "../../src/data/catalog_priv.h"
#include "../t.h"

#define R "by-dev/meta/"
#define UNUSED __attribute__((unused))

struct world_record {
	int64_t coll, part; /* part 0: drop of the collection */
	cdc_ts ts;
};

struct world {
	struct fake_etcd *etcd;
	struct catalog *cat;
	struct arena *arena; /* of the last cut */
	cdc_ts prev;
	struct world_record records[16]; /* drop records not cut yet */
	size_t record_count;
	struct {
		char *key;
		uint8_t *value;
		size_t size;
	} rows[512];
	size_t row_count;
	struct entry *entries; /* of the last cut */
	size_t entry_count;
	struct buf text;
	struct err err;
};

static int64_t world_now;
static int64_t world_clock(void)
{
	return world_now;
}

static struct conf_source world_source = {
	.etcd = {.root_path = (char *)"by-dev", .meta_sub_path = (char *)"meta"}};

static bool world_wanted(void *arg, const char *db, const char *name)
{
	(void)arg;
	return strncmp(db, "no_", 3) != 0 && strncmp(name, "no_", 3) != 0;
}

static bool world_wanted_db(void *arg, const char *db)
{
	(void)arg;
	return strncmp(db, "no_", 3) != 0;
}

/* --- filling etcd --- */

static void put_msg(struct world *w, const char *key, const void *msg)
{
	const ProtobufCMessage *m = msg;
	size_t n = protobuf_c_message_get_packed_size(m);
	AUTO_FREE uint8_t *p = xmalloc(n);

	protobuf_c_message_pack(m, p);
	fake_etcd_put(w->etcd, key, p, n);
}

#define KEY(name, ...) \
	char name[160]; \
	snprintf(name, sizeof(name), R __VA_ARGS__)

static UNUSED void put_db(struct world *w, int64_t id, const char *name, uint64_t created, int state)
{
	Mv__DatabaseInfo m = MV__DATABASE_INFO__INIT;
	KEY(key, "root-coord/database/db-info/%lld", (long long)id);

	m.id = id;
	m.name = (char *)name;
	m.created_time = created;
	m.state = state;
	put_msg(w, key, &m);
}

static UNUSED void del_db(struct world *w, int64_t id)
{
	KEY(key, "root-coord/database/db-info/%lld", (long long)id);

	fake_etcd_tombstone(w->etcd, key);
}

/* Property "ttl" of the collections that are put; 0: none. */
static int world_ttl;

static UNUSED void put_coll(struct world *w, int64_t db, int64_t id, const char *name, cdc_ts ts, int state)
{
	Mv__CollectionInfo m = MV__COLLECTION_INFO__INIT;
	Mv__CollectionSchema s = MV__COLLECTION_SCHEMA__INIT;
	Mv__KeyDataPair kd[2] = {MV__KEY_DATA_PAIR__INIT, MV__KEY_DATA_PAIR__INIT};
	Mv__KeyDataPair *start[] = {&kd[1], &kd[0]}; /* Milvus: in any order */
	Mv__KeyValuePair ttl = MV__KEY_VALUE_PAIR__INIT, *properties[] = {&ttl};
	char number[16], v0[64], v1[64], *v[] = {v0, v1}, *p[] = {(char *)"dml_0", (char *)"dml_1"};
	KEY(key, "root-coord/database/collection-info/%lld/%lld", (long long)db, (long long)id);

	snprintf(v0, sizeof(v0), "dml_0_%lldv0", (long long)id);
	snprintf(v1, sizeof(v1), "dml_1_%lldv1", (long long)id);
	s.name = (char *)name;
	for (int i = 0; i < 2; i++) {
		kd[i].key = p[i];
		kd[i].data.data = (uint8_t *)(i ? "BBBBBBBB" : "AAAAAAAA");
		kd[i].data.len = 8;
	}
	m.id = id;
	m.schema = &s;
	m.create_time = ts;
	m.state = state;
	m.db_id = db;
	m.shards_num = 2;
	m.n_virtual_channel_names = m.n_physical_channel_names = m.n_start_positions = 2;
	m.virtual_channel_names = v;
	m.physical_channel_names = p;
	m.start_positions = start;
	snprintf(number, sizeof(number), "%d", world_ttl);
	ttl.key = (char *)"ttl";
	ttl.value = number;
	m.properties = properties;
	m.n_properties = world_ttl != 0;
	put_msg(w, key, &m);
}

static UNUSED void put_field(struct world *w, int64_t coll, int64_t id, const char *name, int type, bool pk)
{
	Mv__FieldSchema m = MV__FIELD_SCHEMA__INIT;
	KEY(key, "root-coord/fields/%lld/%lld", (long long)coll, (long long)id);

	m.field_id = id;
	m.name = (char *)name;
	m.data_type = type;
	m.is_primary_key = pk;
	m.is_dynamic = STREQ(name, "$meta");
	put_msg(w, key, &m);
}

static UNUSED void put_part(struct world *w, int64_t coll, int64_t id, const char *name, cdc_ts ts, int state)
{
	Mv__PartitionInfo m = MV__PARTITION_INFO__INIT;
	KEY(key, "root-coord/partitions/%lld/%lld", (long long)coll, (long long)id);

	m.partition_id = id;
	m.partition_name = (char *)name;
	m.created_timestamp = ts;
	m.collection_id = coll;
	m.state = state;
	put_msg(w, key, &m);
}

static UNUSED void put_fields(struct world *w, int64_t coll)
{
	put_field(w, coll, 0, "RowID", 5, false);
	put_field(w, coll, 1, "Timestamp", 5, false);
	put_field(w, coll, 100, "id", 5, true);
	put_field(w, coll, 101, "v", 101, false);
}

/* As the server does it, in its three steps; _default has ID id + 1. */
static UNUSED void make_coll(struct world *w, int64_t db, int64_t id, const char *name, cdc_ts ts)
{
	put_coll(w, db, id, name, ts, STATE_CREATING);
	put_fields(w, id);
	put_part(w, id, id + 1, "_default", ts, STATE_CREATED);
	put_coll(w, db, id, name, ts, STATE_CREATED);
}

static UNUSED void put_index(struct world *w, int64_t coll, int64_t id, int64_t field, const char *name,
			     bool deleted)
{
	Mv__FieldIndex m = MV__FIELD_INDEX__INIT;
	Mv__IndexInfo info = MV__INDEX_INFO__INIT;
	Mv__KeyValuePair kv = MV__KEY_VALUE_PAIR__INIT, *params[] = {&kv};
	KEY(key, "field-index/%lld/%lld", (long long)coll, (long long)id);

	kv.key = (char *)"index_type";
	kv.value = (char *)"FLAT";
	info.collection_id = coll;
	info.index_id = id;
	info.field_id = field;
	info.index_name = (char *)name;
	info.n_user_index_params = 1;
	info.user_index_params = params;
	m.index_info = &info;
	m.deleted = deleted;
	put_msg(w, key, &m);
}

static UNUSED void put_load(struct world *w, int64_t coll, int replicas, int status)
{
	Mv__CollectionLoadInfo m = MV__COLLECTION_LOAD_INFO__INIT;
	KEY(key, "querycoord-collection-loadinfo/%lld", (long long)coll);

	m.collection_id = coll;
	m.replica_number = replicas;
	m.status = status;
	m.load_type = 2;
	put_msg(w, key, &m);
}

static UNUSED void del_load(struct world *w, int64_t coll)
{
	KEY(key, "querycoord-collection-loadinfo/%lld", (long long)coll);

	fake_etcd_del(w->etcd, key);
}

/* Loaded by partition (type 1) or whole (2); the keys of the partitions are their own. */
static UNUSED void put_load_as(struct world *w, int64_t coll, int type, int status)
{
	Mv__CollectionLoadInfo m = MV__COLLECTION_LOAD_INFO__INIT;
	KEY(key, "querycoord-collection-loadinfo/%lld", (long long)coll);

	m.collection_id = coll;
	m.replica_number = 1;
	m.status = status;
	m.load_type = type;
	put_msg(w, key, &m);
}

static UNUSED void put_loaded(struct world *w, int64_t coll, int64_t part, bool loaded)
{
	KEY(key, "querycoord-partition-loadinfo/%lld/%lld", (long long)coll, (long long)part);

	if (loaded)
		fake_etcd_put(w->etcd, key, "\x18\x01", 2);
	else
		fake_etcd_del(w->etcd, key);
}

static UNUSED void put_alias(struct world *w, int64_t db, const char *name, int64_t coll)
{
	Mv__AliasInfo m = MV__ALIAS_INFO__INIT;
	KEY(key, "root-coord/database/aliases/%lld/%s", (long long)db, name);

	m.alias_name = (char *)name;
	m.collection_id = coll;
	m.db_id = db;
	put_msg(w, key, &m);
}

static UNUSED void del_alias(struct world *w, int64_t db, const char *name)
{
	KEY(key, "root-coord/database/aliases/%lld/%s", (long long)db, name);

	fake_etcd_tombstone(w->etcd, key);
}

static UNUSED void tomb_coll(struct world *w, int64_t db, int64_t id)
{
	KEY(key, "root-coord/database/collection-info/%lld/%lld", (long long)db, (long long)id);

	fake_etcd_tombstone(w->etcd, key);
}

/* As newer servers and the sweeping of old tombstones do: nothing is left. */
static UNUSED void forget_coll(struct world *w, int64_t db, int64_t id)
{
	KEY(key, "root-coord/database/collection-info/%lld/%lld", (long long)db, (long long)id);
	KEY(part, "root-coord/partitions/%lld/%lld", (long long)id, (long long)(id + 1));

	fake_etcd_del(w->etcd, key);
	fake_etcd_del(w->etcd, part);
}

/* --- the catalog on it --- */

static UNUSED void world_open(struct world *w)
{
	w->cat = catalog_new(&(struct catalog_conf){.source = &world_source,
						    .wanted = world_wanted,
						    .wanted_db = world_wanted_db,
						    .etcd = (struct etcd *)(void *)w->etcd});
	w->cat->clock_ms = world_clock;
	for (size_t i = 0; i < w->row_count; i++) {
		struct state_row row = {w->rows[i].key, w->rows[i].value, w->rows[i].size};

		CHECKF(catalog_restore(w->cat, &row, &w->err) == 0, "%s", w->err.text);
	}
}

static UNUSED struct world *world_new(void)
{
	struct world *w = xcalloc(1, sizeof(*w));

	world_now = 1000000;
	w->etcd = fake_etcd_new();
	w->arena = arena_new();
	put_db(w, 1, "default", 111, 1);
	world_open(w);
	return w;
}

static UNUSED void world_free(struct world *w)
{
	catalog_free(w->cat);
	fake_etcd_free(w->etcd);
	arena_free(w->arena);
	buf_free(&w->text);
	for (size_t i = 0; i < w->row_count; i++) {
		free(w->rows[i].key);
		free(w->rows[i].value);
	}
	free(w);
}
DEFINE_AUTO(struct world, world_free)
#define WORLD(w) AUTO(world_free) struct world *w = world_new()

/* The process dies and starts again from the journal. */
static UNUSED void world_restart(struct world *w)
{
	catalog_free(w->cat);
	world_open(w);
}

static void store_row(struct world *w, const struct state_row *row)
{
	size_t i = 0;

	while (i < w->row_count && !STREQ(w->rows[i].key, row->key))
		i++;
	if (i < w->row_count) {
		free(w->rows[i].key);
		free(w->rows[i].value);
		w->rows[i] = w->rows[--w->row_count];
	}
	if (!row->value)
		return;
	CHECK(w->row_count < ARRAY_LEN(w->rows));
	w->rows[w->row_count].key = xstrdup(row->key);
	w->rows[w->row_count].value = xmemdup(row->value, row->size);
	w->rows[w->row_count++].size = row->size;
}

static UNUSED bool has_row(const struct world *w, const char *key)
{
	for (size_t i = 0; i < w->row_count; i++)
		if (STREQ(w->rows[i].key, key))
			return true;
	return false;
}

static void tell(struct buf *b, const struct entry *e)
{
	Jr__Ddl *d = jr__ddl__unpack(NULL, e->size, e->body);

	CHECK(d != NULL);
	buf_addf(b, "%s%s ", b->len ? ", " : "", kind_name(e->kind));
	if (d->collection) {
		CHECK_INT(d->collection->id, e->collection_id);
		buf_addf(b, "%s#%lld", d->collection->schema->name, (long long)e->collection_id);
	} else {
		buf_addf(b, "%s#%lld", d->db_name, (long long)d->db_id);
	}
	if (e->kind == KIND_CREATE_PARTITION || e->kind == KIND_DROP_PARTITION)
		buf_addf(b, "/%s", d->partitions[0]->partition_name);
	for (size_t i = 0; e->kind == KIND_LOAD_PARTITIONS || e->kind == KIND_RELEASE_PARTITIONS; i++) {
		if (i == d->n_partitions)
			break;
		buf_addf(b, "%s%s", i ? "+" : "/", d->partitions[i]->partition_name);
	}
	if (d->index)
		buf_addf(b, "/%s", d->index->index_name);
	if (*d->alias)
		buf_addf(b, "/%s", d->alias);
	if (*d->new_name)
		buf_addf(b, "->%s%s%s", d->new_db_name, d->new_db_id ? "." : "", d->new_name);
	for (size_t i = 0; i < d->n_properties; i++)
		buf_addf(b, "/%s=%s", d->properties[i]->key, d->properties[i]->value);
	for (size_t i = 0; i < d->n_removed_properties; i++)
		buf_addf(b, "/-%s", d->removed_properties[i]);
	buf_addf(b, "@%llu", (unsigned long long)e->ts);
	jr__ddl__free_unpacked(d, NULL);
}

static bool creates(enum kind k)
{
	return k == KIND_DROP_ALIAS || k == KIND_RENAME_COLLECTION || k == KIND_CREATE_DATABASE ||
	       k == KIND_CREATE_COLLECTION || k == KIND_CREATE_PARTITION;
}

/* The entry of a drop record, if it gives one; false: none. */
static bool take_record(struct world *w, const struct world_record *r, struct entry *ret)
{
	if (!r->ts)
		return false;
	if (r->part)
		return catalog_drop_partition(w->cat, r->coll, r->part, r->ts, w->arena, ret) > 0;
	return catalog_drop_collection(w->cat, r->coll, r->ts, w->arena, ret) > 0;
}

/* Plan and records of one cut, made and merged as the reader does it; nothing is committed. */
static UNUSED const char *world_build(struct world *w, cdc_ts watermark)
{
	struct entry drops[ARRAY_LEN(w->records)];
	bool made[ARRAY_LEN(w->records)] = {false};
	struct catalog_plan plan;
	size_t p = 0;

	arena_reset(w->arena);
	for (size_t i = 0; i < w->record_count; i++)
		if (w->records[i].ts <= watermark)
			made[i] = take_record(w, &w->records[i], &drops[i]);
	CHECKF(catalog_plan(w->cat, w->prev, watermark, watermark == w->prev + 1, w->arena, &plan, &w->err) ==
		       0,
	       "%s", w->err.text);
	w->entries = arena_alloc(w->arena, (plan.entry_count + w->record_count + 1) * sizeof(struct entry));
	w->entry_count = 0;
	for (size_t i = 0; i < w->record_count; i++) {
		while (p < plan.entry_count &&
		       (plan.entries[p].ts < w->records[i].ts ||
			(plan.entries[p].ts == w->records[i].ts && creates(plan.entries[p].kind))))
			w->entries[w->entry_count++] = plan.entries[p++];
		if (!made[i] && w->records[i].ts <= watermark)
			made[i] = take_record(w, &w->records[i], &drops[i]);
		if (made[i])
			w->entries[w->entry_count++] = drops[i];
	}
	while (p < plan.entry_count)
		w->entries[w->entry_count++] = plan.entries[p++];
	buf_reset(&w->text);
	buf_adds(&w->text, "");
	for (size_t i = 0; i < w->entry_count; i++) {
		const struct entry *e = &w->entries[i];

		CHECKF(e->ts > w->prev && e->ts <= watermark, "ts %llu outside (%llu, %llu]",
		       (unsigned long long)e->ts, (unsigned long long)w->prev, (unsigned long long)watermark);
		CHECK(i == 0 || e->ts >= w->entries[i - 1].ts);
		CHECK(e->db && e->collection && e->vchannel && e->pchannel);
		tell(&w->text, e);
	}
	return (const char *)w->text.data;
}

/* The journal has it. */
static UNUSED void world_commit(struct world *w, cdc_ts watermark)
{
	struct state_row *rows;
	size_t n = catalog_state(w->cat, w->arena, &rows), left = 0;

	for (size_t i = 0; i < n; i++)
		store_row(w, &rows[i]);
	catalog_commit(w->cat);
	for (size_t i = 0; i < w->record_count; i++)
		if (w->records[i].ts > watermark)
			w->records[left++] = w->records[i];
	w->record_count = left;
	w->prev = watermark;
}

static UNUSED void world_fence(struct world *w, cdc_ts watermark)
{
	CHECKF(catalog_fence(w->cat, watermark, &w->err) == 0, "%s", w->err.text);
}

/* Fence, plan, records, commit: one cut. */
static UNUSED const char *world_cut(struct world *w, cdc_ts watermark)
{
	const char *text;

	world_fence(w, watermark);
	text = world_build(w, watermark);
	world_commit(w, watermark);
	return text;
}

static UNUSED void world_record(struct world *w, int64_t coll, int64_t part, cdc_ts ts)
{
	w->records[w->record_count++] = (struct world_record){coll, part, ts};
}

/* The body of the i-th entry of the last cut; free with jr__ddl__free_unpacked(). */
static UNUSED Jr__Ddl *world_ddl(const struct world *w, size_t i)
{
	CHECK(i < w->entry_count);
	return jr__ddl__unpack(NULL, w->entries[i].size, w->entries[i].body);
}

#endif
