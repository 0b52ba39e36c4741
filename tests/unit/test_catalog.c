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
	fake_etcd_put(w->etcd, R "root-coord/database/aliases/al", "?", 1); /* not in a database */
	fake_etcd_put(w->etcd, R "root-coord/credential/users/u", "?", 1);  /* not asked for */
	fake_etcd_put(w->etcd, R "root-coord/database/db-info/x", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/database/db-info/99999999999999999999", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/database/collection-info/1/", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/partitions/100", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/partitions/100/101/7", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/databases", "?", 1);
	fake_etcd_put(w->etcd, R "root-coord/fields/1001/100", "?", 1); /* not of 100 */
	fake_etcd_put(w->etcd, R "snapshots/root-coord/database/db-info/1_ts1", "?", 1);
	CUT(w, 100, "create collection a#100@50");
	fake_etcd_del(w->etcd, R "root-coord/database/aliases/al");
	CUT(w, 200, "");
}

/* --- R14 --- */

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
	double start = 0, first;

	for (int64_t i = 0; i < 10000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "c%lld", (long long)i);
		make_coll(w, 1, 1000 + 10 * i, name, 50);
		put_index(w, 1000 + 10 * i, 1005 + 10 * i, 101, "vi", false);
		put_load(w, 1000 + 10 * i, 1, 2);
	}
	start = seconds();
	world_fence(w, 100);
	CHECK(w->etcd->most_ranges <= 128); /* etcd's --max-txn-ops */
	arena_reset(w->arena);
	world_build(w, 100);
	CHECK_INT(w->entry_count, 30000);
	catalog_commit(w->cat);
	first = seconds() - start;
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
	/* the fake's counting of keys is in here; a walk over all objects a fence would cost as much as the
	 * first */
	CHECKF(seconds() - start < 20 * first, "%.3f s for 100 fences, %.3f s for the first",
	       seconds() - start, first);
	put_load(w, 1000, 2, 1);
	world_fence(w, 300);
	CHECK_INT(w->cat->dirty_count, 1);
	CHECK_STR(world_build(w, 300), "release c0#1000@300, load c0#1000@300");
}

TEST_MAIN()
