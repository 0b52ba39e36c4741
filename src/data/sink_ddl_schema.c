/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schemas: the source's as a request to the target, and the comparison of the two in words. Pure.
 *
 * The target numbers fields from 100 in the order of the request and row messages carry field IDs, so
 * fields are sent in ID order and IDs are part of the comparison. RowID, Timestamp ($meta's elder
 * siblings, IDs below 100) and $meta itself are made by the target.
 */
#include "sink_ddl_priv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_USER_FIELD 100
#define MAX_WORDS 700 /* of all differences: an error's text holds no more */

static int by_id(const void *a, const void *b)
{
	const Mv__FieldSchema *const *x = a, *const *y = b;

	return ((*x)->field_id > (*y)->field_id) - ((*x)->field_id < (*y)->field_id);
}

Mv__CollectionSchema *ddl_target_schema(const Mv__CollectionInfo *c, const char *name, bool keep_ids,
					struct arena *arena)
{
	static const Mv__CollectionSchema none = MV__COLLECTION_SCHEMA__INIT;
	const Mv__CollectionSchema *from = c->schema ? c->schema : &none;
	Mv__CollectionSchema *s = arena_dup(arena, from, sizeof(*from));

	s->name = arena_strdup(arena, name);
	s->db_name = (char *)protobuf_c_empty_string; /* the request says it */
	s->auto_id = s->auto_id && !keep_ids;
	s->n_fields = 0;
	s->fields = arena_alloc(arena, (from->n_fields + 1) * sizeof(*s->fields));
	for (size_t i = 0; i < from->n_fields; i++) {
		Mv__FieldSchema *f;

		if (from->fields[i]->is_dynamic) {
			s->enable_dynamic_field = true;
			continue;
		}
		if (from->fields[i]->field_id < FIRST_USER_FIELD)
			continue;
		f = arena_dup(arena, from->fields[i], sizeof(*f));
		f->state = 0;
		f->auto_id = f->auto_id && !keep_ids;
		s->fields[s->n_fields++] = f;
	}
	qsort(s->fields, s->n_fields, sizeof(*s->fields), by_id);
	return s;
}

size_t ddl_key_partitions(const Mv__CollectionSchema *schema, Mv__PartitionInfo *const *p, size_t n)
{
	size_t count = 0;
	bool key = false;

	for (size_t i = 0; i < schema->n_fields; i++)
		key = key || schema->fields[i]->is_partition_key;
	for (size_t i = 0; key && i < n; i++) {
		const char *digits = strrchr(p[i]->partition_name, '_');

		if (digits && digits[1] && strspn(digits + 1, "0123456789") == strlen(digits + 1))
			count++;
	}
	return count;
}

/* --- comparison ---------------------------------------------------------------------------------- */

static void differ(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void differ(struct buf *b, const char *fmt, ...)
{
	static const char more[] = "; and more";
	char text[300];
	va_list ap;

	if (b->len >= sizeof(more) && STREQ((const char *)b->data + b->len - (sizeof(more) - 1), more))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (b->len + strlen(text) > MAX_WORDS)
		buf_adds(b, more);
	else
		buf_addf(b, "%s%s", b->len ? "; " : "", text);
}

static const char *type_name(int type, char *other, size_t n)
{
	static const struct {
		int type;
		const char *name;
	} types[] = {
		{0, "none"},
		{1, "Bool"},
		{2, "Int8"},
		{3, "Int16"},
		{4, "Int32"},
		{5, "Int64"},
		{10, "Float"},
		{11, "Double"},
		{20, "String"},
		{21, "VarChar"},
		{22, "Array"},
		{23, "JSON"},
		{100, "BinaryVector"},
		{101, "FloatVector"},
		{102, "Float16Vector"},
		{103, "BFloat16Vector"},
		{104, "SparseFloatVector"},
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].type == type)
			return types[i].name;
	snprintf(other, n, "type %d", type);
	return other;
}
#define TYPE_NAME(type) type_name(type, (char[24]){0}, 24)

static const char *value_of(Mv__KeyValuePair *const *p, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (STREQ(p[i]->key, key))
			return p[i]->value;
	return NULL;
}

/* How a field's memory is mapped is the target's own business. */
static bool is_schema_param(const char *key)
{
	return strncmp(key, "mmap", 4) != 0;
}

static void diff_params(struct buf *b, const Mv__FieldSchema *want, const Mv__FieldSchema *have)
{
	for (size_t i = 0; i < want->n_type_params; i++) {
		const char *key = want->type_params[i]->key;
		const char *value = value_of(have->type_params, have->n_type_params, key);

		if (is_schema_param(key) && (!value || !STREQ(value, want->type_params[i]->value)))
			differ(b, "field %s: %s is %s, on the target %s", want->name, key,
			       want->type_params[i]->value, value ? value : "not set");
	}
	for (size_t i = 0; i < have->n_type_params; i++)
		if (is_schema_param(have->type_params[i]->key) &&
		    !value_of(want->type_params, want->n_type_params, have->type_params[i]->key))
			differ(b, "field %s: %s is not set, on the target %s", want->name,
			       have->type_params[i]->key, have->type_params[i]->value);
}

static bool same_default(const Mv__ValueField *a, const Mv__ValueField *b)
{
	if (!a || !b)
		return !a == !b;
	if (a->data_case != b->data_case)
		return false;
	switch (a->data_case) {
	case MV__VALUE_FIELD__DATA_BOOL_DATA:
		return !a->bool_data == !b->bool_data;
	case MV__VALUE_FIELD__DATA_INT_DATA:
		return a->int_data == b->int_data;
	case MV__VALUE_FIELD__DATA_LONG_DATA:
		return a->long_data == b->long_data;
	case MV__VALUE_FIELD__DATA_FLOAT_DATA: /* as bits: what was stored, not what compares equal */
		return memcmp(&a->float_data, &b->float_data, sizeof(a->float_data)) == 0;
	case MV__VALUE_FIELD__DATA_DOUBLE_DATA:
		return memcmp(&a->double_data, &b->double_data, sizeof(a->double_data)) == 0;
	case MV__VALUE_FIELD__DATA_STRING_DATA:
		return STREQ(a->string_data, b->string_data);
	case MV__VALUE_FIELD__DATA_BYTES_DATA:
		return a->bytes_data.len == b->bytes_data.len &&
		       (a->bytes_data.len == 0 ||
			memcmp(a->bytes_data.data, b->bytes_data.data, a->bytes_data.len) == 0);
	default:
		return true;
	}
}

static const char *default_text(const Mv__ValueField *v, char *buf, size_t n)
{
	if (!v)
		return "none";
	switch (v->data_case) {
	case MV__VALUE_FIELD__DATA_BOOL_DATA:
		return v->bool_data ? "true" : "false";
	case MV__VALUE_FIELD__DATA_INT_DATA:
		snprintf(buf, n, "%" PRId32, v->int_data);
		break;
	case MV__VALUE_FIELD__DATA_LONG_DATA:
		snprintf(buf, n, "%" PRId64, v->long_data);
		break;
	case MV__VALUE_FIELD__DATA_FLOAT_DATA:
		snprintf(buf, n, "%.9g", (double)v->float_data);
		break;
	case MV__VALUE_FIELD__DATA_DOUBLE_DATA:
		snprintf(buf, n, "%.17g", v->double_data);
		break;
	case MV__VALUE_FIELD__DATA_STRING_DATA:
		snprintf(buf, n, "\"%.40s\"", v->string_data);
		break;
	case MV__VALUE_FIELD__DATA_BYTES_DATA:
		snprintf(buf, n, "%zu bytes", v->bytes_data.len);
		break;
	default:
		return "empty";
	}
	return buf;
}

static void diff_default(struct buf *b, const char *field, const Mv__ValueField *want,
			 const Mv__ValueField *have)
{
	char ours[64], theirs[64];

	if (!same_default(want, have))
		differ(b, "field %s: its default value is %s, on the target %s", field,
		       default_text(want, ours, sizeof(ours)), default_text(have, theirs, sizeof(theirs)));
}

static void diff_flag(struct buf *b, const char *field, const char *what, bool want, bool have)
{
	if (want != have)
		differ(b, "field %s: is %s%s, on the target %s", field, want ? "" : "no ", what,
		       have ? "it is" : "not");
}

static void diff_field(struct buf *b, const Mv__CollectionSchema *ws, const Mv__FieldSchema *want,
		       const Mv__CollectionSchema *hs, const Mv__FieldSchema *have, bool by_name)
{
	if (!by_name && want->field_id != have->field_id)
		differ(b, "field %s: its ID is %" PRId64 ", on the target %" PRId64, want->name,
		       want->field_id, have->field_id);
	if (want->data_type != have->data_type)
		differ(b, "field %s: %s, on the target %s", want->name, TYPE_NAME(want->data_type),
		       TYPE_NAME(have->data_type));
	if (want->element_type != have->element_type)
		differ(b, "field %s: elements are %s, on the target %s", want->name,
		       TYPE_NAME(want->element_type), TYPE_NAME(have->element_type));
	diff_flag(b, want->name, "primary key", want->is_primary_key, have->is_primary_key);
	diff_flag(b, want->name, "partition key", want->is_partition_key, have->is_partition_key);
	diff_flag(b, want->name, "clustering key", want->is_clustering_key, have->is_clustering_key);
	diff_flag(b, want->name, "nullable field", want->nullable, have->nullable);
	diff_flag(b, want->name, "function's output", want->is_function_output, have->is_function_output);
	/* older servers keep it at the collection */
	diff_flag(b, want->name, "autoID", want->auto_id || (want->is_primary_key && ws->auto_id),
		  have->auto_id || (have->is_primary_key && hs->auto_id));
	diff_params(b, want, have);
	diff_default(b, want->name, want->default_value, have->default_value);
}

static const Mv__FieldSchema *user_field(const Mv__CollectionSchema *s, const char *name)
{
	for (size_t i = 0; i < s->n_fields; i++)
		if (s->fields[i]->field_id >= FIRST_USER_FIELD && !s->fields[i]->is_dynamic &&
		    STREQ(s->fields[i]->name, name))
			return s->fields[i];
	return NULL;
}

static void diff_functions(struct buf *b, const Mv__CollectionSchema *want, const Mv__CollectionSchema *have)
{
	if (want->n_functions != have->n_functions) {
		differ(b, "%zu functions, on the target %zu", want->n_functions, have->n_functions);
		return;
	}
	for (size_t i = 0; i < want->n_functions; i++) {
		bool found = false;

		for (size_t k = 0; k < have->n_functions && !found; k++)
			found = STREQ(have->functions[k]->name, want->functions[i]->name) &&
				have->functions[k]->type == want->functions[i]->type;
		if (!found)
			differ(b, "function %s is missing or another on the target",
			       want->functions[i]->name);
	}
}

void ddl_schema_diff(const struct schema_want *w, const Mv__DescribeCollectionResponse *have,
		     size_t have_partitions, struct buf *ret)
{
	const Mv__CollectionSchema *want = w->schema;
	const Mv__CollectionSchema *s = have->schema;

	if (!w->by_name && (size_t)w->shards != have->n_virtual_channel_names)
		differ(ret, "%d shards, on the target %zu", w->shards, have->n_virtual_channel_names);
	if (want->enable_dynamic_field != s->enable_dynamic_field)
		differ(ret, "dynamic fields are %s, on the target %s",
		       want->enable_dynamic_field ? "enabled" : "disabled",
		       s->enable_dynamic_field ? "enabled" : "disabled");
	for (size_t i = 0; i < want->n_fields; i++) {
		const Mv__FieldSchema *f = user_field(s, want->fields[i]->name);

		if (f)
			diff_field(ret, want, want->fields[i], s, f, w->by_name);
		else
			differ(ret, "field %s (%s) is missing on the target", want->fields[i]->name,
			       TYPE_NAME(want->fields[i]->data_type));
	}
	for (size_t i = 0; i < s->n_fields; i++)
		if (s->fields[i]->field_id >= FIRST_USER_FIELD && !s->fields[i]->is_dynamic &&
		    !user_field(want, s->fields[i]->name))
			differ(ret, "field %s (%s) is on the target only", s->fields[i]->name,
			       TYPE_NAME(s->fields[i]->data_type));
	diff_functions(ret, want, s);
	/* reads by key would look into the wrong ones */
	if (w->key_partitions && w->key_partitions != have_partitions)
		differ(ret, "its partition key spreads over %zu partitions, on the target over %zu",
		       w->key_partitions, have_partitions);
}
