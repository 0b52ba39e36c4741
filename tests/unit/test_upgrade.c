/* SPDX-License-Identifier: Apache-2.0 */
/* Data directories of released versions (tests/fixtures/data-*.tar.gz) are opened and brought up to date;
 * what a newer version has written is refused and left as it is. */
#include "../t.h"

#include <cdc/task.h>

#include <dirent.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXTURES "tests/fixtures"
#define CONTROL_VERSION 3 /* of today */

static char dir[64];
static struct err err;
static struct conf *conf;

static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	CHECKF(system(cmd) == 0, "%s", cmd);
}

static void unpack(const char *version)
{
	snprintf(dir, sizeof(dir), "/tmp/cdc-upgrade-XXXXXX");
	CHECK(mkdtemp(dir));
	sh("tar -xzf " FIXTURES "/data-%s.tar.gz -C %s", version, dir);
	conf = conf_default();
	free(conf->data_dir);
	conf->data_dir = xasprintf("%s/data", dir);
	free(conf->source.etcd.address);
	conf->source.etcd.address = xcalloc(2, sizeof(char *));
	conf->source.etcd.address[0] = xstrdup("127.0.0.1:1");
	conf->source.kafka.address = xstrdup("127.0.0.1:1");
	err = (struct err){0};
}

static void done(void)
{
	conf_free(TAKE(conf));
	sh("rm -rf %s", dir);
}

static sqlite3 *open_db(const char *path, int flags)
{
	sqlite3 *db;

	CHECK_INT(sqlite3_open_v2(path, &db, flags, NULL), SQLITE_OK);
	return db;
}

static int version_of(const char *file)
{
	AUTO_FREE char *path = xasprintf("%s/data/%s", dir, file);
	sqlite3 *db = open_db(path, SQLITE_OPEN_READWRITE);
	sqlite3_stmt *q;
	int v;

	CHECK_INT(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &q, NULL), SQLITE_OK);
	CHECK_INT(sqlite3_step(q), SQLITE_ROW);
	v = sqlite3_column_int(q, 0);
	sqlite3_finalize(q);
	sqlite3_close(db);
	return v;
}

/* As a newer version would leave it; killed: with the number in the write-ahead log. */
static void make_newer(const char *path, int killed)
{
	sqlite3 *db = open_db(path, SQLITE_OPEN_READWRITE);

	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, killed, NULL);
	CHECK_INT(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* Of all files but the lock and the shared memory, which every look makes anew. */
static void sums(char *ret, size_t n)
{
	char cmd[256];
	FILE *f;

	snprintf(cmd, sizeof(cmd),
		 "cd %s && find . -type f ! -name lock ! -name '*-shm' | sort | xargs sha256sum", dir);
	CHECK((f = popen(cmd, "r")));
	ret[fread(ret, 1, n - 1, f)] = 0;
	pclose(f);
	CHECK(*ret);
}

static void one_folder(const char *version)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct task_view *views;
	struct tasks *ts;

	unpack(version);
	CHECKF(tasks_open(&ts, conf, &err) == 0, "%s", err.text);
	CHECK_INT(tasks_list(ts, arena, &views), 1);
	CHECKF(views[0].health.status == HEALTH_OK, "%s", views[0].health.reason);
	CHECK_INT(views[0].state, TASK_PAUSED);
	CHECK_STR(views[0].mode, "replicate");
	CHECK_INT(views[0].flow.journaled, 501);
	tasks_start(ts); /* the applier tells its mark when it has started */
	for (int64_t end = clock_mono_ms() + 10000; views[0].flow.applied != 300 && clock_mono_ms() < end;) {
		sched_yield();
		CHECK_INT(tasks_list(ts, arena, &views), 1);
	}
	CHECK_INT(views[0].flow.applied, 300);
	tasks_stop(ts);
	tasks_close(ts);
	CHECK_INT(version_of("control.db"), CONTROL_VERSION);
	done();
}

TEST(the_data_directory_of_every_released_version_is_opened_and_migrated)
{
	DIR *d = opendir(FIXTURES);
	const struct dirent *e;
	char version[32];
	int n = 0;

	CHECK(d);
	while ((e = readdir(d)))
		if (sscanf(e->d_name, "data-%31[0-9.]tar.gz", version) == 1) {
			version[strlen(version) - 1] = 0; /* the dot before tar */
			one_folder(version);
			n++;
		}
	closedir(d);
	CHECK(n >= 1);
}

TEST(there_is_a_data_directory_of_every_version_before_the_one_in_the_making)
{
	FILE *f = fopen("CHANGELOG.md", "re");
	char line[512], version[32], path[64];
	int n = 0;

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "## %31[0-9.]", version) == 1 && n++ > 0) { /* the newest stands first */
			snprintf(path, sizeof(path), FIXTURES "/data-%s.tar.gz", version);
			CHECKF(access(path, R_OK) == 0, "%s is missing: tests/fixtures/data.py makes it",
			       path);
		}
	fclose(f);
	CHECK(n >= 2);
}

TEST(a_control_db_of_a_newer_version_is_refused_and_nothing_is_touched)
{
	static char before[65536], after[65536];
	AUTO_FREE char *path = NULL;
	struct tasks *ts = NULL;

	unpack("0.1.0");
	path = xasprintf("%s/data/control.db", dir);
	make_newer(path, 1);
	sums(before, sizeof(before));
	CHECK_INT(tasks_open(&ts, conf, &err), -ERR_JOURNAL_NEWER);
	CHECK(!ts);
	CHECKF(strstr(err.text, "control.db") && strstr(err.text, "99") && strstr(err.text, "newer version"),
	       "%s", err.text);
	sums(after, sizeof(after));
	CHECK_STR(after, before);
	done();
}

/* The task of it waits with the reason; its files stay as they are. */
static void newer_in_task(const char *file, int killed)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	static char before[65536], after[65536];
	struct task_view *views;
	struct tasks *ts;

	unpack("0.1.0");
	CHECK_INT(tasks_open(&ts, conf, &err), 0);
	CHECK_INT(tasks_list(ts, arena, &views), 1);
	tasks_stop(ts);
	tasks_close(ts);
	AUTO_FREE char *path = xasprintf("%s/data/tasks/%s/%s", dir, views[0].id, file);

	make_newer(path, killed);
	sums(before, sizeof(before));
	CHECK_INT(tasks_open(&ts, conf, &err), 0);
	CHECK_INT(tasks_list(ts, arena, &views), 1);
	CHECK_INT(views[0].health.code, ERR_JOURNAL_NEWER);
	CHECKF(strstr(views[0].health.reason, path), "%s", views[0].health.reason);
	tasks_stop(ts);
	tasks_close(ts);
	sums(after, sizeof(after));
	CHECK_STR(after, before);
	done();
}

TEST(an_apply_db_of_a_newer_version_holds_its_task_and_is_not_touched)
{
	newer_in_task("apply.db", 1);
}

TEST(a_journal_of_a_newer_version_holds_its_task_and_is_not_touched)
{
	newer_in_task("journal/00000000000000000004.db",
		      0); /* a segment is built whole before it has its name */
}

TEST_MAIN()
