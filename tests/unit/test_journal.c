/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's invariants J1-J5 and J8 and rules R3, R13-R17 on a healthy disk. */
#include "journal_kit.h"

TEST(an_empty_journal_is_complete_and_stands_at_zero)
{
	const char *dir = kit_dir();
	struct journal *j = kit_open_small(dir);
	struct journal_stat st;

	journal_stat(j, &st);
	CHECK_INT(st.first_seq, 0);
	CHECK_INT(st.last_seq, 0);
	CHECK_INT(st.segments, 0);
	kit_check_entries(j, 0, KIT_BODY, 1, 1000);
	CHECK_INT(kit_check_head(j), 0);
	CHECK(!journal_wait(j, 0, 0, 0));
	journal_close(j);
	kit_clean();
}

TEST(J1_everything_of_a_cut_is_there_after_a_reopen)
{
	const char *dir = kit_dir();
	struct journal *j = kit_open(&(struct journal_options){0}, dir);

	for (int k = 1; k <= 12; k++) {
		kit_add(j, k);
		CHECK_INT(kit_check_head(j), k);
	}
	kit_check_entries(j, 12, KIT_BODY, 1, 1000000);
	journal_close(j);
	CHECK_INT(kit_files(dir, "-wal"), 0);
	j = kit_open(&(struct journal_options){0}, dir);
	CHECK_INT(kit_check_head(j), 12);
	CHECK_INT(journal_last_seq(j), kit_total(12));
	kit_check_entries(j, 12, KIT_BODY, 1, 1);
	journal_close(j);
	kit_clean();
}

TEST(J5_a_cut_that_was_read_again_adds_nothing)
{
	AUTO(arena_free) struct arena *a = arena_new();
	struct journal *j = kit_open_small(kit_dir());
	struct cut again[4] = {kit_cut(a, 1, KIT_BODY), kit_cut(a, 2, KIT_BODY), kit_cut(a, 3, KIT_BODY),
			       kit_cut(a, 3, KIT_BODY)};
	struct journal_stat st;
	struct err err;

	kit_add(j, 1);
	kit_add(j, 2);
	CHECK(journal_append(j, again, 2, &err) == 0);
	CHECK_INT(journal_last_seq(j), kit_total(2));
	CHECK(journal_append(j, again, 4, &err) == 0); /* only 3 is new, and it comes twice */
	CHECK_INT(journal_last_seq(j), kit_total(3));
	CHECK_INT(again[2].entries[0].seq, kit_total(2) + 1);
	CHECK_INT(kit_check_head(j), 3);
	kit_check_entries(j, 3, KIT_BODY, 1, 1000);
	journal_stat(j, &st);
	CHECK_INT(st.rows_captured, kit_rows(3));
	journal_close(j);
	kit_clean();
}

TEST(J2_timestamps_out_of_order_are_refused_whole)
{
	AUTO(arena_free) struct arena *a = arena_new();
	struct journal *j = kit_open_small(kit_dir());
	struct cut c;
	struct err err;

	kit_add(j, 1);
	c = kit_cut(a, 2, KIT_BODY);
	c.entries[1].ts = c.entries[0].ts - 1;
	CHECK_INT(journal_append(j, &c, 1, &err), -ERR_INTERNAL);
	c = kit_cut(a, 2, KIT_BODY);
	c.entries[0].ts = 100; /* not above the watermark before */
	CHECK_INT(journal_append(j, &c, 1, &err), -ERR_INTERNAL);
	c = kit_cut(a, 2, KIT_BODY);
	c.entries[2].ts = 201; /* above its own */
	CHECK_INT(journal_append(j, &c, 1, &err), -ERR_INTERNAL);
	CHECK_INT(kit_check_head(j), 1);
	kit_add(j, 2);
	kit_check_entries(j, 2, KIT_BODY, 1, 1000);
	journal_close(j);
	kit_clean();
}

TEST(R14_rotation_carries_positions_state_and_counts)
{
	const char *dir = kit_dir();
	struct journal *j = kit_open_small(dir);
	struct journal_stat st;

	for (int k = 1; k <= 40; k++) {
		kit_add(j, k);
		CHECK_INT(kit_check_head(j), k);
	}
	journal_stat(j, &st);
	CHECK(st.segments > 5);
	CHECK_INT(st.segments, kit_files(dir, ".db"));
	CHECK_INT(st.rows_captured, kit_rows(40));
	CHECK_INT(st.first_seq, 1);
	kit_check_entries(j, 40, KIT_BODY, 1, 7 * KIT_BODY);
	kit_check_entries(j, 40, KIT_BODY, 1, 1); /* one by one */
	journal_close(j);
	j = kit_open_small(dir);
	CHECK_INT(kit_check_head(j), 40);
	kit_check_entries(j, 40, KIT_BODY, 1, 1000000);
	journal_stat(j, &st);
	CHECK_INT(st.rows_captured, kit_rows(40));
	kit_add(j, 41);
	kit_check_entries(j, 41, KIT_BODY, 1, 1000000);
	journal_close(j);
	kit_clean();
}

TEST(R15_a_segment_that_a_cursor_reads_is_neither_sealed_nor_removed)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const char *dir = kit_dir();
	struct journal *j = kit_open_small(dir);
	struct journal_cursor *c;
	struct journal_batch b;
	struct err err;
	struct stat st;

	kit_add(j, 1);
	CHECK(journal_cursor_open(&c, j, &err) == 0);
	CHECK(journal_read(c, 0, 1, 1, a, &b, &err) == 0);
	CHECK_INT(b.count, 1);
	CHECK(!b.complete);
	for (int k = 2; k <= 12; k++)
		kit_add(j, k);
	CHECK(stat(kit_segment(dir, 1), &st) == 0 && st.st_mode & 0200);
	CHECK_INT(journal_trim(j, kit_total(12), &err), 0);
	CHECK(journal_read(c, 1, 1, 1, a, &b, &err) == 0); /* not disturbed */
	CHECK(kit_same(&b.entries[0], 1, 1, KIT_BODY));
	CHECK(journal_read(c, kit_total(12) - 1, 1, 1, a, &b, &err) == 0); /* it moves on */
	CHECK(journal_trim(j, kit_total(12), &err) > 0);
	CHECK(access(kit_segment(dir, 1), F_OK) < 0);
	journal_cursor_close(c);
	journal_close(j);
	kit_clean();
}

TEST(J3_trim_removes_only_what_is_applied_and_old_and_never_the_newest_two)
{
	const char *dir = kit_dir();
	struct journal *j = kit_open(&(struct journal_options){.segment_size = 20000, .keep_s = 3600}, dir);
	struct journal_stat before, after;
	struct err err = {0};
	int removed;

	for (int k = 1; k <= 20; k++)
		kit_add(j, k);
	CHECK_INT(journal_trim(j, kit_total(20), &err), 0); /* too young */
	journal_close(j);
	j = kit_open_small(dir);
	journal_stat(j, &before);
	CHECK_INT(journal_trim(j, 0, &err), 0); /* not applied */
	removed = journal_trim(j, kit_total(6), &err);
	journal_stat(j, &after);
	CHECK(removed > 0);
	CHECK_INT(after.segments, before.segments - removed);
	CHECK(after.first_seq > 1 && after.first_seq <= kit_total(6) + 1);
	CHECK(after.bytes < before.bytes);
	CHECK_INT(kit_read_after(j, after.first_seq - 1, &err), 0);
	CHECK_INT(kit_read_after(j, -1, &err), 0); /* a listing: from the oldest there is */
	CHECK_INT(kit_read_after(j, 0, &err),
		  -ERR_JOURNAL_BAD); /* what is gone is never skipped in silence */
	CHECK(journal_trim(j, INT64_MAX, &err) > 0);
	journal_stat(j, &after);
	CHECK_INT(after.segments, 2); /* where a damaged newest one is read again from (R16) */
	CHECK_INT(after.rows_captured, kit_rows(20));
	CHECK_INT(kit_check_head(j), 20);
	journal_close(j);
	j = kit_open_small(dir);
	CHECK_INT(kit_check_head(j), 20);
	kit_add(j, 21);
	CHECK_INT(journal_last_seq(j), kit_total(21));
	journal_close(j);
	kit_clean();
}

TEST(J3_a_journal_whose_entries_are_all_gone_still_notices_a_late_reader)
{
	struct journal *j = kit_open_small(kit_dir());
	struct err err;

	for (int k = 1; k <= 4; k++) /* 3000-byte bodies: the fourth cut fills the first segment */
		kit_add(j, k);
	for (int k = 6; k <= 9; k++)
		kit_add(j, k);
	CHECK(journal_trim(j, INT64_MAX, &err) >= 1);
	CHECK_INT(kit_read_after(j, 0, &err), -ERR_JOURNAL_BAD);
	CHECK(strstr(err.text, "missing"));
	CHECK_INT(kit_read_after(j, journal_last_seq(j), &err), 0);
	journal_close(j);
	kit_clean();
}

TEST(J8_at_the_limit_append_answers_full_and_goes_on_after_a_trim)
{
	/* keep_s does not hold up reading when there is no room */
	struct journal_options o = {.segment_size = 256 << 20, .max_size = 2 << 20, .keep_s = 3600};
	struct journal *j = kit_open(&o, kit_dir());
	struct journal_stat st;
	struct err err;
	int k = 1, rc, last;

	while ((rc = kit_append(j, k, 50000, &err)) == 0 && k < 1000)
		k++;
	CHECK_INT(rc, -ERR_JOURNAL_FULL);
	journal_stat(j, &st);
	CHECK(st.bytes <= o.max_size);
	CHECK(st.bytes > o.max_size / 2);
	CHECK_INT(journal_trim(j, 0, &err), 0); /* J3 comes before J8 */
	CHECK_INT(kit_check_head(j), k - 1);
	kit_check_entries(j, k - 1, 50000, 1, 1 << 20);
	CHECK_INT(kit_append(j, k, 50000, &err), -ERR_JOURNAL_FULL);
	last = k + 100;
	for (; k < last; k++) {
		if ((rc = kit_append(j, k, 50000, &err)) < 0) {
			CHECK_INT(rc, -ERR_JOURNAL_FULL);
			CHECK(journal_trim(j, journal_last_seq(j), &err) > 0);
			CHECKF(kit_append(j, k, 50000, &err) == 0, "%s", err.text);
		}
		journal_stat(j, &st);
		CHECK(st.bytes <= o.max_size);
	}
	journal_close(j);
	kit_clean();
}

TEST(J8_a_cut_larger_than_the_limit_goes_in_when_nothing_else_is_needed)
{
	struct journal_options o = {.segment_size = 1 << 20, .max_size = 4 << 20, .keep_s = 3600};
	struct journal *j = kit_open(&o, kit_dir());
	struct journal_stat st;
	struct err err;
	int64_t last;

	CHECK_INT(kit_append(j, 1, 5000, &err), 0);
	last = journal_last_seq(j);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(kit_append(j, 2, 2000000, &err), -ERR_JOURNAL_FULL);
		CHECK(journal_trim(j, last - 1, &err) >= 0); /* something is to be applied: it waits */
	}
	CHECK_INT(kit_append(j, 2, 2000000, &err), -ERR_JOURNAL_FULL);
	CHECK(journal_trim(j, last, &err) >= 0);
	CHECKF(kit_append(j, 2, 2000000, &err) == 0, "%s", err.text);
	CHECK_INT(kit_append(j, 3, 2000000, &err), -ERR_JOURNAL_FULL); /* one, not one after another */
	CHECK(journal_trim(j, journal_last_seq(j) - 1, &err) >= 0);
	CHECK_INT(kit_append(j, 3, 2000000, &err), -ERR_JOURNAL_FULL);
	CHECK(journal_trim(j, journal_last_seq(j), &err) >= 0);
	CHECKF(kit_append(j, 3, 2000000, &err) == 0, "%s", err.text);
	CHECK(journal_trim(j, journal_last_seq(j), &err) >= 0);
	journal_stat(j, &st);
	CHECK(st.bytes < 20 << 20);
	journal_close(j);
	kit_clean();
}

TEST(R17_empty_cuts_are_in_memory_at_once_and_go_with_the_next_write)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const char *dir = kit_dir();
	struct journal *j = kit_open(&(struct journal_options){0}, dir);
	struct err err;
	char text[100];

	kit_add(j, 1);
	for (int k = 2; k <= 50; k++) {
		struct cut c = kit_cut(a, k, KIT_BODY);

		c.entry_count = c.state_count = 0;
		CHECK(journal_append(j, &c, 1, &err) == 0);
		CHECK_INT(journal_watermark(j), k * 100);
	}
	CHECK(kit_sql(kit_segment(dir, 1), "SELECT count(*), max(watermark) FROM cut", text, sizeof(text)) ==
	      0);
	CHECK_STR(text, "2|100"); /* the carried one and cut 1 */
	CHECK(journal_wait(j, kit_total(1), 4999, 0));
	journal_close(j); /* writes them */
	j = kit_open(&(struct journal_options){0}, dir);
	CHECK_INT(journal_watermark(j), 5000);
	CHECK_INT(journal_revision(j), 50);
	kit_add(j, 51);
	journal_close(j);
	kit_clean();
}

TEST(R3_the_first_cut_is_on_disk_even_when_it_is_empty)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const char *dir = kit_dir();
	struct journal *j = kit_open(&(struct journal_options){0}, dir);
	struct cut c = kit_cut(a, 5, KIT_BODY); /* no entries */
	struct err err;
	char text[100];

	CHECK(journal_append(j, &c, 1, &err) == 0);
	CHECK(kit_sql(kit_segment(dir, 1), "SELECT max(watermark), (SELECT count(*) FROM position) FROM cut",
		      text, sizeof(text)) == 0);
	CHECK_STR(text, "500|2");
	journal_close(j);
	kit_clean();
}

TEST(R13_new_entries_get_numbers_above_those_the_applier_knows)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const char *dir = kit_dir();
	struct journal *j = kit_open_small(dir);
	struct journal_cursor *c;
	struct journal_batch b;
	struct err err;

	kit_add(j, 1); /* seq 1, 2; the applier knows 900 */
	journal_close(j);
	j = kit_open(&(struct journal_options){.segment_size = 20000, .min_seq = 900}, dir);
	CHECK_INT(journal_last_seq(j), 2);
	kit_add(j, 2);
	CHECK_INT(journal_last_seq(j), 900 + kit_entries(2));
	CHECK(journal_cursor_open(&c, j, &err) == 0);
	CHECKF(journal_read(c, 900, 100000, 100, a, &b, &err) == 0, "%s", err.text);
	CHECK_INT(b.count, kit_entries(2));
	CHECK_INT(b.entries[0].seq, 901);
	CHECK(journal_read(c, 0, 100000, 100, a, &b, &err) == 0);
	CHECK_INT(b.count, 2 + kit_entries(2));
	CHECK(journal_read(c, 500, 100000, 100, a, &b, &err) == 0);
	CHECK_INT(b.count, kit_entries(2));
	journal_cursor_close(c);
	journal_close(j);

	dir = kit_dir();
	j = kit_open(&(struct journal_options){.min_seq = 77}, dir);
	kit_add(j, 1);
	CHECK_INT(journal_last_seq(j), 77 + kit_entries(1));
	kit_check_entries(j, 1, KIT_BODY, 78, 1000);
	journal_close(j);
	kit_clean();
}

TEST(large_and_empty_bodies_come_back_as_they_were)
{
	static const size_t sizes[] = {0, 1, 16000, 16384, 100000, 10 << 20};
	AUTO(arena_free) struct arena *a = arena_new();
	struct journal *j = kit_open(&(struct journal_options){0}, kit_dir());
	struct journal_cursor *c;
	struct journal_batch b;
	struct err err;
	int64_t seq = 0;

	CHECK(journal_cursor_open(&c, j, &err) == 0);
	for (int k = 1; k <= (int)ARRAY_LEN(sizes); k++) {
		struct entry e = kit_entry(a, k, 0, sizes[k - 1]);
		struct cut cut = {.watermark = (cdc_ts)k * 100, .entries = &e, .entry_count = 1};

		CHECK(journal_append(j, &cut, 1, &err) == 0);
		CHECKF(journal_read(c, seq, 1, 100, a, &b, &err) == 0, "%s", err.text);
		CHECK_INT(b.count, 1);
		CHECK(b.complete);
		CHECK(kit_same(&b.entries[0], k, 0, sizes[k - 1]));
		seq = b.entries[0].seq;
	}
	journal_cursor_close(c);
	journal_close(j);
	kit_clean();
}

TEST(a_read_ends_before_the_body_that_does_not_fit_and_says_what_follows)
{
	AUTO(arena_free) struct arena *a = arena_new();
	struct journal *j = kit_open(&(struct journal_options){0}, kit_dir());
	struct journal_cursor *c;
	struct journal_batch b;
	struct err err;

	kit_add(j, 2); /* 3 entries at 190, 191, 192 */
	CHECK(journal_cursor_open(&c, j, &err) == 0);
	CHECK(journal_read(c, 0, 2 * KIT_BODY, 100, a, &b, &err) == 0);
	CHECK_INT(b.count, 2);
	CHECK(!b.complete);
	CHECK_INT(b.next_ts, 192);
	CHECK(journal_read(c, 0, 2 * KIT_BODY + KIT_BODY, 100, a, &b, &err) == 0);
	CHECK_INT(b.count, 3);
	CHECK(b.complete);
	CHECK_INT(b.watermark, 200);
	CHECK(journal_read(c, 0, 1 << 20, 1, a, &b, &err) == 0);
	CHECK_INT(b.count, 1);
	CHECK_INT(b.next_ts, 191);
	journal_cursor_close(c);
	journal_close(j);
	kit_clean();
}

TEST_MAIN()
