/* SPDX-License-Identifier: Apache-2.0 */
/* See window.h. */
#include "window.h"

#include <stdlib.h>

void window_init(struct window *w)
{
	*w = (struct window){.arena = arena_new()};
}

void window_done(struct window *w)
{
	arena_free(w->arena);
	*w = (struct window){0};
}

/*
 * DDL that only the catalog tells of has the watermark's time, another one when it is read again (R9). So
 * may a drop: it stands at its record, or earlier, at the creation or rename that needs the name.
 */
bool window_has_own_time(const struct entry *e)
{
	switch (e->kind) {
	case KIND_NONE:
	case KIND_INSERT:
	case KIND_DELETE:
	case KIND_TICK:
	case KIND_OTHER:
	case KIND_CREATE_COLLECTION:
	case KIND_CREATE_PARTITION:
	case KIND_FLUSH:
		return true;
	default:
		return false;
	}
}

/*
 * R13: entries that were read again although they are applied already. What has no time of its own may
 * come before the mark without having been applied: it stays, since it may be applied twice.
 */
static void skip_applied(struct journal_batch *b, cdc_ts applied)
{
	size_t n = 0;

	for (size_t i = 0; i < b->count; i++)
		if (b->entries[i].ts > applied || !window_has_own_time(&b->entries[i]))
			b->entries[n++] = b->entries[i];
	b->count = n;
}

/* How many entries at the start of b form one new window; 0: more must be read to know. */
static size_t cut_new(const struct journal_batch *b, bool *ddl)
{
	size_t n = 0;

	*ddl = window_is_barrier(&b->entries[0]);
	if (*ddl)
		return 1;
	while (n < b->count && !window_is_barrier(&b->entries[n]))
		n++;
	if (n < b->count || b->complete)
		return n;
	/* cut by the read limit: a timestamp must not be split between two windows */
	while (n > 0 && b->entries[n - 1].ts == b->next_ts)
		n--;
	return n;
}

/* The source time up to which everything is in, once the first n entries are applied. */
static cdc_ts covered(const struct journal_batch *b, size_t n)
{
	cdc_ts last = b->entries[n - 1].ts;

	if (n < b->count)
		return b->entries[n].ts - 1;
	if (!b->complete)
		return b->next_ts - 1;
	return b->watermark > last ? b->watermark : last;
}

/*
 * Takes the n entries apart: what the catalog told again comes first. Read again, it may stand anywhere:
 * also in the middle of what was a window of rows alone. All of it is idempotent, and a window of rows
 * creates nothing that it could need, so before it is as good. DDL stays in its order.
 */
static void split(struct window *w, const struct journal_batch *b, size_t n, bool data, cdc_ts applied)
{
	struct entry *late = arena_alloc(w->arena, (n + 1) * sizeof(*late));
	struct entry *rest = arena_alloc(w->arena, (n + 1) * sizeof(*rest));

	w->late = late;
	w->entries = rest;
	for (size_t i = 0; i < n; i++) {
		const struct entry *e = &b->entries[i];

		if (window_is_barrier(e) && (data || e->ts <= applied))
			late[w->late_count++] = *e;
		else
			rest[w->count++] = *e;
	}
}

/* 1: w is the window of open. 0: it is not all in the journal. -1: not all of it was read. */
static int repeat(struct window *w, const struct journal_batch *b, const struct apply_intent *open,
		  cdc_ts applied)
{
	size_t n = 0;

	while (n < b->count && (b->entries[n].seq <= open->seq || b->entries[n].ts <= open->ts))
		n++;
	if (n == b->count && !b->complete)
		return -1;
	if (n == b->count && b->watermark < open->ts && (n == 0 || b->entries[n - 1].seq != open->seq))
		return 0; /* its tail is still being read again */
	split(w, b, n, open->type == INTENT_DATA, applied);
	w->intent = *open;
	if (n && b->entries[n - 1].seq > open->seq)
		w->intent.seq = b->entries[n - 1].seq;
	return 1;
}

int window_next(struct window *w, struct journal_cursor *cursor, const struct apply_mark *mark,
		const struct apply_intent *open, const struct window_limits *limits, cdc_ts floor,
		struct err *err)
{
	bool again = open->type != INTENT_NONE, ddl;
	size_t bytes = again ? SIZE_MAX / 4 : limits->bytes, max = limits->entries, n;
	int64_t after = mark->seq;
	struct journal_batch b;
	int rc;

	if (again && (size_t)(open->seq - mark->seq) + 1 > max)
		max = (size_t)(open->seq - mark->seq) + 1;
	for (;;) {
		arena_reset(w->arena);
		w->intent = (struct apply_intent){0};
		w->count = w->late_count = 0;
		if ((rc = journal_read(cursor, after, bytes, max, w->arena, &b, err)) < 0)
			return rc;
		w->complete = b.complete;
		w->watermark = b.watermark;
		w->last_seq = b.count ? b.entries[b.count - 1].seq : after;
		skip_applied(&b, mark->ts);
		if (b.count == 0 && !b.complete) { /* applied already, any amount of it: look further */
			if (!again)
				return 0; /* the caller has other work between */
			after = w->last_seq;
			continue;
		}
		if (again && (rc = repeat(w, &b, open, mark->ts)) >= 0)
			return rc;
		if (!again && b.count == 0)
			return 0;
		n = again ? 0 : cut_new(&b, &ddl);
		if (n > 0 && (n < b.count || b.complete || b.next_ts > b.entries[n - 1].ts))
			break;
		bytes = bytes < SIZE_MAX / 4 ? bytes * 2 : bytes;
		max *= 2;
	}
	w->entries = b.entries;
	w->count = n;
	w->intent = (struct apply_intent){.type = ddl ? INTENT_DDL : INTENT_DATA,
					  .seq = b.entries[n - 1].seq,
					  .ts = covered(&b, n),
					  .floor = floor,
					  .version = limits->version,
					  .merge_limit = limits->merge_limit};
	if (w->intent.ts < mark->ts) /* R13: read again, in front of what is applied */
		w->intent.ts = mark->ts;
	w->complete = b.complete && n == b.count;
	return 1;
}
