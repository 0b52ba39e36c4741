/* SPDX-License-Identifier: Apache-2.0 */
/* Source messages with given keys, for the tests of the upsert door: columns "id" and "val". */
#ifndef UPSERT_KIT_H
#define UPSERT_KIT_H

#include "../../src/data/upsert.h"
#include "../fake/fake_rows.h"

#include <stdio.h>

struct up_message {
	enum kind kind;
	cdc_ts ts;
	int64_t seq, collection, partition;
	const char *vchannel;
	bool strings;
	const int *keys; /* n of them; as strings "k<number>" */
	int n;
	int64_t first_value; /* of "val", then rising */
	const char *key_name;
};

static inline void up_put_keys(struct buf *b, const struct up_message *m)
{
	AUTO_BUF struct buf list = {0}, packed = {0};
	char text[32];

	for (int i = 0; i < m->n; i++) {
		snprintf(text, sizeof(text), "k%d", m->keys[i]);
		if (m->strings)
			pb_put_string(&list, 1, text);
		else
			pb_put_varint(&packed, (uint64_t)(int64_t)m->keys[i]);
	}
	if (!m->strings)
		pb_put_bytes(&list, 1, packed.data, packed.len);
	pb_put_bytes(b,
		     m->kind == KIND_DELETE ? (m->strings ? 2 : 1)
		     : m->strings           ? 6
					    : 3,
		     list.data, list.len);
}

static inline void up_put_column(struct buf *b, int type, const char *name, int64_t id,
				 const struct buf *scalars)
{
	AUTO_BUF struct buf fd = {0};

	pb_put_uint(&fd, 1, (uint64_t)type);
	pb_put_string(&fd, 2, name);
	pb_put_bytes(&fd, 3, scalars->data, scalars->len);
	pb_put_uint(&fd, 5, (uint64_t)id);
	pb_put_bytes(b, 13, fd.data, fd.len);
}

static inline struct entry up_entry(struct arena *arena, const struct up_message *m)
{
	bool insert = m->kind == KIND_INSERT;
	AUTO_BUF struct buf b = {0}, base = {0}, times = {0}, ids = {0}, keys = {0}, values = {0}, list = {0},
			    packed = {0};
	struct entry e = {.seq = m->seq,
			  .ts = m->ts,
			  .kind = m->kind,
			  .collection_id = m->collection,
			  .partition_id = m->partition,
			  .db = "",
			  .collection = "c",
			  .vchannel = m->vchannel,
			  .pchannel = "src-dml_0",
			  .id = {0, (uint64_t)m->seq},
			  .rows = (uint32_t)m->n};

	pb_put_uint(&base, 1, insert ? 400 : 401);
	pb_put_uint(&base, 3, m->ts);
	pb_put_bytes(&b, 1, base.data, base.len);
	pb_put_string(&b, 2, m->vchannel);
	pb_put_uint(&b, 7, (uint64_t)m->collection);
	pb_put_uint(&b, 8, (uint64_t)m->partition);
	for (int i = 0; i < m->n; i++) {
		pb_put_varint(&times, m->ts);
		pb_put_varint(&ids, (uint64_t)i + 1);
		pb_put_varint(&packed, (uint64_t)(m->first_value + i));
	}
	pb_put_bytes(&b, 10, times.data, times.len);
	up_put_keys(&keys, m);
	if (insert) {
		pb_put_bytes(&b, 11, ids.data, ids.len);
		up_put_column(&b, m->strings ? 21 : 5, m->key_name ? m->key_name : "id", 100, &keys);
		pb_put_bytes(&list, 1, packed.data, packed.len);
		pb_put_bytes(&values, 3, list.data, list.len);
		up_put_column(&b, 5, "val", 101, &values);
		pb_put_uint(&b, 14, (uint64_t)m->n);
		pb_put_uint(&b, 15, 1);
	} else {
		pb_put_uint(&b, 11, (uint64_t)m->n);
		pb_put_bytes(&b, 12, keys.data, keys.len);
	}
	e.body = arena_dup(arena, b.data, b.len);
	e.size = b.len;
	return e;
}

#endif
