/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: arbitrary bytes as two source messages of one window. No crash; and whatever is
 * sent is sound, that is: with the target taken as a source it is accepted again, and comes out with
 * the same rows. Input: one byte (bit 0: deletes, bit 1: no merging), then the messages' tails after
 * a valid head; bytes 1 and 2: the length of the first tail.
 * clang -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -Ibuild/release -D_GNU_SOURCE
 *   tests/fuzz/fuzz_rewrite.c src/data/rewrite*.c src/data/object_map.c src/base/{err,mem,model,pb}.c
 *   build/release/journal.pb-c.c build/release/milvus.pb-c.c -lprotobuf-c -o fuzz_rewrite
 */
#include "../../src/data/rewrite.h"

#include <cdc/pb.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define TS 1000

/* Collection 9 on the channel "a_v" of pchannel "a", from itself or from the source's names. */
static struct object_map *make_map(bool identity)
{
	struct object_map *m = object_map_new();
	struct channel_pair ch = {(char *)(identity ? "a_v" : "s_v"), (char *)"a_v", (char *)"a"};
	struct partition_pair part = {identity ? 70 : 7, 70, (char *)"p", false};
	struct target_collection c = {.source_id = identity ? 90 : 9,
				      .target_id = 90,
				      .db = (char *)"",
				      .name = (char *)"n",
				      .channels = &ch,
				      .channel_count = 1,
				      .partitions = &part,
				      .partition_count = 1};

	object_map_put(m, &c);
	return m;
}

static void put_message(struct buf *b, bool del, const uint8_t *tail, size_t n)
{
	static const uint8_t base_insert[] = {8, 0x90, 3, 16, 5}, base_delete[] = {8, 0x91, 3};

	pb_put_bytes(b, 1, del ? base_delete : base_insert, del ? sizeof(base_delete) : sizeof(base_insert));
	pb_put_string(b, 2, "s_v");
	pb_put_uint(b, 7, 9);
	pb_put_uint(b, 8, 7);
	buf_add(b, tail, n);
}

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_again(const struct out_message *m)
{
	AUTO(object_map_free) struct object_map *map = make_map(true);
	AUTO(arena_free) struct arena *arena = arena_new();
	struct rewrite_conf conf = {.identity = 1, .version = REWRITE_VERSION, .map = map};
	struct entry e = {.seq = 1,
			  .ts = m->max_ts,
			  .kind = m->is_delete ? KIND_DELETE : KIND_INSERT,
			  .vchannel = "a_v",
			  .pchannel = "a",
			  .collection_id = 90,
			  .partition_id = 70,
			  .body = m->body,
			  .size = m->size};
	struct rewrite_result r;
	struct err err;

	must(rewrite_window(&conf, &e, &e.ts, 1, arena, &r, &err) == 0);
	must(r.refusal_count == 0 && r.message_count == 1);
	must(r.messages[0].rows == m->rows && r.messages[0].rows > 0);
	must(r.messages[0].min_ts == m->min_ts && r.messages[0].max_ts == m->max_ts);
	/* only base.msgID differs, by at most nine bytes of its number */
	must(r.messages[0].size + 9 >= m->size && r.messages[0].size <= m->size + 9);
	must(memcmp(r.messages[0].body + r.messages[0].size - 3, m->body + m->size - 3, 3) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(object_map_free) struct object_map *map = NULL;
	AUTO(arena_free) struct arena *arena = NULL;
	struct rewrite_conf conf = {.identity = 1, .version = REWRITE_VERSION};
	struct entry e[2];
	cdc_ts out[2] = {TS, TS};
	struct rewrite_result r;
	struct err err;
	struct buf body[2] = {{0}};
	size_t split;

	if (n < 3)
		return 0;
	split = (size_t)data[1] << 8 | data[2];
	split = split > n - 3 ? n - 3 : split;
	map = make_map(false);
	arena = arena_new();
	conf.map = map;
	conf.merge_limit = data[0] & 2 ? 0 : 1 << 20;
	for (int i = 0; i < 2; i++) {
		put_message(&body[i], data[0] & 1, data + 3 + (i ? split : 0), i ? n - 3 - split : split);
		e[i] = (struct entry){.seq = i + 1,
				      .ts = TS,
				      .kind = data[0] & 1 ? KIND_DELETE : KIND_INSERT,
				      .vchannel = "s_v",
				      .pchannel = "s",
				      .collection_id = 9,
				      .partition_id = 7,
				      .id = {0, (uint64_t)i},
				      .body = body[i].data,
				      .size = body[i].len};
	}
	must(rewrite_window(&conf, e, out, 2, arena, &r, &err) == 0);
	must(r.message_count <= 2 && r.refusal_count <= 1);
	for (size_t i = 0; i < r.message_count; i++)
		check_again(&r.messages[i]);
	buf_free(&body[0]);
	buf_free(&body[1]);
	return 0;
}
