/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields and functions of a collection: ten times larger than all else in etcd and never changed,
 * so they are read once, when it is about to be journaled. The read begins after the one that showed
 * the collection as Created, which is what the source writes last. Reader's thread.
 */
#include "catalog_priv.h"

#include <stdlib.h>

#define SCHEMA_BATCH 60      /* collections in one read; etcd takes 128 ranges at once */
#define FIRST_USER_FIELD 100 /* below: RowID and Timestamp, which every Milvus makes itself */

bool etcd_tombstone(const struct etcd_kv *kv)
{
	static const uint8_t tombstone[] = {0xe2, 0x9b, 0xbc};

	return kv->size == sizeof(tombstone) && memcmp(kv->value, tombstone, sizeof(tombstone)) == 0;
}

static int field_cmp(const void *pa, const void *pb)
{
	const Mv__FieldSchema *a = *(Mv__FieldSchema *const *)pa, *b = *(Mv__FieldSchema *const *)pb;

	return a->field_id < b->field_id ? -1 : a->field_id > b->field_id;
}

static int function_cmp(const void *pa, const void *pb)
{
	const Mv__FunctionSchema *a = *(Mv__FunctionSchema *const *)pa, *b = *(Mv__FunctionSchema *const *)pb;

	return a->id < b->id ? -1 : a->id > b->id;
}

static int bad_value(const struct etcd_kv *kv, struct err *err)
{
	return err_set(err, ERR_SOURCE_FORMAT, "etcd: the value of %s cannot be read", kv->key);
}

/* Keeps fields and functions of k; without a primary key they are not all there yet. */
static int take_schema(struct coll *k, const struct etcd_range *fields, const struct etcd_range *functions,
		       struct arena *arena, struct err *err)
{
	Mv__CollectionSchema schema = MV__COLLECTION_SCHEMA__INIT;
	struct arena_pb pb = arena_pb(arena);
	ProtobufCAllocator *a = (ProtobufCAllocator *)&pb;
	bool key = false;

	schema.fields = arena_alloc(arena, (fields->kv_count + 1) * sizeof(*schema.fields));
	schema.functions = arena_alloc(arena, (functions->kv_count + 1) * sizeof(*schema.functions));
	for (size_t i = 0; i < fields->kv_count; i++) {
		Mv__FieldSchema *f;

		if (etcd_tombstone(&fields->kvs[i]))
			continue;
		if (!(f = mv__field_schema__unpack(a, fields->kvs[i].size, fields->kvs[i].value)))
			return bad_value(&fields->kvs[i], err);
		if (f->field_id < FIRST_USER_FIELD)
			continue;
		key |= f->is_primary_key;
		schema.enable_dynamic_field |= f->is_dynamic;
		schema.fields[schema.n_fields++] = f;
	}
	for (size_t i = 0; i < functions->kv_count; i++) {
		Mv__FunctionSchema *f;

		if (etcd_tombstone(&functions->kvs[i]))
			continue;
		if (!(f = mv__function_schema__unpack(a, functions->kvs[i].size, functions->kvs[i].value)))
			return bad_value(&functions->kvs[i], err);
		schema.functions[schema.n_functions++] = f;
	}
	if (!key)
		return 0;
	qsort(schema.fields, schema.n_fields, sizeof(*schema.fields), field_cmp);
	qsort(schema.functions, schema.n_functions, sizeof(*schema.functions), function_cmp);
	k->schema_size = mv__collection_schema__get_packed_size(&schema);
	k->schema = xmalloc(k->schema_size);
	mv__collection_schema__pack(&schema, k->schema);
	return 0;
}

static int read_batch(struct catalog *c, struct coll **batch, size_t n, int64_t deadline, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct etcd_range ranges[2 * SCHEMA_BATCH];
	int64_t left = deadline - c->clock_ms();
	struct etcd_answer answer;
	int rc;

	if (left <= 0)
		return 0; /* the next fence goes on from here */
	for (size_t i = 0; i < n; i++) {
		long long id = batch[i]->id;

		ranges[2 * i] = (struct etcd_range){
			.key = arena_printf(arena, "%s/root-coord/fields/%lld/", c->meta, id),
			.prefix = true};
		ranges[2 * i + 1] = (struct etcd_range){
			.key = arena_printf(arena, "%s/root-coord/functions/%lld/", c->meta, id),
			.prefix = true};
	}
	if ((rc = etcd_read(c->conf.etcd, ranges, 2 * n, (int)left, arena, &answer, err)) < 0)
		return rc;
	if (answer.cluster_id != c->source.cluster_id || answer.revision < c->revision)
		return err_set(err, ERR_SOURCE_WAIT, "etcd: two endpoints gave different answers");
	for (size_t i = 0; i < n; i++)
		if ((rc = take_schema(batch[i], &ranges[2 * i], &ranges[2 * i + 1], arena, err)) < 0)
			return rc;
	return 0;
}

int catalog_read_fields(struct catalog *c, int64_t deadline, struct err *err)
{
	struct coll *batch[SCHEMA_BATCH];
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < c->dirty_count; i++) {
		struct coll *k = c->dirty[i];

		if (k->known || k->schema || !coll_created(c, k) || !coll_wanted(c, k))
			continue;
		batch[n++] = k;
		if (n == SCHEMA_BATCH) {
			if ((rc = read_batch(c, batch, n, deadline, err)) < 0)
				return rc;
			n = 0;
		}
	}
	return n ? read_batch(c, batch, n, deadline, err) : 0;
}

int catalog_complete(const struct catalog *c, cdc_ts watermark, struct err *err)
{
	for (size_t i = 0; i < c->dirty_count; i++) {
		const struct coll *k = c->dirty[i];

		if (k->known || !k->info || k->info->gone || k->info->created > watermark ||
		    !db_alive(c, k->info->parent) || k->schema || !coll_wanted(c, k))
			continue;
		if (k->info->state == STATE_CREATING &&
		    c->clock_ms() - k->creating_since_ms < CREATING_WAIT_MS)
			return err_set(err, ERR_SOURCE_WAIT,
				       "collection %s (%lld) is still being created at the source",
				       k->info->name, (long long)k->id);
		if (k->info->state == STATE_CREATED)
			return err_set(err, ERR_SOURCE_WAIT,
				       "the fields of collection %s (%lld) are not all in etcd yet",
				       k->info->name, (long long)k->id);
	}
	return 0;
}
