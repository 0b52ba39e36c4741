/* SPDX-License-Identifier: Apache-2.0 */
/* The replicate topic brings hints to flush and nothing else (R8, R24): it never costs a row or holds a task.
 */
#include "reader_kit.h"

static char told[4][1024];
static int told_count;

static void note(void *arg, const char *text)
{
	(void)arg;
	CHECK(told_count < (int)ARRAY_LEN(told));
	snprintf(told[told_count++], sizeof(told[0]), "%s", text);
}

/* Opens the reader; its notes are heard. */
static void open_listening(struct rig *g)
{
	rig_open(g);
	g->r->c.note = note;
	told_count = 0;
}

/* "a" on dml_0 and a hint of it, both journaled. */
static struct rig *plain(void)
{
	struct rig *g = rig_new();

	broker_topic(g->broker, REPLICATE);
	rig_create(g, 100, "a", T(-500), "dml_0", NULL);
	rig_tick_all(g, T(0));
	rig_start(g);
	rig_insert(g, 100, 0, T(10));
	rig_flush(g, "a", T(15), false);
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	return g;
}

/* No collection at all. */
static struct rig *empty(void)
{
	struct rig *g = rig_new();

	broker_topic(g->broker, REPLICATE);
	rig_oracle(g, ts_ms(T(0)));
	rig_start(g);
	return g;
}

static uint64_t stored_next(struct rig *g)
{
	struct position p;

	CHECK(rig_has_position(g, REPLICATE, &p));
	return p.next.lo;
}

static void rows_go_on(struct rig *g, const char *want)
{
	rig_steps(g, 3); /* the topic is found to be another, and read */
	rig_insert(g, 100, 0, T(30));
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	rig_journal_is(g, T(20), want);
}

TEST(R8_hints_removed_before_a_restart_hold_nothing)
{
	struct rig *g = plain();

	rig_close(g);
	for (int i = 0; i < 4; i++)
		rig_flush(g, "a", T(21 + i), false);
	broker_trim(g->broker, REPLICATE, 3);
	open_listening(g);
	rows_go_on(g, "flush a@23, flush a@24, insert a@30"); /* what is still there is read */
	CHECK_INT(told_count, 1);
	CHECKF(strstr(told[0], REPLICATE) && strstr(told[0], "no row"), "%s", told[0]);
	CHECK_INT(stored_next(g), 5);
	rig_done(g);
}

TEST(R8_hints_removed_while_they_are_read_hold_nothing)
{
	struct rig *g = plain();

	g->r->c.note = note;
	told_count = 0;
	for (int i = 0; i < 4; i++)
		rig_flush(g, "a", T(21 + i), false);
	broker_trim(g->broker, REPLICATE, 3);
	rows_go_on(g, "flush a@23, flush a@24, insert a@30");
	CHECK_INT(told_count, 1);
	CHECK_INT(stored_next(g), 5);
	rig_done(g);
}

TEST(R8_a_replicate_topic_made_again_is_read_from_its_beginning)
{
	for (int running = 0; running < 2; running++) {
		struct rig *g = plain();

		if (!running)
			rig_close(g);
		broker_recreate(g->broker, REPLICATE);
		for (int i = 0; i < 3; i++)
			rig_flush(g, "a", T(21 + i), false);
		if (!running)
			open_listening(g);
		rows_go_on(g, "flush a@21, flush a@22, flush a@23, insert a@30");
		CHECK_INT(stored_next(g), 3);
		rig_done(g);
	}
}

TEST(R8_a_replicate_topic_that_is_deleted_is_waited_for)
{
	struct rig *g = plain();

	rig_close(g);
	broker_delete(g->broker, REPLICATE);
	open_listening(g);
	rows_go_on(g, "insert a@30");
	CHECK_INT(told_count, 1);
	CHECK_INT(stored_next(g), 0);
	rig_kill(g);
	rig_flush(g, "a", T(50), false);
	for (int i = 0; !source_script_assigned(g->r->source, REPLICATE); i++) {
		CHECK(i < 500);
		rig_steps(g, 1);
	}
	rig_tick_all(g, T(60));
	rig_run(g, T(60));
	rig_journal_is(g, T(40), "flush a@50");
	rig_done(g);
}

TEST(R11_a_topic_with_rows_is_told_though_the_replicate_topic_goes_on)
{
	struct rig *g = plain();

	rig_close(g);
	broker_recreate(g->broker, REPLICATE);
	broker_recreate(g->broker, "dml_0");
	for (int i = 0; i < 50; i++) {
		rig_insert(g, 100, 0, T(21 + i));
		rig_flush(g, "a", T(21 + i), false);
	}
	rig_tick_all(g, T(100));
	rig_open(g);
	for (int i = 0; i < 5; i++) {
		CHECK_INT(rig_error(g, 50), ERR_POSITION_GONE);
		CHECKF(strstr(g->err.text, "dml_0"), "%s", g->err.text);
	}
	CHECK_INT(journal_watermark(g->j), T(20));
	rig_done(g);
}

TEST(R8_without_a_live_collection_the_position_moves_and_memory_is_freed)
{
	struct rig *g = empty();
	struct reader_stat st;
	cdc_ts before;

	for (int i = 0; i < 10; i++)
		rig_flush(g, "unknown", T(10 + i), false);
	rig_steps(g, 100);
	reader_stat(g->r, &st);
	CHECK_INT(st.buffered, 0);
	CHECK_INT(stored_next(g), 10);
	before = g->r->prev;
	rig_steps(g, 200); /* nothing came: nothing is written */
	CHECK_INT(g->r->prev, before);
	rig_close(g);
	rig_flush(g, "unknown", T(30), false);
	broker_trim(g->broker, REPLICATE, 10);
	open_listening(g);
	rig_steps(g, 100);
	CHECK_INT(told_count, 0);
	CHECK_INT(stored_next(g), 11);
	rig_done(g);
}

TEST(R8_the_position_moves_after_the_last_collection_was_dropped)
{
	struct rig *g = plain();

	rig_drop(g, 100, T(30));
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	for (int i = 0; i < 10; i++)
		rig_flush(g, "a", T(50 + i), false);
	rig_steps(g, 100);
	CHECK_INT(stored_next(g), 11);
	rig_done(g);
}

TEST(R8_a_hint_of_a_collection_that_just_came_is_kept)
{
	struct rig *g = empty();

	rig_steps(g, 20);
	rig_create(g, 100, "a", T(10), "dml_0", NULL);
	rig_insert(g, 100, 0, T(15));
	rig_flush(g, "a", T(18), false); /* may be read before etcd is */
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	rig_journal_is(g, T(0), "create collection a@10, insert a@15, flush a@18");
	rig_done(g);
}

TEST(R8_many_hints_in_one_cut_take_no_more_memory_than_they_are)
{
	struct rig *g = plain();
	size_t n = 5000;

	for (size_t i = 0; i < n; i++)
		rig_flush(g, i % 2 ? "a" : "unknown", T(21) + i, false);
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	CHECK_INT(stored_next(g), 1 + n);
	CHECKF(arena_size(g->r->arena) < n * 1000, "%zu bytes", arena_size(g->r->arena));
	rig_done(g);
}

TEST_MAIN()
