/* SPDX-License-Identifier: Apache-2.0 */
/* pb.c: what is written is read back, and no bytes make the walker leave its buffer. */
#include "../t.h"

#include <cdc/pb.h>

/* The walker on a block of exactly n bytes, so that the sanitizer sees every overrun. */
static int walk(const void *p, size_t n, struct pb_field *last)
{
	uint8_t *block = xmemdup(p, n);
	struct pb_reader r = pb_reader(block, n);
	struct pb_field f = {0};
	size_t raw = 0;
	int rc, fields = 0;

	while ((rc = pb_next(&r, &f)) > 0) {
		fields++;
		raw += f.raw_size;
		*last = f;
	}
	free(block);
	return rc < 0 ? -1 : raw == n ? fields : -2;
}

TEST(varints_of_every_length_come_back)
{
	for (int bits = 0; bits <= 64; bits++) {
		uint64_t v = bits == 64 ? UINT64_MAX : (1ull << bits) - (bits & 1), got = 0;
		AUTO_BUF struct buf b = {0};
		struct pb_reader r;

		pb_put_varint(&b, v);
		r = pb_reader(b.data, b.len);
		CHECK(pb_next_varint(&r, &got) == 1);
		CHECKF(got == v, "%d bits", bits);
		CHECK(pb_next_varint(&r, &got) == 0);
		CHECK_INT(pb_count_varints(b.data, b.len), 1);
	}
}

TEST(fields_come_back_with_number_type_and_raw_bytes)
{
	AUTO_BUF struct buf b = {0};
	struct pb_reader r;
	struct pb_field f;

	pb_put_uint(&b, 1, 0);
	pb_put_uint(&b, 0x1fffffff, 300);
	pb_put_string(&b, 16, "text");
	pb_put_bytes(&b, 3, "", 0);
	r = pb_reader(b.data, b.len);
	CHECK(pb_next(&r, &f) == 1 && f.number == 1 && f.type == PB_VARINT && f.value == 0 && f.data == NULL);
	CHECK(f.raw == b.data && f.raw_size == 2);
	CHECK(pb_next(&r, &f) == 1 && f.number == 0x1fffffff && f.value == 300);
	CHECK(pb_next(&r, &f) == 1 && f.number == 16 && f.type == PB_BYTES && f.size == 4);
	CHECK(memcmp(f.data, "text", 4) == 0 && f.data + f.size == f.raw + f.raw_size);
	CHECK(pb_next(&r, &f) == 1 && f.number == 3 && f.size == 0 && f.data != NULL);
	CHECK(pb_next(&r, &f) == 0);
}

TEST(fixed_fields_are_little_endian)
{
	struct pb_field f;

	CHECK_INT(walk("\x09\x01\x02\x03\x04\x05\x06\x07\x08", 9, &f), 1);
	CHECK(f.type == PB_FIXED64 && f.value == 0x0807060504030201ull && f.number == 1);
	CHECK_INT(walk("\x15\x01\x02\x03\x84", 5, &f), 1);
	CHECK(f.type == PB_FIXED32 && f.value == 0x84030201u && f.number == 2);
}

TEST(malformed_bytes_are_an_error)
{
	static const struct {
		const char *why, *bytes;
		size_t n;
	} bad[] = {
		{"tag without value", "\x08", 1},
		{"varint that never ends", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12},
		{"field number 0", "\x00\x01", 2},
		{"field number beyond 29 bits", "\x80\x80\x80\x80\x10\x01", 6},
		{"group start", "\x0b", 1},
		{"group end", "\x0c", 1},
		{"type 6", "\x0e", 1},
		{"type 7", "\x0f\x01", 2},
		{"length beyond the end", "\x0a\x02x", 3},
		{"length near 2^64", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
		{"short fixed64", "\x09\x01\x02\x03\x04\x05\x06\x07", 8},
		{"short fixed32", "\x0d\x01\x02\x03", 4},
	};
	struct pb_field f;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECKF(walk(bad[i].bytes, bad[i].n, &f) == -1, "%s was accepted", bad[i].why);
}

TEST(packed_arrays_are_counted_and_checked)
{
	struct pb_reader r = pb_reader("\x01\x80", 2);
	uint64_t v;

	CHECK_INT(pb_count_varints(NULL, 0), 0);
	CHECK_INT(pb_count_varints((const uint8_t *)"\x01\x80\x01\x7f", 4), 3);
	CHECK_INT(pb_count_varints((const uint8_t *)"\x01\x80", 2), -1);
	CHECK_INT(pb_count_varints((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11), -1);
	CHECK(pb_next_varint(&r, &v) == 1 && v == 1);
	CHECK(pb_next_varint(&r, &v) == -1);
}

TEST(random_bytes_never_leave_the_buffer)
{
	uint32_t x = 12345;
	int readable = 0;

	for (int i = 0; i < 20000; i++) {
		uint8_t bytes[24];
		size_t n;
		struct pb_field f;

		for (size_t j = 0; j < sizeof(bytes); j++) {
			x = x * 1664525u + 1013904223u;
			bytes[j] = (uint8_t)(x >> 24) & (x & 0x10000 ? 0x1f : 0xff);
		}
		n = x >> 27 < sizeof(bytes) ? x >> 27 : sizeof(bytes);
		CHECK(walk(bytes, n, &f) != -2); /* what it read is exactly what there was */
		readable += walk(bytes, n, &f) > 0;
	}
	CHECKF(readable > 100, "only %d: the test tests nothing", readable);
}

TEST_MAIN()
