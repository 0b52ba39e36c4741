/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last operation on each row of a window. Invariant: when the window is walked from its end, the
 * table holds the rows that later operations have decided. Pure, one thread.
 */
#include "upsert_priv.h"

#define NONE UINT32_MAX

struct reduction {
	struct upsert_part **parts;
	const struct upsert_row **decided; /* by number, as the slots have it */
	uint32_t *slots, mask, count;
};

static uint64_t key_hash(const struct upsert_row *r, const struct upsert_schema *schema,
			 const struct partition_pair *scope)
{
	uint64_t h = (uint64_t)schema->collection_id * 0x9e3779b97f4a7c15u ^
		     (scope ? (uint64_t)scope->source_id * 0xc2b2ae3d27d4eb4fu : 0);

	return r->text ? hash64(h, r->text, r->number) : hash64(h, &r->number, sizeof(r->number));
}

static bool same_key(const struct upsert_row *a, const struct upsert_row *b)
{
	return a->number == b->number && !a->text == !b->text &&
	       (!a->text || memcmp(a->text, b->text, a->number) == 0);
}

/* The slot of the row with r's key in that scope. */
static uint32_t *slot_of(struct reduction *d, const struct upsert_row *r, const struct partition_pair *scope)
{
	const struct upsert_schema *schema = d->parts[r->part]->schema;
	uint32_t i = (uint32_t)key_hash(r, schema, scope) & d->mask;

	for (; d->slots[i] != NONE; i = (i + 1) & d->mask) {
		const struct upsert_row *o = d->decided[d->slots[i]];
		const struct upsert_part *p = d->parts[o->part];

		if (p->schema == schema && p->scope == scope && same_key(o, r))
			break;
	}
	return &d->slots[i];
}

static void decide(struct reduction *d, struct upsert_row *r, const struct partition_pair *scope)
{
	uint32_t *slot = slot_of(d, r, scope);

	r->is_void = *slot != NONE || (scope && *slot_of(d, r, NULL) != NONE);
	if (r->is_void)
		return;
	d->decided[d->count] = r;
	*slot = d->count++;
}

void upsert_reduce(struct upsert_part **parts, size_t n, struct arena *arena)
{
	struct reduction d = {.parts = parts};
	size_t rows = 0, slots = 16;

	for (size_t i = 0; i < n; i++)
		rows += parts[i]->part.rows;
	while (slots < rows * 2)
		slots *= 2;
	d.slots = arena_alloc(arena, slots * sizeof(*d.slots));
	memset(d.slots, 0xff, slots * sizeof(*d.slots));
	d.mask = (uint32_t)(slots - 1);
	d.decided = arena_alloc(arena, (rows + 1) * sizeof(*d.decided));
	for (size_t i = n; i-- > 0;)
		for (uint32_t k = parts[i]->part.rows; k-- > 0;)
			decide(&d, &parts[i]->rows[k], parts[i]->scope);
}
