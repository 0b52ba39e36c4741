/* SPDX-License-Identifier: Apache-2.0 */
/* See applier.h. The step: an unsent tick first (R20), then one window; idle ticks when level (R27). */
#include "applier_priv.h"

#include "rewrite.h"

#include <cdc/worker.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define WINDOW_ENTRIES 16384
#define MERGE_LIMIT ((int64_t)1 << 20)
#define REFUSAL_WAIT_MS 15000 /* a starting target refuses for a while what it takes later */

void applier_publish(struct applier *a, cdc_ts ts)
{
	int64_t hold_seq = holds_first_seq(&a->holds), needed = a->mark.seq;
	const struct hold *oldest = NULL;

	pthread_mutex_lock(&a->mutex);
	a->stat.rows_applied = a->mark.rows_applied;
	a->stat.seq = a->mark.seq;
	if (ts > a->stat.ts && !a->ahead)
		a->stat.ts = ts;
	a->stat.held = (int)a->holds.count;
	for (size_t i = 0; i < a->holds.count; i++)
		if (!oldest || a->holds.items[i].since_ms < oldest->since_ms)
			oldest = &a->holds.items[i];
	a->stat.held_reason[0] = 0;
	if (oldest) {
		a->stat.held_since_ms = oldest->since_ms;
		snprintf(a->stat.held_reason, sizeof(a->stat.held_reason),
			 "collection %s.%s is on hold%s: %s", oldest->db, oldest->collection,
			 oldest->unclear ? ", and how much of its last window is there is not known (resume "
					   "with replay_unclear sends that again, rows may be doubled)"
					 : "",
			 oldest->reason);
	}
	pthread_mutex_unlock(&a->mutex);
	if (hold_seq != INT64_MAX && hold_seq - 1 < needed)
		needed = hold_seq - 1;
	a->c.applied(a->c.arg, needed);
}

int applier_new(struct applier **ret, const struct applier_conf *conf, struct err *err)
{
	AUTO(applier_free) struct applier *a = xcalloc(1, sizeof(*a));
	int rc;

	a->c = *conf;
	pthread_mutex_init(&a->mutex, NULL);
	atomic_store(&a->paused, conf->paused);
	window_init(&a->window);
	window_init(&a->next);
	a->scratch = arena_new();
	a->limits = (struct window_limits){.bytes = (size_t)conf->conf->window_size,
					   .entries = WINDOW_ENTRIES,
					   .version = REWRITE_VERSION,
					   .merge_limit = MERGE_LIMIT};
	if ((rc = journal_cursor_open(&a->cursor, conf->journal, err)) < 0)
		return rc;
	apply_store_mark(conf->store, &a->mark);
	apply_store_intent(conf->store, &a->intent);
	/* without ticks there is no clock to share */
	a->gate_key = conf->sink_ops->own_time ? conf->task_id : conf->target;
	a->gate = gate_join(a->gate_key, conf->task_id, applier_bound(conf->store));
	/* also while the task is paused: a window in doubt holds the target's ticks back (R22), and the
	 * mark's tick is sent once more, since the crash may have come before it */
	gate_activate(a->gate, a->mark.out);
	gate_unpin(a->gate_key, conf->task_id);
	a->tick_due = a->mark.out;
	*ret = TAKE(a);
	return 0;
}

void applier_free(struct applier *a)
{
	if (!a)
		return;
	if (a->gate && !a->c.sink_ops->own_time) /* before it leaves: no tick may come between */
		applier_pin(a->c.store, a->gate_key, a->c.task_id);
	gate_leave(a->gate);
	journal_cursor_close(a->cursor);
	window_done(&a->window);
	window_done(&a->next);
	arena_free(a->scratch);
	holds_done(&a->holds);
	pthread_mutex_destroy(&a->mutex);
	free(a);
}

int applier_poll(struct applier *a, struct err *err)
{
	return a->c.poll && a->c.poll(a->c.arg) ? err_set(err, ERR_STOPPED, "the program is stopping") : 0;
}

static int restore(struct applier *a, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct state_row *objects;
	size_t n;
	int rc;

	if (a->restored)
		return 0;
	if ((rc = apply_store_objects(a->c.store, "", arena, &objects, &n, err)) < 0)
		return rc;
	if ((rc = holds_restore(&a->holds, objects, n, err)) < 0)
		return rc;
	if ((rc = a->c.sink_ops->restore(a->c.sink, objects, n, err)) < 0)
		return rc;
	a->restored = true;
	applier_publish(a, a->mark.ts);
	return 0;
}

void applier_note(struct applier *a, const struct hold *h, bool over, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (!a->c.note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	a->c.note(a->c.arg, &(struct applier_note){h->db, h->collection, h->seq, over, text});
}

/*
 * R21: a bound of the ticks sent that outlives the process, and the task that sent them. Needed where
 * rows may come that are older than a tick: of a collection on hold, or of another task of the target.
 * Alone and without holds every row is above every tick, and an idle task writes nothing.
 */
static int reserve(struct applier *a, cdc_ts ts, struct err *err)
{
	if (!a->holds.count && !gate_shared(a->gate))
		return 0;
	if (ts <= a->mark.out || ts <= apply_store_floor(a->c.store))
		return 0;
	return apply_store_set_floor(a->c.store, ts + TICK_RESERVE, err);
}

/* R20: a tick that failed comes before anything else. */
int applier_tick(struct applier *a, struct err *err)
{
	cdc_ts allowed;
	int rc;

	if (!a->tick_due)
		return 0;
	if ((rc = reserve(a, a->tick_due, err)) < 0)
		return rc;
	allowed = gate_mark(a->gate, a->tick_due);
	a->ahead = allowed < a->tick_due;
	if (allowed && (rc = a->c.sink_ops->tick(a->c.sink, allowed, err)) < 0)
		return rc;
	CRASH_POINT("applier_ticked");
	a->tick_due = 0;
	return 0;
}

/* What of the window goes to the sink: not the rows of collections on hold. */
static void choose_data(struct applier *a)
{
	const struct window *w = &a->window;

	a->data_count = 0;
	for (size_t i = 0; i < w->count; i++) {
		const struct entry *e = &w->entries[i];

		if ((e->kind == KIND_INSERT || e->kind == KIND_DELETE) &&
		    !holds_find(&a->holds, e->collection_id))
			a->data[a->data_count++] = *e;
	}
}

/* Once a window; what each try to send it takes is in a->scratch. out: R21. */
static void prepare(struct applier *a)
{
	struct window *w = &a->window;

	a->data = arena_alloc(w->arena, (w->count + 1) * sizeof(*a->data));
	a->out = arena_alloc(w->arena, (w->count + 1) * sizeof(*a->out));
	choose_data(a);
}

/* Makes a->window the one to send: the intent's, the one cut ahead, or a new one. */
static int take_window(struct applier *a, struct err *err)
{
	bool again = a->intent.type != INTENT_NONE;
	struct apply_mark from = a->mark;
	cdc_ts floor;
	int rc;

	if (a->has_window)
		return 1;
	if (!again && a->looked_seq > from.seq)
		from.seq = a->looked_seq;
	if (again)
		gate_activate(a->gate, a->mark.out);
	floor = again ? a->intent.floor : gate_enter(a->gate, a->mark.out);
	rc = window_next(&a->window, a->cursor, &from, &a->intent, &a->limits, floor, err);
	if (rc == 0 && !again)
		a->looked_seq = a->window.last_seq;
	if (rc <= 0)
		return rc;
	if (!again) {
		if ((rc = apply_store_set_intent(a->c.store, &a->window.intent, err)) < 0)
			return rc;
		a->intent = a->window.intent;
		CRASH_POINT("applier_intent");
	}
	prepare(a);
	a->has_window = true;
	return 1;
}

/* Should this refusal of a DDL entry be tried again? Fills err as TARGET_BUSY then. */
static bool wait_refusal(struct applier *a, const struct entry *e, int rc, struct err *err)
{
	int64_t now = clock_mono_ms();

	if (rc != -ERR_TARGET_REFUSED)
		return false;
	if (a->refused_seq != e->seq) {
		a->refused_seq = e->seq;
		a->refused_ms = now;
	}
	if (now - a->refused_ms >= REFUSAL_WAIT_MS)
		return false;
	err->code = ERR_TARGET_BUSY;
	return true;
}

static int send_data(struct applier *a, cdc_ts *last, struct err *err)
{
	struct sink_window w = {.entries = a->data,
				.out = a->out,
				.count = a->data_count,
				.version = a->intent.version,
				.merge_limit = a->intent.merge_limit};
	struct sink_refusal *refused = NULL;
	size_t n = 0;
	int rc;

	*last = rewrite_restamp(a->data, a->data_count, a->intent.floor, a->out);
	if (a->data_count == 0)
		return 0;
	rc = a->c.sink_ops->write(a->c.sink, &w, a->scratch, &refused, &n, err);
	if (rc < 0)
		return rc;
	applier_holds_refused(a, refused, n);
	return 0;
}

static int send_ddl(struct applier *a, const struct entry *e, cdc_ts *last, struct state_row **objects,
		    size_t *n, struct err *err)
{
	int rc;

	*last = e->ts > a->intent.floor ? e->ts : a->intent.floor + 1;
	if (e->kind == KIND_DROP_COLLECTION)
		holds_remove(&a->holds, e->collection_id); /* nothing is left to wait for */
	if (e->collection_id && holds_find(&a->holds, e->collection_id))
		return 0;
	rc = a->c.sink_ops->ddl(a->c.sink, e, *last, a->scratch, objects, n, err);
	CRASH_POINT("ddl_done");
	if (wait_refusal(a, e, rc, err))
		return -err->code;
	if ((rc == -ERR_TARGET_REFUSED || rc == -ERR_TARGET_SCHEMA) && e->collection_id) {
		applier_hold(a, e, err->text, false);
		return 0;
	}
	return rc;
}

/* What a list of DDL changed on the target. */
struct changes {
	struct state_row *v;
	size_t n;
	cdc_ts last;
};

/* One as a rule; more where a window in doubt was read again (R13). Each may be done twice. */
static int send_list(struct applier *a, const struct entry *e, size_t n, struct changes *ret, struct err *err)
{
	int rc;

	for (size_t i = 0; i < n; i++) {
		struct state_row *one = NULL, *all;
		size_t k = 0;
		cdc_ts last;

		if (!window_is_barrier(&e[i]))
			continue;
		if ((rc = send_ddl(a, &e[i], &last, &one, &k, err)) < 0)
			return rc;
		ret->last = last > ret->last ? last : ret->last;
		if (k == 0)
			continue;
		all = arena_alloc(a->scratch, (ret->n + k) * sizeof(*all));
		if (ret->n)
			memcpy(all, ret->v, ret->n * sizeof(*all));
		memcpy(all + ret->n, one, k * sizeof(*all));
		ret->v = all;
		ret->n += k;
	}
	return 0;
}

static int64_t rows_of(const struct applier *a)
{
	int64_t n = 0;

	for (size_t i = 0; i < a->data_count; i++)
		if (!holds_find(&a->holds, a->data[i].collection_id))
			n += a->data[i].rows;
	return n;
}

/* Cuts the window after this one, so that its intent can share the mark's commit. Optional. */
static void look_ahead(struct applier *a, const struct apply_mark *mark)
{
	struct apply_intent none = {0};
	struct err ignored;

	/* a large transaction is in memory twice already: its successor waits */
	a->has_next = !atomic_load(&a->paused) && !a->window.complete &&
		      arena_size(a->window.arena) < 2 * a->limits.bytes &&
		      window_next(&a->next, a->cursor, mark, &none, &a->limits,
				  gate_floor(a->gate, mark->out), &ignored) > 0;
}

/* J4: the mark, the target's new objects, new holds and the next intent, in one commit. */
static int mark_window(struct applier *a, cdc_ts last, const struct state_row *objects, size_t n,
		       struct err *err)
{
	int64_t again = a->window.intent.seq; /* above the intent's if entries had to be read again (R13) */
	struct apply_mark mark = {.seq = again > a->intent.seq ? again : a->intent.seq,
				  .ts = a->intent.ts > a->mark.ts ? a->intent.ts : a->mark.ts,
				  .rows_applied = a->mark.rows_applied + rows_of(a)};
	const struct window *w = &a->window;
	size_t count = n, most = n + a->holds.count + w->late_count + w->count + 1;
	struct state_row *all = arena_alloc(a->scratch, most * sizeof(*all));
	int rc;

	mark.out = last > mark.ts ? last : mark.ts;
	if (n)
		memcpy(all, objects, n * sizeof(*all));
	for (size_t i = 0; i < a->holds.count; i++)
		if (a->holds.items[i].fresh)
			all[count++] = holds_store(&a->holds.items[i], a->scratch);
	count += applier_holds_erase(a, w->late, w->late_count, all + count);
	if (a->intent.type == INTENT_DDL)
		count += applier_holds_erase(a, w->entries, w->count, all + count);
	look_ahead(a, &mark);
	rc = apply_store_commit(a->c.store, &mark, a->has_next ? &a->next.intent : NULL, all, count, err);
	if (rc < 0)
		return rc;
	CRASH_POINT("applier_marked");
	applier_holds_note_new(a);
	if (w->count && w->entries[w->count - 1].ts > a->mark.ts)
		a->numbered = true; /* all that was read again has a number below the mark's */
	a->mark = mark;
	a->tick_due = mark.out;
	a->intent = a->has_next ? a->next.intent : (struct apply_intent){0};
	return 0;
}

static void after_mark(struct applier *a)
{
	struct window done = a->window;

	for (size_t i = 0; i < done.count; i++)
		if (done.entries[i].kind == KIND_FLUSH)
			a->c.sink_ops->flush(a->c.sink, &done.entries[i]);
	a->window = a->next;
	a->next = done;
	a->has_window = a->has_next;
	a->has_next = false;
	if (a->has_window)
		prepare(a);
}

static int apply_window(struct applier *a, struct err *err)
{
	struct changes changes = {.last = a->intent.floor};
	cdc_ts last = a->intent.floor;
	int rc;

	arena_reset(a->scratch);
	applier_holds_forget_new(a);
	if ((rc = send_list(a, a->window.late, a->window.late_count, &changes, err)) < 0)
		return rc;
	if (a->window.late_count) {
		applier_holds_in_doubt(a);
		choose_data(a); /* without the rows of what is on hold now */
	}
	if (a->intent.type == INTENT_DATA)
		rc = send_data(a, &last, err);
	else
		rc = send_list(a, a->window.entries, a->window.count, &changes, err);
	if (rc < 0)
		return rc;
	CRASH_POINT("applier_sent");
	return mark_window(a, last > changes.last ? last : changes.last, changes.v, changes.n, err);
}

static bool in_doubt(const struct applier *a)
{
	return a->intent.type != INTENT_NONE || applier_replay_open(a);
}

/*
 * R29: a window whose intent is durable is finished if the target answers; then the ticks are others'.
 * How far these go is noted here, too: the task that sends them may be deleted (R21).
 */
static int rest(struct applier *a, struct err *err)
{
	gate_deactivate(a->gate);
	return reserve(a, gate_bound(a->gate), err);
}

/*
 * R13: entries that were read again have new numbers. They are applied: the mark takes the numbers, so
 * that they are not looked at for ever, nor kept in the journal.
 */
static int renumber(struct applier *a, struct err *err)
{
	struct apply_mark mark = a->mark;
	int rc;

	if (!a->window.complete || a->window.watermark < a->mark.ts)
		return 0; /* there is more to be read again */
	if (a->window.last_seq > mark.seq) {
		mark.seq = a->window.last_seq;
		if ((rc = apply_store_commit(a->c.store, &mark, NULL, NULL, 0, err)) < 0)
			return rc;
		a->mark = mark;
		applier_publish(a, mark.ts);
	}
	a->numbered = true;
	return 0;
}

/* Level with the journal: ticks follow the watermark, so that reads on the target do not stall. */
static int idle(struct applier *a, struct err *err)
{
	int64_t now = clock_mono_ms();
	int rc;

	if (!a->window.complete || a->intent.type != INTENT_NONE ||
	    now - a->idle_tick_ms < a->c.conf->idle_tick_ms)
		return 0;
	if ((a->window.watermark <= a->mark.ts || a->window.watermark <= a->ticked) && !a->ahead)
		return 0;
	a->tick_due = a->ticked = a->window.watermark > a->mark.out ? a->window.watermark : a->mark.out;
	if ((rc = applier_tick(a, err)) < 0)
		return rc;
	a->idle_tick_ms = now;
	applier_publish(a, a->window.watermark > a->mark.ts ? a->window.watermark : a->mark.ts);
	return 0;
}

/* R32. 1: it is not known yet whether we may write. */
static int blocked(struct applier *a, struct err *err)
{
	int rc = 0;

	if (!atomic_load(&a->blocked))
		return 0;
	pthread_mutex_lock(&a->mutex);
	rc = *a->block ? err_set(err, ERR_TARGET_OTHER, "%s", a->block) : 1;
	pthread_mutex_unlock(&a->mutex);
	return rc;
}

static int step(struct applier *a, struct err *err)
{
	int rc;

	if ((rc = blocked(a, err)) != 0)
		return rc < 0 ? rc : 0;
	if ((rc = restore(a, err)) < 0 || (rc = applier_tick(a, err)) < 0)
		return rc;
	if (atomic_load(&a->paused) && !in_doubt(a))
		return rest(a, err);
	if (a->intent.type == INTENT_NONE && a->holds.count && (a->numbered || applier_replay_open(a)) &&
	    (rc = applier_replay(a, err)) != 0)
		return rc;
	if ((rc = take_window(a, err)) < 0)
		return rc;
	if (rc == 0) {
		if (a->intent.type != INTENT_NONE)
			return 0; /* the journal is still reading again what is in doubt (R13) */
		if ((rc = renumber(a, err)) < 0 || (rc = idle(a, err)) < 0)
			return rc;
		cdc_ts known = a->window.watermark > a->mark.ts ? a->window.watermark : a->mark.ts;

		journal_wait(a->c.journal, a->looked_seq, known, a->c.conf->idle_tick_ms);
		return 1;
	}
	if ((rc = apply_window(a, err)) < 0)
		return rc;
	if ((rc = applier_tick(a, err)) < 0) {
		after_mark(a);
		return rc;
	}
	applier_publish(a, a->mark.ts);
	after_mark(a);
	return 1;
}

int applier_step(void *applier, struct err *err)
{
	struct applier *a = applier;
	int rc;

	HANG_POINT("applier_step");
	rc = step(a, err);
	/* R22: a task that waits for an operator, with nothing in doubt, does not hold its neighbours back */
	if (rc < 0 && err_policy(err->code) != ERR_RETRY && !in_doubt(a) && !a->tick_due)
		gate_deactivate(a->gate);
	return rc;
}

void applier_pause(struct applier *a, bool paused)
{
	atomic_store(&a->paused, paused);
	journal_wake(a->c.journal);
}

void applier_block(struct applier *a, const char *reason)
{
	pthread_mutex_lock(&a->mutex);
	snprintf(a->block, sizeof(a->block), "%s", reason ? reason : "");
	pthread_mutex_unlock(&a->mutex);
	atomic_store(&a->blocked, reason != NULL);
	journal_wake(a->c.journal);
}

void applier_retry(struct applier *a)
{
	atomic_store(&a->retry, true);
	journal_wake(a->c.journal);
}

void applier_stat(struct applier *a, struct applier_stat *ret)
{
	pthread_mutex_lock(&a->mutex);
	*ret = a->stat;
	pthread_mutex_unlock(&a->mutex);
}
