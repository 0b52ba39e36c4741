/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of one task: a folder of SQLite files ("segments") that together are one totally
 * ordered log of the source. It is the only queue between reader and applier.
 *
 *   <dir>/<first seq, 20 digits>.db   segments; only the last is written (WAL, synchronous=FULL)
 *   <dir>/quarantine/                 damaged files, never deleted by us
 *
 * A segment holds: entry(seq, ts, kind, ... , body, crc), position(pchannel, ...) and state(key,
 * value) as of its last cut, cut(last_seq, watermark, revision, entries, written_ms), meta(key,
 * value), and the view `log` with everything readable for people.
 *
 * Invariants: J1 entries and the positions that cover them commit together. J2 seq grows and
 * commits in order; timestamps never decrease with seq. J3 a committed entry never changes; a
 * segment is removed only when not needed. J5 a cut at or below the watermark adds nothing. J7 a
 * damaged entry is found before it is returned.
 *
 * Writer calls: one thread (the reader's). A journal_cursor: one thread (the applier's). journal_stat,
 * journal_wait, journal_positions and journal_state: any thread. One connection writes a file and also
 * checkpoints it; cursors open files read-only, with automatic checkpoints off.
 */
#ifndef CDC_JOURNAL_H
#define CDC_JOURNAL_H

#include <cdc/conf.h>
#include <cdc/err.h>
#include <cdc/mem.h>
#include <cdc/model.h>

struct journal;

struct journal_options {
	int64_t segment_size; /* bytes of bodies after which a new segment is begun */
	int64_t max_size;     /* bytes on disk; append answers JOURNAL_FULL beyond (J8) */
	int64_t keep_s;
	int64_t min_seq; /* seq of new entries is greater (R13) */
	const char *vfs; /* SQLite VFS for tests; NULL: the default */
};

/* Opens or creates. Removes half-made segments, checks the last one. dir is created (0750).
 * JOURNAL_IO, JOURNAL_BAD (which file, what to do), JOURNAL_NEWER. */
int journal_open(struct journal **ret, const char *dir, const struct journal_options *o, struct err *err);
void journal_close(struct journal *j); /* checkpoints; NULL is fine */
DEFINE_AUTO(struct journal, journal_close)

/*
 * Appends whole cuts in one durable transaction (J1), seq is written into cut->entries[].seq. A cut
 * whose watermark is not above the journal's is skipped (J5). A cut without entries and state rows
 * (R17) only moves watermark, revision and positions: in memory at once, on disk with the next
 * transaction or every 5 s, without a sync of its own. Rotates segments by itself, carrying state and
 * positions over (R14). On error nothing of the call is in the journal. JOURNAL_FULL, JOURNAL_IO.
 */
int journal_append(struct journal *j, struct cut *cuts, size_t n, struct err *err);

/* As of the last append. Arrays live in the arena. */
cdc_ts journal_watermark(const struct journal *j);
int64_t journal_revision(const struct journal *j);
int64_t journal_last_seq(const struct journal *j);
size_t journal_positions(struct journal *j, struct arena *arena, struct position **ret);
size_t journal_state(struct journal *j, struct arena *arena, struct state_row **ret);

/*
 * Removes sealed segments whose last entry is <= applied_seq and whose last cut was written more
 * than keep_s ago; never the newest two (R15, R16). After an append answered JOURNAL_FULL age does not matter
 * until there is room again. Called by the writer's thread now and then. Returns the number removed.
 */
int journal_trim(struct journal *j, int64_t applied_seq, struct err *err);

/*
 * R16, while the journal is not open: checks every entry above `after`, and the last cut of each file
 * that holds one. A damaged file and all after it are moved to quarantine/ if a whole one is before
 * them: the journal then ends there, and the reader reads again from its positions (R13). 1: moved, *err
 * says which file and why. 0: no damage. JOURNAL_BAD: damaged, and there is nothing to go back to.
 */
int journal_repair(const char *dir, int64_t after, struct err *err);

struct journal_stat {
	int64_t first_seq; /* 0: no entry is held */
	int64_t last_seq;  /* 0: none yet */
	cdc_ts watermark;
	int64_t bytes;         /* on disk */
	int64_t rows_captured; /* of all INSERT and DELETE entries ever appended */
	int segments;
};
void journal_stat(struct journal *j, struct journal_stat *ret);
/* Waits until there is an entry > seq or the watermark is > ts, or timeout_ms. True: there is. */
bool journal_wait(struct journal *j, int64_t seq, cdc_ts ts, int timeout_ms);
/* Ends the waits in progress once (they answer false), e.g. so that a pause is seen at once. */
void journal_wake(struct journal *j);

struct journal_cursor;
/* A reader over the segments of an open journal. */
int journal_cursor_open(struct journal_cursor **ret, struct journal *j, struct err *err);
void journal_cursor_close(struct journal_cursor *c);
DEFINE_AUTO(struct journal_cursor, journal_cursor_close)

struct journal_batch {
	struct entry *entries; /* in the arena, bodies too */
	size_t count;
	bool complete;    /* nothing follows: all entries up to `watermark` are in */
	cdc_ts watermark; /* complete: the journal's watermark, read in the same instant or before */
	cdc_ts next_ts;   /* not complete: ts of the entry that follows */
};
/*
 * Entries with seq > after, in order, until the next would bring the bodies over max_bytes (at
 * least one is returned) or max_entries. Each is checked (CRC-32C over all columns) first: J7,
 * JOURNAL_BAD names file and seq; also when entries after `after` are no longer there (never skipped
 * in silence). after < 0: from the oldest there is. JOURNAL_IO: try again.
 */
int journal_read(struct journal_cursor *c, int64_t after, size_t max_bytes, size_t max_entries,
		 struct arena *arena, struct journal_batch *ret, struct err *err);

#endif
