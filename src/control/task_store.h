/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.db: the durable list of tasks. The only module that opens it. One connection; calls are
 * serialized by the caller (the tasks lock). Every change is on disk when its call returns.
 */
#ifndef CDC_CONTROL_TASK_STORE_H
#define CDC_CONTROL_TASK_STORE_H

#include <cdc/flow.h>

enum task_row_state { TASK_CREATING, TASK_READY, TASK_DELETING };

struct task_row {
	char *id, *source_uuid;
	char *resolved; /* the target's addresses when the task was made: "10.0.0.1 10.0.0.2" */
	char *shown;    /* JSON object of what get and list show; no credentials */
	char *mode;     /* of the sink: "replicate", "upsert"; "" until the target was asked */
	/*
	 * One name for all tasks to this target, however each spells it: its first address when the first
	 * of them was made, and the port. Kept, so that nobody asks a resolver again.
	 */
	char *target_key;
	enum task_row_state state;
	bool paused; /* the operator's wish */
	bool users;  /* users, roles and grants, too */
	int64_t created_ms;
	struct target_conf *target; /* secret inside */
	struct selection selection;
	struct name_map names;
};
void task_row_clear(struct task_row *r); /* frees what it holds, not r */
void task_row_copy(struct task_row *ret, const struct task_row *r);

struct task_store;
/*
 * Opens or creates (0600), and brings a file of an older version to this one, in one transaction.
 * STATE_IO; JOURNAL_NEWER when a newer version wrote it: nothing is changed then.
 */
int task_store_open(struct task_store **ret, const char *path, struct err *err);
/*
 * Only to list it, beside the service that writes it: nothing is made, changed or locked. STATE_IO, also for
 * a file of an older version; JOURNAL_NEWER.
 */
int task_store_peek(struct task_store **ret, const char *path, struct err *err);
void task_store_close(struct task_store *s); /* NULL is fine */
DEFINE_AUTO(struct task_store, task_store_close)

/* All rows by creation; the array and what the rows hold are the caller's. */
int task_store_list(struct task_store *s, struct task_row **ret, size_t *ret_count, struct err *err);
int task_store_add(struct task_store *s, const struct task_row *r, struct err *err); /* DUPLICATE */
int task_store_set_state(struct task_store *s, const char *id, enum task_row_state state, struct err *err);
int task_store_set_paused(struct task_store *s, const char *id, bool paused, struct err *err);
int task_store_remove(struct task_store *s, const char *id, struct err *err);

/* R21: tasks that are deleted may have sent the target ticks up to ts. Never lowered; gone with its last
 * task. */
int task_store_keep_ticks(struct task_store *s, const char *target_key, cdc_ts ts, struct err *err);
/* All that was kept so. */
int task_store_ticks(struct task_store *s, void (*take)(const char *target_key, cdc_ts ts), struct err *err);

#endif
