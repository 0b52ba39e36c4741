/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's RPCs, typed: one function an RPC, answers in an arena. Classifies every answer
 * (target.md of the protocol): 0 ok, TARGET_LOST (no answer, timeout, unavailable), TARGET_BUSY
 * (answer says "not now": service not ready, codes 1-9, channel not found 500, rate limits, the
 * metadata race right after CreateCollection), TARGET_AUTH, TARGET_REFUSED (definite), with
 * the address, RPC, code and reason in words. *code (may be NULL) is the Milvus code (100 collection
 * not found, 200 partition not found, 700 index not found, 800 database not found, 65535 other).
 * All calls block <= the request timeout and end early when poll says so. One thread at a time.
 */
#ifndef CDC_DATA_MILVUS_H
#define CDC_DATA_MILVUS_H

#include <cdc/err.h>
#include <cdc/mem.h>
#include <cdc/model.h>
#include <cdc/pb.h>
#include <cdc/sink.h>

#include "milvus.pb-c.h"

struct milvus;
struct milvus *milvus_new(const struct target_conf *t, int request_timeout_ms, bool (*poll)(void *arg),
			  void *poll_arg);
void milvus_free(struct milvus *m);
DEFINE_AUTO(struct milvus, milvus_free)

struct milvus_status {
	int code; /* Milvus code, or legacy error_code when code is 0; 0 = success */
	char reason[512];
};

/* "", NULL and "default" all mean the default database. t: source time of the operation, for
 * base; 0: the target takes its own. */
int milvus_connect(struct milvus *m, struct err *err);
int milvus_version(struct milvus *m, char *ret, size_t n, struct err *err);
int milvus_create_collection(struct milvus *m, const char *db, const char *name,
			     const Mv__CollectionSchema *schema, int shards, int consistency,
			     Mv__KeyValuePair **props, size_t n_props, int64_t partitions, cdc_ts t,
			     struct milvus_status *st, struct err *err);
int milvus_drop_collection(struct milvus *m, const char *db, const char *name, cdc_ts t,
			   struct milvus_status *st, struct err *err);
/* NOT an error when missing: *ret = NULL and 0. */
int milvus_describe(struct milvus *m, const char *db, const char *name, struct arena *arena,
		    Mv__DescribeCollectionResponse **ret, struct err *err);
int milvus_show_collections(struct milvus *m, const char *db, struct arena *arena,
			    Mv__ShowCollectionsResponse **ret, struct err *err);
int milvus_show_partitions(struct milvus *m, const char *db, const char *name, struct arena *arena,
			   Mv__ShowPartitionsResponse **ret, struct err *err);
int milvus_create_partition(struct milvus *m, const char *db, const char *coll, const char *part, cdc_ts t,
			    struct milvus_status *st, struct err *err);
int milvus_drop_partition(struct milvus *m, const char *db, const char *coll, const char *part, cdc_ts t,
			  struct milvus_status *st, struct err *err);
int milvus_create_index(struct milvus *m, const char *db, const char *coll, const char *field,
			const char *index, Mv__KeyValuePair **params, size_t n_params, cdc_ts t,
			struct milvus_status *st, struct err *err);
int milvus_drop_index(struct milvus *m, const char *db, const char *coll, const char *field,
		      const char *index, cdc_ts t, struct milvus_status *st, struct err *err);
/* Missing collection or no index: *ret with none. */
int milvus_describe_index(struct milvus *m, const char *db, const char *coll, struct arena *arena,
			  Mv__DescribeIndexResponse **ret, struct err *err);
int milvus_load(struct milvus *m, const char *db, const char *coll, int replicas, cdc_ts t,
		struct milvus_status *st, struct err *err);
int milvus_release(struct milvus *m, const char *db, const char *coll, cdc_ts t, struct milvus_status *st,
		   struct err *err);
int milvus_load_partitions(struct milvus *m, const char *db, const char *coll, const char *const *parts,
			   size_t n, int replicas, cdc_ts t, struct milvus_status *st, struct err *err);
int milvus_release_partitions(struct milvus *m, const char *db, const char *coll, const char *const *parts,
			      size_t n, cdc_ts t, struct milvus_status *st, struct err *err);
/*
 * 0 missing, 1 not loaded, 2 loading, 3 loaded. With partitions: the least of theirs; with none: that of
 * what is loaded of the collection, be it one partition.
 */
int milvus_load_state(struct milvus *m, const char *db, const char *coll, const char *const *parts, size_t n,
		      int *ret, struct err *err);
/* Sets these properties, others stay. */
int milvus_alter_collection(struct milvus *m, const char *db, const char *coll, Mv__KeyValuePair **props,
			    size_t n_props, cdc_ts t, struct milvus_status *st, struct err *err);
/* Removes properties; servers before 2.5 cannot (TARGET_REFUSED). */
int milvus_remove_properties(struct milvus *m, const char *db, const char *coll, const char *const *keys,
			     size_t n, cdc_ts t, struct milvus_status *st, struct err *err);
int milvus_rename_collection(struct milvus *m, const char *db, const char *name, const char *to_db,
			     const char *to_name, cdc_ts t, struct milvus_status *st, struct err *err);
int milvus_create_alias(struct milvus *m, const char *db, const char *coll, const char *alias, cdc_ts t,
			struct milvus_status *st, struct err *err);
int milvus_alter_alias(struct milvus *m, const char *db, const char *coll, const char *alias, cdc_ts t,
		       struct milvus_status *st, struct err *err);
int milvus_drop_alias(struct milvus *m, const char *db, const char *alias, cdc_ts t, struct milvus_status *st,
		      struct err *err);
/* Both: TARGET_REFUSED where the server does not know how (2.3). */
int milvus_alter_index(struct milvus *m, const char *db, const char *coll, const char *index,
		       Mv__KeyValuePair **params, size_t n_params, cdc_ts t, struct milvus_status *st,
		       struct err *err);
int milvus_alter_database(struct milvus *m, const char *db, Mv__KeyValuePair **props, size_t n_props,
			  cdc_ts t, struct milvus_status *st, struct err *err);
int milvus_flush(struct milvus *m, const char *db, const char *const *colls, size_t n,
		 struct milvus_status *st, struct err *err);
int milvus_create_database(struct milvus *m, const char *db, cdc_ts t, struct milvus_status *st,
			   struct err *err);
int milvus_drop_database(struct milvus *m, const char *db, cdc_ts t, struct milvus_status *st,
			 struct err *err);
int milvus_list_databases(struct milvus *m, struct arena *arena, Mv__ListDatabasesResponse **ret,
			  struct err *err);
/* Users, roles, privileges (milvus_access_calls.c). password: plain, a secret. */
int milvus_list_users(struct milvus *m, struct arena *arena, Mv__ListCredUsersResponse **ret,
		      struct err *err);
int milvus_create_user(struct milvus *m, const char *user, const char *password, cdc_ts t,
		       struct milvus_status *st, struct err *err);
int milvus_drop_user(struct milvus *m, const char *user, cdc_ts t, struct milvus_status *st, struct err *err);
/* No results: there is no such role, no such user. */
int milvus_select_role(struct milvus *m, const char *role, struct arena *arena, Mv__SelectRoleResponse **ret,
		       struct err *err);
int milvus_select_user(struct milvus *m, const char *user, struct arena *arena, Mv__SelectUserResponse **ret,
		       struct err *err);
int milvus_create_role(struct milvus *m, const char *role, cdc_ts t, struct milvus_status *st,
		       struct err *err);
int milvus_drop_role(struct milvus *m, const char *role, cdc_ts t, struct milvus_status *st, struct err *err);
int milvus_user_role(struct milvus *m, const char *user, const char *role, bool add, cdc_ts t,
		     struct milvus_status *st, struct err *err);
/* What a role may do in one database, and in all of them at once ("*"). */
int milvus_select_grants(struct milvus *m, const char *role, const char *db, struct arena *arena,
			 Mv__SelectGrantResponse **ret, struct err *err);
struct milvus_grant {
	const char *role, *object_type, *object_name, *db, *privilege;
};
int milvus_grant(struct milvus *m, const struct milvus_grant *g, bool grant, cdc_ts t,
		 struct milvus_status *st, struct err *err);
/* msgs: serialized messages, borrowed. Ordered within one call; a failure may leave a prefix. */
int milvus_replicate(struct milvus *m, const char *pchannel, cdc_ts begin, cdc_ts end,
		     const struct pb_bytes *msgs, size_t n, struct milvus_status *st, struct err *err);

#endif
