/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal on a disk that fails: for N = 1, 2, 3 ... the Nth call fails (or the power goes), until
 * a run ends without a fault. After each, the folder is opened with the normal VFS and must hold a
 * whole number of cuts, with their positions and state (J1), nothing twice (J5), nothing damaged
 * (J7), and at least what had been acknowledged.
 */
#include "../unit/journal_kit.h"
#include "fault_vfs.h"

#include <dirent.h>

#define BODY 3000
#define CUTS 9
#define SEGMENT 15000

static struct journal_options options(const char *vfs)
{
	return (struct journal_options){.segment_size = SEGMENT, .vfs = vfs};
}

/* Reads on as the reader does: what fails is tried again at most `tries` times. Returns the last
 * cut that was acknowledged durably (not an empty one). */
static int scenario(const char *dir, int tries)
{
	struct journal_options o = options(fault_vfs());
	struct journal *j = NULL;
	struct err err = {0};
	int acknowledged = 0, rc;

	while ((rc = journal_open(&j, dir, &o, &err)) < 0 && tries-- > 0)
		CHECKF(rc == -ERR_JOURNAL_IO || rc == -ERR_JOURNAL_FULL, "%s: %s", err_name(err.code),
		       err.text);
	if (rc < 0)
		return 0;
	for (int k = (int)(journal_watermark(j) / 100) + 1; k <= CUTS; k++) {
		while ((rc = kit_append(j, k, BODY, &err)) < 0) {
			CHECKF(rc == -ERR_JOURNAL_IO || rc == -ERR_JOURNAL_FULL, "%s: %s", err_name(err.code),
			       err.text);
			CHECK_INT(journal_watermark(j), (cdc_ts)(k - 1) * 100); /* nothing of it */
			if (tries-- <= 0)
				goto out;
		}
		if (!kit_empty(k))
			acknowledged = k;
	}
out:
	kit_check_head(j);
	journal_close(j);
	return acknowledged;
}

static int no_half_made(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += strstr(e->d_name, ".new") != NULL;
	closedir(d);
	return n;
}

/* Opens with the normal VFS, checks everything, goes on to the last cut, checks again. */
static void check_and_finish(const char *dir, int acknowledged, int n)
{
	struct journal_options o = options(NULL);
	struct journal *j = NULL;
	struct journal_stat st;
	struct err err = {0};
	int k;

	CHECKF(journal_open(&j, dir, &o, &err) == 0, "N = %d: %s", n, err.text);
	k = kit_check_head(j);
	CHECKF(k >= acknowledged, "N = %d: cut %d was acknowledged, the journal ends at %d", n, acknowledged,
	       k);
	CHECK_INT(journal_last_seq(j), kit_total(k));
	kit_check_entries(j, k, BODY, 1, 1 << 20);
	journal_stat(j, &st);
	CHECK_INT(st.rows_captured, kit_rows(k));
	CHECK_INT(no_half_made(dir), 0);
	for (int i = k > 2 ? k - 2 : 1; i <= CUTS + 2; i++) /* J5: some are read again */
		CHECKF(kit_append(j, i, BODY, &err) == 0, "N = %d: %s", n, err.text);
	kit_check_entries(j, CUTS + 2, BODY, 1, 1 << 20);
	kit_check_head(j);
	journal_close(j);
}

static void loop(enum fault how, bool forever, int tries)
{
	int n, fired = 0;

	for (n = 1;; n++) {
		const char *dir = kit_dir();
		int acknowledged;
		bool hit;

		fault_arm(how, n, forever);
		acknowledged = scenario(dir, tries);
		hit = fault_disarm();
		check_and_finish(dir, acknowledged, n);
		if (!hit) {
			CHECK_INT(acknowledged, CUTS);
			break;
		}
		fired++;
		CHECK(n < 2000);
	}
	CHECKF(fired > 20, "only %d points", fired);
	printf("# %d points\n", fired);
	kit_clean();
}

TEST(J1_an_io_error_at_any_call_loses_nothing_that_was_acknowledged)
{
	loop(FAULT_EIO, false, 3);
}

TEST(J1_a_process_killed_at_any_call_loses_nothing_that_was_acknowledged)
{
	loop(FAULT_EIO, true, 0);
}

TEST(J1_a_disk_that_is_full_for_a_moment)
{
	loop(FAULT_FULL, false, 3);
}

TEST(J1_a_disk_that_stays_full)
{
	loop(FAULT_FULL, true, 2);
}

TEST(J1_a_write_that_is_cut_short)
{
	loop(FAULT_SHORT, false, 3);
}

TEST(J1_a_sync_that_fails)
{
	loop(FAULT_SYNC, false, 3);
}

static void power_loop(unsigned seeds)
{
	int n, points = 0;

	for (unsigned seed = seeds ? 1 : 0; seed <= seeds; seed++)
		for (n = 1;; n++) {
			const char *dir = kit_dir();
			int acknowledged, lost;
			bool done;

			power_on();
			power_fail_at(n);
			acknowledged = scenario(dir, 0);
			done = acknowledged == CUTS;
			lost = power_lose(seed ? seed * 7919 + (unsigned)n : 0);
			check_and_finish(dir, acknowledged, n);
			points += lost > 0;
			if (done)
				break;
			CHECK(n < 2000);
		}
	CHECKF(points > 20, "only %d points", points);
	printf("# %d points\n", points);
	kit_clean();
}

TEST(J1_power_loss_drops_all_that_was_not_synced)
{
	power_loop(0);
}

TEST(J1_power_loss_tears_what_was_not_synced)
{
	power_loop(1);
}

TEST(J1_what_was_repeated_after_a_failed_sync_survives_a_power_loss)
{
	for (int n = 1; n <= 3; n++) {
		const char *dir = kit_dir();
		struct journal_options o = options(fault_vfs());
		struct journal *j = NULL;
		struct err err = {0};

		power_on();
		CHECK(journal_open(&j, dir, &o, &err) == 0);
		for (int k = 1; k <= 3; k++)
			CHECK(kit_append(j, k, BODY, &err) == 0);
		fault_arm(FAULT_SYNC, n, false);
		for (int k = 4; k <= 9; k++)
			if (kit_append(j, k, BODY, &err) < 0)
				CHECKF(kit_append(j, k, BODY, &err) == 0, "%s", err.text);
		CHECK(fault_disarm());
		power_fail_at(1);
		journal_close(j);
		power_lose(0);
		check_and_finish(dir, 9, n);
	}
	kit_clean();
}

static int read_all(struct journal_cursor *c, int upto, struct err *err)
{
	int64_t seq = 0;

	for (;;) {
		AUTO(arena_free) struct arena *a = arena_new();
		struct journal_batch b;
		int rc = journal_read(c, seq, 4 * BODY, 100, a, &b, err);

		if (rc < 0)
			return rc;
		if (b.count)
			seq = b.entries[b.count - 1].seq;
		if (b.complete)
			return seq == kit_total(upto) ? 0 : -1;
	}
}

TEST(J7_a_reader_that_meets_an_io_error_says_so_and_reads_all_when_it_tries_again)
{
	struct journal_options o = options(fault_vfs());
	bool hit = true;

	for (int n = 1; hit; n++) {
		const char *dir = kit_dir();
		struct journal_cursor *c;
		struct journal *j = NULL;
		struct err err = {0};
		int rc;

		CHECK(journal_open(&j, dir, &o, &err) == 0);
		for (int k = 1; k <= CUTS; k++)
			CHECK(kit_append(j, k, BODY, &err) == 0);
		CHECK(journal_cursor_open(&c, j, &err) == 0);
		fault_arm(FAULT_EIO, n, false);
		rc = read_all(c, CUTS, &err);
		hit = fault_disarm();
		CHECKF(rc == 0 || rc == -ERR_JOURNAL_IO, "N = %d: %d %s", n, rc, err.text);
		CHECK(hit || rc == 0);
		CHECKF(read_all(c, CUTS, &err) == 0, "N = %d: %s", n, err.text);
		journal_cursor_close(c);
		journal_close(j);
	}
	kit_clean();
}

TEST(J3_trimming_on_a_failing_disk_removes_nothing_that_is_needed)
{
	struct journal_options o = options(fault_vfs());
	bool hit = true;

	for (int n = 1; hit; n++) {
		const char *dir = kit_dir();
		struct journal_cursor *c;
		struct journal *j = NULL;
		struct journal_stat st;
		struct err err = {0};

		CHECK(journal_open(&j, dir, &o, &err) == 0);
		CHECK(journal_cursor_open(&c, j, &err) == 0);
		for (int k = 1; k <= CUTS; k++) {
			AUTO(arena_free) struct arena *a = arena_new();
			struct journal_batch b;

			CHECK(kit_append(j, k, BODY, &err) == 0);
			CHECK(journal_read(c, journal_last_seq(j) - 1, 1, 1, a, &b, &err) == 0);
		}
		journal_cursor_close(c); /* the last it read is still to be sealed */
		fault_arm(FAULT_EIO, n, false);
		CHECK(journal_trim(j, kit_total(CUTS / 2), &err) >= 0);
		hit = fault_disarm();
		journal_stat(j, &st);
		CHECK(st.first_seq <= kit_total(CUTS / 2) + 1);
		journal_close(j);
		o.vfs = NULL;
		CHECK(journal_open(&j, dir, &o, &err) == 0);
		o.vfs = fault_vfs();
		CHECK_INT(kit_check_head(j), CUTS);
		CHECK(journal_trim(j, kit_total(CUTS), &err) >= 0);
		journal_close(j);
	}
	kit_clean();
}

TEST_MAIN()
