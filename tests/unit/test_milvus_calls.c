/* SPDX-License-Identifier: Apache-2.0 */
/* RPCs of the target that not every server knows, and those for users, roles and privileges. */
#include "grpc_script.h"

/* --- calls that not every server knows ----------------------------------------------------------- */

TEST(a_call_that_the_server_does_not_know_is_refused_for_good)
{
	static const int unknown[] = {12, 13};
	struct milvus *m = fresh(NULL);
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
		will_fail_with(FAIL_LOST, unknown[i]);
		CHECK_INT(milvus_alter_index(m, "", "c", "ix", NULL, 0, 1, NULL, &err), -ERR_TARGET_REFUSED);
		CHECK_INT(err.code, ERR_TARGET_REFUSED);
		will_fail_with(FAIL_LOST, unknown[i]);
		CHECK_INT(milvus_alter_database(m, "", NULL, 0, 1, NULL, &err), -ERR_TARGET_REFUSED);
	}
	will_fail_with(FAIL_LOST, 14);
	CHECK_INT(milvus_alter_index(m, "", "c", "ix", NULL, 0, 1, NULL, &err), -ERR_TARGET_LOST);
	done_with(m);
}

static void will_tell_version(void)
{
	Mv__GetVersionResponse v = MV__GET_VERSION_RESPONSE__INIT;

	v.version = (char *)"2.3.5";
	will_answer(&v.base);
}

TEST(a_reset_stream_of_a_server_that_answers_all_else_is_a_refusal)
{
	struct milvus *m = fresh(NULL);
	struct err err;

	for (int i = 0; i < 2; i++) {
		will_fail(FAIL_LOST);
		will_tell_version();
	}
	CHECK_INT(milvus_alter_database(m, "", NULL, 0, 1, NULL, &err), -ERR_TARGET_REFUSED);
	CHECKF(strstr(err.text, "2.3.5") && strstr(err.text, "does not know"), "%s", err.text);
	will_fail(FAIL_LOST);
	will_fail(FAIL_LOST);
	CHECK_INT(milvus_alter_database(m, "", NULL, 0, 1, NULL, &err), -ERR_TARGET_LOST);
	will_fail(FAIL_LOST); /* away for a moment only */
	will_tell_version();
	will_say(0, 0, "");
	CHECK_INT(milvus_alter_database(m, "", NULL, 0, 1, NULL, &err), 0);
	done_with(m);
}

/* --- users, roles, privileges -------------------------------------------------------------------- */

TEST(a_grant_names_root_where_no_login_is_needed)
{
	struct milvus_grant g = {"r", "Collection", "c", "default", "Insert"};
	struct milvus *m = fresh(NULL);
	Mv__OperatePrivilegeRequest *req;
	struct err err;

	will_say(0, 0, "");
	CHECK_INT(milvus_grant(m, &g, false, 7, NULL, &err), 0);
	CHECK_STR(net.metadata, "authorization: cm9vdDpub25l"); /* root:none */
	CHECK_INT(net.live, 1);
	req = mv__operate_privilege_request__unpack(NULL, net.request.len, net.request.data);
	CHECK(req && req->entity);
	CHECK_INT(req->type, 1);
	CHECK_STR(req->entity->role->name, "r");
	CHECK_STR(req->entity->object->name, "Collection");
	CHECK_STR(req->entity->object_name, "c");
	CHECK_STR(req->entity->grantor->privilege->name, "Insert");
	CHECK_STR(req->entity->db_name, "default");
	mv__operate_privilege_request__free_unpacked(req, NULL);
	done_with(m);
}

TEST(a_grant_goes_out_under_the_login_that_there_is)
{
	struct milvus_grant g = {"r", "Global", "*", "*", "*"};
	struct milvus *m = fresh("anna:secret");
	struct err err;

	will_say(0, 0, "");
	CHECK_INT(milvus_grant(m, &g, true, 7, NULL, &err), 0);
	CHECK_STR(net.metadata, "authorization: YW5uYTpzZWNyZXQ=");
	done_with(m);
}

TEST(a_new_users_password_goes_out_in_base64_and_into_no_error)
{
	struct milvus *m = fresh(NULL);
	Mv__CreateCredentialRequest *req;
	struct err err;

	will_say(1100, 5, "invalid username");
	CHECK_INT(milvus_create_user(m, "anna", "secret7", 7, NULL, &err), -ERR_TARGET_REFUSED);
	CHECK(strstr(err.text, "anna") && !strstr(err.text, "secret7") && !strstr(err.text, "c2VjcmV0Nw"));
	req = mv__create_credential_request__unpack(NULL, net.request.len, net.request.data);
	CHECK(req);
	CHECK_STR(req->username, "anna");
	CHECK_STR(req->password, "c2VjcmV0Nw==");
	mv__create_credential_request__free_unpacked(req, NULL);
	done_with(m);
}

TEST_MAIN()
