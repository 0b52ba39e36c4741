/* SPDX-License-Identifier: Apache-2.0 */
/* The create request over HTTP: the documented life of a task, fields and their refusals, names. */
#include "api_kit.h"

/* The documentation's request and answers. */
TEST(the_documented_life_of_a_task)
{
	char id[64];

	kit_start();
	CHECK_INT(
		req("create",
		    "{\"milvus_connect_param\":{\"uri\":\"http://localhost:19530\",\"token\":\"root:Milvus\","
		    "\"connect_timeout\":10},\"collection_infos\":[{\"name\":\"*\"}]}"),
		200);
	CHECK_INT(strlen(str_at("data.task_id")), 32);
	snprintf(id, sizeof(id), "%s", str_at("data.task_id"));
	CHECK_INT(strspn(id, "0123456789abcdef"), 32);
	CHECK_STR(fake.probed->authorization, "root:Milvus");
	CHECK_STR(fake.probed->host, "localhost");
	CHECK_INT(fake.probed->connect_timeout_ms, 10000);
	CHECK_INT(strlen(fake.uuid), 32);
	CHECK_INT(fake.starts, 1);

	CHECK_INT(req("list", "{}"), 200);
	CHECK_INT(json_array_size(at("data.tasks")), 1);
	CHECK_STR(str_at("data.tasks.0.task_id"), id);
	CHECK_STR(str_at("data.tasks.0.milvus_connect_param.uri"), "http://localhost:19530");
	CHECK_INT(json_integer_value(at("data.tasks.0.milvus_connect_param.connect_timeout")), 10);
	CHECK_STR(str_at("data.tasks.0.collection_infos.0.name"), "*");
	CHECK_STR(str_at("data.tasks.0.state"), "Running");

	CHECK_INT(req_id("get", id), 200);
	CHECK_STR(str_at("data.Task.task_id"), id);
	CHECK_STR(str_at("data.Task.state"), "Running");
	CHECK(json_equal(at("data.Task"), at("data.task")));
	CHECK_STR(str_at("data.Task.health.status"), "ok");
	CHECK(str_at("data.Task.health.since") && str_at("data.Task.health.reason"));

	CHECK_INT(req_id("pause", id), 200);
	CHECK_STR(ans.text, "{\"code\":200,\"data\":{}}\n");
	CHECK_INT(fake_paused(id), 1);
	CHECK_INT(req_id("get", id), 200);
	CHECK_STR(str_at("data.Task.state"), "Paused");
	CHECK(strstr(str_at("data.Task.reason"), "Strong"));
	CHECK_INT(req_id("resume", id), 200);
	CHECK_STR(ans.text, "{\"code\":200,\"data\":{}}\n");
	CHECK_INT(fake_paused(id), 0);
	CHECK_INT(req_id("delete", id), 200);
	CHECK_STR(ans.text, "{\"code\":200,\"data\":{}}\n");
	CHECK_INT(fake_paused(id), -1);
	CHECK(!exists("tasks/", id));
	CHECK_INT(entries("trash"), 0);
	CHECK_INT(req_id("get", id), 404);
	kit_end();
}

#define INFOS ",\"collection_infos\":[{\"name\":\"c\"}]"

TEST(what_the_caller_got_wrong_is_400_with_the_fields_name)
{
	static const struct {
		const char *data, *field;
	} cases[] = {
		{"{}", "milvus_connect_param: is missing"},
		{"{\"collection_infos\":[{\"name\":\"x\"}]}", "milvus_connect_param: is missing"},
		{"{\"milvus_connect_param\":{}" INFOS "}", "milvus_connect_param: is missing or empty"},
		{"{\"milvus_connect_param\":\"x\"" INFOS "}", "milvus_connect_param: must be an object"},
		{"{\"milvus_connect_param\":{\"host\":\"h\"}" INFOS "}",
		 "milvus_connect_param.port: is missing"},
		{"{\"milvus_connect_param\":{\"port\":1}" INFOS "}", "milvus_connect_param.host: is missing"},
		{"{\"milvus_connect_param\":{\"host\":1,\"port\":1}" INFOS "}",
		 "milvus_connect_param.host: must be a str"},
		{"{\"milvus_connect_param\":{\"host\":\"a b\",\"port\":1}" INFOS "}",
		 "milvus_connect_param.host: is no"},
		{"{\"milvus_connect_param\":{\"host\":\"h\",\"port\":\"1\"}" INFOS "}",
		 "milvus_connect_param.port: must be"},
		{"{\"milvus_connect_param\":{\"host\":\"h\",\"port\":0}" INFOS "}",
		 "milvus_connect_param.port: must be from"},
		{"{\"milvus_connect_param\":{\"host\":\"h\",\"port\":99999}" INFOS "}",
		 "milvus_connect_param.port: must be"},
		{"{\"milvus_connect_param\":{\"host\":\"h\",\"port\":1.7}" INFOS "}",
		 "milvus_connect_param.port: must be a w"},
		{"{\"milvus_connect_param\":{\"uri\":\"::\"}" INFOS "}",
		 "milvus_connect_param.uri: must be http"},
		{"{\"milvus_connect_param\":{\"uri\":\"ftp://h:1\"}" INFOS "}",
		 "milvus_connect_param.uri: only http"},
		{"{\"milvus_connect_param\":{\"uri\":\"http://h:1/db\"}" INFOS "}",
		 "milvus_connect_param.uri: must end"},
		{"{\"milvus_connect_param\":{\"uri\":\"http://a:b@h:1\"}" INFOS "}",
		 "milvus_connect_param.uri: must not hold"},
		{"{\"milvus_connect_param\":{\"uri\":\"http://h:0\"}" INFOS "}",
		 "milvus_connect_param.uri: must be http"},
		{"{\"milvus_connect_param\":{\"host\":\"h\",\"port\":1,\"username\":\"u\"}" INFOS "}",
		 "milvus_connect_param.password: is missing"},
		{"{\"milvus_connect_param\":{\"host\":\"h\",\"port\":1,\"password\":\"p\"}" INFOS "}",
		 "milvus_connect_param.username: is missing"},
		{"{\"milvus_connect_param\":{\"host\":\"h\",\"port\":1,\"connect_timeout\":-1}" INFOS "}",
		 "milvus_connect_param.connect_timeout: must be from 0"},
		{"{\"milvus_connect_param\":{\"host\":\"h\",\"port\":1,\"connect_timeout\":\"9\"}" INFOS "}",
		 "milvus_connect_param.connect_timeout: must be a whole"},
		{"{\"milvus_connect_param\":{\"host\":\"h\",\"port\":1,\"enable_tls\":\"true\"}" INFOS "}",
		 "milvus_connect_param.enable_tls: must be true or false"},
		{"{\"milvus_connect_param\":{\"host\":\"h\",\"port\":1,\"dial_config\":{\"client_pem_path\":"
		 "\"x\"}}" INFOS "}",
		 "milvus_connect_param.dial_config.client_key_path: is missing"},
		{"{" TARGET_A "}", "collection_infos: is missing or empty"},
		{"{" TARGET_A ",\"collection_infos\":[]}", "collection_infos: is missing or empty"},
		{"{" TARGET_A ",\"collection_infos\":{\"name\":\"x\"}}", "collection_infos: must be a list"},
		{"{" TARGET_A ",\"collection_infos\":[\"x\"]}", "collection_infos[0]: must be an object"},
		{"{" TARGET_A ",\"collection_infos\":[{\"name\":\"a\"},{}]}",
		 "collection_infos[1].name: is missing"},
		{"{" TARGET_A ",\"collection_infos\":[{\"name\":\"\"}]}",
		 "collection_infos[0].name: is missing or empty"},
		{"{" TARGET_A ",\"collection_infos\":[{\"name\":5}]}",
		 "collection_infos[0].name: must be a string"},
		{"{" TARGET_A ",\"collection_infos\":[{\"name\":\"9 bad/name\"}]}",
		 "collection_infos[0].name: must begin"},
		{"{" TARGET_A ",\"collection_infos\":[{\"name\":\"a/b\"}]}",
		 "collection_infos[0].name: must have only"},
		{"{" TARGET_A ",\"collection_infos\":[{\"name\":\"a\",\"positions\":{\"v\":\"x\"}}]}",
		 "collection_infos[0].positions.v: the channel is not a virtual channel"},
		{"{" TARGET_A ",\"db_collections\":[]}", "db_collections: must be an object"},
		{"{" TARGET_A ",\"db_collections\":{\"d\":[]}}", "db_collections.d: must be a list"},
		{"{" TARGET_A ",\"db_collections\":{\"d!\":[{\"name\":\"x\"}]}}",
		 "db_collections.d!: must have only"},
		{"{" TARGET_A ",\"db_collections\":{\"d\":[{\"name\":\"\"}]}}",
		 "db_collections.d[0].name: is missing"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[{\"source_db\":\"a\"}]}",
		 "name_mapping[0].source_db: is not selected"},
		{"{" TARGET_A INFOS ",\"name_mapping\":{}}", "name_mapping: must be a list"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[5]}", "name_mapping[0]: must be an object"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[{\"collection_mapping\":{\"q\":\"r\"}}]}",
		 "name_mapping[0].collection_mapping.q: is not selected"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[{\"collection_mapping\":{\"c\":\"9\"}}]}",
		 "name_mapping[0].collection_mapping.c: must begin"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[{\"collection_mapping\":{\"c\":\"\"}}]}",
		 "name_mapping[0].collection_mapping.c: is missing or empty"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[{\"collection_mapping\":{\"c\":5}}]}",
		 "name_mapping[0].collection_mapping.c: must be a string"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[{\"collection_mapping\":{\"c\":\"*\"}}]}",
		 "name_mapping[0].collection_mapping.c: * stands for all"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[{\"collection_mapping\":{\"*\":\"x\"}}]}",
		 "name_mapping[0].collection_mapping.*: * stands for all"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[{\"source_db\":\"*\",\"target_db\":\"x\"}]}",
		 "name_mapping[0].source_db: must be the name of one"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[{\"target_db\":\"a$b\"}]}",
		 "name_mapping[0].target_db: must have only"},
		{"{" TARGET_A INFOS ",\"name_mapping\":[{\"collection_mapping\":{\"c\":\"x\"}},"
		 "{\"source_db\":\"default\",\"collection_mapping\":{\"c\":\"y\"}}]}",
		 "name_mapping[1].collection_mapping.c: is mapped twice"},
		{"{" TARGET_A INFOS ",\"exclude_collections\":{}}", "exclude_collections: must be a list"},
		{"{" TARGET_A INFOS ",\"exclude_collections\":[{\"db\":\"d\"}]}",
		 "exclude_collections[0].name: is missing"},
		{"{" TARGET_A INFOS ",\"exclude_collections\":[{\"name\":\"c\"}]}",
		 "exclude_collections: leaves nothing"},
		{"{" TARGET_A INFOS ",\"mode\":\"fast\"}", "mode: must be auto, replicate or upsert"},
		{"{" TARGET_A INFOS ",\"extra_info\":{\"enable_user_role\":1}}",
		 "extra_info.enable_user_role: must be true or false"},
		{"{" TARGET_A INFOS ",\"positions\":{\"v\":\"x\"}}", "positions: belongs to a collection"},
		{"{" TARGET_A INFOS ",\"use_start_position\":true}",
		 "use_start_position: belongs to a collection"},
		{"{" TARGET_A INFOS ",\"kafka_connect_param\":{\"address\":\"k:1\"}}",
		 "kafka_connect_param: is not supp"},
		{"{" TARGET_A INFOS ",\"rpc_channel_info\":{\"position\":\"x\"}}",
		 "rpc_channel_info.position: is not supp"},
		{"{" TARGET_A INFOS ",\"rpc_channel_info\":{\"name\":\"other\"}}",
		 "rpc_channel_info.name: must be the same"},
		{"{" TARGET_A INFOS ",\"buffer_config\":{\"period\":-1}}",
		 "buffer_config.period: must be from 0"},
		{"{" TARGET_A INFOS ",\"task_id\":5}", "task_id: must be a string"},
		{"{" TARGET_A INFOS ",\"task_id\":\"../x\"}", "task_id: must have only"},
		{"{" TARGET_A INFOS ",\"task_id\":\"a/b\"}", "task_id: must have only"},
		{"{" TARGET_A INFOS ",\"task_id\":\"..\"}", "task_id: must have only"},
		{"{" TARGET_A INFOS ",\"disable_auto_start\":1}",
		 "disable_auto_start: must be true or false"},
	};

	kit_start();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		CHECKF(req("create", cases[i].data) == 400, "%s: %s", cases[i].data, ans.text);
		CHECKF(strncmp(message(), cases[i].field, strlen(cases[i].field)) == 0, "%s: got %s",
		       cases[i].data, message());
		CHECK_STR(str_at("error"), "INVALID");
	}
	CHECK_INT(fake.probes, 0);
	CHECK_INT(req("list", "{}"), 200);
	CHECK_INT(json_array_size(at("data.tasks")), 0);
	kit_end();
}

TEST(a_name_is_too_long_by_its_bytes_against_maxNameLength)
{
	char name[300], data[512];

	kit_start();
	memset(name, 'n', sizeof(name));
	name[257] = 0;
	snprintf(data, sizeof(data), "{" TARGET_A ",\"collection_infos\":[{\"name\":\"%s\"}]}", name);
	CHECK_INT(req("create", data), 400);
	CHECK_STR(message(), "collection_infos[0].name: is too long, at most 256 bytes");
	name[256] = 0;
	snprintf(data, sizeof(data), "{" TARGET_A ",\"collection_infos\":[{\"name\":\"%s\"}]}", name);
	CHECK_INT(req("create", data), 200);
	name[129] = 0;
	snprintf(data, sizeof(data), "{\"task_id\":\"%s\"}", name);
	CHECK_INT(req("get", data), 400);
	CHECK(strstr(message(), "task_id: is too long"));
	kit_end();
}

TEST(what_only_tunes_the_peer_is_taken_with_a_warning)
{
	kit_start();
	CHECK_INT(req("create",
		      "{\"milvus_connect_param\":{\"host\":\"127.0.0.1\",\"port\":19530.0,\"channel_num\":16,"
		      "\"ignore_partition\":true}" INFOS ",\"buffer_config\":{\"period\":1,\"size\":10},"
		      "\"extra_info\":{\"bar\":true},\"disable_auto_start\":true,\"foo\":1,"
		      "\"rpc_channel_info\":{\"name\":\"by-dev-replicate-msg\"},\"name_mapping\":[],"
		      "\"positions\":null,"
		      "\"kafka_connect_param\":{}}"),
		  200);
	CHECK_INT(json_array_size(at("warnings")), 6);
	CHECK(strstr(ans.text, "channel_num: has no effect") &&
	      strstr(ans.text, "ignore_partition: has no effect"));
	CHECK(strstr(ans.text, "buffer_config: has no effect") &&
	      strstr(ans.text, "extra_info.bar: unknown field"));
	CHECK(strstr(ans.text, "disable_auto_start: has no effect") &&
	      strstr(ans.text, "foo: unknown field"));
	CHECK_INT(fake.probed->port, 19530);
	kit_end();
}

TEST(tls_credentials_and_paths_reach_the_target)
{
	kit_start();
	CHECK_INT(req("create",
		      "{\"milvus_connect_param\":{\"uri\":\"https://"
		      "127.0.0.1\",\"username\":\"u\",\"password\":\"p\","
		      "\"connect_timeout\":3,\"dial_config\":{\"server_name\":\"n\",\"ca_pem_path\":\"/ca\","
		      "\"client_pem_path\":\"/c\",\"client_key_path\":\"/k\"}}" INFOS "}"),
		  200);
	CHECK_INT(fake.probed->port, 443);
	CHECK(fake.probed->tls.enable);
	CHECK_STR(fake.probed->authorization, "u:p");
	CHECK_STR(fake.probed->tls.server_name, "n");
	CHECK_STR(fake.probed->tls.ca_path, "/ca");
	CHECK_STR(fake.probed->tls.cert_path, "/c");
	CHECK_STR(fake.probed->tls.key_path, "/k");
	CHECK_INT(fake.probed->connect_timeout_ms, 3000);
	CHECK_INT(req("create", "{\"milvus_connect_param\":{\"uri\":\"127.0.0.1:7\"}" INFOS "}"), 200);
	CHECK_INT(fake.probed->port, 7);
	CHECK(!fake.probed->tls.enable && !fake.probed->authorization);
	CHECK_INT(req("create", "{\"milvus_connect_param\":{\"uri\":\"[::1]\"}" INFOS "}"), 200);
	CHECK_STR(fake.probed->host, "::1");
	CHECK_INT(fake.probed->port, 19530);
	kit_end();
}

TEST(several_names_and_databases_are_one_selection)
{
	kit_start();
	CHECK_INT(req("create", "{" TARGET_A
				",\"task_id\":\"t\",\"collection_infos\":[{\"name\":\"a\"},{\"name\":\"b\"}],"
				"\"db_collections\":{\"d\":[{\"name\":\"x\"},{\"name\":\"y\"}],\"e\":[{"
				"\"name\":\"*\"}]}}"),
		  200);
	CHECK_INT(fake.selected, 5);
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_STR(str_at("data.Task.collection_infos.1.name"), "b");
	CHECK_STR(str_at("data.Task.db_collections.d.1.name"), "y");
	CHECK_INT(req("create", "{" TARGET_A ",\"db_collections\":{\"e\":[{\"name\":\"q\"}]}}"), 409);
	CHECK_INT(req("create", "{" TARGET_A ",\"db_collections\":{\"default\":[{\"name\":\"a\"}]}}"), 409);
	CHECK_INT(req("create", "{" TARGET_A ",\"db_collections\":{\"d\":[{\"name\":\"z\"}]}}"), 200);
	kit_end();
}

#define LIST(...) "[" __VA_ARGS__ "]"
#define NAME(n) "{\"name\":\"" n "\"}"

TEST(what_a_task_selects_maps_and_excludes_is_shown_and_survives_a_restart)
{
	kit_start();
	CHECK_INT(req("create", "{" TARGET_A ",\"task_id\":\"t\",\"collection_infos\":" LIST(
					NAME("*")) ","
						   "\"exclude_collections\":[{\"name\":\"tmp\"},{\"db\":\"*"
						   "\",\"name\":\"log\"}],"
						   "\"name_mapping\":[{\"source_db\":\"\",\"collection_"
						   "mapping\":{\"a\":\"b\"}},"
						   "{\"source_db\":\"shop\",\"target_db\":\"market\"}],"
						   "\"extra_info\":{\"enable_user_role\":true}}"),
		  200);
	CHECK(!at("warnings"));
	CHECK_INT(fake.selected, 3);
	CHECK_INT(fake.excluded, 2);
	CHECK_INT(fake.mapped, 2);
	CHECK(fake.users && STREQ(fake.start, "now"));
	CHECK_STR(fake.mode, "replicate");
	CHECK_STR(fake.key, "127.0.0.1:19530");
	for (int i = 0; i < 2; i++) {
		CHECK_INT(req_id("get", "t"), 200);
		CHECK_STR(str_at("data.task.mode"), "replicate");
		CHECK(json_is_true(at("data.task.extra_info.enable_user_role")));
		CHECK_STR(str_at("data.task.exclude_collections.0.db"), "default");
		CHECK_STR(str_at("data.task.exclude_collections.1.db"), "*");
		CHECK_STR(str_at("data.task.exclude_collections.1.name"), "log");
		CHECK_STR(str_at("data.task.name_mapping.0.source_db"), "default");
		CHECK_STR(str_at("data.task.name_mapping.0.collection_mapping.a"), "b");
		CHECK_STR(str_at("data.task.name_mapping.1.target_db"), "market");
		CHECK_STR(str_at("data.task.name_mapping.1.collection_mapping.*"), "*");
		CHECK(json_is_null(at("data.task.collection_infos.0.positions")));
		CHECK(json_is_false(at("data.task.collection_infos.0.use_start_position")));
		kit_down();
		kit_up();
	}
	kit_end();
}

TEST(two_sources_of_one_task_on_one_name_are_400_and_both_are_named)
{
	kit_start();
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":" LIST(NAME("a") "," NAME(
					"b")) ","
					      "\"name_mapping\":[{\"collection_mapping\":{\"a\":\"b\"}}]}"),
		  400);
	CHECK(strstr(message(), "default.a and default.b would both be default.b"));
	CHECK_INT(fake.probes, 0);
	kit_end();
}

TEST(two_tasks_never_write_one_name_of_a_target)
{
	kit_start();
	create("one", "a");
	/* another name for it: fine, the source is read twice */
	CHECK_INT(req("create", "{" TARGET_A ",\"task_id\":\"two\",\"collection_infos\":" LIST(NAME(
					"a")) ","
					      "\"name_mapping\":[{\"collection_mapping\":{\"a\":\"a2\"}}]}"),
		  200);
	/* but not one that someone has */
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":" LIST(NAME(
					"b")) ","
					      "\"name_mapping\":[{\"collection_mapping\":{\"b\":\"a2\"}}]}"),
		  409);
	CHECK(strstr(message(), "task two already writes default.a2 on the target 127.0.0.1:19530"));
	/* nor one that someone might get: a whole database moved onto it */
	CHECK_INT(req("create",
		      "{" TARGET_A ",\"db_collections\":{\"d\":" LIST(NAME(
			      "*")) "},"
				    "\"name_mapping\":[{\"source_db\":\"d\",\"target_db\":\"default\"}]}"),
		  409);
	CHECK_INT(req("create",
		      "{" TARGET_A ",\"db_collections\":{\"d\":" LIST(NAME(
			      "*")) "},"
				    "\"exclude_collections\":[{\"db\":\"d\",\"name\":\"a\"},{\"db\":\"d\","
				    "\"name\":\"a2\"}],"
				    "\"name_mapping\":[{\"source_db\":\"d\",\"target_db\":\"default\"}]}"),
		  200);
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":" LIST(NAME("c")) "}"), 409);
	kit_end();
}

TEST(users_and_roles_of_a_target_belong_to_one_task)
{
	kit_start();
	CHECK_INT(req("create", "{" TARGET_A ",\"task_id\":\"one\",\"collection_infos\":" LIST(
					NAME("a")) ","
						   "\"extra_info\":{\"enable_user_role\":true}}"),
		  200);
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":" LIST(
					NAME("b")) ","
						   "\"extra_info\":{\"enable_user_role\":true}}"),
		  409);
	CHECK(strstr(message(), "extra_info.enable_user_role: task one already writes"));
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":" LIST(NAME("b")) "}"), 200);
	kit_end();
}

TEST(too_many_names_are_400)
{
	AUTO_BUF struct buf b = {0};

	kit_start();
	for (int n = 1024; n <= 1025; n++) {
		buf_reset(&b);
		buf_adds(&b, "{" TARGET_A ",\"task_id\":\"t\",\"collection_infos\":[");
		for (int i = 0; i < n; i++)
			buf_addf(&b, "%s{\"name\":\"c%d\"}", i ? "," : "", i);
		buf_adds(&b, "]}");
		CHECK_INT(req("create", (char *)b.data), n == 1024 ? 200 : 400);
	}
	CHECK(strstr(message(), "more than 1024 names"));
	kit_end();
}

/* A create request: n names in database "*", databases of that tag mapped. */
static const char *many(struct buf *b, const char *id, int n, const char *tag, int dbs)
{
	buf_reset(b);
	buf_addf(b, "{" TARGET_A ",\"task_id\":\"%s\",\"db_collections\":{\"*\":[", id);
	for (int i = 0; i < n; i++)
		buf_addf(b, "%s{\"name\":\"%s%d\"}", i ? "," : "", tag, i);
	buf_adds(b, "]},\"name_mapping\":[");
	for (int i = 0; i < dbs; i++)
		buf_addf(b, "%s{\"source_db\":\"%s%d\",\"target_db\":\"%sto%d\"}", i ? "," : "", tag, i, tag,
			 i);
	buf_adds(b, "]}");
	return (const char *)b->data;
}

TEST(names_of_all_databases_that_make_too_many_on_the_target_are_400_at_once)
{
	AUTO_BUF struct buf b = {0};

	kit_start();
	CHECK_INT(req("create", many(&b, "one", 1000, "a", 1024)), 400);
	CHECKF(ans.seconds < 5, "%.1f s", ans.seconds);
	CHECK_STR(str_at("error"), "INVALID");
	CHECKF(strstr(message(), "db_collections: 1000 names of database \"*\"") &&
		       strstr(message(), "make several tasks"),
	       "%s", message());
	CHECK_INT(fake.probes, 0);
	/* as many as there may be: two such tasks are told apart while the others wait */
	CHECK_INT(req("create", many(&b, "one", 1000, "a", 14)), 200);
	CHECK_INT(req("create", many(&b, "two", 1000, "b", 14)), 200);
	CHECKF(ans.seconds < 5, "%.1f s", ans.seconds);
	kit_end();
}

TEST(a_name_on_the_target_is_too_long_where_Milvus_would_refuse_it)
{
	char body[1024], name[300];

	kit_start();
	for (int n = 255; n <= 256; n++) {
		memset(name, 'n', sizeof(name));
		name[n] = 0;
		snprintf(body, sizeof(body),
			 "{" TARGET_A INFOS ",\"name_mapping\":[{\"collection_mapping\":{\"c\":\"%s\"}}]}",
			 name);
		CHECK_INT(req("create", body), n == 255 ? 200 : 400);
	}
	CHECK(strstr(message(), "name_mapping[0].collection_mapping.c: is too long, at most 255"));
	kit_end();
}

TEST(the_same_collections_to_the_same_target_are_409_however_it_is_spelled)
{
	kit_start();
	create("one", "a");
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":[{\"name\":\"a\"}]}"), 409);
	CHECK(strstr(message(), "task one already writes default.a on the target"));
	CHECK_INT(fake.probes, 1); /* not asked: the spelling told */
	CHECK_INT(req("create", "{\"milvus_connect_param\":{\"host\":\"localhost\",\"port\":19530},"
				"\"collection_infos\":[{\"name\":\"a\"}]}"),
		  409);
	CHECK_STR(str_at("error"), "DUPLICATE");
	CHECK_INT(req("create", "{\"milvus_connect_param\":{\"uri\":\"http://127.0.0.1:19530/\"},"
				"\"collection_infos\":[{\"name\":\"*\"}]}"),
		  409);
	CHECK_INT(req("create", "{\"milvus_connect_param\":{\"host\":\"localhost\",\"port\":19531},"
				"\"collection_infos\":[{\"name\":\"a\"}]}"),
		  200);
	CHECK_INT(req("create", "{\"milvus_connect_param\":{\"host\":\"localhost\",\"port\":19530},"
				"\"collection_infos\":[{\"name\":\"b\"}]}"),
		  200);
	CHECK_INT(req_id("delete", "one"), 200);
	create("one", "a");
	kit_end();
}

TEST(an_id_that_exists_is_409_and_the_first_task_stays)
{
	kit_start();
	create("my-task.1_x", "a");
	CHECK_INT(req("create",
		      "{" TARGET_A ",\"collection_infos\":[{\"name\":\"b\"}],\"task_id\":\"my-task.1_x\"}"),
		  409);
	CHECK(strstr(message(), "my-task.1_x"));
	CHECK_INT(req_id("get", "my-task.1_x"), 200);
	CHECK_STR(str_at("data.Task.collection_infos.0.name"), "a");
	kit_end();
}

TEST(maxTaskNum_is_kept)
{
	kit_start();
	kit_conf->max_task_num = 1;
	create("one", "a");
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":[{\"name\":\"b\"}]}"), 429);
	CHECK(strstr(message(), "maxTaskNum"));
	kit_end();
}

TEST_MAIN()
