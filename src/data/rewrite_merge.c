/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts -> groups. Inserts of one target vchannel and partition become one message while they have
 * the same columns and fit. Invariants: the parts of a group are in window order and describe the
 * same columns in the same order; a part is in exactly one group; what is grouped depends on the
 * window alone, not on addresses or on time (R19). Pure, one thread.
 */
#include "rewrite_priv.h"

struct table table_new(struct arena *arena, size_t n)
{
	struct table t;
	size_t slots = 16;

	while (slots < n * 2)
		slots *= 2;
	t.slots = arena_alloc(arena, slots * sizeof(*t.slots));
	t.mask = slots - 1;
	return t;
}

void **table_slot(struct table *t, uint64_t hash, const void *key, bool (*same)(const void *a, const void *b))
{
	size_t i = hash & t->mask;

	while (t->slots[i] && !same(t->slots[i], key))
		i = (i + 1) & t->mask;
	return &t->slots[i];
}

/* Whether values of one can follow values of the other in one list. */
static bool column_fits(const struct column *a, const struct column *b)
{
	if (a->field_id != b->field_id || a->type != b->type || a->dynamic != b->dynamic ||
	    a->name.size != b->name.size || memcmp(a->name.data, b->name.data, a->name.size) != 0)
		return false;
	if (a->type->bits) /* dense vectors; of sparse ones each row has its own */
		return a->dim == b->dim && (a->form == FORM_NOT_NULLABLE) == (b->form == FORM_NOT_NULLABLE);
	if (a->type->holder == FD_SCALARS && ((a->extra && b->extra && a->extra != b->extra) ||
					      (a->inner && b->inner && a->inner != b->inner)))
		return false;
	return (a->form == FORM_NOT_NULLABLE) == (b->form == FORM_NOT_NULLABLE);
}

/* Null rows with a slot and null rows without one cannot stand in one list. */
static bool form_fits(enum column_form a, enum column_form b)
{
	return a == b || a == FORM_NO_NULLS || b == FORM_NO_NULLS;
}

/* Index of the column that fits to c, n: none. Almost always it is the one at hint. */
static size_t column_find(const struct column *columns, size_t n, const struct column *c, size_t hint)
{
	if (columns[hint].field_id != c->field_id) {
		for (hint = 0; hint < n && columns[hint].field_id != c->field_id; hint++)
			;
	}
	return hint < n && column_fits(c, &columns[hint]) && form_fits(c->form, columns[hint].form) ? hint
												    : n;
}

/* Whether part can join, and if so its columns in the group's order. */
static bool columns_align(const struct part *first, struct part *part, struct arena *arena)
{
	struct column *ordered = part->columns;
	size_t n = part->column_count, i, at;

	if (n != first->column_count)
		return false;
	for (i = 0; i < n && column_find(part->columns, n, &first->columns[i], i) == i; i++)
		;
	if (i < n) {
		ordered = arena_alloc(arena, n * sizeof(*ordered));
		for (i = 0; i < n; i++) {
			at = column_find(part->columns, n, &first->columns[i], i);
			if (at == n)
				return false;
			ordered[i] = part->columns[at];
		}
	}
	part->columns = ordered;
	return true;
}

/* The group's first part speaks for all of it: what it left open, the new part settles. */
static void columns_settle(struct part *first, const struct part *part)
{
	for (size_t i = 0; i < first->column_count; i++) {
		struct column *a = &first->columns[i];
		const struct column *b = &part->columns[i];

		if (a->form == FORM_NO_NULLS)
			a->form = b->form;
		if (b->dim > a->dim)
			a->dim = b->dim;
		if (b->extra > a->extra)
			a->extra = b->extra;
		if (!a->inner)
			a->inner = b->inner;
	}
}

bool merge_columns(struct part *first, struct part *part, struct arena *arena)
{
	if (!columns_align(first, part, arena))
		return false;
	columns_settle(first, part);
	return true;
}

static struct group *group_new(struct part *part, size_t size, struct arena *arena)
{
	struct group *g = arena_alloc(arena, sizeof(*g));

	g->first = g->last = part;
	g->parts = 1;
	g->size = size;
	g->rows = part->rows;
	return g;
}

static bool same_lane(const void *group, const void *part)
{
	const struct part *a = ((const struct group *)group)->first, *b = part;

	return a->channel == b->channel && a->partition == b->partition;
}

struct group *merge_add(struct table *open, size_t limit, struct part *part, struct arena *arena)
{
	struct group alone = {.first = part, .last = part, .parts = 1, .rows = part->rows}, *g;
	uintptr_t key[2] = {(uintptr_t)part->channel, (uintptr_t)part->partition};
	struct ink count = {0};
	void **slot;

	if (part->entry->kind != KIND_INSERT || !limit)
		return group_new(part, 0, arena);
	write_message(&count, &alone);
	slot = table_slot(open, hash64(0, key, sizeof(key)), part, same_lane);
	g = *slot;
	if (g && g->size + count.n <= limit && g->rows + part->rows <= INT32_MAX &&
	    merge_columns(g->first, part, arena)) {
		g->last->next = part;
		g->last = part;
		g->parts++;
		g->rows += part->rows;
		g->size += count.n;
		return NULL;
	}
	g = group_new(part, count.n, arena);
	*slot = g;
	return g;
}
