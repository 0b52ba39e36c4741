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
	static struct selection_item items[] = {{"default", "a"}, {"*", "*"}};
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

TEST(a_file_of_a_newer_version_is_refused_and_kept)
{
	struct task_store *s = NULL;

	fresh();
	task_store_close(open_store());
	CHECK_INT(sql("PRAGMA user_version = 99"), SQLITE_OK);
	CHECK_INT(task_store_open(&s, path, &err), -ERR_JOURNAL_NEWER);
	CHECK(!s && strstr(err.text, "99") && strstr(err.text, path));
	CHECK_INT(access(path, F_OK), 0);
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
	CHECK_INT(sql("DROP TABLE selection; DROP TABLE task"), SQLITE_OK);
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
