/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of rewriting: builds source messages of every data type, and reads messages with a
 * naive decoder of its own (no cdc/pb.h, no generated code), so that a mistake in the walker cannot
 * hide itself. A decoded column is one string a row. One test program, one thread.
 */
#ifndef REWRITE_KIT_H
#define REWRITE_KIT_H

#include "../../src/data/rewrite.h"
#include <cdc/pb.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define KIT_MAX 4096

/* ---- the map: collection 9 -> 900, 10 dropped on the target, 8 -> 800 a second one ---- */

static inline struct object_map *kit_map(void)
{
	static char *pch[2] = {(char *)"tgt-dml_3", (char *)"tgt-dml_5"};
	struct object_map *m = object_map_new();

	for (int64_t id = 8; id <= 10; id++) {
		char names[6][64];
		struct channel_pair ch[2];
		struct partition_pair parts[] = {{id * 10 + 1, id * 1000 + 1, (char *)"_default", false},
						 {id * 10 + 2, id * 1000 + 2, (char *)"p1", false},
						 {id * 10 + 3, id * 1000 + 3, (char *)"gone", true}};
		struct target_collection c = {.source_id = id,
					      .target_id = id * 100,
					      .db = (char *)"tdb",
					      .name = names[4],
					      .channels = ch,
					      .channel_count = 2,
					      .partitions = parts,
					      .partition_count = 3,
					      .dropped = id == 10};

		snprintf(names[4], sizeof(names[4]), "c%" PRId64, id);
		for (int i = 0; i < 2; i++) {
			snprintf(names[i], sizeof(names[i]), "src-dml_%d_%" PRId64 "v%d", i, id, i);
			snprintf(names[i + 2], sizeof(names[i + 2]), "%s_%" PRId64 "v%d", pch[i], id * 100,
				 i);
			ch[i] = (struct channel_pair){names[i], names[i + 2], pch[i]};
		}
		object_map_put(m, &c);
	}
	return m;
}

/* ---- building ---- */

enum { KIT_PACKED, KIT_SINGLE, KIT_CHUNKS }; /* how numbers lie */
enum {
	KIT_PLAIN,
	KIT_SLOTS,
	KIT_COMPACT,
	KIT_FULL
}; /* nulls: none possible; with, without a slot; all valid */
struct kit_column {
	int type;
	int64_t id;
	int element; /* of arrays */
	int dim;
	int form, style;
	int more; /* elements too many or, below 0, too few */
	int more_valid;
	bool dynamic;
	const char *name; /* NULL: "f<id>" */
};

/* Row r of every fifth is null. */
static inline bool kit_null(int64_t r)
{
	return r % 5 == 1;
}

static inline uint64_t kit_number(int type, int64_t r)
{
	switch (type) {
	case 1:
		return r & 1;
	case 2:
		return (uint64_t)(int64_t)(int8_t)(r * 37);
	case 3:
		return (uint64_t)(int64_t)(int16_t)(r * 7919);
	case 4:
		return (uint64_t)(int64_t)(int32_t)(r * 104729001);
	default:
		return (uint64_t)(r * 1000003 - 5000000);
	}
}

/* One number of a list, as the type has it on the wire; tagged: one by one, not packed. */
static inline void kit_put_number(struct buf *b, int type, int64_t r, bool tagged)
{
	if (type == 10 || type == 101) {
		float f = (float)r * 0.75f - 3;

		if (tagged)
			pb_put_tag(b, 1, PB_FIXED32);
		buf_add(b, &f, 4);
	} else if (type == 11) {
		double d = (double)r * 1.5 - 3;

		if (tagged)
			pb_put_tag(b, 1, PB_FIXED64);
		buf_add(b, &d, 8);
	} else {
		if (tagged)
			pb_put_tag(b, 1, PB_VARINT);
		pb_put_varint(b, kit_number(type, r));
	}
}

/* values[n] as the list message of the type. */
static inline void kit_put_list(struct buf *b, int type, const int64_t *values, size_t n, int style)
{
	size_t chunk = style == KIT_CHUNKS ? 2 : n;

	if (type == 20 || type == 21 || type == 23) {
		for (size_t i = 0; i < n; i++) {
			char text[64];

			snprintf(text, sizeof(text), type == 23 ? "{\"k\":%" PRId64 "}" : "s%" PRId64,
				 values[i]);
			pb_put_bytes(b, 1, text, strlen(text) - (values[i] % 7 == 3 ? strlen(text) : 0));
		}
		return;
	}
	if (style == KIT_SINGLE) {
		for (size_t i = 0; i < n; i++)
			kit_put_number(b, type, values[i], true);
		return;
	}
	for (size_t i = 0; i < n; i += chunk) {
		AUTO_BUF struct buf packed = {0};

		for (size_t k = i; k < n && k < i + chunk; k++)
			kit_put_number(&packed, type, values[k], false);
		pb_put_bytes(b, 1, packed.data, packed.len);
	}
}

static inline uint32_t kit_list_field(int type)
{
	switch (type) {
	case 1:
		return 1;
	case 2:
	case 3:
	case 4:
		return 2;
	case 5:
		return 3;
	case 10:
		return 4;
	case 11:
		return 5;
	case 22:
		return 8;
	case 23:
		return 9;
	case 100:
		return 3;
	case 101:
		return 2;
	case 102:
		return 4;
	case 103:
		return 5;
	case 104:
		return 6;
	default:
		return 6;
	}
}

static inline void kit_put_values(struct buf *b, const struct kit_column *c, const int64_t *rows, size_t n)
{
	static int64_t flat[KIT_MAX * 16];
	size_t m = 0;

	if (c->type == 22) {
		for (size_t i = 0; i < n; i++) {
			AUTO_BUF struct buf list = {0}, row = {0};

			for (m = 0; m < (size_t)(rows[i] % 4); m++)
				flat[m] = rows[i] + (int64_t)m;
			kit_put_list(&list, c->element, flat, m, c->style);
			if (rows[i] % 8) /* sometimes an empty row has no list at all */
				pb_put_bytes(&row, kit_list_field(c->element), list.data, list.len);
			pb_put_bytes(b, 1, row.data, row.len);
		}
		if (n && rows[0] % 2)
			pb_put_uint(b, 2, (uint64_t)c->element);
	} else if (c->type == 104) {
		for (size_t i = 0; i < n; i++) {
			uint32_t pairs[6] = {(uint32_t)rows[i], 0x3f800000, (uint32_t)rows[i] + 7,
					     0x40000000,        99,         1};

			pb_put_bytes(b, 1, pairs, (size_t)(rows[i] % 4) * 8);
		}
		pb_put_uint(b, 2, (uint64_t)c->dim);
	} else if (c->type == 101) {
		for (size_t i = 0; i < n; i++) {
			for (int k = 0; k < c->dim; k++)
				flat[m++] = rows[i] * 100 + k;
		}
		kit_put_list(b, c->type, flat, m, c->style);
	} else if (c->type >= 100) {
		int bytes = c->type == 100 ? c->dim / 8 : c->dim * 2;

		for (size_t i = 0; i < n; i++) {
			for (int k = 0; k < bytes; k++)
				buf_addc(b, (uint8_t)(rows[i] * 31 + k));
		}
	} else {
		kit_put_list(b, c->type, rows, n, c->style);
	}
}

/* FieldData of rows [first, first + n). */
static inline void kit_put_column(struct buf *b, const struct kit_column *c, int64_t first, size_t n)
{
	AUTO_BUF struct buf list = {0}, holder = {0}, fd = {0}, valid = {0};
	static int64_t rows[KIT_MAX];
	size_t m = 0;
	char name[32];

	for (size_t i = 0; i < n; i++) {
		if (c->form != KIT_COMPACT || !kit_null(first + (int64_t)i))
			rows[m++] = first + (int64_t)i;
	}
	for (int i = 0; i < c->more; i++)
		rows[m++] = 5;
	if (c->more < 0)
		m -= (size_t)-c->more;
	snprintf(name, sizeof(name), "f%" PRId64, c->id);
	pb_put_uint(&fd, 1, (uint64_t)c->type);
	pb_put_string(&fd, 2, c->name ? c->name : name);
	pb_put_uint(&fd, 5, (uint64_t)c->id);
	if (c->dynamic)
		pb_put_uint(&fd, 6, 1);
	kit_put_values(&list, c, rows, m);
	if (c->type >= 100)
		pb_put_uint(&holder, 1, (uint64_t)c->dim);
	pb_put_bytes(&holder, kit_list_field(c->type), list.data, list.len);
	pb_put_bytes(&fd, c->type >= 100 ? 4 : 3, holder.data, holder.len);
	for (int64_t i = first; c->form != KIT_PLAIN && i < first + (int64_t)n + c->more_valid; i++) {
		if (c->style == KIT_SINGLE)
			pb_put_uint(&fd, 7, c->form == KIT_FULL || !kit_null(i));
		else
			buf_addc(&valid, c->form == KIT_FULL || !kit_null(i));
	}
	if (valid.len)
		pb_put_bytes(&fd, 7, valid.data, valid.len);
	pb_put_bytes(b, 13, fd.data, fd.len);
}

struct kit {
	struct arena *arena;
	struct object_map *map;
	struct entry entries[KIT_MAX];
	cdc_ts out[KIT_MAX];
	size_t n;
	struct rewrite_conf conf;
	struct rewrite_result result;
};

struct kit_msg {
	cdc_ts ts;
	int64_t collection, partition; /* 0: collection 9, its _default */
	int shard;
	uint64_t msg_id;
	int64_t first; /* value of the first row */
	int rows;
	const struct kit_column *columns;
	size_t column_count;
	int style;
	int more_ts, more_ids, more_rows; /* counts made wrong */
	int version;                      /* 0: 1 */
	bool varchar_keys, legacy_keys;   /* of deletes */
};

static inline struct kit *kit_new(void)
{
	struct kit *k = xcalloc(1, sizeof(*k));

	k->arena = arena_new();
	k->map = kit_map();
	k->conf = (struct rewrite_conf){.identity = 0x1122334455667788,
					.version = REWRITE_VERSION,
					.merge_limit = 1 << 20,
					.map = k->map};
	return k;
}

static inline void kit_free(struct kit *k)
{
	arena_free(k->arena);
	object_map_free(k->map);
	free(k);
}
DEFINE_AUTO(struct kit, kit_free)

static inline void kit_put_scalars(struct buf *b, uint32_t number, uint64_t v, uint64_t step, int n,
				   int style)
{
	AUTO_BUF struct buf packed = {0};

	for (int i = 0; i < n; i++) {
		if (style == KIT_SINGLE)
			pb_put_uint(b, number, v + step * (uint64_t)i);
		else
			pb_put_varint(&packed, v + step * (uint64_t)i);
	}
	if (style != KIT_SINGLE)
		pb_put_bytes(b, number, packed.data, packed.len);
}

static inline void kit_put_head(struct buf *b, const struct entry *e, int type, uint64_t msg_id)
{
	AUTO_BUF struct buf base = {0};

	pb_put_uint(&base, 1, (uint64_t)type);
	pb_put_uint(&base, 2, msg_id);
	pb_put_uint(&base, 3, e->ts);
	pb_put_uint(&base, 4, 1);
	pb_put_bytes(b, 1, base.data, base.len);
	pb_put_string(b, 2, e->vchannel);
	pb_put_string(b, 4, "source name");
	pb_put_string(b, 5, "source partition");
	pb_put_uint(b, 6, 77);
	pb_put_uint(b, 7, (uint64_t)e->collection_id);
	pb_put_uint(b, 8, (uint64_t)e->partition_id);
}

/* Adds an entry; its body is the caller's to fill in. */
static inline struct entry *kit_entry(struct kit *k, enum kind kind, const struct kit_msg *m)
{
	struct entry *e = &k->entries[k->n];
	int64_t id = m->collection ? m->collection : 9;

	*e = (struct entry){.seq = (int64_t)k->n + 100,
			    .ts = m->ts,
			    .kind = kind,
			    .db = "",
			    .collection = "c",
			    .collection_id = id,
			    .partition_id = m->partition ? m->partition : id * 10 + 1,
			    .id = {0, k->n + 5000},
			    .rows = (uint32_t)m->rows};
	e->vchannel = arena_printf(k->arena, "src-dml_%d_%" PRId64 "v%d", m->shard, id, m->shard);
	e->pchannel = arena_printf(k->arena, "src-dml_%d", m->shard);
	k->out[k->n++] = m->ts;
	return e;
}

static inline void kit_take(struct kit *k, struct entry *e, struct buf *b)
{
	e->body = arena_dup(k->arena, b->data, b->len);
	e->size = b->len;
}

static inline struct entry *kit_insert(struct kit *k, const struct kit_msg *m)
{
	struct entry *e = kit_entry(k, KIND_INSERT, m);
	AUTO_BUF struct buf b = {0};

	kit_put_head(&b, e, 400, m->msg_id);
	pb_put_uint(&b, 9, 4242);
	kit_put_scalars(&b, 10, m->ts, 0, m->rows + m->more_ts, m->style);
	kit_put_scalars(&b, 11, 700000 + (uint64_t)m->first, 1, m->rows + m->more_ids, m->style);
	for (size_t i = 0; i < m->column_count; i++)
		kit_put_column(&b, &m->columns[i], m->first, (size_t)m->rows);
	pb_put_uint(&b, 14, (uint64_t)(m->rows + m->more_rows));
	pb_put_uint(&b, 15, m->version ? (uint64_t)m->version - 1 : 1);
	kit_take(k, e, &b);
	return e;
}

static inline struct entry *kit_delete(struct kit *k, const struct kit_msg *m)
{
	struct entry *e = kit_entry(k, KIND_DELETE, m);
	AUTO_BUF struct buf b = {0}, list = {0}, ids = {0};
	int n = m->rows + m->more_ids;

	kit_put_head(&b, e, 401, m->msg_id);
	if (m->legacy_keys)
		kit_put_scalars(&b, 9, (uint64_t)m->first, 3, n, m->style);
	kit_put_scalars(&b, 10, m->ts, 0, m->rows + m->more_ts, m->style);
	pb_put_uint(&b, 11, (uint64_t)(m->rows + m->more_rows));
	for (int i = 0; m->varchar_keys && i < n; i++)
		pb_put_string(&list, 1, i % 2 ? "odd" : "");
	if (!m->varchar_keys)
		kit_put_scalars(&list, 1, (uint64_t)m->first, 3, n, m->style);
	pb_put_bytes(&ids, m->varchar_keys ? 2 : 1, list.data, list.len);
	if (!m->legacy_keys)
		pb_put_bytes(&b, 12, ids.data, ids.len);
	kit_take(k, e, &b);
	return e;
}

/* One column of every data type; ids from 100 on. Returns how many. */
static inline size_t kit_all_types(struct kit_column *c, int style, int form)
{
	static const int types[] = {1, 2, 3, 4, 5, 10, 11, 21, 23, 100, 101, 102, 103, 104};
	static const int elements[] = {1, 2, 3, 4, 5, 10, 11, 21};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(types); i++, n++)
		c[n] = (struct kit_column){.type = types[i],
					   .id = 100 + (int64_t)n,
					   .dim = types[i] >= 100 ? 16 : 0,
					   .form = form,
					   .style = style,
					   .dynamic = types[i] == 23};
	for (size_t i = 0; i < ARRAY_LEN(elements); i++, n++)
		c[n] = (struct kit_column){.type = 22,
					   .element = elements[i],
					   .id = 100 + (int64_t)n,
					   .form = form,
					   .style = style};
	return n;
}

#endif
