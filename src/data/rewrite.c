/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One data window -> messages: maps each entry, has it checked, leaves out a producer's repeats,
 * groups what can be merged and writes it. Message IDs and restamping are here, too: their values
 * are what makes a repeat harmless (J6), so they never change within a version. Pure, any thread.
 */
#include "refusals.h"
#include "rewrite_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t hash_number(uint64_t h, uint64_t v)
{
	uint8_t le[8];

	for (int i = 0; i < 8; i++)
		le[i] = (uint8_t)(v >> (8 * i));
	return hash64(h, le, sizeof(le));
}

static uint64_t positive(uint64_t h)
{
	h &= INT64_MAX;
	return h ? h : 1;
}

uint64_t rewrite_message_id(uint64_t identity, const struct entry *e, uint64_t index)
{
	uint64_t h = hash64(identity, e->pchannel, strlen(e->pchannel));

	h = hash_number(h, e->id.hi);
	h = hash_number(h, e->id.lo);
	return positive(hash_number(h, index));
}

uint64_t rewrite_group_id(const struct group *g)
{
	uint64_t h = g->parts;

	if (g->parts == 1)
		return g->first->id;
	for (const struct part *p = g->first; p; p = p->next)
		h = hash_number(h, p->id);
	return positive(h);
}

cdc_ts rewrite_restamp(const struct entry *entries, size_t n, cdc_ts floor, cdc_ts *out)
{
	cdc_ts last = floor;

	for (size_t i = 0; i < n; i++) {
		if (i == 0 || entries[i].ts != entries[i - 1].ts)
			last = entries[i].ts > last ? entries[i].ts : last + 1;
		out[i] = last;
	}
	return last;
}

/* The state of one rewrite_window(). */
struct window {
	const struct rewrite_conf *conf;
	struct arena *scratch; /* parts, groups, tables */
	struct arena *arena;   /* what the caller gets */
	struct table open;     /* group of each vchannel and partition that can still grow */
	struct table seen;     /* parts by the source's msgID */
	struct group *first, **end;
	size_t groups;
	struct refusals refused;
};

/* A shard is a pchannel with a suffix: rows on any other channel crash the target at every start. */
static bool shard_in_lane(const struct channel_pair *c)
{
	size_t n = strlen(c->target_pchannel);

	return n && strncmp(c->target_vchannel, c->target_pchannel, n) == 0 && c->target_vchannel[n] == '_';
}

/* 1: mapped; 0: dropped meanwhile, to be left out; -1: err says what is missing. */
static int map_part(const struct object_map *map, struct part *part, struct err *err)
{
	const struct entry *e = part->entry;
	const struct target_collection *c = object_map_find(map, e->collection_id);

	if (!c) {
		err_set(err, ERR_INTERNAL, "collection %" PRId64 " is not known on the target",
			e->collection_id);
		return -1;
	}
	part->collection = c;
	if (c->dropped)
		return 0;
	if (e->kind != KIND_DELETE || e->partition_id != PARTITION_ALL) {
		part->partition = target_partition(c, e->partition_id);
		if (!part->partition) {
			err_set(err, ERR_INTERNAL, "partition %" PRId64 " is not known on the target",
				e->partition_id);
			return -1;
		}
		if (part->partition->dropped)
			return 0;
	}
	part->channel = target_channel(c, e->vchannel, strlen(e->vchannel));
	if (!part->channel) {
		err_set(err, ERR_INTERNAL, "vchannel %s is not known on the target", e->vchannel);
		return -1;
	}
	if (!shard_in_lane(part->channel)) {
		err_set(err, ERR_INTERNAL, "the target's vchannel %s is not on its pchannel %s",
			part->channel->target_vchannel, part->channel->target_pchannel);
		return -1;
	}
	return 1;
}

static bool same_source_message(const void *pa, const void *pb)
{
	const struct part *a = pa, *b = pb;

	return a->source_msg_id == b->source_msg_id && a->entry->ts == b->entry->ts &&
	       a->entry->kind == b->entry->kind && STREQ(a->entry->vchannel, b->entry->vchannel);
}

/* A producer's retry is in the log twice; Milvus itself applies it once. */
static bool is_repeat(struct window *w, struct part *part)
{
	void **slot;

	if (!part->source_msg_id)
		return false;
	slot = table_slot(&w->seen, hash_number(0, part->source_msg_id), part, same_source_message);
	if (*slot)
		return true;
	*slot = part;
	return false;
}

static void add_entry(struct window *w, const struct entry *e, cdc_ts out)
{
	struct part *part = arena_alloc(w->scratch, sizeof(*part));
	struct group *g;
	struct err why;
	int rc;

	part->entry = e;
	part->out = out;
	rc = map_part(w->conf->map, part, &why);
	if (rc == 0)
		return;
	if (rc < 0 || rewrite_check(part, w->scratch, &why) < 0) {
		refusals_add(&w->refused, e, why.text);
		return;
	}
	if (is_repeat(w, part))
		return;
	part->id = rewrite_message_id(w->conf->identity, e, 0);
	g = merge_add(&w->open, w->conf->merge_limit, part, w->scratch);
	if (!g)
		return;
	*w->end = g;
	w->end = &g->next;
	w->groups++;
}

static struct out_message emit(const struct window *w, const struct group *g)
{
	const struct part *first = g->first;
	struct ink count = {0}, ink = {0};
	struct out_message m = {
		.pchannel = first->channel->target_pchannel,
		.msg_id = rewrite_group_id(g),
		.min_ts = first->min_ts,
		.max_ts = first->max_ts,
		.rows = (uint32_t)g->rows,
		.is_delete = first->entry->kind == KIND_DELETE,
		.collection_id = first->entry->collection_id,
		.first_seq = first->entry->seq,
	};

	for (const struct part *p = first->next; p; p = p->next) {
		m.min_ts = p->min_ts < m.min_ts ? p->min_ts : m.min_ts;
		m.max_ts = p->max_ts > m.max_ts ? p->max_ts : m.max_ts;
	}
	write_message(&count, g);
	ink.p = arena_alloc(w->arena, count.n);
	write_message(&ink, g);
	m.body = ink.p;
	m.size = ink.n;
	return m;
}

int rewrite_window(const struct rewrite_conf *conf, const struct entry *entries, const cdc_ts *out, size_t n,
		   struct arena *arena, struct rewrite_result *ret, struct err *err)
{
	AUTO(arena_free) struct arena *scratch = arena_new();
	struct window w = {.conf = conf, .scratch = scratch, .arena = arena};
	struct rewrite_result r = {0};

	if (conf->version != REWRITE_VERSION)
		return err_set(err, ERR_INTERNAL,
			       "a window in doubt has message format %d, this program writes %d: finish the "
			       "window with the version that began it",
			       conf->version, REWRITE_VERSION);
	for (size_t i = 0; i < n; i++) {
		if (entries[i].kind != KIND_INSERT && entries[i].kind != KIND_DELETE)
			return err_set(err, ERR_INTERNAL, "entry %" PRId64 " (%s) in a data window",
				       entries[i].seq, kind_name(entries[i].kind));
	}
	w.open = table_new(scratch, n);
	w.seen = table_new(scratch, n);
	w.end = &w.first;
	for (size_t i = 0; i < n; i++) {
		if (!refusals_have(&w.refused, entries[i].collection_id))
			add_entry(&w, &entries[i], out[i]);
	}
	r.messages = arena_alloc(arena, w.groups * sizeof(*r.messages));
	for (const struct group *g = w.first; g; g = g->next)
		r.messages[r.message_count++] = emit(&w, g);
	r.refusals = refusals_take(&w.refused, arena, &r.refusal_count);
	*ret = r;
	return 0;
}

/* base of the messages that are no data. */
static void put_base(struct buf *b, int type, cdc_ts ts, bool replicated)
{
	AUTO_BUF struct buf base = {0};

	pb_put_uint(&base, 1, (uint64_t)type);
	pb_put_uint(&base, 3, ts);
	pb_put_uint(&base, 4, (uint64_t)-1);
	if (replicated)
		pb_put_bytes(&base, 7, "\x08\x01", 2); /* replicateInfo: isReplicate */
	pb_put_bytes(b, F_BASE, base.data, base.len);
}

void rewrite_tick(struct buf *b, cdc_ts ts)
{
	put_base(b, MSG_TICK, ts, false);
}

void rewrite_drop_collection(struct buf *b, const struct target_collection *c, cdc_ts ts)
{
	put_base(b, MSG_DROP_COLLECTION, ts, true);
	pb_put_string(b, 2, c->db);
	pb_put_string(b, 3, c->name);
	pb_put_uint(b, 5, (uint64_t)c->target_id);
}

void rewrite_drop_partition(struct buf *b, const struct target_collection *c, const struct partition_pair *p,
			    cdc_ts ts)
{
	put_base(b, MSG_DROP_PARTITION, ts, true);
	pb_put_string(b, 2, c->db);
	pb_put_string(b, 3, c->name);
	pb_put_string(b, 4, p->name);
	pb_put_uint(b, 6, (uint64_t)c->target_id);
	pb_put_uint(b, 7, (uint64_t)p->target_id);
}
