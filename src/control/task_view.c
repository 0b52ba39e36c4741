/* SPDX-License-Identifier: Apache-2.0 */
/* What others see of the tasks: copies made under the mutex, which is held for no I/O. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "task_priv.h"

#define WARNINGS_MAX ((size_t)100)

static enum task_state state_of(const struct task *t)
{
	if (t->row.state == TASK_CREATING)
		return TASK_INITIAL;
	return t->row.paused ? TASK_PAUSED : TASK_RUNNING;
}

/* A task without a flow: being created, or it could not be opened. */
static void health_of_closed(const struct task *t, struct health *ret)
{
	*ret = (struct health){.status = HEALTH_OK, .since_ms = t->row.created_ms};
	if (!t->open_err.code)
		return;
	ret->status = err_policy(t->open_err.code) == ERR_RETRY ? HEALTH_RETRYING : HEALTH_HELD;
	ret->code = t->open_err.code;
	ret->since_ms = t->open_err_ms;
	snprintf(ret->reason, sizeof(ret->reason), "%s", t->open_err.text);
}

static void health_of(const struct task *t, const struct flow_status *f, struct health *ret)
{
	if (!t->flow) {
		health_of_closed(t, ret);
		return;
	}
	*ret = f->applier.status > f->reader.status ? f->applier : f->reader;
	if (ret->status != HEALTH_HELD && f->held_collections > 0) {
		ret->status = HEALTH_HELD;
		snprintf(ret->reason, sizeof(ret->reason), "%d collections are on hold, the others flow",
			 f->held_collections);
	}
}

static void warnings_of(struct flow *f, struct arena *arena, struct task_view *ret)
{
	size_t n = flow_warnings(f, arena, WARNINGS_MAX, &ret->warnings);

	ret->warning_count = n < WARNINGS_MAX ? n : WARNINGS_MAX;
	ret->warnings_more = n - ret->warning_count;
}

static void view_of(struct task *t, struct arena *arena, struct task_view *ret)
{
	*ret = (struct task_view){.id = arena_strdup(arena, t->row.id),
				  .shown = arena_strdup(arena, t->row.shown),
				  .mode = arena_strdup(arena, t->row.mode),
				  .users = t->row.users,
				  .state = state_of(t),
				  .created_ms = t->row.created_ms};
	if (t->flow)
		flow_status(t->flow, &ret->flow);
	if (t->flow)
		warnings_of(t->flow, arena, ret);
	health_of(t, &ret->flow, &ret->health);
}

int tasks_get(struct tasks *ts, const char *id, struct arena *arena, struct task_view *ret, struct err *err)
{
	struct task *t;

	pthread_mutex_lock(&ts->mutex);
	if ((t = task_find_visible(ts, id, err)))
		view_of(t, arena, ret);
	pthread_mutex_unlock(&ts->mutex);
	return t ? 0 : -ERR_NOT_FOUND;
}

size_t tasks_list(struct tasks *ts, struct arena *arena, struct task_view **ret)
{
	struct task_view *views;
	size_t n = 0;

	pthread_mutex_lock(&ts->mutex);
	for (struct task *t = ts->first; t; t = t->next)
		n++;
	views = arena_alloc(arena, (n + 1) * sizeof(*views));
	n = 0;
	for (struct task *t = ts->first; t; t = t->next)
		if (t->row.state != TASK_DELETING)
			view_of(t, arena, &views[n++]);
	pthread_mutex_unlock(&ts->mutex);
	*ret = views;
	return n;
}

int tasks_positions(struct tasks *ts, const char *id, struct arena *arena, struct flow_position **ret,
		    uint64_t *applied_ts, struct err *err)
{
	struct flow_position *list = NULL;
	struct flow_status status = {0};
	struct task *t;
	size_t n = 0;

	pthread_mutex_lock(&ts->mutex);
	if ((t = task_find_visible(ts, id, err)) && t->flow) {
		flow_status(t->flow, &status);
		n = flow_positions(t->flow, arena, &list);
	}
	pthread_mutex_unlock(&ts->mutex);
	if (!t)
		return -ERR_NOT_FOUND;
	*ret = list;
	*applied_ts = status.applied_ts;
	return (int)n;
}

/* The journals grow side by side on one disk, each up to a limit of its own. */
struct growth {
	int64_t now_ms, max_size;
	double rate;
};

static int64_t sooner(int64_t a, int64_t b)
{
	return a == ROOM_UNKNOWN || (b != ROOM_UNKNOWN && b < a) ? b : a;
}

static void count_journal(struct task *t, int64_t bytes, struct growth *g, struct tasks_summary *s)
{
	room_sample(&t->room, g->now_ms, bytes);
	g->rate += t->room.rate;
	s->journal_bytes += bytes;
	s->room_ms = sooner(s->room_ms, room_ms(t->room.rate, g->max_size - bytes));
}

static void note_silence(const struct task *t, const char *worker, int64_t ms, struct tasks_summary *s)
{
	if (ms <= s->silent_ms)
		return;
	s->silent_ms = ms;
	s->silent_worker = worker;
	snprintf(s->silent_task, sizeof(s->silent_task), "%s", t->row.id);
}

static void look_at_lag(struct task *t, const struct flow_status *f, int64_t now_ms)
{
	int64_t took = level_look(&t->level, now_ms, f->lag_ms);

	if (!took)
		return;
	log_scope_number("lag_ms", f->lag_ms);
	task_event(t->row.id, TASK_LEVEL, "level with the source again after %.1f s", (double)took / 1000);
	log_scope("lag_ms", NULL);
}

static void count(struct task *t, struct growth *g, struct tasks_summary *s)
{
	struct flow_status f = {0};
	struct health h;

	s->total++;
	s->running += state_of(t) == TASK_RUNNING;
	s->paused += state_of(t) == TASK_PAUSED;
	s->initial += state_of(t) == TASK_INITIAL;
	if (t->flow) {
		flow_status(t->flow, &f);
		note_silence(t, "reader", f.reader_silent_ms, s);
		note_silence(t, "applier", f.applier_silent_ms, s);
		if (state_of(t) == TASK_RUNNING && f.lag_ms > s->lag_ms)
			s->lag_ms = f.lag_ms;
		count_journal(t, f.journal_bytes, g, s);
		look_at_lag(t, &f, g->now_ms);
	}
	health_of(t, &f, &h);
	s->retrying += h.status == HEALTH_RETRYING;
	s->held += h.status == HEALTH_HELD;
	s->flowing += h.status == HEALTH_OK && state_of(t) == TASK_RUNNING;
	s->resting += h.status == HEALTH_OK && state_of(t) == TASK_PAUSED;
	if (h.status != HEALTH_OK && !s->reason[0])
		snprintf(s->reason, sizeof(s->reason), "%.128s: %.100s", t->row.id, h.reason);
}

void tasks_summary(struct tasks *ts, struct tasks_summary *ret)
{
	struct growth g = {.now_ms = clock_mono_ms(), .max_size = ts->conf->journal.max_size};
	struct statvfs disk;

	*ret = (struct tasks_summary){.source = conf_has_source(ts->conf), .room_ms = ROOM_UNKNOWN};
	pthread_mutex_lock(&ts->mutex);
	ret->stopping = ts->stopping;
	for (struct task *t = ts->first; t; t = t->next)
		if (t->row.state != TASK_DELETING)
			count(t, &g, ret);
	pthread_mutex_unlock(&ts->mutex);
	if (statvfs(ts->conf->data_dir, &disk) == 0)
		ret->room_ms =
			sooner(ret->room_ms, room_ms(g.rate, (int64_t)(disk.f_bavail * disk.f_frsize)));
}
