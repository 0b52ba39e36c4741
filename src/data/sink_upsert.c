/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ordinary door of a target Milvus (common.ttMsgEnabled: true, or a hosted one): windows go as Delete
 * and Upsert requests (upsert.h), at least once; since both set a row to what it shall be, a repeat from
 * any earlier point on leads to the same rows. The target gives its own timestamps and ticks by itself;
 * it stays writable and strongly consistent. Rows have the source's keys, generated ones as well; a key
 * that the source has twice in one partition is there once.
 *
 * An answer that was lost: the target orders requests by the time at which they came in, and drops one
 * whose caller has gone before it was begun. So a request that is repeated on a new stream after its
 * answer did not come cannot overtake what is sent after the repeat's answer.
 *
 * Rows go by name, so a collection is looked at before it is written to and again every few seconds: if
 * another one has taken its name, it is left alone (R25). What is in the way of a request is found by
 * halving the window (R23): entries before it are applied, the collection is on hold from it on.
 */
#include "flusher.h"
#include "object_map.h"
#include "sink_ddl.h"
#include "upsert_lanes.h"

#include <cdc/worker.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUEST_BYTES ((size_t)4 << 20)
#define LOOK_MS 5000        /* a collection is described again after so long */
#define VAGUE_WAIT_MS 15000 /* a refusal that does not say why may come from a target that is starting */

/* What is known of a collection beside the map. */
struct known {
	int64_t collection_id, target_id;
	struct upsert_schema schema; /* its strings are in `arena` */
	struct arena *arena;
	int64_t looked_ms;
	int64_t vague_ms; /* the first of the vague refusals that it gets now; 0: none */
};

struct sink {
	struct sink_conf conf;
	struct target_conf *target;
	struct object_map *map;
	struct milvus *milvus; /* DDL and looking around */
	struct upsert_lanes *lanes;
	struct flusher *flusher;
	struct known **known;
	size_t known_count;
};

static void upsert_close(struct sink *s)
{
	if (!s)
		return;
	upsert_lanes_free(s->lanes);
	flusher_free(s->flusher);
	milvus_free(s->milvus);
	object_map_free(s->map);
	for (size_t i = 0; i < s->known_count; i++) {
		arena_free(s->known[i]->arena);
		free(s->known[i]);
	}
	free(s->known);
	target_conf_free(s->target);
	free(s);
}

static int upsert_open(struct sink **ret, const struct sink_conf *conf, struct err *err)
{
	struct sink *s = xcalloc(1, sizeof(*s));

	(void)err;
	s->conf = *conf;
	s->target = target_conf_copy(conf->target);
	s->conf.target = s->target;
	s->map = object_map_new();
	s->milvus = milvus_new(s->target, conf->request_timeout_ms, conf->poll, conf->poll_arg);
	s->lanes = upsert_lanes_new(&s->conf);
	s->flusher = flusher_new(&s->conf);
	*ret = s;
	return 0;
}

static int upsert_restore(struct sink *s, const struct state_row *objects, size_t n, struct err *err)
{
	return object_map_restore(s->map, objects, n, err);
}

/* --- what is known of a collection --------------------------------------------------------------- */

static struct known *known_of(struct sink *s, int64_t collection_id)
{
	struct known *k;

	for (size_t i = 0; i < s->known_count; i++)
		if (s->known[i]->collection_id == collection_id)
			return s->known[i];
	k = xcalloc(1, sizeof(*k));
	k->collection_id = collection_id;
	k->arena = arena_new();
	s->known = xrealloc(s->known, (s->known_count + 1) * sizeof(*s->known));
	s->known[s->known_count++] = k;
	return k;
}

static void forget(struct sink *s, int64_t collection_id)
{
	for (size_t i = 0; i < s->known_count; i++)
		if (s->known[i]->collection_id == collection_id) {
			arena_free(s->known[i]->arena);
			free(s->known[i]);
			s->known[i] = s->known[--s->known_count];
			return;
		}
}

static void read_schema(struct known *k, const Mv__CollectionSchema *schema)
{
	struct upsert_schema *s = &k->schema;

	arena_reset(k->arena);
	*s = (struct upsert_schema){.collection_id = k->collection_id};
	s->outputs = arena_alloc(k->arena, (schema->n_fields + 1) * sizeof(*s->outputs));
	for (size_t i = 0; i < schema->n_fields; i++) {
		const Mv__FieldSchema *f = schema->fields[i];

		if (f->is_primary_key) {
			s->key = arena_strdup(k->arena, f->name);
			s->string_key = f->data_type == 20 || f->data_type == 21; /* String, VarChar */
		}
		s->keyed |= f->is_partition_key;
		if (f->is_function_output)
			s->outputs[s->output_count++] = arena_strdup(k->arena, f->name);
	}
}

/* Fills *ret for one collection; in the arena where it is not the sink's. */
static int look(struct sink *s, int64_t collection_id, struct arena *arena, struct upsert_schema *ret,
		struct err *err)
{
	const struct target_collection *c = object_map_find(s->map, collection_id);
	struct known *k = known_of(s, collection_id);
	int64_t now = clock_mono_ms();
	Mv__DescribeCollectionResponse *have;
	int rc;

	*ret = (struct upsert_schema){.collection_id = collection_id, .collection = c};
	if (!c || c->dropped)
		return 0;
	if (k->schema.key && k->target_id == c->target_id && now - k->looked_ms < LOOK_MS) {
		*ret = k->schema;
		ret->collection = c;
		return 0;
	}
	if ((rc = milvus_describe(s->milvus, c->db, c->name, arena, &have, err)) < 0)
		return rc;
	if (!have || have->collection_id != c->target_id) {
		ret->collection = NULL;
		ret->reason = arena_printf(
			arena,
			"the target's collection %s.%s (ID %" PRId64 ") is gone%s: it was dropped there by "
			"somebody else; drop the source's collection or make the task anew",
			c->db, c->name, c->target_id, have ? ", another one has its name" : "");
		return 0;
	}
	k->target_id = c->target_id;
	k->looked_ms = now;
	read_schema(k, have->schema);
	if (!k->schema.key)
		return err_set(err, ERR_TARGET_BUSY, "collection %s.%s: the target tells no primary key",
			       c->db, c->name);
	*ret = k->schema;
	ret->collection = c;
	return 0;
}

/* Of all collections of the entries. */
static int look_all(struct sink *s, const struct entry *entries, size_t n, struct arena *arena,
		    struct upsert_schema **ret, size_t *ret_count, struct err *err)
{
	struct upsert_schema *all = NULL;
	size_t count = 0, cap = 0, k;
	int rc;

	for (size_t i = 0; i < n; i++) {
		if (i && entries[i].collection_id == entries[i - 1].collection_id)
			continue;
		for (k = 0; k < count && all[k].collection_id != entries[i].collection_id; k++)
			;
		if (k < count)
			continue;
		if (count == cap) {
			struct upsert_schema *more;

			cap = cap ? 2 * cap : 16;
			more = arena_alloc(arena, cap * sizeof(*more));
			if (count)
				memcpy(more, all, count * sizeof(*more));
			all = more;
		}
		if ((rc = look(s, entries[i].collection_id, arena, &all[count], err)) < 0)
			return rc;
		count++;
	}
	*ret = all;
	*ret_count = count;
	return 0;
}

/* --- a window ------------------------------------------------------------------------------------ */

/* What came of sending some entries. */
struct outcome {
	struct upsert_plan plan;
	struct upsert_no *no; /* of both phases */
	size_t no_count;
};

/* Plans and sends them: deletes, then upserts. */
static int send_entries(struct sink *s, const struct upsert_schema *schemas, size_t schema_count,
			const struct entry *entries, size_t n, struct arena *arena, struct outcome *ret,
			struct err *err)
{
	struct upsert_no *no[2];
	size_t count[2];
	int rc;

	if ((rc = upsert_plan(schemas, schema_count, entries, n, REQUEST_BYTES, arena, &ret->plan, err)) <
		    0 ||
	    (rc = upsert_lanes_run(s->lanes, ret->plan.deletes, ret->plan.delete_count, arena, &no[0],
				   &count[0], err)) < 0 ||
	    (rc = upsert_lanes_run(s->lanes, ret->plan.upserts, ret->plan.upsert_count, arena, &no[1],
				   &count[1], err)) < 0)
		return rc;
	ret->no_count = count[0] + count[1];
	ret->no = arena_alloc(arena, (ret->no_count + 1) * sizeof(*ret->no));
	memcpy(ret->no, no[0], count[0] * sizeof(*ret->no));
	memcpy(ret->no + count[0], no[1], count[1] * sizeof(*ret->no));
	return 0;
}

static const struct upsert_no *refusal_of(const struct outcome *o, int64_t collection_id)
{
	for (size_t i = 0; i < o->no_count; i++)
		if (o->no[i].request->schema->collection_id == collection_id)
			return &o->no[i];
	return NULL;
}

static void tell(struct sink_refusal *ret, int64_t collection_id, int64_t seq, const char *reason)
{
	*ret = (struct sink_refusal){.collection_id = collection_id, .seq = seq};
	snprintf(ret->reason, sizeof(ret->reason), "%.500s", reason);
}

/*
 * Finds the first entry of a collection that the target does not take, and applies those before it. 1:
 * *ret tells. 0: this time it took them all.
 */
static int isolate(struct sink *s, const struct upsert_schema *schema, const struct entry *entries, size_t n,
		   struct arena *arena, struct sink_refusal *ret, struct err *err)
{
	struct entry *own = arena_alloc(arena, n * sizeof(*own));
	size_t count = 0, from = 0, take;
	int rc;

	for (size_t i = 0; i < n; i++)
		if (entries[i].collection_id == schema->collection_id)
			own[count++] = entries[i];
	for (take = (count + 1) / 2; from < count;) {
		AUTO(arena_free) struct arena *scratch = arena_new();
		struct outcome o = {0};

		if ((rc = send_entries(s, schema, 1, own + from, take, scratch, &o, err)) < 0)
			return rc;
		if (o.no_count && take > 1) {
			take = (take + 1) / 2;
			continue;
		}
		if (o.no_count || o.plan.refusal_count) {
			tell(ret, schema->collection_id, o.no_count ? own[from].seq : o.plan.refusals[0].seq,
			     o.no_count ? o.no[0].reason : o.plan.refusals[0].reason);
			return 1;
		}
		from += take;
		take = count - from;
	}
	return 0;
}

/*
 * Is a refusal for good? One that does not say so is tried for a while first, then it is taken as it is;
 * -TARGET_BUSY: try again.
 */
static int judge(struct sink *s, const struct outcome *o, struct err *err)
{
	int64_t now = clock_mono_ms();
	const struct upsert_no *wait = NULL;

	for (size_t i = 0; i < o->no_count; i++) {
		struct known *k = known_of(s, o->no[i].request->schema->collection_id);

		k->looked_ms = now - LOOK_MS; /* is it still there? */
		if (!o->no[i].vague)
			continue;
		if (!k->vague_ms)
			k->vague_ms = now;
		if (now - k->vague_ms < VAGUE_WAIT_MS)
			wait = &o->no[i];
	}
	return wait ? err_set(err, ERR_TARGET_BUSY, "%s", wait->reason) : 0;
}

static int upsert_window(struct sink *s, const struct sink_window *w, struct arena *arena,
			 struct sink_refusal **refused, size_t *refused_count, struct err *err)
{
	struct upsert_schema *schemas;
	struct sink_refusal *list;
	struct outcome o = {0};
	size_t n, count = 0;
	int rc;

	if ((rc = look_all(s, w->entries, w->count, arena, &schemas, &n, err)) < 0 ||
	    (rc = send_entries(s, schemas, n, w->entries, w->count, arena, &o, err)) < 0 ||
	    (rc = judge(s, &o, err)) < 0)
		return rc;
	list = arena_alloc(arena, (n + 1) * sizeof(*list));
	for (size_t i = 0; i < n; i++) {
		const struct upsert_schema *c = &schemas[i];

		if (refusal_of(&o, c->collection_id)) {
			if ((rc = isolate(s, c, w->entries, w->count, arena, &list[count], err)) < 0)
				return rc;
			count += (size_t)rc;
			continue;
		}
		known_of(s, c->collection_id)->vague_ms = 0;
		for (size_t k = 0; k < o.plan.refusal_count; k++)
			if (o.plan.refusals[k].collection_id == c->collection_id)
				tell(&list[count++], c->collection_id, o.plan.refusals[k].seq,
				     o.plan.refusals[k].reason);
	}
	*refused = list;
	*refused_count = count;
	return 0;
}

/* --- the rest ------------------------------------------------------------------------------------ */

/* The operation's time is the target's own: the source's clock may be ahead of it. */
static int upsert_ddl(struct sink *s, const struct entry *e, cdc_ts out_ts, struct arena *arena,
		      struct state_row **ret, size_t *ret_count, struct err *err)
{
	struct sink_ddl d = {.milvus = s->milvus,
			     .map = s->map,
			     .names = s->conf.names,
			     .plain = true,
			     .note = s->conf.note,
			     .note_arg = s->conf.note_arg};
	int rc = sink_ddl_apply(&d, e, 0, arena, ret, ret_count, err);

	(void)out_ts;
	if (rc == 0 && e->kind == KIND_DROP_COLLECTION)
		forget(s, e->collection_id);
	return rc;
}

static int upsert_tick(struct sink *s, cdc_ts ts, struct err *err)
{
	(void)s;
	(void)ts;
	(void)err;
	return 0;
}

static void upsert_flush(struct sink *s, const struct entry *e)
{
	const struct target_collection *c = object_map_find(s->map, e->collection_id);

	if (c && !c->dropped)
		flusher_add(s->flusher, c->db, c->name);
}

const struct sink_ops sink_upsert = {
	.name = "upsert",
	.own_time = true,
	.open = upsert_open,
	.close = upsert_close,
	.restore = upsert_restore,
	.write = upsert_window,
	.ddl = upsert_ddl,
	.tick = upsert_tick,
	.flush = upsert_flush,
};
