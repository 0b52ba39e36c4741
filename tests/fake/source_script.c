/* SPDX-License-Identifier: Apache-2.0 */
/* See source_script.h. */
#include "source_script.h"

#include "../../src/data/decode.h"

#include <cdc/mem.h>

#include <stdio.h>
#include <stdlib.h>

#define PARTS 4096

struct broker *source_script_broker;

struct part {
	bool on, paused;
	struct broker_topic *topic;
	int generation; /* of the topic when it was assigned */
	uint64_t next;
};

struct source {
	struct broker *broker;
	struct part parts[PARTS];
	int count; /* highest index in use and one */
};

struct held {
	struct broker *broker;
	uint8_t body[];
};

/* --- the broker --- */

struct broker *broker_new(void)
{
	struct broker *b = xcalloc(1, sizeof(*b));

	b->now_ms = 1000000;
	source_script_broker = b;
	return b;
}

static void topic_clear(struct broker_topic *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->messages[i].body);
	free(t->messages);
	t->messages = NULL;
	t->count = t->cap = 0;
	t->first = 0;
}

void broker_free(struct broker *b)
{
	for (int i = 0; i < BROKER_TOPICS; i++)
		topic_clear(&b->topics[i]);
	free(b);
	source_script_broker = NULL;
}

static struct broker_topic *find(struct broker *b, const char *name)
{
	for (int i = 0; i < BROKER_TOPICS; i++)
		if (STREQ(b->topics[i].name, name))
			return &b->topics[i];
	return NULL;
}

struct broker_topic *broker_topic(struct broker *b, const char *name)
{
	struct broker_topic *t = find(b, name);

	if (t)
		return t;
	t = find(b, "");
	if (!t)
		abort();
	snprintf(t->name, sizeof(t->name), "%s", name);
	return t;
}

void broker_append(struct broker *b, const char *name, const void *body, size_t n, int64_t time_ms)
{
	struct broker_topic *t = broker_topic(b, name);

	if (t->count == t->cap) {
		t->cap = t->cap * 2 + 16;
		t->messages = xrealloc(t->messages, t->cap * sizeof(*t->messages));
	}
	t->messages[t->count++] = (struct broker_message){xmemdup(body, n), n, time_ms};
}

void broker_trim(struct broker *b, const char *name, uint64_t first)
{
	struct broker_topic *t = broker_topic(b, name);

	for (; t->first < first && t->first < t->count; t->first++) {
		free(t->messages[t->first].body);
		t->messages[t->first] = (struct broker_message){0};
	}
}

void broker_recreate(struct broker *b, const char *name)
{
	struct broker_topic *t = broker_topic(b, name);

	topic_clear(t);
	t->generation++;
}

void broker_delete(struct broker *b, const char *name)
{
	struct broker_topic *t = broker_topic(b, name);

	topic_clear(t);
	t->generation++;
	t->name[0] = '\0';
}

/* --- the ops --- */

static int fault(struct broker *b, struct err *err)
{
	b->calls++;
	if (!b->fail_at)
		return 0;
	if (b->fail_at > 1) {
		b->fail_at--;
		return 0;
	}
	if (b->fail_for > 1)
		b->fail_for--;
	else
		b->fail_at = b->fail_for = 0;
	return err_set(err, b->fail_code ? b->fail_code : ERR_SOURCE_LOST, "script: told to fail at call %d",
		       b->calls);
}

static int open_(struct source **ret, const struct conf_source *conf, struct err *err)
{
	struct source *s = xcalloc(1, sizeof(*s));

	(void)conf;
	(void)err;
	s->broker = source_script_broker;
	s->broker->handles++;
	*ret = s;
	return 0;
}

static void close_(struct source *s)
{
	if (!s)
		return;
	s->broker->handles--;
	free(s);
}

static int bounds(struct source *s, const char *pchannel, int timeout_ms, struct mq_id *first,
		  struct mq_id *end, struct err *err)
{
	struct broker_topic *t = find(s->broker, pchannel);
	int rc;

	if ((rc = fault(s->broker, err)) < 0) {
		s->broker->now_ms += timeout_ms; /* it was waited for */
		return rc;
	}
	if (!t)
		return err_set(err, ERR_POSITION_GONE, "%s: no such topic", pchannel);
	*first = (struct mq_id){0, t->first};
	*end = (struct mq_id){0, t->count};
	return 0;
}

static int at_time(struct source *s, const char *pchannel, int64_t time_ms, int timeout_ms, struct mq_id *ret,
		   struct err *err)
{
	struct mq_id first, end;
	int rc = bounds(s, pchannel, timeout_ms, &first, &end, err);

	if (rc < 0)
		return rc;
	while (first.lo < end.lo && find(s->broker, pchannel)->messages[first.lo].time_ms < time_ms)
		first.lo++;
	*ret = first;
	return 0;
}

static int start_id(const uint8_t *bytes, size_t n, struct mq_id *ret, struct err *err)
{
	uint64_t v = 0;

	if (n != 8 || bytes[7] > 127)
		return err_set(err, ERR_SOURCE_FORMAT, "start position of %zu bytes", n);
	for (int i = 7; i >= 0; i--)
		v = v << 8 | bytes[i];
	*ret = (struct mq_id){0, v};
	return 0;
}

/* R11 */
static int check(const struct broker_topic *t, const struct position *pos, struct err *err)
{
	uint64_t next = pos->next.lo, guard = pos->guard.id.lo;
	const struct broker_message *m;

	if (!t && next == 0 && !pos->guard.set)
		return err_set(err, ERR_SOURCE_WAIT, "%s: no such topic yet", pos->pchannel);
	if (!t)
		return err_set(err, ERR_POSITION_GONE, "%s: %llu is wanted, there is no such topic",
			       pos->pchannel, (unsigned long long)next);
	if (next < t->first || next > t->count || (pos->guard.set && guard >= t->count))
		return err_set(err, ERR_POSITION_GONE, "%s: %llu is wanted, it holds %llu up to %zu",
			       pos->pchannel, (unsigned long long)next, (unsigned long long)t->first,
			       t->count);
	if (!pos->guard.set || guard < t->first)
		return 0;
	m = &t->messages[guard];
	if (m->time_ms != pos->guard.time_ms || hash64(0, m->body, m->size) != pos->guard.hash)
		return err_set(err, ERR_POSITION_GONE, "%s: %llu is wanted, but %llu is another message",
			       pos->pchannel, (unsigned long long)next, (unsigned long long)guard);
	return 0;
}

static void unassign(struct source *s, int index)
{
	s->parts[index] = (struct part){0};
}

static int assign(struct source *s, int index, const struct position *pos, int timeout_ms, struct err *err)
{
	struct broker_topic *t = find(s->broker, pos->pchannel);
	int rc;

	(void)timeout_ms;
	s->broker->assigns++;
	unassign(s, index);
	if ((rc = fault(s->broker, err)) < 0 || (rc = check(t, pos, err)) < 0)
		return rc;
	s->parts[index] =
		(struct part){.on = true, .topic = t, .generation = t->generation, .next = pos->next.lo};
	if (index >= s->count)
		s->count = index + 1;
	return 0;
}

static int pause_(struct source *s, int index, bool paused, struct err *err)
{
	size_t n = 0;
	int rc;

	if ((rc = fault(s->broker, err)) < 0)
		return rc;
	s->parts[index].paused = paused;
	for (int i = 0; i < s->count; i++)
		n += s->parts[i].on && s->parts[i].paused;
	if (n > s->broker->paused_max)
		s->broker->paused_max = n;
	return 0;
}

static void release(void *handle)
{
	struct held *h = handle;

	h->broker->records_out--;
	free(h);
}

/* The next record of a part. 0: there is none. */
static int take(struct source *s, int index, struct record *ret, struct err *err)
{
	struct part *p = &s->parts[index];
	const struct broker_message *m;
	struct held *h;
	int rc;

	if (!p->on || p->paused || p->next >= p->topic->count)
		return 0;
	m = &p->topic->messages[p->next];
	h = xmalloc(sizeof(*h) + m->size);
	h->broker = s->broker;
	memcpy(h->body, m->body, m->size);
	*ret = (struct record){0};
	if ((rc = decode_record(ret, h->body, m->size, err)) < 0) {
		free(h);
		return err_prefix(err, "%s: offset %llu", p->topic->name, (unsigned long long)p->next), rc;
	}
	ret->pchannel = index;
	ret->id = (struct mq_id){0, p->next++};
	ret->time_ms = m->time_ms;
	ret->handle = h;
	ret->release = release;
	s->broker->records_out++;
	return 1;
}

static unsigned roll(struct broker *b)
{
	b->seed = b->seed * 1664525u + 1013904223u;
	return b->seed >> 8;
}

/* The log was cut or exchanged under us. */
static int check_parts(const struct source *s, struct err *err)
{
	for (int i = 0; i < s->count; i++) {
		const struct part *p = &s->parts[i];

		if (p->on && (p->generation != p->topic->generation || p->next < p->topic->first))
			return err_about(err_set(err, ERR_POSITION_GONE, "%s: %llu is wanted and gone",
						 p->topic->name, (unsigned long long)p->next),
					 err, p->topic->name);
	}
	return 0;
}

static int read_(struct source *s, struct record *ret, size_t max, int wait_ms, struct err *err)
{
	struct broker *b = s->broker;
	size_t limit = b->read_max && b->read_max < max ? b->read_max : max, n = 0;
	int idle = 0, index = 0, rc;

	b->reads++;
	if ((rc = fault(b, err)) < 0 || (rc = check_parts(s, err)) < 0)
		return rc;
	if (b->seed && s->count) {
		limit = 1 + roll(b) % limit;
		index = (int)(roll(b) % (unsigned)s->count);
	}
	while (n < limit && idle < s->count) {
		rc = take(s, index, &ret[n], err);
		if (rc < 0 && n == 0)
			return rc;
		n += rc > 0;
		idle = rc > 0 ? 0 : idle + 1;
		if (rc <= 0 || (b->seed && roll(b) % 3 == 0))
			index = (index + 1) % s->count;
	}
	b->now_ms += n ? 1 : wait_ms;
	return (int)n;
}

static const struct part *part_of(const struct source *s, const char *pchannel)
{
	for (int i = 0; i < s->count; i++)
		if (s->parts[i].on && STREQ(s->parts[i].topic->name, pchannel))
			return &s->parts[i];
	return NULL;
}

bool source_script_assigned(const struct source *s, const char *pchannel)
{
	return part_of(s, pchannel) != NULL;
}

bool source_script_paused(const struct source *s, const char *pchannel)
{
	const struct part *p = part_of(s, pchannel);

	return p && p->paused;
}

const struct source_ops source_script = {.name = "script",
					 .open = open_,
					 .close = close_,
					 .bounds = bounds,
					 .at_time = at_time,
					 .start_id = start_id,
					 .assign = assign,
					 .unassign = unassign,
					 .pause = pause_,
					 .read = read_};
