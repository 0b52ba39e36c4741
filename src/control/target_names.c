/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names on the target, as patterns. A selection and a mapping make finitely many of them: a collection
 * that is named (by either) has one name there; the rest of a database or of the source keeps its
 * collections' names, so it is "all but those that have a pattern of their own". Pure; the limits on
 * the numbers of names are the API's.
 */
#include "target_names.h"

#include <stdio.h>
#include <stdlib.h>

/* One name, or all but some. */
struct names {
	const char *one; /* NULL: all but those */
	const char **but;
	size_t but_count;
	uint64_t hash; /* of one */
};

struct pattern {
	const char *from_db, *from_collection; /* at the source; "*" */
	struct names db, collection;
};

struct target_names {
	struct pattern *items;
	size_t count, cap;
};

/* A list of names, each once. */
struct list {
	const char **items;
	size_t count;
};

static const char *or_default(const char *db)
{
	return db && *db ? db : "default";
}

static bool is_all(const char *s)
{
	return STREQ(s, "*");
}

static bool contains(const char *const *items, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (STREQ(items[i], s))
			return true;
	return false;
}

static void list_add(struct list *l, const char *s)
{
	if (!is_all(s) && !contains(l->items, l->count, s))
		l->items[l->count++] = s;
}

static struct names one(const char *s)
{
	return (struct names){.one = s, .hash = hash64(0, s, strlen(s))};
}

static struct names all_but(const struct list *l)
{
	return (struct names){.but = l->items, .but_count = l->count};
}

static void push(struct arena *arena, struct target_names *t, struct pattern p)
{
	if (t->count == t->cap) {
		struct pattern *bigger = arena_alloc(arena, (2 * t->cap + 16) * sizeof(*bigger));

		if (t->count)
			memcpy(bigger, t->items, t->count * sizeof(*bigger));
		t->items = bigger;
		t->cap = 2 * t->cap + 16;
	}
	t->items[t->count++] = p;
}

/* What both arguments say about names; the lists of one computation. */
struct world {
	struct arena *arena;
	const struct selection *s;
	const struct name_map *names;
	struct list dbs; /* that have a name */
};

static struct list new_list(const struct world *w)
{
	size_t max = w->s->count + (w->names ? w->names->count : 0) + 1;

	return (struct list){.items = arena_alloc(w->arena, max * sizeof(char *))};
}

static struct list databases(const struct world *w)
{
	struct list l = new_list(w);

	list_add(&l, "default"); /* always there */
	for (size_t i = 0; i < w->s->count; i++)
		list_add(&l, or_default(w->s->items[i].db));
	for (size_t i = 0; w->names && i < w->names->count; i++)
		list_add(&l, or_default(w->names->items[i].db));
	return l;
}

/* The collections of a database (NULL: of one without a name) that anyone names. */
static struct list collections(const struct world *w, const char *db)
{
	struct list l = new_list(w);

	for (size_t i = 0; i < w->s->count; i++) {
		const char *of = or_default(w->s->items[i].db);

		if (is_all(of) || (db && STREQ(of, db)))
			list_add(&l, w->s->items[i].collection);
	}
	for (size_t i = 0; db && w->names && i < w->names->count; i++)
		if (STREQ(or_default(w->names->items[i].db), db))
			list_add(&l, w->names->items[i].collection);
	return l;
}

/* Names that no request can hold stand for "some other one". */
#define OTHER "?"

static void add_database(const struct world *w, const char *db, struct target_names *t)
{
	struct list list = collections(w, db);
	const char *source = db ? db : OTHER;
	struct names target;

	for (size_t i = 0; i < list.count; i++) {
		const char *to_db, *to;

		if (!selection_wants(w->s, source, list.items[i]))
			continue;
		name_map_collection(w->names, source, list.items[i], &to_db, &to);
		push(w->arena, t,
		     (struct pattern){db ? db : "*", list.items[i], db ? one(to_db) : all_but(&w->dbs),
				      one(to)});
	}
	if (!selection_wants(w->s, source, OTHER))
		return;
	target = db ? one(name_map_db(w->names, db)) : all_but(&w->dbs);
	push(w->arena, t, (struct pattern){db ? db : "*", "*", target, all_but(&list)});
}

struct target_names *target_names_of(struct arena *arena, const struct selection *s,
				     const struct name_map *names)
{
	struct target_names *t = arena_alloc(arena, sizeof(*t));
	struct world w = {.arena = arena, .s = s, .names = names};

	w.dbs = databases(&w);
	for (size_t i = 0; i < w.dbs.count; i++)
		add_database(&w, w.dbs.items[i], t);
	add_database(&w, NULL, t);
	return t;
}

static bool names_meet(const struct names *a, const struct names *b)
{
	if (a->one && b->one)
		return a->hash == b->hash && STREQ(a->one, b->one);
	if (a->one)
		return !contains(b->but, b->but_count, a->one);
	if (b->one)
		return !contains(a->but, a->but_count, b->one);
	return true; /* there are always more names than those */
}

int target_names_check(const struct selection *s, const struct name_map *names, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	const struct target_names *t = target_names_of(arena, s, names);

	for (size_t i = 0; i < t->count; i++)
		for (size_t k = i + 1; k < t->count; k++) {
			const struct pattern *a = &t->items[i], *b = &t->items[k];

			if (!a->db.one || !b->db.one || !a->collection.one != !b->collection.one ||
			    !names_meet(&a->db, &b->db) || !names_meet(&a->collection, &b->collection))
				continue;
			return err_set(err, ERR_INVALID,
				       "name_mapping: %s.%s and %s.%s would both be %s.%s on the target: "
				       "give each a name of its own, or exclude one",
				       a->from_db, a->from_collection, b->from_db, b->from_collection,
				       a->db.one, a->collection.one ? a->collection.one : "*");
		}
	return 0;
}

const char *target_names_meet(struct arena *arena, const struct target_names *a, const struct target_names *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t k = 0; k < b->count; k++) {
			const struct pattern *x = &a->items[i], *y = &b->items[k];
			const char *db = x->db.one ? x->db.one : y->db.one,
				   *name = x->collection.one ? x->collection.one : y->collection.one;

			if (names_meet(&x->collection, &y->collection) && names_meet(&x->db, &y->db))
				return arena_printf(arena, "%s.%s", db ? db : "*", name ? name : "*");
		}
	return NULL;
}
