/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka source where the log is not what it was: gaps (R11), lost brokers, topics that vanish. */
#include "kafka_kit.h"

TEST(R11_a_position_beyond_the_end_is_gone)
{
	setup();
	topic("a");
	produce_tick("a", 1);
	assigned(0, "a", 1); /* the end itself is fine */
	CHECK_INT(assign(0, at("a", 2)), -ERR_POSITION_GONE);
	CHECK_STR(fx.err.pchannel, "a");
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
		CHECK_STR(fx.err.pchannel, "a");
		says("offset 1 is wanted");
	}
	CHECK(fx.ops->pause(fx.s, 0, true, &fx.err) == 0);
	CHECK(fx.ops->pause(fx.s, 0, false, &fx.err) == 0);
	CHECK_INT(read_error(), -ERR_POSITION_GONE);
	assigned(0, "a", (uint64_t)first);
	read_records(1, false);
	CHECK_INT(fx.got[0].id.lo, first);
}

TEST(R11_the_span_that_is_missing_begins_at_the_last_message_that_was_read)
{
	AUTO_BUF struct buf b = {0};
	struct position p;

	setup();
	topic("a");
	tick_value(&b, 1, 0);
	produce("a", b.data, b.len, NULL, 1700000000000);
	produce("a", b.data, b.len, NULL, 1700000060000);
	p = at("a", 0);
	p.ts = 1; /* the time of the assignment, which for the replicate channel may be as good as none */
	CHECKF(assign(0, p) == 0, "%s", fx.err.text);
	read_records(2, false);
	CHECK(fx.ops->pause(fx.s, 0, true, &fx.err) == 0);
	overrun("a"); /* by messages of 1970: nothing tells where the gap ends */
	CHECK(fx.ops->pause(fx.s, 0, false, &fx.err) == 0);
	CHECK_INT(read_error(), -ERR_POSITION_GONE);
	says("rows from 2023-11-14T22:14:20Z up to now are missing");
}

TEST(R11_a_span_without_a_known_beginning_is_that_of_the_task)
{
	struct position p;

	setup();
	topic("a");
	produce_tick("a", 1);
	p = at("a", 2);
	p.ts = 1;
	CHECK_INT(assign(0, p), -ERR_POSITION_GONE);
	says("rows from the start of the task up to 1970-01-01T00:00:01Z are missing");
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

TEST(a_topic_that_starting_brokers_do_not_know_yet_is_waited_for)
{
	int64_t begin;

	setup();
	topic("a");
	produce_tick("a", 1);
	produce_tick("a", 2);
	missing("a", true); /* a common start: Kafka answers before it knows its topics */
	for (int i = 0; i < 3; i++) {
		CHECK_INT(assign(0, at("a", 1)), -ERR_SOURCE_LOST);
		CHECK_STR(fx.err.pchannel, "a");
		says("does not know this topic");
		nothing_comes(1);
	}
	missing("a", false);
	assigned(0, "a", 1);
	read_records(1, false);
	CHECK_INT(fx.got[0].id.lo, 1);
	fx.ops->unassign(fx.s, 0);
	missing("a", true); /* this time for good */
	begin = now_ms();
	CHECK_INT(assign_finally(0, at("a", 1)), -ERR_POSITION_GONE);
	CHECKF(now_ms() - begin >= 9900, "after %lld ms", (long long)(now_ms() - begin));
	says("offset 1 is wanted");
	CHECK_INT(assign(0, at("a", 1)), -ERR_POSITION_GONE); /* and stays so */
	missing("a", false);
	assigned(0, "a", 1);
}

TEST(R11_what_was_gone_is_looked_at_again_when_other_brokers_come)
{
	int rc;

	setup();
	topic("a");
	produce_tick("a", 1);
	assigned(0, "a", 0);
	read_records(1, false);
	missing("a", true); /* the address leads to another Kafka for a while */
	rd_kafka_mock_broker_set_down(fx.cluster, -1);
	CHECK_INT(read_error(), -ERR_SOURCE_LOST);
	rd_kafka_mock_broker_set_up(fx.cluster, -1);
	for (int64_t end = now_ms() + 2 * WAIT_MS; (rc = read_error()) != -ERR_POSITION_GONE;)
		CHECKF(rc == -ERR_SOURCE_LOST && now_ms() < end, "%s", fx.err.text);
	missing("a", false);
	CHECK_INT(read_error(), -ERR_POSITION_GONE); /* the same brokers: an operator decides */
	rd_kafka_mock_broker_set_down(fx.cluster, -1);
	for (int64_t end = now_ms() + WAIT_MS; (rc = read_error()) != -ERR_SOURCE_LOST;)
		CHECKF(rc == -ERR_POSITION_GONE && now_ms() < end, "%s", fx.err.text);
	rd_kafka_mock_broker_set_up(fx.cluster, -1);
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
	int64_t next = 0;

	setup();
	topic("a");
	tick_value(&b, 1, 100);
	for (int i = 0; i < 40000; i++)
		CHECK(rd_kafka_producev(fx.producer, RD_KAFKA_V_TOPIC("a"), RD_KAFKA_V_PARTITION(0),
					RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
					RD_KAFKA_V_VALUE(b.data, b.len), RD_KAFKA_V_END) == 0);
	CHECK(rd_kafka_flush(fx.producer, WAIT_MS) == 0);
	assigned(0, "a", 0);
	while (next < 40000) {
		read_records(next + 500 < 40000 ? 500 : (int)(40000 - next), false);
		for (int i = 0; i < fx.count; i++)
			CHECK_INT(fx.got[i].id.lo, next++);
	}
	/* librdkafka by itself looks at a drained queue once a second: then there are some 25 of them */
	CHECKF(fx.empty < 10, "%d empty reads", fx.empty);
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
