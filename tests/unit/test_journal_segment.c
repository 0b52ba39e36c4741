/* SPDX-License-Identifier: Apache-2.0 */
/* Segment files: how they look to people, what is refused, and that all damage is found (J7). */
#include "journal_kit.h"

TEST(R15_a_sealed_segment_is_one_read_only_file_without_a_wal)
{
	const char *dir = kit_dir();
	struct journal *j = kit_open_small(dir);
	struct stat st;
	char mode[40];

	for (int k = 1; k <= 8; k++)
		kit_add(j, k);
	CHECK(stat(kit_segment(dir, 1), &st) == 0);
	CHECK_INT(st.st_mode & 07777, 0440);
	CHECK_INT(kit_files(dir, "-wal"), 1);
	CHECK(kit_sql(kit_segment(dir, 1), "PRAGMA journal_mode", mode, sizeof(mode)) == 0);
	CHECK_STR(mode, "delete");
	journal_close(j);
	kit_clean();
}

/* J7: every column, the body and the row itself. */
TEST(J7_a_changed_entry_is_found_before_it_is_returned)
{
	static const char *const damage[] = {
		"UPDATE entry SET ts = ts + 1 WHERE seq = 3",
		"UPDATE entry SET kind = 3 - kind WHERE seq = 3",
		"UPDATE entry SET db_id = 9 WHERE seq = 3",
		"UPDATE entry SET collection_id = collection_id + 1 WHERE seq = 3",
		"UPDATE entry SET partition_id = 5 WHERE seq = 3",
		"UPDATE entry SET db = 'x' WHERE seq = 3",
		"UPDATE entry SET collection = db, db = collection WHERE seq = 3",
		"UPDATE entry SET vchannel = vchannel || ' ' WHERE seq = 3",
		"UPDATE entry SET pchannel = '' WHERE seq = 3",
		"UPDATE entry SET id_hi = 1 WHERE seq = 3",
		"UPDATE entry SET id_lo = id_lo + 1 WHERE seq = 3",
		"UPDATE entry SET rows = 8 WHERE seq = 3",
		"UPDATE entry SET body = substr(body, 1, 2999) WHERE seq = 3",
		"UPDATE entry SET body = body || x'00' WHERE seq = 3",
		"UPDATE entry SET body = zeroblob(length(body)) WHERE seq = 3",
		"UPDATE entry SET body = 7 WHERE seq = 3",
		"DELETE FROM entry WHERE seq = 3",
	};
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
		const char *dir = kit_dir();
		struct journal *j = kit_open_small(dir);

		for (int k = 1; k <= 8; k++)
			kit_add(j, k);
		chmod(kit_segment(dir, kit_total(1) + 1), 0640);
		CHECKF(kit_sql(kit_segment(dir, kit_total(1) + 1), damage[i], NULL, 0) == 0, "%s", damage[i]);
		CHECKF(kit_read_after(j, 0, &err) == -ERR_JOURNAL_BAD, "%s", damage[i]);
		CHECKF(strstr(err.text, kit_segment(dir, kit_total(1) + 1)), "%s: %s", damage[i], err.text);
		CHECKF(strstr(err.text, "entry 3") || strstr(err.text, "seq"), "%s: %s", damage[i], err.text);
		CHECK(strstr(err.text, "quarantine"));
		CHECK_INT(kit_read_after(j, 3, &err), 0); /* what follows is whole */
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
		struct journal *j = kit_open(&(struct journal_options){0}, dir), *bad = NULL;

		for (int k = 1; k <= 8; k++)
			kit_add(j, k);
		journal_close(j);
		CHECKF(kit_sql(kit_segment(dir, kit_total(1) + 1), damage[i], NULL, 0) == 0, "%s", damage[i]);
		CHECKF(journal_open(&bad, dir, &(struct journal_options){0}, &err) == -ERR_JOURNAL_BAD, "%s",
		       damage[i]);
		CHECK(!bad);
		CHECKF(strstr(err.text, kit_segment(dir, kit_total(1) + 1)), "%s", err.text);
		CHECK(access(kit_segment(dir, kit_total(1) + 1), F_OK) == 0);
	}
	kit_clean();
}

TEST(J7_overwritten_pages_never_pass_as_data)
{
	struct err err = {0};

	for (int page = 0; page < 12; page++) {
		const char *dir = kit_dir();
		struct journal *j = kit_open(&(struct journal_options){0}, dir), *again = NULL;
		uint8_t junk[16384];
		int fd, rc;

		for (int k = 1; k <= 30; k++)
			kit_add(j, k);
		journal_close(j);
		kit_fill(junk, sizeof(junk), (unsigned)page);
		fd = open(kit_segment(dir, 1), O_WRONLY);
		CHECK(pwrite(fd, junk, 500, page * 16384 + (page ? 7000 : 0)) == 500);
		close(fd);
		rc = journal_open(&again, dir, &(struct journal_options){0}, &err);
		if (rc == 0) { /* not in what is checked at open: then reading either finds it or is right */
			rc = kit_read_after(again, 0, &err);
			if (rc == 0)
				kit_check_entries(again, 30, KIT_BODY, 1, 1 << 20);
			journal_close(again);
		}
		CHECKF(rc == 0 || rc == -ERR_JOURNAL_BAD, "page %d: %s", page, err.text);
	}
	kit_clean();
}

TEST(a_newer_schema_is_refused_and_nothing_is_touched)
{
	const char *dir = kit_dir();
	struct journal *j = kit_open_small(dir), *no = NULL;
	struct err err = {0};
	struct stat before, after;
	char half[600];
	int fd;

	for (int k = 1; k <= 8; k++)
		kit_add(j, k);
	snprintf(half, sizeof(half), "%s.new", kit_segment(dir, 99));
	journal_close(j);
	fd = open(half, O_CREAT | O_WRONLY, 0640);
	close(fd);
	chmod(kit_segment(dir, 1), 0640);
	CHECK(kit_sql(kit_segment(dir, 1), "PRAGMA user_version = 2", NULL, 0) == 0);
	stat(kit_segment(dir, 1), &before);
	CHECK_INT(journal_open(&no, dir, &(struct journal_options){0}, &err), -ERR_JOURNAL_NEWER);
	CHECK(strstr(err.text, "newer"));
	stat(kit_segment(dir, 1), &after);
	CHECK(after.st_mtime == before.st_mtime && after.st_size == before.st_size);
	CHECK(after.st_mode == before.st_mode);
	CHECK(access(half, F_OK) == 0);
	kit_clean();
}

TEST(R15_half_made_segments_are_removed_at_open)
{
	static const char *const made[] = {"", "CREATE TABLE x(y); DROP TABLE x"};
	const char *dir = kit_dir();
	struct journal *j = kit_open_small(dir);
	char path[600];
	int fd;

	for (int k = 1; k <= 3; k++)
		kit_add(j, k);
	for (size_t i = 0; i <= ARRAY_LEN(made); i++) {
		journal_close(j);
		snprintf(path, sizeof(path), "%s%s", kit_segment(dir, 500),
			 i == ARRAY_LEN(made) ? ".new" : "");
		fd = open(path, O_CREAT | O_WRONLY, 0640);
		CHECK(fd >= 0);
		close(fd);
		if (i == 1)
			CHECK(kit_sql(path, made[i], NULL, 0) == 0);
		j = kit_open_small(dir);
		CHECK(access(path, F_OK) < 0);
		CHECK_INT(kit_check_head(j), 3);
	}
	kit_add(j, 4);
	kit_check_entries(j, 4, KIT_BODY, 1, 1000);
	journal_close(j);
	kit_clean();
}

TEST(R13_after_the_newest_segment_was_moved_away_the_journal_goes_on_before_it)
{
	const char *dir = kit_dir();
	struct journal *j = kit_open_small(dir);
	struct journal_stat st;
	char moved[600], wal[600];
	int64_t first = 0;
	int k;

	for (k = 1; k <= 20; k++)
		kit_add(j, k);
	journal_stat(j, &st);
	journal_close(j);
	for (int64_t s = 1; s <= kit_total(20); s++)
		if (access(kit_segment(dir, s), F_OK) == 0)
			first = s;
	snprintf(moved, sizeof(moved), "%s/moved", dir);
	CHECK(rename(kit_segment(dir, first), moved) == 0);
	/* an operator who forgets the -wal must not have it taken for the new segment's */
	snprintf(wal, sizeof(wal), "%s-wal", kit_segment(dir, first));
	close(open(wal, O_CREAT | O_WRONLY, 0640));
	CHECK(truncate(wal, 100) == 0);
	j = kit_open_small(dir);
	CHECK_INT(journal_last_seq(j), first - 1);
	k = kit_check_head(j);
	CHECK(k < 20);
	for (k++; k <= 25; k++)
		kit_add(j, k);
	kit_check_entries(j, 25, KIT_BODY, 1, 1 << 20);
	snprintf(wal, sizeof(wal), "%s-wal.orphan", kit_segment(dir, first));
	CHECK(access(wal, F_OK) == 0);
	journal_close(j);
	kit_clean();
}

TEST(J7_a_segment_missing_in_the_middle_is_named)
{
	const char *dir = kit_dir();
	struct journal *j = kit_open_small(dir);
	struct err err = {0};
	int64_t second = 0;

	for (int k = 1; k <= 20; k++)
		kit_add(j, k);
	for (int64_t s = 2; !second; s++)
		if (access(kit_segment(dir, s), F_OK) == 0)
			second = s;
	journal_close(j);
	unlink(kit_segment(dir, second));
	j = kit_open_small(dir);
	CHECK_INT(kit_read_after(j, 0, &err), -ERR_JOURNAL_BAD);
	CHECK(strstr(err.text, "missing"));
	journal_close(j);
	kit_clean();
}

TEST(the_log_is_readable_for_people)
{
	AUTO(arena_free) struct arena *a = arena_new();
	const char *dir = kit_dir();
	struct journal *j = kit_open_small(dir);
	struct entry e = kit_entry(a, 1, 0, 5);
	struct cut c = {.watermark = ts_from_ms(1700000000123), .entries = &e, .entry_count = 1};
	struct err err;
	char text[300];

	e.ts = c.watermark;
	CHECK(journal_append(j, &c, 1, &err) == 0);
	CHECK(kit_sql(kit_segment(dir, 1), "SELECT * FROM log", text, sizeof(text)) == 0);
	CHECK_STR(text, "1|2023-11-14 22:13:20.123|insert|default.c1|by-dev-rootcoord-dml_0_1v0|7|5");
	CHECK(kit_sql(kit_segment(dir, 1), "SELECT name FROM kind WHERE id = 12", text, sizeof(text)) == 0);
	CHECK_STR(text, "create collection");
	CHECK(kit_sql(kit_segment(dir, 1), "SELECT entries, rows_total FROM cuts ORDER BY id DESC", text,
		      sizeof(text)) == 0);
	CHECK_STR(text, "1|7");
	journal_close(j);
	kit_clean();
}

TEST_MAIN()
