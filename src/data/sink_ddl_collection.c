/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collections and partitions onto the target. A collection that the target already has is adopted if
 * its schema is the same; after that it is known by its ID only. Shards are paired by shard index: the
 * target hashes keys to shards as the source does, so rows and later deletes meet on the same shard.
 */
#include "rewrite.h"
#include "sink_ddl_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct adoption {
	const Mv__CollectionInfo *info;
	const char *db, *name;
	Mv__CollectionSchema *schema; /* as the target shall have it */
	Mv__DescribeCollectionResponse *have;
	Mv__ShowPartitionsResponse *partitions;
};

/* --- channels ------------------------------------------------------------------------------------ */

struct shard {
	const char *vchannel, *pchannel;
	int64_t index; /* the N of "..._<collection>vN"; -1: not named like that */
};

static int by_shard(const void *a, const void *b)
{
	const struct shard *x = a, *y = b;

	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	return strcmp(x->vchannel, y->vchannel);
}

static struct shard *sorted_shards(char **vchannels, char **pchannels, size_t n, struct arena *arena)
{
	struct shard *s = arena_alloc(arena, (n + 1) * sizeof(*s));

	for (size_t i = 0; i < n; i++) {
		const char *v = strrchr(vchannels[i], 'v');
		char *end;

		s[i] = (struct shard){vchannels[i], pchannels ? pchannels[i] : "", -1};
		if (v && v[1] >= '0' && v[1] <= '9') {
			s[i].index = strtoll(v + 1, &end, 10);
			if (*end)
				s[i].index = -1;
		}
	}
	qsort(s, n, sizeof(*s), by_shard);
	return s;
}

/* A row sent to a vchannel through another pchannel breaks the target's query nodes: never trusted. */
static int pair_channels(struct ddl *d, const struct adoption *a, struct target_collection *c,
			 struct err *err)
{
	size_t n = a->info->n_virtual_channel_names;
	struct shard *from, *to;

	if (n == 0 || n != a->have->n_virtual_channel_names)
		return err_set(err, ERR_TARGET_SCHEMA,
			       "collection %s.%s: %zu shards at the source, %zu on the target; rows cannot "
			       "be paired",
			       a->db, a->name, n, a->have->n_virtual_channel_names);
	from = sorted_shards(a->info->virtual_channel_names, NULL, n, d->arena);
	to = sorted_shards(a->have->virtual_channel_names, a->have->physical_channel_names, n, d->arena);
	c->channels = arena_alloc(d->arena, n * sizeof(*c->channels));
	c->channel_count = n;
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(to[i].pchannel);

		if (len == 0 || strncmp(to[i].vchannel, to[i].pchannel, len) != 0 ||
		    to[i].vchannel[len] != '_')
			return err_set(err, ERR_TARGET_REFUSED,
				       "collection %s.%s: the target says that vchannel %s is in pchannel "
				       "%s; not sending to it",
				       a->db, a->name, to[i].vchannel, to[i].pchannel);
		c->channels[i] = (struct channel_pair){.source_vchannel = (char *)from[i].vchannel,
						       .target_vchannel = (char *)to[i].vchannel,
						       .target_pchannel = (char *)to[i].pchannel};
	}
	return 0;
}

/* --- partitions ---------------------------------------------------------------------------------- */

/* 0: the target has none of that name. */
static int64_t partition_id(const Mv__ShowPartitionsResponse *list, const char *name)
{
	for (size_t i = 0; i < list->n_partition_names; i++)
		if (STREQ(list->partition_names[i], name))
			return list->partition_ids[i];
	return 0;
}

/* The target's ID of a partition, which is created if it is not there. */
static int make_partition(struct ddl *d, const char *db, const char *coll, const char *name,
			  Mv__ShowPartitionsResponse **list, int64_t *ret, struct err *err)
{
	int64_t id = partition_id(*list, name);
	int rc;

	if (!id) {
		if ((rc = milvus_create_partition(d->milvus, db, coll, name, d->ts, NULL, err)) < 0 ||
		    (rc = milvus_show_partitions(d->milvus, db, coll, d->arena, list, err)) < 0)
			return rc;
		id = partition_id(*list, name);
	}
	if (!id)
		return err_set(err, ERR_TARGET_BUSY,
			       "partition %s of %s.%s was created but is not listed yet", name, db, coll);
	*ret = id;
	return 0;
}

static int pair_partitions(struct ddl *d, struct adoption *a, struct target_collection *c, struct err *err)
{
	int rc;

	c->partitions = arena_alloc(d->arena, (d->body->n_partitions + 1) * sizeof(*c->partitions));
	for (size_t i = 0; i < d->body->n_partitions; i++) {
		const Mv__PartitionInfo *p = d->body->partitions[i];
		struct partition_pair *pair = &c->partitions[c->partition_count];

		if ((rc = make_partition(d, a->db, a->name, p->partition_name, &a->partitions,
					 &pair->target_id, err)) < 0)
			return rc;
		pair->source_id = p->partition_id;
		pair->name = p->partition_name;
		c->partition_count++;
	}
	return 0;
}

/* --- collections --------------------------------------------------------------------------------- */

static int create(struct ddl *d, struct adoption *a, struct err *err)
{
	const Mv__CollectionInfo *c = a->info;
	size_t partitions = ddl_key_partitions(a->schema, d->body->partitions, d->body->n_partitions);
	int rc;

	if ((rc = ddl_ensure_database(d, a->db, err)) < 0)
		return rc;
	rc = milvus_create_collection(d->milvus, a->db, a->name, a->schema, c->shards_num,
				      c->consistency_level, c->properties, c->n_properties,
				      (int64_t)partitions, d->ts, NULL, err);
	if (rc < 0 || (rc = milvus_describe(d->milvus, a->db, a->name, d->arena, &a->have, err)) < 0)
		return rc;
	if (!a->have)
		return err_set(err, ERR_TARGET_BUSY, "collection %s.%s was created but is not visible yet",
			       a->db, a->name);
	return 0;
}

/* May what the target has under this name become the twin? */
static int check_adoption(struct ddl *d, const struct adoption *a, struct err *err)
{
	const struct target_collection *other = ddl_twin_of(d, a->have->collection_id);
	struct schema_want want = {
		.schema = a->schema,
		.shards = a->info->shards_num,
		.key_partitions = ddl_key_partitions(a->schema, d->body->partitions, d->body->n_partitions),
		.by_name = d->sink->plain};
	AUTO_BUF struct buf diff = {0};

	if (other && other->source_id != d->entry->collection_id)
		return err_set(
			err, ERR_TARGET_REFUSED,
			"collection %s.%s on the target belongs to the source's collection %s.%s (ID %" PRId64
			"), whose drop or rename has not been applied; if it is on hold, resume or drop that "
			"one first; if both exist at the source, change the name mapping",
			a->db, a->name, other->source_db, other->source_name, other->source_id);
	ddl_schema_diff(&want, a->have, a->partitions->n_partition_names, &diff);
	if (diff.len)
		return err_set(err, ERR_TARGET_SCHEMA,
			       "collection %s.%s exists on the target with another schema: %s", a->db,
			       a->name, (const char *)diff.data);
	return 0;
}

/* What has the collection's name on the target; an alias of ours makes room. */
static int look(struct ddl *d, struct adoption *a, struct err *err)
{
	int rc = milvus_describe(d->milvus, a->db, a->name, d->arena, &a->have, err);

	if (rc < 0 || !a->have || STREQ(a->have->schema->name, a->name))
		return rc;
	if ((rc = ddl_free_alias(d, a->db, a->name, a->have, err)) < 0)
		return rc;
	a->have = NULL;
	return 0;
}

/* The entry came again after a later rename: the collection must not be made a second time. */
static int renamed_since(struct ddl *d, const struct adoption *a, bool *ret, struct err *err)
{
	enum ddl_found found;
	int rc;

	*ret = false;
	if (!d->twin || (STREQ(d->twin->db, a->db) && STREQ(d->twin->name, a->name)))
		return 0;
	if ((rc = ddl_find(d, &found, err)) == 0)
		*ret = found == DDL_OURS;
	return rc;
}

int ddl_create_collection(struct ddl *d, struct err *err)
{
	struct adoption a = {.info = d->body->collection};
	struct target_collection c = {.source_id = d->entry->collection_id};
	bool renamed;
	int rc;

	if (!a.info || !a.info->schema || !*a.info->schema->name)
		return err_set(err, ERR_JOURNAL_BAD,
			       "journal entry %" PRId64 ": a collection without a schema", d->entry->seq);
	name_map_collection(d->sink->names, d->body->db_name, a.info->schema->name, &a.db, &a.name);
	if ((rc = renamed_since(d, &a, &renamed, err)) < 0 || renamed)
		return rc;
	a.schema = ddl_target_schema(a.info, a.name, d->sink->plain, d->arena);
	if ((rc = look(d, &a, err)) < 0 || (!a.have && (rc = create(d, &a, err)) < 0) ||
	    (rc = milvus_show_partitions(d->milvus, a.db, a.name, d->arena, &a.partitions, err)) < 0 ||
	    (rc = check_adoption(d, &a, err)) < 0)
		return rc;
	c.target_id = a.have->collection_id;
	c.db = (char *)a.db;
	c.name = (char *)a.name;
	c.source_db = (char *)ddl_db(d->body->db_name);
	c.source_name = a.info->schema->name;
	if ((!d->sink->plain && (rc = pair_channels(d, &a, &c, err)) < 0) ||
	    (rc = pair_partitions(d, &a, &c, err)) < 0)
		return rc;
	ddl_keep(d, &c);
	return 0;
}

static void mark_dropped(struct ddl *d)
{
	struct target_collection c = *d->twin;

	c.dropped = true;
	c.loaded = false;
	c.loaded_partition_count = 0;
	ddl_keep(d, &c);
}

int ddl_drop_collection(struct ddl *d, struct err *err)
{
	AUTO_BUF struct buf msg = {0};
	enum ddl_found found;
	bool was_loaded;
	int rc;

	if ((rc = ddl_find(d, &found, err)) < 0)
		return rc;
	if (found == DDL_OURS && (rc = ddl_unload(d, &was_loaded, err)) < 0)
		return rc;
	/* missing: dropped by hand, or by us before a crash; its consumers may live */
	if (found != DDL_OTHER) {
		rewrite_drop_collection(&msg, d->twin, d->ts);
		if ((rc = ddl_send_drop(d, &msg, err)) < 0)
			return rc;
	}
	if (found == DDL_OURS &&
	    (rc = milvus_drop_collection(d->milvus, d->twin->db, d->twin->name, d->ts, NULL, err)) < 0)
		return rc;
	mark_dropped(d);
	return 0;
}

static int entry_partition(struct ddl *d, const Mv__PartitionInfo **ret, struct err *err)
{
	if (d->body->n_partitions != 1 || !*d->body->partitions[0]->partition_name)
		return err_set(err, ERR_JOURNAL_BAD,
			       "journal entry %" PRId64 " (%s): %zu partitions, want one", d->entry->seq,
			       kind_name(d->entry->kind), d->body->n_partitions);
	*ret = d->body->partitions[0];
	return 0;
}

/* A copy of the twin's partition pairs with room for one more. */
static struct partition_pair *copy_partitions(struct ddl *d)
{
	size_t n = d->twin->partition_count;
	struct partition_pair *p = arena_alloc(d->arena, (n + 1) * sizeof(*p));

	if (n)
		memcpy(p, d->twin->partitions, n * sizeof(*p));
	return p;
}

int ddl_create_partition(struct ddl *d, struct err *err)
{
	struct target_collection c = *d->twin;
	const Mv__PartitionInfo *p;
	Mv__ShowPartitionsResponse *list;
	int64_t id;
	int rc;

	if ((rc = entry_partition(d, &p, err)) < 0)
		return rc;
	if (target_partition(&c, p->partition_id))
		return 0;
	if ((rc = ddl_need(d, err)) < 0 ||
	    (rc = milvus_show_partitions(d->milvus, c.db, c.name, d->arena, &list, err)) < 0 ||
	    (rc = make_partition(d, c.db, c.name, p->partition_name, &list, &id, err)) < 0)
		return rc;
	for (size_t i = 0; i < c.partition_count; i++)
		if (c.partitions[i].target_id == id && !c.partitions[i].dropped)
			return err_set(err, ERR_TARGET_REFUSED,
				       "partition %s of %s.%s on the target still belongs to the source's "
				       "older partition %" PRId64
				       " of that name, whose drop has not been applied",
				       p->partition_name, c.db, c.name, c.partitions[i].source_id);
	if (c.loaded && (rc = ddl_load_partition(d, p->partition_name, err)) < 0)
		return rc;
	c.partitions = copy_partitions(d);
	c.partitions[c.partition_count++] = (struct partition_pair){
		.source_id = p->partition_id, .target_id = id, .name = p->partition_name};
	ddl_keep(d, &c);
	return 0;
}

/* *was_loaded: load again afterwards. */
static int drop_partition_there(struct ddl *d, const struct partition_pair *p, bool *was_loaded,
				struct err *err)
{
	int rc;

	if ((rc = ddl_release_partition(d, p->name, was_loaded, err)) < 0)
		return rc;
	return milvus_drop_partition(d->milvus, d->twin->db, d->twin->name, p->name, d->ts, NULL, err);
}

int ddl_drop_partition(struct ddl *d, struct err *err)
{
	AUTO_BUF struct buf msg = {0};
	struct target_collection c = *d->twin;
	const struct partition_pair *pair;
	const Mv__PartitionInfo *p;
	Mv__ShowPartitionsResponse *list;
	enum ddl_found found;
	bool was_loaded = false;
	int64_t there;
	int rc;

	if ((rc = entry_partition(d, &p, err)) < 0)
		return rc;
	pair = target_partition(&c, p->partition_id);
	if (!pair || pair->dropped)
		return 0;
	if ((rc = ddl_find(d, &found, err)) < 0)
		return rc;
	if (found == DDL_OURS) {
		if ((rc = milvus_show_partitions(d->milvus, c.db, c.name, d->arena, &list, err)) < 0)
			return rc;
		there = partition_id(list, pair->name);
		if (!there || there == pair->target_id) { /* missing: see ddl_drop_collection */
			rewrite_drop_partition(&msg, d->twin, pair, d->ts);
			if ((rc = ddl_send_drop(d, &msg, err)) < 0)
				return rc;
		}
		if (there == pair->target_id && (rc = drop_partition_there(d, pair, &was_loaded, err)) < 0)
			return rc;
		if ((rc = ddl_reload(d, was_loaded, err)) < 0)
			return rc;
	}
	c.partitions = copy_partitions(d);
	c.partitions[pair - d->twin->partitions].dropped = true;
	ddl_keep(d, &c);
	return 0;
}
