/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replicate door of a target Milvus (common.ttMsgEnabled: false): windows go as ReplicateMessage
 * without a tick, ticks follow when the applier has marked. Timestamps, auto-generated IDs and
 * duplicate keys stay as they are at the source.
 *
 * Lanes send side by side; a pchannel belongs to one lane for the life of the sink, so its messages
 * keep their order. The calling thread waits for all lanes: nothing is in flight when a call returns.
 */
#include "flusher.h"
#include "lane.h"
#include "object_map.h"
#include "pchannels.h"
#include "rewrite.h"
#include "sink_ddl.h"

#include <stdio.h>
#include <stdlib.h>

#define LANES 4

struct sink {
	struct sink_conf conf;
	struct target_conf *target;
	struct object_map *map;
	struct milvus *milvus; /* DDL and looking around */
	struct pchannels pchannels;
	struct lane *lanes[LANES];
	struct flusher *flusher;
};

static void replicate_close(struct sink *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < LANES; i++)
		lane_free(s->lanes[i]);
	flusher_free(s->flusher);
	milvus_free(s->milvus);
	object_map_free(s->map);
	pchannels_done(&s->pchannels);
	target_conf_free(s->target);
	free(s);
}

static int replicate_open(struct sink **ret, const struct sink_conf *conf, struct err *err)
{
	struct sink *s = xcalloc(1, sizeof(*s));

	(void)err;
	s->conf = *conf;
	s->target = target_conf_copy(conf->target);
	s->conf.target = s->target;
	s->map = object_map_new();
	s->milvus = milvus_new(s->target, conf->request_timeout_ms, conf->poll, conf->poll_arg);
	for (int i = 0; i < LANES; i++)
		s->lanes[i] = lane_new(i, &s->conf);
	s->flusher = flusher_new(&s->conf);
	*ret = s;
	return 0;
}

static void add_channels(void *arg, const struct target_collection *c)
{
	struct sink *s = arg;

	for (size_t i = 0; i < c->channel_count && !c->dropped; i++)
		pchannels_add(&s->pchannels, c->channels[i].target_pchannel);
}

static int replicate_restore(struct sink *s, const struct state_row *objects, size_t n, struct err *err)
{
	int rc = object_map_restore(s->map, objects, n, err);

	if (rc < 0)
		return rc;
	object_map_each(s->map, add_channels, s);
	return 0;
}

/* Hands every message to the lane of its pchannel, waits for all lanes; the first error wins. */
static int run_lanes(struct sink *s, const struct out_message *messages, size_t n, bool split,
		     struct lane_job *jobs, struct arena *arena, struct err *err)
{
	const struct out_message **list = arena_alloc(arena, (n + 1) * sizeof(*list));
	size_t at = 0;
	int rc = 0;

	for (size_t lane = 0; lane < LANES; lane++) {
		jobs[lane] = (struct lane_job){.messages = list + at, .split_refused = split};
		/* pchannel by pchannel, each in window order */
		for (size_t p = lane; p < s->pchannels.count; p += LANES)
			for (size_t i = 0; i < n; i++)
				if (STREQ(messages[i].pchannel, s->pchannels.names[p])) {
					list[at++] = &messages[i];
					jobs[lane].count++;
				}
		if (jobs[lane].count)
			lane_run(s->lanes[lane], &jobs[lane]);
	}
	for (size_t lane = 0; lane < LANES; lane++) {
		if (jobs[lane].count)
			lane_wait(s->lanes[lane]);
		if (jobs[lane].rc < 0 && rc == 0) {
			rc = jobs[lane].rc;
			*err = jobs[lane].err;
		}
	}
	return rc;
}

static size_t gather_refusals(const struct rewrite_result *rw, struct lane_job *jobs, struct arena *arena,
			      struct sink_refusal **ret)
{
	size_t n = rw->refusal_count, at = 0;
	struct sink_refusal *all;

	for (size_t i = 0; i < LANES; i++)
		n += jobs[i].refused_count;
	all = arena_alloc(arena, (n + 1) * sizeof(*all));
	for (size_t i = 0; i < rw->refusal_count; i++, at++) {
		all[at] = (struct sink_refusal){.collection_id = rw->refusals[i].collection_id,
						.seq = rw->refusals[i].seq};
		snprintf(all[at].reason, sizeof(all[at].reason), "%s", rw->refusals[i].reason);
	}
	for (size_t i = 0; i < LANES; i++) {
		if (jobs[i].refused_count)
			memcpy(all + at, jobs[i].refused, jobs[i].refused_count * sizeof(*all));
		at += jobs[i].refused_count;
	}
	*ret = all;
	return n;
}

/*
 * A refusal that does not say why may come from a target that is just starting. It is for good only if
 * the target has no longer the collection; otherwise the window stays in doubt and is sent again.
 */
static int confirm_refusals(struct sink *s, struct lane_job *jobs, struct arena *arena, struct err *err)
{
	for (size_t i = 0; i < LANES; i++)
		for (size_t k = 0; jobs[i].vague && k < jobs[i].refused_count; k++) {
			const struct sink_refusal *r = &jobs[i].refused[k];
			const struct target_collection *c = object_map_find(s->map, r->collection_id);
			Mv__DescribeCollectionResponse *have;
			int rc;

			if (!c)
				continue;
			if ((rc = milvus_describe(s->milvus, c->db, c->name, arena, &have, err)) < 0)
				return rc;
			if (have && have->collection_id == c->target_id)
				return err_set(err, ERR_TARGET_BUSY, "%s", r->reason);
		}
	return 0;
}

static int replicate_write(struct sink *s, const struct sink_window *w, struct arena *arena,
			   struct sink_refusal **refused, size_t *refused_count, struct err *err)
{
	struct rewrite_conf conf = {.identity = s->conf.identity,
				    .version = w->version,
				    .merge_limit = (size_t)w->merge_limit,
				    .map = s->map};
	struct lane_job jobs[LANES] = {{0}};
	struct rewrite_result rw;
	int rc;

	if ((rc = rewrite_window(&conf, w->entries, w->out, w->count, arena, &rw, err)) < 0)
		return rc;
	for (size_t i = 0; i < rw.message_count; i++)
		pchannels_add(&s->pchannels, rw.messages[i].pchannel);
	rc = run_lanes(s, rw.messages, rw.message_count, true, jobs, arena, err);
	if (rc == 0)
		rc = confirm_refusals(s, jobs, arena, err);
	if (rc == 0)
		*refused_count = gather_refusals(&rw, jobs, arena, refused);
	for (size_t i = 0; i < LANES; i++)
		free(jobs[i].refused);
	return rc;
}

static int send_raw(void *arg, const char *pchannel, const struct pb_bytes *msgs, size_t n, cdc_ts ts,
		    struct err *err)
{
	struct sink *s = arg;
	struct milvus_status st;

	return milvus_replicate(s->milvus, pchannel, ts, ts, msgs, n, &st, err);
}

static int replicate_ddl(struct sink *s, const struct entry *e, cdc_ts out_ts, struct arena *arena,
			 struct state_row **ret, size_t *ret_count, struct err *err)
{
	struct sink_ddl d = {.milvus = s->milvus,
			     .map = s->map,
			     .names = s->conf.names,
			     .send = send_raw,
			     .send_arg = s,
			     .note = s->conf.note,
			     .note_arg = s->conf.note_arg};
	int rc = sink_ddl_apply(&d, e, out_ts, arena, ret, ret_count, err);

	if (rc == 0 && e->kind == KIND_CREATE_COLLECTION)
		object_map_each(s->map, add_channels, s);
	return rc;
}

static int replicate_tick(struct sink *s, cdc_ts ts, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	AUTO_BUF struct buf body = {0};
	struct lane_job jobs[LANES] = {{0}};
	struct out_message *ticks;
	int rc;

	if ((rc = pchannels_refresh(&s->pchannels, s->milvus, err)) < 0)
		return rc;
	rewrite_tick(&body, ts);
	ticks = arena_alloc(arena, (s->pchannels.count + 1) * sizeof(*ticks));
	for (size_t i = 0; i < s->pchannels.count; i++)
		ticks[i] = (struct out_message){.pchannel = s->pchannels.names[i],
						.body = body.data,
						.size = body.len,
						.min_ts = ts,
						.max_ts = ts};
	return run_lanes(s, ticks, s->pchannels.count, false, jobs, arena, err);
}

static void replicate_flush(struct sink *s, const struct entry *e)
{
	const struct target_collection *c = object_map_find(s->map, e->collection_id);

	if (c && !c->dropped)
		flusher_add(s->flusher, c->db, c->name);
}

const struct sink_ops sink_replicate = {
	.name = "replicate",
	.open = replicate_open,
	.close = replicate_close,
	.restore = replicate_restore,
	.write = replicate_write,
	.ddl = replicate_ddl,
	.tick = replicate_tick,
	.flush = replicate_flush,
};
