/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan's indexes, and properties: of collections, of indexes; databases use the comparison, too.
 * Properties are a map: their order at the source means nothing (R12). Reader's thread.
 */
#include "catalog_plan_priv.h"

#include <stdlib.h>

/* --- properties --- */

static const char *pair_value(Mv__KeyValuePair *const *v, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (STREQ(v[i]->key, key))
			return v[i]->value;
	return NULL;
}

static int pair_cmp(const void *pa, const void *pb)
{
	const Mv__KeyValuePair *a = *(Mv__KeyValuePair *const *)pa, *b = *(Mv__KeyValuePair *const *)pb;

	return strcmp(a->key, b->key);
}

static int text_cmp(const void *pa, const void *pb)
{
	return strcmp(*(char *const *)pa, *(char *const *)pb);
}

bool plan_pairs(struct plan *p, Jr__Ddl *ddl, Mv__KeyValuePair *const *was, size_t n_was,
		Mv__KeyValuePair *const *now, size_t n_now)
{
	bool changed = false;

	for (size_t i = 0; i < n_now; i++) {
		const char *old = pair_value(was, n_was, now[i]->key);

		changed |= !old || !STREQ(old, now[i]->value);
	}
	ddl->removed_properties = arena_alloc(p->arena, (n_was + 1) * sizeof(char *));
	for (size_t i = 0; i < n_was; i++)
		if (!pair_value(now, n_now, was[i]->key))
			ddl->removed_properties[ddl->n_removed_properties++] = was[i]->key;
	if (!changed && !ddl->n_removed_properties)
		return false;
	ddl->properties = arena_alloc(p->arena, (n_now + 1) * sizeof(Mv__KeyValuePair *));
	for (size_t i = 0; i < n_now; i++)
		ddl->properties[i] = now[i];
	ddl->n_properties = n_now;
	if (n_now)
		qsort(ddl->properties, n_now, sizeof(Mv__KeyValuePair *), pair_cmp);
	if (ddl->n_removed_properties)
		qsort(ddl->removed_properties, ddl->n_removed_properties, sizeof(char *), text_cmp);
	return true;
}

static void warn_hidden(struct plan *p, const struct coll *k)
{
	const char *key = arena_printf(p->arena, WARNING_PROPERTIES "%lld", (long long)k->id);

	if (!kept_has(p->c, key))
		warning_set(
			p->c, key, p->watermark,
			"collection %s.%s: its properties were changed at the source, and Milvus 2.3 writes "
			"those before a change to etcd: the target has the ones before. Set the same "
			"properties at the source once more, then they are replicated",
			k->known->db, k->known->name);
}

bool plan_properties(struct plan *p, struct coll *k, Jr__KnownCollection *m)
{
	struct arena_pb pb = arena_pb(p->arena);
	Mv__CollectionInfo *was = m->ddl->collection;
	const Mv__CollectionInfo *now =
		mv__collection_info__unpack((ProtobufCAllocator *)&pb, k->info->size, k->info->data);
	Jr__Ddl *ddl = plan_child(p, k, m);

	if (k->hidden)
		warn_hidden(p, k);
	if (!plan_pairs(p, ddl, was->properties, was->n_properties, now->properties, now->n_properties))
		return false;
	plan_add(p, KIND_ALTER_COLLECTION, RANK_ALTER_COLLECTION, p->watermark, ddl, 0, 0);
	was->properties = now->properties;
	was->n_properties = now->n_properties;
	return true;
}

/* --- indexes --- */

static const char *field_name(const Jr__KnownCollection *m, int64_t id)
{
	const Mv__CollectionSchema *s = m->ddl->collection->schema;

	for (size_t i = 0; i < s->n_fields; i++)
		if (s->fields[i]->field_id == id)
			return s->fields[i]->name;
	return NULL;
}

static void plan_index(struct plan *p, struct coll *k, Jr__KnownCollection *m, enum kind kind,
		       Mv__IndexInfo *index, const char *field)
{
	Jr__Ddl *ddl = plan_child(p, k, m);

	ddl->index = index;
	ddl->field_name = arena_strdup(p->arena, field);
	plan_add(p, kind, kind == KIND_DROP_INDEX ? RANK_DROP_INDEX : RANK_CREATE_INDEX, p->watermark, ddl, 0,
		 index->index_id);
}

/* Parameters of a known index that were changed in place (2.4 and later); NULL: they were not. */
static Mv__IndexInfo *altered_index(struct plan *p, struct coll *k, Jr__KnownCollection *m,
				    Mv__IndexInfo *was, const struct item *it, const char *field)
{
	struct arena_pb pb = arena_pb(p->arena);
	Mv__FieldIndex *fi = mv__field_index__unpack((ProtobufCAllocator *)&pb, it->size, it->data);
	Mv__IndexInfo *now = fi->index_info;
	Jr__Ddl *ddl = plan_child(p, k, m);

	if (!plan_pairs(p, ddl, was->user_index_params, was->n_user_index_params, now->user_index_params,
			now->n_user_index_params))
		return NULL;
	ddl->index = now;
	ddl->field_name = arena_strdup(p->arena, field);
	plan_add(p, KIND_ALTER_INDEX, RANK_ALTER_INDEX, p->watermark, ddl, 0, now->index_id);
	return now;
}

bool plan_indexes(struct plan *p, struct coll *k, Jr__KnownCollection *m)
{
	struct arena_pb pb = arena_pb(p->arena);
	size_t n, was = m->n_indexes, count = 0;
	struct item **v = plan_items(p, k, ITEM_INDEX, &n);
	Mv__IndexInfo **now = arena_alloc(p->arena, (n + was + 1) * sizeof(*now));
	bool changed = false;

	for (size_t i = 0; i < was; i++) {
		Mv__IndexInfo *index = m->indexes[i];
		const struct item *it = item_find(p->c, RANGE_INDEX, ITEM_INDEX, k->id, index->index_id);
		const char *field = field_name(m, index->field_id);

		if (it && !it->gone) {
			Mv__IndexInfo *other = field ? altered_index(p, k, m, index, it, field) : NULL;

			now[count++] = other ? other : index;
			changed |= other != NULL;
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
