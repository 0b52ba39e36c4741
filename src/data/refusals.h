/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a window cannot be sent, while its messages are made: a collection's entries end at its first
 * refusal; it is held there and goes on there later (R23). Hardly ever more than a few collections. One
 * thread.
 */
#ifndef CDC_DATA_REFUSALS_H
#define CDC_DATA_REFUSALS_H

#include "rewrite.h"

#include <cdc/mem.h>
#include <cdc/model.h>

struct refusals {
	struct rewrite_refusal *items; /* malloc'ed */
	size_t count;
};

bool refusals_have(const struct refusals *r, int64_t collection_id);
/* Entry e cannot be sent: why. */
void refusals_add(struct refusals *r, const struct entry *e, const char *why);
/* Moves the list into the arena and empties it. */
struct rewrite_refusal *refusals_take(struct refusals *r, struct arena *arena, size_t *ret_count);

#endif
