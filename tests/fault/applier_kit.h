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

#endif
