/* SPDX-License-Identifier: Apache-2.0 */
/* See pchannels.h. */
#include "pchannels.h"

#include <cdc/worker.h>

#include <stdlib.h>

#define REFRESH_MS 30000

void pchannels_done(struct pchannels *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->names[i]);
	free(p->names);
	free(p->seen);
	*p = (struct pchannels){0};
}

size_t pchannels_add(struct pchannels *p, const char *name)
{
	for (size_t i = 0; i < p->count; i++)
		if (STREQ(p->names[i], name))
			return i;
	p->names = xrealloc(p->names, (p->count + 1) * sizeof(*p->names));
	p->names[p->count] = xstrdup(name);
	return p->count++;
}

static bool is_seen(const struct pchannels *p, int64_t id)
{
	for (size_t i = 0; i < p->seen_count; i++)
		if (p->seen[i] == id)
			return true;
	return false;
}

static int look_at_db(struct pchannels *p, struct milvus *m, const char *db, struct arena *arena,
		      struct err *err)
{
	Mv__ShowCollectionsResponse *list;
	int rc;

	if ((rc = milvus_show_collections(m, db, arena, &list, err)) < 0)
		return rc;
	for (size_t i = 0; i < list->n_collection_names && i < list->n_collection_ids; i++) {
		Mv__DescribeCollectionResponse *d;

		if (is_seen(p, list->collection_ids[i]))
			continue;
		if ((rc = milvus_describe(m, db, list->collection_names[i], arena, &d, err)) < 0)
			return rc;
		if (!d) /* renamed or dropped meanwhile: looked for again at the next refresh */
			continue;
		for (size_t k = 0; k < d->n_physical_channel_names; k++)
			pchannels_add(p, d->physical_channel_names[k]);
		p->seen = xrealloc(p->seen, (p->seen_count + 1) * sizeof(*p->seen));
		p->seen[p->seen_count++] = list->collection_ids[i];
	}
	return 0;
}

static bool is_there(struct milvus *m, const char *db, struct arena *arena)
{
	Mv__ListDatabasesResponse *dbs;
	struct err ignored;

	if (milvus_list_databases(m, arena, &dbs, &ignored) < 0)
		return true;
	for (size_t i = 0; i < dbs->n_db_names; i++)
		if (STREQ(dbs->db_names[i], db))
			return true;
	return false;
}

int pchannels_refresh(struct pchannels *p, struct milvus *m, struct err *err)
{
	AUTO(arena_free) struct arena *arena = NULL;
	Mv__ListDatabasesResponse *dbs;
	int rc;

	if (clock_mono_ms() < p->due_ms)
		return 0;
	arena = arena_new();
	if ((rc = milvus_list_databases(m, arena, &dbs, err)) < 0)
		return rc;
	for (size_t i = 0; i < dbs->n_db_names; i++) {
		rc = look_at_db(p, m, dbs->db_names[i], arena, err);
		if (rc == -ERR_TARGET_REFUSED && !is_there(m, dbs->db_names[i], arena))
			continue; /* it went away meanwhile: no reason to put the task on hold */
		if (rc < 0)
			return rc;
	}
	p->due_ms = clock_mono_ms() + REFRESH_MS;
	return 0;
}

void pchannels_stale(struct pchannels *p)
{
	p->due_ms = 0;
}
