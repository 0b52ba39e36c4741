/* SPDX-License-Identifier: Apache-2.0 */
/* The API over HTTP but create: transport, requests about tasks, health, metrics. */
#include "api_kit.h"

/* ---- transport ---- */

TEST(only_known_paths_and_methods_are_taken)
{
	kit_start();
	CHECK_INT(http("GET", "/", NULL), 404);
	CHECK_INT(http("POST", "/cdc/", "{}"), 404);
	CHECK_INT(json_integer_value(at("code")), 404);
	CHECK_INT(http("GET", "/cdc", NULL), 405);
	CHECK_STR(ans.allow, "POST");
	CHECK_INT(json_integer_value(at("code")), 405);
	CHECK_INT(http("PUT", "/cdc", "{}"), 405);
	CHECK_INT(http("DELETE", "/cdc", NULL), 405);
	CHECK_INT(http("HEAD", "/cdc", NULL), 405);
	CHECK_INT(http("OPTIONS", "/cdc", NULL), 405);
	CHECK_INT(http("POST", "/healthz", "{}"), 405);
	CHECK_STR(ans.allow, "GET, HEAD");
	CHECK_INT(http("HEAD", "/healthz", NULL), 200);
	CHECK_INT(http("POST", "/cdc?x=1", "{\"request_type\":\"list\"}"), 200);
	kit_end();
}

TEST(broken_json_is_400_with_line_and_column)
{
	kit_start();
	CHECK_INT(post("{\"request_type\":"), 400);
	CHECK(strstr(message(), "line 1, column 16"));
	CHECK_INT(post("{\n \"request_type\": list}"), 400);
	CHECK(strstr(message(), "line 2, column"));
	CHECK_INT(post("{\"request_type\":\"list\"} xx"), 400);
	CHECK_INT(post(""), 400);
	CHECK(strstr(message(), "is empty"));
	CHECK_INT(post("[]"), 400);
	CHECK_INT(post("null"), 400);
	CHECK_INT(post("\"list\""), 400);
	CHECK_INT(post("{\"request_type\":\"list\",\"request_type\":\"get\"}"), 400);
	CHECK(strstr(message(), "duplicate"));
	CHECK_INT(post("{\"request_type\":\"get\",\"request_data\":{\"task_id\":\"\\ud800\"}}"), 400);
	kit_end();
}

TEST(an_unknown_request_type_lists_the_known_ones_sorted)
{
	static const char list[] = "known are create, delete, get, list, pause, position, resume";

	kit_start();
	CHECK_INT(post("{\"request_type\":\"foo\"}"), 400);
	CHECK(strstr(message(), list) && strncmp(message(), "request_type: ", 14) == 0);
	CHECK_INT(post("{}"), 400);
	CHECK(strstr(message(), list) && strstr(message(), "missing"));
	CHECK_INT(post("{\"request_type\":\"LIST\"}"), 400);
	CHECK_INT(post("{\"request_type\":1}"), 400);
	CHECK_STR(message(), "request_type: must be a string");
	CHECK_INT(post("{\"request_type\":\"list\",\"request_data\":[]}"), 400);
	CHECK_STR(message(), "request_data: must be an object");
	kit_end();
}

TEST(a_body_over_1_mib_is_413_one_below_is_read)
{
	size_t n = (1 << 20) + 1;
	char *body = xmalloc(n);

	kit_start();
	memset(body, ' ', n);
	memcpy(body, "{\"request_type\":\"list\"}", 23);
	http_to(&ans, "POST", "/cdc", body, (long)n);
	CHECK_INT(ans.status, 413);
	CHECK_INT(json_integer_value(at("code")), 413);
	http_to(&ans, "POST", "/cdc", body, (long)n - 1);
	CHECK_INT(ans.status, 200);
	free(body);
	kit_end();
}

TEST(unknown_fields_are_named_in_warnings_beside_data)
{
	kit_start();
	CHECK_INT(post("{\"request_type\":\"list\",\"x\":1,\"request_data\":{\"state\":\"Paused\"}}"), 200);
	CHECK_INT(json_array_size(at("warnings")), 2);
	CHECK_STR(str_at("warnings.0"), "x: unknown field, ignored");
	CHECK_STR(str_at("warnings.1"), "state: unknown field, ignored");
	CHECK(json_is_array(at("data.tasks")));
	CHECK_INT(req("list", "{}"), 200);
	CHECK(!at("warnings"));
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_info\":[{\"name\":\"*\"}]}"), 400);
	CHECK_STR(str_at("warnings.0"), "collection_info: unknown field, ignored");
	kit_end();
}

/* ---- requests about one task ---- */

TEST(requests_about_a_task_need_its_id)
{
	static const char *const types[] = {"get", "pause", "resume", "delete", "position"};

	kit_start();
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		CHECK_INT(req(types[i], "{}"), 400);
		CHECK_STR(message(), "task_id: is missing or empty");
		CHECK_INT(req(types[i], "{\"task_id\":\"\"}"), 400);
		CHECK_INT(req(types[i], "{\"task_id\":null}"), 400);
		CHECK_INT(req(types[i], "{\"task_id\":5}"), 400);
		CHECK_STR(message(), "task_id: must be a string");
		CHECK_INT(req(types[i], "{\"task_id\":\"nope\"}"), 404);
		CHECK_STR(message(), "task_id: there is no task nope");
		CHECK_INT(req(types[i], "{\"task_id\":\"../x\"}"), 404);
		CHECK_INT(req(types[i], "null"), 400);
	}
	CHECK_INT(req("delete", "{\"task_id\":\"nope\",\"ignore_not_found\":true}"), 200);
	CHECK_INT(req("delete", "{\"task_id\":\"nope\",\"ignore_not_found\":false}"), 404);
	CHECK_INT(req("delete", "{\"task_id\":\"nope\",\"ignore_not_found\":\"true\"}"), 400);
	kit_end();
}

TEST(pause_and_resume_are_idempotent_and_quick)
{
	kit_start();
	create("t", "a");
	for (int i = 0; i < 2; i++) {
		CHECK_INT(req_id("pause", "t"), 200);
		CHECKF(ans.seconds < 0.1, "%f s", ans.seconds);
		CHECK_INT(fake_paused("t"), 1);
	}
	for (int i = 0; i < 2; i++) {
		CHECK_INT(req_id("resume", "t"), 200);
		CHECKF(ans.seconds < 0.1, "%f s", ans.seconds);
		CHECK_INT(fake_paused("t"), 0);
	}
	kit_end();
}

TEST(R23_a_resume_may_ask_for_what_is_on_hold_with_an_unclear_end)
{
	kit_start();
	create("t", "a");
	CHECK_INT(req("resume", "{\"task_id\":\"t\",\"replay_unclear\":\"yes\"}"), 400);
	CHECK_INT(req("resume", "{\"task_id\":\"t\",\"replay_unclear\":false}"), 200);
	CHECK_INT(req_id("resume", "t"), 200);
	CHECK_INT(fake_replayed("t"), 0);
	CHECK_INT(req("resume", "{\"task_id\":\"t\",\"replay_unclear\":true}"), 200);
	CHECK(!at("warnings"));
	CHECK_INT(fake_replayed("t"), 1);
	CHECK_INT(fake_paused("t"), 0);
	kit_end();
}

TEST(health_and_progress_are_those_of_the_flow)
{
	kit_start();
	create("t", "a");
	fake.status.captured = 30;
	fake.status.journaled = 20;
	fake.status.applied = 10;
	fake.status.lag_ms = 1500;
	fake.status.reader = (struct health){.status = HEALTH_RETRYING,
					     .code = ERR_SOURCE_LOST,
					     .since_ms = 1000,
					     .reason = "kafka k:1 is away"};
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_STR(str_at("data.task.state"), "Running");
	CHECK_STR(str_at("data.task.health.status"), "retrying");
	CHECK_STR(str_at("data.task.health.reason"), "kafka k:1 is away");
	CHECK_STR(str_at("data.task.health.since"), "1970-01-01T00:00:01.000Z");
	CHECK_STR(str_at("data.task.health.error"), "SOURCE_LOST");
	CHECK_INT(json_integer_value(at("data.task.progress.captured")), 30);
	CHECK_INT(json_integer_value(at("data.task.progress.journaled")), 20);
	CHECK_INT(json_integer_value(at("data.task.progress.applied")), 10);
	CHECK_INT(json_integer_value(at("data.task.progress.lag_ms")), 1500);
	fake.status.applier = (struct health){.status = HEALTH_HELD, .reason = "bad \xff text"};
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_STR(str_at("data.task.health.status"), "held");
	CHECK_STR(str_at("data.task.health.reason"), "bad ? text");
	fake.status.reader = fake.status.applier = (struct health){0};
	fake.status.held_collections = 2;
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_STR(str_at("data.task.health.status"), "held");
	CHECK(strstr(str_at("data.task.health.reason"), "2 collections"));
	kit_end();
}

TEST(what_is_not_replicated_is_shown_and_bounded)
{
	kit_start();
	create("t", "a");
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_INT(json_array_size(at("data.task.warnings")), 0);
	fake.warnings = 2;
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_INT(json_array_size(at("data.task.warnings")), 2);
	CHECK(strstr(str_at("data.task.warnings.1"), "default.a"));
	fake.warnings = 103;
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_INT(json_array_size(at("data.task.warnings")), 101);
	CHECK_STR(str_at("data.task.warnings.100"), "and 3 more");
	fake.warnings = 0;
	kit_end();
}

TEST(positions_are_in_the_peers_shape)
{
	kit_start();
	create("t", "a");
	CHECK_INT(req_id("position", "t"), 200);
	CHECK(json_is_null(at("data.positions")) && json_is_null(at("data.op_positions")) &&
	      json_is_null(at("data.target_positions")));
	fake.positions[0] = (struct flow_position){.pchannel = "p0",
						   .vchannel = "p0_9v0",
						   .collection_id = 9,
						   .db = "default",
						   .collection = "a",
						   .id = 258,
						   .ts = 7000ULL << 18};
	fake.positions[1] = (struct flow_position){.pchannel = "by-dev-replicate-msg",
						   .vchannel = "",
						   .db = "",
						   .collection = "",
						   .id = 1,
						   .ts = 1};
	fake.position_count = 2;
	fake.status.applied_ts = 5000ULL << 18;
	CHECK_INT(req_id("position", "t"), 200);
	CHECK_INT(json_array_size(at("data.positions")), 1);
	CHECK_STR(str_at("data.positions.0.channel_name"), "p0");
	CHECK_STR(str_at("data.positions.0.vchannel"), "p0_9v0");
	CHECK_STR(str_at("data.positions.0.collection_name"), "a");
	CHECK_INT(json_integer_value(at("data.positions.0.collection_id")), 9);
	CHECK_INT(json_integer_value(at("data.op_positions.0.collection_id")), -10);
	CHECK_INT(json_integer_value(at("data.positions.0.time")), 7000);
	CHECK_INT(json_integer_value(at("data.positions.0.tt")), 7000LL << 18);
	/* 0a 02 'p' '0', 12 08 02 01 00*6, 20 varint(7000 << 18) */
	CHECK_STR(str_at("data.positions.0.msg_id"), "CgJwMBIIAgEAAAAAAAAggICA6wY=");
	CHECK_STR(str_at("data.op_positions.0.channel_name"), "by-dev-replicate-msg");
	CHECK_INT(json_array_size(at("data.op_positions")), 1);
	CHECK_INT(json_integer_value(at("data.target_positions.0.time")), 5000);
	kit_end();
}

/* ---- health and metrics ---- */

TEST(healthz_is_503_only_when_a_worker_is_stuck)
{
	kit_start();
	CHECK_INT(http("GET", "/healthz", NULL), 200);
	create("t", "a");
	fake.status.reader.status = HEALTH_RETRYING;
	CHECK_INT(http("GET", "/healthz", NULL), 200);
	CHECK_INT(json_integer_value(at("retrying")), 1);
	fake.status.applier_silent_ms = 10000;
	CHECK_INT(http("GET", "/healthz", NULL), 503);
	CHECK_STR(str_at("status"), "stuck");
	kit_end();
}

TEST(metrics_have_bounded_labels)
{
	kit_start();
	create("t", "a");
	fake.status.applied = 77;
	fake.status.lag_ms = 1500;
	for (int i = 0; i < 5; i++) {
		char body[64];

		snprintf(body, sizeof(body), "{\"request_type\":\"made_up_%d\"}", i);
		CHECK_INT(post(body), 400);
	}
	CHECK_INT(http("GET", "/metrics", NULL), 200);
	CHECK(strstr(ans.text, "milvus_cdc_applied_rows_total{task_id=\"t\"} 77\n"));
	CHECK(strstr(ans.text, "milvus_cdc_lag_seconds{task_id=\"t\"} 1.5\n"));
	CHECK(strstr(ans.text, "milvus_cdc_task_state{task_id=\"t\",state=\"Running\"} 1\n"));
	CHECK(strstr(ans.text, "milvus_cdc_task_state{task_id=\"t\",state=\"Paused\"} 0\n"));
	CHECK(strstr(ans.text, "milvus_cdc_requests_total{request_type=\"unknown\",result=\"INVALID\"} 5\n"));
	CHECK(strstr(ans.text, "milvus_cdc_requests_total{request_type=\"create\",result=\"OK\"} 1\n"));
	CHECK(!strstr(ans.text, "made_up"));
	CHECK_INT(http("GET", "/cdc/metrics", NULL), 200);
	kit_end();
}

TEST_MAIN()
