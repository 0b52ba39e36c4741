/* SPDX-License-Identifier: Apache-2.0 */
/* What the source did and is not replicated: told once, shown always; by message and from etcd. */
#include "reader_kit.h"

static char told[4][1024];
static int told_count;

static void note(void *arg, const char *text)
{
	(void)arg;
	CHECK(told_count < (int)ARRAY_LEN(told));
	snprintf(told[told_count++], sizeof(told[0]), "%s", text);
}

/* Notes are heard from here on. */
static void listen(struct rig *g)
{
	g->r->c.note = note;
	told_count = 0;
}

static size_t shown(struct rig *g, size_t max)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	const char **texts;
	size_t n = reader_warnings(g->r, arena, max, &texts);

	for (size_t i = 0; i < n && i < max; i++)
		CHECK(strstr(texts[i], "imported in bulk"));
	return n;
}

/* "a" on two pchannels and "b" on one, and ticks at T(0). */
static struct rig *plain(void)
{
	struct rig *g = rig_new();

	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_create(g, 200, "b", T(-500), "dml_0", NULL);
	rig_tick_all(g, T(0));
	rig_start(g);
	return g;
}

/* As 2.5 writes it: on each vchannel. */
static void import_record(struct rig *g, const char *topic, int64_t coll, int64_t job, cdc_ts ts)
{
	AUTO_BUF struct buf b = {0};

	rig_base(g, &b, 408, ts, false);
	pb_put_string(&b, 3, "some");
	pb_put_uint(&b, 4, (uint64_t)coll);
	pb_put_uint(&b, 9, (uint64_t)job);
	rig_send(g, topic, &b, ts);
}

TEST(an_import_message_is_told_once_and_is_no_entry)
{
	struct rig *g = plain();

	listen(g);
	import_record(g, "dml_0", 100, 7, T(10));
	import_record(g, "dml_1", 100, 7, T(10));
	import_record(g, "dml_1", 999, 8, T(10));
	rig_insert(g, 100, 0, T(11));
	CHECK_INT(shown(g, 9), 0);
	rig_tick_all(g, T(20));
	rig_run(g, T(20));
	CHECK_INT(told_count, 1);
	CHECK(strncmp(told[0], "collection default.a: ", 22) == 0);
	CHECK_INT(shown(g, 9), 1);
	rig_kill(g);
	listen(g);
	CHECK_INT(shown(g, 9), 1);
	import_record(g, "dml_0", 200, 9, T(30));
	rig_tick_all(g, T(40));
	rig_run(g, T(40));
	CHECK_INT(told_count, 1);
	CHECK(strncmp(told[0], "collection default.b: ", 22) == 0);
	CHECK_INT(shown(g, 9), 2);
	CHECK_INT(shown(g, 1), 2); /* how many there are, not how many were asked for */
	rig_journal_is(g, T(0), "insert a@11");
	rig_done(g);
}

TEST(an_import_that_etcd_shows_is_told_with_the_next_cut)
{
	struct rig *g = plain();
	Mv__ImportJob m = MV__IMPORT_JOB__INIT;

	listen(g);
	m.job_id = 7;
	m.collection_id = 100;
	m.state = 5;
	put_msg(&g->w, R "datacoord-meta/import-job/7", &m);
	g->w.etcd->fail_code = ERR_SOURCE_LOST;
	g->w.etcd->fail_at = 1;
	rig_tick_all(g, T(1000));
	CHECK_INT(rig_error(g, 100), ERR_SOURCE_LOST);
	CHECK_INT(told_count, 0);
	rig_run(g, T(1000));
	CHECK_INT(told_count, 1);
	CHECK_INT(shown(g, 9), 1);
	rig_done(g);
}

TEST_MAIN()
