/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fence: etcd -> `seen`. One transaction reads what changed in all prefixes since the last one,
 * and how many keys each prefix holds. Keys that were really deleted (a release; tombstones are values)
 * do not show up as changes: when the number does not fit, one more transaction reads the changes since
 * the first and all keys of that prefix, so that `seen` is exactly etcd at one revision again.
 *
 * Nothing of an answer is taken before all of it was found to come from our source (R6). If a value
 * cannot be read after that, `seen` is marked stale: nothing is derived until a whole reading succeeds.
 * Reader's thread.
 */
#include "catalog_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* The subtrees below <root>; each ends with '/', so that 1 is not 10. */
static const char *const range_path[RANGE_COUNT] = {
	[RANGE_DATABASE] = "root-coord/database/",
	[RANGE_PARTITIONS] = "root-coord/partitions/",
	[RANGE_INDEX] = "field-index/",
	[RANGE_LOAD] = "querycoord-collection-loadinfo/",
};

struct reading {
	struct etcd_range changed[RANGE_COUNT];
	struct etcd_range clock;              /* <root>/kv/gid/timestamp */
	struct etcd_range *keys[RANGE_COUNT]; /* all keys of the range, or NULL */
	struct etcd_answer answer;
};

/* --- keys --- */

/* "<digits>" up to `end`, which is '/' or NUL; -1: not a decimal int64 > 0. */
static int64_t parse_id(const char **p, char end)
{
	int64_t id = 0;
	const char *s = *p;

	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(id, 10, &id) || __builtin_add_overflow(id, *s - '0', &id))
			return -1;
	if (s == *p || *s != end || id == 0)
		return -1;
	*p = end ? s + 1 : s;
	return id;
}

static bool parse_ids(const char *s, int64_t *parent, int64_t *id)
{
	if (parent && (*parent = parse_id(&s, '/')) < 0)
		return false;
	return (*id = parse_id(&s, 0)) > 0;
}

static const char *after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* tail: the key after the range's prefix. Keys we have no use for count, too: kind OTHER. */
static enum item_kind parse_key(enum range range, const char *tail, int64_t *parent, int64_t *id)
{
	const char *s;

	*parent = 0;
	switch (range) {
	case RANGE_DATABASE:
		if ((s = after(tail, "db-info/")) && parse_ids(s, NULL, id))
			return ITEM_DB;
		if ((s = after(tail, "collection-info/")) && parse_ids(s, parent, id))
			return ITEM_COLLECTION;
		break;
	case RANGE_PARTITIONS:
		if (parse_ids(tail, parent, id))
			return ITEM_PARTITION;
		break;
	case RANGE_INDEX:
		if (parse_ids(tail, parent, id))
			return ITEM_INDEX;
		break;
	case RANGE_LOAD:
		if (parse_ids(tail, NULL, id))
			return ITEM_LOAD;
		break;
	case RANGE_COUNT:
		break;
	}
	*parent = 0;
	*id = (int64_t)hash64(1, tail, strlen(tail));
	return ITEM_OTHER;
}

static const char *tail_of(const struct catalog *c, enum range range, const char *key)
{
	return key + strlen(c->meta) + 1 + strlen(range_path[range]);
}

static struct item *held(const struct catalog *c, enum range range, const char *key)
{
	int64_t parent, id;
	enum item_kind kind = parse_key(range, tail_of(c, range, key), &parent, &id);

	return item_find(c, range, kind, parent, id);
}

/* --- values --- */

static int value_set(struct item *it, int32_t state, cdc_ts created, const char *name)
{
	it->state = state;
	it->created = created;
	free(it->name);
	it->name = xstrdup(name);
	return 0;
}

static int parse_collection(struct item *it, const struct etcd_kv *kv, ProtobufCAllocator *pb)
{
	const Mv__CollectionInfo *m = mv__collection_info__unpack(pb, kv->size, kv->value);

	if (!m || !m->schema || m->id != it->id)
		return -1;
	return value_set(it, m->state, m->create_time, m->schema->name);
}

static int parse_partition(struct item *it, const struct etcd_kv *kv, ProtobufCAllocator *pb)
{
	const Mv__PartitionInfo *m = mv__partition_info__unpack(pb, kv->size, kv->value);

	if (!m || m->partition_id != it->id)
		return -1;
	return value_set(it, m->state, m->created_timestamp, m->partition_name);
}

static int parse_index(struct item *it, const struct etcd_kv *kv, ProtobufCAllocator *pb)
{
	const Mv__FieldIndex *m = mv__field_index__unpack(pb, kv->size, kv->value);

	if (!m || !m->index_info || m->index_info->index_id != it->id)
		return -1;
	it->gone = m->deleted;
	return value_set(it, 0, m->create_time, m->index_info->index_name);
}

static int parse_db(struct item *it, const struct etcd_kv *kv, ProtobufCAllocator *pb)
{
	const Mv__DatabaseInfo *m = mv__database_info__unpack(pb, kv->size, kv->value);

	if (!m || m->id != it->id)
		return -1;
	return value_set(it, m->state, m->created_time, m->name);
}

static int parse_value(struct catalog *c, struct item *it, const struct etcd_kv *kv)
{
	struct arena_pb pb = arena_pb(c->scratch);
	ProtobufCAllocator *a = (ProtobufCAllocator *)&pb;

	free(it->data);
	it->data = NULL;
	it->size = 0;
	it->gone = etcd_tombstone(kv);
	if (it->gone || it->kind == ITEM_OTHER)
		return 0;
	it->data = xmemdup(kv->value, kv->size);
	it->size = kv->size;
	arena_reset(c->scratch);
	switch (it->kind) {
	case ITEM_COLLECTION:
		return parse_collection(it, kv, a);
	case ITEM_PARTITION:
		return parse_partition(it, kv, a);
	case ITEM_INDEX:
		return parse_index(it, kv, a);
	case ITEM_LOAD:
		return mv__collection_load_info__unpack(a, kv->size, kv->value) ? 0 : -1;
	case ITEM_DB:
		return parse_db(it, kv, a);
	default:
		return 0;
	}
}

/* --- seen --- */

static int64_t owner_of(const struct item *it)
{
	return it->kind == ITEM_COLLECTION || it->kind == ITEM_LOAD ? it->id : it->parent;
}

/* The object this key is about differs now, or may. */
static void touch(struct catalog *c, const struct item *it)
{
	if (it->kind < ITEM_OF_COLLECTION) {
		coll_dirty(c, coll_get(c, owner_of(it)));
	} else if (it->kind == ITEM_DB) {
		struct db *d = db_get(c, it->id);

		d->changed = true;
		db_dirty(c, d);
	}
}

static struct item *item_new(struct catalog *c, enum range range, enum item_kind kind, int64_t parent,
			     int64_t id)
{
	struct item *it = xcalloc(1, sizeof(*it));

	it->kind = kind;
	it->parent = parent;
	it->id = id;
	map_add(&c->ranges[range], &it->node, item_hash(kind, parent, id));
	if (kind < ITEM_OF_COLLECTION) {
		struct coll *k = coll_get(c, owner_of(it));

		it->next = k->items[kind];
		it->pprev = &k->items[kind];
		if (it->next)
			it->next->pprev = &it->next;
		k->items[kind] = it;
	} else if (kind == ITEM_DB) {
		db_get(c, id)->info = it;
	}
	return it;
}

static void item_delete(struct catalog *c, enum range range, struct item *it)
{
	touch(c, it);
	map_del(&c->ranges[range], &it->node);
	if (it->kind < ITEM_OF_COLLECTION) {
		*it->pprev = it->next;
		if (it->next)
			it->next->pprev = it->pprev;
	} else if (it->kind == ITEM_DB) {
		db_find(c, it->id)->info = NULL;
	}
	item_free(it);
}

static int apply_changes(struct catalog *c, enum range range, const struct etcd_range *r, struct err *err)
{
	for (size_t i = 0; i < r->kv_count; i++) {
		const struct etcd_kv *kv = &r->kvs[i];
		int64_t parent, id;
		enum item_kind kind = parse_key(range, tail_of(c, range, kv->key), &parent, &id);
		struct item *it = item_find(c, range, kind, parent, id);

		if (it && it->revision == kv->mod_revision && !c->stale)
			continue;
		if (!it)
			it = item_new(c, range, kind, parent, id);
		it->revision = kv->mod_revision;
		touch(c, it);
		if (parse_value(c, it, kv) < 0)
			return err_set(err, ERR_SOURCE_FORMAT,
				       "etcd: the value of %s is not what Milvus 2.3 to 2.5 writes", kv->key);
	}
	return 0;
}

/* Removes what is not among the keys. */
static void sweep(struct catalog *c, enum range range, const struct etcd_range *keys)
{
	struct map *m = &c->ranges[range];
	struct node *next;

	c->round++;
	for (size_t i = 0; i < keys->kv_count; i++) {
		struct item *it = held(c, range, keys->kvs[i].key);

		if (it)
			it->round = c->round;
	}
	for (size_t i = 0; i < m->cap; i++)
		for (struct node *n = m->slots[i]; n; n = next) {
			struct item *it = OBJECT_OF(struct item, node, n);

			next = n->next;
			if (it->round != c->round)
				item_delete(c, range, it);
		}
}

/* --- one reading --- */

static int read_once(struct catalog *c, struct reading *r, const bool *whole, int64_t since, int64_t deadline,
		     struct arena *arena, struct err *err)
{
	struct etcd_range ranges[2 * RANGE_COUNT + 1];
	int64_t left = deadline - c->clock_ms();
	size_t n = 0;
	int rc;

	for (int i = 0; i < RANGE_COUNT; i++)
		ranges[n++] = (struct etcd_range){.key = arena_printf(arena, "%s/%s", c->meta, range_path[i]),
						  .prefix = true,
						  .min_mod_revision = since};
	ranges[n++] = (struct etcd_range){.key = arena_printf(arena, "%s/kv/gid/timestamp", c->root)};
	for (int i = 0; i < RANGE_COUNT; i++)
		if (whole && whole[i])
			ranges[n++] =
				(struct etcd_range){.key = ranges[i].key, .prefix = true, .keys_only = true};
	if (left <= 0)
		return err_set(err, ERR_SOURCE_LOST, "etcd did not answer within %d ms", FENCE_DEADLINE_MS);
	rc = etcd_read(c->conf.etcd, ranges, n, (int)left, arena, &r->answer, err);
	if (rc < 0)
		return rc;
	memcpy(r->changed, ranges, sizeof(r->changed));
	r->clock = ranges[RANGE_COUNT];
	n = RANGE_COUNT + 1;
	for (int i = 0; i < RANGE_COUNT; i++)
		r->keys[i] = since == 0          ? &r->changed[i]
			     : whole && whole[i] ? arena_dup(arena, &ranges[n++], sizeof(ranges[0]))
						 : NULL;
	return 0;
}

static int check_store(const struct catalog *c, const struct reading *r, struct err *err)
{
	int64_t ours = c->revision > c->source.revision ? c->revision : c->source.revision;

	if (!c->source.set)
		return 0;
	if (!STREQ(c->source.root, c->meta))
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "the task was made from '%s' in etcd, the configuration now says '%s'; set "
			       "rootPath and "
			       "metaSubPath back, or make a new task",
			       c->source.root, c->meta);
	if (r->answer.cluster_id != c->source.cluster_id)
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "etcd is another cluster (id %llx, the task was made from %llx); nothing is "
			       "derived from "
			       "it: set the etcd address back, or make a new task",
			       (unsigned long long)r->answer.cluster_id,
			       (unsigned long long)c->source.cluster_id);
	if (r->answer.revision < ours)
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "etcd went back from revision %lld to %lld: it was restored from a backup, or "
			       "is another "
			       "one; make a new task",
			       (long long)ours, (long long)r->answer.revision);
	return 0;
}

static const struct etcd_kv *find_key(const struct etcd_range *r, const char *key)
{
	for (size_t i = 0; i < r->kv_count; i++)
		if (STREQ(r->kvs[i].key, key))
			return &r->kvs[i];
	return NULL;
}

static int no_default(const struct catalog *c, struct err *err)
{
	return err_set(err, ERR_SOURCE_FOREIGN,
		       "etcd has no default database under '%s': rootPath or metaSubPath is wrong, or the "
		       "source was "
		       "removed; nothing is derived from that",
		       c->meta);
}

/* The default database as of the last of n readings: there, alive, and the same one as ever. */
static int check_default(const struct catalog *c, const struct reading *r, size_t n, uint64_t *created,
			 struct err *err)
{
	const struct etcd_range *keys = r[n - 1].keys[RANGE_DATABASE];
	const struct item *it = item_find(c, RANGE_DATABASE, ITEM_DB, 0, DEFAULT_DB_ID);
	const struct etcd_kv *kv = NULL;
	char key[512];
	Mv__DatabaseInfo *m;
	bool good;

	if (r[n - 1].changed[RANGE_DATABASE].total == 0)
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "etcd has nothing under '%s': rootPath or metaSubPath is wrong, or the source "
			       "was removed; "
			       "nothing is derived from that",
			       c->meta);
	snprintf(key, sizeof(key), "%s/%sdb-info/%d", c->meta, range_path[RANGE_DATABASE], DEFAULT_DB_ID);
	if (keys && !find_key(keys, key))
		return no_default(c, err);
	for (size_t i = n; i > 0 && !kv; i--)
		kv = find_key(&r[i - 1].changed[RANGE_DATABASE], key);
	if (!kv) {
		if (!it || it->gone)
			return no_default(c, err);
		*created = it->created;
		return 0;
	}
	m = etcd_tombstone(kv) ? NULL : mv__database_info__unpack(NULL, kv->size, kv->value);
	good = m && m->state != DB_DROPPING && m->state != DB_DROPPED;
	if (good)
		*created = m->created_time;
	if (m)
		mv__database_info__free_unpacked(m, NULL);
	if (!good)
		return no_default(c, err);
	if (c->source.set && *created != c->source.default_created)
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "the default database under '%s' was made at %llu, that of the task's source "
			       "at %llu: the "
			       "source was set up anew; make a new task",
			       c->meta, (unsigned long long)*created,
			       (unsigned long long)c->source.default_created);
	return 0;
}

/* Ranges in which keys must have been deleted: fewer keys than we hold and were shown. */
static bool find_deleted(const struct catalog *c, const struct reading *r, bool *whole)
{
	bool any = false;

	for (int i = 0; i < RANGE_COUNT; i++) {
		int64_t count = (int64_t)c->ranges[i].count;

		for (size_t k = 0; k < r->changed[i].kv_count; k++)
			count += !held(c, (enum range)i, r->changed[i].kvs[k].key);
		whole[i] = count != r->changed[i].total;
		any |= whole[i];
	}
	return any;
}

static void take_clock(struct catalog *c, const struct etcd_range *r)
{
	uint64_t ns = 0;

	if (r->kv_count != 1 || r->kvs[0].size != 8)
		return; /* another layout: the rule of R5 then has its 10 s alone */
	for (int i = 0; i < 8; i++)
		ns = ns << 8 | r->kvs[0].value[i];
	c->source_time = ts_from_ms((int64_t)(ns / 1000000 + 1));
}

/* Databases that changed: what is in them has come to life or ended. Rare, so all are looked at. */
static void spread_databases(struct catalog *c)
{
	bool any = false;

	for (struct db *d = c->dirty_dbs; d; d = d->dirty_next)
		any |= d->changed;
	for (size_t i = 0; any && i < c->colls.cap; i++)
		for (struct node *n = c->colls.slots[i]; n; n = n->next) {
			struct coll *k = OBJECT_OF(struct coll, node, n);

			for (const struct item *it = k->items[ITEM_COLLECTION]; it; it = it->next)
				if (db_get(c, it->parent)->changed)
					coll_dirty(c, k);
		}
	for (struct db *d = c->dirty_dbs; d; d = d->dirty_next)
		d->changed = false;
}

/* Nothing can come of it any more, unless etcd or a drop changes it. */
static bool settled(const struct catalog *c, const struct coll *k)
{
	if (k->touched)
		return false;
	if (!k->known)
		return coll_over(c, k);
	return k->known->state != KNOWN_LIVE && k->info;
}

static void refresh_dirty(struct catalog *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->dirty_count; i++) {
		struct coll *k = c->dirty[i];

		coll_refresh(c, k);
		if (settled(c, k)) {
			k->dirty = false;
			coll_leave(c, k);
		} else {
			c->dirty[n++] = k;
		}
	}
	c->dirty_count = n;
}

/* *again: keys were deleted from a prefix of which this reading has not all keys. */
static int apply(struct catalog *c, const struct reading *r, size_t n, bool *again, struct err *err)
{
	int rc;

	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < RANGE_COUNT; k++)
			if ((rc = apply_changes(c, (enum range)k, &r[i].changed[k], err)) < 0)
				return rc;
	for (int k = 0; k < RANGE_COUNT; k++) {
		const struct etcd_range *last = &r[n - 1].changed[k], *keys = r[n - 1].keys[k];

		if (keys)
			sweep(c, (enum range)k, keys);
		if ((int64_t)c->ranges[k].count == last->total)
			continue;
		if (keys)
			return err_set(err, ERR_SOURCE_WAIT,
				       "etcd: %s holds %lld keys, %zu were found; reading all again",
				       last->key, (long long)last->total, c->ranges[k].count);
		*again = true;
	}
	take_clock(c, &r[n - 1].clock);
	c->revision = r[n - 1].answer.revision;
	return 0;
}

static void first_source(struct catalog *c, const struct reading *r, uint64_t default_created)
{
	if (!c->source.set)
		c->source = (struct known_source){.set = true,
						  .cluster_id = r->answer.cluster_id,
						  .default_created = default_created,
						  .revision = c->revision,
						  .root = xstrdup(c->meta)};
}

/* Brings `seen` to a later revision of etcd. *again: call again, it is not exact yet. */
static int read_seen(struct catalog *c, int64_t deadline, bool *again, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct reading r[2] = {0};
	bool whole[RANGE_COUNT];
	uint64_t default_created = 0;
	size_t n = 1;
	int rc;

	rc = read_once(c, &r[0], NULL, c->revision && !c->stale ? c->revision + 1 : 0, deadline, arena, err);
	if (rc < 0 || (rc = check_store(c, &r[0], err)) < 0)
		return rc;
	if (!r[0].keys[0] && find_deleted(c, &r[0], whole)) {
		rc = read_once(c, &r[1], whole, r[0].answer.revision + 1, deadline, arena, err);
		if (rc < 0 || (rc = check_store(c, &r[1], err)) < 0)
			return rc;
		if (r[1].answer.revision < r[0].answer.revision)
			return err_set(err, ERR_SOURCE_WAIT, "etcd: two endpoints gave different answers");
		n = 2;
	}
	if ((rc = check_default(c, r, n, &default_created, err)) < 0)
		return rc;
	if ((rc = apply(c, r, n, again, err)) < 0) {
		c->stale = true;
		return rc;
	}
	c->stale = false;
	first_source(c, &r[0], default_created);
	spread_databases(c);
	refresh_dirty(c);
	return 0;
}

int catalog_fence(struct catalog *c, cdc_ts watermark, struct err *err)
{
	int64_t deadline = c->clock_ms() + FENCE_DEADLINE_MS;
	bool again;
	int rc;

	known_bury(c);
	do { /* ends with the deadline at the latest */
		again = false;
		if ((rc = read_seen(c, deadline, &again, err)) < 0)
			return rc;
	} while (again);
	if ((rc = catalog_read_fields(c, deadline, err)) < 0 ||
	    (rc = catalog_complete(c, watermark, err)) < 0)
		return rc;
	if (watermark > c->fenced)
		c->fenced = watermark;
	return 0;
}
