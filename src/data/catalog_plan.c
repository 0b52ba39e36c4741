/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: seen minus known -> DDL entries of one cut, and the tentative known state after them.
 *
 * Order inside a plan: (ts, rank, IDs). Creations have the source's time, everything else has none and
 * stands at the watermark (R9). Drops that must make room for a creation of the same name come right
 * before it ("early" ranks), so the rule of names is:
 *
 * - collection or partition n is created under the name of another live one: that is dropped first,
 *   provided etcd says it is over. One that lives on under another name (renamed at the source) is
 *   left alone: dropping it would lose rows that the source still has; the applier refuses n.
 * - database n is created under the name of another live known one, which is over: if that has no live
 *   collection, DROP_DATABASE comes right before CREATE_DATABASE. If it has, n waits for their Drop
 *   records, unless a collection of n has to be created in this cut: the source has made that after
 *   all those drops, so their records are at or below this watermark or lost, and they are dropped here.
 * - DROP_DATABASE otherwise waits until no live collection of it is known.
 *
 * Only dirty objects are looked at. Reader's thread.
 */
#include "catalog_priv.h"

#include <stdlib.h>

enum rank {
	RANK_EARLY_DROP_PARTITION,
	RANK_EARLY_DROP_COLLECTION,
	RANK_EARLY_DROP_DATABASE,
	RANK_CREATE_DATABASE,
	RANK_CREATE_COLLECTION,
	RANK_CREATE_PARTITION,
	RANK_DROP_PARTITION,
	RANK_DROP_COLLECTION,
	RANK_RELEASE,
	RANK_DROP_INDEX,
	RANK_CREATE_INDEX,
	RANK_LOAD,
	RANK_DROP_DATABASE,
	RANK_ACCESS, /* in the order of access_plan() */
};

struct planned {
	struct entry entry;
	enum rank rank;
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

static struct entry *plan_slot(struct plan *p, enum rank rank, int64_t object)
{
	if (p->n == p->cap) {
		struct planned *v = arena_alloc(p->arena, (p->cap * 2 + 32) * sizeof(*v));

		if (p->n)
			memcpy(v, p->v, p->n * sizeof(*v));
		p->v = v;
		p->cap = p->cap * 2 + 32;
	}
	p->v[p->n] = (struct planned){.rank = rank, .object = object};
	return &p->v[p->n++].entry;
}

static void plan_add(struct plan *p, enum kind kind, enum rank rank, cdc_ts ts, Jr__Ddl *ddl,
		     int64_t partition, int64_t object)
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
	if (a->entry.collection_id != b->entry.collection_id)
		return a->entry.collection_id < b->entry.collection_id ? -1 : 1;
	return a->object < b->object ? -1 : a->object > b->object;
}

/* Into the cut; above its end is only what the first one creates early (catalog_start_at). */
static cdc_ts raised(const struct plan *p, cdc_ts ts)
{
	return ts <= p->prev ? p->prev + 1 : ts > p->watermark ? p->watermark : ts;
}

/* A moment before ts, if there is one in this cut; else ts itself, and the rank decides. */
static cdc_ts before(const struct plan *p, cdc_ts ts)
{
	return raised(p, ts - 1);
}

static int coll_cmp(const void *pa, const void *pb)
{
	return by_id(&(*(struct coll *const *)pa)->id, &(*(struct coll *const *)pb)->id);
}

static int item_cmp(const void *pa, const void *pb)
{
	return by_id(&(*(struct item *const *)pa)->id, &(*(struct item *const *)pb)->id);
}

static int db_cmp(const void *pa, const void *pb)
{
	return by_id(&(*(struct db *const *)pa)->id, &(*(struct db *const *)pb)->id);
}

/* Items of one kind, by ID. */
static struct item **sorted_items(struct plan *p, const struct coll *k, enum item_kind kind, size_t *ret)
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

static void drop_collection(struct plan *p, struct coll *k, enum rank rank, cdc_ts ts)
{
	struct entry *e = plan_slot(p, rank, 0);
	const struct known *was = k->known;
	Jr__Ddl *ddl = ddl_new(p->arena, was->db_id, was->db, k->id, was->name);

	ddl->existed = p->existed;
	ddl_entry(p->arena, KIND_DROP_COLLECTION, ts, ddl, 0, e);
	known_set(p->c, k, known_remains(p->c, p->arena, true, was->db_id, was->db, k->id, was->name));
	if (!k->info)
		coll_dirty(p->c, k); /* etcd has forgotten it already: so will the next plan */
}

/* --- databases --- */

static Jr__Ddl *db_ddl(struct plan *p, int64_t id, const char *name)
{
	return ddl_new(p->arena, id, name, 0, NULL);
}

static void drop_database(struct plan *p, struct db *d, enum rank rank, cdc_ts ts)
{
	struct arena_pb pb = arena_pb(p->arena);
	Jr__KnownDatabase *m =
		jr__known_database__unpack((ProtobufCAllocator *)&pb, d->known->row_size, d->known->row);

	plan_add(p, KIND_DROP_DATABASE, rank, ts, db_ddl(p, d->id, d->known->name), 0, d->id);
	m->dropped = true;
	known_db_set(p->c, d, d->info ? known_db_new(m) : NULL);
	d->again = false;
}

static struct db *live_db_named(const struct catalog *c, const char *name, const struct db *but)
{
	for (size_t i = 0; i < c->dbs.cap; i++)
		for (struct node *n = c->dbs.slots[i]; n; n = n->next) {
			struct db *d = OBJECT_OF(struct db, node, n);

			if (d != but && d->known && !d->known->dropped && STREQ(d->known->name, name))
				return d;
		}
	return NULL;
}

/* Every live collection of a database that made room for another one. */
static void drop_contents(struct plan *p, const struct db *d, cdc_ts ts)
{
	struct coll **v = arena_alloc(p->arena, (size_t)(d->live + 1) * sizeof(struct coll *));
	size_t n = 0;

	for (size_t i = 0; i < p->c->names.cap; i++)
		for (struct node *node = p->c->names.slots[i]; node; node = node->next) {
			struct coll *k = OBJECT_OF(struct coll, by_name, node);

			if (k->known->db_id == d->id)
				v[n++] = k;
		}
	qsort(v, n, sizeof(struct coll *), coll_cmp);
	for (size_t i = 0; i < n; i++)
		drop_collection(p, v[i], RANK_EARLY_DROP_COLLECTION, ts);
}

static void create_database(struct plan *p, struct db *d)
{
	struct db *old = live_db_named(p->c, d->info->name, d);
	cdc_ts ts = d->first ? before(p, d->first) : p->watermark;
	struct arena_pb pb = arena_pb(p->arena);
	Jr__KnownDatabase m = JR__KNOWN_DATABASE__INIT;
	Jr__Ddl *ddl;

	if (old && (db_alive(p->c, old->id) || (old->live && !d->first))) {
		d->again = true;
		return;
	}
	if (old) {
		/* all at one time, in order of rank: a collection's Drop record of that time still comes
		 * before */
		if (old->live)
			drop_contents(p, old, ts);
		drop_database(p, old, RANK_EARLY_DROP_DATABASE, ts);
	}
	m.database = mv__database_info__unpack((ProtobufCAllocator *)&pb, d->info->size, d->info->data);
	ddl = db_ddl(p, d->id, d->info->name);
	ddl->database = m.database;
	plan_add(p, KIND_CREATE_DATABASE, RANK_CREATE_DATABASE, ts, ddl, 0, d->id);
	known_db_set(p->c, d, known_db_new(&m));
}

static void plan_databases(struct plan *p)
{
	struct db **v, *d;
	size_t n = 0;

	for (d = p->c->dirty_dbs; d; d = d->dirty_next)
		n++;
	v = arena_alloc(p->arena, (n + 1) * sizeof(struct db *));
	n = 0;
	for (d = p->c->dirty_dbs; d; d = d->dirty_next)
		v[n++] = d;
	qsort(v, n, sizeof(struct db *), db_cmp);
	for (size_t i = 0; i < n; i++) {
		v[i]->planned = true;
		v[i]->again = false;
		if (db_to_create(p->c, v[i]))
			create_database(p, v[i]);
	}
	/* after the creations: one of them may have been in need of the name */
	for (size_t i = 0; i < n; i++) {
		d = v[i];
		if (db_to_drop(p->c, d)) {
			if (d->live)
				d->again = true;
			else
				drop_database(p, d, RANK_DROP_DATABASE, p->watermark);
		} else if (d->known && d->known->dropped && !d->info) {
			known_db_set(p->c, d, NULL); /* etcd has forgotten it: so do we */
		}
	}
}

/* --- partitions --- */

static void drop_partition(struct plan *p, struct coll *k, Jr__KnownCollection *m, int64_t id, enum rank rank,
			   cdc_ts ts)
{
	struct entry e;

	if (known_drop_partition(m, k->id, id, ts, p->existed, p->arena, &e))
		*plan_slot(p, rank, id) = e;
}

static const Mv__PartitionInfo *partition_named(const Jr__KnownCollection *m, const char *name)
{
	for (size_t i = 0; i < m->ddl->n_partitions; i++)
		if (STREQ(m->ddl->partitions[i]->partition_name, name))
			return m->ddl->partitions[i];
	return NULL;
}

static void add_partition(struct plan *p, Jr__KnownCollection *m, Mv__PartitionInfo *part)
{
	Mv__PartitionInfo **v = arena_alloc(p->arena, (m->ddl->n_partitions + 1) * sizeof(*v));

	if (m->ddl->n_partitions)
		memcpy(v, m->ddl->partitions, m->ddl->n_partitions * sizeof(*v));
	v[m->ddl->n_partitions++] = part;
	m->ddl->partitions = v;
}

static Mv__PartitionInfo *partition_info(struct plan *p, const struct item *it)
{
	struct arena_pb pb = arena_pb(p->arena);
	Mv__PartitionInfo *part = mv__partition_info__unpack((ProtobufCAllocator *)&pb, it->size, it->data);

	part->collection_id = it->parent;
	return part;
}

static void create_partition(struct plan *p, struct coll *k, Jr__KnownCollection *m, const struct item *it)
{
	Mv__PartitionInfo *part = partition_info(p, it);
	const Mv__PartitionInfo *old = partition_named(m, part->partition_name);
	cdc_ts ts = raised(p, it->created);
	Jr__Ddl *ddl =
		ddl_new(p->arena, m->ddl->db_id, m->ddl->db_name, k->id, m->ddl->collection->schema->name);

	if (old && partition_over(p->c, k->id, old->partition_id))
		drop_partition(p, k, m, old->partition_id, RANK_EARLY_DROP_PARTITION, before(p, ts));
	ddl->n_partitions = 1;
	ddl->partitions = &part;
	plan_add(p, KIND_CREATE_PARTITION, RANK_CREATE_PARTITION, ts, ddl, it->id, it->id);
	add_partition(p, m, part);
}

static bool plan_partitions(struct plan *p, struct coll *k, Jr__KnownCollection *m)
{
	bool changed = false;
	size_t n, left = 0;
	struct item **v = sorted_items(p, k, ITEM_PARTITION, &n);

	for (size_t i = 0; i < n; i++) {
		if (!partition_is_new(k, v[i]))
			continue;
		if (v[i]->created > p->exists) {
			k->again = true;
			continue;
		}
		create_partition(p, k, m, v[i]);
		changed = true;
	}
	for (size_t i = 0; i < k->known->live_count; i++) {
		int64_t id = k->known->live[i];

		if (!partition_over(p->c, k->id, id))
			continue;
		if (ending_due(p->c, k, id, p->prev, p->idle)) {
			drop_partition(p, k, m, id, RANK_DROP_PARTITION, p->watermark);
			changed = true;
		} else {
			k->again = true;
		}
	}
	for (size_t i = 0; i < m->n_dropped_partitions; i++) /* what etcd has forgotten never comes again */
		if (item_find(p->c, RANGE_PARTITIONS, ITEM_PARTITION, k->id, m->dropped_partitions[i]))
			m->dropped_partitions[left++] = m->dropped_partitions[i];
	changed |= left != m->n_dropped_partitions;
	m->n_dropped_partitions = left;
	return changed;
}

/* --- indexes and load --- */

static const char *field_name(const Jr__KnownCollection *m, int64_t id)
{
	const Mv__CollectionSchema *s = m->ddl->collection->schema;

	for (size_t i = 0; i < s->n_fields; i++)
		if (s->fields[i]->field_id == id)
			return s->fields[i]->name;
	return NULL;
}

static Jr__Ddl *child_ddl(struct plan *p, const struct coll *k, const Jr__KnownCollection *m)
{
	return ddl_new(p->arena, m->ddl->db_id, m->ddl->db_name, k->id, m->ddl->collection->schema->name);
}

static void plan_index(struct plan *p, struct coll *k, Jr__KnownCollection *m, enum kind kind,
		       Mv__IndexInfo *index, const char *field)
{
	Jr__Ddl *ddl = child_ddl(p, k, m);

	ddl->index = index;
	ddl->field_name = arena_strdup(p->arena, field);
	plan_add(p, kind, kind == KIND_DROP_INDEX ? RANK_DROP_INDEX : RANK_CREATE_INDEX, p->watermark, ddl, 0,
		 index->index_id);
}

static bool plan_indexes(struct plan *p, struct coll *k, Jr__KnownCollection *m)
{
	struct arena_pb pb = arena_pb(p->arena);
	size_t n, was = m->n_indexes, count = 0;
	struct item **v = sorted_items(p, k, ITEM_INDEX, &n);
	Mv__IndexInfo **now = arena_alloc(p->arena, (n + was + 1) * sizeof(*now));
	bool changed = false;

	for (size_t i = 0; i < was; i++) {
		Mv__IndexInfo *index = m->indexes[i];
		const struct item *it = item_find(p->c, RANGE_INDEX, ITEM_INDEX, k->id, index->index_id);
		const char *field = field_name(m, index->field_id);

		if (it && !it->gone) {
			now[count++] = index;
			continue;
		}
		plan_index(p, k, m, KIND_DROP_INDEX, index, field ? field : "");
		changed = true;
	}
	was = count;
	for (size_t i = 0; i < n; i++) {
		Mv__FieldIndex *fi;
		const char *field;
		bool have = false;

		for (size_t j = 0; j < was; j++)
			have |= now[j]->index_id == v[i]->id;
		if (have || v[i]->gone)
			continue;
		fi = mv__field_index__unpack((ProtobufCAllocator *)&pb, v[i]->size, v[i]->data);
		if (!(field = field_name(m, fi->index_info->field_id)))
			continue; /* of a field that was added later: servers after 2.5 */
		plan_index(p, k, m, KIND_CREATE_INDEX, fi->index_info, field);
		now[count++] = fi->index_info;
		changed = true;
	}
	m->indexes = now;
	m->n_indexes = count;
	return changed;
}

/* Loading and loaded are the same wish; other replicas need a release first. */
static bool plan_load(struct plan *p, struct coll *k, Jr__KnownCollection *m)
{
	struct arena_pb pb = arena_pb(p->arena);
	const struct item *it = item_find(p->c, RANGE_LOAD, ITEM_LOAD, 0, k->id);
	Mv__CollectionLoadInfo *was = m->load, *now = NULL;
	Jr__Ddl *ddl;

	if (it && !it->gone)
		now = mv__collection_load_info__unpack((ProtobufCAllocator *)&pb, it->size, it->data);
	if ((!was && !now) ||
	    (was && now && was->replica_number == now->replica_number && was->load_type == now->load_type))
		return false;
	if (was && (!now || was->replica_number != now->replica_number))
		plan_add(p, KIND_RELEASE, RANK_RELEASE, p->watermark, child_ddl(p, k, m), 0, 0);
	if (now) {
		ddl = child_ddl(p, k, m);
		ddl->load = now;
		plan_add(p, KIND_LOAD, RANK_LOAD, p->watermark, ddl, 0, 0);
	}
	m->load = now;
	return true;
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
	k->create_ts = raised(p, k->info->created);
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
	return partition->created <= p->exists && raised(p, partition->created) <= k->create_ts;
}

static void create_collection(struct plan *p, struct coll *k)
{
	const char *db = db_name(p->c, k->info->parent);
	struct coll *old = coll_by_name(p->c, db, k->info->name, k);
	Jr__KnownCollection m = JR__KNOWN_COLLECTION__INIT;
	size_t n;
	struct item **v = sorted_items(p, k, ITEM_PARTITION, &n);

	if (old && coll_over(p->c, old))
		drop_collection(p, old, RANK_EARLY_DROP_COLLECTION, before(p, k->create_ts));
	m.ddl = ddl_new(p->arena, k->info->parent, db, 0, NULL);
	m.ddl->collection = whole_info(p, k);
	for (size_t i = 0; i < n; i++) {
		if (!v[i]->gone && v[i]->state == STATE_CREATED && comes_along(p, k, v[i]))
			add_partition(p, &m, partition_info(p, v[i]));
	}
	plan_add(p, KIND_CREATE_COLLECTION, RANK_CREATE_COLLECTION, k->create_ts, m.ddl, 0, 0);
	/* later ones are entries of their own, wherever the cuts end (R12) */
	for (size_t i = 0; i < n; i++) {
		if (v[i]->gone || v[i]->state != STATE_CREATED || comes_along(p, k, v[i]))
			continue;
		if (v[i]->created <= p->exists)
			create_partition(p, k, &m, v[i]);
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
			drop_collection(p, k, RANK_DROP_COLLECTION, p->watermark);
		else
			k->again = true;
		return;
	}
	if (!k->info || k->info->state != STATE_CREATED)
		return;
	m = known_unpack(k->known, p->arena);
	changed = plan_partitions(p, k, m);
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
	else if (p->c->revision && !k->info)
		known_set(p->c, k, NULL); /* etcd has forgotten it: so do we */
}

static void plan_access(struct plan *p)
{
	struct access_change *v;
	size_t n = access_plan(p->c, p->watermark, p->existed, p->arena, &v);

	for (size_t i = 0; i < n; i++)
		plan_add(p, v[i].kind, RANK_ACCESS, p->watermark, v[i].ddl, 0, (int64_t)i);
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
		find_creation(&p, c->dirty[i]);
	/* what is created comes first: it may need the name of what would be dropped at the watermark */
	plan_databases(&p);
	for (size_t i = 0; i < c->dirty_count; i++)
		if (c->dirty[i]->create_ts)
			create_collection(&p, c->dirty[i]);
	for (size_t i = 0; i < c->dirty_count; i++)
		if (!c->dirty[i]->create_ts)
			plan_collection(&p, c->dirty[i]);
	plan_access(&p);
	import_plan(c, watermark, p.existed, arena);
	if (p.n)
		qsort(p.v, p.n, sizeof(*p.v), planned_cmp);
	entries = arena_alloc(arena, (p.n + 1) * sizeof(*entries));
	for (size_t i = 0; i < p.n; i++)
		entries[i] = p.v[i].entry;
	*ret = (struct catalog_plan){.entries = entries, .entry_count = p.n};
	return 0;
}
