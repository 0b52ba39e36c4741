/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader's loop. A step is straight: finish the pending cut, assign what is not assigned, cut if
 * the watermark allows it, else read. Any error leaves everything as it was; the next step goes on.
 */
#include "reader_priv.h"

#include "decode.h"

#include <cdc/worker.h>

#include <stdlib.h>

static bool wanted(void *arg, const char *db, const char *collection)
{
	struct reader *r = arg;

	return selection_wants(r->c.selection, db, collection);
}

static bool wanted_db(void *arg, const char *db)
{
	struct reader *r = arg;

	return selection_wants_db(r->c.selection, db);
}

/* Catalog and positions as the journal has them; an empty journal gives an empty reader. */
static int restore(struct reader *r, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct state_row *rows;
	struct position *positions;
	size_t n = journal_state(r->c.journal, arena, &rows);
	int rc;

	for (size_t i = 0; i < n; i++)
		if ((rc = catalog_restore(r->catalog, &rows[i], err)) < 0)
			return rc;
	n = journal_positions(r->c.journal, arena, &positions);
	for (size_t i = 0; i < n; i++) {
		bool ticking = !STREQ(positions[i].pchannel, r->source_conf->replicate_chan);

		if (merger_join(&r->merger, &positions[i], ticking) < 0)
			return err_set(err, ERR_JOURNAL_BAD, "journal has more than %d positions",
				       MERGER_MAX);
	}
	r->prev = journal_watermark(r->c.journal);
	reader_publish_warnings(r);
	return 0;
}

int reader_new(struct reader **ret, const struct reader_conf *conf, struct err *err)
{
	AUTO(reader_free) struct reader *r = xcalloc(1, sizeof(*r));
	int rc;

	r->c = *conf;
	r->source_conf = &conf->conf->source;
	r->clock_ms = clock_mono_ms;
	r->arena = arena_new();
	pthread_mutex_init(&r->warnings_lock, NULL);
	merger_init(&r->merger);
	r->etcd = etcd_new(&r->source_conf->etcd, conf->stopping, conf->arg);
	r->catalog = catalog_new(&(struct catalog_conf){.source = r->source_conf,
							.wanted = wanted,
							.wanted_db = wanted_db,
							.arg = r,
							.users = conf->users,
							.etcd = r->etcd});
	if ((rc = conf->source->open(&r->source, r->source_conf, err)) < 0)
		return rc;
	if ((rc = restore(r, err)) < 0)
		return rc;
	r->cut_ms = r->watermark_ms = r->clock_ms();
	*ret = TAKE(r);
	return 0;
}

void reader_free(struct reader *r)
{
	if (!r)
		return;
	merger_done(&r->merger); /* records go back to the source before it closes */
	if (r->source)
		r->c.source->close(r->source);
	catalog_free(r->catalog);
	etcd_free(r->etcd);
	reader_free_warnings(r);
	arena_free(r->arena);
	free(r);
}

/*
 * The replicate topic has no longer what was to be read next. Of it only hints to flush are used: no row is
 * missing and nothing is held, as it is for a topic with rows (R11). Reading goes on at what it has now.
 */
static int replicate_anew(struct reader *r, struct channel *ch, struct err *err)
{
	struct position pos = {.ts = ch->cutter.low};
	AUTO_FREE char *text = NULL;
	struct mq_id end;
	int rc;

	memcpy(pos.pchannel, ch->cutter.pchannel, sizeof(pos.pchannel));
	rc = r->c.source->bounds(r->source, pos.pchannel, BOUNDS_TIMEOUT_MS, &pos.next, &end, err);
	if (rc < 0 && rc != -ERR_POSITION_GONE) /* that: there is none; one to come is read from its start */
		return rc;
	if (ch->assigned)
		r->c.source->unassign(r->source, (int)(ch - r->merger.channels));
	ch->assigned = ch->paused = false;
	cutter_done(&ch->cutter);
	cutter_init(&ch->cutter, &pos, false);
	r->moved = true;
	text = xasprintf("%s: what was to be read next was removed, or the topic was deleted or made again; "
			 "reading goes on at what it has. Flushes may be missing on the target, no row is",
			 pos.pchannel);
	if (r->c.note)
		r->c.note(r->c.note_arg, text);
	return 0;
}

/* Starts delivery of every joined pchannel that is not delivered yet. */
static int assign_all(struct reader *r, struct err *err)
{
	for (size_t i = 0; i < r->merger.count; i++) {
		struct channel *ch = &r->merger.channels[i];
		struct position pos;
		int rc;

		if (!ch->used || ch->assigned)
			continue;
		if (!ch->cutter.ticking && r->clock_ms() < r->replicate_ms)
			continue;
		cutter_position(&ch->cutter, ch->cutter.low, &pos);
		rc = r->c.source->assign(r->source, (int)i, &pos, ASSIGN_TIMEOUT_MS, err);
		if (rc == -ERR_SOURCE_WAIT && !ch->cutter.ticking) {
			/* the topic is made with the first operation: nothing is missed until then */
			r->replicate_ms = r->clock_ms() + REPLICATE_RETRY_MS;
			continue;
		}
		if (rc == -ERR_POSITION_GONE && !ch->cutter.ticking) {
			if ((rc = replicate_anew(r, ch, err)) < 0)
				return rc;
			continue; /* the next step's */
		}
		if (rc < 0)
			return rc;
		ch->assigned = true;
		ch->tick_moved_ms = r->clock_ms();
	}
	return 0;
}

/* R10: tells pchannels that run ahead to wait, and to go on. */
static int back_pressure(struct reader *r, struct err *err)
{
	size_t limit = (size_t)r->source_conf->read_buffer;
	int rc;

	for (size_t i = 0; i < r->merger.count; i++) {
		struct channel *ch = &r->merger.channels[i];
		bool pause;

		if (!ch->used || !ch->assigned)
			continue;
		pause = merger_should_pause(&r->merger, (int)i, limit);
		if (pause == ch->paused)
			continue;
		if ((rc = r->c.source->pause(r->source, (int)i, pause, err)) < 0)
			return rc;
		ch->paused = pause;
	}
	return 0;
}

static void feed(struct reader *r, struct record *rec)
{
	struct channel *ch = &r->merger.channels[rec->pchannel];
	cdc_ts tick = ch->cutter.tick;

	if (!ch->cutter.ticking && decode_is_replicated(rec->body, rec->size)) {
		rec->kind = KIND_OTHER; /* written by a CDC writer: not this cluster's own operation */
	} else if (rec->kind == KIND_INSERT || rec->kind == KIND_DELETE) {
		if (rec->ts > ch->cutter.low)
			atomic_fetch_add(&r->captured, rec->rows);
	}
	r->moved |= !ch->cutter.ticking;
	cutter_feed(&ch->cutter, rec);
	if (ch->cutter.tick != tick)
		ch->tick_moved_ms = r->clock_ms();
}

/* R27: a source that does not tick stalls everything; the operator is told which pchannel and why. */
static int silence(struct reader *r, struct err *err)
{
	cdc_ts low = merger_watermark(&r->merger);
	int64_t silent = r->clock_ms() - r->watermark_ms;
	int rc;

	if (silent < SILENT_TOLD_MS || low > r->prev)
		return 0;
	for (size_t i = 0; i < r->merger.count; i++) {
		const struct channel *ch = &r->merger.channels[i];

		if (ch->used && ch->cutter.ticking && !ch->closed && ch->cutter.tick == low) {
			rc = err_set(err, ERR_SOURCE_WAIT,
				     "no time tick on pchannel %s for %lld s: is the source Milvus "
				     "running, and is its common.ttMsgEnabled true?",
				     ch->cutter.pchannel, (long long)(silent / 1000));
			return err_about(rc, err, ch->cutter.pchannel);
		}
	}
	return 0;
}

/* A read that failed. 0: it goes on with the next step, after all. */
static int read_failed(struct reader *r, int rc, struct err *err)
{
	int i = rc == -ERR_POSITION_GONE && err ? merger_find(&r->merger, err->pchannel) : -1;

	if (i < 0 || r->merger.channels[i].cutter.ticking)
		return rc;
	return replicate_anew(r, &r->merger.channels[i], err);
}

static int read_more(struct reader *r, struct err *err)
{
	int wait = merger_live(&r->merger) ? 100 : 200;
	int n = r->c.source->read(r->source, r->batch, READ_BATCH, wait, err);
	int rc;

	if (n < 0)
		return (rc = read_failed(r, n, err)) < 0 ? rc : 1;
	for (int i = 0; i < n; i++)
		feed(r, &r->batch[i]);
	CRASH_POINT("reader_read");
	r->behind = n >= READ_BATCH / 2;
	atomic_store(&r->buffered, (long long)merger_bytes(&r->merger));
	if ((rc = back_pressure(r, err)) < 0 || (rc = silence(r, err)) < 0)
		return rc;
	return 1; /* the read itself waited */
}

static int trim(struct reader *r, struct err *err)
{
	int64_t now = r->clock_ms();
	int rc;

	if (now - r->trim_ms < TRIM_MS && !r->has_pending)
		return 0;
	r->trim_ms = now;
	rc = journal_trim(r->c.journal, atomic_load(&r->applied_seq), err);
	return rc < 0 ? rc : 0;
}

int reader_step(void *reader, struct err *err)
{
	struct reader *r = reader;
	int rc;

	HANG_POINT("reader_step");
	if ((rc = trim(r, err)) < 0)
		return rc;
	if (r->has_pending)
		return reader_append(r, err);
	if ((rc = assign_all(r, err)) < 0)
		return rc;
	if ((rc = reader_cut(r, err)) != 0)
		return rc;
	return read_more(r, err);
}

void reader_applied(struct reader *r, int64_t seq)
{
	atomic_store(&r->applied_seq, seq);
}

void reader_stat(struct reader *r, struct reader_stat *ret)
{
	*ret = (struct reader_stat){.captured = atomic_load(&r->captured),
				    .skipped = atomic_load(&r->skipped),
				    .retries = atomic_load(&r->retries),
				    .buffered = (size_t)atomic_load(&r->buffered),
				    .quiet_ms = atomic_load(&r->quiet_ms)};
}
