/* SPDX-License-Identifier: Apache-2.0 */
/* The start of a task (R3) and its restarts (R11, R13, R14) on a scripted source. */
#include "reader_kit.h"

TEST(R3_rows_up_to_T0_are_dropped_and_those_above_are_kept_even_before_the_last_tick)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_tick_all(g, T(-100));
	rig_insert(g, 100, 0, T(-50));
	rig_insert(g, 100, 0, T(30)); /* above T0, before the tick that is T0 */
	rig_insert(g, 100, 1, T(20)); /* on a pchannel that ticks later; T0 itself */
	rig_insert(g, 100, 1, T(21));
	rig_tick(g, "dml_1", T(10));
	rig_tick(g, "dml_0", T(20));
	rig_start(g);
	CHECK_INT(g->r->prev, T(20)); /* the highest tick of any */
	rig_journal_is(g, 0, "create collection a@-500");
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	rig_journal_is(g, T(0), "insert a@21, insert a@30");
	rig_done(g);
}

TEST(R3_an_upsert_is_never_split)
{
	/* whatever T0 is, of the two halves (one timestamp) both are in or none */
	for (int t0 = -20; t0 <= 20; t0++) {
		struct rig *g = rig_new();
		const char *text;
		bool in;

		rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
		rig_tick(g, "dml_1", T(-100));
		rig_data(g, KIND_DELETE, 100, 0, 0, T(0), 1, 0);
		rig_tick(g, "dml_0", T(-50));
		if (t0 < 0)
			rig_tick(g, "dml_1", T(t0));
		rig_data(g, KIND_INSERT, 100, 1, 0, T(0), 1, 0);
		if (t0 >= 0)
			rig_tick(g, "dml_1", T(t0));
		rig_start(g);
		CHECK_INT(g->r->prev, T(t0));
		rig_tick_all(g, T(40));
		rig_run(g, T(40));
		text = rig_tell(g, T(t0), false);
		in = strcmp(text, "delete a@0, insert a@0") == 0;
		CHECKF(in == (t0 < 0) && (in || !*text), "T0 %d: %s", t0, text);
		rig_done(g);
	}
}

TEST(R3_a_collection_created_after_T0_comes_whole)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-500), "dml_0", NULL);
	rig_tick_all(g, T(0));
	rig_create(g, 200, "b", T(5), "dml_0", "dml_1"); /* there when the task starts, not at T0 */
	rig_insert(g, 200, 0, T(6));
	rig_insert(g, 200, 1, T(7));
	rig_start(g);
	CHECK_INT(g->r->prev, T(0));
	rig_journal_is(g, 0, "create collection a@-500");
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	rig_journal_is(g, T(0), "create collection b@5, insert b@6, insert b@7");
	rig_done(g);
}

TEST(R3_a_source_without_collections_starts_and_the_first_comes_whole)
{
	struct rig *g = rig_new();

	rig_start(g);
	rig_steps(g, 20);
	rig_create(g, 100, "a", T(5), "dml_0", NULL);
	rig_insert(g, 100, 0, T(6));
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	rig_journal_is(g, 2, "create collection a@5, insert a@6");
	rig_done(g);
}

TEST(R3_a_source_that_answers_late_is_waited_for_a_while)
{
	for (int times = 3; times <= 1000; times += 997) {
		struct rig *g = rig_new();
		int64_t before;

		rig_create(g, 100, "a", T(-500), "dml_0", NULL);
		rig_tick_all(g, T(0));
		CHECK_INT(rig_try_open(g), 0);
		before = g->broker->now_ms;
		g->broker->fail_at = 1;
		g->broker->fail_for = times;
		CHECK_INT(rig_try_start(g), times == 3 ? 0 : -ERR_SOURCE_LOST);
		CHECKF(g->broker->now_ms - before < 10000, "%lld ms",
		       (long long)(g->broker->now_ms - before));
		g->broker->fail_at = 0;
		rig_done(g);
	}
}

static int looks; /* at whether to stop: the start does so while it waits */
static bool tick_at_the_third_look(void *arg)
{
	if (++looks == 3)
		rig_tick_all(arg, T(400));
	return false;
}

TEST(R3_a_start_in_a_log_without_a_tick_waits_for_one_and_does_not_take_what_exists_for_new)
{
	struct start earliest = {.all = {.kind = START_EARLIEST}};
	const struct start *starts[] = {NULL, &earliest};

	for (int i = 0; i < 2; i++) {
		struct rig *g = rig_new();

		rig_tick_all(g, T(-600));
		rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
		rig_insert(g, 100, 0, T(-100));
		rig_tick_all(g, T(0));
		broker_trim(g->broker, "dml_0", broker_topic(g->broker, "dml_0")->count);
		broker_trim(g->broker, "dml_1", broker_topic(g->broker, "dml_1")->count);
		g->start = starts[i];
		rig_open(g);
		CHECK_INT(rig_try_start(g), -ERR_SOURCE_WAIT);
		CHECKF(strstr(g->err.text, "dml_0 and 1 more") &&
			       strstr(g->err.text, "is its Milvus running"),
		       "%s", g->err.text);
		looks = 0;
		g->r->c.stopping = tick_at_the_third_look;
		g->r->c.arg = g;
		if (starts[i]) {
			CHECK_INT(rig_try_start(g), -ERR_POSITION_GONE);
		} else {
			CHECKF(rig_try_start(g) == 0, "%s", g->err.text);
			CHECK_INT(g->r->prev, T(400));
			rig_journal_is(g, 0, "create collection a@-500");
			rig_insert(g, 100, 0, T(500));
			rig_tick_all(g, T(600));
			rig_run(g, T(600));
			rig_journal_is(g, T(400), "insert a@500");
		}
		rig_done(g);
	}
}

TEST(R3_a_collection_being_created_at_the_start_is_waited_for)
{
	struct rig *g = rig_new();
	struct rig_coll *c;

	rig_create(g, 100, "a", T(-500), "dml_0", NULL);
	c = rig_creating(g, 200, "b", T(-10), "dml_0", NULL);
	rig_tick_all(g, T(0));
	rig_open(g);
	/* one that never gets further is given up: a start must not hang on it */
	CHECKF(rig_try_start(g) == 0, "%s", g->err.text);
	CHECK(rig_clock() - 1000000 >= CREATING_WAIT_MS);
	rig_put(g, c, STATE_CREATED);
	rig_insert(g, 200, 0, T(10));
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	rig_journal_is(g, T(0), "create collection b@0+1, insert b@10");
	rig_done(g);
}

TEST(R11_a_trimmed_log_at_restart_is_told_and_nothing_is_journaled)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_tick_all(g, T(0));
	rig_start(g);
	rig_insert(g, 100, 0, T(10));
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	rig_close(g);
	rig_insert(g, 100, 0, T(30)); /* lost to us */
	rig_insert(g, 100, 0, T(31));
	rig_insert(g, 100, 1, T(32));
	rig_tick_all(g, T(40));
	broker_trim(g->broker, "dml_0", broker_topic(g->broker, "dml_0")->count - 2);
	rig_open(g);
	for (int i = 0; i < 5; i++)
		CHECK_INT(rig_error(g, 50), ERR_POSITION_GONE);
	CHECKF(strstr(g->err.text, "dml_0"), "%s", g->err.text);
	CHECK_INT(journal_watermark(g->j), T(20));
	rig_journal_is(g, T(0), "insert a@10");
	rig_done(g);
}

TEST(R11_a_recreated_topic_at_restart_is_told_though_it_has_grown_past_our_position)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_tick_all(g, T(0));
	rig_start(g);
	rig_insert(g, 100, 0, T(10));
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	rig_close(g);
	broker_recreate(g->broker, "dml_0");
	for (int i = 0; i < 50; i++)
		rig_insert(g, 100, 0, T(21 + i));
	rig_tick_all(g, T(100));
	rig_open(g);
	for (int i = 0; i < 5; i++)
		CHECK_INT(rig_error(g, 50), ERR_POSITION_GONE);
	rig_journal_is(g, T(0), "insert a@10");
	rig_done(g);
}

TEST(R11_a_log_trimmed_while_it_is_read_is_told_and_nothing_is_journaled)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-500), "dml_0", NULL);
	rig_tick_all(g, T(0));
	rig_start(g);
	rig_steps(g, 3);
	rig_insert(g, 100, 0, T(10));
	rig_insert(g, 100, 0, T(11));
	rig_tick_all(g, T(20));
	broker_trim(g->broker, "dml_0", broker_topic(g->broker, "dml_0")->count - 1);
	for (int i = 0; i < 5; i++)
		CHECK_INT(rig_error(g, 50), ERR_POSITION_GONE);
	rig_journal_is(g, T(0), "");
	rig_done(g);
}

TEST(R13_what_damage_cut_off_is_read_again_exactly_with_new_seq)
{
	struct rig *g = rig_new();
	char copy[310];
	char *want;
	int64_t last;
	AUTO(arena_free) struct arena *a = arena_new();
	AUTO(journal_cursor_close) struct journal_cursor *c = NULL;
	struct journal_batch b;

	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_tick_all(g, T(0));
	rig_start(g);
	snprintf(copy, sizeof(copy), "%s-before", g->dir);
	for (int i = 0; i < 6; i++) {
		if (i == 3)
			rig_copy(g->dir, copy);
		rig_insert(g, 100, 1, T(100 * i + 60)); /* out of order, across the cut */
		rig_upsert(g, 100, 0, T(100 * i + 10));
		if (i == 4)
			rig_create(g, 200, "b", T(100 * i + 20), "dml_0", NULL);
		rig_tick_all(g, T(100 * i + 50));
		rig_run(g, T(100 * i + 50));
	}
	want = xstrdup(rig_tell(g, 0, true));
	last = journal_last_seq(g->j);
	g->options.min_seq = last;
	rig_go_back(g, copy); /* the tail is gone */
	rig_open(g);
	CHECK(journal_last_seq(g->j) < last);
	rig_run(g, T(550));
	rig_same(rig_tell(g, 0, true), want, "read again", 0);
	CHECK(journal_cursor_open(&c, g->j, &g->err) == 0);
	CHECK(journal_read(c, last, 1 << 20, 1000, a, &b, &g->err) == 0);
	CHECK(b.count > 5 && b.entries[0].seq > last && b.entries[0].ts > T(250));
	journal_cursor_close(TAKE(c));
	free(want);
	rig_done(g);
}

TEST(R14_a_restart_after_rotation_and_trimming_knows_the_catalog)
{
	struct rig *g = rig_new();
	struct journal_stat st;

	g->options.segment_size = 2000;
	g->options.keep_s = 0;
	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_create(g, 200, "b", T(-400), "dml_1", NULL);
	rig_tick_all(g, T(0));
	rig_start(g);
	for (int i = 0; i < 10; i++) {
		rig_data(g, KIND_INSERT, 100, i % 2, 0, T(100 * i + 10), 1, 1500);
		rig_tick_all(g, T(100 * i + 50));
		rig_run(g, T(100 * i + 50));
	}
	reader_applied(g->r, journal_last_seq(g->j));
	g->broker->now_ms += TRIM_MS;
	rig_steps(g, 1);
	journal_stat(g->j, &st);
	CHECK(st.segments == 2 && st.first_seq > 3); /* where the creations were is no more */
	rig_kill(g);
	rig_insert(g, 100, 0, T(1010));
	rig_drop(g, 200, T(1020));
	rig_insert(g, 100, 1, T(1030));
	rig_tick_all(g, T(1050));
	rig_run(g, T(1050));
	rig_journal_is(g, T(1000), "insert a@1010, drop collection b@1020, insert a@1030");
	rig_done(g);
}

TEST_MAIN()
