/* SPDX-License-Identifier: Apache-2.0 */
/* The reader's limits: memory (R10), disk (J8), syncs (R17); and the advisory topic (R8). */
#include "reader_kit.h"

#include "../fault/fault_vfs.h"

static struct rig *plain(void)
{
	struct rig *g = rig_new();

	broker_topic(g->broker, REPLICATE);
	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_tick_all(g, T(0));
	return g;
}

TEST(R8_a_late_flush_goes_into_the_next_cut_first_and_in_order)
{
	struct rig *g = plain();

	rig_start(g);
	rig_insert(g, 100, 0, T(10));
	rig_flush(g, "a", T(15), false);
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	rig_journal_is(g, T(0), "insert a@10, flush a@15");
	rig_flush(g, "a", T(18), false); /* late: at or below the cut */
	rig_flush(g, "a", T(35), false);
	rig_insert(g, 100, 0, T(30));
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	rig_journal_is(g, T(0), "insert a@10, flush a@15, flush a@20+1, insert a@30, flush a@35");
	rig_done(g);
}

/* A flush of "a" with `pad` bytes more. */
static void fat_flush(struct rig *g, cdc_ts ts, size_t pad)
{
	AUTO_BUF struct buf b = {0};
	AUTO_FREE uint8_t *junk = xcalloc(1, pad);

	rig_base(g, &b, 402, ts, false);
	pb_put_string(&b, 3, "a");
	pb_put_bytes(&b, 50, junk, pad);
	rig_send(g, REPLICATE, &b, ts);
}

TEST(R8_more_late_messages_than_fit_a_cut_do_not_hold_it)
{
	struct rig *g = plain();

	rig_start(g);
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	for (int i = 0; i < 4; i++) /* below the last cut, twice of what a cut takes */
		fat_flush(g, T(11 + i), CUT_BYTES / 2);
	rig_insert(g, 100, 0, T(30));
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	rig_journal_is(g, T(0), "flush a@20+1, flush a@20+1, flush a@20+1, flush a@20+1, insert a@30");
	for (int i = 0; i < 4; i++)
		fat_flush(g, T(31 + i), CUT_BYTES / 2);
	rig_tick_all(g, T(40) + 1); /* one step: nothing above it may be cut yet */
	rig_run(g, T(40) + 1);
	CHECK_INT(g->r->prev, T(40) + 1);
	rig_insert(g, 100, 0, T(40) + 2);
	rig_tick_all(g, T(50));
	rig_run(g, T(50));
	rig_journal_is(g, T(40), "flush a@40+1, flush a@40+1, flush a@40+1, flush a@40+1, insert a@40+2");
	rig_done(g);
}

TEST(R8_operations_that_a_cdc_writer_made_are_left_out)
{
	struct rig *g = plain();

	rig_start(g);
	rig_flush(g, "a", T(15), true);
	rig_flush(g, "unknown", T(16), false);
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	rig_journal_is(g, T(0), "");
	rig_done(g);
}

TEST(R8_a_flush_above_the_watermark_out_of_order_is_not_doubled_by_a_restart)
{
	struct rig *g = plain();

	rig_start(g);
	rig_flush(g, "a", T(35), false);
	rig_flush(g, "a", T(15), false); /* behind one that stays for the next cut */
	rig_insert(g, 100, 0, T(10));
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	rig_kill(g);
	rig_insert(g, 100, 0, T(30));
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	rig_journal_is(g, T(0), "insert a@10, insert a@30, flush a@35, flush a@35");
	rig_done(g);
}

TEST(R9_a_flush_by_name_is_of_the_collection_that_had_the_name_then)
{
	struct rig *g = plain();
	AUTO(arena_free) struct arena *a = arena_new();
	AUTO(journal_cursor_close) struct journal_cursor *c = NULL;
	struct journal_batch b;

	rig_start(g);
	rig_flush(g, "a", T(10), false);
	rig_drop(g, 100, T(20));
	rig_create(g, 200, "a", T(30), "dml_0", NULL);
	rig_flush(g, "a", T(40), false);
	rig_tick_all(g, T(50));
	rig_run(g, T(50));
	rig_journal_is(g, T(0), "flush a@10, drop collection a@20, create collection a@30, flush a@40");
	CHECK(journal_cursor_open(&c, g->j, &g->err) == 0);
	CHECK(journal_read(c, -1, 1 << 20, 100, a, &b, &g->err) == 0);
	CHECK_INT(b.entries[1].collection_id, 100);
	CHECK_INT(b.entries[4].collection_id, 200);
	journal_cursor_close(TAKE(c));
	rig_done(g);
}

TEST(R10_a_fast_pchannel_is_paused_the_laggard_never_and_memory_is_bounded)
{
	struct rig *g = plain();
	size_t most = 0, batch = 4 * 1100;
	struct reader_stat st;

	g->conf->source.read_buffer = 64 << 10;
	g->broker->read_max = 4;
	rig_start(g);
	for (int i = 0; i < 1000; i++) { /* 1 MB on dml_0, ticking happily */
		rig_data(g, KIND_INSERT, 100, 0, 0, T(10 + i), 1, 1000);
		if (i % 10 == 9)
			rig_tick(g, "dml_0", T(10 + i));
	}
	for (int i = 0; i < 100; i++) { /* dml_1 is silent */
		rig_steps(g, 20);
		reader_stat(g->r, &st);
		if (st.buffered > most)
			most = st.buffered;
		CHECK(!source_script_paused(g->r->source, "dml_1"));
	}
	CHECKF(most <= (64 << 10) + batch, "%zu bytes", most);
	CHECK(most > 32 << 10); /* it was used */
	CHECK(source_script_paused(g->r->source, "dml_0"));
	for (int i = 0; i < 1000; i += 10) /* the laggard comes after */
		rig_tick(g, "dml_1", T(10 + i));
	rig_tick_all(g, T(2000));
	for (int i = 0; g->r->prev < T(2000); i++) {
		CHECKF(i < 5000, "stuck at %lld", (long long)(ts_ms(g->r->prev) - ORIGIN_MS));
		rig_steps(g, 1);
		reader_stat(g->r, &st);
		CHECKF(st.buffered <= (64 << 10) + batch, "%zu bytes", st.buffered);
	}
	CHECK(!source_script_paused(g->r->source, "dml_0"));
	reader_stat(g->r, &st);
	CHECK_INT(st.buffered, 0);
	journal_stat(g->j, &(struct journal_stat){0});
	CHECK_INT(journal_last_seq(g->j), 1001); /* nothing lost or repeated by pausing */
	rig_done(g);
}

TEST(R10_the_laggard_goes_beyond_the_limit_up_to_its_next_tick)
{
	struct rig *g = plain();

	g->conf->source.read_buffer = 16 << 10;
	g->broker->read_max = 4;
	rig_start(g);
	for (int i = 0; i < 100; i++) /* 100 KB before a tick: no cut without reading them all */
		rig_data(g, KIND_INSERT, 100, 0, 0, T(10), 1, 1000);
	rig_tick(g, "dml_0", T(20));
	rig_tick(g, "dml_1", T(20));
	rig_run(g, T(20));
	CHECK_INT(journal_last_seq(g->j), 101);
	rig_done(g);
}

TEST(R17_empty_cuts_cost_no_sync)
{
	struct rig *g = plain();
	int syncs;

	g->options.vfs = fault_vfs();
	rig_start(g);
	rig_insert(g, 100, 0, T(10));
	rig_tick_all(g, T(20));
	fault_arm(FAULT_SYNC, 1 << 30, false);
	rig_run(g, T(20));
	syncs = fault_calls();
	fault_disarm();
	CHECK(syncs > 0); /* rows do: the count counts */
	fault_arm(FAULT_SYNC, 1 << 30, false);
	for (int i = 1; i <= 50; i++) {
		rig_tick_all(g, T(20 + i));
		rig_run(g, T(20 + i));
	}
	syncs = fault_calls();
	fault_disarm();
	CHECK_INT(syncs, 0);
	CHECK_INT(journal_watermark(g->j), T(70));
	rig_kill(g); /* and what they said is not needed: nothing at or below comes again */
	rig_insert(g, 100, 0, T(80));
	rig_tick_all(g, T(90));
	rig_run(g, T(90));
	rig_journal_is(g, T(0), "insert a@10, insert a@80");
	rig_done(g);
}

TEST(J8_a_full_journal_makes_reading_wait_until_there_is_room_again)
{
	struct rig *g = plain();
	char *text;
	int rc = 0, reads, n = 0;

	g->options.segment_size = 64 << 10;
	g->options.max_size = 1 << 20;
	rig_start(g);
	for (int i = 0; i < 100; i++) {
		rig_data(g, KIND_INSERT, 100, 0, 0, T(10 * i + 1), 1, 20000);
		rig_tick_all(g, T(10 * i + 5));
	}
	g->broker->read_max = 3;
	while (rc >= 0 && n++ < 2000)
		rc = rig_step(g);
	CHECK_INT(rc, -ERR_JOURNAL_FULL);
	reads = g->broker->reads;
	for (int i = 0; i < 50; i++)
		CHECK_INT(rig_step(g), -ERR_JOURNAL_FULL);
	CHECK_INT(g->broker->reads, reads);
	CHECK(g->r->prev < T(990));
	for (n = 0; g->r->prev < T(995); n++) { /* an applier follows */
		CHECK(n < 3000);
		reader_applied(g->r, journal_last_seq(g->j));
		rc = rig_step(g);
		CHECKF(rc >= 0 || rc == -ERR_JOURNAL_FULL, "%s", g->err.text);
	}
	CHECK_INT(journal_last_seq(g->j), 101);
	text = xstrdup(rig_tell(g, T(980), false));
	CHECK_STR(text, "insert a@981, insert a@991");
	free(text);
	rig_done(g);
}

TEST_MAIN()
