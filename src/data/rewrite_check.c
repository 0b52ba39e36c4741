/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Body -> part: finds what a message consists of, without decoding rows, and refuses whatever the
 * target would take and die of. One wrong count in a message that the target accepted makes it exit
 * at every start, so doubt is a refusal: unknown types, unknown fields inside a column, a column
 * twice. Unknown fields beside the columns are left out, as the target would. Pure, any thread.
 */
#include "rewrite_priv.h"

#include <inttypes.h>
#include <stdio.h>

#define DIM_MAX (1 << 20)
#define FIELD_ID_MIN 100 /* below: RowID and Timestamp, which travel beside the columns */
#define TYPE_ARRAY 22
#define TYPE_SPARSE 104

static const struct column_type types[] = {
	{1, "Bool", FD_SCALARS, 1, 0, 0},
	{2, "Int8", FD_SCALARS, 2, 0, 0},
	{3, "Int16", FD_SCALARS, 2, 0, 0},
	{4, "Int32", FD_SCALARS, 2, 0, 0},
	{5, "Int64", FD_SCALARS, 3, 0, 0},
	{10, "Float", FD_SCALARS, 4, 4, 0},
	{11, "Double", FD_SCALARS, 5, 8, 0},
	{20, "String", FD_SCALARS, 6, REPEATED_BYTES, 0},
	{21, "VarChar", FD_SCALARS, 6, REPEATED_BYTES, 0},
	{TYPE_ARRAY, "Array", FD_SCALARS, 8, REPEATED_BYTES, 0},
	{23, "JSON", FD_SCALARS, 9, REPEATED_BYTES, 0},
	{100, "BinaryVector", FD_VECTORS, 3, 1, 1},
	{101, "FloatVector", FD_VECTORS, 2, 4, 32},
	{102, "Float16Vector", FD_VECTORS, 4, 1, 16},
	{103, "BFloat16Vector", FD_VECTORS, 5, 1, 16},
	{TYPE_SPARSE, "SparseFloatVector", FD_VECTORS, 6, REPEATED_BYTES, 0},
};

const struct column_type *column_type_find(int64_t type)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (types[i].type == type)
			return &types[i];
	}
	return NULL;
}

/* err_set without a code: the reason of a refusal. */
#define REFUSE(err, ...) (err_set((err), ERR_INTERNAL, __VA_ARGS__), -1)

/* A name from the message, fit for people: short and printable. */
struct label {
	char text[160];
};

static struct label column_label(const struct column *c)
{
	char name[64];
	size_t n = c->name.size < sizeof(name) - 1 ? c->name.size : sizeof(name) - 1;
	struct label l;

	for (size_t i = 0; i < n; i++)
		name[i] = c->name.data[i] >= 0x20 && c->name.data[i] < 0x7f ? (char)c->name.data[i] : '?';
	name[n] = 0;
	snprintf(l.text, sizeof(l.text), "column \"%s\" (field %" PRId64 "%s%s)", name, c->field_id,
		 c->type ? ", " : "", c->type ? c->type->name : "");
	return l;
}

/* Packed varints: how many, -1 malformed. Stricter than pb.h: more than 64 bits is an error to the target. */
static int64_t count_varints(const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	int64_t count = 0;

	while (p < end) {
		const uint8_t *start = p;

		while (*p & 0x80) {
			if (++p == end || p - start > 9)
				return -1;
		}
		if (p - start == 9 && *p > 1)
			return -1;
		p++;
		count++;
	}
	return count;
}

static int repeated_piece(struct repeated *r, const uint8_t *p, size_t n, uint64_t count)
{
	if (n) {
		if (!r->pieces)
			r->all = p;
		else if (!r->all || r->all + r->payload != p)
			r->all = NULL;
		r->pieces++;
	}
	r->payload += n;
	r->count += count;
	return 0;
}

int repeated_add(struct repeated *r, const struct pb_field *f)
{
	static const enum pb_type single[] = {[0] = PB_VARINT, [4] = PB_FIXED32, [8] = PB_FIXED64};

	if (r->width == REPEATED_BYTES)
		return f->type == PB_BYTES ? repeated_piece(r, f->raw, f->raw_size, 1) : -1;
	if (r->width == 1) { /* plain bytes are one value: a second one would replace it */
		if (f->type != PB_BYTES || r->count)
			return -1;
		return repeated_piece(r, f->data, f->size, f->size);
	}
	if (f->type == PB_BYTES) {
		int64_t n = r->width ? (int64_t)(f->size / r->width) : count_varints(f->data, f->size);

		if (n < 0 || (r->width && f->size % r->width))
			return -1;
		return repeated_piece(r, f->data, f->size, (uint64_t)n);
	}
	if (f->type != single[r->width])
		return -1;
	const uint8_t *p = f->raw;

	while (*p++ & 0x80) /* over the tag */
		;
	size_t n = (size_t)(f->raw + f->raw_size - p);

	if (!r->width && count_varints(p, n) != 1)
		return -1;
	return repeated_piece(r, p, n, 1);
}

void repeated_stats(const struct repeated *r, struct varint_stats *ret)
{
	struct varint_stats s = {.min = UINT64_MAX};
	struct pb_bytes where = r->all ? (struct pb_bytes){r->all, r->payload} : r->in;
	struct pb_reader in = pb_reader(where.data, where.size), values;
	struct pb_field f;
	uint64_t v;

	while (r->all ? in.p < in.end : pb_next(&in, &f) == 1) {
		if (r->all) {
			values = in;
			in.p = in.end;
		} else if (f.number != r->number) {
			continue;
		} else if (f.type == PB_BYTES) {
			values = pb_reader(f.data, f.size);
		} else {
			s.min = f.value < s.min ? f.value : s.min;
			s.max = f.value > s.max ? f.value : s.max;
			s.nonzero += f.value != 0;
			continue;
		}
		while (pb_next_varint(&values, &v) == 1) {
			s.min = v < s.min ? v : s.min;
			s.max = v > s.max ? v : s.max;
			s.nonzero += v != 0;
		}
	}
	*ret = s;
}

static struct repeated repeated_in(const uint8_t *p, size_t n, uint32_t number, uint32_t width)
{
	return (struct repeated){.in = {p, n}, .number = number, .width = width};
}

/*
 * The message around elements: field 1 repeated, field 2 a number (element type, dim) where the
 * type has one. extra NULL: it has none.
 */
static int check_list(struct repeated *r, struct pb_bytes body, int64_t *extra)
{
	struct pb_reader in = pb_reader(body.data, body.size);
	struct pb_field f;
	int rc;

	*r = repeated_in(body.data, body.size, 1, r->width);
	while ((rc = pb_next(&in, &f)) == 1) {
		if (f.number == 1 && repeated_add(r, &f) == 0)
			continue;
		if (f.number != 2 || !extra || f.type != PB_VARINT)
			return -1;
		*extra = (int64_t)f.value;
	}
	return rc;
}

/* Every row of an array column is a ScalarField: empty, or one list of the same kind in all rows. */
static int check_array_rows(struct column *c, struct err *err)
{
	/* of the elements of ScalarField's lists, by field number; arrays hold no arrays */
	static const uint32_t widths[] = {
		[4] = 4, [5] = 8, [6] = REPEATED_BYTES, [7] = REPEATED_BYTES, [9] = REPEATED_BYTES};
	const struct column_type *element = column_type_find(c->extra);
	struct pb_reader in = pb_reader(c->values.in.data, c->values.in.size), row;
	struct pb_field f, list;
	uint64_t n = 0;
	int rc;

	if (c->extra && (!element || element->holder != FD_SCALARS || element->type == TYPE_ARRAY))
		return REFUSE(err, "%s: element type %" PRId64 " is not known", column_label(c).text,
			      c->extra);
	c->inner = element ? element->array : 0;
	while (pb_next(&in, &f) == 1) {
		if (f.number != 1)
			continue;
		row = pb_reader(f.data, f.size);
		while ((rc = pb_next(&row, &list)) == 1) {
			struct repeated values = {0};

			if (list.type != PB_BYTES || list.raw != f.data || list.number < 1 ||
			    list.number > 9 || list.number == 8 || (c->inner && list.number != c->inner))
				return REFUSE(err,
					      "%s: row %" PRIu64 " holds field %u, want one list of field %u",
					      column_label(c).text, n, list.number, c->inner);
			c->inner = list.number;
			values.width = widths[list.number];
			if (check_list(&values, (struct pb_bytes){list.data, list.size}, NULL) < 0)
				return REFUSE(err, "%s: row %" PRIu64 " is malformed", column_label(c).text,
					      n);
		}
		if (rc < 0)
			return REFUSE(err, "%s: row %" PRIu64 " is malformed", column_label(c).text, n);
		n++;
	}
	return 0;
}

static int check_sparse_rows(const struct column *c, struct err *err)
{
	struct pb_reader in = pb_reader(c->values.in.data, c->values.in.size);
	struct pb_field f;
	uint64_t n = 0;

	while (pb_next(&in, &f) == 1) {
		if (f.number != 1)
			continue;
		if (f.size % 8) /* pairs of a 32-bit index and a 32-bit float */
			return REFUSE(err, "%s: row %" PRIu64 " has %zu bytes, want a multiple of 8",
				      column_label(c).text, n, f.size);
		n++;
	}
	return 0;
}

/* ScalarField or VectorField: exactly the one list that the type asks for. */
static int check_holder(struct column *c, struct pb_bytes body, struct err *err)
{
	struct pb_reader in = pb_reader(body.data, body.size);
	struct pb_field f;
	bool with_extra = c->type->type == TYPE_ARRAY || c->type->type == TYPE_SPARSE, seen = false;
	int rc, ok;

	c->values = repeated_in(body.data, body.size, c->type->array, c->type->width);
	while ((rc = pb_next(&in, &f)) == 1) {
		if (c->type->holder == FD_VECTORS && f.number == 1 && f.type == PB_VARINT) {
			c->dim = (int64_t)f.value;
			continue;
		}
		if (f.number != c->type->array || f.type != PB_BYTES || seen)
			return REFUSE(err, "%s: holds field %u, want one list in field %u",
				      column_label(c).text, f.number, c->type->array);
		seen = true;
		if (c->type->width == 1)
			ok = repeated_add(&c->values, &f);
		else
			ok = check_list(&c->values, (struct pb_bytes){f.data, f.size},
					with_extra ? &c->extra : NULL);
		if (ok < 0)
			return REFUSE(err, "%s: its values are malformed", column_label(c).text);
	}
	if (rc < 0)
		return REFUSE(err, "%s: its values are malformed", column_label(c).text);
	if (c->type->type == TYPE_ARRAY)
		return check_array_rows(c, err);
	if (c->type->type == TYPE_SPARSE)
		return check_sparse_rows(c, err);
	return 0;
}

/* The rows that the values are good for. */
static int column_rows(const struct column *c, uint64_t *ret, struct err *err)
{
	uint64_t bits;

	if (!c->type->bits) {
		*ret = c->values.count;
		return 0;
	}
	if (c->dim < 1 || c->dim > DIM_MAX || (c->type->bits == 1 && c->dim % 8))
		return REFUSE(err, "%s: dimension %" PRId64 " is not possible", column_label(c).text, c->dim);
	bits = (uint64_t)c->dim * c->type->bits;
	if (c->values.payload * 8 % bits)
		return REFUSE(err, "%s: %zu bytes of vectors are no multiple of dimension %" PRId64,
			      column_label(c).text, c->values.payload, c->dim);
	*ret = c->values.payload * 8 / bits;
	return 0;
}

static int check_counts(struct column *c, uint64_t rows, struct err *err)
{
	struct varint_stats valid = {0};
	uint64_t n;

	if (column_rows(c, &n, err) < 0)
		return -1;
	c->form = FORM_NOT_NULLABLE;
	if (c->valid.count) {
		if (c->valid.count != rows)
			return REFUSE(err, "%s: %" PRIu64 " validity flags, want %" PRIu64,
				      column_label(c).text, c->valid.count, rows);
		repeated_stats(&c->valid, &valid);
		c->form = valid.nonzero == rows ? FORM_NO_NULLS : n == rows ? FORM_SLOTS : FORM_COMPACT;
		if (c->form == FORM_COMPACT && n != valid.nonzero)
			return REFUSE(err,
				      "%s: %" PRIu64 " values, want %" PRIu64 " rows or %" PRIu64
				      " valid ones",
				      column_label(c).text, n, rows, valid.nonzero);
	}
	if (c->form != FORM_COMPACT && n != rows)
		return REFUSE(err, "%s: %" PRIu64 " values, want %" PRIu64, column_label(c).text, n, rows);
	return 0;
}

/* One FieldData: first everything but the values, whose reading depends on the type. */
static int check_column(struct column *c, const struct pb_field *column, uint64_t rows, struct err *err)
{
	struct pb_reader in = pb_reader(column->data, column->size);
	struct pb_bytes holder[2] = {{0}};
	struct pb_field f;
	int64_t type = 0;
	int rc;

	c->raw = (struct pb_bytes){column->raw, column->raw_size};
	c->valid = repeated_in(column->data, column->size, FD_VALID, 0);
	while ((rc = pb_next(&in, &f)) == 1) {
		if (f.number == FD_TYPE && f.type == PB_VARINT) {
			type = (int64_t)f.value;
		} else if (f.number == FD_ID && f.type == PB_VARINT) {
			c->field_id = (int64_t)f.value;
		} else if (f.number == FD_DYNAMIC && f.type == PB_VARINT) {
			c->dynamic = f.value != 0;
		} else if (f.number == FD_NAME && f.type == PB_BYTES) {
			c->name = (struct pb_bytes){f.data, f.size};
		} else if (f.number == FD_VALID && repeated_add(&c->valid, &f) == 0) {
			continue;
		} else if ((f.number == FD_SCALARS || f.number == FD_VECTORS) && f.type == PB_BYTES &&
			   !holder[0].data && !holder[1].data) {
			holder[f.number - FD_SCALARS] = (struct pb_bytes){f.data, f.size};
		} else {
			return REFUSE(err, "%s: field %u (wire type %d) cannot be understood",
				      column_label(c).text, f.number, (int)f.type);
		}
	}
	if (rc < 0)
		return REFUSE(err, "%s: is malformed", column_label(c).text);
	c->type = column_type_find(type);
	if (!c->type)
		return REFUSE(err, "%s: data type %" PRId64 " is not known to this program",
			      column_label(c).text, type);
	if (c->field_id < FIELD_ID_MIN)
		return REFUSE(err, "%s: has no field ID of a user's field", column_label(c).text);
	if (!holder[c->type->holder - FD_SCALARS].data)
		return REFUSE(err, "%s: has no values", column_label(c).text);
	if (check_holder(c, holder[c->type->holder - FD_SCALARS], err) < 0)
		return -1;
	return check_counts(c, rows, err);
}

static int check_columns(struct part *part, struct err *err)
{
	struct pb_reader in = pb_reader(part->entry->body, part->entry->size);
	struct pb_field f;
	size_t n = 0;

	while (pb_next(&in, &f) == 1) {
		if (f.number != INS_COLUMNS)
			continue;
		struct column *c = &part->columns[n++];

		if (check_column(c, &f, part->rows, err) < 0)
			return -1;
		for (struct column *d = part->columns; d < c; d++) {
			if (d->field_id == c->field_id)
				return REFUSE(err, "%s: comes twice", column_label(c).text);
		}
	}
	return 0;
}

static int check_base(struct part *part, const struct pb_field *base, struct err *err)
{
	int64_t want = part->entry->kind == KIND_INSERT ? MSG_INSERT : MSG_DELETE, type = 0;
	struct pb_reader in = pb_reader(base->data, base->size);
	struct pb_field f;
	int rc;

	while ((rc = pb_next(&in, &f)) == 1) {
		if (f.number <= 4 && f.type != PB_VARINT)
			return REFUSE(err, "base: field %u has wire type %d", f.number, (int)f.type);
		if (f.number == 1)
			type = (int64_t)f.value;
		else if (f.number == 2)
			part->source_msg_id = f.value;
		else if (f.number == 4)
			part->source_id = (int64_t)f.value;
	}
	if (rc < 0)
		return REFUSE(err, "base: is malformed");
	if (type != want)
		return REFUSE(err, "base: message type %" PRId64 ", want %" PRId64, type, want);
	return 0;
}

/* The message must be about what the journal's row says it is about. */
static int check_identity(const struct entry *e, struct pb_bytes shard, int64_t collection, int64_t partition,
			  struct err *err)
{
	if (collection != e->collection_id || partition != e->partition_id)
		return REFUSE(err,
			      "collection %" PRId64 " partition %" PRId64 ", want %" PRId64 " and %" PRId64,
			      collection, partition, e->collection_id, e->partition_id);
	if (shard.size != strlen(e->vchannel) || memcmp(shard.data, e->vchannel, shard.size) != 0)
		return REFUSE(err, "shardName is not the vchannel %s of the journal's row", e->vchannel);
	return 0;
}

static int check_timestamps(struct part *part, struct err *err)
{
	struct varint_stats s;

	if (part->rows == 0)
		return REFUSE(err, "num_rows: is 0");
	if (part->timestamps.count != part->rows)
		return REFUSE(err, "timestamps: %" PRIu64 " values, want %u", part->timestamps.count,
			      part->rows);
	repeated_stats(&part->timestamps, &s);
	if (s.min == 0 || s.max != part->entry->ts)
		return REFUSE(err, "timestamps: %" PRIu64 " to %" PRIu64 ", want up to %" PRIu64, s.min,
			      s.max, part->entry->ts);
	part->restamped = part->out != part->entry->ts;
	part->min_ts = part->restamped ? part->out : s.min;
	part->max_ts = part->out;
	return 0;
}

/* What the walk over the top level finds beside the part itself. */
struct top {
	struct pb_bytes shard, keys;
	int64_t collection, partition;
	uint64_t rows, version;
	struct repeated int64_keys;
	bool base;
};

/* One top-level field. -1: not of the type it must have. */
static int check_field(struct part *part, struct top *top, const struct pb_field *f)
{
	bool insert = part->entry->kind == KIND_INSERT;

	switch (f->number) {
	case F_SHARD:
		top->shard = (struct pb_bytes){f->data, f->size};
		return f->type == PB_BYTES ? 0 : -1;
	case F_COLLECTION_ID:
		top->collection = (int64_t)f->value;
		return f->type == PB_VARINT ? 0 : -1;
	case F_PARTITION_ID:
		top->partition = (int64_t)f->value;
		return f->type == PB_VARINT ? 0 : -1;
	case F_TIMESTAMPS:
		return repeated_add(&part->timestamps, f);
	}
	if (insert && f->number == INS_ROW_IDS)
		return repeated_add(&part->row_ids, f);
	if (insert && f->number == INS_COLUMNS) {
		part->column_count++;
		return f->type == PB_BYTES ? 0 : -1;
	}
	if (insert && f->number == INS_VERSION) {
		top->version = f->value;
		return f->type == PB_VARINT ? 0 : -1;
	}
	if (f->number == (insert ? INS_NUM_ROWS : DEL_NUM_ROWS)) {
		top->rows = f->value;
		return f->type == PB_VARINT ? 0 : -1;
	}
	if (!insert && f->number == DEL_INT64_KEYS)
		return repeated_add(&top->int64_keys, f);
	if (!insert && f->number == DEL_KEYS) {
		if (f->type != PB_BYTES || top->keys.data)
			return -1;
		top->keys = (struct pb_bytes){f->data, f->size};
	}
	return 0;
}

static int check_insert(struct part *part, const struct top *top, struct arena *arena, struct err *err)
{
	if (top->version != 1)
		return REFUSE(err, "version: %" PRIu64 ", want 1: rows stored by row cannot be carried over",
			      top->version);
	if (part->row_ids.count != part->rows)
		return REFUSE(err, "rowIDs: %" PRIu64 " values, want %u", part->row_ids.count, part->rows);
	if (part->column_count == 0 || part->column_count > COLUMNS_MAX)
		return REFUSE(err, "fields_data: %zu columns, want 1 to %d", part->column_count, COLUMNS_MAX);
	part->columns = arena_alloc(arena, part->column_count * sizeof(*part->columns));
	return check_columns(part, err);
}

/* schema.IDs: one list, of numbers or of strings. */
static int check_keys(struct part *part, struct pb_bytes ids, struct err *err)
{
	struct pb_reader in = pb_reader(ids.data, ids.size);
	struct pb_field f;
	int rc;

	part->key_kind = 0;
	while ((rc = pb_next(&in, &f)) == 1) {
		if (part->key_kind || f.number < 1 || f.number > 2 || f.type != PB_BYTES)
			return REFUSE(err, "primary_keys: field %u cannot be understood", f.number);
		part->key_kind = f.number;
		part->keys = (struct repeated){.width = f.number == 1 ? 0 : REPEATED_BYTES};
		if (check_list(&part->keys, (struct pb_bytes){f.data, f.size}, NULL) < 0)
			return REFUSE(err, "primary_keys: are malformed");
	}
	return rc < 0 ? REFUSE(err, "primary_keys: are malformed") : 0;
}

static int check_delete(struct part *part, const struct top *top, struct err *err)
{
	part->keys = top->int64_keys; /* the old form: counts only where the new one is absent */
	part->key_kind = DEL_INT64_KEYS;
	if (top->keys.data) {
		part->keys.count = 0;
		if (check_keys(part, top->keys, err) < 0)
			return -1;
	}
	if (part->keys.count != part->rows)
		return REFUSE(err, "primary_keys: %" PRIu64 " values, want %u", part->keys.count, part->rows);
	return 0;
}

int rewrite_check(struct part *part, struct arena *arena, struct err *err)
{
	const struct entry *e = part->entry;
	struct pb_reader in;
	struct top top = {.int64_keys = repeated_in(e->body, e->size, DEL_INT64_KEYS, 0)};
	struct pb_field f;
	int rc;

	if (!e->size)
		return REFUSE(err, "the message is empty");
	in = pb_reader(e->body, e->size);
	part->timestamps = repeated_in(e->body, e->size, F_TIMESTAMPS, 0);
	part->row_ids = repeated_in(e->body, e->size, INS_ROW_IDS, 0);
	while ((rc = pb_next(&in, &f)) == 1) {
		if (f.number == F_BASE) {
			if (f.type != PB_BYTES || top.base)
				return REFUSE(err, "base: comes twice or has wire type %d", (int)f.type);
			if (check_base(part, &f, err) < 0)
				return -1;
			top.base = true;
		} else if (check_field(part, &top, &f) < 0) {
			return REFUSE(err, "field %u (wire type %d) is malformed", f.number, (int)f.type);
		}
	}
	if (rc < 0)
		return REFUSE(err, "not a protobuf message, broken at byte %zu of %zu",
			      (size_t)(in.p - e->body), e->size);
	if (!top.base)
		return REFUSE(err, "base: is missing");
	if (check_identity(e, top.shard, top.collection, top.partition, err) < 0)
		return -1;
	if (top.rows > INT32_MAX)
		return REFUSE(err, "num_rows: %" PRIu64 " is not possible", top.rows);
	part->rows = (uint32_t)top.rows;
	if (check_timestamps(part, err) < 0)
		return -1;
	return e->kind == KIND_INSERT ? check_insert(part, &top, arena, err) : check_delete(part, &top, err);
}
