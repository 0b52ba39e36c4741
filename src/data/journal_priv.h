/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journal's files share. journal.c: open, close, memory and waiting; journal_segment.c:
 * one file; journal_append.c: cuts; journal_read.c: rows and cursors; journal_retain.c: rotation,
 * sealing, trimming.
 *
 * Locking: fields marked [lock] are touched under journal.lock, except that the writer's thread, the
 * only one that changes them, may read them without it. Everything unmarked belongs to the writer's
 * thread or never changes. No SQLite call and no I/O is made under the lock.
 */
#ifndef CDC_DATA_JOURNAL_PRIV_H
#define CDC_DATA_JOURNAL_PRIV_H

#include <cdc/journal.h>

#include <pthread.h>
#include <sqlite3.h>

#define SEGMENT_SCHEMA 1
#define SEGMENT_ID 0x6d63646a /* "mcdj" */
#define SEGMENT_DIGITS 20
#define BODY_MAX ((size_t)256 << 20)    /* nothing a broker lets through is near it */
#define WAL_PASSIVE ((int64_t)8 << 20)  /* from here on: copy into the database after each commit */
#define WAL_RESTART ((int64_t)16 << 20) /* from here on: wait for the cursor to let the WAL begin anew */

struct segment {
	char *path;
	int64_t first; /* its file name: no entry of it is below, all entries before it are */
	bool sealed;   /* [lock] in rollback mode, 0440: it never changes again */
	bool sealing;  /* [lock] the writer is at it; cursors wait */
	int readers;   /* [lock] cursors that have it open */
	int64_t bytes; /* on disk, when last looked */
	sqlite3 *db;   /* the one writing connection, of an unsealed segment; or NULL */
};

/* Where the journal stands: its last cut row. In memory it may be ahead of the disk by empty cuts. */
struct head {
	int64_t id; /* of the cut row */
	int64_t last_seq;
	cdc_ts watermark;
	int64_t revision;
	int64_t entries;    /* of that cut */
	int64_t rows_total; /* captured since the journal began */
	int64_t body_bytes; /* in its segment */
	int64_t written_ms;
};

/* Positions sorted by pchannel. */
struct positions {
	struct position *items;
	size_t count;
};

/* The known catalog, sorted by key. Kept in memory, so that rotation reads nothing back. */
struct state_item {
	char *key;
	uint8_t *value;
	size_t size;
};
struct state {
	struct state_item *items;
	size_t count, cap;
};

/* Statements of the newest segment. */
struct writer {
	struct segment *seg; /* NULL: the next append makes one */
	sqlite3_stmt *begin, *commit, *add_entry, *add_cut, *set_cut, *clear_positions, *add_position,
		*set_state, *drop_state;
	bool full_sync;
	int64_t wal_bytes; /* in use, as of the last commit */
	int64_t wal_file;  /* its size on disk, when last looked */
	/* A write failed. What the disk holds of the WAL is unknown (a failed fsync is reported once
	 * and may drop pages), so the next write first copies everything into the database. */
	bool suspect;
};

struct journal {
	char *dir, *vfs;
	int64_t segment_size, max_size, keep_s, min_seq;
	struct head head;
	struct positions positions; /* [lock] */
	struct state state;         /* [lock] */
	struct writer w;
	bool dirty;         /* head and positions are ahead of the disk */
	int64_t flushed_ms; /* monotonic */
	int64_t wanted;     /* bytes that found no room; 0: none did */
	bool emptied;       /* since then a trim has removed what it could, and nobody needs what is left */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct segment **segments; /* [lock] oldest first */
	size_t count;              /* [lock] */
	struct journal_stat stat;  /* [lock] */
	unsigned wakes;            /* [lock] */
	int waiting;               /* [lock] */
	bool woken;                /* [lock] a wake that came while nobody waited */
};

/* journal.c */
void journal_publish(struct journal *j);  /* makes head and segments visible to other threads */
int64_t segment_number(const char *name); /* the number that a segment's file name is; 0: another file */
void journal_forget(struct journal *j);   /* frees positions and state */
void positions_set(struct positions *p, const struct position *items, size_t n);     /* copies and sorts */
void state_set(struct state *s, const char *key, const uint8_t *value, size_t size); /* value NULL deletes */
static inline int64_t journal_next_seq(const struct journal *j, int64_t last)
{
	return (last > j->min_seq ? last : j->min_seq) + 1;
}

/* journal_segment.c. what: what was being done, for the text of the error. */
int sql_fail(sqlite3 *db, int rc, const char *path, const char *what, struct err *err);
int sql_exec(sqlite3 *db, const char *path, const char *what, const char *sql, struct err *err);
int sql_prepare(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **ret, struct err *err);
int sql_bad(const char *path, struct err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int dir_sync(const char *dir, struct err *err);
struct segment *segment_new(const struct journal *j, int64_t first);
void segment_free(struct segment *seg);
enum { SEGMENT_GOOD, SEGMENT_VOID };
/* Looks at the header without SQLite. VOID: nothing was ever committed in it. JOURNAL_BAD, JOURNAL_NEWER. */
int segment_probe(const char *path, struct err *err);
/* Makes the file with what the journal carries over as its first cut; complete once it has its name. */
int segment_create(struct journal *j, struct segment *seg, struct err *err);
int segment_open_db(const struct journal *j, const char *path, bool readonly, sqlite3 **ret, struct err *err);
/* Reads the last cut, positions and state into the journal. Returns SEGMENT_*. */
int segment_load(struct journal *j, struct segment *seg, sqlite3 *db, struct err *err);
uint32_t head_crc(const struct head *h, const struct positions *p);
uint32_t state_crc(const char *key, const uint8_t *value, size_t size);
int position_bind(sqlite3_stmt *s, const struct position *p); /* parameters 1-9; an SQLite code */
int64_t file_bytes(const char *path, int64_t *ret_wal);       /* with the WAL */

/* journal_append.c */
int writer_open(struct journal *j, struct segment *seg, struct err *err);
void writer_close(struct journal *j); /* the statements; the connection stays with the segment */
int writer_flush(struct journal *j, struct err *err); /* empty cuts that are only in memory */
int writer_checkpoint(struct journal *j, int mode, struct err *err);

/* journal_read.c */
#define ENTRY_COLUMNS \
	"seq, ts, kind, db_id, collection_id, partition_id, id_hi, id_lo, rows, db, collection, vchannel, " \
	"pchannel, crc, length(body)"
uint32_t entry_crc_head(const struct entry *e); /* without the body's bytes */
/*
 * Reads the row that `row` (SELECT ENTRY_COLUMNS) stands on and checks it (J7). With an arena all of
 * the entry lives there; without one it is only checked, and ret's pointers are not set. *blob is
 * kept between calls; the caller closes it before the transaction ends.
 */
int entry_load(sqlite3 *db, const char *path, sqlite3_stmt *row, sqlite3_blob **blob, struct arena *arena,
	       struct entry *ret, struct err *err);

/* journal_retain.c */
int journal_rotate(struct journal *j, struct err *err);
int journal_room(struct journal *j, int64_t more, struct err *err); /* J8 */
void journal_measure(struct journal *j);                            /* bytes of the newest segment */
/* Seals what can be sealed now; what cannot be is tried again later. */
void journal_seal(struct journal *j);

#endif
