/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that begin earlier than now: earliest, a time, positions; on a scripted source. */
#include "reader_kit.h"

static struct start_position given[4];
static struct start_item item;
static struct start start;

static void begin(struct rig *g, enum start_kind kind, int64_t ms)
{
	start = (struct start){.all = {.kind = kind, .time_ms = ORIGIN_MS + ms}};
	g->start = &start;
}

/* Collection `name` begins elsewhere than the others. */
static void begin_one(struct rig *g, const char *name, enum start_kind kind, int64_t ms)
{
	item = (struct start_item){.db = (char *)"default",
				   .collection = (char *)name,
				   .at = {.kind = kind, .time_ms = ORIGIN_MS + ms, .positions = given}};
	start = (struct start){.items = &item, .count = 1};
	g->start = &start;
}

static void give(const char *vchannel, uint64_t offset, cdc_ts ts)
{
	struct start_position *p = &given[item.at.count++];

	*p = (struct start_position){.id_size = 8, .ts = ts};
	snprintf(p->vchannel, sizeof(p->vchannel), "%s", vchannel);
	for (int i = 0; i < 8; i++)
		p->id[i] = (uint8_t)(offset >> (8 * i));
}

static uint64_t offset_of(struct rig *g, const char *pchannel)
{
	return broker_topic(g->broker, pchannel)->count;
}

/* a on two pchannels, b on the second; rows each 100 ms in [-60 s, -59 s), ticks, then one up to 0. */
static void history(struct rig *g)
{
	rig_tick(g, "dml_0", T(-70000));
	rig_tick(g, "dml_1", T(-70000));
	rig_create(g, 100, "a", T(-65000), "dml_0", "dml_1");
	for (int ms = -60000; ms < -59000; ms += 100) {
		if (ms == -59500)
			rig_create(g, 200, "b", T(-59550), "dml_1", NULL);
		rig_insert(g, 100, ms / 100 & 1, T(ms));
		if (ms > -59550)
			rig_insert(g, 200, 0, T(ms + 1));
		rig_tick_all(g, T(ms + 50));
	}
	rig_tick_all(g, T(0));
}

TEST(earliest_brings_every_row_that_was_ever_written)
{
	struct rig *g = rig_new();

	history(g);
	begin(g, START_EARLIEST, 0);
	rig_start(g);
	CHECK_INT(g->r->prev, T(-65000) - 1);
	CHECK_INT(g->floor, T(0)); /* what the target was sent before may be as new as that */
	/* what exists now exists from the start on, also what was created later */
	rig_journal_is(g, 0, "create collection a@-65001+262143, create collection b@-65001+262143");
	rig_insert(g, 100, 0, T(5));
	rig_tick_all(g, T(10));
	rig_run(g, T(10));
	rig_journal_is(g, g->r->prev - T(10) + T(-65000),
		       "insert a@-60000, insert a@-59900, insert a@-59800, insert a@-59700, insert a@-59600, "
		       "insert a@-59500, insert b@-59499, insert a@-59400, insert b@-59399, insert a@-59300, "
		       "insert b@-59299, insert a@-59200, insert b@-59199, insert a@-59100, insert b@-59099, "
		       "insert a@5");
	rig_done(g);
}

TEST(a_time_brings_exactly_the_rows_from_then_on_and_younger_collections_whole)
{
	struct rig *g = rig_new();

	history(g);
	begin(g, START_TIME, -59700);
	rig_start(g);
	CHECK_INT(g->r->prev, T(-59700) - 1);
	rig_tick_all(g, T(10));
	rig_run(g, T(10));
	rig_journal_is(g, T(-59700) - 1,
		       "insert a@-59700, insert a@-59600, insert a@-59500, insert b@-59499, insert a@-59400, "
		       "insert b@-59399, insert a@-59300, insert b@-59299, insert a@-59200, insert b@-59199, "
		       "insert a@-59100, insert b@-59099");
	rig_done(g);
}

TEST(a_time_that_is_not_over_yet_is_now)
{
	struct rig *g = rig_new();

	history(g);
	begin(g, START_TIME, 500);
	rig_start(g);
	CHECK_INT(g->r->prev, T(0));
	CHECK_INT(g->floor, 0);
	rig_done(g);
}

TEST(one_collection_begins_earlier_than_the_others)
{
	struct rig *g = rig_new();

	history(g);
	begin_one(g, "b", START_EARLIEST, 0);
	rig_start(g);
	rig_insert(g, 100, 1, T(5));
	rig_tick_all(g, T(10));
	rig_run(g, T(10));
	rig_journal_is(g, T(-59550),
		       "insert b@-59499, insert b@-59399, insert b@-59299, insert b@-59199, insert b@-59099, "
		       "insert a@5");
	rig_done(g);
}

TEST(the_closest_name_says_where_a_collection_begins)
{
	struct rig *g = rig_new();
	struct start_item items[] = {
		{.db = (char *)"default", .collection = (char *)"b", .at = {.kind = START_NOW}},
		{.db = (char *)"default", .collection = (char *)"*", .at = {.kind = START_EARLIEST}},
		{.db = (char *)"*", .collection = (char *)"*", .at = {.kind = START_NOW}},
	};

	history(g);
	start = (struct start){.items = items, .count = 3};
	g->start = &start;
	rig_start(g);
	rig_tick_all(g, T(10));
	rig_run(g, T(10));
	CHECK(!strstr(rig_tell(g, 0, false), "insert b"));
	CHECK(strstr(rig_tell(g, 0, false), "insert a@-60000"));
	rig_done(g);
}

TEST(positions_of_each_shard_are_kept_to_by_place_and_by_time)
{
	struct rig *g = rig_new();
	uint64_t at;

	rig_create(g, 100, "a", T(-65000), "dml_0", "dml_1");
	rig_create(g, 200, "b", T(-64000), "dml_0", NULL);
	rig_insert(g, 100, 0, T(-60000));
	at = offset_of(g, "dml_0");
	rig_insert(g, 100, 0, T(-59990)); /* from here on by place */
	rig_insert(g, 100, 0, T(-59995)); /* and behind it, though older */
	rig_insert(g, 200, 0, T(-59980));
	rig_insert(g, 100, 1, T(-59970));
	rig_upsert(g, 100, 1, T(-59960)); /* at the time of the second shard: both halves are over */
	rig_upsert(g, 100, 1, T(-59950)); /* above: both are wanted */
	rig_tick_all(g, T(0));
	begin_one(g, "a", START_POSITIONS, 0);
	give("dml_0_100v0", at, 0);
	give("dml_1_100v1", 1, T(-59960));
	start.all.kind = START_EARLIEST; /* dml_0 is read from before a's position */
	rig_start(g);
	rig_run(g, T(0));
	rig_journal_is(g, T(-65000),
		       "insert a@-59995, insert a@-59990, insert b@-59980, delete a@-59950, insert a@-59950");
	rig_done(g);
}

/* The journal of a whole catch-up, killed after every `each` steps (0: never). */
static char *caught_up(int each, unsigned seed)
{
	struct rig *g = rig_new();
	char *text;

	history(g);
	begin_one(g, "b", START_TIME, -59350);
	start.all.kind = START_EARLIEST;
	rig_open(g);
	g->broker->seed = seed;
	g->broker->read_max = 3;
	CHECKF(rig_try_start(g) == 0, "%s", g->err.text);
	rig_insert(g, 200, 0, T(3));
	rig_upsert(g, 100, 1, T(5));
	rig_tick_all(g, T(10));
	for (int n = 1; g->r->prev < T(10); n++) {
		CHECK(n < 2000);
		CHECKF(rig_step(g) >= 0, "%s", g->err.text);
		if (each && n % each == 0)
			rig_kill(g);
	}
	text = xstrdup(rig_tell(g, 0, true));
	rig_done(g);
	return text;
}

TEST(R13_a_kill_in_the_middle_of_a_catch_up_changes_nothing)
{
	AUTO_FREE char *want = caught_up(0, 0);

	CHECK(strstr(want, "default.b @-59299") && !strstr(want, "default.b @-59399"));
	for (int each = 3; each < 12; each++) {
		AUTO_FREE char *got = caught_up(each, (unsigned)each);

		rig_same(got, want, "killed each n steps", each);
	}
}

TEST(R7_rows_of_what_was_dropped_before_the_task_are_left_out)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-65000), "dml_0", NULL);
	rig_create(g, 300, "a_before", T(-65000), "dml_0", NULL);
	put_part(&g->w, 100, 150, "p", T(-64000), STATE_CREATED);
	rig_data(g, KIND_INSERT, 100, 0, 150, T(-63000), 2, 0); /* of the first p */
	rig_insert(g, 300, 0, T(-62500));
	rig_drop_record(g, 100, 150, 0, T(-62000));
	put_part(&g->w, 100, 150, "p", T(-64000), STATE_DROPPED);
	put_part(&g->w, 100, 160, "p", T(-61000), STATE_CREATED);
	rig_drop(g, 300, T(-61500));
	rig_data(g, KIND_INSERT, 100, 0, 160, T(-60000), 1, 0);
	rig_tick_all(g, T(0));
	begin(g, START_EARLIEST, 0);
	rig_start(g);
	rig_run(g, T(0));
	rig_journal_is(g, 0, "create collection a@-65001+262143, insert a@-60000");
	CHECK_INT(atomic_load(&g->r->skipped), 3);
	rig_done(g);
}

TEST(a_collection_dropped_while_the_task_catches_up_is_dropped_in_its_place)
{
	struct rig *g = rig_new();

	history(g);
	begin(g, START_EARLIEST, 0);
	rig_start(g);
	rig_drop(g, 200, T(5));
	rig_create(g, 300, "b", T(6), "dml_0", NULL); /* the name is used again at once */
	rig_insert(g, 300, 0, T(7));
	rig_tick_all(g, T(10));
	rig_run(g, T(10));
	rig_journal_is(g, T(-59100),
		       "insert b@-59099, drop collection b@5, create collection b@6, insert b@7");
	rig_done(g);
}

TEST(memory_is_bounded_while_one_collection_catches_up_and_another_is_at_now)
{
	struct rig *g = rig_new();
	long long most = 0;

	rig_create(g, 100, "a", T(-65000), "dml_0", NULL);
	rig_create(g, 200, "b", T(-65000), "dml_1", NULL);
	for (int i = 0; i < 5000; i++) {
		rig_data(g, KIND_INSERT, 100, 0, 0, T(-60000 + 10 * i), 1, 4000);
		if (i % 20 == 19)
			rig_tick_all(g, T(-60000 + 10 * i));
	}
	for (int i = 0; i < 1000; i++) {
		rig_data(g, KIND_INSERT, 200, 0, 0, T(-5000 + i), 1, 4000);
		if (i % 20 == 19)
			rig_tick(g, "dml_1", T(-5000 + i));
	}
	rig_tick_all(g, T(0));
	begin_one(g, "a", START_EARLIEST, 0);
	g->conf->source.read_buffer = 1 << 20;
	rig_start(g);
	for (int i = 0; g->r->prev < T(0); i++) {
		CHECK(i < 5000);
		CHECKF(rig_step(g) >= 0, "%s", g->err.text);
		if (atomic_load(&g->r->buffered) > most)
			most = atomic_load(&g->r->buffered);
	}
	/* what a cut gathers, and the limit with one reading beyond it */
	CHECKF(most < (7 << 20), "%lld bytes", most);
	CHECK(!strstr(rig_tell(g, 0, false), "insert b"));
	rig_done(g);
}

/* --- what cannot be --- */

static void refused(struct rig *g, int code, const char *w1, const char *w2, const char *w3)
{
	if (!g->r)
		rig_open(g);
	CHECK_INT(rig_try_start(g), -code);
	CHECKF(strstr(g->err.text, w1) && strstr(g->err.text, w2) && strstr(g->err.text, w3), "%s",
	       g->err.text);
	CHECK_INT(journal_watermark(g->j), 0);
}

TEST(earliest_is_refused_when_the_log_does_not_reach_back_to_the_collection)
{
	struct rig *g = rig_new();

	history(g);
	broker_trim(g->broker, "dml_1", 6);
	begin(g, START_EARLIEST, 0);
	refused(g, ERR_POSITION_GONE, "default.a", "offset 1 of pchannel dml_1", "offset 6 up to");
	CHECKF(strstr(g->err.text, "2023-11-14T22:12:20Z"), "%s", g->err.text); /* since when it is there */
	CHECKF(strstr(g->err.text, "Start this collection with \"now\""), "%s", g->err.text);
	begin_one(g, "b", START_EARLIEST, 0); /* younger than what was removed */
	CHECKF(rig_try_start(g) == 0, "%s", g->err.text);
	rig_done(g);
}

TEST(a_time_is_refused_when_what_was_removed_may_be_of_then)
{
	struct rig *g = rig_new();

	history(g);
	broker_trim(g->broker, "dml_1", 3);
	begin_one(g, "a", START_TIME, -59700);
	refused(g, ERR_POSITION_GONE, "default.a", "the time from 2023-11-14T22:12:20Z on of pchannel dml_1",
		"offset 3 up to");
	begin_one(g, "a", START_TIME, -40000); /* all that was removed is older */
	CHECKF(rig_try_start(g) == 0, "%s", g->err.text);
	rig_done(g);
}

TEST(positions_are_refused_before_and_behind_what_the_log_holds)
{
	struct rig *g = rig_new();

	history(g);
	broker_trim(g->broker, "dml_1", 3);
	begin_one(g, "b", START_POSITIONS, 0);
	give("dml_1_200v0", 2, 0);
	refused(g, ERR_POSITION_GONE, "default.b", "offset 2 of pchannel dml_1", "offset 3 up to");
	begin_one(g, "b", START_POSITIONS, 0);
	give("dml_1_200v0", 1000, 0);
	refused(g, ERR_POSITION_GONE, "default.b", "offset 1000 of pchannel dml_1", "offset 3 up to");
	rig_done(g);
}

TEST(a_log_of_which_all_was_removed_is_refused_too)
{
	struct rig *g = rig_new();

	history(g);
	broker_trim(g->broker, "dml_0", offset_of(g, "dml_0"));
	begin(g, START_TIME, -59700);
	refused(g, ERR_POSITION_GONE, "default.a", "pchannel dml_0", "it holds no message now");
	rig_done(g);
}

TEST(positions_must_be_of_the_collection_that_has_the_name_now)
{
	struct rig *g = rig_new();

	history(g);
	begin_one(g, "a", START_POSITIONS, 0);
	give("dml_0_100v0", 2, 0);
	refused(g, ERR_INVALID, "default.a", "dml_1_100v1", "no position is given");
	give("dml_1_99v1", 2, 0);
	refused(g, ERR_INVALID, "ID 100", "dml_1_99v1", "no vchannel of the collection");
	begin_one(g, "b", START_POSITIONS, 0);
	give("dml_1_200v0", 2, T(1));
	refused(g, ERR_INVALID, "default.b", "dml_1_200v0", "later than the source's time");
	begin_one(g, "b", START_POSITIONS, 0);
	give("dml_1_200v0", 2, 0);
	given[0].id_size = 7;
	refused(g, ERR_INVALID, "default.b", "dml_1_200v0", "msgID");
	begin_one(g, "c", START_POSITIONS, 0);
	give("dml_1_200v0", 2, 0);
	refused(g, ERR_INVALID, "no collection default.c", "leave the positions out", "");
	rig_done(g);
}

TEST(a_collection_that_does_not_exist_yet_may_be_named_with_any_other_start)
{
	struct rig *g = rig_new();

	history(g);
	begin_one(g, "c", START_EARLIEST, 0);
	rig_start(g);
	rig_create(g, 300, "c", T(5), "dml_0", NULL);
	rig_insert(g, 300, 0, T(6));
	rig_tick_all(g, T(10));
	rig_run(g, T(10));
	rig_journal_is(g, T(0), "create collection c@5, insert c@6");
	rig_done(g);
}

TEST_MAIN()
