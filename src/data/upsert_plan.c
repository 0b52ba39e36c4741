/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One data window -> requests: each entry is checked and mapped, its keys are found, the window is
 * reduced to the last operation on each row, and what is left is put together to requests. Nothing here
 * copies row data but a repeated field that the source wrote in several chunks. Pure, one thread.
 */
#include "refusals.h"
#include "upsert_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DELETE_ROWS 10000 /* the target parses the keys of a Delete: 0.14 s for so many */
#define UPSERT_ROWS 100000

struct planner {
	const struct upsert_schema *schemas;
	size_t schema_count;
	size_t limit;
	struct arena *arena;
	struct upsert_part **parts;
	size_t part_count;
	struct upsert_request *first, **end; /* all of them, in order of their first entry */
	struct upsert_request **open;        /* those that can still grow, one a kind and partition */
	size_t open_count, request_count;
	struct refusals refused;
};

/* --- entry -> part ------------------------------------------------------------------------------- */

static const struct upsert_schema *schema_of(const struct planner *w, int64_t collection_id)
{
	for (size_t i = 0; i < w->schema_count; i++)
		if (w->schemas[i].collection_id == collection_id)
			return &w->schemas[i];
	return NULL;
}

static size_t live_partitions(const struct target_collection *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->partition_count; i++)
		n += !c->partitions[i].dropped;
	return n;
}

/* 1: mapped; 0: dropped meanwhile, to be left out; -1: err says what is missing. */
static int map_part(const struct planner *w, struct upsert_part *p, struct err *err)
{
	const struct entry *e = p->part.entry;
	const struct upsert_schema *s = p->schema = schema_of(w, e->collection_id);
	const struct partition_pair *partition = NULL;

	if (!s || !s->collection) {
		err_set(err, ERR_INTERNAL, "%s",
			s && s->reason ? s->reason : "its collection is not known on the target");
		return -1;
	}
	p->part.collection = s->collection;
	if (s->collection->dropped)
		return 0;
	if (e->kind != KIND_DELETE || e->partition_id > 0) {
		partition = target_partition(s->collection, e->partition_id);
		if (!partition) {
			err_set(err, ERR_INTERNAL, "partition %" PRId64 " is not known on the target",
				e->partition_id);
			return -1;
		}
		if (partition->dropped)
			return 0;
	}
	p->partition = s->keyed ? NULL : partition;
	/* where there is one partition, all of them and that one are the same */
	p->scope = live_partitions(s->collection) > 1 ? p->partition : NULL;
	return 1;
}

static void flatten(struct repeated *r, struct arena *arena)
{
	struct ink ink = {0};

	if (r->all || !r->payload)
		return;
	ink.p = arena_alloc(arena, r->payload);
	ink_repeated(&ink, r);
	r->all = ink.p;
}

static bool same_name(const struct column *c, const char *name)
{
	return c->name.size == strlen(name) && memcmp(c->name.data, name, c->name.size) == 0;
}

/* Leaves out what the target computes itself. */
static void drop_outputs(struct upsert_part *p)
{
	struct part *part = &p->part;
	size_t n = 0;

	for (size_t i = 0; i < part->column_count; i++) {
		bool output = false;

		for (size_t k = 0; k < p->schema->output_count; k++)
			output |= same_name(&part->columns[i], p->schema->outputs[k]);
		if (!output)
			part->columns[n++] = part->columns[i];
	}
	part->column_count = n;
}

/* Where the keys are. -1: err says what is wrong with them. */
static int find_keys(const struct upsert_part *p, const struct repeated **ret, struct err *err)
{
	const struct part *part = &p->part;
	const char *want = p->schema->string_key ? "strings" : "numbers";
	uint32_t width = p->schema->string_key ? REPEATED_BYTES : 0;

	*ret = NULL;
	if (upsert_is_delete(p))
		*ret = &part->keys;
	for (size_t i = 0; !upsert_is_delete(p) && i < part->column_count; i++)
		if (same_name(&part->columns[i], p->schema->key))
			*ret = &part->columns[i].values;
	if (*ret && (*ret)->width == width && (*ret)->count == part->rows)
		return 0;
	err_set(err, ERR_INTERNAL, "the primary key %s is not there for each row as %s", p->schema->key,
		want);
	return -1;
}

static int read_keys(struct upsert_part *p, uint32_t index, struct arena *arena, struct err *err)
{
	const struct repeated *keys;
	struct elements e;

	if (find_keys(p, &keys, err) < 0)
		return -1;
	e = elements_of(keys, keys->width);
	p->rows = arena_alloc(arena, p->part.rows * sizeof(*p->rows));
	for (uint32_t i = 0; i < p->part.rows; i++) {
		struct pb_bytes b = elements_next(&e);
		struct pb_reader in = pb_reader(b.data, b.size);
		struct upsert_row *row = &p->rows[i];
		struct pb_field f;

		row->part = index;
		if (!p->schema->string_key) {
			if (pb_next_varint(&in, &row->number) != 1)
				return -1;
			continue;
		}
		if (pb_next(&in, &f) != 1)
			return -1;
		row->text = f.data;
		row->number = f.size;
	}
	return 0;
}

static void add_entry(struct planner *w, const struct entry *e)
{
	struct upsert_part *p = arena_alloc(w->arena, sizeof(*p));
	struct err why = {0};
	int rc;

	p->part.entry = e;
	p->part.out = e->ts;
	rc = map_part(w, p, &why);
	if (rc == 0)
		return;
	if (rc > 0)
		rc = rewrite_check(&p->part, w->arena, &why);
	if (rc >= 0) {
		drop_outputs(p);
		flatten(&p->part.keys, w->arena);
		for (size_t i = 0; i < p->part.column_count; i++) {
			flatten(&p->part.columns[i].values, w->arena);
			flatten(&p->part.columns[i].valid, w->arena);
		}
		rc = read_keys(p, (uint32_t)w->part_count, w->arena, &why);
	}
	if (rc < 0)
		refusals_add(&w->refused, e, why.text);
	else
		w->parts[w->part_count++] = p;
}

/* --- parts -> requests --------------------------------------------------------------------------- */

/* The request that takes more rows of this kind, or where it goes. */
static struct upsert_request **open_request(struct planner *w, const struct upsert_part *p)
{
	size_t i;

	for (i = 0; i < w->open_count; i++) {
		const struct upsert_request *r = w->open[i];

		if (r->schema == p->schema && r->partition == p->partition &&
		    r->is_delete == upsert_is_delete(p))
			break;
	}
	return &w->open[i];
}

static struct upsert_request *start_request(struct planner *w, const struct upsert_part *p,
					    struct upsert_request **open)
{
	struct upsert_request *r = arena_alloc(w->arena, sizeof(*r));

	r->schema = p->schema;
	r->partition = p->partition;
	r->is_delete = upsert_is_delete(p);
	if (open == w->open + w->open_count)
		w->open_count++;
	*open = r;
	*w->end = r;
	w->end = &r->next;
	w->request_count++;
	return r;
}

/* Can rows of p go into r? If so p's columns are in r's order. */
static bool can_join(const struct upsert_request *r, struct upsert_part *p, struct arena *arena)
{
	if (!r->last || r->last->from == p || r->is_delete)
		return true;
	/* the first part's columns speak for all of the request */
	return merge_columns((struct part *)&r->first->from->part, &p->part, arena);
}

/* How many rows of about `each` bytes r still takes. */
static uint64_t room(const struct planner *w, const struct upsert_request *r, size_t each)
{
	uint64_t most = r->is_delete ? DELETE_ROWS : UPSERT_ROWS;
	uint64_t fit = r->size < w->limit ? (w->limit - r->size) / each : 0;

	if (r->rows == 0 && fit == 0)
		fit = 1;
	return most - r->rows < fit ? most - r->rows : fit;
}

static struct upsert_piece *add_piece(struct planner *w, struct upsert_request *r,
				      const struct upsert_part *p, const struct upsert_run *runs)
{
	struct upsert_piece *piece = arena_alloc(w->arena, sizeof(*piece));

	piece->from = p;
	piece->runs = runs;
	if (r->last)
		r->last->next = piece;
	else
		r->first = piece;
	r->last = piece;
	return piece;
}

/* The rows of p that are left, as runs. *n: how many runs. */
static struct upsert_run *runs_of(const struct upsert_part *p, struct arena *arena, size_t *n)
{
	const struct upsert_row *rows = p->rows;
	struct upsert_run *runs;
	size_t count = 0;

	for (uint32_t i = 0; i < p->part.rows; i++)
		count += !rows[i].is_void && (i == 0 || rows[i - 1].is_void);
	runs = arena_alloc(arena, (count + 1) * sizeof(*runs));
	*n = 0;
	for (uint32_t i = 0; i < p->part.rows; i++) {
		if (rows[i].is_void)
			continue;
		if (i == 0 || rows[i - 1].is_void)
			runs[(*n)++].first = i;
		runs[*n - 1].count++;
	}
	return runs;
}

/* Splits the run at hand where the request is full: the rest goes into the next one. */
static void add_part(struct planner *w, struct upsert_part *p)
{
	size_t each = p->part.entry->size / p->part.rows + 8, n, i = 0;
	struct upsert_run *runs = runs_of(p, w->arena, &n);
	struct upsert_request **open, *r;
	struct upsert_piece *piece = NULL;

	if (n == 0)
		return;
	open = open_request(w, p);
	r = open < w->open + w->open_count && can_join(*open, p, w->arena) ? *open
									   : start_request(w, p, open);
	while (i < n) {
		uint64_t fit = room(w, r, each);
		struct upsert_run *rest;

		if (fit == 0) {
			r = start_request(w, p, open);
			piece = NULL;
			continue;
		}
		if (!piece)
			piece = add_piece(w, r, p, runs + i);
		if (runs[i].count > fit) { /* cut in two: the part up to here stays, the runs are copied on */
			rest = arena_alloc(w->arena, (n - i) * sizeof(*rest));
			memcpy(rest, runs + i, (n - i) * sizeof(*rest));
			rest[0].first += (uint32_t)fit;
			rest[0].count -= (uint32_t)fit;
			runs[i].count = (uint32_t)fit;
			piece->run_count++;
			piece->rows += fit;
			r->rows += fit;
			r->size += fit * each;
			runs = rest;
			n -= i;
			i = 0;
			piece = NULL;
			continue;
		}
		piece->run_count++;
		piece->rows += runs[i].count;
		r->rows += runs[i].count;
		r->size += runs[i].count * each;
		i++;
	}
}

static void list_requests(struct planner *w, struct upsert_plan *ret)
{
	ret->deletes = arena_alloc(w->arena, (w->request_count + 1) * sizeof(*ret->deletes));
	ret->upserts = arena_alloc(w->arena, (w->request_count + 1) * sizeof(*ret->upserts));
	for (struct upsert_request *r = w->first; r; r = r->next) {
		if (r->is_delete)
			ret->deletes[ret->delete_count++] = r;
		else
			ret->upserts[ret->upsert_count++] = r;
	}
}

int upsert_plan(const struct upsert_schema *schemas, size_t schema_count, const struct entry *entries,
		size_t n, size_t limit, struct arena *arena, struct upsert_plan *ret, struct err *err)
{
	struct planner w = {.schemas = schemas, .schema_count = schema_count, .limit = limit, .arena = arena};
	struct upsert_plan plan = {0};

	for (size_t i = 0; i < n; i++)
		if (entries[i].kind != KIND_INSERT && entries[i].kind != KIND_DELETE)
			return err_set(err, ERR_INTERNAL, "entry %" PRId64 " (%s) in a data window",
				       entries[i].seq, kind_name(entries[i].kind));
	w.parts = arena_alloc(arena, (n + 1) * sizeof(*w.parts));
	w.open = arena_alloc(arena, (n + 1) * sizeof(*w.open));
	w.end = &w.first;
	for (size_t i = 0; i < n; i++)
		if (!refusals_have(&w.refused, entries[i].collection_id))
			add_entry(&w, &entries[i]);
	upsert_reduce(w.parts, w.part_count, arena);
	for (size_t i = 0; i < w.part_count; i++)
		add_part(&w, w.parts[i]);
	list_requests(&w, &plan);
	plan.refusals = refusals_take(&w.refused, arena, &plan.refusal_count);
	*ret = plan;
	return 0;
}
