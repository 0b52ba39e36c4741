/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's RPCs that change metadata. Each is one attempt and changes nothing but the target;
 * base carries the operation's time, which becomes the object's creation time there.
 */
#include "milvus_priv.h"

#include <cdc/worker.h>

#include <stdarg.h>
#include <stdio.h>

int milvus_change(struct milvus *m, const char *rpc, const ProtobufCMessage *req, struct milvus_status *st,
		  struct err *err, const char *fmt, ...)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	Mv__Status *answer;
	char what[600];
	va_list ap;
	int rc;

	if (st)
		*st = (struct milvus_status){0};
	CRASH_POINT("ddl_asking");
	if ((rc = milvus_call(m, rpc, req, &mv__status__descriptor, arena, &answer, err)) < 0)
		return rc;
	CRASH_POINT("ddl_answered");
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return milvus_check(m, rpc, what, answer, st, err);
}

int milvus_create_collection(struct milvus *m, const char *db, const char *name,
			     const Mv__CollectionSchema *schema, int shards, int consistency,
			     Mv__KeyValuePair **props, size_t n_props, int64_t partitions, cdc_ts t,
			     struct milvus_status *st, struct err *err)
{
	AUTO_BUF struct buf packed = {0};
	Mv__CreateCollectionRequest req = MV__CREATE_COLLECTION_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	buf_reserve(&packed, mv__collection_schema__get_packed_size(schema));
	packed.len = mv__collection_schema__pack(schema, packed.data);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)name;
	req.schema = (ProtobufCBinaryData){.len = packed.len, .data = packed.data};
	req.shards_num = shards;
	req.consistency_level = consistency;
	req.properties = props;
	req.n_properties = n_props;
	req.num_partitions = partitions;
	return milvus_change(m, "CreateCollection", &req.base, st, err, "%s.%s", milvus_db(db), name);
}

int milvus_drop_collection(struct milvus *m, const char *db, const char *name, cdc_ts t,
			   struct milvus_status *st, struct err *err)
{
	Mv__DropCollectionRequest req = MV__DROP_COLLECTION_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)name;
	return milvus_change(m, "DropCollection", &req.base, st, err, "%s.%s", milvus_db(db), name);
}

static int change_partition(struct milvus *m, const char *rpc, const char *db, const char *coll,
			    const char *part, cdc_ts t, struct milvus_status *st, struct err *err)
{
	Mv__PartitionRequest req = MV__PARTITION_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	req.partition_name = (char *)part;
	return milvus_change(m, rpc, &req.base, st, err, "%s.%s partition %s", milvus_db(db), coll, part);
}

int milvus_create_partition(struct milvus *m, const char *db, const char *coll, const char *part, cdc_ts t,
			    struct milvus_status *st, struct err *err)
{
	return change_partition(m, "CreatePartition", db, coll, part, t, st, err);
}

int milvus_drop_partition(struct milvus *m, const char *db, const char *coll, const char *part, cdc_ts t,
			  struct milvus_status *st, struct err *err)
{
	return change_partition(m, "DropPartition", db, coll, part, t, st, err);
}

int milvus_create_index(struct milvus *m, const char *db, const char *coll, const char *field,
			const char *index, Mv__KeyValuePair **params, size_t n_params, cdc_ts t,
			struct milvus_status *st, struct err *err)
{
	Mv__CreateIndexRequest req = MV__CREATE_INDEX_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	req.field_name = (char *)field;
	req.index_name = (char *)index;
	req.extra_params = params;
	req.n_extra_params = n_params;
	return milvus_change(m, "CreateIndex", &req.base, st, err, "%s.%s field %s index %s", milvus_db(db),
			     coll, field, index);
}

int milvus_drop_index(struct milvus *m, const char *db, const char *coll, const char *field,
		      const char *index, cdc_ts t, struct milvus_status *st, struct err *err)
{
	Mv__DropIndexRequest req = MV__DROP_INDEX_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	req.field_name = (char *)field;
	req.index_name = (char *)index;
	return milvus_change(m, "DropIndex", &req.base, st, err, "%s.%s field %s index %s", milvus_db(db),
			     coll, field, index);
}

int milvus_load(struct milvus *m, const char *db, const char *coll, int replicas, cdc_ts t,
		struct milvus_status *st, struct err *err)
{
	Mv__LoadCollectionRequest req = MV__LOAD_COLLECTION_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	req.replica_number = replicas;
	return milvus_change(m, "LoadCollection", &req.base, st, err, "%s.%s with %d replicas", milvus_db(db),
			     coll, replicas);
}

int milvus_release(struct milvus *m, const char *db, const char *coll, cdc_ts t, struct milvus_status *st,
		   struct err *err)
{
	Mv__ReleaseCollectionRequest req = MV__RELEASE_COLLECTION_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	return milvus_change(m, "ReleaseCollection", &req.base, st, err, "%s.%s", milvus_db(db), coll);
}

static int change_database(struct milvus *m, const char *rpc, const char *db, cdc_ts t,
			   struct milvus_status *st, struct err *err)
{
	Mv__DatabaseRequest req = MV__DATABASE_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	return milvus_change(m, rpc, &req.base, st, err, "%s", milvus_db(db));
}

int milvus_create_database(struct milvus *m, const char *db, cdc_ts t, struct milvus_status *st,
			   struct err *err)
{
	return change_database(m, "CreateDatabase", db, t, st, err);
}

int milvus_drop_database(struct milvus *m, const char *db, cdc_ts t, struct milvus_status *st,
			 struct err *err)
{
	return change_database(m, "DropDatabase", db, t, st, err);
}

/* --- what exists, changed ------------------------------------------------------------------------ */

int milvus_alter_collection(struct milvus *m, const char *db, const char *coll, Mv__KeyValuePair **props,
			    size_t n_props, cdc_ts t, struct milvus_status *st, struct err *err)
{
	Mv__AlterCollectionRequest req = MV__ALTER_COLLECTION_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	req.properties = props;
	req.n_properties = n_props;
	return milvus_change(m, "AlterCollection", &req.base, st, err, "%s.%s", milvus_db(db), coll);
}

int milvus_remove_properties(struct milvus *m, const char *db, const char *coll, const char *const *keys,
			     size_t n, cdc_ts t, struct milvus_status *st, struct err *err)
{
	Mv__AlterCollectionRequest req = MV__ALTER_COLLECTION_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	req.delete_keys = (char **)keys;
	req.n_delete_keys = n;
	return milvus_change(m, "AlterCollection", &req.base, st, err, "%s.%s without property %s",
			     milvus_db(db), coll, n ? keys[0] : "");
}

int milvus_rename_collection(struct milvus *m, const char *db, const char *name, const char *to_db,
			     const char *to_name, cdc_ts t, struct milvus_status *st, struct err *err)
{
	Mv__RenameCollectionRequest req = MV__RENAME_COLLECTION_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.old_name = (char *)name;
	req.new_name = (char *)to_name;
	req.new_db_name = (char *)milvus_db(to_db);
	return milvus_change(m, "RenameCollection", &req.base, st, err, "%s.%s to %s.%s", milvus_db(db), name,
			     milvus_db(to_db), to_name);
}

static int change_alias(struct milvus *m, const char *rpc, const char *db, const char *coll,
			const char *alias, cdc_ts t, struct milvus_status *st, struct err *err)
{
	Mv__AliasRequest req = MV__ALIAS_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	req.alias = (char *)alias;
	return milvus_change(m, rpc, &req.base, st, err, "%s.%s alias %s", milvus_db(db), coll, alias);
}

int milvus_create_alias(struct milvus *m, const char *db, const char *coll, const char *alias, cdc_ts t,
			struct milvus_status *st, struct err *err)
{
	return change_alias(m, "CreateAlias", db, coll, alias, t, st, err);
}

int milvus_alter_alias(struct milvus *m, const char *db, const char *coll, const char *alias, cdc_ts t,
		       struct milvus_status *st, struct err *err)
{
	return change_alias(m, "AlterAlias", db, coll, alias, t, st, err);
}

int milvus_drop_alias(struct milvus *m, const char *db, const char *alias, cdc_ts t, struct milvus_status *st,
		      struct err *err)
{
	Mv__DropAliasRequest req = MV__DROP_ALIAS_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.alias = (char *)alias;
	return milvus_change(m, "DropAlias", &req.base, st, err, "%s.%s", milvus_db(db), alias);
}

/*
 * A server that has no such RPC answers gRPC 12; 2.3 has AlterIndex as an empty hull that answers 13.
 * Neither is going to change, so it is a refusal and not a server that is away.
 */
static int refuse_unknown(struct milvus *m, int rc, struct milvus_status *st, struct err *err)
{
	if (rc >= 0 || (m->grpc_status != 12 && m->grpc_status != 13))
		return rc;
	if (st)
		*st = (struct milvus_status){0};
	if (err)
		err->code = ERR_TARGET_REFUSED;
	return -ERR_TARGET_REFUSED;
}

int milvus_alter_index(struct milvus *m, const char *db, const char *coll, const char *index,
		       Mv__KeyValuePair **params, size_t n_params, cdc_ts t, struct milvus_status *st,
		       struct err *err)
{
	Mv__AlterIndexRequest req = MV__ALTER_INDEX_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	req.index_name = (char *)index;
	req.extra_params = params;
	req.n_extra_params = n_params;
	return refuse_unknown(m,
			      milvus_change(m, "AlterIndex", &req.base, st, err, "%s.%s index %s",
					    milvus_db(db), coll, index),
			      st, err);
}

/*
 * A server that has no such RPC answers before it has read the request and resets the stream; libcurl
 * then drops the answer and the call looks like a lost connection. It is not when the same server
 * answers another call right after it, twice.
 */
static int refuse_reset(struct milvus *m, const struct err *lost, int rc, struct err *err)
{
	char version[64];
	struct err ignored;

	if (rc != -ERR_TARGET_LOST || milvus_version(m, version, sizeof(version), &ignored) < 0) {
		if (err)
			*err = *lost;
		return rc;
	}
	return err_set(err, ERR_TARGET_REFUSED,
		       "%s; a server of version %s answers other calls, so it does not "
		       "know this one",
		       lost->text, version);
}

int milvus_alter_database(struct milvus *m, const char *db, Mv__KeyValuePair **props, size_t n_props,
			  cdc_ts t, struct milvus_status *st, struct err *err)
{
	Mv__AlterDatabaseRequest req = MV__ALTER_DATABASE_REQUEST__INIT;
	struct milvus_base base;
	struct err lost;
	int rc = -ERR_TARGET_REFUSED;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.properties = props;
	req.n_properties = n_props;
	for (int i = 0; i < 2 && rc == -ERR_TARGET_REFUSED; i++) {
		rc = milvus_change(m, "AlterDatabase", &req.base, st, &lost, "%s", milvus_db(db));
		if (rc >= 0)
			return rc;
		if (rc != -ERR_TARGET_LOST || m->grpc_status > 0) {
			if (err)
				*err = lost;
			return refuse_unknown(m, rc, st, err);
		}
		rc = refuse_reset(m, &lost, rc, err);
	}
	return rc;
}

/* --- partitions, loaded and released ------------------------------------------------------------- */

static int change_loaded(struct milvus *m, const char *rpc, const char *db, const char *coll,
			 const char *const *parts, size_t n, int replicas, cdc_ts t, struct milvus_status *st,
			 struct err *err)
{
	Mv__PartitionsRequest req = MV__PARTITIONS_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.db_name = (char *)milvus_db(db);
	req.collection_name = (char *)coll;
	req.partition_names = (char **)parts;
	req.n_partition_names = n;
	req.replica_number = replicas;
	return milvus_change(m, rpc, &req.base, st, err, "%s.%s partition %s%s", milvus_db(db), coll,
			     n ? parts[0] : "", n > 1 ? " and more" : "");
}

int milvus_load_partitions(struct milvus *m, const char *db, const char *coll, const char *const *parts,
			   size_t n, int replicas, cdc_ts t, struct milvus_status *st, struct err *err)
{
	return change_loaded(m, "LoadPartitions", db, coll, parts, n, replicas, t, st, err);
}

int milvus_release_partitions(struct milvus *m, const char *db, const char *coll, const char *const *parts,
			      size_t n, cdc_ts t, struct milvus_status *st, struct err *err)
{
	return change_loaded(m, "ReleasePartitions", db, coll, parts, n, 0, t, st, err);
}
