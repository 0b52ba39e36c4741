/* SPDX-License-Identifier: Apache-2.0 */
/* Damage (J7, R16): found before it is used, put aside with all after it, gone back to what is whole. */
#include "journal_kit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct err err;

/* Some segments of real size; returns the folder. */
static const char *make(int cuts)
{
	const char *dir = kit_dir();
	struct journal *j = kit_open(&(struct journal_options){.segment_size = 20000, .keep_s = 3600}, dir);

	for (int k = 1; k <= cuts; k++)
		kit_add(j, k);
	journal_close(j);
	return dir;
}

/* Flips bits in the middle of the last body of a file, where only our checksum can see it. */
static void damage(const char *path)
{
	char text[64];
	uint8_t byte;
	off_t size, at;
	int fd;

	chmod(path, 0640);
	CHECK(kit_sql(path, "SELECT count(*) FROM entry", text, sizeof(text)) >= 0);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	size = lseek(fd, 0, SEEK_END);
	for (at = size / 2; at < size; at += 997) {
		CHECK(pread(fd, &byte, 1, at) == 1);
		byte ^= 0x5a;
		CHECK(pwrite(fd, &byte, 1, at) == 1);
	}
	close(fd);
}

static int64_t numbers[64];

static int segments(const char *dir)
{
	int n = 0;

	for (int64_t i = 1; i < 100000 && n < 64; i++) {
		if (access(kit_segment(dir, i), F_OK) == 0)
			numbers[n++] = i;
	}
	return n;
}

TEST(R16_a_whole_journal_is_left_alone)
{
	const char *dir = make(20);
	int n = segments(dir);

	CHECK(n > 3);
	CHECK_INT(journal_repair(dir, 0, &err), 0);
	CHECK_INT(segments(dir), n);
	kit_clean();
}

TEST(R16_the_journal_goes_back_to_before_the_damaged_file)
{
	const char *dir = make(20);
	int n = segments(dir);
	int64_t bad = numbers[n - 2];
	char *path = xstrdup(kit_segment(dir, bad)), *away = xasprintf("%s/quarantine", dir);
	struct journal *j;
	struct arena *a = arena_new();
	struct position *p;

	damage(path);
	CHECK_INT(journal_repair(dir, 0, &err), 1);
	CHECKF(strstr(err.text, path), "%s", err.text);
	CHECK_INT(segments(dir), n - 2);
	CHECK_INT(kit_files(away, ".db"), 2); /* nothing is deleted */
	j = kit_open(&(struct journal_options){.segment_size = 20000, .keep_s = 3600, .min_seq = 5000}, dir);
	CHECK_INT(journal_last_seq(j), bad - 1);
	CHECK(journal_positions(j, a, &p) > 0); /* from there the reader goes on */
	CHECK_INT(kit_read_after(j, 0, &err), 0);
	journal_close(j);
	arena_free(a);
	free(path);
	free(away);
	kit_clean();
}

/* Dies at each move into quarantine/ in turn; the next start always finds a journal and repairs the rest. */
TEST(R16_a_repair_that_dies_at_any_move_is_finished_by_the_next_start)
{
	bool died = true;

	for (int at = 1; died; at++) {
		const char *dir = make(20);
		int n = segments(dir), status;
		int64_t bad = numbers[n - 3];
		struct journal *j;
		char point[64];
		pid_t child;

		damage(kit_segment(dir, bad));
		snprintf(point, sizeof(point), "repair_moved:%d", at);
		if ((child = fork()) == 0) {
			setenv("CDC_CRASH", point, 1);
			_exit(journal_repair(dir, 0, &err) == 1 ? 0 : 1);
		}
		CHECK(waitpid(child, &status, 0) == child);
		died = WIFSIGNALED(status);
		CHECK(died ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
		CHECK(at > 1 || died);
		CHECKF(journal_repair(dir, 0, &err) >= 0, "%s", err.text);
		j = kit_open(
			&(struct journal_options){.segment_size = 20000, .keep_s = 3600, .min_seq = 5000},
			dir);
		CHECK_INT(journal_last_seq(j), bad - 1);
		kit_add(j, 21); /* a WAL left behind is not taken for a new file's */
		CHECK(kit_read_after(j, 0, &err) >= 0);
		journal_close(j);
		kit_clean();
	}
}

static bool exists(const char *dir, int64_t first, const char *suffix)
{
	AUTO_FREE char *path = xasprintf("%s%s", kit_segment(dir, first), suffix);

	return access(path, F_OK) == 0;
}

static void write_file(const char *dir, int64_t first, const char *suffix, const char *text)
{
	AUTO_FREE char *path = xasprintf("%s%s", kit_segment(dir, first), suffix);
	FILE *f = fopen(path, "w");

	CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void file_is(const char *dir, int64_t first, const char *suffix, const char *want)
{
	AUTO_FREE char *path = xasprintf("%s%s", kit_segment(dir, first), suffix);
	char text[64] = "";
	FILE *f = fopen(path, "r");

	CHECKF(f, "%s", path);
	CHECK(fgets(text, sizeof(text), f) || feof(f));
	fclose(f);
	CHECKF(STREQ(text, want), "%s: '%s', want '%s'", path, text, want);
}

/* A journal whose newest file is damaged for the second time: the first one and its WAL are put aside. */
static int64_t damaged_again(const char *dir)
{
	AUTO_FREE char *away = xasprintf("%s/quarantine", dir);
	int64_t bad = numbers[segments(dir) - 1];
	struct journal *j;

	damage(kit_segment(dir, bad));
	CHECK_INT(journal_repair(dir, 0, &err), 1);
	write_file(away, bad, "", "first");
	write_file(away, bad, "-wal", "first's");
	j = kit_open(&(struct journal_options){.segment_size = 20000, .keep_s = 3600}, dir);
	kit_add(j, 21);
	journal_close(j);
	CHECK(exists(dir, bad, "")); /* the same name */
	damage(kit_segment(dir, bad));
	write_file(dir, bad, "-shm", ""); /* a set of three, as a killed process leaves it */
	return bad;
}

TEST(R16_a_second_repair_keeps_apart_what_the_first_put_aside)
{
	const char *dir = make(20);
	AUTO_FREE char *away = xasprintf("%s/quarantine", dir);
	int64_t bad = damaged_again(dir);

	CHECK_INT(journal_repair(dir, 0, &err), 1);
	CHECK(!exists(dir, bad, "") && !exists(dir, bad, "-wal") && !exists(dir, bad, "-shm"));
	file_is(away, bad, "", "first");
	file_is(away, bad, "-wal", "first's");
	CHECK(exists(away, bad, ".1") && exists(away, bad, ".1-shm"));
	kit_clean();
}

TEST(R16_a_wal_alone_in_quarantine_does_not_get_another_database)
{
	const char *dir = make(20);
	AUTO_FREE char *away = xasprintf("%s/quarantine", dir);
	int64_t bad = numbers[segments(dir) - 1];

	CHECK(mkdir(away, 0750) == 0);
	write_file(away, bad, "-wal", "another's");
	damage(kit_segment(dir, bad));
	CHECK_INT(journal_repair(dir, 0, &err), 1);
	CHECK(exists(away, bad, ".1") && !exists(away, bad, ""));
	file_is(away, bad, "-wal", "another's");
	kit_clean();
}

TEST(R16_a_second_repair_that_dies_at_any_move_is_finished_by_the_next_start)
{
	bool died = true;

	for (int at = 1; died; at++) {
		const char *dir = make(20);
		AUTO_FREE char *away = xasprintf("%s/quarantine", dir);
		int64_t bad = damaged_again(dir);
		struct journal *j;
		char point[64];
		int status;
		pid_t child;

		snprintf(point, sizeof(point), "repair_moved:%d", at);
		if ((child = fork()) == 0) {
			setenv("CDC_CRASH", point, 1);
			_exit(journal_repair(dir, 0, &err) == 1 ? 0 : 1);
		}
		CHECK(waitpid(child, &status, 0) == child);
		died = WIFSIGNALED(status);
		CHECK(died ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
		CHECK(at > 1 || died);
		CHECKF(journal_repair(dir, 0, &err) >= 0, "%s", err.text);
		file_is(away, bad, "", "first");
		file_is(away, bad, "-wal", "first's");
		CHECK(exists(away, bad, ".1"));
		j = kit_open(&(struct journal_options){.segment_size = 20000, .keep_s = 3600}, dir);
		CHECK_INT(journal_last_seq(j), bad - 1);
		kit_add(j, 22);
		CHECK(kit_read_after(j, 0, &err) >= 0);
		journal_close(j);
		kit_clean();
	}
}

TEST(R16_a_file_that_is_missing_in_the_middle_is_read_again_with_all_after_it)
{
	const char *dir = make(20);
	int n = segments(dir);
	int64_t bad = numbers[n - 3];
	struct journal *j;

	unlink(kit_segment(dir, bad));
	CHECK_INT(journal_repair(dir, 0, &err), 1);
	CHECKF(strstr(err.text, "gone"), "%s", err.text);
	CHECK_INT(segments(dir), n - 3);
	j = kit_open(&(struct journal_options){.segment_size = 20000, .keep_s = 3600, .min_seq = 5000}, dir);
	CHECK_INT(journal_last_seq(j), bad - 1);
	CHECK_INT(kit_read_after(j, 0, &err), 0);
	kit_add(j, 21); /* numbers leap here (R13); that is no gap */
	CHECKF(kit_read_after(j, 0, &err) >= 0, "%s", err.text);
	journal_close(j);
	CHECKF(journal_repair(dir, 0, &err) == 0, "%s", err.text);
	kit_clean();
}

TEST(R16_a_first_file_that_is_missing_is_told_and_one_that_is_applied_is_nobodys_trouble)
{
	const char *dir = make(20);
	int n = segments(dir);

	unlink(kit_segment(dir, numbers[0]));
	CHECK_INT(journal_repair(dir, 0, &err), -ERR_JOURNAL_BAD);
	CHECK_INT(segments(dir), n - 1);
	CHECK_INT(journal_repair(dir, numbers[0] - 1, &err), 0);
	CHECK_INT(segments(dir), n - 1);
	kit_clean();
}

TEST(R16_damage_that_is_applied_already_is_nobodys_trouble)
{
	const char *dir = make(20);
	int n = segments(dir);
	char *path = xstrdup(kit_segment(dir, numbers[0]));

	damage(path);
	CHECK_INT(journal_repair(dir, numbers[1] - 1, &err), 0);
	CHECK_INT(segments(dir), n);
	free(path);
	kit_clean();
}

TEST(R16_without_a_whole_file_before_it_the_damage_is_told_and_nothing_is_moved)
{
	const char *dir = make(20);
	int n = segments(dir);
	char *path = xstrdup(kit_segment(dir, numbers[0]));

	damage(path);
	CHECK_INT(journal_repair(dir, 0, &err), -ERR_JOURNAL_BAD);
	CHECKF(strstr(err.text, "make the task anew"), "%s", err.text);
	CHECK_INT(segments(dir), n);
	free(path);
	kit_clean();
}

TEST(R16_the_newest_file_may_be_damaged_or_cut_off)
{
	for (int truncated = 0; truncated < 2; truncated++) {
		const char *dir = make(20);
		int n = segments(dir);
		char *path = xstrdup(kit_segment(dir, numbers[n - 1]));

		if (truncated)
			CHECK(truncate(path, 30000) == 0);
		else
			damage(path);
		CHECK_INT(journal_repair(dir, 0, &err), 1);
		CHECK_INT(segments(dir), n - 1);
		CHECK_INT(journal_repair(dir, 0, &err), 0);
		free(path);
		kit_clean();
	}
}

TEST(R16_the_first_file_is_short_so_that_there_is_one_to_go_back_to)
{
	const char *dir = kit_dir();
	struct journal *j = kit_open(&(struct journal_options){.segment_size = 1 << 20, .keep_s = 3600}, dir);

	for (int k = 1; k <= 3; k++)
		kit_add(j, k);
	CHECK_INT(kit_check_head(j), 3);
	CHECK_INT(kit_read_after(j, 0, &err), 0);
	journal_close(j);
	CHECK_INT(segments(dir), 2);
	kit_clean();
}

TEST_MAIN()
