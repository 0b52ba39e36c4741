/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting: when the watermark may close (R4, R5), what goes into the cut and in which order (R12),
 * and its append. The cut is built once and kept until the journal has it (R2).
 */
#include "reader_priv.h"

#include "decode.h"
#include "journal.pb-c.h"

#include <cdc/worker.h>

#include <stdio.h>

static int join_one(struct reader *r, const struct catalog_join *join, struct err *err)
{
	struct position pos = {.ts = r->prev};
	int i = merger_find(&r->merger, join->pchannel);
	int rc;

	if (strlen(join->pchannel) >= sizeof(pos.pchannel))
		return err_set(err, ERR_SOURCE_FORMAT, "pchannel name of %zu bytes", strlen(join->pchannel));
	snprintf(pos.pchannel, sizeof(pos.pchannel), "%s", join->pchannel);
	if (join->start)
		rc = r->c.source->start_id(join->start, join->start_size, &pos.next, err);
	else
		rc = err_set(err, ERR_SOURCE_FORMAT, "collection %lld has no start position for pchannel %s",
			     (long long)join->collection_id, join->pchannel);
	if (rc < 0)
		return err_about(rc, err, join->pchannel);
	if (i >= 0) {
		struct channel *ch = &r->merger.channels[i];

		/* read already: everything above the last cut is kept. Joined for another collection a
		 * moment ago and not read yet: the earlier start serves both. */
		if (!ch->assigned && mq_id_cmp(pos.next, ch->cutter.at.next) < 0 && !ch->cutter.at.guard.set)
			ch->cutter.at.next = pos.next;
		if (!ch->closed)
			return 0;
		/* nobody waited for its ticks: they may be below the watermark that is being closed */
		ch->closed = false;
		ch->tick_moved_ms = r->clock_ms();
		return 1;
	}
	i = merger_join(&r->merger, &pos, true);
	if (i < 0)
		return err_set(err, ERR_SOURCE_FORMAT, "source has more than %d pchannels", MERGER_MAX);
	r->merger.channels[i].tick_moved_ms = r->clock_ms();
	return 1;
}

int reader_join(struct reader *r, cdc_ts watermark, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct catalog_join *joins;
	size_t n = catalog_joins(r->catalog, watermark, arena, &joins);
	int joined = 0, rc;

	for (size_t i = 0; i < n; i++) {
		if ((rc = join_one(r, &joins[i], err)) < 0)
			return rc;
		joined += rc;
	}
	return joined;
}

/* R5: a pchannel whose collections are all ending and that has gone silent at its end is not waited for. */
static int close_silent(struct reader *r, struct err *err)
{
	int64_t now = r->clock_ms();
	int rc;

	for (size_t i = 0; i < r->merger.count; i++) {
		struct channel *ch = &r->merger.channels[i];
		struct mq_id first, end;

		if (!ch->used || !ch->assigned || ch->closed || !ch->cutter.ticking || ch->paused ||
		    now - ch->tick_moved_ms < SILENT_MS ||
		    !catalog_pchannel_ending(r->catalog, ch->cutter.pchannel))
			continue;
		rc = r->c.source->bounds(r->source, ch->cutter.pchannel, BOUNDS_TIMEOUT_MS, &first, &end,
					 err);
		if (rc < 0)
			return rc;
		if (mq_id_cmp(ch->cutter.at.next, end) >= 0)
			ch->closed = true;
	}
	return 0;
}

static int fence(struct reader *r, cdc_ts watermark, struct err *err)
{
	int rc = catalog_fence(r->catalog, watermark, err);

	/* one that failed is due again at once: a step that skips it would pass for a recovery */
	if (rc >= 0)
		r->fence_ms = r->clock_ms();
	return rc;
}

/* What is kept of the replicate topic is older than the fence, and to that no collection lives: a hint to
 * flush is of none (R24). Else it would be kept, and its position stand still, until one is made. */
static void forget_hints(struct reader *r)
{
	for (size_t i = 0; i < r->merger.count; i++)
		if (r->merger.channels[i].used && !r->merger.channels[i].cutter.ticking)
			cutter_forget(&r->merger.channels[i].cutter);
	atomic_store(&r->buffered, (long long)merger_bytes(&r->merger));
}

/* Nothing to read: the catalog is looked at now and then, for new collections and for databases. */
static int cut_idle(struct reader *r, struct err *err)
{
	int rc;

	if (r->clock_ms() - r->fence_ms < r->c.conf->idle_tick_ms)
		return 0;
	if ((rc = fence(r, r->prev + 1, err)) < 0)
		return rc;
	if ((rc = reader_join(r, UINT64_MAX, err)) != 0)
		return rc;
	atomic_store(&r->quiet_ms, clock_real_ms());
	forget_hints(r);
	if (!catalog_pending(r->catalog) && !(r->moved && r->clock_ms() - r->cut_ms >= IDLE_MOVED_MS))
		return 0;
	/* source time is not known without ticks; one step above the last cut is below all that comes */
	if ((rc = reader_build(r, r->prev + 1, true, err)) < 0)
		return rc;
	return reader_append(r, err);
}

/* The watermark does not move: keep the catalog fresh, for R5 and for collections that end. */
static int cut_stalled(struct reader *r, struct err *err)
{
	int64_t now = r->clock_ms();
	int rc;

	if (now - r->watermark_ms < SILENT_MS || now - r->fence_ms < SILENT_MS / 2)
		return 0;
	if ((rc = fence(r, r->prev, err)) < 0 || (rc = close_silent(r, err)) < 0)
		return rc;
	return 0;
}

int reader_cut(struct reader *r, struct err *err)
{
	cdc_ts w = merger_watermark(&r->merger);
	int64_t now = r->clock_ms();
	int rc;

	if (merger_live(&r->merger) == 0)
		return cut_idle(r, err);
	atomic_store(&r->quiet_ms, 0);
	if (w <= r->prev)
		return cut_stalled(r, err);
	r->watermark_ms = now;
	if (r->behind && merger_bytes(&r->merger) < CUT_BYTES && now - r->cut_ms < CUT_GATHER_MS)
		return 0;
	if (!merger_has(&r->merger, w) && now - r->cut_ms < r->c.conf->idle_tick_ms)
		return 0;
	if (catalog_fenced(r->catalog) < w && (rc = fence(r, w, err)) < 0)
		return rc;
	/* a pchannel that joins now has to be read up to w first */
	if ((rc = reader_join(r, w, err)) != 0)
		return rc;
	if ((rc = reader_build(r, w, false, err)) < 0)
		return rc;
	return reader_append(r, err);
}

/* 1: e is filled, 0: the row is left out. planned: as in record_entries(). */
static int data_entry(struct reader *r, const struct record *rec, bool planned, struct entry *e)
{
	const char *db = "", *name = "";

	switch (catalog_fate(r->catalog, rec->collection_id, rec->partition_id, &db, &name)) {
	case CATALOG_LIVE:
		if (!catalog_wants_row(r->catalog, rec))
			return 0;
		break;
	case CATALOG_GONE:
		if (planned)
			atomic_fetch_add(&r->skipped, rec->rows); /* R7 */
		return 0;
	case CATALOG_UNWANTED:
	case CATALOG_DROPPED:
	case CATALOG_UNKNOWN:
		return 0;
	}
	*e = (struct entry){.ts = rec->ts,
			    .kind = rec->kind,
			    .collection_id = rec->collection_id,
			    .partition_id = rec->partition_id,
			    .db = db,
			    .collection = name,
			    .vchannel = arena_strndup(r->arena, rec->vchannel, rec->vchannel_len),
			    .rows = rec->rows,
			    .body = rec->body,
			    .size = rec->size};
	return 1;
}

/* A Flush names collections; each becomes an entry of its own. Returns how many were written to e. */
static size_t flush_entries(struct reader *r, const struct record *rec, bool planned, struct entry *e,
			    size_t max)
{
	struct decode_flush flush;
	struct err ignored;
	size_t n = 0;

	if (decode_flush(rec->body, rec->size, &flush, &ignored) < 0)
		return 0; /* advisory (R24): an unreadable one costs nothing */
	for (size_t i = 0; i < flush.count && n < max; i++) {
		int64_t id = catalog_id_by_name(r->catalog, flush.db, flush.db_len, flush.collections[i].name,
						flush.collections[i].len);
		const char *db, *name;

		if (!id || catalog_fate(r->catalog, id, 0, &db, &name) != CATALOG_LIVE)
			continue;
		e[n++] = (struct entry){.ts = rec->ts,
					.kind = KIND_FLUSH,
					.collection_id = id,
					.db = db,
					.collection = name,
					.vchannel = "",
					.body = (const uint8_t *)"",
					.size = 0};
	}
	return planned || n == flush.count ? n : 0;
}

/*
 * The entries of one record; called before the plan, and after it if that gave none. Before it the
 * catalog still has what this cut ends: a row and a drop are of what lives until then, whatever of the
 * same name the plan is going to create (R9), so the content of a cut does not depend on where the cut
 * before it ended (R12). After it the catalog has what this cut creates.
 */
static size_t record_entries(struct reader *r, const struct record *rec, bool planned, struct entry *e,
			     size_t max)
{
	const char *pchannel = r->merger.channels[rec->pchannel].cutter.pchannel;
	size_t n = 0;

	switch (rec->kind) {
	case KIND_INSERT:
	case KIND_DELETE:
		n = (size_t)data_entry(r, rec, planned, e);
		break;
	case KIND_DROP_COLLECTION:
		n = (size_t)catalog_drop_collection(r->catalog, rec->collection_id, rec->ts, r->arena, e);
		break;
	case KIND_DROP_PARTITION:
		n = (size_t)catalog_drop_partition(r->catalog, rec->collection_id, rec->partition_id, rec->ts,
						   r->arena, e);
		break;
	case KIND_FLUSH:
		n = flush_entries(r, rec, planned, e, max);
		break;
	case KIND_IMPORT: /* no entry of its own: its rows are in no message */
		catalog_import(r->catalog, rec->collection_id, decode_import_job(rec->body, rec->size),
			       rec->ts, r->arena);
		break;
	default:
		break; /* the catalog tells of everything else */
	}
	for (size_t i = 0; i < n; i++) {
		e[i].pchannel = arena_strdup(r->arena, pchannel);
		e[i].id = rec->id;
		if (e[i].ts <= r->prev) /* a late message of the replicate topic (R8) */
			e[i].ts = r->prev + 1;
	}
	return n;
}

static bool plan_first(const struct entry *p, const struct record *rec)
{
	if (p->ts != rec->ts)
		return p->ts < rec->ts;
	return p->kind == KIND_CREATE_DATABASE || p->kind == KIND_CREATE_COLLECTION ||
	       p->kind == KIND_CREATE_PARTITION || p->kind == KIND_DROP_ALIAS ||
	       p->kind == KIND_RENAME_COLLECTION;
}

/* Positions of every pchannel that is live after this cut; the others are forgotten (R11). */
static void build_positions(struct reader *r, cdc_ts watermark)
{
	struct catalog_join *joins;
	const char **live;
	size_t n_live = catalog_live_pchannels(r->catalog, r->arena, &live), n = 0;
	size_t n_joins = catalog_joins(r->catalog, UINT64_MAX, r->arena, &joins);
	struct position *positions = arena_alloc(r->arena, (r->merger.count + 1) * sizeof(*positions));

	r->live = arena_alloc(r->arena, (n_live + n_joins + 1) * sizeof(*r->live));
	memcpy(r->live, live, n_live * sizeof(*live));
	for (size_t i = 0; i < n_joins; i++)
		r->live[n_live + i] = arena_strdup(r->arena, joins[i].pchannel);
	r->live_count = n_live + n_joins;
	for (size_t i = 0; i < r->merger.count; i++) {
		const struct channel *ch = &r->merger.channels[i];
		bool keep = ch->used && !ch->cutter.ticking;

		for (size_t k = 0; ch->used && !keep && k < r->live_count; k++)
			keep = STREQ(r->live[k], ch->cutter.pchannel);
		if (keep)
			cutter_position(&ch->cutter, watermark, &positions[n++]);
	}
	r->pending.positions = positions;
	r->pending.position_count = n;
}

struct made {
	struct entry *entries;
	size_t count, most;
};

/* Most entries that the record can become. A backlog has many flushes, and nearly all name one collection. */
static size_t most_entries(const struct record *rec)
{
	struct decode_flush flush;

	if (rec->kind != KIND_FLUSH)
		return 1;
	return decode_flush(rec->body, rec->size, &flush, NULL) < 0 ? 0 : flush.count;
}

static struct made *make_before_plan(struct reader *r, const struct record *const *order, size_t n)
{
	struct made *made = arena_alloc(r->arena, (n + 1) * sizeof(*made));

	for (size_t i = 0; i < n; i++) {
		made[i].most = most_entries(order[i]);
		made[i].entries = arena_alloc(r->arena, made[i].most * sizeof(struct entry));
		made[i].count = record_entries(r, order[i], false, made[i].entries, made[i].most);
	}
	return made;
}

/*
 * The records of the cut, at most about CUT_BYTES of them; *watermark is lowered to what fits. Never to one
 * step above the last cut: that is the sign of the idle cut, at which the catalog derives drops since no
 * record can come (R5), but here the rest of a backlog does. Nor below it: late messages of the replicate
 * topic are at or below the last cut and may be more than CUT_BYTES by themselves (R8).
 */
static size_t collect(struct reader *r, cdc_ts *watermark, const struct record *const **ret, size_t *dups)
{
	cdc_ts fits = *watermark;
	size_t n = merger_collect(&r->merger, &fits, CUT_BYTES, ret, dups);

	if (fits < *watermark && fits <= r->prev + 1) {
		fits = *watermark < r->prev + 2 ? *watermark : r->prev + 2;
		n = merger_collect(&r->merger, &fits, SIZE_MAX, ret, dups);
	}
	*watermark = fits;
	return n;
}

int reader_build(struct reader *r, cdc_ts watermark, bool idle, struct err *err)
{
	const struct record *const *order;
	struct catalog_plan plan;
	struct state_row *rows;
	struct made *made;
	size_t dups, n, cap, p = 0, count = 0;
	struct entry *entries;
	int rc;

	arena_reset(r->arena);
	n = collect(r, &watermark, &order, &dups);
	made = make_before_plan(r, order, n);
	if ((rc = catalog_plan(r->catalog, r->prev, watermark, idle, r->arena, &plan, err)) < 0) {
		catalog_rollback(r->catalog);
		return rc;
	}
	cap = plan.entry_count;
	for (size_t i = 0; i < n; i++)
		cap += made[i].most;
	entries = arena_alloc(r->arena, (cap + 1) * sizeof(*entries));
	for (size_t i = 0; i < n; i++) {
		while (p < plan.entry_count && plan_first(&plan.entries[p], order[i]))
			entries[count++] = plan.entries[p++];
		if (!made[i].count)
			made[i].count = record_entries(r, order[i], true, made[i].entries, made[i].most);
		memcpy(entries + count, made[i].entries, made[i].count * sizeof(*entries));
		count += made[i].count;
	}
	while (p < plan.entry_count)
		entries[count++] = plan.entries[p++];
	for (size_t i = 1; i < count; i++) /* J2: a clamped or planned entry never goes before its elder */
		if (entries[i].ts < entries[i - 1].ts)
			entries[i].ts = entries[i - 1].ts;
	r->pending = (struct cut){.watermark = watermark, .revision = catalog_revision(r->catalog)};
	r->pending.entries = entries;
	r->pending.entry_count = count;
	r->pending.state_count = catalog_state(r->catalog, r->arena, &rows);
	r->pending.state = rows;
	build_positions(r, watermark);
	atomic_fetch_add(&r->retries, (long long)dups);
	r->has_pending = true;
	return 0;
}

/* A pchannel without a live collection is not read any more; a new collection joins it again. */
static void leave_dead(struct reader *r)
{
	for (size_t i = 0; i < r->merger.count; i++) {
		struct channel *ch = &r->merger.channels[i];
		bool live = !ch->used || !ch->cutter.ticking;

		for (size_t k = 0; !live && k < r->live_count; k++)
			live = STREQ(r->live[k], ch->cutter.pchannel);
		if (live)
			continue;
		if (ch->assigned)
			r->c.source->unassign(r->source, (int)i);
		merger_leave(&r->merger, (int)i);
	}
}

int reader_append(struct reader *r, struct err *err)
{
	int rc = journal_append(r->c.journal, &r->pending, 1, err);

	if (rc < 0)
		return rc;
	CRASH_POINT("reader_appended");
	catalog_commit(r->catalog);
	reader_publish_warnings(r);
	merger_cut(&r->merger, r->pending.watermark);
	r->prev = r->pending.watermark;
	r->cut_ms = r->clock_ms();
	r->has_pending = r->moved = false;
	leave_dead(r);
	atomic_store(&r->buffered, (long long)merger_bytes(&r->merger));
	return 1;
}
