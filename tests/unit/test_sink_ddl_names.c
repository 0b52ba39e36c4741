/* SPDX-License-Identifier: Apache-2.0 */
/* DDL under a name map, and onto ordinary targets. */
#include "ddl_fake.h"

#define OTHER_ID (KIT_ID + 1)

/* default.c -> mart.d; all of shop -> mart; all of west -> mart, too */
static struct name_map_item items[] = {
	{(char *)"", (char *)"c", (char *)"mart", (char *)"d"},
	{(char *)"shop", (char *)"*", (char *)"mart", (char *)"*"},
	{(char *)"west", (char *)"*", (char *)"mart", (char *)"*"},
};
static struct name_map names = {items, ARRAY_LEN(items)};

static struct kit *mapped(void)
{
	struct kit *k = fresh();

	k->ddl.names = &names;
	return k;
}

static int create(struct kit *k, int64_t id, const char *db, const char *name)
{
	return kit_apply(k, KIND_CREATE_COLLECTION, id, kit_collection(k, db, name), true);
}

TEST(a_mapped_collection_is_known_by_its_targets_name_from_then_on)
{
	struct kit *k = mapped();

	CHECKF(create(k, KIT_ID, "", "c") == 0, "%s", k->err.text);
	CHECK(fake_has_db("mart")); /* made when it is first needed */
	CHECK(fake_find("mart", "d") && !fake_find("", "c"));
	CHECK_STR(fake_find("mart", "d")->schema->name, "d");
	CHECK_STR(object_map_find(k->map, KIT_ID)->source_name, "c");
	kit_crash(k);
	CHECK(kit_apply(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK(kit_apply(k, KIND_LOAD, KIT_ID, kit_load(k, "", 1), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_ALIAS, KIT_ID, kit_alias(k, "", "c", "al"), true) == 0);
	CHECK_STR(fake_alias_of("mart", "al"), "d");
	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_named(k, "", "c"), true) == 0);
	CHECK(!fake_find("mart", "d"));
	done_with(k);
}

TEST(databases_are_mapped)
{
	struct kit *k = mapped();

	CHECK(kit_apply(k, KIND_CREATE_DATABASE, 0, kit_ddl(k, "shop"), true) == 0);
	CHECK(fake_has_db("mart") && !fake_has_db("shop"));
	CHECK(create(k, KIT_ID, "shop", "x") == 0);
	CHECK(fake_find("mart", "x"));
	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_named(k, "shop", "x"), true) == 0);
	CHECK(kit_apply(k, KIND_DROP_DATABASE, 0, kit_ddl(k, "shop"), true) == 0);
	CHECK(!fake_has_db("mart"));
	done_with(k);
}

TEST(a_database_that_others_are_mapped_into_stays)
{
	struct kit *k = mapped();

	CHECK(create(k, KIT_ID, "", "c") == 0);
	CHECK_INT(kit_try(k, KIND_DROP_DATABASE, 0, kit_ddl(k, "shop"), false), 0);
	CHECK(fake_has_db("mart"));
	CHECKF(strstr(k->note, "database mart on the target stays"), "%s", k->note);
	done_with(k);
}

TEST(a_mapped_database_with_foreign_collections_is_refused_with_both_names)
{
	struct kit *k = mapped();

	CHECK(kit_apply(k, KIND_CREATE_DATABASE, 0, kit_ddl(k, "shop"), true) == 0);
	CHECK(milvus_create_collection(k->milvus, "mart", "theirs",
				       &(Mv__CollectionSchema)MV__COLLECTION_SCHEMA__INIT, 2, 0, NULL, 0, 0,
				       1, NULL, &k->err) == 0);
	CHECK_INT(kit_try(k, KIND_DROP_DATABASE, 0, kit_ddl(k, "shop"), false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "shop.* of the source, mart.* on the target") &&
		       strstr(k->err.text, "theirs"),
	       "%s", k->err.text);
	done_with(k);
}

TEST(a_schema_that_differs_is_told_with_both_names)
{
	struct kit *k = mapped();
	Jr__Ddl *d;

	CHECK(create(k, KIT_ID, "", "c") == 0);
	object_map_free(k->map);
	k->map = k->ddl.map = object_map_new();
	d = kit_collection(k, "", "c");
	d->collection->schema->fields[1]->type_params[0]->value = (char *)"8";
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false), -ERR_TARGET_SCHEMA);
	CHECKF(strstr(k->err.text, "default.c of the source, mart.d on the target") &&
		       strstr(k->err.text, "dim is 8, on the target 4"),
	       "%s", k->err.text);
	done_with(k);
}

TEST(the_second_of_two_sources_onto_one_name_is_refused)
{
	struct kit *k = mapped();

	CHECK(create(k, KIT_ID, "shop", "x") == 0);
	CHECK_INT(create(k, OTHER_ID, "west", "x"), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "shop.x (ID 450000000000000001)") &&
		       strstr(k->err.text, "west.x of the source"),
	       "%s", k->err.text);
	CHECK(create(k, OTHER_ID, "west", "y") == 0);
	CHECK_INT(kit_apply(k, KIND_RENAME_COLLECTION, OTHER_ID, kit_rename(k, "west", "y", "", "x"), true),
		  -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "shop.x"), "%s", k->err.text);
	CHECK(fake_find("mart", "y") && fake_find("mart", "x"));
	done_with(k);
}

TEST(a_rename_gives_what_the_map_makes_of_the_new_name)
{
	struct kit *k = mapped();

	CHECK(create(k, KIT_ID, "", "c") == 0);
	CHECKF(kit_apply(k, KIND_RENAME_COLLECTION, KIT_ID, kit_rename(k, "", "c", "", "e"), true) == 0, "%s",
	       k->err.text);
	CHECK(fake_find("", "e") && !fake_find("mart", "d")); /* the map names c only */
	CHECK(kit_apply(k, KIND_RENAME_COLLECTION, KIT_ID, kit_rename(k, "", "e", "", "c"), true) == 0);
	CHECK(fake_find("mart", "d") && !fake_find("", "e"));
	done_with(k);
}

TEST(a_rename_that_the_map_undoes_changes_nothing_on_the_target)
{
	struct name_map_item one = {(char *)"", (char *)"c", (char *)"", (char *)"d"};
	struct name_map map = {&one, 1};
	struct kit *k = fresh();

	k->ddl.names = &map;
	CHECK(create(k, KIT_ID, "", "c") == 0);
	buf_reset(&fake.log);
	CHECK(kit_apply(k, KIND_RENAME_COLLECTION, KIT_ID, kit_rename(k, "", "c", "", "d"), true) == 0);
	CHECK_STR(log_text(), "");
	CHECK_STR(object_map_find(k->map, KIT_ID)->source_name, "d");
	done_with(k);
}

TEST(an_alias_that_moves_leaves_the_database_that_the_map_gave_it)
{
	struct kit *k = mapped();

	CHECK(create(k, KIT_ID, "", "c") == 0); /* mart.d */
	CHECK(create(k, OTHER_ID, "", "e") == 0);
	CHECK(kit_apply(k, KIND_CREATE_ALIAS, KIT_ID, kit_alias(k, "", "c", "al"), true) == 0);
	CHECK_STR(fake_alias_of("mart", "al"), "d");
	CHECK(kit_apply(k, KIND_ALTER_ALIAS, OTHER_ID, kit_alias(k, "", "e", "al"), true) == 0);
	CHECK_STR(fake_alias_of("mart", "al"), "");
	CHECK_STR(fake_alias_of("", "al"), "e");
	done_with(k);
}

/* --- ordinary targets ---------------------------------------------------------------------------- */

TEST(R28_an_ordinary_target_keeps_the_sources_ids)
{
	struct kit *k = fresh();
	Jr__Ddl *d = kit_collection(k, "", "c");

	k->ddl.plain = true;
	k->ddl.send = NULL;
	d->collection->schema->auto_id = true;
	d->collection->schema->fields[0]->auto_id = true;
	CHECKF(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, d, true) == 0, "%s", k->err.text);
	CHECK(!fake_find("", "c")->schema->fields[0]->auto_id);
	CHECK(!fake_find("", "c")->schema->auto_id);
	kit_crash(k);
	CHECK(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, d, true) == 0); /* a repeat finds it well */
	CHECK_INT(object_map_find(k->map, KIT_ID)->channel_count, 0);
	done_with(k);
}

TEST(R28_a_collection_that_makes_its_own_ids_is_not_adopted)
{
	struct kit *k = fresh();
	Jr__Ddl *d = kit_collection(k, "", "c");

	d->collection->schema->fields[0]->auto_id = true;
	CHECK(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, d, true) == 0);
	object_map_free(k->map);
	k->map = k->ddl.map = object_map_new();
	k->ddl.plain = true;
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false), -ERR_TARGET_SCHEMA);
	CHECKF(strstr(k->err.text, "is no autoID, on the target it is"), "%s", k->err.text);
	done_with(k);
}

TEST(R28_shards_of_an_ordinary_target_are_its_own)
{
	struct kit *k = with_collection("", "c");
	Jr__Ddl *d = kit_collection(k, "", "c");

	object_map_free(k->map);
	k->map = k->ddl.map = object_map_new();
	d->collection->shards_num = 1;
	d->collection->n_virtual_channel_names = 1;
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false), -ERR_TARGET_SCHEMA);
	k->ddl.plain = true;
	CHECKF(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, true) == 0, "%s", k->err.text);
	done_with(k);
}

TEST(R28_no_drop_messages_to_an_ordinary_target)
{
	struct kit *k = fresh();

	k->ddl.plain = true;
	k->ddl.send = NULL;
	CHECK(create(k, KIT_ID, "", "c") == 0);
	CHECK(kit_apply(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECK_INT(fake_count("ReplicateMessage"), 0);
	CHECK_INT(fake_count("DropPartition") + fake_count("DropCollection"), 2);
	done_with(k);
}

TEST_MAIN()
