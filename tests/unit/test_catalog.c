/* SPDX-License-Identifier: Apache-2.0 */
/* The fence and the known state: what is read, when it is trusted, what survives. */
#include "catalog_world.h"

#include <time.h>

#define CUT(w, watermark, want) CHECK_STR(world_cut(w, watermark), want)
#define CHECK_FENCE(w, watermark, code) \
	do { \
		int t_rc = catalog_fence((w)->cat, (watermark), &(w)->err); \
		CHECKF(t_rc == (code), "rc %d: %s", t_rc, (w)->err.text); \
	} while (0)

/* --- R4 --- */

TEST(R4_fence_sees_everything_of_one_revision)
{
	WORLD(w);

	world_fence(w, 100);
	CHECK_INT(catalog_fenced(w->cat), 100);
	CHECK_INT(catalog_revision(w->cat), w->etcd->revision);
	make_coll(w, 1, 100, "a", 150);
	CHECK_INT(catalog_plan(w->cat, 0, 200, false, w->arena, &(struct catalog_plan){0}, &w->err),
		  -ERR_SOURCE_WAIT);
	CUT(w, 200, "create collection a#100@150");
	world_fence(w, 150); /* of an earlier watermark: nothing is taken back */
	CHECK_INT(catalog_fenced(w->cat), 200);
}

TEST(R4_etcd_away_then_back)
{
	WORLD(w);

	world_cut(w, 100);
	make_coll(w, 1, 100, "a", 150);
	w->etcd->fail_at = 1;
	w->etcd->fail_code = ERR_SOURCE_LOST;
	CHECK_FENCE(w, 200, -ERR_SOURCE_LOST);
	CHECK_INT(catalog_fenced(w->cat), 100);
	w->etcd->fail_at = 2; /* the fields */
	CHECK_FENCE(w, 200, -ERR_SOURCE_LOST);
	CHECK_INT(catalog_fenced(w->cat), 100);
	CUT(w, 200, "create collection a#100@150");
}

TEST(R4_fields_that_are_not_there_yet_are_waited_for)
{
	WORLD(w);

	world_cut(w, 100);
	put_coll(w, 1, 100, "a", 150, STATE_CREATED);
	put_field(w, 100, 0, "RowID", 5, false);
	put_field(w, 100, 101, "v", 101, false);
	CHECK_FENCE(w, 200, -ERR_SOURCE_WAIT);
	CHECK(strstr(w->err.text, "fields of collection a"));
	put_field(w, 100, 100, "id", 5, true);
	CUT(w, 200, "create collection a#100@150");
}

TEST(a_failed_read_at_any_point_changes_nothing)
{
	for (int at = 1;; at++) {
		WORLD(w);
		int rc;

		make_coll(w, 1, 100, "a", 50);
		put_load(w, 100, 1, 2);
		world_cut(w, 100);
		del_load(w, 100); /* makes the second transaction necessary */
		make_coll(w, 1, 200, "b", 150);
		w->etcd->fail_at = at;
		w->etcd->fail_code = ERR_SOURCE_LOST;
		rc = catalog_fence(w->cat, 200, &w->err);
		if (rc == 0) {
			CHECK_INT(at, 4);
			break;
		}
		CHECK_INT(rc, -ERR_SOURCE_LOST);
		CUT(w, 200, "create collection b#200@150, release a#100@200");
	}
}

TEST(a_value_that_cannot_be_read_names_its_key_and_derives_nothing)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	make_coll(w, 1, 200, "b", 60);
	fake_etcd_put(w->etcd, R "root-coord/partitions/100/110", "\xff\xff\xff", 3);
	CHECK_FENCE(w, 200, -ERR_SOURCE_FORMAT);
	CHECK(strstr(w->err.text, R "root-coord/partitions/100/110"));
	CHECK_INT(catalog_plan(w->cat, 99, 100, false, w->arena, &(struct catalog_plan){0}, &w->err),
		  -ERR_SOURCE_WAIT);
	CHECK_FENCE(w, 200, -ERR_SOURCE_FORMAT); /* it does not heal by looking away */
	put_part(w, 100, 110, "p", 150, STATE_CREATED);
	CUT(w, 200, "create collection b#200@101, create partition a#100/p@150");
}

/* --- R6 --- */

TEST(R6_another_cluster)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	w->etcd->cluster_id = 78;
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	CHECK(strstr(w->err.text, "another cluster"));
	CHECK(!catalog_pchannel_ending(w->cat, "dml_0"));
	world_restart(w);
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	CHECK(!catalog_pchannel_ending(w->cat, "dml_0"));
	w->etcd->cluster_id = 77;
	CUT(w, 200, "");
	CHECK(catalog_pchannel_ending(w->cat, "dml_0"));
}

TEST(R6_revision_going_backwards)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	w->etcd->revision -= 1;
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	CHECK(strstr(w->err.text, "revision"));
	world_restart(w);
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	w->etcd->revision += 1;
	CUT(w, 200, "");
}

TEST(R6_empty_root)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	while (w->etcd->count)
		fake_etcd_del(w->etcd, *(char **)((char *)w->etcd->kvs[0] + sizeof(void *)));
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	CHECK(strstr(w->err.text, "nothing under 'by-dev/meta'"));
	world_restart(w);
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_LIVE);
}

TEST(R6_no_default_database)
{
	WORLD(w);

	fake_etcd_del(w->etcd, R "root-coord/database/db-info/1");
	make_coll(w, 1, 100, "a", 50);
	CHECK_FENCE(w, 100, -ERR_SOURCE_FOREIGN);
	CHECK(strstr(w->err.text, "no default database"));
	put_db(w, 1, "default", 111, 1);
	CUT(w, 100, "create collection a#100@50");
	fake_etcd_del(w->etcd, R "root-coord/database/db-info/1");
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	CHECK(!catalog_pchannel_ending(w->cat, "dml_0"));
	put_db(w, 1, "default", 111, 1);
	fake_etcd_tombstone(w->etcd, R "root-coord/database/db-info/1");
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	put_db(w, 1, "default", 111, 3);
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	put_db(w, 1, "default", 111, 1);
	CUT(w, 200, "");
}

TEST(R6_source_set_up_anew_in_the_same_etcd)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	put_db(w, 1, "default", 112, 1);
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	CHECK(strstr(w->err.text, "set up anew"));
	world_restart(w);
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
}

TEST(R6_another_root_in_the_configuration)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	world_source.etcd.root_path = (char *)"my-dev";
	world_restart(w);
	world_source.etcd.root_path = (char *)"by-dev";
	CHECK_FENCE(w, 200, -ERR_SOURCE_FOREIGN);
	CHECK(strstr(w->err.text, "my-dev/meta"));
}

TEST(R6_absent_is_dropped_only_after_a_good_fence)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	forget_coll(w, 1, 100);
	world_restart(w);
	world_now += 2 * DROP_WAIT_MS;
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_LIVE);
	CHECK(!catalog_pchannel_ending(w->cat, "dml_0"));
	CUT(w, 200, "");
	CHECK(catalog_pchannel_ending(w->cat, "dml_0"));
	world_now += DROP_WAIT_MS;
	CUT(w, 300, "drop collection a#100@300");
}

/* --- real deletes and tombstones --- */

static void change_during_fence(void *arg, int n)
{
	struct world *w = arg;

	if (n != 1)
		return;
	put_part(w, 100, 110, "p", 150, STATE_CREATED);
	del_load(w, 200);
	fake_etcd_del(w->etcd, R "root-coord/partitions/200/210");
}

TEST(real_deletes_are_found_by_the_number_of_keys)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 51);
	put_load(w, 100, 1, 2);
	put_load(w, 200, 1, 2);
	put_index(w, 100, 300, 101, "vi", false);
	put_part(w, 200, 210, "p", 60, STATE_CREATED);
	world_cut(w, 100);
	del_load(w, 100);
	fake_etcd_del(w->etcd, R "field-index/100/300");
	fake_etcd_count_reset(w->etcd);
	w->etcd->before_read = change_during_fence; /* between the two transactions */
	w->etcd->before_arg = w;
	CUT(w, 200,
	    "create partition a#100/p@150, release a#100@200, release b#200@200, drop index a#100/vi@200");
	CHECK_INT(w->etcd->reads, 4); /* a key of the partitions was deleted meanwhile, too: once more */
	CHECK(partition_over(w->cat, 200, 210));
	w->etcd->before_read = NULL;
	fake_etcd_count_reset(w->etcd);
	CUT(w, 400, "");
	CHECK_INT(w->etcd->reads, 1);
}

TEST(deleted_and_another_created_between_two_fences)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 51);
	put_load(w, 100, 1, 2);
	world_cut(w, 100);
	del_load(w, 100);
	put_load(w, 200, 1, 2); /* the number of keys is the same */
	CUT(w, 200, "release a#100@200, load b#200@200");
}

TEST(tombstones_are_deletions)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_part(w, 100, 110, "p", 60, STATE_CREATED);
	put_index(w, 100, 300, 101, "vi", false);
	put_load(w, 100, 1, 2);
	put_db(w, 5, "x", 1, 1);
	world_cut(w, 100);
	fake_etcd_tombstone(w->etcd, R "root-coord/partitions/100/110");
	fake_etcd_tombstone(w->etcd, R "field-index/100/300");
	fake_etcd_tombstone(w->etcd, R "querycoord-collection-loadinfo/100");
	del_db(w, 5);
	CUT(w, 200, "release a#100@200, drop index a#100/vi@200, drop database x#5@200");
	tomb_coll(w, 1, 100);
	world_record(w, 100, 0, 250);
	CUT(w, 300, "drop collection a#100@250");
	CHECK(has_row(w, "coll/100"));
	forget_coll(w, 1, 100);
	fake_etcd_del(w->etcd, R "root-coord/database/db-info/5");
	CUT(w, 400, "");
	CHECK(!has_row(w, "coll/100"));
	CHECK(!has_row(w, "db/5"));
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_GONE);
}

TEST(keys_of_others_do_no_harm)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	fake_etcd_put(w->etcd, R "root-coord/database/aliases/1/al", "\x08\x01", 2);
	fake_etcd_put(w->etcd, R "root-coord/database/db-info/x", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/database/db-info/99999999999999999999", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/database/collection-info/1/", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/partitions/100", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/partitions/100/101/7", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/databases", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/fields/1001/100", "?", 1); /* not of 100 */
	fake_etcd_put(w->etcd, R "snapshots/root-coord/database/db-info/1_ts1", "?", 1);
	CUT(w, 100, "create collection a#100@50");
	fake_etcd_del(w->etcd, R "root-coord/database/aliases/1/al");
	CUT(w, 200, "");
}

/* --- R14 --- */

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

TEST(joins_name_every_pchannel_with_its_start)
{
	WORLD(w);
	struct catalog_join *joins;

	make_coll(w, 1, 200, "b", 150);
	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 300, "no_c", 51);
	put_coll(w, 1, 400, "d", 52, STATE_DROPPING);
	world_fence(w, 100);
	CHECK_INT(catalog_joins(w->cat, 100, w->arena, &joins), 2);
	CHECK_INT(joins[0].collection_id, 100);
	CHECK_STR(joins[0].pchannel, "dml_0");
	CHECK_INT(joins[0].created, 50);
	CHECK(joins[0].start_size == 8 && memcmp(joins[0].start, "AAAAAAAA", 8) == 0);
	CHECK(joins[1].start_size == 8 && memcmp(joins[1].start, "BBBBBBBB", 8) == 0);
	CHECK_INT(catalog_joins(w->cat, UINT64_MAX, w->arena, &joins), 4);
	world_build(w, 100);
	CHECK_INT(catalog_joins(w->cat, UINT64_MAX, w->arena, &joins), 2);
	CHECK_INT(joins[0].collection_id, 200);
}

TEST(live_pchannels_follow_the_collections)
{
	WORLD(w);
	const char **live;

	world_cut(w, 10);
	CHECK_INT(catalog_live_pchannels(w->cat, w->arena, &live), 0);
	CHECK(!catalog_pchannel_ending(w->cat, "dml_0"));
	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 51);
	world_cut(w, 100);
	CHECK_INT(catalog_live_pchannels(w->cat, w->arena, &live), 2);
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	CUT(w, 200, "");
	CHECK(!catalog_pchannel_ending(w->cat, "dml_0"));
	tomb_coll(w, 1, 200);
	CUT(w, 300, "");
	CHECK(catalog_pchannel_ending(w->cat, "dml_0"));
	world_restart(w);
	CHECK_INT(catalog_live_pchannels(w->cat, w->arena, &live), 2);
	CHECK(!catalog_pchannel_ending(w->cat, "dml_0"));
	world_record(w, 100, 0, 350);
	world_record(w, 200, 0, 351);
	CUT(w, 400, "drop collection a#100@350, drop collection b#200@351");
	CHECK_INT(catalog_live_pchannels(w->cat, w->arena, &live), 0);
	CHECK(!catalog_pchannel_ending(w->cat, "dml_0"));
}

TEST(fate_of_rows)
{
	WORLD(w);
	const char *db, *name;

	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_UNKNOWN);
	make_coll(w, 1, 100, "a", 50);
	world_fence(w, 100);
	CHECK_INT(catalog_fate(w->cat, 100, 101, &db, &name), CATALOG_UNKNOWN);
	world_build(w, 100);
	CHECK_INT(catalog_fate(w->cat, 100, 101, &db, &name), CATALOG_LIVE);
	CHECK_STR(db, "default");
	CHECK_STR(name, "a");
	CHECK_INT(catalog_fate(w->cat, 100, -1, &db, &name), CATALOG_LIVE);
	CHECK_INT(catalog_fate(w->cat, 100, 0, &db, &name), CATALOG_LIVE);
	CHECK_INT(catalog_fate(w->cat, 100, 102, &db, &name), CATALOG_GONE);
	CHECK_INT(catalog_fate(w->cat, 200, 201, &db, &name), CATALOG_GONE);
	CHECK_STR(name, "");
}

TEST(pending_says_when_an_idle_cut_has_something_to_say)
{
	WORLD(w);

	world_cut(w, 100);
	CHECK(!catalog_pending(w->cat));
	put_db(w, 5, "x", 1, 1);
	put_db(w, 6, "no_y", 1, 1);
	world_fence(w, 101);
	CHECK(catalog_pending(w->cat));
	CUT(w, 101, "create database x#5@101");
	CHECK(!catalog_pending(w->cat));
	make_coll(w, 1, 100, "no_a", 90);
	world_fence(w, 102);
	CHECK(!catalog_pending(w->cat));
	make_coll(w, 1, 200, "b", 500); /* comes with its own pchannels' watermark */
	world_fence(w, 102);
	CHECK(!catalog_pending(w->cat));
}

/* --- cost --- */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

TEST(ten_thousand_collections_cost_nothing_while_nothing_changes)
{
	WORLD(w);
	double start;

	for (int64_t i = 0; i < 10000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "c%lld", (long long)i);
		make_coll(w, 1, 1000 + 10 * i, name, 50);
		put_index(w, 1000 + 10 * i, 1005 + 10 * i, 101, "vi", false);
		put_load(w, 1000 + 10 * i, 1, 2);
	}
	world_fence(w, 100);
	CHECK(w->etcd->most_ranges <= 128); /* etcd's --max-txn-ops */
	arena_reset(w->arena);
	world_build(w, 100);
	CHECK_INT(w->entry_count, 30000);
	catalog_commit(w->cat);
	w->prev = 100;
	CHECK_INT(w->cat->dirty_count, 0);
	fake_etcd_count_reset(w->etcd);
	start = seconds();
	for (cdc_ts t = 101; t < 201; t++) {
		world_fence(w, t);
		CHECK_STR(world_build(w, t), "");
		catalog_commit(w->cat);
		w->prev = t;
	}
	CHECK_INT(w->etcd->reads, 100);
	CHECK_INT(w->etcd->keys_returned, 0);
	/* the fake's counting of keys is in here; a walk over all objects a fence would be far above */
	CHECKF(seconds() - start < 5, "%.3f s for 100 fences", seconds() - start);
	put_load(w, 1000, 2, 1);
	world_fence(w, 300);
	CHECK_INT(w->cat->dirty_count, 1);
	CHECK_STR(world_build(w, 300), "release c0#1000@300, load c0#1000@300");
}

TEST_MAIN()
