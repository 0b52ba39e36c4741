/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the rows of a create request begin: `start` of the whole task, and of a collection one of
 * `start`, `positions`, `use_start_position`. Whether the source still holds what is asked for is found
 * out when the task is made. What is returned lives in the request's arena.
 */
#include <cdc/pb.h>
#include <cdc/worker.h>

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <time.h>

#include "api_priv.h"

#define POSITION_TEXT_MAX 1024
#define START_HELP "must be \"now\", \"earliest\" or a time such as \"2026-01-31T12:00:00Z\" (RFC 3339)"

/* ---- times ---- */

/* n digits at *p, which moves on; -1: there is something else. */
static int digits(const char **p, int n)
{
	int v = 0;

	for (; n > 0; n--, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return -1;
		v = v * 10 + (**p - '0');
	}
	return v;
}

static bool skip(const char **p, const char *any)
{
	if (!**p || !strchr(any, **p))
		return false;
	(*p)++;
	return true;
}

/* "2026-01-31T12:00:00.5+01:00" -> unix ms. */
static bool parse_time(const char *p, int64_t *ret)
{
	struct tm tm = {0}, back;
	int ms = 0, scale = 100, zone = 0, h, m;
	bool ok = (tm.tm_year = digits(&p, 4) - 1900) >= 70 && skip(&p, "-") &&
		  (tm.tm_mon = digits(&p, 2) - 1) >= 0 && skip(&p, "-") && (tm.tm_mday = digits(&p, 2)) > 0 &&
		  skip(&p, "Tt ") && (tm.tm_hour = digits(&p, 2)) >= 0 && skip(&p, ":") &&
		  (tm.tm_min = digits(&p, 2)) >= 0 && skip(&p, ":") && (tm.tm_sec = digits(&p, 2)) >= 0;
	int sign, want[5] = {tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec};
	time_t t;

	if (!ok)
		return false;
	if (skip(&p, ".")) {
		if (!isdigit((unsigned char)*p))
			return false;
		for (; isdigit((unsigned char)*p); p++, scale /= 10)
			ms += (*p - '0') * scale;
	}
	sign = *p == '-' ? -1 : *p == '+' ? 1 : 0;
	if (sign) {
		p++;
		if ((h = digits(&p, 2)) < 0 || !skip(&p, ":") || (m = digits(&p, 2)) < 0 || h > 23 || m > 59)
			return false;
		zone = sign * (h * 60 + m) * 60;
	} else if (!skip(&p, "Zz")) {
		return false;
	}
	t = timegm(&tm);
	if (*p || !gmtime_r(&t, &back) || back.tm_mon != want[0] || back.tm_mday != want[1] ||
	    back.tm_hour != want[2] || back.tm_min != want[3] || back.tm_sec != want[4])
		return false; /* the 31st of a month that has 30 days */
	*ret = ((int64_t)t - zone) * 1000 + ms;
	return *ret > 0;
}

/* 1: given, 0: not. */
static int parse_point(struct request *r, const json_t *obj, const char *where, struct start_point *ret)
{
	const char *text = "";
	int rc = field_string(r, obj, where, "start", 64, &text);

	if (rc < 0 || !*text)
		return rc < 0 ? rc : 0;
	if (STREQ(text, "now")) {
		ret->kind = START_NOW;
	} else if (STREQ(text, "earliest")) {
		ret->kind = START_EARLIEST;
	} else {
		if (!parse_time(text, &ret->time_ms))
			return request_refuse(r, where, "start", START_HELP);
		if (ret->time_ms > clock_real_ms())
			return request_refuse(r, where, "start", "lies in the future");
		ret->kind = START_TIME;
	}
	return 1;
}

/* ---- positions ---- */

/* "<pchannel>_<collection ID>v<shard>"; returns the length of the pchannel, 0: it is none. */
static size_t pchannel_of(const char *vchannel)
{
	const char *at = strrchr(vchannel, '_'), *p = at ? at + 1 : "";
	size_t id = strspn(p, "0123456789"), shard = p[id] == 'v' ? strspn(p + id + 1, "0123456789") : 0;

	return id && shard && !p[id + 1 + shard] ? (size_t)(at - vchannel) : 0;
}

/* Strict base64; the number of bytes, -1: it is none. ret: 3 bytes for 4 characters. */
static int decode_base64(const char *text, uint8_t *ret)
{
	size_t n = strlen(text), body, pad;

	body = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
	pad = strspn(text + body, "=");
	if (!n || n % 4 || pad > 2 || body + pad != n)
		return -1;
	if (EVP_DecodeBlock(ret, (const unsigned char *)text, (int)n) < 0)
		return -1;
	return (int)(n / 4 * 3 - pad);
}

/* MsgPosition{channel_name 1, msgID 2, msgGroup 3, timestamp 4} of that vchannel. */
static int parse_position(struct request *r, const char *where, const char *vchannel, const char *text,
			  struct start_position *ret)
{
	uint8_t bytes[POSITION_TEXT_MAX];
	int n = decode_base64(text, bytes), rc = -1;
	size_t pchannel = pchannel_of(vchannel);
	struct pb_reader in;
	struct pb_field f;

	if (n < 0)
		return request_refuse(r, where, vchannel, "is not base64");
	in = pb_reader(bytes, (size_t)n);
	while ((rc = pb_next(&in, &f)) > 0) {
		if (f.number == 1 && f.type == PB_BYTES && f.size &&
		    !(f.size == strlen(vchannel) && memcmp(f.data, vchannel, f.size) == 0) &&
		    !(f.size == pchannel && memcmp(f.data, vchannel, f.size) == 0))
			return request_refuse(r, where, vchannel, "holds a position of another channel");
		if (f.number == 2 && f.type == PB_BYTES && f.size <= sizeof(ret->id)) {
			memcpy(ret->id, f.data, f.size);
			ret->id_size = f.size;
		}
		if (f.number == 4 && f.type == PB_VARINT)
			ret->ts = f.value;
	}
	if (rc < 0 || !ret->id_size)
		return request_refuse(r, where, vchannel,
				      "holds no MsgPosition: take the value as the position request or the "
				      "start position tool gives it");
	snprintf(ret->vchannel, sizeof(ret->vchannel), "%s", vchannel);
	return 0;
}

/* 1: given, 0: not. */
static int parse_positions(struct request *r, const json_t *item, const char *where, struct start_point *ret)
{
	json_t *map = NULL, *value;
	const char *vchannel;
	char at[160];
	int rc;

	if ((rc = field_object(r, item, where, "positions", &map)) < 0)
		return rc;
	if (!json_object_size(map))
		return 0;
	if (STREQ(json_string_value(json_object_get(item, "name")), "*"))
		return request_refuse(r, where, "positions", "must be empty when the collection name is '*'");
	snprintf(at, sizeof(at), "%s.positions", where);
	if (json_object_size(map) > API_ITEMS_MAX)
		return request_refuse(r, where, "positions", "has more than " API_ITEMS_TEXT " vchannels");
	ret->positions = arena_alloc(r->arena, json_object_size(map) * sizeof(*ret->positions));
	json_object_foreach(map, vchannel, value)
	{
		struct start_position *p = &ret->positions[ret->count];
		const char *text = "";

		*p = (struct start_position){0};
		if (!pchannel_of(vchannel) || strlen(vchannel) >= sizeof(p->vchannel))
			return request_refuse(r, at, vchannel, "the channel is not a virtual channel");
		if ((rc = field_string(r, map, at, vchannel, POSITION_TEXT_MAX, &text)) < 0 ||
		    (rc = parse_position(r, at, vchannel, text, p)) < 0)
			return rc;
		ret->count++;
	}
	ret->kind = START_POSITIONS;
	return 1;
}

/* ---- items ---- */

/* 1: the collection begins elsewhere, 0: nothing is said of it. */
static int parse_item(struct request *r, const json_t *item, const char *where, struct start_point *ret)
{
	struct start_point placed = {0};
	bool own = false;
	int point, positions, rc;

	if ((rc = field_bool(r, item, where, "use_start_position", &own)) < 0 ||
	    (rc = positions = parse_positions(r, item, where, &placed)) < 0 ||
	    (rc = point = parse_point(r, item, where, ret)) < 0)
		return rc;
	if (positions && (own || point))
		return request_refuse(r, where, "positions",
				      own ? "contradicts use_start_position: give one of them"
					  : "contradicts start: give one of them");
	if (own && point && ret->kind != START_EARLIEST)
		return request_refuse(r, where, "use_start_position",
				      "means start \"earliest\" and contradicts the start that is given");
	if (positions)
		*ret = placed;
	else if (own)
		ret->kind = START_EARLIEST;
	return own || positions || point;
}

static bool same_point(const struct start_point *a, const struct start_point *b)
{
	return a->kind == b->kind && a->time_ms == b->time_ms && a->kind != START_POSITIONS;
}

static int add(struct request *r, const char *where, const struct start_item *it, struct start *out)
{
	for (size_t i = 0; i < out->count; i++)
		if (STREQ(out->items[i].db, it->db) && STREQ(out->items[i].collection, it->collection)) {
			if (same_point(&out->items[i].at, &it->at))
				return 0;
			return request_refuse(r, where, "start",
					      "this collection is named twice and begins at two places");
		}
	out->items[out->count++] = *it; /* there is room: parse_selection has counted the names */
	return 0;
}

/* db NULL: collection_infos. */
static int parse_list(struct request *r, const json_t *list, const char *where, const char *db,
		      struct start *out)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *name = json_string_value(json_object_get(item, "name"));
		struct start_item it = {.db = (char *)(db                 ? db
						       : STREQ(name, "*") ? "*"
									  : "default"),
					.collection = (char *)name};
		char at[128];
		int rc;

		snprintf(at, sizeof(at), "%s[%zu]", where, i);
		if ((rc = parse_item(r, item, at, &it.at)) < 0)
			return rc;
		if (rc > 0 && (rc = add(r, at, &it, out)) < 0)
			return rc;
	}
	return 0;
}

/* What a copy from the log cannot have, and how far it reaches back. */
static void warn_of_copy(struct request *r, const struct start *s)
{
	bool copy = s->all.kind == START_EARLIEST;

	for (size_t i = 0; i < s->count; i++)
		copy |= s->items[i].at.kind == START_EARLIEST;
	if (copy)
		request_warn(r, "start: rows that were bulk-imported at the source are not in its log and "
				"are not copied; all others are");
}

int parse_start(struct request *r, const struct selection *s, const struct start **ret)
{
	static const char *const of_one[] = {"positions", "use_start_position"};
	struct start *out = arena_alloc(r->arena, sizeof(*out));
	const char *db;
	json_t *list;
	int rc;

	*out = (struct start){.items = arena_alloc(r->arena, (s->count + 1) * sizeof(*out->items))};
	for (size_t i = 0; i < ARRAY_LEN(of_one); i++)
		if (field_is_set(r->data, of_one[i]))
			return request_refuse(r, "", of_one[i],
					      "belongs to a collection: to its entry in collection_infos or "
					      "db_collections");
	if ((rc = parse_point(r, r->data, "", &out->all)) < 0 ||
	    (rc = parse_list(r, json_object_get(r->data, "collection_infos"), "collection_infos", NULL,
			     out)) < 0)
		return rc;
	json_object_foreach(json_object_get(r->data, "db_collections"), db, list)
	{
		char where[96];

		snprintf(where, sizeof(where), "db_collections.%.64s", db);
		if ((rc = parse_list(r, list, where, db, out)) < 0)
			return rc;
	}
	warn_of_copy(r, out);
	*ret = out;
	return 0;
}
