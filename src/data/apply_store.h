/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply.db: the applier's durable memory: applied mark, intent, the map of source objects to
 * target objects, and holds. One connection, synchronous=FULL. Calls are serialized by a mutex of
 * its own. J4: the mark only moves forward. J6: whatever may have been sent without confirmation
 * lies between mark and intent. Marks and intents are written in source time (R13); seq is local.
 */
#ifndef CDC_DATA_APPLY_STORE_H
#define CDC_DATA_APPLY_STORE_H

#include <cdc/err.h>
#include <cdc/mem.h>
#include <cdc/model.h>

struct apply_store;

struct apply_mark {
	int64_t seq; /* last entry applied */
	cdc_ts ts;   /* everything of the source at or below is applied */
	cdc_ts out;  /* the same in the target's time: >= ts, above it where rows were restamped (R21) */
	int64_t rows_applied;
};

enum { INTENT_NONE, INTENT_DATA, INTENT_DDL };
/* R19: everything that shapes the messages of a window. Entries (mark.seq, seq], source time (mark.ts, ts].
 */
struct apply_intent {
	int type; /* INTENT_* */
	int64_t seq;
	cdc_ts ts;
	cdc_ts floor;        /* restamp base: every out timestamp is above it */
	int32_t version;     /* message format version */
	int64_t merge_limit; /* bytes of one merged message */
};

int apply_store_open(struct apply_store **ret, const char *path, const char *vfs, struct err *err);
void apply_store_close(struct apply_store *s);
DEFINE_AUTO(struct apply_store, apply_store_close)

void apply_store_mark(struct apply_store *s, struct apply_mark *ret);
void apply_store_intent(struct apply_store *s, struct apply_intent *ret);
/* Durable upper bound of every tick that this task's target may have seen from us. */
cdc_ts apply_store_floor(struct apply_store *s);
int apply_store_set_floor(struct apply_store *s, cdc_ts floor, struct err *err); /* never lowers */
/* R20: an intent alone. Refuses (INTERNAL) when one is open. */
int apply_store_set_intent(struct apply_store *s, const struct apply_intent *in, struct err *err);
/* J4: mark and next intent (NULL: none) and changed objects, one commit. INTERNAL if mark goes back. */
int apply_store_commit(struct apply_store *s, const struct apply_mark *mark, const struct apply_intent *next,
		       const struct state_row *objects, size_t n, struct err *err);
/* Every object whose key starts with prefix, ordered by key, in the arena. */
int apply_store_objects(struct apply_store *s, const char *prefix, struct arena *arena,
			struct state_row **ret, size_t *ret_n, struct err *err);

#endif
