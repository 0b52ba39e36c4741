/* SPDX-License-Identifier: Apache-2.0 */
/* The reader's loop on a scripted source: what comes into a cut, when it closes, how it goes on. */
#include "reader_kit.h"

/* A collection "a" on dml_0 and dml_1, made before the task, and ticks at T(0). */
static struct rig *plain(void)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_tick_all(g, T(0));
	rig_start(g);
	CHECK_INT(g->r->prev, T(0));
	return g;
}

TEST(R1_the_position_is_the_first_record_above_the_watermark)
{
	struct rig *g = plain();
	struct position p;

	rig_insert(g, 100, 0, T(30)); /* offset 1: before a tick below it */
	rig_insert(g, 100, 0, T(10));
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	CHECK(rig_has_position(g, "dml_0", &p));
	CHECK_INT(p.next.lo, 1);
	CHECK_INT(p.ts, T(20));
	CHECK(rig_has_position(g, "dml_1", &p));
	CHECK_INT(p.next.lo, 2);
	rig_kill(g);
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	rig_journal_is(g, T(0), "insert a@10, insert a@30");
	rig_done(g);
}

TEST(R2_a_cut_stays_until_the_journal_has_it_and_nothing_is_read)
{
	struct rig *g = plain();
	int reads;

	g->options.max_size = 1; /* J8: no room for anything */
	rig_close(g);
	rig_open(g);
	rig_insert(g, 100, 0, T(10));
	rig_tick_all(g, T(20));
	CHECK_INT(rig_error(g, 50), ERR_JOURNAL_FULL);
	rig_insert(g, 100, 1, T(30));
	rig_tick_all(g, T(40));
	reads = g->broker->reads;
	for (int i = 0; i < 20; i++)
		CHECK_INT(rig_step(g), -ERR_JOURNAL_FULL);
	CHECK_INT(g->broker->reads, reads);
	CHECK_INT(journal_watermark(g->j), T(0));
	g->options.max_size = 1 << 30;
	rig_kill(g);
	rig_run(g, T(40));
	rig_journal_is(g, T(0), "insert a@10, insert a@30");
	rig_done(g);
}

TEST(R4_a_collection_that_is_still_being_created_is_waited_for)
{
	struct rig *g = plain();
	struct rig_coll *c = rig_creating(g, 200, "b", T(10), "dml_0", NULL);

	rig_insert(g, 100, 0, T(15));
	rig_tick_all(g, T(20));
	CHECK_INT(rig_error(g, 50), ERR_SOURCE_WAIT);
	for (int i = 0; i < 10; i++)
		CHECK_INT(rig_step(g), -ERR_SOURCE_WAIT);
	CHECK_INT(g->r->prev, T(0));
	rig_put(g, c, STATE_CREATED);
	rig_insert(g, 200, 0, T(25));
	rig_tick_all(g, T(30));
	rig_run(g, T(30));
	rig_journal_is(g, T(0), "create collection b@10, insert a@15, insert b@25");
	rig_done(g);
}

TEST(R4_while_etcd_is_away_no_cut_closes_and_no_row_is_lost)
{
	struct rig *g = plain();

	rig_create(g, 200, "b", T(10), "dml_0", NULL);
	rig_insert(g, 200, 0, T(15));
	rig_tick_all(g, T(20));
	g->w.etcd->fail_code = ERR_SOURCE_LOST;
	for (int i = 0; i < 10; i++) {
		g->w.etcd->fail_at = 1;
		CHECK_INT(rig_error(g, 50), ERR_SOURCE_LOST);
	}
	CHECK_INT(g->r->prev, T(0));
	rig_run(g, T(20));
	rig_journal_is(g, T(0), "create collection b@10, insert b@15");
	rig_done(g);
}

TEST(R33_an_idle_reader_without_etcd_says_so_without_a_break)
{
	struct rig *g = rig_new();
	struct err err;
	int rc = 0;

	rig_oracle(g, ts_ms(T(0)));
	rig_start(g); /* nothing is live: the catalog is all there is to look at */
	g->w.etcd->cluster_id = 78;
	for (int i = 0; i < 100 && rc >= 0; i++)
		rc = reader_step(g->r, &err);
	CHECK_INT(rc, -ERR_SOURCE_FOREIGN);
	/* a step that looks away would be called a recovery: health flaps and the log has no end */
	for (int i = 0; i < 5; i++)
		CHECK_INT(reader_step(g->r, &err), -ERR_SOURCE_FOREIGN);
	rig_done(g);
}

TEST(R5_a_pchannel_leaves_with_its_last_drop)
{
	struct rig *g = rig_new();
	struct position p;

	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_create(g, 200, "b", T(-400), "dml_1", "dml_2");
	rig_tick_all(g, T(0));
	rig_start(g);
	rig_run(g, T(0));
	rig_drop(g, 100, T(10));
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	CHECK(!source_script_assigned(g->r->source, "dml_0"));
	CHECK(source_script_assigned(g->r->source, "dml_1"));
	CHECK(!rig_has_position(g, "dml_0", &p)); /* R11: forgotten, it must not alarm later */
	CHECK(rig_has_position(g, "dml_1", &p));
	rig_insert(g, 200, 0, T(30));
	rig_tick(g, "dml_1", T(40));
	rig_tick(g, "dml_2", T(40)); /* dml_0 is silent: nobody waits for it */
	rig_run(g, T(40));
	rig_journal_is(g, T(0), "drop collection a@10, insert b@30");
	rig_done(g);
}

TEST(R5_a_pchannel_that_left_is_joined_again_from_the_new_collections_start)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-500), "dml_0", NULL);
	rig_create(g, 200, "b", T(-400), "dml_1", NULL);
	rig_tick_all(g, T(0));
	rig_start(g);
	rig_drop(g, 100, T(10));
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	for (int i = 0; i < 5; i++)
		rig_tick(g, "dml_0", T(21 + i)); /* nobody reads them */
	broker_trim(g->broker, "dml_0", 4);
	rig_create(g, 300, "c", T(30), "dml_0", NULL);
	rig_insert(g, 300, 0, T(35));
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	rig_journal_is(g, T(0), "drop collection a@10, create collection c@30, insert c@35");
	rig_done(g);
}

TEST(R5_a_silent_ending_pchannel_does_not_stall_the_rest)
{
	struct rig *g = rig_new();
	int64_t since;

	rig_create(g, 100, "a", T(-500), "dml_0", NULL);
	rig_create(g, 200, "b", T(-400), "dml_1", NULL);
	rig_tick_all(g, T(0));
	rig_start(g);
	rig_put(g, rig_find(g, 100), STATE_DROPPING); /* and its Drop record never comes */
	since = rig_clock();
	rig_insert(g, 200, 0, T(10));
	rig_tick(g, "dml_1", T(20));
	rig_run(g, T(20));
	CHECKF(rig_clock() - since >= SILENT_MS, "closed after %lld ms", (long long)(rig_clock() - since));
	CHECKF(rig_clock() - since < 2 * SILENT_MS, "closed after %lld ms", (long long)(rig_clock() - since));
	rig_journal_is(g, T(0), "insert b@10");
	/* the drop is derived when its record is hopeless */
	for (int i = 1; i < 300 && strcmp(rig_tell(g, T(20), false), "") == 0; i++) {
		rig_tick(g, "dml_1", T(20 + i));
		rig_run(g, T(20 + i));
	}
	CHECK(strncmp(rig_tell(g, T(20), false), "drop collection a@", 18) == 0);
	CHECK(rig_clock() - since >= DROP_WAIT_MS);
	CHECK(!source_script_assigned(g->r->source, "dml_0"));
	rig_done(g);
}

TEST(R5_a_closed_pchannel_that_gets_a_new_collection_is_waited_for)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-500), "dml_0", NULL);
	rig_create(g, 200, "b", T(-400), "dml_1", NULL);
	rig_tick_all(g, T(0));
	rig_start(g);
	rig_put(g, rig_find(g, 100), STATE_DROPPING); /* silent: closed, but its drop is not derived yet */
	rig_tick(g, "dml_1", T(20));
	rig_run(g, T(20));
	rig_create(g, 300, "c", T(30), "dml_0", NULL);
	rig_tick(g, "dml_1", T(40)); /* dml_0 is behind: what it brings up to here is not read yet */
	rig_steps(g, 10);
	CHECKF(g->r->prev < T(30), "cut up to %lld without the new collection's pchannel",
	       (long long)(g->r->prev - T(0)));
	rig_insert(g, 300, 0, T(35));
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	rig_journal_is(g, T(20), "create collection c@30, insert c@35");
	rig_done(g);
}

TEST(R5_no_drop_is_derived_inside_a_backlog)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_create(g, 200, "b", T(-400), "dml_0", NULL);
	rig_tick_all(g, T(0));
	rig_start(g);
	rig_put(g, rig_find(g, 100), STATE_DROPPING);
	rig_oracle(g, 1000);
	for (int i = 0; i < 5; i++) /* each fills a cut, on timestamps that follow each other */
		rig_data(g, KIND_INSERT, 100, 0, 0, T(100) + (cdc_ts)i, 1, 3 << 20);
	rig_tick(g, "dml_1", T(600));
	rig_steps(g, 250); /* no tick: longer than a Drop record is waited for */
	CHECK(rig_clock() - 1000000 > SILENT_MS + DROP_WAIT_MS);
	CHECK_INT(g->r->prev, T(0));
	rig_drop_record(g, 100, 0, 0, T(500));
	rig_tick(g, "dml_0", T(600));
	rig_run(g, T(600));
	rig_journal_is(g, T(0),
		       "insert a@100, insert a@100+1, insert a@100+2, insert a@100+3, insert a@100+4, "
		       "drop collection a@500");
	rig_done(g);
}

TEST(R5_a_silent_pchannel_that_still_lives_is_waited_for)
{
	struct rig *g = plain();

	rig_insert(g, 100, 0, T(10));
	rig_tick(g, "dml_0", T(20)); /* dml_1 is silent, its collection is alive */
	rig_steps(g, 300);
	CHECK(rig_clock() - 1000000 > 2 * SILENT_MS);
	CHECK_INT(g->r->prev, T(0));
	rig_tick(g, "dml_1", T(20));
	rig_run(g, T(20));
	rig_journal_is(g, T(0), "insert a@10");
	rig_done(g);
}

TEST(R27_a_source_that_does_not_tick_is_told_by_name_and_heals)
{
	struct rig *g = plain();

	rig_tick(g, "dml_0", T(20));
	CHECK_INT(rig_error(g, 1000), ERR_SOURCE_WAIT);
	CHECKF(strstr(g->err.text, "dml_1") && strstr(g->err.text, "ttMsgEnabled"), "%s", g->err.text);
	CHECKF(strstr(g->err.pchannel, "dml_1"), "%s", g->err.pchannel);
	CHECK(rig_clock() - 1000000 >= SILENT_TOLD_MS);
	rig_insert(g, 100, 0, T(30)); /* what comes meanwhile is read */
	rig_tick_all(g, T(40));
	for (int i = 0; i < 100 && g->r->prev < T(40); i++)
		rig_steps(g, 1);
	rig_journal_is(g, T(0), "insert a@30");
	CHECK_INT(rig_error(g, 5), 0);
	rig_done(g);
}

TEST(R6_another_etcd_gives_no_ddl)
{
	struct rig *g = plain();

	rig_insert(g, 100, 0, T(10));
	rig_tick_all(g, T(20));
	g->w.etcd->cluster_id = 78;
	for (int i = 0; i < 5; i++)
		CHECK_INT(rig_error(g, 50), ERR_SOURCE_FOREIGN);
	CHECK_INT(g->r->prev, T(0));
	rig_kill(g); /* the source is remembered by the journal, not by the process */
	CHECK_INT(rig_error(g, 50), ERR_SOURCE_FOREIGN);
	g->w.etcd->cluster_id = 77;
	rig_run(g, T(20));
	rig_journal_is(g, T(0), "insert a@10");
	rig_done(g);
}

TEST(R6_an_empty_root_drops_nothing)
{
	struct rig *g = plain();
	struct fake_etcd *full = g->w.etcd, *empty = fake_etcd_new();

	rig_insert(g, 100, 0, T(10));
	rig_tick_all(g, T(20));
	rig_close(g);
	empty->revision = full->revision + 100;
	fake_etcd_shared = empty;
	rig_open(g);
	for (int i = 0; i < 5; i++)
		CHECK_INT(rig_error(g, 50), ERR_SOURCE_FOREIGN);
	rig_close(g);
	fake_etcd_shared = full;
	rig_open(g);
	rig_run(g, T(20));
	rig_journal_is(g, T(0), "insert a@10");
	fake_etcd_free(empty);
	rig_done(g);
}

TEST(R7_rows_of_a_collection_created_and_dropped_unseen_are_skipped_and_counted)
{
	struct rig *g = plain();
	struct reader_stat st;

	rig_create(g, 200, "b", T(10), "dml_0", NULL);
	rig_data(g, KIND_INSERT, 200, 0, 0, T(11), 3, 0);
	rig_insert(g, 100, 0, T(12));
	rig_data(g, KIND_DELETE, 200, 0, 0, T(13), 2, 0);
	rig_drop(g, 200, T(14));
	forget_coll(&g->w, 1, 200);
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	rig_journal_is(g, T(0), "insert a@12");
	reader_stat(g->r, &st);
	CHECK_INT(st.skipped, 5);
	rig_done(g);
}

TEST(R9_a_name_dropped_and_made_again_in_one_cut)
{
	struct rig *g = plain();

	rig_insert(g, 100, 0, T(10));
	rig_drop(g, 100, T(20));
	rig_create(g, 200, "a", T(30), "dml_0", "dml_1");
	rig_insert(g, 200, 0, T(40));
	rig_tick_all(g, T(50));
	rig_run(g, T(50));
	rig_journal_is(g, T(0), "insert a@10, drop collection a@20, create collection a@30, insert a@40");
	rig_done(g);
}

TEST(R9_a_name_dropped_and_made_again_across_cuts)
{
	struct rig *g = plain();

	rig_insert(g, 100, 0, T(10));
	rig_tick_all(g, T(15));
	rig_run(g, T(15));
	rig_drop(g, 100, T(20));
	rig_create(g, 200, "a", T(30), "dml_0", "dml_1");
	rig_tick_all(g, T(25));
	rig_run(g, T(25));
	rig_insert(g, 200, 0, T(40));
	rig_tick_all(g, T(50));
	rig_run(g, T(50));
	rig_journal_is(g, T(0), "insert a@10, drop collection a@20, create collection a@30, insert a@40");
	rig_done(g);
}

TEST(R9_a_partition_dropped_and_made_again_in_one_cut)
{
	struct rig *g = plain();

	put_part(&g->w, 100, 150, "p", T(5), STATE_CREATED);
	rig_tick_all(g, T(8));
	rig_run(g, T(8));
	rig_data(g, KIND_INSERT, 100, 0, 150, T(10), 1, 0);
	put_part(&g->w, 100, 150, "p", T(5), STATE_DROPPING);
	rig_drop_record(g, 100, 150, 0, T(20));
	rig_drop_record(g, 100, 150, 1, T(20));
	put_part(&g->w, 100, 160, "p", T(30), STATE_CREATED);
	rig_data(g, KIND_INSERT, 100, 0, 160, T(40), 1, 0);
	rig_tick_all(g, T(50));
	rig_run(g, T(50));
	rig_journal_is(
		g, T(0),
		"create partition a@5, insert a@10, drop partition a@20, create partition a@30, insert a@40");
	rig_done(g);
}

TEST_MAIN()
