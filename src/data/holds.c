/* SPDX-License-Identifier: Apache-2.0 */
/* See holds.h. */
#include "holds.h"

#include "journal.pb-c.h"

#include <cdc/worker.h>

#include <stdlib.h>

static void hold_free(struct hold *h)
{
	free(h->db);
	free(h->collection);
	free(h->reason);
}

void holds_done(struct holds *h)
{
	for (size_t i = 0; i < h->count; i++)
		hold_free(&h->items[i]);
	free(h->items);
	*h = (struct holds){0};
}

struct hold *holds_find(const struct holds *h, int64_t collection_id)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->items[i].collection_id == collection_id)
			return &h->items[i];
	return NULL;
}

static struct hold *push(struct holds *h)
{
	h->items = xrealloc(h->items, (h->count + 1) * sizeof(*h->items));
	return &h->items[h->count++];
}

/* It did not store the format of a replay window, and had one. */
static void as_0_1_0(struct hold *h)
{
	h->replay_version = 1;
	h->replay_merge_limit = 1 << 20;
}

int holds_restore(struct holds *h, const struct state_row *objects, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		Jr__Hold *pb;

		if (strncmp(objects[i].key, "hold/", 5) != 0)
			continue;
		pb = jr__hold__unpack(NULL, objects[i].size, objects[i].value);
		if (!pb)
			return err_set(err, ERR_JOURNAL_BAD, "apply.db: object %s is damaged",
				       objects[i].key);
		*push(h) = (struct hold){.collection_id = pb->collection_id,
					 .seq = pb->seq,
					 .since_ms = pb->since_ms,
					 .ts = pb->ts,
					 .db = xstrdup(pb->db),
					 .collection = xstrdup(pb->collection),
					 .reason = xstrdup(pb->reason),
					 .unclear = pb->unclear,
					 .replay_seq = pb->replay_seq,
					 .replay_floor = pb->replay_floor,
					 .replay_version = pb->replay_version,
					 .replay_merge_limit = pb->replay_merge_limit};
		if (pb->replay_seq && !pb->replay_version)
			as_0_1_0(&h->items[h->count - 1]);
		jr__hold__free_unpacked(pb, NULL);
	}
	return 0;
}

struct hold *holds_add(struct holds *h, const struct entry *e, const char *reason)
{
	struct hold *x = holds_find(h, e->collection_id);

	if (x && e->seq < x->seq) { /* lanes tell in any order */
		x->seq = e->seq;
		x->ts = e->ts;
	}
	if (x)
		return x;
	x = push(h);
	*x = (struct hold){.collection_id = e->collection_id,
			   .seq = e->seq,
			   .since_ms = clock_real_ms(),
			   .ts = e->ts,
			   .fresh = true,
			   .db = xstrdup(e->db ? e->db : ""),
			   .collection = xstrdup(e->collection ? e->collection : ""),
			   .reason = xstrdup(reason)};
	return x;
}

void hold_reason(struct hold *h, const char *reason)
{
	char *copy = xstrdup(reason);

	free(h->reason);
	h->reason = copy;
}

void holds_remove(struct holds *h, int64_t collection_id)
{
	struct hold *x = holds_find(h, collection_id);

	if (!x)
		return;
	hold_free(x);
	*x = h->items[--h->count];
}

struct state_row holds_store(const struct hold *h, struct arena *arena)
{
	Jr__Hold pb = JR__HOLD__INIT;
	uint8_t *value;
	size_t n;

	pb.collection_id = h->collection_id;
	pb.seq = h->seq;
	pb.since_ms = h->since_ms;
	pb.ts = h->ts;
	pb.db = h->db;
	pb.collection = h->collection;
	pb.reason = h->reason;
	pb.unclear = h->unclear;
	pb.replay_seq = h->replay_seq;
	pb.replay_floor = h->replay_floor;
	pb.replay_version = h->replay_version;
	pb.replay_merge_limit = h->replay_merge_limit;
	n = jr__hold__get_packed_size(&pb);
	value = arena_alloc(arena, n + 1);
	jr__hold__pack(&pb, value);
	return (struct state_row){.key = arena_printf(arena, "hold/%lld", (long long)h->collection_id),
				  .value = value,
				  .size = n};
}

struct state_row holds_erase(int64_t collection_id, struct arena *arena)
{
	return (struct state_row){.key = arena_printf(arena, "hold/%lld", (long long)collection_id)};
}

int64_t holds_first_seq(const struct holds *h)
{
	int64_t low = INT64_MAX;

	for (size_t i = 0; i < h->count; i++)
		if (h->items[i].seq < low)
			low = h->items[i].seq;
	return low;
}
