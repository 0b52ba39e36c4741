/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the rows of a collection begin. It is decided once, with the first cut, and kept in the
 * collection's state row, so that a restart in the middle of a catch-up knows it, too. Whether a row
 * is wanted follows from its timestamp, its place and that row alone: reading again gives the same
 * (R12). Both halves of an upsert have one timestamp and one shard, so both stay or both go. Reader's
 * thread.
 */
#include "catalog_priv.h"

#include <stdlib.h>

void catalog_start_at(struct catalog *c, cdc_ts now, const struct catalog_since *list, size_t n)
{
	c->start_now = now;
	c->start = list;
	c->start_count = n;
}

void since_done(struct catalog *c)
{
	catalog_start_at(c, 0, NULL, 0);
}

void since_fill(const struct catalog *c, int64_t id, Jr__KnownCollection *msg, struct arena *arena)
{
	const struct catalog_since *s = NULL;

	for (size_t i = 0; i < c->start_count && !s; i++)
		if (c->start[i].collection_id == id)
			s = &c->start[i];
	if (!s)
		return;
	msg->since = s->since;
	msg->starts = arena_alloc(arena, (s->shard_count + 1) * sizeof(*msg->starts));
	for (size_t i = 0; i < s->shard_count; i++) {
		Jr__KnownStart *m = arena_alloc(arena, sizeof(*m));

		jr__known_start__init(m);
		m->vchannel = arena_strdup(arena, s->shards[i].vchannel);
		m->since = s->shards[i].since;
		m->id_hi = s->shards[i].from.hi;
		m->id_lo = s->shards[i].from.lo;
		msg->starts[msg->n_starts++] = m;
	}
}

void since_take(struct known *k, const Jr__KnownCollection *msg)
{
	k->since = msg->since;
	k->shards = xcalloc(msg->n_starts, sizeof(*k->shards));
	for (size_t i = 0; i < msg->n_starts; i++)
		k->shards[k->shard_count++] = (struct known_shard){
			.vchannel = xstrdup(msg->starts[i]->vchannel),
			.since = msg->starts[i]->since,
			.from = {msg->starts[i]->id_hi, msg->starts[i]->id_lo},
		};
}

void since_free(struct known *k)
{
	for (size_t i = 0; i < k->shard_count; i++)
		free(k->shards[i].vchannel);
	free(k->shards);
}

bool catalog_wants_row(struct catalog *c, const struct record *row)
{
	const struct coll *k = coll_find(c, row->collection_id);
	const struct known *known = k ? k->known : NULL;

	for (size_t i = 0; known && i < known->shard_count; i++) {
		const struct known_shard *s = &known->shards[i];

		if (row->vchannel && strlen(s->vchannel) == row->vchannel_len &&
		    memcmp(s->vchannel, row->vchannel, row->vchannel_len) == 0)
			return row->ts > s->since && mq_id_cmp(row->id, s->from) >= 0;
	}
	return !known || row->ts > known->since;
}
