/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole reading half for tests: an etcd and a broker in memory, a journal in a folder, a reader on them.
 * The world (etcd, broker, clock) outlives the reader and its journal: rig_kill() drops these as a killed
 * process leaves them, and starts anew. Times are told in ms from an origin, T(5); one clock for all, which
 * moves only while the reader waits.
 */
#ifndef READER_KIT_H
#define READER_KIT_H

#include "catalog_world.h"

#include "../../src/data/reader_priv.h"
#include "../fake/source_script.h"
#include "journal_kit.h"

#include <cdc/pb.h>

#define ORIGIN_MS 1700000000000
#define T(ms) ts_from_ms(ORIGIN_MS + (ms))
#define REPLICATE "by-dev-replicate-msg"

struct rig_coll {
	int64_t id;
	char name[32];
	cdc_ts created;
	char pchannel[2][32];
	uint64_t start[2];
	int shards;
};

struct rig {
	struct world w; /* of it only etcd is used */
	struct broker *broker;
	struct conf *conf;
	struct selection_item item;
	struct selection selection;
	struct journal_options options;
	const struct start *start; /* of the task; NULL: now */
	cdc_ts floor;              /* what the start answered */
	char dir[300];
	struct journal *j;
	struct reader *r;
	struct err err;
	struct rig_coll colls[64];
	size_t coll_count;
	uint64_t msg_id;
	struct buf text;
	int steps;
};

static struct broker *rig_broker; /* the clock is its */
static int64_t rig_clock(void)
{
	return rig_broker->now_ms;
}

/* --- process --- */

static UNUSED int rig_try_open(struct rig *g)
{
	struct reader_conf c = {
		.conf = g->conf, .selection = &g->selection, .source = &source_script, .stopping = NULL};
	int rc;

	if (!g->j && (rc = journal_open(&g->j, g->dir, &g->options, &g->err)) < 0)
		return rc;
	c.journal = g->j;
	if ((rc = reader_new(&g->r, &c, &g->err)) < 0)
		return rc;
	g->r->clock_ms = g->r->catalog->clock_ms = rig_clock;
	g->r->cut_ms = g->r->watermark_ms = rig_clock();
	return 0;
}

static UNUSED void rig_open(struct rig *g)
{
	CHECKF(rig_try_open(g) == 0, "%s", g->err.text);
}

static UNUSED void rig_close(struct rig *g)
{
	reader_free(g->r);
	g->r = NULL;
	journal_close(g->j);
	g->j = NULL;
	CHECK_INT(g->broker->records_out, 0); /* every record went back */
	CHECK_INT(g->broker->handles, 0);
}

static UNUSED struct rig *rig_new(void)
{
	static struct rig *last;
	struct rig *g = xcalloc(1, sizeof(*g));

	if (last) { /* what a failed test left behind */
		reader_free(last->r);
		journal_close(last->j);
		fake_etcd_free(last->w.etcd);
		broker_free(last->broker);
		conf_free(last->conf);
		buf_free(&last->text);
		free(last);
	}
	last = g;
	g->w.etcd = fake_etcd_shared = fake_etcd_new();
	g->broker = rig_broker = broker_new();
	g->conf = conf_default();
	free(g->conf->source.etcd.root_path);
	free(g->conf->source.etcd.meta_sub_path);
	g->conf->source.etcd.root_path = xstrdup("by-dev");
	g->conf->source.etcd.meta_sub_path = xstrdup("meta");
	g->item = (struct selection_item){.db = (char *)"*", .collection = (char *)"*"};
	g->selection = (struct selection){&g->item, 1};
	g->options = (struct journal_options){
		.segment_size = 1 << 20, .max_size = 1 << 30, .keep_s = 86400, .vfs = NULL};
	snprintf(g->dir, sizeof(g->dir), "%s", kit_dir());
	put_db(&g->w, 1, "default", 111, 1);
	return g;
}

/* The end of a test: everything of it is freed with the next rig, or at exit. */
static UNUSED void rig_done(struct rig *g)
{
	rig_close(g);
	kit_clean();
}

static void rig_copy(const char *from, const char *to)
{
	DIR *d = opendir(from);
	struct dirent *e;

	CHECK(d != NULL);
	nftw(to, kit_remove, 16, FTW_DEPTH | FTW_PHYS);
	CHECK(mkdir(to, 0750) == 0);
	while ((e = readdir(d))) {
		char path[600], copy[600];
		struct stat st;
		static uint8_t bytes[1 << 16];
		ssize_t n;
		int in, out;

		snprintf(path, sizeof(path), "%s/%s", from, e->d_name);
		snprintf(copy, sizeof(copy), "%s/%s", to, e->d_name);
		if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		in = open(path, O_RDONLY);
		out = open(copy, O_CREAT | O_WRONLY | O_TRUNC, st.st_mode | 0200);
		CHECK(in >= 0 && out >= 0);
		while ((n = read(in, bytes, sizeof(bytes))) > 0)
			CHECK(write(out, bytes, (size_t)n) == n);
		fchmod(out, st.st_mode);
		close(in);
		close(out);
	}
	closedir(d);
}

/* Takes the folder as it was at the moment of `copy`. */
static UNUSED void rig_go_back(struct rig *g, const char *copy)
{
	rig_close(g);
	nftw(g->dir, kit_remove, 16, FTW_DEPTH | FTW_PHYS);
	CHECK(rename(copy, g->dir) == 0);
}

/* Dies without a farewell: what is only in memory is lost. */
static UNUSED void rig_kill(struct rig *g)
{
	char copy[310];

	snprintf(copy, sizeof(copy), "%s-copy", g->dir);
	rig_copy(g->dir, copy);
	rig_go_back(g, copy);
	rig_open(g);
}

/* --- the source --- */

static UNUSED struct rig_coll *rig_find(struct rig *g, int64_t id)
{
	for (size_t i = 0; i < g->coll_count; i++)
		if (g->colls[i].id == id)
			return &g->colls[i];
	CHECKF(false, "no collection %lld", (long long)id);
	return NULL;
}

static void rig_put(struct rig *g, const struct rig_coll *c, int state)
{
	Mv__CollectionInfo m = MV__COLLECTION_INFO__INIT;
	Mv__CollectionSchema s = MV__COLLECTION_SCHEMA__INIT;
	Mv__KeyDataPair kd[2] = {MV__KEY_DATA_PAIR__INIT, MV__KEY_DATA_PAIR__INIT}, *start[2];
	char v[2][64], *vs[2], *ps[2];
	uint8_t at[2][8];
	KEY(key, "root-coord/database/collection-info/1/%lld", (long long)c->id);

	for (int i = 0; i < c->shards; i++) {
		snprintf(v[i], sizeof(v[i]), "%s_%lldv%d", c->pchannel[i], (long long)c->id, i);
		vs[i] = v[i];
		ps[i] = (char *)c->pchannel[i];
		for (int b = 0; b < 8; b++)
			at[i][b] = (uint8_t)(c->start[i] >> (8 * b));
		kd[i].key = ps[i];
		kd[i].data.data = at[i];
		kd[i].data.len = 8;
		start[i] = &kd[i];
	}
	s.name = (char *)c->name;
	m.id = c->id;
	m.schema = &s;
	m.create_time = c->created;
	m.state = state;
	m.db_id = 1;
	m.shards_num = c->shards;
	m.n_virtual_channel_names = m.n_physical_channel_names = m.n_start_positions = (size_t)c->shards;
	m.virtual_channel_names = vs;
	m.physical_channel_names = ps;
	m.start_positions = start;
	put_msg(&g->w, key, &m);
}

/* What the source's timestamp oracle keeps in etcd: nothing was given out above it. */
static UNUSED void rig_oracle(struct rig *g, int64_t ms)
{
	uint64_t ns = (uint64_t)(ORIGIN_MS + ms) * 1000000;
	uint8_t value[8];

	for (int i = 0; i < 8; i++)
		value[i] = (uint8_t)(ns >> (56 - 8 * i));
	fake_etcd_put(g->w.etcd, "by-dev/kv/gid/timestamp", value, sizeof(value));
}

/* A new collection, in state Creating; p1 NULL: one shard. The pchannels exist from then on. */
static UNUSED struct rig_coll *rig_creating(struct rig *g, int64_t id, const char *name, cdc_ts ts,
					    const char *p0, const char *p1)
{
	struct rig_coll *c = &g->colls[g->coll_count++];

	CHECK(g->coll_count < ARRAY_LEN(g->colls));
	*c = (struct rig_coll){.id = id, .created = ts, .shards = p1 ? 2 : 1};
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->pchannel[0], sizeof(c->pchannel[0]), "%s", p0);
	snprintf(c->pchannel[1], sizeof(c->pchannel[1]), "%s", p1 ? p1 : "");
	for (int i = 0; i < c->shards; i++)
		c->start[i] = broker_topic(g->broker, c->pchannel[i])->count;
	rig_put(g, c, STATE_CREATING);
	put_fields(&g->w, id);
	put_part(&g->w, id, id + 1, "_default", ts, STATE_CREATED);
	return c;
}

static UNUSED void rig_create(struct rig *g, int64_t id, const char *name, cdc_ts ts, const char *p0,
			      const char *p1)
{
	rig_put(g, rig_creating(g, id, name, ts, p0, p1), STATE_CREATED);
}

static void rig_send(struct rig *g, const char *topic, const struct buf *b, cdc_ts ts)
{
	broker_append(g->broker, topic, b->data, b->len, ts_ms(ts));
}

static void rig_base(struct rig *g, struct buf *b, int type, cdc_ts ts, bool replicated)
{
	AUTO_BUF struct buf base = {0};

	pb_put_uint(&base, 1, (uint64_t)type);
	pb_put_uint(&base, 2, ++g->msg_id);
	pb_put_uint(&base, 3, ts);
	if (replicated)
		pb_put_bytes(&base, 7, "\x08\x01", 2);
	pb_put_bytes(b, 1, base.data, base.len);
}

/* Data of one shard with `pad` bytes more; part 0: the default one. */
static UNUSED void rig_data(struct rig *g, enum kind kind, int64_t id, int shard, int64_t part, cdc_ts ts,
			    int rows, size_t pad)
{
	const struct rig_coll *c = rig_find(g, id);
	AUTO_BUF struct buf b = {0}, list = {0};
	char v[64];

	snprintf(v, sizeof(v), "%s_%lldv%d", c->pchannel[shard], (long long)id, shard);
	rig_base(g, &b, kind == KIND_INSERT ? 400 : 401, 0, false);
	pb_put_string(&b, 2, v);
	pb_put_uint(&b, 7, (uint64_t)id);
	pb_put_uint(&b, 8, (uint64_t)(part ? part : id + 1));
	for (int i = 0; i < rows; i++)
		pb_put_varint(&list, ts);
	pb_put_bytes(&b, 10, list.data, list.len);
	pb_put_uint(&b, kind == KIND_INSERT ? 14 : 11, (uint64_t)rows);
	if (pad) {
		AUTO_FREE uint8_t *junk = xcalloc(1, pad);

		pb_put_bytes(&b, 50, junk, pad);
	}
	rig_send(g, c->pchannel[shard], &b, ts);
}

static UNUSED void rig_insert(struct rig *g, int64_t id, int shard, cdc_ts ts)
{
	rig_data(g, KIND_INSERT, id, shard, 0, ts, 1, 0);
}

static UNUSED void rig_upsert(struct rig *g, int64_t id, int shard, cdc_ts ts)
{
	rig_data(g, KIND_INSERT, id, shard, 0, ts, 1, 0);
	rig_data(g, KIND_DELETE, id, shard, 0, ts, 1, 0);
}

static UNUSED void rig_tick(struct rig *g, const char *pchannel, cdc_ts ts)
{
	AUTO_BUF struct buf b = {0};

	rig_base(g, &b, 1200, ts, false);
	rig_send(g, pchannel, &b, ts);
}

static UNUSED void rig_tick_all(struct rig *g, cdc_ts ts)
{
	for (int i = 0; i < BROKER_TOPICS; i++)
		if (strncmp(g->broker->topics[i].name, "dml_", 4) == 0)
			rig_tick(g, g->broker->topics[i].name, ts);
}

/* The Drop record; part 0: of the collection. */
static UNUSED void rig_drop_record(struct rig *g, int64_t id, int64_t part, int shard, cdc_ts ts)
{
	AUTO_BUF struct buf b = {0};

	rig_base(g, &b, part ? 201 : 101, ts, false);
	pb_put_uint(&b, part ? 6 : 5, (uint64_t)id);
	if (part)
		pb_put_uint(&b, 7, (uint64_t)part);
	rig_send(g, rig_find(g, id)->pchannel[shard], &b, ts);
}

/* As the source does it: Dropping in etcd, a record on each pchannel. */
static UNUSED void rig_drop(struct rig *g, int64_t id, cdc_ts ts)
{
	struct rig_coll *c = rig_find(g, id);

	rig_put(g, c, STATE_DROPPING);
	for (int i = 0; i < c->shards; i++)
		rig_drop_record(g, id, 0, i, ts);
}

static UNUSED void rig_flush(struct rig *g, const char *name, cdc_ts ts, bool replicated)
{
	AUTO_BUF struct buf b = {0};

	rig_base(g, &b, 402, ts, replicated);
	pb_put_string(&b, 3, name);
	rig_send(g, REPLICATE, &b, ts);
}

/* --- running --- */

static UNUSED int rig_step(struct rig *g)
{
	g->steps++;
	return reader_step(g->r, &g->err);
}

static UNUSED int rig_try_start(struct rig *g)
{
	return reader_start(g->r, g->start, &g->floor, &g->err);
}

/* Opens and starts the task (R3). */
static UNUSED void rig_start(struct rig *g)
{
	rig_open(g);
	CHECKF(rig_try_start(g) == 0, "%s", g->err.text);
}

/* Steps until all up to ts is journaled. */
static UNUSED void rig_run(struct rig *g, cdc_ts ts)
{
	for (int i = 0; g->r->prev < ts; i++) {
		CHECKF(i < 2000, "%lld ms short of the watermark",
		       (long long)(ts_ms(ts) - ts_ms(g->r->prev)));
		CHECKF(rig_step(g) >= 0, "%s", g->err.text);
	}
}

/* A silent source is told as SOURCE_WAIT (R27); reading goes on all the same. */
static UNUSED void rig_steps(struct rig *g, int n)
{
	while (n-- > 0) {
		int rc = rig_step(g);

		CHECKF(rc >= 0 || rc == -ERR_SOURCE_WAIT, "%s", g->err.text);
	}
}

/* Steps until one fails; returns its code, positive. */
static UNUSED int rig_error(struct rig *g, int most)
{
	for (int i = 0; i < most; i++) {
		int rc = rig_step(g);

		if (rc < 0)
			return -rc;
	}
	return 0;
}

/* --- the journal, told --- */

/* Every entry with ts > above. Whole: all but seq, bodies as their hash; else "insert a@5", times in ms. */
static UNUSED const char *rig_tell(struct rig *g, cdc_ts above, bool whole)
{
	AUTO(journal_cursor_close) struct journal_cursor *c = NULL;
	int64_t seq = -1;
	cdc_ts ts = 0;

	buf_reset(&g->text);
	buf_adds(&g->text, "");
	CHECKF(journal_cursor_open(&c, g->j, &g->err) == 0, "%s", g->err.text);
	for (;;) {
		AUTO(arena_free) struct arena *a = arena_new();
		struct journal_batch b;

		CHECKF(journal_read(c, seq, 1 << 20, 1000, a, &b, &g->err) == 0, "%s", g->err.text);
		for (size_t i = 0; i < b.count; i++) {
			const struct entry *e = &b.entries[i];
			int logical = (int)(e->ts & ((1 << TS_LOGICAL_BITS) - 1));

			CHECK(e->seq > seq && e->ts >= ts); /* J2 */
			seq = e->seq;
			ts = e->ts;
			if (e->ts <= above)
				continue;
			if (!whole) {
				buf_addf(&g->text, "%s%s %s@%lld", g->text.len ? ", " : "",
					 kind_name(e->kind), e->collection,
					 (long long)(ts_ms(e->ts) - ORIGIN_MS));
				if (logical)
					buf_addf(&g->text, "+%d", logical);
				continue;
			}
			buf_addf(&g->text, "%s %lld/%lld/%lld %s.%s @%lld+%d %s %s:%llu x%u #%016llx\n",
				 kind_name(e->kind), (long long)e->db_id, (long long)e->collection_id,
				 (long long)e->partition_id, e->db, e->collection,
				 (long long)(ts_ms(e->ts) - ORIGIN_MS), logical, e->vchannel, e->pchannel,
				 (unsigned long long)e->id.lo, e->rows,
				 (unsigned long long)hash64(0, e->body, e->size));
		}
		if (b.complete)
			return (const char *)g->text.data;
	}
}

/* Two wholes; shows where they part. */
static UNUSED void rig_same(const char *got, const char *want, const char *what, int n)
{
	size_t i = 0, line = 0;

	while (got[i] && got[i] == want[i]) {
		if (got[i] == '\n')
			line = i + 1;
		i++;
	}
	CHECKF(got[i] == want[i], "%s %d:\n#  got  %.*s\n#  want %.*s\n", what, n,
	       (int)strcspn(got + line, "\n"), got + line, (int)strcspn(want + line, "\n"), want + line);
}

static UNUSED bool rig_has_position(struct rig *g, const char *pchannel, struct position *ret)
{
	AUTO(arena_free) struct arena *a = arena_new();
	struct position *p;
	size_t n = journal_positions(g->j, a, &p);

	for (size_t i = 0; i < n; i++)
		if (STREQ(p[i].pchannel, pchannel)) {
			*ret = p[i];
			return true;
		}
	return false;
}

#define rig_journal_is(g, above, want) CHECK_STR(rig_tell(g, above, false), want)

#endif
