/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kafka source against librdkafka's mock cluster: a broker in this process, which can be taken
 * down, made to fail, and which drops the head of a partition beyond 5 MB (that is our retention).
 */
#include "../t.h"

#include <cdc/mem.h>
#include <cdc/pb.h>
#include <cdc/source.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <time.h>

#ifdef __SANITIZE_THREAD__
#pragma GCC diagnostic ignored "-Wunused-function" /* see below */
#endif

#define WAIT_MS 15000 /* no test waits that long unless it fails */
#define API_FETCH 1
#define API_LIST_OFFSETS 2

static struct {
	rd_kafka_t *producer;
	rd_kafka_mock_cluster_t *cluster;
	struct conf_source conf;
	const struct source_ops *ops;
	struct source *s;
	struct err err;
	struct record got[512];
	int count;
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

/* A new broker and a new source; what a failed test left behind is thrown away. */
static void setup(void)
{
	rd_kafka_conf_t *kc = rd_kafka_conf_new();
	char text[256];

	release_all();
	if (fx.s)
		fx.ops->close(fx.s);
	if (fx.producer)
		rd_kafka_destroy(fx.producer);
	memset(&fx, 0, sizeof(fx));
	rd_kafka_conf_set(kc, "test.mock.num.brokers", "1", NULL, 0);
	rd_kafka_conf_set(kc, "message.max.bytes", "2000000", NULL, 0);
	rd_kafka_conf_set(kc, "log_level", "0", NULL, 0);
	fx.producer = rd_kafka_new(RD_KAFKA_PRODUCER, kc, text, sizeof(text));
	CHECKF(fx.producer, "%s", text);
	fx.cluster = rd_kafka_handle_mock_cluster(fx.producer);
	fx.conf.kafka.address = (char *)rd_kafka_mock_cluster_bootstraps(fx.cluster);
	fx.ops = source_select(&fx.conf);
	CHECK(fx.ops);
	CHECKF(fx.ops->open(&fx.s, &fx.conf, &fx.err) == 0, "%s", fx.err.text);
}

static void topic(const char *name)
{
	CHECK(rd_kafka_mock_topic_create(fx.cluster, name, 1, 1) == 0);
}

/* The mock makes a topic that it is asked for; so it is there, and the broker denies it. */
static void missing(const char *name, bool is)
{
	const rd_kafka_resp_err_t no = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;

	rd_kafka_mock_topic_set_error(fx.cluster, name, is ? no : RD_KAFKA_RESP_ERR_NO_ERROR);
	rd_kafka_mock_clear_request_errors(fx.cluster, API_LIST_OFFSETS);
	for (int i = 0; is && i < 200; i++)
		rd_kafka_mock_push_request_errors(fx.cluster, API_LIST_OFFSETS, 1, no);
}

static void produce(const char *name, const void *value, size_t n, const char *v_header, int64_t time_ms)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(2);

	rd_kafka_header_add(headers, "traceparent", -1, "00-0", -1);
	if (v_header)
		rd_kafka_header_add(headers, "_v", -1, v_header, -1);
	CHECK(rd_kafka_producev(fx.producer, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(0),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE((void *)value, n),
				RD_KAFKA_V_TIMESTAMP(time_ms), RD_KAFKA_V_HEADERS(headers),
				RD_KAFKA_V_END) == 0);
	CHECK(rd_kafka_flush(fx.producer, WAIT_MS) == 0);
}

/* A tick, or (pad) an unused message of that many bytes, whose timestamp is `ts`. */
static void tick_value(struct buf *b, uint64_t ts, size_t pad)
{
	AUTO_BUF struct buf base = {0};

	pb_put_uint(&base, 1, pad ? 9999 : 1200);
	pb_put_uint(&base, 3, ts);
	pb_put_bytes(b, 1, base.data, base.len);
	if (pad) {
		AUTO_FREE char *junk = xcalloc(1, pad);

		pb_put_bytes(b, 50, junk, pad);
	}
}

static void produce_tick(const char *name, uint64_t ts)
{
	AUTO_BUF struct buf b = {0};

	tick_value(&b, ts, 0);
	produce(name, b.data, b.len, NULL, 1000 + (int64_t)ts);
}

/* Makes the broker drop the head of the partition; returns the first offset it still has. */
static int64_t overrun(const char *name)
{
	AUTO_BUF struct buf b = {0};
	struct mq_id first, end;

	tick_value(&b, 1, 1000000);
	for (int i = 0; i < 8; i++)
		produce(name, b.data, b.len, NULL, 1);
	CHECKF(fx.ops->bounds(fx.s, name, 5000, &first, &end, &fx.err) == 0, "%s", fx.err.text);
	CHECKF(first.lo > 0, "the broker kept everything: the test tests nothing");
	return (int64_t)first.lo;
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

/* Reads until `want` records are there; SOURCE_LOST only when the test allows it. */
static void read_records(int want, bool lost_is_fine)
{
	int64_t end = now_ms() + WAIT_MS;

	release_all();
	while (fx.count < want) {
		int n = fx.ops->read(fx.s, fx.got + fx.count, (size_t)(want - fx.count), 50, &fx.err);

		CHECKF(n >= 0 || (lost_is_fine && n == -ERR_SOURCE_LOST), "%s", fx.err.text);
		fx.count += n > 0 ? n : 0;
		CHECKF(now_ms() < end, "only %d of %d records came", fx.count, want);
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

static void nothing_comes(int calls)
{
	release_all();
	for (int i = 0; i < calls; i++) {
		fx.count = fx.ops->read(fx.s, fx.got, 512, 20, &fx.err);
		CHECKF(fx.count == 0, "%d: %s", fx.count, fx.count < 0 ? fx.err.text : "records");
	}
}

static void says(const char *what)
{
	CHECKF(strstr(fx.err.text, what), "\"%s\" does not say \"%s\"", fx.err.text, what);
}

TEST(select_follows_the_configuration)
{
	struct conf_source none = {0}, empty = {.kafka.address = (char *)""},
			   some = {.kafka.address = (char *)"h:1"};

	CHECK(source_select(&none) == NULL);
	CHECK(source_select(&empty) == NULL);
	CHECK(source_select(&some) && strcmp(source_select(&some)->name, "kafka") == 0);
}

TEST(start_position_is_a_little_endian_offset)
{
	const struct source_ops *ops = source_select(&(struct conf_source){.kafka.address = (char *)"h:1"});
	struct mq_id id = {7, 7};
	struct err err = {0};

	CHECK(ops->start_id((const uint8_t *)"\x0f\x01\0\0\0\0\0\0", 8, &id, &err) == 0);
	CHECK(id.hi == 0 && id.lo == 0x10f);
	CHECK_INT(ops->start_id((const uint8_t *)"\x0f", 1, &id, &err), -ERR_SOURCE_FORMAT);
	CHECK_INT(ops->start_id((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff", 8, &id, &err),
		  -ERR_SOURCE_FORMAT);
	CHECK(id.lo == 0x10f);
}

/* librdkafka's C11 threads are unknown to the thread sanitizer, which crashes on them. */
#if !defined(__SANITIZE_THREAD__)
TEST(wrong_settings_are_named_without_secrets)
{
	char address[] = "127.0.0.1:1", secret[] = "s3cret", odd[] = "ROT13", name[] = "broker",
	     file[] = "/nonexistent";
	struct conf_source c = {.kafka = {.address = address,
					  .sasl_mechanism = odd,
					  .sasl_username = name,
					  .sasl_password = secret}};
	const struct source_ops *ops = source_select(&c);
	struct source *s = NULL;
	struct err err = {0};

	CHECK_INT(ops->open(&s, &c, &err), -ERR_CONFIG);
	CHECKF(strstr(err.text, "ROT13") && !strstr(err.text, secret), "%s", err.text);
	c.kafka = (struct conf_kafka){.address = address, .tls = {.enable = true, .ca_path = file}};
	CHECK_INT(ops->open(&s, &c, &err), -ERR_CONFIG);
	CHECKF(strstr(err.text, "ssl.ca.location"), "%s", err.text);
	c.kafka = (struct conf_kafka){.address = address, .tls = {.enable = true, .server_name = name}};
	CHECK_INT(ops->open(&s, &c, &err), -ERR_CONFIG);
	CHECK(s == NULL);
}

TEST(an_absent_broker_is_lost_within_the_time_given)
{
	struct conf_source c = {.kafka.address = (char *)"127.0.0.1:1"};
	const struct source_ops *ops = source_select(&c);
	struct position p = at("a", 0);
	struct mq_id first, end;
	struct source *s;
	struct err err = {0};
	int64_t start;

	CHECK(ops->open(&s, &c, &err) == 0);
	start = now_ms();
	CHECK_INT(ops->bounds(s, "a", 500, &first, &end, &err), -ERR_SOURCE_LOST);
	CHECKF(strstr(err.text, "127.0.0.1:1") && strstr(err.text, "Connection refused"), "%s", err.text);
	CHECK_INT(ops->assign(s, 0, &p, 500, &err), -ERR_SOURCE_LOST);
	CHECK_INT(ops->at_time(s, "a", 1, 500, &first, &err), -ERR_SOURCE_LOST);
	CHECKF(now_ms() - start < 5000, "%lld ms", (long long)(now_ms() - start));
	ops->close(s);
}

TEST(bounds_are_first_and_one_past_last)
{
	struct mq_id first, end;

	setup();
	topic("a");
	CHECKF(fx.ops->bounds(fx.s, "a", 5000, &first, &end, &fx.err) == 0, "%s", fx.err.text);
	CHECK(first.lo == 0 && end.lo == 0);
	produce_tick("a", 1);
	produce_tick("a", 2);
	CHECK(fx.ops->bounds(fx.s, "a", 5000, &first, &end, &fx.err) == 0);
	CHECK(first.lo == 0 && end.lo == 2);
}

TEST(a_missing_topic_is_gone_or_waited_for)
{
	struct position p = at("none", 0);
	struct mq_id first, end;

	setup();
	missing("none", true);
	CHECK_INT(fx.ops->bounds(fx.s, "none", 5000, &first, &end, &fx.err), -ERR_POSITION_GONE);
	says("none");
	CHECK_INT(assign(0, p), -ERR_SOURCE_WAIT);
	p.next.lo = 5;
	CHECK_INT(assign(0, p), -ERR_POSITION_GONE);
	says("offset 5");
	p = at("none", 0);
	p.guard.set = true;
	CHECK_INT(assign(0, p), -ERR_POSITION_GONE);
	CHECK_INT(fx.ops->bounds(fx.s, "none", 5000, &first, &end, &fx.err), -ERR_POSITION_GONE);
	nothing_comes(2); /* nothing was assigned */
	missing("none", false);
	assigned(0, "none", 0);
}

TEST(a_topic_we_may_not_read_is_an_auth_error)
{
	struct mq_id first, end;

	setup();
	topic("a");
	rd_kafka_mock_topic_set_error(fx.cluster, "a", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	CHECK_INT(fx.ops->bounds(fx.s, "a", 2000, &first, &end, &fx.err), -ERR_SOURCE_AUTH);
	says("topic a");
	CHECK_INT(assign(0, at("a", 0)), -ERR_SOURCE_AUTH);
}

TEST(records_come_in_order_with_all_their_fields)
{
	AUTO_BUF struct buf b = {0};
	uint64_t next[2] = {3, 0};

	setup();
	topic("a");
	topic("b");
	for (uint64_t i = 0; i < 20; i++) {
		produce_tick("a", 100 + i);
		produce_tick("b", 200 + i);
	}
	assigned(4, "a", 3);
	assigned(9, "b", 0);
	read_records(37, false);
	for (int i = 0; i < fx.count; i++) {
		struct record *r = &fx.got[i];
		int which = r->pchannel == 9;
		uint64_t ts = (which ? 200 : 100) + next[which];

		CHECK(r->pchannel == 4 || r->pchannel == 9);
		CHECKF(r->id.hi == 0 && r->id.lo == next[which], "%llu", (unsigned long long)r->id.lo);
		CHECK(r->kind == KIND_TICK && r->ts == ts);
		CHECK_INT(r->time_ms, 1000 + ts);
		buf_reset(&b);
		tick_value(&b, ts, 0);
		CHECK(r->size == b.len && memcmp(r->body, b.data, b.len) == 0);
		next[which]++;
	}
	CHECK(next[0] == 20 && next[1] == 20);
	nothing_comes(3);
	produce_tick("b", 220);
	read_records(1, false);
	CHECK(fx.got[0].pchannel == 9 && fx.got[0].id.lo == 20);
}

TEST(R12_a_kept_record_outlives_unassign_and_close)
{
	struct record kept;

	setup();
	topic("a");
	produce_tick("a", 77);
	assigned(0, "a", 0);
	read_records(1, false);
	kept = fx.got[0];
	fx.count = 0;
	fx.ops->unassign(fx.s, 0);
	fx.ops->close(fx.s);
	fx.s = NULL;
	CHECK(kept.ts == 77 && kept.size > 2 && kept.body[0] == 0x0a);
	record_release(&kept);
	record_release(&kept); /* harmless */
}

TEST(empty_values_are_stepped_over)
{
	setup();
	topic("a");
	produce("a", NULL, 0, NULL, 1);
	produce("a", "", 0, NULL, 1);
	produce_tick("a", 5);
	assigned(0, "a", 0);
	read_records(1, false);
	CHECK_INT(fx.got[0].id.lo, 2);
}

TEST(an_undecodable_message_is_named_and_stays)
{
	setup();
	topic("a");
	produce_tick("a", 5);
	produce("a", "{}", 2, NULL, 1);
	produce_tick("a", 6);
	assigned(0, "a", 0);
	read_records(1, false);
	CHECK_INT(fx.got[0].id.lo, 0);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(read_error(), -ERR_SOURCE_FORMAT);
		says("a: offset 1");
	}
	assigned(0, "a", 2); /* an operator stepped over it */
	read_records(1, false);
	CHECK_INT(fx.got[0].id.lo, 2);
}

TEST(records_of_milvus_2_6_are_refused)
{
	AUTO_BUF struct buf b = {0};

	setup();
	topic("a");
	tick_value(&b, 5, 0);
	produce("a", b.data, b.len, "", 1);
	produce("a", b.data, b.len, "1", 1);
	assigned(0, "a", 0);
	read_records(1, false); /* an empty _v says nothing */
	CHECK_INT(read_error(), -ERR_SOURCE_FORMAT);
	says("2.6");
	says("offset 1");
}

TEST(R10_pause_stops_one_pchannel_and_loses_or_repeats_nothing)
{
	uint64_t next_a = 0, next_b = 0;

	setup();
	topic("a");
	topic("b");
	assigned(0, "a", 0);
	assigned(1, "b", 0);
	for (int round = 0; round < 8; round++) {
		for (uint64_t i = 0; i < 10; i++) {
			produce_tick("a", 1 + (uint64_t)round * 10 + i);
			produce_tick("b", 1 + (uint64_t)round * 10 + i);
		}
		if (round % 2)
			CHECK(fx.ops->pause(fx.s, 0, false, &fx.err) == 0);
		read_records(round % 2 ? 3 : 1, false); /* leave some in our hands, some in librdkafka's */
		for (int i = 0; i < fx.count; i++) {
			uint64_t *next = fx.got[i].pchannel ? &next_b : &next_a;

			CHECKF(fx.got[i].id.lo == (*next)++, "pchannel %d", fx.got[i].pchannel);
		}
		CHECK(fx.ops->pause(fx.s, 0, true, &fx.err) == 0);
		CHECK(fx.ops->pause(fx.s, 0, true, &fx.err) == 0);
		for (int n = 0; n < 3; n++) {
			read_records(1, false);
			CHECK(fx.got[0].pchannel == 1 && fx.got[0].id.lo == next_b++);
		}
	}
	CHECK(fx.ops->pause(fx.s, 0, false, &fx.err) == 0);
	while (next_a < 80 || next_b < 80) {
		read_records(1, false);
		CHECK(fx.got[0].id.lo == (fx.got[0].pchannel ? next_b++ : next_a++));
	}
	nothing_comes(3);
	CHECK_INT(fx.ops->pause(fx.s, 5, true, &fx.err), -ERR_INTERNAL);
}

TEST(unassign_stops_and_assign_goes_anywhere)
{
	setup();
	topic("a");
	for (uint64_t i = 0; i < 30; i++)
		produce_tick("a", 1 + i);
	assigned(0, "a", 0);
	read_records(2, false); /* more is in our hands */
	fx.ops->unassign(fx.s, 0);
	fx.ops->unassign(fx.s, 0);
	fx.ops->unassign(fx.s, 77);
	nothing_comes(3);
	assigned(3, "a", 25);
	CHECK_INT(assign(4, at("a", 0)), -ERR_INTERNAL); /* one reader of a pchannel */
	read_records(5, false);
	CHECK(fx.got[0].pchannel == 3 && fx.got[0].id.lo == 25);
	assigned(3, "a", 28); /* in place of what was there */
	read_records(2, false);
	CHECK_INT(fx.got[0].id.lo, 28);
}

TEST(R11_a_position_beyond_the_end_is_gone)
{
	setup();
	topic("a");
	produce_tick("a", 1);
	assigned(0, "a", 1); /* the end itself is fine */
	CHECK_INT(assign(0, at("a", 2)), -ERR_POSITION_GONE);
	says("a: ");
	says("offset 2");
	says("holds 0 up to 1");
	nothing_comes(2);
}

TEST(R11_a_position_before_the_first_is_gone)
{
	char range[64];
	int64_t first;

	setup();
	topic("a");
	first = overrun("a");
	CHECK_INT(assign(0, at("a", 0)), -ERR_POSITION_GONE);
	snprintf(range, sizeof(range), "offset 0 is wanted, but Kafka %s holds only %lld up to 8",
		 fx.conf.kafka.address, (long long)first);
	says(range);
	says("lost");
	assigned(0, "a", (uint64_t)first);
}

static struct position guarded(const char *name, uint64_t next, const struct record *r)
{
	struct position p = at(name, next);

	p.guard.set = true;
	p.guard.id = r->id;
	p.guard.time_ms = r->time_ms;
	p.guard.hash = hash64(0, r->body, r->size);
	return p;
}

TEST(R11_the_guard_recognises_a_topic_that_was_made_again)
{
	struct position p;

	setup();
	topic("a");
	for (uint64_t i = 0; i < 5; i++)
		produce_tick("a", 1 + i);
	assigned(0, "a", 0);
	read_records(5, false);
	p = guarded("a", 4, &fx.got[3]);
	CHECKF(assign(0, p) == 0, "%s", fx.err.text);
	read_records(1, false);
	CHECK_INT(fx.got[0].id.lo, 4); /* the guard itself is not handed out */
	p.guard.hash ^= 1;
	CHECK_INT(assign(0, p), -ERR_POSITION_GONE);
	says("deleted and made again");
	p.guard.hash ^= 1;
	p.guard.time_ms++;
	CHECK_INT(assign(0, p), -ERR_POSITION_GONE);
	p.guard.time_ms--;
	p.guard.id.lo = 5; /* not there yet: the topic is shorter than what was read */
	CHECK_INT(assign(0, p), -ERR_POSITION_GONE);
	nothing_comes(2);
}

TEST(R11_an_expired_guard_is_no_alarm)
{
	struct position p;
	int64_t first;

	setup();
	topic("a");
	produce_tick("a", 1);
	assigned(0, "a", 0);
	read_records(1, false);
	p = guarded("a", 1, &fx.got[0]);
	first = overrun("a");
	p.next.lo = (uint64_t)first;
	CHECKF(assign(0, p) == 0, "%s", fx.err.text);
	read_records(1, false);
	CHECK_INT(fx.got[0].id.lo, first);
}

TEST(a_log_cut_under_us_is_gone_until_assigned_again_and_never_a_jump)
{
	int64_t first;

	setup();
	topic("a");
	produce_tick("a", 1);
	produce_tick("a", 2);
	assigned(0, "a", 0);
	read_records(1, false);
	CHECK(fx.ops->pause(fx.s, 0, true, &fx.err) == 0); /* slow, as far as the broker can tell */
	first = overrun("a");
	CHECK(fx.ops->pause(fx.s, 0, false, &fx.err) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(read_error(), -ERR_POSITION_GONE);
		says("offset 1 is wanted");
	}
	CHECK(fx.ops->pause(fx.s, 0, true, &fx.err) == 0);
	CHECK(fx.ops->pause(fx.s, 0, false, &fx.err) == 0);
	CHECK_INT(read_error(), -ERR_POSITION_GONE);
	assigned(0, "a", (uint64_t)first);
	read_records(1, false);
	CHECK_INT(fx.got[0].id.lo, first);
}

TEST(lost_brokers_are_named_and_what_follows_is_complete)
{
	setup();
	topic("a");
	topic("b");
	for (uint64_t i = 0; i < 10; i++)
		produce_tick("a", 1 + i);
	assigned(0, "a", 0);
	assigned(1, "b", 0);
	CHECK(fx.ops->pause(fx.s, 1, true, &fx.err) == 0);
	read_records(4, false);
	rd_kafka_mock_broker_set_down(fx.cluster, -1);
	for (int64_t end = now_ms() + WAIT_MS;;) {
		int n = fx.ops->read(fx.s, fx.got, 0, 50, &fx.err);

		if (n == -ERR_SOURCE_LOST)
			break;
		CHECKF(n == 0 && now_ms() < end, "%s", fx.err.text);
	}
	says(fx.conf.kafka.address);
	CHECK_INT(read_error(), -ERR_SOURCE_LOST); /* sticky */
	rd_kafka_mock_broker_set_up(fx.cluster, -1);
	read_records(6, true);
	for (int i = 0; i < 6; i++)
		CHECK(fx.got[i].pchannel == 0 && fx.got[i].id.lo == (uint64_t)(4 + i));
	produce_tick("a", 11);
	produce_tick("b", 1);
	read_records(1, true);
	CHECK(fx.got[0].pchannel == 0 && fx.got[0].id.lo == 10); /* b is paused still */
	CHECK(fx.ops->pause(fx.s, 1, false, &fx.err) == 0);
	read_records(1, true);
	CHECK(fx.got[0].pchannel == 1 && fx.got[0].id.lo == 0);
}

TEST(a_topic_that_brokers_forget_for_a_moment_goes_on)
{
	setup();
	topic("a");
	produce_tick("a", 1);
	assigned(0, "a", 0);
	read_records(1, false);
	missing("a", true);
	rd_kafka_mock_broker_set_down(fx.cluster, -1);
	CHECK_INT(read_error(), -ERR_SOURCE_LOST);
	rd_kafka_mock_broker_set_up(fx.cluster, -1);
	for (int64_t end = now_ms() + WAIT_MS; !strstr(fx.err.text, "does not know this topic");) {
		CHECK_INT(read_error(), -ERR_SOURCE_LOST);
		CHECKF(now_ms() < end, "%s", fx.err.text);
	}
	missing("a", false);
	produce_tick("a", 2);
	read_records(1, true);
	CHECK_INT(fx.got[0].id.lo, 1);
}

TEST(a_silent_topic_that_vanished_is_noticed)
{
	setup();
	topic("a");
	topic("b");
	produce_tick("a", 1);
	assigned(0, "a", 0);
	assigned(1, "b", 0);
	read_records(1, false);
	nothing_comes(2);
	missing("a", true); /* fetches still succeed, with nothing */
	CHECK_INT(read_error(), -ERR_SOURCE_LOST);
	says("a: ");
	says("does not know this topic");
	missing("a", false);
	produce_tick("a", 2);
	read_records(1, true);
	CHECK(fx.got[0].pchannel == 0 && fx.got[0].id.lo == 1);
}

TEST(an_error_of_one_fetch_is_reported_and_loses_nothing)
{
	setup();
	topic("a");
	produce_tick("a", 1);
	produce_tick("a", 2);
	rd_kafka_mock_push_request_errors(fx.cluster, API_FETCH, 1, RD_KAFKA_RESP_ERR_INVALID_REQUEST);
	assigned(0, "a", 0);
	CHECK_INT(read_error(), -ERR_SOURCE_LOST);
	says("offset 0");
	read_records(2, true);
	CHECK(fx.got[0].id.lo == 0 && fx.got[1].id.lo == 1);
}

TEST(a_full_queue_is_drained_and_filled_again_without_a_stall)
{
	AUTO_BUF struct buf b = {0};
	int64_t start, next = 0;

	setup();
	topic("a");
	tick_value(&b, 1, 100);
	for (int i = 0; i < 40000; i++)
		CHECK(rd_kafka_producev(fx.producer, RD_KAFKA_V_TOPIC("a"), RD_KAFKA_V_PARTITION(0),
					RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
					RD_KAFKA_V_VALUE(b.data, b.len), RD_KAFKA_V_END) == 0);
	CHECK(rd_kafka_flush(fx.producer, WAIT_MS) == 0);
	assigned(0, "a", 0);
	start = now_ms();
	while (next < 40000) {
		read_records(next + 500 < 40000 ? 500 : (int)(40000 - next), false);
		for (int i = 0; i < fx.count; i++)
			CHECK_INT(fx.got[i].id.lo, next++);
	}
	/* librdkafka by itself looks at a drained queue once a second, four times here */
	CHECKF(now_ms() - start < 2500, "%lld ms", (long long)(now_ms() - start));
}

TEST(nothing_is_left_behind)
{
	setup();
	fx.ops->close(fx.s);
	fx.ops->close(NULL);
	fx.s = NULL;
	rd_kafka_destroy(fx.producer);
	fx.producer = NULL;
	CHECK(rd_kafka_wait_destroyed(5000) == 0);
}
#endif

TEST_MAIN()
