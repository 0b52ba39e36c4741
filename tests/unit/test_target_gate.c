/* SPDX-License-Identifier: Apache-2.0 */
/* One clock of ticks a target: R21 (never at or below a tick), R22 (least mark of all that feed it). */
#include "../../src/data/target_gate.h"
#include "../t.h"

TEST(R22_the_tick_is_the_least_mark_of_all_active_tasks)
{
	struct gate_member *a = gate_join("t1:1", "a", 0), *b = gate_join("t1:1", "b", 0);

	gate_activate(a, 100);
	gate_activate(b, 50);
	CHECK_INT(gate_mark(a, 120), 50);
	CHECK_INT(gate_mark(b, 110), 110);
	CHECK_INT(gate_mark(b, 130), 120);
	gate_leave(a);
	gate_leave(b);
}

TEST(R22_a_task_that_catches_up_holds_its_neighbours_back_for_a_window_only)
{
	cdc_ts hour = ts_from_ms(3600000), now = 10 * hour, floor;
	struct gate_member *a = gate_join("t10:1", "a", 0), *b = gate_join("t10:1", "b", 0);

	gate_activate(a, now);
	CHECK_INT(gate_mark(a, now), now);
	gate_activate(b, now - 5 * hour); /* a window in doubt of before: nobody may tick above it */
	CHECK_INT(gate_mark(a, now + 10), now - 5 * hour);
	CHECK_INT(gate_enter(b, now - 5 * hour), now + 10); /* the next one: above all that a has marked */
	CHECK_INT(gate_mark(a, now + 20), now + 10);
	floor = gate_floor(b, now + 12); /* it has marked rows that went out up to there: it is level */
	CHECK_INT(floor, now + 12);
	CHECK_INT(gate_mark(b, now + 12), now + 12);
	CHECK(gate_mark(a, now + ts_from_ms(4000)) == now + 12);
	CHECK_INT(gate_floor(b, now + 12), now + ts_from_ms(4000));
	gate_leave(a);
	gate_leave(b);
}

TEST(R22_a_resting_task_holds_nobody_back)
{
	struct gate_member *a = gate_join("t2:1", "a", 0), *b = gate_join("t2:1", "b", 0);

	gate_activate(a, 100);
	gate_activate(b, 50);
	gate_deactivate(b);
	CHECK_INT(gate_mark(a, 120), 120);
	gate_leave(a);
	gate_leave(b);
}

TEST(R21_a_task_that_comes_back_stays_above_every_tick)
{
	struct gate_member *a = gate_join("t3:1", "a", 0), *b = gate_join("t3:1", "b", 0);

	gate_activate(a, 100);
	CHECK_INT(gate_mark(a, 200), 200);
	CHECK_INT(gate_enter(b, 50), 200); /* restamp floor */
	CHECK_INT(gate_mark(a, 300), 200); /* held back at b's floor until b has marked */
	CHECK_INT(gate_mark(b, 250), 250);
	gate_leave(a);
	gate_leave(b);
}

TEST(R21_the_bound_survives_the_task_that_ticked)
{
	struct gate_member *a = gate_join("t4:1", "a", 0), *b;

	gate_activate(a, 100);
	gate_mark(a, 500);
	gate_leave(a);
	b = gate_join("t4:1", "b", 0);
	CHECK_INT(gate_enter(b, 1), 500);
	gate_leave(b);
}

TEST(R21_a_durable_floor_from_an_earlier_life_counts)
{
	struct gate_member *a = gate_join("t5:1", "a", 700);

	CHECK_INT(gate_enter(a, 100), 700);
	CHECK_INT(gate_bound(a), 700);
	gate_leave(a);
}

TEST(R21_what_another_daemon_has_ticked_raises_new_windows_and_no_tick)
{
	struct gate_member *a = gate_join("t9:1", "a", 0), *b;

	gate_activate(a, 90); /* a window in doubt above 90 */
	gate_raise("t9:1", 700);
	CHECK_INT(gate_bound(a), 700);
	CHECK_INT(gate_mark(a, 95), 95);
	CHECK_INT(gate_enter(a, 95), 700);
	gate_raise("t9:1", 600);
	gate_raise("t9:2", 800);
	b = gate_join("t9:1", "b", 0);
	CHECK_INT(gate_enter(b, 10), 700);
	gate_leave(a);
	gate_leave(b);
	a = gate_join("t9:2", "a", 0);
	CHECK_INT(gate_enter(a, 10), 800);
	gate_leave(a);
}

TEST(J6_a_window_in_doubt_is_never_ticked_over_by_a_neighbours_bound)
{
	/* a repeats a window above 90; b comes with a bound of 110 from before the restart */
	struct gate_member *a = gate_join("t6:1", "a", 90), *b;

	gate_activate(a, 90);
	b = gate_join("t6:1", "b", 110);
	gate_activate(b, 110);
	CHECK_INT(gate_mark(b, 110), 90); /* not 110: a's rows are not marked yet */
	CHECK_INT(gate_mark(a, 105), 105);
	gate_leave(a);
	gate_leave(b);
}

TEST(J6_a_floor_is_not_below_what_the_member_has_promised)
{
	/* a was level up to 200 while b lags at 90; then a replays older rows of a hold */
	struct gate_member *a = gate_join("t8:1", "a", 0), *b = gate_join("t8:1", "b", 0);
	cdc_ts floor;

	gate_activate(b, 90);
	gate_activate(a, 80);
	CHECK_INT(gate_mark(a, 200), 90);
	floor = gate_enter(a, 80);
	/* b may catch up now, and its tick must not be at or above a row that a has in doubt */
	CHECK(gate_mark(b, 300) <= floor);
	gate_leave(a);
	gate_leave(b);
}

TEST(targets_do_not_share_a_clock)
{
	struct gate_member *a = gate_join("t7:1", "a", 0), *b = gate_join("t7:2", "b", 0);

	gate_activate(a, 100);
	gate_activate(b, 10);
	CHECK_INT(gate_mark(a, 100), 100);
	CHECK_INT(gate_bound(b), 0);
	gate_leave(a);
	gate_leave(b);
}

TEST_MAIN()
