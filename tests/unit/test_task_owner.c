/* SPDX-License-Identifier: Apache-2.0 */
/* The key of a target in a real etcd, over the lives of its tasks (R32). */
#include "api_kit.h"

#include <poll.h>

#include "../../src/control/owner.h"
#include "../fake/etcd_process.h"

__attribute__((constructor)) static void init(void)
{
	wire_init();
}

/* Is the key of the target there? Waits for the answer that is wanted, 10 s at most. */
static bool becomes(bool there)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct etcd *etcd = etcd_new(&kit_conf->source.etcd, NULL, NULL);
	char host[256];
	bool now = !there;

	gethostname(host, sizeof(host));
	AUTO_FREE char *path = owner_path(kit_conf, host, "127.0.0.1:19530");
	for (int64_t end = clock_mono_ms() + 10000; now != there && clock_mono_ms() < end;
	     poll(NULL, 0, 20)) {
		struct etcd_range r = {.key = path};
		struct etcd_answer answer;

		CHECKF(etcd_read(etcd, &r, 1, 2000, arena, &answer, &kit_err) == 0, "%s", kit_err.text);
		now = r.kv_count > 0;
	}
	etcd_free(etcd);
	return now == there;
}

static void start_with(const struct etcd_process *server)
{
	kit_start();
	kit_down();
	free(kit_conf->source.etcd.address[0]);
	kit_conf->source.etcd.address[0] = xstrdup(server->address);
	kit_up();
}

TEST(R32_the_key_is_there_while_a_task_writes_to_the_target)
{
	AUTO(etcd_process_free) struct etcd_process *server = etcd_process_new(false);

	etcd_process_start(server);
	start_with(server);
	create("one", "a");
	create("two", "b");
	CHECK(becomes(true));
	CHECK_INT(req_id("delete", "one"), 200);
	CHECK(becomes(true));
	CHECK_INT(req_id("delete", "two"), 200);
	CHECK(becomes(false));
	kit_end();
}

/* Else every other daemon would wait for a task that nobody can delete. */
TEST(R32_a_create_that_fails_after_the_last_task_was_deleted_leaves_no_key)
{
	AUTO(etcd_process_free) struct etcd_process *server = etcd_process_new(false);
	struct call c;

	etcd_process_start(server);
	start_with(server);
	create("last", "a");
	CHECK(becomes(true));
	fake_set(&fake.create_gate, true);
	err_set(&fake.create, ERR_SOURCE_LOST, "Kafka is away");
	call_begin(&c, "{\"request_type\":\"create\",\"request_data\":{" TARGET_A
		       ",\"collection_infos\":[{\"name\":\"b\"}]}}");
	CHECK(fake_wait_waiting(1));
	CHECK_INT(req_id("delete", "last"), 200);
	fake_set(&fake.create_gate, false);
	CHECK_INT(call_end(&c), 503);
	CHECK(becomes(false));
	kit_end();
}

TEST_MAIN()
