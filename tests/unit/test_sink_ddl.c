/* SPDX-License-Identifier: Apache-2.0 */
/* DDL onto a target: done once however often it is repeated, and never to what is not ours. */
#include "ddl_fake.h"

#include <cdc/pb.h>

/* --- repeating ----------------------------------------------------------------------------------- */

TEST(R18_every_kind_twice_from_the_same_stored_state)
{
	struct kit *k = fresh();

	ddl_scenario(k, "shop", "c");
	CHECK_INT(fake_count("CreateCollection"), 1);
	CHECK_INT(fake_count("CreatePartition"), 3);
	CHECK_INT(fake_count("CreateIndex"), 3);
	CHECK_INT(fake_count("DropPartition"), 2);
	CHECK_INT(fake_count("DropIndex"), 2);
	CHECK_INT(fake_count("AlterCollection"), 3); /* one change, once more, once more when repeated */
	CHECK_INT(fake_count("RenameCollection"), 1);
	CHECK_INT(fake_count("CreateAlias"), 1);
	CHECK_INT(fake_count("DropAlias"), 1);
	CHECK_INT(fake_count("DropCollection"), 1);
	done_with(k);
}

/* Call N of the whole scenario fails, before or after the target did it; N until no call is left. */
static size_t fail_everywhere(int rc, bool executed)
{
	for (size_t n = 1;; n++) {
		struct kit *k = fresh();

		fake.fail_at = n;
		fake.fail_rc = rc;
		fake.fail_executed = executed;
		ddl_scenario(k, "shop", "c");
		if (fake.calls < n) {
			done_with(k);
			return n;
		}
		CHECKF(fake_count("DropCollection") <= 2, "call %zu", n);
		done_with(k);
	}
}

TEST(R18_target_lost_at_every_call)
{
	CHECK(fail_everywhere(ERR_TARGET_LOST, false) > 60);
}

TEST(R18_answer_lost_at_every_call)
{
	CHECK(fail_everywhere(ERR_TARGET_LOST, true) > 60);
}

TEST(object_is_returned_although_the_map_shows_it_done)
{
	struct kit *k = with_collection("", "c");

	/* applied, but the caller's commit fails and it asks again without a restart */
	CHECK_INT(kit_try(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), false), 0);
	CHECK_INT(k->returned, 1);
	CHECK_INT(kit_try(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true), 0);
	CHECK_INT(k->returned, 1);
	kit_crash(k);
	CHECK(object_map_find(k->map, KIT_ID)->dropped);
	done_with(k);
}

TEST(unmapped_and_dropped_collections_are_left_alone)
{
	static const enum kind kinds[] = {
		KIND_DROP_COLLECTION, KIND_CREATE_PARTITION, KIND_DROP_PARTITION,
		KIND_CREATE_INDEX,    KIND_DROP_INDEX,       KIND_LOAD,
		KIND_RELEASE,         KIND_ALTER_COLLECTION, KIND_RENAME_COLLECTION,
		KIND_CREATE_ALIAS,    KIND_ALTER_ALIAS,      KIND_DROP_ALIAS,
		KIND_ALTER_INDEX,     KIND_LOAD_PARTITIONS,  KIND_RELEASE_PARTITIONS};
	struct kit *k = with_collection("", "c");
	size_t calls;

	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	calls = fake.calls;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		CHECK_INT(kit_try(k, kinds[i], KIT_ID, kit_ddl(k, ""), false), 0);
		CHECK_INT(k->returned, 1);
		CHECK_INT(kit_try(k, kinds[i], KIT_ID + 5, kit_ddl(k, ""), false), 0);
		CHECK_INT(k->returned, 0);
	}
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, "", "c"), false), 0);
	CHECK_INT(fake.calls, calls);
	CHECK(!fake_find("", "c"));
	done_with(k);
}

TEST(flush_is_no_step_of_ddl)
{
	struct kit *k = with_collection("", "c");
	size_t calls = fake.calls;

	CHECK_INT(kit_try(k, KIND_FLUSH, KIT_ID, kit_ddl(k, ""), false), 0);
	CHECK_INT(fake.calls, calls);
	done_with(k);
}

TEST(a_body_that_cannot_be_read_is_journal_damage)
{
	struct kit *k = with_collection("", "c");
	struct entry e = {.kind = KIND_RELEASE,
			  .collection_id = KIT_ID,
			  .body = (const uint8_t *)"\xff\xff",
			  .size = 2};
	struct state_row *o;
	size_t n;

	CHECK_INT(sink_ddl_apply(&k->ddl, &e, 1, k->arena, &o, &n, &k->err), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID + 1, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_CREATE_PARTITION, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_DROP_PARTITION, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_CREATE_INDEX, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_DROP_INDEX, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_RENAME_COLLECTION, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_CREATE_ALIAS, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_DROP_ALIAS, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	for (enum kind kind = KIND_CREATE_USER; kind <= KIND_REVOKE; kind++)
		CHECK_INT(kit_try(k, kind, 0, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	done_with(k);
}

/* --- drops --------------------------------------------------------------------------------------- */

TEST(drop_collection_releases_then_sends_messages_then_drops)
{
	struct kit *k = with_loaded();
	struct pb_reader r;
	struct pb_field f;
	int64_t id = fake_find("", "c")->id;
	bool found = false;

	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECK(strncmp(log_text(), "ReleaseCollection", 17) == 0);
	CHECK_INT(fake_count("ReplicateMessage fake-dml_"), 2);
	CHECK(strstr(log_text(), "ReplicateMessage") < strstr(log_text(), "DropCollection"));
	r = pb_reader(fake.last.data, fake.last.len);
	while (pb_next(&r, &f) > 0)
		found = found || (f.number == 5 && (int64_t)f.value == id);
	CHECK(found);
	done_with(k);
}

TEST(one_drop_message_for_shards_of_one_pchannel)
{
	struct kit *k = fresh();

	fake.pchannels = 1;
	CHECK(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, "", "c"), true) == 0);
	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECK_INT(fake_count("ReplicateMessage"), 1);
	done_with(k);
}

TEST(R25_drop_of_an_old_id_spares_the_new_collection_of_that_name)
{
	struct kit *k = with_collection("", "c");

	forget(fake_find("", "c"));
	milvus_create_collection(k->milvus, "", "c", &(Mv__CollectionSchema)MV__COLLECTION_SCHEMA__INIT, 2, 0,
				 NULL, 0, 0, 1, NULL, &k->err);
	buf_reset(&fake.log);
	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECK_STR(log_text(), "");
	CHECK(fake_find("", "c") != NULL);
	CHECK(object_map_find(k->map, KIT_ID)->dropped);
	done_with(k);
}

TEST(drop_of_a_missing_collection_still_ends_its_consumers)
{
	struct kit *k = with_collection("", "c");

	forget(fake_find("", "c"));
	buf_reset(&fake.log);
	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECK_INT(fake_count("ReplicateMessage"), 2);
	CHECK_INT(fake_count("DropCollection"), 0);
	CHECK(object_map_find(k->map, KIT_ID)->dropped);
	done_with(k);
}

TEST(R25_drop_partition_of_a_loaded_collection)
{
	struct kit *k = with_loaded();

	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK_STR(strstr(log_text(), "Release"),
		  "ReleasePartitions default.c.p\nDropPartition default.c.p\n");
	CHECK_INT(fake_count("ReplicateMessage"), 2);
	CHECK_INT(fake_find("", "c")->load_state, 3);
	CHECK(fake_partition_loaded(fake_find("", "c"), "_default"));
	done_with(k);
}

TEST(R25_a_crash_between_release_and_load_loads_again)
{
	struct kit *k = with_loaded();
	struct fake_collection *c = fake_find("", "c");

	c->load_state = 1; /* released and dropped, then the crash */
	c->partition_count = 1;
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK_INT(c->load_state, 3);
	CHECK_INT(fake_count("DropPartition"), 0);
	done_with(k);
}

TEST(R25_a_released_collection_stays_released)
{
	struct kit *k = with_loaded();

	CHECK(kit_apply(k, KIND_RELEASE, KIT_ID, kit_ddl(k, ""), true) == 0);
	kit_crash(k);
	buf_reset(&fake.log);
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK_INT(fake_count("LoadCollection") + fake_count("ReleaseCollection"), 0);
	CHECK_INT(fake_find("", "c")->load_state, 1);
	done_with(k);
}

TEST(a_collection_loaded_on_the_target_only_is_loaded_again_if_it_can_be)
{
	struct kit *k = with_loaded();
	struct fake_collection *c = fake_find("", "c");

	CHECK(kit_apply(k, KIND_RELEASE, KIT_ID, kit_ddl(k, ""), true) == 0);
	c->load_state = 3;
	c->replicas = 1;
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK_INT(c->load_state, 3);
	k->note[0] = 0;
	CHECK(kit_apply(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK_INT(c->load_state, 1);
	CHECKF(strstr(k->note, "stays released"), "%s", k->note);
	done_with(k);
}

TEST(R25_drop_of_an_old_partition_spares_the_new_one_of_that_name)
{
	struct kit *k = with_loaded();
	struct fake_collection *c = fake_find("", "c");

	c->partition_ids[1] = 77777; /* made anew by somebody on the target */
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK_STR(log_text(), "");
	CHECK_INT(c->partition_count, 2);
	CHECK(target_partition(object_map_find(k->map, KIT_ID), 502)->dropped);
	done_with(k);
}

TEST(R25_a_partition_of_an_older_twin_is_not_taken_over)
{
	struct kit *k = with_loaded();

	CHECK_INT(kit_try(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 503, "p"), false),
		  -ERR_TARGET_REFUSED);
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 503, "p"), true) == 0);
	CHECK_INT(target_partition(object_map_find(k->map, KIT_ID), 503)->target_id,
		  fake_find("", "c")->partition_ids[1]);
	done_with(k);
}

TEST(steps_that_need_a_twin_say_that_it_is_gone)
{
	struct kit *k = with_loaded();

	forget(fake_find("", "c"));
	CHECK_INT(kit_try(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 504, "q"), false),
		  -ERR_TARGET_REFUSED);
	CHECK_INT(kit_try(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), false),
		  -ERR_TARGET_REFUSED);
	CHECK_INT(kit_try(k, KIND_LOAD, KIT_ID, kit_load(k, "", 1), false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "default.c") && strstr(k->err.text, "dropped there"), "%s", k->err.text);
	CHECK_INT(kit_try(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), false), 0);
	CHECK_INT(kit_try(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), false), 0);
	CHECK_INT(kit_try(k, KIND_RELEASE, KIT_ID, kit_ddl(k, ""), false), 0);
	done_with(k);
}

/* Else the whole task would wait, and with it the replay of the hold that it waits for. */
TEST(R23_a_database_that_holds_a_collection_on_hold_stays)
{
	struct kit *k = with_collection("shop", "held");

	CHECKF(kit_try(k, KIND_DROP_DATABASE, 0, kit_ddl(k, "shop"), false) == 0, "%s", k->err.text);
	CHECK(fake_has_db("shop") && fake_find("shop", "held"));
	CHECKF(strstr(k->note, "on hold"), "%s", k->note);
	done_with(k);
}

TEST(a_database_with_foreign_collections_is_not_dropped)
{
	struct kit *k = with_collection("shop", "ours");

	CHECK(milvus_create_collection(k->milvus, "shop", "theirs",
				       &(Mv__CollectionSchema)MV__COLLECTION_SCHEMA__INIT, 2, 0, NULL, 0, 0,
				       1, NULL, &k->err) == 0);
	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_named(k, "shop", "ours"), true) == 0);
	CHECK_INT(kit_try(k, KIND_DROP_DATABASE, 0, kit_ddl(k, "shop"), false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "theirs"), "%s", k->err.text);
	CHECK(fake_has_db("shop"));
	CHECK_INT(kit_try(k, KIND_DROP_DATABASE, 0, kit_ddl(k, "nothing"), false), 0);
	done_with(k);
}

TEST_MAIN()
