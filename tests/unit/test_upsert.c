/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows -> Upsert and Delete requests. The judge of the reduction is a model that does one operation of
 * the source after another; the judge of the bytes is the naive decoder of the rewriting tests.
 */
#include "rewrite_read.h"
#include "upsert_kit.h"

static char *pname[] = {(char *)"_default", (char *)"a", (char *)"b", (char *)"gone"};

static struct {
	struct arena *arena;
	struct partition_pair partitions[4];
	struct target_collection c;
	struct upsert_schema schema;
	struct upsert_plan plan;
	struct err err;
} fx;

static void setup(size_t partitions, bool strings, bool keyed)
{
	memset(&fx, 0, sizeof(fx));
	memset(&fake_rows, 0, sizeof(fake_rows));
	fx.arena = arena_new();
	for (int i = 0; i < 4; i++)
		fx.partitions[i] = (struct partition_pair){91 + i, 9001 + i, pname[i], i == 3};
	fx.c = (struct target_collection){.source_id = 9,
					  .target_id = 900,
					  .db = (char *)"tdb",
					  .name = (char *)"c9",
					  .partitions = fx.partitions,
					  .partition_count = partitions};
	fx.schema = (struct upsert_schema){
		.collection_id = 9, .collection = &fx.c, .key = "id", .string_key = strings, .keyed = keyed};
}

static void plan_of(const struct entry *e, size_t n, size_t limit)
{
	CHECKF(upsert_plan(&fx.schema, 1, e, n, limit, fx.arena, &fx.plan, &fx.err) == 0, "%s", fx.err.text);
}

static void send(struct upsert_request *const *r, size_t n)
{
	for (size_t i = 0; i < n; i++) { /* in any order: the last first */
		AUTO_BUF struct buf b = {0};

		upsert_write(r[n - 1 - i], &b);
		fake_rows_apply(b.data, b.len, r[n - 1 - i]->is_delete, fx.schema.keyed);
		CHECKF(!*fake_rows.fault, "%s", fake_rows.fault);
	}
}

static void send_all(void)
{
	send(fx.plan.deletes, fx.plan.delete_count);
	send(fx.plan.upserts, fx.plan.upsert_count);
}

static struct entry message(enum kind kind, cdc_ts ts, int64_t partition, const int *keys, int n,
			    int64_t value)
{
	return up_entry(fx.arena, &(struct up_message){.kind = kind,
						       .ts = ts,
						       .seq = (int64_t)ts,
						       .collection = 9,
						       .partition = partition,
						       .vchannel = "src-dml_0_9v0",
						       .strings = fx.schema.string_key,
						       .keys = keys,
						       .n = n,
						       .first_value = value});
}

#define KEYS(...) (const int[]){__VA_ARGS__}, (int)ARRAY_LEN(((const int[]){__VA_ARGS__}))

static int64_t value_of(const char *partition, const char *key)
{
	for (size_t i = 0; i < fake_rows.count; i++)
		if (STREQ(fake_rows.rows[i].partition, partition) && STREQ(fake_rows.rows[i].key, key))
			return fake_rows.rows[i].value;
	return -1;
}

TEST(R28_the_halves_of_an_upsert_become_one_upsert)
{
	setup(2, false, false);
	struct entry e[] = {message(KIND_DELETE, 5, 91, KEYS(1, 2), 0),
			    message(KIND_INSERT, 5, 91, KEYS(1, 2), 10)};

	plan_of(e, 2, 1 << 20);
	CHECK_INT(fx.plan.delete_count, 0);
	CHECK_INT(fx.plan.upsert_count, 1);
	send_all();
	CHECK_INT(value_of("_default", "1"), 10);
	CHECK_INT(value_of("_default", "2"), 11);
	arena_free(fx.arena);
}

TEST(R28_a_delete_after_an_upsert_leaves_the_delete)
{
	setup(2, false, false);
	struct entry e[] = {message(KIND_INSERT, 5, 91, KEYS(1, 2), 10),
			    message(KIND_DELETE, 6, -1, KEYS(2), 0)};

	fake_rows_put("c9", "a", "2", 1);
	plan_of(e, 2, 1 << 20);
	CHECK_INT(fx.plan.delete_count, 1);
	send_all();
	CHECK_INT(fake_rows.count, 1);
	CHECK_INT(value_of("_default", "1"), 10);
	arena_free(fx.arena);
}

TEST(R28_a_key_twice_in_a_message_is_sent_once_the_last_wins)
{
	setup(1, false, false);
	struct entry e = message(KIND_INSERT, 5, 91, KEYS(7, 7, 3, 7), 10);

	plan_of(&e, 1, 1 << 20);
	CHECK_INT(fx.plan.upserts[0]->rows, 2);
	send_all();
	CHECK_INT(value_of("_default", "7"), 13);
	CHECK_INT(value_of("_default", "3"), 12);
	arena_free(fx.arena);
}

TEST(a_delete_reaches_the_partitions_that_it_reached_at_the_source)
{
	setup(3, false, false);
	fake_rows_put("c9", "_default", "1", 1);
	fake_rows_put("c9", "a", "1", 2);
	fake_rows_put("c9", "b", "1", 3);
	struct entry one = message(KIND_DELETE, 5, 92, KEYS(1), 0),
		     all = message(KIND_DELETE, 6, -1, KEYS(1), 0),
		     zero = message(KIND_DELETE, 7, 0, KEYS(1), 0),
		     moved = message(KIND_INSERT, 8, 93, KEYS(1), 9);

	plan_of(&one, 1, 1 << 20);
	send_all();
	CHECK_INT(fake_rows.count, 2);
	CHECK_INT(value_of("a", "1"), -1);
	plan_of((struct entry[]){all, moved}, 2, 1 << 20); /* the delete must stay: it is for the others */
	CHECK_INT(fx.plan.delete_count, 1);
	send_all();
	CHECK_INT(fake_rows.count, 1);
	CHECK_INT(value_of("b", "1"), 9);
	plan_of(&zero, 1, 1 << 20);
	send_all();
	CHECK_INT(fake_rows.count, 0);
	arena_free(fx.arena);
}

TEST(rows_of_what_was_dropped_are_left_out_in_silence)
{
	setup(4, false, false);
	struct entry e[] = {message(KIND_INSERT, 5, 94, KEYS(1), 10),
			    message(KIND_DELETE, 6, 94, KEYS(1), 0)};

	plan_of(e, 2, 1 << 20);
	CHECK_INT(fx.plan.upsert_count + fx.plan.delete_count + fx.plan.refusal_count, 0);
	fx.c.dropped = true;
	e[0] = message(KIND_INSERT, 5, 91, KEYS(1), 10);
	plan_of(e, 1, 1 << 20);
	CHECK_INT(fx.plan.upsert_count + fx.plan.refusal_count, 0);
	arena_free(fx.arena);
}

TEST(R23_what_cannot_be_sent_is_refused_from_there_on)
{
	setup(2, false, false);
	struct entry e[] = {message(KIND_INSERT, 5, 91, KEYS(1), 10),
			    message(KIND_INSERT, 6, 91, KEYS(2), 20),
			    message(KIND_INSERT, 7, 91, KEYS(3), 30)};

	e[1].size--;
	plan_of(e, 3, 1 << 20);
	CHECK_INT(fx.plan.refusal_count, 1);
	CHECK_INT(fx.plan.refusals[0].seq, 6);
	send_all();
	CHECK_INT(fake_rows.count, 1);
	fx.schema.string_key = true; /* the target's key is of another type */
	plan_of(e, 1, 1 << 20);
	CHECK(strstr(fx.plan.refusals[0].reason, "the primary key id is not there for each row as strings"));
	fx.schema = (struct upsert_schema){.collection_id = 9, .reason = "it is gone"};
	plan_of(e, 3, 1 << 20);
	CHECK_INT(fx.plan.refusals[0].seq, 5);
	CHECK(strstr(fx.plan.refusals[0].reason, "it is gone"));
	arena_free(fx.arena);
}

TEST(requests_are_cut_by_size_and_small_messages_joined)
{
	static int keys[1000];
	struct entry e[20];
	size_t rows = 0;

	setup(1, false, false);
	for (int i = 0; i < 1000; i++)
		keys[i] = i;
	for (int i = 0; i < 20; i++)
		e[i] = message(KIND_INSERT, 5, 91, keys + 50 * i, 50, 50 * i);
	plan_of(e, 20, 1 << 20);
	CHECK_INT(fx.plan.upsert_count, 1);
	plan_of(e, 20, 700); /* less than a message */
	CHECKF(fx.plan.upsert_count > 20, "%zu", fx.plan.upsert_count);
	for (size_t i = 0; i < fx.plan.upsert_count; i++) {
		AUTO_BUF struct buf b = {0};

		upsert_write(fx.plan.upserts[i], &b);
		CHECKF(b.len < 800, "%zu", b.len);
		rows += fx.plan.upserts[i]->rows;
	}
	CHECK_INT(rows, 1000);
	send_all();
	CHECK_INT(fake_rows.count, 1000);
	for (int i = 0; i < 1000; i++)
		CHECK_INT(fake_rows.rows[i].value, strtoll(fake_rows.rows[i].key, NULL, 10));
	plan_of(e, 20, 1); /* a row is never split */
	CHECK_INT(fx.plan.upsert_count, 1000);
	arena_free(fx.arena);
}

/* --- the model ----------------------------------------------------------------------------------- */

static uint32_t seed;
static int dice(int n)
{
	seed = seed * 1664525 + 1013904223;
	return (int)((seed >> 8) % (uint32_t)n);
}

static void text_of(int key, char *ret)
{
	snprintf(ret, 64, fx.schema.string_key ? "\"k%d\"" : "%d", key);
}

/* What the operation means to a server, row by row. */
static void model(const struct up_message *m)
{
	char key[64];

	for (int i = 0; i < m->n; i++) {
		const char *partition = m->partition > 0 && !fx.schema.keyed ? pname[m->partition - 91] : "";

		text_of(m->keys[i], key);
		if (m->kind == KIND_DELETE)
			fake_rows_delete("c9", partition, key);
		else
			fake_rows_put("c9", partition, key, m->first_value + i);
	}
}

static int by_row(const void *a, const void *b)
{
	const struct fake_row *x = a, *y = b;
	int c = strcmp(x->partition, y->partition);

	return c ? c : strcmp(x->key, y->key);
}

static struct fake_row *rows_now(size_t *n)
{
	qsort(fake_rows.rows, *n = fake_rows.count, sizeof(fake_rows.rows[0]), by_row);
	return xmemdup(fake_rows.rows, *n * sizeof(fake_rows.rows[0]));
}

static void same_rows(const struct fake_row *want, size_t n, const char *when, uint32_t run)
{
	CHECKF(fake_rows.count == n, "run %u, %s: %zu rows, want %zu", run, when, fake_rows.count, n);
	qsort(fake_rows.rows, n, sizeof(fake_rows.rows[0]), by_row);
	for (size_t i = 0; i < n; i++)
		CHECKF(by_row(&want[i], &fake_rows.rows[i]) == 0 && want[i].value == fake_rows.rows[i].value,
		       "run %u, %s: %s/%s is %lld, want %s/%s %lld", run, when, fake_rows.rows[i].partition,
		       fake_rows.rows[i].key, (long long)fake_rows.rows[i].value, want[i].partition,
		       want[i].key, (long long)want[i].value);
}

static void random_window(uint32_t run)
{
	static int keys[60][8];
	struct entry e[60];
	int n = 1 + dice(60);
	size_t start_n, want_n;

	seed = run * 2654435761u;
	setup(1 + (size_t)dice(3), dice(2), dice(3) == 0);
	for (int i = dice(20); i-- > 0;) {
		char key[64];

		text_of(dice(6), key);
		fake_rows_put("c9", fx.schema.keyed ? "" : pname[dice((int)fx.c.partition_count)], key, -5);
	}
	AUTO_FREE struct fake_row *start = rows_now(&start_n);

	for (int i = 0; i < n; i++) {
		struct up_message m = {.kind = dice(2) ? KIND_INSERT : KIND_DELETE,
				       .ts = (cdc_ts)(10 + i / 2),
				       .seq = i + 1,
				       .collection = 9,
				       .partition = 91 + dice((int)fx.c.partition_count),
				       .vchannel = "src-dml_0_9v0",
				       .strings = fx.schema.string_key,
				       .keys = keys[i],
				       .n = 1 + dice(8),
				       .first_value = i * 100};

		for (int k = 0; k < m.n; k++)
			keys[i][k] = dice(6);
		if (m.kind == KIND_DELETE && dice(2))
			m.partition = dice(2) ? -1 : 0;
		e[i] = up_entry(fx.arena, &m);
		model(&m);
	}
	AUTO_FREE struct fake_row *want = rows_now(&want_n);

	memcpy(fake_rows.rows, start, start_n * sizeof(*start));
	fake_rows.count = start_n;
	plan_of(e, (size_t)n, dice(2) ? 1 << 20 : 100);
	CHECKF(fx.plan.refusal_count == 0, "%s", fx.plan.refusals[0].reason);
	send_all();
	same_rows(want, want_n, "once", run);
	send_all(); /* an answer was lost */
	same_rows(want, want_n, "repeated", run);
	plan_of(e, 1 + (size_t)dice(n), 1 << 20); /* from the start again, up to somewhere, and then all */
	send_all();
	plan_of(e, (size_t)n, 1 << 20);
	send_all();
	same_rows(want, want_n, "from the start", run);
	arena_free(fx.arena);
}

TEST(R28_any_window_ends_as_one_operation_after_the_other_would)
{
	for (uint32_t run = 1; run <= 3000; run++)
		random_window(run);
}

/* --- bytes --------------------------------------------------------------------------------------- */

static struct kit *wide;
static struct kit_column columns[40];

static struct got_column *column_named(struct got_column *c, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (STREQ(c[i].name, name))
			return &c[i];
	CHECKF(0, "no column %s", name);
	return NULL;
}

/* FieldData of a body, number `field`. */
static size_t decode(const uint8_t *p, size_t size, uint32_t field, struct got_column *ret)
{
	const uint8_t *end = p + size;
	struct got_field f;
	size_t n = 0;

	while (got_next(&p, end, &f))
		if (f.number == field && f.wire == 2)
			got_column(wide->arena, f.p, f.n, &ret[n++]);
	return n;
}

/* The rows of all messages, less those that a later one has. */
static void compare_rows(size_t count)
{
	static struct got_column want[64], got[64];
	AUTO_BUF struct buf body = {0};
	size_t m, n, at = 0;

	CHECK_INT(fx.plan.upsert_count, 1);
	upsert_write(fx.plan.upserts[0], &body);
	memset(got, 0, sizeof(got));
	n = decode(body.data, body.len, 5, got);
	CHECK_INT(n, count);
	for (size_t i = 0; i < wide->n; i++) {
		memset(want, 0, sizeof(want));
		m = decode(wide->entries[i].body, wide->entries[i].size, 13, want);
		CHECK_INT(m, count);
		for (uint32_t r = 0; r < wide->entries[i].rows; r++) {
			if (i == 0 && r >= 4 && r < 9) /* the second message has these */
				continue;
			for (size_t c = 0; c < m; c++) {
				struct got_column *to = column_named(got, n, want[c].name);
				const char *value = want[c].rows[r];

				if (strncmp(value, "null in slot", 12) == 0)
					value = "null"; /* a request has no slot for it */
				CHECKF(at < to->count && STREQ(to->rows[at], value),
				       "%s row %zu: %s, want %s", want[c].name, at,
				       at < to->count ? to->rows[at] : "-", value);
				CHECK_INT(to->type, want[c].type);
				CHECK_INT(to->dim, want[c].dim);
				CHECK_INT(to->dynamic, want[c].dynamic);
			}
			at++;
		}
	}
	CHECK_INT(fx.plan.upserts[0]->rows, at);
	for (size_t c = 0; c < n; c++)
		CHECK_INT(got[c].count, at);
}

TEST(every_type_is_cut_and_joined_row_by_row)
{
	static const int styles[] = {KIT_PACKED, KIT_SINGLE, KIT_CHUNKS};
	static const int forms[] = {KIT_PLAIN, KIT_SLOTS, KIT_COMPACT, KIT_FULL};

	for (size_t s = 0; s < ARRAY_LEN(styles); s++)
		for (size_t f = 0; f < ARRAY_LEN(forms); f++) {
			size_t n = kit_all_types(columns, styles[s], forms[f]);
			AUTO(kit_free) struct kit *k = wide = kit_new();

			setup(1, false, false);
			fx.schema.key = "key";
			columns[n] = (struct kit_column){
				.type = 5, .id = 900, .style = styles[s], .form = KIT_PLAIN, .name = "key"};
			/* twelve rows, five of them again */
			kit_insert(k, &(struct kit_msg){.ts = 1000,
							.rows = 12,
							.first = 1,
							.columns = columns,
							.column_count = n + 1,
							.style = styles[s]});
			kit_insert(k, &(struct kit_msg){.ts = 1001,
							.rows = 5,
							.first = 5,
							.columns = columns,
							.column_count = n + 1,
							.style = styles[s]});
			plan_of(k->entries, 2, 1 << 20);
			CHECKF(fx.plan.refusal_count == 0, "%s", fx.plan.refusals[0].reason);
			compare_rows(n + 1);
			arena_free(fx.arena);
		}
}

TEST(columns_that_the_target_computes_are_not_sent)
{
	AUTO(kit_free) struct kit *k = wide = kit_new();
	static struct got_column got[8];
	const char *outputs[] = {"f101"};
	AUTO_BUF struct buf body = {0};
	struct kit_column c[] = {
		{.type = 5, .id = 100}, {.type = 104, .id = 101, .dim = 3}, {.type = 1, .id = 102}};

	setup(1, false, false);
	fx.schema.key = "f100";
	fx.schema.outputs = outputs;
	fx.schema.output_count = 1;
	kit_insert(k, &(struct kit_msg){.ts = 1000, .rows = 3, .columns = c, .column_count = 3});
	plan_of(k->entries, 1, 1 << 20);
	CHECKF(fx.plan.refusal_count == 0, "%s", fx.plan.refusals[0].reason);
	upsert_write(fx.plan.upserts[0], &body);
	CHECK_INT(decode(body.data, body.len, 5, got), 2);
	CHECK_STR(got[1].name, "f102");
	arena_free(fx.arena);
}

static void expr_is(const char *want)
{
	AUTO_BUF struct buf b = {0};
	struct pb_reader in;
	struct pb_field f;

	upsert_write(fx.plan.deletes[0], &b);
	for (in = pb_reader(b.data, b.len); pb_next(&in, &f) == 1;)
		if (f.number == 5)
			CHECKF(f.size == strlen(want) && memcmp(f.data, want, f.size) == 0, "%.*s, want %s",
			       (int)f.size, (const char *)f.data, want);
}

TEST(keys_in_expressions_are_as_the_server_reads_them)
{
	static const char *const words[] = {"", "a\"b\\", "new\nline\x7f", "\xe6\x97\xa5"};
	AUTO(kit_free) struct kit *k = wide = kit_new();
	AUTO_BUF struct buf b = {0}, list = {0}, ids = {0}, times = {0};
	struct entry *e;

	setup(1, false, false);
	kit_delete(k, &(struct kit_msg){.ts = 1000, .rows = 2, .first = INT64_MIN});
	plan_of(k->entries, 1, 1 << 20);
	expr_is("id in [-9223372036854775807 - 1,-9223372036854775805]"); /* no literal for the least number
									   */
	fx.schema.string_key = true;
	k->n = 0;
	e = kit_entry(k, KIND_DELETE, &(struct kit_msg){.ts = 1000, .rows = 4});
	kit_put_head(&b, e, 401, 1);
	for (int i = 0; i < 4; i++) {
		pb_put_varint(&times, 1000);
		pb_put_string(&list, 1, words[i]);
	}
	pb_put_bytes(&b, 10, times.data, times.len);
	pb_put_uint(&b, 11, 4);
	pb_put_bytes(&ids, 2, list.data, list.len);
	pb_put_bytes(&b, 12, ids.data, ids.len);
	kit_take(k, e, &b);
	plan_of(k->entries, 1, 1 << 20);
	CHECKF(fx.plan.refusal_count == 0, "%s", fx.plan.refusals[0].reason);
	expr_is("id in [\"\",\"a\\\"b\\\\\",\"new\\012line\\177\",\"\xe6\x97\xa5\"]");
	arena_free(fx.arena);
}

TEST_MAIN()
