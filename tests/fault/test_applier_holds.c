/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collections on hold (R23) and targets that are shared (R21, R22): what is refused waits, is kept, and
 * is replayed once and above every tick; nobody else is held back.
 */
#include "applier_kit.h"
#include "journal.pb-c.h"

#include "../../src/data/target_gate.h"
#include "../../src/data/window.h"

#include <sqlite3.h>
#include <sys/stat.h>

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

	hold_two(&b, 6, false);
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

		hold_two(&b, 5, false);
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
	CHECK(sqlite3_exec(db, "UPDATE entry SET body = 'ydob' WHERE seq = 1", NULL, NULL, NULL) ==
	      SQLITE_OK);
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
	struct applier_stat st;
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
	applier_stat(b.applier, &st);
	CHECKF(strstr(st.held_reason, "replay_unclear"), "%s", st.held_reason);
	applier_replay_unclear(b.applier); /* but when an operator asks for it: nothing is missing then */
	run_until_released(&b);
	CHECK_INT(w->row_count, b.rows);
	CHECK_INT(w->poisoned, 0);
	CHECK_INT(b.needed, journal_last_seq(b.journal));
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

	die_in_replay(&b);
	b.conf->window_size = 4;
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
	for (int i = 1; i < 100; i++) {
		snprintf(path, sizeof(path), "%s/journal/%020d.db", b.dir, i);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/journal", b.dir);
	o.min_seq = mark.seq;
	CHECK(journal_open(&b.journal, path, &o, &err) == 0);
	for (int i = 0; i < 3; i++)
		again[i] = bench_row(KIND_INSERT, (cdc_ts)(1003 + 3 * i), 1, 0, (uint64_t)(1 + i));
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

/* Refused for longer than a target that is starting is waited for. */
TEST(R23_a_drop_that_is_refused_is_on_hold_after_a_restart_too)
{
	struct applier_stat st;
	struct bench b;
	cdc_ts ts;

	fresh(&b, 2);
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	w->refuse_ddl = 2;
	ts = bench_watermark(&b) + 5;
	bench_append(&b, ts, (struct entry[]){ddl_of(KIND_DROP_COLLECTION, ts, 2)}, 1);
	CHECK_INT(bench_run(&b, ts, 0), 0);
	applier_stat(b.applier, &st);
	CHECK_INT(st.held, 1);
	bench_crash(&b);
	w->refuse_ddl = 0;
	CHECK(bench_start(&b, false));
	applier_retry(b.applier);
	run_until_released(&b);
	CHECK_INT(w->ddl[w->ddl_count - 1].kind, KIND_DROP_COLLECTION);
	CHECK_INT(w->ddl[w->ddl_count - 1].collection_id, 2);
	bench_done(&b);
}

TEST(R13_R23_a_rename_that_waits_is_not_lost_when_the_journal_is_read_again)
{
	struct entry rename = ddl_of(KIND_RENAME_COLLECTION, 0, 2);
	struct bench b;
	int renames = 0;
	cdc_ts ts;

	fresh(&b, 4);
	w->refuse_collection = 2;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	rename.ts = ts = bench_watermark(&b) + 5;
	bench_append(&b, ts, &rename, 1);
	CHECK_INT(bench_run(&b, ts, 0), 0);
	read_again(&b, &rename, 1);
	w->refuse_collection = 0;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, ts, 0), 0);
	applier_retry(b.applier);
	run_until_released(&b);
	check_released(&b);
	for (int i = 0; i < w->ddl_count; i++)
		renames += w->ddl[i].kind == KIND_RENAME_COLLECTION;
	CHECK(renames > 0);
	bench_done(&b);
}

TEST(R22_a_window_in_doubt_holds_the_ticks_back_while_its_task_is_closed_and_after)
{
	struct gate_member *other;
	struct apply_intent in;
	struct bench b;

	fresh(&b, 3);
	other = gate_join(b.dir, "other", 0);
	gate_activate(other, 100);
	CHECK(bench_start(&b, false));
	in.type = INTENT_NONE;
	for (int i = 0; i < 50 && in.type == INTENT_NONE; i++) { /* a failure in the middle of a window */
		w->fail_at = w->calls + 2;
		CHECK(bench_run(&b, bench_watermark(&b), 0) < 0);
		apply_store_intent(b.store, &in);
	}
	CHECK(in.type != INTENT_NONE);
	bench_crash(&b); /* its journal is being repaired, say */
	w->fail_at = 0;
	w->tick = gate_mark(other, 100000);
	CHECK(w->tick <= in.floor);
	CHECK(bench_start(&b, false));
	gate_leave(other);
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	CHECK_STR(bench_check(&b) ? bench_check(&b) : "", "");
	bench_done(&b);
}

static struct entry named(enum kind kind, cdc_ts ts, int64_t id, const char *name, struct arena *arena)
{
	struct entry e = ddl_of(kind, ts, id);
	Jr__Ddl d = JR__DDL__INIT;
	uint8_t *body;

	d.new_name = kind == KIND_RENAME_COLLECTION ? (char *)name : (char *)"";
	d.alias = kind == KIND_RENAME_COLLECTION ? (char *)"" : (char *)name;
	e.size = jr__ddl__get_packed_size(&d);
	e.body = body = arena_alloc(arena, e.size + 1);
	jr__ddl__pack(&d, body);
	return e;
}

TEST(R23_a_name_that_a_waiting_collection_gave_up_is_not_taken_back_by_its_replay)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct bench b;
	int from;
	cdc_ts ts;

	fresh(&b, 2);
	w->refuse_collection = 2;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	ts = bench_watermark(&b) + 5;
	bench_append(&b, ts,
		     (struct entry[]){named(KIND_RENAME_COLLECTION, ts, 2, "b", arena),
				      named(KIND_CREATE_ALIAS, ts, 2, "al", arena),
				      named(KIND_RENAME_COLLECTION, ts, 2, "d", arena),
				      named(KIND_RENAME_COLLECTION, ts, 1, "b", arena),
				      named(KIND_ALTER_ALIAS, ts, 1, "al", arena)},
		     5);
	bench_append(&b, ts + 10, NULL, 0);
	CHECK_INT(bench_run(&b, ts + 10, 0), 0);
	from = w->ddl_count;
	w->refuse_collection = 0;
	applier_retry(b.applier);
	run_until_released(&b);
	check_released(&b);
	CHECK_INT(w->ddl_count, from + 1);
	CHECK_INT(w->ddl[from].kind, KIND_RENAME_COLLECTION); /* to d */
	CHECK_INT(w->ddl[from].collection_id, 2);
	bench_done(&b);
}

TEST_MAIN()
