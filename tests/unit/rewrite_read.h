/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The naive decoder of rewrite_kit.h: every message and column into plain values, one text a row.
 * A message that cannot be read, or whose counts disagree, fails the test on the spot.
 */
#ifndef REWRITE_READ_H
#define REWRITE_READ_H

#include "../t.h"
#include "rewrite_kit.h"

static inline void kit_run(struct kit *k)
{
	struct err err = {0};

	CHECKF(rewrite_window(&k->conf, k->entries, k->out, k->n, k->arena, &k->result, &err) == 0, "%s",
	       err.text);
}

struct got_field {
	uint32_t number, wire;
	uint64_t v;
	const uint8_t *p;
	size_t n;
};

struct got_column {
	int64_t id, dim, extra;
	int type;
	bool dynamic, nullable, loose; /* loose: numbers not in one packed chunk */
	char name[64];
	const char **rows;
	size_t count;
};

struct got {
	int type;
	uint64_t msg_id, base_ts, version, num_rows;
	bool replicated, loose;
	int64_t collection, partition, source_id;
	bool segment, db_id; /* present */
	char shard[256], db[256], name[256], part[256];
	const char **ts, **row_ids, **keys;
	size_t ts_n, ids_n, keys_n;
	struct got_column columns[64];
	size_t column_count;
};

static inline uint64_t got_varint(const uint8_t **p, const uint8_t *end)
{
	uint64_t v = 0;

	for (int i = 0; i < 10; i++) {
		CHECKF(*p < end, "a number runs over the end");
		v |= (uint64_t)(**p & 127) << (7 * i);
		if (*(*p)++ < 128) {
			CHECKF(i < 9 || (*p)[-1] <= 1, "a number has more than 64 bits");
			return v;
		}
	}
	CHECKF(0, "a number has more than 10 bytes");
	return 0;
}

static inline bool got_next(const uint8_t **p, const uint8_t *end, struct got_field *f)
{
	uint64_t tag;

	if (*p == end)
		return false;
	tag = got_varint(p, end);
	*f = (struct got_field){.number = (uint32_t)(tag >> 3), .wire = tag & 7, .p = *p};
	if (f->wire == 0) {
		f->v = got_varint(p, end);
		return true;
	}
	CHECKF(f->wire == 1 || f->wire == 2 || f->wire == 5, "wire type %u", f->wire);
	f->n = f->wire == 1 ? 8 : f->wire == 5 ? 4 : got_varint(p, end);
	CHECKF(f->n <= (size_t)(end - *p), "field %u runs over the end", f->number);
	f->p = *p;
	*p += f->n;
	return true;
}

static inline void got_push(struct arena *a, const char ***list, size_t *n, const char *s)
{
	const char **grown;

	if ((*n & (*n - 1)) == 0) { /* full at every power of two */
		grown = arena_alloc(a, (*n ? *n * 2 : 1) * sizeof(*grown));
		if (*n)
			memcpy(grown, *list, *n * sizeof(*grown));
		*list = grown;
	}
	(*list)[(*n)++] = s;
}

static inline const char *got_hex(struct arena *a, const uint8_t *p, size_t n)
{
	char *s = arena_alloc(a, n * 2 + 1);

	for (size_t i = 0; i < n; i++)
		snprintf(s + 2 * i, 3, "%02x", p[i]);
	return s;
}

/* One occurrence of a repeated number: width 0 varint, else 4 or 8. */
static inline void got_numbers(struct arena *a, const struct got_field *f, unsigned width, const char ***list,
			       size_t *n, bool *loose)
{
	const uint8_t *p = f->p, *end = f->p + f->n;

	if (*n || f->wire != 2)
		*loose = true;
	if (f->wire == 0) {
		CHECK(width == 0);
		got_push(a, list, n, arena_printf(a, "%" PRIu64, f->v));
		return;
	}
	if (f->wire != 2)
		CHECKF(f->n == width, "a number of %zu bytes, want %u", f->n, width);
	while (p < end) {
		if (width == 0) {
			got_push(a, list, n, arena_printf(a, "%" PRIu64, got_varint(&p, end)));
			continue;
		}
		CHECK((size_t)(end - p) >= width);
		got_push(a, list, n, got_hex(a, p, width));
		p += width;
	}
}

/* A list message of ScalarField field `which` -> texts. */
static inline void got_list(struct arena *a, uint32_t which, const uint8_t *p, size_t size,
			    const char ***list, size_t *n, struct got_column *c);

static inline const char *got_array_row(struct arena *a, const uint8_t *p, size_t size, struct got_column *c)
{
	AUTO_BUF struct buf text = {0};
	const uint8_t *end = p + size;
	struct got_field f;

	buf_adds(&text, "[");
	while (got_next(&p, end, &f)) {
		const char **items = NULL;
		size_t n = 0;
		struct got_column inner = {0};

		CHECK(f.wire == 2);
		got_list(a, f.number, f.p, f.n, &items, &n, &inner);
		buf_addf(&text, "%u:", f.number);
		for (size_t i = 0; i < n; i++)
			buf_addf(&text, "%s,", items[i]);
	}
	(void)c;
	return arena_strndup(a, text.data, text.len);
}

static inline void got_list(struct arena *a, uint32_t which, const uint8_t *p, size_t size,
			    const char ***list, size_t *n, struct got_column *c)
{
	const uint8_t *end = p + size;
	struct got_field f;

	while (got_next(&p, end, &f)) {
		if (f.number == 2) {
			c->extra = (int64_t)f.v;
			continue;
		}
		CHECKF(f.number == 1, "field %u in a list", f.number);
		if (which <= 3) {
			got_numbers(a, &f, 0, list, n, &c->loose);
		} else if (which <= 5) {
			got_numbers(a, &f, which == 4 ? 4 : 8, list, n, &c->loose);
		} else {
			CHECK(f.wire == 2);
			got_push(a, list, n,
				 which == 8 ? got_array_row(a, f.p, f.n, c) : got_hex(a, f.p, f.n));
		}
	}
}

/* Dense bytes -> a text a row. */
static inline void got_slices(struct arena *a, const uint8_t *p, size_t n, size_t each, struct got_column *c)
{
	CHECKF(each && n % each == 0, "%zu bytes of vectors, %zu a row", n, each);
	for (size_t i = 0; i < n; i += each)
		got_push(a, &c->rows, &c->count, got_hex(a, p + i, each));
}

static inline void got_vectors(struct arena *a, const uint8_t *p, size_t size, struct got_column *c)
{
	const uint8_t *end = p + size, *start = p;
	const char **floats = NULL;
	size_t n = 0;
	struct got_field f;

	while (got_next(&p, end, &f)) {
		if (f.number == 1)
			c->dim = (int64_t)f.v;
	}
	for (p = start; got_next(&p, end, &f);) {
		if (f.number == 2) {
			got_list(a, 4, f.p, f.n, &floats, &n, c);
			CHECK(c->dim > 0 && n % (size_t)c->dim == 0);
			for (size_t i = 0; i < n; i += (size_t)c->dim) {
				AUTO_BUF struct buf text = {0};

				for (size_t k = 0; k < (size_t)c->dim; k++)
					buf_adds(&text, floats[i + k]);
				got_push(a, &c->rows, &c->count, arena_strndup(a, text.data, text.len));
			}
		} else if (f.number == 3) {
			got_slices(a, f.p, f.n, (size_t)c->dim / 8, c);
		} else if (f.number == 4 || f.number == 5) {
			got_slices(a, f.p, f.n, (size_t)c->dim * 2, c);
		} else if (f.number == 6) {
			got_list(a, 6, f.p, f.n, &c->rows, &c->count, c);
		}
	}
}

/* Nulls marked, those without a slot put in: a text a row again. */
static inline void got_nulls(struct arena *a, struct got_column *c, const char *const *valid, size_t n)
{
	const char **rows = NULL;
	size_t count = 0, at = 0;
	bool slots = c->count == n;

	c->nullable = n > 0;
	if (!n)
		return;
	for (size_t i = 0; i < n; i++) {
		bool ok = !STREQ(valid[i], "0");

		CHECKF(!(ok || slots) || at < c->count, "column %" PRId64 ": values run out", c->id);
		if (ok)
			got_push(a, &rows, &count, c->rows[at++]);
		else
			got_push(a, &rows, &count,
				 slots ? arena_printf(a, "null in slot %s", c->rows[at++]) : "null");
	}
	CHECKF(at == c->count, "column %" PRId64 ": %zu values, %zu used", c->id, c->count, at);
	c->rows = rows;
	c->count = count;
}

static inline void got_column(struct arena *a, const uint8_t *p, size_t size, struct got_column *c)
{
	const uint8_t *end = p + size;
	const char **valid = NULL;
	size_t n = 0;
	struct got_field f;

	while (got_next(&p, end, &f)) {
		const uint8_t *q = f.p;
		struct got_field list;

		switch (f.number) {
		case 1:
			c->type = (int)f.v;
			break;
		case 2:
			snprintf(c->name, sizeof(c->name), "%.*s", (int)f.n, (const char *)f.p);
			break;
		case 3:
			while (got_next(&q, f.p + f.n, &list))
				got_list(a, list.number, list.p, list.n, &c->rows, &c->count, c);
			break;
		case 4:
			got_vectors(a, f.p, f.n, c);
			break;
		case 5:
			c->id = (int64_t)f.v;
			break;
		case 6:
			c->dynamic = f.v;
			break;
		case 7:
			got_numbers(a, &f, 0, &valid, &n, &c->loose);
			break;
		default:
			CHECKF(0, "field %u in a column", f.number);
		}
	}
	got_nulls(a, c, valid, n);
}

static inline void got_base(const uint8_t *p, size_t size, struct got *g)
{
	const uint8_t *end = p + size;
	struct got_field f;

	while (got_next(&p, end, &f)) {
		if (f.number == 1)
			g->type = (int)f.v;
		else if (f.number == 2)
			g->msg_id = f.v;
		else if (f.number == 3)
			g->base_ts = f.v;
		else if (f.number == 4)
			g->source_id = (int64_t)f.v;
		else if (f.number == 7)
			g->replicated = f.n == 2 && f.p[0] == 8 && f.p[1] == 1;
	}
}

static inline void got_text(char *to, const struct got_field *f)
{
	CHECK(f->wire == 2 && f->n < 256);
	memcpy(to, f->p, f->n);
	to[f->n] = 0;
}

static inline void got_keys(struct arena *a, const struct got_field *ids, struct got *g)
{
	const uint8_t *p = ids->p;
	struct got_column c = {0};
	struct got_field f;

	while (got_next(&p, ids->p + ids->n, &f))
		got_list(a, f.number == 1 ? 3 : 6, f.p, f.n, &g->keys, &g->keys_n, &c);
	g->loose |= c.loose;
}

static inline void got_field(struct arena *a, struct got *g, const struct got_field *f)
{
	bool insert = g->type == 400;

	switch (f->number) {
	case 2:
		got_text(g->shard, f);
		break;
	case 3:
		got_text(g->db, f);
		break;
	case 4:
		got_text(g->name, f);
		break;
	case 5:
		got_text(g->part, f);
		break;
	case 6:
		g->db_id = true;
		break;
	case 7:
		g->collection = (int64_t)f->v;
		break;
	case 8:
		g->partition = (int64_t)f->v;
		break;
	case 9:
		g->segment = insert;
		if (!insert)
			got_numbers(a, f, 0, &g->keys, &g->keys_n, &g->loose);
		break;
	case 10:
		got_numbers(a, f, 0, &g->ts, &g->ts_n, &g->loose);
		break;
	case 11:
		if (insert)
			got_numbers(a, f, 0, &g->row_ids, &g->ids_n, &g->loose);
		else
			g->num_rows = f->v;
		break;
	case 12:
		if (!insert)
			got_keys(a, f, g);
		break;
	case 13:
		CHECK(insert && g->column_count < ARRAY_LEN(g->columns));
		got_column(a, f->p, f->n, &g->columns[g->column_count++]);
		break;
	case 14:
		g->num_rows = f->v;
		break;
	case 15:
		g->version = f->v;
		break;
	}
}

/* Reads a message; base must come first, as the target reads it to choose the decoder. */
static inline struct got *got_read(struct arena *a, const uint8_t *p, size_t size)
{
	struct got *g = arena_alloc(a, sizeof(*g));
	const uint8_t *end = p + size;
	struct got_field f;

	CHECK(got_next(&p, end, &f) && f.number == 1 && f.wire == 2);
	got_base(f.p, f.n, g);
	while (got_next(&p, end, &f))
		got_field(a, g, &f);
	return g;
}

/* What the target dies of if it is not so (target facts 3.6), and what every message of ours has. */
static inline struct got *got_out(struct arena *a, const struct out_message *m)
{
	struct got *g = got_read(a, m->body, m->size);
	size_t n = strlen(m->pchannel);

	CHECK_INT(g->type, m->is_delete ? 401 : 400);
	CHECK(g->num_rows > 0);
	CHECK_INT(g->num_rows, m->rows);
	CHECK_INT(g->ts_n, m->rows);
	CHECK_INT(m->is_delete ? g->keys_n : g->ids_n, m->rows);
	for (size_t i = 0; i < g->column_count; i++)
		CHECKF(g->columns[i].count == m->rows, "column %zu: %zu rows, want %u", i,
		       g->columns[i].count, m->rows);
	CHECK(strncmp(g->shard, m->pchannel, n) == 0 && g->shard[n] == '_');
	CHECK(g->replicated && !g->segment && !g->db_id);
	CHECK(m->msg_id != 0 && m->msg_id >> 63 == 0 && g->msg_id == m->msg_id);
	CHECK(g->base_ts == m->max_ts && m->min_ts <= m->max_ts);
	CHECK(m->is_delete || (g->version == 1 && g->column_count > 0));
	return g;
}

static inline const struct got_column *got_find(const struct got *g, int64_t id)
{
	for (size_t i = 0; i < g->column_count; i++) {
		if (g->columns[i].id == id)
			return &g->columns[i];
	}
	return NULL;
}

/* Rows [at, at + its rows) of out are those of the source message, column by column. */
static inline void got_same_rows(const struct got *out, size_t at, const struct got *in)
{
	CHECK_INT(out->column_count, in->column_count);
	for (size_t i = 0; i < in->column_count; i++) {
		const struct got_column *a = &in->columns[i], *b = got_find(out, a->id);

		CHECKF(b, "column %" PRId64 " is gone", a->id);
		CHECK(a->type == b->type && STREQ(a->name, b->name) && a->dynamic == b->dynamic &&
		      a->nullable == b->nullable && (a->dim == b->dim || a->type == 104));
		CHECK(at + a->count <= b->count);
		for (size_t r = 0; r < a->count; r++)
			CHECKF(STREQ(a->rows[r], b->rows[at + r]), "column %" PRId64 " row %zu: %s, want %s",
			       a->id, at + r, b->rows[at + r], a->rows[r]);
	}
	for (size_t r = 0; r < in->ids_n; r++)
		CHECK_STR(out->row_ids[at + r], in->row_ids[r]);
	for (size_t r = 0; r < in->keys_n; r++)
		CHECK_STR(out->keys[at + r], in->keys[r]);
}

/* The one message of the one entry. */
static inline struct got *got_only(struct kit *k)
{
	kit_run(k);
	CHECKF(k->result.refusal_count == 0, "%s", k->result.refusals[0].reason);
	CHECK_INT(k->result.message_count, 1);
	return got_out(k->arena, &k->result.messages[0]);
}

/* Exactly one refusal, no message; the reason has every one of the words. */
static inline void got_refused(struct kit *k, const char *a, const char *b, const char *c)
{
	const char *reason;

	kit_run(k);
	CHECKF(k->result.message_count == 0, "a message was made, want one without \"%s\"", a);
	CHECK_INT(k->result.refusal_count, 1);
	reason = k->result.refusals[0].reason;
	CHECKF(strstr(reason, a) && strstr(reason, b) && strstr(reason, c),
	       "\"%s\" lacks one of \"%s\", \"%s\", \"%s\"", reason, a, b, c);
}

#endif
