/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of a task (R3). Now is the highest tick found on any live pchannel; the log is read from
 * ten seconds before it, since a record above it may lie before a tick at it (never by more than the
 * cluster's clocks differ). T0 is the least time from which on a collection's rows are wanted: now, or
 * earlier (reader_start_at.c). Everything at or below T0 is discarded everywhere. An upsert has one
 * timestamp, so both halves stay or both go.
 */
#include "reader_start.h"

#include <cdc/worker.h>

#include <stdio.h>

#define START_DEADLINE_MS 10000
#define CONTACT_MS 6000 /* until Kafka's first answer, which may be busy or far away, and the first tick */
#define TAIL_QUIET 10   /* reads of 100 ms without a message */
#define TAIL_FIRST 64   /* records read from the end in search of a tick; grows by 8 */

/* Reads [from, end) of one pchannel for its last tick. */
static int scan_tail(struct reader *r, struct search *s, struct search_channel *ch, struct mq_id from,
		     struct err *err)
{
	struct position pos = {.next = from};
	struct mq_id at = from;
	int n, quiet = 0, rc;

	memcpy(pos.pchannel, ch->name, sizeof(pos.pchannel));
	if ((rc = r->c.source->assign(r->source, 0, &pos, ASSIGN_TIMEOUT_MS, err)) < 0)
		return rc;
	/* the very last messages may be of a kind that is never delivered: silence after a tick is enough */
	while (mq_id_cmp(at, ch->end) < 0 && !(ch->tick && quiet >= TAIL_QUIET)) {
		if (r->clock_ms() > s->deadline) {
			r->c.source->unassign(r->source, 0);
			return err_set(err, ERR_SOURCE_LOST,
				       "pchannel %s: its last %llu messages did not arrive in time", ch->name,
				       (unsigned long long)(ch->end.lo - from.lo));
		}
		n = r->c.source->read(r->source, r->batch, READ_BATCH, 100, err);
		quiet = n == 0 ? quiet + 1 : 0;
		for (int i = 0; i < n; i++) {
			struct record *rec = &r->batch[i];

			if (rec->kind == KIND_TICK && rec->ts > ch->tick && mq_id_cmp(rec->id, ch->end) < 0)
				ch->tick = rec->ts;
			at = (struct mq_id){rec->id.hi, rec->id.lo + 1};
			record_release(rec);
		}
		if (n < 0) {
			r->c.source->unassign(r->source, 0);
			return n;
		}
	}
	r->c.source->unassign(r->source, 0);
	return 0;
}

static bool stopping(const struct reader *r)
{
	return r->c.stopping && r->c.stopping(r->c.arg);
}

/* In pieces that a stop can wait for. */
static int first_answer(struct reader *r, struct search *s, struct search_channel *ch, struct err *err)
{
	int rc;

	do {
		rc = r->c.source->bounds(r->source, ch->name, BOUNDS_TIMEOUT_MS, &ch->first, &ch->end, err);
	} while (rc == -ERR_SOURCE_LOST && r->clock_ms() < s->contact && !stopping(r));
	return rc;
}

static int find_tick(struct reader *r, struct search *s, struct search_channel *ch, struct err *err)
{
	uint64_t back = TAIL_FIRST;
	int rc = first_answer(r, s, ch, err);

	if (rc < 0)
		return rc;
	for (; !ch->tick; back *= 8) {
		struct mq_id from = ch->first;

		if (ch->end.lo - ch->first.lo > back)
			from.lo = ch->end.lo - back;
		if ((rc = scan_tail(r, s, ch, from, err)) < 0)
			return rc;
		if (mq_id_cmp(from, ch->first) == 0)
			break;
	}
	ch->seen = true;
	return 0;
}

struct search_channel *search_channel(struct search *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (STREQ(s->channel[i].name, name))
			return &s->channel[i];
	if (s->count == MERGER_MAX)
		return NULL;
	snprintf(s->channel[s->count].name, PCHANNEL_MAX, "%s", name);
	return &s->channel[s->count++];
}

/*
 * A log without a tick (everything was removed just now) does not tell the source's time, and collections
 * that exist would be taken for ones to come. A source that lives writes five ticks a second.
 */
static int await_tick(struct reader *r, struct search *s, struct err *err)
{
	if (r->clock_ms() >= s->contact || stopping(r))
		return err_set(
			err, ERR_SOURCE_WAIT,
			"the source's log holds no tick (pchannel %s and %zu more) and none came, so its "
			"time is not known: is its Milvus running, and is its common.ttMsgEnabled true?",
			s->channel[0].name, s->count - 1);
	r->c.source->read(r->source, r->batch, READ_BATCH, 50, NULL); /* nothing is assigned: waits */
	for (size_t i = 0; i < s->count; i++)
		s->channel[i].seen = false;
	return 0;
}

/* The source's time, over all pchannels that collections need; repeats until no new one turns up. */
static int find_now(struct reader *r, struct search *s, cdc_ts *ret, struct err *err)
{
	cdc_ts now = 1;

	for (;;) {
		AUTO(arena_free) struct arena *arena = arena_new();
		struct catalog_join *joins;
		size_t before = s->count, n;
		int rc;

		if (r->clock_ms() > s->deadline)
			return err_set(err, ERR_SOURCE_WAIT,
				       "the source's catalog did not come to rest in time");
		rc = catalog_fence(r->catalog, now, err);
		if (rc == -ERR_SOURCE_WAIT) { /* a collection is just being created */
			r->c.source->read(r->source, r->batch, READ_BATCH, 50,
					  NULL); /* nothing is assigned: waits */
			continue;
		}
		if (rc < 0)
			return rc;
		n = catalog_joins(r->catalog, UINT64_MAX, arena, &joins);
		for (size_t i = 0; i < n; i++)
			if (!search_channel(s, joins[i].pchannel))
				return err_set(err, ERR_SOURCE_FORMAT, "source has more than %d pchannels",
					       MERGER_MAX);
		for (size_t i = 0; i < s->count; i++) {
			if (!s->channel[i].seen && (rc = find_tick(r, s, &s->channel[i], err)) < 0)
				return rc;
			if (s->channel[i].tick > now)
				now = s->channel[i].tick;
		}
		if (s->count && now == 1) {
			if ((rc = await_tick(r, s, err)) < 0)
				return rc;
			continue;
		}
		if (s->count == before && catalog_fenced(r->catalog) >= now)
			break;
	}
	*ret = now;
	return 0;
}

static int join_channels(struct reader *r, const struct search *s, cdc_ts t0)
{
	for (size_t i = 0; i < s->count; i++) {
		struct position pos = {.next = s->channel[i].next, .ts = t0};

		memcpy(pos.pchannel, s->channel[i].name, sizeof(pos.pchannel));
		if (s->channel[i].wanted && merger_join(&r->merger, &pos, true) < 0)
			return -ERR_INTERNAL;
	}
	return 0;
}

/* The replicate topic is followed from its end; one that does not exist yet, from its beginning. */
static int join_replicate(struct reader *r, cdc_ts t0, struct err *err)
{
	struct position pos = {.ts = t0};
	struct mq_id first;
	int rc;

	snprintf(pos.pchannel, sizeof(pos.pchannel), "%s", r->source_conf->replicate_chan);
	rc = r->c.source->bounds(r->source, pos.pchannel, BOUNDS_TIMEOUT_MS, &first, &pos.next, err);
	if (rc == -ERR_POSITION_GONE)
		pos.next = (struct mq_id){0};
	else if (rc < 0)
		return rc;
	return merger_join(&r->merger, &pos, false) < 0 ? -ERR_INTERNAL : 0;
}

int reader_start(struct reader *r, const struct start *start, cdc_ts *floor, struct err *err)
{
	AUTO_FREE struct search *s = xcalloc(1, sizeof(*s));
	AUTO(arena_free) struct arena *arena = arena_new();
	struct start_plan plan;
	cdc_ts now = 0;
	int rc;

	s->deadline = r->clock_ms() + START_DEADLINE_MS;
	s->contact = r->clock_ms() + CONTACT_MS;
	if ((rc = find_now(r, s, &now, err)) < 0)
		return rc;
	/* collections created after now come with their own start positions: they join as new ones */
	if ((rc = start_plan(r, s, start, now, arena, &plan, err)) < 0 ||
	    (rc = join_channels(r, s, plan.t0)) < 0 || (rc = join_replicate(r, plan.t0, err)) < 0)
		return rc;
	r->prev = 0;
	catalog_start_at(r->catalog, now, plan.since, plan.count);
	if ((rc = reader_build(r, plan.t0, false, err)) == 0)
		rc = reader_append(r, err);
	catalog_start_at(r->catalog, 0, NULL, 0);
	if (rc < 0)
		return rc;
	*floor = plan.t0 < now ? now : 0;
	return 0;
}
