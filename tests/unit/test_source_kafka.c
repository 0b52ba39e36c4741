/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka source: settings, bounds, order, pause, what cannot be read. Lost places:
 * test_source_kafka_gap.c. */
#include "kafka_kit.h"

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
	CHECK_INT(assign_finally(0, p), -ERR_POSITION_GONE);
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
		CHECK_STR(fx.err.pchannel, "a");
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

TEST_MAIN()
