/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal as a whole: opening a folder (the one recovery path), what it remembers in memory, and
 * waiting. See journal_priv.h for the other files and the locking rule.
 */
#include "journal_priv.h"

#include <cdc/worker.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEGMENT_SIZE_DEFAULT ((int64_t)256 << 20)

static int position_cmp(const void *a, const void *b)
{
	return strcmp(((const struct position *)a)->pchannel, ((const struct position *)b)->pchannel);
}

void positions_set(struct positions *p, const struct position *items, size_t n)
{
	struct position *copy = xmalloc(n * sizeof(*copy));

	if (n) {
		memcpy(copy, items, n * sizeof(*copy));
		qsort(copy, n, sizeof(*copy), position_cmp);
	}
	free(p->items);
	p->items = copy;
	p->count = n;
}

/* Index of key, or of the place where it belongs. */
static size_t state_find(const struct state *s, const char *key, bool *ret_found)
{
	size_t lo = 0, hi = s->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(s->items[mid].key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_found = lo < s->count && STREQ(s->items[lo].key, key);
	return lo;
}

void state_set(struct state *s, const char *key, const uint8_t *value, size_t size)
{
	bool found;
	size_t i = state_find(s, key, &found);
	struct state_item *it = s->items ? &s->items[i] : NULL;

	if (found && value) {
		free(it->value);
		it->value = xmemdup(value, size);
		it->size = size;
	} else if (found) {
		free(it->key);
		free(it->value);
		memmove(it, it + 1, (s->count - i - 1) * sizeof(*it));
		s->count--;
	} else if (value) {
		if (s->count == s->cap) {
			s->cap = s->cap ? s->cap * 2 : 16;
			s->items = xrealloc(s->items, s->cap * sizeof(*s->items));
		}
		it = &s->items[i];
		memmove(it + 1, it, (s->count - i) * sizeof(*it));
		*it = (struct state_item){xstrdup(key), xmemdup(value, size), size};
		s->count++;
	}
}

void journal_publish(struct journal *j)
{
	int64_t bytes = 0;

	pthread_mutex_lock(&j->lock);
	for (size_t i = 0; i < j->count; i++)
		bytes += j->segments[i]->bytes;
	j->stat.last_seq = j->head.last_seq;
	j->stat.first_seq = j->count && j->segments[0]->first <= j->head.last_seq ? j->segments[0]->first : 0;
	j->stat.watermark = j->head.watermark;
	j->stat.rows_captured = j->head.rows_total;
	j->stat.segments = (int)j->count;
	j->stat.bytes = bytes;
	pthread_cond_broadcast(&j->changed);
	pthread_mutex_unlock(&j->lock);
}

int64_t segment_number(const char *name)
{
	int64_t n = 0;

	if (strlen(name) != SEGMENT_DIGITS + 3 || !STREQ(name + SEGMENT_DIGITS, ".db"))
		return 0;
	for (int i = 0; i < SEGMENT_DIGITS; i++) {
		if (name[i] < '0' || name[i] > '9' || n > (INT64_MAX - 9) / 10)
			return 0;
		n = n * 10 + (name[i] - '0');
	}
	return n;
}

static int segment_cmp(const void *a, const void *b)
{
	const struct segment *x = *(struct segment *const *)a, *y = *(struct segment *const *)b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* A segment that did not get its name (journal_segment.c), and SQLite's files beside it. */
static bool half_made(const char *name)
{
	const char *dot = strstr(name, ".db.new");

	return dot && dot - name == SEGMENT_DIGITS && strspn(name, "0123456789") == SEGMENT_DIGITS;
}

/* remove: false: lists the segments; true: removes half-made ones. */
static int scan(struct journal *j, bool remove, struct err *err)
{
	DIR *d = opendir(j->dir);
	const struct dirent *e;

	if (!d)
		return err_set(err, ERR_JOURNAL_IO, "%s: cannot read the folder: %s", j->dir,
			       strerror(errno));
	while (errno = 0, (e = readdir(d))) {
		int64_t first = segment_number(e->d_name);
		struct segment *seg;
		struct stat st;
		int64_t wal;

		if (remove && half_made(e->d_name))
			unlinkat(dirfd(d), e->d_name, 0);
		if (remove || first <= 0)
			continue;
		seg = segment_new(j, first);
		seg->bytes = file_bytes(seg->path, &wal);
		seg->sealed = stat(seg->path, &st) == 0 && !(st.st_mode & 0222) && wal == 0;
		j->segments = xrealloc(j->segments, (j->count + 1) * sizeof(*j->segments));
		j->segments[j->count++] = seg;
	}
	if (errno) {
		closedir(d);
		return err_set(err, ERR_JOURNAL_IO, "%s: cannot read the folder: %s", j->dir,
			       strerror(errno));
	}
	closedir(d);
	if (j->count)
		qsort(j->segments, j->count, sizeof(*j->segments), segment_cmp);
	return 0;
}

/* Forgets and removes the newest file: nothing was ever committed in it. */
static int drop_void(struct journal *j, struct err *err)
{
	struct segment *seg = j->segments[j->count - 1];
	AUTO_FREE char *shm = xasprintf("%s-shm", seg->path), *wal = xasprintf("%s-wal", seg->path);

	if (unlink(seg->path) < 0)
		return err_set(err, ERR_JOURNAL_IO, "%s: cannot remove this half-made file: %s", seg->path,
			       strerror(errno));
	unlink(shm);
	unlink(wal);
	j->count--;
	segment_free(seg);
	return dir_sync(j->dir, err);
}

/*
 * Continues the newest segment. A sealed one (the newer was moved to quarantine) is only read: the
 * next append begins another. 0: done; SEGMENT_VOID: it holds nothing.
 */
static int resume(struct journal *j, struct segment *seg, struct err *err)
{
	sqlite3 *db;
	int rc = segment_open_db(j, seg->path, seg->sealed, &db, err);

	if (rc < 0)
		return rc;
	rc = segment_load(j, seg, db, err);
	if (rc != SEGMENT_GOOD || seg->sealed) {
		/* a file that may be damaged is left exactly as it is */
		sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		sqlite3_close_v2(db);
		return rc;
	}
	seg->db = db;
	return writer_open(j, seg, err);
}

static int open_newest(struct journal *j, struct err *err)
{
	int rc;

	/* nothing is touched before it is known that this program may */
	for (size_t i = 0; i < j->count; i++) {
		struct err e;

		rc = segment_probe(j->segments[i]->path, &e);
		/* of the older ones a damaged file is found by whoever needs it (journal_read) */
		if (rc == -ERR_JOURNAL_NEWER || (rc < 0 && i == j->count - 1)) {
			if (err)
				*err = e;
			return rc;
		}
	}
	if ((rc = scan(j, true, err)) < 0)
		return rc;
	while (j->count) {
		struct segment *seg = j->segments[j->count - 1];

		rc = segment_probe(seg->path, err);
		if (rc == SEGMENT_GOOD)
			rc = resume(j, seg, err);
		if (rc != SEGMENT_VOID)
			return rc;
		if ((rc = drop_void(j, err)) < 0)
			return rc;
	}
	return 0;
}

int journal_open(struct journal **ret, const char *dir, const struct journal_options *o, struct err *err)
{
	struct journal *j = xcalloc(1, sizeof(*j));
	pthread_condattr_t mono;
	int rc = 0;

	j->dir = xstrdup(dir);
	j->vfs = xstrdup(o->vfs);
	j->segment_size = o->segment_size > 0 ? o->segment_size : SEGMENT_SIZE_DEFAULT;
	j->max_size = o->max_size;
	if (j->max_size > 0 && j->segment_size > j->max_size / 4) /* or nothing could ever be removed */
		j->segment_size = j->max_size / 4;
	j->keep_s = o->keep_s;
	j->min_seq = o->min_seq > 0 ? o->min_seq : 0;
	j->flushed_ms = clock_mono_ms();
	pthread_mutex_init(&j->lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&j->changed, &mono);
	pthread_condattr_destroy(&mono);

	if (mkdir(dir, 0750) < 0 && errno != EEXIST)
		rc = err_set(err, ERR_JOURNAL_IO, "%s: cannot create the folder: %s", dir, strerror(errno));
	if (rc == 0)
		rc = scan(j, false, err);
	if (rc == 0)
		rc = open_newest(j, err);
	if (rc < 0) {
		for (size_t i = 0; i < j->count; i++) /* leave every file as it was found */
			if (j->segments[i]->db)
				sqlite3_db_config(j->segments[i]->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
						  NULL);
		writer_close(j);
		j->dirty = false;
		j->w.seg = NULL;
		journal_close(j);
		return rc;
	}
	journal_seal(j);
	if (j->w.seg)
		journal_measure(j);
	journal_publish(j);
	*ret = j;
	return 0;
}

void journal_forget(struct journal *j)
{
	for (size_t i = 0; i < j->state.count; i++) {
		free(j->state.items[i].key);
		free(j->state.items[i].value);
	}
	free(j->state.items);
	free(j->positions.items);
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	/* neither can be reported; both are repeated by the next start */
	if (j->w.seg) {
		writer_flush(j, NULL);
		writer_checkpoint(j, SQLITE_CHECKPOINT_TRUNCATE, NULL);
	}
	writer_close(j);
	for (size_t i = 0; i < j->count; i++)
		segment_free(j->segments[i]);
	free(j->segments);
	journal_forget(j);
	pthread_cond_destroy(&j->changed);
	pthread_mutex_destroy(&j->lock);
	free(j->dir);
	free(j->vfs);
	free(j);
}

cdc_ts journal_watermark(const struct journal *j)
{
	return j->head.watermark;
}

int64_t journal_revision(const struct journal *j)
{
	return j->head.revision;
}

int64_t journal_last_seq(const struct journal *j)
{
	return j->head.last_seq;
}

size_t journal_positions(struct journal *j, struct arena *arena, struct position **ret)
{
	size_t n;

	pthread_mutex_lock(&j->lock);
	n = j->positions.count;
	*ret = arena_dup(arena, j->positions.items, n * sizeof(**ret));
	pthread_mutex_unlock(&j->lock);
	return n;
}

size_t journal_state(struct journal *j, struct arena *arena, struct state_row **ret)
{
	struct state_row *rows;
	size_t n;

	pthread_mutex_lock(&j->lock);
	n = j->state.count;
	rows = arena_alloc(arena, n * sizeof(*rows));
	for (size_t i = 0; i < n; i++) {
		const struct state_item *it = &j->state.items[i];

		rows[i] = (struct state_row){arena_strdup(arena, it->key),
					     arena_dup(arena, it->value, it->size), it->size};
	}
	pthread_mutex_unlock(&j->lock);
	*ret = rows;
	return n;
}

void journal_stat(struct journal *j, struct journal_stat *ret)
{
	pthread_mutex_lock(&j->lock);
	*ret = j->stat;
	pthread_mutex_unlock(&j->lock);
}

bool journal_wait(struct journal *j, int64_t seq, cdc_ts ts, int timeout_ms)
{
	int64_t ms = clock_mono_ms() + (timeout_ms > 0 ? timeout_ms : 0);
	struct timespec until = {ms / 1000, ms % 1000 * 1000000};
	bool there, late = timeout_ms <= 0;
	unsigned wakes;

	pthread_mutex_lock(&j->lock);
	wakes = j->wakes;
	j->waiting++;
	for (;;) {
		there = j->stat.last_seq > seq || j->stat.watermark > ts;
		if (there || late || j->woken || j->wakes != wakes)
			break;
		late = pthread_cond_timedwait(&j->changed, &j->lock, &until) == ETIMEDOUT;
	}
	j->waiting--;
	j->woken = false;
	pthread_mutex_unlock(&j->lock);
	return there;
}

void journal_wake(struct journal *j)
{
	pthread_mutex_lock(&j->lock);
	j->wakes++;
	j->woken = j->waiting == 0;
	pthread_cond_broadcast(&j->changed);
	pthread_mutex_unlock(&j->lock);
}
