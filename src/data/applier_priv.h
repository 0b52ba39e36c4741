/* SPDX-License-Identifier: Apache-2.0 */
/* The applier's insides, shared by applier.c (the loop) and applier_replay.c (collections on hold). */
#ifndef CDC_DATA_APPLIER_PRIV_H
#define CDC_DATA_APPLIER_PRIV_H

#include "applier.h"
#include "holds.h"
#include "target_gate.h"
#include "window.h"

#include <pthread.h>
#include <stdatomic.h>

struct applier {
	/* constant after new */
	struct applier_conf c;
	struct window_limits limits;

	/* the applier's thread */
	struct journal_cursor *cursor;
	struct gate_member *gate;
	const char *gate_key;
	struct apply_mark mark;
	struct apply_intent intent; /* as durable */
	struct window window, next;
	bool has_window,
		has_next;   /* window: the intent's; next: cut ahead, becomes the intent with the mark */
	struct entry *data; /* of the window: what goes to the sink; window.arena */
	cdc_ts *out;
	size_t data_count;
	struct arena *scratch; /* of one attempt to send: a long outage must not grow */
	cdc_ts tick_due;       /* a mark whose tick is not sent; 0: none */
	cdc_ts ticked;         /* the last idle tick */
	bool ahead;            /* a neighbour holds the target's ticks back below what we have marked (R22) */
	int64_t idle_tick_ms;
	struct holds holds;
	int64_t refused_seq, refused_ms; /* a DDL that the target refuses, since when */
	bool replay_turn;
	bool restored;
	int64_t looked_seq; /* up to there all was applied already and was read again (R13) */
	bool numbered;      /* mark.seq is at or above every entry at or below mark.ts (R13) */

	/* any thread */
	atomic_bool paused, retry, unclear, blocked;
	pthread_mutex_t mutex; /* of stat and block */
	char block[512];
	struct applier_stat stat;
};

#define HOLD_RETRY_MS 60000
#define TICK_RESERVE ts_from_ms(1000) /* R21: the durable bound of our ticks is this far ahead */

/* applier.c */
int applier_tick(struct applier *a, struct err *err); /* an unsent tick (R20) */
void applier_publish(struct applier *a, cdc_ts ts);
int applier_poll(struct applier *a, struct err *err); /* between two long reads; STOPPED */
void applier_note(struct applier *a, const struct hold *h, bool over, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* applier_holds.c. This entry was refused. unclear: and it is not known what of it is there. */
void applier_hold(struct applier *a, const struct entry *e, const char *reason, bool unclear);
void applier_holds_refused(struct applier *a, const struct sink_refusal *refused, size_t n); /* of a->data */
/*
 * A refusal of what came late (R13) may have put a collection on hold whose rows are in the window, before or
 * behind it, and may have been sent: the hold begins with the first of them, and how much of them is there is
 * not known.
 */
void applier_holds_in_doubt(struct applier *a);
/* A window that is sent again may be taken this time: holds that are not marked yet are forgotten. */
void applier_holds_forget_new(struct applier *a);
void applier_holds_note_new(struct applier *a); /* they are marked */
/* Of the collections that these entries dropped; a drop that was refused is a hold itself. */
size_t applier_holds_erase(struct applier *a, const struct entry *e, size_t n, struct state_row *ret);
/* applier_pin.c: no tick that this task has sent, in any life, is above it (R21). */
cdc_ts applier_bound(struct apply_store *store);
/*
 * applier_replay.c: one window of a collection on hold (R23), if it is time: >0 did something, 0
 * nothing to do. Replayed rows are above every tick (R21); the hold ends when it has caught up with
 * the mark. Exactly once as any window: the durable intent is the hold's replay_seq and replay_floor.
 */
int applier_replay(struct applier *a, struct err *err);
/* applier_names.c: has another collection got the name that this waiting rename or alias gives? */
int applier_name_passed_on(struct applier *a, const struct entry *e, bool *ret, struct err *err);
/* A replay window may have been sent and is not confirmed: nothing else may be ticked over it. */
bool applier_replay_open(const struct applier *a);

#endif
