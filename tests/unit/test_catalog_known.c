/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal has been told: restart from state rows (R14), commit and rollback (R2, R17). */
#include "catalog_world.h"

#include <time.h>

#define CUT(w, watermark, want) CHECK_STR(world_cut(w, watermark), want)
#define CHECK_FENCE(w, watermark, code) \
	do { \
		int t_rc = catalog_fence((w)->cat, (watermark), &(w)->err); \
		CHECKF(t_rc == (code), "rc %d: %s", t_rc, (w)->err.text); \
	} while (0)

TEST(R14_restart_from_state_rows_derives_nothing_twice)
{
	WORLD(w);

	put_db(w, 5, "x", 1, 1);
	make_coll(w, 5, 100, "a", 50);
	put_part(w, 100, 110, "p", 60, STATE_CREATED);
	make_coll(w, 1, 200, "b", 51);
	put_index(w, 100, 300, 101, "vi", false);
	put_load(w, 100, 1, 2);
	world_cut(w, 100);
	world_restart(w);
	CHECK_INT(catalog_fate(w->cat, 100, 110, NULL, NULL), CATALOG_LIVE);
	CHECK_INT(catalog_fate(w->cat, 999, 0, NULL, NULL), CATALOG_UNKNOWN);
	CHECK_INT(catalog_id_by_name(w->cat, "x", 1, "a", 1), 100);
	CUT(w, 200, "");
	CHECK_INT(catalog_fate(w->cat, 999, 0, NULL, NULL), CATALOG_GONE);
	put_index(w, 100, 300, 101, "vi", true);
	del_load(w, 100);
	CUT(w, 300, "release a#100@300, drop index a#100/vi@300");
	world_restart(w);
	CUT(w, 400, "");
}

TEST(R14_restart_after_objects_came_and_went)
{
	WORLD(w);

	put_db(w, 5, "x", 1, 1);
	make_coll(w, 5, 100, "a", 50);
	make_coll(w, 1, 200, "b", 51);
	put_part(w, 200, 210, "p", 60, STATE_CREATED);
	put_load(w, 200, 1, 2);
	world_cut(w, 100);
	put_coll(w, 5, 100, "a", 50, STATE_DROPPING);
	tomb_coll(w, 5, 100);
	forget_coll(w, 5, 100);
	fake_etcd_del(w->etcd, R "root-coord/database/db-info/5");
	put_part(w, 200, 210, "p", 60, STATE_DROPPING);
	put_part(w, 200, 220, "q", 130, STATE_CREATED);
	del_load(w, 200);
	make_coll(w, 1, 300, "c", 140);
	make_coll(w, 1, 400, "d", 141);
	put_coll(w, 1, 400, "d", 141, STATE_DROPPING);
	world_restart(w);
	world_record(w, 400, 0, 145);
	world_record(w, 100, 0, 150);
	world_record(w, 200, 210, 151);
	CUT(w, 200,
	    "create partition b#200/q@130, create collection c#300@140, drop collection a#100@150, "
	    "drop partition b#200/p@151, release b#200@200, drop database x#5@200");
	CUT(w, 300, "");
	CUT(w, 400, "");
	CHECK(!has_row(w, "coll/100"));
	CHECK(!has_row(w, "db/5"));
	CHECK(!has_row(w, "coll/400"));
	CHECK(has_row(w, "coll/300"));
}

TEST(R14_dropped_partitions_are_remembered_until_etcd_forgets_them)
{
	WORLD(w);
	size_t before;

	make_coll(w, 1, 100, "a", 50);
	put_part(w, 100, 110, "p", 60, STATE_CREATED);
	world_cut(w, 100);
	put_part(w, 100, 110, "p", 60, STATE_DROPPING);
	world_record(w, 100, 110, 150);
	CUT(w, 200, "drop partition a#100/p@150");
	world_restart(w);
	CUT(w, 300, "");
	CHECK_INT(catalog_fate(w->cat, 100, 110, NULL, NULL), CATALOG_DROPPED);
	before = coll_find(w->cat, 100)->known->dropped_count;
	CHECK_INT(before, 1);
	fake_etcd_del(w->etcd, R "root-coord/partitions/100/110");
	CUT(w, 400, "");
	CHECK_INT(coll_find(w->cat, 100)->known->dropped_count, 0);
	CHECK_INT(catalog_fate(w->cat, 100, 110, NULL, NULL), CATALOG_GONE);
}

TEST(a_dropped_collection_keeps_only_who_it_was)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	world_record(w, 100, 0, 150);
	world_cut(w, 200);
	for (size_t i = 0; i < w->row_count; i++)
		if (STREQ(w->rows[i].key, "coll/100"))
			CHECK(w->rows[i].size < 40);
	world_restart(w);
	CUT(w, 300, "");
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_DROPPED);
}

TEST(a_state_row_that_cannot_be_read_is_named)
{
	WORLD(w);
	const struct state_row bad[] = {{"coll/7", (const uint8_t *)"\xff", 1},
					{"coll/8", (const uint8_t *)"", 0},
					{"db/7", (const uint8_t *)"\xff", 1},
					{"source", (const uint8_t *)"\xff", 1}};
	const struct state_row other[] = {{"collection/7", (const uint8_t *)"\xff", 1},
					  {"coll/x", (const uint8_t *)"\xff", 1},
					  {"anything", (const uint8_t *)"\xff", 1},
					  {"coll/9", NULL, 0}};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_INT(catalog_restore(w->cat, &bad[i], &w->err), -ERR_JOURNAL_BAD);
		CHECK(strstr(w->err.text, bad[i].key));
	}
	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		CHECK_INT(catalog_restore(w->cat, &other[i], &w->err), 0);
	CUT(w, 100, "");
}

/* --- tentative --- */

static char *rows_text(struct world *w)
{
	struct state_row *rows;
	size_t n = catalog_state(w->cat, w->arena, &rows);
	struct buf b = {0};

	for (size_t i = 0; i < n; i++)
		buf_addf(&b, "%s=%llx ", rows[i].key,
			 rows[i].value ? (unsigned long long)hash64(0, rows[i].value, rows[i].size) : 0ull);
	return (char *)b.data;
}

TEST(R2_rollback_then_the_same_calls_give_the_same)
{
	WORLD(w);
	AUTO_FREE char *text = NULL, *rows = NULL;

	put_db(w, 5, "x", 1, 1);
	put_db(w, 6, "y", 1, 1);
	make_coll(w, 5, 100, "a", 50);
	make_coll(w, 1, 200, "b", 51);
	put_part(w, 200, 210, "p", 60, STATE_CREATED);
	make_coll(w, 1, 220, "late", 52);
	world_cut(w, 100);
	put_coll(w, 5, 100, "a", 50, STATE_DROPPING);
	put_coll(w, 1, 220, "late", 52, STATE_DROPPING);
	put_part(w, 200, 210, "p", 60, STATE_DROPPING);
	CUT(w, 150, "");
	world_now += DROP_WAIT_MS; /* late#220 and p have no record */
	make_coll(w, 5, 300, "a", 170);
	make_coll(w, 1, 400, "no_c", 171);
	put_index(w, 200, 500, 101, "vi", false);
	del_db(w, 6);
	world_record(w, 100, 0, 160);
	world_fence(w, 200);
	text = xstrdup(world_build(w, 200));
	rows = rows_text(w);
	CHECK_STR(text, "drop collection a#100@160, create collection a#300@170, drop partition b#200/p@200, "
			"drop collection late#220@200, create index b#200/vi@200, drop database y#6@200");
	CHECK(strstr(rows, "coll/400="));
	for (int i = 0; i < 3; i++) {
		AUTO_FREE char *again = NULL;

		catalog_rollback(w->cat);
		CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_LIVE);
		CHECK_INT(catalog_fate(w->cat, 300, 301, NULL, NULL), CATALOG_UNKNOWN);
		CHECK_INT(catalog_id_by_name(w->cat, "x", 1, "a", 1), 100);
		CHECK_STR(world_build(w, 200), text);
		again = rows_text(w);
		CHECK_STR(again, rows);
	}
	world_commit(w, 200);
	CUT(w, 300, "");
	catalog_rollback(w->cat); /* nothing is open */
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_DROPPED);
	world_restart(w);
	CUT(w, 400, "");
}

TEST(two_plans_before_one_commit)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_part(w, 100, 110, "p", 160, STATE_CREATED);
	world_fence(w, 200);
	CHECK_STR(world_build(w, 150), "create collection a#100@50");
	w->prev = 150;
	CHECK_STR(world_build(w, 200), "create partition a#100/p@160");
	catalog_rollback(w->cat);
	w->prev = 0;
	CHECK_STR(world_build(w, 150), "create collection a#100@50");
	w->prev = 150;
	CHECK_STR(world_build(w, 200), "create partition a#100/p@160");
	world_commit(w, 200);
	world_restart(w);
	CUT(w, 300, "");
}

TEST(R17_nothing_changed_gives_no_state_rows)
{
	WORLD(w);
	struct state_row *rows;

	make_coll(w, 1, 100, "a", 50);
	world_fence(w, 100);
	world_build(w, 100);
	CHECK_INT(catalog_state(w->cat, w->arena, &rows), 2);
	CHECK_STR(rows[0].key, "coll/100");
	CHECK_STR(rows[1].key, "source");
	world_commit(w, 100);
	world_fence(w, 200);
	world_build(w, 200);
	CHECK_INT(catalog_state(w->cat, w->arena, &rows), 0);
}

TEST(a_change_between_plan_and_commit_is_not_lost)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	put_load(w, 100, 1, 2);
	world_fence(w, 200);
	CHECK_STR(world_build(w, 200), "load a#100@200");
	put_index(w, 100, 300, 101, "vi", false);
	world_fence(w, 300);
	world_commit(w, 200);
	CHECK_STR(world_build(w, 300), "create index a#100/vi@300");
}

/* --- questions --- */

TEST_MAIN()
