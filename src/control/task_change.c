/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Create, pause and delete. The steps and their order are in task.c's header; the mutex is given up
 * for everything that asks the network or may take long, while the task is busy.
 */
#include <cdc/log.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "target_address.h"
#include "task_folder.h"
#include "task_priv.h"

static void random_hex(char ret[33])
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b)) {
		log_error("the system has no random numbers");
		abort();
	}
	for (size_t i = 0; i < sizeof(b); i++)
		snprintf(ret + 2 * i, 3, "%02x", b[i]);
}

static bool wants_item(const struct selection *s, const struct selection_item *item)
{
	struct selection one = {.items = (struct selection_item *)item, .count = 1};

	return selection_overlaps(s, &one);
}

/* No collection goes twice to the same target: it would be written by two. */
static int check_overlap(struct tasks *ts, const struct task *self, const struct task_row *row,
			 struct err *err)
{
	for (struct task *t = ts->first; t; t = t->next) {
		if (t == self || !target_same(t->row.target, t->row.resolved, row->target, row->resolved))
			continue;
		for (size_t i = 0; i < row->selection.count; i++) {
			const struct selection_item *item = &row->selection.items[i];

			if (wants_item(&t->row.selection, item))
				return err_set(err, ERR_DUPLICATE,
					       "collection_infos: task %s %s %s.%s to the target "
					       "%s:%d",
					       t->row.id,
					       t->row.state == TASK_CREATING
						       ? "is being created and replicates"
						       : "already replicates",
					       *item->db ? item->db : "default", item->collection,
					       t->row.target->host, t->row.target->port);
		}
	}
	return 0;
}

/* Puts a task on the list that nobody else can make again; it is busy until create_end. */
static int reserve(struct tasks *ts, const struct task_spec *spec, struct task **ret, struct err *err)
{
	struct task_row row = {.id = (char *)spec->id,
			       .source_uuid = "",
			       .resolved = "",
			       .shown = (char *)spec->shown,
			       .state = TASK_CREATING,
			       .created_ms = clock_real_ms(),
			       .target = (struct target_conf *)spec->target,
			       .selection = *spec->selection};
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
	if ((rc = check_overlap(ts, NULL, &row, err)) < 0)
		return rc;
	random_hex(id);
	random_hex(uuid);
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

/* Asks target and source; the mutex is only taken to note the target's addresses. */
static int check_parts(struct tasks *ts, struct task *t, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct target_info info = {0};
	char *resolved = NULL;
	int rc;

	if ((rc = target_probe(t->row.target, arena, &info, err)) < 0)
		return rc;
	if ((rc = target_resolve(t->row.target, &resolved, err)) < 0)
		return rc;
	pthread_mutex_lock(&ts->mutex);
	free(t->row.resolved);
	t->row.resolved = resolved;
	rc = check_overlap(ts, t, &t->row, err);
	pthread_mutex_unlock(&ts->mutex);
	if (rc < 0)
		return rc;
	if ((rc = flow_same_cluster(ts->conf, t->row.target, &info, err)) < 0)
		return rc;
	if (rc > 0)
		return err_set(err, ERR_INVALID,
			       "milvus_connect_param: %s:%d is the source itself: a task to it would run in "
			       "circles",
			       t->row.target->host, t->row.target->port);
	if (!info.replicate)
		return err_set(err, ERR_TARGET_BAD,
			       "target %s:%d (Milvus %s) takes no replicated messages: this version "
			       "needs common.ttMsgEnabled: false in the target's milvus.yaml",
			       t->row.target->host, t->row.target->port, info.version);
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

static int make_flow(struct tasks *ts, struct task *t, struct flow **ret, struct err *err)
{
	AUTO_FREE char *dir = task_folder_path(ts->conf->data_dir, t->row.id);
	struct flow_conf fc = task_flow_conf(ts, &t->row, dir);
	int rc;

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
	rc = task_folder_remove(ts->conf->data_dir, t->row.id, &err);
	pthread_mutex_lock(&ts->mutex);
	if (rc == 0 && ts->store)
		rc = task_store_remove(ts->store, t->row.id, &err);
	pthread_mutex_unlock(&ts->mutex);
	if (rc < 0)
		log_warning("task %s: not all of it could be removed, the next start will: %s", t->row.id,
			    err.text);
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
	if ((rc = check_parts(ts, t, err)) == 0 && (rc = store_step(ts, t, step_row, err)) == 0 &&
	    (rc = make_flow(ts, t, &flow, err)) < 0)
		undo(ts, t, flow);
	pthread_mutex_lock(&ts->mutex);
	task_busy_end(ts, t);
	if (rc == 0) {
		t->row.state = TASK_READY;
		t->flow = flow;
		if (ts->stopping)
			flow_stop(flow);
		else
			flow_start(flow);
		snprintf(ret_id, TASK_ID_MAX + 1, "%s", t->row.id);
		log_info("task %s: created, %zu names to %s:%d", t->row.id, t->row.selection.count,
			 t->row.target->host, t->row.target->port);
	} else {
		task_take_off(ts, t);
	}
	pthread_mutex_unlock(&ts->mutex);
	return rc;
}

/* ---- pause and delete ---- */

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
		log_info("task %s: %s", id, paused ? "paused" : "resumed");
	if (rc == 0) {
		t->row.paused = paused;
		if (t->flow)
			flow_pause(t->flow, paused);
	}
	pthread_mutex_unlock(&ts->mutex);
	return rc;
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
	if ((rc = task_store_set_state(ts->store, id, TASK_DELETING, err)) < 0)
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
	rc = task_folder_remove(ts->conf->data_dir, id, err);
	CRASH_POINT("task_trashed");
	pthread_mutex_lock(&ts->mutex);
	if (rc == 0)
		rc = ts->store ? task_store_remove(ts->store, t->row.id, err)
			       : err_set(err, ERR_STOPPED,
					 "the program is stopping; the next start removes the rest");
	task_busy_end(ts, t);
	if (rc == 0) {
		log_info("task %s: deleted", t->row.id);
		task_take_off(ts, t);
	}
	pthread_mutex_unlock(&ts->mutex);
	return rc;
}
