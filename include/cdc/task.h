/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tasks of this instance: create, pause, resume, delete, list. Owner of <dataDir>: its lock (R32),
 * control.db, and one flow per task. All calls are thread-safe. No lock is held while the network is
 * asked, so a slow create delays nobody. What a call has answered is on disk.
 */
#ifndef CDC_TASK_H
#define CDC_TASK_H

#include <cdc/flow.h>
#include <cdc/mem.h>

#define TASK_ID_MAX 128

enum task_state { TASK_INITIAL, TASK_RUNNING, TASK_PAUSED };
const char *task_state_name(enum task_state state); /* "Initial", "Running", "Paused" */
/* Letters, digits, '.', '_', '-'; 1 to 128 bytes; no '.' first (the id is a folder's name). */
bool task_id_valid(const char *id);

struct tasks;

/*
 * Takes the lock of the data directory, opens control.db, finishes what a crash interrupted (R30), and
 * opens the flows of all tasks. A flow that does not open holds its task, not the daemon (R16).
 * LOCKED (another daemon), STATE_IO, JOURNAL_NEWER. conf is borrowed.
 */
int tasks_open(struct tasks **ret, const struct conf *conf, struct err *err);
void tasks_start(struct tasks *ts);
/*
 * Opens flows that did not open with an error that may pass, and repairs damaged journals (R16), each on
 * a thread of its own: returns at once. Call it now and then.
 */
void tasks_retry(struct tasks *ts);
/* Asks all flows to stop; requests in progress end early (STOPPED). Never blocks. */
void tasks_stop(struct tasks *ts);
/* After tasks_stop: waits for requests in progress. False: one is in a call that cannot be ended. */
bool tasks_drain(struct tasks *ts, int timeout_ms);
/*
 * After tasks_stop: closes all flows and the store. Nobody may call any more, except requests that
 * tasks_drain did not get: then nothing is freed and the process must end now without running
 * anything else (the next start removes the half-made task).
 */
void tasks_close(struct tasks *ts);

struct task_spec {
	const char *id; /* NULL: one is made */
	const struct target_conf *target;
	const struct selection *selection;
	const struct name_map *names; /* NULL: none */
	const char *mode;             /* NULL: what the target takes; "replicate", "upsert": insist */
	bool users;                   /* users, roles and grants, too */
	const struct start *start;    /* NULL: now */
	const char *shown;            /* JSON object that get and list show; no credentials */
};
/*
 * Makes and starts a task; blocks while the target and the source are asked. NO_SOURCE, LIMIT,
 * DUPLICATE (id, or a name on the target that another task writes), TARGET_*, INVALID (the target is the
 * source, R31), SOURCE_*, STATE_IO. On failure nothing is left. ret_id: TASK_ID_MAX + 1 bytes.
 */
int tasks_create(struct tasks *ts, const struct task_spec *spec, char *ret_id, struct err *err);
/* Idempotent; the wish is on disk before the answer (R29). NOT_FOUND, DUPLICATE (being created). */
int tasks_pause(struct tasks *ts, const char *id, bool paused, struct err *err);
/* R23: what is on hold with an unclear end is sent again, too; rows may be doubled. Running tasks only. */
int tasks_replay_unclear(struct tasks *ts, const char *id, struct err *err);
/* Stops the task and removes it with its folder. NOT_FOUND, STATE_IO. */
int tasks_delete(struct tasks *ts, const char *id, struct err *err);

struct task_view {
	const char *id, *shown;
	const char *mode; /* "" until the target was asked */
	bool users;
	enum task_state state;
	int64_t created_ms;
	struct health health;    /* of the task: the worse of its two halves */
	struct flow_status flow; /* zero while there is none */
	const char **warnings;   /* what is not replicated, in words; the first ones */
	size_t warning_count, warnings_more;
};
/* Copies, in the arena. */
int tasks_get(struct tasks *ts, const char *id, struct arena *arena, struct task_view *ret, struct err *err);
size_t tasks_list(struct tasks *ts, struct arena *arena, struct task_view **ret);
/* NOT_FOUND, or the number of positions. applied_ts: up to where the target is complete. */
int tasks_positions(struct tasks *ts, const char *id, struct arena *arena, struct flow_position **ret,
		    uint64_t *applied_ts, struct err *err);

struct tasks_summary {
	int total, running, paused, initial, retrying, held;
	int flowing, resting;              /* running, paused, and nothing is wrong with them */
	int64_t lag_ms;                    /* the greatest of the running tasks */
	int64_t silent_ms;                 /* the longest silence of a thread of a flow */
	char silent_task[TASK_ID_MAX + 1]; /* whose it is, and which */
	const char *silent_worker;
	int64_t journal_bytes; /* of all tasks */
	int64_t room_ms; /* until the disk or a journal.maxSize is full if nothing is removed; -1: far */
	bool source, stopping;
	char reason[256]; /* of the first task that is not ok: "id: reason" */
};
void tasks_summary(struct tasks *ts, struct tasks_summary *ret);

#endif
