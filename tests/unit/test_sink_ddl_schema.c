/* SPDX-License-Identifier: Apache-2.0 */
/* Collections onto a target: what is sent, how shards are paired, what is adopted and what not. */
#include "ddl_fake.h"

/* --- collections --------------------------------------------------------------------------------- */

TEST(create_sends_user_fields_in_id_order_and_the_sources_settings)
{
	struct kit *k = fresh();
	Jr__Ddl *d = kit_collection(k, "", "c");
	Mv__CollectionSchema *s = d->collection->schema;
	Mv__FieldSchema *swap = s->fields[0];
	const struct fake_collection *c;

	s->fields[0] = s->fields[2];
	s->fields[2] = swap;
	kit_field(k, s, 0, "RowID", 5, NULL, NULL);
	kit_field(k, s, 1, "Timestamp", 5, NULL, NULL);
	s->enable_dynamic_field = false; /* $meta says it as well */
	CHECK(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, d, true) == 0);
	c = fake_find("", "c");
	CHECK_INT(c->schema->n_fields, 3);
	CHECK_STR(c->schema->fields[0]->name, "id");
	CHECK_STR(c->schema->fields[1]->name, "v");
	CHECK_STR(c->schema->fields[2]->name, "s");
	CHECK(c->schema->fields[0]->is_primary_key);
	CHECK_STR(c->schema->fields[1]->type_params[0]->value, "4");
	CHECK(c->schema->enable_dynamic_field);
	CHECK_STR(c->schema->name, "c");
	CHECK_STR(c->schema->description, "of a test");
	CHECK_INT(c->request->shards_num, 2);
	CHECK_INT(c->request->consistency_level, 1);
	CHECK_INT(c->request->num_partitions, 0);
	CHECK_STR(c->request->properties[0]->key, "collection.ttl.seconds");
	CHECK_INT(c->created, k->ts);
	done_with(k);
}

TEST(create_keeps_auto_id_partition_key_and_defaults)
{
	struct kit *k = fresh();
	Jr__Ddl *d = kit_collection(k, "", "c");
	Mv__CollectionSchema *s = d->collection->schema;
	Mv__ValueField v = MV__VALUE_FIELD__INIT;
	const struct fake_collection *c;

	s->fields[0]->auto_id = true;
	s->fields[2]->is_partition_key = true;
	v.data_case = MV__VALUE_FIELD__DATA_STRING_DATA;
	v.string_data = (char *)"none";
	s->fields[2]->default_value = &v;
	d->n_partitions = 0;
	for (int i = 0; i < 5; i++)
		d->partitions[d->n_partitions++] =
			kit_partition(k, 600 + i, arena_printf(k->arena, "_default_%d", i));
	CHECKF(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, d, true) == 0, "%s", k->err.text);
	c = fake_find("", "c");
	CHECK(c->schema->fields[0]->auto_id);
	CHECK(c->schema->fields[2]->is_partition_key);
	CHECK_STR(c->schema->fields[2]->default_value->string_data, "none");
	CHECK_INT(c->request->num_partitions, 5);
	CHECK_INT(object_map_find(k->map, KIT_ID)->partition_count, 5);
	CHECK_INT(target_partition(object_map_find(k->map, KIT_ID), 603)->target_id, c->partition_ids[3]);
	/* the same schema over another number of partitions would be read in the wrong ones */
	d->n_partitions = 4;
	kit_done(k);
	kit_init(k, milvus_new(NULL, 0, NULL, NULL));
	d = kit_collection(k, "", "c");
	s = d->collection->schema;
	s->fields[0]->auto_id = true;
	s->fields[2]->is_partition_key = true;
	s->fields[2]->default_value = &v;
	d->partitions[0]->partition_name = (char *)"_default_0";
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false), -ERR_TARGET_SCHEMA);
	CHECKF(strstr(k->err.text, "over 1 partitions, on the target over 5"), "%s", k->err.text);
	done_with(k);
}

TEST(create_makes_the_database_and_partitions_that_are_missing)
{
	struct kit *k = fresh();
	Jr__Ddl *d = kit_collection(k, "shop", "c");

	d->partitions[d->n_partitions++] = kit_partition(k, 502, "p");
	fake.races = 2;
	CHECKF(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, d, true) == 0, "%s", k->err.text);
	CHECK(fake_has_db("shop"));
	CHECK_INT(fake_count("CreateDatabase"), 1);
	CHECK_INT(fake_count("CreateCollection"), 1);
	CHECK_INT(target_partition(object_map_find(k->map, KIT_ID), 502)->target_id,
		  fake_find("shop", "c")->partition_ids[1]);
	CHECK_STR(object_map_by_name(k->map, "shop", "c")->name, "c");
	done_with(k);
}

TEST(metadata_race_is_busy_for_one_attempt)
{
	struct kit *k = with_collection("", "c");

	fake.races = 1;
	CHECK_INT(kit_try(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true),
		  -ERR_TARGET_BUSY);
	CHECK_INT(kit_try(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true), 0);
	done_with(k);
}

TEST(the_empty_name_is_the_default_database)
{
	struct kit *k = with_collection("", "c");

	CHECK(object_map_by_name(k->map, "default", "c") != NULL);
	CHECK_INT(kit_try(k, KIND_CREATE_DATABASE, 0, kit_ddl(k, ""), false), 0);
	CHECK_INT(kit_try(k, KIND_CREATE_DATABASE, 0, kit_ddl(k, "default"), false), 0);
	CHECK_INT(kit_try(k, KIND_DROP_DATABASE, 0, kit_ddl(k, "default"), false), 0);
	CHECK_INT(fake_count("CreateDatabase") + fake_count("DropDatabase"), 0);
	done_with(k);
}

TEST(vchannels_are_paired_by_shard_index)
{
	struct kit *k = fresh();
	Jr__Ddl *d = kit_collection(k, "", "c");
	const struct channel_pair *p;

	d->collection->shards_num = 2;
	d->collection->virtual_channel_names[0] = (char *)"src-dml_9_7v1";
	d->collection->virtual_channel_names[1] = (char *)"src-dml_10_7v0";
	fake.swap_shards = true;
	fake.last_id =
		9002; /* shard 0 in pchannel 3, shard 1 in pchannel 0: name order is the other way round */
	CHECK(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, d, true) == 0);
	p = target_channel(object_map_find(k->map, KIT_ID), "src-dml_10_7v0", 14);
	CHECK_STR(p->target_pchannel, "fake-dml_3");
	CHECK_STR(p->target_vchannel, "fake-dml_3_9003v0");
	p = target_channel(object_map_find(k->map, KIT_ID), "src-dml_9_7v1", 13);
	CHECK_STR(p->target_vchannel, "fake-dml_0_9003v1");
	done_with(k);
}

TEST(a_vchannel_outside_its_pchannel_is_never_used)
{
	struct kit *k = fresh();

	fake.lie = true;
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, "", "c"), false),
		  -ERR_TARGET_REFUSED);
	CHECK(!object_map_find(k->map, KIT_ID));
	done_with(k);
}

/* --- adoption ------------------------------------------------------------------------------------ */

TEST(an_equal_collection_is_adopted)
{
	struct kit *k = with_collection("", "c");
	int64_t id = fake_find("", "c")->id;

	kit_done(k); /* another task, which knows nothing */
	kit_init(k, milvus_new(NULL, 0, NULL, NULL));
	CHECKF(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, "default", "c"), true) == 0,
	       "%s", k->err.text);
	CHECK_INT(object_map_find(k->map, KIT_ID)->target_id, id);
	CHECK_INT(fake_count("CreateCollection"), 1);
	done_with(k);
}

static void change_dim(Mv__CollectionSchema *s)
{
	s->fields[1]->type_params[0]->value = (char *)"8";
}
static void change_type(Mv__CollectionSchema *s)
{
	s->fields[1]->data_type = 102;
}
static void change_key(Mv__CollectionSchema *s)
{
	s->fields[0]->is_primary_key = false;
}
static void change_auto_id(Mv__CollectionSchema *s)
{
	s->fields[0]->auto_id = true;
}
static void change_auto_id_of_collection(Mv__CollectionSchema *s)
{
	s->auto_id = true;
}
static void change_partition_key(Mv__CollectionSchema *s)
{
	s->fields[2]->is_partition_key = true;
}
static void change_dynamic(Mv__CollectionSchema *s)
{
	s->enable_dynamic_field = false;
	s->n_fields = 3;
}
static void change_missing(Mv__CollectionSchema *s)
{
	s->fields[2]->name = (char *)"t";
}
static void change_id(Mv__CollectionSchema *s)
{
	s->fields[2]->field_id = 110;
}
static void change_param(Mv__CollectionSchema *s)
{
	s->fields[2]->n_type_params = 0;
}
static void change_nullable(Mv__CollectionSchema *s)
{
	s->fields[2]->nullable = true;
}
static void change_element(Mv__CollectionSchema *s)
{
	s->fields[2]->element_type = 5;
}
static void change_default(Mv__CollectionSchema *s)
{
	static Mv__ValueField v = MV__VALUE_FIELD__INIT;

	v.data_case = MV__VALUE_FIELD__DATA_LONG_DATA;
	v.long_data = 1;
	s->fields[2]->default_value = &v;
}
static void change_function(Mv__CollectionSchema *s)
{
	static Mv__FunctionSchema f = MV__FUNCTION_SCHEMA__INIT;
	static Mv__FunctionSchema *list = &f;

	f.name = (char *)"bm25";
	s->functions = &list;
	s->n_functions = 1;
}

TEST(another_schema_is_refused_in_words)
{
	static const struct {
		void (*change)(Mv__CollectionSchema *s);
		const char *words;
	} rows[] = {
		{change_dim, "field v: dim is 8, on the target 4"},
		{change_type, "field v: Float16Vector, on the target FloatVector"},
		{change_key, "field id: is no primary key, on the target it is"},
		{change_auto_id, "field id: is autoID, on the target not"},
		{change_auto_id_of_collection, "field id: is autoID, on the target not"},
		{change_partition_key, "field s: is partition key, on the target not"},
		{change_dynamic, "dynamic fields are disabled, on the target enabled"},
		{change_missing,
		 "field t (VarChar) is missing on the target; field s (VarChar) is on the target only"},
		{change_id, "field s: its ID is 110, on the target 102"},
		{change_param, "field s: max_length is not set, on the target 64"},
		{change_nullable, "field s: is nullable field, on the target not"},
		{change_element, "field s: elements are Int64, on the target none"},
		{change_default, "field s: its default value is 1, on the target none"},
		{change_function, "1 functions, on the target 0"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct kit *k = with_collection("", "c");
		Jr__Ddl *d = kit_collection(k, "", "c");

		rows[i].change(d->collection->schema);
		CHECKF(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false) == -ERR_TARGET_SCHEMA, "row %zu",
		       i);
		CHECKF(strstr(k->err.text, rows[i].words), "row %zu: %s", i, k->err.text);
		CHECK_INT(fake_count("CreateCollection"), 1);
		done_with(k);
	}
}

TEST(all_differences_are_told_at_once)
{
	struct kit *k = with_collection("", "c");
	Jr__Ddl *d = kit_collection(k, "", "c");

	change_dim(d->collection->schema);
	change_auto_id(d->collection->schema);
	change_dynamic(d->collection->schema);
	change_partition_key(d->collection->schema);
	d->collection->shards_num = 1;
	d->partitions[0]->partition_name = (char *)"_default_0";
	d->partitions[d->n_partitions++] = kit_partition(k, 502, "_default_1");
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false), -ERR_TARGET_SCHEMA);
	CHECKF(strstr(k->err.text,
		      "1 shards, on the target 2; dynamic fields are disabled, on the target enabled; field "
		      "id: is autoID, on the target not; field v: dim is 8, on the target 4; field s: is "
		      "partition key, on the target not; its partition key spreads over 2 partitions, on the "
		      "target over 1"),
	       "%s", k->err.text);
	done_with(k);
}

TEST(default_values_are_told_as_they_are)
{
	struct kit *k = fresh();
	Jr__Ddl *d = kit_collection(k, "", "c");
	Mv__ValueField v = MV__VALUE_FIELD__INIT;
	static const struct {
		Mv__ValueField v;
		const char *words;
	} rows[] = {
		{{.data_case = MV__VALUE_FIELD__DATA_BOOL_DATA, .bool_data = 1}, "is true,"},
		{{.data_case = MV__VALUE_FIELD__DATA_INT_DATA, .int_data = -7}, "is -7,"},
		{{.data_case = MV__VALUE_FIELD__DATA_FLOAT_DATA, .float_data = 0.5F}, "is 0.5,"},
		{{.data_case = MV__VALUE_FIELD__DATA_DOUBLE_DATA, .double_data = 0.25}, "is 0.25,"},
		{{.data_case = MV__VALUE_FIELD__DATA_STRING_DATA, .string_data = (char *)"b"}, "is \"b\","},
	};

	v.data_case = MV__VALUE_FIELD__DATA_STRING_DATA;
	v.string_data = (char *)"a";
	d->collection->schema->fields[2]->default_value = &v;
	CHECK(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, d, true) == 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		Mv__ValueField other = rows[i].v;

		other.base = (ProtobufCMessage)PROTOBUF_C_MESSAGE_INIT(&mv__value_field__descriptor);
		d->collection->schema->fields[2]->default_value = &other;
		CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false), -ERR_TARGET_SCHEMA);
		CHECKF(strstr(k->err.text, rows[i].words) && strstr(k->err.text, "on the target \"a\""), "%s",
		       k->err.text);
	}
	done_with(k);
}

TEST(another_number_of_shards_is_another_schema)
{
	struct kit *k = with_collection("", "c");
	Jr__Ddl *d = kit_collection(k, "", "c");

	d->collection->shards_num = 1;
	d->collection->n_virtual_channel_names = 1;
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false), -ERR_TARGET_SCHEMA);
	CHECKF(strstr(k->err.text, "1 shards, on the target 2"), "%s", k->err.text);
	done_with(k);
}

TEST(how_memory_is_mapped_is_no_difference)
{
	struct kit *k = with_collection("", "c");
	Jr__Ddl *d = kit_collection(k, "", "c");
	Mv__FieldSchema *f = d->collection->schema->fields[1];

	f->type_params =
		kit_kvs(k, &f->n_type_params, (const char *[]){"dim", "4", "mmap.enabled", "true", NULL});
	CHECKF(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false) == 0, "%s", k->err.text);
	done_with(k);
}

TEST(a_long_list_of_differences_ends_and_says_so)
{
	struct kit *k = with_collection("", "c");
	Jr__Ddl *d = kit_collection(k, "", "c");

	d->collection->schema->fields = arena_alloc(k->arena, 100 * sizeof(Mv__FieldSchema *));
	d->collection->schema->n_fields = 0;
	for (int i = 0; i < 100; i++)
		kit_field(k, d->collection->schema, 100 + i,
			  arena_printf(k->arena, "a_rather_long_name_%d", i), 5, NULL, NULL);
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false), -ERR_TARGET_SCHEMA);
	CHECKF(STREQ(k->err.text + strlen(k->err.text) - 10, "; and more"), "%s", k->err.text);
	done_with(k);
}

TEST(R25_a_name_that_belongs_to_an_older_twin_is_not_adopted)
{
	struct kit *k = with_collection("", "c");

	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID + 1, kit_collection(k, "", "c"), false),
		  -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "450000000000000001"), "%s", k->err.text);
	CHECK(!object_map_find(k->map, KIT_ID + 1));
	done_with(k);
}

TEST_MAIN()
