/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any history: random operations on the source in the order in which Milvus does them, cut at random
 * moments, with rollbacks and restarts in between. A model of a target applies the entries and
 * accepts nothing that is out of order; in the end it must hold what the source holds: names, aliases,
 * properties and what is loaded, too.
 */
#include "catalog_history.h"

/* --- the target: strict --- */

static struct source_coll *coll_of(struct history *h, int64_t id)
{
	for (int i = 0; i < MAX_COLL; i++)
		if (h->colls[i].t.id == id)
			return &h->colls[i];
	CHECKF(false, "entry for the unknown collection %lld", (long long)id);
	return NULL;
}

static int db_slot(struct history *h, int64_t id)
{
	for (int i = 0; i < MAX_DB; i++)
		if (h->dbs[i].id == id)
			return i;
	CHECKF(false, "entry for the unknown database %lld", (long long)id);
	return -1;
}

static void check_free(struct history *h, int db, const char *name)
{
	char alias[16];

	CHECKF(h->dbs[db].there, "database of %s", name);
	for (int i = 0; i < MAX_COLL; i++)
		CHECKF(!h->colls[i].t.there || h->colls[i].db_there != db || !STREQ(h->colls[i].called, name),
		       "name %s is taken", name);
	for (int i = 0; i < NAMES; i++)
		CHECKF(!h->aliases_there[db][i] || !STREQ(named(alias, 'c', i), name), "%s is an alias",
		       name);
}

/* The slot of a partition that an entry names. */
static int part_slot(const Mv__PartitionInfo *p)
{
	return STREQ(p->partition_name, "_default") ? DEFAULT : p->partition_name[1] - '0';
}

static void apply_partitions(struct source_coll *c, const Jr__Ddl *d, bool there)
{
	for (size_t i = 0; i < d->n_partitions; i++) {
		int slot = part_slot(d->partitions[i]);
		struct thing *p = &c->parts[slot];

		CHECKF(p->there != there, "partition %s", d->partitions[i]->partition_name);
		p->there = there;
		c->loaded_there[slot] = there && c->load_there == LOAD_ALL;
	}
}

static void apply_load_partitions(struct source_coll *c, const Jr__Ddl *d, bool load)
{
	CHECK(d->n_partitions > 0 && (load || c->load_there));
	for (size_t i = 0; i < d->n_partitions; i++) {
		int slot = part_slot(d->partitions[i]);

		CHECK(c->parts[slot].there && (load || c->loaded_there[slot]));
		c->loaded_there[slot] = load;
	}
	if (load && !c->load_there)
		c->load_there = LOAD_PARTS;
}

static void apply_load(struct source_coll *c, bool load)
{
	CHECK(load || c->load_there);
	c->load_there = load ? LOAD_ALL : LOAD_NONE;
	for (int i = 0; i <= PARTS; i++)
		c->loaded_there[i] = load && c->parts[i].there;
}

static void apply_db(struct history *h, const struct entry *e)
{
	int slot = db_slot(h, e->db_id);
	struct thing *d = &h->dbs[slot];

	if (e->kind == KIND_CREATE_DATABASE) {
		CHECK(!d->there);
		for (int i = 0; i < MAX_DB; i++)
			CHECKF(!h->dbs[i].there || h->dbs[i].name != d->name, "name of database d%d is taken",
			       d->name);
		d->there = true;
		return;
	}
	CHECK(e->kind == KIND_DROP_DATABASE && d->there);
	for (int i = 0; i < MAX_COLL; i++)
		CHECK(!h->colls[i].t.there || h->colls[i].db_there != slot);
	for (int i = 0; i < NAMES; i++)
		CHECK(!h->aliases_there[slot][i]);
	d->there = false;
}

static void call(struct history *h, struct source_coll *c, int db, const char *name)
{
	check_free(h, db, name);
	c->db_there = db;
	snprintf(c->called, sizeof(c->called), "%s", name);
}

static void apply_create(struct history *h, struct source_coll *c, const Jr__Ddl *d)
{
	CHECK(!c->t.there);
	call(h, c, db_slot(h, d->db_id), d->collection->schema->name);
	CHECK_INT(d->collection->schema->n_fields, 2);
	c->ttl_there = d->collection->n_properties ? atoi(d->collection->properties[0]->value) : 0;
	c->t.there = true;
	apply_partitions(c, d, true);
}

static void apply_drop(struct history *h, struct source_coll *c)
{
	for (int i = 0; i < NAMES; i++)
		CHECKF(h->aliases_there[c->db_there][i] != c->t.id, "dropped before its alias c%d", i);
	c->t.there = c->index.there = false;
	c->load_there = LOAD_NONE;
	for (int i = 0; i <= PARTS; i++)
		c->parts[i].there = c->loaded_there[i] = false;
}

static void apply_rename(struct history *h, struct source_coll *c, const Jr__Ddl *d)
{
	int db = d->new_db_id ? db_slot(h, d->new_db_id) : c->db_there;

	CHECK_STR(d->collection->schema->name, c->called);
	for (int i = 0; i < NAMES && db != c->db_there; i++)
		CHECK(h->aliases_there[c->db_there][i] != c->t.id);
	call(h, c, db, d->new_name);
}

static void apply_alias(struct history *h, struct source_coll *c, enum kind kind, const Jr__Ddl *d)
{
	int64_t *a = &h->aliases_there[db_slot(h, d->db_id)][d->alias[1] - '0'];

	CHECK_INT(c->db_there, db_slot(h, d->db_id));
	if (kind == KIND_CREATE_ALIAS)
		check_free(h, c->db_there, d->alias);
	else
		CHECKF(*a != 0 && (kind == KIND_ALTER_ALIAS) == (*a != c->t.id), "alias %s", d->alias);
	*a = kind == KIND_DROP_ALIAS ? 0 : c->t.id;
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
		apply_drop(h, c);
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
		apply_load(c, e->kind == KIND_LOAD);
		break;
	case KIND_LOAD_PARTITIONS:
	case KIND_RELEASE_PARTITIONS:
		apply_load_partitions(c, d, e->kind == KIND_LOAD_PARTITIONS);
		break;
	case KIND_RENAME_COLLECTION:
		apply_rename(h, c, d);
		break;
	case KIND_ALTER_COLLECTION:
		CHECK_INT(d->n_properties + d->n_removed_properties, 1);
		c->ttl_there = d->n_properties ? atoi(d->properties[0]->value) : 0;
		break;
	case KIND_CREATE_ALIAS:
	case KIND_ALTER_ALIAS:
	case KIND_DROP_ALIAS:
		apply_alias(h, c, e->kind, d);
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

static void check_coll(const struct source_coll *c)
{
	char name[16];

	CHECKF(c->t.there == c->t.live, "collection %lld", (long long)c->t.id);
	CHECK_INT(c->index.there, c->t.live && c->index.live);
	if (!c->t.live)
		return;
	CHECK_STR(c->called, named(name, 'c', c->t.name));
	CHECK_INT(c->db_there, c->db);
	CHECK_INT(c->ttl_there, c->ttl);
	CHECK_INT(c->load_there != LOAD_NONE, c->load != LOAD_NONE);
	for (int p = 0; p <= PARTS; p++) {
		CHECK_INT(c->parts[p].there, c->parts[p].live);
		CHECKF(c->loaded_there[p] == c->loaded[p], "collection %lld partition %d", (long long)c->t.id,
		       p);
	}
}

static void check_same(struct history *h)
{
	for (int i = 0; i < MAX_COLL; i++)
		check_coll(&h->colls[i]);
	for (int i = 0; i < MAX_DB; i++) {
		CHECK_INT(h->dbs[i].there, h->dbs[i].live);
		for (int n = 0; n < NAMES; n++)
			CHECK_INT(h->aliases_there[i][n],
				  live_id(h, h->aliases[i][n]) ? h->aliases[i][n] : 0);
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
	source_keys(h);
	for (int i = 0; i < 4; i++) { /* come to rest; later than a partition's load can lag */
		world_now += DROP_WAIT_MS;
		cut(h, h->now += ts_from_ms(20000));
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
		run(&h, 400);
	}
}

TEST_MAIN()
