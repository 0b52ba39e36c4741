/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: which entries the applier sends together, and the durable intent that freezes them.
 *
 * A data window is a run of INSERT, DELETE (and advisory FLUSH) entries; every other DDL entry is a
 * window of its own (R18). A window ends where the next entry has a greater timestamp, so that its
 * tick never covers a row that is still to come. What was frozen by an intent is cut again exactly
 * (J6, R19): by seq, and by source time where the journal's tail had to be read again (R13).
 */
#ifndef CDC_DATA_WINDOW_H
#define CDC_DATA_WINDOW_H

#include "apply_store.h"

#include <cdc/journal.h>

/* Is a window of its own; a flush is advisory and travels with the rows (R18, R24). */
static inline bool window_is_barrier(const struct entry *e)
{
	return kind_is_ddl(e->kind) && e->kind != KIND_FLUSH;
}

/* False: it may have another timestamp when it is read again (R13), so it is applied again. */
bool window_has_own_time(const struct entry *e);

struct window {
	struct arena *arena; /* owns everything below */
	struct entry *entries;
	size_t count;
	/* R13: DDL without a time of its own, read again with a window in doubt: applied first */
	struct entry *late;
	size_t late_count;
	struct apply_intent intent; /* type INTENT_NONE: empty */
	bool complete;              /* nothing follows in the journal; */
	cdc_ts watermark;           /* then: the journal's */
	int64_t last_seq;           /* the last entry that was looked at, applied already or not */
};

void window_init(struct window *w);
void window_done(struct window *w);

struct window_limits {
	size_t bytes, entries;
	int32_t version;
	int64_t merge_limit;
};

/*
 * The next window after mark. open: the intent to be repeated (type NONE: cut a new one with the
 * given limits and floor). 1: w is filled. 0: nothing there (w->complete and w->watermark tell up to
 * where; not complete: look on after w->last_seq), or the journal has not yet read again what the intent
 * covers.
 */
int window_next(struct window *w, struct journal_cursor *cursor, const struct apply_mark *mark,
		const struct apply_intent *open, const struct window_limits *limits, cdc_ts floor,
		struct err *err);

#endif
