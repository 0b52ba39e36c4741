/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sink_ddl.h. One entry is one step: look at the target, do what is missing, put the changed
 * collection into the map. The map changes before the caller has stored it, so a step whose work the
 * map already shows as done still answers the collection's object: the caller's commit may have failed.
 * This file: the dispatch, what all steps share, and databases.
 */
#include "sink_ddl_priv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void ddl_note(struct ddl *d, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!d->sink->note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->sink->note(d->sink->note_arg, text);
}

void ddl_keep(struct ddl *d, const struct target_collection *c)
{
	object_map_put(d->sink->map, c);
	d->twin = object_map_find(d->sink->map, d->entry->collection_id);
}

int ddl_find(struct ddl *d, enum ddl_found *ret, struct err *err)
{
	Mv__DescribeCollectionResponse *have;
	int rc = milvus_describe(d->milvus, d->twin->db, d->twin->name, d->arena, &have, err);

	if (rc < 0)
		return rc;
	*ret = !have ? DDL_MISSING : have->collection_id == d->twin->target_id ? DDL_OURS : DDL_OTHER;
	return 0;
}

int ddl_need(struct ddl *d, struct err *err)
{
	enum ddl_found found;
	int rc;

	if ((rc = ddl_find(d, &found, err)) < 0 || found == DDL_OURS)
		return rc;
	return err_set(err, ERR_TARGET_REFUSED,
		       "%s: the target's collection %s.%s (ID %" PRId64
		       ") is gone%s: it was dropped there by somebody "
		       "else; drop the source's collection or make the task anew",
		       kind_name(d->entry->kind), d->twin->db, d->twin->name, d->twin->target_id,
		       found == DDL_OTHER ? ", another one has its name" : "");
}

int ddl_send_drop(struct ddl *d, const struct buf *msg, struct err *err)
{
	struct pb_bytes bytes = {msg->data, msg->len};
	const struct target_collection *c = d->twin;

	for (size_t i = 0; d->sink->send && i < c->channel_count; i++) {
		const char *pchannel = c->channels[i].target_pchannel;
		bool sent = false;
		int rc;

		for (size_t k = 0; k < i && !sent; k++)
			sent = STREQ(c->channels[k].target_pchannel, pchannel);
		if (sent)
			continue;
		if ((rc = d->sink->send(d->sink->send_arg, pchannel, &bytes, 1, d->ts, err)) < 0)
			return rc;
	}
	return 0;
}

/* Of a database's own entry. */
static const char *source_db(const struct ddl *d)
{
	const Mv__DatabaseInfo *info = d->body->database;

	return info && *info->name ? info->name : d->body->db_name;
}

/* --- databases ----------------------------------------------------------------------------------- */

static bool is_default(const char *db)
{
	return !db || !*db || STREQ(db, "default");
}

static int database_exists(struct ddl *d, const char *db, bool *ret, struct err *err)
{
	Mv__ListDatabasesResponse *list;
	int rc = milvus_list_databases(d->milvus, d->arena, &list, err);

	if (rc < 0)
		return rc;
	*ret = false;
	for (size_t i = 0; i < list->n_db_names; i++)
		*ret = *ret || STREQ(list->db_names[i], db);
	return 0;
}

int ddl_ensure_database(struct ddl *d, const char *db, struct err *err)
{
	struct milvus_status st;
	bool exists;
	int rc;

	if (is_default(db))
		return 0;
	if ((rc = database_exists(d, db, &exists, err)) < 0 || exists)
		return rc;
	rc = milvus_create_database(d->milvus, db, d->ts, &st, err);
	if (rc == -ERR_TARGET_REFUSED && strstr(st.reason, "already exist")) /* somebody else was faster */
		return 0;
	return rc;
}

/*
 * Why one of ours is in a database that the source has dropped; NULL: it is not ours. One on hold must not
 * stop the task: then nothing would ever try it again.
 */
static const char *kept_by(struct ddl *d, const char *db, const char *name)
{
	const struct target_collection *c = object_map_by_name(d->sink->map, db, name);

	if (!c)
		return NULL;
	if (*c->source_db && !STREQ(c->source_db, ddl_db(source_db(d))))
		return "of another source database";
	return "which is on hold and has not moved yet; drop the database there when it is empty";
}

static int drop_database(struct ddl *d, const char *db, struct err *err)
{
	Mv__ShowCollectionsResponse *list;
	char names[400] = "";
	bool exists;
	int rc;

	if (is_default(db))
		return 0; /* cannot be dropped anywhere */
	if ((rc = database_exists(d, db, &exists, err)) < 0 || !exists)
		return rc;
	if ((rc = milvus_show_collections(d->milvus, db, d->arena, &list, err)) < 0)
		return rc;
	if (list->n_collection_names == 0)
		return milvus_drop_database(d->milvus, db, d->ts, NULL, err);
	for (size_t i = 0; i < list->n_collection_names; i++) {
		const char *why = kept_by(d, db, list->collection_names[i]);

		if (why) {
			ddl_note(d, "database %s on the target stays: it holds %s, %s", db,
				 list->collection_names[i], why);
			return 0;
		}
	}
	for (size_t i = 0, at = 0; i < list->n_collection_names && at < sizeof(names) - 1; i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? ", " : "",
				       list->collection_names[i]);
	return err_set(err, ERR_TARGET_REFUSED,
		       "drop database: %s on the target still has %zu collections: %s; they are not this "
		       "task's, drop or "
		       "move them there",
		       db, list->n_collection_names, names);
}

/* --- dispatch ------------------------------------------------------------------------------------ */

static int apply(struct ddl *d, struct err *err)
{
	const char *db = name_map_db(d->sink->names, source_db(d));

	if (d->entry->kind >= KIND_CREATE_USER && d->entry->kind <= KIND_REVOKE)
		return ddl_access(d, err);
	switch (d->entry->kind) {
	case KIND_CREATE_DATABASE:
		return ddl_ensure_database(d, db, err);
	case KIND_DROP_DATABASE:
		return drop_database(d, db, err);
	case KIND_ALTER_DATABASE:
		return ddl_alter_database(d, db, err);
	case KIND_CREATE_COLLECTION:
		return d->twin && d->twin->dropped ? 0 : ddl_create_collection(d, err);
	default:
		break;
	}
	if (!d->twin || d->twin->dropped)
		return 0;
	switch (d->entry->kind) {
	case KIND_DROP_COLLECTION:
		return ddl_drop_collection(d, err);
	case KIND_ALTER_COLLECTION:
		return ddl_alter_collection(d, err);
	case KIND_RENAME_COLLECTION:
		return ddl_rename_collection(d, err);
	case KIND_CREATE_ALIAS:
	case KIND_ALTER_ALIAS:
		return ddl_set_alias(d, err);
	case KIND_DROP_ALIAS:
		return ddl_drop_alias(d, err);
	case KIND_CREATE_PARTITION:
		return ddl_create_partition(d, err);
	case KIND_DROP_PARTITION:
		return ddl_drop_partition(d, err);
	case KIND_CREATE_INDEX:
		return ddl_create_index(d, err);
	case KIND_DROP_INDEX:
		return ddl_drop_index(d, err);
	case KIND_ALTER_INDEX:
		return ddl_alter_index(d, err);
	case KIND_LOAD_PARTITIONS:
		return ddl_load_partitions(d, err);
	case KIND_RELEASE_PARTITIONS:
		return ddl_release_partitions(d, err);
	case KIND_LOAD:
		return ddl_load(d, err);
	case KIND_RELEASE:
		return ddl_release(d, err);
	default: /* FLUSH is a hint and not applied here */
		return 0;
	}
}

/* Where a name map gives the target another name, an error says the source's, too. */
static void name_source(struct ddl *d, int rc, struct err *err)
{
	const char *db = ddl_db(source_db(d)), *name = "", *to_db, *to_name;

	if (!err || !d->sink->names || (rc != -ERR_TARGET_REFUSED && rc != -ERR_TARGET_SCHEMA))
		return;
	if (d->body->collection && d->body->collection->schema)
		name = d->body->collection->schema->name;
	else if (d->twin && *d->twin->source_name) {
		db = d->twin->source_db;
		name = d->twin->source_name;
	}
	name_map_collection(d->sink->names, db, name, &to_db, &to_name);
	if (!STREQ(db, to_db) || !STREQ(name, to_name))
		err_prefix(err, "%s.%s of the source, %s.%s on the target", db, *name ? name : "*", to_db,
			   *name ? to_name : "*");
}

/* The collection, and one that had to make room for it. */
static void store_changed(struct ddl *d, struct state_row **ret, size_t *ret_count)
{
	struct state_row *objects = arena_alloc(d->arena, 2 * sizeof(*objects));
	size_t n = 0;

	if (d->twin)
		objects[n++] = object_map_store(d->twin, d->arena);
	if (d->also)
		objects[n++] = object_map_store(object_map_find(d->sink->map, d->also), d->arena);
	*ret = objects;
	*ret_count = n;
}

int sink_ddl_apply(struct sink_ddl *sink, const struct entry *e, cdc_ts out_ts, struct arena *arena,
		   struct state_row **ret, size_t *ret_count, struct err *err)
{
	struct arena_pb alloc = arena_pb(arena);
	struct ddl d = {.sink = sink, .milvus = sink->milvus, .entry = e, .ts = out_ts, .arena = arena};
	int rc;

	d.body = jr__ddl__unpack((ProtobufCAllocator *)&alloc, e->size, e->body);
	if (!d.body)
		return err_set(err, ERR_JOURNAL_BAD,
			       "journal entry %" PRId64 " (%s): its body (%zu bytes) cannot be read", e->seq,
			       kind_name(e->kind), e->size);
	d.twin = e->collection_id ? object_map_find(sink->map, e->collection_id) : NULL;
	if ((rc = apply(&d, err)) < 0) {
		name_source(&d, rc, err);
		return rc;
	}
	store_changed(&d, ret, ret_count);
	return 0;
}
