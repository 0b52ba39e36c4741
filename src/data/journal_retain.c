/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Beginning, sealing and removing segments, and the limit on the disk. A segment is sealed when it is
 * not the newest and no cursor has it open (R15); it is removed whole, oldest first (J3).
 */
#include "journal_priv.h"

#include <cdc/worker.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGES_OF_A_CUT ((int64_t)256 << 10) /* beside the bodies: rows, positions, half-full pages */

void journal_measure(struct journal *j)
{
	j->w.seg->bytes = file_bytes(j->w.seg->path, &j->w.wal_file);
}

static int64_t bytes_of_all(const struct journal *j)
{
	int64_t bytes = 0;

	for (size_t i = 0; i < j->count; i++)
		bytes += j->segments[i]->bytes;
	return bytes;
}

/* What may be on disk after a cut of `more` bytes: until the WAL is empty it is there twice. */
static int64_t bytes_with(const struct journal *j, int64_t more)
{
	return bytes_of_all(j) + j->w.wal_file + 2 * more + PAGES_OF_A_CUT;
}

int journal_room(struct journal *j, int64_t more, struct err *err)
{
	bool emptied = j->emptied;

	j->wanted = 0;
	j->emptied = false;
	if (j->max_size <= 0 || bytes_with(j, more) <= j->max_size)
		return 0;
	if (j->w.seg && j->w.wal_file > 0) {
		writer_checkpoint(j, SQLITE_CHECKPOINT_TRUNCATE, NULL);
		journal_measure(j);
	}
	/* a cut that never fits must not wait for ever: alone it may go beyond the limit (J8) */
	if (bytes_with(j, more) <= j->max_size || emptied)
		return 0;
	j->wanted = more > 0 ? more : 1;
	return err_set(err, ERR_JOURNAL_FULL,
		       "journal %s holds %" PRId64 " of at most %" PRId64
		       " bytes and the next cut has %" PRId64
		       ". Reading waits (the source keeps the data) until the target has applied more; "
		       "if the limit is too small, raise it",
		       j->dir, bytes_of_all(j), j->max_size, more);
}

int journal_rotate(struct journal *j, struct err *err)
{
	struct segment *seg = segment_new(j, journal_next_seq(j, j->head.last_seq));
	int rc = segment_create(j, seg, err);

	if (rc < 0) {
		segment_free(seg);
		return rc;
	}
	if (j->w.seg)
		journal_measure(j);
	writer_close(j);
	j->dirty = false;
	seg->bytes = file_bytes(seg->path, NULL);
	pthread_mutex_lock(&j->lock);
	j->segments = xrealloc(j->segments, (j->count + 1) * sizeof(*j->segments));
	j->segments[j->count++] = seg;
	pthread_mutex_unlock(&j->lock);
	rc = writer_open(j, seg, err);
	journal_seal(j);
	return rc;
}

/* The answer is a row, but the change commits only when the statement ends. */
static bool leave_wal(sqlite3 *db)
{
	sqlite3_stmt *s = NULL;
	const char *mode;
	bool done = false;

	if (sqlite3_prepare_v2(db, "PRAGMA journal_mode=DELETE", -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW) {
		mode = (const char *)sqlite3_column_text(s, 0);
		done = mode && STREQ(mode, "delete") && sqlite3_step(s) == SQLITE_DONE;
	}
	sqlite3_finalize(s);
	return done;
}

/* Everything into the database file, no WAL, read-only. False: not now. */
static bool seal(struct journal *j, struct segment *seg)
{
	bool done;

	if (!seg->db &&
	    (chmod(seg->path, 0640) < 0 || segment_open_db(j, seg->path, false, &seg->db, NULL) < 0))
		return false;
	if (sqlite3_wal_checkpoint_v2(seg->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) != SQLITE_OK)
		return false;
	CRASH_POINT("journal_sealing");
	if (!leave_wal(seg->db) || sqlite3_close(seg->db) != SQLITE_OK)
		return false;
	seg->db = NULL;
	done = chmod(seg->path, 0440) == 0;
	seg->bytes = file_bytes(seg->path, NULL);
	return done;
}

void journal_seal(struct journal *j)
{
	for (size_t i = 0; i + 1 < j->count; i++) {
		struct segment *seg = j->segments[i];
		bool mine, done;

		pthread_mutex_lock(&j->lock);
		mine = !seg->sealed && seg->readers == 0;
		seg->sealing = mine;
		pthread_mutex_unlock(&j->lock);
		if (!mine)
			continue;
		done = seal(j, seg);
		pthread_mutex_lock(&j->lock);
		seg->sealed = done;
		seg->sealing = false;
		pthread_cond_broadcast(&j->changed);
		pthread_mutex_unlock(&j->lock);
	}
}

/* Written last more than keep_s ago; a journal without room keeps nothing for its age alone. */
static bool old_enough(const struct journal *j, const struct segment *seg)
{
	struct stat st;

	if (j->wanted && bytes_with(j, j->wanted) > j->max_size)
		return true;
	return stat(seg->path, &st) == 0 && clock_real_ms() / 1000 - st.st_mtime >= j->keep_s;
}

/* Takes the oldest segment out of the list. False: it is still needed. */
static bool take_oldest(struct journal *j, int64_t applied_seq, struct segment **ret)
{
	struct segment *seg = j->segments[0];
	bool ok;

	/* all its entries are below the name of the next */
	if (j->segments[1]->first - 1 > applied_seq || !old_enough(j, seg))
		return false;
	pthread_mutex_lock(&j->lock);
	ok = seg->sealed && seg->readers == 0;
	if (ok) {
		j->count--;
		memmove(j->segments, j->segments + 1, j->count * sizeof(*j->segments));
	}
	pthread_mutex_unlock(&j->lock);
	*ret = seg;
	return ok;
}

/* The name of a removed segment is free again in the list only when the file is gone. */
static void put_back(struct journal *j, struct segment *seg)
{
	pthread_mutex_lock(&j->lock);
	memmove(j->segments + 1, j->segments, j->count * sizeof(*j->segments));
	j->segments[0] = seg;
	j->count++;
	pthread_mutex_unlock(&j->lock);
}

int journal_trim(struct journal *j, int64_t applied_seq, struct err *err)
{
	struct segment *seg;
	int removed = 0, rc = 0;

	if (j->count > 1)
		journal_seal(j);
	/* the newest two stay: the older one is where a damaged newest one is read again from (R16) */
	while (j->count > 2 && take_oldest(j, applied_seq, &seg)) {
		if (unlink(seg->path) < 0 && errno != ENOENT) {
			rc = err_set(err, ERR_JOURNAL_IO, "%s: cannot remove: %s", seg->path,
				     strerror(errno));
			put_back(j, seg);
			break;
		}
		CRASH_POINT("journal_removed");
		segment_free(seg);
		removed++;
	}
	if (removed) {
		int synced = dir_sync(j->dir, rc < 0 ? NULL : err);

		rc = rc < 0 ? rc : synced;
	}
	j->emptied = rc == 0 && j->wanted && applied_seq >= j->head.last_seq;
	journal_publish(j);
	return rc < 0 ? rc : removed;
}
