/* SPDX-License-Identifier: Apache-2.0 */
/* Source bytes -> record (source.md of the wire: one bare protobuf message, base in field 1). */
#ifndef CDC_DATA_DECODE_H
#define CDC_DATA_DECODE_H

#include <cdc/err.h>
#include <cdc/model.h>

/*
 * Fills kind, ts, collection_id, partition_id, vchannel, msg_id, rows, body, size of *r from a
 * message value; everything else of *r is left alone. body is borrowed. Never decodes row data.
 * A readable message of an unknown type has kind OTHER. Insert/Delete: ts = the greatest of
 * timestamps[] (base.timestamp is 0 in the insert half of an upsert); rows = num_rows.
 * SOURCE_FORMAT: not protobuf, no base, data without a vchannel, timestamps or collection ID, a
 * drop without IDs or timestamp, a tick without timestamp. *r is written on success only.
 */
int decode_record(struct record *r, const uint8_t *body, size_t n, struct err *err);

/*
 * The names of a Flush request of the replicate topic, for the journal. Names beyond the table are
 * left out: a flush is advisory (R24). SOURCE_FORMAT: not a Flush request.
 */
struct decode_flush {
	const char *db;
	size_t db_len;
	struct {
		const char *name;
		size_t len;
	} collections[64];
	size_t count;
};
int decode_flush(const uint8_t *body, size_t n, struct decode_flush *ret, struct err *err);
/* The ID of an Import message's job; 0: it has none. */
int64_t decode_import_job(const uint8_t *body, size_t n);
/* True if base.replicateInfo.isReplicate is set: the operation came from a CDC writer (loop guard). */
bool decode_is_replicated(const uint8_t *body, size_t n);

#endif
