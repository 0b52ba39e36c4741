/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka source: delivery. source_kafka.h has the whole picture and the invariants. */
#include "source_kafka.h"

#include "decode.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define GUARD_LIMIT 4096       /* only messages up to this size are remembered as guards: hashing is cheap */
#define CHECK_LIMIT_MS 1000    /* longest wait of a gap check inside of read() */
#define MISSING_LIMIT_MS 10000 /* a topic may be unknown that long, while brokers start */
#define SILENT_LIMIT_MS 5000   /* after so much silence of a pchannel the broker is asked for it */
#define DRAIN_BYTES ((size_t)2 << 20) /* after so much the fetchers may have stopped: wake them */
#define DRAIN_MESSAGES 2000

/* A record's hold on its message, and on the client that must outlive it. */
struct held {
	struct source *s;
	rd_kafka_message_t *message;
};

static void source_unref(struct source *s)
{
	if (atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	if (s->rk)
		rd_kafka_destroy(s->rk);
	pthread_mutex_destroy(&s->lock);
	free(s->missing);
	free(s);
}

static void held_release(void *handle)
{
	struct held *h = handle;

	rd_kafka_message_destroy(h->message);
	source_unref(h->s);
	free(h);
}

static int kafka_open(struct source **ret, const struct conf_source *conf, struct err *err)
{
	struct source *s = xcalloc(1, sizeof(*s));
	int rc;

	s->conf = &conf->kafka;
	atomic_init(&s->refs, 1);
	pthread_mutex_init(&s->lock, NULL);
	if ((rc = kafka_client_open(s, err)) < 0) {
		source_unref(s);
		return rc;
	}
	s->queue = rd_kafka_queue_new(s->rk);
	*ret = s;
	return 0;
}

/* Forgets what was taken of p and not handed out: it will be read again (K1). */
static void drop_batch(struct source *s, const struct part *p)
{
	for (int i = s->batch_at; i < s->batch_count; i++)
		if (s->batch[i] && (!p || s->batch[i]->rkt == p->topic)) {
			rd_kafka_message_destroy(s->batch[i]);
			s->batch[i] = NULL;
		}
}

static void part_stop(struct source *s, struct part *p, enum part_state state)
{
	if (p->state == PART_ON)
		rd_kafka_consume_stop(p->topic, 0);
	drop_batch(s, p);
	p->state = state;
}

static int part_start(struct source *s, struct part *p, struct err *err)
{
	p->state = PART_CHECK;
	if (rd_kafka_consume_start_queue(p->topic, 0, p->next, s->queue) < 0)
		return kafka_failed(s, p->pchannel, rd_kafka_last_error(), err);
	p->state = PART_ON;
	p->heard_ms = kafka_now_ms();
	return 0;
}

/* After a passed gap check: on, or paused if the caller wants it so. */
static int part_go(struct source *s, struct part *p, struct err *err)
{
	if (p->paused) {
		p->state = PART_PAUSED;
		return 0;
	}
	return part_start(s, p, err);
}

static struct part *part_of(struct source *s, int index)
{
	struct part *p = index >= 0 && index < s->part_count ? s->parts[index] : NULL;

	return p && p->state != PART_FREE ? p : NULL;
}

static void kafka_unassign(struct source *s, int index)
{
	struct part *p = part_of(s, index);

	if (!p)
		return;
	part_stop(s, p, PART_FREE);
	rd_kafka_topic_destroy(p->topic);
	*p = (struct part){0};
}

static void kafka_close(struct source *s)
{
	if (!s)
		return;
	for (int i = 0; i < s->part_count; i++) {
		kafka_unassign(s, i);
		free(s->parts[i]);
	}
	free(s->parts);
	drop_batch(s, NULL);
	rd_kafka_queue_destroy(s->queue);
	source_unref(s);
}

static int64_t until(int timeout_ms)
{
	return kafka_now_ms() + timeout_ms;
}

static int kafka_bounds_op(struct source *s, const char *pchannel, int timeout_ms, struct mq_id *first,
			   struct mq_id *end, struct err *err)
{
	int64_t low, high;
	int rc;

	rd_kafka_poll(s->rk, 0);
	if ((rc = kafka_bounds(s, pchannel, until(timeout_ms), &low, &high, err)) < 0)
		return rc;
	*first = (struct mq_id){.lo = (uint64_t)low};
	*end = (struct mq_id){.lo = (uint64_t)high};
	return 0;
}

static int kafka_at_time_op(struct source *s, const char *pchannel, int64_t time_ms, int timeout_ms,
			    struct mq_id *ret, struct err *err)
{
	int64_t offset;
	int rc;

	rd_kafka_poll(s->rk, 0);
	if ((rc = kafka_at_time(s, pchannel, time_ms, until(timeout_ms), &offset, err)) < 0)
		return rc;
	*ret = (struct mq_id){.lo = (uint64_t)offset};
	return 0;
}

static int kafka_start_id(const uint8_t *bytes, size_t n, struct mq_id *ret, struct err *err)
{
	uint64_t offset = 0;

	if (n != 8)
		return err_set(err, ERR_SOURCE_FORMAT, "start position of %zu bytes, a Kafka offset has 8",
			       n);
	for (int i = 0; i < 8; i++)
		offset |= (uint64_t)bytes[i] << (8 * i);
	if (offset > INT64_MAX)
		return err_set(err, ERR_SOURCE_FORMAT, "start position %" PRId64 " is no Kafka offset",
			       (int64_t)offset);
	*ret = (struct mq_id){.lo = offset};
	return 0;
}

static struct part *part_slot(struct source *s, int index)
{
	if (index >= s->part_count) {
		s->parts = xrealloc(s->parts, ((size_t)index + 1) * sizeof(*s->parts));
		while (s->part_count <= index)
			s->parts[s->part_count++] = NULL;
	}
	if (!s->parts[index])
		s->parts[index] = xcalloc(1, sizeof(**s->parts));
	return s->parts[index];
}

/* What was found now: for how many ms has the topic been missing? */
static int64_t missing_for(struct source *s, const char *pchannel, bool missing)
{
	int i = 0;

	while (i < s->missing_count && !STREQ(s->missing[i].pchannel, pchannel))
		i++;
	if (i == s->missing_count && missing) {
		s->missing = xrealloc(s->missing, ((size_t)i + 1) * sizeof(*s->missing));
		s->missing[i].since_ms = kafka_now_ms();
		snprintf(s->missing[i].pchannel, PCHANNEL_MAX, "%s", pchannel);
		s->missing_count++;
	} else if (i < s->missing_count && !missing) {
		s->missing[i] = s->missing[--s->missing_count];
	}
	return missing ? kafka_now_ms() - s->missing[i].since_ms : 0;
}

/*
 * The gap check of a part that is not started. A topic that was there may be unknown to brokers that are
 * starting up, so that becomes final only after a while.
 */
static int part_check(struct source *s, struct part *p, int64_t end, struct err *err)
{
	bool missing;
	int rc = kafka_check(s, p, end, &missing, err);
	int64_t ms = missing_for(s, p->pchannel, missing);

	if (rc == -ERR_POSITION_GONE && missing && ms < MISSING_LIMIT_MS)
		return err_set(err, ERR_SOURCE_LOST, "%s: Kafka %s does not know this topic at the moment",
			       p->pchannel, s->conf->address);
	return rc;
}

static int kafka_assign(struct source *s, int index, const struct position *pos, int timeout_ms,
			struct err *err)
{
	struct part *p;
	int rc;

	if (index < 0 || index >= KAFKA_INDEX_MAX || pos->next.lo > INT64_MAX || pos->guard.id.lo > INT64_MAX)
		return err_set(err, ERR_INTERNAL, "%s: cannot be assigned as %d", pos->pchannel, index);
	rd_kafka_poll(s->rk, 0);
	kafka_unassign(s, index);
	for (int i = 0; i < s->part_count; i++)
		if ((p = part_of(s, i)) && STREQ(p->pchannel, pos->pchannel))
			return err_set(err, ERR_INTERNAL, "%s: is assigned as %d already", pos->pchannel, i);
	p = part_slot(s, index);
	*p = (struct part){.state = PART_CHECK, .next = (int64_t)pos->next.lo, .hole_end = -1, .pos = *pos};
	memcpy(p->pchannel, pos->pchannel, sizeof(p->pchannel));
	p->topic = rd_kafka_topic_new(s->rk, p->pchannel, NULL);
	if (!p->topic) {
		*p = (struct part){0};
		return kafka_failed(s, pos->pchannel, rd_kafka_last_error(), err);
	}
	if ((rc = part_check(s, p, until(timeout_ms), err)) < 0 || (rc = part_go(s, p, err)) < 0)
		kafka_unassign(s, index);
	return err_about(rc, err, pos->pchannel);
}

/* Stop and start at `next`: librdkafka's own pause throws its queue away just the same. */
static int kafka_pause(struct source *s, int index, bool paused, struct err *err)
{
	struct part *p = part_of(s, index);

	if (!p)
		return err_set(err, ERR_INTERNAL, "pchannel %d is not assigned", index);
	p->paused = paused;
	if (paused && p->state == PART_ON)
		part_stop(s, p, PART_PAUSED);
	else if (!paused && p->state == PART_PAUSED)
		return part_start(s, p, err);
	return 0;
}

static int part_index(struct source *s, const rd_kafka_message_t *m)
{
	for (int i = 0; i < s->part_count; i++)
		if (s->parts[i] && s->parts[i]->state == PART_ON && s->parts[i]->topic == m->rkt)
			return i;
	return -1;
}

/* Waits for a first message and takes what is there with it. */
static void take_batch(struct source *s, int wait_ms)
{
	rd_kafka_message_t *m = rd_kafka_consume_queue(s->queue, 0);
	ssize_t n;

	s->batch_at = s->batch_count = 0;
	if (!m) { /* drained */
		if (s->drained > DRAIN_BYTES || s->drained_messages > DRAIN_MESSAGES)
			kafka_wake(s);
		s->drained = 0;
		s->drained_messages = 0;
		m = rd_kafka_consume_queue(s->queue, wait_ms);
	}
	if (!m)
		return;
	s->batch[0] = m;
	n = rd_kafka_consume_batch_queue(s->queue, 0, s->batch + 1, KAFKA_BATCH - 1);
	s->batch_count = 1 + (n > 0 ? (int)n : 0);
	s->drained_messages += s->batch_count;
	for (int i = 0; i < s->batch_count; i++)
		s->drained += s->batch[i]->len;
}

/* Milvus 2.6 marks the records of its own log so; we cannot read them. */
static bool is_streaming_record(const rd_kafka_message_t *m)
{
	rd_kafka_headers_t *headers;
	const void *value;
	size_t size;

	return rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
	       rd_kafka_header_get_last(headers, "_v", &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR &&
	       size > 0;
}

/* R11, while it runs: the last small message is what a recreated topic is recognised by. */
static void remember(struct part *p, const rd_kafka_message_t *m, int64_t time_ms)
{
	p->next = m->offset + 1;
	p->hole_end = -1;
	p->heard_ms = kafka_now_ms();
	if (m->len > GUARD_LIMIT)
		return;
	p->pos.guard.set = true;
	p->pos.guard.id = (struct mq_id){.lo = (uint64_t)m->offset};
	p->pos.guard.time_ms = time_ms;
	p->pos.guard.hash = hash64(0, m->payload, m->len);
}

/*
 * A message-shaped error: p stops before it, so nothing after it is handed out (K1). 0: the gap
 * check will find out what is the matter. Else the error; the check and a new start follow.
 */
static int part_fault(struct source *s, struct part *p, const rd_kafka_message_t *m, struct err *err)
{
	part_stop(s, p, PART_CHECK);
	switch (m->err) {
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		return 0;
	case RD_KAFKA_RESP_ERR__BAD_MSG: /* checksum */
	case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
	case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED: /* a compression that this librdkafka was built without */
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
		return err_set(err, ERR_SOURCE_FORMAT,
			       "%s: Kafka %s gives something damaged for offset %" PRId64 ": %s", p->pchannel,
			       s->conf->address, p->next, rd_kafka_message_errstr(m));
	default:
		return err_set(err, ERR_SOURCE_LOST, "%s: Kafka %s: offset %" PRId64 ": %s", p->pchannel,
			       s->conf->address, p->next, rd_kafka_message_errstr(m));
	}
}

/* One message to a record, which owns it from then on. 1: done. 0: it is empty. Else the error. */
static int make_record(struct source *s, int index, rd_kafka_message_t *m, struct record *ret,
		       struct err *err)
{
	struct part *p = s->parts[index];
	rd_kafka_timestamp_type_t type;
	int64_t time_ms = rd_kafka_message_timestamp(m, &type);
	struct held *held;
	int rc;

	if (m->len > 0) {
		if (is_streaming_record(m))
			return err_set(err, ERR_SOURCE_FORMAT,
				       "%s: the message at offset %" PRId64
				       " was written by Milvus 2.6 or later: "
				       "sources from 2.6 on are not supported",
				       p->pchannel, m->offset);
		*ret = (struct record){0};
		if ((rc = decode_record(ret, m->payload, m->len, err)) < 0)
			return err_prefix(err, "%s: offset %" PRId64, p->pchannel, m->offset), rc;
	}
	remember(p, m, time_ms);
	if (m->len == 0)
		return 0;
	held = xmalloc(sizeof(*held));
	*held = (struct held){s, m};
	atomic_fetch_add(&s->refs, 1);
	ret->pchannel = index;
	ret->id = (struct mq_id){.lo = (uint64_t)m->offset};
	ret->time_ms = time_ms;
	ret->handle = held;
	ret->release = held_release;
	return 1;
}

/*
 * K3: librdkafka never should step over a message. If it does, the part is read again from its
 * `next`; seen a second time at the same place it is a hole in the log itself. True: m is next.
 */
static bool in_sequence(struct source *s, struct part *p, const rd_kafka_message_t *m)
{
	if (m->offset == p->next || m->offset == p->hole_end)
		return true;
	if (m->offset > p->next) {
		part_stop(s, p, PART_CHECK);
		p->hole_end = m->offset;
		part_start(s, p, NULL); /* if it fails, it is checked again */
	}
	return false;
}

/* Hands out up to max records of the batch; the message that fails stays, for the next call. */
static int hand_out(struct source *s, struct record *ret, size_t max, struct err *err)
{
	size_t n = 0;

	for (; s->batch_at < s->batch_count && n < max; s->batch_at++) {
		rd_kafka_message_t *m = s->batch[s->batch_at];
		int index = m ? part_index(s, m) : -1, rc = 0;

		s->batch[s->batch_at] = NULL;
		if (index >= 0 && m->err)
			rc = part_fault(s, s->parts[index], m, err);
		else if (index >= 0 && in_sequence(s, s->parts[index], m))
			rc = make_record(s, index, m, &ret[n], err);
		n += rc > 0;
		if (rc < 0 && !m->err)
			s->batch[s->batch_at--] = m; /* stays for the next call */
		else if (rc <= 0 && m)
			rd_kafka_message_destroy(m);
		if (rc < 0) {
			s->batch_at++;
			return n ? (int)n : err_about(rc, err, s->parts[index]->pchannel);
		}
	}
	return (int)n;
}

/* All brokers are lost: whatever comes back may be another cluster, or the true one again (K2): all is
 * checked. */
static void stop_all(struct source *s)
{
	for (int i = 0; i < s->part_count; i++)
		if (s->parts[i] && s->parts[i]->state != PART_FREE && s->parts[i]->state != PART_CHECK)
			part_stop(s, s->parts[i], PART_CHECK);
}

/* The gap check of one part inside of read(). */
static int recheck(struct source *s, struct part *p, struct err *err)
{
	struct err e = {0};
	int rc = part_check(s, p, until(CHECK_LIMIT_MS), &e);

	if (rc == 0 && (rc = part_go(s, p, &e)) == 0)
		return 0;
	if (rc == -ERR_POSITION_GONE) {
		p->state = PART_GONE;
		p->gone = e;
	}
	return err_set(err, e.code, "%s", e.text);
}

/*
 * librdkafka fetches from a deleted topic for ever, says nothing, and would go on with a new one of
 * the same name: so a pchannel that is silent is looked after, one a call.
 */
static void watch_silent(struct source *s)
{
	int64_t now = kafka_now_ms();

	for (int i = 0; i < s->part_count; i++) {
		struct part *p = part_of(s, i);

		if (!p || p->state != PART_ON || now - p->heard_ms < SILENT_LIMIT_MS)
			continue;
		p->heard_ms = now;
		if (!kafka_still_there(s, p, until(CHECK_LIMIT_MS)))
			part_stop(s, p, PART_CHECK);
		return;
	}
}

static int kafka_read(struct source *s, struct record *ret, size_t max, int wait_ms, struct err *err)
{
	struct part *check = NULL, *p;
	int rc;

	rd_kafka_poll(s->rk, 0);
	if (s->recheck)
		stop_all(s);
	s->recheck = false;
	for (int i = 0; i < s->part_count; i++) {
		if (!(p = part_of(s, i)))
			continue;
		if (p->state == PART_GONE)
			return err_about(err_set(err, p->gone.code, "%s", p->gone.text), err, p->pchannel);
		if (p->state == PART_CHECK && !check)
			check = p;
	}
	if (s->batch_at >= s->batch_count)
		take_batch(s, check ? 0 : wait_ms);
	rc = hand_out(s, ret, max, err);
	if (rc != 0)
		return rc;
	if (check)
		return err_about(recheck(s, check, err), err, check->pchannel);
	watch_silent(s);
	return 0;
}

const struct source_ops source_kafka = {
	.name = "kafka",
	.open = kafka_open,
	.close = kafka_close,
	.bounds = kafka_bounds_op,
	.at_time = kafka_at_time_op,
	.start_id = kafka_start_id,
	.assign = kafka_assign,
	.unassign = kafka_unassign,
	.pause = kafka_pause,
	.read = kafka_read,
	.limits = kafka_limits,
};
