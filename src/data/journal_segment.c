/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One segment file: recognising, making, opening and loading it. A segment is built under another
 * name and renamed when it is complete, so a file with a segment's name always holds a cut.
 *
 * segment_probe opens files without SQLite: POSIX drops all locks that a process has on a file when
 * any descriptor of it is closed, so it runs only before a connection exists.
 */
#include "journal_priv.h"

#include <cdc/worker.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_SIZE 16384
#define BUSY_MS 5000
#define CHECK_BYTES ((int64_t)16 << 20) /* of the last entries, when a segment is opened again */
#define CHECK_ROWS 1000

static const char schema[] =
#include "sql_segment.h"
	;

int sql_bad(const char *path, struct err *err, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(err, ERR_JOURNAL_BAD,
		       "%s is damaged: %s. Nothing was deleted. Check the disk; restore the file, or stop "
		       "the daemon "
		       "and move it and its -wal file to the folder quarantine/ beside it: what only it held "
		       "is then "
		       "read from the source again if the source still has it",
		       path, text);
}

int sql_fail(sqlite3 *db, int rc, const char *path, const char *what, struct err *err)
{
	const char *text = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);

	switch (rc & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return sql_bad(path, err, "%s: %s", what, text);
	case SQLITE_FULL:
		return err_set(err, ERR_JOURNAL_FULL,
			       "%s: %s: no space left on the device. It goes on by itself when there is",
			       path, what);
	}
	if ((rc & 0xff) == SQLITE_CONSTRAINT)
		return err_set(err, ERR_INTERNAL, "%s: %s: %s", path, what, text);
	return err_set(err, ERR_JOURNAL_IO, "%s: %s: %s (SQLite %d). Check the disk and the file's owner",
		       path, what, text, rc);
}

int sql_exec(sqlite3 *db, const char *path, const char *what, const char *sql, struct err *err)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : sql_fail(db, sqlite3_extended_errcode(db), path, what, err);
}

int sql_prepare(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **ret, struct err *err)
{
	int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);

	if (rc == SQLITE_OK)
		return 0;
	if ((rc & 0xff) == SQLITE_ERROR) /* a table or column is not there */
		return sql_bad(path, err, "%s", sqlite3_errmsg(db));
	return sql_fail(db, sqlite3_extended_errcode(db), path, "open", err);
}

int dir_sync(const char *dir, struct err *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0 || fsync(fd) < 0)
		rc = err_set(err, ERR_JOURNAL_IO, "%s: cannot sync the folder: %s", dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

struct segment *segment_new(const struct journal *j, int64_t first)
{
	struct segment *seg = xcalloc(1, sizeof(*seg));

	seg->first = first;
	seg->path = xasprintf("%s/%0*" PRId64 ".db", j->dir, SEGMENT_DIGITS, first);
	return seg;
}

void segment_free(struct segment *seg)
{
	if (!seg)
		return;
	sqlite3_close_v2(seg->db);
	free(seg->path);
	free(seg);
}

int64_t file_bytes(const char *path, int64_t *ret_wal)
{
	AUTO_FREE char *wal = xasprintf("%s-wal", path);
	struct stat st;
	int64_t n = stat(path, &st) == 0 ? st.st_size : 0, w = stat(wal, &st) == 0 ? st.st_size : 0;

	if (ret_wal)
		*ret_wal = w;
	return n + w;
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int segment_probe(const char *path, struct err *err)
{
	uint8_t h[100] = {0};
	int64_t wal, bytes = file_bytes(path, &wal);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return err_set(err, ERR_JOURNAL_IO, "%s: cannot open: %s", path, strerror(errno));
	n = pread(fd, h, sizeof(h), 0);
	close(fd);
	if (n < 0)
		return err_set(err, ERR_JOURNAL_IO, "%s: cannot read: %s", path, strerror(errno));
	if (bytes == 0)
		return SEGMENT_VOID;
	if (n < (ssize_t)sizeof(h) || memcmp(h, "SQLite format 3", 16) != 0)
		return sql_bad(path, err, "it does not begin like a SQLite file");
	if (be32(h + 68) == 0 && be32(h + 60) == 0 && wal == 0 && bytes <= PAGE_SIZE)
		return SEGMENT_VOID; /* a header, nothing else */
	if (be32(h + 68) != SEGMENT_ID)
		return sql_bad(path, err, "it is not a journal segment");
	if (be32(h + 60) > SEGMENT_SCHEMA)
		return err_set(
			err, ERR_JOURNAL_NEWER,
			"%s was written by a newer version (schema %u, this program knows %d). Install that "
			"version again; nothing was changed",
			path, be32(h + 60), SEGMENT_SCHEMA);
	return SEGMENT_GOOD;
}

static uint32_t crc_words(uint32_t crc, const uint64_t *w, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t b[8];

		for (int k = 0; k < 8; k++)
			b[k] = (uint8_t)(w[i] >> (8 * k));
		crc = crc32c(crc, b, sizeof(b));
	}
	return crc;
}

uint32_t head_crc(const struct head *h, const struct positions *p)
{
	uint64_t w[] = {(uint64_t)h->id,         (uint64_t)h->last_seq,   h->watermark,
			(uint64_t)h->revision,   (uint64_t)h->entries,    (uint64_t)h->rows_total,
			(uint64_t)h->body_bytes, (uint64_t)h->written_ms, p->count};
	uint32_t crc = crc_words(0, w, ARRAY_LEN(w));

	for (size_t i = 0; i < p->count; i++) {
		const struct position *q = &p->items[i];
		uint64_t v[] = {q->next.hi,
				q->next.lo,
				q->ts,
				q->guard.set,
				q->guard.id.hi,
				q->guard.id.lo,
				(uint64_t)q->guard.time_ms,
				q->guard.hash};

		crc = crc32c(crc, q->pchannel, strlen(q->pchannel) + 1);
		crc = crc_words(crc, v, ARRAY_LEN(v));
	}
	return crc;
}

uint32_t state_crc(const char *key, const uint8_t *value, size_t size)
{
	return crc32c(crc32c(0, key, strlen(key) + 1), value, size);
}

int position_bind(sqlite3_stmt *s, const struct position *p)
{
	int64_t v[] = {(int64_t)p->next.hi, p->guard.set ? 1 : 0,    p->guard.time_ms,
		       (int64_t)p->next.lo, (int64_t)p->guard.id.hi, (int64_t)p->guard.hash,
		       (int64_t)p->ts,      (int64_t)p->guard.id.lo};
	static const int param[] = {2, 5, 8, 3, 6, 9, 4, 7};
	int rc = sqlite3_bind_text(s, 1, p->pchannel, -1, SQLITE_STATIC);

	for (size_t i = 0; rc == SQLITE_OK && i < ARRAY_LEN(v); i++)
		rc = sqlite3_bind_int64(s, param[i], v[i]);
	return rc;
}

int segment_open_db(const struct journal *j, const char *path, bool readonly, sqlite3 **ret, struct err *err)
{
	static const char common[] =
		"PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;"
		"PRAGMA wal_autocheckpoint=0; PRAGMA recursive_triggers=OFF;";
	/* journal_size_limit: the WAL file shrinks to it when it begins anew */
	static const char rw[] = "PRAGMA cache_size=-4096; PRAGMA journal_size_limit=16777216;"
				 "PRAGMA synchronous=FULL; PRAGMA secure_delete=OFF;";
	static const char ro[] = "PRAGMA query_only=ON; PRAGMA cache_size=-1024;";
	int flags = SQLITE_OPEN_NOMUTEX | (readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE), rc;
	sqlite3 *db = NULL;

	rc = sqlite3_open_v2(path, &db, flags, j->vfs);
	if (rc == SQLITE_OK) {
		sqlite3_extended_result_codes(db, 1);
		sqlite3_busy_timeout(db, BUSY_MS);
		/* only the writing connection ever checkpoints (the WAL-reset fault of SQLite < 3.51.3) */
		if (readonly)
			rc = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	}
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, common, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, readonly ? ro : rw, NULL, NULL, NULL);
	if (rc != SQLITE_OK) {
		rc = sql_fail(db, rc, path, "cannot open", err);
		sqlite3_close_v2(db);
		return rc;
	}
	*ret = db;
	return 0;
}

/* Runs a bound statement that returns no rows. */
static int run(sqlite3 *db, const char *path, sqlite3_stmt *s, int bound, struct err *err)
{
	int rc = bound == SQLITE_OK ? sqlite3_step(s) : bound;

	sqlite3_reset(s);
	return rc == SQLITE_DONE ? 0 : sql_fail(db, rc, path, "write", err);
}

static int fill_kinds(sqlite3 *db, const char *path, struct err *err)
{
	static const struct {
		int n;
		const char *name;
	} kinds[] = {
#define X(name, n, text) {n, text},
		KIND_TABLE(X)
#undef X
	};
	sqlite3_stmt *s = NULL;
	int rc = sql_prepare(db, path, "INSERT INTO kind(id, name) VALUES(?, ?)", &s, err);

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(kinds); i++) {
		sqlite3_bind_int(s, 1, kinds[i].n);
		rc = run(db, path, s, sqlite3_bind_text(s, 2, kinds[i].name, -1, SQLITE_STATIC), err);
	}
	sqlite3_finalize(s);
	return rc;
}

static int fill_carried(struct journal *j, struct head *h, sqlite3 *db, const char *path, struct err *err)
{
	sqlite3_stmt *s = NULL;
	char *sql;
	int rc = sql_prepare(db, path, "INSERT INTO position VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", &s, err);

	for (size_t i = 0; rc == 0 && i < j->positions.count; i++)
		rc = run(db, path, s, position_bind(s, &j->positions.items[i]), err);
	sqlite3_finalize(s);
	s = NULL;
	if (rc == 0)
		rc = sql_prepare(db, path, "INSERT INTO state(key, crc, value) VALUES(?, ?, ?)", &s, err);
	for (size_t i = 0; rc == 0 && i < j->state.count; i++) {
		const struct state_item *it = &j->state.items[i];

		sqlite3_bind_text(s, 1, it->key, -1, SQLITE_STATIC);
		sqlite3_bind_int64(s, 2, state_crc(it->key, it->value, it->size));
		rc = run(db, path, s, sqlite3_bind_blob64(s, 3, it->value, it->size, SQLITE_STATIC), err);
	}
	sqlite3_finalize(s);
	if (rc < 0)
		return rc;
	sql = sqlite3_mprintf("INSERT INTO cut VALUES(%lld, %lld, %lld, %lld, %lld, %lld, %lld, %lld, %lld);"
			      "INSERT INTO meta VALUES('created_ms', %lld), ('program', %Q);",
			      h->id, h->last_seq, (int64_t)h->watermark, h->revision, h->entries,
			      h->rows_total, h->body_bytes, h->written_ms,
			      (int64_t)head_crc(h, &j->positions), clock_real_ms(),
			      "milvus-cdc " CDC_VERSION);
	rc = sql_exec(db, path, "write", sql, err);
	sqlite3_free(sql);
	return rc;
}

static int build(struct journal *j, struct head *h, const char *path, struct err *err)
{
	sqlite3 *db = NULL;
	char begin[200];
	int rc = segment_open_db(j, path, false, &db, err), closed;

	if (rc < 0)
		return rc;
	/* no rollback journal: a file that does not get its name is thrown away */
	snprintf(begin, sizeof(begin),
		 "PRAGMA page_size=%d; PRAGMA journal_mode=OFF; BEGIN IMMEDIATE;"
		 "PRAGMA application_id=%d; PRAGMA user_version=%d",
		 PAGE_SIZE, SEGMENT_ID, SEGMENT_SCHEMA);
	rc = sql_exec(db, path, "create", begin, err);
	if (rc == 0)
		rc = sql_exec(db, path, "create", schema, err);
	if (rc == 0)
		rc = fill_kinds(db, path, err);
	if (rc == 0)
		rc = fill_carried(j, h, db, path, err);
	if (rc == 0)
		rc = sql_exec(db, path, "create", "COMMIT; PRAGMA journal_mode=WAL", err);
	closed = sqlite3_close(db);
	if (rc == 0 && closed != SQLITE_OK)
		rc = sql_fail(NULL, closed, path, "create", err);
	return rc;
}

static void remove_with_helpers(const char *path)
{
	static const char *const suffix[] = {"", "-wal", "-shm", "-journal"};

	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		AUTO_FREE char *p = xasprintf("%s%s", path, suffix[i]);

		unlink(p);
	}
}

/*
 * SQLite's files of a segment that is no longer there (moved to quarantine without them) must not be
 * taken for the new one's: a WAL fits any database. They are kept under another name.
 */
static void set_aside(const char *path)
{
	static const char *const suffix[] = {"-wal", "-journal"};
	AUTO_FREE char *shm = xasprintf("%s-shm", path);

	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		AUTO_FREE char *from = xasprintf("%s%s", path, suffix[i]), *to = xasprintf("%s.orphan", from);

		rename(from, to);
	}
	unlink(shm);
}

int segment_create(struct journal *j, struct segment *seg, struct err *err)
{
	AUTO_FREE char *tmp = xasprintf("%s.new", seg->path);
	struct head h = j->head;
	int fd, rc;

	remove_with_helpers(tmp);
	fd = open(tmp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_set(err, errno == ENOSPC ? ERR_JOURNAL_FULL : ERR_JOURNAL_IO,
			       "%s: cannot create: %s", tmp, strerror(errno));
	close(fd);
	h.id = 1;
	h.entries = 0;
	h.body_bytes = 0;
	h.written_ms = clock_real_ms();
	rc = build(j, &h, tmp, err);
	CRASH_POINT("journal_built");
	if (rc == 0)
		set_aside(seg->path);
	if (rc == 0 && rename(tmp, seg->path) < 0)
		rc = err_set(err, ERR_JOURNAL_IO, "%s: cannot rename to %s: %s", tmp, seg->path,
			     strerror(errno));
	if (rc < 0) {
		remove_with_helpers(tmp);
		return rc;
	}
	CRASH_POINT("journal_renamed");
	if ((rc = dir_sync(j->dir, err)) < 0)
		return rc;
	j->head = h;
	return 0;
}

static int load_positions(sqlite3 *db, const char *path, struct positions *ret, struct err *err)
{
	sqlite3_stmt *s = NULL;
	int rc = sql_prepare(db, path, "SELECT * FROM position ORDER BY pchannel", &s, err), step;

	while (rc == 0 && (step = sqlite3_step(s)) != SQLITE_DONE) {
		struct position *p;
		const char *name;

		if (step != SQLITE_ROW) {
			rc = sql_fail(db, step, path, "read positions", err);
			break;
		}
		name = (const char *)sqlite3_column_text(s, 0);
		if (!name || strlen(name) >= PCHANNEL_MAX) {
			rc = sql_bad(path, err, "a position has no usable name");
			break;
		}
		ret->items = xrealloc(ret->items, (ret->count + 1) * sizeof(*p));
		p = &ret->items[ret->count++];
		*p = (struct position){
			.next = {(uint64_t)sqlite3_column_int64(s, 1), (uint64_t)sqlite3_column_int64(s, 2)},
			.ts = (cdc_ts)sqlite3_column_int64(s, 3)};
		strcpy(p->pchannel, name);
		p->guard.set = sqlite3_column_int(s, 4) != 0;
		p->guard.id.hi = (uint64_t)sqlite3_column_int64(s, 5);
		p->guard.id.lo = (uint64_t)sqlite3_column_int64(s, 6);
		p->guard.time_ms = sqlite3_column_int64(s, 7);
		p->guard.hash = (uint64_t)sqlite3_column_int64(s, 8);
	}
	sqlite3_finalize(s);
	return rc;
}

static int load_state(sqlite3 *db, const char *path, struct state *ret, struct err *err)
{
	sqlite3_stmt *s = NULL;
	int rc = sql_prepare(db, path, "SELECT key, value, crc FROM state ORDER BY key", &s, err), step;

	while (rc == 0 && (step = sqlite3_step(s)) != SQLITE_DONE) {
		const char *key;
		const void *value;
		size_t size;

		if (step != SQLITE_ROW) {
			rc = sql_fail(db, step, path, "read state", err);
			break;
		}
		key = (const char *)sqlite3_column_text(s, 0);
		value = sqlite3_column_blob(s, 1);
		size = (size_t)sqlite3_column_bytes(s, 1);
		if (!key || state_crc(key, value, size) != (uint32_t)sqlite3_column_int64(s, 2))
			rc = sql_bad(path, err, "checksum of state row %s does not match", key ? key : "?");
		else
			state_set(ret, key, value ? value : (const void *)"", size);
	}
	sqlite3_finalize(s);
	return rc;
}

/* 1: there is a last cut. 0: none. */
static int load_head(sqlite3 *db, const char *path, struct head *ret, uint32_t *ret_crc, int64_t *ret_max,
		     struct err *err)
{
	static const char sql[] =
		"SELECT id, last_seq, watermark, revision, entries, rows_total, body_bytes, written_ms, crc,"
		"(SELECT coalesce(max(seq), 0) FROM entry) FROM (SELECT 1) LEFT JOIN cut ORDER BY id DESC "
		"LIMIT 1";
	sqlite3_stmt *s = NULL;
	int rc = sql_prepare(db, path, sql, &s, err), step;

	if (rc < 0)
		return rc;
	step = sqlite3_step(s);
	if (step == SQLITE_ROW) {
		*ret = (struct head){sqlite3_column_int64(s, 0),         sqlite3_column_int64(s, 1),
				     (cdc_ts)sqlite3_column_int64(s, 2), sqlite3_column_int64(s, 3),
				     sqlite3_column_int64(s, 4),         sqlite3_column_int64(s, 5),
				     sqlite3_column_int64(s, 6),         sqlite3_column_int64(s, 7)};
		*ret_crc = (uint32_t)sqlite3_column_int64(s, 8);
		*ret_max = sqlite3_column_int64(s, 9);
		rc = sqlite3_column_type(s, 0) != SQLITE_NULL;
	} else {
		rc = sql_fail(db, step, path, "read the last cut", err);
	}
	sqlite3_finalize(s);
	return rc;
}

/* The last entries: what a crash or a torn page would have hit. */
static int check_tail(sqlite3 *db, const char *path, struct err *err)
{
	sqlite3_stmt *s = NULL;
	sqlite3_blob *blob = NULL;
	int64_t bytes = 0;
	static const char sql[] = "SELECT " ENTRY_COLUMNS " FROM entry ORDER BY seq DESC LIMIT ?";
	int rc = sql_prepare(db, path, sql, &s, err), step;

	if (rc == 0)
		sqlite3_bind_int(s, 1, CHECK_ROWS);
	while (rc == 0 && bytes < CHECK_BYTES && (step = sqlite3_step(s)) != SQLITE_DONE) {
		struct entry e;

		if (step != SQLITE_ROW) {
			rc = sql_fail(db, step, path, "read entries", err);
			break;
		}
		rc = entry_load(db, path, s, &blob, NULL, &e, err);
		bytes += (int64_t)e.size;
	}
	sqlite3_blob_close(blob);
	sqlite3_finalize(s);
	return rc;
}

int segment_load(struct journal *j, struct segment *seg, sqlite3 *db, struct err *err)
{
	struct positions positions = {0};
	struct state state = {0};
	struct head h;
	uint32_t crc = 0;
	int64_t max = 0;
	int rc = load_head(db, seg->path, &h, &crc, &max, err);

	if (rc == 0 && max == 0)
		return SEGMENT_VOID;
	if (rc == 0)
		return sql_bad(seg->path, err, "it has entries but no cut");
	if (rc < 0)
		return rc;
	rc = load_positions(db, seg->path, &positions, err);
	if (rc == 0 && head_crc(&h, &positions) != crc)
		rc = sql_bad(seg->path, err, "checksum of the last cut and its positions does not match");
	if (rc == 0 && max && max != h.last_seq) /* J1 */
		rc = sql_bad(seg->path, err, "the last entry is %" PRId64 ", the last cut says %" PRId64, max,
			     h.last_seq);
	if (rc == 0)
		rc = load_state(db, seg->path, &state, err);
	if (rc == 0)
		rc = check_tail(db, seg->path, err);
	if (rc < 0) {
		free(positions.items);
		for (size_t i = 0; i < state.count; i++) {
			free(state.items[i].key);
			free(state.items[i].value);
		}
		free(state.items);
		return rc;
	}
	j->head = h;
	j->positions = positions;
	j->state = state;
	return SEGMENT_GOOD;
}
