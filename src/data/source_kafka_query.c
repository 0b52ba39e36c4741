/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions of the Kafka source to the broker: bounds, times, one message, the gap check (R11).
 * All of them end at the given time: rd_kafka_offsets_for_times() is used for bounds as well,
 * because rd_kafka_query_watermark_offsets() of librdkafka 2.0 waits for a hung broker for ever.
 */
#include "source_kafka.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static int remaining(int64_t until)
{
	int64_t left = until - kafka_now_ms();

	return left > 0 ? (int)left : 0;
}

static bool says_missing(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
	       code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

/* One ListOffsets. what: a time in ms, RD_KAFKA_OFFSET_BEGINNING or _END. *ret: -1 when none fits. */
static rd_kafka_resp_err_t list_offset(struct source *s, const char *pchannel, int64_t what, int64_t until,
				       int64_t *ret)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(list, pchannel, 0);
	rd_kafka_resp_err_t code;

	at->offset = what;
	code = rd_kafka_offsets_for_times(s->rk, list, remaining(until));
	if (!code)
		code = list->elems[0].err;
	if (!code)
		*ret = list->elems[0].offset;
	rd_kafka_topic_partition_list_destroy(list);
	return code;
}

/* Does the broker know the topic? Never creates it. 1, 0, or an error. */
static int topic_exists(struct source *s, const char *pchannel, int64_t until, struct err *err)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(s->rk, pchannel, NULL);
	const struct rd_kafka_metadata *md;
	rd_kafka_resp_err_t code;

	if (!topic)
		return kafka_failed(s, pchannel, rd_kafka_last_error(), err);
	code = rd_kafka_metadata(s->rk, 0, topic, &md, remaining(until));
	rd_kafka_topic_destroy(topic);
	if (code)
		return kafka_failed(s, pchannel, code, err);
	code = md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN;
	rd_kafka_metadata_destroy(md);
	if (says_missing(code))
		return 0;
	return code ? kafka_failed(s, pchannel, code, err) : 1;
}

/*
 * list_offset() with an error in words. A topic is called missing (POSITION_GONE) only when the
 * broker says so now; what librdkafka remembers of it may be older than the topic.
 */
static int ask(struct source *s, const char *pchannel, int64_t what, int64_t until, int64_t *ret,
	       struct err *err)
{
	rd_kafka_resp_err_t code;
	int rc;

	for (int again = 0; (code = list_offset(s, pchannel, what, until, ret)) != 0; again++) {
		if (!says_missing(code) || again)
			return kafka_failed(s, pchannel, code, err);
		if ((rc = topic_exists(s, pchannel, until, err)) < 0)
			return rc;
		if (rc == 0) {
			kafka_client_well(s);
			rc = err_set(err, ERR_POSITION_GONE, "%s: Kafka %s has no such topic", pchannel,
				     s->conf->address);
			return err_about(rc, err, pchannel);
		}
	}
	kafka_client_well(s);
	return 0;
}

int kafka_bounds(struct source *s, const char *pchannel, int64_t until, int64_t *first, int64_t *end,
		 struct err *err)
{
	int64_t low, high;
	int rc;

	if ((rc = ask(s, pchannel, RD_KAFKA_OFFSET_BEGINNING, until, &low, err)) < 0 ||
	    (rc = ask(s, pchannel, RD_KAFKA_OFFSET_END, until, &high, err)) < 0)
		return rc;
	*first = low;
	*end = high;
	return 0;
}

int kafka_at_time(struct source *s, const char *pchannel, int64_t time_ms, int64_t until, int64_t *ret,
		  struct err *err)
{
	int64_t end, found;
	int rc;

	/* the end first: what arrives between the two questions must not be stepped over */
	if ((rc = ask(s, pchannel, RD_KAFKA_OFFSET_END, until, &end, err)) < 0)
		return rc;
	/* negative times mean bounds in the protocol */
	if ((rc = ask(s, pchannel, time_ms > 0 ? time_ms : 0, until, &found, err)) < 0)
		return rc;
	*ret = found >= 0 ? found : end;
	return 0;
}

/* The first message at or after offset, through a queue of its own. The part must not be started. */
static int read_one(struct source *s, const struct part *p, int64_t offset, int64_t until,
		    rd_kafka_message_t **ret, struct err *err)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(s->rk);
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
	rd_kafka_message_t *m = NULL;

	if (rd_kafka_consume_start_queue(p->topic, 0, offset, queue) < 0) {
		code = rd_kafka_last_error();
	} else {
		m = rd_kafka_consume_queue(queue, remaining(until));
		if (m && m->err) {
			code = m->err;
			rd_kafka_message_destroy(m);
			m = NULL;
		}
		rd_kafka_consume_stop(p->topic, 0);
	}
	rd_kafka_queue_destroy(queue);
	if (!m)
		return kafka_failed(s, p->pchannel, code, err);
	*ret = m;
	return 0;
}

static void when(int64_t ms, char ret[40])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(ret, 40, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/*
 * From when to when rows are missing, as well as it can be said; first: of the topic, < 0: it has none.
 * pos.ts is of the assignment, the guard is of the last message read. A log that begins before that is an
 * older one: it does not tell where the gap ends.
 */
static void lost_span(struct source *s, const struct part *p, int64_t first, int64_t until, char *ret,
		      size_t n)
{
	char from[40] = "the start of the task", to[40] = "now";
	int64_t since = ts_ms(p->pos.ts), resumes = 0;
	rd_kafka_timestamp_type_t type;
	rd_kafka_message_t *m = NULL;
	struct err ignored;

	if (p->pos.guard.set && p->pos.guard.time_ms > since)
		since = p->pos.guard.time_ms;
	if (since > 0)
		when(since, from);
	if (first >= 0 && read_one(s, p, first, until, &m, &ignored) == 0) {
		resumes = rd_kafka_message_timestamp(m, &type);
		rd_kafka_message_destroy(m);
	}
	if (resumes > since)
		when(resumes, to);
	snprintf(ret, n, "rows from %s up to %s are missing", from, to);
}

#define REMEDY \
	"nothing later was applied. Delete the task and create it anew, and copy what the target lacks by " \
	"other means, such as a backup"

static int made_again(struct source *s, const struct part *p, const char *how, int64_t first, int64_t until,
		      struct err *err)
{
	char span[128];

	lost_span(s, p, first, until, span, sizeof(span));
	return err_set(
		err, ERR_POSITION_GONE,
		"%s: the topic was deleted and made again, or restored from a backup: %s; %s, as far as "
		"they were not read; " REMEDY,
		p->pchannel, how, span);
}

/* R11: is the message that we remember still the one at its offset? first: of the topic. */
static int check_guard(struct source *s, const struct part *p, int64_t first, int64_t until, struct err *err)
{
	int64_t at = (int64_t)p->pos.guard.id.lo;
	rd_kafka_timestamp_type_t type;
	rd_kafka_message_t *m = NULL;
	char how[128];
	bool same;
	int rc;

	if (!p->pos.guard.set || at < first)
		return 0; /* retention took it: next is still there, that is enough */
	if ((rc = read_one(s, p, at, until, &m, err)) < 0)
		return rc;
	same = m->offset == at && rd_kafka_message_timestamp(m, &type) == p->pos.guard.time_ms &&
	       hash64(0, m->payload, m->len) == p->pos.guard.hash;
	rd_kafka_message_destroy(m);
	if (same)
		return 0;
	snprintf(how, sizeof(how), "offset %" PRId64 " holds another message than the one that was read", at);
	return made_again(s, p, how, first, until, err);
}

int kafka_check(struct source *s, const struct part *p, int64_t until, bool *missing, struct err *err)
{
	bool fresh = p->next == 0 && !p->pos.guard.set;
	int64_t first, end;
	char how[128], span[128];
	int rc;

	rc = kafka_bounds(s, p->pchannel, until, &first, &end, err);
	*missing = rc == -ERR_POSITION_GONE;
	if (*missing && fresh)
		return err_set(err, ERR_SOURCE_WAIT, "%s: Kafka %s does not have this topic yet", p->pchannel,
			       s->conf->address);
	if (*missing) {
		lost_span(s, p, -1, until, span, sizeof(span));
		return err_set(err, ERR_POSITION_GONE,
			       "%s: offset %" PRId64
			       " is wanted, but Kafka %s does not have this topic any more: "
			       "%s and lost to this task; " REMEDY,
			       p->pchannel, p->next, s->conf->address, span);
	}
	if (rc < 0)
		return rc;
	if (p->next > end || (p->pos.guard.set && (int64_t)p->pos.guard.id.lo >= end)) {
		snprintf(how, sizeof(how),
			 "offset %" PRId64 " is wanted, it holds %" PRId64 " up to %" PRId64, p->next, first,
			 end);
		return made_again(s, p, how, first < end ? first : -1, until, err);
	}
	if (p->next < first) {
		lost_span(s, p, first < end ? first : -1, until, span, sizeof(span));
		return err_set(
			err, ERR_POSITION_GONE,
			"%s: offset %" PRId64 " is wanted, but Kafka %s holds only %" PRId64 " up to %" PRId64
			": %s, they were removed there (retention) before they were read and are lost to "
			"this task; " REMEDY,
			p->pchannel, p->next, s->conf->address, first, end, span);
	}
	return check_guard(s, p, first, until, err);
}

bool kafka_still_there(struct source *s, const struct part *p, int64_t until)
{
	int64_t end;
	int rc = ask(s, p->pchannel, RD_KAFKA_OFFSET_END, until, &end, NULL);

	return rc < 0 ? rc != -ERR_POSITION_GONE : end >= p->next;
}

void kafka_wake(struct source *s)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(s->part_count);

	/* a question to each leader, whose answer nobody waits for, wakes the thread that fetches */
	for (int i = 0; i < s->part_count; i++)
		if (s->parts[i] && s->parts[i]->state == PART_ON)
			rd_kafka_topic_partition_list_add(list, s->parts[i]->pchannel, 0)->offset =
				RD_KAFKA_OFFSET_END;
	if (list->cnt)
		rd_kafka_offsets_for_times(s->rk, list, 0);
	rd_kafka_topic_partition_list_destroy(list);
}
