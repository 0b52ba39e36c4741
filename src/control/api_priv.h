/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by api*.c and metrics.c: one request, typed fields of its JSON, counters. */
#ifndef CDC_CONTROL_API_PRIV_H
#define CDC_CONTROL_API_PRIV_H

#include <cdc/task.h>

#include <jansson.h>
#include <stdatomic.h>

/* Sorted, as the message for an unknown one lists them. */
#define REQUEST_TABLE(X) \
	X(create) \
	X(delete) \
	X(get) \
	X(list) \
	X(pause) \
	X(position) \
	X(resume)
enum request_type {
#define X(name) REQUEST_##name,
	REQUEST_TABLE(X)
#undef X
		REQUEST_unknown,
	REQUEST_COUNT
};
extern const char *const request_names[REQUEST_COUNT];

/* Requests by type and result (ERR_*, 0 = ok): labels of both are from tables. */
struct api_counters {
	atomic_llong requests[REQUEST_COUNT][ERR_COUNT];
};

struct request {
	const struct conf *conf;
	struct tasks *tasks;
	struct arena *arena; /* of the request */
	json_t *data;        /* request_data, an object */
	json_t *warnings;    /* array of texts */
	json_t *answer;      /* object: `data` of the answer */
	struct err *err;
};

/* One POST /cdc: makes the whole answer (new reference), returns its HTTP status. */
int api_handle(const struct conf *conf, struct tasks *ts, struct api_counters *counters, const char *body,
	       size_t n, json_t **ret);
int request_create(struct request *r);
int request_position(struct request *r); /* api_position.c */
/* task_id of a request about one task. known: all fields that it has; NULL: task_id alone. INVALID. */
int request_id(struct request *r, const char *const *known, const char **ret);

/*
 * Parts of a create request. What they return lives in the request's arena or is borrowed from its
 * JSON; the target's strings are malloc'd. INVALID, with the field's name.
 */
#define API_ITEMS_MAX 1024 /* names selected and excluded, and mappings: each */
#define API_ITEMS_TEXT "1024"
#define API_TEXT_MAX 1024
int parse_target(struct request *r, struct target_conf *t);                            /* api_target.c */
int parse_selection(struct request *r, struct selection *ret);                         /* api_selection.c */
int parse_mapping(struct request *r, const struct selection *s, struct name_map *ret); /* api_mapping.c */
/* api_start.c: positions, use_start_position and start. NULL: now. */
int parse_start(struct request *r, const struct selection *s, const struct start **ret);
/* What Milvus itself takes as a name. */
int check_name(struct request *r, const char *where, const char *key, const char *name);
/* What get and list show of them. */
json_t *shown_target(struct request *r, const struct target_conf *t);
void shown_selection(struct request *r, json_t *o);
void shown_mapping(const struct name_map *m, json_t *o);

/*
 * Typed fields. where: the object's path for messages, "" at the top. Absent and null are the same:
 * 0, *ret untouched. Present: 1. Wrong type or range: INVALID, with the field's name.
 */
int field_string(struct request *r, const json_t *obj, const char *where, const char *key, size_t max,
		 const char **ret);
int field_int(struct request *r, const json_t *obj, const char *where, const char *key, int64_t min,
	      int64_t max, int64_t *ret);
int field_bool(struct request *r, const json_t *obj, const char *where, const char *key, bool *ret);
int field_object(struct request *r, const json_t *obj, const char *where, const char *key, json_t **ret);
int field_array(struct request *r, const json_t *obj, const char *where, const char *key, json_t **ret);
/* A warning for every key that is not in the NULL-terminated list. */
void field_warn_unknown(struct request *r, const json_t *obj, const char *where, const char *const *known);
void request_warn(struct request *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* INVALID "<where>.<key>: <why>" */
int request_refuse(struct request *r, const char *where, const char *key, const char *why);
/* Present and not null, false, "", 0, [] or {}. */
bool field_is_set(const json_t *obj, const char *key);

/* A JSON string of text that may not be UTF-8; never NULL. NULL is "". */
json_t *json_text(const char *s);

/* Prometheus text. */
void metrics_write(struct buf *b, struct tasks *ts, struct api_counters *counters);

#endif
