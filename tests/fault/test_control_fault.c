/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.db on a disk that fails or loses power at the Nth call, N = 1, 2, 3 ..., also while a file of
 * version 1 is brought to this version: the tasks are those of the last change that was acknowledged, or of
 * the one that was under way, whole; and what failed can be done again.
 */
#include "../t.h"

#include "../../src/control/task_store.h"
#include "fault_vfs.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

/* Two tasks as version 1 shipped them. Never to be changed. */
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

#define STEPS 7
static char path[128];
static char history[STEPS + 1][400]; /* what the file says after each step */

static void vfs_default(bool fault)
{
	sqlite3_vfs_register(sqlite3_vfs_find(fault ? fault_vfs() : "unix"), 1);
}

static void fresh(bool old)
{
	static const char *const suffix[] = {"", "-wal", "-shm", "-journal"};
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/cdc-control-fault-%d.db",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		char p[150];

		snprintf(p, sizeof(p), "%s%s", path, suffix[i]);
		unlink(p);
	}
	if (!old)
		return;
	CHECK_INT(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), SQLITE_OK);
	CHECK_INT(sqlite3_exec(db, v1, NULL, NULL, NULL), SQLITE_OK);
	CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

static int add(struct task_store *s, const char *id, struct err *err)
{
	static struct selection_item items[] = {{(char *)"default", (char *)"a", true},
						{(char *)"*", (char *)"*", false}};
	static struct name_map_item names[] = {{(char *)"d", (char *)"b", (char *)"x", (char *)"c"}};
	static struct target_conf t = {.host = (char *)"h", .port = 19530, .connect_timeout_ms = 3000};
	struct task_row r = {.id = (char *)id,
			     .source_uuid = (char *)"uuid",
			     .resolved = (char *)"",
			     .shown = (char *)"{}",
			     .mode = (char *)"replicate",
			     .target_key = (char *)"h:19530",
			     .names = {names, 1},
			     .state = TASK_CREATING,
			     .created_ms = 10 + id[0],
			     .target = &t,
			     .selection = {items, 2}};

	return task_store_add(s, &r, err);
}

/* Step 0 is the opening. */
static int step(struct task_store *s, int i, struct err *err)
{
	switch (i) {
	case 1:
		return add(s, "a", err);
	case 2:
		return task_store_set_state(s, "a", TASK_READY, err);
	case 3:
		return task_store_set_paused(s, "a", true, err);
	case 4:
		return add(s, "b", err);
	case 5:
		return task_store_set_state(s, "a", TASK_DELETING, err);
	case 6:
		return task_store_remove(s, "a", err);
	default:
		return task_store_set_state(s, "b", TASK_READY, err);
	}
}

static void describe(struct task_store *s, char ret[400])
{
	struct task_row *rows = NULL;
	struct err err = {0};
	size_t n = 0, used = 0;

	CHECKF(task_store_list(s, &rows, &n, &err) == 0, "%s", err.text);
	ret[0] = 0;
	for (size_t i = 0; i < n; i++) {
		used += (size_t)snprintf(ret + used, 400 - used, "%s %d %d %zu %zu %s;", rows[i].id,
					 (int)rows[i].state, rows[i].paused, rows[i].selection.count,
					 rows[i].names.count, rows[i].mode);
		task_row_clear(&rows[i]);
	}
	free(rows);
}

/* Without faults: what it should say after each step. */
static void rehearse(bool old)
{
	struct task_store *s = NULL;
	struct err err = {0};

	fresh(old);
	vfs_default(false);
	CHECKF(task_store_open(&s, path, &err) == 0, "%s", err.text);
	for (int i = 0; i <= STEPS; i++) {
		CHECKF(i == 0 || step(s, i, &err) == 0, "%d: %s", i, err.text);
		describe(s, history[i]);
	}
	task_store_close(s);
	vfs_default(true);
}

/* The last step that was acknowledged; -1: not even the opening. */
static int scenario(int tries)
{
	struct task_store *s = NULL;
	struct err err = {0};
	int done = -1, rc;

	while ((rc = task_store_open(&s, path, &err)) < 0 && tries-- > 0)
		CHECKF(rc == -ERR_STATE_IO, "%s: %s", err_name(err.code), err.text);
	if (rc < 0)
		return -1;
	for (done = 0; done < STEPS; done++)
		while ((rc = step(s, done + 1, &err)) < 0) {
			CHECKF(rc == -ERR_STATE_IO, "step %d: %s: %s", done + 1, err_name(err.code),
			       err.text);
			if (tries-- <= 0)
				goto out;
		}
out:
	task_store_close(s);
	return done;
}

/* Opens with the normal VFS, compares, goes on to the last step. */
static void check(int done, int n)
{
	struct task_store *s = NULL;
	struct err err = {0};
	char now[400];
	int at = done < 0 ? 0 : done;

	vfs_default(false);
	CHECKF(task_store_open(&s, path, &err) == 0, "N = %d: %s", n, err.text);
	describe(s, now);
	if (!STREQ(now, history[at]) && at < STEPS)
		at++;
	CHECKF(STREQ(now, history[at]), "N = %d: step %d was acknowledged; '%s', not '%s'", n, done, now,
	       history[at]);
	for (int i = at + 1; i <= STEPS; i++)
		CHECKF(step(s, i, &err) == 0, "N = %d, step %d: %s", n, i, err.text);
	describe(s, now);
	CHECK_STR(now, history[STEPS]);
	task_store_close(s);
	vfs_default(true);
}

static void loop(enum fault how, bool forever, int tries)
{
	int fired = 0;

	for (int old = 0; old < 2; old++) {
		rehearse(old);
		for (int n = 1;; n++) {
			int done;
			bool hit;

			fresh(old);
			fault_arm(how, n, forever);
			done = scenario(tries);
			hit = fault_disarm();
			check(done, n);
			fired += hit;
			if (!hit) {
				CHECK_INT(done, STEPS);
				break;
			}
			CHECK(n < 1000);
		}
	}
	CHECKF(fired > 20, "only %d points", fired);
	printf("# %d points\n", fired);
	fresh(false);
}

TEST(R30_an_io_error_at_any_call)
{
	loop(FAULT_EIO, false, 3);
}

TEST(R30_a_process_killed_at_any_call)
{
	loop(FAULT_EIO, true, 0);
}

TEST(R30_a_full_disk_at_any_call)
{
	loop(FAULT_FULL, false, 3);
	loop(FAULT_FULL, true, 1);
}

TEST(R30_a_write_that_is_cut_short)
{
	loop(FAULT_SHORT, false, 3);
}

TEST(R30_a_failing_sync)
{
	loop(FAULT_SYNC, false, 3);
}

TEST(R30_power_loss_at_any_call)
{
	int points = 0;

	for (int old = 0; old < 2; old++) {
		rehearse(old);
		for (unsigned seed = 0; seed < 3; seed++)
			for (int n = 1;; n++) {
				int done;

				fresh(old);
				power_on();
				power_fail_at(n);
				done = scenario(0);
				points += power_lose(seed ? seed * 104729 + (unsigned)n : 0) > 0;
				check(done, n);
				if (done == STEPS)
					break;
				CHECK(n < 1000);
			}
	}
	CHECKF(points > 20, "only %d points", points);
	printf("# %d points\n", points);
	fresh(false);
}

TEST_MAIN()
