/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.db by SQLite: WAL, synchronous=FULL, one connection that writes and checkpoints. A change
 * is one transaction. Values are always bound, and no error text ever holds one.
 */
#include <cdc/worker.h>

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal_peek.h"
#include "task_store.h"

/* From version n to n + 1; a new file goes through all of them, so it is what an old one becomes. */
static const char *const migrations[] = {
#include "sql_control.h"
	,
#include "sql_control_2.h"
	,
#include "sql_control_3.h"
};
#define STORE_VERSION ((int)ARRAY_LEN(migrations))

static const char *const state_names[] = {
	[TASK_CREATING] = "creating", [TASK_READY] = "ready", [TASK_DELETING] = "deleting"};

struct task_store {
	sqlite3 *db;
	char *path;
};

void task_row_clear(struct task_row *r)
{
	free(r->id);
	free(r->source_uuid);
	free(r->resolved);
	free(r->shown);
	free(r->mode);
	free(r->target_key);
	target_conf_free(r->target);
	selection_clear(&r->selection);
	name_map_clear(&r->names);
	*r = (struct task_row){0};
}

void task_row_copy(struct task_row *ret, const struct task_row *r)
{
	*ret = *r;
	ret->id = xstrdup(r->id);
	ret->source_uuid = xstrdup(r->source_uuid);
	ret->resolved = xstrdup(r->resolved);
	ret->shown = xstrdup(r->shown);
	ret->mode = xstrdup(r->mode);
	ret->target_key = xstrdup(r->target_key);
	ret->target = target_conf_copy(r->target);
	ret->selection = selection_copy(&r->selection);
	ret->names = name_map_copy(&r->names);
}

static int fail(struct task_store *s, const char *what, struct err *err)
{
	return err_system(err_set(err, ERR_STATE_IO, "%s: %s: %s", s->path, what, sqlite3_errmsg(s->db)), err,
			  sqlite3_system_errno(s->db));
}

static int run(struct task_store *s, const char *sql, const char *what, struct err *err)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, what, err);
}

static int user_version(struct task_store *s, int *ret, struct err *err)
{
	sqlite3_stmt *q = NULL;

	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &q, NULL) != SQLITE_OK ||
	    sqlite3_step(q) != SQLITE_ROW) {
		sqlite3_finalize(q);
		return fail(s, "cannot be read; restore it from a backup", err);
	}
	*ret = sqlite3_column_int(q, 0);
	sqlite3_finalize(q);
	return 0;
}

/* SQLite would create the file with the umask; WAL and shared memory take over its mode. */
static int make_private(const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || fchmod(fd, 0600) < 0) {
		int e = errno;

		if (fd >= 0)
			close(fd);
		return err_system(err_set(err, ERR_STATE_IO, "%s: cannot be opened: %s", path, strerror(e)),
				  err, e);
	}
	close(fd);
	return 0;
}

static int check_version(struct task_store *s, int *ret, struct err *err)
{
	int rc;

	if ((rc = user_version(s, ret, err)) < 0)
		return rc;
	if (*ret < 0 || *ret > STORE_VERSION)
		return err_set(err, ERR_JOURNAL_NEWER,
			       "%s: has format %d, this program knows %d: install the newer "
			       "version again",
			       s->path, *ret, STORE_VERSION);
	return 0;
}

static int migrate(struct task_store *s, int version, struct err *err)
{
	int rc;

	if (version == STORE_VERSION)
		return 0;
	if ((rc = run(s, "BEGIN IMMEDIATE", "cannot be written", err)) < 0)
		return rc;
	for (; rc == 0 && version < STORE_VERSION; version++)
		rc = run(s, migrations[version], "cannot make or change its tables", err);
	CRASH_POINT("store_migrating");
	if (rc < 0 || (rc = run(s, "COMMIT", "cannot be written", err)) < 0) {
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
		return rc;
	}
	CRASH_POINT("store_migrated");
	return 0;
}

int task_store_open(struct task_store **ret, const char *path, struct err *err)
{
	AUTO(task_store_close) struct task_store *s = xcalloc(1, sizeof(*s));
	int version = 0, rc;

	s->path = xstrdup(path);
	if ((rc = make_private(path, err)) < 0)
		return rc;
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK)
		return fail(s, "cannot be opened", err);
	sqlite3_busy_timeout(s->db, 1000);
	/* before anything is changed: closing would move what a newer version left in the write-ahead log */
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if ((rc = check_version(s, &version, err)) < 0)
		return rc;
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	if ((rc = run(s,
		      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
		      "PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF",
		      "cannot be set up", err)) < 0)
		return rc;
	if ((rc = migrate(s, version, err)) < 0)
		return rc;
	*ret = TAKE(s);
	return 0;
}

int task_store_peek(struct task_store **ret, const char *path, struct err *err)
{
	AUTO(task_store_close) struct task_store *s = xcalloc(1, sizeof(*s));
	int version = 0, rc;

	s->path = xstrdup(path);
	if ((rc = peek_open(&s->db, path, err)) < 0 || (rc = check_version(s, &version, err)) < 0)
		return rc;
	if (version < STORE_VERSION)
		return err_set(err, ERR_STATE_IO,
			       "%s has format %d; the service brings it to %d at its next start", path,
			       version, STORE_VERSION);
	*ret = TAKE(s);
	return 0;
}

void task_store_close(struct task_store *s)
{
	if (!s)
		return;
	sqlite3_close(s->db);
	free(s->path);
	free(s);
}

static char *column(sqlite3_stmt *q, int i)
{
	return xstrdup((const char *)sqlite3_column_text(q, i));
}

/* Any other text is refused by the table's CHECK. */
static enum task_row_state state_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(state_names); i++)
		if (name && STREQ(state_names[i], name))
			return (enum task_row_state)i;
	return TASK_CREATING;
}

static void read_row(struct task_row *r, sqlite3_stmt *q)
{
	struct target_conf t = {
		.host = (char *)sqlite3_column_text(q, 5),
		.port = sqlite3_column_int(q, 6),
		.authorization = (char *)sqlite3_column_text(q, 7),
		.connect_timeout_ms = sqlite3_column_int(q, 8),
		.tls = {.enable = sqlite3_column_int(q, 9) != 0,
			.ca_path = (char *)sqlite3_column_text(q, 10),
			.cert_path = (char *)sqlite3_column_text(q, 11),
			.key_path = (char *)sqlite3_column_text(q, 12),
			.server_name = (char *)sqlite3_column_text(q, 13)},
	};

	*r = (struct task_row){
		.id = column(q, 0),
		.state = state_parse((const char *)sqlite3_column_text(q, 1)),
		.paused = sqlite3_column_int(q, 2) != 0,
		.source_uuid = column(q, 3),
		.created_ms = sqlite3_column_int64(q, 4),
		.resolved = column(q, 14),
		.shown = column(q, 15),
		.mode = column(q, 16),
		.users = sqlite3_column_int(q, 17) != 0,
		.target_key = column(q, 18),
		.target = target_conf_copy(&t),
	};
}

/* Rows of a task from a table of lists, in their order; take appends one. */
static int read_list(struct task_store *s, struct task_row *r, const char *sql,
		     void (*take)(struct task_row *, sqlite3_stmt *), struct err *err)
{
	sqlite3_stmt *q = NULL;
	int step;

	if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) != SQLITE_OK)
		return fail(s, "cannot be read", err);
	sqlite3_bind_text(q, 1, r->id, -1, SQLITE_STATIC);
	while ((step = sqlite3_step(q)) == SQLITE_ROW)
		take(r, q);
	sqlite3_finalize(q);
	return step == SQLITE_DONE ? 0 : fail(s, "cannot be read", err);
}

static void take_selection(struct task_row *r, sqlite3_stmt *q)
{
	struct selection *sel = &r->selection;

	sel->items = xrealloc(sel->items, (sel->count + 1) * sizeof(*sel->items));
	sel->items[sel->count++] = (struct selection_item){
		.db = column(q, 0), .collection = column(q, 1), .exclude = sqlite3_column_int(q, 2) != 0};
}

static void take_mapping(struct task_row *r, sqlite3_stmt *q)
{
	struct name_map *m = &r->names;

	m->items = xrealloc(m->items, (m->count + 1) * sizeof(*m->items));
	m->items[m->count++] = (struct name_map_item){.db = column(q, 0),
						      .collection = column(q, 1),
						      .to_db = column(q, 2),
						      .to_collection = column(q, 3)};
}

static int read_lists(struct task_store *s, struct task_row *r, struct err *err)
{
	int rc =
		read_list(s, r, "SELECT db, collection, exclude FROM selection WHERE task_id = ?1 ORDER BY n",
			  take_selection, err);

	if (rc < 0)
		return rc;
	return read_list(
		s, r,
		"SELECT db, collection, to_db, to_collection FROM mapping WHERE task_id = ?1 ORDER BY n",
		take_mapping, err);
}

int task_store_list(struct task_store *s, struct task_row **ret, size_t *ret_count, struct err *err)
{
	struct task_row *rows = NULL;
	sqlite3_stmt *q = NULL;
	size_t n = 0;
	int step, rc = 0;

	if (sqlite3_prepare_v2(
		    s->db,
		    "SELECT id, state, paused, source_uuid, created_ms, host, port, authorization,"
		    " connect_timeout_ms, tls, tls_ca, tls_cert, tls_key, tls_server_name, resolved, shown,"
		    " mode, users, target_key FROM task ORDER BY created_ms, id",
		    -1, &q, NULL) != SQLITE_OK)
		return fail(s, "cannot be read", err);
	while (rc == 0 && (step = sqlite3_step(q)) == SQLITE_ROW) {
		rows = xrealloc(rows, (n + 1) * sizeof(*rows));
		read_row(&rows[n], q);
		rc = read_lists(s, &rows[n++], err);
	}
	if (rc == 0 && step != SQLITE_DONE)
		rc = fail(s, "cannot be read; restore it from a backup", err);
	sqlite3_finalize(q);
	if (rc == 0) {
		*ret = rows;
		*ret_count = n;
		return 0;
	}
	while (n > 0)
		task_row_clear(&rows[--n]);
	free(rows);
	return rc;
}

static void bind_text(sqlite3_stmt *q, int i, const char *s)
{
	if (s)
		sqlite3_bind_text(q, i, s, -1, SQLITE_STATIC);
	else
		sqlite3_bind_null(q, i);
}

static int add_task(struct task_store *s, const struct task_row *r, struct err *err)
{
	const struct target_conf *t = r->target;
	sqlite3_stmt *q = NULL;
	int step;

	if (sqlite3_prepare_v2(
		    s->db,
		    "INSERT INTO task (id, state, paused, source_uuid, created_ms, host, port, authorization,"
		    " connect_timeout_ms, tls, tls_ca, tls_cert, tls_key, tls_server_name, resolved, shown,"
		    " mode, users, target_key)"
		    " VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19)",
		    -1, &q, NULL) != SQLITE_OK)
		return fail(s, "cannot be written", err);
	bind_text(q, 1, r->id);
	bind_text(q, 2, state_names[r->state]);
	sqlite3_bind_int(q, 3, r->paused);
	bind_text(q, 4, r->source_uuid);
	sqlite3_bind_int64(q, 5, r->created_ms);
	bind_text(q, 6, t->host);
	sqlite3_bind_int(q, 7, t->port);
	bind_text(q, 8, t->authorization);
	sqlite3_bind_int(q, 9, t->connect_timeout_ms);
	sqlite3_bind_int(q, 10, t->tls.enable);
	bind_text(q, 11, t->tls.ca_path);
	bind_text(q, 12, t->tls.cert_path);
	bind_text(q, 13, t->tls.key_path);
	bind_text(q, 14, t->tls.server_name);
	bind_text(q, 15, r->resolved);
	bind_text(q, 16, r->shown);
	bind_text(q, 17, r->mode);
	sqlite3_bind_int(q, 18, r->users);
	bind_text(q, 19, r->target_key);
	step = sqlite3_step(q);
	sqlite3_finalize(q);
	if (step == SQLITE_CONSTRAINT)
		return err_set(err, ERR_DUPLICATE, "task %s exists already", r->id);
	return step == SQLITE_DONE ? 0 : fail(s, "cannot be written", err);
}

static int add_selection(struct task_store *s, const struct task_row *r, struct err *err)
{
	sqlite3_stmt *q = NULL;
	int step = SQLITE_DONE;

	if (sqlite3_prepare_v2(
		    s->db,
		    "INSERT INTO selection (task_id, n, db, collection, exclude) VALUES (?1, ?2, ?3, ?4, ?5)",
		    -1, &q, NULL) != SQLITE_OK)
		return fail(s, "cannot be written", err);
	for (size_t i = 0; i < r->selection.count && step == SQLITE_DONE; i++) {
		bind_text(q, 1, r->id);
		sqlite3_bind_int64(q, 2, (int64_t)i);
		bind_text(q, 3, r->selection.items[i].db);
		bind_text(q, 4, r->selection.items[i].collection);
		sqlite3_bind_int(q, 5, r->selection.items[i].exclude);
		step = sqlite3_step(q);
		sqlite3_reset(q);
	}
	sqlite3_finalize(q);
	return step == SQLITE_DONE ? 0 : fail(s, "cannot be written", err);
}

static int add_mapping(struct task_store *s, const struct task_row *r, struct err *err)
{
	sqlite3_stmt *q = NULL;
	int step = SQLITE_DONE;

	if (sqlite3_prepare_v2(s->db,
			       "INSERT INTO mapping (task_id, n, db, collection, to_db, to_collection)"
			       " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			       -1, &q, NULL) != SQLITE_OK)
		return fail(s, "cannot be written", err);
	for (size_t i = 0; i < r->names.count && step == SQLITE_DONE; i++) {
		bind_text(q, 1, r->id);
		sqlite3_bind_int64(q, 2, (int64_t)i);
		bind_text(q, 3, r->names.items[i].db);
		bind_text(q, 4, r->names.items[i].collection);
		bind_text(q, 5, r->names.items[i].to_db);
		bind_text(q, 6, r->names.items[i].to_collection);
		step = sqlite3_step(q);
		sqlite3_reset(q);
	}
	sqlite3_finalize(q);
	return step == SQLITE_DONE ? 0 : fail(s, "cannot be written", err);
}

int task_store_add(struct task_store *s, const struct task_row *r, struct err *err)
{
	int rc;

	if ((rc = run(s, "BEGIN IMMEDIATE", "cannot be written", err)) < 0)
		return rc;
	if ((rc = add_task(s, r, err)) == 0 && (rc = add_selection(s, r, err)) == 0 &&
	    (rc = add_mapping(s, r, err)) == 0)
		rc = run(s, "COMMIT", "cannot be written", err);
	if (rc < 0)
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* One statement with the id as ?1 and a value as ?2. */
static int change(struct task_store *s, const char *sql, const char *id, const char *text, int number,
		  struct err *err)
{
	sqlite3_stmt *q = NULL;
	int step;

	if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) != SQLITE_OK)
		return fail(s, "cannot be written", err);
	bind_text(q, 1, id);
	if (text)
		bind_text(q, 2, text);
	else if (sqlite3_bind_parameter_count(q) > 1)
		sqlite3_bind_int(q, 2, number);
	step = sqlite3_step(q);
	sqlite3_finalize(q);
	if (step != SQLITE_DONE)
		return fail(s, "cannot be written", err);
	return sqlite3_changes(s->db) > 0 ? 0
					  : err_set(err, ERR_NOT_FOUND, "task %s is not in %s", id, s->path);
}

int task_store_set_state(struct task_store *s, const char *id, enum task_row_state state, struct err *err)
{
	return change(s, "UPDATE task SET state = ?2 WHERE id = ?1", id, state_names[state], 0, err);
}

int task_store_set_paused(struct task_store *s, const char *id, bool paused, struct err *err)
{
	return change(s, "UPDATE task SET paused = ?2 WHERE id = ?1", id, NULL, paused, err);
}

int task_store_remove(struct task_store *s, const char *id, struct err *err)
{
	int rc = change(s, "DELETE FROM task WHERE id = ?1", id, NULL, 0, err);

	if (rc == 0) /* of no use any more, and harmless: not worth a failure */
		sqlite3_exec(s->db, "DELETE FROM ticks WHERE target_key NOT IN (SELECT target_key FROM task)",
			     NULL, NULL, NULL);
	return rc;
}

int task_store_keep_ticks(struct task_store *s, const char *target_key, cdc_ts ts, struct err *err)
{
	sqlite3_stmt *q = NULL;
	int step;

	if (sqlite3_prepare_v2(s->db,
			       "INSERT INTO ticks (target_key, ts) VALUES (?1, ?2)"
			       " ON CONFLICT (target_key) DO UPDATE SET ts = max(ts, excluded.ts)",
			       -1, &q, NULL) != SQLITE_OK)
		return fail(s, "cannot be written", err);
	bind_text(q, 1, target_key);
	sqlite3_bind_int64(q, 2, (int64_t)ts);
	step = sqlite3_step(q);
	sqlite3_finalize(q);
	return step == SQLITE_DONE ? 0 : fail(s, "cannot be written", err);
}

int task_store_ticks(struct task_store *s, void (*take)(const char *target_key, cdc_ts ts), struct err *err)
{
	sqlite3_stmt *q = NULL;
	int step;

	if (sqlite3_prepare_v2(s->db, "SELECT target_key, ts FROM ticks", -1, &q, NULL) != SQLITE_OK)
		return fail(s, "cannot be read", err);
	while ((step = sqlite3_step(q)) == SQLITE_ROW)
		take((const char *)sqlite3_column_text(q, 0), (cdc_ts)sqlite3_column_int64(q, 1));
	sqlite3_finalize(q);
	return step == SQLITE_DONE ? 0 : fail(s, "cannot be read; restore it from a backup", err);
}
