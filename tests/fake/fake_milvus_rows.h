/* SPDX-License-Identifier: Apache-2.0 */
/*
 * milvus_rows.h in front of the fake's collections (ddl_fake.h comes first) and of fake_rows.h. Codes and
 * words as a real 2.3.5 gave them.
 */
#ifndef FAKE_MILVUS_ROWS_H
#define FAKE_MILVUS_ROWS_H

#include "../../src/data/milvus_rows.h"
#include "fake_rows.h"

/* An Upsert with this value of "val" is answered with this code; 0: none. */
static struct {
	int64_t value;
	int code;
} fake_refuse;

static inline bool fake_has_value(const struct buf *body, int64_t value)
{
	static char texts[FAKE_ROWS][64];
	struct pb_reader in = pb_reader(body->data, body->len);
	struct pb_field f;
	char name[64];

	while (pb_next(&in, &f) == 1) {
		size_t n = f.number == 5 ? fake_column((struct pb_bytes){f.data, f.size}, name, texts) : 0;

		for (size_t i = 0; i < n && STREQ(name, "val"); i++)
			if (strtoll(texts[i], NULL, 10) == value)
				return true;
	}
	return false;
}

int milvus_change_rows(struct milvus *m, const struct upsert_request *r, struct milvus_status *st,
		       struct err *err)
{
	const struct target_collection *c = r->schema->collection;
	const char *rpc = r->is_delete ? "Delete" : "Upsert";
	AUTO_BUF struct buf body = {0};
	struct fake_collection *have;
	size_t at;
	int scripted;

	(void)m;
	pthread_mutex_lock(&fake_mutex);
	scripted = begin(rpc, st, err);
	if (scripted < 0)
		return unlock(scripted);
	have = behind(c->db, c->name);
	if (!have)
		return unlock(answer(rpc, 100, "collection not found", st, err));
	if (r->partition && !partition_of(have, r->partition->name, &at))
		return unlock(answer(rpc, 200, "partition not found", st, err));
	upsert_write(r, &body);
	if (fake_refuse.code && !r->is_delete && fake_has_value(&body, fake_refuse.value))
		return unlock(answer(rpc, fake_refuse.code, "no such value", st, err));
	fake_rows_apply(body.data, body.len, r->is_delete, r->schema->keyed);
	return unlock(done(scripted, "%s %s.%s", rpc, db_name(c->db), c->name));
}

#endif
