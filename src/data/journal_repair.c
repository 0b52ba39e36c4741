/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage (J7, R16): the journal is cut back to the last whole segment before the damage, and what is lost
 * is read again from the source as after a lost tail (R13). Nothing is deleted: files go to quarantine/.
 */
#include "journal_priv.h"

#include <dirent.h>
#include <cdc/worker.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct files {
	int64_t *first; /* the names' numbers, sorted */
	size_t count;
};

static int by_number(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int list(const char *dir, struct files *ret, struct err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return err_set(err, ERR_JOURNAL_IO, "%s: cannot be read: %s", dir, strerror(errno));
	while ((e = readdir(d))) {
		int64_t n = segment_number(e->d_name);

		if (n <= 0)
			continue;
		ret->first = xrealloc(ret->first, (ret->count + 1) * sizeof(*ret->first));
		ret->first[ret->count++] = n;
	}
	closedir(d);
	if (ret->count)
		qsort(ret->first, ret->count, sizeof(*ret->first), by_number);
	return 0;
}

static void name_of(char *ret, size_t n, const char *dir, int64_t first, const char *suffix)
{
	snprintf(ret, n, "%s/%0*lld.db%s", dir, SEGMENT_DIGITS, (long long)first, suffix);
}

/* Every entry above `after`, one by one, against its checksum; and none is missing. */
static int check_entries(sqlite3 *db, const char *path, int64_t after, const struct head *head,
			 struct err *err)
{
	int64_t next = 0;
	sqlite3_blob *blob = NULL;
	sqlite3_stmt *s;
	struct entry e;
	int rc;

	rc = sql_prepare(db, path, "SELECT " ENTRY_COLUMNS " FROM entry WHERE seq > ? ORDER BY seq", &s, err);
	if (rc < 0)
		return rc;
	sqlite3_bind_int64(s, 1, after);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		if ((rc = entry_load(db, path, s, &blob, NULL, &e, err)) < 0)
			goto out;
		if (next && e.seq != next) {
			rc = sql_bad(path, err, "entry %lld is missing", (long long)next);
			goto out;
		}
		next = e.seq + 1;
	}
	if (rc != SQLITE_DONE)
		rc = sql_fail(db, rc, path, "check", err);
	else if (next && next - 1 != head->last_seq)
		rc = sql_bad(path, err, "it ends at entry %lld, not %lld", (long long)next - 1,
			     (long long)head->last_seq);
	else
		rc = 0;
out:
	if (blob)
		sqlite3_blob_close(blob);
	sqlite3_finalize(s);
	return rc;
}

/* What no entry lies in is damaged, too, if the next write would meet it. */
static int check_pages(sqlite3 *db, const char *path, struct err *err)
{
	sqlite3_stmt *s;
	int rc = sql_prepare(db, path, "PRAGMA integrity_check(1)", &s, err);
	const char *found;

	if (rc < 0)
		return rc;
	rc = sqlite3_step(s);
	found = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;
	if (rc != SQLITE_ROW)
		rc = sql_fail(db, rc, path, "check", err);
	else
		rc = found && STREQ(found, "ok") ? 0 : sql_bad(path, err, "%.200s", found ? found : "?");
	sqlite3_finalize(s);
	return rc;
}

/* A file of which *last is the end, and everything up to its first cut belongs into older ones. */
static int check_joint(sqlite3 *db, const char *path, int64_t *last, const struct head *head, struct err *err)
{
	sqlite3_stmt *s;
	int rc = sql_prepare(db, path, "SELECT last_seq FROM cut ORDER BY id LIMIT 1", &s, err);
	int64_t base;

	if (rc < 0)
		return rc;
	rc = sqlite3_step(s);
	base = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
	sqlite3_finalize(s);
	if (rc != SQLITE_ROW)
		return sql_fail(db, rc, path, "check", err);
	if (base > *last)
		return sql_bad(path, err, "the file before it is gone, with the entries %lld to %lld",
			       (long long)*last + 1, (long long)base);
	if (head->last_seq > *last)
		*last = head->last_seq;
	return 0;
}

/* last: of the files before; grows. */
static int check_file(const char *path, int64_t first, int64_t after, int64_t *last, struct err *err)
{
	struct journal j = {0};
	struct segment *seg = xcalloc(1, sizeof(*seg));
	sqlite3 *db = NULL;
	int rc;

	seg->path = xstrdup(path);
	seg->first = first;
	if ((rc = segment_probe(path, err)) >= 0 && (rc = segment_open_db(&j, path, true, &db, err)) >= 0 &&
	    (rc = segment_load(&j, seg, db, err)) >= 0 && rc != SEGMENT_VOID &&
	    (rc = check_joint(db, path, last, &j.head, err)) >= 0 && (rc = check_pages(db, path, err)) >= 0)
		rc = check_entries(db, path, after, &j.head, err);
	sqlite3_close(db);
	segment_free(seg);
	journal_forget(&j);
	return rc;
}

/* The files of a segment; a WAL fits any database, so they keep one name. */
static const char *const suffix[] = {"", "-wal", "-shm"};

/* copy: what stands between the name and the suffix in quarantine/. */
static void name_aside(char *ret, size_t n, const char *away, int64_t first, const char *copy, size_t i)
{
	char tail[32];

	snprintf(tail, sizeof(tail), "%s%s", copy, suffix[i]);
	name_of(ret, n, away, first, tail);
}

static bool is_free(const char *away, int64_t first, const char *copy)
{
	char path[4096];

	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		name_aside(path, sizeof(path), away, first, copy, i);
		if (access(path, F_OK) == 0)
			return false;
	}
	return true;
}

/*
 * A journal that went back writes files of the same names again, so a set that finds its name taken gets a
 * number: what was put aside before stays, and no WAL comes beside a database that it is not of.
 */
static int set_aside(const char *dir, int64_t first, struct err *err)
{
	AUTO_FREE char *away = xasprintf("%s/quarantine", dir);
	char from[4096], to[4096], copy[16] = "";

	if (mkdir(away, 0750) < 0 && errno != EEXIST)
		return err_set(err, ERR_JOURNAL_IO, "%s: cannot be made: %s", away, strerror(errno));
	for (int n = 1; !is_free(away, first, copy); n++)
		snprintf(copy, sizeof(copy), ".%d", n);
	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		name_of(from, sizeof(from), dir, first, suffix[i]);
		name_aside(to, sizeof(to), away, first, copy, i);
		if (rename(from, to) < 0 && errno != ENOENT)
			return err_set(err, ERR_JOURNAL_IO, "%s: cannot be moved to %s: %s", from, to,
				       strerror(errno));
		CRASH_POINT("repair_moved");
	}
	return 0;
}

/* The newest file first: what is left is a journal at every moment. */
static int cut_back(const char *dir, const struct files *f, size_t bad, struct err *err)
{
	int rc;

	for (size_t i = f->count; i-- > bad;)
		if ((rc = set_aside(dir, f->first[i], err)) < 0)
			return rc;
	return dir_sync(dir, err);
}

int journal_repair(const char *dir, int64_t after, struct err *err)
{
	struct files f = {0};
	int64_t last = after;
	char path[4096];
	int rc;

	if ((rc = list(dir, &f, err)) < 0)
		return rc;
	for (size_t i = 0; i < f.count; i++) {
		if (i + 1 < f.count && f.first[i + 1] - 1 <= after)
			continue; /* nobody needs its entries any more */
		name_of(path, sizeof(path), dir, f.first[i], "");
		rc = check_file(path, f.first[i], after, &last, err);
		if (rc == -ERR_JOURNAL_IO)
			break; /* not to be judged now */
		if (rc != -ERR_JOURNAL_BAD)
			continue;
		if (i == 0) {
			err_prefix(err,
				   "no whole journal file is before the damaged one, make the task anew");
			break;
		}
		if ((rc = cut_back(dir, &f, i, err)) >= 0)
			rc = 1;
		break;
	}
	free(f.first);
	return rc < 0 ? rc : rc > 0;
}
