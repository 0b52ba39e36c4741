/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of one data window -> messages for the target's ReplicateMessage. Pure and
 * deterministic: the same entries, map, floor, version and limits give the same bytes and the same
 * msgIDs (J6, R19). Row data is never decoded: the wire format is walked and copied.
 *
 * Per message: shardName = target vchannel, names and IDs of the target, segmentID dropped,
 * timestamps rewritten only where the entry is restamped, base.msgID = a 63-bit hash, never 0, of
 * (identity, source pchannel, message id, index); of a merged message the hash of its parts' hashes.
 * base.timestamp = the message's greatest timestamp, base.replicateInfo.isReplicate = true.
 *
 * Small inserts of one (vchannel, partition) are merged into one message, up to merge_limit bytes:
 * only inserts with equal field sets, matched by field ID; the target takes about 1,000 insert
 * messages a second whatever their size. The order of what can conflict is kept by timestamps: a
 * delete hits only rows with a smaller one, wherever it stands in the window.
 *
 * Every message is checked before it leaves (a malformed one kills the target): rowIDs,
 * timestamps and every column have num_rows elements (vectors by their dim; nullable columns
 * num_rows or as many as are valid), shardName is one of the collection's, its pchannel the lane's.
 */
#ifndef CDC_DATA_REWRITE_H
#define CDC_DATA_REWRITE_H

#include "object_map.h"

#include <cdc/err.h>
#include <cdc/mem.h>
#include <cdc/model.h>

#define REWRITE_VERSION 1

struct rewrite_conf {
	uint64_t identity;  /* hash of the task's source UUID */
	int32_t version;    /* REWRITE_VERSION, or an older one while a window is in doubt */
	size_t merge_limit; /* bytes of one merged message; 0: no merging */
	const struct object_map *map;
};

struct out_message {
	const char *pchannel; /* of the target; borrowed from the map */
	const uint8_t *body;
	size_t size;
	uint64_t msg_id;
	cdc_ts min_ts, max_ts; /* out timestamps */
	uint32_t rows;
	bool is_delete;
	int64_t collection_id; /* of the source */
	int64_t first_seq;     /* of the first entry in it */
};

/*
 * Why an entry was not turned into a message: its collection must be held. At most one a collection:
 * nothing of it from seq on is in any message, so the hold can go on at seq without doing rows twice.
 */
struct rewrite_refusal {
	int64_t collection_id, seq;
	char reason[512];
};

struct rewrite_result {
	struct out_message *messages; /* in window order of their first entry; in the arena, bodies too */
	size_t message_count;
	struct rewrite_refusal *refusals; /* malformed or unmapped entries, in the arena */
	size_t refusal_count;
};

/*
 * entries: INSERT and DELETE only, in window order; out[i]: the out timestamp of entries[i] (all
 * rows of an entry share it when it differs from entries[i].ts). Rows of partitions or collections
 * that the map has as dropped are left out in silence (they vanish anyway). 0, or INTERNAL.
 */
int rewrite_window(const struct rewrite_conf *conf, const struct entry *entries, const cdc_ts *out, size_t n,
		   struct arena *arena, struct rewrite_result *ret, struct err *err);

/*
 * Out timestamps (R21): out = ts where ts is above everything before, else last + 1; equal source
 * timestamps stay equal; all above floor. Returns the last out (floor when n is 0).
 */
cdc_ts rewrite_restamp(const struct entry *entries, size_t n, cdc_ts floor, cdc_ts *out);

/* A time tick message, and the drop messages that end a collection's or partition's consumers. */
void rewrite_tick(struct buf *b, cdc_ts ts);
void rewrite_drop_collection(struct buf *b, const struct target_collection *c, cdc_ts ts);
void rewrite_drop_partition(struct buf *b, const struct target_collection *c, const struct partition_pair *p,
			    cdc_ts ts);

#endif
