/* SPDX-License-Identifier: Apache-2.0 */
/* Start points of a create request: what is understood, shown and refused. The data path is a fake. */
#include "api_kit.h"

#define V0 "by-dev-rootcoord-dml_3_444v0"
#define V1 "by-dev-rootcoord-dml_4_444v1"
/* MsgPosition{by-dev-rootcoord-dml_3, offset 15}, as the peer's tool prints it */
#define OFFSET_15 "ChZieS1kZXYtcm9vdGNvb3JkLWRtbF8zEggPAAAAAAAAAA=="
/* {msgID: offset 2, timestamp: 300} */
#define OFFSET_2 "EggCAAAAAAAAACCsAg=="

static long create_with(const char *infos, const char *more)
{
	AUTO_FREE char *data = xasprintf("{" TARGET_A "%s%s%s,\"task_id\":\"t\"}",
					 *infos ? ",\"collection_infos\":" : "", infos, more);

	return req("create", data);
}

static void starts_at(const char *infos, const char *more, const char *want)
{
	CHECKF(create_with(infos, more) == 200, "%s", ans.text);
	CHECK_STR(fake.start, want);
	CHECK_INT(req_id("get", "t"), 200);
}

static void next(void)
{
	CHECK_INT(req_id("delete", "t"), 200);
}

TEST(a_task_starts_now_unless_it_says_otherwise)
{
	kit_start();
	starts_at("[{\"name\":\"a\"}]", "", "now");
	next();
	starts_at("[{\"name\":\"a\",\"start\":null,\"positions\":{},\"use_start_position\":false}]",
		  ",\"start\":\"now\"", "now");
	CHECK_STR(str_at("data.task.start"), "now");
	next();
	starts_at("[{\"name\":\"*\"}]", ",\"start\":\"earliest\"", "earliest");
	CHECK_STR(str_at("data.task.start"), "earliest");
	kit_end();
}

TEST(times_are_read_as_RFC_3339_has_them)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"2024-02-29T12:00:00Z", "1709208000000 ms"},
		{"2024-02-29t12:00:00.25z", "1709208000250 ms"},
		{"2024-02-29 12:00:00.123456789Z", "1709208000123 ms"},
		{"2024-02-29T13:30:00+01:30", "1709208000000 ms"},
		{"2024-02-28T20:00:00-16:00", "1709208000000 ms"},
	};
	static const char *const bad[] = {
		"",
		"yesterday",
		"Earliest",
		"2024-02-29",
		"2024-02-29T12:00:00",
		"2024-02-30T12:00:00Z",
		"2024-13-01T12:00:00Z",
		"2024-02-29T24:00:00Z",
		"2024-02-29T12:60:00Z",
		"2024-02-29T12:00:00.Z",
		"2024-02-29T12:00:00+0130",
		"2024-02-29T12:00:00Z ",
		"24-02-29T12:00:00Z",
		"1709208000",
		"1969-12-31T23:59:59Z",
	};

	kit_start();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FREE char *more = xasprintf(",\"start\":\"%s\"", cases[i].text);

		starts_at("[{\"name\":\"a\"}]", more, cases[i].want);
		next();
	}
	for (size_t i = 1; i < ARRAY_LEN(bad); i++) {
		AUTO_FREE char *more = xasprintf(",\"start\":\"%s\"", bad[i]);

		CHECKF(create_with("[{\"name\":\"a\"}]", more) == 400, "%s", bad[i]);
		CHECKF(strstr(message(), "start: must be \"now\", \"earliest\" or a time"), "%s", message());
	}
	CHECK_INT(create_with("[{\"name\":\"a\"}]", ",\"start\":\"2999-01-01T00:00:00Z\""), 400);
	CHECKF(strstr(message(), "start: lies in the future"), "%s", message());
	CHECK_INT(fake.creates, ARRAY_LEN(cases));
	kit_end();
}

TEST(each_collection_may_start_elsewhere)
{
	kit_start();
	starts_at(
		"[{\"name\":\"a\",\"use_start_position\":true},{\"name\":\"b\",\"start\":\"now\"},{\"name\":"
		"\"c\"}]",
		",\"start\":\"2024-02-29T12:00:00Z\",\"db_collections\":{\"shop\":[{\"name\":\"*\",\"start\":"
		"\"earliest\"}]}",
		"1709208000000 ms; default.a: earliest; default.b: now; shop.*: earliest");
	CHECK(json_is_true(at("data.task.collection_infos.0.use_start_position")));
	CHECK(json_is_null(at("data.task.collection_infos.0.positions")));
	CHECK_STR(str_at("data.task.collection_infos.1.start"), "now");
	CHECK(!at("data.task.collection_infos.2.start"));
	CHECK_STR(str_at("data.task.db_collections.shop.0.start"), "earliest");
	next();
	/* twice the same is no contradiction */
	starts_at("[{\"name\":\"a\",\"use_start_position\":true,\"start\":\"earliest\"},{\"name\":\"a\","
		  "\"start\":"
		  "\"earliest\"}]",
		  "", "now; default.a: earliest");
	kit_end();
}

TEST(positions_are_taken_and_shown_as_the_peer_has_them)
{
	kit_start();
	starts_at("[{\"name\":\"a\",\"positions\":{\"" V0 "\":\"" OFFSET_15 "\",\"" V1 "\":\"" OFFSET_2
		  "\"}}]",
		  "", "now; default.a: " V0 "@15/0 " V1 "@2/300");
	CHECK_STR(str_at("data.task.collection_infos.0.positions." V0), OFFSET_15);
	CHECK(json_is_false(at("data.task.collection_infos.0.use_start_position")));
	next();
	starts_at("",
		  ",\"db_collections\":{\"shop\":[{\"name\":\"a\",\"positions\":{\"" V1 "\":\"" OFFSET_2
		  "\"}}]}",
		  "now; shop.a: " V1 "@2/300");
	CHECK_STR(str_at("data.task.db_collections.shop.0.positions." V1), OFFSET_2);
	kit_end();
}

TEST(the_position_request_gives_what_create_takes)
{
	AUTO_FREE char *infos = NULL;

	kit_start();
	create("t", "a");
	fake.positions[0] = (struct flow_position){.pchannel = "by-dev-rootcoord-dml_3",
						   .vchannel = V0,
						   .collection_id = 444,
						   .db = "default",
						   .collection = "a",
						   .id = 1234567,
						   .ts = 450000000000000001};
	fake.position_count = 1;
	CHECK_INT(req_id("position", "t"), 200);
	infos = xasprintf("[{\"name\":\"a\",\"positions\":{\"%s\":\"%s\"}}]",
			  str_at("data.positions.0.vchannel"), str_at("data.positions.0.msg_id"));
	next();
	starts_at(infos, "", "now; default.a: " V0 "@1234567/450000000000000001");
	kit_end();
}

TEST(what_cannot_be_meant_is_refused_with_the_fields_name)
{
	static const struct {
		const char *infos, *more, *want;
	} cases[] = {
		{"[{\"name\":\"a\",\"positions\":{\"foo\":\"aaaa\"}}]", "",
		 "collection_infos[0].positions.foo: the channel is not a virtual channel"},
		{"[{\"name\":\"a\",\"positions\":{\"x_1v\":\"aaaa\"}}]", "", "is not a virtual channel"},
		{"[{\"name\":\"a\",\"positions\":{\"x_v0\":\"aaaa\"}}]", "", "is not a virtual channel"},
		{"[{\"name\":\"a\",\"positions\":{\"x_1v0y\":\"aaaa\"}}]", "", "is not a virtual channel"},
		{"[{\"name\":\"a\",\"positions\":{\"" V0 "\":\"%%%\"}}]", "", V0 ": is not base64"},
		{"[{\"name\":\"a\",\"positions\":{\"" V0 "\":\"aaa\"}}]", "", V0 ": is not base64"},
		{"[{\"name\":\"a\",\"positions\":{\"" V0 "\":\"a===\"}}]", "", V0 ": is not base64"},
		{"[{\"name\":\"a\",\"positions\":{\"" V0 "\":\"\"}}]", "", V0 ": is not base64"},
		{"[{\"name\":\"a\",\"positions\":{\"" V0 "\":\"aaaa\"}}]", "", V0 ": holds no MsgPosition"},
		{"[{\"name\":\"a\",\"positions\":{\"" V0 "\":\"CgF4\"}}]", "", "position of another channel"},
		{"[{\"name\":\"a\",\"positions\":{\"" V1 "\":\"" OFFSET_15 "\"}}]", "",
		 "position of another channel"},
		{"[{\"name\":\"a\",\"positions\":{\"" V0 "\":5}}]", "", V0 ": must be a string"},
		{"[{\"name\":\"a\",\"positions\":\"x\"}]", "",
		 "collection_infos[0].positions: must be an object"},
		{"[{\"name\":\"*\",\"positions\":{\"" V0 "\":\"" OFFSET_15 "\"}}]", "",
		 "collection_infos[0].positions: must be empty when the collection name is '*'"},
		{"[{\"name\":\"a\",\"use_start_position\":\"yes\"}]", "",
		 "use_start_position: must be true or false"},
		{"[{\"name\":\"a\",\"start\":5}]", "", "collection_infos[0].start: must be a string"},
		{"[{\"name\":\"a\",\"use_start_position\":true,\"positions\":{\"" V0 "\":\"" OFFSET_15
		 "\"}}]",
		 "", "collection_infos[0].positions: contradicts use_start_position"},
		{"[{\"name\":\"a\",\"start\":\"earliest\",\"positions\":{\"" V0 "\":\"" OFFSET_15 "\"}}]", "",
		 "collection_infos[0].positions: contradicts start"},
		{"[{\"name\":\"a\",\"start\":\"now\",\"use_start_position\":true}]", "",
		 "collection_infos[0].use_start_position: means start \"earliest\" and contradicts"},
		{"[{\"name\":\"a\",\"start\":\"earliest\"},{\"name\":\"a\",\"start\":\"now\"}]", "",
		 "collection_infos[1].start: this collection is named twice"},
		{"[{\"name\":\"a\",\"start\":\"earliest\"}]",
		 ",\"db_collections\":{\"default\":[{\"name\":\"a\",\"start\":\"now\"}]}",
		 "db_collections.default[0].start: this collection is named twice"},
		{"[{\"name\":\"a\"}]", ",\"use_start_position\":true",
		 "use_start_position: belongs to a collection"},
		{"[{\"name\":\"a\"}]", ",\"start\":true", "start: must be a string"},
	};

	kit_start();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		CHECKF(create_with(cases[i].infos, cases[i].more) == 400, "%s %s: %s", cases[i].infos,
		       cases[i].more, ans.text);
		CHECKF(strstr(message(), cases[i].want), "%s, want %s", message(), cases[i].want);
	}
	CHECK_INT(fake.creates, 0);
	kit_end();
}

TEST(a_copy_says_what_the_log_does_not_have)
{
	kit_start();
	CHECK_INT(create_with("[{\"name\":\"a\"}]", ""), 200);
	CHECK(!at("warnings"));
	next();
	CHECK_INT(create_with("[{\"name\":\"a\",\"use_start_position\":true}]", ""), 200);
	CHECKF(strstr(str_at("warnings.0"), "bulk-imported"), "%s", ans.text);
	kit_end();
}

TEST(a_log_that_does_not_reach_back_is_409_and_leaves_nothing)
{
	kit_start();
	err_set(&fake.create, ERR_POSITION_GONE, "collection default.a: offset 3 is wanted");
	CHECK_INT(create_with("[{\"name\":\"a\"}]", ",\"start\":\"earliest\""), 409);
	CHECK_STR(str_at("error"), "POSITION_GONE");
	CHECKF(strstr(message(), "offset 3 is wanted"), "%s", message());
	CHECK_INT(req_id("get", "t"), 404);
	kit_end();
}

TEST_MAIN()
