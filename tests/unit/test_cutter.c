/* SPDX-License-Identifier: Apache-2.0 */
/* The cutter: what is kept, what a tick promises, where reading goes on (R1). */
#include "../../src/data/cutter.h"
#include "../t.h"

static int released;

static void count_release(void *handle)
{
	(void)handle;
	released++;
}

static struct record rec(enum kind kind, cdc_ts ts, uint64_t offset)
{
	return (struct record){.kind = kind,
			       .ts = ts,
			       .id = {0, offset},
			       .body = (const uint8_t *)"body",
			       .size = 4,
			       .rows = 1,
			       .handle = &released,
			       .release = count_release};
}

static void feed(struct cutter *c, enum kind kind, cdc_ts ts, uint64_t offset)
{
	struct record r = rec(kind, ts, offset);

	cutter_feed(c, &r);
}

static struct cutter start(cdc_ts ts, uint64_t offset)
{
	struct position pos = {.pchannel = "dml_0", .next = {0, offset}, .ts = ts};
	struct cutter c;

	released = 0;
	cutter_init(&c, &pos, true);
	return c;
}

TEST(R1_position_is_the_first_record_above_the_watermark)
{
	struct cutter c = start(0, 10);
	struct position pos;

	feed(&c, KIND_INSERT, 100, 10);
	feed(&c, KIND_INSERT, 130, 11); /* before tick 120 with a greater timestamp */
	feed(&c, KIND_TICK, 120, 12);
	feed(&c, KIND_INSERT, 125, 13);
	feed(&c, KIND_TICK, 140, 14);
	cutter_position(&c, 120, &pos);
	CHECK_INT(pos.next.lo, 11);
	CHECK_INT(pos.ts, 120);
	cutter_position(&c, 127, &pos); /* 130 at 11 is still the first that is above */
	CHECK_INT(pos.next.lo, 11);
	cutter_done(&c);
}

TEST(R1_position_without_kept_records_is_the_next_message)
{
	struct cutter c = start(0, 10);
	struct position pos;

	feed(&c, KIND_INSERT, 100, 10);
	feed(&c, KIND_TICK, 120, 12);
	cutter_position(&c, 120, &pos);
	CHECK_INT(pos.next.lo, 13);
	cutter_done(&c);
}

TEST(R1_position_is_not_after_a_tick_above_the_watermark)
{
	struct cutter c = start(0, 10);
	struct position pos;

	feed(&c, KIND_INSERT, 100, 10);
	feed(&c, KIND_TICK, 120, 11);
	feed(&c, KIND_INSERT, 150, 12);
	feed(&c, KIND_TICK, 140, 13);
	cutter_position(&c, 110, &pos); /* another pchannel is behind; this one may never tick again */
	CHECK_INT(pos.next.lo, 12);
	cutter_cut(&c, 110);
	cutter_position(&c, 145, &pos); /* closed (R5): nothing but the row is above it */
	CHECK_INT(pos.next.lo, 12);
	cutter_done(&c);
	c = start(0, 10);
	feed(&c, KIND_INSERT, 100, 10);
	feed(&c, KIND_TICK, 120, 11);
	feed(&c, KIND_OTHER, 121, 12);
	cutter_position(&c, 110, &pos);
	CHECK_INT(pos.next.lo, 11);
	cutter_done(&c);
}

TEST(R1_resuming_at_a_position_gives_exactly_what_an_uninterrupted_run_gives)
{
	/* offsets 0..9; timestamps out of order between ticks */
	static const struct {
		enum kind kind;
		cdc_ts ts;
	} log[] = {{KIND_INSERT, 105}, {KIND_INSERT, 101}, {KIND_TICK, 100}, {KIND_INSERT, 103},
		   {KIND_TICK, 102},   {KIND_INSERT, 110}, {KIND_TICK, 106}, {KIND_INSERT, 108},
		   {KIND_TICK, 109},   {KIND_TICK, 120}};

	for (cdc_ts w = 100; w <= 109; w++) {
		struct cutter whole = start(0, 0), again;
		struct position pos;
		int before = 0, after = 0, all = 0;

		for (size_t i = 0; i < sizeof(log) / sizeof(*log); i++) {
			feed(&whole, log[i].kind, log[i].ts, i);
			all += log[i].kind == KIND_INSERT;
			if (whole.tick >= w)
				break;
		}
		cutter_position(&whole, w, &pos);
		for (size_t i = 0; i < whole.kept_count; i++)
			before += whole.kept[i].ts <= w;
		again = start(w, pos.next.lo);
		for (size_t i = pos.next.lo; i < sizeof(log) / sizeof(*log); i++)
			feed(&again, log[i].kind, log[i].ts, i);
		after = (int)again.kept_count;
		CHECKF(before + after == 5, "w=%d: %d before, %d after", (int)w, before, after);
		cutter_done(&whole);
		cutter_done(&again);
		(void)all;
	}
}

TEST(ticks_never_move_back_and_are_not_kept)
{
	struct cutter c = start(50, 0);

	feed(&c, KIND_TICK, 70, 0);
	feed(&c, KIND_TICK, 60, 1);
	CHECK_INT(c.tick, 70);
	CHECK_INT(c.kept_count, 0);
	CHECK_INT(released, 2);
	cutter_done(&c);
}

TEST(records_at_or_below_the_start_are_discarded)
{
	struct cutter c = start(100, 0);

	feed(&c, KIND_INSERT, 100, 0);
	feed(&c, KIND_INSERT, 101, 1);
	CHECK_INT(c.kept_count, 1);
	CHECK_INT(c.discarded, 1);
	cutter_done(&c);
}

TEST(a_cut_releases_what_it_took_and_nothing_else)
{
	struct cutter c = start(0, 0);

	feed(&c, KIND_INSERT, 10, 0);
	feed(&c, KIND_INSERT, 30, 1);
	feed(&c, KIND_INSERT, 20, 2);
	cutter_cut(&c, 20);
	CHECK_INT(released, 2);
	CHECK_INT(c.kept_count, 1);
	CHECK_INT(c.kept[0].ts, 30);
	CHECK_INT(c.bytes, 4);
	cutter_done(&c);
	CHECK_INT(released, 3);
}

TEST(R8_a_topic_without_ticks_keeps_late_messages)
{
	struct position pos = {.pchannel = "replicate", .ts = 100};
	struct cutter c;

	released = 0;
	cutter_init(&c, &pos, false);
	feed(&c, KIND_FLUSH, 40, 0);
	CHECK_INT(c.kept_count, 1);
	cutter_cut(&c, 120);
	feed(&c, KIND_FLUSH, 50, 1); /* after the cut, timestamp below it */
	CHECK_INT(c.kept_count, 1);
	cutter_done(&c);
}

TEST(R11_the_guard_is_the_last_message_that_was_consumed)
{
	struct cutter c = start(0, 5);
	struct position pos;

	feed(&c, KIND_TICK, 70, 5);
	feed(&c, KIND_INSERT, 80, 6);
	cutter_position(&c, 70, &pos);
	CHECK(pos.guard.set);
	CHECK_INT(pos.guard.id.lo, 5);
	CHECK(pos.guard.hash == hash64(0, "body", 4));
	cutter_done(&c);
}

TEST_MAIN()
