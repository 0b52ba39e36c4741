/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DDL scenario and the probe on a real target: TARGET_URI=http://host:port names one that takes
 * replicated messages (tests/stack). Without it there is nothing to test.
 */
#include "../unit/ddl_kit.h"

#include <cdc/wire.h>

#include <unistd.h>

static struct target_conf target;

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

static struct milvus *connect_target(void)
{
	return milvus_new(&target, 60000, NULL, NULL);
}

TEST(every_kind_twice)
{
	char db[64], name[64];
	struct kit k;

	snprintf(db, sizeof(db), "ddl_%d", (int)getpid());
	snprintf(name, sizeof(name), "c_%d", (int)getpid());
	kit_init(&k, connect_target());
	k.tick = tick;
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
	kit_init(&k, connect_target());
	k.tick = tick;
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
	kit_init(&k, connect_target());
	k.tick = tick;
	kit_twice(&k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(&k, "", name));
	CHECK_INT(kit_apply(&k, KIND_LOAD, KIT_ID, kit_load(&k, "", 1), false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k.err.text, "700"), "%s", k.err.text);
	kit_twice(&k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(&k, ""));
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
	kit_init(&k, connect_target());
	k.tick = tick;
	kit_twice(&k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(&k, "", name));
	CHECKF(target_probe(&target, arena, &info, &k.err) == 0, "%s", k.err.text);
	CHECK(strstr(info.version, "2."));
	CHECK(info.replicate);
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
	const char *uri = getenv("TARGET_URI");
	struct err err;
	bool tls;

	if (!uri) {
		printf("1..0 # SKIP TARGET_URI is not set\n");
		return 0;
	}
	wire_init();
	target.connect_timeout_ms = 5000;
	if (wire_parse_address(uri, &target.host, &target.port, &tls, &err) < 0) {
		printf("Bail out! %s\n", err.text);
		return 1;
	}
	return run_tests();
}
