/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source objects -> target objects, in memory. Invariants: one collection a source ID, ordered by
 * it, so that walks and stored forms are the same on every run; every string is the map's own.
 * Not thread-safe (see the header).
 */
#include "object_map.h"

#include "journal.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_PREFIX "coll/"

struct object_map {
	struct target_collection **items; /* by source_id, ascending */
	size_t count, cap;
};

struct object_map *object_map_new(void)
{
	return xcalloc(1, sizeof(struct object_map));
}

static void collection_free(struct target_collection *c)
{
	for (size_t i = 0; i < c->channel_count; i++) {
		free(c->channels[i].source_vchannel);
		free(c->channels[i].target_vchannel);
		free(c->channels[i].target_pchannel);
	}
	for (size_t i = 0; i < c->partition_count; i++)
		free(c->partitions[i].name);
	free(c->channels);
	free(c->partitions);
	free(c->loaded_partitions);
	free(c->db);
	free(c->name);
	free(c->source_db);
	free(c->source_name);
	free(c);
}

static struct target_collection *collection_copy(const struct target_collection *c)
{
	struct target_collection *copy = xmemdup(c, sizeof(*c));

	copy->db = xstrdup(c->db);
	copy->name = xstrdup(c->name);
	copy->source_db = xstrdup(c->source_db ? c->source_db : "");
	copy->source_name = xstrdup(c->source_name ? c->source_name : "");
	copy->channels = xcalloc(c->channel_count, sizeof(*c->channels));
	for (size_t i = 0; i < c->channel_count; i++) {
		copy->channels[i].source_vchannel = xstrdup(c->channels[i].source_vchannel);
		copy->channels[i].target_vchannel = xstrdup(c->channels[i].target_vchannel);
		copy->channels[i].target_pchannel = xstrdup(c->channels[i].target_pchannel);
	}
	copy->partitions = xcalloc(c->partition_count, sizeof(*c->partitions));
	for (size_t i = 0; i < c->partition_count; i++) {
		copy->partitions[i] = c->partitions[i];
		copy->partitions[i].name = xstrdup(c->partitions[i].name);
	}
	copy->loaded_partitions = xcalloc(c->loaded_partition_count + 1, sizeof(*c->loaded_partitions));
	if (c->loaded_partition_count)
		memcpy(copy->loaded_partitions, c->loaded_partitions,
		       c->loaded_partition_count * sizeof(*c->loaded_partitions));
	return copy;
}

void object_map_free(struct object_map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->count; i++)
		collection_free(m->items[i]);
	free(m->items);
	free(m);
}

/* Index of the first collection whose source ID is not below source_id. */
static size_t lower_bound(const struct object_map *m, int64_t source_id)
{
	size_t lo = 0, hi = m->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->items[mid]->source_id < source_id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct target_collection *object_map_find(const struct object_map *m, int64_t source_id)
{
	size_t i = lower_bound(m, source_id);

	return i < m->count && m->items[i]->source_id == source_id ? m->items[i] : NULL;
}

const struct target_collection *object_map_by_name(const struct object_map *m, const char *db,
						   const char *name)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct target_collection *c = m->items[i];

		if (!c->dropped && STREQ(c->db, db) && STREQ(c->name, name))
			return c;
	}
	return NULL;
}

const struct partition_pair *target_partition(const struct target_collection *c, int64_t source_id)
{
	for (size_t i = 0; i < c->partition_count; i++) {
		if (c->partitions[i].source_id == source_id)
			return &c->partitions[i];
	}
	return NULL;
}

const struct channel_pair *target_channel(const struct target_collection *c, const char *vchannel, size_t len)
{
	for (size_t i = 0; i < c->channel_count; i++) {
		const char *s = c->channels[i].source_vchannel;

		if (strlen(s) == len && memcmp(s, vchannel, len) == 0)
			return &c->channels[i];
	}
	return NULL;
}

void object_map_put(struct object_map *m, const struct target_collection *c)
{
	/* copied first: c may be what the map itself handed out */
	struct target_collection *copy = collection_copy(c);
	size_t i = lower_bound(m, copy->source_id);

	if (i < m->count && m->items[i]->source_id == copy->source_id) {
		collection_free(m->items[i]);
		m->items[i] = copy;
		return;
	}
	if (m->count == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 16;
		m->items = xrealloc(m->items, m->cap * sizeof(m->items[0]));
	}
	memmove(m->items + i + 1, m->items + i, (m->count - i) * sizeof(m->items[0]));
	m->items[i] = copy;
	m->count++;
}

void object_map_each(const struct object_map *m, void (*fn)(void *arg, const struct target_collection *c),
		     void *arg)
{
	for (size_t i = 0; i < m->count; i++)
		fn(arg, m->items[i]);
}

struct state_row object_map_store(const struct target_collection *c, struct arena *arena)
{
	Jr__TargetCollection pb = JR__TARGET_COLLECTION__INIT;
	Jr__ChannelPair *channels = arena_alloc(arena, c->channel_count * sizeof(*channels));
	Jr__PartitionPair *partitions = arena_alloc(arena, c->partition_count * sizeof(*partitions));
	uint8_t *value;

	pb.source_id = c->source_id;
	pb.target_id = c->target_id;
	pb.db = c->db;
	pb.name = c->name;
	pb.source_db = c->source_db ? c->source_db : (char *)"";
	pb.source_name = c->source_name ? c->source_name : (char *)"";
	pb.dropped = c->dropped;
	pb.loaded = c->loaded;
	pb.replicas = c->replicas;
	pb.loaded_partitions = c->loaded_partitions;
	pb.n_loaded_partitions = c->loaded_partition_count;
	pb.n_channels = c->channel_count;
	pb.channels = arena_alloc(arena, c->channel_count * sizeof(*pb.channels));
	for (size_t i = 0; i < c->channel_count; i++) {
		jr__channel_pair__init(&channels[i]);
		channels[i].source_vchannel = c->channels[i].source_vchannel;
		channels[i].target_vchannel = c->channels[i].target_vchannel;
		channels[i].target_pchannel = c->channels[i].target_pchannel;
		pb.channels[i] = &channels[i];
	}
	pb.n_partitions = c->partition_count;
	pb.partitions = arena_alloc(arena, c->partition_count * sizeof(*pb.partitions));
	for (size_t i = 0; i < c->partition_count; i++) {
		jr__partition_pair__init(&partitions[i]);
		partitions[i].source_id = c->partitions[i].source_id;
		partitions[i].target_id = c->partitions[i].target_id;
		partitions[i].name = c->partitions[i].name;
		partitions[i].dropped = c->partitions[i].dropped;
		pb.partitions[i] = &partitions[i];
	}
	value = arena_alloc(arena, jr__target_collection__get_packed_size(&pb));
	return (struct state_row){
		.key = arena_printf(arena, KEY_PREFIX "%" PRId64, c->source_id),
		.value = value,
		.size = jr__target_collection__pack(&pb, value),
	};
}

/* A view of the unpacked message: nothing of it outlives the arena. */
static struct target_collection collection_view(const Jr__TargetCollection *pb, struct arena *arena)
{
	struct target_collection c = {
		.source_id = pb->source_id,
		.target_id = pb->target_id,
		.db = pb->db,
		.name = pb->name,
		.source_db = pb->source_db,
		.source_name = pb->source_name,
		.dropped = pb->dropped,
		.loaded = pb->loaded,
		.replicas = pb->replicas,
		.loaded_partitions = pb->loaded_partitions,
		.loaded_partition_count = pb->n_loaded_partitions,
		.channel_count = pb->n_channels,
		.partition_count = pb->n_partitions,
	};

	c.channels = arena_alloc(arena, c.channel_count * sizeof(*c.channels));
	for (size_t i = 0; i < c.channel_count; i++) {
		c.channels[i].source_vchannel = pb->channels[i]->source_vchannel;
		c.channels[i].target_vchannel = pb->channels[i]->target_vchannel;
		c.channels[i].target_pchannel = pb->channels[i]->target_pchannel;
	}
	c.partitions = arena_alloc(arena, c.partition_count * sizeof(*c.partitions));
	for (size_t i = 0; i < c.partition_count; i++) {
		c.partitions[i].source_id = pb->partitions[i]->source_id;
		c.partitions[i].target_id = pb->partitions[i]->target_id;
		c.partitions[i].name = pb->partitions[i]->name;
		c.partitions[i].dropped = pb->partitions[i]->dropped;
	}
	return c;
}

int object_map_restore(struct object_map *m, const struct state_row *objects, size_t n, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct arena_pb alloc = arena_pb(arena);
	struct target_collection *views = arena_alloc(arena, n * sizeof(*views));
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		const struct state_row *o = &objects[i];
		Jr__TargetCollection *pb;
		char key[64];

		if (strncmp(o->key, KEY_PREFIX, strlen(KEY_PREFIX)) != 0)
			continue;
		pb = jr__target_collection__unpack((ProtobufCAllocator *)&alloc, o->size, o->value);
		if (!pb)
			return err_set(
				err, ERR_JOURNAL_BAD,
				"apply.db: object \"%s\" (%zu bytes) cannot be read; the file is damaged, "
				"restore it from a backup or make the task anew",
				o->key, o->size);
		snprintf(key, sizeof(key), KEY_PREFIX "%" PRId64, pb->source_id);
		if (!STREQ(key, o->key))
			return err_set(err, ERR_JOURNAL_BAD,
				       "apply.db: object \"%s\" holds collection %" PRId64
				       "; the file is damaged, "
				       "restore it from a backup or make the task anew",
				       o->key, pb->source_id);
		views[count++] = collection_view(pb, arena);
	}
	for (size_t i = 0; i < count; i++)
		object_map_put(m, &views[i]);
	return 0;
}
