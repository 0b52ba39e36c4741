/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of an ordinary Milvus in memory: takes the bodies of Upsert and Delete requests, read by
 * cdc/pb.h alone, with the server's meaning: a row is a key in a partition, with a partition key a key
 * alone; a Delete without a partition is for all. A row's value is the text of its Int64 column "val".
 * Any thread, one at a time; what no server would take (a key twice in one request) is in `fault`.
 */
#ifndef FAKE_ROWS_H
#define FAKE_ROWS_H

#include <cdc/pb.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define FAKE_ROWS 4096

struct fake_row {
	char collection[64], partition[64], key[64];
	int64_t value;
};
static struct {
	struct fake_row rows[FAKE_ROWS];
	size_t count, requests;
	char fault[256]; /* the first */
} fake_rows;

#define FAKE_ROWS_WANT(cond, ...) \
	do { \
		if (!(cond) && !*fake_rows.fault) \
			snprintf(fake_rows.fault, sizeof(fake_rows.fault), __VA_ARGS__); \
	} while (0)

static inline void fake_rows_put(const char *collection, const char *partition, const char *key,
				 int64_t value)
{
	struct fake_row *r = fake_rows.rows;

	for (; r < fake_rows.rows + fake_rows.count; r++)
		if (STREQ(r->collection, collection) && STREQ(r->partition, partition) && STREQ(r->key, key))
			break;
	if (r == fake_rows.rows + fake_rows.count)
		fake_rows.count++;
	snprintf(r->collection, sizeof(r->collection), "%s", collection);
	snprintf(r->partition, sizeof(r->partition), "%s", partition);
	snprintf(r->key, sizeof(r->key), "%.63s", key);
	r->value = value;
}

/* partition "": all of them. */
static inline void fake_rows_delete(const char *collection, const char *partition, const char *key)
{
	for (size_t i = fake_rows.count; i-- > 0;) {
		struct fake_row *r = &fake_rows.rows[i];

		if (STREQ(r->collection, collection) && STREQ(r->key, key) &&
		    (!*partition || STREQ(r->partition, partition)))
			*r = fake_rows.rows[--fake_rows.count];
	}
}

/* The texts of a column's scalars, numbers and strings; how many. */
static inline size_t fake_column(struct pb_bytes fd, char *name, char (*ret)[64])
{
	struct pb_reader in = pb_reader(fd.data, fd.size), scalars, list, numbers;
	struct pb_field f, kind, value;
	size_t n = 0;
	uint64_t v;

	while (pb_next(&in, &f) == 1) {
		if (f.number == 2)
			snprintf(name, 64, "%.*s", (int)f.size, (const char *)f.data);
		if (f.number != 3)
			continue;
		scalars = pb_reader(f.data, f.size);
		while (pb_next(&scalars, &kind) == 1) {
			list = pb_reader(kind.data, kind.size);
			while (pb_next(&list, &value) == 1) {
				if (kind.number == 6) {
					snprintf(ret[n++], 64, "\"%.*s\"", (int)value.size,
						 (const char *)value.data);
					continue;
				}
				numbers = pb_reader(value.data, value.size);
				while (pb_next_varint(&numbers, &v) == 1)
					snprintf(ret[n++], 64, "%" PRId64, (int64_t)v);
			}
		}
	}
	return n;
}

static inline void fake_rows_apply(const uint8_t *body, size_t size, bool is_delete, bool keyed)
{
	static char keys[FAKE_ROWS][64], values[FAKE_ROWS][64], texts[FAKE_ROWS][64];
	char collection[64] = "", partition[64] = "", name[64], *at, *save;
	struct pb_reader in = pb_reader(body, size);
	AUTO_BUF struct buf expr = {0};
	size_t key_count = 0, value_count = 0, n, rows = 0;
	struct pb_field f;
	int rc;

	while ((rc = pb_next(&in, &f)) == 1) {
		if (f.number == 3)
			snprintf(collection, sizeof(collection), "%.*s", (int)f.size, (const char *)f.data);
		if (f.number == 4)
			snprintf(partition, sizeof(partition), "%.*s", (int)f.size, (const char *)f.data);
		if (f.number == 7)
			rows = f.value;
		if (f.number != 5)
			continue;
		if (is_delete) {
			buf_add(&expr, f.data, f.size);
			continue;
		}
		n = fake_column((struct pb_bytes){f.data, f.size}, name, texts);
		if (STREQ(name, "id"))
			memcpy(keys, texts, (key_count = n) * 64);
		if (STREQ(name, "val"))
			memcpy(values, texts, (value_count = n) * 64);
	}
	FAKE_ROWS_WANT(rc == 0, "not a protobuf message");
	fake_rows.requests++;
	if (is_delete) {
		buf_addc(&expr, 0);
		FAKE_ROWS_WANT(strncmp((char *)expr.data, "id in [", 7) == 0, "expression %.200s",
			       (char *)expr.data);
		for (at = strtok_r((char *)expr.data + 7, ",]", &save); at; at = strtok_r(NULL, ",]", &save))
			snprintf(keys[key_count++], 64, "%s", at);
	} else {
		FAKE_ROWS_WANT(key_count == rows && value_count == rows, "%zu keys, %zu values, %zu rows",
			       key_count, value_count, rows);
	}
	FAKE_ROWS_WANT(!keyed || !*partition, "partition %s is named in spite of a partition key", partition);
	for (size_t i = 0; i < key_count; i++) {
		for (size_t k = 0; k < i; k++)
			FAKE_ROWS_WANT(!STREQ(keys[i], keys[k]), "key %.63s is in a request twice", keys[i]);
		if (is_delete)
			fake_rows_delete(collection, partition, keys[i]);
		else
			fake_rows_put(collection, keyed || *partition ? partition : "_default", keys[i],
				      strtoll(values[i], NULL, 10));
	}
}

#endif
