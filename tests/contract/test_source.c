/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cdc/source.h promises, over every source: the scripted one, with which the reader is tested, and
 * Kafka on librdkafka's mock cluster. So a test of the reader that passes on the script says something
 * about Kafka. Positions that went wrong, damaged messages, pauses, and who owns a record.
 */
#include "../fake/source_script.h"
#include "../t.h"

#include <cdc/mem.h>
#include <cdc/pb.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <time.h>

#define WAIT_MS 15000 /* no test waits that long unless it fails */
#define API_LIST_OFFSETS 2

/* A source and the broker behind it. */
struct side {
	const char *name;
	void (*begin)(void);
	void (*topic)(const char *name);
	void (*send)(const char *name, const void *body, size_t n, int64_t time_ms);
	void (*missing)(const char *name); /* a topic that was not made is not there */
	void (*trim)(const char *name);    /* the broker forgets the head of a topic that is not empty */
};

static struct {
	const struct side *side;
	const struct source_ops *ops;
	struct source *s;
	struct conf_source conf;
	struct broker *broker;
	rd_kafka_t *producer;
	rd_kafka_mock_cluster_t *cluster;
	struct record got[512];
	int count;
	struct err err;
} fx;

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void release_all(void)
{
	for (int i = 0; i < fx.count; i++)
		record_release(&fx.got[i]);
	fx.count = 0;
}

static void finish(void)
{
	release_all();
	if (fx.s)
		fx.ops->close(fx.s);
	if (fx.producer)
		rd_kafka_destroy(fx.producer);
	if (fx.broker)
		broker_free(fx.broker);
	memset(&fx, 0, sizeof(fx));
}

/* --- script --- */

static void script_begin(void)
{
	fx.broker = broker_new();
	fx.ops = &source_script;
}

static void script_topic(const char *name)
{
	broker_topic(fx.broker, name);
}

static void script_send(const char *name, const void *body, size_t n, int64_t time_ms)
{
	broker_append(fx.broker, name, body, n, time_ms);
}

static void script_missing(const char *name)
{
	(void)name;
}

static void script_trim(const char *name)
{
	broker_trim(fx.broker, name, broker_topic(fx.broker, name)->count / 2 + 1);
}

/* --- Kafka --- */

static void kafka_begin(void)
{
	rd_kafka_conf_t *kc = rd_kafka_conf_new();
	char text[256];

	rd_kafka_conf_set(kc, "test.mock.num.brokers", "1", NULL, 0);
	rd_kafka_conf_set(kc, "message.max.bytes", "2000000", NULL, 0);
	rd_kafka_conf_set(kc, "log_level", "0", NULL, 0);
	fx.producer = rd_kafka_new(RD_KAFKA_PRODUCER, kc, text, sizeof(text));
	CHECKF(fx.producer, "%s", text);
	fx.cluster = rd_kafka_handle_mock_cluster(fx.producer);
	fx.conf.kafka.address = (char *)rd_kafka_mock_cluster_bootstraps(fx.cluster);
	fx.ops = source_select(&fx.conf);
}

static void kafka_topic(const char *name)
{
	CHECK(rd_kafka_mock_topic_create(fx.cluster, name, 1, 1) == 0);
}

static void kafka_send(const char *name, const void *body, size_t n, int64_t time_ms)
{
	CHECK(rd_kafka_producev(fx.producer, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(0),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE((void *)body, n),
				RD_KAFKA_V_TIMESTAMP(time_ms), RD_KAFKA_V_END) == 0);
	CHECK(rd_kafka_flush(fx.producer, WAIT_MS) == 0);
}

/* The mock makes a topic that it is asked for; so the broker denies it. */
static void kafka_missing(const char *name)
{
	const rd_kafka_resp_err_t no = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;

	rd_kafka_mock_topic_set_error(fx.cluster, name, no);
	for (int i = 0; i < 50; i++)
		rd_kafka_mock_push_request_errors(fx.cluster, API_LIST_OFFSETS, 1, no);
}

/* It keeps 5 MB of a partition. */
static void kafka_trim(const char *name)
{
	AUTO_BUF struct buf b = {0}, base = {0};
	AUTO_FREE char *junk = xcalloc(1, 1000000);

	pb_put_uint(&base, 1, 9999);
	pb_put_bytes(&b, 1, base.data, base.len);
	pb_put_bytes(&b, 50, junk, 1000000);
	for (int i = 0; i < 8; i++)
		kafka_send(name, b.data, b.len, 1);
}

static const struct side sides[] = {
	{"script", script_begin, script_topic, script_send, script_missing, script_trim},
	{"kafka", kafka_begin, kafka_topic, kafka_send, kafka_missing, kafka_trim},
};

#define KAFKA_TEST(id) \
	TEST(kafka_##id) \
	{ \
		begin(&sides[1]); \
		contract_##id(); \
		finish(); \
	}

/* CONTRACT(rule) { ... } is a test for each side. */
#define CONTRACT(id) \
	static void contract_##id(void); \
	TEST(script_##id) \
	{ \
		begin(&sides[0]); \
		contract_##id(); \
		finish(); \
	} \
	KAFKA_TEST(id) \
	static void contract_##id(void)

static void begin(const struct side *side)
{
	finish(); /* what a failed test left */
	fx.side = side;
	side->begin();
	CHECKF(fx.ops->open(&fx.s, &fx.conf, &fx.err) == 0, "%s", fx.err.text);
	fx.side->topic("a");
	fx.side->topic("b");
}

/* --- what the tests say --- */

static void tick(const char *name, uint64_t ts)
{
	AUTO_BUF struct buf b = {0}, base = {0};

	pb_put_uint(&base, 1, 1200);
	pb_put_uint(&base, 3, ts);
	pb_put_bytes(&b, 1, base.data, base.len);
	fx.side->send(name, b.data, b.len, 1000 + (int64_t)ts);
}

static void ticks(const char *name, int from, int n)
{
	for (int i = from; i < from + n; i++)
		tick(name, (uint64_t)i);
}

static struct position at(const char *name, uint64_t next)
{
	struct position p = {.next = {.lo = next}};

	snprintf(p.pchannel, sizeof(p.pchannel), "%s", name);
	return p;
}

static int assign(int index, struct position p)
{
	return fx.ops->assign(fx.s, index, &p, 5000, &fx.err);
}

static void assigned(int index, const char *name, uint64_t next)
{
	CHECKF(assign(index, at(name, next)) == 0, "%s", fx.err.text);
}

/* Reads until `want` records are there, in calls of at most `most`. */
static void read_records(int want, int most)
{
	int64_t end = now_ms() + WAIT_MS;

	release_all();
	while (fx.count < want) {
		int room = want - fx.count < most ? want - fx.count : most;
		int n = fx.ops->read(fx.s, fx.got + fx.count, (size_t)room, 50, &fx.err);

		CHECKF(n >= 0, "%s", fx.err.text);
		CHECKF(n <= room, "%d records where %d were asked for", n, room);
		fx.count += n;
		CHECKF(now_ms() < end, "only %d of %d records came", fx.count, want);
	}
}

static void nothing_comes(void)
{
	release_all();
	for (int i = 0; i < 5; i++) {
		fx.count = fx.ops->read(fx.s, fx.got, 512, 20, &fx.err);
		CHECKF(fx.count == 0, "%d: %s", fx.count, fx.count < 0 ? fx.err.text : "records");
	}
}

/* Reads until an error comes; no record may come with it. */
static int read_error(void)
{
	int64_t end = now_ms() + WAIT_MS;
	int n;

	release_all();
	while ((n = fx.ops->read(fx.s, fx.got, 512, 50, &fx.err)) == 0)
		CHECKF(now_ms() < end, "no error came");
	fx.count = n > 0 ? n : 0;
	CHECKF(n < 0, "%d records came instead of an error", n);
	return n;
}

static void says(const char *what)
{
	CHECKF(strstr(fx.err.text, what), "\"%s\" does not say \"%s\"", fx.err.text, what);
}

CONTRACT(bounds_are_the_first_message_and_one_past_the_last)
{
	struct mq_id first = {9, 9}, end = {9, 9};

	CHECKF(fx.ops->bounds(fx.s, "a", 5000, &first, &end, &fx.err) == 0, "%s", fx.err.text);
	CHECK(first.hi == 0 && first.lo == 0 && end.hi == 0 && end.lo == 0);
	ticks("a", 1, 3);
	CHECK(fx.ops->bounds(fx.s, "a", 5000, &first, &end, &fx.err) == 0);
	CHECK(first.lo == 0 && end.lo == 3);
	fx.side->trim("a");
	CHECK(fx.ops->bounds(fx.s, "a", 5000, &first, &end, &fx.err) == 0);
	CHECK(first.lo > 0 && end.lo >= 3 && first.lo <= end.lo);
}

CONTRACT(a_pchannel_that_does_not_exist_has_no_bounds_and_is_waited_for_only_when_it_is_new)
{
	struct mq_id first = {9, 9}, end = {9, 9};
	int rc;

	fx.side->missing("none");
	CHECK_INT(fx.ops->bounds(fx.s, "none", 5000, &first, &end, &fx.err), -ERR_POSITION_GONE);
	CHECK(first.lo == 9 && end.lo == 9); /* results on success only */
	says("none");
	CHECK_INT(assign(0, at("none", 0)), -ERR_SOURCE_WAIT);
	for (int64_t by = now_ms() + 2 * WAIT_MS; (rc = assign(0, at("none", 1))) == -ERR_SOURCE_LOST;) {
		CHECKF(now_ms() < by, "%s", fx.err.text);
		CHECK_INT(fx.ops->read(fx.s, fx.got, 512, 100, NULL), 0); /* waits: nothing is assigned */
	}
	CHECK_INT(rc, -ERR_POSITION_GONE);
	says("none");
}

CONTRACT(at_time_after_the_last_message_is_the_end)
{
	struct mq_id id;

	CHECKF(fx.ops->at_time(fx.s, "a", 1, 5000, &id, &fx.err) == 0, "%s", fx.err.text);
	CHECK_INT(id.lo, 0);
	ticks("a", 1, 3);
	CHECKF(fx.ops->at_time(fx.s, "a", 99999, 5000, &id, &fx.err) == 0, "%s", fx.err.text);
	CHECK_INT(id.lo, 3);
}

/* The mock cluster has no index by time: it answers "none" to every such question. */
TEST(script_at_time_is_the_first_message_not_before_it)
{
	const struct {
		int64_t ms;
		uint64_t want;
	} at_ms[] = {{0, 0}, {1001, 0}, {1002, 1}, {1003, 2}, {1004, 3}};
	struct mq_id id;

	begin(&sides[0]);
	ticks("a", 1, 3); /* at 1001, 1002, 1003 */
	for (size_t i = 0; i < ARRAY_LEN(at_ms); i++) {
		CHECKF(fx.ops->at_time(fx.s, "a", at_ms[i].ms, 5000, &id, &fx.err) == 0, "%s", fx.err.text);
		CHECKF(id.lo == at_ms[i].want, "%lld: %llu", (long long)at_ms[i].ms,
		       (unsigned long long)id.lo);
	}
	finish();
}

CONTRACT(a_start_position_is_eight_bytes_little_endian)
{
	struct mq_id id = {7, 7};

	CHECK(fx.ops->start_id((const uint8_t *)"\x0f\x01\0\0\0\0\0\0", 8, &id, &fx.err) == 0);
	CHECK(id.hi == 0 && id.lo == 0x10f);
	CHECK_INT(fx.ops->start_id((const uint8_t *)"\x0f\0\0\0\0\0\0\0\0", 9, &id, &fx.err),
		  -ERR_SOURCE_FORMAT);
	CHECK_INT(fx.ops->start_id((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff", 8, &id, &fx.err),
		  -ERR_SOURCE_FORMAT);
	CHECK(id.lo == 0x10f);
}

CONTRACT(records_come_from_next_on_in_order_and_whole)
{
	ticks("a", 1, 20);
	assigned(3, "a", 5);
	read_records(15, 4);
	for (int i = 0; i < 15; i++) {
		CHECK_INT(fx.got[i].pchannel, 3);
		CHECK_INT(fx.got[i].id.lo, 5 + i);
		CHECK_INT(fx.got[i].kind, KIND_TICK);
		CHECK_INT(fx.got[i].ts, 6 + i);
		CHECK_INT(fx.got[i].time_ms, 1006 + i);
		CHECK(fx.got[i].body && fx.got[i].size > 2);
	}
	nothing_comes();
	tick("a", 99); /* what comes later comes, too */
	read_records(1, 1);
	CHECK_INT(fx.got[0].id.lo, 20);
}

CONTRACT(the_end_is_a_position_and_beyond_it_is_none)
{
	ticks("a", 1, 3);
	CHECK_INT(assign(0, at("a", 4)), -ERR_POSITION_GONE);
	says("a");
	assigned(0, "a", 3);
	nothing_comes();
	tick("a", 4);
	read_records(1, 10);
	CHECK_INT(fx.got[0].id.lo, 3);
}

CONTRACT(R11_a_position_that_retention_took_is_gone)
{
	ticks("a", 1, 3);
	fx.side->trim("a");
	CHECK_INT(assign(0, at("a", 0)), -ERR_POSITION_GONE);
	says("a");
	nothing_comes(); /* nothing was assigned */
}

CONTRACT(R11_the_guard_tells_another_message_at_its_place)
{
	struct position p = at("a", 3);

	ticks("a", 1, 5);
	assigned(0, "a", 0);
	read_records(5, 5);
	p.guard.set = true;
	p.guard.id = fx.got[2].id;
	p.guard.time_ms = fx.got[2].time_ms;
	p.guard.hash = hash64(0, fx.got[2].body, fx.got[2].size);
	release_all();
	fx.ops->unassign(fx.s, 0);
	CHECKF(assign(0, p) == 0, "%s", fx.err.text);
	fx.ops->unassign(fx.s, 0);
	p.guard.hash++;
	CHECK_INT(assign(0, p), -ERR_POSITION_GONE);
	p.guard.hash--;
	p.guard.time_ms++;
	CHECK_INT(assign(0, p), -ERR_POSITION_GONE);
	p.guard.time_ms--;
	p.guard.id.lo = 5; /* a message that the broker does not have yet */
	CHECK_INT(assign(0, p), -ERR_POSITION_GONE);
	p.guard.id.lo = 2;
	CHECKF(assign(0, p) == 0, "%s", fx.err.text);
	read_records(2, 5);
	CHECK_INT(fx.got[0].id.lo, 3);
}

CONTRACT(R10_a_pause_holds_one_pchannel_and_loses_and_repeats_nothing)
{
	int of_a = 0;

	ticks("a", 1, 10);
	assigned(0, "a", 0);
	assigned(1, "b", 0);
	read_records(4, 4);
	CHECK_INT(fx.got[3].id.lo, 3);
	CHECKF(fx.ops->pause(fx.s, 0, true, &fx.err) == 0, "%s", fx.err.text);
	ticks("b", 1, 3);
	read_records(3, 1);
	for (int i = 0; i < 3; i++)
		CHECK(fx.got[i].pchannel == 1 && (int)fx.got[i].id.lo == i);
	nothing_comes();
	CHECKF(fx.ops->pause(fx.s, 0, false, &fx.err) == 0, "%s", fx.err.text);
	tick("b", 9);
	read_records(7, 2);
	for (int i = 0; i < 7; i++)
		if (fx.got[i].pchannel == 0)
			CHECK_INT(fx.got[i].id.lo, 4 + of_a++);
	CHECK_INT(of_a, 6);
}

CONTRACT(an_unassigned_index_is_free_for_another_pchannel)
{
	ticks("a", 1, 10);
	ticks("b", 1, 2);
	assigned(0, "a", 0);
	read_records(2, 2);
	fx.ops->unassign(fx.s, 0);
	nothing_comes();
	assigned(0, "b", 1);
	read_records(1, 10);
	CHECK(fx.got[0].pchannel == 0 && fx.got[0].id.lo == 1 && fx.got[0].ts == 2);
	nothing_comes();
	assigned(1, "a", 2);
	read_records(8, 10);
	CHECK_INT(fx.got[0].id.lo, 2);
}

CONTRACT(a_message_that_cannot_be_read_stops_there_and_is_named)
{
	ticks("a", 1, 2);
	fx.side->send("a", "\xff\xff\xff", 3, 1);
	tick("a", 4);
	assigned(0, "a", 0);
	read_records(2, 2); /* what is before it came */
	for (int i = 0; i < 3; i++) {
		CHECK_INT(read_error(), -ERR_SOURCE_FORMAT); /* sticky, never stepped over */
		says("a");
		says("2");
	}
}

CONTRACT(a_record_outlives_its_source)
{
	ticks("a", 1, 3);
	assigned(0, "a", 0);
	read_records(3, 3);
	fx.ops->close(fx.s);
	fx.s = NULL;
	for (int i = 0; i < 3; i++)
		CHECK(fx.got[i].body[0] == 0x0a && fx.got[i].size > 2);
}

CONTRACT(closing_nothing_is_fine)
{
	fx.ops->close(NULL);
}

TEST_MAIN()
