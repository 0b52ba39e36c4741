/* SPDX-License-Identifier: Apache-2.0 */
/* The part of fake_milvus.c, which includes it, for users, roles and privileges. */
#ifdef FAKE_MILVUS_PARTS
/* Begins a call that our user may be refused. */
static int begin_access(const char *rpc, struct milvus_status *st, struct err *err)
{
	int scripted = begin(rpc, st, err);

	if (scripted == 0 && (fake.denied || fake.no_login))
		return err_set(err, ERR_TARGET_AUTH, "fake target: %s: permission denied", rpc);
	return scripted;
}

static struct fake_access *access_find(int what, const char *user, const char *role)
{
	for (size_t i = 0; i < FAKE_ACCESS; i++) {
		struct fake_access *a = &fake.access[i];

		if ((int)a->what == what && STREQ(a->user, user) && STREQ(a->role, role))
			return a;
	}
	return NULL;
}

static struct fake_access *access_add(int what, const char *user, const char *role)
{
	struct fake_access *a = fake.access;

	while (a->what)
		a++;
	a->what = what;
	snprintf(a->user, sizeof(a->user), "%s", user);
	snprintf(a->role, sizeof(a->role), "%s", role);
	return a;
}

struct fake_access *fake_user(const char *user)
{
	return access_find(FAKE_USER, user, "");
}

struct fake_access *fake_role(const char *role)
{
	return access_find(FAKE_ROLE, "", role);
}

size_t fake_access_count(int what)
{
	size_t n = 0;

	for (size_t i = 0; i < FAKE_ACCESS; i++)
		n += (int)fake.access[i].what == what;
	return n;
}

/* --- users --------------------------------------------------------------------------------------- */

int milvus_list_users(struct milvus *m, struct arena *arena, Mv__ListCredUsersResponse **ret, struct err *err)
{
	Mv__ListCredUsersResponse r = MV__LIST_CRED_USERS_RESPONSE__INIT;
	char *names[FAKE_ACCESS + 1] = {(char *)"root"};

	(void)m;
	lock();
	if (begin_access("ListCredUsers", NULL, err))
		return unlock(-err->code);
	r.usernames = names;
	r.n_usernames = 1;
	for (size_t i = 0; i < FAKE_ACCESS; i++)
		if (fake.access[i].what == FAKE_USER)
			names[r.n_usernames++] = fake.access[i].user;
	*ret = travel(&r.base, arena);
	return unlock(0);
}

int milvus_create_user(struct milvus *m, const char *user, const char *password, cdc_ts t,
		       struct milvus_status *st, struct err *err)
{
	size_t n = strlen(password);
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin_access("CreateCredential", st, err)) < 0)
		return unlock(scripted);
	if (n < 6 || n > 72)
		return unlock(answer("CreateCredential", 1100, "invalid password length", st, err));
	if (fake_user(user) || STREQ(user, "root"))
		return unlock(answer("CreateCredential", 65535, "user already exists", st, err));
	if (strlen(user) > 32)
		return unlock(answer("CreateCredential", 1100, "invalid username", st, err));
	access_add(FAKE_USER, user, "");
	snprintf(fake.password, sizeof(fake.password), "%s", password);
	return unlock(done(scripted, "CreateCredential %s", user));
}

int milvus_drop_user(struct milvus *m, const char *user, cdc_ts t, struct milvus_status *st, struct err *err)
{
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin_access("DeleteCredential", st, err)) < 0)
		return unlock(scripted);
	if (STREQ(user, "root"))
		return unlock(answer("DeleteCredential", 1401, "root user cannot be deleted", st, err));
	for (size_t i = 0; i < FAKE_ACCESS; i++)
		if (*fake.access[i].user && STREQ(fake.access[i].user, user))
			fake.access[i] = (struct fake_access){0};
	return unlock(done(scripted, "DeleteCredential %s", user));
}

int milvus_select_user(struct milvus *m, const char *user, struct arena *arena, Mv__SelectUserResponse **ret,
		       struct err *err)
{
	Mv__SelectUserResponse r = MV__SELECT_USER_RESPONSE__INIT;
	Mv__UserResult result = MV__USER_RESULT__INIT, *results[1] = {&result};
	Mv__NameEntity roles[FAKE_ACCESS], *list[FAKE_ACCESS];

	(void)m;
	lock();
	if (begin_access("SelectUser", NULL, err))
		return unlock(-err->code);
	result.roles = list;
	for (size_t i = 0; i < FAKE_ACCESS; i++)
		if (fake.access[i].what == FAKE_BINDING && STREQ(fake.access[i].user, user)) {
			mv__name_entity__init(&roles[result.n_roles]);
			roles[result.n_roles].name = fake.access[i].role;
			list[result.n_roles] = &roles[result.n_roles];
			result.n_roles++;
		}
	r.results = results;
	r.n_results = fake_user(user) || STREQ(user, "root");
	*ret = travel(&r.base, arena);
	return unlock(0);
}

/* --- roles --------------------------------------------------------------------------------------- */

static bool role_known(const char *role)
{
	return fake_role(role) || STREQ(role, "admin") || STREQ(role, "public");
}

int milvus_select_role(struct milvus *m, const char *role, struct arena *arena, Mv__SelectRoleResponse **ret,
		       struct err *err)
{
	Mv__SelectRoleResponse r = MV__SELECT_ROLE_RESPONSE__INIT;
	Mv__RoleResult result = MV__ROLE_RESULT__INIT, *results[1] = {&result};

	(void)m;
	lock();
	if (begin_access("SelectRole", NULL, err))
		return unlock(-err->code);
	r.results = results;
	r.n_results = role_known(role);
	*ret = travel(&r.base, arena);
	return unlock(0);
}

int milvus_create_role(struct milvus *m, const char *role, cdc_ts t, struct milvus_status *st,
		       struct err *err)
{
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin_access("CreateRole", st, err)) < 0)
		return unlock(scripted);
	if (role_known(role))
		return unlock(answer("CreateRole", 65535, "role already exists", st, err));
	access_add(FAKE_ROLE, "", role);
	return unlock(done(scripted, "CreateRole %s", role));
}

int milvus_drop_role(struct milvus *m, const char *role, cdc_ts t, struct milvus_status *st, struct err *err)
{
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin_access("DropRole", st, err)) < 0)
		return unlock(scripted);
	if (!fake_role(role))
		return unlock(answer("DropRole", 65535, "not found the role", st, err));
	if (access_find(FAKE_GRANT, "", role))
		return unlock(
			answer("DropRole", 65535, "fail to drop the role that it has privileges", st, err));
	for (size_t i = 0; i < FAKE_ACCESS; i++)
		if (STREQ(fake.access[i].role, role))
			fake.access[i] = (struct fake_access){0};
	return unlock(done(scripted, "DropRole %s", role));
}

int milvus_user_role(struct milvus *m, const char *user, const char *role, bool add, cdc_ts t,
		     struct milvus_status *st, struct err *err)
{
	struct fake_access *bound;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin_access("OperateUserRole", st, err)) < 0)
		return unlock(scripted);
	if (!role_known(role) || (!fake_user(user) && !STREQ(user, "root")))
		return unlock(answer("OperateUserRole", 65535, "not found the user or the role", st, err));
	bound = access_find(FAKE_BINDING, user, role);
	if (add && !bound)
		access_add(FAKE_BINDING, user, role);
	if (!add && bound)
		*bound = (struct fake_access){0};
	return unlock(done(scripted, "OperateUserRole %s %s %s", add ? "add" : "remove", user, role));
}

/* --- privileges ---------------------------------------------------------------------------------- */

int milvus_select_grants(struct milvus *m, const char *role, const char *db, struct arena *arena,
			 Mv__SelectGrantResponse **ret, struct err *err)
{
	Mv__SelectGrantResponse r = MV__SELECT_GRANT_RESPONSE__INIT;

	(void)m;
	lock();
	if (begin_access("SelectGrant", NULL, err))
		return unlock(-err->code);
	if (!role_known(role))
		return unlock(answer("SelectGrant", 65535, "not found the role", NULL, err));
	r.entities = arena_alloc(arena, FAKE_ACCESS * sizeof(*r.entities));
	for (size_t i = 0; i < FAKE_ACCESS; i++) {
		struct fake_access *a = &fake.access[i];
		Mv__GrantEntity *e = arena_alloc(arena, sizeof(*e));

		if (a->what != FAKE_GRANT || !STREQ(a->role, role) ||
		    (!STREQ(a->db, db) && !STREQ(a->db, "*")))
			continue;
		mv__grant_entity__init(e);
		e->object = arena_alloc(arena, sizeof(*e->object));
		mv__name_entity__init(e->object);
		e->object->name = a->object_type;
		e->object_name = a->object_name;
		e->grantor = arena_alloc(arena, sizeof(*e->grantor));
		mv__grantor_entity__init(e->grantor);
		e->grantor->privilege = arena_alloc(arena, sizeof(*e->grantor->privilege));
		mv__name_entity__init(e->grantor->privilege);
		e->grantor->privilege->name = a->privilege;
		e->db_name = a->db;
		r.entities[r.n_entities++] = e;
	}
	*ret = travel(&r.base, arena);
	return unlock(0);
}

static struct fake_access *grant_find(const struct milvus_grant *g)
{
	for (size_t i = 0; i < FAKE_ACCESS; i++) {
		struct fake_access *a = &fake.access[i];

		if (a->what == FAKE_GRANT && STREQ(a->role, g->role) &&
		    STREQ(a->object_type, g->object_type) && STREQ(a->object_name, g->object_name) &&
		    STREQ(a->db, db_name(g->db)) && STREQ(a->privilege, g->privilege))
			return a;
	}
	return NULL;
}

int milvus_grant(struct milvus *m, const struct milvus_grant *g, bool grant, cdc_ts t,
		 struct milvus_status *st, struct err *err)
{
	struct fake_access *a;
	int scripted;

	(void)m;
	(void)t;
	lock();
	if ((scripted = begin_access("OperatePrivilege", st, err)) < 0)
		return unlock(scripted);
	if (!role_known(g->role))
		return unlock(answer("OperatePrivilege", 65535, "not found the role", st, err));
	if (strncmp(g->privilege, "Privilege", 9) == 0)
		return unlock(answer("OperatePrivilege", 65535, "not found the privilege name", st, err));
	a = grant_find(g);
	if (grant && !a) {
		a = access_add(FAKE_GRANT, "", g->role);
		snprintf(a->object_type, sizeof(a->object_type), "%s", g->object_type);
		snprintf(a->object_name, sizeof(a->object_name), "%s", g->object_name);
		snprintf(a->db, sizeof(a->db), "%s", db_name(g->db));
		snprintf(a->privilege, sizeof(a->privilege), "%s", g->privilege);
	}
	if (!grant && a)
		*a = (struct fake_access){0};
	return unlock(done(scripted, "OperatePrivilege %s %s %s %s.%s", grant ? "grant" : "revoke", g->role,
			   g->privilege, db_name(g->db), g->object_name));
}
#endif
