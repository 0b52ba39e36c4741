/* SPDX-License-Identifier: Apache-2.0 */
/* Users, roles and privileges onto a target: nothing of it ever stops rows. */
#include "ddl_fake.h"

TEST(R18_every_kind_twice)
{
	struct kit *k = fresh();

	access_scenario(k, "u", "r", "default");
	CHECK_INT(fake_count("CreateCredential"), 1);
	CHECK_INT(fake_count("CreateRole"), 1);
	CHECK_INT(fake_count("OperateUserRole add"), 1);
	CHECK_INT(fake_count("OperateUserRole remove"), 1);
	CHECK_INT(fake_count("DropRole"), 1);
	CHECK_INT(fake_count("DeleteCredential"), 1);
	CHECK_INT(fake_access_count(FAKE_NOTHING), FAKE_ACCESS);
	done_with(k);
}

static size_t fail_everywhere(bool executed)
{
	for (size_t n = 1;; n++) {
		struct kit *k = fresh();

		fake.fail_at = n;
		fake.fail_rc = ERR_TARGET_LOST;
		fake.fail_executed = executed;
		access_scenario(k, "u", "r", "default");
		if (fake.calls < n) {
			done_with(k);
			return n;
		}
		done_with(k);
	}
}

TEST(R18_target_and_answer_lost_at_every_call)
{
	CHECK(fail_everywhere(false) > 30);
	CHECK(fail_everywhere(true) > 30);
}

TEST(a_user_gets_a_password_that_is_told_to_nobody)
{
	char first[sizeof(fake.password)];
	struct kit *k = fresh();

	CHECK(kit_apply(k, KIND_CREATE_USER, 0, kit_access(k, "anna", ""), true) == 0);
	CHECK_INT(strlen(fake.password), 48);
	CHECKF(strstr(k->note, "user anna") && strstr(k->note, "set its password"), "%s", k->note);
	CHECK(!strstr(k->note, fake.password));
	snprintf(first, sizeof(first), "%s", fake.password);
	CHECK(kit_apply(k, KIND_CREATE_USER, 0, kit_access(k, "bert", ""), true) == 0);
	CHECK(!STREQ(first, fake.password));
	done_with(k);
}

TEST(an_existing_user_is_left_as_it_is)
{
	struct kit *k = fresh();

	CHECK(milvus_create_user(k->milvus, "anna", "secret7", 1, NULL, &k->err) == 0);
	CHECK(kit_apply(k, KIND_CREATE_USER, 0, kit_access(k, "anna", ""), true) == 0);
	CHECK_STR(fake.password, "secret7");
	CHECKF(strstr(k->note, "keeps its password"), "%s", k->note);
	done_with(k);
}

TEST(built_in_users_and_roles_are_neither_made_nor_dropped)
{
	static const char *const roles[] = {"admin", "public"};
	struct kit *k = fresh();

	CHECK(kit_apply(k, KIND_CREATE_USER, 0, kit_access(k, "root", ""), true) == 0);
	CHECK(kit_apply(k, KIND_DROP_USER, 0, kit_access(k, "root", ""), true) == 0);
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		CHECK(kit_apply(k, KIND_CREATE_ROLE, 0, kit_access(k, "", roles[i]), true) == 0);
		CHECK(kit_apply(k, KIND_DROP_ROLE, 0, kit_access(k, "", roles[i]), true) == 0);
	}
	CHECK_INT(fake.calls, 0);
	CHECK_STR(k->note, "");
	done_with(k);
}

TEST(a_dropped_role_loses_what_it_may_do_in_every_database)
{
	struct kit *k = fresh();

	CHECK(kit_apply(k, KIND_CREATE_DATABASE, 0, kit_ddl(k, "shop"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_ROLE, 0, kit_access(k, "", "r"), true) == 0);
	CHECK(kit_apply(k, KIND_GRANT, 0, kit_grant(k, "r", "Collection", "shop", "c", "Insert"), true) == 0);
	CHECK(kit_apply(k, KIND_GRANT, 0, kit_grant(k, "r", "Collection", "*", "*", "Query"), true) == 0);
	CHECK(kit_apply(k, KIND_GRANT, 0, kit_grant(k, "r", "Global", "default", "*", "*"), true) == 0);
	CHECK_INT(fake_access_count(FAKE_GRANT), 3);
	CHECK(kit_apply(k, KIND_DROP_ROLE, 0, kit_access(k, "", "r"), true) == 0);
	CHECK_STR(k->note, "");
	CHECK(!fake_role("r"));
	CHECK_INT(fake_access_count(FAKE_GRANT), 0);
	done_with(k);
}

TEST(what_is_refused_is_a_note_and_never_an_error)
{
	struct kit *k = fresh();

	CHECK(kit_apply(k, KIND_ADD_USER_TO_ROLE, 0, kit_access(k, "nobody", "r"), true) == 0);
	CHECKF(strstr(k->note, "add user to role (nobody, role r)"), "%s", k->note);
	CHECK(kit_apply(k, KIND_GRANT, 0, kit_grant(k, "none", "Collection", "", "c", "Insert"), true) == 0);
	CHECKF(strstr(k->note, "grant (role none"), "%s", k->note);
	fake.denied = true;
	k->note[0] = 0;
	CHECK_INT(kit_apply(k, KIND_CREATE_USER, 0, kit_access(k, "anna", ""), true), 0);
	CHECKF(strstr(k->note, "permission denied"), "%s", k->note);
	done_with(k);
}

TEST(a_login_that_is_refused_altogether_is_waited_for)
{
	struct kit *k = fresh();

	fake.no_login = true;
	CHECK_INT(kit_apply(k, KIND_CREATE_USER, 0, kit_access(k, "anna", ""), true), -ERR_TARGET_AUTH);
	CHECK_STR(k->note, "");
	done_with(k);
}

TEST(grants_follow_the_name_map)
{
	struct name_map_item items[] = {
		{(char *)"shop", (char *)"c", (char *)"mart", (char *)"d"},
		{(char *)"shop", (char *)"*", (char *)"store", (char *)"*"},
	};
	struct name_map names = {items, 2};
	struct kit *k = fresh();

	k->ddl.names = &names;
	CHECK(kit_apply(k, KIND_CREATE_ROLE, 0, kit_access(k, "", "r"), true) == 0);
	buf_reset(&fake.log);
	CHECK(kit_apply(k, KIND_GRANT, 0, kit_grant(k, "r", "Collection", "shop", "c", "Insert"), true) == 0);
	CHECK(kit_apply(k, KIND_GRANT, 0, kit_grant(k, "r", "Collection", "shop", "*", "Insert"), true) == 0);
	CHECK(kit_apply(k, KIND_GRANT, 0, kit_grant(k, "r", "Global", "*", "*", "*"), true) == 0);
	CHECK_STR(log_text(), "OperatePrivilege grant r Insert mart.d\n"
			      "OperatePrivilege grant r Insert store.*\n"
			      "OperatePrivilege grant r * *.*\n");
	done_with(k);
}

TEST_MAIN()
