/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users, roles, who has which role, and grants: etcd's keys below credential/ minus the kept rows
 * "access/..." -> DDL, all at the watermark. Drops come first and grants last, so that a role has lost its
 * grants and members before it is dropped and has been made before it gets any. Within that, by name.
 *
 * What a Milvus brings along (user root; roles admin and public; what public may do from the first day)
 * is never created or dropped; what is changed about it, is replicated. Passwords cannot be read back
 * (etcd has a one-way hash): kept is a hash of that alone, so that a change is noticed and told.
 * Reader's thread.
 */
#include "catalog_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define ACCESS "access/"

/* One of them, as seen or as known. */
struct access {
	const char *key; /* of its row */
	Jr__KnownAccess msg;
	Jr__Grant grant;
};
struct list {
	struct access *v;
	size_t n, cap;
};

/* A key grantee-id/<id>/<privilege>; its value is the grantor. */
struct privilege {
	const char *id, *name, *grantor;
};

static struct access *add(struct list *l, struct arena *arena)
{
	if (l->n == l->cap) {
		struct access *v = arena_alloc(arena, (l->cap * 2 + 32) * sizeof(*v));

		if (l->n)
			memcpy(v, l->v, l->n * sizeof(*v));
		l->v = v;
		l->cap = l->cap * 2 + 32;
	}
	l->v[l->n] = (struct access){.msg = JR__KNOWN_ACCESS__INIT, .grant = JR__GRANT__INIT};
	return &l->v[l->n++];
}

/* "<prefix>a/b" -> a, b; false: another number of parts. */
static bool split(const char *key, const char *prefix, struct arena *arena, char **parts, size_t n)
{
	size_t len = strlen(prefix);
	char *s;

	if (strncmp(key, prefix, len) != 0)
		return false;
	s = arena_strdup(arena, key + len);
	for (size_t i = 0; i < n; i++) {
		char *slash = strchr(s, '/');

		if (!*s || !slash != (i == n - 1))
			return false;
		parts[i] = s;
		if (slash) {
			*slash = 0;
			s = slash + 1;
		}
	}
	return true;
}

static const char *text_of(const struct item *it, struct arena *arena)
{
	return arena_strndup(arena, it->size ? (const char *)it->data : "", it->size);
}

/* --- seen --- */

static void see_user(struct list *l, struct arena *arena, const struct item *it, char *name)
{
	struct access *a;

	if (STREQ(name, "root"))
		return;
	a = add(l, arena);
	a->key = arena_printf(arena, ACCESS "user/%s", name);
	a->msg.kind = KIND_CREATE_USER;
	a->msg.user = name;
	a->msg.password = hash64(1, it->data, it->size);
}

static void see_role(struct list *l, struct arena *arena, char *name)
{
	struct access *a;

	if (STREQ(name, "admin") || STREQ(name, "public"))
		return;
	a = add(l, arena);
	a->key = arena_printf(arena, ACCESS "role/%s", name);
	a->msg.kind = KIND_CREATE_ROLE;
	a->msg.role = name;
}

static void see_member(struct list *l, struct arena *arena, char *user, char *role)
{
	struct access *a = add(l, arena);

	a->key = arena_printf(arena, ACCESS "member/%s/%s", user, role);
	a->msg.kind = KIND_ADD_USER_TO_ROLE;
	a->msg.user = user;
	a->msg.role = role;
}

/* etcd: "PrivilegeInsert"; the RPC takes "Insert". "*" is the same in both. */
static char *privilege_name(struct arena *arena, const char *name)
{
	size_t n = strlen("Privilege");

	return arena_strdup(arena, strncmp(name, "Privilege", n) == 0 && name[n] ? name + n : name);
}

static void see_grant(struct list *l, struct arena *arena, char *const *parts, const struct privilege *p)
{
	struct access *a = add(l, arena);
	char *dot = strchr(parts[2], '.');

	a->msg.kind = KIND_GRANT;
	a->msg.role = parts[0];
	a->grant.object_type = parts[1];
	/* of before 2.2.9: without a database */
	a->grant.db_name = dot ? arena_strndup(arena, parts[2], (size_t)(dot - parts[2])) : (char *)"default";
	a->grant.object_name = dot ? dot + 1 : parts[2];
	a->grant.privilege = privilege_name(arena, p->name);
	a->grant.grantor = arena_strdup(arena, p->grantor);
	a->key = arena_printf(arena, ACCESS "grant/%s/%s/%s.%s/%s", a->msg.role, a->grant.object_type,
			      a->grant.db_name, a->grant.object_name, a->grant.privilege);
}

static int privilege_cmp(const void *pa, const void *pb)
{
	const struct privilege *a = pa, *b = pb;
	int c = strcmp(a->id, b->id);

	return c ? c : strcmp(a->name, b->name);
}

/* All of etcd's grantee-id/, sorted. */
static size_t see_privileges(const struct catalog *c, struct arena *arena, struct privilege **ret)
{
	const struct map *m = &c->ranges[RANGE_ACCESS];
	struct privilege *v = arena_alloc(arena, (m->count + 1) * sizeof(*v));
	size_t n = 0;
	char *parts[2];

	for (size_t i = 0; i < m->cap; i++)
		for (struct node *node = m->slots[i]; node; node = node->next) {
			const struct item *it = OBJECT_OF(struct item, node, node);

			if (it->key && !it->gone && split(it->key, "grantee-id/", arena, parts, 2))
				v[n++] = (struct privilege){parts[0], parts[1], text_of(it, arena)};
		}
	if (n)
		qsort(v, n, sizeof(*v), privilege_cmp);
	*ret = v;
	return n;
}

/* What was granted to one role on one object: the privileges of the ID that is the key's value. */
static void see_grants(struct list *l, struct arena *arena, const struct item *it, char *const *parts,
		       const struct privilege *v, size_t n)
{
	const char *id = text_of(it, arena);
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(v[mid].id, id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < n && STREQ(v[lo].id, id); lo++)
		see_grant(l, arena, parts, &v[lo]);
}

static int access_cmp(const void *pa, const void *pb)
{
	return strcmp(((const struct access *)pa)->key, ((const struct access *)pb)->key);
}

/* The list is whole and sorted: its elements do not move any more. */
static void finish(struct list *l)
{
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), access_cmp);
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].msg.kind == KIND_GRANT)
			l->v[i].msg.grant = &l->v[i].grant;
}

static struct list see(const struct catalog *c, struct arena *arena)
{
	const struct map *m = &c->ranges[RANGE_ACCESS];
	struct privilege *privileges;
	size_t n = see_privileges(c, arena, &privileges);
	struct list l = {0};
	char *parts[3];

	for (size_t i = 0; i < m->cap; i++)
		for (struct node *node = m->slots[i]; node; node = node->next) {
			const struct item *it = OBJECT_OF(struct item, node, node);

			if (!it->key || it->gone)
				continue;
			if (split(it->key, "users/", arena, parts, 1))
				see_user(&l, arena, it, parts[0]);
			else if (split(it->key, "roles/", arena, parts, 1))
				see_role(&l, arena, parts[0]);
			else if (split(it->key, "user-role-mapping/", arena, parts, 2))
				see_member(&l, arena, parts[0], parts[1]);
			else if (split(it->key, "grantee-privileges/", arena, parts, 3))
				see_grants(&l, arena, it, parts, privileges, n);
		}
	finish(&l);
	return l;
}

/* --- known --- */

static struct list known(const struct catalog *c, struct arena *arena)
{
	struct arena_pb pb = arena_pb(arena);
	struct state_row *rows;
	size_t n = kept_list(c, ACCESS, arena, &rows);
	struct list l = {0};

	for (size_t i = 0; i < n; i++) {
		Jr__KnownAccess *m =
			jr__known_access__unpack((ProtobufCAllocator *)&pb, rows[i].size, rows[i].value);
		struct access *a = add(&l, arena);

		a->key = rows[i].key;
		a->msg = *m; /* kept_restore() has looked at it */
	}
	return l;
}

/* --- the difference --- */

/* Order of the kinds; by key within one. */
static int order(enum kind k)
{
	static const enum kind kinds[] = {
		KIND_REVOKE,      KIND_REMOVE_USER_FROM_ROLE, KIND_DROP_ROLE,        KIND_DROP_USER,
		KIND_CREATE_USER, KIND_CREATE_ROLE,           KIND_ADD_USER_TO_ROLE, KIND_GRANT};

	for (int i = 0; i < (int)ARRAY_LEN(kinds); i++)
		if (kinds[i] == k)
			return i;
	return (int)ARRAY_LEN(kinds);
}

static int change_cmp(const void *pa, const void *pb)
{
	const struct access_change *a = pa, *b = pb;
	int c = order(a->kind) - order(b->kind);

	return c ? c : strcmp(a->key, b->key);
}

static struct access_change change(struct arena *arena, const struct access *a, bool drop)
{
	struct access_change ret = {.kind = (enum kind)(a->msg.kind + drop), .key = a->key};

	ret.ddl = ddl_new(arena, 0, "", 0, NULL);
	ret.ddl->user = a->msg.user;
	ret.ddl->role = a->msg.role;
	ret.ddl->grant = a->msg.grant;
	return ret;
}

/* What public may do in a Milvus that was just set up; the target has it, too. */
static bool came_along(const struct access *a)
{
	static const char *const names[] = {"DescribeCollection", "ShowCollections", "IndexDetail",
					    "ListAliases"};
	const Jr__Grant *g = a->msg.grant;

	if (a->msg.kind != KIND_GRANT || !STREQ(a->msg.role, "public") || !STREQ(g->db_name, "*") ||
	    !STREQ(g->object_name, "*"))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (STREQ(g->privilege, names[i]))
			return true;
	return false;
}

static void password_changed(struct catalog *c, struct arena *arena, const struct access *a, cdc_ts ts)
{
	warning_set(
		c, arena_printf(arena, "warning/user/%s", a->msg.user), ts,
		"user '%s': the password was changed at the source. Passwords cannot be read back, so the "
		"target's user of that name keeps the one it has; change it there, too",
		a->msg.user);
	kept_set(c, a->key, &a->msg);
}

static void forget(struct catalog *c, struct arena *arena, const struct access *a)
{
	const char *warning = arena_printf(arena, "warning/user/%s", a->msg.user);

	kept_set(c, a->key, NULL);
	if (a->msg.kind == KIND_CREATE_USER && kept_has(c, warning))
		kept_set(c, warning, NULL);
}

size_t access_plan(struct catalog *c, cdc_ts watermark, bool existed, struct arena *arena,
		   struct access_change **ret)
{
	struct list now, was;
	size_t n = 0, i = 0, j = 0;

	*ret = NULL;
	if (!c->conf.users || !c->access_dirty)
		return 0;
	c->access_dirty = false;
	now = see(c, arena);
	was = known(c, arena);
	*ret = arena_alloc(arena, (now.n + was.n + 1) * sizeof(**ret));
	while (i < now.n || j < was.n) {
		int cmp = i == now.n ? 1 : j == was.n ? -1 : access_cmp(&now.v[i], &was.v[j]);

		if (cmp > 0) {
			(*ret)[n++] = change(arena, &was.v[j], true);
			forget(c, arena, &was.v[j++]);
			continue;
		}
		if (cmp < 0) {
			if (!existed || !came_along(&now.v[i]))
				(*ret)[n++] = change(arena, &now.v[i], false);
			kept_set(c, now.v[i].key, &now.v[i].msg);
		} else if (now.v[i].msg.password != was.v[j].msg.password) {
			password_changed(c, arena, &now.v[i], watermark);
		}
		i++;
		j += cmp == 0;
	}
	if (n)
		qsort(*ret, n, sizeof(**ret), change_cmp);
	return n;
}
