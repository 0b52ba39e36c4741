/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan's insides, shared by its files: catalog_plan.c (the whole, collections), catalog_plan_db.c
 * (databases), catalog_plan_parts.c (partitions, load), catalog_plan_index.c (indexes, properties),
 * catalog_names.c (renames, room for a name), catalog_alias.c (aliases).
 *
 * Invariant: inside a rank that is ordered by emission (ROOM, RENAME) entries come out in the order of
 * plan_add(); elsewhere by IDs. So whoever emits into those ranks emits in an order that follows from
 * IDs and timestamps alone (R12). Reader's thread.
 */
#ifndef CDC_DATA_CATALOG_PLAN_PRIV_H
#define CDC_DATA_CATALOG_PLAN_PRIV_H

#include "catalog_priv.h"

/* Order of entries of one timestamp; the reasons are in catalog.h. */
enum rank {
	RANK_EARLY_DROP_PARTITION,
	RANK_ROOM, /* by emission: what makes room for a name, and databases */
	RANK_CREATE_COLLECTION,
	RANK_CREATE_PARTITION,
	RANK_DROP_PARTITION,
	RANK_DROP_ALIAS,
	RANK_DROP_COLLECTION,
	RANK_RENAME, /* by emission */
	RANK_RELEASE,
	RANK_RELEASE_PARTITIONS,
	RANK_DROP_INDEX,
	RANK_ALTER_DATABASE,
	RANK_ALTER_COLLECTION,
	RANK_ALTER_INDEX,
	RANK_CREATE_INDEX,
	RANK_LOAD,
	RANK_LOAD_PARTITIONS,
	RANK_RELEASE_REST, /* partitions that a LOAD of this plan has loaded, too */
	RANK_ALIAS,        /* create, alter */
	RANK_DROP_DATABASE,
	RANK_ACCESS, /* by emission */
};

struct planned {
	struct entry entry;
	enum rank rank;
	size_t order; /* of ranks by emission */
	int64_t object;
};

struct plan {
	struct catalog *c;
	cdc_ts prev, watermark;
	cdc_ts exists; /* what was created up to there is: the watermark, in the first cut perhaps later */
	bool existed;  /* T0 */
	bool idle;     /* one step above prev: nothing is read, no record can come */
	struct arena *arena;
	struct planned *v;
	size_t n, cap;
};

/* catalog_plan.c */
struct entry *plan_slot(struct plan *p, enum rank rank, int64_t object);
/* object: what tells entries of one rank and collection apart. */
void plan_add(struct plan *p, enum kind kind, enum rank rank, cdc_ts ts, Jr__Ddl *ddl, int64_t partition,
	      int64_t object);
cdc_ts plan_raised(const struct plan *p, cdc_ts ts); /* into the cut */
/* A moment before ts, if there is one in this cut; else ts itself, and the rank decides. */
cdc_ts plan_before(const struct plan *p, cdc_ts ts);
int coll_cmp(const void *pa, const void *pb); /* qsort of struct coll *, by ID */
/* Items of one kind, by ID. */
struct item **plan_items(struct plan *p, const struct coll *k, enum item_kind kind, size_t *ret);
/* Body of an entry about something in a collection: its ID and names. */
Jr__Ddl *plan_child(struct plan *p, const struct coll *k, const Jr__KnownCollection *m);
/* With its aliases, right before it. */
void plan_drop_collection(struct plan *p, struct coll *k, enum rank rank, cdc_ts ts);

/* catalog_plan_db.c */
void plan_databases(struct plan *p);     /* creations, and drops that they need */
void plan_databases_end(struct plan *p); /* other drops, properties */

/* catalog_plan_parts.c; they change m, true: they did */
bool plan_partitions(struct plan *p, struct coll *k, Jr__KnownCollection *m);
void plan_add_partition(struct plan *p, Jr__KnownCollection *m, Mv__PartitionInfo *part);
Mv__PartitionInfo *plan_partition_info(struct plan *p, const struct item *it);
void plan_create_partition(struct plan *p, struct coll *k, Jr__KnownCollection *m, const struct item *it);
bool plan_load(struct plan *p, struct coll *k, Jr__KnownCollection *m);

/* catalog_plan_index.c */
bool plan_indexes(struct plan *p, struct coll *k, Jr__KnownCollection *m);
bool plan_properties(struct plan *p, struct coll *k, Jr__KnownCollection *m);
/* Fills properties, by key, and removed_properties; false: they are the same. */
bool plan_pairs(struct plan *p, Jr__Ddl *ddl, Mv__KeyValuePair *const *was, size_t n_was,
		Mv__KeyValuePair *const *now, size_t n_now);

/* catalog_names.c */
/* Nothing known has that name any more when an entry of that rank and time is applied. */
void plan_room(struct plan *p, int64_t db_id, const char *db, const char *name, enum rank rank, cdc_ts ts);
/* A live collection that etcd calls otherwise is called so; who has that name makes room. */
void plan_rename(struct plan *p, struct coll *k, enum rank rank, cdc_ts ts);
/* Databases into which collections move are created, in time. After the creations were found. */
void plan_moves(struct plan *p);

/* What people are told of a collection that is not wanted for good. */
void plan_skipped(struct plan *p, const struct coll *k);

/* catalog_alias.c */
void plan_lost_aliases(struct plan *p); /* of collections whose Drop record is in this cut; after plan_room */
void plan_aliases(struct plan *p);
/* The alias of that name, if it is known and over. */
void plan_alias_room(struct plan *p, int64_t db_id, const char *name, enum rank rank, cdc_ts ts);
/* All aliases of a collection that is about to be dropped. */
void plan_drop_aliases(struct plan *p, struct coll *k, enum rank rank, cdc_ts ts);

#endif
