/* SPDX-License-Identifier: Apache-2.0 */
/* DDL onto a target: done once however often it is repeated, and never to what is not ours. */
#define FAKE_MILVUS
#include "../fake/fake_milvus.c"
#include "ddl_kit.h"

#include <cdc/pb.h>

static struct kit kit;

static struct kit *fresh(void)
{
	fake_reset();
	kit_init(&kit, milvus_new(NULL, 0, NULL, NULL));
	return &kit;
}

static void done_with(struct kit *k)
{
	kit_done(k);
	fake_reset();
}

static struct kit *with_collection(const char *db, const char *name)
{
	struct kit *k = fresh();

	CHECKF(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, db, name), true) == 0, "%s", k->err.text);
	return k;
}

static struct kit *with_loaded(void)
{
	struct kit *k = with_collection("", "c");

	CHECK(kit_apply(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK(kit_apply(k, KIND_LOAD, KIT_ID, kit_load(k, "", 1), true) == 0);
	buf_reset(&fake.log);
	return k;
}

static const char *log_text(void)
{
	return fake.log.len ? (const char *)fake.log.data : "";
}

/* --- repeating ----------------------------------------------------------------------------------- */

TEST(R18_every_kind_twice_from_the_same_stored_state)
{
	struct kit *k = fresh();

	ddl_scenario(k, "shop", "c");
	CHECK_INT(fake_count("CreateCollection"), 1);
	CHECK_INT(fake_count("CreatePartition"), 1);
	CHECK_INT(fake_count("CreateIndex"), 2);
	CHECK_INT(fake_count("DropPartition"), 1);
	CHECK_INT(fake_count("DropIndex"), 1);
	CHECK_INT(fake_count("DropCollection"), 1);
	done_with(k);
}

/* Call N of the whole scenario fails, before or after the target did it; N until no call is left. */
static size_t fail_everywhere(int rc, bool executed)
{
	for (size_t n = 1;; n++) {
		struct kit *k = fresh();

		fake.fail_at = n;
		fake.fail_rc = rc;
		fake.fail_executed = executed;
		ddl_scenario(k, "shop", "c");
		if (fake.calls < n) {
			done_with(k);
			return n;
		}
		CHECKF(fake_count("DropCollection") <= 2, "call %zu", n);
		done_with(k);
	}
}

TEST(R18_target_lost_at_every_call)
{
	CHECK(fail_everywhere(ERR_TARGET_LOST, false) > 60);
}

TEST(R18_answer_lost_at_every_call)
{
	CHECK(fail_everywhere(ERR_TARGET_LOST, true) > 60);
}

TEST(object_is_returned_although_the_map_shows_it_done)
{
	struct kit *k = with_collection("", "c");

	/* applied, but the caller's commit fails and it asks again without a restart */
	CHECK_INT(kit_try(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), false), 0);
	CHECK_INT(k->returned, 1);
	CHECK_INT(kit_try(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true), 0);
	CHECK_INT(k->returned, 1);
	kit_crash(k);
	CHECK(object_map_find(k->map, KIT_ID)->dropped);
	done_with(k);
}

TEST(unmapped_and_dropped_collections_are_left_alone)
{
	static const enum kind kinds[] = {KIND_DROP_COLLECTION, KIND_CREATE_PARTITION, KIND_DROP_PARTITION,
					  KIND_CREATE_INDEX, KIND_DROP_INDEX, KIND_LOAD, KIND_RELEASE};
	struct kit *k = with_collection("", "c");
	size_t calls;

	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	calls = fake.calls;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		CHECK_INT(kit_try(k, kinds[i], KIT_ID, kit_ddl(k, ""), false), 0);
		CHECK_INT(k->returned, 1);
		CHECK_INT(kit_try(k, kinds[i], KIT_ID + 5, kit_ddl(k, ""), false), 0);
		CHECK_INT(k->returned, 0);
	}
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, "", "c"), false), 0);
	CHECK_INT(fake.calls, calls);
	CHECK(!fake_find("", "c"));
	done_with(k);
}

TEST(flush_is_no_step_of_ddl)
{
	struct kit *k = with_collection("", "c");
	size_t calls = fake.calls;

	CHECK_INT(kit_try(k, KIND_FLUSH, KIT_ID, kit_ddl(k, ""), false), 0);
	CHECK_INT(fake.calls, calls);
	done_with(k);
}

TEST(a_body_that_cannot_be_read_is_journal_damage)
{
	struct kit *k = with_collection("", "c");
	struct entry e = {.kind = KIND_RELEASE, .collection_id = KIT_ID, .body = (const uint8_t *)"\xff\xff", .size = 2};
	struct apply_object *o;
	size_t n;

	CHECK_INT(sink_ddl_apply(&k->ddl, &e, 1, k->arena, &o, &n, &k->err), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID + 1, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_CREATE_PARTITION, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_DROP_PARTITION, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_CREATE_INDEX, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	CHECK_INT(kit_try(k, KIND_DROP_INDEX, KIT_ID, kit_ddl(k, ""), false), -ERR_JOURNAL_BAD);
	done_with(k);
}

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
		d->partitions[d->n_partitions++] = kit_partition(k, 600 + i, arena_printf(k->arena, "_default_%d", i));
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
	CHECK_INT(kit_try(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true), -ERR_TARGET_BUSY);
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
	fake.last_id = 9002; /* shard 0 in pchannel 3, shard 1 in pchannel 0: name order is the other way round */
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
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, "", "c"), false), -ERR_TARGET_REFUSED);
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
	CHECKF(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, "default", "c"), true) == 0, "%s",
	       k->err.text);
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
		{change_missing, "field t (VarChar) is missing on the target; field s (VarChar) is on the target only"},
		{change_id, "field s: its ID is 110, on the target 102"},
		{change_param, "field s: max_length is not set, on the target 64"},
		{change_nullable, "field s: is nullable field, on the target not"},
		{change_element, "field s: elements are Int64, on the target type 0"},
		{change_default, "field s: another default value on the target"},
		{change_function, "1 functions, on the target 0"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct kit *k = with_collection("", "c");
		Jr__Ddl *d = kit_collection(k, "", "c");

		rows[i].change(d->collection->schema);
		CHECKF(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false) == -ERR_TARGET_SCHEMA, "row %zu", i);
		CHECKF(strstr(k->err.text, rows[i].words), "row %zu: %s", i, k->err.text);
		CHECK_INT(fake_count("CreateCollection"), 1);
		done_with(k);
	}
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

	f->type_params = kit_kvs(k, &f->n_type_params, (const char *[]){"dim", "4", "mmap.enabled", "true", NULL});
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
		kit_field(k, d->collection->schema, 100 + i, arena_printf(k->arena, "a_rather_long_name_%d", i), 5, NULL,
			  NULL);
	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID, d, false), -ERR_TARGET_SCHEMA);
	CHECKF(STREQ(k->err.text + strlen(k->err.text) - 10, "; and more"), "%s", k->err.text);
	done_with(k);
}

TEST(R25_a_name_that_belongs_to_an_older_twin_is_not_adopted)
{
	struct kit *k = with_collection("", "c");

	CHECK_INT(kit_try(k, KIND_CREATE_COLLECTION, KIT_ID + 1, kit_collection(k, "", "c"), false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "450000000000000001"), "%s", k->err.text);
	CHECK(!object_map_find(k->map, KIT_ID + 1));
	done_with(k);
}

/* --- drops --------------------------------------------------------------------------------------- */

TEST(drop_collection_releases_then_sends_messages_then_drops)
{
	struct kit *k = with_loaded();
	struct pb_reader r;
	struct pb_field f;
	int64_t id = fake_find("", "c")->id;
	bool found = false;

	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECK(strncmp(log_text(), "ReleaseCollection", 17) == 0);
	CHECK_INT(fake_count("ReplicateMessage fake-dml_"), 2);
	CHECK(strstr(log_text(), "ReplicateMessage") < strstr(log_text(), "DropCollection"));
	r = pb_reader(fake.last.data, fake.last.len);
	while (pb_next(&r, &f) > 0)
		found = found || (f.number == 5 && (int64_t)f.value == id);
	CHECK(found);
	done_with(k);
}

TEST(one_drop_message_for_shards_of_one_pchannel)
{
	struct kit *k = fresh();

	fake.pchannels = 1;
	CHECK(kit_apply(k, KIND_CREATE_COLLECTION, KIT_ID, kit_collection(k, "", "c"), true) == 0);
	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECK_INT(fake_count("ReplicateMessage"), 1);
	done_with(k);
}

TEST(R25_drop_of_an_old_id_spares_the_new_collection_of_that_name)
{
	struct kit *k = with_collection("", "c");

	forget(fake_find("", "c"));
	milvus_create_collection(k->milvus, "", "c", &(Mv__CollectionSchema)MV__COLLECTION_SCHEMA__INIT, 2, 0, NULL, 0, 0,
				 1, NULL, &k->err);
	buf_reset(&fake.log);
	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECK_STR(log_text(), "");
	CHECK(fake_find("", "c") != NULL);
	CHECK(object_map_find(k->map, KIT_ID)->dropped);
	done_with(k);
}

TEST(drop_of_a_missing_collection_still_ends_its_consumers)
{
	struct kit *k = with_collection("", "c");

	forget(fake_find("", "c"));
	buf_reset(&fake.log);
	CHECK(kit_apply(k, KIND_DROP_COLLECTION, KIT_ID, kit_ddl(k, ""), true) == 0);
	CHECK_INT(fake_count("ReplicateMessage"), 2);
	CHECK_INT(fake_count("DropCollection"), 0);
	CHECK(object_map_find(k->map, KIT_ID)->dropped);
	done_with(k);
}

TEST(R25_drop_partition_of_a_loaded_collection)
{
	struct kit *k = with_loaded();

	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK_STR(strstr(log_text(), "ReleaseCollection"),
		  "ReleaseCollection default.c\nDropPartition default.c.p\nLoadCollection default.c\n");
	CHECK_INT(fake_count("ReplicateMessage"), 2);
	CHECK_INT(fake_find("", "c")->load_state, 3);
	done_with(k);
}

TEST(R25_a_crash_between_release_and_load_loads_again)
{
	struct kit *k = with_loaded();
	struct fake_collection *c = fake_find("", "c");

	c->load_state = 1; /* released and dropped, then the crash */
	c->partition_count = 1;
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK_INT(c->load_state, 3);
	CHECK_INT(fake_count("DropPartition"), 0);
	done_with(k);
}

TEST(R25_a_released_collection_stays_released)
{
	struct kit *k = with_loaded();

	CHECK(kit_apply(k, KIND_RELEASE, KIT_ID, kit_ddl(k, ""), true) == 0);
	kit_crash(k);
	buf_reset(&fake.log);
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK_INT(fake_count("LoadCollection") + fake_count("ReleaseCollection"), 0);
	CHECK_INT(fake_find("", "c")->load_state, 1);
	done_with(k);
}

TEST(a_collection_loaded_on_the_target_only_is_loaded_again_if_it_can_be)
{
	struct kit *k = with_loaded();
	struct fake_collection *c = fake_find("", "c");

	CHECK(kit_apply(k, KIND_RELEASE, KIT_ID, kit_ddl(k, ""), true) == 0);
	c->load_state = 3;
	c->replicas = 1;
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK_INT(c->load_state, 3);
	k->note[0] = 0;
	CHECK(kit_apply(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), true) == 0);
	CHECK_INT(c->load_state, 1);
	CHECKF(strstr(k->note, "stays released"), "%s", k->note);
	done_with(k);
}

TEST(R25_drop_of_an_old_partition_spares_the_new_one_of_that_name)
{
	struct kit *k = with_loaded();
	struct fake_collection *c = fake_find("", "c");

	c->partition_ids[1] = 77777; /* made anew by somebody on the target */
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK_STR(log_text(), "");
	CHECK_INT(c->partition_count, 2);
	CHECK(target_partition(object_map_find(k->map, KIT_ID), 502)->dropped);
	done_with(k);
}

TEST(R25_a_partition_of_an_older_twin_is_not_taken_over)
{
	struct kit *k = with_loaded();

	CHECK_INT(kit_try(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 503, "p"), false),
		  -ERR_TARGET_REFUSED);
	CHECK(kit_apply(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), true) == 0);
	CHECK(kit_apply(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 503, "p"), true) == 0);
	CHECK_INT(target_partition(object_map_find(k->map, KIT_ID), 503)->target_id, fake_find("", "c")->partition_ids[1]);
	done_with(k);
}

TEST(steps_that_need_a_twin_say_that_it_is_gone)
{
	struct kit *k = with_loaded();

	forget(fake_find("", "c"));
	CHECK_INT(kit_try(k, KIND_CREATE_PARTITION, KIT_ID, kit_of_partition(k, "", 504, "q"), false),
		  -ERR_TARGET_REFUSED);
	CHECK_INT(kit_try(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), false), -ERR_TARGET_REFUSED);
	CHECK_INT(kit_try(k, KIND_LOAD, KIT_ID, kit_load(k, "", 1), false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "default.c") && strstr(k->err.text, "dropped there"), "%s", k->err.text);
	CHECK_INT(kit_try(k, KIND_DROP_INDEX, KIT_ID, kit_index(k, "", "v", "ix"), false), 0);
	CHECK_INT(kit_try(k, KIND_DROP_PARTITION, KIT_ID, kit_of_partition(k, "", 502, "p"), false), 0);
	CHECK_INT(kit_try(k, KIND_RELEASE, KIT_ID, kit_ddl(k, ""), false), 0);
	done_with(k);
}

TEST(a_database_with_foreign_collections_is_not_dropped)
{
	struct kit *k = with_collection("shop", "theirs");

	CHECK_INT(kit_try(k, KIND_DROP_DATABASE, 0, kit_ddl(k, "shop"), false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "theirs"), "%s", k->err.text);
	CHECK(fake_has_db("shop"));
	CHECK_INT(kit_try(k, KIND_DROP_DATABASE, 0, kit_ddl(k, "nothing"), false), 0);
	done_with(k);
}

/* --- indexes and load state ---------------------------------------------------------------------- */

TEST(the_same_index_with_its_parameters_in_another_order_is_there)
{
	struct kit *k = with_loaded();
	Jr__Ddl *d = kit_index(k, "", "v", "ix");

	d->index->user_index_params = kit_kvs(
		k, &d->index->n_user_index_params,
		(const char *[]){"params", "{\"efConstruction\": \"64\", \"M\": 8}", "metric_type", "L2", "index_type", "HNSW",
				 NULL});
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

	d->index->user_index_params = kit_kvs(k, &d->index->n_user_index_params,
					      (const char *[]){"index_type", "FLAT", "metric_type", "IP", NULL});
	CHECK_INT(kit_try(k, KIND_CREATE_INDEX, KIT_ID, d, false), -ERR_TARGET_REFUSED);
	CHECKF(strstr(k->err.text, "index_type=FLAT, metric_type=IP") && strstr(k->err.text, "M=8"), "%s", k->err.text);
	CHECK_INT(kit_try(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "v", "other"), false), -ERR_TARGET_REFUSED);
	CHECK_INT(kit_try(k, KIND_CREATE_INDEX, KIT_ID, kit_index(k, "", "s", "ix"), false), -ERR_TARGET_REFUSED);
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
	d = kit_index(k, "", "s", "scalar");
	d->index->n_user_index_params = 0;
	CHECK(kit_apply(k, KIND_CREATE_INDEX, KIT_ID, d, true) == 0);
	CHECK_INT(fake_find("", "c")->indexes[1].request->n_extra_params, 4);
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
