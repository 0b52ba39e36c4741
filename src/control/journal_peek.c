/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See journal_peek.h. SQLite has a way to read for each state that a file can be left in:
 *
 *   no write-ahead log       immutable: no lock, no other file is touched
 *   a log and its index      as one more reader beside the writer; readonly_shm: the index is not written
 *   a log without its index  (a copy) without locks: the index is made in memory
 *
 * The connection never checkpoints. One thread.
 */
#include "journal_peek.h"

#include "journal.pb-c.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define BUSY_MS 2000
#define SEGMENT_VERSION 1 /* of sql/segment.sql and sql/apply.sql that is understood here */
#define APPLY_VERSION 1
#define POSITIONS_MAX 65536

DEFINE_AUTO(sqlite3, sqlite3_close)
DEFINE_AUTO(sqlite3_stmt, sqlite3_finalize)

/* ---- one file ---- */

static int fail(sqlite3 *db, const char *path, struct err *err)
{
	return err_set(err, ERR_STATE_IO, "%s: cannot be read: %s", path,
		       db ? sqlite3_errmsg(db) : "out of memory");
}

/* A path as part of a URI. */
static void add_path(struct buf *uri, const char *path)
{
	for (; *path; path++) {
		if (strchr("%?#", *path))
			buf_addf(uri, "%%%02X", (unsigned char)*path);
		else
			buf_addc(uri, (uint8_t)*path);
	}
}

static bool has_file(const char *path, const char *suffix, bool empty_too)
{
	AUTO_FREE char *name = xasprintf("%s%s", path, suffix);
	struct stat st;

	return stat(name, &st) == 0 && (empty_too || st.st_size > 0);
}

int peek_open(sqlite3 **ret, const char *path, struct err *err)
{
	AUTO(sqlite3_close) sqlite3 *db = NULL;
	AUTO_BUF struct buf uri = {0};
	bool log = has_file(path, "-wal", false), index = has_file(path, "-shm", true);
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(err, ERR_STATE_IO, "%s: cannot be read: %s", path, strerror(errno));
	buf_adds(&uri, "file:");
	add_path(&uri, path);
	buf_adds(&uri, !log ? "?immutable=1" : index ? "?readonly_shm=1" : "?vfs=unix-none");
	if (sqlite3_open_v2((const char *)uri.data, &db,
			    SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return fail(db, path, err);
	sqlite3_busy_timeout(db, BUSY_MS);
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (sqlite3_exec(db,
			 "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0;"
			 "PRAGMA wal_autocheckpoint = 0",
			 NULL, NULL, NULL) != SQLITE_OK)
		return fail(db, path, err);
	if (log && !index &&
	    sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK)
		return fail(db, path, err);
	*ret = TAKE(db);
	return 0;
}

static int prepare(sqlite3_stmt **ret, sqlite3 *db, const char *path, const char *sql, struct err *err)
{
	return sqlite3_prepare_v2(db, sql, -1, ret, NULL) == SQLITE_OK ? 0 : fail(db, path, err);
}

/* Opens and refuses what a newer version wrote. */
static int open_version(sqlite3 **ret, const char *path, int version, struct err *err)
{
	AUTO(sqlite3_close) sqlite3 *db = NULL;
	AUTO(sqlite3_finalize) sqlite3_stmt *q = NULL;
	int rc;

	if ((rc = peek_open(&db, path, err)) < 0 ||
	    (rc = prepare(&q, db, path, "PRAGMA user_version", err)) < 0)
		return rc;
	if (sqlite3_step(q) != SQLITE_ROW)
		return fail(db, path, err);
	if (sqlite3_column_int(q, 0) > version)
		return err_set(err, ERR_JOURNAL_NEWER,
			       "%s was written by a newer version (schema %d, this program knows %d)", path,
			       sqlite3_column_int(q, 0), version);
	sqlite3_finalize(TAKE(q));
	*ret = TAKE(db);
	return 0;
}

/* ---- folders ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list(char ***ret, size_t *ret_count, const char *dir, bool (*wanted)(const char *),
		struct err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char **names = NULL;
	size_t n = 0;

	if (!d && errno != ENOENT)
		return err_set(err, ERR_STATE_IO, "%s: cannot be read: %s", dir, strerror(errno));
	while (d && (e = readdir(d)))
		if (wanted(e->d_name)) {
			names = xrealloc(names, (n + 1) * sizeof(*names));
			names[n++] = xstrdup(e->d_name);
		}
	if (d)
		closedir(d);
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	*ret = names;
	*ret_count = n;
	return 0;
}

static bool is_task(const char *name)
{
	return name[0] != '.';
}

/* "<20 digits>.db" */
static bool is_segment(const char *name)
{
	return strspn(name, "0123456789") == 20 && STREQ(name + 20, ".db");
}

int peek_names(char ***ret, size_t *ret_count, const char *data_dir, struct err *err)
{
	AUTO_FREE char *tasks = xasprintf("%s/tasks", data_dir);
	struct stat st;

	if (stat(data_dir, &st) < 0)
		return err_set(err, ERR_STATE_IO, "%s: cannot be read: %s", data_dir, strerror(errno));
	return list(ret, ret_count, tasks, is_task, err);
}

int peek_segments(char ***ret, size_t *ret_count, const char *dir, struct err *err)
{
	AUTO_FREE char *folder = xasprintf("%s/journal", dir);
	int rc = list(ret, ret_count, folder, is_segment, err);

	for (size_t i = 0; rc == 0 && i < *ret_count; i++) {
		char *path = xasprintf("%s/%s", folder, (*ret)[i]);

		free((*ret)[i]);
		(*ret)[i] = path;
	}
	return rc;
}

void peek_names_free(char **names, size_t n)
{
	while (n > 0)
		free(names[--n]);
	free(names);
}

/* ---- one task ---- */

struct held {
	int64_t collection_id, seq;
};
struct held_list {
	struct held *items;
	size_t count;
};

static int read_mark(struct peek_task *t, sqlite3 *db, const char *path, struct err *err)
{
	AUTO(sqlite3_finalize) sqlite3_stmt *q = NULL;
	int rc = prepare(&q, db, path, "SELECT applied_seq, applied_ts FROM mark", err), step;

	if (rc < 0)
		return rc;
	if ((step = sqlite3_step(q)) == SQLITE_ROW) {
		t->applied_seq = sqlite3_column_int64(q, 0);
		t->applied_ts = (cdc_ts)sqlite3_column_int64(q, 1);
	}
	return step == SQLITE_ROW || step == SQLITE_DONE ? 0 : fail(db, path, err);
}

static int read_holds(struct held_list *ret, sqlite3 *db, const char *path, struct err *err)
{
	AUTO(sqlite3_finalize) sqlite3_stmt *q = NULL;
	int rc, step;

	if ((rc = prepare(&q, db, path, "SELECT value FROM object WHERE key >= 'hold/' AND key < 'hold0'",
			  err)) < 0)
		return rc;
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		const uint8_t *value = sqlite3_column_blob(q, 0);
		Jr__Hold *h = jr__hold__unpack(NULL, (size_t)sqlite3_column_bytes(q, 0), value);

		if (!h)
			return err_set(err, ERR_STATE_IO, "%s is damaged: a hold cannot be read", path);
		ret->items = xrealloc(ret->items, (ret->count + 1) * sizeof(*ret->items));
		ret->items[ret->count++] = (struct held){h->collection_id, h->seq};
		jr__hold__free_unpacked(h, NULL);
	}
	return step == SQLITE_DONE ? 0 : fail(db, path, err);
}

/* A task that has not applied anything may not have the file yet. */
static int read_applied(struct peek_task *t, struct held_list *held, const char *dir, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/apply.db", dir);
	AUTO(sqlite3_close) sqlite3 *db = NULL;
	struct stat st;
	int rc;

	if (stat(path, &st) < 0 && errno == ENOENT)
		return 0;
	if ((rc = open_version(&db, path, APPLY_VERSION, err)) < 0 ||
	    (rc = read_mark(t, db, path, err)) < 0 || (rc = read_holds(held, db, path, err)) < 0)
		return rc;
	t->holds = (int)held->count;
	return 0;
}

/* Adds the entries that the query counts. */
static int add_pending(struct peek_task *t, sqlite3 *db, const char *path, const char *sql, int64_t a,
		       int64_t b, int64_t c, struct err *err)
{
	AUTO(sqlite3_finalize) sqlite3_stmt *q = NULL;
	int rc = prepare(&q, db, path, sql, err);

	if (rc < 0)
		return rc;
	sqlite3_bind_int64(q, 1, a);
	sqlite3_bind_int64(q, 2, b);
	sqlite3_bind_int64(q, 3, c);
	if (sqlite3_step(q) != SQLITE_ROW)
		return fail(db, path, err);
	t->pending += sqlite3_column_int64(q, 0);
	t->pending_rows += sqlite3_column_int64(q, 1);
	return 0;
}

static int read_pending(struct peek_task *t, const struct held_list *held, sqlite3 *db, const char *path,
			struct err *err)
{
	int rc = add_pending(t, db, path, "SELECT count(*), coalesce(sum(rows), 0) FROM entry WHERE seq > ?1",
			     t->applied_seq, 0, 0, err);

	for (size_t i = 0; rc == 0 && i < held->count; i++)
		rc = add_pending(t, db, path,
				 "SELECT count(*), coalesce(sum(rows), 0) FROM entry"
				 " WHERE seq BETWEEN ?1 AND ?2 AND collection_id = ?3",
				 held->items[i].seq, t->applied_seq, held->items[i].collection_id, err);
	return rc;
}

static int read_bounds(struct peek_task *t, sqlite3 *db, const char *path, struct err *err)
{
	AUTO(sqlite3_finalize) sqlite3_stmt *q = NULL;
	int rc = prepare(&q, db, path,
			 "SELECT (SELECT min(seq) FROM entry), seq, ts FROM entry ORDER BY seq DESC LIMIT 1",
			 err),
	    step;

	if (rc < 0)
		return rc;
	if ((step = sqlite3_step(q)) == SQLITE_ROW) {
		if (!t->first_seq)
			t->first_seq = sqlite3_column_int64(q, 0);
		t->last_seq = sqlite3_column_int64(q, 1);
		t->last_ts = (cdc_ts)sqlite3_column_int64(q, 2);
	}
	return step == SQLITE_ROW || step == SQLITE_DONE ? 0 : fail(db, path, err);
}

/* Of the newest file. */
static int read_positions(struct peek_task *t, sqlite3 *db, const char *path, struct err *err)
{
	AUTO(sqlite3_finalize) sqlite3_stmt *q = NULL;
	int rc = prepare(&q, db, path, "SELECT pchannel, next_hi, next_lo, ts FROM position LIMIT ?1", err),
	    step;

	if (rc < 0)
		return rc;
	sqlite3_bind_int(q, 1, POSITIONS_MAX);
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		struct position *p;

		t->positions = xrealloc(t->positions, (t->position_count + 1) * sizeof(*t->positions));
		p = &t->positions[t->position_count++];
		*p = (struct position){
			.next = {(uint64_t)sqlite3_column_int64(q, 1), (uint64_t)sqlite3_column_int64(q, 2)},
			.ts = (cdc_ts)sqlite3_column_int64(q, 3)};
		snprintf(p->pchannel, sizeof(p->pchannel), "%s", (const char *)sqlite3_column_text(q, 0));
	}
	return step == SQLITE_DONE ? 0 : fail(db, path, err);
}

/* held: NULL: what is pending is not counted. */
static int read_segment(struct peek_task *t, const struct held_list *held, const char *path, bool newest,
			struct err *err)
{
	AUTO(sqlite3_close) sqlite3 *db = NULL;
	AUTO_FREE char *wal = xasprintf("%s-wal", path);
	struct stat st;
	int rc;

	if ((rc = open_version(&db, path, SEGMENT_VERSION, err)) < 0)
		return rc;
	t->segments++;
	t->bytes += stat(path, &st) == 0 ? st.st_size : 0;
	t->bytes += stat(wal, &st) == 0 ? st.st_size : 0;
	if ((rc = read_bounds(t, db, path, err)) < 0 ||
	    (held && (rc = read_pending(t, held, db, path, err)) < 0))
		return rc;
	return newest ? read_positions(t, db, path, err) : 0;
}

/* A file that retention has removed since the folder was listed held nothing that is pending. */
static bool is_gone(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 && errno == ENOENT;
}

void peek_task_clear(struct peek_task *t)
{
	free(t->id);
	free(t->positions);
	*t = (struct peek_task){0};
}

int peek_task(struct peek_task *ret, const char *dir, bool count, struct err *err)
{
	struct peek_task t = {.id = xstrdup(strrchr(dir, '/') ? strrchr(dir, '/') + 1 : dir)};
	struct held_list held = {0};
	char **paths = NULL;
	size_t n = 0;
	int rc = read_applied(&t, &held, dir, err);

	if (rc == 0)
		rc = peek_segments(&paths, &n, dir, err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = read_segment(&t, count ? &held : NULL, paths[i], i + 1 == n, err);
		if (rc < 0 && is_gone(paths[i]))
			rc = 0;
	}
	peek_names_free(paths, n);
	free(held.items);
	if (rc < 0)
		peek_task_clear(&t);
	else
		*ret = t;
	return rc;
}
