/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's RPCs for users, roles and privileges. As those for metadata: one attempt each. Passwords
 * pass through as they are given and are wiped from what this file owns.
 */
#include "milvus_priv.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <stdlib.h>

static Mv__NameEntity entity(const char *name)
{
	Mv__NameEntity e = MV__NAME_ENTITY__INIT;

	e.name = (char *)name;
	return e;
}

/* --- users --------------------------------------------------------------------------------------- */

int milvus_list_users(struct milvus *m, struct arena *arena, Mv__ListCredUsersResponse **ret, struct err *err)
{
	Mv__ListCredUsersRequest req = MV__LIST_CRED_USERS_REQUEST__INIT;
	Mv__ListCredUsersResponse *answer;
	int rc;

	rc = milvus_call(m, "ListCredUsers", &req.base, &mv__list_cred_users_response__descriptor, arena,
			 &answer, err);
	if (rc < 0 || (rc = milvus_check(m, "ListCredUsers", "", answer->status, NULL, err)) < 0)
		return rc;
	*ret = answer;
	return 0;
}

int milvus_create_user(struct milvus *m, const char *user, const char *password, cdc_ts t,
		       struct milvus_status *st, struct err *err)
{
	Mv__CreateCredentialRequest req = MV__CREATE_CREDENTIAL_REQUEST__INIT;
	size_t n = strlen(password);
	char *encoded = xmalloc(4 * ((n + 2) / 3) + 1);
	struct milvus_base base;
	int rc;

	milvus_base_init(&base, t);
	EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)password, (int)n);
	req.msg_base = &base.base;
	req.username = (char *)user;
	req.password = encoded;
	rc = milvus_change(m, "CreateCredential", &req.base, st, err, "%s", user);
	OPENSSL_cleanse(encoded, strlen(encoded));
	free(encoded);
	if (m->request.data)
		OPENSSL_cleanse(m->request.data, m->request.len);
	return rc;
}

int milvus_drop_user(struct milvus *m, const char *user, cdc_ts t, struct milvus_status *st, struct err *err)
{
	Mv__DeleteCredentialRequest req = MV__DELETE_CREDENTIAL_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.username = (char *)user;
	return milvus_change(m, "DeleteCredential", &req.base, st, err, "%s", user);
}

int milvus_select_user(struct milvus *m, const char *user, struct arena *arena, Mv__SelectUserResponse **ret,
		       struct err *err)
{
	Mv__SelectUserRequest req = MV__SELECT_USER_REQUEST__INIT;
	Mv__NameEntity name = entity(user);
	Mv__SelectUserResponse *answer;
	int rc;

	req.user = &name;
	req.include_role_info = true;
	rc = milvus_call(m, "SelectUser", &req.base, &mv__select_user_response__descriptor, arena, &answer,
			 err);
	if (rc < 0 || (rc = milvus_check(m, "SelectUser", user, answer->status, NULL, err)) < 0)
		return rc;
	*ret = answer;
	return 0;
}

/* --- roles --------------------------------------------------------------------------------------- */

int milvus_select_role(struct milvus *m, const char *role, struct arena *arena, Mv__SelectRoleResponse **ret,
		       struct err *err)
{
	Mv__SelectRoleRequest req = MV__SELECT_ROLE_REQUEST__INIT;
	Mv__NameEntity name = entity(role);
	Mv__SelectRoleResponse *answer;
	int rc;

	req.role = &name;
	rc = milvus_call(m, "SelectRole", &req.base, &mv__select_role_response__descriptor, arena, &answer,
			 err);
	if (rc < 0 || (rc = milvus_check(m, "SelectRole", role, answer->status, NULL, err)) < 0)
		return rc;
	*ret = answer;
	return 0;
}

int milvus_create_role(struct milvus *m, const char *role, cdc_ts t, struct milvus_status *st,
		       struct err *err)
{
	Mv__CreateRoleRequest req = MV__CREATE_ROLE_REQUEST__INIT;
	Mv__NameEntity name = entity(role);
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.entity = &name;
	return milvus_change(m, "CreateRole", &req.base, st, err, "%s", role);
}

int milvus_drop_role(struct milvus *m, const char *role, cdc_ts t, struct milvus_status *st, struct err *err)
{
	Mv__DropRoleRequest req = MV__DROP_ROLE_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.role_name = (char *)role;
	return milvus_change(m, "DropRole", &req.base, st, err, "%s", role);
}

int milvus_user_role(struct milvus *m, const char *user, const char *role, bool add, cdc_ts t,
		     struct milvus_status *st, struct err *err)
{
	Mv__OperateUserRoleRequest req = MV__OPERATE_USER_ROLE_REQUEST__INIT;
	struct milvus_base base;

	milvus_base_init(&base, t);
	req.msg_base = &base.base;
	req.username = (char *)user;
	req.role_name = (char *)role;
	req.type = add ? 0 : 1;
	return milvus_change(m, "OperateUserRole", &req.base, st, err, "%s role %s", user, role);
}

/* --- privileges ---------------------------------------------------------------------------------- */

int milvus_select_grants(struct milvus *m, const char *role, const char *db, struct arena *arena,
			 Mv__SelectGrantResponse **ret, struct err *err)
{
	Mv__SelectGrantRequest req = MV__SELECT_GRANT_REQUEST__INIT;
	Mv__GrantEntity grant = MV__GRANT_ENTITY__INIT;
	Mv__NameEntity name = entity(role);
	Mv__SelectGrantResponse *answer;
	int rc;

	grant.role = &name;
	grant.db_name = (char *)db;
	req.entity = &grant;
	rc = milvus_call(m, "SelectGrant", &req.base, &mv__select_grant_response__descriptor, arena, &answer,
			 err);
	if (rc < 0 || (rc = milvus_check(m, "SelectGrant", role, answer->status, NULL, err)) < 0)
		return rc;
	*ret = answer;
	return 0;
}

/*
 * The server notes who has granted and takes that from the authorization header, also while its
 * authorization is off and nobody needs one: then the header names root, with no password that is checked.
 */
int milvus_grant(struct milvus *m, const struct milvus_grant *g, bool grant, cdc_ts t,
		 struct milvus_status *st, struct err *err)
{
	AUTO(milvus_free) struct milvus *as_root = NULL;
	Mv__OperatePrivilegeRequest req = MV__OPERATE_PRIVILEGE_REQUEST__INIT;
	Mv__GrantEntity pb = MV__GRANT_ENTITY__INIT;
	Mv__GrantorEntity grantor = MV__GRANTOR_ENTITY__INIT;
	Mv__NameEntity role = entity(g->role), object = entity(g->object_type),
		       privilege = entity(g->privilege), user = entity("");
	struct milvus_base base;

	if (m->anonymous) {
		struct target_conf conf = *m->anonymous;

		conf.authorization = (char *)"root:none";
		as_root = milvus_new(&conf, m->timeout_ms, m->poll, m->poll_arg);
	}
	milvus_base_init(&base, t);
	grantor.user = &user;
	grantor.privilege = &privilege;
	pb.role = &role;
	pb.object = &object;
	pb.object_name = (char *)g->object_name;
	pb.grantor = &grantor;
	pb.db_name = (char *)g->db;
	req.msg_base = &base.base;
	req.entity = &pb;
	req.type = grant ? 0 : 1;
	return milvus_change(as_root ? as_root : m, "OperatePrivilege", &req.base, st, err,
			     "%s role %s: %s on %s %s.%s", grant ? "grant" : "revoke", g->role, g->privilege,
			     g->object_type, g->db, g->object_name);
}
