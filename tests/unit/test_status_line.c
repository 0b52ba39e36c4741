/* SPDX-License-Identifier: Apache-2.0 */
/* The line that systemctl status shows, and the room that it tells of. */
#include "../t.h"

#include "../../src/control/level.h"
#include "../../src/control/room.h"
#include "../../src/control/status_line.h"

#define MB 1000000LL
#define HOUR 3600000LL

static const char *line(const struct tasks_summary *s)
{
	static struct buf b;

	buf_reset(&b);
	status_line(&b, s);
	return (const char *)b.data;
}

TEST(running_and_held_tasks_lag_journal_and_room_are_told)
{
	struct tasks_summary s = {.source = true,
				  .total = 3,
				  .running = 3,
				  .flowing = 2,
				  .held = 1,
				  .lag_ms = 412,
				  .journal_bytes = 412 * MB,
				  .room_ms = 31 * HOUR,
				  .reason = "t1: the target refuses"};

	CHECK_STR(line(&s), "2 tasks running, 1 held; lag 0.4 s; journal 412 MB, room for 31 h; "
			    "t1: the target refuses");
}

TEST(one_is_not_many_and_what_is_not_known_is_not_told)
{
	struct tasks_summary s = {.source = true,
				  .total = 1,
				  .paused = 1,
				  .resting = 1,
				  .journal_bytes = 1999,
				  .room_ms = ROOM_UNKNOWN};

	CHECK_STR(line(&s), "1 task paused; journal 1 kB");
}

TEST(no_source_and_no_task_are_said)
{
	struct tasks_summary s = {.room_ms = ROOM_UNKNOWN};

	CHECK_STR(line(&s), "no source configured; no tasks");
}

TEST(a_reason_never_breaks_the_line)
{
	struct tasks_summary s = {
		.source = true, .total = 1, .held = 1, .room_ms = 0, .reason = "a\nREADY=1"};

	CHECK_STR(line(&s), "1 task held; journal 0 kB, room for 0 s; a READY=1");
}

TEST(room_is_what_is_left_by_the_rate_of_growth)
{
	CHECK_INT(room_ms(2.0, 1000), 500);
	CHECK_INT(room_ms(0.0, 1000), ROOM_UNKNOWN);
	CHECK_INT(room_ms(5.0, 0), 0);
	CHECK_INT(room_ms(5.0, -7), 0);
	CHECK_INT(room_ms(0.000001, 1LL << 50), ROOM_UNKNOWN); /* longer than a year */
}

TEST(removed_files_do_not_count_as_shrinking_and_the_rate_follows)
{
	struct room r = {0};
	int64_t now = 1000, bytes = 50 * MB;

	for (int i = 0; i < 400; i++, now += 10000)
		room_sample(&r, now, bytes += MB); /* 0.1 MB a second */
	CHECKF(r.rate > 98 && r.rate < 102, "%f", r.rate);
	room_sample(&r, now, bytes / 2);
	CHECKF(r.rate > 90, "%f", r.rate);
	for (int i = 0; i < 400; i++)
		room_sample(&r, now += 10000, bytes / 2);
	CHECKF(r.rate < 1, "%f", r.rate);
}

TEST(the_rate_is_right_from_the_first_seconds_on)
{
	struct room r = {0};

	room_sample(&r, 1000, 10 * MB);
	room_sample(&r, 6000, 60 * MB); /* 10 MB a second */
	CHECKF(r.rate > 9999 && r.rate < 10001, "%f", r.rate);
	room_sample(&r, 11000, 60 * MB);
	CHECKF(r.rate > 4900 && r.rate < 5100, "%f", r.rate);
}

TEST(a_task_that_was_far_behind_is_level_once)
{
	struct level l = {0};

	CHECK_INT(level_look(&l, 1000000, 6000), 0);
	CHECK_INT(level_look(&l, 1001000, 400), 0); /* was never far behind */
	CHECK_INT(level_look(&l, 1002000, 42000), 0);
	CHECK_INT(level_look(&l, 1003000, -1), 0); /* not known */
	CHECK_INT(level_look(&l, 1004000, 7000), 0);
	CHECK_INT(level_look(&l, 1005000, 1000), 45000);
	CHECK_INT(level_look(&l, 1006000, 1000), 0);
}

TEST(looks_in_a_row_do_not_make_a_rate)
{
	struct room r = {0};

	room_sample(&r, 1000, 0);
	room_sample(&r, 1001, 500 * MB);
	CHECK(r.rate == 0);
}

TEST_MAIN()
