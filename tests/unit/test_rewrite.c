/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry -> one message: mapping, IDs, times, refusals. Malformed ones: test_rewrite_check.c,
 * merging: test_rewrite_merge.c. Run from the repository's folder, or set CDC_FIXTURES.
 */
#include "rewrite_read.h"

static const struct kit_column pk = {.type = 5, .id = 100};

TEST(insert_has_the_targets_names_ids_and_channel)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_msg m = {.ts = 1000,
			    .shard = 1,
			    .partition = 92,
			    .rows = 3,
			    .columns = &pk,
			    .column_count = 1,
			    .msg_id = 55};
	struct got *g;

	kit_insert(k, &m);
	g = got_only(k);
	CHECK_STR(g->shard, "tgt-dml_5_900v1");
	CHECK_STR(g->db, "tdb");
	CHECK_STR(g->name, "c9");
	CHECK_STR(g->part, "p1");
	CHECK_INT(g->collection, 900);
	CHECK_INT(g->partition, 9002);
	CHECK_INT(g->source_id, 1);
	CHECK_INT(g->base_ts, 1000);
	CHECK_STR(g->ts[2], "1000");
	CHECK(g->msg_id != 55);
	CHECK_STR(k->result.messages[0].pchannel, "tgt-dml_5");
	CHECK_INT(k->result.messages[0].collection_id, 9);
	CHECK_INT(k->result.messages[0].first_seq, 100);
}

TEST(every_type_comes_through_row_by_row)
{
	static const int styles[] = {KIT_PACKED, KIT_SINGLE, KIT_CHUNKS},
			 forms[] = {KIT_PLAIN, KIT_SLOTS, KIT_COMPACT, KIT_FULL};
	struct kit_column columns[32];

	for (size_t s = 0; s < ARRAY_LEN(styles); s++) {
		for (size_t f = 0; f < ARRAY_LEN(forms); f++) {
			AUTO(kit_free) struct kit *k = kit_new();
			size_t n = kit_all_types(columns, styles[s], forms[f]);
			struct kit_msg m = {.ts = 1000,
					    .rows = 13,
					    .columns = columns,
					    .column_count = n,
					    .style = styles[s]};
			struct entry *e = kit_insert(k, &m);
			struct got *in = got_read(k->arena, e->body, e->size), *g = got_only(k);

			got_same_rows(g, 0, in);
			CHECK_INT(g->column_count, n);
			CHECK(!g->loose);
			for (size_t i = 0; i < g->column_count; i++)
				CHECKF(!g->columns[i].loose, "column %zu has its numbers in pieces", i);
		}
	}
}

TEST(a_nullable_column_of_nulls_only_comes_through)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_column columns[] = {pk, {.type = 21, .id = 101, .form = KIT_COMPACT}};
	struct kit_msg m = {.ts = 9, .first = 1, .rows = 1, .columns = columns, .column_count = 2};
	struct got *g;

	kit_insert(k, &m);
	g = got_only(k);
	CHECK_STR(got_find(g, 101)->rows[0], "null");
}

TEST(delete_with_every_kind_of_key)
{
	for (int i = 0; i < 6; i++) {
		AUTO(kit_free) struct kit *k = kit_new();
		struct kit_msg m = {.ts = 1000,
				    .first = 4,
				    .rows = 5,
				    .style = i % 2,
				    .legacy_keys = i / 2 == 1,
				    .varchar_keys = i / 2 == 2};
		struct entry *e = kit_delete(k, &m);
		struct got *in = got_read(k->arena, e->body, e->size), *g = got_only(k);

		got_same_rows(g, 0, in);
		CHECK(!g->loose);
		CHECK_STR(g->shard, "tgt-dml_3_900v0");
		CHECK_INT(g->collection, 900);
		CHECK_INT(g->partition, 9001);
		CHECK_STR(g->ts[4], "1000");
	}
}

TEST(a_delete_in_all_partitions_stays_one)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_msg m = {.ts = 1000, .rows = 2, .partition = -1};
	struct got *g;

	kit_delete(k, &m);
	g = got_only(k);
	CHECK_INT(g->partition, -1);
	CHECK_STR(g->part, "");
}

TEST(R21_restamped_rows_all_have_the_out_time_others_keep_theirs)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_msg m = {.ts = 1000, .rows = 3, .columns = &pk, .column_count = 1};
	struct got *a, *b;

	k->conf.merge_limit = 0;
	kit_insert(k, &m);
	kit_delete(k, &m);
	k->out[0] = (cdc_ts)1 << 60;
	k->out[1] = 1000;
	kit_run(k);
	CHECK_INT(k->result.message_count, 2);
	a = got_out(k->arena, &k->result.messages[0]);
	b = got_out(k->arena, &k->result.messages[1]);
	for (int i = 0; i < 3; i++) {
		CHECK_STR(a->ts[i], "1152921504606846976");
		CHECK_STR(b->ts[i], "1000");
	}
	CHECK(a->base_ts == (cdc_ts)1 << 60 && k->result.messages[0].min_ts == (cdc_ts)1 << 60);
	CHECK_INT(k->result.messages[1].min_ts, 1000);
}

TEST(R21_restamp_rises_keeps_equals_equal_and_stays_above_the_floor)
{
	static const cdc_ts in[] = {10, 10, 11, 50, 50, 51, 40, 60},
			    low[] = {101, 101, 102, 103, 103, 104, 105, 106},
			    mid[] = {31, 31, 32, 50, 50, 51, 52, 60},
			    none[] = {10, 10, 11, 50, 50, 51, 52, 60};
	struct entry e[8] = {0};
	cdc_ts out[8];

	for (size_t i = 0; i < 8; i++)
		e[i].ts = in[i];
	CHECK_INT(rewrite_restamp(e, 8, 100, out), 106);
	CHECK(memcmp(out, low, sizeof(out)) == 0);
	CHECK_INT(rewrite_restamp(e, 8, 30, out), 60);
	CHECK(memcmp(out, mid, sizeof(out)) == 0);
	CHECK_INT(rewrite_restamp(e, 8, 9, out), 60);
	CHECK(memcmp(out, none, sizeof(out)) == 0);
	CHECK_INT(rewrite_restamp(e, 8, 10, out), 60); /* the floor itself is taken */
	CHECK_INT(out[0], 11);
	CHECK_INT(rewrite_restamp(e, 0, 77, out), 77);
}

TEST(J6_message_ids_are_these_for_ever)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_msg m = {.ts = 1000, .rows = 1, .columns = &pk, .column_count = 1};
	uint64_t merged;

	kit_insert(k, &m);
	kit_insert(k, &m);
	kit_delete(k, &m);
	k->entries[1].id.hi = 3;
	k->conf.merge_limit = 0;
	kit_run(k);
	CHECK_INT(k->result.message_count, 3);
	CHECK_INT(k->result.messages[0].msg_id, 708198860994144677);
	CHECK_INT(k->result.messages[1].msg_id, 2176603822253243526);
	CHECK_INT(k->result.messages[2].msg_id, 1522569392120259258);
	k->conf.merge_limit = 1 << 20;
	kit_run(k);
	CHECK_INT(k->result.message_count, 2);
	merged = k->result.messages[0].msg_id;
	CHECK_INT(merged, 6584551199493673567);
	CHECK_INT(k->result.messages[1].msg_id, 1522569392120259258);
	k->conf.identity++; /* another task: other IDs for the same messages (R19) */
	kit_run(k);
	CHECK(k->result.messages[0].msg_id != merged && k->result.messages[1].msg_id != 1522569392120259258);
}

static int cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

TEST(J6_no_two_entries_share_an_id)
{
	AUTO(kit_free) struct kit *k = kit_new();
	static uint64_t ids[KIT_MAX];

	k->conf.merge_limit = 0;
	for (int i = 0; i < KIT_MAX; i++) {
		struct kit_msg m = {.ts = 1000, .shard = i % 2, .rows = 1, .columns = &pk, .column_count = 1};

		kit_insert(k, &m)->id.lo = (uint64_t)i / 2; /* same offsets on both pchannels */
	}
	kit_run(k);
	CHECK_INT(k->result.message_count, KIT_MAX);
	for (int i = 0; i < KIT_MAX; i++)
		ids[i] = k->result.messages[i].msg_id;
	qsort(ids, KIT_MAX, sizeof(ids[0]), cmp_u64);
	for (int i = 1; i < KIT_MAX; i++)
		CHECK(ids[i] != ids[i - 1]);
}

TEST(a_producers_retry_is_sent_once)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_msg m = {.ts = 1000, .rows = 2, .columns = &pk, .column_count = 1, .msg_id = 77},
		       other = m;

	k->conf.merge_limit = 0;
	kit_insert(k, &m);
	kit_insert(k, &m); /* the retry */
	kit_delete(k, &m); /* another kind */
	other.ts = 1001;
	kit_insert(k, &other); /* another time */
	other.shard = 1;
	kit_insert(k, &other); /* another vchannel */
	other.msg_id = 0;
	kit_insert(k, &other); /* without an ID nothing is known to be a retry */
	kit_insert(k, &other);
	kit_run(k);
	CHECK_INT(k->result.refusal_count, 0);
	CHECK_INT(k->result.message_count, 6);
	CHECK_INT(k->result.messages[0].first_seq, 100);
	CHECK_INT(k->result.messages[1].first_seq, 102);
	CHECK_INT(k->result.messages[2].first_seq, 103);
}

TEST(what_was_dropped_vanishes_without_a_word)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_msg m = {.ts = 1000, .rows = 2, .columns = &pk, .column_count = 1, .collection = 10},
		       p = m;

	kit_insert(k, &m);
	kit_delete(k, &m);
	kit_insert(k, &m)->size = 3; /* broken, but gone anyway */
	p.collection = 9;
	p.partition = 93;
	kit_insert(k, &p);
	kit_delete(k, &p);
	kit_run(k);
	CHECK_INT(k->result.message_count, 0);
	CHECK_INT(k->result.refusal_count, 0);
}

TEST(R23_what_is_not_mapped_is_refused_with_what_is_missing)
{
	struct kit_msg m = {.ts = 1000, .rows = 2, .columns = &pk, .column_count = 1};
	static const char *const want[][2] = {
		{"collection", "77"}, {"partition", "4711"}, {"vchannel", "src-dml_7"}, {"partition", "-1"}};

	for (int i = 0; i < 4; i++) {
		AUTO(kit_free) struct kit *k = kit_new();
		struct kit_msg n = m;

		n.collection = i == 0 ? 77 : 0;
		n.partition = i == 1 ? 4711 : i == 3 ? -1 : 0; /* inserts go into one partition */
		n.shard = i == 2 ? 7 : 0;
		kit_insert(k, &n);
		got_refused(k, want[i][0], want[i][1], "insert of src-dml_");
		CHECK_INT(k->result.refusals[0].seq, 100);
		CHECK_INT(k->result.refusals[0].collection_id, i == 0 ? 77 : 9);
	}
}

TEST(a_vchannel_outside_its_pchannel_is_refused)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct target_collection c = *object_map_find(k->map, 9);
	struct channel_pair ch[] = {
		{c.channels[0].source_vchannel, (char *)"tgt-dml_33_900v0", (char *)"tgt-dml_3"}};
	struct kit_msg m = {.ts = 1000, .rows = 2};

	c.channels = ch;
	c.channel_count = 1;
	object_map_put(k->map, &c);
	kit_delete(k, &m);
	got_refused(k, "tgt-dml_33_900v0", "tgt-dml_3", "delete");
}

TEST(R23_a_refusal_ends_its_collection_and_no_other)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_msg m = {.ts = 1000, .rows = 2, .columns = &pk, .column_count = 1}, bad = m, other = m;
	struct got *g;

	bad.more_ids = 1;
	other.collection = 8;
	kit_insert(k, &m);
	kit_insert(k, &other);
	kit_insert(k, &bad);
	kit_insert(k, &m); /* could be merged with the first one; applied again when the hold ends */
	kit_delete(k, &m);
	kit_insert(k, &bad);
	kit_insert(k, &other);
	kit_run(k);
	CHECK_INT(k->result.refusal_count, 1);
	CHECK_INT(k->result.refusals[0].seq, 102);
	CHECK_INT(k->result.message_count, 2);
	g = got_out(k->arena, &k->result.messages[0]);
	CHECK_INT(g->collection, 900);
	CHECK_INT(g->num_rows, 2);
	g = got_out(k->arena, &k->result.messages[1]);
	CHECK_INT(g->collection, 800);
	CHECK_INT(g->num_rows, 4);
}

TEST(messages_that_are_not_what_the_journal_says_are_refused)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_msg m = {.ts = 1000, .rows = 1, .columns = &pk, .column_count = 1};
	struct entry *e = kit_insert(k, &m), good = *e;

	e->kind = KIND_DELETE;
	got_refused(k, "base", "400", "401");
	*e = good;
	e->ts++;
	k->out[0]++;
	got_refused(k, "timestamps", "1000", "1001");
	*e = good;
	e->partition_id = 92;
	got_refused(k, "partition 91", "92", "");
	*e = good;
	e->collection_id = 8;
	e->partition_id = 81;
	e->vchannel = "src-dml_0_8v0";
	got_refused(k, "collection 9", "8", "");
	*e = good;
	e->vchannel = "src-dml_1_9v1";
	got_refused(k, "shardName", "src-dml_1_9v1", "");
}

TEST(R19_an_unknown_format_version_is_not_written)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct err err = {0};

	k->conf.version = REWRITE_VERSION + 1;
	CHECK_INT(rewrite_window(&k->conf, k->entries, k->out, 0, k->arena, &k->result, &err), -ERR_INTERNAL);
	CHECK(strstr(err.text, "format 2") != NULL);
	k->conf.version = REWRITE_VERSION;
	k->entries[0] = (struct entry){.seq = 5, .kind = KIND_FLUSH};
	CHECK_INT(rewrite_window(&k->conf, k->entries, k->out, 1, k->arena, &k->result, &err), -ERR_INTERNAL);
	CHECK(strstr(err.text, "flush") != NULL);
}

TEST(ticks_and_drops_are_what_the_target_expects)
{
	AUTO(kit_free) struct kit *k = kit_new();
	const struct target_collection *c = object_map_find(k->map, 9);
	AUTO_BUF struct buf b = {0};
	struct got *g;

	rewrite_tick(&b, 470612947311525891);
	g = got_read(k->arena, b.data, b.len);
	CHECK_INT(g->type, 1200);
	CHECK_INT(g->msg_id, 0);
	CHECK_INT(g->base_ts, 470612947311525891);
	CHECK_INT(g->source_id, -1);
	buf_reset(&b);
	rewrite_drop_collection(&b, c, 12345);
	CHECK(memmem(b.data, b.len,
		     "\x12\x03tdb\x1a\x02"
		     "c9\x28\x84\x07",
		     12) != NULL); /* 2, 3, 5: 900 */
	g = got_read(k->arena, b.data, 2 + (size_t)b.data[1]);
	CHECK(g->type == 101 && g->base_ts == 12345 && g->replicated);
	buf_reset(&b);
	rewrite_drop_partition(&b, c, target_partition(c, 92), 12346);
	CHECK(memmem(b.data, b.len,
		     "\x12\x03tdb\x1a\x02"
		     "c9\x22\x02p1\x30\x84\x07\x38\xaa\x46",
		     19) != NULL);
	g = got_read(k->arena, b.data, 2 + (size_t)b.data[1]);
	CHECK(g->type == 201 && g->base_ts == 12346 && g->replicated);
}

/* A message that a real source wrote, mapped to collection 900 of the target. */
static struct got *add_real(struct kit *k, const char *name)
{
	const char *dir = getenv("CDC_FIXTURES");
	struct entry *e = &k->entries[k->n];
	static uint8_t body[1 << 16];
	char path[512];
	struct got *g;
	size_t n;

	snprintf(path, sizeof(path), "%s/messages/%s.bin", dir ? dir : "tests/fixtures", name);
	FILE *f = fopen(path, "rb");

	CHECKF(f, "%s: not there", path);
	n = fread(body, 1, sizeof(body), f);
	fclose(f);
	CHECKF(n > 100 && n < sizeof(body), "%s: %zu bytes", path, n);
	g = got_read(k->arena, body, n);
	*e = (struct entry){
		.seq = 1, .ts = strtoull(g->ts[0], NULL, 10), .pchannel = "src", .id = {0, k->n + 1}};
	e->kind = g->type == 400 ? KIND_INSERT : KIND_DELETE;
	e->collection_id = g->collection;
	e->partition_id = g->partition;
	e->vchannel = g->shard;
	e->body = arena_dup(k->arena, body, n);
	e->size = n;
	k->out[k->n++] = e->ts;

	struct channel_pair ch = {g->shard, (char *)"tgt-dml_3_900v0", (char *)"tgt-dml_3"};
	struct partition_pair part = {g->partition, 9001, (char *)"_default", false};
	struct target_collection c = {.source_id = g->collection,
				      .target_id = 900,
				      .db = (char *)"tdb",
				      .name = (char *)"c9",
				      .channels = &ch,
				      .channel_count = 1,
				      .partitions = &part,
				      .partition_count = 1};

	object_map_put(k->map, &c);
	return g;
}

TEST(messages_of_a_real_source_keep_every_row)
{
	static const char *const names[] = {"insert-all-types",
					    "insert-in-partition",
					    "insert-partition-key",
					    "insert-json-array-dynamic",
					    "insert-varchar-key",
					    "upsert-insert",
					    "upsert-delete",
					    "delete-in-partition",
					    "delete",
					    "delete-varchar-key"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(kit_free) struct kit *k = kit_new();
		struct got *in = add_real(k, names[i]), *out;

		add_real(k, names[i]); /* the same msgID at another offset: a retry */
		out = got_only(k);
		got_same_rows(out, 0, in);
		CHECK_INT(out->type, in->type);
		CHECK_INT(out->num_rows, in->num_rows);
		CHECK_STR(out->ts[0], in->ts[0]);
		CHECK_INT(out->collection, 900);
		CHECK_INT(out->partition, in->partition == -1 ? -1 : 9001);
	}
}

TEST(inserts_of_a_real_source_are_merged)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct got *a = add_real(k, "insert-json-array-dynamic"), *b = add_real(k, "upsert-insert"),
		   *out = got_only(k);

	got_same_rows(out, 0, a);
	got_same_rows(out, a->num_rows, b);
	CHECK_INT(out->num_rows, a->num_rows + b->num_rows);
}

TEST_MAIN()
