/* SPDX-License-Identifier: Apache-2.0 */
/* Indexes and load state onto a target. */
#include "ddl_fake.h"

TEST(the_same_index_with_its_parameters_in_another_order_is_there)
{
	struct kit *k = with_loaded();
	Jr__Ddl *d = kit_index(k, "", "v", "ix");

	d->index->user_index_params =
		kit_kvs(k, &d->index->n_user_index_params,
			(const char *[]){"params", "{\"efConstruction\": \"64\", \"M\": 8}", "metric_type",
					 "L2", "index_type", "HNSW", NULL});
	CHECKF(kit_try(k, KIND_CREATE_INDEX, KIT_ID, d, false) == 0, "%s", k->err.text);
	d->index->n_user_index_params = 0; /* flat, as servers before 2.3 kept them */
	CHECKF(kit_try(k, KIND_CREATE_INDEX, KIT_ID, d, false) == 0, "%s", k->err.text);
	CHECK_STR(log_text(), "");
	done_with(k);
}

TEST(another_index_in_the_way_is_described)
{
	struct kit *k = with_loaded();
	Jr__Ddl *d = kit_index(k, "", "v", "ix");

	d->index->user_index_params =
		kit_kvs(k, &d->index->n_user_index_params,
			(const char *[]){"index_type", "FLAT", "metric_type", "IP", NULL});
	CHECK_INT(kit_try(k, KIND_CREATE_INDEX, KIT_ID, d, false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "index_type=FLAT, metric_type=IP") && strstr(k->err.text, "M=8"), "%s",
	       k->err.text);
	CHECK_INT(kit_try(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "other"), false),
		  -ERR_TARGET_REFUSED);
	CHECK_INT(kit_try(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "s", "ix"), false),
		  -ERR_TARGET_REFUSED);
	CHECK(fake_index_is(fake_find("", "c"), "v", "ix"));
	done_with(k);
}

TEST(an_index_is_made_of_what_the_user_gave)
{
	struct kit *k = with_collection("", "c");
	Jr__Ddl *d = kit_index(k, "", "v", "ix");
	const struct fake_index *x;

	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, d, true) == 0);
	x = &fake_find("", "c")->indexes[0];
	CHECK_INT(x->request->n_extra_params, 3);
	CHECK_STR(x->request->extra_params[2]->value, "{\"M\":8,\"efConstruction\":64}");
	done_with(k);
}

TEST(an_index_of_an_old_server_is_made_of_what_is_in_effect)
{
	struct kit *k = with_collection("", "c");
	Jr__Ddl *d = kit_index(k, "", "v", "ix");

	d->index->n_user_index_params = 0;
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, d, true) == 0);
	CHECK_INT(fake_find("", "c")->indexes[0].request->n_extra_params, 4);
	done_with(k);
}

TEST(a_scalar_index_that_was_asked_for_without_parameters_has_none)
{
	struct kit *k = with_collection("", "c");
	Jr__Ddl *d = kit_index(k, "", "s", "scalar");

	d->index->n_user_index_params = 0;
	d->index->index_params =
		kit_kvs(k, &d->index->n_index_params, (const char *[]){"index_type", "STL_SORT", NULL});
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, d, true) == 0);
	CHECK_INT(fake_find("", "c")->indexes[0].request->n_extra_params, 0);
	done_with(k);
}

TEST(drop_index_leaves_one_of_that_name_on_another_field)
{
	struct kit *k = with_loaded();

	CHECK_INT(kit_try(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, "", "s", "ix"), false), 0);
	CHECK_STR(log_text(), "");
	done_with(k);
}

TEST(load_falls_back_to_one_replica_and_says_so)
{
	struct kit *k = with_loaded();

	CHECK(kit_apply(k, KIND_RELEASE, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECKF(kit_apply(k, KIND_LOAD, KIT_ID, kit_load(k, "", 4), true) == 0, "%s", k->err.text);
	CHECKF(strstr(k->note, "4 replicas") && strstr(k->note, "nodes not enough"), "%s", k->note);
	CHECK_INT(object_map_find(k->map, KIT_ID)->replicas, 1);
	fake.nodes = 4;
	CHECK(kit_apply(k, KIND_RELEASE, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECK(kit_apply(k, KIND_LOAD, KIT_ID, kit_load(k, "", 4), true) == 0);
	CHECK_INT(fake_find("", "c")->replicas, 4);
	done_with(k);
}

TEST(a_loaded_collection_keeps_its_replicas)
{
	struct kit *k = with_loaded();

	fake.nodes = 4;
	CHECKF(kit_apply(k, KIND_LOAD, KIT_ID, kit_load(k, "", 4), true) == 0, "%s", k->err.text);
	CHECK_INT(fake_find("", "c")->replicas, 1);
	done_with(k);
}

TEST(load_without_an_index_is_refused_for_good)
{
	struct kit *k = with_collection("", "c");

	CHECK_INT(kit_try(k, KIND_LOAD, KIT_ID, kit_load(k, "", 3), false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "700"), "%s", k->err.text);
	CHECK(!object_map_find(k->map, KIT_ID)->loaded);
	done_with(k);
}

TEST_MAIN()
