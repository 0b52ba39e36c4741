/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A position belongs to a pchannel; people (and the peer's API) ask for those of a collection. So the
 * known catalog of the journal says which shard lies where. The two are read one after the other: of a
 * collection that comes or goes in between, there may be nothing. Any thread.
 */
#include "flow_positions.h"

#include "journal.pb-c.h"

#include <stdlib.h>

struct list {
	struct flow_position *items;
	size_t count, cap;
	const struct position *positions; /* sorted by pchannel */
	size_t position_count;
	bool *used; /* by a shard */
	struct arena *arena;
};

static struct flow_position *add(struct list *l, size_t at)
{
	const struct position *p = &l->positions[at];

	if (l->count == l->cap) {
		struct flow_position *more;

		l->cap = l->cap * 2 + 16;
		more = arena_alloc(l->arena, l->cap * sizeof(*more));
		if (l->count)
			memcpy(more, l->items, l->count * sizeof(*more));
		l->items = more;
	}
	l->items[l->count] = (struct flow_position){.pchannel = p->pchannel,
						    .vchannel = "",
						    .db = "",
						    .collection = "",
						    .id = (int64_t)p->next.lo,
						    .ts = p->ts};
	return &l->items[l->count++];
}

static void add_shards(struct list *l, const Jr__KnownCollection *m)
{
	const Mv__CollectionInfo *info = m->ddl->collection;

	for (size_t i = 0; i < info->n_physical_channel_names; i++)
		for (size_t k = 0; k < l->position_count; k++) {
			struct flow_position *p;

			if (!STREQ(l->positions[k].pchannel, info->physical_channel_names[i]))
				continue;
			l->used[k] = true;
			p = add(l, k);
			p->collection_id = info->id;
			p->db = m->ddl->db_name;
			p->collection = info->schema->name;
			if (i < info->n_virtual_channel_names)
				p->vchannel = info->virtual_channel_names[i];
		}
}

static int by_shard(const void *pa, const void *pb)
{
	const struct flow_position *a = pa, *b = pb;

	if (!a->collection_id != !b->collection_id)
		return a->collection_id ? -1 : 1;
	if (a->collection_id != b->collection_id)
		return a->collection_id < b->collection_id ? -1 : 1;
	return strcmp(*a->vchannel ? a->vchannel : a->pchannel, *b->vchannel ? b->vchannel : b->pchannel);
}

size_t positions_by_shard(struct journal *j, struct arena *arena, struct flow_position **ret)
{
	struct arena_pb pb = arena_pb(arena);
	struct position *positions;
	struct list l = {.arena = arena};
	struct state_row *rows;
	size_t n = journal_state(j, arena, &rows);

	l.position_count = journal_positions(j, arena, &positions);
	l.positions = positions;
	l.used = arena_alloc(arena, l.position_count + 1);
	memset(l.used, 0, l.position_count + 1);
	for (size_t i = 0; i < n; i++) {
		Jr__KnownCollection *m;

		if (strncmp(rows[i].key, "coll/", 5) != 0)
			continue;
		m = jr__known_collection__unpack((ProtobufCAllocator *)&pb, rows[i].size, rows[i].value);
		if (m && !m->dropped && !m->skipped && m->ddl && m->ddl->collection &&
		    m->ddl->collection->schema)
			add_shards(&l, m);
	}
	for (size_t k = 0; k < l.position_count; k++)
		if (!l.used[k])
			add(&l, k);
	if (l.count)
		qsort(l.items, l.count, sizeof(*l.items), by_shard);
	*ret = l.items;
	return l.count;
}
