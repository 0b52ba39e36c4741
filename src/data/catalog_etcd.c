/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fence: etcd -> `seen`. One transaction reads what changed in all prefixes since the last one,
 * and how many keys each prefix holds. Keys that were really deleted (a release; tombstones are values)
 * do not show up as changes: when the number does not fit, one more transaction reads the changes since
 * the first and all keys of that prefix, so that `seen` is exactly etcd at one revision again.
 *
 * Nothing of an answer is taken before all of it was found to come from our source (R6). If a value
 * cannot be read after that, `seen` is marked stale: nothing is derived until a whole reading succeeds.
 * Reader's thread.
 */
#include "catalog_priv.h"

#include <cdc/worker.h>

#include <stdio.h>
#include <stdlib.h>

struct reading {
	struct etcd_range changed[RANGE_COUNT];
	struct etcd_range clock;              /* <root>/kv/gid/timestamp */
	struct etcd_range *keys[RANGE_COUNT]; /* all keys of the range, or NULL */
	struct etcd_answer answer;
};

/* --- one reading --- */

/* One that is not read is empty, in the answer as in `seen`. */
static bool range_read(const struct catalog *c, enum range range)
{
	return range != RANGE_ACCESS || c->conf.users;
}

static int read_once(struct catalog *c, struct reading *r, const bool *whole, int64_t since, int64_t deadline,
		     struct arena *arena, struct err *err)
{
	struct etcd_range ranges[2 * RANGE_COUNT + 1];
	int64_t left = deadline - c->clock_ms();
	size_t n = 0, clock, asked[RANGE_COUNT] = {0}, keys[RANGE_COUNT] = {0};
	int rc;

	for (int i = 0; i < RANGE_COUNT; i++)
		if (range_read(c, (enum range)i)) {
			asked[i] = n;
			ranges[n++] =
				(struct etcd_range){.key = arena_printf(arena, "%s/%s", c->meta,
									catalog_range_path((enum range)i)),
						    .prefix = true,
						    .min_mod_revision = since};
		}
	clock = n;
	ranges[n++] = (struct etcd_range){.key = arena_printf(arena, "%s/kv/gid/timestamp", c->root)};
	for (int i = 0; i < RANGE_COUNT; i++)
		if (whole && whole[i]) {
			keys[i] = n;
			ranges[n++] = (struct etcd_range){
				.key = ranges[asked[i]].key, .prefix = true, .keys_only = true};
		}
	if (left <= 0)
		return err_set(err, ERR_SOURCE_LOST, "etcd did not answer within %d ms", FENCE_DEADLINE_MS);
	rc = etcd_read(c->conf.etcd, ranges, n, (int)left, arena, &r->answer, err);
	if (rc < 0)
		return rc;
	r->clock = ranges[clock];
	for (int i = 0; i < RANGE_COUNT; i++) {
		if (!range_read(c, (enum range)i))
			continue;
		r->changed[i] = ranges[asked[i]];
		r->keys[i] = since == 0 ? &r->changed[i]
			     : keys[i]  ? arena_dup(arena, &ranges[keys[i]], sizeof(ranges[0]))
					: NULL;
	}
	return 0;
}

static int check_store(const struct catalog *c, const struct reading *r, struct err *err)
{
	int64_t ours = c->revision > c->source.revision ? c->revision : c->source.revision;

	if (!c->source.set)
		return 0;
	if (!STREQ(c->source.root, c->meta))
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "the task was made from '%s' in etcd, the configuration now says '%s'; set "
			       "rootPath and "
			       "metaSubPath back, or make a new task",
			       c->source.root, c->meta);
	if (r->answer.cluster_id != c->source.cluster_id)
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "etcd is another cluster (id %llx, the task was made from %llx); nothing is "
			       "derived from "
			       "it: set the etcd address back, or make a new task",
			       (unsigned long long)r->answer.cluster_id,
			       (unsigned long long)c->source.cluster_id);
	if (r->answer.revision < ours)
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "etcd went back from revision %lld to %lld: it was restored from a backup, or "
			       "is another "
			       "one; make a new task",
			       (long long)ours, (long long)r->answer.revision);
	return 0;
}

static const struct etcd_kv *find_key(const struct etcd_range *r, const char *key)
{
	for (size_t i = 0; i < r->kv_count; i++)
		if (STREQ(r->kvs[i].key, key))
			return &r->kvs[i];
	return NULL;
}

static int no_default(const struct catalog *c, struct err *err)
{
	return err_set(err, ERR_SOURCE_FOREIGN,
		       "etcd has no default database under '%s': rootPath or metaSubPath is wrong, or the "
		       "source was "
		       "removed; nothing is derived from that",
		       c->meta);
}

/* The default database as of the last of n readings: there, alive, and the same one as ever. */
static int check_default(const struct catalog *c, const struct reading *r, size_t n, uint64_t *created,
			 struct err *err)
{
	const struct etcd_range *keys = r[n - 1].keys[RANGE_DATABASE];
	const struct item *it = item_find(c, RANGE_DATABASE, ITEM_DB, 0, DEFAULT_DB_ID);
	const struct etcd_kv *kv = NULL;
	char key[512];
	Mv__DatabaseInfo *m;
	bool good;

	if (r[n - 1].changed[RANGE_DATABASE].total == 0)
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "etcd has nothing under '%s': rootPath or metaSubPath is wrong, or the source "
			       "was removed; "
			       "nothing is derived from that",
			       c->meta);
	snprintf(key, sizeof(key), "%s/%sdb-info/%d", c->meta, catalog_range_path(RANGE_DATABASE),
		 DEFAULT_DB_ID);
	if (keys && !find_key(keys, key))
		return no_default(c, err);
	for (size_t i = n; i > 0 && !kv; i--)
		kv = find_key(&r[i - 1].changed[RANGE_DATABASE], key);
	if (!kv) {
		if (!it || it->gone)
			return no_default(c, err);
		*created = it->created;
		return 0;
	}
	m = etcd_tombstone(kv) ? NULL : mv__database_info__unpack(NULL, kv->size, kv->value);
	good = m && m->state != DB_DROPPING && m->state != DB_DROPPED;
	if (good)
		*created = m->created_time;
	if (m)
		mv__database_info__free_unpacked(m, NULL);
	if (!good)
		return no_default(c, err);
	if (c->source.set && *created != c->source.default_created)
		return err_set(err, ERR_SOURCE_FOREIGN,
			       "the default database under '%s' was made at %llu, that of the task's source "
			       "at %llu: the "
			       "source was set up anew; make a new task",
			       c->meta, (unsigned long long)*created,
			       (unsigned long long)c->source.default_created);
	return 0;
}

/* Ranges in which keys must have been deleted: fewer keys than we hold and were shown. */
static bool find_deleted(const struct catalog *c, const struct reading *r, bool *whole)
{
	bool any = false;

	for (int i = 0; i < RANGE_COUNT; i++) {
		int64_t count = (int64_t)c->ranges[i].count;

		for (size_t k = 0; k < r->changed[i].kv_count; k++)
			count += !item_of_key(c, (enum range)i, r->changed[i].kvs[k].key);
		whole[i] = count != r->changed[i].total;
		any |= whole[i];
	}
	return any;
}

static void take_clock(struct catalog *c, const struct etcd_range *r)
{
	uint64_t ns = 0;

	if (r->kv_count != 1 || r->kvs[0].size != 8)
		return; /* another layout: the rule of R5 then has its 10 s alone */
	for (int i = 0; i < 8; i++)
		ns = ns << 8 | r->kvs[0].value[i];
	c->source_time = ts_from_ms((int64_t)(ns / 1000000 + 1));
}

/* Databases that changed: what is in them has come to life or ended. Rare, so all are looked at. */
static void spread_databases(struct catalog *c)
{
	bool any = false;

	for (struct db *d = c->dirty_dbs; d; d = d->dirty_next)
		any |= d->changed;
	for (size_t i = 0; any && i < c->colls.cap; i++)
		for (struct node *n = c->colls.slots[i]; n; n = n->next) {
			struct coll *k = OBJECT_OF(struct coll, node, n);

			for (const struct item *it = k->items[ITEM_COLLECTION]; it; it = it->next)
				if (db_get(c, it->parent)->changed)
					coll_dirty(c, k);
		}
	for (struct db *d = c->dirty_dbs; d; d = d->dirty_next)
		d->changed = false;
}

/* Nothing can come of it any more, unless etcd or a drop changes it. */
static bool settled(const struct catalog *c, const struct coll *k)
{
	if (k->touched)
		return false;
	if (!k->known)
		return coll_over(c, k);
	return k->known->state != KNOWN_LIVE && k->info && !skipped_news(c, k);
}

static void refresh_dirty(struct catalog *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->dirty_count; i++) {
		struct coll *k = c->dirty[i];

		coll_refresh(c, k);
		if (settled(c, k)) {
			k->dirty = false;
			coll_leave(c, k);
		} else {
			c->dirty[n++] = k;
		}
	}
	c->dirty_count = n;
}

/* *again: keys were deleted from a prefix of which this reading has not all keys. */
static int apply(struct catalog *c, const struct reading *r, size_t n, bool *again, struct err *err)
{
	int rc;

	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < RANGE_COUNT; k++)
			if ((rc = items_apply(c, (enum range)k, &r[i].changed[k], err)) < 0)
				return rc;
	for (int k = 0; k < RANGE_COUNT; k++) {
		const struct etcd_range *last = &r[n - 1].changed[k], *keys = r[n - 1].keys[k];

		if (keys)
			items_sweep(c, (enum range)k, keys);
		if ((int64_t)c->ranges[k].count == last->total)
			continue;
		if (keys)
			return err_set(err, ERR_SOURCE_WAIT,
				       "etcd: %s holds %lld keys, %zu were found; reading all again",
				       last->key, (long long)last->total, c->ranges[k].count);
		*again = true;
	}
	take_clock(c, &r[n - 1].clock);
	c->revision = r[n - 1].answer.revision;
	return 0;
}

static void first_source(struct catalog *c, const struct reading *r, uint64_t default_created)
{
	if (!c->source.set)
		c->source = (struct known_source){.set = true,
						  .cluster_id = r->answer.cluster_id,
						  .default_created = default_created,
						  .revision = c->revision,
						  .root = xstrdup(c->meta)};
}

/* Brings `seen` to a later revision of etcd. *again: call again, it is not exact yet. */
static int read_seen(struct catalog *c, int64_t deadline, bool *again, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct reading r[2] = {0};
	bool whole[RANGE_COUNT];
	uint64_t default_created = 0;
	size_t n = 1;
	int rc;

	rc = read_once(c, &r[0], NULL, c->revision && !c->stale ? c->revision + 1 : 0, deadline, arena, err);
	if (rc < 0 || (rc = check_store(c, &r[0], err)) < 0)
		return rc;
	if (!r[0].keys[0] && find_deleted(c, &r[0], whole)) {
		rc = read_once(c, &r[1], whole, r[0].answer.revision + 1, deadline, arena, err);
		if (rc < 0 || (rc = check_store(c, &r[1], err)) < 0)
			return rc;
		if (r[1].answer.revision < r[0].answer.revision)
			return err_set(err, ERR_SOURCE_WAIT, "etcd: two endpoints gave different answers");
		n = 2;
	}
	if ((rc = check_default(c, r, n, &default_created, err)) < 0)
		return rc;
	if ((rc = apply(c, r, n, again, err)) < 0) {
		c->stale = true;
		return rc;
	}
	c->stale = false;
	first_source(c, &r[0], default_created);
	spread_databases(c);
	refresh_dirty(c);
	return 0;
}

int catalog_fence(struct catalog *c, cdc_ts watermark, struct err *err)
{
	int64_t deadline = c->clock_ms() + FENCE_DEADLINE_MS;
	bool again;
	int rc;

	HANG_POINT("catalog_fence");
	known_bury(c);
	do { /* ends with the deadline at the latest */
		again = false;
		if ((rc = read_seen(c, deadline, &again, err)) < 0)
			return rc;
	} while (again);
	if ((rc = catalog_read_fields(c, deadline, err)) < 0 ||
	    (rc = catalog_complete(c, watermark, err)) < 0)
		return rc;
	if (watermark > c->fenced)
		c->fenced = watermark;
	return 0;
}
