/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The applier: the loop window -> intent -> send -> mark -> tick of one task. One worker thread runs
 * applier_step(); applier_pause() and applier_stat() may be called by any thread.
 *
 * Exactly once (J4, J6): the intent is durable before anything of the window is sent; the window is
 * sent without a tick, repeated as often as needed with the same message IDs; when all of it is
 * confirmed the mark is made durable; only then is the tick sent. A crash at any point repeats a
 * window whose tick was never sent, and the target drops what it has already.
 */
#ifndef CDC_DATA_APPLIER_H
#define CDC_DATA_APPLIER_H

#include "apply_store.h"

#include <cdc/conf.h>
#include <cdc/journal.h>
#include <cdc/sink.h>

struct applier;

/* What happened to a collection on hold. */
struct applier_note {
	const char *db, *collection;
	int64_t seq; /* its first entry that is not applied */
	bool over;
	const char *text;
};

struct applier_conf {
	const struct conf *conf;
	const char *task_id;
	const char *target;        /* canonical "address:port", for the gate */
	struct journal *journal;   /* borrowed */
	struct apply_store *store; /* borrowed */
	const struct sink_ops *sink_ops;
	struct sink *sink; /* borrowed */
	bool paused;
	void (*applied)(void *arg, int64_t needed_seq); /* entries below are not needed any more (J3) */
	void (*note)(void *arg, const struct applier_note *n); /* a hold began, stays or ended; may be NULL */
	bool (*poll)(void *arg); /* it is at work (R33); true: it is to stop. May be NULL */
	void *arg;
};

int applier_new(struct applier **ret, const struct applier_conf *conf, struct err *err);
void applier_free(struct applier *a);
DEFINE_AUTO(struct applier, applier_free)

/* R22: where there is no applier now: what is in doubt holds the ticks of target back (gate_pin). */
void applier_pin(struct apply_store *store, const char *target, const char *task);

/* One window; for struct worker_conf.step. */
int applier_step(void *applier, struct err *err);
/* R29. The window being sent is finished first if the target answers. */
void applier_pause(struct applier *a, bool paused);
/*
 * Any thread, R32: nothing is sent to the target from the next step on, for the reason given (as flow_block()
 * has it); NULL: goes on. A window in doubt stays in doubt.
 */
void applier_block(struct applier *a, const char *reason);
/* Any thread: tries collections on hold again now; by itself that happens once a minute. */
void applier_retry(struct applier *a);
/*
 * Any thread: the same, and holds of which it is not known how much the target has are sent again from their
 * first entry on: rows of that window may be there twice then. For an operator who has looked, and asks.
 */
void applier_replay_unclear(struct applier *a);

struct applier_stat {
	int64_t rows_applied, seq;
	cdc_ts ts;             /* everything of the source at or below is on the target and ticked */
	int held;              /* collections on hold */
	char held_reason[512]; /* of the oldest hold */
	int64_t held_since_ms;
};
void applier_stat(struct applier *a, struct applier_stat *ret);

#endif
