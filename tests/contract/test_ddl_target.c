/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DDL scenario and the probe on a real target (tests/stack): TARGET_URI=http://host:port names it,
 * TARGET_LOGIN=user:password its user if it wants one. It may take replicated messages or be an ordinary
 * one. Without TARGET_URI there is nothing to test.
 */
#include "../unit/ddl_kit.h"

#include <cdc/wire.h>

#include <unistd.h>

static struct target_conf target;
static bool ordinary; /* takes no replicated messages (R28) */

/* As the applier's: a tick to every pchannel of a new collection, else its channels are not watched. */
static void tick(struct kit *k)
{
	const struct target_collection *c = object_map_find(k->map, KIT_ID);
	AUTO_BUF struct buf msg = {0};
	struct pb_bytes bytes;

	k->ts += 1 << TS_LOGICAL_BITS;
	rewrite_tick(&msg, k->ts);
	bytes = (struct pb_bytes){msg.data, msg.len};
	for (size_t i = 0; c && i < c->channel_count; i++)
		CHECKF(milvus_replicate(k->milvus, c->channels[i].target_pchannel, k->ts, k->ts, &bytes, 1,
					NULL, &k->err) == 0,
		       "%s", k->err.text);
}

static void start(struct kit *k)
{
	kit_init(k, milvus_new(&target, 60000, NULL, NULL));
	k->ddl.plain = ordinary;
	if (ordinary)
		k->ddl.send = NULL;
	else
		k->tick = tick;
}

TEST(every_kind_twice)
{
	char db[64], name[64];
	struct kit k;

	snprintf(db, sizeof(db), "ddl_%d", (int)getpid());
	snprintf(name, sizeof(name), "c_%d", (int)getpid());
	start(&k);
	ddl_scenario(&k, db, name);
	CHECKF(strstr(k.note, "3 replicas"), "%s", k.note);
	kit_done(&k);
}

TEST(partition_key_and_index_from_effective_parameters)
{
	Jr__Ddl *d, *x;
	char name[64];
	struct kit k;

	snprintf(name, sizeof(name), "k_%d", (int)getpid());
	start(&k);
	d = kit_collection(&k, "", name);
	d->collection->schema->fields[2]->is_partition_key = true;
	d->n_partitions = 0;
	for (int i = 0; i < 3; i++)
		d->partitions[d->n_partitions++] =
			kit_partition(&k, 600 + i, arena_printf(k.arena, "_default_%d", i));
	kit_twice(&k, KIND_CREATE_COLLECTION, KIT_ID, d);
	CHECK_INT(kit_describe(&k, "default", name)->num_partitions, 3);
	x = kit_index(&k, "default", "v", "v");
	x->index->n_user_index_params = 0;
	kit_twice(&k, KIND_CREATE_INDEX, KIT_ID, x);
	CHECK_INT(kit_indexes(&k, "", name), 1);
	/* what the server then shows as the user's parameters compares equal to both forms */
	kit_twice(&k, KIND_CREATE_INDEX, KIT_ID, kit_index(&k, "", "v", "v"));
	CHECK_INT(kit_try(&k, KIND_CREATE_INDEX, KIT_ID, kit_index(&k, "", "v", "other"), false),
		  -ERR_TARGET_REFUSED);
	CHECK_INT(kit_try(&k, KIND_LOAD, KIT_ID + 1, kit_load(&k, "", 1), false), 0);
	d->collection->schema->fields[1]->type_params[0]->value = (char *)"8";
	CHECK_INT(kit_try(&k, KIND_CREATE_COLLECTION, KIT_ID, d, false), -ERR_TARGET_SCHEMA);
	CHECKF(strstr(k.err.text, "field v: dim is 8, on the target 4"), "%s", k.err.text);
	kit_crash(&k);
	kit_twice(&k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(&k, ""));
	kit_done(&k);
}

TEST(load_without_index_is_refused)
{
	char name[64];
	struct kit k;

	snprintf(name, sizeof(name), "l_%d", (int)getpid());
	start(&k);
	kit_twice(&k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(&k, "", name));
	CHECK_INT(kit_apply(&k, KIND_LOAD, KIT_ID, kit_load(&k, "", 1), false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k.err.text, "700"), "%s", k.err.text);
	kit_twice(&k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(&k, ""));
	kit_done(&k);
}

TEST(names_swapped_in_one_cut)
{
	char a[64], b[64];
	int64_t ida, idb;
	struct kit k;

	snprintf(a, sizeof(a), "sa_%d", (int)getpid());
	snprintf(b, sizeof(b), "sb_%d", (int)getpid());
	start(&k);
	kit_twice(&k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(&k, "", a));
	kit_twice(&k, KIND_CREATE_COLLECTION, KIT_ID + 1, kit_collection(&k, "", b));
	ida = kit_describe(&k, "", a)->collection_id;
	idb = kit_describe(&k, "", b)->collection_id;
	/* under the alias of another of ours, which makes room */
	kit_twice(&k, KIND_CREATE_ALIAS, KIT_ID, kit_alias(&k, "", a, "sal"));
	kit_twice(&k, KIND_ALTER_ALIAS, KIT_ID + 1, kit_alias(&k, "", b, "sal"));
	CHECK_STR(kit_behind(&k, "", "sal"), b);
	kit_twice(&k, KIND_RENAME_COLLECTION, KIT_ID, kit_rename(&k, "", a, "", "sal"));
	CHECK_INT(kit_describe(&k, "", "sal")->collection_id, ida);
	kit_twice(&k, KIND_RENAME_COLLECTION, KIT_ID, kit_rename(&k, "", "sal", "", a));
	kit_twice(&k, KIND_RENAME_COLLECTION, KIT_ID, kit_rename(&k, "", a, "", b));
	kit_twice(&k, KIND_RENAME_COLLECTION, KIT_ID + 1, kit_rename(&k, "", b, "", a));
	CHECK_INT(kit_describe(&k, "", b)->collection_id, ida);
	CHECK_INT(kit_describe(&k, "", a)->collection_id, idb);
	kit_twice(&k, KIND_DROP_COLLECTION, KIT_ID + 1, kit_ddl(&k, ""));
	kit_twice(&k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(&k, ""));
	CHECK(!kit_describe(&k, "", a) && !kit_describe(&k, "", b));
	kit_done(&k);
}

TEST(a_rename_to_another_database)
{
	char db[64], name[64];
	struct kit k;

	snprintf(db, sizeof(db), "rdb_%d", (int)getpid());
	snprintf(name, sizeof(name), "r_%d", (int)getpid());
	start(&k);
	kit_twice(&k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(&k, "", name));
	kit_twice(&k, KIND_CREATE_ALIAS, KIT_ID, kit_alias(&k, "", name, "ral"));
	kit_twice(&k, KIND_RENAME_COLLECTION, KIT_ID, kit_rename(&k, "", name, db, name));
	CHECK(kit_describe(&k, db, name) && !kit_describe(&k, "", name));
	CHECK(!kit_describe(&k, "", "ral"));
	kit_twice(&k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(&k, db));
	kit_twice(&k, KIND_DROP_DATABASE, 0, kit_ddl(&k, db));
	kit_done(&k);
}

TEST(what_cannot_be_altered_is_a_note)
{
	static const char *const props[] = {"x", "1", NULL}, *const none[] = {NULL};
	char name[64];
	struct kit k;
	Jr__Ddl *x;

	snprintf(name, sizeof(name), "n_%d", (int)getpid());
	start(&k);
	kit_twice(&k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(&k, "", name));
	kit_twice(&k, KIND_CREATE_INDEX, KIT_ID, kit_index(&k, "", "v", "ix"));
	kit_twice(&k, KIND_ALTER_COLLECTION, KIT_ID, kit_properties(&k, "", none, "collection.ttl.seconds"));
	CHECKF(strstr(k.note, "keeps its property"), "%s", k.note);
	x = kit_index(&k, "", "v", "ix");
	x->index->user_index_params[x->index->n_user_index_params++] = kit_kv(&k, "mmap.enabled", "true");
	kit_twice(&k, KIND_ALTER_INDEX, KIT_ID, x);
	CHECKF(strstr(k.note, "index ix of"), "%s", k.note);
	kit_twice(&k, KIND_ALTER_DATABASE, 0, kit_properties(&k, "", props, NULL));
	CHECKF(strstr(k.note, "database default keeps"), "%s", k.note);
	kit_twice(&k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(&k, ""));
	kit_done(&k);
}

TEST(R28_an_ordinary_target_makes_no_ids_of_its_own)
{
	char name[64];
	struct kit k;
	Jr__Ddl *d;

	snprintf(name, sizeof(name), "i_%d", (int)getpid());
	start(&k);
	d = kit_collection(&k, "", name);
	d->collection->schema->auto_id = true;
	d->collection->schema->fields[0]->auto_id = true;
	kit_twice(&k, KIND_CREATE_COLLECTION, KIT_ID, d);
	CHECK_INT(kit_describe(&k, "", name)->schema->fields[0]->auto_id, !ordinary);
	kit_twice(&k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(&k, ""));
	kit_done(&k);
}

TEST(users_roles_and_privileges)
{
	char user[32], role[32];
	struct kit k;

	snprintf(user, sizeof(user), "u_%d", (int)getpid());
	snprintf(role, sizeof(role), "r_%d", (int)getpid());
	start(&k);
	access_scenario(&k, user, role, "default");
	kit_twice(&k, KIND_ADD_USER_TO_ROLE, 0, kit_access(&k, user, role)); /* both are gone */
	CHECKF(strstr(k.note, "not applied to the target"), "%s", k.note);
	kit_done(&k);
}

TEST(probe_finds_version_door_and_objects)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct target_info info;
	char name[64];
	bool found = false;
	struct kit k;

	snprintf(name, sizeof(name), "p_%d", (int)getpid());
	start(&k);
	kit_twice(&k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(&k, "", name));
	CHECKF(target_probe(&target, arena, &info, &k.err) == 0, "%s", k.err.text);
	CHECK(strstr(info.version, "2."));
	CHECK_INT(info.replicate, !ordinary);
	for (size_t i = 0; i < info.object_count; i++)
		if (STREQ(info.objects[i].name, name)) {
			Mv__DescribeCollectionResponse *r = kit_describe(&k, "", name);

			found = true;
			CHECK_INT(info.objects[i].id, r->collection_id);
			CHECK_INT(info.objects[i].created, r->created_timestamp);
			CHECK_STR(info.objects[i].db, "default");
		}
	CHECK(found);
	kit_twice(&k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(&k, ""));
	kit_done(&k);
}

static int run(void);
int run_tests(void);
#define main run_tests
TEST_MAIN()
#undef main

int main(void)
{
	return run();
}

static int run(void)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	const char *uri = getenv("TARGET_URI");
	struct target_info info;
	struct err err;
	bool tls;

	if (!uri) {
		printf("1..0 # SKIP TARGET_URI is not set\n");
		return 0;
	}
	wire_init();
	target.connect_timeout_ms = 5000;
	target.authorization = getenv("TARGET_LOGIN"); /* user:password */
	if (wire_parse_address(uri, &target.host, &target.port, &tls, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	if (target_probe(&target, arena, &info, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	ordinary = !info.replicate;
	return run_tests();
}
