/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the target the source itself (R31)? Collections of one cluster have the same ID and creation time
 * in the source's etcd and in the target's answers. Where neither side has a collection, a database is
 * made on the target for a moment: if the source's etcd shows it, they are one.
 */
#include "milvus.h"

#include <cdc/flow.h>
#include <cdc/wire.h>
#include <cdc/worker.h>

#include <stdio.h>
#include <unistd.h>

#define DEADLINE_MS 5000

static int read_prefix(struct etcd *etcd, const struct conf *conf, const char *prefix, struct arena *arena,
		       struct etcd_range *ret, struct err *err)
{
	const struct conf_etcd *e = &conf->source.etcd;
	struct etcd_answer answer;

	*ret = (struct etcd_range){.key = arena_printf(arena, "%s/%s/root-coord/database/%s/", e->root_path,
						       e->meta_sub_path, prefix),
				   .prefix = true};
	return etcd_read(etcd, ret, 1, DEADLINE_MS, arena, &answer, err);
}

#define COLLECTION_CREATED 0 /* the state of one that clients see; dropped ones stay in etcd for a while */

/* *live: does the source have a collection that its clients see? */
static int shares_collection(const struct etcd_range *range, const struct target_info *target,
			     struct arena *arena, bool *live)
{
	struct arena_pb alloc = arena_pb(arena);

	*live = false;

	for (size_t i = 0; i < range->kv_count; i++) {
		Mv__CollectionInfo *c = mv__collection_info__unpack((ProtobufCAllocator *)&alloc,
								    range->kvs[i].size, range->kvs[i].value);

		*live |= c && c->state == COLLECTION_CREATED;
		for (size_t k = 0; c && k < target->object_count; k++)
			if (c->id == target->objects[k].id && c->create_time == target->objects[k].created)
				return 1;
	}
	return 0;
}

static int shows_marker(struct etcd *etcd, const struct conf *conf, const char *name, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct arena_pb alloc = arena_pb(arena);
	struct etcd_range range;
	int rc;

	if ((rc = read_prefix(etcd, conf, "db-info", arena, &range, err)) < 0)
		return rc;
	for (size_t i = 0; i < range.kv_count; i++) {
		Mv__DatabaseInfo *db = mv__database_info__unpack((ProtobufCAllocator *)&alloc,
								 range.kvs[i].size, range.kvs[i].value);

		if (db && db->name && STREQ(db->name, name))
			return 1;
	}
	return 0;
}

/* An empty, ordinary Milvus against an empty source. */
static int try_marker(struct etcd *etcd, const struct conf *conf, const struct target_conf *t,
		      struct err *err)
{
	AUTO(milvus_free) struct milvus *m = milvus_new(t, DEADLINE_MS, NULL, NULL);
	struct milvus_status st;
	char name[64];
	int same, rc;

	snprintf(name, sizeof(name), "cdc_marker_%lld_%d", (long long)clock_real_ms(), (int)getpid());
	if ((rc = milvus_create_database(m, name, 0, &st, err)) < 0)
		return rc;
	same = shows_marker(etcd, conf, name, err);
	rc = milvus_drop_database(m, name, 0, &st, err);
	return same < 0 ? same : rc < 0 ? rc : same;
}

int flow_same_cluster(const struct conf *conf, const struct target_conf *t, const struct target_info *target,
		      struct err *err)
{
	AUTO(etcd_free) struct etcd *etcd = etcd_new(&conf->source.etcd, NULL, NULL);
	AUTO(arena_free) struct arena *arena = arena_new();
	struct etcd_range range;
	bool live;
	int rc;

	if ((rc = read_prefix(etcd, conf, "collection-info", arena, &range, err)) < 0)
		return rc;
	if (shares_collection(&range, target, arena, &live))
		return 1;
	/* a target that takes replicated messages sends no ticks: it cannot be a source */
	if (target->replicate || target->object_count > 0 || live)
		return 0;
	return try_marker(etcd, conf, t, err);
}
