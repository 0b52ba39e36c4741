/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renames and properties onto the target.
 *
 * A collection is called there what the name map makes of its name at the source, after a rename, too.
 * Within one cut the source may have changed several names: when another of our collections still has
 * the wanted one, and had it from the same name of the source, it is moved aside to a name made of its
 * ID until its own rename comes (two names swapped). The target has the aside name, so a repeat after a
 * crash finds it there.
 */
#include "sink_ddl_priv.h"

#include <inttypes.h>

/* --- rename -------------------------------------------------------------------------------------- */

struct rename {
	const char *from_db, *from_name; /* at the source */
	const char *to_db, *to_name;
	const char *db, *name;                 /* wanted on the target */
	Mv__DescribeCollectionResponse *there; /* what bears that name now; NULL: nothing */
};

static const char *aside_name(struct ddl *d, const struct target_collection *c)
{
	return arena_printf(d->arena, "cdc_aside_%" PRId64, c->target_id);
}

static void keep_names(struct ddl *d, const struct rename *r)
{
	struct target_collection c = *d->twin;

	c.db = (char *)r->db;
	c.name = (char *)r->name;
	c.source_db = (char *)r->to_db;
	c.source_name = (char *)r->to_name;
	ddl_keep(d, &c);
}

/* The map's live collection that is still called like that; NULL: none but ours. */
static const struct target_collection *namesake(struct ddl *d, const struct rename *r)
{
	const struct target_collection *c = object_map_by_name(d->sink->map, r->db, r->name);

	return c && c != d->twin ? c : NULL;
}

/* Its own rename looks for it under the aside name. */
static void keep_aside(struct ddl *d, const struct target_collection *other)
{
	struct target_collection c = *other;

	c.name = (char *)aside_name(d, other);
	d->also = other->source_id;
	object_map_put(d->sink->map, &c);
	d->twin = object_map_find(d->sink->map, d->entry->collection_id);
}

static int move_aside(struct ddl *d, const struct target_collection *other, struct err *err)
{
	int rc = milvus_rename_collection(d->milvus, other->db, other->name, other->db, aside_name(d, other),
					  d->ts, NULL, err);

	if (rc < 0)
		return rc;
	keep_aside(d, other);
	return 0;
}

static int name_taken(const struct rename *r, const struct target_collection *other, struct err *err)
{
	if (other)
		return err_set(
			err, ERR_TARGET_REFUSED,
			"rename: %s.%s on the target belongs to the source's collection %s.%s (ID %" PRId64
			"); two collections cannot have one name, change the name mapping or rename one",
			r->db, r->name, other->source_db, other->source_name, other->source_id);
	return err_set(err, ERR_TARGET_REFUSED,
		       "rename: the target has another collection %s.%s (ID %" PRId64
		       "), which this task did not make; rename or drop that one there",
		       r->db, r->name, r->there->collection_id);
}

/* Makes the wanted name free, or says who has it. */
static int free_name(struct ddl *d, const struct rename *r, struct err *err)
{
	const struct target_collection *other;

	if (!STREQ(r->there->schema->name, r->name))
		return ddl_free_alias(d, r->db, r->name, r->there, err);
	other = ddl_twin_of(d, r->there->collection_id);
	if (other && STREQ(other->source_db, ddl_db(r->to_db)) && STREQ(other->source_name, r->to_name))
		return move_aside(d, other, err);
	return name_taken(r, other, err);
}

/* The source cannot move a collection to another database while it has aliases, nor can the target. */
static int drop_aliases(struct ddl *d, const Mv__DescribeCollectionResponse *have, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < have->n_aliases && rc == 0; i++)
		rc = milvus_drop_alias(d->milvus, d->twin->db, have->aliases[i], d->ts, NULL, err);
	return rc;
}

/* Under what name ours is now: the stored one, or aside. TARGET_REFUSED: nowhere. */
static int find_ours(struct ddl *d, const char **name, Mv__DescribeCollectionResponse **ret, struct err *err)
{
	const char *names[] = {d->twin->name, aside_name(d, d->twin)};
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		rc = milvus_describe(d->milvus, d->twin->db, names[i], d->arena, ret, err);
		if (rc < 0)
			return rc;
		*name = names[i];
		if (*ret && (*ret)->collection_id == d->twin->target_id &&
		    STREQ((*ret)->schema->name, names[i]))
			return 0;
	}
	return err_set(err, ERR_TARGET_REFUSED,
		       "rename: the target's collection %s.%s (ID %" PRId64
		       ") is gone: it was renamed or dropped there by somebody else; drop the source's "
		       "collection or make the task anew",
		       d->twin->db, d->twin->name, d->twin->target_id);
}

static int rename_there(struct ddl *d, const struct rename *r, struct err *err)
{
	Mv__DescribeCollectionResponse *ours;
	const char *name;
	int rc;

	if ((rc = find_ours(d, &name, &ours, err)) < 0 || (r->there && (rc = free_name(d, r, err)) < 0) ||
	    (rc = ddl_ensure_database(d, r->db, err)) < 0)
		return rc;
	if (!STREQ(r->db, d->twin->db) && (rc = drop_aliases(d, ours, err)) < 0)
		return rc;
	return milvus_rename_collection(d->milvus, d->twin->db, name, r->db, r->name, d->ts, NULL, err);
}

int ddl_rename_collection(struct ddl *d, struct err *err)
{
	struct rename r = {.to_name = d->body->new_name};
	const struct target_collection *other;
	bool same_db = !d->body->new_db_id && !*d->body->new_db_name;
	int rc;

	if (!*r.to_name)
		return err_set(err, ERR_JOURNAL_BAD, "journal entry %" PRId64 ": a rename without a new name",
			       d->entry->seq);
	r.to_db = ddl_db(same_db ? d->body->db_name : d->body->new_db_name);
	name_map_collection(d->sink->names, r.to_db, r.to_name, &r.db, &r.name);
	if ((rc = milvus_describe(d->milvus, r.db, r.name, d->arena, &r.there, err)) < 0)
		return rc;
	if (!r.there || r.there->collection_id != d->twin->target_id ||
	    !STREQ(r.there->schema->name, r.name)) {
		if ((rc = rename_there(d, &r, err)) < 0)
			return rc;
	}
	if ((other = namesake(d, &r))) /* moved aside before a crash */
		keep_aside(d, other);
	keep_names(d, &r);
	return 0;
}

/* --- properties ---------------------------------------------------------------------------------- */

static const char *value_of(Mv__KeyValuePair *const *p, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (STREQ(p[i]->key, key))
			return p[i]->value;
	return NULL;
}

/*
 * Milvus 2.3 writes to its etcd what was there before the change, so a change outlives a restart of the
 * target only when another follows it. Also where nothing differs: a crash may have come between the two.
 * What a newer one has against the second (mmap.enabled of a loaded collection) it has written already.
 */
static int set_properties(struct ddl *d, const Mv__DescribeCollectionResponse *have, struct err *err)
{
	const Jr__Ddl *b = d->body;
	Mv__KeyValuePair **changed = arena_alloc(d->arena, (b->n_properties + 1) * sizeof(*changed));
	struct err why;
	size_t n = 0;
	int rc;

	if (b->n_properties == 0)
		return 0;
	for (size_t i = 0; i < b->n_properties; i++) {
		const char *value = value_of(have->properties, have->n_properties, b->properties[i]->key);

		if (!value || !STREQ(value, b->properties[i]->value))
			changed[n++] = b->properties[i];
	}
	if (n && (rc = milvus_alter_collection(d->milvus, d->twin->db, d->twin->name, changed, n, d->ts, NULL,
					       err)) < 0)
		return rc;
	if (n == 0) {
		changed = b->properties;
		n = b->n_properties;
	}
	rc = milvus_alter_collection(d->milvus, d->twin->db, d->twin->name, changed, n, d->ts, NULL, &why);
	if (rc == -ERR_TARGET_REFUSED)
		return 0;
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* 2.3 and 2.4 know no way back from a property that was set. */
static int remove_properties(struct ddl *d, const Mv__DescribeCollectionResponse *have, struct err *err)
{
	const Jr__Ddl *b = d->body;
	const char **keys = arena_alloc(d->arena, (b->n_removed_properties + 1) * sizeof(*keys));
	struct err why;
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < b->n_removed_properties; i++)
		if (value_of(have->properties, have->n_properties, b->removed_properties[i]) &&
		    !value_of(b->properties, b->n_properties, b->removed_properties[i]))
			keys[n++] = b->removed_properties[i];
	if (n == 0)
		return 0;
	rc = milvus_remove_properties(d->milvus, d->twin->db, d->twin->name, keys, n, d->ts, NULL, &why);
	if (rc == -ERR_TARGET_REFUSED) {
		ddl_note(d, "collection %s.%s keeps its property %s%s on the target: %s", d->twin->db,
			 d->twin->name, keys[0], n > 1 ? " and more" : "", why.text);
		return 0;
	}
	if (rc < 0 && err)
		*err = why;
	return rc;
}

int ddl_alter_collection(struct ddl *d, struct err *err)
{
	Mv__DescribeCollectionResponse *have;
	int rc;

	if ((rc = ddl_need(d, err)) < 0 ||
	    (rc = milvus_describe(d->milvus, d->twin->db, d->twin->name, d->arena, &have, err)) < 0)
		return rc;
	if (!have)
		return err_set(err, ERR_TARGET_BUSY, "collection %s.%s went away while it was looked at",
			       d->twin->db, d->twin->name);
	if ((rc = set_properties(d, have, err)) < 0)
		return rc;
	return remove_properties(d, have, err);
}

/* A database has no rows that could wait for its properties. */
int ddl_alter_database(struct ddl *d, const char *db, struct err *err)
{
	struct err why;
	int rc;

	if (d->body->n_properties == 0)
		return 0;
	rc = milvus_alter_database(d->milvus, db, d->body->properties, d->body->n_properties, d->ts, NULL,
				   &why);
	if (rc == -ERR_TARGET_REFUSED) {
		ddl_note(d, "database %s keeps its properties on the target: %s", db, why.text);
		return 0;
	}
	if (rc < 0 && err)
		*err = why;
	return rc;
}
