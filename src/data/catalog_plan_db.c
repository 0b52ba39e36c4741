/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan's databases: created right before what is in them, dropped when nothing known is in them,
 * properties at the watermark. The rules of their names are in catalog_plan.c. Reader's thread.
 */
#include "catalog_plan_priv.h"

#include <stdlib.h>

static int db_cmp(const void *pa, const void *pb)
{
	return by_id(&(*(struct db *const *)pa)->id, &(*(struct db *const *)pb)->id);
}

static Jr__Ddl *db_ddl(struct plan *p, int64_t id, const char *name)
{
	return ddl_new(p->arena, id, name, 0, NULL);
}

static void drop_database(struct plan *p, struct db *d, enum rank rank, cdc_ts ts)
{
	struct arena_pb pb = arena_pb(p->arena);
	Jr__KnownDatabase *m =
		jr__known_database__unpack((ProtobufCAllocator *)&pb, d->known->row_size, d->known->row);

	plan_add(p, KIND_DROP_DATABASE, rank, ts, db_ddl(p, d->id, d->known->name), 0, d->id);
	m->dropped = true;
	known_db_set(p->c, d, d->info ? known_db_new(m) : NULL);
	d->again = false;
}

static struct db *live_db_named(const struct catalog *c, const char *name, const struct db *but)
{
	for (size_t i = 0; i < c->dbs.cap; i++)
		for (struct node *n = c->dbs.slots[i]; n; n = n->next) {
			struct db *d = OBJECT_OF(struct db, node, n);

			if (d != but && d->known && !d->known->dropped && STREQ(d->known->name, name))
				return d;
		}
	return NULL;
}

/*
 * Every live collection of a database that makes room for another one: those that live on in another
 * database move there, the others are dropped, if they must.
 */
static void empty_database(struct plan *p, const struct db *d, bool drop, cdc_ts ts)
{
	struct coll **v = arena_alloc(p->arena, (size_t)(d->live + 1) * sizeof(struct coll *));
	size_t n = 0;

	for (size_t i = 0; i < p->c->names.cap; i++)
		for (struct node *node = p->c->names.slots[i]; node; node = node->next) {
			struct coll *k = OBJECT_OF(struct coll, by_name, node);

			if (k->known->db_id == d->id)
				v[n++] = k;
		}
	qsort(v, n, sizeof(struct coll *), coll_cmp);
	for (size_t i = 0; i < n; i++) {
		plan_rename(p, v[i], RANK_ROOM, ts);
		if (drop && v[i]->known->state == KNOWN_LIVE && v[i]->known->db_id == d->id)
			plan_drop_collection(p, v[i], RANK_ROOM, ts);
	}
}

static void create_database(struct plan *p, struct db *d)
{
	struct db *old = live_db_named(p->c, d->info->name, d);
	cdc_ts ts = d->first ? plan_before(p, d->first) : p->watermark;
	struct arena_pb pb = arena_pb(p->arena);
	Jr__KnownDatabase m = JR__KNOWN_DATABASE__INIT;
	Jr__Ddl *ddl;

	if (old && !db_alive(p->c, old->id) && old->live)
		empty_database(p, old, d->first != 0, ts);
	if (old && (db_alive(p->c, old->id) || old->live)) {
		d->again = true;
		return;
	}
	if (old)
		drop_database(p, old, RANK_ROOM, ts);
	m.database = mv__database_info__unpack((ProtobufCAllocator *)&pb, d->info->size, d->info->data);
	ddl = db_ddl(p, d->id, d->info->name);
	ddl->database = m.database;
	plan_add(p, KIND_CREATE_DATABASE, RANK_ROOM, ts, ddl, 0, d->id);
	known_db_set(p->c, d, known_db_new(&m));
}

static struct db **sorted_dbs(struct plan *p, size_t *ret)
{
	struct db **v, *d;
	size_t n = 0;

	for (d = p->c->dirty_dbs; d; d = d->dirty_next)
		n++;
	v = arena_alloc(p->arena, (n + 1) * sizeof(struct db *));
	n = 0;
	for (d = p->c->dirty_dbs; d; d = d->dirty_next)
		v[n++] = d;
	qsort(v, n, sizeof(struct db *), db_cmp);
	*ret = n;
	return v;
}

void plan_databases(struct plan *p)
{
	size_t n;
	struct db **v = sorted_dbs(p, &n);

	for (size_t i = 0; i < n; i++) {
		v[i]->planned = true;
		v[i]->again = false;
		if (db_to_create(p->c, v[i]))
			create_database(p, v[i]);
	}
}

/* The default database is never created, so nothing is known of it before it has properties. */
static bool db_may_change(const struct catalog *c, const struct db *d)
{
	if (!db_alive(c, d->id) || d->info->state == DB_CREATING)
		return false;
	return d->known ? !d->known->dropped
			: d->id == DEFAULT_DB_ID && c->conf.wanted_db(c->conf.arg, d->info->name);
}

static Mv__DatabaseInfo *known_info(const struct db *d, ProtobufCAllocator *a)
{
	Jr__KnownDatabase *m =
		d->known ? jr__known_database__unpack(a, d->known->row_size, d->known->row) : NULL;

	return m ? m->database : NULL;
}

bool db_to_alter(struct catalog *c, const struct db *d)
{
	struct plan p = {.c = c, .arena = c->scratch};
	struct arena_pb pb = arena_pb(c->scratch);
	ProtobufCAllocator *a = (ProtobufCAllocator *)&pb;
	const Mv__DatabaseInfo *was, *now;

	if (!db_may_change(c, d))
		return false;
	arena_reset(c->scratch);
	was = known_info(d, a);
	now = mv__database_info__unpack(a, d->info->size, d->info->data);
	return plan_pairs(&p, db_ddl(&p, d->id, d->info->name), was ? was->properties : NULL,
			  was ? was->n_properties : 0, now->properties, now->n_properties);
}

static void alter_database(struct plan *p, struct db *d)
{
	struct arena_pb pb = arena_pb(p->arena);
	ProtobufCAllocator *a = (ProtobufCAllocator *)&pb;
	const Mv__DatabaseInfo *was = known_info(d, a);
	Jr__KnownDatabase m = JR__KNOWN_DATABASE__INIT;
	Jr__Ddl *ddl = db_ddl(p, d->id, d->info->name);

	m.database = mv__database_info__unpack(a, d->info->size, d->info->data);
	if (!plan_pairs(p, ddl, was ? was->properties : NULL, was ? was->n_properties : 0,
			m.database->properties, m.database->n_properties))
		return;
	plan_add(p, KIND_ALTER_DATABASE, RANK_ALTER_DATABASE, p->watermark, ddl, 0, d->id);
	known_db_set(p->c, d, known_db_new(&m));
}

/* After the collections: what is dropped or moves away in this cut is not in a database any more. */
void plan_databases_end(struct plan *p)
{
	size_t n;
	struct db **v = sorted_dbs(p, &n);

	for (size_t i = 0; i < n; i++) {
		struct db *d = v[i];

		d->planned = true;
		if (db_to_drop(p->c, d)) {
			if (d->live)
				d->again = true;
			else
				drop_database(p, d, RANK_DROP_DATABASE, p->watermark);
		} else if (d->known && d->known->dropped && !d->info) {
			known_db_set(p->c, d, NULL); /* etcd has forgotten it: so do we */
		} else if (db_may_change(p->c, d)) {
			alter_database(p, d);
		}
	}
}
