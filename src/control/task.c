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
	task_mender_end(t);
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
	task_event(row->id, TASK_LEFTOVER, "was %s when the program ended, removing what is left of it",
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

	log_event(TASK_LEFTOVER,
		  "folder tasks/%s belongs to no task of control.db: moved to %s/orphaned, look at it and "
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
	owner_free(ts->owner); /* after the flows: nothing is written to a target that was given up */
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

/* R32, from the owner's thread: the news reaches every task of that target. */
static void target_told(void *arg, const char *target_key, const char *reason)
{
	struct tasks *ts = arg;

	pthread_mutex_lock(&ts->mutex);
	for (struct task *t = ts->first; t; t = t->next)
		if (t->flow && STREQ(t->row.target_key, target_key))
			flow_block(t->flow, reason);
	pthread_mutex_unlock(&ts->mutex);
}

static void target_taken(void *arg, const char *target_key, cdc_ts bound)
{
	(void)arg;
	flow_target_floor(target_key, bound);
}

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
	    (rc = task_store_open(&ts->store, path, err)) < 0 || (rc = load(ts, err)) < 0 ||
	    (rc = task_store_ticks(ts->store, flow_target_floor, err)) < 0)
		return rc;
	if (conf_has_source(conf) &&
	    (rc = owner_new(&ts->owner, &(struct owner_conf){conf, target_told, target_taken, ts}, err)) < 0)
		return rc;
	pthread_mutex_lock(&ts->mutex);
	for (struct task *t = ts->first; t; t = t->next)
		task_open_flow(ts, t);
	pthread_mutex_unlock(&ts->mutex);
	*ret = TAKE(ts);
	return 0;
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
