/* SPDX-License-Identifier: Apache-2.0 */
/* A bench for the applier: a real journal with a known script, a real apply.db, a target in memory. */
#ifndef APPLY_BENCH_H
#define APPLY_BENCH_H

#include "../../src/data/applier.h"
#include "../fake/sink_memory.h"

struct bench {
	char dir[64];
	struct conf *conf;
	struct journal *journal;
	struct apply_store *store;
	struct sink *sink;
	struct applier *applier;
	int64_t needed;  /* as the applier said last */
	int rows;        /* data entries in the script */
	int polls;       /* how often the applier said that it is at work */
	const char *vfs; /* of apply.db */
};

/* Script: collections 1 and 2 on dml_0 and dml_1, created, filled in `cuts` cuts, a partition dropped in
 * the middle of a cut, upserts, a flush; entry n of pchannel p has mq id n. */
void bench_init(struct bench *b, int cuts);
/* An entry of one row of collection 1 ("one") or 2, on dml_<p>; it points to constants. */
struct entry bench_row(enum kind kind, cdc_ts ts, int64_t coll, int p, uint64_t id);
void bench_append(struct bench *b, cdc_ts watermark, struct entry *entries, size_t n);
/* Opens apply.db, sink and applier: a process start. False: apply.db could not be opened. */
bool bench_start(struct bench *b, bool paused);
/* Drops them without a word: what a kill leaves is what is on disk. */
void bench_crash(struct bench *b);
/* Steps until the target has ticked `watermark` or n steps failed in a row. Returns the last code. */
int bench_run(struct bench *b, cdc_ts watermark, int max_failures);
cdc_ts bench_watermark(const struct bench *b);
void bench_done(struct bench *b);
/* NULL: every row of the script once, none doubled, none poisoned, order kept; else what is wrong. */
const char *bench_check(const struct bench *b);

#endif
