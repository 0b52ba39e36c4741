/* SPDX-License-Identifier: Apache-2.0 */
/* Renames, aliases and properties onto a target: by ID, and never at the cost of what is not ours. */
#include "ddl_fake.h"

#define OTHER_ID (KIT_ID + 1)

static int create(struct kit *k, int64_t id, const char *db, const char *name)
{
	return kit_apply(k, KIND_CREATE_COLLECTION, id, kit_collection(k, db, name), true);
}

static int rename_to(struct kit *k, int64_t id, const char *name, const char *to)
{
	return kit_apply(k, KIND_RENAME_COLLECTION, id, kit_rename(k, "", name, "", to), true);
}

static int alias(struct kit *k, enum kind kind, int64_t id, const char *name)
{
	return kit_apply(k, kind, id, kit_alias(k, "", "", name), true);
}

/* Not made by the task. */
static void foreign(struct kit *k, const char *db, const char *name)
{
	CHECK(milvus_create_collection(k->milvus, db, name,
				       &(Mv__CollectionSchema)MV__COLLECTION_SCHEMA__INIT, 2, 0, NULL, 0, 0,
				       1, NULL, &k->err) == 0);
	buf_reset(&fake.log);
}

/* --- renames ------------------------------------------------------------------------------------- */

TEST(R18_a_rename_whose_answer_was_lost_is_done)
{
	struct kit *k = with_collection("", "a");
	int64_t id = fake_find("", "a")->id;

	CHECK(milvus_rename_collection(k->milvus, "", "a", "", "b", 1, NULL, &k->err) == 0);
	buf_reset(&fake.log);
	CHECKF(rename_to(k, KIT_ID, "a", "b") == 0, "%s", k->err.text);
	CHECK_STR(log_text(), "");
	kit_crash(k);
	CHECK_STR(object_map_find(k->map, KIT_ID)->name, "b");
	CHECK_STR(object_map_find(k->map, KIT_ID)->source_name, "b");
	CHECK_INT(fake_find("", "b")->id, id);
	done_with(k);
}

TEST(R18_a_creation_told_again_after_a_rename_makes_nothing)
{
	struct kit *k = with_collection("", "a");

	CHECK(rename_to(k, KIT_ID, "a", "b") == 0);
	buf_reset(&fake.log);
	CHECK(create(k, KIT_ID, "", "a") == 0);
	CHECK_STR(log_text(), "");
	CHECK_STR(object_map_find(k->map, KIT_ID)->name, "b");
	done_with(k);
}

TEST(R9_two_names_swapped_in_one_cut)
{
	struct kit *k = with_collection("", "a");
	int64_t a, b;

	CHECK(create(k, OTHER_ID, "", "b") == 0);
	a = fake_find("", "a")->id;
	b = fake_find("", "b")->id;
	CHECKF(rename_to(k, KIT_ID, "a", "b") == 0, "%s", k->err.text);
	CHECK_INT(k->returned, 2);
	kit_crash(k);
	CHECKF(rename_to(k, OTHER_ID, "b", "a") == 0, "%s", k->err.text);
	CHECK_INT(k->returned, 1);
	CHECK_INT(fake_find("", "b")->id, a);
	CHECK_INT(fake_find("", "a")->id, b);
	CHECK_STR(object_map_find(k->map, OTHER_ID)->name, "a");
	done_with(k);
}

/* Call N of both renames fails, before or after it was done, and the process starts anew each time. */
static void swap_with_failures(bool executed)
{
	for (size_t n = 1;; n++) {
		struct kit *k = with_collection("", "a");
		int64_t a = fake_find("", "a")->id, b;

		CHECK(create(k, OTHER_ID, "", "b") == 0);
		b = fake_find("", "b")->id;
		fake.calls = 0;
		fake.fail_at = n;
		fake.fail_rc = ERR_TARGET_LOST;
		fake.fail_executed = executed;
		CHECKF(rename_to(k, KIT_ID, "a", "b") == 0, "call %zu: %s", n, k->err.text);
		kit_crash(k);
		CHECKF(rename_to(k, OTHER_ID, "b", "a") == 0, "call %zu: %s", n, k->err.text);
		CHECK_INT(fake_find("", "b")->id, a);
		CHECK_INT(fake_find("", "a")->id, b);
		if (fake.calls < n) {
			CHECK(n > 6);
			done_with(k);
			return;
		}
		done_with(k);
	}
}

TEST(R18_names_swapped_with_the_target_lost_at_every_call)
{
	swap_with_failures(false);
	swap_with_failures(true);
}

TEST(a_rename_to_a_foreign_name_is_refused_in_words)
{
	struct kit *k = with_collection("", "a");

	foreign(k, "", "b");
	CHECK_INT(rename_to(k, KIT_ID, "a", "b"), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "default.b") && strstr(k->err.text, "did not make"), "%s", k->err.text);
	CHECK_STR(log_text(), "");
	CHECK_STR(object_map_find(k->map, KIT_ID)->name, "a");
	forget(fake_find("", "b"));
	CHECK_INT(rename_to(k, KIT_ID, "a", "b"), 0);
	done_with(k);
}

TEST(R25_a_rename_of_a_collection_that_is_gone_spares_the_one_of_its_name)
{
	struct kit *k = with_collection("", "a");

	forget(fake_find("", "a"));
	foreign(k, "", "a");
	CHECK_INT(rename_to(k, KIT_ID, "a", "b"), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "is gone"), "%s", k->err.text);
	CHECK_STR(log_text(), "");
	done_with(k);
}

TEST(a_rename_to_another_database_makes_it_and_drops_aliases)
{
	struct kit *k = with_collection("", "a");

	CHECK(alias(k, KIND_CREATE_ALIAS, KIT_ID, "al") == 0);
	CHECKF(kit_apply(k, KIND_RENAME_COLLECTION, KIT_ID, kit_rename(k, "", "a", "shop", "a"), true) == 0,
	       "%s", k->err.text);
	CHECK(fake_find("shop", "a") && !fake_find("", "a"));
	CHECK_STR(fake_alias_of("", "al"), "");
	CHECK_STR(object_map_find(k->map, KIT_ID)->db, "shop");
	CHECK_STR(object_map_find(k->map, KIT_ID)->source_db, "shop");
	done_with(k);
}

TEST(a_rename_takes_the_name_of_an_alias_of_ours)
{
	struct kit *k = with_collection("", "a");

	CHECK(create(k, OTHER_ID, "", "b") == 0);
	CHECK(alias(k, KIND_CREATE_ALIAS, OTHER_ID, "live") == 0);
	CHECKF(rename_to(k, KIT_ID, "a", "live") == 0, "%s", k->err.text);
	CHECK(fake_find("", "live"));
	/* its drop comes after it in the same cut and finds a collection */
	CHECK(alias(k, KIND_DROP_ALIAS, OTHER_ID, "live") == 0);
	CHECK(fake_find("", "live"));
	done_with(k);
}

TEST(a_collection_is_created_under_the_name_of_an_alias_of_ours)
{
	struct kit *k = with_collection("", "a");

	CHECK(alias(k, KIND_CREATE_ALIAS, KIT_ID, "c") == 0);
	CHECKF(create(k, OTHER_ID, "", "c") == 0, "%s", k->err.text);
	CHECK_INT(object_map_find(k->map, OTHER_ID)->target_id, fake_find("", "c")->id);
	done_with(k);
}

TEST(a_collection_under_the_name_of_a_foreign_alias_is_refused)
{
	struct kit *k = fresh();

	foreign(k, "", "theirs");
	CHECK(milvus_create_alias(k->milvus, "", "theirs", "c", 1, NULL, &k->err) == 0);
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, "", "c"), false),
		  -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "alias of collection theirs"), "%s", k->err.text);
	CHECK_STR(fake_alias_of("", "c"), "theirs");
	done_with(k);
}

TEST(R9_a_name_of_another_live_collection_is_refused_until_that_is_renamed)
{
	struct kit *k = with_collection("", "c");

	CHECK_INT(create(k, OTHER_ID, "", "c"), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "450000000000000001") && strstr(k->err.text, "rename"), "%s", k->err.text);
	CHECK(rename_to(k, KIT_ID, "c", "old") == 0);
	CHECKF(create(k, OTHER_ID, "", "c") == 0, "%s", k->err.text);
	CHECK(fake_find("", "c")->id != fake_find("", "old")->id);
	done_with(k);
}

/* --- aliases ------------------------------------------------------------------------------------- */

TEST(R18_aliases_are_made_moved_and_dropped_once)
{
	struct kit *k = with_collection("", "a");

	CHECK(create(k, OTHER_ID, "", "b") == 0);
	buf_reset(&fake.log);
	for (int i = 0; i < 2; i++)
		CHECK(alias(k, KIND_CREATE_ALIAS, KIT_ID, "al") == 0);
	for (int i = 0; i < 2; i++)
		CHECK(alias(k, KIND_ALTER_ALIAS, OTHER_ID, "al") == 0);
	CHECK_STR(fake_alias_of("", "al"), "b");
	CHECK(alias(k, KIND_DROP_ALIAS, KIT_ID, "al") == 0); /* of where it does not point any more */
	CHECK_STR(fake_alias_of("", "al"), "b");
	for (int i = 0; i < 2; i++)
		CHECK(alias(k, KIND_DROP_ALIAS, OTHER_ID, "al") == 0);
	CHECK_STR(log_text(), "CreateAlias default.a al\nAlterAlias default.b al\nDropAlias default.al\n");
	done_with(k);
}

TEST(an_altered_alias_that_is_missing_is_made)
{
	struct kit *k = with_collection("", "a");

	CHECK(alias(k, KIND_ALTER_ALIAS, KIT_ID, "al") == 0);
	CHECK_STR(fake_alias_of("", "al"), "a");
	done_with(k);
}

TEST(R26_an_alias_of_a_foreign_collection_is_left_alone)
{
	struct kit *k = with_collection("", "a");

	foreign(k, "", "theirs");
	CHECK(milvus_create_alias(k->milvus, "", "theirs", "al", 1, NULL, &k->err) == 0);
	CHECK_INT(alias(k, KIND_CREATE_ALIAS, KIT_ID, "al"), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "collection theirs"), "%s", k->err.text);
	CHECK_INT(alias(k, KIND_ALTER_ALIAS, KIT_ID, "al"), -ERR_TARGET_REFUSED);
	CHECK_INT(alias(k, KIND_DROP_ALIAS, KIT_ID, "al"), 0);
	CHECK_STR(fake_alias_of("", "al"), "theirs");
	done_with(k);
}

TEST(an_alias_with_the_name_of_a_collection_is_refused_in_words)
{
	struct kit *k = with_collection("", "a");

	foreign(k, "", "al");
	CHECK_INT(alias(k, KIND_CREATE_ALIAS, KIT_ID, "al"), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "has a collection default.al"), "%s", k->err.text);
	CHECK_INT(alias(k, KIND_DROP_ALIAS, KIT_ID, "al"), 0);
	CHECK(fake_find("", "al"));
	done_with(k);
}

/* --- properties ---------------------------------------------------------------------------------- */

TEST(properties_are_set_where_they_differ)
{
	static const char *const now[] = {"collection.ttl.seconds", "86400", "mmap.enabled", "true", NULL};
	struct kit *k = with_collection("", "a");

	buf_reset(&fake.log);
	for (int i = 0; i < 2; i++)
		CHECK(kit_apply(k, KIND_ALTER_COLLECTION, KIT_ID, kit_properties(k, "", now, NULL), true) ==
		      0);
	CHECK_INT(fake_count("AlterCollection"), 3); /* one change, once more, once more when repeated */
	CHECK_STR(fake_property(fake_find("", "a"), "mmap.enabled"), "true");
	CHECK(kit_apply(k, KIND_ALTER_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0); /* none at all */
	CHECK_INT(fake_count("AlterCollection"), 3);
	done_with(k);
}

/* Wherever a crash comes between: call n / 2 is the last one before it, done or not. */
TEST(properties_outlive_a_restart_of_the_target)
{
	static const char *const now[] = {"collection.ttl.seconds", "3600", NULL};

	for (size_t n = 2; n < 12; n++) {
		struct kit *k = with_collection("", "a");

		fake.fail_at = fake.calls + n / 2;
		fake.fail_rc = ERR_TARGET_LOST;
		fake.fail_executed = n % 2;
		CHECK(kit_apply(k, KIND_ALTER_COLLECTION, KIT_ID, kit_properties(k, "", now, NULL), true) ==
		      0);
		CHECK_STR(fake_property(fake_find("", "a"), "collection.ttl.seconds"), "3600");
		CHECKF(!fake_find("", "a")->unsaved, "after call %zu", n / 2);
		done_with(k);
	}
}

TEST(a_property_that_cannot_be_removed_is_a_note)
{
	static const char *const none[] = {NULL};
	struct kit *k = with_collection("", "a");
	Jr__Ddl *d = kit_properties(k, "", none, "collection.ttl.seconds");

	CHECKF(kit_apply(k, KIND_ALTER_COLLECTION, KIT_ID, d, true) == 0, "%s", k->err.text);
	CHECKF(strstr(k->note, "keeps its property collection.ttl.seconds"), "%s", k->note);
	k->note[0] = 0;
	fake.newer = true;
	CHECK(kit_apply(k, KIND_ALTER_COLLECTION, KIT_ID, d, true) == 0);
	CHECK(!fake_property(fake_find("", "a"), "collection.ttl.seconds"));
	CHECK_STR(k->note, "");
	done_with(k);
}

TEST(properties_of_databases_and_indexes_are_notes_where_unknown)
{
	static const char *const now[] = {"database.replica.number", "2", NULL};
	struct kit *k = with_loaded();
	Jr__Ddl *x = kit_index(k, "", "v", "ix");

	CHECK(kit_apply(k, KIND_ALTER_DATABASE, 0, kit_properties(k, "shop", now, NULL), true) == 0);
	CHECKF(strstr(k->note, "database shop keeps"), "%s", k->note);
	x->index->user_index_params[x->index->n_user_index_params++] = kit_kv(k, "mmap.enabled", "true");
	k->note[0] = 0;
	CHECK(kit_apply(k, KIND_ALTER_INDEX, KIT_ID, x, true) == 0);
	CHECKF(strstr(k->note, "index ix of default.c keeps"), "%s", k->note);
	fake.newer = true;
	k->note[0] = 0;
	for (int i = 0; i < 2; i++)
		CHECK(kit_apply(k, KIND_ALTER_INDEX, KIT_ID, x, true) == 0);
	CHECK_STR(k->note, "");
	CHECK_INT(fake_count("AlterIndex"), 1);
	CHECK(kit_apply(k, KIND_ALTER_DATABASE, 0, kit_properties(k, "shop", now, NULL), true) == 0);
	CHECK_INT(fake_count("AlterDatabase shop"), 1);
	done_with(k);
}

TEST_MAIN()
