/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DDL entries for tests, applied as the applier does it: the map's stored form is what a crash leaves,
 * a failed step is repeated from it. ddl_scenario() applies every kind, each twice from the same stored
 * state, and looks at the target through milvus.h alone: it runs on the fake and on a real target.
 */
#ifndef DDL_KIT_H
#define DDL_KIT_H

#include "../../src/data/rewrite.h"
#include "../../src/data/sink_ddl.h"
#include "../t.h"
#include "journal.pb-c.h"

#include <time.h>

#define KIT_ID 450000000000000001 /* source collection */
#define KIT_OBJECTS 16

struct kit {
	struct milvus *milvus;
	struct object_map *map;
	struct arena *arena;
	struct sink_ddl ddl;
	struct state_row stored[KIT_OBJECTS]; /* what apply.db has */
	size_t stored_count;
	cdc_ts ts;
	char note[512];
	size_t returned; /* objects of the last step */
	struct err err;
	void (*tick)(struct kit *k); /* after a step; may be NULL */
};

static inline int kit_send(void *arg, const char *pchannel, const struct pb_bytes *msgs, size_t n, cdc_ts ts,
			   struct err *err)
{
	return milvus_replicate(((struct kit *)arg)->milvus, pchannel, ts, ts, msgs, n, NULL, err);
}

static inline void kit_note(void *arg, const char *text)
{
	snprintf(((struct kit *)arg)->note, sizeof(((struct kit *)arg)->note), "%s", text);
}

static inline void kit_init(struct kit *k, struct milvus *m)
{
	*k = (struct kit){.milvus = m, .map = object_map_new(), .arena = arena_new()};
	k->ts = ts_from_ms((int64_t)time(NULL) * 1000);
	k->ddl = (struct sink_ddl){
		.milvus = m, .map = k->map, .send = kit_send, .send_arg = k, .note = kit_note, .note_arg = k};
}

static inline void kit_done(struct kit *k)
{
	object_map_free(k->map);
	arena_free(k->arena);
	milvus_free(k->milvus);
}

/* What a restart finds. */
static inline void kit_crash(struct kit *k)
{
	object_map_free(k->map);
	k->map = k->ddl.map = object_map_new();
	CHECK(object_map_restore(k->map, k->stored, k->stored_count, &k->err) == 0);
}

static inline void kit_store(struct kit *k, const struct state_row *o, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t at = 0;

		while (at < k->stored_count && !STREQ(k->stored[at].key, o[i].key))
			at++;
		CHECK(at < KIT_OBJECTS);
		k->stored[at] = o[i];
		if (at == k->stored_count)
			k->stored_count++;
	}
}

static inline struct entry kit_entry(struct kit *k, enum kind kind, int64_t id, const Jr__Ddl *ddl)
{
	size_t n = jr__ddl__get_packed_size(ddl);
	uint8_t *body = arena_alloc(k->arena, n);

	jr__ddl__pack(ddl, body);
	return (struct entry){.seq = 7,
			      .ts = k->ts,
			      .kind = kind,
			      .collection_id = id,
			      .db = "",
			      .collection = "",
			      .vchannel = "",
			      .pchannel = "",
			      .body = body,
			      .size = n};
}

/* One attempt; its objects are stored if it succeeds and `commit`. */
static inline int kit_try(struct kit *k, enum kind kind, int64_t id, const Jr__Ddl *ddl, bool commit)
{
	struct entry e = kit_entry(k, kind, id, ddl);
	struct state_row *objects = NULL;
	int rc = sink_ddl_apply(&k->ddl, &e, k->ts, k->arena, &objects, &k->returned, &k->err);

	if (rc == 0 && commit)
		kit_store(k, objects, k->returned);
	return rc;
}

/* As the worker: repeated from the stored state while the target is lost or busy. */
static inline int kit_apply(struct kit *k, enum kind kind, int64_t id, const Jr__Ddl *ddl, bool commit)
{
	int rc, tries = 0;

	k->ts += 1 << TS_LOGICAL_BITS;
	while ((rc = kit_try(k, kind, id, ddl, commit)) == -ERR_TARGET_LOST || rc == -ERR_TARGET_BUSY) {
		struct timespec back_off = {.tv_nsec = 20 * 1000 * 1000};

		if (++tries == 100)
			break;
		kit_crash(k);
		if (rc == -ERR_TARGET_BUSY)
			nanosleep(&back_off, NULL);
	}
	return rc;
}

/* Done, crashed before the commit, done again. */
static inline void kit_twice(struct kit *k, enum kind kind, int64_t id, const Jr__Ddl *ddl)
{
	CHECKF(kit_apply(k, kind, id, ddl, false) == 0, "%s: %s", kind_name(kind), k->err.text);
	kit_crash(k);
	CHECKF(kit_apply(k, kind, id, ddl, true) == 0, "%s again: %s", kind_name(kind), k->err.text);
	if (k->tick)
		k->tick(k);
}

/* --- bodies -------------------------------------------------------------------------------------- */

static inline Mv__KeyValuePair *kit_kv(struct kit *k, const char *key, const char *value)
{
	Mv__KeyValuePair *p = arena_alloc(k->arena, sizeof(*p));

	mv__key_value_pair__init(p);
	p->key = (char *)key;
	p->value = (char *)value;
	return p;
}

/* "k", "v", "k", "v", NULL */
static inline Mv__KeyValuePair **kit_kvs(struct kit *k, size_t *n, const char *const *kv)
{
	Mv__KeyValuePair **list = arena_alloc(k->arena, 16 * sizeof(*list));

	for (*n = 0; kv[2 * *n]; (*n)++)
		list[*n] = kit_kv(k, kv[2 * *n], kv[2 * *n + 1]);
	return list;
}

static inline Mv__FieldSchema *kit_field(struct kit *k, Mv__CollectionSchema *s, int64_t id, const char *name,
					 int type, const char *param, const char *value)
{
	Mv__FieldSchema *f = arena_alloc(k->arena, sizeof(*f));

	mv__field_schema__init(f);
	f->field_id = id;
	f->name = (char *)name;
	f->data_type = type;
	f->is_primary_key = id == 100;
	if (param)
		f->type_params = kit_kvs(k, &f->n_type_params, (const char *[]){param, value, NULL});
	s->fields[s->n_fields++] = f;
	return f;
}

static inline Mv__PartitionInfo *kit_partition(struct kit *k, int64_t id, const char *name)
{
	Mv__PartitionInfo *p = arena_alloc(k->arena, sizeof(*p));

	mv__partition_info__init(p);
	p->partition_id = id;
	p->partition_name = (char *)name;
	p->collection_id = KIT_ID;
	return p;
}

static inline Jr__Ddl *kit_ddl(struct kit *k, const char *db)
{
	Jr__Ddl *d = arena_alloc(k->arena, sizeof(*d));

	jr__ddl__init(d);
	d->db_name = (char *)db;
	d->partitions = arena_alloc(k->arena, 16 * sizeof(*d->partitions));
	return d;
}

/* Two shards; id, v (dim 4), s (with a default), $meta; one partition. */
static inline Jr__Ddl *kit_collection(struct kit *k, const char *db, const char *name)
{
	Jr__Ddl *d = kit_ddl(k, db);
	Mv__CollectionInfo *c = arena_alloc(k->arena, sizeof(*c));
	Mv__CollectionSchema *s = arena_alloc(k->arena, sizeof(*s));
	Mv__FieldSchema *f;

	mv__collection_info__init(c);
	mv__collection_schema__init(s);
	s->name = (char *)name;
	s->description = (char *)"of a test";
	s->enable_dynamic_field = true;
	s->fields = arena_alloc(k->arena, 16 * sizeof(*s->fields));
	kit_field(k, s, 100, "id", 5, NULL, NULL);
	kit_field(k, s, 101, "v", 101, "dim", "4");
	kit_field(k, s, 102, "s", 21, "max_length", "64");
	f = kit_field(k, s, 103, "$meta", 23, NULL, NULL);
	f->is_dynamic = true;
	f->description = (char *)"dynamic schema";
	c->id = KIT_ID;
	c->schema = s;
	c->shards_num = 2;
	c->consistency_level = 1;
	c->n_virtual_channel_names = 2;
	c->virtual_channel_names = arena_alloc(k->arena, 2 * sizeof(char *));
	c->virtual_channel_names[0] = (char *)"src-dml_3_450000000000000001v0";
	c->virtual_channel_names[1] = (char *)"src-dml_1_450000000000000001v1";
	c->properties =
		kit_kvs(k, &c->n_properties, (const char *[]){"collection.ttl.seconds", "86400", NULL});
	d->collection = c;
	d->partitions[d->n_partitions++] = kit_partition(k, 501, "_default");
	return d;
}

static inline Jr__Ddl *kit_of_partition(struct kit *k, const char *db, int64_t id, const char *name)
{
	Jr__Ddl *d = kit_ddl(k, db);

	d->partitions[d->n_partitions++] = kit_partition(k, id, name);
	return d;
}

static inline Jr__Ddl *kit_index(struct kit *k, const char *db, const char *field, const char *name)
{
	Jr__Ddl *d = kit_ddl(k, db);
	Mv__IndexInfo *x = arena_alloc(k->arena, sizeof(*x));

	mv__index_info__init(x);
	x->index_name = (char *)name;
	x->user_index_params = kit_kvs(k, &x->n_user_index_params,
				       (const char *[]){"index_type", "HNSW", "metric_type", "L2", "params",
							"{\"M\":8,\"efConstruction\":64}", NULL});
	x->index_params = kit_kvs(k, &x->n_index_params,
				  (const char *[]){"index_type", "HNSW", "metric_type", "L2",
						   "efConstruction", "64", "M", "8", NULL});
	d->index = x;
	d->field_name = (char *)field;
	return d;
}

static inline Jr__Ddl *kit_load(struct kit *k, const char *db, int replicas)
{
	Jr__Ddl *d = kit_ddl(k, db);

	d->load = arena_alloc(k->arena, sizeof(*d->load));
	mv__collection_load_info__init(d->load);
	d->load->replica_number = replicas;
	return d;
}

/* As every collection-scoped kind but CREATE_COLLECTION: the names before. */
static inline Jr__Ddl *kit_named(struct kit *k, const char *db, const char *name)
{
	Jr__Ddl *d = kit_ddl(k, db);

	d->collection = arena_alloc(k->arena, sizeof(*d->collection));
	mv__collection_info__init(d->collection);
	d->collection->schema = arena_alloc(k->arena, sizeof(*d->collection->schema));
	mv__collection_schema__init(d->collection->schema);
	d->collection->schema->name = (char *)name;
	return d;
}

static inline Jr__Ddl *kit_rename(struct kit *k, const char *db, const char *name, const char *to_db,
				  const char *to)
{
	Jr__Ddl *d = kit_named(k, db, name);

	d->new_name = (char *)to;
	d->new_db_name = (char *)to_db;
	return d;
}

static inline Jr__Ddl *kit_alias(struct kit *k, const char *db, const char *name, const char *alias)
{
	Jr__Ddl *d = kit_named(k, db, name);

	d->alias = (char *)alias;
	return d;
}

/* kv as in kit_kvs: the properties as they are now; `removed` may be NULL. */
static inline Jr__Ddl *kit_properties(struct kit *k, const char *db, const char *const *kv,
				      const char *removed)
{
	Jr__Ddl *d = kit_ddl(k, db);

	d->properties = kit_kvs(k, &d->n_properties, kv);
	if (removed) {
		d->removed_properties = arena_alloc(k->arena, sizeof(char *));
		d->removed_properties[d->n_removed_properties++] = (char *)removed;
	}
	return d;
}

/* "" leaves out. */
static inline Jr__Ddl *kit_access(struct kit *k, const char *user, const char *role)
{
	Jr__Ddl *d = kit_ddl(k, "");

	d->user = (char *)user;
	d->role = (char *)role;
	return d;
}

static inline Jr__Ddl *kit_grant(struct kit *k, const char *role, const char *type, const char *db,
				 const char *object, const char *privilege)
{
	Jr__Ddl *d = kit_access(k, "", role);

	d->grant = arena_alloc(k->arena, sizeof(*d->grant));
	jr__grant__init(d->grant);
	d->grant->object_type = (char *)type;
	d->grant->db_name = (char *)db;
	d->grant->object_name = (char *)object;
	d->grant->privilege = (char *)privilege;
	return d;
}

/* --- the scenario -------------------------------------------------------------------------------- */

/* A look of the test's own may meet the scripted failure: it looks again. */
#define LOOK(call) CHECKF((call) == 0 || (call) == 0, "%s", k->err.text)

static inline bool kit_has_db(struct kit *k, const char *db)
{
	Mv__ListDatabasesResponse *list;
	bool found = false;

	LOOK(milvus_list_databases(k->milvus, k->arena, &list, &k->err));
	for (size_t i = 0; i < list->n_db_names; i++)
		found = found || STREQ(list->db_names[i], db);
	return found;
}

static inline int64_t kit_partition_id(struct kit *k, const char *db, const char *coll, const char *name)
{
	Mv__ShowPartitionsResponse *list;

	LOOK(milvus_show_partitions(k->milvus, db, coll, k->arena, &list, &k->err));
	for (size_t i = 0; i < list->n_partition_names; i++)
		if (STREQ(list->partition_names[i], name))
			return list->partition_ids[i];
	return 0;
}

static inline size_t kit_indexes(struct kit *k, const char *db, const char *coll)
{
	Mv__DescribeIndexResponse *list;

	LOOK(milvus_describe_index(k->milvus, db, coll, k->arena, &list, &k->err));
	return list->n_index_descriptions;
}

static inline int kit_state(struct kit *k, const char *db, const char *coll)
{
	int state;

	LOOK(milvus_load_state(k->milvus, db, coll, NULL, 0, &state, &k->err));
	return state;
}

static inline Mv__DescribeCollectionResponse *kit_describe(struct kit *k, const char *db, const char *coll)
{
	Mv__DescribeCollectionResponse *r;

	LOOK(milvus_describe(k->milvus, db, coll, k->arena, &r, &k->err));
	return r;
}

static inline void kit_check_created(struct kit *k, const char *db, const char *name)
{
	const struct target_collection *c = object_map_find(k->map, KIT_ID);
	Mv__DescribeCollectionResponse *r = kit_describe(k, db, name);

	CHECK(r && c && !c->dropped);
	CHECK_INT(c->target_id, r->collection_id);
	CHECK_INT(r->schema->n_fields, 3);
	CHECK(r->schema->enable_dynamic_field);
	CHECK_INT(r->consistency_level, 1);
	CHECK_INT(r->n_properties, 1);
	CHECK_STR(r->properties[0]->value, "86400");
	for (size_t i = 0; i < 3; i++)
		CHECK_INT(r->schema->fields[i]->field_id, 100 + (int64_t)i);
	CHECK_INT(c->channel_count, k->ddl.plain ? 0 : 2);
	for (size_t i = 0; i < c->channel_count; i++) {
		const char *to = c->channels[i].target_vchannel;

		CHECK(c->channels[i].source_vchannel[strlen(c->channels[i].source_vchannel) - 1] ==
		      to[strlen(to) - 1]);
		CHECK(strncmp(to, c->channels[i].target_pchannel, strlen(c->channels[i].target_pchannel)) ==
		      0);
	}
	CHECK_INT(target_partition(c, 501)->target_id, kit_partition_id(k, db, name, "_default"));
}

/* Partitions and indexes of a loaded collection, and the load state that comes back after each. */
static inline void kit_scenario_loaded(struct kit *k, const char *db, const char *name)
{
	kit_twice(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, db, 502, "p"));
	CHECK(kit_partition_id(k, db, name, "p") != 0);
	CHECK_INT(target_partition(object_map_find(k->map, KIT_ID), 502)->target_id,
		  kit_partition_id(k, db, name, "p"));
	kit_twice(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, db, "v", "ix"));
	CHECK_INT(kit_indexes(k, db, name), 1);
	kit_twice(k, KIND_LOAD, KIT_ID, kit_load(k, db, 3));
	CHECK(kit_state(k, db, name) >= 2);
	CHECK_INT(object_map_find(k->map, KIT_ID)->loaded, true);
	kit_twice(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, db, 502, "p"));
	CHECK_INT(kit_partition_id(k, db, name, "p"), 0);
	CHECK(target_partition(object_map_find(k->map, KIT_ID), 502)->dropped);
	CHECK(kit_state(k, db, name) >= 2);
	kit_twice(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, db, "v", "ix"));
	CHECK_INT(kit_indexes(k, db, name), 0);
	CHECK_INT(kit_state(k, db, name), 1);
	kit_twice(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, db, "v", "ix2"));
	CHECK_INT(kit_indexes(k, db, name), 1);
	CHECK(kit_state(k, db, name) >= 2);
	kit_twice(k, KIND_RELEASE, KIT_ID, kit_ddl(k, db));
	CHECK_INT(kit_state(k, db, name), 1);
	kit_twice(k, KIND_LOAD, KIT_ID, kit_load(k, db, 1));
}

static inline int kit_partition_state(struct kit *k, const char *db, const char *coll, const char *part)
{
	int state;

	LOOK(milvus_load_state(k->milvus, db, coll, &part, 1, &state, &k->err));
	return state;
}

/* The real name of what an alias points to; "": no such alias. */
static inline const char *kit_behind(struct kit *k, const char *db, const char *alias)
{
	Mv__DescribeCollectionResponse *r = kit_describe(k, db, alias);

	return r && !STREQ(r->schema->name, alias) ? r->schema->name : "";
}

/* Properties, names and partitions of what kit_scenario_loaded has left loaded; the name afterwards. */
static inline const char *kit_scenario_etcd_only(struct kit *k, const char *db, const char *name)
{
	const char *renamed = arena_printf(k->arena, "%s_new", name),
		   *alias = arena_printf(k->arena, "%s_alias", name);
	Jr__Ddl *p;

	kit_twice(k, KIND_ALTER_COLLECTION, KIT_ID,
		  kit_properties(k, db, (const char *[]){"collection.ttl.seconds", "3600", NULL}, NULL));
	CHECK_STR(kit_describe(k, db, name)->properties[0]->value, "3600");
	kit_twice(k, KIND_CREATE_ALIAS, KIT_ID, kit_alias(k, db, name, alias));
	CHECK_STR(kit_behind(k, db, alias), name);
	kit_twice(k, KIND_RENAME_COLLECTION, KIT_ID, kit_rename(k, db, name, db, renamed));
	CHECK(!kit_describe(k, db, name));
	CHECK_STR(kit_behind(k, db, alias), renamed);
	CHECK_STR(object_map_find(k->map, KIT_ID)->name, renamed);
	kit_twice(k, KIND_ALTER_ALIAS, KIT_ID, kit_alias(k, db, renamed, alias));
	kit_twice(k, KIND_DROP_ALIAS, KIT_ID, kit_alias(k, db, renamed, alias));
	CHECK(!kit_describe(k, db, alias));
	CHECK(kit_state(k, db, renamed) >= 2);
	kit_twice(k, KIND_RELEASE, KIT_ID, kit_ddl(k, db));
	kit_twice(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, db, 510, "a"));
	kit_twice(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, db, 511, "b"));
	p = kit_of_partition(k, db, 510, "a");
	p->partitions[p->n_partitions++] = kit_partition(k, 511, "b");
	kit_twice(k, KIND_LOAD_PARTITIONS, KIT_ID, p);
	CHECK(kit_partition_state(k, db, renamed, "a") >= 2);
	CHECK_INT(kit_partition_state(k, db, renamed, "_default"), 1);
	kit_twice(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, db, "v", "ix2"));
	CHECK_INT(kit_state(k, db, renamed), 1);
	kit_twice(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, db, "v", "ix3"));
	CHECK(kit_partition_state(k, db, renamed, "a") >= 2);
	CHECK(kit_partition_state(k, db, renamed, "b") >= 2);
	CHECK_INT(kit_partition_state(k, db, renamed, "_default"), 1);
	kit_twice(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, db, 510, "a"));
	CHECK_INT(kit_partition_id(k, db, renamed, "a"), 0);
	CHECK(kit_partition_state(k, db, renamed, "b") >= 2);
	kit_twice(k, KIND_RELEASE_PARTITIONS, KIT_ID, kit_of_partition(k, db, 511, "b"));
	CHECK_INT(kit_state(k, db, renamed), 1);
	kit_twice(k, KIND_LOAD, KIT_ID, kit_load(k, db, 1));
	CHECK(kit_partition_state(k, db, renamed, "b") >= 2);
	kit_twice(k, KIND_RELEASE_PARTITIONS, KIT_ID, kit_of_partition(k, db, 511, "b"));
	CHECK_INT(kit_partition_state(k, db, renamed, "b"), 1);
	CHECK(kit_partition_state(k, db, renamed, "_default") >= 2);
	return renamed;
}

/* Users, roles and privileges; names of its own. */
static inline void access_scenario(struct kit *k, const char *user, const char *role, const char *db)
{
	Mv__ListCredUsersResponse *users;
	Mv__SelectUserResponse *bound;
	Mv__SelectRoleResponse *roles;
	Mv__SelectGrantResponse *grants;
	bool found = false;

	kit_twice(k, KIND_CREATE_USER, 0, kit_access(k, user, ""));
	LOOK(milvus_list_users(k->milvus, k->arena, &users, &k->err));
	for (size_t i = 0; i < users->n_usernames; i++)
		found = found || STREQ(users->usernames[i], user);
	CHECK(found);
	kit_twice(k, KIND_CREATE_ROLE, 0, kit_access(k, "", role));
	kit_twice(k, KIND_ADD_USER_TO_ROLE, 0, kit_access(k, user, role));
	LOOK(milvus_select_user(k->milvus, user, k->arena, &bound, &k->err));
	CHECK_INT(bound->n_results, 1);
	CHECK_INT(bound->results[0]->n_roles, 1);
	kit_twice(k, KIND_GRANT, 0, kit_grant(k, role, "Collection", db, "c", "Insert"));
	kit_twice(k, KIND_GRANT, 0, kit_grant(k, role, "Global", "*", "*", "CreateCollection"));
	LOOK(milvus_select_grants(k->milvus, role, db, k->arena, &grants, &k->err));
	CHECK_INT(grants->n_entities, 2);
	kit_twice(k, KIND_REVOKE, 0, kit_grant(k, role, "Collection", db, "c", "Insert"));
	LOOK(milvus_select_grants(k->milvus, role, db, k->arena, &grants, &k->err));
	CHECK_INT(grants->n_entities, 1);
	kit_twice(k, KIND_REMOVE_USER_FROM_ROLE, 0, kit_access(k, user, role));
	LOOK(milvus_select_user(k->milvus, user, k->arena, &bound, &k->err));
	CHECK_INT(bound->results[0]->n_roles, 0);
	kit_twice(k, KIND_DROP_ROLE, 0, kit_access(k, "", role)); /* with a grant left */
	LOOK(milvus_select_role(k->milvus, role, k->arena, &roles, &k->err));
	CHECK_INT(roles->n_results, 0);
	kit_twice(k, KIND_REVOKE, 0, kit_grant(k, role, "Global", "*", "*", "CreateCollection"));
	kit_twice(k, KIND_DROP_USER, 0, kit_access(k, user, ""));
	LOOK(milvus_select_user(k->milvus, user, k->arena, &bound, &k->err));
	CHECK_INT(bound->n_results, 0);
}

static inline void ddl_scenario(struct kit *k, const char *db, const char *name)
{
	kit_twice(k, KIND_CREATE_DATABASE, 0, kit_ddl(k, db));
	CHECK(kit_has_db(k, db));
	kit_twice(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, db, name));
	kit_check_created(k, db, name);
	kit_scenario_loaded(k, db, name);
	name = kit_scenario_etcd_only(k, db, name);
	kit_twice(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, db));
	CHECK(!kit_describe(k, db, name));
	CHECK(object_map_find(k->map, KIT_ID)->dropped);
	kit_twice(k, KIND_DROP_DATABASE, 0, kit_ddl(k, db));
	CHECK(!kit_has_db(k, db));
}

#endif
