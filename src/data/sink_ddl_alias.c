/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aliases onto the target. An alias stands in the database of its collection's twin. It may be moved or
 * dropped while it points to one of our collections; one that points to a foreign collection is left
 * alone (R26). A look at an alias shows the collection behind it: its schema has the collection's name.
 */
#include "sink_ddl_priv.h"

#include <inttypes.h>

struct twin_search {
	int64_t target_id;
	const struct target_collection *found;
};

static void match(void *arg, const struct target_collection *c)
{
	struct twin_search *s = arg;

	if (!c->dropped && c->target_id == s->target_id)
		s->found = c;
}

const struct target_collection *ddl_twin_of(struct ddl *d, int64_t target_id)
{
	struct twin_search s = {.target_id = target_id};

	object_map_each(d->sink->map, match, &s);
	return s.found;
}

static int foreign(struct ddl *d, const char *db, const char *alias,
		   const Mv__DescribeCollectionResponse *have, struct err *err)
{
	return err_set(err, ERR_TARGET_REFUSED,
		       "%s: %s.%s on the target is an alias of collection %s (ID %" PRId64
		       "), which this task did not make; drop or rename that alias there",
		       kind_name(d->entry->kind), db, alias, have->schema->name, have->collection_id);
}

int ddl_free_alias(struct ddl *d, const char *db, const char *alias,
		   const Mv__DescribeCollectionResponse *have, struct err *err)
{
	if (!ddl_twin_of(d, have->collection_id))
		return foreign(d, db, alias, have, err);
	return milvus_drop_alias(d->milvus, db, alias, d->ts, NULL, err);
}

static int entry_alias(struct ddl *d, const char **ret, struct err *err)
{
	if (!*d->body->alias)
		return err_set(err, ERR_JOURNAL_BAD, "journal entry %" PRId64 " (%s): no alias",
			       d->entry->seq, kind_name(d->entry->kind));
	*ret = d->body->alias;
	return 0;
}

/* With a name map an alias that moves to another collection may move to another database. */
static int leave_other(struct ddl *d, const char *db, const char *alias, struct err *err)
{
	Mv__DescribeCollectionResponse *have;
	int rc;

	if (STREQ(ddl_db(db), d->twin->db))
		return 0;
	if ((rc = milvus_describe(d->milvus, db, alias, d->arena, &have, err)) < 0)
		return rc;
	if (!have || STREQ(have->schema->name, alias) || !ddl_twin_of(d, have->collection_id))
		return 0;
	return milvus_drop_alias(d->milvus, db, alias, d->ts, NULL, err);
}

static int leave_others(struct ddl *d, const char *alias, struct err *err)
{
	const struct name_map *m = d->sink->names;
	int rc = leave_other(d, name_map_db(m, d->body->db_name), alias, err);

	for (size_t i = 0; m && i < m->count && rc == 0; i++)
		if (STREQ(ddl_db(m->items[i].db), ddl_db(d->body->db_name)))
			rc = leave_other(d, m->items[i].to_db, alias, err);
	return rc;
}

/* CREATE_ALIAS and ALTER_ALIAS: afterwards the alias points to the twin. */
int ddl_set_alias(struct ddl *d, struct err *err)
{
	const struct target_collection *c = d->twin;
	Mv__DescribeCollectionResponse *have;
	const char *alias = "";
	int rc;

	if ((rc = entry_alias(d, &alias, err)) < 0 || (rc = ddl_need(d, err)) < 0 ||
	    (d->entry->kind == KIND_ALTER_ALIAS && (rc = leave_others(d, alias, err)) < 0) ||
	    (rc = milvus_describe(d->milvus, c->db, alias, d->arena, &have, err)) < 0)
		return rc;
	if (!have)
		return milvus_create_alias(d->milvus, c->db, c->name, alias, d->ts, NULL, err);
	if (STREQ(have->schema->name, alias))
		return err_set(err, ERR_TARGET_REFUSED,
			       "%s: the target has a collection %s.%s (ID %" PRId64
			       ") where an alias of %s.%s shall be; rename or drop that one there",
			       kind_name(d->entry->kind), c->db, alias, have->collection_id, c->db, c->name);
	if (have->collection_id == c->target_id)
		return 0;
	if (!ddl_twin_of(d, have->collection_id))
		return foreign(d, c->db, alias, have, err);
	if (d->entry->kind == KIND_CREATE_ALIAS)
		ddl_note(d, "alias %s.%s on the target pointed to %s, now to %s", c->db, alias,
			 have->schema->name, c->name);
	return milvus_alter_alias(d->milvus, c->db, c->name, alias, d->ts, NULL, err);
}

/* Only while it points to what it pointed to at the source (R25). */
int ddl_drop_alias(struct ddl *d, struct err *err)
{
	const struct target_collection *c = d->twin;
	Mv__DescribeCollectionResponse *have;
	const char *alias = "";
	int rc;

	if ((rc = entry_alias(d, &alias, err)) < 0 ||
	    (rc = milvus_describe(d->milvus, c->db, alias, d->arena, &have, err)) < 0)
		return rc;
	if (!have || STREQ(have->schema->name, alias) || have->collection_id != c->target_id)
		return 0;
	return milvus_drop_alias(d->milvus, c->db, alias, d->ts, NULL, err);
}
