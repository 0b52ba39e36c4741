/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking and writing the protobuf wire format without decoding it: messages of many megabytes
 * (vectors) are read for a few fields and rewritten by copying the rest raw. Pure, no allocation
 * in the reader; safe on any bytes (every length is checked).
 */
#ifndef CDC_PB_H
#define CDC_PB_H

#include <cdc/mem.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that somebody else owns. */
struct pb_bytes {
	const uint8_t *data;
	size_t size;
};

enum pb_type { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

struct pb_reader {
	const uint8_t *p, *end;
};
struct pb_field {
	uint32_t number;
	enum pb_type type;
	uint64_t value;      /* VARINT, FIXED64, FIXED32 */
	const uint8_t *data; /* BYTES: its content; else NULL */
	size_t size;
	const uint8_t *raw; /* the whole field with its tag, for copying */
	size_t raw_size;
};
static inline struct pb_reader pb_reader(const void *p, size_t n)
{
	return (struct pb_reader){.p = p,
				  .end = n ? (const uint8_t *)p + n : p}; /* p may be NULL when n is 0 */
}
/* Next field: 1 and *f, 0 at the end, -1 if the bytes are not protobuf (or use groups). */
int pb_next(struct pb_reader *r, struct pb_field *f);
/* Next varint of a packed array: 1, 0 at the end, -1 malformed. */
int pb_next_varint(struct pb_reader *r, uint64_t *v);
/* Number of varints in a packed array, -1 malformed. */
int64_t pb_count_varints(const uint8_t *p, size_t n);

void pb_put_varint(struct buf *b, uint64_t v);
void pb_put_tag(struct buf *b, uint32_t number, enum pb_type type);
void pb_put_uint(struct buf *b, uint32_t number, uint64_t v); /* also int64, bool; writes 0, too */
void pb_put_bytes(struct buf *b, uint32_t number, const void *p, size_t n);
void pb_put_string(struct buf *b, uint32_t number, const char *s);

#endif
