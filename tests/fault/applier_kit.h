/* SPDX-License-Identifier: Apache-2.0 */
/* What the applier's test files share: a fresh world and bench, steps that must not fail. */
#ifndef APPLIER_KIT_H
#define APPLIER_KIT_H

#include "apply_bench.h"
#include "../../src/data/window.h"
#include "../t.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct world *w;

static void fresh(struct bench *b, int cuts)
{
	if (!w)
		w = world_new();
	world_reset(w);
	bench_init(b, cuts);
}

/* Collection 2 is on hold, from its first rows on or from its creation; the target would take it now. */
static __attribute__((unused)) void hold_two(struct bench *b, int cuts, bool from_creation)
{
	fresh(b, cuts);
	*(from_creation ? &w->refuse_ddl : &w->refuse_collection) = 2;
	CHECK(bench_start(b, false));
	CHECK_INT(bench_run(b, bench_watermark(b), 0), 0);
	w->refuse_ddl = w->refuse_collection = 0;
}

static __attribute__((unused)) void run_until_released(struct bench *b)
{
	struct applier_stat st;
	struct err err;

	for (int i = 0; i < 500; i++) {
		CHECK(applier_step(b->applier, &err) >= 0);
		applier_stat(b->applier, &st);
		if (!st.held && i > 20)
			return;
	}
	CHECKF(false, "still held: %s", st.held_reason);
}

/* Collection 2 is on hold from its creation on; its replay ends with a death in the middle of its first rows.
 */
static __attribute__((unused)) void die_in_replay(struct bench *b)
{
	struct err err;

	hold_two(b, 6, true);
	applier_retry(b->applier);
	w->sends = 0;
	w->fail_at = 0;
	for (int i = 0; w->ddls < 4 && i < 50; i++) /* the creation; next come rows */
		CHECK(applier_step(b->applier, &err) >= 0);
	w->calls = 0;
	w->fail_at = 4; /* in the middle of the rows */
	while (applier_step(b->applier, &err) >= 0)
		;
	bench_crash(b);
	w->fail_at = 0;
}

static __attribute__((unused)) struct entry ddl_of(enum kind kind, cdc_ts ts, int64_t id)
{
	return (struct entry){.kind = kind,
			      .ts = ts,
			      .collection_id = id,
			      .db = "default",
			      .collection = "two",
			      .vchannel = "",
			      .pchannel = "",
			      .body = (const uint8_t *)"",
			      .size = 0};
}

/* All of the journal is lost and read again: etcd tells at once, in front, what came at ts before. */
static __attribute__((unused)) void read_again(struct bench *b, struct entry *first, size_t n)
{
	static struct entry all[256];
	AUTO(arena_free) struct arena *arena = arena_new();
	struct journal_options o = {.segment_size = 1 << 20, .max_size = (int64_t)1 << 30, .keep_s = 3600};
	struct journal_cursor *c;
	struct journal_batch batch;
	cdc_ts watermark = bench_watermark(b);
	char path[96];
	struct err err;
	size_t count = 0;
	int rows = b->rows;

	CHECK(journal_cursor_open(&c, b->journal, &err) == 0);
	CHECK(journal_read(c, -1, SIZE_MAX / 4, 10000, arena, &batch, &err) == 0);
	CHECK(batch.complete && batch.count + n < ARRAY_LEN(all));
	for (size_t i = 0; i < batch.count; i++)
		if (i == 2) { /* behind the creations */
			memcpy(all + count, first, n * sizeof(*first));
			for (size_t k = 0; k < n; k++)
				all[count + k].ts = batch.entries[i].ts;
			count += n;
			all[count++] = batch.entries[i];
		} else if (window_has_own_time(&batch.entries[i])) {
			all[count++] = batch.entries[i];
		}
	journal_cursor_close(c);
	o.min_seq = journal_last_seq(b->journal);
	bench_crash(b);
	journal_close(b->journal);
	snprintf(path, sizeof(path), "%s/journal.lost", b->dir);
	CHECK(mkdir(path, 0700) == 0);
	CHECK(journal_open(&b->journal, path, &o, &err) >= 0);
	bench_append(b, watermark, all, count);
	b->rows = rows;
}

#endif
