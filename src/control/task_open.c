/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the flows of tasks, again when it failed with an error that may pass, and the repair of a
 * damaged journal (R16). At the start of the program all are opened in turn; later each is opened or
 * repaired on a thread of its own, a mender, because a repair reads all that is not applied yet: the
 * supervisor must go on feeding the watchdog meanwhile. The task is busy while its mender works, and
 * the mender's last act with the mutex is to end that, so joining it never waits for work.
 */
#include <cdc/log.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "task_folder.h"
#include "task_priv.h"

#define LOOK_MS 60000 /* between two tries to open what waits for an operator */

struct flow_conf task_flow_conf(struct tasks *ts, const struct task_row *r, const char *dir)
{
	return (struct flow_conf){.conf = ts->conf,
				  .task_id = r->id,
				  .dir = dir,
				  .source_uuid = r->source_uuid,
				  .target = r->target,
				  .target_key = r->target_key,
				  .selection = &r->selection,
				  .names = &r->names,
				  .mode = r->mode,
				  .users = r->users};
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

/* With the mutex, which it gives up in between; t is busy and has no flow. */
static void open_task(struct tasks *ts, struct task *t)
{
	struct flow *flow = NULL;
	struct err err = {0};
	bool paused = t->row.paused;
	int rc;

	t->open_asked = false;
	t->opened_ms = clock_mono_ms();
	pthread_mutex_unlock(&ts->mutex);
	rc = open_flow(ts, t, paused, &flow, &err);
	pthread_mutex_lock(&ts->mutex);
	if (rc < 0) {
		if (t->open_err.code != err.code) {
			log_scope("channel", err.pchannel[0] ? err.pchannel : NULL);
			task_event(t->row.id, TASK_BROKEN, "does not start: %s", err.text);
			log_scope("channel", NULL);
		}
		if (!t->open_err.code)
			t->open_err_ms = clock_real_ms();
		t->open_err = err;
		return;
	}
	t->open_err = (struct err){0};
	t->flow = flow;
	task_own_target(ts, t, flow);
	if (ts->stopping)
		flow_stop(flow);
	else if (ts->started)
		flow_start(flow);
	flow_pause(flow, t->row.paused); /* the wish may have changed meanwhile */
}

void task_own_target(struct tasks *ts, const struct task *t, struct flow *flow)
{
	char reason[512] = "";
	bool ours = !ts->owner || owner_want(ts->owner, t->row.target_key, reason, sizeof(reason));

	flow_block(flow, ours ? NULL : reason);
}

bool task_shares_target(const struct tasks *ts, const struct task *t)
{
	for (const struct task *other = ts->first; other; other = other->next)
		if (other != t && STREQ(other->row.target_key, t->row.target_key))
			return true;
	return false;
}

void task_disown_target(struct tasks *ts, const struct task *t)
{
	if (ts->owner && !task_shares_target(ts, t))
		owner_drop(ts->owner, t->row.target_key);
}

void task_open_flow(struct tasks *ts, struct task *t)
{
	task_busy_begin(ts, t);
	open_task(ts, t);
	task_busy_end(ts, t);
}

static int64_t applied_seq(struct flow *flow)
{
	struct flow_status st = {0};

	if (flow)
		flow_status(flow, &st);
	return st.applied_seq;
}

/* R16. With the mutex, which it gives up in between; t is busy. */
static void repair_task(struct tasks *ts, struct task *t)
{
	AUTO_FREE char *dir = task_folder_path(ts->conf->data_dir, t->row.id);
	struct flow_conf fc = task_flow_conf(ts, &t->row, dir);
	struct flow *flow = TAKE(t->flow);
	struct err err = {0};
	bool again;
	int rc;

	t->repair_seq = applied_seq(flow);
	err_set(&t->open_err, ERR_JOURNAL_BAD, "the journal is damaged and is being repaired");
	t->open_err_ms = clock_real_ms();
	pthread_mutex_unlock(&ts->mutex);
	if (flow)
		flow_stop(flow);
	flow_close(flow);
	rc = flow_repair(&fc, &err);
	if (rc > 0)
		task_event(
			t->row.id, JOURNAL_DAMAGED,
			"the journal was damaged; the file and all after it are in quarantine/ and are read "
			"again from the source: %s",
			err.text);
	again = rc < 0 && err_policy(err.code) == ERR_RETRY;
	if (again)
		log_warning("the journal is damaged and cannot be looked through now, tried again: %s",
			    err.text);
	else if (rc < 0)
		task_event(t->row.id, JOURNAL_LOST, "the journal is damaged and cannot be read again: %s",
			   err.text);
	pthread_mutex_lock(&ts->mutex);
	t->beyond_repair = rc <= 0 && !again;
}

static bool needs_repair(struct task *t)
{
	struct flow_status st;

	if (!t->flow)
		return !t->beyond_repair && t->open_err.code == ERR_JOURNAL_BAD;
	flow_status(t->flow, &st);
	if (t->beyond_repair && st.applied_seq > t->repair_seq)
		t->beyond_repair = false; /* that damage is behind it */
	return !t->beyond_repair && (st.applier.code == ERR_JOURNAL_BAD || st.reader.code == ERR_JOURNAL_BAD);
}

/* What waits for an operator is looked at now and then, too: the file may be back. */
static bool needs_opening(const struct task *t)
{
	return !t->flow && (t->open_asked || err_policy(t->open_err.code) == ERR_RETRY ||
			    clock_mono_ms() - t->opened_ms >= LOOK_MS);
}

/* ---- menders ---- */

struct mend {
	struct tasks *ts;
	struct task *t;
};

static void *mend_main(void *arg)
{
	struct mend m = *(struct mend *)arg;

	free(arg);
	pthread_mutex_lock(&m.ts->mutex);
	if (needs_repair(m.t))
		repair_task(m.ts, m.t);
	if (!m.t->flow && !m.ts->stopping)
		open_task(m.ts, m.t);
	task_busy_end(m.ts, m.t);
	pthread_mutex_unlock(&m.ts->mutex);
	return NULL;
}

void task_mender_end(struct task *t)
{
	if (t->mender_set)
		pthread_join(t->mender, NULL);
	t->mender_set = false;
}

static void mender_start(struct tasks *ts, struct task *t)
{
	struct mend *m = xcalloc(1, sizeof(*m));
	int rc;

	task_mender_end(t);
	*m = (struct mend){ts, t};
	task_busy_begin(ts, t);
	if ((rc = pthread_create(&t->mender, NULL, mend_main, m)) == 0) {
		t->mender_set = true;
		return;
	}
	task_event(t->row.id, INTERNAL, "no thread to open it with: %s; tried again", strerror(rc));
	free(m);
	task_busy_end(ts, t);
}

void tasks_retry(struct tasks *ts)
{
	pthread_mutex_lock(&ts->mutex);
	for (struct task *t = ts->first; t && !ts->stopping; t = t->next)
		if (t->row.state == TASK_READY && !t->busy && (needs_repair(t) || needs_opening(t)))
			mender_start(ts, t);
	pthread_mutex_unlock(&ts->mutex);
}
