/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Create, pause and delete. The steps and their order are in task.c's header; the mutex is given up
 * for everything that asks the network or may take long, while the task is busy.
 */
#include <cdc/log.h>

#include <stdio.h>
#include <stdlib.h>

#include "random_id.h"
#include "target_address.h"
#include "target_names.h"
#include "task_folder.h"
#include "task_priv.h"

#define STOP_TICKS ts_from_ms(5000) /* a task that is asked to stop sends no tick further ahead */

static const char *doing(const struct task *t)
{
	return t->row.state == TASK_CREATING ? "is being created and writes" : "already writes";
}

/* No name of a target is written by two tasks: neither would know what the other did to it. */
static int check_other(const struct task *t, const struct task_row *row, const struct target_names *own,
		       struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	const struct target_conf *to = t->row.target;
	struct target_names *names = NULL;
	struct err large = {0};
	const char *name;

	/* a version that had no limit made it: it goes on, but nothing is known to be apart from it */
	if (target_names_of(&names, arena, &t->row.selection, &t->row.names, &large) < 0)
		return err_set(err, ERR_DUPLICATE,
			       "collection_infos: task %s %s more names on the target %s:%d than can be "
			       "compared (%d), so no other may write there: delete it and make several of it",
			       t->row.id, doing(t), to->host, to->port, TARGET_NAMES_MAX);
	if ((name = target_names_meet(arena, own, names)))
		return err_set(err, ERR_DUPLICATE,
			       "collection_infos: task %s %s %s on the target %s:%d: exclude it "
			       "(exclude_collections) or give it another name (name_mapping)",
			       t->row.id, doing(t), name, to->host, to->port);
	if (t->row.users && row->users)
		return err_set(err, ERR_DUPLICATE,
			       "extra_info.enable_user_role: task %s %s the users and roles of the target "
			       "%s:%d",
			       t->row.id, doing(t), to->host, to->port);
	return 0;
}

static int check_others(struct tasks *ts, const struct task *self, const struct task_row *row,
			struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct target_names *own = NULL;
	int rc = target_names_of(&own, arena, &row->selection, &row->names, err);

	for (struct task *t = ts->first; rc == 0 && t; t = t->next)
		if (t != self && target_same(t->row.target, t->row.resolved, row->target, row->resolved))
			rc = check_other(t, row, own, err);
	return rc;
}

/* Puts a task on the list that nobody else can make again; it is busy until create_end. */
static int reserve(struct tasks *ts, const struct task_spec *spec, struct task **ret, struct err *err)
{
	struct task_row row = {.id = (char *)spec->id,
			       .source_uuid = "",
			       .resolved = "",
			       .shown = (char *)spec->shown,
			       .mode = "",
			       .target_key = "",
			       .users = spec->users,
			       .state = TASK_CREATING,
			       .created_ms = clock_real_ms(),
			       .target = (struct target_conf *)spec->target,
			       .selection = *spec->selection,
			       .names = spec->names ? *spec->names : (struct name_map){0}};
	char id[33], uuid[33];
	struct task *t;
	int count = 0, rc;

	if (ts->stopping)
		return err_set(err, ERR_STOPPED, "the program is stopping");
	for (t = ts->first; t; t = t->next)
		count++;
	if (count >= ts->conf->max_task_num)
		return err_set(err, ERR_LIMIT, "there are %d tasks, maxTaskNum allows no more", count);
	if (spec->id && task_find(ts, spec->id))
		return err_set(err, ERR_DUPLICATE, "task_id: task %s exists already", spec->id);
	if ((rc = check_others(ts, NULL, &row, err)) < 0)
		return rc;
	random_id(id);
	random_id(uuid);
	if (!row.id)
		row.id = id;
	row.source_uuid = uuid;
	t = xcalloc(1, sizeof(*t));
	task_row_copy(&t->row, &row);
	task_append(ts, t);
	task_busy_begin(ts, t);
	*ret = t;
	return 0;
}

/* The key of the tasks that write to this target already, or a new one. */
static char *target_key(struct tasks *ts, const struct task *self)
{
	const struct task_row *r = &self->row;
	size_t n = strcspn(r->resolved, " ");

	for (struct task *t = ts->first; t; t = t->next)
		if (t != self && *t->row.target_key &&
		    target_same(t->row.target, t->row.resolved, r->target, r->resolved))
			return xstrdup(t->row.target_key);
	if (!n)
		return xasprintf("%s:%d", r->target->host, r->target->port);
	return xasprintf("%.*s:%d", (int)n, r->resolved, r->target->port);
}

/* Notes what is known now of the target; takes resolved. */
static int note_target(struct tasks *ts, struct task *t, char *resolved, const char *mode, struct err *err)
{
	int rc;

	pthread_mutex_lock(&ts->mutex);
	free(t->row.resolved);
	t->row.resolved = resolved;
	free(t->row.mode);
	t->row.mode = xstrdup(mode);
	if ((rc = check_others(ts, t, &t->row, err)) == 0) {
		free(t->row.target_key);
		t->row.target_key = target_key(ts, t);
	}
	pthread_mutex_unlock(&ts->mutex);
	return rc;
}

static int check_mode(const struct task *t, const struct target_info *info, const char *wanted,
		      struct err *err)
{
	const char *mode = info->replicate ? "replicate" : "upsert";

	if (!wanted || STREQ(wanted, mode))
		return 0;
	return err_set(
		err, ERR_TARGET_BAD,
		"mode: target %s:%d (Milvus %s) is %s, so the mode is '%s', not '%s': leave mode out, or "
		"set common.ttMsgEnabled: %s in the target's milvus.yaml and restart it",
		t->row.target->host, t->row.target->port, info->version,
		info->replicate ? "a replication target" : "an ordinary Milvus", mode, wanted,
		info->replicate ? "true" : "false");
}

/* Asks target and source; the mutex is only taken to note what the target is. */
static int check_parts(struct tasks *ts, struct task *t, const struct task_spec *spec, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct target_info info = {0};
	char *resolved = NULL;
	int rc;

	if ((rc = target_probe(t->row.target, arena, &info, err)) < 0 ||
	    (rc = target_resolve(t->row.target, &resolved, err)) < 0 ||
	    (rc = note_target(ts, t, resolved, info.replicate ? "replicate" : "upsert", err)) < 0 ||
	    (rc = check_mode(t, &info, spec->mode, err)) < 0 ||
	    (rc = flow_same_cluster(ts->conf, t->row.target, &info, err)) < 0)
		return rc;
	if (rc > 0)
		return err_set(err, ERR_INVALID,
			       "milvus_connect_param: %s:%d is the source itself: a task to it would run in "
			       "circles",
			       t->row.target->host, t->row.target->port);
	return 0;
}

static int store_step(struct tasks *ts, struct task *t,
		      int (*step)(struct tasks *, struct task *, struct err *), struct err *err)
{
	int rc;

	pthread_mutex_lock(&ts->mutex);
	if (ts->stopping || !ts->store)
		rc = err_set(err, ERR_STOPPED, "the program is stopping");
	else
		rc = step(ts, t, err);
	pthread_mutex_unlock(&ts->mutex);
	return rc;
}

static int step_row(struct tasks *ts, struct task *t, struct err *err)
{
	return task_store_add(ts->store, &t->row, err);
}

static int step_ready(struct tasks *ts, struct task *t, struct err *err)
{
	return task_store_set_state(ts->store, t->row.id, TASK_READY, err);
}

static int make_flow(struct tasks *ts, struct task *t, const struct start *start, struct flow **ret,
		     struct err *err)
{
	AUTO_FREE char *dir = task_folder_path(ts->conf->data_dir, t->row.id);
	struct flow_conf fc = task_flow_conf(ts, &t->row, dir);
	int rc;

	fc.start = start;
	CRASH_POINT("task_row");
	if ((rc = flow_create(&fc, err)) < 0)
		return rc;
	CRASH_POINT("task_folder");
	if ((rc = flow_open(ret, &fc, false, err)) < 0)
		return rc;
	return store_step(ts, t, step_ready, err);
}

/* Takes back the row and the folder; what fails here is finished by the next start. */
static void undo(struct tasks *ts, struct task *t, struct flow *flow)
{
	struct err err = {0};
	int rc;

	if (flow) {
		flow_stop(flow);
		flow_close(flow);
	}
	flow_forget(t->row.target_key, t->row.id);
	rc = task_folder_remove(ts->conf->data_dir, t->row.id, &err);
	pthread_mutex_lock(&ts->mutex);
	if (rc == 0 && ts->store)
		rc = task_store_remove(ts->store, t->row.id, &err);
	pthread_mutex_unlock(&ts->mutex);
	if (rc < 0)
		task_event(t->row.id, TASK_LEFTOVER,
			   "not all of it could be removed, the next start will: %s", err.text);
}

int tasks_create(struct tasks *ts, const struct task_spec *spec, char *ret_id, struct err *err)
{
	struct flow *flow = NULL;
	struct task *t = NULL;
	int rc;

	if (!conf_has_source(ts->conf))
		return err_set(err, ERR_NO_SOURCE,
			       "no source is configured: set sourceConfig.etcd.address and "
			       "sourceConfig.kafka.address in %s and restart",
			       ts->conf->file);
	pthread_mutex_lock(&ts->mutex);
	rc = reserve(ts, spec, &t, err);
	pthread_mutex_unlock(&ts->mutex);
	if (rc < 0)
		return rc;
	if ((rc = check_parts(ts, t, spec, err)) == 0 && (rc = store_step(ts, t, step_row, err)) == 0 &&
	    (rc = make_flow(ts, t, spec->start, &flow, err)) < 0)
		undo(ts, t, flow);
	pthread_mutex_lock(&ts->mutex);
	task_busy_end(ts, t);
	if (rc == 0) {
		t->row.state = TASK_READY;
		t->flow = flow;
		task_own_target(ts, t, flow);
		if (ts->stopping)
			flow_stop(flow);
		else
			flow_start(flow);
		snprintf(ret_id, TASK_ID_MAX + 1, "%s", t->row.id);
		task_event(t->row.id, TASK_CREATED, "created: %zu name%s to %s:%d, mode %s",
			   t->row.selection.count, t->row.selection.count == 1 ? "" : "s",
			   t->row.target->host, t->row.target->port, t->row.mode);
	} else {
		/* R32: another task had its owner's key, and may be deleted meanwhile */
		if (*t->row.target_key)
			task_disown_target(ts, t);
		task_take_off(ts, t);
	}
	pthread_mutex_unlock(&ts->mutex);
	return rc;
}

/* ---- pause and delete ---- */

static void note_wish(const struct task *t, bool paused)
{
	struct flow_status f = {.lag_ms = -1};

	if (t->flow)
		flow_status(t->flow, &f);
	log_scope_number("lag_ms", f.lag_ms);
	if (paused)
		task_event(t->row.id, TASK_PAUSED, "paused by request");
	else
		task_event(t->row.id, TASK_RESUMED, "resumed by request");
	log_scope("lag_ms", NULL);
}

int tasks_pause(struct tasks *ts, const char *id, bool paused, struct err *err)
{
	struct task *t;
	int rc = 0;

	pthread_mutex_lock(&ts->mutex);
	if (!(t = task_find_visible(ts, id, err)))
		rc = -ERR_NOT_FOUND;
	else if (t->row.state == TASK_CREATING)
		rc = err_set(err, ERR_DUPLICATE, "task_id: task %s is still being created", id);
	else if (!ts->store)
		rc = err_set(err, ERR_STOPPED, "the program is stopping");
	else if (t->row.paused != paused && (rc = task_store_set_paused(ts->store, id, paused, err)) == 0)
		note_wish(t, paused);
	if (rc == 0) {
		t->row.paused = paused;
		if (t->flow)
			flow_pause(t->flow, paused);
		else if (!paused) {
			t->open_asked = true;
			t->beyond_repair = false;
		}
	}
	pthread_mutex_unlock(&ts->mutex);
	return rc;
}

int tasks_replay_unclear(struct tasks *ts, const char *id, struct err *err)
{
	struct task *t;
	int rc = 0;

	pthread_mutex_lock(&ts->mutex);
	if (!(t = task_find_visible(ts, id, err)))
		rc = -ERR_NOT_FOUND;
	else if (t->flow)
		flow_replay_unclear(t->flow);
	pthread_mutex_unlock(&ts->mutex);
	return rc;
}

/*
 * R21: the durable bound of this task's ticks is in its folder, and the rows of the other tasks of the target
 * must stay above them. With the mutex. ahead: what it may send until it has stopped.
 */
static int keep_ticks(struct tasks *ts, const struct task *t, cdc_ts ahead, struct err *err)
{
	cdc_ts bound = flow_target_ticks(t->row.target_key);

	if (!bound || !task_shares_target(ts, t))
		return 0;
	if (!ts->store)
		return err_set(err, ERR_STOPPED, "the program is stopping; the next start removes the rest");
	return task_store_keep_ticks(ts->store, t->row.target_key, bound + ahead, err);
}

/* With the mutex: the row says 'deleting' and t is ours. A second try after a failure is fine. */
static int delete_begin(struct tasks *ts, const char *id, struct task **ret, struct err *err)
{
	struct task *t;
	int rc;

	while ((t = task_find(ts, id)) && t->busy && t->row.state == TASK_READY && !ts->stopping)
		pthread_cond_wait(&ts->idle, &ts->mutex);
	if (!t || (t->busy && t->row.state == TASK_DELETING)) {
		task_find_visible(ts, id, err); /* fills err: it is not there, or goes right now */
		return -ERR_NOT_FOUND;
	}
	if (ts->stopping || !ts->store)
		return err_set(err, ERR_STOPPED, "the program is stopping");
	if (t->row.state == TASK_CREATING)
		return err_set(err, ERR_DUPLICATE, "task_id: task %s is still being created", id);
	if ((rc = keep_ticks(ts, t, STOP_TICKS, err)) < 0 || /* a start after a crash removes the folder */
	    (rc = task_store_set_state(ts->store, id, TASK_DELETING, err)) < 0)
		return rc;
	t->row.state = TASK_DELETING;
	task_busy_begin(ts, t);
	*ret = t;
	return 0;
}

int tasks_delete(struct tasks *ts, const char *id, struct err *err)
{
	struct task *t = NULL;
	struct flow *flow;
	int rc;

	pthread_mutex_lock(&ts->mutex);
	if ((rc = delete_begin(ts, id, &t, err)) < 0) {
		pthread_mutex_unlock(&ts->mutex);
		return rc;
	}
	flow = TAKE(t->flow);
	pthread_mutex_unlock(&ts->mutex);
	CRASH_POINT("task_deleting");
	if (flow) {
		flow_stop(flow);
		flow_close(flow);
	}
	flow_forget(t->row.target_key, id);
	pthread_mutex_lock(&ts->mutex);
	rc = keep_ticks(ts, t, 0, err);
	pthread_mutex_unlock(&ts->mutex);
	if (rc == 0)
		rc = task_folder_remove(ts->conf->data_dir, id, err);
	CRASH_POINT("task_trashed");
	pthread_mutex_lock(&ts->mutex);
	if (rc == 0)
		rc = ts->store ? task_store_remove(ts->store, t->row.id, err)
			       : err_set(err, ERR_STOPPED,
					 "the program is stopping; the next start removes the rest");
	task_busy_end(ts, t);
	if (rc == 0) {
		task_event(t->row.id, TASK_DELETED, "deleted");
		task_disown_target(ts, t);
		task_take_off(ts, t);
	}
	pthread_mutex_unlock(&ts->mutex);
	return rc;
}
