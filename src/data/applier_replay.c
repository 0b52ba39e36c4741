/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collections on hold, tried again (R23): once a minute, and when an operator resumes the task. Their
 * entries are read from the journal again, up to the mark, in windows of their own.
 */
#include "applier_priv.h"

#include "rewrite.h"

#include <cdc/worker.h>

#include <stdio.h>

void applier_replay_unclear(struct applier *a)
{
	atomic_store(&a->unclear, true);
	applier_retry(a);
}

bool applier_replay_open(const struct applier *a)
{
	for (size_t i = 0; i < a->holds.count; i++)
		if (a->holds.items[i].replay_seq)
			return true;
	return false;
}

/* The hold to work on now: one in doubt first, then, when it is time, one that can be replayed. */
static struct hold *choose(struct applier *a)
{
	int64_t now = clock_mono_ms();
	struct hold *next = NULL;
	bool all, unclear;

	for (size_t i = 0; i < a->holds.count; i++)
		if (a->holds.items[i].replay_seq)
			return &a->holds.items[i];
	all = atomic_exchange(&a->retry, false);
	unclear = atomic_exchange(&a->unclear, false);
	for (size_t i = 0; i < a->holds.count; i++) {
		struct hold *h = &a->holds.items[i];

		if (unclear)
			h->unclear = false; /* durable with its replay window */
		if (all || !h->retry_ms)
			h->retry_ms = all ? now : now + HOLD_RETRY_MS;
		/* the one that waits longest: one that is refused for ever must not keep the others back */
		if (!h->unclear && h->retry_ms <= now && (!next || h->retry_ms < next->retry_ms))
			next = h;
	}
	if (a->replay_turn) {
		a->replay_turn = false; /* other collections have their turn between two replay windows */
		return NULL;
	}
	return next;
}

static void copy_entry(struct entry *to, const struct entry *from, struct arena *arena)
{
	*to = *from;
	to->db = arena_strdup(arena, from->db);
	to->collection = arena_strdup(arena, from->collection);
	to->vchannel = arena_strdup(arena, from->vchannel);
	to->pchannel = arena_strdup(arena, from->pchannel);
	to->body = arena_dup(arena, from->body, from->size);
}

/*
 * Is e, at or after h->seq, one that was not applied? What is below h->ts was, and has been read again under
 * a new number (R13); what has no time of its own may have come below it only then.
 */
static bool waits(const struct hold *h, const struct entry *e)
{
	return e->collection_id == h->collection_id && e->kind != KIND_FLUSH &&
	       (e->ts >= h->ts || !window_has_own_time(e));
}

/* Reads a step; what lies between two entries of one collection may be gigabytes of others. */
#define SCAN_BATCHES 16

/*
 * Entries of the collection in [h->seq, last] into a->window: one barrier, or data up to the next one,
 * up to about the window's size, perhaps none; all of a window in doubt, whatever the size is now (R19).
 * *end: everything of the collection up to there is in.
 */
static int gather(struct applier *a, const struct hold *h, int64_t last, int64_t *end, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct window *w = &a->window;
	int64_t after = h->seq - 1;
	size_t bytes = 0, cap = 256, most = h->replay_seq ? SIZE_MAX : a->limits.bytes, batches = 0;
	struct journal_batch b;
	int rc;

	arena_reset(w->arena);
	w->entries = arena_alloc(w->arena, cap * sizeof(*w->entries));
	w->count = 0;
	while (after < last) {
		if (batches++ == SCAN_BATCHES && !h->replay_seq)
			return 0; /* the others have their turn */
		arena_reset(arena);
		if ((rc = applier_poll(a, err)) < 0 ||
		    (rc = journal_read(a->cursor, after, a->limits.bytes, a->limits.entries, arena, &b,
				       err)) < 0)
			return rc;
		if (b.count == 0)
			break;
		for (size_t i = 0; i < b.count && b.entries[i].seq <= last; i++) {
			const struct entry *e = &b.entries[i];

			if (waits(h, e)) {
				if (w->count && (window_is_barrier(e) || bytes + e->size > most))
					return 0;
				if (w->count == cap) {
					struct entry *more = arena_alloc(w->arena, cap * 2 * sizeof(*more));

					memcpy(more, w->entries, cap * sizeof(*more));
					w->entries = more;
					cap *= 2;
				}
				copy_entry(&w->entries[w->count++], e, w->arena);
				bytes += e->size;
			}
			*end = after = e->seq;
			if (w->count == 1 && window_is_barrier(&w->entries[0]))
				return 0;
		}
		if (b.entries[b.count - 1].seq > last)
			break;
	}
	*end = last;
	return 0;
}

static int store_hold(struct applier *a, const struct hold *h, const struct apply_mark *mark, bool erase,
		      const struct state_row *objects, size_t n, struct err *err)
{
	struct state_row *all = arena_alloc(a->scratch, (n + 1) * sizeof(*all));

	if (n)
		memcpy(all, objects, n * sizeof(*all));
	all[n] = erase ? holds_erase(h->collection_id, a->scratch) : holds_store(h, a->scratch);
	return apply_store_commit(a->c.store, mark, NULL, all, n + 1, err);
}

/* Tried in vain: for this reason, which is told if it is another one. */
static void stays(struct applier *a, struct hold *h, const char *reason)
{
	if (strcmp(h->reason, reason) != 0)
		applier_note(a, h, false, "collection %s.%s stays on hold: %s", h->db, h->collection, reason);
	hold_reason(h, reason);
	h->retry_ms = clock_mono_ms() + HOLD_RETRY_MS;
	applier_publish(a, a->mark.ts);
}

/* The target still refuses: what was sent before the refusal is applied, the rest waits again. */
static int refused_again(struct applier *a, struct hold *h, cdc_ts last, const struct sink_refusal *why,
			 struct err *err)
{
	const struct window *w = &a->window;
	struct apply_mark mark = a->mark;
	struct hold now = *h;
	int rc;

	now.seq = why->seq;
	now.replay_seq = 0;
	now.unclear |= why->unclear;
	for (size_t i = 0; i < w->count && w->entries[i].seq <= why->seq; i++) {
		if (w->entries[i].ts > now.ts)
			now.ts = w->entries[i].ts;
		if (w->entries[i].seq < why->seq)
			mark.rows_applied += w->entries[i].rows;
	}
	if (last > mark.out) /* what comes later stays above what was sent (R21) */
		mark.out = last;
	if ((rc = store_hold(a, &now, &mark, false, NULL, 0, err)) < 0)
		return rc;
	*h = now;
	a->mark = mark;
	a->tick_due = mark.out;
	stays(a, h, why->reason);
	return 1;
}

/* The first of several refusals; lanes tell in any order. All are of one collection. */
static void first_refusal(struct sink_refusal *ret, const struct sink_refusal *list, size_t n)
{
	bool unclear = false;

	*ret = list[0];
	for (size_t i = 0; i < n; i++) {
		unclear |= list[i].unclear;
		if (list[i].seq < ret->seq)
			*ret = list[i];
	}
	ret->unclear = unclear;
}

/* Sends the gathered window. 0: confirmed. 1: refused, *refusal tells. */
static int send(struct applier *a, const struct hold *h, cdc_ts *last, struct state_row **objects, size_t *n,
		struct sink_refusal *refusal, struct err *err)
{
	struct window *w = &a->window;
	cdc_ts *out = arena_alloc(a->scratch, (w->count + 1) * sizeof(*out));
	struct sink_window sw = {.entries = w->entries,
				 .out = out,
				 .count = w->count,
				 .version = h->replay_version,
				 .merge_limit = h->replay_merge_limit};
	struct sink_refusal *refused = NULL;
	bool passed_on = false;
	size_t count = 0;
	int rc;

	*last = rewrite_restamp(w->entries, w->count, h->replay_floor, out);
	if (w->count == 0)
		return 0;
	if (!window_is_barrier(&w->entries[0])) {
		rc = a->c.sink_ops->write(a->c.sink, &sw, a->scratch, &refused, &count, err);
		if (rc == 0 && count)
			first_refusal(refusal, refused, count);
		return rc < 0 ? rc : count > 0;
	}
	if ((rc = applier_name_passed_on(a, &w->entries[0], &passed_on, err)) < 0 || passed_on)
		return rc;
	/* a refusal is not waited for: the hold is tried again in a while, the others go on now */
	rc = a->c.sink_ops->ddl(a->c.sink, &w->entries[0], *last, a->scratch, objects, n, err);
	if (rc != -ERR_TARGET_REFUSED && rc != -ERR_TARGET_SCHEMA)
		return rc;
	refusal->seq = h->seq;
	snprintf(refusal->reason, sizeof(refusal->reason), "%.500s", err->text);
	return 1;
}

/* Makes the replay window durable before anything of it is sent (J6). */
static int open_window(struct applier *a, struct hold *h, int64_t end, struct err *err)
{
	int rc;

	if (h->replay_seq)
		return 0;
	h->replay_seq = end;
	h->replay_floor = gate_enter(a->gate, a->mark.out);
	h->replay_version = a->limits.version;
	h->replay_merge_limit = a->limits.merge_limit;
	if ((rc = store_hold(a, h, &a->mark, false, NULL, 0, err)) < 0)
		h->replay_seq = 0;
	CRASH_POINT("replay_intent");
	return rc;
}

static int64_t rows_of(const struct window *w)
{
	int64_t n = 0;

	for (size_t i = 0; i < w->count; i++)
		n += window_is_barrier(&w->entries[i]) ? 0 : w->entries[i].rows;
	return n;
}

static int confirm(struct applier *a, struct hold *h, cdc_ts last, const struct state_row *objects, size_t n,
		   struct err *err)
{
	struct apply_mark mark = a->mark;
	struct hold now = *h;
	bool level;
	int rc;

	now.seq = h->replay_seq + 1;
	now.replay_seq = 0;
	if (a->window.count && a->window.entries[a->window.count - 1].ts > now.ts)
		now.ts = a->window.entries[a->window.count - 1].ts;
	level = a->numbered && now.seq > a->mark.seq; /* else more of it is being read again (R13) */
	mark.rows_applied += rows_of(&a->window);
	if (last > mark.out)
		mark.out = last;
	if ((rc = store_hold(a, &now, &mark, level, objects, n, err)) < 0)
		return rc;
	CRASH_POINT("replay_marked");
	*h = now;
	a->mark = mark;
	a->tick_due = mark.out;
	a->replay_turn = true;
	if (level) {
		applier_note(a, h, true, "collection %s.%s is not on hold any more", h->db, h->collection);
		holds_remove(&a->holds, h->collection_id);
	}
	return 0;
}

/*
 * Nobody can replay what cannot be read: this collection waits on, for an operator, the others go on. Its
 * files are not cut back (R16): all that came later would have to be read again, which the source may not
 * have any more.
 */
static int unreadable(struct applier *a, struct hold *h, const struct err *why)
{
	AUTO_FREE char *reason =
		xasprintf("its waiting changes cannot be read from the journal: %s. What came "
			  "later is not affected. Once the file is whole again it goes on by "
			  "itself; else copy the collection by other means, or make the task anew",
			  why->text);

	stays(a, h, reason);
	return 0;
}

int applier_replay(struct applier *a, struct err *err)
{
	struct hold *h = choose(a);
	struct sink_refusal refusal = {0};
	struct state_row *objects = NULL;
	int64_t end = 0;
	size_t n = 0;
	cdc_ts last;
	int rc;

	if (!h)
		return 0;
	arena_reset(a->scratch);
	rc = gather(a, h, h->replay_seq ? h->replay_seq : a->mark.seq, &end, err);
	if ((rc == -ERR_JOURNAL_BAD || rc == -ERR_JOURNAL_IO) && !h->replay_seq)
		return unreadable(a, h, err);
	if (rc < 0 || (rc = open_window(a, h, end, err)) < 0)
		return rc;
	gate_activate(a->gate, a->mark.out);
	if ((rc = send(a, h, &last, &objects, &n, &refusal, err)) < 0)
		return rc;
	CRASH_POINT("replay_sent");
	if (rc > 0)
		return refused_again(a, h, last, &refusal, err);
	if ((rc = confirm(a, h, last, objects, n, err)) < 0 || (rc = applier_tick(a, err)) < 0)
		return rc;
	applier_publish(a, a->mark.ts);
	return 1;
}
