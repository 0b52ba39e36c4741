/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf written by one function twice: without a buffer it counts the bytes, with one it writes them.
 * So the lengths that stand before nested messages cannot differ from what follows. Pure, any thread.
 */
#ifndef CDC_DATA_INK_H
#define CDC_DATA_INK_H

#include <cdc/pb.h>

#include <string.h>

struct ink {
	uint8_t *p; /* NULL: count only */
	size_t n;
};

static inline size_t size_varint(uint64_t v)
{
	return (size_t)(63 - __builtin_clzll(v | 1)) / 7 + 1;
}

/* A length-delimited field: tag, length, content. */
static inline size_t size_field(uint32_t number, size_t n)
{
	return size_varint((uint64_t)number << 3) + size_varint(n) + n;
}

static inline size_t size_number(uint32_t number, uint64_t v)
{
	return size_varint((uint64_t)number << 3) + size_varint(v);
}

static inline void ink_bytes(struct ink *k, const void *p, size_t n)
{
	if (k->p && n)
		memcpy(k->p + k->n, p, n);
	k->n += n;
}

static inline void ink_varint(struct ink *k, uint64_t v)
{
	uint8_t tmp[10];
	size_t n = 0;

	for (; v > 0x7f; v >>= 7)
		tmp[n++] = (uint8_t)(v | 0x80);
	tmp[n++] = (uint8_t)v;
	ink_bytes(k, tmp, n);
}

static inline void ink_number(struct ink *k, uint32_t number, uint64_t v)
{
	ink_varint(k, (uint64_t)number << 3 | PB_VARINT);
	ink_varint(k, v);
}

/* The tag and length of n bytes that follow. */
static inline void ink_open(struct ink *k, uint32_t number, size_t n)
{
	ink_varint(k, (uint64_t)number << 3 | PB_BYTES);
	ink_varint(k, n);
}

/* "" and NULL are what an absent field means. */
static inline void ink_string(struct ink *k, uint32_t number, const char *s)
{
	if (!s || !*s)
		return;
	ink_open(k, number, strlen(s));
	ink_bytes(k, s, strlen(s));
}

#endif
