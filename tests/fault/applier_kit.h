/* SPDX-License-Identifier: Apache-2.0 */
/* What the applier's test files share: a fresh world and bench, steps that must not fail. */
#ifndef APPLIER_KIT_H
#define APPLIER_KIT_H

#include "apply_bench.h"
#include "../t.h"

#include <signal.h>
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

#endif
