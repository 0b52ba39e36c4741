/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names on the target, as patterns. A selection and a mapping make finitely many of them: a collection
 * that is named (by either) has one name there; the rest of a database or of the source keeps its
 * collections' names, so it is "all but those that have a pattern of their own".
 *
 * A name of database "*" counts once for each database that is named, so a short request can make very
 * many patterns: they are counted before the first is made. What is compared is sorted, so that no
 * comparison is of all with all. Pure.
 */
#include "target_names.h"

#include <stdio.h>
#include <stdlib.h>

/* One name, or all but some, which are sorted. */
struct names {
	const char *one; /* NULL: all but those */
	const char *const *but;
	size_t but_count;
};

struct pattern {
	const char *from_db, *from_collection; /* at the source; "*" */
	struct names db, collection;
};

/* Sorted by the names on the target, "all but" last. */
struct target_names {
	struct pattern *items;
	size_t count;
};

/* What is said of one collection of one database. */
struct mention {
	const char *db, *name; /* db "*": any that nobody names; name "*": all */
	bool selected, excluded;
	const char *to_db, *to; /* NULL: not mapped */
};

struct mentions {
	struct mention *items;
	size_t count;
};

/* Sorted, each once. */
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

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct names one(const char *s)
{
	return (struct names){.one = s};
}

static struct names all_but(const struct list *l)
{
	return (struct names){.but = l->items, .but_count = l->count};
}

/* ---- what a selection and a mapping say ---- */

/* The databases that have a name. */
static struct list databases(struct arena *arena, const struct selection *s, const struct name_map *names)
{
	size_t max = s->count + (names ? names->count : 0) + 1, n = 0, unique = 0;
	const char **items = arena_alloc(arena, max * sizeof(*items));

	items[n++] = "default"; /* always there */
	for (size_t i = 0; i < s->count; i++)
		if (!is_all(or_default(s->items[i].db)))
			items[n++] = or_default(s->items[i].db);
	for (size_t i = 0; names && i < names->count; i++)
		items[n++] = or_default(names->items[i].db);
	qsort(items, n, sizeof(*items), by_text);
	for (size_t i = 0; i < n; i++)
		if (!unique || !STREQ(items[unique - 1], items[i]))
			items[unique++] = items[i];
	return (struct list){items, unique};
}

static int check_count(const struct selection *s, const struct name_map *names, const struct list *dbs,
		       size_t *ret, struct err *err)
{
	size_t everywhere = 0, count;

	for (size_t i = 0; i < s->count; i++)
		everywhere += is_all(or_default(s->items[i].db));
	count = s->count - everywhere + (names ? names->count : 0) + everywhere * (dbs->count + 1);
	if (count > TARGET_NAMES_MAX)
		return err_set(
			err, ERR_INVALID,
			"db_collections: %zu names of database \"*\" (selected or excluded) in each of "
			"%zu databases (default, and those named in db_collections, "
			"exclude_collections and name_mapping) are too many, a task may have %d names "
			"in all: name fewer in \"*\", or make several tasks",
			everywhere, dbs->count, TARGET_NAMES_MAX);
	*ret = count;
	return 0;
}

static void add(struct mentions *m, const char *db, const struct selection_item *item)
{
	m->items[m->count++] = (struct mention){
		.db = db, .name = item->collection, .selected = !item->exclude, .excluded = item->exclude};
}

static int by_source(const void *pa, const void *pb)
{
	const struct mention *a = pa, *b = pb;
	int c = strcmp(a->db, b->db);

	return c ? c : strcmp(a->name, b->name);
}

/* Sorts; what is said of the same becomes one. */
static void unite(struct mentions *m)
{
	size_t n = 0;

	qsort(m->items, m->count, sizeof(*m->items), by_source);
	for (size_t i = 0; i < m->count; i++) {
		struct mention *last = n ? &m->items[n - 1] : NULL, *it = &m->items[i];

		if (!last || by_source(last, it) != 0) {
			m->items[n++] = *it;
			continue;
		}
		last->selected |= it->selected;
		last->excluded |= it->excluded;
		last->to_db = last->to_db ? last->to_db : it->to_db;
		last->to = last->to ? last->to : it->to;
	}
	m->count = n;
}

static int mentions_of(struct mentions *ret, struct arena *arena, const struct selection *s,
		       const struct name_map *names, const struct list *dbs, struct err *err)
{
	struct mentions m = {0};
	size_t max = 0;
	int rc;

	if ((rc = check_count(s, names, dbs, &max, err)) < 0)
		return rc;
	m.items = arena_alloc(arena, (max + 1) * sizeof(*m.items));
	for (size_t i = 0; i < s->count; i++) {
		const char *db = or_default(s->items[i].db);

		add(&m, db, &s->items[i]);
		for (size_t k = 0; is_all(db) && k < dbs->count; k++)
			add(&m, dbs->items[k], &s->items[i]);
	}
	for (size_t i = 0; names && i < names->count; i++) {
		const struct name_map_item *item = &names->items[i];

		m.items[m.count++] = (struct mention){.db = or_default(item->db),
						      .name = item->collection,
						      .to_db = or_default(item->to_db),
						      .to = item->to_collection};
	}
	unite(&m);
	*ret = m;
	return 0;
}

/* ---- patterns ---- */

/* The name of a database on the target; that of one without a name is none that has one. */
static struct names target_db(const struct mention *m, const struct mention *all, const struct list *dbs)
{
	if (is_all(m->db))
		return all_but(dbs);
	return one(m->to_db ? m->to_db : all->to_db ? all->to_db : m->db);
}

/* All n are of one database. */
static void add_database(struct arena *arena, const struct mention *m, size_t n, const struct list *dbs,
			 struct target_names *t)
{
	struct mention all = {.db = m->db, .name = "*"};
	struct list named = {arena_alloc(arena, n * sizeof(char *)), 0};

	for (size_t i = 0; i < n; i++) {
		if (is_all(m[i].name))
			all = m[i];
		else
			named.items[named.count++] = m[i].name;
	}
	for (size_t i = 0; i < n && !all.excluded; i++)
		if (!is_all(m[i].name) && (m[i].selected || all.selected) && !m[i].excluded)
			t->items[t->count++] = (struct pattern){m->db, m[i].name, target_db(&m[i], &all, dbs),
								one(m[i].to ? m[i].to : m[i].name)};
	if (all.selected && !all.excluded)
		t->items[t->count++] =
			(struct pattern){m->db, "*", target_db(&all, &all, dbs), all_but(&named)};
}

static int compare(const char *a, const char *b)
{
	if (!a || !b)
		return !a - !b;
	return strcmp(a, b);
}

static int compare_target(const struct pattern *p, const char *db, const char *collection)
{
	int c = compare(p->db.one, db);

	return c ? c : compare(p->collection.one, collection);
}

static int by_target(const void *pa, const void *pb)
{
	const struct pattern *a = pa, *b = pb;
	int c = compare_target(a, b->db.one, b->collection.one);

	if (!c)
		c = strcmp(a->from_db, b->from_db);
	return c ? c : strcmp(a->from_collection, b->from_collection);
}

int target_names_of(struct target_names **ret, struct arena *arena, const struct selection *s,
		    const struct name_map *names, struct err *err)
{
	const struct list dbs = databases(arena, s, names);
	struct target_names *t = arena_alloc(arena, sizeof(*t));
	struct mentions m;
	int rc;

	if ((rc = mentions_of(&m, arena, s, names, &dbs, err)) < 0)
		return rc;
	t->items = arena_alloc(arena, (m.count + 1) * sizeof(*t->items)); /* at most one of each */
	for (size_t i = 0, end; i < m.count; i = end) {
		for (end = i + 1; end < m.count && STREQ(m.items[end].db, m.items[i].db);)
			end++;
		add_database(arena, &m.items[i], end - i, &dbs, t);
	}
	qsort(t->items, t->count, sizeof(*t->items), by_target);
	*ret = t;
	return 0;
}

/* ---- one task ---- */

int target_names_check(const struct selection *s, const struct name_map *names, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct target_names *t = NULL;
	int rc;

	if ((rc = target_names_of(&t, arena, s, names, err)) < 0)
		return rc;
	for (size_t i = 1; i < t->count; i++) {
		const struct pattern *a = &t->items[i - 1], *b = &t->items[i];

		if (!a->db.one || compare_target(a, b->db.one, b->collection.one) != 0)
			continue;
		return err_set(err, ERR_INVALID,
			       "name_mapping: %s.%s and %s.%s would both be %s.%s on the target: "
			       "give each a name of its own, or exclude one",
			       a->from_db, a->from_collection, b->from_db, b->from_collection, a->db.one,
			       a->collection.one ? a->collection.one : "*");
	}
	return 0;
}

/* ---- two tasks ---- */

static bool but_has(const struct names *n, const char *s)
{
	return bsearch(&s, n->but, n->but_count, sizeof(*n->but), by_text) != NULL;
}

static bool names_meet(const struct names *a, const struct names *b)
{
	if (a->one && b->one)
		return STREQ(a->one, b->one);
	if (a->one)
		return !but_has(b, a->one);
	if (b->one)
		return !but_has(a, b->one);
	return true; /* there are always more names than those */
}

static bool patterns_meet(const struct pattern *a, const struct pattern *b)
{
	return names_meet(&a->db, &b->db) && names_meet(&a->collection, &b->collection);
}

/* The first that is not before these names. */
static size_t lower_bound(const struct target_names *t, const char *db, const char *collection)
{
	size_t from = 0, to = t->count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (compare_target(&t->items[middle], db, collection) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static bool meets_at(const struct target_names *t, const char *db, const char *collection,
		     const struct pattern *p)
{
	for (size_t i = lower_bound(t, db, collection);
	     i < t->count && compare_target(&t->items[i], db, collection) == 0; i++)
		if (patterns_meet(&t->items[i], p))
			return true;
	return false;
}

/* One of a that meets one of b which has the same names, or "all but" instead. */
static const struct pattern *find_within(const struct target_names *a, const struct target_names *b)
{
	for (size_t i = 0; i < a->count; i++) {
		const struct pattern *p = &a->items[i];
		const char *db = p->db.one, *collection = p->collection.one;

		if (meets_at(b, db, collection, p) || (collection && meets_at(b, db, NULL, p)) ||
		    (db && meets_at(b, NULL, collection, p)) ||
		    (db && collection && meets_at(b, NULL, NULL, p)))
			return p;
	}
	return NULL;
}

/*
 * A whole database of a, and a collection of b in any database: neither is within the other. These are
 * all pairs, but few do not meet: each that does not is a name of an "all but", of which there are
 * TARGET_NAMES_MAX on either side.
 */
static const char *find_crossing(struct arena *arena, const struct target_names *a,
				 const struct target_names *b)
{
	size_t from = lower_bound(b, NULL, "");

	for (size_t i = 0; i < a->count && a->items[i].db.one; i++) {
		if (a->items[i].collection.one)
			continue;
		for (size_t k = from; k < b->count && b->items[k].collection.one; k++)
			if (patterns_meet(&a->items[i], &b->items[k]))
				return arena_printf(arena, "%s.%s", a->items[i].db.one,
						    b->items[k].collection.one);
	}
	return NULL;
}

const char *target_names_meet(struct arena *arena, const struct target_names *a, const struct target_names *b)
{
	const struct pattern *p = find_within(a, b);
	const char *name;

	if (p || (p = find_within(b, a)))
		return arena_printf(arena, "%s.%s", p->db.one ? p->db.one : "*",
				    p->collection.one ? p->collection.one : "*");
	if ((name = find_crossing(arena, a, b)))
		return name;
	return find_crossing(arena, b, a);
}
