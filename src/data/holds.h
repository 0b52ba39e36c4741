/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collections on hold (R23): the target refused something of theirs for good. Their entries stay in
 * the journal from `seq` on and are left out of windows; everything else flows. Durable as objects
 * "hold/<source id>" of apply.db, in the same commit as the mark. One thread: the applier's.
 */
#ifndef CDC_DATA_HOLDS_H
#define CDC_DATA_HOLDS_H

#include <cdc/err.h>
#include <cdc/mem.h>
#include <cdc/model.h>

struct hold {
	int64_t collection_id, seq, since_ms; /* seq: the first entry that is not applied */
	cdc_ts ts;
	char *db, *collection, *reason;
	bool unclear;       /* entries after seq may have been confirmed: never replayed by ourselves */
	int64_t replay_seq; /* a replay window [seq, replay_seq] that may have been sent; 0: none */
	cdc_ts replay_floor;
	int32_t replay_version;     /* R19: the format of that window's messages */
	int64_t replay_merge_limit; /* bytes */
	int64_t retry_ms;           /* in memory: when to try it again; 0: not known yet */
	bool fresh;                 /* in memory: of the window being sent, durable with its mark */
};

struct holds {
	struct hold *items;
	size_t count;
};

void holds_done(struct holds *h);
int holds_restore(struct holds *h, const struct state_row *objects, size_t n, struct err *err);
struct hold *holds_find(const struct holds *h, int64_t collection_id);
/* e: an entry that is not applied. The hold of the collection, new or as it was, from its first such on. */
struct hold *holds_add(struct holds *h, const struct entry *e, const char *reason);
void hold_reason(struct hold *h, const char *reason);
void holds_remove(struct holds *h, int64_t collection_id);
/* Stored form in the arena. */
struct state_row holds_store(const struct hold *h, struct arena *arena);
/* Deletes the stored form. */
struct state_row holds_erase(int64_t collection_id, struct arena *arena);
/* Smallest seq that a hold needs; INT64_MAX without holds. */
int64_t holds_first_seq(const struct holds *h);

#endif
