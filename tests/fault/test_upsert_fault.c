/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upsert door in front of a target in memory, where every call fails once, done or not done, and where
 * the process dies at every call. A driver does what the applier does: it repeats a window until it is
 * confirmed, with a new handle after a death, and the rows must be those of a model without failures.
 */
#include "../unit/ddl_fake.h"

#include "../fake/fake_milvus_rows.h"
#include "../unit/upsert_kit.h"

#include <cdc/sink.h>

#define WINDOWS 6
#define ENTRIES 12

static struct {
	struct kit *k;
	struct sink *s;
	struct target_conf target;
	struct state_row stored[8];
	size_t stored_count;
	struct entry entries[WINDOWS][ENTRIES];
	struct sink_refusal *refused;
	size_t refused_count;
	struct err err;
} fx;

static uint32_t seed;
static int dice(int n)
{
	seed = seed * 1664525 + 1013904223;
	return (int)((seed >> 8) % (uint32_t)n);
}

static void open_sink(void)
{
	struct sink_conf c = {.target = &fx.target, .request_timeout_ms = 1000};

	CHECK(sink_upsert.open(&fx.s, &c, &fx.err) == 0);
	CHECK(sink_upsert.restore(fx.s, fx.stored, fx.stored_count, &fx.err) == 0);
}

static void ddl(enum kind kind, Jr__Ddl *body)
{
	struct entry e = kit_entry(fx.k, kind, KIT_ID, body);
	struct state_row *objects = NULL;
	size_t n = 0;

	CHECKF(sink_upsert.ddl(fx.s, &e, e.ts, fx.k->arena, &objects, &n, &fx.err) == 0, "%s", fx.err.text);
	for (size_t i = 0; i < n; i++)
		fx.stored[fx.stored_count++] = objects[i];
}

/* A collection with two partitions, of which the windows are. */
static void setup(void)
{
	static int keys[WINDOWS][ENTRIES][5];

	memset(&fx, 0, sizeof(fx));
	memset(&fake_rows, 0, sizeof(fake_rows));
	fake_refuse.code = 0;
	fx.target = (struct target_conf){.host = (char *)"fake", .port = 1};
	fx.k = fresh();
	open_sink();
	ddl(KIND_CREATE_COLLECTION, kit_collection(fx.k, "", "c"));
	ddl(KIND_CREATE_PARTITION, kit_of_partition(fx.k, "", 502, "p"));
	seed = 7;
	for (int w = 0; w < WINDOWS; w++)
		for (int i = 0; i < ENTRIES; i++) {
			int at = w * ENTRIES + i;
			struct up_message m = {.kind = dice(3) ? KIND_INSERT : KIND_DELETE,
					       .ts = (cdc_ts)(100 + at / 2),
					       .seq = at + 1,
					       .collection = KIT_ID,
					       .partition = 501 + dice(2),
					       .vchannel = "src-dml_3_450000000000000001v0",
					       .keys = keys[w][i],
					       .n = 1 + dice(5),
					       .first_value = at * 10};

			for (int k = 0; k < m.n; k++)
				keys[w][i][k] = dice(9);
			if (m.kind == KIND_DELETE && dice(2))
				m.partition = -1;
			fx.entries[w][i] = up_entry(fx.k->arena, &m);
		}
}

static void teardown(void)
{
	sink_upsert.close(fx.s);
	done_with(fx.k);
}

static int attempt(int w)
{
	struct sink_window win = {.entries = fx.entries[w], .count = ENTRIES, .version = 1};
	int rc = sink_upsert.write(fx.s, &win, fx.k->arena, &fx.refused, &fx.refused_count, &fx.err);

	CHECKF(!*fake_rows.fault, "%s", fake_rows.fault);
	return rc;
}

static int by_row(const void *a, const void *b)
{
	const struct fake_row *x = a, *y = b;
	int c = strcmp(x->partition, y->partition);

	return c ? c : strcmp(x->key, y->key);
}

static struct fake_row wanted[64];
static size_t wanted_count;

static void want_these(void)
{
	qsort(fake_rows.rows, fake_rows.count, sizeof(fake_rows.rows[0]), by_row);
	CHECK(fake_rows.count > 5 && fake_rows.count <= ARRAY_LEN(wanted));
	wanted_count = fake_rows.count;
	memcpy(wanted, fake_rows.rows, wanted_count * sizeof(wanted[0]));
}

static void check_rows(size_t nth)
{
	qsort(fake_rows.rows, fake_rows.count, sizeof(fake_rows.rows[0]), by_row);
	CHECKF(fake_rows.count == wanted_count, "call %zu: %zu rows, want %zu", nth, fake_rows.count,
	       wanted_count);
	for (size_t i = 0; i < wanted_count; i++)
		CHECKF(by_row(&fake_rows.rows[i], &wanted[i]) == 0 &&
			       fake_rows.rows[i].value == wanted[i].value,
		       "call %zu: %s/%s is %lld, want %lld", nth, wanted[i].partition, wanted[i].key,
		       (long long)fake_rows.rows[i].value, (long long)wanted[i].value);
}

/* All windows without a failure: each by itself is checked against a model in test_upsert. */
static void undisturbed(void)
{
	setup();
	for (int w = 0; w < WINDOWS; w++)
		CHECKF(attempt(w) == 0 && fx.refused_count == 0, "%s", fx.err.text);
	want_these();
	teardown();
}

static void loop(bool done, bool death)
{
	size_t nth = 0, calls;
	int windows;

	undisturbed();
	do {
		setup();
		calls = fake.calls;
		fake.fail_at = calls + ++nth;
		fake.fail_rc = ERR_TARGET_LOST;
		fake.fail_executed = done;
		windows = 0;
		for (int w = 0; w < WINDOWS;) {
			int rc = attempt(w);

			CHECKF(rc == 0 || rc == -ERR_TARGET_LOST, "%s", fx.err.text);
			CHECK(rc < 0 || fx.refused_count == 0);
			if (rc < 0 && death) {
				sink_upsert.close(fx.s);
				open_sink();
			}
			w += rc == 0;
			CHECK(++windows < 50);
		}
		calls = fake.calls - calls;
		check_rows(nth);
		teardown();
	} while (windows > WINDOWS);
	CHECKF(nth > 10, "%zu calls were made to fail", nth);
}

TEST(R28_each_call_fails_once_and_was_not_done)
{
	loop(false, false);
}

TEST(R28_each_call_fails_once_and_was_done)
{
	loop(true, false);
}

TEST(R28_the_process_dies_at_each_call)
{
	loop(false, true);
	loop(true, true);
}

/* The mark was lost: windows that were confirmed are sent again, from any one on. */
TEST(R28_windows_sent_again_from_an_earlier_one_end_with_the_same_rows)
{
	undisturbed();
	for (int back = 0; back < WINDOWS; back++) {
		setup();
		for (int w = 0; w < WINDOWS; w++)
			CHECK(attempt(w) == 0);
		for (int w = back; w < WINDOWS; w++)
			CHECK(attempt(w) == 0);
		check_rows((size_t)back);
		teardown();
	}
}

TEST(R23_the_entry_that_is_refused_is_found_and_those_before_it_are_applied)
{
	struct fake_row *r;

	for (int bad = 0; bad < ENTRIES; bad++) {
		static int key[ENTRIES];

		setup();
		for (int i = 0; i < ENTRIES; i++) {
			key[i] = 100 + i;
			fx.entries[0][i] =
				up_entry(fx.k->arena,
					 &(struct up_message){.kind = KIND_INSERT,
							      .ts = 100 + (cdc_ts)i,
							      .seq = 50 + i,
							      .collection = KIT_ID,
							      .partition = 501,
							      .vchannel = "src-dml_3_450000000000000001v0",
							      .keys = &key[i],
							      .n = 1,
							      .first_value = 1000 + i});
		}
		fake_refuse.value = 1000 + bad;
		fake_refuse.code = 1100;
		CHECKF(attempt(0) == 0, "%s", fx.err.text);
		CHECK_INT(fx.refused_count, 1);
		CHECK_INT(fx.refused[0].seq, 50 + bad);
		CHECK_INT(fx.refused[0].collection_id, KIT_ID);
		CHECK(!fx.refused[0].unclear && strstr(fx.refused[0].reason, "no such value"));
		for (int i = 0; i < bad; i++) {
			for (r = fake_rows.rows; r < fake_rows.rows + fake_rows.count; r++)
				if (r->value == 1000 + i)
					break;
			CHECKF(r < fake_rows.rows + fake_rows.count, "refused %d: entry %d is not applied",
			       bad, i);
		}
		fake_refuse.code = 0; /* it is taken later: all of it again */
		CHECK(attempt(0) == 0 && fx.refused_count == 0);
		CHECK_INT(fake_rows.count, ENTRIES);
		teardown();
	}
}

TEST(R23_a_refusal_that_says_nothing_is_tried_again_at_first)
{
	setup();
	CHECK(attempt(0) == 0 && fake_rows.count > 0);
	fake_refuse.value = fake_rows.rows[0].value; /* of a row that is sent */
	fake_refuse.code = 65535;
	CHECK_INT(attempt(0), -ERR_TARGET_BUSY);
	CHECK_INT(attempt(0), -ERR_TARGET_BUSY);
	fake_refuse.code = 0;
	CHECKF(attempt(0) == 0 && fx.refused_count == 0, "%s", fx.err.text);
	teardown();
}

TEST(R25_another_collection_of_the_name_is_left_alone)
{
	setup();
	fake_find("", "c")->id += 1000;
	CHECKF(attempt(0) == 0, "%s", fx.err.text);
	CHECK_INT(fx.refused_count, 1);
	CHECK_INT(fx.refused[0].seq, fx.entries[0][0].seq);
	CHECKF(strstr(fx.refused[0].reason, "another one has its name"), "%s", fx.refused[0].reason);
	CHECK_INT(fake_rows.requests, 0);
	teardown();
}

TEST(R23_a_collection_that_is_gone_is_refused_with_its_name)
{
	setup();
	CHECK(attempt(0) == 0 && fx.refused_count == 0); /* it is known now, and not looked at again soon */
	CHECK(milvus_drop_collection(fx.k->milvus, "", "c", 0, NULL, &fx.err) == 0);
	CHECKF(attempt(1) == 0, "%s", fx.err.text);
	CHECK_INT(fx.refused_count, 1);
	CHECK_INT(fx.refused[0].seq, fx.entries[1][0].seq);
	CHECK(attempt(2) == 0 && fx.refused_count == 1);
	CHECKF(strstr(fx.refused[0].reason, "default.c") && strstr(fx.refused[0].reason, "is gone"), "%s",
	       fx.refused[0].reason);
	teardown();
}

TEST_MAIN()
