/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of rewrite.h. A window goes through four steps: check (body -> part: what is where, and
 * that every count agrees), merge (parts -> groups, one group a message), size, write.
 *
 * Nothing here copies row data but the last step. Parts point into the entries' bodies and live in
 * a scratch arena of one rewrite_window() call; the messages alone are in the caller's arena.
 */
#ifndef CDC_DATA_REWRITE_PRIV_H
#define CDC_DATA_REWRITE_PRIV_H

#include "ink.h"
#include "rewrite.h"

#include <cdc/pb.h>

enum {
	MSG_DROP_COLLECTION = 101,
	MSG_DROP_PARTITION = 201,
	MSG_INSERT = 400,
	MSG_DELETE = 401,
	MSG_TICK = 1200,
};

/* msg.InsertRequest and msg.DeleteRequest: 1-8 are the same in both. */
enum {
	F_BASE = 1,
	F_SHARD = 2,
	F_DB = 3,
	F_COLLECTION = 4,
	F_PARTITION = 5,
	F_COLLECTION_ID = 7,
	F_PARTITION_ID = 8,
	F_TIMESTAMPS = 10,
	INS_ROW_IDS = 11,
	INS_COLUMNS = 13,
	INS_NUM_ROWS = 14,
	INS_VERSION = 15,
	DEL_INT64_KEYS = 9,
	DEL_NUM_ROWS = 11,
	DEL_KEYS = 12,
};
/* schema.FieldData */
enum { FD_TYPE = 1, FD_NAME = 2, FD_SCALARS = 3, FD_VECTORS = 4, FD_ID = 5, FD_DYNAMIC = 6, FD_VALID = 7 };

#define PARTITION_ALL (-1) /* a delete in all partitions */
#define COLUMNS_MAX 512

/*
 * A repeated field found in a message: where its elements are and how many. Numbers may come
 * packed, in any number of chunks, or one by one; they are always written as one packed chunk.
 * Bytes keep their tags.
 */
struct repeated {
	struct pb_bytes in; /* the message that holds it */
	uint32_t number;
	uint32_t width; /* of an element: 0 varint, 1 plain bytes, 4, 8; REPEATED_BYTES: tagged bytes */
	uint64_t count;
	size_t payload;     /* bytes it takes when written, without the packed chunk's tag and length */
	const uint8_t *all; /* the payload if it lies in one piece, else NULL */
	uint32_t pieces;
};
#define REPEATED_BYTES UINT32_MAX

/* One element or chunk more. -1: not of this type, or malformed. */
int repeated_add(struct repeated *r, const struct pb_field *f);
struct varint_stats {
	uint64_t min, max, nonzero;
};
/* Of a repeated varint that has at least one element. */
void repeated_stats(const struct repeated *r, struct varint_stats *ret);

/* How a data type lies in FieldData. */
struct column_type {
	int32_t type;
	const char *name;
	uint32_t holder; /* FD_SCALARS or FD_VECTORS */
	uint32_t array;  /* field of the holder: a message with the elements in its field 1, or bytes */
	uint32_t width;  /* as in struct repeated; 1: the array field is itself the bytes */
	uint32_t bits;   /* of one dimension of a dense vector; else 0 */
};

/* Null rows may have a slot in the values or not; a column without nulls looks like both. */
enum column_form { FORM_NOT_NULLABLE, FORM_NO_NULLS, FORM_SLOTS, FORM_COMPACT };

struct column {
	const struct column_type *type;
	int64_t field_id;
	struct pb_bytes name;
	bool dynamic;
	int64_t dim;    /* of vectors */
	int64_t extra;  /* field 2 beside the elements: element type of arrays, dim of sparse vectors */
	uint32_t inner; /* arrays: field of the rows' ScalarField, 0 when all are empty */
	enum column_form form;
	struct repeated values, valid;
	struct pb_bytes raw; /* the whole field, to be copied where it needs no change */
};

/* One entry: checked, mapped, not yet written. */
struct part {
	const struct entry *entry;
	const struct target_collection *collection;
	const struct channel_pair *channel;
	const struct partition_pair *partition; /* NULL: all */
	uint64_t id;                            /* of its own message */
	uint64_t source_msg_id;                 /* base.msgID as it came */
	int64_t source_id;                      /* base.sourceID */
	cdc_ts out;
	bool restamped;
	uint32_t rows;
	cdc_ts min_ts, max_ts; /* out */
	struct repeated timestamps, row_ids;
	struct column *columns; /* of inserts; after a merge in the order of the group's first part */
	size_t column_count;
	struct repeated keys; /* of deletes */
	uint32_t key_kind;    /* DEL_INT64_KEYS, else field of IDs: 1 int_id, 2 str_id */
	struct part *next;    /* in the group */
};

/* One message to be. */
struct group {
	struct part *first, *last;
	size_t parts;
	size_t size; /* sum of what its parts take alone: the message is not greater */
	uint64_t rows;
	struct group *next;
};

/*
 * Checks an entry's body and fills in what part needs, columns in the arena. part has entry,
 * collection, channel, partition and out. 0, or -1 with the reason in err->text (no code).
 */
int rewrite_check(struct part *part, struct arena *arena, struct err *err);
/* The type's row of the table, NULL: not known. */
const struct column_type *column_type_find(int64_t type);

/* Pointers found by a hash and a comparison; never grows: sized for n at the start. */
struct table {
	void **slots;
	size_t mask;
};
struct table table_new(struct arena *arena, size_t n);
/* The slot that holds an equal pointer, or the free one where it belongs. */
void **table_slot(struct table *t, uint64_t hash, const void *key,
		  bool (*same)(const void *a, const void *b));

/*
 * Puts a part into the open group of its vchannel and partition if it fits, else into a new one,
 * which is the return value (NULL: it was merged).
 */
struct group *merge_add(struct table *open, size_t limit, struct part *part, struct arena *arena);

/* The payload in one piece, wherever its elements lie. */
void ink_repeated(struct ink *k, const struct repeated *r);
void write_message(struct ink *k, const struct group *g);
/*
 * Puts part's columns in first's order and lets first speak for both; false, and nothing done: they are
 * not the same columns.
 */
bool merge_columns(struct part *first, struct part *part, struct arena *arena);
/* 63 bits, never 0, the same for ever. */
uint64_t rewrite_message_id(uint64_t identity, const struct entry *e, uint64_t index);
uint64_t rewrite_group_id(const struct group *g);

#endif
