/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of struct tasks, for task*.c. task.c has the rules of its mutex. */
#ifndef CDC_CONTROL_TASK_PRIV_H
#define CDC_CONTROL_TASK_PRIV_H

#include <cdc/log.h>
#include <cdc/task.h>

#include <pthread.h>

#include "level.h"
#include "room.h"
#include "owner.h"
#include "task_store.h"

struct task {
	struct task *next;
	struct task_row row; /* row.resolved is "" until the target was asked */
	struct flow *flow;   /* NULL: being created or deleted, or open_err says why */
	bool busy;
	bool mender_set;
	pthread_t mender; /* task_open.c */
	struct err open_err;
	bool beyond_repair;             /* R16 was tried and did not help */
	int64_t repair_seq;             /* up to where it was applied then; for the next damage it may help */
	bool open_asked;                /* an operator's resume: opened now, whatever open_err says */
	int64_t open_err_ms, opened_ms; /* when it began; the last try, monotonic */
	struct room room;               /* how its journal grows */
	struct level level;             /* how far behind its target is */
};

struct tasks {
	/* constant after open */
	const struct conf *conf;
	int lock_fd;

	/* under the mutex */
	pthread_mutex_t mutex;
	pthread_cond_t idle; /* a task is no longer busy */
	struct task_store *store;
	struct owner *owner; /* NULL: no source; its pointer is constant after open */
	struct task *first;
	int busy;
	bool started, stopping;
};

/* An event of a task, from a thread that is nobody's: its line carries the task as every worker's does. */
#define task_event(id, event, ...) \
	(log_scope("task", id), log_event(event, __VA_ARGS__), log_scope("task", NULL))

/* All with the mutex, except task_flow_conf and task_mender_end. */
struct task *task_find(struct tasks *ts, const char *id);
void task_append(struct tasks *ts, struct task *t);   /* takes t */
void task_take_off(struct tasks *ts, struct task *t); /* frees t */
void task_busy_begin(struct tasks *ts, struct task *t);
void task_busy_end(struct tasks *ts, struct task *t);
struct flow_conf task_flow_conf(struct tasks *ts, const struct task_row *r, const char *dir); /* borrows */
/* R32: before its flow starts. And when the task goes, if it was the last one of its target. */
void task_own_target(struct tasks *ts, const struct task *t, struct flow *flow);
void task_disown_target(struct tasks *ts, const struct task *t);
bool task_shares_target(const struct tasks *ts, const struct task *t);
void task_open_flow(struct tasks *ts, struct task *t); /* gives the mutex up in between */
void task_mender_end(struct task *t);                  /* t is not busy: its thread works no more */
/* NULL and NOT_FOUND for a task that is being deleted, too. */
struct task *task_find_visible(struct tasks *ts, const char *id, struct err *err);

#endif
