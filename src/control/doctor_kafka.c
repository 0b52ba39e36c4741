/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor and the source's Kafka: login, topics, ticks as they come in, clocks, message sizes, and how
 * long the log still holds what a task has not read.
 */
#include "doctor_priv.h"

#include <cdc/worker.h>

#include <inttypes.h>
#include <stdlib.h>

#define TAIL 64      /* messages before the end that are read, too: the last tick of a silent pchannel */
#define LIVE_TICKS 3 /* that come in while we look */
#define BATCH 64
#define CLOCK_MAX_MS 2000
#define MARGIN_LEAST_H 24
#define RETENTION_MS 5000 /* for all pchannels of a task */
#define HOUR_MS 3600000.0

struct ticks {
	int live;          /* that came while we looked */
	int64_t last_ms;   /* the newest; 0: none */
	int64_t behind_ms; /* the least that our clock was ahead of a live one's time */
};

/* ---- ticks and clocks ---- */

static void take(struct ticks *t, const struct record *r, struct mq_id end)
{
	int64_t ms = ts_ms(r->ts), ahead = clock_real_ms() - ms;

	if (r->kind != KIND_TICK)
		return;
	if (ms > t->last_ms)
		t->last_ms = ms;
	if (mq_id_cmp(r->id, end) < 0)
		return;
	if (t->live == 0 || ahead < t->behind_ms)
		t->behind_ms = ahead;
	t->live++;
}

static int listen(const struct source_ops *ops, struct source *s, const char *pchannel, struct ticks *ret,
		  struct err *err)
{
	int64_t until = clock_mono_ms() + CHECK_MS;
	struct record batch[BATCH];
	struct position pos = {.ts = 0};
	struct mq_id first, end;
	int rc = ops->bounds(s, pchannel, CHECK_MS, &first, &end, err);

	if (rc < 0)
		return rc;
	snprintf(pos.pchannel, sizeof(pos.pchannel), "%s", pchannel);
	pos.next = end.lo - first.lo > TAIL ? (struct mq_id){end.hi, end.lo - TAIL} : first;
	if ((rc = ops->assign(s, 0, &pos, CHECK_MS, err)) < 0)
		return rc;
	while (ret->live < LIVE_TICKS && clock_mono_ms() < until && rc >= 0) {
		rc = ops->read(s, batch, BATCH, 100, err);
		for (int i = 0; i < rc; i++) {
			take(ret, &batch[i], end);
			record_release(&batch[i]);
		}
	}
	ops->unassign(s, 0);
	return rc < 0 ? rc : 0;
}

static void check_clock(struct doctor *d, const struct ticks *t)
{
	int64_t ms = t->live ? t->behind_ms : 0;

	if (!t->live)
		doctor_say(d, WARN, "clock", "", "not compared: no tick comes in");
	else if (ms > CLOCK_MAX_MS || ms < -CLOCK_MAX_MS)
		doctor_say(d, WARN, "clock", "run NTP on both sides; lag is told wrong by as much",
			   "ours is %.1f s %s the source's", (double)(ms < 0 ? -ms : ms) / 1000,
			   ms < 0 ? "behind" : "ahead of");
	else
		doctor_say(d, OK, "clock", "", "within %.1f s of the source's",
			   (double)(ms < 0 ? -ms : ms) / 1000);
}

/* Without a collection there are no ticks: what the source's oracle has in etcd is up to 3 s ahead. */
static void check_clock_of_etcd(struct doctor *d)
{
	int64_t ahead = d->etcd_clock_ms - clock_real_ms();

	if (!d->etcd_clock_ms)
		return;
	if (ahead < -CLOCK_MAX_MS || ahead > CLOCK_MAX_MS + 3000)
		doctor_say(d, WARN, "clock", "run NTP on both sides; or the source is not running",
			   "the source's clock in etcd is %.1f s %s ours", (double)llabs(ahead) / 1000,
			   ahead < 0 ? "behind" : "ahead of");
	else
		doctor_say(d, OK, "clock", "", "near the source's");
}

static void check_ticks(struct doctor *d, const struct source_ops *ops, struct source *s)
{
	static const char remedy[] =
		"is the source Milvus running? common.ttMsgEnabled must be true in its milvus.yaml";
	struct ticks t = {0};
	struct err err = {0};

	if (!d->pchannel_count) {
		doctor_say(d, OK, "source's ticks", "", "not looked at: the source has no collection yet");
		check_clock_of_etcd(d);
		return;
	}
	if (listen(ops, s, d->pchannels[0], &t, &err) < 0)
		doctor_say(d, FAIL, "source's ticks", "", "%s", err.text);
	else if (t.live)
		doctor_say(d, OK, "source's ticks", "", "come in on %s (ttMsgEnabled: true)",
			   d->pchannels[0]);
	else if (t.last_ms)
		doctor_say(d, FAIL, "source's ticks", remedy, "none on %s for %.0f s", d->pchannels[0],
			   (double)(clock_real_ms() - t.last_ms) / 1000);
	else
		doctor_say(d, FAIL, "source's ticks", remedy, "none on %s", d->pchannels[0]);
	check_clock(d, &t);
}

/* ---- topics ---- */

static void check_topics(struct doctor *d, const struct source_ops *ops, struct source *s)
{
	int64_t until = clock_mono_ms() + CHECK_MS;
	size_t seen = 0;

	for (; seen < d->pchannel_count && clock_mono_ms() < until; seen++) {
		struct mq_id first, end;
		struct err err = {0};

		if (ops->bounds(s, d->pchannels[seen], CHECK_MS, &first, &end, &err) < 0) {
			doctor_say(d, FAIL, "topics",
				   err.code == ERR_POSITION_GONE
					   ? "is sourceConfig.kafka.address the Kafka of this source?"
					   : "",
				   "%s", err.text);
			return;
		}
	}
	if (d->pchannel_count)
		doctor_say(d, OK, "topics", "",
			   "%zu of %zu pchannels of live collections looked at, all there", seen,
			   d->pchannel_count);
	else
		doctor_say(d, OK, "topics", "", "no pchannel is in use: the source has no collection yet");
}

static void check_sizes(struct doctor *d, const struct source_ops *ops, struct source *s)
{
	const char *topic = d->pchannel_count ? d->pchannels[0] : NULL;
	struct source_limits l;
	struct err err = {0};

	if (!ops->limits || !topic)
		return;
	if (ops->limits(s, topic, CHECK_MS, &l, &err) < 0) {
		doctor_say(d, WARN, "message size",
			   "allow our Kafka user DescribeConfigs on the topics, or look at them yourself",
			   "settings of %s cannot be read: %s", topic, err.text);
		return;
	}
	doctor_say(d, l.message_max > l.receive_max ? FAIL : OK, "message size",
		   l.message_max > l.receive_max ? "set max.message.bytes of the topics lower" : "",
		   "messages of %s have up to %.1f MB, we take %.1f MB", topic, (double)l.message_max / 1e6,
		   (double)l.receive_max / 1e6);
}

/* The topic of operations, of which only Flush is used: the source makes it with the first one. */
static void check_replicate(struct doctor *d, int rc, const struct err *err)
{
	const char *topic = d->conf->source.replicate_chan;

	if (rc == 0)
		doctor_say(d, OK, "replicate topic", "", "%s is there", topic);
	else if (err->code == ERR_POSITION_GONE)
		doctor_say(
			d, WARN, "replicate topic",
			"sourceConfig.replicateChan must be <chanNamePrefix.cluster>-"
			"<chanNamePrefix.replicateMsg> of the source; it has none before its first operation",
			"there is no topic %s: flushes are not replicated", topic);
	else
		doctor_say(d, FAIL, "replicate topic", "", "%s", err->text);
}

/* ---- what a task has not read, against the log ---- */

struct margin {
	double hours; /* the least until retention takes what is not read; < 0: no limit known */
	const char *pchannel;
	bool by_size; /* retention.bytes is set, too */
	size_t seen;
};

static bool check_position(struct doctor *d, const char *what, const struct source_ops *ops, struct source *s,
			   const struct position *p, struct margin *m)
{
	bool is_replicate = STREQ(p->pchannel, d->conf->source.replicate_chan);
	struct source_limits l = {.keep_ms = -1, .keep_bytes = -1};
	struct mq_id first, end;
	struct err err = {0};
	double hours;

	if (ops->bounds(s, p->pchannel, CHECK_MS, &first, &end, &err) < 0) {
		if (is_replicate && err.code == ERR_POSITION_GONE && p->next.lo == 0)
			return true; /* not made yet */
		doctor_say(d, FAIL, what, "", "%s", err.text);
		return false;
	}
	m->seen++;
	if (mq_id_cmp(p->next, first) < 0 || mq_id_cmp(p->next, end) > 0) {
		doctor_say(d, FAIL, what,
			   "what is missing is lost to this task; delete it and create it anew",
			   "%s: we are at %" PRIu64 ", Kafka holds %" PRIu64 " up to %" PRIu64, p->pchannel,
			   p->next.lo, first.lo, end.lo);
		return false;
	}
	if (mq_id_cmp(p->next, end) == 0 || !ops->limits ||
	    ops->limits(s, p->pchannel, CHECK_MS, &l, NULL) < 0)
		return true; /* all is read, or nobody tells */
	m->by_size |= l.keep_bytes >= 0;
	if (l.keep_ms < 0)
		return true;
	hours = (double)(ts_ms(p->ts) + l.keep_ms - clock_real_ms()) / HOUR_MS;
	hours = hours < 0 ? 0 : hours;
	if (m->hours < 0 || hours < m->hours) {
		m->hours = hours;
		m->pchannel = p->pchannel;
	}
	return true;
}

static void check_log(struct doctor *d, const struct peek_task *t, const struct source_ops *ops,
		      struct source *s)
{
	const char *what = arena_printf(d->arena, "task %s, log", t->id);
	int64_t until = clock_mono_ms() + RETENTION_MS;
	struct margin m = {.hours = -1};

	for (size_t i = 0; i < t->position_count && clock_mono_ms() < until; i++)
		if (!check_position(d, what, ops, s, &t->positions[i], &m))
			return;
	if (m.hours >= 0 && m.hours < MARGIN_LEAST_H)
		doctor_say(d, WARN, what, "start the service soon, or set retention.ms of the topics higher",
			   "%s: retention takes what is not read in %.1f h", m.pchannel, m.hours);
	else if (m.hours >= 0)
		doctor_say(d, OK, what, "",
			   "Kafka holds our positions on %zu pchannel%s; the first one that "
			   "retention.ms takes is %s in %.1f h%s",
			   m.seen, m.seen == 1 ? "" : "s", m.pchannel, m.hours,
			   m.by_size ? ", sooner if retention.bytes is reached" : "");
	else
		doctor_say(d, OK, what, "", "Kafka holds our positions on %zu pchannel%s%s", m.seen,
			   m.seen == 1 ? "" : "s", m.by_size ? "; retention.bytes is set" : "");
}

static void check_logs(struct doctor *d, const struct source_ops *ops, struct source *s)
{
	for (size_t i = 0; i < d->task_count; i++)
		if (d->journals[i].id)
			check_log(d, &d->journals[i], ops, s);
}

/* ---- */

static void check_dates(struct doctor *d)
{
	const struct conf_kafka *k = &d->conf->source.kafka;
	AUTO_FREE char *list = xstrdup(k->address);
	struct conf_tls t = k->tls;
	char *rest = NULL;

	if (!t.enable)
		return;
	for (char *a = strtok_r(list, ",", &rest); a; a = strtok_r(NULL, ",", &rest)) {
		AUTO_FREE char *host = NULL;
		int port = 0;

		if (conf_host_port(a + strspn(a, " "), &host, &port))
			doctor_tls(d, "Kafka", &t, host, port);
		t.cert_path = NULL; /* told once */
	}
}

void doctor_kafka(struct doctor *d)
{
	const struct source_ops *ops = source_select(&d->conf->source);
	struct mq_id first, end;
	struct source *s = NULL;
	struct err err = {0};
	int rc;

	check_dates(d);
	if (ops->open(&s, &d->conf->source, &err) < 0) {
		doctor_say(d, FAIL, "Kafka", "", "%s", err.text);
		return;
	}
	rc = ops->bounds(s, d->conf->source.replicate_chan, CHECK_MS, &first, &end, &err);
	if (rc < 0 && err.code != ERR_POSITION_GONE) {
		doctor_say(d, FAIL, "Kafka", "", "%s", err.text);
	} else {
		doctor_say(d, OK, "Kafka", "", "answers at %s%s%s", d->conf->source.kafka.address,
			   d->conf->source.kafka.sasl_username ? ", logged in as " : "",
			   d->conf->source.kafka.sasl_username ? d->conf->source.kafka.sasl_username : "");
		d->kafka_ok = true;
		check_replicate(d, rc, &err);
		check_topics(d, ops, s);
		check_sizes(d, ops, s);
		check_ticks(d, ops, s);
		check_logs(d, ops, s);
	}
	ops->close(s);
}
