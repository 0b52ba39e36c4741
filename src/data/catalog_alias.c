/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aliases: seen, known and their difference. An alias is wanted while etcd has it and the collection it
 * points to, by ID, is one that the task replicates and that is not over. A source (2.3.5) leaves the
 * alias of a dropped collection in etcd and lets a new collection have that name: so an alias goes with
 * its collection, right before it, whatever etcd says. Known state is tentative until commit or
 * rollback, as of collections. Reader's thread.
 */
#include "catalog_plan_priv.h"

#include <stdlib.h>

static uint64_t alias_hash(int64_t db_id, const char *name)
{
	return hash64((uint64_t)db_id, name, strlen(name));
}

static struct alias *alias_find(const struct catalog *c, int64_t db_id, const char *name)
{
	struct node *n = map_first(&c->aliases, alias_hash(db_id, name));

	for (; n; n = map_next(n)) {
		struct alias *a = OBJECT_OF(struct alias, node, n);

		if (a->db_id == db_id && STREQ(a->name, name))
			return a;
	}
	return NULL;
}

struct alias *alias_get(struct catalog *c, int64_t db_id, const char *name)
{
	struct alias *a = alias_find(c, db_id, name);

	if (!a) {
		a = xcalloc(1, sizeof(*a));
		a->db_id = db_id;
		a->name = xstrdup(name);
		map_add(&c->aliases, &a->node, alias_hash(db_id, name));
	}
	return a;
}

static void alias_free(struct node *n)
{
	struct alias *a = OBJECT_OF(struct alias, node, n);

	free(a->name);
	free(a);
}

void aliases_free(struct catalog *c)
{
	map_free(&c->aliases, alias_free);
}

void alias_dirty(struct catalog *c, struct alias *a)
{
	a->planned = false;
	if (a->dirty)
		return;
	a->dirty = true;
	a->dirty_next = c->dirty_aliases;
	c->dirty_aliases = a;
}

/* --- known --- */

/* The collection it points to, 0: none. */
static void point(struct catalog *c, struct alias *a, int64_t known)
{
	if (a->known)
		coll_get(c, a->known)->aliases--;
	a->known = known;
	if (known)
		coll_get(c, known)->aliases++;
}

static void alias_set(struct catalog *c, struct alias *a, int64_t known)
{
	if (!a->touched) {
		a->touched = true;
		a->before = a->known;
		a->touched_next = c->touched_aliases;
		c->touched_aliases = a;
	}
	point(c, a, known);
	alias_dirty(c, a);
	a->planned = true;
}

static void clean_dirty_aliases(struct catalog *c)
{
	for (struct alias **p = &c->dirty_aliases; *p;) {
		struct alias *a = *p;

		if (!a->planned || a->again) {
			p = &a->dirty_next;
			continue;
		}
		a->dirty = false;
		*p = a->dirty_next;
		if (!a->info && !a->known) {
			map_del(&c->aliases, &a->node);
			alias_free(&a->node);
		}
	}
}

void aliases_commit(struct catalog *c)
{
	for (struct alias *a = c->touched_aliases; a; a = a->touched_next) {
		a->touched = false;
		a->lost_at = 0;
	}
	c->touched_aliases = NULL;
	clean_dirty_aliases(c);
}

void aliases_rollback(struct catalog *c)
{
	for (struct alias *a = c->touched_aliases; a; a = a->touched_next) {
		point(c, a, a->before);
		a->touched = false;
		a->lost_at = 0;
	}
	c->touched_aliases = NULL;
	for (struct alias *a = c->dirty_aliases; a; a = a->dirty_next)
		a->planned = false;
}

size_t aliases_touched(const struct catalog *c)
{
	size_t n = 0;

	for (const struct alias *a = c->touched_aliases; a; a = a->touched_next)
		n++;
	return n;
}

static void alias_row(const struct catalog *c, const struct alias *a, struct arena *arena,
		      struct state_row *ret)
{
	Jr__KnownAlias m = JR__KNOWN_ALIAS__INIT;
	uint8_t *p;

	*ret = (struct state_row){.key = arena_printf(arena, "alias/%lld/%s", (long long)a->db_id, a->name)};
	if (!a->known)
		return;
	m.db_id = a->db_id;
	m.db_name = (char *)db_name(c, a->db_id);
	m.alias = a->name;
	m.collection_id = a->known;
	ret->size = jr__known_alias__get_packed_size(&m);
	ret->value = p = arena_alloc(arena, ret->size);
	jr__known_alias__pack(&m, p);
}

size_t aliases_state(const struct catalog *c, struct arena *arena, struct state_row *rows)
{
	size_t n = 0;

	for (const struct alias *a = c->touched_aliases; a; a = a->touched_next)
		if (a->known || a->before)
			alias_row(c, a, arena, &rows[n++]);
	return n;
}

int alias_restore(struct catalog *c, const struct state_row *row, ProtobufCAllocator *pb)
{
	const Jr__KnownAlias *m = jr__known_alias__unpack(pb, row->size, row->value);
	struct alias *a;

	if (!m || m->db_id <= 0 || m->collection_id <= 0 || !*m->alias)
		return -1;
	a = alias_get(c, m->db_id, m->alias);
	point(c, a, m->collection_id);
	alias_dirty(c, a);
	return 0;
}

/* --- plan --- */

/* Those that `take` takes, by database and name. */
static int alias_cmp(const void *pa, const void *pb)
{
	const struct alias *a = *(struct alias *const *)pa, *b = *(struct alias *const *)pb;
	int rc = by_id(&a->db_id, &b->db_id);

	return rc ? rc : strcmp(a->name, b->name);
}

static struct alias **sorted_aliases(struct plan *p, struct alias *first, size_t next, size_t *ret)
{
	struct alias **v, *a;
	size_t n = 0;

	for (a = first; a; a = *(struct alias **)(void *)((char *)a + next))
		n++;
	v = arena_alloc(p->arena, (n + 1) * sizeof(struct alias *));
	n = 0;
	for (a = first; a; a = *(struct alias **)(void *)((char *)a + next))
		v[n++] = a;
	qsort(v, n, sizeof(struct alias *), alias_cmp);
	*ret = n;
	return v;
}

/* object: entries of one collection in the order of the aliases' names */
static void add_entry(struct plan *p, const struct alias *a, enum kind kind, const struct known *of,
		      int64_t id, enum rank rank, cdc_ts ts)
{
	Jr__Ddl *ddl = ddl_new(p->arena, a->db_id, of->db, id, of->name);

	ddl->alias = arena_strdup(p->arena, a->name);
	plan_add(p, kind, rank, ts, ddl, 0, (int64_t)p->n);
}

static void drop_alias(struct plan *p, struct alias *a, enum rank rank, cdc_ts ts)
{
	const struct coll *k = coll_find(p->c, a->known);

	if (k && k->known) /* else a damaged journal: nothing can be said of it */
		add_entry(p, a, KIND_DROP_ALIAS, k->known, a->known, rank, ts);
	alias_set(p->c, a, 0);
}

static bool alias_is(const struct alias *a)
{
	return a->info && !a->info->gone && a->info->state == STATE_CREATED;
}

static void drop_lost(struct plan *p, struct alias *a, enum rank rank, cdc_ts ts)
{
	add_entry(p, a, KIND_DROP_ALIAS, coll_find(p->c, a->lost)->known, a->lost, rank, ts);
	a->lost_at = 0;
}

void plan_alias_room(struct plan *p, int64_t db_id, const char *name, enum rank rank, cdc_ts ts)
{
	struct alias *a = alias_find(p->c, db_id, name);
	const struct coll *k = a && a->known ? coll_find(p->c, a->known) : NULL;

	if (a && a->lost_at)
		drop_lost(p, a, rank, ts < a->lost_at ? ts : plan_raised(p, a->lost_at));
	else if (k && (!alias_is(a) || a->info->target != a->known || coll_over(p->c, k)))
		drop_alias(p, a, rank, ts);
}

/* All known aliases of one collection, sorted. Rare, so all aliases are looked at. */
static struct alias **aliases_of(struct catalog *c, const struct coll *k, struct arena *arena, size_t *ret)
{
	struct alias **v = arena_alloc(arena, (k->aliases + 1) * sizeof(struct alias *));
	size_t n = 0;

	for (size_t i = 0; k->aliases && i < c->aliases.cap; i++)
		for (struct node *node = c->aliases.slots[i]; node; node = node->next) {
			struct alias *a = OBJECT_OF(struct alias, node, node);

			if (a->known == k->id)
				v[n++] = a;
		}
	qsort(v, n, sizeof(struct alias *), alias_cmp);
	*ret = n;
	return v;
}

void plan_drop_aliases(struct plan *p, struct coll *k, enum rank rank, cdc_ts ts)
{
	size_t n;
	struct alias **v = aliases_of(p->c, k, p->arena, &n);

	for (size_t i = 0; i < n; i++)
		drop_alias(p, v[i], rank, ts);
}

void aliases_lose(struct catalog *c, struct coll *k, cdc_ts ts, struct arena *arena)
{
	size_t n;
	struct alias **v = aliases_of(c, k, arena, &n);

	for (size_t i = 0; i < n; i++) {
		v[i]->lost = v[i]->known;
		v[i]->lost_at = ts;
		alias_set(c, v[i], 0);
		v[i]->planned = false;
	}
}

void plan_lost_aliases(struct plan *p)
{
	size_t n;
	struct alias **v = sorted_aliases(p, p->c->touched_aliases, offsetof(struct alias, touched_next), &n);

	for (size_t i = 0; i < n; i++)
		if (v[i]->lost_at)
			drop_lost(p, v[i], RANK_DROP_ALIAS, plan_raised(p, v[i]->lost_at));
}

static void plan_alias(struct plan *p, struct alias *a)
{
	const struct coll *k = alias_is(a) ? coll_find(p->c, a->info->target) : NULL;
	bool over = k && coll_over(p->c, k);

	a->planned = true;
	a->again = k && !k->known && !over; /* to be journaled in a later cut */
	if (k && k->known && k->known->state == KNOWN_LIVE && !over) {
		if (a->known == k->id)
			return;
		/* what had that name as a collection is over and waits for its Drop record */
		if (!a->known && coll_by_name(p->c, k->known->db, a->name, NULL)) {
			a->again = true;
			return;
		}
		add_entry(p, a, a->known ? KIND_ALTER_ALIAS : KIND_CREATE_ALIAS, k->known, k->id, RANK_ALIAS,
			  p->watermark);
		alias_set(p->c, a, k->id);
	} else if (a->known && !a->again && !(k && k->id == a->known)) {
		drop_alias(p, a, RANK_DROP_ALIAS, p->watermark);
	} /* else its collection is over: it goes with that */
}

void plan_aliases(struct plan *p)
{
	size_t n;
	struct alias **v = sorted_aliases(p, p->c->dirty_aliases, offsetof(struct alias, dirty_next), &n);

	for (size_t i = 0; i < n; i++)
		plan_alias(p, v[i]);
}
