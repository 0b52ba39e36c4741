/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task without an applier: its flow does not open, or its journal is being repaired. What apply.db says
 * may have been sent without confirmation holds the target's ticks back all the same (R22): were they to
 * pass it, its repeat would be at or below a tick. And its neighbours know of the ticks that it may have
 * sent, and that it will come back (R21). Any thread.
 */
#include "applier_priv.h"

static bool replay_in_doubt(struct apply_store *store)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	struct state_row *objects;
	struct holds holds = {0};
	struct err err;
	size_t n;
	bool open = false;

	if (apply_store_objects(store, "hold/", arena, &objects, &n, &err) < 0 ||
	    holds_restore(&holds, objects, n, &err) < 0)
		open = true; /* unknown */
	for (size_t i = 0; i < holds.count; i++)
		open |= holds.items[i].replay_seq != 0;
	holds_done(&holds);
	return open;
}

cdc_ts applier_bound(struct apply_store *store)
{
	cdc_ts bound = apply_store_floor(store);
	struct apply_intent intent;
	struct apply_mark mark;

	apply_store_mark(store, &mark);
	apply_store_intent(store, &intent);
	bound = bound < mark.out ? mark.out : bound;
	return bound < intent.floor ? intent.floor : bound;
}

void applier_pin(struct apply_store *store, const char *target, const char *task)
{
	struct apply_intent intent;
	struct apply_mark mark;

	apply_store_mark(store, &mark);
	apply_store_intent(store, &intent);
	gate_raise(target, applier_bound(store));
	gate_pin(target, task, intent.type != INTENT_NONE || replay_in_doubt(store), mark.out);
}
