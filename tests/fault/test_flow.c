/* SPDX-License-Identifier: Apache-2.0 */
/* Whole flows over damaged folders: what opening must refuse, in words, before anything is sent. */
#include <cdc/flow.h>
#include <cdc/journal.h>

#include "../../src/data/apply_store.h"
#include "../../src/data/target_gate.h"
#include "../t.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[64];
static struct conf *conf;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

static void remove_tree(const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, name);

	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A task's folder as flow_create leaves it. */
static void fresh(void)
{
	AUTO_FREE char *journal = NULL, *store = NULL;
	struct cut cut = {.watermark = 1000};
	struct journal_options o = {0};
	struct apply_store *s;
	struct journal *j;
	struct err err;

	snprintf(dir, sizeof(dir), "/tmp/cdc-flow-XXXXXX");
	CHECK(mkdtemp(dir));
	conf = conf_default();
	journal = xasprintf("%s/journal", dir);
	store = xasprintf("%s/apply.db", dir);
	CHECK(journal_open(&j, journal, &o, &err) == 0);
	CHECK(apply_store_open(&s, store, NULL, &err) == 0);
	CHECK(journal_append(j, &cut, 1, &err) == 0);
	apply_store_close(s);
	journal_close(j);
}

static void done(void)
{
	remove_tree("");
	conf_free(conf);
}

static int try_open(struct err *err)
{
	struct target_conf target = {.host = (char *)"127.0.0.1", .port = 1, .connect_timeout_ms = 100};
	struct selection_item all = {.db = (char *)"*", .collection = (char *)"*"};
	struct selection selection = {&all, 1};
	struct flow *f = NULL;
	int rc = flow_open(&f,
			   &(struct flow_conf){.conf = conf,
					       .target_key = "t:1",
					       .task_id = "t",
					       .dir = dir,
					       .source_uuid = "u",
					       .target = &target,
					       .selection = &selection,
					       .mode = "replicate"},
			   true, err);

	flow_close(f);
	return rc;
}

/* The folder is fine: it is the missing source that is complained of. */
static void check_fine(void)
{
	struct err err = {0};

	CHECK_INT(try_open(&err), -ERR_NO_SOURCE);
}

TEST(a_folder_as_it_was_made_opens)
{
	fresh();
	check_fine();
	check_fine();
	done();
}

TEST(J4_a_journal_without_apply_db_is_not_applied_a_second_time)
{
	AUTO_FREE char *path = NULL;
	struct err err = {0};
	FILE *f;

	fresh();
	path = xasprintf("%s/apply.db", dir);
	CHECK(unlink(path) == 0);
	CHECK_INT(try_open(&err), -ERR_JOURNAL_BAD);
	CHECKF(strstr(err.text, "apply.db"), "%s", err.text);
	CHECK_INT(try_open(&err), -ERR_JOURNAL_BAD); /* the refusal did not make one */
	f = fopen(path, "w");
	CHECK(f);
	fclose(f);
	CHECK_INT(try_open(&err), -ERR_JOURNAL_BAD);
	done();
}

TEST(a_task_without_its_journal_does_not_begin_anew)
{
	struct err err = {0};

	fresh();
	remove_tree("journal");
	CHECK_INT(try_open(&err), -ERR_JOURNAL_BAD);
	CHECKF(strstr(err.text, "journal"), "%s", err.text);
	done();
}

TEST(R22_a_task_that_does_not_open_holds_the_ticks_back_while_it_has_a_window_in_doubt)
{
	struct apply_intent in = {.type = INTENT_DATA, .seq = 5, .ts = 900, .floor = 500, .version = 1};
	struct apply_mark mark = {.seq = 1, .ts = 500, .out = 500};
	struct gate_member *other;
	struct apply_store *s;
	AUTO_FREE char *path = NULL;
	struct err err;

	fresh();
	path = xasprintf("%s/apply.db", dir);
	CHECK(apply_store_open(&s, path, NULL, &err) == 0);
	CHECK(apply_store_commit(s, &mark, &in, NULL, 0, &err) == 0);
	apply_store_close(s);
	other = gate_join("t:1", "other", 0);
	gate_activate(other, 100);
	CHECK_INT(try_open(&err), -ERR_NO_SOURCE);
	CHECK_INT(gate_mark(other, 1000), 500);
	CHECK_INT(try_open(&err), -ERR_NO_SOURCE); /* tried again and again: it is one */
	CHECK_INT(gate_mark(other, 1100), 500);
	flow_forget("t:1", "t"); /* deleted */
	CHECK_INT(gate_mark(other, 1200), 1200);
	gate_leave(other);
	done();
}

/* Its rows may be older than what the others tick meanwhile: they must keep a bound that outlives the
 * process. */
TEST(R21_a_task_that_does_not_open_is_still_a_neighbour_and_its_own_ticks_bind_the_others)
{
	struct gate_member *other;
	struct apply_store *s;
	AUTO_FREE char *path = NULL;
	struct err err;

	fresh();
	path = xasprintf("%s/apply.db", dir);
	CHECK(apply_store_open(&s, path, NULL, &err) == 0);
	CHECK(apply_store_set_floor(s, 70000, &err) == 0);
	apply_store_close(s);
	other = gate_join("t:1", "other", 0);
	CHECK(!gate_shared(other));
	CHECK_INT(try_open(&err), -ERR_NO_SOURCE);
	CHECK(gate_shared(other));
	CHECK_INT(gate_bound(other), 70000);
	CHECK_INT(flow_target_ticks("t:1"), 70000);
	CHECK(unlink(path) == 0); /* lost for good: what it sent is not known, but it is there */
	CHECK_INT(try_open(&err), -ERR_JOURNAL_BAD);
	CHECK(gate_shared(other));
	flow_forget("t:1", "t");
	CHECK(!gate_shared(other));
	gate_leave(other);
	done();
}

TEST(R22_a_task_that_does_not_open_with_nothing_in_doubt_holds_nobody_back)
{
	struct gate_member *other;
	struct err err;

	fresh();
	other = gate_join("t:1", "other", 0);
	gate_activate(other, 100);
	CHECK_INT(try_open(&err), -ERR_NO_SOURCE);
	CHECK_INT(gate_mark(other, 2000), 2000);
	gate_leave(other);
	done();
}

TEST_MAIN()
