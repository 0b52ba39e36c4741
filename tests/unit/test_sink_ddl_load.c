/* SPDX-License-Identifier: Apache-2.0 */
/* Load state onto a target: the whole, partitions, and what comes back after a release on the way (R25). */
#include "ddl_fake.h"

/* Partitions p (502) and q (503), an index, nothing loaded. */
static struct kit *with_partitions(void)
{
	struct kit *k = with_collection("", "c");

	CHECK(kit_apply(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 503, "q"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	buf_reset(&fake.log);
	return k;
}

static bool loaded(const char *partition)
{
	return fake_partition_loaded(fake_find("", "c"), partition);
}

TEST(partitions_are_loaded_and_released_alone)
{
	struct kit *k = with_partitions();
	Jr__Ddl *d = kit_of_partition(k, "", 502, "p");

	CHECK(kit_apply(k, KIND_LOAD_PARTITIONS, KIT_ID, d, true) == 0);
	CHECK(loaded("p") && !loaded("q") && !loaded("_default"));
	CHECK(kit_apply(k, KIND_LOAD_PARTITIONS, KIT_ID, kit_of_partition(k, "", 503, "q"), true) == 0);
	kit_crash(k);
	CHECK_INT(object_map_find(k->map, KIT_ID)->loaded_partition_count, 2);
	CHECK(kit_apply(k, KIND_RELEASE_PARTITIONS, KIT_ID, d, true) == 0);
	CHECK(!loaded("p") && loaded("q"));
	CHECK_INT(object_map_find(k->map, KIT_ID)->loaded_partition_count, 1);
	CHECK_INT(object_map_find(k->map, KIT_ID)->loaded_partitions[0], 503);
	CHECK_STR(log_text(), "LoadPartitions default.c.p\nLoadPartitions default.c.q\n"
			      "ReleasePartitions default.c.p\n");
	done_with(k);
}

TEST(load_of_the_whole_after_some_partitions_loads_the_rest)
{
	struct kit *k = with_partitions();

	CHECK(kit_apply(k, KIND_LOAD_PARTITIONS, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_LOAD, KIT_ID, kit_load(k, "", 1), true) == 0);
	CHECK(loaded("p") && loaded("q") && loaded("_default"));
	CHECK(object_map_find(k->map, KIT_ID)->loaded);
	CHECK_INT(object_map_find(k->map, KIT_ID)->loaded_partition_count, 0);
	done_with(k);
}

TEST(R25_an_index_dropped_under_loaded_partitions_comes_back_with_them)
{
	struct kit *k = with_partitions();

	CHECK(kit_apply(k, KIND_LOAD_PARTITIONS, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK_INT(fake_find("", "c")->load_state, 1);
	kit_crash(k);
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK(loaded("p") && !loaded("q") && !loaded("_default"));
	done_with(k);
}

TEST(R25_a_partition_released_of_the_whole_stays_released)
{
	struct kit *k = with_partitions();

	CHECK(kit_apply(k, KIND_LOAD, KIT_ID, kit_load(k, "", 1), true) == 0);
	CHECK(kit_apply(k, KIND_RELEASE_PARTITIONS, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(!loaded("p") && loaded("q") && loaded("_default"));
	CHECK(kit_apply(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK(!loaded("p") && loaded("q") && loaded("_default"));
	done_with(k);
}

TEST(R25_a_crash_between_release_and_reload_loads_the_partitions_again)
{
	struct kit *k = with_partitions();

	CHECK(kit_apply(k, KIND_LOAD_PARTITIONS, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	fake_find("", "c")->load_state = 1;
	fake_find("", "c")->index_count = 1;
	CHECK(kit_apply(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, "", "v", "gone"), true) == 0);
	CHECK(loaded("p") && !loaded("q"));
	done_with(k);
}

TEST(release_forgets_partitions)
{
	struct kit *k = with_partitions();

	CHECK(kit_apply(k, KIND_LOAD_PARTITIONS, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_RELEASE, KIT_ID, kit_ddl(k, ""), true) == 0);
	kit_crash(k);
	CHECK_INT(object_map_find(k->map, KIT_ID)->loaded_partition_count, 0);
	CHECK_INT(fake_find("", "c")->load_state, 1);
	done_with(k);
}

TEST(more_replicas_of_partitions_than_the_target_has_nodes)
{
	struct kit *k = with_partitions();
	Jr__Ddl *d = kit_of_partition(k, "", 502, "p");

	d->load = kit_load(k, "", 3)->load;
	CHECKF(kit_apply(k, KIND_LOAD_PARTITIONS, KIT_ID, d, true) == 0, "%s", k->err.text);
	CHECK(loaded("p"));
	CHECK_INT(object_map_find(k->map, KIT_ID)->replicas, 1);
	CHECKF(strstr(k->note, "3 replicas"), "%s", k->note);
	done_with(k);
}

TEST(partitions_that_are_not_mapped_are_left_out)
{
	struct kit *k = with_partitions();
	Jr__Ddl *d = kit_of_partition(k, "", 599, "unknown");

	CHECK(kit_apply(k, KIND_LOAD_PARTITIONS, KIT_ID, d, true) == 0);
	CHECK(kit_apply(k, KIND_RELEASE_PARTITIONS, KIT_ID, d, true) == 0);
	CHECK_STR(log_text(), "");
	done_with(k);
}

TEST(R24_a_new_partition_of_a_loaded_collection_is_loaded_where_the_target_does_not_do_it)
{
	struct kit *k = with_partitions();

	CHECK(kit_apply(k, KIND_LOAD_PARTITIONS, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_LOAD, KIT_ID, kit_load(k, "", 1), true) == 0);
	fake_find("", "c")->by_partitions = true; /* it stays what it was loaded as first */
	CHECK(kit_apply(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 504, "r"), true) == 0);
	CHECK(loaded("r"));
	fake_find("", "c")->by_partitions = false;
	buf_reset(&fake.log);
	CHECK(kit_apply(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 505, "s"), true) == 0);
	CHECK_STR(log_text(), "CreatePartition default.c.s\n");
	done_with(k);
}

TEST_MAIN()
