/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renames, and room for a name. Decisions are by ID (R9): the name that the journal was told of a
 * collection and the name that etcd has for that ID differ, so it was renamed, however often and whatever
 * else had that name in between.
 *
 * Whoever needs a name makes room for it first: an alias that is gone is dropped, a collection that is
 * over is dropped, one that was renamed gets its new name, for which there has to be room again. A circle
 * (a -> b, b -> a) is opened by a name in between. What a task replicates it goes on replicating, under
 * whatever name or database (which is created for it); what it did not want when it saw it first stays
 * unwanted, for its rows until then are missing. Reader's thread.
 */
#include "catalog_plan_priv.h"

#include <stdio.h>

static bool moved(const struct catalog *c, const struct coll *k)
{
	return k->known && k->known->state == KNOWN_LIVE && k->renamed && !coll_over(c, k);
}

/* db_id 0: a name in between, in the database where it is. */
static void rename_to(struct plan *p, struct coll *k, int64_t db_id, const char *db, const char *name,
		      enum rank rank, cdc_ts ts)
{
	Jr__KnownCollection *m = known_unpack(k->known, p->arena);
	Jr__Ddl *ddl = plan_child(p, k, m);

	ddl->new_name = m->ddl->collection->schema->name = arena_strdup(p->arena, name);
	if (db_id) {
		ddl->new_db_id = m->ddl->db_id = m->ddl->collection->db_id = db_id;
		ddl->new_db_name = m->ddl->db_name = arena_strdup(p->arena, db);
	}
	plan_add(p, KIND_RENAME_COLLECTION, rank, ts, ddl, 0, 0);
	known_set(p->c, k, known_new(p->c, m));
}

static void rename_between(struct plan *p, struct coll *k, enum rank rank, cdc_ts ts)
{
	char *name = arena_printf(p->arena, "cdc_renamed_%lld", (long long)k->id);

	while (coll_by_name(p->c, k->known->db, name, NULL))
		name = arena_printf(p->arena, "%s_", name);
	rename_to(p, k, 0, NULL, name, rank, ts);
}

/* The collections that have to move, first to last: each needs the name of the next. */
struct chain {
	struct coll **v;
	size_t n, cap;
};

static void chain_add(struct plan *p, struct chain *chain, struct coll *k)
{
	if (chain->n == chain->cap) {
		struct coll **v = arena_alloc(p->arena, (chain->cap * 2 + 8) * sizeof(struct coll *));

		if (chain->n)
			memcpy(v, chain->v, chain->n * sizeof(struct coll *));
		chain->v = v;
		chain->cap = chain->cap * 2 + 8;
	}
	k->moving = true;
	chain->v[chain->n++] = k;
}

void plan_room(struct plan *p, int64_t db_id, const char *db, const char *name, enum rank rank, cdc_ts ts)
{
	struct chain chain = {0};
	struct coll *holder;

	for (;;) {
		plan_alias_room(p, db_id, name, rank, ts);
		holder = coll_by_name(p->c, db, name, NULL);
		if (!holder || holder->moving || !moved(p->c, holder))
			break;
		chain_add(p, &chain, holder);
		db_id = holder->info->parent;
		db = db_name(p->c, db_id);
		name = holder->info->name;
	}
	if (holder && holder->moving)
		rename_between(p, holder, rank, ts);
	else if (holder && coll_over(p->c, holder))
		plan_drop_collection(p, holder, rank, ts);
	/* else etcd has that name twice, which it never does: the target refuses the second */
	while (chain.n) {
		struct coll *k = chain.v[--chain.n];

		rename_to(p, k, k->info->parent, db_name(p->c, k->info->parent), k->info->name, rank, ts);
		k->moving = false;
	}
}

void plan_rename(struct plan *p, struct coll *k, enum rank rank, cdc_ts ts)
{
	if (moved(p->c, k)) /* its own name is wanted by nobody: it goes first in a chain of its own */
		plan_room(p, k->known->db_id, k->known->db, k->known->name, rank, ts);
}

/* The database of a moved collection is there before the entry that moves it, which is made at ts. */
static void needs_db(struct plan *p, const struct coll *k, cdc_ts ts)
{
	struct db *d = db_find(p->c, k->info->parent);

	if (!d || d->id == DEFAULT_DB_ID || d->known)
		return;
	if (!d->needed) {
		d->needed = true;
		db_dirty(p->c, d);
	}
	if (ts && (!d->first || d->first > ts))
		d->first = ts;
}

void plan_moves(struct plan *p)
{
	for (size_t i = 0; i < p->c->dirty_count; i++) {
		struct coll *k = p->c->dirty[i];
		const struct coll *holder = k;
		cdc_ts ts = k->create_ts;

		if (moved(p->c, k))
			needs_db(p, k, 0);
		/* a chain is as long as there are moved collections, a circle has no end */
		for (int left = p->c->renamed; ts && left > 0; left--) {
			holder = coll_by_name(p->c, db_name(p->c, holder->info->parent), holder->info->name,
					      holder);
			if (!holder || !moved(p->c, holder))
				break;
			needs_db(p, holder, ts);
		}
	}
}

/* --- what was not wanted --- */

static const char *warning_key(const struct coll *k, char buf[48])
{
	snprintf(buf, 48, "warning/renamed/%lld", (long long)k->id);
	return buf;
}

static bool looks_wanted(const struct catalog *c, const struct coll *k)
{
	return k->known && k->known->state == KNOWN_SKIPPED && k->info && !coll_over(c, k) &&
	       coll_wanted(c, k);
}

bool skipped_news(const struct catalog *c, const struct coll *k)
{
	char key[48];

	return k->known->state == KNOWN_SKIPPED && looks_wanted(c, k) != kept_has(c, warning_key(k, key));
}

void plan_skipped(struct plan *p, const struct coll *k)
{
	char key[48];

	if (!k->known || !skipped_news(p->c, k))
		return;
	if (looks_wanted(p->c, k))
		warning_set(p->c, warning_key(k, key), p->watermark,
			    "collection %s.%s was %s.%s when this task saw it first, which it does not "
			    "replicate: its rows until then are missing, so it is not replicated now either; "
			    "make a task that starts at the earliest rows for it",
			    db_name(p->c, k->info->parent), k->info->name, k->known->db, k->known->name);
	else
		kept_set(p->c, warning_key(k, key), NULL);
}
