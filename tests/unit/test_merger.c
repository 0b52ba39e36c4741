/* SPDX-License-Identifier: Apache-2.0 */
/* The merger: total order (R12), whose ticks count (R5), cuts that wait (R2), back-pressure (R10). */
#include "../../src/data/merger.h"
#include "../t.h"

static struct merger m;

static int join(const char *name, cdc_ts ts, bool ticking)
{
	struct position pos = {.ts = ts};

	snprintf(pos.pchannel, sizeof(pos.pchannel), "%s", name);
	return merger_join(&m, &pos, ticking);
}

static void feed(int ch, enum kind kind, cdc_ts ts, uint64_t offset, uint64_t msg_id, size_t size)
{
	struct record r = {.kind = kind,
			   .ts = ts,
			   .pchannel = ch,
			   .id = {0, offset},
			   .msg_id = msg_id,
			   .body = (const uint8_t *)"x",
			   .size = size,
			   .rows = 1};

	if (size > 1) { /* the guard hashes the body of ticks only */
		static uint8_t zeros[1 << 16];

		r.body = zeros;
	}
	cutter_feed(&m.channels[ch].cutter, &r);
}

static void reset(void)
{
	merger_done(&m);
	merger_init(&m);
}

TEST(watermark_is_the_lowest_tick_of_those_that_count)
{
	int a, b, r;

	reset();
	CHECK_INT(merger_watermark(&m), 0);
	a = join("dml_0", 10, true);
	b = join("dml_1", 10, true);
	r = join("replicate", 10, false);
	feed(a, KIND_TICK, 50, 0, 0, 1);
	CHECK_INT(merger_watermark(&m), 10);
	feed(b, KIND_TICK, 40, 0, 0, 1);
	CHECK_INT(merger_watermark(&m), 40);
	(void)r;                     /* R8: a topic without ticks does not hold the watermark */
	m.channels[b].closed = true; /* R5: nor does one that is closed */
	CHECK_INT(merger_watermark(&m), 50);
	CHECK_INT(merger_live(&m), 1);
}

TEST(R12_total_order_is_ts_then_delete_before_insert_then_pchannel_then_offset)
{
	const struct record *const *order;
	cdc_ts w = 100;
	size_t dups;
	int b, a;

	reset();
	b = join("dml_1", 0, true); /* slot order is the reverse of name order */
	a = join("dml_0", 0, true);
	feed(b, KIND_INSERT, 50, 1, 1, 1);
	feed(a, KIND_INSERT, 50, 9, 2, 1);
	feed(a, KIND_DELETE, 50, 10, 3, 1); /* an upsert: the delete follows on the wire */
	feed(b, KIND_INSERT, 40, 2, 4, 1);
	feed(b, KIND_DROP_PARTITION, 50, 3, 0, 1);
	CHECK_INT(merger_collect(&m, &w, 1 << 20, &order, &dups), 5);
	CHECK_INT(order[0]->ts, 40);
	CHECK_INT(order[1]->kind, KIND_DELETE);
	CHECK_INT(order[2]->pchannel, a);
	CHECK_INT(order[3]->pchannel, b);
	CHECK_INT(order[4]->kind, KIND_DROP_PARTITION);
}

TEST(R2_collecting_twice_gives_the_same_until_the_cut_is_done)
{
	const struct record *const *order;
	size_t dups;
	cdc_ts w;
	int a;

	reset();
	a = join("dml_0", 0, true);
	feed(a, KIND_INSERT, 10, 0, 1, 1);
	feed(a, KIND_INSERT, 20, 1, 2, 1);
	for (int i = 0; i < 3; i++) {
		w = 15;
		CHECK_INT(merger_collect(&m, &w, 1 << 20, &order, &dups), 1);
	}
	merger_cut(&m, 15);
	w = 15;
	CHECK_INT(merger_collect(&m, &w, 1 << 20, &order, &dups), 0);
	w = 20;
	CHECK_INT(merger_collect(&m, &w, 1 << 20, &order, &dups), 1);
}

TEST(a_limited_cut_ends_between_timestamps)
{
	const struct record *const *order;
	cdc_ts w = 100;
	size_t dups;
	int a;

	reset();
	a = join("dml_0", 0, true);
	feed(a, KIND_INSERT, 10, 0, 1, 600);
	feed(a, KIND_INSERT, 10, 1, 2, 600); /* one transaction in three records */
	feed(a, KIND_INSERT, 10, 2, 3, 600);
	feed(a, KIND_INSERT, 11, 3, 4, 600);
	CHECK_INT(merger_collect(&m, &w, 1000, &order, &dups), 3);
	CHECK_INT(w, 10);
	merger_cut(&m, w);
	w = 100;
	CHECK_INT(merger_collect(&m, &w, 1000, &order, &dups), 1);
	CHECK_INT(w, 100);
}

TEST(a_producers_retry_is_left_out)
{
	const struct record *const *order;
	cdc_ts w = 100;
	size_t dups;
	int a, b;

	reset();
	a = join("dml_0", 0, true);
	b = join("dml_1", 0, true);
	feed(a, KIND_INSERT, 10, 0, 7, 1);
	feed(a, KIND_INSERT, 10, 1, 7, 1); /* the same message appended twice */
	feed(b, KIND_INSERT, 10, 0, 7, 1); /* another pchannel: another message */
	feed(a, KIND_DELETE, 10, 2, 7, 1); /* another kind */
	CHECK_INT(merger_collect(&m, &w, 1 << 20, &order, &dups), 3);
	CHECK_INT(dups, 1);
}

TEST(R10_only_a_pchannel_ahead_of_the_watermark_waits)
{
	int a, b;

	reset();
	a = join("dml_0", 0, true);
	b = join("dml_1", 0, true);
	feed(a, KIND_INSERT, 60, 0, 1, 5000);
	feed(a, KIND_TICK, 70, 1, 0, 1);
	feed(b, KIND_INSERT, 60, 0, 2, 5000); /* the laggard holds more than the limit, too */
	CHECK(merger_should_pause(&m, a, 4000));
	CHECK(!merger_should_pause(&m, b, 4000));
	m.channels[a].paused = true;
	feed(b, KIND_TICK, 80, 1, 0, 1);
	CHECK(!merger_should_pause(&m, a, 4000)); /* now a is the laggard */
}

TEST(slots_are_reused_and_joins_find_what_is_there)
{
	int a, b;

	reset();
	a = join("dml_0", 5, true);
	b = join("dml_1", 5, true);
	CHECK_INT(join("dml_0", 99, true), a);
	merger_leave(&m, a);
	CHECK_INT(merger_find(&m, "dml_0"), -1);
	CHECK_INT(join("dml_2", 5, true), a);
	CHECK_INT(merger_find(&m, "dml_1"), b);
}

TEST_MAIN()
