/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kafka source on librdkafka's mock cluster: a broker in this process, which can be taken down, made
 * to fail, and which drops the head of a partition beyond 5 MB (that is our retention).
 */
#ifndef KAFKA_KIT_H
#define KAFKA_KIT_H

#include "../t.h"

#include <cdc/mem.h>
#include <cdc/pb.h>
#include <cdc/source.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <time.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* a test file takes what it needs */

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
	int count, empty; /* empty: reads in vain of read_records() */
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

/* As long as the topic may come yet; returns what is final. */
static int assign_finally(int index, struct position p)
{
	int64_t end = now_ms() + 2 * WAIT_MS;
	int rc;

	while ((rc = assign(index, p)) == -ERR_SOURCE_LOST) {
		CHECKF(now_ms() < end, "%s", fx.err.text);
		CHECK_INT(fx.ops->read(fx.s, fx.got, 512, 100, NULL), 0); /* waits: nothing is assigned */
	}
	return rc;
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
		fx.empty += n == 0;
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

#endif
