/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exactly once, applying half: whatever fails or dies and whenever, every row reaches the target once,
 * in order, above every tick (J4, J6, R18-R23).
 */
#include "apply_bench.h"
#include "../../src/data/target_gate.h"
#include "../t.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

static struct world *w;

static void fresh(struct bench *b, int cuts)
{
	if (!w)
		w = world_new();
	world_reset(w);
	bench_init(b, cuts);
}

TEST(every_row_arrives_once_in_order_and_is_ticked)
{
	struct bench b;

	fresh(&b, 12);
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	CHECKF(!bench_check(&b), "%s", bench_check(&b));
	CHECK_INT(w->flushes, 6);
	bench_done(&b);
}

TEST(J4_J6_the_Nth_call_to_the_target_fails_and_the_same_process_goes_on)
{
	for (int n = 1;; n++) {
		struct bench b;
		int calls;

		fresh(&b, 6);
		w->fail_at = n;
		CHECK(bench_start(&b, false));
		CHECK_INT(bench_run(&b, bench_watermark(&b), 3), 0);
		CHECKF(!bench_check(&b), "n=%d: %s", n, bench_check(&b));
		calls = w->calls;
		bench_done(&b);
		if (calls < n)
			break;
	}
}

TEST(J4_J6_the_Nth_call_fails_and_the_process_dies)
{
	for (int n = 1;; n++) {
		struct bench b;
		int calls;

		fresh(&b, 6);
		w->fail_at = n;
		CHECK(bench_start(&b, false));
		if (bench_run(&b, bench_watermark(&b), 0) < 0) {
			bench_crash(&b);
			w->fail_at = 0;
			CHECK(bench_start(&b, false));
			CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
		}
		CHECKF(!bench_check(&b), "n=%d: %s", n, bench_check(&b));
		calls = w->calls;
		bench_done(&b);
		if (calls < n)
			break;
	}
}

/* Runs the applier in a child that is killed at the Nth pass of a kill point. True: it was killed. */
static bool run_killed(struct bench *b, const char *point, int n)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		char env[64];

		snprintf(env, sizeof(env), "%s:%d", point, n);
		setenv("CDC_CRASH", env, 1);
		_exit(bench_start(b, false) && bench_run(b, bench_watermark(b), 0) == 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void kill_points(const char *point, int repeat)
{
	for (int n = 1;; n++) {
		struct bench b;
		bool killed = false;

		fresh(&b, 5);
		for (int i = 0; i < repeat; i++) /* the same point several times in a row */
			killed |= run_killed(&b, point, i == 0 ? n : 1);
		CHECK(bench_start(&b, false));
		CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
		CHECKF(!bench_check(&b), "%s:%d: %s", point, n, bench_check(&b));
		bench_done(&b);
		if (!killed)
			break;
	}
}

TEST(J6_killed_after_the_intent)
{
	kill_points("applier_intent", 1);
	kill_points("applier_intent", 3);
}

TEST(J6_killed_after_the_data)
{
	kill_points("applier_sent", 1);
	kill_points("applier_sent", 3);
}

TEST(J4_killed_after_the_mark)
{
	kill_points("applier_marked", 1);
	kill_points("applier_marked", 3);
}

TEST(R20_killed_after_the_tick)
{
	kill_points("applier_ticked", 1);
	kill_points("applier_ticked", 3);
}

TEST(R18_ddl_is_a_window_of_its_own_after_everything_before_it_was_ticked)
{
	struct bench b;

	fresh(&b, 6);
	b.conf->window_size = 1 << 20;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	CHECK_INT(w->ddl_count, 4);
	CHECK_INT(w->ddl[0].kind, KIND_CREATE_COLLECTION);
	CHECK_INT(w->ddl[0].rows_before, 0);
	CHECK_INT(w->ddl[2].kind, KIND_DROP_PARTITION);
	CHECK_INT(w->ddl[2].rows_before, 6 + 4); /* all of cut 1, four rows of cut 2 */
	for (int i = 0; i < w->row_count; i++) /* rows before it are in an earlier tick interval */
		CHECK((w->rows[i].ts < w->ddl[2].out) == (i < 10));
	CHECK(w->rows[9].window < w->rows[10].window);
	bench_done(&b);
}

TEST(R20_a_tick_that_failed_is_sent_before_anything_else)
{
	struct bench b;
	int sends;

	fresh(&b, 3);
	/* find the first data tick: fail it for ten calls and see that no row is sent meanwhile */
	CHECK(bench_start(&b, false));
	w->fail_at = 0;
	while (w->sends < 4) {
		struct err err;

		CHECK(applier_step(b.applier, &err) >= 0);
	}
	w->fail_at = w->calls + 1;
	w->fail_for = 1000;
	for (int i = 0; i < 10; i++) {
		struct err err;

		applier_step(b.applier, &err);
	}
	sends = w->sends;
	for (int i = 0; i < 10; i++) {
		struct err err;

		applier_step(b.applier, &err);
	}
	CHECK_INT(w->sends, sends);
	w->fail_at = 0;
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	CHECKF(!bench_check(&b), "%s", bench_check(&b));
	bench_done(&b);
}

TEST(R23_a_refused_collection_is_held_and_the_others_flow)
{
	struct applier_stat st;
	struct bench b;
	int one = 0, two = 0;

	fresh(&b, 6);
	w->refuse_collection = 2;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	for (int i = 0; i < w->row_count; i++) {
		one += w->rows[i].collection_id == 1;
		two += w->rows[i].collection_id == 2;
	}
	CHECK_INT(two, 0);
	CHECK_INT(one, 6 * 4);
	applier_stat(b.applier, &st);
	CHECK_INT(st.held, 1);
	CHECK(strstr(st.held_reason, "two"));
	CHECK(b.needed < journal_last_seq(b.journal)); /* J3: its entries are kept */
	bench_crash(&b);
	CHECK(bench_start(&b, false)); /* the hold is durable: nothing of it is tried again by itself */
	w->sends = 0;
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	CHECK_INT(w->sends, 0);
	applier_stat(b.applier, &st);
	bench_done(&b);
}

TEST(R23_a_refused_ddl_holds_its_collection)
{
	struct applier_stat st;
	struct bench b;

	fresh(&b, 3);
	w->refuse_ddl = 2;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	applier_stat(b.applier, &st);
	CHECK_INT(st.held, 1);
	for (int i = 0; i < w->row_count; i++)
		CHECK_INT(w->rows[i].collection_id, 1);
	bench_done(&b);
}

static void run_until_released(struct bench *b)
{
	struct applier_stat st;
	struct err err;

	for (int i = 0; i < 500; i++) {
		CHECK(applier_step(b->applier, &err) >= 0);
		applier_stat(b->applier, &st);
		if (!st.held && i > 20)
			return;
	}
	CHECKF(false, "still held: %s", st.held_reason);
}

/* Rows of the held collection arrive late, so per pchannel order is checked per collection. */
static void check_released(struct bench *b)
{
	uint64_t last[3][2] = {{0}};

	CHECK_INT(w->doubled, 0);
	CHECK_INT(w->poisoned, 0);
	CHECK_INT(w->row_count, b->rows);
	for (int i = 0; i < w->row_count; i++) {
		int p = w->rows[i].pchannel[4] - '0';
		uint64_t *l = &last[w->rows[i].collection_id][p];

		CHECK(w->rows[i].id > *l);
		*l = w->rows[i].id;
	}
	CHECK_INT(b->needed, journal_last_seq(b->journal)); /* nothing is kept for it any more */
}

TEST(R23_a_hold_is_replayed_above_every_tick_when_the_target_takes_it)
{
	struct bench b;

	fresh(&b, 6);
	w->refuse_collection = 2;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	w->refuse_collection = 0;
	applier_retry(b.applier);
	run_until_released(&b);
	check_released(&b);
	bench_done(&b);
}

TEST(R23_a_hold_that_began_with_ddl_is_replayed_from_that_ddl)
{
	struct bench b;

	fresh(&b, 6);
	w->refuse_ddl = 2;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	applier_retry(b.applier);
	for (int i = 0; i < 50; i++) {
		struct err err;

		CHECK(applier_step(b.applier, &err) >= 0); /* refused again: still held */
	}
	w->refuse_ddl = 0;
	applier_retry(b.applier);
	run_until_released(&b);
	check_released(&b);
	CHECK_INT(w->ddl[w->ddl_count - 1].collection_id, 2);
	bench_done(&b);
}

TEST(R23_J6_a_replay_is_exactly_once_through_failing_calls_and_deaths)
{
	for (int n = 1; n < 200; n++) {
		struct bench b;
		int calls;

		fresh(&b, 5);
		w->refuse_collection = 2;
		CHECK(bench_start(&b, false));
		CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
		w->refuse_collection = 0;
		w->calls = 0;
		w->fail_at = n;
		applier_retry(b.applier);
		for (int i = 0; i < 300; i++) {
			struct err err;

			if (applier_step(b.applier, &err) >= 0)
				continue;
			bench_crash(&b); /* what is in doubt is on disk */
			w->fail_at = 0;
			CHECK(bench_start(&b, false));
			applier_retry(b.applier);
		}
		run_until_released(&b);
		check_released(&b);
		calls = w->calls;
		bench_done(&b);
		if (calls < n)
			break;
	}
}

/* Holds are released at once here: a step or two, then what is due. */
static void steps(struct bench *b, int n)
{
	struct err err;

	for (int i = 0; i < n; i++)
		CHECKF(applier_step(b->applier, &err) >= 0, "%s", err.text);
}

TEST(R21_a_hold_that_is_replayed_after_a_restart_is_above_every_tick_of_the_life_before)
{
	struct bench b;
	int status;
	pid_t pid;

	fresh(&b, 4);
	w->refuse_collection = 2;
	pid = fork(); /* a life of its own: what it had in memory is gone */
	if (pid == 0) {
		bool ok = bench_start(&b, false) && bench_run(&b, bench_watermark(&b), 0) == 0;

		/* level for an hour: the ticks follow the watermark, the mark stays */
		bench_append(&b, ts_from_ms(3600000), NULL, 0);
		_exit(ok && bench_run(&b, bench_watermark(&b), 0) == 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
	CHECK(w->tick == ts_from_ms(3600000));
	w->refuse_collection = 0;
	CHECK(bench_start(&b, false));
	applier_retry(b.applier);
	run_until_released(&b);
	check_released(&b);
	bench_done(&b);
}

TEST(R21_a_paused_task_remembers_the_ticks_of_a_task_that_is_deleted)
{
	struct gate_member *other;
	struct bench b;

	fresh(&b, 4);
	CHECK(bench_start(&b, true));
	steps(&b, 3);
	other = gate_join(b.dir, "other", 0);
	gate_activate(other, 1);
	w->tick = gate_mark(other, 50000);
	CHECK_INT(w->tick, 50000);
	steps(&b, 1);
	gate_leave(other);
	CHECK(apply_store_floor(b.store) >= 50000);
	bench_done(&b);
}

TEST(R22_a_task_that_is_held_with_nothing_in_doubt_does_not_hold_its_neighbours_back)
{
	struct gate_member *other;
	struct bench b;
	char sql[160];
	struct err err;
	sqlite3 *db;

	fresh(&b, 2);
	snprintf(sql, sizeof(sql), "%s/journal/%020d.db", b.dir, 1);
	CHECK(sqlite3_open(sql, &db) == SQLITE_OK);
	CHECK(sqlite3_exec(db, "UPDATE entry SET body = 'ydob' WHERE seq = 1", NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_close(db);
	CHECK(bench_start(&b, false));
	other = gate_join(b.dir, "other", 0);
	gate_activate(other, 100);
	CHECK_INT(applier_step(b.applier, &err), -ERR_JOURNAL_BAD);
	CHECK(strstr(err.text, "seq")); /* J7: in words */
	CHECK_INT(gate_mark(other, 200), 200);
	gate_leave(other);
	bench_done(&b);
}

TEST(R22_what_a_neighbour_holds_back_is_not_called_applied)
{
	struct gate_member *other;
	struct applier_stat st;
	struct bench b;

	fresh(&b, 2);
	other = gate_join(b.dir, "other", 0);
	gate_activate(other, 1001);
	CHECK(bench_start(&b, false));
	while (w->row_count < b.rows)
		steps(&b, 1);
	steps(&b, 3);
	applier_stat(b.applier, &st);
	CHECK(w->tick <= 1001);
	CHECK(st.ts <= 1001);
	gate_leave(other);
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	steps(&b, 1);
	applier_stat(b.applier, &st);
	CHECK_INT(st.ts, bench_watermark(&b));
	bench_done(&b);
}

TEST(R23_refusals_from_several_lanes_hold_from_the_first_on)
{
	struct bench b;

	fresh(&b, 4);
	b.conf->window_size = 1 << 20;
	w->refuse_collection = 2;
	w->refuse_every = 2; /* all there are */
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	CHECK_INT(b.needed, 4); /* J3. 1 and 2: creations; 3, 4: of collection 1; 5: the first refused */
	bench_crash(&b);
	w->refuse_collection = 0;
	CHECK(bench_start(&b, false));
	applier_retry(b.applier);
	steps(&b, 20);
	CHECK_INT(b.needed, 4);
	CHECK_INT(w->doubled, 0); /* what was taken beside the refused is not sent again */
	bench_done(&b);
}

TEST(R23_a_replay_that_is_refused_in_part_is_not_repeated)
{
	struct applier_stat st;
	struct bench b;

	fresh(&b, 6);
	b.conf->window_size = 1 << 20;
	w->refuse_ddl = 2;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	w->refuse_ddl = 0;
	w->refuse_collection = 2;
	w->refuse_every = 4;
	applier_retry(b.applier);
	steps(&b, 20);
	w->refuse_collection = 0;
	for (int i = 0; i < 3; i++) {
		applier_retry(b.applier);
		steps(&b, 10);
	}
	CHECK_INT(w->doubled, 0);
	CHECK_INT(w->poisoned, 0);
	applier_stat(b.applier, &st);
	CHECK_INT(st.held, 1); /* which rows are there is not known: an operator's case */
	/* id 4 of dml_1 in the second cut, behind 8 entries and three of its own */
	CHECK_INT(b.needed, 11);
	bench_done(&b);
}

TEST(R23_a_hold_that_is_refused_for_ever_does_not_keep_the_others_on_hold)
{
	struct applier_stat st;
	struct bench b;

	fresh(&b, 3);
	w->refuse_ddl_of_all = true;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	CHECK_INT(w->row_count, 0);
	w->refuse_ddl_of_all = false;
	w->refuse_ddl = 1;
	applier_retry(b.applier);
	steps(&b, 100);
	applier_stat(b.applier, &st);
	CHECK_INT(st.held, 1);
	CHECK(strstr(st.held_reason, "one"));
	CHECK(w->row_count > 0);
	bench_done(&b);
}

TEST(R19_a_replay_in_doubt_is_repeated_whole_when_the_window_size_is_smaller_now)
{
	struct bench b;
	struct err err;

	fresh(&b, 6);
	w->refuse_ddl = 2;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	w->refuse_ddl = 0;
	applier_retry(b.applier);
	w->sends = 0;
	w->fail_at = 0;
	for (int i = 0; w->ddls < 4 && i < 50; i++) /* the creation; next come rows */
		CHECK(applier_step(b.applier, &err) >= 0);
	w->calls = 0;
	w->fail_at = 4; /* in the middle of the rows */
	while (applier_step(b.applier, &err) >= 0)
		;
	bench_crash(&b);
	b.conf->window_size = 4;
	w->fail_at = 0;
	CHECK(bench_start(&b, false));
	applier_retry(b.applier);
	run_until_released(&b);
	check_released(&b);
	bench_done(&b);
}

TEST(R13_entries_read_again_under_new_numbers_are_passed_once_and_for_all)
{
	struct journal_options o = {.segment_size = 1 << 20, .max_size = (int64_t)1 << 30, .keep_s = 3600};
	struct entry again[3];
	struct applier_stat st;
	struct apply_mark mark;
	struct bench b;
	char path[96];
	struct err err;

	fresh(&b, 3);
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	apply_store_mark(b.store, &mark);
	bench_crash(&b);
	/* the journal is lost and read again, with new numbers */
	journal_close(TAKE(b.journal));
	snprintf(path, sizeof(path), "%s/journal/%020d.db", b.dir, 1);
	CHECK(unlink(path) == 0);
	snprintf(path, sizeof(path), "%s/journal", b.dir);
	o.min_seq = mark.seq;
	CHECK(journal_open(&b.journal, path, &o, &err) == 0);
	for (int i = 0; i < 3; i++)
		again[i] = (struct entry){.kind = KIND_INSERT,
					  .ts = (cdc_ts)(1003 + 3 * i),
					  .collection_id = 1,
					  .vchannel = "dml_0_1v0",
					  .pchannel = "dml_0",
					  .id = {0, (uint64_t)(1 + i)},
					  .rows = 1,
					  .body = (const uint8_t *)"body",
					  .size = 4};
	bench_append(&b, mark.ts, again, 3);
	w->sends = 0;
	CHECK(bench_start(&b, false));
	steps(&b, 3);
	applier_stat(b.applier, &st);
	CHECK_INT(w->sends, 0);
	CHECK_INT(st.seq, mark.seq + 3); /* else the applier would look at them again and again */
	CHECK_INT(b.needed, mark.seq + 3);
	bench_done(&b);
}

TEST(R29_pause_stops_applying_and_resume_goes_on)
{
	struct bench b;
	int sends;

	fresh(&b, 6);
	CHECK(bench_start(&b, true));
	for (int i = 0; i < 20; i++) {
		struct err err;

		CHECK(applier_step(b.applier, &err) >= 0);
	}
	CHECK_INT(w->sends, 0);
	applier_pause(b.applier, false);
	while (w->sends < 8) {
		struct err err;

		CHECK(applier_step(b.applier, &err) >= 0);
	}
	applier_pause(b.applier, true);
	for (int i = 0; i < 3; i++) { /* the window that has its intent is finished */
		struct err err;

		CHECK(applier_step(b.applier, &err) >= 0);
	}
	sends = w->sends;
	CHECK(sends < b.rows);
	for (int i = 0; i < 20; i++) {
		struct err err;

		CHECK(applier_step(b.applier, &err) >= 0);
	}
	CHECK_INT(w->sends, sends);
	applier_pause(b.applier, false);
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	CHECKF(!bench_check(&b), "%s", bench_check(&b));
	bench_done(&b);
}

TEST(R21_late_rows_are_restamped_above_every_tick_and_keep_their_order)
{
	char path[96];
	struct bench b;
	struct err err;

	fresh(&b, 4);
	CHECK(bench_start(&b, true));
	for (int i = 0; i < 5; i++)
		applier_step(b.applier, &err);
	bench_crash(&b);
	/* another task of this target has ticked far beyond everything in this journal */
	snprintf(path, sizeof(path), "%s/apply.db", b.dir);
	CHECK(apply_store_open(&b.store, path,
			       NULL, &err) >= 0);
	CHECK(apply_store_set_floor(b.store, 50000, &err) >= 0);
	apply_store_close(TAKE(b.store));
	w->tick = 50000;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, 50001 + 10, 0), 0);
	while (w->row_count < b.rows)
		CHECK(applier_step(b.applier, &err) >= 0);
	CHECKF(!bench_check(&b), "%s", bench_check(&b));
	for (int i = 1; i < w->row_count; i++) {
		CHECK(w->rows[i].out > 50000);
		CHECK(w->rows[i].ts == w->rows[i - 1].ts ? w->rows[i].out == w->rows[i - 1].out
							 : w->rows[i].out > w->rows[i - 1].out);
	}
	bench_done(&b);
}

TEST(R27_idle_ticks_follow_the_watermark)
{
	struct bench b;
	struct err err;

	fresh(&b, 1);
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	for (cdc_ts t = 5000; t < 5003; t++) {
		bench_append(&b, t, NULL, 0);
		CHECK_INT(bench_run(&b, t, 0), 0);
	}
	CHECK(applier_step(b.applier, &err) >= 0);
	CHECK_INT(w->tick, 5002);
	CHECKF(!bench_check(&b), "%s", bench_check(&b));
	bench_done(&b);
}

TEST_MAIN()
