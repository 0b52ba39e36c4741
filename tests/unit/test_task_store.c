/* SPDX-License-Identifier: Apache-2.0 */
/* control.db: what is written is read back, by a new connection, and refused when it should be. */
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/control/task_store.h"
#include "../t.h"

static char dir[64], path[96];
static struct err err;

static void fresh(void)
{
	char cmd[96];

	snprintf(dir, sizeof(dir), "/tmp/cdc-store-%d", (int)getpid());
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	CHECK_INT(system(cmd), 0);
	CHECK_INT(mkdir(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/control.db", dir);
	err = (struct err){0};
}

static void gone(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	CHECK_INT(system(cmd), 0);
}

static struct task_row row(const char *id)
{
	static struct selection_item items[] = {{"default", "a", true}, {"*", "*", false}};
	static struct name_map_item names[] = {{"default", "b", "x", "c"}, {"d", "*", "e", "*"}};
	static struct target_conf t = {.host = "h",
				       .port = 19530,
				       .authorization = "root:s3cr3t",
				       .tls = {.enable = true,
					       .ca_path = "/ca",
					       .cert_path = "/c",
					       .key_path = "/k",
					       .server_name = "n"},
				       .connect_timeout_ms = 3000};

	return (struct task_row){.id = (char *)id,
				 .source_uuid = "uuid",
				 .resolved = "10.0.0.1 ",
				 .shown = "{}",
				 .mode = "upsert",
				 .target_key = "10.0.0.1:19530",
				 .users = true,
				 .names = {names, 2},
				 .state = TASK_CREATING,
				 .created_ms = 12345,
				 .target = &t,
				 .selection = {items, 2}};
}

static struct task_store *open_store(void)
{
	struct task_store *s = NULL;

	CHECKF(task_store_open(&s, path, &err) == 0, "%s", err.text);
	return s;
}

static void rows_free(struct task_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		task_row_clear(&rows[i]);
	free(rows);
}

static int sql(const char *text)
{
	sqlite3 *db;
	int rc;

	CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
	rc = sqlite3_exec(db, text, NULL, NULL, NULL);
	sqlite3_close(db);
	return rc;
}

TEST(a_row_comes_back_whole_after_reopening)
{
	struct task_store *s;
	struct task_row *rows, r = row("a.b-c_1");
	size_t n;

	fresh();
	s = open_store();
	CHECK_INT(task_store_add(s, &r, &err), 0);
	CHECK_INT(task_store_set_state(s, r.id, TASK_READY, &err), 0);
	CHECK_INT(task_store_set_paused(s, r.id, true, &err), 0);
	task_store_close(s);
	s = open_store();
	CHECK_INT(task_store_list(s, &rows, &n, &err), 0);
	CHECK_INT(n, 1);
	CHECK_STR(rows[0].id, "a.b-c_1");
	CHECK_STR(rows[0].source_uuid, "uuid");
	CHECK_STR(rows[0].resolved, "10.0.0.1 ");
	CHECK_STR(rows[0].shown, "{}");
	CHECK_INT(rows[0].state, TASK_READY);
	CHECK(rows[0].paused);
	CHECK_INT(rows[0].created_ms, 12345);
	CHECK_STR(rows[0].target->host, "h");
	CHECK_INT(rows[0].target->port, 19530);
	CHECK_STR(rows[0].target->authorization, "root:s3cr3t");
	CHECK_INT(rows[0].target->connect_timeout_ms, 3000);
	CHECK(rows[0].target->tls.enable);
	CHECK_STR(rows[0].target->tls.ca_path, "/ca");
	CHECK_STR(rows[0].target->tls.cert_path, "/c");
	CHECK_STR(rows[0].target->tls.key_path, "/k");
	CHECK_STR(rows[0].target->tls.server_name, "n");
	CHECK_INT(rows[0].selection.count, 2);
	CHECK_STR(rows[0].selection.items[0].collection, "a");
	CHECK_STR(rows[0].selection.items[1].db, "*");
	CHECK(rows[0].selection.items[0].exclude && !rows[0].selection.items[1].exclude);
	CHECK_STR(rows[0].mode, "upsert");
	CHECK_STR(rows[0].target_key, "10.0.0.1:19530");
	CHECK(rows[0].users);
	CHECK_INT(rows[0].names.count, 2);
	CHECK_STR(rows[0].names.items[0].db, "default");
	CHECK_STR(rows[0].names.items[0].collection, "b");
	CHECK_STR(rows[0].names.items[0].to_db, "x");
	CHECK_STR(rows[0].names.items[0].to_collection, "c");
	CHECK_STR(rows[0].names.items[1].to_db, "e");
	rows_free(rows, n);
	task_store_close(s);
	gone();
}

TEST(removing_takes_the_selection_along)
{
	struct task_store *s;
	struct task_row *rows = NULL, r = row("x");
	size_t n = 9;

	fresh();
	s = open_store();
	CHECK_INT(task_store_add(s, &r, &err), 0);
	CHECK_INT(task_store_remove(s, "x", &err), 0);
	CHECK_INT(task_store_list(s, &rows, &n, &err), 0);
	CHECK_INT(n, 0);
	free(rows);
	CHECK_INT(task_store_add(s, &r, &err), 0); /* would collide with rows left behind */
	task_store_close(s);
	gone();
}

TEST(the_same_id_twice_is_a_duplicate_and_changes_nothing)
{
	struct task_store *s;
	struct task_row *rows, r = row("x");
	size_t n;

	fresh();
	s = open_store();
	CHECK_INT(task_store_add(s, &r, &err), 0);
	r.selection.count = 1;
	CHECK_INT(task_store_add(s, &r, &err), -ERR_DUPLICATE);
	CHECK_INT(task_store_list(s, &rows, &n, &err), 0);
	CHECK_INT(n, 1);
	CHECK_INT(rows[0].selection.count, 2);
	rows_free(rows, n);
	task_store_close(s);
	gone();
}

TEST(changes_of_an_unknown_task_are_not_found)
{
	struct task_store *s;

	fresh();
	s = open_store();
	CHECK_INT(task_store_set_state(s, "nope", TASK_READY, &err), -ERR_NOT_FOUND);
	CHECK_INT(task_store_set_paused(s, "nope", true, &err), -ERR_NOT_FOUND);
	CHECK_INT(task_store_remove(s, "nope", &err), -ERR_NOT_FOUND);
	task_store_close(s);
	gone();
}

TEST(the_file_and_its_wal_are_private_whatever_the_umask)
{
	struct task_store *s;
	struct task_row r = row("x");
	char wal[128];
	struct stat st;
	mode_t old = umask(0);

	fresh();
	s = open_store();
	umask(old);
	CHECK_INT(task_store_add(s, &r, &err), 0);
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_mode & 0777, 0600);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	CHECK_INT(stat(wal, &st), 0);
	CHECK_INT(st.st_mode & 0777, 0600);
	task_store_close(s);
	gone();
}

static const char *wal_path(void)
{
	static char wal[128];

	snprintf(wal, sizeof(wal), "%s-wal", path);
	return wal;
}

TEST(a_file_of_a_newer_version_is_refused_and_kept)
{
	struct task_store *s = NULL;

	fresh();
	task_store_close(open_store());
	CHECK_INT(sql("PRAGMA journal_mode = DELETE; PRAGMA user_version = 99"), SQLITE_OK);
	CHECK_INT(task_store_open(&s, path, &err), -ERR_JOURNAL_NEWER);
	CHECK(!s && strstr(err.text, "99") && strstr(err.text, path));
	CHECK_INT(sql("CREATE TABLE still_writable (x)"), SQLITE_OK);
	CHECK(access(wal_path(), F_OK) < 0); /* not even its journal mode was changed */
	gone();
}

/* The tables of version 1 as they were shipped, with two tasks. Never to be changed. */
static const char v1[] =
	"PRAGMA journal_mode = WAL;"
	"CREATE TABLE task (id TEXT PRIMARY KEY NOT NULL,"
	" state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'deleting')),"
	" paused INTEGER NOT NULL CHECK (paused IN (0, 1)), source_uuid TEXT NOT NULL,"
	" created_ms INTEGER NOT NULL, host TEXT NOT NULL, port INTEGER NOT NULL, authorization TEXT,"
	" connect_timeout_ms INTEGER NOT NULL, tls INTEGER NOT NULL, tls_ca TEXT, tls_cert TEXT,"
	" tls_key TEXT, tls_server_name TEXT, resolved TEXT NOT NULL, shown TEXT NOT NULL) STRICT;"
	"CREATE TABLE selection (task_id TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,"
	" n INTEGER NOT NULL, db TEXT NOT NULL, collection TEXT NOT NULL, PRIMARY KEY (task_id, n))"
	" STRICT, WITHOUT ROWID;"
	"PRAGMA user_version = 1;"
	"INSERT INTO task VALUES ('t', 'ready', 1, 'uuid', 5, 'h', 19530, 'root:s3cr3t', 3000, 0, NULL, NULL,"
	" NULL, NULL, '10.0.0.1 10.0.0.2 ', '{}'),"
	" ('u', 'creating', 0, 'uuid2', 6, 'h2', 7, NULL, 3000, 0, NULL, NULL, NULL, NULL, '', '{}');"
	"INSERT INTO selection VALUES ('t', 0, 'default', 'a'), ('t', 1, '*', '*');";

/* What all tables look like, as text. */
static char *tables(void)
{
	struct buf b = {0};
	sqlite3 *db;
	sqlite3_stmt *q;

	CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
	CHECK_INT(sqlite3_prepare_v2(db,
				     "SELECT m.name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk FROM "
				     "sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' "
				     "ORDER BY m.name, c.cid",
				     -1, &q, NULL),
		  SQLITE_OK);
	while (sqlite3_step(q) == SQLITE_ROW) {
		for (int i = 0; i < 6; i++)
			buf_addf(&b, "%s ", (const char *)sqlite3_column_text(q, i));
		buf_adds(&b, "\n");
	}
	sqlite3_finalize(q);
	sqlite3_close(db);
	return (char *)b.data;
}

TEST(a_file_of_version_1_becomes_what_a_new_one_is_and_keeps_its_tasks)
{
	AUTO_FREE char *fresh_tables = NULL, *old_tables = NULL;
	struct task_store *s;
	struct task_row *rows, r = row("new");
	size_t n;

	fresh();
	task_store_close(open_store());
	fresh_tables = tables();
	fresh();
	CHECK_INT(sql(v1), SQLITE_OK);
	s = open_store();
	CHECK_INT(task_store_list(s, &rows, &n, &err), 0);
	CHECK_INT(n, 2);
	CHECK_STR(rows[0].id, "t");
	CHECK(rows[0].paused && rows[0].state == TASK_READY && !rows[0].users);
	CHECK_STR(rows[0].target->authorization, "root:s3cr3t");
	CHECK_STR(rows[0].mode, "replicate");
	CHECK_STR(rows[0].target_key, "10.0.0.1:19530");
	CHECK_STR(rows[1].target_key, "h2:7");
	CHECK_INT(rows[0].selection.count, 2);
	CHECK(!rows[0].selection.items[0].exclude && rows[0].names.count == 0);
	rows_free(rows, n);
	CHECK_INT(task_store_add(s, &r, &err), 0);
	CHECK_INT(task_store_remove(s, "t", &err), 0);
	task_store_close(s);
	task_store_close(open_store()); /* and once only */
	old_tables = tables();
	CHECK_STR(old_tables, fresh_tables);
	gone();
}

/* A migration that cannot be finished leaves the old file as it was. */
TEST(a_migration_that_fails_changes_nothing)
{
	struct task_store *s = NULL;
	AUTO_FREE char *before = NULL, *after = NULL;

	fresh();
	CHECK_INT(sql(v1), SQLITE_OK);
	CHECK_INT(sql("CREATE TABLE mapping (in_the_way TEXT)"), SQLITE_OK);
	before = tables();
	CHECK_INT(task_store_open(&s, path, &err), -ERR_STATE_IO);
	CHECK(!s && strstr(err.text, path) && strstr(err.text, "mapping"));
	after = tables();
	CHECK_STR(after, before);
	gone();
}

TEST(a_damaged_file_is_an_error_with_its_name)
{
	struct task_store *s = NULL;
	FILE *f;

	fresh();
	f = fopen(path, "w");
	CHECK(f);
	for (int i = 0; i < 1000; i++)
		fputs("this is no database ", f);
	fclose(f);
	CHECK_INT(task_store_open(&s, path, &err), -ERR_STATE_IO);
	CHECK(!s && strstr(err.text, path));
	gone();
}

TEST(a_folder_that_is_not_there_is_an_error)
{
	struct task_store *s = NULL;

	CHECK_INT(task_store_open(&s, "/no/such/folder/control.db", &err), -ERR_STATE_IO);
	CHECK(!s && strstr(err.text, "No such file"));
	task_store_close(NULL);
}

TEST(no_error_text_holds_the_authorization)
{
	struct task_store *s;
	struct task_row r = row("x");

	fresh();
	s = open_store();
	CHECK_INT(task_store_add(s, &r, &err), 0);
	CHECK(task_store_add(s, &r, &err) < 0);
	CHECK(!strstr(err.text, "s3cr3t"));
	CHECK_INT(sql("DROP TABLE mapping; DROP TABLE selection; DROP TABLE task"), SQLITE_OK);
	CHECK_INT(task_store_add(s, &r, &err), -ERR_STATE_IO);
	CHECK(!strstr(err.text, "s3cr3t") && strstr(err.text, path));
	CHECK(task_store_set_paused(s, "x", true, &err) == -ERR_STATE_IO);
	task_store_close(s);
	gone();
}

TEST(a_state_that_is_none_cannot_be_stored)
{
	struct task_store *s;
	struct task_row r = row("x");

	fresh();
	s = open_store();
	CHECK_INT(task_store_add(s, &r, &err), 0);
	task_store_close(s);
	CHECK(sql("UPDATE task SET state = 'odd'") != SQLITE_OK);
	gone();
}

TEST_MAIN()
