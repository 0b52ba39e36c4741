/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf wire format: a bounds-checked walker and a few writers. */
#include <cdc/pb.h>

static int get_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;

	for (int shift = 0; shift < 64; shift += 7) {
		if (*p == end)
			return -1;
		uint8_t c = *(*p)++;

		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret = v;
			return 0;
		}
	}
	return -1;
}

static int get_fixed(struct pb_reader *r, size_t n, uint64_t *ret)
{
	uint64_t v = 0;

	if ((size_t)(r->end - r->p) < n)
		return -1;
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)r->p[i] << (8 * i);
	r->p += n;
	*ret = v;
	return 0;
}

int pb_next(struct pb_reader *r, struct pb_field *f)
{
	uint64_t tag, n;

	if (r->p == r->end)
		return 0;
	*f = (struct pb_field){.raw = r->p};
	if (get_varint(&r->p, r->end, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		return -1;
	f->number = (uint32_t)(tag >> 3);
	f->type = (enum pb_type)(tag & 7);
	switch (tag & 7) {
	case PB_VARINT:
		if (get_varint(&r->p, r->end, &f->value) < 0)
			return -1;
		break;
	case PB_FIXED64:
		if (get_fixed(r, 8, &f->value) < 0)
			return -1;
		break;
	case PB_FIXED32:
		if (get_fixed(r, 4, &f->value) < 0)
			return -1;
		break;
	case PB_BYTES:
		if (get_varint(&r->p, r->end, &n) < 0 || n > (size_t)(r->end - r->p))
			return -1;
		f->data = r->p;
		f->size = n;
		r->p += n;
		break;
	default:
		return -1;
	}
	f->raw_size = (size_t)(r->p - f->raw);
	return 1;
}

int pb_next_varint(struct pb_reader *r, uint64_t *v)
{
	if (r->p == r->end)
		return 0;
	return get_varint(&r->p, r->end, v) < 0 ? -1 : 1;
}

int64_t pb_count_varints(const uint8_t *p, size_t n)
{
	int64_t count = 0;
	size_t run = 0;

	for (size_t i = 0; i < n; i++) {
		if (++run > 10)
			return -1;
		if (!(p[i] & 0x80)) {
			count++;
			run = 0;
		}
	}
	return run ? -1 : count;
}

void pb_put_varint(struct buf *b, uint64_t v)
{
	uint8_t tmp[10];
	size_t n = 0;

	do {
		tmp[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
	} while (v);
	buf_add(b, tmp, n);
}

void pb_put_tag(struct buf *b, uint32_t number, enum pb_type type)
{
	pb_put_varint(b, (uint64_t)number << 3 | type);
}

void pb_put_uint(struct buf *b, uint32_t number, uint64_t v)
{
	pb_put_tag(b, number, PB_VARINT);
	pb_put_varint(b, v);
}

void pb_put_bytes(struct buf *b, uint32_t number, const void *p, size_t n)
{
	pb_put_tag(b, number, PB_BYTES);
	pb_put_varint(b, n);
	buf_add(b, p, n);
}

void pb_put_string(struct buf *b, uint32_t number, const char *s)
{
	pb_put_bytes(b, number, s, strlen(s));
}
