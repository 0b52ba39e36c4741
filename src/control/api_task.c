/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /cdc: reads {"request_type", "request_data"}, calls the one function of the type, makes the
 * answer {"code", "data"} or {"code", "error", "message"}, with "warnings" when there are some.
 */
#include <cdc/log.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "api_priv.h"

const char *const request_names[REQUEST_COUNT] = {
#define X(name) [REQUEST_##name] = #name,
	REQUEST_TABLE(X)
#undef X
		[REQUEST_unknown] = "unknown"};

static json_t *time_text(int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char b[40];
	size_t n;

	gmtime_r(&s, &tm);
	n = strftime(b, sizeof(b), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(b + n, sizeof(b) - n, ".%03dZ", (int)(ms % 1000));
	return json_string(b);
}

static json_t *health_json(const struct health *h)
{
	json_t *o = json_object();

	json_object_set_new(o, "status", json_string(health_name(h->status)));
	json_object_set_new(o, "reason", json_text(h->reason));
	json_object_set_new(o, "since", time_text(h->since_ms));
	if (h->code)
		json_object_set_new(o, "error", json_string(err_name(h->code)));
	return o;
}

static json_t *progress_json(const struct flow_status *f)
{
	json_t *o = json_object();

	json_object_set_new(o, "captured", json_integer(f->captured));
	json_object_set_new(o, "journaled", json_integer(f->journaled));
	json_object_set_new(o, "applied", json_integer(f->applied));
	json_object_set_new(o, "lag_ms", json_integer(f->lag_ms));
	json_object_set_new(o, "skipped", json_integer(f->skipped));
	json_object_set_new(o, "journal_bytes", json_integer(f->journal_bytes));
	json_object_set_new(o, "held_collections", json_integer(f->held_collections));
	return o;
}

/* What is not replicated and needs somebody's hand. */
static json_t *warnings_json(const struct task_view *v)
{
	json_t *list = json_array();
	char more[40];

	for (size_t i = 0; i < v->warning_count; i++)
		json_array_append_new(list, json_text(v->warnings[i]));
	if (v->warnings_more) {
		snprintf(more, sizeof(more), "and %zu more", v->warnings_more);
		json_array_append_new(list, json_string(more));
	}
	return list;
}

static json_t *task_json(const struct task_view *v)
{
	json_t *o = json_loads(v->shown, 0, NULL);

	if (!o)
		o = json_object(); /* someone edited control.db */
	json_object_set_new(o, "task_id", json_string(v->id));
	json_object_set_new(o, "state", json_string(task_state_name(v->state)));
	if (v->state == TASK_PAUSED)
		json_object_set_new(o, "reason",
				    json_string("paused by request: capture goes on, nothing is applied; "
						"reads of the target at Strong or "
						"Bounded consistency wait until the task is resumed"));
	json_object_set_new(o, "mode", json_text(v->mode));
	json_object_set_new(o, "extra_info", json_pack("{s:b}", "enable_user_role", v->users));
	json_object_set_new(o, "created", time_text(v->created_ms));
	json_object_set_new(o, "health", health_json(&v->health));
	json_object_set_new(o, "progress", progress_json(&v->flow));
	json_object_set_new(o, "warnings", warnings_json(v));
	return o;
}

/* task_id of all requests about one task. */
int request_id(struct request *r, const char *const *known, const char **ret)
{
	static const char *const only_id[] = {"task_id", NULL};
	const char *id = "";
	int rc;

	if ((rc = field_string(r, r->data, "", "task_id", TASK_ID_MAX, &id)) < 0)
		return rc;
	if (!*id)
		return request_refuse(r, "", "task_id", "is missing or empty");
	field_warn_unknown(r, r->data, "", known ? known : only_id);
	*ret = id;
	return 0;
}

static int request_list(struct request *r)
{
	static const char *const known[] = {NULL};
	AUTO(arena_free) struct arena *arena = arena_new();
	json_t *list = json_array();
	struct task_view *views;
	size_t n = tasks_list(r->tasks, arena, &views);

	field_warn_unknown(r, r->data, "", known);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, task_json(&views[i]));
	json_object_set_new(r->answer, "tasks", list);
	return 0;
}

static int request_get(struct request *r)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct task_view view;
	const char *id;
	json_t *task;
	int rc;

	if ((rc = request_id(r, NULL, &id)) < 0 || (rc = tasks_get(r->tasks, id, arena, &view, r->err)) < 0)
		return rc;
	task = task_json(&view);
	json_object_set(r->answer, "Task", task); /* the documentation's spelling; the peer sends the other */
	json_object_set_new(r->answer, "task", task);
	return 0;
}

static int request_pause(struct request *r)
{
	const char *id;
	int rc;

	if ((rc = request_id(r, NULL, &id)) < 0)
		return rc;
	return tasks_pause(r->tasks, id, true, r->err);
}

/* replay_unclear: an operator has looked at the target and takes doubled rows for missing ones. */
static int request_resume(struct request *r)
{
	static const char *const known[] = {"task_id", "replay_unclear", NULL};
	bool unclear = false;
	const char *id;
	int rc;

	if ((rc = field_bool(r, r->data, "", "replay_unclear", &unclear)) < 0 ||
	    (rc = request_id(r, known, &id)) < 0 || (rc = tasks_pause(r->tasks, id, false, r->err)) < 0)
		return rc;
	return unclear ? tasks_replay_unclear(r->tasks, id, r->err) : 0;
}

static int request_delete(struct request *r)
{
	static const char *const known[] = {"task_id", "ignore_not_found", NULL};
	bool ignore = false;
	const char *id;
	int rc;

	if ((rc = field_bool(r, r->data, "", "ignore_not_found", &ignore)) < 0 ||
	    (rc = request_id(r, known, &id)) < 0)
		return rc;
	rc = tasks_delete(r->tasks, id, r->err);
	return rc == -ERR_NOT_FOUND && ignore ? 0 : rc;
}

/* ---- one request ---- */

static int unknown_type(struct request *r, const char *why)
{
	AUTO_BUF struct buf b = {0};

	for (int i = 0; i < REQUEST_unknown; i++)
		buf_addf(&b, "%s%s", i ? ", " : "", request_names[i]);
	return err_set(r->err, ERR_INVALID, "request_type: %s; known are %s", why, (const char *)b.data);
}

static int parse_body(struct request *r, const char *body, size_t n, json_t **root)
{
	json_error_t e;
	char *near;

	if ((*root = json_loadb(body, n, JSON_REJECT_DUPLICATES, &e))) {
		if (json_is_object(*root))
			return 0;
		return err_set(r->err, ERR_INVALID, "request body: must be a JSON object");
	}
	if (!n)
		return err_set(r->err, ERR_INVALID,
			       "request body: is empty, line 1, column 1: a JSON object is needed");
	if ((near = strstr(e.text, " near '")))
		*near = 0; /* what stands there may be a password */
	return err_set(r->err, ERR_INVALID, "request body: line %d, column %d: %s", e.line, e.column, e.text);
}

static int parse_type(struct request *r, const json_t *root, enum request_type *ret)
{
	static const char *const known[] = {"request_type", "request_data", NULL};
	const char *type = "";
	json_t *data = NULL;
	int rc;

	if ((rc = field_string(r, root, "", "request_type", 64, &type)) < 0)
		return rc;
	if (!*type)
		return unknown_type(r, "is missing or empty");
	for (int i = 0; i < REQUEST_unknown; i++)
		if (STREQ(request_names[i], type))
			*ret = (enum request_type)i;
	if (*ret == REQUEST_unknown)
		return unknown_type(r, "is not known");
	if ((rc = field_object(r, root, "", "request_data", &data)) < 0)
		return rc;
	r->data = data ? json_incref(data) : json_object();
	field_warn_unknown(r, root, "", known);
	return 0;
}

static int dispatch(struct request *r, const char *body, size_t n, enum request_type *type)
{
	static int (*const calls[])(struct request *) = {
#define X(name) [REQUEST_##name] = request_##name,
		REQUEST_TABLE(X)
#undef X
	};
	json_t *root = NULL;
	int rc = parse_body(r, body, n, &root);

	if (rc == 0)
		rc = parse_type(r, root, type);
	if (rc == 0)
		rc = calls[*type](r);
	json_decref(root);
	return rc;
}

int api_handle(const struct conf *conf, struct tasks *ts, struct api_counters *counters, const char *body,
	       size_t n, json_t **ret)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	enum request_type type = REQUEST_unknown;
	struct err err = {0};
	struct request r = {.conf = conf,
			    .tasks = ts,
			    .arena = arena,
			    .warnings = json_array(),
			    .answer = json_object(),
			    .err = &err};
	json_t *o = json_object();
	int rc = dispatch(&r, body, n, &type), status = rc < 0 ? err_http_status(-rc) : 200;

	json_object_set_new(o, "code", json_integer(status));
	if (rc < 0) {
		json_object_set_new(o, "error", json_string(err_name(-rc)));
		json_object_set_new(o, "message", json_text(err.text));
		if (status >= 500)
			log_event(API_FAILED, "request %s failed: %s", request_names[type], err.text);
	} else {
		json_object_set(o, "data", r.answer);
	}
	if (json_array_size(r.warnings))
		json_object_set(o, "warnings", r.warnings);
	atomic_fetch_add(&counters->requests[type][rc < 0 ? -rc : 0], 1);
	json_decref(r.data);
	json_decref(r.warnings);
	json_decref(r.answer);
	*ret = o;
	return status;
}
