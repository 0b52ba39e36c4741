/* SPDX-License-Identifier: Apache-2.0 */
/* Windows over a real journal: where they end (R18), how they are repeated (R19, J6), lost tails (R13). */
#include "../../src/data/window.h"
#include "../t.h"

#include <ftw.h>
#include <stdlib.h>

static char dir[64];
static struct journal *j;
static struct journal_cursor *cursor;
static struct window w;
static const struct window_limits limits = {.bytes = 10, .entries = 1000, .version = 1, .merge_limit = 99};
static const struct apply_intent none;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

static void open_journal(int64_t min_seq)
{
	struct journal_options o = {
		.segment_size = 1 << 20, .max_size = 1 << 30, .keep_s = 3600, .min_seq = min_seq};
	struct err err;

	CHECK(journal_open(&j, dir, &o, &err) >= 0);
	CHECK(journal_cursor_open(&cursor, j, &err) >= 0);
}

static void done(void)
{
	journal_cursor_close(cursor);
	journal_close(j);
	window_done(&w);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void fresh(void)
{
	snprintf(dir, sizeof(dir), "/tmp/cdc-window-XXXXXX");
	CHECK(mkdtemp(dir));
	window_init(&w);
	open_journal(0);
}

/* i insert, d delete, f flush, P drop partition, C create collection, D drop it, R rename; ts from the array.
 */
static void append(cdc_ts watermark, const char *kinds, const cdc_ts *ts)
{
	struct entry e[16];
	struct cut cut = {.watermark = watermark, .entries = e, .entry_count = strlen(kinds)};
	struct err err;

	for (size_t i = 0; kinds[i]; i++)
		e[i] = (struct entry){.kind = kinds[i] == 'i'   ? KIND_INSERT
					      : kinds[i] == 'd' ? KIND_DELETE
					      : kinds[i] == 'f' ? KIND_FLUSH
					      : kinds[i] == 'P' ? KIND_DROP_PARTITION
					      : kinds[i] == 'D' ? KIND_DROP_COLLECTION
					      : kinds[i] == 'R' ? KIND_RENAME_COLLECTION
								: KIND_CREATE_COLLECTION,
				      .ts = ts[i],
				      .db = "default",
				      .collection = "c",
				      .vchannel = "",
				      .pchannel = "dml_0",
				      .body = (const uint8_t *)"12345",
				      .size = 5};
	CHECK(journal_append(j, &cut, 1, &err) >= 0);
}

static int next(const struct apply_mark *mark, const struct apply_intent *open)
{
	struct err err;

	return window_next(&w, cursor, mark, open, &limits, 77, &err);
}

static struct apply_mark after(void)
{
	return (struct apply_mark){.seq = w.intent.seq, .ts = w.intent.ts, .out = w.intent.ts};
}

TEST(nothing_to_do_tells_how_far_everything_is_in)
{
	struct apply_mark mark = {0};

	fresh();
	append(500, "", NULL);
	CHECK_INT(next(&mark, &none), 0);
	CHECK(w.complete);
	CHECK_INT(w.watermark, 500);
	done();
}

TEST(R18_a_barrier_ends_the_window_and_is_one_of_its_own)
{
	struct apply_mark mark = {0};

	fresh();
	append(90, "ifPi", (cdc_ts[]){10, 20, 30, 40});
	CHECK_INT(next(&mark, &none), 1);
	CHECK_INT(w.count, 2); /* a flush is advisory: no barrier */
	CHECK_INT(w.intent.type, INTENT_DATA);
	CHECK_INT(w.intent.ts, 29); /* the tick stays below the barrier */
	mark = after();
	CHECK_INT(next(&mark, &none), 1);
	CHECK_INT(w.count, 1);
	CHECK_INT(w.intent.type, INTENT_DDL);
	CHECK_INT(w.intent.ts, 39);
	mark = after();
	CHECK_INT(next(&mark, &none), 1);
	CHECK_INT(w.intent.type, INTENT_DATA);
	CHECK_INT(w.intent.ts, 90); /* all in: the watermark */
	CHECK(w.complete);
	done();
}

TEST(a_timestamp_is_never_split_between_windows)
{
	struct apply_mark mark = {0};

	fresh(); /* two bodies fit the limit; three share timestamp 20 */
	append(90, "iiiii", (cdc_ts[]){10, 20, 20, 20, 30});
	CHECK_INT(next(&mark, &none), 1);
	CHECK_INT(w.count, 1);
	CHECK_INT(w.intent.ts, 19);
	mark = after();
	CHECK_INT(next(&mark, &none), 1);
	CHECK_INT(w.entries[0].ts, 20);
	CHECK(w.count >= 3);
	CHECK(w.intent.ts >= 20);
	done();
}

TEST(R19_the_intent_freezes_limits_version_and_floor)
{
	struct apply_mark mark = {0};
	struct apply_intent in;

	fresh();
	append(90, "iiii", (cdc_ts[]){10, 20, 30, 40});
	CHECK_INT(next(&mark, &none), 1);
	CHECK_INT(w.intent.floor, 77);
	CHECK_INT(w.intent.version, 1);
	CHECK_INT(w.intent.merge_limit, 99);
	in = w.intent;
	/* more arrives and limits change: the repeat is the very same window */
	append(190, "ii", (cdc_ts[]){100, 110});
	CHECK_INT(
		window_next(&w, cursor, &mark, &in, &(struct window_limits){1 << 20, 9999, 2, 5}, 1234, NULL),
		1);
	CHECK_INT(w.intent.seq, in.seq);
	CHECK_INT(w.intent.ts, in.ts);
	CHECK_INT(w.intent.floor, 77);
	CHECK_INT(w.intent.version, 1);
	CHECK_INT(w.entries[w.count - 1].seq, in.seq);
	done();
}

TEST(R13_an_intent_whose_entries_are_gone_waits_until_they_are_read_again)
{
	struct apply_mark mark = {.seq = 100, .ts = 20, .out = 20};
	struct apply_intent in = {.type = INTENT_DATA, .seq = 104, .ts = 45, .floor = 20, .version = 1};

	fresh();
	done();
	fresh(); /* a journal that lost everything; new seq are above what apply.db knows */
	journal_cursor_close(cursor);
	journal_close(j);
	open_journal(104);
	append(30, "ii", (cdc_ts[]){10, 25});
	CHECK_INT(next(&mark, &in), 0); /* 45 is not read yet */
	append(90, "iii", (cdc_ts[]){40, 45, 50});
	CHECK_INT(next(&mark, &in), 1);
	CHECK_INT(w.count, 3); /* 25, 40, 45: 10 is applied, 50 is not in the window */
	CHECK_INT(w.entries[0].ts, 25);
	CHECK_INT(w.entries[2].ts, 45);
	CHECK(w.entries[0].seq > 104);
	done();
}

TEST(R13_an_intent_is_found_behind_any_number_of_applied_entries)
{
	struct window_limits few = {.bytes = 10, .entries = 2, .version = 1, .merge_limit = 99};
	struct apply_mark mark = {.seq = 100, .ts = 20, .out = 20};
	struct apply_intent in = {.type = INTENT_DATA, .seq = 101, .ts = 45, .floor = 20, .version = 1};

	fresh();
	journal_cursor_close(cursor);
	journal_close(j);
	open_journal(101);
	append(20, "iiiiiii", (cdc_ts[]){10, 11, 12, 13, 14, 15, 16});
	CHECK_INT(window_next(&w, cursor, &mark, &in, &few, 0, NULL), 0);
	append(90, "iiiiiii", (cdc_ts[]){25, 30, 31, 32, 40, 45, 50});
	CHECK_INT(window_next(&w, cursor, &mark, &in, &few, 0, NULL), 1);
	CHECK_INT(w.count, 6);
	CHECK_INT(w.entries[5].ts, 45);
	CHECK_INT(w.intent.seq, w.entries[5].seq);
	done();
}

TEST(R13_what_is_applied_is_not_applied_again_after_the_tail_was_read_again)
{
	struct apply_mark mark = {.seq = 100, .ts = 40, .out = 40};

	fresh();
	journal_cursor_close(cursor);
	journal_close(j);
	open_journal(100);
	append(90, "iiiii", (cdc_ts[]){10, 25, 40, 41, 50});
	while (next(&mark, &none) == 0) { /* what is applied already, in steps */
		CHECK(!w.complete && w.last_seq > mark.seq);
		mark.seq = w.last_seq;
	}
	CHECK_INT(w.entries[0].ts, 41);
	done();
}

/* A journal that lost everything: what is appended has numbers above seq. */
static void lost(int64_t seq)
{
	fresh();
	journal_cursor_close(cursor);
	journal_close(j);
	open_journal(seq);
}

TEST(R13_a_rename_told_again_within_a_window_of_rows_is_not_left_out)
{
	struct apply_mark mark = {.seq = 100, .ts = 20, .out = 20};
	struct apply_intent in = {.type = INTENT_DATA, .seq = 104, .ts = 45, .floor = 20, .version = 1};

	lost(104);
	append(90, "iRiRiRi", (cdc_ts[]){10, 20, 25, 30, 40, 46, 50});
	CHECK_INT(next(&mark, &in), 1);
	CHECK_INT(w.late_count, 2);
	CHECK_INT(w.late[0].ts, 20);
	CHECK_INT(w.late[1].ts, 30);
	CHECK_INT(w.count, 2);
	CHECK_INT(w.entries[0].ts, 25);
	CHECK_INT(w.entries[1].ts, 40);
	CHECK_INT(w.intent.seq, w.entries[1].seq);
	done();
}

TEST(R13_all_that_is_told_again_in_place_of_one_ddl_in_doubt_is_there_in_order)
{
	struct apply_mark mark = {.seq = 100, .ts = 20, .out = 20};
	struct apply_intent in = {.type = INTENT_DDL, .seq = 101, .ts = 45, .floor = 20, .version = 1};

	lost(101);
	append(90, "RCRi", (cdc_ts[]){15, 25, 30, 50});
	CHECK_INT(next(&mark, &in), 1);
	CHECK_INT(w.late_count, 1);
	CHECK_INT(w.count, 2);
	CHECK_INT(w.entries[0].kind, KIND_CREATE_COLLECTION);
	CHECK_INT(w.entries[1].kind, KIND_RENAME_COLLECTION);
	CHECK_INT(w.intent.seq, w.entries[1].seq);
	done();
}

TEST(R13_a_drop_that_is_told_earlier_than_before_is_not_taken_for_applied)
{
	struct apply_mark mark = {.seq = 100, .ts = 40, .out = 40};

	lost(100);
	append(90, "iDPi", (cdc_ts[]){10, 25, 30, 50});
	CHECK_INT(next(&mark, &none), 1);
	CHECK_INT(w.count, 1);
	CHECK_INT(w.entries[0].kind, KIND_DROP_COLLECTION);
	CHECK_INT(w.intent.type, INTENT_DDL);
	CHECK_INT(w.intent.ts, 40); /* the mark does not go back */
	mark = after();
	CHECK_INT(next(&mark, &none), 1);
	CHECK_INT(w.entries[0].kind, KIND_DROP_PARTITION);
	done();
}

TEST_MAIN()
