/* SPDX-License-Identifier: Apache-2.0 */
/* See apply_bench.h. */
#include "apply_bench.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void applied(void *arg, int64_t seq)
{
	struct bench *b = arg;

	b->needed = seq;
}

static bool poll(void *arg)
{
	struct bench *b = arg;

	b->polls++;
	return false;
}

struct entry bench_row(enum kind kind, cdc_ts ts, int64_t coll, int p, uint64_t id)
{
	return (struct entry){.kind = kind,
			      .ts = ts,
			      .collection_id = coll,
			      .db = "default",
			      .collection = coll == 1 ? "one" : "two",
			      .vchannel = p ? "dml_1_1v1" : "dml_0_1v0",
			      .pchannel = p ? "dml_1" : "dml_0",
			      .id = {0, id},
			      .rows = 1,
			      .body = (const uint8_t *)"body",
			      .size = 4};
}

void bench_append(struct bench *b, cdc_ts watermark, struct entry *entries, size_t n)
{
	struct cut cut = {.watermark = watermark, .entries = entries, .entry_count = n};
	struct err err;

	for (size_t i = 0; i < n; i++)
		b->rows += entries[i].kind == KIND_INSERT || entries[i].kind == KIND_DELETE;
	if (journal_append(b->journal, &cut, 1, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

void bench_init(struct bench *b, int cuts)
{
	struct journal_options o = {.segment_size = 1 << 20, .max_size = (int64_t)1 << 30, .keep_s = 3600};
	uint64_t id[2] = {1, 1};
	char path[80];
	struct err err;
	cdc_ts ts = 1000;

	*b = (struct bench){.conf = conf_default()};
	b->conf->idle_tick_ms = 1;
	b->conf->window_size = 4 * 6; /* bytes: windows of a few entries */
	snprintf(b->dir, sizeof(b->dir), "/tmp/cdc-apply-XXXXXX");
	if (!mkdtemp(b->dir))
		abort();
	snprintf(path, sizeof(path), "%s/journal", b->dir);
	if (journal_open(&b->journal, path, &o, &err) < 0)
		abort();
	bench_append(b, ts,
		     (struct entry[]){bench_row(KIND_CREATE_COLLECTION, ts - 2, 1, 0, 0),
				      bench_row(KIND_CREATE_COLLECTION, ts - 1, 2, 0, 0)},
		     2);
	for (int c = 0; c < cuts; c++) {
		struct entry e[9];
		size_t n = 0;

		for (int i = 0; i < 4; i++) {
			int p = i & 1;

			ts += 3;
			e[n++] = bench_row(KIND_INSERT, ts, 1 + (i >> 1), p, id[p]++);
		}
		if (c % 3 == 1)
			e[n++] = bench_row(KIND_DROP_PARTITION, ts + 1, 1, 0, 0);
		ts += 5;
		e[n++] =
			bench_row(KIND_DELETE, ts, 1, 0, id[0]++); /* an upsert: both halves, one timestamp */
		e[n++] = bench_row(KIND_INSERT, ts, 1, 0, id[0]++);
		if (c % 2)
			e[n++] = bench_row(KIND_FLUSH, ts, 1, 0, 0);
		bench_append(b, ts + 10, e, n);
		ts += 20;
	}
}

bool bench_start(struct bench *b, bool paused)
{
	struct sink_conf sc = {0};
	char path[80];
	struct err err;

	snprintf(path, sizeof(path), "%s/apply.db", b->dir);
	if (apply_store_open(&b->store, path, b->vfs, &err) < 0)
		return false;
	if (sink_memory.open(&b->sink, &sc, &err) < 0)
		abort();
	if (applier_new(&b->applier,
			&(struct applier_conf){.conf = b->conf,
					       .task_id = "t",
					       .target = b->dir, /* a gate of its own */
					       .journal = b->journal,
					       .store = b->store,
					       .sink_ops = &sink_memory,
					       .sink = b->sink,
					       .paused = paused,
					       .applied = applied,
					       .poll = poll,
					       .arg = b},
			&err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return true;
}

void bench_crash(struct bench *b)
{
	applier_free(TAKE(b->applier));
	sink_memory.close(TAKE(b->sink));
	apply_store_close(TAKE(b->store));
}

cdc_ts bench_watermark(const struct bench *b)
{
	return journal_watermark(b->journal);
}

int bench_run(struct bench *b, cdc_ts watermark, int max_failures)
{
	struct err err = {0};
	int failures = 0, rc = 0;

	for (int i = 0; i < 20000 && sink_memory_world->tick < watermark; i++) {
		rc = applier_step(b->applier, &err);
		failures = rc < 0 ? failures + 1 : 0;
		if (rc < 0 && failures > max_failures)
			return rc;
	}
	return sink_memory_world->tick < watermark ? -ERR_TIMEOUT : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

void bench_done(struct bench *b)
{
	if (b->applier)
		bench_crash(b);
	journal_close(b->journal);
	conf_free(b->conf);
	nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *bench_check(const struct bench *b)
{
	static char text[256];
	const struct world *w = sink_memory_world;
	uint64_t last[2] = {0, 0};

	if (w->doubled || w->poisoned) {
		snprintf(text, sizeof(text), "%d doubled, %d at or below a tick", w->doubled, w->poisoned);
		return text;
	}
	if (w->row_count != b->rows) {
		snprintf(text, sizeof(text), "%d rows of %d", w->row_count, b->rows);
		return text;
	}
	for (int i = 0; i < w->row_count; i++) {
		int p = w->rows[i].pchannel[4] - '0';

		if (w->rows[i].id <= last[p]) {
			snprintf(text, sizeof(text), "%s: %d after %d", w->rows[i].pchannel,
				 (int)w->rows[i].id, (int)last[p]);
			return text;
		}
		last[p] = w->rows[i].id;
	}
	return NULL;
}
