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

/* "", NULL and "default" all mean the default database. t: source time of the operation, for base. */
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
/* 0 missing, 1 not loaded, 2 loading, 3 loaded */
int milvus_load_state(struct milvus *m, const char *db, const char *coll, int *ret, struct err *err);
int milvus_flush(struct milvus *m, const char *db, const char *const *colls, size_t n,
		 struct milvus_status *st, struct err *err);
int milvus_create_database(struct milvus *m, const char *db, cdc_ts t, struct milvus_status *st,
			   struct err *err);
int milvus_drop_database(struct milvus *m, const char *db, cdc_ts t, struct milvus_status *st,
			 struct err *err);
int milvus_list_databases(struct milvus *m, struct arena *arena, Mv__ListDatabasesResponse **ret,
			  struct err *err);
/* msgs: serialized messages, borrowed. Ordered within one call; a failure may leave a prefix. */
int milvus_replicate(struct milvus *m, const char *pchannel, cdc_ts begin, cdc_ts end,
		     const struct pb_bytes *msgs, size_t n, struct milvus_status *st, struct err *err);

#endif
