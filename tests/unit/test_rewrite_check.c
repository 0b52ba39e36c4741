/* SPDX-License-Identifier: Apache-2.0 */
/* What the target would die of never becomes a message: broken bytes, wrong counts, strange columns. */
#include "rewrite_read.h"

static const struct kit_column pk = {.type = 5, .id = 100};

TEST(a_message_cut_anywhere_is_refused)
{
	struct kit_column columns[32];
	size_t n = kit_all_types(columns, KIT_PACKED, KIT_SLOTS), size;
	struct kit_msg m = {.ts = 1000, .rows = 3, .columns = columns, .column_count = n};

	for (int del = 0; del < 2; del++) {
		AUTO(kit_free) struct kit *k = kit_new();
		struct entry *e = del ? kit_delete(k, &m) : kit_insert(k, &m);

		AUTO_FREE uint8_t *whole = xmemdup(e->body, e->size);

		size = e->size;
		CHECK(size > 50);
		for (size_t cut = 0; cut < size; cut++) {
			AUTO_FREE uint8_t *body =
				xmemdup(whole, cut); /* of its own: a read over the end is seen */
			AUTO(arena_free) struct arena *messages = arena_new();
			struct err err;

			e->body = body;
			e->size = cut;
			CHECK(rewrite_window(&k->conf, k->entries, k->out, 1, messages, &k->result, &err) ==
			      0);
			CHECKF(k->result.message_count == 0 && k->result.refusal_count == 1, "cut at %zu",
			       cut);
			CHECK(strlen(k->result.refusals[0].reason) > 30);
		}
		e->body = whole;
		e->size = size;
		got_only(k);
	}
}

/* Whatever a changed bit makes of a message: a refusal, or a message whose every count agrees. */
TEST(a_message_with_any_bit_changed_is_refused_or_still_sound)
{
	struct kit_column columns[32];
	size_t n = kit_all_types(columns, KIT_PACKED, KIT_COMPACT), sound = 0, stopped = 0;
	struct kit_msg m = {.ts = 300, .rows = 2, .columns = columns, .column_count = n};

	for (int del = 0; del < 2; del++) {
		AUTO(kit_free) struct kit *k = kit_new();
		struct entry *e = del ? kit_delete(k, &m) : kit_insert(k, &m);
		AUTO_BUF struct buf body = {0};

		buf_add(&body, e->body, e->size);
		e->body = body.data;
		e->vchannel = "src-dml_0_9v0"; /* not in the arena, which is emptied */
		e->pchannel = "src-dml_0";
		for (size_t bit = 0; bit < body.len * 8; bit++) {
			arena_reset(k->arena);
			body.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			kit_run(k);
			CHECK_INT(k->result.message_count + k->result.refusal_count, 1);
			for (size_t i = 0; i < k->result.message_count; i++)
				got_out(k->arena, &k->result.messages[i]);
			sound += k->result.message_count;
			stopped += k->result.refusal_count;
			body.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	CHECK(sound > 100 && stopped > 1000);
}

TEST(a_wrong_count_is_refused_with_the_field_and_both_counts)
{
	struct kit_column columns[32];

	for (int form = KIT_PLAIN; form <= KIT_FULL; form++) {
		size_t n = kit_all_types(columns, KIT_PACKED, form);

		for (size_t i = 0; i < n; i++) {
			for (int more = -1; more <= 1; more += 2) {
				AUTO(kit_free) struct kit *k = kit_new();
				struct kit_msg m = {
					.ts = 1000, .rows = 7, .columns = columns, .column_count = n};
				char name[48], counts[48];
				int have = (form == KIT_COMPACT ? 5 : 7) + more; /* rows 1 and 6 are null */

				columns[i].more = more;
				kit_insert(k, &m);
				columns[i].more = 0;
				snprintf(name, sizeof(name), "\"f%d\" (field %d", (int)(100 + i),
					 (int)(100 + i));
				snprintf(counts, sizeof(counts), "%d values, want", have);
				got_refused(k, name, counts, "7");
			}
		}
	}
}

TEST(wrong_counts_beside_the_columns_are_refused)
{
	struct kit_column nullable = {.type = 5, .id = 100, .form = KIT_SLOTS, .more_valid = 1};
	struct kit_msg good = {.ts = 1000, .rows = 4, .columns = &pk, .column_count = 1};
	struct {
		int ts, ids, rows;
		const char *a, *b;
	} cases[] = {{1, 0, 0, "timestamps: 5", "want 4"}, {-1, 0, 0, "timestamps: 3", "want 4"},
		     {0, 1, 0, ": 5 values", "want 4"},    {0, -1, 0, ": 3 values", "want 4"},
		     {0, 0, 1, "timestamps: 4", "want 5"}, {0, 0, -4, "num_rows", "0"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (int del = 0; del < 2; del++) {
			AUTO(kit_free) struct kit *k = kit_new();
			struct kit_msg m = good;

			m.more_ts = cases[i].ts;
			m.more_ids = cases[i].ids;
			m.more_rows = cases[i].rows;
			if (del)
				kit_delete(k, &m);
			else
				kit_insert(k, &m);
			got_refused(k, cases[i].a, cases[i].b,
				    m.more_ids ? del ? "primary_keys" : "rowIDs" : "");
		}
	}
	AUTO(kit_free) struct kit *k = kit_new();

	good.columns = &nullable;
	kit_insert(k, &good);
	got_refused(k, "\"f100\"", "5 validity flags", "want 4");
}

TEST(columns_that_cannot_be_checked_are_refused)
{
	struct kit_column c[] = {pk, {.type = 6, .id = 101}};
	struct kit_msg m = {.ts = 1000, .rows = 2, .columns = c, .column_count = 2};
	AUTO(kit_free) struct kit *k = kit_new();

	kit_insert(k, &m);
	got_refused(k, "\"f101\"", "data type 6", "");
	k->n = 0;
	c[1] = pk;
	kit_insert(k, &m);
	got_refused(k, "\"f100\"", "twice", "");
	k->n = 0;
	c[1].id = 0;
	kit_insert(k, &m);
	got_refused(k, "\"f0\"", "field ID", "");
	k->n = 0;
	c[1] = (struct kit_column){.type = 101, .id = 101, .dim = 0};
	kit_insert(k, &m);
	got_refused(k, "\"f101\"", "dimension 0", "");
	k->n = 0;
	m.column_count = 0;
	kit_insert(k, &m);
	got_refused(k, "fields_data", "0 columns", "");
	k->n = 0;
	m.column_count = 1;
	m.version = 1; /* writes 0 */
	kit_insert(k, &m);
	got_refused(k, "version: 0", "by row", "");
}

TEST(names_in_a_reason_are_printable)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_column bad = {.type = 5, .id = 100, .more = 1};
	struct kit_msg m = {.ts = 1000, .rows = 1, .columns = &bad, .column_count = 1};
	struct entry *e = kit_insert(k, &m);
	uint8_t *body = arena_dup(k->arena, e->body, e->size), *name = memmem(body, e->size, "f100", 4);

	CHECK(name != NULL);
	memcpy(name, "\x1b\n\xff\"", 4);
	e->body = body;
	got_refused(k, "column \"???\"\"", "2 values", "");
}

/* An insert of two rows whose second column, field 101, is put together by hand. */
static void insert_column(struct kit *k, int type, uint32_t holder, const char *content, size_t n)
{
	struct kit_msg m = {.ts = 1000, .rows = 2};
	struct entry *e = kit_entry(k, KIND_INSERT, &m);
	AUTO_BUF struct buf b = {0}, fd = {0};

	kit_put_head(&b, e, 400, 1);
	kit_put_scalars(&b, 10, m.ts, 0, m.rows, KIT_PACKED);
	kit_put_scalars(&b, 11, 1, 1, m.rows, KIT_PACKED);
	kit_put_column(&b, &pk, 0, 2);
	pb_put_uint(&fd, 1, (uint64_t)type);
	pb_put_string(&fd, 2, "odd");
	pb_put_bytes(&fd, holder, content, n);
	pb_put_uint(&fd, 5, 101);
	pb_put_bytes(&b, 13, fd.data, fd.len);
	pb_put_uint(&b, 14, 2);
	pb_put_uint(&b, 15, 1);
	kit_take(k, e, &b);
}

TEST(strange_columns_are_refused)
{
	static const struct {
		int type;
		uint32_t holder;
		const char *what, *content;
		size_t n;
	} cases[] = {
		{5, 3, "field 2, want one list in field 3", "\x12\x04\x0a\x02\x01\x02",
		 6}, /* int32s as Int64 */
		{5, 4, "has no values", "\x1a\x04\x0a\x02\x01\x02", 6},
		{5, 3, "0 values", "", 0},
		{5, 3, "want one list", "\x1a\x03\x0a\x01\x01\x1a\x03\x0a\x01\x01", 10}, /* the list twice */
		{5, 3, "malformed", "\x1a\x04\x12\x02\x01\x02", 6},         /* elements in another field */
		{5, 3, "malformed", "\x1a\x04\x0a\x02\x01\x82", 6},         /* the last number goes on */
		{5, 3, "malformed", "\x1a\x07\x0a\x05\x01\x02\x03\x04", 8}, /* longer than the rest */
		{10, 3, "malformed", "\x22\x09\x0a\x07zzzzzzz", 11},        /* seven bytes of floats */
		{10, 3, "malformed", "\x22\x04\x08\x01\x08\x01", 6},        /* varints as floats */
		{22, 3, "row 1 holds field 6, want one list of field 3",
		 "\x42\x0f\x0a\x05\x1a\x03\x0a\x01\x01\x0a\x06\x32\x04\x0a\x02zz",
		 17}, /* numbers, then texts */
		{22, 3, "row 0 holds field 2",
		 "\x42\x10\x0a\x05\x12\x03\x0a\x01\x01\x0a\x05\x12\x03\x0a\x01\x01\x10\x05",
		 18}, /* not the element type */
		{22, 3, "element type 99", "\x42\x06\x0a\x00\x0a\x00\x10\x63", 8},
		{22, 3, "row 0 is malformed", "\x42\x09\x0a\x05\x1a\x03\x0a\x01\x81\x0a\x00", 11},
		{22, 3, "row 0 holds field 3",
		 "\x42\x0e\x0a\x0a\x1a\x03\x0a\x01\x01\x1a\x03\x0a\x01\x01\x0a\x00",
		 16}, /* two lists in a row */
		{104, 4, "row 1 has 4 bytes", "\x08\x10\x32\x08\x0a\x00\x0a\x04zzzz", 12},
		{103, 4, "3 bytes of vectors", "\x08\x08\x2a\x03zzz", 7},
		{103, 4, "want one list", "\x08\x01\x2a\x02zz\x2a\x02zz",
		 10}, /* the second would replace the first */
		{100, 4, "dimension 9", "\x08\x09\x1a\x04zzzz", 8},
		{101, 4, "dimension -1", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x12\x02\x0a\x00", 15},
		{101, 4, "dimension 1099511627776", "\x08\x80\x80\x80\x80\x80\x20\x12\x02\x0a\x00", 11},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(kit_free) struct kit *k = kit_new();

		insert_column(k, cases[i].type, cases[i].holder, cases[i].content, cases[i].n);
		got_refused(k, "column \"odd\" (field 101", cases[i].what, "");
	}
}

TEST(the_same_columns_made_right_are_sent)
{
	static const struct {
		int type;
		uint32_t holder;
		const char *content;
		size_t n;
	} cases[] = {
		{5, 3, "\x1a\x04\x0a\x02\x01\x02", 6},
		{22, 3, "\x42\x0e\x0a\x05\x1a\x03\x0a\x01\x01\x0a\x05\x1a\x03\x0a\x01\x01", 16},
		{22, 3, "\x42\x06\x0a\x00\x0a\x00\x10\x05", 8},
		{104, 4, "\x08\x10\x32\x0c\x0a\x00\x0a\x08zzzzzzzz", 16},
		{103, 4, "\x08\x01\x2a\x04zzzz", 8},
		{100, 4, "\x08\x08\x1a\x02zz", 6},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(kit_free) struct kit *k = kit_new();

		insert_column(k, cases[i].type, cases[i].holder, cases[i].content, cases[i].n);
		CHECK_INT(got_only(k)->column_count, 2);
	}
}

TEST_MAIN()
