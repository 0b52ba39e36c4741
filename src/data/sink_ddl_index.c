/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indexes onto the target. An index is made from the parameters that the source's user gave; where the
 * source kept only the effective ones (2.2 and older), from those.
 */
#include "sink_ddl_priv.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* --- parameters ---------------------------------------------------------------------------------- */

struct param {
	const char *key, *value;
};
struct params {
	struct param *items;
	size_t count;
};

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct param *)a)->key, ((const struct param *)b)->key);
}

static const char *json_text(const json_t *v, struct arena *arena)
{
	char *text;
	const char *copy;

	if (json_is_string(v))
		return arena_strdup(arena, json_string_value(v));
	text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
	copy = arena_strdup(arena, text ? text : "");
	free(text);
	return copy;
}

/* Flat and sorted: "params" is a JSON object of further parameters, or they stand beside it. */
static struct params flatten(Mv__KeyValuePair *const *p, size_t n, struct arena *arena)
{
	struct params r = {0};
	json_t **objects = arena_alloc(arena, (n + 1) * sizeof(json_t *));
	size_t total = 0;

	for (size_t i = 0; i < n; i++) {
		objects[i] = STREQ(p[i]->key, "params") ? json_loads(p[i]->value, 0, NULL) : NULL;
		total += json_is_object(objects[i]) ? json_object_size(objects[i]) : 1;
	}
	r.items = arena_alloc(arena, (total + 1) * sizeof(*r.items));
	for (size_t i = 0; i < n; i++) {
		const char *key;
		json_t *v;

		if (!json_is_object(objects[i]))
			r.items[r.count++] = (struct param){p[i]->key, p[i]->value};
		else
			json_object_foreach(objects[i], key, v) r.items[r.count++] =
				(struct param){arena_strdup(arena, key), json_text(v, arena)};
		json_decref(objects[i]);
	}
	qsort(r.items, r.count, sizeof(*r.items), by_key);
	return r;
}

static bool same_params(const struct params *a, const struct params *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!STREQ(a->items[i].key, b->items[i].key) || !STREQ(a->items[i].value, b->items[i].value))
			return false;
	return true;
}

static const char *params_text(const struct params *p, char *buf, size_t n)
{
	buf[0] = 0;
	for (size_t i = 0, at = 0; i < p->count && at < n - 1; i++)
		at += (size_t)snprintf(buf + at, n - at, "%s%s=%s", i ? ", " : "", p->items[i].key,
				       p->items[i].value);
	return buf;
}

/* --- indexes ------------------------------------------------------------------------------------- */

static int entry_index(struct ddl *d, const Mv__IndexInfo **ret, struct err *err)
{
	if (!d->body->index || !*d->body->index->index_name || !*d->body->field_name)
		return err_set(err, ERR_JOURNAL_BAD,
			       "journal entry %" PRId64 " (%s): no index or no field name", d->entry->seq,
			       kind_name(d->entry->kind));
	*ret = d->body->index;
	return 0;
}

/*
 * What a request for the index has to say. Without the user's words it is an index of a scalar that was
 * asked for without any, or one that a 2.2 or older made: then a vector's effective ones name its metric.
 */
static size_t request_params(const Mv__IndexInfo *index, Mv__KeyValuePair ***ret)
{
	*ret = index->user_index_params;
	for (size_t i = 0; !index->n_user_index_params && i < index->n_index_params; i++)
		if (STREQ(index->index_params[i]->key, "metric_type")) {
			*ret = index->index_params;
			return index->n_index_params;
		}
	return index->n_user_index_params;
}

/* Is the index there? 1, 0 no and nothing is in its way, TARGET_REFUSED another one is. */
static int compare_index(struct ddl *d, const Mv__IndexInfo *want, Mv__KeyValuePair **params, size_t n,
			 const Mv__DescribeIndexResponse *have, struct err *err)
{
	struct params ours = flatten(params, n, d->arena), theirs;
	char a[300], b[300];

	for (size_t i = 0; i < have->n_index_descriptions; i++) {
		const Mv__IndexDescription *x = have->index_descriptions[i];
		bool name = STREQ(x->index_name, want->index_name),
		     field = STREQ(x->field_name, d->body->field_name);

		if (!name && !field)
			continue;
		theirs = flatten(x->params, x->n_params, d->arena);
		if (name && field && same_params(&ours, &theirs))
			return 1;
		return err_set(err, ERR_TARGET_REFUSED,
			       "create index: %s.%s field %s index %s (%s): the target has index %s on field "
			       "%s (%s) in "
			       "its way; drop that one there and resume",
			       d->twin->db, d->twin->name, d->body->field_name, want->index_name,
			       params_text(&ours, a, sizeof(a)), x->index_name, x->field_name,
			       params_text(&theirs, b, sizeof(b)));
	}
	return 0;
}

int ddl_create_index(struct ddl *d, struct err *err)
{
	const Mv__IndexInfo *index;
	Mv__DescribeIndexResponse *have;
	Mv__KeyValuePair **params;
	size_t n;
	int rc;

	if ((rc = entry_index(d, &index, err)) < 0 || (rc = ddl_need(d, err)) < 0)
		return rc;
	n = request_params(index, &params);
	if ((rc = milvus_describe_index(d->milvus, d->twin->db, d->twin->name, d->arena, &have, err)) < 0 ||
	    (rc = compare_index(d, index, params, n, have, err)) < 0)
		return rc;
	if (rc == 0 && (rc = milvus_create_index(d->milvus, d->twin->db, d->twin->name, d->body->field_name,
						 index->index_name, params, n, d->ts, NULL, err)) < 0)
		return rc;
	/* released for a DROP_INDEX before: the source was released and loaded in one moment */
	return ddl_reload(d, false, err);
}

int ddl_drop_index(struct ddl *d, struct err *err)
{
	const Mv__IndexInfo *index;
	Mv__DescribeIndexResponse *have;
	enum ddl_found found;
	bool there = false, was_loaded = false;
	int rc;

	if ((rc = entry_index(d, &index, err)) < 0 || (rc = ddl_find(d, &found, err)) < 0)
		return rc;
	if (found != DDL_OURS)
		return 0;
	if ((rc = milvus_describe_index(d->milvus, d->twin->db, d->twin->name, d->arena, &have, err)) < 0)
		return rc;
	for (size_t i = 0; i < have->n_index_descriptions; i++)
		there = there || (STREQ(have->index_descriptions[i]->index_name, index->index_name) &&
				  STREQ(have->index_descriptions[i]->field_name, d->body->field_name));
	if (there) {
		if ((rc = ddl_unload(d, &was_loaded, err)) < 0)
			return rc;
		rc = milvus_drop_index(d->milvus, d->twin->db, d->twin->name, d->body->field_name,
				       index->index_name, d->ts, NULL, err);
		if (rc < 0)
			return rc;
	}
	return ddl_reload(d, was_loaded, err);
}

/* The parameters of `want` that `have` lacks or has otherwise. */
static size_t missing_params(Mv__KeyValuePair **want, size_t n, const Mv__IndexDescription *have,
			     Mv__KeyValuePair **ret, struct arena *arena)
{
	struct params theirs = flatten(have->params, have->n_params, arena);
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		struct params one = flatten(&want[i], 1, arena);
		bool same = true;

		for (size_t k = 0; k < one.count; k++) {
			const struct param *p = theirs.count
							? bsearch(&one.items[k], theirs.items, theirs.count,
								  sizeof(*theirs.items), by_key)
							: NULL;

			same = same && p && STREQ(p->value, one.items[k].value);
		}
		if (!same)
			ret[count++] = want[i];
	}
	return count;
}

/*
 * What can be altered says how an index is held in memory, never what is found by it: where the target
 * cannot do it, nobody's rows wait for it.
 */
int ddl_alter_index(struct ddl *d, struct err *err)
{
	const Mv__IndexInfo *index;
	const Mv__IndexDescription *there = NULL;
	Mv__DescribeIndexResponse *have;
	Mv__KeyValuePair **params, **changed;
	enum ddl_found found;
	struct err why;
	size_t n;
	int rc;

	if ((rc = entry_index(d, &index, err)) < 0 || (rc = ddl_find(d, &found, err)) < 0)
		return rc;
	if (found != DDL_OURS)
		return 0;
	n = request_params(index, &params);
	if ((rc = milvus_describe_index(d->milvus, d->twin->db, d->twin->name, d->arena, &have, err)) < 0)
		return rc;
	for (size_t i = 0; i < have->n_index_descriptions; i++)
		if (STREQ(have->index_descriptions[i]->index_name, index->index_name))
			there = have->index_descriptions[i];
	changed = arena_alloc(d->arena, (n + 1) * sizeof(*changed));
	if (!there || (n = missing_params(params, n, there, changed, d->arena)) == 0)
		return 0;
	rc = milvus_alter_index(d->milvus, d->twin->db, d->twin->name, index->index_name, changed, n, d->ts,
				NULL, &why);
	if (rc == -ERR_TARGET_REFUSED) {
		ddl_note(d, "index %s of %s.%s keeps its parameters on the target: %s", index->index_name,
			 d->twin->db, d->twin->name, why.text);
		return 0;
	}
	if (rc < 0 && err)
		*err = why;
	return rc;
}
