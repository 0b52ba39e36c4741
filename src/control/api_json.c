/* SPDX-License-Identifier: Apache-2.0 */
/* Typed access to the fields of a request. Every refusal names the field, none repeats its value. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api_priv.h"

#define NAME_MAX_SHOWN 64
#define WARNINGS_MAX 64

json_t *json_text(const char *s)
{
	json_t *v = json_string(s ? s : "");
	AUTO_FREE char *copy = NULL;

	if (v)
		return v;
	copy = xstrdup(s); /* cut in the middle of a character, or from a peer */
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(copy);
}

static void path_of(const char *where, const char *key, char *ret, size_t n)
{
	snprintf(ret, n, "%s%s%.*s", where, *where && *key ? "." : "", NAME_MAX_SHOWN, key);
}

int request_refuse(struct request *r, const char *where, const char *key, const char *why)
{
	char path[256];

	path_of(where, key, path, sizeof(path));
	return err_set(r->err, ERR_INVALID, "%s: %s", path, why);
}

void request_warn(struct request *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (json_array_size(r->warnings) >= WARNINGS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(r->warnings, json_text(text));
}

static json_t *get(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);

	return json_is_null(v) ? NULL : v;
}

int field_string(struct request *r, const json_t *obj, const char *where, const char *key, size_t max,
		 const char **ret)
{
	json_t *v = get(obj, key);
	char why[80];

	if (!v)
		return 0;
	if (!json_is_string(v))
		return request_refuse(r, where, key, "must be a string");
	if (json_string_length(v) > max) {
		snprintf(why, sizeof(why), "is too long, at most %zu bytes", max);
		return request_refuse(r, where, key, why);
	}
	if (strlen(json_string_value(v)) != json_string_length(v))
		return request_refuse(r, where, key, "has a NUL character in it");
	*ret = json_string_value(v);
	return 1;
}

int field_int(struct request *r, const json_t *obj, const char *where, const char *key, int64_t min,
	      int64_t max, int64_t *ret)
{
	json_t *v = get(obj, key);
	char why[80];
	int64_t i;

	if (!v)
		return 0;
	if (json_is_integer(v))
		i = json_integer_value(v);
	else if (json_is_real(v) && json_real_value(v) == trunc(json_real_value(v)) &&
		 fabs(json_real_value(v)) < 1e15)
		i = (int64_t)json_real_value(v);
	else
		return request_refuse(r, where, key, "must be a whole number");
	if (i < min || i > max) {
		snprintf(why, sizeof(why), "must be from %lld to %lld", (long long)min, (long long)max);
		return request_refuse(r, where, key, why);
	}
	*ret = i;
	return 1;
}

int field_bool(struct request *r, const json_t *obj, const char *where, const char *key, bool *ret)
{
	json_t *v = get(obj, key);

	if (!v)
		return 0;
	if (!json_is_boolean(v))
		return request_refuse(r, where, key, "must be true or false");
	*ret = json_is_true(v);
	return 1;
}

int field_object(struct request *r, const json_t *obj, const char *where, const char *key, json_t **ret)
{
	json_t *v = get(obj, key);

	if (!v)
		return 0;
	if (!json_is_object(v))
		return request_refuse(r, where, key, "must be an object");
	*ret = v;
	return 1;
}

int field_array(struct request *r, const json_t *obj, const char *where, const char *key, json_t **ret)
{
	json_t *v = get(obj, key);

	if (!v)
		return 0;
	if (!json_is_array(v))
		return request_refuse(r, where, key, "must be a list");
	*ret = v;
	return 1;
}

void field_warn_unknown(struct request *r, const json_t *obj, const char *where, const char *const *known)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)obj, key, v)
	{
		char path[256];
		bool found = false;

		for (const char *const *k = known; *k && !found; k++)
			found = STREQ(*k, key);
		if (found)
			continue;
		path_of(where, key, path, sizeof(path));
		request_warn(r, "%s: unknown field, ignored", path);
	}
}

bool field_is_set(const json_t *obj, const char *key)
{
	json_t *v = get(obj, key);

	if (!v || json_is_false(v))
		return false;
	if (json_is_string(v))
		return json_string_length(v) > 0;
	if (json_is_number(v))
		return json_number_value(v) != 0;
	if (json_is_array(v))
		return json_array_size(v) > 0;
	if (json_is_object(v))
		return json_object_size(v) > 0;
	return true;
}
