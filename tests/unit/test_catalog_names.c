/* SPDX-License-Identifier: Apache-2.0 */
/* Names: renames and aliases, what makes room for them, and what a restart knows of them. */
#include "catalog_world.h"

#define CUT(w, watermark, want) CHECK_STR(world_cut(w, watermark), want)

static void coll_again(struct world *w, int64_t db, int64_t id, const char *name, int state)
{
	put_coll(w, db, id, name, 50, state);
}

/* --- renames --- */

TEST(a_rename_is_one_entry_and_is_known_after_a_restart)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	coll_again(w, 1, 100, "b", STATE_CREATED);
	CUT(w, 200, "rename collection a#100->default.b@200");
	CUT(w, 300, "");
	world_restart(w);
	CUT(w, 400, "");
	CHECK_INT(catalog_id_by_name(w->cat, "default", 7, "b", 1), 100);
	CHECK_INT(catalog_id_by_name(w->cat, "default", 7, "a", 1), 0);
	coll_again(w, 1, 100, "b", STATE_DROPPING);
	world_record(w, 100, 0, 450);
	CUT(w, 500, "drop collection b#100@450");
}

TEST(a_rename_that_was_not_committed_is_planned_again)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	coll_again(w, 1, 100, "b", STATE_CREATED);
	world_fence(w, 200);
	CHECK_STR(world_build(w, 200), "rename collection a#100->default.b@200");
	catalog_rollback(w->cat);
	CHECK_STR(world_build(w, 200), "rename collection a#100->default.b@200");
	world_restart(w);
	CUT(w, 300, "rename collection a#100->default.b@300");
}

TEST(R9_a_rename_makes_room_for_a_creation_in_the_same_cut)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	coll_again(w, 1, 100, "b", STATE_CREATED);
	make_coll(w, 1, 200, "a", 150);
	CUT(w, 200, "rename collection a#100->default.b@149, create collection a#200@150");
}

TEST(R9_a_chain_of_renames_goes_from_its_end)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 50);
	make_coll(w, 1, 300, "c", 50);
	world_cut(w, 100);
	coll_again(w, 1, 100, "b", STATE_CREATED);
	coll_again(w, 1, 200, "c", STATE_CREATED);
	coll_again(w, 1, 300, "d", STATE_CREATED);
	CUT(w, 200,
	    "rename collection c#300->default.d@200, rename collection b#200->default.c@200, "
	    "rename collection a#100->default.b@200");
	coll_again(w, 1, 100, "x", STATE_CREATED);
	coll_again(w, 1, 200, "b", STATE_CREATED);
	make_coll(w, 1, 400, "c", 250);
	CUT(w, 300,
	    "rename collection b#100->default.x@249, rename collection c#200->default.b@249, "
	    "create collection c#400@250");
}

TEST(R9_names_that_were_swapped_go_by_a_name_in_between)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 50);
	world_cut(w, 100);
	coll_again(w, 1, 100, "b", STATE_CREATED);
	coll_again(w, 1, 200, "a", STATE_CREATED);
	CUT(w, 200,
	    "rename collection a#100->cdc_renamed_100@200, rename collection b#200->default.a@200, "
	    "rename collection cdc_renamed_100#100->default.b@200");
	CHECK_INT(catalog_id_by_name(w->cat, "default", 7, "a", 1), 200);
	CUT(w, 300, "");
}

TEST(R9_a_circle_of_three_beside_others_opens_once)
{
	WORLD(w);

	for (int i = 0; i < 4; i++)
		make_coll(w, 1, 100 + 10 * i, (const char *[]){"a", "b", "c", "d"}[i], 50);
	world_cut(w, 100);
	for (int i = 0; i < 4; i++)
		coll_again(w, 1, 100 + 10 * i, (const char *[]){"b", "c", "a", "e"}[i], STATE_CREATED);
	CUT(w, 200,
	    "rename collection a#100->cdc_renamed_100@200, rename collection c#120->default.a@200, "
	    "rename collection b#110->default.c@200, rename collection cdc_renamed_100#100->default.b@200, "
	    "rename collection d#130->default.e@200");
}

TEST(R9_a_rename_takes_the_name_of_a_dropped_one)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 50);
	world_cut(w, 100);
	coll_again(w, 1, 200, "b", STATE_DROPPING);
	coll_again(w, 1, 100, "b", STATE_CREATED);
	CUT(w, 200, "drop collection b#200@200, rename collection a#100->default.b@200"); /* no record yet */
	world_record(w, 200, 0, 250);
	CUT(w, 300, "");
	coll_again(w, 1, 100, "b", STATE_DROPPING);
	make_coll(w, 1, 300, "c", 310);
	world_cut(w, 350);
	coll_again(w, 1, 300, "b", STATE_CREATED);
	world_record(w, 100, 0, 360);
	CUT(w, 400, "drop collection b#100@400, rename collection c#300->default.b@400");
}

TEST(R9_a_late_drop_record_does_not_come_behind_the_rename_that_needs_its_name)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 50);
	world_cut(w, 100);
	coll_again(w, 1, 200, "b", STATE_DROPPING);
	coll_again(w, 1, 100, "b", STATE_CREATED);
	make_coll(w, 1, 300, "a", 150);
	world_record(w, 200, 0, 170);
	CUT(w, 200,
	    "drop collection b#200@149, rename collection a#100->default.b@149, create collection a#300@150");
}

TEST(a_move_into_a_new_database_comes_after_its_creation)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	put_db(w, 5, "x", 1, 1);
	tomb_coll(w, 1, 100);
	coll_again(w, 5, 100, "a", STATE_CREATED);
	CUT(w, 200, "create database x#5@200, rename collection a#100->x.a@200");
	put_db(w, 6, "y", 1, 1);
	tomb_coll(w, 5, 100);
	coll_again(w, 6, 100, "a", STATE_CREATED);
	make_coll(w, 5, 200, "a", 250);
	CUT(w, 300, "create database y#6@249, rename collection a#100->y.a@249, create collection a#200@250");
	tomb_coll(w, 6, 100);
	coll_again(w, 1, 100, "b", STATE_CREATED);
	del_db(w, 6);
	CUT(w, 400, "rename collection a#100->default.b@400, drop database y#6@400");
}

TEST(a_database_made_again_keeps_what_moved_out_of_the_old_one)
{
	WORLD(w);

	put_db(w, 5, "x", 1, 1);
	make_coll(w, 5, 100, "a", 50);
	world_cut(w, 100);
	tomb_coll(w, 5, 100);
	coll_again(w, 1, 100, "a", STATE_CREATED);
	del_db(w, 5);
	put_db(w, 6, "x", 1, 1);
	CUT(w, 200, "rename collection a#100->default.a@200, drop database x#5@200, create database x#6@200");
}

TEST(what_is_replicated_stays_so_under_any_name_and_what_is_not_does_not_begin)
{
	WORLD(w);

	put_db(w, 5, "no_db", 1, 1);
	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "no_b", 50);
	world_cut(w, 100);
	coll_again(w, 1, 100, "no_a", STATE_CREATED);
	coll_again(w, 1, 200, "b", STATE_CREATED);
	CUT(w, 200, "rename collection a#100->default.no_a@200");
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_LIVE);
	CHECK_INT(catalog_fate(w->cat, 200, 201, NULL, NULL), CATALOG_UNWANTED);
	tomb_coll(w, 1, 100);
	coll_again(w, 5, 100, "a", STATE_CREATED);
	CUT(w, 300, "create database no_db#5@300, rename collection no_a#100->no_db.a@300");
	world_restart(w);
	CUT(w, 400, "");
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_LIVE);
}

TEST(an_unwanted_collection_that_gets_a_wanted_name_is_a_warning_while_it_has_it)
{
	WORLD(w);
	AUTO(arena_free) struct arena *arena = arena_new();
	struct catalog_warning *v;

	make_coll(w, 1, 100, "no_a", 50);
	world_cut(w, 100);
	CHECK_INT(catalog_warnings(w->cat, arena, &v), 0);
	coll_again(w, 1, 100, "a", STATE_CREATED);
	CUT(w, 200, "");
	world_restart(w);
	CUT(w, 300, "");
	CHECK_INT(catalog_warnings(w->cat, arena, &v), 1);
	CHECK(strstr(v[0].text, "default.a was default.no_a") != NULL);
	coll_again(w, 1, 100, "no_b", STATE_CREATED);
	CUT(w, 400, "");
	CHECK_INT(catalog_warnings(w->cat, arena, &v), 0);
	coll_again(w, 1, 100, "b", STATE_CREATED);
	CUT(w, 500, "");
	CHECK_INT(catalog_warnings(w->cat, arena, &v), 1);
	forget_coll(w, 1, 100);
	CUT(w, 600, "");
	CHECK_INT(catalog_warnings(w->cat, arena, &v), 0);
	CHECK(!has_row(w, "coll/100") && !has_row(w, "warning/renamed/100"));
}

/* --- aliases --- */

TEST(aliases_that_exist_at_the_start_are_part_of_the_first_cut)
{
	WORLD(w);
	Jr__Ddl *d;

	make_coll(w, 1, 100, "a", 50);
	put_alias(w, 1, "y", 100);
	put_alias(w, 1, "x", 100);
	CUT(w, 100, "create collection a#100@50, create alias a#100/x@100, create alias a#100/y@100");
	d = world_ddl(w, 1);
	CHECK(d->existed);
	jr__ddl__free_unpacked(d, NULL);
	CHECK(has_row(w, "alias/1/x"));
	world_restart(w);
	CUT(w, 200, "");
}

TEST(an_alias_is_created_altered_and_dropped)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 50);
	world_cut(w, 100);
	put_alias(w, 1, "x", 100);
	CUT(w, 200, "create alias a#100/x@200");
	put_alias(w, 1, "x", 100); /* written again */
	CUT(w, 300, "");
	put_alias(w, 1, "x", 200);
	CUT(w, 400, "alter alias b#200/x@400");
	world_restart(w);
	del_alias(w, 1, "x");
	CUT(w, 500, "drop alias b#200/x@500");
	CHECK(!has_row(w, "alias/1/x"));
	world_restart(w);
	CUT(w, 600, "");
}

TEST(an_alias_that_was_not_committed_is_planned_again)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_alias(w, 1, "y", 100);
	world_cut(w, 100);
	put_alias(w, 1, "x", 100);
	del_alias(w, 1, "y");
	world_fence(w, 200);
	for (int i = 0; i < 3; i++) {
		CHECK_STR(world_build(w, 200), "drop alias a#100/y@200, create alias a#100/x@200");
		catalog_rollback(w->cat);
	}
	world_restart(w);
	CUT(w, 300, "drop alias a#100/y@300, create alias a#100/x@300");
}

TEST(an_alias_of_an_unwanted_collection_is_not_wanted)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "no_b", 50);
	put_alias(w, 1, "x", 200);
	CUT(w, 100, "create collection a#100@50");
	put_alias(w, 1, "x", 100);
	CUT(w, 200, "create alias a#100/x@200");
	put_alias(w, 1, "x", 200);
	CUT(w, 300, "drop alias a#100/x@300");
}

TEST(an_alias_of_a_collection_of_a_later_cut_waits_for_it)
{
	WORLD(w);

	world_cut(w, 100);
	make_coll(w, 1, 100, "a", 250);
	put_alias(w, 1, "x", 100);
	CUT(w, 200, "");
	CUT(w, 300, "create collection a#100@250, create alias a#100/x@300");
}

/* Milvus 2.3.5 leaves the alias of a dropped collection in etcd. */
TEST(an_alias_goes_right_before_its_collection_whatever_etcd_has)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 50);
	put_alias(w, 1, "x", 100);
	put_alias(w, 1, "y", 200);
	world_cut(w, 100);
	coll_again(w, 1, 100, "a", STATE_DROPPING);
	CUT(w, 200, "");
	world_record(w, 100, 0, 250);
	world_fence(w, 300);
	CHECK_STR(world_build(w, 300), "drop alias a#100/x@250, drop collection a#100@250");
	catalog_rollback(w->cat);
	CHECK_STR(world_build(w, 300), "drop alias a#100/x@250, drop collection a#100@250");
	world_commit(w, 300);
	coll_again(w, 1, 200, "b", STATE_DROPPING);
	CUT(w, 400, "");
	world_now += DROP_WAIT_MS;
	CUT(w, 500, "drop alias b#200/y@500, drop collection b#200@500"); /* no record */
	world_restart(w);
	CUT(w, 600, "");
}

TEST(an_alias_that_moved_on_before_its_collection_was_dropped_lives_on)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 50);
	put_alias(w, 1, "x", 100);
	world_cut(w, 100);
	put_alias(w, 1, "x", 200);
	coll_again(w, 1, 100, "a", STATE_DROPPING);
	world_record(w, 100, 0, 150);
	CUT(w, 200, "drop alias a#100/x@150, drop collection a#100@150, create alias b#200/x@200");
}

TEST(a_collection_under_the_name_of_a_former_alias_comes_after_its_drop)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_alias(w, 1, "x", 100);
	put_alias(w, 1, "y", 100);
	put_alias(w, 1, "z", 100);
	world_cut(w, 100);
	del_alias(w, 1, "x");
	make_coll(w, 1, 200, "x", 150);
	CUT(w, 200, "drop alias a#100/x@149, create collection x#200@150");
	coll_again(w, 1, 100, "a", STATE_DROPPING); /* its record comes late */
	make_coll(w, 1, 300, "y", 250);
	world_record(w, 100, 0, 270);
	CUT(w, 300,
	    "drop alias a#100/y@249, create collection y#300@250, drop alias a#100/z@270, drop collection "
	    "a#100@270");
}

TEST(a_rename_to_the_name_of_a_former_alias_comes_after_its_drop)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_alias(w, 1, "x", 100);
	world_cut(w, 100);
	del_alias(w, 1, "x");
	coll_again(w, 1, 100, "x", STATE_CREATED);
	put_alias(w, 1, "a", 100);
	CUT(w, 200,
	    "drop alias a#100/x@200, rename collection a#100->default.x@200, create alias x#100/a@200");
}

TEST(an_alias_under_the_name_of_a_collection_that_is_ending_waits_for_its_drop)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 50);
	world_cut(w, 100);
	coll_again(w, 1, 200, "b", STATE_DROPPING);
	put_alias(w, 1, "b", 100);
	CUT(w, 200, "");
	world_record(w, 200, 0, 250);
	CUT(w, 300, "drop collection b#200@250, create alias a#100/b@300");
}

TEST(aliases_of_one_name_in_two_databases_are_two)
{
	WORLD(w);

	put_db(w, 5, "x", 1, 1);
	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 5, 200, "a", 50);
	world_cut(w, 100);
	put_alias(w, 5, "l", 200);
	put_alias(w, 1, "l", 100);
	CUT(w, 200, "create alias a#100/l@200, create alias a#200/l@200");
	del_alias(w, 1, "l");
	CUT(w, 300, "drop alias a#100/l@300");
}

TEST(R12_the_order_in_which_aliases_were_made_does_not_matter)
{
	for (int turned = 0; turned < 2; turned++) {
		WORLD(w);

		make_coll(w, 1, 100, "a", 50);
		make_coll(w, 1, 200, "b", 50);
		world_cut(w, 100);
		for (int i = 0; i < 20; i++) {
			char name[16];
			int n = turned ? 19 - i : i;

			snprintf(name, sizeof(name), "l%02d", n);
			put_alias(w, 1, name, n % 2 ? 100 : 200);
		}
		world_cut(w, 200);
		CHECK_INT(w->entry_count, 20);
		for (size_t i = 0; i < 20; i++) {
			Jr__Ddl *d = world_ddl(w, i);

			CHECK_INT(atoi(d->alias + 1), i < 10 ? 2 * i + 1 : 2 * (i - 10));
			jr__ddl__free_unpacked(d, NULL);
		}
	}
}

TEST(a_damaged_alias_row_is_named)
{
	WORLD(w);
	struct state_row row = {.key = "alias/1/x", .value = (const uint8_t *)"\x08", .size = 1};

	CHECK(catalog_restore(w->cat, &row, &w->err) < 0);
	CHECK_INT(w->err.code, ERR_JOURNAL_BAD);
	CHECK(strstr(w->err.text, "alias/1/x") != NULL);
}

TEST_MAIN()
