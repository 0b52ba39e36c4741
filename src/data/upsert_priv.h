/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of upsert.h: the rows of a window, and the pieces of entries that requests consist of. */
#ifndef CDC_DATA_UPSERT_PRIV_H
#define CDC_DATA_UPSERT_PRIV_H

#include "rewrite_priv.h"
#include "upsert.h"

/* One row of an entry: its key and whether a later operation of the window makes it void. */
struct upsert_row {
	const uint8_t *text; /* NULL: the key is a number */
	uint64_t number;     /* the key, or the length of text */
	uint32_t part;       /* index of its entry */
	bool is_void;
};

/* An entry that was checked and mapped. */
struct upsert_part {
	struct part part; /* repeated fields lie in one piece */
	const struct upsert_schema *schema;
	const struct partition_pair *partition; /* that the request names; NULL: none */
	const struct partition_pair *scope;     /* in which a key is a row; NULL: the collection */
	struct upsert_row *rows;                /* part.rows of them */
};

/* Rows [first, first + count) of an entry. */
struct upsert_run {
	uint32_t first, count;
};
struct upsert_piece {
	const struct upsert_part *from;
	const struct upsert_run *runs; /* in order, apart, none empty */
	size_t run_count;
	uint64_t rows;
	struct upsert_piece *next;
};

static inline bool upsert_is_delete(const struct upsert_part *p)
{
	return p->part.entry->kind == KIND_DELETE;
}

/* Marks void all but the last operation on each row; parts in window order. */
void upsert_reduce(struct upsert_part **parts, size_t n, struct arena *arena);

/* The elements of a repeated field that lies in one piece, one by one, each as it is written. */
struct elements {
	const uint8_t *p, *end;
	size_t width; /* bytes of an element; 0: a varint; REPEATED_BYTES: tagged bytes */
};
struct elements elements_of(const struct repeated *r, size_t width);
/* The next element. There must be one: counts were checked. */
struct pb_bytes elements_next(struct elements *e);

#endif
