/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog's objects and the questions about them. What follows from seen and known of a
 * collection (is it ending, is it called otherwise, what its pchannels carry) is computed in one
 * place, coll_refresh(), whenever either changes; so every question is a look-up. Reader's thread.
 */
#include "catalog_priv.h"

#include <cdc/worker.h>

#include <stdlib.h>

/* --- maps --- */

static void map_grow(struct map *m)
{
	size_t cap = m->cap ? m->cap * 2 : 64;
	struct node **slots = xcalloc(cap, sizeof(*slots)), *n, *next;

	for (size_t i = 0; i < m->cap; i++)
		for (n = m->slots[i]; n; n = next) {
			next = n->next;
			n->next = slots[n->hash & (cap - 1)];
			slots[n->hash & (cap - 1)] = n;
		}
	free(m->slots);
	m->slots = slots;
	m->cap = cap;
}

void map_add(struct map *m, struct node *n, uint64_t hash)
{
	if (m->count >= m->cap)
		map_grow(m);
	n->hash = hash;
	n->next = m->slots[hash & (m->cap - 1)];
	m->slots[hash & (m->cap - 1)] = n;
	m->count++;
}

void map_del(struct map *m, struct node *n)
{
	struct node **p = &m->slots[n->hash & (m->cap - 1)];

	while (*p != n)
		p = &(*p)->next;
	*p = n->next;
	m->count--;
}

struct node *map_next(const struct node *n)
{
	uint64_t hash = n->hash;

	for (n = n->next; n && n->hash != hash; n = n->next)
		;
	return (struct node *)n;
}

struct node *map_first(const struct map *m, uint64_t hash)
{
	struct node *n = m->cap ? m->slots[hash & (m->cap - 1)] : NULL;

	return !n || n->hash == hash ? n : map_next(&(struct node){.next = n, .hash = hash});
}

void map_free(struct map *m, void (*fn)(struct node *n))
{
	struct node *n, *next;

	for (size_t i = 0; fn && i < m->cap; i++)
		for (n = m->slots[i]; n; n = next) {
			next = n->next;
			fn(n);
		}
	free(m->slots);
	*m = (struct map){0};
}

/* --- objects --- */

struct coll *coll_find(const struct catalog *c, int64_t id)
{
	struct node *n = map_first(&c->colls, item_hash(ITEM_COLLECTION, 0, id));

	for (; n; n = map_next(n))
		if (OBJECT_OF(struct coll, node, n)->id == id)
			return OBJECT_OF(struct coll, node, n);
	return NULL;
}

struct coll *coll_get(struct catalog *c, int64_t id)
{
	struct coll *k = coll_find(c, id);

	if (!k) {
		k = xcalloc(1, sizeof(*k));
		k->id = id;
		map_add(&c->colls, &k->node, item_hash(ITEM_COLLECTION, 0, id));
	}
	return k;
}

void coll_free(struct coll *k)
{
	known_free(k->known);
	if (k->touched)
		known_free(k->before);
	free(k->schema);
	free(k->endings);
	free(k);
}

struct db *db_find(const struct catalog *c, int64_t id)
{
	struct node *n = map_first(&c->dbs, item_hash(ITEM_DB, 0, id));

	for (; n; n = map_next(n))
		if (OBJECT_OF(struct db, node, n)->id == id)
			return OBJECT_OF(struct db, node, n);
	return NULL;
}

struct db *db_get(struct catalog *c, int64_t id)
{
	struct db *d = db_find(c, id);

	if (!d) {
		d = xcalloc(1, sizeof(*d));
		d->id = id;
		map_add(&c->dbs, &d->node, item_hash(ITEM_DB, 0, id));
	}
	return d;
}

static void free_coll_node(struct node *n)
{
	coll_free(OBJECT_OF(struct coll, node, n));
}

static void free_item_node(struct node *n)
{
	item_free(OBJECT_OF(struct item, node, n));
}

static void free_db_node(struct node *n)
{
	struct db *d = OBJECT_OF(struct db, node, n);

	known_db_free(d->known);
	if (d->touched)
		known_db_free(d->before);
	free(d);
}

struct catalog *catalog_new(const struct catalog_conf *conf)
{
	struct catalog *c = xcalloc(1, sizeof(*c));

	c->conf = *conf;
	c->root = xstrdup(conf->source->etcd.root_path);
	c->meta = xasprintf("%s/%s", conf->source->etcd.root_path, conf->source->etcd.meta_sub_path);
	c->clock_ms = clock_mono_ms;
	c->scratch = arena_new();
	return c;
}

void catalog_free(struct catalog *c)
{
	if (!c)
		return;
	known_bury(c);
	kept_free(c);
	map_free(&c->names, NULL);
	map_free(&c->colls, free_coll_node);
	map_free(&c->dbs, free_db_node);
	aliases_free(c);
	for (size_t i = 0; i < RANGE_COUNT; i++)
		map_free(&c->ranges[i], free_item_node);
	for (size_t i = 0; i < c->pchan_count; i++) {
		free(c->pchans[i]->name);
		free(c->pchans[i]);
	}
	free(c->pchans);
	free(c->dirty);
	free(c->lost);
	free(c->source.root);
	arena_free(c->scratch);
	free(c->root);
	free(c->meta);
	free(c);
}

void coll_dirty(struct catalog *c, struct coll *k)
{
	k->planned = false;
	if (k->dirty)
		return;
	k->dirty = true;
	if (c->dirty_count == c->dirty_cap) {
		c->dirty_cap = c->dirty_cap ? c->dirty_cap * 2 : 64;
		c->dirty = xrealloc(c->dirty, c->dirty_cap * sizeof(*c->dirty));
	}
	c->dirty[c->dirty_count++] = k;
}

void db_dirty(struct catalog *c, struct db *d)
{
	d->planned = false;
	if (d->dirty)
		return;
	d->dirty = true;
	d->dirty_next = c->dirty_dbs;
	c->dirty_dbs = d;
}

/* --- what etcd says --- */

bool db_alive(const struct catalog *c, int64_t id)
{
	const struct db *d = db_find(c, id);

	return d && d->info && !d->info->gone && d->info->state != DB_DROPPING &&
	       d->info->state != DB_DROPPED;
}

const char *db_name(const struct catalog *c, int64_t id)
{
	const struct db *d = db_find(c, id);

	if (d && d->info && d->info->name)
		return d->info->name;
	return d && d->known ? d->known->name : "";
}

bool coll_created(const struct catalog *c, const struct coll *k)
{
	return k->info && !k->info->gone && k->info->state == STATE_CREATED && db_alive(c, k->info->parent);
}

bool coll_over(const struct catalog *c, const struct coll *k)
{
	if (!c->revision)
		return false;
	return !k->info || k->info->gone || k->info->state == STATE_DROPPING ||
	       k->info->state == STATE_DROPPED || !db_alive(c, k->info->parent);
}

bool partition_over(const struct catalog *c, int64_t collection_id, int64_t id)
{
	const struct item *p = item_find(c, RANGE_PARTITIONS, ITEM_PARTITION, collection_id, id);

	if (!c->revision)
		return false;
	return !p || p->gone || p->state == STATE_DROPPING || p->state == STATE_DROPPED;
}

bool coll_wanted(const struct catalog *c, const struct coll *k)
{
	if (!k->info || !k->info->name)
		return true; /* nobody knows what it was called */
	return c->conf.wanted(c->conf.arg, db_name(c, k->info->parent), k->info->name);
}

bool coll_to_create(const struct catalog *c, const struct coll *k, cdc_ts watermark)
{
	return !k->known && k->schema && coll_created(c, k) && k->info->created <= watermark &&
	       coll_wanted(c, k);
}

bool partition_is_new(const struct coll *k, const struct item *it)
{
	return !it->gone && it->state == STATE_CREATED &&
	       !has_id(k->known->live, k->known->live_count, it->id) &&
	       !has_id(k->known->dropped, k->known->dropped_count, it->id);
}

bool db_to_create(const struct catalog *c, const struct db *d)
{
	return d->id != DEFAULT_DB_ID && !d->known && db_alive(c, d->id) && d->info->state != DB_CREATING &&
	       (d->needed || c->conf.wanted_db(c->conf.arg, d->info->name));
}

bool db_to_drop(const struct catalog *c, const struct db *d)
{
	return d->known && !d->known->dropped && c->revision && !db_alive(c, d->id);
}

/* --- what follows --- */

bool has_id(const int64_t *sorted, size_t n, int64_t id)
{
	return n && bsearch(&id, sorted, n, sizeof(*sorted), by_id);
}

int by_id(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t name_hash(const char *db, const char *name)
{
	return hash64(hash64(0, db, strlen(db)), name, strlen(name));
}

struct coll *coll_by_name(const struct catalog *c, const char *db, const char *name, const struct coll *but)
{
	struct node *n = map_first(&c->names, name_hash(db, name));

	for (; n; n = map_next(n)) {
		struct coll *k = OBJECT_OF(struct coll, by_name, n);

		if (k != but && STREQ(k->known->name, name) && STREQ(k->known->db, db))
			return k;
	}
	return NULL;
}

static struct ending *ending_find(const struct coll *k, int64_t id)
{
	for (size_t i = 0; i < k->ending_count; i++)
		if (k->endings[i].id == id)
			return &k->endings[i];
	return NULL;
}

bool ending_due(const struct catalog *c, const struct coll *k, int64_t id, cdc_ts prev, bool idle)
{
	const struct ending *e = ending_find(k, id);

	return e && c->clock_ms() - e->since_ms >= DROP_WAIT_MS && (idle || prev >= e->source);
}

/* The wait counts from the first fence that saw it. */
static void ending_add(struct catalog *c, struct coll *k, int64_t id)
{
	if (ending_find(k, id))
		return;
	k->endings = xrealloc(k->endings, (k->ending_count + 1) * sizeof(*k->endings));
	k->endings[k->ending_count++] =
		(struct ending){.id = id, .since_ms = c->clock_ms(), .source = c->source_time};
}

static void refresh_endings(struct catalog *c, struct coll *k, bool live, bool over)
{
	size_t n = 0;

	/* a tentative drop may be rolled back: the wait must not start again then */
	for (size_t i = 0; !k->touched && i < k->ending_count; i++) {
		const struct ending *e = &k->endings[i];

		if (live && (e->id ? !over && has_id(k->known->live, k->known->live_count, e->id) : over))
			k->endings[n++] = *e;
	}
	if (!k->touched)
		k->ending_count = n;
	if (live && over)
		ending_add(c, k, 0);
	for (size_t i = 0; live && !over && i < k->known->live_count; i++)
		if (partition_over(c, k->id, k->known->live[i]))
			ending_add(c, k, k->known->live[i]);
}

void coll_refresh(struct catalog *c, struct coll *k)
{
	const struct item *best = NULL;
	bool live = k->known && k->known->state == KNOWN_LIVE, over, renamed;

	/* a rename into another database leaves a tombstone behind: two keys with one ID */
	for (const struct item *it = k->items[ITEM_COLLECTION]; it; it = it->next)
		if (!best || (best->gone && !it->gone) ||
		    (best->gone == it->gone && it->revision > best->revision))
			best = it;
	k->info = best;
	over = coll_over(c, k);
	if (!best || best->gone || best->state != STATE_CREATING)
		k->creating_since_ms = 0;
	else if (!k->creating_since_ms)
		k->creating_since_ms = c->clock_ms();
	refresh_endings(c, k, live, over);
	if (live && k->counted && over != k->counted_ending) {
		for (size_t i = 0; i < k->known->pchan_count; i++)
			k->known->pchans[i]->ending += over ? 1 : -1;
		k->counted_ending = over;
	}
	renamed = live && best && best->name && !best->gone &&
		  (!STREQ(best->name, k->known->name) || !STREQ(db_name(c, best->parent), k->known->db));
	c->renamed += renamed - k->renamed;
	k->renamed = renamed;
}

/* --- the public questions --- */

cdc_ts catalog_fenced(const struct catalog *c)
{
	return c->fenced;
}

int64_t catalog_revision(const struct catalog *c)
{
	return c->revision;
}

static int join_cmp(const void *pa, const void *pb)
{
	const struct catalog_join *a = pa, *b = pb;

	if (a->collection_id != b->collection_id)
		return a->collection_id < b->collection_id ? -1 : 1;
	return strcmp(a->pchannel, b->pchannel);
}

/* The start position of shard i; Milvus keys it by pchannel, in any order. */
static void join_start(const Mv__CollectionInfo *info, size_t i, struct catalog_join *join)
{
	for (size_t s = 0; s < info->n_start_positions; s++) {
		const Mv__KeyDataPair *kd = info->start_positions[s];

		if (STREQ(kd->key, join->pchannel) ||
		    (i < info->n_virtual_channel_names && STREQ(kd->key, info->virtual_channel_names[i]))) {
			join->start = kd->data.data;
			join->start_size = kd->data.len;
		}
	}
}

size_t catalog_joins(struct catalog *c, cdc_ts watermark, struct arena *arena, struct catalog_join **ret)
{
	struct arena_pb pb = arena_pb(arena);
	size_t n = 0, cap = 0;
	struct catalog_join *joins = NULL;

	for (size_t i = 0; i < c->dirty_count; i++) {
		struct coll *k = c->dirty[i];
		Mv__CollectionInfo *info;

		if (k->known || !coll_created(c, k) || k->info->created > watermark || !coll_wanted(c, k))
			continue;
		info = mv__collection_info__unpack((ProtobufCAllocator *)&pb, k->info->size, k->info->data);
		for (size_t p = 0; info && p < info->n_physical_channel_names; p++) {
			if (n == cap) {
				struct catalog_join *more =
					arena_alloc(arena, (cap * 2 + 16) * sizeof(*more));

				if (n)
					memcpy(more, joins, n * sizeof(*more));
				joins = more;
				cap = cap * 2 + 16;
			}
			joins[n] = (struct catalog_join){.collection_id = k->id,
							 .pchannel = info->physical_channel_names[p],
							 .vchannel = p < info->n_virtual_channel_names
									     ? info->virtual_channel_names[p]
									     : "",
							 .db = db_name(c, k->info->parent),
							 .name = k->info->name,
							 .created = k->info->created};
			join_start(info, p, &joins[n++]);
		}
	}
	if (n)
		qsort(joins, n, sizeof(*joins), join_cmp);
	*ret = joins;
	return n;
}

static enum catalog_fate partition_fate(const struct catalog *c, const struct coll *k, int64_t id)
{
	if (id <= 0 || has_id(k->known->live, k->known->live_count, id))
		return CATALOG_LIVE;
	if (has_id(k->known->dropped, k->known->dropped_count, id))
		return CATALOG_DROPPED;
	return coll_over(c, k) || partition_over(c, k->id, id) ? CATALOG_GONE : CATALOG_UNKNOWN;
}

enum catalog_fate catalog_fate(struct catalog *c, int64_t collection_id, int64_t partition_id,
			       const char **db, const char **name)
{
	const struct coll *k = coll_find(c, collection_id);
	const char *unused;

	db = db ? db : &unused;
	name = name ? name : &unused;
	*db = *name = "";
	if (k && k->known) {
		*db = k->known->db;
		*name = k->known->name;
		switch (k->known->state) {
		case KNOWN_LIVE:
			return partition_fate(c, k, partition_id);
		case KNOWN_DROPPED:
			return CATALOG_DROPPED;
		case KNOWN_SKIPPED:
			return CATALOG_UNWANTED;
		}
	}
	if (!k || !k->info)
		return c->revision ? CATALOG_GONE : CATALOG_UNKNOWN;
	*db = db_name(c, k->info->parent);
	*name = k->info->name ? k->info->name : "";
	if (!coll_wanted(c, k))
		return CATALOG_UNWANTED;
	return coll_over(c, k) ? CATALOG_GONE : CATALOG_UNKNOWN;
}

/* As people call it at the source now: that is what a message with a name means. */
int64_t catalog_id_by_name(struct catalog *c, const char *db, size_t db_len, const char *name, size_t len)
{
	const char *d, *n;

	arena_reset(c->scratch);
	d = db_len ? arena_strndup(c->scratch, db, db_len) : "default";
	n = arena_strndup(c->scratch, name, len);
	for (struct node *node = map_first(&c->names, name_hash(d, n)); node; node = map_next(node)) {
		const struct coll *k = OBJECT_OF(struct coll, by_name, node);

		if (!k->renamed && STREQ(k->known->name, n) && STREQ(k->known->db, d))
			return k->id;
	}
	for (size_t i = 0; c->renamed && i < c->names.cap; i++)
		for (struct node *node = c->names.slots[i]; node; node = node->next) {
			const struct coll *k = OBJECT_OF(struct coll, by_name, node);

			if (k->renamed && STREQ(k->info->name, n) && STREQ(db_name(c, k->info->parent), d))
				return k->id;
		}
	return 0;
}

size_t catalog_live_pchannels(struct catalog *c, struct arena *arena, const char ***ret)
{
	const char **names = arena_alloc(arena, (c->pchan_count + 1) * sizeof(*names));
	size_t n = 0;

	for (size_t i = 0; i < c->pchan_count; i++)
		if (c->pchans[i]->live)
			names[n++] = arena_strdup(arena, c->pchans[i]->name);
	*ret = names;
	return n;
}

bool catalog_pchannel_ending(struct catalog *c, const char *pchannel)
{
	for (size_t i = 0; i < c->pchan_count; i++)
		if (STREQ(c->pchans[i]->name, pchannel))
			return c->pchans[i]->live && c->pchans[i]->live == c->pchans[i]->ending;
	return false;
}

bool catalog_pending(struct catalog *c)
{
	if (c->conf.users && c->access_dirty)
		return true;
	for (struct db *d = c->dirty_dbs; d; d = d->dirty_next)
		if (!(d->planned && d->again) &&
		    (db_to_create(c, d) || (db_to_drop(c, d) && !d->live) || db_to_alter(c, d)))
			return true;
	for (size_t i = 0; i < c->dirty_count; i++) {
		const struct coll *k = c->dirty[i];

		if (!k->known) {
			if (k->schema && coll_created(c, k) && k->info->created <= c->fenced &&
			    coll_wanted(c, k))
				return true;
		} else if (k->known->state == KNOWN_LIVE && coll_over(c, k)) {
			if (ending_due(c, k, 0, 0, true))
				return true;
		} else if (k->known->state == KNOWN_LIVE && !k->planned) {
			return true;
		}
	}
	return false;
}
