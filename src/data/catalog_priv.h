/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog's insides, shared by its files: catalog.c (objects and questions about them),
 * catalog_etcd.c, catalog_items.c and catalog_fields.c (fence: etcd -> seen), catalog_plan.c (seen minus
 * known -> DDL) and catalog_known.c (known state: tentative changes, rows, drops).
 *
 * Invariants: `seen` changes only in a fence, and only after all answers of that fence were found
 * good (R6); `known` changes only through known_set(), which remembers what to go back to. Whatever
 * differs, or may differ later, between the two is in a dirty set: no fence and no plan ever walks
 * over all objects, except the first and the rare ones that are marked. Everything that becomes an
 * entry is sorted by ID first, so that the order of etcd's answers does not matter (R12).
 */
#ifndef CDC_DATA_CATALOG_PRIV_H
#define CDC_DATA_CATALOG_PRIV_H

#include "catalog.h"
#include "journal.pb-c.h"

#define DEFAULT_DB_ID 1
#define FENCE_DEADLINE_MS 5000
#define DROP_WAIT_MS 10000    /* a Drop record that did not come for so long never comes (R5) */
#define CREATING_WAIT_MS 5000 /* a creation that the source gave up does not hold the task longer */

/* An intrusive hash map; equal hashes are told apart by the caller. */
struct node {
	struct node *next;
	uint64_t hash;
};
struct map {
	struct node **slots;
	size_t cap, count;
};
void map_add(struct map *m, struct node *n, uint64_t hash);
void map_del(struct map *m, struct node *n);
struct node *map_first(const struct map *m, uint64_t hash);
struct node *map_next(const struct node *n);              /* of the same hash */
void map_free(struct map *m, void (*fn)(struct node *n)); /* fn may be NULL */

/* The prefixes that a fence reads. */
enum range {
	RANGE_DATABASE, /* with collections and aliases */
	RANGE_PARTITIONS,
	RANGE_INDEX,
	RANGE_LOAD,
	RANGE_PARTITION_LOAD,
	RANGE_ACCESS, /* users, roles and grants; only if catalog_conf.users */
	RANGE_IMPORT_TASK,
	RANGE_IMPORT_JOB,
	RANGE_COUNT
};
enum item_kind {
	ITEM_COLLECTION,
	ITEM_PARTITION,
	ITEM_INDEX,
	ITEM_LOAD,
	ITEM_PARTITION_LOAD,
	ITEM_OF_COLLECTION,
	ITEM_DB,
	ITEM_ALIAS,
	ITEM_ACCESS,
	ITEM_IMPORT,
	ITEM_OTHER
};
enum object_state { STATE_CREATED = 0, STATE_CREATING = 1, STATE_DROPPING = 2, STATE_DROPPED = 3 };
enum db_state { DB_CREATING = 2, DB_DROPPING = 3, DB_DROPPED = 4 };

/* One key of etcd. Where kind, parent and id say the same as its string, that is not kept. */
struct item {
	struct node node;           /* first: in catalog.ranges[] */
	struct item *next, **pprev; /* list of its collection; not of databases and others */
	enum item_kind kind;
	bool gone; /* a tombstone, or an index marked deleted */
	int32_t state;
	int64_t parent, id; /* COLLECTION: db, itself; DB: 0, itself; ALIAS: db, 0; ACCESS, OTHER: 0, 0 */
	char *key;          /* ALIAS: its name; ACCESS, OTHER: the key after the range's prefix; else NULL */
	int64_t target;     /* ALIAS: its collection */
	cdc_ts created;
	int64_t revision;
	uint32_t round; /* of the last whole reading of its range */
	char *name;
	uint8_t *data; /* the value; not of OTHER */
	size_t size;
};

/* An object whose Drop record is waited for. */
struct ending {
	int64_t id;       /* partition; 0: the collection itself */
	int64_t since_ms; /* monotonic time of the first fence that saw it */
	cdc_ts source;    /* no smaller than any timestamp given out before that fence; 0: not known */
};

enum known_state { KNOWN_LIVE, KNOWN_DROPPED, KNOWN_SKIPPED };

struct pchan {
	char *name;
	int live;   /* live collections on it */
	int ending; /* of these: Dropping or gone in etcd */
};

/* What the journal was told of a collection. Never changed, only replaced. */
struct known {
	struct known *next; /* in the graveyard */
	enum known_state state;
	int64_t db_id;
	char *db, *name;         /* as journaled */
	int64_t *live, *dropped; /* partitions, sorted */
	size_t live_count, dropped_count;
	struct pchan **pchans; /* LIVE only */
	size_t pchan_count;
	cdc_ts since; /* catalog_wants_row(); LIVE only */
	struct known_shard {
		char *vchannel;
		cdc_ts since;
		struct mq_id from;
	} * shards;
	size_t shard_count;
	uint8_t *row; /* serialized jr.KnownCollection */
	size_t row_size;
};

struct coll {
	struct node node; /* first: in catalog.colls */
	int64_t id;
	/* seen */
	struct item *items[ITEM_OF_COLLECTION];
	const struct item *info; /* the COLLECTION item that counts; NULL: etcd has none */
	uint8_t *schema; /* serialized mv.CollectionSchema: fields and functions alone; until journaled */
	size_t schema_size;
	struct ending *endings;
	size_t ending_count;
	int64_t creating_since_ms; /* 0: not Creating */
	/* known */
	struct known *known, *before; /* before: committed, when touched */
	bool touched;
	struct coll *touched_next;
	struct node by_name; /* in catalog.names, while LIVE */
	bool named;
	size_t aliases;               /* known ones that point to it */
	bool moving;                  /* scratch: in the chain of renames that is being planned */
	bool counted, counted_ending; /* what pchans and db were told */
	bool renamed;                 /* LIVE and called otherwise by etcd */
	bool hidden;                  /* etcd wrote it again as it was: see hidden_change() */
	/* dirty set */
	bool dirty;
	bool planned; /* looked at since it became dirty; leaves with the commit unless `again` */
	bool again;
	/* scratch of one plan */
	cdc_ts create_ts;
};

/* The same of a database. */
struct known_db {
	bool dropped;
	char *name;
	uint8_t *row; /* serialized jr.KnownDatabase */
	size_t row_size;
};

struct db {
	struct node node; /* first: in catalog.dbs */
	int64_t id;
	const struct item *info;         /* NULL: etcd has none */
	struct known_db *known, *before; /* as in struct coll */
	bool touched;
	struct db *touched_next;
	int live;     /* live known collections in it */
	bool changed; /* scratch of one fence */
	bool needed;  /* a collection of the task lives there, whether the database is wanted or not */
	bool dirty, planned, again;
	struct db *dirty_next;
	/* scratch of one plan */
	cdc_ts first; /* create time of its first new collection; 0: none */
};

struct alias {
	struct node node; /* first: in catalog.aliases */
	int64_t db_id;
	char *name;
	const struct item *info; /* NULL: etcd has none */
	int64_t known, before;   /* the collection it points to, 0: none; as in struct coll */
	bool touched;
	struct alias *touched_next;
	int64_t lost; /* the collection whose Drop record took it along, at lost_at; 0: none did */
	cdc_ts lost_at;
	bool dirty, planned, again;
	struct alias *dirty_next;
};

/* Which source this is (R6): from the first good fence of the task, or from its state row. */
struct known_source {
	bool set, stored;
	uint64_t cluster_id, default_created;
	int64_t revision; /* when it was stored */
	char *root;
};

struct catalog {
	struct catalog_conf conf;
	char *root, *meta;         /* "<rootPath>", "<rootPath>/<metaSubPath>" */
	int64_t (*clock_ms)(void); /* monotonic; replaced by tests */

	/* seen */
	struct map ranges[RANGE_COUNT];
	struct map colls, dbs, names, aliases;
	int64_t revision; /* of `seen`; 0: nothing read yet */
	cdc_ts fenced;
	cdc_ts source_time; /* no smaller than any timestamp given out before the last fence */
	uint32_t round;
	bool access_dirty;  /* an item of RANGE_ACCESS changed, appeared or went */
	bool imports_dirty; /* the same of RANGE_IMPORT_* */
	bool stale;         /* a fence broke off half-way: read everything again, derive nothing */
	struct arena *scratch;

	/* known */
	struct known_source source;
	struct coll *touched;
	struct db *touched_dbs;
	struct alias *touched_aliases;
	struct known *grave; /* replaced, but its names may be in use until the next fence */
	struct coll **lost;  /* collections without anything, freed at the next fence */
	size_t lost_count;
	int renamed; /* number of live collections that are called otherwise by etcd */
	struct pchan **pchans;
	size_t pchan_count;

	/* catalog_start_at(), until the commit */
	cdc_ts start_now;
	const struct catalog_since *start;
	size_t start_count;

	struct kept *kept; /* sorted by key */
	size_t kept_count, kept_cap;
	bool warned; /* a warning came, changed, or was restored */

	/* dirty sets */
	struct coll **dirty;
	size_t dirty_count, dirty_cap;
	struct db *dirty_dbs;
	struct alias *dirty_aliases;
};

#define OBJECT_OF(type, member, ptr) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* catalog.c */
struct coll *coll_find(const struct catalog *c, int64_t id);
struct coll *coll_get(struct catalog *c, int64_t id); /* makes it */
void coll_free(struct coll *k);
struct db *db_find(const struct catalog *c, int64_t id);
struct db *db_get(struct catalog *c, int64_t id);
void coll_dirty(struct catalog *c, struct coll *k);
void db_dirty(struct catalog *c, struct db *d);
/* Recomputes all that follows from seen and known of a collection. */
void coll_refresh(struct catalog *c, struct coll *k);
bool db_alive(const struct catalog *c, int64_t id);       /* etcd has it, not dropped */
const char *db_name(const struct catalog *c, int64_t id); /* "" when not known */
/* What etcd says. created: Created, in a database that is alive. over: Dropping, dropped or gone. */
bool coll_created(const struct catalog *c, const struct coll *k);
bool coll_over(const struct catalog *c, const struct coll *k);
bool partition_over(const struct catalog *c, int64_t collection_id, int64_t id);
bool coll_wanted(const struct catalog *c, const struct coll *k);
/* Not journaled yet, and a plan up to that watermark creates it. */
bool coll_to_create(const struct catalog *c, const struct coll *k, cdc_ts watermark);
bool partition_is_new(const struct coll *k, const struct item *it); /* k is known; not journaled yet */
/* A live collection of that name other than `but`, by the names that were journaled; NULL: none. */
struct coll *coll_by_name(const struct catalog *c, const char *db, const char *name, const struct coll *but);
uint64_t name_hash(const char *db, const char *name);
/* Is there no hope of a Drop record any more (R5)? Up to prev all were cut; idle: nothing is read. */
bool ending_due(const struct catalog *c, const struct coll *k, int64_t id, cdc_ts prev, bool idle);
bool db_to_create(const struct catalog *c, const struct db *d);
bool db_to_drop(const struct catalog *c, const struct db *d);
bool db_to_alter(struct catalog *c, const struct db *d); /* catalog_plan_db.c; uses scratch */
bool has_id(const int64_t *sorted, size_t n, int64_t id);
int by_id(const void *a, const void *b); /* qsort of int64_t */

/* catalog_items.c */
const char *catalog_range_path(enum range range); /* below <root>; ends with '/' */
uint64_t item_hash(enum item_kind kind, int64_t parent, int64_t id);
struct item *item_find(const struct catalog *c, enum range range, enum item_kind kind, int64_t parent,
		       int64_t id);
struct item *item_named(const struct catalog *c, enum range range, enum item_kind kind, int64_t parent,
			const char *name);
struct item *item_of_key(const struct catalog *c, enum range range, const char *key); /* the whole key */
void item_free(struct item *it);
/* Takes changed values; SOURCE_FORMAT names the key. */
int items_apply(struct catalog *c, enum range range, const struct etcd_range *r, struct err *err);
/* Removes what is not among the keys. */
void items_sweep(struct catalog *c, enum range range, const struct etcd_range *keys);

/* catalog_fields.c */
bool etcd_tombstone(const struct etcd_kv *kv);
/* For every collection that is about to be journaled and has none yet; as many as the time allows. */
int catalog_read_fields(struct catalog *c, int64_t deadline, struct err *err);
/* SOURCE_WAIT while a collection created <= watermark cannot be journaled yet. */
int catalog_complete(const struct catalog *c, cdc_ts watermark, struct err *err);

/* catalog_since.c */
void since_take(struct known *k, const Jr__KnownCollection *msg);
void since_free(struct known *k);
/* Fills since and starts of a collection that is created in the first cut; what it adds is in the arena. */
void since_fill(const struct catalog *c, int64_t id, Jr__KnownCollection *msg, struct arena *arena);
void since_done(struct catalog *c);

/* catalog_names.c: an unwanted collection has come to have a wanted name, or has it no more: a warning. */
bool skipped_news(const struct catalog *c, const struct coll *k);

/* catalog_alias.c */
struct alias *alias_get(struct catalog *c, int64_t db_id, const char *name); /* makes it */
void aliases_free(struct catalog *c);
void alias_dirty(struct catalog *c, struct alias *a);
void aliases_commit(struct catalog *c);
void aliases_rollback(struct catalog *c);
size_t aliases_touched(const struct catalog *c);
/* Their state rows, at most aliases_touched(); returns how many. */
size_t aliases_state(const struct catalog *c, struct arena *arena, struct state_row *rows);
int alias_restore(struct catalog *c, const struct state_row *row,
		  ProtobufCAllocator *pb); /* -1: unreadable */
/* The Drop record of a collection takes its aliases along; the plan makes their entries. */
void aliases_lose(struct catalog *c, struct coll *k, cdc_ts ts, struct arena *arena);

/* catalog_known.c */
struct known *known_new(struct catalog *c, const Jr__KnownCollection *msg);
struct known_db *known_db_new(const Jr__KnownDatabase *msg);
void known_free(struct known *k);
void known_db_free(struct known_db *k);
/* The message it was made from, in the arena. */
Jr__KnownCollection *known_unpack(const struct known *k, struct arena *arena);
/* Tentative, until commit or rollback. They take `known`; NULL: nothing is known any more. */
void known_set(struct catalog *c, struct coll *k, struct known *known);
void known_db_set(struct catalog *c, struct db *d, struct known_db *known);
/* What remains of a collection that was dropped or is not wanted: who it was. */
struct known *known_remains(struct catalog *c, struct arena *arena, bool dropped, int64_t db_id,
			    const char *db, int64_t id, const char *name);
/* A collection of which nothing is left leaves; it is freed at the next fence. Not dirty. */
void coll_leave(struct catalog *c, struct coll *k);
void known_bury(struct catalog *c); /* frees what was replaced before this fence */
/* Moves a live partition of m to the dropped ones; 1: *ret is its entry, 0: it is not a live one. */
int known_drop_partition(Jr__KnownCollection *m, int64_t collection_id, int64_t id, cdc_ts ts, bool existed,
			 struct arena *arena, struct entry *ret);
Jr__Ddl *ddl_new(struct arena *arena, int64_t db_id, const char *db, int64_t collection_id, const char *name);
/* Fills *ret; the body is packed into the arena. */
void ddl_entry(struct arena *arena, enum kind kind, cdc_ts ts, const Jr__Ddl *ddl, int64_t partition_id,
	       struct entry *ret);

/* catalog_kept.c: tentative, until commit or rollback; msg NULL deletes. */
void kept_set(struct catalog *c, const char *key, const void *msg);
bool kept_has(const struct catalog *c, const char *key);
/* All rows whose key starts so, sorted by key; in the arena. */
size_t kept_list(const struct catalog *c, const char *prefix, struct arena *arena, struct state_row **ret);
void kept_commit(struct catalog *c);
void kept_rollback(struct catalog *c);
size_t kept_changed(const struct catalog *c); /* at least as many as kept_rows() writes */
size_t kept_rows(const struct catalog *c, struct arena *arena, struct state_row *rows);
/* 1: taken, 0: not one of these, -1: cannot be read. */
int kept_restore(struct catalog *c, const struct state_row *row);
void kept_free(struct catalog *c);
/* Warnings of a collection end with its ID, and go with it. */
#define WARNING_IMPORT "warning/import/"
#define WARNING_PROPERTIES "warning/properties/"
void warning_set(struct catalog *c, const char *key, cdc_ts ts, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* catalog_access.c. Changes at the watermark, in the order in which they have to be applied. */
struct access_change {
	enum kind kind;
	const char *key; /* of its row */
	Jr__Ddl *ddl;
};
size_t access_plan(struct catalog *c, cdc_ts watermark, bool existed, struct arena *arena,
		   struct access_change **ret);

/* catalog_import.c. After the collections of the cut. */
void import_plan(struct catalog *c, cdc_ts watermark, bool existed, struct arena *arena);

#endif
