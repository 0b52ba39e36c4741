/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode.c against what a real source wrote (tests/fixtures/messages), and against what it must not
 * accept. Run from the repository's folder, or say where the fixtures are: CDC_FIXTURES.
 */
#include "../t.h"

#include "../../src/data/decode.h"

#include <cdc/mem.h>
#include <cdc/pb.h>

static struct buf load(const char *name)
{
	const char *dir = getenv("CDC_FIXTURES");
	char path[512];
	struct buf b = {0};
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "%s/messages/%s.bin", dir ? dir : "tests/fixtures", name);
	f = fopen(path, "rb");
	if (!f)
		return b;
	while ((c = getc(f)) != EOF)
		buf_addc(&b, (uint8_t)c);
	fclose(f);
	return b;
}

static struct record decoded(const struct buf *b)
{
	struct record r = {0};
	struct err err = {0};

	CHECKF(b->len > 0, "fixture not found");
	CHECKF(decode_record(&r, b->data, b->len, &err) == 0, "%s", err.text);
	return r;
}

struct expected {
	const char *file;
	enum kind kind;
	cdc_ts ts;
	int64_t collection, partition;
	const char *vchannel;
	uint64_t msg_id;
	uint32_t rows;
};
#define TS(rest) (470616000000000000ull + rest)
#define V(topic, id, shard) "by-dev-rootcoord-dml_" topic "_" id "v" shard
static const struct expected expected[] = {
	{"create-collection", KIND_CREATE_COLLECTION, TS(287716835334), 470616285477339186, 0, NULL, 0, 0},
	{"tick", KIND_TICK, TS(287716835332), 0, 0, NULL, 0, 0},
	{"insert-json-array-dynamic", KIND_INSERT, TS(287886966787), 470616285477339186, 470616285477339187,
	 V("0", "470616285477339186", "0"), 470616285477339196, 3},
	{"upsert-insert", KIND_INSERT, TS(287926550531), 470616285477339186, 470616285477339187,
	 V("0", "470616285477339186", "0"), 470616285477339199, 2},
	{"upsert-delete", KIND_DELETE, TS(287926550531), 470616285477339186, 470616285477339187,
	 V("0", "470616285477339186", "0"), 470616285477339200, 2},
	{"insert-in-partition", KIND_INSERT, TS(288018038786), 470616285477339186, 470616285477539203,
	 V("0", "470616285477339186", "0"), 470616285477339202, 1},
	{"delete-in-partition", KIND_DELETE, TS(288044253185), 470616285477339186, 470616285477539203,
	 V("0", "470616285477339186", "0"), 470616285477339203, 2},
	{"delete", KIND_DELETE, TS(289630224386), 470616285477339186, -1, V("0", "470616285477339186", "0"),
	 470616285477339204, 2},
	{"drop-partition", KIND_DROP_PARTITION, TS(289866153991), 470616285477339186, 470616285477539203,
	 NULL, 0, 0},
	{"insert-varchar-key", KIND_INSERT, TS(290509455363), 470616285477739296, 470616285477739297,
	 V("0", "470616285477739296", "1"), 470616285477339214, 4},
	{"delete-varchar-key", KIND_DELETE, TS(291465232385), 470616285477739296, -1,
	 V("0", "470616285477739296", "1"), 470616285477339215, 4},
	{"drop-collection", KIND_DROP_COLLECTION, TS(291675209730), 470616285477739296, 0, NULL, 0, 0},
	{"insert-all-types", KIND_INSERT, TS(289985167363), 470616285477739261, 470616285477739262,
	 V("1", "470616285477739261", "0"), 470616285477339207, 2},
	{"insert-partition-key", KIND_INSERT, TS(290233155589), 470616285477739276, 470616285477739280,
	 V("2", "470616285477739276", "0"), 470616285477339209, 1},
	{"replicate-create-database", KIND_CREATE_DATABASE, TS(287388893187), 0, 0, NULL, TS(287388893187),
	 0},
	{"replicate-create-index", KIND_CREATE_INDEX, TS(288110051332), 0, 0, NULL, TS(288110051332), 0},
	{"replicate-flush", KIND_FLUSH, TS(288293552133), 0, 0, NULL, TS(288293552133), 0},
	{"replicate-load", KIND_LOAD, TS(288699613185), 0, 0, NULL, TS(288699613185), 0},
	{"replicate-release", KIND_RELEASE, TS(289643593729), 0, 0, NULL, TS(289643593729), 0},
	{"replicate-drop-index", KIND_DROP_INDEX, TS(289866153987), 0, 0, NULL, TS(289866153987), 0},
	{"replicate-drop-database", KIND_DROP_DATABASE, TS(291465232388), 0, 0, NULL, TS(291465232388), 0},
};

TEST(every_captured_message_decodes_field_by_field)
{
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		const struct expected *e = &expected[i];
		AUTO_BUF struct buf b = load(e->file);
		struct record r = decoded(&b);
		size_t len = e->vchannel ? strlen(e->vchannel) : 0;

		CHECKF(r.kind == e->kind, "%s: %s", e->file, kind_name(r.kind));
		CHECKF(r.ts == e->ts, "%s: ts %llu", e->file, (unsigned long long)r.ts);
		CHECKF(r.collection_id == e->collection, "%s: %lld", e->file, (long long)r.collection_id);
		CHECKF(r.partition_id == e->partition, "%s: %lld", e->file, (long long)r.partition_id);
		CHECKF(!r.vchannel == !e->vchannel, "%s", e->file);
		CHECKF(r.vchannel_len == len && (!len || memcmp(r.vchannel, e->vchannel, len) == 0),
		       "%s: %.*s", e->file, (int)r.vchannel_len, r.vchannel);
		CHECKF(r.msg_id == e->msg_id, "%s: msgID %llu", e->file, (unsigned long long)r.msg_id);
		CHECKF(r.rows == e->rows, "%s: %u rows", e->file, r.rows);
		CHECKF(r.body == b.data && r.size == b.len, "%s: body is not the message", e->file);
		CHECKF(!decode_is_replicated(b.data, b.len), "%s", e->file);
	}
}

TEST(R12_both_halves_of_an_upsert_have_one_timestamp_and_two_ids)
{
	AUTO_BUF struct buf in = load("upsert-insert"), del = load("upsert-delete");
	struct record a = decoded(&in), b = decoded(&del);

	CHECK(a.kind == KIND_INSERT && b.kind == KIND_DELETE);
	CHECK(a.ts == b.ts && a.ts != 0);
	CHECK(a.msg_id != b.msg_id);
}

TEST(decode_leaves_the_brokers_fields_alone)
{
	AUTO_BUF struct buf b = load("tick");
	struct record r = {
		.pchannel = 7, .id = {1, 2}, .time_ms = 3, .handle = &r, .vchannel = "x", .vchannel_len = 1};

	CHECK(decode_record(&r, b.data, b.len, NULL) == 0);
	CHECK(r.pchannel == 7 && r.id.hi == 1 && r.id.lo == 2 && r.time_ms == 3 && r.handle == &r);
	CHECK(r.vchannel == NULL && r.vchannel_len == 0);
}

/* A message made by hand: base{type, msgID, ts}, then what the test adds. */
static void begin(struct buf *b, uint64_t type, uint64_t msg_id, uint64_t ts)
{
	AUTO_BUF struct buf base = {0};

	pb_put_uint(&base, 1, type);
	pb_put_uint(&base, 2, msg_id);
	pb_put_uint(&base, 3, ts);
	pb_put_bytes(b, 1, base.data, base.len);
}

static void begin_insert(struct buf *b)
{
	begin(b, 400, 5, 0);
	pb_put_string(b, 2, "p_1v0");
	pb_put_uint(b, 7, 1);
}

static void put_packed(struct buf *b, uint32_t number, size_t n, const uint64_t *v)
{
	AUTO_BUF struct buf packed = {0};

	for (size_t i = 0; i < n; i++)
		pb_put_varint(&packed, v[i]);
	pb_put_bytes(b, number, packed.data, packed.len);
}

static void refused(const struct buf *b, const char *why)
{
	struct record r = {.rows = 99};
	struct err err = {0};

	CHECKF(decode_record(&r, b->data, b->len, &err) == -ERR_SOURCE_FORMAT, "%s was accepted", why);
	CHECKF(strstr(err.text, why), "\"%s\" does not say \"%s\"", err.text, why);
	CHECK_INT(r.rows, 99); /* written on success only */
}

TEST(data_takes_the_greatest_timestamp_packed_or_not)
{
	AUTO_BUF struct buf packed = {0}, single = {0};
	struct record r;

	begin_insert(&packed);
	put_packed(&packed, 10, 3, (uint64_t[]){7, 9, 8});
	r = decoded(&packed);
	CHECK_INT(r.ts, 9);
	begin_insert(&single);
	pb_put_uint(&single, 10, 11);
	pb_put_uint(&single, 10, 13);
	pb_put_uint(&single, 10, 12);
	r = decoded(&single);
	CHECK_INT(r.ts, 13);
}

TEST(unknown_types_and_fields_are_readable_and_unused)
{
	AUTO_BUF struct buf b = {0};
	struct record r;

	begin(&b, 1212, 5, 6);
	pb_put_string(&b, 2, "not a vchannel here");
	pb_put_uint(&b, 500, 1);
	r = decoded(&b);
	CHECK(r.kind == KIND_OTHER);
	CHECK_INT(r.ts, 6);
	CHECK_INT(r.msg_id, 5);
	CHECK(r.vchannel == NULL);
}

TEST(rows_without_a_vchannel_are_refused)
{
	AUTO_BUF struct buf none = {0}, empty = {0}, odd = {0};

	begin(&none, 400, 5, 6);
	pb_put_uint(&none, 7, 1);
	pb_put_uint(&none, 10, 6);
	refused(&none, "no vchannel");
	begin(&empty, 401, 5, 6);
	pb_put_string(&empty, 2, "");
	pb_put_uint(&empty, 7, 1);
	pb_put_uint(&empty, 10, 6);
	refused(&empty, "no vchannel");
	begin(&odd, 401, 5, 6);
	pb_put_bytes(&odd, 2, "a\0b", 3);
	pb_put_uint(&odd, 7, 1);
	pb_put_uint(&odd, 10, 6);
	refused(&odd, "impossible vchannel");
}

TEST(rows_without_timestamps_or_collection_are_refused)
{
	AUTO_BUF struct buf a = {0}, b = {0}, c = {0};

	begin_insert(&a);
	refused(&a, "no timestamps");
	begin_insert(&b);
	pb_put_bytes(&b, 10, "\xff\xff", 2);
	refused(&b, "damaged timestamps");
	begin(&c, 400, 5, 6);
	pb_put_string(&c, 2, "p_1v0");
	pb_put_uint(&c, 10, 6);
	refused(&c, "no collection ID");
}

TEST(a_row_count_beyond_32_bits_is_refused)
{
	AUTO_BUF struct buf b = {0};

	begin_insert(&b);
	pb_put_uint(&b, 10, 6);
	pb_put_uint(&b, 14, 1ull << 32);
	refused(&b, "4294967296 rows");
}

TEST(ticks_and_drops_that_cannot_be_ordered_are_refused)
{
	AUTO_BUF struct buf tick = {0}, coll = {0}, part = {0}, undated = {0};

	begin(&tick, 1200, 0, 0);
	refused(&tick, "no timestamp");
	begin(&coll, 101, 0, 6);
	refused(&coll, "no collection ID");
	begin(&part, 201, 0, 6);
	pb_put_uint(&part, 6, 1);
	refused(&part, "no partition ID");
	begin(&undated, 101, 0, 0);
	pb_put_uint(&undated, 5, 1);
	refused(&undated, "no timestamp");
}

TEST(what_is_not_a_message_is_refused)
{
	AUTO_BUF struct buf base = {0}, none = {0};

	refused(&none, "no base");
	pb_put_string(&none, 2, "x");
	refused(&none, "no base");
	buf_adds(&base, "{\"json\": true}");
	refused(&base, "not protobuf");
	buf_reset(&base);
	pb_put_bytes(&base, 1, "\x08", 1);
	refused(&base, "base is damaged");
}

/* A message that lost its end is refused or, cut between two fields, lacks them: never another's. */
TEST(every_truncation_of_every_message_is_safe)
{
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		AUTO_BUF struct buf b = load(expected[i].file);

		CHECK(b.len > 0);
		for (size_t n = 0; n < b.len; n++) {
			uint8_t *part =
				xmemdup(b.data, n); /* its own block: the sanitizer sees each overrun */
			struct decode_flush flush;
			struct record r = {0};
			int rc = decode_record(&r, part, n, NULL);
			bool sane = rc == -ERR_SOURCE_FORMAT || (rc == 0 && r.kind == expected[i].kind);

			decode_flush(part, n, &flush, NULL);
			decode_is_replicated(part, n);
			free(part);
			CHECKF(sane, "%s cut at %zu: %d %s", expected[i].file, n, rc, kind_name(r.kind));
		}
	}
}

TEST(flush_gives_its_database_and_collections)
{
	AUTO_BUF struct buf b = load("replicate-flush"), many = {0};
	struct decode_flush f;
	struct err err = {0};

	CHECKF(decode_flush(b.data, b.len, &f, &err) == 0, "%s", err.text);
	CHECK(f.db_len == 7 && memcmp(f.db, "default", 7) == 0);
	CHECK_INT(f.count, 1);
	CHECK(f.collections[0].len == 6 && memcmp(f.collections[0].name, "orders", 6) == 0);
	begin(&many, 402, 1, 1);
	for (int i = 0; i < 70; i++)
		pb_put_string(&many, 3, i < 64 ? "in" : "out");
	CHECK(decode_flush(many.data, many.len, &f, NULL) == 0);
	CHECK_INT(f.count, 64);
	CHECK(f.db_len == 0);
	CHECK(f.collections[63].len == 2);
}

TEST(flush_of_another_type_is_refused)
{
	AUTO_BUF struct buf b = load("replicate-load");
	struct decode_flush f;
	struct err err = {0};

	CHECK_INT(decode_flush(b.data, b.len, &f, &err), -ERR_SOURCE_FORMAT);
	CHECKF(strstr(err.text, "type 106"), "%s", err.text);
}

TEST(an_import_names_its_collection_and_its_job)
{
	AUTO_BUF struct buf b = {0};
	struct record r;

	begin(&b, 408, 1, 77);
	pb_put_string(&b, 3, "c");
	pb_put_uint(&b, 4, 100);
	pb_put_uint(&b, 9, 12345);
	r = decoded(&b);
	CHECK_INT(r.kind, KIND_IMPORT);
	CHECK_INT(r.collection_id, 100);
	CHECK_INT(decode_import_job(b.data, b.len), 12345);
	CHECK_INT(decode_import_job((const uint8_t *)"\x48", 1), 0);
}

TEST(what_a_cdc_writer_did_is_recognised)
{
	AUTO_BUF struct buf info = {0}, base = {0}, b = {0}, no = {0};

	pb_put_uint(&info, 1, 1);
	pb_put_uint(&info, 2, 77);
	pb_put_uint(&base, 1, 300);
	pb_put_bytes(&base, 7, info.data, info.len);
	pb_put_bytes(&b, 1, base.data, base.len);
	CHECK(decode_is_replicated(b.data, b.len));
	buf_reset(&info);
	pb_put_uint(&info, 1, 0);
	buf_reset(&base);
	pb_put_bytes(&base, 7, info.data, info.len);
	pb_put_bytes(&no, 1, base.data, base.len);
	CHECK(!decode_is_replicated(no.data, no.len));
	CHECK(!decode_is_replicated((const uint8_t *)"\x0a\x05", 2));
}

TEST_MAIN()
