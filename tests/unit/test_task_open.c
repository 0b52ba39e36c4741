/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks over restarts: what a crash leaves, flows that do not open, repairs of a journal. */
#include "api_kit.h"

#include "../../src/control/task_store.h"

TEST(a_restart_keeps_tasks_and_wishes_as_they_were)
{
	char uuid[64];

	kit_start();
	create("run", "a");
	create("rest", "b");
	snprintf(uuid, sizeof(uuid), "%s", fake.uuid);
	CHECK_INT(req_id("pause", "rest"), 200);
	kit_down();
	CHECK_INT(fake.alive, 0);
	kit_up();
	CHECK_INT(fake.alive, 2);
	CHECK_INT(fake_paused("run"), 0);
	CHECK_INT(fake_paused("rest"), 1);
	CHECK_INT(req("list", "{}"), 200);
	CHECK_STR(str_at("data.tasks.0.task_id"), "run");
	CHECK_STR(str_at("data.tasks.0.state"), "Running");
	CHECK_STR(str_at("data.tasks.1.state"), "Paused");
	CHECK_STR(str_at("data.tasks.1.collection_infos.0.name"), "b");
	CHECK_INT(req("create", "{\"milvus_connect_param\":{\"host\":\"localhost\",\"port\":19530},"
				"\"collection_infos\":[{\"name\":\"a\"}]}"),
		  409);
	CHECK_INT(req_id("resume", "rest"), 200);
	kit_down();
	kit_up();
	CHECK_INT(fake_paused("rest"), 0);
	kit_end();
}

/* A row as a crash leaves it. */
static void leave(const char *id, enum task_row_state state, bool with_folder)
{
	AUTO_FREE char *path = xasprintf("%s/control.db", kit_dir),
		       *dir = xasprintf("%s/tasks/%s", kit_dir, id);
	struct selection_item item = {"default", "c", false};
	struct target_conf t = {.host = "h", .port = 1, .connect_timeout_ms = 1};
	struct task_row r = {.id = (char *)id,
			     .source_uuid = "u",
			     .resolved = "",
			     .shown = "{}",
			     .mode = "replicate",
			     .target_key = "h:1",
			     .state = state,
			     .target = &t,
			     .selection = {&item, 1}};
	struct task_store *s;

	CHECK_INT(task_store_open(&s, path, &kit_err), 0);
	CHECK_INT(task_store_add(s, &r, &kit_err), 0);
	task_store_close(s);
	if (with_folder)
		CHECK_INT(mkdir(dir, 0700), 0);
}

static cdc_ts ticks_of_one;

static void take_ticks(const char *target_key, cdc_ts ts)
{
	CHECK_STR(target_key, "127.0.0.1:19530");
	ticks_of_one = ts;
}

/* As a start would find it now. */
static cdc_ts ticks_kept(void)
{
	AUTO_FREE char *path = xasprintf("%s/control.db", kit_dir);
	struct task_store *s;

	ticks_of_one = 0;
	CHECK_INT(task_store_open(&s, path, &kit_err), 0);
	CHECK_INT(task_store_ticks(s, take_ticks, &kit_err), 0);
	task_store_close(s);
	return ticks_of_one;
}

TEST(a_task_of_more_names_than_can_be_compared_goes_on_and_has_its_target_alone)
{
	enum { N = 200 };
	AUTO_FREE char *path = NULL;
	struct selection_item items[N];
	struct name_map_item maps[N];
	char names[N][16];
	struct target_conf t = {.host = "127.0.0.1", .port = 19530, .connect_timeout_ms = 1};
	struct task_row r = {.id = "old",
			     .source_uuid = "u",
			     .resolved = "127.0.0.1",
			     .shown = "{}",
			     .mode = "replicate",
			     .target_key = "127.0.0.1:19530",
			     .state = TASK_READY,
			     .target = &t,
			     .selection = {items, N},
			     .names = {maps, N}};
	struct task_store *s;

	for (int i = 0; i < N; i++) {
		snprintf(names[i], sizeof(names[i]), "n%d", i);
		items[i] = (struct selection_item){(char *)"*", names[i], false};
		maps[i] = (struct name_map_item){names[i], (char *)"*", names[i], (char *)"*"};
	}
	kit_start();
	create("old", "a");
	kit_down();
	path = xasprintf("%s/control.db", kit_dir);
	CHECK_INT(task_store_open(&s, path, &kit_err), 0);
	CHECK_INT(task_store_remove(s, "old", &kit_err), 0);
	CHECK_INT(task_store_add(s, &r, &kit_err), 0);
	task_store_close(s);
	kit_up();
	CHECK_INT(fake_paused("old"), 0);
	CHECK_INT(req("create", "{" TARGET_A ",\"collection_infos\":[{\"name\":\"a\"}]}"), 409);
	CHECKF(strstr(message(), "task old already writes more names on the target 127.0.0.1:19530 than"),
	       "%s", message());
	CHECK_INT(req_id("delete", "old"), 200);
	create("new", "a");
	kit_end();
}

TEST(start_up_removes_tasks_that_were_half_made_or_half_deleted_R30)
{
	kit_start();
	create("keep", "a");
	kit_down();
	leave("made1", TASK_CREATING, false);
	leave("made2", TASK_CREATING, true);
	leave("gone1", TASK_DELETING, true);
	leave("gone2", TASK_DELETING, false);
	kit_up();
	CHECK_INT(req("list", "{}"), 200);
	CHECK_INT(json_array_size(at("data.tasks")), 1);
	CHECK_STR(str_at("data.tasks.0.task_id"), "keep");
	CHECK_INT(entries("tasks"), 1);
	CHECK_INT(entries("trash"), 0);
	create("made1", "b");
	create("gone1", "c");
	kit_end();
}

TEST(start_up_empties_the_trash_and_keeps_folders_without_a_row)
{
	char path[128];

	kit_start();
	kit_down();
	snprintf(path, sizeof(path), "%s/trash/old.1", kit_dir);
	CHECK_INT(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/tasks/lost", kit_dir);
	CHECK_INT(mkdir(path, 0700), 0);
	kit_up();
	CHECK_INT(entries("trash"), 0);
	CHECK_INT(entries("tasks"), 0);
	CHECK_INT(entries("orphaned"), 1);
	kit_end();
}

TEST(a_task_that_cannot_be_opened_is_held_and_the_others_run_R16)
{
	char cmd[128];

	kit_start();
	create("good", "a");
	create("bad", "b");
	kit_down();
	snprintf(cmd, sizeof(cmd), "rm -r %s/tasks/bad", kit_dir);
	CHECK_INT(system(cmd), 0);
	kit_up();
	CHECK_INT(fake.alive, 1);
	CHECK_INT(req_id("get", "bad"), 200);
	CHECK_STR(str_at("data.task.state"), "Running");
	CHECK_STR(str_at("data.task.health.status"), "held");
	CHECK_STR(str_at("data.task.health.error"), "JOURNAL_BAD");
	CHECK_INT(req_id("pause", "bad"), 200);
	CHECK_INT(req_id("position", "bad"), 200);
	CHECK_INT(req_id("get", "good"), 200);
	CHECK_STR(str_at("data.task.health.status"), "ok");
	CHECK_INT(req_id("delete", "bad"), 200);
	kit_end();
}

/* R21: its own bound went with its folder, and the other one's rows may be older than its ticks. */
TEST(the_ticks_of_a_deleted_task_bind_the_others_of_its_target_over_restarts)
{
	kit_start();
	create("stays", "a");
	create("goes", "b");
	fake.ticks = 7000;
	CHECK_INT(req_id("delete", "goes"), 200);
	kit_down();
	fake.ticks = 0;
	kit_up();
	CHECK_STR(fake.floor.key, "127.0.0.1:19530");
	CHECK(fake.floor.ts >= 7000);
	fake.floor.ts = 0;
	CHECK_INT(req_id("delete", "stays"), 200); /* with the last one it is gone */
	kit_down();
	kit_up();
	CHECK_INT(fake.floor.ts, 0);
	kit_end();
}

TEST(the_ticks_of_a_task_whose_delete_is_cut_short_bind_the_others_too)
{
	struct call c;

	kit_start();
	create("stays", "a");
	create("goes", "b");
	fake.ticks = 7000;
	fake_set(&fake.close_gate, true);
	call_begin(&c, "{\"request_type\":\"delete\",\"request_data\":{\"task_id\":\"goes\"}}");
	CHECK(fake_wait_waiting(1)); /* a start after a crash here removes its folder */
	CHECK(ticks_kept() > 7000);
	fake.ticks = ts_from_ms(60000); /* what it sends until it stops counts, too */
	fake_set(&fake.close_gate, false);
	CHECK_INT(call_end(&c), 200);
	CHECK_INT(ticks_kept(), ts_from_ms(60000));
	kit_end();
}

TEST(a_resume_opens_what_was_mended_by_hand)
{
	kit_start();
	create("t", "a");
	kit_down();
	err_set(&fake.open, ERR_JOURNAL_BAD, "apply.db is missing");
	kit_up();
	for (int i = 0; i < 3; i++) {
		tasks_retry(kit_tasks);
		CHECK(tasks_drain(kit_tasks, 5000));
	}
	CHECK_INT(fake.repairs, 1);
	fake.open = (struct err){0};
	tasks_retry(kit_tasks);
	CHECK(tasks_drain(kit_tasks, 5000));
	CHECK_INT(fake.alive, 0); /* nobody has said that it is back, and the minute is not over */
	CHECK_INT(req_id("resume", "t"), 200);
	tasks_retry(kit_tasks);
	CHECK(tasks_drain(kit_tasks, 5000));
	CHECK_INT(fake.alive, 1);
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_STR(str_at("data.task.health.status"), "ok");
	kit_end();
}

TEST(a_task_whose_opening_may_heal_is_opened_again)
{
	kit_start();
	create("t", "a");
	kit_down();
	err_set(&fake.open, ERR_JOURNAL_IO, "disk full");
	kit_up();
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_STR(str_at("data.task.health.status"), "retrying");
	CHECK_INT(req_id("pause", "t"), 200);
	tasks_retry(kit_tasks);
	CHECK(tasks_drain(kit_tasks, 5000));
	CHECK_INT(fake.alive, 0);
	fake.open = (struct err){0};
	tasks_retry(kit_tasks);
	CHECK(tasks_drain(kit_tasks, 5000));
	CHECK_INT(fake.alive, 1);
	CHECK_INT(fake_paused("t"), 1);
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_STR(str_at("data.task.health.status"), "ok");
	kit_end();
}

/* R16. The supervisor feeds the watchdog meanwhile: nothing that it calls may wait for the repair. */
TEST(a_repair_that_takes_long_holds_up_nobody)
{
	struct tasks_summary sum;
	int64_t began;

	kit_start();
	create("bad", "a");
	create("good", "b");
	fake.repair = (struct err){0};
	fake_set(&fake.repair_gate, true);
	fake.status.applier = (struct health){.status = HEALTH_HELD, .code = ERR_JOURNAL_BAD};
	began = clock_mono_ms();
	tasks_retry(kit_tasks);
	CHECK(fake_wait_waiting(2)); /* both, side by side */
	tasks_retry(kit_tasks);
	tasks_summary(kit_tasks, &sum);
	CHECK(clock_mono_ms() - began < 2000);
	CHECK_INT(fake.repairs, 2);
	CHECK_INT(req_id("get", "bad"), 200);
	CHECK_STR(str_at("data.task.health.error"), "JOURNAL_BAD");
	CHECK(strstr(str_at("data.task.health.reason"), "being repaired"));
	CHECK_INT(req_id("pause", "bad"), 200);
	fake_set(&fake.repair_gate, false);
	CHECK(tasks_drain(kit_tasks, 5000));
	CHECK_INT(fake.alive, 2);
	CHECK_INT(fake.starts, 4);
	CHECK_INT(fake_paused("bad"), 1);
	CHECK_INT(req_id("get", "good"), 200);
	CHECK_STR(str_at("data.task.health.status"), "ok");
	tasks_retry(kit_tasks);
	CHECK_INT(fake.repairs, 2);
	kit_end();
}

TEST(a_repair_that_does_not_help_is_not_repeated_and_says_why)
{
	kit_start();
	create("t", "a");
	fake.status.applier = (struct health){.status = HEALTH_HELD, .code = ERR_JOURNAL_BAD};
	for (int i = 0; i < 3; i++) {
		tasks_retry(kit_tasks);
		CHECK(tasks_drain(kit_tasks, 5000));
	}
	CHECK_INT(fake.repairs, 1);
	CHECK_INT(fake.alive, 1);
	kit_end();
}

TEST(a_repair_that_found_nothing_leaves_later_damage_to_be_repaired_R16)
{
	kit_start();
	create("t", "a");
	fake.status.applied_seq = 5;
	fake.status.applier = (struct health){.status = HEALTH_HELD, .code = ERR_JOURNAL_BAD};
	tasks_retry(kit_tasks);
	CHECK(tasks_drain(kit_tasks, 5000));
	CHECK_INT(fake.repairs, 1);
	fake.status.applier = (struct health){0};
	fake.status.applied_seq = 6;
	tasks_retry(kit_tasks);
	fake.status.applier = (struct health){.status = HEALTH_HELD, .code = ERR_JOURNAL_BAD};
	tasks_retry(kit_tasks);
	CHECK(tasks_drain(kit_tasks, 5000));
	CHECK_INT(fake.repairs, 2);
	kit_end();
}

TEST(damage_that_the_reader_meets_is_repaired_too_R16)
{
	kit_start();
	create("t", "a");
	fake.repair = (struct err){0};
	fake.status.reader = (struct health){.status = HEALTH_HELD, .code = ERR_JOURNAL_BAD};
	tasks_retry(kit_tasks);
	CHECK(tasks_drain(kit_tasks, 5000));
	CHECK_INT(fake.repairs, 1);
	CHECK_INT(fake.alive, 1);
	kit_end();
}

TEST(a_repair_that_a_failing_disk_stops_is_tried_again_R16)
{
	kit_start();
	create("t", "a");
	err_set(&fake.repair, ERR_JOURNAL_IO, "a segment cannot be opened: Input/output error");
	fake.status.applier = (struct health){.status = HEALTH_HELD, .code = ERR_JOURNAL_BAD};
	for (int i = 0; i < 3; i++) {
		tasks_retry(kit_tasks);
		CHECK(tasks_drain(kit_tasks, 5000));
	}
	CHECK_INT(fake.repairs, 3);
	CHECK_INT(fake.alive, 1);
	fake.repair = (struct err){0};
	tasks_retry(kit_tasks);
	CHECK(tasks_drain(kit_tasks, 5000));
	CHECK_INT(fake.repairs, 4);
	tasks_retry(kit_tasks);
	CHECK_INT(fake.repairs, 4);
	kit_end();
}

TEST(a_delete_waits_for_the_opening_of_its_task_and_leaves_nothing)
{
	struct call del;

	kit_start();
	create("t", "a");
	kit_down();
	err_set(&fake.open, ERR_JOURNAL_IO, "disk full");
	kit_up();
	fake.open = (struct err){0};
	fake_set(&fake.open_gate, true);
	tasks_retry(kit_tasks);
	CHECK(fake_wait_waiting(1));
	call_begin(&del, "{\"request_type\":\"delete\",\"request_data\":{\"task_id\":\"t\"}}");
	CHECK_INT(req("list", "{}"), 200);
	fake_set(&fake.open_gate, false);
	CHECK_INT(call_end(&del), 200);
	CHECK_INT(fake.alive, 0);
	CHECK_INT(entries("tasks"), 0);
	kit_end();
}

TEST(tasks_stay_when_the_source_is_taken_out_of_the_configuration)
{
	char *address;

	kit_start();
	create("t", "a");
	kit_down();
	address = TAKE(kit_conf->source.kafka.address);
	kit_up();
	CHECK_INT(req_id("get", "t"), 200);
	CHECK_STR(str_at("data.task.health.error"), "NO_SOURCE");
	kit_down();
	kit_conf->source.kafka.address = address;
	kit_up();
	CHECK_INT(fake.alive, 1);
	kit_end();
}

TEST(a_second_daemon_on_the_same_folder_is_refused_R32)
{
	struct tasks *second = NULL;
	char pid[32];

	kit_start();
	CHECK_INT(tasks_open(&second, kit_conf, &kit_err), -ERR_LOCKED);
	snprintf(pid, sizeof(pid), "process %d", (int)getpid());
	CHECK(!second && strstr(kit_err.text, kit_dir) && strstr(kit_err.text, pid));
	kit_end();
}

TEST(the_data_directory_and_the_store_are_private)
{
	char path[128];
	struct stat st;

	kit_start();
	CHECK_INT(stat(kit_dir, &st), 0);
	CHECK_INT(st.st_mode & 0777, 0700);
	snprintf(path, sizeof(path), "%s/control.db", kit_dir);
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_mode & 0777, 0600);
	kit_end();
}

TEST_MAIN()
