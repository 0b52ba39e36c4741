/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending cuts: one transaction of the newest segment a call (J1). Memory changes only after the
 * commit, so an error leaves the journal as it was. Entries are bound without a copy of our own.
 */
#include "journal_priv.h"

#include <cdc/worker.h>

#include <inttypes.h>
#include <stdlib.h>

#define FLUSH_MS 5000 /* R17: empty cuts reach the disk this often, without a sync */

int writer_open(struct journal *j, struct segment *seg, struct err *err)
{
	struct writer *w = &j->w;
	const struct {
		sqlite3_stmt **stmt;
		const char *sql;
	} all[] = {
		{&w->begin, "BEGIN IMMEDIATE"},
		{&w->commit, "COMMIT"},
		{&w->add_entry, "INSERT INTO entry VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
		{&w->add_cut, "INSERT INTO cut VALUES(?, ?, ?, ?, ?, ?, ?, ?, 0)"},
		{&w->set_cut, "UPDATE cut SET last_seq = ?2, watermark = ?3, revision = ?4, entries = ?5,"
			      "rows_total = ?6, body_bytes = ?7, written_ms = ?8, crc = ?9 WHERE id = ?1"},
		{&w->clear_positions, "DELETE FROM position"},
		{&w->add_position, "INSERT INTO position VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"},
		{&w->set_state,
		 "INSERT INTO state(key, crc, value) VALUES(?, ?, ?) ON CONFLICT(key) DO UPDATE SET "
		 "crc = excluded.crc, value = excluded.value"},
		{&w->drop_state, "DELETE FROM state WHERE key = ?"},
	};
	int rc = 0;

	if (!seg->db)
		rc = segment_open_db(j, seg->path, false, &seg->db, err);
	if (rc == 0) /* it is, unless sealing it was interrupted and the newer segments are gone */
		rc = sql_exec(seg->db, seg->path, "open", "PRAGMA journal_mode=WAL", err);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(all); i++)
		rc = sql_prepare(seg->db, seg->path, all[i].sql, all[i].stmt, err);
	if (rc < 0) {
		writer_close(j);
		return rc;
	}
	w->seg = seg;
	w->full_sync = true;
	w->suspect = false;
	file_bytes(seg->path, &w->wal_bytes);
	return 0;
}

void writer_close(struct journal *j)
{
	struct writer *w = &j->w;
	sqlite3_stmt *all[] = {w->begin,           w->commit,       w->add_entry, w->add_cut,   w->set_cut,
			       w->clear_positions, w->add_position, w->set_state, w->drop_state};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		sqlite3_finalize(all[i]);
	*w = (struct writer){0};
}

int writer_checkpoint(struct journal *j, int mode, struct err *err)
{
	struct segment *seg = j->w.seg;
	int rc = sqlite3_wal_checkpoint_v2(seg->db, NULL, mode, NULL, NULL);

	if (rc != SQLITE_OK)
		return sql_fail(seg->db, rc, seg->path, "checkpoint", err);
	if (mode == SQLITE_CHECKPOINT_TRUNCATE)
		j->w.suspect = false;
	return 0;
}

/* Keeps the WAL bounded. Never fails the append: that is committed already. */
static void keep_wal_small(struct journal *j)
{
	struct writer *w = &j->w;
	int rc = SQLITE_OK;

	if (w->wal_bytes >= WAL_RESTART)
		rc = sqlite3_wal_checkpoint_v2(w->seg->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
	else if (w->wal_bytes >= WAL_PASSIVE)
		rc = sqlite3_wal_checkpoint_v2(w->seg->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY)
		w->suspect = true;
}

static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct writer *w = arg;

	(void)db;
	(void)name;
	w->wal_bytes = (int64_t)pages * 16384;
	return SQLITE_OK;
}

static int step(struct journal *j, sqlite3_stmt *s, int bound, struct err *err)
{
	struct segment *seg = j->w.seg;
	int rc = bound == SQLITE_OK ? sqlite3_step(s) : bound;

	sqlite3_reset(s); /* the text of the error stays with the connection */
	return rc == SQLITE_DONE ? 0 : sql_fail(seg->db, rc, seg->path, "write", err);
}

static const char *text(const char *s)
{
	return s ? s : "";
}

static int add_entry(struct journal *j, const struct entry *e, struct err *err)
{
	sqlite3_stmt *s = j->w.add_entry;
	uint32_t crc = crc32c(entry_crc_head(e), e->body, e->size);
	const char *strings[] = {text(e->db), text(e->collection), text(e->vchannel), text(e->pchannel)};
	int64_t v[] = {e->seq,
		       e->ts > INT64_MAX ? -1 : (int64_t)e->ts,
		       (int64_t)e->kind,
		       e->db_id,
		       e->collection_id,
		       e->partition_id,
		       (int64_t)e->id.hi,
		       (int64_t)e->id.lo,
		       e->rows};
	int rc = SQLITE_OK, n = 1;

	for (size_t i = 0; rc == SQLITE_OK && i < ARRAY_LEN(v); i++)
		rc = sqlite3_bind_int64(s, i < 6 ? n++ : (int)i + 5, v[i]);
	for (size_t i = 0; rc == SQLITE_OK && i < ARRAY_LEN(strings); i++)
		rc = sqlite3_bind_text(s, n++, strings[i], -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s, 14, crc);
	if (rc == SQLITE_OK) /* a NULL pointer would bind NULL */
		rc = sqlite3_bind_blob64(s, 15, e->size ? (const void *)e->body : "", e->size, SQLITE_STATIC);
	rc = step(j, s, rc, err);
	sqlite3_clear_bindings(s); /* they point into the caller's memory */
	return rc;
}

static int write_cut(struct journal *j, sqlite3_stmt *s, const struct head *h, struct err *err)
{
	int64_t v[] = {h->id,      h->last_seq,   (int64_t)h->watermark, h->revision,
		       h->entries, h->rows_total, h->body_bytes,         h->written_ms};
	int rc = SQLITE_OK;

	for (size_t i = 0; rc == SQLITE_OK && i < ARRAY_LEN(v); i++)
		rc = sqlite3_bind_int64(s, (int)i + 1, v[i]);
	return step(j, s, rc, err);
}

static int write_state(struct journal *j, const struct state_row *r, struct err *err)
{
	sqlite3_stmt *s = r->value ? j->w.set_state : j->w.drop_state;
	int rc = sqlite3_bind_text(s, 1, r->key, -1, SQLITE_STATIC);

	if (r->value && rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s, 2, state_crc(r->key, r->value, r->size));
	if (r->value && rc == SQLITE_OK)
		rc = sqlite3_bind_blob64(s, 3, r->size ? (const void *)r->value : "", r->size, SQLITE_STATIC);
	rc = step(j, s, rc, err);
	sqlite3_clear_bindings(s);
	return rc;
}

/* One cut into the open transaction; h moves on. */
static int write_one(struct journal *j, struct cut *c, struct head *h, struct err *err)
{
	int rc = 0;

	h->watermark = c->watermark;
	h->revision = c->revision;
	if (c->entry_count == 0 && c->state_count == 0)
		return 0; /* R17: only the last row's watermark */
	h->id++;
	h->entries = (int64_t)c->entry_count;
	h->written_ms = clock_real_ms();
	for (size_t i = 0; rc == 0 && i < c->entry_count; i++) {
		struct entry *e = &c->entries[i];

		e->seq = h->last_seq = journal_next_seq(j, h->last_seq);
		h->body_bytes += (int64_t)e->size;
		if (e->kind == KIND_INSERT || e->kind == KIND_DELETE)
			h->rows_total += e->rows;
		rc = add_entry(j, e, err);
	}
	for (size_t i = 0; rc == 0 && i < c->state_count; i++)
		rc = write_state(j, &c->state[i], err);
	return rc == 0 ? write_cut(j, j->w.add_cut, h, err) : rc;
}

/* The last cut row as it finally is, and the positions that belong to it. */
static int write_head(struct journal *j, const struct head *h, const struct positions *p, struct err *err)
{
	int rc = step(j, j->w.clear_positions, SQLITE_OK, err);

	for (size_t i = 0; rc == 0 && i < p->count; i++)
		rc = step(j, j->w.add_position, position_bind(j->w.add_position, &p->items[i]), err);
	if (rc < 0)
		return rc;
	sqlite3_bind_int64(j->w.set_cut, 9, head_crc(h, p));
	return write_cut(j, j->w.set_cut, h, err);
}

static int set_sync(struct journal *j, bool full, struct err *err)
{
	int rc;

	if (j->w.full_sync == full)
		return 0;
	rc = sql_exec(j->w.seg->db, j->w.seg->path, "prepare to write",
		      full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", err);
	if (rc == 0)
		j->w.full_sync = full;
	return rc;
}

/* All cuts that are above the watermark, the last of their positions, one commit. */
static int transact(struct journal *j, struct cut *cuts, size_t n, bool sync, struct head *h,
		    const struct positions *positions, struct err *err)
{
	sqlite3 *db = j->w.seg->db;
	int rc = 0;

	if (j->w.suspect)
		rc = writer_checkpoint(j, SQLITE_CHECKPOINT_TRUNCATE, err);
	if (rc == 0)
		rc = set_sync(j, sync, err);
	if (rc < 0)
		return rc;
	sqlite3_wal_hook(db, on_commit, &j->w);
	rc = step(j, j->w.begin, SQLITE_OK, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (cuts[i].watermark > h->watermark)
			rc = write_one(j, &cuts[i], h, err);
	if (rc == 0)
		rc = write_head(j, h, positions, err);
	CRASH_POINT("journal_written");
	HANG_POINT("journal_written");
	if (rc == 0)
		rc = step(j, j->w.commit, SQLITE_OK, err);
	if (rc < 0) {
		j->w.suspect = true;
		if (!sqlite3_get_autocommit(db))
			sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
		return rc;
	}
	CRASH_POINT("journal_committed");
	j->dirty = false;
	j->flushed_ms = clock_mono_ms();
	return 0;
}

int writer_flush(struct journal *j, struct err *err)
{
	struct head h = j->head;

	return j->dirty ? transact(j, NULL, 0, false, &h, &j->positions, err) : 0;
}

/* J2 and limits; counts what there is to write. The caller's fault is a fault of the program. */
static int check(struct journal *j, const struct cut *cuts, size_t n, const struct cut **ret_last,
		 bool *ret_full, int64_t *ret_bytes, struct err *err)
{
	cdc_ts w = j->head.watermark;
	int64_t bytes = 0;

	for (size_t i = 0; i < n; i++) {
		const struct cut *c = &cuts[i];
		cdc_ts prev = w;

		if (c->watermark <= w)
			continue; /* J5 */
		if (c->watermark > INT64_MAX)
			return err_set(err, ERR_INTERNAL, "cut %" PRIu64 " is out of range", c->watermark);
		for (size_t k = 0; k < c->entry_count; k++) {
			const struct entry *e = &c->entries[k];

			if (e->ts <= w || e->ts < prev || e->ts > c->watermark)
				return err_set(err, ERR_INTERNAL,
					       "entry %zu (%s) of cut %" PRIu64 " has timestamp %" PRIu64
					       ", out of order after %" PRIu64,
					       k, kind_name(e->kind), c->watermark, e->ts, prev);
			if (e->size > BODY_MAX)
				return err_set(err, ERR_SOURCE_FORMAT,
					       "a message of pchannel %s (position %" PRIu64
					       ") has %zu bytes, more than any the source can apply",
					       text(e->pchannel), e->id.lo, e->size);
			prev = e->ts;
			bytes += (int64_t)e->size;
		}
		for (size_t k = 0; k < c->state_count; k++)
			bytes += (int64_t)c->state[k].size;
		*ret_full |= c->entry_count || c->state_count;
		*ret_last = c;
		w = c->watermark;
	}
	*ret_bytes = bytes;
	return 0;
}

/* A segment that can take the cuts. */
static int ready(struct journal *j, int64_t bytes, struct err *err)
{
	struct segment *newest = j->count ? j->segments[j->count - 1] : NULL;
	int64_t next = journal_next_seq(j, j->head.last_seq);
	int rc = journal_room(j, bytes, err);

	if (rc < 0)
		return rc;
	if (!j->w.seg && newest && !newest->sealed) /* opening it failed after it was made */
		return writer_open(j, newest, err);
	/* inside a segment seq has no gaps, so that a row that vanished is noticed; R13 begins another */
	/* and the first file is short, so that there soon is a whole one to go back to (R16) */
	if (!j->w.seg || j->head.body_bytes >= j->segment_size ||
	    (j->count == 1 && j->head.last_seq >= newest->first) ||
	    (next != j->head.last_seq + 1 && next != newest->first))
		return journal_rotate(j, err);
	return 0;
}

/* Positions and state as the commit made them. */
static void remember(struct journal *j, const struct cut *cuts, size_t n, const struct cut *last)
{
	cdc_ts w = j->head.watermark;

	pthread_mutex_lock(&j->lock);
	for (size_t i = 0; i < n; i++) {
		if (cuts[i].watermark <= w)
			continue;
		w = cuts[i].watermark;
		for (size_t k = 0; k < cuts[i].state_count; k++)
			state_set(&j->state, cuts[i].state[k].key, cuts[i].state[k].value,
				  cuts[i].state[k].size);
	}
	positions_set(&j->positions, last->positions, last->position_count);
	pthread_mutex_unlock(&j->lock);
}

int journal_append(struct journal *j, struct cut *cuts, size_t n, struct err *err)
{
	const struct cut *last = NULL;
	struct positions sorted = {0};
	bool full = false;
	int64_t bytes = 0;
	struct head h;
	int rc;

	if ((rc = check(j, cuts, n, &last, &full, &bytes, err)) < 0 || !last)
		return rc;
	/* the first cut of a file is always written: it is where a new task begins */
	full |= !j->w.seg;
	if (full) {
		if ((rc = ready(j, bytes, err)) < 0)
			return rc;
		h = j->head;
		positions_set(&sorted, last->positions, last->position_count);
		rc = transact(j, cuts, n, true, &h, &sorted, err);
		free(sorted.items);
		if (rc < 0)
			return rc;
		remember(j, cuts, n, last);
		j->head = h;
		keep_wal_small(j);
		journal_measure(j);
	} else {
		pthread_mutex_lock(&j->lock);
		positions_set(&j->positions, last->positions, last->position_count);
		pthread_mutex_unlock(&j->lock);
		j->head.watermark = last->watermark;
		j->head.revision = last->revision;
		j->dirty = true;
		/* what cannot be written now goes with the next transaction, which tells */
		if (clock_mono_ms() - j->flushed_ms >= FLUSH_MS && writer_flush(j, NULL) < 0)
			j->flushed_ms = clock_mono_ms();
	}
	journal_publish(j);
	return 0;
}
