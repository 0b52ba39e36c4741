/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source with a random history, written to etcd in the order in which Milvus does it. As a real 2.3.5
 * does, it drops no loaded partition, moves no collection that has an alias, and leaves the aliases of a
 * dropped collection where they are.
 */
#ifndef CATALOG_HISTORY_H
#define CATALOG_HISTORY_H

#include "catalog_world.h"

#define MAX_DB 6
#define MAX_COLL 24
#define NAMES 5 /* of collections and aliases */
#define PARTS 4
#define DEFAULT PARTS /* the partition _default */

/* An object of the source and, `there`, of the target. */
struct thing {
	int64_t id;
	int name;
	bool live, there;
};
enum { LOAD_NONE, LOAD_PARTS, LOAD_ALL };
struct source_coll {
	struct thing t, parts[PARTS + 1], index;
	int db; /* slot */
	cdc_ts created;
	int ttl, ttl_there;
	int load, load_there;
	bool loaded[PARTS + 1], loaded_there[PARTS + 1];
	bool key_due[PARTS + 1]; /* loaded, its key comes later */
	char called[64];         /* on the target */
	int db_there;
};
struct history {
	struct world *w;
	uint64_t seed;
	cdc_ts now;
	int64_t next_id;
	struct thing dbs[MAX_DB];
	struct source_coll colls[MAX_COLL];
	/* by slot of the database: the collection, 0: none */
	int64_t aliases[MAX_DB][NAMES], aliases_there[MAX_DB][NAMES];
};

static uint64_t dice(struct history *h, uint64_t n)
{
	h->seed = hash64(h->seed, "next", 4);
	return h->seed % n;
}

static const char *named(char *buf, char kind, int name)
{
	snprintf(buf, 16, "%c%d", kind, name);
	return buf;
}

/* --- the source --- */

static struct source_coll *live_id(struct history *h, int64_t id)
{
	for (int i = 0; i < MAX_COLL && id; i++)
		if (h->colls[i].t.id == id && h->colls[i].t.live)
			return &h->colls[i];
	return NULL;
}

/* An alias whose collection was dropped is in nobody's way. */
static bool name_free(struct history *h, int db, int name)
{
	for (int i = 0; i < MAX_COLL; i++)
		if (h->colls[i].t.live && h->colls[i].db == db && h->colls[i].t.name == name)
			return false;
	return !live_id(h, h->aliases[db][name]);
}

static void put(struct history *h, const struct source_coll *c, int state)
{
	char name[16];

	world_ttl = c->ttl;
	put_coll(h->w, h->dbs[c->db].id, c->t.id, named(name, 'c', c->t.name), c->created, state);
	world_ttl = 0;
}

static void source_create_db(struct history *h, int slot)
{
	struct thing *d = &h->dbs[slot];
	char name[16];

	for (int i = 0; i < MAX_DB; i++)
		if (h->dbs[i].live && h->dbs[i].name == d->name)
			return;
	*d = (struct thing){.id = ++h->next_id, .name = d->name, .live = true};
	memset(h->aliases[slot], 0, sizeof(h->aliases[slot]));
	put_db(h->w, d->id, named(name, 'd', d->name), 1, 1);
}

/* --- load --- */

static void set_loaded(struct history *h, struct source_coll *c, int part, bool loaded)
{
	c->loaded[part] = loaded;
	c->key_due[part] = false;
	put_loaded(h->w, c->t.id, c->parts[part].id, loaded);
}

static void source_release(struct history *h, struct source_coll *c)
{
	for (int i = 0; i <= PARTS; i++)
		if (c->loaded[i])
			set_loaded(h, c, i, false);
	if (c->load)
		del_load(h->w, c->t.id);
	c->load = LOAD_NONE;
}

static void source_load(struct history *h, struct source_coll *c)
{
	int part = (int)dice(h, PARTS + 1);

	switch (dice(h, 5)) {
	case 0: /* the whole */
		c->load = LOAD_ALL;
		put_load_as(h->w, c->t.id, LOAD_ALL, 2);
		for (int i = 0; i <= PARTS; i++)
			if (c->parts[i].live)
				set_loaded(h, c, i, true);
		break;
	case 1:
		source_release(h, c);
		break;
	case 2:
	case 3: /* one partition */
		if (!c->parts[part].live)
			break;
		if (!c->load)
			put_load_as(h->w, c->t.id, c->load = LOAD_PARTS, 2);
		set_loaded(h, c, part, true);
		break;
	default:
		if (!c->loaded[part] || c->key_due[part])
			break;
		set_loaded(h, c, part, false);
		for (int i = 0; i <= PARTS; i++)
			if (c->loaded[i])
				return;
		source_release(h, c);
	}
}

static void source_keys(struct history *h)
{
	for (int i = 0; i < MAX_COLL; i++)
		for (int p = 0; p <= PARTS; p++)
			if (h->colls[i].key_due[p])
				set_loaded(h, &h->colls[i], p, true);
}

/* --- collections --- */

static void source_drop_coll(struct history *h, struct source_coll *c, bool record)
{
	put(h, c, STATE_DROPPING);
	source_release(h, c);
	c->t.live = false;
	if (record)
		world_record(h->w, c->t.id, 0, h->now);
}

static void source_drop_db(struct history *h, int slot)
{
	for (int i = 0; i < MAX_COLL; i++)
		if (h->colls[i].t.live && h->colls[i].db == slot)
			return; /* not empty */
	del_db(h->w, h->dbs[slot].id);
	h->dbs[slot].live = false;
}

static void source_create_coll(struct history *h, struct source_coll *c)
{
	int db = (int)dice(h, MAX_DB), n = (int)dice(h, NAMES);
	char name[16];

	if (!h->dbs[db].live || !name_free(h, db, n))
		return;
	h->next_id += 10;
	*c = (struct source_coll){
		.t = {.id = h->next_id, .name = n, .live = true}, .db = db, .created = h->now};
	c->parts[DEFAULT] = (struct thing){.id = ++h->next_id, .live = true};
	make_coll(h->w, h->dbs[db].id, c->t.id, named(name, 'c', n), h->now);
}

static void source_partition(struct history *h, struct source_coll *c, int slot)
{
	struct thing *p = &c->parts[slot];
	char name[16];

	if (p->live) {
		if (c->loaded[slot])
			return; /* refused */
		put_part(h->w, c->t.id, p->id, named(name, 'p', slot), 0, STATE_DROPPING);
		p->live = false;
		world_record(h->w, c->t.id, p->id, h->now);
		return;
	}
	*p = (struct thing){.id = ++h->next_id, .name = slot, .live = true, .there = p->there};
	put_part(h->w, c->t.id, p->id, named(name, 'p', slot), h->now, STATE_CREATED);
	if (c->load == LOAD_ALL)
		c->loaded[slot] = c->key_due[slot] = true;
}

static void source_index(struct history *h, struct source_coll *c)
{
	if (!c->index.live)
		c->index.id = ++h->next_id;
	c->index.live = !c->index.live;
	put_index(h->w, c->t.id, c->index.id, 101, "i", !c->index.live);
}

/* --- names --- */

/* Three renames between two cuts. */
static void source_swap(struct history *h, struct source_coll *c, struct source_coll *o)
{
	int name = c->t.name;

	if (!o->t.live || o == c || o->db != c->db)
		return;
	c->t.name = o->t.name;
	o->t.name = name;
	put(h, c, STATE_CREATED);
	put(h, o, STATE_CREATED);
}

static void source_rename(struct history *h, struct source_coll *c)
{
	int n = (int)dice(h, NAMES), db = dice(h, 3) ? c->db : (int)dice(h, MAX_DB);

	if (!h->dbs[db].live || !name_free(h, db, n))
		return;
	for (int i = 0; i < NAMES && db != c->db; i++)
		if (h->aliases[c->db][i] == c->t.id)
			return; /* refused */
	if (db != c->db)
		tomb_coll(h->w, h->dbs[c->db].id, c->t.id);
	c->db = db;
	c->t.name = n;
	put(h, c, STATE_CREATED);
}

static void source_alias(struct history *h, struct source_coll *c)
{
	int n = (int)dice(h, NAMES);
	int64_t *a = &h->aliases[c->db][n];
	char name[16];

	if (*a == c->t.id) {
		*a = 0;
		del_alias(h->w, h->dbs[c->db].id, named(name, 'c', n));
	} else if (live_id(h, *a) || name_free(h, c->db, n)) {
		*a = c->t.id;
		put_alias(h->w, h->dbs[c->db].id, named(name, 'c', n), *a);
	}
}

/* A slot may be used anew only when the target has let go of what was in it. */
static bool target_has(const struct source_coll *c)
{
	return c->t.there;
}

static void change(struct history *h, struct source_coll *c)
{
	switch (dice(h, 12)) {
	case 0:
		source_drop_coll(h, c, dice(h, 8) != 0); /* some records never come */
		break;
	case 1:
	case 2:
		source_partition(h, c, (int)dice(h, PARTS));
		break;
	case 3:
		source_index(h, c);
		break;
	case 4:
		source_swap(h, c, &h->colls[dice(h, MAX_COLL)]);
		break;
	case 5:
		source_rename(h, c);
		break;
	case 6:
	case 7:
		source_alias(h, c);
		break;
	case 8:
		c->ttl = (int)dice(h, 3);
		put(h, c, STATE_CREATED);
		break;
	default:
		source_load(h, c);
	}
}

static void source_step(struct history *h)
{
	struct source_coll *c = &h->colls[dice(h, MAX_COLL)];
	int db = (int)dice(h, MAX_DB);

	h->now += 10;
	if (dice(h, 2))
		source_keys(h);
	if (!c->t.live && !target_has(c) && h->w->record_count < 8 && dice(h, 2)) {
		source_create_coll(h, c);
	} else if (dice(h, 12) == 0) {
		if (h->dbs[db].live) {
			source_drop_db(h, db);
		} else if (!h->dbs[db].there) {
			h->dbs[db].name = (int)dice(h, 3);
			source_create_db(h, db);
		}
	} else if (c->t.live && h->w->record_count < 8) {
		change(h, c);
	}
}

#endif
