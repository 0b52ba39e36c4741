/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Nth call of the source, of etcd, or of the journal's file system fails, N = 1, 2, ... until none is
 * left: the run ends with the same journal (J1, J2, R1, R2, R4).
 */
#include "../unit/reader_kit.h"

#include "fault_vfs.h"

enum part { PART_SOURCE, PART_ETCD, PART_JOURNAL };

struct failing {
	enum part part;
	int nth, times; /* calls nth .. nth + times - 1 fail */
	int code;       /* of source and etcd */
	enum fault how; /* of the journal */
	bool die;       /* the process is killed at the failure, too */
};

/* Failures are armed after the start: what a failed start leaves is removed by its caller. */
static bool fired(struct rig *g, const struct failing *f)
{
	switch (f->part) {
	case PART_SOURCE:
		return g->broker->fail_at == 0;
	case PART_ETCD:
		return g->w.etcd->fail_at == 0;
	case PART_JOURNAL:
		break;
	}
	return fault_disarm();
}

static void arm(struct rig *g, const struct failing *f)
{
	g->broker->fail_code = g->w.etcd->fail_code = f->code;
	switch (f->part) {
	case PART_SOURCE:
		g->broker->fail_at = f->nth;
		g->broker->fail_for = f->times;
		break;
	case PART_ETCD:
		g->w.etcd->fail_at = f->nth;
		break;
	case PART_JOURNAL:
		fault_arm(f->how, f->nth, false);
	}
}

static void users_do(struct rig *g, int i)
{
	int64_t at = 100 * i;

	rig_insert(g, 100, 0, T(at + 60)); /* above the tick: the next cut's */
	rig_upsert(g, 100, 1, T(at + 10));
	rig_tick(g, "dml_0", T(at + 5));
	if (i == 1)
		rig_create(g, 200, "b", T(at + 20), "dml_1", "dml_2");
	if (i >= 1 && i < 3)
		rig_insert(g, 200, 1, T(at + 30));
	if (i == 2)
		put_part(&g->w, 100, 150, "p", T(at + 15), STATE_CREATED);
	if (i == 3) {
		rig_drop(g, 200, T(at + 35));
		rig_data(g, KIND_INSERT, 100, 0, 150, T(at + 36), 2, 3000);
	}
	rig_tick_all(g, T(at + 50));
}

/* Ends a process whose journal's calls fail: the folder is as the failure left it. */
static void die(struct rig *g)
{
	rig_close(g);
	while (rig_try_open(g) < 0) {
		reader_free(g->r);
		g->r = NULL;
	}
}

/* *ret_fired: the failure came. */
static char *run(const struct failing *f, bool *ret_fired)
{
	struct rig *g = rig_new();
	bool dead = false;
	char *text;

	g->options.vfs = fault_vfs();
	g->options.segment_size = 3000; /* rotation is in it */
	g->broker->read_max = 4;
	broker_topic(g->broker, REPLICATE);
	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_tick_all(g, T(0));
	rig_start(g);
	if (f)
		arm(g, f);
	for (int i = 0; i < 4; i++) {
		users_do(g, i);
		for (int n = 0; g->r->prev < T(100 * i + 50); n++) {
			int rc = rig_step(g);

			CHECKF(n < 1000, "does not end: %s", rc < 0 ? g->err.text : "");
			if (rc >= 0)
				continue;
			CHECKF(err_policy(-rc) == ERR_RETRY, "%s", g->err.text);
			if (f->die && !dead)
				die(g);
			dead = true;
		}
	}
	if (f)
		*ret_fired = fired(g, f);
	g->broker->fail_at = g->w.etcd->fail_at = 0;
	text = xstrdup(rig_tell(g, 0, true));
	rig_done(g);
	return text;
}

/* Every call once. Returns the number of calls. */
static int each_call(struct failing f, const char *what)
{
	AUTO_FREE char *want = run(NULL, NULL);
	bool hit = true;

	for (f.nth = 1; hit; f.nth++) {
		AUTO_FREE char *got = NULL;

		CHECK(f.nth < 3000);
		got = run(&f, &hit);
		rig_same(got, want, what, f.nth);
	}
	return f.nth - 2;
}

TEST(R1_R2_a_lost_source_at_any_call)
{
	int n = each_call((struct failing){PART_SOURCE, 0, 1, ERR_SOURCE_LOST, FAULT_NONE, false},
			  "source call");

	CHECKF(n > 10, "only %d calls", n);
	each_call((struct failing){PART_SOURCE, 0, 4, ERR_SOURCE_LOST, FAULT_NONE, false},
		  "four source calls from");
	each_call((struct failing){PART_SOURCE, 0, 1, ERR_SOURCE_LOST, FAULT_NONE, true},
		  "killed at source call");
}

TEST(R4_a_lost_etcd_at_any_call)
{
	int n = each_call((struct failing){PART_ETCD, 0, 1, ERR_SOURCE_LOST, FAULT_NONE, false}, "etcd call");

	CHECKF(n > 3, "only %d calls", n);
	each_call((struct failing){PART_ETCD, 0, 1, ERR_SOURCE_AUTH, FAULT_NONE, true},
		  "killed at etcd call");
}

TEST(R2_J1_a_failing_disk_at_any_call)
{
	int n = each_call((struct failing){PART_JOURNAL, 0, 1, 0, FAULT_EIO, false}, "journal call");

	CHECKF(n > 20, "only %d calls", n);
	each_call((struct failing){PART_JOURNAL, 0, 1, 0, FAULT_SHORT, false}, "short write");
	each_call((struct failing){PART_JOURNAL, 0, 1, 0, FAULT_SYNC, false}, "sync");
	each_call((struct failing){PART_JOURNAL, 0, 1, 0, FAULT_EIO, true}, "killed at journal call");
}

TEST(R2_an_append_that_fails_many_times_journals_the_same_cut_and_reads_nothing_meanwhile)
{
	AUTO_FREE char *want = run(NULL, NULL);
	struct rig *g = rig_new();
	int reads;

	g->options.vfs = fault_vfs();
	g->options.segment_size = 3000;
	g->broker->read_max = 4;
	broker_topic(g->broker, REPLICATE);
	rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
	rig_tick_all(g, T(0));
	rig_start(g);
	for (int i = 0; i < 4; i++) {
		users_do(g, i);
		fault_arm(FAULT_EIO, 1, true);
		CHECK_INT(rig_error(g, 200), ERR_JOURNAL_IO);
		reads = g->broker->reads;
		for (int n = 0; n < 20; n++)
			CHECK_INT(rig_step(g), -ERR_JOURNAL_IO);
		CHECK_INT(g->broker->reads, reads);
		CHECK(fault_disarm());
		rig_run(g, T(100 * i + 50));
	}
	rig_same(rig_tell(g, 0, true), want, "after failures", 0);
	rig_done(g);
}

/* The start: a failure is told and leaves a source from which the next try starts just so. */
TEST(R3_a_start_that_fails_at_any_call_can_be_tried_again)
{
	for (int part = 0; part < 3; part++) {
		bool hit = true;

		for (int nth = 1; hit; nth++) {
			struct failing f = {(enum part)part, nth, 1, ERR_SOURCE_LOST, FAULT_EIO, false};
			struct rig *g = rig_new();
			int rc;

			CHECK(nth < 500);
			g->options.vfs = fault_vfs();
			rig_create(g, 100, "a", T(-500), "dml_0", "dml_1");
			rig_insert(g, 100, 0, T(5));
			rig_tick_all(g, T(0));
			arm(g, &f);
			rc = rig_try_open(g);
			if (rc == 0)
				rc = rig_try_start(g);
			hit = fired(g, &f);
			g->broker->fail_at = g->w.etcd->fail_at = 0; /* the start alone */
			CHECKF(rc == 0 || (hit && err_policy(-rc) == ERR_RETRY), "part %d call %d: %s", part,
			       nth, g->err.text);
			if (rc < 0) { /* the caller removes the folder and tries anew */
				rig_close(g);
				kit_dir();
				rig_start(g);
			}
			rig_tick_all(g, T(20));
			rig_run(g, T(20));
			rig_journal_is(g, 0, "create collection a@-500, insert a@5");
			rig_done(g);
		}
	}
}

TEST_MAIN()
