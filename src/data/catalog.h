/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exists at the source: databases, collections, partitions, indexes, load state, aliases, by ID.
 *
 * Two pictures are kept. `seen`: the source's etcd at one revision, refreshed by catalog_fence(),
 * which is a single linearizable transaction over all prefixes (only keys that changed since the
 * last one are returned): so the fence of R4 and the reading of the catalog are the same request,
 * no watch can lag behind it, and a compaction cannot break it. `known`: what the journal has been
 * told (R14), restored from its state rows at start. DDL is the difference of the two, by ID.
 *
 * All calls from the reader's thread. Only catalog_fence() does I/O.
 */
#ifndef CDC_DATA_CATALOG_H
#define CDC_DATA_CATALOG_H

#include <cdc/conf.h>
#include <cdc/err.h>
#include <cdc/mem.h>
#include <cdc/model.h>
#include <cdc/wire.h>

struct catalog;

struct catalog_conf {
	const struct conf_source *source;
	/* Does the task want this collection? Must be pure. */
	bool (*wanted)(void *arg, const char *db, const char *collection);
	bool (*wanted_db)(void *arg, const char *db); /* create/drop of the database itself */
	void *arg;
	bool users;        /* users, roles and grants are read, too */
	struct etcd *etcd; /* borrowed */
};
struct catalog *catalog_new(const struct catalog_conf *conf);
void catalog_free(struct catalog *c);
DEFINE_AUTO(struct catalog, catalog_free)

/*
 * State rows of the journal at start: keys "coll/<id>" (jr.KnownCollection), "db/<id>" (jr.KnownDatabase),
 * "alias/<db id>/<alias>" (jr.KnownAlias), "source" (jr.KnownSource), and those of catalog_kept.c; others are
 * ignored. JOURNAL_BAD names the row.
 */
int catalog_restore(struct catalog *c, const struct state_row *row, struct err *err);

/*
 * Reads the source's catalog. watermark: all ticks >= it had been read when this is called; after
 * success everything created at or before it is seen. Blocks <= 5 s. SOURCE_LOST/AUTH: wait.
 * SOURCE_WAIT: a collection created <= watermark is still in state Creating (for 5 s at most: no row
 * can come before Created, and a creation that was given up stays so), or its fields are not all
 * there: call again. SOURCE_FORMAT: a value cannot be read, names the key. SOURCE_FOREIGN (R6): other
 * cluster_id, root or creation time of the default database than the state row "source" has,
 * revision below ours, empty root, or no default database: no DDL may be derived.
 */
int catalog_fence(struct catalog *c, cdc_ts watermark, struct err *err);
cdc_ts catalog_fenced(const struct catalog *c); /* the watermark of the last good fence */
int64_t catalog_revision(const struct catalog *c);

/* A pchannel that must be read before the collection's rows can be cut. Strings live until the next fence. */
struct catalog_join {
	int64_t collection_id;
	const char *pchannel;
	const char *vchannel; /* "" when not given */
	const char *db, *name;
	const uint8_t *start; /* start position bytes of that pchannel; NULL: not given */
	size_t start_size;
	cdc_ts created;
};
/* Every (collection, pchannel) of wanted, Created, not yet journaled collections created <= watermark. */
size_t catalog_joins(struct catalog *c, cdc_ts watermark, struct arena *arena, struct catalog_join **ret);

/*
 * Which rows of a collection the task wants (start points): not those at or below `since`; of shards
 * that are named, not those before `from` or at or below their own `since`. Kept in the state row.
 */
struct catalog_since {
	int64_t collection_id;
	cdc_ts since;
	const struct catalog_shard {
		const char *vchannel;
		cdc_ts since;
		struct mq_id from;
	} * shards;
	size_t shard_count;
};
/*
 * For the first cut alone, before catalog_plan(): all that exists at `now` (fenced) is created in it,
 * though the cut ends earlier. The list is borrowed until the commit; collections that are not in it
 * want all rows.
 */
void catalog_start_at(struct catalog *c, cdc_ts now, const struct catalog_since *list, size_t n);
/* False: the row is before the start of its (LIVE) collection. */
bool catalog_wants_row(struct catalog *c, const struct record *row);

/* DDL of one cut. Entries have ts in (prev, watermark], are sorted, and live in the arena. */
struct catalog_plan {
	struct entry *entries;
	size_t entry_count;
};
/*
 * Needs catalog_fenced() >= watermark. Derives CREATE_DATABASE, CREATE_COLLECTION (ts its create time),
 * CREATE_PARTITION, and what has no time at the source at the watermark at which it was seen (R9), in this
 * order, of which each step may need the one before it:
 *
 *   DROP_ALIAS          a name may be wanted, and a move to another database suffers no alias
 *   RENAME_COLLECTION   what follows has the new name; chains from their end, circles by a name in between
 *   RELEASE, RELEASE_PARTITIONS, DROP_INDEX
 *   ALTER_DATABASE, ALTER_COLLECTION, ALTER_INDEX
 *   CREATE_INDEX, LOAD, LOAD_PARTITIONS, RELEASE_PARTITIONS (of what that LOAD should not have loaded)
 *   CREATE_ALIAS, ALTER_ALIAS
 *   DROP_DATABASE       only once no live collection of it is known
 *   users, roles, grants
 *
 * What needs a name first makes room for it, right before it: see catalog_names.c. The aliases of a
 * collection are dropped right before it. Timestamps at or below prev are raised to prev + 1; entries of
 * one timestamp are in the order in which they have to be applied. All decisions are by ID: a collection
 * that the task replicates stays replicated under any name and in any database (which is created for
 * it); one that was not wanted when it was seen first stays unwanted.
 * Drops of collections and partitions come from their records (catalog_drop_*); one whose record does
 * not come although etcd has said Dropping or gone for 10 s is derived here at the watermark (R5), but
 * only when all that the source wrote before that fence was cut (a backlog is read first), or when
 * the caller says that the cut is idle: no pchannel is live, no record can come. prev 0 is the start of
 * the task (T0): entries are marked existed. `known` changes only tentatively: catalog_commit() after the
 * journal has the cut, or catalog_rollback() and the very same calls again.
 */
int catalog_plan(struct catalog *c, cdc_ts prev, cdc_ts watermark, bool idle, struct arena *arena,
		 struct catalog_plan *ret, struct err *err);
/*
 * A Drop record in the cut. 1: first of this object, *ret is the DDL entry (ts as given, in the
 * arena); 0: nothing to do (repeated, unknown or unwanted). Tentative like the plan.
 */
int catalog_drop_collection(struct catalog *c, int64_t id, cdc_ts ts, struct arena *arena, struct entry *ret);
int catalog_drop_partition(struct catalog *c, int64_t collection_id, int64_t id, cdc_ts ts,
			   struct arena *arena, struct entry *ret);
/* State rows that changed with the plan and the drops, to commit with the cut; live in the arena. */
size_t catalog_state(struct catalog *c, struct arena *arena, struct state_row **ret);
void catalog_commit(struct catalog *c);
void catalog_rollback(struct catalog *c);

enum catalog_fate { CATALOG_LIVE, CATALOG_UNWANTED, CATALOG_DROPPED, CATALOG_GONE, CATALOG_UNKNOWN };
/*
 * What to do with a row, by the tentative known state: LIVE: journal it. UNWANTED: not the task's.
 * DROPPED: its drop is journaled. GONE: the fence has no such object (created and dropped unseen,
 * R7): skip and count. UNKNOWN: no fence covers it yet. partition_id -1 or 0: the collection alone.
 * *name, *db (may be NULL): for people, valid until the next fence.
 */
enum catalog_fate catalog_fate(struct catalog *c, int64_t collection_id, int64_t partition_id,
			       const char **db, const char **name);
int64_t catalog_id_by_name(struct catalog *c, const char *db, size_t db_len, const char *name,
			   size_t len); /* live; 0: none */

/* pchannels that carry a live (journaled, not dropped, wanted) collection; in the arena. */
size_t catalog_live_pchannels(struct catalog *c, struct arena *arena, const char ***ret);
/* True if etcd says of every live collection on that pchannel that it is Dropping or gone (R5). */
bool catalog_pchannel_ending(struct catalog *c, const char *pchannel);
/* True if something would be planned although no watermark moves (nothing live): databases etc. */
bool catalog_pending(struct catalog *c);

/*
 * What the source did and a task cannot replicate (a bulk import, another password), in words, for people.
 * Kept in state rows "warning/..." for as long as it is true. fresh: stored by a commit since the last
 * call, not restored: to be logged. Texts are in the arena. catalog_warned(): the list is another one
 * than at the last call.
 */
struct catalog_warning {
	const char *text;
	cdc_ts ts;
	bool fresh;
};
bool catalog_warned(const struct catalog *c);
size_t catalog_warnings(struct catalog *c, struct arena *arena, struct catalog_warning **ret);
/* An Import message in the cut: as found in etcd, see catalog_import.c. Tentative like the plan. */
void catalog_import(struct catalog *c, int64_t collection_id, int64_t job_id, cdc_ts ts, struct arena *arena);

#endif
