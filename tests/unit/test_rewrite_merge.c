/* SPDX-License-Identifier: Apache-2.0 */
/* Many inserts -> few messages: which are joined, that no row changes, and that it is repeatable. */
#include "rewrite_read.h"

static const struct kit_column pk = {.type = 5, .id = 100};

static struct entry *insert(struct kit *k, cdc_ts ts, int64_t first, int rows,
			    const struct kit_column *columns, size_t n)
{
	struct kit_msg m = {.ts = ts, .first = first, .rows = rows, .columns = columns, .column_count = n};

	return kit_insert(k, &m);
}

static struct got *run_for(struct kit *k, size_t messages, size_t at)
{
	kit_run(k);
	CHECKF(k->result.refusal_count == 0, "%s", k->result.refusals[0].reason);
	CHECK_INT(k->result.message_count, messages);
	for (size_t i = 0; i < messages; i++)
		got_out(k->arena, &k->result.messages[i]);
	return got_out(k->arena, &k->result.messages[at]);
}

TEST(every_type_is_joined_row_by_row)
{
	static const int forms[] = {KIT_PLAIN, KIT_SLOTS, KIT_COMPACT, KIT_FULL};
	struct kit_column columns[32];

	for (size_t form = 0; form < ARRAY_LEN(forms); form++) {
		AUTO(kit_free) struct kit *k = kit_new();
		struct got *out, *in[12];
		size_t n, at = 0;

		for (int i = 0; i < 12; i++) { /* packed, one by one and in chunks, next to each other */
			n = kit_all_types(columns, i % 3, forms[form]);
			struct kit_msg m = {.ts = 1000 + (cdc_ts)i,
					    .first = i * 20,
					    .rows = 1 + i,
					    .columns = columns,
					    .column_count = n,
					    .style = i % 3};
			struct entry *e = kit_insert(k, &m);

			in[i] = got_read(k->arena, e->body, e->size);
		}
		out = run_for(k, 1, 0);
		for (int i = 0; i < 12; i++) {
			got_same_rows(out, at, in[i]);
			for (int r = 0; r <= i; r++)
				CHECK_STR(out->ts[at + (size_t)r], arena_printf(k->arena, "%d", 1000 + i));
			at += (size_t)i + 1;
		}
		CHECK_INT(out->num_rows, at);
		CHECK(!out->loose);
		for (size_t i = 0; i < out->column_count; i++)
			CHECKF(!out->columns[i].loose, "column %zu has its numbers in pieces", i);
		CHECK_INT(k->result.messages[0].min_ts, 1000);
		CHECK_INT(k->result.messages[0].max_ts, 1011);
		CHECK_INT(out->base_ts, 1011);
	}
}

TEST(columns_are_matched_by_field_id_in_the_first_parts_order)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_column a[] = {pk, {.type = 21, .id = 101}, {.type = 101, .id = 102, .dim = 4}};
	struct kit_column b[] = {a[2], a[0], a[1]};
	struct entry *first = insert(k, 1000, 0, 3, a, 3), *second = insert(k, 1001, 3, 2, b, 3);
	struct got *out = run_for(k, 1, 0);

	got_same_rows(out, 0, got_read(k->arena, first->body, first->size));
	got_same_rows(out, 3, got_read(k->arena, second->body, second->size));
	for (int i = 0; i < 3; i++)
		CHECK_INT(out->columns[i].id, 100 + i);
}

/* Two parts that differ in one column: two messages. */
static void apart(const struct kit_column *a, size_t an, const struct kit_column *b, size_t bn)
{
	AUTO(kit_free) struct kit *k = kit_new();

	insert(k, 1000, 1, 3, a, an);
	insert(k, 1001, 1, 3, b, bn);
	run_for(k, 2, 0);
}

TEST(R19_only_equal_field_sets_are_joined)
{
	struct kit_column a[] = {pk, {.type = 21, .id = 101}, {.type = 101, .id = 102, .dim = 4}}, b[3];

#define WITH(field, value) (memcpy(b, a, sizeof(b)), b[1].field = (value))
	apart(a, 3, a, 2);
	apart(a, 2, a, 3);
	WITH(id, 109);
	apart(a, 3, b, 3);
	WITH(type, 20);
	apart(a, 3, b, 3);
	WITH(dynamic, true);
	apart(a, 3, b, 3);
	WITH(form, KIT_SLOTS);
	apart(a, 3, b, 3);
	apart(b, 3, a, 3);
	WITH(form, KIT_FULL);
	apart(a, 3, b, 3);
	WITH(name, "f1O1");
	apart(a, 3, b, 3);
	memcpy(b, a, sizeof(b));
	b[2].dim = 8;
	apart(a, 3, b, 3);
	a[1] = (struct kit_column){.type = 22, .id = 101, .element = 5};
	memcpy(b, a, sizeof(b));
	b[1].element = 21;
	apart(a, 3, b, 3);
	b[1].element = 5;
	a[1].element = b[1].element - 1; /* both lie in lists of numbers */
	apart(a, 3, b, 3);
	a[1].element = 2;
	b[1].element = 4; /* both in the same kind of list */
	apart(a, 3, b, 3);
}

TEST(nulls_with_and_without_slots_are_not_joined_but_each_joins_rows_without_nulls)
{
	struct kit_column slots = {.type = 5, .id = 100, .form = KIT_SLOTS}, compact = slots, full = slots;
	struct kit_column three[3];

	compact.form = KIT_COMPACT;
	full.form = KIT_FULL;
	apart(&slots, 1, &compact, 1);
	apart(&compact, 1, &slots, 1);
	for (int i = 0; i < 2; i++) {
		AUTO(kit_free) struct kit *k = kit_new();
		struct got *out;

		three[0] = full;
		three[1] = i ? slots : compact;
		three[2] = i ? compact : slots; /* fits to the first, not to what is there by now */
		for (int p = 0; p < 3; p++)
			insert(k, 1000, 1, 3, &three[p], 1);
		out = run_for(k, 2, 0);
		CHECK_INT(out->num_rows, 6);
		CHECK_STR(out->columns[0].rows[3], i ? "null in slot 18446744073705551619" : "null");
		CHECK_STR(out->columns[0].rows[4], "18446744073706551622");
	}
}

/* A part whose rows leave the element type open must not let two different ones into one message. */
TEST(arrays_of_different_elements_are_not_joined_by_way_of_empty_rows)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_column a = {.type = 22, .id = 100, .element = 5}, b = a;

	b.element = 21;
	insert(k, 1000, 8, 1, &a, 1); /* row 8: no list at all */
	insert(k, 1001, 2, 1, &a, 1);
	insert(k, 1002, 2, 1, &b, 1);
	CHECK_INT(run_for(k, 2, 0)->num_rows, 2);
	CHECK_INT(run_for(k, 2, 1)->num_rows, 1);
}

TEST(sparse_vectors_get_the_greatest_dimension)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_column c[3];
	struct got *out;

	for (int i = 0; i < 3; i++) {
		c[i] = (struct kit_column){.type = 104, .id = 100, .dim = i == 1 ? 500 : 16 + i};
		insert(k, 1000, i * 3, 3, &c[i], 1);
	}
	out = run_for(k, 1, 0);
	CHECK_INT(out->columns[0].dim, 500);
	CHECK_INT(out->columns[0].extra, 500);
	CHECK_INT(out->columns[0].count, 9);
}

TEST(each_vchannel_and_partition_has_its_own_message_deletes_stay_single)
{
	AUTO(kit_free) struct kit *k = kit_new();
	static const struct {
		int shard;
		int64_t partition, seq;
		bool del;
	} want[] = {{0, 9001, 100, false},
		    {0, 9001, 101, true},
		    {1, 9001, 102, false},
		    {0, 9002, 103, false},
		    {0, 9001, 106, true}};

	for (int i = 0; i < 8; i++) {
		struct kit_msg m = {.ts = 1000, .rows = 2, .first = i, .columns = &pk, .column_count = 1};

		m.shard = i == 2 || i == 5;
		m.partition = i == 3 || i == 7 ? 92 : 91;
		if (i == 1 || i == 6)
			kit_delete(k, &m);
		else
			kit_insert(k, &m);
	}
	run_for(k, 5, 0);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		const struct out_message *m = &k->result.messages[i];
		struct got *g = got_out(k->arena, m);

		CHECK_STR(m->pchannel, want[i].shard ? "tgt-dml_5" : "tgt-dml_3");
		CHECK_INT(g->partition, want[i].partition);
		CHECK_INT(m->first_seq, want[i].seq);
		CHECK_INT(m->is_delete, want[i].del);
		CHECK_INT(m->rows, want[i].del ? 2 : 4);
	}
}

TEST(many_partitions_never_share_a_message)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct target_collection c = *object_map_find(k->map, 9);
	struct partition_pair parts[256];

	for (int i = 0; i < 256; i++)
		parts[i] = (struct partition_pair){i + 1, 5000 + i, (char *)"p", false};
	c.partitions = parts;
	c.partition_count = 256;
	object_map_put(k->map, &c);
	for (int i = 0; i < 1024; i++) {
		struct kit_msg m = {.ts = 1000,
				    .partition = i % 256 + 1,
				    .shard = i / 256 % 2,
				    .rows = 1,
				    .columns = &pk,
				    .column_count = 1};

		kit_insert(k, &m);
	}
	kit_run(k);
	CHECK_INT(k->result.message_count, 512);
	for (int i = 0; i < 512; i++) {
		struct got *g = got_out(k->arena, &k->result.messages[i]);

		CHECK_INT(g->partition, 5000 + i % 256);
		CHECK_INT(g->num_rows, 2);
	}
}

TEST(each_part_is_restamped_by_itself)
{
	AUTO(kit_free) struct kit *k = kit_new();
	static const char *const want[] = {"5000", "5000", "1001", "1002", "1002"};
	struct got *out;

	insert(k, 1000, 0, 2, &pk, 1);
	insert(k, 1001, 2, 1, &pk, 1);
	insert(k, 1002, 3, 2, &pk, 1);
	k->out[0] = 5000;
	out = run_for(k, 1, 0);
	for (int i = 0; i < 5; i++)
		CHECK_STR(out->ts[i], want[i]);
	CHECK_INT(out->base_ts, 5000); /* the greatest, not the last */
	CHECK_INT(k->result.messages[0].max_ts, 5000);
	CHECK_INT(k->result.messages[0].min_ts, 1001);
}

TEST(merging_stops_at_the_limit_and_a_greater_part_goes_alone)
{
	AUTO(kit_free) struct kit *k = kit_new();
	struct kit_column v = {.type = 101, .id = 100, .dim = 64};
	size_t rows = 0, want = 0, seq = 100;

	k->conf.merge_limit = 4096;
	for (int i = 0; i < 200; i++) {
		int n = i == 77 ? 40 : 1 + i % 3; /* 256 bytes a row */

		insert(k, 1000 + (cdc_ts)i, i, n, &v, 1);
		want += (size_t)n;
	}
	kit_run(k);
	CHECK(k->result.message_count > 24 && k->result.message_count < 40);
	for (size_t i = 0; i < k->result.message_count; i++) {
		const struct out_message *m = &k->result.messages[i];

		got_out(k->arena, m);
		CHECKF(m->size <= 4096 || m->rows == 40, "message %zu has %zu bytes", i, m->size);
		CHECK(i == 0 ? m->first_seq == 100 : (size_t)m->first_seq > seq);
		seq = (size_t)m->first_seq;
		rows += m->rows;
	}
	CHECK_INT(rows, want);
	k->conf.merge_limit = 0;
	kit_run(k);
	CHECK_INT(k->result.message_count, 200);
}

/* What a limit is for: a message may not be greater, whatever the parts are made of. */
TEST(a_merged_message_is_never_greater_than_the_limit)
{
	struct kit_column columns[32];

	for (int style = KIT_PACKED; style <= KIT_CHUNKS; style++) {
		for (size_t limit = 900; limit < 5000; limit += 331) {
			AUTO(kit_free) struct kit *k = kit_new();
			size_t n = kit_all_types(columns, style, KIT_COMPACT);

			k->conf.merge_limit = limit;
			for (int i = 0; i < 12; i++) {
				insert(k, 1000, i, 1, columns, n);
				k->out[i] = 1000 + ((cdc_ts)i << (5 * i));
			}
			kit_run(k);
			for (size_t i = 0; i < k->result.message_count; i++) {
				got_out(k->arena, &k->result.messages[i]);
				CHECK(k->result.messages[i].size <= limit || k->result.messages[i].rows == 1);
			}
		}
	}
}

static void mixed(struct kit *k)
{
	static struct kit_column columns[32];
	size_t n;

	for (int i = 0; i < 60; i++) {
		n = kit_all_types(columns, i % 3, KIT_COMPACT);
		struct kit_msg m = {.ts = 1000 + (cdc_ts)(i / 4),
				    .first = i * 9,
				    .rows = 1 + i % 5,
				    .columns = columns,
				    .column_count = i % 7 ? n : 1,
				    .shard = i % 2,
				    .partition = 91 + i % 3 / 2,
				    .collection = i % 11 == 10 ? 8 : 0,
				    .msg_id = (uint64_t)i + 1};

		if (m.collection)
			m.partition = 81;
		if (i % 4 == 3)
			kit_delete(k, &m);
		else
			kit_insert(k, &m);
	}
}

/* J6: a repeat of the window, in another process, is the same bytes and IDs, whatever lies around it. */
TEST(J6_the_same_window_gives_the_same_bytes)
{
	AUTO(kit_free) struct kit *a = kit_new(), *b = kit_new();

	mixed(a);
	arena_alloc(b->arena, 12345); /* other addresses */
	mixed(b);
	a->conf.merge_limit = b->conf.merge_limit = 3000;
	kit_run(a);
	kit_run(b);
	CHECK(a->result.message_count > 20 && a->result.message_count < 50);
	CHECK_INT(a->result.message_count, b->result.message_count);
	for (size_t i = 0; i < a->result.message_count; i++) {
		const struct out_message *x = &a->result.messages[i], *y = &b->result.messages[i];

		CHECK(x->msg_id == y->msg_id && x->size == y->size && memcmp(x->body, y->body, x->size) == 0);
		CHECK(x->min_ts == y->min_ts && x->max_ts == y->max_ts && x->first_seq == y->first_seq);
		for (size_t j = 0; j < i; j++)
			CHECK(a->result.messages[j].msg_id != x->msg_id);
	}
}

/* Another cut of the same entries: what is in the same parts has the same ID, all else has another. */
TEST(J6_a_merged_id_stands_for_its_parts_in_order)
{
	AUTO(kit_free) struct kit *k = kit_new();
	uint64_t all, two, swapped;
	struct entry e;

	for (int i = 0; i < 3; i++)
		insert(k, 1000, i, 1, &pk, 1);
	run_for(k, 1, 0);
	all = k->result.messages[0].msg_id;
	run_for(k, 1, 0);
	CHECK(k->result.messages[0].msg_id == all);
	k->n = 2;
	run_for(k, 1, 0);
	two = k->result.messages[0].msg_id;
	CHECK(two != all);
	e = k->entries[0];
	k->entries[0] = k->entries[1];
	k->entries[1] = e;
	run_for(k, 1, 0);
	swapped = k->result.messages[0].msg_id;
	CHECK(swapped != two);
	k->n = 1; /* alone: the ID that it has without merging */
	run_for(k, 1, 0);
	two = k->result.messages[0].msg_id;
	k->conf.merge_limit = 0;
	run_for(k, 1, 0);
	CHECK(k->result.messages[0].msg_id == two);
}

TEST_MAIN()
