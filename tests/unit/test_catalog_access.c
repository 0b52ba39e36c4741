/* SPDX-License-Identifier: Apache-2.0 */
/* Users, roles and grants from etcd; bulk imports; what is told of both, and how often. */
#include "catalog_world.h"

#define CRED "root-coord/credential/"

static struct world *access_world(void)
{
	struct world *w = world_new();

	w->cat->conf.users = true;
	return w;
}
#define ACCESS_WORLD(w) AUTO(world_free) struct world *w = access_world()

static void restart(struct world *w)
{
	world_restart(w);
	w->cat->conf.users = true;
}

static void put(struct world *w, const char *tail, const char *value)
{
	KEY(key, "%s", tail);

	fake_etcd_put(w->etcd, key, value, strlen(value));
}

static void del(struct world *w, const char *tail)
{
	KEY(key, "%s", tail);

	fake_etcd_del(w->etcd, key);
}

/* As a Milvus that is set up does it. */
static void put_built_in(struct world *w)
{
	put(w, CRED "users/root", "{\"encrypted_password\":\"$2a$04$root\"}");
	put(w, CRED "roles/admin", "");
	put(w, CRED "roles/public", "");
	put(w, CRED "grantee-privileges/public/Global/*.*", "aaaa");
	put(w, CRED "grantee-id/aaaa/PrivilegeDescribeCollection", "root");
	put(w, CRED "grantee-id/aaaa/PrivilegeShowCollections", "root");
	put(w, CRED "grantee-privileges/public/Collection/*.*", "bbbb");
	put(w, CRED "grantee-id/bbbb/PrivilegeIndexDetail", "root");
}

/* alice, a reader, who may insert into x.c1 and do all that is global. */
static void put_alice(struct world *w)
{
	put(w, CRED "users/alice", "{\"encrypted_password\":\"$2a$04$one\"}");
	put(w, CRED "roles/reader", "");
	put(w, CRED "user-role-mapping/alice/reader", "");
	put(w, CRED "grantee-privileges/reader/Collection/x.c1", "cccc");
	put(w, CRED "grantee-id/cccc/PrivilegeInsert", "root");
	put(w, CRED "grantee-privileges/reader/Global/default.*", "dddd");
	put(w, CRED "grantee-id/dddd/*", "root");
}

static void del_alice(struct world *w)
{
	del(w, CRED "grantee-id/cccc/PrivilegeInsert"); /* Milvus leaves the other half of a grant behind */
	del(w, CRED "grantee-id/dddd/*");
	del(w, CRED "user-role-mapping/alice/reader");
	del(w, CRED "roles/reader");
	del(w, CRED "users/alice");
}

/* The cut in words, of users and the like alone. */
static const char *cut(struct world *w, cdc_ts watermark)
{
	static char text[2048];
	size_t n = 0;

	world_cut(w, watermark);
	text[0] = 0;
	for (size_t i = 0; i < w->entry_count; i++) {
		const struct entry *e = &w->entries[i];
		Jr__Ddl *d;

		if (e->kind < KIND_CREATE_USER || e->kind > KIND_REVOKE)
			continue;
		CHECK_INT(e->ts, watermark);
		d = jr__ddl__unpack(NULL, e->size, e->body);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s%s%s%s%s", n ? ", " : "",
				      kind_name(e->kind), *d->user ? " " : "", d->user, *d->role ? " " : "",
				      d->role);
		if (d->grant)
			n += (size_t)snprintf(text + n, sizeof(text) - n, " %s(%s %s.%s by %s)",
					      d->grant->privilege, d->grant->object_type, d->grant->db_name,
					      d->grant->object_name, d->grant->grantor);
		jr__ddl__free_unpacked(d, NULL);
	}
	return text;
}

#define ALICE \
	"create user alice, create role reader, add user to role alice reader, " \
	"grant reader Insert(Collection x.c1 by root), grant reader *(Global default.* by root)"
#define NO_ALICE \
	"revoke reader Insert(Collection x.c1 by root), revoke reader *(Global default.* by root), " \
	"remove user from role alice reader, drop role reader, drop user alice"

TEST(R9_access_is_made_users_first_and_taken_away_grants_first)
{
	ACCESS_WORLD(w);

	put_built_in(w);
	CHECK_STR(cut(w, 100), "");
	put_alice(w);
	CHECK_STR(cut(w, 200), ALICE);
	CHECK_STR(cut(w, 300), "");
	del_alice(w);
	CHECK_STR(cut(w, 400), NO_ALICE);
	CHECK_STR(cut(w, 500), "");
	CHECK(!has_row(w, "access/user/alice"));
}

TEST(R14_access_is_known_after_a_restart)
{
	ACCESS_WORLD(w);

	put_built_in(w);
	put_alice(w);
	CHECK_STR(cut(w, 100), ALICE); /* part of what existed at the start */
	restart(w);
	CHECK_STR(cut(w, 200), "");
	del_alice(w);
	restart(w);
	CHECK_STR(cut(w, 300), NO_ALICE);
	restart(w);
	CHECK_STR(cut(w, 400), "");
}

TEST(R2_a_plan_of_access_that_is_rolled_back_is_made_again)
{
	ACCESS_WORLD(w);
	struct state_row *rows;

	world_cut(w, 100);
	put_alice(w);
	world_fence(w, 200);
	world_build(w, 200);
	CHECK_INT(w->entry_count, 5);
	catalog_rollback(w->cat);
	CHECK_INT(catalog_state(w->cat, w->arena, &rows), 0);
	CHECK_STR(cut(w, 200), ALICE);
	del_alice(w);
	world_fence(w, 300);
	world_build(w, 300);
	catalog_rollback(w->cat);
	CHECK_STR(cut(w, 300), NO_ALICE);
}

TEST(users_come_without_any_collection_too)
{
	ACCESS_WORLD(w);

	world_cut(w, 100);
	CHECK(!catalog_pending(w->cat));
	put_alice(w);
	world_fence(w, 101);
	CHECK(catalog_pending(w->cat));
	CHECK_STR(cut(w, 101), ALICE);
	CHECK(!catalog_pending(w->cat));
}

TEST(a_task_without_users_neither_reads_nor_derives_them)
{
	WORLD(w);

	put_alice(w);
	CHECK_STR(cut(w, 100), "");
	CHECK_INT(w->cat->ranges[RANGE_ACCESS].count, 0);
	CHECK(!has_row(w, "access/user/alice"));
}

TEST(what_a_server_brings_along_is_left_alone_its_changes_are_not)
{
	ACCESS_WORLD(w);

	put_built_in(w);
	CHECK_STR(cut(w, 100), "");
	put(w, CRED "grantee-privileges/public/Collection/default.c9", "eeee");
	put(w, CRED "grantee-id/eeee/PrivilegeQuery", "alice");
	put(w, CRED "users/root", "{\"encrypted_password\":\"$2a$04$other\"}");
	put(w, CRED "user-role-mapping/root/admin", "");
	CHECK_STR(cut(w, 200),
		  "add user to role root admin, grant public Query(Collection default.c9 by alice)");
	del(w, CRED "grantee-id/bbbb/PrivilegeIndexDetail");
	CHECK_STR(cut(w, 300), "revoke public IndexDetail(Collection *.* by root)");
	put(w, CRED "grantee-id/bbbb/PrivilegeIndexDetail", "root");
	CHECK_STR(cut(w, 400), "grant public IndexDetail(Collection *.* by root)");
}

TEST(a_grant_without_its_other_half_is_none)
{
	ACCESS_WORLD(w);

	world_cut(w, 100);
	put(w, CRED "grantee-privileges/r/Collection/c1", "1111"); /* of before 2.2.9: no database */
	put(w, CRED "grantee-id/2222/PrivilegeInsert", "root");
	put(w, CRED "something/new", "x");
	put(w, CRED "grantee-privileges/r", "x");
	put(w, CRED "users/", "x");
	CHECK_STR(cut(w, 200), "");
	put(w, CRED "grantee-id/1111/PrivilegeInsert", "root");
	CHECK_STR(cut(w, 300), "grant r Insert(Collection default.c1 by root)");
}

/* --- warnings --- */

/* "+" marks what is told now. */
static const char *warned(struct world *w)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	static char text[4096];
	struct catalog_warning *v;
	size_t n = catalog_warnings(w->cat, arena, &v), at = 0;

	text[0] = 0;
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", v[i].fresh ? "+" : "-",
				       v[i].text);
	return text;
}

TEST(a_changed_password_is_told_once_and_never_itself)
{
	ACCESS_WORLD(w);

	put_alice(w);
	world_cut(w, 100);
	CHECK(!catalog_warned(w->cat));
	put(w, CRED "users/alice", "{\"encrypted_password\":\"$2a$04$two\"}");
	world_fence(w, 200);
	world_build(w, 200);
	CHECK(!catalog_warned(w->cat)); /* not before the journal has it */
	catalog_rollback(w->cat);
	CHECK_STR(cut(w, 200), "");
	CHECK(catalog_warned(w->cat));
	CHECK(strncmp(warned(w), "+user 'alice': the password was changed", 39) == 0);
	CHECK(!strstr(warned(w), "$2a$"));
	CHECK(!catalog_warned(w->cat));
	restart(w);
	CHECK(catalog_warned(w->cat)); /* there again, for get, but not told again */
	CHECK(strncmp(warned(w), "-user 'alice'", 13) == 0);
	CHECK_STR(cut(w, 300), "");
	CHECK(strncmp(warned(w), "-user 'alice'", 13) == 0);
	for (size_t i = 0; i < w->row_count; i++)
		CHECK(!memmem(w->rows[i].value, w->rows[i].size, "$2a$", 4));
	del_alice(w);
	cut(w, 400);
	CHECK(catalog_warned(w->cat));
	CHECK_STR(warned(w), "");
}

static void put_task(struct world *w, int64_t id, int64_t coll, int state, int64_t create_s)
{
	Mv__ImportTask m = MV__IMPORT_TASK__INIT;
	Mv__ImportTaskState s = MV__IMPORT_TASK_STATE__INIT;
	KEY(key, "importtask/%lld", (long long)id);

	m.id = id;
	m.collection_id = coll;
	m.create_s = create_s;
	s.state = state;
	s.row_count = 5;
	m.state = &s;
	put_msg(w, key, &m);
}

static void put_job(struct world *w, int64_t id, int64_t coll, int state)
{
	Mv__ImportJob m = MV__IMPORT_JOB__INIT;
	KEY(key, "datacoord-meta/import-job/%lld", (long long)id);

	m.job_id = id;
	m.collection_id = coll;
	m.state = state;
	put_msg(w, key, &m);
}

static void starts(const char *text, const char *want)
{
	CHECKF(strncmp(text, want, strlen(want)) == 0, "%s", text);
}

TEST(a_bulk_import_is_told_once_with_the_collections_name)
{
	WORLD(w);

	put_db(w, 5, "x", 1, 1);
	make_coll(w, 5, 100, "a", 50);
	world_cut(w, 100);
	put_task(w, 9, 100, 2, 0);
	world_cut(w, 200);
	CHECK(!catalog_warned(w->cat));
	put_task(w, 9, 100, 6, 0);
	world_cut(w, 300);
	starts(warned(w), "+collection x.a: 5 rows were imported in bulk at the source (import 9)");
	put_task(w, 9, 100, 6, 0); /* written again, not done again */
	world_cut(w, 400);
	CHECK(!catalog_warned(w->cat));
	restart(w);
	starts(warned(w), "-collection x.a");
	world_cut(w, 500);
	CHECK(!catalog_warned(w->cat));
	put_task(w, 10, 100, 5, 0);
	world_cut(w, 600);
	starts(warned(w), "+collection x.a: 5 rows were imported in bulk at the source (import 10)");
	del(w, "importtask/9");
	world_cut(w, 700);
	CHECK(!has_row(w, "import/9") && has_row(w, "import/10"));
	starts(warned(w), "-collection x.a");
	put_coll(w, 5, 100, "a", 50, STATE_DROPPING);
	world_record(w, 100, 0, 750);
	world_cut(w, 800);
	world_cut(w, 900);
	CHECK_STR(warned(w), "");
	CHECK(!has_row(w, "warning/import/100"));
}

TEST(imports_that_failed_or_are_not_the_tasks_are_not_told)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "no_b", 50);
	world_cut(w, 100);
	put_task(w, 1, 100, 1, 0);
	put_task(w, 2, 100, 7, 0);
	put_task(w, 3, 200, 6, 0);
	put_task(w, 4, 300, 6, 0);
	put_job(w, 5, 100, 4);
	put(w, "importtask/6", "\xff\xff no such thing");
	put(w, "importtask/seven", "x");
	world_cut(w, 200);
	CHECK_STR(warned(w), "");
}

TEST(R3_imports_before_the_task_are_not_told_those_after_its_start_are)
{
	WORLD(w);
	cdc_ts t0 = ts_from_ms(5000 * 1000);

	make_coll(w, 1, 100, "a", 50);
	make_coll(w, 1, 200, "b", 50);
	make_coll(w, 1, 300, "c", 50);
	put_task(w, 1, 100, 6, 4999);
	put_task(w, 2, 200, 6, 5001); /* between the start's timestamp and the look at etcd */
	put_job(w, 3, 300, 5);
	world_cut(w, t0);
	starts(warned(w), "+collection default.b");
	restart(w);
	world_cut(w, t0 + 100);
	starts(warned(w), "-collection default.b");
}

TEST(an_import_into_a_collection_of_a_later_cut_waits_for_it)
{
	WORLD(w);

	world_cut(w, 100);
	make_coll(w, 1, 100, "a", 250);
	put_job(w, 7, 100, 5);
	world_cut(w, 200);
	CHECK_STR(warned(w), "");
	world_cut(w, 300);
	starts(warned(w), "+collection default.a: rows were imported in bulk at the source (import 7)");
}

TEST(an_import_message_and_its_job_in_etcd_are_one_warning)
{
	WORLD(w);

	make_coll(w, 1, 100, "a", 50);
	world_cut(w, 100);
	catalog_import(w->cat, 100, 7, 150, w->arena);
	catalog_import(w->cat, 100, 7, 150, w->arena); /* one message a shard */
	catalog_import(w->cat, 999, 8, 150, w->arena);
	world_cut(w, 200);
	starts(warned(w), "+collection default.a: rows were imported in bulk at the source (import 7)");
	put_job(w, 7, 100, 5);
	put_job(w, 6, 100, 1);
	world_cut(w, 300);
	CHECK(!catalog_warned(w->cat));
	del(w, "datacoord-meta/import-job/7");
	world_cut(w, 400);
	restart(w);
	catalog_import(w->cat, 100, 7, 450, w->arena); /* a log that is read again */
	world_cut(w, 500);
	starts(warned(w), "-collection default.a");
	CHECK(has_row(w, "import/7"));
}

TEST(state_rows_of_access_that_cannot_be_read_are_named)
{
	static const char *const keys[] = {"access/user/a", "import/5", "warning/x"};
	WORLD(w);

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct state_row row = {keys[i], (const uint8_t *)"\xff\xff", 2};

		CHECK_INT(catalog_restore(w->cat, &row, &w->err), -ERR_JOURNAL_BAD);
		CHECK(strstr(w->err.text, keys[i]) != NULL);
	}
}

TEST_MAIN()
