/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's invariants J1-J8 and rules R13-R17 on a healthy disk, and damage that it must find. */
#include "journal_kit.h"

#include <cdc/worker.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#define BODY 3000

static struct journal *open_with(const struct journal_options *o, const char *dir)
{
	struct journal *j = NULL;
	struct err err = {0};

	CHECKF(journal_open(&j, dir, o, &err) == 0, "%s", err.text);
	return j;
}

static struct journal *open_small(const char *dir) /* many segments */
{
	return open_with(&(struct journal_options){.segment_size = 20000}, dir);
}

static void append(struct journal *j, int k)
{
	struct err err = {0};

	CHECKF(kit_append(j, k, BODY, &err) == 0, "%s", err.text);
}

static char *segment_path(const char *dir, int64_t first)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%020lld.db", dir, (long long)first);
	return path;
}

static int count_files(const char *dir, const char *end)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d))) {
		size_t len = strlen(e->d_name), k = strlen(end);

		n += len > k && STREQ(e->d_name + len - k, end);
	}
	if (d)
		closedir(d);
	return n;
}

static int sql(const char *path, const char *text, char *ret, size_t size)
{
	sqlite3 *db;
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_open(path, &db);

	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(db, text, -1, &s, NULL);
	if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW && ret) {
		size_t n = 0;

		ret[0] = 0;
		for (int i = 0; i < sqlite3_column_count(s) && n < size; i++)
			n += (size_t)snprintf(ret + n, size - n, "%s%s", i ? "|" : "",
					      (const char *)sqlite3_column_text(s, i));
	}
	sqlite3_finalize(s);
	sqlite3_close(db);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : rc;
}

static int read_after(struct journal *j, int64_t after, struct err *err)
{
	AUTO(journal_cursor_close) struct journal_cursor *c = NULL;
	AUTO(arena_free) struct arena *a = arena_new();
	struct journal_batch b;

	CHECK(journal_cursor_open(&c, j, err) == 0);
	return journal_read(c, after, SIZE_MAX / 4, 100000, a, &b, err);
}

TEST(an_empty_journal_is_complete_and_stands_at_zero)
{
	const char *dir = kit_dir();
	struct journal *j = open_small(dir);
	struct journal_stat st;

	journal_stat(j, &st);
	CHECK_INT(st.first_seq, 0);
	CHECK_INT(st.last_seq, 0);
	CHECK_INT(st.segments, 0);
	kit_check_entries(j, 0, BODY, 1, 1000);
	CHECK_INT(kit_check_head(j), 0);
	CHECK(!journal_wait(j, 0, 0, 0));
	journal_close(j);
	kit_clean();
}

TEST(J1_everything_of_a_cut_is_there_after_a_reopen)
{
	const char *dir = kit_dir();
	struct journal *j = open_with(&(struct journal_options){0}, dir);

	for (int k = 1; k <= 12; k++) {
		append(j, k);
		CHECK_INT(kit_check_head(j), k);
	}
	kit_check_entries(j, 12, BODY, 1, 1000000);
	journal_close(j);
	CHECK_INT(count_files(dir, "-wal"), 0);
	j = open_with(&(struct journal_options){0}, dir);
	CHECK_INT(kit_check_head(j), 12);
	CHECK_INT(journal_last_seq(j), kit_total(12));
	kit_check_entries(j, 12, BODY, 1, 1);
	journal_close(j);
	kit_clean();
}

TEST(J5_a_cut_that_was_read_again_adds_nothing)
{
	AUTO(arena_free) struct arena *a = arena_new();
	struct journal *j = open_small(kit_dir());
	struct cut again[4] = {kit_cut(a, 1, BODY), kit_cut(a, 2, BODY), kit_cut(a, 3, BODY), kit_cut(a, 3, BODY)};
	struct journal_stat st;
	struct err err;

	append(j, 1);
	append(j, 2);
	CHECK(journal_append(j, again, 2, &err) == 0);
	CHECK_INT(journal_last_seq(j), kit_total(2));
	CHECK(journal_append(j, again, 4, &err) == 0); /* only 3 is new, and it comes twice */
	CHECK_INT(journal_last_seq(j), kit_total(3));
	CHECK_INT(again[2].entries[0].seq, kit_total(2) + 1);
	CHECK_INT(kit_check_head(j), 3);
	kit_check_entries(j, 3, BODY, 1, 1000);
	journal_stat(j, &st);
	CHECK_INT(st.rows_captured, kit_rows(3));
	journal_close(j);
	kit_clean();
}

TEST(J2_timestamps_out_of_order_are_refused_whole)
{
	AUTO(arena_free) struct arena *a = arena_new();
	struct journal *j = open_small(kit_dir());
	struct cut c;
	struct err err;

	append(j, 1);
	c = kit_cut(a, 2, BODY);
	c.entries[1].ts = c.entries[0].ts - 1;
	CHECK_INT(journal_append(j, &c, 1, &err), -ERR_INTERNAL);
	c = kit_cut(a, 2, BODY);
	c.entries[0].ts = 100; /* not above the watermark before */
	CHECK_INT(journal_append(j, &c, 1, &err), -ERR_INTERNAL);
	c = kit_cut(a, 2, BODY);
	c.entries[2].ts = 201; /* above its own */
	CHECK_INT(journal_append(j, &c, 1, &err), -ERR_INTERNAL);
	CHECK_INT(kit_check_head(j), 1);
	append(j, 2);
	kit_check_entries(j, 2, BODY, 1, 1000);
	journal_close(j);
	kit_clean();
}

TEST(R14_rotation_carries_positions_state_and_counts)
{
	const char *dir = kit_dir();
	struct journal *j = open_small(dir);
	struct journal_stat st;

	for (int k = 1; k <= 40; k++) {
		append(j, k);
		CHECK_INT(kit_check_head(j), k);
	}
	journal_stat(j, &st);
	CHECK(st.segments > 5);
	CHECK_INT(st.segments, count_files(dir, ".db"));
	CHECK_INT(st.rows_captured, kit_rows(40));
	CHECK_INT(st.first_seq, 1);
	kit_check_entries(j, 40, BODY, 1, 7 * BODY);
	kit_check_entries(j, 40, BODY, 1, 1); /* one by one */
	journal_close(j);
	j = open_small(dir);
	CHECK_INT(kit_check_head(j), 40);
	kit_check_entries(j, 40, BODY, 1, 1000000);
	journal_stat(j, &st);
	CHECK_INT(st.rows_captured, kit_rows(40));
	append(j, 41);
	kit_check_entries(j, 41, BODY, 1, 1000000);
	journal_close(j);
	kit_clean();
}

TEST(R15_a_sealed_segment_is_one_read_only_file_without_a_wal)
{
	const char *dir = kit_dir();
	struct journal *j = open_small(dir);
	struct stat st;
	char mode[40];

	for (int k = 1; k <= 8; k++)
		append(j, k);
	CHECK(stat(segment_path(dir, 1), &st) == 0);
	CHECK_INT(st.st_mode & 07777, 0440);
	CHECK_INT(count_files(dir, "-wal"), 1);
	CHECK(sql(segment_path(dir, 1), "PRAGMA journal_mode", mode, sizeof(mode)) == 0);
	CHECK_STR(mode, "delete");
	journal_close(j);
	kit_clean();
}

TEST(R15_a_segment_that_a_cursor_reads_is_neither_sealed_nor_removed)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const char *dir = kit_dir();
	struct journal *j = open_small(dir);
	struct journal_cursor *c;
	struct journal_batch b;
	struct err err;
	struct stat st;

	append(j, 1);
	CHECK(journal_cursor_open(&c, j, &err) == 0);
	CHECK(journal_read(c, 0, 1, 1, a, &b, &err) == 0);
	CHECK_INT(b.count, 1);
	CHECK(!b.complete);
	for (int k = 2; k <= 12; k++)
		append(j, k);
	CHECK(stat(segment_path(dir, 1), &st) == 0 && st.st_mode & 0200);
	CHECK_INT(journal_trim(j, kit_total(12), &err), 0);
	CHECK(journal_read(c, 1, 1, 1, a, &b, &err) == 0); /* not disturbed */
	CHECK(kit_same(&b.entries[0], 1, 1, BODY));
	CHECK(journal_read(c, kit_total(12) - 1, 1, 1, a, &b, &err) == 0); /* it moves on */
	CHECK(journal_trim(j, kit_total(12), &err) > 0);
	CHECK(access(segment_path(dir, 1), F_OK) < 0);
	journal_cursor_close(c);
	journal_close(j);
	kit_clean();
}

TEST(J3_trim_removes_only_what_is_applied_and_old_and_never_the_newest)
{
	const char *dir = kit_dir();
	struct journal *j = open_with(&(struct journal_options){.segment_size = 20000, .keep_s = 3600}, dir);
	struct journal_stat before, after;
	struct err err = {0};
	int removed;

	for (int k = 1; k <= 20; k++)
		append(j, k);
	CHECK_INT(journal_trim(j, kit_total(20), &err), 0); /* too young */
	journal_close(j);
	j = open_small(dir);
	journal_stat(j, &before);
	CHECK_INT(journal_trim(j, 0, &err), 0); /* not applied */
	removed = journal_trim(j, kit_total(10), &err);
	journal_stat(j, &after);
	CHECK(removed > 0);
	CHECK_INT(after.segments, before.segments - removed);
	CHECK(after.first_seq > 1 && after.first_seq <= kit_total(10) + 1);
	CHECK(after.bytes < before.bytes);
	CHECK_INT(read_after(j, after.first_seq - 1, &err), 0);
	CHECK_INT(read_after(j, -1, &err), 0); /* a listing: from the oldest there is */
	CHECK_INT(read_after(j, 0, &err), -ERR_JOURNAL_BAD); /* what is gone is never skipped in silence */
	CHECK(journal_trim(j, INT64_MAX, &err) > 0);
	journal_stat(j, &after);
	CHECK_INT(after.segments, 1);
	CHECK_INT(after.rows_captured, kit_rows(20));
	CHECK_INT(kit_check_head(j), 20);
	journal_close(j);
	j = open_small(dir);
	CHECK_INT(kit_check_head(j), 20);
	append(j, 21);
	CHECK_INT(journal_last_seq(j), kit_total(21));
	journal_close(j);
	kit_clean();
}

TEST(J3_a_journal_whose_entries_are_all_gone_still_notices_a_late_reader)
{
	struct journal *j = open_small(kit_dir());
	struct err err;

	for (int k = 1; k <= 4; k++) /* 3000-byte bodies: the fourth cut fills the first segment */
		append(j, k);
	append(j, 6);
	CHECK(journal_trim(j, INT64_MAX, &err) >= 1);
	CHECK_INT(read_after(j, 0, &err), -ERR_JOURNAL_BAD);
	CHECK(strstr(err.text, "missing"));
	CHECK_INT(read_after(j, journal_last_seq(j), &err), 0);
	journal_close(j);
	kit_clean();
}

TEST(J8_at_the_limit_append_answers_full_and_goes_on_after_a_trim)
{
	/* keep_s does not hold up reading when there is no room */
	struct journal_options o = {.segment_size = 256 << 20, .max_size = 2 << 20, .keep_s = 3600};
	struct journal *j = open_with(&o, kit_dir());
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

TEST(R17_empty_cuts_are_in_memory_at_once_and_go_with_the_next_write)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const char *dir = kit_dir();
	struct journal *j = open_with(&(struct journal_options){0}, dir);
	struct err err;
	char text[100];

	append(j, 1);
	for (int k = 2; k <= 50; k++) {
		struct cut c = kit_cut(a, k, BODY);

		c.entry_count = c.state_count = 0;
		CHECK(journal_append(j, &c, 1, &err) == 0);
		CHECK_INT(journal_watermark(j), k * 100);
	}
	CHECK(sql(segment_path(dir, 1), "SELECT count(*), max(watermark) FROM cut", text, sizeof(text)) == 0);
	CHECK_STR(text, "2|100"); /* the carried one and cut 1 */
	CHECK(journal_wait(j, kit_total(1), 4999, 0));
	journal_close(j); /* writes them */
	j = open_with(&(struct journal_options){0}, dir);
	CHECK_INT(journal_watermark(j), 5000);
	CHECK_INT(journal_revision(j), 50);
	append(j, 51);
	journal_close(j);
	kit_clean();
}

TEST(R3_the_first_cut_is_on_disk_even_when_it_is_empty)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const char *dir = kit_dir();
	struct journal *j = open_with(&(struct journal_options){0}, dir);
	struct cut c = kit_cut(a, 5, BODY); /* no entries */
	struct err err;
	char text[100];

	CHECK(journal_append(j, &c, 1, &err) == 0);
	CHECK(sql(segment_path(dir, 1), "SELECT max(watermark), (SELECT count(*) FROM position) FROM cut", text,
		  sizeof(text)) == 0);
	CHECK_STR(text, "500|2");
	journal_close(j);
	kit_clean();
}

TEST(R13_new_entries_get_numbers_above_those_the_applier_knows)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const char *dir = kit_dir();
	struct journal *j = open_small(dir);
	struct journal_cursor *c;
	struct journal_batch b;
	struct err err;

	append(j, 1); /* seq 1, 2; the applier knows 900 */
	journal_close(j);
	j = open_with(&(struct journal_options){.segment_size = 20000, .min_seq = 900}, dir);
	CHECK_INT(journal_last_seq(j), 2);
	append(j, 2);
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
	j = open_with(&(struct journal_options){.min_seq = 77}, dir);
	append(j, 1);
	CHECK_INT(journal_last_seq(j), 77 + kit_entries(1));
	kit_check_entries(j, 1, BODY, 78, 1000);
	journal_close(j);
	kit_clean();
}

TEST(large_and_empty_bodies_come_back_as_they_were)
{
	static const size_t sizes[] = {0, 1, 16000, 16384, 100000, 10 << 20};
	AUTO(arena_free) struct arena *a = arena_new();
	struct journal *j = open_with(&(struct journal_options){0}, kit_dir());
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
	struct journal *j = open_with(&(struct journal_options){0}, kit_dir());
	struct journal_cursor *c;
	struct journal_batch b;
	struct err err;

	append(j, 2); /* 3 entries at 190, 191, 192 */
	CHECK(journal_cursor_open(&c, j, &err) == 0);
	CHECK(journal_read(c, 0, 2 * BODY, 100, a, &b, &err) == 0);
	CHECK_INT(b.count, 2);
	CHECK(!b.complete);
	CHECK_INT(b.next_ts, 192);
	CHECK(journal_read(c, 0, 2 * BODY + BODY, 100, a, &b, &err) == 0);
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

/* J7: every column, the body and the row itself. */
TEST(J7_a_changed_entry_is_found_before_it_is_returned)
{
	static const char *const damage[] = {
		"UPDATE entry SET ts = ts + 1 WHERE seq = 2",
		"UPDATE entry SET kind = 3 - kind WHERE seq = 2",
		"UPDATE entry SET db_id = 9 WHERE seq = 2",
		"UPDATE entry SET collection_id = collection_id + 1 WHERE seq = 2",
		"UPDATE entry SET partition_id = 5 WHERE seq = 2",
		"UPDATE entry SET db = 'x' WHERE seq = 2",
		"UPDATE entry SET collection = db, db = collection WHERE seq = 2",
		"UPDATE entry SET vchannel = vchannel || ' ' WHERE seq = 2",
		"UPDATE entry SET pchannel = '' WHERE seq = 2",
		"UPDATE entry SET id_hi = 1 WHERE seq = 2",
		"UPDATE entry SET id_lo = id_lo + 1 WHERE seq = 2",
		"UPDATE entry SET rows = 8 WHERE seq = 2",
		"UPDATE entry SET body = substr(body, 1, 2999) WHERE seq = 2",
		"UPDATE entry SET body = body || x'00' WHERE seq = 2",
		"UPDATE entry SET body = zeroblob(length(body)) WHERE seq = 2",
		"UPDATE entry SET body = 7 WHERE seq = 2",
		"DELETE FROM entry WHERE seq = 2",
	};
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
		const char *dir = kit_dir();
		struct journal *j = open_small(dir);

		for (int k = 1; k <= 8; k++)
			append(j, k);
		chmod(segment_path(dir, 1), 0640);
		CHECKF(sql(segment_path(dir, 1), damage[i], NULL, 0) == 0, "%s", damage[i]);
		CHECKF(read_after(j, 0, &err) == -ERR_JOURNAL_BAD, "%s", damage[i]);
		CHECKF(strstr(err.text, segment_path(dir, 1)), "%s: %s", damage[i], err.text);
		CHECKF(strstr(err.text, "entry 2") || strstr(err.text, "seq"), "%s: %s", damage[i], err.text);
		CHECK(strstr(err.text, "quarantine"));
		CHECK_INT(read_after(j, 2, &err), 0); /* what follows is whole */
		journal_close(j);
	}
	kit_clean();
}

TEST(J7_a_damaged_newest_segment_is_refused_at_open_and_left_as_it_is)
{
	static const char *const damage[] = {
		"UPDATE entry SET rows = 8 WHERE seq = 12",
		"DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)",
		"UPDATE position SET next_lo = next_lo + 1 WHERE pchannel LIKE '%_1'",
		"DELETE FROM position WHERE pchannel LIKE '%_1'",
		"UPDATE cut SET watermark = watermark + 1 WHERE id = (SELECT max(id) FROM cut)",
		"UPDATE state SET value = '9' WHERE key = 'last'",
		"DELETE FROM cut",
		"DROP TABLE cut",
		"DROP TABLE position",
	};
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
		const char *dir = kit_dir();
		struct journal *j = open_with(&(struct journal_options){0}, dir), *bad = NULL;

		for (int k = 1; k <= 8; k++)
			append(j, k);
		journal_close(j);
		CHECKF(sql(segment_path(dir, 1), damage[i], NULL, 0) == 0, "%s", damage[i]);
		CHECKF(journal_open(&bad, dir, &(struct journal_options){0}, &err) == -ERR_JOURNAL_BAD, "%s", damage[i]);
		CHECK(!bad);
		CHECKF(strstr(err.text, segment_path(dir, 1)), "%s", err.text);
		CHECK(access(segment_path(dir, 1), F_OK) == 0);
	}
	kit_clean();
}

TEST(J7_overwritten_pages_never_pass_as_data)
{
	struct err err = {0};

	for (int page = 0; page < 12; page++) {
		const char *dir = kit_dir();
		struct journal *j = open_with(&(struct journal_options){0}, dir), *again = NULL;
		uint8_t junk[16384];
		int fd, rc;

		for (int k = 1; k <= 30; k++)
			append(j, k);
		journal_close(j);
		kit_fill(junk, sizeof(junk), (unsigned)page);
		fd = open(segment_path(dir, 1), O_WRONLY);
		CHECK(pwrite(fd, junk, 500, page * 16384 + (page ? 7000 : 0)) == 500);
		close(fd);
		rc = journal_open(&again, dir, &(struct journal_options){0}, &err);
		if (rc == 0) { /* not in what is checked at open: then reading either finds it or is right */
			rc = read_after(again, 0, &err);
			if (rc == 0)
				kit_check_entries(again, 30, BODY, 1, 1 << 20);
			journal_close(again);
		}
		CHECKF(rc == 0 || rc == -ERR_JOURNAL_BAD, "page %d: %s", page, err.text);
	}
	kit_clean();
}

TEST(a_newer_schema_is_refused_and_nothing_is_touched)
{
	const char *dir = kit_dir();
	struct journal *j = open_small(dir), *no = NULL;
	struct err err = {0};
	struct stat before, after;
	char half[600];
	int fd;

	for (int k = 1; k <= 8; k++)
		append(j, k);
	snprintf(half, sizeof(half), "%s.new", segment_path(dir, 99));
	journal_close(j);
	fd = open(half, O_CREAT | O_WRONLY, 0640);
	close(fd);
	chmod(segment_path(dir, 1), 0640);
	CHECK(sql(segment_path(dir, 1), "PRAGMA user_version = 2", NULL, 0) == 0);
	stat(segment_path(dir, 1), &before);
	CHECK_INT(journal_open(&no, dir, &(struct journal_options){0}, &err), -ERR_JOURNAL_NEWER);
	CHECK(strstr(err.text, "newer"));
	stat(segment_path(dir, 1), &after);
	CHECK(after.st_mtime == before.st_mtime && after.st_size == before.st_size);
	CHECK(after.st_mode == before.st_mode);
	CHECK(access(half, F_OK) == 0);
	kit_clean();
}

TEST(R15_half_made_segments_are_removed_at_open)
{
	static const char *const made[] = {"", "CREATE TABLE x(y); DROP TABLE x"};
	const char *dir = kit_dir();
	struct journal *j = open_small(dir);
	char path[600];
	int fd;

	for (int k = 1; k <= 3; k++)
		append(j, k);
	for (size_t i = 0; i <= ARRAY_LEN(made); i++) {
		journal_close(j);
		snprintf(path, sizeof(path), "%s%s", segment_path(dir, 500), i == ARRAY_LEN(made) ? ".new" : "");
		fd = open(path, O_CREAT | O_WRONLY, 0640);
		CHECK(fd >= 0);
		close(fd);
		if (i == 1)
			CHECK(sql(path, made[i], NULL, 0) == 0);
		j = open_small(dir);
		CHECK(access(path, F_OK) < 0);
		CHECK_INT(kit_check_head(j), 3);
	}
	append(j, 4);
	kit_check_entries(j, 4, BODY, 1, 1000);
	journal_close(j);
	kit_clean();
}

TEST(R13_after_the_newest_segment_was_moved_away_the_journal_goes_on_before_it)
{
	const char *dir = kit_dir();
	struct journal *j = open_small(dir);
	struct journal_stat st;
	char moved[600], wal[600];
	int64_t first = 0;
	int k;

	for (k = 1; k <= 20; k++)
		append(j, k);
	journal_stat(j, &st);
	journal_close(j);
	for (int64_t s = 1; s <= kit_total(20); s++)
		if (access(segment_path(dir, s), F_OK) == 0)
			first = s;
	snprintf(moved, sizeof(moved), "%s/moved", dir);
	CHECK(rename(segment_path(dir, first), moved) == 0);
	/* an operator who forgets the -wal must not have it taken for the new segment's */
	snprintf(wal, sizeof(wal), "%s-wal", segment_path(dir, first));
	close(open(wal, O_CREAT | O_WRONLY, 0640));
	CHECK(truncate(wal, 100) == 0);
	j = open_small(dir);
	CHECK_INT(journal_last_seq(j), first - 1);
	k = kit_check_head(j);
	CHECK(k < 20);
	for (k++; k <= 25; k++)
		append(j, k);
	kit_check_entries(j, 25, BODY, 1, 1 << 20);
	snprintf(wal, sizeof(wal), "%s-wal.orphan", segment_path(dir, first));
	CHECK(access(wal, F_OK) == 0);
	journal_close(j);
	kit_clean();
}

TEST(J7_a_segment_missing_in_the_middle_is_named)
{
	const char *dir = kit_dir();
	struct journal *j = open_small(dir);
	struct err err = {0};
	int64_t second = 0;

	for (int k = 1; k <= 20; k++)
		append(j, k);
	for (int64_t s = 2; !second; s++)
		if (access(segment_path(dir, s), F_OK) == 0)
			second = s;
	journal_close(j);
	unlink(segment_path(dir, second));
	j = open_small(dir);
	CHECK_INT(read_after(j, 0, &err), -ERR_JOURNAL_BAD);
	CHECK(strstr(err.text, "missing"));
	journal_close(j);
	kit_clean();
}

TEST(the_log_is_readable_for_people)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const char *dir = kit_dir();
	struct journal *j = open_small(dir);
	struct entry e = kit_entry(a, 1, 0, 5);
	struct cut c = {.watermark = ts_from_ms(1700000000123), .entries = &e, .entry_count = 1};
	struct err err;
	char text[300];

	e.ts = c.watermark;
	CHECK(journal_append(j, &c, 1, &err) == 0);
	CHECK(sql(segment_path(dir, 1), "SELECT * FROM log", text, sizeof(text)) == 0);
	CHECK_STR(text, "1|2023-11-14 22:13:20.123|insert|default.c1|by-dev-rootcoord-dml_0_1v0|7|5");
	CHECK(sql(segment_path(dir, 1), "SELECT name FROM kind WHERE id = 12", text, sizeof(text)) == 0);
	CHECK_STR(text, "create collection");
	CHECK(sql(segment_path(dir, 1), "SELECT entries, rows_total FROM cuts ORDER BY id DESC", text, sizeof(text)) == 0);
	CHECK_STR(text, "1|7");
	journal_close(j);
	kit_clean();
}

struct waiter {
	struct journal *j;
	atomic_bool in, out;
	bool there;
};

static void *wait_long(void *arg)
{
	struct waiter *w = arg;

	atomic_store(&w->in, true);
	w->there = journal_wait(w->j, 1000, 1000000, 20000);
	atomic_store(&w->out, true);
	return NULL;
}

TEST(a_wake_ends_the_wait_even_when_it_comes_first)
{
	struct journal *j = open_small(kit_dir());
	struct waiter w = {.j = j};
	int64_t begin = clock_mono_ms();
	pthread_t t;

	journal_wake(j);
	CHECK(!journal_wait(j, 0, 0, 20000));
	pthread_create(&t, NULL, wait_long, &w);
	journal_wake(j); /* before or while it waits */
	pthread_join(t, NULL);
	CHECK(!w.there);
	CHECK(clock_mono_ms() - begin < 10000);
	begin = clock_mono_ms();
	CHECK(!journal_wait(j, 0, 0, 30)); /* the wake was used up */
	CHECK(clock_mono_ms() - begin >= 29);
	append(j, 1);
	CHECK(journal_wait(j, 0, 1000000, 20000));
	CHECK(journal_wait(j, 1000, 99, 20000));
	journal_close(j);
	kit_clean();
}

#define THREAD_CUTS 300

struct threads {
	struct journal *j;
	atomic_llong applied;
	atomic_bool done;
	char error[1200];
};

static void *cursor_thread(void *arg)
{
	struct threads *t = arg;
	struct journal_cursor *c;
	struct err err;
	int64_t seq = 0;
	int cut = 1, i = 0;

	journal_cursor_open(&c, t->j, &err);
	for (bool done = false; !done && !t->error[0];) {
		AUTO(arena_free) struct arena *a = arena_new();
		struct journal_batch b;

		journal_wait(t->j, seq, UINT64_MAX, 100);
		done = atomic_load(&t->done); /* before the read: nothing is appended after it */
		if (journal_read(c, seq, 10 * BODY, 1000, a, &b, &err) < 0) {
			snprintf(t->error, sizeof(t->error), "%s", err.text);
			break;
		}
		for (size_t n = 0; n < b.count; n++, i++) {
			while (i == kit_entries(cut)) {
				cut++;
				i = 0;
			}
			if (b.entries[n].seq != seq + 1 || !kit_same(&b.entries[n], cut, i, BODY))
				snprintf(t->error, sizeof(t->error), "entry %lld is wrong", (long long)seq + 1);
			seq++;
			/* complete up to a watermark: everything at or below it was seen */
			if (b.complete && b.entries[n].ts > b.watermark)
				snprintf(t->error, sizeof(t->error), "an entry is above the watermark");
		}
		if (b.complete && b.watermark / 100 >= 1 && kit_total((int)(b.watermark / 100)) != seq)
			snprintf(t->error, sizeof(t->error), "complete at %lld with %lld entries",
				 (long long)b.watermark, (long long)seq);
		atomic_store(&t->applied, seq);
		done = done && b.complete;
	}
	journal_cursor_close(c);
	return NULL;
}

static void *stat_thread(void *arg)
{
	struct threads *t = arg;
	struct journal_stat st, old = {0};

	while (!atomic_load(&t->done)) {
		journal_stat(t->j, &st);
		if (st.last_seq < old.last_seq || st.watermark < old.watermark || st.rows_captured < old.rows_captured)
			snprintf(t->error, sizeof(t->error), "the journal's numbers went back");
		old = st;
		usleep(1000);
	}
	return NULL;
}

TEST(one_writer_a_cursor_and_a_watcher_share_a_journal)
{
	struct threads t = {.j = open_with(&(struct journal_options){.segment_size = 60000}, kit_dir())};
	pthread_t reader, watcher;
	struct err err = {0};
	int removed = 0, rc = 0;

	pthread_create(&reader, NULL, cursor_thread, &t);
	pthread_create(&watcher, NULL, stat_thread, &t);
	for (int k = 1; k <= THREAD_CUTS && rc >= 0; k++) {
		rc = kit_append(t.j, k, BODY, &err);
		if (rc >= 0 && k % 10 == 0 && (rc = journal_trim(t.j, atomic_load(&t.applied), &err)) > 0)
			removed += rc;
	}
	atomic_store(&t.done, true);
	pthread_join(reader, NULL);
	pthread_join(watcher, NULL);
	CHECKF(rc >= 0, "%s", err.text);
	CHECKF(!t.error[0], "%s", t.error);
	CHECK_INT(atomic_load(&t.applied), kit_total(THREAD_CUTS));
	removed += journal_trim(t.j, atomic_load(&t.applied), &err);
	CHECK(removed > 3);
	journal_close(t.j);
	kit_clean();
}

TEST_MAIN()
