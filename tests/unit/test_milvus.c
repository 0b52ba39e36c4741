/* SPDX-License-Identifier: Apache-2.0 */
/* The target's RPCs against a scripted gRPC: what goes out, what an answer means. */
#include "grpc_script.h"

/* --- what an answer means ------------------------------------------------------------------------ */

TEST(an_answer_is_ok_busy_auth_or_refused)
{
	static const struct {
		int code, error_code;
		const char *reason;
		int want;
	} rows[] = {
		{0, 0, "", 0},
		{1, 0, "service not ready", ERR_TARGET_BUSY},
		{8, 49, "rate limit exceeded", ERR_TARGET_BUSY},
		{9, 0, "quota exceeded", ERR_TARGET_BUSY},
		{10, 0, "unimplemented", ERR_TARGET_REFUSED},
		{100, 4, "collection not found[collection=c]", ERR_TARGET_REFUSED},
		{500, 0, "channel not found", ERR_TARGET_BUSY},
		{700, 25, "index not found", ERR_TARGET_REFUSED},
		{800, 1, "database not found", ERR_TARGET_REFUSED},
		{901, 1, "node not found", ERR_TARGET_BUSY},
		{1100, 5, "invalid parameter", ERR_TARGET_REFUSED},
		{1303, 1, "deny to write the message to mq", ERR_TARGET_BUSY},
		{1400, 1, "not authenticated", ERR_TARGET_AUTH},
		{1900, 1, "deny to use the replicate message", ERR_TARGET_BUSY},
		{1901, 1, "bad message", ERR_TARGET_REFUSED},
		{65535, 1, "key not found: collection not found", ERR_TARGET_BUSY},
		{65535, 1, "context deadline exceeded", ERR_TARGET_BUSY},
		{65535, 1, "proxy TaskCondition context Done", ERR_TARGET_BUSY},
		{65535, 1, "rpc error: code = Unavailable", ERR_TARGET_BUSY},
		{65535, 1, "empty msgs", ERR_TARGET_REFUSED},
		{65535, 1, "nodes not enough", ERR_TARGET_REFUSED},
		{65535, 1, "create duplicate collection with different parameters", ERR_TARGET_REFUSED},
		{65535, 1, "shard num (8) exceeds max configuration (4)", ERR_TARGET_SCHEMA},
		{65535, 1, "shard num (20) exceeds system limit (16)", ERR_TARGET_SCHEMA},
		{65535, 49, "", ERR_TARGET_BUSY},
		{0, 3, "permission", ERR_TARGET_AUTH}, /* servers without codes */
		{0, 49, "", ERR_TARGET_BUSY},
		{0, 57, "", ERR_TARGET_BUSY},
		{0, 1, "no", ERR_TARGET_REFUSED},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct milvus *m = fresh(NULL);
		struct milvus_status st = {.code = -5};
		struct err err = {0};
		int rc;

		will_say(rows[i].code, rows[i].error_code, rows[i].reason);
		rc = milvus_release(m, "", "c", 1, &st, &err);
		CHECKF(rc == -rows[i].want, "row %zu: %d, %s", i, rc, err.text);
		CHECK_INT(st.code, rows[i].code ? rows[i].code : rows[i].error_code);
		CHECK_STR(st.reason, rows[i].want ? rows[i].reason : "");
		done_with(m);
	}
}

TEST(an_error_names_address_call_object_code_and_reason)
{
	struct milvus *m = fresh(NULL);
	struct err err;

	will_say(1100, 0, "bad\nparameter");
	CHECK_INT(milvus_create_index(m, "shop", "c", "v", "ix", NULL, 0, 1, NULL, &err),
		  -ERR_TARGET_REFUSED);
	CHECK_STR(err.text,
		  "target 10.0.0.1:19530: CreateIndex shop.c field v index ix: code 1100: bad parameter");
	done_with(m);
	m = fresh(NULL);
	will_say(1900, 0, "deny");
	CHECK_INT(milvus_drop_database(m, "shop", 1, NULL, &err), -ERR_TARGET_BUSY);
	CHECKF(strstr(err.text, "ttMsgEnabled: false"), "%s", err.text);
	done_with(m);
}

TEST(transport_errors_pass_through)
{
	struct milvus *m = fresh(NULL);
	struct milvus_status st = {.code = 5};
	struct err err;

	will_fail(FAIL_LOST);
	CHECK_INT(milvus_load(m, "", "c", 1, 1, &st, &err), -ERR_TARGET_LOST);
	CHECK_INT(st.code, 0);
	will_fail(FAIL_AUTH);
	CHECK_INT(milvus_load(m, "", "c", 1, 1, NULL, &err), -ERR_TARGET_AUTH);
	will_fail(FAIL_FOREIGN); /* a stranger at the address of a running task: wait */
	CHECK_INT(milvus_load(m, "", "c", 1, 1, NULL, &err), -ERR_TARGET_LOST);
	will_fail(ERR_STOPPED);
	CHECK_INT(milvus_load(m, "", "c", 1, 1, NULL, &err), -ERR_STOPPED);
	will_fail(ERR_TOO_LARGE); /* never passes: the caller splits or holds */
	CHECK_INT(milvus_load(m, "", "c", 1, 1, NULL, &err), -ERR_TARGET_REFUSED);
	CHECK_INT(err.code, ERR_TARGET_REFUSED);
	done_with(m);
}

TEST(an_answer_that_is_no_message_is_lost)
{
	struct milvus *m = fresh(NULL);
	struct err err;

	buf_add(&net.steps[net.count++].body, "\xff\xff\xff", 3);
	CHECK_INT(milvus_release(m, "", "c", 1, NULL, &err), -ERR_TARGET_LOST);
	done_with(m);
}

TEST(missing_things_are_no_errors)
{
	Mv__DescribeCollectionResponse d = MV__DESCRIBE_COLLECTION_RESPONSE__INIT, *have = &d;
	Mv__DescribeIndexResponse x = MV__DESCRIBE_INDEX_RESPONSE__INIT, *indexes;
	Mv__GetLoadStateResponse l = MV__GET_LOAD_STATE_RESPONSE__INIT;
	AUTO(arena_free) struct arena *arena = arena_new();
	struct milvus *m = fresh(NULL);
	struct err err;
	int state = 9;

	for (int i = 0; i < 3; i++) {
		static const int codes[] = {100, 800, 0};

		d.status = status_of(codes[i], i == 2 ? 4 : 0, "gone");
		have = &d;
		will_answer(&d.base);
		CHECKF(milvus_describe(m, "", "c", arena, &have, &err) == 0, "%s", err.text);
		CHECK(have == NULL);
	}
	for (int i = 0; i < 2; i++) {
		x.status = status_of(i ? 700 : 100, 0, "gone");
		will_answer(&x.base);
		CHECKF(milvus_describe_index(m, "", "c", arena, &indexes, &err) == 0, "%s", err.text);
		CHECK_INT(indexes->n_index_descriptions, 0);
	}
	l.status = status_of(100, 0, "gone");
	l.state = 3;
	will_answer(&l.base);
	CHECK_INT(milvus_load_state(m, "", "c", NULL, 0, &state, &err), 0);
	CHECK_INT(state, 0);
	d.status = status_of(1, 0, "not ready");
	will_answer(&d.base);
	have = &d;
	CHECK_INT(milvus_describe(m, "", "c", arena, &have, &err), -ERR_TARGET_BUSY);
	CHECK(have == &d);
	done_with(m);
}

TEST(a_description_that_cannot_be_paired_is_refused)
{
	Mv__DescribeCollectionResponse d = MV__DESCRIBE_COLLECTION_RESPONSE__INIT, *have;
	Mv__ShowPartitionsResponse p = MV__SHOW_PARTITIONS_RESPONSE__INIT, *parts;
	Mv__CollectionSchema s = MV__COLLECTION_SCHEMA__INIT;
	AUTO(arena_free) struct arena *arena = arena_new();
	char *names[] = {(char *)"a", (char *)"b"};
	struct milvus *m = fresh(NULL);
	struct err err;

	will_answer(&d.base); /* no schema */
	CHECK_INT(milvus_describe(m, "", "c", arena, &have, &err), -ERR_TARGET_REFUSED);
	d.schema = &s;
	d.virtual_channel_names = names;
	d.n_virtual_channel_names = 2;
	will_answer(&d.base);
	CHECK_INT(milvus_describe(m, "", "c", arena, &have, &err), -ERR_TARGET_REFUSED);
	p.partition_names = names;
	p.n_partition_names = 2;
	will_answer(&p.base);
	CHECK_INT(milvus_show_partitions(m, "", "c", arena, &parts, &err), -ERR_TARGET_REFUSED);
	done_with(m);
}

/* --- what goes out ------------------------------------------------------------------------------- */

TEST(create_collection_on_the_wire)
{
	Mv__CollectionSchema s = MV__COLLECTION_SCHEMA__INIT, *schema;
	Mv__KeyValuePair prop = MV__KEY_VALUE_PAIR__INIT, *props = &prop;
	Mv__CreateCollectionRequest *r;
	struct milvus *m = fresh(NULL);
	struct err err;

	s.name = (char *)"c";
	prop.key = (char *)"k";
	prop.value = (char *)"v";
	will_say(0, 0, "");
	CHECK_INT(milvus_create_collection(m, NULL, "c", &s, 2, 3, &props, 1, 16, 4242, NULL, &err), 0);
	CHECK_STR(net.methods[0], "/milvus.proto.milvus.MilvusService/CreateCollection");
	CHECK_INT(net.deadline_ms, 5000);
	r = mv__create_collection_request__unpack(NULL, net.request.len, net.request.data);
	CHECK(r != NULL);
	CHECK_STR(r->db_name, "default");
	CHECK_STR(r->collection_name, "c");
	CHECK_INT(r->shards_num, 2);
	CHECK_INT(r->consistency_level, 3);
	CHECK_INT(r->num_partitions, 16);
	CHECK_STR(r->properties[0]->value, "v");
	CHECK_INT(r->msg_base->replicate_info->is_replicate, 1);
	CHECK_INT(r->msg_base->replicate_info->msg_timestamp, 4242);
	schema = mv__collection_schema__unpack(NULL, r->schema.len, r->schema.data);
	CHECK_STR(schema->name, "c");
	mv__collection_schema__free_unpacked(schema, NULL);
	mv__create_collection_request__free_unpacked(r, NULL);
	done_with(m);
}

static const char *last_method(void)
{
	return strrchr(net.methods[net.at - 1], '/') + 1;
}

/* The source's clock may be ahead of an ordinary target's: nothing made there may lie in its future. */
TEST(a_change_without_a_time_is_at_the_targets_own)
{
	struct milvus *m = fresh(NULL);
	Mv__PartitionRequest *p;
	struct err err;

	will_say(0, 0, "");
	CHECK_INT(milvus_create_partition(m, "d", "c", "p", 0, NULL, &err), 0);
	p = mv__partition_request__unpack(NULL, net.request.len, net.request.data);
	CHECK(p && p->msg_base && !p->msg_base->replicate_info);
	mv__partition_request__free_unpacked(p, NULL);
	milvus_free(m);
}

TEST(every_change_calls_its_rpc_with_its_names)
{
	struct milvus *m = fresh(NULL);
	struct err err;
	Mv__PartitionRequest *p;
	Mv__DropIndexRequest *x;
	Mv__LoadCollectionRequest *l;

	for (int i = 0; i < 9; i++)
		will_say(0, 0, "");
	CHECK_INT(milvus_drop_collection(m, "d", "c", 1, NULL, &err), 0);
	CHECK_STR(last_method(), "DropCollection");
	CHECK_INT(milvus_create_partition(m, "d", "c", "p", 1, NULL, &err), 0);
	CHECK_STR(last_method(), "CreatePartition");
	CHECK_INT(milvus_drop_partition(m, "d", "c", "p", 7, NULL, &err), 0);
	CHECK_STR(last_method(), "DropPartition");
	p = mv__partition_request__unpack(NULL, net.request.len, net.request.data);
	CHECK_STR(p->db_name, "d");
	CHECK_STR(p->collection_name, "c");
	CHECK_STR(p->partition_name, "p");
	CHECK_INT(p->msg_base->replicate_info->msg_timestamp, 7);
	mv__partition_request__free_unpacked(p, NULL);
	CHECK_INT(milvus_drop_index(m, "d", "c", "v", "ix", 1, NULL, &err), 0);
	CHECK_STR(last_method(), "DropIndex");
	x = mv__drop_index_request__unpack(NULL, net.request.len, net.request.data);
	CHECK_STR(x->field_name, "v");
	CHECK_STR(x->index_name, "ix");
	mv__drop_index_request__free_unpacked(x, NULL);
	CHECK_INT(milvus_load(m, "d", "c", 3, 1, NULL, &err), 0);
	CHECK_STR(last_method(), "LoadCollection");
	l = mv__load_collection_request__unpack(NULL, net.request.len, net.request.data);
	CHECK_INT(l->replica_number, 3);
	mv__load_collection_request__free_unpacked(l, NULL);
	CHECK_INT(milvus_release(m, "d", "c", 1, NULL, &err), 0);
	CHECK_STR(last_method(), "ReleaseCollection");
	CHECK_INT(milvus_create_database(m, "d", 1, NULL, &err), 0);
	CHECK_STR(last_method(), "CreateDatabase");
	CHECK_INT(milvus_drop_database(m, "d", 1, NULL, &err), 0);
	CHECK_STR(last_method(), "DropDatabase");
	CHECK_INT(milvus_flush(m, "d", (const char *const[]){"c"}, 1, NULL, &err), 0);
	CHECK_STR(last_method(), "Flush");
	done_with(m);
}

TEST(replicate_sends_the_messages_as_they_are_in_order)
{
	static const uint8_t zeros[3000];
	struct pb_bytes msgs[] = {
		{(const uint8_t *)"one", 3}, {zeros, sizeof(zeros)}, {(const uint8_t *)"", 0}};
	Mv__ReplicateMessageResponse answer = MV__REPLICATE_MESSAGE_RESPONSE__INIT;
	Mv__ReplicateMessageRequest *r;
	struct milvus *m = fresh(NULL);
	struct milvus_status st;
	struct err err;

	will_answer(&answer.base);
	CHECK_INT(milvus_replicate(m, "dml_7", 5, (cdc_ts)1 << 60, msgs, 3, &st, &err), 0);
	r = mv__replicate_message_request__unpack(NULL, net.request.len, net.request.data);
	CHECK(r != NULL);
	CHECK_STR(r->channel_name, "dml_7");
	CHECK_INT(r->begin_ts, 5);
	CHECK(r->end_ts == (cdc_ts)1 << 60);
	CHECK_INT(r->msg_base->replicate_info->is_replicate, 1);
	CHECK_INT(r->n_msgs, 3);
	CHECK(r->msgs[0].len == 3 && memcmp(r->msgs[0].data, "one", 3) == 0);
	CHECK_INT(r->msgs[1].len, 3000);
	CHECK_INT(r->msgs[2].len, 0);
	mv__replicate_message_request__free_unpacked(r, NULL);
	done_with(m);
}

TEST(credentials_go_into_the_metadata_and_into_no_error)
{
	struct milvus *m = fresh("root:Milvus");
	struct err err;

	CHECK_STR(net.metadata, "authorization: cm9vdDpNaWx2dXM=");
	will_say(1400, 0, "not authenticated");
	CHECK_INT(milvus_release(m, "", "c", 1, NULL, &err), -ERR_TARGET_AUTH);
	CHECK(!strstr(err.text, "Milvus=") && !strstr(err.text, "cm9v") && !strstr(err.text, "root"));
	done_with(m);
	m = fresh("");
	CHECK_STR(net.metadata, "");
	done_with(m);
}

/* --- the probe ----------------------------------------------------------------------------------- */

static int probe(struct arena *arena, struct target_info *info, struct err *err)
{
	struct target_conf t = conf(NULL);

	return target_probe(&t, arena, info, err);
}

static void will_be_milvus(int door_code, const char *door_reason)
{
	Mv__GetVersionResponse v = MV__GET_VERSION_RESPONSE__INIT;
	Mv__ConnectResponse c = MV__CONNECT_RESPONSE__INIT;
	Mv__ReplicateMessageResponse r = MV__REPLICATE_MESSAGE_RESPONSE__INIT;

	v.version = (char *)"v2.3.5";
	will_answer(&v.base);
	will_answer(&c.base);
	r.status = status_of(door_code, 1, door_reason);
	will_answer(&r.base);
}

static void will_list(size_t dbs, size_t each)
{
	Mv__ListDatabasesResponse d = MV__LIST_DATABASES_RESPONSE__INIT;
	Mv__ShowCollectionsResponse s = MV__SHOW_COLLECTIONS_RESPONSE__INIT;
	char *names[64];
	int64_t ids[64];
	uint64_t created[64];

	for (size_t i = 0; i < 64; i++) {
		names[i] = (char *)(i % 2 ? "odd" : "even");
		ids[i] = (int64_t)i + 1000;
		created[i] = i + 5000;
	}
	d.db_names = names;
	d.n_db_names = dbs;
	will_answer(&d.base);
	s.collection_names = names;
	s.collection_ids = ids;
	s.created_timestamps = created;
	s.n_collection_names = s.n_collection_ids = s.n_created_timestamps = each;
	for (size_t i = 0; i < dbs && i * each < 50; i++)
		will_answer(&s.base);
}

TEST(probe_tells_the_doors_apart)
{
	static const struct {
		int code;
		const char *reason;
		bool replicate;
	} rows[] = {{65535, "empty msgs", true}, {1900, "deny to use the replicate message", false}};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(arena_free) struct arena *arena = arena_new();
		struct target_info info;
		struct err err;

		net_reset();
		will_be_milvus(rows[i].code, rows[i].reason);
		will_list(1, 2);
		CHECKF(probe(arena, &info, &err) == 0, "%s", err.text);
		CHECK_INT(info.replicate, rows[i].replicate);
		CHECK_STR(info.version, "v2.3.5");
		CHECK_INT(info.object_count, 2);
		CHECK_INT(info.objects[1].id, 1001);
		CHECK_INT(info.objects[1].created, 5001);
		CHECK_STR(info.objects[1].name, "odd");
		CHECK_STR(info.objects[1].db, "even");
		CHECK_INT(net.live, 0);
		CHECK_INT(net.deadline_ms, 2000);
	}
	net_reset();
}

TEST(probe_lists_at_most_fifty_objects)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct target_info info;
	struct err err;

	net_reset();
	will_be_milvus(65535, "empty msgs");
	will_list(3, 30);
	CHECKF(probe(arena, &info, &err) == 0, "%s", err.text);
	CHECK_INT(info.object_count, 50);
	CHECK_INT(net.at, net.count);
	net_reset();
}

TEST(probe_names_what_is_wrong)
{
	static const struct {
		int fail;
		bool etcd;
		int want;
		const char *words;
	} rows[] = {
		{FAIL_LOST, false, ERR_TARGET_LOST, "10.0.0.1:19530"},
		{FAIL_AUTH, false, ERR_TARGET_AUTH, "10.0.0.1:19530"},
		{FAIL_FOREIGN, false, ERR_TARGET_BAD, "10.0.0.1:19530"},
		{FAIL_LOST, true, ERR_TARGET_BAD, "this is an etcd"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(arena_free) struct arena *arena = arena_new();
		struct target_info info;
		struct err err;

		net_reset();
		net.etcd = rows[i].etcd;
		will_fail(rows[i].fail);
		CHECKF(probe(arena, &info, &err) == -rows[i].want, "row %zu: %s", i, err.text);
		CHECKF(strstr(err.text, rows[i].words), "row %zu: %s", i, err.text);
		CHECK_INT(net.live, 0);
	}
	net_reset();
}

TEST(probe_refuses_a_milvus_whose_door_it_does_not_know)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct target_info info;
	struct err err;

	net_reset();
	will_be_milvus(65535, "something new");
	CHECK_INT(probe(arena, &info, &err), -ERR_TARGET_BAD);
	CHECK_INT(err.code, ERR_TARGET_BAD);
	net_reset();
	will_be_milvus(1, "service not ready");
	CHECK_INT(probe(arena, &info, &err), -ERR_TARGET_BUSY);
	net_reset();
}

TEST_MAIN()
