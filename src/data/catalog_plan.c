/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: seen minus known -> DDL entries of one cut, and the tentative known state after them.
 *
 * Order inside a plan: (ts, rank, IDs). Creations have the source's time, everything else has none and
 * stands at the watermark (R9). What must make room for a creation of the same name comes right before
 * it, so the rule of names is:
 *
 * - collection n is created under the name of another live one: that is dropped first if etcd says it is
 *   over, and renamed first if etcd calls it otherwise; and so on with the name it gets (catalog_names.c).
 *   A partition is dropped first.
 * - database n is created under the name of another live known one, which is over: if that has no live
 *   collection, DROP_DATABASE comes right before CREATE_DATABASE. If it has, n waits for their Drop
 *   records, unless a collection of n has to be created in this cut: the source has made that after
 *   all those drops, so their records are at or below this watermark or lost, and they are dropped here.
 * - DROP_DATABASE otherwise waits until no live collection of it is known.
 *
 * Only dirty objects are looked at. Reader's thread.
 */
#include "catalog_plan_priv.h"

#include <stdlib.h>

struct entry *plan_slot(struct plan *p, enum rank rank, int64_t object)
{
	if (p->n == p->cap) {
		struct planned *v = arena_alloc(p->arena, (p->cap * 2 + 32) * sizeof(*v));

		if (p->n)
			memcpy(v, p->v, p->n * sizeof(*v));
		p->v = v;
		p->cap = p->cap * 2 + 32;
	}
	p->v[p->n] = (struct planned){.rank = rank, .object = object};
	if (rank == RANK_ROOM || rank == RANK_RENAME || rank == RANK_ACCESS)
		p->v[p->n].order = p->n;
	return &p->v[p->n++].entry;
}

void plan_add(struct plan *p, enum kind kind, enum rank rank, cdc_ts ts, Jr__Ddl *ddl, int64_t partition,
	      int64_t object)
{
	ddl->existed = p->existed;
	ddl_entry(p->arena, kind, ts, ddl, partition, plan_slot(p, rank, object));
}

static int planned_cmp(const void *pa, const void *pb)
{
	const struct planned *a = pa, *b = pb;

	if (a->entry.ts != b->entry.ts)
		return a->entry.ts < b->entry.ts ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	if (a->entry.collection_id != b->entry.collection_id)
		return a->entry.collection_id < b->entry.collection_id ? -1 : 1;
	return a->object < b->object ? -1 : a->object > b->object;
}

/* Into the cut; above its end is only what the first one creates early (catalog_start_at). */
cdc_ts plan_raised(const struct plan *p, cdc_ts ts)
{
	return ts <= p->prev ? p->prev + 1 : ts > p->watermark ? p->watermark : ts;
}

/* A moment before ts, if there is one in this cut; else ts itself, and the rank decides. */
cdc_ts plan_before(const struct plan *p, cdc_ts ts)
{
	return plan_raised(p, ts - 1);
}

int coll_cmp(const void *pa, const void *pb)
{
	return by_id(&(*(struct coll *const *)pa)->id, &(*(struct coll *const *)pb)->id);
}

static int item_cmp(const void *pa, const void *pb)
{
	return by_id(&(*(struct item *const *)pa)->id, &(*(struct item *const *)pb)->id);
}

/* Items of one kind, by ID. */
struct item **plan_items(struct plan *p, const struct coll *k, enum item_kind kind, size_t *ret)
{
	struct item **v;
	size_t n = 0;

	for (struct item *it = k->items[kind]; it; it = it->next)
		n++;
	v = arena_alloc(p->arena, (n + 1) * sizeof(struct item *));
	n = 0;
	for (struct item *it = k->items[kind]; it; it = it->next)
		v[n++] = it;
	qsort(v, n, sizeof(struct item *), item_cmp);
	*ret = n;
	return v;
}

Jr__Ddl *plan_child(struct plan *p, const struct coll *k, const Jr__KnownCollection *m)
{
	return ddl_new(p->arena, m->ddl->db_id, m->ddl->db_name, k->id, m->ddl->collection->schema->name);
}

void plan_drop_collection(struct plan *p, struct coll *k, enum rank rank, cdc_ts ts)
{
	const struct known *was = k->known;

	plan_drop_aliases(p, k, rank == RANK_DROP_COLLECTION ? RANK_DROP_ALIAS : rank, ts);
	plan_add(p, KIND_DROP_COLLECTION, rank, ts, ddl_new(p->arena, was->db_id, was->db, k->id, was->name),
		 0, 0);
	known_set(p->c, k, known_remains(p->c, p->arena, true, was->db_id, was->db, k->id, was->name));
	if (!k->info)
		coll_dirty(p->c, k); /* etcd has forgotten it already: so will the next plan */
}

/* --- collections --- */

/* To be created in this cut? Sets create_ts, 0: no. */
static void find_creation(struct plan *p, struct coll *k)
{
	struct db *d = k->info ? db_find(p->c, k->info->parent) : NULL;

	k->create_ts = 0;
	k->planned = true;
	k->again = false;
	if (!coll_to_create(p->c, k, p->exists))
		return;
	k->create_ts = plan_raised(p, k->info->created);
	if (!d->first || d->first > k->create_ts)
		d->first = k->create_ts;
}

/* What etcd says of the collection, with its fields put back into the schema. */
static Mv__CollectionInfo *whole_info(struct plan *p, const struct coll *k)
{
	struct arena_pb pb = arena_pb(p->arena);
	ProtobufCAllocator *a = (ProtobufCAllocator *)&pb;
	Mv__CollectionInfo *info = mv__collection_info__unpack(a, k->info->size, k->info->data);
	Mv__CollectionSchema *s = mv__collection_schema__unpack(a, k->schema_size, k->schema);

	info->db_id = k->info->parent; /* the key is right where they differ */
	info->schema->n_fields = s->n_fields;
	info->schema->fields = s->fields;
	info->schema->enable_dynamic_field |= s->enable_dynamic_field;
	if (s->n_functions) {
		info->schema->n_functions = s->n_functions;
		info->schema->functions = s->functions;
	}
	return info;
}

static bool comes_along(const struct plan *p, const struct coll *k, const struct item *partition)
{
	return partition->created <= p->exists && plan_raised(p, partition->created) <= k->create_ts;
}

static void create_collection(struct plan *p, struct coll *k)
{
	const char *db = db_name(p->c, k->info->parent);
	Jr__KnownCollection m = JR__KNOWN_COLLECTION__INIT;
	size_t n;
	struct item **v = plan_items(p, k, ITEM_PARTITION, &n);

	plan_room(p, k->info->parent, db, k->info->name, RANK_ROOM, plan_before(p, k->create_ts));
	m.ddl = ddl_new(p->arena, k->info->parent, db, 0, NULL);
	m.ddl->collection = whole_info(p, k);
	for (size_t i = 0; i < n; i++) {
		if (!v[i]->gone && v[i]->state == STATE_CREATED && comes_along(p, k, v[i]))
			plan_add_partition(p, &m, plan_partition_info(p, v[i]));
	}
	plan_add(p, KIND_CREATE_COLLECTION, RANK_CREATE_COLLECTION, k->create_ts, m.ddl, 0, 0);
	/* later ones are entries of their own, wherever the cuts end (R12) */
	for (size_t i = 0; i < n; i++) {
		if (v[i]->gone || v[i]->state != STATE_CREATED || comes_along(p, k, v[i]))
			continue;
		if (v[i]->created <= p->exists)
			plan_create_partition(p, k, &m, v[i]);
		else
			k->again = true; /* the next cuts' */
	}
	plan_indexes(p, k, &m);
	plan_load(p, k, &m);
	since_fill(p->c, k->id, &m, p->arena);
	known_set(p->c, k, known_new(p->c, &m));
}

static void plan_unknown(struct plan *p, struct coll *k)
{
	if (coll_created(p->c, k) && !coll_wanted(p->c, k)) {
		/* for good: were it renamed to a wanted name, its rows until then would be missing */
		known_set(p->c, k,
			  known_remains(p->c, p->arena, false, k->info->parent,
					db_name(p->c, k->info->parent), k->id, k->info->name));
	} else if (!coll_over(p->c, k)) {
		k->again = true; /* Creating, above the watermark, or its fields are missing */
	}
}

static void plan_live(struct plan *p, struct coll *k)
{
	Jr__KnownCollection *m;
	bool changed;

	if (coll_over(p->c, k)) {
		if (ending_due(p->c, k, 0, p->prev, p->idle))
			plan_drop_collection(p, k, RANK_DROP_COLLECTION, p->watermark);
		else
			k->again = true;
		return;
	}
	if (!k->info || k->info->state != STATE_CREATED)
		return;
	m = known_unpack(k->known, p->arena);
	changed = plan_partitions(p, k, m);
	changed |= plan_properties(p, k, m);
	changed |= plan_indexes(p, k, m);
	changed |= plan_load(p, k, m);
	if (changed)
		known_set(p->c, k, known_new(p->c, m));
}

static void plan_collection(struct plan *p, struct coll *k)
{
	if (!k->known)
		plan_unknown(p, k);
	else if (k->known->state == KNOWN_LIVE)
		plan_live(p, k);
	else
		plan_skipped(p, k);
	if (k->known && k->known->state != KNOWN_LIVE && p->c->revision && !k->info)
		known_set(p->c, k, NULL); /* etcd has forgotten it: so do we */
}

static void plan_access(struct plan *p)
{
	struct access_change *v;
	size_t n = access_plan(p->c, p->watermark, p->existed, p->arena, &v);

	for (size_t i = 0; i < n; i++)
		plan_add(p, v[i].kind, RANK_ACCESS, p->watermark, v[i].ddl, 0, (int64_t)i);
}

static int creation_cmp(const void *pa, const void *pb)
{
	const struct coll *a = *(struct coll *const *)pa, *b = *(struct coll *const *)pb;

	return a->create_ts != b->create_ts ? (a->create_ts < b->create_ts ? -1 : 1) : by_id(&a->id, &b->id);
}

/* In order of time: what makes room for one was not there yet when an earlier one was made. */
static void plan_creations(struct plan *p)
{
	struct coll **v = arena_alloc(p->arena, (p->c->dirty_count + 1) * sizeof(struct coll *));
	size_t n = 0;

	for (size_t i = 0; i < p->c->dirty_count; i++)
		if (p->c->dirty[i]->create_ts)
			v[n++] = p->c->dirty[i];
	qsort(v, n, sizeof(struct coll *), creation_cmp);
	for (size_t i = 0; i < n; i++)
		create_collection(p, v[i]);
}

static void plan_all(struct plan *p)
{
	struct catalog *c = p->c;

	if (c->dirty_count)
		qsort(c->dirty, c->dirty_count, sizeof(struct coll *), coll_cmp);
	for (size_t i = 0; i < c->dirty_count; i++) {
		struct db *d = c->dirty[i]->info ? db_find(c, c->dirty[i]->info->parent) : NULL;

		if (d)
			d->first = 0;
	}
	for (struct db *d = c->dirty_dbs; d; d = d->dirty_next)
		d->first = 0;
	for (size_t i = 0; i < c->dirty_count; i++)
		find_creation(p, c->dirty[i]);
	plan_moves(p);
	/* what is created comes first: it may need the name of what would be dropped at the watermark */
	plan_databases(p);
	plan_creations(p);
	for (size_t i = 0; i < c->dirty_count; i++)
		plan_rename(p, c->dirty[i], RANK_RENAME, p->watermark);
	for (size_t i = 0; i < c->dirty_count; i++)
		if (!c->dirty[i]->create_ts)
			plan_collection(p, c->dirty[i]);
	plan_lost_aliases(p);
	plan_aliases(p);
	plan_databases_end(p);
	plan_access(p);
	import_plan(c, p->watermark, p->existed, p->arena);
}

int catalog_plan(struct catalog *c, cdc_ts prev, cdc_ts watermark, bool idle, struct arena *arena,
		 struct catalog_plan *ret, struct err *err)
{
	struct plan p = {.c = c,
			 .prev = prev,
			 .watermark = watermark,
			 .exists = prev == 0 && c->start_now > watermark ? c->start_now : watermark,
			 .existed = prev == 0,
			 .idle = idle,
			 .arena = arena};
	struct entry *entries;

	if (watermark <= prev)
		return err_set(err, ERR_INTERNAL, "plan for (%llu, %llu]: the watermark must grow",
			       (unsigned long long)prev, (unsigned long long)watermark);
	if (c->stale || c->fenced < p.exists)
		return err_set(err, ERR_SOURCE_WAIT,
			       "the source's catalog was not read for this watermark yet");
	plan_all(&p);
	if (p.n)
		qsort(p.v, p.n, sizeof(*p.v), planned_cmp);
	entries = arena_alloc(arena, (p.n + 1) * sizeof(*entries));
	for (size_t i = 0; i < p.n; i++)
		entries[i] = p.v[i].entry;
	*ret = (struct catalog_plan){.entries = entries, .entry_count = p.n};
	return 0;
}
