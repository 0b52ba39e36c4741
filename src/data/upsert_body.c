/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests -> bytes. A column is written from the pieces of all its entries, whole lists at once where no
 * row is left out. Of columns that can be null only the valid values are written: that is what a request
 * has to look like, other than the message in the log, which may have a slot for each null. Field IDs are
 * left out, the target goes by names. Pure, any thread.
 */
#include "upsert_priv.h"

#include <inttypes.h>

/* milvus.proto: UpsertRequest and DeleteRequest */
enum { R_DB = 2, R_COLLECTION = 3, R_PARTITION = 4, R_COLUMNS = 5, R_EXPR = 5, R_NUM_ROWS = 7 };

struct elements elements_of(const struct repeated *r, size_t width)
{
	return (struct elements){r->all, r->all ? r->all + r->payload : r->all, width};
}

struct pb_bytes elements_next(struct elements *e)
{
	const uint8_t *start = e->p;
	struct pb_reader in = {e->p, e->end};
	struct pb_field f;

	if (e->width == REPEATED_BYTES) {
		if (pb_next(&in, &f) == 1)
			e->p = in.p;
	} else if (e->width) {
		e->p += e->width;
	} else {
		while (e->p < e->end && *e->p++ & 0x80)
			;
	}
	return (struct pb_bytes){start, (size_t)(e->p - start)};
}

/* Bytes of one value as elements_of() takes them: of dense vectors all of its dimensions. */
static size_t value_width(const struct column *c)
{
	if (c->type->bits)
		return (size_t)c->dim * c->type->bits / 8;
	return c->type->width;
}

static bool is_whole(const struct upsert_piece *p)
{
	return p->rows == p->from->part.rows;
}

static bool has_nulls(const struct column *c)
{
	return c->form == FORM_SLOTS || c->form == FORM_COMPACT;
}

static bool next_flag(struct elements *flags)
{
	struct pb_bytes b = elements_next(flags);
	struct pb_reader in = pb_reader(b.data, b.size);
	uint64_t v = 0;

	return pb_next_varint(&in, &v) == 1 && v;
}

/* Row by row, for elements of different sizes and for nulls. */
static void ink_walk(struct ink *k, const struct column *c, const struct upsert_piece *p)
{
	struct elements values = elements_of(&c->values, value_width(c)), flags = elements_of(&c->valid, 0);
	size_t run = 0;

	for (uint32_t row = 0; run < p->run_count; row++) {
		bool valid = !c->valid.count || next_flag(&flags);
		struct pb_bytes v = {0};

		if (valid || c->form == FORM_SLOTS)
			v = elements_next(&values);
		if (row < p->runs[run].first)
			continue;
		if (valid)
			ink_bytes(k, v.data, v.size);
		if (row + 1 == p->runs[run].first + p->runs[run].count)
			run++;
	}
}

static void ink_values(struct ink *k, const struct column *c, const struct upsert_piece *p)
{
	size_t width = value_width(c);

	if (is_whole(p) && c->form != FORM_SLOTS) {
		ink_bytes(k, c->values.all, c->values.payload);
		return;
	}
	if (!width || width == REPEATED_BYTES || has_nulls(c)) {
		ink_walk(k, c, p);
		return;
	}
	for (size_t i = 0; i < p->run_count; i++)
		ink_bytes(k, c->values.all + p->runs[i].first * width, p->runs[i].count * width);
}

static void ink_valid(struct ink *k, const struct column *c, const struct upsert_piece *p)
{
	struct elements flags = elements_of(&c->valid, 0);
	size_t run = 0;

	if (!c->valid.count)
		return;
	for (uint32_t row = 0; run < p->run_count; row++) {
		struct pb_bytes flag = elements_next(&flags);

		if (row < p->runs[run].first)
			continue;
		ink_bytes(k, flag.data, flag.size);
		if (row + 1 == p->runs[run].first + p->runs[run].count)
			run++;
	}
}

/* Sizes of one column of a request, from the inside out. */
struct column_size {
	size_t payload, list, holder, valid, whole;
};

static struct column_size column_size(const struct upsert_request *r, size_t i)
{
	const struct column *c = &r->first->from->part.columns[i];
	struct ink payload = {0}, valid = {0};
	struct column_size s = {0};

	for (const struct upsert_piece *p = r->first; p; p = p->next) {
		ink_values(&payload, &p->from->part.columns[i], p);
		ink_valid(&valid, &p->from->part.columns[i], p);
	}
	s.payload = s.list = payload.n;
	s.valid = valid.n;
	if (c->type->width != 1) {
		s.list = c->type->width == REPEATED_BYTES ? s.payload : size_field(1, s.payload);
		s.list += c->extra ? size_number(2, (uint64_t)c->extra) : 0;
	}
	s.holder = size_field(c->type->array, s.list);
	s.holder += c->dim ? size_number(1, (uint64_t)c->dim) : 0;
	s.whole = size_number(FD_TYPE, (uint64_t)c->type->type) + size_field(c->type->holder, s.holder);
	s.whole += c->name.size ? size_field(FD_NAME, c->name.size) : 0;
	s.whole += c->dynamic ? size_number(FD_DYNAMIC, 1) : 0;
	s.whole += s.valid ? size_field(FD_VALID, s.valid) : 0;
	return s;
}

static void write_column(struct buf *b, const struct upsert_request *r, size_t i)
{
	const struct column *c = &r->first->from->part.columns[i];
	struct column_size s = column_size(r, i);
	size_t all = size_field(R_COLUMNS, s.whole);
	const struct upsert_piece *p;
	struct ink k;

	buf_reserve(b, all);
	k = (struct ink){b->data + b->len, 0};
	ink_open(&k, R_COLUMNS, s.whole);
	ink_number(&k, FD_TYPE, (uint64_t)c->type->type);
	if (c->name.size) {
		ink_open(&k, FD_NAME, c->name.size);
		ink_bytes(&k, c->name.data, c->name.size);
	}
	ink_open(&k, c->type->holder, s.holder);
	if (c->dim)
		ink_number(&k, 1, (uint64_t)c->dim);
	ink_open(&k, c->type->array, s.list);
	if (c->type->width != 1 && c->type->width != REPEATED_BYTES)
		ink_open(&k, 1, s.payload);
	for (p = r->first; p; p = p->next)
		ink_values(&k, &p->from->part.columns[i], p);
	if (c->type->width != 1 && c->extra)
		ink_number(&k, 2, (uint64_t)c->extra);
	if (c->dynamic)
		ink_number(&k, FD_DYNAMIC, 1);
	if (s.valid) {
		ink_open(&k, FD_VALID, s.valid);
		for (p = r->first; p; p = p->next)
			ink_valid(&k, &p->from->part.columns[i], p);
	}
	b->len += k.n;
}

/* --- deletes ------------------------------------------------------------------------------------- */

/* A string as an expression has it; what is not printed is written in octal. */
static void put_text(struct buf *b, const uint8_t *s, size_t n)
{
	buf_addc(b, '"');
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '"' || s[i] == '\\') {
			buf_addc(b, '\\');
			buf_addc(b, s[i]);
		} else if (s[i] < 0x20 || s[i] == 0x7f) {
			buf_addf(b, "\\%03o", s[i]);
		} else {
			buf_addc(b, s[i]);
		}
	}
	buf_addc(b, '"');
}

static void put_key(struct buf *b, const struct upsert_row *row)
{
	if (row->text)
		put_text(b, row->text, row->number);
	else if ((int64_t)row->number == INT64_MIN) /* the expression's parser has no literal for it */
		buf_adds(b, "-9223372036854775807 - 1");
	else
		buf_addf(b, "%" PRId64, (int64_t)row->number);
}

static void write_expr(struct buf *b, const struct upsert_request *r)
{
	AUTO_BUF struct buf expr = {0};
	const char *comma = "";

	buf_addf(&expr, "%s in [", r->schema->key);
	for (const struct upsert_piece *p = r->first; p; p = p->next)
		for (size_t i = 0; i < p->run_count; i++)
			for (uint32_t k = 0; k < p->runs[i].count; k++) {
				buf_adds(&expr, comma);
				put_key(&expr, &p->from->rows[p->runs[i].first + k]);
				comma = ",";
			}
	buf_addc(&expr, ']');
	pb_put_bytes(b, R_EXPR, expr.data, expr.len);
}

void upsert_write(const struct upsert_request *r, struct buf *b)
{
	const struct target_collection *c = r->schema->collection;

	pb_put_string(b, R_DB, c->db && *c->db ? c->db : "default");
	pb_put_string(b, R_COLLECTION, c->name);
	if (r->partition)
		pb_put_string(b, R_PARTITION, r->partition->name);
	if (r->is_delete) {
		write_expr(b, r);
		return;
	}
	for (size_t i = 0; i < r->first->from->part.column_count; i++)
		write_column(b, r, i);
	pb_put_uint(b, R_NUM_ROWS, r->rows);
}
