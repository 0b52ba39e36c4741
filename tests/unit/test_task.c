/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks over time: failures of create, requests side by side, secrets. */
#include "api_kit.h"

#define ALL ",\"collection_infos\":[{\"name\":\"*\"}]"

static bool no_tasks(void)
{
	return req("list", "{}") == 200 && json_array_size(at("data.tasks")) == 0;
}

/* ---- failures of create ---- */

static void create_fails(struct err *slot, int code, const char *text, int status)
{
	kit_start();
	err_set(slot, code, "%s", text);
	CHECK_INT(req("create", "{" TARGET_A ALL ",\"task_id\":\"t\"}"), status);
	CHECK_STR(str_at("error"), err_name(code));
	CHECK_STR(message(), text);
	CHECK(no_tasks());
	CHECK(!exists("tasks/", "t"));
	CHECK_INT(entries("trash"), 0);
	*slot = (struct err){0};
	create("t", "*"); /* nothing is left that would be in the way, R30 */
	kit_end();
}

TEST(a_target_that_cannot_be_reached_is_502_with_its_address)
{
	create_fails(&fake.probe, ERR_TARGET_LOST, "127.0.0.1:19530: connection refused", 502);
}

TEST(a_target_that_refuses_the_credentials_is_502)
{
	create_fails(&fake.probe, ERR_TARGET_AUTH, "127.0.0.1:19530 refuses", 502);
}

TEST(a_target_that_is_no_milvus_is_502)
{
	create_fails(&fake.probe, ERR_TARGET_BAD, "127.0.0.1:19530 is no Milvus", 502);
}

TEST(a_source_that_is_away_is_503)
{
	create_fails(&fake.same, ERR_SOURCE_LOST, "etcd e:1 is away", 503);
	create_fails(&fake.create, ERR_SOURCE_LOST, "kafka k:1 is away", 503);
}

TEST(a_folder_that_cannot_be_opened_takes_row_and_folder_back)
{
	create_fails(&fake.open, ERR_JOURNAL_IO, "disk full", 500);
}

TEST(the_mode_is_what_the_target_takes_and_insisting_on_the_other_is_502)
{
	kit_start();
	fake.no_replicate = true;
	CHECK_INT(req("create", "{" TARGET_A ALL ",\"mode\":\"replicate\"}"), 502);
	CHECK_STR(str_at("error"), "TARGET_BAD");
	CHECK(strstr(message(), "common.ttMsgEnabled: false") && strstr(message(), "127.0.0.1:19530"));
	CHECK_INT(fake.creates, 0);
	CHECK(no_tasks());
	CHECK_INT(req("create", "{" TARGET_A ALL ",\"mode\":\"auto\",\"task_id\":\"t\"}"), 200);
	CHECK_STR(fake.mode, "upsert");
	fake.no_replicate = false; /* the mode of a task never changes */
	kit_down();
	kit_up();
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_STR(str_at("data.task.mode"), "upsert");
	CHECK_INT(req_id("delete", "t"), 200);
	CHECK_INT(req("create", "{" TARGET_A ALL ",\"mode\":\"upsert\"}"), 502);
	CHECK(strstr(message(), "common.ttMsgEnabled: true"));
	CHECK_INT(req("create", "{" TARGET_A ALL ",\"mode\":\"replicate\"}"), 200);
	kit_end();
}

/* R22: they share one clock of ticks, whoever of them is opened first or deleted. */
TEST(tasks_to_one_target_have_one_key_however_each_spells_it)
{
	kit_start();
	create("one", "a");
	CHECK_STR(fake.key, "127.0.0.1:19530");
	CHECK_INT(req("create", "{\"milvus_connect_param\":{\"host\":\"localhost\",\"port\":19530},"
				"\"collection_infos\":[{\"name\":\"b\"}]}"),
		  200);
	CHECK_STR(fake.key, "127.0.0.1:19530");
	CHECK_INT(req_id("delete", "one"), 200);
	CHECK_INT(req("create", "{\"milvus_connect_param\":{\"uri\":\"http://[::1]:19530\"},"
				"\"collection_infos\":[{\"name\":\"c\"}]}"),
		  200);
	CHECK_STR(fake.key, "127.0.0.1:19530");
	CHECK_INT(req("create", "{\"milvus_connect_param\":{\"host\":\"localhost\",\"port\":19531},"
				"\"collection_infos\":[{\"name\":\"b\"}]}"),
		  200);
	CHECK_STR(fake.key, "127.0.0.1:19531");
	kit_end();
}

TEST(the_source_as_its_own_target_is_400)
{
	kit_start();
	fake.same_answer = 1;
	CHECK_INT(req("create", "{" TARGET_A ALL "}"), 400);
	CHECK(strncmp(message(), "milvus_connect_param: ", 22) == 0 &&
	      strstr(message(), "is the source itself"));
	CHECK_INT(fake.creates, 0);
	CHECK(no_tasks());
	kit_end();
}

TEST(a_name_that_cannot_be_resolved_is_502)
{
	kit_start();
	CHECK_INT(req("create",
		      "{\"milvus_connect_param\":{\"host\":\"no.such.invalid\",\"port\":19530}" ALL "}"),
		  502);
	CHECK(strstr(message(), "no.such.invalid:19530"));
	CHECK(no_tasks());
	kit_end();
}

TEST(without_a_source_create_is_503_and_the_daemon_runs)
{
	kit_start();
	free(kit_conf->source.kafka.address);
	kit_conf->source.kafka.address = NULL;
	CHECK_INT(req("create", "{" TARGET_A ALL "}"), 503);
	CHECK_STR(str_at("error"), "NO_SOURCE");
	CHECK_INT(http("GET", "/healthz", NULL), 200);
	CHECK(json_is_false(at("source_configured")));
	CHECK(no_tasks());
	kit_end();
}

/* ---- side by side ---- */

#define CREATE(id, rest) \
	"{\"request_type\":\"create\",\"request_data\":{\"task_id\":\"" id "\"," TARGET_A rest "}}"

TEST(a_create_that_waits_for_its_target_holds_up_nobody)
{
	struct call slow;

	kit_start();
	create("other", "a");
	fake_set(&fake.probe_gate, true);
	call_begin(&slow, CREATE("slow", ",\"collection_infos\":[{\"name\":\"b\"}]"));
	CHECK(fake_wait_waiting(1));
	CHECK_INT(req_id("pause", "other"), 200);
	CHECKF(ans.seconds < 0.1, "%f s", ans.seconds);
	CHECK_INT(req("list", "{}"), 200);
	CHECK_INT(json_array_size(at("data.tasks")), 2);
	CHECK_INT(req_id("get", "slow"), 200);
	CHECK_STR(str_at("data.task.state"), "Initial");
	CHECK_INT(req_id("pause", "slow"), 409);
	CHECK_INT(req_id("delete", "slow"), 409);
	CHECK_INT(req_id("position", "slow"), 200);
	CHECK_INT(http("GET", "/metrics", NULL), 200);
	/* its id and its collections are taken already */
	CHECK_INT(
		req("create", "{" TARGET_A ",\"collection_infos\":[{\"name\":\"z\"}],\"task_id\":\"slow\"}"),
		409);
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":[{\"name\":\"b\"}]}"), 409);
	CHECK(strstr(message(), "being created"));
	fake_set(&fake.probe_gate, false);
	CHECK_INT(call_end(&slow), 200);
	CHECK_INT(req_id("get", "slow"), 200);
	CHECK_STR(str_at("data.task.state"), "Running");
	kit_end();
}

TEST(of_two_creates_with_two_spellings_of_a_target_one_wins)
{
	struct call a, b;
	long sa, sb;

	kit_start();
	fake_set(&fake.probe_gate, true);
	call_begin(&a, CREATE("a", ALL));
	call_begin(
		&b,
		"{\"request_type\":\"create\",\"request_data\":{\"task_id\":\"b\",\"milvus_connect_param\":"
		"{\"host\":\"localhost\",\"port\":19530}" ALL "}}");
	CHECK(fake_wait_waiting(2));
	fake_set(&fake.probe_gate, false);
	sa = call_end(&a);
	sb = call_end(&b);
	CHECKF((sa == 200) + (sb == 200) == 1 && (sa == 409) + (sb == 409) == 1, "%ld %ld", sa, sb);
	CHECK_INT(fake.alive, 1);
	kit_end();
}

TEST(a_task_that_is_being_deleted_is_gone_for_all_but_its_name)
{
	struct call del;

	kit_start();
	create("t", "a");
	fake_set(&fake.close_gate, true);
	call_begin(&del, "{\"request_type\":\"delete\",\"request_data\":{\"task_id\":\"t\"}}");
	CHECK(fake_wait_waiting(1));
	CHECK_INT(req_id("get", "t"), 404);
	CHECK_INT(req_id("delete", "t"), 404);
	CHECK_INT(req_id("pause", "t"), 404);
	CHECK(no_tasks());
	/* its writer still closes: nobody else may write there yet */
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":[{\"name\":\"a\"}]}"), 409);
	fake_set(&fake.close_gate, false);
	CHECK_INT(call_end(&del), 200);
	create("t", "a");
	kit_end();
}

TEST(stopping_does_not_wait_for_a_create_that_hangs_and_the_next_start_clears_up)
{
	struct call slow;
	int64_t began;

	kit_start();
	create("t", "a");
	fake_set(&fake.create_gate, true);
	call_begin(&slow, CREATE("slow", ",\"collection_infos\":[{\"name\":\"b\"}]"));
	CHECK(fake_wait_waiting(1));
	began = clock_mono_ms();
	tasks_stop(kit_tasks);
	CHECK(!tasks_drain(kit_tasks, 300));
	CHECK(clock_mono_ms() - began < 1500);
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":[{\"name\":\"c\"}]}"), 503);
	CHECK_STR(str_at("error"), "STOPPED");
	CHECK_INT(http("GET", "/healthz", NULL), 503);
	fake_set(&fake.create_gate, false);
	CHECK_INT(call_end(&slow), 503);
	kit_down();
	kit_up();
	CHECK_INT(req("list", "{}"), 200);
	CHECK_INT(json_array_size(at("data.tasks")), 1);
	CHECK_INT(entries("tasks"), 1);
	kit_end();
}

/* Many requests at once over few names: for the thread sanitizer, and no task may be left over. */
static void *storm_main(void *arg)
{
	static const char *const bodies[] = {
		CREATE("s", ",\"collection_infos\":[{\"name\":\"s\"}]"),
		"{\"request_type\":\"pause\",\"request_data\":{\"task_id\":\"s\"}}",
		"{\"request_type\":\"list\"}",
		"{\"request_type\":\"position\",\"request_data\":{\"task_id\":\"s\"}}",
		"{\"request_type\":\"delete\",\"request_data\":{\"task_id\":\"s\"}}"};
	struct answer a = {0};
	long *bad = arg;

	for (size_t i = 0; i < 40; i++) {
		http_to(&a, "POST", "/cdc", bodies[i % ARRAY_LEN(bodies)],
			(long)strlen(bodies[i % ARRAY_LEN(bodies)]));
		if (a.status != 200 && a.status != 404 && a.status != 409)
			*bad = a.status;
	}
	answer_free(&a);
	return NULL;
}

TEST(a_storm_of_requests_leaves_nothing_behind)
{
	pthread_t threads[4];
	long bad[4] = {0};

	kit_start();
	for (int i = 0; i < 4; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, storm_main, &bad[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 4; i++)
		CHECK_INT(bad[i], 0);
	CHECK_INT(req("delete", "{\"task_id\":\"s\",\"ignore_not_found\":true}"), 200);
	CHECK_INT(fake.alive, 0);
	CHECK_INT(entries("tasks"), 0);
	CHECK_INT(entries("trash"), 0);
	kit_end();
}

/* ---- secrets ---- */

#define SECRET "s3cr3t-Pa55"

static struct buf heard; /* every answer of the test below */

static long say(const char *body)
{
	long status = post(body);

	buf_adds(&heard, ans.text);
	return status;
}

static void everything_with_a_secret(void)
{
	static const char with[] =
		"\"milvus_connect_param\":{\"host\":\"127.0.0.1\",\"port\":19530,\"username\":\"root\","
		"\"password\":\"" SECRET "\"}";
	char body[1024];

	snprintf(body, sizeof(body),
		 "{\"request_type\":\"create\",\"request_data\":{\"task_id\":\"t\",%s" ALL "}}", with);
	CHECK_INT(say(body), 200);
	CHECK_STR(fake.probed->authorization, "root:" SECRET);
	CHECK_INT(say(body), 409);
	snprintf(body, sizeof(body), "{\"request_type\":\"create\",\"request_data\":{%s,\"task_id\":\"!\"}}",
		 with);
	CHECK_INT(say(body), 400);
	CHECK_INT(say("{\"request_type\":\"create\",\"request_data\":{\"milvus_connect_param\":{\"uri\":"
		      "\"http://root:" SECRET "@h:1\"}" ALL "}}"),
		  400);
	CHECK_INT(say("{\"request_type\":\"create\",\"request_data\":{\"milvus_connect_param\":{\"token\":"
		      "[\"" SECRET "\"],\"host\":\"h\",\"port\":1}" ALL "}}"),
		  400);
	CHECK_INT(say("{\"request_type\":\"create\",\"request_data\":{\"password\":\"" SECRET "\" \"" SECRET
		      "\"}}"),
		  400);
	CHECK_INT(say("{\"request_type\":\"create\",\"request_data\":{\"milvus_connect_param\":{\"host\":"
		      "\"127.0.0.1\","
		      "\"port\":7,\"token\":\"" SECRET "\",\"username\":\"u\",\"password\":\"" SECRET "\","
		      "\"Password\":\"" SECRET "\"}" ALL ",\"task_id\":\"u\"}}"),
		  200);
	CHECK_STR(fake.probed->authorization, SECRET);
	err_set(&fake.probe, ERR_TARGET_AUTH, "127.0.0.1:8 refuses");
	CHECK_INT(say("{\"request_type\":\"create\",\"request_data\":{\"milvus_connect_param\":{\"host\":"
		      "\"127.0.0.1\","
		      "\"port\":8,\"token\":\"" SECRET "\"}" ALL "}}"),
		  502);
	fake.probe = (struct err){0};
	CHECK_INT(say("{\"request_type\":\"list\"}"), 200);
	CHECK_INT(say("{\"request_type\":\"get\",\"request_data\":{\"task_id\":\"t\"}}"), 200);
	CHECK_INT(say("{\"request_type\":\"position\",\"request_data\":{\"task_id\":\"t\"}}"), 200);
	CHECK_INT(http("GET", "/metrics", NULL), 200);
	buf_adds(&heard, ans.text);
}

TEST(credentials_are_in_no_answer_no_log_and_survive_a_restart)
{
	char path[64];
	int log_fd, saved = dup(STDERR_FILENO);
	AUTO_BUF struct buf logged = {0};
	char chunk[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/tmp/cdc-log-%d", (int)getpid());
	kit_start();
	log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(log_fd >= 0 && saved >= 0);
	unlink(path);
	log_open(LOG_LVL_DEBUG);
	dup2(log_fd, STDERR_FILENO);
	everything_with_a_secret();
	kit_down();
	kit_up();
	CHECK_INT(req_id("get", "t"), 200);
	buf_adds(&heard, ans.text);
	dup2(saved, STDERR_FILENO);
	close(saved);
	lseek(log_fd, 0, SEEK_SET);
	while ((n = read(log_fd, chunk, sizeof(chunk))) > 0)
		buf_add(&logged, chunk, (size_t)n);
	close(log_fd);
	buf_adds(&logged, "");
	CHECK(strstr((char *)logged.data, "created: ")); /* it is the log */
	CHECK(!strstr((char *)logged.data, SECRET));
	CHECK(strstr((char *)heard.data, "\"task_id\":\"t\""));
	CHECK(!strstr((char *)heard.data, SECRET));
	buf_free(&heard);
	kit_end();
}

TEST_MAIN()
