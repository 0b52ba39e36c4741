/* SPDX-License-Identifier: Apache-2.0 */
/* apply.db: J4 (the mark only moves forward), J6 and R20 (intents), objects, damage. */
#include "../t.h"

#include "../../src/data/apply_store.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *fresh(void)
{
	static char path[200];
	static const char *const suffix[] = {"", "-wal", "-shm", "-journal"};
	const char *tmp = getenv("TMPDIR");

	snprintf(path, sizeof(path), "%s/cdc-apply-%d.db", tmp ? tmp : "/tmp", (int)getpid());
	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		char p[220];

		snprintf(p, sizeof(p), "%s%s", path, suffix[i]);
		unlink(p);
	}
	return path;
}

static struct apply_store *open_ok(const char *path)
{
	struct apply_store *s = NULL;
	struct err err = {0};

	CHECKF(apply_store_open(&s, path, NULL, &err) == 0, "%s", err.text);
	return s;
}

static struct apply_mark mark(int64_t seq)
{
	return (struct apply_mark){seq, (cdc_ts)seq * 10, (cdc_ts)seq * 10 + 1, seq * 100};
}

static struct apply_intent intent(int64_t seq)
{
	return (struct apply_intent){INTENT_DATA, seq, (cdc_ts)seq * 10, UINT64_MAX / 2, 3, 1 << 20};
}

static int sql(const char *path, const char *text)
{
	sqlite3 *db;
	int rc = sqlite3_open(path, &db);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, text, NULL, NULL, NULL);
	sqlite3_close(db);
	return rc;
}

static void check_at(struct apply_store *s, int64_t seq, int64_t open)
{
	struct apply_mark m, want = mark(seq);
	struct apply_intent in, in_want = intent(open);

	apply_store_mark(s, &m);
	apply_store_intent(s, &in);
	CHECK_INT(m.seq, want.seq);
	CHECK(m.seq == 0 || (m.ts == want.ts && m.out == want.out && m.rows_applied == want.rows_applied));
	CHECK_INT(in.type, open ? INTENT_DATA : INTENT_NONE);
	if (open)
		CHECK(in.seq == in_want.seq && in.ts == in_want.ts && in.floor == in_want.floor &&
		      in.version == in_want.version && in.merge_limit == in_want.merge_limit);
}

TEST(a_new_store_stands_at_zero_with_nothing_open)
{
	const char *path = fresh();
	struct apply_store *s = open_ok(path);
	struct apply_mark m;
	struct stat st;

	apply_store_mark(s, &m);
	CHECK(m.seq == 0 && m.ts == 0 && m.out == 0 && m.rows_applied == 0);
	check_at(s, 0, 0);
	CHECK_INT(apply_store_floor(s), 0);
	CHECK(stat(path, &st) == 0);
	CHECK_INT(st.st_mode & 0007, 0);
	apply_store_close(s);
	s = open_ok(path);
	check_at(s, 0, 0);
	apply_store_close(s);
	fresh();
}

TEST(J6_mark_and_next_intent_are_one_commit_and_survive)
{
	const char *path = fresh();
	struct apply_store *s = open_ok(path);
	struct apply_intent in = intent(5), next = intent(9);
	struct apply_mark m = mark(5);
	struct err err;

	CHECK(apply_store_set_intent(s, &in, &err) == 0);
	check_at(s, 0, 5);
	apply_store_close(s);
	s = open_ok(path);
	check_at(s, 0, 5);
	CHECK(apply_store_commit(s, &m, &next, NULL, 0, &err) == 0);
	check_at(s, 5, 9);
	apply_store_close(s);
	s = open_ok(path);
	check_at(s, 5, 9);
	m = mark(9);
	CHECK(apply_store_commit(s, &m, NULL, NULL, 0, &err) == 0);
	apply_store_close(s);
	s = open_ok(path);
	check_at(s, 9, 0);
	apply_store_close(s);
	fresh();
}

TEST(R20_a_second_intent_is_refused_while_one_is_open)
{
	struct apply_store *s = open_ok(fresh());
	struct apply_intent in = intent(5), other = intent(7), none = {0};
	struct err err;

	CHECK_INT(apply_store_set_intent(s, &none, &err), -ERR_INTERNAL);
	CHECK(apply_store_set_intent(s, &in, &err) == 0);
	CHECK_INT(apply_store_set_intent(s, &other, &err), -ERR_INTERNAL);
	check_at(s, 0, 5);
	apply_store_close(s);
	fresh();
}

TEST(J4_a_mark_that_goes_back_is_refused)
{
	struct apply_store *s = open_ok(fresh());
	struct apply_mark m = mark(5), back;
	struct err err;

	CHECK(apply_store_commit(s, &m, NULL, NULL, 0, &err) == 0);
	back = m;
	back.seq--;
	CHECK_INT(apply_store_commit(s, &back, NULL, NULL, 0, &err), -ERR_INTERNAL);
	back = m;
	back.ts--;
	CHECK_INT(apply_store_commit(s, &back, NULL, NULL, 0, &err), -ERR_INTERNAL);
	back = m;
	back.out--;
	CHECK_INT(apply_store_commit(s, &back, NULL, NULL, 0, &err), -ERR_INTERNAL);
	check_at(s, 5, 0);
	CHECK(apply_store_commit(s, &m, NULL, NULL, 0, &err) == 0); /* the same again is fine */
	apply_store_close(s);
	fresh();
}

TEST(J6_an_open_window_stays_covered_by_the_mark_or_the_next_intent)
{
	struct apply_store *s = open_ok(fresh());
	struct apply_intent in = intent(5), shorter = intent(4), same = intent(5);
	struct apply_mark m = mark(3);
	struct err err;

	CHECK(apply_store_set_intent(s, &in, &err) == 0);
	CHECK_INT(apply_store_commit(s, &m, NULL, NULL, 0, &err), -ERR_INTERNAL);
	CHECK_INT(apply_store_commit(s, &m, &shorter, NULL, 0, &err), -ERR_INTERNAL);
	check_at(s, 0, 5);
	CHECK(apply_store_commit(s, &m, &same, NULL, 0, &err) == 0);
	check_at(s, 3, 5);
	m = mark(5);
	CHECK_INT(apply_store_commit(s, &m, &shorter, NULL, 0, &err),
		  -ERR_INTERNAL); /* ends before the mark */
	CHECK(apply_store_commit(s, &m, NULL, NULL, 0, &err) == 0);
	apply_store_close(s);
	fresh();
}

TEST(R21_the_floor_is_durable_and_never_lowered)
{
	const char *path = fresh();
	struct apply_store *s = open_ok(path);
	struct err err;

	CHECK(apply_store_set_floor(s, 1000, &err) == 0);
	CHECK(apply_store_set_floor(s, 900, &err) == 0);
	CHECK_INT(apply_store_floor(s), 1000);
	apply_store_close(s);
	s = open_ok(path);
	CHECK_INT(apply_store_floor(s), 1000);
	check_at(s, 0, 0);
	apply_store_close(s);
	fresh();
}

static size_t objects(struct apply_store *s, const char *prefix, struct arena *a, struct state_row **ret)
{
	struct err err;
	size_t n = 99;

	CHECKF(apply_store_objects(s, prefix, a, ret, &n, &err) == 0, "%s", err.text);
	return n;
}

TEST(objects_are_listed_by_prefix_in_order_and_go_with_the_commit)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const uint8_t v[] = {1, 0, 2};
	const struct state_row in[] = {
		{"coll/2", v, 3}, {"coll/10", v, 2}, {"db/1", v, 0}, {"col_/1", v, 1}, {"coll0", v, 1}};
	const struct state_row change[] = {{"coll/2", NULL, 0}, {"coll/10", v, 3}};
	const char *path = fresh();
	struct apply_store *s = open_ok(path);
	struct apply_mark m = mark(1), back = mark(0);
	struct state_row *o;
	struct err err;

	CHECK_INT(objects(s, "", a, &o), 0);
	CHECK(apply_store_commit(s, &m, NULL, in, ARRAY_LEN(in), &err) == 0);
	CHECK_INT(apply_store_commit(s, &back, NULL, change, 2, &err), -ERR_INTERNAL); /* none of it */
	apply_store_close(s);
	s = open_ok(path);
	CHECK_INT(objects(s, "coll/", a, &o), 2);
	CHECK_STR(o[0].key, "coll/10");
	CHECK_STR(o[1].key, "coll/2");
	CHECK(o[1].size == 3 && memcmp(o[1].value, v, 3) == 0);
	CHECK_INT(objects(s, "", a, &o), 5);
	CHECK_INT(objects(s, "db/", a, &o), 1);
	CHECK(o[0].size == 0 && o[0].value);
	m = mark(2);
	CHECK(apply_store_commit(s, &m, NULL, change, 2, &err) == 0);
	CHECK_INT(objects(s, "coll/", a, &o), 1);
	CHECK(STREQ(o[0].key, "coll/10") && o[0].size == 3);
	apply_store_close(s);
	fresh();
}

TEST(J7_a_changed_row_is_found)
{
	static const char *const damage[] = {
		"UPDATE mark SET applied_seq = 6",
		"UPDATE mark SET applied_ts = applied_ts + 1",
		"UPDATE mark SET intent_type = 1 - intent_type",
		"UPDATE mark SET tick_bound = 0",
		"UPDATE mark SET intent_floor = 1",
		"DELETE FROM mark",
		"DROP TABLE mark",
		"DROP TABLE object",
	};
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
		const char *path = fresh();
		struct apply_store *s = open_ok(path);
		struct apply_mark m = mark(5);

		CHECK(apply_store_set_floor(s, 77, &err) == 0);
		CHECK(apply_store_commit(s, &m, NULL, NULL, 0, &err) == 0);
		apply_store_close(s);
		CHECK(sql(path, damage[i]) == SQLITE_OK);
		CHECKF(apply_store_open(&s, path, NULL, &err) == -ERR_JOURNAL_BAD, "%s", damage[i]);
		CHECKF(strstr(err.text, path), "%s", err.text);
	}
	fresh();
}

TEST(J7_a_changed_object_is_found)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const struct state_row in = {"coll/2", (const uint8_t *)"abc", 3};
	const char *path = fresh();
	struct apply_store *s = open_ok(path);
	struct apply_mark m = mark(1);
	struct state_row *o;
	struct err err;
	size_t n;

	CHECK(apply_store_commit(s, &m, NULL, &in, 1, &err) == 0);
	apply_store_close(s);
	CHECK(sql(path, "UPDATE object SET value = x'616264'") == SQLITE_OK);
	s = open_ok(path);
	CHECK_INT(apply_store_objects(s, "", a, &o, &n, &err), -ERR_JOURNAL_BAD);
	CHECK_INT(apply_store_objects(s, "db/", a, &o, &n, &err), 0);
	apply_store_close(s);
	fresh();
}

TEST(a_newer_or_foreign_file_is_refused_and_not_changed)
{
	const char *path = fresh();
	struct apply_store *s = open_ok(path);
	struct stat before, after;
	struct err err;

	apply_store_close(s);
	CHECK(sql(path, "PRAGMA user_version = 2") == SQLITE_OK);
	stat(path, &before);
	CHECK_INT(apply_store_open(&s, path, NULL, &err), -ERR_JOURNAL_NEWER);
	stat(path, &after);
	CHECK(before.st_mtim.tv_nsec == after.st_mtim.tv_nsec && before.st_size == after.st_size);
	path = fresh();
	CHECK(sql(path, "CREATE TABLE mine(x)") == SQLITE_OK);
	CHECK_INT(apply_store_open(&s, path, NULL, &err), -ERR_JOURNAL_BAD);
	fresh();
}

struct shared {
	struct apply_store *s;
	atomic_bool done;
	bool bad;
};

static void *watch(void *arg)
{
	struct shared *w = arg;
	struct apply_mark m;
	int64_t last = 0;

	while (!atomic_load(&w->done)) {
		apply_store_mark(w->s, &m);
		w->bad |= m.seq < last || m.ts != (cdc_ts)m.seq * 10;
		last = m.seq;
	}
	return NULL;
}

TEST(a_mark_is_read_whole_from_another_thread)
{
	struct shared w = {.s = open_ok(fresh())};
	struct err err;
	pthread_t t;
	int rc = 0;

	pthread_create(&t, NULL, watch, &w);
	for (int64_t i = 1; i <= 100 && rc == 0; i++) {
		struct apply_mark m = mark(i);

		rc = apply_store_commit(w.s, &m, NULL, NULL, 0, &err);
	}
	atomic_store(&w.done, true);
	pthread_join(t, NULL);
	CHECK_INT(rc, 0);
	CHECK(!w.bad);
	apply_store_close(w.s);
	fresh();
}

TEST_MAIN()
