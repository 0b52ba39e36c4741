/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_mapping of a create request, as the peer has it:
 *   [{"source_db": "shop", "target_db": "market", "collection_mapping": {"a": "b"}}]
 * maps these collections; without collection_mapping, or with {"*": "*"}, the whole database. "" is the
 * database "default". That no two sources meet on one name is target_names.c's.
 */
#include <stdio.h>

#include "api_priv.h"

#define TARGET_NAME_MAX 255 /* Milvus' own limit: a longer name could never be made there */
#define FIELD "name_mapping"

static const char *or_default(const char *db)
{
	return *db ? db : "default";
}

static int check_target_name(struct request *r, const char *where, const char *key, const char *name,
			     bool database)
{
	size_t max = (size_t)r->conf->max_name_length;
	char why[64];
	int rc;

	if (max > TARGET_NAME_MAX)
		max = TARGET_NAME_MAX;
	if ((rc = check_name(r, where, key, name)) < 0)
		return rc;
	if (database && strchr(name, '$'))
		return request_refuse(r, where, key, "must have only letters, digits and _");
	if (strlen(name) > max) {
		snprintf(why, sizeof(why), "is too long, at most %zu bytes", max);
		return request_refuse(r, where, key, why);
	}
	return 0;
}

/* A mapping of what is not selected would do nothing: a spelling mistake, most likely. */
static int check_selected(struct request *r, const struct selection *s, const char *where,
			  const struct name_map_item *item)
{
	bool whole = STREQ(item->collection, "*");

	if (whole ? selection_wants_db(s, item->db) : selection_wants(s, item->db, item->collection))
		return 0;
	return request_refuse(r, where, whole ? "source_db" : item->collection,
			      "is not selected: name it in collection_infos or db_collections, too");
}

static int add(struct request *r, const struct selection *s, const char *where, struct name_map_item item,
	       struct name_map *out)
{
	int rc;

	if ((rc = check_selected(r, s, where, &item)) < 0)
		return rc;
	for (size_t i = 0; i < out->count; i++)
		if (STREQ(out->items[i].db, item.db) && STREQ(out->items[i].collection, item.collection))
			return request_refuse(r, where,
					      STREQ(item.collection, "*") ? "source_db" : item.collection,
					      "is mapped twice");
	if (out->count == API_ITEMS_MAX)
		return request_refuse(r, where, "", "there are more than " API_ITEMS_TEXT " mappings");
	if (!out->items)
		out->items = arena_alloc(r->arena, API_ITEMS_MAX * sizeof(*out->items));
	out->items[out->count++] = item;
	return 0;
}

static int parse_collections(struct request *r, const struct selection *s, json_t *list, const char *where,
			     struct name_map_item item, struct name_map *out)
{
	const char *from;
	json_t *to;
	int rc;

	json_object_foreach(list, from, to)
	{
		bool whole = STREQ(from, "*");

		if (!json_is_string(to) || strlen(json_string_value(to)) != json_string_length(to))
			return request_refuse(r, where, from, "must be a string");
		item.collection = (char *)from;
		item.to_collection = (char *)json_string_value(to);
		if (whole != STREQ(item.to_collection, "*"))
			return request_refuse(
				r, where, from,
				"* stands for all collections, which keep their names: it goes with * only");
		if (!whole && ((rc = check_name(r, where, from, from)) < 0 ||
			       (rc = check_target_name(r, where, from, item.to_collection, false)) < 0))
			return rc;
		if ((rc = add(r, s, where, item, out)) < 0)
			return rc;
	}
	return 0;
}

static int parse_one(struct request *r, const struct selection *s, const json_t *obj, const char *where,
		     struct name_map *out)
{
	static const char *const known[] = {"source_db", "target_db", "collection_mapping", NULL};
	size_t max = (size_t)r->conf->max_name_length;
	const char *from = "", *to = "";
	json_t *list = NULL;
	struct name_map_item item;
	char at[96];
	int rc;

	if (!json_is_object(obj))
		return request_refuse(r, where, "", "must be an object");
	if ((rc = field_string(r, obj, where, "source_db", max, &from)) < 0 ||
	    (rc = field_string(r, obj, where, "target_db", max, &to)) < 0 ||
	    (rc = field_object(r, obj, where, "collection_mapping", &list)) < 0)
		return rc;
	item = (struct name_map_item){(char *)or_default(from), "*", (char *)or_default(to), "*"};
	if (STREQ(item.db, "*") || STREQ(item.to_db, "*"))
		return request_refuse(r, where, STREQ(item.db, "*") ? "source_db" : "target_db",
				      "must be the name of one database");
	if ((rc = check_name(r, where, "source_db", item.db)) < 0 ||
	    (rc = check_target_name(r, where, "target_db", item.to_db, true)) < 0)
		return rc;
	field_warn_unknown(r, obj, where, known);
	if (!json_object_size(list))
		return add(r, s, where, item, out);
	snprintf(at, sizeof(at), "%s.collection_mapping", where);
	return parse_collections(r, s, list, at, item, out);
}

int parse_mapping(struct request *r, const struct selection *s, struct name_map *ret)
{
	struct name_map m = {0};
	json_t *list = NULL;
	int rc;

	if ((rc = field_array(r, r->data, "", FIELD, &list)) < 0)
		return rc;
	for (size_t i = 0; i < json_array_size(list); i++) {
		char where[64];

		snprintf(where, sizeof(where), FIELD "[%zu]", i);
		if ((rc = parse_one(r, s, json_array_get(list, i), where, &m)) < 0)
			return rc;
	}
	*ret = m;
	return 0;
}

void shown_mapping(const struct name_map *m, json_t *o)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->count; i++) {
		const struct name_map_item *item = &m->items[i];
		json_t *last = json_array_get(list, json_array_size(list) - 1);

		if (!last || !STREQ(json_string_value(json_object_get(last, "source_db")), item->db) ||
		    !STREQ(json_string_value(json_object_get(last, "target_db")), item->to_db)) {
			last = json_pack("{s:s,s:s,s:{}}", "source_db", item->db, "target_db", item->to_db,
					 "collection_mapping");
			json_array_append_new(list, last);
		}
		json_object_set_new(json_object_get(last, "collection_mapping"), item->collection,
				    json_text(item->to_collection));
	}
	json_object_set_new(o, FIELD, list);
}
