/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a create request selects: collection_infos (database default), db_collections (others) and
 * exclude_collections. The items live in the request's arena; the strings are the request's own.
 */
#include <ctype.h>
#include <stdio.h>

#include "api_priv.h"

int check_name(struct request *r, const char *where, const char *key, const char *name)
{
	if (!*name)
		return request_refuse(r, where, key, "is missing or empty");
	if (isdigit((unsigned char)*name) || *name == '$')
		return request_refuse(r, where, key, "must begin with a letter or _");
	for (const char *p = name; *p; p++)
		if (!(isascii(*p) && isalnum((unsigned char)*p)) && *p != '_' && *p != '$')
			return request_refuse(r, where, key,
					      "must have only letters, digits, _ and $, or be *");
	return 0;
}

/* A name or "*". */
static int check_pattern(struct request *r, const char *where, const char *key, const char *name)
{
	return STREQ(name, "*") ? 0 : check_name(r, where, key, name);
}

static int add(struct request *r, const char *where, const char *db, const char *collection, bool exclude,
	       struct selection *out)
{
	if (out->count == API_ITEMS_MAX)
		return request_refuse(r, where, "",
				      "there are more than " API_ITEMS_TEXT
				      " names: make several tasks, or select a whole database by \"*\" and "
				      "exclude some");
	if (!out->items)
		out->items = arena_alloc(r->arena, API_ITEMS_MAX * sizeof(*out->items));
	out->items[out->count++] = (struct selection_item){
		.db = (char *)db, .collection = (char *)collection, .exclude = exclude};
	return 0;
}

static int parse_name(struct request *r, const json_t *item, const char *where, const char **ret)
{
	int rc;

	*ret = "";
	if (!json_is_object(item))
		return request_refuse(r, where, "", "must be an object {\"name\": ...}");
	if ((rc = field_string(r, item, where, "name", (size_t)r->conf->max_name_length, ret)) < 0)
		return rc;
	return check_pattern(r, where, "name", *ret);
}

/* db NULL: collection_infos, where "*" is the whole source and a name is of the default database. */
static int parse_list(struct request *r, const json_t *list, const char *where, const char *db,
		      struct selection *out)
{
	static const char *const known[] = {"name", "positions", "use_start_position", "start", NULL};

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *name;
		char at[256];
		int rc;

		snprintf(at, sizeof(at), "%.200s[%zu]", where, i);
		if ((rc = parse_name(r, item, at, &name)) < 0 || (rc = add(r, where,
									   db                 ? db
									   : STREQ(name, "*") ? "*"
											      : "default",
									   name, false, out)) < 0)
			return rc;
		field_warn_unknown(r, item, at, known);
	}
	return 0;
}

static int parse_databases(struct request *r, json_t *dbs, struct selection *out)
{
	const char *db;
	json_t *list;
	int rc;

	json_object_foreach(dbs, db, list)
	{
		char where[128];

		if (strlen(db) > (size_t)r->conf->max_name_length)
			return request_refuse(r, "db_collections", db, "this name is too long");
		if ((rc = check_pattern(r, "db_collections", db, db)) < 0)
			return rc;
		if (!json_is_array(list) || !json_array_size(list))
			return request_refuse(r, "db_collections", db,
					      "must be a list with at least one {\"name\": ...}");
		snprintf(where, sizeof(where), "db_collections.%.64s", db);
		if ((rc = parse_list(r, list, where, db, out)) < 0)
			return rc;
	}
	return 0;
}

/* [{"db": "shop", "name": "events"}]: db is "default" when it is not given; both may be "*". */
static int parse_excluded(struct request *r, const json_t *list, struct selection *out)
{
	static const char *const known[] = {"db", "name", NULL};

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *db = "", *name;
		char at[64];
		int rc;

		snprintf(at, sizeof(at), "exclude_collections[%zu]", i);
		if ((rc = parse_name(r, item, at, &name)) < 0 ||
		    (rc = field_string(r, item, at, "db", (size_t)r->conf->max_name_length, &db)) < 0 ||
		    (*db && (rc = check_pattern(r, at, "db", db)) < 0) ||
		    (rc = add(r, "exclude_collections", *db ? db : "default", name, true, out)) < 0)
			return rc;
		field_warn_unknown(r, item, at, known);
	}
	return 0;
}

static bool excludes_all_of(const struct selection *s, const struct selection_item *item)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->items[i].exclude && (STREQ(s->items[i].db, "*") || STREQ(s->items[i].db, item->db)) &&
		    (STREQ(s->items[i].collection, "*") || STREQ(s->items[i].collection, item->collection)))
			return true;
	return false;
}

/* A selection that takes nothing can only be a mistake. */
static int check_something_left(struct request *r, const struct selection *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (!s->items[i].exclude && !excludes_all_of(s, &s->items[i]))
			return 0;
	return request_refuse(r, "", "exclude_collections", "leaves nothing of what is selected");
}

int parse_selection(struct request *r, struct selection *ret)
{
	json_t *infos = NULL, *dbs = NULL, *excluded = NULL;
	struct selection s = {0};
	int rc;

	if ((rc = field_array(r, r->data, "", "collection_infos", &infos)) < 0 ||
	    (rc = field_object(r, r->data, "", "db_collections", &dbs)) < 0 ||
	    (rc = field_array(r, r->data, "", "exclude_collections", &excluded)) < 0 ||
	    (rc = parse_list(r, infos, "collection_infos", NULL, &s)) < 0 ||
	    (rc = parse_databases(r, dbs, &s)) < 0)
		return rc;
	if (!s.count)
		return request_refuse(r, "", "collection_infos",
				      "is missing or empty: name the collections, or \"*\"");
	if ((rc = parse_excluded(r, excluded, &s)) < 0 || (rc = check_something_left(r, &s)) < 0)
		return rc;
	*ret = s;
	return 0;
}

/* ---- what get and list show ---- */

static json_t *shown_names(const json_t *list)
{
	json_t *out = json_array(), *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		json_t *o = json_object(), *positions = json_object_get(item, "positions");

		json_object_set(o, "name", json_object_get(item, "name"));
		json_object_set_new(o, "positions",
				    field_is_set(item, "positions") ? json_incref(positions) : json_null());
		json_object_set_new(o, "use_start_position",
				    json_boolean(json_is_true(json_object_get(item, "use_start_position"))));
		if (field_is_set(item, "start"))
			json_object_set(o, "start", json_object_get(item, "start"));
		json_array_append_new(out, o);
	}
	return out;
}

void shown_selection(struct request *r, json_t *o)
{
	json_t *dbs = json_object(), *excluded = json_array(), *list, *item;
	const char *db;
	size_t i;

	json_object_foreach(json_object_get(r->data, "db_collections"), db, list)
		json_object_set_new(dbs, db, shown_names(list));
	json_array_foreach(json_object_get(r->data, "exclude_collections"), i, item)
	{
		const char *of = json_string_value(json_object_get(item, "db"));

		json_array_append_new(excluded, json_pack("{s:s,s:O}", "db", of && *of ? of : "default",
							  "name", json_object_get(item, "name")));
	}
	json_object_set_new(o, "collection_infos", shown_names(json_object_get(r->data, "collection_infos")));
	json_object_set_new(o, "db_collections", dbs);
	json_object_set_new(o, "exclude_collections", excluded);
}
