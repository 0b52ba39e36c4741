/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind sink_ddl.h share. */
#ifndef CDC_DATA_SINK_DDL_PRIV_H
#define CDC_DATA_SINK_DDL_PRIV_H

#include "sink_ddl.h"

#include "journal.pb-c.h"

/* One DDL entry being applied. */
struct ddl {
	struct sink_ddl *sink;
	struct milvus *milvus;
	const struct entry *entry;
	const Jr__Ddl *body;
	cdc_ts ts; /* its time on the target */
	struct arena *arena;
	const struct target_collection *twin; /* the map's; NULL: not mapped. Valid until ddl_keep */
	int64_t also;                         /* source ID of another collection that changed; 0: none */
};

/* The database's one name in the map: '' and "default" are the same. */
static inline const char *ddl_db(const char *db)
{
	return db && *db ? db : "default";
}

/* Puts the changed collection into the map. */
void ddl_keep(struct ddl *d, const struct target_collection *c);

enum ddl_found { DDL_OURS, DDL_MISSING, DDL_OTHER };
/* What bears the twin's name on the target now, compared by ID (R25). */
int ddl_find(struct ddl *d, enum ddl_found *ret, struct err *err);
/* The same for steps that need it: TARGET_REFUSED when it is not ours. */
int ddl_need(struct ddl *d, struct err *err);
/* Serialized drop message to every pchannel of the twin. */
int ddl_send_drop(struct ddl *d, const struct buf *msg, struct err *err);
void ddl_note(struct ddl *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

int ddl_create_index(struct ddl *d, struct err *err);
int ddl_drop_index(struct ddl *d, struct err *err);
int ddl_alter_index(struct ddl *d, struct err *err);
int ddl_load(struct ddl *d, struct err *err);
int ddl_release(struct ddl *d, struct err *err);
int ddl_load_partitions(struct ddl *d, struct err *err);
int ddl_release_partitions(struct ddl *d, struct err *err);
/* Loads a new partition of the loaded twin, by its name on the target, if that did not happen by itself. */
int ddl_load_partition(struct ddl *d, const char *name, struct err *err);
/* Releases one partition, by its name on the target, if it is loaded. */
int ddl_release_partition(struct ddl *d, const char *name, bool *was_loaded, struct err *err);
/* Releases the twin if it is loaded; *was_loaded: it has to be loaded again. */
int ddl_unload(struct ddl *d, bool *was_loaded, struct err *err);
/* Loads the twin again; a vector field without an index is no error: its CREATE_INDEX is to come. */
int ddl_reload(struct ddl *d, bool was_loaded, struct err *err);

/* Creates the database unless it is there. */
int ddl_ensure_database(struct ddl *d, const char *db, struct err *err);
int ddl_alter_database(struct ddl *d, const char *db, struct err *err);
int ddl_alter_collection(struct ddl *d, struct err *err);
int ddl_rename_collection(struct ddl *d, struct err *err);
int ddl_set_alias(struct ddl *d, struct err *err);
int ddl_drop_alias(struct ddl *d, struct err *err);
/* Any kind about users, roles and privileges. */
int ddl_access(struct ddl *d, struct err *err);
/* Our live collection with that ID on the target; NULL: it is foreign. */
const struct target_collection *ddl_twin_of(struct ddl *d, int64_t target_id);
/*
 * Drops an alias that has the name of a collection to be: at the source both cannot be, so it is gone
 * there. have: what is behind it. TARGET_REFUSED: a foreign collection.
 */
int ddl_free_alias(struct ddl *d, const char *db, const char *alias,
		   const Mv__DescribeCollectionResponse *have, struct err *err);
int ddl_create_collection(struct ddl *d, struct err *err);
int ddl_drop_collection(struct ddl *d, struct err *err);
int ddl_create_partition(struct ddl *d, struct err *err);
int ddl_drop_partition(struct ddl *d, struct err *err);

/* The source's schema as a CreateCollection request takes it; in the arena. keep_ids: with autoID off. */
Mv__CollectionSchema *ddl_target_schema(const Mv__CollectionInfo *c, const char *name, bool keep_ids,
					struct arena *arena);
/* The partition key's partitions ("_default_<n>") among the names; 0 without a partition key. */
size_t ddl_key_partitions(const Mv__CollectionSchema *schema, Mv__PartitionInfo *const *p, size_t n);
struct schema_want {
	const Mv__CollectionSchema *schema;
	int shards;
	size_t key_partitions; /* of the partition key; 0: there is none */
	bool by_name;          /* rows do not depend on field IDs and shards: these may differ */
};
/* All differences of what is wanted and what the target has, in words; empty: none. */
void ddl_schema_diff(const struct schema_want *w, const Mv__DescribeCollectionResponse *have,
		     size_t have_partitions, struct buf *ret);

#endif
