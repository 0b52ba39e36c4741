/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source objects -> target objects: IDs, vchannels, partitions of every collection that the applier
 * made or adopted. Lives in memory, its durable form are the "coll/..." objects of apply.db. Keyed
 * by source ID: an old collection of the same name never touches a new one (R25). Not thread-safe:
 * the applier changes it between windows, lanes only read it during one.
 */
#ifndef CDC_DATA_OBJECT_MAP_H
#define CDC_DATA_OBJECT_MAP_H

#include <cdc/err.h>
#include <cdc/mem.h>
#include <cdc/model.h>

struct channel_pair {
	char *source_vchannel, *target_vchannel, *target_pchannel;
};
struct partition_pair {
	int64_t source_id, target_id;
	char *name;
	bool dropped;
};
struct target_collection {
	int64_t source_id, target_id;
	char *db, *name;               /* on the target */
	char *source_db, *source_name; /* when it was created or renamed last; "": an older object */
	struct channel_pair *channels;
	size_t channel_count;
	struct partition_pair *partitions;
	size_t partition_count;
	bool dropped;
	bool loaded;  /* LOAD applied, no RELEASE since: what a release on the way restores (R25) */
	int replicas; /* of that load, or of that of the partitions */
	/* Source IDs: LOAD_PARTITIONS applied, while not the whole collection is loaded. */
	int64_t *loaded_partitions;
	size_t loaded_partition_count;
};

struct object_map;
struct object_map *object_map_new(void);
void object_map_free(struct object_map *m);
DEFINE_AUTO(struct object_map, object_map_free)

/* NULL: unknown. Valid until the collection is put or removed. */
const struct target_collection *object_map_find(const struct object_map *m, int64_t source_id);
/* By target name, not dropped; NULL: none. */
const struct target_collection *object_map_by_name(const struct object_map *m, const char *db,
						   const char *name);
const struct partition_pair *target_partition(const struct target_collection *c, int64_t source_id);
/* vchannel need not be NUL-terminated. */
const struct channel_pair *target_channel(const struct target_collection *c, const char *vchannel,
					  size_t len);
/* Deep copies in; replaces. */
void object_map_put(struct object_map *m, const struct target_collection *c);
void object_map_each(const struct object_map *m, void (*fn)(void *arg, const struct target_collection *c),
		     void *arg);
/* The stored form, key "coll/<source id>", in the arena. */
struct state_row object_map_store(const struct target_collection *c, struct arena *arena);
/* From stored objects at start; others than "coll/..." are ignored. JOURNAL_BAD. */
int object_map_restore(struct object_map *m, const struct state_row *objects, size_t n, struct err *err);

#endif
