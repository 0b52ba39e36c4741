/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and values of etcd -> the items of `seen`. An item is found by its key: by its IDs, or by the
 * name in the key where etcd has no ID there (the whole name is compared, a hash alone is not an
 * identity). What an item is about becomes dirty when it changes. Pure: the answers are read by
 * catalog_etcd.c. Reader's thread.
 */
#include "catalog_priv.h"

#include <stdlib.h>

/* The subtrees below <root>; each ends with '/', so that 1 is not 10. */
static const char *const range_path[RANGE_COUNT] = {
	[RANGE_DATABASE] = "root-coord/database/",
	[RANGE_PARTITIONS] = "root-coord/partitions/",
	[RANGE_INDEX] = "field-index/",
	[RANGE_LOAD] = "querycoord-collection-loadinfo/",
	[RANGE_PARTITION_LOAD] = "querycoord-partition-loadinfo/",
	[RANGE_ACCESS] = "root-coord/credential/",
	[RANGE_IMPORT_TASK] = "importtask/",
	[RANGE_IMPORT_JOB] = "datacoord-meta/import-job/",
};

const char *catalog_range_path(enum range range)
{
	return range_path[range];
}

/* --- keys --- */

/* What a key is of. */
struct item_key {
	enum item_kind kind;
	int64_t parent, id;
	const char *name; /* the identity of kinds that have no ID; "" of others */
};

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
static struct item_key parse_key(enum range range, const char *tail)
{
	struct item_key k = {.name = ""};
	const char *s;

	switch (range) {
	case RANGE_DATABASE:
		if ((s = after(tail, "db-info/")) && parse_ids(s, NULL, &k.id))
			k.kind = ITEM_DB;
		else if ((s = after(tail, "collection-info/")) && parse_ids(s, &k.parent, &k.id))
			k.kind = ITEM_COLLECTION;
		else if ((s = after(tail, "aliases/")) && (k.parent = parse_id(&s, '/')) > 0 && *s)
			k = (struct item_key){.kind = ITEM_ALIAS, .parent = k.parent, .name = s};
		else
			break;
		return k;
	case RANGE_PARTITIONS:
		k.kind = ITEM_PARTITION;
		if (parse_ids(tail, &k.parent, &k.id))
			return k;
		break;
	case RANGE_INDEX:
		k.kind = ITEM_INDEX;
		if (parse_ids(tail, &k.parent, &k.id))
			return k;
		break;
	case RANGE_LOAD:
		k.kind = ITEM_LOAD;
		if (parse_ids(tail, NULL, &k.id))
			return k;
		break;
	case RANGE_PARTITION_LOAD:
		k.kind = ITEM_PARTITION_LOAD;
		if (parse_ids(tail, &k.parent, &k.id))
			return k;
		break;
	case RANGE_ACCESS:
		return (struct item_key){.kind = ITEM_ACCESS, .name = tail};
	case RANGE_IMPORT_TASK:
	case RANGE_IMPORT_JOB:
		k.kind = ITEM_IMPORT;
		if (parse_ids(tail, NULL, &k.id))
			return k;
		break;
	case RANGE_COUNT:
		break;
	}
	return (struct item_key){.kind = ITEM_OTHER, .name = tail};
}

static struct item_key key_of(const struct catalog *c, enum range range, const char *key)
{
	return parse_key(range, key + strlen(c->meta) + 1 + strlen(range_path[range]));
}

static uint64_t key_hash(const struct item_key *k)
{
	return hash64(item_hash(k->kind, k->parent, k->id), k->name, strlen(k->name));
}

static struct item *find_key(const struct catalog *c, enum range range, const struct item_key *key)
{
	struct node *n = map_first(&c->ranges[range], key_hash(key));

	for (; n; n = map_next(n)) {
		struct item *it = OBJECT_OF(struct item, node, n);

		if (it->kind == key->kind && it->parent == key->parent && it->id == key->id &&
		    STREQ(it->key ? it->key : "", key->name))
			return it;
	}
	return NULL;
}

uint64_t item_hash(enum item_kind kind, int64_t parent, int64_t id)
{
	return hash64((uint64_t)kind, (int64_t[2]){parent, id}, 2 * sizeof(int64_t));
}

struct item *item_find(const struct catalog *c, enum range range, enum item_kind kind, int64_t parent,
		       int64_t id)
{
	return find_key(c, range, &(struct item_key){.kind = kind, .parent = parent, .id = id, .name = ""});
}

struct item *item_named(const struct catalog *c, enum range range, enum item_kind kind, int64_t parent,
			const char *name)
{
	return find_key(c, range, &(struct item_key){.kind = kind, .parent = parent, .name = name});
}

struct item *item_of_key(const struct catalog *c, enum range range, const char *key)
{
	struct item_key k = key_of(c, range, key);

	return find_key(c, range, &k);
}

void item_free(struct item *it)
{
	free(it->key);
	free(it->name);
	free(it->data);
	free(it);
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

static int parse_alias(struct item *it, const struct etcd_kv *kv, ProtobufCAllocator *pb)
{
	const Mv__AliasInfo *m = mv__alias_info__unpack(pb, kv->size, kv->value);

	if (!m || m->collection_id <= 0)
		return -1;
	it->target = m->collection_id;
	return value_set(it, m->state, m->created_time, it->key);
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
	case ITEM_ALIAS:
		return parse_alias(it, kv, a);
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
	} else if (it->kind == ITEM_ALIAS) {
		alias_dirty(c, alias_get(c, it->parent, it->key));
	} else if (it->kind == ITEM_ACCESS) {
		c->access_dirty = true;
	} else if (it->kind == ITEM_IMPORT) {
		c->imports_dirty = true;
	}
}

static struct item *item_new(struct catalog *c, enum range range, const struct item_key *key)
{
	struct item *it = xcalloc(1, sizeof(*it));

	it->kind = key->kind;
	it->parent = key->parent;
	it->id = key->id;
	it->key = *key->name ? xstrdup(key->name) : NULL;
	map_add(&c->ranges[range], &it->node, key_hash(key));
	if (it->kind < ITEM_OF_COLLECTION) {
		struct coll *k = coll_get(c, owner_of(it));

		it->next = k->items[it->kind];
		it->pprev = &k->items[it->kind];
		if (it->next)
			it->next->pprev = &it->next;
		k->items[it->kind] = it;
	} else if (it->kind == ITEM_DB) {
		db_get(c, it->id)->info = it;
	} else if (it->kind == ITEM_ALIAS) {
		alias_get(c, it->parent, it->key)->info = it;
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
	} else if (it->kind == ITEM_ALIAS) {
		alias_get(c, it->parent, it->key)->info = NULL;
	}
	item_free(it);
}

/*
 * Milvus 2.3 writes a change of properties to etcd with the properties before the change; the new ones come
 * with the next change. Of the first change etcd shows the same value again, with a new revision.
 */
static void hidden_change(struct catalog *c, const struct item *it, const struct etcd_kv *kv)
{
	if (it->kind == ITEM_COLLECTION && !it->gone && it->revision && it->revision != kv->mod_revision &&
	    it->size == kv->size && memcmp(it->data, kv->value, kv->size) == 0)
		coll_get(c, it->id)->hidden = true;
}

int items_apply(struct catalog *c, enum range range, const struct etcd_range *r, struct err *err)
{
	for (size_t i = 0; i < r->kv_count; i++) {
		const struct etcd_kv *kv = &r->kvs[i];
		struct item_key key = key_of(c, range, kv->key);
		struct item *it = find_key(c, range, &key);

		if (it && it->revision == kv->mod_revision && !c->stale)
			continue;
		if (!it)
			it = item_new(c, range, &key);
		hidden_change(c, it, kv);
		it->revision = kv->mod_revision;
		touch(c, it);
		if (parse_value(c, it, kv) < 0)
			return err_set(err, ERR_SOURCE_FORMAT,
				       "etcd: the value of %s is not what Milvus 2.3 to 2.5 writes", kv->key);
	}
	return 0;
}

void items_sweep(struct catalog *c, enum range range, const struct etcd_range *keys)
{
	struct map *m = &c->ranges[range];
	struct node *next;

	c->round++;
	for (size_t i = 0; i < keys->kv_count; i++) {
		struct item *it = item_of_key(c, range, keys->kvs[i].key);

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
