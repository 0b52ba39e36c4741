/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups -> bytes: the message head with the target's names and IDs, and the columns, copied raw
 * or joined column by column. Invariants: numbers are written as one packed chunk; fields in the
 * order of their numbers; writing without a buffer counts exactly what writing with one writes.
 * Pure, one thread.
 */
#include "rewrite_priv.h"

void ink_repeated(struct ink *k, const struct repeated *r)
{
	struct pb_reader in = pb_reader(r->in.data, r->in.size);
	struct pb_field f;

	if (r->all || !k->p) {
		ink_bytes(k, r->all, r->payload);
		return;
	}
	while (pb_next(&in, &f) == 1) {
		const uint8_t *p = f.raw;

		if (f.number != r->number)
			continue;
		if (r->width == REPEATED_BYTES) {
			ink_bytes(k, f.raw, f.raw_size);
		} else if (f.type == PB_BYTES) {
			ink_bytes(k, f.data, f.size);
		} else {
			while (*p++ & 0x80) /* over the tag */
				;
			ink_bytes(k, p, (size_t)(f.raw + f.raw_size - p));
		}
	}
}

/* Sizes of one column of a group, from the inside out. */
struct column_size {
	size_t payload; /* the elements of all parts */
	size_t list;    /* the message around them; of plain bytes the same as payload */
	size_t holder;  /* ScalarField or VectorField */
	size_t valid;   /* validity flags of all parts */
	size_t whole;   /* FieldData */
};

static bool is_nested(const struct column *c)
{
	return c->type->width != 1;
}

static struct column_size column_size(const struct group *g, size_t i)
{
	const struct column *c = &g->first->columns[i];
	struct column_size s = {0};

	for (const struct part *p = g->first; p; p = p->next) {
		s.payload += p->columns[i].values.payload;
		s.valid += p->columns[i].valid.payload;
	}
	s.list = s.payload;
	if (is_nested(c)) {
		s.list = c->type->width == REPEATED_BYTES ? s.payload : size_field(1, s.payload);
		s.list += c->extra ? size_number(2, (uint64_t)c->extra) : 0;
	}
	s.holder = size_field(c->type->array, s.list);
	s.holder += c->dim ? size_number(1, (uint64_t)c->dim) : 0;
	s.whole = size_number(FD_TYPE, (uint64_t)c->type->type) + size_field(c->type->holder, s.holder) +
		  size_number(FD_ID, (uint64_t)c->field_id);
	s.whole += c->name.size ? size_field(FD_NAME, c->name.size) : 0;
	s.whole += c->dynamic ? size_number(FD_DYNAMIC, 1) : 0;
	s.whole += s.valid ? size_field(FD_VALID, s.valid) : 0;
	return s;
}

/* Column i of all parts as one column. */
static void write_column(struct ink *k, const struct group *g, size_t i)
{
	const struct column *c = &g->first->columns[i];
	struct column_size s = column_size(g, i);
	const struct part *p;

	ink_open(k, INS_COLUMNS, s.whole);
	ink_number(k, FD_TYPE, (uint64_t)c->type->type);
	if (c->name.size) {
		ink_open(k, FD_NAME, c->name.size);
		ink_bytes(k, c->name.data, c->name.size);
	}
	ink_open(k, c->type->holder, s.holder);
	if (c->dim)
		ink_number(k, 1, (uint64_t)c->dim);
	ink_open(k, c->type->array, s.list);
	if (is_nested(c) && c->type->width != REPEATED_BYTES)
		ink_open(k, 1, s.payload);
	for (p = g->first; p; p = p->next)
		ink_repeated(k, &p->columns[i].values);
	if (is_nested(c) && c->extra)
		ink_number(k, 2, (uint64_t)c->extra);
	ink_number(k, FD_ID, (uint64_t)c->field_id);
	if (c->dynamic)
		ink_number(k, FD_DYNAMIC, 1);
	if (s.valid) {
		ink_open(k, FD_VALID, s.valid);
		for (p = g->first; p; p = p->next)
			ink_repeated(k, &p->columns[i].valid);
	}
}

/* A column that is already as it would be written. */
static bool is_packed(const struct column *c)
{
	return (c->values.all || !c->values.pieces || c->type->width == REPEATED_BYTES) &&
	       (c->valid.all || !c->valid.pieces);
}

static void write_columns(struct ink *k, const struct group *g)
{
	for (size_t i = 0; i < g->first->column_count; i++) {
		const struct column *c = &g->first->columns[i];

		if (g->parts == 1 && is_packed(c))
			ink_bytes(k, c->raw.data, c->raw.size);
		else
			write_column(k, g, i);
	}
}

static void write_timestamps(struct ink *k, const struct group *g)
{
	const struct part *p;
	size_t n = 0;

	for (p = g->first; p; p = p->next)
		n += p->restamped ? p->rows * size_varint(p->out) : p->timestamps.payload;
	ink_open(k, F_TIMESTAMPS, n);
	for (p = g->first; p; p = p->next) {
		if (!p->restamped) {
			ink_repeated(k, &p->timestamps);
		} else if (!k->p) {
			k->n += p->rows * size_varint(p->out);
		} else {
			for (uint32_t i = 0; i < p->rows; i++)
				ink_varint(k, p->out);
		}
	}
}

static void write_base(struct ink *k, const struct group *g)
{
	const struct part *p = g->first;
	bool insert = p->entry->kind == KIND_INSERT;
	struct ink base = {0};
	uint8_t tmp[64];
	cdc_ts ts = 0;

	for (const struct part *q = p; q; q = q->next)
		ts = q->max_ts > ts ? q->max_ts : ts;
	base.p = tmp;
	ink_number(&base, 1, insert ? MSG_INSERT : MSG_DELETE);
	ink_number(&base, 2, rewrite_group_id(g));
	ink_number(&base, 3, ts);
	ink_number(&base, 4, (uint64_t)p->source_id);
	ink_open(&base, 7, 2); /* replicateInfo: isReplicate */
	ink_number(&base, 1, 1);
	ink_open(k, F_BASE, base.n);
	ink_bytes(k, tmp, base.n);
}

static void write_head(struct ink *k, const struct part *p)
{
	ink_string(k, F_SHARD, p->channel->target_vchannel);
	ink_string(k, F_DB, p->collection->db);
	ink_string(k, F_COLLECTION, p->collection->name);
	ink_string(k, F_PARTITION, p->partition ? p->partition->name : NULL);
	ink_number(k, F_COLLECTION_ID, (uint64_t)p->collection->target_id);
	ink_number(k, F_PARTITION_ID, (uint64_t)(p->partition ? p->partition->target_id : PARTITION_ALL));
}

static void write_keys(struct ink *k, const struct part *p)
{
	size_t list = p->key_kind == 2 ? p->keys.payload : size_field(1, p->keys.payload);

	ink_open(k, DEL_KEYS, size_field(p->key_kind, list));
	ink_open(k, p->key_kind, list);
	if (p->key_kind == 1)
		ink_open(k, 1, p->keys.payload);
	ink_repeated(k, &p->keys);
}

void write_message(struct ink *k, const struct group *g)
{
	const struct part *first = g->first;

	write_base(k, g);
	write_head(k, first);
	if (first->entry->kind == KIND_DELETE && first->key_kind == DEL_INT64_KEYS) {
		ink_open(k, DEL_INT64_KEYS, first->keys.payload);
		ink_repeated(k, &first->keys);
	}
	write_timestamps(k, g);
	if (first->entry->kind == KIND_DELETE) {
		ink_number(k, DEL_NUM_ROWS, g->rows);
		if (first->key_kind != DEL_INT64_KEYS)
			write_keys(k, first);
		return;
	}
	size_t n = 0;

	for (const struct part *p = first; p; p = p->next)
		n += p->row_ids.payload;
	ink_open(k, INS_ROW_IDS, n);
	for (const struct part *p = first; p; p = p->next)
		ink_repeated(k, &p->row_ids);
	write_columns(k, g);
	ink_number(k, INS_NUM_ROWS, g->rows);
	ink_number(k, INS_VERSION, 1);
}
