/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users, roles and privileges onto the target. The source keeps passwords as hashes that cannot be given
 * to another server: a user is made with a random password that nobody is told, and a note says that
 * one has to be set. What cannot be applied is a note, too: no row waits for it. root, admin and public
 * are every server's own and are neither made nor dropped.
 */
#include "sink_ddl_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#include <openssl/crypto.h>

#define PASSWORD_BYTES 24 /* of randomness; twice as many letters, the server takes 6 to 72 */

static bool own_role(const char *role)
{
	return STREQ(role, "admin") || STREQ(role, "public");
}

/* --- users --------------------------------------------------------------------------------------- */

static int user_exists(struct ddl *d, const char *user, bool *ret, struct err *err)
{
	Mv__ListCredUsersResponse *list;
	int rc = milvus_list_users(d->milvus, d->arena, &list, err);

	if (rc < 0)
		return rc;
	*ret = false;
	for (size_t i = 0; i < list->n_usernames; i++)
		*ret = *ret || STREQ(list->usernames[i], user);
	return 0;
}

static int random_password(char ret[2 * PASSWORD_BYTES + 1], struct err *err)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char bytes[PASSWORD_BYTES];
	ssize_t n;

	do
		n = getrandom(bytes, sizeof(bytes), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(bytes))
		return err_set(err, ERR_INTERNAL, "the system's random source failed: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		ret[2 * i] = digits[bytes[i] >> 4];
		ret[2 * i + 1] = digits[bytes[i] & 15];
	}
	ret[2 * sizeof(bytes)] = 0;
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return 0;
}

static int create_user(struct ddl *d, const char *user, struct err *err)
{
	char password[2 * PASSWORD_BYTES + 1];
	bool exists;
	int rc;

	if (STREQ(user, "root"))
		return 0;
	if ((rc = user_exists(d, user, &exists, err)) < 0)
		return rc;
	if (exists) { /* perhaps made by us before a crash that swallowed the note */
		ddl_note(d,
			 "user %s is on the target already and keeps its password there; if nobody has set "
			 "one, "
			 "set it",
			 user);
		return 0;
	}
	if ((rc = random_password(password, err)) < 0)
		return rc;
	rc = milvus_create_user(d->milvus, user, password, d->ts, NULL, err);
	OPENSSL_cleanse(password, sizeof(password));
	if (rc == 0)
		ddl_note(d,
			 "user %s was made on the target with a random password that nobody knows, because "
			 "the "
			 "source stores only a hash of the real one; set its password on the target",
			 user);
	return rc;
}

static int drop_user(struct ddl *d, const char *user, struct err *err)
{
	bool exists = false;
	int rc;

	if (STREQ(user, "root"))
		return 0;
	if ((rc = user_exists(d, user, &exists, err)) < 0 || !exists)
		return rc;
	return milvus_drop_user(d->milvus, user, d->ts, NULL, err);
}

/* --- roles --------------------------------------------------------------------------------------- */

static int role_exists(struct ddl *d, const char *role, bool *ret, struct err *err)
{
	Mv__SelectRoleResponse *r;
	int rc = milvus_select_role(d->milvus, role, d->arena, &r, err);

	if (rc == 0)
		*ret = r->n_results > 0;
	return rc;
}

static int create_role(struct ddl *d, const char *role, struct err *err)
{
	bool exists = false;
	int rc;

	if (own_role(role))
		return 0;
	if ((rc = role_exists(d, role, &exists, err)) < 0 || exists)
		return rc;
	return milvus_create_role(d->milvus, role, d->ts, NULL, err);
}

static int revoke_in(struct ddl *d, const char *role, const char *db, struct err *err)
{
	Mv__SelectGrantResponse *have;
	int rc = milvus_select_grants(d->milvus, role, db, d->arena, &have, err);

	for (size_t i = 0; rc == 0 && i < have->n_entities; i++) {
		const Mv__GrantEntity *e = have->entities[i];
		struct milvus_grant g = {.role = role, .object_name = e->object_name, .db = e->db_name};

		if (!e->object || !e->grantor || !e->grantor->privilege)
			continue;
		g.object_type = e->object->name;
		g.privilege = e->grantor->privilege->name;
		rc = milvus_grant(d->milvus, &g, false, d->ts, NULL, err);
	}
	return rc;
}

/* The server drops no role that may still do something. It lists that by database. */
static int drop_role(struct ddl *d, const char *role, struct err *err)
{
	Mv__ListDatabasesResponse *dbs;
	bool exists = false;
	int rc;

	if (own_role(role))
		return 0;
	if ((rc = role_exists(d, role, &exists, err)) < 0 || !exists)
		return rc;
	if ((rc = milvus_list_databases(d->milvus, d->arena, &dbs, err)) < 0 ||
	    (rc = revoke_in(d, role, "*", err)) < 0)
		return rc;
	for (size_t i = 0; i < dbs->n_db_names && rc == 0; i++)
		rc = revoke_in(d, role, dbs->db_names[i], err);
	return rc < 0 ? rc : milvus_drop_role(d->milvus, role, d->ts, NULL, err);
}

static int user_role(struct ddl *d, const char *user, const char *role, bool add, struct err *err)
{
	Mv__SelectUserResponse *have;
	bool bound = false;
	int rc = milvus_select_user(d->milvus, user, d->arena, &have, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < have->n_results; i++)
		for (size_t k = 0; k < have->results[i]->n_roles; k++)
			bound = bound || STREQ(have->results[i]->roles[k]->name, role);
	if (bound == add)
		return 0;
	return milvus_user_role(d->milvus, user, role, add, d->ts, NULL, err);
}

/* --- privileges ---------------------------------------------------------------------------------- */

/* Whom it is about, as the target calls it. */
static struct milvus_grant entry_grant(struct ddl *d)
{
	const Jr__Grant *from = d->body->grant;
	struct milvus_grant g = {.role = d->body->role,
				 .object_type = from->object_type,
				 .object_name = from->object_name,
				 .db = from->db_name,
				 .privilege = from->privilege};

	if (STREQ(g.db, "*"))
		return g;
	if (STREQ(g.object_type, "Collection") && !STREQ(g.object_name, "*"))
		name_map_collection(d->sink->names, from->db_name, from->object_name, &g.db, &g.object_name);
	else
		g.db = name_map_db(d->sink->names, from->db_name);
	return g;
}

static int grant(struct ddl *d, bool add, struct err *err)
{
	struct milvus_grant g = entry_grant(d);
	bool exists = false;
	int rc;

	/* what a role may do has gone with the role */
	if (!add && ((rc = role_exists(d, g.role, &exists, err)) < 0 || !exists))
		return rc;
	return milvus_grant(d->milvus, &g, add, d->ts, NULL, err);
}

/* --- all of it ----------------------------------------------------------------------------------- */

static int apply(struct ddl *d, struct err *err)
{
	const Jr__Ddl *b = d->body;

	switch (d->entry->kind) {
	case KIND_CREATE_USER:
		return create_user(d, b->user, err);
	case KIND_DROP_USER:
		return drop_user(d, b->user, err);
	case KIND_CREATE_ROLE:
		return create_role(d, b->role, err);
	case KIND_DROP_ROLE:
		return drop_role(d, b->role, err);
	case KIND_ADD_USER_TO_ROLE:
		return user_role(d, b->user, b->role, true, err);
	case KIND_REMOVE_USER_FROM_ROLE:
		return user_role(d, b->user, b->role, false, err);
	case KIND_GRANT:
		return grant(d, true, err);
	default:
		return grant(d, false, err);
	}
}

static bool complete(const struct ddl *d)
{
	const Jr__Ddl *b = d->body;

	switch (d->entry->kind) {
	case KIND_CREATE_USER:
	case KIND_DROP_USER:
		return *b->user;
	case KIND_CREATE_ROLE:
	case KIND_DROP_ROLE:
		return *b->role;
	case KIND_ADD_USER_TO_ROLE:
	case KIND_REMOVE_USER_FROM_ROLE:
		return *b->user && *b->role;
	default:
		return *b->role && b->grant && *b->grant->object_type && *b->grant->object_name &&
		       *b->grant->privilege;
	}
}

static const char *about(struct ddl *d)
{
	const Jr__Ddl *b = d->body;

	if (b->grant && (d->entry->kind == KIND_GRANT || d->entry->kind == KIND_REVOKE))
		return arena_printf(d->arena, "role %s, %s on %s %s.%s", b->role, b->grant->privilege,
				    b->grant->object_type, b->grant->db_name, b->grant->object_name);
	return arena_printf(d->arena, "%s%s%s", b->user, *b->user && *b->role ? ", role " : "", b->role);
}

/*
 * Is it only this that our user may not do? A login that is refused as a whole is waited for, as
 * everywhere.
 */
static bool logged_in(struct ddl *d)
{
	struct err ignored;

	return milvus_connect(d->milvus, &ignored) == 0;
}

int ddl_access(struct ddl *d, struct err *err)
{
	struct err why;
	int rc;

	if (!complete(d))
		return err_set(err, ERR_JOURNAL_BAD,
			       "journal entry %" PRId64 " (%s): user, role or privilege is missing",
			       d->entry->seq, kind_name(d->entry->kind));
	rc = apply(d, &why);
	if (rc == -ERR_TARGET_REFUSED || (rc == -ERR_TARGET_AUTH && logged_in(d))) {
		ddl_note(d, "not applied to the target: %s (%s): %s", kind_name(d->entry->kind), about(d),
			 why.text);
		return 0;
	}
	if (rc < 0 && err)
		*err = why;
	return rc;
}
