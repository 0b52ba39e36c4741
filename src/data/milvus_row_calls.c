/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See milvus_rows.h. The body is written into the buffer that is sent, so that rows are copied once. Of
 * the answer only the status counts: a Delete tells how many keys it was given, not how many it found.
 */
#include "milvus_rows.h"

#include "milvus_priv.h"

#include <stdio.h>

int milvus_change_rows(struct milvus *m, const struct upsert_request *r, struct milvus_status *st,
		       struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	const char *rpc = r->is_delete ? "Delete" : "Upsert";
	const struct target_collection *c = r->schema->collection;
	Mv__StatusAnswer *answer;
	char what[600];
	int rc;

	*st = (struct milvus_status){0};
	buf_reset(&m->request);
	upsert_write(r, &m->request);
	rc = milvus_exchange(m, rpc, &mv__status_answer__descriptor, arena, &answer, err);
	if (rc < 0)
		return rc;
	snprintf(what, sizeof(what), "%s.%s%s%s", milvus_db(c->db), c->name,
		 r->partition ? " partition " : "", r->partition ? r->partition->name : "");
	return milvus_check(m, rpc, what, answer->status, st, err);
}
