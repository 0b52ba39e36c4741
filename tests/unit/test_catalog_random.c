/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any history: random operations on the source in the order in which Milvus does them, cut at random
 * moments, with rollbacks and restarts in between. A model of a target applies the entries and
 * accepts nothing that is out of order; in the end it must hold what the source holds.
 */
#include "catalog_world.h"

#define MAX_DB 6
#define MAX_COLL 24
#define PARTS 4

/* An object of the source and, `there`, of the target. */
struct thing {
	int64_t id;
	int name;
	bool live, there;
};
struct source_coll {
	struct thing t, parts[PARTS], index;
	int db; /* slot */
	bool loaded, loaded_there;
};
struct history {
	struct world *w;
	uint64_t seed;
	cdc_ts now;
	int64_t next_id;
	struct thing dbs[MAX_DB];
	struct source_coll colls[MAX_COLL];
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

static void source_create_db(struct history *h, struct thing *d)
{
	char name[16];

	for (int i = 0; i < MAX_DB; i++)
		if (h->dbs[i].live && h->dbs[i].name == d->name)
			return;
	*d = (struct thing){.id = ++h->next_id, .name = d->name, .live = true};
	put_db(h->w, d->id, named(name, 'd', d->name), 1, 1);
}

static void source_drop_coll(struct history *h, struct source_coll *c, bool record)
{
	char name[16];

	put_coll(h->w, h->dbs[c->db].id, c->t.id, named(name, 'c', c->t.name), 0, STATE_DROPPING);
	if (c->loaded)
		del_load(h->w, c->t.id);
	c->t.live = c->loaded = false;
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
	int db = (int)dice(h, MAX_DB), n = (int)dice(h, 4);
	char name[16];

	if (!h->dbs[db].live)
		return;
	for (int i = 0; i < MAX_COLL; i++)
		if (h->colls[i].t.live && h->colls[i].db == db && h->colls[i].t.name == n)
			return;
	h->next_id += 10;
	*c = (struct source_coll){.t = {.id = h->next_id, .name = n, .live = true}, .db = db};
	h->next_id++; /* _default */
	make_coll(h->w, h->dbs[db].id, c->t.id, named(name, 'c', n), h->now);
}

static void source_partition(struct history *h, struct source_coll *c, int slot)
{
	struct thing *p = &c->parts[slot];
	char name[16];

	if (p->live) {
		put_part(h->w, c->t.id, p->id, named(name, 'p', slot), 0, STATE_DROPPING);
		p->live = false;
		world_record(h->w, c->t.id, p->id, h->now);
		return;
	}
	*p = (struct thing){.id = ++h->next_id, .name = slot, .live = true, .there = p->there};
	put_part(h->w, c->t.id, p->id, named(name, 'p', slot), h->now, STATE_CREATED);
}

static void source_index(struct history *h, struct source_coll *c)
{
	if (!c->index.live)
		c->index.id = ++h->next_id;
	c->index.live = !c->index.live;
	put_index(h->w, c->t.id, c->index.id, 101, "i", !c->index.live);
}

static void source_load(struct history *h, struct source_coll *c)
{
	if (c->loaded)
		del_load(h->w, c->t.id);
	else
		put_load(h->w, c->t.id, 1, 1);
	c->loaded = !c->loaded;
}

/* A slot may be used anew only when the target has let go of what was in it. */
static bool target_has(const struct source_coll *c)
{
	return c->t.there;
}

static void source_step(struct history *h)
{
	struct source_coll *c = &h->colls[dice(h, MAX_COLL)];
	int db = (int)dice(h, MAX_DB);

	h->now += 10;
	if (!c->t.live && !target_has(c) && h->w->record_count < 8 && dice(h, 2)) {
		source_create_coll(h, c);
		return;
	}
	if (dice(h, 12) == 0) {
		if (h->dbs[db].live) {
			source_drop_db(h, db);
		} else if (!h->dbs[db].there) {
			h->dbs[db].name = (int)dice(h, 3);
			source_create_db(h, &h->dbs[db]);
		}
		return;
	}
	if (!c->t.live || h->w->record_count >= 8)
		return;
	switch (dice(h, 6)) {
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
	default:
		source_load(h, c);
	}
}

/* --- the target: strict --- */

static struct source_coll *coll_of(struct history *h, int64_t id)
{
	for (int i = 0; i < MAX_COLL; i++)
		if (h->colls[i].t.id == id)
			return &h->colls[i];
	CHECKF(false, "entry for the unknown collection %lld", (long long)id);
	return NULL;
}

static struct thing *db_of(struct history *h, int64_t id)
{
	for (int i = 0; i < MAX_DB; i++)
		if (h->dbs[i].id == id)
			return &h->dbs[i];
	CHECKF(false, "entry for the unknown database %lld", (long long)id);
	return NULL;
}

static void apply_partitions(struct source_coll *c, const Jr__Ddl *d, bool there)
{
	for (size_t i = 0; i < d->n_partitions; i++) {
		const char *name = d->partitions[i]->partition_name;
		struct thing *p;

		if (STREQ(name, "_default"))
			continue;
		p = &c->parts[name[1] - '0'];
		CHECKF(p->there != there, "partition %s", name);
		p->there = there;
	}
}

static void apply_db(struct history *h, const struct entry *e)
{
	struct thing *d = db_of(h, e->db_id);

	if (e->kind == KIND_CREATE_DATABASE) {
		CHECK(!d->there);
		for (int i = 0; i < MAX_DB; i++)
			CHECKF(!h->dbs[i].there || h->dbs[i].name != d->name, "name of database d%d is taken",
			       d->name);
		d->there = true;
	} else {
		CHECK(d->there);
		for (int i = 0; i < MAX_COLL; i++)
			CHECK(!h->colls[i].t.there || &h->dbs[h->colls[i].db] != d);
		d->there = false;
	}
}

static void apply_create(struct history *h, struct source_coll *c, const Jr__Ddl *d)
{
	CHECK(!c->t.there);
	CHECK(h->dbs[c->db].there);
	for (int i = 0; i < MAX_COLL; i++)
		CHECKF(!h->colls[i].t.there || h->colls[i].db != c->db || h->colls[i].t.name != c->t.name,
		       "name of collection c%d is taken", c->t.name);
	CHECK_INT(d->collection->schema->n_fields, 2);
	c->t.there = true;
	apply_partitions(c, d, true);
}

static void apply_coll(struct history *h, const struct entry *e, const Jr__Ddl *d)
{
	struct source_coll *c = coll_of(h, e->collection_id);

	if (e->kind == KIND_CREATE_COLLECTION) {
		apply_create(h, c, d);
		return;
	}
	CHECK(c->t.there);
	switch (e->kind) {
	case KIND_DROP_COLLECTION:
		c->t.there = c->index.there = c->loaded_there = false;
		for (int i = 0; i < PARTS; i++)
			c->parts[i].there = false;
		break;
	case KIND_CREATE_PARTITION:
	case KIND_DROP_PARTITION:
		apply_partitions(c, d, e->kind == KIND_CREATE_PARTITION);
		break;
	case KIND_CREATE_INDEX:
	case KIND_DROP_INDEX:
		CHECK_INT(c->index.there, e->kind == KIND_DROP_INDEX);
		c->index.there = e->kind == KIND_CREATE_INDEX;
		break;
	case KIND_LOAD:
	case KIND_RELEASE:
		CHECK_INT(c->loaded_there, e->kind == KIND_RELEASE);
		c->loaded_there = e->kind == KIND_LOAD;
		break;
	default:
		CHECKF(false, "%s", kind_name(e->kind));
	}
}

static void target_apply(struct history *h)
{
	for (size_t i = 0; i < h->w->entry_count; i++) {
		const struct entry *e = &h->w->entries[i];
		Jr__Ddl *d = world_ddl(h->w, i);

		if (d->collection)
			apply_coll(h, e, d);
		else
			apply_db(h, e);
		jr__ddl__free_unpacked(d, NULL);
	}
}

/* One cut at W <= now; records are in the order of their timestamps. */
static void cut(struct history *h, cdc_ts watermark)
{
	AUTO_FREE char *text = NULL;

	if (watermark <= h->w->prev)
		return;
	world_fence(h->w, watermark);
	text = xstrdup(world_build(h->w, watermark));
	for (uint64_t i = dice(h, 3); i > 0; i--) {
		catalog_rollback(h->w->cat);
		CHECK_STR(world_build(h->w, watermark), text);
	}
	world_commit(h->w, watermark);
	target_apply(h);
}

static void check_same(struct history *h)
{
	for (int i = 0; i < MAX_DB; i++)
		CHECK_INT(h->dbs[i].there, h->dbs[i].live);
	for (int i = 0; i < MAX_COLL; i++) {
		struct source_coll *c = &h->colls[i];

		CHECKF(c->t.there == c->t.live, "collection %lld", (long long)c->t.id);
		for (int p = 0; p < PARTS && c->t.live; p++)
			CHECK_INT(c->parts[p].there, c->parts[p].live);
		CHECK_INT(c->index.there, c->t.live && c->index.live);
		CHECK_INT(c->loaded_there, c->loaded);
	}
}

static void run(struct history *h, int steps)
{
	for (int i = 0; i < steps; i++) {
		source_step(h);
		if (dice(h, 4) == 0)
			cut(h, h->now - dice(h, 2) * dice(h, 40));
		if (dice(h, 40) == 0)
			world_restart(h->w);
		world_now += (int64_t)dice(h, 2000);
	}
	for (int i = 0; i < 4; i++) { /* come to rest */
		world_now += DROP_WAIT_MS;
		cut(h, h->now += 10);
	}
	check_same(h);
	world_restart(h->w);
	cut(h, h->now += 10);
	CHECK_INT(h->w->entry_count, 0);
}

TEST(any_history_ends_equal_and_never_out_of_order)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		WORLD(w);
		struct history h = {.w = w, .seed = seed, .now = 1000, .next_id = 100};

		printf("# seed %llu\n", (unsigned long long)seed);
		run(&h, 250);
	}
}

TEST_MAIN()
