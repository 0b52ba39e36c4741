/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply.db. One row holds mark, intent and tick bound, so that each change is one durable commit of
 * one connection; memory follows the commit, never the other way round. The row and every object
 * carry a CRC-32C: a mark that a bad disk moved forward would lose data in silence.
 */
#include "apply_store.h"

#include <cdc/worker.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define APPLY_SCHEMA 1
#define APPLY_ID 0x6d636461 /* "mcda" */
#define BUSY_MS 5000
#define KEY_MAX 1024

static const char schema[] =
#include "sql_apply.h"
	;

/* The row of table mark, in the order of its columns. */
struct row {
	struct apply_mark mark;
	struct apply_intent intent;
	cdc_ts bound;
	int64_t written_ms;
};

struct apply_store {
	pthread_mutex_t lock; /* everything below; calls are rare and short */
	sqlite3 *db;
	sqlite3_stmt *begin, *commit, *save, *set, *drop, *list;
	char *path;
	struct row row;
};

static int bad(const char *path, struct err *err, const char *what)
{
	return err_set(
		err, ERR_JOURNAL_BAD,
		"%s is damaged: %s. Nothing was deleted. Check the disk and restore the file from a backup "
		"that is not older than the journal; without it, delete the task and create it again",
		path, what);
}

static int fail(sqlite3 *db, int rc, const char *path, const char *what, struct err *err)
{
	const char *text = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);

	switch (rc & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return bad(path, err, text);
	case SQLITE_FULL:
		return err_set(err, ERR_STATE_IO,
			       "%s: %s: no space left on the device. It goes on by itself when there is",
			       path, what);
	}
	return err_set(err, ERR_STATE_IO, "%s: %s: %s (SQLite %d). Check the disk and the file's owner", path,
		       what, text, rc);
}

static int exec(struct apply_store *s, const char *what, const char *sql, struct err *err)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(s->db, sqlite3_extended_errcode(s->db), s->path, what, err);
}

static int prepare(struct apply_store *s, const char *sql, sqlite3_stmt **ret, struct err *err)
{
	int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);

	if (rc == SQLITE_OK)
		return 0;
	if ((rc & 0xff) == SQLITE_ERROR)
		return bad(s->path, err, sqlite3_errmsg(s->db));
	return fail(s->db, sqlite3_extended_errcode(s->db), s->path, "open", err);
}

static int step(struct apply_store *s, sqlite3_stmt *stmt, int bound, struct err *err)
{
	int rc = bound == SQLITE_OK ? sqlite3_step(stmt) : bound;

	sqlite3_reset(stmt);
	return rc == SQLITE_DONE ? 0 : fail(s->db, rc, s->path, "write", err);
}

#define ROW_WORDS 12

static void row_words(const struct row *r, int64_t w[ROW_WORDS])
{
	const int64_t words[ROW_WORDS] = {
		r->mark.seq,       (int64_t)r->mark.ts,   (int64_t)r->mark.out,  r->mark.rows_applied,
		r->intent.type,    r->intent.seq,         (int64_t)r->intent.ts, (int64_t)r->intent.floor,
		r->intent.version, r->intent.merge_limit, (int64_t)r->bound,     r->written_ms,
	};

	memcpy(w, words, sizeof(words));
}

/* Over the words, each as 8 bytes, low byte first. */
static uint32_t row_crc(const int64_t w[ROW_WORDS])
{
	uint8_t b[ROW_WORDS * 8];

	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)((uint64_t)w[i / 8] >> (8 * (i % 8)));
	return crc32c(0, b, sizeof(b));
}

static uint32_t object_crc(const char *key, const void *value, size_t size)
{
	return crc32c(crc32c(0, key, strlen(key) + 1), value, size);
}

static int save_row(struct apply_store *s, const struct row *r, struct err *err)
{
	int64_t w[ROW_WORDS];
	int rc = SQLITE_OK;

	row_words(r, w);
	for (int i = 0; rc == SQLITE_OK && i < ROW_WORDS; i++)
		rc = sqlite3_bind_int64(s->save, i + 1, w[i]);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s->save, ROW_WORDS + 1, row_crc(w));
	return step(s, s->save, rc, err);
}

static int save_object(struct apply_store *s, const struct state_row *o, struct err *err)
{
	sqlite3_stmt *stmt = o->value ? s->set : s->drop;
	int rc;

	if (strlen(o->key) > KEY_MAX)
		return err_set(err, ERR_INTERNAL, "%s: an object key has %zu bytes", s->path, strlen(o->key));
	rc = sqlite3_bind_text(stmt, 1, o->key, -1, SQLITE_STATIC);
	if (o->value && rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 2, object_crc(o->key, o->value, o->size));
	if (o->value && rc == SQLITE_OK)
		rc = sqlite3_bind_blob64(stmt, 3, o->size ? (const void *)o->value : "", o->size,
					 SQLITE_STATIC);
	rc = step(s, stmt, rc, err);
	sqlite3_clear_bindings(stmt);
	return rc;
}

/* One transaction: the row as it is to be, and objects. Under the lock. */
static int commit(struct apply_store *s, struct row *r, const struct state_row *objects, size_t n,
		  struct err *err)
{
	int rc = step(s, s->begin, SQLITE_OK, err);

	r->written_ms = clock_real_ms();
	if (rc == 0)
		rc = save_row(s, r, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = save_object(s, &objects[i], err);
	if (rc == 0)
		rc = step(s, s->commit, SQLITE_OK, err);
	if (rc < 0) {
		if (!sqlite3_get_autocommit(s->db))
			sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
		return rc;
	}
	CRASH_POINT("apply_committed");
	s->row = *r;
	return 0;
}

static int pragma_int(struct apply_store *s, const char *sql, int64_t *ret, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL), got = SQLITE_OK;

	if (rc == SQLITE_OK && (got = sqlite3_step(stmt)) == SQLITE_ROW)
		*ret = sqlite3_column_int64(stmt, 0);
	rc = rc != SQLITE_OK ? rc : got == SQLITE_ROW ? 0 : got;
	if (rc != 0)
		rc = fail(s->db, rc, s->path, "open", err);
	sqlite3_finalize(stmt);
	return rc;
}

/* An empty file becomes a store in one transaction; a crash leaves it empty. */
static int create(struct apply_store *s, struct err *err)
{
	char pragmas[120];
	int64_t w[ROW_WORDS];
	char *sql;
	int rc;

	snprintf(pragmas, sizeof(pragmas),
		 "BEGIN IMMEDIATE; PRAGMA application_id=%d; PRAGMA user_version=%d", APPLY_ID, APPLY_SCHEMA);
	rc = exec(s, "create", pragmas, err);
	if (rc == 0)
		rc = exec(s, "create", schema, err);
	row_words(&s->row, w);
	sql = sqlite3_mprintf("INSERT INTO mark VALUES(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, %lld); COMMIT",
			      (int64_t)row_crc(w));
	if (rc == 0)
		rc = exec(s, "create", sql, err);
	sqlite3_free(sql);
	if (rc < 0 && !sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* Whose file it is, before anything is written to it. 1: an empty one. */
static int recognise(struct apply_store *s, struct err *err)
{
	int64_t id, version, objects;
	int rc = pragma_int(s, "PRAGMA application_id", &id, err);

	if (rc == 0)
		rc = pragma_int(s, "PRAGMA user_version", &version, err);
	if (rc == 0)
		rc = pragma_int(s, "SELECT count(*) FROM sqlite_master", &objects, err);
	if (rc < 0)
		return rc;
	if (id == 0 && version == 0 && objects == 0)
		return 1;
	if (id != APPLY_ID)
		return bad(s->path, err, "it is not the state of an applier");
	if (version > APPLY_SCHEMA)
		return err_set(err, ERR_JOURNAL_NEWER,
			       "%s was written by a newer version (schema %" PRId64
			       ", this program knows %d). Install that version again; nothing was changed",
			       s->path, version, APPLY_SCHEMA);
	return 0;
}

static int load(struct apply_store *s, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int64_t w[ROW_WORDS] = {0};
	uint32_t crc = 0;
	int rc = prepare(s, "SELECT * FROM mark", &stmt, err), got;

	if (rc < 0)
		return rc;
	got = sqlite3_step(stmt);
	for (int i = 0; got == SQLITE_ROW && i < ROW_WORDS; i++)
		w[i] = sqlite3_column_int64(stmt, i + 1);
	if (got == SQLITE_ROW)
		crc = (uint32_t)sqlite3_column_int64(stmt, ROW_WORDS + 1);
	else if (got != SQLITE_DONE)
		rc = fail(s->db, got, s->path, "read", err);
	sqlite3_finalize(stmt);
	if (rc < 0)
		return rc;
	if (got != SQLITE_ROW || row_crc(w) != crc)
		return bad(s->path, err, "checksum of the applied mark does not match");
	s->row = (struct row){
		.mark = {w[0], (cdc_ts)w[1], (cdc_ts)w[2], w[3]},
		.intent = {(int)w[4], w[5], (cdc_ts)w[6], (cdc_ts)w[7], (int32_t)w[8], w[9]},
		.bound = (cdc_ts)w[10],
		.written_ms = w[11],
	};
	return 0;
}

/* The file is small: all of its structure is checked at each start. */
static int check(struct apply_store *s, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = prepare(s, "PRAGMA quick_check(1)", &stmt, err), got;
	const char *text;

	if (rc < 0)
		return rc;
	got = sqlite3_step(stmt);
	text = got == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
	if (got != SQLITE_ROW)
		rc = fail(s->db, got, s->path, "check", err);
	else if (!text || !STREQ(text, "ok"))
		rc = bad(s->path, err, text ? text : "quick_check");
	sqlite3_finalize(stmt);
	return rc;
}

static int statements(struct apply_store *s, struct err *err)
{
	static const char save[] =
		"UPDATE mark SET applied_seq = ?, applied_ts = ?, applied_out = ?, rows_applied = ?, "
		"intent_type = ?,"
		"intent_seq = ?, intent_ts = ?, intent_floor = ?, intent_version = ?, intent_merge_limit = ?,"
		"tick_bound = ?, written_ms = ?, crc = ? WHERE id = 1";
	int rc = prepare(s, "BEGIN IMMEDIATE", &s->begin, err);

	if (rc == 0)
		rc = prepare(s, "COMMIT", &s->commit, err);
	if (rc == 0)
		rc = prepare(s, save, &s->save, err);
	if (rc == 0)
		rc = prepare(
			s,
			"INSERT INTO object(key, crc, value) VALUES(?, ?, ?) ON CONFLICT(key) DO UPDATE SET "
			"crc = excluded.crc, value = excluded.value",
			&s->set, err);
	if (rc == 0)
		rc = prepare(s, "DELETE FROM object WHERE key = ?", &s->drop, err);
	if (rc == 0)
		rc = prepare(s,
			     "SELECT key, value, crc FROM object WHERE key >= ?1 AND substr(key, 1, "
			     "length(?1)) = ?1 "
			     "ORDER BY key",
			     &s->list, err);
	return rc;
}

static int open_db(struct apply_store *s, const char *vfs, struct err *err)
{
	static const char quiet[] = "PRAGMA mmap_size=0; PRAGMA cache_size=-1024; PRAGMA trusted_schema=OFF;"
				    "PRAGMA synchronous=FULL; PRAGMA journal_size_limit=4194304";
	int rc;

	rc = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs);
	if (rc != SQLITE_OK)
		return fail(s->db, rc, s->path, "cannot open", err);
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, BUSY_MS);
	/* until it is known to be ours, closing it leaves everything as it was */
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if ((rc = exec(s, "cannot open", quiet, err)) < 0 || (rc = recognise(s, err)) < 0)
		return rc;
	if (rc == 1) {
		if ((rc = exec(s, "create", "PRAGMA journal_mode=WAL", err)) < 0 || (rc = create(s, err)) < 0)
			return rc;
	}
	if ((rc = check(s, err)) < 0 || (rc = load(s, err)) < 0 ||
	    (rc = exec(s, "open", "PRAGMA journal_mode=WAL", err)) < 0 || (rc = statements(s, err)) < 0)
		return rc;
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	return 0;
}

static int dir_of_sync(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *dir = slash ? xasprintf("%.*s", (int)(slash - path + 1), path) : xstrdup(".");
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0 || fsync(fd) < 0)
		rc = err_set(err, ERR_STATE_IO, "%s: cannot sync the folder: %s", dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

int apply_store_open(struct apply_store **ret, const char *path, const char *vfs, struct err *err)
{
	struct apply_store *s;
	bool made = false;
	int fd = -1, rc = 0;

	/* mode 0640, which SQLite gives its other files, too */
	if (access(path, F_OK) < 0) {
		fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
		if (fd < 0)
			return err_set(err, ERR_STATE_IO, "%s: cannot create: %s", path, strerror(errno));
		close(fd);
		made = true;
	}
	s = xcalloc(1, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	s->path = xstrdup(path);
	rc = open_db(s, vfs, err);
	if (rc == 0 && made)
		rc = dir_of_sync(path, err);
	if (rc < 0) {
		apply_store_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void apply_store_close(struct apply_store *s)
{
	if (!s)
		return;
	sqlite3_finalize(s->begin);
	sqlite3_finalize(s->commit);
	sqlite3_finalize(s->save);
	sqlite3_finalize(s->set);
	sqlite3_finalize(s->drop);
	sqlite3_finalize(s->list);
	sqlite3_close_v2(s->db);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

void apply_store_mark(struct apply_store *s, struct apply_mark *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->row.mark;
	pthread_mutex_unlock(&s->lock);
}

void apply_store_intent(struct apply_store *s, struct apply_intent *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->row.intent;
	pthread_mutex_unlock(&s->lock);
}

cdc_ts apply_store_floor(struct apply_store *s)
{
	cdc_ts floor;

	pthread_mutex_lock(&s->lock);
	floor = s->row.bound;
	pthread_mutex_unlock(&s->lock);
	return floor;
}

int apply_store_set_floor(struct apply_store *s, cdc_ts floor, struct err *err)
{
	struct row r;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	r = s->row;
	if (floor > r.bound) {
		r.bound = floor;
		rc = commit(s, &r, NULL, 0, err);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int apply_store_set_intent(struct apply_store *s, const struct apply_intent *in, struct err *err)
{
	struct row r;
	int rc;

	pthread_mutex_lock(&s->lock);
	r = s->row;
	r.intent = *in;
	if (s->row.intent.type != INTENT_NONE)
		rc = err_set(err, ERR_INTERNAL, "%s: a window up to seq %" PRId64 " is still open", s->path,
			     s->row.intent.seq);
	else if (in->type == INTENT_NONE || in->seq < r.mark.seq || in->ts < r.mark.ts)
		rc = err_set(err, ERR_INTERNAL,
			     "%s: a window up to seq %" PRId64 " ends before the applied mark %" PRId64,
			     s->path, in->seq, r.mark.seq);
	else
		rc = commit(s, &r, NULL, 0, err);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static bool covers(int64_t seq, cdc_ts ts, const struct apply_intent *open)
{
	return seq >= open->seq && ts >= open->ts;
}

int apply_store_commit(struct apply_store *s, const struct apply_mark *mark, const struct apply_intent *next,
		       const struct state_row *objects, size_t n, struct err *err)
{
	const struct apply_intent *open = &s->row.intent;
	const struct apply_mark *old = &s->row.mark;
	struct row r;
	int rc;

	pthread_mutex_lock(&s->lock);
	r = s->row;
	r.mark = *mark;
	r.intent = next ? *next : (struct apply_intent){0};
	if (mark->seq < old->seq || mark->ts < old->ts || mark->out < old->out) /* J4 */
		rc = err_set(err, ERR_INTERNAL,
			     "%s: the applied mark would go back from seq %" PRId64 ", ts %" PRIu64
			     " to seq %" PRId64 ", ts %" PRIu64,
			     s->path, old->seq, old->ts, mark->seq, mark->ts);
	else if (next && (next->seq < mark->seq || next->ts < mark->ts))
		rc = err_set(err, ERR_INTERNAL, "%s: the next window ends before the applied mark %" PRId64,
			     s->path, mark->seq);
	else if (open->type != INTENT_NONE && !covers(mark->seq, mark->ts, open) &&
		 !(next && covers(next->seq, next->ts, open))) /* J6 */
		rc = err_set(err, ERR_INTERNAL,
			     "%s: the mark seq %" PRId64 " would leave the open window up to seq %" PRId64
			     " uncovered",
			     s->path, mark->seq, open->seq);
	else
		rc = commit(s, &r, objects, n, err);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* Under the lock. */
static int list(struct apply_store *s, const char *prefix, struct arena *arena, struct state_row **items,
		size_t *count, struct err *err)
{
	size_t cap = 0;
	int rc = sqlite3_bind_text(s->list, 1, prefix, -1, SQLITE_STATIC), got;

	if (rc != SQLITE_OK)
		return fail(s->db, rc, s->path, "read", err);
	while ((got = sqlite3_step(s->list)) == SQLITE_ROW) {
		const char *key = (const char *)sqlite3_column_text(s->list, 0);
		const void *value = sqlite3_column_blob(s->list, 1);
		size_t size = (size_t)sqlite3_column_bytes(s->list, 1);

		if (!key || object_crc(key, value, size) != (uint32_t)sqlite3_column_int64(s->list, 2))
			return bad(s->path, err, "checksum of an object does not match");
		if (*count == cap) {
			cap = cap ? cap * 2 : 64;
			*items = xrealloc(*items, cap * sizeof(**items));
		}
		(*items)[(*count)++] =
			(struct state_row){arena_strdup(arena, key), arena_dup(arena, value, size), size};
	}
	return got == SQLITE_DONE ? 0 : fail(s->db, got, s->path, "read", err);
}

int apply_store_objects(struct apply_store *s, const char *prefix, struct arena *arena,
			struct state_row **ret, size_t *ret_n, struct err *err)
{
	AUTO_FREE struct state_row *items = NULL;
	size_t n = 0;
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = list(s, prefix, arena, &items, &n, err);
	sqlite3_reset(s->list);
	pthread_mutex_unlock(&s->lock);
	if (rc < 0)
		return rc;
	*ret = arena_dup(arena, items, n * sizeof(*items));
	*ret_n = n;
	return 0;
}
