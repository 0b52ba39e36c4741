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
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "target_address.h"
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

static struct task *find(struct tasks *ts, const char *id)
{
	for (struct task *t = ts->first; t; t = t->next)
		if (STREQ(t->row.id, id))
			return t;
	return NULL;
}

/* A task that callers may see: one that is being deleted is gone for them. */
struct task *task_find_visible(struct tasks *ts, const char *id, struct err *err)
{
	struct task *t = find(ts, id);

	if (t && t->row.state != TASK_DELETING)
		return t;
	err_set(err, ERR_NOT_FOUND, "task_id: there is no task %.*s", TASK_ID_MAX, id);
	return NULL;
}

static void append(struct tasks *ts, struct task *t)
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

static void take_off(struct tasks *ts, struct task *t)
{
	for (struct task **p = &ts->first; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			break;
		}
	task_free(t);
}

static void busy_begin(struct tasks *ts, struct task *t)
{
	t->busy = true;
	ts->busy++;
}

static void busy_end(struct tasks *ts, struct task *t)
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

static struct flow_conf flow_conf_of(struct tasks *ts, const struct task_row *r, const char *dir)
{
	return (struct flow_conf){.conf = ts->conf, .task_id = r->id, .dir = dir, .source_uuid = r->source_uuid,
				  .target = r->target, .selection = &r->selection};
}

/* Without the mutex; t is busy. */
static int open_flow(struct tasks *ts, struct task *t, bool paused, struct flow **ret, struct err *err)
{
	AUTO_FREE char *dir = task_folder_path(ts->conf->data_dir, t->row.id);
	struct flow_conf fc = flow_conf_of(ts, &t->row, dir);

	if (!conf_has_source(ts->conf))
		return err_set(err, ERR_NO_SOURCE, "no source is configured: set sourceConfig.etcd and "
			       "sourceConfig.kafka in %s and restart", ts->conf->file);
	return flow_open(ret, &fc, paused, err);
}

/* With the mutex, which it gives up in between; t is ready, not busy and has no flow. */
static void open_task(struct tasks *ts, struct task *t)
{
	struct flow *flow = NULL;
	struct err err = {0};
	bool paused = t->row.paused;
	int rc;

	busy_begin(ts, t);
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
	busy_end(ts, t);
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

void tasks_retry(struct tasks *ts)
{
	pthread_mutex_lock(&ts->mutex);
	for (struct task *t = ts->first; t && !ts->stopping; t = t->next)
		if (t->row.state == TASK_READY && !t->busy && !t->flow && err_policy(t->open_err.code) == ERR_RETRY)
			open_task(ts, t); /* t cannot go while it is busy, nor before we give up the mutex again */
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
		append(ts, t);
		return 0;
	}
	if (!task_id_valid(row->id))
		return err_set(err, ERR_STATE_IO, "control.db has a task whose id is no id: restore it from a backup");
	log_warning("task %s: was %s when the program ended, removing what is left of it", row->id,
		    row->state == TASK_CREATING ? "being created" : "being deleted");
	if ((rc = task_folder_remove(ts->conf->data_dir, row->id, err)) < 0)
		return rc;
	return task_store_remove(ts->store, row->id, err);
}

static bool known_id(void *arg, const char *id)
{
	return find(arg, id) != NULL;
}

static void orphan_moved(void *arg, const char *id)
{
	const struct tasks *ts = arg;

	log_warning("folder tasks/%s belongs to no task of control.db: moved to %s/orphaned, look at it and remove it",
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
		take_off(ts, ts->first);
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

/* ---- create ---- */

static bool wants_item(const struct selection *s, const struct selection_item *item)
{
	struct selection one = {.items = (struct selection_item *)item, .count = 1};

	return selection_overlaps(s, &one);
}

/* No collection goes twice to the same target: it would be written by two. */
static int check_overlap(struct tasks *ts, const struct task *self, const struct task_row *row, struct err *err)
{
	for (struct task *t = ts->first; t; t = t->next) {
		if (t == self || !target_same(t->row.target, t->row.resolved, row->target, row->resolved))
			continue;
		for (size_t i = 0; i < row->selection.count; i++) {
			const struct selection_item *item = &row->selection.items[i];

			if (wants_item(&t->row.selection, item))
				return err_set(err, ERR_DUPLICATE, "collection_infos: task %s %s %s.%s to the target "
					       "%s:%d", t->row.id, t->row.state == TASK_CREATING ?
					       "is being created and replicates" : "already replicates",
					       *item->db ? item->db : "default", item->collection,
					       t->row.target->host, t->row.target->port);
		}
	}
	return 0;
}

/* Puts a task on the list that nobody else can make again; it is busy until create_end. */
static int reserve(struct tasks *ts, const struct task_spec *spec, struct task **ret, struct err *err)
{
	struct task_row row = {
		.id = (char *)spec->id, .source_uuid = "", .resolved = "", .shown = (char *)spec->shown,
		.state = TASK_CREATING, .created_ms = clock_real_ms(), .target = (struct target_conf *)spec->target,
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
	if (spec->id && find(ts, spec->id))
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
	append(ts, t);
	busy_begin(ts, t);
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
	if (!info.replicate)
		return err_set(err, ERR_TARGET_BAD, "target %s:%d (Milvus %s) takes no replicated messages: this version "
			       "needs common.ttMsgEnabled: false in the target's milvus.yaml", t->row.target->host,
			       t->row.target->port, info.version);
	if ((rc = target_resolve(t->row.target, &resolved, err)) < 0)
		return rc;
	pthread_mutex_lock(&ts->mutex);
	free(t->row.resolved);
	t->row.resolved = resolved;
	rc = check_overlap(ts, t, &t->row, err);
	pthread_mutex_unlock(&ts->mutex);
	if (rc < 0)
		return rc;
	if ((rc = flow_same_cluster(ts->conf, t->row.target, &info, err)) <= 0)
		return rc;
	return err_set(err, ERR_INVALID, "milvus_connect_param: %s:%d is the source itself: a task to it would run in "
		       "circles", t->row.target->host, t->row.target->port);
}

static int store_step(struct tasks *ts, struct task *t, int (*step)(struct tasks *, struct task *, struct err *),
		      struct err *err)
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
	struct flow_conf fc = flow_conf_of(ts, &t->row, dir);
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
		log_warning("task %s: not all of it could be removed, the next start will: %s", t->row.id, err.text);
}

int tasks_create(struct tasks *ts, const struct task_spec *spec, char *ret_id, struct err *err)
{
	struct flow *flow = NULL;
	struct task *t = NULL;
	int rc;

	if (!conf_has_source(ts->conf))
		return err_set(err, ERR_NO_SOURCE, "no source is configured: set sourceConfig.etcd.address and "
			       "sourceConfig.kafka.address in %s and restart", ts->conf->file);
	pthread_mutex_lock(&ts->mutex);
	rc = reserve(ts, spec, &t, err);
	pthread_mutex_unlock(&ts->mutex);
	if (rc < 0)
		return rc;
	if ((rc = check_parts(ts, t, err)) == 0 && (rc = store_step(ts, t, step_row, err)) == 0 &&
	    (rc = make_flow(ts, t, &flow, err)) < 0)
		undo(ts, t, flow);
	pthread_mutex_lock(&ts->mutex);
	busy_end(ts, t);
	if (rc == 0) {
		t->row.state = TASK_READY;
		t->flow = flow;
		if (ts->stopping)
			flow_stop(flow);
		else
			flow_start(flow);
		snprintf(ret_id, TASK_ID_MAX + 1, "%s", t->row.id);
		log_info("task %s: created, %zu names to %s:%d", t->row.id, t->row.selection.count, t->row.target->host,
			 t->row.target->port);
	} else {
		take_off(ts, t);
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

	while ((t = find(ts, id)) && t->busy && t->row.state == TASK_READY && !ts->stopping)
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
	busy_begin(ts, t);
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
			       : err_set(err, ERR_STOPPED, "the program is stopping; the next start removes the rest");
	busy_end(ts, t);
	if (rc == 0) {
		log_info("task %s: deleted", t->row.id);
		take_off(ts, t);
	}
	pthread_mutex_unlock(&ts->mutex);
	return rc;
}
