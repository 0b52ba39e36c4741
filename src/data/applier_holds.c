/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collections that the target refuses while a window is sent (R23): their holds begin here, in memory, and
 * are durable with the window's mark. How they end: applier_replay.c. Applier's thread.
 */
#include "applier_priv.h"

void applier_hold(struct applier *a, const struct entry *e, const char *reason, bool unclear)
{
	struct entry from = *e;

	if (from.ts <= a->mark.ts) /* R13: told again; the rows read again after it are applied */
		from.ts = a->mark.ts + 1;
	holds_add(&a->holds, &from, reason)->unclear |= unclear;
}

void applier_holds_forget_new(struct applier *a)
{
	for (size_t i = a->holds.count; i-- > 0;)
		if (a->holds.items[i].fresh)
			holds_remove(&a->holds, a->holds.items[i].collection_id);
}

void applier_holds_note_new(struct applier *a)
{
	for (size_t i = 0; i < a->holds.count; i++) {
		struct hold *h = &a->holds.items[i];

		if (h->fresh)
			applier_note(a, h, false,
				     "collection %s.%s is on hold from seq %lld on, the others go on: %s",
				     h->db, h->collection, (long long)h->seq, h->reason);
		h->fresh = false;
	}
}

void applier_holds_refused(struct applier *a, const struct sink_refusal *refused, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < a->data_count; k++)
			if (a->data[k].seq == refused[i].seq) {
				applier_hold(a, &a->data[k], refused[i].reason, refused[i].unclear);
				break;
			}
}

void applier_holds_in_doubt(struct applier *a)
{
	for (size_t i = 0; i < a->data_count; i++) {
		struct hold *h = holds_find(&a->holds, a->data[i].collection_id);

		if (h && h->fresh)
			holds_add(&a->holds, &a->data[i], h->reason)->unclear = true;
	}
}

size_t applier_holds_erase(struct applier *a, const struct entry *e, size_t n, struct state_row *ret)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		if (e[i].kind == KIND_DROP_COLLECTION && !holds_find(&a->holds, e[i].collection_id))
			ret[count++] = holds_erase(e[i].collection_id, a->scratch);
	return count;
}
