/* SPDX-License-Identifier: Apache-2.0 */
/* The applier while something takes long: a hold far behind, a journal that is read again, a disk that fails.
 */
#include "applier_kit.h"

#include "../../src/data/applier_priv.h"
#include "fault_vfs.h"

#include <cdc/worker.h>

#include <sqlite3.h>

static int held(struct bench *b, char *ret_reason, size_t n)
{
	struct applier_stat st;

	applier_stat(b->applier, &st);
	if (ret_reason)
		snprintf(ret_reason, n, "%s", st.held_reason);
	return st.held;
}

/* count rows of collection 1, in cuts of 20. */
static void append_ones(struct bench *b, int count)
{
	static uint64_t id = 100000;
	cdc_ts ts = bench_watermark(b);

	for (int done = 0; done < count; done += 20) {
		struct entry e[20];

		for (size_t i = 0; i < ARRAY_LEN(e); i++)
			e[i] = bench_row(KIND_INSERT, ts += 3, 1, 0, id++);
		bench_append(b, ts += 10, e, ARRAY_LEN(e));
	}
}

/* Nothing else is sent, and nobody sees us at work, as long as a step lasts (R33). */
TEST(R23_what_lies_behind_a_hold_is_looked_through_in_steps)
{
	struct bench b;
	struct err err;
	int looks = 0;

	hold_two(&b, 2, false);
	append_ones(&b, 2000);
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	applier_retry(b.applier);
	b.polls = 0;
	for (int seen = 0; held(&b, NULL, 0) && looks < 1000; looks++) {
		CHECKF(applier_step(b.applier, &err) >= 0, "%s", err.text);
		CHECKF(b.polls - seen < 100, "%d reads in one step", b.polls - seen);
		seen = b.polls;
	}
	CHECK(looks > 10 && looks < 1000);
	CHECK(b.polls > looks);
	CHECK_INT(w->row_count, b.rows);
	CHECK_INT(w->doubled + w->poisoned, 0);
	bench_done(&b);
}

static void damage(const struct bench *b, int64_t seq)
{
	AUTO_FREE char *sql = xasprintf("UPDATE entry SET body = x'00' WHERE seq = %lld", (long long)seq);
	int changed = 0;

	for (int first = 1; first < 10; first++) {
		AUTO_FREE char *path = xasprintf("%s/journal/%020d.db", b->dir, first);
		sqlite3 *db;

		if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
			CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
			changed += sqlite3_changes(db);
		}
		sqlite3_close(db);
	}
	CHECK_INT(changed, 1);
}

TEST(R23_damage_to_what_only_a_hold_waits_for_stops_nobody_else)
{
	char reason[1024];
	struct bench b;

	hold_two(&b, 3, false);
	damage(&b, b.needed + 2);
	for (int i = 0; i < 3; i++) {
		applier_retry(b.applier);
		append_ones(&b, 20);
		CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	}
	CHECK_INT(held(&b, reason, sizeof(reason)), 1);
	CHECKF(strstr(reason, "cannot be read from the journal") && strstr(reason, "checksum"), "%s", reason);
	bench_done(&b);
}

/* The rows may have been sent before the death, or some of them: the operator is told, none is lost. */
TEST(R13_R23_rows_in_doubt_of_a_collection_whose_late_ddl_is_refused_wait_with_it)
{
	struct entry rename = ddl_of(KIND_RENAME_COLLECTION, 0, 2);
	struct apply_intent in = {0};
	char reason[1024];
	struct bench b;
	struct err err;

	fresh(&b, 3);
	CHECK(bench_start(&b, false));
	for (int i = 0; i < 50 && w->ddls < 2; i++)
		CHECK(applier_step(b.applier, &err) >= 0);
	w->fail_at = w->calls + 4; /* in the middle of the rows */
	CHECK(bench_run(&b, bench_watermark(&b), 0) < 0);
	apply_store_intent(b.store, &in);
	CHECK_INT(in.type, INTENT_DATA);
	read_again(&b, &rename, 1);
	w->fail_at = 0;
	w->refuse_ddl = 2;
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	CHECK_INT(held(&b, reason, sizeof(reason)), 1);
	CHECKF(strstr(reason, "not known"), "%s", reason);
	CHECK(w->row_count < b.rows);
	w->refuse_ddl = 0;
	applier_replay_unclear(b.applier);
	run_until_released(&b);
	CHECK_INT(w->row_count, b.rows);
	bench_done(&b);
}

TEST(a_mark_that_cannot_be_written_for_long_takes_no_more_memory)
{
	struct bench b;
	struct err err;
	size_t first;

	fresh(&b, 3);
	w->refuse_collection = 2; /* a hold that is to be marked, too */
	b.vfs = fault_vfs();
	CHECK(bench_start(&b, false));
	for (int i = 0; i < 50 && w->ddls < 2; i++)
		CHECK(applier_step(b.applier, &err) >= 0);
	w->fail_at = w->calls + 4; /* in the middle of the rows: their intent is durable */
	CHECK(bench_run(&b, bench_watermark(&b), 0) < 0);
	w->fail_at = 0;
	fault_arm(FAULT_EIO, 1, true);
	CHECK(applier_step(b.applier, &err) < 0);
	first = arena_size(b.applier->window.arena);
	for (int i = 0; i < 2000; i++)
		CHECK(applier_step(b.applier, &err) < 0);
	CHECK(fault_disarm());
	CHECK_INT(arena_size(b.applier->window.arena), first);
	w->refuse_collection = 0;
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	applier_retry(b.applier);
	run_until_released(&b);
	CHECK_INT(w->row_count, b.rows);
	CHECK_INT(w->doubled + w->poisoned, 0);
	bench_done(&b);
}

/* It is applied; the source may be away, and the rest of it come much later. */
TEST(R13_an_applier_that_is_ahead_of_a_journal_that_is_read_again_waits)
{
	struct journal_options o = {.segment_size = 1 << 20, .max_size = (int64_t)1 << 30, .keep_s = 3600};
	struct entry again[30];
	struct apply_mark mark;
	struct bench b;
	struct err err;
	int64_t began;

	fresh(&b, 9);
	CHECK(bench_start(&b, false));
	CHECK_INT(bench_run(&b, bench_watermark(&b), 0), 0);
	apply_store_mark(b.store, &mark);
	bench_crash(&b);
	journal_close(TAKE(b.journal));
	AUTO_FREE char *path = xasprintf("%s/journal.new", b.dir);
	CHECK(mkdir(path, 0700) == 0);
	o.min_seq = mark.seq;
	CHECK(journal_open(&b.journal, path, &o, &err) == 0);
	for (size_t i = 0; i < ARRAY_LEN(again); i++)
		again[i] = bench_row(KIND_INSERT, 1003 + i, 1, 0, 1 + i);
	bench_append(&b, 1050, again, ARRAY_LEN(again)); /* the mark is above that */
	CHECK(mark.ts > 1050);
	b.conf->idle_tick_ms = 100;
	w->sends = 0;
	CHECK(bench_start(&b, false));
	for (int i = 0; i < 20; i++) /* it looks through them once */
		CHECK(applier_step(b.applier, &err) >= 0);
	began = clock_mono_ms();
	for (int i = 0; i < 3; i++)
		CHECK(applier_step(b.applier, &err) >= 0);
	CHECK(clock_mono_ms() - began >= 250);
	CHECK_INT(w->sends, 0);
	bench_done(&b);
}

TEST_MAIN()
