/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the wire walker and the decoder; not part of `make test`. From the
 * repository's folder, after `make`:
 *
 *   clang -g -O1 -std=gnu11 -D_GNU_SOURCE -Iinclude -fsanitize=fuzzer,address,undefined \
 *       tests/fuzz/fuzz_decode.c src/data/decode.c src/base/{pb,mem,err,model}.c -o fuzz_decode
 *   mkdir -p corpus; ./fuzz_decode -max_total_time=60 corpus tests/fixtures/messages
 */
#include "../../src/data/decode.h"

#include <cdc/pb.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(const void *p, size_t n, const uint8_t *data, size_t size)
{
	const uint8_t *at = p;

	if (n && (at < data || n > size || at + n > data + size))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pb_reader r = pb_reader(data, size), packed;
	struct decode_flush flush;
	struct record rec = {0};
	struct pb_field f;
	struct err err;
	int64_t count = 0;
	uint64_t v;
	int rc;

	while (pb_next(&r, &f) > 0) {
		inside(f.raw, f.raw_size, data, size);
		inside(f.data, f.size, data, size);
	}
	packed = pb_reader(data, size);
	while ((rc = pb_next_varint(&packed, &v)) > 0)
		count++;
	if (rc == 0 && pb_count_varints(data, size) != count)
		abort();
	if (decode_record(&rec, data, size, &err) == 0) {
		inside(rec.vchannel, rec.vchannel_len, data, size);
		if ((rec.kind == KIND_INSERT || rec.kind == KIND_DELETE) && (!rec.ts || !rec.vchannel_len))
			abort();
	} else if (err.code != ERR_SOURCE_FORMAT) {
		abort();
	}
	if (decode_flush(data, size, &flush, &err) == 0)
		for (size_t i = 0; i < flush.count; i++)
			inside(flush.collections[i].name, flush.collections[i].len, data, size);
	decode_is_replicated(data, size);
	return 0;
}
