/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan's partitions, and what is loaded.
 *
 * What Milvus keeps of a load: how it was asked for (by partition, or whole) and a key for each loaded
 * partition. Whole, a new partition is loaded with its creation, its key comes a moment later; one that
 * is released loses its key, the rest stays whole. Loading and loaded are the same wish. So:
 *
 * - by partition: the difference of the keys and KnownCollection.loaded_partitions.
 * - whole: LOAD once. A partition that had a key (loaded_partitions) and has none any more was
 *   released; it goes into load.released_partitions until its key is back. One that never had one was
 *   released before we came only if it is there for a while and the source says that the load is done.
 *   While some are released, the loaded ones are told by name, new ones too; when none is any more, LOAD
 *   says so.
 *
 * Reader's thread.
 */
#include "catalog_plan_priv.h"

#include <stdlib.h>

#define LOAD_WHOLE 2
#define LOADED 2          /* CollectionLoadInfo.status */
#define LOAD_LAG_MS 10000 /* the key of a new partition has come by then */

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

void plan_add_partition(struct plan *p, Jr__KnownCollection *m, Mv__PartitionInfo *part)
{
	Mv__PartitionInfo **v = arena_alloc(p->arena, (m->ddl->n_partitions + 1) * sizeof(*v));

	if (m->ddl->n_partitions)
		memcpy(v, m->ddl->partitions, m->ddl->n_partitions * sizeof(*v));
	v[m->ddl->n_partitions++] = part;
	m->ddl->partitions = v;
}

Mv__PartitionInfo *plan_partition_info(struct plan *p, const struct item *it)
{
	struct arena_pb pb = arena_pb(p->arena);
	Mv__PartitionInfo *part = mv__partition_info__unpack((ProtobufCAllocator *)&pb, it->size, it->data);

	part->collection_id = it->parent;
	return part;
}

void plan_create_partition(struct plan *p, struct coll *k, Jr__KnownCollection *m, const struct item *it)
{
	Mv__PartitionInfo *part = plan_partition_info(p, it);
	const Mv__PartitionInfo *old = partition_named(m, part->partition_name);
	cdc_ts ts = plan_raised(p, it->created);
	Jr__Ddl *ddl = plan_child(p, k, m);

	if (old && partition_over(p->c, k->id, old->partition_id))
		drop_partition(p, k, m, old->partition_id, RANK_EARLY_DROP_PARTITION, plan_before(p, ts));
	ddl->n_partitions = 1;
	ddl->partitions = &part;
	plan_add(p, KIND_CREATE_PARTITION, RANK_CREATE_PARTITION, ts, ddl, it->id, it->id);
	plan_add_partition(p, m, part);
}

bool plan_partitions(struct plan *p, struct coll *k, Jr__KnownCollection *m)
{
	bool changed = false;
	size_t n, left = 0;
	struct item **v = plan_items(p, k, ITEM_PARTITION, &n);

	for (size_t i = 0; i < n; i++) {
		if (!partition_is_new(k, v[i]))
			continue;
		if (v[i]->created > p->exists) {
			k->again = true;
			continue;
		}
		plan_create_partition(p, k, m, v[i]);
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

/* --- load --- */

static const struct item *partition_loaded(const struct plan *p, const struct coll *k, int64_t id)
{
	const struct item *it = item_find(p->c, RANGE_PARTITION_LOAD, ITEM_PARTITION_LOAD, k->id, id);

	return it && !it->gone ? it : NULL;
}

static bool among(const int64_t *v, size_t n, int64_t id)
{
	for (size_t i = 0; i < n; i++)
		if (v[i] == id)
			return true;
	return false;
}

/* A list of known partitions while it is made. */
struct some {
	Mv__PartitionInfo **v;
	size_t n;
};

static struct some some_new(struct plan *p, const Jr__KnownCollection *m)
{
	return (struct some){
		.v = arena_alloc(p->arena, (m->ddl->n_partitions + 1) * sizeof(Mv__PartitionInfo *))};
}

static int64_t *some_ids(struct plan *p, const struct some *s)
{
	int64_t *ids = arena_alloc(p->arena, (s->n + 1) * sizeof(*ids));

	for (size_t i = 0; i < s->n; i++)
		ids[i] = s->v[i]->partition_id;
	if (s->n)
		qsort(ids, s->n, sizeof(*ids), by_id);
	return ids;
}

static bool add_some(struct plan *p, const struct coll *k, const Jr__KnownCollection *m, enum kind kind,
		     enum rank rank, const struct some *s, Mv__CollectionLoadInfo *load)
{
	Jr__Ddl *ddl = plan_child(p, k, m);

	if (!s->n)
		return false;
	ddl->partitions = s->v;
	ddl->n_partitions = s->n;
	ddl->load = load;
	plan_add(p, kind, rank, p->watermark, ddl, 0, 0);
	return true;
}

/* Loaded by partition; true: something is, or was. */
static bool load_partly(struct plan *p, struct coll *k, Jr__KnownCollection *m, Mv__CollectionLoadInfo *now)
{
	struct some loaded = some_new(p, m), add = some_new(p, m), release = some_new(p, m);
	bool changed;

	for (size_t i = 0; i < m->ddl->n_partitions; i++) {
		Mv__PartitionInfo *part = m->ddl->partitions[i];
		bool was = among(m->loaded_partitions, m->n_loaded_partitions, part->partition_id);
		bool is = partition_loaded(p, k, part->partition_id) != NULL;

		if (is)
			loaded.v[loaded.n++] = part;
		if (is && !was)
			add.v[add.n++] = part;
		if (!is && was)
			release.v[release.n++] = part;
	}
	if (!m->load && !loaded.n)
		return false; /* the keys of the partitions come after that of the collection */
	changed = add_some(p, k, m, KIND_RELEASE_PARTITIONS, RANK_RELEASE_PARTITIONS, &release, NULL);
	changed |= add_some(p, k, m, KIND_LOAD_PARTITIONS, RANK_LOAD_PARTITIONS, &add, now);
	m->load = now;
	m->loaded_partitions = some_ids(p, &loaded);
	m->n_loaded_partitions = loaded.n;
	return changed;
}

static bool none_loaded(const struct plan *p, const struct coll *k, const Jr__KnownCollection *m)
{
	for (size_t i = 0; i < m->ddl->n_partitions; i++)
		if (partition_loaded(p, k, m->ddl->partitions[i]->partition_id))
			return false;
	return true;
}

/* Was a partition without a key released? It may be too new to have one. */
static bool was_released(struct plan *p, struct coll *k, const Jr__KnownCollection *m,
			 const Mv__PartitionInfo *part, const Mv__CollectionLoadInfo *now)
{
	if (among(m->loaded_partitions, m->n_loaded_partitions, part->partition_id))
		return true;
	if (now->status != LOADED)
		return false; /* looked at again when it is */
	if (part->created_timestamp + ts_from_ms(LOAD_LAG_MS) < p->watermark)
		return true;
	k->again = true;
	return false;
}

static bool load_whole(struct plan *p, struct coll *k, Jr__KnownCollection *m, Mv__CollectionLoadInfo *now)
{
	struct some loaded = some_new(p, m), released = some_new(p, m), add = some_new(p, m),
		    release = some_new(p, m);
	bool fresh = !m->load || m->load->load_type != LOAD_WHOLE, unknown = none_loaded(p, k, m);
	bool partly = !fresh && m->load->n_released_partitions, changed = fresh;
	Jr__Ddl *ddl;

	for (size_t i = 0; i < m->ddl->n_partitions; i++) {
		Mv__PartitionInfo *part = m->ddl->partitions[i];
		int64_t id = part->partition_id;
		bool out = !fresh && among(m->load->released_partitions, m->load->n_released_partitions, id);

		if (partition_loaded(p, k, id)) {
			bool was = among(m->loaded_partitions, m->n_loaded_partitions, id);

			changed |= !was;
			loaded.v[loaded.n++] = part;
			if (!was && partly)
				add.v[add.n++] = part;
		} else if (out) {
			released.v[released.n++] = part;
		} else if (!unknown && was_released(p, k, m, part, now)) {
			release.v[release.n++] = released.v[released.n] = part;
			released.n++;
		}
	}
	if (fresh || (add.n && !released.n)) {
		add.n = 0;
		ddl = plan_child(p, k, m);
		ddl->load = now;
		plan_add(p, KIND_LOAD, RANK_LOAD, p->watermark, ddl, 0, 0);
	}
	changed |= add_some(p, k, m, KIND_LOAD_PARTITIONS, RANK_LOAD_PARTITIONS, &add, now);
	changed |= add_some(p, k, m, KIND_RELEASE_PARTITIONS,
			    fresh ? RANK_RELEASE_REST : RANK_RELEASE_PARTITIONS, &release, NULL);
	now->released_partitions = some_ids(p, &released);
	now->n_released_partitions = released.n;
	m->load = now;
	if (!unknown || fresh) {
		m->loaded_partitions = some_ids(p, &loaded);
		m->n_loaded_partitions = loaded.n;
	}
	return changed;
}

/* Another number of replicas, or by partition what was whole, needs a release first. */
static bool must_release(const Mv__CollectionLoadInfo *was, const Mv__CollectionLoadInfo *now)
{
	return was && (!now || was->replica_number != now->replica_number ||
		       (was->load_type == LOAD_WHOLE && now->load_type != LOAD_WHOLE));
}

bool plan_load(struct plan *p, struct coll *k, Jr__KnownCollection *m)
{
	struct arena_pb pb = arena_pb(p->arena);
	const struct item *it = item_find(p->c, RANGE_LOAD, ITEM_LOAD, 0, k->id);
	Mv__CollectionLoadInfo *now = NULL;
	bool changed = false;

	if (it && !it->gone) {
		now = mv__collection_load_info__unpack((ProtobufCAllocator *)&pb, it->size, it->data);
		now->n_released_partitions = 0; /* the partitions' keys say it */
	}
	if (must_release(m->load, now)) {
		plan_add(p, KIND_RELEASE, RANK_RELEASE, p->watermark, plan_child(p, k, m), 0, 0);
		m->load = NULL;
		m->n_loaded_partitions = 0;
		changed = true;
	}
	if (now)
		changed |=
			now->load_type == LOAD_WHOLE ? load_whole(p, k, m, now) : load_partly(p, k, m, now);
	return changed;
}
