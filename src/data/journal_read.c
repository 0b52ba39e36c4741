/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading entries back, checked (J7). A cursor has at most one segment open; each journal_read is one
 * short read transaction per segment, so that it never holds up a checkpoint for long. Bodies are
 * copied once, from SQLite's pages into the arena.
 */
#include "journal_priv.h"

#include <inttypes.h>
#include <stdlib.h>

struct journal_cursor {
	struct journal *j;
	struct segment *seg; /* counted in seg->readers; NULL: none */
	sqlite3 *db;         /* read-only */
	sqlite3_stmt *begin, *end, *rows;
	int64_t base; /* the segment's first cut: everything up to here is in older segments */
	struct entry *entries;
	size_t cap;
};

uint32_t entry_crc_head(const struct entry *e)
{
	const char *strings[] = {e->db, e->collection, e->vchannel, e->pchannel};
	uint64_t words[] = {(uint64_t)e->seq,
			    e->ts,
			    (uint64_t)e->kind,
			    (uint64_t)e->db_id,
			    (uint64_t)e->collection_id,
			    (uint64_t)e->partition_id,
			    e->id.hi,
			    e->id.lo,
			    e->rows};
	uint8_t b[sizeof(words)];
	uint32_t crc;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		for (int k = 0; k < 8; k++)
			b[i * 8 + (size_t)k] = (uint8_t)(words[i] >> (8 * k));
	crc = crc32c(0, b, sizeof(b));
	for (size_t i = 0; i <= ARRAY_LEN(strings); i++) {
		const char *s = i < ARRAY_LEN(strings) && strings[i] ? strings[i] : "";
		uint64_t n = i < ARRAY_LEN(strings) ? strlen(s) : e->size;

		for (int k = 0; k < 8; k++)
			b[k] = (uint8_t)(n >> (8 * k));
		crc = crc32c(crc, b, 8);
		if (i < ARRAY_LEN(strings))
			crc = crc32c(crc, s, n);
	}
	return crc;
}

static int blob_at(sqlite3 *db, int64_t seq, sqlite3_blob **blob)
{
	if (*blob)
		return sqlite3_blob_reopen(*blob, seq);
	return sqlite3_blob_open(db, "main", "entry", "body", seq, 0, blob);
}

/* The body in pieces, for its checksum alone. */
static int body_crc(sqlite3_blob *blob, size_t size, uint32_t *crc)
{
	uint8_t piece[16384];
	int rc = SQLITE_OK;

	for (size_t at = 0; rc == SQLITE_OK && at < size; at += sizeof(piece)) {
		size_t n = size - at < sizeof(piece) ? size - at : sizeof(piece);

		rc = sqlite3_blob_read(blob, piece, (int)n, (int)at);
		*crc = crc32c(*crc, piece, n);
	}
	return rc;
}

static const char *column_string(sqlite3_stmt *row, int i)
{
	const char *s = (const char *)sqlite3_column_text(row, i);

	return s ? s : "";
}

int entry_load(sqlite3 *db, const char *path, sqlite3_stmt *row, sqlite3_blob **blob, struct arena *arena,
	       struct entry *ret, struct err *err)
{
	struct entry e = {
		.seq = sqlite3_column_int64(row, 0),
		.ts = (cdc_ts)sqlite3_column_int64(row, 1),
		.kind = (enum kind)sqlite3_column_int64(row, 2),
		.db_id = sqlite3_column_int64(row, 3),
		.collection_id = sqlite3_column_int64(row, 4),
		.partition_id = sqlite3_column_int64(row, 5),
		.id = {(uint64_t)sqlite3_column_int64(row, 6), (uint64_t)sqlite3_column_int64(row, 7)},
		.rows = (uint32_t)sqlite3_column_int64(row, 8),
		.db = column_string(row, 9),
		.collection = column_string(row, 10),
		.vchannel = column_string(row, 11),
		.pchannel = column_string(row, 12),
		.size = (size_t)sqlite3_column_int64(row, 14),
	};
	uint32_t crc;
	int rc;

	if (e.size > BODY_MAX)
		return sql_bad(path, err, "entry %" PRId64 " has %zu bytes", e.seq, e.size);
	crc = entry_crc_head(&e);
	rc = blob_at(db, e.seq, blob);
	if (rc == SQLITE_OK && (size_t)sqlite3_blob_bytes(*blob) != e.size)
		return sql_bad(path, err, "entry %" PRId64 " (seq) is not a blob", e.seq);
	if (rc == SQLITE_OK && arena) {
		uint8_t *body = arena_alloc(arena, e.size + 1);

		rc = sqlite3_blob_read(*blob, body, (int)e.size, 0);
		crc = crc32c(crc, body, e.size);
		e.body = body;
	} else if (rc == SQLITE_OK) {
		rc = body_crc(*blob, e.size, &crc);
	}
	if (rc == SQLITE_ERROR) /* not a blob any more */
		return sql_bad(path, err, "entry %" PRId64 " (seq): %s", e.seq, sqlite3_errmsg(db));
	if (rc != SQLITE_OK)
		return sql_fail(db, rc, path, "read", err);
	if (crc != (uint32_t)sqlite3_column_int64(row, 13))
		return sql_bad(path, err, "checksum of entry %" PRId64 " (seq) does not match", e.seq);
	if (arena) {
		e.db = arena_strdup(arena, e.db);
		e.collection = arena_strdup(arena, e.collection);
		e.vchannel = arena_strdup(arena, e.vchannel);
		e.pchannel = arena_strdup(arena, e.pchannel);
	} else {
		e.db = e.collection = e.vchannel = e.pchannel = NULL;
	}
	*ret = e;
	return 0;
}

int journal_cursor_open(struct journal_cursor **ret, struct journal *j, struct err *err)
{
	struct journal_cursor *c = xcalloc(1, sizeof(*c));

	(void)err; /* files are opened when they are read */
	c->j = j;
	*ret = c;
	return 0;
}

/* Lets go of the segment, so that it can be sealed or removed. */
static void leave(struct journal_cursor *c)
{
	sqlite3_finalize(c->begin);
	sqlite3_finalize(c->end);
	sqlite3_finalize(c->rows);
	c->begin = c->end = c->rows = NULL;
	sqlite3_close_v2(c->db);
	c->db = NULL;
	if (!c->seg)
		return;
	pthread_mutex_lock(&c->j->lock);
	c->seg->readers--;
	pthread_mutex_unlock(&c->j->lock);
	c->seg = NULL;
}

/* An applier that has caught up does not hold up sealing until something new comes. */
static void leave_old(struct journal_cursor *c)
{
	bool newest;

	pthread_mutex_lock(&c->j->lock);
	newest = c->j->count && c->j->segments[c->j->count - 1] == c->seg;
	pthread_mutex_unlock(&c->j->lock);
	if (!newest)
		leave(c);
}

void journal_cursor_close(struct journal_cursor *c)
{
	if (!c)
		return;
	leave(c);
	free(c->entries);
	free(c);
}

static int read_base(struct journal_cursor *c, struct err *err)
{
	sqlite3_stmt *s = NULL;
	int rc = sql_prepare(c->db, c->seg->path, "SELECT last_seq FROM cut ORDER BY id LIMIT 1", &s, err),
	    step;

	if (rc < 0)
		return rc;
	step = sqlite3_step(s);
	if (step == SQLITE_ROW)
		c->base = sqlite3_column_int64(s, 0);
	else if (step == SQLITE_DONE)
		rc = sql_bad(c->seg->path, err, "it has no cut");
	else
		rc = sql_fail(c->db, step, c->seg->path, "read the first cut", err);
	sqlite3_finalize(s);
	return rc;
}

static int open_segment(struct journal_cursor *c, struct err *err)
{
	static const char rows[] =
		"SELECT " ENTRY_COLUMNS " FROM entry WHERE seq > ? AND seq <= ? ORDER BY seq";
	const char *path = c->seg->path;
	int rc = segment_open_db(c->j, path, true, &c->db, err);

	if (rc == 0)
		rc = sql_prepare(c->db, path, "BEGIN", &c->begin, err);
	if (rc == 0)
		rc = sql_prepare(c->db, path, "COMMIT", &c->end, err);
	if (rc == 0)
		rc = sql_prepare(c->db, path, rows, &c->rows, err);
	if (rc == 0)
		rc = read_base(c, err);
	if (rc < 0)
		leave(c);
	return rc;
}

/*
 * Goes to a segment: the oldest whose entries may be above `after`, newer than `past` (a segment that
 * is read to its end; 0: none), begun before `last_seq`. 1: there. 0: there is none.
 */
static int go_to(struct journal_cursor *c, int64_t after, int64_t past, int64_t last_seq, struct err *err)
{
	struct journal *j = c->j;
	struct segment *seg = NULL;
	int rc;

	pthread_mutex_lock(&j->lock);
	for (size_t i = 0; i < j->count && !seg; i++) {
		bool last = i + 1 == j->count;

		if (j->segments[i]->first > past && (last || j->segments[i + 1]->first - 1 > after))
			seg = j->segments[i];
	}
	if (seg && seg->first > last_seq)
		seg = NULL;
	if (!seg || seg == c->seg) {
		pthread_mutex_unlock(&j->lock);
		return seg ? 1 : 0;
	}
	seg->readers++; /* from here on it is neither sealed nor removed, unless that has begun */
	while (seg->sealing)
		pthread_cond_wait(&j->changed, &j->lock);
	pthread_mutex_unlock(&j->lock);
	leave(c);
	c->seg = seg;
	if ((rc = open_segment(c, err)) < 0)
		return rc;
	return 1;
}

struct limits {
	int64_t last_seq;
	size_t bytes, entries;
};

/* Adds what fits. 1: the limit was reached and ret->next_ts is set. 0: end of this segment. */
static int read_rows(struct journal_cursor *c, int64_t *after, const struct limits *max, size_t *used,
		     struct arena *arena, struct journal_batch *ret, struct err *err)
{
	int64_t next = *after < c->seg->first ? c->seg->first : *after + 1;
	sqlite3_blob *blob = NULL;
	int rc = 0, step;

	sqlite3_bind_int64(c->rows, 1, *after);
	sqlite3_bind_int64(c->rows, 2, max->last_seq);
	while (rc == 0 && (step = sqlite3_step(c->rows)) != SQLITE_DONE) {
		size_t size = (size_t)sqlite3_column_int64(c->rows, 14);
		bool over = ret->count &&
			    (ret->count >= max->entries || size > max->bytes || *used > max->bytes - size);
		struct entry e;

		if (step != SQLITE_ROW) {
			rc = sql_fail(c->db, step, c->seg->path, "read", err);
			break;
		}
		if (sqlite3_column_int64(c->rows, 0) != next) { /* a segment has no gaps */
			rc = sql_bad(c->seg->path, err, "entry %" PRId64 " (seq) is missing", next);
			break;
		}
		if ((rc = entry_load(c->db, c->seg->path, c->rows, &blob, over ? NULL : arena, &e, err)) < 0)
			break;
		if (over) {
			ret->next_ts = e.ts;
			rc = 1;
			break;
		}
		if (ret->count == c->cap) {
			c->cap = c->cap ? c->cap * 2 : 64;
			c->entries = xrealloc(c->entries, c->cap * sizeof(*c->entries));
		}
		c->entries[ret->count++] = e;
		*used += size;
		*after = e.seq;
		next++;
	}
	sqlite3_reset(c->rows);
	sqlite3_blob_close(blob);
	return rc;
}

static int missing(const struct journal *j, int64_t after, int64_t last, struct err *err)
{
	return err_set(
		err, ERR_JOURNAL_BAD,
		"journal %s: the entries %" PRId64 " to %" PRId64
		" (seq) are missing, a segment file is gone. Restore it from the folder quarantine/ or "
		"a backup, or create the task again",
		j->dir, after + 1, last);
}

/* One read transaction. As read_rows. */
static int read_segment(struct journal_cursor *c, int64_t *after, const struct limits *max, size_t *used,
			struct arena *arena, struct journal_batch *ret, struct err *err)
{
	int rc, step;

	if (*after >= 0 && *after < c->base)
		return missing(c->j, *after, c->base, err);
	step = sqlite3_step(c->begin);
	sqlite3_reset(c->begin);
	if (step != SQLITE_DONE)
		return sql_fail(c->db, step, c->seg->path, "read", err);
	rc = read_rows(c, after, max, used, arena, ret, err);
	step = sqlite3_step(c->end);
	sqlite3_reset(c->end);
	if (rc >= 0 && step != SQLITE_DONE)
		return sql_fail(c->db, step, c->seg->path, "read", err);
	return rc;
}

int journal_read(struct journal_cursor *c, int64_t after, size_t max_bytes, size_t max_entries,
		 struct arena *arena, struct journal_batch *ret, struct err *err)
{
	struct journal_batch b = {0};
	struct limits max = {.bytes = max_bytes, .entries = max_entries};
	struct journal *j = c->j;
	int64_t at = after, past = 0;
	size_t used = 0;
	int rc;

	/* the watermark first: every entry at or below it is committed and will be seen */
	pthread_mutex_lock(&j->lock);
	max.last_seq = j->stat.last_seq;
	b.watermark = j->stat.watermark;
	pthread_mutex_unlock(&j->lock);
	while ((rc = go_to(c, at, past, max.last_seq, err)) == 1) {
		past = c->seg->first;
		if ((rc = read_segment(c, &at, &max, &used, arena, &b, err)) != 0)
			break;
	}
	if (rc == 0 && after >= 0 && at < max.last_seq)
		rc = missing(j, at, max.last_seq, err);
	if (rc < 0) {
		leave(c); /* what failed is opened anew */
		return rc;
	}
	b.complete = rc == 0;
	if (b.complete)
		leave_old(c);
	b.entries = arena_dup(arena, c->entries, b.count * sizeof(*b.entries));
	*ret = b;
	return 0;
}
