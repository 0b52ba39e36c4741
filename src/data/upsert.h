/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of one data window -> Delete and Upsert requests for an ordinary target (R28). Pure and
 * deterministic; row data is never decoded, it is cut out of the wire format and copied.
 *
 * What a row is. To Milvus a row is its key within a partition: an Upsert or a Delete that names a
 * partition leaves the same key in other partitions alone (seen on 2.3.5: a row upserted into another
 * partition is there twice, on the source as well). So each operation is repeated with the partition that
 * it had, a Delete in all partitions with none, and the target ends with what the source has, except that
 * a key that was inserted twice into one partition is there once: the last one wins. With a partition key
 * a row is its key alone: the target finds the partition, and an Upsert there replaces it in all of them.
 *
 * A window is first reduced to the last operation on each row. The halves of an upsert (Delete before
 * Insert at one time) become one Upsert, a Delete after an Upsert leaves the Delete. What is left may be
 * sent in any order and side by side, deletes before upserts: no row is in two requests of a phase. To
 * repeat a window, or to go on from any earlier one, leads to the same rows.
 */
#ifndef CDC_DATA_UPSERT_H
#define CDC_DATA_UPSERT_H

#include "object_map.h"
#include "rewrite.h"

/* What must be known of a collection on the target. */
struct upsert_schema {
	int64_t collection_id;                      /* of the source */
	const struct target_collection *collection; /* NULL: rows are refused, `reason` says why */
	const char *reason;
	const char *key; /* name of the primary key */
	bool string_key;
	bool keyed;           /* has a partition key: requests name no partition */
	const char **outputs; /* columns that the target computes itself: not sent */
	size_t output_count;
};

struct upsert_piece;
struct upsert_request {
	const struct upsert_schema *schema;
	const struct partition_pair *partition; /* NULL: none is named */
	bool is_delete;
	uint64_t rows;
	size_t size;                       /* about; of the body */
	struct upsert_piece *first, *last; /* private */
	struct upsert_request *next;
};

struct upsert_plan {
	struct upsert_request **deletes, **upserts; /* the phases; in the arena */
	size_t delete_count, upsert_count;
	struct rewrite_refusal *refusals; /* malformed or unmapped entries, as in rewrite.h */
	size_t refusal_count;
};

/*
 * entries: INSERT and DELETE only, in window order; schemas: of all their collections. Requests point
 * into the entries and the map. limit: about the greatest size of a request; rows are not split. Rows of
 * dropped partitions and collections are left out in silence. 0, or INTERNAL.
 */
int upsert_plan(const struct upsert_schema *schemas, size_t schema_count, const struct entry *entries,
		size_t n, size_t limit, struct arena *arena, struct upsert_plan *ret, struct err *err);

/* The body of milvus.proto's UpsertRequest or DeleteRequest, appended. Thread-safe. */
void upsert_write(const struct upsert_request *r, struct buf *b);

#endif
