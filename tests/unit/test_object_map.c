/* SPDX-License-Identifier: Apache-2.0 */
/* The map of source objects to target objects: lookups, replacement, stored form, damage. */
#include "../../src/data/object_map.h"
#include "../t.h"

static char *str(const char *s)
{
	return (char *)(uintptr_t)s; /* the map copies; it never writes through these */
}

static struct channel_pair channels[2];
static struct partition_pair partitions[2];

static struct target_collection sample(int64_t id, const char *name)
{
	channels[0] = (struct channel_pair){str("s_0_1v0"), str("t_4_2v0"), str("t_4")};
	channels[1] = (struct channel_pair){str("s_1_1v1"), str("t_5_2v1"), str("t_5")};
	partitions[0] = (struct partition_pair){10, 110, str("_default"), false};
	partitions[1] = (struct partition_pair){11, 111, str("old"), true};
	return (struct target_collection){
		.source_id = id,
		.target_id = id + 1000,
		.db = str("db1"),
		.name = str(name),
		.channels = channels,
		.channel_count = 2,
		.partitions = partitions,
		.partition_count = 2,
		.loaded = true,
		.replicas = 2,
	};
}

TEST(finds_by_source_id_whatever_the_order_of_puts)
{
	static const int64_t ids[] = {50, 3, 900, 7, 471000000000000001, 1, 8};
	AUTO(object_map_free) struct object_map *m = object_map_new();

	CHECK(object_map_find(m, 3) == NULL);
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct target_collection c = sample(ids[i], "c");

		object_map_put(m, &c);
	}
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		CHECK(object_map_find(m, ids[i]) != NULL);
		CHECK_INT(object_map_find(m, ids[i])->target_id, ids[i] + 1000);
	}
	CHECK(object_map_find(m, 2) == NULL && object_map_find(m, 901) == NULL &&
	      object_map_find(m, -1) == NULL);
}

TEST(put_copies_deeply)
{
	AUTO(object_map_free) struct object_map *m = object_map_new();
	char name[8] = "first", vchannel[8] = "s_0_1v0", part[8] = "pp";
	struct target_collection c = sample(5, name);
	const struct target_collection *got;

	channels[0].source_vchannel = vchannel;
	partitions[0].name = part;
	object_map_put(m, &c);
	memset(name, 'x', 5);
	memset(vchannel, 'x', 7);
	memset(part, 'x', 2);
	partitions[1].target_id = 1;
	got = object_map_find(m, 5);
	CHECK_STR(got->name, "first");
	CHECK_STR(got->channels[0].source_vchannel, "s_0_1v0");
	CHECK_STR(got->partitions[0].name, "pp");
	CHECK_INT(got->partitions[1].target_id, 111);
}

TEST(put_replaces_also_with_a_change_of_what_the_map_handed_out)
{
	AUTO(object_map_free) struct object_map *m = object_map_new();
	struct target_collection c = sample(5, "a"), d;

	object_map_put(m, &c);
	d = *object_map_find(m, 5); /* shares every string with the map's own */
	d.dropped = true;
	d.partition_count = 1;
	object_map_put(m, &d);
	CHECK(object_map_find(m, 5)->dropped);
	CHECK_INT(object_map_find(m, 5)->partition_count, 1);
	CHECK_STR(object_map_find(m, 5)->channels[1].target_pchannel, "t_5");
}

TEST(R25_a_dropped_collection_has_no_name_but_keeps_its_id)
{
	AUTO(object_map_free) struct object_map *m = object_map_new();
	struct target_collection old = sample(5, "same"), young = sample(6, "same");

	old.dropped = true;
	object_map_put(m, &old);
	CHECK(object_map_by_name(m, "db1", "same") == NULL);
	object_map_put(m, &young);
	CHECK_INT(object_map_by_name(m, "db1", "same")->source_id, 6);
	CHECK(object_map_by_name(m, "db2", "same") == NULL && object_map_by_name(m, "db1", "sam") == NULL);
	CHECK(object_map_find(m, 5)->dropped);
}

TEST(channels_and_partitions_are_matched_whole)
{
	struct target_collection c = sample(5, "a");

	CHECK_STR(target_channel(&c, "s_1_1v1 and more", 7)->target_vchannel, "t_5_2v1");
	CHECK(target_channel(&c, "s_1_1v1", 6) == NULL);
	CHECK(target_channel(&c, "s_1_1v11", 8) == NULL);
	CHECK(target_channel(&c, "", 0) == NULL);
	CHECK_INT(target_partition(&c, 11)->target_id, 111);
	CHECK(target_partition(&c, 11)->dropped && !target_partition(&c, 10)->dropped);
	CHECK(target_partition(&c, 110) == NULL && target_partition(&c, -1) == NULL);
}

static void note(void *arg, const struct target_collection *c)
{
	struct buf *b = arg;

	buf_addf(b, "%lld ", (long long)c->source_id);
}

TEST(stored_and_restored_is_the_same)
{
	AUTO(object_map_free) struct object_map *m = object_map_new(), *again = object_map_new();
	AUTO(arena_free) struct arena *arena = arena_new();
	AUTO_BUF struct buf seen = {0};
	struct target_collection a = sample(471000000000000001, "a"), b = sample(6, "b");
	struct state_row objects[3], twice;
	struct err err = {0};

	b.dropped = true;
	b.channel_count = b.partition_count = 0;
	object_map_put(m, &a);
	objects[0] = object_map_store(object_map_find(m, a.source_id), arena);
	CHECK_STR(objects[0].key, "coll/471000000000000001");
	objects[1] = (struct state_row){"db/1", (const uint8_t *)"\xff\xff", 2};
	objects[2] = object_map_store(&b, arena);
	CHECK(object_map_restore(again, objects, 3, &err) == 0);
	object_map_each(again, note, &seen);
	CHECK_STR((char *)seen.data, "6 471000000000000001 ");
	twice = object_map_store(object_map_find(again, a.source_id), arena);
	CHECK(twice.size == objects[0].size && memcmp(twice.value, objects[0].value, twice.size) == 0);
	CHECK(object_map_find(again, 6)->dropped && object_map_find(again, 6)->channel_count == 0);
	CHECK_STR(object_map_find(again, a.source_id)->db, "db1");
	CHECK(object_map_find(again, a.source_id)->partitions[1].dropped);
	CHECK(object_map_find(again, a.source_id)->loaded &&
	      object_map_find(again, a.source_id)->replicas == 2);
}

TEST(a_damaged_object_is_refused_and_changes_nothing)
{
	AUTO(object_map_free) struct object_map *m = object_map_new();
	AUTO(arena_free) struct arena *arena = arena_new();
	struct target_collection good = sample(4, "good"), c = sample(5, "a");
	struct state_row objects[2] = {object_map_store(&good, arena), object_map_store(&c, arena)};
	struct err err = {0};

	objects[1].size--; /* cut */
	CHECK_INT(object_map_restore(m, objects, 2, &err), -ERR_JOURNAL_BAD);
	CHECK(strstr(err.text, "coll/5") != NULL);
	objects[1].size++;
	objects[1].key = "coll/6"; /* under another's key */
	CHECK_INT(object_map_restore(m, objects, 2, &err), -ERR_JOURNAL_BAD);
	CHECK(strstr(err.text, "coll/6") != NULL && strstr(err.text, " 5") != NULL);
	CHECK(object_map_find(m, 4) == NULL);
}

TEST_MAIN()
