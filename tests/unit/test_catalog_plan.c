/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: what of etcd becomes which DDL, when and in which order. */
#include "catalog_world.h"

#define CUT(w, watermark, want) CHECK_STR(world_cut(w, watermark), want)

TEST(collection_upsert_creating_then_created)
{
	WORLD(w);

	world_fence(w, 100);
	put_coll(w, 1, 100, "a", 150, STATE_CREATING);
	CHECK_INT(catalog_fence(w->cat, 200, &w->err), -ERR_SOURCE_WAIT);
	CHECK(strstr(w->err.text, "collection a"));
	CHECK_INT(catalog_fenced(w->cat), 100);
	put_fields(w, 100);
	put_part(w, 100, 101, "_default", 150, STATE_CREATED);
	put_coll(w, 1, 100, "a", 150, STATE_CREATED);
	CUT(w, 200, "create collection a#100@150");
	CUT(w, 300, "");
}

TEST(creating_above_the_watermark_is_not_waited_for)
{
	WORLD(w);

	put_coll(w, 1, 100, "a", 250, STATE_CREATING);
	CUT(w, 200, "");
	make_coll(w, 1, 100, "a", 250);
	CUT(w, 240, "");
	CUT(w, 260, "create collection a#100@250");
}

TEST(a_creation_that_was_given_up_holds_the_task_only_for_a_while)
{
	WORLD(w);

	put_coll(w, 1, 100, "a", 150, STATE_CREATING);
	CHECK_INT(catalog_fence(w->cat, 200, &w->err), -ERR_SOURCE_WAIT);
	world_now += CREATING_WAIT_MS;
	CUT(w, 200, "");
	make_coll(w, 1, 100, "a", 150);
	CUT(w, 300, "create collection a#100@201");
}

TEST(body_of_a_new_collection_is_complete)
{
	WORLD(w);
	Jr__Ddl *d;

	make_coll(w, 1, 100, "a", 150);
	put_field(w, 100, 1000, "z", 5, false);
	put_field(w, 100, 102, "$meta", 23, false);
	put_part(w, 100, 105, "late", 180, STATE_CREATED);
	put_part(w, 100, 106, "creating", 181, STATE_CREATING);
	put_part(w, 100, 107, "future", 281, STATE_CREATED);
	CUT(w, 200, "create collection a#100@150, create partition a#100/late@180");
	d = world_ddl(w, 0);
	CHECK(d->existed);
	CHECK_INT(d->db_id, 1);
	CHECK_STR(d->db_name, "default");
	CHECK_INT(d->collection->shards_num, 2);
	CHECK_INT(d->collection->schema->n_fields, 4);
	CHECK_INT(d->collection->schema->fields[0]->field_id, 100);
	CHECK_STR(d->collection->schema->fields[2]->name, "$meta");
	CHECK_INT(d->collection->schema->fields[3]->field_id, 1000);
	CHECK(d->collection->schema->enable_dynamic_field);
	CHECK_INT(d->n_partitions, 1);
	CHECK_STR(d->partitions[0]->partition_name, "_default");
	jr__ddl__free_unpacked(d, NULL);
	CUT(w, 300, "create partition a#100/future@281");
}

/* Read again in other cuts (R13), the entries have to be the same ones. */
TEST(R12_a_later_partition_is_an_entry_of_its_own_wherever_the_cuts_end)
{
	WORLD(one);
	WORLD(two);

	make_coll(one, 1, 100, "a", 150);
	put_part(one, 100, 105, "late", 180, STATE_CREATED);
	CUT(one, 200, "create collection a#100@150, create partition a#100/late@180");
	make_coll(two, 1, 100, "a", 150);
	put_part(two, 100, 105, "late", 180, STATE_CREATED);
	CUT(two, 160, "create collection a#100@150");
	CUT(two, 200, "create partition a#100/late@180");
}

TEST(partition_key_partitions_are_in_the_body_and_not_created_again)
{
	WORLD(w);
	Jr__Ddl *d;

	world_cut(w, 100);
	put_coll(w, 1, 100, "a", 150, STATE_CREATING);
	put_fields(w, 100);
	for (int i = 0; i < 4; i++) {
		char name[16];

		snprintf(name, sizeof(name), "_default_%d", i);
		put_part(w, 100, 101 + i, name, 150, STATE_CREATED);
	}
	put_coll(w, 1, 100, "a", 150, STATE_CREATED);
	CUT(w, 200, "create collection a#100@150");
	d = world_ddl(w, 0);
	CHECK(!d->existed);
	CHECK_INT(d->n_partitions, 4);
	CHECK_STR(d->partitions[3]->partition_name, "_default_3");
	jr__ddl__free_unpacked(d, NULL);
	CUT(w, 300, "");
}

TEST(R3_what_exists_at_t0_keeps_its_times_and_is_marked)
{
	WORLD(w);
	Jr__Ddl *d;

	put_db(w, 5, "x", 1, 1);
	make_coll(w, 5, 100, "a", 10);
	make_coll(w, 1, 200, "b", 20);
	put_index(w, 100, 300, 101, "vi", false);
	put_load(w, 100, 1, 2);
	CUT(w, 1000,
	    "create database x#5@9, create collection a#100@10, create collection b#200@20, "
	    "create index a#100/vi@1000, load a#100@1000");
	for (size_t i = 0; i < w->entry_count; i++) {
		d = world_ddl(w, i);
		CHECK(d->existed);
		jr__ddl__free_unpacked(d, NULL);
	}
}

TEST(R9_what_is_only_in_etcd_stands_at_the_watermark_in_order)
{
	WORLD(w);
	Jr__Ddl *d;

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 51);
	put_index(w, 100, 300, 101, "old", false);
	put_load(w, 100, 1, 2);
	CUT(w, 100,
	    "create collection a#100@50, create collection b#200@51, create index a#100/old@100, load "
	    "a#100@100");
	del_load(w, 100);
	put_index(w, 100, 300, 101, "old", true);
	put_index(w, 200, 301, 101, "new", false);
	put_load(w, 200, 2, 1);
	CUT(w, 200,
	    "release a#100@200, drop index a#100/old@200, create index b#200/new@200, load b#200@200");
	d = world_ddl(w, 2);
	CHECK_STR(d->field_name, "v");
	CHECK_STR(d->index->user_index_params[0]->value, "FLAT");
	jr__ddl__free_unpacked(d, NULL);
	d = world_ddl(w, 3);
	CHECK_INT(d->load->replica_number, 2);
	jr__ddl__free_unpacked(d, NULL);
	put_load(w, 200, 2, 2); /* loading -> loaded: the same wish */
	CUT(w, 300, "");
}

TEST(index_dropped_and_made_again_between_two_fences)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_index(w, 100, 300, 101, "vi", false);
	world_cut(w, 100);
	put_index(w, 100, 300, 101, "vi", true);
	put_index(w, 100, 301, 101, "vi", false);
	CUT(w, 200, "drop index a#100/vi@200, create index a#100/vi@200");
	fake_etcd_del(w->etcd, R "field-index/100/300"); /* the garbage collection of the source */
	CUT(w, 300, "");
}

TEST(other_replicas_are_a_release_and_a_load)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_load(w, 100, 1, 2);
	world_cut(w, 100);
	del_load(w, 100);
	put_load(w, 100, 2, 1);
	CUT(w, 200, "release a#100@200, load a#100@200");
}

TEST(partition_created_and_dropped_by_its_record)
{
	WORLD(w);
	Jr__Ddl *d;

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	put_part(w, 100, 110, "p", 150, STATE_CREATING);
	CUT(w, 160, "");
	put_part(w, 100, 110, "p", 150, STATE_CREATED);
	CUT(w, 200, "create partition a#100/p@161");
	put_part(w, 100, 110, "p", 150, STATE_DROPPING);
	CUT(w, 300, ""); /* the record is not in this cut */
	CHECK_INT(catalog_fate(w->cat, 100, 110, NULL, NULL), CATALOG_LIVE);
	world_record(w, 100, 110, 350);
	world_record(w, 100, 110, 351); /* from the other pchannel */
	CUT(w, 400, "drop partition a#100/p@350");
	d = world_ddl(w, 0);
	CHECK_INT(d->partitions[0]->partition_id, 110);
	jr__ddl__free_unpacked(d, NULL);
	CHECK_INT(catalog_fate(w->cat, 100, 110, NULL, NULL), CATALOG_DROPPED);
	world_now += 2 * DROP_WAIT_MS;
	CUT(w, 500, "");
	fake_etcd_tombstone(w->etcd, R "root-coord/partitions/100/110");
	CUT(w, 600, "");
}

TEST(partition_of_the_same_name_waits_for_the_drop_of_the_old_one)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_part(w, 100, 110, "p", 60, STATE_CREATED);
	world_cut(w, 100);
	put_part(w, 100, 110, "p", 60, STATE_DROPPING);
	put_part(w, 100, 120, "p", 170, STATE_CREATED);
	world_record(w, 100, 110, 150);
	CUT(w, 200, "drop partition a#100/p@150, create partition a#100/p@170");
	CHECK_INT(w->entries[0].partition_id, 110);
	CHECK_INT(w->entries[1].partition_id, 120);
}

TEST(R5_drop_collection_comes_from_its_record)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_load(w, 100, 1, 2);
	put_index(w, 100, 300, 101, "vi", false);
	world_cut(w, 100);
	CHECK(!catalog_pchannel_ending(w->cat, "dml_0"));
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	del_load(w, 100); /* all of it goes with the collection: no release, no drop index */
	put_index(w, 100, 300, 101, "vi", true);
	CUT(w, 200, "");
	CHECK(catalog_pchannel_ending(w->cat, "dml_0"));
	world_record(w, 100, 0, 250);
	world_record(w, 100, 0, 251);
	CUT(w, 300, "drop collection a#100@250");
	CHECK(!catalog_pchannel_ending(w->cat, "dml_0"));
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_DROPPED);
	world_record(w, 100, 0, 350); /* broadcast again after a restart of the source */
	CUT(w, 400, "");
}

TEST(R5_record_that_never_comes_is_derived_after_ten_seconds)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 51);
	put_part(w, 200, 210, "p", 60, STATE_CREATED);
	world_cut(w, 100);
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	put_part(w, 200, 210, "p", 60, STATE_DROPPING);
	CUT(w, 200, "");
	world_now += DROP_WAIT_MS - 1;
	CUT(w, 300, "");
	world_now += 1;
	CUT(w, 400, "drop partition b#200/p@400, drop collection a#100@400");
	world_record(w, 100, 0, 450);
	world_record(w, 200, 210, 450);
	CUT(w, 500, "");
}

TEST(R5_record_in_a_backlog_is_waited_for)
{
	uint8_t clock[8] = {0};
	cdc_ts now = ts_from_ms(5000), late = ts_from_ms(1000);
	uint64_t ns = 5000ull * 1000000;
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	for (int i = 0; i < 8; i++)
		clock[i] = (uint8_t)(ns >> (56 - 8 * i));
	fake_etcd_put(w->etcd, "by-dev/kv/gid/timestamp", clock, 8);
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	CUT(w, late, "");
	world_now += 10 * DROP_WAIT_MS; /* we read what was written before: the record is still ahead */
	CUT(w, late + 1000, "");
	world_record(w, 100, 0, now - 5);
	CHECK(strstr(world_cut(w, now + ts_from_ms(2)), "drop collection a#100@1310719995"));
}

TEST(R5_nothing_live_any_more_ends_with_idle_cuts)
{
	uint8_t clock[8] = {0x18};
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	fake_etcd_put(w->etcd, "by-dev/kv/gid/timestamp", clock, 8);
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	CUT(w, 200, "");
	CHECK(!catalog_pending(w->cat));
	world_now += DROP_WAIT_MS;
	CHECK(catalog_pending(w->cat));
	CUT(w, w->prev + 1, "drop collection a#100@201");
	CHECK(!catalog_pending(w->cat));
}

TEST(R7_created_and_dropped_between_two_fences_is_never_journaled)
{
	WORLD(w);

	world_cut(w, 100);
	make_coll(w, 1, 100, "a", 120);
	put_coll(w, 1, 100, "a", 120, STATE_DROPPING);
	world_record(w, 100, 0, 150);
	CUT(w, 200, "");
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_GONE);
	CHECK(!has_row(w, "coll/100"));
	make_coll(w, 1, 200, "b", 220);
	put_part(w, 200, 210, "p", 230, STATE_DROPPING);
	world_record(w, 200, 210, 240);
	CUT(w, 300, "create collection b#200@220");
	CHECK_INT(catalog_fate(w->cat, 200, 210, NULL, NULL), CATALOG_GONE);
	CHECK_INT(catalog_fate(w->cat, 200, 201, NULL, NULL), CATALOG_LIVE);
}

TEST(R9_same_name_new_id_drops_the_old_first)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	make_coll(w, 1, 200, "a", 170);
	world_record(w, 100, 0, 150);
	CUT(w, 200, "drop collection a#100@150, create collection a#200@170");
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_DROPPED);
	CHECK_INT(catalog_fate(w->cat, 200, 201, NULL, NULL), CATALOG_LIVE);
	CHECK_INT(catalog_id_by_name(w->cat, "default", 7, "a", 1), 200);
}

TEST(R9_same_name_new_id_in_the_narrowest_cut)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	make_coll(w, 1, 200, "a", 99);
	CUT(w, 101, "drop collection a#100@101, create collection a#200@101");
}

/* The source writes the Drop record in the background: its timestamp can be above a new creation's. */
TEST(R9_record_of_the_old_id_after_the_new_one_of_the_same_name)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	make_coll(w, 1, 200, "a", 150);
	world_record(w, 100, 0, 151);
	CUT(w, 200, "drop collection a#100@149, create collection a#200@150");
	CHECK_INT(catalog_fate(w->cat, 200, 201, NULL, NULL), CATALOG_LIVE);
	CHECK_INT(catalog_id_by_name(w->cat, "default", 7, "a", 1), 200);
}

TEST(R9_record_of_a_partition_after_the_new_one_of_the_same_name)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	put_part(w, 100, 110, "p", 60, STATE_CREATED);
	world_cut(w, 100);
	put_part(w, 100, 110, "p", 60, STATE_DROPPING);
	put_part(w, 100, 120, "p", 150, STATE_CREATED);
	world_record(w, 100, 110, 151);
	CUT(w, 200, "drop partition a#100/p@149, create partition a#100/p@150");
	CHECK_INT(w->entries[0].partition_id, 110);
	CHECK_INT(w->entries[1].partition_id, 120);
}

TEST(R9_record_of_a_dropped_databases_collection_after_the_new_database)
{
	WORLD(w);

	put_db(w, 2, "shop", 10, 1);
	make_coll(w, 2, 100, "a", 50);
	world_cut(w, 100);
	put_coll(w, 2, 100, "a", 50, STATE_DROPPING);
	del_db(w, 2);
	put_db(w, 3, "shop", 120, 1);
	make_coll(w, 3, 200, "b", 150);
	world_record(w, 100, 0, 151);
	CUT(w, 200,
	    "drop collection a#100@149, drop database shop#2@149, create database shop#3@149, "
	    "create collection b#200@150");
}

TEST(R9_record_of_the_old_id_in_an_earlier_cut)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	put_coll(w, 1, 100, "a", 50, STATE_DROPPING);
	world_record(w, 100, 0, 150);
	CUT(w, 160, "drop collection a#100@150");
	make_coll(w, 1, 200, "a", 170);
	CUT(w, 200, "create collection a#200@170");
}

TEST(R9_a_renamed_collection_is_not_dropped_for_a_new_one_of_its_old_name)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	put_coll(w, 1, 100, "b", 50, STATE_CREATED);
	CUT(w, 150, "rename collection a#100->default.b@150");
	CHECK_INT(catalog_id_by_name(w->cat, "default", 7, "b", 1), 100);
	CHECK_INT(catalog_id_by_name(w->cat, "default", 7, "a", 1), 0);
	make_coll(w, 1, 200, "a", 170);
	CUT(w, 200, "create collection a#200@170");
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_LIVE);
	CHECK_INT(catalog_id_by_name(w->cat, "default", 7, "a", 1), 200);
	CHECK_INT(catalog_id_by_name(w->cat, "", 0, "b", 1), 100);
}

TEST(database_is_created_before_and_dropped_after_its_collections)
{
	WORLD(w);

	world_cut(w, 100);
	put_db(w, 5, "x", 1, 1);
	CUT(w, 150, "create database x#5@150");
	put_db(w, 6, "y", 1, 1);
	make_coll(w, 6, 100, "a", 160);
	CUT(w, 200, "create database y#6@159, create collection a#100@160");
	put_coll(w, 6, 100, "a", 160, STATE_DROPPING);
	del_db(w, 6);
	del_db(w, 5);
	CUT(w, 300, "drop database x#5@300");
	world_record(w, 100, 0, 350);
	CUT(w, 400, "drop collection a#100@350, drop database y#6@400");
	CHECK(!catalog_pending(w->cat));
}

TEST(a_collection_in_a_dropped_database_is_gone_whatever_it_looks_like)
{
	WORLD(w);

	put_db(w, 5, "x", 1, 1);
	make_coll(w, 5, 100, "a", 50);
	del_db(w, 5);
	CUT(w, 100, "");
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_GONE);
	put_db(w, 6, "y", 1, 1);
	make_coll(w, 6, 200, "b", 150);
	world_cut(w, 200);
	del_db(w, 6);
	CUT(w, 300, "");
	CHECK(catalog_pchannel_ending(w->cat, "dml_1"));
	world_now += DROP_WAIT_MS;
	CUT(w, 400, "drop collection b#200@400, drop database y#6@400");
}

TEST(database_of_the_same_name_new_id)
{
	WORLD(w);

	put_db(w, 5, "x", 1, 1);
	make_coll(w, 5, 100, "a", 50);
	make_coll(w, 5, 102, "b", 51);
	world_cut(w, 100);
	put_coll(w, 5, 100, "a", 50, STATE_DROPPING);
	put_coll(w, 5, 102, "b", 51, STATE_DROPPING);
	del_db(w, 5);
	put_db(w, 9, "x", 2, 1);
	CUT(w, 200, ""); /* waits for the records */
	world_record(w, 100, 0, 250);
	world_record(w, 102, 0,
		     300); /* not even at the watermark itself does a drop come after the database's */
	CUT(w, 300,
	    "drop collection a#100@250, drop collection b#102@300, drop database x#5@300, "
	    "create database x#9@300");
}

TEST(database_of_the_same_name_with_a_collection_does_not_wait)
{
	WORLD(w);

	put_db(w, 5, "x", 1, 1);
	make_coll(w, 5, 100, "a", 50);
	make_coll(w, 5, 102, "b", 51);
	world_cut(w, 100);
	put_coll(w, 5, 100, "a", 50, STATE_DROPPING);
	put_coll(w, 5, 102, "b", 51, STATE_DROPPING);
	del_db(w, 5);
	put_db(w, 9, "x", 2, 1);
	make_coll(w, 9, 200, "a", 190);
	world_record(w, 100, 0, 150);
	world_record(w, 102, 0, 151);
	CUT(w, 200,
	    "drop collection a#100@150, drop collection b#102@151, drop database x#5@189, "
	    "create database x#9@189, create collection a#200@190");
	CUT(w, 300, "");
	CHECK(!has_row(w, "none"));
}

TEST(unwanted_stays_unwanted)
{
	WORLD(w);
	const char *db, *name;

	make_coll(w, 1, 100, "no_a", 50);
	put_db(w, 5, "no_x", 1, 1);
	make_coll(w, 5, 200, "b", 60);
	CUT(w, 100, "");
	CHECK_INT(catalog_fate(w->cat, 100, 101, &db, &name), CATALOG_UNWANTED);
	CHECK_STR(name, "no_a");
	CHECK_INT(catalog_fate(w->cat, 200, 201, &db, &name), CATALOG_UNWANTED);
	CHECK_STR(db, "no_x");
	put_coll(w, 1, 100, "a", 50, STATE_CREATED);
	CUT(w, 200, "");
	world_restart(w);
	CUT(w, 300, "");
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_UNWANTED);
	forget_coll(w, 1, 100);
	CUT(w, 400, "");
	CHECK(!has_row(w, "coll/100"));
}

TEST(a_collection_moved_to_another_database_is_the_same_one)
{
	WORLD(w);

	put_db(w, 5, "x", 1, 1);
	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	tomb_coll(w, 1, 100);
	put_coll(w, 5, 100, "a", 50, STATE_CREATED);
	world_now += DROP_WAIT_MS;
	CUT(w, 200, "rename collection a#100->x.a@200");
	CHECK_INT(catalog_fate(w->cat, 100, 101, NULL, NULL), CATALOG_LIVE);
	CHECK_INT(catalog_id_by_name(w->cat, "x", 1, "a", 1), 100);
}

/* The same source, its keys written in two orders. */
static void fill(struct world *w, bool turned)
{
	for (int n = 0; n < 2; n++) {
		bool first = (n == 0) != turned;

		make_coll(w, 1, first ? 100 : 200, first ? "a" : "b", 50);
	}
	for (int n = 0; n < 2; n++) {
		bool first = (n == 0) != turned;

		put_part(w, 100, first ? 110 : 120, first ? "p" : "q", 60, STATE_CREATED);
		put_index(w, 100, first ? 301 : 302, first ? 100 : 101, first ? "i1" : "i2", false);
		put_load(w, first ? 100 : 200, 1, 1);
	}
}

TEST(R12_the_order_of_etcds_answers_does_not_matter)
{
	for (int turned = 0; turned < 2; turned++) {
		WORLD(w);
		Jr__Ddl *d;

		w->prev = 10;
		fill(w, turned);
		world_fence(w, 300);
		CUT(w, 55,
		    "create collection a#100@50, create collection b#200@50, create index a#100/i1@55, "
		    "create index a#100/i2@55, load a#100@55, load b#200@55");
		d = world_ddl(w, 0);
		CHECK_INT(d->n_partitions, 1);
		jr__ddl__free_unpacked(d, NULL);
		CUT(w, 300, "create partition a#100/p@60, create partition a#100/q@60");
	}
}

TEST_MAIN()
