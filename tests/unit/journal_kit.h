/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts whose content follows from their number alone, so that any reader can tell whether what it
 * reads is what was appended. Cut k: watermark k*100, k % 3 + 1 entries at k*100-10.., unless k is a
 * multiple of 5 (then it is empty). Positions and state name k, too.
 */
#ifndef JOURNAL_KIT_H
#define JOURNAL_KIT_H

#include "../t.h"

#include <cdc/journal.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIT_BODY 3000

static inline int kit_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* A fresh folder, in memory where there is such a place; the same path each time in a process. */
static inline const char *kit_dir(void)
{
	static char dir[256];
	const char *tmp = getenv("TMPDIR");

	if (!tmp)
		tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	if (!dir[0])
		snprintf(dir, sizeof(dir), "%s/cdc-journal-%d", tmp, (int)getpid());
	nftw(dir, kit_remove, 16, FTW_DEPTH | FTW_PHYS);
	return dir;
}

static inline void kit_clean(void)
{
	kit_dir();
}

static inline bool kit_empty(int k)
{
	return k % 5 == 0;
}

static inline int kit_entries(int k)
{
	return kit_empty(k) ? 0 : k % 3 + 1;
}

/* Entries of the cuts 1..k. */
static inline int kit_total(int k)
{
	int n = 0;

	for (int i = 1; i <= k; i++)
		n += kit_entries(i);
	return n;
}

static inline int64_t kit_rows(int k)
{
	return 7 * (int64_t)kit_total(k);
}

static inline void kit_fill(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		p[i] = (uint8_t)(seed >> 24);
	}
}

static inline struct entry kit_entry(struct arena *a, int k, int i, size_t body)
{
	uint8_t *p = arena_alloc(a, body + 1);

	kit_fill(p, body, (unsigned)(k * 1000 + i));
	return (struct entry){
		.ts = (cdc_ts)k * 100 - 10 + (cdc_ts)i,
		.kind = i % 2 ? KIND_DELETE : KIND_INSERT,
		.db_id = 1,
		.collection_id = 440000000000000000 + k,
		.partition_id = -1,
		.db = "default",
		.collection = arena_printf(a, "c%d", k),
		.vchannel = arena_printf(a, "by-dev-rootcoord-dml_0_%dv0", k),
		.pchannel = "by-dev-rootcoord-dml_0",
		.id = {0, (uint64_t)(k * 10 + i)},
		.rows = 7,
		.body = p,
		.size = body,
	};
}

/* pad: more cuts with the same content need other bodies sizes; bytes of each body. */
static inline struct cut kit_cut(struct arena *a, int k, size_t body)
{
	int n = kit_entries(k);
	struct entry *e = arena_alloc(a, (size_t)(n + 1) * sizeof(*e));
	struct position *p = arena_alloc(a, 2 * sizeof(*p));
	struct state_row *s = arena_alloc(a, 3 * sizeof(*s));

	for (int i = 0; i < n; i++)
		e[i] = kit_entry(a, k, i, body);
	for (int i = 0; i < 2; i++) {
		/* in descending order: the journal sorts */
		snprintf(p[i].pchannel, sizeof(p[i].pchannel), "by-dev-rootcoord-dml_%d", 1 - i);
		p[i].next = (struct mq_id){0, (uint64_t)(k * 10 + 5)};
		p[i].ts = (cdc_ts)k * 100;
		p[i].guard.set = true;
		p[i].guard.id = (struct mq_id){1, (uint64_t)k};
		p[i].guard.time_ms = k;
		p[i].guard.hash = UINT64_MAX - (uint64_t)k;
	}
	s[0] = (struct state_row){"last", (const uint8_t *)arena_printf(a, "%d", k), 0};
	s[0].size = strlen((const char *)s[0].value);
	s[1] = (struct state_row){arena_printf(a, "coll/%d", k), (const uint8_t *)"x", 1};
	s[2] = (struct state_row){arena_printf(a, "coll/%d", k - 1), NULL, 0};
	return (struct cut){
		.watermark = (cdc_ts)k * 100,
		.revision = k,
		.entries = e,
		.entry_count = (size_t)n,
		.positions = p,
		.position_count = 2,
		.state = s,
		.state_count = n ? 3 : 0,
	};
}

static inline int kit_append(struct journal *j, int k, size_t body, struct err *err)
{
	AUTO(arena_free) struct arena *a = arena_new();
	struct cut c = kit_cut(a, k, body);

	return journal_append(j, &c, 1, err);
}

static inline bool kit_same(const struct entry *e, int k, int i, size_t body)
{
	AUTO(arena_free) struct arena *a = arena_new();
	struct entry w = kit_entry(a, k, i, body);

	return e->ts == w.ts && e->kind == w.kind && e->db_id == w.db_id &&
	       e->collection_id == w.collection_id && e->partition_id == w.partition_id &&
	       STREQ(e->db, w.db) && STREQ(e->collection, w.collection) && STREQ(e->vchannel, w.vchannel) &&
	       STREQ(e->pchannel, w.pchannel) && mq_id_cmp(e->id, w.id) == 0 && e->rows == w.rows &&
	       e->size == w.size && (w.size == 0 || memcmp(e->body, w.body, w.size) == 0);
}

/* The cut that the journal stands at, from its watermark; checks that everything else says the same. */
static inline int kit_check_head(struct journal *j)
{
	AUTO(arena_free) struct arena *a = arena_new();
	struct position *p;
	struct state_row *s;
	int k = (int)(journal_watermark(j) / 100), data = k;
	size_t n = journal_positions(j, a, &p), ns = journal_state(j, a, &s);

	CHECK_INT(journal_watermark(j) % 100, 0);
	CHECK_INT(journal_revision(j), k);
	CHECK_INT(n, k ? 2 : 0);
	for (size_t i = 0; i < n; i++) { /* J1: positions are those of the watermark */
		CHECK_STR(p[i].pchannel, i ? "by-dev-rootcoord-dml_1" : "by-dev-rootcoord-dml_0");
		CHECK_INT(p[i].ts, k * 100);
		CHECK_INT(p[i].next.lo, k * 10 + 5);
		CHECK(p[i].guard.set && p[i].guard.id.hi == 1 && p[i].guard.id.lo == (uint64_t)k);
		CHECK(p[i].guard.time_ms == k && p[i].guard.hash == UINT64_MAX - (uint64_t)k);
	}
	while (data > 0 && kit_empty(data))
		data--;
	/* only the newest collection is left, and those whose deletion was an empty cut's */
	for (size_t i = 0; i < ns; i++)
		if (STREQ(s[i].key, "last")) {
			char text[16];

			snprintf(text, sizeof(text), "%.*s", (int)s[i].size, (const char *)s[i].value);
			CHECKF(atoi(text) == data, "state says %s, want %d", text, data);
		}
	CHECK(data == 0 || ns >= 2);
	return k;
}

/* Reads everything after `from` (a cut whose entries are not read); expects cuts up to k. */
static inline void kit_check_entries(struct journal *j, int k, size_t body, int64_t first_seq,
				     size_t max_bytes)
{
	AUTO(journal_cursor_close) struct journal_cursor *c = NULL;
	int64_t seq = first_seq - 1;
	int cut = 1, i = 0;
	struct err err = {0};

	CHECK(journal_cursor_open(&c, j, &err) == 0);
	for (;;) {
		AUTO(arena_free) struct arena *a = arena_new();
		struct journal_batch b;

		CHECKF(journal_read(c, seq, max_bytes, 1000, a, &b, &err) == 0, "%s", err.text);
		CHECK(b.count || b.complete);
		for (size_t n = 0; n < b.count; n++, i++) {
			while (i == kit_entries(cut)) {
				cut++;
				i = 0;
			}
			CHECKF(kit_same(&b.entries[n], cut, i, body), "cut %d entry %d", cut, i);
			CHECK_INT(b.entries[n].seq, seq + 1); /* J2 */
			seq = b.entries[n].seq;
		}
		if (b.complete) {
			CHECK_INT(b.watermark, (cdc_ts)k * 100);
			break;
		}
		CHECK(b.next_ts >= b.entries[b.count - 1].ts);
	}
	CHECK_INT(seq, first_seq - 1 + kit_total(k));
}

static inline struct journal *kit_open(const struct journal_options *o, const char *dir)
{
	struct journal *j = NULL;
	struct err err = {0};

	CHECKF(journal_open(&j, dir, o, &err) == 0, "%s", err.text);
	return j;
}

static inline struct journal *kit_open_small(const char *dir) /* many segments */
{
	return kit_open(&(struct journal_options){.segment_size = 20000}, dir);
}

static inline void kit_add(struct journal *j, int k)
{
	struct err err = {0};

	CHECKF(kit_append(j, k, KIT_BODY, &err) == 0, "%s", err.text);
}

static inline char *kit_segment(const char *dir, int64_t first)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%020lld.db", dir, (long long)first);
	return path;
}

static inline int kit_files(const char *dir, const char *end)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d))) {
		size_t len = strlen(e->d_name), k = strlen(end);

		n += len > k && STREQ(e->d_name + len - k, end);
	}
	if (d)
		closedir(d);
	return n;
}

static inline int kit_sql(const char *path, const char *text, char *ret, size_t size)
{
	sqlite3 *db;
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_open(path, &db);

	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(db, text, -1, &s, NULL);
	if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW && ret) {
		size_t n = 0;

		ret[0] = 0;
		for (int i = 0; i < sqlite3_column_count(s) && n < size; i++)
			n += (size_t)snprintf(ret + n, size - n, "%s%s", i ? "|" : "",
					      (const char *)sqlite3_column_text(s, i));
	}
	sqlite3_finalize(s);
	sqlite3_close(db);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : rc;
}

static inline int kit_read_after(struct journal *j, int64_t after, struct err *err)
{
	AUTO(journal_cursor_close) struct journal_cursor *c = NULL;
	AUTO(arena_free) struct arena *a = arena_new();
	struct journal_batch b;

	CHECK(journal_cursor_open(&c, j, err) == 0);
	return journal_read(c, after, SIZE_MAX / 4, 100000, a, &b, err);
}

#endif
