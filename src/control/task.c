/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of tasks and what is done to them. One mutex guards the list, the store and all fields;
 * it is never held during network I/O, flow_create, flow_open or flow_close. Who works on a task
 * without the mutex marks it busy first; only that thread takes it off the list.
 *
 * A task's row comes before its folder and goes after it (R30):
 *   create: reserve in memory - row 'creating' - folder - row 'ready' - start
 *   delete: row 'deleting' - stop - folder to the trash - row gone
 */
#include <cdc/log.h>
#include <cdc/task.h>

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "task_folder.h"
#include "task_priv.h"

const char *task_state_name(enum task_state state)
{
	static const char *const names[] = {
		[TASK_INITIAL] = "Initial", [TASK_RUNNING] = "Running", [TASK_PAUSED] = "Paused"};

	return names[state];
}

bool task_id_valid(const char *id)
{
	size_t n = strlen(id);

	if (n < 1 || n > TASK_ID_MAX || *id == '.')
		return false;
	for (; *id; id++)
		if (!(isascii(*id) && isalnum((unsigned char)*id)) && !strchr("._-", *id))
			return false;
	return true;
}

struct task *task_find(struct tasks *ts, const char *id)
{
	for (struct task *t = ts->first; t; t = t->next)
		if (STREQ(t->row.id, id))
			return t;
	return NULL;
}

/* A task that callers may see: one that is being deleted is gone for them. */
struct task *task_find_visible(struct tasks *ts, const char *id, struct err *err)
{
	struct task *t = task_find(ts, id);

	if (t && t->row.state != TASK_DELETING)
		return t;
	err_set(err, ERR_NOT_FOUND, "task_id: there is no task %.*s", TASK_ID_MAX, id);
	return NULL;
}

void task_append(struct tasks *ts, struct task *t)
{
	struct task **p = &ts->first;

	while (*p)
		p = &(*p)->next;
	*p = t;
}

static void task_free(struct task *t)
{
	task_row_clear(&t->row);
	free(t);
}

void task_take_off(struct tasks *ts, struct task *t)
{
	for (struct task **p = &ts->first; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			break;
		}
	task_free(t);
}

void task_busy_begin(struct tasks *ts, struct task *t)
{
	t->busy = true;
	ts->busy++;
}

void task_busy_end(struct tasks *ts, struct task *t)
{
	if (t)
		t->busy = false;
	ts->busy--;
	pthread_cond_broadcast(&ts->idle);
}

/* Waits on `idle` until the mono time; false: it is over. */
static bool idle_wait(struct tasks *ts, int64_t until_ms)
{
	struct timespec at = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

	return pthread_cond_timedwait(&ts->idle, &ts->mutex, &at) != ETIMEDOUT;
}

/* ---- flows ---- */

struct flow_conf task_flow_conf(struct tasks *ts, const struct task_row *r, const char *dir)
{
	return (struct flow_conf){.conf = ts->conf,
				  .task_id = r->id,
				  .dir = dir,
				  .source_uuid = r->source_uuid,
				  .target = r->target,
				  .selection = &r->selection,
				  .mode = "replicate"};
}

/* Without the mutex; t is busy. */
static int open_flow(struct tasks *ts, struct task *t, bool paused, struct flow **ret, struct err *err)
{
	AUTO_FREE char *dir = task_folder_path(ts->conf->data_dir, t->row.id);
	struct flow_conf fc = task_flow_conf(ts, &t->row, dir);

	if (!conf_has_source(ts->conf))
		return err_set(err, ERR_NO_SOURCE,
			       "no source is configured: set sourceConfig.etcd and "
			       "sourceConfig.kafka in %s and restart",
			       ts->conf->file);
	return flow_open(ret, &fc, paused, err);
}

/* With the mutex, which it gives up in between; t is ready, not busy and has no flow. */
static void open_task(struct tasks *ts, struct task *t)
{
	struct flow *flow = NULL;
	struct err err = {0};
	bool paused = t->row.paused;
	int rc;

	task_busy_begin(ts, t);
	pthread_mutex_unlock(&ts->mutex);
	rc = open_flow(ts, t, paused, &flow, &err);
	pthread_mutex_lock(&ts->mutex);
	if (rc < 0) {
		if (t->open_err.code != err.code)
			log_error("task %s: does not start: %s", t->row.id, err.text);
		if (!t->open_err.code)
			t->open_err_ms = clock_real_ms();
		t->open_err = err;
	} else {
		t->open_err = (struct err){0};
		t->flow = flow;
		if (ts->started && !ts->stopping)
			flow_start(flow);
		flow_pause(flow, t->row.paused); /* the wish may have changed meanwhile */
	}
	task_busy_end(ts, t);
}

void tasks_start(struct tasks *ts)
{
	pthread_mutex_lock(&ts->mutex);
	ts->started = true;
	for (struct task *t = ts->first; t; t = t->next)
		if (t->flow)
			flow_start(t->flow);
	pthread_mutex_unlock(&ts->mutex);
}

/* R16. With the mutex, which it gives up in between; t is ready and not busy. */
static void repair_task(struct tasks *ts, struct task *t)
{
	AUTO_FREE char *dir = task_folder_path(ts->conf->data_dir, t->row.id);
	struct flow_conf fc = task_flow_conf(ts, &t->row, dir);
	struct flow *flow = TAKE(t->flow);
	struct err err = {0};
	int rc;

	task_busy_begin(ts, t);
	pthread_mutex_unlock(&ts->mutex);
	if (flow)
		flow_stop(flow);
	flow_close(flow);
	rc = flow_repair(&fc, &err);
	if (rc > 0)
		log_warning("task %s: its journal was damaged; the file and all after it are in quarantine/ "
			    "and are "
			    "read again from the source: %s",
			    t->row.id, err.text);
	else if (rc < 0)
		log_error("task %s: its journal is damaged and cannot be read again: %s", t->row.id,
			  err.text);
	pthread_mutex_lock(&ts->mutex);
	t->beyond_repair = rc <= 0;
	task_busy_end(ts, t);
	open_task(ts, t);
}

static bool needs_repair(const struct task *t)
{
	struct flow_status st;

	if (t->beyond_repair)
		return false;
	if (!t->flow)
		return t->open_err.code == ERR_JOURNAL_BAD;
	flow_status(t->flow, &st);
	return st.applier.code == ERR_JOURNAL_BAD;
}

void tasks_retry(struct tasks *ts)
{
	pthread_mutex_lock(&ts->mutex);
	for (struct task *t = ts->first; t && !ts->stopping; t = t->next)
		if (t->row.state == TASK_READY && !t->busy && needs_repair(t))
			repair_task(ts, t);
	for (struct task *t = ts->first; t && !ts->stopping; t = t->next)
		if (t->row.state == TASK_READY && !t->busy && !t->flow &&
		    err_policy(t->open_err.code) == ERR_RETRY)
			open_task(ts, t); /* t cannot go while it is busy, nor while we have the mutex */
	pthread_mutex_unlock(&ts->mutex);
}

/* ---- start and stop ---- */

/* Before the daemon lets anyone in: no mutex needed. Takes the row. */
static int adopt(struct tasks *ts, struct task_row *row, struct err *err)
{
	struct task *t;
	int rc;

	if (row->state == TASK_READY && task_id_valid(row->id)) {
		t = xcalloc(1, sizeof(*t));
		t->row = *row;
		*row = (struct task_row){0};
		task_append(ts, t);
		return 0;
	}
	if (!task_id_valid(row->id))
		return err_set(err, ERR_STATE_IO,
			       "control.db has a task whose id is no id: restore it from a backup");
	log_warning("task %s: was %s when the program ended, removing what is left of it", row->id,
		    row->state == TASK_CREATING ? "being created" : "being deleted");
	if ((rc = task_folder_remove(ts->conf->data_dir, row->id, err)) < 0)
		return rc;
	return task_store_remove(ts->store, row->id, err);
}

static bool known_id(void *arg, const char *id)
{
	return task_find(arg, id) != NULL;
}

static void orphan_moved(void *arg, const char *id)
{
	const struct tasks *ts = arg;

	log_warning("folder tasks/%s belongs to no task of control.db: moved to %s/orphaned, look at it and "
		    "remove it",
		    id, ts->conf->data_dir);
}

/* Both ways of R30: rows that are not ready, folders without a row. */
static int load(struct tasks *ts, struct err *err)
{
	struct task_row *rows = NULL;
	size_t n = 0;
	int rc = task_store_list(ts->store, &rows, &n, err);

	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			rc = adopt(ts, &rows[i], err);
		task_row_clear(&rows[i]);
	}
	free(rows);
	if (rc == 0)
		rc = task_folder_sweep(ts->conf->data_dir, known_id, orphan_moved, ts, err);
	if (rc == 0)
		task_folder_empty_trash(ts->conf->data_dir);
	return rc;
}

static void tasks_free(struct tasks *ts)
{
	while (ts->first)
		task_take_off(ts, ts->first);
	task_store_close(ts->store);
	if (ts->lock_fd >= 0)
		close(ts->lock_fd);
	pthread_cond_destroy(&ts->idle);
	pthread_mutex_destroy(&ts->mutex);
	free(ts);
}
DEFINE_AUTO(struct tasks, tasks_free)

int tasks_open(struct tasks **ret, const struct conf *conf, struct err *err)
{
	AUTO(tasks_free) struct tasks *ts = xcalloc(1, sizeof(*ts));
	AUTO_FREE char *path = xasprintf("%s/control.db", conf->data_dir);
	pthread_condattr_t attr;
	int rc;

	ts->conf = conf;
	ts->lock_fd = -1;
	pthread_mutex_init(&ts->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ts->idle, &attr);
	pthread_condattr_destroy(&attr);
	if ((rc = task_folder_open(&ts->lock_fd, conf->data_dir, err)) < 0 ||
	    (rc = task_store_open(&ts->store, path, err)) < 0 || (rc = load(ts, err)) < 0)
		return rc;
	pthread_mutex_lock(&ts->mutex);
	for (struct task *t = ts->first; t; t = t->next)
		open_task(ts, t);
	pthread_mutex_unlock(&ts->mutex);
	*ret = TAKE(ts);
	return 0;
}

void tasks_stop(struct tasks *ts)
{
	pthread_mutex_lock(&ts->mutex);
	ts->stopping = true;
	for (struct task *t = ts->first; t; t = t->next)
		if (t->flow)
			flow_stop(t->flow);
	pthread_cond_broadcast(&ts->idle);
	pthread_mutex_unlock(&ts->mutex);
}

bool tasks_drain(struct tasks *ts, int timeout_ms)
{
	int64_t until = clock_mono_ms() + timeout_ms;
	bool quiet;

	pthread_mutex_lock(&ts->mutex);
	while (ts->busy > 0 && idle_wait(ts, until))
		;
	quiet = ts->busy == 0;
	pthread_mutex_unlock(&ts->mutex);
	return quiet;
}

void tasks_close(struct tasks *ts)
{
	bool quiet;

	pthread_mutex_lock(&ts->mutex);
	quiet = ts->busy == 0;
	for (struct task *t = ts->first; t; t = t->next)
		if (!t->busy)
			flow_close(TAKE(t->flow));
	task_store_close(TAKE(ts->store));
	pthread_mutex_unlock(&ts->mutex);
	if (quiet)
		tasks_free(ts);
}
