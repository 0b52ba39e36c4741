/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start points: from which message on each pchannel is read, and from which row on each collection is
 * wanted, when a task begins earlier than now. A collection's log begins at the start positions that
 * the source keeps with it, so "earliest" is a whole copy as long as the log is there. What the log does
 * not hold any more is refused here, with what is held; nothing is ever stepped over in silence.
 */
#include "reader_start.h"

#include <stdio.h>
#include <time.h>

struct resolve {
	struct reader *r;
	struct search *s;
	cdc_ts now;
	struct arena *arena;
	struct start_plan *plan;
};

/* One collection: its shards, where it begins, and what follows. */
struct origin {
	const struct catalog_join *shards;
	size_t count;
	const struct start_point *point;
	struct catalog_since *since;
};

static const char *when(int64_t ms, char text[40])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(text, 40, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}

/* The closest name: db.collection before db.*, that before *.*, that before what holds for all. */
static const struct start_point *point_of(const struct start *start, const char *db, const char *name)
{
	static const struct start_point now = {.kind = START_NOW};
	const struct start_point *best = start ? &start->all : &now;
	int closest = 0;

	for (size_t i = 0; start && i < start->count; i++) {
		const struct start_item *it = &start->items[i];
		bool of_db = STREQ(it->db, db), of_name = STREQ(it->collection, name);
		int close = 1 + 2 * of_db + of_name;

		if ((of_db || STREQ(it->db, "*")) && (of_name || STREQ(it->collection, "*")) &&
		    close > closest) {
			closest = close;
			best = &it->at;
		}
	}
	return best;
}

/* The broker's time of the first message that it still has; -1: it has none. */
static int first_time(struct resolve *v, struct search_channel *ch, int64_t *ret, struct err *err)
{
	struct reader *r = v->r;
	struct position pos = {.next = ch->first};
	int n = 0, rc;

	*ret = -1;
	if (ch->first_ms || mq_id_cmp(ch->first, ch->end) >= 0) {
		*ret = ch->first_ms ? ch->first_ms : -1;
		return 0;
	}
	memcpy(pos.pchannel, ch->name, sizeof(pos.pchannel));
	if ((rc = r->c.source->assign(r->source, 0, &pos, ASSIGN_TIMEOUT_MS, err)) < 0)
		return rc;
	while (n == 0 && r->clock_ms() <= v->s->deadline)
		n = r->c.source->read(r->source, r->batch, READ_BATCH, 100, err);
	if (n > 0)
		*ret = ch->first_ms = r->batch[0].time_ms;
	for (int i = 0; i < n; i++)
		record_release(&r->batch[i]);
	r->c.source->unassign(r->source, 0);
	if (n == 0)
		return err_set(err, ERR_SOURCE_LOST, "pchannel %s: its first message did not arrive in time",
			       ch->name);
	return n < 0 ? n : 0;
}

/* The log does not reach back. wanted: what is asked for, in words. */
static int gone(struct resolve *v, const struct catalog_join *j, struct search_channel *ch,
		const char *wanted, struct err *err)
{
	char text[40], since[80] = "it holds no message now";
	int64_t ms;
	int rc;

	if ((rc = first_time(v, ch, &ms, err)) < 0)
		return rc;
	if (ms >= 0)
		snprintf(since, sizeof(since), "the first one is of %s", when(ms, text));
	return err_set(
		err, ERR_POSITION_GONE,
		"collection %s.%s: %s of pchannel %s is wanted, but the source's log holds only offset "
		"%llu up to %llu there, %s: what was before was removed (retention) or the topic was "
		"made again. Start this collection with \"now\" and copy what it holds by other means, "
		"such as a backup",
		j->db, j->name, wanted, ch->name, (unsigned long long)ch->first.lo,
		(unsigned long long)ch->end.lo, since);
}

/* First message of that time. Asked once for all collections of a pchannel. */
static int at_time(struct resolve *v, struct search_channel *ch, int64_t ms, struct mq_id *ret,
		   struct err *err)
{
	int rc;

	ms = ms > 1 ? ms : 1;
	if (ch->at.ms != ms) {
		rc = v->r->c.source->at_time(v->r->source, ch->name, ms, BOUNDS_TIMEOUT_MS, &ch->at.id, err);
		if (rc < 0)
			return rc;
		ch->at.ms = ms;
	}
	*ret = ch->at.id;
	if (mq_id_cmp(*ret, ch->first) < 0)
		*ret = ch->first;
	if (mq_id_cmp(*ret, ch->end) > 0)
		*ret = ch->end;
	return 0;
}

static int own_start(struct resolve *v, const struct catalog_join *j, struct mq_id *ret, struct err *err)
{
	if (!j->start)
		return err_set(err, ERR_SOURCE_FORMAT,
			       "collection %s.%s has no start position for pchannel %s", j->db, j->name,
			       j->pchannel);
	return v->r->c.source->start_id(j->start, j->start_size, ret, err);
}

static int check_held(struct resolve *v, const struct catalog_join *j, struct search_channel *ch,
		      struct mq_id id, struct err *err)
{
	char wanted[48];

	if (mq_id_cmp(id, ch->first) >= 0 && mq_id_cmp(id, ch->end) <= 0)
		return 0;
	snprintf(wanted, sizeof(wanted), "offset %llu", (unsigned long long)id.lo);
	return gone(v, j, ch, wanted, err);
}

static int from_time(struct resolve *v, const struct catalog_join *j, struct search_channel *ch,
		     int64_t time_ms, struct mq_id *ret, struct err *err)
{
	char text[40], wanted[64];
	struct mq_id own;
	int64_t first_ms;
	int rc;

	if ((rc = own_start(v, j, &own, err)) < 0 ||
	    (rc = at_time(v, ch, time_ms - START_MARGIN_MS, ret, err)) < 0)
		return rc;
	if (mq_id_cmp(own, ch->first) < 0) {
		/* what was removed may be of then, unless the first that is left is clearly older */
		if ((rc = first_time(v, ch, &first_ms, err)) < 0)
			return rc;
		if (first_ms < 0 || first_ms > time_ms - START_MARGIN_MS) {
			snprintf(wanted, sizeof(wanted), "the time from %s on", when(time_ms, text));
			return gone(v, j, ch, wanted, err);
		}
	}
	if (mq_id_cmp(own, *ret) > 0)
		*ret = own;
	return check_held(v, j, ch, *ret, err);
}

static const struct start_position *position_of(const struct start_point *p, const char *vchannel)
{
	for (size_t i = 0; i < p->count; i++)
		if (STREQ(p->positions[i].vchannel, vchannel))
			return &p->positions[i];
	return NULL;
}

static int refuse(const struct catalog_join *j, struct err *err, const char *vchannel, const char *why)
{
	return err_set(err, ERR_INVALID, "positions: collection %s.%s (ID %lld): %s: %s", j->db, j->name,
		       (long long)j->collection_id, vchannel, why);
}

static int from_position(struct resolve *v, const struct origin *o, const struct catalog_join *j,
			 struct search_channel *ch, struct mq_id *ret, struct err *err)
{
	const struct start_position *p = position_of(o->point, j->vchannel);
	struct catalog_shard *shards = (struct catalog_shard *)o->since->shards;
	struct err ignored;

	if (!p)
		return refuse(j, err, j->vchannel,
			      "no position is given for this vchannel of the collection");
	if (v->r->c.source->start_id(p->id, p->id_size, ret, &ignored) < 0)
		return refuse(j, err, j->vchannel, "its msgID is none of the source's queue");
	if (p->ts > v->now)
		return refuse(j, err, j->vchannel, "its timestamp is later than the source's time");
	shards[o->since->shard_count++] = (struct catalog_shard){j->vchannel, p->ts, *ret};
	return check_held(v, j, ch, *ret, err);
}

/* Every position that is given must be of a vchannel that there is. */
static int check_given(const struct origin *o, struct err *err)
{
	for (size_t i = 0; i < o->point->count; i++) {
		bool found = false;

		for (size_t k = 0; k < o->count; k++)
			found |= STREQ(o->point->positions[i].vchannel, o->shards[k].vchannel);
		if (!found)
			return refuse(o->shards, err, o->point->positions[i].vchannel,
				      "is no vchannel of the collection that has this name now");
	}
	return 0;
}

/* Where one shard begins: *ret. The collection's `since` is set by then. */
static int resolve_shard(struct resolve *v, const struct origin *o, enum start_kind kind,
			 const struct catalog_join *j, struct mq_id *ret, struct err *err)
{
	struct search_channel *ch = search_channel(v->s, j->pchannel);
	int rc;

	switch (kind) {
	case START_TIME:
		return from_time(v, j, ch, o->point->time_ms, ret, err);
	case START_POSITIONS:
		return from_position(v, o, j, ch, ret, err);
	case START_EARLIEST:
		rc = own_start(v, j, ret, err);
		return rc < 0 ? rc : check_held(v, j, ch, *ret, err);
	case START_NOW:
		break;
	}
	return at_time(v, ch, ts_ms(v->now) - START_MARGIN_MS, ret, err);
}

/* The greatest timestamp that is below every row that the collection wants. */
static cdc_ts least(const struct origin *o)
{
	cdc_ts born = o->shards->created > 1 ? o->shards->created - 1 : 1, low = UINT64_MAX;

	for (size_t i = 0; i < o->since->shard_count; i++)
		if (o->since->shards[i].since < low)
			low = o->since->shards[i].since;
	if (!o->since->shard_count)
		low = o->since->since;
	return low > born ? low : born;
}

static int resolve_collection(struct resolve *v, const struct origin *o, struct err *err)
{
	enum start_kind kind = o->point->kind;
	int rc;

	if (kind == START_TIME) {
		o->since->since = ts_from_ms(o->point->time_ms) - 1; /* that very moment is wanted */
		if (o->since->since >= v->now)
			kind = START_NOW;
		else if (o->since->since < o->shards->created)
			kind = START_EARLIEST;
	}
	if (kind == START_NOW)
		o->since->since = v->now;
	else if (kind == START_EARLIEST)
		o->since->since = 0;
	else if (kind == START_POSITIONS && (rc = check_given(o, err)) < 0)
		return rc;
	for (size_t i = 0; i < o->count; i++) {
		struct search_channel *ch = search_channel(v->s, o->shards[i].pchannel);
		struct mq_id id;

		if ((rc = resolve_shard(v, o, kind, &o->shards[i], &id, err)) < 0)
			return rc;
		if (!ch->wanted || mq_id_cmp(id, ch->next) < 0)
			ch->next = id;
		ch->wanted = true;
	}
	if (least(o) < v->plan->t0)
		v->plan->t0 = least(o);
	return 0;
}

/* Positions are of what exists; anything else comes whole when it is made. */
static int check_items(const struct start *start, const struct catalog_join *joins, size_t n, struct err *err)
{
	for (size_t i = 0; start && i < start->count; i++) {
		const struct start_item *it = &start->items[i];
		bool found = it->at.kind != START_POSITIONS;

		for (size_t k = 0; k < n && !found; k++)
			found = STREQ(it->db, joins[k].db) && STREQ(it->collection, joins[k].name);
		if (!found)
			return err_set(err, ERR_INVALID,
				       "positions: the source has no collection %s.%s that the task selects; "
				       "leave the positions out: one that is made later comes whole",
				       it->db, it->collection);
	}
	return 0;
}

int start_plan(struct reader *r, struct search *s, const struct start *start, cdc_ts now, struct arena *arena,
	       struct start_plan *ret, struct err *err)
{
	struct start_plan plan = {.t0 = now};
	struct resolve v = {.r = r, .s = s, .now = now, .arena = arena, .plan = &plan};
	struct catalog_join *joins;
	size_t n = catalog_joins(r->catalog, now, arena, &joins), end;
	int rc;

	if ((rc = check_items(start, joins, n, err)) < 0)
		return rc;
	plan.since = arena_alloc(arena, (n + 1) * sizeof(*plan.since));
	for (size_t i = 0; i < n; i = end) {
		struct origin o = {.shards = &joins[i],
				   .point = point_of(start, joins[i].db, joins[i].name),
				   .since = &plan.since[plan.count++]};

		for (end = i + 1; end < n && joins[end].collection_id == joins[i].collection_id; end++)
			;
		o.count = end - i;
		*o.since = (struct catalog_since){.collection_id = joins[i].collection_id};
		o.since->shards = arena_alloc(arena, o.count * sizeof(*o.since->shards));
		if ((rc = resolve_collection(&v, &o, err)) < 0)
			return rc;
	}
	*ret = plan;
	return 0;
}
