/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cdc/sink.h promises, over every sink: the one in memory, with which the applier is tested, and the
 * replicating one in front of a target in memory. Repetition above all: each call may be made again after
 * a failure at any point.
 */
#include "../unit/ddl_fake.h"

#include "../fake/sink_memory.h"

#include <cdc/pb.h>
#include <cdc/worker.h>

struct side {
	const struct sink_ops *ops;
	size_t (*calls)(void);            /* made to the target so far */
	void (*fail)(int nth, bool done); /* the nth call from now is lost, before or after it was done */
};

static struct {
	const struct side *side;
	const struct sink_ops *ops;
	struct sink *s;
	struct kit *k; /* makes entries */
	struct target_conf target;
	struct state_row stored[16];
	size_t stored_count;
	bool one_shard; /* of the rows; else two, which are sent side by side */
	struct err err;
} fx;

static size_t memory_calls(void)
{
	return (size_t)sink_memory_world->calls;
}

static void memory_fail(int nth, bool done)
{
	(void)done;
	sink_memory_world->fail_at = nth ? sink_memory_world->calls + nth : 0;
	sink_memory_world->fail_code = ERR_TARGET_LOST;
}

static size_t replicate_calls(void)
{
	return fake.calls;
}

static void replicate_fail(int nth, bool done)
{
	fake.fail_at = nth ? fake.calls + (size_t)nth : 0;
	fake.fail_rc = ERR_TARGET_LOST;
	fake.fail_executed = done;
}

static const struct side sides[] = {
	{&sink_memory, memory_calls, memory_fail},
	{&sink_replicate, replicate_calls, replicate_fail},
};

static void open_sink(void)
{
	struct sink_conf c = {.target = &fx.target, .identity = 5, .request_timeout_ms = 1000};

	CHECKF(fx.ops->open(&fx.s, &c, &fx.err) == 0, "%s", fx.err.text);
	CHECKF(fx.ops->restore(fx.s, fx.stored, fx.stored_count, &fx.err) == 0, "%s", fx.err.text);
}

static void setup(const struct side *side)
{
	memset(&fx, 0, sizeof(fx));
	fx.side = side;
	fx.ops = side->ops;
	fx.target = (struct target_conf){.host = (char *)"fake", .port = 1};
	fx.k = fresh();
	if (!sink_memory_world)
		world_new();
	world_reset(sink_memory_world);
	open_sink();
}

static void teardown(void)
{
	fx.ops->close(fx.s);
	done_with(fx.k);
}

#define CONTRACT(id) \
	static void contract_##id(void); \
	TEST(memory_##id) \
	{ \
		setup(&sides[0]); \
		contract_##id(); \
		teardown(); \
	} \
	TEST(replicate_##id) \
	{ \
		setup(&sides[1]); \
		contract_##id(); \
		teardown(); \
	} \
	static void contract_##id(void)

/* One attempt at the DDL; what it returns is stored, as the mark does it. */
static int ddl(enum kind kind, Jr__Ddl *body)
{
	struct entry e = kit_entry(fx.k, kind, KIT_ID, body);
	struct state_row *objects = NULL;
	size_t n = 0;
	int rc = fx.ops->ddl(fx.s, &e, e.ts, fx.k->arena, &objects, &n, &fx.err);

	for (size_t i = 0; rc == 0 && i < n; i++)
		fx.stored[fx.stored_count++] = objects[i];
	return rc;
}

static void create(void)
{
	CHECKF(ddl(KIND_CREATE_COLLECTION, kit_collection(fx.k, "", "c")) == 0, "%s", fx.err.text);
}

static void delete_entry(struct entry *e, int i)
{
	bool second = i % 2 && !fx.one_shard;
	AUTO_BUF struct buf b = {0}, base = {0}, list = {0}, keys = {0}, array = {0}, ids = {0};

	*e = (struct entry){.seq = i + 10,
			    .ts = fx.k->ts + (cdc_ts)i,
			    .kind = KIND_DELETE,
			    .collection_id = KIT_ID,
			    .partition_id = 501,
			    .db = "",
			    .collection = "c",
			    .id = {0, (uint64_t)i},
			    .rows = 1};
	e->vchannel = second ? "src-dml_1_450000000000000001v1" : "src-dml_3_450000000000000001v0";
	e->pchannel = second ? "src-dml_1" : "src-dml_3";
	pb_put_uint(&base, 1, 401);
	pb_put_uint(&base, 2, (uint64_t)i + 1);
	pb_put_uint(&base, 3, e->ts);
	pb_put_bytes(&b, 1, base.data, base.len);
	pb_put_string(&b, 2, e->vchannel);
	pb_put_string(&b, 4, "c");
	pb_put_uint(&b, 7, KIT_ID);
	pb_put_uint(&b, 8, 501);
	pb_put_varint(&list, e->ts);
	pb_put_bytes(&b, 10, list.data, list.len);
	pb_put_uint(&b, 11, 1);
	pb_put_varint(&keys, (uint64_t)i);
	pb_put_bytes(&array, 1, keys.data, keys.len);
	pb_put_bytes(&ids, 1, array.data, array.len);
	pb_put_bytes(&b, 12, ids.data, ids.len);
	e->body = arena_dup(fx.k->arena, b.data, b.len);
	e->size = b.len;
}

/* One attempt at a window of n deletes; refusals are none here. */
static int write_window(int n)
{
	struct entry *e = arena_alloc(fx.k->arena, (size_t)(n + 1) * sizeof(*e));
	cdc_ts *out = arena_alloc(fx.k->arena, (size_t)(n + 1) * sizeof(*out));
	struct sink_window w = {
		.entries = e, .out = out, .count = (size_t)n, .version = 1, .merge_limit = 1 << 20};
	struct sink_refusal *refused = NULL;
	size_t count = 99;
	int rc;

	for (int i = 0; i < n; i++) {
		delete_entry(&e[i], i);
		out[i] = e[i].ts;
	}
	rc = fx.ops->write(fx.s, &w, fx.k->arena, &refused, &count, &fx.err);
	if (rc == 0)
		CHECKF(count == 0, "%zu refused: %s", count, refused[0].reason);
	else
		CHECK_INT(count, 99); /* results on success only */
	return rc;
}

CONTRACT(opening_and_restoring_call_nobody)
{
	CHECK_INT(fx.side->calls(), 0);
}

CONTRACT(an_empty_window_is_written)
{
	CHECKF(write_window(0) == 0, "%s", fx.err.text);
}

CONTRACT(a_ddl_may_be_repeated_and_returns_what_to_store_each_time)
{
	size_t once;

	create();
	once = fx.stored_count;
	CHECK(once > 0);
	create();
	CHECK_INT(fx.stored_count, 2 * once);
	if (fx.ops == &sink_replicate)
		CHECK_INT(fake_count("CreateCollection "), 1);
}

CONTRACT(R18_a_ddl_that_is_lost_at_any_call_is_repeated)
{
	for (int done = 0; done < 2; done++) {
		int nth = 1, rc;

		do {
			fx.ops->close(fx.s);
			fx.stored_count = 0;
			fake_reset();
			world_reset(sink_memory_world);
			open_sink();
			fx.side->fail(nth++, done);
			rc = ddl(KIND_CREATE_COLLECTION, kit_collection(fx.k, "", "c"));
			CHECKF(rc == 0 || rc == -ERR_TARGET_LOST, "%s", fx.err.text);
			fx.side->fail(0, false);
			if (rc < 0)
				create();
			CHECK(fx.stored_count > 0);
		} while (rc < 0 && nth < 200);
		CHECK(nth > 2 && nth < 200);
	}
}

CONTRACT(J6_a_window_may_be_repeated_until_a_tick)
{
	create();
	fx.one_shard = true;
	CHECKF(write_window(6) == 0, "%s", fx.err.text);
	if (fx.ops == &sink_replicate) { /* byte for byte: the target knows a message by its ID */
		AUTO_FREE uint8_t *last = xmemdup(fake.last.data, fake.last.len);
		size_t n = fake.last.len;

		CHECK(write_window(6) == 0 && fake.last.len == n && memcmp(last, fake.last.data, n) == 0);
		return;
	}
	CHECK(write_window(6) == 0);
	CHECK_INT(sink_memory_world->row_count, 6);
	CHECK_INT(sink_memory_world->doubled, 0);
}

CONTRACT(J6_a_window_that_is_lost_at_any_call_is_repeated)
{
	int nth, rc = -1;

	create();
	for (nth = 1; rc < 0 && nth < 50; nth++) {
		fx.side->fail(nth, nth % 2);
		rc = write_window(6);
		CHECKF(rc == 0 || rc == -ERR_TARGET_LOST, "%s", fx.err.text);
		fx.side->fail(0, false);
		CHECKF(write_window(6) == 0, "%s", fx.err.text);
	}
	CHECK(nth > 2 && nth < 50);
}

CONTRACT(a_tick_may_be_repeated_and_an_earlier_one_is_no_error)
{
	create();
	CHECKF(fx.ops->tick(fx.s, fx.k->ts + 100, &fx.err) == 0, "%s", fx.err.text);
	CHECKF(fx.ops->tick(fx.s, fx.k->ts + 100, &fx.err) == 0, "%s", fx.err.text);
	CHECKF(fx.ops->tick(fx.s, fx.k->ts + 50, &fx.err) == 0, "%s", fx.err.text);
	if (fx.ops == &sink_memory)
		CHECK_INT(sink_memory_world->tick, fx.k->ts + 100);
	fx.side->fail(1, false);
	CHECK_INT(fx.ops->tick(fx.s, fx.k->ts + 200, &fx.err), -ERR_TARGET_LOST);
	fx.side->fail(0, false);
	CHECKF(fx.ops->tick(fx.s, fx.k->ts + 200, &fx.err) == 0, "%s", fx.err.text);
}

CONTRACT(a_new_handle_goes_on_from_the_stored_objects)
{
	create();
	fx.ops->close(fx.s);
	open_sink();
	CHECKF(write_window(4) == 0, "%s", fx.err.text);
	if (fx.ops == &sink_replicate)
		CHECK(fake_count("ReplicateMessage ") >= 2); /* both shards */
	else
		CHECK_INT(sink_memory_world->row_count, 4);
}

CONTRACT(R24_a_flush_is_never_an_error_and_never_waited_for)
{
	struct entry e;
	int64_t since;

	create();
	delete_entry(&e, 0);
	e.kind = KIND_FLUSH;
	since = clock_mono_ms();
	for (int i = 0; i < 100; i++)
		fx.ops->flush(fx.s, &e);
	e.collection_id = 12345; /* of nobody */
	fx.ops->flush(fx.s, &e);
	CHECK(clock_mono_ms() - since < 1000);
	CHECKF(write_window(2) == 0, "%s", fx.err.text);
}

TEST(R26_pchannels_of_foreign_collections_are_ticked_too)
{
	Jr__Ddl *foreign;
	size_t ours;

	setup(&sides[1]);
	create();
	buf_reset(&fake.messages);
	CHECKF(fx.ops->tick(fx.s, fx.k->ts + 100, &fx.err) == 0, "%s", fx.err.text);
	ours = fake_count("ReplicateMessage ");
	teardown();
	setup(&sides[1]);
	foreign = kit_collection(fx.k, "", "foreign"); /* made by somebody else, on pchannels of its own */
	CHECKF(kit_apply(fx.k, KIND_CREATE_COLLECTION, KIT_ID + 7, foreign, true) == 0, "%s", fx.k->err.text);
	create();
	CHECK(fake_find("", "foreign")->first_channel != fake_find("", "c")->first_channel);
	buf_reset(&fake.log);
	CHECKF(fx.ops->tick(fx.s, fx.k->ts + 100, &fx.err) == 0, "%s", fx.err.text);
	CHECK_INT(fake_count("ReplicateMessage "), 2 * ours);
	CHECK(fake_find("", "foreign") != NULL); /* left alone otherwise */
	teardown();
}

/* Neither a reason to put the task on hold, nor to leave the others' pchannels out. */
TEST(R26_a_database_that_goes_away_while_pchannels_are_looked_for_is_passed_over)
{
	setup(&sides[1]);
	create();
	fake.ghosts = 1;
	CHECKF(fx.ops->tick(fx.s, fx.k->ts + 100, &fx.err) == 0, "%s", fx.err.text);
	CHECK_INT(fake.ghosts, 0);
	teardown();
}

/* One that is there and still refused is told: its pchannels are not known. */
TEST(R26_a_database_that_is_refused_is_told)
{
	setup(&sides[1]);
	create();
	fake.ghosts = 2; /* there at the second look, too */
	CHECK_INT(fx.ops->tick(fx.s, fx.k->ts + 100, &fx.err), -ERR_TARGET_REFUSED);
	CHECK_INT(fake.ghosts, 0);
	teardown();
}

TEST_MAIN()
