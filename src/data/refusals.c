/* SPDX-License-Identifier: Apache-2.0 */
#include "refusals.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool refusals_have(const struct refusals *r, int64_t collection_id)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->items[i].collection_id == collection_id)
			return true;
	return false;
}

void refusals_add(struct refusals *r, const struct entry *e, const char *why)
{
	struct rewrite_refusal *one;

	r->items = xrealloc(r->items, (r->count + 1) * sizeof(*r->items));
	one = &r->items[r->count++];
	one->collection_id = e->collection_id;
	one->seq = e->seq;
	snprintf(one->reason, sizeof(one->reason), "%s of %s@%" PRIu64 " cannot be sent: %.400s",
		 kind_name(e->kind), e->pchannel, e->id.lo, why);
}

struct rewrite_refusal *refusals_take(struct refusals *r, struct arena *arena, size_t *ret_count)
{
	struct rewrite_refusal *items = arena_dup(arena, r->items, r->count * sizeof(*r->items));

	*ret_count = r->count;
	free(r->items);
	*r = (struct refusals){0};
	return items;
}
